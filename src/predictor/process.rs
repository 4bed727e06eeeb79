//! A Gaussian process on descriptors: the expert for networks that no search space has.

use crate::encoder::{WeightError, WeightFile, Weights};
use crate::proxies::{Aspect, DESCRIPTORS};
use linfa_linalg::cholesky::InverseC;
use ndarray::{Array1, Array2, ArrayView1, Axis, Zip, s};
use rayon::prelude::*;
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
    pub aspects: [f64; Aspect::ALL.len()],
    /// Length scale of these.
    pub length: f64,
    /// Of a Gaussian kernel on all descriptors but the counts of operations.
    pub structure: f64,
    /// Of a Gaussian kernel on all descriptors.
    pub everything: f64,
    /// Length scale of these two.
    pub smooth_length: f64,
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

/// Weight of the constant in the kernel, for each target: any mean will do.
const CONSTANT: f64 = 10.0;

/// Positions of the descriptors that the kernel is linear in: parameters, MACs, resolution,
/// activations.
const LINEAR: Range<usize> = 0..4;

/// Networks with labels, a row each.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// [Descriptors](crate::proxies::descriptors), `[rows, DESCRIPTORS.len()]`.
    pub descriptors: Array2<f64>,
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
}

/// Means and reciprocal standard deviations of descriptors.
#[derive(Debug, Clone, PartialEq)]
struct Scaling {
    mean: Array1<f64>,
    factor: Array1<f64>,
}

impl Scaling {
    fn of(descriptors: &Array2<f64>) -> Self {
        let mean = descriptors.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(LENGTH));
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
        Self {
            aspects: std::array::from_fn(|i| sums[i] / lengths[i]),
            structure: (all - operations) / (LENGTH as f64 - counted),
            everything: all / LENGTH as f64,
            linear: LINEAR.map(|k| a[k] * b[k]).sum(),
        }
    }

    /// The kernel, but for its constant, the covariates and the targets.
    fn kernel(&self, h: &Hyperparameters) -> f64 {
        let gaussian = |square: f64| (-0.5 * square / h.smooth_length.powi(2)).exp();
        let aspects = self.aspects.iter().zip(h.aspects);
        let aspects: f64 = aspects.map(|(&square, weight)| weight * matern(square, h.length)).sum();
        h.linear * self.linear
            + aspects
            + h.structure * gaussian(self.structure)
            + h.everything * gaussian(self.everything)
    }
}

/// Matérn's kernel of smoothness 3/2, of a squared distance.
fn matern(square: f64, length: f64) -> f64 {
    let r = (3.0 * square).sqrt() / length;
    (1.0 + r) * (-r).exp()
}

/// Networks, their labels, and all that does not depend on hyperparameters.
pub struct Fitting {
    rows: Rows,
    labels: Array1<f64>,
    scaling: Scaling,
    scaled: Array2<f64>,
    /// `[rows, rows]`.
    distances: Array2<Distances>,
}

/// The kernel of the labels, noise included, is no kernel: a hyperparameter is not positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the covariance of the labels is not positive definite")]
pub struct NotPositive;

/// A process of some hyperparameters, with what leaves labels out.
pub struct Fitted<'a> {
    fitting: &'a Fitting,
    hyperparameters: Hyperparameters,
    /// Of the descriptors, `[rows, rows]`.
    kernel: Array2<f64>,
    /// Inverse of the labels' covariance.
    precision: Array2<f64>,
    /// Its product with the labels.
    coefficients: Array1<f64>,
}

impl Fitting {
    /// Labels of `rows`, each target's of mean 0 and variance 1 or so.
    pub fn new(rows: Rows, labels: Vec<f64>) -> Self {
        let scaling = Scaling::of(&rows.descriptors);
        let mut scaled = rows.descriptors.clone();
        scaled.rows_mut().into_iter().for_each(|mut row| {
            let values = scaling.apply(row.view());
            row.assign(&values);
        });
        let count = rows.len();
        let pairs: Vec<Distances> = (0..count * count)
            .into_par_iter()
            .map(|at| Distances::between(scaled.row(at / count), scaled.row(at % count)))
            .collect();
        let distances = Array2::from_shape_fn((count, count), |(i, j)| pairs[i * count + j]);
        Self { rows, labels: labels.into(), scaling, scaled, distances }
    }

    /// The rows.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// Root of the mean square of the differences of two rows' descriptors.
    pub fn distance(&self, i: usize, j: usize) -> f64 {
        self.distances[[i, j]].everything.sqrt()
    }

