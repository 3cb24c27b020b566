//! Telling: what was told and what is seen now give the events between them, and what is told then.
//!
//! In: [`Conditions`], [`Seen`]. Out: events in order, the next [`Conditions`]. Pure.
//! Never: remembers as told what was not: with more to tell than fits, the rest is told by the next look.

use nave_placement::catalog::CommitId;
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};

use super::conditions::{Conditions, GONE, OfApp, OfCatalog, Stage, magnitude};
use super::seen::{AppSeen, CatalogSeen, Contact, FAULTS, Seen};
use super::{Clusters, Event, OfHold};

/// How often it is told that drift of an app is put back: who fights with others does so all day.
const CORRECTED_MS: u64 = 10 * 60_000;
/// Causes of one app that are told until it is well.
const CAUSES: usize = 20;

/// Tells, at most so many events.
pub fn tell(told: &Conditions, seen: &Seen, at_most: usize) -> (Conditions, Vec<Event>) {
    let mut telling = Telling { now: told.clone(), events: Vec::new(), at_most };
    if telling.now.begun_ms == 0 {
        telling.now.begun_ms = seen.now_ms;
    }
    for (tenant, catalog) in seen.catalogs() {
        telling.taken(tenant, catalog);
    }
    telling.holds(seen);
    for (app, seen_of) in &seen.apps {
        let known = telling.now.apps.remove(app).unwrap_or_default();
        let known = telling.app(app, seen_of, known, seen);
        if known != OfApp::default() {
            telling.now.apps.insert(app.clone(), known);
        }
    }
    // Before anything is decided it is not known that an app is gone.
    if seen.is_decided {
        telling.now.apps.retain(|app, _| seen.apps.contains_key(app));
        telling.forget_tenants(seen);
    }
    for (tenant, catalog) in seen.catalogs() {
        telling.converged(tenant, catalog, seen);
    }
    telling.contacts(seen);
    telling.certificates(seen);
    (telling.now, telling.events)
}

struct Telling {
    now: Conditions,
    events: Vec<Event>,
    at_most: usize,
}

impl Telling {
    /// Whether there is room for the event; only then it counts as told.
    fn say(&mut self, event: Event) -> bool {
        let has_room = self.events.len() < self.at_most;
        if has_room {
            self.events.push(event);
        }
        has_room
    }

    /// What was told of the commits of the root, or of a tenant that is known.
    fn of(&mut self, tenant: Option<&CatalogName>) -> Option<&mut OfCatalog> {
        match tenant {
            None => Some(&mut self.now.root),
            Some(tenant) => self.now.tenants.get_mut(tenant),
        }
    }

    /// Who is named again with the commit that was told is not news: most of those who are gone are remembered, by that alone.
    fn forget_tenants(&mut self, seen: &Seen) {
        let is_gone = |tenant: &CatalogName| !seen.tenants.contains_key(tenant);
        for (_, of) in self.now.tenants.iter_mut().filter(|(tenant, _)| is_gone(tenant)) {
            *of = OfCatalog { head: of.head.take(), ..OfCatalog::default() };
        }
        let mut over = self.now.tenants.keys().filter(|tenant| is_gone(tenant)).count().saturating_sub(GONE);
        self.now.tenants.retain(|tenant, _| {
            let goes = over > 0 && is_gone(tenant);
            over -= usize::from(goes);
            !goes
        });
    }

    fn taken(&mut self, tenant: Option<&CatalogName>, seen: &CatalogSeen) {
        let known = self.of(tenant).and_then(|of| of.head.as_ref());
        let Some(commit) = seen.commit.as_ref().filter(|commit| known != Some(*commit)).cloned() else {
            return;
        };
        if self.say(Event::Taken { commit: commit.clone(), catalog: tenant.cloned() }) {
            let of = match tenant {
                None => &mut self.now.root,
                Some(tenant) => self.now.tenants.entry(tenant.clone()).or_default(),
            };
            of.head = Some(commit.clone());
            of.open.retain(|open| *open != commit);
            of.reopen(&commit);
        }
    }

