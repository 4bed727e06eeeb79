//! What a trained model says about itself.

use super::Estimate;
use crate::encoder::Config;
use crate::metrics;
use crate::predictor::RegressionKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `manifest.json` of a model folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub schema: u32,
    /// The model's name.
    pub name: String,
    /// The command that trains it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Version of the program that trained it.
    pub version: String,
    /// Seed of the split, the initial weights and the order of training.
    pub seed: u64,
    /// What it was trained on.
    pub data: Vec<Data>,
    /// [`Operation::vocabulary_hash`](crate::graph::Operation::vocabulary_hash) at training.
    pub vocabulary: String,
    /// [`features_hash`](crate::encoder::features_hash) at training; must equal the program's.
    pub features: String,
    /// Names of the operations met in training, in the order of their embeddings.
    pub operations: Vec<String>,
    /// Architecture of encoder and head.
    pub config: Config,
    /// How training went.
    pub training: Training,
    /// Measures by set and split ("nasbench101 test"), then by what ranks the networks ("model",
    /// "parameters", "macs").
    pub metrics: BTreeMap<String, BTreeMap<String, Metrics>>,
    /// How it was adapted to labels of the user's own, if it was; all the above but name, command,
    /// version and operations is about the model that this started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fine_tuning: Option<FineTuning>,
}

impl Manifest {
    /// The labels that estimates are about.
    pub fn labels(&self) -> &[Data] {
        self.fine_tuning.as_ref().map_or(&self.data, |f| std::slice::from_ref(&f.data))
    }
}

/// How a model was adapted to a user's own labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct FineTuning {
    /// Name of the model that it started from.
    pub base: String,
    /// blake3 of that model's file of weights.
    pub base_hash: String,
    /// What the labels measure.
    pub target: String,
    /// The labels.
    pub data: Data,
    /// What was kept.
    pub kept: Method,
    /// Number of labels that this was fitted to in the end.
    pub fitted: usize,
    /// What turns the model's output into ranks of the labels.
    pub adaptation: RegressionKind,
    /// The model as it was, and what was kept by what it predicts of each label from the others.
    pub metrics: Comparison<Metrics>,
}

/// What fine-tuning makes of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Other values in the same order.
    Recalibrated,
    /// A regression on its estimate, its embedding and proxies.
    Adapted,
    /// Encoder and head trained further by gradient descent, and a regression on the score that
    /// they then give and proxies. Only a build with the feature `train` makes it; all can use it.
    Tuned,
}

/// A thing before and after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct Comparison<T> {
    pub before: T,
    pub after: T,
}

/// Labelled networks that a model was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Data {
    /// Name of the [set](crate::benchmarks::Set).
    pub set: String,
    /// Networks with labels in the file.
    pub rows: usize,
    /// blake3 over all architectures and labels of the three splits, in order.
    pub hash: String,
    /// How the networks were chosen and split.
    pub split: String,
    /// Networks to train on.
    pub training: usize,
    /// Networks to choose the epoch, calibrate and measure distances with.
    pub validation: usize,
    /// Networks that nothing was chosen on.
    pub test: usize,
}

/// How training went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Loss, optimiser and schedule.
    pub recipe: Recipe,
    /// Trained numbers in encoder and head.
    pub parameters: usize,
    /// Seconds it took, without reading and featurising the data.
    pub seconds: f64,
    /// The epoch that was kept, from 1.
    pub best_epoch: usize,
    /// One entry for each epoch.
    pub epochs: Vec<Epoch>,
}

/// Loss, optimiser and schedule. The optimiser is AdamW, which is Adam without weight decay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Passes over the training networks.
    pub epochs: usize,
    /// Networks in a step.
    pub batch: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Whether the rate rises over the first tenth of the steps and falls to nothing along a
    /// cosine over the rest, instead of staying the same.
    pub one_cycle: bool,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Norm that the gradient is clipped to.
    pub clip: f64,
    /// Whether layers are batch-normalised in training (and folded into the weights after it).
    pub batch_norm: bool,
    /// Weight of the pairwise logistic ranking loss beside the squared error of the accuracy,
    /// which is standardised over the training networks.
    pub ranking: f64,
}

/// One pass over the training networks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean loss.
    pub loss: f64,
    /// Kendall's τ-b on the validation networks afterwards.
    pub validation_kendall: f64,
}

/// Agreement of scores with true accuracies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Metrics {
    /// Spearman's rank correlation.
    pub spearman: Measure,
    /// Kendall's τ-b.
    pub kendall: Measure,
    /// Mean absolute error in per cent, for scores that are accuracies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_absolute_error: Option<Measure>,
    /// Share of networks whose accuracy lies in the 90 % interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
}

impl Metrics {
    /// How well `scores` rank networks with these true accuracies.
    pub fn ranking(truth: &[f64], scores: &[f64], seed: u64) -> Self {
        Self {
            spearman: Measure::with_interval(metrics::spearman, truth, scores, seed),
            kendall: Measure::with_interval(metrics::kendall_tau_b, truth, scores, seed),
            mean_absolute_error: None,
            coverage: None,
        }
    }

    /// How well `values` agree with what they are values of.
    pub fn values(truth: &[f64], values: &[f64], seed: u64) -> Self {
        let error = Measure::with_interval(metrics::mean_absolute_error, truth, values, seed);
        Self { mean_absolute_error: Some(error), ..Self::ranking(truth, values, seed) }
    }

    /// How well `estimates` agree with these true accuracies.
    pub fn estimates(truth: &[f64], estimates: &[Estimate], seed: u64) -> Self {
        let scores: Vec<f64> = estimates.iter().map(|e| e.accuracy).collect();
        let covers = |(e, t): &(&Estimate, &f64)| (e.interval[0]..=e.interval[1]).contains(*t);
        let covered = estimates.iter().zip(truth).filter(covers).count();
        let coverage = Some(covered as f64 / truth.len() as f64);
        Self { coverage, ..Self::values(truth, &scores, seed) }
    }
}

impl Measure {
    fn with_interval(
        measure: fn(&[f64], &[f64]) -> Option<f64>,
        truth: &[f64],
        scores: &[f64],
        seed: u64,
    ) -> Self {
        let interval = metrics::bootstrap_interval(truth, scores, measure, RESAMPLES, 0.95, seed);
        // A measure without a value (all scores equal) says nothing about the ranking.
        let value = measure(truth, scores).unwrap_or(0.0);
        Self { value, interval: interval.unwrap_or([value; 2]) }
    }
}

/// Resamples of a bootstrap interval.
const RESAMPLES: usize = 1000;

/// A measured value with its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[allow(missing_docs)]
pub struct Measure {
    pub value: f64,
    pub interval: [f64; 2],
}
