//! Wire: one request to the API server, with its time limit. Whatever the target asks goes through here; log lines, which
//! are no JSON, are read where they are asked for, under the same limit.
//!
//! In: a request as `kube` builds it. Out: status and JSON, the events of a watch that has begun, or a [`Problem`].
//! Never: waits without a limit, retries (the next pass of the spoke is the retry; a watch's is `stream`'s).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::api::{DynamicObject, GetParams, ListParams, WatchEvent, WatchParams};
use kube::client::Body;
use kube::core::Status;
use kube::core::discovery::ApiResource;
use kube::core::request::{Error as BuildError, Request};
use kube::{Client, Resource};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::bookless::Bookless;
use super::gate::{Gate, Lane};
use super::problem::Problem;
use super::timings::Timings;
use crate::target::Behalf;

/// Objects a page: with managed fields some 5 KiB each, so that a page is half a MiB. An object that is read is some four
/// times as large, so they are read one by one.
const PAGE: u32 = 100;

/// The way to the API server.
#[derive(Clone)]
pub(super) struct Wire {
    pub client: Client,
    pub timings: Arc<Timings>,
    gate: Arc<Gate>,
    lane: Lane,
    /// As whom requests are made, when not as the spoke itself: a service account's user name.
    pub account: Option<Arc<str>>,
}

/// The events of a watch; nobody asks for the books of what they tell of.
pub(super) type Events = BoxStream<'static, Result<WatchEvent<Bookless>, kube::Error>>;

/// A page of a list, whose objects are read one by one.
pub(super) struct Page {
    bytes: Bytes,
    api_version: String,
    kind: String,
    /// Where the next one begins.
    pub more: Option<String>,
    /// The version of the whole list.
    pub version: String,
}

/// How a page begins.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: ListMeta,
}

/// What is in it. An answer without items is no list, and no empty one either.
#[derive(Deserialize)]
struct Items<'a> {
    #[serde(borrow)]
    items: &'a RawValue,
}

impl Page {
    fn new(bytes: Bytes, kind: &ApiResource) -> Result<Self, serde_json::Error> {
        let Head { metadata } = serde_json::from_slice(&bytes)?;
        let more = metadata.continue_.filter(|token| !token.is_empty());
        let version = metadata.resource_version.unwrap_or_default();
        let (api_version, kind) = (kind.api_version.clone(), kind.kind.clone());
        Ok(Self { bytes, api_version, kind, more, version })
    }

    /// Its objects.
    pub fn objects(&self) -> Result<impl Iterator<Item = Result<Value, Problem>>, Problem> {
        self.read(|item| serde_json::from_str(item))
    }

    /// Its objects without their books.
    pub fn bookless(&self) -> Result<impl Iterator<Item = Result<Value, Problem>>, Problem> {
        self.read(|item| serde_json::from_str(item).map(|Bookless(object)| object))
    }

    fn read(
        &self,
        read: impl Fn(&str) -> Result<Value, serde_json::Error>,
    ) -> Result<impl Iterator<Item = Result<Value, Problem>>, Problem> {
        let items: Items<'_> = serde_json::from_slice(&self.bytes).map_err(unread)?;
        // Go writes an empty list as null.
        let items: Option<Vec<&RawValue>> = serde_json::from_str(items.items.get()).map_err(unread)?;
        Ok(items.unwrap_or_default().into_iter().map(move |item| {
            let mut object = read(item.get()).map_err(unread)?;
            if let Some(fields) = object.as_object_mut() {
                // The items of a list do not repeat what the list is of.
                fields.insert("apiVersion".into(), self.api_version.clone().into());
                fields.insert("kind".into(), self.kind.clone().into());
            }
            Ok(object)
        }))
    }
}

