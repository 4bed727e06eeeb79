//! Adapting a model to a user's own labels.
//!
//! [`fine_tune`] chooses between the model as it is, with other values in the same order, a regression
//! of the labels on what the model knows ([`Adaptation`]) and, with the feature `train`, the model
//! trained further on them by gradient descent. Each is judged by what it predicts of every label
//! from the others: a handful of labels held out is too few to choose by.

use crate::benchmarks::labels::repeated;
use crate::benchmarks::{BenchmarkError, Networks, one_of_each};
use crate::encoder::{GraphStore, Neighbourhoods, WeightError, WeightFile};
use crate::estimator::{
    Comparison, Data, Estimator, FineTuning, LoadError, Manifest, Method, Metrics, SCHEMA,
};
use crate::evaluation::{Observer, contents};
use crate::hint::Hint;
use crate::predictor::{Adaptation, AdaptationError, Kind};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::PathBuf;

/// Fewest architectures.
pub const MIN_ARCHITECTURES: usize = 10;

/// Most labels that are fitted, since that takes time cubic in their number and memory quadratic in it:
/// about a minute and a gigabyte with so many. Of more labels, a random sample of so many is.
pub const MAX_FITTED: usize = 5000;

/// Fewest labels from which a model is trained further by gradient descent; fewer where tests do
/// this. With 40, left-out scores of NAS-Bench-201 networks agreed with the labels at .95 and scores
/// of other networks at .69. With 160 it was .95 and .91.
const TUNABLE: usize = if cfg!(test) { 40 } else { 150 };

/// Why a model can't be adapted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FineTuneError {
    /// A network can't be turned into a graph.
    #[error(transparent)]
    Network(#[from] BenchmarkError),
    /// Too few labels.
    #[error(
        "labels of {0} different architectures are too few; at least {MIN_ARCHITECTURES} are needed"
    )]
    Few(usize),
    /// The model is fine-tuned already.
    #[error("'{name}' is fine-tuned already")]
    FineTuned {
        /// The model.
        name: String,
        /// What it was made from.
        base: String,
    },
    /// The model is out of all proportion.
    #[error("'{name}' makes no finite number of {network}")]
    NotFinite {
        /// The model.
        name: String,
        /// The network.
        network: String,
    },
    /// The labels can't be fitted.
    #[error("fitting the labels: {0}")]
    Labels(#[from] AdaptationError),
    /// The weights can't be put together: an error of the program.
    #[error("the fine-tuned model does not load: {0}")]
    Load(#[from] LoadError),
}

impl FineTuneError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Network(error) => error.hint(),
            Self::Few(_) => Some(Hint::Words("label more networks".into())),
            Self::FineTuned { base, .. } => {
                Some(format!("start from '{base}', with all labels together").into())
            }
            _ => None,
        }
    }
}

impl From<WeightError> for FineTuneError {
    fn from(error: WeightError) -> Self {
        Self::Load(error.into())
    }
}

/// What the manifest of the new model says of where it comes from.
#[derive(Debug, Clone)]
pub struct Options {
    /// The model's name.
    pub name: String,
    /// The command that makes it again, if one does.
    pub command: Option<String>,
    /// Name of the labels.
    pub labels: String,
    /// What they measure.
    pub target: String,
    /// Seed of the order of the labels, of which too many are not all fitted.
    pub seed: u64,
    /// Folder that featurised graphs are taken from or left in, if they are to be kept.
    pub cache: Option<PathBuf>,
}

/// A model that may have been kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// How it was made.
    pub method: Method,
    /// How well it predicts each label from the others.
    pub metrics: Metrics,
}

/// What fine-tuning leaves behind.
#[derive(Debug)]
pub struct FineTuned {
    /// The new model.
    pub estimator: Estimator,
    /// All that it was chosen from.
    pub candidates: Vec<Candidate>,
    /// Why graphs can't be kept in the cache, if so.
    pub unsaved: Option<io::Error>,
}

/// What is known of the labelled networks.
struct Labelled<'a> {
    base: &'a Estimator,
    store: GraphStore,
    targets: Vec<f64>,
    embeddings: Array2<f32>,
    features: [Array2<f64>; 3],
    distances: Vec<f64>,
    /// Of the new model, but for its fine-tuning and what operations a method adds.
    manifest: Manifest,
}

/// What a method makes of some of the labels.
struct Fitted {
    adaptation: Adaptation,
    /// Of the labelled networks.
    embeddings: Array2<f32>,
    /// Encoder and head, and all else that the base has.
    file: WeightFile,
    /// Names of the operations that the encoder knows.
    operations: Vec<String>,
    /// What is predicted of each label from the others.
    left_out: Vec<f64>,
}

/// Makes something of the labels at some positions.
type Fit<'a> = dyn Fn(&[usize]) -> Result<Fitted, FineTuneError> + 'a;

