//! A hub that is none: what a spoke with a token, and one with an identity, says to it, which is nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::peers;
use nave_hub::pki::Authority;
use nave_proto::tls::{self, Credentials};
use nave_spoke::link::{self, Connector, Tcp};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::given::Stage;

/// Listens as a hub of the same fleet's name would, shows `ca` as its CA, and counts the bytes that it is told.
struct Impostor {
    address: String,
    heard: Arc<AtomicUsize>,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

async fn impostor(ca: &[u8], own: &Credentials) -> Impostor {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = TlsAcceptor::from(Arc::new(tls::server(ca, own, peers::clock()).unwrap()));
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut buffer = [0; 1024];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                count.fetch_add(length, Ordering::SeqCst);
            }
        }
    });
    Impostor { address, heard, _task: tokio_util::task::AbortOnDropHandle::new(task) }
}

#[tokio::test]
async fn a_token_is_told_to_the_hub_that_it_names_and_to_nobody_between() {
    let stage = Stage::start().await;
    let token = stage.token("fra-1", 0, &[]).await;
    let elsewhere = TempDir::new().unwrap();
    let foreign = Authority::open_or_create(elsewhere.path(), "test", peers::clock()()).unwrap();
    let own = foreign.hub(peers::clock()()).unwrap();

    // Its own CA; then the fleet's real CA beside a certificate that this CA did not sign.
    for shown in [foreign.certificate(), stage.authority.certificate()] {
        let impostor = impostor(shown, &own).await;
        let pinned = nave_proto::digest(&token.ca_sha256).unwrap();
        let config = tls::enrolling_client(pinned, peers::clock()).unwrap();
        let connector: Connector = Arc::new(Tcp);
        let error = link::open(&connector, config, &impostor.address).await.unwrap_err();
        let said = link::chain(&error);
        if shown == foreign.certificate() {
            assert!(said.contains("CA is not the one that the join token names"), "{said}");
        }
        assert_eq!(impostor.heard.load(Ordering::SeqCst), 0, "{said}");
    }
}

#[tokio::test]
async fn a_member_says_nothing_to_a_server_that_is_not_the_hub_though_the_fleets_ca_signed_it() {
    let stage = Stage::start().await;
    let member = stage.member("fra-1", &[]).await;
    let other = stage.member("fra-2", &[]).await;
    let ca = stage.authority.certificate();
    let elsewhere = TempDir::new().unwrap();
    let foreign = Authority::open_or_create(elsewhere.path(), "test", peers::clock()()).unwrap();
    let stranger = foreign.hub(peers::clock()()).unwrap();
    // Another spoke's certificate is our CA's, but no server's.
    for own in [&stranger, &other.credentials] {
        let impostor = impostor(ca, own).await;
        let refused = peers::channel(&impostor.address, ca, Some(&member.credentials)).await;
        assert!(refused.is_err());
        assert_eq!(impostor.heard.load(Ordering::SeqCst), 0);
    }
}
