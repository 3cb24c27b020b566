//! Content: fetches the bundles that the accepted assignment names and that are not here.
//!
//! In: the accepted assignment, a channel to the hub. Out: bundles in the state directory, and a count that goes up with each.
//! Never: takes bytes that are not what their digest says, asks for what is not assigned, begins again what was half here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nave_placement::Digest;
use nave_placement::render::MAX_BUNDLE_BYTES;
use nave_proto::backoff::Backoff;
use nave_proto::limits::{FETCH_PARTS, MESSAGE, REQUEST_TIMEOUT};
use nave_proto::v1::content_client::ContentClient;
use nave_proto::v1::{self, fetch_request::Part};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::link;
use crate::session::core::Held;
use crate::state::{State, StateError, blocking, entries, unpack};

/// Between two attempts.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Most compressed bytes of one bundle: zstd adds less than 1 % to what it cannot compress.
const MAX_PACKED: usize = MAX_BUNDLE_BYTES + (MAX_BUNDLE_BYTES >> 6);

/// Fetches.
pub struct Content {
    /// Where bundles go.
    pub state: Arc<State>,
    /// What is assigned.
    pub held: watch::Receiver<Held>,
    /// How the hub is reached, while it is.
    pub channel: watch::Receiver<Option<Channel>>,
    /// A stored bundle turned out to be damaged, or missing, when it was read.
    pub missed: watch::Receiver<u64>,
    /// Counts up with each bundle that has come.
    pub arrived: watch::Sender<u64>,
}

/// Why bundles have not come.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Status(#[from] tonic::Status),
    #[error("no chunk within {REQUEST_TIMEOUT:?}")]
    Late,
    #[error("the hub sends {0}")]
    Wrong(&'static str),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the hub does not have {}{}", .0.short(), others(*.1))]
    Lacking(Digest, usize),
}

/// What has come of bundles that are not whole yet, compressed.
type Partial = BTreeMap<Digest, Vec<u8>>;

impl Content {
    /// Fetches whatever is missing, until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let mut partial = Partial::new();
        loop {
            // Marked as seen before they are read, so that a change meanwhile is not missed.
            let held = self.held.borrow_and_update().clone();
            self.missed.borrow_and_update();
            let channel = self.channel.borrow_and_update().clone();
            let missing = self.missing(&held);
            partial.retain(|digest, _| missing.contains(digest));
            let mut wait = None;
            if let Some(channel) = channel.filter(|_| !missing.is_empty()) {
                let fetched = tokio::select! {
                    () = cancel.cancelled() => return,
                    fetched = self.fetch(channel, &missing, &mut partial) => fetched,
                };
                match fetched {
                    Ok(()) => backoff.reset(),
                    Err(error) => {
                        let after = backoff.after_failure(fastrand::f64());
                        let error = link::chain(&error);
                        tracing::warn!(
                            error,
                            missing = missing.len(),
                            retry_in_ms = after.as_millis() as u64,
                            "bundles are missing"
                        );
                        wait = Some(after);
                    }
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = until(wait) => {}
                Ok(()) = self.held.changed() => {}
                // While an attempt is waited for, a new channel does not shorten the wait: the hub may be what fails.
                Ok(()) = self.channel.changed(), if wait.is_none() => {}
                Ok(()) = self.missed.changed(), if wait.is_none() => {}
            }
        }
    }

    fn missing(&self, held: &Held) -> BTreeSet<Digest> {
        let mut all: Vec<_> = entries(&held.assignment).into_values().flatten().collect();
        // What runs while changes wait, too: it may have been lost.
        let enforced = self.state.enforced(&held.assignment);
        if !enforced.waiting.is_empty() {
            all.extend(entries(&enforced.assignment).into_values().flatten());
        }
        let bundles = all.into_iter().map(|entry| entry.bundle);
        bundles.filter(|digest| !self.state.has_bundle(digest)).collect()
    }

