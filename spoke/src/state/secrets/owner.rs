//! Owner: one spoke at a time has the Secrets.
//!
//! In: who this process is. Out: its name in the owner's record, or who has it. Never: writes while nothing changes;
//! lets two processes write for longer than it takes to look.
//!
//! The record is written once, under the guard of its resource version. A holder that can be seen to be alive (a pod of
//! this namespace that has not ended, a process of this machine) keeps its place; from one that cannot be asked the place is taken, and it
//! ends as soon as it looks again: before its next write, or within a minute.

use std::fs;
use std::sync::Mutex;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::shelf::{Item, Pod, Shelf, ShelfError};
use super::{PREFIX, failed};
use crate::state::StateError;

/// A look that is younger need not be repeated before a write.
const FRESH: Duration = Duration::from_secs(5);
/// Others may take it at the same moment.
const ATTEMPTS: usize = 5;

/// Who holds the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// Never another's.
    pub id: String,
    /// The pod, where it runs in one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// The host's name.
    pub host: String,
    /// This start of the machine; empty in a pod, where process ids mean nothing to others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// The process.
    pub pid: u32,
    /// When the process started, in the kernel's count.
    pub started: String,
    /// Unix milliseconds.
    pub since_ms: u64,
}

impl Holder {
    /// This process. `pod` is its pod's name, if it runs in one of the spoke's namespace.
    pub fn this_process(pod: Option<String>) -> Self {
        let pid = std::process::id();
        let pod = pod.unwrap_or_default();
        let read =
            |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id: format!("{:016x}", fastrand::u64(..)),
            host: read("/proc/sys/kernel/hostname"),
            machine: if pod.is_empty() { read("/proc/sys/kernel/random/boot_id") } else { String::new() },
            pid,
            started: started(pid).unwrap_or_default(),
            since_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            pod,
        }
    }

    /// Whether it was a process of this machine, and is none any more.
    fn has_ended_here(&self) -> bool {
        let this = Self::this_process(None);
        let here = !self.machine.is_empty() && self.machine == this.machine;
        here && started(self.pid).is_none_or(|started| started != self.started)
    }

    /// For people.
    pub fn describe(&self) -> String {
        let since = i64::try_from(self.since_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let since =
            since.map(|at| format!(", since {}", at.strftime("%Y-%m-%dT%H:%M:%SZ"))).unwrap_or_default();
        match self.pod.as_str() {
            "" => format!("process {} on {}{since}", self.pid, self.host),
            pod => format!("pod {pod}{since}"),
        }
    }
}

/// The 22nd field of `stat` says when a process started; the name before it may hold blanks and brackets.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is the second field, so that the first after it is the third: the state.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // One that has ended and was not asked about yet is still listed.
    let lives = !matches!(*fields.first()?, "Z" | "X");
    fields.get(22 - 3).filter(|_| lives).map(|started| (*started).to_owned())
}

/// Our place.
pub struct Owner {
    shelf: Arc<dyn Shelf>,
    id: String,
    looked: Mutex<Instant>,
}

pub(super) fn record() -> String {
    format!("{PREFIX}owner")
}

impl Owner {
    /// Takes the place.
    ///
    /// # Errors
    /// When another has it and is alive, or nothing can be seen.
    pub async fn take(shelf: Arc<dyn Shelf>, holder: Holder) -> Result<Self, StateError> {
        let name = record();
        let place = shelf.place(&name);
        let content = serde_json::to_vec(&holder).expect("a holder always serializes");
        let item = Item { about: "owner".to_owned(), content };
        for _ in 0..ATTEMPTS {
            let found = shelf.get_at(&name).await.map_err(failed("read", &place))?;
            let mut guard = None;
            if let Some((item, version)) = found {
                guard = Some(version);
                if let Ok(other) = serde_json::from_slice::<Holder>(&item.content) {
                    if is_alive(&*shelf, &other, &holder).await? {
                        return Err(StateError::InUse(in_use(&shelf.place(""), &other)));
                    }
                    tracing::info!(before = other.describe(), "the state is taken over");
                }
            }
            match shelf.put_at(&name, &item, guard.as_deref()).await {
                Ok(()) => {
                    return Ok(Self { shelf, id: holder.id, looked: Mutex::new(Instant::now()) });
                }
                Err(ShelfError::Raced) => {}
                Err(error) => return Err(failed("write", &place)(error)),
            }
        }
        Err(StateError::InUse(format!("{place} is taken by others again and again")))
    }

    /// Whether the place is still ours.
    ///
    /// # Errors
    /// [`StateError::InUse`] when it is another's; nothing is concluded from an answer that does not come.
    pub async fn look(&self) -> Result<(), StateError> {
        let name = record();
        // Where somebody removed the record, whoever comes next writes a new one.
        let found = self.shelf.get(&name).await.map_err(failed("read", &self.shelf.place(&name)))?;
        if let Some(other) = found.and_then(|item| serde_json::from_slice::<Holder>(&item.content).ok())
            && other.id != self.id
        {
            return Err(StateError::InUse(in_use(&self.shelf.place(""), &other)));
        }
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Ok(())
    }

    /// As [`Owner::look`], unless that was just now.
    ///
    /// # Errors
    /// As there.
    pub async fn before_a_write(&self) -> Result<(), StateError> {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.elapsed() < FRESH { Ok(()) } else { self.look().await }
    }
}

fn in_use(place: &str, by: &Holder) -> String {
    format!(
        "{place} are in use by another spoke, {}; one spoke runs in a namespace: stop that one, or give this one another --namespace",
        by.describe()
    )
}

/// Who holds the state, and how its pod is, where it runs in one. For whoever looks.
///
/// # Errors
/// When it cannot be seen.
pub async fn holder(shelf: &dyn Shelf) -> Result<Option<(Holder, Option<Pod>)>, StateError> {
    let name = record();
    let found = shelf.get(&name).await.map_err(failed("read", &shelf.place(&name)))?;
    let holder = found.and_then(|item| serde_json::from_slice::<Holder>(&item.content).ok());
    Ok(match holder {
        Some(holder) if !holder.pod.is_empty() => {
            let pod = see(shelf, &holder.pod).await?;
            Some((holder, Some(pod)))
        }
        holder => holder.map(|holder| {
            let ended = holder.has_ended_here().then_some(Pod::Ended);
            (holder, ended)
        }),
    })
}

async fn see(shelf: &dyn Shelf, pod: &str) -> Result<Pod, StateError> {
    shelf.pod(pod).await.map_err(failed("see", &format!("pod {pod}")))
}

/// Whether a holder can be seen to be alive.
async fn is_alive(shelf: &dyn Shelf, other: &Holder, this: &Holder) -> Result<bool, StateError> {
    if !other.pod.is_empty() {
        let same = other.pod == this.pod;
        return Ok(!same && see(shelf, &other.pod).await? != Pod::Ended);
    }
    let here = !other.machine.is_empty() && other.machine == this.machine;
    let is_this = (other.pid, &other.started) == (this.pid, &this.started);
    Ok(here && !is_this && started(other.pid).is_some_and(|started| started == other.started))
}
