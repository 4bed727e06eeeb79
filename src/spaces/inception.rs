//! Inception (Mills et al. 2023, GENNAPE, arXiv 2211.17226): stages of blocks of parallel paths,
//! for CIFAR-10.
//!
//! ```text
//!                   ┌─ op ─ op ─ … ─┐
//! conv 3×3 ── … ──┬─┼─ op ─ op ─ … ─┼─ concat ─ (1×1) ─ + ── … ── conv 3×3 ── pooling,
//!    32           │ └─ op ─ op ─ … ─┘                   │           512       classifier
//!                 └─────────────────────────────────────┘
//! ```
//!
//! There are four stages (three, in the paper) of two to six equal blocks. A block has one to four
//! paths of operations. The first block of every stage but the first halves the resolution and
//! doubles the channels, from 32 on; all others add their input to their output.
//!
//! A path is a chain of [operations](Operation), at least one of them a
//! [main](Operation::is_main) one and at most one not. With one, two, three and four paths a block
//! has at most 3, 4, 8 and 10 operations, and each path at least 1, 1, 2 and 2. The block's
//! channels are divided evenly among the paths, but of three paths one, the wide one, gets half.
//! No path has less than 16 channels; where they add up to more than the block's, a 1×1
//! convolution follows. Inside of a path, from the first to the last operation that can change
//! channels (all but pooling), channels may be halved, though not below 16, or doubled.
//! Convolutions have biases and are followed by batch normalisation and ReLU6.
//!
//! A network is written as its stages, separated by `,`: the number of blocks, `x`, and the paths
//! in brackets, separated by `|`. A path is its operations, joined by `+`, after `wide:` in the
//! wide one, and before `:r2` or `:e2` where inner channels are halved (reduced) or doubled
//! (expanded), for example `2x(conv3x3+conv1x1:r2|depthwise5x5)`.

use super::blocks::{ConvSpec, NetworkBuilder};
use super::choices::{chain, named, one_of};
use super::{Architecture, ParseError, Space};
use crate::model_graph::{ModelGraph, ValueId};
use rand::Rng;
use rand::seq::SliceRandom;
use smallvec::SmallVec;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

const STAGES: RangeInclusive<usize> = 3..=4;
const BLOCKS_PER_STAGE: RangeInclusive<usize> = 2..=6;
/// By number of paths, from 1 on.
const MAX_OPERATIONS_PER_BLOCK: [usize; 4] = [3, 4, 8, 10];
/// By number of paths, from 1 on.
const MIN_OPERATIONS_PER_PATH: [usize; 4] = [1, 1, 2, 2];
const MIN_CHANNELS: usize = 16;
const STEM_CHANNELS: usize = 32;
const HEAD_CHANNELS: usize = 512;
const CLASSES: usize = 10;
const RESOLUTION: usize = 32;

/// What a path is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// 3×3 convolution.
    Conv3x3,
    /// 1×3 and 3×1 convolution in sequence.
    InceptionS3x3,
    /// 1×3 and 3×1 convolution in parallel, each to half of the channels; where the resolution is
    /// halved, each is followed by the other one.
    InceptionP3x3,
    /// 3×3 depthwise convolution, after a 1×1 convolution where it changes the channels.
    Depthwise3x3,
    /// 5×5 convolution.
    Conv5x5,
    /// 5×5 depthwise convolution, after a 1×1 convolution where it changes the channels.
    Depthwise5x5,
    /// 1×5 and 5×1 convolution in sequence.
    InceptionS5x5,
    /// As `InceptionP3x3`, of length 5.
    InceptionP5x5,
    /// 1×1 convolution.
    Conv1x1,
    /// 3×3 average pooling and batch normalisation.
    AvgPool3x3,
    /// 3×3 max-pooling and batch normalisation.
    MaxPool3x3,
    /// Two 1×1 convolutions.
    Double1x1,
}

impl Operation {
    /// Every operation, in the authors' order, the main ones first.
    pub const ALL: [Self; 12] = [
        Self::Conv3x3,
        Self::InceptionS3x3,
        Self::InceptionP3x3,
        Self::Depthwise3x3,
        Self::Conv5x5,
        Self::Depthwise5x5,
        Self::InceptionS5x5,
        Self::InceptionP5x5,
        Self::Conv1x1,
        Self::AvgPool3x3,
        Self::MaxPool3x3,
        Self::Double1x1,
    ];

