//! What graphs are made of, locally: layers in succession, and what outputs lead to.

use super::GraphFeatures;
use crate::graph::Operation;

/// Layers of the longest sequences.
const LAYERS: usize = 4;

/// Rounds of refinement: a colour tells of all nodes up to this many edges further on.
const ROUNDS: usize = 2;

/// Features that tell the nodes of an operation apart: kernel and stride. Sizes are left out, so that
/// the copies of a cell are alike at every width and resolution.
const WINDOW: [usize; 3] = [0, 1, 2];

/// Most sequences of a length that are remembered of those that end at a node, so that time and
/// memory are linear in the size of the graph. Networks seldom have as many.
const REMEMBERED: usize = 64;

/// What a walk through a graph meets, as a sparse vector of length 1.
///
/// The walk starts at an output and goes on to any predecessor, each as likely as the others, until
/// it reaches an input. Counted, as expected numbers, are
///
/// - one, two, three and four layers in succession (with the input for those that would come before
///   it), each known by its operation and window: what paths are made of, as in the path encoding of
///   White et al. (AAAI 2021), but piece by piece. What only joins or cuts tensors is no layer;
/// - nodes by their colour after one and two rounds of refinement, in each of which a colour takes in
///   those of the node's successors (the subtree features of Shervashidze et al. 2011, along one
///   direction of the edges).
///
/// Fourth roots of each of these make a vector of length 1, and all weigh the same. Nodes that only
/// bend or scale what a single other one puts out are passed over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Neighbourhoods {
    /// By ascending colour.
    weights: Weighted,
}

/// Hashes, each with a weight.
type Weighted = Vec<(u64, f64)>;

/// Bits of a colour: as many as a 64-bit float holds exactly.
const BITS: u32 = 52;

/// Mixes a word into a hash (the finaliser of SplitMix64, which is a bijection).
fn mix(hash: u64, word: u64) -> u64 {
    let x = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(word).wrapping_add(1);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Whether an operation is any of these.
fn is(operation: u8, any: &[Operation]) -> bool {
    any.iter().any(|&known| super::features::code(known) == operation)
}

/// Whether nodes of an operation are passed over if they have one predecessor.
fn passes(operation: u8) -> bool {
    use Operation::*;
    is(operation, &[Affine, Relu, Clip, LeakyRelu, PRelu, Elu, Silu, HardSwish, Gelu, Mish])
}

/// Whether nodes of an operation only join or cut what others put out.
fn joins(operation: u8) -> bool {
    use Operation::*;
    is(operation, &[Add, AddConstant, Concat, Slice, Pad])
}

/// By ascending hash, with the weights of equal ones added up.
fn gathered(mut all: Weighted) -> Weighted {
    all.sort_by_key(|&(hash, _)| hash);
    all.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 += later.1;
        }
        same
    });
    all
}

/// The heaviest.
fn remembered(mut all: Weighted) -> Weighted {
    if all.len() > REMEMBERED {
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(REMEMBERED);
    }
    all
}

/// A graph without the nodes that are passed over, and the walk through it.
struct Walk {
    /// Of each node, none of those that are passed over.
    predecessors: Vec<Vec<usize>>,
    /// Nodes that are not passed over, each after its predecessors.
    nodes: Vec<usize>,
    /// Whether a node counts as a layer.
    layer: Vec<bool>,
    /// Hash of each node's operation and window.
    colours: Vec<u64>,
    /// How often the walk meets each node.
    visits: Vec<f64>,
}

impl Walk {
    fn new(graph: &GraphFeatures) -> Self {
        let count = graph.nodes();
        let mut predecessors: Vec<Vec<usize>> = vec![Vec::new(); count];
        for &(from, to) in &graph.edges {
            predecessors[to as usize].push(from as usize);
        }
        // The node whose output each one passes on, or itself. Edges lead to later nodes.
        let mut source: Vec<usize> = (0..count).collect();
        for node in 0..count {
            predecessors[node].iter_mut().for_each(|from| *from = source[*from]);
            if let [from] = predecessors[node][..]
                && passes(graph.operations[node])
            {
                source[node] = from;
            }
        }
        let nodes: Vec<usize> = (0..count).filter(|&node| source[node] == node).collect();
        let mut output = vec![true; count];
        for &node in &nodes {
            predecessors[node].iter().for_each(|&from| output[from] = false);
        }
        let start = 1.0 / nodes.iter().filter(|&&node| output[node]).count() as f64;
        let mut visits = vec![0.0; count];
        for &node in nodes.iter().rev() {
            if output[node] {
                visits[node] = start;
            }
            let share = visits[node] / predecessors[node].len() as f64;
            predecessors[node].iter().for_each(|&from| visits[from] += share);
        }
        let layer = (0..count)
            .map(|node| predecessors[node].is_empty() || !joins(graph.operations[node]))
            .collect();
        let rows = graph.operations.iter().zip(graph.numeric.rows());
        let colours = rows
            .map(|(&operation, numeric)| {
                // Logarithms divided by 8, which tell all usual kernels apart in steps of an octave's
                // eighth.
                let steps = WINDOW.iter().map(|&k| (64.0 * numeric[k]).round() as u64);
                steps.fold(u64::from(operation), mix)
            })
            .collect();
        Self { predecessors, nodes, layer, colours, visits }
    }

