//! `hub trace`: from an object on a cluster to who wanted it.
//!
//! In: a [`TraceView`]. Out: one line for each link, from the object up to the author.
//! Never: passes over that a link is missing.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use nave_placement::ObjectKey;
use nave_proto::v1;

use super::Outcome;
use super::arguments::{interval, millis};
use super::client::{Hub, document, request};
use super::output::{Format, Style, View, time};
use super::table::one_line;
use crate::operator::views::{TraceView, WrittenView};

/// Its arguments.
#[derive(Args)]
#[command(after_help = "\
Follows what owns the object (a pod's ReplicaSet, its Deployment) up to what the manifests of an app have. While the cluster
does not answer, what the hub knows is told all the same. Exit code 1 when the object is none of an app's.

Examples:
  hub trace deployment/web -n shop --cluster fra-1
  hub trace pod/web-5d8f7c9b6-x2x7k -n shop --cluster fra-1 -o json")]
pub struct Arguments {
    /// KIND/NAME, the kind as kubectl takes it
    object: String,
    /// The namespace; absent: wherever there is one of this name
    #[arg(short, long, value_name = "NAMESPACE", default_value = "", hide_default_value = true)]
    namespace: String,
    /// The cluster
    #[arg(long, value_name = "CLUSTER")]
    cluster: String,
    /// How long the cluster has for its part
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = interval)]
    timeout: Duration,
    #[command(flatten)]
    format: Format,
}

/// Prints it.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let Arguments { object, namespace, cluster, timeout, format } = arguments;
    let Some((kind, name)) =
        object.split_once('/').filter(|(kind, name)| !kind.is_empty() && !name.is_empty())
    else {
        bail!("{object:?} names no object: write KIND/NAME, as deployment/web");
    };
    let (kind, name) = (kind.to_owned(), name.to_owned());
    let mut client = hub.connect().await?;
    let asked = v1::TraceRequest { cluster, kind, namespace, name, timeout_ms: millis(timeout) };
    let answer = document(client.trace(request(asked)).await)?;
    answer.print::<TraceView>(format.output)?;
    let is_ours = answer.view::<TraceView>()?.app.is_some();
    Ok(if is_ours { Outcome::Done } else { Outcome::Failed })
}

fn written(at: &WrittenView) -> String {
    format!("{}, {} at {}", at.name, at.file, at.commit.short())
}

fn named(key: &ObjectKey) -> String {
    let namespace = if key.namespace.is_empty() { String::new() } else { format!(" in {}", key.namespace) };
    format!("{}/{}{namespace}", key.kind, key.name)
}

impl View for TraceView {
    fn text(&self, _: Style) -> String {
        let mut lines: Vec<(&str, String)> = Vec::new();
        let mut add = |name, value: String| lines.push((name, value));
        let live = match (self.live, &self.live_problem) {
            (Some(true), Some(problem)) => format!(", whose owner was not seen: {problem}"),
            (_, Some(problem)) => format!(", not seen: {problem}"),
            (Some(false), _) => ", which is not there".to_owned(),
            _ => String::new(),
        };
        let object = self.object.as_ref().map_or_else(|| "unknown".to_owned(), named);
        add("Object", format!("{object} on {}{live}", self.cluster));
        self.owners.iter().for_each(|owner| add("Owned by", named(owner)));
        if !self.managers.is_empty() {
            let managers = self.managers.iter().map(|m| match m.name.as_str() {
                "" => format!("{:?}", m.tool),
                name => format!("{:?} {name}", m.tool),
            });
            add("Managers", managers.collect::<Vec<_>>().join(", "));
        }
        if !self.message.is_empty() {
            add("Note", self.message.clone());
        }
        if let Some(app) = &self.app {
            add("App", self.written.as_ref().map_or_else(|| app.to_string(), written));
        }
        if let Some(entry) = &self.entry {
            let short = |digest: &nave_placement::Digest| digest.short();
            let version = entry.version.as_ref().map(short).unwrap_or_default();
            let bundle = self.bundle.as_ref().map(short).unwrap_or_default();
            let message =
                if entry.message.is_empty() { String::new() } else { format!(": {}", entry.message) };
            add("Entry", format!("version {version}, bundle {bundle}, {:?}{message}", entry.phase));
        }
        let placements: Vec<String> = self.placements.iter().map(written).collect();
        if self.app.is_some() {
            let none = || "none wants it there now".to_owned();
            add("Placement", if placements.is_empty() { none() } else { placements.join("; ") });
        }
        if let Some(told_ms) = self.told_ms {
            let healthy = match self.healthy_ms {
                Some(healthy_ms) => format!(", healthy since {}", time(healthy_ms)),
                None => ", not known to have been healthy since".to_owned(),
            };
            add("Told", format!("{}{healthy}", time(told_ms)));
        }
        match &self.change {
            Some(change) => {
                add("Change", format!("{:?} by {}: {}", change.change.what, change.who, change.why));
                if let Some(turn) = &change.change.turn {
                    let approved = turn.approved_by.as_ref().map(|by| format!(", approved by {by}"));
                    let approved = approved.unwrap_or_default();
                    add("Rollout", format!("{}, wave {}{approved}", turn.rollout, turn.wave));
                }
            }
            None if self.app.is_some() => add("Change", "older than history".to_owned()),
            None => {}
        }
        if let Some(commit) = &self.commit {
            let subject =
                self.author.as_ref().map(|author| format!(" {}", author.subject)).unwrap_or_default();
            add("Commit", format!("{}{subject}", commit.short()));
        }
        if let Some(source) = &self.source {
            add("Source", source.to_string());
        }
        if let Some(author) = &self.author {
            let seconds = self.author_time.and_then(|seconds| u64::try_from(seconds).ok());
            let at = seconds.map(|seconds| format!(", {}", time(seconds * 1000))).unwrap_or_default();
            add("Author", format!("{} <{}>{at}", author.name, author.email));
        }
        let mut text = String::new();
        for (name, value) in &lines {
            let _ = writeln!(text, "{:<10} {}", format!("{name}:"), one_line(value));
        }
        text
    }

    fn names(&self) -> Vec<String> {
        self.app.iter().map(ToString::to_string).collect()
    }
}