    /// Fits the labels.
    ///
    /// # Errors
    /// When a hyperparameter is not positive.
    pub fn fit(&self, h: &Hyperparameters) -> Result<Fitted<'_>, NotPositive> {
        let rows = &self.rows;
        let count = rows.len();
        let mut kernel = Array2::<f64>::zeros((count, count));
        Zip::indexed(&mut kernel).and(&self.distances).par_for_each(|(i, j), value, distances| {
            if j <= i {
                *value = distances.kernel(h);
            }
        });
        for i in 0..count {
            for j in i + 1..count {
                kernel[[i, j]] = kernel[[j, i]];
            }
        }
        let mut covariance = kernel.clone();
        Zip::indexed(&mut covariance).par_for_each(|(i, j), value| {
            let same_target = rows.targets[i] == rows.targets[j];
            let covariates = (rows.covariates.row(i), rows.covariates.row(j));
            *value = combine(h, *value, same_target, covariates.0.dot(&covariates.1));
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
        let precision = inverse(covariance)?;
        let coefficients = precision.dot(&self.labels);
        Ok(Fitted { fitting: self, hyperparameters: *h, kernel, precision, coefficients })
    }
}

/// The whole kernel, from that of the descriptors.
fn combine(h: &Hyperparameters, kernel: f64, same_target: bool, covariates: f64) -> f64 {
    let (shared, constant) = if same_target { (1.0, CONSTANT) } else { (h.sharing, 0.0) };
    shared * kernel + constant + h.covariates * covariates
}

/// Inverse of a positive definite matrix, by halves: nearly all of it is products of matrices.
fn inverse(matrix: Array2<f64>) -> Result<Array2<f64>, NotPositive> {
    let count = matrix.nrows();
    if count <= 64 {
        return matrix.invc().map_err(|_| NotPositive);
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

impl Fitted<'_> {
    /// What is predicted for each row of a group from the labels of all that are neither in its group
    /// nor of an architecture that is; with these covariates for each target, or its own.
    pub fn left_out(&self, groups: &[usize], neutral: Option<&[Array1<f64>]>) -> Vec<f64> {
        let rows = &self.fitting.rows;
        let count = rows.len();
        let last = groups.iter().copied().max().map_or(0, |last| last + 1);
        let predict = |group: usize| -> Vec<(usize, f64)> {
            let members: Vec<usize> = (0..count).filter(|&i| groups[i] == group).collect();
            let mut out = vec![false; count];
            members.iter().for_each(|&i| out[i] = true);
            let architectures: std::collections::HashSet<usize> =
                members.iter().map(|&i| rows.architectures[i]).collect();
            (0..count)
                .filter(|&i| architectures.contains(&rows.architectures[i]))
                .for_each(|i| out[i] = true);
            let left: Vec<usize> = (0..count).filter(|&i| out[i]).collect();
            // Coefficients without these labels, by the inverse of a part of the inverse.
            let block = self.precision.select(Axis(0), &left).select(Axis(1), &left);
            let own = self.coefficients.select(Axis(0), &left);
            let Ok(shift) = inverse(block).map(|block| block.dot(&own)) else {
                return members.into_iter().map(|i| (i, f64::NAN)).collect();
            };
            let columns = self.precision.select(Axis(1), &left);
            let coefficients = &self.coefficients - &columns.dot(&shift);
            let kept: Vec<usize> = (0..count).filter(|&j| !out[j]).collect();
            let by_covariates =
                kept.iter().fold(Array1::zeros(rows.covariates.ncols()), |sum, &j| {
                    sum + coefficients[j] * &rows.covariates.row(j)
                });
            let h = &self.hyperparameters;
            let value = |i: usize| {
                let covariates =
                    neutral.map_or(rows.covariates.row(i), |n| n[rows.targets[i]].view());
                let term = |&j: &usize| {
                    let same_target = rows.targets[i] == rows.targets[j];
                    coefficients[j] * combine(h, self.kernel[[i, j]], same_target, 0.0)
                };
                kept.iter().map(term).sum::<f64>() + h.covariates * covariates.dot(&by_covariates)
            };
            members.iter().map(|&i| (i, value(i))).collect()
        };
        let mut values = vec![f64::NAN; count];
        let parts: Vec<_> = (0..last).into_par_iter().map(predict).collect();
        parts.into_iter().flatten().for_each(|(i, value)| values[i] = value);
        values
    }
}

/// The mean of fitted processes on the same labels, with different hyperparameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    hyperparameters: Vec<Hyperparameters>,
    scaling: Scaling,
    /// Scaled descriptors, `[rows, DESCRIPTORS.len()]`.
    networks: Array2<f32>,
    covariates: Array2<f64>,
    targets: Vec<usize>,
    /// `[processes, rows]`.
    coefficients: Array2<f64>,
}

/// What a process says of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// In units of the target's standard deviation, from its mean.
    pub value: f64,
    /// Of each row, the root of the mean square of the differences of its descriptors from the
    /// network's.
    pub distances: Vec<f64>,
}