    fn holds(&mut self, seen: &Seen) {
        let ended: Vec<OfHold> = self
            .now
            .holds
            .iter()
            .filter(|(id, _)| !seen.holds.contains_key(*id))
            .map(|(_, of)| of.clone())
            .collect();
        for of in ended {
            let id = of.hold.clone();
            let detail = "it was approved, or the change was taken back".to_owned();
            if self.say(Event::HoldEnded(OfHold { detail, ..of })) {
                self.now.holds.remove(&id);
            }
        }
        for (id, of) in &seen.holds {
            if !self.now.holds.contains_key(id) && self.say(Event::Held(of.clone())) {
                // Its end has to say what it was of, and no more.
                let brief = OfHold { clusters: Clusters::default(), detail: String::new(), ..of.clone() };
                self.now.holds.insert(id.clone(), brief);
                let tenant = of.app.as_ref().map_or(of.catalog.as_ref(), |app| seen.tenant_of(app));
                if let Some(known) = self.of(tenant).filter(|known| known.head.as_ref() == Some(&of.commit)) {
                    known.reopen(&of.commit);
                }
            }
        }
    }

    fn app(&mut self, app: &AppKey, seen: &AppSeen, mut known: OfApp, all: &Seen) -> OfApp {
        let is_new = |known: &OfApp, cause: &str, level: u32| {
            known.failing.get(cause).is_none_or(|told| *told < level)
        };
        for (cause, (clusters, detail)) in &seen.failing {
            let (id, level) = (cause.digest(), magnitude(clusters.total));
            if !is_new(&known, &id, level)
                || (known.failing.len() >= CAUSES && !known.failing.contains_key(&id))
            {
                continue;
            }
            let event = Event::Failed {
                app: Some(app.clone()),
                commit: cause.commit.clone(),
                catalog: all.other_by(app, &cause.commit),
                clusters: clusters.clone(),
                reason: cause.reason.clone(),
                object: cause.object.clone(),
                detail: detail.clone(),
            };
            if self.say(event) {
                known.failing.insert(id, level);
                known.converged = None;
                self.reopen(all.tenant_by(app, &cause.commit), &cause.commit);
            }
        }
        self.rollout(app, all, seen, &mut known);
        self.moving(app, all, seen.moving, &mut known);
        self.drift(app, seen, &mut known, all.now_ms);
        if let Some((version, commit)) = seen.version.as_ref().filter(|_| seen.is_well && !all.is_faulty(app))
        {
            let is_told = known.converged.as_ref().is_some_and(|told| told == &(*version, commit.clone()));
            let clusters = Clusters { total: seen.clusters, names: Vec::new() };
            if is_told || self.say(converged(Some((app, *version)), None, commit, clusters)) {
                known.converged = Some((*version, commit.clone()));
                known.failing.clear();
            }
        }
        known
    }

    fn reopen(&mut self, tenant: Option<&CatalogName>, commit: &CommitId) {
        if let Some(of) = self.of(tenant) {
            of.reopen(commit);
        }
    }

    fn rollout(&mut self, app: &AppKey, all: &Seen, seen: &AppSeen, known: &mut OfApp) {
        for (at_ms, of) in &seen.ended {
            if *at_ms <= known.ended_ms || *at_ms < self.now.begun_ms {
                continue;
            }
            if self.say(Event::RolledBack(of.clone())) {
                known.ended_ms = *at_ms;
                known.converged = None;
                if let Some(catalog) = self.of(all.tenant_by(app, &of.commit)) {
                    catalog.lost.insert(of.commit.clone());
                    catalog.reopen(&of.commit);
                }
            }
        }
        let Some(rollout) = &seen.rollout else {
            known.rollout = None;
            return;
        };
        // A hub that has just started does not know yet what it waits for.
        let Some(stand) = rollout.told() else {
            known.rollout.take_if(|told| told.rollout != rollout.of.rollout);
            return;
        };
        if known.rollout.as_ref() == Some(&stand) {
            return;
        }
        let of = rollout.of.clone();
        let event = match &stand.stage {
            Stage::Goes => None,
            Stage::Halted => Some(Event::RolloutHalted(of)),
            Stage::RollingBack => Some(Event::RollingBack(of)),
            Stage::AwaitsApproval { .. } => Some(Event::AwaitsApproval(of)),
        };
        let is_bad = matches!(stand.stage, Stage::Halted | Stage::RollingBack);
        if event.is_none_or(|event| self.say(event)) {
            if is_bad {
                known.converged = None;
                self.reopen(all.tenant_by(app, &rollout.of.commit), &rollout.of.commit);
            }
            known.rollout = Some(stand).filter(|stand| stand.stage != Stage::Goes);
        }
    }

