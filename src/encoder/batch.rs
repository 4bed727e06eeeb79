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
}

impl GraphBatch {
    /// Featurises `graphs`.
    pub fn new(graphs: &[impl Borrow<ComputationGraph>]) -> Self {
        Self {
            features: graphs.iter().map(|g| GraphFeatures::new(g.borrow())).collect(),
            proxies: graphs.iter().map(|g| Proxies::new(g.borrow())).collect(),
        }
    }

    /// The graphs at these positions of `store`.
    pub fn stored(store: &GraphStore, graphs: impl Iterator<Item = usize> + Clone) -> Self {
        Self {
            features: graphs.clone().map(|graph| store.features(graph)).collect(),
            proxies: graphs.map(|graph| *store.proxies(graph)).collect(),
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
}
