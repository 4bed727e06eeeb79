//! Heads of fuzzy clusters on descriptors, fitted together: the expert for networks that no search
//! space has.
//!
//! An estimate is the mean of what the heads of all clusters say, weighted by the network's
//! memberships (arXiv 2211.17226, section 4.2: y = Σ_j U_ij f_j(h_i)). Here a head f_j = f + g_j is
//! what all heads have in common and what is its cluster's own, each a Gaussian process; the noise
//! cluster's head is f alone. With memberships that sum to 1, that in the noise cluster included,
//!
//! ```text
//! y(x) = f(x) + Σ_j u_j(x) g_j(x),    cov(y, y') = k(x, x') (1 + s Σ_j u_j(x) u_j(x'))
//! ```
//!
//! so that all heads are fitted at once and exactly.

use super::FuzzyClusters;
use crate::encoder::{WeightError, WeightFile, Weights};
use crate::proxies::{Aspect, DESCRIPTORS};
use linfa_linalg::cholesky::InverseC;
use ndarray::{Array1, Array2, ArrayView1, Axis, Zip, s};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Number of descriptors.
const LENGTH: usize = DESCRIPTORS.len();

/// Descriptors lie within this many standard deviations of their mean; what lies beyond is put there,
/// since nothing is known of what happens to it.
const CLIP: f64 = 3.0;

/// Weights of the parts of the kernel, and variances of the noise, in units of the variance of a
/// target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hyperparameters {
    /// Of the product of parameters, MACs, resolution and activations (their logarithms).
    pub linear: f64,
    /// Of a Matérn-3/2 kernel on the descriptors of each [`Aspect`].
    pub aspect: f64,
    /// Length scale of these.
    pub length: f64,
    /// Of a Gaussian kernel on all descriptors but the counts of operations.
    pub structure: f64,
    /// Of a Gaussian kernel on all descriptors.
    pub everything: f64,
    /// Of a Gaussian kernel on an [embedding](Rows::descriptors), which no model that ships has.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub embedding: f64,
    /// Length scale of these three.
    pub smooth_length: f64,
    /// Of what a cluster's head adds to what is common to all.
    pub heads: f64,
    /// Of the product of the covariates.
    pub covariates: f64,
    /// Correlation of two targets.
    pub sharing: f64,
    /// Noise that networks of a family have in common.
    pub family: f64,
    /// Noise that labels of one architecture have in common.
    pub architecture: f64,
    /// Noise that labels of one recipe have in common.
    pub recipe: f64,
    /// Noise of each label.
    pub white: f64,
}

impl Hyperparameters {
    /// The same without what is a cluster's own: the baseline of one head for all clusters.
    pub fn one_head(self) -> Self {
        Self { heads: 0.0, ..self }
    }
}

fn is_zero(weight: &f64) -> bool {
    *weight == 0.0
}

impl Default for Hyperparameters {
    /// The middles of what may be sensible, on a logarithmic scale: choosing among draws from these
    /// ranges by what they predict of networks left out was no better.
    fn default() -> Self {
        let middle = |low: f64, high: f64| (low * high).sqrt();
        Self {
            linear: middle(0.05, 5.0),
            aspect: middle(0.02, 1.0),
            length: middle(0.8, 5.0),
            structure: middle(0.05, 12.0),
            everything: middle(0.05, 12.0),
            embedding: 0.0,
            smooth_length: middle(0.8, 2.2),
            heads: 0.3,
            covariates: middle(0.3, 3.0),
            sharing: middle(0.2, 0.95),
            family: middle(0.01, 0.25),
            architecture: middle(0.005, 0.1),
            recipe: middle(0.002, 0.03),
            white: middle(0.005, 0.1),
        }
    }
}

/// Weight of the constant in the kernel, for each target: any mean will do.
const CONSTANT: f64 = 10.0;

/// Positions of the descriptors that the kernel is linear in: parameters, MACs, resolution,
/// activations.
const LINEAR: Range<usize> = 0..4;

