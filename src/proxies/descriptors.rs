//! What experts know of a network besides its embedding: numbers with names.

use super::signal::RECTIFIER;
use super::{Proxies, Quantity, fan_in, is_weighted};
use crate::graph::{ComputationGraph, Node, Operation};
use std::ops::Range;

/// What a descriptor is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// How large the network is.
    Size,
    /// How long the paths through it are.
    Path,
    /// How wide it is at which resolution.
    Width,
    /// Its first layer.
    Stem,
    /// How linear the signal stays.
    Signal,
    /// Which operations it is made of.
    Operations,
}

impl Aspect {
    /// Every aspect, in the order of the descriptors.
    pub const ALL: [Self; 6] =
        [Self::Size, Self::Path, Self::Width, Self::Stem, Self::Signal, Self::Operations];

    /// Positions of its descriptors, which stand together.
    pub fn descriptors(self) -> Range<usize> {
        let first = DESCRIPTORS.iter().position(|(_, aspect)| *aspect == self).unwrap_or(0);
        first..first + DESCRIPTORS.iter().filter(|(_, aspect)| *aspect == self).count()
    }
}

/// Names of the descriptors and what they are about, in their order. Logarithms are natural, of one
/// plus the number unless it is never 0.
#[rustfmt::skip]
pub const DESCRIPTORS: [(&str, Aspect); 71] = {
    use Aspect::*;
    [
        ("log_parameters", Size),
        ("log_macs", Size),
        ("log_resolution", Size),
        // Elements that weighted nodes put out; all nodes; the weighted node with the most.
        ("log_activations", Size),
        ("log_elements", Size),
        ("log_largest_map", Size),
        ("log_macs_by_parameter", Size),
        ("log_activations_by_mac", Size),
        // Sums over weighted nodes, and expectations of sums along a path.
        ("log_total_parameters", Path),
        ("log_total_macs", Path),
        ("log_total_kernel", Path),
        ("log_total_fan_in", Path),
        ("log_total_depth", Path),
        ("log_expected_parameters", Path),
        ("log_expected_macs", Path),
        ("log_expected_kernel", Path),
        ("log_expected_fan_in", Path),
        ("log_expected_depth", Path),
        ("log_longest", Path),
        ("log_longest_spatial", Path),
        ("log_paths", Path),
        ("smoothing", Path),
        ("log_expected_activation_functions", Path),
        ("log_expected_matrix_products", Path),
        ("log_expected_by_longest", Path),
        // Weighted nodes at 1/2, 1/4, … 1/64 of the resolution, and the most channels there.
        ("log_nodes_at_2", Width),
        ("log_nodes_at_4", Width),
        ("log_nodes_at_8", Width),
        ("log_nodes_at_16", Width),
        ("log_nodes_at_32", Width),
        ("log_nodes_at_64", Width),
        ("log_channels_at_2", Width),
        ("log_channels_at_4", Width),
        ("log_channels_at_8", Width),
        ("log_channels_at_16", Width),
        ("log_channels_at_32", Width),
        ("log_channels_at_64", Width),
        ("mean_log_channels_by_macs", Width),
        ("log_largest_channels", Width),
        ("log_head_input", Width),
        ("head_share", Width),
        ("mean_log_fan_in", Width),
        ("stem_kernel", Stem),
        ("log_stem_stride", Stem),
        ("log_stem_channels", Stem),
        ("log_stem_height", Stem),
        ("nonlinear_depth", Signal),
        ("unrelieved", Signal),
        ("excess_depth", Signal),
        // Nodes of an operation.
        ("log_count_conv", Operations),
        ("log_count_grouped_conv", Operations),
        ("log_count_depthwise_conv", Operations),
        ("log_count_linear", Operations),
        ("log_count_matmul", Operations),
        ("log_count_softmax", Operations),
        ("log_count_sigmoid", Operations),
        ("log_count_hard_sigmoid", Operations),
        ("log_count_layer_norm", Operations),
        ("log_count_group_norm", Operations),
        ("log_count_rms_norm", Operations),
        ("log_count_affine", Operations),
        ("log_count_add", Operations),
        ("log_count_mul", Operations),
        ("log_count_add_constant", Operations),
        ("log_count_concat", Operations),
        ("log_count_slice", Operations),
        ("log_count_resize", Operations),
        ("log_count_max_pool", Operations),
        ("log_count_average_pool", Operations),
        ("log_count_global_average_pool", Operations),
        ("log_count_reduce_mean", Operations),
    ]
};

/// The operations that are counted, but for convolutions.
#[rustfmt::skip]
const COUNTED: [Operation; 20] = {
    use Operation::*;
    [
        DepthwiseConv, Linear, MatMul, Softmax, Sigmoid, HardSigmoid, LayerNorm, GroupNorm, RmsNorm, Affine,
        Add, Mul, AddConstant, Concat, Slice, Resize, MaxPool, AveragePool, GlobalAveragePool, ReduceMean,
    ]
};

/// How often the resolution is halved, at most, in the counts of layers at a resolution.
const HALVINGS: usize = 6;

