//! Version range: the versions that an author takes, of a chart or of a repository's tags.
//!
//! In: a text as Helm's `version:` has it: `1.2.3`, `^1.2`, `~1.2`, `1.2.x`, `>=1.2 <2`, `1.2 - 2.3`, alternatives between `||`; nothing
//! or `*` for the newest release. Out: the best of some candidates, by the precedence of semantic versions.
//! Never: takes a pre-release where none is named; fails over a candidate that is no version.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use semver::{BuildMetadata, Prerelease, Version};
use serde::{Deserialize, Serialize};

/// No range that a person writes is longer.
const LONGEST: usize = 256;

/// A range of versions; the default is the newest release.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    text: Arc<str>,
    /// One of these has to hold.
    alternatives: Vec<Alternative>,
}

/// All of its bounds have to hold.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Alternative {
    bounds: Vec<Bound>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Bound {
    sign: Sign,
    /// What is left open is 0.
    version: Version,
    /// How many of major, minor and patch are given.
    given: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Sign {
    Equal,
    Unequal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Tilde,
    Caret,
}

/// The longer ones first: some begin as others are.
const SIGNS: [(&str, Sign); 11] = [
    ("!=", Sign::Unequal),
    (">=", Sign::GreaterOrEqual),
    ("=>", Sign::GreaterOrEqual),
    ("<=", Sign::LessOrEqual),
    ("=<", Sign::LessOrEqual),
    ("~>", Sign::Tilde),
    ("=", Sign::Equal),
    (">", Sign::Greater),
    ("<", Sign::Less),
    ("~", Sign::Tilde),
    ("^", Sign::Caret),
];

/// A text that is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no version and no range of versions: {why}; write 1.2.3, ^1.2, ~1.2.3, 1.2.x or \">=1.2 <2\""
)]
pub struct ParseRangeError {
    text: String,
    why: String,
}

impl Range {
    /// The one version that it is, where it is no more than that.
    pub fn exact(&self) -> Option<&Version> {
        let [Alternative { bounds }] = &self.alternatives[..] else { return None };
        let [Bound { sign: Sign::Equal, version, given: 3 }] = &bounds[..] else { return None };
        Some(version)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The highest candidate of the range. They may begin with `v`, and leave out what is 0; what is no version is passed over.
    pub fn best<'a>(&self, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let versions = candidates.filter_map(|text| Some((version(text)?, text)));
        let matching = versions.filter(|(version, _)| self.holds(version));
        // Of versions that differ in their build alone the one that is named, so that it can be named at all.
        let named = |version: &Version| self.exact().is_some_and(|exact| exact == version);
        let best = matching.max_by(|(a, first), (b, second)| {
            a.cmp_precedence(b).then_with(|| (named(a), a, first).cmp(&(named(b), b, second)))
        });
        best.map(|(_, text)| text)
    }

    /// The highest candidates, pre-releases too: what an error names where none is of a range.
    pub fn highest<'a>(candidates: impl Iterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
        let mut versions: Vec<(Version, &str)> =
            candidates.filter_map(|text| Some((version(text)?, text))).collect();
        versions.sort_by(|a, b| b.cmp(a));
        versions.into_iter().map(|(_, text)| text).take(most).collect()
    }

    /// Whether a version is of the range.
    pub fn holds(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|alternative| alternative.holds(version))
    }
}

impl Alternative {
    fn holds(&self, version: &Version) -> bool {
        let is_named = self.bounds.iter().any(|bound| !bound.version.pre.is_empty());
        (version.pre.is_empty() || is_named) && self.bounds.iter().all(|bound| bound.holds(version))
    }
}

impl Bound {
    fn holds(&self, version: &Version) -> bool {
        let order = version.cmp_precedence(&self.version);
        match self.sign {
            Sign::Equal => self.is_equal(version, order),
            Sign::Unequal => !self.is_equal(version, order),
            // What is left open belongs to the bound: 1.2.9 is not above 1.2, and not beyond it.
            Sign::Greater => order.is_gt() && !self.agrees(version),
            Sign::GreaterOrEqual => order.is_ge(),
            Sign::Less => order.is_lt(),
            Sign::LessOrEqual => order.is_le() || self.agrees(version),
            Sign::Tilde => order.is_ge() && self.agrees_in(version, self.given.min(2)),
            Sign::Caret => order.is_ge() && self.agrees_in(version, self.up_to_the_first_that_counts()),
        }
    }

