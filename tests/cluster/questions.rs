//! Questions to live clusters: what an operator sees is what kubectl sees on each of them, no Secret leaves, and a cluster
//! that does not answer is named, not waited for.

use std::path::PathBuf;

use anyhow::ensure;
use harness::fleet::Answer;
use harness::fleet::documents::{app, config_map, placement};
use harness::kubernetes::Cluster;
use harness::wait::until;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::stage::{LIMIT, Stage, Witness};

/// What must not be found anywhere but on the cluster; in Secrets it stands in base64.
const CANARY: &str = "canary-4711";
const CANARY_BASE64: &str = "Y2FuYXJ5LTQ3MTE=";
const OTHER_CANARY_BASE64: &str = "Y2FuYXJ5LTA4MTU=";

fn catalog() -> Vec<(&'static str, String)> {
    vec![
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "ours")),
        ("manifests/web/more.yaml", config_map("more", "ours")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ]
}

/// Puts a file onto a cluster, as its users would.
async fn apply(stage: &Stage, cluster: &Cluster, text: &str) {
    let path: PathBuf = stage.fleet.directory().join("by-hand.yaml");
    std::fs::write(&path, text).unwrap();
    cluster.kubectl(&["apply", "-f", &path.to_string_lossy()]).await.unwrap();
}

/// Lines of a table without their last column, which is an age.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    text.lines()
        .map(cells)
        .map(|mut row| {
            row.pop();
            row
        })
        .collect()
}

async fn ask(stage: &Stage, arguments: &[&str]) -> Answer {
    stage.fleet.hub(arguments).await.unwrap()
}

const DEFINITION: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Cluster
  names: {kind: Widget, plural: widgets, singular: widget, shortNames: [wdg]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
";

#[tokio::test]
async fn one_question_has_the_rows_of_every_cluster_and_names_those_that_do_not_answer() {
    let mut stage = Stage::start(&catalog(), &[("fra-1", &["env=prod"]), ("par-1", &["env=test"])]).await;
    stage.converge().await;
    let (fra, par) = (stage.cluster("fra-1"), stage.cluster("par-1"));
    let only_here =
        ["create", "configmap", "-n", "web", "only-par", "--from-literal=a=b", "--from-literal=c=d"];
    par.kubectl(&only_here).await.unwrap();
    par.kubectl(&["label", "configmap", "-n", "web", "only-par", "tier=x"]).await.unwrap();

    // Whatever the kind is called, and in one namespace or all: kubectl's rows of each, under each other.
    for (kind, scope) in [
        ("cm", ["-n", "web"].as_slice()),
        ("ConfigMap", &["-n", "web"]),
        ("configmaps.v1.", &["-A"]),
        ("clusterroles", &[]),
    ] {
        let answer = ask(&stage, &[&["get", kind], scope].concat()).await;
        assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{kind}: {}", answer.stdout);
        let (namespaced, everywhere) = (!scope.is_empty(), scope == ["-A"]);
        let mut expected = Vec::new();
        for (name, cluster) in [("fra-1", fra), ("par-1", par)] {
            let listed = cluster.kubectl(&[&["get", kind, "--no-headers"], scope].concat()).await.unwrap();
            let mut of_cluster = rows(&listed);
            of_cluster.sort();
            for mut row in of_cluster {
                if namespaced && !everywhere {
                    row.insert(0, "web".to_owned());
                }
                row.insert(0, name.to_owned());
                expected.push(row);
            }
        }
        let mut seen = rows(&answer.stdout);
        let header = seen.remove(0);
        assert_eq!(header[0], "CLUSTER");
        assert_eq!(header.contains(&"NAMESPACE".to_owned()), namespaced, "{header:?}");
        assert_eq!(seen, expected, "{kind}");
    }

    // Of one cluster, by label of cluster or object, by name; as names and whole.
    let names = ask(&stage, &["get", "cm", "-n", "web", "-l", "env=test", "-o", "name"]).await;
    assert_eq!(
        names.stdout.lines().filter(|l| !l.contains("kube-root-ca")).collect::<Vec<_>>(),
        ["par-1 configmap/more", "par-1 configmap/only-par", "par-1 configmap/web"]
    );
    let selected = ask(&stage, &["get", "cm", "-A", "--object-selector", "tier=x", "-o", "name"]).await;
    assert_eq!(selected.stdout, "par-1 configmap/only-par\n");
    let whole = ask(&stage, &["get", "cm", "only-par", "-n", "web", "-o", "json"]).await.json().unwrap();
    let of = |cluster: &str| {
        let clusters = whole["clusters"].as_array().unwrap();
        clusters.iter().find(|c| c["cluster"] == cluster).unwrap()["answer"]["items"].clone()
    };
    assert_eq!(of("par-1")[0]["data"], json!({"a": "b", "c": "d"}), "{whole:#}");
    assert_eq!(of("fra-1"), Value::Null, "not there is no problem: {whole:#}");
    let nowhere = ask(&stage, &["get", "cm", "nothing", "-n", "web"]).await;
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.stderr.contains("no cluster that answered has cm \"nothing\""), "{}", nowhere.stderr);
    let few = ask(&stage, &["get", "cm", "-n", "web", "--cluster", "par-1", "--limit", "1"]).await;
    assert_eq!(few.stdout.lines().count(), 2, "{}", few.stdout);
    assert!(few.stderr.contains("par-1: there is more than one answer holds"), "{}", few.stderr);

    // A kind that one cluster has and the other has not, by its short name, with its own columns.
    apply(&stage, fra, DEFINITION).await;
    let widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: small}\nspec: {size: 7}\n";
    until("the kind is served", LIMIT, async || fra.kubectl(&["get", "wdg"]).await.map(drop)).await;
    apply(&stage, fra, widget).await;
    until("the short name is known", LIMIT, async || {
        let widgets = ask(&stage, &["get", "wdg"]).await;
        ensure!(widgets.stdout == "CLUSTER  NAME   SIZE\nfra-1    small  7\n", "{widgets:?}");
        ensure!(widgets.stderr.contains("par-1: this cluster serves no kind \"wdg\""), "{widgets:?}");
        Ok(())
    })
    .await;

    // Connected, and silent: it is named when the time is over. Gone: it is named at once.
    stage.fleet.spoke_process("par-1").unwrap().signal(Signal::STOP);
    let slow = ask(&stage, &["get", "cm", "web", "-n", "web", "--timeout", "2s"]).await;
    assert_eq!(slow.code, 0, "the others are shown: {slow:?}");
    assert_eq!(rows(&slow.stdout)[1][..3], ["fra-1", "web", "web"], "{}", slow.stdout);
    assert!(slow.stderr.contains("par-1: slow: no answer within 2 s"), "{}", slow.stderr);
    stage.fleet.kill_spoke("par-1");
    stage.fleet.connected(1).await;
    let gone = ask(&stage, &["get", "cm", "web", "-n", "web", "--timeout", "60s"]).await;
    assert_eq!(rows(&gone.stdout)[1][..3], ["fra-1", "web", "web"], "{}", gone.stdout);
    assert_eq!(gone.stderr, "par-1: offline: its spoke is not connected\n");
    let silent = ask(&stage, &["get", "cm", "-n", "web", "--cluster", "par-1"]).await;
    assert_eq!((silent.code, silent.stdout.as_str()), (1, ""), "{}", silent.stderr);
}

