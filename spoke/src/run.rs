//! Run: puts the rooms together and starts every task. The only place of the spoke that spawns.
//!
//! In: a place for its state, a target, a clock, a connector, perhaps a join token. Out: a running spoke, until cancelled.
//! Never: decides anything; leaves a task behind.
//!
//! | task | in | out | its end |
//! |---|---|---|---|
//! | `enforce` | accepted assignment, bundles, changes of the target | objects, reports | when detached |
//! | `session` | messages of the hub, reports, facts | accepted assignments | when detached and dismissed |
//! | `questions` | questions of the hub | answers, a few at once | with the process |
//! | `content` | accepted assignment, channel | bundles | with the process |
//! | `renewal` | the time | certificates | with the process |
//! | `facts` | the target | facts | with the process |
//! | `free` | the target | what it has left, rounded | with the process |
//! | `status` | all of these | what `spoke status` shows | last of all |
//!
//! A task that panics ends the process: a supervisor starts it again, and what was accepted is stored. The order of
//! shutdown: all tasks are told at once, each may be dropped at any await, and after five seconds it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nave_placement::fleet::Facts;
use nave_proto::backoff::Backoff;
use nave_proto::limits::REQUEST_TIMEOUT;
use nave_proto::tls::Clock;
use nave_proto::token::ParseTokenError;
use nave_proto::v1::JoinToken;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::content::Content;
use crate::enforce::Enforcer;
use crate::facts;
use crate::free;
use crate::gate::Gate;
use crate::identity::{EnrolError, Enrolling, Identity, Membership, enrol};
use crate::link::{Connector, HubClock};
use crate::proxy::Outward;
use crate::questions::{Room, room};
use crate::secrets::Secrets;
use crate::session::client::{Client, Connection, Told};
use crate::session::core::{Core, Held};
use crate::state::{Keep, State, StateError};
use crate::status::Writer;
use crate::target::Target;

/// Tasks have so long to end.
const SHUTDOWN: Duration = Duration::from_secs(4);
/// Between two questions for the cluster's UID, before the spoke has joined.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How often it is looked whether the state still is this spoke's.
const STILL_HELD: Duration = Duration::from_secs(60);

/// Where a spoke keeps what it must not lose.
#[derive(Clone)]
pub enum Storage {
    /// A directory of its own.
    Directory(PathBuf),
    /// Another place, already its own.
    Kept(Arc<dyn Keep>),
}

/// What a spoke is made of.
pub struct RunOptions {
    /// Where it keeps what it must not lose.
    pub storage: Storage,
    /// A local policy, which even the hub cannot override.
    pub policy: Option<PathBuf>,
    /// A join token; needed once.
    pub join: Option<String>,
    /// A file of age identities, where the spoke shall not make its own.
    pub age_key_file: Option<PathBuf>,
    /// Where objects live.
    pub target: Arc<dyn Target>,
    /// Unix milliseconds.
    pub clock: Clock,
    /// How the hub is reached.
    pub connector: Connector,
    /// What the hub is told as the spoke's version.
    pub software: String,
}

impl RunOptions {
    /// A spoke with this machine's clock, over TCP, through a proxy where the environment names one.
    pub fn new(state_dir: PathBuf, target: Arc<dyn Target>) -> Self {
        let software = env!("CARGO_PKG_VERSION").to_owned();
        let (storage, connector) = (Storage::Directory(state_dir), Arc::new(Outward::from_environment()));
        let (clock, age_key_file) = (system_clock(), None);
        Self { storage, policy: None, join: None, age_key_file, target, clock, connector, software }
    }
}

/// This machine's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Why a spoke ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was cancelled.
    Stopped,
    /// It was cancelled, and had been detached before.
    Detached,
}

/// Why a spoke cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The token is no token.
    #[error(transparent)]
    Token(#[from] ParseTokenError),
    /// There is neither an identity nor a token.
    #[error(
        "this cluster has not joined a fleet: run once with --join TOKEN (`hub cluster join NAME` makes one)"
    )]
    NotJoined,
    /// The token is for another fleet than the state directory is of.
    #[error(
        "this state directory belongs to fleet {has}, the token to fleet {wants}; use another --state-dir, or run without --join"
    )]
    OtherFleet {
        /// The fleet of the state directory.
        has: String,
        /// The fleet of the token.
        wants: String,
    },
    /// Joining did not work.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// A part of the spoke failed in a way that it must not.
    #[error("a part of the spoke broke; the state is whole, start it again")]
    Broken(#[source] tokio::task::JoinError),
}

