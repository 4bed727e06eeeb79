//! Training a finished model further on a few labels of another kind.

use crate::encoder::{Encoder, GraphStore, WeightError, Weights};
use crate::estimator::Estimator;
use crate::graph::Operation;
use crate::metrics::{mean_ranks, spearman};
use crate::predictor::Standardisation;
use crate::train::bundle;
use crate::train::fit::{ranking_loss, scores};
use crate::train::trainable::{Batcher, Stored, TrainableModel};
use ndarray::Array2;
use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};
use std::collections::BTreeMap;
use tch::nn::{Adam, OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor};

/// Fewest labels that a model is trained further on. With 40, left-out scores of NAS-Bench-201 networks
/// agreed with the labels at .95 and scores of other networks at .69. With 160 it was .95 and .91.
pub(super) const MIN_LABELS: usize = 150;

/// Parts of the labels, each of which is scored by a model that was trained on the others.
const FOLDS: usize = 5;

/// Most steps that are of use.
pub(super) const STEPS: usize = 100;

/// Steps from one look at the labels left out to the next.
const LOOK: usize = 10;

/// Most graphs in a step.
const BATCH: usize = 64;

/// A fraction of what [`Recipe::encoder`](crate::estimator::Recipe::encoder) trains with: a few
/// labels are soon learned by heart.
const LEARNING_RATE: f64 = 3e-4;

/// Norm that the gradient is clipped to.
const CLIP: f64 = 5.0;

/// A model trained further.
#[derive(Debug)]
pub struct Tuned {
    /// Encoder and head.
    pub tensors: BTreeMap<String, Stored>,
    /// In the order of their embeddings: those that the model knew, then those that it met.
    pub operations: Vec<Operation>,
    /// Embeddings of the labelled graphs.
    pub embeddings: Array2<f32>,
    /// Score of each labelled graph when it is left out, on the scale of the model's.
    pub left_out: Vec<f64>,
}

/// Trains encoder and head of `base` further, by so many steps at most, on the ranks of the `targets`
/// of these graphs of `store`, by the squared error and the pairwise logistic loss.
///
/// The labels are parted in five, in the order given, and each part is scored by a model trained on
/// the others. The number of steps is the one after which these scores rank the labels best, none
/// included. `done` hears how many steps are taken, of how many at most.
///
/// # Errors
/// When the weights of `base` are not those of a model: never.
pub fn train_further(
    base: &Estimator,
    store: &GraphStore,
    graphs: &[usize],
    targets: &[f64],
    steps: usize,
    seed: u64,
    done: &dyn Fn(usize, usize),
) -> Result<Tuned, WeightError> {
    let names = &base.manifest().operations;
    let mut operations: Vec<Operation> =
        names.iter().filter_map(|name| Operation::from_name(name)).collect();
    let known = operations.len();
    let met = graphs.iter().flat_map(|&g| store.operations(g..g + 1));
    for operation in met {
        if !operations.contains(&operation) {
            operations.push(operation);
        }
    }
    let ranks = mean_ranks(targets);
    let scale = Standardisation::fit(&ranks);
    let config = &base.manifest().config;
    let task = Task {
        base,
        weights: Weights::parse(base.weights())?,
        batcher: Batcher::new(store, &operations, config),
        operations: operations.len(),
        known,
        ranks: graphs.iter().copied().zip(ranks.iter().map(|&r| scale.apply(r) as f32)).collect(),
        seed,
    };

    let most = (FOLDS + 1) * steps;
    // After each number of steps, of each graph.
    let mut looks = vec![vec![0.0; graphs.len()]; steps / LOOK + 1];
    let mut taken = 0;
    for fold in 0..FOLDS {
        let part = fold * graphs.len() / FOLDS..(fold + 1) * graphs.len() / FOLDS;
        let others = [&task.ranks[..part.start], &task.ranks[part.end..]].concat();
        task.train(&others, steps, &mut |step, trainable| {
            let scores = scores(trainable, &task.batcher, &graphs[part.clone()]);
            looks[step / LOOK][part.clone()]
                .iter_mut()
                .zip(scores)
                .for_each(|(l, s)| *l = s.into());
            done(taken + step, most);
        })?;
        taken += steps;
    }
    let agreement = |look: &Vec<f64>| spearman(targets, look).unwrap_or(-1.0);
    // The first of the best.
    let best = (1..looks.len())
        .fold(0, |best, i| if agreement(&looks[i]) > agreement(&looks[best]) { i } else { best });
    let trainable =
        task.train(&task.ranks, best * LOOK, &mut |step, _| done(taken + step, most))?;

    let tensors = trainable.export();
    let file = bundle::file(&tensors).to_bytes()?;
    let encoder = Encoder::new(config, &operations, &Weights::parse(&file)?)?;
    let embeddings = bundle::embed(store, graphs, &encoder);
    Ok(Tuned { tensors, operations, embeddings, left_out: looks.swap_remove(best) })
}

