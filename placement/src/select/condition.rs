//! Conditions: CEL over `cluster`, `labels` and `facts`.
//!
//! In: text, and later clusters. Out: whether it holds; where a fact that it reads is unknown, that.
//! Never: takes unknown for false. What is observed not to be there makes it false; a mistake of types is found when the
//! expression is read, on a sample that has everything.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::facts::{FACTS, FactName, UnknownFact};
use crate::ClusterName;
use crate::catalog::did_you_mean;
use crate::expression::{EvaluationError, Expression, ExpressionError, Values};
use crate::fleet::{Candidate, Fact};

/// What an expression may use.
const VARIABLES: [&str; 3] = ["cluster", "labels", "facts"];
/// Steps that it may take for one cluster: some milliseconds at worst, since a fleet has ten thousand.
const MAX_STEPS: u64 = 40_000;
/// Items of the lists of a sample: more APIs than any cluster serves, so that what is too costly is found at once.
const SAMPLE_ITEMS: usize = 400;
/// Characters of a value that are shown.
const SHOWN: usize = 60;

/// A condition on a cluster, ready to be judged any number of times.
#[derive(Clone, Debug)]
pub struct Condition {
    text: Arc<str>,
    expression: Arc<Expression>,
    reads: BTreeSet<Reads>,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What of a cluster a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reads {
    /// A label.
    Label(String),
    /// All labels.
    Labels,
    /// The set.
    Set,
    /// A fact.
    Fact(FactName),
}

/// Why a condition is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages name the fields")]
pub enum ConditionError {
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    #[error(transparent)]
    Fact(#[from] UnknownFact),
    #[error("name the fact that is meant, e.g. facts.kubernetes.minor; facts as a whole cannot be looked at")]
    AllFacts,
    #[error(
        "facts.free changes all the time and may be used in pick alone; use facts.capacity, or pick.fits"
    )]
    Volatile,
    #[error("cluster.{field} is no known field{suggestion} (cluster has name and set)")]
    Cluster { field: String, suggestion: String },
    #[error("{0}")]
    Evaluation(EvaluationError),
}

/// What a condition says of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Truth {
    /// It holds.
    Holds,
    /// It does not; something that it reads may be absent.
    Fails {
        /// The field that is not there.
        absent: Option<String>,
    },
    /// It reads a fact that is not known.
    Unknown {
        /// Which.
        fact: FactName,
    },
    /// It could not be evaluated.
    Undecided {
        /// Why.
        error: String,
    },
}

impl Condition {
    /// Reads a condition. `volatile` is whether it may look at `facts.free`.
    ///
    /// # Errors
    /// [`ConditionError`] says what is wrong and how to mend it.
    pub fn parse(text: &str, volatile: bool) -> Result<Self, ConditionError> {
        let expression = Expression::parse(text, &VARIABLES)?.within(MAX_STEPS);
        let paths = expression.paths();
        let reads = paths.iter().map(|path| reads(path, volatile)).collect::<Result<Vec<_>, _>>()?;
        let values = sample(&paths);
        for part in expression.conditions() {
            match part.evaluate(&values) {
                Ok(_) | Err(EvaluationError::NoElement | EvaluationError::Failed { .. }) => {}
                Err(error) => return Err(ConditionError::Evaluation(error)),
            }
        }
        let reads = reads.into_iter().flatten().collect();
        Ok(Self { text: text.into(), expression: Arc::new(expression), reads })
    }

    /// As it is written.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// What it looks at.
    pub fn reads(&self) -> &BTreeSet<Reads> {
        &self.reads
    }

    /// Judges a cluster.
    pub fn judge(&self, name: &ClusterName, cluster: &Candidate) -> Truth {
        match self.unknown(cluster) {
            Some(fact) => Truth::Unknown { fact },
            None => self.evaluate(&values(name, cluster)),
        }
    }

    /// The values of a cluster that it looks at, for people.
    pub fn seen(&self, name: &ClusterName, cluster: &Candidate) -> String {
        let variables = variables(name, cluster);
        let mut seen = Vec::new();
        for path in self.expression.paths() {
            let Some((root, below)) = path.split_first() else { continue };
            let at = VARIABLES.iter().position(|variable| variable == root);
            let value =
                at.and_then(|at| below.iter().try_fold(&variables[at], |value, part| value.get(part)));
            seen.push(match value {
                Some(value) => format!("{} is {}", written(&path), shown(value)),
                None if is_unknown(&path, cluster) => format!("{} is not known", written(&path)),
                None => format!("{} is not there", written(&path)),
            });
        }
        seen.join(", ")
    }

    /// The first unknown fact that it reads.
    pub fn unknown(&self, cluster: &Candidate) -> Option<FactName> {
        let facts = self.reads.iter().filter_map(|reads| match reads {
            Reads::Fact(fact) => Some(*fact),
            _ => None,
        });
        facts.into_iter().find(|fact| fact.is_unknown(cluster))
    }