/// Networks with labels, a row each.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// [Descriptors](crate::proxies::descriptors), `[rows, DESCRIPTORS.len()]`, and beyond these an
    /// embedding of any length, if there is one.
    pub descriptors: Array2<f64>,
    /// Whether networks are clustered by their embeddings instead of their descriptors.
    pub clustered_by_embedding: bool,
    /// What is known of how the labels came about, `[rows, any number]`.
    pub covariates: Array2<f64>,
    /// Which of several targets a label is of.
    pub targets: Vec<usize>,
    /// Families; rows of one family have noise in common.
    pub families: Vec<usize>,
    /// Architectures.
    pub architectures: Vec<usize>,
    /// Recipes of training, where they are known.
    pub recipes: Vec<Option<usize>>,
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Some of them.
    pub fn select(&self, rows: &[usize]) -> Self {
        let pick = |of: &[usize]| rows.iter().map(|&i| of[i]).collect();
        Self {
            descriptors: self.descriptors.select(Axis(0), rows),
            clustered_by_embedding: self.clustered_by_embedding,
            covariates: self.covariates.select(Axis(0), rows),
            targets: pick(&self.targets),
            families: pick(&self.families),
            architectures: pick(&self.architectures),
            recipes: rows.iter().map(|&i| self.recipes[i]).collect(),
        }
    }
}

/// Means and reciprocal standard deviations of descriptors.
#[derive(Debug, Clone, PartialEq)]
struct Scaling {
    mean: Array1<f64>,
    factor: Array1<f64>,
}

impl Scaling {
    #[cfg(feature = "clustering")]
    fn fit(descriptors: &Array2<f64>) -> Self {
        let width = descriptors.ncols();
        let mean = descriptors.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(width));
        let deviation = descriptors.std_axis(Axis(0), 0.0);
        // One that never varies says nothing.
        let factor = deviation.mapv(|d| if d > 1e-9 { 1.0 / d } else { 0.0 });
        Self { mean, factor }
    }

    fn apply(&self, descriptors: ArrayView1<f64>) -> Array1<f64> {
        let mut scaled = (&descriptors - &self.mean) * &self.factor;
        scaled.mapv_inplace(|x| x.clamp(-CLIP, CLIP));
        scaled
    }
}

/// Mean squares of the differences of descriptors, for each part of the kernel, and the product that
/// the linear part is made of.
#[derive(Debug, Clone, Copy)]
struct Distances {
    aspects: [f64; Aspect::ALL.len()],
    structure: f64,
    everything: f64,
    embedding: f64,
    linear: f64,
}

impl Distances {
    fn between(a: ArrayView1<f64>, b: ArrayView1<f64>) -> Self {
        let mut sums = [0.0; Aspect::ALL.len()];
        for (sum, aspect) in sums.iter_mut().zip(Aspect::ALL) {
            let range = aspect.descriptors();
            *sum = range.map(|k| (a[k] - b[k]).powi(2)).sum();
        }
        let lengths = Aspect::ALL.map(|aspect| aspect.descriptors().len() as f64);
        let [.., operations] = sums;
        let [.., counted] = lengths;
        let all = sums.iter().sum::<f64>();
        let beyond = (LENGTH..a.len()).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>();
        Self {
            aspects: std::array::from_fn(|i| sums[i] / lengths[i]),
            structure: (all - operations) / (LENGTH as f64 - counted),
            everything: all / LENGTH as f64,
            embedding: beyond / (a.len() - LENGTH).max(1) as f64,
            linear: LINEAR.map(|k| a[k] * b[k]).sum(),
        }
    }

    /// The kernel of what all heads have in common, but for its constant, the covariates and the
    /// targets.
    fn kernel(&self, h: &Hyperparameters) -> f64 {
        let gaussian = |square: f64| (-0.5 * square / h.smooth_length.powi(2)).exp();
        let aspects: f64 = self.aspects.iter().map(|&square| matern(square, h.length)).sum();
        h.linear * self.linear
            + h.aspect * aspects
            + h.structure * gaussian(self.structure)
            + h.everything * gaussian(self.everything)
            + h.embedding * gaussian(self.embedding)
    }
}

