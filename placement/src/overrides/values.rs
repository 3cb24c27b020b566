//! Values: what the names of a bundle's `${…}` stand for on one cluster.
//!
//! In: the names that are used, a cluster's parameters, labels and facts. Out: these values, or every name without one.
//! Never: takes a fact that is not known for one that is absent: a default stands for what is known not to be.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Parameters;
use super::template::{Uses, Values};
use crate::ClusterName;
use crate::fleet::{Fact, Facts, Resources};

/// Where values come from.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The cluster.
    pub cluster: &'a ClusterName,
    /// Its effective labels.
    pub labels: &'a BTreeMap<String, String>,
    /// What its spoke reported.
    pub facts: &'a Facts,
    /// Its parameters, all layers merged.
    pub parameters: &'a Parameters,
}

/// Why a name has no value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Lack {
    /// Nobody sets it.
    #[error("${{{0}}} has no value; {how}, or write ${{{0}:-DEFAULT}}", how = how_to_set(.0))]
    NoValue(String),
    /// Its spoke has not reported the fact yet.
    #[error("${{{0}}} is not known yet; the spoke has not reported that fact")]
    UnknownFact(String),
    /// Its chart is rendered for what the cluster has, and its spoke has not reported that fact yet.
    #[error("the chart asks for {0}, which is not known yet; the spoke has not reported that fact")]
    Unanswered(String),
    /// It is a list or a map, and stands amid text.
    #[error(
        "${{{0}}} is a list or a map, which cannot stand amid text; let it stand alone, or name a value in it"
    )]
    NoText(String),
    /// It cannot be told whether an override applies: which, and why.
    #[error("whether Override/{0} applies is not known yet: {1}")]
    Undecided(String, String),
    /// Whether an override applies cannot be told, and will not be before somebody mends it: which, and why.
    #[error("whether Override/{0} applies cannot be told: {1}")]
    Untold(String, String),
}

impl Lack {
    /// Whether it ends by itself, with what the spoke reports next.
    pub fn passes(&self) -> bool {
        matches!(self, Self::UnknownFact(_) | Self::Unanswered(_) | Self::Undecided(..))
    }
}

fn how_to_set(name: &str) -> &'static str {
    match name.split('.').next() {
        Some("parameters") => {
            "set it in the parameters of the Fleet, the App, the ClusterSet, an Override or the Cluster"
        }
        Some("labels") => "give the cluster the label",
        _ => "the cluster has no such fact",
    }
}

/// The values of the names that are used.
///
/// # Errors
/// Every name that lacks one.
pub fn values(uses: &Uses, scope: &Scope<'_>) -> Result<Values, Vec<Lack>> {
    let mut values = Values::new();
    let mut lacks = Vec::new();
    for (name, used) in uses {
        match scope.look(name) {
            Fact::Present(Value::Array(_) | Value::Object(_)) if used.in_text => {
                lacks.push(Lack::NoText(name.clone()));
            }
            Fact::Present(value) => drop(values.insert(name.clone(), value)),
            Fact::Unknown => lacks.push(Lack::UnknownFact(name.clone())),
            Fact::Absent if used.required => lacks.push(Lack::NoValue(name.clone())),
            Fact::Absent => {}
        }
    }
    if lacks.is_empty() { Ok(values) } else { Err(lacks) }
}

impl Scope<'_> {
    fn look(&self, name: &str) -> Fact<Value> {
        let (root, rest) = name.split_once('.').unwrap_or((name, ""));
        let known = |value: Option<Value>| value.map_or(Fact::Absent, Fact::Present);
        match root {
            "cluster" => Fact::Present(self.cluster.as_str().into()),
            "labels" => known(self.labels.get(rest).map(|value| value.as_str().into())),
            "parameters" => known(at(self.parameters, rest).cloned()),
            _ => fact(self.facts, rest),
        }
    }
}

/// The value at a dotted path. A key may itself hold dots: what is left is first taken for one key.
pub(crate) fn at<'a>(map: &'a Parameters, path: &str) -> Option<&'a Value> {
    if let Some(value) = map.get(path) {
        return Some(value);
    }
    let dots = path.match_indices('.').map(|(dot, _)| dot);
    let mut inner = dots.filter_map(|dot| at(map.get(&path[..dot])?.as_object()?, &path[dot + 1..]));
    inner.next()
}

fn fact(facts: &Facts, path: &str) -> Fact<Value> {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    match (name, rest) {
        ("nodes", "") => one(&facts.nodes, |nodes| json!(nodes)),
        ("architectures", "") => one(&facts.architectures, |names| json!(names)),
        ("provider", "") => one(&facts.provider, |name| json!(name)),
        ("region", "") => one(&facts.region, |name| json!(name)),
        ("zones", "") => one(&facts.zones, |names| json!(names)),
        ("apis", "") => one(&facts.apis, |names| json!(names)),
        ("kubernetes", _) => of(&facts.kubernetes, |kubernetes| match rest {
            "version" => Some(json!(kubernetes.version)),
            "major" => Some(json!(kubernetes.major)),
            "minor" => Some(json!(kubernetes.minor)),
            _ => None,
        }),
        ("capacity", _) => of(&facts.capacity, |capacity| resource(capacity, rest)),
        ("properties", _) => {
            of(&facts.properties, |properties| properties.get(rest).map(|value| json!(value)))
        }
        ("custom", _) => of(&facts.custom, |custom| custom.get(rest).map(|value| json!(value))),
        _ => Fact::Absent,
    }
}

