//! The MnasNet space of Accel-NASBench (Ahmad et al. 2024, arXiv 2404.08005): seven stages of
//! MBConv blocks for ImageNet.
//!
//! A network is written as four lists with an item per stage, as the authors' `manual_sample`
//! takes them: expansion (1, 4 or 6), kernel (3 or 5), layers (1 to 3, up to 4 in the sixth stage)
//! and whether there is squeeze-and-excitation. EfficientNet-B0 is
//! `[[1,6,6,6,6,6,6],[3,3,5,3,5,5,3],[1,2,2,3,3,4,1],[1,1,1,1,1,1,1]]`; `True` and `true` also
//! stand for 1.
//!
//! The activation is SiLU; squeeze-and-excitation has a quarter of the channels that its block
//! gets. The first layer of a stage has the stage's stride.
//!
//! ```text
//! image    conv 3×3   stage 1  stage 2  stage 3  stage 4  stage 5  stage 6  stage 7  conv 1×1
//! 3×224² ── 32×112² ─ 16×112² ─ 24×56² ─ 40×28² ─ 80×14² ─ 112×14² ─ 192×7² ─ 320×7² ─ 1280×7² ─ pool, linear
//! ```

use super::blocks::{self, Activation};
use super::choices::{Decisions, another, either, one_of};
use super::mbconv::{MbConv, SqueezeExcitation};
use super::{Architecture, ParseError, Space, literal};
use crate::model_graph::ModelGraph;
use rand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

const STAGES: usize = 7;
const CHANNELS: [usize; STAGES] = [16, 24, 40, 80, 112, 192, 320];
const STRIDES: [i64; STAGES] = [1, 2, 2, 2, 1, 2, 1];
const EXPANSIONS: &[u8] = &[1, 4, 6];
const KERNELS: &[u8] = &[3, 5];
/// Choices for the number of layers, which the sixth stage has more of.
const LAYERS: [&[u8]; STAGES] = {
    let usual: &[u8] = &[1, 2, 3];
    [usual, usual, usual, usual, usual, &[1, 2, 3, 4], usual]
};
const STEM_CHANNELS: usize = 32;
const HEAD_CHANNELS: usize = 1280;
const CLASSES: usize = 1000;
const RESOLUTION: usize = 224;

/// Equal MBConv blocks, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stage {
    /// Channels after the expansion for each before it.
    pub expansion: u8,
    /// Rows and columns of the depthwise kernels.
    pub kernel: u8,
    /// Number of blocks.
    pub layers: u8,
    /// Whether the blocks have squeeze-and-excitation.
    pub squeeze_excitation: bool,
}

/// A network: its seven stages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MnasNet([Stage; STAGES]);

impl MnasNet {
    /// The stages, from the image on.
    pub fn stages(&self) -> &[Stage; STAGES] {
        &self.0
    }
}

impl Architecture for MnasNet {
    const SPACE: Space = Space::MnasNet;

    /// 36 stages, 48 in the sixth place: about 10¹¹.
    fn size() -> Option<u128> {
        Some(36u128.pow(6) * 48)
    }

    /// All networks are equally likely.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self(LAYERS.map(|layers| Stage {
            expansion: one_of(EXPANSIONS, rng),
            kernel: one_of(KERNELS, rng),
            layers: one_of(layers, rng),
            squeeze_excitation: rng.r#gen(),
        }))
    }

    /// Another expansion, kernel or number of layers in one stage, or squeeze-and-excitation
    /// switched there.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        let mut network = self.clone();
        let i = rng.gen_range(0..STAGES);
        let stage = &mut network.0[i];
        match rng.gen_range(0..4) {
            0 => stage.expansion = another(EXPANSIONS, stage.expansion, rng),
            1 => stage.kernel = another(KERNELS, stage.kernel, rng),
            2 => stage.layers = another(LAYERS[i], stage.layers, rng),
            _ => stage.squeeze_excitation = !stage.squeeze_excitation,
        }
        network
    }

    /// Each decision of each stage from either parent.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        Self(std::array::from_fn(|i| {
            let (a, b) = (&self.0[i], &other.0[i]);
            Stage {
                expansion: either(a.expansion, b.expansion, rng),
                kernel: either(a.kernel, b.kernel, rng),
                layers: either(a.layers, b.layers, rng),
                squeeze_excitation: either(a.squeeze_excitation, b.squeeze_excitation, rng),
            }
        }))
    }

    /// The text form: no two networks compute the same functions.
    fn canonical(&self) -> String {
        self.to_string()
    }

    fn build(&self) -> ModelGraph {
        let (mut network, image) =
            blocks::NetworkBuilder::new(format!("mnasnet {self}"), RESOLUTION);
        let activation = Activation::Silu;
        let mut x = network.conv(image, STEM_CHANNELS, 3, 2);
        x = network.batch_norm(x);
        x = network.activation(x, activation);
        for ((stage, channels), stage_stride) in self.0.iter().zip(CHANNELS).zip(STRIDES) {
            for layer in 0..stage.layers {
                let inputs = network.channels(x);
                let squeeze = stage.squeeze_excitation.then_some(SqueezeExcitation {
                    channels: inputs / 4,
                    activation,
                    gate: Activation::Sigmoid,
                });
                let block = MbConv {
                    kernel: i64::from(stage.kernel),
                    stride: if layer == 0 { stage_stride } else { 1 },
                    expanded: inputs * usize::from(stage.expansion),
                    channels,
                    activation,
                    squeeze,
                };
                x = block.build(&mut network, x);
            }
        }
        x = network.conv(x, HEAD_CHANNELS, 1, 1);
        x = network.batch_norm(x);
        x = network.activation(x, activation);
        network.classify(x, CLASSES)
    }

    /// Expansion, kernel, number of layers and squeeze-and-excitation of each stage.
    fn decisions() -> Vec<usize> {
        let stage = |layers: &[u8]| [EXPANSIONS.len(), KERNELS.len(), layers.len(), 2];
        LAYERS.into_iter().flat_map(stage).collect()
    }

    fn decide(choices: &[usize]) -> Option<Self> {
        let mut choices = Decisions::new(choices, &Self::decisions())?;
        Some(Self(LAYERS.map(|layers| Stage {
            expansion: choices.one_of(EXPANSIONS),
            kernel: choices.one_of(KERNELS),
            layers: choices.one_of(layers),
            squeeze_excitation: choices.one_of(&[false, true]),
        })))
    }
}

