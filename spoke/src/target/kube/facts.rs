//! Facts: what the cluster says of itself, and what it has left.
//!
//! In: the API server's answers, page by page. Out: [`Facts`], [`Free`]; a question without an answer is unknown.
//! Never: says absent, or an old number, when it could not ask; keeps nodes or pods, of which only sums are made; lets a part
//! that fails take the others with it.

mod nodes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use kube::api::ListParams;
use nave_placement::fleet::{Fact, Facts, KubernetesVersion};
use nave_proto::limits::FACT;
use serde_json::Value;

use self::nodes::{Nodes, data, property, taken, the_one};
use super::inventory::config_maps;
use super::kinds::core;
use super::problem::Problem;
use super::quantity::Amounts;
use super::shared::{Shared, text};
use crate::target::Free;

/// The ConfigMap of the spoke's own namespace in which a cluster says what it likes of itself.
const CUSTOM: &str = "nave-facts";
/// Where `ClusterProperty` belongs.
const ABOUT: &str = "about.k8s.io";
/// Nodes of a page. One names the images that it has: 30 KiB each are not rare.
const NODES: u32 = 25;
/// Pods of a page, some 8 KiB each.
const PODS: u32 = 100;
/// Pods that are over have given back what they took.
const PODS_NOT_OVER: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// What may not be asked: each is told once, until it may be asked again.
#[derive(Default)]
pub(super) struct Denied(Mutex<BTreeSet<&'static str>>);

impl Denied {
    /// The answer, if there is one; why not is told.
    fn answered<T>(&self, fact: &'static str, answer: Result<T, Problem>) -> Option<T> {
        let mut denied = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(answer) => {
                denied.remove(fact);
                return Some(answer);
            }
            Err(problem) if matches!(problem.code, 401 | 403) => {
                if denied.insert(fact) {
                    tracing::info!(fact, error = %problem.error, "a fact is unknown: the spoke may not ask for it");
                }
            }
            Err(problem) => tracing::debug!(fact, error = %problem.error, "a fact is unknown"),
        }
        None
    }
}

impl Shared {
    pub async fn facts(&self) -> Facts {
        let kind = config_maps();
        let (version, nodes, properties, custom) = tokio::join!(
            self.wire.document("", "version"),
            self.nodes(),
            self.properties(),
            self.wire.get(&kind, &self.marks.namespace, CUSTOM),
        );
        let version = self.denied.answered("kubernetes", version);
        let mut facts = Facts {
            kubernetes: fact(version.and_then(|v| version_of(&v))),
            apis: fact(self.kinds().apis().filter(|apis| fits("apis", apis.iter().map(String::len)))),
            properties: bounded("properties", self.denied.answered("properties", properties)),
            custom: bounded("custom", self.denied.answered("custom", custom).map(|c| c.map(|c| data(&c)))),
            ..Facts::default()
        };
        if let Some(nodes) = self.denied.answered("nodes", nodes) {
            facts.nodes = Fact::Present(nodes.count);
            facts.capacity = fact(nodes.capacity.map(|capacity| capacity.resources()));
            facts.provider = the_one(&nodes.providers);
            facts.region = the_one(&nodes.regions);
            facts.zones = Fact::Present(nodes.zones);
            facts.architectures = Fact::Present(nodes.architectures);
        }
        facts
    }

    /// What nodes that take pods have left. Pods are counted after the nodes, so that those of a node that came meanwhile are
    /// not missed from the others.
    pub async fn free(&self) -> Option<Free> {
        let nodes = self.denied.answered("nodes", self.nodes().await)?;
        let (mut pods, mut sum) = (0usize, Some(Amounts::default()));
        let params = ListParams::default().limit(PODS).fields(PODS_NOT_OVER);
        let each = |pod: Value| {
            pods += 1;
            let over = ["Succeeded", "Failed"].contains(&text(&pod, "/status/phase"));
            if !over && nodes.taking.contains(text(&pod, "/spec/nodeName")) {
                sum = sum.take().zip(taken(&pod)).map(|(mut sum, more)| {
                    sum.add(&more);
                    sum
                });
            }
        };
        self.denied.answered("free", self.wire.walk(&core("Pod", "pods"), "", false, params, each).await)?;
        let mut left = nodes.open?;
        left.without(&sum?);
        Some(Free { amounts: left.resources(), objects: pods + nodes.count as usize })
    }

    async fn nodes(&self) -> Result<Nodes, Problem> {
        let mut nodes = Nodes::none();
        let params = ListParams::default().limit(NODES);
        self.wire.walk(&core("Node", "nodes"), "", false, params, |node| nodes.add(&node)).await?;
        Ok(nodes)
    }

    /// `None` where the kind is not served.
    async fn properties(&self) -> Result<Option<BTreeMap<String, String>>, Problem> {
        let kinds = self.kinds();
        let Some(kind) = kinds.preferred(ABOUT, "ClusterProperty") else {
            return match kinds.is_silent(ABOUT) {
                true => Err(Problem::unanswered(format!("{ABOUT} does not answer"))),
                false => Ok(None),
            };
        };
        let mut found = BTreeMap::new();
        let each = |object: Value| found.extend(property(&object));
        match self.wire.list(&kind, "", None, false, each).await {
            // It went away since it was discovered.
            Err(problem) if problem.is_not_served() => Ok(None),
            listed => listed.map(|()| Some(found)),
        }
    }
}

fn fact<T>(known: Option<T>) -> Fact<T> {
    known.map_or(Fact::Unknown, Fact::Present)
}

/// What was answered: not there, or there and not larger than a hub keeps.
fn bounded(
    name: &'static str,
    answer: Option<Option<BTreeMap<String, String>>>,
) -> Fact<BTreeMap<String, String>> {
    match answer {
        None => Fact::Unknown,
        Some(None) => Fact::Absent,
        Some(Some(map)) => {
            fact(Some(map).filter(|map| fits(name, map.iter().map(|(k, v)| k.len() + v.len()))))
        }
    }
}

fn fits(fact: &'static str, lengths: impl Iterator<Item = usize>) -> bool {
    let fits = nave_proto::fits_fact(lengths);
    if !fits {
        tracing::warn!(fact, most = FACT, "a fact is unknown: it has more bytes than a hub keeps of one");
    }
    fits
}

/// Providers write a minor version as `20+`.
fn version_of(answer: &Value) -> Option<KubernetesVersion> {
    let number = |field: &str| {
        let digits = text(answer, field);
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let (major, minor) = (number("/major")?, number("/minor")?);
    Some(KubernetesVersion { version: text(answer, "/gitVersion").to_owned(), major, minor })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_providers_plus_is_no_part_of_the_minor_version() {
        let version =
            |minor: &str| version_of(&json!({"major": "1", "minor": minor, "gitVersion": "v1.20.2-gke.1"}));
        assert_eq!(version("20+").map(|v| (v.major, v.minor)), Some((1, 20)));
        assert_eq!(version("31").map(|v| v.minor), Some(31));
        assert_eq!(version(""), None);
    }

    #[test]
    fn what_is_not_there_is_absent_and_what_could_not_be_asked_is_unknown() {
        let map = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        assert_eq!(bounded("custom", None), Fact::Unknown);
        assert_eq!(bounded("custom", Some(None)), Fact::Absent);
        assert_eq!(bounded("custom", Some(Some(map.clone()))), Fact::Present(map));
        let large = BTreeMap::from([("a".to_owned(), "b".repeat(FACT))]);
        assert_eq!(bounded("custom", Some(Some(large))), Fact::Unknown);
    }
}
