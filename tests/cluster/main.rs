//! Nave against real clusters; `kubectl` is the witness for everything that is said of one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod charts;
mod definitions;
mod demo;
mod drift;
mod harness_itself;
mod health;
mod installation;
mod installed;
mod moves;
mod on_the_spot;
mod outages;
mod packages;
mod placement;
mod questions;
mod secrets;
mod stage;
mod workloads;
