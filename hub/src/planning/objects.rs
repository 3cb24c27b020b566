//! Objects: how the manifests of two bundles differ.
//!
//! In: two bundles with the options of their entries. Out: an [`ObjectPlan`] for each object that differs, `${…}` as they are written.
//! Never: tells a value of a Secret; shows more than a budget of bytes.

use std::collections::BTreeMap;

use nave_placement::assign::{AppForm, Entry};
use nave_placement::catalog::{Mode, OnRemove, Treatment};
use nave_placement::overrides::template::{Uses, uses};
use nave_placement::render::{Open, Resolved, resolve_opened};
use nave_placement::{Digest, ObjectKey};
use nave_spoke::plan::{Terms, is_kept};
use nave_spoke::target::ask::redact::{is_secret, redact};
use nave_spoke::target::ask::{CHANGED, HIDDEN};
use serde_json::Value;

use super::shelf::Shelf;
use super::view::{ObjectChange, ObjectPlan};
use crate::git::lines::unified;
use crate::operator::Assumed;

/// Bytes of the diff of one object.
const DIFF: usize = 32 << 10;
/// Bytes of all diffs of a plan.
pub const DIFFS: usize = 4 << 20;
/// What stands for the content of an encrypted document.
const ENCRYPTED: &str = "encrypted, and differs";
/// What stands where a stored bundle has no values of Secrets.
pub const NOT_COMPARED: &str = "<not compared>";

/// What may still be shown.
pub struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(DIFFS)
    }
}

impl Budget {
    /// So much of a diff as there is room for, cut at a line.
    fn cut(&mut self, diff: String) -> String {
        let room = DIFF.min(self.0);
        if diff.len() <= room {
            self.0 -= diff.len();
            return diff;
        }
        let end = diff[..floor(&diff, room)].rfind('\n').map_or(0, |at| at + 1);
        self.0 -= end;
        let left = diff[end..].lines().count();
        let lines = if left == 1 { "line" } else { "lines" };
        format!("{}… {left} more {lines}\n", &diff[..end])
    }
}

/// The last boundary of a character that is not above a number of bytes.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Objects of a bundle; of an encrypted one, `sealed` is the digest of its content.
type Manifests = BTreeMap<ObjectKey, Resolved>;

/// How the objects of an entry change.
///
/// # Errors
/// Why they cannot be compared, for people.
pub fn compare(
    shelf: &Shelf<'_>,
    from: Option<&AppForm>,
    to: Option<&AppForm>,
    with_created: bool,
    budget: &mut Budget,
) -> Result<Vec<ObjectPlan>, String> {
    if to.or(from).is_some_and(|form| form.options.treatment.mode == Mode::Observe) {
        return Err("the app's mode is Observe, so nothing of it is written".to_owned());
    }
    let read =
        |form: Option<&AppForm>| form.map_or_else(|| Ok(Manifests::new()), |form| manifests(shelf, form));
    let (before, after) = (read(from)?, read(to)?);
    let stays = match (from, to) {
        (_, Some(to)) => !to.options.prune,
        (Some(from), None) => from.options.on_remove == OnRemove::Orphan,
        (None, None) => true,
    };
    let treatment = from.map(|from| &from.options.treatment);
    let mut plans = Vec::new();
    for key in before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))) {
        let (change, diff) = match (before.get(key), after.get(key)) {
            (Some(old), None) => match !stays && treatment.is_some_and(|treatment| is_pruned(treatment, old))
            {
                true => (ObjectChange::Deleted, String::new()),
                false => (ObjectChange::Left, String::new()),
            },
            (None, Some(new)) if with_created => (ObjectChange::Created, created(&new.object)),
            (None, Some(_)) => (ObjectChange::Created, String::new()),
            (Some(old), Some(new)) => match changed(old, new) {
                Some(change) => change,
                None => continue,
            },
            (None, None) => continue,
        };
        let ObjectKey { group, kind, namespace, name } = key.clone();
        plans.push(ObjectPlan { change, group, kind, namespace, name, diff: budget.cut(diff) });
    }
    plans.sort_by(|a, b| {
        (a.change, &a.kind, &a.namespace, &a.name).cmp(&(b.change, &b.kind, &b.namespace, &b.name))
    });
    Ok(plans)
}

