//! The records that the store keeps: their keys and shapes. JSON, but for assignments and reports, whose size matters.
//!
//! A field that is added later has a default; a field is never given another meaning.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::assign::{Epoch, Generation, Options};
use nave_placement::catalog::{CommitId, Kind, RemoteId, SourceAt, Sources};
use nave_placement::fleet::Membership;
use nave_placement::guard::{Guarded, PastLoss};
use nave_placement::overrides::template::Uses;
use nave_placement::overrides::{Asked, Form, Variant};
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};
use serde::{Deserialize, Serialize};

mod orders;

pub use orders::{PauseRecord, PauseScope, PinRecord};

/// Keys: the first word is the kind of record.
pub mod key {
    use super::{AppKey, CatalogName, ClusterName, CommitId, Kind, PauseScope, RemoteId, Variant};

    /// The fleet itself.
    pub const FLEET: &str = "fleet";
    /// The doubt about this store, while there is one.
    pub const DOUBT: &str = "doubt";
    /// What left in the last hour.
    pub const WINDOW: &str = "window";

    /// What was told of by events, and still lasts.
    pub const CONDITIONS: &str = "conditions";
    /// The catalogs that the hub's configuration had when a hub started last.
    pub const CONFIGURED: &str = "configured";
    /// Where the audit log begins, once lines of it are no longer kept.
    pub const ANCHOR: &str = "anchor";

    /// A member.
    pub fn member(name: &ClusterName) -> String {
        format!("member/{name}")
    }
    /// A join token.
    pub fn token(id: &str) -> String {
        format!("token/{id}")
    }
    /// An operator.
    pub fn operator(name: &str) -> String {
        format!("operator/{name}")
    }
    /// How far a catalog was taken.
    pub fn head(catalog: &CatalogName) -> String {
        format!("head/{catalog}")
    }
    /// The last good form of a catalog's object.
    pub fn good(catalog: &CatalogName, kind: Kind, name: &str) -> String {
        format!("good/{catalog}/{kind}/{name}")
    }
    /// The form of a variant of an app that is in effect. Without overrides and answers the key has two parts, as it always had.
    pub fn form(app: &AppKey, variant: &Variant) -> String {
        let app = format!("form/{}/{}", app.catalog, app.name());
        if *variant == Variant::default() { app } else { format!("{app}/{variant}") }
    }
    /// In which state a remote is.
    pub fn source(remote: &RemoteId) -> String {
        format!("source/{}", remote.as_str())
    }
    /// What a placement decided.
    pub fn decision(catalog: &CatalogName, placement: &str) -> String {
        format!("decision/{catalog}/{placement}")
    }
    /// What a cluster was told.
    pub fn assignment(cluster: &ClusterName) -> String {
        format!("assignment/{cluster}")
    }
    /// What a cluster reported.
    pub fn report(cluster: &ClusterName) -> String {
        format!("report/{cluster}")
    }
    /// What a cluster said of itself.
    pub fn facts(cluster: &ClusterName) -> String {
        format!("facts/{cluster}")
    }
    /// A hold.
    pub fn hold(id: &str) -> String {
        format!("hold/{id}")
    }
    /// An approval, by the id of its hold.
    pub fn approval(hold: &str) -> String {
        format!("approval/{hold}")
    }
    /// The rejection of a hold, by its id, which says what it holds: it outlives the hold.
    pub fn rejection(hold: &str) -> String {
        format!("rejection/{hold}")
    }
    /// A pause.
    pub fn pause(scope: &PauseScope) -> String {
        let app = scope.app.as_ref().map_or("*".to_owned(), ToString::to_string);
        let cluster = scope.cluster.as_ref().map_or("*", |cluster| cluster.as_str());
        format!("pause/{cluster}/{app}")
    }
    /// A pin of an app.
    pub fn pin(app: &AppKey, id: &str) -> String {
        format!("pin/{}/{}/{id}", app.catalog, app.name())
    }
    /// How an app moves.
    pub fn rollout(app: &AppKey) -> String {
        format!("rollout/{}/{}", app.catalog, app.name())
    }
    /// The plan of an app's rollout.
    pub fn plan(app: &AppKey, id: &str) -> String {
        format!("plan/{}/{}/{id}", app.catalog, app.name())
    }
    /// A trailer that was used.
    pub fn trailer(commit: &CommitId) -> String {
        format!("trailer/{commit}")
    }
    /// A line of the audit log.
    pub fn audit(sequence: u64) -> String {
        format!("audit/{sequence:020}")
    }
    /// An event.
    pub fn event(sequence: u64) -> String {
        format!("event/{sequence:020}")
    }
    /// How far a receiver of events is.
    pub fn sink(name: &str) -> String {
        format!("sink/{name}")
    }
}

