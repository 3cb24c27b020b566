//! Nave under faults, as processes: Git that goes away, hubs and spokes that are killed, stores from yesterday, clocks that
//! move, catalogs that cannot be read. Promises 1 to 4, 6 and 7, on a real hub and real spokes with `dir:` targets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod alone;
mod away;
mod bad_input;
mod failpoints;
mod git_gone;
mod given;
mod guard;
mod kills;
mod leftovers;
mod on_the_spot;
mod proxied;
mod restored;
