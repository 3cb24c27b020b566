//! Charts: what Helm renders, what is checked in, and what `hub cluster join -o manifest` prints are one thing; a real API
//! server takes it.
//!
//! `NAVE_BLESS=1` writes the plain manifests anew.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use harness::assets;
use harness::fleet::Fleet;
use harness::git::Repository;
use harness::kubernetes::{Cluster, Options};
use harness::process::Program;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);

/// A plain manifest, its chart, its namespace, and what is not the chart's default.
const PLAIN: [(&str, &str, &str, &[&str]); 3] = [
    ("spoke.yaml", "spoke", "nave-system", &[]),
    ("spoke-namespaces.yaml", "spoke", "nave-system", &["rbac.mode=namespaces", "rbac.namespaces={apps}"]),
    ("hub.yaml", "hub", "nave-hub", &[]),
];

/// Every branch of the templates, for what looks at whatever is rendered.
const VARIANTS: [(&str, &[&str]); 5] = [
    (
        "spoke",
        &["join.token=nave1x", "policy=deny: {kinds: [Secret]}", "priorityClassName=system-cluster-critical"],
    ),
    ("spoke", &["rbac.mode=namespaces", "rbac.namespaces={a,b}", "rbac.kinds={configmaps,deployments.apps}"]),
    ("spoke", &["rbac.mode=namespaces", "rbac.impersonate={a/deployer,b/deployer}", "nodeSelector.disk=ssd"]),
    (
        "hub",
        &[
            "ca.secret=nave-ca",
            "config.secret=nave-hub-config",
            "fleet=acme",
            "advertise={hub.example.com:7443,10.0.0.7:7443}",
            "service.type=ClusterIP",
        ],
    ),
    (
        "hub",
        &[
            "catalog.branch=main",
            "catalog.path=fleet",
            "env[0].name=HTTPS_PROXY",
            "env[0].value=http://proxy:3128",
        ],
    ),
];

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

async fn helm(arguments: &[&str]) -> String {
    Program::at(assets::binary("helm").unwrap()).args(arguments).output(LIMIT).await.unwrap()
}