    /// Judges by values, which one cluster shares over all conditions; only where nothing is unknown.
    pub fn evaluate(&self, values: &Values) -> Truth {
        match self.expression.evaluate(values) {
            Ok(true) => Truth::Holds,
            Ok(false) => Truth::Fails { absent: None },
            Err(EvaluationError::NoField { field }) => Truth::Fails { absent: Some(field) },
            Err(EvaluationError::NoElement) => {
                Truth::Fails { absent: Some("such an element of a list".into()) }
            }
            Err(error) => Truth::Undecided { error: error.to_string() },
        }
    }
}

/// What a path means; `cluster.name` alone never changes.
fn reads(path: &[String], volatile: bool) -> Result<Option<Reads>, ConditionError> {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match parts[..] {
        ["labels"] => Ok(Some(Reads::Labels)),
        ["labels", key, ..] => Ok(Some(Reads::Label(key.to_owned()))),
        ["facts"] => Err(ConditionError::AllFacts),
        ["facts", fact, ..] => match fact.parse()? {
            FactName::Free if !volatile => Err(ConditionError::Volatile),
            fact => Ok(Some(Reads::Fact(fact))),
        },
        ["cluster", "name", ..] => Ok(None),
        ["cluster"] | ["cluster", "set", ..] => Ok(Some(Reads::Set)),
        ["cluster", field, ..] => {
            let suggestion = did_you_mean(field, ["name", "set"]);
            Err(ConditionError::Cluster { field: field.to_owned(), suggestion })
        }
        _ => Ok(None),
    }
}

/// What the variables stand for on a cluster.
pub fn values(name: &ClusterName, cluster: &Candidate) -> Values {
    let [own, labels, facts] = variables(name, cluster);
    Values::default().with("cluster", &own).with("labels", &labels).with("facts", &facts)
}

/// The values of [`VARIABLES`].
fn variables(name: &ClusterName, cluster: &Candidate) -> [Value; 3] {
    let mut own = json!({"name": name});
    if let Some(set) = &cluster.set {
        own["set"] = json!(set);
    }
    let known = FACTS.iter().filter_map(|(fact, name)| match fact.of(cluster) {
        Fact::Present(value) => Some(((*name).to_owned(), value)),
        Fact::Absent | Fact::Unknown => None,
    });
    [own, json!(cluster.labels), Value::Object(known.collect())]
}

/// Whether a path leads into a fact that is not known.
fn is_unknown(path: &[String], cluster: &Candidate) -> bool {
    let fact = path.get(1).filter(|_| path[0] == "facts");
    let fact = fact.and_then(|fact| fact.parse::<FactName>().ok());
    fact.is_some_and(|fact| fact.is_unknown(cluster))
}

/// A path as an expression writes it.
fn written(path: &[String]) -> String {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut text = String::new();
    for part in path {
        match (text.is_empty(), is_name(part)) {
            (true, _) => text.push_str(part),
            (false, true) => _ = write!(text, ".{part}"),
            (false, false) => _ = write!(text, "[{part:?}]"),
        }
    }
    text
}

/// A value on one line, cut where it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN - 1).chain(['…']).collect()
}