    /// Asks for everything that is missing, in as few requests as the protocol and the hub allow.
    async fn fetch(
        &self,
        channel: Channel,
        missing: &BTreeSet<Digest>,
        partial: &mut Partial,
    ) -> Result<(), FetchError> {
        let mut client = ContentClient::new(channel).max_decoding_message_size(MESSAGE);
        let mut lacking: BTreeSet<Digest> = missing.clone();
        let mut ahead: Vec<Digest> = missing.iter().copied().collect();
        let mut broken = None;
        while !ahead.is_empty() {
            let asked: Vec<Digest> = ahead.iter().take(FETCH_PARTS).copied().collect();
            let offset = |digest: &Digest| partial.get(digest).map_or(0, Vec::len) as u64;
            let part = |digest: &Digest| Part { digest: digest.0.to_vec(), offset: offset(digest) };
            let request = v1::FetchRequest { parts: asked.iter().map(part).collect() };
            let answer = timeout(REQUEST_TIMEOUT, client.fetch(request)).await;
            let chunks = answer.map_err(|_| FetchError::Late)??.into_inner();
            match self.receive(chunks, &mut lacking, partial).await {
                Ok(()) => drop(ahead.drain(..asked.len())),
                // Answers come in the order of the request: it broke at the first that is not whole. What is wrong with that
                // one keeps it from none behind it; a hub that is away is noticed by the next request.
                Err(error @ (FetchError::Status(_) | FetchError::Wrong(_))) => {
                    let whole = asked.iter().take_while(|digest| !lacking.contains(digest)).count();
                    ahead.drain(..(whole + 1).min(asked.len()));
                    broken = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match (lacking.first(), broken) {
            (None, _) => Ok(()),
            (Some(_), Some(error)) => Err(error),
            (Some(first), None) => Err(FetchError::Lacking(*first, lacking.len() - 1)),
        }
    }

    /// Takes the chunks of one answer.
    async fn receive(
        &self,
        mut chunks: Streaming<v1::Chunk>,
        lacking: &mut BTreeSet<Digest>,
        partial: &mut Partial,
    ) -> Result<(), FetchError> {
        while let Some(chunk) =
            timeout(REQUEST_TIMEOUT, chunks.message()).await.map_err(|_| FetchError::Late)??
        {
            if let Some(whole) = take(&chunk, lacking, partial)? {
                self.store(whole, partial.remove(&whole).unwrap_or_default()).await?;
                lacking.remove(&whole);
            }
        }
        Ok(())
    }

    /// Checks and stores a whole bundle. One that is not what it should be is forgotten, and fetched from its beginning.
    async fn store(&self, digest: Digest, zstd: Vec<u8>) -> Result<(), FetchError> {
        let unpacked = blocking(move || Ok(unpack(&digest, &zstd).map(|_| zstd)));
        match unpacked.await? {
            Ok(zstd) => self.state.store_bundle(&digest, &zstd).await?,
            Err(error) => {
                tracing::warn!(%error, "a fetched bundle is not used");
                return Err(FetchError::Wrong("a damaged bundle"));
            }
        }
        self.arrived.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// Adds a chunk; says which bundle is whole with it.
fn take(
    chunk: &v1::Chunk,
    wanted: &BTreeSet<Digest>,
    partial: &mut Partial,
) -> Result<Option<Digest>, FetchError> {
    let digest = nave_proto::digest(&chunk.digest).map_err(|_| FetchError::Wrong("a malformed chunk"))?;
    if !wanted.contains(&digest) {
        return Err(FetchError::Wrong("a bundle that was not asked for"));
    }
    let total = usize::try_from(chunk.total).ok().filter(|total| *total <= MAX_PACKED);
    let total = total.ok_or(FetchError::Wrong("a bundle that is too large"))?;
    let have = partial.entry(digest).or_default();
    if chunk.offset != have.len() as u64 || have.len() + chunk.data.len() > total {
        have.clear();
        return Err(FetchError::Wrong("chunks that do not follow each other"));
    }
    have.extend_from_slice(&chunk.data);
    Ok((have.len() == total).then_some(digest))
}

fn others(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more of the bundles") }
}

async fn until(wait: Option<Duration>) {
    match wait {
        Some(wait) => sleep(wait).await,
        None => std::future::pending().await,
    }
}
