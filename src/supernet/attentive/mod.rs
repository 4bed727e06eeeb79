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
//! Their gradients are summed. The two others are drawn at random ([`Sampler::Uniform`]), or the best or
//! worst of several of one cost, which is drawn as it occurs among random sub-networks: by their loss on
//! the batch at hand, or by an estimator, which is what the paper is about and its code does not do.
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
use crate::execute::Network;
use crate::images::{ImageSet, Normalisation};
use crate::lower::lower;
use crate::onnx::ReadOptions;
use crate::subnetworks::{SubNetwork, SuperNetwork, UnitOrder};
use crate::supernet::Sampler;
use crate::training::{
    self, Checkpoint, Cost, Data, MOMENTUM, Schedule, TrainingError, WEIGHT_DECAY, logits, part,
    step_size, trainable, trained, usual_step_size,
};
use hashbrown::HashMap;
use measure::{Held, calibrated};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sampler::Prior;
use std::io;
use std::path::Path;
use std::time::Instant;
use tch::{Kind, Tensor};

/// How to train.
#[derive(Clone)]
pub struct Options<'a> {
    /// Which sub-networks a step takes beside the largest and the smallest; `None` trains the network
    /// alone, to compare.
    pub sampler: Option<Sampler>,
    /// What tells the best of them: estimates, or else their loss on the batch at hand.
    pub estimator: Option<&'a Estimator>,
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
#[derive(Debug)]
pub enum Event<'a> {
    /// Something to know before it begins.
    Note(String),
    /// So many of all steps are done.
    Step(usize, usize),
    /// An epoch is over; so many seconds are left.
    Epoch(&'a Epoch, f64),
}

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
    let (mut prepared, missing) = trainable(path, read, options.training.seed)?;
    let network =
        training::open(prepared.graph.clone(), &mut prepared.original, options.training.device)?;
    network.check_batch()?;
    let mut notes = Vec::new();
    let channels = training::check(&network, images, &mut notes)?;
    if missing > 0 {
        notes.push(format!("{missing} stored tensors have no elements and start at random"));
    }
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

    let held = Held::of(images, channels);
    let together = if options.sampler.is_some() { 2 + OTHERS } else { 1 };
    let settings = format!(
        "{:?} {} {}",
        options.sampler,
        options.estimator.map_or_else(String::new, |e| blake3::hash(e.weights()).to_string()),
        options.training.digested()
    );
    let run = Run {
        tensors,
        network: &network,
        space: &space,
        order: &order,
        smallest: space.smallest(),
        options,
        rate: options.training.rate.unwrap_or(usual_step_size(&network, missing) / together as f64),
        held: &held,
        checkpoint: Checkpoint {
            path: options.training.checkpoint.clone(),
            digest: training::digest(path, &settings, &images.training)?,
        },
    };
    let history = run.train(observe)?;

    let data = held.data();
    let (measured, everything): (Data, Vec<usize>) = match &images.test {
        Some(test) => (Data { images: test, ..data }, (0..test.len()).collect()),
        None => (data, held.held.clone()),
    };
    held.calibrate(&network)?;
    let smallest = calibrated(&network, &space, &order, &run.smallest, &held)?;
    let of = |network: &Network| -> Result<Trained, TrainingError> {
        let accuracy = measured.accuracy(network, &everything)?;
        Ok(Trained { cost: Cost::of(network.graph())?, accuracy })
    };
    let outcome = Outcome {
        log10_size: space.log10_size(),
        largest: of(&network)?,
        smallest: of(&smallest)?,
        measured_on: if images.test.is_some() { "test" } else { "held out" },
        images: everything.len(),
        normalisation: held.normalisation.clone(),
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
    network: &Network,
    order: &UnitOrder,
) -> Result<Vec<Tensor>, TrainingError> {
    let whole = space.cut_in_order(&SubNetwork::default(), order)?;
    let parts = |id| whole.weights.iter().any(|weight| weight.from == id);
    let parameters = network.parameters().filter(|(id, _)| parts(*id));
    Ok(parameters.map(|(_, tensor)| tensor.shallow_clone()).collect())
}

/// All that training needs and doesn't change, but for the network's weights.
struct Run<'a> {
    network: &'a Network,
    tensors: Vec<Tensor>,
    space: &'a SuperNetwork,
    order: &'a UnitOrder,
    smallest: SubNetwork,
    options: &'a Options<'a>,
    rate: f64,
    held: &'a Held<&'a ImageSet>,
    checkpoint: Checkpoint,
}

/// What training changes besides weights.
struct State<'a> {
    velocity: Vec<Tensor>,
    prior: Prior<'a>,
    estimates: HashMap<SubNetwork, f64>,
    work: f64,
}

