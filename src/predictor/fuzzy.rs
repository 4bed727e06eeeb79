//! Heads for clusters that share their networks.

use super::Head;
use crate::clustering;
use crate::encoder::{Activation, WeightError, WeightFile, Weights};
use ndarray::{Array1, Array2, ArrayView2, Axis, Zip};
use serde::{Deserialize, Serialize};

/// Fuzzy clusters of embeddings, on a few axes of embedding space.
///
/// The axes are those along which the training embeddings differ most. With all dimensions and a
/// fuzzifier of 2 or more, all centroids of fuzzy c-means would lie at the mean of the data.
#[derive(Debug, Clone)]
pub struct FuzzyClusters {
    /// Subtracted from embeddings before they are projected.
    pub(crate) mean: Array1<f32>,
    /// `[axes, length of an embedding]`
    pub(crate) axes: Array2<f32>,
    /// `[clusters, axes]`
    pub(crate) centroids: Array2<f32>,
    pub(crate) fuzzifier: f32,
    /// Distance of the noise cluster from every embedding; infinite where there is none.
    pub(crate) noise: f32,
}

impl FuzzyClusters {
    /// The clusters whose tensors' names begin with `name`, of embeddings with `length` dimensions.
    ///
    /// # Errors
    /// When a tensor is missing, has the wrong shape or is not finite, or the fuzzifier is not
    /// above 1.
    pub fn read(name: &str, length: usize, weights: &Weights) -> Result<Self, WeightError> {
        let axes = weights.matrix::<f32>(&format!("{name}.axes"), None, length)?;
        let centroids = weights.matrix::<f32>(&format!("{name}.centroids"), None, axes.nrows())?;
        let empty = |what: &str| WeightError::Missing(format!("{name}.{what}"));
        if axes.is_empty() || centroids.is_empty() {
            return Err(empty(if axes.is_empty() { "axes" } else { "centroids" }));
        }
        let fuzzifier = weights.vector::<f32>(&format!("{name}.fuzzifier"), 1)?[0];
        if fuzzifier <= 1.0 {
            let reason = format!("a fuzzifier of {fuzzifier} is not above 1");
            return Err(WeightError::Invalid { name: format!("{name}.fuzzifier"), reason });
        }
        let noise = match weights.vector::<f32>(&format!("{name}.noise"), 1) {
            Ok(noise) if noise[0] > 0.0 => noise[0],
            Ok(noise) => {
                let reason = format!("a distance of {} is not positive", noise[0]);
                return Err(WeightError::Invalid { name: format!("{name}.noise"), reason });
            }
            Err(WeightError::Missing(_)) => f32::INFINITY,
            Err(error) => return Err(error),
        };
        let mean = weights.vector(&format!("{name}.mean"), length)?;
        Ok(Self { mean, axes, centroids, fuzzifier, noise })
    }

    /// Adds its tensors to a model file, under names that begin with `name`.
    pub fn store(&self, name: &str, file: &mut WeightFile) {
        file.put(format!("{name}.mean"), self.mean.shape(), &self.mean);
        file.put(format!("{name}.axes"), self.axes.shape(), &self.axes);
        file.put(format!("{name}.centroids"), self.centroids.shape(), &self.centroids);
        file.put(format!("{name}.fuzzifier"), &[1], &[self.fuzzifier]);
        if self.noise.is_finite() {
            file.put(format!("{name}.noise"), &[1], &[self.noise]);
        }
    }

    /// Number of clusters.
    pub fn count(&self) -> usize {
        self.centroids.nrows()
    }

    /// Memberships `[networks, clusters]` of embeddings; what they lack to 1 is the membership in the
    /// noise cluster. See [`clustering`].
    pub fn memberships(&self, embeddings: ArrayView2<f32>) -> Array2<f32> {
        let points = self.project(embeddings);
        clustering::memberships_beside_noise(&self.centroids, self.fuzzifier, self.noise, &points)
    }

    /// Coordinates `[networks, axes]` of embeddings.
    pub(crate) fn project(&self, embeddings: ArrayView2<f32>) -> Array2<f32> {
        (&embeddings - &self.mean).dot(&self.axes.t())
    }
}

/// How embeddings are clustered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Clustering {
    /// Number of clusters.
    pub clusters: usize,
    /// The exponent m of memberships.
    pub fuzzifier: f64,
    /// Principal axes of the embeddings that are clustered along.
    pub axes: usize,
}

#[cfg(feature = "clustering")]
mod fitting {
    use super::{Clustering, FuzzyClusters};
    use crate::clustering::FuzzyCMeans;
    use linfa::DatasetBase;
    use linfa::traits::Fit;
    use linfa_linalg::eigh::EighInto;
    use ndarray::{Array1, Array2, ArrayView2, Axis};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Networks that clusters are fitted to, at most.
    const CLUSTERED: usize = 10_000;
    /// Fitting ends when no membership changes by as much, or after so many iterations.
    const TOLERANCE: f64 = 1e-6;
    const ITERATIONS: u64 = 10_000;

