//! Tenants: what a revision changes of what the root catalog says of tenants' catalogs.
//!
//! In: the root catalog in effect and that of the revision; remotes. Out: a [`CatalogPlan`] for each `Catalog` that differs, and what is
//! at hand of those that are somewhere else than before.
//! Never: asks anybody whom the remotes do not; is silent about a catalog that was not read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use nave_placement::CatalogName;
use nave_placement::catalog::{BlobId, CommitId, Grant, Problem, Remote, Tenant};
use nave_placement::guard::{EntryKey, Hold};
use serde_json::{Value, json};

use super::settle::{Rest, Side, World};
use super::view::{CatalogChange, CatalogPlan, FieldChange};
use crate::deciding::core::{Revision, admit};
use crate::deciding::parts::Own;
use crate::deciding::reading::read_of;
use crate::deciding::revision::{Content, Loader, Place};
use crate::state::State;

/// Catalogs that are somewhere else than before.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// The commit of each that was read, or why it was not.
    found: BTreeMap<CatalogName, Result<CommitId, String>>,
    /// What has their files.
    contents: Vec<Arc<dyn Content>>,
    /// What their commits would wait for.
    pub holds: Vec<Hold>,
}

/// Adds to a revision the catalogs that it has somewhere else than what is in effect, as far as they are at hand.
pub(super) async fn join(
    world: &World<'_>,
    (in_effect, state): (&Revision, &State),
    side: &mut Side<'_>,
) -> Elsewhere {
    let root = side.revision.catalog.clone();
    let mut elsewhere = Elsewhere::default();
    for (name, effective, tenant) in root.tenants_named() {
        if in_effect.catalog.tenant(&name).is_some_and(|known| is_one_place(known, tenant)) {
            continue;
        }
        let found = world.elsewhere.files(&Remote::Git(tenant.git.clone()), None).await;
        let found = match found {
            Ok((at, brought)) => {
                let commit = CommitId(at.id);
                let place = Place {
                    name: name.clone(),
                    directory: tenant.path.to_string(),
                    is_root: false,
                    configured: None,
                };
                let before = in_effect.owns.iter().find(|own| own.catalog.name == name);
                let last_good = before.map(|own| own.catalog.objects.clone()).unwrap_or_default();
                let mut loader = Loader::default();
                let (content, tree) = (&*brought.content, &brought.tree);
                let read = loader.catalog(content, &place, &commit, tree, &last_good).await;
                // Whether its history goes on from what is in effect is not known here.
                let taken = before.map(|own| &own.catalog.commit);
                let approved = |id: &str| state.approvals.contains_key(id);
                let admitted = admit(Some(&name), taken, &commit, read.empty, true, approved);
                elsewhere.holds.extend(admitted.err().map(|hold| *hold));
                side.revision.owns.retain(|own| own.catalog.name != name);
                side.revision.owns.push(Own::of(Arc::new(read)));
                side.trees.insert(name.clone(), brought.tree.clone());
                elsewhere.contents.push(brought.content.clone());
                Ok(commit)
            }
            Err(lacks) => {
                if !lacks.is_awaited {
                    let object = &effective.object;
                    let problem =
                        Problem::at(&object.origin, format!("its repository cannot be read: {lacks}"));
                    side.problems.push(problem.of(Some(&object.id)));
                }
                Err(lacks.to_string())
            }
        };
        elsewhere.found.insert(name, found);
    }
    if !elsewhere.contents.is_empty()
        && let Some(revision) = Revision::of(std::mem::take(&mut side.revision.owns))
    {
        side.revision = revision;
    }
    elsewhere
}

fn is_one_place(one: &Tenant, other: &Tenant) -> bool {
    (&one.git.url, &one.git.reference, &one.path) == (&other.git.url, &other.git.reference, &other.path)
}

/// The files of a revision, and those of catalogs that joined it.
pub(super) struct Joined<'a> {
    first: &'a dyn Content,
    more: Vec<Arc<dyn Content>>,
}

impl<'a> Joined<'a> {
    pub fn new(first: &'a dyn Content, elsewhere: &Elsewhere) -> Self {
        Self { first, more: elsewhere.contents.clone() }
    }
}

#[async_trait]
impl Content for Joined<'_> {
    async fn read_all(&self, blobs: Vec<BlobId>, limit: u64) -> Vec<Result<Arc<[u8]>, String>> {
        let more = self.more.iter().map(|content| &**content);
        let places: Vec<&dyn Content> = std::iter::once(self.first).chain(more).collect();
        read_of(&places, &blobs, limit).await
    }
}

