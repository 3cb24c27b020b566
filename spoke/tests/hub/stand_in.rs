//! A stand-in for the hub: the three services with the product's TLS, orders from the test, and a record of what came.
//!
//! In: spokes. Out: what the test ordered. Never: decides anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nave_placement::Digest;
use nave_proto::limits::{CERTIFICATE_LIFE, CLOCK_SKEW, HUB_SERVER_NAME, RENEW_CONTEXT};
use nave_proto::spiffe::{CertificateFacts, Role, SpiffeId};
use nave_proto::tls::{self, Clock, Credentials};
use nave_proto::v1::content_server::{Content, ContentServer};
use nave_proto::v1::enrolment_server::{Enrolment, EnrolmentServer};
use nave_proto::v1::session_server::{Session, SessionServer};
use nave_proto::v1::{self, from_spoke, to_spoke};
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PublicKeyData, SanType, SubjectPublicKeyInfo,
};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

const FLEET: &str = "acme";
const CLUSTER: &str = "fra-1";
/// A test waits so long for what must happen.
const DEADLINE: Duration = Duration::from_secs(20);

/// A clock that tests move.
#[derive(Clone)]
pub struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }

    pub fn clock(&self) -> Clock {
        let (moved, own) = (self.0.clone(), nave_spoke::run::system_clock());
        Arc::new(move || own() + moved.load(Ordering::Relaxed))
    }
}

/// What came, and what the test ordered.
#[derive(Default)]
pub struct Record {
    /// Public keys that came with the token.
    pub enrolled: Vec<Vec<u8>>,
    /// Answers to enrolments are lost.
    pub lose_answers: bool,
    /// Whether each renewed certificate had expired.
    pub renewed: Vec<bool>,
    /// The cluster was revoked.
    pub refuse: bool,
    /// Everything that came over sessions, in order.
    pub received: Vec<from_spoke::Message>,
    /// Offsets of requests for bundles.
    pub offsets: Vec<u64>,
    /// Bundles, compressed.
    pub bundles: BTreeMap<Digest, Vec<u8>>,
    /// So many transfers are cut after their first chunk.
    pub cut: usize,
    orders: Option<mpsc::Sender<Result<v1::ToSpoke, Status>>>,
}

struct Inner {
    issuer: Issuer<'static, KeyPair>,
    ca: Vec<u8>,
    clock: TestClock,
    address: String,
    record: Mutex<Record>,
    changed: watch::Sender<u64>,
}

/// The stand-in. It serves until it is dropped with its runtime.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

fn at(ms: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp((ms / 1000) as i64).unwrap()
}

