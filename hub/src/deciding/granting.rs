//! Granting: what runs of tenants beyond what is granted to them, and what would.
//!
//! In: what shall run, the grants of the root catalog, what clusters were told. Out: entries that stay as they are, each with why; what of
//! that a wave waits for.
//! Never: removes what was granted once: under a grant that was withdrawn what runs stays, and takes no changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{AppForm, Codec, EncodedEntry, Entry, Member, Options};
use nave_placement::catalog::{Catalog, CommitId, Grant, Kind, ObjectId, Position, Problem, is_configured};
use nave_placement::decide::{Decision, Memory, Wanted};
use nave_placement::fleet::Fleet;
use nave_placement::guard::EntryKey;
use nave_placement::overrides::Shapes;
use nave_placement::render::effective_objects;
use nave_placement::rollout::{Next, Plan, Seen, WaitsFor};
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};

/// Entries that stay as they are, and why.
pub type Stays = BTreeMap<EntryKey, Stay>;

/// Why an entry stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Whether anybody waits for it.
    pub kind: StayKind,
    /// What was told of it, if it was.
    pub told: Option<Digest>,
    /// For people.
    pub why: Arc<str>,
}

/// Whether anybody waits for an entry that stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StayKind {
    /// It is granted no more, and nothing else is to become of it, but for its share of replicas: nobody does.
    AtRest,
    /// A change of it waits for a grant.
    Waits,
    /// What it is to be is not known: its catalog could not be read.
    Unread,
}

/// Entries that stayed as they were for want of a grant, until a commit of the root gave it.
#[derive(Debug, Default)]
pub struct Grants {
    stay: BTreeMap<EntryKey, Ungranted>,
    /// As they were told then, with the commit.
    given: BTreeMap<EntryKey, (Digest, CommitId)>,
}

/// An entry that is not granted.
#[derive(Debug)]
struct Ungranted {
    /// As it was told.
    told: Digest,
    /// Nothing is granted there: no commit of the tenant's changes that.
    is_withdrawn: bool,
}

impl Grants {
    /// Takes in which stay now. `is_done` says whether an entry, as it was told, is what it shall be.
    pub fn note(
        &mut self,
        root: &Catalog,
        is_new: &BTreeSet<CatalogName>,
        [withdrawn, beyond]: [&Stays; 2],
        members: &BTreeMap<ClusterName, Member<'_>>,
        is_done: impl Fn(&EntryKey, &EncodedEntry) -> bool,
    ) {
        let told = |(app, cluster): &EntryKey| members.get(cluster)?.told.assignment.entries.get(app);
        let mut now = BTreeMap::new();
        for (stays, is_withdrawn) in [(withdrawn, true), (beyond, false)] {
            for (key, stay) in stays {
                let ungranted = match stay.kind {
                    // Why it stayed before counts until its catalog is read.
                    StayKind::Unread => self.stay.remove(key),
                    _ => stay.told.map(|told| Ungranted { told, is_withdrawn }),
                };
                now.extend(ungranted.map(|ungranted| (key.clone(), ungranted)));
            }
        }
        // What changed since, or has nothing left to become, is another matter.
        let is_open = |key: &EntryKey, was: Digest| {
            told(key).is_some_and(|entry| entry.digest == was && !is_done(key, entry))
        };
        self.given.retain(|key, (was, _)| !now.contains_key(key) && is_open(key, *was));
        for (key, Ungranted { told: was, is_withdrawn }) in std::mem::replace(&mut self.stay, now) {
            if (is_withdrawn || is_new.contains(&root.name))
                && !self.stay.contains_key(&key)
                && is_open(&key, was)
                && let Some(commit) = said_by(root, &key.0.catalog)
            {
                self.given.insert(key, (was, commit));
            }
        }
    }

    /// The commit by which an entry was granted again, after it had stayed as it is.
    pub fn given_by(&self, key: &EntryKey) -> Option<&CommitId> {
        self.given.get(key).map(|(_, commit)| commit)
    }
}

/// What stays as it is.
#[derive(Debug, Default)]
pub struct Beyond {
    /// Its entries.
    pub stays: Stays,
    /// The same for people, at the app or at the tenant.
    pub problems: Vec<Problem>,
}

