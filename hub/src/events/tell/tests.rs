//! What is told, by rows: what was seen at each look, and the events that it brings.

use std::collections::BTreeMap;

use super::*;
use crate::events::OfRollout;
use crate::events::seen::{Fault, RolloutSeen};
use crate::events::tally::Cause;

const MANY: usize = 100;

fn commit(name: &str) -> CommitId {
    CommitId(format!("{name:0<8}").into())
}

fn cluster(name: &str) -> ClusterName {
    name.parse().expect("a name")
}

fn web() -> AppKey {
    "web".parse().expect("a name")
}

/// A hub that has decided about a commit, and one connected cluster.
fn seen(head: &str) -> Seen {
    Seen {
        now_ms: 1_000,
        root_name: Some(web().catalog),
        root: CatalogSeen { commit: Some(commit(head)), faults: Vec::new() },
        is_decided: true,
        is_lit: true,
        contacts: BTreeMap::from([(cluster("fra-1"), Contact::Here)]),
        ..Seen::default()
    }
}

fn with_app(seen: Seen, app: AppSeen) -> Seen {
    Seen { apps: BTreeMap::from([(web(), app)]), ..seen }
}

/// An app that is healthy at a version.
fn well(version: &str) -> AppSeen {
    AppSeen {
        version: Some((Digest::of(version.as_bytes()), commit(version))),
        clusters: 1,
        is_well: true,
        ..AppSeen::default()
    }
}

/// An app that fails on so many clusters.
fn failing(version: &str, clusters: usize) -> AppSeen {
    let cause = Cause { commit: commit(version), reason: "Stuck".into(), object: None };
    let on = Clusters { total: clusters, names: vec![cluster("fra-1")] };
    AppSeen { is_well: false, failing: BTreeMap::from([(cause, (on, String::new()))]), ..well(version) }
}

fn rolling(stage: Option<Stage>) -> AppSeen {
    let of = OfRollout {
        group: Vec::new(),
        app: web(),
        rollout: "web@1.1".into(),
        commit: commit("b"),
        catalog: None,
        wave: None,
        detail: "why".into(),
    };
    let rollout = RolloutSeen { stand: (of.rollout.clone(), stage), of };
    AppSeen { is_well: false, rollout: Some(rollout), ..well("a") }
}

fn unfinished(seen: Seen, commits: &[&str]) -> Seen {
    unfinished_of(seen, &web().catalog, commits)
}

/// Something of these commits of a catalog is not as it shall be.
fn unfinished_of(seen: Seen, catalog: &CatalogName, commits: &[&str]) -> Seen {
    let of = |name: &&str| (catalog.clone(), commit(name));
    Seen { unfinished: commits.iter().map(of).collect(), ..seen }
}

/// What is told at each look, as `Kind subject`.
fn told(looks: &[Seen]) -> Vec<Vec<String>> {
    let mut conditions = Conditions::default();
    let mut all = Vec::new();
    for seen in looks {
        let (next, events) = tell(&conditions, seen, MANY);
        // Whoever looks again sees nothing new, also after what was told was stored and read.
        let json = serde_json::to_vec(&next).expect("it is so");
        conditions = serde_json::from_slice(&json).expect("it is so");
        let (same, nothing) =
            tell(&conditions, &Seen { apps: without_corrections(seen), ..seen.clone() }, MANY);
        assert_eq!((&same, nothing), (&conditions, Vec::new()), "{seen:?}");
        all.push(events.iter().map(|event| format!("{} {}", event.kind(), event.subject())).collect());
    }
    all
}

/// That drift was put back is seen once.
fn without_corrections(seen: &Seen) -> BTreeMap<AppKey, AppSeen> {
    let apps = seen.apps.iter();
    apps.map(|(app, seen)| (app.clone(), AppSeen { corrected: Clusters::default(), ..seen.clone() }))
        .collect()
}

