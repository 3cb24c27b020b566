//! Records whose size matters: protobuf bytes and back, and the planner's way to entries and bundles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{Change, Codec, EncodedEntry, Entry, Epoch, Generation, Told};
use nave_placement::{Digest, ObjectKey};
use nave_proto::{app_from_proto, app_to_proto, v1};
use prost::Message as _;

use super::{Heard, Stood};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a cluster was told, as a record.
pub fn told_to_bytes(told: &Told) -> Vec<u8> {
    let assignment = nave_proto::assignment_to_proto(&told.assignment);
    let trail = told.trail.iter().flat_map(|(app, entries)| {
        let app = app_to_proto(app);
        entries.iter().map(move |e| v1::KeyedEntry { app: Some(app.clone()), entry: e.bytes.to_vec().into() })
    });
    let past = told.past.iter().map(|(epoch, generation, digest)| v1::Past {
        epoch: epoch.0,
        generation: generation.0,
        digest: digest.0.to_vec(),
    });
    let changes = told.changes.iter().map(|(app, change)| v1::Change {
        app: Some(app_to_proto(app)),
        epoch: change.since.0.0,
        generation: change.since.1.0,
        at_ms: change.at_ms,
        previous: change.previous.as_ref().map(|entry| entry.bytes.to_vec()).unwrap_or_default(),
    });
    let message = v1::StoredAssignment {
        assignment: Some(assignment),
        trail: trail.collect(),
        past: past.collect(),
        changes: changes.collect(),
    };
    message.encode_to_vec()
}

pub(super) fn told_from_bytes(bytes: &[u8]) -> Result<Told, Failure> {
    let message = v1::StoredAssignment::decode(bytes)?;
    let nothing = Told::nothing(Epoch(0)).assignment;
    let assignment = nave_proto::assignment_from_proto(message.assignment.unwrap_or_default(), &nothing)?;
    let mut trail: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for entry in message.trail {
        let app = app_from_proto(entry.app.as_ref().ok_or("a trail names its app")?)?;
        trail.entry(app).or_default().push(EncodedEntry::new(&*entry.entry));
    }
    let past = message
        .past
        .iter()
        .map(|p| Ok((Epoch(p.epoch), Generation(p.generation), nave_proto::digest(&p.digest)?)));
    let past = past.collect::<Result<_, nave_proto::ConvertError>>()?;
    let mut changes = BTreeMap::new();
    for change in message.changes {
        let app = app_from_proto(change.app.as_ref().ok_or("a change names its app")?)?;
        let since = (Epoch(change.epoch), Generation(change.generation));
        let previous = (!change.previous.is_empty()).then(|| EncodedEntry::new(change.previous));
        changes.insert(app, Change { since, at_ms: change.at_ms, previous });
    }
    Ok(Told { assignment, trail, past, changes })
}

/// A report, as a record.
pub fn report_to_bytes(heard: &Heard) -> Vec<u8> {
    let stood = heard.stood.iter().map(|(app, stood)| v1::Stood {
        app: Some(app_to_proto(app)),
        since_ms: stood.since_ms,
        version: stood.well.map(|(version, _)| version.0.to_vec()).unwrap_or_default(),
        well_ms: stood.well.map_or(0, |(_, ms)| ms),
    });
    let report = Some(nave_proto::report_to_proto(&heard.report, None));
    v1::StoredReport { report, stood: stood.collect() }.encode_to_vec()
}

pub(super) fn report_from_bytes(bytes: &[u8]) -> Result<Heard, Failure> {
    let message = v1::StoredReport::decode(bytes)?;
    let report = Arc::new(nave_proto::report_from_proto(message.report.unwrap_or_default(), None)?);
    let mut stood = BTreeMap::new();
    for of in message.stood {
        let app = app_from_proto(of.app.as_ref().ok_or("what stood so names its app")?)?;
        let version = (!of.version.is_empty()).then(|| nave_proto::digest(&of.version)).transpose()?;
        let well = version.map(|version| (version, of.well_ms));
        stood.insert(app, Stood { since_ms: of.since_ms, well });
    }
    Ok(Heard { report, stood })
}

/// The planner's way to entries and bundles: the wire's encoding, and a lookup of the objects of bundles.
pub struct WireCodec<F>(pub F);

impl<F: Fn(&Digest) -> Option<Arc<BTreeSet<ObjectKey>>>> Codec for WireCodec<F> {
    fn encode(&self, entry: &Entry) -> EncodedEntry {
        nave_proto::encode_entry(entry)
    }

    fn decode(&self, entry: &EncodedEntry) -> Option<Entry> {
        nave_proto::decode_entry(&entry.bytes).ok()
    }

    fn objects(&self, bundle: &Digest) -> Option<Arc<BTreeSet<ObjectKey>>> {
        (self.0)(bundle)
    }
}
