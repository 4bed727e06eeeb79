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
    /// logarithm of the number of paths and for smoothing, which stay as they are; each in units of
    /// its usual spread within a search space.
    pub fn descriptors(&self) -> [f64; DESCRIPTORS] {
        let mut all = self.unscaled();
        all.iter_mut().zip(SPREADS).for_each(|(x, spread)| *x /= spread);
        all
    }

    fn unscaled(&self) -> [f64; DESCRIPTORS] {
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

    /// A ranking of networks without any label: size (parameters, multiply-accumulate operations)
    /// and length of the paths (in parameters, operations and areas of kernels) speak for a
    /// network, smoothing against it.
    pub fn score(&self) -> f64 {
        self.descriptors().iter().zip(WEIGHTS).map(|(x, weight)| x * weight).sum()
    }
}

/// Length of [`Proxies::descriptors`].
pub const DESCRIPTORS: usize = 8 + 2 * Quantity::ALL.len();

/// Root of the mean variance of each descriptor over 100 random networks of every search space; a
/// test measures it again.
#[rustfmt::skip]
const SPREADS: [f64; DESCRIPTORS] = [
    0.7595, 0.8320, 0.2961, 0.4808, 0.3067, 0.4217, 3.7208, 2.5292,
    0.3613, 0.3657, 0.5053, 0.3734, 0.3313,
    0.3019, 0.3055, 0.4231, 0.3123, 0.2605,
];

/// Weights of the descriptors in [`Proxies::score`].
#[rustfmt::skip]
const WEIGHTS: [f64; DESCRIPTORS] = [
    1.0, 1.0, // parameters, operations
    0.0, 0.0, 0.0, 0.0, 0.0, // synaptic flow, activations, longest paths, number of paths
    -3.0, // smoothing
    // Totals and expectations along a path: parameters, operations, kernels, fan-in, depth.
    0.5, 0.5, 0.5, 0.0, 0.0,
    1.0, 1.0, 1.0, 0.0, 0.0,
];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::lower;
    use crate::spaces::Space;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rayon::prelude::*;

    #[test]
    fn spreads_are_those_of_the_search_spaces() {
        let variances = |space: Space| -> [f64; DESCRIPTORS] {
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let networks: Vec<String> = (0..100).map(|_| space.sample(&mut rng)).collect();
            let unscaled = |network: &String| {
                Proxies::new(&lower(&space.build(network).unwrap()).unwrap()).unscaled()
            };
            let rows: Vec<[f64; DESCRIPTORS]> = networks.par_iter().map(unscaled).collect();
            std::array::from_fn(|k| {
                let mean = rows.iter().map(|r| r[k]).sum::<f64>() / rows.len() as f64;
                rows.iter().map(|r| (r[k] - mean).powi(2)).sum::<f64>() / rows.len() as f64
            })
        };
        let all: Vec<_> = Space::ALL.iter().copied().map(variances).collect();
        let measured: [f64; DESCRIPTORS] = std::array::from_fn(|k| {
            (all.iter().map(|v| v[k]).sum::<f64>() / all.len() as f64).sqrt()
        });
        let same = measured.iter().zip(SPREADS).all(|(m, s)| (m / s - 1.0).abs() < 1e-3);
        assert!(same, "{measured:.4?}");
    }
}
