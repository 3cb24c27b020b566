//! Questions: what people ask of this cluster over the session.
//!
//! In: questions as the hub sends them, the accepted assignment and its bundles, the target. Out: one answer for each, or
//! why there is none, in words. Never: writes; delays a report or an assignment; answers what the local policy forbids;
//! works on for nobody (every question has a time limit and can be cancelled).
//!
//! | module | in | out |
//! |---|---|---|
//! | `asking` | a session's questions | orders to the room; answers, when there is space for them |
//! | `room` | orders | answers, a few at once |
//! | `wire` | protobuf | domain, and back |
//! | `wanted` | an app | its objects, resolved as for applying |
//! | `policy` | a question, who asks | whether this cluster lets them |

pub mod asking;
pub mod policy;
pub mod room;
mod wanted;
mod wire;

pub use policy::Policy;
pub use room::{Order, Room};
