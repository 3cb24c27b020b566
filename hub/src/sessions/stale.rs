//! Stale: how long what a cluster said of itself stands while nothing is heard of it.
//!
//! In: when it was heard of last, the time. Out: whether its facts are unknown by now.
//! Never: forgets a fact: the stored ones stay, are shown, and count again with the next session.

use nave_proto::limits::CERTIFICATE_LIFE;

/// Slow facts of a cluster that is away are what was last observed, and stand: a link that is down for an hour is no reason to
/// doubt that a cluster is where it was. After as long as a certificate lives a spoke that works would have renewed it and
/// been heard of; by then the cluster may as well have been rebuilt. Unknown never removes and never adds, so nothing that
/// was decided changes by it.
const STALE: std::time::Duration = CERTIFICATE_LIFE;

/// Whether facts are unknown by now. A hub that has just started has heard of nobody, which says nothing about anybody: it
/// counts from its start.
pub fn is_stale(connected: bool, seen_ms: Option<u64>, hub_since_ms: u64, now_ms: u64) -> bool {
    let heard_ms = seen_ms.unwrap_or_default().max(hub_since_ms);
    !connected && u128::from(now_ms.saturating_sub(heard_ms)) >= STALE.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_stand_for_a_day_after_the_cluster_was_heard_of_and_after_the_hub_began() {
        const HOUR: u64 = 3_600_000;
        // (connected, seen, the hub's start, now, stale)
        let rows = [
            (true, Some(0), 0, 100 * HOUR, false),
            (false, Some(10 * HOUR), 0, 33 * HOUR, false),
            (false, Some(10 * HOUR), 0, 34 * HOUR, true),
            (false, None, 30 * HOUR, 53 * HOUR, false),
            (false, None, 30 * HOUR, 54 * HOUR, true),
            (false, Some(40 * HOUR), 30 * HOUR, 63 * HOUR, false),
        ];
        for (connected, seen, since, now, stale) in rows {
            assert_eq!(is_stale(connected, seen, since, now), stale, "{connected} {seen:?} {since} {now}");
        }
    }
}
