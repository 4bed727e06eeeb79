//! What the signal meets on its way through an untrained network.

use super::{fan_in, is_gate, is_weighted, normalises};
use crate::graph::{ComputationGraph, Kind, Node, Operation};
use smallvec::SmallVec;

/// What a weighted node (convolution, matrix product) adds to the length of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Logarithm of its parameters.
    Parameters,
    /// Logarithm of its multiply-accumulate operations.
    Macs,
    /// Logarithm of the area of its kernel.
    Kernel,
    /// Logarithm of the inputs of one of its output elements.
    FanIn,
    /// One.
    Depth,
}

impl Quantity {
    /// Every quantity, in the order of the fields of [`PathMeasures`].
    pub const ALL: [Self; 5] =
        [Self::Parameters, Self::Macs, Self::Kernel, Self::FanIn, Self::Depth];

    fn of(self, node: &Node) -> f64 {
        let [height, width] = node.window.kernel.map(f64::from);
        match self {
            Self::Parameters => (node.parameters.max(1) as f64).ln(),
            Self::Macs => (node.macs.max(1) as f64).ln(),
            Self::Kernel => (height * width).max(1.0).ln(),
            Self::FanIn => fan_in(node).max(1.0).ln(),
            Self::Depth => 1.0,
        }
    }
}

/// Measures of the paths from a network's inputs to its outputs.
///
/// A path is weighed by the share of the signal's variance that it carries at initialisation (the
/// shares of all paths add up to one): weighted and normalising nodes emit variance 1, as
/// batch normalisation has it, rectifiers halve it, a mean over a window of n elements divides it
/// by √n (between 1 for a constant map and n for white noise), and sums and concatenations share
/// it out among what they combine. Gates weigh signals without carrying them. Everything takes
/// time linear in the size of the graph.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PathMeasures {
    /// Elements that the weighted nodes put out.
    pub activations: u64,
    /// Each [`Quantity`] added up over the weighted nodes that carry signal.
    pub total: [f64; Quantity::ALL.len()],
    /// Expectation of each [`Quantity`]'s sum along a path.
    pub expected: [f64; Quantity::ALL.len()],
    /// Weighted nodes on the longest path.
    pub longest: u64,
    /// Weighted nodes with a window of more than one element on the longest path of these.
    pub longest_spatial: u64,
    /// Logarithm of the number of paths.
    pub log_paths: f64,
    /// Expected number of poolings along a path that keep the resolution: they blur the map and
    /// leave nothing that could be trained.
    pub smoothing: f64,
    /// Expected number of activation functions along a path.
    pub activation_functions: f64,
    /// Expected number of products of two computed tensors along a path.
    pub matrix_products: f64,
}

/// What is known of a node from what comes before it.
#[derive(Debug, Clone, Copy, Default)]
struct Forward {
    variance: f64,
    longest: u64,
    longest_spatial: u64,
    log_paths: f64,
}

impl PathMeasures {
    /// The measures of `graph`.
    pub fn new(graph: &ComputationGraph) -> Self {
        let nodes: Vec<&Node> = graph.nodes().collect();
        let mut forward: Vec<Forward> = Vec::with_capacity(nodes.len());
        let mut measures = Self::default();
        let mut all_parts = Vec::with_capacity(nodes.len());
        for (i, node) in nodes.iter().enumerate() {
            let parts = parts(graph, &nodes, &forward, i);
            forward.push(step(node, &parts, &forward));
            all_parts.push(parts);
            let last = forward[i];
            measures.longest = measures.longest.max(last.longest);
            measures.longest_spatial = measures.longest_spatial.max(last.longest_spatial);
        }

        // Shares of the paths, from the outputs back.
        let outputs: Vec<usize> =
            (0..nodes.len()).filter(|&i| graph.successors(i).next().is_none()).collect();
        let mut flow = vec![0.0f64; nodes.len()];
        for &output in &outputs {
            flow[output] = 1.0 / outputs.len() as f64;
        }
        measures.log_paths = log_sum(outputs.iter().map(|&o| forward[o].log_paths));
        for ((i, node), parts) in nodes.iter().enumerate().zip(all_parts).rev() {
            if is_weighted(node) {
                measures.activations = measures.activations.saturating_add(node.output.elements());
            }
            if flow[i] <= 0.0 {
                continue;
            }
            if is_weighted(node) {
                for (k, quantity) in Quantity::ALL.into_iter().enumerate() {
                    let length = quantity.of(node);
                    measures.total[k] += length;
                    measures.expected[k] += flow[i] * length;
                }
            } else if smooths(node) {
                measures.smoothing += flow[i];
            } else if node.operation == Operation::MatMul {
                measures.matrix_products += flow[i];
            } else if is_activation(node) {
                measures.activation_functions += flow[i];
            }
            let sum: f64 = parts.iter().map(|p| p.1).sum();
            for (from, part) in parts.into_iter().filter(|p| p.1 > 0.0) {
                flow[from] += flow[i] * part / sum;
            }
        }
        measures
    }
}