/// What clusters run of tenants to which it is granted no more, or whose catalog is not at hand. They shall run it: it is no loss.
pub fn withdrawn(
    wanted: &mut Wanted,
    catalog: &Catalog,
    fleet: &Fleet,
    members: &BTreeMap<ClusterName, Member<'_>>,
    let_go: &BTreeSet<CatalogName>,
) -> Beyond {
    let mut stays = Stays::new();
    let mut told: BTreeMap<(&CatalogName, String), usize> = BTreeMap::new();
    for (cluster, member) in members.iter().filter(|(_, member)| member.emptied_by.is_none()) {
        let set = fleet.get(cluster).and_then(|candidate| candidate.set.as_deref());
        let is_kept = |app: &&AppKey| app.catalog != catalog.name && !let_go.contains(&app.catalog);
        for (app, entry) in member.told.assignment.entries.iter().filter(|(app, _)| is_kept(app)) {
            let name = &app.catalog;
            let (kind, why, end) = match catalog.tenants.contains_key(name) {
                true if catalog.grant_on(app, set).is_some() => continue,
                true => {
                    let why = match set {
                        Some(set) => format!("set {set} is not granted to catalog {name} any more"),
                        None => format!("the cluster is in no set, and catalog {name} is granted sets alone"),
                    };
                    (StayKind::AtRest, why, "it is granted again")
                }
                false if catalog.tenant(name).is_some() => {
                    (StayKind::Unread, format!("catalog {name} could not be read yet"), "it is read")
                }
                false => {
                    let why = format!(
                        "catalog {name} is named no more, in the root catalog or the hub's configuration"
                    );
                    (StayKind::AtRest, why, "it is named again")
                }
            };
            let why = format!("{why}: what runs stays as it is, and takes no changes until {end}");
            *told.entry((name, why.clone())).or_default() += 1;
            wanted.entry(cluster.clone()).or_default().entry(app.clone()).or_default();
            let stay = Stay { kind, told: Some(entry.digest), why: why.into() };
            stays.insert((app.clone(), cluster.clone()), stay);
        }
    }
    // What would come there does not either.
    for (cluster, apps) in wanted.iter() {
        let set = fleet.get(cluster).and_then(|candidate| candidate.set.as_deref());
        for app in apps.keys().filter(|app| app.catalog != catalog.name) {
            let key = (app.clone(), cluster.clone());
            if catalog.grant_on(app, set).is_none() && !stays.contains_key(&key) {
                let name = &app.catalog;
                let why = format!("it is not granted to catalog {name} here").into();
                stays.insert(key, Stay { kind: StayKind::AtRest, told: None, why });
            }
        }
    }
    let problem = |((name, why), entries): ((&CatalogName, String), usize)| {
        let message = format!("{why}: {entries} {}", if entries == 1 { "entry" } else { "entries" });
        let id = ObjectId { kind: Kind::Catalog, name: name.as_str().into() };
        let problem = match catalog.objects.get(&id) {
            Some(effective) => Problem::at(&effective.object.origin, message),
            None => Problem::error(&name.as_str().into(), Position::START, message),
        };
        problem.of(Some(&id)).warning()
    };
    let problems = told.into_iter().map(problem).collect();
    Beyond { stays, problems }
}

/// What was said of the forms of apps on clusters of a set; and of what these would lose by them of what they were told.
type Known<'a> = BTreeMap<(&'a AppKey, Digest, Option<&'a str>, Option<Digest>), Option<Arc<str>>>;