/// Matérn's kernel of smoothness 3/2, of a squared distance and a length scale.
pub(super) fn matern(square: f64, length: f64) -> f64 {
    let r = (3.0 * square).sqrt() / length;
    (1.0 + r) * (-r).exp()
}

/// Why heads can't be fitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// A hyperparameter is not positive.
    #[error("the covariance of the labels is not positive definite")]
    NotPositive,
    /// The networks can't be clustered.
    #[error("clustering the networks: {0}")]
    Clustering(String),
}

/// The whole kernel, from that of descriptors and memberships.
fn combine(h: &Hyperparameters, kernel: f64, same_target: bool, covariates: f64) -> f64 {
    let (shared, constant) = if same_target { (1.0, CONSTANT) } else { (h.sharing, 0.0) };
    shared * kernel + constant + h.covariates * covariates
}

/// Inverse of a positive definite matrix, by halves: nearly all of it is products of matrices.
pub(super) fn inverse(matrix: Array2<f64>) -> Result<Array2<f64>, ProcessError> {
    let count = matrix.nrows();
    if count <= 64 {
        return matrix.invc().map_err(|_| ProcessError::NotPositive);
    }
    let half = count / 2;
    let corner = matrix.slice(s![half.., ..half]);
    let first = inverse(matrix.slice(s![..half, ..half]).to_owned())?;
    let across = corner.dot(&first);
    let rest = inverse(&matrix.slice(s![half.., half..]) - &across.dot(&corner.t()))?;
    let below = -rest.dot(&across);
    let mut inverse = Array2::zeros((count, count));
    inverse.slice_mut(s![..half, ..half]).assign(&(first - across.t().dot(&below)));
    inverse.slice_mut(s![half.., ..half]).assign(&below);
    inverse.slice_mut(s![..half, half..]).assign(&below.t());
    inverse.slice_mut(s![half.., half..]).assign(&rest);
    Ok(inverse)
}

/// Heads that are fitted to labels.
#[derive(Debug, Clone)]
pub struct Process {
    hyperparameters: Hyperparameters,
    scaling: Scaling,
    clusters: FuzzyClusters,
    /// What of the scaled descriptors, or beyond them, is clustered.
    clustered: Range<usize>,
    /// Scaled descriptors, and what is beyond them.
    networks: Array2<f32>,
    /// `[rows, clusters]`.
    memberships: Array2<f32>,
    covariates: Array2<f64>,
    targets: Vec<usize>,
    coefficients: Array1<f64>,
}

/// What the heads say of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// In units of the target's standard deviation, from its mean.
    pub value: f64,
    /// The network's membership in each cluster and what that cluster's head says; last in the noise
    /// cluster, and what all heads have in common.
    pub heads: Vec<(f64, f64)>,
    /// Of each row, the root of the mean square of the differences of its descriptors from the
    /// network's.
    pub distances: Vec<f64>,
}

/// How networks are clustered, with the fuzzifier that is usual. Along more axes some centroids fall
/// together, and more clusters are no better (see the lab book).
#[cfg(feature = "clustering")]
const CLUSTERING: super::Clustering = super::Clustering { clusters: 4, fuzzifier: 2.0, axes: 4 };

/// Square of the distance of the noise cluster, in units of the mean square of the distances of
/// networks from the nearest centroid.
#[cfg(feature = "clustering")]
const NOISE: f64 = 2.0;

