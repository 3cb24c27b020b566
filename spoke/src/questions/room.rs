//! The room: answers a few questions at once, each within its time, as long as somebody waits for it.
//!
//! In: [`Order`]s. Out: an answer to each, on the way that the order names.
//! Never: spawns; holds more than [`AT_ONCE`] answers; goes on with what was cancelled.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use nave_proto::v1;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::policy::Policy;
use super::wanted::{planned, wanted};
use super::wire::{self, Asked};
use crate::plan::runs;
use crate::secrets::Secrets;
use crate::session::core::Held;
use crate::state::State;
use crate::target::Target;
use crate::target::ask::{Answer, Inquiry, Question, Refusal};

/// Questions that are answered at once. Each may hold a page of objects and an answer of 512 KiB.
pub const AT_ONCE: usize = 4;
/// Questions that wait for one of these to end: a screen full of operators; more would only wait until it is too late.
pub const WAITING: usize = 16;

/// A question, and where its answer goes.
#[derive(Debug)]
pub struct Order {
    /// As the hub sent it.
    pub question: v1::Question,
    /// Who takes the answer.
    pub answers: mpsc::Sender<v1::Answer>,
    /// Nobody waits any more.
    pub cancel: CancellationToken,
    /// After this nobody listens.
    pub until: Instant,
}

/// Answers questions.
pub struct Room {
    /// What is asked about.
    pub target: Arc<dyn Target>,
    /// Where bundles are.
    pub state: Arc<State>,
    /// What opens encrypted objects.
    pub secrets: Arc<Secrets>,
    /// What shall be.
    pub held: watch::Receiver<Held>,
    /// What may be asked here.
    pub policy: Arc<dyn Policy>,
    /// What is asked; its length is the queue.
    pub orders: mpsc::Receiver<Order>,
}

impl Room {
    /// Answers, until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        let desk = Desk {
            target: self.target,
            state: self.state,
            secrets: self.secrets,
            held: self.held,
            policy: self.policy,
        };
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                Some(()) = running.next() => {}
                order = self.orders.recv(), if running.len() < AT_ONCE => match order {
                    Some(order) if order.cancel.is_cancelled() => {}
                    Some(order) => running.push(desk.carry_out(order)),
                    None => return,
                }
            }
        }
    }
}

/// What an answer needs.
struct Desk {
    target: Arc<dyn Target>,
    state: Arc<State>,
    secrets: Arc<Secrets>,
    held: watch::Receiver<Held>,
    policy: Arc<dyn Policy>,
}

impl Desk {
    async fn carry_out(&self, order: Order) {
        let Order { question, answers, cancel, until } = order;
        let id = question.id;
        let work = async {
            let late = || Refusal("the cluster did not answer in the time that the question had".into());
            let answered = timeout_at(until, self.answer(question)).await.unwrap_or_else(|_| Err(late()));
            let _ = answers.send(wire::answer(id, answered)).await;
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => {}
            () = work => {}
        }
    }

    async fn answer(&self, question: v1::Question) -> Result<Answer, Refusal> {
        let asked = wire::question(question)?;
        let forbidden = |why| Refusal(format!("this cluster's own policy forbids it: {why}"));
        for kind in asked.kinds() {
            self.policy.allowed(kind, &asked.asker).map_err(forbidden)?;
        }
        let Asked { question, asker, planned: plan } = asked;
        if matches!(question, Question::Logs(_)) {
            tracing::info!(asker = asker.name, role = asker.role.name(), ?question, "logs are read");
        }
        let opened = self.secrets.round();
        let (mut wanted, treatment) = match (&question, plan) {
            (Question::Diff(app), Some(plan)) => planned(app, plan, &opened, &*self.target).await?,
            (Question::Diff(app) | Question::Adoption(app), _) => {
                let accepted = self.held.borrow().assignment.clone();
                let enforced = self.state.enforced(&accepted);
                wanted(app, &enforced, &self.state, &opened, &*self.target).await?
            }
            _ => Default::default(),
        };
        if matches!(question, Question::Diff(_)) {
            // A hook that has run may be gone, and one that runs again is made anew.
            wanted.retain(|object| !runs(object));
        }
        let answered = self.target.answer(&Inquiry { question, asker, wanted, treatment }).await;
        // What was opened for the comparison may stand in an object of any kind, and in what a target says of it.
        match answered {
            Ok(answer) => Ok(Answer { json: opened.scrub_json(answer.json), ..answer }),
            Err(Refusal(why)) => Err(Refusal(opened.scrub_text(why))),
        }
    }
}