/// The catalogs of the hub's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfiguredRecord {
    /// What stands there of each, as a digest.
    pub catalogs: BTreeMap<String, Digest>,
}

/// The fleet itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetRecord {
    /// Its name, for ever.
    pub name: String,
    /// The epoch of new assignments.
    pub epoch: Epoch,
    /// Where spokes and operators reach the hub, as `hub init --advertise` said; empty: where it listens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advertise: Vec<String>,
}

/// A spoke proved that it holds what this store does not know: nothing is sent to anybody until an operator accepts the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoubtRecord {
    /// The cluster that proved it first.
    pub cluster: ClusterName,
    /// What it holds.
    pub epoch: Epoch,
    /// What it holds.
    pub generation: Generation,
    /// When it was noticed, Unix milliseconds.
    pub since_ms: u64,
}

/// Where a member stands on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// A member.
    #[default]
    Member,
    /// Its workloads are being deleted, then it is detached.
    Emptying,
    /// It is told to detach.
    Detaching,
    /// Detached, or revoked: its certificate is refused.
    Revoked,
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberRecord {
    /// What operators said of it.
    #[serde(flatten)]
    pub membership: Membership,
    /// The UID of the cluster that enrolled.
    pub cluster_uid: String,
    /// The public key that enrolled (SubjectPublicKeyInfo, DER, hex): the member *is* this key. Empty while a name waits for
    /// the cluster that is to replace its last one.
    pub public_key: String,
    /// When it enrolled, Unix milliseconds.
    pub enrolled_ms: u64,
    /// Until when its certificate is valid, Unix milliseconds.
    pub certificate_until_ms: u64,
    /// Where it stands.
    pub standing: Standing,
    /// Who ordered it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordered_by: Option<String>,
}

impl MemberRecord {
    /// Whether the name waits for the cluster that is to replace its last one.
    pub fn is_vacant(&self) -> bool {
        self.public_key.is_empty()
    }
}

/// A join token; its secret is kept hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    /// The cluster that it makes a member.
    pub cluster: ClusterName,
    /// Labels and set of the member to be.
    #[serde(flatten)]
    pub membership: Membership,
    /// SHA-256 of the secret.
    pub secret: Digest,
    /// Valid until, Unix milliseconds.
    pub expires_ms: u64,
    /// The first public key that was presented (hex); no other is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<String>,
}

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OperatorRole {
    /// Looks.
    Viewer,
    /// Changes what runs.
    Operator,
    /// Changes who may.
    Admin,
}

/// An operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorRecord {
    /// What they may do.
    pub role: OperatorRole,
    /// Their public key (SubjectPublicKeyInfo, DER, hex).
    pub public_key: String,
}

/// How far a catalog was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeadRecord {
    /// The commit that is in effect, as far as it is valid.
    pub commit: CommitId,
    /// When it was taken, Unix milliseconds.
    pub taken_ms: u64,
    /// What binds this revision, also after a restart: limits and protected things of those before it.
    #[serde(default)]
    pub guarded: Guarded,
    /// What binds the next one.
    #[serde(default)]
    pub next: Guarded,
    /// Commits that were taken before, and when, the oldest first; at most [`TAKEN`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Taken>,
    /// Of the root: tenants of which what runs goes, since it names them no more and said so.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub let_go: BTreeSet<CatalogName>,
}

/// Commits that a head remembers: 6 KB of its record.
pub const TAKEN: usize = 64;

/// A commit that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// The commit.
    pub commit: CommitId,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

impl HeadRecord {
    /// The commits that come before whatever is taken next.
    pub fn with_this(&self) -> Vec<Taken> {
        let this = Taken { commit: self.commit.clone(), at_ms: self.taken_ms };
        let mut all: Vec<Taken> = self.before.iter().cloned().chain([this]).collect();
        all.drain(..all.len().saturating_sub(TAKEN));
        all
    }
}

/// Where the last good form of an object stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GoodRecord {
    /// The commit whose text is in effect: where the object's content changed last.
    pub commit: CommitId,
    /// The file in that commit.
    pub file: String,
}

