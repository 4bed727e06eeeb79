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
/// the least crowded. After a batch without anything new, mutants that exist already are mutated
/// once more, which leads out of a neighbourhood that is used up.
#[derive(Debug, Clone)]
pub struct Evolution<C> {
    population: VecDeque<(C, Fitness)>,
    /// All candidates ever proposed.
    met: HashSet<C>,
    /// Whether the last batch had nothing new.
    used_up: bool,
    size: usize,
    sample: usize,
}

impl<C> Default for Evolution<C> {
    /// A population of 100 and samples of 25, as Real et al. chose.
    fn default() -> Self {
        Self {
            population: VecDeque::new(),
            met: HashSet::new(),
            used_up: false,
            size: 100,
            sample: 25,
        }
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
            let fitness: Vec<&Fitness> = drawn.iter().map(|(_, f)| f).collect();
            let parent = &drawn[pareto::best(&fitness).unwrap_or(0)].0;
            match self.used_up {
                true => new_mutant(space, parent, &mut self.met, rng),
                false => space.mutate(parent, rng),
            }
        };
        (0..BATCH).map(child).collect()
    }

    fn tell(&mut self, evaluated: &[Evaluated<S::Candidate>]) {
        let new = evaluated.iter().filter(|e| self.met.insert(e.candidate.clone())).count();
        self.used_up = new == 0;
        self.population.extend(evaluated.iter().map(|e| (e.candidate.clone(), e.fitness.clone())));
        let dead = self.population.len().saturating_sub(self.size);
        self.population.drain(..dead);
    }
}
