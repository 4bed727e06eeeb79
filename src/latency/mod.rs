//! How long networks take on a device, in milliseconds.
//!
//! A latency is a sum of non-negative parts: so much for each operation, element, MAC and parameter
//! of each kind of operation, as [`work`] counts them in a computation graph. What each costs on a
//! device, [`fit`] finds from measured networks.
//!
//! ```
//! use gennape::{latency::LatencyModel, lower::lower, spaces::Space};
//!
//! let model = LatencyModel::named("latency-rtx4090").expect("a model that is part of the program");
//! let estimate = model.estimate(&lower(&Space::NasBenchMacro.build("21012012")?)?);
//! assert!(estimate.interval[0] <= estimate.latency && estimate.latency <= estimate.interval[1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "clustering")]
mod fit;
mod work;

#[cfg(feature = "clustering")]
pub use fit::{LatencyFitError, MIN_NETWORKS, Measured, Options, fit};
pub use work::{Work, work};

use crate::estimator::{
    LoadError, MANIFEST, WriteError, golden_graphs, read_manifest, write_folder,
};
use crate::graph::{ComputationGraph, Operation};
use crate::search::{CandidateNetwork, Direction, EvaluationError, Evaluator};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

/// Version of the format of these models.
pub const SCHEMA: u32 = 2;

/// How often more or less than anything measured a latency or an image's side may be before nothing
/// vouches for it.
const BEYOND: f64 = 2.0;

/// Whose time it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Device {
    /// The device.
    pub name: String,
    /// Most inputs that it worked on at once, if that is known; the time is that of one of them.
    pub batch: Option<u64>,
}

/// A model of latencies: what its `manifest.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyModel {
    /// Version of this format.
    pub schema: u32,
    /// What is estimated; tells these models from others.
    pub kind: Kind,
    /// The model's name.
    pub name: String,
    /// The command that makes it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Version of the program that made it.
    pub version: String,
    /// blake3 of all networks' fingerprints and latencies.
    pub data: String,
    /// What work was when it was made; must equal the program's.
    pub work: String,
    /// Whose time it is.
    pub device: Device,
    /// The unit of a latency.
    pub unit: Unit,
    /// Least and most that was measured.
    pub measured: [f64; 2],
    /// Shortest and longest side of the images that measured networks took; 0 where one took none.
    pub images: [u64; 2],
    /// Whether attention counts as one kernel; chosen by what was left out.
    pub fused_attention: bool,
    /// Half the width of the 90 % interval of the logarithm of a latency: for groups that were left
    /// out, each with the same weight.
    pub half_width: f64,
    /// The same, for networks with operations that were not met.
    pub half_width_outside: f64,
    /// Operations that were met.
    pub operations: BTreeSet<String>,
    /// Milliseconds for each unit of [`work`], by class and quantity.
    pub coefficients: BTreeMap<String, BTreeMap<String, f64>>,
    /// How well it does on what was left out.
    pub agreement: Agreement,
}

/// What a model estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Latencies.
    Latency,
}

/// The unit of a latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub enum Unit {
    /// Milliseconds for one input.
    #[serde(rename = "ms")]
    Milliseconds,
}

/// Agreement with latencies that were left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Agreement {
    /// What was left out together: families, or parts at random.
    pub left_out: String,
    /// How many groups that made.
    pub groups: usize,
    /// Networks that were predicted.
    pub networks: usize,
    /// By the model and the baselines.
    pub rankings: Vec<Ranking>,
    /// Share of latencies in the 90 % interval, the mean over groups.
    pub coverage: f64,
}

