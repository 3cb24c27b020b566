//! Content: bundles, to the spokes that are assigned them.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt as _};
use nave_placement::Digest;
use nave_proto::limits::{CHUNK, FETCH_PARTS};
use nave_proto::v1::{self, content_server};
use tonic::{Request, Response, Status};

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
        let mut wanted = Vec::new();
        for part in parts {
            let digest =
                nave_proto::digest(&part.digest).map_err(|e| Status::invalid_argument(e.to_string()))?;
            if !self.sessions.is_assigned(&cluster, &digest) {
                return Err(Status::permission_denied(format!(
                    "bundle {digest} is not assigned to {cluster}"
                )));
            }
            wanted.push((digest, part.offset));
        }
        let bundles = self.bundles.clone();
        let chunks = stream::iter(wanted).flat_map(move |(digest, offset)| chunks(&bundles, digest, offset));
        Ok(Response::new(chunks.boxed()))
    }
}

/// The chunks of one bundle's compressed form, from an offset.
fn chunks(bundles: &Bundles, digest: Digest, offset: u64) -> BoxStream<'static, Result<v1::Chunk, Status>> {
    let Ok(Some(bytes)) = bundles.get(digest) else {
        let missing = Status::unavailable(format!("bundle {digest} is not here yet"));
        return stream::iter([Err(missing)]).boxed();
    };
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let total = bytes.len() as u64;
    let offsets = (start..bytes.len()).step_by(CHUNK);
    let chunk = move |from: usize| {
        let data = bytes.slice(from..(from + CHUNK).min(bytes.len()));
        Ok(v1::Chunk { digest: digest.0.to_vec(), offset: from as u64, total, data })
    };
    stream::iter(offsets.map(chunk).collect::<Vec<_>>()).boxed()
}
