//! What a directory target must not lose: its uid, inventories, and the digests of what it wrote.
//!
//! In: inventories, digests. Out: the same, after any crash. Never: lies where manifests are read.
//!
//! ```text
//! STATE/uid                    a random id
//! STATE/inventory/NAME.json    one per app
//! STATE/written/FILE           digest of the body we last wrote under that name
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nave_placement::{AppKey, Digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use super::files;
use crate::target::Inventory;

/// The state directory.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    uid: String,
}

/// An inventory as it is stored: the app is inside, the file's name is only a name.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    app: AppKey,
    #[serde(flatten)]
    inventory: T,
}

impl State {
    /// Opens it, and makes what is missing.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir.join("inventory"))?;
        fs::create_dir_all(dir.join("written"))?;
        let path = dir.join("uid");
        let uid = match fs::read_to_string(&path) {
            Ok(uid) if !uid.trim().is_empty() => uid.trim().to_owned(),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {
                let uid = random_uid()?;
                files::write(&path, format!("{uid}\n").as_bytes())?;
                uid
            }
        };
        Ok(Self { dir: dir.to_owned(), uid })
    }

    /// What stands for the UID of a cluster.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// `/` stands in no name, and `_` in no app's.
    fn inventory(&self, app: &AppKey) -> PathBuf {
        self.dir.join("inventory").join(format!("{}.json", app.to_string().replace('/', "_")))
    }

    /// All inventories. One that cannot be read is an error: taken for missing, its objects would be forgotten.
    pub fn inventories(&self) -> io::Result<BTreeMap<AppKey, Inventory>> {
        let mut inventories = BTreeMap::new();
        for entry in fs::read_dir(self.dir.join("inventory"))? {
            let path = entry?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if hidden {
                continue;
            }
            let stored: Stored<Inventory> = serde_json::from_slice(&fs::read(&path)?)
                .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
            inventories.insert(stored.app, stored.inventory);
        }
        Ok(inventories)
    }

    /// Stores an inventory durably.
    pub fn store(&self, app: &AppKey, inventory: &Inventory) -> io::Result<()> {
        let bytes = serde_json::to_vec(&Stored { app: app.clone(), inventory })?;
        files::write(&self.inventory(app), &bytes)
    }

    /// Forgets an inventory.
    pub fn forget(&self, app: &AppKey) -> io::Result<()> {
        files::remove(&self.inventory(app))
    }

    /// The digest of what we last wrote under a name. What cannot be read as one counts as something else than is there.
    pub fn written(&self, name: &str) -> io::Result<Option<Digest>> {
        match fs::read_to_string(self.dir.join("written").join(name)) {
            Ok(digest) => Ok(Some(digest.trim().parse().unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Records what was written under a name.
    pub fn record(&self, name: &str, body: &Digest) -> io::Result<()> {
        files::write(&self.dir.join("written").join(name), body.to_string().as_bytes())
    }

    /// Strikes a name from the records.
    pub fn strike(&self, name: &str) -> io::Result<()> {
        files::remove(&self.dir.join("written").join(name))
    }
}

/// 128 random bits, as hex.
fn random_uid() -> io::Result<String> {
    let mut bytes = [0u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(nave_placement::hex(&bytes))
}
