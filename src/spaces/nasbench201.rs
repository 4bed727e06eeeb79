//! NAS-Bench-201 (Dong and Yang 2020, arXiv 2001.00326), the topology space of NATS-Bench: cells
//! of four nodes and six edges, each with one of five operations.
//!
//! A network is a 3×3 convolution to 16 channels, three stages of five equal cells at 16, 32 and
//! 64 channels, a residual block with stride 2 between stages, batch normalisation, ReLU, global
//! average pooling and a linear classifier.
//!
//! ```text
//! image → conv 3×3 → [cell ×5] → residual /2 → [cell ×5] → residual /2 → [cell ×5] → mean → linear
//!                       16                        32                        64
//!
//!      ┌─────────────────┐
//!      │      ┌──────────┤
//!  input 0 ─→ 1 ──→ 2 ───┴→ 3 output      an operation on every arrow
//!      └────────────↑
//! ```
//!
//! A cell is written `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`, the operations on the edges into the
//! nodes 1, 2 and 3, each followed by the node that the edge comes from.

use super::blocks::{NetworkBuilder, conv_bn_parameters};
use super::choices::{Decisions, named, one_of};
use super::{Architecture, ParseError, Space};
use crate::model_graph::{ModelGraph, ValueId};
use rand::Rng;
use smallvec::SmallVec;
use std::fmt::{self, Display};
use std::str::FromStr;

const NODES: usize = 4;
const STEM_CHANNELS: usize = 16;
const STAGES: usize = 3;
const CELLS_PER_STAGE: usize = 5;

/// What an edge does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Zeros: no edge.
    None,
    /// Identity.
    SkipConnect,
    /// ReLU, 1×1 convolution, batch normalisation.
    NorConv1x1,
    /// ReLU, 3×3 convolution, batch normalisation.
    NorConv3x3,
    /// 3×3 average pooling with stride 1 that does not count padding.
    AvgPool3x3,
}

impl Operation {
    /// Every operation, in the official order.
    pub const ALL: [Self; 5] =
        [Self::None, Self::SkipConnect, Self::NorConv1x1, Self::NorConv3x3, Self::AvgPool3x3];

    /// The official name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SkipConnect => "skip_connect",
            Self::NorConv1x1 => "nor_conv_1x1",
            Self::NorConv3x3 => "nor_conv_3x3",
            Self::AvgPool3x3 => "avg_pool_3x3",
        }
    }
}

/// A data set that the cells were trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dataset {
    /// 10 classes, 32×32 pixels.
    Cifar10,
    /// 100 classes, 32×32 pixels.
    Cifar100,
    /// 120 classes, 16×16 pixels.
    ImageNet16_120,
}

impl Dataset {
    fn classes(self) -> usize {
        match self {
            Self::Cifar10 => 10,
            Self::Cifar100 => 100,
            Self::ImageNet16_120 => 120,
        }
    }

    fn resolution(self) -> usize {
        match self {
            Self::Cifar10 | Self::Cifar100 => 32,
            Self::ImageNet16_120 => 16,
        }
    }
}

/// A cell: the operations of its six edges, in the order of its text form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cell([Operation; 6]);

impl Cell {
    /// The cell with these operations on the edges 0→1, 0→2, 1→2, 0→3, 1→3 and 2→3.
    pub fn new(operations: [Operation; 6]) -> Self {
        Self(operations)
    }

    /// Operations of the edges 0→1, 0→2, 1→2, 0→3, 1→3 and 2→3.
    pub fn operations(&self) -> &[Operation; 6] {
        &self.0
    }

    /// The operation on the edge between two nodes, `from < to`.
    fn operation(&self, from: usize, to: usize) -> Operation {
        self.0[to * (to - 1) / 2 + from]
    }

