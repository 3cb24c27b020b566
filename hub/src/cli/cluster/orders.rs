//! Orders about members: labels, taints, cordon, drain, maintenance, and their export for Git.
//!
//! In: names of clusters or a selector, changes as `kubectl` takes them. Out: what came of it, a line a cluster.
//! Never: takes a change for the name of a cluster: names end with a letter or digit, and have no '=' or ':'.

use std::time::Duration;

use clap::Args;
use clap::error::ErrorKind;
use nave_proto::v1;

use super::super::arguments::{LabelChange, TaintChange, interval, label_change, millis, taint_change};
use super::super::client::{Answer, Client, document, request};
use super::super::output::{Document, Format, Output, Style, View};
use super::snapshot;
use crate::operator::views::{ExportView, OrderView};

/// Which clusters.
#[derive(Args)]
pub(super) struct Chosen {
    /// The clusters
    #[arg(value_name = "NAME", required_unless_present = "selector", conflicts_with = "selector")]
    names: Vec<String>,
    /// Clusters with these labels instead, as kubectl selects
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
}

/// Which clusters, and why.
#[derive(Args)]
pub(super) struct Ordering {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    how: How,
}

/// Why, and how to print what came of it.
#[derive(Args)]
struct How {
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    format: Format,
}

/// Clusters and changes.
#[derive(Args)]
pub(super) struct Changing {
    /// Names of clusters, then changes
    #[arg(value_name = "NAME|CHANGE", required = true)]
    words: Vec<String>,
    /// Clusters with these labels instead of names, as kubectl selects
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Also where something else is set already
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    how: How,
}

/// Clusters, and how long they are worked on.
#[derive(Args)]
pub(super) struct Maintaining {
    #[command(flatten)]
    chosen: Chosen,
    /// How long: 30m, 2h, 1d
    #[arg(long = "for", value_name = "DURATION", value_parser = interval, required_unless_present = "end")]
    lasts: Option<Duration>,
    /// End it now
    #[arg(long, conflicts_with = "lasts")]
    end: bool,
    #[command(flatten)]
    how: How,
}

/// Clusters, or all of them.
#[derive(Args)]
pub(super) struct Exporting {
    /// The clusters [default: all]
    #[arg(value_name = "NAME", conflicts_with = "selector")]
    names: Vec<String>,
    /// Clusters with these labels instead, as kubectl selects
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Members as they are now, with what their spokes report: what `hub decide --fleet` reads
    #[arg(long)]
    with_status: bool,
    #[command(flatten)]
    format: Format,
}

fn members(names: Vec<String>, selector: Option<String>) -> Option<v1::Members> {
    Some(v1::Members { clusters: names, selector: selector.unwrap_or_default() })
}

/// Names stand before the first change; as `kubectl` reads it.
fn split(words: Vec<String>, selector: Option<&str>) -> Result<(Vec<String>, Vec<String>), String> {
    let is_change = |word: &String| word.contains(['=', ':']) || word.ends_with('-');
    let first = words.iter().position(is_change).unwrap_or(words.len());
    let mut names = words;
    let changes = names.split_off(first);
    match (names.is_empty(), selector) {
        _ if changes.is_empty() => {
            Err("nothing is to be changed: write the changes behind the names".to_owned())
        }
        (true, None) => {
            Err("no cluster is named: name some before the changes, or select them with -l".to_owned())
        }
        (false, Some(_)) => Err("clusters are named, or selected with -l, not both".to_owned()),
        _ => match changes.iter().find(|word| !is_change(word)) {
            Some(word) => Err(format!("{word:?} stands behind a change and is none; names come first")),
            None => Ok((names, changes)),
        },
    }
}

/// Ends the program as a wrong argument does.
fn usage(message: impl std::fmt::Display) -> ! {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{message}\n")).exit()
}

fn read<T>(changing: &mut Changing, change: fn(&str) -> Result<T, String>) -> (Vec<String>, Vec<T>) {
    let words = std::mem::take(&mut changing.words);
    let (names, changes) = split(words, changing.selector.as_deref()).unwrap_or_else(|e| usage(e));
    let changes = changes.iter().map(|text| change(text).unwrap_or_else(|e| usage(e)));
    let changes = changes.collect();
    (names, changes)
}

fn done(answer: Answer, format: Format) -> anyhow::Result<()> {
    document(answer)?.print::<OrderView>(format.output)
}

/// As `done`, in the word of `kubectl`, which tells what is taken away from what is given.
fn done_as(answer: Answer, word: &str, format: Format) -> anyhow::Result<()> {
    document(answer)?.with("done", word).print::<OrderView>(format.output)
}

