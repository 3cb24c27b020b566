//! State: what the hub knows, in memory, as a fold over the store's records.
//!
//! In: records, as they are loaded and committed. Out: typed views of them.
//! Never: holds anything decisive that is not in the store: a restarted hub that loads the same records is in the same state.

mod audit;
mod heard;
pub mod history;
mod ledger;
pub mod records;
pub mod trim;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use nave_placement::assign::{Epoch, Told};
use nave_placement::catalog::{Kind, RemoteId, Sources};
use nave_placement::decide::Settled;
use nave_placement::fleet::Facts;
use nave_placement::guard::{Approval, PastLoss};
use nave_placement::overrides::{Form, Forms, Variant};
use nave_placement::rollout::{Course, Plan};
use nave_placement::{AppKey, CatalogName, ClusterName};

pub use audit::{Audit, Tail, rfc3339, verify_chain};
pub use heard::{Heard, Stood};
#[cfg(feature = "failpoints")]
pub use ledger::failpoints;
pub use ledger::{CommitError, Ledger, Step};
use records::{
    AnchorRecord, ConfiguredRecord, DoubtRecord, FleetRecord, FormRecord, GoodRecord, HeadRecord, HoldRecord,
    MemberRecord, OperatorRecord, PauseRecord, PauseScope, PinRecord, Rejection, SinkRecord, TokenRecord,
    WindowRecord,
};
pub use wire::{WireCodec, report_to_bytes, told_to_bytes};

use crate::events::EventRecord;
use crate::events::conditions::Conditions;
use crate::sources::SourceRecord;
use crate::store::{Key, Value, Version};

/// A record that this version of the hub cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the store's record {key:?} cannot be read; it was damaged, or written by a newer hub")]
pub struct RecordError {
    key: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// A record with the version that preconditions name.
#[derive(Clone, Debug)]
pub struct Versioned<T> {
    /// The record.
    pub record: T,
    /// Its version in the store.
    pub version: Version,
}

impl<T> std::ops::Deref for Versioned<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.record
    }
}

type Records<K, T> = BTreeMap<K, Versioned<Arc<T>>>;

/// Everything that the store holds, typed.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The fleet; absent before `hub init`.
    pub fleet: Option<Versioned<Arc<FleetRecord>>>,
    /// Why nothing is sent to anybody, while that is so.
    pub doubt: Option<Versioned<Arc<DoubtRecord>>>,
    /// What left in the last hour.
    pub window: Option<Versioned<Arc<WindowRecord>>>,
    /// Members by name.
    pub members: Records<ClusterName, MemberRecord>,
    /// Join tokens by id.
    pub tokens: Records<String, TokenRecord>,
    /// Operators by name.
    pub operators: Records<String, OperatorRecord>,
    /// How far each catalog was taken.
    pub heads: Records<CatalogName, HeadRecord>,
    /// The catalogs of the hub's configuration, as they were at the last start.
    pub configured: Option<Versioned<Arc<ConfiguredRecord>>>,
    /// Last good forms by catalog, kind and name.
    pub good: Records<(CatalogName, String, String), GoodRecord>,
    /// Forms of variants of apps that are in effect.
    pub forms: Records<(AppKey, Variant), FormRecord>,
    /// In which states remotes are, by their names in records.
    pub sources: Records<RemoteId, SourceRecord>,
    /// What placements decided that pick, by catalog and name.
    pub decisions: Records<(CatalogName, String), Settled>,
    /// What clusters were told.
    pub told: Records<ClusterName, Told>,
    /// What clusters reported.
    pub reports: Records<ClusterName, Heard>,
    /// What clusters said of themselves.
    pub facts: Records<ClusterName, Facts>,
    /// Holds by id.
    pub holds: Records<String, HoldRecord>,
    /// Approvals by the id of their hold.
    pub approvals: Records<String, Approval>,
    /// What operators said of holds that shall stay, by the hold's id.
    pub rejections: Records<String, Rejection>,
    /// What operators paused, ended or not.
    pub pauses: Records<PauseScope, PauseRecord>,
    /// Pins, by their app and id.
    pub pins: Records<(AppKey, String), PinRecord>,
    /// How apps move.
    pub rollouts: Records<AppKey, Course>,
    /// Plans of rollouts, by their app and id.
    pub plans: Records<(AppKey, String), Plan>,
    /// Where the records of history stand.
    pub history: history::Index,
    /// The last line of the audit log: sequence and hash.
    pub audit: Tail,
    /// Where the audit log begins, if not with its first line.
    pub anchor: Option<Versioned<Arc<AnchorRecord>>>,
    /// The last events, by their numbers.
    pub events: Records<u64, EventRecord>,
    /// What was told by events and still lasts.
    pub conditions: Option<Versioned<Arc<Conditions>>>,
    /// How far receivers of events are, by their names.
    pub sinks: Records<String, SinkRecord>,
}

