//! The session's shell: moves messages between a stream and its [`Core`], and what comes of them to the ledger.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::Stream;
use futures::stream::{self, BoxStream};
use nave_placement::assign::{Epoch, Generation};
use nave_placement::fleet::Resources;
use nave_placement::{ClusterName, Digest};
use nave_proto::limits::{CONNECT_TIMEOUT, INLINE_BUNDLE, INLINE_TOTAL};
use nave_proto::v1::{self, session_server, to_spoke};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};

use super::alarms::Alarms;
use super::asking::{Desk, Way, desk};
use super::core::{Action, Alarm, Core, View};
use super::effects::effects;
use crate::deciding::hearing::Hearing;
use crate::listener::Peer;
use crate::members::{MemberError, Members};
use crate::pki::MacKey;
use crate::state::records::Standing;
use crate::state::{CommitError, Ledger};
use crate::store::StoreError;
use crate::store::bundles::Bundles;

/// How often what a spoke said is written again when somebody else was faster.
const ATTEMPTS: usize = 5;

/// A session that is open.
#[derive(Clone, Debug)]
pub struct Live {
    id: u64,
    cancel: CancellationToken,
    way: Way,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// From where.
    pub address: String,
    /// What the spoke has stored, as far as it said.
    pub accepted: Option<(Epoch, Generation)>,
    /// What the cluster has left, and when its spoke said so; it ends with the session.
    pub free: Option<(Arc<Resources>, u64)>,
}

