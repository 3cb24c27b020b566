//! Raising an app: its inventory is widened, then its objects are written in order.
//!
//! In: an entry's objects, what was seen of them, who else has or claims them. Out: `raise` and `blocked` of its plan.
//! Never: writes what it could not see, or what another app holds; begins what comes after a hook that has not succeeded.

use nave_placement::catalog::{Adopt, Conflicts, Drift, Mode, OnImmutable};
use nave_placement::render::Resolved;
use nave_placement::{AppKey, ObjectKey};

use super::{AppPlan, Claims, Hooks, Ignored, Input, Step, Terms, Turn, Unresolved, Wanted, digest, is_kept};
use crate::observe::changes;
use crate::report::Reason;
use crate::target::{Contact, Foreign, Health, HealthState, Inventory, Seen, TargetError, Write};

/// What is to be done about one object.
enum Stance {
    /// It is as it should be, and ours.
    Rest,
    /// It is there, and somebody else's: another app keeps it just so for both of us, or it is a given namespace.
    Shared,
    /// Write it.
    Apply(Write),
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
    let grant = wanted.entry.options.grant.clone();
    let mut plan = AppPlan { treatment, grant, ..AppPlan::default() };
    let inventory = input.inventories.get(app).cloned().unwrap_or_default();
    let mut widened = inventory.clone();
    let mut writes = Vec::new();
    let hooks = Hooks::of(input.inventories, app, wanted, input.seen.get(app));
    let mut objects: Vec<_> = wanted.objects.iter().map(|o| (Turn::of(o, hooks.is_upgrade), o)).collect();
    objects.sort_by(|(a, x), (b, y)| (a, &x.key).cmp(&(b, &y.key)));
    // The turn that has to end before the next may begin.
    let mut open: Option<Turn> = None;
    for (turn, object) in objects {
        let terms = Terms::of(&plan.treatment, object);
        let stance = match &terms {
            Ok(terms) => stance(input, claims, app, wanted, &inventory, object, terms),
            Err(message) => {
                Stance::Blocked(Reason::Refused { object: object.key.clone(), message: message.clone() })
            }
        };
        let waits = open.as_ref().is_some_and(|open| *open < turn);
        if let (Stance::Apply(_), true) = (&stance, waits) {
            continue;
        }
        let seen = input.seen.get(app).and_then(|seen| seen.get(&object.key));
        let (stance, run) = match turn.runs() {
            true if hooks.is_over(object) => {
                let is_listed =
                    inventory.objects.contains(&object.key) || claims.elsewhere(app, &object.key).is_some();
                (over(is_listed, seen), None)
            }
            true => {
                let is_moved = claims.elsewhere(app, &object.key).is_some();
                let given = Given { wanted, hooks: &hooks, blocked: &plan.blocked, is_moved };
                let (stance, run) = run(given, object, stance, seen);
                if matches!((&stance, &run), (Stance::Rest, None)) {
                    widened.ran.insert(object.key.clone(), wanted.entry.version);
                }
                (stance, run)
            }
            false => (stance, None),
        };
        if run.is_some() || (turn.runs() && matches!(stance, Stance::Blocked(_))) {
            open.get_or_insert(turn);
        }
        plan.blocked.extend(run);
        if let (Ok(terms), Stance::Rest | Stance::Apply(_)) = (&terms, &stance) {
            list(&mut widened, &object.key, terms);
        }
        match stance {
            Stance::Shared => {}
            Stance::Rest => {
                plan.rest.insert(object.key.clone());
            }
            Stance::Blocked(reason) => plan.blocked.push(reason),
            Stance::Apply(how) => writes.push(Step::Apply { object: object.clone(), how }),
        }
    }
    if plan.treatment.mode == Mode::Observe {
        // Whatever is there, and whatever it once wrote, stays as it is.
        return plan;
    }
    if widened.objects != inventory.objects {
        widened.version = None;
    }
    if !widened.objects.is_empty() {
        widened.service_account.clone_from(&plan.treatment.service_account);
    }
    if widened != inventory {
        widened.installed = Some(hooks.is_upgrade);
        plan.raise.push(Step::Widen(widened));
    }
    plan.raise.append(&mut writes);
    plan
}

/// An inventory names the object from now on, and knows what it says of its own end.
fn list(inventory: &mut Inventory, key: &ObjectKey, terms: &Terms) {
    inventory.objects.insert(key.clone());
    for (listed, says) in [(&mut inventory.kept, false), (&mut inventory.expendable, true)] {
        if terms.prune == Some(says) {
            listed.insert(key.clone());
        } else {
            listed.remove(key);
        }
    }
}

