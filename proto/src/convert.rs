//! Domain types to messages and back. Whatever a peer sends is checked here, once.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::assign::{
    Assignment, EncodedEntry, EncodedRelations, EncodedSchedule, Epoch, Generation, Leaving,
};
use nave_placement::report::{EntryReason, EntryReport, EntryState, ObjectReport, Report};
use nave_placement::{AppKey, CatalogName, Digest, Fingerprints, ObjectKey};

use crate::entry::{cause_from_proto, cause_to_proto, on_remove_from_proto, on_remove_to_proto};
use crate::v1;

/// A message that this version cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer sent a malformed or unknown {0}")]
pub struct ConvertError(pub &'static str);

/// Reads a digest.
///
/// # Errors
/// When it has not 32 bytes.
pub fn digest(bytes: &[u8]) -> Result<Digest, ConvertError> {
    Digest::from_bytes(bytes).map_err(|_| ConvertError("digest"))
}

/// Fingerprints; none is no bytes.
pub(crate) fn fingerprints_to_proto(prints: Option<&Fingerprints>) -> Vec<u8> {
    prints.map(Fingerprints::to_bytes).unwrap_or_default()
}

/// Fingerprints. What cannot be read is no permission for anything else: it is an error.
pub(crate) fn fingerprints_from_proto(bytes: &[u8]) -> Result<Option<Fingerprints>, ConvertError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Fingerprints::from_bytes(bytes).map(Some).ok_or(ConvertError("fingerprints"))
}

/// An app's key.
pub fn app_to_proto(app: &AppKey) -> v1::AppKey {
    v1::AppKey { catalog: app.catalog.as_str().to_owned(), name: app.name().to_owned() }
}

/// An app's key.
///
/// # Errors
/// When a name is not valid.
pub fn app_from_proto(app: &v1::AppKey) -> Result<AppKey, ConvertError> {
    let catalog = CatalogName::new(&app.catalog).map_err(|_| ConvertError("catalog name"))?;
    AppKey::new(catalog, &app.name).map_err(|_| ConvertError("app name"))
}

fn keyed(entries: &[v1::AppKey]) -> Result<BTreeSet<AppKey>, ConvertError> {
    entries.iter().map(app_from_proto).collect()
}

fn app(key: Option<&v1::AppKey>) -> Result<AppKey, ConvertError> {
    app_from_proto(key.ok_or(ConvertError("app"))?)
}

/// A whole assignment, without MAC and bundles.
pub fn assignment_to_proto(assignment: &Assignment) -> v1::Assignment {
    v1::Assignment {
        epoch: assignment.epoch.0,
        generation: assignment.generation.0,
        digest: assignment.digest().0.to_vec(),
        entries: assignment.entries.iter().map(entry_to_proto).collect(),
        leaving: assignment.leaving.iter().map(leaving_to_proto).collect(),
        schedule: assignment.schedule.0.to_vec(),
        relations: assignment.relations.0.to_vec(),
        ..v1::Assignment::default()
    }
}

/// An assignment as a change of another.
pub fn change_to_proto(base: &Assignment, next: &Assignment) -> v1::Assignment {
    let differs = |(app, entry): &(&AppKey, &EncodedEntry)| base.entries.get(*app) != Some(*entry);
    let gone = base.entries.keys().filter(|app| !next.entries.contains_key(*app));
    v1::Assignment {
        base: Some(v1::Base {
            epoch: base.epoch.0,
            generation: base.generation.0,
            digest: base.digest().0.to_vec(),
        }),
        entries: next.entries.iter().filter(differs).map(entry_to_proto).collect(),
        gone: gone.map(app_to_proto).collect(),
        ..assignment_to_proto(&Assignment { entries: BTreeMap::new(), ..next.clone() })
    }
    .with_digest(next.digest())
}

impl v1::Assignment {
    fn with_digest(mut self, digest: Digest) -> Self {
        self.digest = digest.0.to_vec();
        self
    }
}

fn entry_to_proto((app, entry): (&AppKey, &EncodedEntry)) -> v1::KeyedEntry {
    v1::KeyedEntry { app: Some(app_to_proto(app)), entry: entry.bytes.to_vec().into() }
}

