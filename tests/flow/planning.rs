//! Plans, told as an operator sees them: a branch before it is merged, on a running hub.

use std::collections::BTreeSet;

use harness::fleet::{Answer, Fleet, Target, documents};
use harness::git::Repository;
use harness::receiver::Receiver;
use serde_json::{Value, json};

const PASSWORD: &str = "Y2FuYXJ5LW9mLXRoZS1wbGFu";
const OTHER_PASSWORD: &str = "b3RoZXItY2FuYXJ5";
const USER: &str = "Y2FuYXJ5LXVzZXI=";

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
        "{map}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: login}}\ndata: {{password: {password}, user: {USER}}}\n"
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
async fn in_the_middle_of_a_rollout_a_plan_says_what_becomes_of_each_cluster() {
    let rollout = "apiVersion: nave.dev/v1alpha1\nkind: Rollout\nmetadata: {name: careful}\nspec:\n  waves:\n  - {name: canary, clusters: {names: [c-1]}}\n  - {name: rest, before: {approval: true}}\n";
    let fleet = fleet().await;
    fleet.catalog.write("rollout.yaml", rollout).expect("written");
    fleet.catalog.write("web.yaml", &documents::app_with("web", "  rollout: careful\n")).expect("written");
    let careful = fleet.catalog.commit("careful").expect("a commit");
    fleet.converge(&["--commit", &careful]).await.expect("it converges");
    fleet.catalog.commit_file("manifests/web/web.yaml", &manifests("goodbye", PASSWORD)).expect("a commit");
    fleet.rollout_waits("web", "Approval").await;

    // Who comes now has what was rolled out before, until its turn.
    branch(&fleet, "wider", &[("clusters.yaml", clusters(&["prod", "prod", "prod", "prod", "prod"]))]);
    let wider = planned(&fleet, "wider", 3).await;
    let app = &wider["apps"][0];
    assert_eq!((names(&app["gained"]), &app["moves"]), (vec!["c-5"], &"UnderWay".into()), "{wider:#}");
    let said = plan(&fleet, &["wider"]).await.stdout;
    assert!(said.contains("with the rollout that is under way") && !said.contains("at once"), "{said}");

    // Back to where it began: the canary goes back, and the others stay.
    branch(&fleet, "back", &[("manifests/web/web.yaml", manifests("hello", PASSWORD))]);
    let back = planned(&fleet, "back", 3).await;
    let app = &back["apps"][0];
    let changed = app["changed"].as_array().expect("a list");
    assert_eq!((changed.len(), &changed[0]["clusters"]), (1, &json!(["c-1"])), "{back:#}");
    assert_eq!(app["stays"], json!(["c-2", "c-3", "c-4"]), "{back:#}");
    let said = plan(&fleet, &["back"]).await.stdout;
    assert!(said.contains("= web: 3 clusters (c-2, c-3, c-4) stay as they are"), "{said}");
    let merged = fleet.catalog.merge("back", "Back").expect("it merges");
    fleet.converge(&["--commit", &merged]).await.expect("it converges");
    for (cluster, changes) in [("c-1", 3), ("c-2", 1)] {
        let history = fleet.order(&["history", "web", "--cluster", cluster, "-o", "json"]).await;
        let history: Value = serde_json::from_str(&history).expect("JSON");
        assert_eq!(history["lines"].as_array().map(Vec::len), Some(changes), "{cluster}: {history:#}");
    }
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

/// The snapshot of a fleet, uncompressed.
fn uncompressed(snapshot: &[u8]) -> String {
    let begin = snapshot.iter().position(|byte| *byte == b'\n').expect("a first line") + 1;
    String::from_utf8(zstd::decode_all(&snapshot[begin..]).expect("zstd")).expect("JSON")
}

/// What its lines hold in base64.
fn contents(lines: &str) -> String {
    use base64::Engine as _;
    let mut all = String::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let part = line.as_object().and_then(|line| line.values().next()).expect("one part");
        for text in ["value", "text", "bytes"].iter().filter_map(|name| part[name].as_str()) {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
            all.push_str(&String::from_utf8_lossy(&bytes));
            all.push('\n');
        }
    }
    all
}

