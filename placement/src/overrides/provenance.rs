//! Provenance: who set each value of an app's objects.
//!
//! In: an app's files, what overrides do, the layers of its parameters. Out: for every value the file and line that it comes
//! from, the override that changed it last, and the layers that filled its `${…}`.
//! Never: looks into encrypted documents; is stored, since it is found again whenever somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shapes::{Layer, Layers};
use super::template::{Uses, Values, uses_of_text};
use super::values::at;
use super::{Amendments, Change, Images, Named};
use crate::assign::Share;
use crate::catalog::yaml::{self, Node};
use crate::catalog::{Catalog, Kind, ObjectId};
use crate::fleet::Candidate;
use crate::render::{Bundle, Needs, is_catalogs, is_sealed, object_key, origins, path_of, strip};
use crate::{AppKey, ClusterName, ObjectKey};

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Setter {
    /// The app's source.
    File {
        /// The file, from the repository's root.
        file: Arc<str>,
        /// The line, from 1.
        line: u32,
    },
    /// An engine, of the app's source.
    Engine {
        /// The engine.
        engine: Arc<str>,
        /// The file that it made the object of, or the source, from the repository's root.
        file: Arc<str>,
    },
    /// An override.
    Override {
        /// Its name.
        name: Arc<str>,
        /// The file, from the repository's root.
        file: Arc<str>,
        /// The line, from 1.
        line: u32,
    },
    /// A placement that divides replicas.
    Placement {
        /// Its name.
        name: Arc<str>,
    },
}

impl std::fmt::Display for Setter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Engine { engine, file } => write!(f, "{file} by {engine}"),
            Self::Override { name, file, line } => write!(f, "Override/{name} ({file}:{line})"),
            Self::Placement { name } => write!(f, "Placement/{name}"),
        }
    }
}

/// A `${…}` of a value, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filled {
    /// The name.
    pub name: String,
    /// The catalog object whose parameters set it last, or `cluster`, `label`, `fact`, `default`.
    pub by: String,
}

/// Where one value of an object comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// The object, as its manifest names it.
    pub object: ObjectKey,
    /// JSON pointer of the value.
    pub path: String,
    /// The value, before `${…}` are filled in.
    pub value: Value,
    /// Who set it.
    pub by: Setter,
    /// Who filled it in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filled: Vec<Filled>,
}

/// Who set the parts of a value.
#[derive(Clone)]
enum Marks {
    /// A scalar, or an empty map or list.
    Leaf(Setter),
    Map(BTreeMap<String, Marks>),
    List(Vec<Marks>),
}

/// An object on its way through the overrides.
struct Marked {
    object: Value,
    marks: Marks,
    images: Images,
}

/// Who set each value of a variant, object by object in the order of the source. `fill` says by name who gave the values of `${…}`;
/// empty where nothing is filled in.
pub fn provenance(
    needs: &Needs,
    files: &BTreeMap<Arc<str>, Arc<[u8]>>,
    amendments: &Amendments,
    fill: &BTreeMap<String, String>,
) -> Vec<Provenance> {
    let mut objects = Vec::new();
    for relative in needs.files.keys() {
        let text = files.get(relative).and_then(|content| std::str::from_utf8(content).ok());
        let file = path_of(needs, relative);
        for root in yaml::read(text.unwrap_or_default()).into_iter().filter_map(|document| document.root) {
            read(&file, &root, &mut objects);
        }
    }
    told(objects, amendments, fill)
}

/// As [`provenance`], of what an engine wrote: it does not tell which of its files set which value, but, if it is Helm, which
/// made the object. `bundle` is what was made of the output, before overrides.
pub fn provenance_of_output(
    needs: &Needs,
    output: &[u8],
    bundle: &Bundle,
    amendments: &Amendments,
    fill: &BTreeMap<String, String>,
) -> Vec<Provenance> {
    let origins = origins(needs, output);
    let engine: Arc<str> = needs.engine.name().unwrap_or_default().into();
    let marked = |object: Value| {
        let file = object_key(&object).and_then(|key| origins.get(&key).cloned());
        let by = Setter::Engine { engine: engine.clone(), file: file.unwrap_or_else(|| needs.place()) };
        Marked { marks: remark(&object, None, &by), object, images: Images::default() }
    };
    told(bundle.objects_in_clear().map(marked).collect(), amendments, fill)
}

