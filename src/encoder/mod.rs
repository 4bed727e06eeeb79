//! Graph neural networks over computation graphs: inference on one thread, without libtorch.
//!
//! A graph becomes [`GraphFeatures`], and an [`Encoder`] turns those into an embedding: an input
//! layer over operation and numeric features, [`Config::layers`] rounds of message passing, and a
//! readout over all nodes. One architecture with a few switches covers both our encoder and the
//! k-GNN baseline of GENNAPE (arXiv 2211.17226).

mod batch;
mod features;
mod forward;
mod neighbourhoods;
mod product;
mod store;
#[cfg(test)]
pub(crate) mod testing;
mod weights;

pub use batch::GraphBatch;
pub use features::{FEATURES, FeatureGroup, GraphFeatures, columns, features_hash};
pub use forward::Encoder;
pub use neighbourhoods::Neighbourhoods;
pub use store::{GraphStore, default_cache};
pub use weights::{Element, WeightError, WeightFile, Weights};

use serde::{Deserialize, Serialize};

/// Architecture of an encoder and the head on top of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Numeric features that it sees, besides the operation.
    pub features: Vec<FeatureGroup>,
    /// Length of a node's state.
    pub width: usize,
    /// Rounds of message passing.
    pub layers: usize,
    /// What a node hears from its neighbours.
    pub messages: Messages,
    /// Applied to the input layer, every round of message passing and the head's hidden layers.
    pub activation: Activation,
    /// Whether a round adds to the node's state instead of replacing it.
    pub residual: bool,
    /// How the states of all nodes become one embedding; several are concatenated.
    pub readout: Vec<Readout>,
    /// Widths of the head's hidden layers.
    pub head: Vec<usize>,
}

/// What a node hears from its neighbours in one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Messages {
    /// The sum of its predecessors' states (GraphConv of k-GNN, Morris et al. 2019).
    PredecessorSum,
    /// The mean of its predecessors' states and, apart from it, that of its successors'.
    MeanOfBothDirections,
}

impl Messages {
    /// Number of vectors that a node receives.
    pub fn parts(self) -> usize {
        match self {
            Self::PredecessorSum => 1,
            Self::MeanOfBothDirections => 2,
        }
    }
}

/// Element-wise non-linearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Activation {
    Relu,
    Tanh,
}

impl Activation {
    /// Applies it in place.
    #[inline(always)]
    pub fn apply_all(self, x: &mut [f32]) {
        match self {
            // Not `max`, which would turn a NaN into a number that looks sound.
            Self::Relu => x.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
            Self::Tanh => x.iter_mut().for_each(|x| *x = x.tanh()),
        }
    }
}

/// Permutation-invariant summary of the states of all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Readout {
    Mean,
    Max,
}

impl Config {
    /// Our encoder: residual layers with messages along both directions of the edges.
    pub fn encoder() -> Self {
        Self {
            features: vec![FeatureGroup::Local, FeatureGroup::Absolute, FeatureGroup::Relative],
            width: 64,
            layers: 6,
            messages: Messages::MeanOfBothDirections,
            activation: Activation::Relu,
            residual: true,
            readout: vec![Readout::Mean],
            head: vec![64],
        }
    }

    /// GENNAPE's k-GNN baseline, after its public code: 32 wide, 6 GraphConv with tanh, mean
    /// pooling and a head of 4 layers.
    pub fn k_gnn() -> Self {
        Self {
            features: vec![FeatureGroup::Local, FeatureGroup::Absolute],
            width: 32,
            layers: 6,
            messages: Messages::PredecessorSum,
            activation: Activation::Tanh,
            residual: false,
            readout: vec![Readout::Mean],
            head: vec![32, 32, 32],
        }
    }

    /// Length of an embedding.
    pub fn embedding(&self) -> usize {
        self.width.saturating_mul(self.readout.len())
    }
}
