//! Pruning while training: a smaller network that works, from any network and labelled images.
//!
//! After OTOv3 and its predecessors (Chen et al. 2023, arXiv 2305.18030): the channels that can only be
//! cut together are a *unit*; what makes a unit's channels (filters, biases, scales and shifts of
//! normalisations) is its variables. With all of them zero, so are the channels, and to cut them changes
//! nothing. The same holds for a [segment](crate::subnetworks::Segment), a branch that is added to or
//! concatenated with others, and all of its weights; as far as variables are concerned it is a unit too.
//! Training goes through three phases:
//!
//! 1. *warm-up*: plain training, in which every unit gets a running score of how much it matters;
//! 2. *projection*: units are chosen to go, those first that matter least for the multiply-accumulates or
//!    parameters that they save, until what is left keeps the budget, each only if input and output stay
//!    connected without it; of a group of channels one at least stays. Half-space projected gradient
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

use crate::execute::TorchNetwork;
use crate::images::{Augmentation, ImageSet, Normalisation};
use crate::model_graph::{ModelGraph, ValueId};
use crate::onnx::ReadOptions;
use crate::subnetworks::{Group, Removal, Segment, SuperNetwork};
use crate::training::{
    self, Begun, Checkpoint, Cost, MOMENTUM, Parts, Prepared, Schedule, Trainee, TrainingError,
    WEIGHT_DECAY, logits, part, share_right, step_size, trained, usual_step_size,
};
use hashbrown::HashSet;
use projection::Units;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::io;
use std::path::Path;
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
    /// Whether convolutions without a batch normalisation get one, which changes nothing of what the network
    /// computes before it is trained.
    pub insert_batch_norm: bool,
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
pub type Event<'a> = training::Event<'a, Epoch>;

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
/// Fewest steps: one in each phase.
pub(crate) const MIN_STEPS: usize = 3;
/// Longest gradient.
const CLIP: f64 = 5.0;
/// Weight of the past in running scores.
const MEMORY: f64 = 0.9;
/// How far variables move when zeros are tried.
const NOISE: f64 = 0.1;
/// Outputs that may differ where zeros and nothing are the same, as a share of the largest.
const SAME: f64 = 1e-4;

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
    let Begun { mut prepared, network, parts, missing, mut notes } =
        begin(path, read, images, options)?;
    let (data, (measured, everything, measured_on)) = (parts.data(), parts.measured());
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
    let whole = Cost::count(&prepared.graph)?;
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
    let Options { what, budget, insert_batch_norm: insert, training: schedule } = options;
    let settings = format!("{what:?} {budget:?} {insert} {}", schedule.digested());
    let mut run = Run::new(Task {
        network: &network,
        space: &space,
        units: &units,
        open: &open_units,
        budget: options.budget,
        schedule,
        rate: schedule.rate.unwrap_or(default),
        parts: &parts,
    })?;
    if run.all() < MIN_STEPS {
        return Err(TrainingError::Steps(run.all()));
    }
    let checkpoint = Checkpoint {
        path: schedule.checkpoint.clone(),
        digest: training::digest(path, &settings, &images.training)?,
    };
    let history =
        training::train(&mut run, schedule, 0..schedule.epochs, Some(&checkpoint), observe)?;
    let kept = run.kept;

    let mut trained = trained(&mut prepared, read, &network)?;
    let trained_space = SuperNetwork::new(trained.graph.clone());
    let mut small_file = Vec::new();
    let shrunk = trained_space.shrink_to(&kept, &mut trained.original, &mut small_file, None)?;
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

    let small_cost = Cost::count(&small_graph)?;
    let removal = space.removal(&kept);
    let kept_units = removal.as_ref().map_or(&kept[..], Removal::units);
    let kept_segments = kept.iter().skip(space.units_in_all()).copied();
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
        measured_on,
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
        history,
        notes,
        whole_graph: prepared.graph,
        small_graph,
        kept,
    })
}

