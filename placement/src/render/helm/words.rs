//! The words of a template's actions, as Go's `text/template` takes them apart.
//!
//! In: the text of a template. Out: the words of each action, in order. Never: takes text, or a comment, for words.

/// A word, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'t> {
    pub kind: Kind<'t>,
    pub start: usize,
    pub end: usize,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'t> {
    /// A function, a keyword, a number.
    Name(&'t str),
    /// Fields, `.A.B`, of what is at hand or of a variable before them: `$.A`, `$x.A`. A variable alone has none.
    Fields(&'t str),
    /// Text that is written out, as it is written.
    Text(&'t str),
    /// A parenthesis begins.
    Open,
    /// It ends.
    Close,
    /// Anything else.
    Other,
}

impl<'t> Word<'t> {
    /// The names of its fields.
    pub fn names(&self) -> Vec<&'t str> {
        match self.kind {
            Kind::Fields(text) => text.split('.').skip(1).filter(|name| !name.is_empty()).collect(),
            _ => Vec::new(),
        }
    }
}

/// The words of each action.
pub(super) fn actions(text: &str) -> Vec<Vec<Word<'_>>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = text[at..].find("{{") {
        at += begin + 2;
        let inside = text[at..].strip_prefix('-').unwrap_or(&text[at..]).trim_start();
        if inside.starts_with("/*") {
            at = text[at..].find("*/").map_or(text.len(), |end| at + end + 2);
            continue;
        }
        let mut words = Vec::new();
        at = action(text, at, &mut words);
        found.push(words);
    }
    found
}

/// Reads one action; gives where it ends.
fn action<'t>(text: &'t str, mut at: usize, words: &mut Vec<Word<'t>>) -> usize {
    let bytes = text.as_bytes();
    // As long as it is the mark that space before is left out, a line is no word.
    if text[at..].starts_with('-') {
        at += 1;
    }
    while at < bytes.len() {
        let start = at;
        let kind = match bytes[at] {
            b'}' if text[at..].starts_with("}}") => return at + 2,
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'`' => {
                let end = text[at + 1..].find('`').map_or(bytes.len(), |end| at + 1 + end);
                at = (end + 1).min(bytes.len());
                Kind::Text(&text[start + 1..end])
            }
            quote @ (b'"' | b'\'') => {
                let end = quoted(bytes, at, quote);
                at = (end + 1).min(bytes.len());
                if quote == b'"' { Kind::Text(&text[start + 1..end]) } else { Kind::Other }
            }
            b'(' => {
                at += 1;
                Kind::Open
            }
            b')' => {
                at += 1;
                Kind::Close
            }
            b'$' | b'.' => {
                at += 1;
                while at < bytes.len() && (is_word(bytes[at]) || bytes[at] == b'.') {
                    at += 1;
                }
                Kind::Fields(&text[start..at])
            }
            byte if is_word(byte) => {
                while at < bytes.len() && is_word(bytes[at]) {
                    at += 1;
                }
                Kind::Name(&text[start..at])
            }
            _ => {
                at += 1;
                Kind::Other
            }
        };
        words.push(Word { kind, start, end: at });
    }
    bytes.len()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Where a quoted text ends: at its quote, or with its line.
fn quoted(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    at += 1;
    while at < bytes.len() && bytes[at] != quote && bytes[at] != b'\n' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    // A backslash at the end of the text steps beyond it.
    at.min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_taken_apart() {
        let rows: [(&str, &[Kind<'_>]); 8] = [
            ("a .b {{/* .c */}} d", &[]),
            (
                "{{- if and (.A.B.Has \"x y\") $c.D -}}",
                &[
                    Kind::Name("if"),
                    Kind::Name("and"),
                    Kind::Open,
                    Kind::Fields(".A.B.Has"),
                    Kind::Text("x y"),
                    Kind::Close,
                    Kind::Fields("$c.D"),
                    Kind::Other,
                ],
            ),
            (
                "{{ (f `a\n\"b`).C }}",
                &[Kind::Open, Kind::Name("f"), Kind::Text("a\n\"b"), Kind::Close, Kind::Fields(".C")],
            ),
            (
                "{{ $x := . | q }}",
                &[
                    Kind::Fields("$x"),
                    Kind::Other,
                    Kind::Other,
                    Kind::Fields("."),
                    Kind::Other,
                    Kind::Name("q"),
                ],
            ),
            ("{{ \"a\\\"b\" }}", &[Kind::Text("a\\\"b")]),
            ("{{ \"open\n.A", &[Kind::Text("open"), Kind::Fields(".A")]),
            ("{{ `open", &[Kind::Text("open")]),
            ("{{ \"a\\", &[Kind::Text("a\\")]),
        ];
        for (template, expected) in rows {
            let found: Vec<Kind<'_>> = actions(template).concat().iter().map(|word| word.kind).collect();
            assert_eq!(found, expected, "{template}");
        }
        let word = Word { kind: Kind::Fields("$root.A.B"), start: 0, end: 9 };
        assert_eq!(word.names(), ["A", "B"]);
    }
}
