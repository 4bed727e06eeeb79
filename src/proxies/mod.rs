//! Training-free proxies: what ranks a network without a trained model.

mod descriptors;
mod paths;
mod signal;
mod synflow;

pub use descriptors::{Aspect, DESCRIPTORS, Descriptors, descriptors};
pub use paths::{PathMeasures, Quantity};
pub use signal::nonlinear_depth;
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
    /// [`nonlinear_depth`].
    pub nonlinear_depth: f64,
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
            nonlinear_depth: nonlinear_depth(graph),
            paths: PathMeasures::new(graph),
        }
    }

    /// Number of words of [`to_words`](Self::to_words).
    pub(crate) const WORDS: usize = 11 + 2 * Quantity::ALL.len();

    /// All bits, for files.
    pub(crate) fn to_words(self) -> [u64; Self::WORDS] {
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
            p.activation_functions.to_bits(),
            p.matrix_products.to_bits(),
            self.nonlinear_depth.to_bits(),
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
            nonlinear_depth: float(10),
            paths: PathMeasures {
                activations: words[3],
                longest: words[4],
                longest_spatial: words[5],
                log_paths: float(6),
                smoothing: float(7),
                activation_functions: float(8),
                matrix_products: float(9),
                total: std::array::from_fn(|k| float(11 + k)),
                expected: std::array::from_fn(|k| float(11 + Quantity::ALL.len() + k)),
            },
        }
    }

    /// All proxies on scales that suit linear models and distances within a search space:
    /// logarithms, but for the logarithm of the number of paths, smoothing, nonlinear depth and its
    /// unrelieved share, which stay as they are; each in units of its usual spread within a space.
    pub fn measures(&self) -> [f64; MEASURES] {
        let log = |x: f64| (1.0 + x.max(0.0)).ln();
        let p = &self.paths;
        let mut all = [0.0; MEASURES];
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
        let lengths = p.total.iter().chain(&p.expected).map(|&x| log(x));
        let signal = [self.nonlinear_depth, self.unrelieved()];
        let values = single.into_iter().chain(lengths).chain(signal);
        all.iter_mut().zip(values.zip(SPREADS)).for_each(|(to, (x, spread))| *to = x / spread);
        all
    }

    /// A ranking of networks of one space without any label: size (parameters, multiply-accumulate
    /// operations) and length of the paths (in parameters, operations and areas of kernels) speak
    /// for a network, smoothing and [excess depth](Self::excess_depth) against it.
    pub fn score(&self) -> f64 {
        let measures: f64 = self.measures().iter().zip(WEIGHTS).map(|(x, w)| x * w).sum();
        measures - EXCESS * self.excess_depth()
    }
}

/// Length of [`Proxies::measures`].
pub const MEASURES: usize = 10 + 2 * Quantity::ALL.len();

/// Root of the mean variance of each measure over 100 random networks of each of the thirteen search
/// spaces that there were when the weights were chosen. Models and scores are made with these: they
/// stay what they are when spaces are added.
#[rustfmt::skip]
const SPREADS: [f64; MEASURES] = [
    0.7595, 0.8320, 0.2961, 0.4808, 0.3067, 0.4217, 3.7208, 2.5292,
    0.3613, 0.3657, 0.5053, 0.3734, 0.3313,
    0.3019, 0.3055, 0.4231, 0.3123, 0.2605,
    1.0, 0.1,
];

/// Weights of the measures in [`Proxies::score`].
#[rustfmt::skip]
const WEIGHTS: [f64; MEASURES] = [
    1.0, 1.0, // parameters, operations
    0.0, 0.0, 0.0, 0.0, 0.0, // synaptic flow, activations, longest paths, number of paths
    -3.0, // smoothing
    // Totals and expectations along a path: parameters, operations, kernels, fan-in, depth.
    0.5, 0.5, 0.5, 0.0, 0.0,
    1.0, 1.0, 1.0, 0.0, 0.0,
    0.0, 0.0, // nonlinear depth, unrelieved share
];

/// Weight of excess depth in [`Proxies::score`].
const EXCESS: f64 = 3.0;

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
