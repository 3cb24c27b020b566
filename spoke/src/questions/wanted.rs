//! Wanted: the objects of one app, resolved by the same code as for applying: of the assignment that is enforced, or of an entry that is
//! only planned.
//!
//! In: an app, the assignment and the bundles that are here, or an entry with its bundle. Out: its objects.
//! Never: takes what is not accepted, or has not begun, for what is; keeps what is planned.

use std::collections::BTreeMap;
use std::sync::Arc;

use nave_placement::assign::{Assignment, Entry, Epoch};
use nave_placement::catalog::Treatment;
use nave_placement::render::Resolved;
use nave_placement::{AppKey, Digest};

use super::wire::Planned;
use crate::apply::Desired;
use crate::link;
use crate::secrets::Round;
use crate::started::Enforced;
use crate::state::State;
use crate::state::unpack;
use crate::target::Target;
use crate::target::ask::Refusal;

/// What an app wants here, and how its objects are treated.
pub async fn wanted(
    app: &AppKey,
    Enforced { assignment, waiting }: &Enforced,
    state: &Arc<State>,
    secrets: &Round,
    target: &dyn Target,
) -> Result<(Vec<Resolved>, Treatment), Refusal> {
    let bytes = assignment.entries.get(app);
    let why = || match waiting.contains(app) {
        true => {
            Refusal(format!("app {app} waits here for its first installation; `hub why` says until when"))
        }
        false => Refusal(format!("app {app} is not assigned to this cluster")),
    };
    let bytes = bytes.ok_or_else(why)?;
    let entry = nave_proto::decode_entry(&bytes.bytes);
    let entry = entry.map_err(|error| Refusal(format!("the entry cannot be read: {error}")))?;
    let bundle = state.bundle(&entry.bundle).await.map_err(|error| Refusal(link::chain(&error)))?;
    resolved(app, entry, bundle, secrets, target).await
}

/// What an app would want here, and how its objects would be treated.
pub async fn planned(
    app: &AppKey,
    Planned { entry, bundle }: Planned,
    secrets: &Round,
    target: &dyn Target,
) -> Result<(Vec<Resolved>, Treatment), Refusal> {
    let entry = nave_proto::decode_entry(&entry);
    let entry = entry.map_err(|error| Refusal(format!("the entry cannot be read: {error}")))?;
    let digest = entry.bundle;
    let unpacked = tokio::task::spawn_blocking(move || unpack(&digest, &bundle)).await;
    let unpacked = unpacked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    let bundle = unpacked.map_err(|error| Refusal(link::chain(&error)))?;
    resolved(app, entry, Some(bundle), secrets, target).await
}

async fn resolved(
    app: &AppKey,
    entry: Entry,
    bundle: Option<Arc<[u8]>>,
    secrets: &Round,
    target: &dyn Target,
) -> Result<(Vec<Resolved>, Treatment), Refusal> {
    let digest = entry.bundle;
    let only = |asked: &Digest| bundle.clone().filter(|_| *asked == digest);
    let treatment = entry.options.treatment.clone();
    let entries = BTreeMap::from([(app.clone(), Ok(entry))]);
    // Nothing is taken from the assignment to resolve an entry.
    let assignment = &Assignment::none(Epoch(0));
    let desired = Desired { assignment, entries: &entries, bundles: &only, secrets };
    match desired.resolve(app, &*target.scopes()).await {
        Ok(wanted) => Ok((wanted.objects, treatment)),
        Err(unresolved) => Err(Refusal(unresolved.reason.to_string())),
    }
}
