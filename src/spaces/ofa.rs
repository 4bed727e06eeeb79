//! What the three Once-for-All spaces share: encodings, resolutions and channel counts.

use super::blocks::{Activation, NetworkBuilder};
use super::choices::{Decisions, another, either, one_of};
use super::literal;
use super::mbconv::{MbConv, SqueezeExcitation};
use crate::model_graph::ValueId;
use rand::Rng;
use serde_json::{Map, Value};
use std::fmt::{self, Display};

pub(super) const CLASSES: usize = 1000;

/// Rows and columns of images: 128 to 224 in steps of 4.
pub(super) const RESOLUTIONS: [u8; 25] = {
    let mut resolutions = [0; 25];
    let mut i = 0;
    while i < 25 {
        resolutions[i] = 128 + 4 * i as u8;
        i += 1;
    }
    resolutions
};

/// A number of channels, given in hundredths, rounded to a multiple of 8 that is not more than a
/// tenth too small.
pub(super) fn divisible(hundredths: usize) -> usize {
    let rounded = ((hundredths + 400) / 800 * 8).max(8);
    if 1000 * rounded < 9 * hundredths { rounded + 8 } else { rounded }
}

/// The entries of an encoding.
pub(super) struct Entries(Map<String, Value>);

impl Entries {
    /// Reads a dict with no keys but these and those of the resolution.
    pub fn parse(text: &str, keys: &[&str]) -> Result<Self, String> {
        let Value::Object(entries) = literal::parse(text)? else {
            return Err(format!("it is not a dict with the keys {}", keys.join(", ")));
        };
        let known = |key: &str| keys.contains(&key) || matches!(key, "r" | "image_size");
        match entries.keys().find(|key| !known(key)) {
            Some(key) => Err(format!("it has the key '{key}'; there are {}, r", keys.join(", "))),
            None => Ok(Self(entries)),
        }
    }

    /// The value of a key that may be left out or `None`.
    pub fn optional(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A list of `length` choices, written as their values; one value stands for equal ones. Gives
    /// their positions among the choices. An entry that is not `used` may also be 0.
    pub fn list(
        &self,
        key: &str,
        length: usize,
        choices: impl Fn(usize) -> &'static [f64],
        used: impl Fn(usize) -> bool,
    ) -> Result<Vec<usize>, String> {
        let value = self.optional(key).ok_or_else(|| format!("it has no '{key}'"))?;
        let items = match value {
            Value::Array(items) if items.len() == length => items.clone(),
            Value::Array(items) => {
                return Err(format!("'{key}' has {} entries instead of {length}", items.len()));
            }
            value => vec![value.clone(); length],
        };
        let position = |(i, item): (usize, &Value)| {
            let same = |choice: &f64| item.as_f64().is_some_and(|x| (x - choice).abs() < 1e-9);
            match choices(i).iter().position(same) {
                Some(position) => Ok(position),
                None if !used(i) && item.as_f64() == Some(0.0) => Ok(0),
                None => {
                    let names: Vec<String> = choices(i).iter().map(f64::to_string).collect();
                    let names = names.join(", ");
                    Err(format!("'{key}', entry {}: {item} is not one of {names}", i + 1))
                }
            }
        };
        items.iter().enumerate().map(position).collect()
    }

    /// The resolution, 224 when it is not given.
    pub fn resolution(&self) -> Result<u8, String> {
        let Some(value) = self.optional("r").or_else(|| self.optional("image_size")) else {
            return Ok(224);
        };
        let item = match value {
            Value::Array(items) if items.len() == 1 => &items[0],
            value => value,
        };
        literal::integer(item)
            .filter(|r| RESOLUTIONS.contains(r))
            .ok_or_else(|| format!("resolution {item} is not one of 128, 132, ..., 224"))
    }
}

const KERNELS: [u8; 3] = [3, 5, 7];
const EXPANSIONS: [u8; 3] = [3, 4, 6];
const DEPTHS: [u8; 3] = [2, 3, 4];
/// Stages whose depth can be chosen, and how deep they can be.
const STAGES: usize = 5;
const MAX_DEPTH: usize = 4;

/// A sub-network of MBConv blocks: what is chosen of each of `LAYERS` blocks and each of five
/// stages, which have up to four of the blocks. Blocks after the fifth stage are always there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SubNetwork<const LAYERS: usize> {
    kernels: [u8; LAYERS],
    expansions: [u8; LAYERS],
    depths: [u8; STAGES],
    pub resolution: u8,
}

/// A stage of MBConv blocks.
pub(super) struct Stage {
    pub channels: usize,
    /// Of the first block.
    pub stride: i64,
    pub activation: Activation,
    pub squeeze: bool,
}

impl<const LAYERS: usize> SubNetwork<LAYERS> {
    /// The numbers of sub-networks that do not compute the same functions.
    pub fn size() -> u128 {
        let of_stage: u128 = DEPTHS.iter().map(|&depth| 9u128.pow(u32::from(depth))).sum();
        let rest = LAYERS - STAGES * MAX_DEPTH;
        25 * of_stage.pow(STAGES as u32) * 9u128.pow(rest as u32)
    }

