//! Spaces whose candidates are one option of each of some decisions.

use super::space::{CandidateError, SearchSpace};
use crate::model_graph::ModelGraph;
use rand::{Rng, RngCore};
use std::fmt;

/// A search space of decisions with some options each, and what builds the network of a choice for each.
///
/// Neighbours differ in one decision, and children take each from either parent. A space with rules of
/// its own is a [`SearchSpace`].
#[derive(Debug, Clone)]
pub struct ChoiceSpace<B> {
    decisions: Vec<usize>,
    build: B,
}

/// The option chosen for each decision, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Choices(Vec<usize>);

impl Choices {
    /// The options, in the order of the decisions.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }
}

/// The options with commas between them.
impl fmt::Display for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, choice) in self.0.iter().enumerate() {
            write!(f, "{}{choice}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl<B> ChoiceSpace<B>
where
    B: Fn(&[usize]) -> Result<ModelGraph, CandidateError> + Sync,
{
    /// The space of `decisions`, the number of options of each; `build` makes the network of a choice
    /// for each. `None` when a decision has no option.
    pub fn new(decisions: Vec<usize>, build: B) -> Option<Self> {
        (!decisions.contains(&0)).then_some(Self { decisions, build })
    }
}

impl<B> SearchSpace for ChoiceSpace<B>
where
    B: Fn(&[usize]) -> Result<ModelGraph, CandidateError> + Sync,
{
    type Candidate = Choices;

    fn sample(&self, rng: &mut dyn RngCore) -> Choices {
        Choices(self.decisions.iter().map(|&options| rng.gen_range(0..options)).collect())
    }

    fn mutate(&self, candidate: &Choices, rng: &mut dyn RngCore) -> Choices {
        let mut mutant = candidate.clone();
        let open = self.decisions.iter().filter(|&&options| options > 1).count();
        if open > 0 {
            let which = rng.gen_range(0..open);
            let choices = mutant.0.iter_mut().zip(&self.decisions);
            if let Some((choice, &options)) =
                choices.filter(|(_, options)| **options > 1).nth(which)
            {
                *choice = (*choice + rng.gen_range(1..options)) % options;
            }
        }
        mutant
    }

    fn crossover(&self, a: &Choices, b: &Choices, rng: &mut dyn RngCore) -> Choices {
        let either = |(&a, &b)| if rng.r#gen() { a } else { b };
        Choices(a.0.iter().zip(&b.0).map(either).collect())
    }

    fn build(&self, candidate: &Choices) -> Result<ModelGraph, CandidateError> {
        (self.build)(&candidate.0)
    }

    fn decisions(&self) -> Vec<usize> {
        self.decisions.clone()
    }

    fn decide(&self, choices: &[usize]) -> Option<Choices> {
        let within = choices.iter().zip(&self.decisions).all(|(choice, options)| choice < options);
        (choices.len() == self.decisions.len() && within).then(|| Choices(choices.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::toy::{Candidate, DECISIONS, OPTIONS, Toy};
    use super::super::{Problem, Search};
    use super::*;
    use crate::graph::ComputationGraph;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::HashSet;

    fn space() -> impl SearchSpace<Candidate = Choices> {
        let build = |choices: &[usize]| {
            let options = choices[..DECISIONS].try_into().map(Candidate)?;
            Toy.build(&options)
        };
        let decisions = [vec![OPTIONS; DECISIONS], vec![1]].concat();
        ChoiceSpace::new(decisions, build).unwrap()
    }

    #[test]
    fn neighbours_differ_in_one_decision_and_children_are_of_both() {
        let (space, mut rng) = (space(), ChaCha8Rng::seed_from_u64(3));
        let mut parent = space.sample(&mut rng);
        let mut seen = HashSet::new();
        for _ in 0..300 {
            let mutant = space.mutate(&parent, &mut rng);
            let differ =
                |a: &Choices, b: &Choices| a.0.iter().zip(&b.0).filter(|(a, b)| a != b).count();
            assert_eq!(differ(&parent, &mutant), 1);
            let other = space.sample(&mut rng);
            let child = space.crossover(&mutant, &other, &mut rng);
            assert_eq!(
                differ(&child, &mutant) + differ(&child, &other),
                differ(&mutant, &other),
                "{child}"
            );
            assert_eq!(space.decide(child.as_slice()).as_ref(), Some(&child));
            seen.extend(child.0.iter().copied().enumerate());
            parent = mutant;
        }
        assert_eq!(seen.len(), OPTIONS * DECISIONS + 1);
        assert_eq!(space.decide(&[0; DECISIONS]), None);
        assert_eq!(space.decide(&[0, 0, 0, 0, 0, 0, 0, 1]), None);
        assert!(ChoiceSpace::new(vec![2, 0], |_| Toy.build(&Candidate([0; DECISIONS]))).is_none());
        let one = ChoiceSpace::new(vec![1], |_| Toy.build(&Candidate([0; DECISIONS]))).unwrap();
        assert_eq!(one.mutate(&Choices(vec![0]), &mut rng), Choices(vec![0]));
    }

    #[test]
    fn a_search_finds_the_best_choices() {
        let quality = |graph: &ComputationGraph| Candidate::from_graph(graph).quality();
        let problem = Problem::new().maximise("quality", quality);
        let record = Search::new(&space(), &problem).budget(3000).seed(1).run().unwrap();
        let best = Candidate::all().map(Candidate::quality).fold(f64::MIN, f64::max);
        let found = record.front()[0];
        assert_eq!(found.values, [Some(best)], "{}", found.candidate);
    }
}
