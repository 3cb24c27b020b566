//! Overrides: what differs from cluster to cluster of one app.
//!
//! In: the catalog's `Override`s and parameters, a cluster's labels and facts. Out: which overrides apply where
//! ([`variants`]), what they do to a bundle ([`Amendments`]), the values of its `${…}` ([`values`]), and with these the form
//! of every app on every cluster ([`shapes`]).
//! Never: makes a bundle for each cluster. What concerns many clusters is in the bundle, which they share; what concerns
//! one is in the values of its entry.
//!
//! [`values`]: values::values

mod amendments;
mod answering;
mod change;
mod merge_keys;
mod operations;
mod parameters;
mod provenance;
mod shapes;
mod strategic;
pub mod template;
mod values;
mod variants;

pub use amendments::{Amendment, Amendments, amendments};
pub use answering::{Asking, answered};
pub use change::{Change, ChangeError, Image, Images};
pub(crate) use merge_keys::{Strategy, strategy_of_kind};
pub use operations::OperationError;
pub use parameters::{Parameters, merge, merged};
pub use provenance::{Filled, Provenance, Setter, divided, fillers, provenance, provenance_of_output};
pub use shapes::{
    Asked, Because, Form, Forms, Instead, Lacking, Shapes, bound, parameters, shapes, sources, unset,
};
pub use strategic::Merged;
pub(crate) use values::at as parameter_at;
pub use values::{Lack, Scope, values};
pub use variants::{Judge, Named, Variant, applies, applying, judged, needed, of_app, of_variant, variant};
