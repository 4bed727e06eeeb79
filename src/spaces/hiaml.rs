//! HiAML (Mills et al. 2023, GENNAPE, arXiv 2211.17226): four stages of two equal blocks each, out
//! of 14 block types that an earlier search found, for CIFAR-10.
//!
//! ```text
//! conv 3×3 /2, BN, ReLU   stage 1    stage 2     stage 3     stage 4     global average pooling,
//!   64 channels, 16×16   2 blocks   2 blocks    2 blocks    2 blocks     linear classifier
//!                        64, 16×16  128, 8×8    128, 8×8    256, 4×4
//! ```
//!
//! The first block of the second and fourth stage has stride 2.
//!
//! A network is written as its four block types, such as `a22,z,src0,t31`. The authors' list is
//! read as well, `["hiaml_a22", "hiaml_z", "hiaml_src0", "hiaml_t31"]`.

use super::blocks::NetworkBuilder;
use super::choices::{Decisions, another, named, one_of};
use super::two_path::inception_s;
use super::{Architecture, ParseError, Space};
use crate::model_graph::{ModelGraph, ValueId};
use rand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

const STAGES: usize = 4;
const BLOCKS_PER_STAGE: usize = 2;
const STEM_CHANNELS: usize = 64;
const CLASSES: usize = 10;
const RESOLUTION: usize = 32;

/// A type of block. `c3` and `c1` are 3×3 and 1×1 convolutions with batch normalisation, `r` says
/// that ReLU6 follows, `s` is a 1×3 and a 3×1 convolution, each with batch normalisation and
/// ReLU6, and `p` is the input, by a 1×1 convolution with batch normalisation where it has another
/// shape. ReLU ends every block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Block {
    /// y + s(y), y = c3r(x).
    Z,
    /// y + c1(c1r(y)), y = c3r(x).
    A22,
    /// p(x) + s(s(x)).
    B23,
    /// p(x) + s(c3r(x)).
    J30,
    /// y + c1(s(p(x) + y)), y = s(x).
    G30,
    /// p(x) + c1(p(x) + y) + s(y), y = s(x).
    R30,
    /// c1(c3r(x)).
    L20,
    /// c1(x) + s(x).
    T20,
    /// p(x) + y + s(p(x) + y), y = c1r(s(x)).
    T31,
    /// y + c3(c3r(y)), y = c1r(x).
    Src0,
    /// c1r(x) + c3(c3r(x)), the inner one with the channels and resolution of x.
    Src1,
    /// c1(x) + c1(c3r(c1r(x))), the innermost one with the channels and resolution of x.
    Src3,
    /// y + s(s(y)), y = c1(x).
    Src7,
    /// y + c1(s(y)), y = c1(x).
    Src8,
}

impl Block {
    /// Every type, in the authors' order.
    pub const ALL: [Self; 14] = [
        Self::Z,
        Self::A22,
        Self::B23,
        Self::J30,
        Self::G30,
        Self::R30,
        Self::L20,
        Self::T20,
        Self::T31,
        Self::Src0,
        Self::Src1,
        Self::Src3,
        Self::Src7,
        Self::Src8,
    ];

