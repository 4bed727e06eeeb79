//! Pruning while training: a smaller network that works, from any network and labelled images.
//!
//! After OTOv3 and its predecessors (Chen et al. 2023, arXiv 2305.18030): the channels that can only be
//! cut together are a *unit*; what makes a unit's channels (filters, biases, scales and shifts of
//! normalisations) is its variables. With all of them zero, so are the channels, and to cut them changes
//! nothing. The same holds for a [segment](crate::subnetworks::Segment), a branch that is added to or
//! concatenated with others, and all of its weights; as far as variables are concerned it is a unit too.
//! Training goes through three phases:
//!
//! 1. *warm-up*: plain training, in which every unit gets a running score of how redundant it seems;
//! 2. *projection*: down the scores, units are chosen to go until what is left keeps the budget, each only
//!    if input and output stay connected without it; of a group of channels one at least stays.
//!    Half-space projected gradient
//!    (`projection`) drives their variables to exactly zero while the others train on;
//! 3. *training* of what is left.
//!
//! Then the units are cut out of the file, and the smaller file is compared with the larger one.
//!
//! Groups whose channels are not zero when their variables are, or where zeros and nothing differ (a mean
//! over channels), are not touched: [`SuperNetwork`] knows most of them, and every other group is tried
//! with half of its units zero and half of them cut, and every segment zero and cut. Factors of products, which
//! zeros would not leave out, and layers that are skipped are no segments.

mod baselines;
mod choice;
mod groups;
mod projection;
#[cfg(test)]
mod tests;

pub use baselines::{Baseline, Baselines, baselines};
pub use choice::Budget;

use crate::execute::Network;
use crate::images::{Augmentation, ImageSet, Images, Normalisation};
use crate::model_graph::{ModelGraph, ValueId};
use crate::onnx::ReadOptions;
use crate::subnetworks::{Group, Removal, Segment, SuperNetwork};
use crate::training::{
    self, Checkpoint, Cost, Data, HELD_OUT, MOMENTUM, Prepared, Schedule, TrainingError,
    WEIGHT_DECAY, logits, part, share_right, step_size, trainable, trained, usual_step_size,
};
use projection::Units;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;
use tch::{Kind, TchError, Tensor};

/// What may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Channels.
    Channels,
    /// Segments: what is added to or concatenated with others.
    Branches,
    /// Both.
    Both,
}

impl What {
    fn channels(self) -> bool {
        self != Self::Branches
    }

    fn branches(self) -> bool {
        self != Self::Channels
    }
}

/// How to prune.
#[derive(Debug, Clone)]
pub struct Options {
    /// What may go.
    pub what: What,
    /// What must be left at most.
    pub budget: Budget,
    /// How to train.
    pub training: Schedule,
}

/// What training is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: usize,
    /// The phase at its end.
    pub phase: Phase,
    /// Mean loss of its batches.
    pub loss: f64,
    /// Share of held-out training images that are told right.
    pub accuracy: f64,
    /// Units and segments that are zero.
    pub zero: usize,
    /// Those that are to go.
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
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
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

/// A segment, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct BranchReport {
    /// The tensor that it ends in.
    pub tensor: String,
    /// Number of its nodes.
    pub nodes: usize,
    /// Whether it stays.
    pub kept: bool,
    /// Why it could not go.
    pub closed: Option<String>,
}

/// What came out.
#[derive(Debug, Clone, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
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
    /// Every segment.
    pub branches: Vec<BranchReport>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// The whole network,
    #[serde(skip)]
    pub whole_graph: ModelGraph,
    /// and the smaller one.
    #[serde(skip)]
    pub small_graph: ModelGraph,
    /// Whether each unit and segment stays, as for [`SuperNetwork::cut`].
    #[serde(skip)]
    pub kept: Vec<bool>,
}

/// Shares of all steps: warm-up, and the end of projection.
const WARM_UP: f64 = 0.2;
const DEADLINE: f64 = 0.6;
/// Longest gradient.
const CLIP: f64 = 5.0;
/// Weight of the past in running scores.
const MEMORY: f64 = 0.9;
/// How far variables move when zeros are tried.
const NOISE: f64 = 0.1;
/// Outputs that may differ where zeros and nothing are the same, as a share of the largest.
const SAME: f64 = 1e-4;

