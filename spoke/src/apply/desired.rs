//! What is desired, resolved: every entry's objects, or why they are not known.
//!
//! In: entries, bundles, scopes. Out: the `wanted` of a plan. Never: takes an entry that it cannot read for one without
//! objects.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::AppKey;
use nave_placement::assign::Entry;
use nave_placement::render::{Bundle, ResolveError, Scopes, resolve};

use super::Desired;
use crate::plan::{Unresolved, Wanted};
use crate::report::Reason;

/// Every entry of an assignment.
pub type AllWanted = BTreeMap<AppKey, Result<Wanted, Unresolved>>;

/// Resolves every entry of the assignment.
pub fn resolve_all(desired: &Desired<'_>, scopes: &dyn Scopes) -> AllWanted {
    let resolved = |app: &AppKey| match desired.entries.get(app) {
        Some(Ok(entry)) => one(desired, entry, scopes),
        Some(Err(message)) => Err(unreadable(message)),
        None => Err(unreadable("it was not decoded")),
    };
    desired.assignment.entries.keys().map(|app| (app.clone(), resolved(app))).collect()
}

fn unreadable(message: &str) -> Unresolved {
    let reason = Box::new(Reason::EntryUnreadable { message: message.to_owned() });
    Unresolved { entry: None, reason, claims: None }
}

fn one(desired: &Desired<'_>, entry: &Entry, scopes: &dyn Scopes) -> Result<Wanted, Unresolved> {
    let unresolved = |reason, claims| Unresolved {
        entry: Some(Box::new(entry.clone())),
        reason: Box::new(reason),
        claims,
    };
    let Some(bytes) = (desired.bundles)(&entry.bundle) else {
        return Err(unresolved(Reason::BundleMissing { bundle: entry.bundle }, None));
    };
    match resolve(&bytes, entry, scopes) {
        Ok(objects) => match in_full(entry) {
            Ok(entry) => Ok(Wanted { entry, objects }),
            Err(reason) => {
                Err(unresolved(reason, Some(objects.into_iter().map(|object| object.key).collect())))
            }
        },
        Err(error @ ResolveError::Twice { .. }) => {
            // It cannot be applied, but what it claims is known: the rest of the cluster goes on.
            let claims: Option<BTreeSet<_>> = Bundle::read(bytes.to_vec()).ok().map(|b| (*b.objects).clone());
            Err(unresolved(Reason::DefinedTwice { message: error.to_string() }, claims))
        }
        Err(error) => Err(unresolved(Reason::BundleDamaged { message: error.to_string() }, None)),
    }
}

/// The entry with its service account's namespace, which is the app's own where none is written.
fn in_full(entry: &Entry) -> Result<Entry, Reason> {
    let mut entry = entry.clone();
    let account = entry.options.treatment.service_account.take();
    let account = account.map(|name| match &entry.options.namespace {
        _ if name.contains('/') => Ok(name),
        Some(namespace) => Ok(format!("{}/{name}", namespace.name)),
        None => Err(Reason::AccountWithoutNamespace { name }),
    });
    entry.options.treatment.service_account = account.transpose()?;
    Ok(entry)
}
