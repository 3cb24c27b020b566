//! Tally: how apps stand on how many clusters, kept up to date by the clusters that changed.
//!
//! In: what clusters were told and reported, and whether they can be looked at. Out: sums by app, by catalog and by commit.
//! Never: reads an entry again of which nothing changed: a look at a fleet that is at rest compares two numbers a cluster, and what
//! takes no changes there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{Cause as LeavingCause, Told};
use nave_placement::catalog::CommitId;
use nave_placement::report::{EntryReport, EntryState, Report};
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};

use super::seen::Contact;
use crate::deciding::granting::{StayKind, Stays};
use crate::operator::cause;
use crate::state::State;
use crate::store::Version;

/// Bytes of a message that an event keeps.
const DETAIL: usize = 500;

/// By what an app fails on clusters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    /// The last commit that changed the entry.
    pub commit: CommitId,
    /// CamelCase.
    pub reason: String,
    /// The worst object.
    pub object: Option<String>,
}

impl Cause {
    /// Names it.
    pub fn digest(&self) -> String {
        let object = self.object.as_deref().unwrap_or_default();
        Digest::of(format!("{}\n{}\n{object}", self.commit, self.reason).as_bytes()).short()
    }
}

/// Sums over all clusters of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfApp {
    /// Clusters that have it.
    pub known: usize,
    /// Of these, those that are not passed over.
    pub clusters: usize,
    /// Of these, healthy ones.
    pub healthy: usize,
    /// Of these, failing ones: by cause, with what each says.
    pub failing: BTreeMap<Cause, BTreeMap<ClusterName, String>>,
    /// All clusters on which it differs.
    pub drifting: BTreeSet<ClusterName>,
}

/// The sums, and what each cluster adds to them.
#[derive(Debug, Default)]
pub struct Tally {
    /// What takes no changes, as it was known last; and of which clusters that is which apps.
    ungranted: Arc<Stays>,
    at_rest: BTreeMap<ClusterName, AtRest>,
    clusters: BTreeMap<ClusterName, Counted>,
    apps: BTreeMap<AppKey, OfApp>,
    /// Clusters that have an app of a catalog and are not passed over.
    having: BTreeMap<CatalogName, BTreeSet<ClusterName>>,
    unfinished: BTreeMap<OfCommit, usize>,
    corrected: BTreeMap<AppKey, BTreeSet<ClusterName>>,
}

/// A commit that made an app of a catalog what it is.
pub type OfCommit = (CatalogName, CommitId);

/// Apps of a cluster that take no changes, as they were told.
type AtRest = BTreeMap<AppKey, Digest>;

/// What a cluster adds.
#[derive(Debug)]
struct Counted {
    /// Versions of the records that it was read from.
    of: (Option<Version>, Option<Version>),
    contact: Contact,
    at_rest: AtRest,
    entries: BTreeMap<AppKey, Line>,
    /// Commits whose removals are under way.
    leaving: Vec<OfCommit>,
    /// The boot whose corrections are counted.
    boot: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    commit: CommitId,
    stands: Stands,
    drifted: bool,
    corrected: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stands {
    /// It is passed over: its cluster is, or it takes no changes and is not failing.
    Apart,
    Healthy,
    Open,
    Failing(Cause, String),
}

impl Tally {
    /// Takes in what changed, of at most so many clusters; whether there may be more.
    pub fn update(
        &mut self,
        state: &State,
        contacts: &BTreeMap<ClusterName, Contact>,
        ungranted: &Arc<Stays>,
        at_most: usize,
    ) -> bool {
        if !Arc::ptr_eq(&self.ungranted, ungranted) {
            self.ungranted = ungranted.clone();
            self.at_rest = at_rest(ungranted);
        }
        let nothing = AtRest::new();
        let gone: Vec<ClusterName> =
            self.clusters.keys().filter(|name| !contacts.contains_key(*name)).cloned().collect();
        for name in gone {
            self.take_out(&name);
        }
        let mut read = 0;
        for (name, contact) in contacts {
            let (told, report) = (state.told.get(name), state.reports.get(name));
            let of = (told.map(|told| told.version), report.map(|report| report.version));
            let at_rest = self.at_rest.get(name).unwrap_or(&nothing);
            let is_known =
                |known: &Counted| known.of == of && known.contact == *contact && known.at_rest == *at_rest;
            if self.clusters.get(name).is_some_and(is_known) {
                continue;
            }
            let at_rest = at_rest.clone();
            if read == at_most {
                return true;
            }
            read += 1;
            let before = self.take_out(name);
            let counted = count(
                told.map(|told| &*told.record),
                report.map(|report| &*report.record.report),
                of,
                (*contact, at_rest),
            );
            if let Some(before) = before.filter(|before| before.boot == counted.boot) {
                self.hear_corrections(name, &before, &counted);
            }
            self.put_in(name, counted);
        }
        false
    }