/// All sessions, and what they need.
pub struct Sessions {
    ledger: Arc<Ledger>,
    members: Members,
    mac: MacKey,
    bundles: Arc<Bundles>,
    addresses: Arc<[String]>,
    live: Mutex<BTreeMap<ClusterName, Live>>,
    alarms: Mutex<Alarms>,
    /// When this hub began to serve; Unix milliseconds.
    since_ms: u64,
    /// When each cluster was seen last, since this hub started; Unix milliseconds.
    seen: Mutex<BTreeMap<ClusterName, u64>>,
    next: AtomicU64,
    /// Counts sessions that began or ended, and acceptances.
    changed: watch::Sender<u64>,
    /// Counts sessions that began or ended.
    contacts: watch::Sender<u64>,
    /// Counts what was said to be free.
    freed: watch::Sender<u64>,
    closing: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    /// The rooms that it needs; `closing` ends all sessions.
    pub fn new(
        ledger: Arc<Ledger>,
        members: Members,
        mac: MacKey,
        bundles: Arc<Bundles>,
        addresses: Arc<[String]>,
        closing: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            since_ms: ledger.now_ms(),
            ledger,
            members,
            mac,
            bundles,
            addresses,
            live: Mutex::default(),
            alarms: Mutex::default(),
            seen: Mutex::default(),
            next: AtomicU64::new(1),
            changed: watch::Sender::new(0),
            contacts: watch::Sender::new(0),
            freed: watch::Sender::new(0),
            closing,
        })
    }

    /// The open sessions.
    pub fn live(&self) -> BTreeMap<ClusterName, Live> {
        lock(&self.live).clone()
    }

    /// What is wrong with single spokes.
    pub fn alarms(&self) -> BTreeMap<ClusterName, Alarm> {
        let state = self.ledger.state();
        let enrolled = |cluster: &ClusterName| {
            let member = state.members.get(cluster);
            // A name that waits for its next cluster is nobody's.
            let member = member.filter(|m| m.standing != Standing::Revoked && !m.is_vacant());
            member.map(|m| m.enrolled_ms)
        };
        lock(&self.alarms).said(enrolled, self.ledger.now_ms())
    }

    /// When each cluster was seen last, since this hub started.
    pub fn seen(&self) -> BTreeMap<ClusterName, u64> {
        lock(&self.seen).clone()
    }

    /// When this hub began to serve, before which it has seen nobody; Unix milliseconds.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Ends all sessions, and whatever else is open as long as they are.
    pub fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Counts sessions that began or ended, and acceptances.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Counts sessions that began or ended.
    pub fn contacts(&self) -> watch::Receiver<u64> {
        self.contacts.subscribe()
    }

    /// Counts what was said to be free.
    pub fn freed(&self) -> watch::Receiver<u64> {
        self.freed.subscribe()
    }

    /// What deciding may know of members. Who is connected is looked at first: whoever ends in between was seen.
    pub fn hearing(&self) -> Hearing {
        let connected =
            lock(&self.live).iter().map(|(name, live)| (name.clone(), live.free.clone())).collect();
        Hearing { since_ms: self.since_ms, connected, seen: self.seen(), ..Hearing::default() }
    }

    /// What is known of a member, as long as it is this key.
    fn view(&self, cluster: &ClusterName, key: &str) -> Option<View> {
        let state = self.ledger.state();
        let member = state.members.get(cluster).filter(|m| m.standing != Standing::Revoked)?;
        // Another cluster may have got the name since the session began.
        if member.public_key != key {
            return None;
        }
        Some(View {
            told: state.told(cluster),
            report: state.reports.get(cluster).map(|r| r.report.clone()),
            cluster_uid: member.cluster_uid.clone(),
            sending: state.doubt.is_none(),
            detaching: member.standing == Standing::Detaching,
            addresses: self.addresses.to_vec(),
            now_ms: self.ledger.now_ms(),
        })
    }

    /// The newest session of a key wins; one that has not said who it is has no place yet.
    fn begin(&self, session: &Session, way: Way) {
        let now_ms = self.ledger.now_ms();
        let live = Live {
            id: session.id,
            cancel: session.cancel.clone(),
            way,
            since_ms: now_ms,
            address: session.address.clone(),
            accepted: None,
            free: None,
        };
        let older = lock(&self.live).insert(session.cluster.clone(), live);
        lock(&self.alarms).begun(&session.cluster, older.is_some(), now_ms);
        if let Some(older) = older {
            older.cancel.cancel();
        }
        self.contacts.send_modify(|n| *n += 1);
        self.changed.send_modify(|n| *n += 1);
    }

    /// The way to a cluster's spoke, while it is connected.
    pub(super) fn way(&self, cluster: &ClusterName) -> Option<Way> {
        lock(&self.live).get(cluster).map(|live| live.way.clone())
    }

    fn end(&self, cluster: &ClusterName, id: u64) {
        let mut live = lock(&self.live);
        if live.get(cluster).is_some_and(|l| l.id == id) {
            live.remove(cluster);
            lock(&self.seen).insert(cluster.clone(), self.ledger.now_ms());
        }
        drop(live);
        self.contacts.send_modify(|n| *n += 1);
        self.changed.send_modify(|n| *n += 1);
    }

    fn accepted(&self, cluster: &ClusterName, id: u64, order: (Epoch, Generation)) {
        if let Some(live) = lock(&self.live).get_mut(cluster).filter(|l| l.id == id) {
            live.accepted = Some(order);
        }
        self.changed.send_modify(|n| *n += 1);
    }

    fn free(&self, cluster: &ClusterName, id: u64, free: Option<Resources>) {
        if let Some(live) = lock(&self.live).get_mut(cluster).filter(|l| l.id == id) {
            live.free = free.map(|free| (Arc::new(free), self.ledger.now_ms()));
        }
        self.freed.send_modify(|n| *n += 1);
    }

    /// Puts small bundles that the spoke may lack into an assignment.
    fn inline(&self, assignment: &mut v1::Assignment) {
        let mut total = 0;
        let mut seen = BTreeSet::new();
        for keyed in &assignment.entries {
            let Ok(entry) = nave_proto::decode_entry(&keyed.entry) else { continue };
            if !seen.insert(entry.bundle) {
                continue;
            }
            let Ok(Some(zstd)) = self.bundles.get(entry.bundle) else { continue };
            if zstd.len() <= INLINE_BUNDLE && total + zstd.len() <= INLINE_TOTAL {
                total += zstd.len();
                assignment.bundles.push(v1::InlineBundle { digest: entry.bundle.0.to_vec(), zstd });
            }
        }
    }

    /// The bundles that a cluster is assigned.
    pub(crate) fn assigned(&self, cluster: &ClusterName) -> BTreeSet<Digest> {
        let told = self.ledger.state().told(cluster);
        // Earlier entries too: they may run there until a change may start.
        let entries = told.assignment.entries.values().chain(told.trail.values().flatten());
        entries.filter_map(|e| nave_proto::decode_entry(&e.bytes).ok()).map(|e| e.bundle).collect()
    }

    /// Who is at the other end of a request, if their certificate is a member's.
    pub(crate) fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let peer = request.extensions().get::<Peer>();
        let peer = peer.ok_or_else(|| Status::unauthenticated("no connection"))?;
        let certificate = peer.certificate.as_ref();
        let certificate =
            certificate.ok_or_else(|| Status::unauthenticated("a client certificate is required"))?;
        let member = self.members.authenticate(certificate);
        let (cluster, key) =
            member.ok_or_else(|| Status::permission_denied("this certificate is no member's (any more)"))?;
        Ok(Caller { cluster, key, address: peer.address.clone() })
    }
}

