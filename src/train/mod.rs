//! Training with libtorch.
//!
//! [`train()`] turns labelled sets into a model folder: graphs are built, lowered and featurised
//! once (and cached), a [`TrainableModel`] of the encoder is fitted, and what inference needs besides the
//! weights is measured on the validation networks. [`contrastive`] trains an encoder without labels.

pub mod ablation;
pub(crate) mod bundle;
pub mod contrastive;
pub(crate) mod fit;
mod heads;
pub(crate) mod trainable;

pub use trainable::TrainableModel;

use crate::benchmarks::{BenchmarkError, CIFAR10, Networks, Set, Split, Subset};
use crate::encoder::{Config, GraphStore, features_hash};
use crate::estimator::{
    Data, Estimator, LoadError, Manifest, NotFinite, Recipe, SCHEMA, Training, WriteError,
};
use crate::fitting::FitError;
use crate::graph::Operation;
use crate::predictor::{CalibrationError, FewShotError};
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
    /// Real networks' labels can't be fitted.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The few labels can't be fitted.
    #[error("fitting to a few labels: {0}")]
    FewShot(#[from] FewShotError),
    /// There is too little to rank.
    #[error("{family}: {networks} networks can't be ranked; at least {least} are needed")]
    Few {
        /// The family.
        family: &'static str,
        /// Its networks.
        networks: usize,
        /// How many it takes.
        least: usize,
    },
    /// The model can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Training led nowhere.
    #[error("the trained model is out of all proportion: {0}")]
    NotFinite(#[from] NotFinite),
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
    /// Most training networks of each set; all, unless given.
    pub training_networks: Option<usize>,
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
pub(crate) struct LabelledGraphs {
    store: GraphStore,
    /// What was measured of each graph in the store, in per cent.
    accuracies: Vec<f64>,
    /// The set that each graph in the store is from.
    families: Vec<u32>,
    /// Of each set, whether its accuracies are what the model is to estimate; the others only say
    /// which of two networks is better.
    comparable: Vec<bool>,
    training: Range<usize>,
    validation: Range<usize>,
    test: Range<usize>,
}

impl LabelledGraphs {
    fn comparable(&self, graph: usize) -> bool {
        self.comparable[self.families[graph] as usize]
    }

    /// The graphs of one set within `part`.
    fn of_family(&self, part: &Range<usize>, family: usize) -> Vec<usize> {
        part.clone().filter(|&g| self.families[g] as usize == family).collect()
    }
}

/// Trains on labelled sets, each parted 80/10/10 (of NAS-Bench-101, 50,000 networks of at least
/// 80 % accuracy, as GENNAPE does). The model estimates CIFAR-10 test accuracies; sets with other
/// targets are learned to rank. Lines of progress go to `report`.
///
/// # Errors
/// When the labels can't be read or the model can't be written.
pub fn train(
    sets: &[&Set],
    options: &Options,
    report: &mut dyn FnMut(&str),
) -> Result<Manifest, TrainError> {
    let loaded: Vec<Box<dyn Networks>> =
        sets.iter().map(|set| set.load(&options.data)).collect::<Result<_, _>>()?;
    let cut = Cut {
        sample: usize::MAX,
        training: options.training_networks.unwrap_or(usize::MAX),
        seed: options.seed,
    };
    let (set, data) = prepare(sets, &loaded, cut, &options.cache, report)?;
    fit(options, &set, data, report)
}

/// What is taken of each set.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// Most networks that are split.
    sample: usize,
    /// Most networks for training.
    training: usize,
    seed: u64,
}

/// Builds, lowers and featurises the networks of all splits, or takes them from the cache; also
/// what is to be said about them.
fn prepare(
    sets: &[&Set],
    loaded: &[Box<dyn Networks>],
    cut: Cut,
    cache: &Path,
    report: &mut dyn FnMut(&str),
) -> Result<(LabelledGraphs, Vec<Data>), TrainError> {
    let seed = cut.seed;
    let wholes: Vec<Subset> = sets
        .iter()
        .zip(loaded)
        .map(|(set, whole)| Subset::at_least(whole.as_ref(), set.minimum))
        .collect();
    let split = |(set, whole): (&&Set, &Subset)| {
        let mut split = Split::new(whole, set.sample.min(cut.sample), seed);
        split.train.truncate(cut.training);
        split
    };
    let splits: Vec<Split> = sets.iter().zip(&wholes).map(split).collect();
    let part = |of: fn(&Split) -> &Vec<usize>| {
        splits.iter().enumerate().flat_map(move |(f, s)| of(s).iter().map(move |&i| (f, i)))
    };
    let mut positions: Vec<(usize, usize)> = part(|s| &s.train).collect();
    let training = 0..positions.len();
    positions.extend(part(|s| &s.validation));
    let validation = training.end..positions.len();
    positions.extend(part(|s| &s.test));
    let test = validation.end..positions.len();

    let mut hashers = vec![blake3::Hasher::new(); sets.len()];
    for &(f, i) in &positions {
        let line = format!("{} {}\n", wholes[f].name(i), wholes[f].target(i));
        hashers[f].update(line.as_bytes());
    }
    let hashes: Vec<String> = hashers.iter().map(|h| h.finalize().to_hex().to_string()).collect();
    let graph = |n: usize| wholes[positions[n].0].graph(positions[n].1);
    let (store, unsaved) =
        GraphStore::cached(cache, &hashes.join(" "), positions.len(), graph, &|_| ())?;
    if let Some(error) = unsaved {
        report(&format!("warning: the graphs can't be kept in {}: {error}", cache.display()));
    }
    let about = |(f, set): (usize, &&Set)| Data {
        set: set.name.into(),
        rows: loaded[f].len(),
        hash: hashes[f].clone(),
        split: format!(
            "{} networks of at least {} %, 80/10/10, by hash with seed {seed}",
            set.sample.min(cut.sample).min(wholes[f].len()),
            set.minimum
        ),
        training: splits[f].train.len(),
        validation: splits[f].validation.len(),
        test: splits[f].test.len(),
    };
    let data = sets.iter().enumerate().map(about).collect();
    let set = LabelledGraphs {
        accuracies: positions.iter().map(|&(f, i)| wholes[f].target(i)).collect(),
        families: positions.iter().map(|&(f, _)| f as u32).collect(),
        comparable: sets.iter().map(|set| set.target == CIFAR10).collect(),
        training,
        validation,
        test,
        store,
    };
    Ok((set, data))
}

fn fit(
    options: &Options,
    set: &LabelledGraphs,
    data: Vec<Data>,
    report: &mut dyn FnMut(&str),
) -> Result<Manifest, TrainError> {
    let Options { config, recipe, seed, .. } = options;
    let operations = set.store.operations(set.training.clone());
    let fitted = fit::fit(set, &operations, config, recipe, *seed, report);
    let name = options.output.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut manifest = Manifest {
        schema: SCHEMA,
        name,
        command: Some(options.command.clone()),
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
    for (family, data) in manifest.data.clone().iter().enumerate() {
        for (name, part) in [("validation", &set.validation), ("test", &set.test)] {
            let graphs = set.of_family(part, family);
            let metrics = bundle::measure(set, &graphs, &manifest, &weights)?;
            manifest.metrics.insert(format!("{} {name}", data.set), metrics);
        }
    }
    let json = serde_json::to_vec(&manifest).map_err(|e| LoadError::Manifest(e.to_string()))?;
    Estimator::from_bytes(&json, &weights)?.save(&options.output)?;
    Ok(manifest)
}

/// Keeps other tests from libtorch's random numbers, of which a process has one source.
#[cfg(test)]
pub(crate) fn seeded() -> std::sync::MutexGuard<'static, ()> {
    static SOURCE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    // A test that failed leaves nothing half done here.
    SOURCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
