//! Genotypes: pairs of cells that DARTS and the spaces like it stack into networks.
//!
//! A network for CIFAR-10 is a 3×3 convolution to three times its channels, `layers` cells, global
//! average pooling and a linear classifier. The cells after one and after two thirds of the layers
//! are reduction cells, which halve the resolution and double the channels; the others are normal
//! cells. A cell reads the outputs of the two cells before it, each brought to the cell's channels
//! by a 1×1 convolution (its inputs 0 and 1). Nodes, numbered from 2 on, add up two operations,
//! each applied to an input or an earlier node, and the cell's output is some of the nodes
//! concatenated. In reduction cells, operations on the two inputs have stride 2.
//!
//! ```text
//! cell k-2 ── 1×1 ── 0 ──┬─ op ─┐
//!                        │      2 ──┬─ op ─┐
//! cell k-1 ── 1×1 ── 1 ──┼─ op ─┘   │      3 ── …   concatenation of 2, 3, … ── cell k
//!                        └──────────┴─ op ─┘
//! ```
//!
//! The text form is DARTS' Python expression, with `layers` and `channels` added unless they are
//! 20 and 36:
//!
//! ```text
//! Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), …], normal_concat=[2, 3, 4, 5],
//!          reduce=[('max_pool_3x3', 0), …], reduce_concat=[2, 3, 4, 5], layers=8, channels=16)
//! ```
//!
//! Read are also: tuples for lists and the other way round, double quotes, any white space,
//! `range(2, 6)`, nodes as pairs of pairs; the same as a JSON object or Python dictionary, with
//! `depth` and `width` as other names of layers and channels, and with the cells one level below
//! under `genotype`, as in the data of *Network Design Spaces*; and NAS-Bench-301's
//! configurations, such as `{"NetworkSelectorDatasetInfo:darts:edge_normal_0": "skip_connect", …,
//! "NetworkSelectorDatasetInfo:darts:inputs_node_normal_3": "0_2", …}`, with any prefix.

mod canonical;
mod parse;

use super::blocks::{ConvSpec, NetworkBuilder, conv_bn_parameters};
use super::choices::one_of;
use crate::model_graph::{ModelGraph, ValueId};
use rand::Rng;
use smallvec::SmallVec;
use std::fmt::{self, Display};

/// Most nodes of a cell; published cells have 4 or 5.
pub const MAX_NODES: usize = 8;
/// Most cells of a network.
pub const MAX_LAYERS: usize = 100;
/// Most channels of a network's first cell.
pub const MAX_CHANNELS: usize = 1024;

const DEFAULT_LAYERS: usize = 20;
const DEFAULT_CHANNELS: usize = 36;
const STEM_MULTIPLIER: usize = 3;
const CLASSES: usize = 10;
const RESOLUTION: usize = 32;
/// Inputs of a cell.
const INPUTS: usize = 2;

