//! Versions: an app is told to be complete when it is, and not before.

use std::collections::BTreeSet;

use nave_placement::catalog::Mode;
use nave_placement::report::{EntryReason, EntryState};

use crate::apply::{Engine, Look, Uninterrupted};
use crate::target::Changed;
use crate::target::memory::MemoryTarget;
use crate::testing::{After, Wish, app, config_map};

#[tokio::test]
async fn a_version_that_a_broken_off_round_did_not_store_is_stored_by_the_next() {
    let target = MemoryTarget::new("t");
    let wish = Wish::none().app("web", &[config_map("a", "1")]);
    let mut engine = Engine::default();
    // The inventory, the object; the third would be the version.
    let outcome = wish.round(&mut engine, &target, Look::Everything, &After::writes(2)).await;
    let web = &outcome.apps[&app("web")];
    assert_eq!((web.state, web.reason, web.version), (EntryState::Pending, EntryReason::Interrupted, None));
    let look = Look::At { changed: &Changed::default(), due: &BTreeSet::new() };
    let outcome = wish.round(&mut engine, &target, look, &Uninterrupted).await;
    let version = wish.entries[&app("web")].as_ref().map(|entry| entry.version).ok();
    assert_eq!(outcome.apps[&app("web")].version, version, "nobody told of a change");
}

#[tokio::test]
async fn an_app_that_only_observes_has_the_version_that_it_sees() {
    let target = MemoryTarget::new("t");
    let wish = |value| Wish::none().app("web", &[config_map("a", value)]);
    wish("1").reconcile(&target).await;
    let before = target.stored()[&app("web")].version;
    let observing = |value| wish(value).change("web", |entry| entry.options.treatment.mode = Mode::Observe);
    let outcome = observing("2").reconcile(&target).await;
    let web = &outcome.apps[&app("web")];
    assert_eq!((web.reason, web.version), (EntryReason::Differs, before));
    let same = observing("1").change("web", |entry| entry.version = nave_placement::Digest::of(b"newer"));
    let outcome = same.reconcile(&target).await;
    assert_eq!(outcome.apps[&app("web")].version, Some(nave_placement::Digest::of(b"newer")));
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_takes_no_version_back() {
    let target = MemoryTarget::new("t");
    let wish = Wish::none().app("web", &[config_map("a", "1")]);
    let mut engine = Engine::default();
    let before = wish.round(&mut engine, &target, Look::Everything, &Uninterrupted).await;
    target.set_unreachable(Some("no route to host"));
    for _ in 0..2 {
        let outcome = wish.round(&mut engine, &target, Look::Everything, &Uninterrupted).await;
        let web = &outcome.apps[&app("web")];
        assert_eq!(web.reason, EntryReason::TargetUnreachable);
        assert_eq!(web.version, before.apps[&app("web")].version);
    }
}
