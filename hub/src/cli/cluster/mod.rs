//! `hub cluster`: members join, are labelled, tainted, worked on, replaced; they leave.
//!
//! In: orders. Out: what came of them; `join` prints what starts the spoke.
//! Never: says that a cluster is gone before its spoke or the hub's record says so.

mod facts;
mod install;
mod join;
mod manifest;
mod orders;
mod remove;
mod snapshot;
mod text;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use nave_proto::v1;
use nave_proto::v1::cluster_cordon_request::Order as Cordon;

use super::Outcome;
use super::arguments::{interval, millis};
use super::client::{Hub, document, request};
use super::output::{Format, Output, print};
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
    #[command(
        after_help = "Examples:\n  hub cluster list -l env=prod -o wide\n  hub cluster list --behind 1h"
    )]
    List {
        /// Only clusters with these labels, as kubectl selects
        #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
        selector: String,
        /// Only clusters that for longer than this have not what they were told: it was not healthy there, or is no more
        #[arg(long, value_name = "DURATION", value_parser = interval)]
        behind: Option<Duration>,
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
    /// Set and remove labels, as kubectl does; those that the catalog sets are changed there
    #[command(after_help = "Examples:\n  hub cluster label eu-1 eu-2 tier=gold canary-\n  \
                      hub cluster label -l env=prod tier=gold --overwrite\n\n\
                      KEY=VALUE sets a label, KEY- removes it.")]
    Label(orders::Changing),
    /// Put taints on clusters and take them away, as kubectl does with nodes
    #[command(after_help = "Examples:\n  hub cluster taint eu-1 gpu=a100:NoSchedule\n  \
                      hub cluster taint eu-1 gpu:NoSchedule-\n\n\
                      KEY=VALUE:EFFECT or KEY:EFFECT puts a taint on, KEY:EFFECT- takes it away, KEY- all of the key.\n\
                      Effects: NoSchedule, PreferNoSchedule, NoExecute.")]
    Taint(orders::Changing),
    /// Place nothing new on clusters
    #[command(after_help = "Example: hub cluster cordon eu-1 --reason 'disk is slow'")]
    Cordon(orders::Ordering),
    /// End a cordon, and a drain
    #[command(after_help = "Example: hub cluster uncordon eu-1")]
    Uncordon(orders::Ordering),
    /// Place nothing new on clusters, and let what was picked for them move away; what runs everywhere stays
    #[command(after_help = "Example: hub cluster drain eu-1 --reason 'is being retired'\n\n\
                      `hub cluster uncordon` ends it.")]
    Drain(orders::Ordering),
    /// Change nothing on clusters that are worked on, and raise no alarms for them
    #[command(after_help = "Examples:\n  hub cluster maintain eu-1 --for 2h --reason 'new disks'\n  \
                      hub cluster maintain eu-1 --end")]
    Maintain(orders::Maintaining),
    /// Give a cluster's name, with its decisions, to a rebuilt one: a new token; the old spoke is refused from now on
    #[command(after_help = "Example: hub cluster replace eu-1 -o manifest | kubectl apply -f -")]
    Replace(Box<join::Replacing>),
    /// Print what operators said of clusters as documents for Git, or the fleet as it is for `hub decide`
    #[command(after_help = "Examples:\n  hub cluster export > clusters.yaml\n  \
                      hub cluster export --with-status > fleet.yaml\n  \
                      hub decide --dir . --fleet fleet.yaml")]
    Export(orders::Exporting),
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
        /// Delete what the catalog protects, too
        #[arg(long)]
        including_protected: bool,
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
        Order::List { selector, behind, format } => {
            let behind_ms = behind.map_or(0, millis);
            let asked = v1::ClusterListRequest { selector, behind_ms };
            let answer = document(client.cluster_list(request(asked)).await)?;
            let is_text = matches!(format.output, Output::Table | Output::Wide);
            if behind.is_some() && is_text && answer.view::<Vec<ClusterRow>>()?.is_empty() {
                print("No cluster is behind for so long.\n")?;
            } else {
                answer.print::<Vec<ClusterRow>>(format.output)?;
            }
        }
        Order::Show { name, format } => {
            let asked = v1::ClusterRequest { cluster: name, reason: String::new() };
            let answer = document(client.cluster_show(request(asked)).await)?;
            answer.print::<ClusterView>(format.output)?;
        }
        Order::Label(changing) => orders::label(&mut client, changing).await?,
        Order::Taint(changing) => orders::taint(&mut client, changing).await?,
        Order::Cordon(ordering) => orders::cordon(&mut client, Cordon::Cordon, ordering).await?,
        Order::Uncordon(ordering) => orders::cordon(&mut client, Cordon::Uncordon, ordering).await?,
        Order::Drain(ordering) => orders::cordon(&mut client, Cordon::Drain, ordering).await?,
        Order::Maintain(maintaining) => orders::maintain(&mut client, maintaining).await?,
        Order::Replace(arguments) => join::replace(&mut client, *arguments).await?,
        Order::Export(exporting) => orders::export(&mut client, exporting).await?,
        Order::Remove { name: cluster, workloads, including_protected, reason } => {
            let delete_workloads = workloads == Workloads::Delete;
            let asked = v1::ClusterRemoveRequest { cluster, delete_workloads, reason, including_protected };
            return remove::run(&mut client, asked).await;
        }
        Order::Revoke { name, reason } => {
            let asked = v1::ClusterRequest { cluster: name, reason };
            let answer = document(client.cluster_revoke(request(asked)).await)?;
            answer.print::<DoneView>(Output::Table)?;
        }
    }
    Ok(Outcome::Done)
}
