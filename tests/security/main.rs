//! Who gets in, and how far: promise 9, identity, and every way in which somebody may try to be somebody else.
//!
//! A real hub, and clients that are Nave's own protocol with certificates that the test chooses.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod certificates;
mod enrolment;
mod given;
mod leaving;
mod man_in_the_middle;
mod orders;
mod sessions;
