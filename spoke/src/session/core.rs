//! The session's state machine, without sockets, files or a clock.

use std::sync::Arc;

use nave_placement::Digest;
use nave_placement::assign::{Assignment, Epoch, Generation};
use nave_placement::fleet::{Facts, Resources};
use nave_placement::report::Report;
use nave_proto::v1::{self, answer, from_spoke, question, to_spoke};
use nave_proto::{
    assignment_from_proto, assignment_to_proto, facts_to_proto, free_to_proto, limits, report_to_proto,
};

/// The assignment that the spoke has accepted, with the hub's MAC as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What to run.
    pub assignment: Arc<Assignment>,
    /// The hub's MAC over it; opaque here, shown to the hub in every hello.
    pub mac: Vec<u8>,
}

impl Held {
    /// Before the first assignment.
    pub fn nothing() -> Self {
        Self { assignment: Arc::new(Assignment::none(Epoch(0))), mac: Vec::new() }
    }
}

/// What the spoke is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this to the hub.
    Send(v1::FromSpoke),
    /// Store the assignment and these bundles (digest, compressed bytes) durably, then call [`Core::persisted`].
    Persist(Held, Vec<(Digest, Vec<u8>)>),
    /// Store the order to detach durably, then call [`Core::detached`].
    PersistDetach,
    /// Keep the hub's time and addresses for later.
    Remember {
        /// Unix milliseconds, as the hub says.
        time_ms: u64,
        /// Where the hub can be reached.
        addresses: Vec<String>,
    },
    /// Answer this question, which reads the cluster, beside everything else; nothing waits for it.
    Answer(v1::Question),
    /// Nobody waits for the answer to the question of this id any more.
    Cancel(u64),
    /// End this session; the next may begin after so long.
    Close {
        /// Milliseconds; 0 leaves it to the backoff.
        retry_after_ms: u64,
        /// For the log.
        reason: String,
    },
}

/// The spoke's half of the protocol. One per process; it outlives sessions.
#[derive(Debug)]
pub struct Core {
    boot: u64,
    cluster_uid: String,
    software: String,
    held: Held,
    detached: bool,
    report: Arc<Report>,
    /// The report that the hub has as far as this session tells: the base of the next change. `None`: send a whole one.
    told: Option<Arc<Report>>,
    facts: Facts,
    /// What the cluster has left, as far as known.
    free: Option<Resources>,
    welcomed: bool,
    /// The order of the assignment that this session's hello named.
    said: Option<(Epoch, Generation)>,
}

fn message(message: from_spoke::Message) -> v1::FromSpoke {
    v1::FromSpoke { message: Some(message) }
}

impl Core {
    /// A spoke that starts for the `boot`th time with what it had stored.
    pub fn new(boot: u64, cluster_uid: String, software: String, held: Held, detached: bool) -> Self {
        let report = Report { boot, ..Report::default() };
        Self {
            boot,
            cluster_uid,
            software,
            held,
            detached,
            report: Arc::new(report),
            told: None,
            facts: Facts::default(),
            free: None,
            welcomed: false,
            said: None,
        }
    }

    /// The accepted assignment.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Whether the hub ordered to stop enforcing.
    pub fn is_detached(&self) -> bool {
        self.detached
    }

    /// The current report.
    pub fn report(&self) -> &Arc<Report> {
        &self.report
    }

    /// A stream was opened: says hello.
    pub fn connected(&mut self) -> Vec<Action> {
        self.welcomed = false;
        self.told = None;
        let assignment = &self.held.assignment;
        self.said = Some(assignment.order());
        let hello = v1::Hello {
            versions: Some(v1::VersionRange { min: *limits::VERSIONS.start(), max: *limits::VERSIONS.end() }),
            cluster_uid: self.cluster_uid.clone(),
            boot: self.boot,
            epoch: assignment.epoch.0,
            generation: assignment.generation.0,
            assignment_digest: assignment.digest().0.to_vec(),
            mac: self.held.mac.clone(),
            report_sequence: self.report.sequence,
            report_digest: self.report.digest().0.to_vec(),
            software: self.software.clone(),
        };
        vec![Action::Send(message(from_spoke::Message::Hello(hello)))]
    }

    /// The stream ended.
    pub fn disconnected(&mut self) {
        self.welcomed = false;
        self.told = None;
    }

    /// The hub sent a message.
    pub fn on_message(&mut self, received: v1::ToSpoke) -> Vec<Action> {
        match received.message {
            Some(to_spoke::Message::Welcome(welcome)) => self.on_welcome(welcome),
            Some(to_spoke::Message::Assignment(assignment)) => self.on_assignment(assignment),
            Some(to_spoke::Message::Question(question)) => self.on_question(question),
            Some(to_spoke::Message::Detach(v1::Detach {})) => vec![Action::PersistDetach],
            Some(to_spoke::Message::Retire(v1::Retire {})) => {
                close(0, "the hub asks to go to another replica")
            }
            Some(to_spoke::Message::Goodbye(goodbye)) => close(goodbye.retry_after_ms, &goodbye.reason),
            Some(to_spoke::Message::Cancel(cancel)) => vec![Action::Cancel(cancel.question)],
            // A newer hub's message that this version does not know.
            None => Vec::new(),
        }
    }