#[track_caller]
fn check(looks: &[(Seen, &[&str])]) {
    let given: Vec<Seen> = looks.iter().map(|(seen, _)| seen.clone()).collect();
    for (at, (events, (_, expected))) in told(&given).iter().zip(looks).enumerate() {
        assert_eq!(events, expected, "look {at}");
    }
}

#[test]
fn a_commit_waits_for_what_is_to_go_since_it_came() {
    let moving = |of: &str, moving| with_app(seen(of), AppSeen { moving, ..well("v") });
    check(&[
        (seen("a"), &["Taken commit a0000000", "Converged commit a0000000"]),
        (moving("b", 2), &["Taken commit b0000000", "Converged app web"]),
        (moving("b", 1), &[]),
        // What was there before is none of the next one's; what is more is.
        (moving("c", 1), &["Taken commit c0000000", "Converged commit c0000000"]),
        (moving("d", 3), &["Taken commit d0000000"]),
        (moving("d", 0), &["Converged commit b0000000", "Converged commit d0000000"]),
    ]);
}

#[test]
fn a_commit_is_taken_then_its_app_is_healthy_then_all_of_it_is() {
    let undecided = Seen { is_decided: false, ..seen("a") };
    let underway = with_app(unfinished(seen("a"), &["a"]), AppSeen { is_well: false, ..well("a") });
    check(&[
        (Seen::default(), &[]),
        (undecided, &["Taken commit a0000000"]),
        (underway, &[]),
        (with_app(seen("a"), well("a")), &["Converged app web", "Converged commit a0000000"]),
        (with_app(seen("a"), well("a")), &[]),
        // A commit that changes nothing of the app.
        (with_app(seen("b"), well("a")), &["Taken commit b0000000", "Converged commit b0000000"]),
    ]);
}

#[test]
fn a_commit_is_not_converged_before_those_that_came_after_it_are_if_they_took_its_place() {
    check(&[
        (unfinished(seen("a"), &["a"]), &["Taken commit a0000000"]),
        // Nothing is left of the first, but nobody has the second yet.
        (unfinished(seen("b"), &["b"]), &["Taken commit b0000000"]),
        (seen("b"), &["Converged commit a0000000", "Converged commit b0000000"]),
    ]);
    check(&[
        (unfinished(seen("a"), &["a"]), &["Taken commit a0000000"]),
        // The first still waits, and the second is about something else.
        (unfinished(seen("b"), &["a"]), &["Taken commit b0000000", "Converged commit b0000000"]),
        (seen("b"), &["Converged commit a0000000"]),
    ]);
}

#[test]
fn a_storm_is_told_by_its_cause_again_when_it_is_ten_times_as_large_and_over_when_all_is_well() {
    let at = |clusters| with_app(unfinished(seen("a"), &["a"]), failing("a", clusters));
    let between = with_app(unfinished(seen("a"), &["a"]), AppSeen { is_well: false, ..well("a") });
    check(&[
        (
            with_app(seen("a"), well("a")),
            &["Taken commit a0000000", "Converged app web", "Converged commit a0000000"],
        ),
        (at(1), &["Failed app web"]),
        (at(9), &[]),
        (at(10), &["Failed app web"]),
        (at(99), &[]),
        (at(10_000), &["Failed app web"]),
        // It comes and goes.
        (between, &[]),
        (at(3), &[]),
        (with_app(seen("a"), well("a")), &["Converged app web", "Converged commit a0000000"]),
        (at(1), &["Failed app web"]),
    ]);
}

