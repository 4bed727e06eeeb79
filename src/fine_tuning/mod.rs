//! Adapting a model to a user's own labels.
//!
//! [`fine_tune`] chooses between the model as it is, with other values in the same order, a regression
//! of the labels on what the model knows ([`FewShotRegressor`](crate::predictor::FewShotRegressor)) and,
//! with the feature `train`, the model trained further on them by gradient descent. Each is judged by
//! what it predicts of every label from the others: a handful of labels held out is too few to choose
//! by.

#[cfg(feature = "train")]
mod gradient_descent;
mod methods;

use crate::benchmarks::labels::repeated;
use crate::benchmarks::{BenchmarkError, Networks, one_of_each};
use crate::encoder::WeightError;
use crate::estimator::{
    Comparison, Data, Estimator, FineTuning, LoadError, Manifest, Method, Metrics, SCHEMA,
};
use crate::evaluation::Observer;
use crate::hint::Hint;
use crate::predictor::FewShotError;
use methods::{Fitted, Labelled};
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

/// Fewest architectures.
pub const MIN_ARCHITECTURES: usize = 10;

/// Most labels that are fitted, since that takes time cubic in their number and memory quadratic in it:
/// about a minute and a gigabyte with so many. Of more labels, a random sample of so many is.
pub const MAX_FITTED: usize = 5000;

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
    Labels(#[from] FewShotError),
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
    check(base, networks)?;
    let (labelled, unsaved) = Labelled::new(base, networks, options.cache.as_deref(), observe)?;
    let (judged, fitted) = positions(networks, options.seed);
    // With the fewest labels that each takes, the most cautious first.
    let methods: &[(Method, usize, &Fit)] = &[
        (Method::Recalibrated, 0, &|rows| labelled.recalibrated(rows)),
        (Method::Adapted, 0, &|rows| labelled.adapted(rows)),
        #[cfg(feature = "train")]
        (Method::Tuned, gradient_descent::MIN_LABELS, &|rows| {
            labelled.tuned(rows, gradient_descent::STEPS, options.seed, observe)
        }),
    ];
    let methods: Vec<_> = methods.iter().filter(|(_, least, _)| judged.len() >= *least).collect();
    let before = labelled.before(&judged, options.seed);
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut kept: Option<(Candidate, Fitted, &Fit)> = None;
    for &&(method, _, fit) in &methods {
        observe("fitting", candidates.len(), methods.len());
        let made = fit(&judged)?;
        let after = labelled.after(&judged, &made, options.seed);
        let metrics = match method {
            // The order is the base's, which the mean of the others in between does not change.
            Method::Recalibrated => {
                Metrics { mean_absolute_error: after.mean_absolute_error, coverage: None, ..before }
            }
            _ => after,
        };
        let candidate = Candidate { method, metrics };
        candidates.push(candidate);
        if kept.as_ref().is_none_or(|(best, ..)| kendall(&metrics) > kendall(&best.metrics)) {
            kept = Some((candidate, made, fit));
        }
    }
    // The first is always there.
    let Some((Candidate { method, metrics: after }, mut made, fit)) = kept else {
        return Err(FineTuneError::Few(0));
    };
    if fitted.len() > judged.len() {
        made = fit(&fitted)?;
    }
    let metrics = Comparison { before, after };
    let estimator = model(&labelled, &fitted, (method, made), metrics, networks, options)?;
    Ok(FineTuned { estimator, candidates, unsaved })
}

/// # Errors
/// When `base` is fine-tuned, or the architectures are too few.
fn check(base: &Estimator, networks: &dyn Networks) -> Result<(), FineTuneError> {
    if let Some(earlier) = &base.manifest().fine_tuning {
        let (name, base) = (base.manifest().name.clone(), earlier.base.clone());
        return Err(FineTuneError::FineTuned { name, base });
    }
    match networks.len() - repeated(networks) {
        architectures if architectures < MIN_ARCHITECTURES => {
            Err(FineTuneError::Few(architectures))
        }
        _ => Ok(()),
    }
}

/// Which labels methods are judged by, and which the best of them is fitted to.
fn positions(networks: &dyn Networks, seed: u64) -> (Vec<usize>, Vec<usize>) {
    // Of one architecture's labels, each would tell of the other when it is left out.
    let mut judged = one_of_each(networks, seed);
    let chosen: HashSet<usize> = judged.iter().copied().collect();
    let others = (0..networks.len()).filter(|i| !chosen.contains(i));
    let fitted = judged.iter().copied().chain(others).take(MAX_FITTED).collect();
    judged.truncate(MAX_FITTED);
    (judged, fitted)
}

