//! Plain: answers from objects that are at hand, for targets that are no API server.
//!
//! In: every object of the target, or a way to look one up. Out: the same documents as a cluster's.
//! Never: knows more of a kind than its manifests say.

use std::collections::BTreeMap;

use nave_placement::ObjectKey;
use nave_placement::render::{Resolved, SECRET};
use nave_placement::select::Selector;
use serde_json::Value;

use super::answers::{
    AdoptionAnswer, AdoptionState, Column, DiffAnswer, DiffState, ObjectAdoption, ObjectDiff, ObjectsAnswer,
    Row,
};
use super::changes::changes;
use super::managers::managers;
use super::redact::redact;
use super::{Answer, Asker, Budget, Inquiry, MOST_OBJECTS, Objects, Refusal};

/// Short names that kubectl users type.
const SHORT: &[(&str, &str)] = &[
    ("cm", "ConfigMap"),
    ("crd", "CustomResourceDefinition"),
    ("crds", "CustomResourceDefinition"),
    ("cj", "CronJob"),
    ("deploy", "Deployment"),
    ("ds", "DaemonSet"),
    ("hpa", "HorizontalPodAutoscaler"),
    ("ing", "Ingress"),
    ("netpol", "NetworkPolicy"),
    ("ns", "Namespace"),
    ("pdb", "PodDisruptionBudget"),
    ("po", "Pod"),
    ("pv", "PersistentVolume"),
    ("pvc", "PersistentVolumeClaim"),
    ("rs", "ReplicaSet"),
    ("sa", "ServiceAccount"),
    ("sts", "StatefulSet"),
    ("svc", "Service"),
];

/// Whether a kind is meant by what somebody typed.
pub fn is_meant(typed: &str, group: &str, kind: &str) -> bool {
    let typed = typed.to_ascii_lowercase();
    let (name, of_group) = typed.split_once('.').unwrap_or((&typed, ""));
    let kind = kind.to_ascii_lowercase();
    let short = SHORT.iter().any(|(short, long)| *short == name && long.eq_ignore_ascii_case(&kind));
    (of_group.is_empty() || of_group == group) && (short || name == kind || name == plural(&kind))
}

/// The usual plural of a lower-case kind.
fn plural(kind: &str) -> String {
    match kind {
        "endpoints" => kind.to_owned(),
        _ if kind.ends_with(['s', 'x']) || kind.ends_with("ch") => format!("{kind}es"),
        _ => match kind.strip_suffix('y') {
            Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
            _ => format!("{kind}s"),
        },
    }
}

/// Objects of a kind.
///
/// # Errors
/// When the labels are none, or the asker may not see such objects.
pub fn objects(asked: &Objects, asker: &Asker, all: BTreeMap<ObjectKey, Value>) -> Result<Answer, Refusal> {
    let selector: Selector =
        asked.selector.parse().map_err(|e| Refusal(format!("{:?}: {e}", asked.selector)))?;
    if is_meant(&asked.kind, "", "Secret") {
        Refusal::of_secrets(asker)?;
    }
    let mut of_kind =
        all.into_iter().filter(|(key, _)| is_meant(&asked.kind, &key.group, &key.kind)).peekable();
    // Nobody here knows which kinds there are: one that has no objects may be any.
    let mut answer = ObjectsAnswer { kind: asked.kind.clone(), ..ObjectsAnswer::default() };
    if let Some((first, object)) = of_kind.peek() {
        let suffix = if first.group.is_empty() { String::new() } else { format!(".{}", first.group) };
        answer.api_version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
        answer.resource = first.kind.to_ascii_lowercase() + &suffix;
        answer.kind = first.kind.clone();
        answer.namespaced = !first.namespace.is_empty();
        answer.columns = vec![Column { name: "Name".into(), wide: false }];
    }
    let limit = if asked.limit == 0 { MOST_OBJECTS } else { asked.limit.min(MOST_OBJECTS) };
    let mut budget = Budget::default();
    let selected = of_kind.filter(|(key, object)| {
        (asked.namespace.is_empty() || key.namespace == asked.namespace)
            && (asked.name.is_empty() || key.name == asked.name)
            && selector.matches(&labels(object))
    });
    for (count, (key, mut object)) in selected.enumerate() {
        let cells = vec![key.name.clone().into()];
        let row = Row { namespace: key.namespace, name: key.name, cells };
        redact(&mut object);
        if count >= limit || !(if asked.whole { budget.takes(&object) } else { budget.takes(&row) }) {
            budget.truncated = true;
            break;
        }
        if asked.whole { answer.items.push(object) } else { answer.rows.push(row) }
    }
    if asked.whole {
        answer.columns.clear();
    }
    budget.answer(&answer)
}

fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let pairs = labels.into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// What is at the place of a wanted object.
pub struct There {
    /// The object.
    pub live: Value,
    /// Whether we wrote it.
    pub ours: bool,
}

/// What is still encrypted cannot be compared.
fn look_opened(
    wanted: &Resolved,
    look: &impl Fn(&Resolved) -> Result<Option<There>, String>,
) -> Result<Option<There>, String> {
    wanted.sealed.as_ref().map_or_else(|| look(wanted), |why| Err(why.to_string()))
}

