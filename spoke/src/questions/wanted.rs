//! Wanted: the objects of one app of the assignment that is enforced, resolved by the same code as for applying.
//!
//! In: an app, the assignment, the bundles that are here. Out: its objects. Never: takes what is not accepted, or has not begun.

use std::collections::BTreeMap;
use std::sync::Arc;

use nave_placement::catalog::Treatment;
use nave_placement::render::Resolved;
use nave_placement::{AppKey, Digest};

use crate::apply::Desired;
use crate::link;
use crate::secrets::Round;
use crate::started::Enforced;
use crate::state::State;
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
    let digest = entry.bundle;
    let bundle = state.bundle(&digest).await.map_err(|error| Refusal(link::chain(&error)))?;
    let only = |asked: &Digest| bundle.clone().filter(|_| *asked == digest);
    let treatment = entry.options.treatment.clone();
    let entries = BTreeMap::from([(app.clone(), Ok(entry))]);
    let desired = Desired { assignment, entries: &entries, bundles: &only, secrets };
    match desired.resolve(app, &*target.scopes()).await {
        Ok(wanted) => Ok((wanted.objects, treatment)),
        Err(unresolved) => Err(Refusal(unresolved.reason.to_string())),
    }
}
