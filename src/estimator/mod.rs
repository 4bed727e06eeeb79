//! Estimates accuracies with a trained model.
//!
//! ```
//! use gennape::estimator::Estimator;
//! # use gennape::graph::{ComputationGraph, Extent, Node, Operation, Window};
//! # let input = Node {
//! #     operation: Operation::Input, input: Extent::new(3, 32, 32), output: Extent::new(3, 32, 32),
//! #     window: Window::default(), bias: false, parameters: 0, macs: 0, name: "".into(),
//! # };
//! # let graph = ComputationGraph::new(vec![input], &[]).unwrap();
//! let estimator = Estimator::embedded();
//! for estimate in estimator.estimate(&[graph])? {
//!     println!("{:.1} % in {:.1?}", estimate.accuracy, estimate.interval);
//! }
//! # Ok::<(), gennape::estimator::NotFinite>(())
//! ```

mod answer;
mod evaluator;
mod golden;
mod manifest;
pub mod real;
mod surrogate;

#[cfg(feature = "cli")]
pub(crate) use answer::significant;
pub use answer::{Answer, Expert, Neighbour, Question, QuestionError, Voice};
pub use evaluator::{Accuracy, Statistic};
pub use golden::descriptors_hash;
pub(crate) use golden::golden_graphs;
pub use manifest::{
    Comparison, Data, Epoch, FineTuning, Manifest, Measure, Method, Metrics, Recipe, Training,
};

use crate::benchmarks::Target;
use crate::encoder::{
    Encoder, GraphBatch, GraphFeatures, GraphStore, Neighbourhoods, WeightError, Weights,
    features_hash,
};
use crate::files;
use crate::graph::{ComputationGraph, Operation};
use crate::predictor::{ApplicabilityDomain, Calibration, FewShotRegressor, Head};
use crate::proxies::{Descriptors, Proxies};
use ndarray::{Array2, ArrayView1, Axis, concatenate};
use rayon::prelude::*;
use real::RealNetworks;
use std::borrow::Borrow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Version of the format of model folders.
pub const SCHEMA: u32 = 2;

/// Most bytes of a model folder's files that are read; those of the program's own models are a
/// hundred times smaller.
const MAX_MANIFEST: u64 = 1 << 24;
const MAX_WEIGHTS: u64 = 1 << 28;

/// Graphs that one thread takes at a time, at most.
const GRAPHS_PER_TASK: usize = 32;

/// Graphs that one thread takes at a time, of so many: none idles while there are enough for all.
fn graphs_per_task(count: usize) -> usize {
    count.div_ceil(rayon::current_num_threads()).clamp(1, GRAPHS_PER_TASK)
}

/// What is estimated of one network; all numbers are finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Accuracy in per cent, on the data set that the model was trained for; of a fine-tuned model,
    /// the target in the unit of its labels.
    pub accuracy: f64,
    /// Lower and upper bound, in the same unit. For networks like those in training it covers 90 %;
    /// beyond, it widens with the distance (see [`Calibration::interval`]). Of a network whose repeated
    /// nodes [learn nothing](GraphFeatures::unlearned) it begins at 0.
    pub interval: [f64; 2],
    /// Distance from the training distribution: 1 is where the nearest 99 % of the networks held
    /// out in training end. It is at least 2 plus the share of nodes whose
    /// [kind](GraphFeatures::kinds) was not met in training or that are repeated and
    /// [learn nothing](GraphFeatures::unlearned), if there are any. Of a fine-tuned model, training
    /// means its labelled networks, each held out in turn, and what learns nothing is not set apart.
    pub distance: f64,
    /// Whether the distance is at most 1.
    pub in_distribution: bool,
    /// Whether the network's output depends on its input. If not, it can but guess, and the
    /// accuracy is that of guessing, one in as many as it has classes, whatever the model says. Of
    /// a fine-tuned model, whose target may be anything, it stays the model's.
    pub depends_on_input: bool,
}

impl Estimate {
    fn is_finite(&self) -> bool {
        let [low, high] = self.interval;
        [self.accuracy, low, high, self.distance].iter().all(|x| x.is_finite())
    }

    /// The estimate of a network of which this share of nodes [learns nothing](GraphFeatures::unlearned).
    /// What networks that learn in every part say of one another does not hold for it: how its signal
    /// fares in parts that can't adapt decides, and that may be anything. So no model vouches for it,
    /// not even one that met a few of the kind, and the interval has no lower end.
    fn doubted(self, share: f64) -> Self {
        if share == 0.0 {
            return self;
        }
        let distance = self.distance.max(ApplicabilityDomain::beyond(share));
        let [_, high] = self.interval;
        Self { interval: [0.0, high], distance, in_distribution: false, ..self }
    }
}

/// What a model says of a network is no number: its weights are out of all proportion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the model's estimate of network {network} is not a finite number")]
pub struct NotFinite {
    /// Its position among those that were asked about, from 0.
    pub network: usize,
}

impl NotFinite {
    /// Of networks that so many others come before.
    fn after(self, others: usize) -> Self {
        Self { network: others + self.network }
    }
}

/// Why a model can't be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file can't be read.
    #[error("{path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The manifest is not what this version of the program writes.
    #[error("manifest: {0}")]
    Manifest(String),
    /// The manifest and the program disagree about what a network's features are.
    #[error("the model was trained on features {model}, this version of the program has {program}")]
    Features {
        /// Hash in the manifest.
        model: String,
        /// The program's hash.
        program: String,
    },
    /// The model knows an operation that the program doesn't.
    #[error(
        "the model was trained on the operation '{0}', which this version of the program doesn't \
         have"
    )]
    Operation(String),
    /// The weights don't fit the manifest.
    #[error("weights: {0}")]
    Weights(#[from] WeightError),
}

impl LoadError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Features { .. } => {
                Some("train it again with the command in its manifest".to_string())
            }
            Self::Operation(_) => {
                Some("use the version that trained it, or train it again".to_string())
            }
            _ => None,
        }
    }
}

/// A model folder can't be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct WriteError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// The files of a model folder.
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const WEIGHTS: &str = "weights.safetensors";

