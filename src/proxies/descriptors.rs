//! What experts know of a network besides its embedding: numbers with names.

use super::signal::RECTIFIER;
use super::{PathMeasures, Proxies, Quantity, fan_in, is_weighted, log};
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
        let [first, end] = ENDS[self as usize];
        first..end
    }
}

/// Of each aspect, where its descriptors begin and end: asked for once for each pair of networks.
const ENDS: [[usize; 2]; Aspect::ALL.len()] = {
    let mut ends = [[DESCRIPTORS.len(), 0]; Aspect::ALL.len()];
    let mut i = 0;
    while i < DESCRIPTORS.len() {
        let aspect = DESCRIPTORS[i].1 as usize;
        if ends[aspect][1] == 0 {
            ends[aspect][0] = i;
        }
        ends[aspect][1] = i + 1;
        i += 1;
    }
    ends
};

/// A number that is computed from a graph: its name, which never changes, what it is about, and how
/// it is computed.
pub type Descriptor = (&'static str, Aspect, fn(&Measured) -> f64);

/// Every descriptor. Logarithms are natural, of one plus the number unless it is never 0.
pub const DESCRIPTORS: [Descriptor; 71] = {
    use Aspect::*;
    [
        ("log_parameters", Size, |m| log(m.parameters)),
        ("log_macs", Size, |m| log(m.macs)),
        ("log_resolution", Size, |m| m.resolution.ln()),
        // Elements that weighted nodes put out; all nodes; the weighted node with the most.
        ("log_activations", Size, |m| log(m.activations)),
        ("log_elements", Size, |m| log(m.elements)),
        ("log_largest_map", Size, |m| log(m.most(|n| n.output.elements()))),
        ("log_macs_by_parameter", Size, |m| log(m.macs) - log(m.parameters)),
        ("log_activations_by_mac", Size, |m| log(m.activations) - log(m.macs)),
        // Sums over weighted nodes, and expectations of sums along a path.
        ("log_total_parameters", Path, |m| log(m.paths.total[Quantity::Parameters as usize])),
        ("log_total_macs", Path, |m| log(m.paths.total[Quantity::Macs as usize])),
        ("log_total_kernel", Path, |m| log(m.paths.total[Quantity::Kernel as usize])),
        ("log_total_fan_in", Path, |m| log(m.paths.total[Quantity::FanIn as usize])),
        ("log_total_depth", Path, |m| log(m.paths.total[Quantity::Depth as usize])),
        ("log_expected_parameters", Path, |m| log(m.paths.expected[Quantity::Parameters as usize])),
        ("log_expected_macs", Path, |m| log(m.paths.expected[Quantity::Macs as usize])),
        ("log_expected_kernel", Path, |m| log(m.paths.expected[Quantity::Kernel as usize])),
        ("log_expected_fan_in", Path, |m| log(m.paths.expected[Quantity::FanIn as usize])),
        ("log_expected_depth", Path, |m| log(m.paths.expected[Quantity::Depth as usize])),
        ("log_longest", Path, |m| log(m.paths.longest as f64)),
        ("log_longest_spatial", Path, |m| log(m.paths.longest_spatial as f64)),
        ("log_paths", Path, |m| m.paths.log_paths),
        ("smoothing", Path, |m| m.paths.smoothing),
        ("log_expected_activation_functions", Path, |m| log(m.paths.activation_functions)),
        ("log_expected_matrix_products", Path, |m| log(m.paths.matrix_products)),
        ("log_expected_by_longest", Path, |m| {
            log(m.paths.expected[Quantity::Depth as usize]) - log(m.paths.longest as f64)
        }),
        // Weighted nodes at 1/2, 1/4, … 1/64 of the resolution, and the most channels there.
        ("log_nodes_at_2", Width, |m| log(m.nodes_at[0])),
        ("log_nodes_at_4", Width, |m| log(m.nodes_at[1])),
        ("log_nodes_at_8", Width, |m| log(m.nodes_at[2])),
        ("log_nodes_at_16", Width, |m| log(m.nodes_at[3])),
        ("log_nodes_at_32", Width, |m| log(m.nodes_at[4])),
        ("log_nodes_at_64", Width, |m| log(m.nodes_at[5])),
        ("log_channels_at_2", Width, |m| log(m.channels_at[0])),
        ("log_channels_at_4", Width, |m| log(m.channels_at[1])),
        ("log_channels_at_8", Width, |m| log(m.channels_at[2])),
        ("log_channels_at_16", Width, |m| log(m.channels_at[3])),
        ("log_channels_at_32", Width, |m| log(m.channels_at[4])),
        ("log_channels_at_64", Width, |m| log(m.channels_at[5])),
        ("mean_log_channels_by_macs", Width, |m| {
            let by_macs = m.weighted.iter().map(|n| n.macs as f64 * log_channels(n)).sum::<f64>();
            by_macs / m.macs.max(1.0)
        }),
        ("log_largest_channels", Width, |m| log(m.most(|n| n.output.channels))),
        ("log_head_input", Width, |m| log(m.head(|n| n.input.channels))),
        ("head_share", Width, |m| m.head(|n| n.parameters) / m.parameters.max(1.0)),
        ("mean_log_fan_in", Width, |m| {
            let sum = m.weighted.iter().map(|n| fan_in(n).max(1.0).ln()).sum::<f64>();
            sum / m.weighted.len().max(1) as f64
        }),
        ("stem_kernel", Stem, |m| m.stem(|n| larger(n.window.kernel))),
        ("log_stem_stride", Stem, |m| log(m.stem(|n| larger(n.window.stride)))),
        ("log_stem_channels", Stem, |m| log(m.stem(|n| n.output.channels))),
        ("log_stem_height", Stem, |m| log(m.stem(|n| n.output.height))),
        ("nonlinear_depth", Signal, |m| m.proxies.nonlinear_depth),
        ("unrelieved", Signal, |m| m.proxies.unrelieved()),
        ("excess_depth", Signal, |m| m.proxies.excess_depth()),
        // Nodes of an operation.
        ("log_count_conv", Operations, |m| log(m.count(Operation::Conv) - m.grouped)),
        ("log_count_grouped_conv", Operations, |m| log(m.grouped)),
        ("log_count_depthwise_conv", Operations, |m| log(m.count(Operation::DepthwiseConv))),
        ("log_count_linear", Operations, |m| log(m.count(Operation::Linear))),
        ("log_count_matmul", Operations, |m| log(m.count(Operation::MatMul))),
        ("log_count_softmax", Operations, |m| log(m.count(Operation::Softmax))),
        ("log_count_sigmoid", Operations, |m| log(m.count(Operation::Sigmoid))),
        ("log_count_hard_sigmoid", Operations, |m| log(m.count(Operation::HardSigmoid))),
        ("log_count_layer_norm", Operations, |m| log(m.count(Operation::LayerNorm))),
        ("log_count_group_norm", Operations, |m| log(m.count(Operation::GroupNorm))),
        ("log_count_rms_norm", Operations, |m| log(m.count(Operation::RmsNorm))),
        ("log_count_affine", Operations, |m| log(m.count(Operation::Affine))),
        ("log_count_add", Operations, |m| log(m.count(Operation::Add))),
        ("log_count_mul", Operations, |m| log(m.count(Operation::Mul))),
        ("log_count_add_constant", Operations, |m| log(m.count(Operation::AddConstant))),
        ("log_count_concat", Operations, |m| log(m.count(Operation::Concat))),
        ("log_count_slice", Operations, |m| log(m.count(Operation::Slice))),
        ("log_count_resize", Operations, |m| log(m.count(Operation::Resize))),
        ("log_count_max_pool", Operations, |m| log(m.count(Operation::MaxPool))),
        ("log_count_average_pool", Operations, |m| log(m.count(Operation::AveragePool))),
        ("log_count_global_average_pool", Operations, |m| {
            log(m.count(Operation::GlobalAveragePool))
        }),
        ("log_count_reduce_mean", Operations, |m| log(m.count(Operation::ReduceMean))),
    ]
};

/// How often the resolution is halved, at most, in the counts of layers at a resolution.
const HALVINGS: usize = 6;

/// What descriptors are computed from.
pub struct Measured<'a> {
    proxies: &'a Proxies,
    paths: &'a PathMeasures,
    parameters: f64,
    macs: f64,
    activations: f64,
    resolution: f64,
    elements: f64,
    weighted: Vec<&'a Node>,
    nodes_at: [f64; HALVINGS],
    channels_at: [f64; HALVINGS],
    of_operation: [u64; 1 << u8::BITS],
    grouped: f64,
}

