//! Changes, as etcd streams them.
//!
//! In: a prefix and a version. Out: a [`Watch`]. Each has its own connection: a consumer that does not read fills
//! the windows of its own connection only, and etcd then waits for it. A stream that breaks is not taken up again
//! here; the consumer lists and watches again.

use std::collections::VecDeque;

use etcd_client::{Client, EventType, KeyValue, WatchOptions, WatchResponse, WatchStream};
use futures::{StreamExt, stream};

use super::endpoints::Endpoints;
use super::revision_to_version;
use crate::store::{Change, Key, StoreError, Version, Watch, WatchEnd};

/// etcd sends changes in pieces of about 2 MiB when asked to, and no single one has more than 1 MiB.
const MAX_PIECE_BYTES: usize = 16 << 20;

struct Changes {
    stream: WatchStream,
    /// Dropping it closes the connection.
    _client: Client,
    prefix: String,
    after: Version,
    waiting: VecDeque<Result<Change, WatchEnd>>,
}

pub(super) async fn start(
    endpoints: &Endpoints,
    store_prefix: &str,
    prefix: &str,
    after: Version,
) -> Result<Watch, StoreError> {
    // From `after` itself, whose changes are then dropped: etcd takes a watch from the very revision to which it
    // compacted, but may have lost the deletions of that revision (its issues 18089 and 19179). 0 would mean now.
    let start = i64::try_from(after.0).unwrap_or(i64::MAX).max(1);
    let options = WatchOptions::new().with_prefix().with_start_revision(start).with_fragment();
    let key = [store_prefix, prefix].concat();
    let begin = |client: Client| {
        let (key, options) = (key.clone(), options.clone());
        // Boxed: connecting and watching together are 17 KB of state.
        Box::pin(async move {
            let mut watch = client.watch_client().max_decoding_message_size(MAX_PIECE_BYTES);
            let mut stream = watch.watch(key, Some(options)).await?;
            // The first message only says that the watch is there.
            let first = stream.message().await?;
            Ok((client, stream, first))
        })
    };
    let (client, stream, first) = endpoints.call_apart(begin).await?;
    let (prefix, waiting) = (store_prefix.to_owned(), VecDeque::new());
    let mut changes = Changes { stream, _client: client, prefix, after, waiting };
    changes.take(first);
    Ok(Watch(stream::unfold(Some(changes), Changes::step).boxed()))
}

impl Changes {
    async fn step(changes: Option<Self>) -> Option<(Result<Change, WatchEnd>, Option<Self>)> {
        let mut changes = changes?;
        loop {
            match changes.waiting.pop_front() {
                Some(Ok(change)) => return Some((Ok(change), Some(changes))),
                Some(Err(end)) => return Some((Err(end), None)),
                None => {
                    let message = changes.stream.message().await.unwrap_or_else(|error| {
                        tracing::debug!(error = &error as &dyn std::error::Error, "a watch of etcd broke");
                        None
                    });
                    changes.take(message);
                }
            }
        }
    }

    fn take(&mut self, message: Option<WatchResponse>) {
        let Some(message) = message else {
            return self.waiting.push_back(Err(WatchEnd::Interrupted));
        };
        for event in message.events() {
            let Some(key_value) = event.kv() else { continue };
            let version = revision_to_version(key_value.mod_revision());
            if version <= self.after {
                continue;
            }
            let value = (event.event_type() == EventType::Put).then(|| key_value.value().to_vec().into());
            let change = strip(key_value, &self.prefix).map(|key| Change { key, version, value });
            // Not a key of ours, below our prefix: who lists finds it and says so.
            self.waiting.push_back(change.ok_or(WatchEnd::Interrupted));
        }
        // After this message etcd says nothing more, and does not end the stream.
        if message.canceled() {
            let compacted = message.compact_revision() > 0;
            self.waiting.push_back(Err(if compacted { WatchEnd::Compacted } else { WatchEnd::Interrupted }));
        }
    }
}

/// Our name for an etcd key, if it is one of ours.
pub(super) fn strip(key_value: &KeyValue, prefix: &str) -> Option<Key> {
    key_value.key_str().ok()?.strip_prefix(prefix).map(str::to_owned)
}