/// What a node does with one of its inputs. `C` stands for depthwise (where separable) or full
/// convolution without bias; each operation with weights begins with ReLU and ends with batch
/// normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Zeros: no operation.
    None,
    /// Identity; with stride 2, two 1×1 convolutions to half of the channels each, the second one
    /// on the map without its first row and column, concatenated ("factorised reduction").
    SkipConnect,
    /// Average pooling that does not count padding.
    AvgPool3x3,
    /// The same over 5×5.
    AvgPool5x5,
    /// Max-pooling.
    MaxPool3x3,
    /// The same over 5×5.
    MaxPool5x5,
    /// The same over 7×7.
    MaxPool7x7,
    /// 1×1 convolution.
    Conv1x1,
    /// 3×3 convolution.
    Conv3x3,
    /// 1×3 and 3×1 convolution in sequence.
    Conv3x1_1x3,
    /// 1×7 and 7×1 convolution in sequence.
    Conv7x1_1x7,
    /// Twice in sequence: 3×3 depthwise and 1×1 convolution.
    SepConv3x3,
    /// The same with 5×5.
    SepConv5x5,
    /// The same with 7×7.
    SepConv7x7,
    /// 3×3 depthwise convolution with dilation 2, and 1×1 convolution.
    DilConv3x3,
    /// The same with 5×5.
    DilConv5x5,
    /// Twice in sequence: 3×3 depthwise convolution with dilation 2, and 1×1 convolution.
    DilSepConv3x3,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 17] = [
        Self::None,
        Self::SkipConnect,
        Self::AvgPool3x3,
        Self::AvgPool5x5,
        Self::MaxPool3x3,
        Self::MaxPool5x5,
        Self::MaxPool7x7,
        Self::Conv1x1,
        Self::Conv3x3,
        Self::Conv3x1_1x3,
        Self::Conv7x1_1x7,
        Self::SepConv3x3,
        Self::SepConv5x5,
        Self::SepConv7x7,
        Self::DilConv3x3,
        Self::DilConv5x5,
        Self::DilSepConv3x3,
    ];

    /// The name in genotypes.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SkipConnect => "skip_connect",
            Self::AvgPool3x3 => "avg_pool_3x3",
            Self::AvgPool5x5 => "avg_pool_5x5",
            Self::MaxPool3x3 => "max_pool_3x3",
            Self::MaxPool5x5 => "max_pool_5x5",
            Self::MaxPool7x7 => "max_pool_7x7",
            Self::Conv1x1 => "conv_1x1",
            Self::Conv3x3 => "conv_3x3",
            Self::Conv3x1_1x3 => "conv_3x1_1x3",
            Self::Conv7x1_1x7 => "conv_7x1_1x7",
            Self::SepConv3x3 => "sep_conv_3x3",
            Self::SepConv5x5 => "sep_conv_5x5",
            Self::SepConv7x7 => "sep_conv_7x7",
            Self::DilConv3x3 => "dil_conv_3x3",
            Self::DilConv5x5 => "dil_conv_5x5",
            Self::DilSepConv3x3 => "dil_sep_conv_3x3",
        }
    }

    /// What the operation is made of.
    fn recipe(self) -> Recipe {
        match self {
            Self::None => Recipe::Zero,
            Self::SkipConnect => Recipe::Skip,
            Self::AvgPool3x3 => Recipe::AveragePool(3),
            Self::AvgPool5x5 => Recipe::AveragePool(5),
            Self::MaxPool3x3 => Recipe::MaxPool(3),
            Self::MaxPool5x5 => Recipe::MaxPool(5),
            Self::MaxPool7x7 => Recipe::MaxPool(7),
            Self::Conv1x1 => Recipe::Conv(1),
            Self::Conv3x3 => Recipe::Conv(3),
            Self::Conv3x1_1x3 => Recipe::RowAndColumn(3),
            Self::Conv7x1_1x7 => Recipe::RowAndColumn(7),
            Self::SepConv3x3 => Recipe::Separable { kernel: 3, dilation: 1, times: 2 },
            Self::SepConv5x5 => Recipe::Separable { kernel: 5, dilation: 1, times: 2 },
            Self::SepConv7x7 => Recipe::Separable { kernel: 7, dilation: 1, times: 2 },
            Self::DilConv3x3 => Recipe::Separable { kernel: 3, dilation: 2, times: 1 },
            Self::DilConv5x5 => Recipe::Separable { kernel: 5, dilation: 2, times: 1 },
            Self::DilSepConv3x3 => Recipe::Separable { kernel: 3, dilation: 2, times: 2 },
        }
    }

    /// Whether it has weights, so that two of the same on the same input differ.
    fn is_weighted(self, stride: i64) -> bool {
        match self.recipe() {
            Recipe::Zero | Recipe::AveragePool(_) | Recipe::MaxPool(_) => false,
            Recipe::Skip => stride != 1,
            Recipe::Conv(_) | Recipe::RowAndColumn(_) | Recipe::Separable { .. } => true,
        }
    }

    fn parameters(self, channels: usize, stride: i64) -> u64 {
        let c = channels as u64;
        match self.recipe() {
            Recipe::Skip if stride != 1 => conv_bn_parameters(channels, channels, 1),
            Recipe::Zero | Recipe::Skip | Recipe::AveragePool(_) | Recipe::MaxPool(_) => 0,
            Recipe::Conv(kernel) => conv_bn_parameters(channels, channels, kernel as usize),
            Recipe::RowAndColumn(kernel) => 2 * kernel as u64 * c * c + 2 * c,
            Recipe::Separable { kernel, times, .. } => {
                times * ((kernel * kernel) as u64 * c + conv_bn_parameters(channels, channels, 1))
            }
        }
    }

    /// `None` where the result is zero.
    fn build(self, network: &mut NetworkBuilder, x: ValueId, stride: i64) -> Option<ValueId> {
        let channels = network.channels(x);
        Some(match self.recipe() {
            Recipe::Zero => return None,
            Recipe::Skip if stride == 1 => x,
            Recipe::Skip => factorised_reduction(network, x, channels),
            Recipe::AveragePool(kernel) => network.average_pool(x, kernel, stride, kernel / 2),
            Recipe::MaxPool(kernel) => network.max_pool(x, kernel, stride, kernel / 2),
            Recipe::Conv(kernel) => network.relu_conv_bn(x, channels, kernel, stride),
            Recipe::RowAndColumn(length) => {
                let row = ConvSpec {
                    kernel: [1, length],
                    stride: [1, stride],
                    ..ConvSpec::square(length, 1)
                };
                let column = ConvSpec { kernel: [length, 1], stride: [stride, 1], ..row };
                let x = network.relu(x);
                let x = network.convolution(x, channels, row);
                let x = network.convolution(x, channels, column);
                network.batch_norm(x)
            }
            Recipe::Separable { kernel, dilation, times } => (0..times).fold(x, |x, i| {
                let stride = if i == 0 { stride } else { 1 };
                let depthwise =
                    ConvSpec { dilation, groups: channels, ..ConvSpec::square(kernel, stride) };
                let x = network.relu(x);
                let x = network.convolution(x, channels, depthwise);
                let x = network.conv(x, channels, 1, 1);
                network.batch_norm(x)
            }),
        })
    }
}

