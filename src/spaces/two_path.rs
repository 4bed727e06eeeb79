//! Two-Path (Mills et al. 2023, GENNAPE, arXiv 2211.17226): two chains of blocks side by side, for
//! CIFAR-10.
//!
//! ```text
//!                                    ┌─ block ─ block ─ … ─┐
//! conv 3×3 ── conv 3×3 /2 ── 16×16 ──┤                     ├── concat ── conv 3×3 ── pooling,
//!   32           32                  └─ block ─ block ─ … ─┘     256       512      classifier
//! ```
//!
//! A path has two to four blocks. Two of them reduce: they halve the resolution and double the
//! channels. The others add their input to their output. A block is a chain of one to three
//! operations, at least one of them a [main](Operation::is_main) one and at most one not; its
//! first main operation changes resolution and channels. ReLU6 and batch normalisation without
//! bias follow all convolutions.
//!
//! A network is written as its paths, separated by `|`, with blocks separated by `,` and
//! operations by `+`, and `/2` after those that reduce, for example
//! `conv3x3+avgpool3x3/2,double3x3,conv5x5/2|inception_s3x3/2,bottleneck-r2-k3/2`.

use super::blocks::{ConvSpec, NetworkBuilder};
use super::choices::{chain, named, one_of};
use super::{Architecture, ParseError, Space};
use crate::model_graph::{ModelGraph, ValueId};
use rand::Rng;
use rand::seq::SliceRandom;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

const PATHS: usize = 2;
const BLOCKS_PER_PATH: RangeInclusive<usize> = 2..=4;
const REDUCTIONS_PER_PATH: usize = 2;
const OPERATIONS_PER_BLOCK: RangeInclusive<usize> = 1..=3;
const STEM_CHANNELS: usize = 32;
const HEAD_CHANNELS: usize = 512;
const CLASSES: usize = 10;
const RESOLUTION: usize = 32;

/// What a block is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// 3×3 convolution.
    Conv3x3,
    /// Two 3×3 convolutions; the second one changes the channels.
    Double3x3,
    /// 5×5 convolution.
    Conv5x5,
    /// Two 3×3 convolutions with half of the input's channels between.
    BottleneckR2K3,
    /// Two 3×3 convolutions with a quarter of the input's channels between.
    BottleneckR4K3,
    /// Two 3×3 convolutions with twice the input's channels between.
    BottleneckE2K3,
    /// 1×3 and 3×1 convolution.
    InceptionS3x3,
    /// 1×5 and 5×1 convolution.
    InceptionS5x5,
    /// 1×1 convolution.
    Conv1x1,
    /// Two 1×1 convolutions with half of the input's channels between.
    BottleneckR2K1,
    /// Two 1×1 convolutions with twice the input's channels between.
    BottleneckE2K1,
    /// 3×3 average pooling and batch normalisation.
    AvgPool3x3,
    /// 3×3 max-pooling and batch normalisation.
    MaxPool3x3,
}

impl Operation {
    /// Every operation, in the authors' order, the main ones first.
    pub const ALL: [Self; 13] = [
        Self::Conv3x3,
        Self::Double3x3,
        Self::Conv5x5,
        Self::BottleneckR2K3,
        Self::BottleneckR4K3,
        Self::BottleneckE2K3,
        Self::InceptionS3x3,
        Self::InceptionS5x5,
        Self::Conv1x1,
        Self::BottleneckR2K1,
        Self::BottleneckE2K1,
        Self::AvgPool3x3,
        Self::MaxPool3x3,
    ];

    /// Number of main operations.
    const MAIN: usize = 8;

    /// Whether it can stand in a block without another one and change resolution and channels.
    pub fn is_main(self) -> bool {
        Self::ALL[..Self::MAIN].contains(&self)
    }

