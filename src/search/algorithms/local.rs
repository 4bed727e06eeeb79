//! Local search (White et al. 2020, "Local Search is State of the Art for Neural Architecture
//! Search Benchmarks", arXiv 2005.02960).

use super::BATCH;
use crate::search::pareto::Fitness;
use crate::search::{Algorithm, Evaluated, SearchSpace};
use rand_chacha::ChaCha8Rng;

/// Batches of neighbours without a better one after which a candidate counts as a local optimum.
const TRIES: usize = 4;

/// Moves to a better neighbour, and starts anew at random where none is found. With several
/// objectives, better means dominating.
#[derive(Debug, Clone)]
pub struct LocalSearch<C> {
    current: Option<(C, Fitness)>,
    failures: usize,
}

impl<C> Default for LocalSearch<C> {
    fn default() -> Self {
        Self { current: None, failures: 0 }
    }
}

impl<S: SearchSpace> Algorithm<S> for LocalSearch<S::Candidate> {
    fn ask(&mut self, space: &S, rng: &mut ChaCha8Rng) -> Vec<S::Candidate> {
        match &self.current {
            None => vec![space.sample(rng)],
            Some((current, _)) => (0..BATCH).map(|_| space.mutate(current, rng)).collect(),
        }
    }

    fn tell(&mut self, evaluated: &[Evaluated<S::Candidate>]) {
        let mut moved = false;
        for e in evaluated {
            let better = match &self.current {
                None => true,
                Some((_, fitness)) => e.fitness.dominates(fitness),
            };
            if better {
                self.current = Some((e.candidate.clone(), e.fitness.clone()));
                moved = true;
            }
        }
        self.failures = if moved { 0 } else { self.failures + 1 };
        if self.failures == TRIES {
            *self = Self::default();
        }
    }
}
