//! Rules: how an app wants its objects judged, in CEL.
//!
//! In: the rules of a treatment. Out: [`Rules`], compiled once for all objects of a look; a verdict where one matches.
//! Never: lets what cannot be evaluated pass for healthy.

use nave_placement::ObjectKey;
use nave_placement::catalog::{HealthRule, ObjectTarget};
use nave_placement::expression::{EvaluationError, Expression, Values};
use serde_json::Value;

use super::read::{degraded, progressing, text};
use crate::target::Health;

/// The reason while a rule does not hold yet.
const NOT_MET: &str = "RuleNotMet";
/// The reason where a rule cannot be evaluated.
const UNDECIDED: &str = "RuleUndecided";
/// The reason where a rule says that it failed.
const FAILED: &str = "RuleFailed";

/// The rules of an app; empty for most.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    target: ObjectTarget,
    failed: Option<Condition>,
    healthy: Option<Condition>,
}

#[derive(Clone, Debug)]
struct Condition {
    text: String,
    /// A rule that a hub of another version let pass may not be readable here.
    read: Result<Expression, String>,
}

impl Rules {
    /// Reads the rules of an app.
    pub fn read(rules: &[HealthRule]) -> Self {
        let condition = |text: &Option<String>| {
            let text = text.clone()?;
            let read = Expression::parse(&text, &HealthRule::VARIABLES).map_err(|error| error.to_string());
            Some(Condition { text, read })
        };
        let rule = |rule: &HealthRule| Rule {
            target: rule.target.clone(),
            failed: condition(&rule.failed),
            healthy: condition(&rule.healthy),
        };
        Self(rules.iter().map(rule).collect())
    }

    /// The verdict of the first rule that matches; `None` where none does, or it says only what failure is.
    pub fn judge(&self, object: &Value) -> Option<Health> {
        if self.0.is_empty() {
            return None;
        }
        let key = key(object);
        let rule = self.0.iter().find(|rule| rule.target.matches(&key))?;
        let values = Values::default().with("object", object);
        match rule.failed.as_ref().map(|failed| failed.holds(&values)) {
            Some(Ok(true)) => return Some(degraded(FAILED, told(rule.failed.as_ref(), "failed is true"))),
            Some(Err(why)) => return Some(progressing(UNDECIDED, format!("failed: {why}"))),
            Some(Ok(false)) | None => {}
        }
        Some(match rule.healthy.as_ref()?.holds(&values) {
            Ok(true) => Health::healthy(),
            Ok(false) => progressing(NOT_MET, told(rule.healthy.as_ref(), "healthy is not true yet")),
            Err(why) => progressing(UNDECIDED, format!("healthy: {why}")),
        })
    }
}

impl Condition {
    fn holds(&self, values: &Values) -> Result<bool, String> {
        let expression = self.read.as_ref().map_err(Clone::clone)?;
        expression.evaluate(values).map_err(|error: EvaluationError| error.to_string())
    }
}

/// Characters of an expression that a message shows.
const SHOWN: usize = 120;

fn told(condition: Option<&Condition>, what: &str) -> String {
    let text = condition.map(|condition| condition.text.as_str()).unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{what}: {}…", &text[..end]),
        None => format!("{what}: {text}"),
    }
}

/// What identifies an object.
pub(super) fn key(object: &Value) -> ObjectKey {
    ObjectKey {
        group: super::group(object).to_owned(),
        kind: text(object, "/kind").to_owned(),
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: text(object, "/metadata/name").to_owned(),
    }
}
