//! An API server that plays what a real one of v1.20 cannot.
//!
//! In: requests of a Kubernetes client. Out: the answers of a current server, for a few kinds: aggregated discovery, strict
//! field validation, streaming lists, server-side apply with its books. It has no TLS, no rights (but see
//! [`FakeApi::deny`]), no definitions, no controllers; a version counts writes. What it cannot do it answers with 501.

mod fields;
mod kinds;
mod store;
mod stream;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{self, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::faults::Asked;
use crate::servers::{self, Serving};
use kinds::Kind;
use store::{Key, No, Store, Terms, Written};
use stream::Form;

/// A request of a real server may have 3 MiB.
const REQUEST_LIMIT: usize = 3 << 20;

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeApi {
    kubeconfig: PathBuf,
    _directory: TempDir,
    shared: Arc<Shared>,
    _serving: Serving,
}

#[derive(Debug, Default)]
struct Shared {
    store: Mutex<Store>,
    requests: Mutex<Vec<Asked>>,
    /// (verb, resource) that reviews and requests deny.
    denied: Mutex<Vec<(String, String)>>,
    /// Groups whose discovery is stale.
    stale: Mutex<Vec<String>>,
    /// What it says that it is, if not what it is by itself: version, minor number.
    version: Mutex<Option<(String, u32)>>,
    /// What containers have written: `namespace/pod`, container.
    logs: Mutex<BTreeMap<(String, String), String>>,
    changed: watch::Sender<u64>,
}

impl FakeApi {
    /// A server with the namespaces that every cluster has.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start() -> Result<Self> {
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let (address, serving) = servers::serve(|listener| async move {
            // It never returns: errors of a connection end that connection.
            let _ = axum::serve(listener, router).await;
        })?;
        let directory = TempDir::with_prefix("nave-fake-api-")?;
        let kubeconfig = directory.path().join("kubeconfig.json");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        });
        fs::write(&kubeconfig, format!("{config:#}\n"))?;
        let this = Self { kubeconfig, _directory: directory, shared, _serving: serving };
        for name in ["default", "kube-system"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            this.create(&namespace, "kube-apiserver")?;
        }
        Ok(this)
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// What was asked since the beginning, or since [`FakeApi::forget`], in order.
    pub fn requests(&self) -> Vec<Asked> {
        lock(&self.shared.requests).clone()
    }

    /// Forgets what was asked.
    pub fn forget(&self) {
        lock(&self.shared.requests).clear();
    }

    /// From now on this verb is denied for this resource, also to those who ask whether it is.
    pub fn deny(&self, verb: &str, resource: &str) {
        lock(&self.shared.denied).push((verb.to_owned(), resource.to_owned()));
    }

    /// From now on discovery says that it knows this group's resources no more, as of an aggregated API that is down.
    pub fn set_stale(&self, group: &str, stale: bool) {
        let mut known = lock(&self.shared.stale);
        known.retain(|name| name != group);
        known.extend(stale.then(|| group.to_owned()));
    }

    /// From now on it says that it is another version, e.g. `v1.31.2-gke.1`, 31; empty: it does not say which.
    pub fn set_version(&self, version: &str, minor: u32) {
        *lock(&self.shared.version) = Some((version.to_owned(), minor));
    }

    /// From now on this is what a container of the pod `namespace/name` has written, before its last restart too.
    pub fn set_log(&self, pod: &str, container: &str, text: &str) {
        lock(&self.shared.logs).insert((pod.to_owned(), container.to_owned()), text.to_owned());
    }

    /// An object, e.g. `apps deployments shop/web`; `""` is the core group.
    pub fn object(&self, group: &str, plural: &str, name: &str) -> Option<Value> {
        lock(&self.shared.store).get(&key(group, plural, name))
    }

    /// Somebody else creates an object.
    ///
    /// # Errors
    /// When it is there already, or not as the schema wants it.
    pub fn create(&self, object: &Value, manager: &str) -> Result<Value> {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let (version, of) = (text("apiVersion"), text("kind"));
        let kind = kinds::KINDS.iter().find(|kind| kind.kind == of && kind.api_version() == version);
        let kind = kind.with_context(|| format!("the fake serves no {version} {of}"))?;
        let name = object["metadata"]["name"].as_str().context("an object without a name")?;
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let key = key(kind.group, kind.plural, &format!("{namespace}/{name}"));
        self.write(|store| store.create(&key, object, manager))
    }

    /// Somebody else changes an object by a merge patch.
    ///
    /// # Errors
    /// When it is not there, or the change is refused.
    pub fn edit(&self, group: &str, plural: &str, name: &str, patch: &Value, manager: &str) -> Result<Value> {
        self.write(|store| store.merge(&key(group, plural, name), patch, manager))
    }

    /// Somebody else deletes an object.
    ///
    /// # Errors
    /// When it is not there.
    pub fn delete(&self, group: &str, plural: &str, name: &str) -> Result<Value> {
        self.write(|store| store.delete(&key(group, plural, name), &Value::Null))
    }

    fn write(&self, f: impl FnOnce(&mut Store) -> Result<Value, No>) -> Result<Value> {
        let written = f(&mut lock(&self.shared.store)).map_err(|no| anyhow::anyhow!("{}", no.message));
        self.shared.changed.send_modify(|n| *n += 1);
        written
    }
}

