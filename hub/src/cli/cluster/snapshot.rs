//! Snapshot: members as they are now, written as `hub decide --fleet` reads them.
//!
//! In: what `hub cluster show` tells of each. Out: a stream of `Cluster` documents with `status`.
//! Never: writes a fact that is unknown, or too old for rules to look at.

use std::collections::BTreeMap;

use nave_placement::AppKey;
use nave_placement::catalog::API_VERSION;
use nave_placement::fleet::{Fact, Membership, Resources};
use nave_proto::v1;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::client::{Client, document, request};
use super::super::output::{Document, Format, Style, View};
use super::manifest;
use crate::operator::views::{ClusterRow, ClusterView, FactsView};
use crate::state::records::Standing;

/// A `Cluster` document with its status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Snapshot(Value);

/// `hub cluster export --with-status`: those that are named, or else all that have the labels.
pub(super) async fn export(
    client: &mut Client,
    names: Vec<String>,
    selector: String,
    format: Format,
) -> anyhow::Result<()> {
    let names = match names.is_empty() {
        false => names,
        true => {
            let answer = document(
                client.cluster_list(request(v1::ClusterListRequest { selector, behind_ms: 0 })).await,
            )?;
            let rows: Vec<ClusterRow> = answer.view()?;
            let mut names: Vec<String> =
                rows.iter().filter(|row| is_member(row)).map(|row| row.name.to_string()).collect();
            // The list has the worst first, a file has them by name.
            names.sort();
            names
        }
    };
    let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    let mut documents = Vec::new();
    // Each by itself: the list of clusters has not all facts.
    for cluster in names {
        let asked = v1::ClusterRequest { cluster, reason: String::new() };
        let view: ClusterView = document(client.cluster_show(request(asked)).await)?.view()?;
        // Also who was removed since the list was made.
        if !is_member(&view.row) {
            eprintln!("cluster {} is left out: placements choose among members only", view.row.name);
            continue;
        }
        documents.push(Snapshot::of(&view.row, &view.said, &view.healthy, now_ms));
    }
    Document::of(&documents)?.print::<Vec<Snapshot>>(format.output)
}

/// Whether placements may choose it.
fn is_member(row: &ClusterRow) -> bool {
    row.standing == Some(Standing::Member)
}

impl Snapshot {
    /// Labels and the like as operators said them: whoever reads this lays the catalog over it.
    fn of(row: &ClusterRow, said: &Membership, healthy: &[AppKey], now_ms: u64) -> Self {
        let mut metadata = Map::new();
        metadata.insert("name".to_owned(), json!(row.name));
        let mut spec = Map::new();
        let mut status = Map::new();
        status.insert("connected".to_owned(), json!(row.connected));
        // Without it the reader takes a day; that is what stands for a cluster not seen since the hub started.
        if let (false, Some(seen_ms)) = (row.connected, row.seen_ms) {
            let seconds = now_ms.saturating_sub(seen_ms) / 1_000;
            status.insert("silentFor".to_owned(), json!(format!("{seconds}s")));
        }
        let put = |map: &mut Map<String, Value>, name: &str, is_said: bool, value: Value| {
            if is_said {
                map.insert(name.to_owned(), value);
            }
        };
        put(&mut metadata, "labels", !said.labels.is_empty(), json!(said.labels));
        put(&mut spec, "set", said.set.is_some(), json!(said.set));
        put(&mut spec, "taints", !said.taints.is_empty(), json!(said.taints));
        put(&mut spec, "cordoned", said.cordoned, json!(true));
        put(&mut status, "draining", said.draining, json!(true));
        put(&mut status, "maintained", row.maintenance.is_some(), json!(true));
        put(&mut status, "healthy", !healthy.is_empty(), json!(healthy));
        let facts = if row.facts.stale { Map::new() } else { facts(&row.facts) };
        put(&mut status, "facts", !facts.is_empty(), Value::Object(facts));
        Self(json!({
            "apiVersion": API_VERSION,
            "kind": "Cluster",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        }))
    }
}

