//! Wire: questions from protobuf, answers to it.
//!
//! In: a message of the hub. Out: the question and who asks; an answer that fits the wire.
//! Never: guesses a role that it does not know.

use nave_proto::limits::ANSWER;
use nave_proto::v1::{self, answer, question};

use crate::target::ask::{About, Answer, Asker, Logs, Objects, Question, Refusal, Role};

/// What is asked, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What.
    pub question: Question,
    /// By whom.
    pub asker: Asker,
    /// Not about what is accepted, but about this.
    pub planned: Option<Planned>,
}

/// An entry that is only planned, and its bundle, zstd.
#[derive(Clone, PartialEq, Eq)]
pub struct Planned {
    /// As an assignment has it.
    pub entry: Vec<u8>,
    /// What it names.
    pub bundle: Vec<u8>,
}

/// What is planned may be a secret.
impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planned").finish_non_exhaustive()
    }
}

impl Asked {
    /// The words that a local policy has for it; all of them have to be allowed. A plan leads to objects that nobody assigned.
    pub fn kinds(&self) -> Vec<&'static str> {
        match self.planned {
            Some(_) => vec!["plan", "diff", "objects"],
            None => vec![self.question.kind()],
        }
    }
}

/// Reads a question.
///
/// # Errors
/// When it is nothing that this version knows, or not for this role.
pub fn question(asked: v1::Question) -> Result<Asked, Refusal> {
    let from = asked.asker.unwrap_or_default();
    let role = match from.role.as_str() {
        "admin" => Role::Admin,
        "operator" => Role::Operator,
        "viewer" => Role::Viewer,
        other => return Err(Refusal(format!("this spoke does not know what {other:?} may ask"))),
    };
    let about = |kind, namespace, name| About { kind, namespace, name };
    let mut planned = None;
    let question = match asked.question {
        Some(question::Question::Objects(asked)) => {
            let v1::LiveObjects { kind, namespace, name, selector, limit, whole } = asked;
            Question::Objects(Objects { kind, namespace, name, selector, limit: limit as usize, whole })
        }
        Some(question::Question::Diff(asked)) => Question::Diff(app(asked.app)?),
        Some(question::Question::Planned(asked)) if role >= Role::Operator => {
            let v1::PlannedEntry { app: key, entry, bundle } = asked;
            planned = Some(Planned { entry, bundle });
            Question::Diff(app(key)?)
        }
        Some(question::Question::Planned(_)) => {
            return Err(Refusal(format!(
                "a plan is compared for operators, and {} is {}",
                from.name,
                role.name()
            )));
        }
        Some(question::Question::Adoption(asked)) => Question::Adoption(app(asked.app)?),
        Some(question::Question::Events(v1::ObjectEvents { kind, namespace, name })) => {
            Question::Events(about(kind, namespace, name))
        }
        Some(question::Question::Logs(asked)) => {
            let v1::ObjectLogs { kind, namespace, name, container, lines, previous } = asked;
            Question::Logs(Logs {
                about: about(kind, namespace, name),
                container,
                lines: lines as usize,
                previous,
            })
        }
        Some(question::Question::Images(v1::RunningImages {})) => Question::Images,
        Some(question::Question::Assignment(_) | question::Question::Report(_)) | None => {
            return Err(Refusal("this version of the spoke does not know the question".into()));
        }
    };
    Ok(Asked { question, asker: Asker { name: from.name, role }, planned })
}

fn app(key: Option<v1::AppKey>) -> Result<nave_placement::AppKey, Refusal> {
    let key = key.ok_or_else(|| Refusal("the question names no app".into()))?;
    nave_proto::app_from_proto(&key).map_err(|error| Refusal(error.to_string()))
}

/// The message of an answer; one that is too large for the wire becomes words.
pub fn answer(question: u64, answered: Result<Answer, Refusal>) -> v1::Answer {
    let truncated = answered.as_ref().is_ok_and(|answer| answer.truncated);
    let answer = match answered {
        Ok(answer) if answer.json.len() <= ANSWER => answer::Answer::Json(answer.json),
        Ok(answer) => {
            let size = answer.json.len() >> 10;
            answer::Answer::Refused(format!(
                "the answer has {size} KiB, more than the {} KiB that travel",
                ANSWER >> 10
            ))
        }
        Err(Refusal(why)) => answer::Answer::Refused(why),
    };
    v1::Answer { question, answer: Some(answer), truncated }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_without_a_known_role_and_no_unknown_question_is_answered() {
        let objects =
            question::Question::Objects(v1::LiveObjects { kind: "cm".into(), ..Default::default() });
        let asker = |role: &str| Some(v1::Asker { name: "ann".into(), role: role.into() });
        let asked = |question: Option<question::Question>, asker| v1::Question {
            id: 1,
            question,
            asker,
            timeout_ms: 0,
        };
        let known = question(asked(Some(objects.clone()), asker("viewer"))).expect("known");
        assert_eq!(known.asker, Asker { name: "ann".into(), role: Role::Viewer });
        assert_eq!(known.kinds(), ["objects"]);
        assert!(matches!(known.question, Question::Objects(Objects { kind, .. }) if kind == "cm"));
        let app = Some(v1::AppKey { catalog: "main".into(), name: "web".into() });
        let planned = v1::PlannedEntry { app, entry: vec![1], bundle: vec![2] };
        let planned = |role| question(asked(Some(question::Question::Planned(planned.clone())), asker(role)));
        assert_eq!(planned("operator").expect("known").kinds(), ["plan", "diff", "objects"]);
        assert_eq!(
            planned("viewer").expect_err("refused").0,
            "a plan is compared for operators, and ann is viewer"
        );
        for wrong in [
            asked(Some(objects.clone()), asker("root")),
            asked(Some(objects), None),
            asked(None, asker("admin")),
            asked(Some(question::Question::Diff(v1::EntryDiff::default())), asker("admin")),
            asked(Some(question::Question::Report(v1::WholeReport {})), asker("admin")),
        ] {
            assert!(question(wrong.clone()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_does_not_fit_the_wire_is_refused_in_words() {
        let large = answer(7, Ok(Answer { json: vec![b'x'; ANSWER + 1], truncated: true }));
        assert!(matches!(large.answer, Some(answer::Answer::Refused(why)) if why.contains("512 KiB")));
        let fits = answer(7, Ok(Answer { json: vec![b'x'; ANSWER], truncated: true }));
        assert!(matches!(fits.answer, Some(answer::Answer::Json(_))) && fits.truncated && fits.question == 7);
    }
}