/// Makes the network at `path` ready.
fn begin<'a>(
    path: &Path,
    read: &ReadOptions,
    images: &'a ImageSet,
    options: &Options,
) -> Result<Begun<&'a ImageSet>, TrainingError> {
    let Schedule { seed, device, .. } = options.training;
    training::begin(path, read, images, seed, seed, device, options.insert_batch_norm)
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
    network: &TorchNetwork,
    units: &Units,
    what: What,
    probes: &Tensor,
) -> Result<Closed, TrainingError> {
    let _guard = tch::no_grad_guard();
    let tensors: Vec<Tensor> =
        network.parameters().map(|(_, t)| t.f_detach()).collect::<Result<_, _>>()?;
    let original: Vec<Tensor> =
        tensors.iter().map(Tensor::f_detach_copy).collect::<Result<_, _>>()?;
    // Shifts that start as zeros will not stay so. What was computed from a tensor when the file was read is in
    // the network that is cut as it was.
    let all = vec![true; units.count as usize];
    let shared = space.cut(&all)?.weights;
    let shared: HashSet<ValueId> = shared.iter().map(|weight| weight.from).collect();
    let moved = network.parameters().zip(&tensors).filter(|((id, _), _)| shared.contains(id));
    for (_, tensor) in moved {
        let noise = tensor.f_randn_like()?.f_mul_scalar(NOISE)?;
        tensor.shallow_clone().f_copy_(&tensor.f_add(&noise)?)?;
    }
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
#[derive(Clone, Copy)]
struct Task<'a> {
    network: &'a TorchNetwork,
    space: &'a SuperNetwork,
    units: &'a Units,
    open: &'a [bool],
    budget: Budget,
    schedule: &'a Schedule,
    rate: f64,
    parts: &'a Parts<&'a ImageSet>,
}

/// The task with what training changes.
struct Run<'a> {
    task: Task<'a>,
    tensors: Vec<Tensor>,
    velocity: Vec<Tensor>,
    importance: Tensor,
    /// Units that are to go, and those that have gone.
    chosen: Tensor,
    zero: Tensor,
    kept: Vec<bool>,
    /// The training images in the order of the epoch.
    order: Vec<usize>,
}

impl<'a> Run<'a> {
    fn new(task: Task<'a>) -> Result<Self, TchError> {
        let tensors: Vec<Tensor> =
            task.network.parameters().map(|(_, tensor)| tensor.shallow_clone()).collect();
        let (count, device) = (task.units.count, task.network.device());
        let none = || Tensor::f_zeros([count], (Kind::Bool, device));
        Ok(Self {
            velocity: tensors.iter().map(Tensor::f_zeros_like).collect::<Result<_, _>>()?,
            tensors,
            importance: Tensor::f_zeros([count], (Kind::Float, device))?,
            chosen: none()?,
            zero: none()?,
            kept: vec![true; count as usize],
            order: Vec::new(),
            task,
        })
    }

    /// Steps in all.
    fn all(&self) -> usize {
        self.steps() * self.task.schedule.epochs
    }

    /// First step of projection, and first after it.
    fn milestones(&self) -> [usize; 2] {
        let all = self.all() as f64;
        let first = ((WARM_UP * all) as usize).max(1);
        [first, ((DEADLINE * all) as usize).max(first + 1)]
    }

    /// The step size at a step. It falls when what is to go has gone, so that what stays has all of the cosine to learn in.
    fn rate(&self, step: usize) -> f64 {
        let [_, deadline] = self.milestones().map(|step| step as f64 / self.all() as f64);
        step_size(self.task.rate, deadline, step as f64 / self.all() as f64)
    }

    /// Chooses the units that go.
    fn choose(&mut self) -> Result<(), TrainingError> {
        let scores = crate::execute::list(&self.importance)?;
        let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        let Task { space, open, budget, .. } = self.task;
        let scores = choice::density(space, &scores, open, budget)?;
        let (kept, _) = choice::choose(space, &scores, open, budget)?;
        self.set_kept(kept)
    }

    fn set_kept(&mut self, kept: Vec<bool>) -> Result<(), TrainingError> {
        let chosen: Vec<bool> = kept.iter().map(|kept| !kept).collect();
        self.chosen = Tensor::f_from_slice(&chosen)?.f_to(self.task.network.device())?;
        self.kept = kept;
        Ok(())
    }
}