    /// The authors' name, without `hiaml_`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Z => "z",
            Self::A22 => "a22",
            Self::B23 => "b23",
            Self::J30 => "j30",
            Self::G30 => "g30",
            Self::R30 => "r30",
            Self::L20 => "l20",
            Self::T20 => "t20",
            Self::T31 => "t31",
            Self::Src0 => "src0",
            Self::Src1 => "src1",
            Self::Src3 => "src3",
            Self::Src7 => "src7",
            Self::Src8 => "src8",
        }
    }

    fn build(self, n: &mut NetworkBuilder, x: ValueId, channels: usize, stride: i64) -> ValueId {
        let c = channels;
        let inner = n.channels(x);
        let project = |n: &mut NetworkBuilder| match stride == 1 && inner == c {
            true => x,
            false => n.conv_bn(x, c, 1, stride),
        };
        let sum = match self {
            Self::Z => {
                let y = n.conv_bn_relu6(x, c, 3, stride);
                let z = inception_s(n, y, c, 3, 1);
                n.add(y, z)
            }
            Self::A22 => {
                let y = n.conv_bn_relu6(x, c, 3, stride);
                let z = n.conv_bn_relu6(y, c, 1, 1);
                let z = n.conv_bn(z, c, 1, 1);
                n.add(y, z)
            }
            Self::B23 => {
                let p = project(n);
                let y = inception_s(n, x, c, 3, stride);
                let y = inception_s(n, y, c, 3, 1);
                n.add(p, y)
            }
            Self::J30 => {
                let p = project(n);
                let y = n.conv_bn_relu6(x, c, 3, stride);
                let y = inception_s(n, y, c, 3, 1);
                n.add(p, y)
            }
            Self::G30 => {
                let p = project(n);
                let y = inception_s(n, x, c, 3, stride);
                let z = n.add(p, y);
                let z = inception_s(n, z, c, 3, 1);
                let z = n.conv_bn(z, c, 1, 1);
                n.add(y, z)
            }
            Self::R30 => {
                let [p, q] = [(); 2].map(|()| project(n));
                let y = inception_s(n, x, c, 3, stride);
                let z = n.add(p, y);
                let z = n.conv_bn(z, c, 1, 1);
                let y = inception_s(n, y, c, 3, 1);
                let sum = n.add(q, z);
                n.add(sum, y)
            }
            Self::L20 => {
                let y = n.conv_bn_relu6(x, c, 3, stride);
                n.conv_bn(y, c, 1, 1)
            }
            Self::T20 => {
                let y = n.conv_bn(x, c, 1, stride);
                let z = inception_s(n, x, c, 3, stride);
                n.add(y, z)
            }
            Self::T31 => {
                let [p, q] = [(); 2].map(|()| project(n));
                let y = inception_s(n, x, c, 3, stride);
                let y = n.conv_bn_relu6(y, c, 1, 1);
                let z = n.add(p, y);
                let z = inception_s(n, z, c, 3, 1);
                let sum = n.add(q, y);
                n.add(sum, z)
            }
            Self::Src0 => {
                let y = n.conv_bn_relu6(x, c, 1, stride);
                let z = n.conv_bn_relu6(y, c, 3, 1);
                let z = n.conv_bn(z, c, 3, 1);
                n.add(y, z)
            }
            Self::Src1 => {
                let y = n.conv_bn_relu6(x, c, 1, stride);
                let z = n.conv_bn_relu6(x, inner, 3, 1);
                let z = n.conv_bn(z, c, 3, stride);
                n.add(y, z)
            }
            Self::Src3 => {
                let y = n.conv_bn(x, c, 1, stride);
                let z = n.conv_bn_relu6(x, inner, 1, 1);
                let z = n.conv_bn_relu6(z, c, 3, stride);
                let z = n.conv_bn(z, c, 1, 1);
                n.add(y, z)
            }
            Self::Src7 => {
                let y = n.conv_bn(x, c, 1, stride);
                let z = inception_s(n, y, c, 3, 1);
                let z = inception_s(n, z, c, 3, 1);
                n.add(y, z)
            }
            Self::Src8 => {
                let y = n.conv_bn(x, c, 1, stride);
                let z = inception_s(n, y, c, 3, 1);
                let z = n.conv_bn(z, c, 1, 1);
                n.add(y, z)
            }
        };
        n.relu(sum)
    }
}

/// A network: the block type of each stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HiAmlNetwork([Block; STAGES]);

impl HiAmlNetwork {
    /// The network with these block types.
    pub fn new(blocks: [Block; STAGES]) -> Self {
        Self(blocks)
    }

    /// The block type of each stage.
    pub fn blocks(&self) -> &[Block; STAGES] {
        &self.0
    }
}

impl Architecture for HiAmlNetwork {
    const SPACE: Space = Space::HiAml;

    fn size() -> Option<u128> {
        Some((Block::ALL.len() as u128).pow(STAGES as u32))
    }

    /// All networks are equally likely.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self([(); STAGES].map(|()| one_of(&Block::ALL, rng)))
    }

    /// Another block type in one stage.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        let mut network = self.clone();
        let block = &mut network.0[rng.gen_range(0..STAGES)];
        *block = another(&Block::ALL, *block, rng);
        network
    }

    /// Each stage from either parent.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        Self(std::array::from_fn(|i| if rng.r#gen() { self.0[i] } else { other.0[i] }))
    }

    /// The text form: no two networks are the same.
    fn canonical(&self) -> String {
        self.to_string()
    }

    fn build(&self) -> ModelGraph {
        let (mut network, image) = NetworkBuilder::new(format!("hiaml {self}"), RESOLUTION);
        let x = network.conv_bn(image, STEM_CHANNELS, 3, 2);
        let mut x = network.relu(x);
        let mut channels = STEM_CHANNELS;
        for (stage, block) in self.0.into_iter().enumerate() {
            for i in 0..BLOCKS_PER_STAGE {
                let reduces = stage % 2 == 1 && i == 0;
                channels *= if reduces { 2 } else { 1 };
                x = block.build(&mut network, x, channels, if reduces { 2 } else { 1 });
            }
        }
        network.classify(x, CLASSES)
    }

    /// The block type of each stage.
    fn decisions() -> Vec<usize> {
        vec![Block::ALL.len(); STAGES]
    }

    fn decide(choices: &[usize]) -> Option<Self> {
        let mut choices = Decisions::new(choices, &Self::decisions())?;
        Some(Self(std::array::from_fn(|_| choices.one_of(&Block::ALL))))
    }
}

