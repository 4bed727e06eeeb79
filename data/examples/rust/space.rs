//! A search space of one's own: chains of convolutions, each of one of four widths.

use gennape::estimator::Estimator;
use gennape::graph::ComputationGraph;
use gennape::model_graph::{Attributes, Builder, DataType, ModelGraph, OpType, ints};
use gennape::search::algorithms::Evolution;
use gennape::search::{CandidateError, ChoiceSpace, Problem, Search};
use std::error::Error;

const WIDTHS: [usize; 4] = [16, 32, 64, 128];

/// The network with these positions in [`WIDTHS`].
fn chain(choices: &[usize]) -> Result<ModelGraph, CandidateError> {
    let mut builder = Builder::new("chain", 17);
    let mut x = builder.input("input", DataType::Float, &[1, 3, 32, 32]);
    for (i, &choice) in choices.iter().enumerate() {
        let weight = builder.weight(&[WIDTHS[choice], builder.value(x).shape[1], 3, 3]);
        let stride = if i % 2 == 1 { 2 } else { 1 };
        let attributes =
            Attributes::new().with("strides", ints(&[stride, stride])).with("pads", ints(&[1; 4]));
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
    let space = ChoiceSpace::new(vec![WIDTHS.len(); 6], chain).ok_or("every width is a choice")?;
    let search = Search::new(&space, &problem).algorithm(Evolution::default()).budget(100);
    let record = search.run()?;
    for network in record.front() {
        let widths = network.candidate.as_slice().iter().map(|&choice| WIDTHS[choice]);
        println!("{:?} {:?}", widths.collect::<Vec<_>>(), network.values);
    }
    Ok(())
}
