//! Discovery: an aggregated API whose server is away. What it serves is unknown then, not gone.

use std::time::Duration;

use anyhow::ensure;
use harness::faults::ApiProxy;
use harness::fleet::documents::{app, config_map, placement};
use harness::kubernetes::{Cluster, Options};
use harness::wait::{throughout, until};
use nave_placement::report::{EntryReason, EntryState};
use nave_spoke::target::Target as _;
use nave_spoke::target::kube::KubeTarget;
use serde_json::{Value, json};

use super::world::FRA;
use crate::rounds::{Wish, entry, target};
use crate::stage::{LIMIT, Stage, Witness};

const DEFINITION: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
";

/// Instead of the server itself, somebody serves the group who is not there.
const NOBODY: &str = "\
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.example.com, labels: {kube-aggregator.kubernetes.io/automanaged: null}}
spec: {group: example.com, version: v1, groupPriorityMinimum: 1000, versionPriority: 100, insecureSkipTLSVerify: true, service: {name: nobody, namespace: default, port: 443}}
";

fn widget(name: &str, size: u32) -> String {
    format!("apiVersion: example.com/v1\nkind: Widget\nmetadata: {{name: {name}}}\nspec: {{size: {size}}}\n")
}

async fn served(cluster: &Cluster, wanted: bool) {
    until("the server knows whether the group is served", LIMIT, async || {
        let asked =
            cluster.kubectl(&["get", "--raw", "/apis/example.com/v1/namespaces/widgets/widgets"]).await;
        ensure!(asked.is_ok() == wanted, "{asked:?}");
        Ok(())
    })
    .await;
}

async fn break_group(cluster: &Cluster) {
    // The server makes the registration of its own groups anew as long as they bear its label.
    let unlabel = ["label", "apiservice", "v1.example.com", "kube-aggregator.kubernetes.io/automanaged-"];
    cluster.kubectl(&unlabel).await.unwrap();
    cluster
        .apply(&NOBODY.replace(", labels: {kube-aggregator.kubernetes.io/automanaged: null}", ""))
        .await
        .unwrap();
    served(cluster, false).await;
}

async fn mend_group(cluster: &Cluster) {
    cluster.kubectl(&["delete", "apiservice", "v1.example.com"]).await.unwrap();
    served(cluster, true).await;
}

#[tokio::test]
async fn a_group_whose_server_is_away_is_unknown_and_everything_else_goes_on() {
    let files = vec![
        ("widgets.yaml", app("widgets")),
        ("rest.yaml", app("rest")),
        ("manifests/widgets/a.yaml", widget("a", 1)),
        ("manifests/widgets/b.yaml", widget("b", 1)),
        ("manifests/rest/rest.yaml", config_map("rest", "1")),
        ("placement.yaml", placement("all", &["widgets", "rest"], "{selector: {}}")),
    ];
    let mut stage = Stage::start_behind_proxies(&files, &[(FRA, &[])]).await;
    stage.cluster(FRA).apply(DEFINITION).await.unwrap();
    stage.converge().await;
    let uid = stage.cluster(FRA).uid("widgets", "widget/a").await;

    // First with what it knows, then started anew, when it knows nothing of the group.
    for (round, restarted) in [(2, false), (3, true)] {
        break_group(stage.cluster(FRA)).await;
        stage.proxies[0].forget();
        if restarted {
            stage.restart_spoke(FRA);
        }
        stage.fleet.catalog.write("manifests/widgets/a.yaml", &widget("a", round)).unwrap();
        stage
            .fleet
            .catalog
            .write("manifests/rest/rest.yaml", &config_map("rest", &round.to_string()))
            .unwrap();
        if restarted {
            // A widget leaves while nobody can say whether it is there.
            stage.fleet.catalog.remove("manifests/widgets/b.yaml").unwrap();
        }
        stage.fleet.catalog.commit(&format!("Change to {round}")).unwrap();
        stage.value(FRA, "rest/rest", &round.to_string()).await;
        let told = stage.group("the cause is told", "widgets", |g| g["reason"] == "TargetUnreachable").await;
        let asked = stage.proxies[0].requests().len();
        assert!(asked < 400, "{asked} requests: {:#?}\n{told:#}", stage.proxies[0].counts());
        throughout("the inventory keeps its widgets", Duration::from_secs(4), async || {
            let parents = [
                "get",
                "configmaps",
                "-n",
                "nave-system",
                "-l",
                "nave.dev/inventory=true",
                "-o",
                "jsonpath={.items[*].data.inventory}",
            ];
            let inventories = stage.cluster(FRA).kubectl(&parents).await?;
            ensure!(inventories.matches("\"Widget\"").count() == 2, "{inventories}");
            Ok(())
        })
        .await;
        mend_group(stage.cluster(FRA)).await;
        stage.converge().await;
        let fra = stage.cluster(FRA);
        assert_eq!(fra.field("widgets", "widget/a", "{.spec.size}").await, round.to_string());
        assert_eq!(fra.uid("widgets", "widget/a").await, uid);
        assert_eq!(fra.has("widgets", "widget/b").await, !restarted);
    }
}

