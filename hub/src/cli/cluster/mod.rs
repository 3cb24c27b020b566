//! `hub cluster`: members join, are labelled, leave.
//!
//! In: orders. Out: what came of them; `join` prints what starts the spoke.
//! Never: says that a cluster is gone before its spoke or the hub's record says so.

mod install;
mod join;
mod manifest;
mod remove;
mod text;

use clap::{Args, Subcommand, ValueEnum};
use nave_proto::v1;

use super::Outcome;
use super::arguments::{LabelChange, label_change};
use super::client::{Hub, document, request};
use super::output::{Format, Output};
use crate::operator::views::{ClusterRow, ClusterView, DoneView};

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    /// Make a join token, and print what starts the spoke with it: a command, or a manifest for Kubernetes
    #[command(after_help = "Examples:\n  hub cluster join eu-1 --label env=prod --set europe\n  \
                      hub cluster join eu-1 -o manifest | kubectl apply -f -")]
    Join(Box<join::Arguments>),
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
        Order::Join(arguments) => join::run(&mut client, *arguments).await?,
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
