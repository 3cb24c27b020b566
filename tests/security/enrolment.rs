//! Joining: a token makes one member with one key, under the token's name, once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use harness::{peers, wait};
use nave_proto::spiffe::{CertificateFacts, Role, SpiffeId};
use nave_spoke::link::{Connect, Connector, Stream};
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData as _, SanType};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::Code;

use crate::given::{LIMIT, Stage, enrol, request};

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[tokio::test]
async fn a_request_for_another_name_gets_the_name_of_its_token_and_no_other() {
    let stage = Stage::start().await;
    let token = stage.token("fra-1", 0, &[]).await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["hub.nave.internal".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "spiffe://test/operator/admin");
    for name in ["spiffe://test/hub", "spiffe://test/spoke/par-1"] {
        params.subject_alt_names.push(SanType::URI(name.try_into().unwrap()));
    }
    let csr = params.serialize_request(&key).unwrap().der().to_vec();

    let identity = enrol(stage.channel(None).await, &token, &csr, "uid").await.unwrap();
    assert_eq!(identity.cluster, "fra-1");
    let spoke = SpiffeId { fleet: "test".to_owned(), role: Role::Spoke("fra-1".to_owned()) };
    assert_eq!(SpiffeId::of_certificate(&identity.certificate), Ok(spoke));
    for foreign in ["hub.nave.internal", "operator/admin", "par-1", "test/hub"] {
        let inside = contains(&identity.certificate, foreign);
        // The issuer is the CA, whose own name is the hub's; everything else has to be absent.
        assert_eq!(inside, foreign == "test/hub", "{foreign}");
    }
    let facts = CertificateFacts::read(&identity.certificate).unwrap();
    assert_eq!(facts.public_key, key.subject_public_key_info());
}

#[tokio::test]
async fn a_token_serves_one_key_and_whoever_comes_with_another_is_refused() {
    let stage = Stage::start().await;
    let token = stage.token("fra-1", 0, &[]).await;
    let (first, second) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    enrol(stage.channel(None).await, &token, &request(&first), "uid").await.unwrap();

    let refused = enrol(stage.channel(None).await, &token, &request(&second), "uid").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("hub cluster join"), "{refused}");
    assert_eq!(stage.audited("Enrolled", "fra-1").await, 1);
}

#[tokio::test]
async fn an_expired_an_unknown_and_a_wrong_token_get_the_same_answer() {
    let stage = Stage::start().await;
    let key = KeyPair::generate().unwrap();
    let (expired, mut wrong) = (stage.token("fra-1", 1, &[]).await, stage.token("fra-2", 0, &[]).await);
    let (clock, made) = (peers::clock(), peers::clock()());
    wait::until("the token's millisecond is over", LIMIT, async || clock() > made + 1).await;
    let mut unknown = wrong.clone();
    unknown.id = "0000000000000000".to_owned();
    wrong.secret[31] ^= 1;

    let mut answers = Vec::new();
    for token in [expired, unknown, wrong] {
        let refused = enrol(stage.channel(None).await, &token, &request(&key), "uid").await.unwrap_err();
        answers.push((refused.code(), refused.message().to_owned()));
    }
    assert_eq!(answers[0].0, Code::PermissionDenied);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(stage.audit().await.iter().all(|(_, what, _)| what != "Enrolled"));
}

#[tokio::test]
async fn a_request_that_its_key_did_not_sign_or_that_is_no_request_makes_no_member() {
    let stage = Stage::start().await;
    let token = stage.token("fra-1", 0, &[]).await;
    let key = KeyPair::generate().unwrap();
    let mut forged = request(&key);
    *forged.last_mut().unwrap() ^= 1;
    for csr in [forged, Vec::new(), b"-----BEGIN".to_vec()] {
        let refused = enrol(stage.channel(None).await, &token, &csr, "uid").await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    // Nothing of this has used the token up.
    enrol(stage.channel(None).await, &token, &request(&key), "uid").await.unwrap();
}

/// A connection that goes deaf: what it sends arrives, what comes back is lost.
struct Deaf {
    stream: TcpStream,
    deaf: Arc<AtomicBool>,
}

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.deaf.load(Ordering::SeqCst) && read.is_ready() {
            buf.set_filled(before);
            return Poll::Pending;
        }
        read
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

struct GoesDeaf(Arc<AtomicBool>);

#[async_trait]
impl Connect for GoesDeaf {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(Deaf { stream: TcpStream::connect(address).await?, deaf: self.0.clone() }))
    }
}

#[tokio::test]
async fn a_lost_answer_can_be_asked_for_again_with_the_same_key_and_only_with_it() {
    let stage = Stage::start().await;
    let token = stage.token("fra-1", 0, &[]).await;
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let deaf = Arc::new(AtomicBool::new(false));
    let connector: Connector = Arc::new(GoesDeaf(deaf.clone()));
    let ca = stage.authority.certificate();
    let channel = peers::channel_over(&connector, &stage.fleet.address(), ca, None).await.unwrap();

    deaf.store(true, Ordering::SeqCst);
    let (lost, csr) = (token.clone(), request(&key));
    let asking = tokio::spawn(async move { enrol(channel, &lost, &csr, "uid").await });
    wait::until("the hub has enrolled it", LIMIT, async || stage.audited("Enrolled", "fra-1").await == 1)
        .await;
    assert!(!asking.is_finished());
    asking.abort();

    let refused = enrol(stage.channel(None).await, &token, &request(&other), "uid").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let identity = enrol(stage.channel(None).await, &token, &request(&key), "uid").await.unwrap();
    let facts = CertificateFacts::read(&identity.certificate).unwrap();
    assert_eq!(facts.public_key, key.subject_public_key_info());
    assert_eq!(stage.audited("Joined", "fra-1").await, 1);
    assert_eq!(stage.audited("Enrolled", "fra-1").await, 2);
}
