//! Marks: how an object on the cluster says that it is ours, and whose.
//!
//! In: an app, an object. Out: the object with our label and annotations; what a live object's marks say.
//! Never: trusts one mark alone where something is to be deleted: a copy of an object carries its labels and annotations.

use std::sync::Arc;

use nave_placement::{AppKey, Digest, Digester, ObjectKey};
use serde_json::{Value, json};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::listed::{FIELDS, list};
use super::sent::{child, sent};
use crate::observe::changes::without;
use crate::target::digests::DigestKey;

/// Our field manager.
pub(super) const MANAGER: &str = "nave";
/// KEP-3659: the set that an object belongs to.
pub(super) const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// The app, always with its catalog.
pub(super) const APP: &str = "nave.dev/app";
/// Digest of the object as it was wanted when it was last written.
pub(super) const APPLIED: &str = "nave.dev/applied";
/// Nave brought the object into being (or adopted it); the value binds that to this very object.
pub(super) const CREATED: &str = "nave.dev/created";

/// Whose marks: a spoke of one cluster and one namespace.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    /// UID of `kube-system`.
    pub cluster: String,
    /// The spoke's namespace.
    pub namespace: String,
    /// For digests of Secrets.
    pub digests: Arc<DigestKey>,
}

impl Marks {
    /// The name of an app's inventory: readable, and unique by its tail.
    pub fn parent_name(app: &AppKey) -> String {
        let digest =
            Digester::new("nave.app.v1").field(app.catalog.as_str().as_bytes()).field(app.name().as_bytes());
        let readable = format!("{}-{}", app.catalog, app.name()).replace('.', "-");
        // 200 of the 253 that a name may have.
        let readable: String = readable.chars().take(200).collect();
        format!("nave-{readable}-{}", digest.finish().short())
    }

    /// KEP-3659's id of an app's set: `applyset-<base64(sha256(name.namespace.kind.group))>-v1`.
    pub fn set_id(&self, app: &AppKey) -> String {
        let parent = format!("{}.{}.ConfigMap.", Self::parent_name(app), self.namespace);
        format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(Digest::of(parent.as_bytes()).0))
    }

    /// The value of [`CREATED`] for this object. A copy elsewhere, or on another cluster, does not have it.
    pub fn created(&self, key: &ObjectKey) -> String {
        let fields = [&self.cluster, &self.namespace, &key.group, &key.kind, &key.namespace, &key.name];
        let mut digester = Digester::new("nave.created.v1");
        fields.into_iter().for_each(|field| digester.add(field.as_bytes()));
        digester.finish().to_string()[..16].to_owned()
    }

    /// What is sent for a wanted object: the object with our marks, without the fields that are left to others.
    pub fn marked(&self, app: &AppKey, key: &ObjectKey, wanted: &Value, left_out: &[String]) -> Value {
        let mut object = without(&sent(wanted), left_out);
        let listed = list(&object);
        self.mark(app, key, &mut object, self.digest(wanted).to_string());
        if let Some(fields) = object.as_object_mut().filter(|_| !listed.is_empty()) {
            child(child(fields, "metadata"), "annotations").insert(FIELDS.into(), listed.into());
        }
        object
    }

    /// The same, to compare a live object with, by one who has the wanted object's digest: without our list of fields,
    /// which nobody compares, and which is made of a digest of each.
    pub fn compared(
        &self,
        app: &AppKey,
        key: &ObjectKey,
        wanted: &Value,
        left_out: &[String],
        digest: &str,
    ) -> Value {
        let mut object = without(&sent(wanted), left_out);
        self.mark(app, key, &mut object, digest.to_owned());
        object
    }

    fn mark(&self, app: &AppKey, key: &ObjectKey, object: &mut Value, digest: String) {
        let Some(fields) = object.as_object_mut() else { return };
        let metadata = child(fields, "metadata");
        child(metadata, "labels").insert(PART_OF.into(), self.set_id(app).into());
        let annotations = child(metadata, "annotations");
        annotations.insert(APP.into(), app_mark(app).into());
        annotations.insert(APPLIED.into(), digest.into());
        annotations.insert(CREATED.into(), self.created(key).into());
    }

    /// The digest of an object as it is wanted.
    pub fn digest(&self, wanted: &Value) -> Digest {
        self.digests.of(wanted, wanted.to_string().as_bytes())
    }

    /// A merge patch that takes our marks off.
    pub fn unmarked() -> Value {
        json!({"metadata": {
            "labels": {PART_OF: null},
            "annotations": {APP: null, APPLIED: null, CREATED: null, FIELDS: null},
        }})
    }

    /// We made (or adopted) this object: it has our mark for this very object, and what we applied to it, or our label.
    /// The label alone is kept when somebody cleared the managed fields, so that the object is put right, not given up.
    pub fn is_ours(&self, key: &ObjectKey, live: &Value) -> bool {
        annotation(live, CREATED) == Some(&self.created(key))
            && (our_fields(live).is_some() || part_of(live).is_some())
    }

    /// Why this object may not be deleted for `app`; `None` when it may.
    pub fn not_ours(&self, app: &AppKey, key: &ObjectKey, live: &Value) -> Option<String> {
        if part_of(live) != Some(&self.set_id(app)) {
            return Some(match annotation(live, APP) {
                Some(other) if other != app_mark(app) => format!("it belongs to app {other} now"),
                _ => format!("its label {PART_OF} is not this app's"),
            });
        }
        if our_fields(live).is_none() {
            return Some(format!("field manager {MANAGER:?} never applied it; it may be a copy"));
        }
        if annotation(live, CREATED) != Some(&self.created(key)) {
            return Some("Nave did not create it".into());
        }
        let owners = live.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let controller =
            owners.into_iter().flatten().find(|o| o.get("controller") == Some(&Value::Bool(true)))?;
        let text = |field: &str| controller.get(field).and_then(Value::as_str).unwrap_or_default();
        Some(format!("it is controlled by {} {}", text("kind"), text("name")))
    }
}