/// How well something estimates networks that were left out. In brackets, 95 % bootstrap intervals
/// over the groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Ranking {
    /// What it is.
    pub estimated_by: String,
    /// Share of networks within ±10 % of what was measured.
    pub within_tenth: (f64, [f64; 2]),
    /// The same, the mean over groups.
    pub within_tenth_of_groups: f64,
    /// Mean absolute error by what was measured.
    pub relative_error: (f64, [f64; 2]),
    /// The same, the mean over groups.
    pub relative_error_of_groups: f64,
    /// Spearman's rank correlation.
    pub spearman: (f64, [f64; 2]),
    /// The same among networks of about the same MACs, the mean over eighths; none of models that were
    /// fitted before it was measured, as the next two.
    #[serde(default)]
    pub at_equal_macs: Option<f64>,
    /// True rank of the network that is said to be the fastest.
    #[serde(default)]
    pub rank_of_fastest: Option<f64>,
    /// Share of the fastest tenth among those that are said to be it.
    #[serde(default)]
    pub fastest_tenth: Option<f64>,
}

/// What is estimated of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyEstimate {
    /// Milliseconds for one input.
    pub latency: f64,
    /// 90 % interval.
    pub interval: [f64; 2],
    /// Operations that no measured network had; what they take counts as what all others take in the
    /// mean.
    pub unknown: Vec<&'static str>,
    /// Whether there are none, and neither latency nor images are far from all that was measured.
    pub in_distribution: bool,
    /// Milliseconds by class of operation, the most first.
    pub parts: Vec<(&'static str, f64)>,
}

/// The models that are part of the program.
const EMBEDDED: [(&str, &[u8]); 2] = [
    ("latency-i7-12700h", include_bytes!("../../models/latency-i7-12700h/manifest.json")),
    ("latency-rtx4090", include_bytes!("../../models/latency-rtx4090/manifest.json")),
];

impl LatencyModel {
    /// Names of the models that are part of the program: `latency-` and the device.
    pub const NAMES: [&str; EMBEDDED.len()] = [EMBEDDED[0].0, EMBEDDED[1].0];

    /// The model of this name that is part of the program.
    pub fn named(name: &str) -> Option<Self> {
        let (_, manifest) = EMBEDDED.iter().find(|(known, _)| *known == name)?;
        Self::from_bytes(manifest).ok()
    }

