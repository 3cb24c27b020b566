//! Nave against real clusters; `kubectl` is the witness for everything that is said of one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod adoption;
mod autoscaling;
mod beside_kubectl;
mod charts;
mod conflicts;
mod definitions;
mod demo;
mod drift;
mod facts;
mod fake_api;
mod faults;
mod fighting;
mod groups;
mod harness_itself;
mod health;
mod history;
mod immutable;
mod impersonation;
mod installation;
mod installed;
mod moves;
mod observe;
mod on_the_spot;
mod outages;
mod overriding;
mod packages;
mod picking;
mod placement;
mod questions;
mod rollouts;
mod rounds;
mod secrets;
mod stage;
mod windows;
mod workloads;
