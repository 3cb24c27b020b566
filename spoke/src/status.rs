//! Status: what `spoke status` shows, in a small file that the running spoke keeps.
//!
//! In: how things stand. Out: one JSON file, and a table for people.
//! Never: is read by the spoke itself; whoever deletes the file loses nothing.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nave_placement::report::{EntryReason, EntryReport, EntryState, Report};
use nave_placement::{AppKey, Digest};
use nave_proto::backoff::Backoff;
use nave_proto::tls::Clock;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;
use crate::pause::Pause;
use crate::session::client::Connection;
use crate::session::core::Held;
use crate::state::{Keep, read_status};

/// Changes within this time are written once.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// The same, where a write is a request to the cluster's API server.
const SHARED_DEBOUNCE: Duration = Duration::from_secs(3);
/// A ConfigMap may hold 1 MiB, what stands around the document included, and JSON within JSON is longer: half of it leaves
/// room for all that. An app takes some 300 bytes, so that is some 1,700 apps; messages may be longer.
const LONGEST: usize = 512 << 10;
/// The brackets of the list, and how many are left out.
const AROUND: usize = 64;
/// Between two attempts to write it, where it could not be written.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How a spoke stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// The fleet.
    pub fleet: String,
    /// What it applies to.
    pub target: String,
    /// The hub's address, while connected.
    pub hub: Option<String>,
    /// Connected or not, since when (Unix milliseconds).
    pub since_ms: u64,
    /// What went wrong with the hub last; empty while connected.
    pub problem: String,
    /// When the certificate ends (Unix milliseconds).
    pub certificate_until_ms: u64,
    /// The order to detach was taken.
    pub detached: bool,
    /// Changes are paused on the spot, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// Of the accepted assignment.
    pub epoch: u64,
    /// Of the accepted assignment.
    pub generation: u64,
    /// Its apps, and those on their way out; the worst first.
    pub apps: Vec<AppStatus>,
    /// So many more, for which there was no room.
    #[serde(default, skip_serializing_if = "is_none")]
    pub omitted: usize,
    /// The process that wrote this.
    pub pid: u32,
    /// When it was written, Unix milliseconds: at the last change, however long ago that was.
    #[serde(default)]
    pub written_ms: u64,
}

/// How an app stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppStatus {
    /// Which.
    pub app: AppKey,
    /// Its state; `Leaving` and `Unassigned` beside the states of entries.
    pub state: String,
    /// Why, CamelCase; empty where there is nothing to explain.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Healthy objects, and all.
    pub healthy: u32,
    /// All objects.
    pub objects: u32,
}

/// Keeps the file.
pub struct Writer {
    /// What it applies to.
    pub target: String,
    /// The time.
    pub clock: Clock,
    /// Who we are.
    pub identity: watch::Receiver<Arc<Identity>>,
    /// How the spoke stands to its hub.
    pub connection: watch::Receiver<Connection>,
    /// What is accepted.
    pub held: watch::Receiver<Held>,
    /// The order to detach.
    pub detached: watch::Receiver<bool>,
    /// What was observed.
    pub reports: watch::Receiver<Option<Report>>,
    /// Whether everything is paused on the spot.
    pub paused: watch::Receiver<Option<Pause>>,
}

impl Writer {
    /// Writes at every change, until cancelled; the last thing it writes is that the spoke stopped.
    pub async fn run(mut self, keep: Arc<dyn Keep>, cancel: CancellationToken) {
        let mut since = (None, (self.clock)());
        let mut shown = None;
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let debounce = if keep.is_shared() { SHARED_DEBOUNCE } else { DEBOUNCE };
        loop {
            let connection = self.connection.borrow_and_update().clone();
            if since.0 != connection.connected {
                since = (connection.connected.clone(), (self.clock)());
            }
            let mut status = self.status(&connection, since.1);
            let stopping = cancel.is_cancelled();
            if stopping {
                status.hub = None;
                status.problem = "the spoke was stopped".to_owned();
            }
            let news = Digest::of(&serde_json::to_vec(&status).expect("a status always serializes"));
            let mut again = None;
            if shown != Some(news) {
                status.written_ms = (self.clock)();
                match keep.show(&status.document()).await {
                    Ok(()) => {
                        shown = Some(news);
                        backoff.reset();
                    }
                    Err(error) => {
                        tracing::warn!(error = crate::link::chain(&error), "the status is not written yet");
                        again = Some(backoff.after_failure(fastrand::f64()));
                    }
                }
            }
            if stopping {
                return;
            }
            tokio::select! {
                () = cancel.cancelled() => continue,
                () = sleep(again.unwrap_or_default()), if again.is_some() => continue,
                Ok(()) = self.connection.changed() => {}
                Ok(()) = self.identity.changed() => {}
                Ok(()) = self.held.changed() => {}
                Ok(()) = self.detached.changed() => {}
                Ok(()) = self.reports.changed() => {}
                Ok(()) = self.paused.changed() => {}
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                () = sleep(debounce) => {}
            }
        }
    }