    /// The model in `folder`, if what is there is a model of latencies.
    ///
    /// # Errors
    /// When it is one that doesn't fit this version of the program.
    pub fn find(folder: &Path) -> Result<Option<Self>, LoadError> {
        #[derive(Deserialize)]
        struct Tagged {
            kind: Kind,
        }
        let Ok(manifest) = read_manifest(folder) else { return Ok(None) };
        match serde_json::from_slice(&manifest) {
            Ok(Tagged { kind: Kind::Latency }) => Self::from_bytes(&manifest).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The model in `folder`: its `manifest.json`.
    ///
    /// # Errors
    /// When the file can't be read, or the model doesn't fit this version of the program.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        Self::from_bytes(&read_manifest(folder)?)
    }

    /// The model that `manifest` describes.
    ///
    /// # Errors
    /// When it doesn't fit this version of the program.
    pub fn from_bytes(manifest: &[u8]) -> Result<Self, LoadError> {
        let model: Self =
            serde_json::from_slice(manifest).map_err(|e| LoadError::Manifest(e.to_string()))?;
        if model.schema != SCHEMA {
            let schema = model.schema;
            return Err(LoadError::Manifest(format!("schema {schema}, expected {SCHEMA}")));
        }
        if model.work != work_hash() {
            let (model, program) = (model.work, work_hash().to_string());
            return Err(LoadError::Features { model, program });
        }
        let coefficients = model.coefficients.values().flat_map(BTreeMap::values).copied();
        let widths = [model.half_width, model.half_width_outside];
        let [least, most] = model.measured;
        let sound = coefficients.chain(widths).all(|x| x.is_finite() && x >= 0.0);
        let [smallest, largest] = model.images;
        let ranges = 0.0 < least && least <= most && most.is_finite() && smallest <= largest;
        if !(sound && ranges) {
            return Err(LoadError::Manifest("what it says of latencies makes no sense".into()));
        }
        Ok(model)
    }

    /// Makes `folder` a model folder, as a whole or not at all.
    ///
    /// # Errors
    /// When the folder holds anything but a model, or can't be written; it is then what it was.
    pub fn save(&self, folder: &Path) -> Result<(), WriteError> {
        let fail = |e: serde_json::Error| WriteError { path: folder.into(), source: e.into() };
        let mut json = serde_json::to_vec_pretty(self).map_err(fail)?;
        json.push(b'\n');
        write_folder(folder, &[(MANIFEST, &json)])
    }

    /// What is estimated of a network.
    pub fn estimate(&self, graph: &ComputationGraph) -> LatencyEstimate {
        let mut parts: BTreeMap<&'static str, f64> = BTreeMap::new();
        for ((class, quantity), amount) in work(graph, self.fused_attention) {
            let cost = self.coefficients.get(class).and_then(|of| of.get(quantity));
            *parts.entry(class).or_default() += cost.unwrap_or(&0.0) * amount;
        }
        let latency: f64 = parts.values().sum();
        let unknown: BTreeSet<&'static str> =
            operations(graph).filter(|operation| !self.operations.contains(*operation)).collect();
        let [least, most] = self.measured;
        let images = self.images.map(|side| side as f64);
        let near = (least / BEYOND..=most * BEYOND).contains(&latency)
            && sides(graph)
                .iter()
                .all(|&side| (images[0] / BEYOND..=images[1] * BEYOND).contains(&(side as f64)));
        let in_distribution = near && unknown.is_empty();
        let half = match in_distribution {
            true => self.half_width,
            false => self.half_width_outside.max(self.half_width),
        };
        let mut parts: Vec<(&'static str, f64)> = parts.into_iter().collect();
        parts.retain(|(_, part)| *part > 0.0);
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        LatencyEstimate {
            latency,
            interval: [latency * (-half).exp(), latency * half.exp()],
            unknown: unknown.into_iter().collect(),
            in_distribution,
            parts,
        }
    }
}

/// Sides of the images that a network takes; 0 if it takes none.
fn sides(graph: &ComputationGraph) -> [u64; 2] {
    graph.image().unwrap_or_default()
}

impl LatencyEstimate {
    /// The latency as far as it can be relied on where it is to be made this: what is estimated of a
    /// network like those that were measured, and the worse end of the interval of any other.
    pub fn reliable(&self, direction: Direction) -> f64 {
        match (self.in_distribution, direction) {
            (true, _) => self.latency,
            (false, Direction::Minimise) => self.interval[1],
            (false, Direction::Maximise) => self.interval[0],
        }
    }
}

/// The measure of a search: the [reliable](LatencyEstimate::reliable) latency.
#[derive(Debug, Clone)]
pub struct ReliableLatency {
    /// Whose estimates they are.
    pub model: LatencyModel,
    /// What latencies are to be made.
    pub direction: Direction,
}

impl Evaluator for ReliableLatency {
    fn evaluate(&self, networks: &[CandidateNetwork]) -> Result<Vec<f64>, EvaluationError> {
        let of = |network: &CandidateNetwork| {
            self.model.estimate(&network.graph).reliable(self.direction)
        };
        Ok(networks.iter().map(of).collect())
    }
}

/// Names of the operations that do work.
fn operations(graph: &ComputationGraph) -> impl Iterator<Item = &'static str> {
    graph.nodes().filter(|n| n.operation != Operation::Input).map(|n| n.operation.name())
}

/// Hash of the [`work`] of a few networks: a model only fits what it was made with.
fn work_hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| {
        let mut hasher = blake3::Hasher::new();
        for graph in golden_graphs() {
            for ((class, quantity), amount) in [false, true].iter().flat_map(|&f| work(&graph, f)) {
                hasher.update(format!("{class} {quantity} {amount:.4e}\n").as_bytes());
            }
        }
        hasher.finalize().to_hex()[..16].to_string()
    });
    &HASH
}
