//! What all training of networks on images shares: files that can be trained, images beside a network,
//! the size of steps, the state on disk.

mod checkpoint;
mod course;
mod data;
#[cfg(test)]
pub(crate) mod fixtures;
mod prepare;

pub use course::Event;

pub(crate) use checkpoint::Checkpoint;
pub(crate) use course::{Trainee, train};
pub(crate) use data::{Data, Parts, logits, share_right};
pub(crate) use prepare::{Prepared, normalised, trainable, trained};

use crate::estimator::NotFinite;
use crate::execute::{ExecuteError, TorchNetwork};
use crate::images::{Augmentation, ImageSet, Images};
use crate::lower::{LowerError, lower};
use crate::model_graph::{BuildError, ModelGraph, Value, ValueId};
use crate::onnx::{Original, ReadError, ReadOptions, WriteError};
use crate::subnetworks::{Cutout, ShrinkError};
use hashbrown::HashMap;
use std::borrow::Borrow;
use std::io;
use std::path::{Path, PathBuf};
use tch::{Device, TchError, Tensor};

/// How networks are trained on images, whatever is made of them.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Passes over the training images in all.
    pub epochs: usize,
    /// Images in a batch.
    pub batch: usize,
    /// The largest step size; by default 0.1, or 0.01 for networks that come with weights or have no batch
    /// normalisation, divided by the number of networks whose gradients are summed.
    pub rate: Option<f64>,
    /// Seed of missing weights, of what is drawn and of the order of images.
    pub seed: u64,
    /// How training images are varied.
    pub augmentation: Augmentation,
    /// Where to compute.
    pub device: Device,
    /// Where the state is kept after every epoch, and when it is told to stop.
    pub checkpoint: PathBuf,
    /// Go on from there.
    pub resume: bool,
}

impl Schedule {
    /// What a run that goes on must agree in.
    pub(crate) fn digested(&self) -> String {
        let Self { epochs, batch, rate, seed, augmentation, .. } = self;
        format!("{epochs} {batch} {rate:?} {seed} {augmentation:?}")
    }
}

/// Why a network could not be trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The file can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The network can't be run.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// A smaller network can't be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Its cost can't be told.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// It can't be cut.
    #[error(transparent)]
    Shrink(#[from] ShrinkError),
    /// The new file can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file can't be written or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The images and the network don't fit each other.
    #[error("{0}")]
    Images(String),
    /// There is nothing that can be cut.
    #[error("nothing can be cut from this network: {0}")]
    Nothing(String),
    /// There are fewer steps than phases.
    #[error("{0} steps are too few to prune in, which takes {least} at least", least = crate::pruning::MIN_STEPS)]
    Steps(usize),
    /// It has no weights to measure it with.
    #[error("it has no weights")]
    NoWeights,
    /// The estimator fails over a network.
    #[error(transparent)]
    Estimate(#[from] NotFinite),
    /// Training led nowhere.
    #[error("the loss is no number after {0} steps")]
    Diverged(usize),
    /// Training led nowhere.
    #[error("the network's weights, or what it computes, are no finite numbers")]
    NotFinite,
    /// The checkpoint does not fit.
    #[error("{}: {problem}", path.display())]
    Checkpoint {
        /// The file,
        path: PathBuf,
        /// and why.
        problem: String,
    },
    /// It was told to stop. What was trained so far is in the checkpoint.
    #[error("stopped after step {0}")]
    Stopped(usize),
}

impl From<TchError> for TrainingError {
    fn from(error: TchError) -> Self {
        Self::Execute(error.into())
    }
}

/// Parameters and multiply-accumulates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Cost {
    /// Trainable parameters.
    pub parameters: u64,
    /// Multiply-accumulates for one input.
    pub macs: u64,
}

impl Cost {
    /// That of a network.
    ///
    /// # Errors
    /// When the network can't be lowered.
    pub fn count(graph: &ModelGraph) -> Result<Self, TrainingError> {
        let graph = lower(graph)?;
        Ok(Self { parameters: graph.parameters(), macs: graph.macs() })
    }
}

