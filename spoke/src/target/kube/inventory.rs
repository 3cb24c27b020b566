//! Inventory: what each app has on the cluster, in an ApplySet-shaped `ConfigMap` a piece (KEP-3659).
//!
//! In: an app's [`Inventory`]. Out: the same, after any restart.
//! Never: takes a part of the inventories for all of them. One whose data are damaged is rebuilt from the objects that
//! carry the app's marks, which is what the set's label is for.
//!
//! | object | holds |
//! |---|---|
//! | parent, one an app | the objects, the version that was complete when it was written, a stamp |
//! | parts, of a large app | its objects beyond the first piece; written before the parent that names them |
//! | completions, sixteen in all | for many apps: the version that was completed since the parent with that stamp was written |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::discovery::ApiResource;
use nave_placement::{AppKey, Digest, ObjectKey};
use serde_json::{Map, Value, json};

use super::kinds::core;
use super::marks::{APP, Marks, annotation, app_mark};
use super::own_namespace;
use super::problem::Problem;
use super::shared::{Shared, text};
use super::wire::path;
use crate::target::{Inventory, TargetError};

/// All of ours, in one list; the value tells what it is.
const LABEL: &str = "nave.dev/inventory";
const PARENT: &str = "true";
const PART: &str = "part";
const COMPLETIONS: &str = "completions";
/// Some 900 objects. A page of a list has 100 of these at most, and nearly all are far smaller.
const PIECE_BYTES: usize = 128 << 10;
/// The parents alone.
pub(super) const SELECTOR: &str = "nave.dev/inventory=true";
const DATA: &str = "inventory";
const STAMP: &str = "stamp";
const PARTS: &str = "parts";
/// A completion takes up to 350 bytes of the 1 MiB of a ConfigMap: some 3,000 in each.
const SHARDS: u8 = 16;
/// KEP-3659: `Kind.group`, joined by commas.
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";

/// What is known of what is stored: enough to write it again without reading it.
#[derive(Default)]
pub(super) struct Stored {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    parents: HashMap<AppKey, Parent>,
    shards: BTreeSet<u8>,
}

#[derive(Clone, Default)]
struct Parent {
    stamp: String,
    parts: usize,
}

impl Stored {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a list shows, before it is put together.
#[derive(Default)]
struct Listed {
    parents: Vec<Value>,
    parts: HashMap<String, String>,
    completions: HashMap<String, String>,
    shards: BTreeSet<u8>,
}

impl Shared {
    pub async fn inventories(&self) -> Result<BTreeMap<AppKey, Inventory>, TargetError> {
        let mut listed = Listed::default();
        let each = |object: Value| listed.add(object);
        self.wire.list_bookless(&config_maps(), &self.marks.namespace, Some(LABEL), each).await?;
        let mut found = BTreeMap::new();
        let mut known = Known { shards: std::mem::take(&mut listed.shards), ..Known::default() };
        for parent in std::mem::take(&mut listed.parents) {
            let app = match app_of(&parent) {
                Ok(app) => app,
                // Whose it was cannot be told. Its objects keep their marks, so that their app finds them again.
                Err(why) => {
                    let name = text(&parent, "/metadata/name");
                    tracing::warn!(
                        namespace = self.marks.namespace,
                        name,
                        why,
                        "an inventory is passed over"
                    );
                    continue;
                }
            };
            let inventory = match listed.inventory_of(&app, &parent) {
                Ok(inventory) => inventory,
                Err(why) => {
                    tracing::warn!(%app, why, "a damaged inventory is to be rebuilt from the app's objects");
                    Inventory { partial: true, ..Inventory::default() }
                }
            };
            let stamp = text(&parent, "/data/stamp").to_owned();
            let parts = text(&parent, "/data/parts").parse().unwrap_or(0);
            known.parents.insert(app.clone(), Parent { stamp, parts });
            found.insert(app, inventory);
        }
        *self.stored.known() = known;
        Ok(found)
    }

