//! Plain convolutional networks for CIFAR-10: the space of MetaQNN (Baker et al. 2017, "Designing
//! Neural Network Architectures using Reinforcement Learning", arXiv 1611.02167).
//!
//! A network is written as the authors' list of layers, such as
//! `[C(64,3,1), P(2,2), D(1,2), C(128,5,1), GAP(10), SM(10)]`:
//!
//! | layer | |
//! | --- | --- |
//! | `C(n,k,1)` | k×k convolution (1, 3 or 5) to n channels (64, 128, 256 or 512), padded, with bias and ReLU |
//! | `P(k,s)` | maximum over k×k windows with stride s (`P(5,3)`, `P(3,2)` or `P(2,2)`), not padded |
//! | `FC(n)` | fully connected layer of n units (128, 256 or 512), with bias and ReLU |
//! | `GAP(10)` | 1×1 convolution to the classes with bias and ReLU, global average pooling |
//! | `D(i,n)` | dropout, the ith of n |
//! | `SM(10)` | linear classifier, and the softmax of the loss |
//!
//! Up to 18 layers stand before `SM`, the first a convolution. Nothing but `FC` and `SM` follows
//! `FC`, and nothing but `SM` follows `GAP`. Pooling follows convolutions only. On maps of four to
//! seven rows windows have at most three; on smaller ones there are neither convolutions nor
//! pooling. There are up to two `FC`, where maps have at most seven rows, the second not larger
//! than the first.
//!
//! Dropout has no part in the estimate: it is read over and printed where the authors put it,
//! after every second layer and each `FC`.
//!
//! ```text
//! image  ┌─ up to 18 layers ───────┐
//! 3×32² ─┤ C ─ C ─ P ─ C ─ P ─ ... ├─┬──────────────┬─ SM
//!        └─────────────────────────┘ ├─ GAP ────────┤
//!                                    └─ FC ─ (FC) ──┘
//! ```
//!
//! Pooling rounds the number of windows down, as the authors' rules for layers and their numbers
//! of parameters have it. (Caffe, with which they trained, rounds up.)

use super::blocks::{self, ConvSpec};
use super::{Architecture, ParseError, Space};
use crate::model_graph::ModelGraph;
use rand::Rng;
use rand::seq::SliceRandom;
use std::fmt::{self, Display};
use std::str::FromStr;

const CLASSES: usize = 10;
const RESOLUTION: usize = 32;
const MAX_LAYERS: usize = 18;
const CHANNELS: [usize; 4] = [64, 128, 256, 512];
const KERNELS: [usize; 3] = [1, 3, 5];
/// Kernels and strides.
const POOLS: [(usize, usize); 3] = [(5, 3), (3, 2), (2, 2)];
const UNITS: [usize; 3] = [512, 256, 128];
const MAX_FULLY_CONNECTED: usize = 2;

/// A layer other than dropout and the classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// Convolution with bias and ReLU that keeps the resolution.
    Convolution {
        /// Of the output.
        channels: usize,
        /// Rows and columns.
        kernel: usize,
    },
    /// Maximum over windows.
    MaxPool {
        /// Rows and columns.
        kernel: usize,
        /// Along rows and columns.
        stride: usize,
    },
    /// Fully connected layer with ReLU.
    FullyConnected {
        /// Of the output.
        units: usize,
    },
    /// 1×1 convolution to the classes with ReLU, and the mean of each.
    GlobalAveragePool,
}

/// A network: its layers but dropout and the classifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlainNetwork(Vec<Layer>);

impl PlainNetwork {
    /// The layers but dropout and the classifier, from the image on.
    pub fn layers(&self) -> &[Layer] {
        &self.0
    }
}

/// What the rules for the next layer depend on.
#[derive(Clone, Copy)]
struct State {
    layers: usize,
    last: Option<Layer>,
    rows: usize,
    fully_connected: usize,
}

impl State {
    const START: Self = Self { layers: 0, last: None, rows: RESOLUTION, fully_connected: 0 };

