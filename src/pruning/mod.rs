//! Pruning while training: a smaller network that works, from any network and labelled images.
//!
//! After OTOv3 and its predecessors (Chen et al. 2023, arXiv 2305.18030): the channels that can only be
//! cut together are a *unit*; what makes a unit's channels (filters, biases, scales and shifts of
//! normalisations) is its variables. With all of them zero, so are the channels, and to cut them changes
//! nothing. Training goes through three phases:
//!
//! 1. *warm-up*: plain training, in which every unit gets a running score of how redundant it seems;
//! 2. *projection*: down the scores, units are chosen to go until what is left keeps the budget; one at
//!    least stays of each group, so that input and output stay connected. Half-space projected gradient
//!    (`projection`) drives their variables to exactly zero while the others train on;
//! 3. *training* of what is left.
//!
//! Then the units are cut out of the file, and the smaller file is compared with the larger one.
//!
//! Groups whose channels are not zero when their variables are, or where zeros and nothing differ (a mean
//! over channels), are not touched: [`SuperNetwork`] knows most of them, and every other group is tried
//! with half of its units zero and half of them cut.

mod choice;
mod groups;
mod projection;
mod report;
#[cfg(test)]
mod tests;

pub use choice::Budget;
pub use report::html;

use crate::execute::Network;
use crate::images::{Augmentation, ImageSet, Normalisation};
use crate::model_graph::{ModelGraph, ValueId};
use crate::onnx::ReadOptions;
use crate::subnetworks::SuperNetwork;
use crate::training::{
    self, Checkpoint, Cost, Data, HELD_OUT, MOMENTUM, Prepared, TrainingError, WEIGHT_DECAY,
    logits, share_right, step_size, trainable, trained, usual_step_size,
};
use hashbrown::HashMap;
use projection::Units;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tch::{Device, Kind, TchError, Tensor};

/// How to prune.
#[derive(Debug, Clone)]
pub struct Options {
    /// What must be left at most.
    pub budget: Budget,
    /// Passes over the training images in all.
    pub epochs: usize,
    /// Images in a batch.
    pub batch: usize,
    /// The largest step size; by default 0.1, or 0.01 for networks that come with weights or have no batch
    /// normalisation.
    pub rate: Option<f64>,
    /// Seed of missing weights, of the split and of the order of images.
    pub seed: u64,
    /// How training images are varied.
    pub augmentation: Augmentation,
    /// Where to compute.
    pub device: Device,
    /// Where the state is kept after every epoch.
    pub checkpoint: PathBuf,
    /// Go on from there.
    pub resume: bool,
}

/// What training is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Scores are taken.
    WarmUp,
    /// Chosen units are driven to zero.
    Projection,
    /// What is left trains on.
    Training,
}

/// An epoch that is over.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: usize,
    /// The phase at its end.
    pub phase: Phase,
    /// Mean loss of its batches.
    pub loss: f64,
    /// Share of held-out training images that are told right.
    pub accuracy: f64,
    /// Units that are zero.
    pub zero: usize,
    /// Units that are to go.
    pub chosen: usize,
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

/// A group of channels, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct GroupReport {
    /// The first tensor that has them.
    pub tensor: String,
    /// Units before
    pub units: usize,
    /// and after.
    pub kept: usize,
    /// Why none could be cut.
    pub closed: Option<String>,
}

/// What came out.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Pruned {
    /// Cost of the whole network,
    pub whole: Cost,
    /// and of the smaller one.
    pub small: Cost,
    /// The budget,
    pub budget: Budget,
    /// and whether it is kept.
    pub met: bool,
    /// What accuracies are measured on: `test`, or `held out`.
    pub measured_on: &'static str,
    /// Number of those images.
    pub images: usize,
    /// Accuracy of the network as it came, if it had weights.
    pub accuracy_before: Option<f64>,
    /// Accuracy of the file that is written.
    pub accuracy: f64,
    /// Largest difference of an output of the smaller network from the larger one's with zeros in place of
    /// what was cut, as a share of the largest output,
    pub difference: f64,
    /// and how many images they tell otherwise.
    pub disagreements: usize,
    /// How pixels, from 0 to 1, are normalised before the network sees them.
    pub normalisation: Normalisation,
    /// Every epoch.
    pub history: Vec<Epoch>,
    /// Every group.
    pub groups: Vec<GroupReport>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// The whole network,
    #[serde(skip)]
    pub whole_graph: ModelGraph,
    /// and the smaller one.
    #[serde(skip)]
    pub small_graph: ModelGraph,
}

