//! Pattern: whether a pattern is about a word.

/// Whether a pattern fits a whole word; `*` stands for any letters, also none.
pub fn matches(pattern: &str, word: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = word.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    // Without a star the pattern is the word.
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_letters() {
        let rows = [
            ("web", "web", true),
            ("web", "web-1", false),
            ("team-*", "team-a", true),
            ("team-*", "a-team-a", false),
            ("*", "", true),
            ("*-prod", "shop-prod", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("ClusterRole*.rbac.authorization.k8s.io", "ClusterRoleBinding.rbac.authorization.k8s.io", true),
        ];
        for (pattern, word, expected) in rows {
            assert_eq!(matches(pattern, word), expected, "{pattern} {word}");
        }
    }
}