    /// Every layer that may come next.
    fn next(self) -> Vec<Layer> {
        let mut layers = Vec::new();
        if self.layers == MAX_LAYERS {
            return layers;
        }
        // Windows are smaller than this.
        let bound = match self.rows {
            0..=3 => 1,
            4..=7 => 4,
            _ => 8,
        };
        let units = |most| UNITS.into_iter().filter(move |&u| u <= most);
        let fully_connected = |units| Layer::FullyConnected { units };
        let on_maps =
            matches!(self.last, None | Some(Layer::Convolution { .. } | Layer::MaxPool { .. }));
        if on_maps {
            for channels in CHANNELS {
                let kernels = KERNELS.into_iter().filter(|&k| k < bound);
                layers.extend(kernels.map(|kernel| Layer::Convolution { channels, kernel }));
            }
        }
        match self.last {
            None | Some(Layer::GlobalAveragePool) => return layers,
            Some(Layer::FullyConnected { units: most }) => {
                if self.fully_connected < MAX_FULLY_CONNECTED {
                    layers.extend(units(most).map(fully_connected));
                }
                return layers;
            }
            Some(Layer::Convolution { .. }) => {
                let pools = POOLS.into_iter().filter(|&(kernel, _)| kernel < bound);
                layers.extend(pools.map(|(kernel, stride)| Layer::MaxPool { kernel, stride }));
            }
            Some(Layer::MaxPool { .. }) => {}
        }
        layers.push(Layer::GlobalAveragePool);
        if bound <= 4 {
            layers.extend(units(UNITS[0]).map(fully_connected));
        }
        layers
    }

    fn after(self, layer: Layer) -> Self {
        Self {
            layers: self.layers + 1,
            last: Some(layer),
            rows: match layer {
                Layer::MaxPool { kernel, stride } => (self.rows - kernel) / stride + 1,
                _ => self.rows,
            },
            fully_connected: self.fully_connected
                + usize::from(matches!(layer, Layer::FullyConnected { .. })),
        }
    }
}

/// The first layer that may not stand where it stands.
fn misplaced(layers: &[Layer]) -> Option<usize> {
    let mut state = State::START;
    layers.iter().position(|&layer| {
        let allowed = state.next().contains(&layer);
        if allowed {
            state = state.after(layer);
        }
        !allowed
    })
}

fn is_valid(layers: &[Layer]) -> bool {
    !layers.is_empty() && misplaced(layers).is_none()
}

impl Architecture for PlainNetwork {
    const SPACE: Space = Space::Plain;

    /// The authors give no number.
    fn size() -> Option<u128> {
        None
    }