    /// The network for a data set; [`Architecture::build`] builds the one for CIFAR-10.
    ///
    /// Only what the cell's output depends on is built. Nodes that no path of operations other
    /// than `none` joins to the cell's input hold zeros; what convolutions make of these, a
    /// trained constant per channel, is left out. A cell whose output is such a node multiplies
    /// its input by zero, as the official code does.
    pub fn build_for(&self, dataset: Dataset) -> ModelGraph {
        let (mut network, image) =
            NetworkBuilder::new(format!("nasbench201 {self}"), dataset.resolution());
        let x = network.conv(image, STEM_CHANNELS, 3, 1);
        let mut x = network.batch_norm(x);
        for stage in 0..STAGES {
            if stage > 0 {
                x = residual_block(&mut network, x, STEM_CHANNELS << stage);
            }
            x = network.stack(x, CELLS_PER_STAGE, |network, x| self.build_cell(network, x));
        }
        let x = network.batch_norm(x);
        let x = network.relu(x);
        network.classify(x, dataset.classes())
    }

    /// Nodes from which the output can be reached.
    fn used(&self) -> [bool; NODES] {
        let present = |from: usize, to: usize| self.operation(from, to) != Operation::None;
        let mut used = [false, false, false, true];
        for from in (0..NODES - 1).rev() {
            used[from] = (from + 1..NODES).any(|to| used[to] && present(from, to));
        }
        used
    }

    /// Each node as a sum of operations applied to sums, where `x` is the cell's input; skips are
    /// resolved, zeros dropped and terms sorted.
    fn terms(&self) -> [Vec<String>; NODES] {
        let mut nodes: [Vec<String>; NODES] = Default::default();
        nodes[0] = vec!["x".to_string()];
        for to in 1..NODES {
            let mut terms = Vec::new();
            for (from, node) in nodes.iter().enumerate().take(to).filter(|(_, n)| !n.is_empty()) {
                match self.operation(from, to) {
                    Operation::None => {}
                    Operation::SkipConnect => terms.extend_from_slice(node),
                    operation => terms.push(format!("{}({})", operation.name(), node.join("+"))),
                }
            }
            terms.sort_unstable();
            nodes[to] = terms;
        }
        nodes
    }

    fn build_cell(&self, network: &mut NetworkBuilder, input: ValueId) -> ValueId {
        let used = self.used();
        let mut values = [Some(input), None, None, None];
        for to in (1..NODES).filter(|&to| used[to]) {
            let mut terms: SmallVec<[ValueId; NODES]> = SmallVec::new();
            for (from, value) in values.iter().enumerate().take(to) {
                let Some(x) = *value else { continue };
                let channels = network.channels(x);
                terms.push(match self.operation(from, to) {
                    Operation::None => continue,
                    Operation::SkipConnect => x,
                    Operation::NorConv1x1 => network.relu_conv_bn(x, channels, 1, 1),
                    Operation::NorConv3x3 => network.relu_conv_bn(x, channels, 3, 1),
                    Operation::AvgPool3x3 => network.average_pool(x, 3, 1, 1),
                });
            }
            values[to] = network.sum(terms);
        }
        values[NODES - 1].unwrap_or_else(|| network.zeros_like(input))
    }

    /// [`Architecture::trainable_parameters`] of the network for a data set.
    pub fn trainable_parameters_for(&self, dataset: Dataset) -> u64 {
        let mut sum = conv_bn_parameters(3, STEM_CHANNELS, 3);
        for stage in 0..STAGES {
            let channels = STEM_CHANNELS << stage;
            if stage > 0 {
                let shortcut = (channels / 2 * channels) as u64;
                sum += conv_bn_parameters(channels / 2, channels, 3)
                    + conv_bn_parameters(channels, channels, 3)
                    + shortcut;
            }
            let cell: u64 = self
                .0
                .iter()
                .map(|operation| match operation {
                    Operation::NorConv1x1 => conv_bn_parameters(channels, channels, 1),
                    Operation::NorConv3x3 => conv_bn_parameters(channels, channels, 3),
                    _ => 0,
                })
                .sum();
            sum += CELLS_PER_STAGE as u64 * cell;
        }
        let channels = STEM_CHANNELS << (STAGES - 1);
        sum + (2 * channels + (channels + 1) * dataset.classes()) as u64
    }
}

