//! Outstanding: entries that are as their spokes were told, and are to become otherwise.
//!
//! In: what was decided. Out: for each such entry, what it waits for. Never: names an entry that only waits for its spoke.

use std::collections::BTreeMap;
use std::sync::Arc;

use nave_placement::overrides::Lack;
use nave_placement::{AppKey, ClusterName};

use super::views::Phase;
use crate::deciding::granting::{Stay, StayKind};
use crate::deciding::run::Picture;

/// What is to become otherwise.
pub struct Outstanding<'a> {
    picture: &'a Picture,
    /// What an entry stays as it was for.
    lacking: BTreeMap<(&'a ClusterName, &'a AppKey), &'a Lack>,
}

impl<'a> Outstanding<'a> {
    /// Of what was decided last.
    pub fn of(picture: &'a Picture) -> Self {
        let lacking = picture.lacking.iter().map(|l| ((&l.cluster, &l.app), &l.lack)).collect();
        Self { picture, lacking }
    }

    /// How an entry stands and what it waits for, if it waits.
    pub fn get(&self, cluster: &ClusterName, app: &AppKey) -> Option<(Phase, String)> {
        if let Some(Stay { kind, why, .. }) = self.picture.stay(app, cluster) {
            let phase = if *kind == StayKind::AtRest { Phase::Ungranted } else { Phase::Waiting };
            return Some((phase, why.to_string()));
        }
        if let Some(pause) = self.paused(cluster, app) {
            return Some((Phase::Waiting, format!("a change waits: {pause}")));
        }
        if let Some(lack) = self.lacking.get(&(cluster, app)) {
            return Some((Phase::Waiting, format!("it stays as it was: {lack}")));
        }
        if self.wanted(cluster).any(|wanted| wanted == app) && self.picture.shapes.get(app, cluster).is_none()
        {
            return Some((Phase::Waiting, "it stays as it was: it could not be rendered".to_owned()));
        }
        let to = self.picture.moves.get(cluster)?.get(app)?;
        Some((Phase::Leaving, format!("it is drained; it leaves once {to} is healthy in its place")))
    }

    /// Apps that a cluster shall run and that cannot be told to it.
    pub fn untold<'s>(&'s self, cluster: &'s ClusterName) -> impl Iterator<Item = &'a AppKey> + use<'a, 's> {
        let shapes = &self.picture.shapes;
        self.wanted(cluster)
            .filter(|app| self.picture.stay(app, cluster).is_none())
            .filter(move |app| shapes.get(app, cluster).is_none() || self.paused(cluster, app).is_some())
    }

    fn paused(&self, cluster: &ClusterName, app: &AppKey) -> Option<&'a Arc<str>> {
        let paused = &self.picture.waiting;
        if paused.is_empty() { None } else { paused.get(&(cluster.clone(), app.clone())) }
    }

    fn wanted(&self, cluster: &ClusterName) -> impl Iterator<Item = &'a AppKey> + use<'a> {
        self.picture.wanted.get(cluster).into_iter().flat_map(|apps| apps.keys())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nave_placement::Digest;
    use nave_placement::assign::{AppForm, Options};
    use nave_placement::catalog::{CommitId, OnRemove, Treatment};
    use nave_placement::overrides::Lacking;

    use super::*;
    use crate::deciding::moves::Moves;

    #[test]
    fn what_lacks_a_value_and_what_moves_is_not_as_it_shall_be() {
        let cluster = |name: &str| name.parse::<ClusterName>().expect("a name");
        let app = |name: &str| name.parse::<AppKey>().expect("a name");
        let lack = Lack::NoValue("labels.zone".into());
        let moved = BTreeMap::from([(app("db"), cluster("fra-2"))]);
        let shall = ["web", "db", "broken"].map(|name| (app(name), ["p".into()].into()));
        let form = AppForm {
            bundle: Digest::of(b""),
            options: Options {
                namespace: None,
                prune: true,
                on_remove: OnRemove::Delete,
                share: None,
                grant: None,
                formerly: BTreeSet::new(),
                substitute: false,
                treatment: Treatment::default(),
            },
            version: Digest::of(b""),
            commit: CommitId("1".into()),
            source_at: None,
            values: Default::default(),
        };
        let pause = ((cluster("fra-3"), app("db")), "everything is paused".into());
        let picture = Picture {
            waiting: Arc::new([pause].into()),
            wanted: [(cluster("fra-1"), shall.into())].into(),
            shapes: Arc::new([(app("db"), form)].into_iter().collect()),
            lacking: [Lacking { app: app("web"), lack: lack.clone(), cluster: cluster("fra-1") }].into(),
            moves: Arc::new(Moves::from([(cluster("fra-1"), moved)])),
            ..Picture::default()
        };
        let outstanding = Outstanding::of(&picture);
        let rows = [
            ("fra-1", "web", Some((Phase::Waiting, format!("it stays as it was: {lack}")))),
            (
                "fra-1",
                "db",
                Some((
                    Phase::Leaving,
                    "it is drained; it leaves once fra-2 is healthy in its place".to_owned(),
                )),
            ),
            (
                "fra-1",
                "broken",
                Some((Phase::Waiting, "it stays as it was: it could not be rendered".to_owned())),
            ),
            ("fra-3", "db", Some((Phase::Waiting, "a change waits: everything is paused".to_owned()))),
            ("fra-2", "web", None),
            ("fra-2", "db", None),
        ];
        for (name, of, expected) in rows {
            assert_eq!(outstanding.get(&cluster(name), &app(of)), expected, "{of} on {name}");
        }
        let untold = |name: &str| outstanding.untold(&cluster(name)).cloned().collect::<Vec<_>>();
        assert_eq!((untold("fra-1"), untold("fra-2")), (vec![app("broken"), app("web")], Vec::new()));
    }
}
