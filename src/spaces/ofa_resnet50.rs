//! The ResNet-50 space of Once-for-All (Cai et al. 2020, arXiv 1908.09791), for ImageNet.
//!
//! A network is written as the dict that the official code samples, in JSON or as Python prints
//! it: `{"d": [...], "e": [...], "w": [...], "r": 224}`.
//!
//! - `d`: whether the stem has its residual block (2) or not (0), then how many blocks each of the
//!   four stages has beyond 2, 2, 4 and 2 (0, 1 or 2).
//! - `e`: channels between the convolutions of each of 18 bottleneck blocks, for each channel of
//!   its output (0.2, 0.25 or 0.35). Entries of blocks that are not there, the last ones of a
//!   stage, have no effect and may be 0.
//! - `w`: which width (0 for 0.65, 1 for 0.8, 2 for 1.0) the stem's inner channels, its output and
//!   the four stages have.
//! - `r`: the resolution (128 to 224 in steps of 4; 224 when left out).
//!
//! Blocks are those of ResNet-D: where the shape changes, the shortcut is average pooling and a
//! 1×1 convolution. Channels at width 1.0:
//!
//! ```text
//! image    conv 3×3   block, conv 3×3  max pool  stage 1   stage 2   stage 3    stage 4
//! 3×224² ── 32×112² ───── 64×112² ───── 64×56² ─ 256×56² ─ 512×28² ─ 1024×14² ─ 2048×7² ─ pool, linear
//! ```

use super::blocks::{self, ConvSpec};
use super::choices::{Decisions, another, either, one_of};
use super::ofa::{CLASSES, Entries, RESOLUTIONS, divisible};
use super::{Architecture, ParseError, Space, literal};
use crate::model_graph::{ModelGraph, ValueId};
use rand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

const STAGES: usize = 4;
/// Smallest number of blocks of each stage; there may be two more.
const FEWEST: [usize; STAGES] = [2, 2, 4, 2];
const CHANNELS: [usize; STAGES] = [256, 512, 1024, 2048];
const STEM_CHANNELS: usize = 64;
const BLOCKS: usize = 18;
/// In hundredths.
const WIDTHS: [usize; 3] = [65, 80, 100];
const EXPANSIONS: &[f64] = &[0.2, 0.25, 0.35];
/// [`EXPANSIONS`] in hundredths.
const HUNDREDTHS: [usize; 3] = [20, 25, 35];
/// Additional blocks of a stage, and positions among widths or expansions.
const CHOICES: [u8; 3] = [0, 1, 2];

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OfaResNet50 {
    /// Whether the stem has its residual block.
    stem_block: bool,
    /// How many more blocks than the fewest each stage has.
    depths: [u8; STAGES],
    /// Positions among the expansions.
    expansions: [u8; BLOCKS],
    /// Positions among the widths: of the stem's inner channels, its output and the stages.
    widths: [u8; STAGES + 2],
    resolution: u8,
}

impl OfaResNet50 {
    /// Stage and position of the blocks that there can be.
    fn positions() -> impl Iterator<Item = (usize, usize)> {
        (0..STAGES).flat_map(|stage| (0..FEWEST[stage] + 2).map(move |i| (stage, i)))
    }

    /// Whether each block is there.
    fn used(depths: [u8; STAGES]) -> [bool; BLOCKS] {
        let mut used = [false; BLOCKS];
        for (block, (stage, i)) in used.iter_mut().zip(Self::positions()) {
            *block = i < FEWEST[stage] + usize::from(depths[stage]);
        }
        used
    }

    /// The same with the smallest choices where they are of no effect.
    fn reduced(&self) -> Self {
        let mut new = self.clone();
        for (expansion, used) in new.expansions.iter_mut().zip(Self::used(self.depths)) {
            *expansion *= u8::from(used);
        }
        if new.widths[0] == 1 {
            new.widths[0] = 0;
        }
        new
    }

    fn width(&self, position: usize) -> usize {
        WIDTHS[usize::from(self.widths[position])]
    }

    /// Channels of the stem's output.
    fn stem_channels(width: usize) -> usize {
        divisible(STEM_CHANNELS * width)
    }
}

impl Architecture for OfaResNet50 {
    const SPACE: Space = Space::OfaResNet50;

    /// Networks with different encodings that do not differ in what is not there, as the paper
    /// counts in the other spaces, each at 25 resolutions: 6·10¹³.
    fn size() -> Option<u128> {
        let stages =
            FEWEST.map(|fewest| 3 * (0..3).map(|d| 3u128.pow(fewest as u32 + d)).sum::<u128>());
        Some(25 * 2 * 9 * stages.iter().product::<u128>())
    }

