//! A hash that tells architectures apart and nothing else.

use super::{ComputationGraph, Node};
use hashbrown::HashMap;
use std::fmt;

/// Identity of an architecture: equal for isomorphic computation graphs.
///
/// blake3 over the multiset of Weisfeiler-Lehman colours of the nodes. Colours are refined once
/// along the edges in topological order (so a colour covers all that a node computes from), once
/// against it (all that is computed from it), then by neighbourhoods. Names, parameter counts and
/// the order of nodes and of operands do not enter; operations enter by name, so the hash is
/// stable when the vocabulary grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The first 16 bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

type Colour = [u8; 16];

/// Version of this encoding; part of every hash.
const ENCODING: &[u8] = b"gennape-graph-1";

/// Rounds of neighbourhood refinement after the two sweeps.
const ROUNDS: usize = 2;

/// blake3 of a whole message, which for short ones is much faster than in pieces.
fn digest(message: &[u8]) -> Colour {
    let mut colour = [0; 16];
    colour.copy_from_slice(&blake3::hash(message).as_bytes()[..16]);
    colour
}

fn own_colour(node: &Node, message: &mut Vec<u8>) -> Colour {
    message.clear();
    message.extend_from_slice(node.operation.name().as_bytes());
    let w = &node.window;
    for extent in [&node.input, &node.output] {
        for x in [extent.channels, extent.height, extent.width] {
            message.extend_from_slice(&x.to_le_bytes());
        }
    }
    for x in [w.kernel, w.stride, w.dilation].as_flattened().iter().chain([&w.groups]) {
        message.extend_from_slice(&x.to_le_bytes());
    }
    message.extend_from_slice(&[u8::from(w.padded), u8::from(node.bias)]);
    digest(message)
}

fn refine(
    own: &Colour,
    neighbours: impl Iterator<Item = Colour>,
    tag: u8,
    message: &mut Vec<u8>,
) -> Colour {
    let mut neighbours: smallvec::SmallVec<[Colour; 8]> = neighbours.collect();
    neighbours.sort_unstable();
    message.clear();
    message.push(tag);
    message.extend_from_slice(own);
    message.extend_from_slice(neighbours.as_flattened());
    digest(message)
}

impl ComputationGraph {
    /// The architecture's identity; see [`Fingerprint`].
    pub fn fingerprint(&self) -> Fingerprint {
        let message = &mut Vec::new();
        // Networks are made of few kinds of nodes.
        let mut known = HashMap::new();
        let colour = |n: &Node| {
            let kind = (n.operation, n.input, n.output, n.window, n.bias);
            *known.entry(kind).or_insert_with(|| own_colour(n, message))
        };
        let own: Vec<Colour> = self.nodes().map(colour).collect();
        let mut down = own.clone();
        for i in 0..own.len() {
            down[i] = refine(&own[i], self.predecessors(i).map(|p| down[p]), 1, message);
        }
        let mut colours = down.clone();
        for i in (0..own.len()).rev() {
            colours[i] = refine(&down[i], self.successors(i).map(|s| colours[s]), 2, message);
        }
        for _ in 0..ROUNDS {
            let last = colours.clone();
            for (i, colour) in colours.iter_mut().enumerate() {
                let below = refine(&last[i], self.predecessors(i).map(|p| last[p]), 3, message);
                *colour = refine(&below, self.successors(i).map(|s| last[s]), 4, message);
            }
        }
        colours.sort_unstable();
        Fingerprint(digest(&[ENCODING, colours.as_flattened()].concat()))
    }
}