/// What each predecessor of a node brings along: its variance, times its channels where they are
/// concatenated, nothing where it is a gate.
fn parts(
    graph: &ComputationGraph,
    nodes: &[&Node],
    forward: &[Forward],
    i: usize,
) -> SmallVec<[(usize, f64); 4]> {
    let part = |p: usize| {
        let variance = forward[p].variance;
        match nodes[i].operation {
            Operation::Concat => (p, variance * nodes[p].output.channels as f64),
            Operation::Mul | Operation::MatMul if is_gate(nodes[p]) => (p, 0.0),
            _ => (p, variance),
        }
    };
    graph.predecessors(i).map(part).collect()
}

fn step(node: &Node, parts: &[(usize, f64)], forward: &[Forward]) -> Forward {
    if parts.is_empty() {
        return Forward { variance: 1.0, ..Forward::default() };
    }
    let most = |of: fn(&Forward) -> u64| {
        parts.iter().map(|&(p, _)| of(&forward[p])).max().unwrap_or_default()
    };
    let sum: f64 = parts.iter().map(|p| p.1).sum();
    // A sum of a map with itself, over and over, must not leave the range of numbers; what carries
    // nothing still carries nothing.
    let bounded = |v: f64| if v > 0.0 { v.clamp(1e-100, 1e100) } else { 0.0 };
    let spatial = node.window.kernel.iter().any(|&k| k > 1);
    let weighted = is_weighted(node);
    Forward {
        variance: bounded(match node.operation {
            _ if weighted || normalises(node) => 1.0,
            _ if is_activation(node) => sum / 2.0,
            Operation::Concat => sum / node.output.channels.max(1) as f64,
            Operation::AveragePool => {
                sum / node.window.kernel.map(f64::from).iter().product::<f64>().sqrt()
            }
            _ => sum,
        }),
        longest: most(|f| f.longest) + u64::from(weighted),
        longest_spatial: most(|f| f.longest_spatial) + u64::from(weighted && spatial),
        log_paths: log_sum(parts.iter().map(|&(p, _)| forward[p].log_paths)),
    }
}

/// Logarithm of the sum of what these are the logarithms of.
fn log_sum(logarithms: impl Iterator<Item = f64> + Clone) -> f64 {
    let mut first = logarithms.clone();
    if let (Some(only), None) = (first.next().filter(|l| l.is_finite()), first.next()) {
        return only;
    }
    let most = logarithms.clone().fold(f64::NEG_INFINITY, f64::max);
    if most.is_finite() {
        most + logarithms.map(|l| (l - most).exp()).sum::<f64>().ln()
    } else {
        0.0
    }
}

fn is_activation(node: &Node) -> bool {
    node.operation.kind() == Kind::Rectifier
}