/// A member that calls.
pub(crate) struct Caller {
    /// Its name.
    pub cluster: ClusterName,
    /// Its public key, in hex: the member is this key.
    key: String,
    /// From where.
    address: String,
}

/// One open session. Its stream does all the work when tonic polls it, so that a session costs no task of its own.
struct Session {
    sessions: Arc<Sessions>,
    cluster: ClusterName,
    /// The member's public key, as its certificate has it.
    key: String,
    id: u64,
    cancel: CancellationToken,
    core: Core,
    address: String,
    /// The way to it, as long as it has not greeted: then others may use it.
    way: Option<Way>,
    /// Until when it has to say hello.
    hello_by: Instant,
    desk: Desk,
    inbound: Streaming<v1::FromSpoke>,
    changes: watch::Receiver<u64>,
    pending: VecDeque<v1::ToSpoke>,
    closing: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.way.is_none() {
            self.sessions.end(&self.cluster, self.id);
        }
    }
}

impl Session {
    async fn next(mut self: Box<Self>) -> Option<(Result<v1::ToSpoke, Status>, Box<Self>)> {
        loop {
            if let Some(message) = self.pending.pop_front() {
                return Some((Ok(message), self));
            }
            if self.closing {
                return None;
            }
            let cancel = self.cancel.clone();
            let outcome = tokio::select! {
                () = cancel.cancelled() => {
                    self.close("a newer session of this spoke began, or the hub is stopping");
                    Ok(())
                }
                message = self.inbound.message() => match message {
                    Ok(Some(message)) => self.received(message).await,
                    Ok(None) | Err(_) => return None,
                },
                changed = self.changes.changed() => match changed {
                    Ok(()) => self.offer().await,
                    Err(_) => return None,
                },
                () = sleep_until(self.hello_by), if self.way.is_some() => {
                    self.close("a session begins with hello, and none came in time");
                    Ok(())
                }
                messages = self.desk.next(&mut self.core) => {
                    self.pending.extend(messages);
                    Ok(())
                }
            };
            if let Err(error) = outcome {
                warn!(cluster = %self.cluster, error = crate::deciding::run::chain(&error), "the session ends");
                return Some((Err(Status::unavailable("the hub's store does not answer")), self));
            }
        }
    }

    fn close(&mut self, reason: &str) {
        let goodbye = v1::Goodbye { reason: reason.to_owned(), retry_after_ms: 0 };
        self.pending.push_back(v1::ToSpoke { message: Some(to_spoke::Message::Goodbye(goodbye)) });
        self.closing = true;
    }

    async fn received(&mut self, message: v1::FromSpoke) -> Result<(), CommitError> {
        let Some(view) = self.sessions.view(&self.cluster, &self.key) else { return self.revoked() };
        let actions = self.core.on_message(message, &view);
        if self.core.has_greeted()
            && let Some(way) = self.way.take()
        {
            info!(cluster = %self.cluster, address = self.address, "session");
            self.sessions.begin(self, way);
        }
        self.carry_out(actions).await
    }

    async fn offer(&mut self) -> Result<(), CommitError> {
        let Some(view) = self.sessions.view(&self.cluster, &self.key) else { return self.revoked() };
        let actions = self.core.offer(&view);
        self.carry_out(actions).await
    }

    fn revoked(&mut self) -> Result<(), CommitError> {
        self.close("this cluster is no member any more");
        Ok(())
    }

