//! A search space of one's own: chains of convolutions, each of one of four widths.

use gennape::estimator::Estimator;
use gennape::graph::ComputationGraph;
use gennape::model_graph::{Attributes, Builder, DataType, ModelGraph, OpType, ints};
use gennape::rand::{Rng, RngCore};
use gennape::search::algorithms::Evolution;
use gennape::search::{CandidateError, Problem, Search, SearchSpace};
use std::error::Error;
use std::fmt;

const WIDTHS: [usize; 4] = [16, 32, 64, 128];

/// A position in [`WIDTHS`] for each convolution.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Chain([usize; 6]);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.map(|choice| WIDTHS[choice]))
    }
}

struct Chains;

impl SearchSpace for Chains {
    type Candidate = Chain;

    fn sample(&self, rng: &mut dyn RngCore) -> Chain {
        Chain([0; 6].map(|_| rng.gen_range(0..WIDTHS.len())))
    }

    fn mutate(&self, chain: &Chain, rng: &mut dyn RngCore) -> Chain {
        let mut chain = chain.clone();
        chain.0[rng.gen_range(0..6)] = rng.gen_range(0..WIDTHS.len());
        chain
    }

    fn crossover(&self, a: &Chain, b: &Chain, rng: &mut dyn RngCore) -> Chain {
        Chain(std::array::from_fn(|i| if rng.gen_bool(0.5) { a.0[i] } else { b.0[i] }))
    }

    fn build(&self, chain: &Chain) -> Result<ModelGraph, CandidateError> {
        let mut builder = Builder::new(chain.to_string(), 17);
        let mut x = builder.input("input", DataType::Float, &[1, 3, 32, 32]);
        for (i, width) in chain.0.map(|choice| WIDTHS[choice]).into_iter().enumerate() {
            let weight = builder.weight(&[width, builder.value(x).shape[1], 3, 3]);
            let stride = if i % 2 == 1 { 2 } else { 1 };
            let attributes = Attributes::new()
                .with("strides", ints(&[stride, stride]))
                .with("pads", ints(&[1; 4]));
            x = builder.node(OpType::Conv, attributes, &[x, weight])?;
            x = builder.node(OpType::Relu, Attributes::new(), &[x])?;
        }
        x = builder.node(OpType::GlobalAveragePool, Attributes::new(), &[x])?;
        x = builder.node(OpType::Flatten, Attributes::new(), &[x])?;
        let weight = builder.weight(&[builder.value(x).shape[1], 10]);
        x = builder.node(OpType::MatMul, Attributes::new(), &[x, weight])?;
        builder.output(x);
        Ok(builder.finish())
    }

    fn decisions(&self) -> Vec<usize> {
        vec![WIDTHS.len(); 6]
    }

    fn decide(&self, choices: &[usize]) -> Option<Chain> {
        Some(Chain(choices.try_into().ok()?))
    }
}

pub fn main() -> Result<(), Box<dyn Error>> {
    let estimator = Estimator::embedded();
    let accuracy = |graph: &ComputationGraph| {
        estimator.estimate(&[graph]).map_or(f64::NAN, |estimates| estimates[0].accuracy)
    };
    let problem = Problem::new().maximise("accuracy", accuracy).at_most(
        "MACs",
        50e6,
        |graph: &ComputationGraph| graph.macs() as f64,
    );
    let search = Search::new(&Chains, &problem).algorithm(Evolution::default()).budget(100);
    let record = search.run()?;
    for network in record.front() {
        println!("{} {:?}", network.candidate, network.values);
    }
    Ok(())
}
