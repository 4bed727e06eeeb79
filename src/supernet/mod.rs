//! Networks that share one set of weights.
//!
//! [`attentive`] trains all sub-networks of a network together; [`cells`] trains a super-network of cells
//! while it chooses what they do.

pub mod attentive;
pub mod cells;
