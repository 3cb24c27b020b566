//! Sinks: receivers of events outside of the hub, each with a task of its own.
//!
//! In: the row of events, from where a receiver is. Out: requests, one after another, repeated until they are taken or refused for
//! good; how far each receiver is, in the store.
//! Never: queues: a receiver that is down falls behind in the row, and is told how many it missed; logs a secret, or a URL that is
//! one.
//!
//! A hub that ends between a delivery and its record delivers once more: each carries the event's id.

mod message;
mod send;
mod signature;
mod status;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nave_placement::CatalogName;
use nave_proto::backoff::Backoff;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::message::Wanted;
use self::send::{Client, Outcome};
use super::follow::{self, Next};
use super::{Event, EventRecord};
use crate::config::{SinkConfig, SinkKind};
use crate::deciding::core::json;
use crate::deciding::run::chain;
use crate::operator::views::{SinkTrouble, SinkView};
use crate::state::records::{SinkRecord, key};
use crate::state::{Ledger, State, Step};
use crate::store::Batch;

/// The first repetition comes after so long, and later ones up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(500);
/// A receiver that is back is found out within so long.
const LONGEST: Duration = Duration::from_secs(120);
/// Slack takes one message a second from a webhook.
const CHAT_PAUSE: Duration = Duration::from_secs(1);
/// Lines of one message to a chat.
const CHAT_LINES: usize = 20;
/// After so many events that are none of its, it is written down that a receiver is past them.
const SKIPPED: u64 = 100;

/// What is known of sinks now: which there are, and what troubles them.
#[derive(Debug)]
pub struct Board {
    configs: Vec<SinkConfig>,
    /// The root catalog's name.
    root: CatalogName,
    troubles: Mutex<BTreeMap<String, SinkTrouble>>,
}

impl Board {
    /// Of these. A forge's repository has commits of one catalog: the root's, where nothing is said.
    pub fn new(mut configs: Vec<SinkConfig>, root: CatalogName) -> Arc<Self> {
        let forges = configs.iter_mut().filter(|config| matches!(config.kind, SinkKind::CommitStatus { .. }));
        for config in forges.filter(|config| config.filter.catalogs.is_empty()) {
            config.filter.catalogs.push(root.to_string());
        }
        Arc::new(Self { configs, root, troubles: Mutex::default() })
    }

    /// How they stand.
    pub fn views(&self, state: &State) -> Vec<SinkView> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let view = |config: &SinkConfig| {
            let record = state.sinks.get(&config.name).map(|sink| (*sink.record).clone()).unwrap_or_default();
            SinkView {
                name: config.name.clone(),
                kind: config.kind.name().to_owned(),
                to: config.kind.host(),
                behind: self.behind(state, config, record.cursor),
                sent: record.sent,
                refused: record.refused,
                missed: record.missed,
                success_ms: record.success_ms,
                trouble: troubles.get(&config.name).cloned(),
            }
        };
        self.configs.iter().map(view).collect()
    }

    /// How many events that it wants a receiver has not got yet, of those that are kept.
    fn behind(&self, state: &State, config: &SinkConfig, cursor: u64) -> u64 {
        let left = state.events.range(cursor.saturating_add(1)..);
        left.filter(|(_, event)| self.takes(config, &event.record.event)).count() as u64
    }

    /// Whether a receiver wants an event. A forge wants those of its repository's own commits, whosever app they are about.
    fn takes(&self, config: &SinkConfig, event: &Event) -> bool {
        let is_forge = matches!(config.kind, SinkKind::CommitStatus { .. });
        config.filter.takes(event, &self.root) && (!is_forge || config.filter.takes_commit(event, &self.root))
    }

    fn trouble(&self, sink: &str, trouble: Option<SinkTrouble>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(trouble) => drop(troubles.insert(sink.to_owned(), trouble)),
            None => drop(troubles.remove(sink)),
        }
    }
}

/// One receiver.
pub struct Sink {
    config: SinkConfig,
    ledger: Arc<Ledger>,
    board: Arc<Board>,
    fleet: String,
    client: Client,
    record: SinkRecord,
    /// The last event that was looked at.
    at: u64,
    /// When it may be sent the next.
    next: Instant,
}

impl Sink {
    /// One task for each sink of a board.
    pub fn all(board: &Arc<Board>, ledger: &Arc<Ledger>, fleet: &str) -> Vec<Self> {
        let sink = |config: &SinkConfig| Self {
            client: Client::new(config.ca_file.clone()),
            config: config.clone(),
            ledger: ledger.clone(),
            board: board.clone(),
            fleet: fleet.to_owned(),
            record: SinkRecord::default(),
            at: 0,
            next: Instant::now(),
        };
        board.configs.iter().map(sink).collect()
    }

