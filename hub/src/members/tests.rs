//! What happens to join tokens that nobody uses, and to what was known of a cluster whose name comes back.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::store::memory::Memory;

/// Members over a store in memory, at a time that the test sets.
async fn members(dir: &std::path::Path, now_ms: &Arc<AtomicU64>) -> Members {
    let time = now_ms.clone();
    let clock: nave_proto::tls::Clock = Arc::new(move || time.load(Ordering::Relaxed));
    let ledger = Ledger::load(Arc::new(Memory::new()), clock).await.expect("an empty store");
    let authority = Authority::open_or_create(dir, "acme", 1).expect("a new authority");
    Members::new(Arc::new(ledger), Arc::new(authority), Arc::from(["127.0.0.1:7443".to_owned()]))
}

async fn issue(members: &Members, cluster: &ClusterName, count: usize) {
    for _ in 0..count {
        let joined = members.join(cluster.clone(), Membership::default(), 0, &Audit::default()).await;
        joined.expect("the name is free");
    }
}

#[tokio::test]
async fn a_cluster_with_more_tokens_than_fit_a_batch_can_be_revoked_and_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let members = members(dir.path(), &Arc::new(AtomicU64::new(1))).await;
    let cluster: ClusterName = "fra-1".parse().expect("valid");
    issue(&members, &cluster, 2 * TOKENS_PER_BATCH + 30).await;
    let record = MemberRecord { standing: Standing::Member, ..MemberRecord::default() };
    let batch = Batch::new().put(key::member(&cluster), json(&record));
    members.ledger.commit(Step::MemberEnrolled, batch).await.expect("committed");

    members.revoke(&cluster, &Audit::default()).await.expect("revoked");
    assert_eq!(members.ledger.state().tokens.len(), 0);
    members.remove(&cluster, false, &Audit::default()).await.expect("removed");
    assert!(members.ledger.state().members.is_empty());
}

#[tokio::test]
async fn expired_tokens_go_when_others_are_issued() {
    let dir = tempfile::tempdir().expect("a directory");
    let now_ms = Arc::new(AtomicU64::new(1));
    let members = members(dir.path(), &now_ms).await;
    let cluster: ClusterName = "fra-1".parse().expect("valid");
    issue(&members, &cluster, TOKENS_PER_BATCH + 5).await;
    now_ms.store(2 * TOKEN_LIFE_MS, Ordering::Relaxed);
    for remaining in [6, 2] {
        issue(&members, &cluster, 1).await;
        assert_eq!(members.ledger.state().tokens.len(), remaining);
    }
}

/// A cluster joins with a new key.
async fn enrol(members: &Members, cluster: &ClusterName, uid: &str) -> v1::EnrolRequest {
    let joined = members.join(cluster.clone(), Membership::default(), 0, &Audit::default()).await;
    let (token, _) = joined.expect("the name is free");
    let key = rcgen::KeyPair::generate().expect("a key");
    let csr = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
    let request = v1::EnrolRequest {
        token_id: token.id,
        token_secret: token.secret,
        csr: csr.der().to_vec(),
        cluster_uid: uid.to_owned(),
    };
    members.enrol(&request, "").await.expect("enrolled");
    request
}

#[tokio::test]
async fn a_cluster_that_joins_anew_is_not_what_the_one_before_it_reported() {
    let dir = tempfile::tempdir().expect("a directory");
    let members = members(dir.path(), &Arc::new(AtomicU64::new(1))).await;
    let cluster: ClusterName = "fra-1".parse().expect("valid");
    let first = enrol(&members, &cluster, "uid").await;
    let report = nave_placement::report::Report { boot: 57, ..Default::default() };
    let told = nave_placement::assign::Told::nothing(nave_placement::assign::Epoch(1));
    let batch = Batch::new()
        .put(
            key::report(&cluster),
            crate::state::report_to_bytes(&crate::state::Heard {
                report: Arc::new(report),
                ..Default::default()
            }),
        )
        .put(key::facts(&cluster), json(&nave_placement::fleet::Facts::default()))
        .put(key::assignment(&cluster), crate::state::told_to_bytes(&told));
    members.ledger.commit(Step::ReportTaken, batch).await.expect("committed");
    let known = || {
        let state = members.ledger.state();
        [
            state.reports.contains_key(&cluster),
            state.facts.contains_key(&cluster),
            state.told.contains_key(&cluster),
        ]
    };
    members.enrol(&first, "").await.expect("its answer was lost");
    assert_eq!(known(), [true; 3], "the same key is the same spoke");
    members.revoke(&cluster, &Audit::default()).await.expect("revoked");
    enrol(&members, &cluster, "another uid").await;
    assert_eq!(known(), [false, false, true]);
}
