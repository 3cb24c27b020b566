//! Look: the objects that an app wants, as they are now.
//!
//! In: an app's wanted objects. Out: [`Seen`] for each, or why it could not be seen.
//! Never: takes an incomplete list for a complete one; writes.

use std::collections::BTreeMap;

use futures::StreamExt;
use kube::core::discovery::ApiResource;
use nave_placement::render::Resolved;
use nave_placement::{AppKey, ObjectKey};
use serde_json::Value;

use super::compare::{differences, fingerprint};
use super::marks::{self, APPLIED, PART_OF};
use super::notes::Note;
use super::pods::Selected;
use super::problem::Problem;
use super::shared::{Shared, text};
use crate::observe::health::{self, Given, Rules};
use crate::target::{Behalf, Seen, TargetError};

/// Up to here objects are asked for one by one instead of by a list.
const FEW: usize = 2;
/// Above this many objects that the app's list does not have, the names in the namespace are listed instead.
const MANY: usize = 8;
/// Requests at once: enough to hide the round trip, few enough for the API server's fairness.
const AT_ONCE: usize = 4;
/// Workloads whose pods are asked about in one look; beyond it the workload's own words have to do.
const EXPLAINED: usize = 10;

/// What came of one look.
#[derive(Default)]
pub(super) struct Look {
    pub seen: BTreeMap<ObjectKey, Result<Seen, TargetError>>,
    /// Workloads that lack something, and how their pods are found.
    short: Vec<(ObjectKey, Selected)>,
    /// How the app wants its objects judged.
    rules: Rules,
}

