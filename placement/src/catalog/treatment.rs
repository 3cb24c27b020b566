//! Treatment: how an app's objects are applied and watched over on a cluster.
//!
//! In: nothing; these are the words. Out: [`Treatment`], which the catalog reads and an entry carries to the spoke.
//! Never: differs in its JSON from what an entry without the word has while the word is its default, so that a new word
//! changes no version of an app that does not use it.

use serde::{Deserialize, Serialize};

use crate::ObjectKey;

/// How a spoke treats an app's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Treatment {
    /// Whether anything is written at all.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// What happens at first contact with an object that Nave did not create.
    #[serde(skip_serializing_if = "is_default")]
    pub adopt: Adopt,
    /// What happens where a field cannot be changed in place.
    #[serde(skip_serializing_if = "is_default")]
    pub on_immutable: OnImmutable,
    /// Fields that another manager owns and we never owned.
    #[serde(skip_serializing_if = "is_default")]
    pub conflicts: Conflicts,
    /// Foreign changes of fields that are ours.
    #[serde(skip_serializing_if = "is_default")]
    pub drift: Drift,
    /// Fields that are left to others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<Ignore>,
    /// How objects are judged whose kinds say it in their own way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthRule>,
    /// The service account as which the app is applied, in the app's namespace; `NAMESPACE/NAME` for one elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// From apply until it counts as failed.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout: Timeout,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Whether anything is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mode {
    /// Objects are written, kept and pruned.
    #[default]
    Apply,
    /// Objects are compared and reported; nothing is ever written.
    Observe,
}

/// First contact with an object that Nave did not create.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Adopt {
    /// It is left alone, and named.
    Never,
    /// It becomes ours if applying it would change no field of it.
    #[default]
    IfEqual,
    /// It becomes ours.
    Always,
}

/// A change of a field that cannot be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OnImmutable {
    /// It is named; nothing happens.
    #[default]
    Fail,
    /// The object is deleted and made anew.
    Recreate,
}

/// Fields that another manager owns and we never owned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Conflicts {
    /// Manager and fields are named; the object is not written.
    #[default]
    Fail,
    /// They become ours.
    Force,
    /// They stay the other's, which is said; all others are written.
    Yield,
}

/// Foreign changes of fields that are ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Drift {
    /// They are put back.
    #[default]
    Correct,
    /// They are reported, field by field with who did it.
    Report,
}

/// Which objects of an app. What is not given matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectTarget {
    /// API group; empty for the core group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl ObjectTarget {
    /// Whether it means this object.
    pub fn matches(&self, key: &ObjectKey) -> bool {
        let is = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
        is(&self.group, &key.group)
            && is(&self.kind, &key.kind)
            && is(&self.namespace, &key.namespace)
            && is(&self.name, &key.name)
    }
}

/// Fields that are left to others: not written once the object is there, not drift.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ignore {
    /// Of these objects.
    pub target: ObjectTarget,
    /// JSON pointers (RFC 6901), at least one.
    pub fields: Vec<String>,
}

/// How objects of a kind are judged, in CEL over `object`. The first rule that matches decides alone; one without `healthy`
/// only tells failure, and leaves the rest to what is known of the kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HealthRule {
    /// Of these objects.
    pub target: ObjectTarget,
    /// True: it is healthy. Otherwise, unless `failed`, it is on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy: Option<String>,
    /// True: it is degraded, whatever `healthy` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl HealthRule {
    /// What its expressions may use.
    pub const VARIABLES: [&str; 1] = ["object"];
}

/// A time limit in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeout(pub u64);

impl Default for Timeout {
    /// Ten minutes.
    fn default() -> Self {
        Self(600_000)
    }
}
