//! Git's smart HTTP protocol, by Git's own CGI program behind a small HTTP server.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{self, Body};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::servers::{self, Serving};

/// More than any request of a client that only fetches.
const REQUEST_LIMIT: usize = 16 << 20;

/// A server of one repository. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    origin: String,
    behaviour: Arc<Behaviour>,
    _serving: Serving,
}

/// What the server is told to do, and what it has done.
#[derive(Debug, Default)]
struct Behaviour {
    root: PathBuf,
    refuses: AtomicBool,
    /// User and password, joined by a colon.
    password: Mutex<Option<String>>,
    requests: AtomicUsize,
}

impl Server {
    pub(super) fn start(root: &Path, tls: Option<TlsAcceptor>) -> Result<Self> {
        let behaviour = Arc::new(Behaviour { root: root.to_owned(), ..Behaviour::default() });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&behaviour));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (address, serving) = servers::serve(|listener| async move {
            // Neither ever returns: errors of a connection end that connection.
            let _ = match tls {
                None => axum::serve(listener, router).await,
                Some(acceptor) => axum::serve(TlsListener { listener, acceptor }, router).await,
            };
        })?;
        Ok(Self { origin: format!("{scheme}://{address}"), behaviour, _serving: serving })
    }

    /// The URL to clone from.
    pub fn url(&self) -> String {
        format!("{}/bare.git", self.origin)
    }

    /// The URL with the user and password of [`Server::require_password`] in it.
    pub fn url_with_password(&self) -> String {
        let login = self.behaviour.login().map(|login| format!("{login}@")).unwrap_or_default();
        self.url().replacen("://", &format!("://{login}"), 1)
    }

    /// How many requests have come.
    pub fn requests(&self) -> usize {
        self.behaviour.requests.load(Ordering::Relaxed)
    }

    /// Whether every request is answered with "503 Service Unavailable".
    pub fn refuse(&self, refuse: bool) {
        self.behaviour.refuses.store(refuse, Ordering::Relaxed);
    }

    /// From now on asks for this user and password.
    pub fn require_password(&self, user: &str, password: &str) {
        *self.behaviour.password.lock().expect("nobody panics with it") = Some(format!("{user}:{password}"));
    }
}

impl Behaviour {
    fn login(&self) -> Option<String> {
        self.password.lock().expect("nobody panics with it").clone()
    }
}

async fn answer(State(behaviour): State<Arc<Behaviour>>, request: Request) -> Response {
    behaviour.requests.fetch_add(1, Ordering::Relaxed);
    if behaviour.refuses.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if let Some(login) = behaviour.login() {
        let expected = format!("Basic {}", STANDARD.encode(login));
        if text(request.headers(), header::AUTHORIZATION.as_str()) != expected {
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")];
            return (StatusCode::UNAUTHORIZED, challenge).into_response();
        }
    }
    match backend(&behaviour.root, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response(),
    }
}

/// Runs `git http-backend` for one request, as RFC 3875 wants it.
async fn backend(root: &Path, request: Request) -> Result<Response> {
    let (head, body) = request.into_parts();
    let body = body::to_bytes(body, REQUEST_LIMIT).await?;
    let mut child = tokio::process::Command::from(super::command(root))
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text(&head.headers, "content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", text(&head.headers, "content-encoding"))
        .env("GIT_PROTOCOL", text(&head.headers, "git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    // Both at once: neither pipe holds a whole pack.
    let (written, output) =
        tokio::join!(async move { stdin.write_all(&body).await }, child.wait_with_output());
    let output = output?.stdout;
    // A program that has answered without reading everything is in its right.
    drop(written);
    response(&output)
}

fn response(output: &[u8]) -> Result<Response> {
    let end =
        output.windows(4).position(|window| window == b"\r\n\r\n").context("no header came from git")?;
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end])?.lines() {
        let (name, value) = line.split_once(": ").context("a header line has a colon")?;
        response = match name {
            "Status" => response.status(value.split(' ').next().unwrap_or(value)),
            _ => response.header(name, value),
        };
    }
    Ok(response.body(Body::from(output[end + 4..].to_vec()))?)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Accepts connections and speaks TLS on them.
struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // One handshake at a time is enough for the clients of a test.
            if let Ok((stream, address)) = self.listener.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
