//! The hub, ended at each place where it persists something: just before, and just after.
//!
//! One story of a fleet's life reaches every step. It is told three times: undisturbed, with the hub ended before each step
//! is durable, and after. At the end of each chapter all three tellings have to be the same, and the steps of the story have
//! to be those that `hub failpoints` prints, so that a step without a chapter fails here.

mod chapters;
mod telling;

use std::collections::BTreeSet;

use chapters::CHAPTERS;
use telling::{Telling, When};

#[tokio::test]
async fn a_hub_that_is_ended_at_any_step_goes_on_as_if_it_had_not_been() {
    let [undisturbed, before, after] = [When::Never, When::Before, When::After].map(Telling::begin);
    let (mut undisturbed, mut before, mut after) = tokio::join!(undisturbed, before, after);

    let printed = undisturbed.fleet.hub(&["failpoints"]).await.unwrap();
    let printed: BTreeSet<String> = printed.stdout.lines().map(str::to_owned).collect();
    let both = |step: &&str| [format!("{step}.before"), format!("{step}.after")];
    let told: BTreeSet<String> = CHAPTERS.iter().flat_map(both).collect();
    assert_eq!(told, printed);

    for step in CHAPTERS {
        let (wanted, one, other) = tokio::join!(undisturbed.tell(step), before.tell(step), after.tell(step));
        assert_eq!(one, wanted, "ended before {step}\n{}", before.fleet.tails());
        assert_eq!(other, wanted, "ended after {step}\n{}", after.fleet.tails());
    }
    assert_eq!(before.aborts, CHAPTERS.len());
    assert_eq!(after.aborts, CHAPTERS.len());
}
