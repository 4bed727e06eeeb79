//! Networks that share one set of weights.
//!
//! [`cells`] trains a super-network of cells while it chooses what they do.

pub mod cells;
