//! A directory of manifests as a target: for k3s, MicroShift or kubelet static pods, and for trying Nave without a cluster.
//!
//! In: objects. Out: one YAML file each, flat in the directory, written whole or not at all. An object is healthy once
//! written. What must survive and is nobody else's business (a random uid, inventories, what was written) is in the state directory.
//! Never: touches a file that it did not write, reads a directory that is not there as an empty one.
//!
//! Scopes come from the table of [`super::builtin`]. A kind that is not in it counts as served and namespaced, since
//! nobody can be asked: a cluster-scoped custom resource gets the app's namespace, which an API server ignores or refuses.
//!
//! A file of somebody else's under an object's name is first contact, and `adopt` decides. Files have one owner and no
//! fields of several: `conflicts` has nothing to govern, a file that was changed is drift as a whole, and what is ignored
//! field by field is taken over from the file that is there. `onImmutable` and `serviceAccount` mean nothing here.
//!
//! k3s does not delete the objects of a manifest that is gone; there, a pruned file only stops being enforced.

mod ask;
mod files;
mod state;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use nave_placement::catalog::{Adopt, Mode, Treatment};
use nave_placement::fleet::{Fact, Facts};
use nave_placement::render::{Resolved, Scope, Scopes};
use nave_placement::{AppKey, ObjectKey};
use serde_json::Value;
use tokio::sync::watch as signal;

use super::ask::{self as questions, Answer, Inquiry, Refusal};
use super::digests::DigestKey;
use super::{
    Applied, Behalf, Contact, Deleted, Foreign, Found, Health, Inventory, Owned, Seen, Target, TargetError,
    Write, builtin,
};
use crate::observe::changes::{changes, hide, told};
use crate::plan::{Ignored, Terms, made_for};
use files::{Manifest, file_name};
use state::State;
use watch::Watch;

/// A directory of manifests.
#[derive(Debug)]
pub struct DirTarget {
    inner: Arc<Inner>,
    watch: Watch,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    state: State,
    digests: DigestKey,
}

/// Why a directory cannot be a target.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} as a target", .path.display())]
pub struct OpenError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

impl DirTarget {
    /// Opens a directory, and makes it and `state_dir` where they are missing. The state directory belongs to one
    /// target alone and must not lie where the manifests are read.
    ///
    /// # Errors
    /// When one of them cannot be made or written.
    pub fn open(dir: &Path, state_dir: &Path) -> Result<Self, OpenError> {
        let opened = |path: &Path, result: std::io::Result<()>| {
            result.map_err(|source| OpenError { path: path.to_owned(), source })
        };
        opened(dir, std::fs::create_dir_all(dir))?;
        let state = State::open(state_dir);
        let state = state.map_err(|source| OpenError { path: state_dir.to_owned(), source })?;
        let watch = Watch::start(dir);
        Ok(Self {
            inner: Arc::new(Inner { dir: dir.to_owned(), state, digests: DigestKey::default() }),
            watch,
        })
    }

    /// The file of an object.
    pub fn path(&self, key: &ObjectKey) -> PathBuf {
        self.inner.dir.join(file_name(key))
    }

    /// Does blocking work where it holds up nobody.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, TargetError> + Send + 'static,
    ) -> Result<T, TargetError> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| Err(TargetError::Unreachable(error.to_string())))
    }
}

/// An answer that never came: nothing is known.
fn unreachable(path: &Path) -> impl Fn(std::io::Error) -> TargetError {
    move |error| TargetError::Unreachable(format!("{}: {error}", path.display()))
}

