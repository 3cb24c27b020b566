//! Images: what containers run, counted.
//!
//! In: pods, one after another. Out: each image once, with where it runs. Never: keeps a pod.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::answers::{ImagesAnswer, RunningImage};
use super::{Answer, Budget, Refusal};

/// Images, by name and digest.
#[derive(Debug, Default)]
pub struct Running(BTreeMap<(String, String), (BTreeSet<String>, u64)>);

/// Containers of a pod: where it names them, where it says how they are.
const CONTAINERS: [(&str, &str); 3] = [
    ("containers", "containerStatuses"),
    ("initContainers", "initContainerStatuses"),
    ("ephemeralContainers", "ephemeralContainerStatuses"),
];

impl Running {
    /// Adds what a pod runs. One that has ended runs nothing; a container that begins again and again runs its image.
    pub fn take(&mut self, pod: &Value) {
        let text = |value: &Value, at: &str| {
            value.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        if matches!(text(pod, "/status/phase").as_str(), "Succeeded" | "Failed") {
            return;
        }
        let list = |part: &str, name: &str| {
            pod.pointer(&format!("/{part}/{name}")).and_then(Value::as_array).into_iter().flatten()
        };
        for (named, told) in CONTAINERS {
            for status in list("status", told) {
                let (id, name) = (text(status, "/imageID"), text(status, "/name"));
                let is_over = told != CONTAINERS[0].1 && status.pointer("/state/running").is_none();
                if id.is_empty() || is_over {
                    continue;
                }
                // As it was asked for: the runtime may call it otherwise.
                let asked = list("spec", named).find(|container| text(container, "/name") == name);
                let image =
                    asked.map(|container| text(container, "/image")).filter(|image| !image.is_empty());
                let image = image.unwrap_or_else(|| text(status, "/image"));
                let digest = id.rsplit(['@', '/']).next().filter(|digest| digest.contains(':'));
                let key = (image, digest.unwrap_or_default().to_owned());
                let (namespaces, containers) = self.0.entry(key).or_default();
                namespaces.insert(text(pod, "/metadata/namespace"));
                *containers += 1;
            }
        }
    }

    /// The answer.
    ///
    /// # Errors
    /// When it cannot be JSON.
    pub fn answer(self) -> Result<Answer, Refusal> {
        let mut budget = Budget::default();
        let images = self.0.into_iter().map(|((image, digest), (namespaces, containers))| RunningImage {
            image,
            digest,
            namespaces,
            containers,
        });
        let images = images.take_while(|image| budget.takes(image)).collect();
        budget.answer(&ImagesAnswer { images })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_runs_or_tries_to_is_counted_by_what_was_asked_for_and_what_came() {
        let pod = |phase: &str, state: Value, id: &str| {
            json!({
                "metadata": {"namespace": "shop"},
                "spec": {"containers": [{"name": "a", "image": "web:1"}], "initContainers": [{"name": "i", "image": "init:1"}]},
                "status": {
                    "phase": phase,
                    "containerStatuses": [{"name": "a", "image": "docker.io/library/web:1", "imageID": id, "state": state}],
                    "initContainerStatuses": [{"name": "i", "imageID": "x@sha256:3", "state": {"terminated": {}}}],
                },
            })
        };
        let mut running = Running::default();
        for pod in [
            pod("Running", json!({"running": {}}), "docker-pullable://web@sha256:1"),
            pod("Running", json!({"waiting": {"reason": "CrashLoopBackOff"}}), "sha256:1"),
            pod("Running", json!({"running": {}}), "web@sha256:2"),
            pod("Pending", json!({"waiting": {}}), ""),
            pod("Succeeded", json!({"terminated": {}}), "web@sha256:9"),
        ] {
            running.take(&pod);
        }
        let answer: ImagesAnswer =
            serde_json::from_slice(&running.answer().expect("JSON").json).expect("its own shape");
        let told: Vec<(&str, &str, u64)> =
            answer.images.iter().map(|i| (&*i.image, &*i.digest, i.containers)).collect();
        assert_eq!(told, [("web:1", "sha256:1", 2), ("web:1", "sha256:2", 1)]);
    }
}
