//! From fitted weights to a model folder.

use super::trainable::Stored;
use super::{LabelledGraphs, TrainError};
use crate::encoder::{Encoder, GraphBatch, GraphFeatures, GraphStore, WeightFile, Weights};
use crate::estimator::{Estimate, Estimator, LoadError, Manifest, Metrics};
use crate::graph::Operation;
use crate::predictor::{ApplicabilityDomain, Calibration, Head};
use crate::proxies::Proxies;
use linfa::DatasetBase;
use linfa::traits::{Fit, Transformer};
use linfa_clustering::KMeans;
use ndarray::{Array1, Array2, Axis, concatenate};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Centroids that stand for the training embeddings.
const CENTROIDS: usize = 64;

/// Training networks that the centroids are fitted to.
const CLUSTERED: usize = 10_000;

/// The file of weights: those of encoder and head, the calibration of its scores and the
/// domain of its embeddings.
pub fn weights(
    set: &LabelledGraphs,
    manifest: &Manifest,
    tensors: BTreeMap<String, Stored>,
) -> Result<Vec<u8>, TrainError> {
    let bytes = file(&tensors).to_bytes().map_err(LoadError::from)?;
    let parsed = Weights::parse(&bytes).map_err(LoadError::from)?;
    let operations: Vec<Operation> =
        manifest.operations.iter().filter_map(|name| Operation::from_name(name)).collect();
    let encoder = Encoder::new(&manifest.config, &operations, &parsed).map_err(LoadError::from)?;
    let head = Head::new(&manifest.config, &parsed).map_err(LoadError::from)?;

    let validation: Vec<usize> = set.validation.clone().collect();
    let embeddings = embed(&set.store, &validation, &encoder);
    // What other families' labels mean is not known here.
    let comparable: Vec<usize> =
        (0..validation.len()).filter(|&i| set.comparable(validation[i])).collect();
    let of = |scores: &dyn Fn(usize) -> f64| -> Vec<f64> {
        comparable.iter().map(|&i| scores(i)).collect()
    };
    let scores = head.scores(embeddings.view());
    let accuracies = of(&|i| set.accuracies[validation[i]]);
    let calibration = Calibration::fit(&of(&|i| f64::from(scores[i])), &accuracies)?;
    let prior = of(&|i| set.store.proxies(validation[i]).score());
    let prior = Calibration::fit(&prior, &accuracies)?;

    let step = set.training.len().div_ceil(CLUSTERED);
    let sample: Vec<usize> = set.training.clone().step_by(step).collect();
    let (scale, centroids) =
        domain(&embed(&set.store, &sample, &encoder), &embeddings, manifest.seed)?;
    let signatures =
        |g: usize| set.store.features(g).signatures().map(|(s, _)| s).collect::<Vec<u32>>();
    let signatures: BTreeSet<u32> =
        set.training.clone().into_par_iter().flat_map_iter(signatures).collect();

    let mut file = file(&tensors);
    calibration.store("calibration", &mut file);
    prior.store("prior", &mut file);
    ApplicabilityDomain::new(scale, centroids, signatures).store("territory", &mut file);
    Ok(file.to_bytes().map_err(LoadError::from)?)
}

/// Scale and centroids of an [`ApplicabilityDomain`]: k-means over the training
/// embeddings with each dimension divided by its standard deviation (at least a hundredth of the
/// largest one, so that dimensions that hardly ever vary do not decide), then everything divided
/// by the 99 % quantile of the validation networks' distances.
fn domain(
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
    let limit = ApplicabilityDomain::border(distances).filter(|limit| *limit > 0.0);
    let limit = limit.ok_or_else(|| fail(&"all validation networks have one embedding"))?;
    scale /= limit as f32;
    Ok((scale, model.centroids().mapv(|c| (c / limit) as f32)))
}

/// Embeddings of graphs, on all cores.
pub fn embed(store: &GraphStore, graphs: &[usize], encoder: &Encoder) -> Array2<f32> {
    let embed = |graphs: &[usize]| encoder.embed(&features(store, graphs));
    let parts: Vec<Array2<f32>> = graphs.par_chunks(256).map(embed).collect();
    let views: Vec<_> = parts.iter().map(Array2::view).collect();
    concatenate(Axis(0), &views).unwrap_or_default()
}

fn features(store: &GraphStore, graphs: &[usize]) -> Vec<GraphFeatures> {
    graphs.iter().map(|&g| store.features(g)).collect()
}

/// The tensors of a model file.
pub fn file(tensors: &BTreeMap<String, Stored>) -> WeightFile {
    let mut file = WeightFile::default();
    for (name, (shape, elements)) in tensors {
        file.put(name, shape, elements);
    }
    file
}

/// Measures of the finished model on `part`, beside those of ranking by parameters and by MACs.
pub fn measure(
    set: &LabelledGraphs,
    graphs: &[usize],
    manifest: &Manifest,
    weights: &[u8],
) -> Result<BTreeMap<String, Metrics>, TrainError> {
    let json = serde_json::to_vec(manifest).map_err(|e| LoadError::Manifest(e.to_string()))?;
    let estimator = Estimator::from_bytes(&json, weights)?;
    let parts: Vec<_> = graphs
        .par_chunks(256)
        .map(|graphs| {
            estimator.estimate_batch(&GraphBatch::stored(&set.store, graphs.iter().copied()))
        })
        .collect::<Result<_, _>>()?;
    let estimates: Vec<Estimate> = parts.into_iter().flatten().collect();
    let truth: Vec<f64> = graphs.iter().map(|&g| set.accuracies[g]).collect();
    let cost = |which: fn(&Proxies) -> u64| -> Vec<f64> {
        graphs.iter().map(|&g| which(set.store.proxies(g)) as f64).collect()
    };
    let ranking = |scores: &[f64]| Metrics::ranking(&truth, scores, manifest.seed);
    Ok(BTreeMap::from([
        ("model".into(), Metrics::estimates(&truth, &estimates, manifest.seed)),
        ("parameters".into(), ranking(&cost(|c| c.parameters))),
        ("macs".into(), ranking(&cost(|c| c.macs))),
    ]))
}
