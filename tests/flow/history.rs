//! History with real processes: who did what and why, what was told at a moment, from an object to its author.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::wait;
use serde_json::{Value, json};

use crate::values::value;

const LIMIT: Duration = Duration::from_secs(60);
const CLUSTERS: [&str; 3] = ["fra-1", "fra-2", "fra-3"];

const CAREFUL: &str = "\
apiVersion: nave.dev/v1alpha1
kind: Rollout
metadata: {name: careful}
spec:
  waves:
  - {name: canary, count: 1}
  - {name: rest, before: {approval: true}}
";

fn deployment(image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  \
         template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: web, image: {image:?}}}]}}\n"
    )
}

async fn fleet() -> Fleet {
    let app = documents::app_with("web", "  rollout: careful\n");
    let files = [
        ("rollout.yaml", CAREFUL),
        ("web.yaml", &app),
        ("manifests/web/web.yaml", &documents::config_map("web", "one")),
        ("manifests/web/deployment.yaml", &deployment("ghcr.io/acme/podinfo:6.1")),
        ("placement.yaml", &documents::placement("web-everywhere", &["web"], "{selector: {}}")),
    ];
    let mut fleet =
        Fleet::start(Repository::with("catalog", &files).expect("it is so")).await.expect("it is so");
    wait::until("the commit is in effect", LIMIT, async || {
        let status = fleet.status().await?;
        ensure!(status["catalog"]["commit"].is_string(), "{status:#}\n{}", fleet.tails());
        Ok(())
    })
    .await;
    for cluster in CLUSTERS {
        fleet.join(cluster, &[], &Target::Directory).await.expect("it is so");
    }
    fleet.connected(CLUSTERS.len()).await;
    fleet.converge(&["--commit", &fleet.catalog.head().expect("it is so")]).await.expect("it is so");
    fleet
}

fn change(fleet: &Fleet, to: &str) -> String {
    fleet.catalog.write("manifests/web/web.yaml", &documents::config_map("web", to)).expect("it is so");
    fleet.catalog.commit(&format!("Make it {to}")).expect("it is so")
}

async fn asked(fleet: &Fleet, arguments: &[&str]) -> Value {
    let all = [arguments, &["-o", "json"]].concat();
    serde_json::from_str(&fleet.order(&all).await).expect("JSON")
}

async fn approve(fleet: &Fleet) {
    fleet.rollout_waits("web", "Approval").await;
    fleet.order(&["rollout", "approve", "web", "--reason", "looked at it"]).await;
}

async fn seen(fleet: &Fleet, what: &str, wanted: Option<&str>) {
    wait::until(what, LIMIT, async || {
        let seen = CLUSTERS.map(|cluster| value(fleet, cluster, "web"));
        ensure!(seen.iter().all(|seen| seen.as_deref() == wanted), "{seen:?}\n{}", fleet.tails());
        Ok(())
    })
    .await;
}

/// The lines that tell of one kind of change.
fn lines<'a>(view: &'a Value, what: &str) -> Vec<&'a Value> {
    let all = view["lines"].as_array().expect("lines");
    all.iter().filter(|line| line["what"] == what).collect()
}