    /// Number of main operations.
    const MAIN: usize = 8;

    /// Whether it can stand in a path without another one and change the resolution.
    pub fn is_main(self) -> bool {
        Self::ALL[..Self::MAIN].contains(&self)
    }

    fn changes_channels(self) -> bool {
        !matches!(self, Self::AvgPool3x3 | Self::MaxPool3x3)
    }

    /// The authors' name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conv3x3 => "conv3x3",
            Self::InceptionS3x3 => "inception_s3x3",
            Self::InceptionP3x3 => "inception_p3x3",
            Self::Depthwise3x3 => "depthwise3x3",
            Self::Conv5x5 => "conv5x5",
            Self::Depthwise5x5 => "depthwise5x5",
            Self::InceptionS5x5 => "inception_s5x5",
            Self::InceptionP5x5 => "inception_p5x5",
            Self::Conv1x1 => "conv1x1",
            Self::AvgPool3x3 => "avgpool3x3",
            Self::MaxPool3x3 => "maxpool3x3",
            Self::Double1x1 => "double1x1",
        }
    }

    fn build(self, n: &mut NetworkBuilder, x: ValueId, channels: usize, stride: i64) -> ValueId {
        match self {
            Self::Conv3x3 => conv_bn_relu6(n, x, channels, square(3, stride)),
            Self::Conv5x5 => conv_bn_relu6(n, x, channels, square(5, stride)),
            Self::Conv1x1 => conv_bn_relu6(n, x, channels, square(1, stride)),
            Self::Double1x1 => {
                let x = conv_bn_relu6(n, x, channels, square(1, 1));
                conv_bn_relu6(n, x, channels, square(1, stride))
            }
            Self::Depthwise3x3 => depthwise(n, x, channels, 3, stride),
            Self::Depthwise5x5 => depthwise(n, x, channels, 5, stride),
            Self::InceptionS3x3 => inception_s(n, x, channels, 3, stride),
            Self::InceptionS5x5 => inception_s(n, x, channels, 5, stride),
            Self::InceptionP3x3 => inception_p(n, x, channels, 3, stride),
            Self::InceptionP5x5 => inception_p(n, x, channels, 5, stride),
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

fn square(kernel: i64, stride: i64) -> ConvSpec {
    ConvSpec { bias: true, ..ConvSpec::square(kernel, stride) }
}

/// Of one row and one column, each with the stride along its length.
fn row_and_column(kernel: i64, stride: i64) -> [ConvSpec; 2] {
    let spec = square(kernel, stride);
    let row = ConvSpec { kernel: [1, kernel], stride: [1, stride], ..spec };
    [row, ConvSpec { kernel: [kernel, 1], stride: [stride, 1], ..spec }]
}

fn conv_bn(n: &mut NetworkBuilder, x: ValueId, channels: usize, spec: ConvSpec) -> ValueId {
    let x = n.convolution(x, channels, spec);
    n.batch_norm(x)
}

fn conv_bn_relu6(n: &mut NetworkBuilder, x: ValueId, channels: usize, spec: ConvSpec) -> ValueId {
    let x = conv_bn(n, x, channels, spec);
    n.relu6(x)
}

fn depthwise(
    n: &mut NetworkBuilder,
    x: ValueId,
    channels: usize,
    kernel: i64,
    stride: i64,
) -> ValueId {
    let x = if n.channels(x) == channels { x } else { n.conv(x, channels, 1, 1) };
    conv_bn_relu6(n, x, channels, ConvSpec { groups: channels, ..square(kernel, stride) })
}

fn inception_s(
    n: &mut NetworkBuilder,
    x: ValueId,
    channels: usize,
    kernel: i64,
    stride: i64,
) -> ValueId {
    let specs = row_and_column(kernel, stride);
    specs.into_iter().fold(x, |x, spec| conv_bn_relu6(n, x, channels, spec))
}

fn inception_p(
    n: &mut NetworkBuilder,
    x: ValueId,
    channels: usize,
    kernel: i64,
    stride: i64,
) -> ValueId {
    let [row, column] = row_and_column(kernel, stride);
    let halves = [(row, column, channels / 2), (column, row, channels - channels / 2)];
    let halves = halves.map(|(first, second, channels)| {
        let y = conv_bn(n, x, channels, first);
        if stride == 1 { y } else { conv_bn(n, y, channels, second) }
    });
    let x = n.concat(&halves);
    n.relu6(x)
}

/// What becomes of the channels inside of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Inner {
    /// They are those of the path's output.
    Same,
    /// Half of them.
    Reduced,
    /// Twice as many.
    Expanded,
}

impl Inner {
    const ALL: [Self; 3] = [Self::Same, Self::Reduced, Self::Expanded];

    fn suffix(self) -> &'static str {
        match self {
            Self::Same => "",
            Self::Reduced => ":r2",
            Self::Expanded => ":e2",
        }
    }

    fn channels(self, outer: usize) -> usize {
        match self {
            Self::Same => outer,
            Self::Reduced => (outer / 2).max(MIN_CHANNELS),
            Self::Expanded => 2 * outer,
        }
    }
}

