//! Images beside a network.

use super::{HELD_OUT, TrainingError};
use crate::execute::TorchNetwork;
use crate::images::{Augmentation, ImageSet, Images, Normalisation};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::borrow::Borrow;
use tch::{Device, Kind, TchError, Tensor};

/// Most images that are looked at together when nothing is trained,
const TOGETHER: usize = 250;
/// and most of their pixels, where that leaves more than a few.
const PIXELS: usize = 1 << 20;
const FEW: usize = 8;
/// Images that statistics are computed from.
const CALIBRATION: usize = 2000;

/// Images in parts: those that are trained on, those that are held out, and those for the test.
pub(crate) struct Parts<I> {
    images: I,
    channels: usize,
    pub training: Vec<usize>,
    pub held: Vec<usize>,
    pub normalisation: Normalisation,
}

impl<I: Borrow<ImageSet>> Parts<I> {
    /// For a network that reads so many channels. The same are held out for the same seed.
    pub fn new(images: I, channels: usize, seed: u64) -> Self {
        let all = &images.borrow().training;
        let [training, held] = all.split(HELD_OUT, seed);
        let normalisation = Normalisation::fit(all, &training);
        Self { images, channels, training, held, normalisation }
    }

    fn normalised<'a>(&'a self, images: &'a Images) -> Data<'a> {
        Data { images, channels: self.channels, normalisation: &self.normalisation }
    }

    /// The training images, and those that are held out.
    pub fn data(&self) -> Data<'_> {
        self.normalised(&self.images.borrow().training)
    }

    /// The images for the test.
    pub fn test(&self) -> Option<(Data<'_>, Vec<usize>)> {
        let test = self.images.borrow().test.as_ref()?;
        Some((self.normalised(test), (0..test.len()).collect()))
    }

    /// What the last accuracies are measured on, and its name: the test, or the images held out.
    pub fn measured(&self) -> (Data<'_>, Vec<usize>, &'static str) {
        match self.test() {
            Some((data, all)) => (data, all, "test"),
            None => (self.data(), self.held.clone(), "held out"),
        }
    }

    /// Batches of training images to compute statistics from, as they are.
    pub fn some(&self, device: Device) -> impl Iterator<Item = Result<Tensor, TchError>> {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let some = &self.training[..self.training.len().min(CALIBRATION)];
        let data = self.data();
        some.chunks(data.together())
            .map(move |chunk| Ok(data.batch(chunk, Augmentation::None, &mut rng, device)?.0))
    }

    /// Computes the statistics of batch normalisations anew.
    pub fn calibrate(&self, network: &TorchNetwork) -> Result<(), TrainingError> {
        match network.statistics().next() {
            Some(_) => Ok(network.calibrate(self.some(network.device()))?),
            None => Ok(()),
        }
    }
}

/// Images with what is done to them.
#[derive(Clone, Copy)]
pub(crate) struct Data<'a> {
    pub images: &'a Images,
    /// Channels that the network reads.
    pub channels: usize,
    pub normalisation: &'a Normalisation,
}

impl Data<'_> {
    /// Images that are looked at together when nothing is trained.
    fn together(&self) -> usize {
        let [_, height, width] = self.images.size();
        (PIXELS / (height * width).max(1)).clamp(FEW, TOGETHER)
    }

    /// The images at `indices`, `[image, channel, row, column]`, and their classes.
    pub fn batch(
        &self,
        indices: &[usize],
        augmentation: Augmentation,
        rng: &mut ChaCha8Rng,
        device: Device,
    ) -> Result<(Tensor, Tensor), TchError> {
        let batch =
            self.images.batch(indices, self.channels, self.normalisation, augmentation, rng);
        let shape = batch.shape.map(|d| d as i64);
        let pixels = Tensor::f_from_slice(&batch.pixels)?.f_reshape(shape)?.f_to(device)?;
        Ok((pixels, Tensor::f_from_slice(&batch.labels)?.f_to(device)?))
    }

    /// The outputs for all images at `indices`, with the labels; an error where they are no numbers.
    pub fn outputs(
        &self,
        network: &TorchNetwork,
        indices: &[usize],
    ) -> Result<(Tensor, Tensor), TrainingError> {
        let _guard = tch::no_grad_guard();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let (mut all, mut labels) = (Vec::new(), Vec::new());
        for chunk in indices.chunks(self.together()) {
            let (x, y) = self.batch(chunk, Augmentation::None, &mut rng, network.device())?;
            all.push(logits(&network.forward(&x, false)?, chunk.len())?);
            labels.push(y);
        }
        let all = Tensor::f_cat(&all, 0)?;
        if all.f_isnan()?.f_any()?.f_int64_value(&[])? != 0 {
            return Err(TrainingError::NotFinite);
        }
        Ok((all, Tensor::f_cat(&labels, 0)?))
    }

    /// Share of the images at `indices` that are told right.
    pub fn accuracy(
        &self,
        network: &TorchNetwork,
        indices: &[usize],
    ) -> Result<f64, TrainingError> {
        let (outputs, labels) = self.outputs(network, indices)?;
        share_right(&outputs, &labels)
    }
}

/// An output as a row for each image.
pub(crate) fn logits(output: &Tensor, count: usize) -> Result<Tensor, TchError> {
    output.f_reshape([count as i64, -1])
}

/// Share of the rows whose largest number is at the place in `labels`.
pub(crate) fn share_right(outputs: &Tensor, labels: &Tensor) -> Result<f64, TrainingError> {
    let right = outputs.f_argmax(1, false)?.f_eq_tensor(labels)?;
    let right = right.f_sum(Kind::Int64)?.f_int64_value(&[])?;
    Ok(right as f64 / labels.size1()?.max(1) as f64)
}
