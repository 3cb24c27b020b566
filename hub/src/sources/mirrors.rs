//! Mirrors: the repositories that sources are fetched into.
//!
//! In: a place, how repositories are reached. Out: its repository, of which there is one however many ask.
//! Never: opens one mirror twice; blocks the runtime; removes one that somebody has in hand or that has a commit which is used.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nave_placement::Digest;
use nave_placement::catalog::GitRemote;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::deciding::run::chain;
use crate::git::{self, Access, Repository};

/// How one is called that is being removed.
const GONE: &str = ".gone-";
/// What `ssh` writes down lies beside the mirror.
const LOG: &str = ".ssh.log";

/// The mirrors of a hub.
pub(super) struct Mirrors {
    room: PathBuf,
    access: Vec<Access>,
    /// Held while one is opened or removed.
    open: Arc<Mutex<Open>>,
}

type Open = HashMap<Place, Repository>;

/// A repository, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    url: Arc<str>,
    credentials: Option<Arc<str>>,
    /// It is reached without credentials: what was fetched with some is in another mirror.
    is_strangers: bool,
}

impl Place {
    fn of(remote: &GitRemote) -> Self {
        let GitRemote { url, credentials, is_strangers, reference: _ } = remote.clone();
        Self { url, credentials, is_strangers }
    }

    /// The directory of its mirror.
    fn directory(&self) -> String {
        // No name of credentials has an !.
        let by = if self.is_strangers { "!" } else { self.credentials.as_deref().unwrap_or_default() };
        let name = format!("{} {by}", self.url);
        Digest::of(name.as_bytes()).to_string()[..32].to_owned()
    }
}

impl Mirrors {
    /// In a directory, which is made when it is needed.
    pub fn new(room: PathBuf, access: Vec<Access>) -> Self {
        Self { room, access, open: Arc::default() }
    }

    /// The repository of a remote.
    ///
    /// # Errors
    /// The configuration lacks its credentials, or the mirror cannot be opened.
    pub async fn of(&self, remote: &GitRemote) -> Result<Repository, String> {
        let place = Place::of(remote);
        let open = self.open.clone().lock_owned().await;
        if let Some(open) = open.get(&place) {
            return Ok(open.clone());
        }
        let options = self.options(remote, &place)?;
        off_runtime(open, move |open| {
            let opened = Repository::open(options).map_err(|error| chain(&error))?;
            open.insert(place, opened.clone());
            Ok(opened)
        })
        .await
    }

    fn options(&self, remote: &GitRemote, place: &Place) -> Result<git::Options, String> {
        let access = Access::named(&self.access, &remote.url, remote.credentials.as_deref());
        let access = access.ok_or_else(|| {
            format!(
                "the hub has no credentials {} that are for {}; add them to its configuration, or correct source.git.credentials",
                remote.credentials.as_deref().unwrap_or_default(),
                remote.url
            )
        })?;
        let mut options = git::Options::new(&*remote.url, self.room.join(place.directory()));
        let is_shown = !remote.is_strangers;
        options.access = access.map(|access| if is_shown { access.clone() } else { access.bare() });
        options.is_guarded = true;
        Ok(options)
    }

    /// Those that are open.
    pub async fn all(&self) -> Vec<Repository> {
        self.open.lock().await.values().cloned().collect()
    }

    /// Removes those that are of none of these remotes and have no commit that is used.
    pub async fn clear(&self, named: impl IntoIterator<Item = &GitRemote>, used: BTreeSet<Arc<str>>) {
        let named: BTreeSet<String> = named.into_iter().map(|remote| Place::of(remote).directory()).collect();
        let (open, room) = (self.open.clone().lock_owned().await, self.room.clone());
        off_runtime(open, move |open| {
            for entry in std::fs::read_dir(&room).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let directory = name.strip_suffix(LOG).unwrap_or(&name);
                // What begins with a dot is somebody's who is making one, or was left here.
                if named.contains(directory) || name.starts_with('.') && !name.starts_with(GONE) {
                    continue;
                }
                if let Err(error) = clear(open, &room, directory, &used) {
                    tracing::warn!(mirror = name, %error, "a mirror that nothing names cannot be removed");
                }
            }
        })
        .await;
    }
}

