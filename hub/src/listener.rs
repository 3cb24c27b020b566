//! The listener: TCP and TLS for everything that comes in by gRPC.
//!
//! In: connections. Out: those whose handshake succeeded, with who is at the other end.
//! Never: lets a slow handshake hold up another; decides what a peer may do.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use nave_proto::limits::CONNECT_TIMEOUT;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tracing::debug;

/// Handshakes at once: they are what costs when ten thousand spokes return; more would only make all of them slow.
const HANDSHAKES: usize = 64;

/// After a failed accept, so that a process without descriptors does not spin until one is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end. TLS has checked the certificate against the fleet's CA and the clock.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The network address.
    pub address: String,
    /// The client's certificate, DER, if it showed one.
    pub certificate: Option<Arc<[u8]>>,
}

/// A connection whose handshake is done.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

impl Connected for Connection {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
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

/// Accepts until cancelled. `config` may be exchanged at any time; new handshakes take the new one.
pub async fn accept(
    listener: TcpListener,
    config: Arc<ArcSwap<ServerConfig>>,
    ready: mpsc::Sender<io::Result<Connection>>,
    cancel: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    let mut handshakes = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned();
        let Ok(place) = place.await else { return };
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        while handshakes.try_join_next().is_some() {}
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            // Out of descriptors or a connection that ended at once: the next may do better.
            Err(error) => {
                debug!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, ready) = (TlsAcceptor::from(config.load_full()), ready.clone());
        handshakes.spawn(async move {
            let _ = stream.set_nodelay(true);
            match timeout(CONNECT_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    drop(place);
                    let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first());
                    let certificate = certificate.map(|c| Arc::from(c.as_ref()));
                    let peer = Peer { address: address.to_string(), certificate };
                    let _ = ready.send(Ok(Connection { stream, peer })).await;
                }
                Ok(Err(error)) => debug!(%address, %error, "handshake refused"),
                Err(_) => debug!(%address, "handshake timed out"),
            }
        });
    }
}
