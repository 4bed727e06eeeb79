//! NSGA-II (Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm: NSGA-II").

use super::new_mutant;
use crate::search::pareto::{self, Fitness};
use crate::search::{Algorithm, Evaluated, SearchSpace};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

/// The best of parents and children survive: by front, then the least crowded. Parents win binary
/// tournaments; children are crossed over, then mutated.
#[derive(Debug, Clone)]
pub struct Nsga2<C> {
    /// The best first.
    population: Vec<(C, Fitness)>,
    /// All candidates ever proposed.
    met: HashSet<C>,
    size: usize,
    crossover: f64,
}

impl<C> Default for Nsga2<C> {
    /// A population of 100 and crossover with probability 0.9, as Deb et al. chose.
    fn default() -> Self {
        Self { population: Vec::new(), met: HashSet::new(), size: 100, crossover: 0.9 }
    }
}

impl<S: SearchSpace> Algorithm<S> for Nsga2<S::Candidate> {
    fn ask(&mut self, space: &S, rng: &mut ChaCha8Rng) -> Vec<S::Candidate> {
        let count = self.population.len();
        if count < self.size {
            return (count..self.size).map(|_| space.sample(rng)).collect();
        }
        let child = |_| {
            // In order of survival, so that the lower position wins.
            let mut parent =
                || &self.population[rng.gen_range(0..count).min(rng.gen_range(0..count))].0;
            let (a, b) = (parent(), parent());
            let child = match rng.gen_bool(self.crossover) {
                true => space.crossover(a, b, rng),
                false => a.clone(),
            };
            new_mutant(space, &child, &mut self.met, rng)
        };
        (0..self.size).map(child).collect()
    }

    fn tell(&mut self, evaluated: &[Evaluated<S::Candidate>]) {
        self.met.extend(evaluated.iter().map(|e| e.candidate.clone()));
        let present: HashSet<&S::Candidate> = self.population.iter().map(|(c, _)| c).collect();
        let mut among = HashSet::new();
        let new: Vec<(S::Candidate, Fitness)> = evaluated
            .iter()
            .filter(|e| !present.contains(&e.candidate) && among.insert(&e.candidate))
            .map(|e| (e.candidate.clone(), e.fitness.clone()))
            .collect();
        self.population.extend(new);
        let fitness: Vec<Fitness> = self.population.iter().map(|(_, f)| f.clone()).collect();
        let survivors = pareto::order(&fitness).into_iter().take(self.size);
        self.population = survivors.map(|i| self.population[i].clone()).collect();
    }
}