/// ResNet's basic block with stride 2, activation before convolution, and average pooling in the
/// shortcut.
fn residual_block(network: &mut NetworkBuilder, x: ValueId, channels: usize) -> ValueId {
    let inner = network.relu_conv_bn(x, channels, 3, 2);
    let inner = network.relu_conv_bn(inner, channels, 3, 1);
    let shortcut = network.average_pool(x, 2, 2, 0);
    let shortcut = network.conv(shortcut, channels, 1, 1);
    network.sum([shortcut, inner]).expect("two terms have a sum")
}

impl Architecture for Cell {
    const SPACE: Space = Space::NasBench201;

    fn size() -> Option<u128> {
        Some(15_625)
    }

    /// All cells are equally likely.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self(std::array::from_fn(|_| one_of(&Operation::ALL, rng)))
    }

    /// Another operation on one edge.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        let mut cell = self.clone();
        let edge = &mut cell.0[rng.gen_range(0..self.0.len())];
        let shift = rng.gen_range(1..Operation::ALL.len());
        *edge = Operation::ALL[(*edge as usize + shift) % Operation::ALL.len()];
        cell
    }

    /// Each edge from either parent.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        Self(std::array::from_fn(|i| if rng.r#gen() { self.0[i] } else { other.0[i] }))
    }

    /// The cell's output, written out; empty when it is zero.
    ///
    /// This merges the 15,625 cells into 4,930. The official `to_unique_str` keeps 6,466 apart,
    /// since it keeps some zero terms; each of its classes lies in one of ours.
    fn canonical(&self) -> String {
        self.terms()[NODES - 1].join("+")
    }

    /// What is written twice may be computed once or twice: the operations that are computed tell
    /// these apart. Equal pools are one operation in a computation graph, so that a sum of them
    /// has a form of its own. 5,538 texts for the 15,625 cells.
    fn identity(&self) -> String {
        let (terms, used) = (self.terms(), self.used());
        let edges = (1..NODES).flat_map(|to| (0..to).map(move |from| (from, to)));
        let computed = edges
            .filter(|&(from, to)| used[to] && !terms[from].is_empty())
            .map(|(from, to)| self.operation(from, to))
            .filter(|operation| !matches!(operation, Operation::None | Operation::SkipConnect))
            .map(|operation| operation.name().to_string());
        let doubled = (1..NODES - 1)
            .filter(|&node| used[node] && matches!(&terms[node][..], [a, b] if a == b))
            .map(|node| terms[node].join("+"));
        let mut parts: Vec<String> = computed.chain(doubled).collect();
        parts.sort_unstable();
        format!("{} {}", terms[NODES - 1].join("+"), parts.join(" "))
    }

    fn build(&self) -> ModelGraph {
        self.build_for(Dataset::Cifar10)
    }

    /// The operation on each edge.
    fn decisions() -> Vec<usize> {
        vec![Operation::ALL.len(); 6]
    }

    fn decide(choices: &[usize]) -> Option<Self> {
        let mut choices = Decisions::new(choices, &Self::decisions())?;
        Some(Self(std::array::from_fn(|_| choices.one_of(&Operation::ALL))))
    }

    fn trainable_parameters(&self) -> u64 {
        self.trainable_parameters_for(Dataset::Cifar10)
    }
}

impl Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for to in 1..NODES {
            f.write_str(if to == 1 { "|" } else { "+|" })?;
            for from in 0..to {
                write!(f, "{}~{from}|", self.operation(from, to).name())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Cell {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|reason| Self::SPACE.error(text, reason))
    }
}

fn parse(text: &str) -> Result<Cell, String> {
    let nodes: Vec<&str> = text.split('+').collect();
    if nodes.len() != NODES - 1 {
        return Err(format!("it has {} nodes joined by '+' instead of 3", nodes.len()));
    }
    let mut operations = [Operation::None; 6];
    let mut slots = operations.iter_mut();
    for (to, node) in (1..).zip(nodes) {
        let Some(edges) = node.strip_prefix('|').and_then(|n| n.strip_suffix('|')) else {
            return Err(format!("node {to} ('{node}') is not enclosed in '|'"));
        };
        let edges: Vec<&str> = edges.split('|').collect();
        if edges.len() != to {
            return Err(format!("node {to} has {} edges instead of {to}", edges.len()));
        }
        for ((from, edge), slot) in edges.into_iter().enumerate().zip(&mut slots) {
            let operation = edge.strip_suffix(&format!("~{from}")).ok_or_else(|| {
                format!("edge {from} of node {to} ('{edge}') does not end in '~{from}'")
            })?;
            *slot = named(operation, &Operation::ALL, Operation::name)
                .map_err(|reason| format!("edge {from} of node {to}: {reason}"))?;
        }
    }
    Ok(Cell(operations))
}

