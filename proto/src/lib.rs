//! Nave's wire protocol.
//!
//! In: domain types of `nave-placement`. Out: protobuf messages and back, and the rules that both ends share: limits, backoff,
//! TLS, the join token. Never: decides anything.

pub mod backoff;
mod convert;
mod entry;
mod facts;
pub mod limits;
mod relations;
mod schedule;
pub mod spiffe;
pub mod tls;
pub mod token;
mod treatment;

/// The messages and services of `nave/v1/*.proto`, generated.
pub mod v1 {
    #![allow(missing_docs, clippy::pedantic, clippy::nursery, clippy::all)]
    #![allow(unused_qualifications, reason = "generated code")]
    include!("gen/nave.v1.rs");
}

pub use convert::{
    ConvertError, app_from_proto, app_to_proto, assignment_from_proto, assignment_to_proto, change_to_proto,
    digest, leaving_from_proto, leaving_to_proto, report_from_proto, report_to_proto,
};
pub use entry::{decode_entry, encode_entry};
pub use facts::{facts_from_proto, facts_to_proto, fits_fact, free_from_proto, free_to_proto};
pub use relations::{decode_relations, encode_relations};
pub use schedule::{closed, decode_schedule, encode_schedule};
