//! Picking: on real clusters, a preferred one is chosen, drained and silent ones are left, replicas are divided anew.

use anyhow::ensure;
use harness::fleet::documents::{app, config_map, placement};
use harness::wait::until;

use crate::stage::{LIMIT, Stage, Witness};

const CLUSTERS: [(&str, &[&str]); 3] =
    [("fra-1", &["tier=silver"]), ("fra-2", &["tier=gold"]), ("nyc-1", &[])];

fn catalog() -> Vec<(&'static str, String)> {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop, namespace: shop}\nspec:\n  replicas: 1\n  \
                      selector: {matchLabels: {app: shop}}\n  template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: shop, \
                      image: example.com/shop}]}}\n";
    let shop = placement("shop", &["shop"], "{selector: {}}")
        + "  replicas: {target: {kind: Deployment, name: shop}, total: 7}\n";
    vec![
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "one")),
        ("shop.yaml", app("shop")),
        ("manifests/shop/shop.yaml", deployment.to_owned()),
        ("placements/shop.yaml", shop),
    ]
}

/// One cluster, the golden one first.
fn picked() -> String {
    placement("web", &["web"], "{selector: {}}")
        + "  pick:\n    count: 1\n    prefer: [{weight: 10, selector: {matchLabels: {tier: gold}}}, {weight: 5, selector: {matchLabels: {tier: silver}}}]\n    \
           failover: {unreachable: 30s, suspendAbove: 60%}\n"
}

/// Where `kubectl` sees what only app `web` has.
async fn holders(stage: &Stage) -> Vec<&'static str> {
    let mut holders = Vec::new();
    for (name, _) in CLUSTERS {
        if stage.cluster(name).has("web", "configmap/web").await {
            holders.push(name);
        }
    }
    holders
}

async fn web_is_on(stage: &Stage, what: &str, wanted: &[&str]) {
    until(what, LIMIT * 2, async || {
        let holders = holders(stage).await;
        ensure!(holders == wanted, "it is on {holders:?}, not {wanted:?}\n{}", stage.fleet.tails());
        Ok(())
    })
    .await;
}

/// Replicas of Deployment `shop` by cluster; none where it is not.
async fn shares_are(stage: &Stage, what: &str, reached: impl Fn(&[Option<u32>]) -> bool) {
    until(what, LIMIT, async || {
        let mut shares = Vec::new();
        for (name, _) in CLUSTERS {
            let arguments = [
                "get",
                "deployment",
                "-n",
                "shop",
                "--ignore-not-found",
                "-o",
                "jsonpath={.items[*].spec.replicas}",
            ];
            shares.push(stage.cluster(name).kubectl(&arguments).await?.trim().parse().ok());
        }
        ensure!(reached(&shares), "{shares:?}\n{}", stage.fleet.tails());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_is_picked_and_divided_moves_with_drain_and_failover() {
    let mut stage = Stage::start_with_workloads(&catalog(), &CLUSTERS).await;
    // What is chosen first stays, so that all have to be there to be chosen among.
    stage.fleet.catalog.write("placements/web.yaml", &picked()).unwrap();
    stage.commit("Pick a cluster for web").await;
    web_is_on(&stage, "the preferred cluster is chosen", &["fra-2"]).await;
    let sum = |shares: &[Option<u32>]| shares.iter().flatten().sum::<u32>();
    let everywhere =
        |shares: &[Option<u32>]| shares.iter().all(|s| matches!(s, Some(2 | 3))) && sum(shares) == 7;
    shares_are(&stage, "seven are divided by three", everywhere).await;

    stage.fleet.order(&["cluster", "drain", "fra-2"]).await;
    web_is_on(&stage, "the drained cluster is left for the next best", &["fra-1"]).await;
    // No other could take its share.
    shares_are(&stage, "what all have stays on the drained cluster", everywhere).await;
    stage.fleet.order(&["cluster", "taint", "fra-2", "broken=disk:NoExecute"]).await;
    let two = |shares: &[Option<u32>]| matches!(shares, [Some(3 | 4), None, Some(3 | 4)]) && sum(shares) == 7;
    shares_are(&stage, "seven are divided by two", two).await;
    let why = stage.fleet.hub(&["why", "web", "fra-2"]).await.unwrap().stdout;
    assert!(why.contains("drain"), "{why}");

    stage.fleet.kill_spoke("fra-1");
    web_is_on(&stage, "another stands in for the silent one", &["fra-1", "nyc-1"]).await;
    stage.restart_spoke("fra-1");
    web_is_on(&stage, "the silent one is left once it is heard again", &["nyc-1"]).await;
    stage.converge().await;
}
