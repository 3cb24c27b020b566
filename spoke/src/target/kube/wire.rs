//! Wire: one request to the API server, with its time limit; the only place where answers are read.
//!
//! In: a request as `kube` builds it. Out: status and JSON, or a [`Problem`].
//! Never: waits without a limit, retries (the next pass of the spoke is the retry).

use std::sync::Arc;
use std::time::Duration;

use kube::api::{DynamicObject, GetParams, ListParams};
use kube::client::Body;
use kube::core::discovery::ApiResource;
use kube::core::request::{Error as BuildError, Request};
use kube::{Client, Resource};
use serde_json::Value;
use tokio::time::Instant;

use super::gate::Gate;
use super::problem::Problem;
use crate::target::Behalf;

/// An API server gives up a request after 60 s; one that has not answered in half of that is in trouble.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Objects a page: with managed fields some 5 KiB each, so that a page is half a MiB. Read as JSON it is some four times
/// that, for as long as it is looked through.
const PAGE: u32 = 100;

/// The way to the API server.
#[derive(Clone)]
pub(super) struct Wire {
    pub client: Client,
    gate: Arc<Gate>,
    /// As whom requests are made, when not as the spoke itself: a service account's user name.
    pub account: Option<Arc<str>>,
}

/// An answer below 400.
pub(super) struct Answer {
    pub code: u16,
    pub body: Value,
}

/// Where objects of a kind are: in one namespace, in all (`""`), or in the cluster.
pub(super) fn path(kind: &ApiResource, namespace: &str) -> Request {
    let namespace = Some(namespace).filter(|n| !n.is_empty());
    Request::new(DynamicObject::url_path(kind, namespace))
}

impl Wire {
    /// A way that is open.
    pub fn new(client: Client) -> Self {
        Self { client, gate: Arc::default(), account: None }
    }

    /// The same way, taken as the service account that an app is treated with, where it has one.
    pub fn on_behalf(&self, of: Behalf<'_>) -> Self {
        let account = of.treatment.service_account.as_ref().and_then(|account| account.split_once('/'));
        let account = account.map(|(ns, name)| Arc::from(format!("system:serviceaccount:{ns}:{name}")));
        Self { client: self.client.clone(), gate: self.gate.clone(), account }
    }

    /// Sends what `kube` built.
    pub async fn send(&self, request: Result<HttpRequest, BuildError>) -> Result<Answer, Problem> {
        let mut request = request.map_err(|e| Problem::answered(400, e.to_string().as_bytes()))?;
        if let Some(account) = &self.account {
            let name = http::HeaderValue::from_str(account)
                .map_err(|e| Problem::answered(400, e.to_string().as_bytes()))?;
            request.headers_mut().insert("Impersonate-User", name);
        }
        let permit = self.gate.enter().await?;
        let exchange = async {
            let response = self.client.send(request.map(Body::from)).await?;
            let (code, after) = (response.status().as_u16(), retry_after(&response));
            Ok((code, after, response.into_body().collect_bytes().await?))
        };
        let (code, after, bytes) = match limited(exchange).await {
            Ok(answer) => answer,
            Err(problem) => {
                if problem.code == 0 {
                    self.gate.unanswered(Instant::now(), &problem.error.to_string());
                }
                return Err(problem);
            }
        };
        drop(permit);
        let busy = matches!(code, 429 | 503).then(|| Problem::answered(code, &bytes).error.to_string());
        let after = after.filter(|_| busy.is_some());
        self.gate.answered(Instant::now(), after, busy.as_deref().unwrap_or_default());
        if code >= 400 {
            return Err(Problem::answered(code, &bytes));
        }
        let body = serde_json::from_slice(&bytes)
            .map_err(|e| Problem::unanswered(format!("the API server's answer is no JSON: {e}")))?;
        Ok(Answer { code, body })
    }