#[test]
fn a_rollout_is_told_where_it_stands_and_a_new_hub_that_does_not_know_yet_says_nothing() {
    let at = |stage: Option<Stage>| with_app(unfinished(seen("b"), &["b"]), rolling(stage));
    let waits = || Stage::AwaitsApproval { wave: "rest".into() };
    let later = Stage::AwaitsApproval { wave: "last".into() };
    let mut back = with_app(unfinished(seen("b"), &["b"]), AppSeen { is_well: false, ..well("a") });
    let ended = rolling(None).rollout.expect("it is so").of;
    if let Some(app) = back.apps.get_mut(&web()) {
        // What ended before anything was told is history.
        app.ended = vec![(900, ended.clone()), (1_001, ended)];
    }
    check(&[
        (at(Some(Stage::Goes)), &["Taken commit b0000000"]),
        (at(Some(waits())), &["AwaitsApproval rollout web@1.1"]),
        (at(None), &[]),
        (at(Some(waits())), &[]),
        (at(Some(Stage::Goes)), &[]),
        (at(Some(later)), &["AwaitsApproval rollout web@1.1"]),
        (at(Some(Stage::Halted)), &["RolloutHalted rollout web@1.1"]),
        (at(Some(Stage::RollingBack)), &["RollingBack rollout web@1.1"]),
        (back, &["RolledBack rollout web@1.1"]),
    ]);
}

#[test]
fn what_was_taken_back_stays_a_failure_whatever_comes_of_those_after_it() {
    let of = || rolling(None).rollout.expect("it has one").of;
    let back = AppSeen { ended: vec![(2_000, of())], is_well: false, ..well("a") };
    let blocked = with_app(unfinished(Seen { now_ms: 3_000, ..seen("b") }, &["b"]), back.clone());
    let next = with_app(
        unfinished(Seen { now_ms: 4_000, ..seen("c") }, &["c"]),
        AppSeen { is_well: false, ..well("c") },
    );
    let mended = with_app(Seen { now_ms: 5_000, ..seen("c") }, well("c"));
    let underway = with_app(unfinished(seen("b"), &["b"]), AppSeen { is_well: false, ..well("a") });
    check(&[
        (underway, &["Taken commit b0000000"]),
        (blocked, &["RolledBack rollout web@1.1"]),
        (next, &["Taken commit c0000000"]),
        (mended, &["Converged app web", "Converged commit c0000000"]),
    ]);
}

#[test]
fn holds_come_and_go_and_their_commit_is_not_converged_meanwhile() {
    let hold = OfHold {
        hold: "h-1".into(),
        commit: commit("a"),
        app: Some(web()),
        catalog: None,
        clusters: Clusters::of([&cluster("fra-1")]),
        detail: "too much".into(),
    };
    let held = Seen { holds: BTreeMap::from([("h-1".into(), hold)]), ..unfinished(seen("a"), &["a"]) };
    check(&[
        (seen("a"), &["Taken commit a0000000", "Converged commit a0000000"]),
        (held, &["Held hold h-1"]),
        (seen("a"), &["HoldEnded hold h-1", "Converged commit a0000000"]),
    ]);
}

#[test]
fn drift_appears_and_ends_and_what_is_put_back_is_told_now_and_then() {
    let drifting = |total: usize| {
        let names = vec![cluster("fra-1"); total.min(1)];
        with_app(seen("a"), AppSeen { drifting: Clusters { total, names }, is_well: false, ..well("a") })
    };
    let corrected = |now_ms| {
        let app = AppSeen { corrected: Clusters::of([&cluster("fra-1")]), is_well: false, ..well("a") };
        Seen { now_ms, ..with_app(seen("a"), app) }
    };
    check(&[
        (drifting(0), &["Taken commit a0000000", "Converged commit a0000000"]),
        (drifting(1), &["Drifted app web"]),
        (drifting(5), &[]),
        (drifting(0), &["DriftEnded app web"]),
        (corrected(2_000), &["Drifted app web"]),
        (corrected(3_000), &[]),
        (corrected(2_000 + CORRECTED_MS), &["Drifted app web"]),
    ]);
}