#[cfg(test)]
mod tests {
    use super::super::blocks::trainable_parameters;
    use super::*;
    use crate::model_graph::OpType;
    use std::collections::{HashMap, HashSet};

    fn all() -> impl Iterator<Item = Cell> {
        (0..5usize.pow(6))
            .map(|i| Cell(std::array::from_fn(|e| Operation::ALL[i / 5usize.pow(e as u32) % 5])))
    }

    /// The official `Structure.to_unique_str(consider_zero=True)`.
    fn official_class(cell: &Cell) -> String {
        let mut nodes: [String; NODES] =
            ["0".to_string(), String::new(), String::new(), String::new()];
        for to in 1..NODES {
            let mut terms: Vec<String> = (0..to)
                .map(|from| match (cell.operation(from, to), nodes[from].as_str()) {
                    (Operation::None, _) | (_, "#") => "#".to_string(),
                    (Operation::SkipConnect, node) => node.to_string(),
                    (operation, node) => format!("({node})@{}", operation.name()),
                })
                .collect();
            terms.sort_unstable();
            nodes[to] = terms.join("+");
        }
        nodes[NODES - 1].clone()
    }

    /// 6,466 is the figure that the authors publish.
    #[test]
    fn classes_contain_the_official_ones() {
        let mut class_of: HashMap<String, String> = HashMap::new();
        for cell in all() {
            let ours = cell.canonical();
            let known = class_of.entry(official_class(&cell)).or_insert_with(|| ours.clone());
            assert_eq!(*known, ours, "{cell}");
        }
        assert_eq!(class_of.len(), 6466);
        assert_eq!(class_of.values().collect::<HashSet<_>>().len(), 4930);
    }

    #[test]
    fn every_cell_survives_printing() {
        for cell in all() {
            assert_eq!(cell.to_string().parse(), Ok(cell));
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let good = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|";
        assert!(good.parse::<Cell>().is_ok());
        for (from, to, reason) in [
            ("+|skip", "|skip", "2 nodes"),
            ("|+|none~0", "+|none~0", "node 1 ('|nor_conv_3x3~0') is not enclosed"),
            ("none~0|", "", "node 2 has 1 edges"),
            ("skip_connect~0", "skip_connect~1", "('skip_connect~1') does not end in '~0'"),
            ("nor_conv_3x3", "conv", "edge 0 of node 1: 'conv' is not one of none, skip_connect"),
        ] {
            let error = good.replacen(from, to, 1).parse::<Cell>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    /// Without `none` nothing is left out, so the graph holds every parameter.
    #[test]
    fn graphs_hold_the_parameters_counted() {
        for cell in all().filter(|c| !c.0.contains(&Operation::None)).step_by(7) {
            for dataset in [Dataset::Cifar10, Dataset::Cifar100, Dataset::ImageNet16_120] {
                let graph = cell.build_for(dataset);
                assert_eq!(
                    trainable_parameters(&graph),
                    cell.trainable_parameters_for(dataset),
                    "{cell}"
                );
                let output = graph.value(graph.outputs()[0]);
                assert_eq!(output.shape[..], [1, dataset.classes()]);
            }
        }
    }

    #[test]
    fn cells_without_a_path_are_zero() {
        let zero = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|";
        let zero: Cell = zero.parse().unwrap();
        assert_eq!(zero.canonical(), "");
        let graph = zero.build();
        let count = |op: OpType| graph.nodes().iter().filter(|n| n.op == op).count();
        assert_eq!(count(OpType::Mul), STAGES * CELLS_PER_STAGE);
        // The stem, and three convolutions in each residual block.
        assert_eq!(count(OpType::Conv), 7);
    }
}
