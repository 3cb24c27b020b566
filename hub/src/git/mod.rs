//! Git: the newest commit of a catalog's branch, and what stands in it.
//!
//! In: a URL and what is followed of it. Out: commit ids, trees, file contents, ancestry, trailers; a [`poller::Observation`] that changes
//! when the branch moves. Never: has a work tree, runs a `git` binary (but `ssh`, for what is behind it), prompts, or writes to a local source repository.
//!
//! A repository behind HTTP or SSH is fetched into a bare **mirror** in the data directory: the first time only the newest
//! commit, afterwards what is new; older history follows when a question about ancestry needs it. A repository on this
//! machine is read where it is, and what is pinned is copied to the mirror, so that neither a rewritten branch nor `git
//! gc` nor a missing directory takes a commit away that is in use.
//!
//! Everything blocking runs off the runtime: reads on its blocking pool, fetches each on a thread of their own, so that a
//! server that does not answer delays neither the hub nor its end. The mirror belongs to one [`Repository`] at a time.

mod access;
mod address;
mod answers;
mod app;
pub mod author;
mod blob;
mod errors;
mod failures;
mod fetch;
mod followed;
mod history;
pub mod lines;
mod mirror;
mod named;
mod objects;
mod packs;
pub mod poller;
mod repository;
mod ssh;
mod weighing;
mod wire;

pub use access::{Access, Login};
pub(crate) use access::{certificates, secret};
pub(crate) use address::host;
pub use app::App;
pub use blob::blob_id;
pub use errors::{Cause, FetchError, ReadError};
pub(crate) use failures::Signs;
pub use history::{CommitInfo, trailers_of};
pub(crate) use mirror::pinned_in;
pub use named::Meant;
pub use repository::{Head, Options, Repository};