    fn is_equal(&self, version: &Version, order: Ordering) -> bool {
        if self.given == 3 { order.is_eq() } else { order.is_ge() && self.agrees(version) }
    }

    /// Whether a version has all that is given, where something is left open.
    fn agrees(&self, version: &Version) -> bool {
        self.given < 3 && self.agrees_in(version, self.given)
    }

    fn agrees_in(&self, version: &Version, parts: u8) -> bool {
        let of = |version: &Version| [version.major, version.minor, version.patch];
        let parts = usize::from(parts);
        of(version)[..parts] == of(&self.version)[..parts]
    }

    /// A caret holds the first part that is not 0, or the last that is given.
    fn up_to_the_first_that_counts(&self) -> u8 {
        let Version { major, minor, .. } = self.version;
        let counts = match (major, minor) {
            (0, 0) => 3,
            (0, _) => 2,
            _ => 1,
        };
        counts.min(self.given)
    }
}

impl FromStr for Range {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, ParseRangeError> {
        let wrong = |why: String| ParseRangeError { text: text.chars().take(LONGEST).collect(), why };
        if text.len() > LONGEST {
            return Err(wrong(format!("it is longer than {LONGEST} characters")));
        }
        let alternatives: Vec<&str> =
            if text.trim().is_empty() { vec!["*"] } else { text.split("||").collect() };
        let alternatives = alternatives.into_iter().map(alternative).collect::<Result<_, String>>();
        Ok(Self { text: text.trim().into(), alternatives: alternatives.map_err(wrong)? })
    }
}

/// Bounds between commas or spaces; ` - ` between two versions is from the one up to the other.
fn alternative(text: &str) -> Result<Alternative, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("there is nothing before or after ||".into());
    }
    let mut bounds = Vec::new();
    while !rest.is_empty() {
        let (sign, after) = signed(rest);
        let after = after.trim_start();
        let (word, after) =
            after.split_at(after.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(after.len()));
        let first = bound(sign.unwrap_or(Sign::Equal), word)?;
        let after = after.trim_start();
        let upper = after.strip_prefix('-').filter(|upper| upper.starts_with(char::is_whitespace));
        rest = match upper.map(str::trim_start) {
            Some(upper) if sign.is_none() => {
                let (word, after) = upper
                    .split_at(upper.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(upper.len()));
                bounds.push(Bound { sign: Sign::GreaterOrEqual, ..first });
                bounds.push(bound(Sign::LessOrEqual, word)?);
                after
            }
            _ => {
                bounds.push(first);
                after
            }
        };
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(',') {
            rest = after.trim_start();
            if rest.is_empty() {
                return Err("nothing follows the last comma".into());
            }
        }
    }
    Ok(Alternative { bounds })
}

fn signed(text: &str) -> (Option<Sign>, &str) {
    let found = SIGNS.iter().find_map(|(sign, meant)| Some((*meant, text.strip_prefix(sign)?)));
    found.map_or((None, text), |(sign, rest)| (Some(sign), rest))
}

fn bound(sign: Sign, word: &str) -> Result<Bound, String> {
    let (version, given) = partial(word).ok_or_else(|| match word {
        "" => "a version is missing".to_owned(),
        word => format!("{word:?} is no version"),
    })?;
    if given == 0 && matches!(sign, Sign::Unequal | Sign::Greater | Sign::Less) {
        return Err(format!("{word:?} is every version, so that none is left"));
    }
    Ok(Bound { sign, version, given })
}

