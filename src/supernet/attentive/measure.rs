//! How good sub-networks are with the weights that they inherit.

use crate::execute::TorchNetwork;
use crate::images::ImageSet;
use crate::onnx::{Original, ReadOptions};
use crate::search;
use crate::subnetworks::{SubNetwork, SuperNetwork, UnitOrder};
use crate::training::{self, Begun, Parts, Prepared, TrainingError, part, trained};
use std::borrow::Borrow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tch::Device;

/// Which images are held out: the same whenever the same images are read, so that what a
/// super-network was not trained on is known to who measures it.
pub(super) const SPLIT: u64 = 0;
/// Sub-networks that are measured at a time.
const AT_A_TIME: usize = 8;

/// A sub-network with statistics of its own.
pub(super) fn calibrated(
    network: &TorchNetwork,
    space: &SuperNetwork,
    order: &UnitOrder,
    sub: &SubNetwork,
    parts: &Parts<impl Borrow<ImageSet>>,
) -> Result<TorchNetwork, TrainingError> {
    let part = part(network, space.cut_in_order(sub, order)?)?;
    parts.calibrate(&part)?;
    Ok(part)
}

/// Measures the accuracy of sub-networks of a trained network, in per cent of the training images that
/// [`train`](super::train) holds out, with the weights that they inherit and statistics of their own.
pub struct Measure {
    /// Tensors don't go to several threads at once.
    inner: Mutex<Inner>,
    space: SuperNetwork,
    count: usize,
    trained_together: bool,
}

struct Inner {
    /// The network's, with the order of units in it.
    file: Vec<u8>,
    read: ReadOptions,
    parts: Parts<ImageSet>,
    network: TorchNetwork,
    order: UnitOrder,
}

impl Measure {
    /// Of the network at `path`.
    ///
    /// # Errors
    /// When it has no weights, can't be run, or doesn't fit the images.
    pub fn open(
        path: &Path,
        read: &ReadOptions,
        images: ImageSet,
        device: Device,
    ) -> Result<Self, TrainingError> {
        let Begun { mut prepared, network, parts, missing, .. } =
            training::begin(path, read, images, SPLIT, 0, device, false)?;
        if missing > 0 {
            return Err(TrainingError::NoWeights);
        }
        let space = SuperNetwork::new(prepared.graph.clone()).with_shared_weights();
        let trained_together = space.written_order(&prepared.original)?.is_some();
        let order = space.order(&mut prepared.original)?;
        // What is cut from the file is what is measured.
        let file = order.written_to(&prepared.original)?;
        let count = parts.held.len();
        let read = read.clone();
        let inner = Mutex::new(Inner { file, read, parts, network, order });
        Ok(Self { inner, space, count, trained_together })
    }

    /// The sub-networks.
    pub fn space(&self) -> &SuperNetwork {
        &self.space
    }

    /// Number of images that accuracies are measured on.
    pub fn images(&self) -> usize {
        self.count
    }

    /// Whether the file says that its sub-networks were trained together.
    pub fn trained_together(&self) -> bool {
        self.trained_together
    }

    /// The accuracy of a sub-network on the images held out, in per cent.
    ///
    /// # Errors
    /// When it can't be built or run.
    pub fn accuracy(&self, sub: &SubNetwork) -> Result<f64, TrainingError> {
        self.with(|Inner { parts, network, order, .. }| {
            let network = calibrated(network, &self.space, order, sub, parts)?;
            Ok(100.0 * parts.data().accuracy(&network, &parts.held)?)
        })
    }

    /// The accuracy of a sub-network on the images for the test, in per cent; `None` without such images.
    ///
    /// # Errors
    /// As [`accuracy`](Self::accuracy).
    pub fn test_accuracy(&self, sub: &SubNetwork) -> Result<Option<f64>, TrainingError> {
        self.with(|Inner { parts, network, order, .. }| {
            let Some((test, all)) = parts.test() else { return Ok(None) };
            let network = calibrated(network, &self.space, order, sub, parts)?;
            Ok(Some(100.0 * test.accuracy(&network, &all)?))
        })
    }

    /// Writes a sub-network as it is measured.
    ///
    /// # Errors
    /// When it can't be built, run or written.
    pub fn write(&self, sub: &SubNetwork) -> Result<Vec<u8>, TrainingError> {
        self.with(|Inner { file, read, parts, network, .. }| {
            let (_, mut original) = Original::from_bytes(file.as_slice(), "network", read)?;
            let mut small = Prepared::new(read, |out| {
                self.space.shrink(sub, &mut original, out, None)?;
                Ok(())
            })?;
            let part = training::open(small.graph.clone(), &mut small.original, network.device())?;
            parts.calibrate(&part)?;
            Ok(trained(&mut small, read, &part)?.original.into_bytes())
        })
    }

    fn with<T>(
        &self,
        measure: impl FnOnce(&Inner) -> Result<T, TrainingError>,
    ) -> Result<T, TrainingError> {
        measure(&self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl search::Evaluator for &Measure {
    fn evaluate(
        &self,
        networks: &[search::CandidateNetwork],
    ) -> Result<Vec<f64>, search::EvaluationError> {
        let accuracy = |network: &search::CandidateNetwork| {
            Ok(self.accuracy(&self.space.parse(&network.architecture)?)?)
        };
        networks.iter().map(accuracy).collect()
    }

    fn batch(&self) -> usize {
        AT_A_TIME
    }
}
