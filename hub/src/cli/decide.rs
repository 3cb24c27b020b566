//! `hub decide`: what a catalog's placements choose for a given fleet, and why.
//!
//! In: a directory, a stream of `Cluster` documents whose `status` says what spokes would report, an earlier decision. Out:
//! for each placement those that it chose, best first, why the others were not, and who joins and leaves since the earlier
//! decision. Never: asks the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use nave_placement::catalog::{Catalog, CommitId, Count, Kind, LastGood, Problem};
use nave_placement::decide::{DecisionReport, Memory, Part, Reason, RejectedReport};
use nave_placement::offline::{self, Decided};
use nave_placement::{CatalogName, ClusterName};
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::directory::Directory;
use super::output::{Document, Format, Style, View};
use super::status::count;
use super::table::{Cell, Colour};
use crate::deciding::revision::{Loader, Place};

/// Its arguments.
#[derive(Args)]
#[command(after_help = "Example: hub decide --dir . --fleet fleet.yaml -o json > decided.json\n\
    Then, after a change: hub decide --dir . --fleet fleet.yaml --previous decided.json")]
pub struct Arguments {
    /// The repository's directory
    #[arg(long)]
    dir: PathBuf,
    /// The catalog's directory in the repository [default: all of it]
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    path: String,
    /// Cluster documents with `status: {connected, facts}`
    #[arg(long, value_name = "FILE")]
    fleet: PathBuf,
    /// What was decided before: the output of `hub decide -o json`
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

/// Decides.
pub async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let catalog = catalog(&arguments.dir, &arguments.path).await?;
    let errors: Vec<&Problem> = catalog.problems.iter().filter(|problem| problem.is_error()).collect();
    errors.iter().for_each(|problem| eprintln!("{problem}"));
    let given = offline::fleet(&arguments.fleet.display().to_string(), &read(&arguments.fleet)?, &catalog);
    let given = match given {
        Ok(given) => given,
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            bail!("{} is no fleet", arguments.fleet.display());
        }
    };
    let previous = arguments.previous.as_deref().map(previous).transpose()?;
    let told = Told::of(&catalog, &given, previous.as_ref());
    Document::of(&told)?.print::<Told>(arguments.format.output)?;
    // What could not be read has decided nothing.
    Ok(if errors.is_empty() { Outcome::Done } else { Outcome::Failed })
}

async fn catalog(dir: &Path, path: &str) -> anyhow::Result<Catalog> {
    let path = path.trim_start_matches("./").trim_matches('/');
    ensure!(dir.join(path).is_dir(), "{} is not a directory", dir.join(path).display());
    let directory = Directory::new(dir.to_owned());
    let tree = directory.tree()?;
    let place =
        Place { name: CatalogName::root(), directory: path.to_owned(), is_root: true, configured: None };
    let commit = CommitId("0000000000000000000000000000000000000000".into());
    Ok(Loader::default().catalog(&directory, &place, &commit, &tree, &LastGood::new()).await)
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn previous(file: &Path) -> anyhow::Result<Memory> {
    let what = || format!("{} is not what `hub decide -o json` printed", file.display());
    let decided: Decided = serde_json::from_str(&read(file)?).with_context(what)?;
    Ok(decided.memory())
}

/// Reasons in one line.
fn told(reasons: &[Reason]) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What is printed: a [`Decided`] that `--previous` reads back, and what the catalog and the earlier decision add to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    /// By name.
    placements: Vec<Placed>,
    /// Placements of the catalog that could not be read: they decide nothing here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<String>,
    /// Placements that decided something before, and are in the catalog no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<Gone>,
    /// How many errors the catalog has; each was told on stderr.
    #[serde(default, skip_serializing_if = "is_zero")]
    errors: usize,
}

/// A placement's decision, and what it moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Placed {
    #[serde(flatten)]
    report: DecisionReport,
    /// Clusters that it chose and did not choose before, best first; absent where nothing is known of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    joins: Option<Vec<ClusterName>>,
    /// Clusters that it chose before and does not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaves: Option<Vec<ClusterName>>,
    /// What clusters that stay had of the replicas, where that changes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    replicas_before: BTreeMap<ClusterName, u32>,
}

