//! The hub: reads the catalog, decides what runs where, streams it to the spokes, answers operators.

pub mod deciding;
pub mod git;
pub mod members;
pub mod pki;
pub mod sessions;
pub mod state;
pub mod store;