#[test]
fn clusters_go_and_come_together_and_who_is_worked_on_is_silent() {
    let at = |contacts: &[(&str, Contact)]| Seen {
        contacts: contacts.iter().map(|(name, contact)| (cluster(name), *contact)).collect(),
        ..seen("a")
    };
    use Contact::{Away, Here, Maintained, Unsure};
    check(&[
        (
            at(&[("a", Here), ("b", Here), ("c", Here)]),
            &["Taken commit a0000000", "Converged commit a0000000"],
        ),
        (at(&[("a", Unsure), ("b", Here), ("c", Here)]), &[]),
        (at(&[("a", Away), ("b", Away), ("c", Maintained)]), &["ClusterOffline 2 clusters"]),
        (at(&[("a", Away), ("b", Here), ("c", Maintained)]), &["ClusterBack cluster b"]),
        // The maintenance of one begins, that of another ends; a third is removed.
        (at(&[("a", Maintained), ("c", Away)]), &["ClusterOffline cluster c"]),
        (at(&[("a", Here), ("c", Here)]), &["ClusterBack cluster c"]),
    ]);
}

#[test]
fn certificates_that_are_not_renewed_are_told_once() {
    let expiring = |contact: Contact, until_ms: Option<u64>| Seen {
        contacts: BTreeMap::from([(cluster("fra-1"), contact)]),
        expiring: until_ms.map(|until_ms| (cluster("fra-1"), until_ms)).into_iter().collect(),
        ..unfinished(seen("a"), &["a"])
    };
    let ca = Seen { ca_until_ms: Some(9), ..expiring(Contact::Here, None) };
    check(&[
        (expiring(Contact::Here, Some(5)), &["Taken commit a0000000", "CertificateNearExpiry cluster fra-1"]),
        (expiring(Contact::Unsure, None), &[]),
        (expiring(Contact::Here, Some(5)), &[]),
        (expiring(Contact::Here, None), &[]),
        (expiring(Contact::Here, Some(7)), &["CertificateNearExpiry cluster fra-1"]),
        (ca, &["CertificateNearExpiry the fleet's CA"]),
    ]);
}

#[test]
fn a_mistake_in_the_catalog_is_the_failure_of_its_commit() {
    let fault = Fault { app: None, detail: "web.yaml:1:1: no".into() };
    let wrong = |head: &str| {
        let root = CatalogSeen { commit: Some(commit(head)), faults: vec![fault.clone()] };
        Seen { root, ..unfinished(seen(head), &[head]) }
    };
    check(&[
        (wrong("a"), &["Taken commit a0000000", "Failed commit a0000000"]),
        (wrong("b"), &["Taken commit b0000000", "Failed commit b0000000"]),
        (seen("c"), &["Taken commit c0000000", "Converged commit c0000000"]),
    ]);
}

#[test]
fn mistakes_that_a_hub_told_before_apps_were_told_apart_are_told_once() {
    let known = r#"{"begunMs": 1, "head": "b0000000", "open": ["b0000000"], "lost": ["b0000000"], "faulty": "b0000000"}"#;
    let known: Conditions = serde_json::from_str(known).expect("as it was kept");
    let fault = |app| Fault { app, detail: "no".into() };
    let faults = vec![fault(Some(web())), fault(None)];
    let wrong = |faults| {
        let root = CatalogSeen { commit: Some(commit("b")), faults };
        Seen { root, ..unfinished(seen("b"), &["b"]) }
    };
    let (now, events) = tell(&known, &wrong(faults.clone()), MANY);
    assert_eq!((events, now.root.faults.len()), (Vec::new(), 2));
    // Another one is news.
    let more = faults.into_iter().chain([fault(Some("api".parse().expect("a name")))]).collect();
    assert_eq!(tell(&now, &wrong(more), MANY).1.len(), 1);
}

