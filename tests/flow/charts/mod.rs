//! Charts of Helm repositories and OCI registries, packed, indexed and pushed by Helm itself.

mod given;
mod refused;
mod registries;
mod repositories;