fn resource(of: &Resources, name: &str) -> Option<Value> {
    match name {
        // Cores, as placements see them.
        "cpu" => Some(match of.cpu_millis % 1000 {
            0 => json!(of.cpu_millis / 1000),
            _ => json!(of.cpu_millis as f64 / 1000.0),
        }),
        "memory" => Some(json!(of.memory)),
        name => of.other.get(name).map(|amount| json!(amount)),
    }
}

fn one<T>(fact: &Fact<T>, shown: impl FnOnce(&T) -> Value) -> Fact<Value> {
    of(fact, |value| Some(shown(value)))
}

fn of<T>(fact: &Fact<T>, shown: impl FnOnce(&T) -> Option<Value>) -> Fact<Value> {
    match fact {
        Fact::Unknown => Fact::Unknown,
        Fact::Absent => Fact::Absent,
        Fact::Present(value) => shown(value).map_or(Fact::Absent, Fact::Present),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::KubernetesVersion;
    use crate::overrides::template::uses;

    #[test]
    fn a_name_means_the_clusters_own() {
        let parameters = json!({
            "store": {"number": "0417"},
            "a.b": 1,
            "a": {"b": 2, "c.d": 3},
            "hosts": ["x"],
        });
        let parameters = parameters.as_object().expect("a mapping");
        let labels = [("region", "eu"), ("topology.kubernetes.io/zone", "b"), ("empty", "")];
        let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        let version = KubernetesVersion { version: "v1.31.2-gke.1".into(), major: 1, minor: 31 };
        let other = BTreeMap::from([("nvidia.com/gpu".to_owned(), 8)]);
        let facts = Facts {
            kubernetes: Fact::Present(version),
            capacity: Fact::Present(Resources { cpu_millis: 2500, memory: 1024, other }),
            zones: Fact::Present(["a".to_owned()].into()),
            region: Fact::Absent,
            ..Facts::default()
        };
        let cluster = "fra-1".parse().expect("a name");
        let scope = Scope { cluster: &cluster, labels: &labels, facts: &facts, parameters };
        // (text, the value or what is lacking)
        let rows = [
            ("${cluster.name}", Ok(json!("fra-1"))),
            ("${labels.region}", Ok(json!("eu"))),
            ("${labels.topology.kubernetes.io/zone}", Ok(json!("b"))),
            ("${labels.empty}", Ok(json!(""))),
            ("${parameters.store.number}", Ok(json!("0417"))),
            ("${parameters.store}", Ok(json!({"number": "0417"}))),
            ("${parameters.a.b}", Ok(json!(1))),
            ("${parameters.a.c.d}", Ok(json!(3))),
            ("${facts.kubernetes.minor}", Ok(json!(31))),
            ("${facts.kubernetes.version}", Ok(json!("v1.31.2-gke.1"))),
            ("${facts.capacity.cpu}", Ok(json!(2.5))),
            ("${facts.capacity.nvidia.com/gpu}", Ok(json!(8))),
            ("${facts.zones}", Ok(json!(["a"]))),
            (
                "${parameters.store.name}",
                Err(
                    "${parameters.store.name} has no value; set it in the parameters of the Fleet, the App, the ClusterSet, an Override or the Cluster, or write ${parameters.store.name:-DEFAULT}",
                ),
            ),
            (
                "${labels.tier}",
                Err(
                    "${labels.tier} has no value; give the cluster the label, or write ${labels.tier:-DEFAULT}",
                ),
            ),
            (
                "${facts.region}",
                Err(
                    "${facts.region} has no value; the cluster has no such fact, or write ${facts.region:-DEFAULT}",
                ),
            ),
            // A default does not stand for what is not known yet.
            (
                "${facts.provider:-none}",
                Err("${facts.provider} is not known yet; the spoke has not reported that fact"),
            ),
            (
                "a ${parameters.hosts}",
                Err(
                    "${parameters.hosts} is a list or a map, which cannot stand amid text; let it stand alone, or name a value in it",
                ),
            ),
        ];
        for (text, expected) in rows {
            let mut used = Uses::new();
            uses(&json!(text), &mut used).expect(text);
            let found = values(&used, &scope).map(|values| values.into_values().next().expect("one name"));
            let found = found.map_err(|lacks| lacks[0].to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        }
        let mut used = Uses::new();
        uses(&json!(["${facts.region:-none}", "${parameters.x:-1}"]), &mut used).expect("templates");
        assert_eq!(values(&used, &scope), Ok(Values::new()), "what is absent has its default on the spoke");
    }
}