impl Process {
    /// The mean of what is fitted with each of these.
    ///
    /// # Errors
    /// When a hyperparameter is not positive.
    pub fn new(
        fitting: &Fitting,
        hyperparameters: &[Hyperparameters],
    ) -> Result<Self, NotPositive> {
        let rows = &fitting.rows;
        let mut coefficients = Array2::zeros((hyperparameters.len(), rows.len()));
        for (h, mut row) in hyperparameters.iter().zip(coefficients.rows_mut()) {
            row.assign(&fitting.fit(h)?.coefficients);
        }
        Ok(Self {
            hyperparameters: hyperparameters.to_vec(),
            scaling: fitting.scaling.clone(),
            networks: fitting.scaled.mapv(|x| x as f32),
            covariates: rows.covariates.clone(),
            targets: rows.targets.clone(),
            coefficients,
        })
    }

    /// What is predicted of a network with these descriptors for one of the targets.
    pub fn predict(
        &self,
        descriptors: &[f64; LENGTH],
        target: usize,
        covariates: ArrayView1<f64>,
    ) -> Prediction {
        let scaled = self.scaling.apply(ArrayView1::from(descriptors));
        let mut value = 0.0;
        let mut distances = Vec::with_capacity(self.targets.len());
        for (j, row) in self.networks.rows().into_iter().enumerate() {
            let between = Distances::between(scaled.view(), row.mapv(f64::from).view());
            let same = self.targets[j] == target;
            let known = covariates.dot(&self.covariates.row(j));
            for (h, coefficients) in self.hyperparameters.iter().zip(self.coefficients.rows()) {
                value += coefficients[j] * combine(h, between.kernel(h), same, known);
            }
            distances.push(between.everything.sqrt());
        }
        Prediction { value: value / self.hyperparameters.len().max(1) as f64, distances }
    }

    /// Number of labels.
    pub fn rows(&self) -> usize {
        self.targets.len()
    }

    /// Which target a row is of.
    pub fn target(&self, row: usize) -> usize {
        self.targets[row]
    }

    /// Number of covariates.
    pub fn covariates(&self) -> usize {
        self.covariates.ncols()
    }

    /// Adds its tensors to a model file.
    pub fn store(&self, file: &mut WeightFile) {
        let rows = self.targets.len();
        file.put("process.mean", &[LENGTH], &self.scaling.mean);
        file.put("process.factor", &[LENGTH], &self.scaling.factor);
        file.put("process.networks", &[rows, LENGTH], &self.networks);
        file.put("process.covariates", &[rows, self.covariates.ncols()], &self.covariates);
        let targets: Vec<f32> = self.targets.iter().map(|&t| t as f32).collect();
        file.put("process.targets", &[rows], &targets);
        file.put("process.coefficients", self.coefficients.shape(), &self.coefficients);
    }

