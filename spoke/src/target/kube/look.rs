//! Look: the objects that an app wants, as they are now.
//!
//! In: an app's wanted objects. Out: [`Seen`] for each, or why it could not be seen.
//! Never: takes an incomplete list for a complete one; writes.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use kube::core::discovery::ApiResource;
use nave_placement::catalog::{Adopt, Conflicts, Mode};
use nave_placement::render::Resolved;
use nave_placement::{AppKey, ObjectKey};
use serde_json::Value;
use tokio::time::Instant;

use super::autoscale::REPLICAS;
use super::books;
use super::compare::{Difference, differences, fingerprint, may_mean_the_same};
use super::listed::{self, FIELDS};
use super::marks::{self, APPLIED, PART_OF};
use super::notes::{Drift, Note};
use super::pods::Selected;
use super::problem::Problem;
use super::recreate::{is_stuck, waits_for};
use super::shared::{Shared, text};
use super::wire::Wire;
use crate::observe::changes::{FieldChange, hide};
use crate::observe::health::{self, Given, Rules};
use crate::plan::{Ignored, Terms, made_for, runs};
use crate::target::{Behalf, Foreign, Found, Health, HealthState, Seen, TargetError, Write};

/// Up to here objects are asked for one by one instead of by a list.
const FEW: usize = 2;
/// Above this many objects that the app's list does not have, the names in the namespace are listed instead.
const MANY: usize = 8;
/// Requests at once: enough to hide the round trip, few enough for the API server's fairness.
const AT_ONCE: usize = 4;
/// Workloads whose pods are asked about in one look; beyond it the workload's own words have to do.
const EXPLAINED: usize = 10;

/// An object that has to be looked at more closely, once the lists are read.
struct Closer<'a> {
    wanted: &'a Resolved,
    live: Value,
    known: Note,
}

/// What came of one look.
#[derive(Default)]
pub(super) struct Look<'a> {
    pub seen: BTreeMap<ObjectKey, Result<Seen, TargetError>>,
    /// Workloads that lack something, and how their pods are found.
    short: Vec<(ObjectKey, Selected)>,
    closer: Vec<Closer<'a>>,
    /// How the app wants its objects judged.
    rules: Rules,
}

impl Look<'_> {
    /// An empty one, for an app.
    pub fn under(of: Behalf<'_>) -> Self {
        Self { rules: Rules::read(&of.treatment.health), ..Self::default() }
    }

    /// Whether something is to be asked before what was seen is complete.
    pub fn is_open(&self) -> bool {
        !self.short.is_empty() || !self.closer.is_empty()
    }
}

