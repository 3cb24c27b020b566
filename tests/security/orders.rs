//! Orders about members: what an operator says of clusters, who may take a name over, what stands still meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use harness::fleet::{Target, documents};
use harness::peers::{self, Stream};
use harness::wait;
use nave_proto::tls::Credentials;
use nave_proto::v1::{self, from_spoke, to_spoke};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tonic::Code;

use crate::given::{LIMIT, Stage, enrol, renew, request};

/// What must not come has this long to come.
const QUIET: Duration = Duration::from_secs(2);

impl Stage {
    /// An order on the command line: what it printed.
    async fn ordered(&self, arguments: &[&str]) -> String {
        let answer = self.fleet.hub(&[&["cluster"], arguments].concat()).await.unwrap();
        assert_eq!(answer.code, 0, "{arguments:?}: {}{}", answer.stdout, answer.stderr);
        answer.stdout
    }

    /// An order that is refused: its exit code, and why.
    async fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let answer = self.fleet.hub(&[&["cluster"], arguments].concat()).await.unwrap();
        (answer.code, answer.stderr)
    }

    /// `hub cluster show -o json`.
    async fn shown(&self, cluster: &str) -> Value {
        self.fleet.hub(&["cluster", "show", cluster, "-o", "json"]).await.unwrap().json().unwrap()
    }

    /// The last line of the audit log: what, to what, why, and details.
    async fn last_audit(&self) -> (String, String, String, Value) {
        let request = v1::AuditListRequest::default();
        let answer = self.operator().await.audit_list(request).await.unwrap().into_inner();
        let view: Value = serde_json::from_slice(&answer.json).unwrap();
        let line = view["lines"].as_array().unwrap().last().unwrap().clone();
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        (text("what"), text("subject"), text("why"), line["details"].clone())
    }
}

#[tokio::test]
async fn labels_are_ordered_as_kubectl_does_it_git_wins_and_both_are_shown() {
    let stage = Stage::start().await;
    for cluster in ["fra-1", "fra-2"] {
        stage.member(cluster, &[("tier", "gold"), ("env", "test")]).await;
    }
    assert_eq!(
        stage.ordered(&["label", "fra-1", "tier=gold"]).await,
        "cluster fra-1 not changed: it is so already\n"
    );
    let (code, why) = stage.refused(&["label", "fra-1", "fra-2", "tier=iron"]).await;
    assert!(code == 1 && why.contains("--overwrite"), "{code}: {why}");
    let said =
        stage.ordered(&["label", "-l", "tier=gold", "tier=iron", "--overwrite", "--reason", "worn"]).await;
    assert_eq!(said, "cluster fra-1 labelled\ncluster fra-2 labelled\n");
    let (what, subject, why, details) = stage.last_audit().await;
    assert_eq!((what.as_str(), subject.as_str(), why.as_str()), ("Labelled", "cluster fra-2", "worn"));
    assert_eq!(details, json!({"labels": "tier=iron"}));
    // One that does not exist, one that is not valid, nothing at all: nothing changes.
    assert_eq!(stage.refused(&["label", "fra-1", "nobody", "a=b"]).await.0, 1);
    assert_eq!(stage.refused(&["label", "fra-1", "a=b c"]).await.0, 1);
    assert_eq!(stage.refused(&["label", "-l", "tier=gold", "a=b"]).await.0, 1);
    assert_eq!(stage.refused(&["label", "fra-1"]).await.0, 2);
    assert_eq!(stage.refused(&["label", "tier=iron"]).await.0, 2);

    let git = "apiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {name: fra-1, labels: {env: prod}}\n";
    stage.fleet.catalog.write("fra-1.yaml", git).unwrap();
    let commit = stage.fleet.catalog.commit("Say it in Git").unwrap();
    wait::until("Git's label is in effect", LIMIT, async || {
        let shown = stage.shown("fra-1").await;
        ensure!(shown["labels"]["env"] == "prod", "{commit}: {shown:#}");
        Ok(())
    })
    .await;
    let shown = stage.shown("fra-1").await;
    assert_eq!(shown["operatorLabels"], json!({"env": "test", "tier": "iron"}));
    assert_eq!(shown["catalogLabels"], json!({"env": "prod"}));
    assert_eq!(shown["hiddenLabels"], json!({"env": "test"}));
    let list = stage.ordered(&["list"]).await;
    assert!(list.contains("env=prod (an operator said \"test\")"), "{list}");
    let (code, why) = stage.refused(&["label", "fra-1", "env=dev", "--overwrite"]).await;
    assert!(code == 1 && why.contains("set in the catalog"), "{code}: {why}");
    // What Git hides can be taken away, and only Git's word is left.
    stage.ordered(&["label", "fra-1", "env-"]).await;
    assert_eq!(stage.shown("fra-1").await["hiddenLabels"], json!(null));
    let exported: Value =
        stage.fleet.hub(&["cluster", "export", "-o", "json"]).await.unwrap().json().unwrap();
    assert_eq!(exported[0]["file"], "fra-1.yaml", "{exported:#}");
    assert_eq!(exported[0]["document"]["metadata"], json!({"name": "fra-1", "labels": {"tier": "iron"}}));
    assert_eq!(exported[1]["document"]["metadata"]["labels"], json!({"tier": "iron", "env": "test"}));
}