    /// The process of these hyperparameters, covariates and number of targets that a file holds.
    ///
    /// # Errors
    /// When a tensor is missing, has the wrong shape, is not finite or names no target.
    pub fn load(
        hyperparameters: Vec<Hyperparameters>,
        rows: usize,
        covariates: usize,
        targets: usize,
        weights: &Weights,
    ) -> Result<Self, WeightError> {
        let codes: Array1<f32> = weights.vector("process.targets", rows)?;
        let target = |code: &f32| {
            (0..targets).find(|&t| t as f32 == *code).ok_or_else(|| WeightError::Invalid {
                name: "process.targets".into(),
                reason: format!("there is no target {code}"),
            })
        };
        Ok(Self {
            coefficients: weights.matrix(
                "process.coefficients",
                Some(hyperparameters.len()),
                rows,
            )?,
            hyperparameters,
            scaling: Scaling {
                mean: weights.vector("process.mean", LENGTH)?,
                factor: weights.vector("process.factor", LENGTH)?,
            },
            networks: weights.matrix("process.networks", Some(rows), LENGTH)?,
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
        aspects: [0.1; 6],
        length: 1.0,
        structure: 0.5,
        everything: 0.5,
        smooth_length: 1.0,
        covariates: 1.0,
        sharing: 0.5,
        family: 0.05,
        architecture: 0.02,
        recipe: 0.01,
        white: 0.02,
    };

    /// Rows whose labels follow from the first descriptors and the covariate, and these labels.
    fn rows(count: usize, seed: u64) -> (Rows, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let descriptors: Array2<f64> =
            Array2::from_shape_fn((count, LENGTH), |_| rng.gen_range(-1.0..1.0));
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
            covariates,
        };
        (rows, labels)
    }

    fn part(rows: &Rows, kept: &[usize]) -> Rows {
        let pick = |of: &[usize]| kept.iter().map(|&i| of[i]).collect();
        Rows {
            descriptors: rows.descriptors.select(Axis(0), kept),
            covariates: rows.covariates.select(Axis(0), kept),
            targets: pick(&rows.targets),
            families: pick(&rows.families),
            architectures: pick(&rows.architectures),
            recipes: kept.iter().map(|&i| rows.recipes[i]).collect(),
        }
    }

    /// The inverse of a part of the inverse gives what a fit without these rows would.
    #[test]
    fn leaving_out_is_fitting_without() {
        let (rows, labels) = rows(90, 1);
        let fitting = Fitting::new(rows.clone(), labels.clone());
        let neutral = [Array1::from(vec![0.3]), Array1::from(vec![0.6])];
        let left_out = fitting.fit(&H).unwrap().left_out(&rows.families, Some(&neutral));
        for family in [0, 3, 12] {
            let members = |i: &usize| rows.families[*i] == family;
            // An architecture may have labels in two families.
            let architectures: Vec<usize> =
                (0..90).filter(members).map(|i| rows.architectures[i]).collect();
            let kept: Vec<usize> =
                (0..90).filter(|&i| !architectures.contains(&rows.architectures[i])).collect();
            let mut fewer =
                Fitting::new(part(&rows, &kept), kept.iter().map(|&i| labels[i]).collect());
            // Descriptors are scaled by all rows there.
            fewer.scaling = fitting.scaling.clone();
            fewer.scaled = fitting.scaled.select(Axis(0), &kept);
            let count = kept.len();
            fewer.distances = Array2::from_shape_fn((count, count), |(i, j)| {
                fitting.distances[[kept[i], kept[j]]]
            });
            let process = Process::new(&fewer, &[H]).unwrap();
            for i in (0..90).filter(members) {
                let descriptors = rows.descriptors.row(i).to_vec().try_into().unwrap();
                let target = rows.targets[i];
                let found = process.predict(&descriptors, target, neutral[target].view()).value;
                assert!((found - left_out[i]).abs() < 1e-4, "{found} {}", left_out[i]);
            }
        }
    }

    #[test]
    fn labels_are_learned_and_covariates_told_apart() {
        let (rows, labels) = rows(400, 2);
        let fitting = Fitting::new(rows.clone(), labels.clone());
        let process = Process::new(&fitting, &[H, H]).unwrap();
        let (more, truth) = self::rows(60, 3);
        let mut errors = Vec::new();
        for (i, truth) in truth.into_iter().enumerate() {
            let descriptors = more.descriptors.row(i).to_vec().try_into().unwrap();
            let at = |covariate: f64| {
                process.predict(&descriptors, 0, Array1::from(vec![covariate]).view()).value
            };
            assert!((at(1.0) - at(0.0) - 0.8).abs() < 0.15, "{}", at(1.0) - at(0.0));
            errors.push((at(more.covariates[[i, 0]]) - truth).abs());
        }
        let mean = errors.iter().sum::<f64>() / 60.0;
        assert!(mean < 0.25, "{mean}");
    }

    #[test]
    fn what_is_stored_is_what_is_loaded() {
        let (rows, labels) = rows(70, 4);
        let process = Process::new(&Fitting::new(rows, labels), &[H]).unwrap();
        let mut file = WeightFile::default();
        process.store(&mut file);
        let bytes = file.to_bytes().unwrap();
        let load = |count: usize, covariates: usize, targets: usize| {
            Process::load(vec![H], count, covariates, targets, &Weights::parse(&bytes).unwrap())
        };
        assert_eq!(load(70, 1, 2).unwrap(), process);
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
        assert_eq!(inverse(-matrix), Err(NotPositive));
    }
}