/// Shares of all steps: warm-up, and the end of projection.
const WARM_UP: f64 = 0.2;
const DEADLINE: f64 = 0.6;
/// Longest gradient.
const CLIP: f64 = 5.0;
/// Weight of the past in running scores.
const MEMORY: f64 = 0.9;
/// Outputs that may differ where zeros and nothing are the same, as a share of the largest.
const SAME: f64 = 1e-4;
/// Trains the network at `path` on `images`, and writes what is left of it to `out`.
///
/// # Errors
/// See [`TrainingError`]; [`TrainingError::Stopped`] when `observe` returns false.
pub fn prune(
    path: &Path,
    read: &ReadOptions,
    images: &ImageSet,
    options: &Options,
    out: &mut dyn io::Write,
    observe: &mut dyn FnMut(Event) -> bool,
) -> Result<Pruned, TrainingError> {
    let device = options.device;
    let (mut prepared, missing) = trainable(path, read, options.seed)?;
    let network = training::open(prepared.graph.clone(), &mut prepared.original, device)?;
    network.check_batch()?;
    let mut notes = Vec::new();
    let channels = training::check(&network, images, &mut notes)?;
    if missing > 0 {
        notes.push(format!("{missing} stored tensors have no elements and start at random"));
    }
    let [training, held] = images.training.split(HELD_OUT, options.seed);
    let normalisation = Normalisation::of(&images.training, &training);
    let data = Data { images: &images.training, channels, normalisation: &normalisation };
    let (measured, everything): (Data, Vec<usize>) = match &images.test {
        Some(test) => (
            Data { images: test, channels, normalisation: &normalisation },
            (0..test.len()).collect(),
        ),
        None => (
            Data { images: &images.training, channels, normalisation: &normalisation },
            held.clone(),
        ),
    };
    let before = if missing == 0 { Some(measured.accuracy(&network, &everything)?) } else { None };

    let space = SuperNetwork::new(prepared.graph.clone());
    let units = groups::units(&space, &network)?;
    let probes = data.batch(
        &training[..training.len().min(4)],
        Augmentation::None,
        &mut ChaCha8Rng::seed_from_u64(0),
        device,
    )?;
    let closed = closed(&space, &network, &units, &probes.0)?;
    let open_groups: Vec<bool> = closed.iter().map(Option::is_none).collect();
    let whole = Cost::of(&prepared.graph)?;
    let zeros = vec![0.0; units.count as usize];
    let (_, least) = choice::choose(&space, &zeros, &open_groups, options.budget)?;
    if least == whole {
        let reason = closed.iter().flatten().next().cloned();
        let reason = reason.unwrap_or_else(|| "it has no group of channels".into());
        return Err(TrainingError::Nothing(reason));
    }
    if !options.budget.holds(least, whole) {
        notes.push(format!(
            "the budget can't be met: all that may go leaves {} of {} parameters and {} of {} MACs",
            least.parameters, whole.parameters, least.macs, whole.macs
        ));
    }
    notes.iter().for_each(|note| _ = observe(Event::Note(note.clone())));

    let default = usual_step_size(&network, missing);
    let Options { budget, epochs, batch, rate, seed, augmentation, .. } = options;
    let settings = format!("{budget:?} {epochs} {batch} {rate:?} {seed} {augmentation:?}");
    let run = Run {
        network: &network,
        space: &space,
        units: &units,
        open: &open_groups,
        options,
        rate: options.rate.unwrap_or(default),
        training: &training,
        held: &held,
        data: &data,
        checkpoint: Checkpoint {
            path: options.checkpoint.clone(),
            digest: training::digest(path, &settings, &images.training)?,
        },
    };
    let state = run.train(observe)?;

    let mut trained = trained(&mut prepared, read, &network)?;
    let trained_space = SuperNetwork::new(trained.graph.clone());
    let mut small_file = Vec::new();
    let shrunk =
        trained_space.shrink_to(&state.kept, &mut trained.original, &mut small_file, None)?;
    notes.extend(shrunk.notes);
    let mut small = Prepared::new(read, |file| {
        file.extend_from_slice(&small_file);
        Ok(())
    })?;
    let small_graph = small.graph.clone();
    let small_network = training::open(small.graph, &mut small.original, device)?;
    let (large_outputs, labels) = measured.outputs(&network, &everything)?;
    let (small_outputs, _) = measured.outputs(&small_network, &everything)?;
    let largest = large_outputs.f_abs()?.f_max()?.f_double_value(&[])?.max(f64::MIN_POSITIVE);
    let difference = large_outputs.f_sub(&small_outputs)?.f_abs()?.f_max()?.f_double_value(&[])?;
    let alike = share_right(&small_outputs, &large_outputs.f_argmax(1, false)?)?;
    let count = everything.len();
    out.write_all(&small_file)?;

    let small_cost = Cost::of(&small_graph)?;
    let group = |(group, closed): (&crate::subnetworks::Group, Option<String>)| GroupReport {
        tensor: prepared.graph.value(group.tensor).name.to_string(),
        units: group.units,
        kept: state.kept[group.range()].iter().filter(|kept| **kept).count(),
        closed,
    };
    Ok(Pruned {
        whole,
        small: small_cost,
        budget: options.budget,
        met: options.budget.holds(small_cost, whole),
        measured_on: if images.test.is_some() { "test" } else { "held out" },
        images: count,
        accuracy_before: before,
        accuracy: share_right(&small_outputs, &labels)?,
        difference: difference / largest,
        disagreements: ((1.0 - alike) * count as f64).round() as usize,
        groups: space.groups().iter().zip(closed).map(group).collect(),
        normalisation: normalisation.clone(),
        history: state.history,
        notes,
        whole_graph: prepared.graph,
        small_graph,
    })
}

