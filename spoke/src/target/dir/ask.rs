//! Ask: answers from the manifests of a directory.
//!
//! In: a question. Out: the objects in the files, whoever wrote them, next to what is wanted.
//! Never: takes a file that cannot be read for an object that is not there.

use std::collections::BTreeMap;

use nave_placement::ObjectKey;
use nave_placement::render::Resolved;
use serde_json::Value;

use super::{Inner, files, unreachable};
use crate::target::TargetError;
use crate::target::ask::plain::{self, There};
use crate::target::ask::{Answer, Inquiry, Question, Refusal};

/// Most files that one question reads; a directory of static manifests has tens.
const FILES: usize = 10_000;

impl Inner {
    pub(super) fn answer(&self, inquiry: &Inquiry) -> Result<Answer, Refusal> {
        let look = |wanted: &Resolved| self.there(wanted).map_err(|error| error.to_string());
        match &inquiry.question {
            Question::Objects(asked) => plain::objects(asked, &inquiry.asker, self.objects()?),
            Question::Diff(_) => plain::diff(inquiry, look),
            Question::Adoption(_) => plain::adoption(inquiry, look),
            Question::Images => Err(Refusal("a directory of manifests does not say what runs".into())),
            Question::Events(_) => Err(Refusal("a directory of manifests has no events".into())),
            Question::Logs(_) => Err(Refusal("a directory of manifests has no logs".into())),
        }
    }

    fn there(&self, wanted: &Resolved) -> Result<Option<There>, TargetError> {
        let name = files::file_name(&wanted.key);
        let Some(found) = self.read(&name)? else { return Ok(None) };
        let ours =
            found.app.is_some() || self.state.written(&name).map_err(unreachable(&self.dir))?.is_some();
        // A file that is no manifest differs in every field.
        Ok(Some(There { live: found.value().unwrap_or_default(), ours }))
    }

    fn objects(&self) -> Result<BTreeMap<ObjectKey, Value>, TargetError> {
        self.is_there()?;
        let listed = std::fs::read_dir(&self.dir).map_err(unreachable(&self.dir))?;
        let mut objects = BTreeMap::new();
        for entry in listed.take(FILES) {
            let name = entry.map_err(unreachable(&self.dir))?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') || !name.ends_with(".yaml") {
                continue;
            }
            let found = self.read(&name)?.and_then(|manifest| manifest.value());
            if let Some((key, object)) = found.and_then(|object| Some((key(&object)?, object))) {
                objects.insert(key, object);
            }
        }
        Ok(objects)
    }
}

fn key(object: &Value) -> Option<ObjectKey> {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str);
    let group = text("/apiVersion")?.split_once('/').map_or("", |(group, _)| group);
    Some(ObjectKey {
        group: group.to_owned(),
        kind: text("/kind")?.to_owned(),
        namespace: text("/metadata/namespace").unwrap_or_default().to_owned(),
        name: text("/metadata/name")?.to_owned(),
    })
}
