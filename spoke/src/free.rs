//! Free: what the cluster has left, rounded, so that not every pod that comes or goes is news.
//!
//! In: a target. Out: amounts of two digits, downwards; another only where the real one is 5 % away from what was said.
//! Never: asks more than once a minute; says an amount that it could not ask for.

use std::sync::Arc;
use std::time::Duration;

use nave_placement::fleet::Resources;
use nave_proto::backoff::jittered;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::target::Target;

/// Between two looks; a fifth less, as it is jittered, is a minute.
const PERIOD: Duration = Duration::from_secs(75);
/// The more there is to look at, the rarer: 5,000 nodes and pods make a period, some 50 requests; 100,000 make 25 minutes.
const PER_OBJECT: Duration = Duration::from_millis(15);
/// After a look that came to nothing: it may not be allowed, and would not be the next minute either.
const UNKNOWN: Duration = Duration::from_secs(300);
/// Each request of a look has its own limit; this one is for the pages of the largest cluster.
const LOOK: Duration = Duration::from_secs(300);
/// One part in so many of what was said is no news.
const HYSTERESIS: u128 = 20;

/// Asks until cancelled. A target that never can tell is asked all the same: it costs nothing there.
pub async fn run(target: Arc<dyn Target>, free: watch::Sender<Option<Resources>>, cancel: CancellationToken) {
    let ask = async {
        loop {
            let seen = timeout(LOOK, target.free()).await.ok().flatten();
            let pause = seen.as_ref().map_or(UNKNOWN, |seen| {
                PERIOD.max(PER_OBJECT.saturating_mul(u32::try_from(seen.objects).unwrap_or(u32::MAX)))
            });
            free.send_if_modified(|said| {
                let next = seen.map(|seen| say(said.as_ref(), &seen.amounts));
                let news = *said != next;
                *said = next;
                news
            });
            sleep(jittered(pause, fastrand::f64())).await;
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = ask => {}
    }
}

/// What is to be said, after what was said.
fn say(said: Option<&Resources>, seen: &Resources) -> Resources {
    let other = seen.other.iter().map(|(name, amount)| {
        let before = said.and_then(|said| said.other.get(name).copied());
        (name.clone(), keep(before, *amount))
    });
    Resources {
        cpu_millis: keep(said.map(|said| said.cpu_millis), seen.cpu_millis),
        memory: keep(said.map(|said| said.memory), seen.memory),
        other: other.collect(),
    }
}

/// What was said, as long as it is near enough; else the amount, rounded.
fn keep(said: Option<u64>, amount: u64) -> u64 {
    let near = |said: &u64| u128::from(said.abs_diff(amount)) * HYSTERESIS < u128::from(*said);
    said.filter(near).unwrap_or_else(|| rounded(amount))
}

/// Two digits, and nothing that is not there.
fn rounded(amount: u64) -> u64 {
    let mut unit = 1;
    while amount / unit >= 100 {
        unit *= 10;
    }
    amount / unit * unit
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn amounts_are_of_two_digits_and_never_more_than_there_is() {
        let rows = [
            (0, 0),
            (7, 7),
            (99, 99),
            (100, 100),
            (127, 120),
            (1_999, 1_900),
            (u64::MAX, 18_000_000_000_000_000_000),
        ];
        for (amount, expected) in rows {
            assert_eq!(rounded(amount), expected, "{amount}");
        }
    }

    #[test]
    fn an_amount_near_what_was_said_is_no_news() {
        // (said, amount, said next)
        let rows = [
            (None, 104, 100),
            (Some(100), 104, 100),
            (Some(100), 96, 100),
            (Some(100), 95, 95),
            (Some(100), 109, 100),
            (Some(100), 110, 110),
            // The amount wavers at a step: what was said stays.
            (Some(110), 109, 110),
            (Some(8), 8, 8),
            (Some(8), 7, 7),
            (Some(0), 1, 1),
            (Some(0), 0, 0),
            (Some(1), 0, 0),
        ];
        for (said, amount, expected) in rows {
            assert_eq!(keep(said, amount), expected, "{said:?} {amount}");
        }
    }

    /// Whatever an amount does, what is said of it is never far from it, and saying it twice changes nothing.
    #[test]
    fn what_is_said_stays_near_the_amount() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let (mut said, mut amount) = (None, random.u64(0..1 << 40));
            for _ in 0..100 {
                let next = keep(said, amount);
                assert_eq!(keep(Some(next), amount), next, "{said:?} {amount}");
                // Above by less than the hysteresis of what is said, below by the rounding, a tenth at most, or by both.
                assert!(u128::from(next) * 19 <= u128::from(amount) * 20, "{next} is said of {amount}");
                assert!(u128::from(next) * 10 + 10 >= u128::from(amount) * 9, "{next} is said of {amount}");
                said = Some(next);
                let step = random.u64(0..=amount / 10 + 2);
                amount =
                    if random.bool() { amount.saturating_add(step) } else { amount.saturating_sub(step) };
            }
        }
    }

    #[test]
    fn each_resource_is_said_for_itself() {
        let resources = |cpu_millis, gpus: Option<u64>| Resources {
            cpu_millis,
            memory: 1 << 30,
            other: gpus.map(|n| ("nvidia.com/gpu".to_owned(), n)).into_iter().collect::<BTreeMap<_, _>>(),
        };
        let first = say(None, &resources(4_321, Some(8)));
        assert_eq!(
            (first.cpu_millis, first.memory, first.other["nvidia.com/gpu"]),
            (4_300, 1_000_000_000, 8)
        );
        let second = say(Some(&first), &resources(4_290, Some(6)));
        assert_eq!((second.cpu_millis, second.other["nvidia.com/gpu"]), (4_300, 6));
        assert!(say(Some(&second), &resources(4_290, None)).other.is_empty());
    }
}