impl Inner {
    /// A directory that is gone (or not mounted) says nothing about what is in it.
    fn is_there(&self) -> Result<(), TargetError> {
        match std::fs::metadata(&self.dir) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(TargetError::Unreachable(format!("{} is no directory", self.dir.display()))),
            Err(error) => Err(unreachable(&self.dir)(error)),
        }
    }

    fn read(&self, name: &str) -> Result<Option<Manifest>, TargetError> {
        let path = self.dir.join(name);
        let read = files::read(&path).map_err(unreachable(&path))?;
        if read.is_none() {
            self.is_there()?;
        }
        Ok(read)
    }

    /// The object as it is to be written: what is ignored is as it is in the file that is there.
    fn wanted(object: &Resolved, terms: &Terms, found: Option<&Manifest>) -> Value {
        let Some(live) = found.and_then(Manifest::value) else { return (*object.object).clone() };
        if terms.ignored == Ignored::Whole {
            return live;
        }
        let mut wanted = (*object.object).clone();
        for pointer in terms.ignored_fields() {
            if let (Some(slot), Some(value)) = (wanted.pointer_mut(pointer), live.pointer(pointer)) {
                slot.clone_from(value);
            }
        }
        wanted
    }

    fn look(&self, app: &AppKey, treatment: &Treatment, wanted: &Resolved) -> Result<Seen, TargetError> {
        let name = file_name(&wanted.key);
        let terms = Terms::of(treatment, wanted).map_err(TargetError::Refused)?;
        let Some(found) = self.read(&name)? else { return Ok(Seen::Absent) };
        let object = Self::wanted(wanted, &terms, Some(&found));
        let live = found.value().unwrap_or_default();
        let differing = hide(&wanted.object, changes(&live, &object));
        let written = self.state.written(&name).map_err(unreachable(&self.dir))?;
        if found.app.is_none() && written.is_none() {
            let (managers, health) = (Vec::new(), Some(Health::healthy()));
            return Ok(Seen::Foreign(Foreign { managers, changes: Some(differing), health }));
        }
        let body = self.digests.of(&wanted.object, found.body.as_bytes());
        Ok(Seen::Ours {
            differs: found.text != files::render(app, &object)
                || (terms.mode == Mode::Observe && !differing.is_empty()),
            drifted: found.app.is_none() || written.is_some_and(|written| written != body),
            health: Health::healthy(),
            found: Found { changes: differing, run: made_for(&live), ..Found::default() },
        })
    }

    fn apply(
        &self,
        app: &AppKey,
        treatment: &Treatment,
        object: &Resolved,
        how: Write,
    ) -> Result<Applied, TargetError> {
        let name = file_name(&object.key);
        let path = self.dir.join(&name);
        let terms = Terms::of(treatment, object).map_err(TargetError::Refused)?;
        let found = self.read(&name)?;
        let wanted = Self::wanted(object, &terms, found.as_ref());
        let text = files::render(app, &wanted);
        if found.as_ref().is_some_and(|found| found.text == text) {
            return Ok(Applied::Unchanged);
        }
        if let Some(foreign) =
            found.as_ref().filter(|found| found.app.is_none() && how.contact != Contact::Ours)
        {
            let live = foreign.value().unwrap_or_default();
            let may = match (how.contact, terms.adopt) {
                (Contact::Absent, _) | (_, Adopt::Never) => false,
                (_, Adopt::IfEqual) => questions::is_equal(&live, &wanted),
                (_, Adopt::Always) => true,
            };
            if !may {
                let differs = told(&hide(&object.object, changes(&live, &wanted)));
                let message = format!("{} exists and is not ours: {differs}; move it away", path.display());
                return Err(TargetError::NotAdopted(message));
            }
        }
        files::write(&path, text.as_bytes()).map_err(unreachable(&path))?;
        // Killed here, the mark in the file says whose it is.
        let body = files::body(&text);
        self.state
            .record(&name, &self.digests.of(&object.object, body.as_bytes()))
            .map_err(unreachable(&path))?;
        Ok(if found.is_some() { Applied::Changed } else { Applied::Created })
    }

    fn delete(&self, app: &AppKey, key: &ObjectKey) -> Result<Deleted, TargetError> {
        let name = file_name(key);
        let path = self.dir.join(&name);
        let answer = match self.read(&name)? {
            None => Deleted::Absent,
            Some(found) if found.app.as_ref() == Some(app) => {
                files::remove(&path).map_err(unreachable(&path))?;
                Deleted::Gone
            }
            Some(Manifest { app: Some(other), .. }) => {
                return Ok(Deleted::NotOurs(format!("{} belongs to {other}", path.display())));
            }
            Some(_) => Deleted::NotOurs(format!("{} does not carry our mark", path.display())),
        };
        self.state.strike(&name).map_err(unreachable(&path))?;
        Ok(answer)
    }

    fn orphan(&self, app: &AppKey, key: &ObjectKey) -> Result<(), TargetError> {
        let name = file_name(key);
        let path = self.dir.join(&name);
        match self.read(&name)? {
            Some(found) if found.app.as_ref() == Some(app) => {
                files::write(&path, found.body.as_bytes()).map_err(unreachable(&path))?;
            }
            Some(Manifest { app: Some(_), .. }) => return Ok(()),
            Some(_) | None => {}
        }
        self.state.strike(&name).map_err(unreachable(&path))
    }
}

