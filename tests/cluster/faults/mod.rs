//! Faults between a spoke and its API server: each through the proxy before a real one, `kubectl` past it as the witness.
//!
//! Whatever the fault: what was there stays, with its UID; nothing is made twice; apps that it does not meet go on; the hub
//! names the cause; requests stay few; and when it is over everything comes to be as wanted.

mod credentials;
mod discovery;
mod harness_itself;
mod killed;
mod rows;
mod searches;
mod streams;
mod watches;
mod world;
