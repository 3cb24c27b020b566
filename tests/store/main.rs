//! The store's contract, on an etcd that is real.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use harness::etcd::Etcd;
use nave_hub::store::contract::{Backend as _, InEtcd, check};
use nave_hub::store::etcd::EtcdOptions;
use nave_hub::store::{Batch, Store as _};

/// The store below a prefix of this etcd.
fn below(etcd: &Etcd, prefix: &str) -> InEtcd {
    let hosts: Vec<_> = etcd.endpoints().iter().map(|url| url.replace("http://", "")).collect();
    InEtcd(EtcdOptions::new(&format!("etcd://{}/{prefix}", hosts.join(",")), None).unwrap())
}

#[tokio::test]
async fn etcd_keeps_the_contract_that_the_embedded_store_keeps() {
    let etcd = Etcd::start().await.unwrap();
    check(&mut below(&etcd, "nave")).await;
}

#[tokio::test]
async fn fleets_below_two_prefixes_of_one_etcd_do_not_see_each_other() {
    let etcd = Etcd::start().await.unwrap();
    // One prefix begins with the other.
    let (one, other) = (below(&etcd, "nave").open().await, below(&etcd, "nave-2").open().await);
    for store in [&one, &other] {
        store.commit(Batch::new().require_absent("fleet").put("fleet", "x")).await.unwrap();
    }
    one.commit(Batch::new().delete("fleet")).await.unwrap();
    assert!(one.list("").await.unwrap().records.is_empty());
    assert_eq!(other.list("").await.unwrap().records.len(), 1);
}
