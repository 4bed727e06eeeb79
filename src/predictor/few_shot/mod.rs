//! Fitting predictions to a few labels of the user's own, in closed form.

mod curve;
mod kernel;
mod structure;

use super::ApplicabilityDomain;
use super::calibration::quantile;
use super::process::ProcessError;
use crate::encoder::{Neighbourhoods, WeightError, WeightFile, Weights};
use crate::metrics::mean_ranks;
use crate::proxies::{MEASURES, Proxies};
use curve::Curve;
use kernel::KernelRidge;
use ndarray::{Array1, Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Why labels can't be fitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FewShotError {
    /// Too few labels.
    #[error("{0} labels are too few; at least {MINIMUM} are needed")]
    Few(usize),
    /// The labels are all the same, or not numbers.
    #[error("the labels have no finite spread")]
    Constant,
    /// The features can't be fitted.
    #[error("the features can't be fitted: {0}")]
    Kernel(#[from] ProcessError),
}

/// Fewest labels.
const MINIMUM: usize = 5;

/// What turns features into ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RegressionKind {
    /// An increasing function of the first feature, whose ranking it keeps.
    Increasing,
    /// Ridge regression.
    Linear,
    /// Kernel ridge regression with Matérn's kernel of smoothness 3/2.
    Matern,
    /// The same, where the distance is also that of the graphs' [`Neighbourhoods`].
    Neighbourhoods,
}

/// A regression of a few labels on groups of features, such as an estimate, an embedding and proxies.
///
/// What is fitted are the ranks of the labels, and predicted ranks are turned back into values by
/// interpolation: accuracies have a long tail of networks that failed to train, which would decide
/// everything otherwise.
#[derive(Debug, Clone)]
pub struct FewShotRegressor {
    regression: Regression,
    /// Ranks, from -1 to 1, and values of the labels.
    values: Curve,
    /// 90 % of the labels' ranks lie within this of what is predicted when each is left out.
    radius: f64,
}

#[derive(Debug, Clone)]
enum Regression {
    Increasing(Curve),
    Kernel(KernelRidge),
}

impl FewShotRegressor {
    /// What labels are fitted by: a model's estimate of each network, its embedding and
    /// [`Proxies::measures`]; `[networks, features]` each.
    pub fn features(
        estimates: &[f64],
        embeddings: ArrayView2<f32>,
        proxies: &[Proxies],
    ) -> [Array2<f64>; 3] {
        let descriptors = proxies.iter().flat_map(Proxies::measures).collect();
        [
            Array2::from_shape_fn((estimates.len(), 1), |(i, _)| estimates[i]),
            embeddings.mapv(f64::from),
            // As many as the shape says.
            Array2::from_shape_vec((proxies.len(), MEASURES), descriptors).unwrap_or_default(),
        ]
    }

    /// [`features`](Self::features) of labelled networks at these
    /// [distances](super::ApplicabilityDomain::distance), to fit from. Where most of them are unlike the
    /// networks that the encoder was trained on, their embeddings mean little, and their estimates
    /// nothing that the proxies don't say: then only the proxies are left.
    pub fn labelled(features: [Array2<f64>; 3], distances: &[f64]) -> [Array2<f64>; 3] {
        let [mut estimates, mut embeddings, proxies] = features;
        let known: f64 = distances.iter().map(|&d| ApplicabilityDomain::membership(d)).sum();
        if known < 0.5 * distances.len() as f64 {
            // A group that does not vary is not used.
            estimates.fill(0.0);
            embeddings.fill(0.0);
        }
        [estimates, embeddings, proxies]
    }

    /// Fits `targets` from groups of features, `[labels, features]` each, and the structures of the
    /// graphs, unless there are none, by kernel ridge regression. The last group is what is known of any
    /// network. It takes time cubic in the number of labels, and of more than 200 the first 200
    /// choose the kernel, so that they should be in a random order.
    ///
    /// # Errors
    /// With fewer than five labels, or labels that are all the same.
    pub fn fit(
        groups: &[ArrayView2<f64>],
        structures: &[Neighbourhoods],
        targets: &[f64],
    ) -> Result<Self, FewShotError> {
        Ok(Self::fit_left_out(groups, structures, targets)?.0)
    }