/// Of each group, why its units can't go, if so.
fn closed(
    space: &SuperNetwork,
    network: &Network,
    units: &Units,
    probes: &Tensor,
) -> Result<Vec<Option<String>>, TrainingError> {
    let _guard = tch::no_grad_guard();
    let tensors: Vec<Tensor> =
        network.parameters().map(|(_, t)| t.f_detach()).collect::<Result<_, _>>()?;
    let mut all = Vec::new();
    for group in space.groups() {
        if !group.exact {
            all.push(Some("zeros in its channels change what is computed over them".to_string()));
            continue;
        }
        let mut kept = vec![true; units.count as usize];
        kept[group.range()].iter_mut().skip(1).step_by(2).for_each(|kept| *kept = false);
        let saved: Vec<Tensor> =
            tensors.iter().map(Tensor::f_detach_copy).collect::<Result<_, _>>()?;
        let mask: Vec<bool> = kept.iter().map(|kept| !kept).collect();
        let mask = Tensor::f_from_slice(&mask)?.f_to(network.device())?;
        units.clear(&tensors, &mask)?;
        let zeroed = network.forward(probes, false);
        let cut = cut(space, network, &kept).and_then(|cut| Ok(cut.forward(probes, false)?));
        for (tensor, saved) in tensors.iter().zip(&saved) {
            tensor.shallow_clone().f_copy_(saved)?;
        }
        let (zeroed, cut) = (zeroed?, cut?);
        let largest = zeroed.f_abs()?.f_max()?.f_double_value(&[])?;
        let difference = zeroed.f_sub(&cut)?.f_abs()?.f_max()?.f_double_value(&[])?;
        all.push((difference > SAME * largest || !difference.is_finite()).then(|| {
            "with its variables zero, the network computes something else than without its channels".into()
        }));
    }
    Ok(all)
}

/// The network without the units that are not kept, with its present weights.
fn cut(space: &SuperNetwork, network: &Network, kept: &[bool]) -> Result<Network, TrainingError> {
    let cutout = space.cut(kept)?;
    let mut elements: HashMap<ValueId, Vec<f64>> = HashMap::new();
    for weight in &cutout.weights {
        let Some(tensor) = network.stored(weight.from) else { continue };
        let mut tensor = tensor.f_detach()?;
        for (axis, kept) in weight.kept.iter().enumerate() {
            if let Some(kept) = kept {
                let kept: Vec<i64> = kept.iter().map(|&i| i as i64).collect();
                let kept = Tensor::f_from_slice(&kept)?.f_to(network.device())?;
                tensor = tensor.f_index_select(axis as i64, &kept)?;
            }
        }
        let list = crate::execute::list(&tensor)?.into_iter().map(f64::from).collect();
        elements.insert(weight.tensor, list);
    }
    let stored = |id: ValueId, _: &crate::model_graph::Value| Ok(elements.remove(&id));
    Ok(Network::new(cutout.graph, stored, 0, network.device())?)
}

