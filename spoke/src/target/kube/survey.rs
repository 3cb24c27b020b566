//! Survey: a look at the objects of many apps at once, one list a kind instead of some requests an app.
//!
//! In: what all apps claim. Out: which objects are known to be at rest; what was seen of the others, for whoever asks next.
//! Never: takes an incomplete list for a complete one; decides. Where lists over all namespaces are forbidden or fail,
//! nothing is known, and each app asks for its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kube::core::discovery::ApiResource;
use nave_placement::ObjectKey;
use serde_json::Value;

use super::look::Look;
use super::marks::PART_OF;
use super::notes::Note;
use super::problem::Problem;
use super::shared::{Shared, text};
use crate::plan::ClaimedObject;
use crate::target::{Behalf, Claims, Seen};

/// Fewer objects of a kind than this are asked for by those that want them.
const MANY: usize = 24;

/// The wanted objects of one kind.
type OfKind<'a> = HashMap<(&'a str, &'a str), &'a ClaimedObject>;

impl Shared {
    pub async fn survey(&self, claims: &dyn Claims) -> BTreeSet<ObjectKey> {
        self.sightings.clear();
        let mut kinds: BTreeMap<(&str, &str), OfKind<'_>> = BTreeMap::new();
        for object in claims.objects() {
            let at = (object.api_version.as_str(), object.key.kind.as_str());
            let name = (object.key.namespace.as_str(), object.key.name.as_str());
            kinds.entry(at).or_default().insert(name, object);
        }
        let mut calm = BTreeSet::new();
        for ((version, kind), objects) in kinds {
            let Some(resource) = self.kinds().exactly(version, kind).filter(|_| objects.len() > MANY) else {
                continue;
            };
            let namespaced = objects.keys().any(|(namespace, _)| !namespace.is_empty());
            // Where only some namespaces may be looked at, there is no list of a whole kind.
            if namespaced && !self.namespaces.is_empty() {
                continue;
            }
            if let Err(problem) = self.survey_kind(claims, &resource, &objects, &mut calm).await {
                tracing::debug!(kind, error = %problem.error, "no list of a whole kind; each app asks for its own");
            }
        }
        calm
    }

    async fn survey_kind(
        &self,
        claims: &dyn Claims,
        resource: &ApiResource,
        objects: &OfKind<'_>,
        calm: &mut BTreeSet<ObjectKey>,
    ) -> Result<(), Problem> {
        let mut known: HashSet<&ObjectKey> = HashSet::new();
        let mut versions = Vec::new();
        let since = self.sightings.begin();
        if self.sightings.knows_any() {
            // What has not changed since it was last judged needs no second judgement: its version tells.
            let each = |live: Value| {
                if let Some(object) = of(objects, &live)
                    && self.sightings.is_calm(&object.key, version(&live), &object.digest)
                {
                    known.insert(&object.key);
                    versions.push((&object.key, self.notes.version(version(&live))));
                }
            };
            self.wire.list(resource, "", Some(PART_OF), true, each).await?;
            versions.into_iter().for_each(|(key, version)| self.sightings.confirm(since, key, version));
            calm.extend(known.iter().map(|key| (*key).clone()));
        }
        if objects.len() - known.len() > MANY {
            self.judge_all(claims, resource, objects, &mut known).await?;
        }
        if objects.len() - known.len() > MANY {
            self.find_absent(resource, objects, &known).await?;
        }
        Ok(())
    }

    /// Judges every object that carries our label and is not known yet, page by page.
    async fn judge_all<'o>(
        &self,
        claims: &dyn Claims,
        resource: &ApiResource,
        objects: &OfKind<'o>,
        known: &mut HashSet<&'o ObjectKey>,
    ) -> Result<(), Problem> {
        let mut from = None;
        // One for all pages: they show the state of one moment.
        let since = self.sightings.begin();
        loop {
            let page = self.wire.page(resource, "", Some(PART_OF), false, from).await?;
            for live in page.objects()? {
                let live = live?;
                let Some(object) = of(objects, &live).filter(|object| !known.contains(&object.key)) else {
                    continue;
                };
                let Some(holder) = claims.holder(&object.key).await else { continue };
                // Who is looked at as somebody else is looked at by itself.
                if holder.treatment.service_account.is_some() {
                    continue;
                }
                let Some(wanted) = holder.objects.iter().find(|wanted| wanted.key == object.key) else {
                    continue;
                };
                let of = Behalf { app: &holder.app, treatment: &holder.treatment };
                let mut look = Look::under(of);
                self.judge(of, wanted, &live, &mut look);
                if let Some(Ok(seen)) = look.seen.remove(&object.key)
                    // What lacks pods is asked about its pods by who asks for it.
                    && !look.is_open()
                {
                    let version = self.notes.version(version(&live));
                    self.sightings.put(since, &object.key, Some(version), object.digest, seen);
                    known.insert(&object.key);
                }
            }
            match page.more {
                Some(more) => from = Some(more),
                None => return Ok(()),
            }
        }
    }

    /// Of the objects that are not known yet: those that an unfiltered list does not have are absent.
    async fn find_absent(
        &self,
        resource: &ApiResource,
        objects: &OfKind<'_>,
        known: &HashSet<&ObjectKey>,
    ) -> Result<(), Problem> {
        let mut there: HashSet<&ObjectKey> = HashSet::new();
        let since = self.sightings.begin();
        let each = |live: Value| there.extend(of(objects, &live).map(|object| &object.key));
        self.wire.list(resource, "", None, true, each).await?;
        for object in objects.values().filter(|o| !known.contains(&o.key) && !there.contains(&o.key)) {
            self.notes.set(&object.key, Note::default());
            self.sightings.put(since, &object.key, None, object.digest, Seen::Absent);
        }
        Ok(())
    }
}

fn of<'a>(objects: &OfKind<'a>, live: &Value) -> Option<&'a ClaimedObject> {
    let name = (text(live, "/metadata/namespace"), text(live, "/metadata/name"));
    objects.get(&name).copied()
}

fn version(live: &Value) -> &str {
    text(live, "/metadata/resourceVersion")
}
