//! What tests of the whole stand on: real clusters, real etcd, real repositories, real processes, and faults between them.
//!
//! In: the binaries that `tests/setup/` provides and those of this workspace. Out: values that own what they started and
//! end it when they are dropped. Nothing here knows what Nave promises; that is for the tests to say.
//!
//! - [`kubernetes`]: clusters, with or without running workloads
//! - [`charts`]: Helm repositories and OCI registries
//! - [`connect`]: a proxy that lets nothing through but by CONNECT
//! - [`etcd`]: an etcd that keeps its word about durability
//! - [`fake_api`]: an API server that plays what the real one here is too old for
//! - [`faults`]: an API server that fails as it is told, before a real one
//! - [`fleet`]: a hub, spokes and their catalog, as processes
//! - [`git`]: repositories, and servers for them over http and https
//! - [`peers`]: bare ends of Nave's protocol, with any certificate
//! - [`process`]: the binaries of this workspace, started, watched and killed
//! - [`canary`], [`sops`]: a secret value to look for, and the encryption that an author's machine does
//! - [`proxy`]: a connection that can be cut, silenced or slowed
//! - [`receiver`]: HTTP servers that keep what they are sent, and answer as they are told
//! - [`webhook`]: an admission webhook that sets a field, whoever writes the object
//! - [`wait`]: until something holds, and what was seen last if it never did

pub mod assets;
pub mod canary;
pub mod charts;
pub mod connect;
pub mod etcd;
pub mod fake_api;
pub mod faults;
pub mod fleet;
pub mod git;
pub mod kubernetes;
pub mod peers;
pub mod port;
pub mod process;
pub mod proxy;
pub mod receiver;
mod servers;
pub mod sops;
pub mod tls;
pub mod wait;
pub mod webhook;
