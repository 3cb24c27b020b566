//! Pushing: a forge tells of a push, and what was pushed is in effect long before Git is asked by itself.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::documents::{app, config_map, placement};
use harness::fleet::{Fleet, Target};
use harness::git::Repository;
use harness::wait;

use crate::values::value;

const SECRET: &str = "of the forge and the hub";
const BODY: &str = r#"{"ref": "refs/heads/main"}"#;

/// As GitHub signs.
fn signed(secret: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, BODY.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

async fn told(fleet: &Fleet, signature: &str) -> String {
    let headers = [("X-GitHub-Event", "push"), ("X-Hub-Signature-256", signature)];
    fleet.http("POST /webhook", &headers, BODY).await.expect("it answers")
}

async fn seen(fleet: &Fleet, wanted: &str) {
    wait::until(&format!("{wanted} is there"), Duration::from_secs(30), async || {
        let found = value(fleet, "fra-1", "web");
        ensure!(found.as_deref() == Some(wanted), "{found:?}\n{}", fleet.tails());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_push_that_a_forge_tells_of_and_signs_is_in_effect_at_once_and_no_other() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "one")),
        ("placement.yaml", placement("all", &["web"], "{selector: {}}")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let catalog = Repository::with("catalog", &files).expect("a repository");
    let mut fleet = Fleet::prepare(catalog).await.expect("a fleet");
    fleet
        .configure("webhooks: [{name: forge, provider: GitHub, secretFile: forge.secret}]\n")
        .expect("written");
    // As an editor leaves it.
    std::fs::write(fleet.directory().join("forge.secret"), format!("{SECRET}\n")).expect("written");
    fleet.poll_every("1h");
    fleet.start_hub().await.expect("it starts");
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    seen(&fleet, "one").await;

    fleet.catalog.commit_file("manifests/web/web.yaml", &config_map("web", "two")).expect("a commit");
    let refused = told(&fleet, &signed("of somebody else")).await;
    assert!(refused.starts_with("HTTP/1.1 401 ") && refused.contains("has this secret"), "{refused}");
    wait::throughout("it is not in effect", Duration::from_secs(2), async || {
        value(&fleet, "fra-1", "web").as_deref() == Some("one")
    })
    .await;
    let taken = told(&fleet, &signed(SECRET)).await;
    assert!(taken.starts_with("HTTP/1.1 202 "), "{taken}");
    seen(&fleet, "two").await;
    let metrics = fleet.http("GET /metrics", &[], "").await.expect("it answers");
    for line in ["nave_webhooks_total{outcome=\"Triggered\"} 1", "nave_webhooks_total{outcome=\"Refused\"} 1"]
    {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}
