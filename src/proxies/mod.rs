//! Training-free proxies: what ranks a network without a trained model.

mod paths;
mod synflow;

pub use paths::{PathMeasures, Quantity};
pub use synflow::log_synflow;

use crate::graph::{ComputationGraph, Node, Operation};

/// Every proxy of one network.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Proxies {
    /// Trained coefficients.
    pub parameters: u64,
    /// Multiply-accumulate operations.
    pub macs: u64,
    /// [`log_synflow`].
    pub log_synflow: f64,
    /// What the signal meets on its way.
    pub paths: PathMeasures,
}

impl Proxies {
    /// The proxies of `graph`.
    pub fn new(graph: &ComputationGraph) -> Self {
        Self {
            parameters: graph.parameters(),
            macs: graph.macs(),
            log_synflow: log_synflow(graph),
            paths: PathMeasures::new(graph),
        }
    }

    /// Number of words of [`to_words`](Self::to_words).
    pub(crate) const WORDS: usize = 8 + 2 * Quantity::ALL.len();

    /// All bits, for files.
    pub(crate) fn to_words(&self) -> [u64; Self::WORDS] {
        let p = &self.paths;
        let mut words = [0; Self::WORDS];
        let single = [
            self.parameters,
            self.macs,
            self.log_synflow.to_bits(),
            p.activations,
            p.longest,
            p.longest_spatial,
            p.log_paths.to_bits(),
            p.smoothing.to_bits(),
        ];
        let measured = p.total.iter().chain(&p.expected).map(|x| x.to_bits());
        words.iter_mut().zip(single.into_iter().chain(measured)).for_each(|(to, x)| *to = x);
        words
    }

    /// What [`to_words`](Self::to_words) was made of.
    pub(crate) fn from_words(words: [u64; Self::WORDS]) -> Self {
        let float = |i: usize| f64::from_bits(words[i]);
        Self {
            parameters: words[0],
            macs: words[1],
            log_synflow: float(2),
            paths: PathMeasures {
                activations: words[3],
                longest: words[4],
                longest_spatial: words[5],
                log_paths: float(6),
                smoothing: float(7),
                total: std::array::from_fn(|k| float(8 + k)),
                expected: std::array::from_fn(|k| float(8 + Quantity::ALL.len() + k)),
            },
        }
    }

    /// All proxies on scales that suit linear models and distances: logarithms, but for the
    /// logarithm of the number of paths and for smoothing, which stay as they are.
    pub fn descriptors(&self) -> [f64; DESCRIPTORS] {
        let log = |x: f64| (1.0 + x.max(0.0)).ln();
        let p = &self.paths;
        let mut all = [0.0; DESCRIPTORS];
        let single = [
            log(self.parameters as f64),
            log(self.macs as f64),
            log(self.log_synflow),
            log(p.activations as f64),
            log(p.longest as f64),
            log(p.longest_spatial as f64),
            p.log_paths,
            p.smoothing,
        ];
        let measured = p.total.iter().chain(&p.expected).map(|&x| log(x));
        all.iter_mut().zip(single.into_iter().chain(measured)).for_each(|(to, x)| *to = x);
        all
    }
}

/// Length of [`Proxies::descriptors`].
pub const DESCRIPTORS: usize = 8 + 2 * Quantity::ALL.len();

fn is_weighted(node: &Node) -> bool {
    use Operation::*;
    matches!(node.operation, Conv | DepthwiseConv | ConvTranspose | Linear)
}

/// Whether a node's output weighs other signals instead of carrying one.
fn is_gate(node: &Node) -> bool {
    use Operation::*;
    matches!(node.operation, Sigmoid | HardSigmoid | Softmax | LogSoftmax)
}

/// Inputs of one output element of a weighted node.
fn fan_in(node: &Node) -> f64 {
    let kernel = node.window.kernel.map(f64::from);
    node.input.channels as f64 / f64::from(node.window.groups) * kernel[0] * kernel[1]
}
