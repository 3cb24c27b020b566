//! Faults: what goes wrong in a fleet.
//!
//! In: a chance. Out: a broken stream, a killed process, a lost store, a stranger's hand on an object, a wrong clock.
//! Never: something that the promises do not cover.

use super::network::Link;
use super::{World, git};

impl World {
    pub(super) fn break_stream(&mut self, i: usize) -> String {
        let keep = self.rng.usize(0..4);
        let (first, second) = (self.rng.bool(), self.rng.bool());
        let Some(stream) = self.links[i].spokes() else { return String::new() };
        // What is on its way may still arrive, or not.
        stream.up.truncate(keep);
        stream.down.truncate(if first { 0 } else { keep });
        stream.hub &= second;
        stream.spoke = false;
        self.spokes[i].core.as_mut().into_iter().for_each(|core| core.disconnected());
        self.links[i].tidy();
        format!("{} loses its stream", self.spokes[i].name)
    }

    pub(super) fn restart_spoke(&mut self, i: usize) -> String {
        self.spokes[i].kill();
        self.links[i].spokes().into_iter().for_each(|stream| stream.spoke = false);
        self.links[i].tidy();
        self.oracle.look(&self.spokes[i]);
        format!("{} is killed", self.spokes[i].name)
    }

    fn hub_went(&mut self) {
        for stream in self.links.iter_mut().flat_map(|link| &mut link.streams) {
            stream.hub = false;
            stream.up.clear();
        }
        self.links.iter_mut().for_each(Link::tidy);
    }

    pub(super) fn restart_hub(&mut self) -> String {
        self.hub.kill();
        self.hub_went();
        "the hub is killed".into()
    }

    pub(super) fn lose_hub(&mut self) -> String {
        let which = self.rng.usize(..);
        self.oracle.lost = true;
        self.hub.lose(which);
        self.hub_went();
        "the hub's store is an older copy".into()
    }

    pub(super) fn accept_restore(&mut self) -> String {
        self.hub.accept_restore();
        "ann accepts the restore".into()
    }

    pub(super) fn partition(&mut self, i: usize) -> String {
        let link = &mut self.links[i];
        link.partitioned = !link.partitioned;
        format!("{} is partitioned: {}", self.spokes[i].name, link.partitioned)
    }

    /// Somebody else changes or removes an object.
    pub(super) fn foreign(&mut self, i: usize) -> String {
        let target = &self.spokes[i].target;
        let objects: Vec<_> = target.objects().into_keys().collect();
        let Some(key) = self.rng.choice(&objects) else { return String::new() };
        if self.rng.bool() {
            target.remove(key);
        } else {
            target.edit(key, serde_json::json!({"foreign": true}));
        }
        format!("somebody touches {key} on {}", self.spokes[i].name)
    }

    pub(super) fn jump(&mut self) -> String {
        let by = self.rng.u64(0..10_000_000);
        self.now_ms = if self.rng.bool() { self.now_ms + by } else { self.now_ms.saturating_sub(by) };
        format!("the clock is set to {}", self.now_ms)
    }

    pub(super) fn unreachable(&mut self, i: usize) -> String {
        let why = self.rng.bool().then_some("somebody cut the cable");
        self.spokes[i].target.set_unreachable(why);
        let refused = git::object_key(&format!("o{}", self.rng.u32(0..24)));
        self.spokes[i].target.refuse(&refused, self.rng.bool().then_some("a webhook says no"));
        format!("{}'s target: {why:?}", self.spokes[i].name)
    }
}
