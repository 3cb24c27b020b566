//! Raising an app: its inventory is widened, then its objects are written in order.
//!
//! In: an entry's objects, what was seen of them, who else has or claims them. Out: `raise` and `blocked` of its plan.
//! Never: writes what it could not see, or what another app holds.

use nave_placement::render::Resolved;
use nave_placement::{AppKey, ObjectKey};

use super::{AppPlan, Claims, Input, Step, Unresolved, Wanted, digest, rank};
use crate::report::Reason;
use crate::target::{Inventory, Seen, TargetError};

/// What is to be done about one object.
enum Stance {
    /// It is as it should be, and ours.
    Rest,
    /// It is there, and somebody else's: another app keeps it just so for both of us, or it is a given namespace.
    Shared,
    /// Write it.
    Apply { take: bool, drifted: bool },
    /// Not now.
    Blocked(Reason),
}

/// The first half of an entry's plan.
pub(super) fn entry(
    input: &Input<'_>,
    claims: &Claims<'_>,
    app: &AppKey,
    wanted: &Result<Wanted, Unresolved>,
) -> AppPlan {
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(unresolved) => {
            return AppPlan { blocked: vec![(*unresolved.reason).clone()], ..AppPlan::default() };
        }
    };
    let treatment = wanted.entry.options.treatment.clone();
    let mut plan = AppPlan { treatment, ..AppPlan::default() };
    let inventory = input.inventories.get(app).cloned().unwrap_or_default();
    let mut widened = inventory.clone();
    let mut writes = Vec::new();
    for object in &wanted.objects {
        let stance = stance(input, claims, app, wanted, &inventory, object);
        if matches!(stance, Stance::Rest | Stance::Apply { .. }) {
            widened.objects.insert(object.key.clone());
        }
        match stance {
            Stance::Shared => {}
            Stance::Rest => {
                plan.rest.insert(object.key.clone());
            }
            Stance::Blocked(reason) => plan.blocked.push(reason),
            Stance::Apply { take, drifted } => {
                writes.push(Step::Apply { object: object.clone(), take, drifted })
            }
        }
    }
    writes.sort_by_cached_key(|step| match step {
        Step::Apply { object, .. } => Some((rank(&object.key), object.key.clone())),
        _ => None,
    });
    if widened.objects != inventory.objects {
        widened.version = None;
        plan.raise.push(Step::Widen(widened));
    }
    plan.raise.append(&mut writes);
    plan
}

fn stance(
    input: &Input<'_>,
    claims: &Claims<'_>,
    app: &AppKey,
    wanted: &Wanted,
    inventory: &Inventory,
    object: &Resolved,
) -> Stance {
    let key = &object.key;
    if let Some(why) = &object.sealed {
        return Stance::Blocked(Reason::Undecryptable { object: key.clone(), message: why.to_string() });
    }
    if !object.served {
        return Stance::Blocked(Reason::NotServed { object: key.clone() });
    }
    if let Some((by, theirs)) = claims.held(key).filter(|(by, _)| *by != app) {
        return if is_own_namespace(wanted, key) && theirs.digest == digest(&object.object) {
            Stance::Shared
        } else {
            Stance::Blocked(Reason::ClaimedTwice { object: key.clone(), by: by.clone() })
        };
    }
    let elsewhere = claims.elsewhere(app, key);
    if let Some(other) =
        elsewhere.filter(|other| input.index.get(other).is_some_and(|claimed| claimed.may_want(key)))
    {
        return Stance::Blocked(Reason::ClaimsUnknown { app: other.clone() });
    }
    let unseen =
        |message: &str| Stance::Blocked(Reason::NotSeen { object: key.clone(), message: message.to_owned() });
    match input.seen.get(app).and_then(|seen| seen.get(key)) {
        None => unseen("not looked at"),
        Some(Err(TargetError::NotServed(_))) => Stance::Blocked(Reason::NotServed { object: key.clone() }),
        Some(Err(error)) => unseen(&error.to_string()),
        Some(Ok(Seen::Absent)) => {
            // What was complete once and is missing now was taken away by somebody.
            let complete = inventory.version == Some(wanted.entry.version);
            Stance::Apply { take: false, drifted: complete && inventory.objects.contains(key) }
        }
        Some(Ok(Seen::Foreign)) if is_given(wanted, object) => Stance::Shared,
        Some(Ok(Seen::Foreign)) => Stance::Apply { take: false, drifted: false },
        // Where another app lists it too, it was handed over only if we were about to write it and then did.
        Some(Ok(Seen::Ours { differs: false, .. }))
            if elsewhere.is_none() || inventory.objects.contains(key) =>
        {
            Stance::Rest
        }
        Some(Ok(Seen::Ours { drifted, .. })) => Stance::Apply { take: true, drifted: *drifted },
    }
}

/// The namespace that the app lives in, where all that is asked of it is that it exists: one that somebody else made does
/// as well, and stays theirs.
pub(crate) fn is_given(wanted: &Wanted, object: &Resolved) -> bool {
    let metadata = object.object.get("metadata").and_then(serde_json::Value::as_object);
    let bare = metadata.is_some_and(|m| m.len() == 1) && object.object.get("spec").is_none();
    bare && is_own_namespace(wanted, &object.key)
}

/// The namespace that the app's own option creates; many apps may live in one.
fn is_own_namespace(wanted: &Wanted, key: &ObjectKey) -> bool {
    let own =
        |name: &str| wanted.entry.options.namespace.as_ref().is_some_and(|o| o.create && o.name == name);
    key.group.is_empty() && key.kind == "Namespace" && own(&key.name)
}
