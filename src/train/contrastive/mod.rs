//! An encoder learnt without labels: graphs that are connected alike get embeddings alike.
//!
//! Contrastive pretraining of GENNAPE (arXiv 2211.17226, section 4.1, and its companion
//! arXiv 2302.10835). A batch goes through the encoder twice, and dropout makes the two passes
//! differ. The embeddings of both are projected to vectors z of length one, and with the
//! similarity sim(i, l) = z_i · z_l / τ the loss is
//!
//! ```text
//! L = −1/n Σ_i Σ_{l≠i} α_l⁽ⁱ⁾ log[ exp sim(i, l) / Σ_{r≠i} exp sim(i, r) ]
//! ```
//!
//! over the n rows of both passes; the papers take the sum over i, which only scales the learning
//! rate. The targets α⁽ⁱ⁾ are the softmax over l ≠ i of −‖λ_i − λ_l‖ / τ', λ the smallest
//! eigenvalues of the graph's normalised Laplacian ([`spectral`]) in the papers, or any numbers that
//! tell how alike graphs are; so the largest ones belong to the other pass of the same graph and to
//! graphs with the same connections.

pub mod spectral;

use super::TrainError;
use super::bundle;
use super::fit::one_cycle;
use super::trainable::{Batcher, Linear, Stored, TrainableModel};
use crate::encoder::{Config, Encoder, GraphStore, Weights};
use crate::estimator::LoadError;
use crate::graph::Operation;
use ndarray::{Array2, Axis};
use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Tensor};

/// Length of a projected embedding.
const PROJECTION: usize = 64;

/// Decoupled weight decay.
const WEIGHT_DECAY: f64 = 1e-2;

/// Norm that the gradient is clipped to.
const CLIP: f64 = 5.0;

/// Which graphs of a batch a graph is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Those of its own family, in targets and denominators alike.
    InFamily,
    /// All.
    CrossFamily,
}

/// How an encoder is pretrained. The optimiser is AdamW; its learning rate rises over the first
/// tenth of the steps and falls to nothing along a cosine over the rest. Layers are
/// batch-normalised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contrastive {
    /// Passes over the graphs.
    pub epochs: usize,
    /// Graphs in a step.
    pub batch: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Share of what each round of message passing gives that is dropped.
    pub dropout: f64,
    /// τ of the similarities.
    pub temperature: f64,
    /// τ' of the targets.
    pub target_temperature: f64,
    /// Which graphs are compared.
    pub variant: Variant,
}

impl Default for Contrastive {
    /// The targets' temperature is the companion paper's; the rest is not published.
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 128,
            learning_rate: 2e-3,
            dropout: 0.1,
            temperature: 0.1,
            target_temperature: 0.05,
            variant: Variant::InFamily,
        }
    }
}

/// Graphs to learn from.
#[derive(Debug, Clone, Copy)]
pub struct Graphs<'a> {
    /// Where they are.
    pub store: &'a GraphStore,
    /// Their positions in the store.
    pub graphs: &'a [usize],
    /// The family of each of [`graphs`](Self::graphs). Unlabelled graphs of a target are one more.
    pub families: &'a [usize],
    /// A row for each of [`graphs`](Self::graphs); the closer two are, the more alike their embeddings
    /// are to be.
    pub targets: &'a Array2<f32>,
}

/// What pretraining leaves behind.
#[derive(Debug)]
pub struct Pretrained {
    /// Tensors of the encoder after the last epoch, as a model file holds them.
    pub tensors: BTreeMap<String, Stored>,
    /// Mean loss in each epoch.
    pub losses: Vec<f64>,
    /// How long it took.
    pub seconds: f64,
}

impl Pretrained {
    /// The encoder, for inference; `config` and `operations` as in [`pretrain`].
    ///
    /// # Errors
    /// When training has diverged, so that the weights are not finite.
    pub fn encoder(
        &self,
        config: &Config,
        operations: &[Operation],
    ) -> Result<Encoder, TrainError> {
        let file = bundle::file(&self.tensors).to_bytes().map_err(LoadError::from)?;
        let weights = Weights::parse(&file).map_err(LoadError::from)?;
        Ok(Encoder::new(config, operations, &weights).map_err(LoadError::from)?)
    }
}

