//! Asking: questions to the spokes that are connected, and the way of their answers.
//!
//! In: a cluster, a question, for how long. Out: the answer of that cluster, or why there is none.
//! Never: keeps a question that nobody waits for; asks a spoke that is not connected; holds a session up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nave_placement::ClusterName;
use nave_proto::limits::ANSWER;
use nave_proto::v1::{self, answer, to_spoke};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::core::{Core, OUTSTANDING};
use super::service::Sessions;

/// What a spoke answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replied {
    /// One document, shaped by the question.
    pub json: Vec<u8>,
    /// There is more than fits the bounds.
    pub truncated: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No session.
    #[error("offline: its spoke is not connected")]
    Offline,
    /// Too many questions.
    #[error("busy: too many questions wait for its answers already")]
    Busy,
    /// The session ended before the answer.
    #[error("its session ended before it answered")]
    Ended,
    /// Too slow.
    #[error("slow: no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// The spoke will not, in its words.
    #[error("{0}")]
    Refused(String),
    /// It is no answer to this question, or too large.
    #[error("its answer is no good: {0}")]
    NoGood(&'static str),
}

/// One question on its way to a session.
#[derive(Debug)]
pub(super) struct Asked {
    question: v1::Question,
    reply: oneshot::Sender<Result<Replied, AskError>>,
}

/// The way into one session.
#[derive(Clone, Debug)]
pub(super) struct Way {
    questions: mpsc::Sender<Asked>,
    gone: Arc<Notify>,
}

/// A session's end of it.
#[derive(Debug)]
pub(super) struct Desk {
    questions: mpsc::Receiver<Asked>,
    /// Somebody stopped waiting.
    gone: Arc<Notify>,
    waiting: BTreeMap<u64, oneshot::Sender<Result<Replied, AskError>>>,
}

/// Both ends, of a new session.
pub(super) fn desk() -> (Way, Desk) {
    let (sender, questions) = mpsc::channel(OUTSTANDING);
    let gone = Arc::new(Notify::new());
    (Way { questions: sender, gone: gone.clone() }, Desk { questions, gone, waiting: BTreeMap::new() })
}

/// Tells the session, when dropped, that somebody stopped waiting.
struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Sessions {
    /// Asks the spoke of a cluster, and waits so long at most. Dropped earlier, the question is cancelled.
    ///
    /// # Errors
    /// Why there is no answer, for people.
    pub async fn ask(
        &self,
        cluster: &ClusterName,
        question: v1::Question,
        longest: Duration,
    ) -> Result<Replied, AskError> {
        let way = self.way(cluster).ok_or(AskError::Offline)?;
        // Dropped after the receiver of the answer, so that the session finds nobody waiting.
        let _gone = Gone(way.gone);
        let (reply, answer) = oneshot::channel();
        way.questions.try_send(Asked { question, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Busy,
            mpsc::error::TrySendError::Closed(_) => AskError::Offline,
        })?;
        match timeout(longest, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(AskError::Ended),
            Err(_) => Err(AskError::Late(longest)),
        }
    }
}

impl Desk {
    /// Waits for something to do here; gives the messages that follow from it. May be dropped while it waits.
    pub async fn next(&mut self, core: &mut Core) -> Vec<v1::ToSpoke> {
        tokio::select! {
            () = self.gone.notified() => self.sweep(core),
            // The other end lives as long as the session is known; after that there is nothing to do but to end.
            Some(asked) = self.questions.recv() => {
                let mut messages = self.sweep(core);
                messages.extend(self.put(asked, core));
                messages
            }
        }
    }

    fn put(&mut self, asked: Asked, core: &mut Core) -> Option<v1::ToSpoke> {
        let Asked { question, reply } = asked;
        match core.ask(question) {
            Some((id, message)) => {
                self.waiting.insert(id, reply);
                Some(message)
            }
            None => {
                let _ = reply.send(Err(AskError::Busy));
                None
            }
        }
    }

    /// Cancels what nobody waits for any more.
    fn sweep(&mut self, core: &mut Core) -> Vec<v1::ToSpoke> {
        let gone: Vec<u64> =
            self.waiting.iter().filter(|(_, reply)| reply.is_closed()).map(|(id, _)| *id).collect();
        let cancel = |id| {
            self.waiting.remove(&id);
            let cancel = v1::Cancel { question: id };
            core.cancel(id).then_some(v1::ToSpoke { message: Some(to_spoke::Message::Cancel(cancel)) })
        };
        gone.into_iter().filter_map(cancel).collect()
    }

    /// An answer that somebody waits for.
    pub fn answered(&mut self, answered: v1::Answer) {
        if let Some(reply) = self.waiting.remove(&answered.question) {
            let _ = reply.send(read(answered));
        }
    }
}

fn read(answered: v1::Answer) -> Result<Replied, AskError> {
    match answered.answer {
        Some(answer::Answer::Json(json)) if json.len() > ANSWER => {
            Err(AskError::NoGood("it is larger than an answer may be"))
        }
        Some(answer::Answer::Json(json)) => Ok(Replied { json, truncated: answered.truncated }),
        Some(answer::Answer::Refused(why)) => Err(AskError::Refused(why)),
        Some(answer::Answer::Assignment(_)) | None => Err(AskError::NoGood("it is none to this question")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_too_large_or_of_another_kind_is_no_answer() {
        let of = |answer| read(v1::Answer { question: 1, answer, truncated: true });
        assert!(matches!(of(None), Err(AskError::NoGood(_))));
        assert!(matches!(of(Some(answer::Answer::Json(vec![0; ANSWER + 1]))), Err(AskError::NoGood(_))));
        let fits = of(Some(answer::Answer::Json(vec![0; ANSWER]))).expect("an answer");
        assert!(fits.truncated);
        let refused = of(Some(answer::Answer::Refused("no such kind".into())));
        assert_eq!(refused, Err(AskError::Refused("no such kind".into())));
    }
}
