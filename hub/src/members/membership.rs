//! Membership: what operators say of members, as it changes: labels, taints, cordon, drain, maintenance.
//!
//! In: an order, the members that it is for. Out: their records, each with its line in the audit log.
//! Never: changes one where another refuses; overwrites unasked; says something where Git says it.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::fleet::{Effect, Maintenance, Membership, Taint};
use nave_placement::{ClusterName, is_label_key, is_label_value};

use super::{ATTEMPTS, MemberError, Members};
use crate::deciding::core::json;
use crate::state::records::{MemberRecord, key};
use crate::state::{Audit, Step, rfc3339};
use crate::store::Batch;

/// Members of one batch: a record with its precondition and an audit line with its own each, 120 of the store's 128
/// operations.
const MEMBERS_PER_BATCH: usize = 30;

/// What the catalog says of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// Nothing new is placed on it.
    pub cordoned: bool,
}

/// What is to be said of members from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Labels.
    Label {
        /// These are set.
        set: BTreeMap<String, String>,
        /// These are taken away.
        remove: BTreeSet<String>,
        /// Also where a label has another value.
        overwrite: bool,
    },
    /// Taints.
    Taint {
        /// These are put on.
        add: BTreeSet<Taint>,
        /// These are taken away, by key and effect; without an effect, all of the key.
        remove: BTreeSet<(String, Option<Effect>)>,
        /// Also where a taint of key and effect has another value.
        overwrite: bool,
    },
    /// Nothing new is placed.
    Cordon,
    /// And what `pick` placed moves away.
    Drain,
    /// Neither any more.
    Uncordon,
    /// Nothing changes for so many milliseconds.
    Maintain(u64),
    /// No longer.
    EndMaintenance,
}

/// What came of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ordered {
    /// Members of which something else is said now.
    pub changed: Vec<ClusterName>,
    /// Members of which that was said already.
    pub unchanged: Vec<ClusterName>,
}

impl Order {
    /// Whether it can be obeyed at all.
    ///
    /// # Errors
    /// What is wrong with it, and how to mend that.
    pub fn check(&self) -> Result<(), String> {
        let keys: Vec<&String> = match self {
            Self::Label { set, remove, .. } => {
                if let Some(key) = remove.iter().find(|key| set.contains_key(*key)) {
                    return Err(format!("label {key} cannot be set and removed at once"));
                }
                set.keys().chain(remove).collect()
            }
            Self::Taint { add, remove, .. } => {
                let removed = |t: &Taint| {
                    remove.contains(&(t.key.clone(), Some(t.effect)))
                        || remove.contains(&(t.key.clone(), None))
                };
                if let Some(taint) = add.iter().find(|t| removed(t)) {
                    return Err(format!("taint {taint} cannot be put on and taken away at once"));
                }
                let twice =
                    |t: &&Taint| add.iter().any(|o| o != *t && (&o.key, o.effect) == (&t.key, t.effect));
                if let Some(taint) = add.iter().find(twice) {
                    return Err(format!("{}:{:?} is given two values at once", taint.key, taint.effect));
                }
                add.iter().map(|t| &t.key).chain(remove.iter().map(|(key, _)| key)).collect()
            }
            Self::Maintain(0) => return Err("a maintenance lasts longer than 0s".to_owned()),
            Self::Cordon | Self::Drain | Self::Uncordon | Self::Maintain(_) | Self::EndMaintenance => {
                Vec::new()
            }
        };
        let values: Vec<&String> = match self {
            Self::Label { set, .. } => set.values().collect(),
            Self::Taint { add, .. } => add.iter().map(|t| &t.value).collect(),
            _ => Vec::new(),
        };
        if let Some(key) = keys.into_iter().find(|key| !is_label_key(key)) {
            return Err(format!(
                "{key:?} is not a valid key: use [DOMAIN/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
            ));
        }
        match values.into_iter().find(|value| !is_label_value(value)) {
            Some(value) => Err(format!(
                "{value:?} is not a valid value: use at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
            )),
            None => Ok(()),
        }
    }

