//! What the encoder sees of a computation graph.
//!
//! Everything here is derived from what the [fingerprint](crate::graph::Fingerprint) covers, so
//! that networks of one architecture have one embedding, however they were exported.

use crate::graph::{ComputationGraph, Node, Operation};
use ndarray::{Array2, ArrayView1};
use serde::{Deserialize, Serialize};

/// A set of numeric features that is switched on or off as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureGroup {
    /// The operation by itself: window, bias, change of channels and resolution.
    Local,
    /// Channels, resolution and cost on an absolute logarithmic scale.
    Absolute,
    /// Channels, resolution, cost and depth relative to the network's own maximum.
    Relative,
}

/// The numeric features of a node, in the order in which the encoder reads them.
/// Logarithms have base 2 and are divided by 8, which brings usual values to about ±1.
pub const FEATURES: [(&str, FeatureGroup); 20] = [
    ("log_kernel_height", FeatureGroup::Local),
    ("log_kernel_width", FeatureGroup::Local),
    ("log_stride", FeatureGroup::Local),
    ("log_dilation", FeatureGroup::Local),
    // 0 when every output channel sees all input channels, 1 when it sees one.
    ("log_groups_by_log_channels", FeatureGroup::Local),
    ("padded", FeatureGroup::Local),
    ("bias", FeatureGroup::Local),
    ("log_channel_ratio", FeatureGroup::Local),
    ("log_position_ratio", FeatureGroup::Local),
    ("log_input_channels", FeatureGroup::Absolute),
    ("log_output_channels", FeatureGroup::Absolute),
    ("log_input_positions", FeatureGroup::Absolute),
    ("log_output_positions", FeatureGroup::Absolute),
    ("log_macs", FeatureGroup::Absolute),
    ("relative_log_input_channels", FeatureGroup::Relative),
    ("relative_log_output_channels", FeatureGroup::Relative),
    ("relative_log_input_positions", FeatureGroup::Relative),
    ("relative_log_output_positions", FeatureGroup::Relative),
    ("relative_log_macs", FeatureGroup::Relative),
    // Longest path from an input to the node by the longest path of the network.
    ("relative_depth", FeatureGroup::Relative),
];

/// Version of how the features are computed; part of [`features_hash`].
const VERSION: u32 = 1;

/// Hash of the names and the version of all numeric features: a trained model only fits the
/// features it was trained on.
pub fn features_hash() -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&VERSION.to_le_bytes());
    for (name, _) in FEATURES {
        hasher.update(name.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finalize().to_hex()[..16].to_string()
}

/// Positions in [`FEATURES`] of those that belong to `groups`, ascending.
pub fn columns(groups: &[FeatureGroup]) -> Vec<usize> {
    let selected =
        |(i, (_, group)): (usize, &(_, FeatureGroup))| groups.contains(group).then_some(i);
    FEATURES.iter().enumerate().filter_map(selected).collect()
}

/// A computation graph as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphFeatures {
    /// [Code](Operation::code) of each node's operation.
    pub(crate) operations: Vec<u8>,
    /// Numeric features, `[nodes, FEATURES.len()]`; always finite.
    pub(crate) numeric: Array2<f32>,
    /// Edges between positions of nodes, each from an earlier to a later node.
    pub(crate) edges: Vec<(u32, u32)>,
    /// Signature and operation of each node, ascending: an answer asks for them three times.
    signed: Vec<(u32, u8)>,
}

/// Logarithm on the scale of the features; that of 0 is taken as that of 1.
fn log(x: u64) -> f32 {
    if x <= 1 { 0.0 } else { (x as f32).log2() / 8.0 }
}

/// The nearest integer, of what is not negative; halves are rounded up. As `round`, which without
/// SSE 4.1 is a call.
fn rounded(x: f32) -> u64 {
    let whole = x as u64;
    whole + u64::from(x - whole as f32 >= 0.5)
}

/// What kind of node it is; see [`GraphFeatures::signatures`].
fn signature(operation: u8, numeric: ArrayView1<f32>) -> u32 {
    const KINDS: [usize; 7] = [0, 1, 2, 9, 10, 11, 12];
    // Features are logarithms divided by 8.
    let powers = KINDS.iter().map(|&k| rounded(8.0 * numeric[k]));
    let mix = |hash: u64, x: u64| (hash ^ x).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    (powers.fold(mix(0, operation.into()), mix) >> 40) as u32
}

/// Logarithms that several features of a node share.
struct Logs {
    channels: [f32; 2],
    positions: [f32; 2],
    macs: f32,
}

impl Logs {
    fn new(node: &Node) -> Self {
        let ends = [&node.input, &node.output];
        Self {
            channels: ends.map(|e| log(e.channels)),
            positions: ends.map(|e| log(e.height.saturating_mul(e.width))),
            macs: log(node.macs.saturating_add(1)),
        }
    }
}

