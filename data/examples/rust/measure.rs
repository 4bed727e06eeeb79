//! A search with a measure of one's own: deep, but with few activations.

use gennape::graph::ComputationGraph;
use gennape::search::{Problem, Search};
use gennape::spaces::Space;
use std::error::Error;

pub fn main() -> Result<(), Box<dyn Error>> {
    // Whatever can be computed of a network; here the elements of all its tensors.
    let activations = |graph: &ComputationGraph| {
        let extents = graph.nodes().map(|node| node.output);
        extents.map(|e| (e.channels * e.height * e.width) as f64).sum::<f64>()
    };
    let problem = Problem::new()
        .maximise("depth", |graph: &ComputationGraph| graph.depth() as f64)
        .minimise("activations", activations);
    let record = Search::new(&Space::NasBench201, &problem).budget(200).seed(0).run()?;
    for network in record.front() {
        println!("{:?} {}", network.values, network.candidate);
    }
    Ok(())
}