/// A chain of operations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    /// Its operations in order.
    pub operations: Vec<Operation>,
    /// Its inner channels.
    pub inner: Inner,
    /// Whether it gets half of the block's channels; so does one of three paths.
    pub wide: bool,
}

impl Path {
    /// The first and the last operation that can change channels.
    fn boundaries(&self) -> Option<(usize, usize)> {
        let changes = |o: &Operation| o.changes_channels();
        let first = self.operations.iter().position(changes)?;
        Some((first, self.operations.iter().rposition(changes)?))
    }

    /// Whether there is anything between a first and a last change of channels.
    fn has_inside(&self) -> bool {
        self.boundaries().is_some_and(|(first, last)| first != last)
    }

    fn check(&self, paths: usize) -> Result<(), String> {
        let minimum = MIN_OPERATIONS_PER_PATH[paths - 1];
        if self.operations.len() < minimum {
            return Err(format!("'{self}' has fewer than {minimum} operations"));
        }
        if !self.operations.iter().any(|o| o.is_main()) {
            return Err(format!("'{self}' has no main operation"));
        }
        if self.operations.iter().filter(|o| !o.is_main()).count() > 1 {
            return Err(format!("'{self}' has more than one supporting operation"));
        }
        if self.inner != Inner::Same && !self.has_inside() {
            return Err(format!("'{self}' has not two operations that can change the channels"));
        }
        if self.wide && paths != 3 {
            return Err(format!("'{self}' is wide among {paths} paths; only one of 3 can be"));
        }
        Ok(())
    }

    /// Channels of the output, in a block of `paths` paths.
    fn channels(&self, block: usize, paths: usize) -> usize {
        let share = match paths {
            3 if self.wide => block / 2,
            3 => block / 4,
            paths => block / paths,
        };
        share.max(MIN_CHANNELS)
    }

    fn build(&self, n: &mut NetworkBuilder, input: ValueId, outer: usize, stride: i64) -> ValueId {
        let Some((first, last)) = self.boundaries() else { return input };
        let strided = self.operations.iter().position(|o| o.is_main());
        let mut x = input;
        for (i, operation) in self.operations.iter().enumerate() {
            let channels = if i == last {
                outer
            } else if i == first {
                self.inner.channels(outer)
            } else {
                n.channels(x)
            };
            x = operation.build(n, x, channels, if strided == Some(i) { stride } else { 1 });
        }
        x
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.operations.iter().map(|o| o.name()).collect();
        let wide = if self.wide { "wide:" } else { "" };
        write!(f, "{wide}{}{}", names.join("+"), self.inner.suffix())
    }
}

/// Equal blocks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stage {
    /// How many.
    pub blocks: usize,
    /// What each is made of.
    pub paths: Vec<Path>,
}

impl Stage {
    fn check(&self) -> Result<(), String> {
        if !BLOCKS_PER_STAGE.contains(&self.blocks) {
            return Err(format!("{} blocks are not between 2 and 6", self.blocks));
        }
        let paths = self.paths.len();
        let Some(&maximum) = paths.checked_sub(1).and_then(|i| MAX_OPERATIONS_PER_BLOCK.get(i))
        else {
            return Err(format!("{paths} paths are not between 1 and 4"));
        };
        for (p, path) in (1..).zip(&self.paths) {
            path.check(paths).map_err(|reason| format!("path {p}: {reason}"))?;
        }
        let operations: usize = self.paths.iter().map(|p| p.operations.len()).sum();
        if operations > maximum {
            return Err(format!("{operations} operations in {paths} paths are over {maximum}"));
        }
        if paths == 3 && self.paths.iter().filter(|p| p.wide).count() != 1 {
            return Err("not one of its three paths is wide".to_string());
        }
        Ok(())
    }