    pub async fn store_inventory(&self, app: &AppKey, inventory: &Inventory) -> Result<(), TargetError> {
        let known = self.stored.known().parents.get(app).cloned();
        let stamp = format!("{:016x}", fastrand::u64(..));
        let mut pieces = pieces(inventory)?;
        let first = pieces.remove(0);
        let name = Marks::parent_name(app);
        for (at, piece) in pieces.iter().enumerate() {
            let part = part(&self.marks.namespace, &name, &stamp, at, piece);
            self.write_own(&part, false).await?;
        }
        let now = Parent { stamp, parts: pieces.len() };
        let parent = self.parent(app, inventory, &first, &now);
        // Unknown until it is answered: whoever completes a version meanwhile must not refer to it.
        self.stored.known().parents.remove(app);
        self.write_own(&parent, known.is_some()).await?;
        self.stored.known().parents.insert(app.clone(), now);
        if let Some(old) = known {
            self.forget_parts(&name, &old).await;
        }
        self.searched.known(app, false);
        Ok(())
    }

    /// Writes one of our own `ConfigMap`s. Nobody else has a say in what we write of it, so that it needs no apply, which
    /// costs the server more than all else; what others added, an annotation that pauses the app for one, stays.
    async fn write_own(&self, object: &Value, exists: bool) -> Result<(), Problem> {
        let at = || path(&config_maps(), &self.marks.namespace);
        let (name, body) = (text(object, "/metadata/name"), object.to_string().into_bytes());
        let params = PostParams::default();
        let mut exists = exists;
        for _ in 0..3 {
            let write = if exists {
                at().patch(name, &PatchParams::default(), &Patch::Merge(object))
            } else {
                at().create(&params, body.clone())
            };
            match self.wire.send(write).await {
                Ok(_) => return Ok(()),
                // It was written, and the answer was lost.
                Err(problem) if problem.code == 409 && !exists => exists = true,
                // Somebody deleted it; or our namespace.
                Err(problem) if problem.code == 404 => {
                    own_namespace(&self.wire, &self.marks.namespace)
                        .await
                        .map_err(|error| Problem::unanswered(error.to_string()))?;
                    exists = false;
                }
                Err(problem) => return Err(problem),
            }
        }
        Err(Problem::unanswered(format!("{name} is made and deleted by somebody else again and again")))
    }

    /// Stores the versions of many apps; of one whose parent is not known, the whole parent.
    pub async fn complete(&self, inventories: &BTreeMap<AppKey, Inventory>) -> Result<(), TargetError> {
        let mut shards: BTreeMap<u8, Map<String, Value>> = BTreeMap::new();
        for (app, inventory) in inventories {
            let stamp = self.stored.known().parents.get(app).map(|parent| parent.stamp.clone());
            match stamp.filter(|stamp| !stamp.is_empty()).zip(inventory.version) {
                Some((stamp, version)) => {
                    let name = Marks::parent_name(app);
                    let completion = format!("{stamp} {version}");
                    shards.entry(shard(&name)).or_default().insert(name, completion.into());
                }
                None => self.store_inventory(app, inventory).await?,
            }
        }
        for (shard, completions) in shards {
            self.store_completions(shard, completions).await?;
        }
        Ok(())
    }

    async fn store_completions(&self, shard: u8, completions: Map<String, Value>) -> Result<(), Problem> {
        let name = format!("nave-completions-{shard:x}");
        let patch = Patch::Merge(json!({"data": completions}));
        if self.stored.known().shards.contains(&shard) {
            let at = path(&config_maps(), &self.marks.namespace);
            match self.wire.send(at.patch(&name, &PatchParams::default(), &patch)).await {
                Ok(_) => return Ok(()),
                Err(problem) if problem.code == 404 => {}
                Err(problem) => return Err(problem),
            }
        }
        let metadata = self.metadata(&name, COMPLETIONS);
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": completions});
        self.write_own(&object, false).await?;
        self.stored.known().shards.insert(shard);
        Ok(())
    }

    fn metadata(&self, name: &str, what: &str) -> Value {
        json!({"name": name, "namespace": self.marks.namespace, "labels": {LABEL: what}})
    }