impl State {
    /// The epoch of new assignments.
    pub fn epoch(&self) -> Epoch {
        self.fleet.as_ref().map_or(Epoch(1), |f| f.epoch)
    }

    /// What a cluster was told; nothing, if it was never told anything.
    pub fn told(&self, cluster: &ClusterName) -> Arc<Told> {
        self.told.get(cluster).map_or_else(|| Arc::new(Told::nothing(self.epoch())), |t| t.record.clone())
    }

    /// Every form that is in effect.
    pub fn forms(&self) -> Forms {
        let mut forms = Forms::new();
        for ((app, variant), record) in &self.forms {
            forms.entry(app.clone()).or_default().insert(variant.clone(), Form::from(&*record.record));
        }
        forms
    }

    /// In which states remotes are.
    pub fn sources(&self) -> Sources {
        self.sources.iter().map(|(id, record)| (id.clone(), record.at.clone())).collect()
    }

    /// The pauses that last.
    pub fn paused(&self, now_ms: u64) -> impl Iterator<Item = &PauseRecord> {
        self.pauses.values().map(|pause| &*pause.record).filter(move |pause| pause.until_ms > now_ms)
    }

    /// The losses of the last hour.
    pub fn losses(&self) -> &[PastLoss] {
        self.window.as_ref().map_or(&[], |w| &w.losses)
    }

    /// Takes a record in, or out where the value is `None`. An older version than what is here changes nothing, so that
    /// commits may be folded in any order.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn fold(&mut self, key: &Key, version: Version, value: Option<&Value>) -> Result<(), RecordError> {
        let error = |source| RecordError { key: key.clone(), source };
        let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
        match kind {
            records::key::FLEET => one(&mut self.fleet, version, value, json),
            records::key::DOUBT => one(&mut self.doubt, version, value, json),
            records::key::WINDOW => one(&mut self.window, version, value, json),
            records::key::CONFIGURED => one(&mut self.configured, version, value, json),
            "member" => name(rest).and_then(|n| many(&mut self.members, n, version, value, json)),
            "token" => many(&mut self.tokens, rest.to_owned(), version, value, json),
            "operator" => many(&mut self.operators, rest.to_owned(), version, value, json),
            "head" => catalog(rest).and_then(|n| many(&mut self.heads, n, version, value, json)),
            "good" => good(rest).and_then(|k| many(&mut self.good, k, version, value, json)),
            "form" => form(rest).and_then(|k| many(&mut self.forms, k, version, value, json)),
            "source" => many(&mut self.sources, RemoteId::from(rest), version, value, json),
            "decision" => decision(rest).and_then(|k| many(&mut self.decisions, k, version, value, json)),
            "assignment" => {
                name(rest).and_then(|n| many(&mut self.told, n, version, value, wire::told_from_bytes))
            }
            "report" => {
                name(rest).and_then(|n| many(&mut self.reports, n, version, value, wire::report_from_bytes))
            }
            "facts" => name(rest).and_then(|n| many(&mut self.facts, n, version, value, json)),
            "hold" => many(&mut self.holds, rest.to_owned(), version, value, json),
            "approval" => many(&mut self.approvals, rest.to_owned(), version, value, json),
            "rejection" => many(&mut self.rejections, rest.to_owned(), version, value, json),
            "pause" => {
                PauseScope::from_key(rest).and_then(|k| many(&mut self.pauses, k, version, value, json))
            }
            "rollout" => app(rest).and_then(|k| many(&mut self.rollouts, k, version, value, json)),
            "pin" => plan(rest).and_then(|k| many(&mut self.pins, k, version, value, json)),
            "plan" => plan(rest).and_then(|k| many(&mut self.plans, k, version, value, json)),
            "history" => self.history.fold(rest, value),
            "audit" => self.audit.fold(value),
            records::key::ANCHOR => {
                let before = self.anchor.as_ref().map(|anchor| anchor.version);
                one(&mut self.anchor, version, value, json).map(|()| {
                    let anchor = self.anchor.as_ref().filter(|anchor| Some(anchor.version) > before);
                    self.audit.trimmed(anchor.map_or(0, |anchor| anchor.bytes));
                })
            }
            "event" => sequence(rest).and_then(|k| many(&mut self.events, k, version, value, json)),
            records::key::CONDITIONS => one(&mut self.conditions, version, value, json),
            "sink" => many(&mut self.sinks, rest.to_owned(), version, value, json),
            // A kind of a newer hub: not ours to judge.
            _ => Ok(()),
        }
        .map_err(error)
    }

    /// The key of a good record, taken apart.
    pub fn good_key(catalog: &CatalogName, kind: Kind, name: &str) -> (CatalogName, String, String) {
        (catalog.clone(), kind.to_string(), name.to_owned())
    }
}