/// What is trained, and on what.
struct Task<'a> {
    base: &'a Estimator,
    weights: Weights<'a>,
    batcher: Batcher<'a>,
    /// Number of operations, and of those among them that `base` knows.
    operations: usize,
    known: usize,
    /// Standardised ranks of the labelled graphs.
    ranks: Vec<(usize, f32)>,
    seed: u64,
}

impl Task<'_> {
    /// Trains a model, whose scores are standardised at first, on these ranks; `look` sees it before
    /// the first step and after every ten.
    fn train(
        &self,
        ranks: &[(usize, f32)],
        steps: usize,
        look: &mut dyn FnMut(usize, &TrainableModel),
    ) -> Result<TrainableModel, WeightError> {
        let variables = VarStore::new(Device::Cpu);
        let config = &self.base.manifest().config;
        let mut trainable = TrainableModel::load(
            &variables.root(),
            config,
            self.operations,
            self.known,
            &self.weights,
        )?;
        let graphs: Vec<usize> = ranks.iter().map(|(g, _)| *g).collect();
        let before: Vec<f64> =
            scores(&trainable, &self.batcher, &graphs).into_iter().map(f64::from).collect();
        trainable.standardise(Standardisation::fit(&before));
        // Only fails when the optimiser's name is wrong in libtorch itself.
        let mut optimiser = Adam::default()
            .build(&variables, LEARNING_RATE)
            .unwrap_or_else(|e| unreachable!("{e}"));
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut order = ranks.to_vec();
        look(0, &trainable);
        for step in 1..=steps {
            let (part, _) = order.partial_shuffle(&mut rng, BATCH);
            let (graphs, ranks): (Vec<usize>, Vec<f32>) = part.iter().copied().unzip();
            let ranks = Tensor::from_slice(&ranks);
            let scores = trainable.scores(&self.batcher.batch(&graphs), true);
            let loss = (&scores - &ranks).square().mean(Kind::Float)
                + ranking_loss(&scores, &ranks, &ranks.zeros_like());
            optimiser.backward_step_clip_norm(&loss, CLIP);
            if step % LOOK == 0 {
                look(step, &trainable);
            }
        }
        Ok(trainable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predictor::Head;
    use crate::spaces::{Architecture, nasbench201::Cell, nasbench201::Operation as Edge};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn training_learns_the_labels_and_repeats_itself() {
        let _guard = crate::train::seeded();
        let base = Estimator::named("gennape-nb101").unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let cells: Vec<Cell> = (0..24).map(|_| Cell::sample(&mut rng)).collect();
        // What the base takes for worse.
        let skips = |c: &Cell| c.operations().iter().filter(|o| **o == Edge::SkipConnect).count();
        let targets: Vec<f64> = cells.iter().map(|c| skips(c) as f64).collect();
        let graph = |i: usize| crate::lower::lower(&Architecture::build(&cells[i]));
        let store = GraphStore::build(24, graph, &|_| ()).unwrap();
        let graphs: Vec<usize> = (0..24).collect();
        let tune = || train_further(&base, &store, &graphs, &targets, 20, 1, &|_, _| ()).unwrap();
        let tuned = tune();
        let again = tune();
        assert!(tuned.tensors == again.tensors && tuned.left_out == again.left_out);

        let agreement = |scores: Vec<f32>| {
            let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
            spearman(&targets, &scores).unwrap()
        };
        let scores = |weights: &[u8], embeddings: &Array2<f32>| {
            let weights = Weights::parse(weights).unwrap();
            agreement(
                Head::new(&base.manifest().config, &weights).unwrap().scores(embeddings.view()),
            )
        };
        let before = scores(base.weights(), &bundle::embed(&store, &graphs, base.encoder()));
        let file = bundle::file(&tuned.tensors).to_bytes().unwrap();
        let after = scores(&file, &tuned.embeddings);
        assert!(after > before + 0.1, "{after} after {before}");
    }
}
