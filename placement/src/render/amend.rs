//! Amend: the overrides of a variant change a bundle.
//!
//! In: a rendered bundle, what is done to it. Out: the bundle of the variant, and warnings. Changes of an encrypted object
//! travel in its line, and are made after its cluster opened it.
//! Never: lets a change that cannot be made pass: then there is no bundle, and what runs stays.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::finish::FinishError;
use super::resolve::{IDENTITY, Line, lines, object_key};
use super::sealed::Later;
use super::{Bundle, MAX_BUNDLE_BYTES, Sealed};
use crate::ObjectKey;
use crate::catalog::{ObjectId, Origin, Problem, did_you_mean};
use crate::overrides::{Amendment, Amendments, Change, Image, Images, Merged, template};

/// Changes a bundle of an app. `app` is its name, for messages.
///
/// # Errors
/// Every change that cannot be made, with the place of its override.
pub fn amend(
    app: &str,
    bundle: Bundle,
    amendments: &Amendments,
    substitute: bool,
) -> Result<(Bundle, Vec<Problem>), FinishError> {
    if amendments.changes.is_empty() {
        return Ok((bundle, Vec::new()));
    }
    let read = lines(&bundle.bytes).filter_map(|(_, line)| Some((Line::read(line)?, Images::default())));
    let read = read.collect();
    let mut amending = Amending { app, lines: read, bytes: bundle.bytes.len(), problems: Vec::new() };
    if substitute {
        amending.templates(&amendments.changes);
    }
    for amendment in &amendments.changes {
        match &amendment.change {
            Change::Images(rules) => amending.images(amendment, rules),
            Change::Json(_) | Change::Merge(_) => amending.change(amendment),
        }
        if amending.bytes > MAX_BUNDLE_BYTES {
            return Err(FinishError(vec![amending.too_large(&amendment.by, &amendment.origin)]));
        }
    }
    let last = amendments.changes.last().map(|last| (&last.by, &last.origin));
    amending.finish(&bundle, last)
}

struct Amending<'a> {
    app: &'a str,
    lines: Vec<(Line, Images)>,
    /// Of all lines: what changes make of a few must not fill the memory before somebody counts.
    bytes: usize,
    problems: Vec<Problem>,
}