fn labelled(sets: bool) -> &'static str {
    if sets { "labelled" } else { "unlabelled" }
}

fn tainted(adds: bool, removes: bool) -> &'static str {
    match (adds, removes) {
        (true, true) => "modified",
        (true, false) => "tainted",
        (false, _) => "untainted",
    }
}

/// `hub cluster label`.
pub(super) async fn label(client: &mut Client, mut changing: Changing) -> anyhow::Result<()> {
    let (names, changes) = read(&mut changing, label_change);
    let Changing { selector, overwrite, how: How { reason, format }, .. } = changing;
    let members = members(names, selector);
    let mut asked = v1::ClusterLabelRequest { members, overwrite, reason, ..Default::default() };
    for change in changes {
        match change {
            LabelChange::Set(key, value) => drop(asked.set.insert(key, value)),
            LabelChange::Remove(key) => asked.remove.push(key),
        }
    }
    let word = labelled(!asked.set.is_empty());
    done_as(client.cluster_label(request(asked)).await, word, format)
}

/// `hub cluster taint`.
pub(super) async fn taint(client: &mut Client, mut changing: Changing) -> anyhow::Result<()> {
    let (names, changes) = read(&mut changing, taint_change);
    let Changing { selector, overwrite, how: How { reason, format }, .. } = changing;
    let members = members(names, selector);
    let mut asked = v1::ClusterTaintRequest { members, overwrite, reason, ..Default::default() };
    for change in changes {
        match change {
            TaintChange::Add(taint) => asked.add.push(taint),
            TaintChange::Remove(taint) => asked.remove.push(taint),
        }
    }
    let word = tainted(!asked.add.is_empty(), !asked.remove.is_empty());
    done_as(client.cluster_taint(request(asked)).await, word, format)
}

/// `hub cluster cordon`, `drain`, `uncordon`.
pub(super) async fn cordon(
    client: &mut Client,
    order: v1::cluster_cordon_request::Order,
    ordering: Ordering,
) -> anyhow::Result<()> {
    let Ordering { chosen, how: How { reason, format } } = ordering;
    let members = members(chosen.names, chosen.selector);
    let asked = v1::ClusterCordonRequest { members, order: order.into(), reason };
    done(client.cluster_cordon(request(asked)).await, format)
}

/// `hub cluster maintain`.
pub(super) async fn maintain(client: &mut Client, maintaining: Maintaining) -> anyhow::Result<()> {
    let Maintaining { chosen, lasts, how: How { reason, format }, .. } = maintaining;
    let members = members(chosen.names, chosen.selector);
    let asked = v1::ClusterMaintainRequest { members, for_ms: lasts.map_or(0, millis), reason };
    done(client.cluster_maintain(request(asked)).await, format)
}

/// `hub cluster export`.
pub(super) async fn export(client: &mut Client, exporting: Exporting) -> anyhow::Result<()> {
    let Exporting { names, selector, with_status, format } = exporting;
    if with_status {
        return snapshot::export(client, names, selector.unwrap_or_default(), format).await;
    }
    let asked = v1::ClusterExportRequest { members: members(names, selector) };
    document(client.cluster_export(request(asked)).await)?.print::<Vec<ExportView>>(format.output)
}

impl View for OrderView {
    fn text(&self, _: Style) -> String {
        let changed = self.changed.iter().map(|name| format!("cluster {name} {}\n", self.done));
        let unchanged =
            self.unchanged.iter().map(|name| format!("cluster {name} not changed: it is so already\n"));
        changed.chain(unchanged).collect()
    }

    fn names(&self) -> Vec<String> {
        self.changed.iter().map(ToString::to_string).collect()
    }
}

