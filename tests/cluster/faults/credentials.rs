//! Credentials: a token that ends and is renewed, and rights that are taken away and given back; real ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::faults::{ApiProxy, Which};
use harness::fleet::documents::{app, config_map, placement};
use harness::fleet::{Fleet, Target};
use harness::git::Repository;
use harness::kubernetes::{Cluster, Options};
use harness::wait::{throughout, until};
use serde_json::Value;

use crate::stage::{LIMIT, Witness};

/// A token file is read anew once a minute; and half of that for a loaded machine.
const RENEWED: Duration = Duration::from_secs(90);
/// What a spoke may ask in the time of a fault here: as for the rows, twice as long.
const REQUESTS: usize = 400;

const ROLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: spoke}
rules:
- {apiGroups: [""], resources: [namespaces, configmaps, nodes], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: spoke-secrets}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, patch, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: spoke}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: spoke}
subjects: [{kind: ServiceAccount, name: spoke, namespace: default}]
"#;

const SECRETS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: spoke-secrets}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: spoke-secrets}
subjects: [{kind: ServiceAccount, name: spoke, namespace: default}]
"#;

/// A fleet whose one spoke is a service account with the rights of a role, and whose token stands in a file.
struct World {
    fleet: Fleet,
    proxy: ApiProxy,
    cluster: Cluster,
    /// Where the spoke reads its token, and the same token in a kubeconfig that leads past the proxy.
    token: PathBuf,
    account: PathBuf,
}

impl World {
    async fn start() -> Self {
        let files = [
            ("web.yaml", app("web")),
            ("rest.yaml", app("rest")),
            ("manifests/web/web.yaml", secret("1")),
            ("manifests/rest/rest.yaml", config_map("rest", "1")),
            ("placement.yaml", placement("all", &["web", "rest"], "{selector: {}}")),
        ];
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let catalog = Repository::with("catalog", &files).unwrap();
        let options = Options { name: "fra-1".into(), workloads: false };
        let (fleet, cluster) = tokio::join!(Fleet::start(catalog), Cluster::start(options));
        let (mut fleet, cluster) = (fleet.unwrap(), cluster.unwrap());
        cluster.apply(ROLE).await.unwrap();
        cluster.apply(SECRETS).await.unwrap();
        let proxy = ApiProxy::before(cluster.kubeconfig()).unwrap();
        let token = cluster.directory().join("token");
        let account = renew(&cluster, &token).await;
        let kubeconfig = proxy.kubeconfig_with_token_file(&token).unwrap();
        fleet.join("fra-1", &[], &Target::Kube(kubeconfig)).await.unwrap();
        fleet.connected(1).await;
        fleet.converge(&[]).await.unwrap();
        Self { fleet, proxy, cluster, token, account }
    }

    fn change(&self, value: &str) {
        self.fleet.catalog.write("manifests/web/web.yaml", &secret(value)).unwrap();
        self.fleet.catalog.write("manifests/rest/rest.yaml", &config_map("rest", value)).unwrap();
        self.fleet.catalog.commit(&format!("Change to {value}")).unwrap();
    }

    async fn reason(&self, app: &str, wanted: &str) -> Value {
        until(&format!("{app} is {wanted}"), LIMIT, async || {
            let status = self.fleet.status().await?;
            let groups = status["groups"].as_array().context("status has groups")?;
            let group = groups.iter().find(|group| group["app"] == app && group["reason"] == wanted);
            group.cloned().with_context(|| format!("{groups:#?}\n{}", self.fleet.tails()))
        })
        .await
    }

    async fn converge(&self) {
        let head = self.fleet.catalog.head().unwrap();
        let arguments = ["wait", "--include-offline", "--timeout", "110s", "--commit", &head];
        // What had failed is tried again within half a minute; until then `hub wait` ends at once.
        until("all is well again", LIMIT * 2, async || {
            let waited = self.fleet.hub_within(&arguments, LIMIT * 2).await?;
            ensure!(waited.code == 0, "{}{}\n{}", waited.stdout, waited.stderr, self.fleet.tails());
            Ok(())
        })
        .await;
    }

    async fn uids(&self) -> (String, String) {
        (self.cluster.uid("web", "secret/web").await, self.cluster.uid("rest", "configmap/rest").await)
    }