/// Adapts `base` to labelled networks.
///
/// Of the [candidates](FineTuned::candidates), the one that predicts labels from the others with the
/// highest Kendall's τ-b is kept, the model as it was among equals.
///
/// # Errors
/// When there are too few labels or all are the same, when a network can't be turned into a graph,
/// or when `base` is fine-tuned itself.
pub fn fine_tune(
    base: &Estimator,
    networks: &dyn Networks,
    options: &Options,
    observe: &Observer,
) -> Result<FineTuned, FineTuneError> {
    if let Some(earlier) = &base.manifest().fine_tuning {
        let (name, base) = (base.manifest().name.clone(), earlier.base.clone());
        return Err(FineTuneError::FineTuned { name, base });
    }
    let architectures = networks.len() - repeated(networks);
    if architectures < MIN_ARCHITECTURES {
        return Err(FineTuneError::Few(architectures));
    }
    let count = networks.len();
    let built = |done| observe("building", done, count);
    let graph = |i| networks.graph(i);
    let (store, unsaved) = match &options.cache {
        Some(cache) => GraphStore::cached(cache, &contents(networks), count, graph, &built)?,
        None => (GraphStore::build(count, graph, &built)?, None),
    };
    let (estimates, embeddings) =
        base.estimate_store(&store, &|done| observe("scoring", done, count)).map_err(|e| {
            let (name, network) = (base.manifest().name.clone(), networks.name(e.network));
            FineTuneError::NotFinite { name, network }
        })?;
    // Of one architecture's labels, each would tell of the other when it is left out.
    let order = one_of_each(networks, options.seed);
    let sample = &order[..order.len().min(MAX_FITTED)];
    let chosen: HashSet<usize> = order.iter().copied().collect();
    let others = (0..count).filter(|i| !chosen.contains(i));
    let everything: Vec<usize> = order.iter().copied().chain(others).take(MAX_FITTED).collect();
    let targets: Vec<f64> = (0..count).map(|i| networks.target(i)).collect();
    let truth: Vec<f64> = sample.iter().map(|&i| targets[i]).collect();
    let seen: Vec<_> = sample.iter().map(|&i| estimates[i]).collect();
    let before = Metrics::estimates(&truth, &seen, options.seed);
    let scores: Vec<f64> = estimates.iter().map(|e| e.accuracy).collect();
    let proxies: Vec<_> = (0..count).map(|i| *store.proxies(i)).collect();
    let note = FineTuning {
        base: base.manifest().name.clone(),
        base_hash: blake3::hash(base.weights()).to_hex().to_string(),
        target: options.target.clone(),
        data: Data {
            set: options.labels.clone(),
            rows: count,
            hash: hash(networks),
            split: "every label predicted from the others".into(),
            training: count,
            validation: 0,
            test: 0,
        },
        kept: Method::Recalibrated,
        fitted: 0,
        adaptation: Kind::Increasing,
        metrics: Comparison { before, after: before },
    };
    let labelled = Labelled {
        features: Adaptation::features(&scores, embeddings.view(), &proxies),
        distances: estimates.iter().map(|e| e.distance).collect(),
        manifest: Manifest {
            schema: SCHEMA,
            name: options.name.clone(),
            command: options.command.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..base.manifest().clone()
        },
        base,
        store,
        targets,
        embeddings,
    };

    // The most cautious first.
    let methods: &[(Method, &Fit)] = &[
        (Method::Recalibrated, &|rows| labelled.recalibrated(rows)),
        (Method::Adapted, &|rows| labelled.adapted(rows)),
        #[cfg(feature = "train")]
        (Method::Tuned, &|rows| labelled.tuned(rows, options.seed, observe)),
    ];
    let enough = |method| method != Method::Tuned || sample.len() >= TUNABLE;
    let methods: Vec<_> = methods.iter().filter(|(method, _)| enough(*method)).collect();
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut kept: Option<(Candidate, Fitted, &Fit)> = None;
    for &&(method, fit) in &methods {
        observe("fitting", candidates.len(), methods.len());
        let fitted = fit(sample)?;
        let metrics = match method {
            // The order is the base's, which the mean of the others in between does not change.
            Method::Recalibrated => Metrics {
                mean_absolute_error: Metrics::values(&truth, &fitted.left_out, options.seed)
                    .mean_absolute_error,
                coverage: None,
                ..before
            },
            _ => Metrics::values(&truth, &fitted.left_out, options.seed),
        };
        let candidate = Candidate { method, metrics };
        candidates.push(candidate);
        if kept.as_ref().is_none_or(|(best, ..)| kendall(&metrics) > kendall(&best.metrics)) {
            kept = Some((candidate, fitted, fit));
        }
    }
    // The first is always there.
    let Some((Candidate { method, metrics: after }, mut fitted, fit)) = kept else {
        return Err(FineTuneError::Few(0));
    };
    if everything.len() > sample.len() {
        fitted = fit(&everything)?;
    }
    let note = FineTuning { metrics: Comparison { before, after }, ..note };
    let estimator = labelled.model(method, &fitted, &everything, note)?;
    Ok(FineTuned { estimator, candidates, unsaved })
}