/// `namespace/name`, or the name alone of what is in none.
fn key(group: &str, plural: &str, name: &str) -> Key {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    Key { group: group.into(), plural: plural.into(), namespace: namespace.into(), name: name.into() }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let asked = Asked::of(&head.method, &head.uri).accepting(&head.headers);
    lock(&shared.requests).push(asked.clone());
    let Ok(body) = body::to_bytes(body, REQUEST_LIMIT).await else {
        return plain(413, "the request is too large");
    };
    if asked.resource.is_empty() || asked.group == "authorization.k8s.io" {
        return document(&shared, &asked, &body);
    }
    let Some(kind) = Kind::of(&asked.group, &asked.resource) else { return plain(404, "404 page not found") };
    if denied(&shared, asked.verb, &asked.resource) {
        let message =
            format!("{} {:?} is forbidden: cannot {} resource", kind.in_messages(), asked.name, asked.verb);
        return refusal(&No { code: 403, reason: "Forbidden", message, causes: Vec::new(), of: None });
    }
    let form = Form::of(&asked.accept);
    match asked.verb {
        "get" if asked.subresource == "log" => log(&shared, &asked),
        "list" => json_of(200, &stream::list(&shared, kind, &asked, form)),
        "watch" => stream::watch(&shared, kind, &asked, form),
        _ => one(&shared, &asked, form, &text(&head.headers, CONTENT_TYPE.as_str()), &body),
    }
}

/// The last lines of a container's log.
fn log(shared: &Shared, asked: &Asked) -> Response {
    let of =
        (format!("{}/{}", asked.namespace, asked.name), asked.parameter("container").unwrap_or_default());
    let logs = lock(&shared.logs);
    let Some(written) = logs.get(&of) else { return plain(400, "container is waiting to start") };
    let lines: Vec<&str> = written.split_inclusive('\n').collect();
    let wanted = asked.parameter("tailLines").and_then(|lines| lines.parse().ok()).unwrap_or(lines.len());
    let last = lines[lines.len().saturating_sub(wanted)..].concat();
    (hyper::StatusCode::OK, [(CONTENT_TYPE, "text/plain")], last).into_response()
}

/// A request about one object.
fn one(shared: &Shared, asked: &Asked, form: Form, content_type: &str, body: &Bytes) -> Response {
    // YAML of clients that apply is JSON here; what is not is refused, not guessed at.
    let sent: Value = match serde_json::from_slice(body) {
        Ok(sent) => sent,
        Err(_) if body.is_empty() => Value::Null,
        Err(_) => return plain(501, "the fake reads JSON only"),
    };
    let name = if asked.name.is_empty() {
        sent["metadata"]["name"].as_str().unwrap_or_default()
    } else {
        &asked.name
    };
    let name = name.to_owned();
    let key = Key {
        group: asked.group.clone(),
        plural: asked.resource.clone(),
        namespace: asked.namespace.clone(),
        name,
    };
    let manager = asked.parameter("fieldManager").unwrap_or_else(|| "unknown".into());
    let mut store = lock(&shared.store);
    let done = match (asked.verb, content_type) {
        _ if !asked.subresource.is_empty() => return plain(501, "the fake has no subresource but log"),
        ("get", _) => store.get(&key).ok_or_else(|| key.not_found()).map(|object| (200, object, Vec::new())),
        ("create", _) => store.create(&key, &sent, &manager).map(|object| (201, object, Vec::new())),
        ("delete", _) => store.delete(&key, &sent).map(|object| (200, object, Vec::new())),
        ("patch", "application/apply-patch+yaml") => {
            let is = |name: &str, wanted: &str| asked.parameter(name).as_deref() == Some(wanted);
            let terms = Terms {
                manager,
                force: is("force", "true"),
                strict: is("fieldValidation", "Strict"),
                dry_run: is("dryRun", "All"),
            };
            let written = store.apply(&key, &sent, &terms);
            written.map(|Written { object, created, dropped }| {
                (if created { 201 } else { 200 }, object, dropped)
            })
        }
        ("patch", "application/merge-patch+json") => {
            store.merge(&key, &sent, &manager).map(|object| (200, object, Vec::new()))
        }
        _ => return plain(501, "the fake cannot do this"),
    };
    drop(store);
    shared.changed.send_modify(|n| *n += 1);
    match done {
        Ok((code, object, dropped)) => {
            let mut response = json_of(code, &form.one(object));
            for field in dropped {
                let warning = format!("299 - \"unknown field \\\"{field}\\\"\"");
                let value = warning.parse().expect("field names are plain text");
                response.headers_mut().append("warning", value);
            }
            response
        }
        Err(no) => refusal(&no),
    }
}

