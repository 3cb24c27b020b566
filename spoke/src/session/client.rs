//! The session's client: one stream to the hub after another, for as long as the spoke lives.
//!
//! In: what the hub sends, the latest report and facts. Out: what [`Core`] says, sent or stored.
//! Never: decides what to send or accept (the core does), tries again without a jittered wait, stops because the hub is
//! away or says no: what runs on the cluster does not depend on it.

use std::sync::Arc;
use std::time::Duration;

use nave_placement::fleet::{Facts, Resources};
use nave_placement::report::Report;
use nave_proto::backoff::{Backoff, jittered};
use nave_proto::limits::{CONNECT_TIMEOUT, MESSAGE, REQUEST_TIMEOUT};
use nave_proto::tls::Clock;
use nave_proto::v1::session_client::SessionClient;
use nave_proto::{tls, v1};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::core::{Action, Core, Held};
use crate::identity::{Membership, RenewError};
use crate::link;
use crate::questions::Order;
use crate::questions::asking::Asking;
use crate::state::State;

/// Messages on their way to the hub. Every message is the latest state, so a queue is no use; this is room for a hello,
/// facts, a report and a few answers, without waiting for the hub to read.
const OUTBOX: usize = 16;
/// Between two attempts while the hub is away.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Between two attempts while the hub refuses who we are: only an operator changes that.
const REFUSED_MIN: Duration = Duration::from_secs(30);
const REFUSED_MAX: Duration = Duration::from_secs(600);
/// A session that lasted so long shows that the hub is well: the next failure is the first again.
const LASTED: Duration = Duration::from_secs(10);

/// How the spoke stands to its hub, for `spoke status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The address, while connected.
    pub connected: Option<String>,
    /// What went wrong last; empty while connected.
    pub problem: String,
    /// The hub refuses who we are.
    pub refused: bool,
    /// This spoke is detached, and the hub wants nothing more of it.
    pub dismissed: bool,
}

/// What the client learns for the rest of the spoke.
#[derive(Clone)]
pub struct Told {
    /// The accepted assignment, once it is stored.
    pub held: watch::Sender<Held>,
    /// The order to detach, once it is stored.
    pub detached: watch::Sender<bool>,
    /// A channel to the hub, while a session is open.
    pub channel: watch::Sender<Option<Channel>>,
    /// How the spoke stands to its hub.
    pub connection: watch::Sender<Connection>,
}

/// Drives the core.
pub struct Client {
    /// The state machine.
    pub core: Core,
    /// Who we are.
    pub membership: Arc<Membership>,
    /// Where things are stored.
    pub state: Arc<State>,
    /// By which windows open.
    pub clock: Clock,
    /// The latest report; none before the first round of this boot.
    pub reports: watch::Receiver<Option<Report>>,
    /// The latest facts.
    pub facts: watch::Receiver<Facts>,
    /// The latest of what the cluster has left.
    pub free: watch::Receiver<Option<Resources>>,
    /// Where questions are answered.
    pub questions: mpsc::Sender<Order>,
    /// What the rest is told.
    pub told: Told,
}

/// Why a session ended.
enum End {
    /// It did not work, or broke.
    Failed(String),
    /// The hub, or the core, wanted it.
    Closed { retry_after_ms: u64, reason: String },
    /// The hub refuses who we are.
    Refused(String),
}

/// What [`Client::execute`] needs of an open stream.
struct Stream {
    outbox: mpsc::Sender<v1::FromSpoke>,
    asking: Asking,
}

