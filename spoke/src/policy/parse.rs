//! Parse: the text of a policy becomes a [`Policy`], or one sentence that says what is wrong where.
//!
//! In: YAML. Out: a policy. Never: passes over what it does not know.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::catalog::suggest::did_you_mean;
use serde_json::{Map, Value};

use super::{Policy, Rule};

const FIELDS: [&str; 4] = ["allow", "deny", "maxRemovals", "questions"];
const SUBJECTS: [&str; 3] = ["namespaces", "kinds", "registries"];
/// What may be asked about a cluster; the hub's own questions about assignment and report tell nothing new.
const QUESTIONS: [&str; 6] = ["objects", "diff", "events", "logs", "adoption", "plan"];
const ROLES: [&str; 3] = ["viewer", "operator", "admin"];

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

type Read<T> = Result<T, PolicyError>;

fn wrong<T>(what: impl Into<String>) -> Read<T> {
    Err(PolicyError(what.into()))
}

pub(super) fn read(text: &str) -> Read<Policy> {
    let value: Value = serde_saphyr::from_str(text).map_err(|error| PolicyError(error.to_string()))?;
    let fields = known("the policy", &value, &FIELDS)?;
    let mut policy = Policy::default();
    for (name, value) in fields {
        match name.as_str() {
            "maxRemovals" => {
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                policy.max_removals = Some(number.map_or_else(|| wrong("maxRemovals: it is no number"), Ok)?);
            }
            "questions" => policy.questions = questions(value)?,
            _ => {
                for (subject, patterns) in known(name, value, &SUBJECTS)? {
                    let patterns = words(&format!("{name}.{subject}"), patterns)?;
                    set(&mut policy, name == "deny", subject, patterns);
                }
            }
        }
    }
    Ok(policy)
}

fn set(policy: &mut Policy, denies: bool, subject: &str, patterns: Vec<String>) {
    let rule: &mut Rule = match subject {
        "namespaces" => &mut policy.namespaces,
        "kinds" => &mut policy.kinds,
        _ => &mut policy.registries,
    };
    if denies {
        rule.deny = patterns;
    } else {
        rule.allow = Some(patterns);
    }
}

fn questions(value: &Value) -> Read<BTreeMap<String, BTreeSet<String>>> {
    let mut questions = BTreeMap::new();
    for (question, roles) in known("questions", value, &QUESTIONS)? {
        let at = format!("questions.{question}");
        let roles = words(&at, roles)?;
        if let Some(role) = roles.iter().find(|role| !ROLES.contains(&role.as_str())) {
            return wrong(format!(
                "{at}: {role} is no role{}; roles are {}",
                did_you_mean(role, ROLES),
                ROLES.join(", ")
            ));
        }
        questions.insert(question.clone(), roles.into_iter().collect());
    }
    Ok(questions)
}

/// The fields of a map, each of which must be known. Nothing at all is a map without fields.
fn known<'a>(at: &str, value: &'a Value, valid: &[&'static str]) -> Read<&'a Map<String, Value>> {
    let Some(fields) = value.as_object() else {
        return wrong(format!("{at}: it must have fields ({})", valid.join(", ")));
    };
    match fields.keys().find(|name| !valid.contains(&name.as_str())) {
        Some(name) => wrong(format!(
            "{at}: unknown field {name}{}; fields are {}",
            did_you_mean(name, valid.iter().copied()),
            valid.join(", ")
        )),
        None => Ok(fields),
    }
}

fn words(at: &str, value: &Value) -> Read<Vec<String>> {
    let all: Option<Vec<String>> = value
        .as_array()
        .and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    all.map_or_else(|| wrong(format!("{at}: it must be a list of words")), Ok)
}