    impl FuzzyClusters {
        /// One cluster that all embeddings of this length belong to.
        pub fn one(length: usize) -> Self {
            Self {
                mean: Array1::zeros(length),
                axes: Array2::zeros((1, length)),
                centroids: Array2::zeros((1, 1)),
                fuzzifier: 2.0,
                noise: f32::INFINITY,
            }
        }

        /// With a noise cluster whose squared distance from every embedding is `factor` times the
        /// mean of these embeddings' from the nearest centroid.
        pub fn beside_noise(self, embeddings: ArrayView2<f32>, factor: f64) -> Self {
            let points = self.project(embeddings);
            let nearest = points.rows().into_iter().map(|point| {
                let squares = self.centroids.rows().into_iter().map(|c| {
                    point.iter().zip(c).map(|(x, c)| f64::from(x - c).powi(2)).sum::<f64>()
                });
                squares.fold(f64::INFINITY, f64::min)
            });
            let mean = nearest.sum::<f64>() / embeddings.nrows().max(1) as f64;
            let noise = ((factor * mean).sqrt() as f32).max(f32::MIN_POSITIVE);
            Self { noise, ..self }
        }

        /// Fits fuzzy c-means to `embeddings` `[networks, length]`, standardised and projected to
        /// their first principal axes. There is no noise cluster.
        ///
        /// # Errors
        /// Why they can't be clustered.
        pub fn fit(
            embeddings: ArrayView2<f32>,
            clustering: Clustering,
            seed: u64,
        ) -> Result<Self, String> {
            let fail = |e: &dyn std::fmt::Display| e.to_string();
            let (mean, deviation) = statistics(embeddings);
            let step = embeddings.nrows().div_ceil(CLUSTERED).max(1);
            let sample: Vec<usize> = (0..embeddings.nrows()).step_by(step).collect();
            let sample = embeddings.select(Axis(0), &sample);
            let standard = ((&sample - &mean) / &deviation).mapv(f64::from);
            let covariance = standard.t().dot(&standard) / standard.nrows() as f64;
            let (values, vectors) =
                ((&covariance + &covariance.t()) * 0.5).eigh_into().map_err(|e| fail(&e))?;
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
            order.truncate(clustering.axes);
            let axes = vectors.select(Axis(1), &order).reversed_axes();
            let axes = axes.mapv(|x| x as f32) / &deviation;
            let mut clusters = Self {
                mean,
                axes,
                centroids: Array2::default((0, 0)),
                fuzzifier: clustering.fuzzifier as f32,
                noise: f32::INFINITY,
            };
            let records = clusters.project(sample.view()).mapv(f64::from);
            let rng = ChaCha8Rng::seed_from_u64(seed);
            let model = FuzzyCMeans::params_with_rng(clustering.clusters, rng)
                .fuzzifier(clustering.fuzzifier)
                .tolerance(TOLERANCE)
                .max_n_iterations(ITERATIONS)
                .fit(&DatasetBase::from(records))
                .map_err(|e| fail(&e))?;
            clusters.centroids = model.centroids().mapv(|c| c as f32);
            Ok(clusters)
        }
    }

    /// Mean and standard deviation of each dimension; the latter at least a hundredth of the largest
    /// one, so that dimensions that hardly ever vary do not decide.
    pub(crate) fn statistics(embeddings: ArrayView2<f32>) -> (Array1<f32>, Array1<f32>) {
        let mean = embeddings.mean_axis(Axis(0)).unwrap_or_default();
        let deviation = embeddings.std_axis(Axis(0), 0.0);
        let largest = deviation.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        (mean, deviation.mapv(|d| d.max(largest / 100.0)))
    }
}

#[cfg(feature = "train")]
pub(crate) use fitting::statistics;

/// A head for each cluster; a network's score is the mean of all heads' scores, weighted by its
/// memberships (arXiv 2211.17226): y = Σ_j U_ij f_j(h_i).
#[derive(Debug, Clone)]
pub struct FuzzyHeads {
    clusters: FuzzyClusters,
    heads: Vec<Head>,
}

impl FuzzyHeads {
    /// The heads whose tensors' names begin with `name`, for embeddings of `length` dimensions and
    /// with hidden layers of these widths.
    ///
    /// # Errors
    /// As for [`FuzzyClusters::read`] and [`Head::read`].
    pub fn read(
        name: &str,
        length: usize,
        hidden: &[usize],
        activation: Activation,
        weights: &Weights,
    ) -> Result<Self, WeightError> {
        let clusters = FuzzyClusters::read(&format!("{name}.clusters"), length, weights)?;
        let head = |j| Head::read(&format!("{name}.{j}"), length, hidden, activation, weights);
        let heads = (0..clusters.count()).map(head).collect::<Result<_, _>>()?;
        Ok(Self { clusters, heads })
    }

