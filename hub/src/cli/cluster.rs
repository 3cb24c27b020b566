//! `hub cluster`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};
use nave_placement::fleet::Facts;
use nave_proto::v1;

use super::arguments::{duration, label};
use super::client::{Client, view};
use super::output::{Format, moment, one_line, show, table};
use super::{Exit, done};
use crate::operator::views::{ClusterRow, ClusterView, DoneView, JoinView};

/// How long `remove` waits for the spoke to acknowledge.
const DETACH: Duration = Duration::from_secs(30);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(200);

/// What becomes of what runs on a cluster that is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Workloads {
    /// It stays.
    #[default]
    Keep,
    /// It is deleted first.
    Delete,
}

/// `hub cluster`.
#[derive(Subcommand)]
pub enum Cluster {
    /// Approve a cluster: prints the one command that makes it a member
    Join {
        /// Its name in the fleet
        name: String,
        /// A label; may be given more than once
        #[arg(long, value_name = "K=V", value_parser = label)]
        label: Vec<(String, String)>,
        /// Its set
        #[arg(long, value_name = "S", default_value = "", hide_default_value = true)]
        set: String,
        /// How long the token is valid
        #[arg(long, value_name = "T", default_value = "1h", value_parser = duration)]
        valid: Duration,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// List clusters, worst first
    List {
        /// Clusters with these labels only
        #[arg(short = 'l', long, value_name = "SEL", default_value = "", hide_default_value = true)]
        selector: String,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show one cluster and its apps
    Show {
        /// Which
        name: String,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Set labels (k=v) and remove them (k-)
    Label {
        /// Which
        name: String,
        /// Labels
        #[arg(required = true, value_name = "K=V|K-")]
        labels: Vec<String>,
    },
    /// Detach a cluster, then refuse its certificate. What runs there stays, unless --workloads delete
    Remove {
        /// Which
        name: String,
        /// What becomes of what runs there
        #[arg(long, value_enum, default_value_t)]
        workloads: Workloads,
        /// For the audit log
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Refuse a cluster's certificate at once. What runs there stays
    Revoke {
        /// Which
        name: String,
        /// For the audit log
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
}

impl Cluster {
    pub(super) async fn run(self, client: &mut Client) -> anyhow::Result<Exit> {
        match self {
            Self::Join { name, label, set, valid, output } => {
                let request = v1::ClusterJoinRequest {
                    cluster: name,
                    labels: label.into_iter().collect(),
                    set,
                    valid_ms: u64::try_from(valid.as_millis()).unwrap_or(u64::MAX),
                };
                let joined: JoinView = view(client.cluster_join(request).await)?;
                eprintln!(
                    "# valid until {}, for one cluster; run it where the cluster can be reached:",
                    joined.expires
                );
                show(
                    output,
                    &joined,
                    |_| format!("{}\n", joined.command),
                    || vec![joined.cluster.to_string()],
                )?;
                Ok(Exit::Done)
            }
            Self::List { selector, output } => {
                let rows: Vec<ClusterRow> =
                    view(client.cluster_list(v1::ClusterListRequest { selector }).await)?;
                show(
                    output,
                    &rows,
                    |wide| list(&rows, wide),
                    || rows.iter().map(|r| r.name.to_string()).collect(),
                )?;
                Ok(Exit::Done)
            }
            Self::Show { name, output } => {
                let request = v1::ClusterRequest { cluster: name, reason: String::new() };
                let cluster: ClusterView = view(client.cluster_show(request).await)?;
                show(output, &cluster, |_| one(&cluster), || vec![cluster.row.name.to_string()])?;
                Ok(Exit::Done)
            }
            Self::Label { name, labels } => {
                let (mut set, mut remove) = (BTreeMap::new(), Vec::new());
                for text in labels {
                    match text.strip_suffix('-').filter(|key| !key.contains('=')) {
                        Some(key) => remove.push(key.to_owned()),
                        None => {
                            drop(label(&text).map(|(k, v)| set.insert(k, v)).map_err(anyhow::Error::msg)?)
                        }
                    }
                }
                let request = v1::ClusterLabelRequest { cluster: name, set, remove };
                done(&view(client.cluster_label(request).await)?)
            }
            Self::Remove { name, workloads, reason } => remove(client, name, workloads, reason).await,
            Self::Revoke { name, reason } => {
                done(&view(client.cluster_revoke(v1::ClusterRequest { cluster: name, reason }).await)?)
            }
        }
    }
}

/// Orders the removal and waits until the spoke has acknowledged it.
async fn remove(
    client: &mut Client,
    name: String,
    workloads: Workloads,
    reason: String,
) -> anyhow::Result<Exit> {
    let request = v1::ClusterRemoveRequest {
        cluster: name.clone(),
        delete_workloads: workloads == Workloads::Delete,
        reason,
    };
    let ordered: DoneView = view(client.cluster_remove(request).await)?;
    eprintln!("{}", ordered.message);
    let deadline = Instant::now() + DETACH;
    loop {
        let rows: Vec<ClusterRow> = view(client.cluster_list(v1::ClusterListRequest::default()).await)?;
        let Some(row) = rows.iter().find(|row| row.name.as_str() == name && row.standing.is_some()) else {
            println!("cluster {name} has detached; what it keeps is its own");
            return Ok(Exit::Done);
        };
        if !row.connected || Instant::now() >= deadline {
            let why = if row.connected { "has not acknowledged yet" } else { "is not connected" };
            println!(
                "cluster {name} {why}: it is detached as soon as it is heard; `hub cluster revoke {name}` refuses it for good"
            );
            return Ok(Exit::Differs);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn pairs(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

fn version(facts: &Facts) -> String {
    facts.kubernetes.present().map(|k| k.version.clone()).unwrap_or_default()
}

fn state(row: &ClusterRow) -> String {
    match (&row.standing, &row.phase) {
        (None, _) => "NotJoined".to_owned(),
        (Some(crate::state::records::Standing::Member), Some(phase)) => format!("{phase:?}"),
        (Some(standing), _) => format!("{standing:?}"),
    }
}

fn list(rows: &[ClusterRow], wide: bool) -> String {
    let cells = |row: &ClusterRow| {
        let mut cells = vec![
            row.name.to_string(),
            state(row),
            if row.connected { "yes" } else { "no" }.to_owned(),
            format!("{}/{}", row.converged, row.entries),
            row.set.clone().unwrap_or_default(),
            version(&row.facts),
        ];
        if wide {
            cells.push(row.seen_ms.map(moment).unwrap_or_default());
        }
        cells.push(pairs(&row.labels));
        cells
    };
    let mut headers = vec!["NAME", "STATE", "CONNECTED", "CONVERGED", "SET", "VERSION"];
    if wide {
        headers.push("SEEN");
    }
    headers.push("LABELS");
    table(&headers, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn one(cluster: &ClusterView) -> String {
    let row = &cluster.row;
    let accepted = cluster.accepted.map_or("nothing".to_owned(), |(e, g)| format!("{}.{}", e.0, g.0));
    let mut text = format!("{}: {}, ", row.name, state(row));
    text += &match &cluster.address {
        Some(address) => format!("connected from {address}\n"),
        None => "not connected\n".to_owned(),
    };
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            text += &format!("{name:14}{value}\n");
        }
    };
    for (labels, whose) in [(&cluster.catalog_labels, "catalog"), (&cluster.operator_labels, "operator")] {
        if !labels.is_empty() {
            line("labels", format!("{}  (set by the {whose})", pairs(labels)));
        }
    }
    line("set", row.set.clone().unwrap_or_default());
    line("Kubernetes", version(&row.facts));
    line("nodes", row.facts.nodes.present().map(ToString::to_string).unwrap_or_default());
    line("assignment", format!("{}.{}, accepted {accepted}", cluster.epoch.0, cluster.generation.0));
    let until =
        if cluster.certificate_until_ms == 0 { String::new() } else { moment(cluster.certificate_until_ms) };
    line("certificate", until);
    line("alarm", cluster.alarm.map(|a| format!("{a:?}")).unwrap_or_default());
    line("leaving", cluster.leaving.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    line("unassigned", cluster.unassigned.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    let rows: Vec<Vec<String>> = cluster.apps.iter().map(super::app::entry_row).collect();
    text + "\n" + &table(&["APP", "STATE", "VERSION", "RUNNING", "COMMIT", "OBJECTS", "MESSAGE"], &rows)
}

/// The trouble of an entry on one line, for the tables of clusters and apps.
pub(super) fn trouble(entry: &crate::operator::views::EntryView) -> String {
    match entry.unhealthy.first() {
        Some(object) => one_line(&format!("{}: {}: {}", object.key, object.reason, object.message)),
        None => one_line(&entry.message),
    }
}