#[test]
fn each_app_that_is_a_mistake_is_told_by_itself_and_that_it_is_well_again() {
    let api: AppKey = "api".parse().expect("a name");
    let fault = |app: AppKey| Fault { app: Some(app), detail: "no".into() };
    let wrong = |head: &str, faults: Vec<Fault>| {
        let root = CatalogSeen { commit: Some(commit(head)), faults };
        Seen { root, ..with_app(unfinished(seen(head), &[head]), well("a")) }
    };
    check(&[
        (
            with_app(seen("a"), well("a")),
            &["Taken commit a0000000", "Converged app web", "Converged commit a0000000"],
        ),
        (
            wrong("b", vec![fault(web()), fault(api.clone())]),
            &["Taken commit b0000000", "Failed app web", "Failed app api"],
        ),
        // One is mended and wrong again meanwhile: that is told once.
        (wrong("b", vec![fault(api.clone())]), &["Converged app web"]),
        (wrong("b", vec![fault(web()), fault(api)]), &[]),
        // It is taken back: the app has the version that it had before.
        (with_app(seen("c"), well("a")), &["Taken commit c0000000", "Converged commit c0000000"]),
    ]);
}

#[test]
fn an_app_that_is_back_at_what_it_was_is_well_again() {
    let of = rolling(None).rollout.expect("it has one").of;
    let underway = with_app(unfinished(seen("b"), &["b"]), failing("a", 1));
    let back = AppSeen { ended: vec![(2_000, of)], ..well("a") };
    check(&[
        (
            with_app(seen("a"), well("a")),
            &["Taken commit a0000000", "Converged app web", "Converged commit a0000000"],
        ),
        (underway, &["Taken commit b0000000", "Failed app web"]),
        (with_app(unfinished(seen("b"), &["b"]), back), &["RolledBack rollout web@1.1", "Converged app web"]),
    ]);
}

#[test]
fn each_catalog_s_commits_are_told_by_themselves() {
    let team: CatalogName = "team-a".parse().expect("a name");
    let at = |root: &str, own: Option<&str>, fault: Option<&Fault>| {
        let tenant = CatalogSeen { commit: own.map(commit), faults: fault.cloned().into_iter().collect() };
        Seen { tenants: BTreeMap::from([(team.clone(), tenant)]), ..seen(root) }
    };
    let fault = Fault { app: None, detail: "team-a:web.yaml:1:1: no".into() };
    let failing = |seen: Seen| {
        let app: AppKey = "team-a/web".parse().expect("a name");
        Seen { apps: BTreeMap::from([(app, failing("b", 1))]), ..unfinished_of(seen, &team, &["b"]) }
    };
    check(&[
        (at("a", None, None), &["Taken commit a0000000", "Converged commit a0000000"]),
        (
            unfinished_of(at("a", Some("b"), None), &team, &["b"]),
            &["Taken commit b0000000 of catalog team-a"],
        ),
        // The root's does not wait for a tenant's.
        (
            failing(at("c", Some("b"), None)),
            &["Taken commit c0000000", "Failed app team-a/web", "Converged commit c0000000"],
        ),
        (at("c", Some("b"), None), &["Converged commit b0000000 of catalog team-a"]),
        (
            unfinished_of(at("c", Some("d"), Some(&fault)), &team, &["d"]),
            &["Taken commit d0000000 of catalog team-a", "Failed commit d0000000 of catalog team-a"],
        ),
        // Its repository is not at hand for a while, then as it was.
        (at("c", None, None), &[]),
        (
            at("c", Some("e"), None),
            &["Taken commit e0000000 of catalog team-a", "Converged commit e0000000 of catalog team-a"],
        ),
        // The root names it no more, and then again: with the same commit that is no news.
        (seen("c"), &[]),
        (at("c", Some("e"), None), &[]),
        (seen("c"), &[]),
        (
            at("c", Some("f"), None),
            &["Taken commit f0000000 of catalog team-a", "Converged commit f0000000 of catalog team-a"],
        ),
    ]);
}