/// What applying would change.
///
/// # Errors
/// Never for an object: its problem is in the answer.
pub fn diff(
    inquiry: &Inquiry,
    look: impl Fn(&Resolved) -> Result<Option<There>, String>,
) -> Result<Answer, Refusal> {
    let mut answer = DiffAnswer { objects: inquiry.wanted.len(), ..DiffAnswer::default() };
    let mut budget = Budget::default();
    for wanted in &inquiry.wanted {
        let (state, changes, problem) = match look_opened(wanted, &look) {
            Ok(None) => (DiffState::Absent, Vec::new(), None),
            Ok(Some(there)) => {
                match inquiry.heeded(wanted, changes(&there.live, &wanted.object, &[SECRET])) {
                    same if same.is_empty() => {
                        answer.equal += 1;
                        continue;
                    }
                    changes => (DiffState::Differs, changes, None),
                }
            }
            Err(problem) => (DiffState::Unknown, Vec::new(), Some(problem)),
        };
        let found = ObjectDiff { object: wanted.key.clone(), state, changes, problem };
        if budget.takes(&found) {
            answer.differing.push(found);
        }
    }
    budget.answer(&answer)
}

/// First contact.
///
/// # Errors
/// Never for an object: its problem is in the answer.
pub fn adoption(
    inquiry: &Inquiry,
    look: impl Fn(&Resolved) -> Result<Option<There>, String>,
) -> Result<Answer, Refusal> {
    let mut answer = AdoptionAnswer::default();
    let mut budget = Budget::default();
    for wanted in &inquiry.wanted {
        let of = |state, problem| ObjectAdoption {
            object: wanted.key.clone(),
            state,
            changes: Vec::new(),
            managers: Vec::new(),
            problem,
        };
        let found = match look_opened(wanted, &look) {
            Ok(None) => of(AdoptionState::Absent, None),
            Ok(Some(There { ours: true, .. })) => of(AdoptionState::Ours, None),
            Ok(Some(There { live, .. })) => {
                let changes = inquiry.heeded(wanted, changes(&live, &wanted.object, &[SECRET]));
                let state = if changes.is_empty() { AdoptionState::Equal } else { AdoptionState::Differs };
                ObjectAdoption { changes, managers: managers(&live, ""), ..of(state, None) }
            }
            Err(problem) => of(AdoptionState::Unknown, Some(problem)),
        };
        if budget.takes(&found) {
            answer.objects.push(found);
        }
    }
    budget.answer(&answer)
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_are_meant_as_kubectl_users_type_them() {
        let rows = [
            ("ConfigMap", "", "ConfigMap", true),
            ("configmaps", "", "ConfigMap", true),
            ("cm", "", "ConfigMap", true),
            ("deploy", "apps", "Deployment", true),
            ("deployments.apps", "apps", "Deployment", true),
            ("deployments.extensions", "apps", "Deployment", false),
            ("ingresses", "networking.k8s.io", "Ingress", true),
            ("networkpolicies", "networking.k8s.io", "NetworkPolicy", true),
            ("gateways", "gateway.networking.k8s.io", "Gateway", true),
            ("secret", "", "ConfigMap", false),
        ];
        for (typed, group, kind, expected) in rows {
            assert_eq!(is_meant(typed, group, kind), expected, "{typed}");
        }
    }

    #[test]
    fn objects_are_selected_bounded_and_without_secrets() {
        let object = |kind: &str, name: &str, tier: &str| {
            let key = ObjectKey {
                group: String::new(),
                kind: kind.into(),
                namespace: "shop".into(),
                name: name.into(),
            };
            let value = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": {"tier": tier}}, "data": {"a": "canary"}});
            (key, value)
        };
        let all = || {
            BTreeMap::from([
                object("ConfigMap", "a", "x"),
                object("ConfigMap", "b", "y"),
                object("Secret", "s", "x"),
            ])
        };
        let ask = |kind: &str, selector: &str, limit, whole, role| {
            let asked =
                Objects { kind: kind.into(), selector: selector.into(), limit, whole, ..Objects::default() };
            let asker = Asker { name: "ann".into(), role };
            let answer = objects(&asked, &asker, all())?;
            let told: ObjectsAnswer = serde_json::from_slice(&answer.json).expect("the shape");
            Ok::<_, Refusal>((told, answer.truncated))
        };
        let (all_maps, truncated) = ask("cm", "", 0, false, Role::Viewer).expect("an answer");
        assert_eq!((all_maps.rows.len(), truncated, all_maps.resource.as_str()), (2, false, "configmap"));
        let (few, truncated) = ask("cm", "", 1, false, Role::Viewer).expect("an answer");
        assert_eq!((few.rows.len(), truncated), (1, true));
        let (one, _) = ask("cm", "tier=y", 0, false, Role::Viewer).expect("an answer");
        assert_eq!(one.rows[0].name, "b");
        let (secrets, _) = ask("Secret", "", 0, true, Role::Operator).expect("an answer");
        assert_eq!(secrets.items[0]["data"], json!({"a": "<hidden>"}));
        assert!(ask("secrets", "", 0, false, Role::Viewer).is_err(), "Secrets are not for viewers");
        assert_eq!(ask("widgets", "", 0, false, Role::Admin).expect("an answer").0.rows, []);
    }
}
