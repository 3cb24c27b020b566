//! Clusters as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use nave_placement::fleet::Fact;

use super::super::app::entries;
use super::super::output::{Style, View, time};
use super::super::status::told;
use super::super::table::{Cell, Table};
use crate::operator::views::{ClusterRow, ClusterView, EntryView, JoinView};
use crate::state::records::Standing;

impl View for JoinView {
    fn text(&self, _: Style) -> String {
        format!("{}\n", self.command)
    }

    fn names(&self) -> Vec<String> {
        vec![self.cluster.to_string()]
    }
}

/// `Unknown` is not `Absent`, also for people: a question mark, and nothing.
fn fact<T>(fact: &Fact<T>, text: impl FnOnce(&T) -> String) -> String {
    match fact {
        Fact::Unknown => "?".to_owned(),
        Fact::Absent => String::new(),
        Fact::Present(value) => text(value),
    }
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn state(row: &ClusterRow) -> String {
    match (row.standing, row.phase) {
        (None, _) => "NotJoined".to_owned(),
        (Some(Standing::Member), Some(phase)) => format!("{phase:?}"),
        (Some(standing), _) => format!("{standing:?}"),
    }
}

impl View for Vec<ClusterRow> {
    fn text(&self, style: Style) -> String {
        if self.is_empty() {
            return "There is no cluster; `hub cluster join NAME` makes one a member.\n".to_owned();
        }
        let mut table = Table::new(["NAME", "STATE", "CONNECTED", "CONVERGED", "SET", "VERSION", "LABELS"]);
        let mut wide = Table::new([
            "NAME",
            "STATE",
            "CONNECTED",
            "SEEN",
            "CONVERGED",
            "SET",
            "VERSION",
            "NODES",
            "LABELS",
        ]);
        for row in self {
            let name: Cell = row.name.as_str().into();
            let state = Cell::from(state(row)).paint(row.phase.and_then(|phase| style.of(phase)));
            let connected: Cell = if row.connected { "yes" } else { "no" }.into();
            let converged: Cell = format!("{}/{}", row.converged, row.entries).into();
            let set: Cell = row.set.clone().unwrap_or_default().into();
            let kubernetes: Cell = fact(&row.facts.kubernetes, |k| k.version.clone()).into();
            let nodes: Cell = fact(&row.facts.nodes, ToString::to_string).into();
            let labels: Cell = labels(&row.labels).into();
            if style.is_wide {
                let seen = row.seen_ms.map(time).unwrap_or_default().into();
                wide.row([name, state, connected, seen, converged, set, kubernetes, nodes, labels]);
            } else {
                table.row([name, state, connected, converged, set, kubernetes, labels]);
            }
        }
        if style.is_wide { wide.to_string() } else { table.to_string() }
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|row| row.name.to_string()).collect()
    }
}

impl View for ClusterView {
    fn text(&self, style: Style) -> String {
        let row = &self.row;
        let mut lines = vec![
            ("State", Cell::from(state(row)).paint(row.phase.and_then(|phase| style.of(phase))).to_string()),
            ("Set", row.set.clone().unwrap_or_default()),
            ("Labels", labels(&self.operator_labels)),
            ("Catalog labels", labels(&self.catalog_labels)),
        ];
        let connected = match (&self.address, row.seen_ms) {
            (Some(address), Some(since)) => format!("from {address} since {}", time(since)),
            (Some(address), None) => format!("from {address}"),
            (None, Some(seen)) => format!("no; last seen {}", time(seen)),
            (None, None) => "no; not seen since the hub started".to_owned(),
        };
        if row.standing.is_some() {
            lines.push(("Connected", connected));
            lines.push(("Certificate", format!("valid until {}", time(self.certificate_until_ms))));
            let accepted = match self.accepted {
                Some((epoch, generation)) => format!("accepted {}.{}", epoch.0, generation.0),
                None => "nothing accepted yet".to_owned(),
            };
            lines.push(("Assignment", format!("{}.{}, {accepted}", self.epoch.0, self.generation.0)));
            lines.push(("Kubernetes", fact(&row.facts.kubernetes, |k| k.version.clone())));
            lines.push(("Nodes", fact(&row.facts.nodes, ToString::to_string)));
        }
        if let Some(alarm) = self.alarm {
            lines.push(("Alarm", format!("{alarm:?}: {}", told(alarm))));
        }
        if !self.leaving.is_empty() {
            lines.push(("Leaving", joined(&self.leaving)));
        }
        if !self.unassigned.is_empty() {
            lines.push(("Unassigned", joined(&self.unassigned)));
        }
        let mut text = format!("Cluster {}\n", row.name);
        for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
            let _ = writeln!(text, "  {:<15} {value}", format!("{name}:"));
        }
        if !self.apps.is_empty() {
            let first = |entry: &EntryView| entry.app.to_string();
            let _ = write!(text, "\n{}", entries("APP", &self.apps, first, style));
        }
        text
    }

    fn names(&self) -> Vec<String> {
        vec![self.row.name.to_string()]
    }
}

fn joined<'a>(apps: impl IntoIterator<Item = &'a nave_placement::AppKey>) -> String {
    apps.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
