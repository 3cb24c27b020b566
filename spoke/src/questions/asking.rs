//! Asking: one session's questions, between its stream and the room.
//!
//! In: questions and cancellations of the hub, answers of the room. Out: answers, when the stream has space for them.
//! Never: waits for the room; lets an answer take the place of a report; outlives the session.

use std::collections::BTreeMap;
use std::time::Duration;

use nave_proto::v1::{self, from_spoke};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::room::{AT_ONCE, Order};
use super::wire;
use crate::target::ask::Refusal;

/// The longest that a question is worked on, whatever it says: as long as an API server works on a request.
const LONGEST: Duration = Duration::from_secs(60);

/// One session's questions. Dropping it cancels them all.
#[derive(Debug)]
pub struct Asking {
    orders: mpsc::Sender<Order>,
    sender: mpsc::Sender<v1::Answer>,
    answers: mpsc::Receiver<v1::Answer>,
    /// Taken from `answers`, not sent yet.
    next: Option<v1::Answer>,
    open: BTreeMap<u64, CancellationToken>,
    all: CancellationToken,
    _end: DropGuard,
}

impl Asking {
    /// Of a new session.
    pub fn new(orders: mpsc::Sender<Order>) -> Self {
        // As many as may be ready at once.
        let (sender, answers) = mpsc::channel(AT_ONCE);
        let all = CancellationToken::new();
        let _end = all.clone().drop_guard();
        Self { orders, sender, answers, next: None, open: BTreeMap::new(), all, _end }
    }

    /// Has a question answered; gives the refusal where there are too many already.
    pub fn ask(&mut self, question: v1::Question) -> Option<v1::FromSpoke> {
        let id = question.id;
        let wanted = match question.timeout_ms {
            0 => LONGEST,
            ms => Duration::from_millis(ms).min(LONGEST),
        };
        let cancel = self.all.child_token();
        let order = Order {
            question,
            answers: self.sender.clone(),
            cancel: cancel.clone(),
            until: Instant::now() + wanted,
        };
        if self.orders.try_send(order).is_err() {
            let busy = Refusal("this spoke is answering too many questions already; ask again later".into());
            return Some(message(wire::answer(id, Err(busy))));
        }
        self.open.insert(id, cancel);
        None
    }

    /// Nobody waits for this answer any more.
    pub fn cancel(&mut self, id: u64) {
        if let Some(cancel) = self.open.remove(&id) {
            cancel.cancel();
        }
    }

    /// Sends the next answer, once there is one and the outbox has so much space that reports keep theirs. May be dropped
    /// at any moment: the answer is sent by the next call.
    pub async fn deliver(&mut self, outbox: &mpsc::Sender<v1::FromSpoke>) {
        if self.next.is_none() {
            self.next = self.answers.recv().await;
        }
        let keep = outbox.max_capacity() / 2 + 1;
        let Ok(mut permits) = outbox.reserve_many(keep).await else {
            // The stream was cut, which its other end tells.
            return std::future::pending().await;
        };
        if let (Some(answer), Some(permit)) = (self.next.take(), permits.next()) {
            // Cancelled while it was on its way: the hub would drop it, and need not carry it.
            if self.open.remove(&answer.question).is_some() {
                permit.send(message(answer));
            }
        }
    }
}

fn message(answer: v1::Answer) -> v1::FromSpoke {
    v1::FromSpoke { message: Some(from_spoke::Message::Answer(answer)) }
}