impl GraphFeatures {
    /// Of nodes with these operations and numeric features, and edges between them.
    pub(crate) fn of_nodes(
        operations: Vec<u8>,
        numeric: Array2<f32>,
        edges: Vec<(u32, u32)>,
    ) -> Self {
        let nodes = operations.iter().zip(numeric.rows());
        let mut signed: Vec<(u32, u8)> =
            nodes.map(|(&operation, numeric)| (signature(operation, numeric), operation)).collect();
        signed.sort_unstable();
        Self { operations, numeric, edges, signed }
    }

    /// The signatures of nodes, ascending, and how many nodes have each. A signature says of what kind a
    /// node is: its operation, kernel and stride, and its channels and positions to the nearest power of
    /// two, in 24 bits, which a file's floats hold exactly.
    pub fn signatures(&self) -> impl Iterator<Item = (u32, usize)> {
        self.signed.chunk_by(|a, b| a.0 == b.0).map(|same| (same[0].0, same.len()))
    }

    /// Share of nodes that a network repeats without anything to learn: sums, concatenations and
    /// poolings of which there is another of the same [signature](Self::signatures), in a network
    /// without two weighted nodes of the same one. Only its stem, reductions and head learn then, as
    /// with cells of nothing but skip connections and poolings.
    pub fn unlearned(&self) -> f64 {
        use Operation::*;
        let of = |operations: &[Operation], &(_, node): &(u32, u8)| {
            operations.iter().any(|&operation| code(operation) == node)
        };
        let repeated =
            || self.signed.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1).flatten();
        if repeated().any(|node| of(&[Conv, DepthwiseConv, ConvTranspose, Linear], node)) {
            return 0.0;
        }
        let unlearned = repeated().filter(|node| of(&[Add, Concat, AveragePool, MaxPool], node));
        unlearned.count() as f64 / self.nodes() as f64
    }

    /// The features of `graph`.
    pub fn new(graph: &ComputationGraph) -> Self {
        let logs: Vec<Logs> = graph.nodes().map(Logs::new).collect();
        let largest = |of: fn(&Logs) -> f32| logs.iter().map(of).fold(0.0, f32::max);
        let channels = largest(|l| l.channels[0].max(l.channels[1]));
        let positions = largest(|l| l.positions[0].max(l.positions[1]));
        let macs = largest(|l| l.macs);

        let edges: Vec<(u32, u32)> =
            graph.edges().map(|(from, to)| (from as u32, to as u32)).collect();
        let mut depth = vec![0u32; logs.len()];
        for to in 0..logs.len() {
            depth[to] = graph.predecessors(to).map(|from| depth[from] + 1).max().unwrap_or(0);
        }
        let deepest = depth.iter().copied().max().unwrap_or(0).max(1) as f32;

        let mut numeric = Vec::with_capacity(logs.len() * FEATURES.len());
        for ((node, l), depth) in graph.nodes().zip(&logs).zip(depth) {
            let w = &node.window;
            let groups = log(w.groups.into());
            numeric.extend_from_slice(&[
                log(w.kernel[0].into()),
                log(w.kernel[1].into()),
                log(w.stride[0].max(w.stride[1]).into()),
                log(w.dilation[0].max(w.dilation[1]).into()),
                if groups > 0.0 && l.channels[0] > 0.0 { groups / l.channels[0] } else { 0.0 },
                f32::from(u8::from(w.padded)),
                f32::from(u8::from(node.bias)),
                l.channels[1] - l.channels[0],
                l.positions[1] - l.positions[0],
                l.channels[0],
                l.channels[1],
                l.positions[0],
                l.positions[1],
                l.macs,
                l.channels[0] - channels,
                l.channels[1] - channels,
                l.positions[0] - positions,
                l.positions[1] - positions,
                l.macs - macs,
                depth as f32 / deepest,
            ]);
        }
        let operations: Vec<u8> = graph.nodes().map(|n| code(n.operation)).collect();
        // The rows have as many entries as there are features, or this would not compile.
        let numeric = Array2::from_shape_vec((operations.len(), FEATURES.len()), numeric)
            .unwrap_or_else(|e| unreachable!("{e}"));
        Self::of_nodes(operations, numeric, edges)
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.operations.len()
    }
}

