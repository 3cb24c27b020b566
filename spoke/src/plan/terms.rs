//! Terms: how one object is treated, after its app's options and its own annotations.
//!
//! In: an app's [`Treatment`], an object as the manifest has it. Out: [`Terms`], or which annotation cannot be read.
//! Never: looks at what is on a cluster.
//!
//! | annotation | says |
//! |---|---|
//! | `nave.dev/ignore` | fields that are written once, when the object is made, and then left to others: JSON pointers, separated by commas; `*` or `true` for the whole object |
//! | `nave.dev/adopt` | `Never`, `IfEqual` or `Always`, for this object |
//! | `nave.dev/prune` | `"false"`: it stays when it leaves the app; `"true"`: it is deleted then, even if it is of a kind that is otherwise kept |

use nave_placement::catalog::{Adopt, Conflicts, Drift, Mode, OnImmutable, Treatment};
use nave_placement::render::Resolved;
use serde_json::Value;

/// Fields, or all, that are left to others.
pub const IGNORE: &str = "nave.dev/ignore";
/// What happens at first contact.
pub const ADOPT: &str = "nave.dev/adopt";
/// Whether it is deleted when it leaves the app.
pub const PRUNE: &str = "nave.dev/prune";

/// What says which object it is cannot be left out.
const IDENTITY: &[&str] = &["/apiVersion", "/kind", "/metadata", "/metadata/name", "/metadata/namespace"];

/// What of an object is left to others once it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// These fields, as JSON pointers; often none.
    Fields(Vec<String>),
    /// All of it.
    Whole,
}

/// How one object is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether anything is written.
    pub mode: Mode,
    /// First contact.
    pub adopt: Adopt,
    /// Fields that cannot be changed.
    pub on_immutable: OnImmutable,
    /// Fields of others.
    pub conflicts: Conflicts,
    /// Foreign changes of ours.
    pub drift: Drift,
    /// What is left to others.
    pub ignored: Ignored,
    /// What the object says of its own removal.
    pub prune: Option<bool>,
}

impl Terms {
    /// Of an object of an app.
    ///
    /// # Errors
    /// A sentence about an annotation that means nothing.
    pub fn of(treatment: &Treatment, object: &Resolved) -> Result<Self, String> {
        let said = |name: &str| annotation(&object.object, name);
        let adopt = match said(ADOPT) {
            None => treatment.adopt,
            Some("Never") => Adopt::Never,
            Some("IfEqual") => Adopt::IfEqual,
            Some("Always") => Adopt::Always,
            Some(other) => return Err(bad(ADOPT, other, "Never, IfEqual or Always")),
        };
        let prune = match said(PRUNE) {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => return Err(bad(PRUNE, other, "\"true\" or \"false\"")),
        };
        let of_app = treatment.ignore.iter().filter(|ignore| ignore.target.matches(&object.key));
        let mut fields: Vec<String> = of_app.flat_map(|ignore| ignore.fields.iter().cloned()).collect();
        let mut ignored = None;
        match said(IGNORE).map(str::trim) {
            None | Some("" | "false") => {}
            Some("*" | "true") => ignored = Some(Ignored::Whole),
            Some(pointers) => {
                for pointer in pointers.split(',').map(str::trim) {
                    if !pointer.starts_with('/') || pointer.len() < 2 || IDENTITY.contains(&pointer) {
                        return Err(bad(IGNORE, pointer, "JSON pointers such as /spec/replicas, or *"));
                    }
                    fields.push(pointer.to_owned());
                }
            }
        }
        fields.sort();
        fields.dedup();
        Ok(Self {
            mode: treatment.mode,
            adopt,
            on_immutable: treatment.on_immutable,
            conflicts: treatment.conflicts,
            drift: treatment.drift,
            ignored: ignored.unwrap_or(Ignored::Fields(fields)),
            prune,
        })
    }

    /// Ignored fields; none where all is ignored.
    pub fn ignored_fields(&self) -> &[String] {
        match &self.ignored {
            Ignored::Fields(fields) => fields,
            Ignored::Whole => &[],
        }
    }

    /// Ignores one more field.
    pub fn ignore(&mut self, pointer: &str) {
        if let Ignored::Fields(fields) = &mut self.ignored
            && !fields.iter().any(|field| field == pointer)
        {
            fields.push(pointer.to_owned());
        }
    }
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(name)?.as_str()
}

fn bad(name: &str, value: &str, instead: &str) -> String {
    format!("annotation {name}: {value:?} means nothing here; say {instead}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_placement::ObjectKey;
    use nave_placement::catalog::{Ignore, ObjectTarget};
    use serde_json::json;

    fn terms(treatment: &Treatment, annotations: Value) -> Result<Terms, String> {
        let key = ObjectKey {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: "d".into(),
            name: "web".into(),
        };
        let object = json!({"metadata": {"annotations": annotations}});
        Terms::of(treatment, &Resolved { key, object: object.into(), served: true, sealed: None })
    }

    #[test]
    fn an_objects_annotations_say_more_than_its_apps_options() {
        let target = |kind: &str| ObjectTarget { kind: Some(kind.into()), ..ObjectTarget::default() };
        let ignore = |kind: &str, field: &str| Ignore { target: target(kind), fields: vec![field.into()] };
        let treatment = Treatment {
            adopt: Adopt::Always,
            ignore: vec![ignore("Deployment", "/spec/replicas"), ignore("Service", "/spec/type")],
            ..Treatment::default()
        };
        let plain = terms(&treatment, json!({})).expect("readable");
        assert_eq!((plain.adopt, plain.prune), (Adopt::Always, None));
        assert_eq!(plain.ignored_fields(), ["/spec/replicas"]);
        let own = json!({ADOPT: "Never", PRUNE: "false", IGNORE: "/spec/paused, /spec/replicas"});
        let own = terms(&treatment, own).expect("readable");
        assert_eq!((own.adopt, own.prune), (Adopt::Never, Some(false)));
        assert_eq!(own.ignored_fields(), ["/spec/paused", "/spec/replicas"]);
        for all in ["*", "true"] {
            assert_eq!(terms(&treatment, json!({IGNORE: all})).expect("readable").ignored, Ignored::Whole);
        }
    }

    #[test]
    fn an_annotation_that_means_nothing_is_named_and_not_guessed_at() {
        for (name, value) in
            [(ADOPT, "always"), (PRUNE, "no"), (IGNORE, "spec/replicas"), (IGNORE, "/"), (IGNORE, "/kind")]
        {
            let said = terms(&Treatment::default(), json!({name: value})).expect_err("refused");
            assert!(said.contains(name) && said.contains(value), "{said}");
        }
    }
}
