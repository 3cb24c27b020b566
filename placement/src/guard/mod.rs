//! Guard: what may leave, and what is held until somebody approves it.
//!
//! In: every entry and object that the next assignments would lose, counts, the losses of the last hour, approvals.
//! Out: a [`Verdict`]: what may go and why, and the [`Hold`]s.
//! Never: lets a loss pass that breaks a limit, holds what does not.
//!
//! Limits are those of `design.md` section 5. A loss stands in one hold at most: what is protected is looked at first, then the
//! app's limit, then the cluster's, then how many clusters would lose their last entry, then the fleet's, each over what the
//! earlier ones left.

mod guarded;
mod hold;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::assign::Cause;
use crate::catalog::{CommitId, GuardLimit};
use crate::{AppKey, CatalogName, ClusterName, Fingerprints};

pub use guarded::Guarded;
pub use hold::{Hold, HoldCause};

/// An app on a cluster.
pub type EntryKey = (AppKey, ClusterName);

/// The losses of how long count together, in milliseconds.
pub const WINDOW_MS: u64 = 3_600_000;

/// What one change would remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Entries, each with the reason it would go.
    pub entries: BTreeMap<EntryKey, Cause>,
    /// Objects that apps would drop, by app: how many distinct ones.
    pub objects: BTreeMap<AppKey, usize>,
    /// Objects that spokes would delete and did not, being more than the hub knows of.
    pub leftovers: BTreeMap<EntryKey, Fingerprints>,
}

/// How much there is, before the change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries by app.
    pub by_app: BTreeMap<AppKey, usize>,
    /// Entries by cluster.
    pub by_cluster: BTreeMap<ClusterName, usize>,
    /// Distinct objects by app.
    pub objects: BTreeMap<AppKey, usize>,
}

/// An entry that left lately.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PastLoss {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// The app.
    pub app: AppKey,
    /// The cluster.
    pub cluster: ClusterName,
}

/// What somebody allowed beforehand, by a trailer of a commit: each is valid once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The commit that carries the trailer.
    pub commit: CommitId,
    /// What it allows.
    pub scope: AllowanceScope,
    /// How many.
    pub count: usize,
}

/// What an allowance is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowanceScope {
    /// `app/NAME=N`: entries of an app.
    App(AppKey),
    /// `app/NAME/objects=N`: objects of an app.
    Objects(AppKey),
    /// `*=N`: anything.
    Anything,
    /// The same in a tenant's catalog: anything of its apps.
    Catalog(CatalogName),
}

/// The key of the trailer.
pub const TRAILER: &str = "Nave-Allow-Removal";
/// What stands before the commit in the name of who allowed something, where that is a trailer.
pub const BY_TRAILER: &str = "trailer ";

impl Allowance {
    /// Reads the value of a trailer: `app/podinfo=12`, `app/podinfo/objects=30` or `*=40`, several joined by commas.
    /// `None` when it is none of these: it then allows nothing.
    pub fn parse(commit: &CommitId, value: &str) -> Option<Vec<Self>> {
        let one = |term: &str| {
            let (scope, count) = term.trim().split_once('=')?;
            let scope = match scope.trim().strip_prefix("app/") {
                None if scope.trim() == "*" => AllowanceScope::Anything,
                None => return None,
                Some(app) => match app.strip_suffix("/objects") {
                    Some(app) => AllowanceScope::Objects(app.parse().ok()?),
                    None => AllowanceScope::App(app.parse().ok()?),
                },
            };
            Some(Self { commit: commit.clone(), scope, count: count.trim().parse().ok()? })
        };
        value.split(',').map(one).collect()
    }
}

/// What an operator approved, or a trailer that was used: explicit, so that it covers nothing that was not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// What was approved.
    pub hold: Hold,
    /// By whom: an operator's name, or `trailer COMMIT`.
    pub by: String,
}

