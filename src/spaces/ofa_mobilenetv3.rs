//! The MobileNetV3 space of Once-for-All (Cai et al. 2020, arXiv 1908.09791), for ImageNet.
//!
//! A network is written as the dict that the official code samples, in JSON or as Python prints
//! it: `{"ks": [...], "e": [...], "d": [...], "r": 224}`. `ks` are the kernels (3, 5 or 7) and `e`
//! the expansions (3, 4 or 6) of 20 blocks, four per stage; `d` says how many blocks of each stage
//! there are (2, 3 or 4, the first ones; entries of the others have no effect and may be 0); `r` is
//! the resolution (128 to 224 in steps of 4; 224 when left out). One number stands for a list of
//! equal ones. The super-network's width is 1.2, or 1.0 with the additional entry `"wid": 1.0`
//! (`None` is 1.2).
//!
//! Channels for width 1.2; stages 2, 4 and 5 have squeeze-and-excitation, stages 3 to 5 and head
//! HardSwish, stages 1 and 2 ReLU:
//!
//! ```text
//! image    conv 3×3   MBConv   stage 1  stage 2  stage 3  stage 4   stage 5  conv 1×1  pool, conv 1×1, linear
//! 3×224² ── 24×112² ─ 24×112² ─ 32×56² ─ 48×28² ─ 96×14² ─ 136×14² ─ 192×7² ─ 1152×7² ─ 1536 ─ 1000
//! ```

use super::blocks::{self, Activation, ConvSpec};
use super::choices::either;
use super::mbconv::MbConv;
use super::ofa::{CLASSES, Entries, Stage, SubNetwork, divisible};
use super::{Architecture, ParseError, Space};
use crate::model_graph::ModelGraph;
use rand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

/// Which of the two super-networks: a factor of all numbers of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// 1.0.
    Narrow,
    /// 1.2, the one that the paper reports on.
    Wide,
}

impl Width {
    /// `base` channels at this width.
    fn channels(self, base: usize) -> usize {
        divisible(base * if self == Self::Narrow { 100 } else { 120 })
    }
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OfaMobileNetV3 {
    width: Width,
    choices: SubNetwork<20>,
}

impl OfaMobileNetV3 {
    /// The width of its super-network.
    pub fn width(&self) -> Width {
        self.width
    }
}

impl Architecture for OfaMobileNetV3 {
    const SPACE: Space = Space::OfaMobileNetV3;

    /// 2·10¹⁹ networks of one width, each at 25 resolutions.
    fn size() -> Option<u128> {
        Some(SubNetwork::<20>::size())
    }

    /// Every entry is drawn by itself, all choices equally likely, as officially. The width is
    /// 1.2.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self { width: Width::Wide, choices: SubNetwork::sample(rng) }
    }

    /// Another kernel or expansion of a block that is there, depth of a stage, or resolution.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        Self { choices: self.choices.mutate(rng), ..*self }
    }

    /// Each entry from either parent.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        Self {
            width: either(self.width, other.width, rng),
            choices: self.choices.crossover(&other.choices, rng),
        }
    }

    /// The text form with the smallest choices for blocks that are not there.
    fn canonical(&self) -> String {
        Self { choices: self.choices.canonical(), ..*self }.to_string()
    }

    fn identity(&self) -> String {
        self.canonical()
    }

    fn build(&self) -> ModelGraph {
        let name = format!("ofa_mobilenetv3 {self}");
        let (mut network, image) =
            blocks::NetworkBuilder::new(name, self.choices.resolution.into());
        let channels = |base| self.width.channels(base);
        let mut x = network.conv(image, channels(16), 3, 2);
        x = network.batch_norm(x);
        x = network.activation(x, Activation::HardSwish);
        let first = MbConv {
            kernel: 3,
            stride: 1,
            expanded: channels(16),
            channels: channels(16),
            activation: Activation::Relu,
            squeeze: None,
        };
        x = first.build(&mut network, x);
        let stage = |base, stride, activation, squeeze| Stage {
            channels: channels(base),
            stride,
            activation,
            squeeze,
        };
        let stages = [
            stage(24, 2, Activation::Relu, false),
            stage(40, 2, Activation::Relu, true),
            stage(80, 2, Activation::HardSwish, false),
            stage(112, 1, Activation::HardSwish, true),
            stage(160, 2, Activation::HardSwish, true),
        ];
        x = self.choices.build(&mut network, x, stages);
        x = network.conv(x, channels(960), 1, 1);
        x = network.batch_norm(x);
        x = network.activation(x, Activation::HardSwish);
        x = network.global_average_pool(x);
        x = network.convolution(x, channels(1280), ConvSpec::square(1, 1));
        x = network.activation(x, Activation::HardSwish);
        let logits = network.linear(x, CLASSES);
        network.finish(logits)
    }

    /// Kernel and expansion of every block, depth of every stage, resolution; the width is 1.2.
    fn decisions() -> Vec<usize> {
        SubNetwork::<20>::decisions()
    }

    /// Choices for blocks that are not there are of no effect.
    fn decide(choices: &[usize]) -> Option<Self> {
        SubNetwork::decide(choices).map(|choices| Self { width: Width::Wide, choices })
    }
}

