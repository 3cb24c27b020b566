//! Recreate: an object whose fields cannot be changed is deleted and made anew.
//!
//! In: an object of ours that the server refused to change. Out: [`Applied`], or why it is not made anew (now).
//! Never: deletes what does not carry all of our marks, or is there in another version than the one that was looked at.
//!
//! Killed between the two writes, the object is absent and still listed and wanted: the next round creates it.

use std::time::Duration;

use kube::api::{DeleteParams, Preconditions};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::apply::Work;
use super::shared::{Shared, text};
use super::wire::path;
use crate::target::{Applied, TargetError};

/// Objects without finalizers are gone at once, workloads with their grace; a round is not held up for longer.
const GONE: Duration = Duration::from_secs(5);
const GONE_POLL: Duration = Duration::from_millis(100);

impl Shared {
    pub async fn recreate(&self, work: &Work<'_>, why: &str) -> Result<Applied, TargetError> {
        let key = &work.wanted.key;
        let Some(live) = self.live(work).await? else { return Box::pin(self.create(work)).await };
        if let Some(not) = self.marks.not_ours(work.of.app, key, &live) {
            return Err(TargetError::Immutable(format!("{why}; it is not made anew: {not}")));
        }
        self.notes.forget(key);
        if live.pointer("/metadata/deletionTimestamp").is_none() {
            let field = |name: &str| Some(text(&live, &format!("/metadata/{name}")).to_owned());
            let exactly = Preconditions { uid: field("uid"), resource_version: field("resourceVersion") };
            let params = DeleteParams::background().preconditions(exactly);
            let request = path(&work.resource, &key.namespace).delete(&key.name, &params);
            match work.wire.send(request).await {
                Ok(_) => {}
                Err(problem) if problem.is_absent() => {}
                Err(problem) => return Err(problem.into()),
            }
            tracing::info!(app = %work.of.app, object = %key, why, "deleted in order to be made anew");
        }
        let until = Instant::now() + GONE;
        while let Some(live) = self.live(work).await? {
            // Somebody else was faster.
            if text(&live, "/metadata/deletionTimestamp").is_empty() {
                return Err(TargetError::Unreachable(format!("{key} was made anew by somebody else")));
            }
            if Instant::now() >= until {
                let message = format!("it is made anew once it is gone; {}", waits_for(&live));
                return Err(TargetError::Terminating {
                    message,
                    stuck: is_stuck(&live, work.of.treatment.timeout.0),
                });
            }
            sleep(GONE_POLL).await;
        }
        Box::pin(self.create(work)).await
    }
}

/// What an object that is being deleted waits for: its finalizers, and what a namespace says of itself.
pub(super) fn waits_for(live: &Value) -> String {
    let list = |pointer: &str| live.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut finalizers = list("/metadata/finalizers");
    finalizers.extend(list("/spec/finalizers"));
    let finalizers: Vec<_> = finalizers.iter().filter_map(Value::as_str).collect();
    let mut said = match &*finalizers {
        [] => "it waits for its grace period".to_owned(),
        names => format!("it waits for {}", names.join(", ")),
    };
    for condition in list("/status/conditions") {
        let is_namespace = text(live, "/kind") == "Namespace";
        if is_namespace && text(&condition, "/status") == "True" {
            said.push_str(&format!("; {}: {}", text(&condition, "/type"), text(&condition, "/message")));
        }
    }
    said
}

/// Whether it has been on its way out for longer than this.
pub(super) fn is_stuck(live: &Value, milliseconds: u64) -> bool {
    let since: Option<jiff::Timestamp> = text(live, "/metadata/deletionTimestamp").parse().ok();
    let now = jiff::Timestamp::now().as_millisecond();
    since.is_some_and(|since| {
        u64::try_from(now - since.as_millisecond()).is_ok_and(|past| past > milliseconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_on_its_way_out_says_what_it_waits_for() {
        let namespace = json!({
            "kind": "Namespace",
            "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"conditions": [
                {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "ok"},
                {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "x.example.com in 1 resource instances"},
            ]},
        });
        let expected =
            "it waits for kubernetes; NamespaceFinalizersRemaining: x.example.com in 1 resource instances";
        assert_eq!(waits_for(&namespace), expected);
        assert_eq!(waits_for(&json!({"kind": "Pod"})), "it waits for its grace period");
        assert!(is_stuck(&namespace, 1_000) && !is_stuck(&namespace, u64::MAX) && !is_stuck(&json!({}), 0));
    }
}
