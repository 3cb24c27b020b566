//! Asking: one question of an operator to many clusters at once.
//!
//! In: a filter, a question, who asks. Out: a stream of answers as they come, one for each cluster, in no order.
//! Never: waits for a cluster that is offline, or for any beyond the time limit: it is named instead; goes on when nobody
//! listens; takes the asker's word for their name or role.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use nave_placement::{AppKey, ClusterName};
use nave_proto::v1::{self, ask_answer, question::Question};
use nave_spoke::target::ask::answers::DiffAnswer;
use tokio::time::Instant;
use tonic::Status;

use super::service::{OperatorService, Rooms};
use crate::planning::live::{Inquiry, LivePlan};
use crate::sessions::asking::{AskError, Replied};

/// Clusters that are asked at once: with answers of 512 KiB at most, 32 MiB that may wait for a slow reader.
const AT_ONCE: usize = 64;
/// How long the whole may take, unless the request says otherwise.
const DEFAULT: Duration = Duration::from_secs(10);
/// And at most, as long as a spoke works on a question.
const LONGEST: Duration = Duration::from_secs(60);
/// A spoke shall give up, and say so, before nobody listens any more.
const EARLIER: Duration = Duration::from_millis(500);

/// The answers of many clusters.
pub type Answers = BoxStream<'static, Result<v1::AskAnswer, Status>>;

impl OperatorService {
    /// Asks every cluster of the filter.
    pub(super) fn ask_all(&self, request: v1::AskRequest, asker: v1::Asker) -> Result<Answers, Status> {
        let question = request.question.and_then(|q| q.question).filter(reads_the_cluster);
        let question =
            question.ok_or_else(|| Status::invalid_argument("the request has no question for clusters"))?;
        let (selection, _) = self.selection(request.filter)?;
        let clusters = self.look(|look| look.chosen(&selection));
        let longest = match request.timeout_ms {
            0 => DEFAULT,
            ms => Duration::from_millis(ms).min(LONGEST),
        };
        let until = Instant::now() + longest;
        let asked = v1::Question { id: 0, question: Some(question), asker: Some(asker), timeout_ms: 0 };
        let rooms = self.rooms.clone();
        let each = move |cluster| one(rooms.clone(), cluster, asked.clone(), until, longest);
        Ok(stream::iter(clusters).map(each).buffer_unordered(AT_ONCE).map(Ok).boxed())
    }
}

impl OperatorService {
    /// Asks clusters about what they are to have; gives what each says.
    pub(super) async fn ask_live(
        &self,
        inquiries: Vec<Inquiry>,
        asker: &v1::Asker,
    ) -> Vec<(AppKey, LivePlan)> {
        let until = Instant::now() + DEFAULT;
        let each = |inquiry| live(&self.rooms, inquiry, asker, until);
        stream::iter(inquiries).map(each).buffer_unordered(AT_ONCE).collect().await
    }
}

async fn live(rooms: &Arc<Rooms>, inquiry: Inquiry, asker: &v1::Asker, until: Instant) -> (AppKey, LivePlan) {
    let Inquiry { cluster, app, entry, bundle } = inquiry;
    let bundle = match bundle {
        Ok(bundle) => bundle.to_vec(),
        Err(problem) => {
            return (app, LivePlan { cluster, answer: None, truncated: false, problem: Some(problem) });
        }
    };
    let planned = v1::PlannedEntry { app: Some(nave_proto::app_to_proto(&app)), entry, bundle };
    let question = Some(Question::Planned(planned));
    let asked = v1::Question { id: 0, question, asker: Some(asker.clone()), timeout_ms: 0 };
    let v1::AskAnswer { answer, truncated, .. } =
        one(rooms.clone(), cluster.clone(), asked, until, DEFAULT).await;
    let (answer, problem) = match answer {
        Some(ask_answer::Answer::Json(json)) => match serde_json::from_slice::<DiffAnswer>(&json) {
            Ok(answer) => (Some(answer), None),
            Err(error) => (None, Some(format!("its answer cannot be read: {error}"))),
        },
        Some(ask_answer::Answer::Problem(problem)) => (None, Some(problem)),
        None => (None, Some("it gave no answer".to_owned())),
    };
    (app, LivePlan { cluster, answer, truncated, problem })
}

/// Questions about assignments and reports are the hub's own, and so is what is only planned.
fn reads_the_cluster(question: &Question) -> bool {
    match question {
        Question::Objects(_)
        | Question::Diff(_)
        | Question::Events(_)
        | Question::Logs(_)
        | Question::Adoption(_)
        | Question::Images(_) => true,
        Question::Assignment(_) | Question::Report(_) | Question::Planned(_) => false,
    }
}

async fn one(
    rooms: Arc<Rooms>,
    cluster: ClusterName,
    asked: v1::Question,
    until: Instant,
    longest: Duration,
) -> v1::AskAnswer {
    let left = until.saturating_duration_since(Instant::now());
    let theirs = left.saturating_sub(EARLIER).max(left / 2);
    let timeout_ms = u64::try_from(theirs.as_millis()).unwrap_or(u64::MAX).max(1);
    let answer = match left.is_zero() {
        true => Err(AskError::Late(longest)),
        false => rooms.sessions.ask(&cluster, v1::Question { timeout_ms, ..asked }, left).await,
    };
    let (answer, truncated) = match answer {
        Ok(Replied { json, truncated }) => (ask_answer::Answer::Json(json), truncated),
        // Of the whole time, not of what was left when its turn came.
        Err(AskError::Late(_)) => (ask_answer::Answer::Problem(AskError::Late(longest).to_string()), false),
        Err(error) => (ask_answer::Answer::Problem(error.to_string()), false),
    };
    v1::AskAnswer { cluster: cluster.to_string(), answer: Some(answer), truncated }
}