/// A version of one to three numbers, of which the last ones may be `x` or `*`; how many are given.
fn partial(text: &str) -> Option<(Version, u8)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (numbers, pre) = text.split_once('-').map_or((text, None), |(numbers, pre)| (numbers, Some(pre)));
    let is_open = |part: &str| matches!(part, "x" | "X" | "*");
    let mut parts = [0_u64; 3];
    let mut given = 0;
    let mut is_closed = true;
    for (at, part) in numbers.split('.').enumerate() {
        let place = parts.get_mut(at)?;
        if is_open(part) {
            is_closed = false;
        }
        if !is_closed {
            (is_open(part) || number(part).is_some()).then_some(())?;
            continue;
        }
        *place = number(part)?;
        given += 1;
    }
    let named = |text: Option<&str>| text.is_none_or(|text| !text.is_empty());
    (named(pre) && named(build)).then_some(())?;
    let [major, minor, patch] = parts;
    let pre = pre.map_or(Some(Prerelease::EMPTY), |pre| Prerelease::new(pre).ok())?;
    let build = build.map_or(Some(BuildMetadata::EMPTY), |build| BuildMetadata::new(build).ok())?;
    Some((Version { major, minor, patch, pre, build }, given))
}

/// Without zeros before it, which would make it another text of the same number.
fn number(text: &str) -> Option<u64> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// A whole version; what is left out is 0.
fn version(text: &str) -> Option<Version> {
    let (version, _) = partial(text).filter(|(_, given)| *given > 0)?;
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    (!numbers.contains(['x', 'X', '*'])).then_some(version)
}

impl Default for Range {
    fn default() -> Self {
        let version = Version::new(0, 0, 0);
        let bounds = vec![Bound { sign: Sign::Equal, version, given: 0 }];
        Self { text: "".into(), alternatives: vec![Alternative { bounds }] }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Range({:?})", self.text)
    }
}

