//! Super-networks: one set of weights for all sub-networks of a network.
//!
//! After AttentiveNAS (Wang et al. 2021, arXiv 2011.09011). The sub-networks are those of
//! [`SuperNetwork`] that can share weights: channels, branches, layers, the middle of kernels. Which units
//! a narrower group keeps is fixed from the start ([`UnitOrder`]), so that what is narrower is a part of
//! what is wider. Every step takes four networks (the sandwich rule):
//!
//! - the largest learns the labels, with label smoothing and whatever dropout it has;
//! - two others and the smallest learn what the largest says, without dropout.
//!
//! Their gradients are summed, the largest's with four times the weight of another's: with equal weights it stays far
//! behind what it learns by itself, and all others are taught by it. (The paper's weights are equal; it trains for 360
//! epochs.) The two others are drawn at random ([`Sampler::Uniform`]), or the best or
//! worst of several of one cost: a random one, and others of its cost among a thousand that are drawn at the
//! start. (The paper draws a cost first, then options as they occur at that cost, until a network has it, which
//! is the same but for building a hundred times as many networks.) What tells the best is their loss on the batch at hand, or by an estimator, which is what the paper is about and its code does not do.
//!
//! Batch normalisations use the statistics of the batch; before a sub-network is measured, its own are
//! computed anew from training images ([`Measure`]). What is written is the largest network as an ordinary
//! ONNX file, whose metadata hold the order of the units: who cuts it gets the sub-networks that were
//! trained.

mod measure;
mod sampler;
#[cfg(test)]
mod tests;

pub use measure::Measure;

use crate::estimator::Estimator;
use crate::execute::TorchNetwork;
use crate::images::{ImageSet, Normalisation};
use crate::lower::lower;
use crate::onnx::ReadOptions;
use crate::subnetworks::{SubNetwork, SuperNetwork, UnitOrder};
use crate::supernet::Sampler;
use crate::training::{
    self, Begun, Checkpoint, Cost, MOMENTUM, Parts, Schedule, Trainee, TrainingError, WEIGHT_DECAY,
    logits, part, step_size, trained, usual_step_size,
};
use hashbrown::HashMap;
use measure::{SPLIT, calibrated};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sampler::Prior;
use std::io;
use std::path::Path;
use tch::{Kind, Tensor};

/// How to train.
#[derive(Clone)]
pub struct Options<'a> {
    /// Which sub-networks a step takes beside the largest and the smallest; `None` trains the network
    /// alone, to compare.
    pub sampler: Option<Sampler>,
    /// What tells the best of them: estimates, or else their loss on the batch at hand.
    pub estimator: Option<&'a Estimator>,
    /// Whether convolutions without a batch normalisation get one, which changes nothing of what the network
    /// computes before it is trained.
    pub insert_batch_norm: bool,
    /// How to train.
    pub training: Schedule,
}

/// An epoch that is over.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: usize,
    /// Mean loss of the largest network on its batches.
    pub loss: f64,
    /// Share of held-out training images that the largest tells right,
    pub largest: f64,
    /// and that the smallest does.
    pub smallest: f64,
    /// Multiply-accumulates in training so far, of which a step back takes two for each on the way there.
    pub work: f64,
}

/// What is told while it goes on.
pub type Event<'a> = training::Event<'a, Epoch>;

/// One of the networks that share weights.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Trained {
    /// Its cost.
    pub cost: Cost,
    /// Share of the images that it tells right.
    pub accuracy: f64,
}

/// What came out.
#[derive(Debug, Clone, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Outcome {
    /// Logarithm to base 10 of the number of sub-networks, at most.
    pub log10_size: f64,
    /// The largest network,
    pub largest: Trained,
    /// and the smallest.
    pub smallest: Trained,
    /// What accuracies are measured on: `test`, or `held out`.
    pub measured_on: &'static str,
    /// Number of those images.
    pub images: usize,
    /// How pixels, from 0 to 1, are normalised before the network sees them.
    pub normalisation: Normalisation,
    /// Every epoch.
    pub history: Vec<Epoch>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// Sub-networks of a step beside the largest and the smallest.