/// What operations are made of; see [`Operation`].
enum Recipe {
    Zero,
    Skip,
    AveragePool(i64),
    MaxPool(i64),
    Conv(i64),
    RowAndColumn(i64),
    Separable { kernel: i64, dilation: i64, times: u64 },
}

/// ReLU, two 1×1 convolutions with stride 2 on maps shifted by one pixel, batch normalisation.
fn factorised_reduction(network: &mut NetworkBuilder, x: ValueId, channels: usize) -> ValueId {
    let x = network.relu(x);
    let shifted = network.without_first_row_and_column(x);
    let halves = [network.conv(x, channels / 2, 1, 2), network.conv(shifted, channels / 2, 1, 2)];
    let x = network.concat(&halves);
    network.batch_norm(x)
}

/// One of the two terms of a node: an operation on an input or an earlier node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edge {
    /// What is done.
    pub operation: Operation,
    /// To what: 0 and 1 are the cell's inputs, 2 is the first node.
    pub from: usize,
}

/// A cell: its nodes, and which of them make up the output.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cell {
    nodes: Vec<[Edge; 2]>,
    concat: Vec<usize>,
}

impl Cell {
    /// The cell with these nodes, whose output is made of the nodes `concat`.
    ///
    /// # Errors
    /// A sentence that says what is wrong: no or too many nodes, a node that reads from itself or
    /// a later one, or an output that is empty, names what is not a node, or names one twice.
    pub fn new(nodes: Vec<[Edge; 2]>, concat: Vec<usize>) -> Result<Self, String> {
        if nodes.is_empty() || nodes.len() > MAX_NODES {
            return Err(format!("{} nodes are not between 1 and {MAX_NODES}", nodes.len()));
        }
        for (node, edges) in (INPUTS..).zip(&nodes) {
            if let Some(edge) = edges.iter().find(|e| e.from >= node) {
                return Err(format!(
                    "node {node} reads from {}, which is not before it",
                    edge.from
                ));
            }
        }
        let last = nodes.len() + INPUTS - 1;
        if concat.is_empty() {
            return Err("its output is made of no nodes".to_string());
        }
        for (i, node) in concat.iter().enumerate() {
            if !(INPUTS..=last).contains(node) {
                return Err(format!(
                    "its output is made of {node}, which is not a node from {INPUTS} to {last}"
                ));
            }
            if concat[..i].contains(node) {
                return Err(format!("its output is made of node {node} twice"));
            }
        }
        Ok(Self { nodes, concat })
    }