/// The code of an operation in one byte.
pub(crate) fn code(operation: Operation) -> u8 {
    operation as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::lower;
    use crate::spaces::Space;
    use std::collections::BTreeSet;

    #[test]
    fn cells_of_one_space_have_few_kinds_of_nodes_and_foreign_ones_others() {
        let kinds = |space: Space, cell: &str| -> BTreeSet<u32> {
            GraphFeatures::new(&lower(&space.build(cell).unwrap()).unwrap())
                .signatures()
                .map(|(signature, _)| signature)
                .collect()
        };
        let cell = |a: &str, b: &str| {
            kinds(Space::NasBench201, &format!("|{a}~0|+|none~0|{b}~1|+|{b}~0|none~1|{a}~2|"))
        };
        let (three, one) = ("nor_conv_3x3", "nor_conv_1x1");
        assert_eq!(cell(three, one), cell(one, three));
        assert!(cell(three, three).is_subset(&cell(three, one)) && cell(three, one).len() < 40);
        // MobileNet-like, with depthwise convolutions in other places.
        let other = kinds(Space::NasBenchMacro, "22222222");
        assert!(other.difference(&cell(three, one)).count() > 10);
    }

    #[test]
    fn cells_without_weights_are_told_from_those_that_learn() {
        let unlearned = |space: Space, text: &str| {
            GraphFeatures::new(&lower(&space.build(text).unwrap()).unwrap()).unlearned()
        };
        let cell = |[a, b, c, d, e, f]: [&str; 6]| {
            let text = format!("|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|");
            unlearned(Space::NasBench201, &text)
        };
        let (none, skip, pool) = ("none", "skip_connect", "avg_pool_3x3");
        for operations in [
            [skip; 6],
            [pool; 6],
            [none, none, none, pool, none, none],
            [pool, skip, none, skip, pool, none],
            // A convolution that leads nowhere.
            ["nor_conv_3x3", skip, none, skip, none, pool],
        ] {
            let share = cell(operations);
            assert!((0.3..1.0).contains(&share), "{operations:?}: {share}");
        }
        for operations in [
            [skip, skip, skip, skip, "nor_conv_1x1", skip],
            [pool, "nor_conv_3x3", pool, pool, pool, pool],
            // Identity leaves nothing to repeat: a chain of stem, reductions and head.
            [none, none, none, skip, none, none],
        ] {
            assert_eq!(cell(operations), 0.0, "{operations:?}");
        }
        // In NAS-Bench-101 convolutions lead into every cell.
        assert_eq!(unlearned(Space::NasBench101, "101001:pp"), 0.0);
        assert_eq!(unlearned(Space::NasBenchMacro, "00000000"), 0.0);
    }

    use crate::graph::{Extent, Window};

    #[test]
    fn features_are_finite_for_any_extent() {
        let extremes = [0, 1, 7, u64::MAX];
        let mut nodes = Vec::new();
        for c in extremes {
            for s in extremes {
                let window =
                    Window { groups: u32::MAX, kernel: [1, u32::MAX], ..Window::default() };
                nodes.push(Node {
                    operation: Operation::Conv,
                    input: Extent::new(c, s, s),
                    output: Extent::new(s, c, c),
                    window,
                    bias: true,
                    parameters: 1 << 50,
                    macs: s.min(1 << 58),
                    name: "".into(),
                });
            }
        }
        // An end of a network is not empty.
        let last = nodes.len();
        nodes.push(Node { output: Extent::new(1, 1, 1), ..nodes[0].clone() });
        let edges: Vec<_> = (0..last).map(|i| (i, last)).collect();
        let graph = ComputationGraph::new(nodes, &edges).unwrap();
        let features = GraphFeatures::new(&graph);
        assert!(features.numeric.iter().all(|x| x.is_finite()), "{:?}", features.numeric);
    }

    #[test]
    fn relative_features_ignore_the_scale_of_the_network() {
        let network = |scale: u64| {
            let conv = |input: u64, output: u64| Node {
                operation: Operation::Conv,
                input: Extent::new(input * scale, 8 * scale, 8 * scale),
                output: Extent::new(output * scale, 8 * scale, 8 * scale),
                window: Window { kernel: [3, 3], padded: true, ..Window::default() },
                bias: true,
                parameters: 0,
                macs: 0,
                name: "".into(),
            };
            let nodes = vec![conv(4, 16), conv(16, 32), conv(32, 8)];
            GraphFeatures::new(&ComputationGraph::new(nodes, &[(0, 1), (1, 2)]).unwrap())
        };
        let (small, large) = (network(1), network(4));
        let kept = columns(&[FeatureGroup::Local, FeatureGroup::Relative]);
        for (i, (name, _)) in FEATURES.iter().enumerate() {
            let same = small
                .numeric
                .column(i)
                .iter()
                .zip(large.numeric.column(i))
                .all(|(a, b)| (a - b).abs() < 1e-6);
            if kept.contains(&i) {
                assert!(same, "{name}");
            }
        }
        let absolute = columns(&[FeatureGroup::Absolute]);
        assert_ne!(small.numeric.column(absolute[0]), large.numeric.column(absolute[0]));
    }
}
