//! Inventory: what each app has on the cluster, in an ApplySet-shaped `ConfigMap` a piece (KEP-3659).
//!
//! In: an app's [`Inventory`]. Out: the same, after any restart.
//! Never: takes a part of the inventories for all of them. One whose data are damaged is rebuilt from the objects that
//! carry the app's marks, which is what the set's label is for.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::discovery::ApiResource;
use nave_placement::{AppKey, ObjectKey};
use serde_json::{Value, json};

use super::marks::{APP, MANAGER, Marks, PART_OF, annotation, app_mark};
use super::own_namespace;
use super::shared::{Shared, text};
use super::wire::path;
use crate::target::{Inventory, TargetError};

/// All inventories, in one list.
pub(super) const SELECTOR: &str = "nave.dev/inventory=true";
/// An object in etcd may have 1.5 MiB, a request 3 MiB; a ConfigMap's data 1 MiB. Some 5,000 objects fit.
const MAX_BYTES: usize = 700 << 10;
const DATA: &str = "inventory";
/// KEP-3659: `Kind.group`, joined by commas.
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";

impl Shared {
    pub async fn inventories(&self) -> Result<BTreeMap<AppKey, Inventory>, TargetError> {
        let mut found = BTreeMap::new();
        let mut damaged = Vec::new();
        let each = |parent: Value| match app_of(&parent) {
            Ok(app) => match inventory_of(&parent) {
                Ok(inventory) => drop(found.insert(app, inventory)),
                Err(why) => damaged.push((app, why, text_of(&parent, KINDS))),
            },
            // Whose it was cannot be told. Its objects keep their marks, so that their app finds them again.
            Err(why) => {
                let name = text(&parent, "/metadata/name");
                tracing::warn!(namespace = self.marks.namespace, name, why, "an inventory is passed over");
            }
        };
        self.wire.list(&config_maps(), &self.marks.namespace, Some(SELECTOR), false, each).await?;
        for (app, why, kinds) in damaged {
            tracing::warn!(%app, why, "a damaged inventory is rebuilt from the app's objects");
            let inventory = self.rebuild(&app, &kinds).await?;
            found.insert(app, inventory);
        }
        Ok(found)
    }

    /// The objects of these kinds that carry the app's marks.
    async fn rebuild(&self, app: &AppKey, kinds: &str) -> Result<Inventory, TargetError> {
        let labels = format!("{PART_OF}={}", self.marks.set_id(app));
        let mut inventory = Inventory::default();
        for kind in kinds.split(',').filter(|k| !k.is_empty()) {
            let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
            let of = |live: &Value| ObjectKey {
                group: group.to_owned(),
                kind: kind.to_owned(),
                namespace: text(live, "/metadata/namespace").to_owned(),
                name: text(live, "/metadata/name").to_owned(),
            };
            let Some(resource) = self.resource_now(&of(&Value::Null)).await? else { continue };
            let each = |live: Value| {
                let key = of(&live);
                if self.marks.is_ours(&key, &live) {
                    inventory.objects.insert(key);
                }
            };
            let mut each = each;
            for namespace in self.everywhere() {
                self.wire.list(&resource, namespace, Some(&labels), true, &mut each).await?;
            }
        }
        Ok(inventory)
    }

    pub async fn store_inventory(&self, app: &AppKey, inventory: &Inventory) -> Result<(), TargetError> {
        let parent = self.parent(app, inventory)?;
        let (name, params) = (Marks::parent_name(app), PatchParams::apply(MANAGER).force());
        let write =
            || path(&config_maps(), &self.marks.namespace).patch(&name, &params, &Patch::Apply(&parent));
        match self.wire.send(write()).await {
            // Somebody deleted our namespace.
            Err(problem) if problem.code == 404 => {
                own_namespace(&self.wire, &self.marks.namespace).await?;
                self.wire.send(write()).await?;
            }
            answer => drop(answer?),
        }
        self.searched.known(app, false);
        Ok(())
    }

    pub async fn forget_inventory(&self, app: &AppKey) -> Result<(), TargetError> {
        let at = path(&config_maps(), &self.marks.namespace);
        match self.wire.send(at.delete(&Marks::parent_name(app), &DeleteParams::background())).await {
            Ok(_) => {}
            Err(problem) if problem.is_absent() => {}
            Err(problem) => return Err(problem.into()),
        }
        self.searched.known(app, true);
        Ok(())
    }

    /// The parent as KEP-3659 shapes it, with the exact inventory in its data.
    fn parent(&self, app: &AppKey, inventory: &Inventory) -> Result<Value, TargetError> {
        let data = serde_json::to_string(inventory)
            .map_err(|e| TargetError::Refused(format!("the inventory of {app} cannot be written: {e}")))?;
        if data.len() > MAX_BYTES {
            let (objects, size, most) = (inventory.objects.len(), data.len() >> 10, MAX_BYTES >> 10);
            return Err(TargetError::Refused(format!(
                "the inventory of {app} ({objects} objects, {size} KiB) exceeds {most} KiB; split the app"
            )));
        }
        let kinds: BTreeSet<String> = inventory
            .objects
            .iter()
            .map(|o| if o.group.is_empty() { o.kind.clone() } else { format!("{}.{}", o.kind, o.group) })
            .collect();
        let own = &self.marks.namespace;
        let namespaces = inventory.objects.iter().map(|o| o.namespace.as_str());
        let namespaces: BTreeSet<&str> = namespaces.filter(|n| !n.is_empty() && n != own).collect();
        Ok(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": Marks::parent_name(app),
                "namespace": own,
                "labels": {"applyset.kubernetes.io/id": self.marks.set_id(app), "nave.dev/inventory": "true"},
                "annotations": {
                    "applyset.kubernetes.io/tooling": "nave/v1",
                    KINDS: kinds.into_iter().collect::<Vec<_>>().join(","),
                    "applyset.kubernetes.io/additional-namespaces": namespaces.into_iter().collect::<Vec<_>>().join(","),
                    APP: app_mark(app),
                },
            },
            "data": {DATA: data},
        }))
    }
}

pub(super) fn app_of(parent: &Value) -> Result<AppKey, String> {
    let app = annotation(parent, APP).ok_or_else(|| format!("annotation {APP} is missing"))?;
    app.parse().map_err(|e| format!("annotation {APP}: {e}"))
}

fn inventory_of(parent: &Value) -> Result<Inventory, String> {
    let data =
        parent.pointer("/data/inventory").and_then(Value::as_str).ok_or("its data has no inventory")?;
    serde_json::from_str(data).map_err(|e| format!("its data cannot be read: {e}"))
}

fn text_of(parent: &Value, name: &str) -> String {
    annotation(parent, name).unwrap_or_default().to_owned()
}

pub(super) fn config_maps() -> ApiResource {
    let [version, kind, plural] = ["v1", "ConfigMap", "configmaps"].map(str::to_owned);
    ApiResource { group: String::new(), api_version: version.clone(), version, kind, plural }
}