/// Runs a spoke until cancelled. A detached spoke stays, idle: ended, a supervisor would only start it again.
///
/// # Errors
/// When it cannot start, or breaks.
pub async fn run(options: RunOptions, cancel: CancellationToken) -> Result<Exit, RunError> {
    tokio::select! {
        biased;
        begun = begin(&options) => keep(options, begun?, cancel).await,
        () = cancel.cancelled() => Ok(Exit::Stopped),
    }
}

/// What is known once the spoke has joined.
struct Begun {
    state: Arc<State>,
    secrets: Arc<Secrets>,
    membership: Arc<Membership>,
    core: Core,
    held: Held,
    detached: bool,
}

async fn begin(options: &RunOptions) -> Result<Begun, RunError> {
    let state = Arc::new(match &options.storage {
        Storage::Directory(dir) => State::open(dir).await?,
        Storage::Kept(keep) => State::within(keep.clone()).await?,
    });
    let clock = HubClock::new(options.clock.clone(), state.hub_time().await?);
    let identity = join(options, &state, &clock).await?;
    let uid = match timeout(REQUEST_TIMEOUT, options.target.uid()).await {
        Ok(Ok(uid)) => uid,
        // A cluster that does not answer now is not another one; the hub shall hear of its spoke all the same.
        Ok(Err(_)) | Err(_) => identity.cluster_uid.clone(),
    };
    let boot = state.next_boot((options.clock)()).await?;
    let (held, detached) = (state.held().await?, state.is_detached().await?);
    options.target.key_digests(&*state.digest_key().await?);
    let secrets = Arc::new(Secrets::new(state.clone(), options.age_key_file.clone()));
    secrets.refresh(&*options.target).await;
    let order = held.assignment.order();
    tracing::info!(
        cluster = identity.cluster,
        fleet = identity.fleet,
        target = options.target.describe(),
        boot,
        epoch = order.0.0,
        generation = order.1.0,
        "the spoke starts"
    );
    if detached {
        tracing::warn!("this spoke is detached: nothing is enforced, everything stays as it is");
    }
    let core = Core::new(boot, uid, options.software.clone(), held.clone(), detached);
    let membership = Membership::new(state.clone(), options.connector.clone(), clock, identity);
    Ok(Begun { state, secrets, membership: Arc::new(membership), core, held, detached })
}

/// The stored identity, or a new one by the token. A token that was used already is no reason to join again, so that the
/// same command line starts the spoke every time.
async fn join(options: &RunOptions, state: &Arc<State>, clock: &HubClock) -> Result<Identity, RunError> {
    let token = options.join.as_deref().map(JoinToken::from_text).transpose()?;
    let token = match (state.identity().await?, token) {
        (Some(identity), None) => return Ok(identity),
        (Some(identity), Some(token)) if identity.token == token.id => return Ok(identity),
        (Some(identity), Some(token)) if identity.fleet != token.fleet => {
            return Err(RunError::OtherFleet { has: identity.fleet, wants: token.fleet });
        }
        (_, Some(token)) => token,
        (None, None) => return Err(RunError::NotJoined),
    };
    let cluster_uid = cluster_uid(&*options.target).await;
    let enrolling = Enrolling {
        state: state.clone(),
        connector: options.connector.clone(),
        clock: clock.clone(),
        cluster_uid,
    };
    Ok(enrol(&enrolling, &token).await?)
}

/// The UID, for as long as it takes: without one the hub could not tell clusters apart.
async fn cluster_uid(target: &dyn Target) -> String {
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    loop {
        match timeout(REQUEST_TIMEOUT, target.uid()).await {
            Ok(Ok(uid)) => return uid,
            Ok(Err(error)) => {
                tracing::warn!(target = target.describe(), %error, "cannot tell which cluster this is yet")
            }
            Err(_) => tracing::warn!(target = target.describe(), "the target does not answer"),
        }
        sleep(backoff.after_failure(fastrand::f64())).await;
    }
}