const OTHERS: usize = 2;
/// Weight of the largest network's loss, where others are trained with it,
const LARGEST_WEIGHT: f64 = 2.0;
/// and of the loss of each of these.
const OTHER_WEIGHT: f64 = 0.5;
/// Share of a label that goes to all classes alike.
const SMOOTHING: f64 = 0.1;
/// Largest element of a gradient.
const CLIP: f64 = 1.0;

/// Trains the sub-networks of the network at `path` on `images`, and writes the largest with the weights
/// of all to `out`.
///
/// # Errors
/// See [`TrainingError`]; [`TrainingError::Stopped`] when `observe` returns false.
pub fn train(
    path: &Path,
    read: &ReadOptions,
    images: &ImageSet,
    options: &Options,
    out: &mut dyn io::Write,
    observe: &mut dyn FnMut(Event) -> bool,
) -> Result<Outcome, TrainingError> {
    let Schedule { seed, device, .. } = options.training;
    let Begun { mut prepared, network, parts, missing, mut notes } =
        training::begin(path, read, images, SPLIT, seed, device, options.insert_batch_norm)?;
    let space = SuperNetwork::new(prepared.graph.clone()).with_shared_weights();
    if options.sampler.is_some() && space.decisions().iter().all(|&options| options < 2) {
        return Err(TrainingError::Nothing("it has no parts that can go".into()));
    }
    let order = space.order(&mut prepared.original)?;
    let tensors = shared(&space, &network, &order)?;
    let fixed = network.parameters().count() - tensors.len();
    if fixed > 0 {
        notes.push(format!(
            "{fixed} stored tensors stay as they are: what is computed from them is fixed"
        ));
    }
    notes.iter().for_each(|note| _ = observe(Event::Note(note.clone())));

    let settings = format!(
        "{:?} {} {} {}",
        options.sampler,
        options.insert_batch_norm,
        options.estimator.map_or_else(String::new, |e| blake3::hash(e.weights()).to_string()),
        options.training.digested()
    );
    let mut rng = ChaCha8Rng::seed_from_u64(options.training.seed);
    let mut run = Run {
        velocity: tensors.iter().map(Tensor::f_zeros_like).collect::<Result<_, _>>()?,
        tensors,
        network: &network,
        space: &space,
        order: &order,
        smallest: space.smallest(),
        options,
        rate: options.training.rate.unwrap_or(usual_step_size(&network, missing)),
        parts: &parts,
        prior: Prior::new(&space, options.sampler, &mut rng)?,
        estimates: HashMap::new(),
        work: 0.0,
        images: Vec::new(),
    };
    let checkpoint = Checkpoint {
        path: options.training.checkpoint.clone(),
        digest: training::digest(path, &settings, &images.training)?,
    };
    let schedule = &options.training;
    let history =
        training::train(&mut run, schedule, 0..schedule.epochs, Some(&checkpoint), observe)?;

    let (measured, everything, measured_on) = parts.measured();
    parts.calibrate(&network)?;
    let smallest = calibrated(&network, &space, &order, &run.smallest, &parts)?;
    let of = |network: &TorchNetwork| -> Result<Trained, TrainingError> {
        let accuracy = measured.accuracy(network, &everything)?;
        Ok(Trained { cost: Cost::count(network.graph())?, accuracy })
    };
    let outcome = Outcome {
        log10_size: space.log10_size(),
        largest: of(&network)?,
        smallest: of(&smallest)?,
        measured_on,
        images: everything.len(),
        normalisation: parts.normalisation.clone(),
        history,
        notes,
    };
    let trained = trained(&mut prepared, read, &network)?;
    out.write_all(&order.written_to(&trained.original)?)?;
    Ok(outcome)
}

/// The stored tensors that are trained: those of the network, but for ones from which numbers were
/// computed that sub-networks have as they are.
fn shared(
    space: &SuperNetwork,
    network: &TorchNetwork,
    order: &UnitOrder,
) -> Result<Vec<Tensor>, TrainingError> {
    let whole = space.cut_in_order(&SubNetwork::default(), order)?;
    let parts = |id| whole.weights.iter().any(|weight| weight.from == id);
    let parameters = network.parameters().filter(|(id, _)| parts(*id));
    Ok(parameters.map(|(_, tensor)| tensor.shallow_clone()).collect())
}