    /// As the authors draw it: the number of paths, then one path after the other, which may have
    /// all operations that the others do not need.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        let paths = rng.gen_range(1..=MAX_OPERATIONS_PER_BLOCK.len());
        let minimum = MIN_OPERATIONS_PER_PATH[paths - 1];
        let wide = (paths == 3).then(|| rng.gen_range(0..paths));
        let mut left = MAX_OPERATIONS_PER_BLOCK[paths - 1];
        let paths = (0..paths).map(|p| {
            let operations = rng.gen_range(minimum..=left - minimum * (paths - 1 - p));
            left -= operations;
            Path { wide: wide == Some(p), ..sample_path(operations, rng) }
        });
        let paths = paths.collect();
        Self { blocks: rng.gen_range(BLOCKS_PER_STAGE), paths }
    }

    fn build(
        &self,
        n: &mut NetworkBuilder,
        input: ValueId,
        channels: usize,
        stride: i64,
    ) -> ValueId {
        let paths = self.paths.len();
        let mut x = input;
        for block in 0..self.blocks {
            let stride = if block == 0 { stride } else { 1 };
            let ends: SmallVec<[ValueId; 4]> = self
                .paths
                .iter()
                .map(|path| path.build(n, x, path.channels(channels, paths), stride))
                .collect();
            let mut y = n.concat(&ends);
            if n.channels(y) != channels {
                y = conv_bn(n, y, channels, square(1, 1));
            }
            x = if stride == 1 { n.add(y, x) } else { y };
        }
        x
    }
}

/// As the authors draw it; see [`Architecture::sample`].
fn sample_path<R: Rng + ?Sized>(length: usize, rng: &mut R) -> Path {
    let operations = chain(length, &Operation::ALL, Operation::MAIN, rng);
    let mut path = Path { operations, inner: Inner::Same, wide: false };
    if path.has_inside() {
        path.inner = match rng.gen_range(0..10) {
            0..3 => Inner::Reduced,
            3..9 => Inner::Same,
            _ => Inner::Expanded,
        };
    }
    path
}

impl Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<String> = self.paths.iter().map(Path::to_string).collect();
        write!(f, "{}x({})", self.blocks, paths.join("|"))
    }
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InceptionNetwork(Vec<Stage>);

impl InceptionNetwork {
    /// The network with these stages.
    ///
    /// # Errors
    /// A sentence that says which limit of the [space](self) is broken, and where.
    pub fn new(stages: Vec<Stage>) -> Result<Self, String> {
        if !STAGES.contains(&stages.len()) {
            return Err(format!("{} stages are not 3 or 4", stages.len()));
        }
        for (s, stage) in (1..).zip(&stages) {
            stage.check().map_err(|reason| format!("stage {s}: {reason}"))?;
        }
        Ok(Self(stages))
    }

    /// The stages.
    pub fn stages(&self) -> &[Stage] {
        &self.0
    }
}

impl Architecture for InceptionNetwork {
    const SPACE: Space = Space::Inception;

    /// The authors give no size, and the number of texts does not fit into 128 bits.
    fn size() -> Option<u128> {
        None
    }