/// What follows an event is asked for within two seconds, and once more two seconds later.
const FOLLOWS: Duration = Duration::from_secs(5);

/// Waits until no discovery is under way, nor due: what is known after this was told.
async fn at_rest(proxy: &ApiProxy) {
    until("no discovery is under way", LIMIT, async || {
        let requests = proxy.requests();
        let last = requests.iter().rfind(|request| request.asked.resource.is_empty());
        ensure!(last.is_some_and(|last| last.at.elapsed() > FOLLOWS), "{:#?}", proxy.counts());
        Ok(())
    })
    .await;
}

/// Waits until the target says that something changed, and knows this of a kind. Nobody asks it meanwhile.
async fn told(target: &KubeTarget, kind: &str, served: bool, by: impl Future<Output = ()>) {
    let mut changes = target.changes();
    changes.borrow_and_update();
    assert_eq!(target.resource("example.com", kind).is_some(), !served, "{kind} before");
    by.await;
    until(&format!("an event tells whether {kind} is served"), LIMIT, async || {
        changes.has_changed().unwrap() && target.resource("example.com", kind).is_some() == served
    })
    .await;
}

/// Not a spoke, whose slow discovery would find it in the end.
#[tokio::test]
async fn a_kind_comes_and_goes_with_the_events_of_its_definition_and_of_its_registration() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    cluster.kubectl(&["create", "namespace", "shop"]).await.unwrap();
    let proxy = ApiProxy::before(cluster.kubeconfig()).unwrap();
    let first = target(proxy.kubeconfig()).await;
    let object = |kind: &str| json!({"apiVersion": "example.com/v1", "kind": kind, "metadata": {"name": "small", "namespace": "shop"}, "spec": {"size": 1}});
    let define = async |kind: &str| {
        let lower = kind.to_lowercase();
        let definition = DEFINITION.replace("Widget", kind).replace("widget", &lower);
        cluster.apply(&definition).await.unwrap();
    };
    // The first brings its group, and with it a registration; with the second nothing but the definition is new.
    let mut objects: Vec<Value> = Vec::new();
    for kind in ["Widget", "Gadget"] {
        objects.push(object(kind));
        let wish = Wish::none().app("shop", &objects);
        let outcome = wish.round(&first).await;
        assert_eq!(entry(&outcome, "shop").reason, EntryReason::NotServed, "{kind}");
        at_rest(&proxy).await;
        told(&first, kind, true, define(kind)).await;
        let outcome = wish.round(&first).await;
        assert_eq!(
            entry(&outcome, "shop").state,
            EntryState::Healthy,
            "{kind}: {:#?}",
            entry(&outcome, "shop")
        );
        let live = format!("{}/small", kind.to_lowercase());
        assert_eq!(cluster.field("shop", &live, "{.spec.size}").await, "1");
    }
    at_rest(&proxy).await;
    let gone = async {
        cluster.kubectl(&["delete", "crd", "gadgets.example.com"]).await.unwrap();
    };
    told(&first, "Gadget", false, gone).await;
    drop(first);

    // A target that never saw the group, because its server was away: only the registration changes when it is back.
    break_group(&cluster).await;
    let second = target(proxy.kubeconfig()).await;
    at_rest(&proxy).await;
    told(&second, "Widget", true, mend_group(&cluster)).await;
    let outcome = Wish::none().app("shop", &[object("Widget")]).round(&second).await;
    assert_eq!(entry(&outcome, "shop").state, EntryState::Healthy, "{:#?}", entry(&outcome, "shop"));
}