fn smooths(node: &Node) -> bool {
    matches!(node.operation, Operation::MaxPool | Operation::AveragePool)
        && node.window.stride == [1, 1]
        && (node.output.height > 1 || node.output.width > 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Extent, Window};
    use crate::lower::lower;
    use crate::spaces::{Space, test_each_space};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const DEPTH: usize = Quantity::Depth as usize;

    fn measures(space: Space, architecture: &str) -> PathMeasures {
        PathMeasures::new(&lower(&space.build(architecture).unwrap()).unwrap())
    }

    /// Every cell adds a convolution of its input to its input, so variances count 1, 2, 3, … and
    /// the k-th convolution is on 1/(k + 1) of the paths; the blocks between the stages add a
    /// branch of two convolutions to one of a single one and leave variance 2.
    #[test]
    fn paths_of_a_residual_network_are_weighed_by_hand() {
        let cell = "|skip_connect~0|+|none~0|none~1|+|nor_conv_3x3~0|skip_connect~1|none~2|";
        let measures = measures(Space::NasBench201, cell);
        let cells = |first: u32| (first..first + 5).map(|n| 1.0 / f64::from(n)).sum::<f64>();
        let depth = 1.0 + cells(2) + 1.5 + cells(3) + 1.5 + cells(3) + 1.0;
        assert!((measures.expected[DEPTH] - depth).abs() < 1e-12, "{measures:?}");
        assert_eq!(measures.total[DEPTH], 23.0);
        assert_eq!((measures.longest, measures.longest_spatial), (21, 20));
        assert!((measures.log_paths - 17.0 * 2f64.ln()).abs() < 1e-12, "{measures:?}");
        assert_eq!(measures.smoothing, 0.0);
    }

    #[test]
    fn a_chain_has_one_path() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20 {
            let m = measures(Space::Plain, &Space::Plain.sample(&mut rng));
            assert_eq!((m.log_paths, m.longest as f64), (0.0, m.total[DEPTH]));
            let pairs = m.total.iter().zip(&m.expected);
            assert!(pairs.into_iter().all(|(t, e)| (t - e).abs() < 1e-9 * t.max(1.0)), "{m:?}");
        }
    }

    mod a_path_is_at_most_as_long_as_the_longest {
        use super::*;

        fn check(space: Space) {
            let m = measures(space, &space.sample(&mut ChaCha8Rng::seed_from_u64(2)));
            let margin = 1e-9;
            assert!(m.total.iter().zip(&m.expected).all(|(t, e)| *e <= t + margin), "{m:?}");
            assert!(m.expected[DEPTH] <= m.longest as f64 + margin, "{m:?}");
            assert!(m.expected[DEPTH] > 0.0 && m.longest_spatial <= m.longest, "{m:?}");
        }
        test_each_space!(check);
    }

    #[test]
    fn endless_doubling_stays_finite() {
        let node = |operation| Node {
            operation,
            input: Extent::new(3, 8, 8),
            output: Extent::new(3, 8, 8),
            window: Window::default(),
            bias: false,
            parameters: 0,
            macs: 0,
            name: "".into(),
        };
        // Each sum takes both branches of the one before.
        let mut nodes = [Operation::Input, Operation::Conv].map(node).to_vec();
        let mut edges = vec![(0, 1)];
        for _ in 0..2000 {
            let from = nodes.len() - 1;
            nodes.extend([Operation::Abs, Operation::Sqrt, Operation::Add].map(node));
            edges.extend([
                (from, from + 1),
                (from, from + 2),
                (from + 1, from + 3),
                (from + 2, from + 3),
            ]);
        }
        nodes.push(node(Operation::Conv));
        edges.push((nodes.len() - 2, nodes.len() - 1));
        let m = PathMeasures::new(&ComputationGraph::new(nodes, &edges).unwrap());
        assert!((m.expected[DEPTH] - 2.0).abs() < 1e-9, "{m:?}");
        assert!((m.log_paths - 2000.0 * 2f64.ln()).abs() < 1e-6, "{m:?}");
    }

    #[test]
    fn pooling_that_keeps_the_resolution_smooths() {
        let cell = |operation: &str| {
            measures(
                Space::NasBench201,
                &format!("|nor_conv_3x3~0|+|none~0|{operation}~1|+|none~0|none~1|skip_connect~2|"),
            )
        };
        let (pooled, copied) = (cell("avg_pool_3x3"), cell("skip_connect"));
        assert!((pooled.smoothing - 15.0).abs() < 1e-9 && copied.smoothing == 0.0);
        assert_eq!(pooled.total, copied.total);
    }
}
