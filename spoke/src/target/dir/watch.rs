//! Noticing changes of a directory: inotify at once, and a slow rescan for what it misses.
//!
//! In: the directory. Out: a count that goes up whenever something may have changed. Never: says what changed; whoever
//! wakes up looks for himself.

use std::path::{Path, PathBuf};
#[expect(clippy::disallowed_types, reason = "a thread of its own waits on it, and nothing is ever sent")]
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

/// Between two rescans while inotify works: it misses network file systems, overflows and a directory made anew.
const SLOW: Duration = Duration::from_secs(60);
/// Between two rescans while it does not, e.g. where the user's watches are used up.
const FAST: Duration = Duration::from_secs(5);

/// A watch on a directory. It ends with its thread when this is dropped.
#[derive(Debug)]
pub struct Watch {
    changes: watch::Sender<u64>,
    // Its end tells the thread.
    _alive: SyncSender<()>,
}

impl Watch {
    /// Starts the thread `dir-watch`, which owns the watcher and scans slowly.
    pub fn start(dir: &Path) -> Self {
        let changes = watch::Sender::new(0);
        let (alive, ended) = mpsc::sync_channel(1);
        let mut thread = Rescan { dir: dir.to_owned(), changes: changes.clone(), watcher: None };
        // Armed before the caller's first look, so that no change after it is missed.
        thread.arm();
        let spawned = std::thread::Builder::new().name("dir-watch".into()).spawn(move || thread.run(&ended));
        if let Err(error) = spawned {
            tracing::error!(dir = %dir.display(), %error, "changes of the directory will not be noticed");
        }
        Self { changes, _alive: alive }
    }

    /// Counts up whenever something may have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

struct Rescan {
    dir: PathBuf,
    changes: watch::Sender<u64>,
    watcher: Option<RecommendedWatcher>,
}

impl Rescan {
    #[expect(clippy::disallowed_types, reason = "see above")]
    fn run(mut self, ended: &Receiver<()>) {
        loop {
            let period = if self.watcher.is_some() { SLOW } else { FAST };
            // Jittered by a quarter either way: many targets on one machine do not scan in step.
            let period = period.mul_f64(0.75 + 0.5 * fastrand::f64());
            match ended.recv_timeout(period) {
                Err(RecvTimeoutError::Timeout) => {
                    self.arm();
                    bump(&self.changes);
                }
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Watches the directory that has the name now; the one before may have been another.
    fn arm(&mut self) {
        let changes = self.changes.clone();
        let on_event = move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, may_be_a_change) {
                bump(&changes);
            }
        };
        let armed = notify::recommended_watcher(on_event).and_then(|mut watcher| {
            watcher.watch(&self.dir, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        self.watcher = match armed {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                let seconds = FAST.as_secs();
                tracing::warn!(dir = %self.dir.display(), %error, "no notice of changes here; looking every {seconds} s");
                None
            }
        };
    }
}

fn bump(changes: &watch::Sender<u64>) {
    changes.send_modify(|count| *count += 1);
}

/// Reading is no change, or every look would cause the next; neither is what we write aside before it gets its name.
pub(super) fn may_be_a_change(event: &Event) -> bool {
    let reads = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
    let hidden =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    !reads && (event.paths.is_empty() || !event.paths.iter().all(hidden))
}