impl<'a> Measured<'a> {
    fn new(graph: &'a ComputationGraph, proxies: &'a Proxies) -> Self {
        let weighted: Vec<&Node> = graph.nodes().filter(|n| is_weighted(n)).collect();
        let inputs = graph.nodes().filter(|n| n.operation == Operation::Input);
        let resolution = inputs.map(area).fold(1.0, f64::max).sqrt();
        let mut nodes_at = [0.0; HALVINGS];
        let mut channels_at = [0.0f64; HALVINGS];
        for node in &weighted {
            let halvings = (resolution / area(node).sqrt()).log2().round();
            let at = halvings.clamp(1.0, HALVINGS as f64) as usize - 1;
            nodes_at[at] += 1.0;
            channels_at[at] = channels_at[at].max(node.output.channels as f64);
        }
        let mut of_operation = [0u64; 1 << u8::BITS];
        graph.nodes().for_each(|n| of_operation[n.operation.code()] += 1);
        let grouped = |n: &&&Node| n.operation == Operation::Conv && n.window.groups > 1;
        Self {
            proxies,
            paths: &proxies.paths,
            parameters: proxies.parameters as f64,
            macs: proxies.macs as f64,
            activations: proxies.paths.activations as f64,
            resolution,
            elements: graph.nodes().map(|n| n.output.elements() as f64).sum(),
            nodes_at,
            channels_at,
            of_operation,
            grouped: weighted.iter().filter(grouped).count() as f64,
            weighted,
        }
    }