/// What is no object: discovery, the version, a review of rights.
fn document(shared: &Shared, asked: &Asked, body: &Bytes) -> Response {
    let parts: Vec<&str> = asked.path.split('/').filter(|part| !part.is_empty()).collect();
    let aggregated = asked.accept.contains("g=apidiscovery.k8s.io;v=v2;");
    let stale = lock(&shared.stale).clone();
    let unavailable = |group: &str| stale.iter().any(|known| known == group);
    let found = match parts.as_slice() {
        ["version"] => {
            let (version, minor) =
                lock(&shared.version).clone().unwrap_or_else(|| ("v1.34.0-fake".to_owned(), 34));
            if version.is_empty() {
                return plain(503, "service unavailable");
            }
            Some(json!({"major": "1", "minor": minor.to_string(), "gitVersion": version}))
        }
        ["api" | "apis"] if aggregated => {
            let list = kinds::aggregated(parts == ["api"], &stale);
            let mut response = json_of(200, &list);
            let of = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
            response.headers_mut().insert(CONTENT_TYPE, of.parse().expect("a constant"));
            return response;
        }
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        ["apis"] => {
            let groups: Vec<_> = kinds::KINDS.iter().filter_map(|kind| kinds::group(kind.group)).collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["api", "v1"] => kinds::resources(""),
        ["apis", group] => kinds::group(group),
        ["apis", group, "v1"] if unavailable(group) => return plain(503, "service unavailable"),
        ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"] => reviewed(shared, body),
        ["apis", group, "v1"] => kinds::resources(group),
        _ => None,
    };
    found.map_or_else(|| plain(404, "404 page not found"), |document| json_of(200, &document))
}

fn reviewed(shared: &Shared, body: &Bytes) -> Option<Value> {
    // Who speaks protobuf learns that there is nothing here to talk to.
    let mut review: Value = serde_json::from_slice(body).ok()?;
    let of =
        |field: &str| review["spec"]["resourceAttributes"][field].as_str().unwrap_or_default().to_owned();
    let allowed = !denied(shared, &of("verb"), &of("resource"));
    review["status"] = json!({"allowed": allowed});
    Some(review)
}

fn denied(shared: &Shared, verb: &str, resource: &str) -> bool {
    lock(&shared.denied).iter().any(|(v, r)| v == verb && r == resource)
}

fn refusal(no: &No) -> Response {
    let causes = no
        .causes
        .iter()
        .map(|(reason, message, field)| json!({"reason": reason, "message": message, "field": field}));
    let mut details = json!({"causes": causes.collect::<Vec<_>>()});
    if let Some((kind, name)) = &no.of {
        details["kind"] = kind.clone().into();
        details["name"] = name.clone().into();
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": no.code, "reason": no.reason, "message": no.message, "details": details,
    });
    json_of(no.code, &status)
}

fn json_of(code: u16, value: &Value) -> Response {
    let code = hyper::StatusCode::from_u16(code).expect("ours are codes");
    (code, [(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn plain(code: u16, text: &'static str) -> Response {
    (hyper::StatusCode::from_u16(code).expect("ours are codes"), text).into_response()
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
