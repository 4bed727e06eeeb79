//! Ways of choosing what to evaluate next.

mod attentive;
mod evolution;
mod gaussian_process;
mod guided;
mod local;
mod nsga2;
mod policy;
mod random;

pub use attentive::{Attention, AttentiveSampling};
pub use evolution::Evolution;
pub use guided::{Guided, Surrogate};
pub use local::LocalSearch;
pub use nsga2::Nsga2;
pub use policy::{NoDecisions, PolicyGradient};
pub use random::RandomSearch;

use super::SearchSpace;
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

/// Candidates asked for at a time where the algorithm itself goes one by one, so that all cores
/// have something to do.
const BATCH: usize = 32;

/// How often a mutant that exists already is mutated once more.
const TRIES: usize = 10;

/// A mutant that is not among those met, where one is found; now it is.
fn new_mutant<S: SearchSpace>(
    space: &S,
    parent: &S::Candidate,
    met: &mut HashSet<S::Candidate>,
    rng: &mut ChaCha8Rng,
) -> S::Candidate {
    let mut mutant = parent.clone();
    for _ in 0..TRIES {
        mutant = space.mutate(&mutant, rng);
        if met.insert(mutant.clone()) {
            break;
        }
    }
    mutant
}
