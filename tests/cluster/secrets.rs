//! Secrets: encrypted in Git, in clear on their cluster, and nowhere else.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::canary::Canary;
use harness::fleet::Target;
use harness::fleet::documents::{all_at_once, app, app_with, config_map, placement};
use harness::kubernetes::{Cluster, Options};
use harness::process::Program;
use harness::sops::encrypt;
use harness::wait::until;
use serde_json::{Value, json};

use crate::stage::{LIMIT, Stage, Witness};

fn secret(name: &str, field: &str, content: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, (field): content})
}

fn catalog() -> Vec<(&'static str, String)> {
    vec![
        ("fleet.yaml", all_at_once()),
        ("web.yaml", app("web")),
        ("theirs.yaml", app("theirs")),
        ("broken.yaml", app("broken")),
        ("settings.yaml", app_with("settings", "  drift: Report\n")),
        ("manifests/web/web.yaml", config_map("web", "one")),
        ("manifests/theirs/theirs.yaml", config_map("theirs", "one")),
        ("manifests/broken/broken.yaml", config_map("broken", "one")),
        ("manifests/settings/settings.yaml", config_map("settings", "one")),
        ("placement.yaml", placement("all", &["web", "theirs", "broken", "settings"], "{selector: {}}")),
    ]
}

/// Recipients of both clusters, once they are known.
async fn recipients(stage: &Stage) -> [String; 2] {
    until("both spokes report a recipient", LIMIT, async || {
        let rows = stage.fleet.hub(&["secret", "recipients", "-o", "json"]).await?.json()?;
        let of = |name: &str| {
            let row = rows.as_array()?.iter().find(|row| row["cluster"] == name)?;
            row["recipient"].as_str().map(str::to_owned)
        };
        let all = of("fra-1").zip(of("edge-1"));
        all.map(|(fra, edge)| [fra, edge]).with_context(|| format!("{rows}\n{}", stage.fleet.tails()))
    })
    .await
}

#[tokio::test]
async fn a_secret_is_in_clear_on_its_clusters_and_nowhere_else() {
    let mut stage = Stage::start(&catalog(), &[]).await;
    // All that they can be made to say.
    stage.fleet.log("debug");
    stage.fleet.kill_hub();
    stage.fleet.start_hub().await.unwrap();
    let fra = Cluster::start(Options { name: "fra-1".to_owned(), workloads: false }).await.unwrap();
    stage.fleet.join("fra-1", &[], &Target::Kube(fra.kubeconfig().to_owned())).await.unwrap();
    stage.clusters.push(fra);
    stage.fleet.join("edge-1", &[], &Target::Directory).await.unwrap();
    stage.fleet.connected(2).await;
    let to = recipients(&stage).await;
    let canary = Canary::new();
    // An API server of 1.20 repeats a value of the wrong type in its error.
    let number = Canary::of(fastrand::u64(10_000_000_000..99_999_999_999).to_string());
    // What an object had before its value was changed is no less secret.
    let earlier = Canary::new();
    write(&stage, &to, &canary, &number);
    stage.fleet.catalog.commit("Add secrets").unwrap();

    until("the secret is on the cluster", LIMIT, async || {
        let found =
            stage.cluster("fra-1").kubectl(&["get", "secret", "-n", "web", "web", "-o", "json"]).await?;
        let found: Value = serde_json::from_str(&found)?;
        let expected = json!({"password": STANDARD.encode(canary.value()), "token": STANDARD.encode("t")});
        ensure!(found["data"] == expected, "the data differs: {}", found["data"]);
        Ok(())
    })
    .await;
    assert!(stage.cluster("fra-1").has("theirs", "secret/theirs").await);
    what_cannot_be_opened_is_named(&stage, &to).await;
    refused_content_is_not_repeated(&stage).await;
    others_write_it_elsewhere(&stage, &canary, &earlier).await;

    // Spoke and hub start again with what they stored.
    stage.restart_spoke("fra-1");
    stage.fleet.kill_spoke("edge-1");
    stage.fleet.kill_hub();
    stage.fleet.start_hub().await.unwrap();
    assert_eq!(recipients(&stage).await, to, "the recipient of a cluster that is away is known");
    until("the spoke is back", LIMIT, async || {
        let status = stage.fleet.status().await?;
        ensure!(status["connected"] == 1, "{status}\n{}", stage.fleet.tails());
        Ok(())
    })
    .await;
    for process in ["hub", "spoke-fra-1", "spoke-edge-1"] {
        let log = stage.fleet.directory().join(format!("{process}.stderr"));
        assert!(std::fs::read_to_string(log).unwrap().contains("DEBUG"), "{process} says all that it can");
    }
    // Changed in Git, a plan has both sides of it.
    let next = Canary::new();
    let web = secret("web", "stringData", json!({"password": next.value(), "token": "t"}));
    stage.fleet.catalog.switch("next").unwrap();
    stage.fleet.catalog.write("manifests/web/secret.json", &encrypt(&web, &to).unwrap()).unwrap();
    stage.fleet.catalog.commit("Another password").unwrap();
    stage.cluster("fra-1").apply(POD).await.unwrap();
    for canary in [&canary, &number, &earlier, &next] {
        nothing_else_has_it(&stage, canary).await;
    }
    let manifests = stage.fleet.files("edge-1").unwrap();
    assert!(
        manifests.values().any(|text| canary.found_in(text.as_bytes()).is_some()),
        "{:?}",
        manifests.keys()
    );
}