/// The clusters of some lines.
fn clusters(lines: &[&Value]) -> Vec<String> {
    let all = lines.iter().flat_map(|line| line["clusters"].as_array().expect("names"));
    let mut names: Vec<String> = all.map(|name| name.as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// RFC 3339 to the millisecond, of Unix milliseconds: without a fraction it would be the whole second.
fn rfc3339(ms: u64) -> String {
    let text = nave_hub::state::rfc3339(ms);
    if text.contains('.') { text } else { text.replace('Z', ".000Z") }
}

#[tokio::test]
async fn the_next_morning_everybody_can_see_who_did_what_and_why_also_after_a_restart() {
    let mut fleet = fleet().await;
    let first = fleet.catalog.head().expect("it is so");
    let second = change(&fleet, "two");
    approve(&fleet).await;
    fleet.converge(&["--commit", &second]).await.expect("it is so");
    fleet.order(&["rollback", "web", "--to", &first[..10], "--reason", "incident 812"]).await;
    seen(&fleet, "everybody has the first", Some("one")).await;
    fleet.converge(&[]).await.expect("it is so");
    fleet.order(&["pin", "remove", "web", "--reason", "mended"]).await;
    approve(&fleet).await;
    seen(&fleet, "everybody goes on", Some("two")).await;
    fleet.converge(&[]).await.expect("it is so");
    // One that is taken back after its canary.
    let bad = change(&fleet, "bad");
    fleet.rollout_waits("web", "Approval").await;
    fleet.order(&["rollout", "abort", "web", "--reason", "wrong image"]).await;
    seen(&fleet, "the canary went back", Some("two")).await;
    // A rule that wants it nowhere: three clusters would lose their last app, which somebody has to approve.
    let nowhere = documents::placement("web-everywhere", &["web"], "{selector: {matchLabels: {env: none}}}");
    fleet.catalog.write("placement.yaml", &nowhere).expect("it is so");
    let third = fleet.catalog.commit("Nobody needs it").expect("it is so");
    let hold = wait::until("it is held", LIMIT, async || {
        let holds = fleet.hub(&["hold", "list", "-o", "json"]).await?.json()?;
        let id = holds[0]["hold"]["id"].as_str().map(str::to_owned);
        id.ok_or_else(|| anyhow::anyhow!("{holds:#}\n{}", fleet.tails()))
    })
    .await;
    fleet.order(&["hold", "approve", &hold, "--reason", "is retired"]).await;
    seen(&fleet, "nobody has it", None).await;

    let told = asked(&fleet, &["history", "web"]).await;
    let author = format!(
        "{} <{}>",
        fleet.catalog.git(&["log", "-1", "--format=%an"]).expect("it is so").trim(),
        fleet.catalog.git(&["log", "-1", "--format=%ae"]).expect("it is so").trim()
    );
    let installed = lines(&told, "Installed");
    assert_eq!(clusters(&installed), CLUSTERS, "{told:#}");
    for line in &installed {
        assert_eq!(
            (&line["cause"]["type"], &line["to"]["commit"]),
            (&json!("Joined"), &json!(first)),
            "{line:#}"
        );
        assert_eq!(line["placements"], json!(["web-everywhere"]), "{line:#}");
    }
    let by = |kind: &str, commit: &str| {
        let changed = lines(&told, "Changed").into_iter();
        let meant = changed.filter(|line| line["cause"]["type"] == kind && line["to"]["commit"] == commit);
        let mut lines: Vec<&Value> = meant.collect();
        lines.sort_by_key(|line| number(&line["atMs"]));
        lines
    };
    // The second version twice: by its commit, and when the pin ended.
    let by_commit = by("Commit", &second);
    assert_eq!(clusters(&by_commit).len(), 6, "{told:#}");
    for line in &by_commit {
        assert_eq!(line["who"], json!(author), "{line:#}");
        let why = line["why"].as_str().expect("words");
        assert!(why.contains("Make it two") && why.contains("rollout web@"), "{why}");
        let is_canary = line["turn"]["wave"] == "canary";
        assert_eq!(is_canary, line["turn"]["approvedBy"].is_null(), "{line:#}");
        assert!(is_canary || line["turn"]["approvedBy"] == "admin", "{line:#}");
    }
    let pinned = by("Pin", &first);
    assert_eq!(clusters(&pinned), CLUSTERS, "{told:#}");
    assert!(
        pinned
            .iter()
            .all(|line| line["who"] == "operator admin" && line["cause"]["reason"] == "incident 812")
    );
    let returned = lines(&told, "Returned");
    assert_eq!(clusters(&returned).len(), 1, "{told:#}");
    assert_eq!(returned[0]["who"], "operator admin", "{told:#}");
    assert!(returned[0]["why"].as_str().expect("words").contains("wrong image"), "{told:#}");
    assert_eq!((&returned[0]["from"]["commit"], &returned[0]["to"]["commit"]), (&json!(bad), &json!(second)));
    let removed = lines(&told, "Removed");
    assert_eq!(clusters(&removed), CLUSTERS, "{told:#}");
    for line in &removed {
        let cause = &line["cause"];
        assert_eq!((&cause["type"], &cause["hold"]), (&json!("Approved"), &json!(hold)), "{line:#}");
        assert_eq!((&line["who"], &cause["commit"]), (&json!("operator admin"), &json!(third)), "{line:#}");
    }
    let table = fleet.order(&["history", "web"]).await;
    for word in ["Make it two", "incident 812", &hold, "History begins at", "fra-1"] {
        assert!(table.contains(word), "{word} is missing:\n{table}");
    }

    // As it was at any moment, to the millisecond; before everything that is told nothing is said.
    let moments: Vec<(u64, Option<&str>)> = vec![
        (number(&by_commit[0]["atMs"]) - 1, Some(&*first)),
        (number(&pinned[0]["atMs"]) - 1, Some(&*second)),
        (pinned.iter().map(|line| number(&line["atMs"])).max().expect("some"), Some(&*first)),
        (number(&removed[0]["atMs"]) - 1, Some(&*second)),
        (removed.iter().map(|line| number(&line["atMs"])).max().expect("some"), None),
    ];
    let look_back = async |fleet: &Fleet| {
        for (at_ms, commit) in &moments {
            let then = asked(fleet, &["history", "web", "--at", &rfc3339(*at_ms)]).await;
            let entries = then["entries"].as_array().expect("entries");
            let commits: Vec<&Value> = entries.iter().map(|entry| &entry["commit"]).collect();
            let expected: Vec<Value> = commit.iter().flat_map(|commit| vec![json!(commit); 3]).collect();
            assert_eq!(commits, expected.iter().collect::<Vec<_>>(), "{at_ms}: {then:#}");
            assert!(entries.iter().all(|entry| number(&entry["sinceMs"]) <= *at_ms), "{then:#}");
        }
        let before = fleet.hub(&["history", "--at", "400d"]).await.expect("it is so");
        assert!(before.code == 1 && before.stderr.contains("history reaches back to"), "{}", before.stderr);
    };
    look_back(&fleet).await;
    fleet.kill_hub();
    fleet.start_hub().await.expect("it is so");
    assert_eq!(asked(&fleet, &["history", "web"]).await, told);
    look_back(&fleet).await;

    // A cluster that leaves keeps its history, and what it kept is told.
    let one = asked(&fleet, &["history", "--cluster", "fra-1", "--limit", "2"]).await;
    assert!(
        one["more"] == true
            && clusters(&one["lines"].as_array().expect("lines").iter().collect::<Vec<_>>())
                == ["fra-1", "fra-1"],
        "{one:#}"
    );
    fleet.connected(CLUSTERS.len()).await;
    fleet.order(&["cluster", "remove", "fra-1", "--reason", "sold"]).await;
    wait::until("it is gone", LIMIT, async || {
        let listed = fleet.hub(&["cluster", "list", "-o", "name"]).await?.stdout;
        ensure!(!listed.contains("fra-1"), "{listed}");
        Ok(())
    })
    .await;
    let gone = asked(&fleet, &["history", "--cluster", "fra-1"]).await;
    assert_eq!(clusters(&lines(&gone, "Installed")), ["fra-1"], "{gone:#}");
}

#[tokio::test]
async fn from_an_object_to_its_author_and_from_an_image_to_its_clusters() {
    let mut fleet = fleet().await;
    let first = fleet.catalog.head().expect("it is so");
    let second = change(&fleet, "two");
    approve(&fleet).await;
    fleet.converge(&["--commit", &second]).await.expect("it is so");

    let took = asked(&fleet, &["status", "--commit", &second[..12]]).await;
    let took = &took["commit"]["timeToConverge"];
    assert_eq!((number(&took["clusters"]), number(&took["of"])), (3, 3), "{took:#}");
    assert!(number(&took["p50Ms"]) <= number(&took["p99Ms"]), "{took:#}");
    let line = fleet.order(&["status", "--commit", &second]).await;
    assert!(line.contains("Time to converge: p50 "), "{line}");
    // A later commit has made something else of all that this one made.
    let earlier = asked(&fleet, &["status", "--commit", &first]).await;
    assert_eq!(earlier["commit"]["timeToConverge"]["of"], 0, "{earlier:#}");

    let images = asked(&fleet, &["images", "podinfo:6.1"]).await;
    let image = &images["images"][0];
    assert_eq!(image["image"], "ghcr.io/acme/podinfo:6.1", "{images:#}");
    assert_eq!((&image["apps"], &image["clusters"]), (&json!(["web"]), &json!(CLUSTERS)), "{images:#}");
    assert_eq!(fleet.order(&["images", "podinfo:6.2"]).await, "No such image.\n");
    let running = fleet.hub(&["images", "--running"]).await.expect("it is so");
    assert!(running.code == 1 && running.stderr.contains("does not say what runs"), "{}", running.stderr);

    let trace = ["trace", "configmap/web", "-n", "web", "--cluster", "fra-2"];
    let traced = asked(&fleet, &trace).await;
    assert_eq!(
        (&traced["live"], &traced["app"], &traced["commit"]),
        (&json!(true), &json!("web"), &json!(second))
    );
    assert_eq!(traced["object"]["kind"], "ConfigMap", "{traced:#}");
    assert_eq!(traced["placements"][0]["file"], "placement.yaml", "{traced:#}");
    assert_eq!(traced["written"]["file"], "web.yaml", "{traced:#}");
    assert_eq!(traced["author"]["subject"], "Make it two", "{traced:#}");
    let turn = &traced["change"]["turn"];
    assert!(turn["wave"] == "canary" || turn["approvedBy"] == "admin", "{traced:#}");
    assert!(number(&traced["healthyMs"]) >= number(&traced["toldMs"]), "{traced:#}");
    let nothing =
        fleet.hub(&["trace", "configmap/wbe", "-n", "web", "--cluster", "fra-2"]).await.expect("it is so");
    assert!(
        nothing.code == 1 && nothing.stdout.contains("has no such object, and was told of none"),
        "{nothing:?}"
    );

    // Offline: what the hub knows is told, and that the live part is missing; and the cluster is behind from then on.
    let none = fleet.order(&["cluster", "list", "--behind", "1ms"]).await;
    assert_eq!(none, "No cluster is behind for so long.\n");
    fleet.kill_spoke("fra-2");
    fleet.connected(2).await;
    let offline = asked(&fleet, &trace).await;
    assert_eq!(
        (&offline["live"], &offline["app"], &offline["commit"]),
        (&Value::Null, &json!("web"), &json!(second))
    );
    assert!(offline["liveProblem"].as_str().expect("why").contains("offline"), "{offline:#}");
    assert_eq!((&offline["change"], &offline["object"]), (&traced["change"], &traced["object"]));
    let text = fleet.order(&trace).await;
    for word in ["not seen: offline", "Make it two", "wave ", "placement.yaml", "healthy since"] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
    fleet.order(&["rollback", "web", "--to", &first[..10], "--reason", "incident 812"]).await;
    wait::until("who is away is behind", LIMIT, async || {
        let behind = fleet.hub(&["cluster", "list", "--behind", "100ms", "-o", "json"]).await?.json()?;
        let names: Vec<&Value> = behind.as_array().expect("rows").iter().map(|row| &row["name"]).collect();
        ensure!(names == [&json!("fra-2")], "{behind:#}\n{}", fleet.tails());
        let why = behind[0]["behind"]["why"].as_str().unwrap_or_default();
        ensure!(why.starts_with("app web waits since its turn came"), "{behind:#}");
        Ok(())
    })
    .await;
    let screen = fleet.order(&["cluster", "list", "--behind", "100ms"]).await;
    assert!(
        screen.contains("BEHIND SINCE") && screen.contains("fra-2") && !screen.contains("fra-1"),
        "{screen}"
    );

    // A cluster that is let go keeps what it runs, and history tells who let it go.
    fleet.order(&["cluster", "remove", "fra-3", "--reason", "sold"]).await;
    let left = wait::until("it has left", LIMIT, async || {
        let told = fleet.hub(&["history", "web", "--cluster", "fra-3", "-o", "json"]).await?.json()?;
        ensure!(told["lines"][0]["what"] == "Detached", "{told:#}\n{}", fleet.tails());
        Ok(told["lines"][0].clone())
    })
    .await;
    assert_eq!((&left["who"], &left["to"]), (&json!("operator admin"), &Value::Null), "{left:#}");
    let at_ms = number(&left["atMs"]);
    for (at_ms, entries) in [(at_ms - 1, 1), (at_ms, 0)] {
        let then = asked(&fleet, &["history", "--cluster", "fra-3", "--at", &rfc3339(at_ms)]).await;
        assert_eq!(then["entries"].as_array().map(Vec::len), Some(entries), "{then:#}");
    }
}