/// `CATALOG/NAME`, the catalog never left out.
pub(super) fn app_mark(app: &AppKey) -> String {
    format!("{}/{}", app.catalog, app.name())
}

/// The fields that our last apply owns, as `fieldsV1`.
pub(super) fn our_fields(live: &Value) -> Option<&Value> {
    let entries = live.pointer("/metadata/managedFields")?.as_array()?;
    let is =
        |entry: &Value, field: &str, value: &str| entry.get(field).and_then(Value::as_str) == Some(value);
    let ours = entries.iter().find(|e| {
        is(e, "manager", MANAGER)
            && is(e, "operation", "Apply")
            && e.get("subresource").is_none_or(|s| s == "")
    })?;
    ours.get("fieldsV1")
}

/// The object without our marks and without what the server counts: what is left is what people see of it.
pub(super) fn bare(live: &Value) -> Value {
    let mut object = live.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        let metadata = child(fields, "metadata");
        ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"]
            .iter()
            .for_each(|name| drop(metadata.remove(*name)));
        child(metadata, "labels").remove(PART_OF);
        child(metadata, "annotations").retain(|name, _| !name.starts_with("nave.dev/"));
    }
    object
}

/// The set that an object says it belongs to.
pub(super) fn part_of(live: &Value) -> Option<&str> {
    live.pointer("/metadata/labels")?.get(PART_OF)?.as_str()
}

/// An annotation.
pub(super) fn annotation<'a>(live: &'a Value, name: &str) -> Option<&'a str> {
    live.pointer("/metadata/annotations")?.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks() -> Marks {
        Marks { cluster: "uid".into(), namespace: "nave-system".into(), digests: Arc::default() }
    }

    fn app(name: &str) -> AppKey {
        name.parse().expect("valid")
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "shop".into(),
            name: name.into(),
        }
    }

    fn written(app_name: &str) -> Value {
        let wanted = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop", "labels": null}, "status": {}});
        let mut live = marks().marked(&app(app_name), &key("a"), &wanted, &[]);
        live["metadata"]["managedFields"] =
            json!([{"manager": "nave", "operation": "Apply", "fieldsV1": {"f:data": {}}}]);
        live
    }

    #[test]
    fn ids_and_names_are_valid_on_a_cluster() {
        let long =
            format!("team-a/{}", ["x".repeat(60), "y".repeat(60), "z".repeat(60), "w".repeat(60)].join("."));
        for name in ["web", "team-a/web.v2", &long] {
            let (id, parent) = (marks().set_id(&app(name)), Marks::parent_name(&app(name)));
            assert!(id.len() <= 63 && id.starts_with("applyset-") && id.ends_with("-v1"), "{id}");
            assert!(AppKey::new(nave_placement::CatalogName::root(), &parent).is_ok(), "{parent}");
        }
        assert_ne!(Marks::parent_name(&app("a/b-c")), Marks::parent_name(&app("a-b/c")));
    }

    #[test]
    fn what_we_wrote_may_be_deleted_and_what_we_did_not_may_not() {
        let live = written("web");
        assert_eq!(marks().not_ours(&app("web"), &key("a"), &live), None);
        let change = |f: &dyn Fn(&mut Value)| {
            let mut live = live.clone();
            f(&mut live);
            marks().not_ours(&app("web"), &key("a"), &live).unwrap_or_default()
        };
        let rows: [(&str, String); 5] = [
            ("its label", change(&|l| l["metadata"]["labels"] = json!({}))),
            (
                "it belongs to app main/shop",
                marks().not_ours(&app("web"), &key("a"), &written("shop")).unwrap_or_default(),
            ),
            (
                "never applied it",
                change(&|l| l["metadata"]["managedFields"][0]["operation"] = json!("Update")),
            ),
            ("did not create it", change(&|l| l["metadata"]["annotations"][CREATED] = json!("1"))),
            (
                "controlled by Widget w",
                change(&|l| {
                    l["metadata"]["ownerReferences"] =
                        json!([{"controller": true, "kind": "Widget", "name": "w"}])
                }),
            ),
        ];
        for (expected, got) in rows {
            assert!(got.contains(expected), "{expected}: {got:?}");
        }
        assert!(marks().not_ours(&app("web"), &key("copy"), &live).is_some(), "a copy under another name");
    }

    #[test]
    fn an_object_of_another_app_is_ours_and_a_copy_is_not() {
        assert!(marks().is_ours(&key("a"), &written("shop")));
        assert!(!marks().is_ours(&key("b"), &written("web")));
        let elsewhere = Marks { cluster: "other".into(), ..marks() };
        assert!(!elsewhere.is_ours(&key("a"), &written("web")));
    }
}