    /// One object; `None` when the server says that it is not there.
    pub async fn get(
        &self,
        kind: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, Problem> {
        match self.send(path(kind, namespace).get(name, &GetParams::default())).await {
            Ok(answer) => Ok(Some(answer.body)),
            Err(problem) if problem.is_absent() => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// A document that is no object, such as `/version`.
    pub async fn document(&self, parent: &str, name: &str) -> Result<Value, Problem> {
        Ok(self.send(Request::new(parent).get(name, &GetParams::default())).await?.body)
    }

    /// Every object, page by page; an error if any page is missing. With `metadata`, only their metadata.
    pub async fn list(
        &self,
        kind: &ApiResource,
        namespace: &str,
        labels: Option<&str>,
        metadata: bool,
        each: impl FnMut(Value) + Send,
    ) -> Result<(), Problem> {
        let params =
            ListParams { label_selector: labels.map(str::to_owned), limit: Some(PAGE), ..Default::default() };
        self.walk(kind, namespace, metadata, params, each).await
    }

    /// As [`Wire::list`], with other terms: what is selected by fields, the size of a page.
    pub async fn walk(
        &self,
        kind: &ApiResource,
        namespace: &str,
        metadata: bool,
        mut params: ListParams,
        mut each: impl FnMut(Value) + Send,
    ) -> Result<(), Problem> {
        loop {
            let (page, more) = self.part(kind, namespace, metadata, &params).await?;
            page.into_iter().for_each(&mut each);
            match more {
                Some(more) => params.continue_token = Some(more),
                None => return Ok(()),
            }
        }
    }

    /// One page of a list, and where the next begins.
    pub async fn page(
        &self,
        kind: &ApiResource,
        namespace: &str,
        labels: Option<&str>,
        metadata: bool,
        from: Option<String>,
    ) -> Result<(Vec<Value>, Option<String>), Problem> {
        let (label_selector, limit) = (labels.map(str::to_owned), Some(PAGE));
        let params = ListParams { label_selector, limit, continue_token: from, ..Default::default() };
        self.part(kind, namespace, metadata, &params).await
    }

    async fn part(
        &self,
        kind: &ApiResource,
        namespace: &str,
        metadata: bool,
        params: &ListParams,
    ) -> Result<(Vec<Value>, Option<String>), Problem> {
        let at = path(kind, namespace);
        let mut page =
            self.send(if metadata { at.list_metadata(params) } else { at.list(params) }).await?.body;
        let mut items = match page.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            Some(Value::Null) => Vec::new(),
            _ => return Err(Problem::unanswered("the API server's list has no items")),
        };
        for fields in items.iter_mut().filter_map(Value::as_object_mut) {
            // The items of a list do not repeat what the list is of.
            fields.insert("apiVersion".into(), kind.api_version.clone().into());
            fields.insert("kind".into(), kind.kind.clone().into());
        }
        let more = page.pointer("/metadata/continue").and_then(Value::as_str).filter(|c| !c.is_empty());
        Ok((items, more.map(str::to_owned)))
    }
}

/// How long the server asks to be left alone; only seconds are spoken by API servers.
fn retry_after(response: &http::Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(http::header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

pub(super) type HttpRequest = http::Request<Vec<u8>>;

/// Puts the time limit on an exchange, and words for its failures.
pub(super) async fn limited<T>(
    exchange: impl Future<Output = Result<T, kube::Error>> + Send,
) -> Result<T, Problem> {
    match tokio::time::timeout(TIMEOUT, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => {
            let body = serde_json::to_vec(&status).unwrap_or_default();
            Err(Problem::answered(status.code, &body))
        }
        Ok(Err(kube::Error::Service(error))) => {
            Err(Problem::unanswered(format!("the API server cannot be reached: {}", chain(&*error))))
        }
        Ok(Err(error)) => Err(Problem::unanswered(chain(&error))),
        Err(_) => {
            Err(Problem::unanswered(format!("the API server did not answer within {} s", TIMEOUT.as_secs())))
        }
    }
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = inner.source();
    }
    text
}
