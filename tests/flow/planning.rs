//! Plans, told as an operator sees them: a branch before it is merged, on a running hub.

use std::collections::BTreeSet;

use harness::fleet::{Answer, Fleet, Target, documents};
use harness::git::Repository;
use serde_json::Value;

const PASSWORD: &str = "Y2FuYXJ5LW9mLXRoZS1wbGFu";
const OTHER_PASSWORD: &str = "b3RoZXItY2FuYXJ5";

fn clusters(envs: &[&str]) -> String {
    let cluster = |(number, env): (usize, &&str)| {
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: c-{}, labels: {{env: {env}}}}}\nspec: {{}}\n",
            number + 1
        )
    };
    envs.iter().enumerate().map(cluster).collect::<Vec<_>>().join("---\n")
}

fn manifests(greeting: &str, password: &str) -> String {
    let map = documents::config_map("greeting", greeting);
    format!(
        "{map}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\ndata: {{password: {password}, user: YW5u}}\n"
    )
}

async fn fleet() -> Fleet {
    let files = [
        ("clusters.yaml", clusters(&["prod", "prod", "prod", "prod", "dev"])),
        ("web.yaml", documents::app("web")),
        ("manifests/web/web.yaml", manifests("hello", PASSWORD)),
        ("placement.yaml", documents::placement("prod", &["web"], "{selector: {matchLabels: {env: prod}}}")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let catalog = Repository::with("catalog", &files).expect("it is written");
    let mut fleet = Fleet::start(catalog).await.expect("it starts");
    for number in 1..=5 {
        fleet.join(&format!("c-{number}"), &[], &Target::Directory).await.expect("it joins");
    }
    fleet.connected(5).await;
    fleet.converge(&["--commit", &fleet.catalog.head().expect("a commit")]).await.expect("it converges");
    fleet
}

/// A branch off main with these files; the work tree is at main again afterwards.
fn branch(fleet: &Fleet, name: &str, files: &[(&str, String)]) {
    fleet.catalog.switch(name).expect("a branch");
    for (path, text) in files {
        fleet.catalog.write(path, text).expect("written");
    }
    fleet.catalog.commit(name).expect("a commit");
    fleet.catalog.switch("main").expect("a branch");
}

async fn plan(fleet: &Fleet, arguments: &[&str]) -> Answer {
    fleet.hub(&[&["plan"], arguments].concat()).await.expect("it runs")
}

/// The plan as JSON, which has to end with this code.
async fn planned(fleet: &Fleet, rev: &str, code: i32) -> Value {
    let answer = plan(fleet, &[rev, "-o", "json"]).await;
    assert_eq!(answer.code, code, "{}{}\n{}", answer.stdout, answer.stderr, fleet.tails());
    serde_json::from_str(&answer.stdout).expect("JSON")
}

fn bundles(fleet: &Fleet) -> BTreeSet<String> {
    let files = std::fs::read_dir(fleet.data().join("bundles")).expect("it is there");
    files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect()
}

fn names(moved: &Value) -> Vec<&str> {
    let rows = moved.as_array().expect("a list").iter();
    rows.map(|row| row["cluster"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn a_branch_is_planned_before_it_is_merged_and_then_does_what_was_said() {
    let fleet = fleet().await;
    let before = bundles(&fleet);
    let same = plan(&fleet, &[]).await;
    assert_eq!(
        (same.code, same.stdout.contains("nothing changes")),
        (0, true),
        "{}{}",
        same.stdout,
        same.stderr
    );

    branch(
        &fleet,
        "feature",
        &[
            ("clusters.yaml", clusters(&["prod", "prod", "prod", "dev", "prod"])),
            ("manifests/web/web.yaml", manifests("good morning", OTHER_PASSWORD)),
        ],
    );
    let view = planned(&fleet, "feature", 3).await;
    let app = &view["apps"][0];
    assert_eq!(app["app"], "web");
    assert_eq!((names(&app["gained"]), names(&app["lost"])), (vec!["c-5"], vec!["c-4"]), "{view:#}");
    assert_eq!(
        app["lost"][0]["why"][0]["message"],
        "placement prod: its label env is \"dev\", clusters.selector wants env=prod"
    );
    let changed = &app["changed"][0];
    assert_eq!(changed["clusters"], serde_json::json!(["c-1", "c-2", "c-3"]), "{view:#}");
    let objects = changed["objects"].as_array().expect("a list");
    assert_eq!(objects.len(), 2, "{view:#}");
    assert!(objects[0]["diff"].as_str().expect("a diff").contains("+  value: good morning"), "{view:#}");
    assert!(objects[1]["diff"].as_str().expect("a diff").contains("<changed>"), "{view:#}");
    assert!(app["waves"].as_array().is_some_and(|waves| waves.len() > 1), "{view:#}");
    let screen = plan(&fleet, &["feature"]).await;
    assert_eq!(screen.code, 3, "{}{}", screen.stdout, screen.stderr);
    for expected in [
        "+ web: 1 cluster (c-5) gained: placement prod: all terms hold",
        "- web: 1 cluster (c-4) lost: ",
        "wave ",
    ] {
        assert!(screen.stdout.contains(expected), "{expected}: {}", screen.stdout);
    }
    for text in [view.to_string(), screen.stdout, fleet.tails()] {
        assert!(!text.contains(PASSWORD) && !text.contains(OTHER_PASSWORD), "{text}");
    }

    // Nothing of it is in effect, or stored.
    assert_eq!(bundles(&fleet), before);
    let status = fleet.status().await.expect("it answers");
    assert_eq!(status["catalog"]["commit"], fleet.catalog.head().expect("a commit"));
    assert!(!fleet.files("c-5").expect("they are there").contains_key("configmap--web--greeting.yaml"));

    let merged = fleet.catalog.merge("feature", "Merge").expect("it merges");
    fleet.converge(&["--commit", &merged]).await.expect("it converges");
    let greets = |cluster: &str| {
        let files = fleet.files(cluster).expect("they are there");
        files.get("configmap--web--greeting.yaml").is_some_and(|text| text.contains("good morning"))
    };
    let greeted: Vec<bool> = (1..=5).map(|number| greets(&format!("c-{number}"))).collect();
    assert_eq!(greeted, [true, true, true, false, true]);
}

#[tokio::test]
async fn what_would_be_held_is_wrong_or_is_not_there_ends_with_1_and_says_why() {
    let fleet = fleet().await;
    branch(&fleet, "slip", &[("clusters.yaml", clusters(&["prdo", "prdo", "prdo", "prdo", "dev"]))]);
    let view = planned(&fleet, "slip", 1).await;
    assert_eq!(view["summary"]["lost"], 4, "{view:#}");
    let holds = view["holds"].as_array().expect("a list");
    let of_app = holds.iter().find(|hold| hold["cause"]["type"] == "App").expect("the app's limit is broken");
    assert_eq!(of_app["message"], "app web would leave 4 of its 4 clusters; 2 may go without approval");
    assert_eq!(of_app["allow"][0], "trailer `Nave-Allow-Removal: app/web=4` in the commit");

    branch(
        &fleet,
        "broken",
        &[("placement.yaml", "kind: [Placement\napiVersion: nave.dev/v1alpha1\n".into())],
    );
    let view = planned(&fleet, "broken", 1).await;
    assert_eq!(
        (&view["problems"][0]["file"], &view["apps"]),
        (&"placement.yaml".into(), &serde_json::json!([]))
    );

    for (arguments, expected) in [
        (vec!["nowhere"], "has no branch, tag or commit nowhere; it has broken, main, slip"),
        (vec!["--catalog", "team-a"], "there is no catalog team-a"),
    ] {
        let answer = plan(&fleet, &arguments).await;
        assert_eq!(answer.code, 1, "{}{}", answer.stdout, answer.stderr);
        assert!(answer.stderr.contains(expected), "{}", answer.stderr);
    }

    // A branch that lacks what is in effect would take it back.
    fleet.catalog.switch("behind").expect("a branch");
    fleet.catalog.commit_file("README.md", "words\n").expect("a commit");
    fleet.catalog.switch("main").expect("a branch");
    let newest =
        fleet.catalog.commit_file("manifests/web/web.yaml", &manifests("hi", PASSWORD)).expect("a commit");
    fleet.converge(&["--commit", &newest]).await.expect("it converges");
    let view = planned(&fleet, "behind", 1).await;
    assert_eq!(view["holds"][0]["cause"]["type"], "NotDescendant", "{view:#}");
    let allow = view["holds"][0]["allow"][0].as_str().expect("words");
    assert!(allow.contains(&format!("rebase it onto {}", &newest[..8])), "{allow}");
}
