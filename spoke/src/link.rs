//! Link: a connection to the hub, and how it can be refused.
//!
//! In: an address, what to trust, who we are. Out: a [`Channel`] that speaks HTTP/2 over TLS 1.3, or why there is none.
//! Never: decides when to try again, connects without checking the hub's certificate.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use nave_proto::limits::{CONNECT_TIMEOUT, HUB_SERVER_NAME, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use nave_proto::tls::{self, Clock};
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// A stream of bytes to the hub.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens streams to addresses: TCP, or what a test puts in its place.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// Opens a stream to `HOST:PORT`. The caller limits the time.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>>;
}

/// The connector of a spoke.
pub type Connector = Arc<dyn Connect>;

/// TCP without delay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

#[async_trait]
impl Connect for Tcp {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// The later of this machine's clock and the last hub time seen: a clock that was set back revives no certificate.
#[derive(Clone)]
pub struct HubClock {
    own: Clock,
    seen_ms: Arc<AtomicU64>,
}

impl HubClock {
    /// Starts from the last hub time that is known.
    pub fn new(own: Clock, seen_ms: u64) -> Self {
        Self { own, seen_ms: Arc::new(AtomicU64::new(seen_ms)) }
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        (self.own)().max(self.seen_ms.load(Ordering::Relaxed))
    }

    /// The hub said what time it is.
    pub fn saw(&self, hub_ms: u64) {
        self.seen_ms.fetch_max(hub_ms, Ordering::Relaxed);
    }

    /// For TLS.
    pub fn for_tls(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now_ms())
    }
}

/// Connects to one address. The handshake is complete when this returns; whether the hub takes our certificate shows only
/// at the first request (TLS 1.3).
///
/// # Errors
/// When the address does not answer in time, or is not our hub.
pub async fn open(
    connector: &Connector,
    tls: ClientConfig,
    address: &str,
) -> Result<Channel, tonic::transport::Error> {
    let connect = Connecting { connector: connector.clone(), tls: TlsConnector::from(Arc::new(tls)) };
    let address: Arc<str> = address.into();
    // The authority that every request names; the scheme says nothing, since TLS is under the connector.
    Endpoint::from_shared(format!("http://{HUB_SERVER_NAME}"))?
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(tower::service_fn(move |_| connect.clone().stream(address.clone())))
        .await
}

#[derive(Clone)]
struct Connecting {
    connector: Connector,
    tls: TlsConnector,
}

impl Connecting {
    async fn stream(self, address: Arc<str>) -> io::Result<TokioIo<impl Stream>> {
        let late = |what: &str| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{address}: no {what} within {CONNECT_TIMEOUT:?}"),
            )
        };
        let stream = timeout(CONNECT_TIMEOUT, self.connector.connect(&address));
        let stream = stream.await.map_err(|_| late("connection"))??;
        let handshake = timeout(CONNECT_TIMEOUT, self.tls.connect(tls::hub_server_name(), stream));
        Ok(TokioIo::new(handshake.await.map_err(|_| late("TLS handshake"))??))
    }
}

/// Whether the hub refuses who we are, as opposed to not being there, or not well.
pub fn is_refusal(status: &tonic::Status) -> bool {
    matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) || certificate_alert(status)
}

/// Whether the TLS layer carried an alert about our certificate.
fn certificate_alert(error: &(dyn Error + 'static)) -> bool {
    use AlertDescription as Alert;
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = error.downcast_ref::<rustls::Error>();
        let tls = tls.or_else(|| inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()));
        if let Some(rustls::Error::AlertReceived(alert)) = tls {
            return matches!(
                alert,
                Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::UnknownCA
                    | Alert::AccessDenied
                    | Alert::DecryptError
                    | Alert::CertificateRequired
            );
        }
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

/// An error and its causes in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Many errors repeat their cause.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
