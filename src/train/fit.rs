//! Fitting a [`TrainableModel`] to labelled graphs.

use super::LabelledGraphs;
use super::trainable::{Batcher, Stored, TrainableModel};
use crate::benchmarks::nasbench101::MINIMUM_ACCURACY;
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
/// log(1 + exp(-(sᵢ - sⱼ))) over all pairs of a batch from one family in which i is truly better
/// than j.
pub fn ranking_loss(scores: &Tensor, targets: &Tensor, families: &Tensor) -> Tensor {
    let difference = |x: &Tensor| x.unsqueeze(1) - x.unsqueeze(0);
    let related = families.unsqueeze(1).eq_tensor(&families.unsqueeze(0));
    let better = difference(targets).gt(0.0).logical_and(&related).to_kind(Kind::Float);
    let loss = (-difference(scores)).softplus() * &better;
    loss.sum(Kind::Float) / better.sum(Kind::Float).clamp_min(1.0)
}

/// Learning rate at `step` of `steps`.
fn learning_rate(recipe: &Recipe, step: usize, steps: usize) -> f64 {
    if !recipe.one_cycle {
        return recipe.learning_rate;
    }
    recipe.learning_rate * one_cycle(step as f64 / steps as f64)
}

/// Share of the highest learning rate after this share of the steps: rises over the first tenth
/// and falls along a cosine over the rest.
pub fn one_cycle(progress: f64) -> f64 {
    let factor = if progress < 0.1 {
        progress / 0.1
    } else {
        (1.0 + (std::f64::consts::PI * (progress - 0.1) / 0.9).cos()) / 2.0
    };
    factor.max(1e-3)
}

/// Trains a fresh trainable and keeps the weights of the epoch with the highest Kendall's τ-b on
/// the validation graphs, the mean over families. Each epoch reports a line of progress.
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
    let trainable =
        TrainableModel::new(&variables.root(), config, operations.len(), recipe.batch_norm);
    let batcher = Batcher::new(&set.store, operations, config);
    // Only fails when the optimiser's name is wrong in libtorch itself.
    let mut optimiser = nn::AdamW { wd: recipe.weight_decay, ..Default::default() }
        .build(&variables, recipe.learning_rate)
        .unwrap_or_else(|e| unreachable!("{e}"));

    let count = set.training.len();
    // Networks that hardly trained would decide the squared error; their order still counts.
    let accuracy = |g: usize| set.accuracies[g].max(MINIMUM_ACCURACY);
    let accuracies: Vec<f64> =
        set.training.clone().filter(|&g| set.comparable(g)).map(accuracy).collect();
    let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    let squares = accuracies.iter().map(|a| (a - mean).powi(2)).sum::<f64>();
    let spread = (squares / accuracies.len() as f64).sqrt().max(f64::MIN_POSITIVE);
    let column = |of: &dyn Fn(usize) -> f64, graphs: &[usize]| {
        Tensor::from_slice(&graphs.iter().map(|&g| of(g) as f32).collect::<Vec<f32>>())
    };

    let started = Instant::now();
    let steps_per_epoch = count.div_ceil(recipe.batch);
    let steps = steps_per_epoch * recipe.epochs;
    let mut order: Vec<usize> = set.training.clone().collect();
    let validation: Vec<usize> = set.validation.clone().collect();
    let mut fitted =
        Fitted { tensors: trainable.export(), epochs: Vec::new(), best_epoch: 0, seconds: 0.0 };
    let mut best = f64::NEG_INFINITY;
    for epoch in 0..recipe.epochs {
        order.shuffle(&mut rng);
        let mut total = 0.0;
        for (step, graphs) in order.chunks(recipe.batch).enumerate() {
            let targets = column(&|g| (accuracy(g) - mean) / spread, graphs);
            let comparable = column(&|g| f64::from(u8::from(set.comparable(g))), graphs);
            let scores = trainable.scores(&batcher.batch(graphs), true);
            let squares = (&scores - targets).square() * &comparable;
            let mut loss = squares.sum(Kind::Float) / comparable.sum(Kind::Float).clamp_min(1.0);
            if recipe.ranking > 0.0 {
                let families = column(&|g| set.families[g] as f64, graphs);
                let accuracies = column(&|g| set.accuracies[g], graphs);
                loss += ranking_loss(&scores, &accuracies, &families) * recipe.ranking;
            }
            optimiser.set_lr(learning_rate(recipe, epoch * steps_per_epoch + step, steps));
            optimiser.backward_step_clip_norm(&loss, recipe.clip);
            total += loss.double_value(&[]);
        }
        let scores: Vec<f64> = validation
            .chunks(EVALUATION_BATCH)
            .flat_map(|graphs| scores(&trainable, &batcher, graphs))
            .map(f64::from)
            .collect();
        let loss = total / steps_per_epoch as f64;
        let validation_kendall = mean_kendall(set, &validation, &scores);
        fitted.epochs.push(Epoch { loss, validation_kendall });
        if validation_kendall > best {
            best = validation_kendall;
            fitted.best_epoch = epoch + 1;
            fitted.tensors = trainable.export();
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

/// Mean of Kendall's τ-b over the families among these graphs.
fn mean_kendall(set: &LabelledGraphs, graphs: &[usize], scores: &[f64]) -> f64 {
    let mut families: BTreeMap<u32, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for (&g, &score) in graphs.iter().zip(scores) {
        let (truth, ranked) = families.entry(set.families[g]).or_default();
        truth.push(set.accuracies[g]);
        ranked.push(score);
    }
    let kendall = |(truth, scores): &(Vec<f64>, Vec<f64>)| {
        metrics::kendall_tau_b(truth, scores).unwrap_or(f64::NEG_INFINITY)
    };
    families.values().map(kendall).sum::<f64>() / families.len() as f64
}

/// Scores of the graphs at these positions, with the weights as they are.
pub fn scores(trainable: &TrainableModel, batcher: &Batcher, graphs: &[usize]) -> Vec<f32> {
    let _guard = tch::no_grad_guard();
    let scores = trainable.scores(&batcher.batch(graphs), false);
    let mut values = vec![0f32; graphs.len()];
    scores.copy_data(&mut values, graphs.len());
    values
}
