//! Fitting a [`Twin`] to labelled graphs.

use super::LabelledGraphs;
use super::twin::{Batcher, Stored, Twin};
use crate::encoder::Config;
use crate::estimator::{Epoch, Recipe};
use crate::graph::Operation;
use crate::metrics;
use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use std::time::Instant;
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Tensor};

/// What fitting leaves behind.
#[derive(Debug)]
pub struct Fitted {
    /// Weights after the best epoch.
    pub tensors: BTreeMap<String, Stored>,
    /// All epochs.
    pub epochs: Vec<Epoch>,
    /// The one whose weights were kept, from 1.
    pub best_epoch: usize,
    /// How long it took.
    pub seconds: f64,
}

/// Graphs in a batch of the validation pass.
const EVALUATION_BATCH: usize = 250;

/// Pairwise logistic ranking loss (RankNet, Burges et al. 2005): the mean of
/// log(1 + exp(-(sᵢ - sⱼ))) over all pairs of a batch in which i is truly better than j.
fn ranking_loss(scores: &Tensor, targets: &Tensor) -> Tensor {
    let difference = |x: &Tensor| x.unsqueeze(1) - x.unsqueeze(0);
    let better = difference(targets).gt(0.0).to_kind(Kind::Float);
    let loss = (-difference(scores)).softplus() * &better;
    loss.sum(Kind::Float) / better.sum(Kind::Float).clamp_min(1.0)
}

/// Learning rate at `step` of `steps`.
fn learning_rate(recipe: &Recipe, step: usize, steps: usize) -> f64 {
    if !recipe.one_cycle {
        return recipe.learning_rate;
    }
    let progress = step as f64 / steps as f64;
    let factor = if progress < 0.1 {
        progress / 0.1
    } else {
        (1.0 + (std::f64::consts::PI * (progress - 0.1) / 0.9).cos()) / 2.0
    };
    recipe.learning_rate * factor.max(1e-3)
}

/// Trains a fresh twin and keeps the weights of the epoch with the highest Kendall's τ-b on
/// the validation graphs. Each epoch reports a line of progress.
pub fn fit(
    set: &LabelledGraphs,
    operations: &[Operation],
    config: &Config,
    recipe: &Recipe,
    seed: u64,
    report: &mut dyn FnMut(&str),
) -> Fitted {
    tch::manual_seed(seed as i64);
    let mut rng = StdRng::seed_from_u64(seed);
    let variables = nn::VarStore::new(Device::Cpu);
    let twin = Twin::new(&variables.root(), config, operations.len(), recipe.batch_norm);
    let batcher = Batcher::new(&set.store, operations, config);
    // Only fails when the optimiser's name is wrong in libtorch itself.
    let mut optimiser = nn::AdamW { wd: recipe.weight_decay, ..Default::default() }
        .build(&variables, recipe.learning_rate)
        .unwrap_or_else(|e| unreachable!("{e}"));

    let count = set.training.len();
    let accuracies = &set.accuracies[set.training.clone()];
    let mean = accuracies.iter().sum::<f64>() / count as f64;
    let variance = accuracies.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / count as f64;
    let spread = variance.sqrt().max(f64::MIN_POSITIVE);

    let started = Instant::now();
    let steps_per_epoch = count.div_ceil(recipe.batch);
    let steps = steps_per_epoch * recipe.epochs;
    let mut order: Vec<usize> = set.training.clone().collect();
    let validation: Vec<usize> = set.validation.clone().collect();
    let mut fitted =
        Fitted { tensors: twin.export(), epochs: Vec::new(), best_epoch: 0, seconds: 0.0 };
    let mut best = f64::NEG_INFINITY;
    for epoch in 0..recipe.epochs {
        order.shuffle(&mut rng);
        let mut total = 0.0;
        for (step, graphs) in order.chunks(recipe.batch).enumerate() {
            let target = |&g: &usize| ((set.accuracies[g] - mean) / spread) as f32;
            let targets: Vec<f32> = graphs.iter().map(target).collect();
            let targets = Tensor::from_slice(&targets);
            let scores = twin.scores(&batcher.batch(graphs), true);
            let mut loss = scores.mse_loss(&targets, tch::Reduction::Mean);
            if recipe.ranking > 0.0 {
                loss += ranking_loss(&scores, &targets) * recipe.ranking;
            }
            optimiser.set_lr(learning_rate(recipe, epoch * steps_per_epoch + step, steps));
            optimiser.backward_step_clip_norm(&loss, recipe.clip);
            total += loss.double_value(&[]);
        }
        let scores: Vec<f64> = validation
            .chunks(EVALUATION_BATCH)
            .flat_map(|graphs| scores(&twin, &batcher, graphs))
            .map(f64::from)
            .collect();
        let truth = &set.accuracies[set.validation.clone()];
        let kendall = metrics::kendall_tau_b(truth, &scores);
        let loss = total / steps_per_epoch as f64;
        let validation_kendall = kendall.unwrap_or(f64::NEG_INFINITY);
        fitted.epochs.push(Epoch { loss, validation_kendall });
        if validation_kendall > best {
            best = validation_kendall;
            fitted.best_epoch = epoch + 1;
            fitted.tensors = twin.export();
        }
        fitted.seconds = started.elapsed().as_secs_f64();
        let per_epoch = fitted.seconds / (epoch + 1) as f64;
        report(&format!(
            "epoch {}/{}: loss {loss:.4}, validation τ {validation_kendall:.4}, {:.0} graphs/s, {:.0} s left",
            epoch + 1,
            recipe.epochs,
            count as f64 / per_epoch,
            per_epoch * (recipe.epochs - epoch - 1) as f64,
        ));
    }
    fitted
}

/// Scores of the graphs at these positions, with the weights as they are.
pub fn scores(twin: &Twin, batcher: &Batcher, graphs: &[usize]) -> Vec<f32> {
    let _guard = tch::no_grad_guard();
    let scores = twin.scores(&batcher.batch(graphs), false);
    let mut values = vec![0f32; graphs.len()];
    scores.copy_data(&mut values, graphs.len());
    values
}
