//! Installing the spoke into a cluster by what `hub cluster join -o manifest` prints, with exactly the rights of its
//! service account: that they suffice, and that fewer would not.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use harness::fleet::documents::{app_with, config_map, placement};
use harness::fleet::Fleet;
use harness::git::Repository;
use harness::kubernetes::{Cluster, Options};
use harness::process::{Program, Signal};
use harness::wait::until;
use serde_json::{Value, json};

use crate::stage::{LIMIT, Witness as _};

const OWN: &str = "nave-system";

/// A fleet, a cluster, and the spoke's own account on it.
struct Installed {
    fleet: Fleet,
    cluster: Cluster,
    account: PathBuf,
    chosen: bool,
}

fn files() -> Vec<(&'static str, String)> {
    let mut app = app_with("web", "");
    app = app.replace("namespace: {name: web}", "namespace: {name: team-a, create: false}");
    vec![
        ("web.yaml", app),
        ("manifests/web/web.yaml", config_map("web", "1")),
        ("manifests/web/more.yaml", config_map("more", "1")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ]
}

impl Installed {
    async fn start(chosen: bool) -> Self {
        let files = files();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let catalog = Repository::with("catalog", &files).unwrap();
        let options = Options { name: "fra-1".to_owned(), workloads: false };
        let (fleet, cluster) = tokio::join!(Fleet::start(catalog), Cluster::start(options));
        let (fleet, cluster) = (fleet.unwrap(), cluster.unwrap());
        for namespace in ["team-a", "team-b"] {
            cluster.kubectl(&["create", "namespace", namespace]).await.unwrap();
        }
        let rights: &[&str] = if chosen { &["--rights", "chosen", "--namespaces", "team-a,team-b"] } else { &[] };
        let join = [&["cluster", "join", "fra-1", "-o", "manifest"], rights].concat();
        let manifest = fleet.hub(&join).await.unwrap();
        assert_eq!(manifest.code, 0, "{}", manifest.stderr);
        cluster.apply(&manifest.stdout).await.unwrap();
        let account = cluster.service_account(OWN, "nave-spoke").await.unwrap();
        Self { fleet, cluster, account, chosen }
    }

    /// A command of the spoke, with the arguments that its Deployment gives it.
    fn spoke(&self, command: &[&str]) -> Program {
        let program = Program::built("spoke").unwrap().args(command).arg("--kubeconfig").arg(&self.account);
        let program = program.args(["--namespace", OWN]);
        if self.chosen { program.args(["--namespaces", "team-a,team-b"]) } else { program }
    }

    /// The agent, with the token of the Secret that the manifest made: as in its pod, at every start.
    async fn run_spoke(&mut self) {
        let path = r"jsonpath={.data.token}";
        let token = self.cluster.kubectl(&["get", "secret", "-n", OWN, "nave-spoke-join", "-o", path]).await.unwrap();
        use base64::Engine as _;
        let token = base64::engine::general_purpose::STANDARD.decode(token.trim()).unwrap();
        let program = self.spoke(&["run"]).env("NAVE_JOIN", String::from_utf8(token).unwrap());
        self.fleet.adopt_spoke("fra-1", program).unwrap();
    }

    /// What a command of the spoke prints, and whether it was content.
    async fn says(&self, command: &[&str]) -> (bool, String) {
        let said = self.spoke(command).output(LIMIT).await;
        match said {
            Ok(text) => (true, text),
            Err(error) => (false, format!("{error:#}")),
        }
    }

    async fn commit(&self, message: &str) {
        self.fleet.catalog.commit(message).unwrap();
        let head = self.fleet.catalog.head().unwrap();
        self.fleet.converge(&["--commit", &head]).await.unwrap();
    }

    async fn value(&self, object: &str, wanted: &str) {
        until(&format!("{object} is {wanted}"), LIMIT, async || {
            let seen = self.cluster.config_map(object).await?;
            ensure!(seen == wanted, "{seen}\n{}", self.fleet.tails());
            Ok(())
        })
        .await;
    }

    /// All that an agent does: it converges, updates, puts right, prunes.
    async fn work(&mut self) {
        self.run_spoke().await;
        self.fleet.connected(1).await;
        self.fleet.converge(&[]).await.unwrap();
        assert_eq!(self.cluster.config_map("team-a/web").await.unwrap(), "1");

        self.fleet.catalog.write("manifests/web/web.yaml", &config_map("web", "2")).unwrap();
        self.commit("Update").await;
        assert_eq!(self.cluster.config_map("team-a/web").await.unwrap(), "2");

        let edit = r#"{"data":{"value":"theirs"}}"#;
        self.cluster.kubectl(&["patch", "-n", "team-a", "configmap/web", "--type=merge", "-p", edit]).await.unwrap();
        self.value("team-a/web", "2").await;

        self.fleet.catalog.remove("manifests/web/more.yaml").unwrap();
        self.commit("Prune").await;
        assert!(!self.cluster.has("team-a", "configmap/more").await);
    }
}

#[tokio::test]
async fn the_rights_of_chosen_namespaces_suffice_and_fewer_would_not() {
    let mut at = Installed::start(true).await;
    at.work().await;
    let (well, said) = at.says(&["doctor"]).await;
    assert!(well, "{said}");

    // Each rule of its Roles but the explaining one, taken away: the doctor says which.
    let rows = [
        (OWN, 0, "secrets in namespace nave-system"),
        (OWN, 1, "it may not get pods in namespace nave-system"),
        (OWN, 2, "it may not get namespaces/nave-system"),
        ("team-a", 0, "it may not watch configmaps in namespace team-a"),
    ];
    for (namespace, rule, expected) in rows {
        let get = ["get", "role", "-n", namespace, "nave-spoke", "-o", "json"];
        let role = at.cluster.kubectl(&get).await.unwrap();
        let remove = json!([{"op": "remove", "path": format!("/rules/{rule}")}]).to_string();
        at.cluster.kubectl(&["patch", "role", "-n", namespace, "nave-spoke", "--type=json", "-p", &remove]).await.unwrap();
        until(&format!("without rule {rule} of {namespace}"), LIMIT, async || {
            let (well, said) = at.says(&["doctor"]).await;
            ensure!(!well && (said.contains(expected) || said.contains("PROBLEM  cluster")), "{said}");
            Ok(())
        })
        .await;
        let mut role: Value = serde_json::from_str(&role).unwrap();
        role["metadata"].as_object_mut().unwrap().retain(|field, _| ["name", "namespace", "labels"].contains(&field.as_str()));
        at.cluster.apply(&role.to_string()).await.unwrap();
        until("the rights are back", LIMIT, async || {
            let (well, said) = at.says(&["doctor"]).await;
            ensure!(well, "{said}");
            Ok(())
        })
        .await;
    }

    // An app that leaves the chosen namespaces is its own problem, and named.
    let elsewhere = config_map("elsewhere", "1").replace("{name: elsewhere}", "{name: elsewhere, namespace: default}");
    at.fleet.catalog.write("manifests/web/elsewhere.yaml", &elsewhere).unwrap();
    at.fleet.catalog.commit("Reach too far").unwrap();
    until("the hub names the object", LIMIT, async || {
        let status = at.fleet.status().await?;
        let groups = status["groups"].as_array().context("groups")?;
        let named = groups.iter().any(|group| group["message"].to_string().contains("default/elsewhere"));
        ensure!(named, "{groups:#?}\n{}", at.fleet.tails());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn state_in_secrets_outlives_the_spoke_and_belongs_to_one() {
    let mut at = Installed::start(false).await;
    at.work().await;
    let (well, said) = at.says(&["doctor"]).await;
    assert!(well, "{said}");

    let second = at.spoke(&["run"]).output(LIMIT).await.unwrap_err();
    let second = format!("{second:#}");
    let first = at.fleet.spoke_process("fra-1").unwrap().id();
    assert!(second.contains("in use by another spoke") && second.contains(&format!("process {first} ")), "{second}");

    // Idle, it writes nothing; killed and without its hub, it knows everything.
    let secrets = async || {
        let columns = r"jsonpath={range .items[*]}{.metadata.name}={.metadata.resourceVersion}{'\n'}{end}";
        at.cluster.kubectl(&["get", "secrets", "-n", OWN, "-l", "nave.dev/state", "-o", columns]).await.unwrap()
    };
    let before = secrets().await;
    harness::wait::throughout("an idle spoke writes nothing", std::time::Duration::from_secs(10), async || {
        secrets().await == before
    })
    .await;
    at.fleet.kill_hub();
    at.fleet.kill_spoke("fra-1");
    at.cluster.kubectl(&["delete", "-n", "team-a", "configmap/web"]).await.unwrap();
    at.run_spoke().await;
    at.value("team-a/web", "2").await;
    let (well, said) = at.says(&["status"]).await;
    assert!(well && said.contains("fra-1 (fleet test)") && said.contains("web"), "{said}");

    // The pause, on the spot and without the hub.
    let (well, said) = at.says(&["pause", "--reason", "audit"]).await;
    assert!(well, "{said}");
    at.cluster.kubectl(&["delete", "-n", "team-a", "configmap/web"]).await.unwrap();
    until("the status says what waits", LIMIT, async || {
        let (_, said) = at.says(&["status", "-o", "json"]).await;
        let status: Value = serde_json::from_str(&said)?;
        let app = &status["apps"][0];
        ensure!(app["reason"] == "Paused" && app["state"] == "Waiting", "{status:#}\n{}", at.fleet.tails());
        Ok(())
    })
    .await;
    assert!(!at.cluster.has("team-a", "configmap/web").await);
    let (well, said) = at.says(&["resume"]).await;
    assert!(well, "{said}");
    at.value("team-a/web", "2").await;

    // By hand, for one app: an annotation on its inventory.
    let path = "jsonpath={.items[0].metadata.name}";
    let inventory = at.cluster.kubectl(&["get", "configmaps", "-n", OWN, "-l", "nave.dev/inventory=true", "-o", path]).await.unwrap();
    at.cluster.kubectl(&["annotate", "configmap", "-n", OWN, &inventory, "nave.dev/paused=by hand"]).await.unwrap();
    at.cluster.kubectl(&["delete", "-n", "team-a", "configmap/web"]).await.unwrap();
    until("the app waits", LIMIT, async || {
        let (_, said) = at.says(&["status"]).await;
        ensure!(said.contains("until `spoke resume`: by hand"), "{said}");
        Ok(())
    })
    .await;
    at.says(&["resume", "--app", "web"]).await;
    at.value("team-a/web", "2").await;

    // It leaves, and takes what it made along.
    at.fleet.spoke_process("fra-1").unwrap().signal(Signal::TERM);
    let uninstall = ["uninstall", "--delete-workloads", "--yes", "--kubeconfig"];
    let admin = Program::built("spoke").unwrap().args(uninstall).arg(at.cluster.kubeconfig());
    let said = admin.output(LIMIT * 2).await.unwrap();
    assert!(said.contains("deleted ConfigMap team-a/web of app web"), "{said}");
    for removed in ["Deployment nave-system/nave-spoke", "Namespace nave-system", "ClusterRoleBinding nave-spoke"] {
        assert!(said.contains(&format!("removed {removed}")), "{removed}: {said}");
    }
    assert!(!at.cluster.has("team-a", "configmap/web").await);
    assert!(!at.cluster.has("default", "clusterrolebinding/nave-spoke").await);
}