impl TryFrom<String> for Range {
    type Error = ParseRangeError;
    fn try_from(text: String) -> Result<Self, ParseRangeError> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.text.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        text.parse().expect(text)
    }

    #[test]
    fn a_version_is_of_a_range_or_not_as_helm_has_it() {
        // (range, versions of it, others)
        let rows: [(&str, &[&str], &[&str]); 33] = [
            ("1.2.3", &["1.2.3", "1.2.3+b"], &["1.2.4", "1.2.2", "1.2.3-rc.1"]),
            ("v1.2.3", &["1.2.3"], &["1.2.4"]),
            ("=1.2.3", &["1.2.3"], &["1.2.4"]),
            ("1.2.3-rc.1", &["1.2.3-rc.1"], &["1.2.3", "1.2.3-rc.2"]),
            ("1.2", &["1.2.0", "1.2.9"], &["1.3.0", "1.1.9", "2.2.0"]),
            ("1", &["1.0.0", "1.9.9"], &["2.0.0", "0.9.9"]),
            ("0", &["0.0.0", "0.9.9"], &["1.0.0"]),
            ("1.x", &["1.0.0", "1.9.9"], &["2.0.0"]),
            ("1.2.*", &["1.2.0", "1.2.9"], &["1.3.0"]),
            ("1.2.X", &["1.2.9"], &["1.3.0"]),
            ("", &["0.0.1", "9.9.9"], &["9.9.9-rc.1"]),
            ("*", &["0.0.1", "9.9.9"], &["9.9.9-rc.1"]),
            ("^1.2.3", &["1.2.3", "1.9.0"], &["1.2.2", "2.0.0", "1.3.0-rc.1"]),
            ("^1.2", &["1.2.0", "1.9.0"], &["1.1.9", "2.0.0"]),
            ("^1", &["1.0.0", "1.9.0"], &["2.0.0"]),
            ("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0", "0.2.2", "1.2.3"]),
            ("^0.2", &["0.2.0", "0.2.9"], &["0.3.0"]),
            ("^0.0.3", &["0.0.3"], &["0.0.4", "0.0.2", "0.1.0"]),
            ("^0.0", &["0.0.3"], &["0.1.0"]),
            ("^0", &["0.9.0"], &["1.0.0"]),
            ("~1.2.3", &["1.2.3", "1.2.9"], &["1.3.0", "1.2.2"]),
            ("~> 1.2", &["1.2.0", "1.2.9"], &["1.3.0"]),
            ("~1", &["1.0.0", "1.9.0"], &["2.0.0"]),
            (">=1.2 <2", &["1.2.0", "1.9.9"], &["2.0.0", "1.1.9", "2.0.0-rc.1"]),
            (">= 1.2, < 2", &["1.2.0"], &["2.0.0"]),
            ("=>1.2,=<2", &["1.2.0", "2.9.9"], &["3.0.0"]),
            (">1.2", &["1.3.0"], &["1.2.9", "1.2.0"]),
            ("<=1.2", &["1.2.9", "0.1.0"], &["1.3.0"]),
            ("1.2 - 2.3", &["1.2.0", "2.3.9"], &["2.4.0", "1.1.9"]),
            ("^1.2 || ^3", &["1.5.0", "3.5.0"], &["2.5.0", "1.1.0"]),
            (">=1 !=1.5.x", &["1.4.9", "1.6.0"], &["1.5.0", "1.5.7"]),
            (">=1.2.0-0 <3", &["1.2.0-rc.1", "2.5.0-beta", "1.2.0"], &["1.1.9", "3.0.0"]),
            (">=1.19-0 || 0.x", &["1.19.0-gke.1", "0.5.0"], &["0.5.0-rc.1"]),
        ];
        for (text, inside, outside) in rows {
            let range = range(text);
            let holds = |text: &&str| range.holds(&text.parse().expect("a version"));
            assert!(inside.iter().all(holds), "{text}: {inside:?}");
            assert!(!outside.iter().any(holds), "{text}: {outside:?}");
            assert_eq!(range.to_string().parse(), Ok(range.clone()), "{text}");
        }
    }

    #[test]
    fn the_best_is_the_highest_by_precedence_and_comes_back_as_it_was_written() {
        let tags = ["v1.2.0", "1.10.0", "v1.9", "latest", "v2.0.0-rc.1", "1.x", "v2", "01.2.3", "2.0.0+b"];
        let rows = [
            ("", Some("2.0.0+b")),
            ("2.0.0+b", Some("2.0.0+b")),
            ("2.0.0", Some("v2")),
            ("^1", Some("1.10.0")),
            ("1.9.x", Some("v1.9")),
            ("<1.9", Some("v1.2.0")),
            (">=2.0.0-0 <2.0.0", Some("v2.0.0-rc.1")),
            ("^3", None),
        ];
        for (text, expected) in rows {
            assert_eq!(range(text).best(tags.into_iter()), expected, "{text}");
            assert_eq!(range(text).best(tags.into_iter().rev()), expected, "{text}, from behind");
        }
        assert_eq!(Range::highest(tags.into_iter(), 3), ["2.0.0+b", "v2", "v2.0.0-rc.1"]);
    }

    #[test]
    fn one_version_alone_is_exact() {
        for text in ["1.2.3", "v1.2.3", "= 1.2.3", " 1.2.3 "] {
            assert_eq!(range(text).exact(), Some(&Version::new(1, 2, 3)), "{text}");
        }
        for text in ["", "1.2", "1.2.x", ">=1.2.3", "~1.2.3", "1.2.3 || 1.2.4", "1.2.3, 1.2.3"] {
            assert_eq!(range(text).exact(), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_told() {
        let long = "1".repeat(LONGEST + 1);
        let rows = [
            ("main", "\"main\" is no version"),
            ("1.2.3.4", "\"1.2.3.4\" is no version"),
            ("1.02.3", "is no version"),
            ("^", "a version is missing"),
            (">=1.2 <", "a version is missing"),
            ("1.2 ||", "nothing before or after ||"),
            ("1.2,", "nothing follows the last comma"),
            ("1.2 - ", "\"-\" is no version"),
            (">*", "every version"),
            ("1.2.3-", "is no version"),
            ("99999999999999999999.0.0", "is no version"),
            (&long, "longer than 256"),
        ];
        for (text, expected) in rows {
            let told = text.parse::<Range>().expect_err(text).to_string();
            assert!(told.contains(expected) && told.contains("; write 1.2.3"), "{told}");
        }
    }
}