/// The images, and which of them are for what.
struct Parts<'a> {
    images: &'a ImageSet,
    channels: usize,
    training: Vec<usize>,
    held: Vec<usize>,
    normalisation: Normalisation,
}

impl<'a> Parts<'a> {
    fn new(images: &'a ImageSet, channels: usize, seed: u64) -> Self {
        let [training, held] = images.training.split(HELD_OUT, seed);
        let normalisation = Normalisation::of(&images.training, &training);
        Self { images, channels, training, held, normalisation }
    }

    fn of(&self, images: &'a Images) -> Data<'_> {
        Data { images, channels: self.channels, normalisation: &self.normalisation }
    }

    fn data(&self) -> Data<'_> {
        self.of(&self.images.training)
    }

    /// What accuracies are measured on: the test, or the images held out.
    fn measured(&self) -> (Data<'_>, Vec<usize>) {
        match &self.images.test {
            Some(test) => (self.of(test), (0..test.len()).collect()),
            None => (self.data(), self.held.clone()),
        }
    }
}

/// Trains the network at `path` on `images`, and writes what is left of it to `out`; to `zeros` the whole of it,
/// with zeros in place of what was cut.
///
/// # Errors
/// See [`TrainingError`]; [`TrainingError::Stopped`] when `observe` returns false.
pub fn prune(
    path: &Path,
    read: &ReadOptions,
    images: &ImageSet,
    options: &Options,
    out: &mut dyn io::Write,
    zeros: Option<&mut dyn io::Write>,
    observe: &mut dyn FnMut(Event) -> bool,
) -> Result<Pruned, TrainingError> {
    let device = options.training.device;
    let (mut prepared, missing) = trainable(path, read, options.training.seed)?;
    let network = training::open(prepared.graph.clone(), &mut prepared.original, device)?;
    network.check_batch()?;
    let mut notes = Vec::new();
    let channels = training::check(&network, images, &mut notes)?;
    if missing > 0 {
        notes.push(format!("{missing} stored tensors have no elements and start at random"));
    }
    let parts = Parts::new(images, channels, options.training.seed);
    let (data, (measured, everything)) = (parts.data(), parts.measured());
    let before = if missing == 0 { Some(measured.accuracy(&network, &everything)?) } else { None };

    let space = SuperNetwork::new(prepared.graph.clone());
    let units = groups::units(&space, &network, options.what)?;
    let probes = data.batch(
        &parts.training[..parts.training.len().min(4)],
        Augmentation::None,
        &mut ChaCha8Rng::seed_from_u64(0),
        device,
    )?;
    let closed = closed(&space, &network, &units, options.what, &probes.0)?;
    let open_units = closed.open(&space, options.what);
    let whole = Cost::of(&prepared.graph)?;
    let scores = vec![0.0; units.count as usize];
    let (left, least) = choice::choose(&space, &scores, &open_units, options.budget)?;
    if least == whole {
        let reason = closed.groups.iter().chain(&closed.branches).flatten().next().cloned();
        let nothing = match options.what {
            What::Channels => "it has no group of channels",
            What::Branches => "it has no branches with weights",
            What::Both => "it has neither groups of channels nor branches with weights",
        };
        return Err(TrainingError::Nothing(reason.unwrap_or_else(|| nothing.into())));
    }
    // What can't be written shows before the training.
    space.shrink_to(&left, &mut prepared.original, io::sink(), None)?;
    if !options.budget.holds(least, whole) {
        notes.push(format!(
            "the budget can't be met: all that may go leaves {} of {} parameters and {} of {} MACs",
            least.parameters, whole.parameters, least.macs, whole.macs
        ));
    }
    notes.iter().for_each(|note| _ = observe(Event::Note(note.clone())));

    let default = usual_step_size(&network, missing);
    let Options { what, budget, training } = options;
    let settings = format!("{what:?} {budget:?} {}", training.digested());
    let run = Run {
        network: &network,
        space: &space,
        units: &units,
        open: &open_units,
        budget: options.budget,
        options,
        rate: options.training.rate.unwrap_or(default),
        parts: &parts,
        checkpoint: Some(Checkpoint {
            path: options.training.checkpoint.clone(),
            digest: training::digest(path, &settings, &images.training)?,
        }),
    };
    let state = run.train(0..options.training.epochs, observe)?;

    let mut trained = trained(&mut prepared, read, &network)?;
    let trained_space = SuperNetwork::new(trained.graph.clone());
    let mut small_file = Vec::new();
    let shrunk =
        trained_space.shrink_to(&state.kept, &mut trained.original, &mut small_file, None)?;
    notes.extend(shrunk.notes);
    if let Some(zeros) = zeros {
        trained_space.shrink_to(&[], &mut trained.original, zeros, None)?;
    }
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
    let removal = space.removal(&state.kept);
    let kept_units = removal.as_ref().map_or(&state.kept[..], Removal::units);
    let kept_segments = state.kept.iter().skip(space.units_in_all()).copied();
    let name = |id: ValueId| prepared.graph.value(id).name.to_string();
    let group = |(group, closed): (&Group, Option<String>)| GroupReport {
        tensor: name(group.tensor),
        units: group.units,
        kept: kept_units[group.range()].iter().filter(|kept| **kept).count(),
        closed,
    };
    let branch = |((segment, closed), kept): ((&Segment, Option<String>), bool)| BranchReport {
        tensor: name(segment.tensor),
        nodes: segment.nodes,
        kept,
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
        groups: space.groups().iter().zip(closed.groups).map(group).collect(),
        branches: space
            .segments()
            .iter()
            .zip(closed.branches)
            .zip(kept_segments)
            .map(branch)
            .collect(),
        normalisation: parts.normalisation.clone(),
        history: state.history,
        notes,
        whole_graph: prepared.graph,
        small_graph,
        kept: state.kept,
    })
}