#[tokio::test]
async fn a_snapshot_plans_a_directory_as_the_hub_plans_the_branch_and_holds_no_secret() {
    let mut fleet = fleet().await;
    let file = fleet.directory().join("fleet.snapshot").display().to_string();
    let taken = fleet.hub(&["snapshot", "-f", &file]).await.expect("it runs");
    assert_eq!(taken.code, 0, "{}{}\n{}", taken.stdout, taken.stderr, fleet.tails());
    let snapshot = std::fs::read(&file).expect("it is there");
    let lines = uncompressed(&snapshot);
    let inside = contents(&lines);
    assert!(inside.contains("greeting") && inside.contains("<not compared>"), "{inside}");
    // The operator's context has certificates and a key.
    let context = std::fs::read_to_string(fleet.data().join("admin.yaml")).expect("a context");
    let keys: Vec<&str> = context.lines().map(str::trim).filter(|line| line.len() > 50).collect();
    assert!(!keys.is_empty(), "{context}");
    for secret in [PASSWORD, USER, "operator/", "token/", "audit/"].into_iter().chain(keys) {
        assert!(!lines.contains(secret) && !inside.contains(secret), "{secret}");
    }

    let tree = fleet.catalog.path().display().to_string();
    let offline = ["--dir", &tree, "--snapshot", &file];
    let same = plan(&fleet, &offline).await;
    assert_eq!(
        (same.code, same.stdout.contains("nothing changes")),
        (0, true),
        "{}{}",
        same.stdout,
        same.stderr
    );

    fleet.catalog.switch("feature").expect("a branch");
    fleet
        .catalog
        .write("clusters.yaml", &clusters(&["prod", "prod", "prod", "dev", "prod"]))
        .expect("written");
    fleet.catalog.write("manifests/web/web.yaml", &manifests("good morning", PASSWORD)).expect("written");
    fleet.catalog.commit("feature").expect("a commit");
    let mut online = planned(&fleet, "feature", 3).await;
    let by_hub = plan(&fleet, &["--dir", &tree, "-o", "json"]).await;
    fleet.kill_hub();
    let answer = plan(&fleet, &[&offline[..], &["-o", "json"]].concat()).await;
    assert_eq!((answer.code, &answer.stdout), (3, &by_hub.stdout), "{}{}", answer.stdout, answer.stderr);
    let mut offline: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    // Nobody knows whether a Secret is the same whose values are not there; all else is.
    let objects = offline["apps"][0]["changed"][0]["objects"].as_array_mut().expect("a list");
    let unknown: Vec<Value> = objects.extract_if(.., |object| object["change"] == "Unknown").collect();
    assert_eq!(
        (unknown.len(), &unknown[0]["name"], &unknown[0]["diff"]),
        (1, &"login".into(), &"<not compared>\n".into())
    );
    online.as_object_mut().expect("a document").remove("commit");
    assert_eq!(offline, online, "{offline:#}");

    // The trailers of the commit to be count.
    fleet.catalog.rewind("main").expect("it is reset");
    fleet
        .catalog
        .write("clusters.yaml", &clusters(&["prdo", "prdo", "prdo", "prdo", "dev"]))
        .expect("written");
    let message = fleet.directory().join("message").display().to_string();
    std::fs::write(&message, "Relabel\n\nThey are others' now.\n\nNave-Allow-Removal: *=40\n")
        .expect("written");
    let by_file = ["--dir", &tree, "--snapshot", &file];
    assert_eq!(plan(&fleet, &by_file).await.code, 1);
    let allowed = plan(&fleet, &[&by_file[..], &["--message", &message]].concat()).await;
    assert_eq!(allowed.code, 3, "{}{}", allowed.stdout, allowed.stderr);

    let cut = fleet.directory().join("cut.snapshot").display().to_string();
    let newer = fleet.directory().join("newer.snapshot").display().to_string();
    std::fs::write(&cut, &snapshot[..snapshot.len() / 2]).expect("written");
    std::fs::write(&newer, [b"nave-snapshot 9\n", &snapshot[16..]].concat()).expect("written");
    for (file, expected) in
        [(&cut, "it is not whole"), (&newer, "it is a snapshot of version 9"), (&tree, "cannot read")]
    {
        let answer = plan(&fleet, &["--dir", &tree, "--snapshot", file]).await;
        assert_eq!((answer.code, answer.stderr.contains(expected)), (1, true), "{}", answer.stderr);
    }
    assert_eq!(plan(&fleet, &["--snapshot", &file]).await.code, 2, "usage");
}

/// Runs the pipeline's script as a runner does, against this forge.
async fn pipeline(fleet: &Fleet, forge: &Receiver, kind: &str, arguments: &[&str]) -> i32 {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/ci/post-plan.sh");
    let hub = harness::process::binary("hub").expect("it is built");
    let path = std::env::var("PATH").expect("a path");
    let done = tokio::process::Command::new("sh")
        .arg(script)
        .arg(kind)
        .args(arguments)
        .env("PATH", format!("{}:{path}", hub.parent().expect("a directory").display()))
        .env("HUB_CONTEXT", fleet.data().join("admin.yaml"))
        .envs([("GITHUB_API_URL", forge.url("/api")), ("CI_API_V4_URL", forge.url("/api/v4"))])
        .envs([("GITHUB_REPOSITORY", "acme/fleet"), ("GITHUB_TOKEN", "ghs-canary"), ("PULL_REQUEST", "12")])
        .envs([("CI_PROJECT_ID", "7"), ("CI_MERGE_REQUEST_IID", "12"), ("GITLAB_TOKEN", "glpat-canary")])
        .output()
        .await
        .expect("sh runs");
    done.status.code().unwrap_or(-1)
}