/// Entries that have an object which is not granted to their tenant there, or would lose one. Of what a cluster was told already it was
/// granted once: that it is no more comes by the root.
pub fn beyond(
    catalog: &Catalog,
    fleet: &Fleet,
    wanted: &Wanted,
    shapes: &Shapes,
    members: &BTreeMap<ClusterName, Member<'_>>,
    codec: &dyn Codec,
) -> Beyond {
    let mut beyond = Beyond::default();
    if catalog.tenants.is_empty() {
        return beyond;
    }
    // Clusters share forms: each is looked at once.
    let mut known: Known<'_> = BTreeMap::new();
    let mut had: BTreeMap<(Digest, Digest), (bool, bool)> = BTreeMap::new();
    let mut told: BTreeMap<(&AppKey, Arc<str>), Told<'_>> = BTreeMap::new();
    for (cluster, apps) in wanted {
        let set = fleet.get(cluster).and_then(|candidate| candidate.set.as_deref());
        for app in apps.keys() {
            let Some((grant, form)) = catalog.grant_on(app, set).zip(shapes.get(app, cluster)) else {
                continue;
            };
            let has = members.get(cluster).and_then(|member| member.told.assignment.entries.get(app));
            let why = known.entry((app, form.version, set, None));
            let why = why.or_insert_with(|| objection(app, grant, form, codec)).clone();
            let (why, mut was_granted) = match (why, has) {
                (Some(why), _) => (why, false),
                (None, Some(has)) => {
                    let why = known.entry((app, form.version, set, Some(has.digest)));
                    let why = why.or_insert_with(|| retained(app, grant, (has, form), codec));
                    let Some(why) = why.clone() else { continue };
                    (why, true)
                }
                (None, None) => continue,
            };
            let (is_same_bundle, is_at_rest) = has.map_or((false, false), |has| {
                let compared = || {
                    let had = codec.decode(has);
                    let is_same_bundle = had.as_ref().is_some_and(|had| had.bundle == form.bundle);
                    (is_same_bundle, had.is_some_and(|had| is_but_the_grant(&had, form, grant)))
                };
                *had.entry((has.digest, form.version)).or_insert_with(compared)
            });
            was_granted |= is_same_bundle;
            let told = told.entry((app, why.clone())).or_default();
            told.clusters.push(cluster);
            told.was_granted |= was_granted;
            let kind = if is_at_rest { StayKind::AtRest } else { StayKind::Waits };
            let stay = Stay { kind, told: has.map(|has| has.digest), why };
            beyond.stays.insert((app.clone(), cluster.clone()), stay);
        }
    }
    for ((app, why), Told { clusters, was_granted }) in told {
        let Some((effective, _)) = catalog.app_of(app) else { continue };
        let first = clusters[0];
        let more = match clusters.len() {
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        let message = format!(
            "on {first}{more}: {why}; there it stays as it is until the root catalog grants that, or, where the object is not there yet, it is removed"
        );
        let id = ObjectId { kind: Kind::Catalog, name: app.catalog.as_str().into() };
        let problem = match catalog.objects.get(&id).filter(|_| was_granted) {
            Some(root) => {
                Problem::at(&root.object.origin, format!("app {app} {message}")).of(Some(&id)).warning()
            }
            None => Problem::at(&effective.object.origin, message).of(Some(&effective.object.id)),
        };
        beyond.problems.push(problem);
    }
    beyond
}

/// Clusters on which an app goes beyond its grant.
#[derive(Default)]
struct Told<'a> {
    clusters: Vec<&'a ClusterName>,
    /// Some of them was told just this once, or would lose what was.
    was_granted: bool,
}

/// Whether what a cluster has is what it shall have, but for what is granted, and its share of replicas.
fn is_but_the_grant(has: &Entry, form: &AppForm, grant: &Grant) -> bool {
    let alike = |options: &Options| {
        let mut options = Options { grant: None, share: None, ..options.clone() };
        if grant.service_account.is_some() {
            options.treatment.service_account = None;
        }
        options
    };
    has.bundle == form.bundle && has.values == form.values && alike(&has.options) == alike(&form.options)
}

/// Why something of what a cluster has of an app may not go, which would: it is granted no more, and takes no changes.
fn retained(
    app: &AppKey,
    grant: &Grant,
    (has, form): (&EncodedEntry, &AppForm),
    codec: &dyn Codec,
) -> Option<Arc<str>> {
    let entry = codec.decode(has).filter(|entry| entry.bundle != form.bundle && form.options.prune)?;
    let before = effective_objects(&*codec.objects(&entry.bundle)?, &entry.options, &entry.values);
    let after = effective_objects(&*codec.objects(&form.bundle)?, &form.options, &form.values);
    let gone = before.difference(&after);
    let granted = grant.granted();
    let mut objections = granted.objections(&app.catalog, &entry.options, gone);
    let (object, why) = objections.next()?;
    Some(format!("{object} cannot go: {why}{}", and_more(objections.count())).into())
}

/// The commit of the root catalog in effect, if it is the one that says what is granted to a tenant.
pub fn said_by(root: &Catalog, tenant: &CatalogName) -> Option<CommitId> {
    let id = ObjectId { kind: Kind::Catalog, name: tenant.as_str().into() };
    let said = root.objects.get(&id).filter(|_| root.tenants.contains_key(tenant))?;
    let is_own = said.commit == root.commit && !is_configured(&said.object.origin.file);
    is_own.then(|| said.commit.clone())
}

