//! Charts of Helm repositories and OCI registries, packed, indexed and pushed by Helm itself.

pub mod given;
mod refused;
mod registries;
mod repositories;