/// Share of training images that are held out.
pub(crate) const HELD_OUT: f64 = 0.1;
/// Weight of the past in the direction of a step.
pub(crate) const MOMENTUM: f64 = 0.9;
/// On all that is no vector.
pub(crate) const WEIGHT_DECAY: f64 = 5e-4;
/// Share of the steps in which the step size rises.
const RISE: f64 = 0.05;

/// The step size when `share` of all steps are done: it rises to `largest`, stays there to a share of `flat`, then
/// falls along a cosine.
pub(crate) fn step_size(largest: f64, flat: f64, share: f64) -> f64 {
    let fallen = ((share - flat) / (1.0 - flat)).max(0.0);
    largest * (share / RISE).clamp(0.05, 1.0) * 0.5 * (1.0 + (std::f64::consts::PI * fallen).cos())
}

/// The largest step size of a network, of which so many stored tensors start at random.
pub(crate) fn usual_step_size(network: &TorchNetwork, missing: usize) -> f64 {
    let normalised = network.statistics().next().is_some();
    if missing > 0 && normalised { 0.1 } else { 0.01 }
}

/// A network that is ready to be trained on images.
pub(crate) struct Begun<I> {
    pub prepared: Prepared,
    pub network: TorchNetwork,
    pub parts: Parts<I>,
    /// Stored tensors that had no elements, and start at random.
    pub missing: usize,
    /// What is to be known.
    pub notes: Vec<String>,
}

/// Makes the network at `path` ready to be trained on `images`, of which those are held out that `split` decides;
/// with batch normalisations behind all convolutions, if `insert` says so. Missing weights start at random.
pub(crate) fn begin<I: Borrow<ImageSet>>(
    path: &Path,
    read: &ReadOptions,
    images: I,
    split: u64,
    seed: u64,
    device: Device,
    insert: bool,
) -> Result<Begun<I>, TrainingError> {
    let (mut prepared, missing) = trainable(path, read, seed)?;
    let mut network = open(prepared.graph.clone(), &mut prepared.original, device)?;
    network.check_batch()?;
    let mut notes = Vec::new();
    let channels = check(&network, images.borrow(), &mut notes)?;
    if missing > 0 {
        notes.push(format!("{missing} stored tensors have no elements and start at random"));
    }
    let parts = Parts::new(images, channels, split);
    if parts.held.is_empty() {
        let few = "no class has two images, so that none can be held out";
        return Err(TrainingError::Images(few.into()));
    }
    if insert {
        let (with, count) = normalised(&mut prepared, read, &network, &parts)?;
        notes.push(format!("{count} convolutions get a batch normalisation"));
        prepared = with;
        network = open(prepared.graph.clone(), &mut prepared.original, device)?;
    }
    Ok(Begun { prepared, network, parts, missing, notes })
}

/// The network in a file with its weights.
pub(crate) fn open(
    graph: ModelGraph,
    original: &mut Original,
    device: Device,
) -> Result<TorchNetwork, TrainingError> {
    let stored = |id: ValueId, value: &Value| original.numbers(id, value.dtype, value.elements());
    Ok(TorchNetwork::new(graph, stored, 0, device)?)
}

/// What `cutout` leaves of `network`: its stored tensors are parts of the network's, by which what it
/// computes can be differentiated. Its statistics are its own.
pub(crate) fn part(network: &TorchNetwork, cutout: Cutout) -> Result<TorchNetwork, TrainingError> {
    of_parts(network, cutout, |part, trained| if trained { Ok(part) } else { part.f_detach_copy() })
}

/// The same with weights of its own.
pub(crate) fn part_alone(
    network: &TorchNetwork,
    cutout: Cutout,
) -> Result<TorchNetwork, TrainingError> {
    of_parts(network, cutout, |part, _| part.f_detach_copy())
}

