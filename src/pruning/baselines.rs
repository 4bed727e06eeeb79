//! What pruning is measured beside: other ways to a network of the same cost from the same images and epochs.

use super::projection::Units;
use super::{Budget, DEADLINE, Options, Pruned, Run, Task, begin, choice, closed, groups};
use crate::execute::TorchNetwork;
use crate::images::{Augmentation, ImageSet};
use crate::onnx::{self, ReadOptions, Weights};
use crate::subnetworks::SuperNetwork;
use crate::training::{
    self, Begun, Cost, Parts, Prepared, Schedule, TrainingError, part_alone, usual_step_size,
};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::path::Path;
use tch::{Kind, Tensor};

/// A network that was come to in another way.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Baseline {
    /// Share of the images told right, those that [`Pruned`] tells of.
    pub accuracy: f64,
    /// What it costs.
    pub cost: Cost,
}

/// Other ways, each with as many epochs in all as pruning had, and from the same start.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Baselines {
    /// The whole network, trained.
    pub whole: Baseline,
    /// Of that, the smallest parts cut, and the statistics of normalisations taken again: by their size, or by that for
    /// what they save, whichever is better.
    pub magnitude: Baseline,
    /// Of that, parts cut at random, and statistics taken again.
    pub random: Baseline,
    /// Such parts cut where pruning has cut all, and what is left trained on along the same step sizes.
    pub tuned: Baseline,
    /// What pruning has left, from new random weights.
    pub scratch: Baseline,
}

/// Measures what can be had otherwise at the cost of `pruned`, which [`prune`](super::prune) made with
/// the same arguments of a file without weights.
///
/// # Errors
/// As for [`prune`](super::prune).
pub fn baselines(
    path: &Path,
    read: &ReadOptions,
    images: &ImageSet,
    options: &Options,
    pruned: &Pruned,
) -> Result<Baselines, TrainingError> {
    let Begun { mut prepared, network, parts, missing, .. } = begin(path, read, images, options)?;
    let device = options.training.device;
    let ways = Ways {
        rate: options.training.rate.unwrap_or(usual_step_size(&network, missing)),
        // The same to the last operation.
        budget: Budget::Macs((pruned.small.macs as f64 + 0.5) / pruned.whole.macs as f64),
        parts: &parts,
        schedule: &options.training,
    };
    let space = SuperNetwork::new(network.graph().clone());
    let units = groups::units(&space, &network, options.what)?;
    let few = &parts.training[..parts.training.len().min(4)];
    let mut rng = ChaCha8Rng::seed_from_u64(options.training.seed);
    let (probes, _) = parts.data().batch(few, Augmentation::None, &mut rng, device)?;
    let open = closed(&space, &network, &units, options.what, &probes)?.open(&space, options.what);
    let cut = |network: &TorchNetwork, scores: &[f64]| {
        let (kept, _) = choice::choose(&space, scores, &open, ways.budget)?;
        part_alone(network, space.cut(&kept)?)
    };
    // For channels size alone is the better score, for branches size for what is saved.
    let smallest = |network: &TorchNetwork, last: &dyn Fn(&TorchNetwork) -> Finished| {
        let tensors: Vec<Tensor> = network.parameters().map(|(_, t)| t.shallow_clone()).collect();
        let sizes = crate::execute::list(&units.size(&tensors)?)?;
        let sizes: Vec<f64> = sizes.into_iter().map(f64::from).collect();
        let dense = choice::density(&space, &sizes, &open, ways.budget)?;
        let [a, b] = [last(&cut(network, &sizes)?)?, last(&cut(network, &dense)?)?];
        Ok::<_, TrainingError>(if b.accuracy > a.accuracy { b } else { a })
    };
    let recalibrated = |small: &TorchNetwork| {
        ways.recalibrate(small)?;
        ways.measure(small)
    };

    ways.train(&network, 0..options.training.epochs)?;
    let whole = ways.measure(&network)?;
    let magnitude = smallest(&network, &recalibrated)?;
    let scores: Vec<f64> = open.iter().map(|_| rng.r#gen()).collect();
    let random = recalibrated(&cut(&network, &scores)?)?;

    let network = training::open(prepared.graph, &mut prepared.original, device)?;
    let at = ((DEADLINE * options.training.epochs as f64).round() as usize)
        .clamp(1, options.training.epochs);
    ways.train(&network, 0..at)?;
    let tuned = smallest(&network, &|small| {
        ways.train(small, at..options.training.epochs)?;
        ways.measure(small)
    })?;

    let bare = SuperNetwork::new(onnx::read(path, read)?);
    let graph = bare.cut(&pruned.kept)?.graph;
    let mut small = Prepared::new(read, |file| {
        Ok(onnx::write(&graph, file, Weights::Random { seed: options.training.seed })?)
    })?;
    let network = training::open(small.graph, &mut small.original, device)?;
    ways.train(&network, 0..options.training.epochs)?;
    let scratch = ways.measure(&network)?;
    Ok(Baselines { whole, magnitude, random, tuned, scratch })
}

type Finished = Result<Baseline, TrainingError>;

struct Ways<'a> {
    parts: &'a Parts<&'a ImageSet>,
    schedule: &'a Schedule,
    rate: f64,
    budget: Budget,
}

impl Ways<'_> {
    /// Trains, and cuts nothing.
    fn train(&self, network: &TorchNetwork, epochs: Range<usize>) -> Result<(), TrainingError> {
        let none = Tensor::f_zeros([0], (Kind::Int64, network.device()))?;
        let space = SuperNetwork::new(network.graph().clone());
        let units = Units { count: 0, groups: none, slices: Vec::new() };
        let mut run = Run::new(Task {
            network,
            space: &space,
            units: &units,
            open: &[],
            budget: self.budget,
            schedule: self.schedule,
            rate: self.rate,
            parts: self.parts,
        })?;
        training::train(&mut run, self.schedule, epochs, None, &mut |_| true)?;
        Ok(())
    }

    /// Lets the statistics of normalisations follow the training images once.
    fn recalibrate(&self, network: &TorchNetwork) -> Result<(), TrainingError> {
        let _guard = tch::no_grad_guard();
        let Schedule { augmentation, batch, seed, device, .. } = *self.schedule;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order = self.parts.training.clone();
        order.shuffle(&mut rng);
        for indices in order.chunks(batch) {
            let (x, _) = self.parts.data().batch(indices, augmentation, &mut rng, device)?;
            let _ = network.forward(&x, true)?;
        }
        Ok(())
    }

    fn measure(&self, network: &TorchNetwork) -> Result<Baseline, TrainingError> {
        let (data, indices, _) = self.parts.measured();
        let accuracy = data.accuracy(network, &indices)?;
        Ok(Baseline { accuracy, cost: Cost::count(network.graph())? })
    }
}
