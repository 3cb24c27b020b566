//! The hub's half of one session, without sockets, store or clock.

use std::collections::BTreeSet;
use std::sync::Arc;

use nave_placement::Digest;
use nave_placement::assign::{Assignment, Epoch, Generation, Known, Told};
use nave_placement::fleet::{Facts, Resources};
use nave_placement::report::Report;
use nave_proto::v1::{self, answer, from_spoke, question, to_spoke};
use nave_proto::{
    assignment_from_proto, assignment_to_proto, change_to_proto, facts_from_proto, free_from_proto, limits,
    report_from_proto,
};

use crate::pki::MacKey;

/// What the hub knows of a cluster when it handles a message; read anew each time.
#[derive(Clone, Debug)]
pub struct View {
    /// What the cluster was told last.
    pub told: Arc<Told>,
    /// Its last report.
    pub report: Option<Arc<Report>>,
    /// The UID that the member enrolled with.
    pub cluster_uid: String,
    /// False while the hub's state is in doubt: nothing is sent to anybody.
    pub sending: bool,
    /// The member is to be detached.
    pub detaching: bool,
    /// Where the hub can be reached.
    pub addresses: Vec<String>,
    /// Unix milliseconds.
    pub now_ms: u64,
}

/// What the hub is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send this to the spoke. Bundles are put into assignments by the shell, which has them.
    Send(v1::ToSpoke),
    /// Store the report, unless the stored one has the same digest.
    Report(Report),
    /// Store the facts, unless the stored ones are the same.
    Facts(Facts),
    /// Keep in memory what the cluster has left; `None`: it is not known any more.
    Free(Option<Resources>),
    /// The spoke has stored this assignment.
    Accepted(Epoch, Generation),
    /// The spoke holds, with a valid MAC, what this hub's state does not know: the state is older than what was sent.
    LostState(Epoch, Generation),
    /// The spoke answered what it holds: the seed of decisions after a restore.
    Seed(Assignment),
    /// An answer to a question of [`Core::ask`] that was not cancelled.
    Answered(v1::Answer),
    /// The spoke stopped enforcing.
    Detached,
    /// Something is wrong with this spoke alone.
    Alarm(Alarm),
    /// End the session.
    Close(String),
}

/// What can be wrong with one spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Alarm {
    /// It holds an assignment that this hub never sent, without a valid MAC.
    ForeignAssignment,
    /// It runs on another cluster than the one that enrolled.
    ClusterChanged,
    /// Its assignment is larger than the hub's store takes; it keeps what it has.
    AssignmentTooLarge,
    /// Sessions with its identity keep taking each other's place.
    IdentityShared,
}

/// One session.
#[derive(Debug)]
pub struct Core {
    cluster: String,
    mac: MacKey,
    /// What the spoke holds, as far as this session tells; `None` until hello, and while it holds something unknown.
    holds: Option<Arc<Assignment>>,
    /// The newest that was sent in this session.
    sent: Option<(Epoch, Generation)>,
    greeted: bool,
    foreign: bool,
    /// It holds this, which the hub's state does not know; nothing is sent before that became the seed of its next
    /// assignment.
    unknown: Option<(Epoch, Generation, Digest)>,
    /// It was asked what it holds.
    asked: bool,
    /// The last question's id; never used twice.
    questions: u64,
    /// Questions of operators that are not answered.
    outstanding: BTreeSet<u64>,
}

/// Questions of operators that one spoke is asked at a time: as many as it answers and queues, and some that are being
/// cancelled.
pub const OUTSTANDING: usize = 32;

fn message(message: to_spoke::Message) -> v1::ToSpoke {
    v1::ToSpoke { message: Some(message) }
}

impl Core {
    /// A session of a cluster whose certificate was checked.
    pub fn new(cluster: String, mac: MacKey) -> Self {
        Self {
            cluster,
            mac,
            holds: None,
            sent: None,
            greeted: false,
            foreign: false,
            unknown: None,
            asked: false,
            questions: 0,
            outstanding: BTreeSet::new(),
        }
    }