#[cfg(feature = "clustering")]
impl Process {
    /// Fits heads to labels of `rows`, each target's of mean 0 and variance 1 or so.
    ///
    /// # Errors
    /// When a hyperparameter is not positive, or the networks can't be clustered.
    pub fn fit(rows: &Rows, labels: &[f64], h: &Hyperparameters) -> Result<Self, ProcessError> {
        let scaling = Scaling::fit(&rows.descriptors);
        let mut scaled = rows.descriptors.clone();
        scaled.rows_mut().into_iter().for_each(|mut row| {
            let values = scaling.apply(row.view());
            row.assign(&values);
        });
        let networks = scaled.mapv(|x| x as f32);
        let mut seen = std::collections::HashSet::new();
        let distinct: Vec<usize> =
            (0..rows.len()).filter(|&i| seen.insert(rows.architectures[i])).collect();
        let clustered = match rows.clustered_by_embedding {
            true => LENGTH..networks.ncols(),
            false => 0..LENGTH,
        };
        let points = networks.slice(s![.., clustered.clone()]);
        let distinct = points.select(Axis(0), &distinct);
        let clusters = FuzzyClusters::fit(distinct.view(), CLUSTERING, 0)
            .map_err(ProcessError::Clustering)?
            .beside_noise(distinct.view(), NOISE);
        let memberships = clusters.memberships(points);

        let count = rows.len();
        let mut covariance = Array2::<f64>::zeros((count, count));
        Zip::indexed(&mut covariance).par_for_each(|(i, j), value| {
            if i < j {
                return;
            }
            let kernel = Distances::between(scaled.row(i), scaled.row(j)).kernel(h);
            let shared = f64::from(memberships.row(i).dot(&memberships.row(j)));
            let same_target = rows.targets[i] == rows.targets[j];
            let covariates = rows.covariates.row(i).dot(&rows.covariates.row(j));
            *value = combine(h, kernel * (1.0 + h.heads * shared), same_target, covariates);
            if i == j {
                *value += h.white;
            }
            if rows.families[i] == rows.families[j] && same_target {
                *value += h.family;
            }
            if rows.architectures[i] == rows.architectures[j] {
                *value += h.architecture;
            }
            if rows.recipes[i].is_some() && rows.recipes[i] == rows.recipes[j] {
                *value += h.recipe;
            }
        });
        for i in 0..count {
            for j in i + 1..count {
                covariance[[i, j]] = covariance[[j, i]];
            }
        }
        let coefficients = inverse(covariance)?.dot(&ArrayView1::from(labels));
        Ok(Self {
            hyperparameters: *h,
            scaling,
            clusters,
            clustered,
            networks,
            memberships,
            covariates: rows.covariates.clone(),
            targets: rows.targets.clone(),
            coefficients,
        })
    }
}

impl Process {
    /// What is predicted of a network with these descriptors for one of the targets.
    pub fn predict(
        &self,
        descriptors: ArrayView1<f64>,
        target: usize,
        covariates: ArrayView1<f64>,
    ) -> Prediction {
        let h = &self.hyperparameters;
        let scaled = self.scaling.apply(descriptors);
        let point = scaled.mapv(|x| x as f32).insert_axis(Axis(0));
        let clustered = point.slice(s![.., self.clustered.clone()]);
        let memberships = self.clusters.memberships(clustered).row(0).mapv(f64::from);
        let mut common = 0.0;
        let mut own = Array1::<f64>::zeros(memberships.len());
        let mut distances = Vec::with_capacity(self.targets.len());
        for (j, row) in self.networks.rows().into_iter().enumerate() {
            let between = Distances::between(scaled.view(), row.mapv(f64::from).view());
            let same = self.targets[j] == target;
            let known = covariates.dot(&self.covariates.row(j));
            let kernel = between.kernel(h);
            common += self.coefficients[j] * combine(h, kernel, same, known);
            let shared = if same { kernel } else { h.sharing * kernel };
            let share = self.coefficients[j] * h.heads * shared;
            Zip::from(&mut own)
                .and(self.memberships.row(j))
                .for_each(|own, u| *own += share * f64::from(*u));
            distances.push(between.everything.sqrt());
        }
        let value = common + memberships.dot(&own);
        let mut heads: Vec<(f64, f64)> =
            memberships.iter().zip(&own).map(|(u, own)| (*u, common + own)).collect();
        heads.push((1.0 - memberships.sum(), common));
        Prediction { value, heads, distances }
    }