#[tokio::test]
async fn a_pipeline_keeps_the_plan_as_one_comment_of_the_pull_request() {
    let fleet = fleet().await;
    branch(&fleet, "feature", &[("manifests/web/web.yaml", manifests("say \"hi\\there\"", PASSWORD))]);
    branch(&fleet, "slip", &[("clusters.yaml", clusters(&["prdo", "prdo", "prdo", "prdo", "dev"]))]);
    // (forge, its comments, what is sent to where, the header with the token)
    let others = r#"{"url":"u","issue_url":"i","id":41,"user":{"id":1},"body":"nice"}"#;
    let ours = r#"{"url":"u","issue_url":"i","id": 42,"user":{"id":2},"body":"<!-- nave-plan -->\n## plan"}"#;
    let notes = r#"[{"id":51,"body":"nice","author":{"id":1}},{"id":52,"type":null,"body":"\u003c!-- nave-plan --\u003e","author":{"id":2}}]"#;
    let comments = "/api/repos/acme/fleet/issues/12/comments";
    let notes_of = "/api/v4/projects/7/merge_requests/12/notes";
    let rows = [
        ("github", "[]".to_owned(), "POST", comments, ("authorization", "Bearer ghs-canary")),
        (
            "github",
            format!("[{others},{ours}]"),
            "PATCH",
            "/api/repos/acme/fleet/issues/comments/42",
            ("authorization", "Bearer ghs-canary"),
        ),
        ("gitlab", "[]".to_owned(), "POST", notes_of, ("private-token", "glpat-canary")),
        (
            "gitlab",
            notes.to_owned(),
            "PUT",
            "/api/v4/projects/7/merge_requests/12/notes/52",
            ("private-token", "glpat-canary"),
        ),
    ];
    for (kind, there, method, path, (header, token)) in rows {
        let forge = Receiver::start().await;
        forge.say(&there);
        assert_eq!(pipeline(&fleet, &forge, kind, &["feature"]).await, 0, "{kind} {method}");
        let received = forge.received();
        let sent = received.last().expect("a request");
        assert_eq!((sent.method.as_str(), sent.path.as_str(), sent.header(header)), (method, path, token));
        let body = sent.json()["body"].as_str().expect("text").to_owned();
        assert!(body.starts_with("<!-- nave-plan -->\n## plan of "), "{body}");
        assert!(body.contains("```diff\n") && body.contains(r#"say "hi\there""#), "{body}");
        assert!(!body.contains(PASSWORD), "{body}");
    }
    // What would be held is told too, and fails the pipeline; so does a forge that takes no comment.
    let forge = Receiver::start().await;
    forge.say("[]");
    assert_eq!(pipeline(&fleet, &forge, "github", &["slip"]).await, 1);
    let told = forge.received().last().expect("a request").json();
    assert!(told["body"].as_str().is_some_and(|body| body.contains("**held h-")), "{told}");
    forge.answer(harness::receiver::Answer::Status(403));
    assert_ne!(pipeline(&fleet, &forge, "github", &["feature"]).await, 0);
}

#[tokio::test]
async fn a_snapshot_plans_what_engines_render_without_the_files_that_they_read() {
    let map = |value| documents::config_map("site", value);
    let app = documents::app("site").replace("{path: ./manifests/site}", "{kustomize: {path: ./site}}");
    let files = [
        ("site.yaml", app),
        ("site/kustomization.yaml", "resources: [map.yaml]\nnamePrefix: the-\n".to_owned()),
        ("site/map.yaml", map("one")),
        ("placement.yaml", documents::placement("all", &["site"], "{selector: {}}")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let catalog = Repository::with("catalog", &files).expect("it is written");
    let mut fleet = Fleet::start(catalog).await.expect("it starts");
    fleet.join("c-1", &[], &Target::Directory).await.expect("it joins");
    fleet.connected(1).await;
    fleet.converge(&["--commit", &fleet.catalog.head().expect("a commit")]).await.expect("it converges");
    let file = fleet.directory().join("fleet.snapshot").display().to_string();
    fleet.order(&["snapshot", "-f", &file]).await;
    fleet.kill_hub();
    let tree = fleet.catalog.path().display().to_string();
    let offline = ["--dir", &tree, "--snapshot", &file];
    let same = plan(&fleet, &offline).await;
    assert_eq!(same.code, 0, "{}{}", same.stdout, same.stderr);
    fleet.catalog.write("site/map.yaml", &map("two")).expect("written");
    let changed = plan(&fleet, &offline).await;
    assert_eq!(changed.code, 3, "{}{}", changed.stdout, changed.stderr);
    for words in ["the-site", "-  value: one", "+  value: two"] {
        assert!(changed.stdout.contains(words), "{words} is not in {}", changed.stdout);
    }
}
