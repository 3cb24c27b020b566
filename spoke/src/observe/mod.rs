//! Observe: what is seen of live objects, put into Nave's words.
//!
//! In: objects as the API server returns them. Out: [`health`], [`changes`].
//! Never: asks the cluster; a target does, and hands over what it got.

pub mod changes;
pub mod health;
