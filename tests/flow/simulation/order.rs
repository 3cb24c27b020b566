//! Order: what `dependsOn` promises of one cluster, checked by somebody who knows what spokes hold, did and said.
//!
//! In: the catalog's dependencies, the relations that clusters are told, what spokes accept, their targets before and after a round,
//! their reports. Out: the first relation that the hub left out or invented; the first app that a spoke began too early.
//! Never: asks a spoke's step what may begin.
//!
//! A version of an app may begin once everything that it waits for was met: it was assigned, and applied or healthy (as is asked) at the
//! version that was assigned then. Each was met once; that it falls sick later, or that another version of it is assigned, stops
//! nothing. So it is with the first version of an app, with each later one, and under another name.

use std::collections::{BTreeMap, BTreeSet};

use nave_hub::deciding::core::Decided;
use nave_hub::state::State;
use nave_hub::state::records::Standing;
use nave_placement::assign::{EncodedRelations, Epoch, Generation};
use nave_placement::catalog::Until;
use nave_placement::relations;
use nave_placement::report::{EntryReason, EntryState};
use nave_placement::{AppKey, ClusterName, Digest};

use super::git::{self, Commit};
use super::spoke::{Spoke, entries};

/// Whether an app that is waited for has to be healthy, by its name.
type First = BTreeMap<AppKey, bool>;

/// What is known of one cluster.
#[derive(Default)]
struct OfCluster {
    /// What apps came to, and whether they were healthy then.
    met: BTreeMap<AppKey, (Digest, bool)>,
    /// What versions of apps wait for no longer.
    passed: BTreeSet<(AppKey, Digest, AppKey)>,
    /// Versions that may begin.
    ready: BTreeSet<(AppKey, Digest)>,
    /// What was stored of apps before the round.
    stored: BTreeMap<AppKey, Option<Digest>>,
    /// The assignment that was looked at last; none where something was met since.
    looked_at: Option<(Epoch, Generation)>,
}

/// What it remembers.
#[derive(Default)]
pub struct Order(BTreeMap<ClusterName, OfCluster>);

/// What the apps of a cluster wait for by a commit.
fn first(commit: &Commit, env: &str) -> BTreeMap<AppKey, First> {
    let is_here =
        |name: &str| commit.apps.get(name).is_some_and(|model| model.env.is_empty() || model.env == env);
    let of = |name: &String| -> First {
        let awaits = commit.apps[name].first.iter().filter(|(other, awaits)| is_here(other) || awaits.absent);
        awaits.map(|(other, awaits)| (git::key(other), awaits.healthy)).collect()
    };
    let here = commit.apps.keys().filter(|name| is_here(name)).map(|name| (git::key(name), of(name)));
    here.filter(|(_, first)| !first.is_empty()).collect()
}

fn said(relations: &EncodedRelations) -> Result<BTreeMap<AppKey, First>, String> {
    let relations = nave_proto::decode_relations(relations).map_err(|error| error.to_string())?;
    let of = |first: Vec<relations::First>| {
        first.into_iter().map(|first| (first.app, first.until == Until::Healthy)).collect()
    };
    Ok(relations.first.into_iter().map(|(app, first)| (app, of(first))).collect())
}

impl Order {
    /// The hub decided by a commit: it tells every cluster who waits for whom there.
    ///
    /// # Errors
    /// Where it says something else than the commit.
    pub fn decided(state: &State, commit: &Commit, decided: &Decided) -> Result<(), String> {
        for (name, member) in state.members.iter().filter(|(_, m)| m.standing == Standing::Member) {
            let env = member.membership.labels.get("env").cloned().unwrap_or_default();
            let rules = decided.rules.get(name);
            let told = rules.map(|rules| said(&rules.relations)).transpose()?.unwrap_or_default();
            let meant = first(commit, &env);
            if told != meant {
                return Err(format!("{name} is told that apps wait for {told:?}, and it is {meant:?}"));
            }
        }
        Ok(())
    }

    /// A spoke is about to begin a round.
    pub fn begins(&mut self, spoke: &Spoke) {
        self.look(spoke);
        let stored = spoke.target.stored().into_iter().map(|(app, of)| (app, of.version)).collect();
        self.0.entry(spoke.name.clone()).or_default().stored = stored;
    }

    /// A spoke may have accepted something.
    pub fn look(&mut self, spoke: &Spoke) {
        let of = self.0.entry(spoke.name.clone()).or_default();
        let accepted = &spoke.disk.held.assignment;
        if of.looked_at.replace(accepted.order()) == Some(accepted.order()) {
            return;
        }
        let Ok(first) = said(&accepted.relations) else { return };
        let assigned: BTreeMap<AppKey, Digest> = entries(&accepted.entries)
            .into_iter()
            .filter_map(|(app, entry)| Some((app, entry.ok()?.version)))
            .collect();
        for (app, version) in &assigned {
            let none = First::new();
            let first = first.get(app).unwrap_or(&none);
            let is_met = |(other, healthy): (&AppKey, &bool)| {
                let met = of.met.get(other).filter(|(version, _)| assigned.get(other) == Some(version));
                met.is_some_and(|(_, was_healthy)| *was_healthy || !healthy)
            };
            let met = first.iter().filter(|first| is_met(*first));
            let met: Vec<_> = met.map(|(other, _)| (app.clone(), *version, other.clone())).collect();
            of.passed.extend(met);
            let is_passed = |other: &AppKey| of.passed.contains(&(app.clone(), *version, other.clone()));
            if first.keys().all(is_passed) {
                of.ready.insert((app.clone(), *version));
            }
        }
    }

    /// A spoke's round is over.
    ///
    /// # Errors
    /// The app that it began too early.
    pub fn applied(&mut self, spoke: &Spoke) -> Result<(), String> {
        let of = self.0.entry(spoke.name.clone()).or_default();
        let enforced = entries(&spoke.enforced().assignment.entries);
        let begun = enforced.iter().filter_map(|(app, entry)| Some((app, entry.as_ref().ok()?.version)));
        for (app, inventory) in spoke.target.stored() {
            let before = of.stored.get(&app);
            // Its first objects, or all of another version.
            let version = match before {
                None => begun.clone().find(|(begun, _)| **begun == app).map(|(_, version)| version),
                Some(before) => inventory.version.filter(|version| Some(*version) != *before),
            };
            if let Some(version) = version.filter(|version| !of.ready.contains(&(app.clone(), *version))) {
                let (name, met) = (&spoke.name, &of.met);
                return Err(format!(
                    "{name} began {app} at {} before what it waits for was met: {met:?}",
                    version.short()
                ));
            }
        }
        let Some(report) = spoke.core.as_ref().map(|core| core.report().clone()) else { return Ok(()) };
        for (app, version) in begun {
            let Some(said) = report.entries.get(app) else { continue };
            let is_left_over = said.reason == EntryReason::PruneRefused && said.healthy == said.objects;
            let is_there = said.version == Some(version);
            let healthy = said.state == EntryState::Healthy && is_there || is_left_over;
            if is_there || healthy {
                let was = of.met.get(app).is_some_and(|(met, healthy)| *met == version && *healthy);
                let before = of.met.insert(app.clone(), (version, healthy || was));
                if before != Some((version, healthy || was)) {
                    of.looked_at = None;
                }
            }
        }
        Ok(())
    }
}
