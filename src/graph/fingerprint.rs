//! A hash that tells architectures apart and nothing else.

use super::{ComputationGraph, Node};
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

fn digest(hasher: &blake3::Hasher) -> Colour {
    let mut colour = [0; 16];
    colour.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    colour
}

fn own_colour(node: &Node) -> Colour {
    let mut hasher = blake3::Hasher::new();
    hasher.update(node.operation.name().as_bytes());
    let w = &node.window;
    for extent in [&node.input, &node.output] {
        for x in [extent.channels, extent.height, extent.width] {
            hasher.update(&x.to_le_bytes());
        }
    }
    for x in [w.kernel, w.stride, w.dilation].as_flattened().iter().chain([&w.groups]) {
        hasher.update(&x.to_le_bytes());
    }
    hasher.update(&[u8::from(w.padded), u8::from(node.bias)]);
    digest(&hasher)
}

fn refine(own: &Colour, neighbours: impl Iterator<Item = Colour>, tag: u8) -> Colour {
    let mut neighbours: smallvec::SmallVec<[Colour; 8]> = neighbours.collect();
    neighbours.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[tag]);
    hasher.update(own);
    for n in &neighbours {
        hasher.update(n);
    }
    digest(&hasher)
}

impl ComputationGraph {
    /// The architecture's identity; see [`Fingerprint`].
    pub fn fingerprint(&self) -> Fingerprint {
        let own: Vec<Colour> = self.nodes().map(own_colour).collect();
        let mut down = own.clone();
        for i in 0..own.len() {
            down[i] = refine(&own[i], self.predecessors(i).map(|p| down[p]), 1);
        }
        let mut colours = down.clone();
        for i in (0..own.len()).rev() {
            colours[i] = refine(&down[i], self.successors(i).map(|s| colours[s]), 2);
        }
        for _ in 0..ROUNDS {
            let last = colours.clone();
            for (i, colour) in colours.iter_mut().enumerate() {
                let below = refine(&last[i], self.predecessors(i).map(|p| last[p]), 3);
                *colour = refine(&below, self.successors(i).map(|s| last[s]), 4);
            }
        }
        colours.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        hasher.update(ENCODING);
        for colour in &colours {
            hasher.update(colour);
        }
        Fingerprint(digest(&hasher))
    }
}