    /// Every entry is drawn by itself, all choices equally likely, as officially.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self {
            stem_block: rng.r#gen(),
            depths: std::array::from_fn(|_| one_of(&CHOICES, rng)),
            expansions: std::array::from_fn(|_| one_of(&CHOICES, rng)),
            widths: std::array::from_fn(|_| one_of(&CHOICES, rng)),
            resolution: one_of(&RESOLUTIONS, rng),
        }
    }

    /// The stem's block switched, or another depth of a stage, expansion of a block that is there,
    /// width or resolution.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        let mut new = self.clone();
        let used = Self::used(self.depths);
        let entries = new.depths.iter_mut().chain(&mut new.widths);
        let used = new.expansions.iter_mut().zip(used).filter_map(|(e, used)| used.then_some(e));
        let mut entries: Vec<&mut u8> = entries.chain(used).collect();
        match rng.gen_range(0..entries.len() + 2) {
            0 => new.stem_block = !self.stem_block,
            1 => new.resolution = another(&RESOLUTIONS, self.resolution, rng),
            i => *entries[i - 2] = another(&CHOICES, *entries[i - 2], rng),
        }
        new
    }

    /// Each entry from either parent.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        Self {
            stem_block: either(self.stem_block, other.stem_block, rng),
            depths: std::array::from_fn(|i| either(self.depths[i], other.depths[i], rng)),
            expansions: std::array::from_fn(|i| {
                either(self.expansions[i], other.expansions[i], rng)
            }),
            widths: std::array::from_fn(|i| either(self.widths[i], other.widths[i], rng)),
            resolution: either(self.resolution, other.resolution, rng),
        }
    }

    /// The text form with the smallest choices for blocks that are not there, and for the stem's
    /// inner channels, which widths 0.65 and 0.8 round to the same number.
    fn canonical(&self) -> String {
        self.reduced().to_string()
    }

    fn identity(&self) -> String {
        self.canonical()
    }

    fn build(&self) -> ModelGraph {
        let name = format!("ofa_resnet50 {self}");
        let (mut network, image) = blocks::NetworkBuilder::new(name, self.resolution.into());
        let inner = divisible(100 * (Self::stem_channels(self.width(0)) / 2));
        let mut x = network.conv(image, inner, 3, 2);
        x = network.batch_norm(x);
        x = network.relu(x);
        if self.stem_block {
            let block = network.conv_bn_relu(x, inner, 3);
            x = network.add(block, x);
        }
        x = network.conv_bn_relu(x, Self::stem_channels(self.width(1)), 3);
        x = network.max_pool(x, 3, 2, 1);
        let blocks = Self::positions().zip(self.expansions).zip(Self::used(self.depths));
        for (((stage, i), expansion), _) in blocks.filter(|&(_, used)| used) {
            let channels = divisible(CHANNELS[stage] * self.width(stage + 2));
            let inner = channels * HUNDREDTHS[usize::from(expansion)];
            // Rounded to a whole number before it is rounded to a multiple of 8.
            let inner = divisible((inner + 50) / 100 * 100);
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = bottleneck(&mut network, x, inner, channels, stride);
        }
        network.classify(x, CLASSES)
    }

    /// The entries of `d`, `e` and `w`, and the resolution.
    fn decisions() -> Vec<usize> {
        let mut options = vec![2];
        options.extend([CHOICES.len(); STAGES + BLOCKS + STAGES + 2]);
        options.push(RESOLUTIONS.len());
        options
    }

    /// Choices for blocks that are not there are of no effect.
    fn decide(choices: &[usize]) -> Option<Self> {
        let mut choices = Decisions::new(choices, &Self::decisions())?;
        let network = Self {
            stem_block: choices.one_of(&[false, true]),
            depths: std::array::from_fn(|_| choices.one_of(&CHOICES)),
            expansions: std::array::from_fn(|_| choices.one_of(&CHOICES)),
            widths: std::array::from_fn(|_| choices.one_of(&CHOICES)),
            resolution: choices.one_of(&RESOLUTIONS),
        };
        Some(network.reduced())
    }
}

