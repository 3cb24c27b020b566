//! Outstanding: entries that are as their spokes were told, and are to become otherwise.
//!
//! In: what was decided. Out: for each such entry, what it waits for. Never: names an entry that only waits for its spoke.

use std::collections::BTreeMap;

use nave_placement::overrides::Lack;
use nave_placement::{AppKey, ClusterName};

use super::views::Phase;
use crate::deciding::moves::Moves;
use crate::deciding::run::Picture;

/// What is to become otherwise.
pub struct Outstanding<'a> {
    moves: &'a Moves,
    /// What an entry stays as it was for.
    lacking: BTreeMap<(&'a ClusterName, &'a AppKey), &'a Lack>,
}

impl<'a> Outstanding<'a> {
    /// Of what was decided last.
    pub fn of(picture: &'a Picture) -> Self {
        let lacking = picture.lacking.iter().map(|l| ((&l.cluster, &l.app), &l.lack)).collect();
        Self { moves: &picture.moves, lacking }
    }

    /// How an entry stands and what it waits for, if it waits.
    pub fn get(&self, cluster: &ClusterName, app: &AppKey) -> Option<(Phase, String)> {
        if let Some(lack) = self.lacking.get(&(cluster, app)) {
            return Some((Phase::Waiting, format!("it stays as it was: {lack}")));
        }
        let to = self.moves.get(cluster)?.get(app)?;
        Some((Phase::Leaving, format!("it is drained; it leaves once {to} is healthy in its place")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nave_placement::overrides::Lacking;

    use super::*;

    #[test]
    fn what_lacks_a_value_and_what_moves_is_not_as_it_shall_be() {
        let cluster = |name: &str| name.parse::<ClusterName>().expect("a name");
        let app = |name: &str| name.parse::<AppKey>().expect("a name");
        let lack = Lack::NoValue("labels.zone".into());
        let moved = BTreeMap::from([(app("db"), cluster("fra-2"))]);
        let picture = Picture {
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
            ("fra-2", "web", None),
            ("fra-2", "db", None),
        ];
        for (name, of, expected) in rows {
            assert_eq!(outstanding.get(&cluster(name), &app(of)), expected, "{of} on {name}");
        }
    }
}