/// What a revision changes of what is said of tenants' catalogs.
pub(super) fn changes(base: &Rest, new: &Rest, elsewhere: &Elsewhere) -> Vec<CatalogPlan> {
    let [before, after] = [base, new].map(|rest| rest.revision.catalog.tenants_named());
    let names = before.chain(after).map(|(name, _, _)| name);
    let names: BTreeSet<CatalogName> = names.collect();
    names.into_iter().filter_map(|name| change(name, base, new, elsewhere)).collect()
}

fn change(name: CatalogName, base: &Rest, new: &Rest, elsewhere: &Elsewhere) -> Option<CatalogPlan> {
    let (from, to) = (base.revision.catalog.tenant(&name), new.revision.catalog.tenant(&name));
    let fields = differing(from, to);
    let place = elsewhere.found.get(&name).map(|found| match found {
        Ok(commit) => {
            let waits = from.map(
                |_| "; where its history does not go on from the commit in effect, it waits for approval",
            );
            format!("what it has at {} is in this plan{}", commit.short(), waits.unwrap_or_default())
        }
        Err(why) => format!("what it has there is in no plan, and shows once this is taken: {why}"),
    });
    let (change, message) = match (from, to) {
        (None, Some(_)) => (CatalogChange::Added, place.unwrap_or_default()),
        (Some(_), None) => (CatalogChange::Removed, removed(&name, new)),
        (Some(from), Some(to)) => {
            let said = [
                place,
                (from.git.credentials != to.git.credentials)
                    .then(|| "its repository is reached by other credentials".to_owned()),
                (from.credentials != to.credentials)
                    .then(|| "its sources may name other credentials".to_owned()),
                (from.grants != to.grants).then(|| granted(&name, base, new)),
            ];
            (CatalogChange::Changed, said.into_iter().flatten().collect::<Vec<_>>().join("; "))
        }
        (None, None) => return None,
    };
    (change != CatalogChange::Changed || !fields.is_empty()).then_some(CatalogPlan {
        catalog: name,
        change,
        fields,
        message,
    })
}

fn removed(name: &CatalogName, new: &Rest) -> String {
    let goes = new.revision.owns.iter().any(|own| own.let_go.contains(name));
    let what = match goes {
        true => "what runs of it goes, as a trailer says",
        false => "what runs of it stays as it is, and takes no changes until it is named again",
    };
    what.to_owned()
}

fn granted(name: &CatalogName, base: &Rest, new: &Rest) -> String {
    let is_told = |(app, cluster): &EntryKey| {
        let told = base.state.told.get(cluster);
        told.is_some_and(|told| told.assignment.entries.contains_key(app))
    };
    let stays = |rest: &Rest, key: &EntryKey| {
        rest.decided.withdrawn.contains_key(key) || rest.decided.beyond.contains_key(key)
    };
    let all: BTreeSet<&EntryKey> = new
        .decided
        .withdrawn
        .keys()
        .chain(new.decided.beyond.keys())
        .filter(|(app, _)| app.catalog == *name)
        .collect();
    let count = all.into_iter().filter(|key| is_told(key) && !stays(base, key)).count();
    match count {
        0 => "its grants are others".to_owned(),
        1 => "its grants are others: 1 entry is granted no more, stays as it is and takes no changes"
            .to_owned(),
        _ => format!(
            "its grants are others: {count} entries are granted no more, stay as they are and take no changes"
        ),
    }
}

/// The fields that differ, named as they are written.
fn differing(from: Option<&Tenant>, to: Option<&Tenant>) -> Vec<FieldChange> {
    let [from, to] = [from, to].map(|tenant| tenant.map(written).unwrap_or_default());
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let field = |name: &String| {
        let (from, to) = (from.get(name).cloned(), to.get(name).cloned());
        (from != to).then(|| FieldChange { name: name.clone(), from, to })
    };
    names.into_iter().filter_map(field).collect()
}

fn written(tenant: &Tenant) -> BTreeMap<String, Value> {
    let Tenant { git, path, credentials, grants } = tenant;
    let mut fields = vec![
        ("git.url".to_owned(), json!(git.url)),
        ("git.branch".to_owned(), json!(git.reference.to_string())),
        ("git.path".to_owned(), json!(path)),
        ("git.credentials".to_owned(), json!(git.credentials)),
        ("credentials".to_owned(), json!(credentials)),
    ];
    for (at, grant) in grants.iter().enumerate() {
        let Grant { sets, namespaces, cluster_scoped, service_account, max_clusters } = grant;
        let field = |name: &str, value: Value| (format!("grants[{at}].{name}"), value);
        fields.extend([
            field("sets", json!(sets)),
            field("namespaces", json!(namespaces)),
            field("clusterScoped", json!(cluster_scoped)),
            field("serviceAccount", json!(service_account)),
            field("maxClusters", json!(max_clusters)),
        ]);
    }
    let is_said = |value: &Value| !value.is_null() && *value != json!("") && *value != json!([]);
    fields.into_iter().filter(|(_, value)| is_said(value)).collect()
}
