//! DARTS (Liu et al. 2019, arXiv 1806.09055), the space of NAS-Bench-301 (Zela et al. 2022, arXiv
//! 2008.09777): cells of four nodes for CIFAR-10.
//!
//! Networks, their drawing, their text form and other forms that are read are those of
//! [`genotype`]. A cell's output is made of all its nodes, which read two different things each
//! with one of seven [`OPERATIONS`]; `none`, and nodes that read one thing twice, are read too, as
//! other data sets have them. The auxiliary head, which only training uses, is left out, and so is
//! drop path. DARTS evaluates its cells in networks of 20 layers and 36 channels, which a text
//! without a size stands for; NAS-Bench-301's configurations stand for the 8 layers and 32
//! channels that it trained, unless they name others.
//!
//! [`genotype`]: super::genotype

use super::choices::Decisions;
use super::genotype::{Cell, Edge, Genotype, Operation};
use super::{Architecture, ParseError, Space};
use crate::model_graph::ModelGraph;
use rand::Rng;
use rand::seq::SliceRandom;
use std::fmt::{self, Display};
use std::str::FromStr;

/// Nodes of a cell.
pub const NODES: usize = 4;

/// What the space is made of, without `none`.
pub const OPERATIONS: [Operation; 7] = [
    Operation::MaxPool3x3,
    Operation::AvgPool3x3,
    Operation::SkipConnect,
    Operation::SepConv3x3,
    Operation::SepConv5x5,
    Operation::DilConv3x3,
    Operation::DilConv5x5,
];

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DartsNetwork(Genotype);

impl DartsNetwork {
    /// The network of a genotype.
    ///
    /// # Errors
    /// A sentence that says why the genotype is outside of the space: its nodes, their output or
    /// an operation.
    pub fn new(genotype: Genotype) -> Result<Self, String> {
        for (name, cell) in [("normal", genotype.normal()), ("reduce", genotype.reduce())] {
            check(cell).map_err(|e| format!("{name}: {e}"))?;
        }
        Ok(Self(genotype))
    }

    /// Its genotype.
    pub fn genotype(&self) -> &Genotype {
        &self.0
    }

    /// The network for other images than CIFAR-10's: channels, rows and columns, both of which must be
    /// divisible by 4, and classes.
    #[cfg(feature = "train")]
    pub(crate) fn build_for(&self, image: [usize; 3], classes: usize) -> ModelGraph {
        self.0.build_for(format!("darts {self}"), image, classes)
    }
}

fn check(cell: &Cell) -> Result<(), String> {
    if cell.nodes().len() != NODES {
        return Err(format!("it has {} nodes instead of {NODES}", cell.nodes().len()));
    }
    if cell.concat().len() != NODES {
        return Err(format!("its output is made of {} nodes instead of all", cell.concat().len()));
    }
    let known = |o: Operation| o == Operation::None || OPERATIONS.contains(&o);
    match cell.nodes().iter().flatten().find(|e| !known(e.operation)) {
        Some(edge) => Err(format!("operation '{}' is not one of DARTS'", edge.operation.name())),
        None => Ok(()),
    }
}

impl Architecture for DartsNetwork {
    const SPACE: Space = Space::Darts;

    /// Pairs of cells, as the authors count them: two different inputs and two of seven
    /// operations for each node, without regard to isomorphism.
    fn size() -> Option<u128> {
        let cells: u128 = (2..2 + NODES as u128).map(|n| n * (n - 1) / 2 * 7 * 7).product();
        Some(cells * cells)
    }

