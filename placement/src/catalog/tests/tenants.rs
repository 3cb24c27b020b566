//! A `Catalog` in the root catalog, and what is joined to it.

use super::*;
use crate::decide::apps;

const TEAM: &str = "kind: Catalog\nmetadata: {name: team-a}\nspec:\n  git: {url: 'https://git.example.com/team-a', branch: main}\n  grants: [{sets: [shared], namespaces: [team-a-*]}]\n";
const SET: &str = "kind: ClusterSet\nmetadata: {name: shared}\n";
const PLACEMENT: &str =
    "kind: Placement\nmetadata: {name: all}\nspec: {apps: {selector: {}}, clusters: {selector: {}}}\n";

fn root(team: &str) -> Vec<(String, String)> {
    let files = [("team.yaml", team), ("set.yaml", SET), ("all.yaml", PLACEMENT)];
    let mut files: Vec<(String, String)> =
        files.iter().map(|(path, rest)| ((*path).to_owned(), document(rest))).collect();
    files.push(("web.yaml".to_owned(), WEB.to_owned()));
    files.push(("web/c.yaml".to_owned(), MANIFEST.to_owned()));
    files
}

fn of_root(id: &str, files: &[(String, String)], last_good: &LastGood) -> Catalog {
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    assembled(id, &files, last_good)
}

fn of_tenant(commit: Commit<'_>) -> Catalog {
    let parsed = commit.iter().map(|(path, text)| {
        let parsed = parse_file(path, text.as_bytes());
        (Arc::from(*path), Arc::new(parsed))
    });
    let name = CatalogName::new("team-a").expect("a name");
    assemble(&name, &CommitId("t1".into()), false, &tree(commit), &parsed.collect(), &LastGood::new())
}

#[test]
fn what_grants_sets_that_are_not_there_stays_as_it_was_and_withdraws_nothing() {
    let before = of_root("1", &root(TEAM), &LastGood::new());
    assert_eq!(shown(&before.problems), [""; 0]);
    let after = of_root("2", &root(&TEAM.replace("[shared]", "[shraed]")), &before.objects);
    assert_eq!(
        shown(&after.problems),
        [
            "team.yaml:1:1: error: Catalog/team-a: spec.grants: there is no ClusterSet shraed; add it, or correct the name: until then the last valid grants stay"
        ]
    );
    let sets = |catalog: &Catalog| {
        catalog.tenant(&CatalogName::new("team-a").expect("a name")).map(Tenant::sets).unwrap_or_default()
    };
    assert_eq!(sets(&after), ["shared".to_owned()].into());
    // What nobody can call its own, and what grants nothing, is told.
    let main = of_root("1", &root(&TEAM.replace("team-a}", "main}")), &LastGood::new());
    assert!(
        shown(&main.problems)[0].contains("main is what apps of the root catalog go by"),
        "{:?}",
        main.problems
    );
    let nothing = TEAM.split("  grants").next().expect("a beginning");
    let nothing = of_root("1", &root(nothing), &LastGood::new());
    assert!(
        shown(&nothing.problems)[0].contains("warning: Catalog/team-a: it grants nothing"),
        "{:?}",
        nothing.problems
    );
}

#[test]
fn what_is_joined_means_nothing_of_another_catalog() {
    let root = of_root("1", &root(TEAM), &LastGood::new());
    let (all, cluster) = (document(PLACEMENT), document("kind: Cluster\nmetadata: {name: c}\n"));
    let api = document(
        "kind: App\nmetadata: {name: api}\nspec: {source: {path: ./api}, dependsOn: [{app: web}], formerly: [old], rollout: slow, group: shop}\n",
    );
    let slow = document("kind: Rollout\nmetadata: {name: slow}\nspec: {waves: [{name: all}]}\n");
    let own = of_tenant(&[
        ("web.yaml", WEB),
        ("web/c.yaml", MANIFEST),
        ("api.yaml", &api),
        ("api/c.yaml", MANIFEST),
        ("slow.yaml", &slow),
        ("all.yaml", &all),
        ("cluster.yaml", &cluster),
    ]);
    let joined = join(&root, [&own]);
    let ids: Vec<String> = joined.objects.keys().map(ToString::to_string).collect();
    assert_eq!(
        ids,
        [
            "ClusterSet/shared",
            "App/team-a/api",
            "App/team-a/web",
            "App/web",
            "Placement/all",
            "Placement/team-a/all",
            "Rollout/team-a/slow",
            "Catalog/team-a"
        ]
    );
    assert_eq!(
        shown(&joined.problems),
        [
            "team-a:cluster.yaml:1:1: error: Cluster/team-a/c: kind Cluster exists only in the root catalog; move it there"
        ]
    );
    let chosen: Vec<String> = joined
        .placements()
        .map(|(object, placement)| {
            let apps = apps(&joined, &placement.apps);
            let apps: Vec<String> = apps.iter().map(ToString::to_string).collect();
            let sets = placement.grants.as_ref().map(|grants| grants.sets.len());
            format!("{}: {} {sets:?}", object.object.id.name, apps.join(" "))
        })
        .collect();
    assert_eq!(chosen, ["all: web None", "team-a/all: team-a/api team-a/web Some(1)"]);
    let key: crate::AppKey = "team-a/api".parse().expect("a key");
    let (effective, app) = joined.app_of(&key).expect("it is joined");
    assert_eq!(joined.key(&effective.object.id.name), Some(key));
    assert_eq!((app.rollout.as_deref(), app.group.as_deref()), (Some("team-a/slow"), Some("team-a/shop")));
    assert_eq!(app.formerly.iter().collect::<Vec<_>>(), ["team-a/old"]);
    assert!(
        matches!(&app.depends_on.as_deref(), Some([first]) if first.on == DependsOn::App("team-a/web".into()))
    );
    assert_eq!(joined.newly(effective), Some(&own.commit));
    // Whom the root does not name is not joined.
    let without = Catalog { objects: LastGood::new(), ..root };
    assert_eq!(join(&without, [&own]).objects.len(), 0);
}