    /// As the authors draw networks: four stages; sizes first, each equally likely, then what is
    /// in them. Inner channels are halved with probability 0.3 and doubled with 0.1, where they
    /// can be.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self((0..*STAGES.end()).map(|_| Stage::sample(rng)).collect())
    }

    /// One operation replaced, added or removed, one block or path more or less in a stage, other
    /// inner channels of a path, or another wide one.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        loop {
            let mut stages = self.0.clone();
            let stage = rng.gen_range(0..stages.len());
            let stage = &mut stages[stage];
            let p = rng.gen_range(0..stage.paths.len());
            let path = &mut stage.paths[p];
            let o = rng.gen_range(0..path.operations.len());
            match rng.gen_range(0..8) {
                0 => path.operations[o] = one_of(&Operation::ALL, rng),
                1 => path.operations.insert(o + rng.gen_range(0..=1), one_of(&Operation::ALL, rng)),
                2 => drop(path.operations.remove(o)),
                3 => path.inner = one_of(&Inner::ALL, rng),
                4 => stage.blocks += 1,
                5 => stage.blocks -= 1,
                6 => {
                    for (q, path) in stage.paths.iter_mut().enumerate() {
                        path.wide = q == p;
                    }
                }
                _ => {
                    if rng.r#gen() {
                        let length = rng.gen_range(1..=3);
                        stage.paths.insert(p, sample_path(length, rng));
                    } else {
                        stage.paths.remove(p);
                    }
                    let wide = rng.gen_range(0..stage.paths.len().max(1));
                    let three = stage.paths.len() == 3;
                    for (q, path) in stage.paths.iter_mut().enumerate() {
                        path.wide = three && q == wide;
                    }
                }
            }
            match Self::new(stages) {
                Ok(network) if network != *self => return network,
                _ => {}
            }
        }
    }

    /// For each stage, the number of blocks and the paths from either parent; the number of
    /// stages from one of them.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        let mut parents = [self, other];
        parents.shuffle(rng);
        let mut child = parents[0].clone();
        for (stage, donated) in child.0.iter_mut().zip(&parents[1].0) {
            if rng.r#gen() {
                stage.blocks = donated.blocks;
            }
            if rng.r#gen() {
                stage.paths.clone_from(&donated.paths);
            }
        }
        child
    }

    /// The text form with the paths of each stage in alphabetical order, and without the halving
    /// of 16 channels, which stay 16.
    fn canonical(&self) -> String {
        let stages: Vec<String> = self
            .0
            .iter()
            .enumerate()
            .map(|(s, stage)| {
                let mut stage = stage.clone();
                let paths = stage.paths.len();
                for path in &mut stage.paths {
                    let outer = path.channels(STEM_CHANNELS << s, paths);
                    if path.inner.channels(outer) == outer {
                        path.inner = Inner::Same;
                    }
                }
                stage.paths.sort_by_cached_key(Path::to_string);
                stage.to_string()
            })
            .collect();
        stages.join(",")
    }

    fn identity(&self) -> String {
        self.canonical()
    }

    fn build(&self) -> ModelGraph {
        let (mut n, image) = NetworkBuilder::new(format!("inception {self}"), RESOLUTION);
        let mut x = conv_bn_relu6(&mut n, image, STEM_CHANNELS, square(3, 1));
        for (s, stage) in self.0.iter().enumerate() {
            x = stage.build(&mut n, x, STEM_CHANNELS << s, if s == 0 { 1 } else { 2 });
        }
        let x = conv_bn_relu6(&mut n, x, HEAD_CHANNELS, square(3, 1));
        n.classify(x, CLASSES)
    }
}

impl Display for InceptionNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages: Vec<String> = self.0.iter().map(Stage::to_string).collect();
        f.write_str(&stages.join(","))
    }
}

impl FromStr for InceptionNetwork {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let stages = (1..).zip(text.split(',')).map(|(s, stage)| {
            parse_stage(stage.trim()).map_err(|reason| format!("stage {s}: {reason}"))
        });
        stages
            .collect::<Result<Vec<_>, _>>()
            .and_then(Self::new)
            .map_err(|reason| Self::SPACE.error(text, reason))
    }
}

fn parse_stage(text: &str) -> Result<Stage, String> {
    let parts = text
        .split_once("x(")
        .and_then(|(blocks, paths)| Some((blocks.parse().ok()?, paths.strip_suffix(')')?)));
    let Some((blocks, paths)) = parts else {
        return Err(format!("'{text}' has not the form 2x(path|path)"));
    };
    let paths = (1..)
        .zip(paths.split('|'))
        .map(|(p, path)| parse_path(path.trim()).map_err(|reason| format!("path {p}: {reason}")));
    Ok(Stage { blocks, paths: paths.collect::<Result<_, _>>()? })
}