fn bottleneck(
    network: &mut blocks::NetworkBuilder,
    input: ValueId,
    inner: usize,
    channels: usize,
    stride: i64,
) -> ValueId {
    let x = network.conv_bn_relu(input, inner, 1);
    let x = network.convolution(x, inner, ConvSpec::square(3, stride));
    let x = network.batch_norm(x);
    let x = network.relu(x);
    let x = network.conv(x, channels, 1, 1);
    let x = network.batch_norm(x);
    let mut shortcut = input;
    if stride > 1 || network.channels(input) != channels {
        if stride > 1 {
            shortcut = network.average_pool_to_ceiling(shortcut, stride);
        }
        shortcut = network.conv(shortcut, channels, 1, 1);
        shortcut = network.batch_norm(shortcut);
    }
    let x = network.add(x, shortcut);
    network.relu(x)
}

impl Display for OfaResNet50 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stem = if self.stem_block { 2 } else { 0 };
        let depths = literal::list([stem].iter().chain(&self.depths));
        let expansions = literal::list(self.expansions.map(|e| EXPANSIONS[usize::from(e)]));
        let (widths, r) = (literal::list(self.widths), self.resolution);
        write!(f, r#"{{"d":{depths},"e":{expansions},"w":{widths},"r":{r}}}"#)
    }
}

impl FromStr for OfaResNet50 {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|reason| Self::SPACE.error(text, reason))
    }
}

fn parse(text: &str) -> Result<OfaResNet50, String> {
    let entries = Entries::parse(text, &["d", "e", "w"])?;
    let positions = &[0.0, 1.0, 2.0];
    let list = |key, length| entries.list(key, length, |_| positions, |_| true);
    let (depths, widths) = (list("d", STAGES + 1)?, list("w", STAGES + 2)?);
    let stem_block = depths[0] == 2;
    let depths: [u8; STAGES] = std::array::from_fn(|i| CHOICES[depths[i + 1]]);
    let used = OfaResNet50::used(depths);
    let expansions = entries.list("e", BLOCKS, |_| EXPANSIONS, |i| used[i])?;
    Ok(OfaResNet50 {
        // The official code leaves the block out for 0 and 1 alike.
        stem_block,
        depths,
        expansions: std::array::from_fn(|i| CHOICES[expansions[i]]),
        widths: std::array::from_fn(|i| CHOICES[widths[i]]),
        resolution: entries.resolution()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::lower;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn fingerprint(network: &OfaResNet50) -> crate::graph::Fingerprint {
        lower(&network.build()).unwrap().fingerprint()
    }

    #[test]
    fn equal_canonical_forms_are_equal_graphs() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..20 {
            let network = OfaResNet50::sample(&mut rng);
            let canonical: OfaResNet50 = network.canonical().parse().unwrap();
            assert_eq!(canonical.canonical(), network.canonical());
            assert_eq!(fingerprint(&network), fingerprint(&canonical), "{network}");
            let mutant = network.mutate(&mut rng);
            let same = mutant.canonical() == network.canonical();
            assert_eq!(fingerprint(&mutant) == fingerprint(&network), same, "{network}, {mutant}");
        }
    }

    /// The stem's inner channels are 24 at both.
    #[test]
    fn two_widths_of_the_stem_are_the_same() {
        let read = |w| format!("{{'d': 1, 'e': 0.25, 'w': {w}}}").parse::<OfaResNet50>().unwrap();
        let [a, b, c] = ["[0, 2, 2, 2, 2, 2]", "[1, 2, 2, 2, 2, 2]", "2"].map(read);
        assert_eq!((a.canonical(), fingerprint(&a)), (b.canonical(), fingerprint(&b)));
        assert_ne!((a.canonical(), fingerprint(&a)), (c.canonical(), fingerprint(&c)));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let good = "{'d': [0, 2, 2, 2, 2], 'e': 0.25, 'w': 2, 'r': 224}";
        assert!(good.parse::<OfaResNet50>().is_ok());
        for (from, to, reason) in [
            ("[0, 2", "[0, 3", "'d', entry 2: 3 is not one of 0, 1, 2"),
            ("[0, 2, 2, 2, 2]", "[0, 2, 2, 2]", "'d' has 4 entries instead of 5"),
            ("0.25", "0.3", "'e', entry 1: 0.3 is not one of 0.2, 0.25, 0.35"),
            ("0.25", "0", "'e', entry 1: 0 is not one of 0.2, 0.25, 0.35"),
            ("'w': 2", "'w': 1.0e9", "'w', entry 1: 1000000000.0 is not one of 0, 1, 2"),
            ("'w'", "'ks'", "it has the key 'ks'; there are d, e, w, r"),
        ] {
            let error = good.replacen(from, to, 1).parse::<OfaResNet50>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