/// All that training needs, and what it changes.
struct Run<'a> {
    network: &'a TorchNetwork,
    tensors: Vec<Tensor>,
    space: &'a SuperNetwork,
    order: &'a UnitOrder,
    smallest: SubNetwork,
    options: &'a Options<'a>,
    rate: f64,
    parts: &'a Parts<&'a ImageSet>,
    velocity: Vec<Tensor>,
    prior: Prior<'a>,
    estimates: HashMap<SubNetwork, f64>,
    work: f64,
    /// The training images in the order of the epoch.
    images: Vec<usize>,
}

impl Trainee for Run<'_> {
    type Epoch = Epoch;
    /// Multiply-accumulates so far.
    type Record = f64;
    type Error = TrainingError;

    fn steps(&self) -> usize {
        self.parts.training.len().div_ceil(self.options.training.batch).max(1)
    }

    fn begin(&mut self, rng: &mut ChaCha8Rng) {
        self.images.clone_from(&self.parts.training);
        self.images.shuffle(rng);
    }

    fn step(
        &mut self,
        number: usize,
        step: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<f64, TrainingError> {
        let Schedule { epochs, batch, augmentation, device, .. } = self.options.training;
        let indices = self.images.chunks(batch).nth(number).unwrap_or_default();
        let (x, labels) = self.parts.data().batch(indices, augmentation, rng, device)?;
        let rate = step_size(self.rate, 0.0, step as f64 / (self.steps() * epochs) as f64);
        self.learn(rate, &x, &labels, rng)
    }

    fn end(
        &mut self,
        number: usize,
        loss: f64,
        _: &mut ChaCha8Rng,
    ) -> Result<Epoch, TrainingError> {
        let (parts, data) = (self.parts, self.parts.data());
        parts.calibrate(self.network)?;
        let smallest = calibrated(self.network, self.space, self.order, &self.smallest, parts)?;
        Ok(Epoch {
            epoch: number,
            loss,
            largest: data.accuracy(self.network, &parts.held)?,
            smallest: data.accuracy(&smallest, &parts.held)?,
            work: self.work,
        })
    }

    fn record(&self) -> f64 {
        self.work
    }

    fn restore(&mut self, work: f64) -> Result<(), TrainingError> {
        self.work = work;
        Ok(())
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut all = Checkpoint::stored(self.network);
        let velocity = self.velocity.iter().enumerate();
        all.extend(velocity.map(|(i, t)| (format!("velocity.{i}"), t.shallow_clone())));
        all
    }
}

