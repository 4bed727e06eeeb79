//! From fitted weights to a model folder.

use super::twin::Stored;
use super::{LabelledGraphs, TrainError};
use crate::encoder::{Encoder, GraphBatch, GraphFeatures, GraphStore, WeightFile, Weights};
use crate::estimator::{Estimator, LoadError, Manifest, Measure, Metrics};
use crate::graph::Operation;
use crate::metrics::{self, bootstrap_interval};
use crate::predictor::{Calibration, Head};
use crate::proxies::Proxies;
use linfa::DatasetBase;
use linfa::traits::{Fit, Transformer};
use linfa_clustering::KMeans;
use ndarray::{Array1, Array2, Axis, concatenate};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;

/// Centroids that stand for the training embeddings.
const CENTROIDS: usize = 64;

/// Training networks that the centroids are fitted to.
const CLUSTERED: usize = 10_000;

/// Share of validation networks that count as within the training distribution.
const INSIDE: f64 = 0.99;

/// Resamples of a bootstrap interval.
const RESAMPLES: usize = 1000;

/// The file of weights: those of encoder and head, the calibration of its scores and the
/// territory of its embeddings.
pub fn weights(
    set: &LabelledGraphs,
    manifest: &Manifest,
    mut tensors: BTreeMap<String, Stored>,
) -> Result<Vec<u8>, TrainError> {
    let bytes = serialise(&tensors)?;
    let parsed = Weights::parse(&bytes).map_err(LoadError::from)?;
    let operations: Vec<Operation> =
        manifest.operations.iter().filter_map(|name| Operation::from_name(name)).collect();
    let encoder = Encoder::new(&manifest.config, &operations, &parsed).map_err(LoadError::from)?;
    let head = Head::new(&manifest.config, &parsed).map_err(LoadError::from)?;

    let validation: Vec<usize> = set.validation.clone().collect();
    let embeddings = embed(&set.store, &validation, &encoder);
    let scores: Vec<f64> = head.scores(embeddings.view()).into_iter().map(f64::from).collect();
    let calibration = Calibration::fit(&scores, &set.accuracies[set.validation.clone()])?;
    let table: Vec<f32> = calibration
        .bins()
        .iter()
        .flat_map(|b| [b.score as f32, b.accuracy as f32, b.radius as f32])
        .collect();
    tensors.insert("calibration".into(), (vec![table.len() / 3, 3], table));

    let step = set.training.len().div_ceil(CLUSTERED);
    let sample: Vec<usize> = set.training.clone().step_by(step).collect();
    let (scale, centroids) =
        territory(&embed(&set.store, &sample, &encoder), &embeddings, manifest.seed)?;
    tensors.insert("territory.scale".into(), (vec![scale.len()], scale.to_vec()));
    let (rows, columns) = centroids.dim();
    tensors.insert(
        "territory.centroids".into(),
        (vec![rows, columns], centroids.into_raw_vec_and_offset().0),
    );
    serialise(&tensors)
}

/// Scale and centroids of a [`Territory`](crate::predictor::Territory): k-means over the training
/// embeddings with each dimension divided by its standard deviation (at least a hundredth of the
/// largest one, so that dimensions that hardly ever vary do not decide), then everything divided
/// by the 99 % quantile of the validation networks' distances.
fn territory(
    training: &Array2<f32>,
    validation: &Array2<f32>,
    seed: u64,
) -> Result<(Array1<f32>, Array2<f32>), TrainError> {
    let fail = |e: &dyn std::fmt::Display| TrainError::Clustering(e.to_string());
    let spread = training.std_axis(Axis(0), 0.0);
    let largest = spread.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let mut scale = spread.mapv(|s| 1.0 / s.max(largest / 100.0));
    let records = (training * &scale).mapv(f64::from);
    let model =
        KMeans::params_with_rng(CENTROIDS.min(records.nrows()), ChaCha8Rng::seed_from_u64(seed))
            .n_runs(1)
            .max_n_iterations(50)
            .tolerance(1e-3)
            .fit(&DatasetBase::from(records))
            .map_err(|e| fail(&e))?;
    let scaled = (validation * &scale).mapv(f64::from);
    let mut distances = model.transform(&scaled).to_vec();
    // linfa gives squared distances.
    distances.iter_mut().for_each(|d| *d = d.sqrt());
    distances.sort_by(f64::total_cmp);
    let rank = (INSIDE * distances.len() as f64) as usize;
    let limit = distances.get(rank).copied().filter(|limit| *limit > 0.0);
    let limit = limit.ok_or_else(|| fail(&"all validation networks have one embedding"))?;
    scale /= limit as f32;
    Ok((scale, model.centroids().mapv(|c| (c / limit) as f32)))
}

