//! Widths and clusters, chosen on validation networks.

use super::TrainError;
use crate::clustering::membership_entropy;
use crate::evaluation::ablation::{Choice, Tried};
use crate::predictor::{Clustering, FuzzyClusters};
use ndarray::ArrayView2;

/// Widths of hidden layers to choose from.
pub(super) const HIDDEN: [&[usize]; 4] = [&[64], &[128], &[64, 64], &[128, 64]];
/// Numbers of clusters, fuzzifiers and axes to choose from.
pub(super) const CLUSTERS: [usize; 3] = [4, 8, 16];
pub(super) const FUZZIFIERS: [f64; 2] = [1.5, 2.0];
pub(super) const AXES: [usize; 2] = [2, 4];

/// Chooses widths and clusters by what `fit` gives of them.
pub(super) fn choose(
    training: ArrayView2<f32>,
    validation: ArrayView2<f32>,
    seed: u64,
    fit: &dyn Fn(&FuzzyClusters, &[usize]) -> f64,
    report: &mut dyn FnMut(&str),
) -> Result<Choice, TrainError> {
    let mut tried: Vec<Tried> = Vec::new();
    let mut hidden: (f64, &[usize]) = (f64::NEG_INFINITY, &[]);
    for widths in HIDDEN {
        let kendall = fit(&FuzzyClusters::one(training.ncols()), widths);
        report(&format!("choosing widths: {widths:?}, validation τ {kendall:.4}"));
        let (clustering, entropy) = (None, None);
        tried.push(Tried { hidden: widths.to_vec(), clustering, entropy, kendall });
        if kendall > hidden.0 {
            hidden = (kendall, widths);
        }
    }
    let hidden = hidden.1.to_vec();
    let mut best: Option<(f64, Clustering)> = None;
    let mut failure = None;
    for (clusters, fuzzifier, axes) in CLUSTERS.iter().flat_map(|&clusters| {
        let axes = move |m| AXES.iter().map(move |&axes| (clusters, m, axes));
        FUZZIFIERS.iter().flat_map(move |&m| axes(m))
    }) {
        let clustering = Clustering { clusters, fuzzifier, axes };
        let fuzzy = match FuzzyClusters::fit(training, clustering, seed) {
            Ok(fuzzy) => fuzzy,
            Err(error) => {
                report(&format!("choosing clusters: {clustering:?}: {error}"));
                failure = Some(error);
                continue;
            }
        };
        let memberships = fuzzy.memberships(validation);
        let entropy = membership_entropy(memberships.view()).mean().map(f64::from);
        let kendall = fit(&fuzzy, &hidden);
        report(&format!(
            "choosing clusters: {clusters}, m = {fuzzifier}, {axes} axes: entropy {:.2}, \
             validation τ {kendall:.4}",
            entropy.unwrap_or(f64::NAN),
        ));
        let clustering = Some(clustering);
        tried.push(Tried { hidden: hidden.clone(), clustering, entropy, kendall });
        if best.is_none_or(|(highest, _)| kendall > highest) {
            best = clustering.map(|c| (kendall, c));
        }
    }
    match (best, failure) {
        (Some((_, clustering)), _) => Ok(Choice { hidden, clustering, tried }),
        (None, Some(error)) => Err(TrainError::Clustering(error)),
        (None, None) => Err(TrainError::Clustering("nothing to choose from".into())),
    }
}