    /// The two terms of every node.
    pub fn nodes(&self) -> &[[Edge; 2]] {
        &self.nodes
    }

    /// The nodes whose concatenation is the output.
    pub fn concat(&self) -> &[usize] {
        &self.concat
    }

    /// Every node.
    fn all(&self) -> Vec<usize> {
        (INPUTS..INPUTS + self.nodes.len()).collect()
    }

    /// The nodes that no other one reads from.
    fn loose_ends(&self) -> Vec<usize> {
        let is_read = |node: &usize| self.nodes.iter().flatten().any(|e| e.from == *node);
        self.all().into_iter().filter(|node| !is_read(node)).collect()
    }

    /// Nodes that the output depends on, with terms that are not zero.
    fn used(&self) -> Vec<bool> {
        let mut used = vec![false; INPUTS + self.nodes.len()];
        for &node in &self.concat {
            used[node] = true;
        }
        for (i, edges) in self.nodes.iter().enumerate().rev() {
            for edge in edges.iter().filter(|e| e.operation != Operation::None) {
                used[edge.from] |= used[INPUTS + i];
            }
        }
        used
    }

    fn parameters(&self, channels: usize, reduction: bool) -> u64 {
        let edges = self.nodes.iter().flatten();
        edges.map(|e| e.operation.parameters(channels, stride(reduction, e.from))).sum()
    }

    /// Names of weights begin with `scope`.
    fn build(
        &self,
        network: &mut NetworkBuilder,
        inputs: [ValueId; INPUTS],
        reduction: bool,
        scope: &str,
    ) -> ValueId {
        let used = self.used();
        let mut values: Vec<Option<ValueId>> = inputs.into_iter().map(Some).collect();
        for (node, edges) in (INPUTS..).zip(&self.nodes) {
            let mut terms: SmallVec<[ValueId; 2]> = SmallVec::new();
            // Lowering merges equal sums only if their terms stand in the same order.
            let mut edges = *edges;
            edges.sort_unstable();
            for edge in edges.iter().filter(|_| used[node]) {
                let Some(x) = values[edge.from] else { continue };
                let Edge { from, operation } = edge;
                network.scope(format!("{scope}.node{node}.from{from}.{}", operation.name()));
                terms.extend(edge.operation.build(network, x, stride(reduction, edge.from)));
            }
            values.push(network.sum(terms));
        }
        let zeros = self.concat.iter().any(|&node| values[node].is_none()).then(|| {
            let like = match reduction {
                true => network.max_pool(inputs[1], 1, 2, 0),
                false => inputs[1],
            };
            network.zeros_like(like)
        });
        let parts: SmallVec<[ValueId; MAX_NODES]> =
            self.concat.iter().filter_map(|&node| values[node].or(zeros)).collect();
        network.concat(&parts)
    }

