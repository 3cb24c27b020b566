//! Asking: one GET, with all that may lead it elsewhere.
//!
//! In: a URL, whose way it goes, what is shown there. Out: an answer with its bytes, or why there is none.
//! Never: shows anything to another host than that of the URL; follows more than five redirects, or one from https to http; takes more bytes
//! than it is told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use zeroize::Zeroizing;

use super::error::{ChartError, shown};
use crate::addresses::{self, Lookup};
use crate::git::{Access, Cause, certificates};

/// TCP and TLS.
const CONNECT: Duration = Duration::from_secs(10);
/// A server that is silent for longer is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// As many as a browser would find strange.
const REDIRECTS: usize = 5;

/// The name of an access, for its certificates, and a proxy; neither for servers that nothing is said of.
type Way<'a> = (Option<&'a str>, Option<&'a str>);

/// Who asks, for the time of one question: files of certificates and passwords are read anew for each.
pub(super) struct Asking<'a> {
    accesses: &'a [Access],
    clients: Mutex<BTreeMap<Way<'a>, Client>>,
}

/// What is asked.
pub(super) struct Question<'a> {
    /// Where.
    pub url: Url,
    /// Whose certificates and proxy are for it.
    pub access: Option<&'a Access>,
    /// What is shown to its host.
    pub authorization: Option<HeaderValue>,
    /// The mark of an answer that is here; a server that has the same says only so.
    pub mark: Option<HeaderValue>,
    /// Media types.
    pub accept: &'static str,
    /// Most bytes of the answer.
    pub most: u64,
}

/// What is answered.
pub(super) struct Answer {
    /// Where redirects led.
    pub url: Url,
    /// How.
    pub status: StatusCode,
    /// With what.
    pub headers: HeaderMap,
    /// What; nothing where it is no success.
    pub body: Vec<u8>,
}

impl Answer {
    /// Only a success.
    pub fn whole(self) -> Result<Self, ChartError> {
        let url = shown(&self.url);
        match self.status {
            status if status.is_success() => Ok(self),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ChartError::AuthRefused { url }),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(ChartError::NotFound { url }),
            status => Err(ChartError::Status { url, status }),
        }
    }
}

impl<'a> Asking<'a> {
    /// With what the configuration says.
    pub fn new(accesses: &'a [Access]) -> Self {
        Self { accesses, clients: Mutex::default() }
    }

    /// What is said of a URL.
    pub fn access(&self, url: &str) -> Option<&'a Access> {
        Access::of(self.accesses, url)
    }

    /// Asks, and follows redirects.
    pub async fn get(&self, question: Question<'a>) -> Result<Answer, ChartError> {
        let mut url = question.url.clone();
        for _ in 0..=REDIRECTS {
            if let Some(why) = addresses::objection(&url) {
                return Err(ChartError::Forbidden { url: shown(&url), why });
            }
            let is_home = url.origin() == question.url.origin();
            let access = if is_home { question.access } else { self.access(url.as_str()) };
            // Who is reached through a proxy sends others through it too, as to where its archives are.
            let proxy = access.or(question.access).and_then(|access| access.proxy.as_deref());
            let mut request =
                self.client(access, proxy).await?.get(url.clone()).header(ACCEPT, question.accept);
            if let Some(mark) = &question.mark {
                request = request.header(IF_NONE_MATCH, mark);
            }
            if let Some(authorization) = question.authorization.as_ref().filter(|_| is_home) {
                request = request.header(AUTHORIZATION, authorization);
            }
            let answer = request.send().await.map_err(|error| ChartError::of_connection(&url, error))?;
            match answer.headers().get(LOCATION).filter(|_| answer.status().is_redirection()) {
                Some(location) => url = led(&question.url, &url, location)?,
                None => return read(url, answer, question.most).await,
            }
        }
        Err(ChartError::Forbidden {
            url: shown(&question.url),
            why: "it leads on through more than five redirects",
        })
    }

    /// Certificates of one who is configured; the machine's for all others.
    async fn client(&self, access: Option<&'a Access>, proxy: Option<&'a str>) -> Result<Client, ChartError> {
        let name = access.map(|access| &*access.name);
        let lock = || self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = lock().get(&(name, proxy)) {
            return Ok(made.clone());
        }
        // reqwest panics without a default provider; installing one twice is harmless.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder = Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .redirect(Policy::none())
            .referer(false)
            .dns_resolver(Lookup)
            .user_agent(concat!("nave-hub/", env!("CARGO_PKG_VERSION")));
        let unusable =
            |cause: Cause| ChartError::NoCredentials { name: name.unwrap_or("of nobody").to_owned(), cause };
        if let Some(path) = access.and_then(|access| access.ca_file.as_deref()) {
            let found = off_runtime(path, certificates).await;
            let found = found.map_err(|cause| ChartError::BadCaFile { path: path.to_owned(), cause })?;
            builder = builder.tls_certs_only(found);
        }
        if let Some(proxy) = proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(|error| unusable(error.into()))?);
        }
        let client = builder.build().map_err(|error| unusable(error.into()))?;
        lock().insert((name, proxy), client.clone());
        Ok(client)
    }
}

/// What is shown of a user name and a password, as they are now.
pub(super) async fn basic(access: Option<&Access>) -> Result<Option<HeaderValue>, ChartError> {
    let Some((access, (username, password_file))) = access.and_then(|access| Some((access, access.basic()?)))
    else {
        return Ok(None);
    };
    let failed = |cause| ChartError::NoCredentials { name: access.name.clone(), cause };
    let password = off_runtime(password_file, crate::git::secret).await.map_err(failed)?;
    let pair = Zeroizing::new(format!("{username}:{}", *password));
    secret_header("Basic", &STANDARD.encode(pair.as_bytes())).map(Some).map_err(failed)
}

/// A header that no log shows.
pub(super) fn secret_header(scheme: &str, secret: &str) -> Result<HeaderValue, Cause> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {secret}"))?;
    header.set_sensitive(true);
    Ok(header)
}

async fn off_runtime<T: Send + 'static>(
    path: &Path,
    read: impl FnOnce(&Path) -> Result<T, Cause> + Send + 'static,
) -> Result<T, Cause> {
    let path = path.to_owned();
    let done = tokio::task::spawn_blocking(move || read(&path)).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Where a redirect leads.
fn led(begun: &Url, url: &Url, location: &HeaderValue) -> Result<Url, ChartError> {
    let forbidden = |why| ChartError::Forbidden { url: shown(url), why };
    let next = location.to_str().ok().and_then(|location| url.join(location).ok());
    let next = next.ok_or_else(|| forbidden("it leads on to what is no URL"))?;
    match begun.scheme() == "https" && next.scheme() != "https" {
        true => Err(forbidden("it leads on from https:// to what is not encrypted")),
        false => Ok(next),
    }
}

/// The bytes of a success, as many as are taken.
async fn read(url: Url, mut answer: reqwest::Response, most: u64) -> Result<Answer, ChartError> {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut body = Vec::new();
    if !status.is_success() {
        return Ok(Answer { url, status, headers, body });
    }
    let too_large = || ChartError::TooLarge { url: shown(&url), most };
    if answer.content_length().is_some_and(|length| length > most) {
        return Err(too_large());
    }
    while let Some(chunk) = answer.chunk().await.map_err(|error| ChartError::of_connection(&url, error))? {
        if (body.len() + chunk.len()) as u64 > most {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { url, status, headers, body })
}