/// A cluster that has everything, so that an error is one of the expression: every label and every entry of a map that is
/// named is there.
fn sample(paths: &BTreeSet<Vec<String>>) -> Values {
    let named = |root: &[&str], value: &dyn Fn(usize) -> Value| -> Map<String, Value> {
        let written = paths.iter().filter(|path| path.len() > root.len());
        let below = written.filter(|path| path.iter().zip(root).all(|(a, b)| a == b));
        let names = below.map(|path| path[root.len()].clone());
        let filler = (0..SAMPLE_ITEMS / 8).map(|n| format!("example-{n}"));
        names.chain(filler).enumerate().map(|(n, name)| (name, value(n))).collect()
    };
    let text = |_| json!("1");
    let resources = |name: &str| {
        let mut all = named(&["facts", name], &|n| json!(n + 1));
        all.insert("cpu".into(), json!(4.5));
        all.insert("memory".into(), json!(8_u64 << 30));
        all
    };
    let list = |count: usize, item: &str| (0..count).map(|n| format!("{item}-{n}")).collect::<Vec<_>>();
    let facts = json!({
        "kubernetes": {"version": "v1.31.2", "major": 1, "minor": 31},
        "nodes": 3,
        "architectures": list(2, "arm"),
        "capacity": resources("capacity"),
        "provider": "example",
        "region": "region-1",
        "zones": list(6, "zone"),
        "apis": list(SAMPLE_ITEMS, "example.com/v1/Kind"),
        "properties": named(&["facts", "properties"], &text),
        "custom": named(&["facts", "custom"], &text),
        "free": resources("free"),
    });
    let cluster = json!({"name": "example", "set": "example"});
    let labels = Value::Object(named(&["labels"], &text));
    Values::default().with("cluster", &cluster).with("labels", &labels).with("facts", &facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{KubernetesVersion, Resources};

    #[test]
    fn what_is_too_costly_for_ten_thousand_clusters_is_refused() {
        let list = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        let usual = [
            "facts.apis.exists(api, api.startsWith('gateway.networking.k8s.io/v1'))".to_owned(),
            "['a/v1/A', 'b/v1/B', 'c/v1/C'].all(part, facts.apis.exists(api, api.startsWith(part)))"
                .to_owned(),
            "['a', 'b', 'c', 'd'].exists(zone, zone in facts.zones) && facts.nodes in [1, 3, 5]".to_owned(),
            vec!["facts.nodes > 3"; 40].join(" && "),
        ];
        for text in usual {
            Condition::parse(&text, false).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        let nested = format!("{0}.all(a, {0}.all(b, a * b > 0))", list(100));
        let error = Condition::parse(&nested, false).expect_err("ten thousand rounds");
        assert!(error.to_string().contains("40000 are allowed"), "{error}");
    }

    #[test]
    fn what_it_saw_is_told_path_by_path() {
        let mut cluster = cluster();
        cluster.facts.apis = Fact::Unknown;
        cluster.labels.insert("example.com/long".into(), "x".repeat(63));
        let rows = [
            ("labels.tier == 'silver'", "labels.tier is \"gold\"".to_owned()),
            (
                "labels.tier == 'gold' && labels.none == ''",
                "labels.none is not there, labels.tier is \"gold\"".into(),
            ),
            (
                "labels['example.com/long'] == ''",
                format!("labels[\"example.com/long\"] is \"{}…", "x".repeat(58)),
            ),
            ("'v1/Pod' in facts.apis", "facts.apis is not known".into()),
            ("cluster.name.startsWith('a')", "cluster.name is \"fra-1\"".into()),
        ];
        let name = "fra-1".parse().expect("a name");
        for (text, seen) in rows {
            let condition = Condition::parse(text, false).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(condition.seen(&name, &cluster), seen, "{text}");
        }
    }

    fn cluster() -> Candidate {
        let mut cluster = Candidate::default();
        cluster.labels.insert("tier".into(), "gold".into());
        let version = KubernetesVersion { version: "v1.30.1".into(), major: 1, minor: 30 };
        cluster.facts.kubernetes = Fact::Present(version);
        cluster.facts.provider = Fact::Absent;
        cluster.facts.capacity = Fact::Present(Resources {
            cpu_millis: 16_000,
            memory: 64 << 30,
            other: [("nvidia.com/gpu".to_owned(), 8)].into(),
        });
        cluster
    }

    #[test]
    fn conditions_hold_fail_or_are_unknown_and_mistakes_are_found_when_they_are_read() {
        let rows = [
            ("facts.kubernetes.minor >= 28 && 'nvidia.com/gpu' in facts.capacity", "holds"),
            ("facts.capacity['nvidia.com/gpu'] >= 16", "fails"),
            ("facts.capacity['amd.com/gpu'] >= 1", "fails: no amd.com/gpu"),
            ("facts.capacity.cpu >= 16.0", "holds"),
            ("facts.capacity.cpu > 15", "holds"),
            ("facts.capacity.memory > 1073741824", "holds"),
            ("labels.tier == 'gold' && cluster.name.startsWith('fra')", "holds"),
            ("labels.stage == 'x'", "fails: no stage"),
            ("!has(labels.stage)", "holds"),
            ("has(facts.provider)", "fails"),
            ("facts.provider == 'aws'", "fails: no provider"),
            ("cluster.set == 'prod'", "fails: no set"),
            ("facts.nodes > 3", "unknown facts.nodes"),
            ("labels.tier == 'gold' || facts.nodes > 3", "unknown facts.nodes"),
            ("has(facts.custom.rack)", "unknown facts.custom"),
            ("facts.free.cpu > 2.0", "refused: facts.free changes all the time"),
            (
                "facts.kubernets.minor > 3",
                "refused: facts.kubernets is no known fact; did you mean kubernetes?",
            ),
            ("facts.kubernetes.minr > 3", "refused: there is no field minr"),
            ("facts.exists(f, true)", "refused: name the fact that is meant"),
            ("cluster.labels.x == 'a'", "refused: cluster.labels is no known field"),
            ("facts.nodes == 'three' || facts.nodes > 'three'", "refused: "),
            ("labels.tier == 'x' && facts.kubernetes.version + 1 == 3", "refused: "),
            ("facts.nodes", "refused: its value is neither true nor false"),
            ("nodes > 3", "refused: nodes is no known variable"),
            ("facts.apis.all(a, facts.apis.all(b, a != b + 'x'))", "refused: it could take"),
        ];
        let name: ClusterName = "fra-1".parse().expect("a name");
        for (text, expected) in rows {
            let said = match Condition::parse(text, false) {
                Err(error) => format!("refused: {error}"),
                Ok(condition) => match condition.judge(&name, &cluster()) {
                    Truth::Holds => "holds".to_owned(),
                    Truth::Fails { absent: None } => "fails".to_owned(),
                    Truth::Fails { absent: Some(absent) } => format!("fails: no {absent}"),
                    Truth::Unknown { fact } => format!("unknown {fact}"),
                    Truth::Undecided { error } => format!("undecided: {error}"),
                },
            };
            assert!(said.starts_with(expected), "{text}: {said}");
        }
        assert!(Condition::parse("facts.free.cpu > 2.0", true).is_ok());
    }
}
