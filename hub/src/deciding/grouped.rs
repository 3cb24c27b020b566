//! Grouped: apps of a group on a cluster, as one, and what is remembered of how they moved.
//!
//! In: what is seen of each. Out: what is seen of all; the course that a unit goes on with. Never: counts as moved what changed before
//! the versions that are on their way.

use std::borrow::Cow;

use nave_placement::rollout::{Basis, Course, Event, Next, Outcome, Plan, Seen, ToDo};
use nave_placement::{AppKey, ClusterName};

use super::rolling::Given;
use super::units;

/// Since when what changed has changed on the way to a plan's version: with those that it superseded before they came to their end.
pub(super) fn moved_since(course: &Course, plan: &Plan) -> u64 {
    let before = course.past.iter().rev().take_while(|ended| ended.outcome == Outcome::Superseded);
    before.map(|ended| ended.made_ms).fold(plan.made_ms, u64::min)
}

impl<'a> Given<'a> {
    /// What is remembered of how a unit moves: under its own name, or under that by which its apps moved before.
    pub(super) fn course(self, lead: &AppKey) -> Cow<'a, Course> {
        let courses = &self.state.rollouts;
        let is_group = self.units.members(lead).len() > 1;
        let own = courses.get_key_value(lead);
        let names = |course: &Course| {
            let completed = course.completed.as_ref().is_some_and(|c| c.basis.member(lead).is_some());
            completed || course.block.as_ref().is_some_and(|block| block.basis.member(lead).is_some())
        };
        let member = || self.units.members(lead).iter().find_map(|app| courses.get_key_value(app));
        let other = || courses.iter().find(|(_, course)| names(&course.record));
        let Some((of, course)) = own.or_else(member).or_else(other) else {
            return Cow::Owned(Course::default());
        };
        let mut course = Cow::Borrowed(&*course.record);
        let bases = |course: &Course| {
            let completed = course.completed.as_ref().map(|completed| completed.basis.clone());
            (completed, course.block.as_ref().map(|block| block.basis.clone()))
        };
        let app = if is_group { of } else { lead };
        let (completed, block) = bases(&course);
        let as_unit = (
            completed.as_ref().map(|basis| basis.as_of(app, is_group)),
            block.as_ref().map(|basis| basis.as_of(app, is_group)),
        );
        if of != lead || as_unit != (completed, block) {
            let course = course.to_mut();
            // A plan of another name is another's.
            course.current = course.current.take().filter(|_| of == lead);
            if let (Some(completed), Some(basis)) = (&mut course.completed, as_unit.0) {
                completed.basis = basis;
            }
            if let (Some(block), Some(basis)) = (&mut course.block, as_unit.1) {
                block.basis = basis;
            }
        }
        let completed = course.completed.as_ref().filter(|_| is_group);
        let came = completed.and_then(|completed| self.came(lead, &completed.basis));
        if let (Some(came), Some(completed)) = (came, course.to_mut().completed.as_mut()) {
            completed.basis = completed.basis.with(&came);
        }
        course
    }

    /// What apps were that came to a group since it was complete: by themselves, in another group, or under another name. A change of
    /// theirs is one of the group.
    fn came(self, lead: &AppKey, completed: &Basis) -> Option<Basis> {
        let was = |name: &AppKey| {
            let own = || self.state.rollouts.get(name)?.record.completed.as_ref();
            completed.member(name).cloned().or_else(|| own().map(|own| own.basis.as_of(name, false)))
        };
        let new = self.units.members(lead).iter().filter(|app| completed.member(app).is_none());
        let came = new.filter_map(|app| {
            let mut names = std::iter::once(app).chain(self.shapes.former(app));
            Some((app.clone(), names.find_map(was)?))
        });
        let came: Vec<(AppKey, Basis)> = came.collect();
        (!came.is_empty()).then(|| Basis::of_group(came))
    }

    /// What becomes of the course of an app that moves under another name now.
    pub(super) fn moves_elsewhere(self, app: &AppKey) -> Next {
        let course = self.state.rollouts.get(app);
        let current = course.and_then(|course| course.record.current.as_ref());
        let event = current.map(|progress| Event {
            what: "RolloutSuperseded",
            id: progress.plan.clone(),
            why: format!(
                "app {app} moves with its group now, under the name of app {}",
                self.units.lead(app)
            ),
        });
        Next { events: event.into_iter().collect(), ..Next::default() }
    }

    /// Apps that move under a name and of which something has to be sent.
    pub(super) fn due(self, lead: &'a AppKey, cluster: &'a ClusterName) -> impl Iterator<Item = &'a AppKey> {
        let told = self.members.get(cluster).map(|member| &*member.told);
        let is_due = move |app: &&AppKey| {
            told.and_then(|told| self.task(app, cluster, told)).is_some_and(ToDo::is_due)
        };
        self.units.members(lead).iter().filter(is_due)
    }

    /// Whether an app came to what it is on a cluster since a time, Unix milliseconds.
    pub(super) fn moved(&self, app: &AppKey, cluster: &ClusterName, since_ms: u64) -> bool {
        let change = self.members.get(cluster).and_then(|member| member.told.changes.get(app));
        change.is_some_and(|change| change.at_ms >= since_ms)
    }

    /// A cluster, as far as all apps are concerned that move under a name; those that moved since then with what came of it.
    pub(super) fn seen_together(
        &self,
        lead: &AppKey,
        cluster: &ClusterName,
        plans: bool,
        since_ms: Option<u64>,
    ) -> Option<Seen<'a>> {
        let members = self.units.members(lead);
        if let [one] = members {
            return self.seen(one, cluster, plans);
        }
        let of = |app: &AppKey| {
            let seen = self.seen(app, cluster, plans)?;
            // What others of the group were before, and how they are, has nothing to do with this rollout.
            let moved = since_ms.is_none_or(|since| self.moved(app, cluster, since));
            Some((moved, Seen { can_return: seen.can_return && moved, ..seen }))
        };
        units::together(members.iter().filter_map(of))
    }
}
