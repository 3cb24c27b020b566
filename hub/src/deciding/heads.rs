//! Heads: the records of catalogs: the commit that is in effect, where the last good form of every object stands, the forms of apps.
//!
//! In: the state, a revision. Out: records that differ. Never: forgets anything of a catalog of which something runs.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::catalog::Catalog;
use nave_placement::guard::{Guarded, Verdict};
use nave_placement::overrides::Variant;
use nave_placement::{AppKey, CatalogName};

use super::core::{Revision, Write, chunked, json};
use super::parts::Own;
use super::units::Units;
use crate::state::records::{FormRecord, GoodRecord, HeadRecord, key};
use crate::state::{Audit, State, Step};
use crate::store::Batch;

/// Pins that the trailers of one commit end.
const UNPINS: usize = 20;

/// The heads, the last good forms, and the approvals that trailers gave; before anything that follows from them.
pub(super) fn take(
    state: &State,
    revision: &Revision,
    verdict: &Verdict,
    guarded: &Guarded,
    now_ms: u64,
) -> Vec<Write> {
    let mut writes = Vec::new();
    for own in &revision.owns {
        writes.extend(good_records(state, &own.catalog));
        writes.extend(head(state, revision, own, (verdict, guarded), now_ms));
    }
    writes
}

fn head(
    state: &State,
    revision: &Revision,
    own: &Own,
    (verdict, guarded): (&Verdict, &Guarded),
    now_ms: u64,
) -> Option<Write> {
    let (all, catalog) = (&revision.catalog, &own.catalog);
    let held = state.heads.get(&catalog.name);
    if held.is_some_and(|h| h.commit == catalog.commit) {
        return None;
    }
    // Nobody takes care of what nobody runs.
    let runs = |app: &AppKey| state.told.values().any(|told| told.assignment.entries.contains_key(app));
    let is_member = |cluster: &_| state.members.contains_key(cluster);
    let mut next = Guarded::of(all).keeping(guarded, all, runs, is_member);
    // In the same batch: the holds themselves are written later.
    verdict.holds.iter().for_each(|hold| next.add(&hold.cause));
    // A tenant protects its own apps alone; what the root says of clusters and of limits is the root's to take back.
    let [guarded, next] = [guarded.clone(), next].map(|mut said| {
        let is_root = catalog.name == all.name;
        said.apps
            .retain(|app| app.catalog == catalog.name || is_root && all.commit_of(&app.catalog).is_none());
        if is_root { said } else { Guarded { apps: said.apps, ..Guarded::default() } }
    });
    let before = held.map(|held| held.with_this()).unwrap_or_default();
    let let_go = if catalog.name == all.name { let_go(state, revision) } else { BTreeSet::new() };
    let commit = catalog.commit.clone();
    let record = HeadRecord { commit, taken_ms: now_ms, guarded, next, before, let_go };
    let head = key::head(&catalog.name);
    let mut batch = Batch::new().require_same(head.clone(), held.map(|h| h.version)).put(head, json(&record));
    for approval in &verdict.used {
        batch = batch.put(key::approval(&approval.hold.id), json(approval));
    }
    let who = format!("catalog {}@{}", catalog.name, catalog.commit.short());
    let audit = Audit {
        who: who.clone(),
        what: "Taken",
        subject: format!("catalog {}", catalog.name),
        why: own.author.clone(),
        ..Audit::default()
    };
    let mut audits = vec![audit];
    let units = Units::of(all);
    let is_ended = |app: &AppKey| own.unpins.iter().any(|named| units.lead(named) == units.lead(app));
    for ((app, id), _) in state.pins.iter().filter(|((app, _), _)| is_ended(app)).take(UNPINS) {
        batch = batch.delete(key::pin(app, id));
        audits.push(Audit {
            who: who.clone(),
            what: "Unpinned",
            subject: format!("app {app}"),
            details: BTreeMap::from([("pin".to_owned(), id.clone())]),
            ..Audit::default()
        });
    }
    Some(Write { step: Step::HeadTaken, batch, audits })
}

/// Tenants of which what runs goes, since the root names them no more and said so. Who is named again is none.
pub(super) fn let_go(state: &State, revision: &Revision) -> BTreeSet<CatalogName> {
    let Some(root) = revision.owns.first() else { return BTreeSet::new() };
    let held = state.heads.get(&root.catalog.name).into_iter().flat_map(|head| head.let_go.iter());
    let all = held.chain(&root.let_go);
    all.filter(|name| root.catalog.tenant(name).is_none() && *name != &root.catalog.name).cloned().collect()
}