fn unread(error: serde_json::Error) -> Problem {
    Problem::unanswered(format!("the API server's list cannot be read: {error}"))
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
    pub fn new(client: Client, timings: Timings) -> Self {
        let timings = Arc::new(timings);
        Self { client, timings, gate: Arc::default(), lane: Lane::Calls, account: None }
    }

    /// The same way, for lists and watches that nobody waits for.
    pub fn for_streams(&self) -> Self {
        Self { lane: Lane::Streams, ..self.clone() }
    }

    /// The same way, taken as the service account that an app is treated with, where it has one.
    pub fn on_behalf(&self, of: Behalf<'_>) -> Self {
        let account = of.treatment.service_account.as_ref().and_then(|account| account.split_once('/'));
        let account = account.map(|(ns, name)| Arc::from(format!("system:serviceaccount:{ns}:{name}")));
        Self { account, ..self.clone() }
    }

    /// Sends what `kube` built.
    pub async fn send(&self, request: Result<HttpRequest, BuildError>) -> Result<Answer, Problem> {
        let (code, bytes) = self.exchange(request).await?;
        let body = serde_json::from_slice(&bytes)
            .map_err(|e| Problem::unanswered(format!("the API server's answer is no JSON: {e}")))?;
        Ok(Answer { code, body })
    }

    /// Sends it, and gives the answer as it came: below 400.
    async fn exchange(&self, request: Result<HttpRequest, BuildError>) -> Result<(u16, Bytes), Problem> {
        let mut request = request.map_err(|e| Problem::answered(400, e.to_string().as_bytes()))?;
        if let Some(account) = &self.account {
            let name = http::HeaderValue::from_str(account)
                .map_err(|e| Problem::answered(400, e.to_string().as_bytes()))?;
            request.headers_mut().insert("Impersonate-User", name);
        }
        let permit = self.gate.enter(self.lane).await?;
        let exchange = async {
            let response = self.client.send(request.map(Body::from)).await?;
            let (code, after) = (response.status().as_u16(), retry_after(&response));
            Ok((code, after, response.into_body().collect_bytes().await?))
        };
        let answer = self.limited(exchange).await;
        drop(permit);
        let (code, after, bytes) = answer.inspect_err(|problem| self.tell(problem, None))?;
        if code >= 400 {
            let problem = Problem::answered(code, &bytes);
            self.tell(&problem, after);
            return Err(problem);
        }
        self.gate.answered(Instant::now(), None, "");
        Ok((code, bytes))
    }

    /// The gate learns that a request failed, and for how long the server asks to be left alone.
    fn tell(&self, problem: &Problem, after: Option<Duration>) {
        let (now, why) = (Instant::now(), problem.error.to_string());
        match problem.code {
            0 => self.gate.unanswered(now, &why),
            code => self.gate.answered(now, after.filter(|_| matches!(code, 429 | 503)), &why),
        }
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

    /// Every object, whole but for the books of who manages which field: for who holds many of them at once.
    pub async fn list_bookless(
        &self,
        kind: &ApiResource,
        namespace: &str,
        labels: Option<&str>,
        mut each: impl FnMut(Value) + Send,
    ) -> Result<(), Problem> {
        let mut from = None;
        loop {
            let page = self.page(kind, namespace, labels, false, from).await?;
            for object in page.bookless()? {
                each(object?);
            }
            match page.more {
                Some(more) => from = Some(more),
                None => return Ok(()),
            }
        }
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
            let page = self.part(kind, namespace, metadata, &params).await?;
            for object in page.objects()? {
                each(object?);
            }
            match page.more {
                Some(more) => params.continue_token = Some(more),
                None => return Ok(()),
            }
        }
    }

    /// One page of a list.
    pub async fn page(
        &self,
        kind: &ApiResource,
        namespace: &str,
        labels: Option<&str>,
        metadata: bool,
        from: Option<String>,
    ) -> Result<Page, Problem> {
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
    ) -> Result<Page, Problem> {
        let at = path(kind, namespace);
        let request = if metadata { at.list_metadata(params) } else { at.list(params) };
        let (_, bytes) = self.exchange(request).await?;
        Page::new(bytes, kind).map_err(unread)
    }

    /// What happens to the metadata of objects after a version. The server is asked to end it after so many seconds;
    /// whoever listens limits how long.
    pub async fn watch(
        &self,
        kind: &ApiResource,
        namespace: &str,
        labels: Option<&str>,
        version: &str,
        seconds: u32,
    ) -> Result<Events, Problem> {
        let label_selector = labels.map(str::to_owned);
        let params = WatchParams { label_selector, timeout: Some(seconds), ..Default::default() };
        let request = path(kind, namespace).watch_metadata(&params, version);
        let request = request.map_err(|e| Problem::answered(400, e.to_string().as_bytes()))?;
        let permit = self.gate.enter(self.lane).await?;
        let mut after = None;
        let begun = async {
            let begun = self.client.request_events(request).await;
            if let Err(kube::Error::Api(status)) = &begun {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                after = Some(Duration::from_secs(seconds.into())).filter(|after| !after.is_zero());
            }
            begun
        };
        let begun = self.limited(begun).await;
        drop(permit);
        let events = begun.inspect_err(|problem| self.tell(problem, after))?;
        self.gate.answered(Instant::now(), None, "");
        Ok(events.boxed())
    }

    /// Puts the time limit on an exchange, and words for its failures.
    pub async fn limited<T>(
        &self,
        exchange: impl Future<Output = Result<T, kube::Error>> + Send,
    ) -> Result<T, Problem> {
        let limit = self.timings.answer;
        match tokio::time::timeout(limit, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(told(&status)),
            Ok(Err(kube::Error::Service(error))) => {
                Err(Problem::unanswered(format!("the API server cannot be reached: {}", chain(&*error))))
            }
            Ok(Err(error)) => Err(Problem::unanswered(chain(&error))),
            Err(_) => Err(Problem::unanswered(format!(
                "the API server did not answer within {} s",
                limit.as_secs_f32()
            ))),
        }
    }
}

/// How long the server asks to be left alone; only seconds are spoken by API servers.
fn retry_after(response: &http::Response<Body>) -> Option<Duration> {
    let seconds = response.headers().get(http::header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

pub(super) type HttpRequest = http::Request<Vec<u8>>;

/// What a `Status` says that did not come as an answer of its own.
pub(super) fn told(status: &Status) -> Problem {
    Problem::answered(status.code, &serde_json::to_vec(status).unwrap_or_default())
}

/// An error with its causes, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::super::shared::text;
    use super::*;

    #[test]
    fn an_answer_without_items_is_no_empty_list() {
        let kind = super::super::namespaces();
        let names = |body: &str| -> Result<Vec<String>, Problem> {
            let page = Page::new(Bytes::copy_from_slice(body.as_bytes()), &kind).map_err(unread)?;
            let name =
                |object: Value| format!("{} {}", text(&object, "/kind"), text(&object, "/metadata/name"));
            page.objects()?.map(|object| object.map(name)).collect()
        };
        assert!(names("{}").is_err() && names(r#"{"metadata":{}}"#).is_err() && names("[]").is_err());
        assert!(names(r#"{"items":[{"metadata":{"name":"a"}},"#).is_err(), "cut off");
        assert_eq!(names(r#"{"items":null}"#).ok(), Some(Vec::new()));
        let two =
            r#"{"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}],"metadata":{"continue":"x"}}"#;
        assert_eq!(names(two).ok(), Some(vec!["Namespace a".to_owned(), "Namespace b".to_owned()]));
    }
}
