//! Lines: how one text becomes another.
//!
//! In: two texts. Out: a unified diff, without the names of files. Never: reads a repository.

use gix::diff::blob::unified_diff::{ConsumeBinaryHunk, ContextSize};
use gix::diff::blob::{Algorithm, InternedInput, UnifiedDiff, diff_with_slider_heuristics};

/// The hunks that lead from one text to the other, each with three lines around it; empty where the texts are equal.
pub fn unified(before: &str, after: &str) -> String {
    let input = InternedInput::new(before, after);
    let diff = diff_with_slider_heuristics(Algorithm::Histogram, &input);
    let hunks = ConsumeBinaryHunk::new(String::new(), "\n");
    let text = UnifiedDiff::new(&diff, &input, hunks, ContextSize::symmetrical(3)).consume();
    text.expect("both texts are UTF-8, and so are their lines")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_with_three_lines_around_it() {
        let rows = [
            ("a\n", "a\n", ""),
            ("", "a\nb\n", "@@ -1,0 +1,2 @@\n+a\n+b\n"),
            ("1\n2\n3\n4\n5\n", "1\n2\n3\n4\nfive\n", "@@ -2,4 +2,4 @@\n 2\n 3\n 4\n-5\n+five\n"),
        ];
        for (before, after, expected) in rows {
            assert_eq!(unified(before, after), expected, "{before:?} to {after:?}");
        }
    }
}