impl Display for HiAmlNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(Block::name).join(","))
    }
}

impl FromStr for HiAmlNetwork {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|reason| Self::SPACE.error(text, reason))
    }
}

fn parse(text: &str) -> Result<HiAmlNetwork, String> {
    let list = text.trim();
    let list = list.strip_prefix('[').and_then(|l| l.strip_suffix(']')).unwrap_or(list);
    let blocks: Vec<Block> = (1..)
        .zip(list.split(','))
        .map(|(stage, block)| {
            let name = block.trim().trim_matches(['"', '\'']);
            let name = name.strip_prefix("hiaml_").unwrap_or(name);
            named(name, &Block::ALL, Block::name)
                .map_err(|reason| format!("stage {stage}: block {reason}"))
        })
        .collect::<Result<_, _>>()?;
    let stages = blocks.len();
    let blocks = blocks.try_into();
    blocks.map(HiAmlNetwork).map_err(|_| format!("it has {stages} stages instead of {STAGES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_is_wrong() {
        let network: HiAmlNetwork = "[\"hiaml_a22\", 'hiaml_z', src0,t31]".parse().unwrap();
        assert_eq!(network.to_string(), "a22,z,src0,t31");
        for (text, reason) in [
            ("a22,z,src0", "3 stages instead of 4"),
            ("a22,z,src0,t31,z", "5 stages"),
            ("a22,z,src2,t31", "stage 3: block 'src2' is not one of z, a22"),
            ("", "stage 1: block ''"),
        ] {
            let error = text.parse::<HiAmlNetwork>().unwrap_err().reason;
            assert!(error.contains(reason), "{error}");
        }
    }

    /// Parameters of a stage of each block type, by hand: for C input and D output channels,
    /// c3 has 9 C D + 2 D, c1 has C D + 2 D, and s has 3 C D + 3 D² + 4 D.
    #[test]
    fn blocks_have_their_parameters() {
        let c3 = |c: u64, d: u64| 9 * c * d + 2 * d;
        let c1 = |c: u64, d: u64| c * d + 2 * d;
        let s = |c: u64, d: u64| 3 * c * d + 3 * d * d + 4 * d;
        let p = |c: u64, d: u64| if c == d { 0 } else { c1(c, d) };
        let block = |b: Block, c: u64, d: u64| match b {
            Block::Z => c3(c, d) + s(d, d),
            Block::A22 => c3(c, d) + 2 * c1(d, d),
            Block::B23 => p(c, d) + s(c, d) + s(d, d),
            Block::J30 => p(c, d) + c3(c, d) + s(d, d),
            Block::G30 => p(c, d) + s(c, d) + s(d, d) + c1(d, d),
            Block::R30 | Block::T31 => 2 * p(c, d) + s(c, d) + c1(d, d) + s(d, d),
            Block::L20 => c3(c, d) + c1(d, d),
            Block::T20 => c1(c, d) + s(c, d),
            Block::Src0 => c1(c, d) + 2 * c3(d, d),
            Block::Src1 => c1(c, d) + c3(c, c) + c3(c, d),
            Block::Src3 => c1(c, d) + c1(c, c) + c3(c, d) + c1(d, d),
            Block::Src7 => c1(c, d) + 2 * s(d, d),
            Block::Src8 => c1(c, d) + s(d, d) + c1(d, d),
        };
        for b in Block::ALL {
            let stages = [(64, 64), (64, 128), (128, 128), (128, 256)];
            let blocks: u64 = stages.iter().map(|&(c, d)| block(b, c, d) + block(b, d, d)).sum();
            let expected = c3(3, 64) + blocks + 257 * 10;
            assert_eq!(HiAmlNetwork([b; 4]).trainable_parameters(), expected, "{}", b.name());
        }
    }
}
