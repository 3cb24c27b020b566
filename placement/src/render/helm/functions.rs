//! The functions of templates whose outcome is not a function of the chart and its values.
//!
//! In: the text of a template. Out: the same template, in which each such function fails with its own name when it is
//! carried out, and only then: one that a condition leaves out, or a helper that nobody includes, harms nothing. Or the same
//! with the time given, for charts that ask for it and show nothing of it.
//! Never: touches text outside of actions, strings and comments, or moves a line.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::output::template_file;
use super::super::{Chart, Contents, Needs};
use crate::catalog::{Position, Problem};

/// What the cluster at hand would answer: a render has none, and another answer each time.
const OF_CLUSTERS: [&str; 1] = ["lookup"];
/// Other tomorrow.
const OF_TIME: [&str; 2] = ["ago", "now"];
/// Other each time.
const OF_CHANCE: [&str; 18] = [
    "bcrypt",
    "encryptAES",
    "genCA",
    "genCAWithKey",
    "genPrivateKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
    "htpasswd",
    "randAlpha",
    "randAlphaNum",
    "randAscii",
    "randBytes",
    "randInt",
    "randNumeric",
    "shuffle",
    "uuidv4",
];
/// The time of day, which charts also take to judge a length of time by.
const NOW: &str = "now";
/// Two moments that no part of a date or a time has in common, with years between them in which charts are written and used. What
/// is the same at both does not show the time.
pub const MOMENTS: [&str; 2] = ["2001-02-03T04:05:06.123456789Z", "2038-11-24T19:52:47.987654321Z"];
/// How they are written, as Go says it; a fraction of the last second is read whatever it says.
const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
/// Marks what was put in the place of a function, in what Helm says of it.
const MARK: &str = "nave:";

/// The use of a function that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uses {
    /// The template, as Helm names it: the chart's name and the path in it; none where it does not say.
    pub template: Option<Arc<str>>,
    /// The line.
    pub line: u32,
    /// The function.
    pub function: &'static str,
}

impl Uses {
    /// Whether it asks for the time, which may do no harm: [`guarded_at`] two [`MOMENTS`] tells.
    pub fn asks_for_time(&self) -> bool {
        self.function == NOW
    }

    /// What is wrong with it, at its template.
    pub fn problem(&self, needs: &Needs) -> Problem {
        let template = self.template.as_ref().and_then(|template| template_file(needs, template));
        match template {
            Some(file) => Problem::error(&file, Position { line: self.line, column: 1 }, self.message()),
            // It lies in an archive.
            None => {
                let within = self.template.as_ref().map(|template| format!("{template}:{}: ", self.line));
                let message = within.unwrap_or_default() + &self.message();
                Problem::error(&needs.place(), Position::START, message)
            }
        }
    }

    /// What is wrong with it, and how to mend it.
    pub fn message(&self) -> String {
        let function = self.function;
        let why = match function {
            _ if OF_CLUSTERS.contains(&function) => {
                "asks a cluster, and the hub renders once for many; give the chart the value itself, often by a name like existingSecret"
            }
            _ if OF_TIME.contains(&function) => {
                "gives something else tomorrow, so that every render would be a change; give the chart a fixed value"
            }
            _ => {
                "gives something else each time, so that every render would be a change; give the chart the value itself, often by a name like existingSecret"
            }
        };
        format!("{function} {why}")
    }
}

fn all() -> impl Iterator<Item = &'static str> {
    OF_CLUSTERS.into_iter().chain(OF_TIME).chain(OF_CHANCE)
}

/// Whether a file of a chart in a directory, or of one that it depends on, is a template.
pub(super) fn is_template(directory: &str, path: &str) -> bool {
    let inner = path.strip_prefix(directory).map(|inner| inner.trim_start_matches('/'));
    let is_inside = directory.is_empty() || path.as_bytes().get(directory.len()) == Some(&b'/');
    is_inside && inner.is_some_and(|path| path.starts_with("templates/") || path.contains("/templates/"))
}

/// The templates of a chart and of its dependencies, guarded, and with what the cluster answers; all other files as they are. What
/// Helm tells at the end of an installation is no part of the outcome, and left out: it is carried out too, and what it defines
/// could be called by the others.
pub fn guarded(chart: &Chart, files: &Contents) -> Contents {
    guarded_by(chart, files, None)
}

/// The same, but for the time, which is this moment.
pub fn guarded_at(chart: &Chart, files: &Contents, moment: &str) -> Contents {
    guarded_by(chart, files, Some(moment))
}