/// Pretrains the encoder of `config`, with an embedding for each of `operations`. Each epoch
/// reports a line of progress. Equal seeds give equal results; the random numbers of libtorch,
/// which a process has one source of, are seeded and used.
///
/// # Panics
/// When there are not as many families and targets as graphs, or batches of no graphs.
pub fn pretrain(
    set: &Graphs,
    config: &Config,
    operations: &[Operation],
    recipe: &Contrastive,
    seed: u64,
    report: &mut dyn FnMut(&str),
) -> Pretrained {
    let &Graphs { store, graphs, families, targets } = set;
    assert_eq!(graphs.len(), families.len(), "graphs and their families");
    assert_eq!(graphs.len(), targets.nrows(), "graphs and their targets");

    tch::manual_seed(seed as i64);
    let mut rng = StdRng::seed_from_u64(seed);
    let variables = nn::VarStore::new(Device::Cpu);
    let learner = Learner::new(&variables.root(), config, operations.len(), recipe);
    let batcher = Batcher::new(store, operations, config);
    // Only fails when the optimiser's name is wrong in libtorch itself.
    let mut optimiser = nn::AdamW { wd: WEIGHT_DECAY, ..Default::default() }
        .build(&variables, recipe.learning_rate)
        .unwrap_or_else(|e| unreachable!("{e}"));

    let started = Instant::now();
    let steps_per_epoch = graphs.len().div_ceil(recipe.batch);
    let steps = steps_per_epoch * recipe.epochs;
    let mut order: Vec<usize> = (0..graphs.len()).collect();
    let mut losses = Vec::new();
    for epoch in 0..recipe.epochs {
        order.shuffle(&mut rng);
        let (mut total, mut least) = (0.0, 0.0);
        for (step, members) in order.chunks(recipe.batch).enumerate() {
            let both: Vec<usize> = [members, members].concat();
            let pick = |of: &[usize]| -> Vec<usize> { both.iter().map(|&m| of[m]).collect() };
            let projected = learner.project(&batcher, &pick(graphs));
            let alike = Targets::new(
                targets.select(Axis(0), &both),
                &pick(families),
                recipe.target_temperature,
                recipe.variant,
            );
            let loss = alike.loss(&projected, recipe.temperature);
            let progress = (epoch * steps_per_epoch + step) as f64 / steps as f64;
            optimiser.set_lr(recipe.learning_rate * one_cycle(progress));
            optimiser.backward_step_clip_norm(&loss, CLIP);
            total += loss.double_value(&[]) * members.len() as f64;
            least += alike.entropy() * members.len() as f64;
        }
        let [loss, least] = [total, least].map(|sum| sum / graphs.len() as f64);
        losses.push(loss);
        let per_epoch = started.elapsed().as_secs_f64() / (epoch + 1) as f64;
        report(&format!(
            "epoch {}/{}: contrastive loss {loss:.4} (at best {least:.4}), {:.0} graphs/s, {:.0} s left",
            epoch + 1,
            recipe.epochs,
            graphs.len() as f64 / per_epoch,
            per_epoch * (recipe.epochs - epoch - 1) as f64,
        ));
    }
    Pretrained { tensors: learner.export(), losses, seconds: started.elapsed().as_secs_f64() }
}

/// An encoder with a projection on top that only pretraining needs.
#[derive(Debug)]
struct Learner {
    trainable: TrainableModel,
    projection: [Linear; 2],
}

impl Learner {
    fn new(path: &nn::Path, config: &Config, operations: usize, recipe: &Contrastive) -> Self {
        let projection = path / "projection";
        let width = config.embedding();
        Self {
            trainable: TrainableModel::new(path, config, operations, true)
                .with_dropout(recipe.dropout),
            projection: [
                Linear::new(&(&projection / 0), width, width, false),
                Linear::new(&(&projection / 1), width, PROJECTION, false),
            ],
        }
    }

    /// Projected embeddings of length one, `[graphs, PROJECTION]`.
    fn project(&self, batcher: &Batcher, graphs: &[usize]) -> Tensor {
        let [hidden, output] = &self.projection;
        let embeddings = self.trainable.embed(&batcher.batch(graphs), true);
        let z = output.forward(&hidden.forward(&embeddings, true).relu(), true);
        let lengths = z.norm_scalaropt_dim(2.0, [1i64].as_slice(), true);
        z / lengths.clamp_min(1e-12)
    }

    /// The encoder's weights.
    fn export(&self) -> BTreeMap<String, Stored> {
        let mut tensors = self.trainable.export();
        tensors.retain(|name, _| name.starts_with("encoder."));
        tensors
    }
}

