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
mod folder;
mod golden;
mod manifest;
pub mod real;
mod surrogate;

#[cfg(feature = "cli")]
pub(crate) use answer::significant;
pub use answer::{Answer, Expert, Neighbour, Question, QuestionError, Voice};
pub use evaluator::{Accuracy, Statistic};
pub use folder::{LoadError, WriteError, check_target};
pub(crate) use folder::{MANIFEST, WEIGHTS, read_manifest, write_folder};
pub use golden::descriptors_hash;
pub(crate) use golden::golden_graphs;
pub use manifest::{
    Comparison, Data, Epoch, FineTuning, Manifest, Measure, Method, Metrics, Recipe, Training,
};

use crate::benchmarks::Target;
use crate::encoder::{
    Encoder, GraphBatch, GraphFeatures, GraphStore, Neighbourhoods, Weights, features_hash,
};
use crate::graph::{ComputationGraph, Operation};
use crate::predictor::{ApplicabilityDomain, Calibration, FewShotRegressor, Head};
use crate::proxies::{Descriptors, Proxies};
use folder::read_folder;
use ndarray::{Array2, ArrayView1, Axis, concatenate};
use rayon::prelude::*;
use real::RealNetworks;
use std::borrow::Borrow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Version of the format of model folders.
pub const SCHEMA: u32 = 2;

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
    /// [signature](GraphFeatures::signatures) was not met in training or that are repeated and
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
    /// Of a network whose output depends on its input.
    fn new(accuracy: f64, interval: [f64; 2], distance: f64) -> Self {
        let in_distribution = distance <= 1.0;
        Self { accuracy, interval, distance, in_distribution, depends_on_input: true }
    }

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
        Some(Estimate::new(known.accuracy, known.interval, known.distance))
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
        let general = |(&Placed { score, distance }, proxies): (&Placed, &Proxies)| {
            let (score, prior) = (f64::from(score), proxies.score());
            let known = ApplicabilityDomain::membership(distance);
            let mix = |of_score: f64, of_prior: f64| known * of_score + (1.0 - known) * of_prior;
            let accuracy = mix(self.calibration.accuracy(score), self.prior.accuracy(prior));
            let [low, high] = self.calibration.interval(score, distance);
            let [prior_low, prior_high] = self.prior.interval(prior, distance);
            Estimate::new(accuracy, [mix(low, prior_low), mix(high, prior_high)], distance)
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
            let estimate = Estimate::new(regressor.value(rank), interval, distance);
            Estimate { depends_on_input, ..estimate }
        };
        graphs.features().iter().zip(embeddings.rows()).enumerate().map(adapt).collect()
    }
}

#[cfg(test)]
mod tests;