/// A placement that is gone, and who leaves with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gone {
    placement: String,
    leaves: Vec<ClusterName>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Told {
    fn of(catalog: &Catalog, given: &offline::Given, previous: Option<&Memory>) -> Self {
        let decided = offline::decide(catalog, given, previous.unwrap_or(&Memory::new()));
        let errors = catalog.problems.iter().filter(|problem| problem.is_error());
        let named = errors.clone().filter_map(|problem| problem.object.as_ref());
        let mut refused: BTreeSet<String> = named
            .filter(|id| id.kind == Kind::Placement && !catalog.objects.contains_key(*id))
            .map(|id| id.name.to_string())
            .collect();
        // A document that cannot be read at all has no name: any that is missing may be in it.
        let is_hidden = errors.clone().any(|problem| problem.object.is_none());
        let there: BTreeSet<&str> = decided.placements.iter().map(|report| &*report.placement).collect();
        let missing: Vec<Gone> = previous
            .into_iter()
            .flatten()
            .filter(|(name, settled)| {
                !there.contains(&***name) && !refused.contains(&***name) && !settled.chosen.is_empty()
            })
            .map(|(name, settled)| Gone {
                placement: name.to_string(),
                leaves: settled.chosen.keys().cloned().collect(),
            })
            .collect();
        let (hidden, gone): (Vec<Gone>, Vec<Gone>) = missing.into_iter().partition(|_| is_hidden);
        refused.extend(hidden.into_iter().map(|gone| gone.placement));
        Self {
            gone,
            errors: errors.count(),
            placements: decided.placements.into_iter().map(|report| Placed::of(report, previous)).collect(),
            refused: refused.into_iter().collect(),
        }
    }

    /// How many placements change, and what changes; nothing where nothing is known of before.
    fn summary(&self) -> Option<String> {
        let gone = self.gone.iter().map(|gone| [0, gone.leaves.len(), 0]);
        let all: Vec<[usize; 3]> = self.placements.iter().filter_map(Placed::moved).chain(gone).collect();
        if all.is_empty() {
            return None;
        }
        let moved: Vec<[usize; 3]> = all.into_iter().filter(|moved| *moved != [0; 3]).collect();
        if moved.is_empty() {
            return Some("no placement changes\n".to_owned());
        }
        let words = [("joins", "join"), ("leaves", "leave"), ("has other replicas", "have other replicas")];
        let mut parts: Vec<String> = Vec::new();
        for (at, (one, many)) in words.into_iter().enumerate() {
            let number: usize = moved.iter().map(|moved| moved[at]).sum();
            let verb = if number == 1 { one } else { many };
            match (number, parts.is_empty()) {
                (0, _) => {}
                (_, true) => parts.push(format!("{} {verb}", count(number, "cluster", "clusters"))),
                (_, false) => parts.push(format!("{number} {verb}")),
            }
        }
        let placements = count(moved.len(), "placement changes", "placements change");
        Some(format!("{placements}: {}\n", parts.join(", ")))
    }
}

impl Placed {
    fn of(report: DecisionReport, previous: Option<&Memory>) -> Self {
        let Some(previous) = previous else {
            return Self { report, joins: None, leaves: None, replicas_before: BTreeMap::new() };
        };
        let before = previous.get(&report.placement);
        let before: BTreeSet<&ClusterName> =
            before.map(|settled| settled.chosen.keys().collect()).unwrap_or_default();
        let now: BTreeSet<&ClusterName> = report.chosen.iter().map(|chosen| &chosen.cluster).collect();
        let chosen = report.chosen.iter().map(|chosen| &chosen.cluster);
        let joins = chosen.filter(|cluster| !before.contains(*cluster)).cloned().collect();
        let leaves = before.difference(&now).map(|cluster| (*cluster).clone()).collect();
        let share = |cluster: &ClusterName| {
            previous.get(&report.placement)?.shares.as_ref()?.by.get(cluster).copied()
        };
        let shares = report.chosen.iter().filter_map(|chosen| Some((chosen, share(&chosen.cluster)?)));
        let replicas_before = shares
            .filter(|(chosen, share)| chosen.replicas.is_some_and(|now| now != *share))
            .map(|(chosen, share)| (chosen.cluster.clone(), share))
            .collect();
        Self { joins: Some(joins), leaves: Some(leaves), replicas_before, report }
    }

    /// How many join, leave, and get other replicas.
    fn moved(&self) -> Option<[usize; 3]> {
        Some([self.joins.as_ref()?.len(), self.leaves.as_ref()?.len(), self.replicas_before.len()])
    }

    /// Whether it chose fewer than it says.
    fn short(&self) -> String {
        let report = &self.report;
        let numbers = report.numbers.as_ref().filter(|numbers| numbers.per.is_none());
        let places = report.chosen.iter().filter(|chosen| chosen.stands_in.is_none()).count();
        match numbers.and_then(|numbers| numbers.count) {
            Some(Count::Clusters(count)) if places < count as usize => {
                format!(", fewer than pick.count {count}: no others can be chosen")
            }
            _ => String::new(),
        }
    }

