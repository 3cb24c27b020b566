//! What is granted to tenants: whose fault it is where it is too little, and what history tells where it changed.

use nave_placement::rollout::{Phase, WaitsFor};

use super::*;
use crate::state::history::{Cause, Changed, What};

const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";
const THIRD: &str = "3333333333333333333333333333333333333333";
const FOURTH: &str = "4444444444444444444444444444444444444444";
const OWN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const NEXT: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn team() -> CatalogName {
    "team-a".parse().expect("a name")
}

fn web() -> AppKey {
    AppKey::new(team(), "web").expect("a name")
}

/// What the root says of sets, clusters and the tenant.
fn root(grants: &str) -> String {
    let object = |kind: &str, name: &str, spec: &str| {
        format!(
            "---\napiVersion: nave.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        )
    };
    let set = |name| object("ClusterSet", name, "{}");
    let cluster = |name, set| object("Cluster", name, &format!("{{set: {set}}}"));
    let git = "git: {url: 'https://git.example.com/team-a', branch: main}";
    [
        set("shared"),
        set("other"),
        cluster("c-1", "shared"),
        cluster("c-2", "shared"),
        object("Catalog", "team-a", &format!("{{{git}, grants: [{grants}]}}")),
    ]
    .concat()
}

fn grant(set: &str, rest: &str) -> String {
    format!("{{sets: [{set}], {rest}}}")
}

const WIDE: &str = "namespaces: [team-a-web, elsewhere]";
const NARROW: &str = "namespaces: [team-a-web]";

fn maps(value: &str) -> String {
    let map = |namespace: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: web, namespace: {namespace}}}\ndata: {{value: {value}}}\n"
        )
    };
    map("team-a-web") + &map("elsewhere")
}

/// The tenant's first commit: an app wherever it is granted.
async fn installed(world: &mut World) {
    let app = "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: web}\nspec: {source: {path: ./web}}\n---\n\
        apiVersion: nave.dev/v1alpha1\nkind: Placement\nmetadata: {name: web}\nspec: {apps: {names: [web]}, clusters: {selector: {}}}\n";
    let files = [("web.yaml", app.to_owned()), ("web/web.yaml", maps("one"))];
    let files = files.map(|(path, text)| (path.to_owned(), text)).into();
    world.tenants.insert(team(), (files, Tree::new()));
    world.commit_of(&team(), OWN).await;
}

/// A tenant's app on both clusters of a set, with an object in each of two namespaces.
async fn world(grants: &str) -> World {
    let mut world = World { obeys: true, ..World::default() };
    world.files.insert("fleet.yaml".into(), root(grants));
    for name in ["c-1", "c-2"] {
        world.member(name, &[]);
    }
    world.commit(FIRST).await;
    installed(&mut world).await;
    world
}

async fn regrant(world: &mut World, grants: &str, commit: &str) -> Decided {
    world.history.clear();
    world.files.insert("fleet.yaml".into(), root(grants));
    world.commit(commit).await;
    world.decide().await
}

fn changed(world: &World) -> Vec<(What, Cause, usize)> {
    let all = world.history.iter().flat_map(|record| &record.changes);
    let mut told: Vec<(What, Cause, usize)> = Vec::new();
    for Changed { what, cause, clusters, .. } in all {
        match told.iter_mut().find(|(other, by, _)| (other, by) == (what, cause)) {
            Some((.., count)) => *count += clusters.len(),
            None => told.push((*what, cause.clone(), clusters.len())),
        }
    }
    told
}

fn granted(commit: &str) -> Cause {
    Cause::Granted { catalog: team(), commit: Some(CommitId(commit.into())) }
}

/// The problems of a step: of which object, and how bad.
fn problems(decided: &Decided) -> Vec<(String, bool)> {
    let of = |problem: &nave_placement::catalog::Problem| {
        let object = problem.object.as_ref().map(ToString::to_string);
        (object.unwrap_or_default(), problem.is_error())
    };
    decided.refused.iter().map(of).collect()
}