    /// The authors' name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conv3x3 => "conv3x3",
            Self::Double3x3 => "double3x3",
            Self::Conv5x5 => "conv5x5",
            Self::BottleneckR2K3 => "bottleneck-r2-k3",
            Self::BottleneckR4K3 => "bottleneck-r4-k3",
            Self::BottleneckE2K3 => "bottleneck-e2-k3",
            Self::InceptionS3x3 => "inception_s3x3",
            Self::InceptionS5x5 => "inception_s5x5",
            Self::Conv1x1 => "conv1x1",
            Self::BottleneckR2K1 => "bottleneck-r2-k1",
            Self::BottleneckE2K1 => "bottleneck-e2-k1",
            Self::AvgPool3x3 => "avgpool3x3",
            Self::MaxPool3x3 => "maxpool3x3",
        }
    }

    fn build(self, n: &mut NetworkBuilder, x: ValueId, channels: usize, stride: i64) -> ValueId {
        let inputs = n.channels(x);
        let mut two = |inner: usize, kernel: i64| {
            let x = n.conv_bn_relu6(x, inner, kernel, stride);
            n.conv_bn_relu6(x, channels, kernel, 1)
        };
        match self {
            Self::Double3x3 => two(inputs, 3),
            Self::BottleneckR2K3 => two(inputs / 2, 3),
            Self::BottleneckR4K3 => two(inputs / 4, 3),
            Self::BottleneckE2K3 => two(inputs * 2, 3),
            Self::BottleneckR2K1 => two(inputs / 2, 1),
            Self::BottleneckE2K1 => two(inputs * 2, 1),
            Self::Conv1x1 => n.conv_bn_relu6(x, channels, 1, stride),
            Self::Conv3x3 => n.conv_bn_relu6(x, channels, 3, stride),
            Self::Conv5x5 => n.conv_bn_relu6(x, channels, 5, stride),
            Self::InceptionS3x3 => inception_s(n, x, channels, 3, stride),
            Self::InceptionS5x5 => inception_s(n, x, channels, 5, stride),
            Self::AvgPool3x3 => {
                let x = n.average_pool(x, 3, stride, 1);
                n.batch_norm(x)
            }
            Self::MaxPool3x3 => {
                let x = n.max_pool(x, 3, stride, 1);
                n.batch_norm(x)
            }
        }
    }
}

/// A convolution of one row and one of one column, each with batch normalisation and ReLU6; the
/// first one has the stride, in both directions.
pub(super) fn inception_s(
    network: &mut NetworkBuilder,
    x: ValueId,
    channels: usize,
    kernel: i64,
    stride: i64,
) -> ValueId {
    let row = ConvSpec { kernel: [1, kernel], ..ConvSpec::square(kernel, stride) };
    let column = ConvSpec { kernel: [kernel, 1], ..ConvSpec::square(kernel, 1) };
    [row, column].into_iter().fold(x, |x, spec| {
        let x = network.convolution(x, channels, spec);
        let x = network.batch_norm(x);
        network.relu6(x)
    })
}

/// A chain of operations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Block {
    /// Its operations in order.
    pub operations: Vec<Operation>,
    /// Whether it halves the resolution and doubles the channels.
    pub reduces: bool,
}

impl Block {
    fn check(&self) -> Result<(), String> {
        let operations = self.operations.len();
        if !OPERATIONS_PER_BLOCK.contains(&operations) {
            return Err(format!("{operations} operations are not between 1 and 3"));
        }
        match self.operations.iter().filter(|o| !o.is_main()).count() {
            supporting if supporting == operations => {
                Err(format!("'{self}' has no operation that can change the channels"))
            }
            0 | 1 => Ok(()),
            _ => Err(format!("'{self}' has more than one supporting operation")),
        }
    }

    fn sample<R: Rng + ?Sized>(reduces: bool, rng: &mut R) -> Self {
        let length = rng.gen_range(OPERATIONS_PER_BLOCK);
        Self { operations: chain(length, &Operation::ALL, Operation::MAIN, rng), reduces }
    }

    /// Position of the operation that changes resolution and channels.
    fn first_main(&self) -> Option<usize> {
        self.operations.iter().position(|o| o.is_main())
    }

    fn build(&self, network: &mut NetworkBuilder, input: ValueId) -> ValueId {
        let mut x = input;
        for (i, operation) in self.operations.iter().enumerate() {
            let channels = network.channels(x);
            x = match self.reduces && self.first_main() == Some(i) {
                true => operation.build(network, x, 2 * channels, 2),
                false => operation.build(network, x, channels, 1),
            };
        }
        if self.reduces { x } else { network.add(x, input) }
    }

    /// Where channels stay, a double convolution is two.
    fn canonical(&self) -> String {
        let name = |(i, operation): (usize, &Operation)| match operation {
            Operation::Double3x3 if !(self.reduces && self.first_main() == Some(i)) => {
                "conv3x3+conv3x3"
            }
            other => other.name(),
        };
        let names: Vec<&str> = self.operations.iter().enumerate().map(name).collect();
        names.join("+") + if self.reduces { "/2" } else { "" }
    }
}

impl Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.operations.iter().map(|o| o.name()).collect();
        write!(f, "{}{}", names.join("+"), if self.reduces { "/2" } else { "" })
    }
}

/// A network: the blocks of its two paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TwoPathNetwork([Vec<Block>; PATHS]);