/// The objects of a form.
fn manifests(shelf: &Shelf<'_>, form: &AppForm) -> Result<Manifests, String> {
    let bytes = shelf.bytes(&form.bundle);
    let bytes = bytes.ok_or_else(|| format!("bundle {} is not at hand", form.bundle.short()))?;
    let mut options = form.options.clone();
    options.substitute = false;
    options.share = None;
    let entry = Entry {
        bundle: form.bundle,
        values: BTreeMap::new(),
        options,
        version: form.version,
        commit: form.commit.clone(),
        source_at: None,
        objects: 0,
        drops: 0,
        drops_cause: None,
        drops_of: None,
        at_once: false,
    };
    // What is encrypted is told apart by its text, and stays closed.
    let closed: &Open<'_> = &|sealed| {
        let json = serde_json::to_vec(sealed).unwrap_or_default();
        Err(Digest::of(&json).to_string())
    };
    let resolved = resolve_opened(&bytes, &entry, &Assumed, closed).map_err(|error| error.to_string())?;
    Ok(resolved.into_iter().map(|resolved| (resolved.key.clone(), resolved)).collect())
}

/// Whether an object is deleted when it leaves its app, as the spoke sees it.
fn is_pruned(treatment: &Treatment, object: &Resolved) -> bool {
    // What its annotations say wrongly is refused before anything is removed.
    let said = Terms::of(treatment, object).ok().and_then(|terms| terms.prune);
    said.unwrap_or(!is_kept(&object.key))
}

/// The names of `${…}` that Secrets of a form use; `None` where that cannot be told.
pub fn used_by_secrets(shelf: &Shelf<'_>, form: &AppForm) -> Option<Uses> {
    let mut names = Uses::new();
    for manifest in manifests(shelf, form).ok()?.values().filter(|manifest| is_secret(&manifest.object)) {
        // What is no template was refused when the bundle was made.
        _ = uses(&manifest.object, &mut names);
    }
    Some(names)
}

fn created(object: &Value) -> String {
    let mut object = object.clone();
    redact(&mut object);
    unified("", &yaml(&object))
}

/// How an object becomes another; `None` where it is the same.
fn changed(old: &Resolved, new: &Resolved) -> Option<(ObjectChange, String)> {
    if old.object == new.object && old.sealed == new.sealed {
        return None;
    }
    let (mut before, mut after) = ((*old.object).clone(), (*new.object).clone());
    redact(&mut before);
    redact(&mut after);
    let mut hidden = Hidden::default();
    hidden.mark(&old.object, &new.object, &mut before, &mut after);
    let diff = unified(&yaml(&before), &yaml(&after));
    if old.sealed != new.sealed && old.sealed.is_some() && new.sealed.is_some() {
        return Some((ObjectChange::Changed, format!("{diff}~ {ENCRYPTED}\n")));
    }
    match (diff.is_empty(), hidden.is_unknown) {
        (false, _) => Some((ObjectChange::Changed, diff)),
        (true, true) => Some((ObjectChange::Unknown, format!("{NOT_COMPARED}\n"))),
        (true, false) => None,
    }
}

/// What is found of values that may not be shown.
#[derive(Default)]
struct Hidden {
    /// Nobody knows whether some of them differ.
    is_unknown: bool,
}

impl Hidden {
    /// Says of each whether it differs, or that nobody knows.
    fn mark(&mut self, old: &Value, new: &Value, before: &mut Value, after: &mut Value) {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => {
                for (name, after) in after.iter_mut() {
                    if let (Some(before), Some(old), Some(new)) =
                        (before.get_mut(name), old.get(name), new.get(name))
                    {
                        self.mark(old, new, before, after);
                    }
                }
            }
            (Value::Array(before), Value::Array(after)) => {
                for (index, (before, after)) in before.iter_mut().zip(after.iter_mut()).enumerate() {
                    if let (Some(old), Some(new)) = (old.get(index), new.get(index)) {
                        self.mark(old, new, before, after);
                    }
                }
            }
            (before, after) if is_hidden(before) && is_hidden(after) => {
                if is_lacking(old) || is_lacking(new) {
                    self.is_unknown = true;
                    *before = NOT_COMPARED.into();
                    *after = NOT_COMPARED.into();
                } else if old != new {
                    *after = CHANGED.into();
                }
            }
            _ => {}
        }
    }
}