    fn text(&self, style: Style) -> String {
        let report = &self.report;
        let mut text = String::new();
        let apps = report.apps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let all = report.chosen.len() + report.rejected.len();
        let apps = if apps.is_empty() { "no app".to_owned() } else { apps };
        let _ = writeln!(
            text,
            "placement {}: {apps} on {} of {all} clusters{}",
            report.placement,
            report.chosen.len(),
            self.short()
        );
        for chosen in &report.chosen {
            let mark = Cell::from("✓").paint(style.colour(Colour::Green));
            let score =
                if chosen.parts.is_empty() { String::new() } else { format!(", score {}", chosen.score) };
            let before = self.replicas_before.get(&chosen.cluster);
            let before = before.map(|before| format!(" instead of {before}")).unwrap_or_default();
            let replicas = chosen.replicas.map(|n| format!(", {n} replicas{before}")).unwrap_or_default();
            let reasons = told(&chosen.reasons);
            let _ = writeln!(text, "  {mark} {}{score}{replicas}: {reasons}", chosen.cluster);
            for part in chosen.parts.iter().filter(|_| style.is_wide) {
                let Part { prefer, weight, value, .. } = part;
                let _ = writeln!(text, "      {weight} × {value} for {prefer}");
            }
        }
        // Those with the same reasons together, whatever values were seen: a large fleet has few.
        let mut alike: BTreeMap<String, Vec<&RejectedReport>> = BTreeMap::new();
        for rejected in &report.rejected {
            let general: Vec<Reason> = rejected.reasons.iter().map(Reason::without_values).collect();
            alike.entry(told(&general)).or_default().push(rejected);
        }
        for (general, rejected) in alike {
            let mark = Cell::from("✗").paint(style.colour(Colour::Red));
            let clusters: Vec<&str> = rejected.iter().map(|rejected| rejected.cluster.as_str()).collect();
            let reasons = match rejected[..] {
                [one] => told(&one.reasons),
                _ => general,
            };
            let _ = writeln!(text, "  {mark} {}: {reasons}", listed(&clusters, style));
        }
        text.push_str(&moving("+", self.joins.as_deref().unwrap_or_default(), ("joins", "join"), style));
        text.push_str(&leaving(self.leaves.as_deref().unwrap_or_default(), style));
        text
    }
}

/// A line of those that move, if anybody does.
fn moving(mark: &str, clusters: &[ClusterName], (one, many): (&str, &str), style: Style) -> String {
    if clusters.is_empty() {
        return String::new();
    }
    let colour = if mark == "+" { Colour::Green } else { Colour::Red };
    let mark = Cell::from(mark).paint(style.colour(colour));
    let names: Vec<&str> = clusters.iter().map(ClusterName::as_str).collect();
    let verb = if names.len() == 1 { one } else { many };
    format!("  {mark} {} {verb}\n", listed(&names, style))
}

fn leaving(clusters: &[ClusterName], style: Style) -> String {
    moving("-", clusters, ("leaves", "leave"), style)
}

impl View for Told {
    fn text(&self, style: Style) -> String {
        let mut text: String = self.placements.iter().map(|placed| placed.text(style)).collect();
        for gone in &self.gone {
            let _ = writeln!(text, "placement {}: it is not in the catalog any more", gone.placement);
            text.push_str(&leaving(&gone.leaves, style));
        }
        for name in &self.refused {
            let _ = writeln!(
                text,
                "placement {name}: could not be read, so a hub keeps what it decided before; the errors stand above"
            );
        }
        if text.is_empty() {
            return match self.errors {
                0 => "The catalog has no placement.\n".to_owned(),
                _ => "The catalog has no placement that could be read; its errors stand above.\n".to_owned(),
            };
        }
        text.push_str(&self.summary().unwrap_or_default());
        text
    }

    fn names(&self) -> Vec<String> {
        let chosen = |placed: &Placed| {
            let report = &placed.report;
            let names = report.chosen.iter().map(|chosen| format!("{}/{}", report.placement, chosen.cluster));
            names.collect::<Vec<_>>()
        };
        self.placements.iter().flat_map(chosen).collect()
    }
}

/// The first few, and how many more; all of them where there is room.
fn listed(clusters: &[&str], style: Style) -> String {
    const SHOWN: usize = 5;
    match clusters.len() {
        many if many > SHOWN && !style.is_wide => {
            format!("{} and {} more", clusters[..SHOWN].join(", "), many - SHOWN)
        }
        _ => clusters.join(", "),
    }
}

#[cfg(test)]
mod tests;
