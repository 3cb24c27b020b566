//! Following: which state every remote is in, asked again and again.
//!
//! In: the remotes that are wanted, an interval, pokes. Out: [`Observed`], which changes when one of them moved or failed otherwise.
//! Each is asked by itself; those of one host share a few places, so that a host that does not answer delays only its own.
//! Never: ends by itself, spawns, or forgets a state because asking failed.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use nave_placement::catalog::{Remote, SourceAt};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{NotHere, Sources, Until, Wanted};
use crate::git::poller::pause;

/// As many remotes of one host are asked at a time.
const OF_A_HOST: usize = 4;

/// What is known of remotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed(pub BTreeMap<Remote, Seen>);

/// What is known of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its state, as of the last success.
    pub at: Option<SourceAt>,
    /// Why it could not be told last; absent when it could.
    pub error: Option<String>,
}

impl Observed {
    /// Why the files of one are not at hand.
    pub(super) fn why_not(&self, remote: &Remote) -> NotHere {
        match self.0.get(remote).and_then(|seen| seen.error.as_ref()) {
            Some(error) => NotHere { why: error.clone(), is_awaited: false, until: Until::Asked },
            None => NotHere {
                why: format!("{} is being fetched", remote.shown()),
                is_awaited: true,
                until: Until::Asked,
            },
        }
    }
}

/// How often a remote was asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// Answers, and failures.
    ended: u64,
    /// It is being asked.
    is_underway: bool,
}

/// What a turn ended with; what was poked since it began to ask is still to be heard.
type Turn<'a> = BoxFuture<'a, (Remote, Result<SourceAt, String>, watch::Receiver<()>)>;

impl Sources {
    /// Follows what is wanted until cancelled: each remote every `interval` ± 20 %, at once when poked, more and more rarely while it
    /// fails. One that cannot move is asked until it answered once, and never if its state was taken before. What was lost is brought again with the same pauses.
    pub async fn follow(&self, interval: Duration, poked: watch::Receiver<()>, cancel: CancellationToken) {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.ask(interval, poked.clone()) => {}
            () = self.bring_again(interval, poked) => {}
        }
    }

    async fn ask(&self, interval: Duration, poked: watch::Receiver<()>) {
        let mut wanted = self.wanted.subscribe();
        let mut failures: BTreeMap<Remote, (u32, watch::Receiver<()>)> = BTreeMap::new();
        // Whom a word to it makes ask at once.
        let mut underway: BTreeMap<Remote, watch::Sender<()>> = BTreeMap::new();
        let mut before = Arc::new(Wanted::new());
        let mut turns: FuturesUnordered<Turn<'_>> = FuturesUnordered::new();
        loop {
            let now = wanted.borrow_and_update().clone();
            self.forget(&now);
            failures.retain(|remote, _| now.contains_key(remote));
            for (remote, taken) in now.iter() {
                if let Some(taken) = taken.as_ref().filter(|_| !self.is_known(remote)) {
                    self.see(remote, Ok(taken.clone()));
                }
                if let Some(wake) = underway.get(remote) {
                    if !before.contains_key(remote) {
                        // It is wanted again within its last pause.
                        wake.send_replace(());
                    }
                    continue;
                }
                if remote.is_fixed() && self.is_known(remote) {
                    continue;
                }
                let wake = watch::Sender::new(());
                let woken = wake.subscribe();
                underway.insert(remote.clone(), wake);
                let (wait, poked) = match failures.get(remote) {
                    Some((failures, poked)) => (pause(interval, *failures, fastrand::f64()), poked.clone()),
                    None => (Duration::ZERO, poked.clone()),
                };
                turns.push(self.turn(remote.clone(), wait, poked, woken));
            }
            before = now.clone();
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                Some((remote, told, poked)) = turns.next() => {
                    let asked = remote.clone();
                    underway.remove(&remote);
                    if now.contains_key(&remote) {
                        let failed = failures.get(&remote).map_or(0, |(failed, _)| *failed);
                        let failed = if told.is_ok() { 0 } else { failed.saturating_add(1) };
                        failures.insert(remote.clone(), (failed, poked));
                        self.see(&remote, told);
                    }
                    self.ended(&asked, &now);
                }
            }
        }
    }

    /// Ends when each remote that is followed now was asked after now, if it is asked again at all. Then a poke before it is awaited
    /// has shown what was there before.
    pub fn asked_anew(&self) -> impl Future<Output = ()> + use<> {
        let wanted = self.wanted.borrow().clone();
        let next = {
            let rounds = self.rounds.borrow();
            let next = |remote: &Remote| {
                let Round { ended, is_underway } = rounds.get(remote).copied().unwrap_or_default();
                (remote.clone(), ended + 1 + u64::from(is_underway))
            };
            let asked = wanted.keys().filter(|remote| !(remote.is_fixed() && self.is_known(remote)));
            asked.map(next).collect::<BTreeMap<Remote, u64>>()
        };
        let mut rounds = self.rounds.subscribe();
        async move {
            let reached = |rounds: &BTreeMap<Remote, Round>| {
                // One that is not wanted any more is not waited for.
                next.iter().all(|(remote, next)| rounds.get(remote).is_none_or(|round| round.ended >= *next))
            };
            let _ = rounds.wait_for(reached).await;
        }
    }

    fn is_known(&self, remote: &Remote) -> bool {
        self.observed.borrow().0.get(remote).is_some_and(|seen| seen.at.is_some())
    }

    /// The places of a remote's host.
    pub(super) fn places(&self, remote: &Remote) -> Arc<Semaphore> {
        // It guards plain insertions, so a panic elsewhere cannot have left it half-changed.
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.entry(host(remote)).or_insert_with(|| Arc::new(Semaphore::new(OF_A_HOST))).clone()
    }

    /// Asks one, after a pause that a poke ends, or that it is wanted again.
    fn turn<'a>(
        &'a self,
        remote: Remote,
        wait: Duration,
        mut poked: watch::Receiver<()>,
        mut woken: watch::Receiver<()>,
    ) -> Turn<'a> {
        async move {
            let poke = async {
                if poked.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = poke => {}
                Ok(()) = woken.changed() => {}
            }
            let places = self.places(&remote);
            let _place = places.acquire().await;
            poked.mark_unchanged();
            self.rounds.send_modify(|rounds| rounds.entry(remote.clone()).or_default().is_underway = true);
            let told = self.resolve(&remote).await;
            (remote, told, poked)
        }
        .boxed()
    }

    fn see(&self, remote: &Remote, told: Result<SourceAt, String>) {
        self.observed.send_if_modified(|observed| {
            let before = observed.0.get(remote).cloned().unwrap_or_default();
            let seen = match told {
                Ok(at) => Seen { at: Some(at), error: None },
                Err(error) => Seen { at: before.at.clone(), error: Some(error) },
            };
            let differs = seen != before;
            if differs {
                Arc::make_mut(observed).0.insert(remote.clone(), seen);
            }
            differs
        });
    }

    fn ended(&self, remote: &Remote, wanted: &Wanted) {
        self.rounds.send_modify(|rounds| {
            rounds.retain(|remote, _| wanted.contains_key(remote));
            if let Some(round) = rounds.get_mut(remote) {
                *round = Round { ended: round.ended + 1, is_underway: false };
            }
        });
    }

    /// What is not wanted any more is not known either: when it is wanted again, it is asked first.
    fn forget(&self, wanted: &Wanted) {
        self.observed.send_if_modified(|observed| {
            let differs = observed.0.keys().any(|remote| !wanted.contains_key(remote));
            if differs {
                Arc::make_mut(observed).0.retain(|remote, _| wanted.contains_key(remote));
            }
            differs
        });
    }
}