/// The grant that a wave of some apps waits for, rather than for clusters.
pub fn missed(
    ungranted: &Stays,
    apps: &[AppKey],
    seen: &BTreeMap<ClusterName, Seen<'_>>,
    next: &Next,
    plan: Option<&Plan>,
) -> Option<WaitsFor> {
    let Some(WaitsFor::Reachable { wave, .. }) = &next.waits_for else { return None };
    let (progress, plan) = next.course.current.as_ref().zip(plan)?;
    let due = seen.iter().filter(|(_, seen)| seen.to_do.is_due()).map(|(cluster, _)| cluster);
    let of_wave = due.filter(|cluster| plan.wave_of(cluster) <= progress.wave);
    let why =
        |cluster: &ClusterName| apps.iter().find_map(|app| ungranted.get(&(app.clone(), cluster.clone())));
    let missed: Vec<&Stay> = of_wave.filter_map(why).collect();
    let why = missed.first()?.why.to_string();
    Some(WaitsFor::Granted { wave: wave.clone(), clusters: missed.len(), why })
}

fn and_more(objects: usize) -> String {
    match objects {
        0 => String::new(),
        1 => " (and 1 more object)".to_owned(),
        more => format!(" (and {more} more objects)"),
    }
}

fn objection(app: &AppKey, grant: &Grant, form: &AppForm, codec: &dyn Codec) -> Option<Arc<str>> {
    // Nothing is sent of a bundle that is not at hand.
    let objects = effective_objects(&*codec.objects(&form.bundle)?, &form.options, &form.values);
    let granted = grant.granted();
    let mut objections = granted.objections(&app.catalog, &form.options, &objects);
    let (object, why) = objections.next()?;
    Some(format!("{object}: {why}{}", and_more(objections.count())).into())
}

/// Keeps each tenant to as many clusters as its grants say: a placement that would take more keeps what it had.
pub fn limited(
    catalog: &Catalog,
    fleet: &Fleet,
    remembered: &Memory,
    decisions: &mut [Decision],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let placements: BTreeMap<&str, _> = catalog
        .placements()
        .map(|(object, placement)| (&*object.object.id.name, (object, placement)))
        .collect();
    for (name, joined) in &catalog.tenants {
        for (at, grant) in joined.tenant.grants.iter().enumerate() {
            let Some(most) = grant.max_clusters else { continue };
            let counts = |cluster: &&ClusterName| {
                let set = fleet.get(*cluster).and_then(|candidate| candidate.set.as_deref());
                joined
                    .tenant
                    .grant(set)
                    .is_some_and(|own| std::ptr::eq(own, &raw const joined.tenant.grants[at]))
            };
            let chosen = |clusters: &Decision| -> BTreeSet<ClusterName> {
                clusters.settled.chosen.keys().filter(counts).cloned().collect()
            };
            let is_own = |decision: &&mut Decision| owner(catalog, &decision.placement) == *name;
            let mut taken: BTreeSet<ClusterName> = BTreeSet::new();
            for decision in decisions.iter_mut().filter(is_own) {
                let had = remembered.get(&decision.placement).into_iter().flat_map(|had| had.chosen.keys());
                taken.extend(
                    had.filter(counts).filter(|cluster| chosen(decision).contains(*cluster)).cloned(),
                );
            }
            if taken.len() > most as usize
                && let Some(effective) =
                    catalog.objects.get(&ObjectId { kind: Kind::Catalog, name: name.as_str().into() })
            {
                let message = format!(
                    "its apps are on {} clusters, and {most} are granted: what runs stays, and nothing new comes",
                    taken.len()
                );
                let object = &effective.object;
                problems.push(Problem::at(&object.origin, message).of(Some(&object.id)).warning());
            }
            for decision in decisions.iter_mut().filter(is_own) {
                let all: BTreeSet<ClusterName> = taken.union(&chosen(decision)).cloned().collect();
                let had = remembered.get(&decision.placement).map(|had| &had.chosen);
                let is_new =
                    chosen(decision).iter().any(|cluster| had.is_none_or(|had| !had.contains_key(cluster)));
                if all.len() <= most as usize || !is_new {
                    taken = all;
                    continue;
                }
                let message = format!(
                    "it would bring apps of catalog {name} onto {} clusters, and {most} are granted: it keeps what it has; choose fewer, or raise maxClusters of Catalog/{name}",
                    all.len()
                );
                decision.settled = remembered.get(&decision.placement).cloned().unwrap_or_default();
                if let Some((object, _)) = placements.get(&*decision.placement) {
                    problems.push(Problem::at(&object.object.origin, message).of(Some(&object.object.id)));
                }
            }
        }
    }
    problems
}

fn owner(catalog: &Catalog, placement: &str) -> CatalogName {
    let tenant = placement.split_once('/').and_then(|(name, _)| CatalogName::new(name).ok());
    tenant.unwrap_or_else(|| catalog.name.clone())
}
