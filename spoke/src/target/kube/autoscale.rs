//! Autoscale: what others scale.
//!
//! In: an object with replicas. Out: whether an autoscaler on the cluster has it for its target; then its replicas are not
//! ours to set. Never: asks while replicas are as wanted; keeps an answer for longer than a round.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nave_placement::ObjectKey;
use serde_json::Value;
use tokio::time::Instant;

use super::shared::{Shared, text};
use crate::target::TargetError;

/// The field that an autoscaler sets, through the scale subresource, on everything that it can scale.
pub(super) const REPLICAS: &str = "/spec/replicas";
/// What says that something is scaled. KEDA makes a HorizontalPodAutoscaler of its own, but only while its target is awake.
const SCALERS: &[(&str, &str)] = &[("autoscaling", "HorizontalPodAutoscaler"), ("keda.sh", "ScaledObject")];
/// The targets of a namespace are asked for once for all its objects of a round.
const FRESH: Duration = Duration::from_secs(2);
/// That nothing scales an object is believed for much less: an autoscaler that has just come must not be fought.
const FRESH_NOT: Duration = Duration::from_millis(200);

/// Group, kind and name.
type Scaled = BTreeSet<(String, String, String)>;

/// What is scaled, by namespace, as it was last asked for.
#[derive(Default)]
pub(super) struct Autoscaled(Mutex<HashMap<String, (Instant, Arc<Scaled>)>>);

impl Shared {
    /// Whether the object's replicas are set by an autoscaler.
    pub async fn is_scaled(&self, key: &ObjectKey) -> Result<bool, TargetError> {
        let target = (key.group.clone(), key.kind.clone(), key.name.clone());
        let now = Instant::now();
        let known = {
            let mut all = self.scaled.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, (asked, _)| now.duration_since(*asked) < FRESH);
            all.get(&key.namespace).cloned()
        };
        if let Some((asked, scaled)) = known {
            let is_scaled = scaled.contains(&target);
            if is_scaled || now.duration_since(asked) < FRESH_NOT {
                return Ok(is_scaled);
            }
        }
        let mut scaled = Scaled::new();
        for (group, kind) in SCALERS {
            let Some(resource) = self.kinds().preferred(group, kind) else { continue };
            let each = |scaler: Value| scaled.extend(target_of(&scaler));
            match self.wire.list(&resource, &key.namespace, None, false, each).await {
                Ok(()) => {}
                // Who may not look has no rights to give to others either; a fight would be noticed.
                Err(problem) if matches!(problem.code, 403 | 404) => {}
                Err(problem) => return Err(problem.into()),
            }
        }
        let is_scaled = scaled.contains(&target);
        let mut all = self.scaled.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key.namespace.clone(), (now, Arc::new(scaled)));
        Ok(is_scaled)
    }
}

/// Group, kind and name of what a scaler scales.
fn target_of(scaler: &Value) -> Option<(String, String, String)> {
    let of = scaler.pointer("/spec/scaleTargetRef")?;
    // KEDA leaves both out for a Deployment.
    let version = Some(text(of, "/apiVersion")).filter(|v| !v.is_empty()).unwrap_or("apps/v1");
    let kind = Some(text(of, "/kind")).filter(|k| !k.is_empty()).unwrap_or("Deployment");
    let group = version.split_once('/').map_or("", |(group, _)| group);
    // Workloads that once were in `extensions` are in `apps` now, and old autoscalers still say so.
    let group = if group == "extensions" { "apps" } else { group };
    Some((group.to_owned(), kind.to_owned(), text(of, "/name").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_scaler_names_its_target_in_full_or_in_short() {
        let rows = [
            (
                json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "a"}),
                ("apps", "StatefulSet", "a"),
            ),
            (json!({"name": "b"}), ("apps", "Deployment", "b")),
            (
                json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment", "name": "c"}),
                ("apps", "Deployment", "c"),
            ),
            (
                json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "d"}),
                ("", "ReplicationController", "d"),
            ),
            (
                json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "e"}),
                ("argoproj.io", "Rollout", "e"),
            ),
        ];
        for (target, (group, kind, name)) in rows {
            let found = target_of(&json!({"spec": {"scaleTargetRef": target}}));
            assert_eq!(found, Some((group.into(), kind.into(), name.into())));
        }
        assert_eq!(target_of(&json!({"spec": {}})), None);
    }
}