    /// How often it meets each sequence of one layer, of two and so on.
    fn sequences(&self) -> [Weighted; LAYERS] {
        let mut met: [Weighted; LAYERS] = Default::default();
        // Those that end at each node or with the last layer before it, by how likely they are.
        let mut ending: Vec<[Weighted; LAYERS]> = vec![Default::default(); self.colours.len()];
        for &node in &self.nodes {
            let before = &self.predecessors[node];
            let likely = 1.0 / before.len() as f64;
            let earlier = |length: usize| {
                let all = before.iter().flat_map(|&from| ending[from][length].iter());
                all.map(|&(hash, share)| (hash, share * likely)).collect::<Weighted>()
            };
            let sequences = |length: usize| match (self.layer[node], length.checked_sub(1)) {
                (false, _) => earlier(length),
                (true, Some(shorter)) if !before.is_empty() => {
                    let longer = |(hash, share)| (mix(hash, self.colours[node]), share);
                    earlier(shorter).into_iter().map(longer).collect()
                }
                (true, _) => vec![(mix(length as u64, self.colours[node]), 1.0)],
            };
            let sequences = std::array::from_fn(|i| remembered(gathered(sequences(i))));
            if self.layer[node] {
                for (met, sequences) in met.iter_mut().zip(&sequences) {
                    let weighted = |&(hash, share): &(u64, f64)| (hash, share * self.visits[node]);
                    met.extend(sequences.iter().map(weighted));
                }
            }
            ending[node] = sequences;
        }
        met
    }

    /// How often it meets each colour after one round of refinement, and so on.
    fn refined(&self) -> [Weighted; ROUNDS] {
        let mut colours = self.colours.clone();
        std::array::from_fn(|round| {
            // Sums of hashes do not depend on the order.
            let mut after = vec![0u64; colours.len()];
            for &node in &self.nodes {
                for &from in &self.predecessors[node] {
                    after[from] = after[from].wrapping_add(mix(2, colours[node]));
                }
            }
            for (colour, after) in colours.iter_mut().zip(after) {
                // Apart from all sequences.
                *colour = mix(mix((LAYERS + round) as u64, *colour), after);
            }
            self.nodes.iter().map(|&node| (colours[node], self.visits[node])).collect()
        })
    }
}

impl Neighbourhoods {
    /// Those of `graph`.
    pub fn new(graph: &GraphFeatures) -> Self {
        let walk = Walk::new(graph);
        let parts = walk.sequences().into_iter().chain(walk.refined());
        let mut weights = Weighted::new();
        for part in parts {
            let short = |(hash, visits): (u64, f64)| (hash >> (u64::BITS - BITS), visits);
            let met = gathered(part.into_iter().map(short).collect());
            let roots = met.iter().map(|&(hash, visits)| (hash, visits.sqrt().sqrt()));
            let square: f64 = met.iter().map(|(_, visits)| visits.sqrt()).sum();
            let factor = (square * (LAYERS + ROUNDS) as f64).sqrt().recip();
            weights.extend(roots.map(|(hash, root)| (hash, root * factor)));
        }
        weights.sort_unstable_by_key(|&(colour, _)| colour);
        Self { weights }
    }

    /// Colours in ascending order, each with its weight.
    pub fn weights(&self) -> &[(u64, f64)] {
        &self.weights
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FEATURES, testing};
    use super::*;
    use crate::graph::ComputationGraph;
    use crate::lower::lower;
    use crate::spaces::Space;
    use ndarray::Array2;
    use std::collections::HashMap;

    fn neighbourhoods(space: Space, text: &str) -> Neighbourhoods {
        Neighbourhoods::new(&GraphFeatures::new(&lower(&space.build(text).unwrap()).unwrap()))
    }

    fn product(a: &Neighbourhoods, b: &Neighbourhoods) -> f64 {
        let b: HashMap<u64, f64> = b.weights.iter().copied().collect();
        a.weights.iter().map(|(colour, weight)| weight * b.get(colour).unwrap_or(&0.0)).sum()
    }

