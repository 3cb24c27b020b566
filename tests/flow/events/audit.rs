//! The audit log, trimmed and forged.

use std::path::Path;

use anyhow::ensure;
use harness::wait;
use nave_hub::store::redb::RedbStore;
use nave_hub::store::{Batch, Store as _};
use serde_json::Value;

use super::{LIMIT, fleet};

#[tokio::test]
async fn the_audit_log_is_trimmed_and_what_is_left_can_be_verified() {
    let mut fleet = fleet("audit: {maxSize: 4Ki}\n").await;
    for number in 0..40 {
        let label = format!("n={number}");
        let done = fleet.hub(&["cluster", "label", "fra-1", &label, "--overwrite"]).await.expect("it is so");
        assert_eq!(done.code, 0, "{}", done.stderr);
    }
    let verify = async || {
        let answer = fleet.hub(&["audit", "verify", "-o", "json"]).await?;
        ensure!(answer.code == 0, "{}{}", answer.stdout, answer.stderr);
        answer.json()
    };
    let (verified, exported) = wait::until("the log was trimmed", LIMIT, async || {
        let verified = verify().await?;
        ensure!(verified["anchor"]["rule"] == "Size", "{verified:#}\n{}", fleet.tails());
        let exported = fleet.hub(&["audit", "export"]).await?.stdout;
        ensure!(verify().await?["anchor"] == verified["anchor"], "it was trimmed once more meanwhile");
        Ok((verified, exported))
    })
    .await;
    let first = verified["anchor"]["sequence"].as_u64().expect("a number");
    let lines: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    // What is exported begins where the anchor says, with its hash.
    assert_eq!(lines[0]["sequence"].as_u64(), Some(first + 1), "{}", lines[0]);
    assert_eq!(lines[0]["previous"], verified["anchor"]["hash"]);
    assert!(lines.iter().any(|line| line["what"] == "AuditTrimmed"), "{exported}");
    let said = fleet.hub(&["audit", "verify"]).await.expect("it is so").stdout;
    assert!(said.contains("are no longer kept: trimmed by size at"), "{said}");

    // Nobody can take lines away, or change one, unseen.
    fleet.kill_hub();
    let path = fleet.data().join("store.redb");
    // Not one that may be trimmed meanwhile.
    let forged = lines.iter().rev().find(|line| line["who"] == "operator admin").expect("there is one");
    forge(&path, forged["sequence"].as_u64().expect("a number")).await;
    fleet.configure("").expect("it is so");
    fleet.start_hub().await.expect("it is so");
    let found = fleet.hub(&["audit", "verify"]).await.expect("it is so");
    assert!(
        found.code == 1 && found.stdout.contains("is missing, changed or out of order"),
        "{}",
        found.stdout
    );
}

/// Whoever has the store can write into it.
async fn forge(path: &Path, sequence: u64) {
    let store = RedbStore::open(path).expect("the hub has let it go");
    let key = format!("audit/{sequence:020}");
    let line = store.get(&key).await.expect("it can be read").expect("it is there");
    let text = String::from_utf8(line.value.to_vec()).expect("JSON");
    let forged = text.replace("operator admin", "operator mallory");
    assert_ne!(text, forged);
    store.commit(Batch::new().put(key, forged.into_bytes())).await.expect("it is written");
}