fn guarded_by(chart: &Chart, files: &Contents, moment: Option<&str>) -> Contents {
    let is_template = |path: &str| is_template(&chart.directory, path);
    let guarded = |(path, content): (&Arc<str>, &Arc<[u8]>)| {
        if !is_template(path) {
            return (path.clone(), content.clone());
        }
        // A letter that is none hides nothing around it.
        let text = String::from_utf8_lossy(content);
        let answered = match &chart.capabilities {
            Some(capabilities) => capabilities.answered(&text),
            None => Cow::Borrowed(&*text),
        };
        let content = match (guard(&answered, moment), &answered) {
            (Cow::Owned(text), _) => Arc::from(text.into_bytes()),
            (_, Cow::Owned(text)) => Arc::from(text.as_bytes()),
            _ => content.clone(),
        };
        (path.clone(), content)
    };
    let is_told = |path: &str| is_template(path) && path.ends_with("/NOTES.txt");
    files.iter().filter(|(path, _)| !is_told(path)).map(guarded).collect()
}

/// The function that Helm stopped at, if it is one that was guarded. `said` is what Helm wrote on its standard error.
pub fn refused(said: &str) -> Option<Uses> {
    let at = said.find(MARK)?;
    let letters = |c: char| c.is_ascii_alphanumeric();
    let rest = &said[at + MARK.len()..];
    let given = &rest[..rest.find(|c| !letters(c)).unwrap_or(rest.len())];
    // Older Helm shows no more than the first 20 characters.
    let function = all().find(|f| *f == given).or_else(|| all().find(|f| f.starts_with(given)))?;
    let place = places(&said[..at]).next();
    let (template, line) = place.map_or((None, 1), |(template, line)| (Some(template.into()), line));
    Some(Uses { template, line, function })
}

/// Each `FILE:LINE` of a text, the last first.
fn places(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.split_whitespace().rev().filter_map(|word| {
        let (file, rest) = word.trim_start_matches(['(', '<', '"']).split_once(':')?;
        let line = rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        file.contains('/').then_some((file, line))
    })
}

/// The template and the line that Helm speaks of, as a file of the repository: the innermost of those that it names.
pub fn spoken_of(needs: &Needs, said: &str) -> Option<(Arc<str>, u32)> {
    places(said).find_map(|(template, line)| Some((template_file(needs, template)?, line)))
}

/// A template in which the functions fail, but for the time where a moment is given.
fn guard<'t>(text: &'t str, moment: Option<&str>) -> Cow<'t, str> {
    let mut guarded = String::new();
    let mut kept = 0;
    for (start, end) in identifiers(text) {
        let Some(function) = all().find(|function| *function == &text[start..end]) else { continue };
        guarded.push_str(&text[kept..start]);
        // `index` of a text by a text fails, and so does giving what is in parentheses an argument; both only when it is
        // their turn.
        guarded.push_str(&match moment {
            Some(moment) if function == NOW => format!("(toDate \"{LAYOUT}\" \"{moment}\")"),
            _ => format!("(index \"{MARK}{function}\" \"\")"),
        });
        kept = end;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    guarded.push_str(&text[kept..]);
    Cow::Owned(guarded)
}

/// Where functions and keywords stand in a template: names in actions that are no fields, variables, text or comment.
fn identifiers(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(begin) = text[at..].find("{{") {
        at += begin + 2;
        let inside = &text[at..];
        let inside = inside.strip_prefix('-').unwrap_or(inside).trim_start();
        if inside.starts_with("/*") {
            let end = text[at..].find("*/").map_or(text.len(), |end| at + end + 2);
            at = end;
            continue;
        }
        at = action(text, bytes, at, &mut found);
    }
    found
}

