//! Servers of charts: real HTTP servers on loopback that are a Helm repository and an OCI registry at once, and answer as they are told.
//!
//! In: files by path; what `helm push` pushes. Out: the same to whoever may have it; what was asked ([`Asked`]), in its order.
//! A registry's token says itself what it is for, so that the tests see what was asked for. Never: checks anything but what it is told to want.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, LINK, LOCATION, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::receiver::Tls;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// What was shown.
    pub authorization: Option<String>,
    /// By what mark an answer was said to be known.
    pub mark: Option<String>,
}

/// What is answered at a path instead of what is there.
#[derive(Clone, Debug)]
pub enum Answer {
    /// That it is elsewhere.
    Redirect(String),
    /// Zeros, without end.
    Endless,
    /// Nothing.
    Silence,
    /// What is made of the request.
    Made(Made),
}

/// Makes an answer of a request and its body.
#[derive(Clone)]
pub struct Made(Arc<Make>);

type Make = dyn Fn(&Asked, &[u8]) -> Response + Send + Sync;

impl Made {
    /// By this.
    pub fn by(make: impl Fn(&Asked, &[u8]) -> Response + Send + Sync + 'static) -> Answer {
        Answer::Made(Self(Arc::new(make)))
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made(…)")
    }
}

/// What has to be shown.
#[derive(Clone, Debug)]
pub enum Wants {
    /// A user name and a password.
    Basic(&'static str, &'static str),
    /// A token that this URL gives out.
    Token(String),
}

#[derive(Default)]
struct Held {
    files: BTreeMap<String, Bytes>,
    answers: BTreeMap<String, Answer>,
    wants: Option<Wants>,
    asked: Vec<Asked>,
    /// By digest.
    blobs: BTreeMap<String, Bytes>,
    /// By the path of an image and a tag.
    manifests: BTreeMap<(String, String), Bytes>,
    uploads: BTreeMap<String, Vec<u8>>,
    page: usize,
}

struct Shared {
    held: Mutex<Held>,
    end: CancellationToken,
}

/// A server of charts.
pub struct ChartServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    scheme: &'static str,
    _end: DropGuard,
    _serving: AbortOnDropHandle<()>,
}

/// Another way to a server.
pub struct Door {
    address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Door {
    async fn open(shared: Arc<Shared>, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let router = axum::Router::new().fallback(answer).layer(DefaultBodyLimit::disable());
        let router = router.with_state(shared);
        let serving = tokio::spawn(async move {
            let served = match acceptor {
                Some(acceptor) => axum::serve(Tls { listener, acceptor }, router).await,
                None => axum::serve(listener, router).await,
            };
            served.expect("it serves");
        });
        Self { address, _serving: AbortOnDropHandle::new(serving) }
    }

    /// A place in its registry.
    pub fn oci(&self, path: &str) -> String {
        format!("oci://{}{path}", self.address)
    }
}

impl ChartServer {
    /// One that speaks TLS, with this certificate.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(acceptor: TlsAcceptor) -> Self {
        Self::behind(Some(acceptor)).await
    }

    /// One that does not encrypt.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start_in_clear() -> Self {
        Self::behind(None).await
    }

    async fn behind(acceptor: Option<TlsAcceptor>) -> Self {
        let end = CancellationToken::new();
        let held = Mutex::new(Held { page: 1000, ..Held::default() });
        let shared = Arc::new(Shared { held, end: end.clone() });
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let Door { address, _serving } = Door::open(shared.clone(), acceptor).await;
        Self { shared, address, scheme, _end: end.drop_guard(), _serving }
    }

    /// A way to the same things without encryption: Helm 3 knows no other on this machine.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn door_in_clear(&self) -> Door {
        Door::open(self.shared.clone(), None).await
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.shared.held()
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// A place in its registry.
    pub fn oci(&self, path: &str) -> String {
        format!("oci://{}{path}", self.address)
    }

    /// Has a file at a path.
    pub fn put(&self, path: &str, content: impl Into<Bytes>) {
        self.held().files.insert(path.to_owned(), content.into());
    }

    /// Answers so at a path, whatever is there.
    pub fn answer(&self, path: &str, answer: Answer) {
        self.held().answers.insert(path.to_owned(), answer);
    }

    /// Wants this to be shown from now on.
    pub fn want(&self, wants: Wants) {
        self.held().wants = Some(wants);
    }

    /// Gives so many tags at once.
    pub fn pages_of(&self, tags: usize) {
        self.held().page = tags;
    }

    /// Has another manifest for a tag of an image.
    pub fn retag(&self, image: &str, tag: &str, manifest: impl Into<Bytes>) {
        self.held().manifests.insert((image.to_owned(), tag.to_owned()), manifest.into());
    }

    /// The manifest of a tag.
    pub fn manifest(&self, image: &str, tag: &str) -> Option<Bytes> {
        self.held().manifests.get(&(image.to_owned(), tag.to_owned())).cloned()
    }

    /// Has something else for every blob, by the same digests.
    pub fn spoil_blobs(&self) {
        self.held().blobs.values_mut().for_each(|blob| *blob = Bytes::from_static(b"spoilt"));
    }

    /// What was asked since this was called last.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.held().asked)
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let (shown, mark) = (header(AUTHORIZATION), header(IF_NONE_MATCH));
    let target = uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let asked = Asked { method: method.clone(), target, authorization: shown.clone(), mark: mark.clone() };
    let told = {
        let mut held = shared.held();
        held.asked.push(asked.clone());
        held.answers.get(uri.path()).cloned()
    };
    match told {
        Some(Answer::Made(Made(make))) => return make(&asked, &body),
        Some(Answer::Redirect(to)) => return (StatusCode::FOUND, [(LOCATION, to)]).into_response(),
        Some(Answer::Endless) => {
            let zeros = Bytes::from_static(&[0; 1 << 16]);
            return Body::from_stream(stream::repeat_with(move || Ok::<_, std::io::Error>(zeros.clone())))
                .into_response();
        }
        Some(Answer::Silence) => {
            shared.end.cancelled().await;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        None => {}
    }
    let mut held = shared.held();
    if let Some(refusal) = held.refusal(uri.path(), shown.as_deref()) {
        return refusal;
    }
    let query = |name: &str| {
        let mut pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value.replace("%3A", ":").replace("%2F", "/"))
    };
    let found = match uri.path().strip_prefix("/v2/") {
        _ if uri.path() == "/token" => Some(json!({"token": query("scope")}).to_string().into_response()),
        Some("") => Some(StatusCode::OK.into_response()),
        Some(path) => held.registry(&method, path, &query, body),
        None => held.files.get(uri.path()).map(|file| marked(file, mark.as_deref())),
    };
    found.unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

