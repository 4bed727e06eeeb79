//! What a model estimates from.

use super::{GraphFeatures, GraphStore};
use crate::graph::ComputationGraph;
use crate::proxies::Proxies;
use std::borrow::Borrow;

/// Featurised graphs and their proxies.
#[derive(Debug, Clone, Default)]
pub struct GraphBatch {
    features: Vec<GraphFeatures>,
    /// Of each graph.
    proxies: Vec<Proxies>,
    /// Of each graph, see [`guesses`](Self::guesses).
    guesses: Vec<Option<u64>>,
}

/// Classes that a network can but guess among, whose output does not depend on its input.
pub(super) fn guess(graph: &ComputationGraph) -> Option<u64> {
    (!graph.depends_on_input()).then(|| graph.classes())
}

impl GraphBatch {
    /// Featurises `graphs`.
    pub fn new(graphs: &[impl Borrow<ComputationGraph>]) -> Self {
        Self {
            features: graphs.iter().map(|g| GraphFeatures::new(g.borrow())).collect(),
            proxies: graphs.iter().map(|g| Proxies::new(g.borrow())).collect(),
            guesses: graphs.iter().map(|g| guess(g.borrow())).collect(),
        }
    }

    /// The graphs at these positions of `store`.
    pub fn stored(store: &GraphStore, graphs: impl Iterator<Item = usize> + Clone) -> Self {
        Self {
            features: graphs.clone().map(|graph| store.features(graph)).collect(),
            proxies: graphs.clone().map(|graph| *store.proxies(graph)).collect(),
            guesses: graphs.map(|graph| store.guess(graph)).collect(),
        }
    }

    /// Features of each graph.
    pub fn features(&self) -> &[GraphFeatures] {
        &self.features
    }

    /// Proxies of each graph.
    pub fn proxies(&self) -> &[Proxies] {
        &self.proxies
    }

    /// Of each graph whose output does not depend on its input, how many classes it can but guess
    /// among.
    pub fn guesses(&self) -> &[Option<u64>] {
        &self.guesses
    }
}