    /// By app.
    pub fn apps(&self) -> impl Iterator<Item = (&AppKey, &OfApp)> {
        self.apps.iter()
    }

    /// Commits of which some entry is not healthy, or some removal is under way.
    pub fn unfinished(&self) -> impl Iterator<Item = &OfCommit> {
        self.unfinished.keys()
    }

    /// Clusters that have an app of a catalog and are not passed over.
    pub fn having(&self) -> impl Iterator<Item = (&CatalogName, &BTreeSet<ClusterName>)> {
        self.having.iter()
    }

    /// Where drift was put back since this was asked last.
    pub fn corrected(&mut self) -> BTreeMap<AppKey, BTreeSet<ClusterName>> {
        std::mem::take(&mut self.corrected)
    }

    fn hear_corrections(&mut self, name: &ClusterName, before: &Counted, now: &Counted) {
        for (app, line) in &now.entries {
            let more = before.entries.get(app).is_some_and(|before| line.corrected > before.corrected);
            if more && now.contact != Contact::Maintained {
                self.corrected.entry(app.clone()).or_default().insert(name.clone());
            }
        }
    }

    fn take_out(&mut self, name: &ClusterName) -> Option<Counted> {
        let counted = self.clusters.remove(name)?;
        for (app, line) in &counted.entries {
            let Some(sums) = self.apps.get_mut(app) else { continue };
            sums.known -= 1;
            sums.drifting.remove(name);
            match &line.stands {
                Stands::Apart => {}
                Stands::Healthy => {
                    sums.clusters -= 1;
                    sums.healthy -= 1;
                }
                Stands::Open => sums.clusters -= 1,
                Stands::Failing(cause, _) => {
                    sums.clusters -= 1;
                    if let Some(on) = sums.failing.get_mut(cause) {
                        on.remove(name);
                        if on.is_empty() {
                            sums.failing.remove(cause);
                        }
                    }
                }
            }
            if sums.known == 0 {
                self.apps.remove(app);
            }
        }
        for catalog in counted.catalogs() {
            if let Some(having) = self.having.get_mut(catalog) {
                having.remove(name);
                if having.is_empty() {
                    self.having.remove(catalog);
                }
            }
        }
        for commit in counted.unfinished() {
            if let Some(count) = self.unfinished.get_mut(&commit) {
                *count -= 1;
                if *count == 0 {
                    self.unfinished.remove(&commit);
                }
            }
        }
        Some(counted)
    }

    fn put_in(&mut self, name: &ClusterName, counted: Counted) {
        for (app, line) in &counted.entries {
            let sums = self.apps.entry(app.clone()).or_default();
            sums.known += 1;
            if line.drifted {
                sums.drifting.insert(name.clone());
            }
            match &line.stands {
                Stands::Apart => {}
                Stands::Healthy => {
                    sums.clusters += 1;
                    sums.healthy += 1;
                }
                Stands::Open => sums.clusters += 1,
                Stands::Failing(cause, detail) => {
                    sums.clusters += 1;
                    sums.failing.entry(cause.clone()).or_default().insert(name.clone(), detail.clone());
                }
            }
        }
        for catalog in counted.catalogs() {
            self.having.entry(catalog.clone()).or_default().insert(name.clone());
        }
        for commit in counted.unfinished() {
            *self.unfinished.entry(commit).or_default() += 1;
        }
        self.clusters.insert(name.clone(), counted);
    }
}

impl Counted {
    fn unfinished(&self) -> impl Iterator<Item = OfCommit> {
        let open = |line: &Line| matches!(line.stands, Stands::Open | Stands::Failing(..));
        let open = self.entries.iter().filter(move |(_, line)| open(line));
        open.map(|(app, line)| (app.catalog.clone(), line.commit.clone())).chain(self.leaving.clone())
    }