impl Amending<'_> {
    fn problem(&mut self, amendment: &Amendment, message: String) {
        self.problems.push(Problem::at(&amendment.origin, message).of(Some(&amendment.by)));
    }

    fn too_large(&self, by: &ObjectId, origin: &Origin) -> Problem {
        let message = format!(
            "the manifests of app {} are larger than {} MiB with it; it stays as it was where this override applies",
            self.app,
            MAX_BUNDLE_BYTES >> 20
        );
        Problem::at(origin, message).of(Some(by))
    }

    /// What patches bring in has to be fit for filling too.
    fn templates(&mut self, changes: &[Amendment]) {
        for amendment in changes {
            let content = match &amendment.change {
                Change::Json(patch) => serde_json::to_value(patch).unwrap_or_default(),
                Change::Merge(patch) => patch.clone(),
                Change::Images(_) => continue,
            };
            if let Err(error) = template::uses(&content, &mut template::Uses::new()) {
                self.problem(amendment, format!("the patch cannot be filled in: {error}"));
            }
        }
    }

    fn change(&mut self, amendment: &Amendment) {
        let (mut found, mut errors) = (false, Vec::new());
        let targets = |key: &ObjectKey, manifest: &Value| amendment.target.matches(key, manifest);
        self.lines.retain_mut(|(line, seen)| match line {
            Line::Object(object) => {
                let Some(key) = object_key(object).filter(|key| targets(key, object)) else { return true };
                found = true;
                if self.bytes > MAX_BUNDLE_BYTES {
                    return true;
                }
                let before = size(object);
                match amendment.change.apply(object, seen) {
                    Ok(merged) => {
                        let after = if merged == Merged::Kept { size(object) } else { 0 };
                        self.bytes = self.bytes.saturating_sub(before) + after;
                        merged == Merged::Kept
                    }
                    Err(error) => {
                        errors.push(format!("{key} cannot be patched: {error}"));
                        true
                    }
                }
            }
            Line::Sealed(sealed) => {
                for (at, head) in sealed.objects.iter().enumerate() {
                    let Some(key) = object_key(head).filter(|key| targets(key, head)) else { continue };
                    found = true;
                    let deletes =
                        matches!(&amendment.change, Change::Merge(patch) if patch.get("$patch").is_some());
                    if deletes {
                        errors.push(format!(
                            "{key} is encrypted, and can be neither deleted nor replaced by a patch"
                        ));
                    }
                    sealed.changes.push(Later { object: at, change: amendment.change.clone() });
                }
                true
            }
        });
        for error in errors {
            let message = format!("{error}; app {} stays as it was where this override applies", self.app);
            self.problem(amendment, message);
        }
        if !found {
            self.absent(amendment);
        }
    }

    /// A target that is not there: an error where this app alone was meant.
    fn absent(&mut self, amendment: &Amendment) {
        let Amendment { target, is_meant, .. } = amendment;
        let heads = self.lines.iter().flat_map(|(line, _)| line.heads());
        let alike =
            heads.filter_map(object_key).filter(|key| target.kind.as_ref().is_none_or(|k| *k == key.kind));
        let names: BTreeSet<String> = alike.map(|key| key.name).collect();
        let wanted = target.name.as_deref().unwrap_or_default();
        let suggestion = did_you_mean(wanted, names.iter().map(String::as_str));
        let missing = format!("app {} has no object that the patch targets, {target}{suggestion}", self.app);
        let problem = match is_meant {
            true => format!(
                "{missing}; it stays as it was where this override applies: correct the target, or remove the patch"
            ),
            false => format!("{missing}; nothing is changed there"),
        };
        let problem = Problem::at(&amendment.origin, problem).of(Some(&amendment.by));
        self.problems.push(if *is_meant { problem } else { problem.warning() });
    }

    fn images(&mut self, amendment: &Amendment, rules: &[Image]) {
        let mut used = BTreeSet::new();
        let mut is_hidden = false;
        for (line, seen) in &mut self.lines {
            match line {
                Line::Object(object) => {
                    // It changes texts within containers, and so no identity.
                    _ = amendment.change.apply(object, seen);
                    used.append(&mut seen.used);
                }
                Line::Sealed(sealed) => {
                    let with_pods =
                        |head: &Value| !matches!(head["kind"].as_str(), Some("Secret" | "ConfigMap"));
                    let objects = (0..sealed.objects.len()).filter(|at| with_pods(&sealed.objects[*at]));
                    let later: Vec<Later> =
                        objects.map(|object| Later { object, change: amendment.change.clone() }).collect();
                    is_hidden |= !later.is_empty();
                    sealed.changes.extend(later);
                }
            }
        }
        for Image { name, .. } in rules.iter().filter(|rule| !used.contains(&rule.name)) {
            if !is_hidden {
                let message = format!(
                    "app {} has no image {name:?} in a pod or pod template; nothing is changed there: write the name as the manifest does, without its tag",
                    self.app
                );
                self.problems.push(Problem::at(&amendment.origin, message).of(Some(&amendment.by)).warning());
            }
        }
    }

    fn finish(
        mut self,
        before: &Bundle,
        last: Option<(&ObjectId, &Origin)>,
    ) -> Result<(Bundle, Vec<Problem>), FinishError> {
        let (app, lines) = (self.app, std::mem::take(&mut self.lines));
        let mut problems = std::mem::take(&mut self.problems);
        problems.sort();
        problems.dedup();
        if problems.iter().any(Problem::is_error) {
            return Err(FinishError(problems));
        }
        let mut bytes = Vec::with_capacity(before.bytes.len());
        for (line, _) in lines {
            let line = match line {
                Line::Object(object) => sorted(object),
                Line::Sealed(sealed) => sealed.line(),
            };
            serde_json::to_writer(&mut bytes, &line).expect("writing JSON to memory does not fail");
            bytes.push(b'\n');
        }
        if let (true, Some((by, origin))) = (bytes.len() > MAX_BUNDLE_BYTES, last) {
            return Err(FinishError(vec![self.too_large(by, origin)]));
        }
        let bundle = Bundle::read(bytes).expect("lines that were read and changed");
        if let (true, Some((by, origin))) = (bundle.objects.is_empty(), last) {
            let message = format!(
                "the patches leave no object of app {app}; an app without objects would remove all it has"
            );
            let problem = Problem::at(origin, message).of(Some(by));
            return Err(FinishError(vec![problem]));
        }
        Ok((bundle, problems))
    }
}

/// How long an object is in its line.
fn size(object: &Value) -> usize {
    serde_json::to_vec(object).map(|text| text.len()).unwrap_or_default()
}

/// With sorted keys, whatever order this build's maps have.
pub(super) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields.into_iter().collect();
            Value::Object(fields.into_iter().map(|(key, value)| (key, sorted(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

impl Bundle {
    /// Its objects that are not encrypted, in order.
    pub(crate) fn objects_in_clear(&self) -> impl Iterator<Item = Value> + '_ {
        lines(&self.bytes).filter_map(|(_, line)| match Line::read(line)? {
            Line::Object(object) => Some(object),
            Line::Sealed(_) => None,
        })
    }

    /// The names that its `${…}` use. Encrypted documents are not filled in.
    pub fn uses(&self) -> template::Uses {
        let mut uses = template::Uses::new();
        for (_, line) in lines(&self.bytes) {
            let Some(Line::Object(object)) = Line::read(line) else { continue };
            // What is no template was refused with its place when the bundle was made.
            _ = template::uses(&object, &mut uses);
            for field in IDENTITY {
                let text = object["metadata"].get(field).and_then(Value::as_str).unwrap_or_default();
                _ = template::uses_of_key(text, &mut uses);
            }
        }
        uses
    }
}

impl Sealed {
    /// Makes the changes that waited for it to be opened.
    ///
    /// # Errors
    /// Which cannot be made, in words that tell no value.
    pub(super) fn amend(&self, opened: &mut [Value]) -> Result<(), String> {
        let mut seen = vec![Images::default(); opened.len()];
        for Later { object, change } in &self.changes {
            let Some((opened, seen)) = opened.get_mut(*object).zip(seen.get_mut(*object)) else { continue };
            change.apply(opened, seen).map_err(|error| {
                format!("it was opened, but an override cannot be applied to it: {error}")
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "amend_tests.rs"]
mod tests;
