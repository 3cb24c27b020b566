//! Autoscaler: version 1 keeps the conditions of a HorizontalPodAutoscaler in an annotation.
//!
//! In: an autoscaler. Out: what its annotation says is wrong. Never: takes text that is no JSON for anything.

use serde_json::Value;

use super::read::{annotation, condition_at};
use super::signs::Moment;
use crate::target::Health;

/// Where version 1 has the conditions.
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// What version 1 says; nothing of other versions.
pub(super) fn judge(object: &Value, moment: &Moment) -> Option<Health> {
    let conditions: Value = serde_json::from_str(annotation(object, CONDITIONS)?).ok()?;
    ["AbleToScale", "ScalingActive"].iter().find_map(|kind| {
        let condition = condition_at(&conditions, "", kind)?;
        let is_bad = condition.status == "False" && condition.reason != "ScalingDisabled";
        is_bad.then(|| moment.failed(&condition))
    })
}
