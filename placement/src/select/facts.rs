//! What rules may look at in a cluster beside its labels, by the names that `design.md` gives it.
//!
//! In: a [`Candidate`]. Out: a fact as JSON, as a text or as a number; or that it is absent or unknown.
//! Never: takes unknown for absent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::amount;
use crate::catalog::did_you_mean;
use crate::fleet::{Candidate, Fact, Resources};

/// The facts by name, as `facts.NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields of Facts tell")]
pub enum FactName {
    Kubernetes,
    Nodes,
    Architectures,
    Capacity,
    Provider,
    Region,
    Zones,
    Apis,
    Properties,
    Custom,
    /// Volatile: for `pick` alone.
    Free,
}

/// All, in the order of the enum.
pub const FACTS: [(FactName, &str); 11] = [
    (FactName::Kubernetes, "kubernetes"),
    (FactName::Nodes, "nodes"),
    (FactName::Architectures, "architectures"),
    (FactName::Capacity, "capacity"),
    (FactName::Provider, "provider"),
    (FactName::Region, "region"),
    (FactName::Zones, "zones"),
    (FactName::Apis, "apis"),
    (FactName::Properties, "properties"),
    (FactName::Custom, "custom"),
    (FactName::Free, "free"),
];

impl fmt::Display for FactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FACTS.iter().find(|(fact, _)| fact == self).map_or("", |(_, name)| name);
        write!(f, "facts.{name}")
    }
}

/// A name that no fact has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("facts.{name} is no known fact{suggestion} (facts are {})", FACTS.map(|(_, name)| name).join(", "))]
pub struct UnknownFact {
    name: String,
    suggestion: String,
}

impl FromStr for FactName {
    type Err = UnknownFact;
    fn from_str(name: &str) -> Result<Self, UnknownFact> {
        FACTS.iter().find(|(_, known)| *known == name).map(|(fact, _)| *fact).ok_or_else(|| UnknownFact {
            name: name.to_owned(),
            suggestion: did_you_mean(name, FACTS.map(|(_, known)| known)),
        })
    }
}

impl FactName {
    /// The fact of a cluster as an expression sees it.
    pub fn of(self, cluster: &Candidate) -> Fact<Value> {
        let facts = &cluster.facts;
        match self {
            Self::Kubernetes => {
                seen(&facts.kubernetes, |k| json!({"version": k.version, "major": k.major, "minor": k.minor}))
            }
            Self::Nodes => seen(&facts.nodes, |nodes| json!(nodes)),
            Self::Architectures => seen(&facts.architectures, |all| json!(all)),
            Self::Capacity => seen(&facts.capacity, resources),
            Self::Provider => seen(&facts.provider, |provider| json!(provider)),
            Self::Region => seen(&facts.region, |region| json!(region)),
            Self::Zones => seen(&facts.zones, |all| json!(all)),
            Self::Apis => seen(&facts.apis, |all| json!(all)),
            Self::Properties => seen(&facts.properties, |all| json!(all)),
            Self::Custom => seen(&facts.custom, |all| json!(all)),
            Self::Free => seen(&cluster.free, resources),
        }
    }

    /// Whether a cluster's fact is unknown.
    pub fn is_unknown(self, cluster: &Candidate) -> bool {
        let facts = &cluster.facts;
        match self {
            Self::Kubernetes => facts.kubernetes == Fact::Unknown,
            Self::Nodes => facts.nodes == Fact::Unknown,
            Self::Architectures => facts.architectures == Fact::Unknown,
            Self::Capacity => facts.capacity == Fact::Unknown,
            Self::Provider => facts.provider == Fact::Unknown,
            Self::Region => facts.region == Fact::Unknown,
            Self::Zones => facts.zones == Fact::Unknown,
            Self::Apis => facts.apis == Fact::Unknown,
            Self::Properties => facts.properties == Fact::Unknown,
            Self::Custom => facts.custom == Fact::Unknown,
            Self::Free => cluster.free == Fact::Unknown,
        }
    }
}

fn seen<T>(fact: &Fact<T>, shown: impl Fn(&T) -> Value) -> Fact<Value> {
    match fact {
        Fact::Unknown => Fact::Unknown,
        Fact::Absent => Fact::Absent,
        Fact::Present(value) => Fact::Present(shown(value)),
    }
}

/// Cores as a double, bytes and everything else as whole numbers.
#[allow(clippy::cast_precision_loss, reason = "thousandths of cores are far below 2^52")]
fn resources(resources: &Resources) -> Value {
    let mut all: serde_json::Map<String, Value> =
        resources.other.iter().map(|(name, amount)| (name.clone(), json!(amount))).collect();
    all.insert("cpu".into(), json!(resources.cpu_millis as f64 / 1_000.0));
    all.insert("memory".into(), json!(resources.memory));
    Value::Object(all)
}

