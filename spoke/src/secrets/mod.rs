//! Secrets: opens SOPS documents on their cluster, for one round at a time.
//!
//! In: sealed documents, age identities from a file, a Secret, or made here. Out: objects in clear, for one round; the
//! recipient that people encrypt to. Never: stores, logs or reports a value; makes a key while another may be there that
//! could not be looked at.
//!
//! | module | in | out |
//! |---|---|---|
//! | `keys` | a file, a Secret, the state | identities |
//! | `bech32`, `age` | keys as text, wrapped data keys | data keys |
//! | `sops` | documents, identities | objects, or why not |
//! | `scrub` | what was opened, messages | messages without it |
//!
//! A value is in memory from its resolution to the end of the round. Keys and decrypted buffers are wiped; the objects
//! made of them, which the target sends on, are freed.

mod age;
mod bech32;
mod keys;
mod scrub;
mod sops;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use nave_placement::fleet::Fact;
use nave_placement::render::Sealed;
use nave_placement::report::EntryReport;
use serde_json::Value;

use crate::apply::Opener;
use crate::state::State;
use crate::target::Target;
use age::Identity;
use scrub::Values;

/// The identities of this spoke.
pub struct Secrets {
    state: Arc<State>,
    /// Where a key was given on the command line.
    file: Option<PathBuf>,
    /// The first one's recipient is what people encrypt to; the others still open what is older.
    identities: RwLock<Arc<[Identity]>>,
}

impl Secrets {
    /// Knows no identity before the first [`Secrets::refresh`].
    pub fn new(state: Arc<State>, file: Option<PathBuf>) -> Self {
        Self { state, file, identities: RwLock::new(Arc::new([])) }
    }

    fn identities(&self) -> Arc<[Identity]> {
        self.identities.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for identities again. What cannot be looked at now leaves them as they are.
    pub async fn refresh(&self, target: &dyn Target) {
        if let Some(found) = keys::find(&self.state, self.file.as_deref(), target).await {
            let mut known = self.identities.write().unwrap_or_else(PoisonError::into_inner);
            if known.first() != found.first()
                && let Some(first) = found.first()
            {
                tracing::info!(
                    recipient = first.recipient(),
                    "secrets for this cluster are encrypted to this recipient"
                );
            }
            *known = found.into();
        }
    }

    /// Whom to encrypt to.
    pub fn recipient(&self) -> Fact<String> {
        self.identities().first().map_or(Fact::Unknown, |first| Fact::Present(first.recipient()))
    }

    /// For one round.
    pub fn round(&self) -> Round {
        Round { identities: self.identities(), opened: Mutex::default() }
    }
}

/// What one round opens. Its values are wiped with it.
pub struct Round {
    identities: Arc<[Identity]>,
    opened: Mutex<Opened>,
}

#[derive(Default)]
struct Opened {
    values: Values,
    /// Something could not be opened.
    failed: bool,
}

impl Round {
    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A text without what was opened.
    pub fn scrub_text(&self, mut text: String) -> String {
        self.opened().values.scrub(&mut text);
        text
    }

    /// A JSON document whose texts have nothing of what was opened. Without anything opened, the same bytes.
    pub fn scrub_json(&self, json: Vec<u8>) -> Vec<u8> {
        let opened = self.opened();
        if opened.values.is_empty() {
            return json;
        }
        let mut document: Value = serde_json::from_slice(&json).unwrap_or_default();
        scrub_texts(&mut document, &opened.values);
        document.to_string().into_bytes()
    }

    /// Whether something could not be opened, so that other identities are worth looking for.
    pub fn has_failed(&self) -> bool {
        self.opened().failed
    }
}

fn scrub_texts(value: &mut Value, values: &Values) {
    match value {
        Value::String(text) => values.scrub(text),
        Value::Array(items) => items.iter_mut().for_each(|item| scrub_texts(item, values)),
        Value::Object(fields) => fields.values_mut().for_each(|field| scrub_texts(field, values)),
        _ => {}
    }
}

impl Opener for Round {
    fn open(&self, sealed: &Sealed) -> Result<Vec<Value>, String> {
        let result = sops::open(sealed, &self.identities);
        let mut opened = self.opened();
        match result {
            Ok(sops::Opened { objects, values }) => {
                opened.values.extend(values);
                Ok(objects)
            }
            Err(error) => {
                opened.failed = true;
                Err(error.to_string())
            }
        }
    }

    fn scrub(&self, report: &mut EntryReport) {
        let opened = self.opened();
        opened.values.scrub(&mut report.message);
        for object in report.unhealthy.iter_mut().chain(&mut report.notes) {
            opened.values.scrub(&mut object.message);
        }
    }
}