impl Trainee for Run<'_> {
    type Epoch = Epoch;
    /// Units that stay.
    type Record = Vec<bool>;
    type Error = TrainingError;

    fn steps(&self) -> usize {
        self.task.parts.training.len().div_ceil(self.task.schedule.batch).max(1)
    }

    fn begin(&mut self, rng: &mut ChaCha8Rng) {
        self.order.clone_from(&self.task.parts.training);
        self.order.shuffle(rng);
    }

    fn step(
        &mut self,
        number: usize,
        step: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<f64, TrainingError> {
        let [first, deadline] = self.milestones();
        if step == first {
            self.choose()?;
        }
        let Task { network, units, schedule, parts, .. } = self.task;
        let indices = self.order.chunks(schedule.batch).nth(number).unwrap_or_default();
        let (x, labels) =
            parts.data().batch(indices, schedule.augmentation, rng, network.device())?;
        let output = logits(&network.forward(&x, true)?, indices.len())?;
        let loss = output.f_cross_entropy_loss(
            &labels,
            None::<&Tensor>,
            tch::Reduction::Mean,
            -100,
            0.0,
        )?;
        let gradients = Tensor::f_run_backward(&[&loss], &self.tensors, false, false)?;
        let _guard = tch::no_grad_guard();
        if step < first {
            let now = units.importance(&self.tensors, &gradients)?.f_mul_scalar(1.0 - MEMORY)?;
            self.importance = self.importance.f_mul_scalar(MEMORY)?.f_add(&now)?;
        }
        let mut length = 0.0;
        for gradient in &gradients {
            length += gradient.f_mul(gradient)?.f_sum(Kind::Float)?.f_double_value(&[])?;
        }
        let scale = (CLIP / length.sqrt().max(1e-12)).min(1.0);
        for ((velocity, gradient), tensor) in
            self.velocity.iter_mut().zip(&gradients).zip(&self.tensors)
        {
            let mut direction = gradient.f_mul_scalar(scale)?;
            if tensor.dim() > 1 {
                direction = direction.f_add(&tensor.f_mul_scalar(WEIGHT_DECAY)?)?;
            }
            *velocity = velocity.f_mul_scalar(MOMENTUM)?.f_add(&direction)?;
        }
        let rate = self.rate(step);
        let left = (step..deadline.max(step + 1)).map(|s| self.rate(s)).sum();
        units.step(&self.tensors, &self.velocity, &self.chosen, &mut self.zero, rate, left)?;
        Ok(loss.f_double_value(&[])?)
    }

    fn end(
        &mut self,
        number: usize,
        loss: f64,
        _: &mut ChaCha8Rng,
    ) -> Result<Epoch, TrainingError> {
        let Task { network, parts, .. } = self.task;
        let [first, deadline] = self.milestones();
        let count = |units: &Tensor| -> Result<usize, TchError> {
            Ok(units.f_sum(Kind::Int64)?.f_int64_value(&[])? as usize)
        };
        Ok(Epoch {
            epoch: number,
            phase: match number * self.steps() {
                end if end <= first => Phase::WarmUp,
                end if end < deadline => Phase::Projection,
                _ => Phase::Training,
            },
            loss,
            accuracy: parts.data().accuracy(network, &parts.held)?,
            zero: count(&self.zero)?,
            chosen: count(&self.chosen)?,
        })
    }

    fn record(&self) -> Vec<bool> {
        self.kept.clone()
    }

    fn restore(&mut self, kept: Vec<bool>) -> Result<(), TrainingError> {
        self.set_kept(kept)
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut all = Checkpoint::stored(self.task.network);
        let velocity = self.velocity.iter().enumerate();
        all.extend(velocity.map(|(i, t)| (format!("velocity.{i}"), t.shallow_clone())));
        all.push(("importance".into(), self.importance.shallow_clone()));
        all.push(("chosen".into(), self.chosen.shallow_clone()));
        all.push(("zero".into(), self.zero.shallow_clone()));
        all
    }
}
