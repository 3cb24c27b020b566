//! Leaving: a revoked member is cut off at once; a removed one is let go first, and keeps what runs.

use std::time::{Duration, Instant};

use harness::fleet::Target;
use harness::peers::{self, Stream};
use harness::wait;
use nave_proto::v1::{self, to_spoke};
use nave_spoke::state::State;
use rcgen::KeyPair;
use tonic::Code;

use crate::given::{LIMIT, Stage, enrol, renew, request};

#[tokio::test]
async fn a_revocation_ends_a_live_session_within_a_second_and_every_way_back() {
    let stage = Stage::start().await;
    let token = stage.token("fra-1", 0, &[]).await;
    let key = KeyPair::generate().unwrap();
    let identity = enrol(stage.channel(None).await, &token, &request(&key), "uid").await.unwrap();
    let credentials =
        nave_proto::tls::Credentials { certificate: identity.certificate, key: key.serialize_der() };
    let channel = stage.channel(Some(&credentials)).await;
    let mut stream = Stream::open(channel.clone(), peers::hello("uid")).await.unwrap();
    stream.assignment().await.unwrap();

    let order = v1::ClusterRequest { cluster: "fra-1".to_owned(), reason: "stolen".to_owned() };
    stage.operator().await.cluster_revoke(order).await.unwrap();
    let acknowledged = Instant::now();
    let mut last = None;
    while let Ok(Some(message)) = stream.next().await {
        last = Some(message);
    }
    assert!(acknowledged.elapsed() < Duration::from_secs(1), "{:?}", acknowledged.elapsed());
    assert!(matches!(last, Some(to_spoke::Message::Goodbye(_))), "{last:?}");

    // Over the connection that was open before, and over a new one.
    for channel in [channel, stage.channel(Some(&credentials)).await] {
        let refused = Stream::open(channel, peers::hello("uid")).await.map(drop).unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    let refused = renew(stage.channel(None).await, &credentials.certificate, &key).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    // The token that it came by brings it back no more than the certificate does.
    let again = enrol(stage.channel(None).await, &token, &request(&key), "uid").await.unwrap_err();
    assert_eq!(again.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_renewal_needs_the_key_a_fresh_nonce_and_our_certificate() {
    let stage = Stage::start().await;
    let member = stage.member("fra-1", &[]).await;
    let certificate = &member.credentials.certificate;
    let renewed = renew(stage.channel(None).await, certificate, &member.key).await.unwrap();
    assert_eq!(renewed.cluster, "fra-1");

    let thief = KeyPair::generate().unwrap();
    let refused = renew(stage.channel(None).await, certificate, &thief).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");

    // An operator's certificate, though it is ours and its key signs.
    let now = peers::clock()();
    let operator = stage.authority.operator("admin", &thief, now).unwrap().certificate;
    let refused = renew(stage.channel(None).await, &operator, &thief).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");

    // Ours, of the right key, and older than ninety days.
    use rcgen::PublicKeyData as _;
    let long_ago = now - 92 * 24 * 3_600_000;
    let ancient =
        stage.authority.spoke_for_key("fra-1", &member.key.subject_public_key_info(), long_ago).unwrap();
    let refused = renew(stage.channel(None).await, &ancient.certificate, &member.key).await.unwrap_err();
    assert!(refused.message().contains("90 days"), "{refused}");

    let made_up =
        v1::RenewRequest { certificate: certificate.clone(), nonce: vec![0; 40], signature: vec![1] };
    let mut client = v1::enrolment_client::EnrolmentClient::new(stage.channel(None).await);
    let refused = client.renew(made_up).await.unwrap_err();
    assert!(refused.message().contains("nonce"), "{refused}");
}

#[tokio::test]
async fn a_removed_cluster_keeps_what_runs_is_let_alone_and_then_refused() {
    let mut stage = Stage::start().await;
    for cluster in ["fra-1", "fra-2"] {
        stage.fleet.join(cluster, &[], &Target::Directory).await.unwrap();
    }
    stage.fleet.connected(2).await;
    stage.fleet.converge(&[]).await.unwrap();
    let before = stage.fleet.files("fra-1").unwrap();
    let order =
        v1::ClusterRemoveRequest { cluster: "fra-1".to_owned(), ..v1::ClusterRemoveRequest::default() };
    stage.operator().await.cluster_remove(order).await.unwrap();
    wait::until("the hub has forgotten it", LIMIT, async || stage.audited("Detached", "fra-1").await == 1)
        .await;
    stage.fleet.spoke_process("fra-1").unwrap().line("detached by the hub", LIMIT).await.unwrap();
    assert_eq!(stage.fleet.files("fra-1").unwrap(), before);

    // A change by hand stays on the one, and is put back on the other by the same software at the same time.
    let name = before.keys().next().unwrap();
    let path = |stage: &Stage, cluster: &str| stage.fleet.manifests(cluster).join(name);
    for cluster in ["fra-1", "fra-2"] {
        std::fs::write(path(&stage, cluster), "by: hand\n").unwrap();
    }
    wait::until("the member is put right", LIMIT, async || {
        std::fs::read_to_string(path(&stage, "fra-2")).is_ok_and(|text| text == before[name])
    })
    .await;
    wait::throughout("the removed one is let alone", Duration::from_secs(2), async || {
        std::fs::read_to_string(path(&stage, "fra-1")).is_ok_and(|text| text == "by: hand\n")
    })
    .await;

    // Its certificate is nobody's now.
    stage.fleet.kill_spoke("fra-1");
    let identity = State::open(&stage.fleet.state("fra-1")).await.unwrap().identity().await.unwrap().unwrap();
    let channel = stage.channel(Some(&identity.credentials())).await;
    let refused = Stream::open(channel, peers::hello(&identity.cluster_uid)).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
}