/// The form of a variant of an app that is in effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FormRecord {
    /// The rendered manifests.
    pub bundle: Digest,
    /// How it is treated.
    pub options: Options,
    /// The digest of its source and of what overrides change. Zeros in a record from before there were values, until
    /// its commit is read again.
    #[serde(default)]
    pub source: Digest,
    /// The recipe digest without values.
    pub version: Digest,
    /// The commit that gave it this version.
    pub commit: CommitId,
    /// What the remote of its source was, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_at: Option<(RemoteId, SourceAt)>,
    /// What the charts elsewhere were that its chart depends on.
    #[serde(default, skip_serializing_if = "Sources::is_empty")]
    pub dependencies: Sources,
    /// The names that its `${…}` use.
    #[serde(default, skip_serializing_if = "Uses::is_empty")]
    pub uses: Uses,
    /// What its chart asks of clusters. A record of a chart that lacks it is from before there were answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

impl From<&FormRecord> for Form {
    fn from(r: &FormRecord) -> Self {
        let FormRecord { bundle, options, source, version, commit, source_at, dependencies, uses, asked } =
            r.clone();
        Self {
            bundle,
            options,
            source,
            version,
            commit,
            source_at,
            dependencies,
            uses,
            asked,
            is_stale: false,
        }
    }
}

impl From<&Form> for FormRecord {
    fn from(f: &Form) -> Self {
        let Form {
            bundle,
            options,
            source,
            version,
            commit,
            source_at,
            dependencies,
            uses,
            asked,
            is_stale: _,
        } = f.clone();
        Self { bundle, options, source, version, commit, source_at, dependencies, uses, asked }
    }
}

/// A hold, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldRecord {
    /// What is held.
    pub hold: nave_placement::guard::Hold,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// The commit that was in effect when it came up.
    pub commit: CommitId,
    /// The catalog.
    pub catalog: CatalogName,
}

/// An operator decided that what is held shall stay. It may still be approved later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// Who.
    pub by: String,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rejected by {}", self.by)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, " ({})", self.reason) }
    }
}

/// What left in the last hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WindowRecord {
    /// The losses, oldest first.
    pub losses: Vec<PastLoss>,
}

/// Where the audit log begins, since what was before is no longer kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnchorRecord {
    /// The last line that is no longer kept.
    pub sequence: u64,
    /// Its hash, which the first line that is kept names.
    pub hash: Digest,
    /// When it was trimmed, Unix milliseconds.
    pub at_ms: u64,
    /// By which rule.
    pub rule: TrimRule,
    /// Bytes of the lines that went with it.
    pub bytes: u64,
}

/// Why lines of the audit log are no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrimRule {
    /// They are too old.
    Age,
    /// The log is too large.
    Size,
}

/// How far a receiver of events is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SinkRecord {
    /// The last event that it has, or that is none of its.
    pub cursor: u64,
    /// How many it was sent.
    pub sent: u64,
    /// How many it refused for good.
    pub refused: u64,
    /// How many were no longer kept when it could be sent them.
    pub missed: u64,
    /// When it took one last, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_ms: Option<u64>,
    /// Commits and the status that each has, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<(CommitId, String)>,
}

/// A line of the audit log. Each carries the hash of the one before it, so that none can be changed or left out unseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Counts from 1.
    pub sequence: u64,
    /// Unix milliseconds.
    pub at_ms: u64,
    /// Who: `operator NAME`, `spoke NAME`, `catalog NAME@COMMIT`, `hub`.
    pub who: String,
    /// From where: a network address, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// What was done, CamelCase.
    pub what: String,
    /// To what.
    pub subject: String,
    /// Why, as far as it was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// More, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    /// The hash of the line before; zeros for the first.
    pub previous: Digest,
    /// The hash of this line: SHA-256 over all fields above.
    pub hash: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;
    use crate::store::Version;

    #[test]
    fn a_form_from_before_there_were_overrides_is_read_and_keeps_its_key() {
        let digest = Digest::of(b"x");
        let before = serde_json::json!({
            "bundle": digest,
            "options": {"namespace": null, "prune": true, "on_remove": "Delete", "formerly": []},
            "version": digest,
            "commit": "c",
        });
        let app: AppKey = "web".parse().expect("a name");
        let (none, some) = (Variant::default(), Variant::of(["a", "b"]));
        assert_eq!(key::form(&app, &none), "form/main/web");
        assert_eq!(key::form(&app, &some), "form/main/web/a+b");
        let mut state = State::default();
        for variant in [&none, &some] {
            let value = serde_json::to_vec(&before).expect("JSON").into();
            state.fold(&key::form(&app, variant), Version(1), Some(&value)).expect("it can be read");
            let record = &state.forms[&(app.clone(), variant.clone())];
            assert_eq!(
                (record.record.version, record.options.substitute, record.uses.len()),
                (digest, false, 0)
            );
        }
        let names: Vec<String> = some.names().map(str::to_owned).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
