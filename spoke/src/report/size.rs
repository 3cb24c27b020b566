//! Size: a report stays one that a hub can store, whatever a target says.
//!
//! In: texts, the entries of a report. Out: the same, shorter where they are too long.
//! Never: shortens the worst before the best; leaves anything out without saying so.

use nave_placement::report::EntryReport;

const ELLIPSIS: &str = "…";
/// Largest report, in bytes: half of what a store takes in one batch.
pub(super) const MAX_REPORT: usize = 512 << 10;
/// What is said instead of details.
const LEFT_OUT: &str = "details are left out, since the report would be too large";
/// The longest message of an entry where even without details too much would be said.
const FEW_WORDS: usize = 128;
/// A field's name and quotes in JSON.
const AROUND: usize = 16;
/// An entry without its texts.
const ENTRY: usize = 300;

/// Cuts a text to so many bytes, at characters. What is left out stood in the middle: servers say what is wrong before and
/// after the value that is.
pub(crate) fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let room = most.saturating_sub(ELLIPSIS.len());
        let head = text.floor_char_boundary(room / 2);
        let tail = text.ceil_char_boundary(text.len() - (room - head));
        *text = format!("{}{ELLIPSIS}{}", &text[..head], &text[tail..]);
    }
}

/// Leaves details of the entries that are best out until the report is no larger than this, and at last most of their words.
pub(super) fn shorten(mut entries: Vec<&mut EntryReport>, most: usize) {
    let mut size: usize = entries.iter().map(|entry| size(entry)).sum();
    if size <= most {
        return;
    }
    entries.sort_by_key(|entry| entry.state);
    let details = |entry: &mut EntryReport| {
        if !entry.unhealthy.is_empty() || !entry.notes.is_empty() {
            entry.unhealthy.clear();
            entry.notes.clear();
            let and = if entry.message.is_empty() { "" } else { "; " };
            entry.message = format!("{}{and}{LEFT_OUT}", entry.message);
        }
    };
    let words = |entry: &mut EntryReport| cut(&mut entry.message, FEW_WORDS);
    for less in [&details as &dyn Fn(&mut EntryReport), &words] {
        for entry in &mut entries {
            if size <= most {
                return;
            }
            size -= self::size(entry);
            less(entry);
            size += self::size(entry);
        }
    }
}

/// About so many bytes of a report: its texts, and what stands around them.
fn size(entry: &EntryReport) -> usize {
    let objects = entry.unhealthy.iter().chain(&entry.notes).map(|object| {
        let key = &object.key;
        let words = [
            &key.group,
            &key.kind,
            &key.namespace,
            &key.name,
            &object.state,
            &object.reason,
            &object.message,
        ];
        words.into_iter().map(|word| word.len() + AROUND).sum::<usize>()
    });
    objects.sum::<usize>() + entry.message.len() + ENTRY
}

#[cfg(test)]
mod tests {
    use nave_placement::ObjectKey;
    use nave_placement::assign::{Epoch, Generation};
    use nave_placement::report::{EntryState, ObjectReport};

    use super::*;
    use crate::report::{Outcome, Reporter, pending};

    #[test]
    fn a_report_that_would_be_too_large_says_most_of_what_is_worst() {
        let object = |n: usize| ObjectReport {
            key: ObjectKey {
                group: String::new(),
                kind: "ConfigMap".into(),
                namespace: "d".into(),
                name: n.to_string(),
            },
            state: "Degraded".into(),
            reason: "Why".into(),
            message: "é".repeat(250),
        };
        let entry = |state| EntryReport {
            state,
            message: "x".repeat(500),
            unhealthy: (0..20).map(object).collect(),
            ..pending()
        };
        let outcome = |apps: usize| {
            let name = |n: usize| format!("a{n}").parse().expect("valid");
            let apps = (0..apps).map(|n| {
                let state = if n % 2 == 0 { EntryState::Failed } else { EntryState::Progressing };
                (name(n), entry(state))
            });
            Outcome { apps: apps.collect(), ..Outcome::default() }
        };
        for (apps, detailed) in [(10, 10), (60, 30), (400, 0), (1_500, 0)] {
            let report = Reporter::default().report((Epoch(1), Generation(1)), outcome(apps));
            let encoded = serde_json::to_vec(&report).expect("plain");
            assert!(encoded.len() < 2 * MAX_REPORT, "{apps}: {}", encoded.len());
            let with = report.entries.values().filter(|entry| !entry.unhealthy.is_empty());
            assert!(with.clone().count() >= detailed, "{apps}: {}", with.count());
            let without = report.entries.values().filter(|entry| entry.unhealthy.is_empty());
            assert!(apps > 400 || without.clone().all(|entry| entry.message.ends_with(LEFT_OUT)), "{apps}");
        }
        for (text, most, expected) in [("abc", 3, "abc"), ("abcdefg", 5, "a…g"), ("ééé", 5, "…é")] {
            let mut text = text.to_owned();
            cut(&mut text, most);
            assert_eq!(text, expected);
        }
    }
}