#[tokio::test]
async fn taints_cordons_and_drains_are_said_shown_and_taken_back() {
    let stage = Stage::start().await;
    stage.member("fra-1", &[]).await;
    stage.ordered(&["taint", "fra-1", "gpu=a100:NoSchedule", "old:NoExecute"]).await;
    let gpu = json!({"key": "gpu", "value": "a100", "effect": "NoSchedule"});
    assert_eq!(stage.shown("fra-1").await["taints"], json!([gpu, {"key": "old", "effect": "NoExecute"}]));
    assert_eq!(stage.refused(&["taint", "fra-1", "gpu=h100:NoSchedule"]).await.0, 1);
    assert_eq!(stage.refused(&["taint", "fra-1", "gpu=h100:Never"]).await.0, 2);
    stage.ordered(&["taint", "fra-1", "old:NoExecute-", "--reason", "is new"]).await;
    let (what, _, why, details) = stage.last_audit().await;
    assert_eq!((what.as_str(), why.as_str()), ("Tainted", "is new"));
    assert_eq!(details, json!({"taints": "old:NoExecute-"}));
    assert_eq!(stage.shown("fra-1").await["taints"], json!([gpu]));

    let state = async || {
        let shown = stage.shown("fra-1").await;
        (shown["cordoned"] == true, shown["draining"] == true)
    };
    for (order, expected) in
        [("cordon", (true, false)), ("drain", (true, true)), ("uncordon", (false, false))]
    {
        stage.ordered(&[order, "fra-1", "--reason", "disks"]).await;
        assert_eq!(state().await, expected, "{order}");
        assert_eq!(stage.last_audit().await.2, "disks");
    }
    stage.ordered(&["drain", "-l", "!nothing"]).await;
    let list = stage.ordered(&["list"]).await;
    assert!(list.contains(",Draining"), "{list}");
}

/// The value of app `web` in a `dir:` cluster.
fn web(stage: &Stage, cluster: &str) -> BTreeMap<String, String> {
    stage.fleet.files(cluster).unwrap().into_iter().filter(|(name, _)| name.contains("web")).collect()
}

