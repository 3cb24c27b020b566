//! On the spot: a spoke whose state is in Secrets, and the commands that need no hub: `status`, `pause`, `uninstall`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use harness::fleet::documents::{app_with, config_map, placement};
use harness::kubernetes::{Cluster, Options};
use harness::process::{Program, Signal};
use harness::wait::{throughout, until};
use nave_spoke::state::contract::check;
use nave_spoke::state::secrets::Secrets;
use nave_spoke::state::secrets::owner::Holder;
use nave_spoke::state::secrets::shelf::ClusterShelf;
use nave_spoke::state::{Found, Keep as _};
use nave_spoke::target::kube;
use serde_json::Value;

use crate::installed::{Installed, NARROW, OWN};
use crate::stage::{LIMIT, Witness as _};

fn files() -> Vec<(&'static str, String)> {
    let app = app_with("web", "").replace("namespace: {name: web}", "namespace: {name: apps, create: false}");
    vec![
        ("web.yaml", app),
        ("manifests/web/web.yaml", config_map("web", "2")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ]
}

#[tokio::test]
async fn state_in_secrets_outlives_the_spoke_and_commands_on_the_spot_need_no_hub() {
    let mut at = Installed::start(&files(), &[]).await;
    at.join("spoke-1").await;
    at.converge().await;
    at.is_well().await;

    // Idle, it writes nothing; killed and without its hub, it knows everything.
    let secrets = async || {
        let columns = r"jsonpath={range .items[*]}{.metadata.name}={.metadata.resourceVersion}{'\n'}{end}";
        at.cluster
            .kubectl(&["get", "secrets", "-n", OWN, "-l", "nave.dev/state", "-o", columns])
            .await
            .unwrap()
    };
    let before = secrets().await;
    throughout("an idle spoke writes nothing", Duration::from_secs(10), async || secrets().await == before)
        .await;
    at.fleet.kill_hub();
    at.fleet.kill_spoke("fra-1");
    at.cluster.kubectl(&["delete", "-n", "apps", "configmap/web"]).await.unwrap();
    at.run("spoke-1").await;
    at.value("apps/web", "2").await;
    until("the status tells of the app", LIMIT, async || {
        let (well, said) = at.says(&["status"]).await;
        ensure!(well && said.contains("fra-1 (fleet test)") && said.contains("web"), "{said}");
        Ok(())
    })
    .await;

    // The pause, on the spot and without the hub.
    let (well, said) = at.says(&["pause", "--reason", "audit"]).await;
    assert!(well, "{said}");
    at.cluster.kubectl(&["delete", "-n", "apps", "configmap/web"]).await.unwrap();
    until("the status says what waits", LIMIT, async || {
        let (_, said) = at.says(&["status", "-o", "json"]).await;
        let status: Value = serde_json::from_str(&said)?;
        let app = &status["apps"][0];
        ensure!(app["reason"] == "Paused" && app["state"] == "Waiting", "{status:#}\n{}", at.fleet.tails());
        Ok(())
    })
    .await;
    assert!(!at.cluster.has("apps", "configmap/web").await);
    let (well, said) = at.says(&["resume"]).await;
    assert!(well, "{said}");
    at.value("apps/web", "2").await;

    // By hand, for one app: an annotation on its inventory.
    let path = "jsonpath={.items[0].metadata.name}";
    let inventory = at
        .cluster
        .kubectl(&["get", "configmaps", "-n", OWN, "-l", "nave.dev/inventory=true", "-o", path])
        .await
        .unwrap();
    at.cluster
        .kubectl(&["annotate", "configmap", "-n", OWN, &inventory, "nave.dev/paused=by hand"])
        .await
        .unwrap();
    at.cluster.kubectl(&["delete", "-n", "apps", "configmap/web"]).await.unwrap();
    until("the app waits", LIMIT, async || {
        let (_, said) = at.says(&["status"]).await;
        ensure!(said.contains("until `spoke resume`: by hand"), "{said}");
        Ok(())
    })
    .await;
    at.says(&["resume", "--app", "web"]).await;
    at.value("apps/web", "2").await;

    // It leaves, and takes what it made along.
    at.fleet.spoke_process("fra-1").unwrap().signal(Signal::TERM);
    // Nobody collects the pods of a Deployment here.
    at.cluster
        .kubectl(&["delete", "pod", "-n", OWN, "spoke-1", "--force", "--grace-period=0"])
        .await
        .unwrap();
    let uninstall = ["uninstall", "--delete-workloads", "--yes", "--kubeconfig"];
    let admin = Program::built("spoke").unwrap().args(uninstall).arg(at.cluster.kubeconfig());
    let said = admin.output(LIMIT * 2).await.unwrap();
    assert!(said.contains("deleted ConfigMap apps/web of app web"), "{said}");
    for removed in [
        "Deployment nave-system/nave-spoke",
        "Namespace nave-system",
        "ClusterRoleBinding nave-spoke-nave-system",
    ] {
        assert!(said.contains(&format!("removed {removed}")), "{removed}: {said}");
    }
    assert!(!at.cluster.has("apps", "configmap/web").await);
    assert!(!at.cluster.has("default", "clusterrolebinding/nave-spoke-nave-system").await);
}

#[tokio::test]
async fn an_agent_leaves_chosen_namespaces_and_what_runs_there_stays() {
    let mut at = Installed::start(&files(), &NARROW).await;
    at.join("spoke-1").await;
    at.converge().await;
    let admin = async |command: &[&str]| {
        let program = Program::built("spoke").unwrap().args(command).arg("--kubeconfig");
        match program.arg(at.cluster.kubeconfig()).output(LIMIT * 2).await {
            Ok(said) => said,
            Err(error) => format!("{error:#}"),
        }
    };

    // Who only looks, or leaves what was never there, makes nothing.
    let said = admin(&["doctor", "--namespace", "elsewhere"]).await;
    assert!(said.contains("PROBLEM  state: no identity in the Secrets of namespace elsewhere"), "{said}");
    let said = admin(&["uninstall", "--namespace", "elsewhere"]).await;
    assert!(said.contains("namespace elsewhere is not there"), "{said}");
    assert!(!at.cluster.has("default", "namespace/elsewhere").await);

    // Without the hub, and whatever the status says, the doctor tells who has the state.
    let said = admin(&["doctor", "--namespaces", "apps,shop"]).await;
    assert!(said.contains("OK       holder: pod spoke-1"), "{said}");
    at.fleet.spoke_process("fra-1").unwrap().signal(Signal::TERM);
    let gone = ["delete", "pod", "-n", OWN, "spoke-1", "--force", "--grace-period=0"];
    at.cluster.kubectl(&gone).await.unwrap();
    let said = admin(&["doctor", "--namespaces", "apps,shop"]).await;
    assert!(said.contains("PROBLEM  holder: pod spoke-1") && said.contains("has ended"), "{said}");

    let said = admin(&["uninstall", "--namespaces", "apps,shop"]).await;
    assert!(said.contains("app web stays: 1 objects"), "{said}");
    for removed in [
        "Deployment nave-system/nave-spoke",
        "Namespace nave-system",
        "RoleBinding apps/nave-spoke-nave-system",
        "Role shop/nave-spoke-nave-system",
    ] {
        assert!(said.contains(&format!("removed {removed}")), "{removed}: {said}");
    }
    assert_eq!(at.cluster.config_map("apps/web").await.unwrap(), "2");
    assert!(!at.cluster.has("apps", "role/nave-spoke-nave-system").await);
}

#[tokio::test]
async fn secrets_of_a_real_cluster_keep_what_every_place_for_records_promises() {
    let cluster = Cluster::start(Options { name: "fra-1".to_owned(), workloads: false }).await.unwrap();
    cluster.kubectl(&["create", "namespace", OWN]).await.unwrap();
    let options =
        kube::Options { kubeconfig: Some(cluster.kubeconfig().to_owned()), ..kube::Options::default() };
    let (client, _) = kube::client(&options).await.unwrap();
    let shelf = || Arc::new(ClusterShelf::new(client.clone(), OWN));
    let keep = Secrets::open(shelf(), Holder::this_process(None)).await.unwrap();
    // Three chunks.
    check(&keep, 1_500_000).await;

    // What is in the cluster is whole without this process, and nothing is left over.
    let again = Secrets::to_look_at(shelf()).await.unwrap();
    assert_eq!(again.read("assignment").await.unwrap(), Found::Whole(b"again".to_vec()));
    let columns = r"jsonpath={range .items[*]}{.metadata.name}{'\n'}{end}";
    let listed =
        cluster.kubectl(&["get", "secrets", "-n", OWN, "-l", "nave.dev/state", "-o", columns]).await.unwrap();
    let expected = [
        "nave-state.assignment",
        "nave-state.assignment.damaged",
        "nave-state.bundles.cd",
        "nave-state.owner",
    ];
    assert_eq!(listed.lines().collect::<Vec<_>>(), expected);
}