impl Shared {
    /// Asks once more for the groups that could not be asked when something of them was wanted; those that still cannot.
    async fn ask_silent<'a>(&self, wanted: &'a [Resolved]) -> BTreeMap<&'a str, TargetError> {
        let unknown = wanted.iter().filter(|object| !object.served).map(|object| object.key.group.as_str());
        let mut silent = BTreeMap::new();
        for group in unknown.collect::<BTreeSet<_>>() {
            if self.kinds().is_silent(group)
                && let Err(problem) = self.discover_group(group).await
            {
                silent.insert(group, problem.error);
            }
        }
        silent
    }

    pub async fn observe(
        &self,
        of: Behalf<'_>,
        wanted: &[Resolved],
    ) -> BTreeMap<ObjectKey, Result<Seen, TargetError>> {
        let wire = self.wire.on_behalf(of);
        let mut look = Look::under(of);
        let silent = self.ask_silent(wanted).await;
        let mut places: BTreeMap<(String, String, String), (ApiResource, Vec<&Resolved>)> = BTreeMap::new();
        for object in wanted {
            let key = &object.key;
            if is_plain(of)
                && let Some(seen) = self.sightings.take(key, || crate::plan::digest(&object.object))
            {
                look.seen.insert(key.clone(), Ok(seen));
                continue;
            }
            match self.permitted(key).and_then(|()| self.resource_of(key, &object.object)) {
                Ok(resource) => {
                    let place = (resource.api_version.clone(), key.kind.clone(), key.namespace.clone());
                    places.entry(place).or_insert_with(|| (resource, Vec::new())).1.push(object);
                }
                Err(error) => {
                    let error = silent.get(key.group.as_str()).cloned().unwrap_or(error);
                    look.seen.insert(key.clone(), Err(error));
                }
            }
        }
        for ((_, _, namespace), (resource, objects)) in places {
            if let Err(problem) = self.look_at(of, &wire, &resource, &namespace, &objects, &mut look).await {
                if problem.is_not_served()
                    && let Err(again) = self.discover_group(&resource.group).await
                {
                    tracing::debug!(group = resource.group, error = %again.error, "discovery failed");
                }
                for object in objects {
                    look.seen.entry(object.key.clone()).or_insert_with(|| Err(problem.error.clone()));
                }
            }
        }
        self.look_closer(of, &mut look).await;
        self.explain(look).await
    }

    /// Looks at the wanted objects of one kind in one namespace.
    async fn look_at<'a>(
        &self,
        of: Behalf<'_>,
        wire: &Wire,
        resource: &ApiResource,
        namespace: &str,
        objects: &[&'a Resolved],
        look: &mut Look<'a>,
    ) -> Result<(), Problem> {
        let by_name: BTreeMap<&str, &'a Resolved> =
            objects.iter().map(|o| (o.key.name.as_str(), *o)).collect();
        if objects.len() > FEW {
            let labels = format!("{PART_OF}={}", self.marks.set_id(of.app));
            let each = |live: Value| {
                if let Some(wanted) = by_name.get(text(&live, "/metadata/name")) {
                    self.judge(of, wanted, &live, look);
                }
            };
            wire.list(resource, namespace, Some(&labels), false, each).await?;
        }
        let mut missing: Vec<&'a Resolved> =
            objects.iter().copied().filter(|o| !look.seen.contains_key(&o.key)).collect();
        if missing.len() > MANY {
            let mut there = Vec::new();
            let each = |live: Value| {
                let name = text(&live, "/metadata/name");
                if by_name.contains_key(name) {
                    there.push(name.to_owned());
                }
            };
            wire.list(resource, namespace, None, true, each).await?;
            missing.retain(|wanted| {
                let is_there = there.contains(&wanted.key.name);
                if !is_there {
                    self.absent(&wanted.key, look);
                }
                is_there
            });
        }
        let gets: Vec<_> = missing.into_iter().map(|wanted| get_one(wire, resource, wanted)).collect();
        let mut answers = futures::stream::iter(gets).buffer_unordered(AT_ONCE);
        while let Some((wanted, answer)) = answers.next().await {
            match answer {
                Ok(Some(live)) => self.judge(of, wanted, &live, look),
                Ok(None) => self.absent(&wanted.key, look),
                Err(problem) if problem.is_not_served() => return Err(problem),
                Err(problem) => drop(look.seen.insert(wanted.key.clone(), Err(problem.into()))),
            }
        }
        Ok(())
    }

    fn absent(&self, key: &ObjectKey, look: &mut Look) {
        self.notes.set(key, Note::default());
        look.seen.insert(key.clone(), Ok(Seen::Absent));
    }

    /// One live object, next to what is wanted.
    pub fn judge<'a>(&self, of: Behalf<'_>, wanted: &'a Resolved, live: &Value, look: &mut Look<'a>) {
        let key = &wanted.key;
        let terms = match Terms::of(of.treatment, wanted) {
            Ok(terms) => terms,
            Err(message) => return drop(look.seen.insert(key.clone(), Err(TargetError::Refused(message)))),
        };
        if !text(live, "/metadata/deletionTimestamp").is_empty() {
            let (message, stuck) = (waits_for(live), is_stuck(live, of.treatment.timeout.0));
            look.seen.insert(key.clone(), Ok(Seen::Terminating { message, stuck }));
            return;
        }
        let observes = terms.mode == Mode::Observe;
        if !self.marks.is_ours(key, live) {
            self.notes.forget(key);
            let given = Given { rules: Some(&look.rules), applied: None, now: Some(jiff::Timestamp::now()) };
            let health = health::judge(live, &given);
            let foreign = Foreign { managers: books::managers(live), changes: None, health: Some(health) };
            look.seen.insert(key.clone(), Ok(Seen::Foreign(foreign)));
            if observes || (terms.adopt == Adopt::IfEqual && terms.ignored != Ignored::Whole) {
                look.closer.push(Closer { wanted, live: live.clone(), known: Note::default() });
            }
            return;
        }
        let known = self.notes.get(key).filter(|note| note.ours).unwrap_or_default();
        let version = self.notes.version(text(live, "/metadata/resourceVersion"));
        let (differs, drifted, found, drift) = self.differs(of.app, wanted, &terms, live, known);
        self.notes.set(key, Note { ours: true, version, open: differs && !observes, drift, ..known });
        let applied = known.applied.map(|at| at.elapsed());
        let given = Given { rules: Some(&look.rules), applied, now: Some(jiff::Timestamp::now()) };
        let mut health = health::judge(live, &given);
        // A hook has succeeded when it has ended, not when it is ready.
        if health.state == HealthState::Healthy && runs(wanted) && text(live, "/status/phase") == "Running" {
            let (state, reason) = (HealthState::Progressing, "Running".to_owned());
            health = Health { state, reason, message: "the pod has not ended".to_owned() };
        }
        if let Some(selected) = Selected::of(live, &health) {
            look.short.push((key.clone(), selected));
        }
        let is_scalable = found.changes.iter().any(|change| change.path == REPLICAS);
        let seen = Seen::Ours { differs, drifted, health, found };
        let closer = observes || is_scalable;
        if !closer {
            let version = text(live, "/metadata/resourceVersion");
            self.sightings.judged(key, version, &crate::plan::digest(&wanted.object), &seen);
        }
        look.seen.insert(key.clone(), Ok(seen));
        if closer {
            look.closer.push(Closer { wanted, live: live.clone(), known });
        }
    }

    /// (differs, drifted, what was found), as [`Seen::Ours`] means them, and the drift to recognise it by.
    fn differs(
        &self,
        app: &AppKey,
        wanted: &Resolved,
        terms: &Terms,
        live: &Value,
        known: Note,
    ) -> (bool, bool, Found, Option<Drift>) {
        let key = &wanted.key;
        let digest = self.marks.digest(&wanted.object).to_string();
        let mark = |name: &str| marks::annotation(live, name);
        let run = if runs(wanted) { made_for(live) } else { None };
        let mut found = Found { adopted: self.notes.adopted(key), run, ..Found::default() };
        let of_another = mark(marks::APP).is_some_and(|owner| owner != marks::app_mark(app));
        if terms.ignored == Ignored::Whole && !of_another {
            return (false, false, found, None);
        }
        if of_another || mark(APPLIED).is_some_and(|applied| applied != digest) {
            return (true, false, found, None);
        }
        // Our marks or our entry in the managed fields were removed.
        let Some(ours) = marks::our_fields(live).filter(|_| mark(APPLIED).is_some()) else {
            let manager = books::managers(live).join(", ");
            found.changes.push(FieldChange {
                path: "/metadata/managedFields".into(),
                manager,
                ..FieldChange::default()
            });
            return (true, true, found, None);
        };
        let body = self.marks.compared(app, key, &wanted.object, terms.ignored_fields(), &digest);
        let told = |differences: &[Difference]| {
            hide(&wanted.object, differences.iter().map(|d| told(&body, live, d)).collect())
        };
        let yields = |d: &Difference| {
            terms.conflicts == Conflicts::Yield
                && d.lost
                && !listed::has(mark(FIELDS), &body, &d.path)
                && !books::owner(&body, &d.path, live).is_empty()
        };
        let (yielded, left): (Vec<_>, Vec<_>) =
            differences(&body, live, Some(ours)).into_iter().partition(yields);
        found.yielded = told(&yielded);
        let values = fingerprint(&digest, &left);
        if left.is_empty() || known.settled == Some(values) {
            let mutated: Vec<_> = left.into_iter().filter(|d| is_mutated(&body, d)).collect();
            found.mutated = told(&mutated);
            let held = books::released(live, &wanted.object, terms.ignored_fields()).is_some();
            return (held || books::taken_over(live).is_some(), false, found, None);
        }
        found.changes = told(&left);
        // Still ours but different, and never seen so: it may be the server's own spelling, which the next write shows.
        let drifted = known.settled.is_some() || left.iter().any(|d| d.lost);
        let paths: Vec<_> = left.iter().map(|d| d.path.as_str()).collect();
        let drift = Drift { fields: self.notes.version(&format!("{digest} {}", paths.join(" "))), values };
        found.fought = drifted && self.notes.fought(key, drift, Instant::now());
        (true, drifted, found, Some(drift))
    }

    /// Asks the server about what cannot be told by looking alone.
    async fn look_closer(&self, of: Behalf<'_>, look: &mut Look<'_>) {
        let closer = std::mem::take(&mut look.closer);
        let asked: Vec<_> = closer
            .iter()
            .filter_map(|closer| {
                let seen = look.seen.get(&closer.wanted.key)?.clone().ok()?;
                Some(async move { (closer.wanted.key.clone(), self.closer(of, closer, seen).await) })
            })
            .collect();
        let mut answers = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
        while let Some((key, seen)) = answers.next().await {
            look.seen.insert(key, seen);
        }
    }

    async fn closer(&self, of: Behalf<'_>, closer: &Closer<'_>, seen: Seen) -> Result<Seen, TargetError> {
        let Closer { wanted, live, known } = closer;
        let mut work = self.work(of, wanted, Write::default())?;
        match seen {
            Seen::Foreign(mut foreign) => {
                foreign.changes = Some(self.foretold(&work, live).await?.to_vec());
                Ok(Seen::Foreign(foreign))
            }
            Seen::Ours { health, mut found, .. } if work.terms.mode == Mode::Observe => {
                found.changes = self.foretold(&work, live).await?.to_vec();
                Ok(Seen::Ours { differs: !found.changes.is_empty(), drifted: false, health, found })
            }
            Seen::Ours { health, .. } if self.is_scaled(&wanted.key).await? => {
                work.terms.ignore(REPLICAS);
                let (differs, drifted, found, drift) =
                    self.differs(of.app, wanted, &work.terms, live, *known);
                // What only has to be let go can wait until something is written.
                let differs =
                    differs && !(found.changes.is_empty() && books::taken_over(live).is_none() && !drifted);
                if let Some(note) = self.notes.get(&wanted.key) {
                    self.notes.set(&wanted.key, Note { open: differs, drift, ..note });
                }
                Ok(Seen::Ours { differs, drifted, health, found })
            }
            seen => Ok(seen),
        }
    }

    /// Adds what the pods say to the workloads that lack something.
    async fn explain(&self, look: Look<'_>) -> BTreeMap<ObjectKey, Result<Seen, TargetError>> {
        let Look { mut seen, short, .. } = look;
        for (key, selected) in short.into_iter().take(EXPLAINED) {
            if let Some(Ok(Seen::Ours { health, .. })) = seen.get_mut(&key) {
                self.explain_by_pods(&key.namespace, &selected, health).await;
            }
        }
        seen
    }
}

async fn get_one<'a>(
    wire: &Wire,
    resource: &ApiResource,
    wanted: &'a Resolved,
) -> (&'a Resolved, Result<Option<Value>, Problem>) {
    (wanted, wire.get(resource, &wanted.key.namespace, &wanted.key.name).await)
}

/// A difference, with who owns the field now.
fn told(body: &Value, live: &Value, difference: &Difference) -> FieldChange {
    FieldChange {
        path: difference.path.clone(),
        live: difference.live.clone(),
        wanted: body.pointer(&difference.path).cloned(),
        manager: books::owner(body, &difference.path, live),
    }
}

/// The server made something else of it, and not only another spelling of the same.
fn is_mutated(body: &Value, difference: &Difference) -> bool {
    let wanted = body.pointer(&difference.path);
    match (wanted, &difference.live) {
        (Some(wanted), Some(live)) => !may_mean_the_same(wanted, live),
        _ => true,
    }
}

/// Whether what was seen of an object once says the same as another look would: nothing but the object decides.
fn is_plain(of: Behalf<'_>) -> bool {
    let treatment = of.treatment;
    treatment.mode == Mode::Apply && treatment.health.is_empty() && treatment.service_account.is_none()
}
