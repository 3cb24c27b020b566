//! `hub cluster`: members join, are labelled, leave.
//!
//! In: orders. Out: what came of them; `join` prints the one command that starts the spoke.
//! Never: says that a cluster is gone before its spoke or the hub's record says so.

mod manifest;
mod remove;
mod text;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use nave_proto::v1;

use super::Outcome;
use super::arguments::{LabelChange, interval, label, label_change, millis};
use super::client::{Client, Hub, document, request};
use super::output::{Format, Output, print};
use crate::operator::views::{ClusterRow, ClusterView, DoneView, JoinView};

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    /// Make a join token, and print the command that starts the spoke with it
    #[command(after_help = "Example: hub cluster join eu-1 --label env=prod --set europe")]
    Join(Join),
    /// List clusters, worst first
    #[command(after_help = "Example: hub cluster list -l env=prod -o wide")]
    List {
        /// Only clusters with these labels, as kubectl selects
        #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
        selector: String,
        #[command(flatten)]
        format: Format,
    },
    /// Show a cluster and everything on it
    #[command(after_help = "Example: hub cluster show eu-1")]
    Show {
        /// The cluster
        name: String,
        #[command(flatten)]
        format: Format,
    },
    /// Set and remove labels; those that the catalog sets are changed there
    #[command(after_help = "Example: hub cluster label eu-1 tier=gold canary-")]
    Label {
        /// The cluster
        name: String,
        /// KEY=VALUE sets a label, KEY- removes it
        #[arg(value_name = "CHANGE", required = true, value_parser = label_change)]
        changes: Vec<LabelChange>,
    },
    /// Let a cluster go: its spoke detaches, then its certificate is refused
    #[command(
        after_help = "Example: hub cluster remove eu-1 --workloads keep --reason 'moved to another fleet'"
    )]
    Remove {
        /// The cluster
        name: String,
        /// What becomes of what runs there
        #[arg(long, value_enum, default_value_t)]
        workloads: Workloads,
        /// Why, for the audit log
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Refuse a cluster's certificate from now on; what runs there stays
    #[command(after_help = "Example: hub cluster revoke eu-1 --reason 'machine was stolen'")]
    Revoke {
        /// The cluster
        name: String,
        /// Why, for the audit log
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
}

#[derive(Args)]
struct Join {
    /// The cluster's name
    name: String,
    /// A label; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// The set it belongs to
    #[arg(long, value_name = "SET", default_value = "", hide_default_value = true)]
    set: String,
    /// How long the token is valid
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = interval)]
    valid: Duration,
    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: JoinOutput,
    #[command(flatten)]
    manifest: manifest::Arguments,
}

/// The forms of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum JoinOutput {
    /// The commands that install the spoke
    #[default]
    Table,
    /// The same
    Wide,
    /// The whole document
    Json,
    /// The whole document
    Yaml,
    /// The cluster's name
    Name,
    /// For `kubectl apply -f -`
    Manifest,
}

/// What becomes of what runs on a cluster that leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Workloads {
    /// It stays, unmanaged
    #[default]
    Keep,
    /// It is deleted first
    Delete,
}

/// Does it.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    match arguments.order {
        Order::Join(arguments) => join(&mut client, arguments).await?,
        Order::List { selector, format } => {
            let answer = document(client.cluster_list(request(v1::ClusterListRequest { selector })).await)?;
            answer.print::<Vec<ClusterRow>>(format.output)?;
        }
        Order::Show { name, format } => {
            let asked = v1::ClusterRequest { cluster: name, reason: String::new() };
            let answer = document(client.cluster_show(request(asked)).await)?;
            answer.print::<ClusterView>(format.output)?;
        }
        Order::Label { name, changes } => {
            let mut asked = v1::ClusterLabelRequest { cluster: name, ..v1::ClusterLabelRequest::default() };
            for change in changes {
                match change {
                    LabelChange::Set(key, value) => drop(asked.set.insert(key, value)),
                    LabelChange::Remove(key) => asked.remove.push(key),
                }
            }
            let answer = document(client.cluster_label(request(asked)).await)?;
            answer.print::<DoneView>(Output::Table)?;
        }
        Order::Remove { name, workloads, reason } => {
            return remove::run(&mut client, name, workloads == Workloads::Delete, reason).await;
        }
        Order::Revoke { name, reason } => {
            let asked = v1::ClusterRequest { cluster: name, reason };
            let answer = document(client.cluster_revoke(request(asked)).await)?;
            answer.print::<DoneView>(Output::Table)?;
        }
    }
    Ok(Outcome::Done)
}

async fn join(client: &mut Client, arguments: Join) -> anyhow::Result<()> {
    let Join { name, label, set, valid, output, manifest } = arguments;
    // What cannot be printed makes no token.
    if output == JoinOutput::Manifest {
        manifest::check(&manifest)?;
    }
    let labels = label.into_iter().collect();
    let asked = v1::ClusterJoinRequest { cluster: name, labels, set, valid_ms: millis(valid) };
    let answer = document(client.cluster_join(request(asked)).await)?;
    let output = match output {
        JoinOutput::Table => Output::Table,
        JoinOutput::Wide => Output::Wide,
        JoinOutput::Json => Output::Json,
        JoinOutput::Yaml => Output::Yaml,
        JoinOutput::Name => Output::Name,
        JoinOutput::Manifest => {
            let view: JoinView = answer.view()?;
            return print(&manifest::manifest(&manifest, &view.token)?);
        }
    };
    if matches!(output, Output::Table | Output::Wide) {
        let view: JoinView = answer.view()?;
        eprintln!(
            "Run this where cluster {} can be reached, before {}; it works once. Into the cluster itself: \
             hub cluster join {} -o manifest | kubectl apply -f -",
            view.cluster, view.expires, view.cluster
        );
    }
    answer.print::<JoinView>(output)
}