/// What Helm renders, without its notes on where each document comes from.
async fn rendered(chart: &str, namespace: &str, set: &[&str]) -> String {
    let (name, path) = (format!("nave-{chart}"), top().join("chart").join(chart));
    let path = path.to_string_lossy().into_owned();
    let mut arguments =
        vec!["template", &name, &path, "--namespace", namespace, "--set", "createNamespace=true"];
    arguments.extend(set.iter().flat_map(|set| ["--set", set]));
    let text = helm(&arguments).await;
    let lines = text.lines().filter(|line| !line.starts_with("# Source: ") && !line.is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}

fn documents(text: &str) -> Vec<Value> {
    let read: Vec<Value> =
        serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    read.into_iter().filter(|document| !document.is_null()).collect()
}

/// Documents by kind, namespace and name.
fn by_key(text: &str) -> BTreeMap<String, Value> {
    let key = |document: &Value| {
        let metadata = &document["metadata"];
        format!("{} {}/{}", document["kind"], metadata["namespace"], metadata["name"])
    };
    documents(text).into_iter().map(|document| (key(&document), document)).collect()
}

#[tokio::test]
async fn the_plain_manifests_are_the_charts_with_their_defaults() {
    for (file, chart, namespace, set) in PLAIN {
        let path = top().join("manifests").join(file);
        let text = rendered(chart, namespace, set).await;
        if std::env::var_os("NAVE_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap();
        assert_eq!(there, text, "{file}: run again with NAVE_BLESS=1");
    }
}

#[tokio::test]
async fn helm_finds_no_fault_with_the_charts() {
    let defaults = ["spoke", "hub"].map(|chart| (chart, [].as_slice()));
    for (chart, set) in defaults.into_iter().chain(VARIANTS) {
        let path = top().join("chart").join(chart);
        let path = path.to_string_lossy().into_owned();
        let mut arguments = vec!["lint", "--strict", "--quiet", path.as_str()];
        arguments.extend(set.iter().flat_map(|set| ["--set", *set]));
        helm(&arguments).await;
    }
}

#[tokio::test]
async fn a_chart_refuses_rights_that_make_no_sense() {
    let path = top().join("chart/spoke").to_string_lossy().into_owned();
    for (set, said) in
        [("rbac.mode=namespaces", "neither rbac.namespaces nor"), ("rbac.mode=all", "neither cluster-admin")]
    {
        let helm = Program::at(assets::binary("helm").unwrap()).args(["template", "x", &path, "--set", set]);
        let error = helm.output(LIMIT).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_manifest_for_joining_is_what_the_chart_renders() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.yaml");
    std::fs::write(&policy, "deny: {kinds: [Secret]}\n").unwrap();
    let policy = policy.to_string_lossy().into_owned();
    let fleet = Fleet::start(Repository::with("catalog", &[]).unwrap()).await.unwrap();
    let rows: [(&str, &[&str], &[&str]); 4] = [
        ("nave-system", &[], &[]),
        (
            "agents",
            &["--image", "registry.example.com/spoke:1", "--policy", &policy, "--proxy", "http://proxy:3128"],
            &[
                "image.repository=registry.example.com/spoke",
                "image.tag=1",
                "policy=deny: {kinds: [Secret]}\n",
                "env[0].name=HTTPS_PROXY",
                "env[0].value=http://proxy:3128",
            ],
        ),
        (
            "agents",
            &[
                "--rbac",
                "namespaces",
                "--allow-namespaces",
                "b,a",
                "--allow-kinds",
                "configmaps,widgets.example.com",
            ],
            &["rbac.mode=namespaces", "rbac.namespaces={b,a}", "rbac.kinds={configmaps,widgets.example.com}"],
        ),
        (
            "nave-system",
            &["--rbac", "namespaces", "--allow-namespaces", "a", "--impersonate", "a/one,b/two,b/three"],
            &["rbac.mode=namespaces", "rbac.namespaces={a}", "rbac.impersonate={a/one,b/three,b/two}"],
        ),
    ];
    for (namespace, options, set) in rows {
        let mut arguments = vec!["cluster", "join", "fra-1", "-o", "manifest"];
        if namespace != "nave-system" {
            arguments.extend(["--namespace", namespace]);
        }
        arguments.extend(options);
        let answer = fleet.hub(&arguments).await.unwrap();
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        let printed = by_key(&answer.stdout);
        let secret = &printed[&format!(r#""Secret" "{namespace}"/"nave-spoke-join""#)];
        let token = format!("join.token={}", secret["stringData"]["token"].as_str().unwrap());
        let set: Vec<&str> = set.iter().copied().chain([token.as_str()]).collect();
        let expected = by_key(&rendered("spoke", namespace, &set).await);
        assert_eq!(printed.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{options:?}");
        for (key, document) in &printed {
            assert_eq!(document, &expected[key], "{options:?}: {key}");
        }
    }
}

/// `kubectl` reads, the API server decides; a pod of each template, too, since a template is looked at less closely.
#[tokio::test]
async fn an_api_server_takes_every_variant() {
    let cluster = Cluster::start(Options { name: "fra-1".into(), workloads: false }).await.unwrap();
    for namespace in ["nave-hub", "nave-system", "apps", "a", "b"] {
        cluster.kubectl(&["create", "namespace", namespace]).await.unwrap();
    }
    let namespace = |chart: &str| if chart == "hub" { "nave-hub" } else { "nave-system" };
    let plain = PLAIN.into_iter().map(|(_, chart, _, set)| (chart, set));
    for (chart, set) in plain.chain(VARIANTS) {
        let text = rendered(chart, namespace(chart), set).await;
        let mut documents = documents(&text);
        let template = |kind: &Value| kind == "Deployment" || kind == "StatefulSet";
        let workload = documents.iter().find(|document| template(&document["kind"])).unwrap().clone();
        let mut pod = workload["spec"]["template"].clone();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = "one".into();
        pod["metadata"]["namespace"] = namespace(chart).into();
        for claim in workload["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
            let name = &claim["metadata"]["name"];
            let volume = serde_json::json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
            let volumes = pod["spec"]
                .as_object_mut()
                .unwrap()
                .entry("volumes")
                .or_insert_with(|| Value::Array(Vec::new()));
            volumes.as_array_mut().unwrap().push(volume);
        }
        assert_restricted(chart, &pod["spec"]);
        documents.push(pod);
        for document in documents {
            let file = cluster.directory().join("document.json");
            std::fs::write(&file, document.to_string()).unwrap();
            let file = file.to_string_lossy().into_owned();
            let done =
                cluster.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", &file]).await;
            done.unwrap_or_else(|error| panic!("{chart} {set:?}: {error:#}\n{document:#}"));
        }
    }
}

/// What the pod security standard "restricted" asks for, and a root file system that cannot be written.
fn assert_restricted(chart: &str, pod: &Value) {
    let of_pod = &pod["securityContext"];
    assert_eq!(of_pod["runAsNonRoot"], true, "{chart}");
    assert!(of_pod["runAsUser"].as_u64() > Some(0), "{chart}");
    assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault", "{chart}");
    assert_eq!(pod["automountServiceAccountToken"], false, "{chart}");
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod[host].is_null(), "{chart}: {host}");
    }
    let volumes = pod["volumes"].as_array().unwrap();
    let may = ["projected", "configMap", "secret", "persistentVolumeClaim", "emptyDir", "name"];
    assert!(
        volumes.iter().all(|v| v.as_object().unwrap().keys().all(|key| may.contains(&key.as_str()))),
        "{chart}"
    );
    let containers =
        ["containers", "initContainers"].into_iter().filter_map(|field| pod[field].as_array()).flatten();
    for container in containers {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{chart}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{chart}");
        assert_eq!(context["capabilities"], serde_json::json!({"drop": ["ALL"]}), "{chart}");
        for bound in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
            assert!(container["resources"].pointer(bound).is_some(), "{chart}: {bound}");
        }
    }
}