    /// Whether the spoke said hello, and was taken for who it is.
    pub fn has_greeted(&self) -> bool {
        self.greeted
    }

    /// The spoke sent a message.
    pub fn on_message(&mut self, received: v1::FromSpoke, view: &View) -> Vec<Action> {
        match received.message {
            Some(from_spoke::Message::Hello(hello)) if !self.greeted => self.on_hello(&hello, view),
            _ if !self.greeted => vec![Action::Close("a session begins with hello".into())],
            Some(from_spoke::Message::Facts(facts)) => vec![Action::Facts(facts_from_proto(facts))],
            Some(from_spoke::Message::Free(free)) => vec![Action::Free(free_from_proto(free))],
            Some(from_spoke::Message::Report(report)) => self.on_report(report, view),
            Some(from_spoke::Message::Accepted(accepted)) => self.on_accepted(&accepted, view),
            Some(from_spoke::Message::Answer(answer)) => self.on_answer(answer),
            Some(from_spoke::Message::Detached(v1::Detached {})) => vec![Action::Detached],
            // A second hello, or a newer spoke's message.
            Some(from_spoke::Message::Hello(_)) | None => Vec::new(),
        }
    }

    fn on_hello(&mut self, hello: &v1::Hello, view: &View) -> Vec<Action> {
        let range = hello.versions.unwrap_or_default();
        let version = range.max.min(*limits::VERSIONS.end());
        if version < range.min || !limits::VERSIONS.contains(&version) {
            let (min, max) = (range.min, range.max);
            let ours = limits::VERSIONS;
            return vec![Action::Close(format!(
                "the spoke speaks protocol versions {min} to {max}, this hub {} to {}",
                ours.start(),
                ours.end()
            ))];
        }
        if hello.cluster_uid != view.cluster_uid {
            return vec![
                Action::Alarm(Alarm::ClusterChanged),
                Action::Close("this identity was enrolled for another cluster (its UID differs)".into()),
            ];
        }
        self.greeted = true;
        let reported = view.report.as_ref().map(|r| r.digest().0.to_vec());
        let same_boot = view.report.as_ref().is_some_and(|r| r.boot == hello.boot);
        let welcome = v1::Welcome {
            version,
            hub_addresses: view.addresses.clone(),
            time_ms: view.now_ms,
            report_wanted: !same_boot || reported.as_ref() != Some(&hello.report_digest),
        };
        let mut actions = vec![Action::Send(message(to_spoke::Message::Welcome(welcome)))];
        actions.extend(self.compare(hello, view));
        actions
    }

    /// Compares what the spoke holds with what this hub sent.
    fn compare(&mut self, hello: &v1::Hello, view: &View) -> Vec<Action> {
        let (epoch, generation) = (Epoch(hello.epoch), Generation(hello.generation));
        if generation == Generation(0) {
            return self.offer(view);
        }
        let Ok(digest) = nave_proto::digest(&hello.assignment_digest) else {
            return vec![Action::Close("hello without a digest".into())];
        };
        let known = view.told.knows(epoch, generation, &digest);
        if known == Known::Current {
            self.holds = Some(Arc::new(view.told.assignment.clone()));
            self.sent = Some((epoch, generation));
            let mut actions = vec![Action::Accepted(epoch, generation)];
            actions.extend(self.offer(view));
            return actions;
        }
        if !self.mac.verify(&self.cluster, epoch, generation, &digest, &hello.mac) {
            // Only this spoke is in doubt. It is told nothing, so that it keeps what runs.
            self.foreign = true;
            return vec![Action::Alarm(Alarm::ForeignAssignment)];
        }
        match known {
            Known::Lost => {
                self.unknown = Some((epoch, generation, digest));
                let lost = epoch >= view.told.assignment.epoch;
                let mut actions: Vec<Action> =
                    lost.then_some(Action::LostState(epoch, generation)).into_iter().collect();
                actions.extend(self.offer(view));
                actions
            }
            Known::Past | Known::Current => self.offer(view),
        }
    }

