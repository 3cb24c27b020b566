//! The hub as a library: the rooms that `hub serve` and `hub demo` are wired from.

pub mod store;
