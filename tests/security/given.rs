//! What these tests start from: a hub with a catalog, its CA in the test's hands, and clusters that join by bare requests.

use std::time::Duration;

use harness::fleet::{Fleet, documents};
use harness::git::Repository;
use harness::{peers, wait};
use nave_hub::context::Context;
use nave_hub::pki::Authority;
use nave_proto::tls::Credentials;
use nave_proto::v1::enrolment_client::EnrolmentClient;
use nave_proto::v1::operator_client::OperatorClient;
use nave_proto::v1::{self, enrol_response};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tonic::Status;
use tonic::transport::Channel;

pub const LIMIT: Duration = Duration::from_secs(30);

/// A hub whose CA the test can use as the hub does.
pub struct Stage {
    pub fleet: Fleet,
    pub authority: Authority,
}

/// A cluster that joined by bare requests.
pub struct Member {
    pub uid: String,
    pub key: KeyPair,
    pub credentials: Credentials,
}

impl Stage {
    /// A hub with app `web` for every cluster and `db` for those with `env: prod`.
    pub async fn start() -> Self {
        let catalog = Repository::with(
            "catalog",
            &[
                ("apps/web.yaml", &documents::app("web")),
                ("apps/manifests/web/web.yaml", &documents::config_map("web", "1")),
                ("apps/db.yaml", &documents::app("db")),
                ("apps/manifests/db/db.yaml", &documents::config_map("db", "1")),
                ("all.yaml", &documents::placement("all", &["web"], "{selector: {}}")),
                (
                    "prod.yaml",
                    &documents::placement("prod", &["db"], "{selector: {matchLabels: {env: prod}}}"),
                ),
            ],
        );
        let fleet = Fleet::start(catalog.unwrap()).await.unwrap();
        let authority = Authority::open(&fleet.data().join("ca")).unwrap();
        Self { fleet, authority }
    }

    /// A channel to the hub with this certificate, or with none.
    pub async fn channel(&self, credentials: Option<&Credentials>) -> Channel {
        peers::channel(&self.fleet.address(), self.authority.certificate(), credentials).await.unwrap()
    }

    /// The first operator, as `hub init` made them.
    pub fn admin(&self) -> Credentials {
        Context::read(&self.fleet.data().join("admin.yaml")).unwrap().credentials().unwrap()
    }

    /// The operators' service, for the first operator.
    pub async fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel(Some(&self.admin())).await)
    }

    /// A join token, valid for so many milliseconds; 0 is the hub's default.
    pub async fn token(&self, cluster: &str, valid_ms: u64, labels: &[(&str, &str)]) -> v1::JoinToken {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let request =
            v1::ClusterJoinRequest { cluster: cluster.to_owned(), valid_ms, labels, set: String::new() };
        let answer = self.operator().await.cluster_join(request).await.unwrap().into_inner();
        let view: Value = serde_json::from_slice(&answer.json).unwrap();
        v1::JoinToken::from_text(view["token"].as_str().unwrap()).unwrap()
    }

    /// Joins a cluster by bare requests.
    pub async fn member(&self, cluster: &str, labels: &[(&str, &str)]) -> Member {
        let token = self.token(cluster, 0, labels).await;
        let (key, uid) = (KeyPair::generate().unwrap(), format!("uid-of-{cluster}"));
        let channel = self.channel(None).await;
        let identity = enrol(channel, &token, &request(&key), &uid).await.unwrap();
        let credentials = Credentials { certificate: identity.certificate, key: key.serialize_der() };
        Member { uid, key, credentials }
    }

    /// Who did what, as the audit log has it.
    pub async fn audit(&self) -> Vec<(String, String, String)> {
        let request = v1::AuditListRequest::default();
        let answer = self.operator().await.audit_list(request).await.unwrap().into_inner();
        let view: Value = serde_json::from_slice(&answer.json).unwrap();
        let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
        let lines = view["lines"].as_array().unwrap().iter();
        lines.map(|line| (text(line, "who"), text(line, "what"), text(line, "subject"))).collect()
    }

    /// How often the audit log says this of a cluster.
    pub async fn audited(&self, what: &str, cluster: &str) -> usize {
        let subject = format!("cluster {cluster}");
        self.audit().await.iter().filter(|(_, w, s)| w == what && *s == subject).count()
    }

    /// The alarms in `hub status`, by cluster.
    pub async fn alarms(&self) -> Value {
        let answer = self.operator().await.status(v1::StatusRequest::default()).await.unwrap().into_inner();
        serde_json::from_slice::<Value>(&answer.json).unwrap()["alarms"].clone()
    }

    /// Waits until `hub status` has exactly these alarms.
    pub async fn until_alarms(&self, wanted: Value) {
        wait::until("the alarms are as they should be", LIMIT, async || {
            let seen = self.alarms().await;
            if seen == wanted { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

/// A request for a certificate that names nobody.
pub fn request(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

/// Asks for a certificate.
pub async fn enrol(
    channel: Channel,
    token: &v1::JoinToken,
    csr: &[u8],
    uid: &str,
) -> Result<v1::Identity, Status> {
    let request = v1::EnrolRequest {
        token_id: token.id.clone(),
        token_secret: token.secret.clone(),
        csr: csr.to_vec(),
        cluster_uid: uid.to_owned(),
    };
    match EnrolmentClient::new(channel).enrol(request).await?.into_inner().result {
        Some(enrol_response::Result::Identity(identity)) => Ok(identity),
        other => Err(Status::unknown(format!("{other:?}"))),
    }
}

/// Asks for the next certificate with this one; `sign` is the key that signs the hub's nonce.
pub async fn renew(channel: Channel, certificate: &[u8], sign: &KeyPair) -> Result<v1::Identity, Status> {
    use rcgen::SigningKey as _;
    let mut client = EnrolmentClient::new(channel);
    let nonce = client.challenge(v1::ChallengeRequest {}).await?.into_inner().nonce;
    let signature = sign.sign(&[nave_proto::limits::RENEW_CONTEXT, &nonce].concat()).unwrap();
    let request = v1::RenewRequest { certificate: certificate.to_vec(), nonce, signature };
    client.renew(request).await?.into_inner().identity.ok_or_else(|| Status::unknown("no identity"))
}
