//! The hub's Git stage against real repositories, made and served by the `git` binary.

#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod fixture;
mod history;
mod hostile;
mod local;
mod named;
mod polling;
mod refs;
mod remote;
