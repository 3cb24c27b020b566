//! World: one cluster behind a proxy, two apps, and the witness who counts what came, went and was made anew.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use harness::faults::{ApiProxy, Request};
use harness::fleet::documents::{app, config_map, placement};
use harness::kubernetes::Cluster;
use harness::wait::until;
use serde_json::Value;

use crate::stage::{LIMIT, Stage, Witness};

/// Objects of `web` that never change.
const STAY: usize = 8;
/// The cluster.
pub const FRA: &str = "fra-1";

/// Two apps on one cluster: `web`, which faults meet, is ConfigMaps; `rest`, which goes on, is a Secret.
pub struct World {
    pub stage: Stage,
    /// Counts up with each change.
    round: u32,
    /// Counts up with each change by hand.
    edits: AtomicUsize,
}

/// What an object is told apart by: kind, namespace and name; and its UID.
pub type Uids = BTreeMap<String, String>;

impl World {
    /// Both apps are there.
    pub async fn start() -> Self {
        let files = vec![
            ("web.yaml", app("web")),
            ("rest.yaml", app("rest")),
            ("manifests/web/web.yaml", web(0)),
            ("manifests/rest/rest.yaml", secret(0)),
            ("placement.yaml", placement("all", &["web", "rest"], "{selector: {}}")),
        ];
        let stage = Stage::start_behind_proxies(&files, &[(FRA, &[])]).await;
        stage.converge().await;
        Self { stage, round: 0, edits: AtomicUsize::new(0) }
    }

    /// The cluster, past the proxy.
    pub fn cluster(&self) -> &Cluster {
        self.stage.cluster(FRA)
    }

    /// The proxy.
    pub fn proxy(&self) -> &ApiProxy {
        &self.stage.proxies[0]
    }

    /// Changes both apps: values become the number, which is returned; `web` gets an object and loses another.
    pub fn change(&mut self) -> u32 {
        self.round += 1;
        let catalog = &self.stage.fleet.catalog;
        catalog.write("manifests/web/web.yaml", &web(self.round)).unwrap();
        catalog.write("manifests/rest/rest.yaml", &secret(self.round)).unwrap();
        catalog.commit(&format!("Change everything to {}", self.round)).unwrap();
        self.round
    }

    /// Waits until `rest` has this value.
    pub async fn rest_is(&self, round: u32) {
        until("the other app goes on", LIMIT, async || {
            let seen = self.cluster().field("rest", "secret/rest", "{.data.value}").await;
            ensure!(seen == encoded(round), "{seen}\n{}", self.stage.fleet.tails());
            Ok(())
        })
        .await;
    }

    /// Waits until the hub says of `web` what ails it.
    pub async fn web_is(&self, reason: &str) -> Value {
        self.stage.group("the cause is told", "web", |group| group["reason"] == reason).await
    }

    /// How often the spoke's log says of `web` that this ails it.
    pub fn said(&self, reason: &str) -> usize {
        let log = self.stage.fleet.spoke_log(FRA);
        let of_web = |line: &&str| line.contains("an app ") && line.contains("app=web ");
        log.lines().filter(of_web).filter(|line| line.contains(reason)).count()
    }

    /// Waits until the spoke's log says that oftener than so often.
    pub async fn spoke_says(&self, reason: &str, before: usize) {
        until("the spoke tells the cause", LIMIT, async || {
            ensure!(self.said(reason) > before, "{}", self.stage.fleet.tails());
            Ok(())
        })
        .await;
    }

    /// Somebody changes an object of `web` by hand, and it is put back.
    pub async fn edit_is_put_back(&self, when: &str, limit: Duration) {
        let name = self.edit().await;
        until(&format!("a change by hand is put back {when}"), limit, async || {
            let seen = self.cluster().config_map(&format!("web/{name}")).await?;
            ensure!(seen == "same", "{seen}\n{}\n{}", self.last_requests(), self.stage.fleet.tails());
            Ok(())
        })
        .await;
    }

    /// Somebody changes an object of `web` by hand: each time another one, for who changes one again and again is taken
    /// for a rival.
    pub async fn edit(&self) -> String {
        let name = format!("stays-{}", self.edits.fetch_add(1, Ordering::Relaxed) % STAY);
        let object = format!("configmap/{name}");
        let edit = ["patch", "-n", "web", &object, "--type=merge", "-p", r#"{"data":{"value":"theirs"}}"#];
        self.cluster().kubectl(&edit).await.unwrap();
        name
    }

    /// What the spoke asked last, and when; for the message of a failure.
    fn last_requests(&self) -> String {
        let requests = self.proxy().requests();
        let last = requests.iter().skip(requests.len().saturating_sub(40));
        let line = |request: &Request| {
            let Request { at, asked, code, .. } = request;
            format!("{:>7.1} s ago: {} {} {code:?}", at.elapsed().as_secs_f32(), asked.verb, asked.path)
        };
        last.map(line).collect::<Vec<_>>().join("\n")
    }

    /// Waits until the last commit is everywhere, whatever had failed before.
    pub async fn recover(&self) {
        until("all is well again", LIMIT * 2, async || {
            let (code, said) = self.stage.wait(&["--timeout", "20s"]).await;
            ensure!(code == 0, "{said}\n{}", self.stage.fleet.tails());
            Ok(())
        })
        .await;
    }

    /// Everything of both apps.
    pub async fn uids(&self) -> Uids {
        let mut found = Uids::new();
        for (namespace, kind) in [("web", "configmaps"), ("rest", "secrets")] {
            let each = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
            let listed = self.cluster().kubectl(&["get", kind, "-n", namespace, "-o", each]).await.unwrap();
            let pairs = listed.lines().filter_map(|line| line.split_once(' '));
            let ours = pairs.filter(|(name, _)| !name.contains("kube-root-ca"));
            found.extend(ours.map(|(name, uid)| (format!("{namespace}/{name}"), uid.to_owned())));
        }
        found
    }

    /// Checks that all is as the last change wants it, and that what stayed is what it was before.
    pub async fn is_as_wanted(&self, before: &Uids, what: &str) {
        let fra = self.cluster();
        assert_eq!(fra.config_map("web/fixed").await.unwrap(), self.round.to_string(), "{what}");
        let now = self.uids().await;
        let mut wanted = vec!["rest/Secret/rest".to_owned(), format!("web/ConfigMap/coming-{}", self.round)];
        wanted.push("web/ConfigMap/fixed".to_owned());
        wanted.extend((0..STAY).map(|n| format!("web/ConfigMap/stays-{n}")));
        assert_eq!(now.keys().cloned().collect::<Vec<_>>(), wanted, "{what}");
        for (name, uid) in before.iter().filter(|(name, _)| !name.contains("coming-")) {
            assert_eq!(now.get(name), Some(uid), "{what}: {name} is another one now");
        }
    }
}

/// One object that changes, one that leaves with the next change, and some that stay.
fn web(round: u32) -> String {
    let value = round.to_string();
    let mut objects = vec![config_map("fixed", &value), config_map(&format!("coming-{round}"), &value)];
    objects.extend((0..STAY).map(|n| config_map(&format!("stays-{n}"), "same")));
    objects.join("---\n")
}

fn secret(round: u32) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: rest}}\ndata: {{value: {:?}}}\n", encoded(round))
}

fn encoded(round: u32) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(round.to_string())
}
