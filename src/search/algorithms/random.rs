//! Random search.

use super::BATCH;
use crate::search::{Algorithm, Evaluated, SearchSpace};
use rand_chacha::ChaCha8Rng;

/// Draws candidates independently of one another.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomSearch;

impl<S: SearchSpace> Algorithm<S> for RandomSearch {
    fn ask(&mut self, space: &S, rng: &mut ChaCha8Rng) -> Vec<S::Candidate> {
        (0..BATCH).map(|_| space.sample(rng)).collect()
    }

    fn tell(&mut self, _: &[Evaluated<S::Candidate>]) {}
}
