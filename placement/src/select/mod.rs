//! Select: what rules say of a cluster: labels, conditions, taints, each with the exact semantics of Kubernetes.
//!
//! In: a [`Selector`] and a map of labels; a condition, a toleration and a cluster. Out: yes, or what did not hold.
//! Never: takes what is unknown for what is absent. A selector looks at labels alone: facts cannot attract work.
//!
//! | file | what it judges |
//! |---|---|
//! | here | labels |
//! | `condition` | CEL over `cluster`, `labels`, `facts` |
//! | `facts` | one fact, or one label, as text or number |
//! | `taints` | taints and tolerations |
//! | `amount` | numbers with units |
//!
//! The rules are those of `k8s.io/apimachinery/pkg/labels`: `In` and `Exists` need the key, `NotIn` and `DoesNotExist`
//! hold where it is absent.

mod amount;
mod condition;
mod facts;
mod taints;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::is_label_value;

pub use amount::{AmountError, Shown, thousandths};
pub use condition::{Condition, ConditionError, Reads, Truth, values};
pub use facts::{FACTS, FactName, Look, LookError, UnknownFact};
pub use taints::{Tolerance, Toleration, tolerance};

/// A set of requirements, all of which must hold. An empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector(pub Vec<Requirement>);

/// One requirement on one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold of it.
    pub operator: Operator,
}

/// What must hold of a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// The value is one of these.
    In(BTreeSet<String>),
    /// The label is absent or its value is none of these.
    NotIn(BTreeSet<String>),
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl Requirement {
    /// Whether it holds.
    pub fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|v| values.contains(v)),
            Operator::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl Selector {
    /// The first requirement that does not hold.
    pub fn first_unmet<'a>(&'a self, labels: &BTreeMap<String, String>) -> Option<&'a Requirement> {
        self.0.iter().find(|r| !r.holds(labels))
    }

    /// Whether all requirements hold.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.first_unmet(labels).is_none()
    }
}