    /// The authors' random walk: after each layer, ending and every layer that may follow are
    /// equally likely, so short networks are as well.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self {
        let mut layers = Vec::new();
        let mut state = State::START;
        loop {
            let next = state.next();
            let end = usize::from(!layers.is_empty());
            let Some(&layer) = next.get(rng.gen_range(0..next.len() + end)) else {
                return Self(layers);
            };
            layers.push(layer);
            state = state.after(layer);
        }
    }

    /// Another layer in one place, a layer left out or one put in; all neighbours that are in the
    /// space are equally likely.
    fn mutate<R: Rng + ?Sized>(&self, rng: &mut R) -> Self {
        let mut neighbours = Vec::new();
        let mut state = State::START;
        for place in 0..=self.0.len() {
            let (head, tail) = self.0.split_at(place);
            let mut consider = |new: Option<Layer>, tail: &[Layer]| {
                let layers: Vec<Layer> =
                    head.iter().copied().chain(new).chain(tail.iter().copied()).collect();
                if layers != self.0 && is_valid(&layers) {
                    neighbours.push(layers);
                }
            };
            for layer in state.next() {
                consider(Some(layer), tail);
                consider(Some(layer), tail.get(1..).unwrap_or(&[]));
            }
            if let Some((&layer, rest)) = tail.split_first() {
                consider(None, rest);
                state = state.after(layer);
            }
        }
        // Inserting equal layers side by side gives the same neighbour more than once.
        neighbours.sort_unstable();
        neighbours.dedup();
        Self(neighbours.choose(rng).cloned().unwrap_or_else(|| self.0.clone()))
    }

    /// The first layers of this network and the others of the other one, cut in the same place;
    /// all places that give a network of the space are equally likely.
    fn crossover<R: Rng + ?Sized>(&self, other: &Self, rng: &mut R) -> Self {
        let shorter = self.0.len().min(other.0.len());
        let children: Vec<Vec<Layer>> = (0..=shorter)
            .map(|cut| [&self.0[..cut], &other.0[cut..]].concat())
            .filter(|layers| is_valid(layers))
            .collect();
        // Cut before the first layer it is the other parent, so there is always one.
        Self(children.choose(rng).unwrap_or(&other.0).clone())
    }

    /// The text form: networks that differ only in dropout are equal.
    fn canonical(&self) -> String {
        self.to_string()
    }

    fn build(&self) -> ModelGraph {
        let (mut network, mut x) = blocks::NetworkBuilder::new(format!("plain {self}"), RESOLUTION);
        let biased = |kernel| ConvSpec { bias: true, ..ConvSpec::square(kernel, 1) };
        for &layer in &self.0 {
            x = match layer {
                Layer::Convolution { channels, kernel } => {
                    let x = network.convolution(x, channels, biased(kernel as i64));
                    network.relu(x)
                }
                Layer::MaxPool { kernel, stride } => {
                    network.max_pool(x, kernel as i64, stride as i64, 0)
                }
                Layer::FullyConnected { units } => {
                    let x = network.linear(x, units);
                    network.relu(x)
                }
                Layer::GlobalAveragePool => {
                    let x = network.convolution(x, CLASSES, biased(1));
                    let x = network.relu(x);
                    network.global_average_pool(x)
                }
            };
        }
        let logits = network.linear(x, CLASSES);
        network.finish(logits)
    }
}

impl Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Convolution { channels, kernel } => write!(f, "C({channels},{kernel},1)"),
            Self::MaxPool { kernel, stride } => write!(f, "P({kernel},{stride})"),
            Self::FullyConnected { units } => write!(f, "FC({units})"),
            Self::GlobalAveragePool => write!(f, "GAP({CLASSES})"),
        }
    }
}

impl Display for PlainNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_fully_connected = |layer: &Layer| matches!(layer, Layer::FullyConnected { .. });
        // The authors' list ends with a second copy of the last layer, which stands for the
        // classifier and enters these numbers.
        let states = || self.0.iter().chain(self.0.last());
        let fully_connected = states().filter(|l| is_fully_connected(l)).count();
        let means = states().filter(|&&l| l == Layer::GlobalAveragePool).count();
        let most = (self.0.len() + 1 - means - fully_connected) / 2 + fully_connected;
        let mut dropouts = 0;
        f.write_str("[")?;
        for (i, layer) in self.0.iter().enumerate() {
            write!(f, "{layer}, ")?;
            let dropout = (i % 2 == 1 || is_fully_connected(layer))
                && *layer != Layer::GlobalAveragePool
                && dropouts < most;
            if dropout {
                dropouts += 1;
                write!(f, "D({dropouts},{most}), ")?;
            }
        }
        write!(f, "SM({CLASSES})]")
    }
}

impl FromStr for PlainNetwork {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|reason| Self::SPACE.error(text, reason))
    }
}