/// A leaving record.
pub fn leaving_to_proto((app, leaving): (&AppKey, &Leaving)) -> v1::Leaving {
    v1::Leaving {
        app: Some(app_to_proto(app)),
        policy: on_remove_to_proto(leaving.policy),
        cause: Some(cause_to_proto(&leaving.cause)),
        objects: leaving.objects,
        drops_of: fingerprints_to_proto(leaving.drops_of.as_ref()),
    }
}

/// A leaving record.
///
/// # Errors
/// When it names no app, policy or cause.
pub fn leaving_from_proto(leaving: v1::Leaving) -> Result<(AppKey, Leaving), ConvertError> {
    let record = Leaving {
        policy: on_remove_from_proto(leaving.policy)?,
        cause: cause_from_proto(leaving.cause.ok_or(ConvertError("leaving.cause"))?)?,
        objects: leaving.objects,
        drops_of: fingerprints_from_proto(&leaving.drops_of)?,
    };
    Ok((app(leaving.app.as_ref())?, record))
}

/// Reads an assignment: whole, or as a change of `base`. The result's digest is checked against the one that came along.
///
/// # Errors
/// When it is malformed, is against another base, or does not have the digest that it names.
pub fn assignment_from_proto(message: v1::Assignment, base: &Assignment) -> Result<Assignment, ConvertError> {
    let mut entries = match &message.base {
        None => BTreeMap::new(),
        Some(named) => {
            let ours = (base.epoch.0, base.generation.0, base.digest());
            if (named.epoch, named.generation, digest(&named.digest)?) != ours {
                return Err(ConvertError("base of an assignment"));
            }
            base.entries.clone()
        }
    };
    for gone in keyed(&message.gone)? {
        entries.remove(&gone);
    }
    for entry in message.entries {
        entries.insert(app(entry.app.as_ref())?, EncodedEntry::new(&*entry.entry));
    }
    let assignment = Assignment {
        epoch: Epoch(message.epoch),
        generation: Generation(message.generation),
        entries,
        leaving: message.leaving.into_iter().map(leaving_from_proto).collect::<Result<_, _>>()?,
        schedule: EncodedSchedule(message.schedule.into()),
        relations: EncodedRelations(message.relations.into()),
    };
    if assignment.digest() == digest(&message.digest)? {
        Ok(assignment)
    } else {
        Err(ConvertError("digest of an assignment"))
    }
}

/// A report: whole, or what differs from `base`, which is the one that the hub acknowledged by the order of the stream.
pub fn report_to_proto(report: &Report, base: Option<&Report>) -> v1::Report {
    let changed =
        |(app, entry): &(&AppKey, &EntryReport)| base.is_none_or(|b| b.entries.get(*app) != Some(*entry));
    let apps_left = base.is_none_or(|b| b.entries.keys().all(|app| report.entries.contains_key(app)));
    // Entries that are gone cannot be told by listing what changed: then the report is whole.
    let base = base.filter(|_| apps_left);
    let entries = report.entries.iter().filter(|e| base.is_none() || changed(e));
    v1::Report {
        boot: report.boot,
        sequence: report.sequence,
        epoch: report.epoch.0,
        generation: report.generation.0,
        whole: base.is_none(),
        entries: entries.map(entry_report_to_proto).collect(),
        left: report.left.iter().map(app_to_proto).collect(),
        unassigned: report.unassigned.iter().map(app_to_proto).collect(),
        leaving: report.leaving.iter().map(entry_report_to_proto).collect(),
        digest: report.digest().0.to_vec(),
    }
}

/// Reads a report: whole, or on top of `base`.
///
/// # Errors
/// When it is malformed, or is a change and does not fit `base`: then a whole one has to be asked for.
pub fn report_from_proto(message: v1::Report, base: Option<&Report>) -> Result<Report, ConvertError> {
    let mut entries = match (message.whole, base) {
        (true, _) => BTreeMap::new(),
        (false, Some(base)) => base.entries.clone(),
        (false, None) => return Err(ConvertError("base of a report")),
    };
    entries.extend(entry_reports(message.entries)?);
    let report = Report {
        boot: message.boot,
        sequence: message.sequence,
        epoch: Epoch(message.epoch),
        generation: Generation(message.generation),
        entries,
        left: keyed(&message.left)?,
        leaving: entry_reports(message.leaving)?,
        unassigned: keyed(&message.unassigned)?,
    };
    if report.digest() == digest(&message.digest)? {
        Ok(report)
    } else {
        Err(ConvertError("digest of a report"))
    }
}

