//! Did you mean …? The nearest of a few valid words.

/// The valid word that was probably meant.
pub(super) fn nearest<'a>(given: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the letters may be wrong: enough for a slip, too few to turn one word into another.
    let allowed = (given.chars().count() / 3).clamp(1, 3);
    let distances =
        valid.into_iter().map(|word| (distance(&given.to_lowercase(), &word.to_lowercase()), word));
    distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, word)| word)
}

/// `; did you mean X?`, or nothing.
pub fn did_you_mean<'a>(given: &str, valid: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, valid).map(|word| format!("; did you mean {word}?")).unwrap_or_default()
}

/// Number of letters to insert, remove, replace or swap with their neighbour.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_and_another_word_does_not() {
        let valid = ["source", "namespace", "prune", "onRemove", "formerly"];
        let rows = [
            ("sorce", Some("source")),
            ("Source", Some("source")),
            ("on_remove", Some("onRemove")),
            ("onremove", Some("onRemove")),
            ("purne", Some("prune")),
            ("replicas", None),
            ("x", None),
        ];
        for (given, expected) in rows {
            assert_eq!(nearest(given, valid), expected, "{given}");
        }
    }
}
