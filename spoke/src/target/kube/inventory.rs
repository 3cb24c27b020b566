//! Inventory: what each app has on the cluster, in an ApplySet-shaped `ConfigMap` a piece (KEP-3659).
//!
//! In: an app's [`Inventory`]. Out: the same, after any restart.
//! Never: reads a part of the inventories for all of them: one that is damaged is an error that names it.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::discovery::ApiResource;
use nave_placement::AppKey;
use serde_json::{Value, json};

use super::marks::{APP, MANAGER, Marks, annotation, app_mark};
use super::shared::{Shared, text};
use super::wire::path;
use crate::target::{Inventory, TargetError};

/// All inventories, in one list.
const SELECTOR: &str = "nave.dev/inventory=true";
/// An object in etcd may have 1.5 MiB, a request 3 MiB; a ConfigMap's data 1 MiB. Some 5,000 objects fit.
const MAX_BYTES: usize = 700 << 10;
const DATA: &str = "inventory";

impl Shared {
    pub async fn inventories(&self) -> Result<BTreeMap<AppKey, Inventory>, TargetError> {
        let mut found = BTreeMap::new();
        let mut damaged = None;
        let each = |parent: Value| match read(&parent) {
            Ok((app, inventory)) => drop(found.insert(app, inventory)),
            Err(why) => {
                let name = text(&parent, "/metadata/name");
                damaged.get_or_insert(format!("ConfigMap {}/{name}: {why}", self.marks.namespace));
            }
        };
        self.wire.list(&config_maps(), &self.marks.namespace, Some(SELECTOR), false, each).await?;
        damaged.map_or(Ok(found), |why| Err(TargetError::Refused(why)))
    }

    pub async fn store_inventory(&self, app: &AppKey, inventory: &Inventory) -> Result<(), TargetError> {
        let parent = self.parent(app, inventory)?;
        let (name, params) = (Marks::parent_name(app), PatchParams::apply(MANAGER).force());
        let at = path(&config_maps(), &self.marks.namespace);
        self.wire.send(at.patch(&name, &params, &Patch::Apply(parent))).await?;
        Ok(())
    }

    pub async fn forget_inventory(&self, app: &AppKey) -> Result<(), TargetError> {
        let at = path(&config_maps(), &self.marks.namespace);
        match self.wire.send(at.delete(&Marks::parent_name(app), &DeleteParams::background())).await {
            Ok(_) => Ok(()),
            Err(problem) if problem.is_absent() => Ok(()),
            Err(problem) => Err(problem.into()),
        }
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
                    "applyset.kubernetes.io/contains-group-kinds": kinds.into_iter().collect::<Vec<_>>().join(","),
                    "applyset.kubernetes.io/additional-namespaces": namespaces.into_iter().collect::<Vec<_>>().join(","),
                    APP: app_mark(app),
                },
            },
            "data": {DATA: data},
        }))
    }
}

fn read(parent: &Value) -> Result<(AppKey, Inventory), String> {
    let app = annotation(parent, APP).ok_or_else(|| format!("annotation {APP} is missing"))?;
    let app: AppKey = app.parse().map_err(|e| format!("annotation {APP}: {e}"))?;
    let data =
        parent.pointer("/data/inventory").and_then(Value::as_str).ok_or("its data has no inventory")?;
    let inventory = serde_json::from_str(data).map_err(|e| format!("its inventory cannot be read: {e}"))?;
    Ok((app, inventory))
}

fn config_maps() -> ApiResource {
    let [version, kind, plural] = ["v1", "ConfigMap", "configmaps"].map(str::to_owned);
    ApiResource { group: String::new(), api_version: version.clone(), version, kind, plural }
}