#[tokio::test]
async fn what_is_granted_no_more_is_the_roots_and_what_was_never_granted_is_the_tenants() {
    let mut world = world(&grant("shared", WIDE)).await;
    assert_eq!(changed(&world).len(), 1, "it is there");
    let decided = regrant(&mut world, &grant("shared", NARROW), SECOND).await;
    assert_eq!(problems(&decided), [("Catalog/team-a".to_owned(), false)], "{:?}", decided.refused);
    assert!(
        decided.refused[0].message.starts_with("app team-a/web on c-1 and 1 more: ConfigMap elsewhere/web")
    );
    assert!(changed(&world).is_empty(), "it stays as it is");
    let decided = regrant(&mut world, &grant("shared", "namespaces: [further]"), FOURTH).await;
    let more = "is not granted to catalog team-a (and 1 more object); there";
    assert!(decided.refused[0].message.contains(more), "{:?}", decided.refused);
    // It is mended.
    let decided = regrant(&mut world, &grant("shared", WIDE), THIRD).await;
    assert!(decided.refused.is_empty(), "{:?}", decided.refused);
    regrant(&mut world, &grant("shared", NARROW), FOURTH).await;

    // A commit of the tenant's that has it still is its own fault, and its rollout says what it waits for.
    let (files, _) = world.tenants.get_mut(&team()).expect("it is there");
    files.insert("web/web.yaml".into(), maps("two"));
    world.commit_of(&team(), NEXT).await;
    let decided = world.decide().await;
    assert_eq!(problems(&decided), [("App/team-a/web".to_owned(), true)], "{:?}", decided.refused);
    let why = "ConfigMap elsewhere/web: namespace elsewhere is not granted to catalog team-a";
    match decided.waits_for.get(&web()) {
        Some(WaitsFor::Granted { clusters: 1, why: said, .. }) => assert_eq!(said, why),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_granted_no_more_does_not_go_either_before_it_is_again() {
    let mut world = world(&grant("shared", WIDE)).await;
    regrant(&mut world, &grant("shared", NARROW), SECOND).await;
    let (files, _) = world.tenants.get_mut(&team()).expect("it is there");
    let both = maps("one");
    let own = both.split("---\n").nth(1).expect("the first of both");
    files.insert("web/web.yaml".into(), own.to_owned());
    world.history.clear();
    world.commit_of(&team(), NEXT).await;
    let decided = world.decide().await;
    assert_eq!(problems(&decided), [("Catalog/team-a".to_owned(), false)], "{:?}", decided.refused);
    let said = &decided.refused[0].message;
    assert!(said.contains("ConfigMap elsewhere/web cannot go: namespace elsewhere is not granted"), "{said}");
    assert!(changed(&world).is_empty(), "it stays as it is, and no rollout of it fails");
    let decided = regrant(&mut world, &grant("shared", WIDE), THIRD).await;
    assert!(decided.refused.is_empty(), "{:?}", decided.refused);
    assert!(changed(&world).iter().any(|(what, _, clusters)| (*what, *clusters) == (What::Changed, 2)));
}

#[tokio::test]
async fn what_a_tenant_missed_comes_by_the_commit_that_gave_it_back_and_nothing_else_does() {
    let mut world = world(&grant("shared", WIDE)).await;
    let commit = async |world: &mut World, value: &str, id: &str| {
        world.history.clear();
        let (files, _) = world.tenants.get_mut(&team()).expect("it is there");
        files.insert("web/web.yaml".into(), maps(value));
        world.commit_of(&team(), id).await;
        world.decide().await;
    };
    for (withdrawn, again, missed, next) in [
        (grant("other", WIDE), SECOND, None, NEXT),
        (grant("shared", NARROW), THIRD, None, OWN),
        (grant("other", WIDE), FOURTH, Some(NEXT), OWN),
        (grant("shared", NARROW), SECOND, Some(NEXT), OWN),
    ] {
        regrant(&mut world, &withdrawn, FIRST).await;
        if let Some(missed) = missed {
            commit(&mut world, missed, missed).await;
            assert!(changed(&world).is_empty(), "{withdrawn}");
        }
        regrant(&mut world, &grant("shared", WIDE), again).await;
        let came: Vec<_> = missed.map(|_| (What::Changed, granted(again), 2)).into_iter().collect();
        assert_eq!(changed(&world), came, "{withdrawn}");
        // What the tenant commits from then on is its own.
        commit(&mut world, next, next).await;
        let own = Cause::Commit { commit: CommitId(next.into()) };
        assert_eq!(changed(&world), [(What::Changed, own, 2)], "{withdrawn}");
    }
}

/// A tenant's app on two clusters of each of two sets, of which the first has a new version, and the rest waits for it.
async fn under_way() -> World {
    let both = [grant("shared", WIDE), grant("other", WIDE)].join(", ");
    let more = cluster("c-3", "other") + &cluster("c-4", "other");
    let mut world = World { obeys: true, ..World::default() };
    world.files.insert("fleet.yaml".into(), root(&both));
    world.files.insert("more.yaml".into(), more);
    for name in ["c-1", "c-2", "c-3", "c-4"] {
        world.member(name, &[]);
    }
    world.commit(FIRST).await;
    installed(&mut world).await;
    world.obeys = false;
    let (files, _) = world.tenants.get_mut(&team()).expect("it is there");
    files.insert("web/web.yaml".into(), maps("two"));
    world.commit_of(&team(), NEXT).await;
    assert_eq!(at(&world, NEXT), ["c-1"]);
    world
}

/// The clusters that have the app by a commit.
fn at(world: &World, commit: &str) -> Vec<String> {
    let has = |told: &Told| {
        let entry = told.assignment.entries.get(&web())?;
        nave_proto::decode_entry(&entry.bytes).ok().map(|entry| entry.commit)
    };
    let told = world.state.told.iter().filter(|(_, told)| has(told) == Some(CommitId(commit.into())));
    told.map(|(cluster, _)| cluster.to_string()).collect()
}

#[tokio::test]
async fn who_is_granted_no_more_in_the_middle_of_a_rollout_catches_up_once_it_is_again() {
    let mut world = under_way().await;
    regrant(&mut world, &grant("shared", WIDE), SECOND).await;
    world.obeys = true;
    world.report();
    world.decide().await;
    assert_eq!(at(&world, NEXT), ["c-1", "c-2"]);
    let course = world.state.rollouts[&web()].record.clone();
    let ended = course.past.last().expect("it is over");
    assert_eq!((course.current.is_none(), ended.healthy, ended.clusters), (true, 2, 4), "{course:?}");
    regrant(&mut world, &[grant("shared", WIDE), grant("other", WIDE)].join(", "), THIRD).await;
    assert_eq!(at(&world, NEXT), ["c-1", "c-2", "c-3", "c-4"]);
}

#[tokio::test]
async fn a_rollout_that_is_taken_back_waits_for_nobody_who_is_granted_no_more() {
    let mut world = under_way().await;
    regrant(&mut world, &grant("other", WIDE), SECOND).await;
    rollouts::aborted(&mut world, "team-a/web");
    world.obeys = true;
    world.report();
    world.decide().await;
    let course = world.state.rollouts[&web()].record.clone();
    assert!(course.current.is_none() && course.block.is_some(), "{course:?}");
    // What comes next does not wait behind it, and who was withdrawn gets it with the grant.
    let (files, _) = world.tenants.get_mut(&team()).expect("it is there");
    files.insert("web/web.yaml".into(), maps("three"));
    world.commit_of(&team(), THIRD).await;
    assert_eq!(at(&world, THIRD), ["c-3", "c-4"]);
    regrant(&mut world, &[grant("shared", WIDE), grant("other", WIDE)].join(", "), FOURTH).await;
    assert_eq!(at(&world, THIRD), ["c-1", "c-2", "c-3", "c-4"]);
}

/// A hub that has just started: of the tenant's catalog nothing was read yet.
async fn restarted(world: &mut World) {
    let root = world.revision.take().expect("a commit was made").owns.remove(0);
    world.revision = Revision::of(vec![root]);
    world.kept = Kept::default();
    world.report();
    world.decide().await;
}

#[tokio::test]
async fn nothing_of_a_tenant_goes_on_or_ends_before_its_catalog_is_read() {
    let mut world = under_way().await;
    rollouts::aborted(&mut world, "team-a/web");
    world.obeys = true;
    restarted(&mut world).await;
    let course = |world: &World| world.state.rollouts[&web()].record.clone();
    let is_going_back = |phase: &Phase| matches!(phase, Phase::RollingBack { .. });
    assert!(course(&world).current.as_ref().is_some_and(|progress| is_going_back(&progress.phase)));
    world.commit_of(&team(), NEXT).await;
    world.decide().await;
    assert_eq!((at(&world, NEXT), at(&world, OWN).len()), (Vec::<String>::new(), 4), "it went back");
    assert!(course(&world).block.is_some());
    restarted(&mut world).await;
    assert!(course(&world).block.is_some(), "it is blocked still");
    world.commit_of(&team(), NEXT).await;
    world.decide().await;
    assert_eq!(at(&world, OWN).len(), 4);
}

#[tokio::test]
async fn a_rollout_waits_where_nobody_is_left_who_is_granted_it() {
    let mut world = world(&grant("shared", WIDE)).await;
    let (files, _) = world.tenants.get_mut(&team()).expect("it is there");
    let careful =
        files["web.yaml"].replace("{source: {path: ./web}}", "{source: {path: ./web}, rollout: careful}");
    files.insert("web.yaml".into(), careful);
    let rollout = "apiVersion: nave.dev/v1alpha1\nkind: Rollout\nmetadata: {name: careful}\nspec: {waves: [{name: all, before: {approval: true}}]}\n";
    files.insert("rollout.yaml".into(), rollout.into());
    files.insert("web/web.yaml".into(), maps("two"));
    world.commit_of(&team(), NEXT).await;
    let decided = world.decide().await;
    assert!(
        matches!(decided.waits_for.get(&web()), Some(WaitsFor::Approval { .. })),
        "{:?}",
        decided.waits_for
    );
    // It is not over because nobody is left to have it.
    let decided = regrant(&mut world, &grant("other", WIDE), SECOND).await;
    let waits_for = decided.waits_for.get(&web());
    assert!(matches!(waits_for, Some(WaitsFor::Reachable { clusters: 2, .. })), "{waits_for:?}");
    let decided = regrant(&mut world, &grant("shared", WIDE), THIRD).await;
    assert!(
        matches!(decided.waits_for.get(&web()), Some(WaitsFor::Approval { .. })),
        "{:?}",
        decided.waits_for
    );
    assert!(at(&world, NEXT).is_empty());
}

#[tokio::test]
async fn history_names_the_commit_of_the_root_that_changed_what_is_granted() {
    let mut world = world(&grant("shared", WIDE)).await;
    let more = "namespaces: [team-a-web, elsewhere, further]";
    regrant(&mut world, &grant("shared", more), SECOND).await;
    assert_eq!(changed(&world), [(What::Changed, granted(SECOND), 2)]);
    // An account alone.
    let account = format!("{more}, serviceAccount: nave-team-a");
    regrant(&mut world, &grant("shared", &account), THIRD).await;
    assert_eq!(changed(&world), [(What::Changed, granted(THIRD), 2)]);
    regrant(&mut world, &grant("shared", more), FOURTH).await;
    assert_eq!(changed(&world), [(What::Changed, granted(FOURTH), 2)]);
    // Another set has it, too; what is installed there comes by that commit.
    let both = [grant("shared", more), grant("other", &account)].join(", ");
    world.member("c-3", &[]);
    world.files.insert("fleet.yaml".into(), root(&grant("shared", more)) + &cluster("c-3", "other"));
    world.commit(FIRST).await;
    world.history.clear();
    world.files.insert("fleet.yaml".into(), root(&both) + &cluster("c-3", "other"));
    world.commit(SECOND).await;
    assert_eq!(changed(&world), [(What::Installed, granted(SECOND), 1)]);
    // A cluster that the root puts into another set is another matter.
    world.history.clear();
    world.files.insert("fleet.yaml".into(), root(&both) + &cluster("c-3", "shared"));
    world.commit(THIRD).await;
    let by_root = Cause::Commit { commit: CommitId(THIRD.into()) };
    assert_eq!(changed(&world), [(What::Changed, by_root, 1)]);
}

fn cluster(name: &str, set: &str) -> String {
    format!(
        "---\napiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}}}\nspec: {{set: {set}}}\n"
    )
}
