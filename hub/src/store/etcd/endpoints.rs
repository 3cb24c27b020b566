//! Calls to a cluster of which some members may be dead.
//!
//! In: a call, and whether it may be made twice. Out: the answer of one member, or why there is none. One member is
//! used until it fails, then the next: with all members behind one balanced channel, requests fail at random for as
//! long as any of them is dead. A call that may have reached a member is repeated only where that is allowed.

use std::error::Error;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, KvClient};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, ConnectError, Status};

use super::options::{EtcdOptions, OptionsError};
use crate::store::{Cause, StoreError};

/// A member that does not accept a connection within this is taken for dead.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A member answers in milliseconds, or, when the leader died, not before its election timeout of one second.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// For how long a call is repeated: an election with default settings, of two rounds, and a dead member before.
pub(super) const BUDGET: Duration = Duration::from_secs(8);

/// Between two attempts; the real pause is between half of it and one and a half.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection that says nothing is asked after the first, and taken for dead after the second: without it, a
/// watch on a member behind a broken network would wait for ever.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3));

/// A page of the largest records, twice over.
pub(super) const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Whether a call may be made again when it is not known what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Always,
    IfNotSent,
}

/// An answer, and whether an earlier attempt of the same call may have been carried out.
pub(super) struct Called<T> {
    pub answer: T,
    pub in_doubt: bool,
}

/// The members of the cluster; each has a connection of its own.
pub(super) struct Endpoints {
    members: Vec<(String, Client)>,
    options: ConnectOptions,
    /// The member in use, modulo their number.
    current: AtomicUsize,
}

/// Why an attempt failed.
enum Failure {
    /// The connection was not made: nothing happened.
    NotSent(Cause),
    /// Nothing is known.
    Unknown(Cause),
    /// etcd answered that it will not, and would answer the same again.
    Refused(Cause),
}

impl Endpoints {
    /// Makes no connection yet.
    pub async fn new(options: &EtcdOptions) -> Result<Self, OptionsError> {
        let mut connect = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(KEEPALIVE.0, KEEPALIVE.1)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        if let Some(tls) = options.tls()? {
            connect = connect.with_tls(tls);
        }
        let mut members = Vec::new();
        for endpoint in options.endpoints() {
            let client =
                Client::connect([&endpoint], Some(connect.clone())).await.map_err(OptionsError::Client)?;
            members.push((endpoint, client));
        }
        Ok(Self { members, options: connect, current: AtomicUsize::new(0) })
    }

    /// Makes a call, on one member after another until one answers or the time is up.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Failed`].
    pub async fn call<T, F>(
        &self,
        repeat: Repeat,
        call: impl Fn(KvClient) -> F,
    ) -> Result<Called<T>, StoreError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        self.attempt(repeat, |(_, client)| {
            call(client.kv_client().max_decoding_message_size(MAX_ANSWER_BYTES))
        })
        .await
    }

    /// Makes a call that needs a connection of its own, so that what is not read from it holds up nobody else.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_apart<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let connect = |(endpoint, _): &(String, Client)| {
            let connecting = Client::connect([endpoint.clone()], Some(self.options.clone()));
            let call = &call;
            Box::pin(async move { call(connecting.await?).await })
        };
        Ok(self.attempt(Repeat::Always, connect).await?.answer)
    }

    async fn attempt<'a, T, F>(
        &'a self,
        repeat: Repeat,
        call: impl Fn(&'a (String, Client)) -> F,
    ) -> Result<Called<T>, StoreError>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + BUDGET;
        let mut in_doubt = false;
        loop {
            let current = self.current.load(Ordering::Relaxed);
            let member = &self.members[current % self.members.len()];
            let failure = match timeout(REQUEST_TIMEOUT, call(member)).await {
                Ok(Ok(answer)) => return Ok(Called { answer, in_doubt }),
                Ok(Err(error)) => classify(error),
                Err(elapsed) => Failure::Unknown(elapsed.into()),
            };
            let (sent, cause) = match failure {
                Failure::Refused(cause) => return Err(StoreError::Failed(cause)),
                Failure::NotSent(cause) => (false, cause),
                Failure::Unknown(cause) => (true, cause),
            };
            in_doubt |= sent;
            tracing::debug!(endpoint = member.0, sent, error = &*cause as &dyn Error, "etcd did not answer");
            // Whoever comes first moves on; the others that failed on the same member follow.
            let next = current.wrapping_add(1);
            let _ = self.current.compare_exchange(current, next, Ordering::Relaxed, Ordering::Relaxed);
            if (sent && repeat == Repeat::IfNotSent) || Instant::now() >= deadline {
                return Err(StoreError::Unavailable(cause));
            }
            sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
        }
    }
}

fn classify(error: etcd_client::Error) -> Failure {
    let etcd_client::Error::GRpcStatus(status) = &error else {
        return Failure::Unknown(error.into());
    };
    if was_not_sent(status) {
        return Failure::NotSent(error.into());
    }
    match status.code() {
        // A full database is refused with the same code as too many requests.
        Code::ResourceExhausted if status.message().contains("too many requests") => {
            Failure::NotSent(error.into())
        }
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss => Failure::Refused(error.into()),
        Code::Ok
        | Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Aborted
        | Code::Internal
        | Code::Unknown => Failure::Unknown(error.into()),
    }
}

/// Whether the request never left, because there is no connection.
fn was_not_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Whether etcd no longer has the revision that was asked for.
pub(super) fn is_compacted(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
    let error = cause.downcast_ref::<etcd_client::Error>();
    matches!(error, Some(etcd_client::Error::GRpcStatus(status)) if status.code() == Code::OutOfRange)
}