#[test]
fn so_many_tenants_that_are_gone_are_remembered() {
    let named = |number: usize| format!("team-{number:03}").parse::<CatalogName>().expect("a name");
    let tenant = |number| (named(number), CatalogSeen { commit: Some(commit("b")), faults: Vec::new() });
    let all = Seen { tenants: (0..GONE + 8).map(tenant).collect(), ..seen("a") };
    let (told, _) = tell(&Conditions::default(), &all, MANY);
    let left = Seen { tenants: BTreeMap::from([tenant(0)]), ..seen("a") };
    let (told, _) = tell(&told, &left, MANY);
    assert_eq!(told.tenants.len(), GONE + 1);
    assert!(told.tenants.contains_key(&named(0)), "who is there is no part of them");
}

#[test]
fn two_catalogs_of_one_repository_do_not_wait_for_each_other() {
    let team: CatalogName = "team-a".parse().expect("a name");
    let at = |head: &str| {
        let tenant = CatalogSeen { commit: Some(commit(head)), faults: Vec::new() };
        Seen { tenants: BTreeMap::from([(team.clone(), tenant)]), ..seen(head) }
    };
    let taken: &[&str] = &["Taken commit a0000000", "Taken commit a0000000 of catalog team-a"];
    check(&[
        (unfinished_of(at("a"), &team, &["a"]), &[taken[0], taken[1], "Converged commit a0000000"]),
        (at("a"), &["Converged commit a0000000 of catalog team-a"]),
    ]);
    check(&[
        (unfinished(at("a"), &["a"]), &[taken[0], taken[1], "Converged commit a0000000 of catalog team-a"]),
        (at("a"), &["Converged commit a0000000"]),
    ]);
    // What the root changed of a tenant's app is waited for by the root's.
    let tenant = CatalogSeen { commit: Some(commit("b")), faults: Vec::new() };
    let apart = Seen { tenants: BTreeMap::from([(team.clone(), tenant)]), ..seen("a") };
    check(&[
        (
            unfinished_of(apart.clone(), &team, &["a"]),
            &[
                taken[0],
                "Taken commit b0000000 of catalog team-a",
                "Converged commit b0000000 of catalog team-a",
            ],
        ),
        (apart, &["Converged commit a0000000"]),
    ]);
}

#[test]
fn a_commit_that_converged_names_the_clusters_that_have_apps_of_its_catalog() {
    let team: CatalogName = "team-a".parse().expect("a name");
    let tenant = CatalogSeen { commit: Some(commit("b")), faults: Vec::new() };
    let contacts = [("fra-1", Contact::Here), ("fra-2", Contact::Here), ("fra-3", Contact::Away)];
    let seen = Seen {
        tenants: BTreeMap::from([(team.clone(), tenant)]),
        having: BTreeMap::from([(team.clone(), Clusters::of([&cluster("fra-2")]))]),
        contacts: contacts.map(|(name, contact)| (cluster(name), contact)).into(),
        ..seen("a")
    };
    let (_, events) = tell(&Conditions::default(), &seen, MANY);
    let on = |catalog: &CatalogName| {
        let of =
            |event: &&Event| event.kind() == "Converged" && event.catalog(&web().catalog) == Some(catalog);
        events.iter().find(of).and_then(Event::clusters).cloned().expect("it is told")
    };
    assert_eq!(on(&web().catalog), Clusters::of([&cluster("fra-1"), &cluster("fra-2")]));
    assert_eq!(on(&team), Clusters::of([&cluster("fra-2")]));
}