/// A model of what a method made of the labels at these positions.
fn model(
    labelled: &Labelled,
    rows: &[usize],
    (method, made): (Method, Fitted),
    metrics: Comparison<Metrics>,
    networks: &dyn Networks,
    options: &Options,
) -> Result<Estimator, FineTuneError> {
    let base = labelled.base;
    let mut hash = blake3::Hasher::new();
    for i in 0..networks.len() {
        hash.update(format!("{} {}\n", networks.name(i), networks.target(i)).as_bytes());
    }
    let note = FineTuning {
        base: base.manifest().name.clone(),
        base_hash: blake3::hash(base.weights()).to_hex().to_string(),
        target: options.target.clone(),
        data: Data {
            set: options.labels.clone(),
            rows: networks.len(),
            hash: hash.finalize().to_hex().to_string(),
            split: "every label predicted from the others".into(),
            training: networks.len(),
            validation: 0,
            test: 0,
        },
        kept: method,
        fitted: rows.len(),
        adaptation: made.regressor.kind(),
        metrics,
    };
    let manifest = Manifest {
        schema: SCHEMA,
        name: options.name.clone(),
        command: options.command.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        operations: made.operations.clone(),
        fine_tuning: Some(note),
        ..base.manifest().clone()
    };
    let json = serde_json::to_vec(&manifest).map_err(|e| LoadError::Manifest(e.to_string()))?;
    Ok(Estimator::from_bytes(&json, &labelled.weights(made, rows)?)?)
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

    fn estimates(model: &Estimator, networks: &dyn Networks) -> Vec<f64> {
        let graphs: Vec<_> = (0..networks.len()).map(|i| networks.graph(i).unwrap()).collect();
        model.estimate(&graphs).unwrap().iter().map(|e| e.accuracy).collect()
    }

    /// Random architectures, each with the label that its estimate and noise are made to.
    fn labels<A: Architecture>(
        count: usize,
        seed: u64,
        target: impl Fn(f64, f64) -> f64,
    ) -> Vec<LabelledArchitecture<A>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let labelled =
            |architecture| LabelledArchitecture { architecture, accuracy: 0.0, parameters: None };
        let mut set: Vec<_> = (0..count).map(|_| labelled(A::sample(&mut rng))).collect();
        let estimates = estimates(&Estimator::embedded(), &set);
        for (network, estimate) in set.iter_mut().zip(estimates) {
            network.accuracy = target(estimate, rng.gen_range(-1.0..1.0));
        }
        set
    }

    fn options(seed: u64) -> Options {
        let [name, labels, target] = ["mine", "labels", "target"].map(String::from);
        Options { name, command: None, labels, target, seed, cache: None }
    }

    fn check_written(model: &Estimator, networks: &dyn Networks) {
        let folder = tempfile::tempdir().unwrap();
        let mine = folder.path().join("mine");
        model.save(&mine).unwrap();
        let written = Estimator::load(&mine).unwrap();
        assert_eq!(written.weights(), model.weights());
        assert_eq!(estimates(&written, networks), estimates(model, networks));
    }

    fn check<A: Architecture>(seed: u64, target: impl Fn(f64, f64) -> f64) -> Method {
        let set = labels::<A>(40, seed, target);
        let tuned = fine_tune(&Estimator::embedded(), &set, &options(seed), &|_, _, _| ());
        let model = tuned.unwrap().estimator;
        check_written(&model, &set);
        let FineTuning { kept, metrics, .. } = model.manifest().fine_tuning.as_ref().unwrap();
        assert!(kendall(&metrics.after) >= kendall(&metrics.before), "{metrics:?}");
        *kept
    }

    #[test]
    fn left_out_labels_are_never_ranked_worse() {
        let mut kept = Vec::new();
        for seed in 0..2 {
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

    #[cfg(feature = "train")]
    #[test]
    fn a_model_trained_further_ranks_its_labels() {
        let _guard = crate::train::seeded();
        let (base, options) = (Estimator::embedded(), options(0));
        let set = labels::<nasbench201::Cell>(60, 0, |estimate, _| -1e6 * estimate);
        let (labelled, _) = Labelled::new(&base, &set, None, &|_, _, _| ()).unwrap();
        let (rows, _) = positions(&set, 0);
        let made = labelled.tuned(&rows, 20, 0, &|_, _, _| ()).unwrap();
        let (before, after) = (labelled.before(&rows, 0), labelled.after(&rows, &made, 0));
        let metrics = Comparison { before, after };
        assert!(kendall(&after) > 0.5, "{metrics:?}");
        let made = (Method::Tuned, made);
        let model = model(&labelled, &rows, made, metrics, &set, &options).unwrap();
        check_written(&model, &set);
        let truth: Vec<f64> = set.iter().map(|l| l.accuracy).collect();
        let ranked = crate::metrics::kendall_tau_b(&truth, &estimates(&model, &set)).unwrap();
        assert!(ranked > 0.5, "{ranked}");
    }

    #[test]
    fn labels_that_say_nothing_are_errors() {
        let tune = |count| {
            let set = labels::<nasbench101::Cell>(count, 1, |_, _| 1.0);
            fine_tune(&Estimator::embedded(), &set, &options(0), &|_, _, _| ()).unwrap_err()
        };
        assert!(matches!(tune(9), FineTuneError::Few(_)));
        let constant = tune(20);
        assert!(matches!(constant, FineTuneError::Labels(FewShotError::Constant)), "{constant}");
    }
}