/// Which rows of a batch are compared, and how alike each pair should be.
#[derive(Debug)]
struct Targets {
    /// Whether a pair is left out, `[rows, rows]`.
    apart: Tensor,
    /// α, `[rows, rows]`: rows sum to 1, 0 for pairs that are left out.
    shares: Tensor,
}

impl Targets {
    /// For rows with these numbers, `[rows, any]`, and families.
    fn new(alike: Array2<f32>, families: &[usize], temperature: f64, variant: Variant) -> Self {
        let rows = families.len() as i64;
        let mut apart = Tensor::eye(rows, (Kind::Float, Device::Cpu)).to_kind(Kind::Bool);
        if variant == Variant::InFamily {
            let families: Vec<i64> = families.iter().map(|&f| f as i64).collect();
            let families = Tensor::from_slice(&families);
            apart = apart.logical_or(&families.unsqueeze(1).ne_tensor(&families.unsqueeze(0)));
        }
        let values = alike.ncols() as i64;
        let alike = Tensor::from_slice(&alike.into_raw_vec_and_offset().0).view([rows, values]);
        // Mode 2 subtracts. Matrix products, the default, lose the small distances in rounding.
        let distances = Tensor::cdist(&alike, &alike, 2.0, 2);
        let shares = (distances / -temperature)
            .masked_fill(&apart, f64::NEG_INFINITY)
            .softmax(1, Kind::Float);
        Self { apart, shares }
    }

    /// What the loss can't fall below: the mean entropy of the targets.
    fn entropy(&self) -> f64 {
        let terms = Tensor::xlogy(&self.shares, &self.shares);
        -terms.sum(Kind::Float).double_value(&[]) / self.shares.size()[0] as f64
    }