/// An object as a tool leaves it.
fn made_by(kind: &str, name: &str, labels: &str, annotations: &str, content: &str) -> String {
    format!(
        "apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: web, labels: {{{labels}}}, annotations: {{{annotations}}}}}\n{content}\n---\n"
    )
}

#[tokio::test]
async fn what_others_made_is_compared_field_by_field_with_who_manages_it_and_no_secret_is_shown() {
    let mut stage = Stage::start(&[], &[("fra-1", &[])]).await;
    let fra = stage.cluster("fra-1");
    fra.kubectl(&["create", "namespace", "web"]).await.unwrap();
    let secret = |value: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: pass}}\ndata: {{password: {value}}}\n")
    };
    let helm = "meta.helm.sh/release-name: shop, meta.helm.sh/release-namespace: web";
    let data = |value: &str| format!("data: {{value: {value}}}");
    let by_hand = [
        made_by("ConfigMap", "helm", "app.kubernetes.io/managed-by: Helm", helm, &data("theirs")),
        made_by(
            "ConfigMap",
            "argo",
            "",
            "argocd.argoproj.io/tracking-id: 'shop:/ConfigMap:web/argo'",
            &data("theirs"),
        ),
        made_by(
            "ConfigMap",
            "flux",
            "kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system",
            "",
            &data("theirs"),
        ),
        made_by("ConfigMap", "same", "", "nave.dev/adopt: Never", &data("ours")),
        made_by("Secret", "pass", "", "", &format!("data: {{password: {CANARY_BASE64}}}")),
    ];
    apply(&stage, fra, &by_hand.concat()).await;
    let create = ["create", "configmap", "-n", "web", "web", "--from-literal=value=theirs"];
    fra.kubectl(&create).await.unwrap();

    let mut files = catalog();
    for name in ["helm", "argo", "flux", "same"] {
        let path = format!("manifests/web/{name}.yaml");
        stage.fleet.catalog.write(&path, &config_map(name, "ours")).unwrap();
    }
    // As wanted, and left alone: without that, what is equal would be ours by the time of the question.
    let same = config_map("same", "ours")
        .replace("{name: same}", "{name: same, annotations: {nave.dev/adopt: Never}}");
    assert!(same.contains("Never"), "{same}");
    stage.fleet.catalog.write("manifests/web/same.yaml", &same).unwrap();
    files.push(("manifests/web/secret.yaml", secret(OTHER_CANARY_BASE64)));
    // One that is nowhere, and cannot be made either.
    files.push(("manifests/web/never.yaml", config_map("Never", "ours")));
    for (path, text) in &files {
        stage.fleet.catalog.write(path, text).unwrap();
    }
    stage.fleet.catalog.commit("Add web").unwrap();
    stage.group("the app meets what is there", "web", |group| group["phase"] == "Failed").await;
    stage.value("fra-1", "web/more", "ours").await;

    let check = ask(&stage, &["adopt", "check", "web", "-o", "json"]).await;
    assert_eq!(check.code, 3, "{check:?}");
    let check: Value = serde_json::from_str(&check.stdout).unwrap();
    let objects = check["clusters"][0]["answer"]["objects"].as_array().unwrap();
    let adopted = |name: &str| {
        objects.iter().find(|o| o["object"]["name"] == name && o["object"]["kind"] != "Namespace").unwrap()
    };
    let managed = |name: &str, tool: &str| {
        let managers = adopted(name)["managers"].as_array().unwrap();
        managers.iter().find(|m| m["tool"] == tool).map(|m| m["name"].as_str().unwrap().to_owned())
    };
    let states = [
        ("helm", "Differs"),
        ("argo", "Differs"),
        ("flux", "Differs"),
        ("web", "Differs"),
        ("pass", "Differs"),
        ("more", "Ours"),
        ("Never", "Absent"),
        ("same", "Equal"),
    ];
    for (name, state) in states {
        assert_eq!(adopted(name)["state"], state, "{check:#}");
    }
    assert_eq!(managed("helm", "Helm").as_deref(), Some("web/shop"), "{check:#}");
    assert_eq!(managed("argo", "ArgoCd").as_deref(), Some("shop"), "{check:#}");
    assert_eq!(managed("flux", "Flux").as_deref(), Some("flux-system/apps"), "{check:#}");
    assert_eq!(managed("same", "Kubectl").as_deref(), Some("apply"), "{check:#}");
    assert_eq!(managed("web", "Kubectl").as_deref(), Some("create"), "{check:#}");

    let drift = ask(&stage, &["drift", "web"]).await;
    assert_eq!(drift.code, 3, "{drift:?}");
    let line = |object: &str| drift.stdout.lines().find(|l| l.contains(object)).unwrap_or_default();
    let cells: Vec<&str> = line("ConfigMap web/web ").split_whitespace().collect();
    assert_eq!(
        cells,
        ["fra-1", "web", "ConfigMap", "web/web", "/data/value", "theirs", "ours", "kubectl-create"],
        "{}",
        drift.stdout
    );
    assert!(line("Secret web/pass").contains("/data/password  <changed>  <changed>"), "{}", drift.stdout);
    assert!(line("web/Never").contains("(absent)"), "{}", drift.stdout);
    assert!(line("web/more").is_empty() && line("web/same").is_empty(), "{}", drift.stdout);

    // Somebody edits it: the drift names them; the patch puts it right; nothing of it differs any more.
    let edit = [
        "patch",
        "-n",
        "web",
        "configmap/web",
        "--type=merge",
        "-p",
        r#"{"data":{"value":"edited","b.c":"more"}}"#,
    ];
    fra.kubectl(&edit).await.unwrap();
    let edited = ask(&stage, &["drift", "web", "-o", "wide"]).await;
    let line = edited.stdout.lines().find(|l| l.contains("ConfigMap web/web ")).unwrap_or_default();
    assert!(line.contains("edited") && line.ends_with("kubectl-patch"), "{}", edited.stdout);
    let patches = ask(&stage, &["drift", "web", "-o", "patch"]).await;
    let patches: Value = serde_json::from_str(&patches.stdout).unwrap();
    let patch = patches.as_array().unwrap().iter().find(|p| p["object"]["name"] == "web").unwrap();
    let operations = patch["patch"].to_string();
    fra.kubectl(&["patch", "-n", "web", "configmap/web", "--type=json", "-p", &operations]).await.unwrap();
    assert_eq!(fra.config_map("web/web").await.unwrap(), "ours");
    let mended = ask(&stage, &["drift", "-o", "name"]).await;
    assert!(!mended.stdout.contains("ConfigMap web/web"), "{}", mended.stdout);

    // Secrets in every form, under every name; and nowhere a value.
    let mut said = String::new();
    for kind in ["secret", "Secrets", "secrets.v1."] {
        for output in ["table", "wide", "json", "yaml", "name"] {
            let answer = ask(&stage, &["get", kind, "-A", "-o", output]).await;
            assert_eq!(answer.code, 0, "{answer:?}");
            assert!(answer.stdout.contains("pass"), "{}", answer.stdout);
            said += &(answer.stdout + &answer.stderr);
        }
    }
    assert!(said.contains("<hidden>"), "the keys are shown");
    for arguments in [
        &["drift", "-o", "json"][..],
        &["drift", "-o", "patch"],
        &["drift", "-o", "wide"],
        &["adopt", "check", "web", "-o", "wide"],
        &["adopt", "check", "web", "-o", "json"],
        &["get", "secret", "pass", "-n", "web", "--events"],
    ] {
        let answer = ask(&stage, arguments).await;
        said += &(answer.stdout + &answer.stderr);
    }
    stage.fleet.kill_spoke("fra-1");
    stage.fleet.kill_hub();
    for log in ["hub.stdout", "hub.stderr", "spoke-fra-1.stdout", "spoke-fra-1.stderr"] {
        said += &std::fs::read_to_string(stage.fleet.directory().join(log)).unwrap();
    }
    for canary in [CANARY, CANARY_BASE64, OTHER_CANARY_BASE64] {
        let at =
            said.find(canary).map(|at| said[at.saturating_sub(300)..(at + 100).min(said.len())].to_owned());
        assert_eq!(at, None, "{canary} has left the cluster");
    }
}