    fn status(&mut self, connection: &Connection, since_ms: u64) -> Status {
        let identity = self.identity.borrow_and_update().clone();
        let report = self.reports.borrow_and_update().clone();
        let order = self.held.borrow_and_update().assignment.order();
        Status {
            cluster: identity.cluster.clone(),
            fleet: identity.fleet.clone(),
            target: self.target.clone(),
            hub: connection.connected.clone(),
            since_ms,
            problem: connection.problem.clone(),
            certificate_until_ms: identity.validity_ms().1,
            detached: *self.detached.borrow_and_update(),
            paused: self.paused.borrow_and_update().clone(),
            epoch: order.0.0,
            generation: order.1.0,
            apps: report.as_ref().map(apps).unwrap_or_default(),
            omitted: 0,
            pid: std::process::id(),
            written_ms: 0,
        }
    }
}

/// The worst first.
fn apps(report: &Report) -> Vec<AppStatus> {
    let of = |app: &AppKey, state: String, entry: &EntryReport| AppStatus {
        app: app.clone(),
        state,
        reason: match entry.reason {
            EntryReason::None => String::new(),
            reason => format!("{reason:?}"),
        },
        message: entry.message.clone(),
        healthy: entry.healthy,
        objects: entry.objects,
    };
    let mut entries: Vec<(&AppKey, &EntryReport)> = report.entries.iter().collect();
    entries.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.state));
    let entries = entries.into_iter().map(|(app, entry)| of(app, state(entry.state), entry));
    let leaving = report.leaving.iter().map(|(app, entry)| of(app, "Leaving".to_owned(), entry));
    let unassigned = report.unassigned.iter().map(|app| AppStatus {
        app: app.clone(),
        state: "Unassigned".to_owned(),
        reason: String::new(),
        message: "kept: it is merely missing from the assignment".to_owned(),
        healthy: 0,
        objects: 0,
    });
    entries.chain(leaving).chain(unassigned).collect()
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

fn state(state: EntryState) -> String {
    format!("{state:?}")
}

/// Reads the status of the spoke that has this state directory.
///
/// # Errors
/// When no spoke ever ran with it.
pub fn read(dir: &Path) -> io::Result<Status> {
    serde_json::from_slice(&read_status(dir)?).map_err(io::Error::other)
}

