//! Which states of remotes are used.

use nave_placement::assign::{Change, EncodedEntry, Epoch, Generation};

use super::history::entry;
use super::*;
use crate::deciding::taking::used;
use crate::state::told_to_bytes;

#[test]
fn what_a_cluster_has_or_returns_to_is_used_whatever_else_is_in_effect() {
    let of = |version: &str| -> EncodedEntry {
        let at = format!("{version}@sha256:{version}").parse().expect("a state");
        nave_proto::encode_entry(&Entry { source_at: Some(at), ..entry(version.as_bytes(), 0, &[]) })
    };
    let (app, cluster): (AppKey, ClusterName) =
        ("web".parse().expect("a name"), "fra-1".parse().expect("a name"));
    let mut told = Told::nothing(Epoch(1));
    told.assignment.entries.insert(app.clone(), of("2"));
    let since = (Epoch(1), Generation(1));
    told.changes.insert(app, Change { since, at_ms: 1, previous: Some(of("1")) });
    let mut world = World::default();
    world.fold(&key::assignment(&cluster), Some(told_to_bytes(&told)));
    let used = used(&world.state);
    let used: Vec<&str> = used.iter().map(|id| &**id).collect();
    assert_eq!(used, ["sha256:1", "sha256:2"]);
}