impl Run<'_> {
    fn train(&self, observe: &mut dyn FnMut(Event) -> bool) -> Result<Vec<Epoch>, TrainingError> {
        let Schedule { epochs, batch, seed, device, .. } = self.options.training;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut state = State {
            velocity: self.tensors.iter().map(Tensor::f_zeros_like).collect::<Result<_, _>>()?,
            prior: Prior::new(self.space, self.options.sampler, &mut rng)?,
            estimates: HashMap::new(),
            work: 0.0,
        };
        let mut named = Checkpoint::stored(self.network);
        let velocity = state.velocity.iter().enumerate();
        named.extend(velocity.map(|(i, t)| (format!("velocity.{i}"), t.shallow_clone())));
        let mut history: Vec<Epoch> = match self.options.training.resume {
            true => self.checkpoint.load(&named)?,
            false => Vec::new(),
        };
        state.work = history.last().map_or(0.0, |epoch| epoch.work);
        let started = Instant::now();
        let resumed = history.len();
        let data = self.held.data();
        let steps = self.held.training.len().div_ceil(batch).max(1);
        let all = steps * epochs;
        for epoch in resumed..epochs {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(epoch as u64 + 1);
            // For dropout.
            tch::manual_seed((seed as i64).wrapping_mul(1 << 20).wrapping_add(epoch as i64));
            let mut order = self.held.training.clone();
            order.shuffle(&mut rng);
            let mut loss = 0.0;
            for (i, indices) in order.chunks(batch).enumerate() {
                let step = epoch * steps + i;
                let (x, labels) =
                    data.batch(indices, self.options.training.augmentation, &mut rng, device)?;
                let rate = step_size(self.rate, step as f64 / all as f64);
                loss += self.step(rate, &x, &labels, &mut state, &mut rng)?;
                if !loss.is_finite() {
                    return Err(TrainingError::Diverged(step + 1));
                }
                if !observe(Event::Step(step + 1, all)) {
                    return Err(TrainingError::Stopped(epoch));
                }
            }
            self.held.calibrate(self.network)?;
            let mut record = Epoch {
                epoch: epoch + 1,
                loss: loss / steps as f64,
                largest: data.accuracy(self.network, &self.held.held)?,
                smallest: 0.0,
                work: state.work,
            };
            let smallest =
                calibrated(self.network, self.space, self.order, &self.smallest, self.held)?;
            record.smallest = data.accuracy(&smallest, &self.held.held)?;
            let rest = (epochs - epoch - 1) as f64;
            let left = started.elapsed().as_secs_f64() / (epoch + 1 - resumed) as f64 * rest;
            history.push(record.clone());
            self.checkpoint.save(&history, &named)?;
            if !observe(Event::Epoch(&record, left)) && epoch + 1 < epochs {
                return Err(TrainingError::Stopped(epoch + 1));
            }
        }
        Ok(history)
    }

    /// One step; the loss of the largest network before it.
    fn step(
        &self,
        rate: f64,
        x: &Tensor,
        labels: &Tensor,
        state: &mut State,
        rng: &mut ChaCha8Rng,
    ) -> Result<f64, TrainingError> {
        let count = labels.size1()? as usize;
        let output = logits(&self.network.forward(x, true)?, count)?;
        let loss = cross_entropy(&output, labels, SMOOTHING)?;
        let mut sum: Vec<Option<Tensor>> = self.tensors.iter().map(|_| None).collect();
        self.add_gradients(&loss, &mut sum)?;
        state.work += 3.0 * state.macs(&SubNetwork::default(), count)?;
        if let Some(sampler) = self.options.sampler {
            // With these as labels the cross-entropy has the gradient of the divergence.
            let said = output.f_detach()?.f_softmax(-1, Kind::Float)?;
            for number in 0..=OTHERS {
                let sub = match number {
                    OTHERS => self.smallest.clone(),
                    _ => self.attended(sampler, x, labels, state, rng)?,
                };
                let output = logits(&self.part(&sub)?.forward_with_batch_statistics(x)?, count)?;
                self.add_gradients(&cross_entropy(&output, &said, 0.0)?, &mut sum)?;
                state.work += 3.0 * state.macs(&sub, count)?;
            }
        }
        let _guard = tch::no_grad_guard();
        for ((velocity, gradient), tensor) in state.velocity.iter_mut().zip(&sum).zip(&self.tensors)
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
    fn part(&self, sub: &SubNetwork) -> Result<Network, TrainingError> {
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
        &self,
        sampler: Sampler,
        x: &Tensor,
        labels: &Tensor,
        state: &mut State,
        rng: &mut ChaCha8Rng,
    ) -> Result<SubNetwork, TrainingError> {
        let mut candidates = state.prior.draw(sampler, rng)?;
        if candidates.len() > 1 {
            let mut scored = Vec::new();
            for sub in candidates {
                let score = match self.options.estimator {
                    Some(estimator) => self.estimate(estimator, &sub, state)?,
                    None => {
                        let _guard = tch::no_grad_guard();
                        let count = labels.size1()? as usize;
                        state.work += state.macs(&sub, count)?;
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
    fn estimate(
        &self,
        estimator: &Estimator,
        sub: &SubNetwork,
        state: &mut State,
    ) -> Result<f64, TrainingError> {
        if let Some(&known) = state.estimates.get(sub) {
            return Ok(known);
        }
        let graph = lower(&self.space.build(sub)?)?;
        let estimates = estimator.estimate(&[&graph])?;
        let accuracy = estimates.first().map_or(0.0, |estimate| estimate.accuracy);
        state.estimates.insert(sub.clone(), accuracy);
        Ok(accuracy)
    }
}

impl State<'_> {
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