/// Values of the [`DESCRIPTORS`].
pub type Descriptors = [f64; DESCRIPTORS.len()];

/// The [`DESCRIPTORS`] of `graph`, whose proxies these are; all are finite.
pub fn descriptors(graph: &ComputationGraph, proxies: &Proxies) -> Descriptors {
    let weighted: Vec<&Node> = graph.nodes().filter(|n| is_weighted(n)).collect();
    let log = |x: f64| (1.0 + x.max(0.0)).ln();
    let paths = &proxies.paths;
    let area = |node: &Node| (node.output.height.max(1) as f64) * (node.output.width.max(1) as f64);
    let inputs = graph.nodes().filter(|n| n.operation == Operation::Input);
    let resolution = inputs.map(area).fold(1.0, f64::max).sqrt();
    let elements = graph.nodes().map(|n| n.output.elements() as f64).sum::<f64>();
    let most = |of: &dyn Fn(&Node) -> f64| weighted.iter().map(|n| of(n)).fold(0.0, f64::max);
    let macs = proxies.macs as f64;
    let parameters = proxies.parameters as f64;
    let activations = paths.activations as f64;

    let mut counts = [0.0; HALVINGS];
    let mut channels = [0.0f64; HALVINGS];
    for node in &weighted {
        let halvings = (resolution / area(node).sqrt()).log2().round();
        let at = halvings.clamp(1.0, HALVINGS as f64) as usize - 1;
        counts[at] += 1.0;
        channels[at] = channels[at].max(node.output.channels as f64);
    }
    let log_channels = |n: &Node| (n.output.channels.max(1) as f64).ln();
    let by_macs = weighted.iter().map(|n| n.macs as f64 * log_channels(n)).sum::<f64>();
    let layers = weighted.len().max(1) as f64;
    let mean_fan_in = weighted.iter().map(|n| fan_in(n).max(1.0).ln()).sum::<f64>() / layers;
    let head = weighted.last();
    let stem = weighted.first();
    let of = |node: Option<&&Node>, of: fn(&Node) -> u64| node.map_or(0.0, |n| of(n) as f64);

    let size = [
        log(parameters),
        log(macs),
        resolution.ln(),
        log(activations),
        log(elements),
        log(most(&|n| n.output.elements() as f64)),
        log(macs) - log(parameters),
        log(activations) - log(macs),
    ];
    let depth = Quantity::Depth as usize;
    let lengths = paths.total.iter().chain(&paths.expected).map(|&x| log(x));
    let path = [
        log(paths.longest as f64),
        log(paths.longest_spatial as f64),
        paths.log_paths,
        paths.smoothing,
        log(paths.activation_functions),
        log(paths.matrix_products),
        log(paths.expected[depth]) - log(paths.longest as f64),
    ];
    let width = [
        by_macs / macs.max(1.0),
        log(most(&|n| n.output.channels as f64)),
        log(of(head, |n| n.input.channels)),
        of(head, |n| n.parameters) / parameters.max(1.0),
        mean_fan_in,
    ];
    let stem = [
        of(stem, |n| n.window.kernel[0].max(n.window.kernel[1]).into()),
        log(of(stem, |n| n.window.stride[0].max(n.window.stride[1]).into())),
        log(of(stem, |n| n.output.channels)),
        log(of(stem, |n| n.output.height)),
    ];
    let mut of_operation = [0u64; 1 << u8::BITS];
    graph.nodes().for_each(|n| of_operation[usize::from(n.operation as u8)] += 1);
    let count = |operation: Operation| of_operation[usize::from(operation as u8)] as f64;
    let grouped =
        weighted.iter().filter(|n| n.operation == Operation::Conv && n.window.groups > 1).count()
            as f64;
    let dense = [count(Operation::Conv) - grouped, grouped];
    let signal = [proxies.nonlinear_depth, proxies.unrelieved(), proxies.excess_depth()];
    let mut all = [0.0; DESCRIPTORS.len()];
    let values = size
        .into_iter()
        .chain(lengths)
        .chain(path)
        .chain(counts.map(log))
        .chain(channels.map(log))
        .chain(width)
        .chain(stem)
        .chain(signal)
        .chain(dense.into_iter().chain(COUNTED.map(count)).map(log));
    all.iter_mut().zip(values).for_each(|(to, x)| *to = x);
    all
}

impl Proxies {
    /// How much of the depth no skip connection relieves: the nonlinear depth by that of a chain of
    /// rectifiers as long as the longest path; from 0 to 1.
    pub fn unrelieved(&self) -> f64 {
        let chain = RECTIFIER * self.paths.longest as f64;
        if chain > 0.0 { (self.nonlinear_depth / chain).min(1.0) } else { 0.0 }
    }

    /// Nonlinear depth beyond what pays, where no skip connections relieve it: none of residual
    /// networks, all of chains.
    pub fn excess_depth(&self) -> f64 {
        let gate = ((self.unrelieved() - 0.25) / 0.3).clamp(0.0, 1.0);
        gate * (self.nonlinear_depth - DEEP).max(0.0)
    }
}

/// Nonlinear depth from which more of it does not pay.
const DEEP: f64 = 5.0;
