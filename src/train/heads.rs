//! Heads on frozen embeddings, with and without fuzzy clusters.

use super::fit::{one_cycle, ranking_loss};
use super::trainable::Stored;
use crate::encoder::Activation;
use crate::predictor::{FuzzyClusters, statistics};
use ndarray::{Array2, ArrayView2};
use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use tch::nn::{self, OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor};

/// What the names of heads' tensors begin with.
pub const NAME: &str = "heads";
/// Of the heads' hidden layers.
pub const ACTIVATION: Activation = Activation::Relu;

const EPOCHS: usize = 40;
const BATCH: usize = 256;
const LEARNING_RATE: f64 = 2e-3;
const WEIGHT_DECAY: f64 = 1e-2;
const CLIP: f64 = 5.0;

/// What the heads' scores are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// Equal the targets: squared error.
    Regression,
    /// Be higher for the better of two networks: logistic loss of the difference between their
    /// scores, over all pairs of a batch. The answer to "which is better?" is then symmetric and
    /// transitive, and a network's score alone ranks it.
    Pairwise,
}

/// What heads are fitted to.
pub struct Task<'a> {
    /// Embeddings to train on.
    pub training: ArrayView2<'a, f32>,
    /// Of the training networks; of unit variance for [`Objective::Regression`].
    pub targets: &'a [f64],
    /// Embeddings to choose the epoch with.
    pub validation: ArrayView2<'a, f32>,
    /// How good scores of the validation networks are; higher is better.
    pub criterion: &'a dyn Fn(&[f64]) -> f64,
    /// What is minimised.
    pub objective: Objective,
}

/// Heads that are fitted.
pub struct Fitted {
    /// Clusters and heads, for [`FuzzyHeads::read`](crate::predictor::FuzzyHeads::read).
    pub tensors: BTreeMap<String, Stored>,
    /// The epoch whose weights were kept, from 1.
    pub best_epoch: usize,
    /// The criterion after it.
    pub criterion: f64,
}

/// Heads that libtorch can train, all at once.
struct TrainableHeads {
    /// Weight `[heads, inputs, outputs]` and bias `[heads, 1, outputs]` of each layer.
    layers: Vec<(Tensor, Tensor)>,
}

impl TrainableHeads {
    fn new(path: &nn::Path, length: usize, hidden: &[usize], heads: usize) -> Self {
        let inputs = [length].into_iter().chain(hidden.iter().copied());
        let outputs = hidden.iter().chain(&[1]);
        let layer = |(i, (a, &b)): (usize, (usize, &usize))| {
            let bound = 1.0 / (a as f64).sqrt();
            let [heads, a, b] = [heads, a, b].map(|x| x as i64);
            let path = path / i;
            (
                path.uniform("weight", &[heads, a, b], -bound, bound),
                path.uniform("bias", &[heads, 1, b], -bound, bound),
            )
        };
        Self { layers: inputs.zip(outputs).enumerate().map(layer).collect() }
    }

    /// Scores of `embeddings` `[networks, length]` with `memberships` `[networks, heads]`.
    fn scores(&self, embeddings: &Tensor, memberships: &Tensor) -> Tensor {
        let heads = memberships.size()[1];
        let mut states = embeddings.unsqueeze(0).expand([heads, -1, -1], false);
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            states = bias.baddbmm(&states, weight, 1.0, 1.0);
            if i + 1 < self.layers.len() {
                states = states.relu();
            }
        }
        (states.squeeze_dim(2).transpose(0, 1) * memberships).sum_dim_intlist(
            [1i64].as_slice(),
            false,
            Kind::Float,
        )
    }

    /// The heads as a model file holds them, for embeddings that are not standardised.
    fn export(&self, mean: &Tensor, deviation: &Tensor, out: &mut BTreeMap<String, Stored>) {
        let _guard = tch::no_grad_guard();
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            let (weight, bias) = if i == 0 {
                let weight = weight / deviation.view([1, -1, 1]);
                let shift = mean.view([1, -1, 1]) * &weight;
                let bias = bias - shift.sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
                (weight, bias)
            } else {
                (weight.shallow_clone(), bias.shallow_clone())
            };
            for j in 0..weight.size()[0] {
                out.insert(format!("{NAME}.{j}.{i}.weight"), stored(&weight.get(j)));
                out.insert(format!("{NAME}.{j}.{i}.bias"), stored(&bias.get(j).squeeze_dim(0)));
            }
        }
    }
}