#[tokio::test]
async fn nothing_changes_on_a_cluster_that_is_worked_on_until_that_is_over() {
    let mut stage = Stage::start().await;
    for cluster in ["fra-1", "fra-2"] {
        stage.fleet.join(cluster, &[], &Target::Directory).await.unwrap();
    }
    stage.fleet.connected(2).await;
    stage.fleet.converge(&[]).await.unwrap();
    let before = web(&stage, "fra-1");
    stage.ordered(&["maintain", "fra-1", "--for", "1h", "--reason", "new disks"]).await;

    let change = |stage: &Stage, value: &str| {
        let path = "apps/manifests/web/web.yaml";
        stage.fleet.catalog.write(path, &documents::config_map("web", value)).unwrap();
        stage.fleet.catalog.commit("Change").unwrap()
    };
    let commit = change(&stage, "2");
    // The others are not waited for in vain: it counts as offline.
    let waited = stage.fleet.hub(&["wait", "--commit", &commit, "--timeout", "60s"]).await.unwrap();
    assert_eq!(waited.code, 0, "{}{}", waited.stdout, waited.stderr);
    assert_ne!(web(&stage, "fra-2"), before);
    wait::throughout("the other is let alone", QUIET, async || web(&stage, "fra-1") == before).await;
    let status = stage.fleet.status().await.unwrap();
    assert_eq!(status["maintained"]["fra-1"]["reason"], "new disks", "{status:#}");
    let screen = stage.fleet.hub(&["status"]).await.unwrap().stdout;
    assert!(screen.contains("MAINTAINED: cluster fra-1 is maintained until"), "{screen}");
    let why = stage.fleet.hub(&["why", "web", "fra-1"]).await.unwrap().stdout;
    assert!(why.contains("(new disks): its assignment does not change before"), "{why}");
    let unknown = stage.fleet.hub(&["why", "wbe", "fra-1"]).await.unwrap();
    assert!(unknown.code != 0 && unknown.stderr.contains("there is no app wbe"), "{}", unknown.stderr);
    let unknown = stage.fleet.hub(&["why", "web", "far-1"]).await.unwrap();
    assert!(unknown.code != 0 && unknown.stderr.contains("far-1"), "{}", unknown.stderr);
    assert_eq!(stage.shown("fra-1").await["maintenance"]["reason"], "new disks");
    assert!(waited.stdout.ends_with("; 1 maintained, passed over: fra-1\n"), "{}", waited.stdout);
    for also in [&["--include-offline"][..], &["--cluster", "fra-1"]] {
        let wait = ["wait", "--commit", &commit, "--timeout", "1s"];
        let waited = stage.fleet.hub(&[&wait, also].concat()).await.unwrap();
        assert_eq!(waited.code, 3, "{also:?}: {}{}", waited.stdout, waited.stderr);
        assert!(waited.stdout.contains("cluster fra-1 is maintained until"), "{also:?}: {}", waited.stdout);
    }

    stage.ordered(&["maintain", "fra-1", "--end"]).await;
    stage.fleet.converge(&["--commit", &commit]).await.unwrap();
    assert_eq!(web(&stage, "fra-1"), web(&stage, "fra-2"));

    // And it ends by itself, without anything else happening.
    stage.ordered(&["maintain", "fra-1", "--for", "5s"]).await;
    let commit = change(&stage, "3");
    stage.fleet.converge(&["--commit", &commit]).await.unwrap();
    assert_eq!(web(&stage, "fra-1"), web(&stage, "fra-2"));
    assert_eq!(stage.shown("fra-1").await["maintenance"], json!(null));
}