/// A network of parts of another's stored tensors; `take` also hears which are trained.
fn of_parts(
    network: &TorchNetwork,
    cutout: Cutout,
    take: impl Fn(Tensor, bool) -> Result<Tensor, TchError>,
) -> Result<TorchNetwork, TrainingError> {
    let mut given = HashMap::new();
    for weight in &cutout.weights {
        let Some(stored) = network.stored(weight.from) else { continue };
        let mut tensor = stored.shallow_clone();
        for (axis, kept) in weight.kept.iter().enumerate() {
            if let Some(kept) = kept {
                let kept: Vec<i64> = kept.iter().map(|&i| i as i64).collect();
                let kept = Tensor::f_from_slice(&kept)?.f_to(network.device())?;
                tensor = tensor.f_index_select(axis as i64, &kept)?;
            }
        }
        given.insert(weight.tensor, take(tensor, stored.requires_grad())?);
    }
    let stored = |id: ValueId, _: &Value| Ok(given.remove(&id));
    Ok(TorchNetwork::with_tensors(cutout.graph, stored, 0, network.device())?)
}

/// Height and width of the images that the network at `path` takes.
///
/// # Errors
/// When it can't be read, or takes no images.
pub fn image_size(path: &Path, read: &ReadOptions) -> Result<[usize; 2], TrainingError> {
    let graph = crate::onnx::read(path, read)?;
    let shape = graph.inputs().first().map(|&id| graph.value(id).shape.clone()).unwrap_or_default();
    match *shape.as_slice() {
        [_, _, height, width] => Ok([height, width]),
        _ => Err(TrainingError::Images(format!(
            "its input has {} axes; images have 4: batch, channels, height, width",
            shape.len()
        ))),
    }
}

/// Whether the images fit the network; the channels that it reads.
pub(crate) fn check(
    network: &TorchNetwork,
    images: &ImageSet,
    notes: &mut Vec<String>,
) -> Result<usize, TrainingError> {
    let graph = network.graph();
    let shape =
        |ids: &[ValueId]| ids.first().map(|&id| graph.value(id).shape.clone()).unwrap_or_default();
    let (input, output) = (shape(graph.inputs()), shape(graph.outputs()));
    let &[batch, channels, height, width] = input.as_slice() else {
        return Err(TrainingError::Images("its input is no batch of images".into()));
    };
    let [own, h, w] = images.training.size();
    if (own != 1 && own != channels) || [h, w] != [height, width] {
        return Err(TrainingError::Images(format!(
            "the network takes images of {channels}x{height}x{width}, and these are {own}x{h}x{w}"
        )));
    }
    let outputs = output.iter().product::<usize>() / batch.max(1);
    let classes = images.classes.len();
    if outputs < classes {
        return Err(TrainingError::Images(format!(
            "the network tells {outputs} classes apart, and the images have {classes}"
        )));
    }
    if outputs > classes {
        notes.push(format!(
            "{} of the network's {outputs} outputs stand for no class",
            outputs - classes
        ));
    }
    Ok(channels)
}

/// What a checkpoint must agree in: the file, the images, and `settings`.
pub(crate) fn digest(
    path: &Path,
    settings: &str,
    images: &Images,
) -> Result<String, TrainingError> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    hasher.update(settings.as_bytes());
    hasher.update(format!("{:?} {}", images.size(), images.len()).as_bytes());
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::step_size;

    #[test]
    fn step_sizes_rise_stay_and_fall_to_zero() {
        for flat in [0.0, 0.6] {
            let sizes: Vec<f64> =
                (0..=100).map(|i| step_size(0.1, flat, f64::from(i) / 100.0)).collect();
            let top = (100.0 * flat) as usize;
            assert!(sizes[..5].is_sorted() && sizes[0] > 0.0);
            assert!(sizes[5..=top.max(5)].iter().all(|size| (size - 0.1).abs() < 1e-3), "{flat}");
            assert!(sizes[top.max(5)..].windows(2).all(|pair| pair[1] < pair[0]), "{flat}");
            assert!(sizes[100].abs() < 1e-12);
        }
    }
}