fn stored(tensor: &Tensor) -> Stored {
    let shape = tensor.size().into_iter().map(|d| d as usize).collect();
    let mut elements = vec![0f32; tensor.numel()];
    tensor.contiguous().copy_data(&mut elements, tensor.numel());
    (shape, elements)
}

fn tensor(matrix: ArrayView2<f32>) -> Tensor {
    let (rows, columns) = matrix.dim();
    let elements: Vec<f32> = matrix.iter().copied().collect();
    Tensor::from_slice(&elements).view([rows as i64, columns as i64])
}

/// Trains a head with hidden layers of these widths for each cluster, and keeps the weights of the
/// epoch with the highest criterion.
pub fn fit(task: &Task, clusters: &FuzzyClusters, hidden: &[usize], seed: u64) -> Fitted {
    tch::manual_seed(seed as i64);
    let mut rng = StdRng::seed_from_u64(seed);
    let variables = VarStore::new(Device::Cpu);
    let trainable =
        TrainableHeads::new(&variables.root(), task.training.ncols(), hidden, clusters.count());
    // Only fails when the optimiser's name is wrong in libtorch itself.
    let mut optimiser = nn::AdamW { wd: WEIGHT_DECAY, ..Default::default() }
        .build(&variables, LEARNING_RATE)
        .unwrap_or_else(|e| unreachable!("{e}"));

    let (mean, deviation) = statistics(task.training);
    let inputs = |embeddings: ArrayView2<f32>| {
        let standard = (&embeddings - &mean) / &deviation;
        (tensor(standard.view()), tensor(clusters.memberships(embeddings).view()))
    };
    let (training, shares) = inputs(task.training);
    let (validation, validation_shares) = inputs(task.validation);
    let targets: Vec<f32> = task.targets.iter().map(|t| *t as f32).collect();
    let targets = Tensor::from_slice(&targets);
    let [mean, deviation] = [&mean, &deviation].map(|x| Tensor::from_slice(&x.to_vec()));

    let mut order: Vec<i64> = (0..task.training.nrows() as i64).collect();
    let steps_per_epoch = order.len().div_ceil(BATCH);
    let steps = steps_per_epoch * EPOCHS;
    let mut fitted =
        Fitted { tensors: BTreeMap::new(), best_epoch: 0, criterion: f64::NEG_INFINITY };
    for epoch in 0..EPOCHS {
        order.shuffle(&mut rng);
        for (step, batch) in order.chunks(BATCH).enumerate() {
            let rows = Tensor::from_slice(batch);
            let select = |x: &Tensor| x.index_select(0, &rows);
            let scores = trainable.scores(&select(&training), &select(&shares));
            let loss = match task.objective {
                Objective::Regression => scores.mse_loss(&select(&targets), tch::Reduction::Mean),
                Objective::Pairwise => {
                    ranking_loss(&scores, &select(&targets), &scores.zeros_like())
                }
            };
            let progress = (epoch * steps_per_epoch + step) as f64 / steps as f64;
            optimiser.set_lr(LEARNING_RATE * one_cycle(progress));
            optimiser.backward_step_clip_norm(&loss, CLIP);
        }
        let scores = {
            let _guard = tch::no_grad_guard();
            stored(&trainable.scores(&validation, &validation_shares)).1
        };
        let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        let criterion = (task.criterion)(&scores);
        // The first one is kept even if its scores are all the same.
        if epoch == 0 || criterion > fitted.criterion {
            (fitted.best_epoch, fitted.criterion) = (epoch + 1, criterion);
            trainable.export(&mean, &deviation, &mut fitted.tensors);
        }
    }
    let of = |matrix: &Array2<f32>| -> Stored {
        (vec![matrix.nrows(), matrix.ncols()], matrix.iter().copied().collect())
    };
    for (name, tensor) in [
        ("mean", (vec![clusters.mean.len()], clusters.mean.to_vec())),
        ("axes", of(&clusters.axes)),
        ("centroids", of(&clusters.centroids)),
        ("fuzzifier", (vec![1], vec![clusters.fuzzifier])),
    ] {
        fitted.tensors.insert(format!("{NAME}.clusters.{name}"), tensor);
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clustering::membership_entropy;
    use crate::encoder::{Weights, testing};
    use crate::metrics::kendall_tau_b;
    use crate::predictor::{Clustering, FuzzyHeads};
    use ndarray::s;
    use rand::Rng;

    const LENGTH: usize = 12;

    /// Embeddings in two groups whose targets depend on one dimension in opposite directions, and
    /// the targets.
    fn networks(count: usize) -> (Array2<f32>, Vec<f64>) {
        let mut rng = StdRng::seed_from_u64(1);
        let mut embeddings =
            Array2::from_shape_fn((count, LENGTH), |_| rng.gen_range(-1.0f32..1.0) + 3.0);
        let mut targets = Vec::new();
        for (i, mut row) in embeddings.rows_mut().into_iter().enumerate() {
            let side = if i % 2 == 0 { 1.0 } else { -1.0 };
            for j in 3..9 {
                row[j] += 4.0 * side;
            }
            targets.push(f64::from((row[0] - 3.0) * side) * 1.7);
        }
        (embeddings, targets)
    }

    fn read(fitted: &Fitted, hidden: &[usize]) -> FuzzyHeads {
        let file = testing::file(&fitted.tensors);
        let weights = Weights::parse(&file).unwrap();
        FuzzyHeads::read(NAME, LENGTH, hidden, ACTIVATION, &weights).unwrap()
    }

    /// What training measured is what the heads give that are read back.
    #[test]
    fn heads_learn_and_answer_as_in_training() {
        let _guard = crate::train::seeded();
        tch::set_num_threads(1);
        let (embeddings, targets) = networks(4200);
        let (training, validation) =
            (embeddings.slice(s![..4000, ..]), embeddings.slice(s![4000.., ..]));
        let tau = |scores: &[f64]| kendall_tau_b(&targets[4000..], scores).unwrap_or(-1.0);
        let clustering = Clustering { clusters: 2, fuzzifier: 2.0, axes: 2 };
        let fuzzy = FuzzyClusters::fit(training, clustering, 0).unwrap();
        let entropy = membership_entropy(fuzzy.memberships(validation).view()).mean();
        assert!(entropy.is_some_and(|e| e < 0.4), "{entropy:?}");
        for objective in [Objective::Regression, Objective::Pairwise] {
            let task = Task {
                training,
                targets: &targets[..4000],
                validation,
                criterion: &tau,
                objective,
            };
            // A linear head can't do it, one for each cluster can.
            let plain = fit(&task, &FuzzyClusters::one(LENGTH), &[], 3);
            let fitted = fit(&task, &fuzzy, &[], 3);
            assert!(plain.criterion < 0.3, "{objective:?}: {}", plain.criterion);
            assert!(fitted.criterion > 0.7, "{objective:?}: {}", fitted.criterion);
            let hidden = [16];
            let deep = fit(&task, &fuzzy, &hidden, 3);
            for (fitted, hidden) in [(plain, &[][..]), (fitted, &[]), (deep, &hidden)] {
                let scores = read(&fitted, hidden).scores(validation);
                let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
                assert!((tau(&scores) - fitted.criterion).abs() < 1e-3);
                if objective == Objective::Regression && fitted.criterion > 0.8 {
                    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
                    assert!((mean(&scores) - mean(&targets[4000..])).abs() < 0.1);
                }
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_heads() {
        let _guard = crate::train::seeded();
        tch::set_num_threads(1);
        let (embeddings, targets) = networks(300);
        let criterion = |scores: &[f64]| kendall_tau_b(&targets, scores).unwrap_or(-1.0);
        let task = Task {
            training: embeddings.view(),
            targets: &targets,
            validation: embeddings.view(),
            criterion: &criterion,
            objective: Objective::Regression,
        };
        let fitted = |seed| fit(&task, &FuzzyClusters::one(LENGTH), &[8], seed).tensors;
        assert_eq!(fitted(1), fitted(1));
        assert_ne!(fitted(1), fitted(2));
    }
}
