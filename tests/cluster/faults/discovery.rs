//! Discovery: an aggregated API whose server is away. What it serves is unknown then, not gone.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::documents::{app, config_map, placement};
use harness::wait::{throughout, until};

use super::world::FRA;
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

async fn served(stage: &Stage, wanted: bool) {
    until("the server knows whether the group is served", LIMIT, async || {
        let asked = stage
            .cluster(FRA)
            .kubectl(&["get", "--raw", "/apis/example.com/v1/namespaces/widgets/widgets"])
            .await;
        ensure!(asked.is_ok() == wanted, "{asked:?}");
        Ok(())
    })
    .await;
}

async fn break_group(stage: &Stage) {
    let fra = stage.cluster(FRA);
    // The server makes the registration of its own groups anew as long as they bear its label.
    let unlabel = ["label", "apiservice", "v1.example.com", "kube-aggregator.kubernetes.io/automanaged-"];
    fra.kubectl(&unlabel).await.unwrap();
    fra.apply(&NOBODY.replace(", labels: {kube-aggregator.kubernetes.io/automanaged: null}", ""))
        .await
        .unwrap();
    served(stage, false).await;
}

async fn mend_group(stage: &Stage) {
    stage.cluster(FRA).kubectl(&["delete", "apiservice", "v1.example.com"]).await.unwrap();
    served(stage, true).await;
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
        break_group(&stage).await;
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
        mend_group(&stage).await;
        stage.converge().await;
        let fra = stage.cluster(FRA);
        assert_eq!(fra.field("widgets", "widget/a", "{.spec.size}").await, round.to_string());
        assert_eq!(fra.uid("widgets", "widget/a").await, uid);
        assert_eq!(fra.has("widgets", "widget/b").await, !restarted);
    }
}
