//! Logs: the last lines of a pod's containers, or of those of a workload's pods.
//!
//! In: a pod, or what selects pods. Out: lines of each container, or why there are none.
//! Never: follows; lets one container that says nothing (or too much) hide the others.

use futures::{AsyncReadExt as _, StreamExt as _};
use kube::api::ListParams;
use kube::core::subresource::LogParams;
use serde_json::Value;

use super::super::kinds::core;
use super::super::pods::selector;
use super::super::shared::{Shared, text};
use super::super::wire::path;
use super::AT_ONCE;
use crate::target::ask::answers::{ContainerLog, LogsAnswer};
use crate::target::ask::{Answer, Budget, LINES, Logs, Refusal};

/// Pods of a workload.
const PODS: u32 = 20;
/// Lines of one container, whatever is asked for.
const MOST_LINES: usize = 2000;
/// Bytes of one container; a line of JSON has some 300, so that the usual fifty lines fit three times.
const BYTES: u64 = 48 << 10;

impl Shared {
    pub(super) async fn logs(&self, asked: &Logs) -> Result<Answer, Refusal> {
        let pods = self.pods_of(asked).await?;
        let mut budget = Budget::default();
        budget.truncated = pods.more;
        let mut each = Vec::new();
        for pod in &pods.items {
            for container in containers(pod, !asked.container.is_empty()) {
                if asked.container.is_empty() || asked.container == container {
                    each.push(self.lines_of(asked, text(pod, "/metadata/name"), container));
                }
            }
        }
        let mut logs = futures::stream::iter(each).buffered(AT_ONCE);
        let mut answer = LogsAnswer::default();
        while let Some((log, cut)) = logs.next().await {
            let fits = budget_takes(&mut budget, &log);
            if fits {
                answer.containers.push(log);
            }
            budget.truncated |= cut || !fits;
        }
        if answer.containers.is_empty() && !asked.container.is_empty() {
            return Err(Refusal(format!("no pod of it has a container {:?}", asked.container)));
        }
        budget.answer(&answer)
    }

    async fn lines_of(&self, asked: &Logs, pod: &str, container: &str) -> (ContainerLog, bool) {
        let lines = if asked.lines == 0 { LINES } else { asked.lines.min(MOST_LINES) };
        let params = LogParams {
            container: Some(container.to_owned()),
            tail_lines: i64::try_from(lines).ok(),
            previous: asked.previous,
            ..LogParams::default()
        };
        let mut log =
            ContainerLog { pod: pod.to_owned(), container: container.to_owned(), ..ContainerLog::default() };
        let request = match path(&core("Pod", "pods"), &asked.about.namespace).logs(pod, &params) {
            Ok(request) => request,
            Err(error) => {
                log.problem = Some(error.to_string());
                return (log, false);
            }
        };
        let exchange = async {
            // Without the server's own limit of bytes, which would keep the oldest of the last lines.
            let mut stream = std::pin::pin!(self.wire.client.request_stream(request).await?);
            let mut tail = Tail::default();
            let mut chunk = vec![0; 8 << 10];
            loop {
                let read = stream.read(&mut chunk).await;
                match read.map_err(|e| kube::Error::Service(Box::new(e)))? {
                    0 => return Ok(tail),
                    read => tail.push(&chunk[..read]),
                }
            }
        };
        match self.wire.limited(exchange).await {
            Ok(tail) => {
                log.lines = tail.lines();
                (log, tail.cut)
            }
            Err(problem) => {
                log.problem = Some(problem.error.to_string());
                (log, false)
            }
        }
    }

    /// The pods that are meant.
    async fn pods_of(&self, asked: &Logs) -> Result<Pods, Refusal> {
        let about = &asked.about;
        if about.name.is_empty() || about.namespace.is_empty() {
            return Err(Refusal("logs are of one object: name it, and its namespace".into()));
        }
        let kind = if about.kind.is_empty() { "pod" } else { &about.kind };
        let meant = self.meant(kind).await?;
        let found = self.wire.get(&meant.resource, meant.place(&about.namespace), &about.name).await;
        let found = found.map_err(|problem| Refusal::from(problem.error))?;
        let what = format!("{} {}/{}", meant.resource.kind, about.namespace, about.name);
        let found = found.ok_or_else(|| Refusal(format!("{what} is not there")))?;
        if meant.resource.kind == "Pod" {
            return Ok(Pods { items: vec![found], more: false });
        }
        let labels = found.pointer("/spec/selector").and_then(|spec| {
            // A Service, or a ReplicationController, names its labels directly.
            let plain = serde_json::json!({ "matchLabels": spec });
            selector(spec).or_else(|| selector(&plain))
        });
        let labels = labels.ok_or_else(|| Refusal(format!("{what} selects no pods")))?;
        let params = ListParams::default().labels(&labels).limit(PODS);
        let listed = self.wire.send(path(&core("Pod", "pods"), &about.namespace).list(&params)).await;
        let mut listed = listed.map_err(|problem| Refusal::from(problem.error))?.body;
        let more = !text(&listed, "/metadata/continue").is_empty();
        match listed.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) if !items.is_empty() => Ok(Pods { items, more }),
            _ => Err(Refusal(format!("{what} has no pods"))),
        }
    }
}

struct Pods {
    items: Vec<Value>,
    more: bool,
}

/// The names of a pod's containers; those that only begin it where one is asked for by name.
fn containers(pod: &Value, also_initial: bool) -> Vec<&str> {
    let of =
        |at: &str| pod.pointer(at).and_then(Value::as_array).into_iter().flatten().map(|c| text(c, "/name"));
    let initial = of("/spec/initContainers").filter(|_| also_initial);
    initial.chain(of("/spec/containers")).collect()
}

/// One log that does not fit any more does not end the rest: a problem's words are short.
fn budget_takes(budget: &mut Budget, log: &ContainerLog) -> bool {
    let was = std::mem::take(&mut budget.truncated);
    let fits = budget.takes(log);
    budget.truncated |= was;
    fits
}

/// The last bytes of a stream.
#[derive(Default)]
struct Tail {
    bytes: std::collections::VecDeque<u8>,
    cut: bool,
}

impl Tail {
    fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend(chunk);
        let above = self.bytes.len().saturating_sub(BYTES as usize);
        self.cut |= above > 0;
        self.bytes.drain(..above);
    }

    /// Whole lines; of a first one that was cut, the end.
    fn lines(&self) -> Vec<String> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let from = if self.cut { bytes.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1) } else { 0 };
        String::from_utf8_lossy(&bytes[from..]).lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_tail_has_the_newest_whole_lines() {
        let mut tail = Tail::default();
        tail.push(b"one\ntwo\n");
        assert_eq!((tail.lines(), tail.cut), (vec!["one".to_owned(), "two".to_owned()], false));
        for n in 0..10_000 {
            tail.push(format!("line {n}\n").as_bytes());
        }
        let lines = tail.lines();
        assert!(tail.cut && tail.bytes.len() as u64 <= BYTES);
        assert_eq!(lines.last().map(String::as_str), Some("line 9999"));
        assert!(lines[0].starts_with("line "), "{}", lines[0]);
    }

    #[test]
    fn initial_containers_are_asked_by_name_only() {
        let pod = json!({"spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]}});
        assert_eq!(containers(&pod, false), ["a", "b"]);
        assert_eq!(containers(&pod, true), ["i", "a", "b"]);
    }
}