    /// All of those that are counted are equally likely.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self(Genotype::of_nodes(NODES, false, |node| {
            let mut inputs = rand::seq::index::sample(rng, node, 2).into_vec();
            inputs.sort_unstable();
            [0, 1].map(|side| Edge { operation: draw(rng), from: inputs[side] })
        }))
    }

    /// Another operation or another input of one node, which keeps two different inputs.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        Self(self.0.mutate(&OPERATIONS, true, rng))
    }

    /// Each node from either parent.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        Self(self.0.crossover(&other.0, rng))
    }

    /// Of the nodes of the normal, then the reduction cell: which two inputs, and what is done to
    /// either.
    fn decisions() -> Vec<usize> {
        let node = |node: usize| [node * (node - 1) / 2, OPERATIONS.len(), OPERATIONS.len()];
        [(); 2].iter().flat_map(|()| (2..2 + NODES).flat_map(node)).collect()
    }

    fn decide(choices: &[usize]) -> Option<Self> {
        let mut choices = Decisions::new(choices, &Self::decisions())?;
        Some(Self(Genotype::of_nodes(NODES, false, |node| {
            let pairs: Vec<[usize; 2]> =
                (0..node).flat_map(|b| (0..b).map(move |a| [a, b])).collect();
            let inputs = choices.one_of(&pairs);
            inputs.map(|from| Edge { operation: choices.one_of(&OPERATIONS), from })
        })))
    }

    fn canonical(&self) -> String {
        self.0.canonical()
    }

    fn identity(&self) -> String {
        self.canonical()
    }

    fn build(&self) -> ModelGraph {
        self.0.build(format!("darts {self}"))
    }

    fn trainable_parameters(&self) -> u64 {
        self.0.trainable_parameters()
    }
}

fn draw<R: Rng + ?Sized>(rng: &mut R) -> Operation {
    // The list is not empty.
    OPERATIONS.choose(rng).copied().unwrap_or(Operation::None)
}

