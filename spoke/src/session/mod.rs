//! Session: the spoke's end of the stream to its hub.
//!
//! In: messages from the hub, what the rest of the spoke did. Out: messages to the hub, orders to the rest of the spoke.
//! Never: touches a socket or a file in [`core`]; [`client`] does that and decides nothing.

pub mod client;
pub mod core;