impl TwoPathNetwork {
    /// The network with these paths.
    ///
    /// # Errors
    /// A sentence that says which limit of the [space](self) is broken, and where.
    pub fn new(paths: [Vec<Block>; PATHS]) -> Result<Self, String> {
        for (p, path) in (1..).zip(&paths) {
            let fail = |reason: String| Err(format!("path {p}: {reason}"));
            if !BLOCKS_PER_PATH.contains(&path.len()) {
                return fail(format!("{} blocks are not between 2 and 4", path.len()));
            }
            let reductions = path.iter().filter(|b| b.reduces).count();
            if reductions != REDUCTIONS_PER_PATH {
                return fail(format!("{reductions} blocks reduce instead of 2"));
            }
            for (b, block) in (1..).zip(path) {
                block.check().map_err(|reason| format!("path {p}, block {b}: {reason}"))?;
            }
        }
        Ok(Self(paths))
    }

    /// The blocks of each path.
    pub fn paths(&self) -> &[Vec<Block>; PATHS] {
        &self.0
    }
}

impl Architecture for TwoPathNetwork {
    const SPACE: Space = Space::TwoPath;

    /// Ordered pairs of paths.
    fn size() -> Option<u128> {
        let (main, supporting) = (Operation::MAIN, Operation::ALL.len() - Operation::MAIN);
        let chains = |n: usize| match n {
            1 => main,
            n => main.pow(n as u32) + n * supporting * main.pow(n as u32 - 1),
        };
        let blocks: u128 = OPERATIONS_PER_BLOCK.map(|n| chains(n) as u128).sum();
        // Two of n blocks reduce.
        let paths: u128 =
            BLOCKS_PER_PATH.map(|n| (n * (n - 1) / 2) as u128 * blocks.pow(n as u32)).sum();
        Some(paths * paths)
    }

    /// As the authors draw networks: sizes first, each equally likely, then what is in them. So a
    /// small network is more likely than a large one.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self([(); PATHS].map(|()| {
            let length = rng.gen_range(BLOCKS_PER_PATH);
            let reductions = rand::seq::index::sample(rng, length, REDUCTIONS_PER_PATH).into_vec();
            (0..length).map(|b| Block::sample(reductions.contains(&b), rng)).collect()
        }))
    }

    /// One operation replaced, added or removed, one block that does not reduce added or removed,
    /// or another block that reduces.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        loop {
            let mut paths = self.0.clone();
            let path = &mut paths[rng.gen_range(0..PATHS)];
            let b = rng.gen_range(0..path.len());
            let operations = &mut path[b].operations;
            let o = rng.gen_range(0..operations.len());
            match rng.gen_range(0..6) {
                0 => operations[o] = one_of(&Operation::ALL, rng),
                1 => operations.insert(o + rng.gen_range(0..=1), one_of(&Operation::ALL, rng)),
                2 => drop(operations.remove(o)),
                3 => path.insert(b + rng.gen_range(0..=1), Block::sample(false, rng)),
                4 => drop(path.remove(b)),
                _ => {
                    let other = rng.gen_range(0..path.len());
                    let reduces = path[b].reduces;
                    path[b].reduces = path[other].reduces;
                    path[other].reduces = reduces;
                }
            }
            match Self::new(paths) {
                Ok(network) if network != *self => return network,
                _ => {}
            }
        }
    }

    /// For each path, the number of blocks and which ones reduce from one parent, and the
    /// operations of each block from either.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        Self(std::array::from_fn(|p| {
            let mut parents = [&self.0[p], &other.0[p]];
            parents.shuffle(rng);
            let mut path = parents[0].clone();
            for (block, donated) in path.iter_mut().zip(parents[1]) {
                if rng.r#gen() {
                    block.operations.clone_from(&donated.operations);
                }
            }
            path
        }))
    }

    /// The paths in alphabetical order, with `double3x3` written out where it is two `conv3x3`.
    fn canonical(&self) -> String {
        let mut paths = self.0.each_ref().map(|path| {
            let blocks: Vec<String> = path.iter().map(Block::canonical).collect();
            blocks.join(",")
        });
        paths.sort_unstable();
        paths.join("|")
    }

    fn identity(&self) -> String {
        self.canonical()
    }

    fn build(&self) -> ModelGraph {
        let (mut network, image) = NetworkBuilder::new(format!("two_path {self}"), RESOLUTION);
        let x = network.conv_bn_relu6(image, STEM_CHANNELS, 3, 1);
        let x = network.conv_bn_relu6(x, STEM_CHANNELS, 3, 2);
        let ends = self
            .0
            .each_ref()
            .map(|path| path.iter().fold(x, |x, block| block.build(&mut network, x)));
        let x = network.concat(&ends);
        let x = network.conv_bn_relu6(x, HEAD_CHANNELS, 3, 1);
        network.classify(x, CLASSES)
    }
}