impl Labelled<'_> {
    fn targets(&self, rows: &[usize]) -> Vec<f64> {
        rows.iter().map(|&i| self.targets[i]).collect()
    }

    fn features(&self, rows: &[usize]) -> [Array2<f64>; 3] {
        self.features.each_ref().map(|f| f.select(Axis(0), rows))
    }

    fn structures(&self, rows: &[usize]) -> Vec<Neighbourhoods> {
        rows.par_iter().map(|&i| Neighbourhoods::new(&self.store.features(i))).collect()
    }

    fn recalibrated(&self, rows: &[usize]) -> Result<Fitted, FineTuneError> {
        let [estimates, ..] = self.features(rows);
        let estimates = estimates.column(0).to_vec();
        let (adaptation, left_out) = Adaptation::recalibrate(&estimates, &self.targets(rows))?;
        self.frozen(rows, adaptation, left_out)
    }

    fn adapted(&self, rows: &[usize]) -> Result<Fitted, FineTuneError> {
        let distances: Vec<f64> = rows.iter().map(|&i| self.distances[i]).collect();
        let features = Adaptation::labelled(self.features(rows), &distances);
        let views: Vec<ArrayView2<f64>> = features.iter().map(Array2::view).collect();
        let (adaptation, left_out) =
            Adaptation::fit_left_out(&views, &self.structures(rows), &self.targets(rows))?;
        self.frozen(rows, adaptation, left_out)
    }

    /// With encoder and head as they were.
    fn frozen(
        &self,
        rows: &[usize],
        adaptation: Adaptation,
        left_out: Vec<f64>,
    ) -> Result<Fitted, FineTuneError> {
        let left_out = left_out.into_iter().map(|rank| adaptation.value(rank)).collect();
        Ok(Fitted {
            left_out,
            adaptation,
            embeddings: self.embeddings.select(Axis(0), rows),
            file: WeightFile::parse(self.base.weights())?,
            operations: self.manifest.operations.clone(),
        })
    }

    /// With encoder and head trained further. What is fitted are the scores that labels are given
    /// when they are left out of that training. Embeddings are not: those of the labels that the
    /// encoder was trained on say more than others'.
    #[cfg(feature = "train")]
    fn tuned(
        &self,
        rows: &[usize],
        seed: u64,
        observe: &Observer,
    ) -> Result<Fitted, FineTuneError> {
        use crate::train::fine_tuning::train_further;
        let targets = self.targets(rows);
        let done = |done, of| observe("training", done, of);
        let tuned = train_further(self.base, &self.store, rows, &targets, seed, &done)?;
        let [_, mut embeddings, proxies] = self.features(rows);
        // A group that does not vary is not used.
        embeddings.fill(0.0);
        let scores = Array2::from_shape_fn((rows.len(), 1), |(i, _)| tuned.left_out[i]);
        let groups = [scores.view(), embeddings.view(), proxies.view()];
        let (adaptation, left_out) =
            Adaptation::fit_left_out(&groups, &self.structures(rows), &targets)?;
        let mut fitted = self.frozen(rows, adaptation, left_out)?;
        for (name, (shape, elements)) in &tuned.tensors {
            fitted.file.put(name, shape, elements);
        }
        let operations = tuned.operations.iter().map(|o| o.name().to_string()).collect();
        Ok(Fitted { embeddings: tuned.embeddings, operations, ..fitted })
    }

    /// The model made of what `method` made of the labels at these positions.
    fn model(
        &self,
        method: Method,
        fitted: &Fitted,
        rows: &[usize],
        note: FineTuning,
    ) -> Result<Estimator, FineTuneError> {
        let mut file = fitted.file.clone();
        fitted.adaptation.store(&mut file);
        let kinds: BTreeSet<u32> =
            rows.iter().flat_map(|&i| self.store.features(i).kinds().collect::<Vec<_>>()).collect();
        let domain = self.base.domain().around(fitted.embeddings.view(), kinds);
        domain.store("adaptation.territory", &mut file);
        let mut manifest = self.manifest.clone();
        manifest.operations = fitted.operations.clone();
        let (count, kind) = (rows.len(), fitted.adaptation.kind());
        manifest.fine_tuning =
            Some(FineTuning { kept: method, fitted: count, adaptation: kind, ..note });
        let json = serde_json::to_vec(&manifest).map_err(|e| LoadError::Manifest(e.to_string()))?;
        Ok(Estimator::from_bytes(&json, &file.to_bytes()?)?)
    }
}