impl Hub {
    pub async fn start(clock: &TestClock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        let ca = params.self_signed(&key).unwrap().der().to_vec();
        let inner = Inner {
            issuer: Issuer::new(params, key),
            ca,
            clock: clock.clone(),
            address: listener.local_addr().unwrap().to_string(),
            record: Mutex::default(),
            changed: watch::Sender::new(0),
        };
        let hub = Self(Arc::new(inner));
        let key = KeyPair::generate().unwrap();
        let mut own = CertificateParams::new(vec![HUB_SERVER_NAME.to_owned()]).unwrap();
        own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = own.signed_by(&key, &hub.0.issuer).unwrap().der().to_vec();
        let own = Credentials { certificate, key: key.serialize_der() };
        let config = tls::server(&hub.0.ca, &own, clock.clock()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (accepted, incoming) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = accepted.send(Ok::<_, std::io::Error>(stream)).await;
                    }
                });
            }
        });
        let server = tonic::transport::Server::builder()
            .add_service(EnrolmentServer::new(hub.clone()))
            .add_service(SessionServer::new(hub.clone()))
            .add_service(ContentServer::new(hub.clone()));
        tokio::spawn(server.serve_with_incoming(ReceiverStream::new(incoming)));
        hub
    }

    pub fn token(&self) -> String {
        let token = v1::JoinToken {
            hub_addresses: vec![self.0.address.clone()],
            ca_sha256: Digest::of(&self.0.ca).0.to_vec(),
            id: "t1".into(),
            secret: vec![7; 32],
            fleet: FLEET.into(),
        };
        token.to_text()
    }

    pub fn edit<T>(&self, edit: impl FnOnce(&mut Record) -> T) -> T {
        let done = edit(&mut self.0.record.lock().unwrap());
        self.0.changed.send_modify(|count| *count += 1);
        done
    }

    /// Waits until the record says so; panics with what it says instead.
    pub async fn until<T>(&self, what: &str, mut found: impl FnMut(&Record) -> Option<T>) -> T {
        let mut changed = self.0.changed.subscribe();
        let waiting = async {
            loop {
                if let Some(found) = found(&self.0.record.lock().unwrap()) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(DEADLINE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("{what}: {:?}", self.0.record.lock().unwrap().received),
        }
    }

    /// Sends over the open session.
    pub async fn order(&self, message: to_spoke::Message) {
        let orders = self.until("an open session", |record| record.orders.clone()).await;
        orders.send(Ok(v1::ToSpoke { message: Some(message) })).await.unwrap();
    }

    /// Ends the open session.
    pub fn hang_up(&self) {
        self.edit(|record| record.orders = None);
    }

    fn identity(&self, key: &impl PublicKeyData) -> v1::Identity {
        let now = (self.0.clock.clock())();
        let id = SpiffeId { fleet: FLEET.into(), role: Role::Spoke(CLUSTER.into()) };
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.to_string().try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = at(now) - CLOCK_SKEW;
        params.not_after = at(now) + CERTIFICATE_LIFE;
        v1::Identity {
            certificate: params.signed_by(key, &self.0.issuer).unwrap().der().to_vec(),
            ca: self.0.ca.clone(),
            cluster: CLUSTER.into(),
            fleet: FLEET.into(),
            hub_addresses: vec![self.0.address.clone()],
            time_ms: now,
        }
    }
}

#[tonic::async_trait]
impl Enrolment for Hub {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let request = request.into_inner();
        if request.token_id != "t1" || request.token_secret != [7; 32] {
            return Err(Status::permission_denied("the join token is not valid (any more)"));
        }
        let csr = CertificateSigningRequestParams::from_der(&request.csr.into()).unwrap();
        let lost: bool = self.edit(|record| {
            record.enrolled.push(csr.public_key.der_bytes().to_vec());
            record.lose_answers
        });
        if lost {
            return Err(Status::unavailable("the answer is lost"));
        }
        let result = v1::enrol_response::Result::Identity(self.identity(&csr.public_key));
        Ok(Response::new(v1::EnrolResponse { result: Some(result) }))
    }

    async fn challenge(
        &self,
        _: Request<v1::ChallengeRequest>,
    ) -> Result<Response<v1::ChallengeResponse>, Status> {
        Ok(Response::new(v1::ChallengeResponse { nonce: b"nonce".to_vec() }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let request = request.into_inner();
        let certificate = rustls::pki_types::CertificateDer::from(request.certificate.clone());
        let signed = [RENEW_CONTEXT, b"nonce"].concat();
        let end_entity = webpki::EndEntityCert::try_from(&certificate).unwrap();
        let verified =
            end_entity.verify_signature(webpki::ring::ECDSA_P256_SHA256, &signed, &request.signature);
        verified.map_err(|_| Status::unauthenticated("its key did not sign the request"))?;
        if self.edit(|record| record.refuse) {
            return Err(Status::unauthenticated("it was revoked"));
        }
        let facts = CertificateFacts::read(&request.certificate).unwrap();
        let now = (self.0.clock.clock())();
        self.edit(|record| record.renewed.push((facts.not_after as u64) * 1000 < now));
        let key = SubjectPublicKeyInfo::from_der(&facts.public_key).unwrap();
        Ok(Response::new(v1::RenewResponse { identity: Some(self.identity(&key)) }))
    }
}

#[tonic::async_trait]
impl Session for Hub {
    type OpenStream = ReceiverStream<Result<v1::ToSpoke, Status>>;

    async fn open(
        &self,
        request: Request<tonic::Streaming<v1::FromSpoke>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        if request.peer_certs().is_none_or(|certs| certs.is_empty()) {
            return Err(Status::unauthenticated("a client certificate is required"));
        }
        if self.edit(|record| record.refuse) {
            return Err(Status::permission_denied("this certificate is no member's (any more)"));
        }
        let mut messages = request.into_inner();
        let (orders, to_spoke) = mpsc::channel(16);
        let hub = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(v1::FromSpoke { message: Some(message) })) = messages.message().await {
                if matches!(message, from_spoke::Message::Hello(_)) {
                    let welcome = v1::Welcome {
                        version: 1,
                        hub_addresses: vec![hub.0.address.clone()],
                        time_ms: (hub.0.clock.clock())(),
                        report_wanted: true,
                    };
                    let welcome = v1::ToSpoke { message: Some(to_spoke::Message::Welcome(welcome)) };
                    let _ = orders.send(Ok(welcome)).await;
                    hub.edit(|record| record.orders = Some(orders.clone()));
                }
                hub.edit(|record| record.received.push(message));
            }
            hub.edit(|record| record.orders = None);
        });
        Ok(Response::new(ReceiverStream::new(to_spoke)))
    }
}

#[tonic::async_trait]
impl Content for Hub {
    type FetchStream = ReceiverStream<Result<v1::Chunk, Status>>;

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let (parts, cut) = self.edit(|record| {
            let parts = request.into_inner().parts;
            record.offsets.extend(parts.iter().map(|part| part.offset));
            let cut = record.cut > 0;
            record.cut = record.cut.saturating_sub(1);
            let bundle = |part: &v1::fetch_request::Part| {
                record.bundles.get(&nave_proto::digest(&part.digest).unwrap()).cloned()
            };
            (parts.into_iter().map(|part| (bundle(&part), part)).collect::<Vec<_>>(), cut)
        });
        let (chunks, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            for (zstd, part) in parts {
                // As hubs did that ended the answer there.
                let Some(zstd) = zstd else {
                    let _ = chunks.send(Err(Status::unavailable("not here yet"))).await;
                    return;
                };
                let mut offset = part.offset as usize;
                while offset < zstd.len() {
                    let data = zstd[offset..zstd.len().min(offset + 64)].to_vec();
                    let (at, total) = (offset as u64, zstd.len() as u64);
                    offset += data.len();
                    let chunk =
                        v1::Chunk { digest: part.digest.clone(), offset: at, total, data: data.into() };
                    let _ = chunks.send(Ok(chunk)).await;
                    if cut {
                        let _ = chunks.send(Err(Status::unavailable("cut"))).await;
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