    /// Every entry is drawn by itself, all choices equally likely.
    pub fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self {
            kernels: std::array::from_fn(|_| one_of(&KERNELS, rng)),
            expansions: std::array::from_fn(|_| one_of(&EXPANSIONS, rng)),
            depths: std::array::from_fn(|_| one_of(&DEPTHS, rng)),
            resolution: one_of(&RESOLUTIONS, rng),
        }
    }

    /// Another kernel or expansion of a block that is there, depth of a stage, or resolution.
    pub fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        let mut new = self.clone();
        let blocks: Vec<usize> = (0..LAYERS).filter(|&i| self.is_used(i)).collect();
        match rng.gen_range(0..2 * blocks.len() + STAGES + 1) {
            0 => new.resolution = another(&RESOLUTIONS, self.resolution, rng),
            i if i <= STAGES => new.depths[i - 1] = another(&DEPTHS, self.depths[i - 1], rng),
            i => {
                let i = i - STAGES - 1;
                let block = blocks[i / 2];
                let (list, choices) = match i % 2 {
                    0 => (&mut new.kernels, &KERNELS),
                    _ => (&mut new.expansions, &EXPANSIONS),
                };
                list[block] = another(choices, list[block], rng);
            }
        }
        new
    }

    /// Each entry from either parent.
    pub fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        Self {
            kernels: std::array::from_fn(|i| either(self.kernels[i], other.kernels[i], rng)),
            expansions: std::array::from_fn(|i| {
                either(self.expansions[i], other.expansions[i], rng)
            }),
            depths: std::array::from_fn(|i| either(self.depths[i], other.depths[i], rng)),
            resolution: either(self.resolution, other.resolution, rng),
        }
    }

    /// The same with the smallest choices for blocks that are not there.
    pub fn canonical(&self) -> Self {
        let mut new = self.clone();
        for i in (0..LAYERS).filter(|&i| !self.is_used(i)) {
            (new.kernels[i], new.expansions[i]) = (KERNELS[0], EXPANSIONS[0]);
        }
        new
    }

    /// The kernel and the expansion of every block, the depth of every stage, the resolution.
    pub fn decisions() -> Vec<usize> {
        let mut options = vec![KERNELS.len(); LAYERS];
        options.extend([EXPANSIONS.len(); LAYERS]);
        options.extend([DEPTHS.len(); STAGES]);
        options.push(RESOLUTIONS.len());
        options
    }

    /// The [canonical](Self::canonical) sub-network of these decisions.
    pub fn decide(choices: &[usize]) -> Option<Self> {
        let mut choices = Decisions::new(choices, &Self::decisions())?;
        let network = Self {
            kernels: std::array::from_fn(|_| choices.one_of(&KERNELS)),
            expansions: std::array::from_fn(|_| choices.one_of(&EXPANSIONS)),
            depths: std::array::from_fn(|_| choices.one_of(&DEPTHS)),
            resolution: choices.one_of(&RESOLUTIONS),
        };
        Some(network.canonical())
    }

    fn is_used(&self, block: usize) -> bool {
        is_used(&self.depths, block)
    }

    /// Reads `ks`, `e` and `d`; what the latter says of stages after the fifth is of no effect and
    /// may be left out.
    pub fn read(entries: &Entries) -> Result<Self, String> {
        let given = entries.optional("d").and_then(Value::as_array).map_or(0, Vec::len);
        let length =
            if LAYERS > STAGES * MAX_DEPTH && given == STAGES + 1 { given } else { STAGES };
        let depths = entries.list(
            "d",
            length,
            |i| match i {
                STAGES => &[1.0, 2.0, 3.0, 4.0],
                _ => &[2.0, 3.0, 4.0],
            },
            |_| true,
        )?;
        let depths: [u8; STAGES] = std::array::from_fn(|i| DEPTHS[depths[i]]);
        let list = |key, values| entries.list(key, LAYERS, |_| values, |i| is_used(&depths, i));
        let (kernels, expansions) = (list("ks", &[3.0, 5.0, 7.0])?, list("e", &[3.0, 4.0, 6.0])?);
        Ok(Self {
            kernels: std::array::from_fn(|i| KERNELS[kernels[i]]),
            expansions: std::array::from_fn(|i| EXPANSIONS[expansions[i]]),
            depths,
            resolution: entries.resolution()?,
        })
    }

    /// Builds the blocks that are there.
    pub fn build<const N: usize>(
        &self,
        network: &mut NetworkBuilder,
        mut x: ValueId,
        stages: [Stage; N],
    ) -> ValueId {
        for i in (0..LAYERS).filter(|&i| self.is_used(i)) {
            let stage = &stages[i / MAX_DEPTH];
            let expanded = network.channels(x) * usize::from(self.expansions[i]);
            let block = MbConv {
                kernel: i64::from(self.kernels[i]),
                stride: if i % MAX_DEPTH == 0 { stage.stride } else { 1 },
                expanded,
                channels: stage.channels,
                activation: stage.activation,
                squeeze: stage.squeeze.then(|| SqueezeExcitation {
                    channels: divisible(100 * (expanded / 4)),
                    activation: Activation::Relu,
                    gate: Activation::HardSigmoid,
                }),
            };
            x = block.build(network, x);
        }
        x
    }
}

fn is_used(depths: &[u8; STAGES], block: usize) -> bool {
    depths.get(block / MAX_DEPTH).is_none_or(|&depth| block % MAX_DEPTH < usize::from(depth))
}

/// The entries `ks`, `e`, `d` and `r` of a dict.
impl<const LAYERS: usize> Display for SubNetwork<LAYERS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kernels, expansions) = (literal::list(self.kernels), literal::list(self.expansions));
        // The official code wants a depth for the stage of one block, too.
        let single = (LAYERS > STAGES * MAX_DEPTH).then_some(1);
        let depths = literal::list(self.depths.iter().chain(&single));
        let r = self.resolution;
        write!(f, r#""ks":{kernels},"e":{expansions},"d":{depths},"r":{r}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the official `make_divisible(v, 8)`.
    #[test]
    fn channels_are_rounded_as_officially() {
        for (hundredths, channels) in
            [(1920, 24), (13_440, 136), (4160, 40), (2080, 24), (600, 8), (5200, 56), (16_640, 168)]
        {
            assert_eq!(divisible(hundredths), channels, "{hundredths}");
        }
    }
}
