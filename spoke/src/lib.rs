//! The spoke: the agent of one cluster.
//!
//! In: assignments from the hub over one stream, and what its target shows. Out: objects on the target, reports to the hub.
//! Never: goes back to an older assignment, deletes what it was not told to, needs the hub in order to keep what it has.

pub mod apply;
pub mod plan;
pub mod report;
pub mod session;
pub mod target;
#[cfg(test)]
mod testing;