#[tokio::test]
async fn what_cannot_be_read_of_a_log_is_named_and_events_are_told() {
    let stage = Stage::start(&[], &[("fra-1", &[])]).await;
    let fra = stage.cluster("fra-1");
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: web}}}}\nspec: {{nodeName: nowhere, containers: [{{name: main, image: x}}, {{name: side, image: x}}]}}\n---\n"
        )
    };
    apply(&stage, fra, &(pod("web-1") + &pod("web-2"))).await;
    apply(&stage, fra, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: main, image: x}]}}}\n").await;

    // Their node is not there: the API server says so of each container, and each is named with what it said.
    let logs = ask(&stage, &["logs", "deploy/web", "--cluster", "fra-1"]).await;
    assert_eq!((logs.code, logs.stdout.as_str()), (1, ""), "{logs:?}");
    for (pod, container) in [("web-1", "main"), ("web-1", "side"), ("web-2", "main"), ("web-2", "side")] {
        let line = format!("fra-1: pod {pod}, container {container}: ");
        let line =
            logs.stderr.lines().find(|l| l.starts_with(&line)).unwrap_or_else(|| panic!("{}", logs.stderr));
        assert!(line.contains("nowhere"), "the cluster's own words: {line}");
    }
    let one = ask(&stage, &["logs", "web-1", "-c", "side", "--previous", "--tail", "5"]).await;
    assert_eq!(one.stderr.lines().count(), 1, "{}", one.stderr);
    for (name, words) in [
        ("web-3", "Pod default/web-3 is not there"),
        ("deploy/none", "Deployment default/none is not there"),
        ("widget/web", "this cluster serves no kind \"widget\""),
    ] {
        let refused = ask(&stage, &["logs", name]).await;
        assert_eq!((refused.code, refused.stderr.trim()), (1, format!("fra-1: {words}").as_str()));
    }

    let event = |name: &str, reason: &str, at: &str| {
        format!(
            "apiVersion: v1\nkind: Event\nmetadata: {{name: {name}, namespace: default}}\ninvolvedObject: {{kind: Pod, namespace: default, name: web-1}}\nreason: {reason}\nmessage: words\ntype: Warning\ncount: 3\nlastTimestamp: '{at}'\nsource: {{component: test}}\n---\n"
        )
    };
    apply(
        &stage,
        fra,
        &(event("a", "Older", "2024-01-01T00:00:00Z") + &event("b", "Newer", "2024-01-02T00:00:00Z")),
    )
    .await;
    let events = ask(&stage, &["get", "po", "web-1", "--events"]).await;
    let shown = rows(&events.stdout);
    assert_eq!(shown[1], ["fra-1", "2024-01-02T00:00:00Z", "Warning", "Newer", "3"], "{}", events.stdout);
    assert_eq!(shown[2][3], "Older");
    let none = ask(&stage, &["get", "po", "web-2", "--events"]).await;
    assert_eq!(none.stdout, "No events.\n");
}