/// One for both clusters, one for `fra-1` alone, one that no API server takes.
fn write(stage: &Stage, to: &[String; 2], canary: &Canary, number: &Canary) {
    let catalog = &stage.fleet.catalog;
    let web = secret("web", "stringData", json!({"password": canary.value(), "token": "t"}));
    catalog.write("manifests/web/secret.json", &encrypt(&web, to).unwrap()).unwrap();
    let theirs = secret("theirs", "stringData", json!({"password": canary.value()}));
    catalog.write("manifests/theirs/secret.yaml", &encrypt(&theirs, &to[..1]).unwrap()).unwrap();
    let pin: u64 = number.value().parse().unwrap();
    let mut settings = secret("encrypted", "data", json!({"password": canary.value()}));
    settings["kind"] = "ConfigMap".into();
    catalog.write("manifests/settings/encrypted.yaml", &encrypt(&settings, to).unwrap()).unwrap();
    let broken = secret("broken", "data", json!({"pin": pin}));
    catalog.write("manifests/broken/secret.yaml", &encrypt(&broken, to).unwrap()).unwrap();
}

async fn what_cannot_be_opened_is_named(stage: &Stage, to: &[String; 2]) {
    let said = until("edge-1 says that it cannot open it", LIMIT, async || {
        let shown = stage.fleet.hub(&["app", "show", "theirs", "-o", "json"]).await?.stdout;
        ensure!(shown.contains("Undecryptable"), "{shown}\n{}", stage.fleet.tails());
        Ok(shown)
    })
    .await;
    for part in [&*to[0], &*to[1], "Secret theirs/theirs", "sops updatekeys"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    // The app's other object is there.
    let files = stage.fleet.files("edge-1").unwrap();
    let of = |kind: &str| {
        files.values().any(|text| text.contains(&format!("kind: {kind}")) && text.contains("theirs"))
    };
    assert!(of("ConfigMap") && !of("Secret"), "{:?}", files.keys());
}

async fn refused_content_is_not_repeated(stage: &Stage) {
    let refused = until("the refused secret is reported", LIMIT, async || {
        let shown = stage.fleet.hub(&["app", "show", "broken", "-o", "json"]).await?.stdout;
        ensure!(shown.contains("Secret broken/broken") && shown.contains("Failed"), "{shown}");
        Ok(shown)
    })
    .await;
    assert!(refused.contains("<secret>"), "{refused}");
}

/// A tool keeps a copy in an annotation; somebody puts an earlier value back where drift is only told.
async fn others_write_it_elsewhere(stage: &Stage, canary: &Canary, earlier: &Canary) {
    let fra = stage.cluster("fra-1");
    let copy = format!("kapp.k14s.io/original={}", json!({"data": {"password": canary.value()}}));
    fra.kubectl(&["annotate", "-n", "web", "secret/web", &copy]).await.unwrap();
    let data = json!({"data": {"password": earlier.value()}}).to_string();
    fra.kubectl(&["patch", "-n", "settings", "configmap/encrypted", "--type=merge", "-p", &data])
        .await
        .unwrap();
    until("the drift is told", LIMIT, async || {
        let shown = stage.fleet.hub(&["app", "show", "settings", "-o", "json"]).await?.stdout;
        ensure!(shown.contains("has another value"), "{shown}\n{}", stage.fleet.tails());
        Ok(())
    })
    .await;
    let drift = stage.fleet.hub(&["drift", "settings", "-o", "json"]).await.unwrap().stdout;
    assert!(drift.contains("/data/password") && drift.contains("<changed>"), "{drift}");
    let got = stage.fleet.hub(&["get", "secret", "web", "-n", "web", "-o", "json"]).await.unwrap().stdout;
    assert!(got.contains("kapp.k14s.io/original") && got.contains("<hidden>"), "{got}");
    let got =
        stage.fleet.hub(&["get", "cm", "encrypted", "-n", "settings", "-o", "json"]).await.unwrap().stdout;
    assert!(got.contains("password") && got.contains("<hidden>"), "{got}");
}

/// Not in the hub's store, a spoke's state, a log, a bundle or an answer. What is on the clusters is theirs.
async fn nothing_else_has_it(stage: &Stage, canary: &Canary) {
    let clusters = stage.fleet.directory().join("clusters");
    let (found, looked) = canary.search(stage.fleet.directory(), &[&clusters]).unwrap();
    assert!(looked > 20, "only {looked} files were looked at");
    assert_eq!(found, Vec::<std::path::PathBuf>::new());
    assert_eq!(canary.search(&stage.fleet.catalog.path(), &[]).unwrap().0, Vec::<std::path::PathBuf>::new());
    let questions: &[&[&str]] = &[
        &["status"],
        &["app", "list"],
        &["app", "show", "web"],
        &["app", "show", "broken"],
        &["cluster", "list"],
        &["cluster", "show", "fra-1"],
        &["why", "web", "fra-1"],
        &["secret", "recipients"],
        &["audit"],
        &["app", "show", "settings"],
        &["drift"],
        &["adopt", "check", "web"],
        &["adopt", "check", "settings"],
        &["get", "secrets", "-A"],
        &["get", "configmaps", "-A"],
        &["get", "secret", "web", "-n", "web", "--events"],
        &["plan", "next"],
        &["plan", "next", "--live"],
        &["render", "web", "--cluster", "fra-1"],
        &["render", "web", "--cluster", "fra-1", "--provenance"],
        &["render", "settings", "--cluster", "edge-1"],
        &["trace", "secret/web", "-n", "web", "--cluster", "fra-1"],
        &["trace", "configmap/encrypted", "-n", "settings", "--cluster", "fra-1"],
        &["events"],
        &["logs", "web-1", "-n", "web"],
    ];
    let forms = |question: &[&str]| if question[0] == "plan" { ["text", "json"] } else { ["wide", "json"] };
    for question in questions {
        for format in forms(question) {
            let answer = stage.fleet.hub(&[question, &["-o", format][..]].concat()).await.unwrap();
            let said = answer.stdout + &answer.stderr;
            assert!(answer.code != 2 && !said.is_empty(), "{question:?} {format} is no question: {said}");
            assert_eq!(canary.found_in(said.as_bytes()), None, "{question:?} {format}: {said}");
        }
    }
    for (cluster, format) in [("fra-1", "table"), ("fra-1", "json"), ("edge-1", "json")] {
        let spoke = Program::built("spoke").unwrap().args(["status", "-o", format, "--state-dir"]);
        let said = spoke.arg(stage.fleet.state(cluster)).output(LIMIT).await.unwrap();
        assert!(said.contains("broken"), "{cluster} {format}: {said}");
        assert_eq!(canary.found_in(said.as_bytes()), None, "{cluster} {format}: {said}");
    }
}

/// A pod on a node that is not there: what is said of it when its log is asked for.
const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: web}\nspec: {nodeName: nowhere, containers: \
                   [{name: main, image: x, env: [{name: P, valueFrom: {secretKeyRef: {name: web, key: password}}}]}]}\n";