/// Where the text of every object in effect stands.
fn good_records(state: &State, catalog: &Catalog) -> Vec<Write> {
    let mut operations: Vec<(String, Option<Vec<u8>>)> = Vec::new();
    for (id, effective) in &catalog.objects {
        let record =
            GoodRecord { commit: effective.commit.clone(), file: effective.object.origin.file.to_string() };
        let held = state.good.get(&State::good_key(&catalog.name, id.kind, &id.name));
        if held.is_none_or(|h| *h.record != record) {
            operations.push((key::good(&catalog.name, id.kind, &id.name), Some(json(&record))));
        }
    }
    let names: BTreeSet<(String, &str)> =
        catalog.objects.keys().map(|id| (id.kind.to_string(), &*id.name)).collect();
    for (owner, kind, name) in state.good.keys().filter(|(owner, _, _)| *owner == catalog.name) {
        if !names.contains(&(kind.clone(), name.as_str())) {
            operations.push((format!("good/{owner}/{kind}/{name}"), None));
        }
    }
    chunked(Step::HeadTaken, operations)
}

/// Records of apps' forms. The form of an app that left its catalog, or of a variant that no cluster has at a new commit, goes;
/// what runs of it is in its entries.
pub(super) fn forms(state: &State, revision: &Revision) -> Vec<Write> {
    let mut operations: Vec<(String, Option<Vec<u8>>)> = Vec::new();
    for (app, variants) in &revision.forms {
        for (variant, form) in variants {
            let record = FormRecord::from(form);
            let held = state.forms.get(&(app.clone(), variant.clone()));
            if held.is_none_or(|held| *held.record != record) {
                operations.push((key::form(app, variant), Some(json(&record))));
            }
        }
    }
    let stays = |app: &AppKey, variant: &Variant| {
        revision.forms.get(app).is_some_and(|variants| variants.contains_key(variant))
    };
    let gone = state
        .forms
        .keys()
        .filter(|(app, variant)| revision.catalog.commit_of(&app.catalog).is_some() && !stays(app, variant));
    operations.extend(gone.map(|(app, variant)| (key::form(app, variant), None)));
    chunked(Step::FormsTaken, operations)
}

/// All records of catalogs that the root names no more, once nothing of them runs: until then what was decided is remembered.
pub(super) fn forgotten(state: &State, catalog: &Catalog) -> Vec<Write> {
    let is_named = |name: &_| *name == catalog.name || catalog.tenant(name).is_some();
    let gone: BTreeSet<_> = state.heads.keys().filter(|name| !is_named(*name)).collect();
    if gone.is_empty() {
        return Vec::new();
    }
    let runs = |name: &&_| {
        let assignments = state.told.values().map(|told| &told.assignment);
        assignments
            .into_iter()
            .any(|of| of.entries.keys().chain(of.leaving.keys()).any(|app| app.catalog == **name))
    };
    let gone: BTreeSet<_> = gone.into_iter().filter(|name| !runs(name)).collect();
    let is_gone = |name| gone.contains(name);
    let mut keys: Vec<String> = Vec::new();
    let good = state.good.keys().filter(|(owner, _, _)| is_gone(owner));
    keys.extend(good.map(|(owner, kind, name)| format!("good/{owner}/{kind}/{name}")));
    let forms = state.forms.keys().filter(|(app, _)| is_gone(&app.catalog));
    keys.extend(forms.map(|(app, variant)| key::form(app, variant)));
    let decisions = state.decisions.keys().filter(|(owner, _)| is_gone(owner));
    keys.extend(decisions.map(|(owner, name)| key::decision(owner, name)));
    // Who is called so next begins anew.
    keys.extend(state.rollouts.keys().filter(|app| is_gone(&app.catalog)).map(key::rollout));
    keys.extend(
        state.plans.keys().filter(|(app, _)| is_gone(&app.catalog)).map(|(app, id)| key::plan(app, id)),
    );
    keys.extend(
        state.pins.keys().filter(|(app, _)| is_gone(&app.catalog)).map(|(app, id)| key::pin(app, id)),
    );
    let pauses =
        state.pauses.keys().filter(|scope| scope.app.as_ref().is_some_and(|app| is_gone(&app.catalog)));
    keys.extend(pauses.map(key::pause));
    keys.extend(gone.iter().map(|name| key::head(name)));
    chunked(Step::HeadTaken, keys.into_iter().map(|key| (key, None)).collect())
}
