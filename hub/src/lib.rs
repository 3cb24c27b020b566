//! The hub: reads the catalog, decides what runs where, streams it to the spokes, answers operators.

mod addresses;
pub mod catalogs;
pub mod charts;
pub mod cli;
pub mod config;
pub mod context;
pub mod deciding;
pub mod demo;
pub mod engines;
pub mod events;
pub mod git;
pub mod http;
pub mod init;
pub mod listener;
pub mod members;
pub mod operator;
pub mod pki;
pub mod planning;
pub mod serve;
pub mod sessions;
pub mod sources;
pub mod state;
pub mod store;
