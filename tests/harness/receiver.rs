//! Receivers of events and forges: real HTTP servers on loopback that keep what they are sent, and answer as they are told.
//!
//! In: requests. Out: [`Received`], in their order. Never: checks anything itself; the tests do.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A request.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The bytes of the body.
    pub body: Bytes,
    /// How it was answered.
    pub answered: u16,
}

impl Received {
    /// The body.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// How a receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// Not now, but after so many seconds.
    Busy(u32),
    /// Never.
    Silence,
}

#[derive(Debug)]
struct Shared {
    received: Mutex<Vec<Received>>,
    answer: Mutex<Answer>,
    /// What it says to whoever asks for something.
    says: Mutex<String>,
    end: CancellationToken,
}

/// A receiver.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
    scheme: &'static str,
    _serving: AbortOnDropHandle<()>,
}

impl Receiver {
    /// One that takes everything.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start() -> Self {
        Self::behind("http", |listener, router| Box::pin(async move { axum::serve(listener, router).await }))
            .await
    }

    /// One that speaks TLS, with this certificate.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start_tls(acceptor: TlsAcceptor) -> Self {
        Self::behind("https", |listener, router| {
            Box::pin(async move { axum::serve(Tls { listener, acceptor }, router).await })
        })
        .await
    }

    async fn behind(
        scheme: &'static str,
        serve: impl FnOnce(TcpListener, axum::Router) -> BoxFuture<'static, io::Result<()>>,
    ) -> Self {
        let answer = Mutex::new(Answer::Status(200));
        let (received, says) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { received, answer, says, end: CancellationToken::new() });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let router = axum::Router::new().fallback(receive).with_state(shared.clone());
        let serving = serve(listener, router);
        let serving = tokio::spawn(async move { serving.await.expect("it serves") });
        Self { shared, address, scheme, _serving: AbortOnDropHandle::new(serving) }
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Answers so from now on.
    pub fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// Says so, from now on, to whoever asks for something.
    pub fn say(&self, text: &str) {
        text.clone_into(&mut self.shared.says.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What it was sent.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Connections whose handshake went well; others are nobody's.
pub(crate) struct Tls {
    pub(crate) listener: TcpListener,
    pub(crate) acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.end.cancel();
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    let answer = *shared.answer.lock().unwrap_or_else(PoisonError::into_inner);
    let (answered, wait) = match answer {
        Answer::Status(status) => (status, None),
        Answer::Busy(seconds) => (429, Some(seconds)),
        Answer::Silence => (0, None),
    };
    let says = match method {
        Method::GET => shared.says.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        _ => String::new(),
    };
    let received = Received { method, path: uri.path().to_owned(), headers, body, answered };
    shared.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
    if answer == Answer::Silence {
        shared.end.cancelled().await;
    }
    let wait = wait.map(|seconds| (RETRY_AFTER, seconds.into()));
    let status = StatusCode::from_u16(answered).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    (status, wait.into_iter().collect(), says)
}