/// Whether a snapshot has taken a value away.
fn is_lacking(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with(NOT_COMPARED))
}

fn is_hidden(value: &Value) -> bool {
    value.as_str() == Some(HIDDEN)
}

fn yaml(object: &Value) -> String {
    // A value that was JSON is YAML too.
    serde_saphyr::to_string(object).unwrap_or_else(|_| format!("{object}\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(object: Value) -> Resolved {
        let name = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (group, kind) = (String::new(), name("/kind"));
        let key =
            ObjectKey { group, kind, namespace: name("/metadata/namespace"), name: name("/metadata/name") };
        Resolved { key, object: object.into(), served: true, sealed: None }
    }

    fn diff(old: Value, new: Value) -> Option<(ObjectChange, String)> {
        changed(&resolved(old), &resolved(new))
    }

    #[test]
    fn of_a_secret_it_is_told_which_keys_change_and_no_value() {
        let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data});
        let old = secret(json!({"same": "Y2FuYXJ5", "other": "Y2FuYXJ5", "gone": "Y2FuYXJ5"}));
        let new = secret(json!({"same": "Y2FuYXJ5", "other": "b3RoZXI=", "come": "b3RoZXI="}));
        let (_, told) = diff(old.clone(), new).expect("it differs");
        for expected in
            ["-  other: <hidden>", "+  other: <changed>", "-  gone: <hidden>", "+  come: <hidden>"]
        {
            assert!(told.replace(['\'', '"'], "").contains(expected), "{expected}: {told}");
        }
        assert!(!told.contains("Y2Fu") && !told.contains("b3Ro"), "{told}");
        assert_eq!(diff(old.clone(), old), None);
    }

    #[test]
    fn values_that_a_snapshot_lacks_are_not_compared() {
        let secret = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": value}});
        let unknown = Some((ObjectChange::Unknown, "<not compared>\n".to_owned()));
        assert_eq!(diff(secret(NOT_COMPARED), secret("Y2FuYXJ5")), unknown);
        assert_eq!(diff(secret("<not compared>${parameters.pw}"), secret("${parameters.pw}")), unknown);
        let mut more = secret("Y2FuYXJ5");
        more["data"]["b"] = "Y2FuYXJ5".into();
        let (change, told) = diff(secret(NOT_COMPARED), more).expect("it differs");
        assert!(change == ObjectChange::Changed && told.contains("<not compared>"), "{told}");
        assert!(!told.contains("Y2Fu"), "{told}");
    }

    #[test]
    fn what_outlives_its_app_is_not_told_to_be_deleted() {
        let object = |kind: &str, prune: Option<&str>| {
            let mut object =
                json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "annotations": {}}});
            if let Some(prune) = prune {
                object["metadata"]["annotations"]["nave.dev/prune"] = prune.into();
            }
            resolved(object)
        };
        let rows = [
            ("ConfigMap", None, true),
            ("ConfigMap", Some("false"), false),
            ("Namespace", None, false),
            ("Namespace", Some("true"), true),
        ];
        for (kind, prune, expected) in rows {
            assert_eq!(is_pruned(&Treatment::default(), &object(kind, prune)), expected, "{kind} {prune:?}");
        }
    }

    #[test]
    fn a_long_diff_is_cut_at_a_line_and_says_so() {
        let mut budget = Budget(10);
        assert_eq!(budget.cut("+ aä\n".into()), "+ aä\n");
        assert_eq!(budget.cut("+ b\n+ c\n".into()), "+ b\n… 1 more line\n");
        assert_eq!(budget.cut("+ d\n".into()), "… 1 more line\n");
    }
}
