//! Kustomizations and charts, rendered by the real engines: the same objects as by hand, what is refused, and a hub that
//! brings them to clusters.

mod answers;
mod corpus;
mod dependencies;
pub mod given;
mod helm;
mod kustomize;
mod refused;
mod story;
