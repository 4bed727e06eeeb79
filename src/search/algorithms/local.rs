//! Local search (White et al. 2020, "Local Search is State of the Art for Neural Architecture
//! Search Benchmarks", arXiv 2005.02960; for several objectives, Paquete et al. 2004, "Pareto Local
//! Optimum Sets in the Biobjective Traveling Salesman Problem").

use super::BATCH;
use crate::search::pareto::Fitness;
use crate::search::{Algorithm, Evaluated, SearchSpace};
use rand_chacha::ChaCha8Rng;

/// Batches of neighbours after which a candidate counts as explored.
const TRIES: usize = 4;

/// Moves to a better neighbour, and starts anew at random where none is found. With several
/// objectives it keeps all that no other dominates, and goes on from those least explored.
#[derive(Debug, Clone)]
pub struct LocalSearch<C> {
    front: Vec<Member<C>>,
    /// The one whose neighbours were asked for.
    exploring: Option<C>,
}

#[derive(Debug, Clone)]
struct Member<C> {
    candidate: C,
    fitness: Fitness,
    tries: usize,
}

impl<C> Default for LocalSearch<C> {
    fn default() -> Self {
        Self { front: Vec::new(), exploring: None }
    }
}

impl<S: SearchSpace> Algorithm<S> for LocalSearch<S::Candidate> {
    fn ask(&mut self, space: &S, rng: &mut ChaCha8Rng) -> Vec<S::Candidate> {
        let least = self.front.iter().min_by_key(|member| member.tries);
        self.exploring = least.map(|member| member.candidate.clone());
        match &self.exploring {
            None => vec![space.sample(rng)],
            Some(candidate) => (0..BATCH).map(|_| space.mutate(candidate, rng)).collect(),
        }
    }

    fn tell(&mut self, evaluated: &[Evaluated<S::Candidate>]) {
        for member in &mut self.front {
            member.tries += usize::from(Some(&member.candidate) == self.exploring.as_ref());
        }
        for e in evaluated {
            let as_good = |m: &Member<_>| m.fitness == e.fitness || m.fitness.dominates(&e.fitness);
            if !self.front.iter().any(as_good) {
                self.front.retain(|member| !e.fitness.dominates(&member.fitness));
                let (candidate, fitness) = (e.candidate.clone(), e.fitness.clone());
                self.front.push(Member { candidate, fitness, tries: 0 });
            }
        }
        if self.front.iter().all(|member| member.tries >= TRIES) {
            self.front.clear();
        }
    }
}