    /// The loss of rows of length one, `[rows, length]`.
    fn loss(&self, projected: &Tensor, temperature: f64) -> Tensor {
        let similarities = projected.matmul(&projected.tr()) / temperature;
        let logarithms = similarities
            .masked_fill(&self.apart, f64::NEG_INFINITY)
            .log_softmax(1, Kind::Float)
            .masked_fill(&self.apart, 0.0);
        -(logarithms * &self.shares).sum(Kind::Float) / projected.size()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::super::seeded;
    use super::*;
    use crate::encoder::{GraphFeatures, testing};
    use rand::Rng;

    /// The loss as the module documentation writes it, and the entropy of its targets.
    fn direct(
        z: &Array2<f64>,
        spectra: &Array2<f64>,
        families: &[usize],
        [temperature, target_temperature]: [f64; 2],
        variant: Variant,
    ) -> [f64; 2] {
        let rows = z.nrows();
        let (mut loss, mut entropy) = (0.0, 0.0);
        for i in 0..rows {
            let others: Vec<usize> = (0..rows)
                .filter(|&l| l != i)
                .filter(|&l| variant == Variant::CrossFamily || families[l] == families[i])
                .collect();
            let similarity = |l: usize| (z.row(i).dot(&z.row(l)) / temperature).exp();
            let closeness = |l: usize| {
                let difference = &spectra.row(i) - &spectra.row(l);
                (-difference.dot(&difference).sqrt() / target_temperature).exp()
            };
            let all: f64 = others.iter().map(|&l| similarity(l)).sum();
            let closenesses: f64 = others.iter().map(|&l| closeness(l)).sum();
            for &l in &others {
                let target = closeness(l) / closenesses;
                loss -= target * (similarity(l) / all).ln();
                entropy -= target * target.ln();
            }
        }
        [loss, entropy].map(|sum| sum / rows as f64)
    }

    #[test]
    fn the_loss_is_that_of_the_formula() {
        let mut rng = StdRng::seed_from_u64(0);
        let mut z = Array2::from_shape_fn((12, 5), |_| rng.gen_range(-1.0..1.0f64));
        for mut row in z.rows_mut() {
            let length = row.dot(&row).sqrt();
            row /= length;
        }
        // Two passes over six graphs, of which two have the same connections.
        let spectra = Array2::from_shape_fn((5, 4), |_| rng.gen_range(0.0..0.3f64));
        let spectra = spectra.select(Axis(0), &[0, 1, 1, 2, 3, 4].repeat(2));
        let families = [0, 1, 1, 0, 7, 1].repeat(2);
        let projected = Tensor::from_slice(&z.iter().map(|&x| x as f32).collect::<Vec<_>>());
        let projected = projected.view([12, 5]);
        let mut losses = Vec::new();
        for variant in [Variant::InFamily, Variant::CrossFamily] {
            let targets = Targets::new(spectra.mapv(|x| x as f32), &families, 0.05, variant);
            let loss = targets.loss(&projected, 0.2).double_value(&[]);
            let expected = direct(&z, &spectra, &families, [0.2, 0.05], variant);
            for (ours, expected) in [loss, targets.entropy()].into_iter().zip(expected) {
                assert!((ours - expected).abs() < 1e-5, "{ours}, not {expected}");
            }
            losses.push(loss);
        }
        assert!((losses[0] - losses[1]).abs() > 0.1, "{losses:?}");
    }

    #[test]
    fn pretraining_learns_repeats_and_exports_what_it_trained() {
        let _guard = seeded();
        let store =
            GraphStore::build(60, |i| Ok::<_, ()>(testing::graph(i as u64)), &|_| ()).unwrap();
        let graphs: Vec<usize> = (0..60).collect();
        let families: Vec<usize> = graphs.iter().map(|g| g % 2).collect();
        let targets = spectral::spectra(&store, &graphs, 21);
        let set = Graphs { store: &store, graphs: &graphs, families: &families, targets: &targets };
        let config = Config::encoder();
        let operations = &testing::OPERATIONS[..5];
        let recipe = Contrastive { epochs: 6, batch: 16, ..Contrastive::default() };
        let mut lines = Vec::new();
        let run = |seed, lines: &mut Vec<String>| {
            pretrain(&set, &config, operations, &recipe, seed, &mut |line| lines.push(line.into()))
        };
        let first = run(1, &mut lines);
        assert_eq!(lines.len(), 6, "{lines:?}");
        assert_eq!(first.losses.len(), 6);
        assert!(first.losses[5] < first.losses[0] - 0.2, "{:?}", first.losses);
        let again = run(1, &mut lines);
        assert_eq!(again.losses, first.losses);
        assert_eq!(again.tensors, first.tensors);
        assert_ne!(run(2, &mut lines).tensors, first.tensors);
        let encoder = first.encoder(&config, operations).unwrap();
        let features: Vec<GraphFeatures> = graphs.iter().map(|&g| store.features(g)).collect();
        let embeddings = encoder.embed(&features);
        assert!(embeddings.std_axis(Axis(0), 0.0).iter().any(|s| *s > 0.1));
    }

    /// Dropout is for training alone: weights go into a model file as they answer there.
    #[test]
    fn the_exported_encoder_embeds_like_the_learner() {
        let _guard = seeded();
        let store =
            GraphStore::build(30, |i| Ok::<_, ()>(testing::graph(i as u64)), &|_| ()).unwrap();
        let graphs: Vec<usize> = (0..30).collect();
        let features: Vec<GraphFeatures> = graphs.iter().map(|&g| store.features(g)).collect();
        let operations = &testing::OPERATIONS;
        let recipe = Contrastive { dropout: 0.5, ..Contrastive::default() };
        for config in [Config::encoder(), Config::k_gnn()] {
            tch::manual_seed(3);
            let variables = nn::VarStore::new(Device::Cpu);
            let learner = Learner::new(&variables.root(), &config, operations.len(), &recipe);
            let batcher = Batcher::new(&store, operations, &config);
            let spectra = spectral::spectra(&store, &graphs, 21);
            let targets = Targets::new(spectra, &graphs, 0.05, Variant::CrossFamily);
            let mut optimiser = nn::AdamW::default().build(&variables, 1e-2).unwrap();
            for _ in 0..10 {
                optimiser.backward_step(&targets.loss(&learner.project(&batcher, &graphs), 0.1));
            }
            let pretrained =
                Pretrained { tensors: learner.export(), losses: Vec::new(), seconds: 0.0 };
            let ours = pretrained.encoder(&config, operations).unwrap().embed(&features);
            let _guard = tch::no_grad_guard();
            let batch = batcher.batch(&graphs);
            let ours = Tensor::from_slice(&ours.into_raw_vec_and_offset().0);
            let distance = |trainable: Tensor| {
                (trainable.flatten(0, -1) - &ours).abs().max().double_value(&[])
            };
            let largest = distance(learner.trainable.embed(&batch, false));
            assert!(largest <= 1e-5, "{largest} with {config:?}");
            assert!(distance(learner.trainable.embed(&batch, true)) > 1e-2, "nothing was dropped");
        }
    }
}