    fn on_welcome(&mut self, welcome: v1::Welcome) -> Vec<Action> {
        if !limits::VERSIONS.contains(&welcome.version) {
            return close(
                0,
                &format!("the hub speaks protocol version {}, which this spoke does not", welcome.version),
            );
        }
        self.welcomed = true;
        let mut actions = vec![
            Action::Remember { time_ms: welcome.time_ms, addresses: welcome.hub_addresses },
            Action::Send(message(from_spoke::Message::Facts(facts_to_proto(&self.facts)))),
        ];
        // The hub forgot it with the last session.
        actions.extend(self.free.is_some().then(|| self.send_free()));
        if self.said != Some(self.held.assignment.order()) {
            // Something reached the disk after the hello.
            actions.push(self.accepted());
        }
        if self.detached {
            actions.push(Action::Send(message(from_spoke::Message::Detached(v1::Detached {}))));
        }
        if self.report.sequence == 0 {
            // Nothing was observed since the start: the hub keeps what it has until there is something to say.
        } else if welcome.report_wanted {
            actions.push(self.send_report());
        } else {
            self.told = Some(self.report.clone());
        }
        actions
    }

    /// A whole assignment or a change. One older than the accepted is refused: the answer says what is held instead.
    fn on_assignment(&mut self, received: v1::Assignment) -> Vec<Action> {
        let mac = received.mac.clone();
        let inline = received
            .bundles
            .iter()
            .filter_map(|b| Some((nave_proto::digest(&b.digest).ok()?, b.zstd.to_vec())));
        let inline: Vec<_> = inline.collect();
        let assignment = match assignment_from_proto(received, &self.held.assignment) {
            Ok(assignment) => assignment,
            Err(error) => return close(0, &error.to_string()),
        };
        if assignment.order() <= self.held.assignment.order() || self.detached {
            return vec![self.accepted()];
        }
        vec![Action::Persist(Held { assignment: Arc::new(assignment), mac }, inline)]
    }

    /// The assignment is stored durably. Out of order calls change nothing.
    pub fn persisted(&mut self, held: Held) -> Vec<Action> {
        if held.assignment.order() > self.held.assignment.order() {
            self.held = held;
        }
        if self.welcomed { vec![self.accepted()] } else { Vec::new() }
    }

    fn accepted(&self) -> Action {
        let assignment = &self.held.assignment;
        Action::Send(message(from_spoke::Message::Accepted(v1::Accepted {
            epoch: assignment.epoch.0,
            generation: assignment.generation.0,
            digest: assignment.digest().0.to_vec(),
        })))
    }

    /// The order to detach is stored durably.
    pub fn detached(&mut self) -> Vec<Action> {
        self.detached = true;
        if self.welcomed {
            vec![Action::Send(message(from_spoke::Message::Detached(v1::Detached {})))]
        } else {
            Vec::new()
        }
    }

    fn on_question(&mut self, asked: v1::Question) -> Vec<Action> {
        let answer = match asked.question {
            Some(question::Question::Report(v1::WholeReport {})) => {
                self.told = None;
                return if self.report.sequence == 0 { Vec::new() } else { vec![self.send_report()] };
            }
            Some(question::Question::Assignment(v1::WholeAssignment {})) => {
                let mut whole = assignment_to_proto(&self.held.assignment);
                whole.mac.clone_from(&self.held.mac);
                answer::Answer::Assignment(whole)
            }
            Some(_) => return vec![Action::Answer(asked)],
            None => {
                answer::Answer::Refused("this version of the spoke does not know the question".to_owned())
            }
        };
        let answer = v1::Answer { question: asked.id, answer: Some(answer), truncated: false };
        vec![Action::Send(message(from_spoke::Message::Answer(answer)))]
    }

    /// The spoke observed something. Boot and sequence are put on here; an unchanged report says nothing.
    pub fn observed(&mut self, mut report: Report) -> Vec<Action> {
        report.boot = self.boot;
        report.sequence = self.report.sequence;
        if report == *self.report && report.sequence > 0 {
            return Vec::new();
        }
        report.sequence += 1;
        self.report = Arc::new(report);
        if self.welcomed { vec![self.send_report()] } else { Vec::new() }
    }

    fn send_report(&mut self) -> Action {
        let wire = report_to_proto(&self.report, self.told.as_deref());
        self.told = Some(self.report.clone());
        Action::Send(message(from_spoke::Message::Report(wire)))
    }

    /// The cluster said something new of itself.
    pub fn facts(&mut self, facts: Facts) -> Vec<Action> {
        if facts == self.facts {
            return Vec::new();
        }
        self.facts = facts;
        let send = Action::Send(message(from_spoke::Message::Facts(facts_to_proto(&self.facts))));
        if self.welcomed { vec![send] } else { Vec::new() }
    }

    /// The cluster has more or less left.
    pub fn free(&mut self, free: Option<Resources>) -> Vec<Action> {
        if free == self.free {
            return Vec::new();
        }
        self.free = free;
        if self.welcomed { vec![self.send_free()] } else { Vec::new() }
    }

    fn send_free(&self) -> Action {
        Action::Send(message(from_spoke::Message::Free(free_to_proto(self.free.as_ref()))))
    }
}

fn close(retry_after_ms: u64, reason: &str) -> Vec<Action> {
    vec![Action::Close { retry_after_ms, reason: reason.to_owned() }]
}
