//! Training with libtorch.
//!
//! [`nasbench101()`] turns a labelled set into a model folder: graphs are built, lowered and featurised
//! once (and cached), a [`Twin`] of the encoder is fitted, and what inference needs besides the
//! weights is measured on the validation networks.

mod bundle;
mod fit;
mod twin;

pub use twin::Twin;

use crate::benchmarks::{self, BenchmarkError, Networks, Split, nasbench101};
use crate::encoder::{Config, GraphStore, features_hash};
use crate::estimator::{
    Data, Estimator, LoadError, Manifest, Recipe, SCHEMA, Training, WriteError,
};
use crate::graph::Operation;
use crate::predictor::CalibrationError;
use crate::spaces::Architecture;
use crate::spaces::nasbench101::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why training failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The labels can't be read.
    #[error(transparent)]
    Benchmark(#[from] BenchmarkError),
    /// The scores can't be calibrated.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The embeddings can't be clustered.
    #[error("clustering the embeddings: {0}")]
    Clustering(String),
    /// The model can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The model doesn't load: an error of the program.
    #[error("the trained model does not load: {0}")]
    Load(#[from] LoadError),
}

/// What to train, on what, and where to put it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder with the labelled sets.
    pub data: PathBuf,
    /// Folder for featurised graphs.
    pub cache: PathBuf,
    /// Folder for the model; its last component is the model's name.
    pub output: PathBuf,
    /// Architecture of encoder and head.
    pub config: Config,
    /// Loss, optimiser and schedule.
    pub recipe: Recipe,
    /// Seed of split, weights and order.
    pub seed: u64,
    /// The command to note in the manifest.
    pub command: String,
}

impl Recipe {
    /// What [`Config::encoder`] is trained with.
    pub fn encoder() -> Self {
        Self {
            epochs: 20,
            batch: 64,
            learning_rate: 2e-3,
            one_cycle: true,
            weight_decay: 1e-2,
            clip: 5.0,
            batch_norm: true,
            ranking: 1.0,
        }
    }

    /// What GENNAPE's k-GNN baseline is trained with, after its public code.
    pub fn k_gnn() -> Self {
        Self {
            epochs: 40,
            batch: 32,
            learning_rate: 1e-4,
            one_cycle: false,
            weight_decay: 0.0,
            clip: 5.0,
            batch_norm: false,
            ranking: 0.0,
        }
    }
}

/// Featurised graphs with their labels: first those for training, then those for validation,
/// then those for the test.
struct LabelledGraphs {
    store: GraphStore,
    /// Accuracy of each graph in the store, per cent.
    accuracies: Vec<f64>,
    training: Range<usize>,
    validation: Range<usize>,
    test: Range<usize>,
}

/// Trains on NAS-Bench-101 after GENNAPE's protocol: 50,000 networks sampled from those of at
/// least 80 % accuracy, 80 % of them for training and 10 % each for validation and test. Lines of
/// progress go to `report`.
///
/// # Errors
/// When the labels can't be read or the model can't be written.
pub fn nasbench101(
    options: &Options,
    report: &mut dyn FnMut(&str),
) -> Result<Manifest, TrainError> {
    let mut cells = benchmarks::nasbench101::load(&options.data)?;
    let rows = cells.len();
    cells.retain(|c| c.accuracy >= nasbench101::MINIMUM_ACCURACY);
    let split = Split::new(&cells, nasbench101::SAMPLE, options.seed);
    let (set, hash) = prepare(&cells, &split, &options.cache, report)?;
    let data = Data {
        benchmark: Cell::SPACE.to_string(),
        rows,
        hash,
        split: format!(
            "{} networks sampled from those of at least {} %, 80/10/10, by hash with seed {}",
            nasbench101::SAMPLE,
            nasbench101::MINIMUM_ACCURACY,
            options.seed
        ),
        training: set.training.len(),
        validation: set.validation.len(),
        test: set.test.len(),
    };
    train(options, &set, data, report)
}

/// Builds, lowers and featurises the networks of a split, or takes them from the cache; also the
/// hash of their labels.
fn prepare(
    set: &dyn Networks,
    split: &Split,
    cache: &Path,
    report: &mut dyn FnMut(&str),
) -> Result<(LabelledGraphs, String), TrainError> {
    let positions: Vec<usize> =
        [&split.train, &split.validation, &split.test].into_iter().flatten().copied().collect();
    let mut labels = blake3::Hasher::new();
    for &i in &positions {
        labels.update(format!("{} {}\n", set.name(i), set.target(i)).as_bytes());
    }
    let labels = labels.finalize().to_hex().to_string();
    let (store, unsaved) =
        GraphStore::cached(cache, &labels, positions.len(), |i| set.graph(positions[i]), &|_| ())?;
    if let Some(error) = unsaved {
        report(&format!("warning: the graphs can't be kept in {}: {error}", cache.display()));
    }
    let (first, second) = (split.train.len(), split.train.len() + split.validation.len());
    let set = LabelledGraphs {
        accuracies: positions.iter().map(|&i| set.target(i)).collect(),
        training: 0..first,
        validation: first..second,
        test: second..store.len(),
        store,
    };
    Ok((set, labels))
}

fn train(
    options: &Options,
    set: &LabelledGraphs,
    data: Data,
    report: &mut dyn FnMut(&str),
) -> Result<Manifest, TrainError> {
    let Options { config, recipe, seed, .. } = options;
    let operations = set.store.operations(set.training.clone());
    let fitted = fit::fit(set, &operations, config, recipe, *seed, report);
    let name = options.output.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut manifest = Manifest {
        schema: SCHEMA,
        name,
        command: options.command.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        seed: *seed,
        data,
        vocabulary: Operation::vocabulary_hash(),
        features: features_hash(),
        operations: operations.iter().map(|o| o.name().to_string()).collect(),
        config: config.clone(),
        training: Training {
            recipe: recipe.clone(),
            parameters: fitted.tensors.values().map(|(_, elements)| elements.len()).sum(),
            seconds: fitted.seconds.round(),
            best_epoch: fitted.best_epoch,
            epochs: fitted.epochs,
        },
        metrics: BTreeMap::new(),
        fine_tuning: None,
    };
    let weights = bundle::weights(set, &manifest, fitted.tensors)?;
    for (name, part) in [("validation", &set.validation), ("test", &set.test)] {
        let metrics = bundle::measure(set, part.clone(), &manifest, &weights)?;
        manifest.metrics.insert(name.into(), metrics);
    }
    let json = serde_json::to_vec(&manifest).map_err(|e| LoadError::Manifest(e.to_string()))?;
    Estimator::from_bytes(&json, &weights)?.save(&options.output)?;
    Ok(manifest)
}