    /// The catalogs of its apps, unless it is passed over.
    fn catalogs(&self) -> BTreeSet<&CatalogName> {
        let here = self.entries.iter().filter(|(_, line)| line.stands != Stands::Apart);
        here.map(|(app, _)| &app.catalog).collect()
    }
}

/// By cluster.
fn at_rest(ungranted: &Stays) -> BTreeMap<ClusterName, AtRest> {
    let mut at_rest: BTreeMap<ClusterName, AtRest> = BTreeMap::new();
    for ((app, cluster), stay) in ungranted.iter().filter(|(_, stay)| stay.kind == StayKind::AtRest) {
        let told = stay.told.map(|told| (app.clone(), told));
        at_rest.entry(cluster.clone()).or_default().extend(told);
    }
    at_rest
}

fn count(
    told: Option<&Told>,
    report: Option<&Report>,
    of: (Option<Version>, Option<Version>),
    (contact, at_rest): (Contact, AtRest),
) -> Counted {
    let mut counted = Counted {
        of,
        contact,
        at_rest,
        entries: BTreeMap::new(),
        leaving: Vec::new(),
        boot: report.map_or(0, |r| r.boot),
    };
    let Some(told) = told else { return counted };
    let is_current = report.is_some_and(|r| (r.epoch, r.generation) == told.assignment.order());
    for (app, encoded) in &told.assignment.entries {
        let Ok(entry) = nave_proto::decode_entry(&encoded.bytes) else { continue };
        let said = report.and_then(|report| report.entries.get(app));
        let stands = match contact {
            Contact::Away | Contact::Maintained => Stands::Apart,
            Contact::Unsure => Stands::Open,
            Contact::Here => stands(said.filter(|_| is_current), &entry.commit),
        };
        // What takes no changes is at none of the commits that came since. What was told meanwhile does.
        let is_apart = counted.at_rest.get(app) == Some(&encoded.digest);
        let is_apart = is_apart && !matches!(stands, Stands::Failing(..));
        let stands = if is_apart { Stands::Apart } else { stands };
        let line = Line {
            commit: entry.commit,
            stands,
            drifted: contact != Contact::Maintained && said.is_some_and(|said| said.drifted > 0),
            corrected: said.map_or(0, |said| said.corrected),
        };
        counted.entries.insert(app.clone(), line);
    }
    if matches!(contact, Contact::Here | Contact::Unsure) {
        let commits = told.assignment.leaving.iter().filter_map(|(app, leaving)| match &leaving.cause {
            LeavingCause::Revision { commit } => Some((app.catalog.clone(), commit.clone())),
            _ => None,
        });
        counted.leaving = commits.collect();
    }
    counted
}

fn stands(said: Option<&EntryReport>, commit: &CommitId) -> Stands {
    let Some(said) = said else { return Stands::Open };
    match said.state {
        EntryState::Healthy => Stands::Healthy,
        EntryState::Progressing | EntryState::Pending | EntryState::Waiting => Stands::Open,
        EntryState::Degraded | EntryState::Failed => {
            let (reason, worst) = cause(said.reason, &said.unhealthy);
            let object = worst.map(|object| object.key.to_string());
            let cause = Cause { commit: commit.clone(), reason, object };
            let detail = worst.map_or(&said.message, |object| &object.message);
            let end = detail.floor_char_boundary(DETAIL);
            Stands::Failing(cause, detail[..end].to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
