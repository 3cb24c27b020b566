//! Scrub: takes secret values out of texts that others wrote.
//!
//! In: opened values, a text. Out: the text without them. Never: keeps a value longer than its round.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What stands for a value.
const HIDDEN: &str = "<secret>";
/// Shorter ones are taken out only where they stand alone: `1` is a part of many words.
const LONG: usize = 8;

/// Values that must not be said, the longest first.
#[derive(Default)]
pub struct Values(Vec<Zeroizing<String>>);

impl Values {
    /// Adds values, and the other spelling of each: what is base64 decoded, everything encoded.
    pub fn extend(&mut self, values: Vec<Zeroizing<String>>) {
        for value in values.into_iter().filter(|value| !value.trim().is_empty()) {
            let decoded =
                STANDARD.decode(value.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            self.0.extend(decoded.filter(|text| !text.trim().is_empty()).map(Zeroizing::new));
            self.0.push(Zeroizing::new(STANDARD.encode(value.as_bytes())));
            self.0.push(value);
        }
        self.0.sort_unstable_by_key(|value| std::cmp::Reverse(value.len()));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes them out of a text.
    pub fn scrub(&self, text: &mut String) {
        for value in &self.0 {
            // A message repeats a long value on one line, or quoted.
            let quoted = value.escape_debug().to_string();
            for spelling in [value.as_str(), Zeroizing::new(quoted).as_str()] {
                if text.contains(spelling) {
                    *text = replaced(text, spelling);
                }
            }
        }
    }
}

fn replaced(text: &str, value: &str) -> String {
    if value.len() >= LONG {
        return text.replace(value, HIDDEN);
    }
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric());
    for (at, _) in text.match_indices(value) {
        let alone =
            !is_word(text[..at].chars().next_back()) && !is_word(text[at + value.len()..].chars().next());
        if alone {
            out.push_str(&text[from..at]);
            out.push_str(HIDDEN);
            from = at + value.len();
        }
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_out_of_messages_in_every_spelling() {
        let mut values = Values::default();
        let all = ["hunter2-hunter2", "42", "c2VjcmV0LXNlY3JldA==", "two\nlines of it", " "];
        values.extend(all.iter().map(|value| Zeroizing::new((*value).to_owned())).collect());
        let rows = [
            ("got hunter2-hunter2!", "got <secret>!"),
            ("got aHVudGVyMi1odW50ZXIy", "got <secret>"),
            ("Value:42, 142 and 420 remain", "Value:<secret>, 142 and 420 remain"),
            ("data c2VjcmV0LXNlY3JldA== is secret-secret", "data <secret> is <secret>"),
            (r#"invalid "two\nlines of it""#, r#"invalid "<secret>""#),
            ("nothing here", "nothing here"),
        ];
        for (text, expected) in rows {
            let mut text = text.to_owned();
            values.scrub(&mut text);
            assert_eq!(text, expected);
        }
    }
}
