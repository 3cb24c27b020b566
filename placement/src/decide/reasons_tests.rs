//! What reasons say, in words and in JSON.

use super::*;

fn names(text: &str) -> Vec<ClusterName> {
    text.split_whitespace().map(|name| name.parse().expect("a name")).collect()
}

#[test]
fn a_cluster_that_was_passed_over_says_what_would_bring_it_there() {
    let count = Some(Count::Clusters(2));
    let held = |by: &str, others, needs| Reason::PlacesHeld {
        rank: 1,
        of: 9,
        count,
        group: None,
        by: names(by),
        others,
        places: 2,
        needs,
    };
    let group = Some(Group { per: "labels.region".parse().expect("a look"), value: "eu".into() });
    let outranked = |group, needs| Reason::Outranked { rank: 4, of: 9, count, group, needs };
    let rows = [
        (
            held("a b", 0, Some(3)),
            "it is number 1 of 9, and pick.count is 2; the places are held by a and b, which were chosen before and stay",
            "raise pick.count so that 3 are chosen, or drain or exclude one of a and b",
        ),
        (
            held("a", 0, Some(4)),
            "it is number 1 of 9, and pick.count is 2; the place is held by a, which was chosen before and stays",
            "raise pick.count so that 4 are chosen",
        ),
        (
            held("a b", 3, None),
            "it is number 1 of 9, and pick.count is 2; the places are held by a, b and 3 others, which were chosen before and stay",
            "drain or exclude one of a, b and 3 others",
        ),
        (
            outranked(None, None),
            "it is number 4 of 9, and pick.count is 2",
            "raise pick.count so that 4 are chosen; a better rank alone moves nothing",
        ),
        (
            outranked(group, Some(3)),
            "it is number 4 of 9 in labels.region=eu, and pick.count is 2",
            "raise pick.count so that 3 are chosen in each group; a better rank alone moves nothing",
        ),
    ];
    for (reason, message, remedy) in rows {
        assert_eq!((reason.to_string().as_str(), reason.remedy().as_str()), (message, remedy));
    }
}

#[test]
fn a_silent_cluster_says_since_when_and_what_it_waits_for() {
    let leaves = |unheard, returns| {
        let to = "b".parse().expect("a name");
        Reason::Leaves { to, cause: Cause::Unreachable, unheard, returns }
    };
    let silent = |since_ms, limit_ms| Reason::Silent { since_ms, limit_ms };
    let rows = [
        (leaves(true, false), "it is silent; it leaves once it is heard again and b is healthy in its place"),
        (leaves(false, false), "it was silent; it leaves once b is healthy in its place"),
        (leaves(true, true), "it is silent; b stands in for it until it is heard again and healthy"),
        (
            silent(1_800_000_000_000, Some(300_000)),
            "its spoke has been silent since 2027-01-15T08:00:00Z, for longer than 5m",
        ),
        (
            silent(1_709_210_096_000, Some(90_000)),
            "its spoke has been silent since 2024-02-29T12:34:56Z, for longer than 90s",
        ),
        (silent(0, None), "its spoke has been silent for too long, since 1970-01-01T00:00:00Z"),
    ];
    for (reason, message) in rows {
        assert_eq!(reason.to_string(), message);
    }
}

#[test]
fn reasons_that_were_written_before_are_read() {
    let rows = [
        r#"{"type":"Picked","rank":1,"of":2}"#,
        r#"{"type":"Kept","rank":1,"of":2}"#,
        r#"{"type":"Leaves","to":"b","cause":"Drained"}"#,
        r#"{"type":"Silent","sinceMs":1}"#,
        r#"{"type":"Outranked","rank":1,"of":2,"count":{"Clusters":1}}"#,
        r#"{"type":"SpreadRefuses","topologyKey":"labels.region","value":"eu","chosen":1,"fewest":0,"maxSkew":1}"#,
    ];
    for row in rows {
        assert!(serde_json::from_str::<Reason>(row).is_ok(), "{row}");
    }
}

#[test]
fn a_failover_that_is_suspended_says_why() {
    let reason = |until_ms| Reason::FailoverSuspended { silent: 1, of: 4, suspend_above: 20, until_ms };
    let rows = [
        (
            reason(None),
            "it is silent, but nothing fails over while more than 20% of the members are: 1 of 4 are",
            "have fewer members silent, or raise pick.failover.suspendAbove",
        ),
        (
            reason(Some(1_800_000_000_000)),
            "it is silent, but nothing fails over before 2027-01-15T08:00:00Z: the hub has not listened for long enough",
            "it fails over by itself then",
        ),
    ];
    for (reason, message, remedy) in rows {
        assert_eq!((reason.to_string(), reason.remedy()), (message.to_owned(), remedy.to_owned()));
    }
}
