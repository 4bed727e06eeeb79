//! A small space for tests, whose optimum and front are known by enumeration.

use crate::graph::ComputationGraph;
use crate::model_graph::{Attributes, Builder, DataType, ModelGraph, OpType};
use crate::search::{CandidateError, SearchSpace};
use rand::{Rng, RngCore};
use std::fmt;

pub const DECISIONS: usize = 7;
pub const OPTIONS: usize = 4;

/// Seven decisions with four options each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate(pub [usize; DECISIONS]);

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|choice| write!(f, "{choice}"))
    }
}

impl Candidate {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..OPTIONS.pow(DECISIONS as u32)).map(Self::numbered)
    }

    fn numbered(number: usize) -> Self {
        Self(std::array::from_fn(|i| number / OPTIONS.pow(i as u32) % OPTIONS))
    }

    pub fn number(self) -> usize {
        self.0.iter().rev().fold(0, |number, choice| OPTIONS * number + choice)
    }

    /// What `graph` was built from: its MACs say so.
    pub fn from_graph(graph: &ComputationGraph) -> Self {
        Self::numbered(graph.macs() as usize - 1)
    }

    /// More for higher options.
    pub fn cost(self) -> f64 {
        self.0.iter().enumerate().map(|(i, &choice)| ((1 + i % 3) * choice) as f64).sum()
    }

    /// Less and less for higher options, and more where neighbours agree.
    pub fn quality(self) -> f64 {
        let gain = |(i, &choice): (usize, &usize)| {
            [0.0, 0.6, 0.9, 1.0][(choice + i / 4) % OPTIONS] * (3 + i * i % 4) as f64
        };
        let agreeing = self.0.windows(2).filter(|pair| pair[0] == pair[1]).count();
        self.0.iter().enumerate().map(gain).sum::<f64>() + 0.8 * agreeing as f64
    }
}

pub struct Toy;

impl SearchSpace for Toy {
    type Candidate = Candidate;

    fn sample(&self, rng: &mut dyn RngCore) -> Candidate {
        Candidate(std::array::from_fn(|_| rng.gen_range(0..OPTIONS)))
    }

    fn mutate(&self, candidate: &Candidate, rng: &mut dyn RngCore) -> Candidate {
        let mut mutant = *candidate;
        let choice = &mut mutant.0[rng.gen_range(0..DECISIONS)];
        *choice = (*choice + rng.gen_range(1..OPTIONS)) % OPTIONS;
        mutant
    }

    fn crossover(&self, a: &Candidate, b: &Candidate, rng: &mut dyn RngCore) -> Candidate {
        Candidate(std::array::from_fn(|i| if rng.gen_bool(0.5) { a.0[i] } else { b.0[i] }))
    }

    fn build(&self, candidate: &Candidate) -> Result<ModelGraph, CandidateError> {
        let mut builder = Builder::new(candidate.to_string(), 17);
        let input = builder.input("input", DataType::Float, &[1, 1]);
        let weight = builder.weight(&[1, 1 + candidate.number()]);
        let output = builder.node(OpType::MatMul, Attributes::default(), &[input, weight]).unwrap();
        builder.output(output);
        Ok(builder.finish())
    }

    fn decisions(&self) -> Vec<usize> {
        vec![OPTIONS; DECISIONS]
    }

    fn decide(&self, choices: &[usize]) -> Option<Candidate> {
        let choices: [usize; DECISIONS] = choices.try_into().ok()?;
        choices.iter().all(|choice| *choice < OPTIONS).then_some(Candidate(choices))
    }
}