/// Removes one, if nobody has it in hand and nothing in it is used.
fn clear(open: &mut Open, room: &Path, directory: &str, used: &BTreeSet<Arc<str>>) -> Result<(), String> {
    let path = room.join(directory);
    let gone = match directory.starts_with(GONE) {
        true => path,
        false => {
            let pinned = git::pinned_in(&path).map_err(|error| chain(&error))?;
            let place = open.keys().find(|place| place.directory() == directory).cloned();
            let is_in_hand =
                place.as_ref().and_then(|place| open.get(place)).is_some_and(Repository::is_in_hand);
            if is_in_hand || pinned.iter().any(|commit| used.contains(&commit.0)) {
                return Ok(());
            }
            place.map(|place| open.remove(&place));
            // A part of one is never taken for a mirror.
            let gone = room.join(format!("{GONE}{directory}"));
            if path.exists() {
                std::fs::rename(&path, &gone).map_err(|error| error.to_string())?;
                tracing::info!(
                    mirror = directory,
                    "removing the mirror of a source that nothing names any more"
                );
            }
            std::fs::remove_file(room.join(format!("{directory}{LOG}"))).ok();
            gone
        }
    };
    match std::fs::remove_dir_all(gone) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// Works on what is open; goes on although nobody waits for it any more, so that nobody else begins meanwhile.
async fn off_runtime<T: Send + 'static>(
    mut open: OwnedMutexGuard<Open>,
    work: impl FnOnce(&mut Open) -> T + Send + 'static,
) -> T {
    match tokio::task::spawn_blocking(move || work(&mut open)).await {
        Ok(done) => done,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        // The runtime is shutting down: nobody waits for it.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use nave_placement::catalog::GitRef;

    use super::*;

    fn remote(name: &str) -> GitRemote {
        let url = format!("http://127.0.0.1:1/{name}").into();
        GitRemote { url, reference: GitRef::Default, credentials: None, is_strangers: false }
    }

    /// A mirror that was made, with pins of these commits.
    fn made(room: &Path, name: &str, pins: &[&str]) -> PathBuf {
        let path = room.join(Place::of(&remote(name)).directory());
        let run = |arguments: &[&str]| {
            let status = std::process::Command::new("git").current_dir(room).args(arguments).status();
            assert!(status.expect("git is there").success(), "{arguments:?}");
        };
        run(&["init", "-q", "--bare", path.to_str().expect("UTF-8")]);
        std::fs::create_dir_all(path.join("refs/nave/pin")).expect("it is made");
        for pin in pins {
            std::fs::write(path.join("refs/nave/pin").join(pin), format!("{pin}\n")).expect("it is written");
        }
        path
    }

    #[tokio::test]
    async fn a_mirror_goes_that_nothing_names_uses_or_has_in_hand() {
        let room = tempfile::tempdir().expect("a directory");
        let mirrors = Mirrors::new(room.path().to_owned(), Vec::new());
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        let named = made(room.path(), "named", &[]);
        let used = made(room.path(), "used", &[&one, &two]);
        let unused = made(room.path(), "unused", &[&two]);
        let in_hand = made(room.path(), "in-hand", &[]);
        let log = room.path().join(format!("{}{LOG}", Place::of(&remote("unused")).directory()));
        std::fs::write(&log, "").expect("it is written");
        let half = room.path().join(format!("{GONE}half"));
        std::fs::create_dir(&half).expect("it is made");
        let repository = mirrors.of(&remote("in-hand")).await.expect("it is opened");
        let clear = async || {
            mirrors.clear([&remote("named")], BTreeSet::from([one.as_str().into()])).await;
            [&named, &used, &unused, &in_hand, &log, &half].map(|path| path.exists())
        };
        assert_eq!(clear().await, [true, true, false, true, false, false]);
        drop(repository);
        assert_eq!(clear().await, [true, true, false, false, false, false]);
        assert!(mirrors.all().await.is_empty());
    }

    #[tokio::test]
    async fn all_who_ask_at_once_get_one_repository() {
        let room = tempfile::tempdir().expect("a directory");
        let mirrors = Mirrors::new(room.path().to_owned(), Vec::new());
        let shop = remote("shop");
        let (one, two) = tokio::join!(mirrors.of(&shop), mirrors.of(&shop));
        let (one, two) = (one.expect("it is opened"), two.expect("it is opened"));
        assert!(one.is_one_with(&two));
        assert_eq!(mirrors.all().await.len(), 1);
    }
}
