//! Whether descriptors mean what they meant when a model was made.

use crate::graph::ComputationGraph;
use crate::lower::lower;
use crate::proxies::{DESCRIPTORS, Proxies, descriptors};
use crate::spaces::Space;
use std::sync::LazyLock;

/// Networks that hashes look at: cells with every operation, depthwise convolutions
/// with gates and without.
const GOLDEN: [(Space, &str); 3] = [
    (
        Space::NasBench201,
        "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|none~2|",
    ),
    (Space::NasBench101, "111101010000010000111:33p13"),
    (Space::NasBenchMacro, "21012012"),
];

/// Networks that tell whether something means what it meant when a model was made.
pub(crate) fn golden_graphs() -> impl Iterator<Item = ComputationGraph> {
    let graph = |(space, architecture): (Space, &str)| {
        space.build(architecture).ok().and_then(|model| lower(&model).ok())
    };
    GOLDEN.into_iter().filter_map(graph)
}

/// Hash of the names of all descriptors, and of their values for a few networks: a model only fits
/// the descriptors that it was made with, and what changes their values, anywhere from the building
/// of a network on, must not go unnoticed.
pub fn descriptors_hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| {
        let mut hasher = blake3::Hasher::new();
        for (name, ..) in DESCRIPTORS {
            hasher.update(name.as_bytes());
            hasher.update(b"\n");
        }
        for graph in golden_graphs() {
            // The last digits may differ from machine to machine.
            for value in descriptors(&graph, &Proxies::new(&graph)) {
                hasher.update(format!("{value:.4e}\n").as_bytes());
            }
        }
        hasher.finalize().to_hex()[..16].to_string()
    });
    &HASH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_networks_can_be_built() {
        for (space, architecture) in GOLDEN {
            lower(&space.build(architecture).unwrap()).unwrap();
        }
    }
}