    /// Of the weighted node with the most.
    fn most(&self, of: fn(&Node) -> u64) -> f64 {
        self.weighted.iter().map(|n| of(n) as f64).fold(0.0, f64::max)
    }

    /// Of the first weighted node.
    fn stem(&self, of: fn(&Node) -> u64) -> f64 {
        self.weighted.first().map_or(0.0, |n| of(n) as f64)
    }

    /// Of the last weighted node.
    fn head(&self, of: fn(&Node) -> u64) -> f64 {
        self.weighted.last().map_or(0.0, |n| of(n) as f64)
    }

    fn count(&self, operation: Operation) -> f64 {
        self.of_operation[operation.code()] as f64
    }
}

fn area(node: &Node) -> f64 {
    (node.output.height.max(1) as f64) * (node.output.width.max(1) as f64)
}

fn log_channels(node: &Node) -> f64 {
    (node.output.channels.max(1) as f64).ln()
}

fn larger(sides: [u32; 2]) -> u64 {
    sides[0].max(sides[1]).into()
}

/// Values of the [`DESCRIPTORS`].
pub type Descriptors = [f64; DESCRIPTORS.len()];

/// The [`DESCRIPTORS`] of `graph`, whose proxies these are; all are finite.
pub fn descriptors(graph: &ComputationGraph, proxies: &Proxies) -> Descriptors {
    let measured = Measured::new(graph, proxies);
    DESCRIPTORS.map(|(_, _, value)| value(&measured))
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