impl Resources {
    /// How much there is of a resource, in thousandths of its unit.
    pub fn thousandths(&self, resource: &str) -> u64 {
        match resource {
            "cpu" => self.cpu_millis,
            "memory" => self.memory.saturating_mul(1_000),
            other => self.other.get(other).copied().unwrap_or(0).saturating_mul(1_000),
        }
    }

    /// Adds so much, in thousandths of the resource's unit, rounded up to what it is counted in.
    pub fn add(&mut self, resource: &str, thousandths: u64) {
        let whole = thousandths.div_ceil(1_000);
        match resource {
            "cpu" => self.cpu_millis = self.cpu_millis.saturating_add(thousandths),
            "memory" => self.memory = self.memory.saturating_add(whole),
            other => {
                let amount = self.other.entry(other.to_owned()).or_default();
                *amount = amount.saturating_add(whole);
            }
        }
    }

    /// Takes so much away; never below nothing.
    pub fn take(&mut self, taken: &Self) {
        self.cpu_millis = self.cpu_millis.saturating_sub(taken.cpu_millis);
        self.memory = self.memory.saturating_sub(taken.memory);
        for (resource, amount) in &mut self.other {
            *amount = amount.saturating_sub(taken.other.get(resource).copied().unwrap_or(0));
        }
    }
}

/// One thing of a cluster that has a text or a number: `labels.KEY`, or a fact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Look {
    /// A label.
    Label(String),
    /// A fact, and what of it.
    Fact(FactName, Option<String>),
}

/// Text that means nothing of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages name the fields")]
pub enum LookError {
    #[error("{0:?} is neither labels.KEY nor facts.NAME; write e.g. labels.region or facts.provider")]
    Neither(String),
    #[error(transparent)]
    Fact(#[from] UnknownFact),
    #[error("facts.{0} has no single value; name one of it, e.g. facts.{0}.{1}")]
    Whole(String, &'static str),
    #[error("facts.kubernetes has no {0}; it has version, major and minor")]
    NotOfKubernetes(String),
    #[error("facts.{0} has no fields")]
    NoFields(String),
    #[error(
        "{0} is text, of which no cluster has the most or the least; name a number: facts.nodes, facts.kubernetes.minor, facts.capacity.RESOURCE, facts.free.RESOURCE, or a label, facts.properties.NAME or facts.custom.NAME that holds one"
    )]
    NoNumber(Look),
}

impl FromStr for Look {
    type Err = LookError;
    fn from_str(text: &str) -> Result<Self, LookError> {
        let neither = || LookError::Neither(text.to_owned());
        let (root, rest) = split(text).ok_or_else(neither)?;
        if root == "labels" {
            return Ok(Self::Label(rest));
        }
        if root != "facts" {
            return Err(neither());
        }
        let (name, field) = match rest.split_once(['.', '[']) {
            Some((name, _)) => (name.to_owned(), split(&rest).map(|(_, field)| field)),
            None => (rest, None),
        };
        let fact: FactName = name.parse()?;
        match (fact, &field) {
            (FactName::Kubernetes, Some(field)) if !["version", "major", "minor"].contains(&&**field) => {
                Err(LookError::NotOfKubernetes(field.clone()))
            }
            (FactName::Kubernetes, None) => Err(LookError::Whole(name, "minor")),
            (FactName::Capacity | FactName::Free, None) => Err(LookError::Whole(name, "cpu")),
            (FactName::Properties | FactName::Custom, None) => Err(LookError::Whole(name, "tier")),
            (FactName::Architectures | FactName::Zones | FactName::Apis, _) => {
                Err(LookError::Whole(name, "…"))
            }
            (FactName::Nodes | FactName::Provider | FactName::Region, Some(_)) => {
                Err(LookError::NoFields(name))
            }
            _ => Ok(Self::Fact(fact, field)),
        }
    }
}

/// `a.REST` or `a['REST']`.
fn split(text: &str) -> Option<(String, String)> {
    let at = text.find(['.', '['])?;
    let (root, rest) = text.split_at(at);
    let rest = match rest.strip_prefix('.') {
        Some(rest) => rest,
        None => {
            let inner = rest.strip_prefix('[')?.strip_suffix(']')?;
            let quote = inner.chars().next().filter(|c| ['\'', '"'].contains(c))?;
            inner.strip_prefix(quote)?.strip_suffix(quote)?
        }
    };
    (!rest.is_empty()).then(|| (root.to_owned(), rest.to_owned()))
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(key) => write!(f, "labels.{key}"),
            Self::Fact(fact, None) => fact.fmt(f),
            Self::Fact(fact, Some(field)) if field.contains(['.', '/']) => write!(f, "{fact}['{field}']"),
            Self::Fact(fact, Some(field)) => write!(f, "{fact}.{field}"),
        }
    }
}

