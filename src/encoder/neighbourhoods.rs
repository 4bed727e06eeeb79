//! Which neighbourhoods a graph is made of: Weisfeiler and Leman's colours.

use super::GraphFeatures;
use crate::graph::Operation;

/// Rounds of refinement: a colour tells of all nodes up to this many edges away.
const ROUNDS: usize = 2;

/// Features that tell the nodes of an operation apart: kernel and stride. Sizes are left out, so that
/// the copies of a cell are alike at every width and resolution.
const WINDOW: [usize; 3] = [0, 1, 2];

/// How often each neighbourhood occurs in a graph (the Weisfeiler-Lehman subtree features of
/// Shervashidze et al. 2011), as a sparse vector of length 1.
///
/// In round 0 a node's colour is its operation and window, in each further one its own colour with
/// those of its predecessors and of its successors. Of each round, logarithms of one plus the counts
/// make a vector of length 1, and all rounds weigh the same. Nodes that only bend or scale what a
/// single other one puts out are passed over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Neighbourhoods {
    /// By ascending colour.
    weights: Vec<(u64, f64)>,
}

/// Bits of a colour: as many as a 64-bit float holds exactly.
const BITS: u32 = 52;

/// Mixes a word into a hash (the finaliser of SplitMix64, which is a bijection).
fn mix(hash: u64, word: u64) -> u64 {
    let x = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(word).wrapping_add(1);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Whether nodes of an operation are passed over if they have one predecessor.
fn passes(operation: u8) -> bool {
    use Operation::*;
    [Affine, Relu, Clip, LeakyRelu, PRelu, Elu, Silu, HardSwish, Gelu, Mish]
        .iter()
        .any(|&passing| super::features::code(passing) == operation)
}

impl Neighbourhoods {
    /// Those of `graph`.
    pub fn new(graph: &GraphFeatures) -> Self {
        let count = graph.nodes();
        let mut predecessors = vec![(0usize, 0usize); count];
        for &(from, to) in &graph.edges {
            let (number, last) = predecessors[to as usize];
            predecessors[to as usize] = (number + 1, last.max(from as usize));
        }
        // The node whose output each one passes on, or itself. Edges lead to later nodes.
        let mut source: Vec<usize> = (0..count).collect();
        for node in 0..count {
            if let (1, from) = predecessors[node]
                && passes(graph.operations[node])
            {
                source[node] = source[from];
            }
        }
        let kept: Vec<usize> = (0..count).filter(|&node| source[node] == node).collect();
        let edges = graph.edges.iter().map(|&(from, to)| (source[from as usize], to as usize));
        let edges: Vec<(usize, usize)> = edges.filter(|&(_, to)| source[to] == to).collect();

        let rows = graph.operations.iter().zip(graph.numeric.rows());
        let mut colours: Vec<u64> = rows
            .map(|(&operation, numeric)| {
                // Logarithms divided by 8, which tell all usual kernels apart in steps of an octave's
                // eighth.
                let steps = WINDOW.iter().map(|&k| (64.0 * numeric[k]).round() as u64);
                steps.fold(u64::from(operation), mix)
            })
            .collect();
        let mut weights: Vec<(u64, f64)> = Vec::new();
        for round in 0..=ROUNDS {
            if round > 0 {
                // Sums of hashes do not depend on the order.
                let mut sums = vec![[0u64; 2]; count];
                for &(from, to) in &edges {
                    sums[to][0] = sums[to][0].wrapping_add(mix(1, colours[from]));
                    sums[from][1] = sums[from][1].wrapping_add(mix(2, colours[to]));
                }
                for (colour, [before, after]) in colours.iter_mut().zip(sums) {
                    *colour = mix(mix(mix(round as u64, *colour), before), after);
                }
            }
            let mut sorted: Vec<u64> =
                kept.iter().map(|&node| colours[node] >> (u64::BITS - BITS)).collect();
            sorted.sort_unstable();
            let logarithm = |of: &[u64]| (of[0], (1.0 + of.len() as f64).ln());
            let counts: Vec<(u64, f64)> = sorted.chunk_by(|a, b| a == b).map(logarithm).collect();
            let square: f64 = counts.iter().map(|(_, x)| x * x).sum();
            let factor = (square * (ROUNDS + 1) as f64).sqrt().recip();
            weights.extend(counts.into_iter().map(|(colour, x)| (colour, x * factor)));
        }
        weights.sort_unstable_by_key(|&(colour, _)| colour);
        Self { weights }
    }

    /// Those of these colours, in ascending order, if they are.
    pub fn from_weights(weights: Vec<(u64, f64)>) -> Option<Self> {
        weights.is_sorted_by(|a, b| a.0 <= b.0).then_some(Self { weights })
    }

    /// Colours in ascending order, each with its weight.
    pub fn weights(&self) -> &[(u64, f64)] {
        &self.weights
    }

    /// The inner product: 1 of two graphs with the same neighbourhoods, 0 of two that share none.
    pub fn product(&self, other: &Self) -> f64 {
        let (mut a, mut b) = (self.weights.as_slice(), other.weights.as_slice());
        let mut sum = 0.0;
        while let ([(x, u), rest_a @ ..], [(y, v), rest_b @ ..]) = (a, b) {
            if x == y {
                sum += u * v;
            }
            if x <= y {
                a = rest_a;
            }
            if y <= x {
                b = rest_b;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::graph::ComputationGraph;
    use crate::lower::lower;
    use crate::spaces::Space;

    fn of(space: Space, text: &str) -> Neighbourhoods {
        Neighbourhoods::new(&GraphFeatures::new(&lower(&space.build(text).unwrap()).unwrap()))
    }

    #[test]
    fn a_product_is_that_of_two_directions() {
        let all: Vec<Neighbourhoods> = (0..60)
            .map(|seed| Neighbourhoods::new(&GraphFeatures::new(&testing::graph(seed))))
            .collect();
        for a in &all {
            assert!((a.product(a) - 1.0).abs() < 1e-9);
            for b in &all {
                assert_eq!(a.product(b), b.product(a));
                assert!((0.0..1.0 + 1e-9).contains(&a.product(b)));
            }
        }
        assert!(all.windows(2).any(|w| w[0].product(&w[1]) < 0.5));
    }

    #[test]
    fn the_order_of_nodes_is_none_of_the_neighbourhoods() {
        // Two chains from one input, one after the other or in turn.
        let (nodes, _) = testing::parts(4);
        let pick = |i: usize| nodes[i % nodes.len()].clone();
        let graph = |order: [usize; 5], edges: &[(usize, usize)]| {
            let graph = ComputationGraph::new(order.map(pick).to_vec(), edges).unwrap();
            Neighbourhoods::new(&GraphFeatures::new(&graph))
        };
        let one = graph([0, 1, 2, 3, 4], &[(0, 1), (1, 2), (0, 3), (3, 4)]);
        let other = graph([0, 3, 1, 4, 2], &[(0, 2), (2, 4), (0, 1), (1, 3)]);
        assert!((one.product(&other) - 1.0).abs() < 1e-9);
        let different = graph(
            [0, 1, 2, 3, 4],
            &[(0, 1), (1, 4), (0, 3), (3, 2)].map(|(a, b)| if a < b { (a, b) } else { (b, a) }),
        );
        assert!(one.product(&different) < 1.0 - 1e-3);
    }

    /// Same operations, same counts of everything, wired otherwise.
    #[test]
    fn what_counts_do_not_tell_apart_neighbourhoods_do() {
        let cell = |text: &str| of(Space::NasBench201, text);
        let (three, one, none) = ("nor_conv_3x3", "nor_conv_1x1", "none");
        let chain = |a: &str, b: &str, c: &str| {
            cell(&format!("|{a}~0|+|{none}~0|{b}~1|+|{none}~0|{none}~1|{c}~2|"))
        };
        let [a, b] = [chain(three, three, one), chain(three, one, three)];
        let foreign = of(Space::NasBenchMacro, "22222222");
        assert!(a.product(&b) < 0.99 && a.product(&b) > a.product(&foreign) + 0.1);
        assert!((a.product(&chain(three, three, one)) - 1.0).abs() < 1e-9);
    }
}