/// All that training needs and doesn't change, but for the network's weights.
struct Run<'a> {
    network: &'a Network,
    space: &'a SuperNetwork,
    units: &'a Units,
    open: &'a [bool],
    options: &'a Options,
    rate: f64,
    training: &'a [usize],
    held: &'a [usize],
    data: &'a Data<'a>,
    checkpoint: Checkpoint,
}

/// What training changes besides weights.
struct State {
    velocity: Vec<Tensor>,
    redundancy: Tensor,
    /// Units that are to go, and those that have gone.
    chosen: Tensor,
    zero: Tensor,
    kept: Vec<bool>,
    history: Vec<Epoch>,
}

/// What a checkpoint holds besides tensors.
#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    kept: Vec<bool>,
    history: Vec<Epoch>,
}

impl Run<'_> {
    /// Steps of an epoch.
    fn steps(&self) -> usize {
        self.training.len().div_ceil(self.options.batch).max(1)
    }

    /// First step of projection, and first after it.
    fn milestones(&self) -> [usize; 2] {
        let all = (self.steps() * self.options.epochs) as f64;
        let first = ((WARM_UP * all) as usize).max(1);
        [first, ((DEADLINE * all) as usize).max(first + 1)]
    }

    /// The step size at a step.
    fn rate(&self, step: usize) -> f64 {
        step_size(self.rate, step as f64 / (self.steps() * self.options.epochs) as f64)
    }

    /// The tensors of the state, by name.
    fn named(&self, state: &State) -> Vec<(String, Tensor)> {
        let mut all = Checkpoint::stored(self.network);
        let velocity = state.velocity.iter().enumerate();
        all.extend(velocity.map(|(i, t)| (format!("velocity.{i}"), t.shallow_clone())));
        all.push(("redundancy".into(), state.redundancy.shallow_clone()));
        all.push(("zero".into(), state.zero.shallow_clone()));
        all
    }

    fn save(&self, state: &State) -> Result<(), TrainingError> {
        let record = Record { kept: state.kept.clone(), history: state.history.clone() };
        self.checkpoint.save(&record, &self.named(state))
    }

    /// Takes up the state that was written.
    fn resume(&self, state: &mut State) -> Result<(), TrainingError> {
        let Record { kept, history } = self.checkpoint.load(&self.named(state))?;
        if kept.len() != state.kept.len() {
            return Err(self.checkpoint.problem("it has another number of units".into()));
        }
        state.history = history;
        self.set_kept(state, kept)
    }

    fn train(&self, observe: &mut dyn FnMut(Event) -> bool) -> Result<State, TrainingError> {
        let tensors: Vec<Tensor> =
            self.network.parameters().map(|(_, tensor)| tensor.shallow_clone()).collect();
        let device = self.network.device();
        let none = || Tensor::f_zeros([self.units.count], (Kind::Bool, device));
        let mut state = State {
            velocity: tensors.iter().map(Tensor::f_zeros_like).collect::<Result<_, _>>()?,
            redundancy: Tensor::f_zeros([self.units.count], (Kind::Float, device))?,
            chosen: none()?,
            zero: none()?,
            kept: vec![true; self.units.count as usize],
            history: Vec::new(),
        };
        if self.options.resume {
            self.resume(&mut state)?;
        }
        let started = Instant::now();
        let resumed = state.history.len();
        let (steps, [first, deadline]) = (self.steps(), self.milestones());
        let all = steps * self.options.epochs;
        for epoch in resumed..self.options.epochs {
            let mut rng = ChaCha8Rng::seed_from_u64(self.options.seed);
            rng.set_stream(epoch as u64 + 1);
            // For dropout.
            tch::manual_seed(
                (self.options.seed as i64).wrapping_mul(1 << 20).wrapping_add(epoch as i64),
            );
            let mut order = self.training.to_vec();
            order.shuffle(&mut rng);
            let mut loss = 0.0;
            for (i, indices) in order.chunks(self.options.batch).enumerate() {
                let step = epoch * steps + i;
                if step == first {
                    self.choose(&mut state)?;
                }
                loss += self.step(step, indices, &tensors, &mut state, &mut rng)?;
                if !loss.is_finite() {
                    return Err(TrainingError::Diverged(step + 1));
                }
                if !observe(Event::Step(step + 1, all)) {
                    return Err(TrainingError::Stopped(epoch));
                }
            }
            let end = (epoch + 1) * steps;
            let count = |units: &Tensor| -> Result<usize, TchError> {
                Ok(units.f_sum(Kind::Int64)?.f_int64_value(&[])? as usize)
            };
            let record = Epoch {
                epoch: epoch + 1,
                phase: match end {
                    end if end <= first => Phase::WarmUp,
                    end if end < deadline => Phase::Projection,
                    _ => Phase::Training,
                },
                loss: loss / steps as f64,
                accuracy: self.data.accuracy(self.network, self.held)?,
                zero: count(&state.zero)?,
                chosen: count(&state.chosen)?,
            };
            let rest = (self.options.epochs - epoch - 1) as f64;
            let left = started.elapsed().as_secs_f64() / (epoch + 1 - resumed) as f64 * rest;
            state.history.push(record);
            self.save(&state)?;
            let go_on =
                state.history.last().is_none_or(|record| observe(Event::Epoch(record, left)));
            if !go_on && epoch + 1 < self.options.epochs {
                return Err(TrainingError::Stopped(epoch + 1));
            }
        }
        Ok(state)
    }

    /// Chooses the units that go.
    fn choose(&self, state: &mut State) -> Result<(), TrainingError> {
        let scores = crate::execute::list(&state.redundancy)?;
        let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        let (kept, _) = choice::choose(self.space, &scores, self.open, self.options.budget)?;
        self.set_kept(state, kept)
    }

    fn set_kept(&self, state: &mut State, kept: Vec<bool>) -> Result<(), TrainingError> {
        let chosen: Vec<bool> = kept.iter().map(|kept| !kept).collect();
        state.chosen = Tensor::f_from_slice(&chosen)?.f_to(self.network.device())?;
        state.kept = kept;
        Ok(())
    }

    /// One step; the loss before it.
    fn step(
        &self,
        step: usize,
        indices: &[usize],
        tensors: &[Tensor],
        state: &mut State,
        rng: &mut ChaCha8Rng,
    ) -> Result<f64, TrainingError> {
        let augmentation = self.options.augmentation;
        let (x, labels) = self.data.batch(indices, augmentation, rng, self.network.device())?;
        let output = logits(&self.network.forward(&x, true)?, indices.len())?;
        let loss = output.f_cross_entropy_loss(
            &labels,
            None::<&Tensor>,
            tch::Reduction::Mean,
            -100,
            0.0,
        )?;
        let gradients = Tensor::f_run_backward(&[&loss], tensors, false, false)?;
        let _guard = tch::no_grad_guard();
        let [first, deadline] = self.milestones();
        if step < first {
            let now = self.units.redundancy(tensors, &gradients)?.f_mul_scalar(1.0 - MEMORY)?;
            state.redundancy = state.redundancy.f_mul_scalar(MEMORY)?.f_add(&now)?;
        }
        let mut length = 0.0;
        for gradient in &gradients {
            length += gradient.f_mul(gradient)?.f_sum(Kind::Float)?.f_double_value(&[])?;
        }
        let scale = (CLIP / length.sqrt().max(1e-12)).min(1.0);
        for ((velocity, gradient), tensor) in state.velocity.iter_mut().zip(&gradients).zip(tensors)
        {
            let mut direction = gradient.f_mul_scalar(scale)?;
            if tensor.dim() > 1 {
                direction = direction.f_add(&tensor.f_mul_scalar(WEIGHT_DECAY)?)?;
            }
            *velocity = velocity.f_mul_scalar(MOMENTUM)?.f_add(&direction)?;
        }
        let rate = self.rate(step);
        let left = (step..deadline.max(step + 1)).map(|s| self.rate(s)).sum();
        self.units.step(tensors, &state.velocity, &state.chosen, &mut state.zero, rate, left)?;
        Ok(loss.f_double_value(&[])?)
    }
}
