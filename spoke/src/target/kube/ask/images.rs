//! Images: what the containers of a cluster run.
//!
//! In: the cluster's pods, page by page. Out: [`super::super::super::ask::answers::ImagesAnswer`].
//! Never: more than a page in memory beside the answer.

use kube::api::ListParams;
use serde_json::Value;

use super::super::shared::{Shared, text};
use super::super::wire::path;
use crate::target::ask::images::Running;
use crate::target::ask::{Answer, Refusal};

/// Pods a page: some 10 KiB each.
const PAGE: u32 = 100;

impl Shared {
    pub(super) async fn images(&self) -> Result<Answer, Refusal> {
        let meant = self.meant("pods").await?;
        let mut running = Running::default();
        let mut params = ListParams { limit: Some(PAGE), ..ListParams::default() };
        loop {
            let request = path(&meant.resource, meant.place("")).list(&params);
            let answer = self.wire.send(request).await;
            let page = answer.map_err(|problem| Refusal::from(problem.error))?.body;
            let pods = page.get("items").and_then(Value::as_array);
            pods.into_iter().flatten().for_each(|pod| running.take(pod));
            let more = text(&page, "/metadata/continue");
            if more.is_empty() {
                return running.answer();
            }
            params.continue_token = Some(more.to_owned());
        }
    }
}