    /// Writes what an action makes of the state; once more with the newer state where somebody else was faster.
    async fn persist(&self, action: &Action) -> Result<(), CommitError> {
        let ledger = &self.sessions.ledger;
        for _ in 0..ATTEMPTS {
            let writes = effects(&ledger.state(), &self.cluster, action, ledger.now_ms());
            let mut outcome = Ok(());
            for write in writes {
                outcome = ledger.commit_audited(write.step, write.batch, &write.audits).await.map(drop);
                if outcome.is_err() {
                    break;
                }
            }
            match outcome {
                Err(error) if error.is_conflict() => {}
                // The spoke would say the same again in its next session, and in the one after that.
                Err(CommitError::Store(StoreError::TooLarge { bytes, .. }))
                    if matches!(action, Action::Report(_) | Action::Facts(_)) =>
                {
                    warn!(cluster = %self.cluster, bytes, "the spoke has more to say than the store takes; what it said before is kept");
                    return Ok(());
                }
                other => return other,
            }
        }
        // The spoke says it again in its next session.
        Err(CommitError::Busy)
    }

    async fn carry_out(&mut self, actions: Vec<Action>) -> Result<(), CommitError> {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            self.persist(&action).await?;
            match action {
                Action::Send(mut message) => {
                    if let Some(to_spoke::Message::Assignment(assignment)) = &mut message.message {
                        self.sessions.inline(assignment);
                    }
                    self.pending.push_back(message);
                }
                Action::Accepted(epoch, generation) => {
                    self.sessions.accepted(&self.cluster, self.id, (epoch, generation));
                }
                Action::Free(free) => self.sessions.free(&self.cluster, self.id, free),
                Action::Answered(answer) => self.desk.answered(answer),
                Action::Seed(_) => {
                    if let Some(view) = self.sessions.view(&self.cluster, &self.key) {
                        actions.extend(self.core.seeded(&view));
                    }
                }
                Action::Detached => {
                    match self.sessions.members.detached(&self.cluster).await {
                        Ok(()) => self.close("detached"),
                        // It says so again in its next session.
                        Err(MemberError::Commit(error)) => return Err(error),
                        Err(error) => {
                            warn!(cluster = %self.cluster, %error, "the spoke says that it detached");
                            self.close(&error.to_string());
                        }
                    }
                }
                Action::Alarm(alarm) => {
                    warn!(cluster = %self.cluster, ?alarm, "something is wrong with this spoke");
                    let now_ms = self.sessions.ledger.now_ms();
                    lock(&self.sessions.alarms).raise(&self.cluster, alarm, now_ms);
                }
                Action::LostState(epoch, generation) => {
                    warn!(cluster = %self.cluster, ?epoch, ?generation, "the spoke proves that this hub lost state");
                }
                Action::Close(reason) => self.close(&reason),
                Action::Report(_) | Action::Facts(_) => {}
            }
        }
        Ok(())
    }
}

/// The gRPC service.
pub struct SessionService(pub Arc<Sessions>);

#[tonic::async_trait]
impl session_server::Session for SessionService {
    type OpenStream = BoxStream<'static, Result<v1::ToSpoke, Status>>;

    async fn open(
        &self,
        request: Request<Streaming<v1::FromSpoke>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let Caller { cluster, key, address } = self.0.caller(&request)?;
        let changes = self.0.ledger.changes_of(&cluster);
        let (way, desk) = desk();
        let session = Box::new(Session {
            sessions: self.0.clone(),
            core: Core::new(cluster.to_string(), self.0.mac.clone()),
            address,
            way: Some(way),
            hello_by: Instant::now() + CONNECT_TIMEOUT,
            desk,
            cluster,
            key,
            id: self.0.next.fetch_add(1, Ordering::Relaxed),
            cancel: self.0.closing.child_token(),
            inbound: request.into_inner(),
            changes,
            pending: VecDeque::new(),
            closing: false,
        });
        Ok(Response::new(boxed(stream::unfold(session, Session::next))))
    }
}

fn boxed<T>(stream: impl Stream<Item = T> + Send + 'static) -> BoxStream<'static, T> {
    Box::pin(stream)
}