    /// [`fit`](Self::fit), and the rank predicted for each label from the others alone.
    ///
    /// # Errors
    /// As for `fit`.
    pub fn fit_left_out(
        groups: &[ArrayView2<f64>],
        structures: &[Neighbourhoods],
        targets: &[f64],
    ) -> Result<(Self, Vec<f64>), FewShotError> {
        let (ranks, values) = ranks(targets)?;
        let (kernel, residuals) = KernelRidge::fit(groups, structures, &ranks)?;
        let radius = quantile(residuals.iter().map(|r| r.abs()).collect());
        let left_out = (&ranks - &residuals).to_vec();
        Ok((Self { regression: Regression::Kernel(kernel), values, radius }, left_out))
    }

    /// Fits `targets` by an increasing function of `estimates`: other values in the same order,
    /// however bad that is. Also the rank predicted for each label from the others alone.
    ///
    /// # Errors
    /// With fewer than five labels, labels that are all the same, or estimates that are not finite.
    pub fn recalibrate(
        estimates: &[f64],
        targets: &[f64],
    ) -> Result<(Self, Vec<f64>), FewShotError> {
        let (ranks, values) = ranks(targets)?;
        let mut order: Vec<usize> = (0..estimates.len()).collect();
        order.sort_by(|&a, &b| estimates[a].total_cmp(&estimates[b]));
        let points: Vec<(f64, f64)> = order.iter().map(|&i| (estimates[i], targets[i])).collect();
        // Fitted to the labels themselves: where these are far apart, as of networks that failed to
        // train, a little too much or too few of a rank is a lot.
        let to_rank = values.inverse();
        let predicted = |i: usize| {
            let others = [&points[..i], &points[i + 1..]].concat();
            Curve::increasing(&others).map(|curve| to_rank.at(curve.at(points[i].0)))
        };
        let predicted: Option<Vec<f64>> =
            (0..points.len()).into_par_iter().map(predicted).collect();
        let predicted = predicted.ok_or(FewShotError::Constant)?;
        let errors = predicted.iter().zip(&order).map(|(p, &i)| (p - ranks[i]).abs());
        let radius = quantile(errors.collect());
        let curve = Curve::increasing(&points).and_then(|curve| {
            let ((first, _), (last, _)) = curve.ends();
            let (least, most) = (points.first()?.0, points.last()?.0);
            curve.then(&to_rank, least.min(first), most.max(last))
        });
        let curve = curve.ok_or(FewShotError::Constant)?;
        let mut left_out = vec![0.0; order.len()];
        order.iter().zip(predicted).for_each(|(&i, rank)| left_out[i] = rank);
        Ok((Self { regression: Regression::Increasing(curve), values, radius }, left_out))
    }

    /// What turns features into ranks.
    pub fn kind(&self) -> RegressionKind {
        match &self.regression {
            Regression::Increasing(_) => RegressionKind::Increasing,
            Regression::Kernel(kernel) => kernel.kind(),
        }
    }

    /// Predictions for networks with these features, in the unit of the targets; `structure` is asked
    /// for that of each row where it matters.
    pub fn predict(
        &self,
        groups: &[ArrayView2<f64>],
        structure: impl Fn(usize) -> Neighbourhoods + Sync,
    ) -> Vec<f64> {
        let networks = groups.first().map_or(0, |g| g.nrows());
        let value = |i| self.value(self.rank(groups, i, || structure(i)));
        (0..networks).into_par_iter().map(value).collect()
    }