/// Whether there is a model at `folder` that [`Estimator::save`] would replace.
///
/// # Errors
/// When there is something else that it would not: a file, a link, a folder with other content.
pub fn check_target(folder: &Path) -> Result<bool, WriteError> {
    let fail = |source| WriteError { path: folder.into(), source };
    let wrong = |what| Err(fail(io::Error::new(io::ErrorKind::InvalidInput, what)));
    match fs::symlink_metadata(files::tidy(folder)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(fail(e)),
        Ok(there) if there.is_symlink() => return wrong("this is a symbolic link".to_string()),
        Ok(_) => {}
    }
    let mut model = false;
    for entry in fs::read_dir(folder).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        if name == MANIFEST || name == WEIGHTS {
            model = true;
        } else if !files::is_trace(&name) {
            let name = name.to_string_lossy();
            return wrong(format!("this holds '{name}', which is no part of a model"));
        }
    }
    Ok(model)
}

fn read_file(folder: &Path, name: &str, limit: u64) -> Result<Vec<u8>, LoadError> {
    let path = folder.join(name);
    files::read(&path, limit).map_err(|e| LoadError::Read { path, reason: e.to_string() })
}

/// Manifest of the model in `folder`.
pub(crate) fn read_manifest(folder: &Path) -> Result<Vec<u8>, LoadError> {
    read_file(folder, MANIFEST, MAX_MANIFEST)
}

/// Manifest and weights of the model in `folder`.
fn read_folder(folder: &Path) -> Result<(Vec<u8>, Vec<u8>), LoadError> {
    Ok((read_manifest(folder)?, read_file(folder, WEIGHTS, MAX_WEIGHTS)?))
}

/// Makes `folder` a model folder with these files, the manifest last, as a whole or not at all: a
/// folder is a model once it has the manifest.
pub(crate) fn write_folder(folder: &Path, content: &[(&str, &[u8])]) -> Result<(), WriteError> {
    let fail = |source| WriteError { path: folder.into(), source };
    let replaced = check_target(folder)?;
    let write = |to: &Path| {
        content.iter().try_for_each(|(name, bytes)| files::write(&to.join(name), bytes))
    };
    let written = match folder.is_dir() && !replaced {
        // An empty folder may be where a file system is mounted: none can take its place.
        true => write(folder),
        false => files::OutputFolder::create(folder).and_then(|whole| {
            write(whole.path())?;
            whole.finish()
        }),
    };
    written.map_err(fail)
}

/// Name, manifest and weights of a model.
type Files = (&'static str, &'static [u8], &'static [u8]);

macro_rules! files {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("../../models/", $name, "/manifest.json")),
            include_bytes!(concat!("../../models/", $name, "/weights.safetensors")),
        )
    };
}

/// The models that are part of the program, the default first.
const EMBEDDED: [Files; 2] = [files!("gennape-cifar10"), files!("gennape-nb101")];

/// Models of real networks, which belong to the default.
const REAL: [Files; 2] = [files!("gennape-imagenet"), files!("gennape-cifar")];

/// A trained model, ready to estimate.
#[derive(Debug, Clone)]
pub struct Estimator {
    manifest: Manifest,
    /// The file of weights.
    weights: Vec<u8>,
    encoder: Encoder,
    head: Head,
    calibration: Calibration,
    /// Of the proxies' score, for networks unlike those in training.
    prior: Calibration,
    domain: ApplicabilityDomain,
    fine_tuned: Option<FineTunedHead>,
    /// Models of real networks, for what the [`Question`] is about.
    real: Vec<RealNetworks>,
}

/// What a model makes of an embedding.
struct Placed {
    /// The head's.
    score: f32,
    /// From the training distribution, whatever else is known of the network.
    distance: f64,
}

/// What fine-tuning adds to a model.
#[derive(Debug, Clone)]
struct FineTunedHead {
    regressor: FewShotRegressor,
    /// The neighbourhood of the labelled networks.
    domain: ApplicabilityDomain,
    /// Whether the head's score is regressed on, not the accuracy that this stood for.
    of_score: bool,
}

impl Estimator {
    /// The default model: a graph network for CIFAR-10, trained on every family of cells that has
    /// labels, and models of real networks for every [`Target`].
    pub fn embedded() -> Self {
        // Not data but part of the program; a test loads it.
        Self::named(EMBEDDED[0].0).expect("the embedded model is valid")
    }

