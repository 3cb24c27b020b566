//! Reading the fields of a `Rollout`.
//!
//! In: the fields of its `spec`. Out: [`Rollout`]. Never: takes a wave that could have no cluster, or
//! one that would never begin.

use std::collections::BTreeMap;

use super::decode::selector;
use super::fields::{Field, Fields, Reader};
use super::place::{cluster_terms, count, is_absent, spreads, topology};
use super::references::References;
use super::rollout::{Before, Failure, OnNewRevision, Pace, Rollout, Then, Wave};
use super::treat::{milliseconds, milliseconds_within};
use super::yaml::Value;
use super::{ClusterSelection, Percent};
use crate::select::Selector;

/// The fields.
pub(super) const FIELDS: &[&str] = &["waves", "failure", "onNewRevision"];
/// Those of a wave.
const WAVE: &[&str] =
    &["name", "clusters", "count", "share", "spread", "maxUnavailable", "soak", "pace", "before"];

/// A rollout may take a season: people wait for a month's end, or for a quarter's.
const LONGEST: (u64, &str) = (90 * 86_400_000, "90d");
/// A shorter time would have passed before anything was told.
const SECOND: (u64, &str) = (1000, "1s");

/// Reads a rollout.
pub(super) fn rollout(reader: &mut Reader<'_>, references: &mut References, fields: &Fields<'_>) -> Rollout {
    let revision = [("Supersede", OnNewRevision::Supersede), ("Finish", OnNewRevision::Finish)];
    Rollout {
        waves: waves(reader, references, fields),
        failure: fields.get("failure").map(|f| failure(reader, &f)).unwrap_or_default(),
        on_new_revision: fields
            .get("onNewRevision")
            .and_then(|f| reader.choice(&f, &revision))
            .unwrap_or_default(),
    }
}

/// What the waves before one leave to it.
#[derive(Default)]
struct Earlier {
    /// Names, and the paths of their waves.
    names: BTreeMap<String, String>,
    /// The largest share, and the path of its wave.
    share: Option<(Percent, String)>,
    /// The wave behind which nothing is left.
    last: Option<String>,
    /// That was told.
    is_told: bool,
}

fn waves(reader: &mut Reader<'_>, references: &mut References, fields: &Fields<'_>) -> Vec<Wave> {
    const HOW: &str = "name one, e.g. {name: canary, count: 1}, or leave the Rollout out";
    let Some(given) = fields.get("waves") else {
        reader.missing(fields.position, "spec.waves", HOW);
        return Vec::new();
    };
    if is_absent(fields, "waves") {
        reader.error(given.node.position, format!("spec.waves has no wave; {HOW}"));
    }
    let mut earlier = Earlier::default();
    let mut waves = Vec::new();
    for item in reader.list(&given) {
        let known = reader.problems.len();
        let Some(fields) = reader.fields(&item, WAVE, &[]) else { continue };
        let wave = wave(reader, references, &fields);
        let is_sound = reader.problems.len() == known;
        earlier.behind(reader, &fields, &item.path, &wave);
        if is_sound {
            earlier.add(&item.path, &wave);
        }
        waves.push(wave);
    }
    waves
}

impl Earlier {
    /// What is wrong with a wave behind these.
    fn behind(&mut self, reader: &mut Reader<'_>, fields: &Fields<'_>, path: &str, wave: &Wave) {
        let name = &wave.name;
        if let Some(field) = fields.get("name").filter(|_| !name.is_empty()) {
            match self.names.get(name) {
                None => _ = self.names.insert(name.clone(), path.to_owned()),
                Some(first) => {
                    let message =
                        format!("{}: {first} is called {name} already; give it another name", field.path);
                    reader.error(field.node.position, message);
                }
            }
        }
        if let Some(last) = &self.last {
            if !self.is_told {
                let message = format!(
                    "{path}: {last} takes all clusters that are left, so none is left for this one; put {last} last, or give it clusters, count or a smaller share"
                );
                reader.error(fields.position, message);
                self.is_told = true;
            }
        } else if let (Some(field), Some((share, of))) = (fields.get("share"), &self.share)
            && let Some(given) = wave.share.filter(|given| given <= share)
        {
            let message = format!(
                "{}: {given} is not above {share}, the share of {of}; a share counts all waves up to its own, so raise it, or remove the wave",
                field.path
            );
            reader.error(field.node.position, message);
        }
    }

    fn add(&mut self, path: &str, wave: &Wave) {
        let every = ClusterSelection { selector: Some(Selector::default()), ..ClusterSelection::default() };
        let takes_all = wave.clusters.as_ref().is_none_or(|clusters| *clusters == every)
            && wave.count.is_none()
            && wave.share.is_none_or(|share| share.value() == 100);
        if takes_all && self.last.is_none() {
            self.last = Some(path.to_owned());
        }
        let largest = self.share.as_ref().map(|(share, _)| *share);
        if let Some(share) = wave.share.filter(|share| largest.is_none_or(|largest| largest < *share)) {
            self.share = Some((share, path.to_owned()));
        }
    }
}

