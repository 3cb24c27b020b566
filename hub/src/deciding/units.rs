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
            let key = AppKey::new(catalog.name.clone(), &effective.object.id.name);
            if let (Some(group), Ok(key)) = (&app.group, key) {
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

/// A cluster, as far as several apps are concerned.
pub(super) fn together<'a>(all: impl IntoIterator<Item = Seen<'a>>) -> Option<Seen<'a>> {
    let all: Vec<Seen<'a>> = all.into_iter().collect();
    // A removal that may not be is nobody else's matter.
    let may_not = |seen: &&Seen<'_>| seen.to_do == ToDo::Remove && seen.obstacle.is_some();
    let others = all.iter().any(|seen| seen.to_do.is_due() && !may_not(&seen));
    let all: Vec<Seen<'a>> = all.iter().filter(|seen| !(others && may_not(seen))).copied().collect();
    let is = |to_do: ToDo| all.iter().any(|seen| seen.to_do == to_do);
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
    let health = all.iter().map(|seen| seen.health).max_by_key(worst)?;
    let stands = |obstacle| all.iter().any(|seen| seen.obstacle == Some(obstacle)).then_some(obstacle);
    Some(Seen {
        candidate: all.first()?.candidate,
        to_do,
        health,
        obstacle: stands(Obstacle::Away).or(stands(Obstacle::Paused)),
        may_start: all.iter().all(|seen| seen.may_start),
        has_just_joined: all.iter().all(|seen| seen.has_just_joined),
        can_return: all.iter().any(|seen| seen.can_return),
        is_pinned: all.iter().any(|seen| seen.is_pinned),
        told_ms: all.iter().map(|seen| seen.told_ms).max()?,
    })
}
