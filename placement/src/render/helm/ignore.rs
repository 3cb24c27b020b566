//! `.helmignore`, as Helm reads it: like `.gitignore`, but the first rule that matches decides, and `**` is no rule.
//!
//! In: the text. Out: whether a file of the chart is left out. Never: lets a rule that is none ignore anything.

use regex::Regex;

/// Hidden files of `templates` never count, as Helm has it.
const ALWAYS: &str = "templates/.?*";

/// The rules of a chart.
pub(super) struct Rules(Vec<Rule>);

struct Rule {
    pattern: Regex,
    negated: bool,
    of_directories: bool,
    /// It is of a name anywhere, not of a path from the chart's root.
    of_names: bool,
}

impl Rules {
    pub fn read(text: &str) -> Self {
        Self(text.lines().chain([ALWAYS]).filter_map(Rule::read).collect())
    }

    /// Whether a file is left out, by its own name or a directory's that it is in. `path` is relative to the chart.
    pub fn ignores(&self, path: &str) -> bool {
        let directories = path.match_indices('/').map(|(at, _)| &path[..at]);
        directories.into_iter().any(|directory| self.decide(directory, true)) || self.decide(path, false)
    }

    fn decide(&self, path: &str, is_directory: bool) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        for rule in &self.0 {
            let is_kind = is_directory || !rule.of_directories;
            let matches = is_kind && rule.pattern.is_match(if rule.of_names { name } else { path });
            // What a negated rule does not match is left out: so Helm has it, other than Git.
            match (rule.negated, matches) {
                (false, true) | (true, false) => return true,
                (false, false) | (true, true) => {}
            }
        }
        false
    }
}

impl Rule {
    fn read(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.contains("**") {
            return None;
        }
        let (negated, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let (of_directories, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
        let of_names = !line.contains('/');
        let pattern = pattern(line.strip_prefix('/').unwrap_or(line))?;
        Some(Self { pattern, negated, of_directories, of_names })
    }
}

/// A shell pattern of one path: `*` and `?` stop at `/`.
fn pattern(shell: &str) -> Option<Regex> {
    let mut regex = String::from("^");
    let mut letters = shell.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            // A class ends at the bracket, and means the same in both.
            '[' => {
                regex.push('[');
                for letter in letters.by_ref() {
                    regex.push(letter);
                    if letter == ']' {
                        break;
                    }
                }
            }
            '\\' => regex.push_str(&regex::escape(&letters.next()?.to_string())),
            letter => regex.push_str(&regex::escape(&letter.to_string())),
        }
    }
    regex.push('$');
    Regex::new(&regex).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_left_out_as_helm_leaves_them_out() {
        let rules = Rules::read("# a comment\n\n.git/\n*.md\n/top.txt\nci/*.yaml\n[ab].x\n**/y\ndocs\n");
        // (path, left out)
        let rows = [
            (".git/HEAD", true),
            ("README.md", true),
            ("templates/notes.md", true),
            ("top.txt", true),
            ("files/top.txt", false),
            ("ci/values.yaml", true),
            ("ci/deep/values.yaml", false),
            ("a.x", true),
            ("c.x", false),
            ("z/y", false),
            ("docs/a/b.txt", true),
            ("templates/.hidden", true),
            ("templates/a.yaml", false),
            ("Chart.yaml", false),
        ];
        for (path, expected) in rows {
            assert_eq!(rules.ignores(path), expected, "{path}");
        }
        let negated = Rules::read("!*.yaml\n");
        assert!(!negated.ignores("a.yaml") && negated.ignores("a.txt"), "as Helm has it");
    }
}