    /// Another operation or another input of a node, all edges being equally likely. When
    /// `strict`, as in DARTS, nodes read two different things and the output stays as it is;
    /// otherwise it follows, where it is what no node reads.
    fn mutate<R: Rng + ?Sized>(&mut self, operations: &[Operation], strict: bool, rng: &mut R) {
        let follows = !strict && self.concat == self.loose_ends();
        let node = rng.gen_range(0..self.nodes.len());
        let side = rng.gen_range(0..2);
        let [edge, other] = [side, 1 - side].map(|side| self.nodes[node][side]);
        let inputs: Vec<usize> = (0..INPUTS + node)
            .filter(|&from| from != edge.from && !(strict && from == other.from))
            .collect();
        let chosen = &mut self.nodes[node][side];
        if !inputs.is_empty() && rng.r#gen() {
            chosen.from = one_of(&inputs, rng);
        } else {
            let others: Vec<Operation> =
                operations.iter().copied().filter(|&o| o != edge.operation).collect();
            chosen.operation = one_of(&others, rng);
        }
        if follows {
            self.concat = self.loose_ends();
        }
    }

    /// Each node from either parent; the number of nodes from one of them.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        let follows = [self, other].iter().all(|c| c.concat == c.loose_ends());
        let (frame, donor) = if rng.r#gen() { (self, other) } else { (other, self) };
        let mut child = frame.clone();
        for (node, donated) in child.nodes.iter_mut().zip(&donor.nodes) {
            if rng.r#gen() {
                *node = *donated;
            }
        }
        if follows {
            child.concat = child.loose_ends();
        }
        child
    }
}

fn stride(reduction: bool, from: usize) -> i64 {
    if reduction && from < INPUTS { 2 } else { 1 }
}

/// Two cells and the size of the network that they are stacked into.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Genotype {
    normal: Cell,
    reduce: Cell,
    layers: usize,
    channels: usize,
}