    /// An operator's question: its id and the message, or nothing where the session has not begun or too many are open.
    pub fn ask(&mut self, question: v1::Question) -> Option<(u64, v1::ToSpoke)> {
        if !self.greeted || self.outstanding.len() >= OUTSTANDING {
            return None;
        }
        self.questions += 1;
        let id = self.questions;
        self.outstanding.insert(id);
        Some((id, message(to_spoke::Message::Question(v1::Question { id, ..question }))))
    }

    /// Nobody waits for this answer any more; tells whether the spoke is still to be told.
    pub fn cancel(&mut self, question: u64) -> bool {
        self.outstanding.remove(&question)
    }

    fn ask_what_it_holds(&mut self) -> Action {
        self.asked = true;
        self.questions += 1;
        let question = question::Question::Assignment(v1::WholeAssignment {});
        let question =
            v1::Question { id: self.questions, question: Some(question), ..v1::Question::default() };
        Action::Send(message(to_spoke::Message::Question(question)))
    }

    /// The cluster's assignment, the fleet's sending or the member's state changed: sends what is due. Latest wins.
    pub fn offer(&mut self, view: &View) -> Vec<Action> {
        if !self.greeted || !view.sending || self.foreign {
            return Vec::new();
        }
        if let Some((epoch, generation, digest)) = self.unknown
            && view.told.knows(epoch, generation, &digest) == Known::Lost
        {
            // From before a restore: what it runs becomes the seed of its next assignment. In our own epoch it is proof
            // of a loss, and waits until an operator accepted the restore.
            let before_restore = epoch < view.told.assignment.epoch;
            return if before_restore && !self.asked { vec![self.ask_what_it_holds()] } else { Vec::new() };
        }
        self.unknown = None;
        if view.detaching {
            return vec![Action::Send(message(to_spoke::Message::Detach(v1::Detach {})))];
        }
        let assignment = &view.told.assignment;
        if assignment.generation == Generation(0) || self.sent.is_some_and(|sent| sent >= assignment.order())
        {
            return Vec::new();
        }
        // While an earlier one is on its way it is not known which of the two the next will find.
        let base = self.holds.as_ref().filter(|held| self.sent == Some(held.order()));
        let mut wire = match base {
            Some(base) => change_to_proto(base, assignment),
            None => assignment_to_proto(assignment),
        };
        let (epoch, generation) = assignment.order();
        wire.mac = self.mac.sign(&self.cluster, epoch, generation, &assignment.digest());
        self.sent = Some(assignment.order());
        vec![Action::Send(message(to_spoke::Message::Assignment(wire)))]
    }

    /// What [`Action::Seed`] is good for is committed.
    pub fn seeded(&mut self, view: &View) -> Vec<Action> {
        self.asked = false;
        self.offer(view)
    }

    fn on_accepted(&mut self, accepted: &v1::Accepted, view: &View) -> Vec<Action> {
        let order = (Epoch(accepted.epoch), Generation(accepted.generation));
        let current = &view.told.assignment;
        let digest = nave_proto::digest(&accepted.digest);
        // It had something on its way to its disk when it said hello. With the hub's seal on it, a new hello tells more.
        if order.1 > Generation(0)
            && self.unknown.is_none()
            && digest.is_ok_and(|digest| view.told.knows(order.0, order.1, &digest) == Known::Lost)
        {
            return vec![Action::Close(
                "the spoke accepted what this hub does not know; it shall say hello again".into(),
            )];
        }
        let same = nave_proto::digest(&accepted.digest).is_ok_and(|digest| digest == current.digest());
        // A base for the next change only if it is exactly what is current; else the next one goes whole.
        self.holds = (order == current.order() && same).then(|| Arc::new(current.clone()));
        vec![Action::Accepted(order.0, order.1)]
    }