    /// Which target a row is of.
    pub fn target(&self, row: usize) -> usize {
        self.targets[row]
    }

    /// Number of clusters, without the noise cluster.
    pub fn clusters(&self) -> usize {
        self.clusters.count()
    }

    /// All rows, those that belong to a cluster most first.
    pub fn members(&self, cluster: usize) -> Vec<usize> {
        let membership = self.memberships.column(cluster);
        let mut rows: Vec<usize> = (0..membership.len()).collect();
        rows.sort_by(|&a, &b| membership[b].total_cmp(&membership[a]));
        rows
    }

    /// Adds its tensors to a model file.
    pub fn store(&self, file: &mut WeightFile) {
        let rows = self.targets.len();
        file.put("process.mean", &[LENGTH], &self.scaling.mean);
        file.put("process.factor", &[LENGTH], &self.scaling.factor);
        self.clusters.store("process.clusters", file);
        file.put("process.networks", &[rows, LENGTH], &self.networks);
        file.put("process.covariates", &[rows, self.covariates.ncols()], &self.covariates);
        let targets: Vec<f32> = self.targets.iter().map(|&t| t as f32).collect();
        file.put("process.targets", &[rows], &targets);
        file.put("process.coefficients", &[rows], &self.coefficients);
    }

    /// The heads of these hyperparameters and of this many rows, covariates and targets that a file
    /// holds.
    ///
    /// # Errors
    /// When a tensor is missing, has the wrong shape, is not finite or names no target.
    pub fn load(
        hyperparameters: Hyperparameters,
        [rows, covariates, targets]: [usize; 3],
        weights: &Weights,
    ) -> Result<Self, WeightError> {
        let codes: Array1<f32> = weights.vector("process.targets", rows)?;
        let target = |code: &f32| {
            (0..targets).find(|&t| t as f32 == *code).ok_or_else(|| WeightError::Invalid {
                name: "process.targets".into(),
                reason: format!("there is no target {code}"),
            })
        };
        let clusters = FuzzyClusters::read("process.clusters", LENGTH, weights)?;
        let networks: Array2<f32> = weights.matrix("process.networks", Some(rows), LENGTH)?;
        Ok(Self {
            coefficients: weights.vector("process.coefficients", rows)?,
            hyperparameters,
            scaling: Scaling {
                mean: weights.vector("process.mean", LENGTH)?,
                factor: weights.vector("process.factor", LENGTH)?,
            },
            memberships: clusters.memberships(networks.view()),
            networks,
            clusters,
            clustered: 0..LENGTH,
            covariates: weights.matrix("process.covariates", Some(rows), covariates)?,
            targets: codes.iter().map(target).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const H: Hyperparameters = Hyperparameters {
        linear: 0.3,
        aspect: 0.1,
        length: 1.0,
        structure: 0.5,
        everything: 0.5,
        embedding: 0.4,
        smooth_length: 1.0,
        heads: 0.7,
        covariates: 1.0,
        sharing: 0.5,
        family: 0.05,
        architecture: 0.02,
        recipe: 0.01,
        white: 0.02,
    };

    /// Length of the embeddings.
    const BEYOND: usize = 3;

    /// Rows whose labels follow from the first descriptors and the covariate, and these labels.
    fn rows(count: usize, seed: u64) -> (Rows, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let descriptors: Array2<f64> =
            Array2::from_shape_fn((count, LENGTH + BEYOND), |_| rng.gen_range(-1.0..1.0));
        let covariates =
            Array2::from_shape_fn((count, 1), |(i, _)| f64::from(u8::from(i % 3 == 0)));
        let label = |i: usize| {
            descriptors[[i, 0]] - 0.5 * descriptors[[i, 9]].powi(2) + 0.8 * covariates[[i, 0]]
        };
        let labels = (0..count).map(label).collect();
        let rows = Rows {
            targets: (0..count).map(|i| i % 2).collect(),
            families: (0..count).map(|i| i / 7).collect(),
            architectures: (0..count).map(|i| i / 2).collect(),
            recipes: (0..count).map(|i| (i % 5 > 0).then_some(i % 5)).collect(),
            descriptors,
            clustered_by_embedding: false,
            covariates,
        };
        (rows, labels)
    }

    /// The kernel written out, and a solution by another method.
    #[test]
    fn predictions_are_those_of_the_formula() {
        let (rows, labels) = rows(60, 1);
        let process = Process::fit(&rows, &labels, &H).unwrap();
        let (others, _) = self::rows(5, 6);
        let scaled = |rows: &Rows| -> Vec<Array1<f64>> {
            rows.descriptors.rows().into_iter().map(|r| process.scaling.apply(r)).collect()
        };
        let (known, asked) = (scaled(&rows), scaled(&others));
        let memberships = |points: &[Array1<f64>]| -> Vec<Vec<f64>> {
            let of = |p: &Array1<f64>| {
                let point = p.slice(s![..LENGTH]).mapv(|x| x as f32).insert_axis(Axis(0));
                process.clusters.memberships(point.view()).iter().map(|u| f64::from(*u)).collect()
            };
            points.iter().map(of).collect()
        };
        let (u, v) = (memberships(&known), memberships(&asked));
        let kernel = |a: &Array1<f64>, b: &Array1<f64>, ua: &[f64], ub: &[f64], same: bool| {
            let square = |range: Range<usize>| {
                let length = range.len() as f64;
                range.map(|k| (a[k] - b[k]).powi(2)).sum::<f64>() / length
            };
            let gaussian = |s: f64| (-0.5 * s / H.smooth_length.powi(2)).exp();
            let first = Aspect::Operations.descriptors().start;
            let mut k = H.linear * (0..4).map(|k| a[k] * b[k]).sum::<f64>()
                + H.structure * gaussian(square(0..first))
                + H.everything * gaussian(square(0..LENGTH))
                + H.embedding * gaussian(square(LENGTH..LENGTH + BEYOND));
            for aspect in Aspect::ALL {
                let r = (3.0 * square(aspect.descriptors())).sqrt() / H.length;
                k += H.aspect * (1.0 + r) * (-r).exp();
            }
            let shared: f64 = ua.iter().zip(ub).map(|(a, b)| a * b).sum();
            k *= 1.0 + H.heads * shared;
            if same { k + CONSTANT } else { H.sharing * k }
        };
        // Gauss-Seidel.
        let count = rows.len();
        let covariance = Array2::from_shape_fn((count, count), |(i, j)| {
            let same = rows.targets[i] == rows.targets[j];
            let mut k = kernel(&known[i], &known[j], &u[i], &u[j], same);
            k += H.covariates * rows.covariates[[i, 0]] * rows.covariates[[j, 0]];
            let equal = |yes: bool| f64::from(u8::from(yes));
            k + H.white * equal(i == j)
                + H.family * equal(rows.families[i] == rows.families[j] && same)
                + H.architecture * equal(rows.architectures[i] == rows.architectures[j])
                + H.recipe * equal(rows.recipes[i].is_some() && rows.recipes[i] == rows.recipes[j])
        });
        let mut alpha = Array1::<f64>::zeros(count);
        for _ in 0..200_000 {
            let mut change = 0.0f64;
            for i in 0..count {
                let rest = covariance.row(i).dot(&alpha) - covariance[[i, i]] * alpha[i];
                let next = (labels[i] - rest) / covariance[[i, i]];
                change = change.max((next - alpha[i]).abs());
                alpha[i] = next;
            }
            if change < 1e-11 {
                break;
            }
        }
        for i in 0..others.len() {
            for target in 0..2 {
                let covariate = Array1::from(vec![0.4]);
                let found = process.predict(others.descriptors.row(i), target, covariate.view());
                let expected: f64 = (0..count)
                    .map(|j| {
                        let same = rows.targets[j] == target;
                        let k = kernel(&asked[i], &known[j], &v[i], &u[j], same);
                        alpha[j] * (k + H.covariates * 0.4 * rows.covariates[[j, 0]])
                    })
                    .sum();
                assert!((found.value - expected).abs() < 1e-4, "{} {expected}", found.value);
                // The mean of the heads by the memberships, which sum to 1.
                let mean: f64 = found.heads.iter().map(|(u, head)| u * head).sum();
                assert!((mean - found.value).abs() < 1e-9);
                let all: f64 = found.heads.iter().map(|(u, _)| u).sum();
                assert!((all - 1.0).abs() < 1e-9 && found.heads.len() == 5);
            }
        }
    }

    #[test]
    fn labels_are_learned_and_covariates_told_apart() {
        let (rows, labels) = rows(400, 2);
        let process = Process::fit(&rows, &labels, &H).unwrap();
        let (more, truth) = self::rows(60, 3);
        let mut errors = Vec::new();
        for (i, truth) in truth.into_iter().enumerate() {
            let at = |covariate: f64| {
                let covariate = Array1::from(vec![covariate]);
                process.predict(more.descriptors.row(i), 0, covariate.view()).value
            };
            assert!((at(1.0) - at(0.0) - 0.8).abs() < 0.15, "{}", at(1.0) - at(0.0));
            errors.push((at(more.covariates[[i, 0]]) - truth).abs());
        }
        let mean = errors.iter().sum::<f64>() / 60.0;
        assert!(mean < 0.25, "{mean}");
    }

    #[test]
    fn what_is_stored_is_what_is_loaded() {
        let (mut rows, labels) = rows(70, 4);
        // Models that ship have no embeddings.
        rows.descriptors = rows.descriptors.slice(s![.., ..LENGTH]).to_owned();
        let h = Hyperparameters { embedding: 0.0, ..H };
        let process = Process::fit(&rows, &labels, &h).unwrap();
        let mut file = WeightFile::default();
        process.store(&mut file);
        let bytes = file.to_bytes().unwrap();
        let load = |count: usize, covariates: usize, targets: usize| {
            Process::load(h, [count, covariates, targets], &Weights::parse(&bytes).unwrap())
        };
        let loaded = load(70, 1, 2).unwrap();
        for i in 0..70 {
            let of = |process: &Process| {
                process.predict(rows.descriptors.row(i), 1, rows.covariates.row(i))
            };
            assert!((of(&loaded).value - of(&process).value).abs() < 1e-3);
        }
        assert!(load(71, 1, 2).is_err() && load(70, 2, 2).is_err() && load(70, 1, 1).is_err());
    }

    #[test]
    fn the_inverse_by_halves_is_the_inverse() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let random = Array2::from_shape_fn((150, 150), |_| rng.gen_range(-1.0..1.0));
        let matrix = random.dot(&random.t()) + Array2::<f64>::eye(150);
        let product = inverse(matrix.clone()).unwrap().dot(&matrix);
        let worst = (product - Array2::<f64>::eye(150)).iter().fold(0.0f64, |w, x| w.max(x.abs()));
        assert!(worst < 1e-8, "{worst}");
        assert_eq!(inverse(-matrix), Err(ProcessError::NotPositive));
    }

    #[test]
    fn one_head_says_the_same_of_every_cluster() {
        let (rows, labels) = rows(40, 3);
        let said = |h: &Hyperparameters| {
            let process = Process::fit(&rows, &labels, h).unwrap();
            process.predict(rows.descriptors.row(0), 0, rows.covariates.row(0))
        };
        let same = |p: &Prediction| p.heads.iter().all(|(_, value)| *value == p.value);
        assert!(same(&said(&H.one_head())));
        assert!(!same(&said(&H)));
    }
}
