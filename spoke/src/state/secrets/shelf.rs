//! Shelf: Secrets by name, as the API server has them.
//!
//! In: a name, a content. Out: what the server says. Never: waits without a limit; takes "no such path", or no answer,
//! for "is not there"; touches a Secret without the state's label.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, PartialObjectMeta, Patch, PatchParams, PostParams,
};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::target::kube::core;

/// An API server gives up a request after 60 s; one that has not answered in half of that is in trouble.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Who writes.
const MANAGER: &str = "nave-spoke";
/// Every Secret of a state has it.
const LABEL: &str = "nave.dev/state";
/// What the pointer says, where a list of metadata shows it.
const ABOUT: &str = "nave.dev/content";
/// The ConfigMap that `spoke status` reads.
pub const STATUS: &str = "nave-spoke-status";
/// Names in one page of a list.
const PAGE: u32 = 250;
/// So long after its time to end is over, a pod counts as ended whatever its status says: where its node is dead nobody
/// writes that any more. One that runs nevertheless looks within a minute whether the state still is its own (72 s with its
/// jitter), and before each write.
pub const LEFT_BEHIND: Duration = Duration::from_secs(90);

/// A Secret's part of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// What it is, in one line.
    pub about: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// Why the server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// Somebody else wrote meanwhile.
    #[error("somebody else wrote it meanwhile")]
    Raced,
    /// The server's words.
    #[error("{0}")]
    Refused(String),
    /// No answer.
    #[error("{0}")]
    Unanswered(String),
}

/// What is known of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pod {
    /// It is there.
    Runs,
    /// It was told to end, and may be at work still.
    Ends,
    /// It is not there, has ended, or had to end [`LEFT_BEHIND`] ago.
    Ended,
}

/// Secrets by name.
#[async_trait]
pub trait Shelf: Send + Sync + 'static {
    /// Where a Secret is, for people; where all are, when the name is empty.
    fn place(&self, name: &str) -> String;
    /// One; `None` when the server says that it is not there.
    async fn get(&self, name: &str) -> Result<Option<Item>, ShelfError>;
    /// Writes one, whatever was there.
    async fn put(&self, name: &str, item: &Item) -> Result<(), ShelfError>;
    /// Removes one; it may be gone already.
    async fn delete(&self, name: &str) -> Result<(), ShelfError>;
    /// Names of all, and what they are.
    async fn list(&self) -> Result<Vec<(String, String)>, ShelfError>;
    /// One, with its version.
    async fn get_at(&self, name: &str) -> Result<Option<(Item, String)>, ShelfError>;
    /// Writes one if it still is of that version; without one, if it is not there.
    async fn put_at(&self, name: &str, item: &Item, version: Option<&str>) -> Result<(), ShelfError>;
    /// How a pod of the namespace is.
    async fn pod(&self, name: &str) -> Result<Pod, ShelfError>;
    /// Writes the ConfigMap with the status.
    async fn show(&self, status: &[u8]) -> Result<(), ShelfError>;
}

/// The Secrets of one namespace.
pub struct ClusterShelf {
    namespace: String,
    client: Client,
    secrets: Api<DynamicObject>,
}

impl ClusterShelf {
    /// The Secrets of this namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        let secrets = Api::namespaced_with(client.clone(), namespace, &core("Secret", "secrets"));
        Self { namespace: namespace.to_owned(), client, secrets }
    }

    fn secret(&self, name: &str, item: &Item, version: Option<&str>) -> Value {
        let mut secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "nave.dev/state",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": {LABEL: "true"},
                "annotations": {ABOUT: item.about},
            },
            "data": {"content": STANDARD.encode(&item.content)},
        });
        if let Some(version) = version {
            secret["metadata"]["resourceVersion"] = version.into();
        }
        secret
    }

    /// The status that a spoke showed last, if one ever did.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn status(&self) -> Result<Option<Vec<u8>>, ShelfError> {
        let maps: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &core("ConfigMap", "configmaps"));
        let found = absent_is_none(limited(maps.get(STATUS)).await)?;
        let text = |map: DynamicObject| {
            map.data.pointer("/data/status.json").and_then(Value::as_str).map(str::to_owned)
        };
        Ok(found.and_then(text).map(String::into_bytes))
    }
}

async fn limited<T>(exchange: impl Future<Output = Result<T, kube::Error>> + Send) -> Result<T, kube::Error> {
    let late = || kube::Error::Service(format!("no answer within {} s", TIMEOUT.as_secs()).into());
    tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| Err(late()))
}

fn told(error: kube::Error) -> ShelfError {
    match error {
        kube::Error::Api(status) if status.code == 409 => ShelfError::Raced,
        kube::Error::Api(status)
            if (400..500).contains(&status.code) && ![408, 429].contains(&status.code) =>
        {
            ShelfError::Refused(status.message.clone())
        }
        error => ShelfError::Unanswered(crate::link::chain(&error)),
    }
}

/// The server says of exactly this object that it is not there; another 404 is a proxy's, or a path that is not served.
fn absent_is_none<T>(answer: Result<T, kube::Error>) -> Result<Option<T>, ShelfError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status))
            if status.code == 404 && status.details.as_ref().is_some_and(|d| !d.name.is_empty()) =>
        {
            Ok(None)
        }
        Err(error) => Err(told(error)),
    }
}

