//! Images beside a network.

use super::TrainingError;
use crate::execute::Network;
use crate::images::{Augmentation, Images, Normalisation};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, TchError, Tensor};

/// Images that are looked at together when nothing is trained.
const TOGETHER: usize = 250;

/// Images with what is done to them.
#[derive(Clone, Copy)]
pub(crate) struct Data<'a> {
    pub images: &'a Images,
    /// Channels that the network reads.
    pub channels: usize,
    pub normalisation: &'a Normalisation,
}

impl Data<'_> {
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

    /// The outputs for all images at `indices`, with the labels.
    pub fn outputs(
        &self,
        network: &Network,
        indices: &[usize],
    ) -> Result<(Tensor, Tensor), TrainingError> {
        let _guard = tch::no_grad_guard();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let (mut all, mut labels) = (Vec::new(), Vec::new());
        for chunk in indices.chunks(TOGETHER) {
            let (x, y) = self.batch(chunk, Augmentation::None, &mut rng, network.device())?;
            all.push(logits(&network.forward(&x, false)?, chunk.len())?);
            labels.push(y);
        }
        Ok((Tensor::f_cat(&all, 0)?, Tensor::f_cat(&labels, 0)?))
    }

    /// Share of the images at `indices` that are told right.
    pub fn accuracy(&self, network: &Network, indices: &[usize]) -> Result<f64, TrainingError> {
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