    /// Against following every path from an output.
    #[test]
    fn a_walk_meets_what_its_paths_are_made_of() {
        /// Layers met so far, the last one first; `share` of the walks get here.
        fn follow(
            walk: &Walk,
            node: usize,
            share: f64,
            mut path: Vec<u64>,
            met: &mut [HashMap<Vec<u64>, f64>],
        ) {
            let before = &walk.predecessors[node];
            if walk.layer[node] {
                path.push(walk.colours[node]);
                for (length, met) in (1..).zip(met.iter_mut()) {
                    if path.len() >= length {
                        let last = path[path.len() - length..].to_vec();
                        *met.entry(last).or_default() += share;
                    }
                    // The input stands for what would come before it.
                    if before.is_empty() {
                        for short in 1..length.min(path.len() + 1) {
                            let mut last = path[path.len() - short..].to_vec();
                            last.push((length - short) as u64);
                            *met.entry(last).or_default() += share;
                        }
                    }
                }
            }
            for &from in before {
                follow(walk, from, share / before.len() as f64, path.clone(), met);
            }
        }
        for seed in 0..20 {
            let walk = Walk::new(&GraphFeatures::new(&testing::graph(seed)));
            let mut met = vec![HashMap::new(); LAYERS];
            let inner: Vec<usize> =
                walk.nodes.iter().flat_map(|&node| walk.predecessors[node].clone()).collect();
            let outputs: Vec<usize> =
                walk.nodes.iter().copied().filter(|node| !inner.contains(node)).collect();
            for &output in &outputs {
                follow(&walk, output, 1.0 / outputs.len() as f64, vec![], &mut met);
            }
            for (sequences, met) in walk.sequences().into_iter().zip(met) {
                let mut found: Vec<f64> = gathered(sequences).iter().map(|s| s.1).collect();
                let mut expected: Vec<f64> = met.into_values().collect();
                found.sort_by(f64::total_cmp);
                expected.sort_by(f64::total_cmp);
                assert_eq!(found.len(), expected.len());
                assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9));
            }
        }
    }

    /// Every layer of a kind of its own and joined with all before it, so that sequences are as many
    /// as there can be.
    #[test]
    fn time_is_linear_in_the_edges() {
        let nodes = 400u32;
        let numeric =
            Array2::from_shape_fn((nodes as usize, FEATURES.len()), |(i, _)| i as f32 / 64.0);
        let edges = (0..nodes).flat_map(|to| (0..to).map(move |from| (from, to))).collect();
        let operations = vec![super::super::features::code(Operation::Conv); nodes as usize];
        let met = Neighbourhoods::new(&GraphFeatures::of_nodes(operations, numeric, edges));
        assert!(met.weights.len() <= nodes as usize * (LAYERS * REMEMBERED + ROUNDS));
        assert!(product(&met, &met) <= 1.0 + 1e-9);
    }

    #[test]
    fn a_product_is_that_of_two_directions() {
        let all: Vec<Neighbourhoods> = (0..60)
            .map(|seed| Neighbourhoods::new(&GraphFeatures::new(&testing::graph(seed))))
            .collect();
        for a in &all {
            assert!((product(a, a) - 1.0).abs() < 1e-9);
            for b in &all {
                assert_eq!(product(a, b), product(b, a));
                assert!((0.0..1.0 + 1e-9).contains(&product(a, b)));
            }
        }
        assert!(all.windows(2).any(|w| product(&w[0], &w[1]) < 0.5));
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
        assert!((product(&one, &other) - 1.0).abs() < 1e-9);
        let different = graph(
            [0, 1, 2, 3, 4],
            &[(0, 1), (1, 4), (0, 3), (3, 2)].map(|(a, b)| if a < b { (a, b) } else { (b, a) }),
        );
        assert!(product(&one, &different) < 1.0 - 1e-3);
    }

    /// Same operations, same counts of everything, wired otherwise.
    #[test]
    fn what_counts_do_not_tell_apart_neighbourhoods_do() {
        let cell = |text: &str| neighbourhoods(Space::NasBench201, text);
        let (three, one, none) = ("nor_conv_3x3", "nor_conv_1x1", "none");
        let chain = |a: &str, b: &str, c: &str| {
            cell(&format!("|{a}~0|+|{none}~0|{b}~1|+|{none}~0|{none}~1|{c}~2|"))
        };
        let [a, b] = [chain(three, three, one), chain(three, one, three)];
        let foreign = neighbourhoods(Space::NasBenchMacro, "22222222");
        assert!(product(&a, &b) < 0.99 && product(&a, &b) > product(&a, &foreign) + 0.1);
        assert!((product(&a, &chain(three, three, one)) - 1.0).abs() < 1e-9);
    }
}