fn time(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| "unknown".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

impl Status {
    /// As it is written: without the apps at the end, which are well, where all would be too long.
    fn document(mut self) -> Vec<u8> {
        let json = |status: &Self| serde_json::to_vec_pretty(status).expect("a status always serializes");
        let apps = std::mem::take(&mut self.apps);
        let mut left = LONGEST.saturating_sub(json(&self).len() + AROUND);
        self.omitted = apps.len();
        for app in apps {
            let size = serde_json::to_vec_pretty(&app).expect("a status always serializes");
            // Each of its lines is indented by four within the list.
            let lines = size.iter().filter(|byte| **byte == b'\n').count() + 1;
            let Some(rest) = left.checked_sub(size.len() + 4 * lines + 2) else { break };
            left = rest;
            self.apps.push(app);
            self.omitted -= 1;
        }
        json(&self)
    }

    /// For people, on one screen; with whether the agent runs, where that is known.
    pub fn table(&self, runs: Option<bool>) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<13}{value}");
        };
        line("Cluster", format!("{} (fleet {})", self.cluster, self.fleet));
        line("Target", self.target.clone());
        let written = time(self.written_ms);
        line(
            "Agent",
            match runs {
                Some(true) => format!("runs; the last change was at {written}"),
                Some(false) => format!("does not run; the rest is as of {written}"),
                None => format!("the rest is as of {written}"),
            },
        );
        line(
            "Hub",
            match &self.hub {
                Some(address) => format!("connected to {address} since {}", time(self.since_ms)),
                None if self.problem.is_empty() => "not connected yet".to_owned(),
                None => format!("not connected since {}: {}", time(self.since_ms), self.problem),
            },
        );
        line("Certificate", format!("until {}", time(self.certificate_until_ms)));
        line(
            "Assignment",
            match (self.epoch, self.generation) {
                (0, 0) => "none yet".to_owned(),
                (epoch, generation) => format!("generation {generation} (epoch {epoch})"),
            },
        );
        if self.detached {
            line("Detached", "nothing is enforced any more; everything stays as it is".to_owned());
        }
        if let Some(pause) = &self.paused {
            line("Paused", pause.to_string());
        }
        if !self.apps.is_empty() {
            let width = self.apps.iter().map(|app| app.app.to_string().len()).max().unwrap_or(0).max(3);
            let _ = writeln!(text, "\n{:<width$}  {:<11}  {:<7}  MESSAGE", "APP", "STATE", "HEALTHY");
            for app in &self.apps {
                let healthy = format!("{}/{}", app.healthy, app.objects);
                let row = format!("{:<width$}  {:<11}  {healthy:<7}  {}", app.app, app.state, app.message);
                let _ = writeln!(text, "{}", row.trim_end());
            }
        }
        if self.omitted > 0 {
            let _ = writeln!(text, "… and {} more", self.omitted);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::identity::{Der, Secret};
    use crate::state::{Found, StateError};

    fn status(apps: usize, message: usize) -> Status {
        let app = |n: usize| AppStatus {
            app: format!("app-{n}").parse().expect("a name"),
            state: "Failed".into(),
            reason: "Refused".into(),
            message: "\"".repeat(message),
            healthy: 0,
            objects: 1,
        };
        Status { cluster: "fra-1".into(), apps: (0..apps).map(app).collect(), ..Status::default() }
    }

    #[test]
    fn a_long_status_is_cut_at_its_end_and_says_so() {
        // Apps, bytes of each message, whether all fit.
        for (apps, message, all) in [(0, 0, true), (1000, 50, true), (1000, 4000, false), (20_000, 0, false)]
        {
            let document = status(apps, message).document();
            assert!(document.len() <= LONGEST, "{} bytes", document.len());
            let read: Status = serde_json::from_slice(&document).expect("whole JSON");
            assert_eq!((read.apps.len() + read.omitted, read.omitted == 0), (apps, all));
            assert!(all || document.len() > LONGEST - 10_000, "as much as there is room for");
            assert_eq!(read.table(None).contains(&format!("and {} more", read.omitted)), !all);
        }
    }

    fn identity() -> Identity {
        Identity {
            fleet: "acme".into(),
            cluster: "fra-1".into(),
            token: "t".into(),
            cluster_uid: "uid".into(),
            hub_addresses: Vec::new(),
            ca: Der(vec![1]),
            certificate: Der(vec![2]),
            key: Secret(vec![3]),
        }
    }

    /// Refuses some writes.
    struct Refusing {
        left: Mutex<u32>,
        shown: watch::Sender<Vec<u8>>,
    }

    #[async_trait]
    impl Keep for Refusing {
        fn place(&self, _: &str) -> String {
            String::new()
        }
        async fn read(&self, _: &str) -> Result<Found, StateError> {
            Ok(Found::Missing)
        }
        async fn write(&self, _: &str, _: &[u8]) -> Result<(), StateError> {
            Ok(())
        }
        async fn remove(&self, _: &str) -> Result<(), StateError> {
            Ok(())
        }
        async fn list(&self, _: &str) -> Result<BTreeSet<String>, StateError> {
            Ok(BTreeSet::new())
        }
        async fn set_aside(&self, _: &str) -> Result<String, StateError> {
            Ok(String::new())
        }
        async fn show(&self, status: &[u8]) -> Result<(), StateError> {
            let mut left = self.left.lock().expect("no test panics with it");
            if *left > 0 {
                *left -= 1;
                return Err(StateError::Stopped);
            }
            self.shown.send_replace(status.to_vec());
            Ok(())
        }
        async fn still_held(&self) -> Result<(), StateError> {
            Ok(())
        }
        fn is_shared(&self) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn a_status_that_could_not_be_written_is_written_though_nothing_changes() {
        let keep = Arc::new(Refusing { left: Mutex::new(1), shown: watch::Sender::default() });
        let mut shown = keep.shown.subscribe();
        let (connection, reports) = (watch::Sender::new(Connection::default()), watch::Sender::new(None));
        let writer = Writer {
            target: "kube".into(),
            clock: Arc::new(|| 0),
            identity: watch::Sender::new(Arc::new(identity())).subscribe(),
            connection: connection.subscribe(),
            held: watch::Sender::new(Held::nothing()).subscribe(),
            detached: watch::Sender::new(false).subscribe(),
            reports: reports.subscribe(),
            paused: watch::Sender::new(None).subscribe(),
        };
        let cancel = CancellationToken::new();
        let running = tokio::spawn(writer.run(keep.clone(), cancel.clone()));
        shown.changed().await.expect("the keep is there");
        let report = Report {
            entries: BTreeMap::from([("web".parse().expect("a name"), crate::report::pending())]),
            ..Report::default()
        };
        *keep.left.lock().expect("no test panics with it") = 1;
        reports.send_replace(Some(report));
        shown.changed().await.expect("the keep is there");
        let read: Status = serde_json::from_slice(&shown.borrow_and_update()).expect("a status");
        assert_eq!(read.apps.len(), 1);
        cancel.cancel();
        running.await.expect("it ends");
    }
}