/// Makes the changes and tells of each value.
fn told(
    mut objects: Vec<Marked>,
    amendments: &Amendments,
    fill: &BTreeMap<String, String>,
) -> Vec<Provenance> {
    for amendment in &amendments.changes {
        let setter = setter(&amendment.by, &amendment.origin);
        let target =
            |object: &Value| object_key(object).is_some_and(|key| amendment.target.matches(&key, object));
        objects.retain_mut(|marked| !target(&marked.object) || changed(marked, &amendment.change, &setter));
    }
    let mut told = Vec::new();
    for Marked { object, marks, .. } in &objects {
        if let Some(key) = object_key(object) {
            tell(&key, object, marks, "", fill, &mut told);
        }
    }
    told
}

/// Who gave each value that fills a `${…}` of an app on a cluster, by name.
pub fn fillers(
    catalog: &Catalog,
    app: &AppKey,
    applying: &[Named<'_>],
    cluster: &ClusterName,
    candidate: &Candidate,
    uses: &Uses,
    values: &Values,
) -> BTreeMap<String, String> {
    let layers: Vec<Layer<'_>> = Layers::lower(catalog, app)
        .into_iter()
        .chain(Layers::upper(catalog, applying, cluster, candidate))
        .collect();
    let by = |name: &String| {
        let (root, rest) = name.split_once('.').unwrap_or((name, ""));
        match root {
            _ if !values.contains_key(name) => "default".to_owned(),
            "cluster" => "cluster".to_owned(),
            "labels" => "label".to_owned(),
            "facts" => "fact".to_owned(),
            _ => {
                let mut set = layers.iter().rev().filter(|(_, parameters)| at(parameters, rest).is_some());
                set.next()
                    .map_or_else(|| "default".to_owned(), |(effective, _)| effective.object.id.to_string())
            }
        }
    };
    uses.keys().map(|name| (name.clone(), by(name))).collect()
}

/// Has a placement's share stand where a spoke puts it, whatever stood there. `key` says by which identity a cluster knows
/// an object of the manifests.
pub fn divided(
    told: &mut Vec<Provenance>,
    share: &Share,
    placement: &Arc<str>,
    key: impl Fn(&ObjectKey) -> ObjectKey,
) {
    const SPEC: &str = "/spec";
    const REPLICAS: &str = "/spec/replicas";
    let mut objects: Vec<ObjectKey> = Vec::new();
    for row in told.iter() {
        if objects.last() != Some(&row.object) {
            objects.push(row.object.clone());
        }
    }
    for object in objects.into_iter().filter(|object| share.target.matches(&key(object))) {
        let is_no_map = |row: &Provenance| row.object == object && row.path == SPEC && !row.value.is_object();
        if told.iter().any(is_no_map) {
            continue;
        }
        let is_replaced = |row: &Provenance| row.object == object && [SPEC, REPLICAS].contains(&&*row.path);
        told.retain(|row| !is_replaced(row));
        let is_before = |row: &Provenance| row.object == object && row.path.as_str() < REPLICAS;
        let at = told.iter().rposition(is_before).map_or(told.len(), |at| at + 1);
        let row = Provenance {
            object,
            path: REPLICAS.to_owned(),
            value: share.replicas.into(),
            by: Setter::Placement { name: placement.clone() },
            filled: Vec::new(),
        };
        told.insert(at, row);
    }
}

fn setter(by: &ObjectId, origin: &crate::catalog::Origin) -> Setter {
    debug_assert_eq!(by.kind, Kind::Override);
    Setter::Override { name: by.name.clone(), file: origin.file.clone(), line: origin.line }
}

/// The objects of a document, as `finish` takes them.
fn read(file: &Arc<str>, node: &Node, objects: &mut Vec<Marked>) {
    let text = |key: &str| node.map().and_then(|map| map.get(key)).and_then(Node::text);
    if is_catalogs(node) || is_sealed(node) {
        return;
    }
    if text("apiVersion") == Some("v1") && text("kind") == Some("List") {
        if let Some(yaml::Value::List(items)) = node.map().and_then(|map| map.get("items")).map(|n| &n.value)
        {
            items.iter().for_each(|item| read(file, item, objects));
        }
        return;
    }
    let mut object = node.to_json();
    strip(&mut object);
    objects.push(Marked { object, marks: marks(file, node), images: Images::default() });
}

fn marks(file: &Arc<str>, node: &Node) -> Marks {
    match &node.value {
        yaml::Value::Map(map) if !map.0.is_empty() => {
            Marks::Map(map.0.iter().map(|entry| (entry.key.clone(), marks(file, &entry.node))).collect())
        }
        yaml::Value::List(items) if !items.is_empty() => {
            Marks::List(items.iter().map(|item| marks(file, item)).collect())
        }
        _ => Marks::Leaf(Setter::File { file: file.clone(), line: node.position.line }),
    }
}

/// Makes a change and marks what is new; false if the object leaves.
fn changed(marked: &mut Marked, change: &Change, setter: &Setter) -> bool {
    let before = marked.object.clone();
    match change.apply(&mut marked.object, &mut marked.images) {
        Ok(super::Merged::Kept) => {
            marked.marks = remark(&marked.object, Some((&before, &marked.marks)), setter);
            true
        }
        Ok(super::Merged::Deleted) => false,
        Err(_) => true,
    }
}

/// The marks of a value after a change: what is as it was keeps its mark, wherever in its list it stands now.
fn remark(now: &Value, before: Option<(&Value, &Marks)>, setter: &Setter) -> Marks {
    if let Some((value, marks)) = before
        && value == now
    {
        return marks.clone();
    }
    match now {
        Value::Object(fields) if !fields.is_empty() => {
            let field = |(key, now): (&String, &Value)| {
                let before = match before {
                    Some((value, Marks::Map(marks))) => value.get(key).zip(marks.get(key)),
                    _ => None,
                };
                (key.clone(), remark(now, before, setter))
            };
            Marks::Map(fields.iter().map(field).collect())
        }
        Value::Array(items) if !items.is_empty() => {
            let old: Vec<(&Value, &Marks)> = match before {
                Some((Value::Array(values), Marks::List(marks))) => values.iter().zip(marks).collect(),
                _ => Vec::new(),
            };
            let item = |(index, now): (usize, &Value)| {
                let same = old.iter().find(|(value, _)| *value == now);
                let named = || {
                    let name = now.get("name")?;
                    old.iter().find(|(value, _)| value.get("name") == Some(name))
                };
                let alike =
                    same.or_else(named).or_else(|| old.get(index).filter(|_| now.get("name").is_none()));
                remark(now, alike.copied(), setter)
            };
            Marks::List(items.iter().enumerate().map(item).collect())
        }
        _ => Marks::Leaf(setter.clone()),
    }
}

fn tell(
    key: &ObjectKey,
    value: &Value,
    marks: &Marks,
    path: &str,
    fill: &BTreeMap<String, String>,
    told: &mut Vec<Provenance>,
) {
    match (value, marks) {
        (Value::Object(fields), Marks::Map(marks)) => {
            for (name, value) in fields {
                let at = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                if let Some(marks) = marks.get(name) {
                    tell(key, value, marks, &at, fill, told);
                }
            }
        }
        (Value::Array(items), Marks::List(marks)) => {
            for (index, (value, marks)) in items.iter().zip(marks).enumerate() {
                tell(key, value, marks, &format!("{path}/{index}"), fill, told);
            }
        }
        (value, Marks::Leaf(by)) => {
            let mut uses = Uses::new();
            if !fill.is_empty()
                && let Some(text) = value.as_str()
            {
                // What is no template was refused when the bundle was made.
                _ = uses_of_text(text, &mut uses);
            }
            let filled = uses.into_keys().map(|name| {
                let by = fill.get(&name).cloned().unwrap_or_default();
                Filled { name, by }
            });
            told.push(Provenance {
                object: key.clone(),
                path: path.to_owned(),
                value: value.clone(),
                by: by.clone(),
                filled: filled.collect(),
            });
        }
        // A value and its marks have one shape.
        (_, Marks::Map(_) | Marks::List(_)) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog::{BlobId, ObjectTarget, Origin, PatchTarget};
    use crate::overrides::{Amendment, Image};
    use crate::render::Engine;

    #[test]
    fn every_value_tells_who_set_it_and_who_filled_it() {
        let text = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: ${parameters.replicas}
  template:
    spec:
      containers:
      - name: web
        image: nginx:1
        args: [--region=eu]
";
        let needs = Needs {
            engine: Engine::Manifests,
            files: [("web.yaml".into(), BlobId("0".into()))].into(),
            source: "web".into(),
        };
        let files = [("web.yaml".into(), Arc::from(text.as_bytes()))].into();
        let by = |name: &str| ObjectId { kind: Kind::Override, name: name.into() };
        let origin = |line| Origin { file: "o.yaml".into(), line, column: 1 };
        let container = json!({"name": "log", "image": "fluent:1"});
        let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        let change = Amendment {
            by: by("sidecar"),
            origin: origin(7),
            target: PatchTarget { kind: Some("Deployment".into()), ..PatchTarget::default() },
            change: Change::Merge(patch),
            is_meant: true,
        };
        let rule = Image { name: "nginx".into(), new_tag: Some("2".into()), ..Image::default() };
        let tags = Amendment {
            by: by("tags"),
            origin: origin(3),
            target: PatchTarget::default(),
            change: Change::Images(vec![rule]),
            is_meant: true,
        };
        let amendments = Amendments { sources: Vec::new(), changes: vec![change, tags] };
        let fill = [("parameters.replicas".to_owned(), "Cluster/fra-1".to_owned())].into();
        let line = |told: &Provenance| {
            let filled: String = told.filled.iter().map(|f| format!(", {} by {}", f.name, f.by)).collect();
            format!("{} {}: {}{filled}", told.path, told.value, told.by)
        };
        let told: Vec<String> = provenance(&needs, &files, &amendments, &fill).iter().map(line).collect();
        let containers = "/spec/template/spec/containers";
        assert_eq!(
            told,
            [
                "/apiVersion \"apps/v1\": web/web.yaml:1".to_owned(),
                "/kind \"Deployment\": web/web.yaml:2".to_owned(),
                "/metadata/name \"web\": web/web.yaml:3".to_owned(),
                "/spec/replicas \"${parameters.replicas}\": web/web.yaml:5, parameters.replicas by Cluster/fra-1"
                    .to_owned(),
                format!("{containers}/0/image \"fluent:1\": Override/sidecar (o.yaml:7)"),
                format!("{containers}/0/name \"log\": Override/sidecar (o.yaml:7)"),
                format!("{containers}/1/args/0 \"--region=eu\": web/web.yaml:11"),
                format!("{containers}/1/image \"nginx:2\": Override/tags (o.yaml:3)"),
                format!("{containers}/1/name \"web\": web/web.yaml:9"),
            ]
        );
    }

    #[test]
    fn a_placements_share_goes_before_what_the_manifests_say() {
        let object = |name: &str| ObjectKey {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: String::new(),
            name: name.into(),
        };
        let row = |name: &str, path: &str, value: Value| Provenance {
            object: object(name),
            path: path.into(),
            value,
            by: Setter::File { file: "web.yaml".into(), line: 4 },
            filled: vec![Filled { name: "parameters.replicas".into(), by: "App/web".into() }],
        };
        let mut told = vec![
            row("a", "/kind", json!("Deployment")),
            row("a", "/spec/replicas", json!("${parameters.replicas}")),
            row("a", "/spec/template", json!({})),
            row("b", "/kind", json!("Deployment")),
            row("b", "/spec", json!({})),
            row("c", "/kind", json!("Deployment")),
            row("c", "/spec/replicas", json!(1)),
            row("d", "/kind", json!("Deployment")),
            row("d", "/spec", json!(null)),
        ];
        let target = ObjectTarget { namespace: Some("shop".into()), ..ObjectTarget::default() };
        let share = Share { target, replicas: 7 };
        let key = |key: &ObjectKey| {
            let namespace = if key.name == "c" { "other" } else { "shop" };
            ObjectKey { namespace: namespace.into(), ..key.clone() }
        };
        divided(&mut told, &share, &"prod".into(), key);
        let line = |row: &Provenance| {
            format!("{} {} {}: {}, {}", row.object.name, row.path, row.value, row.by, row.filled.len())
        };
        let told: Vec<String> = told.iter().map(line).collect();
        assert_eq!(
            told,
            [
                "a /kind \"Deployment\": web.yaml:4, 1",
                "a /spec/replicas 7: Placement/prod, 0",
                "a /spec/template {}: web.yaml:4, 1",
                "b /kind \"Deployment\": web.yaml:4, 1",
                "b /spec/replicas 7: Placement/prod, 0",
                "c /kind \"Deployment\": web.yaml:4, 1",
                "c /spec/replicas 1: web.yaml:4, 1",
                "d /kind \"Deployment\": web.yaml:4, 1",
                "d /spec null: web.yaml:4, 1",
            ]
        );
    }
}