    /// Rank of the network in this row of the groups of features: from -1 to 1 among the labels,
    /// beyond for those that are better or worse than all of them. `structure` is asked for that of
    /// its graph where it matters.
    pub fn rank(
        &self,
        groups: &[ArrayView2<f64>],
        row: usize,
        structure: impl FnOnce() -> Neighbourhoods,
    ) -> f64 {
        match &self.regression {
            Regression::Increasing(curve) => curve.at(groups[0][[row, 0]]),
            // One network at a time, so that it doesn't matter which others are with it.
            Regression::Kernel(kernel) => {
                kernel.rank(&groups.iter().map(|g| g.row(row)).collect::<Vec<_>>(), structure)
            }
        }
    }

    /// The value that a rank stands for.
    pub fn value(&self, rank: f64) -> f64 {
        self.values.at(rank)
    }

    /// Interval around the [value](Self::value) of a network of this predicted rank, at this
    /// [distance](super::ApplicabilityDomain::distance) from the labelled networks.
    ///
    /// Within distance 1, it covers 90 % of the labels when each is predicted from the others
    /// (the jackknife of Barber et al. 2021, of ranks). Beyond, it grows by the whole range of the
    /// labels for each unit of distance, as [`Calibration::interval`](super::Calibration::interval)
    /// does.
    pub fn interval(&self, rank: f64, distance: f64) -> [f64; 2] {
        let ((_, low), (_, high)) = self.values.ends();
        let beyond = (high - low) * (distance - 1.0).max(0.0);
        let value = self.value(rank);
        let [low, high] = [rank - self.radius, rank + self.radius].map(|rank| self.value(rank));
        // Rounding keeps no order.
        [low.min(value) - beyond, high.max(value) + beyond]
    }

    /// Adds its tensors to a model file: all in 64 bits, so that it predicts the same when it is
    /// loaded.
    pub fn store(&self, file: &mut WeightFile) {
        self.values.store("adaptation.values", file);
        file.put("adaptation.radius", &[1], [&self.radius]);
        match &self.regression {
            Regression::Increasing(curve) => curve.store("adaptation.curve", file),
            Regression::Kernel(kernel) => kernel.store(file),
        }
    }

    /// The regressor that a model file holds, of a model whose embeddings have `embedding`
    /// dimensions.
    ///
    /// # Errors
    /// When a tensor is missing, has the wrong shape, or holds numbers that make no sense.
    pub fn load(
        kind: RegressionKind,
        embedding: usize,
        weights: &Weights,
    ) -> Result<Self, WeightError> {
        let values = Curve::load("adaptation.values", weights)?;
        let radius: f64 = weights.vector("adaptation.radius", 1)?[0];
        if radius < 0.0 {
            let (name, reason) = ("adaptation.radius".into(), "it is negative".into());
            return Err(WeightError::Invalid { name, reason });
        }
        let regression = match kind {
            RegressionKind::Increasing => {
                Regression::Increasing(Curve::load("adaptation.curve", weights)?)
            }
            _ => Regression::Kernel(KernelRidge::load(kind, embedding, weights)?),
        };
        Ok(Self { regression, values, radius })
    }
}

/// Ranks of the targets, from -1 to 1, and the curve from ranks to values.
fn ranks(targets: &[f64]) -> Result<(Array1<f64>, Curve), FewShotError> {
    if targets.len() < MINIMUM {
        return Err(FewShotError::Few(targets.len()));
    }
    if !targets.iter().all(|t| t.is_finite()) {
        return Err(FewShotError::Constant);
    }
    let middle = (targets.len() + 1) as f64 / 2.0;
    let ranks: Array1<f64> =
        mean_ranks(targets).into_iter().map(|r| (r - middle) / middle).collect();
    let mut points: Vec<(f64, f64)> = ranks.iter().copied().zip(targets.iter().copied()).collect();
    points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup_by(|a, b| a.0 == b.0);
    Ok((ranks, Curve::new(points).ok_or(FewShotError::Constant)?))
}

#[cfg(test)]
mod tests;
