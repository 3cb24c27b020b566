//! Recreate: an object whose fields cannot be changed makes way for itself, so that it can be made anew.
//!
//! In: an object of ours that the server refused to change. Out: [`Deleted`], or why it stays.
//! Never: deletes before the server said that it would take the object as it is wanted now; deletes what does not carry
//! all of our marks, or is there in another version than the one that was looked at.
//!
//! Once it is gone it is absent and still listed and wanted: this round creates it, or the next.

use kube::api::{DeleteParams, PostParams};
use nave_placement::render::Resolved;
use serde_json::Value;

use super::apply::Work;
use super::marks::MANAGER;
use super::shared::{Shared, text};
use super::wire::path;
use crate::plan::runs;
use crate::target::{Behalf, Deleted, TargetError, Write};

impl Shared {
    pub async fn make_way(&self, of: Behalf<'_>, wanted: &Resolved) -> Result<Deleted, TargetError> {
        let work = self.work(of, wanted, Write::default())?;
        let key = &wanted.key;
        let Some(live) = self.live(&work).await? else { return Ok(Deleted::Absent) };
        if let Some(not) = self.marks.not_ours(of.app, key, &live) {
            return Ok(Deleted::NotOurs(not));
        }
        self.would_be_taken(&work).await?;
        // A hook's last run has ended, pods and all, before the next begins.
        let params = if runs(wanted) { DeleteParams::foreground() } else { DeleteParams::background() };
        let at = (&work.wire, &work.resource);
        let deleted = self.delete_exactly(of, at, key, &live, params).await?;
        tracing::info!(app = %of.app, object = %key, ?deleted, "deleted in order to be made anew");
        Ok(deleted)
    }

    /// Whether the server would create the object if it were not there: it validates a creation, and asks webhooks and
    /// policies about it, before it looks whether the name is taken. What cannot be told is not taken for a yes.
    async fn would_be_taken(&self, work: &Work<'_>) -> Result<(), TargetError> {
        let key = &work.wanted.key;
        let body = self.body(work, &[]).to_string().into_bytes();
        let params = PostParams { dry_run: true, field_manager: Some(MANAGER.to_owned()) };
        match work.wire.send(path(&work.resource, &key.namespace).create(&params, body)).await {
            Ok(_) => Ok(()),
            Err(problem) if problem.name_is_taken || problem.is_allocated => Ok(()),
            Err(problem) => {
                let kept = format!(
                    "it is not deleted in order to be made anew, since it would not be taken: {}",
                    problem.error
                );
                Err(match problem.error {
                    TargetError::Unreachable(_) | TargetError::WebhookDown(_) => problem.error,
                    TargetError::Forbidden(_) => TargetError::Forbidden(kept),
                    _ => TargetError::Refused(kept),
                })
            }
        }
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
