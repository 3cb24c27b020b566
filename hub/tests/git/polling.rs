//! The poller as `hub wait` and the deciding stage see it.

use std::time::Duration;

use nave_hub::git::poller::{Observation, run};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::fixture::Scratch;

/// Far longer than the test: only pokes make it poll.
const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_poke_is_followed_by_a_poll_that_sees_what_was_pushed_before() {
    let scratch = Scratch::new();
    let first = scratch.commit(&[("a", "1")], "one");
    let (out, mut seen) = watch::channel(Observation::default());
    let (poke, cancel) = (watch::Sender::new(()), CancellationToken::new());
    let poller = tokio::spawn(run(scratch.local(), NEVER, poke.subscribe(), cancel.clone(), out, || 42));
    let begun = seen.wait_for(|o| o.polls == 1).await.unwrap().clone();
    assert_eq!(begun.head.unwrap().commit, first);
    assert_eq!((begun.last_success, begun.last_attempt, begun.polling), (Some(42), Some(42), false));

    let second = scratch.commit(&[("a", "2")], "two");
    let fresh = seen.borrow().next_fresh();
    poke.send_replace(());
    let after = seen.wait_for(|o| o.polls >= fresh).await.unwrap().clone();
    assert_eq!(after.head.unwrap().commit, second);

    std::fs::rename(scratch.source(), scratch.directory.path().join("away")).unwrap();
    poke.send_replace(());
    let failed = seen.wait_for(|o| o.last_error.is_some()).await.unwrap().clone();
    assert_eq!(failed.head.unwrap().commit, second, "an error takes nothing away");
    std::fs::rename(scratch.directory.path().join("away"), scratch.source()).unwrap();
    poke.send_replace(());
    seen.wait_for(|o| o.last_error.is_none()).await.unwrap();

    cancel.cancel();
    poller.await.unwrap();
    assert!(seen.has_changed().is_err(), "the poller has let go of the watch");
}
