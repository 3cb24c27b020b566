//! Ask: what people may want to know of a target, and the shapes of the answers.
//!
//! In: a question, who asks, the objects that the app in question wants. Out: one JSON document, bounded.
//! Never: writes, carries the value of a Secret.
//!
//! | module | in | out |
//! |---|---|---|
//! | `answers` | | the documents, the same for every target |
//! | `redact` | an object | the object without what must stay on the cluster |
//! | `changes` | a live object, the wanted one | the changes between them, and who owns what they touch |
//! | `managers` | a live object | who else looks after it |
//! | `images` | pods | the images that they run |
//! | `plain` | objects that are at hand | answers, for targets that are no API server |

pub mod answers;
pub mod changes;
pub mod images;
pub mod managers;
pub mod plain;
pub mod redact;

use changes::Change;
use nave_placement::AppKey;
use nave_placement::catalog::Treatment;
use nave_placement::render::{Resolved, SECRET};
use nave_proto::limits::ANSWER;
use serde::Serialize;
use serde_json::Value;

use super::TargetError;
use crate::plan::{Ignored, Terms};

/// A question that reads the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Live objects of one kind.
    Objects(Objects),
    /// What applying an app would change.
    Diff(AppKey),
    /// Events about one object.
    Events(About),
    /// The last lines of the logs of a pod, or of a workload's pods.
    Logs(Logs),
    /// First contact with what an app names.
    Adoption(AppKey),
    /// The images that containers run.
    Images,
}

impl Question {
    /// Its kind, in the word that a local policy has for it.
    pub fn kind(&self) -> &'static str {
        match self {
            // Pods say it, which are objects.
            Self::Objects(_) | Self::Images => "objects",
            Self::Diff(_) => "diff",
            Self::Events(_) => "events",
            Self::Logs(_) => "logs",
            Self::Adoption(_) => "adoption",
        }
    }
}

/// Which objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// As kubectl takes it: kind, plural, singular or short name, `.GROUP` behind it where needed.
    pub kind: String,
    /// Empty: all.
    pub namespace: String,
    /// Empty: all.
    pub name: String,
    /// Labels, as `kubectl -l` takes them.
    pub selector: String,
    /// Most objects; 0: [`MOST_OBJECTS`].
    pub limit: usize,
    /// Whole objects; otherwise what a table needs.
    pub whole: bool,
}

/// One object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// As in [`Objects`].
    pub kind: String,
    /// Empty: none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Which lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// A pod, or a workload that selects pods; without a kind a pod.
    pub about: About,
    /// Empty: all.
    pub container: String,
    /// Of each container; 0: [`LINES`].
    pub lines: usize,
    /// Of the container before its last restart.
    pub previous: bool,
}

/// What an asker may do at the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Changes what runs.
    Operator,
    /// Changes who may.
    Admin,
}

impl Role {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// Who asks, as the hub authenticated them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Their name.
    pub name: String,
    /// Their role.
    pub role: Role,
}

/// A question with all that a target needs for its answer.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// What is asked.
    pub question: Question,
    /// Who asks.
    pub asker: Asker,
    /// The objects of the app that is asked about, as it wants them; empty where the question names no app.
    pub wanted: Vec<Resolved>,
    /// How that app's objects are treated.
    pub treatment: Treatment,
}