/// Embeddings of graphs, on all cores.
fn embed(store: &GraphStore, graphs: &[usize], encoder: &Encoder) -> Array2<f32> {
    let embed = |graphs: &[usize]| encoder.embed(&features(store, graphs));
    let parts: Vec<Array2<f32>> = graphs.par_chunks(256).map(embed).collect();
    let views: Vec<_> = parts.iter().map(Array2::view).collect();
    concatenate(Axis(0), &views).unwrap_or_default()
}

fn features(store: &GraphStore, graphs: &[usize]) -> Vec<GraphFeatures> {
    graphs.iter().map(|&g| store.features(g)).collect()
}

fn serialise(tensors: &BTreeMap<String, Stored>) -> Result<Vec<u8>, TrainError> {
    let mut file = WeightFile::default();
    for (name, (shape, elements)) in tensors {
        file.put(name, shape, elements);
    }
    Ok(file.to_bytes().map_err(LoadError::from)?)
}

/// Measures of the finished model on `part`, beside those of ranking by parameters and by MACs.
pub fn measure(
    set: &LabelledGraphs,
    part: Range<usize>,
    manifest: &Manifest,
    weights: &[u8],
) -> Result<BTreeMap<String, Metrics>, TrainError> {
    let json = serde_json::to_vec(manifest).map_err(|e| LoadError::Manifest(e.to_string()))?;
    let estimator = Estimator::from_bytes(&json, weights)?;
    let graphs: Vec<usize> = part.clone().collect();
    let estimates: Vec<_> = graphs
        .par_chunks(256)
        .flat_map_iter(|graphs| {
            estimator.estimate_batch(&GraphBatch::stored(&set.store, graphs.iter().copied()))
        })
        .collect();
    let truth = &set.accuracies[part];
    let of = |scores: &[f64], measure: fn(&[f64], &[f64]) -> Option<f64>| {
        let interval = bootstrap_interval(truth, scores, measure, RESAMPLES, 0.95, manifest.seed);
        // A measure without a value (all scores equal) says nothing about the ranking.
        let value = measure(truth, scores).unwrap_or(0.0);
        let [low, high] = interval.map_or([value; 2], Into::into);
        Measure { value, interval: [low, high] }
    };
    let ranking = |scores: &[f64]| Metrics {
        spearman: of(scores, metrics::spearman),
        kendall: of(scores, metrics::kendall_tau_b),
        mean_absolute_error: None,
        coverage: None,
    };
    let scores: Vec<f64> = estimates.iter().map(|e| e.accuracy).collect();
    let covered = estimates
        .iter()
        .zip(truth)
        .filter(|(e, t)| (e.interval[0]..=e.interval[1]).contains(t))
        .count();
    let model = Metrics {
        mean_absolute_error: Some(of(&scores, metrics::mean_absolute_error)),
        coverage: Some(covered as f64 / truth.len() as f64),
        ..ranking(&scores)
    };
    let cost = |which: fn(&Proxies) -> u64| -> Vec<f64> {
        graphs.iter().map(|&g| which(set.store.proxies(g)) as f64).collect()
    };
    Ok(BTreeMap::from([
        ("model".into(), model),
        ("parameters".into(), ranking(&cost(|c| c.parameters))),
        ("macs".into(), ranking(&cost(|c| c.macs))),
    ]))
}