    async fn nothing_is_lost(&self, uids: &(String, String), what: &str) {
        throughout(what, Duration::from_secs(4), async || {
            let now = self.uids().await;
            ensure!(now == *uids, "{now:?}");
            Ok(())
        })
        .await;
        let asked = self.proxy.requests().len();
        assert!(asked < REQUESTS, "{what}: {asked} requests: {:#?}", self.proxy.counts());
    }
}

/// Writes a new token of the spoke's account.
async fn renew(cluster: &Cluster, token: &Path) -> PathBuf {
    let kubeconfig = cluster.service_account("default", "spoke").await.unwrap();
    let config: Value = serde_json::from_slice(&std::fs::read(&kubeconfig).unwrap()).unwrap();
    std::fs::write(token, config["users"][0]["user"]["token"].as_str().unwrap()).unwrap();
    kubeconfig
}

fn secret(value: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: web}}\nstringData: {{value: {value:?}}}\n")
}

#[tokio::test]
async fn a_token_that_is_refused_is_told_and_a_new_one_in_its_file_is_taken() {
    let world = World::start().await;
    let uids = world.uids().await;
    // The account is made anew: tokens of the one before are worth nothing.
    world.cluster.kubectl(&["delete", "serviceaccount", "spoke"]).await.unwrap();
    until("the server has forgotten the account", LIMIT, async || {
        let asked = world.cluster.kubectl_as(&world.account, &["get", "namespaces"]).await;
        ensure!(asked.is_err(), "{asked:?}");
        Ok(())
    })
    .await;
    world.proxy.forget();
    world.change("2");
    let group = world.reason("web", "TargetUnreachable").await;
    assert!(world.proxy.requests().iter().any(|r| r.code == Some(401)), "{group:#}");
    let shown = world.fleet.hub(&["app", "show", "web"]).await.unwrap();
    assert!(shown.stdout.contains("credentials"), "the cause is told: {}", shown.stdout);
    world.nothing_is_lost(&uids, "while the token is refused").await;

    renew(&world.cluster, &world.token).await;
    until("the new token is taken", RENEWED, async || {
        let last = world.proxy.requests().into_iter().rev().find(|r| r.code.is_some());
        ensure!(last.is_some_and(|r| r.code != Some(401)), "{:#?}", world.proxy.counts());
        Ok(())
    })
    .await;
    world.converge().await;
    assert_eq!(world.uids().await, uids);
}

#[tokio::test]
async fn rights_that_are_taken_away_stop_what_needs_them_and_nothing_else_until_they_are_back() {
    let world = World::start().await;
    let uids = world.uids().await;
    world.cluster.kubectl(&["delete", "clusterrolebinding", "spoke-secrets"]).await.unwrap();
    world.proxy.forget();
    world.change("2");
    let group = world.reason("web", "Forbidden").await;
    let shown = world.fleet.hub(&["app", "show", "web"]).await.unwrap();
    assert!(shown.stdout.contains("secrets"), "what is missing is told: {group:#}\n{}", shown.stdout);
    until("the other app goes on", LIMIT, async || {
        let seen = world.cluster.config_map("rest/rest").await?;
        ensure!(seen == "2", "{seen}");
        Ok(())
    })
    .await;
    world.nothing_is_lost(&uids, "while writing secrets is forbidden").await;
    world.cluster.apply(SECRETS).await.unwrap();
    world.converge().await;

    // Not even looking is allowed: unknown is not absent, so nothing is written, pruned or taken for gone.
    world.cluster.kubectl(&["delete", "clusterrolebinding", "spoke-secrets"]).await.unwrap();
    let role =
        ["patch", "clusterrole", "spoke", "--type=json", "-p", r#"[{"op":"remove","path":"/rules/1"}]"#];
    world.cluster.kubectl(&role).await.unwrap();
    world.proxy.forget();
    world.change("3");
    world.reason("web", "Forbidden").await;
    world.nothing_is_lost(&uids, "while secrets may not even be looked at").await;
    let writes = world.proxy.count(&Which::writes().resource("secrets"));
    assert_eq!(writes, 0, "nothing is written that cannot be seen: {:#?}", world.proxy.counts());
    world.cluster.apply(ROLE).await.unwrap();
    world.cluster.apply(SECRETS).await.unwrap();
    world.converge().await;
    assert_eq!(world.uids().await, uids);
}
