//! NAS-Bench-Macro (Su et al. 2021, "Prioritized Architecture Sampling with Monto-Carlo Tree
//! Search", CVPR): chains of eight layers, each with one of three blocks.
//!
//! A network is written as eight digits, one per layer: `0` identity, `1` MBConv with expansion 3
//! and a 3×3 kernel, `2` MBConv with expansion 6 and a 5×5 kernel, all with ReLU. The first layer
//! of each stage has stride 2 and doubles the channels; identity there is a 1×1 convolution with
//! batch normalisation. Images are CIFAR-10's.
//!
//! ```text
//! image   conv 3×3   stage 1   stage 2   stage 3   conv 1×1   pool, linear
//! 3×32² ─── 32×32² ─── 64×16² ── 128×8² ─ 256×4² ── 1280×4² ── 10
//!                     2 layers  3 layers  3 layers
//! ```

use super::blocks::{self, Activation};
use super::choices::{Decisions, another, either, one_of};
use super::mbconv::MbConv;
use super::{Architecture, ParseError, Space};
use crate::model_graph::{ModelGraph, ValueId};
use rand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

/// Layers of each stage.
const STAGES: [usize; 3] = [2, 3, 3];
const LAYERS: usize = 8;
const STEM_CHANNELS: usize = 32;
const HEAD_CHANNELS: usize = 1280;
const CLASSES: usize = 10;
const RESOLUTION: usize = 32;

/// What a layer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Block {
    /// Identity, or a 1×1 convolution with batch normalisation where the shape changes.
    Identity,
    /// MBConv with expansion 3 and a 3×3 kernel.
    MbConv3Kernel3,
    /// MBConv with expansion 6 and a 5×5 kernel.
    MbConv6Kernel5,
}

impl Block {
    /// Every block, in the order of their digits.
    pub const ALL: [Self; 3] = [Self::Identity, Self::MbConv3Kernel3, Self::MbConv6Kernel5];

    fn build(
        self,
        network: &mut blocks::NetworkBuilder,
        x: ValueId,
        channels: usize,
        stride: i64,
    ) -> ValueId {
        let (expansion, kernel) = match self {
            Self::Identity if stride == 1 => return x,
            Self::Identity => {
                let x = network.conv(x, channels, 1, stride);
                return network.batch_norm(x);
            }
            Self::MbConv3Kernel3 => (3, 3),
            Self::MbConv6Kernel5 => (6, 5),
        };
        let expanded = expansion * network.channels(x);
        let activation = Activation::Relu;
        MbConv { kernel, stride, expanded, channels, activation, squeeze: None }.build(network, x)
    }
}

/// A network: the blocks of its eight layers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MacroNetwork([Block; LAYERS]);

impl MacroNetwork {
    /// The network of these blocks.
    pub fn new(blocks: [Block; LAYERS]) -> Self {
        Self(blocks)
    }

    /// The blocks, from the image on.
    pub fn blocks(&self) -> &[Block; LAYERS] {
        &self.0
    }
}

impl Architecture for MacroNetwork {
    const SPACE: Space = Space::NasBenchMacro;

    fn size() -> Option<u128> {
        Some(6561)
    }

