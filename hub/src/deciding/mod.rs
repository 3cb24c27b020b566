//! Deciding: from a revision and the members to what every cluster is told next.
//!
//! In: commits of the catalog's repository, the state. Out: commits to the ledger.
//! Never: keeps anything to itself that the next hub would need: whatever is interrupted is decided again, with the same result.
//!
//! [`core`] is pure; [`guarding`] says what binds a revision; [`hearing`] is what sessions know; [`history`] tells what changed and why; [`moves`] is what is to leave; [`pauses`] is what stays;
//! [`depending`] is what waits for other clusters; [`units`] are apps that move as one; [`lacking`] is what
//! waits for a value; [`parts`] are the catalogs, each as it is in effect; [`granting`] is what tenants have and may not change; [`revision`] brings a commit
//! from Git; [`reading`] finds files that lie in one of many places; `health` is how an app does where it was told; [`run`] is the task.

mod asking;
mod assignments;
mod awaited;
pub mod bundles;
pub mod commits;
pub mod core;
mod courses;
pub mod decisions;
pub mod depending;
mod gone;
pub mod granting;
mod grouped;
pub mod guarding;
mod heads;
mod health;
pub mod hearing;
pub mod history;
mod holding;
mod kept;
pub mod lacking;
pub mod moves;
pub mod older;
pub mod parts;
pub mod pauses;
mod picture;
pub mod reading;
mod rendered;
mod retrying;
pub mod revision;
pub mod rolling;
pub mod run;
mod staying;
mod taking;
pub mod units;
mod unkept;
pub mod waiting;

#[cfg(test)]
mod tests;
