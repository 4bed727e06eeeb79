//! What a search draws candidates from.

use crate::fault::contain;
use crate::graph::ComputationGraph;
use crate::lower::lower;
use crate::model_graph::{BuildError, ModelGraph};
use crate::spaces::Architecture;
use crate::subnetworks::{SubNetwork, SuperNetwork};
use rand::RngCore;
use std::fmt::Display;
use std::hash::Hash;
use std::marker::PhantomData;

/// A set of networks with a neighbourhood.
pub trait SearchSpace: Sync {
    /// A network of the space; its text tells it from all others.
    type Candidate: Clone + Eq + Hash + Display + Send + Sync;

    /// Draws a candidate at random.
    fn sample(&self, rng: &mut dyn RngCore) -> Self::Candidate;

    /// Draws a neighbour: a candidate that differs in a single decision.
    fn mutate(&self, candidate: &Self::Candidate, rng: &mut dyn RngCore) -> Self::Candidate;

    /// Draws a candidate each of whose decisions is that of one of the two parents.
    fn crossover(
        &self,
        a: &Self::Candidate,
        b: &Self::Candidate,
        rng: &mut dyn RngCore,
    ) -> Self::Candidate;

    /// The candidate as a network.
    ///
    /// # Errors
    /// When the space is at fault: every candidate is a network.
    fn build(&self, candidate: &Self::Candidate) -> Result<ModelGraph, BuildError>;

    /// The candidate's computation graph; `None` when it has none.
    fn graph(&self, candidate: &Self::Candidate) -> Option<ComputationGraph> {
        contain(|| lower(&self.build(candidate).ok()?).ok()).ok()?
    }

    /// Number of options of each decision that makes up a candidate; empty when candidates differ
    /// in their number of decisions.
    fn decisions(&self) -> Vec<usize>;

    /// The candidate of these decisions, each below its number of options; `None` when they don't
    /// make up one.
    fn decide(&self, choices: &[usize]) -> Option<Self::Candidate>;
}

/// All architectures of one type as a search space.
#[derive(Debug, Clone, Copy)]
pub struct Architectures<A>(PhantomData<A>);

impl<A> Default for Architectures<A> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<A: Architecture> SearchSpace for Architectures<A> {
    type Candidate = A;

    fn sample(&self, rng: &mut dyn RngCore) -> A {
        A::sample(rng)
    }

    fn mutate(&self, candidate: &A, rng: &mut dyn RngCore) -> A {
        candidate.mutate(rng)
    }

    fn crossover(&self, a: &A, b: &A, rng: &mut dyn RngCore) -> A {
        a.crossover(b, rng)
    }

    fn build(&self, candidate: &A) -> Result<ModelGraph, BuildError> {
        Ok(candidate.build())
    }

    fn decisions(&self) -> Vec<usize> {
        A::decisions()
    }

    fn decide(&self, choices: &[usize]) -> Option<A> {
        A::decide(choices)
    }
}

impl SearchSpace for SuperNetwork {
    type Candidate = SubNetwork;

    fn sample(&self, rng: &mut dyn RngCore) -> SubNetwork {
        self.sample(rng)
    }

    fn mutate(&self, candidate: &SubNetwork, rng: &mut dyn RngCore) -> SubNetwork {
        self.mutate(candidate, rng)
    }

    fn crossover(&self, a: &SubNetwork, b: &SubNetwork, rng: &mut dyn RngCore) -> SubNetwork {
        self.crossover(a, b, rng)
    }

    fn build(&self, candidate: &SubNetwork) -> Result<ModelGraph, BuildError> {
        self.build(candidate)
    }

    fn decisions(&self) -> Vec<usize> {
        self.decisions()
    }

    fn decide(&self, choices: &[usize]) -> Option<SubNetwork> {
        let options = self.decisions();
        let fit = choices.iter().zip(&options).all(|(choice, options)| choice < options);
        (fit && choices.len() == options.len()).then(|| self.decide(choices))
    }
}
