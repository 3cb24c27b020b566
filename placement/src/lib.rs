//! The pure part of Nave: from a Git catalog to each cluster's assignment.
//!
//! In: the text of a catalog at one commit, the fleet's members, what was decided before, a time where one matters.
//! Out: decisions with their reasons, bundles, holds, assignments. The same inputs give the same bytes on any machine.
//! Never: I/O, a clock, randomness, unordered maps.
//!
//! The stages, in the order data flows:
//!
//! | module | in | out |
//! |---|---|---|
//! | [`catalog`] | files of one commit | a [`catalog::Catalog`] and its problems |
//! | [`fleet`] | members, labels, facts | what placements may look at |
//! | [`select`] | selectors, conditions, taints, a cluster | whether it matches, and which term did not |
//! | [`decide`] | catalog, fleet, what was decided before | [`decide::Decision`]s with reasons |
//! | [`render`] | an app's files | [`render::Needs`], then a [`render::Bundle`]; on the spoke, objects |
//! | [`overrides`] | catalog, fleet, forms | what differs from cluster to cluster of one app |
//! | [`claims`] | forms, what is wanted | objects that two apps of a cluster define |
//! | [`guard`] | what would be lost | what is allowed, and what is held |
//! | [`rollout`] | how an app moves, what is seen of its clusters | which of them may change now |
//! | [`relations`] | catalog, what is wanted | who waits for whom on a cluster, and who switches together |
//! | [`assign`] | decisions, bundles, the previous assignment | the next [`assign::Assignment`] |
//! | [`explain`] | all of it | the path between Git and one cluster |
//! | [`offline`] | a fleet as people write it | decisions without a hub |
//! | [`expression`] | a CEL expression, values | true, false, or why neither |
//! | [`pattern`] | a pattern with stars, a word | whether it fits |
//! | [`schedule`] | windows, freezes, the time | whether changes may start |
//! | [`check`] | a finished assignment | whether it breaks a promise, told without the planner's code |

pub mod aims;
pub mod assign;
pub mod catalog;
pub mod check;
pub mod claims;
pub mod decide;
mod digest;
mod duration;
pub mod explain;
pub mod expression;
mod fingerprints;
pub mod fleet;
pub mod guard;
mod names;
pub mod offline;
pub mod overrides;
pub mod pattern;
pub mod relations;
pub mod render;
pub mod report;
pub mod rollout;
pub mod schedule;
pub mod select;

pub use digest::{Digest, Digester, ParseDigestError, hex};
pub use duration::{DurationError, duration, written as duration_text};
pub use fingerprints::Fingerprints;
pub(crate) use names::check as check_name;
pub use names::{
    AppKey, CatalogName, ClusterName, NameError, ObjectKey, ROOT_CATALOG, is_label_key, is_label_value,
};