    /// Names of the models that are part of the program, the default first.
    pub fn names() -> impl Iterator<Item = &'static str> {
        EMBEDDED.iter().map(|(name, ..)| *name)
    }

    /// The model of this name that is part of the program.
    pub fn named(name: &str) -> Option<Self> {
        let (_, manifest, weights) = EMBEDDED.iter().find(|(known, ..)| *known == name)?;
        let model = Self::from_bytes(manifest, weights).ok()?;
        if name != EMBEDDED[0].0 {
            return Some(model);
        }
        let real =
            |(_, manifest, weights): &Files| RealNetworks::from_bytes(manifest, weights).ok();
        Some(Self { real: REAL.iter().map(real).collect::<Option<_>>()?, ..model })
    }

    /// The default model with `real` in place of its own model of these targets.
    pub fn with_real(real: RealNetworks) -> Self {
        let mut model = Self::embedded();
        let known = |target| real.facts(target).is_some();
        model.real.retain(|other| !other.manifest().targets.iter().any(|f| known(f.target)));
        model.real.push(real);
        model
    }

    /// Its models of real networks.
    pub fn real(&self) -> &[RealNetworks] {
        &self.real
    }

    /// The model in `folder`: `manifest.json` and `weights.safetensors`.
    ///
    /// # Errors
    /// When a file can't be read, or the model doesn't fit this version of the program.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        let (manifest, weights) = read_folder(folder)?;
        Self::from_bytes(&manifest, &weights)
    }

    /// The model made of the contents of its two files.
    ///
    /// # Errors
    /// When they don't fit each other or this version of the program.
    pub fn from_bytes(manifest: &[u8], weights: &[u8]) -> Result<Self, LoadError> {
        #[derive(serde::Deserialize)]
        struct Versioned {
            schema: u32,
        }
        let fail = |e: serde_json::Error| LoadError::Manifest(e.to_string());
        let schema = serde_json::from_slice::<Versioned>(manifest).map_err(fail)?.schema;
        if schema != SCHEMA {
            return Err(LoadError::Manifest(format!("schema {schema}, expected {SCHEMA}")));
        }
        let manifest: Manifest = serde_json::from_slice(manifest).map_err(fail)?;
        if manifest.features != features_hash() {
            let (model, program) = (manifest.features, features_hash());
            return Err(LoadError::Features { model, program });
        }
        let config = &manifest.config;
        if config.width == 0 || config.readout.is_empty() {
            return Err(LoadError::Manifest("the embedding has no dimensions".into()));
        }
        let operation = |name: &String| {
            Operation::from_name(name).ok_or_else(|| LoadError::Operation(name.clone()))
        };
        let operations = |names: &[String]| -> Result<Vec<Operation>, LoadError> {
            names.iter().map(operation).collect()
        };

        let file = weights.to_vec();
        let weights = Weights::parse(weights)?;
        let length = config.embedding();
        let fine_tuned = |f: &FineTuning| -> Result<FineTunedHead, LoadError> {
            Ok(FineTunedHead {
                regressor: FewShotRegressor::load(f.adaptation, length, &weights)?,
                domain: ApplicabilityDomain::load("adaptation.territory", length, &weights)?,
                of_score: f.kept == Method::Tuned,
            })
        };
        Ok(Self {
            encoder: Encoder::new(config, &operations(&manifest.operations)?, &weights)?,
            head: Head::new(config, &weights)?,
            calibration: Calibration::load("calibration", &weights)?,
            prior: Calibration::load("prior", &weights)?,
            domain: ApplicabilityDomain::load("territory", length, &weights)?,
            fine_tuned: manifest.fine_tuning.as_ref().map(fine_tuned).transpose()?,
            manifest,
            weights: file,
            real: Vec::new(),
        })
    }

    /// Makes `folder` a model folder of `manifest.json` and `weights.safetensors`, as a whole or
    /// not at all. A model that is there is replaced.
    ///
    /// # Errors
    /// When the folder holds anything but a model, or can't be written; it is then what it was.
    pub fn save(&self, folder: &Path) -> Result<(), WriteError> {
        let fail = |source| WriteError { path: folder.into(), source };
        let mut json = serde_json::to_vec_pretty(&self.manifest).map_err(|e| fail(e.into()))?;
        json.push(b'\n');
        write_folder(folder, &[(WEIGHTS, &self.weights), (MANIFEST, &json)])
    }

    /// What the model says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The file of weights.
    pub fn weights(&self) -> &[u8] {
        &self.weights
    }

    /// The region that counts as known.
    pub fn domain(&self) -> &ApplicabilityDomain {
        &self.domain
    }

    /// The encoder by itself, for one thread.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Embeddings of `graphs`, a row each, on all cores.
    pub fn embed(&self, graphs: &[ComputationGraph]) -> Array2<f32> {
        let embed = |graphs: &[ComputationGraph]| {
            let features: Vec<_> = graphs.iter().map(GraphFeatures::new).collect();
            self.encoder.embed(&features)
        };
        let parts: Vec<Array2<f32>> =
            graphs.par_chunks(graphs_per_task(graphs.len())).map(embed).collect();
        self.stacked(&parts)
    }

    /// Estimates for `graphs`, which are of one family, in order, on all cores: ImageNet-1k
    /// accuracies of networks for large images, CIFAR-10 accuracies of others. [`answer`](Self::answer)
    /// says more.
    ///
    /// # Errors
    /// When an estimate is not finite.
    pub fn estimate<G: Borrow<ComputationGraph> + Sync>(
        &self,
        graphs: &[G],
    ) -> Result<Vec<Estimate>, NotFinite> {
        let size = graphs_per_task(graphs.len());
        let estimate = |(part, graphs): (usize, &[G])| {
            let first = part * size;
            self.estimate_batch(&GraphBatch::new(graphs)).map_err(|e| e.after(first))
        };
        let parts = graphs.par_chunks(size).enumerate().map(estimate);
        Ok(parts.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Estimates for graphs that are featurised already, on the calling thread.
    ///
    /// # Errors
    /// When an estimate is not finite.
    pub fn estimate_batch(&self, graphs: &GraphBatch) -> Result<Vec<Estimate>, NotFinite> {
        let embeddings = self.encoder.embed(graphs.features());
        self.estimate_embedded(graphs, &embeddings, &self.placed(graphs, &embeddings))
    }

    /// Estimates for all graphs of `store`, in order, and their embeddings, on all cores; `done`
    /// hears how many there are.
    pub(crate) fn estimate_store(
        &self,
        store: &GraphStore,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<(Vec<Estimate>, Array2<f32>), NotFinite> {
        let finished = AtomicUsize::new(0);
        let part = |start: usize| {
            let end = store.len().min(start + GRAPHS_PER_TASK);
            let graphs = GraphBatch::stored(store, start..end);
            let embeddings = self.encoder.embed(graphs.features());
            done(finished.fetch_add(end - start, Ordering::Relaxed) + end - start);
            let placed = self.placed(&graphs, &embeddings);
            let estimates = self.estimate_embedded(&graphs, &embeddings, &placed);
            Ok((estimates.map_err(|e| e.after(start))?, embeddings))
        };
        let starts: Vec<usize> = (0..store.len()).step_by(GRAPHS_PER_TASK).collect();
        let parts: Result<Vec<_>, NotFinite> = starts.into_par_iter().map(part).collect();
        let (estimates, embeddings): (Vec<_>, Vec<_>) = parts?.into_iter().unzip();
        Ok((estimates.into_iter().flatten().collect(), self.stacked(&embeddings)))
    }

    /// Embeddings one below the other.
    fn stacked(&self, parts: &[Array2<f32>]) -> Array2<f32> {
        let views: Vec<_> = parts.iter().map(Array2::view).collect();
        // Fails only without any part; all have the same number of columns.
        concatenate(Axis(0), &views)
            .unwrap_or_else(|_| Array2::zeros((0, self.manifest.config.embedding())))
    }

    /// What real networks' labels say of a network that takes large images.
    fn of_large_images(&self, descriptors: &Descriptors) -> Option<Estimate> {
        let target = Target::ImageNet1k;
        let known = self.real.iter().find_map(|model| model.estimate(descriptors, target, None))?;
        Some(Estimate {
            accuracy: known.accuracy,
            interval: known.interval,
            distance: known.distance,
            in_distribution: known.distance <= 1.0,
            depends_on_input: true,
        })
    }

    /// What the head and the domain say of graphs with these embeddings.
    fn placed(&self, graphs: &GraphBatch, embeddings: &Array2<f32>) -> Vec<Placed> {
        let scores = self.head.scores(embeddings.view()).into_iter();
        let rows = graphs.features().iter().zip(embeddings.rows());
        let distances = rows.map(|(graph, embedding)| self.domain.distance(embedding, graph));
        scores.zip(distances).map(|(score, distance)| Placed { score, distance }).collect()
    }

    /// Estimates for graphs whose embeddings are known already.
    fn estimate_embedded(
        &self,
        graphs: &GraphBatch,
        embeddings: &Array2<f32>,
        placed: &[Placed],
    ) -> Result<Vec<Estimate>, NotFinite> {
        let estimates = self.unchecked(graphs, embeddings, placed);
        match estimates.iter().position(|e| !e.is_finite()) {
            None => Ok(estimates),
            Some(network) => Err(NotFinite { network }),
        }
    }

    fn unchecked(
        &self,
        graphs: &GraphBatch,
        embeddings: &Array2<f32>,
        placed: &[Placed],
    ) -> Vec<Estimate> {
        let estimate = |accuracy, interval, distance| Estimate {
            accuracy,
            interval,
            distance,
            in_distribution: distance <= 1.0,
            depends_on_input: true,
        };
        let general = |(&Placed { score, distance }, proxies): (&Placed, &Proxies)| {
            let (score, prior) = (f64::from(score), proxies.score());
            let known = ApplicabilityDomain::membership(distance);
            let mix = |of_score: f64, of_prior: f64| known * of_score + (1.0 - known) * of_prior;
            let accuracy = mix(self.calibration.accuracy(score), self.prior.accuracy(prior));
            let [low, high] = self.calibration.interval(score, distance);
            let [prior_low, prior_high] = self.prior.interval(prior, distance);
            estimate(accuracy, [mix(low, prior_low), mix(high, prior_high)], distance)
        };
        let mut estimates: Vec<Estimate> =
            placed.iter().zip(graphs.proxies()).map(general).collect();
        for (estimate, descriptors) in estimates.iter_mut().zip(graphs.descriptors()) {
            if let Some(known) = descriptors.as_ref().and_then(|d| self.of_large_images(d)) {
                *estimate = known;
            }
        }
        for (estimate, graph) in estimates.iter_mut().zip(graphs.features()) {
            *estimate = estimate.doubted(graph.unlearned());
        }
        for (estimate, guess) in estimates.iter_mut().zip(graphs.guesses()) {
            if let Some(classes) = guess {
                // One output stands for two classes.
                let chance = 100.0 / (*classes).max(2) as f64;
                (estimate.accuracy, estimate.interval) = (chance, [chance; 2]);
                estimate.depends_on_input = false;
            }
        }
        let Some(FineTunedHead { regressor, domain, of_score }) = &self.fine_tuned else {
            return estimates;
        };
        let accuracies: Vec<f64> = if *of_score {
            placed.iter().map(|placed| f64::from(placed.score)).collect()
        } else {
            estimates.iter().map(|e| e.accuracy).collect()
        };
        let features = FewShotRegressor::features(&accuracies, embeddings.view(), graphs.proxies());
        let groups = features.each_ref().map(Array2::view);
        let adapt = |(i, (graph, embedding)): (usize, (&GraphFeatures, ArrayView1<f32>))| {
            let distance = domain.distance(embedding, graph);
            let rank = regressor.rank(&groups, i, || Neighbourhoods::new(graph));
            let interval = regressor.interval(rank, distance);
            let depends_on_input = estimates[i].depends_on_input;
            Estimate { depends_on_input, ..estimate(regressor.value(rank), interval, distance) }
        };
        graphs.features().iter().zip(embeddings.rows()).enumerate().map(adapt).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{Config, WeightFile, testing};
    use crate::graph::Extent;
    use crate::predictor::RegressionKind;
    use crate::spaces::Architecture;
    use crate::spaces::nasbench101::Cell;
    use std::collections::BTreeMap;

    fn manifest() -> Manifest {
        Manifest {
            features: features_hash(),
            operations: testing::OPERATIONS.map(|o| o.name().to_string()).to_vec(),
            config: Config::encoder(),
            ..Estimator::embedded().manifest().clone()
        }
    }

    #[test]
    fn a_model_folder_is_the_old_one_or_the_new_one() {
        use crate::files::faults::{Plan, with};
        let models: Vec<Estimator> = Estimator::names().filter_map(Estimator::named).collect();
        let [old, new] = &models[..] else { panic!("two models") };
        let name =
            |folder: &Path| Estimator::load(folder).map(|model| model.manifest().name.clone());
        let plans =
            || (0..16).map(Plan::Step).chain((0..16).map(Plan::Kill)).chain([Plan::Full(9999)]);
        let mut failures = 0;
        for (before, plan) in
            [None, Some(old)].into_iter().flat_map(|b| plans().map(move |p| (b, p)))
        {
            let around = tempfile::tempdir().unwrap();
            let folder = around.path().join("model");
            before.into_iter().for_each(|model| model.save(&folder).unwrap());
            let saved = with(plan, || new.save(&folder));
            failures += usize::from(saved.is_err());
            match (saved, name(&folder)) {
                (Ok(()), Ok(name)) => assert_eq!(name, new.manifest().name),
                (Err(_), Ok(name)) => {
                    let old = before.map(|model| &model.manifest().name);
                    assert!(name == new.manifest().name || Some(&name) == old, "{plan:?}");
                }
                (saved, Err(_)) => assert!(saved.is_err() && before.is_none(), "{plan:?}"),
            }
            // Whatever is left, the next one gets its way.
            new.save(&folder).unwrap();
            files::sweep(around.path());
            assert_eq!(name(&folder).unwrap(), new.manifest().name);
            assert_eq!(fs::read_dir(around.path()).unwrap().count(), 1, "{plan:?}");
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "{plan:?}");
        }
        assert!(failures > 20, "{failures}");
        // In a folder that is there already, and not over what is no model.
        let folder = tempfile::tempdir().unwrap();
        for plan in plans() {
            let saved = with(plan, || new.save(folder.path()));
            assert!(name(folder.path()).is_ok() || saved.is_err(), "{plan:?}");
            fs::read_dir(folder.path())
                .unwrap()
                .for_each(|e| fs::remove_file(e.unwrap().path()).unwrap());
        }
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        assert!(new.save(folder.path()).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    fn load(
        manifest: &Manifest,
        tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    ) -> Result<Estimator, String> {
        let json = serde_json::to_vec(manifest).unwrap();
        Estimator::from_bytes(&json, &testing::file(tensors)).map_err(|e| e.to_string())
    }

    #[test]
    fn a_damaged_model_is_an_error_that_names_the_damage() {
        let manifest = manifest();
        let tensors = testing::tensors(&manifest.config, 3);
        load(&manifest, &tensors).unwrap();

        type Damage = fn(&mut Manifest, &mut BTreeMap<String, (Vec<usize>, Vec<f32>)>);
        let damages: [(&str, Damage); 11] = [
            ("schema 9", |m, _| m.schema = 9),
            ("trained on features 0123", |m, _| m.features = "0123".into()),
            ("operation 'warp'", |m, _| m.operations.push("warp".into())),
            ("no dimensions", |m, _| m.config.width = 0),
            ("'encoder.operations' has shape", |m, _| m.config.width = usize::MAX),
            ("'encoder.layers.6.weight' is missing", |m, _| m.config.layers = usize::MAX),
            ("'head.0.weight' is missing", |_, t| drop(t.remove("head.0.weight"))),
            ("'encoder.input.bias' has shape [32, 2]", |_, t| {
                t.get_mut("encoder.input.bias").unwrap().0 = vec![32, 2];
            }),
            ("'head.1.bias' holds a number that is not finite", |_, t| {
                t.get_mut("head.1.bias").unwrap().1[0] = f32::NAN;
            }),
            ("'calibration': the calibration is not an increasing", |_, t| {
                t.get_mut("calibration").unwrap().1[1] = 95.0;
            }),
            ("'territory.centroids' is missing", |_, t| {
                *t.get_mut("territory.centroids").unwrap() = (vec![0, 64], Vec::new());
            }),
        ];
        for (message, damage) in damages {
            let (mut manifest, mut tensors) = (manifest.clone(), tensors.clone());
            damage(&mut manifest, &mut tensors);
            let error = load(&manifest, &tensors).expect_err(message);
            assert!(error.contains(message), "{error}");
        }
    }

    /// Of a model that was made by `kept`.
    fn fine_tuned(kept: Method, adaptation: RegressionKind) -> Manifest {
        let metrics = manifest().metrics["nasbench101 validation"]["model"];
        let fine_tuning = FineTuning {
            base: "base".into(),
            base_hash: "0123".into(),
            target: "top1".into(),
            data: manifest().data[0].clone(),
            kept,
            fitted: 6,
            adaptation,
            metrics: Comparison { before: metrics, after: metrics },
        };
        Manifest { fine_tuning: Some(fine_tuning), ..manifest() }
    }

    /// Its encoder and head were trained on the labels: what the scores stood for before is void.
    #[test]
    fn what_is_adapted_of_a_tuned_model_is_its_score() {
        let graphs = GraphBatch::new(&[0, 1, 2, 3, 4, 5].map(testing::graph));
        let manifest = fine_tuned(Method::Tuned, RegressionKind::Increasing);
        let mut file =
            WeightFile::parse(&testing::file(&testing::tensors(&manifest.config, 3))).unwrap();
        let bytes = file.to_bytes().unwrap();
        let weights = Weights::parse(&bytes).unwrap();
        let operations = testing::OPERATIONS;
        let encoder = Encoder::new(&manifest.config, &operations, &weights).unwrap();
        let head = Head::new(&manifest.config, &weights).unwrap();
        let embeddings = encoder.embed(graphs.features());
        let scores: Vec<f64> = head.scores(embeddings.view()).into_iter().map(f64::from).collect();
        let regressor =
            FewShotRegressor::recalibrate(&scores, &[1.0, 2.0, 3.0, 5.0, 4.0, 6.0]).unwrap().0;
        regressor.store(&mut file);
        let domain = Estimator::embedded().domain().around(embeddings.view(), [].into());
        domain.store("adaptation.territory", &mut file);
        let json = serde_json::to_vec(&manifest).unwrap();
        let tuned = Estimator::from_bytes(&json, &file.to_bytes().unwrap()).unwrap();
        let expected = regressor.predict(
            &[Array2::from_shape_fn((6, 1), |(i, _)| scores[i]).view()],
            |_| unreachable!(),
        );
        let estimates = tuned.estimate_batch(&graphs).unwrap();
        assert_eq!(estimates.iter().map(|e| e.accuracy).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_damaged_adaptation_is_an_error_that_names_the_damage() {
        let manifest = |kind| fine_tuned(Method::Adapted, kind);
        let graphs = GraphBatch::new(&[0, 1, 2, 3, 4, 5].map(testing::graph));
        let estimates = [1.0, 2.0, 3.0, 5.0, 4.0, 6.0];
        let embeddings = Array2::from_shape_fn((6, 64), |(i, j)| ((i + j) % 5) as f32);
        let features = FewShotRegressor::features(&estimates, embeddings.view(), graphs.proxies());
        let groups = features.each_ref().map(Array2::view);
        let fitted = FewShotRegressor::fit(&groups, &[], &estimates).unwrap();
        let recalibrated = FewShotRegressor::recalibrate(&estimates, &estimates).unwrap().0;
        let base = testing::file(&testing::tensors(&manifest(RegressionKind::Linear).config, 3));

        type Damage = fn(&mut WeightFile);
        let damages: [(&FewShotRegressor, &str, Damage); 7] = [
            (&fitted, "'adaptation.radius': it is negative", |f| {
                f.put("adaptation.radius", &[1], &[-1.0]);
            }),
            (&fitted, "'adaptation.radius' holds a number that is not finite", |f| {
                f.put("adaptation.radius", &[1], &[f64::NAN]);
            }),
            (&fitted, "'adaptation.radius' is stored as F32, expected F64", |f| {
                f.put("adaptation.radius", &[1], &[1f32]);
            }),
            (&fitted, "'adaptation.values': it is not an increasing", |f| {
                f.put("adaptation.values", &[2, 2], &[0.0, 1.0, 0.5, 1.0]);
            }),
            (&fitted, "'adaptation.estimate.labels' has shape [6, 1]", |f| {
                f.put("adaptation.coefficients", &[7, 1], &[0.0; 7]);
            }),
            (&fitted, "'adaptation.embedding.mean' has shape [63]", |f| {
                f.put("adaptation.embedding.mean", &[63], &[0.0; 63]);
            }),
            (&recalibrated, "'adaptation.curve': it is not an increasing", |f| {
                f.put("adaptation.curve", &[1, 2], &[0.0, 1.0]);
            }),
        ];
        for (regressor, message, damage) in damages {
            let json = serde_json::to_vec(&manifest(regressor.kind())).unwrap();
            let load = |damage: Damage| {
                let mut file = WeightFile::parse(&base).unwrap();
                regressor.store(&mut file);
                Estimator::embedded()
                    .domain()
                    .around(embeddings.view(), Default::default())
                    .store("adaptation.territory", &mut file);
                damage(&mut file);
                Estimator::from_bytes(&json, &file.to_bytes().unwrap())
            };
            load(|_| ()).unwrap().estimate_batch(&graphs).unwrap();
            let error = load(damage).expect_err(message).to_string();
            assert!(error.contains(message), "{error}");
            let error = Estimator::from_bytes(&json, &base).unwrap_err().to_string();
            assert!(error.contains("'adaptation.values' is missing"), "{error}");
        }
    }

    /// A file of weights with one tensor full of numbers that are out of all proportion, for each of
    /// its tensors and some such numbers.
    fn disproportionate(file: &[u8]) -> Vec<(String, Vec<u8>)> {
        let numbers = [f64::MAX, f64::from(f32::MAX), 1e25, 150.0, -1.0, 0.0, 1e-40, f64::MIN];
        let mut files = Vec::new();
        for (name, tensor) in safetensors::SafeTensors::deserialize(file).unwrap().tensors() {
            let count = tensor.shape().iter().product::<usize>();
            for number in numbers {
                // All the same, of both signs, and rising from almost nothing.
                let patterns: [fn(usize, f64) -> f64; 3] = [
                    |_, x| x,
                    |i, x| if i % 3 == 0 { -x } else { x },
                    |i, x| x / (1u64 << (i % 60)) as f64,
                ];
                for pattern in patterns {
                    let values: Vec<f64> = (0..count).map(|i| pattern(i, number)).collect();
                    let mut file = WeightFile::parse(file).unwrap();
                    match tensor.dtype() {
                        safetensors::Dtype::F64 => file.put(&name, tensor.shape(), &values),
                        _ => {
                            let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
                            file.put(&name, tensor.shape(), &values);
                        }
                    }
                    files.push((format!("{name} {number:e}"), file.to_bytes().unwrap()));
                }
            }
        }
        files
    }

    #[test]
    fn an_embedding_comes_with_the_answer_and_changes_nothing() {
        use crate::{lower::lower, spaces::Space};
        let build = |space: Space, text| lower(&space.build(text).unwrap()).unwrap();
        let cell =
            "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|";
        let graphs = [
            build(Space::NasBench201, cell),
            build(Space::MnasNet, &Space::MnasNet.sample(&mut rand::thread_rng())),
        ];
        let model = Estimator::embedded();
        for question in [Question::default(), Question::of_one_family()] {
            let plain = model.answer(&graphs, &question).unwrap();
            let asked = Question { embedding: true, ..question };
            let mut answers = model.answer(&graphs, &asked).unwrap();
            for (graph, answer) in graphs.iter().zip(&mut answers) {
                let embedding = answer.embedding.take().unwrap();
                let alone = model.embed(std::slice::from_ref(graph));
                assert_eq!(embedding, alone.row(0).to_vec());
            }
            assert_eq!(answers, plain);
        }
    }

    /// An answer is made of finite numbers, and its interval holds the accuracy.
    fn check_sound(answer: &Answer, what: &str) {
        let Estimate { accuracy, interval: [low, high], distance, .. } = answer.estimate;
        assert!(
            [accuracy, low, high, distance].iter().all(|x| x.is_finite()),
            "{what}: {answer:?}"
        );
        assert!(low - 1e-9 <= accuracy && accuracy <= high + 1e-9, "{what}: {answer:?}");
        assert!(answer.voices.iter().all(|voice| voice.accuracy.is_finite()), "{what}: {answer:?}");
        assert!((0.0..=1.0).contains(&answer.better_than(answer)), "{what}: {answer:?}");
    }

    #[test]
    fn a_model_out_of_all_proportion_is_refused_and_never_a_nan() {
        let graphs = [testing::graph(9), testing::graph(5)];
        let mut refused = 0;
        let mut check = |manifest: &[u8], weights: &[u8], what: &str| {
            let Ok(model) = Estimator::from_bytes(manifest, weights) else { return refused += 1 };
            for graph in &graphs {
                let estimate = model.estimate(&[graph]);
                match model.answer(&[graph], &Question::default()) {
                    Ok(answers) => {
                        check_sound(&answers[0], what);
                        assert_eq!(estimate.unwrap(), [answers[0].estimate], "{what}");
                    }
                    Err(error) => {
                        assert!(error.to_string().contains("not a finite number"), "{error}");
                        refused += 1;
                    }
                }
            }
        };
        for config in [Config::encoder(), Config::k_gnn()] {
            let json =
                serde_json::to_vec(&Manifest { config: config.clone(), ..manifest() }).unwrap();
            for (what, file) in disproportionate(&testing::file(&testing::tensors(&config, 3))) {
                check(&json, &file, &what);
            }
        }
        // With what fine-tuning adds.
        let six = GraphBatch::new(&[0, 1, 2, 3, 4, 5].map(testing::graph));
        let estimates = [1.0, 2.0, 3.0, 5.0, 4.0, 6.0];
        let embeddings = Array2::from_shape_fn((6, 64), |(i, j)| ((i + j) % 5) as f32);
        let features = FewShotRegressor::features(&estimates, embeddings.view(), six.proxies());
        let groups = features.each_ref().map(Array2::view);
        for regressor in [
            FewShotRegressor::fit(&groups, &[], &estimates).unwrap(),
            FewShotRegressor::recalibrate(&estimates, &estimates).unwrap().0,
        ] {
            let base = testing::file(&testing::tensors(&Config::encoder(), 3));
            let mut file = WeightFile::parse(&base).unwrap();
            regressor.store(&mut file);
            let domain = Estimator::embedded().domain().around(embeddings.view(), [].into());
            domain.store("adaptation.territory", &mut file);
            let file = file.to_bytes().unwrap();
            for kind in [regressor.kind(), RegressionKind::Matern] {
                let json = serde_json::to_vec(&fine_tuned(Method::Adapted, kind)).unwrap();
                disproportionate(&file)
                    .iter()
                    .filter(|(what, _)| what.starts_with("adaptation"))
                    .for_each(|(what, file)| check(&json, file, what));
            }
        }
        assert!(refused > 300, "{refused}");
    }

    #[test]
    fn models_of_real_networks_out_of_all_proportion_are_refused_and_never_a_nan() {
        let (_, json, weights) = REAL[1];
        let graph = testing::graph(9);
        let (mut refused, mut answered) = (0, 0);
        let mut check = |manifest: &[u8], weights: &[u8], what: &str| {
            let Ok(real) = RealNetworks::from_bytes(manifest, weights) else { return refused += 1 };
            let targets: Vec<Target> = real.manifest().targets.iter().map(|f| f.target).collect();
            let model = Estimator::with_real(real);
            for target in targets {
                let question = Question { target: Some(target), ..Question::default() };
                match model.answer(&[&graph], &question) {
                    Ok(answers) => {
                        check_sound(&answers[0], what);
                        answered += 1;
                    }
                    Err(error) => {
                        assert!(error.to_string().contains("not a finite number"), "{error}");
                        refused += 1;
                    }
                }
            }
        };
        check(json, weights, "whole");
        for (what, file) in disproportionate(weights) {
            check(json, &file, &what);
        }
        let whole: serde_json::Value = serde_json::from_slice(json).unwrap();
        let facts = ["mean", "deviation", "half_width", "half_width_outside", "reach", "odds"];
        let pointers = (facts.iter().map(|fact| format!("/targets/0/{fact}")))
            .chain(["linear", "length", "smooth_length"].map(|h| format!("/hyperparameters/{h}")))
            .chain(["/networks/0/accuracy".into(), "/targets/0/recipes/0/1/0".into()]);
        for pointer in pointers {
            for number in [f64::MAX, 1e100, 0.0, -1.0, 1e-300, f64::MIN] {
                let mut manifest = whole.clone();
                let place = manifest.pointer_mut(&pointer);
                *place.unwrap_or_else(|| panic!("{pointer}")) = number.into();
                let what = format!("{pointer} {number:e}");
                check(&serde_json::to_vec(&manifest).unwrap(), weights, &what);
            }
        }
        assert!(refused > 50 && answered > 50, "{refused} {answered}");
    }

    #[test]
    fn files_cut_anywhere_are_errors() {
        let json = serde_json::to_vec(&manifest()).unwrap();
        let weights = testing::file(&testing::tensors(&Config::encoder(), 3));
        for length in (0..json.len()).step_by(7) {
            assert!(Estimator::from_bytes(&json[..length], &weights).is_err());
        }
        for length in (0..weights.len()).step_by(101) {
            assert!(Estimator::from_bytes(&json, &weights[..length]).is_err());
        }
    }

    #[test]
    fn every_embedded_model_goes_by_its_name() {
        assert_eq!(Estimator::names().next(), Some(Estimator::embedded().manifest().name.as_str()));
        for name in Estimator::names() {
            assert_eq!(Estimator::named(name).unwrap().manifest().name, name);
        }
        assert!(Estimator::named("other").is_none());
    }

    #[test]
    fn the_embedded_model_knows_its_space_and_its_limits() {
        let estimator = Estimator::embedded();
        let network =
            |text: &str| crate::lower::lower(&text.parse::<Cell>().unwrap().build()).unwrap();
        // One of the best cells, and a chain of two poolings.
        let (good, poor) = (network("111101010000010000111:33331"), network("101001:pp"));
        let foreign = testing::graph(5);
        let graphs: Vec<ComputationGraph> =
            (0..100).flat_map(|_| [good.clone(), poor.clone(), foreign.clone()]).collect();
        let estimates = estimator.estimate(&graphs).unwrap();
        let [good, poor, foreign] = [estimates[0], estimates[1], estimates[2]];
        assert!(good.accuracy > 93.0 && poor.accuracy < 91.0, "{good:?} {poor:?}");
        assert!(good.in_distribution && !foreign.in_distribution, "{good:?} {foreign:?}");
        let width = |e: Estimate| e.interval[1] - e.interval[0];
        assert!(width(foreign) > 2.0 * width(good), "{good:?} {foreign:?}");
        // In parallel and in order.
        assert!(estimates.chunks(3).all(|e| e == [good, poor, foreign]));
        assert_eq!(estimator.embed(&graphs).dim(), (300, estimator.encoder().config().embedding()));
        let none: [ComputationGraph; 0] = [];
        assert!(estimator.estimate(&none).unwrap().is_empty() && estimator.embed(&none).is_empty());
    }

    /// Whatever stands in a valid graph, what comes out is finite; what is not valid says why.
    #[test]
    fn estimates_and_embeddings_of_every_graph_are_finite() {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        let estimator = Estimator::embedded();
        let mut rng = StdRng::seed_from_u64(0);
        let mut accepted = Vec::new();
        let mut rejected = 0;
        for seed in 0..600 {
            let (mut nodes, edges) = testing::parts(seed);
            for node in &mut nodes {
                node.operation = Operation::ALL[rng.gen_range(0..Operation::ALL.len())];
                const NUMBERS: [u64; 5] = [1, 3, 1 << 40, u64::MAX / 300, u64::MAX];
                let mut number = || match rng.gen_bool(0.02) {
                    true => 0,
                    false => NUMBERS[rng.gen_range(0..NUMBERS.len())],
                };
                let mut extent = |e: &mut Extent| *e = Extent::new(number(), number(), number());
                extent(&mut node.input);
                extent(&mut node.output);
                let mut small = || [1, 1, 2, 7, u32::MAX][rng.gen_range(0..5)];
                node.window.kernel = [small(), small()];
                (node.window.groups, node.window.stride) = (small(), [small(), 1]);
                let cost = [0, 1 << 20, u64::MAX / 300];
                (node.parameters, node.macs) =
                    (cost[rng.gen_range(0..3)], cost[rng.gen_range(0..3)]);
                if rng.gen_bool(0.003) {
                    *[&mut node.macs, &mut node.parameters][rng.gen_range(0..2)] = u64::MAX;
                }
                if rng.gen_bool(0.003) {
                    node.window.groups = 0;
                }
            }
            match ComputationGraph::new(nodes, &edges) {
                Ok(graph) => accepted.push(graph),
                Err(error) => {
                    rejected += 1;
                    assert!(error.to_string().starts_with("node '"), "{error}");
                }
            }
        }
        assert!(accepted.len() > 100 && rejected > 50, "{} {rejected}", accepted.len());
        let estimates = estimator.estimate(&accepted).unwrap();
        assert!(estimator.embed(&accepted).iter().all(|x| x.is_finite()));
        assert!(estimates.iter().all(|e| (0.0..=100.0).contains(&e.accuracy)));
    }

    /// The truth is 10 % on CIFAR-10, which no model needs to be asked for.
    #[test]
    fn a_network_without_a_path_can_but_guess() {
        use crate::spaces::nasbench201::{Cell, Dataset};
        let none = "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|none~2|";
        let cell: Cell = none.parse().unwrap();
        let graphs = [Dataset::Cifar10, Dataset::Cifar100, Dataset::ImageNet16_120]
            .map(|set| crate::lower::lower(&cell.build_for(set)).unwrap());
        let batch = GraphBatch::new(&graphs);
        let estimates = Estimator::embedded().estimate_batch(&batch).unwrap();
        for (estimate, chance) in estimates.iter().zip([10.0, 1.0, 100.0 / 120.0]) {
            assert_eq!((estimate.accuracy, estimate.interval), (chance, [chance; 2]));
            assert!(!estimate.depends_on_input);
        }
        // Taken from a store, which a file keeps, it is the same.
        let store = GraphStore::build(3, |i| Ok::<_, ()>(graphs[i].clone()), &|_| ()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        store.save(&path, &[0; 32]).unwrap();
        let store = GraphStore::load(&path, &[0; 32]).unwrap();
        let (stored, _) = Estimator::embedded().estimate_store(&store, &|_| ()).unwrap();
        assert_eq!(stored, estimates);
    }

    /// 86.5 and 54.3 %, by NAS-Bench-201: a sum of a map with itself in every cell lets the signal
    /// grow until what is learned beside it does not count.
    #[test]
    fn nobody_vouches_for_a_network_whose_cells_learn_nothing() {
        let cell = |text: &str| {
            let cell: crate::spaces::nasbench201::Cell = text.parse().unwrap();
            crate::lower::lower(&cell.build()).unwrap()
        };
        let (skip, none) = ("skip_connect", "none");
        let identity =
            cell(&format!("|{none}~0|+|{none}~0|{none}~1|+|{skip}~0|{none}~1|{none}~2|"));
        let skips = cell(&format!("|{skip}~0|+|{skip}~0|{skip}~1|+|{skip}~0|{skip}~1|{skip}~2|"));
        for name in Estimator::names() {
            let estimator = Estimator::named(name).unwrap();
            // As one of a family, by itself, and for another target.
            let mut questions = vec![Question::of_one_family(), Question::default()];
            if !estimator.real().is_empty() {
                questions.push(Question { target: Some(Target::Svhn), ..Question::default() });
            }
            for question in questions {
                let answers = estimator.answer(&[&identity, &skips], &question).unwrap();
                let [identity, skips] = [answers[0].estimate, answers[1].estimate];
                assert!(!skips.in_distribution && skips.distance > 2.0, "{name} {skips:?}");
                assert_eq!(skips.interval[0], 0.0, "{name} {skips:?}");
                assert!(identity.interval[0] > 60.0, "{name} {identity:?}");
            }
        }
    }

    #[test]
    fn operations_never_trained_on_are_out_of_distribution() {
        let mut tensors = testing::tensors(&Config::encoder(), 3);
        tensors.get_mut("territory.scale").unwrap().1.fill(0.0);
        tensors.get_mut("territory.centroids").unwrap().1.fill(0.0);
        let estimator = load(&manifest(), &tensors).unwrap();
        let (mut nodes, edges) = testing::parts(9);
        let graph = |nodes: &[_]| ComputationGraph::new(nodes.to_vec(), &edges).unwrap();
        assert_eq!(estimator.estimate(&[graph(&nodes)]).unwrap()[0].distance, 0.0);
        nodes[0].operation = Operation::Gelu;
        let estimate = estimator.estimate(&[graph(&nodes)]).unwrap()[0];
        assert!(estimate.distance > 1.0 && !estimate.in_distribution, "{estimate:?}");
    }
}