/// A file, unless it is known by its mark.
fn marked(file: &Bytes, known: Option<&str>) -> Response {
    let mark = format!("\"{}\"", digest(file));
    match known == Some(&*mark) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(ETAG, mark)], file.clone()).into_response(),
    }
}

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

impl Held {
    fn refusal(&self, path: &str, shown: Option<&str>) -> Option<Response> {
        let challenge = match self.wants.as_ref()? {
            Wants::Basic(user, password) => {
                let right = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
                (shown != Some(&*right)).then(|| "Basic realm=\"charts\"".to_owned())?
            }
            Wants::Token(realm) => {
                let image = path.strip_prefix("/v2/")?.split("/manifests/").next()?;
                let image = image.split("/blobs/").next()?.trim_end_matches("/tags/list");
                let right = format!("Bearer repository:{image}:pull");
                let challenge = || {
                    format!("Bearer realm=\"{realm}\",service=\"the registry\",scope=\"registry:catalog:*\"")
                };
                (shown != Some(&*right)).then(challenge)?
            }
        };
        Some((StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response())
    }

    /// What a registry does with a path below `/v2/`.
    fn registry(
        &mut self,
        method: &Method,
        path: &str,
        query: &dyn Fn(&str) -> Option<String>,
        body: Bytes,
    ) -> Option<Response> {
        if let Some((image, upload)) = path.split_once("/blobs/uploads/") {
            return Some(self.upload(method, (image, upload), query, &body));
        }
        if let Some((_, digest)) = path.split_once("/blobs/") {
            return Some(self.blobs.get(digest)?.clone().into_response());
        }
        if let Some(image) = path.strip_suffix("/tags/list") {
            return self.tags(image, query);
        }
        let (image, tag) = path.split_once("/manifests/")?;
        if method == Method::PUT {
            let digest = digest(&body);
            for name in [tag, &digest] {
                self.manifests.insert((image.to_owned(), name.to_owned()), body.clone());
            }
            return Some((StatusCode::CREATED, [(DIGEST, digest)]).into_response());
        }
        let manifest = self.manifests.get(&(image.to_owned(), tag.to_owned()))?.clone();
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        Some(([(CONTENT_TYPE, media_type), (DIGEST, digest(&manifest))], manifest).into_response())
    }

    fn upload(
        &mut self,
        method: &Method,
        (image, upload): (&str, &str),
        query: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
    ) -> Response {
        let id = if *method == Method::POST { self.uploads.len().to_string() } else { upload.to_owned() };
        let bytes = self.uploads.entry(id.clone()).or_default();
        bytes.extend_from_slice(body);
        match query("digest") {
            Some(digest) => {
                let blob = Bytes::copy_from_slice(bytes);
                self.blobs.insert(digest.clone(), blob);
                let location = format!("/v2/{image}/blobs/{digest}");
                (StatusCode::CREATED, [(LOCATION, location), (DIGEST, digest)]).into_response()
            }
            None => (StatusCode::ACCEPTED, [(LOCATION, format!("/v2/{image}/blobs/uploads/{id}"))])
                .into_response(),
        }
    }

    /// A page of tags, in order, and where the next one is.
    fn tags(&self, image: &str, query: &dyn Fn(&str) -> Option<String>) -> Option<Response> {
        let of_image = self.manifests.keys().filter(|(name, tag)| name == image && !tag.contains(':'));
        let tags: BTreeSet<&str> = of_image.map(|(_, tag)| &**tag).collect();
        let last = query("last").unwrap_or_default();
        let mut rest = tags.iter().filter(|tag| ***tag > *last).peekable();
        rest.peek()?;
        let page: Vec<&str> = rest.by_ref().take(self.page).copied().collect();
        let next = rest
            .peek()
            .and(page.last())
            .map(|last| format!("</v2/{image}/tags/list?last={last}>; rel=\"next\""));
        let links: Vec<(HeaderName, String)> = next.into_iter().map(|next| (LINK, next)).collect();
        let mut answer = json!({"name": image, "tags": page}).to_string().into_response();
        for (name, link) in links {
            answer.headers_mut().insert(name, link.parse().ok()?);
        }
        Some(answer)
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