fn parse(text: &str) -> Result<PlainNetwork, String> {
    let inner = text.trim().strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let inner = inner.ok_or("it is not enclosed in '[' and ']'")?;
    let mut rest = inner.trim_start();
    let mut layers = Vec::new();
    let mut classified = false;
    while !rest.is_empty() {
        let (item, tail) = rest.split_once(')').ok_or_else(|| format!("'{rest}' has no ')'"))?;
        let tail = tail.trim_start();
        rest = match tail.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if tail.is_empty() => tail,
            None => return Err(format!("there is no ',' after '{item})'")),
        };
        if classified {
            return Err(format!("'{item})' follows SM"));
        }
        let (name, numbers) = numbers(item)?;
        let layer = match (name, numbers.as_slice()) {
            ("C", &[channels, kernel, 1]) => Layer::Convolution { channels, kernel },
            ("P", &[kernel, stride]) => Layer::MaxPool { kernel, stride },
            ("FC", &[units]) => Layer::FullyConnected { units },
            ("GAP", &[CLASSES]) => Layer::GlobalAveragePool,
            ("D", &[_, _]) => continue,
            ("SM", &[CLASSES]) => {
                classified = true;
                continue;
            }
            _ => {
                return Err(format!(
                    "'{item})' is not one of C(n,k,1), P(k,s), FC(n), D(i,n), GAP({CLASSES}), \
                     SM({CLASSES})"
                ));
            }
        };
        layers.push(layer);
    }
    if !classified {
        return Err(format!("it does not end in SM({CLASSES})"));
    }
    if layers.is_empty() {
        return Err("it has no layer before SM".to_string());
    }
    match misplaced(&layers) {
        Some(i) => Err(format!("layer {}, {}, may not stand there", i + 1, layers[i])),
        None => Ok(PlainNetwork(layers)),
    }
}

/// `C(64,3,1` as its name and numbers.
fn numbers(item: &str) -> Result<(&str, Vec<usize>), String> {
    let (name, numbers) = item.split_once('(').ok_or_else(|| format!("'{item})' has no '('"))?;
    let numbers = numbers.split(',').map(|n| n.trim().parse()).collect::<Result<_, _>>();
    Ok((name.trim_end(), numbers.map_err(|e| format!("'{item})': {e}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "[C(64,3,1), P(5,3), D(1,4), C(128,5,1), P(3,2), D(2,4), FC(256), D(3,4), SM(10)]";

    #[test]
    fn maps_shrink_as_the_rules_say() {
        let network: PlainNetwork = GOOD.parse().unwrap();
        let graph = network.build();
        let shapes: Vec<_> = graph.values().iter().map(|v| v.shape.to_vec()).collect();
        for shape in [[1, 64, 10, 10], [1, 128, 4, 4]] {
            assert!(shapes.iter().any(|s| s[..] == shape), "{shape:?}");
        }
        assert!(shapes.iter().any(|s| s[..] == [256, 128 * 16]));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (from, to, reason) in [
            ("[C", "C", "it is not enclosed in '[' and ']'"),
            ("C(64,3,1)", "C(64,3,2)", "'C(64,3,2)' is not one of C(n,k,1), P(k,s)"),
            ("C(64,3,1)", "C(64,4,1)", "layer 1, C(64,4,1), may not stand there"),
            ("C(64,3,1)", "NIN(64)", "'NIN(64)' is not one of"),
            ("C(64,3,1)", "C(64,x,1)", "'C(64,x,1)': invalid digit"),
            ("C(64,3,1), ", "", "layer 1, P(5,3), may not stand there"),
            ("C(64,3,1),", "C(64,3,1)", "there is no ',' after 'C(64,3,1)'"),
            ("FC(256)", "FC(256), GAP(10)", "layer 6, GAP(10), may not stand there"),
            ("FC(256)", "C(64,5,1)", "layer 5, C(64,5,1), may not stand there"),
            (", SM(10)", "", "it does not end in SM(10)"),
            ("SM(10)", "SM(100)", "'SM(100)' is not one of"),
            ("SM(10)", "SM(10), SM(10)", "'SM(10)' follows SM"),
            (GOOD, "[SM(10)]", "it has no layer before SM"),
            ("SM(10)", "SM(10", "'SM(10' has no ')'"),
        ] {
            let error = GOOD.replacen(from, to, 1).parse::<PlainNetwork>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