/// What is unknown is not there, what is absent is null.
fn facts(view: &FactsView) -> Map<String, Value> {
    fn put<T: Serialize>(facts: &mut Map<String, Value>, name: &str, fact: &Fact<T>) {
        match fact {
            Fact::Unknown => {}
            Fact::Absent => drop(facts.insert(name.to_owned(), Value::Null)),
            Fact::Present(value) => drop(facts.insert(name.to_owned(), json!(value))),
        }
    }
    let mut facts = Map::new();
    put(&mut facts, "kubernetes", &view.kubernetes);
    put(&mut facts, "nodes", &view.nodes);
    put(&mut facts, "architectures", &view.architectures);
    put(&mut facts, "capacity", &amounts(&view.capacity));
    put(&mut facts, "free", &amounts(&view.free));
    put(&mut facts, "provider", &view.provider);
    put(&mut facts, "region", &view.region);
    put(&mut facts, "zones", &view.zones);
    put(&mut facts, "apis", view.apis.as_ref().unwrap_or(&Fact::Unknown));
    put(&mut facts, "properties", view.properties.as_ref().unwrap_or(&Fact::Unknown));
    put(&mut facts, "custom", view.custom.as_ref().unwrap_or(&Fact::Unknown));
    facts
}

/// Amounts as Kubernetes writes them.
fn amounts(fact: &Fact<Resources>) -> Fact<BTreeMap<String, String>> {
    let Resources { cpu_millis, memory, other } = match fact {
        Fact::Unknown => return Fact::Unknown,
        Fact::Absent => return Fact::Absent,
        Fact::Present(resources) => resources,
    };
    let mut amounts: BTreeMap<String, String> =
        other.iter().map(|(name, amount)| (name.clone(), whole(*amount))).collect();
    amounts.insert("cpu".to_owned(), format!("{cpu_millis}m"));
    amounts.insert("memory".to_owned(), whole(*memory));
    Fact::Present(amounts)
}

/// The reader takes 15 digits; what has more is rounded down to a larger unit.
fn whole(amount: u64) -> String {
    const MOST: u64 = 999_999_999_999_999;
    if amount <= MOST { amount.to_string() } else { format!("{}Ki", amount >> 10) }
}

impl View for Vec<Snapshot> {
    fn text(&self, _: Style) -> String {
        if self.is_empty() {
            return "# There is no such member.\n".to_owned();
        }
        // JSON is YAML too, should a document not be writable otherwise.
        let yaml = |document: &Value| manifest::write(document).unwrap_or_else(|_| format!("{document}\n"));
        self.iter().map(|snapshot| format!("---\n{}", yaml(&snapshot.0))).collect()
    }