    /// All networks are equally likely.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self(std::array::from_fn(|_| one_of(&Block::ALL, rng)))
    }

    /// Another block in one layer.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        let mut network = self.clone();
        let block = &mut network.0[rng.gen_range(0..LAYERS)];
        *block = another(&Block::ALL, *block, rng);
        network
    }

    /// Each layer from either parent.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        Self(std::array::from_fn(|i| either(self.0[i], other.0[i], rng)))
    }

    /// The digits with the identities that change nothing moved to the end of their stage: it
    /// does not matter where in a stage they stand. This merges the 6,561 networks into 3,969.
    fn canonical(&self) -> String {
        let mut canonical = self.clone();
        let mut rest = canonical.0.as_mut_slice();
        for layers in STAGES {
            let (stage, next) = rest.split_at_mut(layers);
            // Stable: identities move behind the others, which keep their order.
            stage[1..].sort_by_key(|&block| block == Block::Identity);
            rest = next;
        }
        canonical.to_string()
    }

    fn identity(&self) -> String {
        self.canonical()
    }

    fn build(&self) -> ModelGraph {
        let (mut network, image) =
            blocks::NetworkBuilder::new(format!("nasbench_macro {self}"), RESOLUTION);
        let mut x = network.conv_bn_relu(image, STEM_CHANNELS, 3);
        let mut channels = STEM_CHANNELS;
        let mut layers = self.0.iter();
        for depth in STAGES {
            channels *= 2;
            for (i, block) in layers.by_ref().take(depth).enumerate() {
                x = block.build(&mut network, x, channels, if i == 0 { 2 } else { 1 });
            }
        }
        let x = network.conv_bn_relu(x, HEAD_CHANNELS, 1);
        network.classify(x, CLASSES)
    }

    /// The block of each layer.
    fn decisions() -> Vec<usize> {
        vec![Block::ALL.len(); LAYERS]
    }

    fn decide(choices: &[usize]) -> Option<Self> {
        let mut choices = Decisions::new(choices, &Self::decisions())?;
        Some(Self(std::array::from_fn(|_| choices.one_of(&Block::ALL))))
    }
}

impl Display for MacroNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&block| write!(f, "{}", block as usize))
    }
}

impl FromStr for MacroNetwork {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|reason| Self::SPACE.error(text, reason))
    }
}

fn parse(text: &str) -> Result<MacroNetwork, String> {
    let blocks: Vec<Block> = text
        .chars()
        .enumerate()
        .map(|(i, digit)| match digit {
            '0' => Ok(Block::Identity),
            '1' => Ok(Block::MbConv3Kernel3),
            '2' => Ok(Block::MbConv6Kernel5),
            _ => Err(format!("layer {}: '{digit}' is not one of 0, 1, 2", i + 1)),
        })
        .collect::<Result<_, _>>()?;
    let blocks: [Block; LAYERS] = blocks
        .try_into()
        .map_err(|b: Vec<Block>| format!("it has {} layers instead of {LAYERS}", b.len()))?;
    Ok(MacroNetwork(blocks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::lower;
    use std::collections::HashMap;

    fn all() -> impl Iterator<Item = MacroNetwork> {
        (0..3usize.pow(8)).map(|i| {
            MacroNetwork(std::array::from_fn(|l| Block::ALL[i / 3usize.pow(l as u32) % 3]))
        })
    }

    #[test]
    fn every_network_survives_printing() {
        for network in all() {
            assert_eq!(network.to_string().parse(), Ok(network));
        }
    }

    /// Nine first stages and 21 second and third ones.
    #[test]
    fn canonical_forms_are_the_distinct_graphs() {
        let mut fingerprints = HashMap::new();
        for network in all() {
            fingerprints.entry(network.canonical()).or_insert_with(Vec::new).push(network);
        }
        assert_eq!(fingerprints.len(), 9 * 21 * 21);
        let fingerprint = |network: &MacroNetwork| lower(&network.build()).unwrap().fingerprint();
        let mut seen = HashMap::new();
        for (canonical, class) in fingerprints.iter().step_by(7) {
            let first = fingerprint(&class[0]);
            for network in &class[1..] {
                assert_eq!(fingerprint(network), first, "{network} and {}", class[0]);
            }
            assert_eq!(seen.insert(first, canonical), None, "{canonical}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, reason) in [
            ("0120120", "it has 7 layers instead of 8"),
            ("01201203", "layer 8: '3' is not one of 0, 1, 2"),
        ] {
            let error = text.parse::<MacroNetwork>().unwrap_err().to_string();
            assert!(error.ends_with(reason), "{error}");
        }
    }
}