/// blake3 of all names and targets, in order.
fn hash(networks: &dyn Networks) -> String {
    let mut labels = blake3::Hasher::new();
    for i in 0..networks.len() {
        labels.update(format!("{} {}\n", networks.name(i), networks.target(i)).as_bytes());
    }
    labels.finalize().to_hex().to_string()
}

fn kendall(metrics: &Metrics) -> f64 {
    metrics.kendall.value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmarks::Labelled as LabelledArchitecture;
    use crate::spaces::{Architecture, nasbench101, nasbench201};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// What a model that is loaded again estimates of these networks.
    fn accuracies(model: &Estimator, networks: &dyn Networks, positions: &[usize]) -> Vec<f64> {
        let graphs: Vec<_> = positions.iter().map(|&i| networks.graph(i).unwrap()).collect();
        model.estimate(&graphs).unwrap().iter().map(|e| e.accuracy).collect()
    }

    fn check<A: Architecture>(seed: u64, target: impl Fn(f64, f64) -> f64) -> Method {
        let base = Estimator::embedded();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut set: Vec<LabelledArchitecture<A>> = (0..60)
            .map(|_| A::sample(&mut rng))
            .map(|architecture| LabelledArchitecture {
                architecture,
                accuracy: 0.,
                parameters: None,
            })
            .collect();
        let all: Vec<usize> = (0..set.len()).collect();
        let estimates = accuracies(&base, &set, &all);
        for (network, estimate) in set.iter_mut().zip(estimates) {
            network.accuracy = target(estimate, rng.gen_range(-1.0..1.0));
        }
        let text = |text: &str| text.to_string();
        let (name, labels, target) = (text("mine"), text("labels"), text("target"));
        let options = Options { name, command: None, labels, target, seed, cache: None };
        let folder = tempfile::tempdir().unwrap();
        let tuned = fine_tune(&base, &set, &options, &|_, _, _| ()).unwrap();
        let mine = folder.path().join("mine");
        tuned.estimator.save(&mine).unwrap();
        let written = Estimator::load(&mine).unwrap();
        assert_eq!(written.weights(), tuned.estimator.weights());
        assert_eq!(accuracies(&written, &set, &all), accuracies(&tuned.estimator, &set, &all));

        let metrics = written.manifest().fine_tuning.as_ref().unwrap().metrics;
        assert!(kendall(&metrics.after) >= kendall(&metrics.before), "{metrics:?}");
        written.manifest().fine_tuning.as_ref().unwrap().kept
    }

    #[test]
    fn left_out_labels_are_never_ranked_worse() {
        #[cfg(feature = "train")]
        let _guard = crate::train::seeded();
        let mut kept = Vec::new();
        // Training takes a while.
        let seeds = if cfg!(feature = "train") { 1 } else { 4 };
        for seed in 0..seeds {
            // Noise alone; the model's opinion, the other way round, with noise, and in small units.
            kept.push(check::<nasbench201::Cell>(seed, |_, noise| noise));
            kept.push(check::<nasbench201::Cell>(seed, |estimate, _| -1e6 * estimate));
            kept.push(check::<nasbench101::Cell>(seed, |estimate, noise| estimate + noise));
            kept.push(check::<nasbench101::Cell>(seed, |estimate, _| 1e-6 * estimate));
        }
        assert!(kept.iter().any(|method| *method != Method::Recalibrated));
        // What is perfect can't be improved.
        assert!(kept.iter().skip(3).step_by(4).all(|k| *k == Method::Recalibrated), "{kept:?}");
    }

    #[test]
    fn labels_that_say_nothing_are_errors() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let set = |count: usize, accuracy: f64, rng: &mut ChaCha8Rng| -> Vec<_> {
            let cells = (0..count).map(|_| nasbench101::Cell::sample(rng));
            cells
                .map(|architecture| LabelledArchitecture {
                    architecture,
                    accuracy,
                    parameters: None,
                })
                .collect()
        };
        let text = String::new;
        let options = Options {
            name: text(),
            command: None,
            labels: text(),
            target: text(),
            seed: 0,
            cache: None,
        };
        let tune = |networks: &Vec<LabelledArchitecture<nasbench101::Cell>>| {
            let base = Estimator::embedded();
            fine_tune(&base, networks, &options, &|_, _, _| ()).unwrap_err()
        };
        assert!(matches!(tune(&set(9, 1.0, &mut rng)), FineTuneError::Few(_)));
        let constant = tune(&set(20, 1.0, &mut rng));
        assert!(matches!(constant, FineTuneError::Labels(AdaptationError::Constant)), "{constant}");
    }
}