    /// Delivers until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.deliver_all() => {}
        }
    }

    async fn deliver_all(&mut self) {
        let mut changes = self.ledger.changes();
        self.begin().await;
        loop {
            let (events, through) = self.gather();
            if !events.is_empty() {
                self.deliver(&events).await;
            }
            let advanced = through > self.at;
            self.at = through;
            if !events.is_empty() || self.at - self.record.cursor >= SKIPPED {
                self.record.cursor = self.at;
                self.store().await;
            }
            // The ledger lives as long as this does.
            if !advanced && changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// One that is new begins with what comes next, not with what was before it.
    async fn begin(&mut self) {
        let (known, last) = {
            let state = self.ledger.state();
            (state.sinks.get(&self.config.name).map(|sink| (*sink.record).clone()), follow::last(&state))
        };
        match known {
            // One that is ahead of the row belongs to another store.
            Some(record) => self.record = SinkRecord { cursor: record.cursor.min(last), ..record },
            None => {
                self.record.cursor = last;
                self.store().await;
            }
        }
        self.at = self.record.cursor;
    }

    /// The next events that are its, and the number of the last that was looked at.
    fn gather(&mut self) -> (Vec<Arc<EventRecord>>, u64) {
        let at_once = if matches!(self.config.kind, SinkKind::Slack(_)) { CHAT_LINES } else { 1 };
        let (mut events, mut through) = (Vec::new(), self.at);
        let now_ms = self.ledger.now_ms();
        let state = self.ledger.state();
        while events.len() < at_once
            && let Some(next) = follow::next(&state, through)
        {
            match next {
                Next::Event(record) => {
                    through = record.sequence;
                    if self.board.takes(&self.config, &record.event) {
                        events.push(record);
                    }
                }
                Next::Missed { count, through: last } => {
                    through = last;
                    self.record.missed += count;
                    events.push(Arc::new(follow::missed(count, last, now_ms)));
                }
            }
        }
        (events, through)
    }

    /// Sends until it is taken, or refused for good.
    async fn deliver(&mut self, events: &[Arc<EventRecord>]) {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let mut attempts = 0_u64;
        loop {
            sleep_until(self.next).await;
            let now_ms = self.ledger.now_ms();
            let wanted = Wanted { fleet: &self.fleet, events, record: &self.record, now_ms };
            let outcome = match message::of(&self.config.kind, wanted).await {
                Ok(Some((message, status))) => {
                    if matches!(self.config.kind, SinkKind::Slack(_)) {
                        self.next = Instant::now() + CHAT_PAUSE;
                    }
                    let outcome = self.client.send(message).await;
                    if matches!(outcome, Outcome::Taken) {
                        self.record.statuses = status.unwrap_or_default();
                    }
                    outcome
                }
                // A status that the commit has already.
                Ok(None) => return,
                Err(why) => Outcome::Later { why, after: None },
            };
            attempts += 1;
            let name = &self.config.name;
            match outcome {
                Outcome::Taken => {
                    if attempts > 1 {
                        info!(sink = name, attempts, "the sink takes events again");
                    }
                    self.record.sent += events.len() as u64;
                    self.record.success_ms = Some(self.ledger.now_ms());
                    return self.board.trouble(name, None);
                }
                Outcome::Refused(why) => {
                    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
                    warn!(
                        sink = name,
                        events = ids.join(","),
                        "the sink refuses an event, which is given up: {why}"
                    );
                    self.record.refused += events.len() as u64;
                    let trouble = SinkTrouble { at_ms: self.ledger.now_ms(), attempts, message: why };
                    return self.board.trouble(name, Some(trouble));
                }
                Outcome::Later { why, after } => {
                    if attempts == 1 {
                        warn!(sink = name, "the sink does not take events; they wait: {why}");
                    }
                    let trouble = SinkTrouble { at_ms: self.ledger.now_ms(), attempts, message: why };
                    self.board.trouble(name, Some(trouble));
                    let pause = backoff.after_failure(fastrand::f64());
                    // What the server asks for, but no longer than an hour.
                    let asked = after.map(|after| after.min(Duration::from_secs(3600)));
                    sleep(asked.map_or(pause, |asked| asked.max(pause))).await;
                }
            }
        }
    }

    /// Writes down how far it is; until that is so nothing more is sent.
    async fn store(&self) {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let place = key::sink(&self.config.name);
        loop {
            let batch = Batch::new().put(place.clone(), json(&self.record));
            match self.ledger.commit(Step::SinkAdvanced, batch).await {
                Ok(_) => return,
                Err(error) => {
                    warn!(
                        sink = self.config.name,
                        error = chain(&error),
                        "it cannot be written how far the sink is"
                    );
                    sleep(backoff.after_failure(fastrand::f64())).await;
                }
            }
        }
    }
}

impl SinkKind {
    /// Its name in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack(_) => "slack",
            Self::CommitStatus { .. } => "commitStatus",
        }
    }

    /// The host that it sends to; the rest of a URL may be a secret.
    fn host(&self) -> String {
        use crate::config::SlackUrl;
        let url = match self {
            Self::Webhook { url, .. }
            | Self::CommitStatus { url, .. }
            | Self::Slack(SlackUrl::Given(url)) => url,
            Self::Slack(SlackUrl::File(file)) => return format!("the URL in {}", file.display()),
        };
        let url = reqwest::Url::parse(url).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }
}