fn parse_path(text: &str) -> Result<Path, String> {
    let narrow = text.strip_prefix("wide:");
    let chain = narrow.unwrap_or(text);
    let (chain, inner) = match chain.rsplit_once(':') {
        Some((chain, "r2")) => (chain, Inner::Reduced),
        Some((chain, "e2")) => (chain, Inner::Expanded),
        _ => (chain, Inner::Same),
    };
    let operations =
        chain.split('+').map(|name| named(name.trim(), &Operation::ALL, Operation::name));
    let operations = operations.collect::<Result<_, _>>()?;
    Ok(Path { operations, inner, wide: narrow.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::lower;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const TEXT: &str = "2x(conv3x3+conv1x1:r2|depthwise5x5),\
        3x(wide:inception_p3x3+maxpool3x3|conv5x5+inception_s5x5:e2|double1x1+conv3x3),\
        2x(inception_s3x3)";

    #[test]
    fn errors_say_what_is_wrong() {
        let network: InceptionNetwork = TEXT.parse().unwrap();
        assert_eq!(network.to_string(), TEXT);
        for (from, to, reason) in [
            (",2x(inception_s3x3)", "", "2 stages are not 3 or 4"),
            ("3x(", "7x(", "stage 2: 7 blocks are not between 2 and 6"),
            ("3x(", "(", "stage 2: '(wide:inception_p3x3"),
            ("wide:", "", "stage 2: not one of its three paths is wide"),
            ("depthwise5x5", "wide:depthwise5x5", "stage 1: path 2: 'wide:depthwise5x5' is wide"),
            ("depthwise5x5", "depthwise5x5:e2", "has not two operations that can change"),
            ("depthwise5x5", "double1x1", "stage 1: path 2: 'double1x1' has no main operation"),
            ("+maxpool3x3", "", "stage 2: path 1: 'wide:inception_p3x3' has fewer than 2"),
            ("conv1x1", "conv1x1+conv1x1", "has more than one supporting operation"),
            ("conv3x3", "conv3x3+conv3x3+conv3x3", "stage 1: 5 operations in 2 paths are over 4"),
            ("conv1x1", "conv7x7", "stage 1: path 1: 'conv7x7' is not one of conv3x3"),
            ("|depthwise5x5", "|conv3x3|conv3x3|conv3x3|conv3x3", "5 paths are not between"),
        ] {
            let error = TEXT.replacen(from, to, 1).parse::<InceptionNetwork>().unwrap_err().reason;
            assert!(error.contains(reason), "{error}");
        }
    }

    /// By hand; 3 D for the bias and the batch normalisation of D channels.
    #[test]
    fn parameters_are_those_of_the_definition() {
        let network: InceptionNetwork = TEXT.parse().unwrap();
        let full = |c: u64, d: u64, kernel: u64| kernel * c * d + 3 * d;
        let stem = full(3, 32, 9);
        // Halving 16 channels leaves 16; the depthwise convolution follows a 1×1 convolution.
        let first = full(32, 16, 9) + full(16, 16, 1) + 32 * 16 + full(1, 16, 25);
        // 64 channels: 32 for the wide path, 16 for the others.
        let wide = |c: u64, reduces: bool| {
            2 * full(c, 16, 3) + if reduces { 2 * full(16, 16, 3) } else { 0 } + 2 * 32
        };
        let expanded = |c: u64| full(c, 32, 25) + full(32, 16, 5) + full(16, 16, 5);
        let double = |c: u64| full(c, 16, 1) + full(16, 16, 1) + full(16, 16, 9);
        let second = |c: u64, reduces: bool| wide(c, reduces) + expanded(c) + double(c);
        let third = |c: u64| full(c, 128, 3) + full(128, 128, 3);
        let stages = 2 * first + second(32, true) + 2 * second(64, false) + third(64) + third(128);
        let head = full(128, 512, 9) + 513 * 10;
        assert_eq!(network.trainable_parameters(), stem + stages + head);
    }

    #[test]
    fn equal_networks_have_one_canonical_form() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let fingerprint = |n: &InceptionNetwork| lower(&n.build()).unwrap().fingerprint();
        for _ in 0..20 {
            let network = InceptionNetwork::sample(&mut rng);
            let mut same = network.clone();
            for stage in &mut same.0 {
                stage.paths.shuffle(&mut rng);
            }
            assert_eq!(same.canonical(), network.canonical());
            assert_eq!(fingerprint(&same), fingerprint(&network), "{network}");
            let mutant = network.mutate(&mut rng);
            let same_form = mutant.canonical() == network.canonical();
            assert_eq!(same_form, fingerprint(&mutant) == fingerprint(&network), "{mutant}");
        }
        let network: InceptionNetwork = TEXT.parse().unwrap();
        let unchanged: InceptionNetwork = TEXT.replace(":r2", "").parse().unwrap();
        assert_eq!(unchanged.canonical(), network.canonical());
        assert_eq!(fingerprint(&unchanged), fingerprint(&network));
    }
}
