//! Which certificate opens which door: none, a stranger's, an operator's, a spoke's, the hub's own.

use std::sync::Arc;

use harness::peers;
use nave_hub::pki::Authority;
use nave_hub::state::records::{OperatorRecord, OperatorRole, key};
use nave_hub::store::redb::RedbStore;
use nave_hub::store::{Batch, Store as _};
use nave_proto::tls::Credentials;
use nave_proto::v1::content_client::ContentClient;
use nave_proto::v1::operator_client::OperatorClient;
use nave_proto::v1::question::Question;
use nave_proto::v1::{self};
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::given::{Stage, request};

/// What every door of the hub says to a certificate, but for enrolment, which needs none. A hub that refuses the TLS
/// handshake has no code to give.
async fn doors(channel: &Channel) -> Vec<(&'static str, Result<(), Status>)> {
    let session = peers::Stream::open(channel.clone(), peers::hello("uid")).await.map(drop);
    let content =
        ContentClient::new(channel.clone()).fetch(v1::FetchRequest { parts: Vec::new() }).await.map(drop);
    let mut doors = vec![("Session.Open", session), ("Content.Fetch", content)];
    doors.extend(operator_calls(channel).await);
    doors
}

/// Every call of the operators' service, with a request that would do no harm.
async fn operator_calls(channel: &Channel) -> Vec<(&'static str, Result<(), Status>)> {
    let mut c = OperatorClient::new(channel.clone());
    let cluster = || v1::ClusterRequest { cluster: "nobody".to_owned(), reason: String::new() };
    let join = v1::ClusterJoinRequest { cluster: "intruder".to_owned(), ..v1::ClusterJoinRequest::default() };
    let label =
        v1::ClusterLabelRequest { cluster: "nobody".to_owned(), ..v1::ClusterLabelRequest::default() };
    let members = || Some(v1::Members { clusters: vec!["nobody".to_owned()], ..v1::Members::default() });
    let taint = v1::ClusterTaintRequest { members: members(), ..v1::ClusterTaintRequest::default() };
    let order = v1::cluster_cordon_request::Order::Cordon.into();
    let cordon = v1::ClusterCordonRequest { members: members(), order, ..Default::default() };
    let maintain = v1::ClusterMaintainRequest { members: members(), for_ms: 1, ..Default::default() };
    let replace = v1::ClusterReplaceRequest { cluster: "nobody".to_owned(), ..Default::default() };
    let remove =
        v1::ClusterRemoveRequest { cluster: "nobody".to_owned(), ..v1::ClusterRemoveRequest::default() };
    let app = v1::AppRequest { app: "web".to_owned() };
    let why = v1::WhyRequest { app: "web".to_owned(), cluster: String::new() };
    let wait = v1::WaitRequest { timeout_ms: 1, ..v1::WaitRequest::default() };
    let hold = v1::HoldRequest { id: "h-0".to_owned() };
    let asks = |question| v1::AskRequest {
        question: Some(v1::Question { question: Some(question), ..v1::Question::default() }),
        ..v1::AskRequest::default()
    };
    let objects = |kind: &str| {
        asks(Question::Objects(v1::LiveObjects { kind: kind.to_owned(), ..v1::LiveObjects::default() }))
    };
    let trace = |kind: &str| v1::TraceRequest { kind: kind.to_owned(), ..v1::TraceRequest::default() };
    let logs = asks(Question::Logs(v1::ObjectLogs::default()));
    let scope = Some(v1::Scope { app: "nobody".to_owned(), ..v1::Scope::default() });
    let pause = v1::PauseRequest { scope: scope.clone(), for_ms: 1, reason: String::new() };
    let resume = v1::ResumeRequest { scope, reason: String::new() };
    let reject = v1::HoldRejectRequest { id: "h-0".to_owned(), reason: String::new() };
    let approve = v1::HoldApproveRequest { id: "h-0".to_owned(), reason: String::new() };
    vec![
        ("Status", c.status(v1::StatusRequest::default()).await.map(drop)),
        ("Wait", c.wait(wait).await.map(drop)),
        ("ClusterList", c.cluster_list(v1::ClusterListRequest::default()).await.map(drop)),
        ("ClusterShow", c.cluster_show(cluster()).await.map(drop)),
        ("ClusterJoin", c.cluster_join(join).await.map(drop)),
        ("ClusterLabel", c.cluster_label(label).await.map(drop)),
        ("ClusterRemove", c.cluster_remove(remove).await.map(drop)),
        ("ClusterRevoke", c.cluster_revoke(cluster()).await.map(drop)),
        ("AppList", c.app_list(v1::AppListRequest {}).await.map(drop)),
        ("AppShow", c.app_show(app).await.map(drop)),
        ("Why", c.why(why).await.map(drop)),
        ("HoldList", c.hold_list(v1::HoldListRequest {}).await.map(drop)),
        ("HoldShow", c.hold_show(hold).await.map(drop)),
        ("HoldApprove", c.hold_approve(approve).await.map(drop)),
        ("HoldReject", c.hold_reject(reject).await.map(drop)),
        ("Pause", c.pause(pause).await.map(drop)),
        ("Resume", c.resume(resume).await.map(drop)),
        ("AcceptRestore", c.accept_restore(v1::AcceptRestoreRequest::default()).await.map(drop)),
        ("AuditList", c.audit_list(v1::AuditListRequest::default()).await.map(drop)),
        ("ClusterTaint", c.cluster_taint(taint).await.map(drop)),
        ("ClusterCordon", c.cluster_cordon(cordon).await.map(drop)),
        ("ClusterMaintain", c.cluster_maintain(maintain).await.map(drop)),
        ("ClusterReplace", c.cluster_replace(replace).await.map(drop)),
        ("ClusterExport", c.cluster_export(v1::ClusterExportRequest::default()).await.map(drop)),
        ("RolloutList", c.rollout_list(v1::RolloutListRequest::default()).await.map(drop)),
        ("RolloutShow", c.rollout_show(v1::RolloutRequest::default()).await.map(drop)),
        ("RolloutOrder", c.rollout_order(v1::RolloutOrderRequest::default()).await.map(drop)),
        ("Rollback", c.rollback(v1::RollbackRequest::default()).await.map(drop)),
        ("PinList", c.pin_list(v1::PinListRequest {}).await.map(drop)),
        ("PinRemove", c.pin_remove(v1::PinRemoveRequest::default()).await.map(drop)),
        ("Events", c.events(v1::EventsRequest::default()).await.map(drop)),
        ("EventSinks", c.event_sinks(v1::EventSinksRequest {}).await.map(drop)),
        ("History", c.history(v1::HistoryRequest::default()).await.map(drop)),
        ("Images", c.images(v1::ImagesRequest::default()).await.map(drop)),
        ("Plan", c.plan(v1::PlanRequest::default()).await.map(drop)),
        ("Plan live", c.plan(v1::PlanRequest { live: true, ..Default::default() }).await.map(drop)),
        ("Snapshot", c.snapshot(v1::SnapshotRequest {}).await.map(drop)),
        ("Trace", c.trace(trace("pod")).await.map(drop)),
        ("Trace of a Secret", c.trace(trace("secret")).await.map(drop)),
        ("Ask", c.ask(objects("pods")).await.map(drop)),
        ("Ask for Secrets", c.ask(objects("Secrets.v1.")).await.map(drop)),
        ("Ask for logs", c.ask(logs).await.map(drop)),
    ]
}