impl Display for MnasNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |item: fn(&Stage) -> u8| literal::list(self.0.iter().map(item));
        let [expansions, kernels, layers] =
            [list(|s| s.expansion), list(|s| s.kernel), list(|s| s.layers)];
        let squeezes = list(|s| u8::from(s.squeeze_excitation));
        write!(f, "[{expansions},{kernels},{layers},{squeezes}]")
    }
}

impl FromStr for MnasNet {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|reason| Self::SPACE.error(text, reason))
    }
}

fn parse(text: &str) -> Result<MnasNet, String> {
    let value = literal::parse(text)?;
    let lists = value.as_array().filter(|lists| lists.len() == 4).ok_or(
        "it is not four lists: of expansions, kernels, numbers of layers and squeeze-excitations",
    )?;
    let list = |i: usize, what: &str, choices: [&[u8]; STAGES]| {
        let items = lists[i].as_array().filter(|items| items.len() == STAGES);
        let items = items.ok_or_else(|| format!("{what} are not a list of {STAGES} numbers"))?;
        let mut numbers = [0; STAGES];
        for (stage, (item, choices)) in items.iter().zip(choices).enumerate() {
            let number = item.as_bool().map(u8::from).or_else(|| literal::integer(item));
            numbers[stage] = literal::chosen(number, item, choices)
                .map_err(|e| format!("{what}, stage {}: {e}", stage + 1))?;
        }
        Ok::<_, String>(numbers)
    };
    let expansions = list(0, "expansions", [EXPANSIONS; STAGES])?;
    let kernels = list(1, "kernels", [KERNELS; STAGES])?;
    let layers = list(2, "layers", LAYERS)?;
    let squeezes = list(3, "squeeze-excitations", [&[0, 1]; STAGES])?;
    Ok(MnasNet(std::array::from_fn(|i| Stage {
        expansion: expansions[i],
        kernel: kernels[i],
        layers: layers[i],
        squeeze_excitation: squeezes[i] == 1,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::lower;

    const B0: &str = "[[1,6,6,6,6,6,6],[3,3,5,3,5,5,3],[1,2,2,3,3,4,1],[1,1,1,1,1,1,1]]";

    /// 5,288,548 parameters and 0.386 G multiplications are what torchvision gives for its
    /// EfficientNet-B0, which the space contains.
    #[test]
    fn contains_efficientnet_b0() {
        let network: MnasNet = B0.parse().unwrap();
        assert_eq!(network.trainable_parameters(), 5_288_548);
        let macs = lower(&network.build()).unwrap().macs();
        assert!((385_800_000..386_000_000).contains(&macs), "{macs}");
        let python = B0.replace("[1,1,1,1,1,1,1]", "[True, True, 1, true, 1, 1, 1]");
        assert_eq!(python.parse(), Ok(network));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (from, to, reason) in [
            ("[[1,6", "[[2,6", "expansions, stage 1: 2 is not one of 1, 4, 6"),
            ("[3,3,5", "[3,7,5", "kernels, stage 2: 7 is not one of 3, 5"),
            ("[1,2,2,3,3,4,1]", "[1,2,2,3,4,4,1]", "layers, stage 5: 4 is not one of 1, 2, 3"),
            ("[3,3,5", "[3,5", "kernels are not a list of 7 numbers"),
            ("[1,1,1,1,1,1,1]", "[1,1,1,1,1,1,2]", "excitations, stage 7: 2 is not one of 0, 1"),
            ("[1,6", "[256.5,6", "expansions, stage 1: 256.5 is not one of"),
            ("[[", "[", "it is neither JSON nor a Python literal: "),
            (B0, "[[]]", "it is not four lists"),
        ] {
            let error = B0.replacen(from, to, 1).parse::<MnasNet>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
