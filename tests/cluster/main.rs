//! Nave against real clusters. So far: that the clusters themselves are real.

mod harness_itself;