fn item(secret: &DynamicObject) -> Item {
    let content = secret.data.pointer("/data/content").and_then(Value::as_str).unwrap_or_default();
    Item {
        about: secret.annotations().get(ABOUT).cloned().unwrap_or_default(),
        // What is no base64 is no content of ours; the digest says so.
        content: STANDARD.decode(content).unwrap_or_default(),
    }
}

/// How a pod is that is there. Its `deletionTimestamp` is when its time to end is over.
fn standing(pod: &DynamicObject, now: Timestamp) -> Pod {
    let phase = pod.data.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    let over = pod.metadata.deletion_timestamp.as_ref().map(|at| at.0);
    match over {
        _ if matches!(phase, "Succeeded" | "Failed") => Pod::Ended,
        None => Pod::Runs,
        Some(over) if over.checked_add(LEFT_BEHIND).is_ok_and(|end| end < now) => Pod::Ended,
        Some(_) => Pod::Ends,
    }
}

#[async_trait]
impl Shelf for ClusterShelf {
    fn place(&self, name: &str) -> String {
        match name {
            "" => format!("the Secrets of namespace {}", self.namespace),
            STATUS => format!("ConfigMap {}/{STATUS}", self.namespace),
            name => format!("Secret {}/{name}", self.namespace),
        }
    }

    async fn get(&self, name: &str) -> Result<Option<Item>, ShelfError> {
        Ok(absent_is_none(limited(self.secrets.get(name)).await)?.as_ref().map(item))
    }

    async fn put(&self, name: &str, item: &Item) -> Result<(), ShelfError> {
        let (params, body) = (PatchParams::apply(MANAGER).force(), self.secret(name, item, None));
        let patch = Patch::Apply(&body);
        limited(self.secrets.patch_metadata(name, &params, &patch)).await.map(drop).map_err(told)
    }

    async fn delete(&self, name: &str) -> Result<(), ShelfError> {
        let params = DeleteParams::background();
        absent_is_none(limited(self.secrets.delete(name, &params)).await).map(drop)
    }

    async fn list(&self) -> Result<Vec<(String, String)>, ShelfError> {
        let mut params = ListParams::default().labels(&format!("{LABEL}=true")).limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page = limited(self.secrets.list_metadata(&params)).await.map_err(told)?;
            let about = |meta: &PartialObjectMeta<DynamicObject>| {
                let about = meta.metadata.annotations.as_ref().and_then(|a| a.get(ABOUT).cloned());
                (meta.metadata.name.clone().unwrap_or_default(), about.unwrap_or_default())
            };
            all.extend(page.items.iter().map(about));
            match page.metadata.continue_.filter(|more| !more.is_empty()) {
                Some(more) => params.continue_token = Some(more),
                None => return Ok(all),
            }
        }
    }

    async fn get_at(&self, name: &str) -> Result<Option<(Item, String)>, ShelfError> {
        let found = absent_is_none(limited(self.secrets.get(name)).await)?;
        Ok(found.map(|secret| (item(&secret), secret.resource_version().unwrap_or_default())))
    }

    async fn put_at(&self, name: &str, item: &Item, version: Option<&str>) -> Result<(), ShelfError> {
        let body = self.secret(name, item, version);
        let secret: DynamicObject =
            serde_json::from_value(body).map_err(|error| ShelfError::Refused(error.to_string()))?;
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let written = match version {
            Some(_) => limited(self.secrets.replace(name, &params, &secret)).await,
            None => limited(self.secrets.create(&params, &secret)).await,
        };
        match written {
            // It was removed between the look and the write.
            Err(kube::Error::Api(status)) if status.code == 404 && version.is_some() => {
                Err(ShelfError::Raced)
            }
            written => written.map(drop).map_err(told),
        }
    }

    async fn pod(&self, name: &str) -> Result<Pod, ShelfError> {
        let pods: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &core("Pod", "pods"));
        let found = absent_is_none(limited(pods.get(name)).await)?;
        Ok(found.map_or(Pod::Ended, |pod| standing(&pod, Timestamp::now())))
    }

    async fn show(&self, status: &[u8]) -> Result<(), ShelfError> {
        let maps: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &core("ConfigMap", "configmaps"));
        let body = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": STATUS, "namespace": self.namespace},
            "data": {"status.json": String::from_utf8_lossy(status)},
        });
        let params = PatchParams::apply(MANAGER).force();
        limited(maps.patch_metadata(STATUS, &params, &Patch::Apply(&body))).await.map(drop).map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_on_a_dead_node_counts_as_ended_once_its_time_to_end_is_long_over() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time");
        let rows = [
            ("Running", None, Pod::Runs),
            ("Pending", None, Pod::Runs),
            ("Unknown", None, Pod::Runs),
            ("Succeeded", None, Pod::Ended),
            ("Failed", Some("2026-03-01T12:00:20Z"), Pod::Ended),
            ("Running", Some("2026-03-01T12:00:20Z"), Pod::Ends),
            ("Running", Some("2026-03-01T14:00:00Z"), Pod::Ends),
            ("Running", Some("2026-03-01T11:58:31Z"), Pod::Ends),
            ("Running", Some("2026-03-01T11:58:29Z"), Pod::Ended),
            ("Unknown", Some("2026-03-01T09:00:00Z"), Pod::Ended),
        ];
        for (phase, over, expected) in rows {
            let pod =
                json!({"metadata": {"name": "a", "deletionTimestamp": over}, "status": {"phase": phase}});
            let pod: DynamicObject = serde_json::from_value(pod).expect("a pod");
            assert_eq!(standing(&pod, now), expected, "{phase} {over:?}");
        }
    }
}