impl Shared {
    pub async fn observe(
        &self,
        of: Behalf<'_>,
        wanted: &[Resolved],
    ) -> BTreeMap<ObjectKey, Result<Seen, TargetError>> {
        let app = of.app;
        let mut look = Look { rules: Rules::read(&of.treatment.health), ..Look::default() };
        let mut places: BTreeMap<(String, String, String), (ApiResource, Vec<&Resolved>)> = BTreeMap::new();
        for object in wanted {
            let key = &object.key;
            match self.permitted(key).and_then(|()| self.resource_of(key, &object.object)) {
                Ok(resource) => {
                    let place = (resource.api_version.clone(), key.kind.clone(), key.namespace.clone());
                    places.entry(place).or_insert_with(|| (resource, Vec::new())).1.push(object);
                }
                Err(error) => drop(look.seen.insert(key.clone(), Err(error))),
            }
        }
        for ((_, _, namespace), (resource, objects)) in places {
            if let Err(problem) = self.look_at(app, &resource, &namespace, &objects, &mut look).await {
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
        self.explain(look).await
    }

    /// Looks at the wanted objects of one kind in one namespace.
    async fn look_at(
        &self,
        app: &AppKey,
        resource: &ApiResource,
        namespace: &str,
        objects: &[&Resolved],
        look: &mut Look,
    ) -> Result<(), Problem> {
        let by_name: BTreeMap<&str, &Resolved> = objects.iter().map(|o| (o.key.name.as_str(), *o)).collect();
        if objects.len() > FEW {
            let labels = format!("{PART_OF}={}", self.marks.set_id(app));
            let each = |live: Value| {
                if let Some(wanted) = by_name.get(text(&live, "/metadata/name")) {
                    self.judge(app, wanted, &live, look);
                }
            };
            self.wire.list(resource, namespace, Some(&labels), false, each).await?;
        }
        let mut missing: Vec<&Resolved> =
            objects.iter().copied().filter(|o| !look.seen.contains_key(&o.key)).collect();
        if missing.len() > MANY {
            let mut there = Vec::new();
            let each = |live: Value| {
                let name = text(&live, "/metadata/name");
                if by_name.contains_key(name) {
                    there.push(name.to_owned());
                }
            };
            self.wire.list(resource, namespace, None, true, each).await?;
            missing.retain(|wanted| {
                let is_there = there.contains(&wanted.key.name);
                if !is_there {
                    self.absent(&wanted.key, look);
                }
                is_there
            });
        }
        let gets: Vec<_> = missing.into_iter().map(|wanted| self.get_one(resource, wanted)).collect();
        let mut answers = futures::stream::iter(gets).buffer_unordered(AT_ONCE);
        while let Some((wanted, answer)) = answers.next().await {
            match answer {
                Ok(Some(live)) => self.judge(app, wanted, &live, look),
                Ok(None) => self.absent(&wanted.key, look),
                Err(problem) if problem.is_not_served() => return Err(problem),
                Err(problem) => drop(look.seen.insert(wanted.key.clone(), Err(problem.into()))),
            }
        }
        Ok(())
    }

    async fn get_one<'a>(
        &self,
        resource: &ApiResource,
        wanted: &'a Resolved,
    ) -> (&'a Resolved, Result<Option<Value>, Problem>) {
        (wanted, self.wire.get(resource, &wanted.key.namespace, &wanted.key.name).await)
    }

    fn absent(&self, key: &ObjectKey, look: &mut Look) {
        self.notes.set(key, Note::default());
        look.seen.insert(key.clone(), Ok(Seen::Absent));
    }

    /// One live object, next to what is wanted.
    fn judge(&self, app: &AppKey, wanted: &Resolved, live: &Value, look: &mut Look) {
        let key = &wanted.key;
        if !self.marks.is_ours(key, live) {
            self.notes.forget(key);
            look.seen.insert(key.clone(), Ok(Seen::Foreign));
            return;
        }
        let known = self.notes.get(key).filter(|note| note.ours).unwrap_or_default();
        let version = self.notes.version(text(live, "/metadata/resourceVersion"));
        self.notes.set(key, Note { ours: true, version, ..known });
        let (differs, drifted) = self.differs(app, wanted, live, known);
        let applied = known.applied.map(|at| at.elapsed());
        let given = Given { rules: Some(&look.rules), applied, now: Some(jiff::Timestamp::now()) };
        let health = health::judge(live, &given);
        if let Some(selected) = Selected::of(live, &health) {
            look.short.push((key.clone(), selected));
        }
        look.seen.insert(key.clone(), Ok(Seen::Ours { differs, drifted, health }));
    }

    /// (differs, drifted), as [`Seen::Ours`] means them.
    fn differs(&self, app: &AppKey, wanted: &Resolved, live: &Value, known: Note) -> (bool, bool) {
        let digest = self.marks.digest(&wanted.object).to_string();
        let mark = |name: &str| marks::annotation(live, name);
        let of_another = mark(marks::APP).is_some_and(|owner| owner != marks::app_mark(app));
        if of_another || mark(APPLIED).is_some_and(|applied| applied != digest) {
            return (true, false);
        }
        // Our marks or our entry in the managed fields were removed.
        let Some(ours) = marks::our_fields(live).filter(|_| mark(APPLIED).is_some()) else {
            return (true, true);
        };
        let found = differences(&self.marks.marked(app, &wanted.key, &wanted.object), live, Some(ours));
        if found.is_empty() || known.settled == Some(fingerprint(&digest, &found)) {
            return (false, false);
        }
        // Still ours but different, and never seen so: it may be the server's own spelling, which the next write shows.
        (true, known.settled.is_some() || found.iter().any(|d| d.lost))
    }

    /// Adds what the pods say to the workloads that lack something.
    async fn explain(&self, look: Look) -> BTreeMap<ObjectKey, Result<Seen, TargetError>> {
        let Look { mut seen, short, .. } = look;
        for (key, selected) in short.into_iter().take(EXPLAINED) {
            if let Some(Ok(Seen::Ours { health, .. })) = seen.get_mut(&key) {
                self.explain_by_pods(&key.namespace, &selected, health).await;
            }
        }
        seen
    }
}
