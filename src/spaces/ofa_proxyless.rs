//! The ProxylessNAS space of Once-for-All (Cai et al. 2020, arXiv 1908.09791), for ImageNet at
//! width 1.3.
//!
//! A network is written like one of [`ofa_mobilenetv3`](super::ofa_mobilenetv3), but with 21
//! entries in `ks` and `e`, the last for the single block of the sixth stage, and no choice of the
//! width (`wid` may be `None`). A sixth entry of `d` has no effect.
//!
//! All blocks have ReLU6:
//!
//! ```text
//! image    conv 3×3   MBConv   stage 1  stage 2  stage 3   stage 4   stage 5  block    conv 1×1
//! 3×224² ── 40×112² ─ 24×112² ─ 32×56² ─ 56×28² ─ 104×14² ─ 128×14² ─ 248×7² ─ 416×7² ─ 1664×7² ─ pool, linear
//! ```

use super::blocks::{self, Activation};
use super::mbconv::MbConv;
use super::ofa::{CLASSES, Entries, Stage, SubNetwork, divisible};
use super::{Architecture, ParseError, Space};
use crate::model_graph::ModelGraph;
use rand::Rng;
use std::fmt::{self, Display};
use std::str::FromStr;

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OfaProxyless(SubNetwork<21>);

/// `base` channels at width 1.3.
fn channels(base: usize) -> usize {
    divisible(130 * base)
}

impl Architecture for OfaProxyless {
    const SPACE: Space = Space::OfaProxyless;

    /// 2·10²⁰ networks, each at 25 resolutions.
    fn size() -> Option<u128> {
        Some(SubNetwork::<21>::size())
    }

    /// Every entry is drawn by itself, all choices equally likely, as officially.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self(SubNetwork::sample(rng))
    }

    /// Another kernel or expansion of a block that is there, depth of a stage, or resolution.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        Self(self.0.mutate(rng))
    }

    /// Each entry from either parent.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        Self(self.0.crossover(&other.0, rng))
    }

    /// The text form with the smallest choices for blocks that are not there.
    fn canonical(&self) -> String {
        Self(self.0.canonical()).to_string()
    }

    fn identity(&self) -> String {
        self.canonical()
    }

    fn build(&self) -> ModelGraph {
        let name = format!("ofa_proxyless {self}");
        let (mut network, image) = blocks::NetworkBuilder::new(name, self.0.resolution.into());
        let activation = Activation::Relu6;
        let mut x = network.conv(image, channels(32), 3, 2);
        x = network.batch_norm(x);
        x = network.activation(x, activation);
        let first = MbConv {
            kernel: 3,
            stride: 1,
            expanded: channels(32),
            channels: channels(16),
            activation,
            squeeze: None,
        };
        x = first.build(&mut network, x);
        let stages =
            [(24, 2), (40, 2), (80, 2), (96, 1), (192, 2), (320, 1)].map(|(base, stride)| Stage {
                channels: channels(base),
                stride,
                activation,
                squeeze: false,
            });
        x = self.0.build(&mut network, x, stages);
        x = network.conv(x, channels(1280), 1, 1);
        x = network.batch_norm(x);
        x = network.activation(x, activation);
        network.classify(x, CLASSES)
    }

    /// Kernel and expansion of every block, depth of every stage, resolution.
    fn decisions() -> Vec<usize> {
        SubNetwork::<21>::decisions()
    }

    /// Choices for blocks that are not there are of no effect.
    fn decide(choices: &[usize]) -> Option<Self> {
        SubNetwork::decide(choices).map(Self)
    }
}

impl Display for OfaProxyless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.0)
    }
}

impl FromStr for OfaProxyless {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|reason| Self::SPACE.error(text, reason))
    }
}

fn parse(text: &str) -> Result<OfaProxyless, String> {
    let entries = Entries::parse(text, &["ks", "e", "d", "wid"])?;
    match entries.optional("wid") {
        Some(width) if width.as_f64() != Some(1.3) => Err(format!("'wid': {width} is not 1.3")),
        _ => Ok(OfaProxyless(SubNetwork::read(&entries)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::lower;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn only_the_blocks_that_are_there_matter() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let fingerprint = |n: &OfaProxyless| lower(&n.build()).unwrap().fingerprint();
        for _ in 0..10 {
            let network = OfaProxyless::sample(&mut rng);
            let canonical: OfaProxyless = network.canonical().parse().unwrap();
            assert_eq!(fingerprint(&network), fingerprint(&canonical), "{network}");
            let mutant = network.mutate(&mut rng);
            assert_ne!(mutant.canonical(), network.canonical(), "{mutant}");
            assert_ne!(fingerprint(&network), fingerprint(&mutant), "{network} and {mutant}");
        }
    }

    #[test]
    fn the_sixth_depth_may_be_left_out() {
        let read = |d: &str| format!("{{'ks': 3, 'e': 6, 'd': {d}}}").parse::<OfaProxyless>();
        let network = read("[2, 3, 4, 2, 3]");
        assert!(network.is_ok());
        assert_eq!(read("[2, 3, 4, 2, 3, 4]"), network);
        let error = read("[2, 3, 4, 2]").unwrap_err().to_string();
        assert!(error.ends_with("'d' has 4 entries instead of 5"), "{error}");
    }
}
