//! Content: bundles, to the spokes that are assigned them.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt as _};
use nave_placement::Digest;
use nave_proto::limits::{CHUNK, FETCH_PARTS};
use nave_proto::v1::{self, content_server};
use tonic::{Request, Response, Status};
use tracing::warn;

use super::service::Sessions;
use crate::store::bundles::Bundles;

/// The gRPC service.
pub struct ContentService {
    /// Who is assigned what.
    pub sessions: Arc<Sessions>,
    /// The bundle files.
    pub bundles: Arc<Bundles>,
}

#[tonic::async_trait]
impl content_server::Content for ContentService {
    type FetchStream = BoxStream<'static, Result<v1::Chunk, Status>>;

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let cluster = self.sessions.caller(&request)?.cluster;
        let parts = request.into_inner().parts;
        if parts.len() > FETCH_PARTS {
            return Err(Status::invalid_argument(format!("at most {FETCH_PARTS} bundles in one request")));
        }
        let assigned = self.sessions.assigned(&cluster);
        let mut wanted = Vec::new();
        let mut refused = None;
        for part in parts {
            let digest =
                nave_proto::digest(&part.digest).map_err(|e| Status::invalid_argument(e.to_string()))?;
            match assigned.contains(&digest) {
                true => wanted.push((digest, part.offset)),
                false => refused = Some(digest),
            }
        }
        // What it was assigned before and what is not here does not keep the rest from it.
        if let Some(digest) = refused.filter(|_| wanted.is_empty()) {
            return Err(Status::permission_denied(format!("bundle {digest} is not assigned to {cluster}")));
        }
        let bundles = self.bundles.clone();
        let chunks = stream::iter(wanted).flat_map(move |(digest, offset)| {
            let chunks = chunks(&bundles, digest, offset);
            if chunks.is_none() {
                warn!(%cluster, bundle = %digest, "a bundle that this cluster is assigned is not here");
            }
            stream::iter(chunks.into_iter().flatten().map(Ok))
        });
        Ok(Response::new(chunks.boxed()))
    }
}

/// The chunks of one bundle's compressed form, from an offset; `None` while it is not here.
fn chunks(
    bundles: &Bundles,
    digest: Digest,
    offset: u64,
) -> Option<impl Iterator<Item = v1::Chunk> + Send + use<>> {
    let bytes = bundles.get(digest).ok().flatten()?;
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let total = bytes.len() as u64;
    let chunk = move |from: usize| {
        let data = bytes.slice(from..(from + CHUNK).min(bytes.len()));
        v1::Chunk { digest: digest.0.to_vec(), offset: from as u64, total, data }
    };
    Some((start..usize::try_from(total).unwrap_or(start)).step_by(CHUNK).map(chunk))
}