    fn on_report(&mut self, received: v1::Report, view: &View) -> Vec<Action> {
        match report_from_proto(received, view.report.as_deref()) {
            Ok(report) if view.report.as_ref().is_some_and(|r| r.order() > report.order()) => Vec::new(),
            Ok(report) => vec![Action::Report(report)],
            // It does not fit what is stored: the next one is asked for whole.
            Err(_) => {
                self.questions += 1;
                let question = question::Question::Report(v1::WholeReport {});
                let question =
                    v1::Question { id: self.questions, question: Some(question), ..v1::Question::default() };
                vec![Action::Send(message(to_spoke::Message::Question(question)))]
            }
        }
    }

    fn on_answer(&mut self, answer: v1::Answer) -> Vec<Action> {
        let whole = match answer.answer {
            // It may be late, cancelled meanwhile, or never have been asked for.
            _ if self.outstanding.remove(&answer.question) => return vec![Action::Answered(answer)],
            Some(answer::Answer::Assignment(whole)) => whole,
            _ => return Vec::new(),
        };
        let mac = whole.mac.clone();
        let Ok(assignment) = assignment_from_proto(whole, &Assignment::none(Epoch(0))) else {
            return vec![Action::Close("the spoke's answer does not have the digest that it names".into())];
        };
        let (epoch, generation) = assignment.order();
        let digest = assignment.digest();
        if self.mac.verify(&self.cluster, epoch, generation, &digest, &mac) {
            // It may have stored one more since its hello.
            self.unknown = self.unknown.map(|_| (epoch, generation, digest));
            vec![Action::Seed(assignment)]
        } else {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View {
            told: Arc::new(Told::nothing(Epoch(1))),
            report: None,
            cluster_uid: "uid".into(),
            sending: true,
            detaching: false,
            addresses: Vec::new(),
            now_ms: 0,
        }
    }

    fn greeted() -> Core {
        let mut core = Core::new("fra-1".into(), MacKey::new([0; 32]));
        let versions = v1::VersionRange { min: *limits::VERSIONS.start(), max: *limits::VERSIONS.end() };
        let hello = v1::Hello { versions: Some(versions), cluster_uid: "uid".into(), ..v1::Hello::default() };
        core.on_message(v1::FromSpoke { message: Some(from_spoke::Message::Hello(hello)) }, &view());
        core
    }

    fn answer(question: u64) -> v1::FromSpoke {
        let answer = Some(answer::Answer::Json(b"{}".to_vec()));
        let answer = v1::Answer { question, answer, truncated: false };
        v1::FromSpoke { message: Some(from_spoke::Message::Answer(answer)) }
    }

    #[test]
    fn an_answer_reaches_whoever_asked_once_and_any_other_is_dropped() {
        let mut core = greeted();
        let (first, message) = core.ask(v1::Question::default()).expect("a question");
        let sent = matches!(message.message, Some(to_spoke::Message::Question(q)) if q.id == first);
        assert!(sent);
        let (second, _) = core.ask(v1::Question::default()).expect("another");
        assert_ne!(first, second);
        let of = |core: &mut Core, id| core.on_message(answer(id), &view());
        assert!(matches!(of(&mut core, second).as_slice(), [Action::Answered(a)] if a.question == second));
        assert_eq!(of(&mut core, second), [], "once");
        assert_eq!(of(&mut core, 99), [], "never asked");
        assert!(core.cancel(first), "the spoke is to be told");
        assert!(!core.cancel(first));
        assert_eq!(of(&mut core, first), [], "cancelled");
    }

    #[test]
    fn a_session_takes_a_bounded_number_of_questions_and_none_before_it_has_begun() {
        let mut early = Core::new("fra-1".into(), MacKey::new([0; 32]));
        assert_eq!(early.ask(v1::Question::default()), None);
        let mut core = greeted();
        let asked = (0..OUTSTANDING + 5).filter(|_| core.ask(v1::Question::default()).is_some()).count();
        assert_eq!(asked, OUTSTANDING);
        assert!(core.cancel(1));
        assert!(core.ask(v1::Question::default()).is_some(), "one has made room");
    }
}
