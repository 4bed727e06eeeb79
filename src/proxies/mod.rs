//! Training-free proxies: what ranks a network without a trained model.

mod descriptors;
mod paths;
mod signal;
mod synflow;

pub use descriptors::{Aspect, DESCRIPTORS, Descriptor, Descriptors, Measured, descriptors};
pub use paths::{PathMeasures, Quantity};
pub use signal::nonlinear_depth;
pub use synflow::log_synflow;

use crate::graph::{ComputationGraph, Kind, Node};

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
        TABLE.map(|measure| (measure.value)(self) / measure.spread)
    }

    /// A ranking of networks of one space without any label: size (parameters, multiply-accumulate
    /// operations) and length of the paths (in parameters, operations and areas of kernels) speak
    /// for a network, smoothing and [excess depth](Self::excess_depth) against it.
    pub fn score(&self) -> f64 {
        let measures: f64 = self.measures().iter().zip(TABLE).map(|(x, of)| x * of.weight).sum();
        measures - EXCESS * self.excess_depth()
    }
}

/// Length of [`Proxies::measures`].
pub const MEASURES: usize = TABLE.len();

/// A measure of networks of one space.
#[derive(Clone, Copy)]
struct Measure {
    /// Root of its mean variance over 100 random networks of each of the thirteen search spaces that
    /// there were when the weights were chosen. Models and scores are made with these: they stay what
    /// they are when spaces are added.
    spread: f64,
    /// In [`Proxies::score`].
    weight: f64,
    value: fn(&Proxies) -> f64,
}

const fn measure(spread: f64, weight: f64, value: fn(&Proxies) -> f64) -> Measure {
    Measure { spread, weight, value }
}

const TABLE: [Measure; 20] = [
    measure(0.7595, 1.0, |p| log(p.parameters as f64)),
    measure(0.8320, 1.0, |p| log(p.macs as f64)),
    measure(0.2961, 0.0, |p| log(p.log_synflow)),
    measure(0.4808, 0.0, |p| log(p.paths.activations as f64)),
    measure(0.3067, 0.0, |p| log(p.paths.longest as f64)),
    measure(0.4217, 0.0, |p| log(p.paths.longest_spatial as f64)),
    measure(3.7208, 0.0, |p| p.paths.log_paths),
    measure(2.5292, -3.0, |p| p.paths.smoothing),
    measure(0.3613, 0.5, |p| log(p.paths.total[Quantity::Parameters as usize])),
    measure(0.3657, 0.5, |p| log(p.paths.total[Quantity::Macs as usize])),
    measure(0.5053, 0.5, |p| log(p.paths.total[Quantity::Kernel as usize])),
    measure(0.3734, 0.0, |p| log(p.paths.total[Quantity::FanIn as usize])),
    measure(0.3313, 0.0, |p| log(p.paths.total[Quantity::Depth as usize])),
    measure(0.3019, 1.0, |p| log(p.paths.expected[Quantity::Parameters as usize])),
    measure(0.3055, 1.0, |p| log(p.paths.expected[Quantity::Macs as usize])),
    measure(0.4231, 1.0, |p| log(p.paths.expected[Quantity::Kernel as usize])),
    measure(0.3123, 0.0, |p| log(p.paths.expected[Quantity::FanIn as usize])),
    measure(0.2605, 0.0, |p| log(p.paths.expected[Quantity::Depth as usize])),
    measure(1.0, 0.0, |p| p.nonlinear_depth),
    measure(0.1, 0.0, |p| p.unrelieved()),
];

/// The natural logarithm of one plus a number.
fn log(x: f64) -> f64 {
    (1.0 + x.max(0.0)).ln()
}

/// Weight of excess depth in [`Proxies::score`].
const EXCESS: f64 = 3.0;

fn is_weighted(node: &Node) -> bool {
    matches!(node.operation.kind(), Kind::Convolution | Kind::Linear)
}

/// Whether a node's output weighs other signals instead of carrying one.
fn is_gate(node: &Node) -> bool {
    matches!(node.operation.kind(), Kind::Gate | Kind::Softmax)
}

/// Whether a node puts out variance 1 whatever it reads.
fn normalises(node: &Node) -> bool {
    matches!(node.operation.kind(), Kind::Affine | Kind::Normalisation)
}

/// Inputs of one output element of a weighted node.
fn fan_in(node: &Node) -> f64 {
    let kernel = node.window.kernel.map(f64::from);
    node.input.channels as f64 / f64::from(node.window.groups) * kernel[0] * kernel[1]
}