impl View for Vec<ExportView> {
    /// Documents for a catalog.
    fn text(&self, _: Style) -> String {
        if self.is_empty() {
            return "# Operators said nothing that Git does not say.\n".to_owned();
        }
        let document = |view: &ExportView| {
            let there = view.file.as_ref();
            let there = there.map(|file| format!("# Belongs into the cluster's document in {file}.\n"));
            let yaml = Document::of(&view.document).and_then(|d| d.render::<Self>(Output::Yaml));
            // A document of texts is always YAML.
            format!("---\n{}{}", there.unwrap_or_default(), yaml.unwrap_or_default())
        };
        self.iter().map(document).collect()
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|view| view.document.metadata.name.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use clap::Parser;
    use nave_placement::fleet::{Effect, Taint};

    use super::*;
    use crate::operator::views::{ClusterDocument, ClusterMetadata, ClusterSpec};

    #[test]
    fn names_come_before_changes_as_kubectl_reads_them() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        // (words, selector, names and changes)
        type Row<'a> = (&'a str, Option<&'a str>, Result<(&'a str, &'a str), &'a str>);
        let rows: [Row<'_>; 10] = [
            ("fra-1 tier=gold", None, Ok(("fra-1", "tier=gold"))),
            ("fra-1 fra-2 tier=gold old-", None, Ok(("fra-1 fra-2", "tier=gold old-"))),
            ("fra-1 gpu=a:NoSchedule", None, Ok(("fra-1", "gpu=a:NoSchedule"))),
            ("fra-1 gpu:NoSchedule-", None, Ok(("fra-1", "gpu:NoSchedule-"))),
            ("tier=gold", Some("env=prod"), Ok(("", "tier=gold"))),
            ("fra-1", None, Err("nothing is to be changed")),
            ("tier=gold", None, Err("no cluster is named")),
            ("fra-1 tier=gold", Some("env=prod"), Err("not both")),
            ("fra-1 tier=gold fra-2", None, Err("names come first")),
            ("a=", None, Err("no cluster is named")),
        ];
        for (text, selector, expected) in rows {
            let read = split(words(text), selector);
            match (read, expected) {
                (Ok(read), Ok((names, changes))) => {
                    assert_eq!(read, (words(names), words(changes)), "{text}")
                }
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{text}: {said}"),
                (read, expected) => panic!("{text}: {read:?}, not {expected:?}"),
            }
        }
    }

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        maintaining: Maintaining,
    }

    #[test]
    fn a_maintenance_is_of_somebody_and_lasts_or_ends() {
        let rows = [
            ("fra-1 --for 2h", true),
            ("fra-1 fra-2 --end --reason done", true),
            ("-l env=prod --for 30m", true),
            ("fra-1", false),
            ("--for 2h", false),
            ("fra-1 -l env=prod --for 2h", false),
            ("fra-1 --for 2h --end", false),
            ("fra-1 --for 0s", false),
        ];
        for (text, good) in rows {
            let parsed = Cli::try_parse_from(["x"].into_iter().chain(text.split_whitespace()));
            assert_eq!(parsed.is_ok(), good, "{text}");
        }
    }

    #[test]
    fn what_is_taken_away_is_told_in_the_words_of_kubectl() {
        assert_eq!([true, false].map(labelled), ["labelled", "unlabelled"]);
        let rows = [(true, false, "tainted"), (false, true, "untainted"), (true, true, "modified")];
        for (adds, removes, expected) in rows {
            assert_eq!(tainted(adds, removes), expected);
        }
        let answer = OrderView {
            done: "tainted".to_owned(),
            changed: vec!["fra-1".parse().unwrap()],
            unchanged: Vec::new(),
        };
        let told = Document::of(&answer).unwrap().with("done", "untainted");
        assert_eq!(told.render::<OrderView>(Output::Table).unwrap(), "cluster fra-1 untainted\n");
    }

    #[test]
    fn an_export_is_documents_for_git() {
        let view = |name: &str, labels: &[(&str, &str)], file: Option<&str>| ExportView {
            file: file.map(str::to_owned),
            document: ClusterDocument {
                api_version: "nave.dev/v1alpha1".to_owned(),
                kind: "Cluster".to_owned(),
                metadata: ClusterMetadata {
                    name: name.parse().unwrap(),
                    labels: labels
                        .iter()
                        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                        .collect::<BTreeMap<_, _>>(),
                },
                spec: ClusterSpec {
                    set: Some("prod".to_owned()),
                    taints: BTreeSet::from([Taint {
                        key: "gpu".to_owned(),
                        value: String::new(),
                        effect: Effect::NoSchedule,
                    }]),
                },
            },
        };
        // A number that stays a text, as it would not without quotes.
        let exported =
            vec![view("fra-1", &[("store", "0417")], None), view("fra-2", &[], Some("clusters.yaml"))];
        let text = exported.text(Style::default());
        let read: Vec<ClusterDocument> = serde_saphyr::from_multiple(&text).unwrap();
        assert_eq!(read, exported.iter().map(|view| view.document.clone()).collect::<Vec<_>>());
        assert!(text.contains("# Belongs into the cluster's document in clusters.yaml."), "{text}");
        assert!(Vec::<ExportView>::new().text(Style::default()).starts_with('#'));
    }
}