/// Reads one action; gives where it ends.
fn action(text: &str, bytes: &[u8], mut at: usize, found: &mut Vec<(usize, usize)>) -> usize {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    while at < bytes.len() {
        match bytes[at] {
            b'}' if text[at..].starts_with("}}") => return at + 2,
            b'`' => at = text[at + 1..].find('`').map_or(bytes.len(), |end| at + end + 2),
            quote @ (b'"' | b'\'') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote && bytes[at] != b'\n' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            byte if is_word(byte) => {
                let start = at;
                while at < bytes.len() && is_word(bytes[at]) {
                    at += 1;
                }
                let is_part = start > 0 && matches!(bytes[start - 1], b'.' | b'$');
                if !is_part {
                    found.push((start, at));
                }
            }
            _ => at += 1,
        }
    }
    // A backslash at the end of the text steps beyond it.
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_guarded_where_they_are_called_and_nowhere_else() {
        // (template, what is guarded)
        let rows: [(&str, &[&str]); 12] = [
            ("now {{ .Values.now }} {{ $now }}", &[]),
            ("{{ now }}", &["now"]),
            ("{{- (lookup \"v1\" \"Secret\" \"a\" \"b\").data -}}", &["lookup"]),
            ("{{/* now */}}{{- /* lookup */ -}}x", &[]),
            ("{{ \"now\" | quote }}{{ `lookup` }}{{ printf \"\\\"now\" }}", &[]),
            ("{{ .Release.Time | default now | date \"2006\" }}", &["now"]),
            ("{{ define \"randAlpha\" }}{{ randAlphaNum 5 | b64enc }}{{ end }}", &["randAlphaNum"]),
            ("{{ include \"x.now\" . }}", &[]),
            ("{{ randAlphaNumber }}", &[]),
            ("{{ 'n' }}{{ now", &["now"]),
            ("{{ \"open }}\n{{ now }}", &["now"]),
            ("ü {{ $ü := genCA \"x\" 1 }}", &["genCA"]),
        ];
        for (template, expected) in rows {
            let guarded = guard(template, None);
            let marks: Vec<&str> = guarded
                .split("(index \"nave:")
                .skip(1)
                .map(|rest| rest.split('"').next().expect("a name"))
                .collect();
            assert_eq!(marks, expected, "{template}");
            assert_eq!(guarded.lines().count(), template.lines().count(), "{template}");
            assert_eq!(matches!(guarded, Cow::Borrowed(_)), expected.is_empty(), "{template}");
        }
    }

    #[test]
    fn a_moment_stands_in_for_the_time_and_for_nothing_else() {
        let template = "{{ $a := now | date \"2006\" }}{{ now.Year }}{{ \"now\" | ago }}";
        let guarded = guard(template, Some(MOMENTS[0]));
        let moment = format!("(toDate \"{LAYOUT}\" \"{}\")", MOMENTS[0]);
        let expected = template
            .replace(":= now", &format!(":= {moment}"))
            .replace("now.Year", &format!("{moment}.Year"));
        assert_eq!(guarded, expected.replace("| ago", "| (index \"nave:ago\" \"\")"));
    }

    #[test]
    fn what_helm_says_of_a_guarded_function_is_understood() {
        let uses =
            |template: &str, line, function| Some(Uses { template: Some(template.into()), line, function });
        let rows = [
            (
                "Error: template: web/templates/a.yaml:8:8: executing \"web/templates/a.yaml\" at <index \"nave:now\" \"\">: error calling index: cannot index slice/array with type string",
                uses("web/templates/a.yaml", 8, "now"),
            ),
            (
                "Error: web/templates/b.yaml:6:15\n  executing \"b\" at <(index \"nave:genSelf...>:\n    wrong",
                uses("web/templates/b.yaml", 6, "genSelfSignedCert"),
            ),
            ("Error: web/templates/b.yaml:6:15 executing at <fail>", None),
            (
                "Error: execution error at (web/templates/c.yaml:7:3): index \"nave:lookup\"",
                uses("web/templates/c.yaml", 7, "lookup"),
            ),
        ];
        for (said, expected) in rows {
            assert_eq!(refused(said), expected, "{said}");
        }
    }

    #[test]
    fn only_templates_are_guarded() {
        let text: Arc<[u8]> = Arc::from(&b"{{ now }}"[..]);
        let paths = [
            "web/templates/a.yaml",
            "web/charts/x/templates/_b.tpl",
            "web/files/c.txt",
            "other/templates/d",
            "web/templates/NOTES.txt",
        ];
        let mut files: Contents = paths.iter().map(|path| ((*path).into(), text.clone())).collect();
        let latin: Arc<[u8]> = Arc::from(&b"{{/* \xe4 */}}{{ now }}"[..]);
        files.insert("web/templates/latin.yaml".into(), latin.clone());
        let chart = Chart { directory: "web".into(), ..Chart::default() };
        let guarded = guarded(&chart, &files);
        assert!(!guarded.contains_key("web/templates/NOTES.txt"), "{guarded:?}");
        assert_ne!(guarded["web/templates/latin.yaml"], latin);
        let changed: Vec<String> = guarded
            .into_iter()
            .filter(|(path, _)| !path.ends_with("latin.yaml"))
            .filter(|(_, content)| *content != text)
            .map(|(path, _)| path.to_string())
            .collect();
        assert_eq!(changed, ["web/charts/x/templates/_b.tpl", "web/templates/a.yaml"]);
    }
}