fn wave(reader: &mut Reader<'_>, references: &mut References, fields: &Fields<'_>) -> Wave {
    if fields.get("name").is_none() {
        reader.missing(fields.position, &fields.path_of("name"), "name the wave, e.g. name: canary");
    }
    let no_budget = "lets no cluster change; write at least 1, or remove it";
    let wave = Wave {
        name: fields.get("name").and_then(|f| reader.name(&f, "wave name")).unwrap_or_default(),
        clusters: fields.get("clusters").map(|f| cluster_terms(reader, references, &f)),
        count: fields.get("count").and_then(|f| so_many(reader, &f)),
        share: fields.get("share").and_then(|f| share(reader, &f)),
        spread: spreads(reader, fields, |reader, field| {
            let fields = reader.fields(field, &["topologyKey"], &[])?;
            topology(reader, &fields)
        }),
        max_unavailable: fields.get("maxUnavailable").and_then(|f| count(reader, &f, Some(no_budget))),
        soak_ms: fields.get("soak").and_then(|f| wait(reader, &f)).unwrap_or_default(),
        pace: fields.get("pace").and_then(|f| pace(reader, &f)),
        before: fields.get("before").and_then(|f| before(reader, &f)).unwrap_or_default(),
    };
    let is_given = |name: &str| fields.get(name).is_some();
    if let Some(share) = fields.get("share").filter(|_| is_given("count")) {
        let message = format!("{}: a wave has count or share, not both; remove one of them", share.path);
        reader.error(share.node.position, message);
    }
    let is_meant = |name: &&str| is_given(name) || reader.misspelt.contains(&fields.path_of(name));
    if let Some(spread) = fields.get("spread").filter(|_| !is_absent(fields, "spread"))
        && !["count", "share"].iter().any(is_meant)
    {
        let message = format!(
            "{}: without count or share the wave takes all, and has nothing to spread; give it one of them, or remove spread",
            spread.path
        );
        reader.error(spread.node.position, message);
    }
    wave
}

/// A number of clusters; a percentage stands in another field.
fn so_many(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<u32> {
    if let Value::Text(text) = &field.node.value
        && text.ends_with('%')
    {
        let message = format!(
            "{}: {text} is a share; write share: {text}, which counts the waves before it too",
            field.path
        );
        reader.error(field.node.position, message);
        return None;
    }
    let count = reader.count(field)?;
    if count == 0 {
        let message = format!("{}: 0 takes no cluster; write at least 1, or remove the wave", field.path);
        reader.error(field.node.position, message);
    }
    (count > 0).then_some(count)
}

fn share(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Percent> {
    let share = reader.percent(field)?;
    if share == Percent::NONE {
        let message = format!("{}: 0% takes no cluster; write at least 1%, or remove the wave", field.path);
        reader.error(field.node.position, message);
    }
    (share != Percent::NONE).then_some(share)
}

/// How long something has to be so.
fn wait(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<u64> {
    milliseconds_within(reader, field, (0, "0s"), LONGEST)
}

fn pace(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Pace> {
    let fields = reader.fields(field, &["step", "every"], &[])?;
    let hows = [("step", "say how many each time, e.g. 10%"), ("every", "say after how long, e.g. 24h")];
    for (name, how) in hows {
        if fields.get(name).is_none() {
            reader.missing(fields.position, &fields.path_of(name), how);
        }
    }
    let nothing = "takes no cluster; write at least 1";
    let step = fields.get("step").and_then(|f| count(reader, &f, Some(nothing)));
    let every = fields.get("every").and_then(|f| milliseconds_within(reader, &f, SECOND, LONGEST));
    Some(Pace { step: step?, every_ms: every? })
}

fn before(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Before> {
    let fields = reader.fields(field, &["approval", "healthyOn", "for"], &[])?;
    let approval = fields.get("approval").and_then(|f| reader.flag(&f)).unwrap_or_default();
    let healthy_on = fields.get("healthyOn").and_then(|f| healthy_on(reader, &f));
    let for_ms = fields.get("for").and_then(|f| wait(reader, &f)).unwrap_or_default();
    if let Some(given) = fields.get("for").filter(|_| fields.get("healthyOn").is_none()) {
        let how = "say where the version has to be healthy for that long, or remove for";
        reader.missing(given.node.position, &fields.path_of("healthyOn"), how);
    }
    Some(Before { approval, healthy_on, for_ms })
}

/// Some clusters: all of them would be those of the wave too, which has not begun.
fn healthy_on(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Selector> {
    let fields = reader.fields(field, &["selector"], &[])?;
    let Some(given) = fields.get("selector") else {
        let how = "say where, e.g. {matchLabels: {env: staging}}";
        reader.missing(fields.position, &fields.path_of("selector"), how);
        return None;
    };
    let known = reader.problems.len();
    let selector = selector(reader, &given);
    if selector == Selector::default() && reader.problems.len() == known {
        let message = format!(
            "{}: it means every cluster, so the wave would wait for itself; write e.g. {{matchLabels: {{env: staging}}}}",
            given.path
        );
        reader.error(given.node.position, message);
    }
    Some(selector)
}

fn failure(reader: &mut Reader<'_>, field: &Field<'_>) -> Failure {
    let Some(fields) = reader.fields(field, &["max", "deadline", "then"], &[]) else {
        return Failure::default();
    };
    let then = [("Pause", Then::Pause), ("Rollback", Then::Rollback)];
    let (least, written) = SECOND;
    let max = fields.get("max").and_then(|f| count(reader, &f, None));
    Failure {
        max: max.unwrap_or(Failure::default().max),
        deadline_ms: fields.get("deadline").and_then(|f| milliseconds(reader, &f, least, written)),
        then: fields.get("then").and_then(|f| reader.choice(&f, &then)).unwrap_or_default(),
    }
}
