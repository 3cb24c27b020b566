//! What the state directory survives.