/// An identity of age's own test vectors, and whom one encrypts to for it.
const GIVEN: &str = "AGE-SECRET-KEY-15RR7D0U8E5Z0E0A6DQP6AK9ZEVF2DC28HY96H0WTT9NYSZYU5E4SEX0MA9";
const RECIPIENT: &str = "age154449dfh8wa8xug9y2jfrdu0cuvuwluq9t0gnsmlkp4f2mrwepysnj2286";

#[tokio::test]
async fn a_key_that_the_cluster_gives_is_the_one_and_none_is_made_over_one_that_cannot_be_used() {
    let mut files = vec![
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "one")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let web = secret("web", "stringData", json!({"password": "opened"}));
    files.push(("manifests/web/secret.yaml", encrypt(&web, &[RECIPIENT.to_owned()]).unwrap()));
    let mut stage = Stage::start(&files, &[]).await;
    let fra = Cluster::start(Options { name: "fra-1".to_owned(), workloads: false }).await.unwrap();
    fra.kubectl(&["create", "namespace", "nave-system"]).await.unwrap();
    let give = async |fra: &Cluster, field: &str, text: &str| {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "nave-age", "namespace": "nave-system"}, "data": {(field): STANDARD.encode(text)}});
        fra.apply(&object.to_string()).await.unwrap();
    };
    give(&fra, "age.agekey", "none of age's").await;
    stage.fleet.join("fra-1", &[], &Target::Kube(fra.kubeconfig().to_owned())).await.unwrap();
    stage.fleet.connected(1).await;
    stage.clusters.push(fra);

    // It is told, what needs a key waits, and nobody is told to encrypt to another.
    let unusable = "the Secret nave-age holds something else than age identities";
    stage.fleet.spoke_process("fra-1").unwrap().line(unusable, LIMIT).await.unwrap();
    stage.shown("it cannot be opened", "web", |entry| entry["reason"] == "Undecryptable").await;
    let fra = stage.cluster("fra-1");
    assert_eq!(fra.config_map("web/web").await.unwrap(), "one", "the rest of the app goes on");
    assert!(!fra.has("web", "secret/web").await);
    let rows = stage.fleet.hub(&["secret", "recipients", "-o", "json"]).await.unwrap().json().unwrap();
    assert_eq!((&rows[0]["cluster"], &rows[0]["recipient"]), (&json!("fra-1"), &Value::Null), "{rows:#}");
    assert!(!stage.fleet.state("fra-1").join("age-keys").exists(), "no key is made over it");

    give(fra, "age.agekey", &format!("# public key: {RECIPIENT}\n{GIVEN}\n")).await;
    until("the secret is on the cluster", LIMIT, async || {
        ensure!(fra.has("web", "secret/web").await, "{}", stage.fleet.tails());
        Ok(())
    })
    .await;
    assert_eq!(fra.field("web", "secret/web", "{.data.password}").await, STANDARD.encode("opened"));
    let screen = until("the hub knows the recipient", LIMIT, async || {
        let said = stage.fleet.hub(&["secret", "recipients"]).await?.stdout;
        ensure!(said.contains("age1"), "{said}");
        Ok(said)
    })
    .await;
    assert!(screen.contains(RECIPIENT), "{screen}");
    assert!(!stage.fleet.state("fra-1").join("age-keys").exists(), "a given key is the only one");
}