    fn names(&self) -> Vec<String> {
        let name = |snapshot: &Snapshot| snapshot.0["metadata"]["name"].as_str().map(str::to_owned);
        self.iter().filter_map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nave_placement::CatalogName;
    use nave_placement::catalog::{Catalog, CommitId};
    use nave_placement::fleet::{Candidate, Contact, Effect, Facts, KubernetesVersion, Maintenance, Taint};
    use nave_placement::offline;

    use super::*;
    use crate::operator::views::Phase;

    /// When the reader decides, Unix milliseconds.
    const READ_MS: u64 = 1_800_000_000_000;

    fn row(name: &str, connected: bool, facts: FactsView) -> ClusterRow {
        ClusterRow {
            behind: None,
            name: name.parse().unwrap(),
            phase: Some(Phase::Converged),
            connected,
            seen_ms: Some(10_000),
            standing: Some(Standing::Member),
            set: None,
            labels: BTreeMap::new(),
            hidden_labels: BTreeMap::new(),
            taints: BTreeSet::new(),
            cordoned: false,
            draining: false,
            maintenance: None,
            awaits_replacement: false,
            entries: 0,
            converged: 0,
            facts,
        }
    }

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_written_of_a_fleet_reads_back_equal() {
        let other = [("nvidia.com/gpu".to_owned(), 2)].into();
        let free = Resources { cpu_millis: 1_500, memory: (8 << 30) - 1, other };
        let facts = Facts {
            kubernetes: Fact::Present(KubernetesVersion {
                version: "v1.31.2-gke.1".to_owned(),
                major: 1,
                minor: 31,
            }),
            nodes: Fact::Present(3),
            architectures: Fact::Present(["amd64".to_owned()].into()),
            // More digits than an amount may have.
            capacity: Fact::Present(Resources { cpu_millis: 8_000, memory: 3 << 50, ..Resources::default() }),
            provider: Fact::Absent,
            region: Fact::Present("eu".to_owned()),
            zones: Fact::Unknown,
            apis: Fact::Present(["apps/v1/Deployment".to_owned(), "v1/Pod".to_owned()].into()),
            // Numbers and words of YAML that stay texts.
            properties: Fact::Present(texts(&[("store", "0417"), ("open", "no")])),
            custom: Fact::Present(texts(&[("motd", "two: lines\nof #text\n"), ("none", "")])),
            recipient: Fact::Unknown,
        };
        let view = FactsView { free: Fact::Present(free.clone()), ..FactsView::of(&facts) };
        let taint = Taint { key: "gpu".to_owned(), value: String::new(), effect: Effect::NoExecute };
        let full = ClusterRow {
            // What Git says too, and operators do not.
            labels: texts(&[("env", "prod"), ("tier", "1"), ("of", "git")]),
            maintenance: Some(Maintenance { until_ms: 9, reason: String::new() }),
            ..row("fra-1", true, view.clone())
        };
        let rows = [
            full,
            row("fra-2", false, FactsView { stale: true, ..view }),
            ClusterRow { seen_ms: None, ..row("fra-3", false, FactsView::default()) },
        ];
        let said = Membership {
            set: Some("edge".to_owned()),
            labels: texts(&[("env", "prod"), ("tier", "1")]),
            taints: BTreeSet::from([taint.clone()]),
            cordoned: true,
            draining: true,
            maintenance: None,
        };
        let said = [said, Membership::default(), Membership::default()];
        let web: AppKey = "web".parse().unwrap();
        let written: Vec<Snapshot> = rows
            .iter()
            .zip(&said)
            .map(|(row, said)| Snapshot::of(row, said, std::slice::from_ref(&web), 15_999))
            .collect();
        let text = written.text(Style::default());
        let catalog = Catalog {
            name: CatalogName::root(),
            commit: CommitId("0".repeat(40).into()),
            objects: BTreeMap::new(),
            problems: Vec::new(),
            empty: true,
            tenants: BTreeMap::new(),
        };
        let given = offline::fleet("fleet.yaml", &text, &catalog).expect(&text);
        let first = Candidate {
            labels: texts(&[("env", "prod"), ("tier", "1")]),
            set: Some("edge".to_owned()),
            taints: [(taint, None)].into(),
            cordoned: true,
            draining: true,
            maintained: true,
            facts,
            free: Fact::Present(free),
            contact: Contact::Connected,
        };
        let silent = |for_ms: u64| Candidate {
            contact: Contact::Silent { since_ms: READ_MS - for_ms },
            ..Candidate::default()
        };
        let read: Vec<(&str, &Candidate)> =
            given.fleet.iter().map(|(name, candidate)| (name.as_str(), candidate)).collect();
        let day_ms = 24 * 3_600_000;
        let expected = [("fra-1", &first), ("fra-2", &silent(5_000)), ("fra-3", &silent(day_ms))];
        assert_eq!(read, expected, "{text}");
        assert_eq!(given.healthy.len(), 3, "{text}");
        assert_eq!(written.names(), ["fra-1", "fra-2", "fra-3"]);
        assert!(Vec::<Snapshot>::new().text(Style::default()).starts_with('#'));
    }
}
