//! Unkept: states of remotes that were found and cannot be kept, so that they do not come into effect.
//!
//! In: why one could not be pinned, the time. Out: what is told of it, and when it is tried again.
//! Never: tries again each round what a full disk refuses; holds up a state that only has to be brought again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nave_placement::catalog::{Remote, SourceAt};
use nave_proto::backoff::Backoff;
use tracing::warn;

use crate::sources::{NotHere, Until};

const FIRST: Duration = Duration::from_secs(2);
/// Trying costs a write that fails.
const LONGEST: Duration = Duration::from_secs(60);

/// States that cannot be kept.
#[derive(Debug)]
pub(super) struct Unkept {
    backoff: Backoff,
    states: BTreeMap<Remote, (SourceAt, NotHere)>,
    /// When they are tried again, Unix milliseconds.
    pub due_ms: Option<u64>,
}

impl Default for Unkept {
    fn default() -> Self {
        Self { backoff: Backoff::new(FIRST, LONGEST), states: BTreeMap::new(), due_ms: None }
    }
}

impl Unkept {
    /// A round begins; whether it is time to try again.
    pub fn begin(&mut self, now_ms: u64) -> bool {
        self.due_ms.take_if(|due_ms| *due_ms <= now_ms).is_some()
    }

    /// Whether just this failed, and for want of something of this machine: it waits for its time.
    pub fn waits(&self, remote: &Remote, at: &SourceAt) -> bool {
        let failed = self.states.get(remote);
        failed.is_some_and(|(failed, error)| failed == at && error.until == Until::Mended)
    }

    /// It cannot be kept.
    pub fn add(&mut self, remote: &Remote, at: &SourceAt, error: NotHere, now_ms: u64) {
        if error.until == Until::Mended {
            let backoff = &mut self.backoff;
            self.due_ms.get_or_insert_with(|| {
                let pause = backoff.after_failure(fastrand::f64());
                now_ms.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
            });
        }
        let failed = (at.clone(), error);
        if self.states.get(remote) != Some(&failed) {
            warn!(remote = remote.shown(), state = %at, error = %failed.1, "what was found cannot be kept");
            self.states.insert(remote.clone(), failed);
        }
    }

    /// It is kept, or another state is meant.
    pub fn remove(&mut self, remote: &Remote) {
        self.states.remove(remote);
    }

    /// Only these are meant.
    pub fn retain(&mut self, remotes: &BTreeSet<Remote>) {
        self.states.retain(|remote, _| remotes.contains(remote));
    }

    /// A round ended.
    pub fn settled(&mut self) {
        if !self.states.values().any(|(_, error)| error.until == Until::Mended) {
            self.due_ms = None;
            self.backoff.reset();
        }
    }

    /// Why the newest state of a remote is not in effect; of one that is, whoever renders tells it.
    pub fn complaint(&self, remote: &Remote, in_effect: Option<&SourceAt>) -> Option<String> {
        let (at, error) = self.states.get(remote)?;
        let is_in_effect = in_effect == Some(at);
        if is_in_effect && error.until == Until::Brought || error.is_awaited {
            return None;
        }
        let stays = match in_effect {
            Some(_) if is_in_effect => "it is in effect until that is lost too".to_owned(),
            Some(in_effect) => format!("it stays at {}", in_effect.short()),
            None => "it comes into effect once it is".to_owned(),
        };
        Some(format!("its source is {} now, which cannot be kept: {error}; {stays}", at.short()))
    }
}

#[cfg(test)]
mod tests {
    use nave_placement::catalog::{GitRef, GitRemote};

    use super::*;

    fn remote() -> Remote {
        let url = "https://git.example.com/shop".into();
        Remote::Git(GitRemote { url, reference: GitRef::Default, credentials: None, is_strangers: false })
    }

    #[test]
    fn what_the_machine_cannot_keep_is_told_and_waits_for_its_time() {
        let (one, two): (SourceAt, SourceAt) =
            ("main@1".parse().expect("a state"), "main@2".parse().expect("a state"));
        let (remote, mut unkept) = (remote(), Unkept::default());
        assert!(!unkept.begin(0));
        unkept.add(&remote, &two, "no space is left".to_owned().into(), 0);
        unkept.settled();
        assert!(unkept.waits(&remote, &two) && !unkept.waits(&remote, &one));
        let told = unkept.complaint(&remote, Some(&one)).expect("it is told");
        assert!(told.contains("no space is left") && told.ends_with("it stays at main@1"), "{told}");
        let due_ms = unkept.due_ms.expect("it is tried again");
        assert!(due_ms <= 2_000 && !unkept.begin(due_ms - 1) && unkept.begin(due_ms));
        unkept.remove(&remote);
        unkept.settled();
        assert_eq!((unkept.due_ms, unkept.complaint(&remote, Some(&one))), (None, None));
    }

    #[test]
    fn what_only_has_to_be_brought_again_is_tried_each_round() {
        let at: SourceAt = "main@1".parse().expect("a state");
        let (remote, mut unkept) = (remote(), Unkept::default());
        let lost = |is_awaited| NotHere { why: "it is away".into(), is_awaited, until: Until::Brought };
        unkept.add(&remote, &at, lost(true), 0);
        assert!(!unkept.waits(&remote, &at) && unkept.due_ms.is_none());
        assert_eq!(unkept.complaint(&remote, None), None);
        unkept.add(&remote, &at, lost(false), 0);
        assert_eq!(unkept.complaint(&remote, Some(&at)), None, "whoever renders tells it");
        assert!(unkept.complaint(&remote, None).expect("it is told").contains("it is away"));
    }
}