impl Genotype {
    /// The network of `layers` cells, `channels` in the first.
    ///
    /// # Errors
    /// A sentence that says which number is out of bounds: fewer than 3 layers would have no
    /// normal cell.
    pub fn new(normal: Cell, reduce: Cell, layers: usize, channels: usize) -> Result<Self, String> {
        if !(3..=MAX_LAYERS).contains(&layers) {
            return Err(format!("{layers} layers are not between 3 and {MAX_LAYERS}"));
        }
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(format!("{channels} channels are not between 1 and {MAX_CHANNELS}"));
        }
        Ok(Self { normal, reduce, layers, channels })
    }

    /// The cell that keeps the resolution.
    pub fn normal(&self) -> &Cell {
        &self.normal
    }

    /// The cell that halves the resolution.
    pub fn reduce(&self) -> &Cell {
        &self.reduce
    }

    /// Number of cells.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Channels of the operations in the first cell.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The cells from first to last, with their channels and whether they are reduction cells.
    fn cells(&self) -> impl Iterator<Item = (&Cell, usize, bool)> {
        let reductions = [self.layers / 3, 2 * self.layers / 3];
        (0..self.layers).map(move |i| {
            let doublings = reductions.iter().filter(|&&r| r <= i).count();
            let reduction = reductions.contains(&i);
            let cell = if reduction { &self.reduce } else { &self.normal };
            (cell, self.channels << doublings, reduction)
        })
    }

    /// The network for images of these channels, rows and columns, both of which can be halved twice, with
    /// nothing that its output does not depend on inside of cells. What convolutions make of zeros, a
    /// trained constant per channel, is left out.
    ///
    /// Names of weights say where they stand whatever else the network is made of: in which cell of which
    /// resolution, between which nodes, and in which operation.
    pub(super) fn build_for(&self, name: String, image: [usize; 3], classes: usize) -> ModelGraph {
        let (mut network, image) = NetworkBuilder::for_images(name, image);
        network.scope("stem".into());
        let x = network.conv(image, STEM_MULTIPLIER * self.channels, 3, 1);
        let x = network.batch_norm(x);
        let [mut before, mut last] = [x; 2];
        let mut reduced = false;
        let (mut resolution, mut number) = (0, 0);
        for (cell, channels, reduction) in self.cells() {
            if reduction {
                (resolution, number) = (resolution + 1, 0);
            }
            let scope = match reduction {
                true => format!("reduce{resolution}"),
                false => format!("normal{resolution}.{number}"),
            };
            number += usize::from(!reduction);
            // The two outputs differ in resolution right after a reduction cell.
            let first = match reduced {
                true => {
                    network.scope(format!("{scope}.input0.halved"));
                    factorised_reduction(&mut network, before, channels)
                }
                false => {
                    network.scope(format!("{scope}.input0"));
                    network.relu_conv_bn(before, channels, 1, 1)
                }
            };
            network.scope(format!("{scope}.input1"));
            let second = network.relu_conv_bn(last, channels, 1, 1);
            let output = cell.build(&mut network, [first, second], reduction, &scope);
            (before, last, reduced) = (last, output, reduction);
        }
        network.scope("classifier".into());
        network.classify(last, classes)
    }

    /// The network for CIFAR-10.
    pub(super) fn build(&self, name: String) -> ModelGraph {
        self.build_for(name, [3, RESOLUTION, RESOLUTION], CLASSES)
    }

    /// See [`Architecture::trainable_parameters`](super::Architecture::trainable_parameters).
    pub(super) fn trainable_parameters(&self) -> u64 {
        let stem = STEM_MULTIPLIER * self.channels;
        let mut sum = conv_bn_parameters(3, stem, 3);
        let [mut before, mut last] = [stem; 2];
        for (cell, channels, reduction) in self.cells() {
            sum += conv_bn_parameters(before, channels, 1)
                + conv_bn_parameters(last, channels, 1)
                + cell.parameters(channels, reduction);
            (before, last) = (last, cell.concat.len() * channels);
        }
        sum + ((last + 1) * CLASSES) as u64
    }

    /// See [`Cell::mutate`].
    pub(super) fn mutate<R: Rng + ?Sized>(
        &self,
        operations: &[Operation],
        strict: bool,
        rng: &mut R,
    ) -> Self {
        let mut genotype = self.clone();
        let cell = if rng.r#gen() { &mut genotype.normal } else { &mut genotype.reduce };
        cell.mutate(operations, strict, rng);
        genotype
    }

    /// See [`Cell::crossover`]; each cell, the layers and the channels from either parent.
    pub(super) fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        Self {
            normal: self.normal.crossover(&other.normal, rng),
            reduce: self.reduce.crossover(&other.reduce, rng),
            layers: if rng.r#gen() { self.layers } else { other.layers },
            channels: if rng.r#gen() { self.channels } else { other.channels },
        }
    }

    /// Two cells of `nodes` nodes in a network of the default size. `node` makes the node of a
    /// number, which reads earlier ones.
    pub(super) fn of_nodes(
        nodes: usize,
        loose_ends: bool,
        mut node: impl FnMut(usize) -> [Edge; 2],
    ) -> Self {
        let [normal, reduce] = [(); 2].map(|()| {
            let nodes = (INPUTS..INPUTS + nodes).map(&mut node).collect();
            let mut cell = Cell { nodes, concat: Vec::new() };
            cell.concat = if loose_ends { cell.loose_ends() } else { cell.all() };
            cell
        });
        Self { normal, reduce, layers: DEFAULT_LAYERS, channels: DEFAULT_CHANNELS }
    }
}