/// With petgraph's VF2 (Cordella et al. 2004) as the oracle, which tries all ways to match nodes.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Extent, Operation, Window};
    use crate::lower::lower;
    use crate::spaces::Space;
    use petgraph::algo::is_isomorphic_matching;
    use petgraph::graph::DiGraph;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    type Kind = (Operation, Extent, Extent, Window, bool);

    fn kind(node: &Node) -> Kind {
        (node.operation, node.input, node.output, node.window, node.bias)
    }

    /// What fingerprints tell apart of a graph. VF2 knows no parallel edges, so they are counted.
    fn known(graph: &ComputationGraph) -> DiGraph<Kind, usize> {
        let mut known = DiGraph::new();
        let nodes: Vec<_> = graph.nodes().map(|node| known.add_node(kind(node))).collect();
        for (from, to) in graph.edges().map(|(from, to)| (nodes[from], nodes[to])) {
            let count = known.find_edge(from, to).map_or(0, |edge| known[edge]);
            known.update_edge(from, to, count + 1);
        }
        known
    }

    fn isomorphic(a: &ComputationGraph, b: &ComputationGraph) -> bool {
        is_isomorphic_matching(&known(a), &known(b), |a, b| a == b, |a, b| a == b)
    }

    /// The same graph with its nodes in another order.
    fn permuted(graph: &ComputationGraph, rng: &mut ChaCha8Rng) -> ComputationGraph {
        let mut waiting: Vec<usize> =
            (0..graph.len()).map(|i| graph.predecessors(i).count()).collect();
        let mut ready: Vec<usize> = (0..graph.len()).filter(|&i| waiting[i] == 0).collect();
        let (mut nodes, mut place) = (Vec::new(), vec![0; graph.len()]);
        while !ready.is_empty() {
            let next = ready.swap_remove(rng.gen_range(0..ready.len()));
            place[next] = nodes.len();
            nodes.push(graph.node(next).clone());
            for reader in graph.successors(next) {
                waiting[reader] -= 1;
                if waiting[reader] == 0 {
                    ready.push(reader);
                }
            }
        }
        let edges: Vec<_> = graph.edges().map(|(from, to)| (place[from], place[to])).collect();
        ComputationGraph::new(nodes, &edges).unwrap()
    }

    /// The graph with one edge that comes from another node, if that makes one.
    fn rewired(graph: &ComputationGraph, rng: &mut ChaCha8Rng) -> Option<ComputationGraph> {
        let mut edges: Vec<_> = graph.edges().collect();
        let edge = rng.gen_range(0..edges.len());
        edges[edge].0 = rng.gen_range(0..edges[edge].1);
        ComputationGraph::new(graph.nodes().cloned().collect(), &edges).ok()
    }

    /// How many pairs are equal.
    fn check_pairs(graphs: &[ComputationGraph], what: &str) -> usize {
        let mut equal = 0;
        for (i, a) in graphs.iter().enumerate() {
            for b in &graphs[..i] {
                let same = a.fingerprint() == b.fingerprint();
                assert_eq!(same, isomorphic(a, b), "{what}: {a:?} {b:?}");
                equal += usize::from(same);
            }
        }
        equal
    }

    #[test]
    fn networks_of_spaces_have_one_fingerprint_if_and_only_if_they_are_isomorphic() {
        for name in ["nasbench201", "nasbench_macro", "two_path", "hiaml", "plain"] {
            let (space, mut rng) = (name.parse::<Space>().unwrap(), ChaCha8Rng::seed_from_u64(0));
            let mut graphs = Vec::new();
            while graphs.len() < 32 {
                let architecture = space.sample(&mut rng);
                let mutant = space.mutate(&architecture, &mut rng).unwrap();
                for text in [architecture, mutant] {
                    let graph = lower(&space.build(&text).unwrap()).unwrap();
                    graphs.extend([permuted(&graph, &mut rng)]);
                    graphs.extend(rewired(&graph, &mut rng));
                    graphs.push(graph);
                }
            }
            assert!(check_pairs(&graphs, name) >= 10, "{name}");
        }
    }

    /// Of few kinds of nodes, connected at random, some twice: many pairs are almost equal.
    #[test]
    fn small_graphs_have_one_fingerprint_if_and_only_if_they_are_isomorphic() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let node = |operation| Node {
            operation,
            input: Extent::new(1, 1, 1),
            output: Extent::new(1, 1, 1),
            window: Window::default(),
            bias: false,
            parameters: 0,
            macs: 0,
            name: "".into(),
        };
        let operations = [Operation::Relu, Operation::Add];
        for count in 2..=5 {
            let mut draw = || {
                let operation = |_| node(operations[rng.gen_range(0..2)]);
                let nodes: Vec<Node> = (0..count).map(operation).collect();
                let edges: Vec<(usize, usize)> = (1..count)
                    .flat_map(|to| [rng.gen_range(0..to), rng.gen_range(0..to)].map(|f| (f, to)))
                    .filter(|&(from, to)| (from + to) % 3 > 0 || from + 1 == to)
                    .collect();
                ComputationGraph::new(nodes, &edges).unwrap()
            };
            let graphs: Vec<ComputationGraph> = (0..150).map(|_| draw()).collect();
            let equal = check_pairs(&graphs, "small");
            assert!(equal > 0, "{count} nodes");
        }
    }
}
