//! Kubeconfigs: written complete in themselves, with the authority's certificate inside, so that they can be copied.
//!
//! They are JSON, which every reader of YAML reads.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Cluster;

/// A kubeconfig whose one cluster, user and context have the same name.
pub(super) fn text(name: &str, url: &str, authority_pem: &str, token: &str) -> String {
    let value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority-data": STANDARD.encode(authority_pem)}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    });
    format!("{value:#}\n")
}

/// Writes one kubeconfig with a context for each of the clusters, named as it; the first is the current one.
///
/// # Errors
/// When the file cannot be written. Clusters of one name would hide each other: that is refused.
pub fn merge(clusters: &[&Cluster], path: &Path) -> Result<()> {
    let mut whole: Option<Value> = None;
    for cluster in clusters {
        let one: Value = serde_json::from_slice(&fs::read(cluster.kubeconfig())?)?;
        let Some(whole) = &mut whole else {
            whole = Some(one);
            continue;
        };
        let known = |list: &[Value]| list.iter().any(|entry| entry["name"] == cluster.name());
        for list in ["clusters", "users", "contexts"] {
            let entries = whole[list].as_array_mut().context("our own kubeconfigs have lists")?;
            anyhow::ensure!(!known(entries), "two clusters are named {}", cluster.name());
            entries.extend(one[list].as_array().cloned().unwrap_or_default());
        }
    }
    let whole = whole.context("there is nothing to merge")?;
    fs::write(path, format!("{whole:#}\n")).with_context(|| format!("writing {}", path.display()))
}
