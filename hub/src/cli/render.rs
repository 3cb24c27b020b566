//! `hub render`: the manifests that a spoke gets, and who set each value.
//!
//! In: a [`RenderView`]. Out: manifests as YAML, or a table of values and who set them.
//! Never: leaves out an object; one that is encrypted shows its head.

use std::fmt::Write as _;

use clap::Args;
use nave_placement::overrides::Provenance;
use nave_placement::overrides::template::substitute;
use nave_proto::v1;
use serde_json::Value;

use super::Outcome;
use super::client::{Hub, document, request};
use super::output::{Format, Style, View};
use super::table::Table;
use crate::operator::views::RenderView;

/// Its arguments.
#[derive(Args)]
#[command(after_help = "Example: hub render web --cluster eu-1 --provenance")]
pub struct Arguments {
    /// The app
    app: String,
    /// As it is on this cluster [default: as it is without overrides, nothing filled in]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Tell of every value who set it
    #[arg(long)]
    provenance: bool,
    #[command(flatten)]
    format: Format,
}

/// Shows it.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let Arguments { app, cluster, provenance, format } = arguments;
    let mut client = hub.connect().await?;
    let asked = v1::RenderRequest { app, cluster: cluster.unwrap_or_default(), provenance };
    let answer = document(client.render(request(asked)).await)?;
    answer.print::<RenderView>(format.output)?;
    Ok(Outcome::Done)
}

impl View for RenderView {
    fn text(&self, style: Style) -> String {
        let mut text = format!("# app {}", self.app);
        if let Some(cluster) = &self.cluster {
            let _ = write!(text, " on cluster {cluster}");
        }
        let _ = write!(text, ": version {} of commit {}", self.version.short(), self.commit.short());
        if !self.overrides.is_empty() {
            let _ = write!(text, ", overrides {}", self.overrides.join(", "));
        }
        text.push('\n');
        if self.provenance.is_empty() {
            for object in &self.objects {
                // A value that was JSON is YAML too.
                let yaml = serde_saphyr::to_string(object).unwrap_or_else(|_| format!("{object}\n"));
                let _ = write!(text, "---\n{yaml}");
            }
            return text;
        }
        let mut table = Table::new(["OBJECT", "PATH", "VALUE", "SET BY", "FILLED BY"]);
        for told in &self.provenance {
            let filled: Vec<String> =
                told.filled.iter().map(|filled| format!("{}: {}", filled.name, filled.by)).collect();
            table.row([
                told.object.to_string().into(),
                told.path.clone().into(),
                style.message(&value(self, told).to_string()).into(),
                told.by.to_string().into(),
                filled.join(", ").into(),
            ]);
        }
        text.push_str(&table.to_string());
        text
    }

    fn names(&self) -> Vec<String> {
        let name = |object: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
        };
        self.objects.iter().map(name).collect()
    }
}

/// The value as the cluster gets it; as it is written, where no cluster is asked about.
fn value(view: &RenderView, told: &Provenance) -> Value {
    let mut value = told.value.clone();
    let is_filled = view.cluster.is_some() && !told.filled.is_empty();
    if is_filled && substitute(&mut value, &view.values).is_err() {
        return told.value.clone();
    }
    value
}

#[cfg(test)]
mod tests {
    use nave_placement::Digest;
    use nave_placement::catalog::CommitId;
    use nave_placement::overrides::{Filled, Setter};
    use serde_json::json;

    use super::*;

    #[test]
    fn manifests_are_yaml_and_provenance_is_a_table() {
        let object = json!({"apiVersion": "v1", "data": {"n": "0417"}, "kind": "ConfigMap", "metadata": {"name": "till"}});
        let mut view = RenderView {
            app: "till".parse().expect("a name"),
            cluster: Some("eu-1".parse().expect("a name")),
            overrides: vec!["big".to_owned()],
            version: Digest::default(),
            bundle: Digest::default(),
            commit: CommitId("0123456789".into()),
            values: [("parameters.n".to_owned(), json!("0417"))].into(),
            objects: vec![object],
            encrypted: Vec::new(),
            provenance: Vec::new(),
        };
        let head = "# app till on cluster eu-1: version 00000000 of commit 01234567, overrides big\n";
        let text = view.text(Style::default());
        assert!(text.starts_with(&format!("{head}---\napiVersion: v1\ndata:\n")), "{text}");
        view.provenance.push(Provenance {
            object: nave_placement::ObjectKey {
                group: String::new(),
                kind: "ConfigMap".into(),
                namespace: String::new(),
                name: "till".into(),
            },
            path: "/data/n".into(),
            value: json!("${parameters.n}"),
            by: Setter::File { file: "till/till.yaml".into(), line: 4 },
            filled: vec![Filled { name: "parameters.n".into(), by: "Cluster/eu-1".into() }],
        });
        let text = view.text(Style::default());
        for expected in
            ["ConfigMap till", "/data/n", "\"0417\"", "till/till.yaml:4", "parameters.n: Cluster/eu-1"]
        {
            assert!(text.contains(expected), "{text}");
        }
    }
}