#[tokio::test]
async fn a_rebuilt_cluster_gets_name_labels_and_assignment_and_the_old_one_nothing_any_more() {
    let stage = Stage::start().await;
    let old_token = stage.token("fra-1", 0, &[("env", "prod")]).await;
    let old_key = KeyPair::generate().unwrap();
    let identity = enrol(stage.channel(None).await, &old_token, &request(&old_key), "old").await.unwrap();
    let old = Credentials { certificate: identity.certificate, key: old_key.serialize_der() };
    let channel = stage.channel(Some(&old)).await;
    let mut stream = Stream::open(channel.clone(), peers::hello("old")).await.unwrap();
    let assigned = stream.assignment().await.unwrap();
    assert_eq!(assigned.entries.len(), 2);
    stage.ordered(&["label", "fra-1", "tier=gold"]).await;

    let replaced = stage.fleet.hub(&["cluster", "replace", "fra-1", "--reason", "fire", "-o", "json"]).await;
    let replaced = replaced.unwrap().json().unwrap();
    let token = v1::JoinToken::from_text(replaced["token"].as_str().unwrap()).unwrap();
    let said = stream.rest(LIMIT).await.unwrap();
    assert!(matches!(said.last(), Some(to_spoke::Message::Goodbye(_))), "{said:?}");
    let audit = stage.last_audit().await;
    assert_eq!((audit.0.as_str(), audit.2.as_str()), ("Replaced", "fire"));
    let shown = stage.shown("fra-1").await;
    assert_eq!(
        (&shown["awaitsReplacement"], &shown["labels"]["env"]),
        (&json!(true), &json!("prod")),
        "{shown:#}"
    );

    let app = assigned.entries[0].app.as_ref().unwrap().name.clone();
    let why = stage.fleet.hub(&["why", &app, "fra-1"]).await.unwrap().stdout;
    assert!(why.contains("waits for the cluster that is to replace its last one"), "{why}");

    // Every way back is shut for the old one: its certificate, a renewal, the token that it came by.
    for channel in [channel, stage.channel(Some(&old)).await] {
        let refused = Stream::open(channel, peers::hello("old")).await.map(drop).unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    let refused = renew(stage.channel(None).await, &old.certificate, &old_key).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let refused = enrol(stage.channel(None).await, &old_token, &request(&old_key), "old").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");

    // What is said of the name meanwhile is said of the new one.
    stage.ordered(&["label", "fra-1", "tier=iron", "--overwrite"]).await;
    let key = KeyPair::generate().unwrap();
    let identity = enrol(stage.channel(None).await, &token, &request(&key), "new").await.unwrap();
    let new = Credentials { certificate: identity.certificate, key: key.serialize_der() };
    let channel = stage.channel(Some(&new)).await;
    let given = Stream::open(channel, peers::hello("new")).await.unwrap().assignment().await.unwrap();
    assert_eq!((given.epoch, given.generation), (assigned.epoch, assigned.generation));
    assert_eq!(given.digest, assigned.digest);
    let shown = stage.shown("fra-1").await;
    assert_eq!(
        (&shown["awaitsReplacement"], &shown["labels"]["tier"]),
        (&json!(null), &json!("iron")),
        "{shown:#}"
    );
    let refused = renew(stage.channel(None).await, &old.certificate, &old_key).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
}

#[tokio::test]
async fn what_a_cluster_says_of_itself_is_kept_and_what_it_has_left_ends_with_its_session() {
    let stage = Stage::start().await;
    let member = stage.member("fra-1", &[]).await;
    let channel = stage.channel(Some(&member.credentials)).await;
    let stream = Stream::open(channel, peers::hello(&member.uid)).await.unwrap();
    let facts = v1::Facts {
        nodes: Some(v1::facts::Number { present: Some(3) }),
        provider: Some(v1::facts::Text { present: None }),
        ..v1::Facts::default()
    };
    stream.say(from_spoke::Message::Facts(facts)).await.unwrap();
    let amounts = v1::Resources { cpu_millis: 1_500, memory: 1 << 30, ..v1::Resources::default() };
    stream.say(from_spoke::Message::Free(v1::Free { amounts: Some(amounts) })).await.unwrap();
    let until = async |what: &str, wanted: Value| {
        wait::until(what, LIMIT, async || {
            let facts = stage.shown("fra-1").await["facts"].clone();
            ensure!(facts["free"] == wanted, "{facts:#}");
            Ok(facts)
        })
        .await
    };
    let free = json!({"present": {"cpuMillis": 1_500, "memory": 1u64 << 30, "other": {}}});
    let facts = until("it is shown what is free", free).await;
    assert!(facts["freeMs"].is_u64(), "{facts:#}");
    let seen = ["nodes", "provider", "region", "apis"].map(|fact| facts[fact].clone());
    assert_eq!(seen, [json!({"present": 3}), json!("absent"), json!("unknown"), json!("unknown")]);
    let text = stage.ordered(&["show", "fra-1"]).await;
    assert!(text.contains("cpu 1500m, memory 1Gi, as of"), "{text}");

    drop(stream);
    let facts = until("it is not known any more", json!("unknown")).await;
    assert_eq!((&facts["nodes"], &facts["freeMs"]), (&json!({"present": 3}), &json!(null)), "{facts:#}");
}