impl Client {
    /// One session after another, until cancelled; or until a detached spoke has nothing left to say.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let mut refused = Backoff::new(REFUSED_MIN, REFUSED_MAX);
        let mut turn = 0;
        loop {
            let began = Instant::now();
            let end = tokio::select! {
                () = cancel.cancelled() => return,
                end = self.session(turn) => end,
            };
            let welcomed = self.told.connection.borrow().connected.is_some();
            self.core.disconnected();
            self.told.channel.send_replace(None);
            if welcomed && began.elapsed() >= LASTED {
                backoff.reset();
            }
            if !welcomed {
                turn += 1;
            }
            let (problem, wait, was_refused) = match end {
                End::Failed(problem) => (problem, backoff.after_failure(fastrand::f64()), false),
                End::Closed { retry_after_ms: 0, reason } => {
                    turn += 1;
                    (reason, backoff.after_failure(fastrand::f64()), false)
                }
                End::Closed { retry_after_ms, reason } => {
                    let asked = Duration::from_millis(retry_after_ms).clamp(RETRY_MIN, REFUSED_MAX);
                    (reason, jittered(asked, fastrand::f64()), false)
                }
                End::Refused(problem) => (problem, refused.after_failure(fastrand::f64()), true),
            };
            if !was_refused {
                refused.reset();
            }
            // The hub forgets a spoke once it has heard that it is detached, and refuses it from then on. Nothing else proves
            // that it has heard: it may have ended before it wrote that down.
            let dismissed = self.core.is_detached() && was_refused;
            tracing::warn!(
                problem,
                refused = was_refused,
                retry_in_ms = wait.as_millis() as u64,
                "no session"
            );
            self.told.connection.send_replace(Connection {
                connected: None,
                problem,
                refused: was_refused,
                dismissed,
            });
            if dismissed {
                return;
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// One session, from connecting to its end.
    async fn session(&mut self, turn: usize) -> End {
        if self.membership.has_expired()
            && let Err(error) = self.membership.renew().await
        {
            return ended_by(&error);
        }
        match self.try_session(turn).await {
            // A clock of ours that is wrong, or a renewal that was missed: a new certificate may be all that is needed.
            End::Refused(problem) => match self.membership.renew().await {
                Ok(()) => End::Failed(problem),
                Err(RenewError::Refused(why)) => End::Refused(why),
                Err(RenewError::Failed(_)) => End::Failed(problem),
            },
            end => end,
        }
    }

    async fn try_session(&mut self, turn: usize) -> End {
        let identity = self.membership.identity();
        let addresses = &identity.hub_addresses;
        let Some(address) = addresses.get(turn % addresses.len().max(1)) else {
            return End::Failed("no address of the hub is known".to_owned());
        };
        let clock = self.membership.clock().for_tls();
        let tls = match tls::client(&identity.ca.0, Some(&identity.credentials()), clock) {
            Ok(tls) => tls,
            Err(error) => return End::Failed(format!("cannot set up TLS: {error}")),
        };
        let channel = match link::open(self.membership.connector(), tls, address).await {
            Ok(channel) => channel,
            Err(error) => return End::Failed(format!("{address}: {}", link::chain(&error))),
        };
        match self.converse(&channel, address).await {
            Ok(end) => end,
            Err(status) if link::is_refusal(&status) => {
                let words =
                    if status.message().is_empty() { link::chain(&status) } else { status.message().into() };
                End::Refused(format!("{address}: the hub refuses this cluster's certificate: {words}"))
            }
            Err(status) => End::Failed(format!("{address}: {}", link::chain(&status))),
        }
    }

    /// The stream itself.
    async fn converse(&mut self, channel: &Channel, address: &str) -> Result<End, tonic::Status> {
        let late = |what: &str| tonic::Status::deadline_exceeded(format!("no {what} in time"));
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let mut stream = Stream { outbox, asking: Asking::new(self.questions.clone()) };
        // Marked as seen before they are read, so that a change meanwhile is not missed. The hello says the digest.
        self.observed();
        let facts = self.facts.borrow_and_update().clone();
        self.core.facts(facts);
        let free = self.free.borrow_and_update().clone();
        self.core.free(free);
        // Before the stream is opened: the hub may answer only after it has read the hello.
        for action in self.core.connected() {
            if let Some(end) = self.execute(action, &mut stream).await? {
                return Ok(end);
            }
        }
        let mut client = SessionClient::new(channel.clone()).max_decoding_message_size(MESSAGE);
        let opened = timeout(CONNECT_TIMEOUT, client.open(ReceiverStream::new(messages))).await;
        let mut from_hub = opened.map_err(|_| late("answer"))??.into_inner();
        let mut welcomed = false;
        let by = Instant::now() + CONNECT_TIMEOUT;
        loop {
            // What the hub says and what it is to hear of the cluster come before answers.
            let actions = tokio::select! {
                biased;
                received = from_hub.message() => match received? {
                    Some(message) => self.core.on_message(message),
                    None => return Ok(End::Failed("the hub ended the stream".to_owned())),
                },
                () = sleep_until(by), if !welcomed => return Err(late("welcome")),
                Ok(()) = self.reports.changed() => self.observed(),
                Ok(()) = self.facts.changed() => {
                    let facts = self.facts.borrow_and_update().clone();
                    self.core.facts(facts)
                }
                Ok(()) = self.free.changed() => {
                    let free = self.free.borrow_and_update().clone();
                    self.core.free(free)
                }
                () = stream.asking.deliver(&stream.outbox) => Vec::new(),
            };
            for action in actions {
                if matches!(action, Action::Remember { .. }) && !welcomed {
                    welcomed = true;
                    tracing::info!(address, "connected to the hub");
                    self.told.channel.send_replace(Some(channel.clone()));
                    let connected = Some(address.to_owned());
                    self.told.connection.send_replace(Connection { connected, ..Connection::default() });
                }
                if let Some(end) = self.execute(action, &mut stream).await? {
                    return Ok(end);
                }
            }
        }
    }

    /// Tells the core the latest report.
    fn observed(&mut self) -> Vec<Action> {
        let report = self.reports.borrow_and_update().clone();
        report.map(|report| self.core.observed(report)).unwrap_or_default()
    }

    /// Carries one action out, and what follows from it.
    async fn execute(&mut self, action: Action, stream: &mut Stream) -> Result<Option<End>, tonic::Status> {
        let mut actions = vec![action];
        while let Some(action) = actions.pop() {
            match action {
                Action::Send(message) => {
                    // A hub that does not read for so long is as good as away.
                    let sent = timeout(REQUEST_TIMEOUT, stream.outbox.send(message)).await;
                    sent.map_err(|_| tonic::Status::deadline_exceeded("the hub does not read"))?
                        .map_err(|_| tonic::Status::cancelled("the stream was cut"))?;
                }
                Action::Persist(held, bundles) => {
                    let closed = nave_proto::closed(&held.assignment.schedule, (self.clock)());
                    let may_start = closed.is_none() && held.assignment.relations.is_empty();
                    if let Err(error) = self.state.store_held(&held, &bundles, may_start).await {
                        return Ok(Some(not_stored(&error)));
                    }
                    let order = held.assignment.order();
                    tracing::info!(epoch = order.0.0, generation = order.1.0, "accepted an assignment");
                    self.told.held.send_replace(held.clone());
                    actions.extend(self.core.persisted(held));
                }
                Action::PersistDetach => {
                    if let Err(error) = self.state.detach().await {
                        return Ok(Some(not_stored(&error)));
                    }
                    tracing::warn!(
                        "detached by the hub: everything stays as it is, nothing is enforced any more"
                    );
                    self.told.detached.send_replace(true);
                    actions.extend(self.core.detached());
                }
                Action::Answer(question) => {
                    actions.extend(stream.asking.ask(question).map(Action::Send));
                }
                Action::Cancel(question) => stream.asking.cancel(question),
                Action::Remember { time_ms, addresses } => {
                    if let Err(error) = self.membership.remember(time_ms, addresses).await {
                        // The session works without; the next welcome says it again.
                        tracing::warn!(
                            error = link::chain(&error),
                            "the hub's time and addresses are not stored"
                        );
                    }
                }
                Action::Close { retry_after_ms, reason } => {
                    return Ok(Some(End::Closed { retry_after_ms, reason }));
                }
            }
        }
        Ok(None)
    }
}

fn not_stored(error: &crate::state::StateError) -> End {
    let error = link::chain(error);
    tracing::error!(error, "what the hub ordered is not stored, so it is not accepted");
    End::Failed(error)
}

fn ended_by(error: &RenewError) -> End {
    match error {
        RenewError::Refused(_) => End::Refused(error.to_string()),
        RenewError::Failed(_) => End::Failed(error.to_string()),
    }
}
