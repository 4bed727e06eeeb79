//! What a search draws candidates from.

use crate::fault::contain;
use crate::graph::ComputationGraph;
use crate::lower::lower;
use crate::model_graph::ModelGraph;
use crate::spaces::Space;
use crate::subnetworks::{SubNetwork, SuperNetwork};
use rand::RngCore;
use std::error::Error;
use std::fmt::Display;
use std::hash::Hash;

/// Why a candidate is no network.
pub type CandidateError = Box<dyn Error + Send + Sync>;

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

    /// A text that is the same only for candidates with one computation graph: of those that share
    /// it, a search builds the first.
    fn identity(&self, candidate: &Self::Candidate) -> String {
        candidate.to_string()
    }

    /// The candidate as a network.
    ///
    /// # Errors
    /// When the space is at fault: every candidate that it makes is a network.
    fn build(&self, candidate: &Self::Candidate) -> Result<ModelGraph, CandidateError>;

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

/// Architectures by their text. A text that is no architecture of the space, which only comes in with
/// what a search [starts](super::Start) from, has no neighbour but itself, and can't be built.
impl SearchSpace for Space {
    type Candidate = String;

    fn sample(&self, rng: &mut dyn RngCore) -> String {
        Space::sample(*self, rng)
    }

    fn mutate(&self, candidate: &String, rng: &mut dyn RngCore) -> String {
        Space::mutate(*self, candidate, rng).unwrap_or_else(|_| candidate.clone())
    }

    fn crossover(&self, a: &String, b: &String, rng: &mut dyn RngCore) -> String {
        Space::crossover(*self, a, b, rng).unwrap_or_else(|_| a.clone())
    }

    fn identity(&self, candidate: &String) -> String {
        Space::identity(*self, candidate).unwrap_or_else(|_| candidate.clone())
    }

    fn build(&self, candidate: &String) -> Result<ModelGraph, CandidateError> {
        Ok(Space::build(*self, candidate)?)
    }

    fn decisions(&self) -> Vec<usize> {
        Space::decisions(*self)
    }

    fn decide(&self, choices: &[usize]) -> Option<String> {
        Space::decide(*self, choices)
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

    fn build(&self, candidate: &SubNetwork) -> Result<ModelGraph, CandidateError> {
        Ok(self.build(candidate)?)
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