impl Display for OfaMobileNetV3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.width {
            Width::Wide => write!(f, "{{{}}}", self.choices),
            Width::Narrow => write!(f, r#"{{{},"wid":1.0}}"#, self.choices),
        }
    }
}

impl FromStr for OfaMobileNetV3 {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|reason| Self::SPACE.error(text, reason))
    }
}

fn parse(text: &str) -> Result<OfaMobileNetV3, String> {
    let entries = Entries::parse(text, &["ks", "e", "d", "wid"])?;
    let width = match entries.optional("wid") {
        None => Width::Wide,
        Some(width) => match width.as_f64() {
            Some(1.2) => Width::Wide,
            Some(1.0) => Width::Narrow,
            _ => return Err(format!("'wid': {width} is not one of 1.0, 1.2")),
        },
    };
    Ok(OfaMobileNetV3 { width, choices: SubNetwork::read(&entries)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::lower;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const SMALL: &str = "{'wid': None, 'ks': [3, 3, 0, 0, 3, 3, 0, 0, 3, 3, 0, 0, 3, 3, 0, 0, 5, \
                         7, 0, 0], 'e': 4, 'd': [2, 2, 2, 2, 2], 'r': [160]}";

    #[test]
    fn blocks_that_are_not_there_do_not_matter() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..10 {
            let network = OfaMobileNetV3::sample(&mut rng);
            let canonical: OfaMobileNetV3 = network.canonical().parse().unwrap();
            let other = OfaMobileNetV3 { choices: SubNetwork::sample(&mut rng), ..network.clone() };
            let fingerprint = |n: &OfaMobileNetV3| lower(&n.build()).unwrap().fingerprint();
            assert_eq!(fingerprint(&network), fingerprint(&canonical), "{network}");
            assert_ne!(fingerprint(&network), fingerprint(&other), "{network} and {other}");
            let mutant = network.mutate(&mut rng);
            assert_ne!(mutant.canonical(), network.canonical(), "{mutant}");
        }
    }

    #[test]
    fn dicts_are_read_as_python_prints_them() {
        let network: OfaMobileNetV3 = SMALL.parse().unwrap();
        assert_eq!(network.width(), Width::Wide);
        let json = r#"{"d": 2, "e": [4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4],
            "ks": [3, 3, 7, 7, 3, 3, 7, 7, 3, 3, 7, 7, 3, 3, 7, 7, 5, 7, 7, 7], "image_size": 160}"#;
        let same: OfaMobileNetV3 = json.parse().unwrap();
        assert_eq!(same.canonical(), network.canonical());
        assert_eq!(network.build().value(network.build().inputs()[0]).shape[..], [1, 3, 160, 160]);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (from, to, reason) in [
            ("'ks'", "'k'", "it has the key 'k'; there are ks, e, d, wid, r"),
            ("'e': 4, ", "", "it has no 'e'"),
            ("'e': 4", "'e': [4, 4]", "'e' has 2 entries instead of 20"),
            ("'e': 4", "'e': 5", "'e', entry 1: 5 is not one of 3, 4, 6"),
            ("[3, 3, 0", "[3, 0, 0", "'ks', entry 2: 0 is not one of 3, 5, 7"),
            ("[2, 2", "[1, 2", "'d', entry 1: 1 is not one of 2, 3, 4"),
            ("[160]", "[161]", "resolution 161 is not one of 128, 132, ..., 224"),
            ("None", "1.3", "'wid': 1.3 is not one of 1.0, 1.2"),
            ("}", "", "it is neither JSON nor a Python literal: EOF"),
            (SMALL, "[1]", "it is not a dict with the keys ks, e, d, wid"),
        ] {
            let error =
                SMALL.replacen(from, to, 1).parse::<OfaMobileNetV3>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