/// Why the units of groups, and segments, can't go, if so.
struct Closed {
    groups: Vec<Option<String>>,
    branches: Vec<Option<String>>,
}

impl Closed {
    /// Whether each unit, and each segment, may go.
    fn open(&self, space: &SuperNetwork, what: What) -> Vec<bool> {
        let groups = space.groups().iter().zip(&self.groups);
        let units = groups
            .flat_map(|(group, closed)| vec![what.channels() && closed.is_none(); group.units]);
        units.chain(self.branches.iter().map(|c| what.branches() && c.is_none())).collect()
    }
}

/// Tries what may go.
fn closed(
    space: &SuperNetwork,
    network: &Network,
    units: &Units,
    what: What,
    probes: &Tensor,
) -> Result<Closed, TrainingError> {
    let _guard = tch::no_grad_guard();
    let tensors: Vec<Tensor> =
        network.parameters().map(|(_, t)| t.f_detach()).collect::<Result<_, _>>()?;
    let original: Vec<Tensor> =
        tensors.iter().map(Tensor::f_detach_copy).collect::<Result<_, _>>()?;
    // Shifts that start as zeros will not stay so.
    for tensor in &tensors {
        let noise = tensor.f_randn_like()?.f_mul_scalar(NOISE)?;
        tensor.shallow_clone().f_copy_(&tensor.f_add(&noise)?)?;
    }
    let all = vec![true; units.count as usize];
    let differs = |kept: &[bool]| -> Result<Option<String>, TrainingError> {
        let saved: Vec<Tensor> =
            tensors.iter().map(Tensor::f_detach_copy).collect::<Result<_, _>>()?;
        let mask: Vec<bool> = kept.iter().map(|kept| !kept).collect();
        let mask = Tensor::f_from_slice(&mask)?.f_to(network.device())?;
        units.clear(&tensors, &mask)?;
        let zeroed = network.forward(probes, false);
        let cut = part(network, space.cut(kept)?).and_then(|cut| Ok(cut.forward(probes, false)?));
        for (tensor, saved) in tensors.iter().zip(&saved) {
            tensor.shallow_clone().f_copy_(saved)?;
        }
        let (zeroed, cut) = (zeroed?, cut?);
        let largest = zeroed.f_abs()?.f_max()?.f_double_value(&[])?;
        let difference = zeroed.f_sub(&cut)?.f_abs()?.f_max()?.f_double_value(&[])?;
        Ok((difference > SAME * largest || !difference.is_finite()).then(|| {
            "with its variables zero, the network computes something else than without it".into()
        }))
    };
    let mut groups = vec![None; space.groups().len()];
    let channels = space.groups().iter().zip(&mut groups).filter(|_| what.channels());
    for (group, closed) in channels {
        if !group.exact {
            *closed = Some("zeros in its channels change what is computed over them".to_string());
            continue;
        }
        let mut kept = all.clone();
        kept[group.range()].iter_mut().skip(1).step_by(2).for_each(|kept| *kept = false);
        *closed = differs(&kept)?;
    }
    let mut branches = vec![None; space.segments().len()];
    let segments = (space.units_in_all()..).zip(&mut branches).filter(|_| what.branches());
    for (number, closed) in segments {
        let mut kept = all.clone();
        kept[number] = false;
        // What others depend on may go together with them.
        if space.removal(&kept).is_some() {
            *closed = differs(&kept)?;
        }
    }
    for (tensor, original) in tensors.iter().zip(&original) {
        tensor.shallow_clone().f_copy_(original)?;
    }
    Ok(Closed { groups, branches })
}