fn stance(
    input: &Input<'_>,
    claims: &Claims<'_>,
    app: &AppKey,
    wanted: &Wanted,
    inventory: &Inventory,
    object: &Resolved,
    terms: &Terms,
) -> Stance {
    let key = &object.key;
    if let Some(why) = &object.sealed {
        return Stance::Blocked(Reason::Undecryptable { object: key.clone(), message: why.to_string() });
    }
    let seen = input.seen.get(app).and_then(|seen| seen.get(key));
    let unseen =
        |message: &str| Stance::Blocked(Reason::NotSeen { object: key.clone(), message: message.to_owned() });
    if !object.served {
        return match seen {
            Some(Err(TargetError::Unreachable(message))) => unseen(message),
            _ => Stance::Blocked(Reason::NotServed { object: key.clone() }),
        };
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
    match seen {
        None => unseen("not looked at"),
        Some(Err(TargetError::NotServed(_))) => Stance::Blocked(Reason::NotServed { object: key.clone() }),
        Some(Err(TargetError::Unreachable(message))) => unseen(message),
        Some(Err(error)) => Stance::Blocked(Reason::of(key, error)),
        Some(Ok(Seen::Terminating { message, stuck })) => Stance::Blocked(Reason::Terminating {
            object: key.clone(),
            message: message.clone(),
            stuck: *stuck,
        }),
        Some(Ok(Seen::Absent)) => {
            // What was complete once and is missing now was taken away by somebody.
            let complete = inventory.version == Some(wanted.entry.version);
            let corrects = complete && inventory.objects.contains(key);
            Stance::Apply(Write { contact: Contact::Absent, corrects, ..Write::default() })
        }
        Some(Ok(Seen::Foreign(_))) if is_given(wanted, object) => Stance::Shared,
        Some(Ok(Seen::Foreign(foreign))) => first_contact(key, foreign, terms),
        // Where another app lists it too, it was handed over only if we were about to write it and then did.
        Some(Ok(Seen::Ours { differs, drifted, found, .. })) => {
            let is_listed = elsewhere.is_none() || inventory.objects.contains(key);
            // What somebody else changed of the content that is wanted still; of another content, all is written.
            let stays = *drifted && (terms.drift == Drift::Report || found.fought);
            if is_listed && (!differs || stays) {
                return Stance::Rest;
            }
            Stance::Apply(Write {
                contact: Contact::Ours,
                take: *drifted || terms.conflicts == Conflicts::Force,
                recreate: terms.on_immutable == OnImmutable::Recreate && !is_kept(key),
                corrects: *drifted,
                anew: false,
            })
        }
    }
}

/// A hook without a turn: what is there, or was, stays in the inventory, also what another name of the app made; nothing is written.
fn over(is_listed: bool, seen: Option<&Result<Seen, TargetError>>) -> Stance {
    let is_ours = matches!(seen, Some(Ok(Seen::Ours { .. })));
    if is_ours || is_listed { Stance::Rest } else { Stance::Shared }
}

/// What a hook's turn depends on.
struct Given<'a> {
    wanted: &'a Wanted,
    hooks: &'a Hooks<'a>,
    blocked: &'a [Reason],
    /// Another app has it in its inventory.
    is_moved: bool,
}

/// A hook that runs, whose turn it is: what is to be done about it, and why what comes after it waits.
fn run(
    Given { wanted, hooks, blocked, is_moved }: Given<'_>,
    object: &Resolved,
    stance: Stance,
    seen: Option<&Result<Seen, TargetError>>,
) -> (Stance, Option<Reason>) {
    let running = |health: Health| Some(Reason::Runs { object: object.key.clone(), health });
    let waits = |reason: &str, message: &str| {
        let (reason, message) = (reason.to_owned(), message.to_owned());
        running(Health { state: HealthState::Progressing, reason, message })
    };
    let how = match stance {
        Stance::Apply(how) => how,
        Stance::Rest => return (Stance::Rest, under_way(seen).and_then(running)),
        stance => return (stance, None),
    };
    let version = wanted.entry.version.to_string();
    match seen {
        // It was made for this version: whatever else somebody makes of it, it is not begun again.
        Some(Ok(Seen::Ours { found, .. })) if !is_moved && found.run.as_deref() == Some(&*version) => {
            (Stance::Rest, under_way(seen).and_then(running))
        }
        _ if hooks.is_in_doubt() => {
            (Stance::Shared, waits("Unknown", "it is not known yet what was here before"))
        }
        // Whatever it needs may be what is missing.
        _ if !blocked.is_empty() => {
            (Stance::Shared, waits("Waits", "something before it could not be written"))
        }
        // It is taken over as it is.
        _ if is_moved => (Stance::Apply(how), None),
        _ => {
            let anew = how.contact == Contact::Ours;
            let how = Write { anew, take: false, recreate: false, corrects: false, ..how };
            (Stance::Apply(how), waits("Starts", "it starts now"))
        }
    }
}

/// How a hook is that has not succeeded.
fn under_way(seen: Option<&Result<Seen, TargetError>>) -> Option<Health> {
    let Some(Ok(Seen::Ours { health, .. })) = seen else { return None };
    (health.state != HealthState::Healthy).then(|| health.clone())
}

/// An object that Nave did not create.
fn first_contact(key: &ObjectKey, foreign: &Foreign, terms: &Terms) -> Stance {
    let refused = |why: String| {
        let by = if foreign.managers.is_empty() {
            String::new()
        } else {
            format!(", {} does", foreign.managers.join(", "))
        };
        Stance::Blocked(Reason::AdoptionRefused {
            object: key.clone(),
            message: format!("it exists, and Nave does not manage it{by}; {why}"),
        })
    };
    match (&terms.ignored, terms.adopt, &foreign.changes) {
        // Created if absent, then left: it is there.
        (Ignored::Whole, ..) => Stance::Shared,
        (_, Adopt::Never, _) => refused("`adopt: Never` leaves it alone".to_owned()),
        (_, Adopt::IfEqual, Some(changes)) if !changes.is_empty() => refused(format!(
            "`adopt: IfEqual` takes it once it is as wanted: {}; `Always` takes it as it is",
            changes::told(changes)
        )),
        _ => Stance::Apply(Write { contact: Contact::Foreign, ..Write::default() }),
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