#[test]
fn what_the_root_changed_of_a_tenants_app_is_of_the_roots_commit() {
    let team: CatalogName = "team-a".parse().expect("a name");
    let app: AppKey = "team-a/web".parse().expect("a name");
    let tenant = CatalogSeen { commit: Some(commit("b")), faults: Vec::new() };
    let tenants = BTreeMap::from([(team.clone(), tenant)]);
    let of = |by: &str| {
        let apps = BTreeMap::from([(app.clone(), failing(by, 1))]);
        let seen = Seen { tenants: tenants.clone(), apps, ..unfinished_of(seen("a"), &team, &[by]) };
        let (told, events) = tell(&Conditions::default(), &seen, 100);
        let failed = events.into_iter().find(|event| event.kind() == "Failed").expect("it is told");
        let catalog = failed.catalog(&web().catalog).cloned();
        (catalog.expect("it has one"), told.root.open, told.tenants[&team].open.clone())
    };
    assert_eq!(of("a"), (web().catalog, vec![commit("a")], vec![]));
    assert_eq!(of("b"), (team.clone(), vec![], vec![commit("b")]));
    // One repository has both.
    let both =
        Seen { root: CatalogSeen { commit: Some(commit("b")), faults: Vec::new() }, tenants, ..seen("b") };
    assert_eq!(both.tenant_by(&app, &commit("b")), Some(&team));
}

#[test]
fn nobody_is_there_to_be_healthy_so_nothing_is_converged() {
    check(&[
        (Seen { is_lit: false, ..seen("a") }, &["Taken commit a0000000"]),
        (seen("a"), &["Converged commit a0000000"]),
    ]);
}

#[test]
fn what_finds_no_room_is_told_by_the_next_look() {
    let all = with_app(
        Seen {
            contacts: BTreeMap::from([(cluster("a"), Contact::Here), (cluster("b"), Contact::Away)]),
            ..seen("a")
        },
        well("a"),
    );
    let (wanted_conditions, wanted) = tell(&Conditions::default(), &all, MANY);
    for at_most in 1..wanted.len() {
        let (mut conditions, mut events) = (Conditions::default(), Vec::new());
        loop {
            let (next, some) = tell(&conditions, &all, at_most);
            assert!(some.len() <= at_most);
            if some.is_empty() {
                break;
            }
            (conditions, events) = (next, [events, some].concat());
        }
        let order = |events: &[Event]| {
            let mut lines: Vec<String> = events.iter().map(Event::line).collect();
            lines.sort();
            lines
        };
        assert_eq!((&conditions, order(&events)), (&wanted_conditions, order(&wanted)), "{at_most} at once");
    }
}

#[test]
fn what_is_told_of_ten_thousand_clusters_fits_the_store_s_batches() {
    let name = |n: usize| cluster(&format!("{:a<57}{n:06}", ""));
    let contacts = (0..10_000).map(|n| (name(n), Contact::Away)).collect();
    let clusters = Clusters::of(&(0..10_000).map(name).collect::<Vec<_>>());
    let failing = |number: usize| {
        let cause = Cause { commit: commit("a"), reason: format!("Stuck{number}"), object: None };
        (cause, (clusters.clone(), "x".repeat(500)))
    };
    let app = AppSeen { is_well: false, failing: (0..CAUSES).map(failing).collect(), ..well("a") };
    let apps = (0..50).map(|n| (format!("app-{n}").parse().expect("a name"), app.clone())).collect();
    let storm = Seen { contacts, apps, ..unfinished(seen("a"), &["a"]) };
    let (mut conditions, mut told) = (Conditions::default(), 0);
    loop {
        let (next, events) = tell(&conditions, &storm, crate::events::watcher::AT_ONCE);
        let size = |value: serde_json::Result<Vec<u8>>| value.map_or(usize::MAX, |json| json.len());
        let bytes: usize = events.iter().map(|event| size(serde_json::to_vec(event)) + 200).sum();
        let all = bytes + size(serde_json::to_vec(&next));
        assert!(all < crate::store::MAX_BATCH_BYTES, "{all} bytes with {} events", events.len());
        told += events.len();
        if events.is_empty() {
            break;
        }
        conditions = next;
    }
    assert_eq!((told, conditions.offline.len()), (2 + 50 * CAUSES, 10_000));
}
