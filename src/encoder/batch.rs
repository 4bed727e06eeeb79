//! What a model estimates from.

use super::{GraphFeatures, GraphStore};
use crate::graph::ComputationGraph;
use crate::proxies::{Descriptors, Proxies, descriptors};
use std::borrow::Borrow;

/// Featurised graphs and their proxies.
#[derive(Debug, Clone, Default)]
pub struct GraphBatch {
    features: Vec<GraphFeatures>,
    /// Of each graph.
    proxies: Vec<Proxies>,
    /// Of each graph, see [`guesses`](Self::guesses).
    guesses: Vec<Option<u64>>,
    /// Of each graph, see [`descriptors`](Self::descriptors).
    descriptors: Vec<Option<Box<Descriptors>>>,
}

/// Classes that a network can but guess among, whose output does not depend on its input.
pub(super) fn guess(graph: &ComputationGraph) -> Option<u64> {
    (!graph.depends_on_input()).then(|| graph.classes())
}

/// Descriptors of a graph with these proxies, if it takes large images.
pub(super) fn described(graph: &ComputationGraph, proxies: &Proxies) -> Option<Box<Descriptors>> {
    graph.takes_large_images().then(|| Box::new(descriptors(graph, proxies)))
}

impl GraphBatch {
    /// Featurises `graphs`.
    pub fn new(graphs: &[impl Borrow<ComputationGraph>]) -> Self {
        let proxies: Vec<Proxies> = graphs.iter().map(|g| Proxies::new(g.borrow())).collect();
        let described = graphs.iter().zip(&proxies).map(|(g, p)| described(g.borrow(), p));
        Self {
            features: graphs.iter().map(|g| GraphFeatures::new(g.borrow())).collect(),
            descriptors: described.collect(),
            proxies,
            guesses: graphs.iter().map(|g| guess(g.borrow())).collect(),
        }
    }

    /// The graphs at these positions of `store`.
    pub fn stored(store: &GraphStore, graphs: impl Iterator<Item = usize> + Clone) -> Self {
        Self {
            features: graphs.clone().map(|graph| store.features(graph)).collect(),
            proxies: graphs.clone().map(|graph| *store.proxies(graph)).collect(),
            guesses: graphs.clone().map(|graph| store.guess(graph)).collect(),
            descriptors: graphs
                .map(|graph| store.descriptors(graph).map(|d| Box::new(*d)))
                .collect(),
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

    /// Descriptors of each graph that takes large images, as real networks do; of the cells of
    /// benchmarks, nobody asks for them.
    pub fn descriptors(&self) -> &[Option<Box<Descriptors>>] {
        &self.descriptors
    }
}
