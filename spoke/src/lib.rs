//! The spoke: the agent of one cluster.
//!
//! In: assignments from the hub over one stream, and what its target shows. Out: objects on the target, reports to the hub.
//! Never: goes back to an older assignment, deletes what it was not told to, needs the hub in order to keep what it has.

pub mod apply;
pub mod content;
pub mod enforce;
pub mod facts;
pub mod free;
pub mod gate;
pub mod identity;
pub mod link;
pub mod observe;
pub mod pause;
pub mod plan;
pub mod policy;
pub mod proxy;
pub mod questions;
pub mod report;
pub mod run;
pub mod secrets;
pub mod session;
pub mod started;
pub mod state;
pub mod status;
pub mod target;
#[cfg(test)]
mod testing;
