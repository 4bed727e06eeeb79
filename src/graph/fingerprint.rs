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