/// All that training needs and doesn't change, but for the network's weights.
struct Run<'a> {
    network: &'a Network,
    space: &'a SuperNetwork,
    units: &'a Units,
    open: &'a [bool],
    budget: Budget,
    options: &'a Options,
    rate: f64,
    parts: &'a Parts<'a>,
    checkpoint: Option<Checkpoint>,
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
        self.parts.training.len().div_ceil(self.options.training.batch).max(1)
    }

    /// First step of projection, and first after it.
    fn milestones(&self) -> [usize; 2] {
        let all = (self.steps() * self.options.training.epochs) as f64;
        let first = ((WARM_UP * all) as usize).max(1);
        [first, ((DEADLINE * all) as usize).max(first + 1)]
    }

    /// The step size at a step.
    fn rate(&self, step: usize) -> f64 {
        step_size(self.rate, step as f64 / (self.steps() * self.options.training.epochs) as f64)
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
        self.checkpoint.as_ref().map_or(Ok(()), |file| file.save(&record, &self.named(state)))
    }

    /// Takes up the state that was written.
    fn resume(&self, state: &mut State) -> Result<(), TrainingError> {
        let Some(file) = &self.checkpoint else { return Ok(()) };
        let Record { kept, history } = file.load(&self.named(state))?;
        if kept.len() != state.kept.len() {
            return Err(file.problem("it has another number of units".into()));
        }
        state.history = history;
        self.set_kept(state, kept)
    }

    /// Trains in these of all epochs.
    fn train(
        &self,
        epochs: Range<usize>,
        observe: &mut dyn FnMut(Event) -> bool,
    ) -> Result<State, TrainingError> {
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
        if self.options.training.resume {
            self.resume(&mut state)?;
        }
        let started = Instant::now();
        let resumed = epochs.start + state.history.len();
        let (steps, [first, deadline]) = (self.steps(), self.milestones());
        let all = steps * self.options.training.epochs;
        for epoch in resumed..epochs.end {
            let mut rng = ChaCha8Rng::seed_from_u64(self.options.training.seed);
            rng.set_stream(epoch as u64 + 1);
            // For dropout.
            tch::manual_seed(
                (self.options.training.seed as i64)
                    .wrapping_mul(1 << 20)
                    .wrapping_add(epoch as i64),
            );
            let mut order = self.parts.training.clone();
            order.shuffle(&mut rng);
            let mut loss = 0.0;
            for (i, indices) in order.chunks(self.options.training.batch).enumerate() {
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
                accuracy: self.parts.data().accuracy(self.network, &self.parts.held)?,
                zero: count(&state.zero)?,
                chosen: count(&state.chosen)?,
            };
            let rest = (self.options.training.epochs - epoch - 1) as f64;
            let left = started.elapsed().as_secs_f64() / (epoch + 1 - resumed) as f64 * rest;
            state.history.push(record);
            self.save(&state)?;
            let go_on =
                state.history.last().is_none_or(|record| observe(Event::Epoch(record, left)));
            if !go_on && epoch + 1 < self.options.training.epochs {
                return Err(TrainingError::Stopped(epoch + 1));
            }
        }
        Ok(state)
    }

    /// Chooses the units that go.
    fn choose(&self, state: &mut State) -> Result<(), TrainingError> {
        let scores = crate::execute::list(&state.redundancy)?;
        let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        let (kept, _) = choice::choose(self.space, &scores, self.open, self.budget)?;
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
        let augmentation = self.options.training.augmentation;
        let (x, labels) =
            self.parts.data().batch(indices, augmentation, rng, self.network.device())?;
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