impl Run<'_> {
    /// One step; the loss of the largest network before it.
    fn learn(
        &mut self,
        rate: f64,
        x: &Tensor,
        labels: &Tensor,
        rng: &mut ChaCha8Rng,
    ) -> Result<f64, TrainingError> {
        let count = labels.size1()? as usize;
        let output = logits(&self.network.forward(x, true)?, count)?;
        let loss = cross_entropy(&output, labels, SMOOTHING)?;
        let mut sum: Vec<Option<Tensor>> = self.tensors.iter().map(|_| None).collect();
        let weight = if self.options.sampler.is_some() { LARGEST_WEIGHT } else { 1.0 };
        self.add_gradients(&loss.f_mul_scalar(weight)?, &mut sum)?;
        self.work += 3.0 * self.macs(&SubNetwork::default(), count)?;
        if let Some(sampler) = self.options.sampler {
            // With these as labels the cross-entropy has the gradient of the divergence.
            let said = output.f_detach()?.f_softmax(-1, Kind::Float)?;
            for number in 0..=OTHERS {
                let sub = match number {
                    OTHERS => self.smallest.clone(),
                    _ => self.attended(sampler, x, labels, rng)?,
                };
                let output = logits(&self.part(&sub)?.forward_with_batch_statistics(x)?, count)?;
                let loss = cross_entropy(&output, &said, 0.0)?;
                self.add_gradients(&loss.f_mul_scalar(OTHER_WEIGHT)?, &mut sum)?;
                self.work += 3.0 * self.macs(&sub, count)?;
            }
        }
        let _guard = tch::no_grad_guard();
        for ((velocity, gradient), tensor) in self.velocity.iter_mut().zip(&sum).zip(&self.tensors)
        {
            let Some(gradient) = gradient else { continue };
            let mut direction = gradient.f_clamp(-CLIP, CLIP)?;
            if tensor.dim() > 1 {
                direction = direction.f_add(&tensor.f_mul_scalar(WEIGHT_DECAY)?)?;
            }
            let now = velocity.f_mul_scalar(MOMENTUM)?.f_add(&direction)?;
            velocity.f_copy_(&now)?;
            let moved = tensor.f_sub(&now.f_mul_scalar(rate)?)?;
            tensor.f_detach()?.f_copy_(&moved)?;
        }
        Ok(loss.f_double_value(&[])?)
    }

    /// The sub-network over the shared weights.
    fn part(&self, sub: &SubNetwork) -> Result<TorchNetwork, TrainingError> {
        part(self.network, self.space.cut_in_order(sub, self.order)?)
    }

    /// Adds the gradients of a loss; they are 0 where it does not depend on a tensor.
    fn add_gradients(
        &self,
        loss: &Tensor,
        sum: &mut [Option<Tensor>],
    ) -> Result<(), TrainingError> {
        let gradients = Tensor::f_run_backward(&[loss], &self.tensors, false, false)?;
        for (sum, gradient) in sum.iter_mut().zip(gradients) {
            if gradient.defined() {
                *sum = Some(match sum.take() {
                    Some(before) => before.f_add(&gradient)?,
                    None => gradient,
                });
            }
        }
        Ok(())
    }

    /// The sub-network to train, of those that are drawn.
    fn attended(
        &mut self,
        sampler: Sampler,
        x: &Tensor,
        labels: &Tensor,
        rng: &mut ChaCha8Rng,
    ) -> Result<SubNetwork, TrainingError> {
        let mut candidates = self.prior.draw(sampler, rng)?;
        if candidates.len() > 1 {
            let mut scored = Vec::new();
            for sub in candidates {
                let score = match self.options.estimator {
                    Some(estimator) => self.estimate(estimator, &sub)?,
                    None => {
                        let _guard = tch::no_grad_guard();
                        let count = labels.size1()? as usize;
                        self.work += self.macs(&sub, count)?;
                        let output = self.part(&sub)?.forward_with_batch_statistics(x)?;
                        let loss = cross_entropy(&logits(&output, count)?, labels, 0.0)?;
                        -loss.f_double_value(&[])?
                    }
                };
                scored.push((score, sub));
            }
            scored.sort_by(|a, b| b.0.total_cmp(&a.0));
            candidates = scored.into_iter().map(|(_, sub)| sub).collect();
        }
        let chosen = match sampler {
            Sampler::WorstUp(_) => candidates.pop(),
            _ => candidates.into_iter().next(),
        };
        Ok(chosen.unwrap_or_default())
    }

    /// The accuracy that is expected of a sub-network.
    fn estimate(&mut self, estimator: &Estimator, sub: &SubNetwork) -> Result<f64, TrainingError> {
        if let Some(&known) = self.estimates.get(sub) {
            return Ok(known);
        }
        let graph = lower(&self.space.build(sub)?)?;
        let estimates = estimator.estimate(&[&graph])?;
        let accuracy = estimates.first().map_or(0.0, |estimate| estimate.accuracy);
        self.estimates.insert(sub.clone(), accuracy);
        Ok(accuracy)
    }

    /// Multiply-accumulates of a sub-network for so many images.
    fn macs(&mut self, sub: &SubNetwork, images: usize) -> Result<f64, TrainingError> {
        Ok(self.prior.macs(sub)? as f64 * images as f64)
    }
}

/// Mean cross-entropy between outputs and classes, or probabilities of classes.
fn cross_entropy(
    output: &Tensor,
    labels: &Tensor,
    smoothing: f64,
) -> Result<Tensor, TrainingError> {
    let none = None::<&Tensor>;
    Ok(output.f_cross_entropy_loss(labels, none, tch::Reduction::Mean, -100, smoothing)?)
}