/// All doors are shut, with this code.
fn shut(doors: Vec<(&'static str, Result<(), Status>)>, code: Code) {
    for (door, answer) in doors {
        let refused = answer.expect_err(door);
        assert_eq!(refused.code(), code, "{door}: {refused}");
    }
}

#[tokio::test]
async fn without_a_certificate_only_enrolment_answers() {
    let stage = Stage::start().await;
    shut(doors(&stage.channel(None).await).await, Code::Unauthenticated);
}

#[tokio::test]
async fn a_strangers_certificate_gets_no_further_than_the_handshake_whatever_name_it_carries() {
    let stage = Stage::start().await;
    let elsewhere = TempDir::new().unwrap();
    let now = peers::clock()();
    let foreign = Authority::open_or_create(elsewhere.path(), "test", now).unwrap();
    let key = KeyPair::generate().unwrap();
    let spoke = foreign.spoke_from_request("fra-1", &request(&key), now).unwrap().certificate;
    let operator = foreign.operator("admin", &key, now).unwrap().certificate;
    // The hub's own kind of certificate is no client's, though our CA signed it.
    let server = stage.authority.hub(now).unwrap();
    for (certificate, key) in
        [(spoke, key.serialize_der()), (operator, key.serialize_der()), (server.certificate, server.key)]
    {
        let credentials = Credentials { certificate, key };
        let channel =
            peers::channel(&stage.fleet.address(), stage.authority.certificate(), Some(&credentials)).await;
        // TLS 1.3 tells a client only after its own handshake; then no door has answered with a code of ours.
        if let Ok(channel) = channel {
            for (door, answer) in doors(&channel).await {
                let refused = answer.expect_err(door);
                let ours = [Code::Ok, Code::PermissionDenied, Code::Unauthenticated, Code::NotFound];
                assert!(!ours.contains(&refused.code()), "{door}: {refused}");
            }
        }
    }
    assert!(stage.audit().await.iter().all(|(_, what, _)| what != "Joined"));
}

#[tokio::test]
async fn an_expired_certificate_gets_no_further_than_the_handshake() {
    let stage = Stage::start().await;
    let member = stage.member("fra-1", &[]).await;
    let two_days_ago = peers::clock()() - 48 * 3_600_000;
    let old =
        stage.authority.spoke_for_key("fra-1", &member.key.subject_public_key_info(), two_days_ago).unwrap();
    let credentials = Credentials { certificate: old.certificate, key: member.credentials.key.clone() };
    let channel =
        peers::channel(&stage.fleet.address(), stage.authority.certificate(), Some(&credentials)).await;
    if let Ok(channel) = channel {
        let refused = peers::Stream::open(channel, peers::hello(&member.uid)).await.map(drop).unwrap_err();
        // The transport's own words for a connection that ended; whichever it is depends on when it noticed.
        let broken = matches!(refused.code(), Code::Unknown | Code::Cancelled | Code::Unavailable);
        assert!(broken, "{refused:?}");
    }
}

#[tokio::test]
async fn an_operator_is_no_spoke_and_a_spoke_is_no_operator() {
    let stage = Stage::start().await;
    let operator = stage.channel(Some(&stage.admin())).await;
    let session = peers::Stream::open(operator.clone(), peers::hello("uid")).await.map(drop).unwrap_err();
    assert_eq!(session.code(), Code::PermissionDenied);
    let fetched = ContentClient::new(operator).fetch(v1::FetchRequest { parts: Vec::new() }).await.map(drop);
    assert_eq!(fetched.unwrap_err().code(), Code::PermissionDenied);

    let member = stage.member("fra-1", &[]).await;
    shut(operator_calls(&stage.channel(Some(&member.credentials)).await).await, Code::PermissionDenied);
}

#[tokio::test]
async fn a_name_with_another_key_than_the_one_that_enrolled_is_nobody() {
    let stage = Stage::start().await;
    let _member = stage.member("fra-1", &[]).await;
    let (key, now) = (KeyPair::generate().unwrap(), peers::clock()());
    let spoke = stage.authority.spoke_from_request("fra-1", &request(&key), now).unwrap().certificate;
    let never = stage.authority.spoke_from_request("fra-9", &request(&key), now).unwrap().certificate;
    let admin = stage.authority.operator("admin", &key, now).unwrap().certificate;
    let nobody = stage.authority.operator("mallory", &key, now).unwrap().certificate;
    for certificate in [spoke, never, admin, nobody] {
        let credentials = Credentials { certificate, key: key.serialize_der() };
        shut(doors(&stage.channel(Some(&credentials)).await).await, Code::PermissionDenied);
    }
}

#[tokio::test]
async fn a_viewer_looks_an_operator_changes_what_runs_and_only_an_admin_changes_who_may() {
    let mut stage = Stage::start().await;
    let now = peers::clock()();
    let mut keys = Vec::new();
    stage.fleet.kill_hub();
    let store = RedbStore::open(&stage.fleet.data().join("store.redb")).unwrap();
    for (name, role) in [("vera", OperatorRole::Viewer), ("otto", OperatorRole::Operator)] {
        let pair = KeyPair::generate().unwrap();
        let public_key = pair.subject_public_key_info().iter().map(|b| format!("{b:02x}")).collect();
        let record = serde_json::to_vec(&OperatorRecord { role, public_key }).unwrap();
        store.commit(Batch::new().put(key::operator(name), record)).await.unwrap();
        let certificate = stage.authority.operator(name, &pair, now).unwrap().certificate;
        keys.push(Credentials { certificate, key: pair.serialize_der() });
    }
    drop(store);
    stage.fleet.start_hub().await.unwrap();

    let looks = [
        "Status",
        "Wait",
        "ClusterList",
        "ClusterShow",
        "AppList",
        "AppShow",
        "Why",
        "HoldList",
        "HoldShow",
        "AuditList",
        "ClusterExport",
        "RolloutList",
        "RolloutShow",
        "PinList",
        "History",
        "Images",
        "Trace",
        "Plan",
        "Snapshot",
        "Ask",
        "Events",
        "EventSinks",
    ];
    let operates = [
        "ClusterLabel",
        "ClusterTaint",
        "ClusterCordon",
        "ClusterMaintain",
        "HoldApprove",
        "HoldReject",
        "Pause",
        "Resume",
        "RolloutOrder",
        "Rollback",
        "PinRemove",
        "Trace of a Secret",
        "Ask for Secrets",
        "Ask for logs",
        "Plan live",
    ];
    for (credentials, operator) in keys.iter().zip([false, true]) {
        for (call, answer) in operator_calls(&stage.channel(Some(credentials)).await).await {
            let may = looks.contains(&call) || (operator && operates.contains(&call));
            let denied = answer.as_ref().err().is_some_and(|status| status.code() == Code::PermissionDenied);
            assert_eq!(may, !denied, "{call}: {answer:?}");
        }
    }
    assert!(stage.audit().await.iter().all(|(_, what, _)| what != "Joined"));
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let stage = Stage::start().await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(stage.authority.certificate().to_vec())).unwrap();
    let handshake = async |version: &'static rustls::SupportedProtocolVersion| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let stream = TcpStream::connect(stage.fleet.address()).await.unwrap();
        let name = nave_proto::tls::hub_server_name();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.map(drop)
    };
    handshake(&rustls::version::TLS13).await.unwrap();
    let refused = handshake(&rustls::version::TLS12).await.unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
}
