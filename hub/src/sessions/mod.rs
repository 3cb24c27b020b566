//! Sessions: one stream per spoke.
//!
//! In: messages of spokes, changes of assignments. Out: assignments to spokes; reports, facts and alarms to the state.
//! Never: decides what runs where; queues more than the latest assignment for a spoke.

mod alarms;
pub mod asking;
pub mod content;
pub mod core;
pub mod effects;
pub mod service;
pub mod stale;
