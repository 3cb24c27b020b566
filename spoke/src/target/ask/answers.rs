//! The documents of answers: what `-o json` of `hub get`, `hub drift`, `hub adopt check` and `hub logs` has for each cluster.
//!
//! In and out: JSON. Never: anything of protobuf; two shapes for one question.

use std::collections::BTreeSet;

use nave_placement::ObjectKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::changes::Change;
use super::managers::Manager;

/// Live objects: `rows` for a table, `items` where whole objects were asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectsAnswer {
    /// Group and version.
    pub api_version: String,
    /// The kind, as the cluster spells it.
    pub kind: String,
    /// Lower case, with `.GROUP` behind it where there is one: as `-o name` begins.
    pub resource: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// The table's columns, as the cluster names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Column>,
    /// Its rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Row>,
    /// Whole objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Value>,
    /// Of each whole object who else looks after it, where one was asked for by its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managers: Vec<Vec<Manager>>,
}

/// The images that containers run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesAnswer {
    /// Each once.
    pub images: Vec<RunningImage>,
}

/// An image that containers run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningImage {
    /// As the pods ask for it.
    pub image: String,
    /// By its content: what the runtime says that it has; empty where it does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Where.
    pub namespaces: BTreeSet<String>,
    /// How many containers.
    pub containers: u64,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Shown in wide tables only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wide: bool,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Empty for what lives in no namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// One for each column.
    pub cells: Vec<Value>,
}

/// What applying an app would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DiffAnswer {
    /// How many objects the app has.
    pub objects: usize,
    /// How many are as wanted; these are not listed.
    pub equal: usize,
    /// Those that are not.
    pub differing: Vec<ObjectDiff>,
}

/// How an object differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectDiff {
    /// Which one.
    pub object: ObjectKey,
    /// In which way.
    pub state: DiffState,
    /// From live to wanted, in the order in which they can be applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// In which way an object is not as wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiffState {
    /// It is not there.
    Absent,
    /// Fields of it differ.
    Differs,
    /// It could not be compared.
    Unknown,
}

/// First contact with what an app names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AdoptionAnswer {
    /// Every object of the app.
    pub objects: Vec<ObjectAdoption>,
}

/// How an object stands that an app would take over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectAdoption {
    /// Which one.
    pub object: ObjectKey,
    /// How it stands.
    pub state: AdoptionState,
    /// What applying it would change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Who else looks after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managers: Vec<Manager>,
    /// Why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How an object stands that an app would take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AdoptionState {
    /// It could not be compared.
    Unknown,
    /// It is there, is not ours, and would be changed.
    Differs,
    /// It is there, is not ours, and is as wanted.
    Equal,
    /// It is not there.
    Absent,
    /// It is ours already.
    Ours,
}

/// Events about an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventsAnswer {
    /// Newest first.
    pub events: Vec<Event>,
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it was seen last, RFC 3339.
    pub last: String,
    /// `Normal` or `Warning`.
    pub r#type: String,
    /// CamelCase.
    pub reason: String,
    /// For people.
    pub message: String,
    /// How often.
    pub count: u64,
    /// Who says so.
    pub source: String,
}

/// Last lines of logs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogsAnswer {
    /// Each container that was asked.
    pub containers: Vec<ContainerLog>,
}

/// A container's last lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerLog {
    /// Its pod.
    pub pod: String,
    /// Its name.
    pub container: String,
    /// Oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
