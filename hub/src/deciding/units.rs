//! Units: apps that move as one.
//!
//! In: a catalog. Out: for each app the one under whose name it moves: the first of its group, or itself.
//! Never: moves an app of a group without the others of its cluster.

use std::collections::BTreeMap;

use nave_placement::AppKey;
use nave_placement::catalog::Catalog;
use nave_placement::rollout::{Basis, Health, Obstacle, Seen, ToDo};

use super::core::Bases;

/// Which apps move as one.
#[derive(Debug, Default)]
pub struct Units {
    leads: BTreeMap<AppKey, AppKey>,
    members: BTreeMap<AppKey, Vec<AppKey>>,
}

impl Units {
    /// Of a catalog.
    pub fn of(catalog: &Catalog) -> Self {
        let mut groups: BTreeMap<&str, Vec<AppKey>> = BTreeMap::new();
        for (effective, app) in catalog.apps() {
            let key = catalog.key(&effective.object.id.name);
            if let (Some(group), Some(key)) = (&app.group, key) {
                groups.entry(group).or_default().push(key);
            }
        }
        let mut units = Self::default();
        for members in groups.into_values().filter(|members| members.len() > 1) {
            let lead = members[0].clone();
            units.leads.extend(members.iter().map(|app| (app.clone(), lead.clone())));
            units.members.insert(lead, members);
        }
        units
    }

    /// The app under whose name one moves.
    pub fn lead<'a>(&'a self, app: &'a AppKey) -> &'a AppKey {
        self.leads.get(app).unwrap_or(app)
    }

    /// The apps that move under a name.
    pub fn members<'a>(&'a self, lead: &'a AppKey) -> &'a [AppKey] {
        self.members.get(lead).map_or(std::slice::from_ref(lead), Vec::as_slice)
    }

    /// All apps of a group, by its first; none for an app that moves by itself.
    pub fn group(&self, lead: &AppKey) -> Vec<AppKey> {
        self.members.get(lead).cloned().unwrap_or_default()
    }

    /// The name under which what people name moves: an app, or the id of a rollout.
    pub fn led(&self, name: &str) -> String {
        name.parse::<AppKey>().map_or_else(|_| name.to_owned(), |app| self.lead(&app).to_string())
    }

    /// What the apps that move under a name are as a whole; none where nothing of them is known.
    pub fn basis(&self, lead: &AppKey, bases: &Bases) -> Option<Basis> {
        let known = |app: &AppKey| bases.get(app).filter(|basis| !basis.is_empty());
        match self.members(lead) {
            [one] => known(one).cloned(),
            members => {
                let of = members.iter().filter_map(|app| Some((app.clone(), known(app)?.clone())));
                Some(Basis::of_group(of)).filter(|basis| !basis.is_empty())
            }
        }
    }
}

/// A cluster, as far as several apps are concerned, each with whether it moved.
pub(super) fn together<'a>(all: impl IntoIterator<Item = (bool, Seen<'a>)>) -> Option<Seen<'a>> {
    let all: Vec<(bool, Seen<'a>)> = all.into_iter().collect();
    // A removal that is held is nobody else's matter.
    let is_held = |seen: &Seen<'_>| seen.to_do == ToDo::Remove && seen.obstacle == Some(Obstacle::Away);
    let others = all.iter().any(|(_, seen)| seen.to_do.is_due() && !is_held(seen));
    let all: Vec<(bool, Seen<'a>)> = all.into_iter().filter(|(_, seen)| !(others && is_held(seen))).collect();
    let is = |to_do: ToDo| all.iter().any(|(_, seen)| seen.to_do == to_do);
    let to_do = match () {
        () if is(ToDo::Change) || is(ToDo::Install) && is(ToDo::Nothing) => ToDo::Change,
        () if is(ToDo::Install) => ToDo::Install,
        () if is(ToDo::Remove) => ToDo::Remove,
        () if is(ToDo::Nothing) => ToDo::Nothing,
        () => ToDo::Leaving,
    };
    let worst = |health: &Health| match health {
        Health::Healthy => 0,
        Health::Waits => 1,
        Health::NotYet => 2,
        Health::Degraded => 3,
    };
    // What leaves, and what has been as it is for long, says nothing of what moves.
    let stays = |seen: &Seen<'_>| !matches!(seen.to_do, ToDo::Remove | ToDo::Leaving);
    let of = |counts: &dyn Fn(&(bool, Seen<'a>)) -> bool| {
        all.iter().filter(|of| counts(of)).map(|(_, seen)| seen.health).max_by_key(worst)
    };
    let health = of(&|(moved, seen)| stays(seen) && (*moved || seen.to_do.is_due()));
    let health = health.or_else(|| of(&|(_, seen)| stays(seen))).or_else(|| of(&|_| true))?;
    let all: Vec<Seen<'a>> = all.into_iter().map(|(_, seen)| seen).collect();
    let stands = |obstacle| all.iter().any(|seen| seen.obstacle == Some(obstacle)).then_some(obstacle);
    let due: Vec<&Seen<'a>> = all.iter().filter(|seen| seen.to_do.is_due()).collect();
    Some(Seen {
        is_withdrawn: all.iter().all(|seen| seen.is_withdrawn),
        candidate: all.first()?.candidate,
        to_do,
        health,
        obstacle: stands(Obstacle::Away).or(stands(Obstacle::Paused)),
        may_start: all.iter().all(|seen| seen.may_start),
        has_just_joined: all.iter().all(|seen| seen.has_just_joined),
        can_return: all.iter().any(|seen| seen.can_return),
        // Soak and approvals are left out only where all that changes is pinned.
        is_pinned: if due.is_empty() {
            all.iter().all(|seen| seen.is_pinned)
        } else {
            due.iter().all(|seen| seen.is_pinned)
        },
        told_ms: all.iter().map(|seen| seen.told_ms).max()?,
    })
}
