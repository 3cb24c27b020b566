//! Lost: states that were here before, and are brought again.
//!
//! In: states that somebody looked for in vain. Out: their files, or why they cannot be had; a count that changes with each.
//! Never: brings what nobody asks for any more; takes another state for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use nave_placement::catalog::{Remote, SourceAt};
use tokio::sync::watch;
use tracing::warn;

use super::{NotHere, Sources, Until};
use crate::git::poller::pause;

/// A state.
pub(super) type Lost = (Remote, SourceAt);

/// How it stands with one.
#[derive(Clone, Debug, Default)]
pub(super) struct Lack {
    /// Why it could not be brought last.
    error: Option<String>,
    /// Somebody looked for it since.
    is_asked: bool,
}

impl Sources {
    /// Changes whenever a state was brought again, or could not be: who waits for one looks anew.
    pub fn brought_again(&self) -> watch::Receiver<u64> {
        self.brought_again.subscribe()
    }

    /// Whether a state is being brought of which it is not known yet that it cannot be.
    pub fn is_bringing(&self) -> bool {
        self.lacking.borrow().values().any(|lack| lack.is_asked && lack.error.is_none())
    }

    /// Has a state brought again; says what is known of that.
    pub(super) fn lacks(&self, remote: &Remote, at: &SourceAt) -> NotHere {
        let mut error = None;
        self.lacking.send_if_modified(|all| {
            let before = all.len();
            let lack = all.entry((remote.clone(), at.clone())).or_default();
            lack.is_asked = true;
            error.clone_from(&lack.error);
            all.len() > before
        });
        let mut why = format!("{} of {} is being fetched again", at.short(), remote.shown());
        if let Some(error) = &error {
            why += &format!("; last it could not be: {error}");
        }
        NotHere { why, is_awaited: error.is_none(), until: Until::Brought }
    }

    /// Brings what lacks: at once, and after pauses that grow while it cannot be had and somebody still looks for it.
    pub(super) async fn bring_again(&self, interval: Duration, poked: watch::Receiver<()>) {
        let mut lacking = self.lacking.subscribe();
        let mut failures: BTreeMap<Lost, u32> = BTreeMap::new();
        let mut underway: BTreeSet<Lost> = BTreeSet::new();
        let mut turns = FuturesUnordered::new();
        loop {
            let lost: Vec<Lost> = {
                let lacking = lacking.borrow_and_update();
                failures.retain(|lost, _| lacking.contains_key(lost));
                lacking.keys().filter(|lost| !underway.contains(*lost)).cloned().collect()
            };
            for lost in lost {
                underway.insert(lost.clone());
                let failed = failures.get(&lost);
                let wait = failed.map_or(Duration::ZERO, |failed| pause(interval, *failed, fastrand::f64()));
                turns.push(self.again(lost, wait, poked.clone()));
            }
            tokio::select! {
                changed = lacking.changed() => if changed.is_err() { return },
                Some((lost, ended)) = turns.next() => {
                    underway.remove(&lost);
                    if matches!(ended, Some(Err(_))) {
                        *failures.entry(lost.clone()).or_default() += 1;
                    }
                    self.ended_again(&lost, ended);
                }
            }
        }
    }

    /// Brings one, after a pause that a poke ends; nothing, if nobody looked for it in that time.
    async fn again(
        &self,
        lost: Lost,
        wait: Duration,
        mut poked: watch::Receiver<()>,
    ) -> (Lost, Option<Result<(), String>>) {
        poked.mark_unchanged();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            Ok(()) = poked.changed() => {}
        }
        if !self.lacking.borrow().get(&lost).is_some_and(|lack| lack.is_asked) {
            return (lost, None);
        }
        let (remote, at) = &lost;
        let places = self.places(remote);
        let _place = places.acquire().await;
        let kept = match self.bring(remote, at).await {
            Ok(()) => self.pin(remote, at).await.map_err(|error| error.why),
            Err(error) => Err(error),
        };
        (lost, Some(kept))
    }

    fn ended_again(&self, lost: &Lost, ended: Option<Result<(), String>>) {
        let is_over = ended.is_some();
        self.lacking.send_if_modified(|all| {
            match ended {
                Some(Err(error)) => {
                    warn!(remote = lost.0.shown(), state = %lost.1, error, "it cannot be fetched again");
                    // Whoever still lacks it says so again.
                    all.insert(lost.clone(), Lack { error: Some(error), is_asked: false });
                }
                Some(Ok(())) => drop(all.remove(lost)),
                // Somebody may have asked just now.
                None if all.get(lost).is_some_and(|lack| !lack.is_asked) => drop(all.remove(lost)),
                None => {}
            }
            false
        });
        if is_over {
            self.brought_again.send_modify(|times| *times += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use nave_placement::catalog::{GitRef, GitRemote};

    use super::*;
    use crate::sources::{Followed, Remotes as _};

    /// A state of a repository that nobody serves.
    fn lost() -> Lost {
        let url = "http://127.0.0.1:1/shop".into();
        let remote = Remote::Git(GitRemote {
            url,
            reference: GitRef::Default,
            credentials: None,
            is_strangers: false,
        });
        (remote, format!("main@{}", "6f3e".repeat(10)).parse().expect("a state"))
    }

    #[tokio::test]
    async fn whoever_waits_for_a_state_hears_that_it_cannot_be_brought_and_it_is_tried_while_somebody_looks()
    {
        let room = tempfile::tempdir().expect("a directory");
        let sources = Sources::new(room.path().to_owned(), Vec::new());
        let (remote, at) = lost();
        let mut again = sources.brought_again();
        let poke = watch::Sender::new(());
        let looks = async {
            let told = Followed(&sources).files(&remote, Some(&at)).await.err().expect("it is lost");
            assert!(told.is_awaited && told.until == Until::Brought && sources.is_bringing(), "{told}");
            again.changed().await.expect("it is tried");
            assert!(!sources.is_bringing());
            let told = Followed(&sources).files(&remote, Some(&at)).await.err().expect("it is lost");
            assert!(!told.is_awaited && told.why.contains("last it could not be"), "{told}");
            poke.send_replace(());
            again.changed().await.expect("it is tried again");
            // Nobody looks for it any more.
            let mut lacking = sources.lacking.subscribe();
            while !lacking.borrow_and_update().is_empty() {
                poke.send_replace(());
                tokio::task::yield_now().await;
            }
            assert!(!again.has_changed().expect("it is there"));
        };
        tokio::select! {
            () = looks => {}
            () = sources.bring_again(Duration::from_secs(3_600), poke.subscribe()) => {}
        }
    }
}
