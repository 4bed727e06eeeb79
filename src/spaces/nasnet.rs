//! NASNet and its kin, as *On Network Design Spaces for Visual Recognition* compares them
//! (Radosavovic et al. 2019, arXiv 1905.13214): the cells of NASNet, AmoebaNet, PNAS, ENAS and
//! DARTS, all stacked as DARTS does, for CIFAR-10.
//!
//! Networks, their drawing, their text form and other forms that are read are those of
//! [`genotype`]. Cells have
//! any number of nodes up to [`MAX_NODES`](super::genotype::MAX_NODES) with any of the
//! [operations](Operation), and any of their nodes make up the output.
//!
//! Sampling draws from that paper's NASNet space: five nodes, thirteen operations, and the nodes
//! that no other one reads as the output.
//!
//! [`genotype`]: super::genotype

use super::choices::{Decisions, one_of};
use super::genotype::{Edge, Genotype, Operation};
use super::{Architecture, ParseError, Space};
use crate::model_graph::ModelGraph;
use rand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

/// Nodes of a cell in NASNet's space.
const NODES: usize = 5;

/// The operations of NASNet's space.
pub const OPERATIONS: [Operation; 13] = [
    Operation::SkipConnect,
    Operation::Conv3x1_1x3,
    Operation::Conv7x1_1x7,
    Operation::DilConv3x3,
    Operation::AvgPool3x3,
    Operation::MaxPool3x3,
    Operation::MaxPool5x5,
    Operation::MaxPool7x7,
    Operation::Conv1x1,
    Operation::Conv3x3,
    Operation::SepConv3x3,
    Operation::SepConv5x5,
    Operation::SepConv7x7,
];

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NasNet(Genotype);

impl NasNet {
    /// The network of a genotype.
    pub fn new(genotype: Genotype) -> Self {
        Self(genotype)
    }

    /// Its genotype.
    pub fn genotype(&self) -> &Genotype {
        &self.0
    }
}

impl Architecture for NasNet {
    const SPACE: Space = Space::NasNet;

    /// Pairs of cells of NASNet's space, as the authors count them: each term of a node is any
    /// operation on any input or earlier node. That is 71,465,842 · 10⁹ cells.
    fn size() -> Option<u128> {
        let operations = OPERATIONS.len() as u128;
        let cells: u128 = (2..2 + NODES as u128).map(|n| (operations * n).pow(2)).product();
        Some(cells * cells)
    }

    /// All of those that are counted are equally likely.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self(Genotype::of_nodes(NODES, true, |node| {
            [(); 2].map(|()| Edge {
                operation: one_of(&OPERATIONS, rng),
                from: rng.gen_range(0..node),
            })
        }))
    }

    /// Another operation or another input in one term of a node. Where the output was what no
    /// node reads, it stays so.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        Self(self.0.mutate(&OPERATIONS, false, rng))
    }

    /// Each node from either parent; the number of nodes, and which ones make up the output, from
    /// one of them, unless in both parents these are what no node reads.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        Self(self.0.crossover(&other.0, rng))
    }

    /// Of the nodes of the normal, then the reduction cell: what is done, and to which input,
    /// twice each.
    fn decisions() -> Vec<usize> {
        let node = |node: usize| [OPERATIONS.len(), node, OPERATIONS.len(), node];
        [(); 2].iter().flat_map(|()| (2..2 + NODES).flat_map(node)).collect()
    }

    fn decide(choices: &[usize]) -> Option<Self> {
        let mut choices = Decisions::new(choices, &Self::decisions())?;
        Some(Self(Genotype::of_nodes(NODES, true, |_| {
            [(); 2].map(|()| Edge { operation: choices.one_of(&OPERATIONS), from: choices.next() })
        })))
    }

    fn canonical(&self) -> String {
        self.0.canonical()
    }

    fn identity(&self) -> String {
        self.canonical()
    }

    fn build(&self) -> ModelGraph {
        self.0.build(format!("nasnet {self}"))
    }

    fn trainable_parameters(&self) -> u64 {
        self.0.trainable_parameters()
    }
}

impl Display for NasNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NasNet {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Genotype::parse(text).map(Self).map_err(|reason| Self::SPACE.error(text, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spaces::darts;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Billions of cells in *On Network Design Spaces for Visual Recognition*, and the 10¹⁸
    /// networks of *DARTS*.
    #[test]
    fn sizes_are_the_published_ones() {
        let cells = NasNet::size().unwrap().isqrt();
        assert_eq!((cells + 500_000_000) / 1_000_000_000, 71_465_842);
        assert_eq!(darts::DartsNetwork::size().unwrap() / 10_u128.pow(18), 1);
    }

    #[test]
    fn outputs_stay_what_no_node_reads() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut network = NasNet::sample(&mut rng);
        for _ in 0..200 {
            let other = NasNet::sample(&mut rng).mutate(&mut rng);
            network = network.mutate(&mut rng).crossover(&other, &mut rng);
            for cell in [network.0.normal(), network.0.reduce()] {
                let reads = |node: usize| cell.nodes().iter().flatten().any(|e| e.from == node);
                let unread: Vec<usize> = (2..2 + NODES).filter(|&node| !reads(node)).collect();
                assert_eq!(cell.concat(), unread, "{network}");
            }
        }
    }
}