    /// What is to come or to go says by no commit that it does: those that are new when it is seen first wait for it.
    fn moving(&self, app: &AppKey, all: &Seen, entries: usize, known: &mut OfApp) {
        if !all.is_decided {
            return;
        }
        if entries == 0 {
            known.moving = None;
            return;
        }
        let moving = known.moving.get_or_insert_default();
        let of = |name: &Option<CatalogName>| match name {
            None => Some(&self.now.root),
            Some(name) => self.now.tenants.get(name),
        };
        let is_open = |name: &Option<CatalogName>, commit: &CommitId| {
            of(name).is_some_and(|of| of.open.contains(commit))
        };
        moving.commits.retain(|(name, commit)| is_open(name, commit));
        if entries > moving.entries {
            // A tenant's own comes before what the root says of its clusters.
            let mut new = [all.tenant_of(app).cloned(), None].into_iter().filter_map(|name| {
                let head = of(&name)?.head.clone()?;
                is_open(&name, &head).then_some((name, head))
            });
            moving.commits.extend(new.next());
        }
        moving.entries = entries;
    }

    fn drift(&mut self, app: &AppKey, seen: &AppSeen, known: &mut OfApp, now_ms: u64) {
        let drifted = |clusters: &Clusters, corrected| Event::Drifted {
            app: app.clone(),
            clusters: clusters.clone(),
            corrected,
        };
        let is_due = known.corrected_ms == 0 || now_ms >= known.corrected_ms.saturating_add(CORRECTED_MS);
        if !seen.corrected.is_empty() && is_due && self.say(drifted(&seen.corrected, true)) {
            known.corrected_ms = now_ms;
        }
        match (known.drift, seen.drifting.total) {
            (None, 0) => {}
            (Some(_), 0) => {
                if self.say(Event::DriftEnded { app: app.clone() }) {
                    known.drift = None;
                }
            }
            (told, total) => {
                let level = magnitude(total);
                if told.is_none_or(|told| told < level) && self.say(drifted(&seen.drifting, false)) {
                    known.drift = Some(level);
                }
            }
        }
    }

    /// The commits that are as they shall be. One waits for those that came after it: what they changed is no longer its own.
    fn converged(&mut self, tenant: Option<&CatalogName>, catalog: &CatalogSeen, seen: &Seen) {
        let head = catalog.commit.clone().filter(|_| seen.is_decided && seen.is_lit);
        // Where there was no room to tell that it was taken, that comes first.
        let Some((head, mut of)) = head.zip(self.of(tenant).cloned()) else { return };
        self.faults(tenant, (catalog, &head), &mut of);
        let unfinished = of.open.iter().rposition(|commit| self.is_unfinished(tenant, commit, seen));
        let from = unfinished.map_or(0, |last| last + 1);
        let here = seen.contacts.iter().filter(|(_, contact)| **contact == Contact::Here);
        let clusters = match tenant {
            None => Clusters::of(here.map(|(name, _)| name)),
            Some(tenant) => seen.having.get(tenant).cloned().unwrap_or_default(),
        };
        while let Some(commit) = of.open.get(from).cloned() {
            // What was taken back stays a failure, whatever became of those after it.
            let is_over = of.lost.contains(&commit) && commit != head;
            if !is_over && !self.say(converged(None, tenant, &commit, clusters.clone())) {
                break;
            }
            of.lost.remove(&commit);
            of.open.remove(from);
        }
        of.lost.retain(|commit| of.open.contains(commit));
        if let Some(known) = self.of(tenant) {
            *known = of;
        }
    }

    /// The mistakes of the commit in effect, one for each app.
    fn faults(
        &mut self,
        tenant: Option<&CatalogName>,
        (catalog, head): (&CatalogSeen, &CommitId),
        of: &mut OfCatalog,
    ) {
        if catalog.faults.is_empty() || of.faulty.as_ref() != Some(head) {
            of.faulty = None;
            of.faults.clear();
        }
        // Who told of them before did not say of which.
        if of.faulty.is_some() && of.faults.is_empty() {
            of.faults.extend(catalog.faults.iter().map(|fault| fault.app.clone()));
        }
        for fault in &catalog.faults {
            if of.faults.len() >= FAULTS || of.faults.contains(&fault.app) {
                continue;
            }
            let event = Event::Failed {
                app: fault.app.clone(),
                commit: head.clone(),
                catalog: tenant.filter(|_| fault.app.is_none()).cloned(),
                clusters: Clusters::default(),
                reason: "CatalogProblem".to_owned(),
                object: None,
                detail: fault.detail.clone(),
            };
            if !self.say(event) {
                return;
            }
            of.lost.insert(head.clone());
            of.faulty = Some(head.clone());
            of.faults.insert(fault.app.clone());
            if let Some(app) = &fault.app {
                self.is_not_well(app);
            }
        }
    }