/// Everything that the guard looks at.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What would go.
    pub losses: &'a Losses,
    /// What there is.
    pub counts: &'a Counts,
    /// The limits of the revision *before* this change, and what it protects.
    pub guarded: &'a Guarded,
    /// What left lately.
    pub window: &'a [PastLoss],
    /// Unix milliseconds.
    pub now_ms: u64,
    /// What is approved.
    pub approvals: &'a [Approval],
    /// What trailers of new commits allow.
    pub allowances: &'a [Allowance],
}

/// What may go, and what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Entries that may go, with the cause that stands in the audit log.
    pub entries: BTreeMap<EntryKey, Cause>,
    /// Apps that may drop objects, with the cause where somebody approved it.
    pub objects: BTreeMap<AppKey, Option<Cause>>,
    /// Which leftovers may go, and who said so.
    pub leftovers: BTreeMap<EntryKey, (Fingerprints, Cause)>,
    /// What waits.
    pub holds: Vec<Hold>,
    /// Approvals that came of trailers and have to be stored before anything goes.
    pub used: Vec<Approval>,
}

/// The larger of the floor and the share, the share bounded; a revision may tighten the built-in numbers, not widen them.
fn limit(of: usize, floor: usize, share: usize, at_most: usize, own: GuardLimit) -> usize {
    let built_in = floor.max((of * share / 100).min(at_most));
    let tightened = match (own.max, own.at_most) {
        (None, None) => return built_in,
        (max, bound) => {
            let share = max.map_or(built_in, |percent| floor.max(percent.floor_of(of)));
            bound.map_or(share, |bound| share.min(bound as usize))
        }
    };
    tightened.min(built_in)
}

/// Judges a change.
pub fn judge(question: &Question<'_>) -> Verdict {
    let (verdict, protected) = (Verdict::default(), BTreeMap::new());
    let mut judging = Judging { question, verdict, protected, left: BTreeMap::new(), used: BTreeMap::new() };
    judging.take_approved();
    judging.protected();
    judging.by_app();
    judging.by_cluster();
    judging.last_entries();
    judging.fleet();
    judging.objects();
    judging.leftovers();
    let mut verdict = judging.verdict;
    verdict.entries.extend(judging.left);
    verdict
}

struct Judging<'a> {
    question: &'a Question<'a>,
    verdict: Verdict,
    /// Losses of what is protected and not approved.
    protected: BTreeMap<HoldCause, BTreeSet<EntryKey>>,
    /// Losses that no limit has stopped yet.
    left: BTreeMap<EntryKey, Cause>,
    /// How much of each allowance is used, by its index.
    used: BTreeMap<usize, usize>,
}