impl Display for DartsNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DartsNetwork {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Genotype::parse(text).and_then(Self::new).map_err(|reason| Self::SPACE.error(text, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DARTS_V2, whose number of parameters the authors' code prints.
    const V2: &str = "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), \
        ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), \
        ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], \
        reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), \
        ('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), \
        ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])";

    #[test]
    fn every_way_of_writing_is_read() {
        let network: DartsNetwork = V2.parse().unwrap();
        assert_eq!(network.trainable_parameters(), 3_349_342);
        assert_eq!(network.to_string(), V2);
        let pairs = |cell: &Cell| {
            let pair = |[a, b]: &[Edge; 2]| {
                let [(a, i), (b, j)] = [a, b].map(|e| (e.operation.name(), e.from));
                format!("((\"{a}\", {i}), (\"{b}\", {j}))")
            };
            let pairs: Vec<String> = cell.nodes().iter().map(pair).collect();
            pairs.join(", ")
        };
        let [normal, reduce] = [network.0.normal(), network.0.reduce()].map(pairs);
        let nested = format!("Genotype([{normal}], range(2, 6), [{reduce}], range(2, 6))");
        let json = |text: &str| {
            text.replace("Genotype(", "{")
                .replace("reduce_concat=[2, 3, 4, 5])", "reduce_concat=[2,3,4,5]}")
                .replace("normal=", "\"normal\":")
                .replace("normal_concat=", "\"normal_concat\":")
                .replace("reduce=", "\"reduce\":")
                .replace("reduce_concat=", "\"reduce_concat\":")
                .replace(['('], "[")
                .replace([')'], "]")
                .replace('\'', "\"")
        };
        for text in [
            V2.replace("[2, 3, 4, 5]", "range(2, 6)"),
            V2.replace("[2, 3, 4, 5]", "( 2,3 ,4,5,\n)").replace('\'', "\""),
            V2.replace("Genotype(", "genotypes.Genotype ( "),
            V2.replace("normal=", "").replace("normal_concat=", ""),
            nested,
            json(V2),
            format!("{{\"genotype\": {}, \"width\": 36, \"depth\": 20, \"aux\": true}}", json(V2)),
        ] {
            assert_eq!(text.parse().as_ref(), Ok(&network), "{text}");
        }
        let small: DartsNetwork = V2.replace("])", "], layers=8, channels=16)").parse().unwrap();
        assert_eq!((small.genotype().layers(), small.genotype().channels()), (8, 16));
        assert_eq!(small.to_string().parse(), Ok(small));
    }

    #[test]
    fn configurations_of_nasbench301_are_read() {
        let mut members = Vec::new();
        for cell in ["normal", "reduce"] {
            for (edge, operation) in [
                (0, "max_pool_3x3"),
                (1, "sep_conv_5x5"),
                (2, "skip_connect"),
                (4, "avg_pool_3x3"),
                (6, "dil_conv_3x3"),
                (7, "dil_conv_5x5"),
                (12, "sep_conv_3x3"),
                (13, "skip_connect"),
            ] {
                members.push(format!("'N:darts:edge_{cell}_{edge}': '{operation}'"));
            }
            for (node, inputs) in [(3, "0_2"), (4, "1_2"), (5, "3_4")] {
                members.push(format!("'N:darts:inputs_node_{cell}_{node}': '{inputs}'"));
            }
        }
        members.push("'learning_rate': 2.5e-2, 'autoaugment': True".to_string());
        let text = format!("{{{}}}", members.join(", "));
        let network: DartsNetwork = text.parse().unwrap();
        let cell = "[('max_pool_3x3', 0), ('sep_conv_5x5', 1), ('skip_connect', 0), \
            ('avg_pool_3x3', 2), ('dil_conv_3x3', 1), ('dil_conv_5x5', 2), ('sep_conv_3x3', 3), \
            ('skip_connect', 4)]";
        let expected = format!(
            "Genotype(normal={cell}, normal_concat=[2, 3, 4, 5], reduce={cell}, \
            reduce_concat=[2, 3, 4, 5], layers=8, channels=32)"
        );
        assert_eq!(network.to_string(), expected);
        let sized = text.replace("{'N:", "{'N:darts:layers': 20, 'N:darts:init_channels': 36, 'N:");
        let network: DartsNetwork = sized.parse().unwrap();
        assert_eq!((network.genotype().layers(), network.genotype().channels()), (20, 36));

        for (from, to, reason) in [
            ("edge_reduce_13", "edge_reduce_11", "edge_reduce_13 is missing"),
            ("'0_2'", "'0_3'", "inputs_node_normal_3: it is not two numbers below 3"),
            ("inputs_node_reduce_5", "x", "inputs_node_reduce_5 is missing"),
            ("'sep_conv_5x5'", "'conv'", "edge_normal_1: operation 'conv' is not one of none"),
        ] {
            let error = text.replacen(from, to, 1).parse::<DartsNetwork>().unwrap_err().reason;
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong_and_where() {
        for (from, to, reason) in [
            ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)", "normal: node 5 reads from 5"),
            ("('dil_conv_3x3', 2)", "('dil_conv', 2)", "normal[7]: operation 'dil_conv' is not"),
            ("('dil_conv_3x3', 2)", "('dil_conv_3x3', -2)", "normal[7]: -2 is negative"),
            ("('dil_conv_3x3', 2)", "'dil_conv_3x3'", "normal[7]: it is not a pair"),
            (", ('dil_conv_3x3', 2)", "", "normal: 7 operations are not two for each node"),
            (
                "sep_conv_3x3",
                "sep_conv_7x7",
                "normal: operation 'sep_conv_7x7' is not one of DARTS'",
            ),
            ("[2, 3, 4, 5]", "[2, 3, 4]", "normal: its output is made of 3 nodes"),
            ("[2, 3, 4, 5]", "[2, 3, 4, 6]", "made of 6, which is not a node from 2 to 5"),
            ("[2, 3, 4, 5]", "[2, 3, 4, 4]", "made of node 4 twice"),
            ("[2, 3, 4, 5]", "range(2, 99999999999)", "is not within 0 and 10"),
            ("reduce_concat=[2, 3, 4, 5])", "layers=8)", "reduce_concat is missing"),
            ("5])", "5], layers=2)", "2 layers are not between 3 and 100"),
            ("5])", "5], channels=9999)", "9999 channels"),
            ("5])", "5], layers='8')", "layers: it is not a whole number"),
            ("5])", "5], layer=8)", "expected one of normal, normal_concat"),
            ("5])", "5]) x", "expected the end instead of 'x'"),
            ("5])", "5]", "the text ends"),
            (
                "'sep_conv_3x3', 0)",
                "'sep_conv_3x3, 0)",
                "character 40: expected ',' or ')' instead of 's'",
            ),
            ("Genotype(", "Genotype[", "character 1: expected"),
            ("[('sep", &format!("{}('sep", "[".repeat(5000)), "brackets inside each other"),
        ] {
            let error = V2.replacen(from, to, 1).parse::<DartsNetwork>().unwrap_err().reason;
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }
}