/// Kubernetes' own kinds by the table, all others namespaced.
#[derive(Debug)]
struct Table;

impl Scopes for Table {
    fn scope(&self, group: &str, kind: &str) -> Option<Scope> {
        builtin::scope(group, kind).or(Some(Scope::Namespaced))
    }
}

#[async_trait]
impl Target for DirTarget {
    fn describe(&self) -> String {
        format!("dir:{}", self.inner.dir.display())
    }

    async fn uid(&self) -> Result<String, TargetError> {
        Ok(self.inner.state.uid().to_owned())
    }

    async fn facts(&self) -> Facts {
        // Observed: a directory has neither a version nor nodes, and nothing that nodes or an API server would say.
        Facts {
            kubernetes: Fact::Absent,
            nodes: Fact::Absent,
            architectures: Fact::Absent,
            capacity: Fact::Absent,
            provider: Fact::Absent,
            region: Fact::Absent,
            zones: Fact::Absent,
            apis: Fact::Absent,
            properties: Fact::Absent,
            custom: Fact::Absent,
            recipient: Fact::Unknown,
        }
    }

    fn key_digests(&self, key: &[u8; 32]) {
        self.inner.digests.set(key);
    }

    fn scopes(&self) -> Arc<dyn Scopes + Send + Sync> {
        Arc::new(Table)
    }

    async fn discover(&self) -> Result<(), TargetError> {
        Ok(())
    }

    async fn inventories(&self) -> Result<BTreeMap<AppKey, Inventory>, TargetError> {
        self.blocking(|inner| {
            inner.is_there()?;
            inner.state.inventories().map_err(unreachable(&inner.dir))
        })
        .await
    }

    async fn store_inventory(&self, app: &AppKey, inventory: &Inventory) -> Result<(), TargetError> {
        let (app, inventory) = (app.clone(), inventory.clone());
        self.blocking(move |inner| inner.state.store(&app, &inventory).map_err(unreachable(&inner.dir))).await
    }

    async fn forget_inventory(&self, app: &AppKey) -> Result<(), TargetError> {
        let app = app.clone();
        self.blocking(move |inner| inner.state.forget(&app).map_err(unreachable(&inner.dir))).await
    }

    async fn observe(
        &self,
        of: Behalf<'_>,
        wanted: &[Resolved],
    ) -> BTreeMap<ObjectKey, Result<Seen, TargetError>> {
        let keys: Vec<_> = wanted.iter().map(|object| object.key.clone()).collect();
        let (app, treatment, wanted) = (of.app.clone(), of.treatment.clone(), wanted.to_vec());
        let looked = self.blocking(move |inner| {
            Ok(wanted
                .iter()
                .map(|object| (object.key.clone(), inner.look(&app, &treatment, object)))
                .collect())
        });
        looked.await.unwrap_or_else(|error| keys.into_iter().map(|key| (key, Err(error.clone()))).collect())
    }

    async fn apply(&self, of: Behalf<'_>, object: &Resolved, how: Write) -> Result<Applied, TargetError> {
        let (app, treatment, object) = (of.app.clone(), of.treatment.clone(), object.clone());
        self.blocking(move |inner| inner.apply(&app, &treatment, &object, how)).await
    }

    async fn delete(&self, of: Behalf<'_>, key: &ObjectKey) -> Result<Deleted, TargetError> {
        let (app, key) = (of.app.clone(), key.clone());
        self.blocking(move |inner| inner.delete(&app, &key)).await
    }

    async fn orphan(&self, of: Behalf<'_>, key: &ObjectKey) -> Result<(), TargetError> {
        let (app, key) = (of.app.clone(), key.clone());
        self.blocking(move |inner| inner.orphan(&app, &key)).await
    }

    async fn answer(&self, inquiry: &Inquiry) -> Result<Answer, Refusal> {
        let inner = self.inner.clone();
        let inquiry = inquiry.clone();
        let done = tokio::task::spawn_blocking(move || inner.answer(&inquiry)).await;
        done.unwrap_or_else(|error| Err(Refusal(error.to_string())))
    }

    fn changes(&self) -> signal::Receiver<u64> {
        self.watch.changes()
    }

    fn watch_kinds(&self, _owned: &Owned) {
        // The whole directory is watched.
    }
}

#[cfg(test)]
mod tests;