    pub async fn forget_inventory(&self, app: &AppKey) -> Result<(), TargetError> {
        let name = Marks::parent_name(app);
        let known = self.stored.known().parents.remove(app);
        self.delete_own(&name).await?;
        if let Some(old) = known {
            self.forget_parts(&name, &old).await;
        }
        self.searched.known(app, true);
        Ok(())
    }

    /// Parts that no parent names any more: whether they are deleted now or never changes nothing.
    async fn forget_parts(&self, name: &str, old: &Parent) {
        for at in 0..old.parts {
            if let Err(problem) = self.delete_own(&part_name(name, &old.stamp, at)).await {
                tracing::debug!(name, error = %problem.error, "a part of an old inventory is left over");
            }
        }
    }

    async fn delete_own(&self, name: &str) -> Result<(), Problem> {
        let at = path(&config_maps(), &self.marks.namespace);
        match self.wire.send(at.delete(name, &DeleteParams::background())).await {
            Err(problem) if !problem.is_absent() => Err(problem),
            _ => Ok(()),
        }
    }

    /// The parent as KEP-3659 shapes it, with the exact inventory in its data.
    fn parent(&self, app: &AppKey, inventory: &Inventory, first: &str, now: &Parent) -> Value {
        let kinds: BTreeSet<String> = inventory
            .objects
            .iter()
            .map(|o| if o.group.is_empty() { o.kind.clone() } else { format!("{}.{}", o.kind, o.group) })
            .collect();
        let own = &self.marks.namespace;
        let namespaces = inventory.objects.iter().map(|o| o.namespace.as_str());
        let namespaces: BTreeSet<&str> = namespaces.filter(|n| !n.is_empty() && n != own).collect();
        let mut data = Map::new();
        data.insert(DATA.into(), first.into());
        data.insert(STAMP.into(), now.stamp.clone().into());
        data.insert(PARTS.into(), now.parts.to_string().into());
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": Marks::parent_name(app),
                "namespace": own,
                "labels": {"applyset.kubernetes.io/id": self.marks.set_id(app), LABEL: PARENT},
                "annotations": {
                    "applyset.kubernetes.io/tooling": "nave/v1",
                    KINDS: kinds.into_iter().collect::<Vec<_>>().join(","),
                    "applyset.kubernetes.io/additional-namespaces": namespaces.into_iter().collect::<Vec<_>>().join(","),
                    APP: app_mark(app),
                },
            },
            "data": data,
        })
    }
}

impl Listed {
    fn add(&mut self, object: Value) {
        let labels = object.pointer("/metadata/labels").and_then(|labels| labels.get(LABEL));
        let name = text(&object, "/metadata/name");
        match labels.and_then(Value::as_str).unwrap_or_default() {
            PART => drop(self.parts.insert(name.to_owned(), text(&object, "/data/inventory").to_owned())),
            COMPLETIONS => {
                let shard = name.rsplit('-').next().and_then(|shard| u8::from_str_radix(shard, 16).ok());
                self.shards.extend(shard);
                let data = object.get("data").and_then(Value::as_object).into_iter().flatten();
                let completed =
                    data.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
                self.completions.extend(completed);
            }
            PARENT => self.parents.push(object),
            _ => {}
        }
    }

    fn inventory_of(&self, app: &AppKey, parent: &Value) -> Result<Inventory, String> {
        let data =
            parent.pointer("/data/inventory").and_then(Value::as_str).ok_or("its data has no inventory")?;
        let read = |data: &str| -> Result<Inventory, String> {
            serde_json::from_str(data).map_err(|e| format!("its data cannot be read: {e}"))
        };
        let mut inventory = read(data)?;
        let (name, stamp) = (Marks::parent_name(app), text(parent, "/data/stamp"));
        let parts = text(parent, "/data/parts");
        let parts: usize =
            if parts.is_empty() { 0 } else { parts.parse().map_err(|e| format!("its parts: {e}"))? };
        for at in 0..parts {
            let part = self.parts.get(&part_name(&name, stamp, at));
            let part = part.ok_or_else(|| format!("part {at} of {parts} is missing"))?;
            inventory.objects.extend(read(part)?.objects);
        }
        if let Some((of, version)) = self.completions.get(&name).and_then(|done| done.split_once(' '))
            && !stamp.is_empty()
            && of == stamp
        {
            inventory.version = version.parse::<Digest>().ok().or(inventory.version);
        }
        Ok(inventory)
    }
}