    /// Once an app is well again it will be told.
    fn is_not_well(&mut self, app: &AppKey) {
        if let Some(mut known) = self.now.apps.remove(app) {
            known.converged = None;
            if known != OfApp::default() {
                self.now.apps.insert(app.clone(), known);
            }
        }
    }

    /// Whether something of a catalog's commit is not as it shall be. An app of a tenant may be what it is by a commit of the root,
    /// unless that is one of its own.
    fn is_unfinished(&self, tenant: Option<&CatalogName>, commit: &CommitId, seen: &Seen) -> bool {
        let key = (tenant.cloned(), commit.clone());
        let moving = self.now.apps.values().filter_map(|app| app.moving.as_ref());
        if moving.map(|moving| &moving.commits).any(|commits| commits.contains(&key)) {
            return true;
        }
        let is_own = |name: &CatalogName| {
            let known = self.now.tenants.get(name);
            known.is_some_and(|known| known.head.as_ref() == Some(commit) || known.open.contains(commit))
        };
        match tenant {
            Some(tenant) => seen.unfinished.contains(&(tenant.clone(), commit.clone())),
            None => seen.unfinished.iter().any(|(name, of)| of == commit && !is_own(name)),
        }
    }

    fn contacts(&mut self, seen: &Seen) {
        let contact = |name: &ClusterName| seen.contacts.get(name).copied();
        // Who is no member any more, or is worked on, is not told of.
        self.now.offline.retain(|name| matches!(contact(name), Some(Contact::Here | Contact::Away)));
        let back: Vec<ClusterName> =
            self.now.offline.iter().filter(|name| contact(name) == Some(Contact::Here)).cloned().collect();
        if !back.is_empty() && self.say(Event::ClusterBack { clusters: Clusters::of(&back) }) {
            self.now.offline.retain(|name| !back.contains(name));
        }
        let away =
            seen.contacts.iter().filter(|(_, contact)| **contact == Contact::Away).map(|(name, _)| name);
        let gone: Vec<ClusterName> = away.filter(|name| !self.now.offline.contains(*name)).cloned().collect();
        if !gone.is_empty() && self.say(Event::ClusterOffline { clusters: Clusters::of(&gone) }) {
            self.now.offline.extend(gone);
        }
    }

    fn certificates(&mut self, seen: &Seen) {
        // Of one that is not connected nothing new is known.
        self.now.expiring.retain(|name| {
            seen.expiring.contains_key(name)
                || seen.contacts.get(name).is_some_and(|contact| *contact != Contact::Here)
        });
        let fresh: Vec<&ClusterName> =
            seen.expiring.keys().filter(|name| !self.now.expiring.contains(*name)).collect();
        let until_ms = fresh.iter().filter_map(|name| seen.expiring.get(*name)).min().copied();
        if let Some(until_ms) = until_ms {
            let clusters = Clusters::of(fresh.iter().copied());
            if self.say(Event::CertificateNearExpiry { clusters, until_ms }) {
                self.now.expiring.extend(fresh.into_iter().cloned());
            }
        }
        match seen.ca_until_ms {
            Some(until_ms) if !self.now.ca => {
                let clusters = Clusters::default();
                self.now.ca = self.say(Event::CertificateNearExpiry { clusters, until_ms });
            }
            Some(_) => {}
            None => self.now.ca = false,
        }
    }
}

fn converged(
    of: Option<(&AppKey, Digest)>,
    tenant: Option<&CatalogName>,
    commit: &CommitId,
    clusters: Clusters,
) -> Event {
    let (app, version) = of.unzip();
    Event::Converged {
        app: app.cloned(),
        version,
        commit: commit.clone(),
        catalog: tenant.cloned(),
        clusters,
    }
}

#[cfg(test)]
mod tests;