    /// The clusters.
    pub fn clusters(&self) -> &FuzzyClusters {
        &self.clusters
    }

    /// Scores of `embeddings`, `[networks, length of an embedding]`.
    pub fn scores(&self, embeddings: ArrayView2<f32>) -> Vec<f32> {
        let mut memberships = self.clusters.memberships(embeddings);
        for (head, mut share) in self.heads.iter().zip(memberships.columns_mut()) {
            let scores = Array1::from(head.scores(embeddings));
            Zip::from(&mut share).and(&scores).for_each(|u, score| *u *= score);
        }
        memberships.sum_axis(Axis(1)).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::testing;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use std::collections::BTreeMap;

    type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;
    const LENGTH: usize = 6;
    const HIDDEN: [usize; 2] = [5, 4];

    fn tensors(clusters: usize) -> Tensors {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut tensors = Tensors::new();
        let mut put = |name: String, shape: &[usize]| {
            let elements = (0..shape.iter().product()).map(|_| rng.gen_range(-1.0..1.0)).collect();
            tensors.insert(name, (shape.to_vec(), elements));
        };
        put("heads.clusters.mean".into(), &[LENGTH]);
        put("heads.clusters.axes".into(), &[2, LENGTH]);
        put("heads.clusters.centroids".into(), &[clusters, 2]);
        for j in 0..clusters {
            let inputs = [LENGTH, HIDDEN[0], HIDDEN[1]];
            for (i, (a, b)) in inputs.into_iter().zip([HIDDEN[0], HIDDEN[1], 1]).enumerate() {
                put(format!("heads.{j}.{i}.weight"), &[a, b]);
                put(format!("heads.{j}.{i}.bias"), &[b]);
            }
        }
        tensors.insert("heads.clusters.fuzzifier".into(), (vec![1], vec![2.0]));
        tensors
    }

    fn read(tensors: &Tensors) -> Result<FuzzyHeads, WeightError> {
        let file = testing::file(tensors);
        let weights = Weights::parse(&file)?;
        FuzzyHeads::read("heads", LENGTH, &HIDDEN, Activation::Relu, &weights)
    }

    fn head(tensors: &Tensors, j: usize) -> Head {
        let file = testing::file(tensors);
        let weights = Weights::parse(&file).unwrap();
        Head::read(&format!("heads.{j}"), LENGTH, &HIDDEN, Activation::Relu, &weights).unwrap()
    }

    fn embeddings() -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        Array2::from_shape_fn((50, LENGTH), |_| rng.gen_range(-2.0..2.0))
    }

    #[test]
    fn one_cluster_is_a_plain_head() {
        let tensors = tensors(1);
        let embeddings = embeddings();
        let scores = read(&tensors).unwrap().scores(embeddings.view());
        assert_eq!(scores, head(&tensors, 0).scores(embeddings.view()));
    }

    #[test]
    fn scores_are_the_heads_weighted_by_memberships() {
        let tensors = tensors(3);
        let embeddings = embeddings();
        let heads = read(&tensors).unwrap();
        let memberships = heads.clusters().memberships(embeddings.view());
        assert!(memberships.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-6));
        let each: Vec<Vec<f32>> =
            (0..3).map(|j| head(&tensors, j).scores(embeddings.view())).collect();
        for (i, score) in heads.scores(embeddings.view()).into_iter().enumerate() {
            let expected: f32 = (0..3).map(|j| memberships[[i, j]] * each[j][i]).sum();
            assert!((score - expected).abs() < 1e-5, "{score}, not {expected}");
        }
        // A network on a centroid has the score of that cluster's head.
        let mut one = tensors.clone();
        let at = heads.clusters.project(embeddings.view());
        one.get_mut("heads.clusters.centroids").unwrap().1[2..4]
            .copy_from_slice(&at.row(7).to_vec());
        assert_eq!(read(&one).unwrap().scores(embeddings.view())[7], each[1][7]);
    }

    #[test]
    fn files_that_make_no_sense_are_errors() {
        type Damage = fn(&mut Tensors);
        let damages: [(&str, Damage); 4] = [
            ("'heads.clusters.fuzzifier': a fuzzifier of 1", |t| {
                t.get_mut("heads.clusters.fuzzifier").unwrap().1[0] = 1.0;
            }),
            ("'heads.clusters.centroids' is missing", |t| {
                *t.get_mut("heads.clusters.centroids").unwrap() = (vec![0, 2], Vec::new());
            }),
            ("'heads.clusters.centroids' has shape [3, 2]", |t| {
                *t.get_mut("heads.clusters.axes").unwrap() = (vec![1, LENGTH], vec![1.0; LENGTH]);
            }),
            ("'heads.2.1.bias' is missing", |t| drop(t.remove("heads.2.1.bias"))),
        ];
        for (message, damage) in damages {
            let mut tensors = tensors(3);
            damage(&mut tensors);
            let error = read(&tensors).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