async fn keep(options: RunOptions, begun: Begun, cancel: CancellationToken) -> Result<Exit, RunError> {
    let Begun { state, secrets, membership, core, held, detached } = begun;
    let told = Told {
        held: watch::Sender::new(held),
        detached: watch::Sender::new(detached),
        channel: watch::Sender::new(None),
        connection: watch::Sender::new(Connection::default()),
    };
    let (reports, facts) = (watch::Sender::new(None), watch::Sender::new(Facts::default()));
    let free = watch::Sender::new(None);
    let (arrived, missed) = (watch::Sender::new(0), watch::Sender::new(0));
    let paused = watch::Sender::new(None);
    let stop = cancel.child_token();
    let mut tasks = JoinSet::new();

    let writer = Writer {
        target: options.target.describe(),
        clock: options.clock.clone(),
        identity: membership.changes(),
        connection: told.connection.subscribe(),
        held: told.held.subscribe(),
        detached: told.detached.subscribe(),
        reports: reports.subscribe(),
        paused: paused.subscribe(),
    };
    tasks.spawn(writer.run(state.keep().clone(), stop.clone()));
    let pause_file = match &options.storage {
        Storage::Directory(dir) => Some(dir.join(crate::pause::FILE)),
        Storage::Kept(_) => None,
    };
    let counted = (state.clone(), state.removals().await?);
    let clock = options.clock.clone();
    let gate = Arc::new(Gate::new(options.policy, pause_file, options.clock, paused, counted));
    let enforcer = Enforcer {
        target: options.target.clone(),
        state: state.clone(),
        secrets: secrets.clone(),
        held: told.held.subscribe(),
        detached: told.detached.subscribe(),
        arrived: arrived.subscribe(),
        missed: missed.clone(),
        reports: reports.clone(),
        gate: gate.clone(),
        clock: clock.clone(),
    };
    let keep = state.keep().clone();
    tasks.spawn(enforcer.run(stop.clone()));
    let content = Content {
        state: state.clone(),
        held: told.held.subscribe(),
        channel: told.channel.subscribe(),
        missed: missed.subscribe(),
        arrived,
    };
    tasks.spawn(content.run(stop.clone()));
    let (asked, orders) = mpsc::channel(room::WAITING);
    let answering = Room {
        target: options.target.clone(),
        state: state.clone(),
        held: told.held.subscribe(),
        secrets: secrets.clone(),
        policy: gate.clone(),
        orders,
    };
    tasks.spawn(answering.run(stop.clone()));
    tasks.spawn(free::run(options.target.clone(), free.clone(), stop.clone()));
    tasks.spawn(facts::run(options.target, secrets, facts.clone(), stop.clone()));
    let renewal = (membership.clone(), stop.clone());
    tasks.spawn(async move { renewal.0.keep_fresh(renewal.1).await });
    let mut is_detached = told.detached.subscribe();
    let client = Client {
        core,
        membership,
        state,
        clock: clock.clone(),
        reports: reports.subscribe(),
        facts: facts.subscribe(),
        free: free.subscribe(),
        questions: asked,
        told,
    };
    tasks.spawn(client.run(stop.clone()));

    let ended = tokio::select! {
        () = cancel.cancelled() => Ok(()),
        broken = first_broken(&mut tasks) => Err(RunError::Broken(broken)),
        lost = lost(&*keep) => Err(RunError::State(lost)),
    };
    stop.cancel();
    // The tasks are dropped, and with them aborted, when their time is over.
    let all_ended = timeout(SHUTDOWN, async { while tasks.join_next().await.is_some() {} }).await;
    if all_ended.is_err() {
        tracing::warn!("not everything ended in time; the state is whole");
    }
    ended.map(|()| if *is_detached.borrow_and_update() { Exit::Detached } else { Exit::Stopped })
}

/// Returns when another spoke has taken the state: two that enforce would be two too many.
async fn lost(keep: &dyn Keep) -> StateError {
    loop {
        sleep(nave_proto::backoff::jittered(STILL_HELD, fastrand::f64())).await;
        // An answer that does not come says nothing.
        if let Err(error @ StateError::InUse(_)) = keep.still_held().await {
            return error;
        }
    }
}

/// Tasks may end; none may break.
async fn first_broken(tasks: &mut JoinSet<()>) -> tokio::task::JoinError {
    loop {
        match tasks.join_next().await {
            Some(Err(error)) => return error,
            Some(Ok(())) => {}
            None => return std::future::pending().await,
        }
    }
}
