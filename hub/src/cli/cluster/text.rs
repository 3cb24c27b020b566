//! Clusters as text.

use std::fmt::Write as _;

use super::super::app::entries;
use super::super::output::{Style, View, time};
use super::super::status::told;
use super::super::table::{Cell, Table, one_line};
use super::facts::{self, fact, pairs};
use crate::operator::views::{ClusterRow, ClusterView, EntryView, JoinView};
use crate::operator::worked_on;
use crate::state::records::Standing;

impl View for JoinView {
    fn text(&self, _: Style) -> String {
        format!("{}\n", self.command)
    }

    fn names(&self) -> Vec<String> {
        vec![self.cluster.to_string()]
    }
}

/// Effective labels; where the catalog hides an operator's, that too.
fn labels(row: &ClusterRow) -> String {
    let label = |(key, value): (&String, &String)| match row.hidden_labels.get(key) {
        Some(hidden) => format!("{key}={value} (an operator said {hidden:?})"),
        None => format!("{key}={value}"),
    };
    row.labels.iter().map(label).collect::<Vec<_>>().join(",")
}

fn taints(row: &ClusterRow) -> String {
    row.taints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// As `kubectl get nodes` shows it: how it stands, then what operators ordered.
fn state(row: &ClusterRow) -> String {
    let stands = match (row.standing, row.phase) {
        (None, _) => "NotJoined".to_owned(),
        _ if row.awaits_replacement => "AwaitsReplacement".to_owned(),
        (Some(Standing::Member), Some(phase)) => format!("{phase:?}"),
        (Some(standing), _) => format!("{standing:?}"),
    };
    let ordered = [
        (row.cordoned && !row.draining, ",Cordoned"),
        (row.draining, ",Draining"),
        (row.maintenance.is_some(), ",Maintained"),
    ];
    ordered.into_iter().filter(|(is, _)| *is).fold(stands, |text, (_, word)| text + word)
}

/// Those that are behind: since when, and why.
fn behind(rows: &[ClusterRow], style: Style) -> String {
    let mut table = Table::new(["NAME", "STATE", "CONNECTED", "BEHIND SINCE", "APPS", "WHY"]);
    for row in rows {
        let Some(behind) = &row.behind else { continue };
        table.row([
            row.name.as_str().into(),
            Cell::from(state(row)).paint(row.phase.and_then(|phase| style.of(phase))),
            if row.connected { "yes" } else { "no" }.into(),
            time(behind.since_ms).into(),
            joined(&behind.apps).into(),
            style.message(&behind.why).into(),
        ]);
    }
    table.to_string()
}

impl View for Vec<ClusterRow> {
    fn text(&self, style: Style) -> String {
        if self.is_empty() {
            return "There is no cluster; `hub cluster join NAME` makes one a member.\n".to_owned();
        }
        if self.iter().any(|row| row.behind.is_some()) {
            return behind(self, style);
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
            "TAINTS",
            "MAINTAINED UNTIL",
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
            let labels: Cell = labels(row).into();
            if style.is_wide {
                let seen = row.seen_ms.map(time).unwrap_or_default().into();
                let until = row.maintenance.as_ref().map(|m| time(m.until_ms)).unwrap_or_default().into();
                let taints = taints(row).into();
                wide.row([
                    name, state, connected, seen, converged, set, kubernetes, nodes, taints, until, labels,
                ]);
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
        let hidden = match row.hidden_labels.is_empty() {
            true => String::new(),
            false => format!("{}: the catalog says otherwise, and wins", pairs(&row.hidden_labels)),
        };
        let mut ordered = Vec::new();
        if row.draining {
            ordered.push("draining: what was picked for it moves away, nothing new is placed".to_owned());
        } else if row.cordoned {
            ordered.push("cordoned: nothing new is placed".to_owned());
        }
        if let Some(maintenance) = &row.maintenance {
            ordered.push(format!("{}: its assignment does not change before", worked_on(maintenance)));
        }
        if row.awaits_replacement {
            ordered.push("its name waits for the cluster that replaces it".to_owned());
        }
        let set = match (&row.set, &self.set_problem) {
            (Some(set), Some(problem)) => format!("{set}: {}", one_line(problem)),
            (set, _) => set.clone().unwrap_or_default(),
        };
        let mut lines = vec![
            ("State", Cell::from(state(row)).paint(row.phase.and_then(|phase| style.of(phase))).to_string()),
            ("Set", set),
            ("Labels", pairs(&self.operator_labels)),
            ("Catalog labels", pairs(&self.catalog_labels)),
            ("Hidden labels", hidden),
            ("Taints", taints(row)),
            ("Ordered", one_line(&ordered.join("; "))),
        ];
        lines.extend(self.pauses.iter().map(|pause| ("Paused", pause.to_string())));
        if self.protected {
            lines.push(("Protected", "nothing leaves it before that is approved".to_owned()));
        }
        if !self.schedule.is_empty() {
            let now = self.closed.clone().unwrap_or_else(|| "they may start now".to_owned());
            lines.push(("Changes", format!("{}; {now}", self.schedule)));
        }
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
            lines.extend(facts::lines(&row.facts, style));
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
