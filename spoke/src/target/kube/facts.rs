//! Facts: what the cluster says of itself.
//!
//! In: the API server's answers. Out: [`Facts`]; a question without an answer is unknown.
//! Never: says absent, or an old number, when it could not ask.

use kube::api::ListParams;
use nave_placement::fleet::{Fact, Facts, KubernetesVersion};
use serde_json::Value;

use super::kinds::core;
use super::problem::Problem;
use super::shared::{Shared, text};
use super::wire::path;

impl Shared {
    pub async fn facts(&self) -> Facts {
        let version = self.wire.document("", "version").await;
        let kubernetes =
            known("version", version).and_then(|v| version_of(&v)).map_or(Fact::Unknown, Fact::Present);
        let nodes = known("nodes", self.count_nodes().await).map_or(Fact::Unknown, Fact::Present);
        Facts { kubernetes, nodes, ..Facts::default() }
    }

    /// One node's metadata and the number of those that remain: one small answer, whatever the size of the cluster.
    async fn count_nodes(&self) -> Result<u32, Problem> {
        let nodes = core("Node", "nodes");
        let page =
            self.wire.send(path(&nodes, "").list_metadata(&ListParams::default().limit(1))).await?.body;
        let here = page.get("items").and_then(Value::as_array).map_or(0, Vec::len);
        let more = page.pointer("/metadata/remainingItemCount").and_then(Value::as_u64);
        if more.is_none() && !text(&page, "/metadata/continue").is_empty() {
            let mut all = 0;
            self.wire.list(&nodes, "", None, true, |_| all += 1).await?;
            return Ok(all);
        }
        Ok(u32::try_from(here as u64 + more.unwrap_or_default()).unwrap_or(u32::MAX))
    }
}

fn known<T>(what: &str, answer: Result<T, Problem>) -> Option<T> {
    answer
        .inspect_err(|problem| tracing::debug!(fact = what, error = %problem.error, "a fact is unknown"))
        .ok()
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
}