impl Display for TwoPathNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &Vec<Block>| {
            let blocks: Vec<String> = path.iter().map(Block::to_string).collect();
            blocks.join(",")
        };
        f.write_str(&self.0.each_ref().map(path).join("|"))
    }
}

impl FromStr for TwoPathNetwork {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|reason| Self::SPACE.error(text, reason))
    }
}

fn parse(text: &str) -> Result<TwoPathNetwork, String> {
    let mut paths = Vec::new();
    for (p, path) in (1..).zip(text.split('|')) {
        let mut blocks = Vec::new();
        for (b, block) in (1..).zip(path.split(',')) {
            let block = block.trim();
            let chain = block.strip_suffix("/2");
            let operations = chain.unwrap_or(block).split('+').map(|name| {
                named(name.trim(), &Operation::ALL, Operation::name)
                    .map_err(|reason| format!("path {p}, block {b}: {reason}"))
            });
            let operations = operations.collect::<Result<Vec<_>, _>>()?;
            blocks.push(Block { operations, reduces: chain.is_some() });
        }
        paths.push(blocks);
    }
    let count = paths.len();
    let paths =
        paths.try_into().map_err(|_| format!("it has {count} paths joined by '|' instead of 2"))?;
    TwoPathNetwork::new(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::lower;

    const TEXT: &str =
        "conv3x3+avgpool3x3/2,double3x3,conv5x5/2|inception_s3x3/2,conv1x1+bottleneck-r2-k3/2";

    #[test]
    fn errors_say_what_is_wrong() {
        let network: TwoPathNetwork = TEXT.parse().unwrap();
        assert_eq!(network.to_string(), TEXT);
        for (from, to, reason) in [
            ("|", ",", "it has 1 paths"),
            (",double3x3,conv5x5/2", "", "path 1: 1 blocks are not between 2 and 4"),
            ("double3x3", "double3x3/2", "path 1: 3 blocks reduce instead of 2"),
            ("double3x3", "maxpool3x3", "path 1, block 2: 'maxpool3x3' has no operation that"),
            ("conv1x1+", "conv1x1+conv1x1+", "path 2, block 2: 'conv1x1+conv1x1+bottleneck-r2-k3"),
            ("double3x3", "conv3x3+conv3x3+conv3x3+conv3x3", "4 operations are not between"),
            ("double3x3", "double5x5", "path 1, block 2: 'double5x5' is not one of conv3x3"),
            ("double3x3,", ",", "path 1, block 2: ''"),
        ] {
            let error = TEXT.replacen(from, to, 1).parse::<TwoPathNetwork>().unwrap_err().reason;
            assert!(error.contains(reason), "{error}");
        }
    }

    /// By hand, with 2 C for the batch normalisation of C channels.
    #[test]
    fn parameters_are_those_of_the_definition() {
        let network: TwoPathNetwork = TEXT.parse().unwrap();
        let stem = 3 * 9 * 32 + 64 + 32 * 9 * 32 + 64;
        let first = (32 * 9 * 64 + 128 + 128) + 2 * (64 * 9 * 64 + 128) + (64 * 25 * 128 + 256);
        let second = (32 * 3 * 64 + 128 + 64 * 3 * 64 + 128)
            + (64 * 64 + 128)
            + (64 * 9 * 32 + 64 + 32 * 9 * 128 + 256);
        let head = 256 * 9 * 512 + 1024 + 513 * 10;
        assert_eq!(network.trainable_parameters(), stem + first + second + head);
    }

    #[test]
    fn equal_networks_have_one_canonical_form() {
        let network: TwoPathNetwork = TEXT.parse().unwrap();
        let fingerprint = |n: &TwoPathNetwork| lower(&n.build()).unwrap().fingerprint();
        let (first, second) = TEXT.split_once('|').unwrap();
        let swapped: TwoPathNetwork = format!("{second}|{first}").parse().unwrap();
        let apart: TwoPathNetwork = TEXT.replace("double3x3", "conv3x3+conv3x3").parse().unwrap();
        for same in [swapped, apart] {
            assert_eq!(same.canonical(), network.canonical());
            assert_eq!(fingerprint(&same), fingerprint(&network));
        }
        // In a block that reduces, the two differ.
        let double: TwoPathNetwork = TEXT.replace("conv5x5", "double3x3").parse().unwrap();
        let two: TwoPathNetwork = TEXT.replace("conv5x5", "conv3x3+conv3x3").parse().unwrap();
        assert_ne!(double.canonical(), two.canonical());
        assert_ne!(fingerprint(&double), fingerprint(&two));
    }
}