impl Inquiry {
    /// Changes of an object without those of fields that the app leaves to others.
    pub fn heeded(&self, wanted: &Resolved, mut changes: Vec<Change>) -> Vec<Change> {
        let ignored = match Terms::of(&self.treatment, wanted).map(|terms| terms.ignored) {
            Ok(Ignored::Whole) => return Vec::new(),
            Ok(Ignored::Fields(fields)) => fields,
            // Applying it is refused with the same words; here all is shown.
            Err(_) => Vec::new(),
        };
        for field in &ignored {
            let is_of = |path: &str| {
                path.strip_prefix(field.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            changes.retain(|change| !is_of(&change.path));
        }
        changes
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The document: one of [`answers`], by the question.
    pub json: Vec<u8>,
    /// There is more than fits the bounds.
    pub truncated: bool,
}

/// Why there is no answer, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Self {
        Self(error.to_string())
    }
}

impl Refusal {
    /// Objects that hold secrets are not for everybody, even without their values.
    pub fn of_secrets(asker: &Asker) -> Result<(), Self> {
        if asker.role >= Role::Operator {
            return Ok(());
        }
        Err(Self(format!("{} is a viewer; Secrets are for operators, even without their values", asker.name)))
    }
}

/// Most objects of one answer, unless the question names fewer.
pub const MOST_OBJECTS: usize = 500;
/// Lines of a container's log, unless the question names another number.
pub const LINES: usize = 50;
/// Events about an object.
pub const EVENTS: usize = 50;

/// How many bytes an answer may still take: the limit of the wire, less what the document itself takes around its items.
#[derive(Debug)]
pub struct Budget {
    left: usize,
    /// Something did not fit.
    pub truncated: bool,
}

/// Names, columns, brackets: a wide table's header has less than half of it.
const AROUND: usize = 8 << 10;

impl Default for Budget {
    fn default() -> Self {
        Self { left: ANSWER - AROUND, truncated: false }
    }
}

impl Budget {
    /// Whether an item still fits; from the first that does not, none does.
    pub fn takes(&mut self, item: &impl Serialize) -> bool {
        let size = serde_json::to_vec(item).map_or(usize::MAX, |json| json.len() + 1);
        self.truncated |= size > self.left;
        if !self.truncated {
            self.left -= size;
        }
        !self.truncated
    }

    /// The answer with what did fit.
    ///
    /// # Errors
    /// When it cannot be JSON.
    pub fn answer(self, document: &impl Serialize) -> Result<Answer, Refusal> {
        let json = serde_json::to_vec(document).map_err(|e| Refusal(format!("no JSON: {e}")))?;
        Ok(Answer { json, truncated: self.truncated })
    }
}

/// Whether nobody would see a difference between two objects: what says that one is a secret is none.
pub fn is_equal(live: &Value, wanted: &Value) -> bool {
    changes::changes(live, wanted, &[SECRET]).is_empty()
}

/// Stands for a value that may not leave the cluster.
pub const HIDDEN: &str = "<hidden>";
/// Stands for such a value where it differs.
pub const CHANGED: &str = "<changed>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_says_that_something_did_not_fit_and_never_takes_more() {
        let mut budget = Budget::default();
        let item = "x".repeat(100 << 10);
        let taken = (0..10).filter(|_| budget.takes(&item)).count();
        assert_eq!(taken, 5);
        assert!(budget.truncated && !budget.takes(&""), "nothing after a gap");
    }

    #[test]
    fn fields_that_are_left_to_others_are_no_difference() {
        let change = |path: &str| Change {
            op: changes::Operation::Add,
            path: path.to_owned(),
            live: None,
            wanted: None,
            manager: None,
        };
        let ignore = serde_json::json!({"ignore": [{"target": {"kind": "Deployment"}, "fields": ["/spec/replicas", "/spec/template"]}]});
        let inquiry = Inquiry {
            question: Question::Diff("web".parse().expect("a name")),
            asker: Asker { name: "ann".into(), role: Role::Viewer },
            wanted: Vec::new(),
            treatment: serde_json::from_value(ignore).expect("a treatment"),
        };
        let paths = ["/spec/replicas", "/spec/template/spec", "/spec/replicasMore", "/spec"];
        let left = |kind: &str| {
            let key = nave_placement::ObjectKey {
                group: "apps".into(),
                kind: kind.into(),
                namespace: "x".into(),
                name: "x".into(),
            };
            let object = serde_json::json!({"kind": kind, "metadata": {"name": "x"}});
            let wanted = Resolved { key, object: object.into(), served: true, sealed: None };
            let heeded = inquiry.heeded(&wanted, paths.iter().map(|path| change(path)).collect());
            heeded.into_iter().map(|change| change.path).collect::<Vec<_>>()
        };
        assert_eq!(left("Deployment"), ["/spec/replicasMore", "/spec"]);
        assert_eq!(left("StatefulSet").len(), 4);
    }

    #[test]
    fn secrets_are_not_for_viewers() {
        let asker = |role| Asker { name: "eve".into(), role };
        let refused = Refusal::of_secrets(&asker(Role::Viewer)).expect_err("refused");
        assert!(refused.to_string().starts_with("eve is a viewer"), "{refused}");
        assert!(Refusal::of_secrets(&asker(Role::Operator)).is_ok());
    }
}