impl fmt::Display for Requirement {
    /// As `kubectl -l` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |values: &BTreeSet<String>| values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        match &self.operator {
            Operator::In(values) if values.len() == 1 => write!(f, "{}={}", self.key, list(values)),
            Operator::In(values) => write!(f, "{} in ({})", self.key, list(values)),
            Operator::NotIn(values) if values.len() == 1 => write!(f, "{}!={}", self.key, list(values)),
            Operator::NotIn(values) => write!(f, "{} notin ({})", self.key, list(values)),
            Operator::Exists => f.write_str(&self.key),
            Operator::DoesNotExist => write!(f, "!{}", self.key),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.0.iter().enumerate() {
            write!(f, "{}{r}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Text that is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{term:?} is not a selector: use KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY notin (A,B), KEY or !KEY, joined by commas"
)]
pub struct ParseSelectorError {
    term: String,
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    /// Reads what `kubectl -l` accepts.
    fn from_str(s: &str) -> Result<Self, ParseSelectorError> {
        split_terms(s).into_iter().map(parse_term).collect::<Result<_, _>>().map(Self)
    }
}

/// Splits at commas outside parentheses.
fn split_terms(s: &str) -> Vec<&str> {
    let (mut terms, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (i, c) in s.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(&s[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&s[start..]);
    if terms.iter().all(|t| t.trim().is_empty()) { Vec::new() } else { terms }
}

fn parse_term(term: &str) -> Result<Requirement, ParseSelectorError> {
    let term = term.trim();
    let wrong = || ParseSelectorError { term: term.to_owned() };
    let one = |v: &str| BTreeSet::from([v.trim().to_owned()]);
    let list = |rest: &str| -> Option<BTreeSet<String>> {
        let inner = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|v| v.trim().to_owned()).collect())
    };
    let (key, operator) = if let Some((key, value)) = term.split_once("!=") {
        (key, Operator::NotIn(one(value)))
    } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (key, Operator::In(one(value)))
    } else if let Some((key, rest)) = term.split_once(" notin ") {
        (key, Operator::NotIn(list(rest).ok_or_else(wrong)?))
    } else if let Some((key, rest)) = term.split_once(" in ") {
        (key, Operator::In(list(rest).ok_or_else(wrong)?))
    } else if let Some(key) = term.strip_prefix('!') {
        (key, Operator::DoesNotExist)
    } else {
        (term, Operator::Exists)
    };
    let key = key.trim();
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if key.is_empty() || !key.chars().all(legal) {
        return Err(wrong());
    }
    if let Operator::In(values) | Operator::NotIn(values) = &operator
        && !values.iter().all(|value| is_label_value(value))
    {
        return Err(wrong());
    }
    Ok(Requirement { key: key.to_owned(), operator })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn selectors_match_as_kubernetes_does() {
        // (selector, labels, matches)
        type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], bool);
        let rows: &[Row<'_>] = &[
            ("", &[], true),
            ("env=prod", &[("env", "prod")], true),
            ("env==prod", &[("env", "test")], false),
            ("env=prod", &[], false),
            ("env!=prod", &[], true),
            ("env!=prod", &[("env", "prod")], false),
            ("env in (prod, test),gpu", &[("env", "test"), ("gpu", "")], true),
            ("env in (prod, test),gpu", &[("env", "test")], false),
            ("env notin (prod,test)", &[("env", "dev")], true),
            ("env notin (prod,test)", &[], true),
            ("!gpu", &[], true),
            ("!gpu", &[("gpu", "a100")], false),
            // Several terms all have to hold.
            ("x=y,z=w", &[("x", "y"), ("z", "w")], true),
            ("x=y,z=w", &[("x", "z"), ("z", "w")], false),
            ("x=y,z=w", &[("x", "y")], false),
            ("x!=y,z!=w", &[("x", "z"), ("z", "a")], true),
            ("x!=y,z!=w", &[("x", "z"), ("z", "w")], false),
            ("notin=in", &[("notin", "in")], true),
            ("x", &[("x", "z")], true),
            ("x", &[("x", "")], true),
            ("x", &[("y", "z")], false),
            ("!x", &[("y", "z")], true),
            ("!x", &[("x", "")], false),
            // An empty value is a value.
            ("x=", &[("x", "")], true),
            ("x=", &[("x", "a")], false),
            ("x=", &[], false),
            ("x!=", &[("x", "")], false),
            ("x!=", &[("x", "a")], true),
            ("x!=", &[], true),
            ("x in (,a)", &[("x", "")], true),
            ("x in (a)", &[("x", "")], false),
            // Values and keys are compared as they are written.
            ("x=Y", &[("x", "y")], false),
            ("X=y", &[("x", "y")], false),
            ("x in (a,b,c)", &[("x", "c")], true),
            ("x in (a,b,c)", &[("x", "ab")], false),
            ("x notin (a,b,c)", &[("x", "c")], false),
            ("x notin (a,b,c)", &[("x", "d")], true),
            // One key in several terms.
            ("x in (a,b),x!=a", &[("x", "b")], true),
            ("x in (a,b),x!=a", &[("x", "a")], false),
            ("x,!x", &[("x", "a")], false),
            ("x,!x", &[], false),
            ("x=a,x=b", &[("x", "a")], false),
            ("example.com/role=web", &[("example.com/role", "web")], true),
            ("example.com/role=web", &[("role", "web")], false),
            ("a-b_c.d=1", &[("a-b_c.d", "1")], true),
        ];
        for (selector, given, expected) in rows {
            let parsed: Selector = selector.parse().expect(selector);
            assert_eq!(parsed.matches(&labels(given)), *expected, "{selector} on {given:?}");
        }
    }

    #[test]
    fn a_selector_reads_back_what_it_shows() {
        for text in ["env=prod", "env in (a,b),!gpu", "x,y notin (1,2)", "a!=b", ""] {
            let parsed: Selector = text.parse().expect(text);
            assert_eq!(parsed.to_string(), text);
        }
        for bad in
            ["=x", "a b", "k in x", "k=x)", "k=a b", "k==a=b", "k notin (a)n (b)", "k in ((a))", "k!=é"]
        {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