fn entry_reports(entries: Vec<v1::EntryReport>) -> Result<BTreeMap<AppKey, EntryReport>, ConvertError> {
    entries.into_iter().map(entry_report_from_proto).collect()
}

fn entry_report_to_proto((app, entry): (&AppKey, &EntryReport)) -> v1::EntryReport {
    let state = match entry.state {
        EntryState::Pending => v1::EntryState::Pending,
        EntryState::Waiting => v1::EntryState::Waiting,
        EntryState::Progressing => v1::EntryState::Progressing,
        EntryState::Healthy => v1::EntryState::Healthy,
        EntryState::Degraded => v1::EntryState::Degraded,
        EntryState::Failed => v1::EntryState::Failed,
    };
    let reason = serde_json::to_value(entry.reason).ok().and_then(|v| v.as_str().map(str::to_owned));
    v1::EntryReport {
        app: Some(app_to_proto(app)),
        version: entry.version.map(|v| v.0.to_vec()).unwrap_or_default(),
        state: state.into(),
        reason: reason.unwrap_or_default(),
        message: entry.message.clone(),
        objects: entry.objects,
        healthy: entry.healthy,
        unhealthy: entry.unhealthy.iter().map(object_report_to_proto).collect(),
        corrected: entry.corrected,
        digest: entry.digest.0.to_vec(),
        drifted: entry.drifted,
        notes: entry.notes.iter().map(object_report_to_proto).collect(),
        asks: fingerprints_to_proto(entry.asks.as_ref()),
    }
}

fn entry_report_from_proto(entry: v1::EntryReport) -> Result<(AppKey, EntryReport), ConvertError> {
    let state = match v1::EntryState::try_from(entry.state) {
        Ok(v1::EntryState::Pending) => EntryState::Pending,
        Ok(v1::EntryState::Waiting) => EntryState::Waiting,
        Ok(v1::EntryState::Progressing) => EntryState::Progressing,
        Ok(v1::EntryState::Healthy) => EntryState::Healthy,
        Ok(v1::EntryState::Degraded) => EntryState::Degraded,
        Ok(v1::EntryState::Failed) => EntryState::Failed,
        Ok(v1::EntryState::Unspecified) | Err(_) => return Err(ConvertError("entry state")),
    };
    // A newer spoke may have more reasons; its message still says all to people.
    let reason = serde_json::from_value(entry.reason.clone().into()).unwrap_or(EntryReason::Other);
    let report = EntryReport {
        version: if entry.version.is_empty() { None } else { Some(digest(&entry.version)?) },
        state,
        reason,
        message: entry.message,
        objects: entry.objects,
        healthy: entry.healthy,
        unhealthy: entry.unhealthy.into_iter().map(object_report_from_proto).collect(),
        corrected: entry.corrected,
        drifted: entry.drifted,
        notes: entry.notes.into_iter().map(object_report_from_proto).collect(),
        asks: fingerprints_from_proto(&entry.asks)?,
        digest: digest(&entry.digest)?,
    };
    Ok((app(entry.app.as_ref())?, report))
}

fn object_report_to_proto(object: &ObjectReport) -> v1::ObjectReport {
    v1::ObjectReport {
        group: object.key.group.clone(),
        kind: object.key.kind.clone(),
        namespace: object.key.namespace.clone(),
        name: object.key.name.clone(),
        state: object.state.clone(),
        reason: object.reason.clone(),
        message: object.message.clone(),
    }
}

fn object_report_from_proto(o: v1::ObjectReport) -> ObjectReport {
    let key = ObjectKey { group: o.group, kind: o.kind, namespace: o.namespace, name: o.name };
    ObjectReport { key, state: o.state, reason: o.reason, message: o.message }
}