/// An inventory as texts of bounded size; the first has the version.
fn pieces(inventory: &Inventory) -> Result<Vec<String>, TargetError> {
    let refused = |e: serde_json::Error| TargetError::Refused(format!("an inventory cannot be written: {e}"));
    let all = serde_json::to_string(inventory).map_err(refused)?;
    if all.len() <= PIECE_BYTES {
        return Ok(vec![all]);
    }
    let count = all.len().div_ceil(PIECE_BYTES) + 1;
    let size = inventory.objects.len().div_ceil(count).max(1);
    let objects: Vec<&ObjectKey> = inventory.objects.iter().collect();
    let piece = |(at, objects): (usize, &[&ObjectKey])| {
        let objects = objects.iter().map(|key| (*key).clone()).collect();
        let rest = if at == 0 {
            Inventory { objects: BTreeSet::new(), ..inventory.clone() }
        } else {
            Inventory::default()
        };
        serde_json::to_string(&Inventory { objects, ..rest }).map_err(refused)
    };
    objects.chunks(size).enumerate().map(piece).collect()
}

fn part_name(parent: &str, stamp: &str, at: usize) -> String {
    // A parent's name has up to 220 of the 253 that a name may have.
    format!("{parent}-{stamp}-{at}")
}

fn part(namespace: &str, parent: &str, stamp: &str, at: usize, piece: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": part_name(parent, stamp, at), "namespace": namespace, "labels": {LABEL: PART}},
        "data": {DATA: piece},
    })
}

fn shard(name: &str) -> u8 {
    Digest::of(name.as_bytes()).0[0] % SHARDS
}

pub(super) fn app_of(parent: &Value) -> Result<AppKey, String> {
    let app = annotation(parent, APP).ok_or_else(|| format!("annotation {APP} is missing"))?;
    app.parse().map_err(|e| format!("annotation {APP}: {e}"))
}

pub(super) fn config_maps() -> ApiResource {
    core("ConfigMap", "configmaps")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_of_any_size_is_read_back_from_its_pieces() {
        for count in [0, 1, 900, 10_000] {
            let key = |n: usize| ObjectKey {
                group: "example.com".into(),
                kind: "Widget".into(),
                namespace: "default".into(),
                name: format!("a-widget-with-a-long-name-{n}"),
            };
            let version = Some(Digest::of(b"v"));
            let inventory =
                Inventory { objects: (0..count).map(key).collect(), version, ..Inventory::default() };
            let app: AppKey = "web".parse().expect("valid");
            let mut pieces = pieces(&inventory).expect("written");
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES), "{count}");
            let first = pieces.remove(0);
            let (name, stamp) = (Marks::parent_name(&app), "0123456789abcdef");
            let mut listed = Listed::default();
            for (at, piece) in pieces.iter().enumerate() {
                listed.add(part("nave-system", &name, stamp, at, piece));
            }
            let mut parent = json!({"data": {DATA: first, STAMP: stamp, PARTS: pieces.len().to_string()}});
            assert_eq!(listed.inventory_of(&app, &parent).as_ref(), Ok(&inventory), "{count}");
            listed.completions.insert(name, format!("{stamp} {}", Digest::of(b"newer")));
            let newer = listed.inventory_of(&app, &parent).expect("read").version;
            assert_eq!(newer, Some(Digest::of(b"newer")));
            parent["data"][STAMP] = "another".into();
            parent["data"][PARTS] = "0".into();
            let without = listed.inventory_of(&app, &parent).expect("read").version;
            assert_eq!(without, version, "a completion is of the parent that had its stamp");
            parent["data"][PARTS] = "1".into();
            assert!(listed.inventory_of(&app, &parent).is_err(), "a part that is missing is no end");
        }
    }
}