    /// What is said of a member after it; `declared` is what the catalog says.
    fn applied(
        &self,
        of: &Membership,
        declared: Option<&Declared>,
        now_ms: u64,
        why: &str,
    ) -> Result<Membership, String> {
        let mut next = of.clone();
        match self {
            Self::Label { set, remove, overwrite } => {
                let in_git = |key: &str| declared.is_some_and(|git| git.labels.contains_key(key));
                let theirs = remove.iter().filter(|key| !of.labels.contains_key(*key));
                if let Some(key) = set.keys().chain(theirs).find(|key| in_git(key)) {
                    return Err(format!("label {key} is set in the catalog, which wins; change it there"));
                }
                for (key, value) in set {
                    match of.labels.get(key) {
                        Some(held) if held != value && !overwrite => {
                            return Err(format!(
                                "label {key} is {held:?} already; --overwrite sets it all the same"
                            ));
                        }
                        _ => drop(next.labels.insert(key.clone(), value.clone())),
                    }
                }
                next.labels.retain(|key, _| !remove.contains(key));
            }
            Self::Taint { add, remove, overwrite } => {
                let is_meant = |t: &Taint, (key, effect): &(String, Option<Effect>)| {
                    t.key == *key && effect.is_none_or(|effect| effect == t.effect)
                };
                let theirs = remove.iter().filter(|meant| !of.taints.iter().any(|t| is_meant(t, meant)));
                let in_git = declared.map(|git| &*git.taints).unwrap_or_default();
                let mut in_git = theirs.flat_map(|meant| in_git.iter().filter(|t| is_meant(t, meant)));
                if let Some(taint) = in_git.next() {
                    return Err(format!("taint {taint} is set in the catalog; remove it there"));
                }
                next.taints.retain(|t| {
                    !remove.contains(&(t.key.clone(), Some(t.effect)))
                        && !remove.contains(&(t.key.clone(), None))
                });
                for taint in add {
                    let same = |t: &&Taint| (&t.key, t.effect) == (&taint.key, taint.effect);
                    match of.taints.iter().find(same) {
                        Some(held) if held != taint && !overwrite => {
                            return Err(format!(
                                "taint {held} is there already; --overwrite gives it the value"
                            ));
                        }
                        held => {
                            if let Some(held) = held {
                                next.taints.remove(held);
                            }
                            next.taints.insert(taint.clone());
                        }
                    }
                }
            }
            Self::Cordon => next.cordoned = true,
            Self::Drain => (next.cordoned, next.draining) = (true, true),
            Self::Uncordon if !of.cordoned && declared.is_some_and(|git| git.cordoned) => {
                return Err("it is cordoned in the catalog; end that there".to_owned());
            }
            Self::Uncordon => (next.cordoned, next.draining) = (false, false),
            Self::Maintain(for_ms) => {
                let until_ms = now_ms.saturating_add(*for_ms);
                next.maintenance = Some(Maintenance { until_ms, reason: why.to_owned() });
            }
            Self::EndMaintenance => next.maintenance = None,
        }
        Ok(next)
    }

