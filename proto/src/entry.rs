//! The entry's one encoding. Deterministic: fields in order of number, lists in order of name.

use nave_placement::assign::{Cause, EncodedEntry, Entry, Options, Share};
use nave_placement::catalog::{CommitId, Granted, NamespaceOptions, OnRemove};
use nave_placement::hex;
use prost::Message as _;

use crate::convert::{
    ConvertError, app_from_proto, app_to_proto, digest, fingerprints_from_proto, fingerprints_to_proto,
};
use crate::treatment::{target_from_proto, target_to_proto, treatment_from_proto, treatment_to_proto};
use crate::v1;

/// Encodes an entry, once and for all.
pub fn encode_entry(entry: &Entry) -> EncodedEntry {
    let values =
        entry.values.iter().map(|(name, value)| v1::Value { name: name.clone(), json: value.to_string() });
    let message = v1::Entry {
        bundle: entry.bundle.0.to_vec(),
        version: entry.version.0.to_vec(),
        commit: commit_to_proto(&entry.commit),
        values: values.collect(),
        options: Some(options_to_proto(&entry.options)),
        objects: entry.objects,
        drops: entry.drops,
        drops_cause: entry.drops_cause.as_ref().map(cause_to_proto),
        drops_of: fingerprints_to_proto(entry.drops_of.as_ref()),
        at_once: entry.at_once,
        source_at: entry.source_at.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    EncodedEntry::new(message.encode_to_vec())
}

/// Reads an entry's bytes.
///
/// # Errors
/// When they are no entry, or say something that this version does not know.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, ConvertError> {
    let message = v1::Entry::decode(bytes).map_err(|_| ConvertError("entry"))?;
    let value = |v: v1::Value| match serde_json::from_str(&v.json) {
        Ok(json) => Ok((v.name, json)),
        Err(_) => Err(ConvertError("entry.values")),
    };
    Ok(Entry {
        bundle: digest(&message.bundle)?,
        version: digest(&message.version)?,
        commit: commit_from_proto(&message.commit),
        values: message.values.into_iter().map(value).collect::<Result<_, _>>()?,
        options: options_from_proto(message.options.ok_or(ConvertError("entry.options"))?)?,
        objects: message.objects,
        drops: message.drops,
        drops_cause: message.drops_cause.map(cause_from_proto).transpose()?,
        drops_of: fingerprints_from_proto(&message.drops_of)?,
        at_once: message.at_once,
        source_at: match message.source_at.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| ConvertError("entry.source_at"))?),
        },
    })
}

fn options_to_proto(options: &Options) -> v1::Options {
    v1::Options {
        namespace: options.namespace.as_ref().map(|n| v1::Namespace {
            name: n.name.clone(),
            labels: n.labels.clone(),
            create: n.create,
            force: n.force,
        }),
        prune: options.prune,
        on_remove: on_remove_to_proto(options.on_remove),
        formerly: options.formerly.iter().map(app_to_proto).collect(),
        treatment: treatment_to_proto(&options.treatment),
        share: options.share.as_ref().map(|share| v1::Share {
            target: Some(target_to_proto(&share.target)),
            replicas: share.replicas,
        }),
        substitute: options.substitute,
        grant: options.grant.as_ref().map(|grant| v1::Grant {
            namespaces: grant.namespaces.iter().cloned().collect(),
            cluster_scoped: grant.cluster_scoped.iter().cloned().collect(),
        }),
    }
}

fn options_from_proto(options: v1::Options) -> Result<Options, ConvertError> {
    Ok(Options {
        namespace: options.namespace.map(|n| NamespaceOptions {
            name: n.name,
            labels: n.labels,
            create: n.create,
            force: n.force,
        }),
        prune: options.prune,
        on_remove: on_remove_from_proto(options.on_remove)?,
        formerly: options.formerly.iter().map(app_from_proto).collect::<Result<_, _>>()?,
        treatment: treatment_from_proto(options.treatment)?,
        share: options
            .share
            .map(|share| Share { target: target_from_proto(share.target), replicas: share.replicas }),
        substitute: options.substitute,
        grant: options.grant.map(|grant| Granted {
            namespaces: grant.namespaces.into_iter().collect(),
            cluster_scoped: grant.cluster_scoped.into_iter().collect(),
        }),
    })
}

pub(crate) fn on_remove_to_proto(policy: OnRemove) -> i32 {
    match policy {
        OnRemove::Delete => v1::OnRemove::Delete.into(),
        OnRemove::Orphan => v1::OnRemove::Orphan.into(),
    }
}

pub(crate) fn on_remove_from_proto(policy: i32) -> Result<OnRemove, ConvertError> {
    match v1::OnRemove::try_from(policy) {
        Ok(v1::OnRemove::Delete) => Ok(OnRemove::Delete),
        Ok(v1::OnRemove::Orphan) => Ok(OnRemove::Orphan),
        Ok(v1::OnRemove::Unspecified) | Err(_) => Err(ConvertError("onRemove")),
    }
}

/// A commit id as raw bytes; one that is no hex travels as its text behind a zero byte, which no hash of Git's has alone.
fn commit_to_proto(commit: &CommitId) -> Vec<u8> {
    let hex = |i: usize| commit.0.get(i..i + 2).and_then(|h| u8::from_str_radix(h, 16).ok());
    let bytes: Option<Vec<u8>> = (0..commit.0.len()).step_by(2).map(hex).collect();
    bytes.unwrap_or_else(|| [&[0], commit.0.as_bytes()].concat())
}

fn commit_from_proto(bytes: &[u8]) -> CommitId {
    match bytes {
        [0, text @ ..] if !matches!(bytes.len(), 20 | 32) => CommitId(String::from_utf8_lossy(text).into()),
        _ => CommitId(hex(bytes).into()),
    }
}

pub(crate) fn cause_to_proto(cause: &Cause) -> v1::Cause {
    use v1::cause::{Approved, Cause as Wire, Labels, Operator, Revision};
    let cause = match cause {
        Cause::Revision { commit } => Wire::Revision(Revision { commit: commit_to_proto(commit) }),
        Cause::Labels => Wire::Labels(Labels {}),
        Cause::Operator { by } => Wire::Operator(Operator { by: by.clone() }),
        Cause::Approved { hold, by } => Wire::Approved(Approved { hold: hold.clone(), by: by.clone() }),
    };
    v1::Cause { cause: Some(cause) }
}

pub(crate) fn cause_from_proto(cause: v1::Cause) -> Result<Cause, ConvertError> {
    use v1::cause::Cause as Wire;
    Ok(match cause.cause.ok_or(ConvertError("cause"))? {
        Wire::Revision(r) => Cause::Revision { commit: commit_from_proto(&r.commit) },
        Wire::Labels(_) => Cause::Labels,
        Wire::Operator(o) => Cause::Operator { by: o.by },
        Wire::Approved(a) => Cause::Approved { hold: a.hold, by: a.by },
    })
}
