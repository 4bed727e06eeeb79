//! Networks that share one set of weights.
//!
//! `attentive` trains all sub-networks of a network together; `cells` trains a super-network of cells while it
//! chooses what they do. Both need the feature `train`; what says how to go about it does not.

#[cfg(feature = "train")]
pub mod attentive;
#[cfg(feature = "train")]
pub mod cells;
mod reward;
mod sampler;

pub use reward::{Reward, RewardError};
pub use sampler::Sampler;