impl TryFrom<String> for Look {
    type Error = LookError;
    fn try_from(text: String) -> Result<Self, LookError> {
        text.parse()
    }
}

impl From<Look> for String {
    fn from(look: Look) -> Self {
        look.to_string()
    }
}

impl Look {
    /// Its value on a cluster, as text.
    pub fn text(&self, cluster: &Candidate) -> Fact<String> {
        match self.value(cluster) {
            Fact::Present(Value::String(text)) => Fact::Present(text),
            Fact::Present(value) => Fact::Present(value.to_string()),
            Fact::Absent => Fact::Absent,
            Fact::Unknown => Fact::Unknown,
        }
    }

    /// Its value on a cluster as a number, in thousandths; what is no number is absent.
    pub fn number(&self, cluster: &Candidate) -> Fact<u64> {
        if let Self::Fact(fact @ (FactName::Capacity | FactName::Free), Some(resource)) = self {
            let resources = if *fact == FactName::Free { &cluster.free } else { &cluster.facts.capacity };
            return match resources {
                Fact::Present(resources) => Fact::Present(resources.thousandths(resource)),
                Fact::Absent => Fact::Absent,
                Fact::Unknown => Fact::Unknown,
            };
        }
        match self.text(cluster) {
            Fact::Present(text) => amount::thousandths(&text).map_or(Fact::Absent, Fact::Present),
            Fact::Absent => Fact::Absent,
            Fact::Unknown => Fact::Unknown,
        }
    }

    /// Itself, where its value can be a number. Labels, properties and custom facts are texts that may hold one.
    ///
    /// # Errors
    /// When it is text on every cluster.
    pub fn measurable(self) -> Result<Self, LookError> {
        let is_number = match &self {
            Self::Label(_) => true,
            Self::Fact(FactName::Kubernetes, field) => field.as_deref() != Some("version"),
            Self::Fact(
                FactName::Nodes
                | FactName::Capacity
                | FactName::Free
                | FactName::Properties
                | FactName::Custom,
                _,
            ) => true,
            Self::Fact(_, _) => false,
        };
        if is_number { Ok(self) } else { Err(LookError::NoNumber(self)) }
    }

    fn value(&self, cluster: &Candidate) -> Fact<Value> {
        match self {
            Self::Label(key) => match cluster.labels.get(key) {
                Some(value) => Fact::Present(json!(value)),
                None => Fact::Absent,
            },
            Self::Fact(fact, None) => fact.of(cluster),
            Self::Fact(fact, Some(field)) => match fact.of(cluster) {
                Fact::Present(value) => value.get(field).map_or(Fact::Absent, |v| Fact::Present(v.clone())),
                other => other,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_looked_at_reads_back_what_it_shows() {
        for text in [
            "labels.region",
            "labels.topology.kubernetes.io/zone",
            "facts.provider",
            "facts.kubernetes.minor",
            "facts.free.cpu",
            "facts.free['nvidia.com/gpu']",
            "facts.custom.rack",
        ] {
            let look: Look = text.parse().expect(text);
            assert_eq!(look.to_string(), text);
            assert_eq!(look.to_string().parse::<Look>(), Ok(look));
        }
        assert_eq!("labels['region']".parse::<Look>(), Ok(Look::Label("region".into())));
        let rows = [
            ("region", "is neither labels.KEY nor facts.NAME"),
            ("labels.", "is neither"),
            ("facts.regoin", "is no known fact; did you mean region?"),
            ("facts.kubernetes", "has no single value; name one of it, e.g. facts.kubernetes.minor"),
            ("facts.kubernetes.patch", "facts.kubernetes has no patch"),
            ("facts.zones", "has no single value"),
            ("facts.nodes.x", "facts.nodes has no fields"),
        ];
        for (text, expected) in rows {
            let error = text.parse::<Look>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_text_on_every_cluster_cannot_be_measured() {
        let rows = [
            ("labels.rank", true),
            ("facts.nodes", true),
            ("facts.kubernetes.minor", true),
            ("facts.capacity.memory", true),
            ("facts.free.cpu", true),
            ("facts.custom.racks", true),
            ("facts.properties.rank", true),
            ("facts.kubernetes.version", false),
            ("facts.provider", false),
            ("facts.region", false),
        ];
        for (text, expected) in rows {
            let look: Look = text.parse().expect(text);
            assert_eq!(look.measurable().is_ok(), expected, "{text}");
        }
    }
}