    /// What the audit log says of it.
    fn told(&self, next: &Membership) -> (&'static str, Option<(&'static str, String)>) {
        match self {
            Self::Label { set, remove, .. } => {
                let set = set.iter().map(|(key, value)| format!("{key}={value}"));
                ("Labelled", Some(("labels", joined(set.chain(remove.iter().map(|key| format!("{key}-")))))))
            }
            Self::Taint { add, remove, .. } => {
                let removed = remove.iter().map(|(key, effect)| match effect {
                    Some(effect) => format!("{key}:{effect:?}-"),
                    None => format!("{key}-"),
                });
                ("Tainted", Some(("taints", joined(add.iter().map(ToString::to_string).chain(removed)))))
            }
            Self::Cordon => ("Cordoned", None),
            Self::Drain => ("Drained", None),
            Self::Uncordon => ("Uncordoned", None),
            Self::Maintain(_) => {
                ("Maintained", next.maintenance.as_ref().map(|m| ("until", rfc3339(m.until_ms))))
            }
            Self::EndMaintenance => ("MaintenanceEnded", None),
        }
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

impl Members {
    /// Carries an order out on members; `declared` is what the catalog says. Where one member refuses it, nothing
    /// changes on any; when the hub ends amid many, the order can be given again.
    ///
    /// # Errors
    /// When there is no such member, or what is said of it forbids the order.
    pub async fn order(
        &self,
        order: &Order,
        clusters: &BTreeSet<ClusterName>,
        declared: &BTreeMap<ClusterName, Declared>,
        operator: &Audit,
    ) -> Result<Ordered, MemberError> {
        let now_ms = self.ledger.now_ms();
        order.check().map_err(MemberError::Refused)?;
        for cluster in clusters {
            self.next(order, cluster, declared, now_ms, &operator.why)?;
        }
        let mut done = Ordered::default();
        let all: Vec<&ClusterName> = clusters.iter().collect();
        for some in all.chunks(MEMBERS_PER_BATCH) {
            self.order_some(order, some, declared, now_ms, operator, &mut done).await?;
        }
        Ok(done)
    }

    /// One batch; once more where somebody else changed one of the members meanwhile.
    async fn order_some(
        &self,
        order: &Order,
        clusters: &[&ClusterName],
        declared: &BTreeMap<ClusterName, Declared>,
        now_ms: u64,
        operator: &Audit,
        done: &mut Ordered,
    ) -> Result<(), MemberError> {
        let mut attempt = 1;
        loop {
            let (mut batch, mut audits) = (Batch::new(), Vec::new());
            let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
            for cluster in clusters {
                let member = self.member(cluster)?;
                let membership = self.next(order, cluster, declared, now_ms, &operator.why)?;
                if membership == member.membership {
                    unchanged.push((*cluster).clone());
                    continue;
                }
                let (what, detail) = order.told(&membership);
                audits.push(Audit {
                    what,
                    subject: format!("cluster {cluster}"),
                    details: detail.into_iter().map(|(name, text)| (name.to_owned(), text)).collect(),
                    ..operator.clone()
                });
                let record = MemberRecord { membership, ..(*member.record).clone() };
                let key = key::member(cluster);
                batch = batch.require_at(key.clone(), member.version).put(key, json(&record));
                changed.push((*cluster).clone());
            }
            match self.ledger.commit_audited(Step::MemberLabelled, batch, &audits).await {
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    done.changed.append(&mut changed);
                    done.unchanged.append(&mut unchanged);
                    return Ok(());
                }
            }
        }
    }

    fn next(
        &self,
        order: &Order,
        cluster: &ClusterName,
        declared: &BTreeMap<ClusterName, Declared>,
        now_ms: u64,
        why: &str,
    ) -> Result<Membership, MemberError> {
        let member = self.member(cluster)?;
        let next = order.applied(&member.membership, declared.get(cluster), now_ms, why);
        next.map_err(|refused| MemberError::Refused(format!("cluster {cluster}: {refused}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn taint(key: &str, value: Option<&str>, effect: Effect) -> Taint {
        Taint { key: key.to_owned(), value: value.unwrap_or_default().to_owned(), effect }
    }

    fn label(set: &[(&str, &str)], remove: &[&str], overwrite: bool) -> Order {
        Order::Label { set: labels(set), remove: remove.iter().map(|k| (*k).to_owned()).collect(), overwrite }
    }

    #[test]
    fn labels_change_as_kubectl_changes_them_and_git_wins() {
        let of = Membership { labels: labels(&[("tier", "gold"), ("env", "test")]), ..Membership::default() };
        let git = labels(&[("env", "prod"), ("region", "eu")]);
        // (what, order, labels after it)
        type Row<'a> = (&'a str, Order, Result<&'a [(&'a str, &'a str)], &'a str>);
        let rows: [Row<'_>; 8] = [
            ("new", label(&[("a", "1")], &[], false), Ok(&[("a", "1"), ("env", "test"), ("tier", "gold")])),
            (
                "the same again",
                label(&[("tier", "gold")], &[], false),
                Ok(&[("env", "test"), ("tier", "gold")]),
            ),
            ("another value", label(&[("tier", "iron")], &[], false), Err("--overwrite")),
            ("overwritten", label(&[("tier", "iron")], &[], true), Ok(&[("env", "test"), ("tier", "iron")])),
            ("removed", label(&[], &["tier"], false), Ok(&[("env", "test")])),
            ("removed though Git hides it", label(&[], &["env"], false), Ok(&[("tier", "gold")])),
            ("Git's own", label(&[], &["region"], false), Err("set in the catalog")),
            ("over Git", label(&[("env", "dev")], &[], true), Err("set in the catalog")),
        ];
        for (what, order, expected) in rows {
            let git = Declared { labels: git.clone(), ..Declared::default() };
            let next = order.applied(&of, Some(&git), 0, "");
            match (next, expected) {
                (Ok(next), Ok(expected)) => assert_eq!(next.labels, labels(expected), "{what}"),
                (Err(refused), Err(expected)) => assert!(refused.contains(expected), "{what}: {refused}"),
                (next, expected) => panic!("{what}: {next:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_cluster_has_one_taint_for_each_key_and_effect() {
        let gpu = |value| taint("gpu", value, Effect::NoSchedule);
        let order = |add: &[Taint], remove: &[(&str, Option<Effect>)], overwrite| Order::Taint {
            add: add.iter().cloned().collect(),
            remove: remove.iter().map(|(key, effect)| ((*key).to_owned(), *effect)).collect(),
            overwrite,
        };
        let of = Membership {
            taints: BTreeSet::from([gpu(Some("a")), taint("gpu", None, Effect::NoExecute)]),
            ..Membership::default()
        };
        let both = [taint("gpu", None, Effect::NoExecute), gpu(Some("b"))];
        let old = [taint("old", None, Effect::NoSchedule)];
        let rows: [(&str, Order, Option<&[Taint]>); 5] = [
            ("another value", order(&[gpu(Some("b"))], &[], false), None),
            ("overwritten", order(&[gpu(Some("b"))], &[], true), Some(&both)),
            ("removed by effect", order(&[], &[("gpu", Some(Effect::NoSchedule))], false), Some(&both[..1])),
            ("removed by key", order(&[], &[("gpu", None)], false), Some(&[])),
            ("one for another", order(&old, &[("gpu", None)], false), Some(&old)),
        ];
        for (what, order, expected) in rows {
            let next = order.applied(&of, None, 0, "").ok().map(|next| next.taints);
            assert_eq!(next, expected.map(|taints| taints.iter().cloned().collect()), "{what}");
        }
    }

    #[test]
    fn what_the_catalog_says_is_not_taken_back_by_an_order() {
        let git = Declared {
            taints: vec![taint("gpu", None, Effect::NoSchedule)],
            cordoned: true,
            ..Declared::default()
        };
        let own = Membership {
            taints: BTreeSet::from([taint("gpu", None, Effect::NoExecute)]),
            cordoned: true,
            ..Membership::default()
        };
        let untaint = |effect| Order::Taint {
            add: BTreeSet::new(),
            remove: BTreeSet::from([("gpu".to_owned(), effect)]),
            overwrite: false,
        };
        let nothing = Membership::default();
        let rows = [
            (&nothing, untaint(None), Err("taint gpu:NoSchedule is set in the catalog; remove it there")),
            (&nothing, untaint(Some(Effect::NoExecute)), Ok(())),
            (&own, untaint(None), Ok(())),
            (
                &own,
                untaint(Some(Effect::NoSchedule)),
                Err("taint gpu:NoSchedule is set in the catalog; remove it there"),
            ),
            (&nothing, Order::Uncordon, Err("it is cordoned in the catalog; end that there")),
            (&own, Order::Uncordon, Ok(())),
        ];
        for (of, order, expected) in rows {
            let done = order.applied(of, Some(&git), 0, "").map(drop);
            assert_eq!(done, expected.map_err(str::to_owned), "{order:?}");
        }
    }

    #[test]
    fn a_drained_cluster_is_cordoned_and_uncordon_ends_both() {
        let after = |orders: &[Order]| {
            let apply = |of: Membership, order: &Order| order.applied(&of, None, 1_000, "disks").unwrap();
            orders.iter().fold(Membership::default(), apply)
        };
        let drained = after(&[Order::Drain]);
        assert!(drained.cordoned && drained.draining);
        assert_eq!(after(&[Order::Drain, Order::Uncordon]), Membership::default());
        assert_eq!(after(&[Order::Cordon, Order::Uncordon]), Membership::default());
        let maintained = after(&[Order::Maintain(500)]);
        assert_eq!(maintained.maintained(1_499).map(|m| m.reason.as_str()), Some("disks"));
        assert_eq!(maintained.maintained(1_500), None, "it ends by itself");
        assert_eq!(after(&[Order::Maintain(500), Order::EndMaintenance]), Membership::default());
    }

    #[test]
    fn an_order_that_cannot_be_meant_is_refused_before_anybody_is_looked_at() {
        let no = Effect::NoSchedule;
        let rows = [
            (label(&[("a", "1")], &["a"], false), "at once"),
            (label(&[("-a", "1")], &[], false), "not a valid key"),
            (label(&[("a", "b c")], &[], false), "not a valid value"),
            (label(&[], &["a/b/c"], false), "not a valid key"),
            (
                Order::Taint {
                    add: BTreeSet::from([taint("a", None, no)]),
                    remove: BTreeSet::from([("a".to_owned(), None)]),
                    overwrite: true,
                },
                "at once",
            ),
            (
                Order::Taint {
                    add: BTreeSet::from([taint("a", None, no), taint("a", Some("b"), no)]),
                    remove: BTreeSet::new(),
                    overwrite: true,
                },
                "two values",
            ),
            (Order::Maintain(0), "longer than 0s"),
        ];
        for (order, expected) in rows {
            let refused = order.check().unwrap_err();
            assert!(refused.contains(expected), "{order:?}: {refused}");
        }
        assert_eq!(label(&[("example.com/a", "")], &[], false).check(), Ok(()));
    }
}