impl Judging<'_> {
    fn take_approved(&mut self) {
        for (key, cause) in &self.question.losses.entries {
            // An operator's own command is its approval.
            if let Cause::Operator { .. } = cause {
                self.verdict.entries.insert(key.clone(), cause.clone());
                continue;
            }
            let approvals =
                || self.question.approvals.iter().filter(|approval| approval.hold.is_of_entry(key));
            let is_approved = |protection: &HoldCause| approvals().any(|a| a.hold.cause == *protection);
            // Who approved something else did not see that it is protected.
            let protection = self.question.guarded.protections(key).find(|cause| !is_approved(cause));
            match (protection, approvals().next()) {
                (Some(protection), _) => {
                    self.protected.entry(protection).or_default().insert(key.clone());
                }
                (None, Some(approval)) => {
                    let cause = Cause::Approved { hold: approval.hold.id.clone(), by: approval.by.clone() };
                    self.verdict.entries.insert(key.clone(), cause);
                }
                (None, None) => _ = self.left.insert(key.clone(), cause.clone()),
            }
        }
    }

    /// Neither numbers nor trailers let these go.
    fn protected(&mut self) {
        for (cause, entries) in std::mem::take(&mut self.protected) {
            let of = match &cause {
                HoldCause::ProtectedApp { app } => self.question.counts.by_app.get(app),
                HoldCause::ProtectedCluster { cluster } => self.question.counts.by_cluster.get(cluster),
                _ => None,
            };
            let of = of.copied().unwrap_or(0);
            self.verdict.holds.push(Hold::new(cause, entries.len(), of, 0, entries));
        }
    }

    /// Losses of the last hour that satisfy a condition.
    fn recent(&self, condition: impl Fn(&PastLoss) -> bool) -> usize {
        self.recent_losses().filter(|loss| condition(loss)).count()
    }

    fn recent_losses(&self) -> impl Iterator<Item = &PastLoss> {
        let since = self.question.now_ms.saturating_sub(WINDOW_MS);
        self.question.window.iter().filter(move |loss| loss.at_ms > since)
    }

    /// Holds these entries, unless a trailer allows them.
    fn hold(&mut self, cause: HoldCause, numbers: (usize, usize, usize), entries: BTreeSet<EntryKey>) {
        let (losing, of, limit) = numbers;
        let app = match &cause {
            HoldCause::App { app } => Some(AllowanceScope::App(app.clone())),
            _ => None,
        };
        let count = entries.len();
        let hold = Hold::new(cause, losing, of, limit, entries);
        let apps = hold.entries.iter().map(|(app, _)| app);
        let allowed = self.allow(app.as_ref(), apps, count);
        for key in &hold.entries {
            self.left.remove(key);
        }
        match allowed {
            None => self.verdict.holds.push(hold),
            Some(by) => {
                for key in &hold.entries {
                    let cause = Cause::Approved { hold: hold.id.clone(), by: by.clone() };
                    self.verdict.entries.insert(key.clone(), cause);
                }
                self.verdict.used.push(Approval { hold, by });
            }
        }
    }

    /// Uses an allowance that is large enough; a wildcard serves any scope.
    fn allow<'k>(
        &mut self,
        scope: Option<&AllowanceScope>,
        apps: impl Iterator<Item = &'k AppKey> + Clone,
        count: usize,
    ) -> Option<String> {
        let fits = |(i, a): &(usize, &Allowance)| {
            let of_scope = match &a.scope {
                AllowanceScope::Anything => true,
                AllowanceScope::Catalog(catalog) => apps.clone().all(|app| app.catalog == *catalog),
                own => Some(own) == scope,
            };
            of_scope && a.count.saturating_sub(self.used.get(i).copied().unwrap_or(0)) >= count
        };
        let (i, allowance) = self.question.allowances.iter().enumerate().find(fits)?;
        *self.used.entry(i).or_default() += count;
        Some(format!("{BY_TRAILER}{}", allowance.commit.short()))
    }

    fn by_app(&mut self) {
        let mut apps: BTreeMap<AppKey, BTreeSet<EntryKey>> = BTreeMap::new();
        for key in self.left.keys() {
            apps.entry(key.0.clone()).or_default().insert(key.clone());
        }
        for (app, entries) in apps {
            let recent = self.recent(|l| l.app == app);
            let of = self.question.counts.by_app.get(&app).copied().unwrap_or(0) + recent;
            let limit = limit(of, 2, 25, usize::MAX, self.question.guarded.limits.app);
            let losing = entries.len() + recent;
            if losing > limit {
                self.hold(HoldCause::App { app }, (losing, of, limit), entries);
            }
        }
    }

    fn by_cluster(&mut self) {
        let mut clusters: BTreeMap<ClusterName, BTreeSet<EntryKey>> = BTreeMap::new();
        for key in self.left.keys() {
            clusters.entry(key.1.clone()).or_default().insert(key.clone());
        }
        for (cluster, entries) in clusters {
            let recent = self.recent(|l| l.cluster == cluster);
            let of = self.question.counts.by_cluster.get(&cluster).copied().unwrap_or(0) + recent;
            let limit = limit(of, 2, 25, usize::MAX, self.question.guarded.limits.cluster);
            let losing = entries.len() + recent;
            if losing > limit {
                self.hold(HoldCause::Cluster { cluster }, (losing, of, limit), entries);
            }
        }
    }

    fn last_entries(&mut self) {
        const LIMIT: usize = 2;
        let mut lost: BTreeMap<&ClusterName, usize> = BTreeMap::new();
        for (_, cluster) in self.left.keys().chain(self.verdict.entries.keys()) {
            *lost.entry(cluster).or_default() += 1;
        }
        let has = |cluster: &ClusterName| self.question.counts.by_cluster.get(cluster).copied().unwrap_or(0);
        let emptied: BTreeSet<ClusterName> =
            lost.into_iter().filter(|(c, n)| *n >= has(c)).map(|(c, _)| c.clone()).collect();
        let entries: BTreeSet<EntryKey> =
            self.left.keys().filter(|(_, cluster)| emptied.contains(cluster)).cloned().collect();
        let losing = entries.iter().map(|(_, cluster)| cluster).collect::<BTreeSet<_>>().len();
        let recent: BTreeSet<&ClusterName> =
            self.recent_losses().map(|loss| &loss.cluster).filter(|cluster| has(cluster) == 0).collect();
        let losing = losing + recent.len();
        if !entries.is_empty() && losing > LIMIT {
            let of = self.question.counts.by_cluster.len();
            self.hold(HoldCause::LastEntries, (losing, of, LIMIT), entries);
        }
    }

    fn fleet(&mut self) {
        let recent = self.recent(|_| true);
        let of = self.question.counts.by_cluster.values().sum::<usize>() + recent;
        let limit = limit(of, 3, 5, 200, self.question.guarded.limits.fleet);
        let losing = self.left.len() + recent;
        if !self.left.is_empty() && losing > limit {
            let entries = self.left.keys().cloned().collect();
            self.hold(HoldCause::Fleet, (losing, of, limit), entries);
        }
    }

    /// No trailer allows these: nobody can have known of them beforehand.
    fn leftovers(&mut self) {
        let mut alike: BTreeMap<HoldCause, (usize, BTreeSet<EntryKey>)> = BTreeMap::new();
        for (key, objects) in &self.question.losses.leftovers {
            let cause = HoldCause::Leftovers { app: key.0.clone(), of: objects.digest() };
            let covers = |a: &&Approval| a.hold.cause == cause && a.hold.entries.contains(key);
            match self.question.approvals.iter().find(covers) {
                Some(a) => {
                    let cause = Cause::Approved { hold: a.hold.id.clone(), by: a.by.clone() };
                    self.verdict.leftovers.insert(key.clone(), (objects.clone(), cause));
                }
                None => {
                    let (losing, entries) = alike.entry(cause).or_default();
                    *losing = objects.len();
                    entries.insert(key.clone());
                }
            }
        }
        let hold = |(cause, (losing, entries))| Hold::new(cause, losing, losing, 0, entries);
        self.verdict.holds.extend(alike.into_iter().map(hold));
    }

    fn objects(&mut self) {
        for (app, losing) in &self.question.losses.objects {
            let of = self.question.counts.objects.get(app).copied().unwrap_or(0);
            let limit = limit(of, 10, 25, usize::MAX, self.question.guarded.limits.objects);
            if *losing <= limit {
                self.verdict.objects.insert(app.clone(), None);
                continue;
            }
            let hold =
                Hold::new(HoldCause::Objects { app: app.clone() }, *losing, of, limit, BTreeSet::new());
            // A rollout goes on from wave to wave, and what is left of what was approved is less each time.
            let covers = |a: &&Approval| {
                a.hold.id == hold.id || a.hold.cause == hold.cause && a.hold.losing >= *losing
            };
            let approval = self.question.approvals.iter().find(covers);
            let approved = approval.map(|a| a.by.clone());
            let scope = AllowanceScope::Objects(app.clone());
            match approved.clone().or_else(|| self.allow(Some(&scope), [app].into_iter(), *losing)) {
                None => self.verdict.holds.push(hold),
                Some(by) => {
                    let id = approval.map_or(&hold.id, |approval| &approval.hold.id);
                    let cause = Cause::Approved { hold: id.clone(), by: by.clone() };
                    self.verdict.objects.insert(app.clone(), Some(cause));
                    if approved.is_none() {
                        self.verdict.used.push(Approval { hold, by });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