fn host(remote: &Remote) -> String {
    let url = match remote {
        Remote::Git(remote) => &remote.url,
        Remote::Chart(name) => &name.repository,
    };
    crate::git::host(url).unwrap_or_else(|| url.to_string())
}

#[cfg(test)]
mod tests {
    use nave_placement::catalog::{ChartName, GitRef, GitRemote};

    use super::*;

    /// A chart of a repository that nobody serves.
    fn chart(version: &str) -> Remote {
        let (repository, chart) = ("http://127.0.0.1:1/stable".into(), "web".into());
        Remote::Chart(ChartName {
            repository,
            chart,
            version: version.parse().expect("a range"),
            is_strangers: false,
        })
    }

    async fn follow(sources: &Sources, poke: &watch::Sender<()>) {
        sources.follow(Duration::from_secs(3_600), poke.subscribe(), CancellationToken::new()).await;
    }

    #[test]
    fn remotes_of_one_server_share_its_places_however_they_are_reached() {
        // (URL, its host)
        let rows = [
            ("https://git.example.com/a", "git.example.com"),
            ("https://GIT.example.com:8443/a", "git.example.com"),
            ("ssh://git@git.example.com:22/a", "git.example.com"),
            ("git@git.example.com:a/b", "git.example.com"),
            ("oci://[2001:db8::1]:5000/a", "[2001:db8::1]"),
            ("http://[2001:db8::1]/a", "[2001:db8::1]"),
        ];
        for (url, expected) in rows {
            let git = GitRemote {
                url: url.into(),
                reference: GitRef::Default,
                credentials: None,
                is_strangers: false,
            };
            assert_eq!(host(&Remote::Git(git)), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn what_is_wanted_again_is_asked_at_once() {
        let room = tempfile::tempdir().expect("a directory");
        let (sources, poke) = (Sources::new(room.path().to_owned(), Vec::new()), watch::Sender::new(()));
        let mut observed = sources.observed();
        let again = async {
            // It fails each time, and its pause is an hour.
            for _ in 0..3 {
                sources.want([chart("^1")].into(), &BTreeMap::new());
                observed.wait_for(|observed| observed.0.len() == 1).await.expect("it is asked");
                sources.want([].into(), &BTreeMap::new());
                observed.wait_for(|observed| observed.0.is_empty()).await.expect("it is forgotten");
            }
        };
        tokio::select! {
            () = again => {}
            () = follow(&sources, &poke) => {}
        }
    }

    #[tokio::test]
    async fn what_is_the_same_for_ever_and_was_taken_is_asked_by_nobody() {
        let room = tempfile::tempdir().expect("a directory");
        let (sources, poke) = (Sources::new(room.path().to_owned(), Vec::new()), watch::Sender::new(()));
        let [fixed, other, range] = ["1.2.3", "1.2.4", "^1"].map(chart);
        let at: SourceAt = "1.2.3@sha256:6f3e".parse().expect("a state");
        let taken = [&fixed, &range].map(|remote| (remote.id(), at.clone())).into();
        sources.want([&fixed, &other, &range].map(Clone::clone).into(), &taken);
        let mut observed = sources.observed();
        let told = async {
            let told = observed.wait_for(|observed| observed.0.len() == 3).await.expect("they are told");
            assert_eq!(told.0[&fixed], Seen { at: Some(at.clone()), error: None });
            for asked in [&other, &range] {
                assert!(told.0[asked].at.is_none() && told.0[asked].error.is_some(), "{}", asked.shown());
            }
        };
        tokio::select! {
            () = told => {}
            () = follow(&sources, &poke) => {}
        }
    }
}
