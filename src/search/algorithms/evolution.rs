//! Regularised evolution (Real et al. 2019, "Regularized Evolution for Image Classifier
//! Architecture Search", arXiv 1802.01548).

use super::{BATCH, new_mutant};
use crate::search::pareto::{self, Fitness};
use crate::search::{Algorithm, Evaluated, SearchSpace};
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use std::collections::{HashSet, VecDeque};

/// Ageing evolution: the best of a random sample of the population has a mutant, and the oldest
/// dies. With several objectives the best is one of the sample's non-dominated networks, of those
/// the least crowded. A mutant that exists already is mutated once more, which costs nothing and
/// leads out of a neighbourhood that is used up.
#[derive(Debug, Clone)]
pub struct Evolution<C> {
    population: VecDeque<(C, Fitness)>,
    /// All candidates ever proposed.
    met: HashSet<C>,
    size: usize,
    sample: usize,
}

impl<C> Default for Evolution<C> {
    /// A population of 100 and samples of 25, as Real et al. chose.
    fn default() -> Self {
        Self { population: VecDeque::new(), met: HashSet::new(), size: 100, sample: 25 }
    }
}

impl<S: SearchSpace> Algorithm<S> for Evolution<S::Candidate> {
    fn ask(&mut self, space: &S, rng: &mut ChaCha8Rng) -> Vec<S::Candidate> {
        if self.population.len() < self.size {
            let missing = self.size - self.population.len();
            return (0..missing).map(|_| space.sample(rng)).collect();
        }
        let child = |_| {
            let drawn: Vec<&(S::Candidate, Fitness)> = index::sample(rng, self.size, self.sample)
                .iter()
                .map(|i| &self.population[i])
                .collect();
            let fitness: Vec<Fitness> = drawn.iter().map(|(_, f)| f.clone()).collect();
            new_mutant(space, &drawn[pareto::order(&fitness)[0]].0, &mut self.met, rng)
        };
        (0..BATCH).map(child).collect()
    }

    fn tell(&mut self, evaluated: &[Evaluated<S::Candidate>]) {
        self.met.extend(evaluated.iter().map(|e| e.candidate.clone()));
        self.population.extend(evaluated.iter().map(|e| (e.candidate.clone(), e.fitness.clone())));
        let dead = self.population.len().saturating_sub(self.size);
        self.population.drain(..dead);
    }
}