type Read<T> = fn(&[u8]) -> Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Folded = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    Ok(serde_json::from_slice(bytes)?)
}

fn one<T>(
    slot: &mut Option<Versioned<Arc<T>>>,
    version: Version,
    value: Option<&Value>,
    read: Read<T>,
) -> Folded {
    if slot.as_ref().is_some_and(|held| held.version > version) {
        return Ok(());
    }
    *slot = match value {
        Some(bytes) => Some(Versioned { record: Arc::new(read(bytes)?), version }),
        None => None,
    };
    Ok(())
}

fn many<K: Ord, T>(
    records: &mut Records<K, T>,
    key: K,
    version: Version,
    value: Option<&Value>,
    read: Read<T>,
) -> Folded {
    if records.get(&key).is_some_and(|held| held.version > version) {
        return Ok(());
    }
    match value {
        Some(bytes) => drop(records.insert(key, Versioned { record: Arc::new(read(bytes)?), version })),
        None => drop(records.remove(&key)),
    }
    Ok(())
}

fn name(text: &str) -> Result<ClusterName, Box<dyn std::error::Error + Send + Sync>> {
    Ok(text.parse()?)
}

fn catalog(text: &str) -> Result<CatalogName, Box<dyn std::error::Error + Send + Sync>> {
    Ok(text.parse()?)
}

fn sequence(text: &str) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    Ok(text.parse()?)
}

/// `CATALOG/APP`, or `CATALOG/APP/VARIANT`.
fn form(text: &str) -> Result<(AppKey, Variant), Box<dyn std::error::Error + Send + Sync>> {
    let (catalog_name, rest) = text.split_once('/').ok_or("the key of a form has at least two parts")?;
    let (app_name, variant) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((AppKey::new(catalog(catalog_name)?, app_name)?, Variant::of([variant])))
}

fn app(text: &str) -> Result<AppKey, Box<dyn std::error::Error + Send + Sync>> {
    let (owner, name) = text.split_once('/').ok_or("the key of an app's record has two parts")?;
    Ok(AppKey::new(catalog(owner)?, name)?)
}

/// `CATALOG/APP/ID`; the id may have a `/` in it.
fn plan(text: &str) -> Result<(AppKey, String), Box<dyn std::error::Error + Send + Sync>> {
    let mut parts = text.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(owner), Some(name), Some(id)) => Ok((AppKey::new(catalog(owner)?, name)?, id.to_owned())),
        _ => Err("the key of a plan has three parts".into()),
    }
}

fn decision(text: &str) -> Result<(CatalogName, String), Box<dyn std::error::Error + Send + Sync>> {
    let (owner, name) = text.split_once('/').ok_or("a decision's key has two parts")?;
    Ok((catalog(owner)?, name.to_owned()))
}

fn good(text: &str) -> Result<(CatalogName, String, String), Box<dyn std::error::Error + Send + Sync>> {
    let mut parts = text.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(c), Some(kind), Some(name)) => Ok((catalog(c)?, kind.to_owned(), name.to_owned())),
        _ => Err("the key of a good form has three parts".into()),
    }
}