impl Display for Genotype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, cell) in [("Genotype(normal", &self.normal), (", reduce", &self.reduce)] {
            write!(f, "{name}=[")?;
            for (i, edge) in cell.nodes.iter().flatten().enumerate() {
                let comma = if i == 0 { "" } else { ", " };
                write!(f, "{comma}('{}', {})", edge.operation.name(), edge.from)?;
            }
            let name = name.trim_start_matches("Genotype(").trim_start_matches(", ");
            write!(f, "], {name}_concat={:?}", cell.concat)?;
        }
        if (self.layers, self.channels) != (DEFAULT_LAYERS, DEFAULT_CHANNELS) {
            write!(f, ", layers={}, channels={}", self.layers, self.channels)?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Fingerprint;
    use crate::lower::lower;
    use rand::SeedableRng;
    use rand::seq::SliceRandom;
    use rand_chacha::ChaCha8Rng;
    use std::collections::HashMap;

    /// A genotype whose cells have three nodes of few operations, so that many are alike.
    fn small(rng: &mut ChaCha8Rng) -> Genotype {
        use Operation::{AvgPool3x3, Conv1x1, MaxPool3x3, None, SkipConnect};
        let operations = [None, SkipConnect, SkipConnect, MaxPool3x3, AvgPool3x3, Conv1x1];
        let (nodes, loose_ends) = (rng.gen_range(2..=3), rng.r#gen());
        let genotype = Genotype::of_nodes(nodes, loose_ends, |node| {
            [(); 2].map(|()| Edge {
                operation: *operations.choose(rng).unwrap(),
                from: rng.gen_range(0..node),
            })
        });
        Genotype { layers: 5, channels: 4, ..genotype }
    }

    /// The same cell with its nodes numbered otherwise.
    fn renumbered(cell: &Cell, rng: &mut ChaCha8Rng) -> Cell {
        let mut labels: HashMap<usize, usize> = (0..INPUTS).map(|i| (i, i)).collect();
        let mut nodes = Vec::new();
        while nodes.len() < cell.nodes.len() {
            let ready: Vec<usize> = (INPUTS..)
                .zip(&cell.nodes)
                .filter(|(node, edges)| {
                    !labels.contains_key(node) && edges.iter().all(|e| labels.contains_key(&e.from))
                })
                .map(|(node, _)| node)
                .collect();
            let node = *ready.choose(rng).unwrap();
            let mut edges = cell.nodes[node - INPUTS].map(|e| Edge { from: labels[&e.from], ..e });
            edges.shuffle(rng);
            labels.insert(node, INPUTS + nodes.len());
            nodes.push(edges);
        }
        let mut concat: Vec<usize> = cell.concat.iter().map(|node| labels[node]).collect();
        concat.shuffle(rng);
        Cell::new(nodes, concat).unwrap()
    }

    fn fingerprint(genotype: &Genotype) -> Fingerprint {
        lower(&genotype.build(String::new())).unwrap().fingerprint()
    }

    /// Renumbering changes nothing, and what has one canonical form has one computation graph.
    #[test]
    fn canonical_forms_are_those_of_isomorphic_cells() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let base = small(&mut rng);
        let mut fingerprints: HashMap<String, Fingerprint> = HashMap::new();
        let mut canonical_forms: HashMap<Fingerprint, String> = HashMap::new();
        for i in 0..1500 {
            let drawn = small(&mut rng);
            let genotype = match i % 2 {
                0 => Genotype { normal: drawn.normal, ..base.clone() },
                _ => Genotype { reduce: drawn.reduce, ..base.clone() },
            };
            let canonical = genotype.canonical();
            let same = Genotype {
                normal: renumbered(&genotype.normal, &mut rng),
                reduce: renumbered(&genotype.reduce, &mut rng),
                ..genotype
            };
            assert_eq!(same.canonical(), canonical, "{genotype}\n{same}");
            let graph = fingerprint(&genotype);
            let known = *fingerprints.entry(canonical.clone()).or_insert(graph);
            assert_eq!(known, graph, "{genotype}: {canonical}");
            let known = canonical_forms.entry(graph).or_insert_with(|| canonical.clone());
            assert_eq!(*known, canonical, "{genotype}");
        }
        assert!(fingerprints.len() < 1400, "{} forms", fingerprints.len());
    }
}
