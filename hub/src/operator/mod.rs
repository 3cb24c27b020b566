//! Operator: what people ask and order.
//!
//! In: requests with an operator's certificate. Out: JSON documents, the same for CLI, API and page; orders to the other rooms.
//! Never: answers a call whose role is not declared here (default deny); changes anything without a line in the audit log.

mod asking;
mod converging;
mod events;
mod history;
mod images;
mod look;
mod members;
mod ordering;
mod outstanding;
mod pausing;
mod pinning;
mod planning;
mod render;
mod roles;
mod rollouts;
mod service;
mod snapshot;
mod trace;
pub mod views;
mod wait;
mod why;

pub use images::Pattern;
pub use look::{Look, Selection, cause, worked_on};
pub use outstanding::Outstanding;
pub use planning::{LONGEST, Turns};
pub use render::Assumed;
pub use service::{OperatorService, Rooms};
pub use wait::CONVERGED;
