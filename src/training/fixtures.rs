//! What tests of training share.

use super::Schedule;
use crate::images::{Augmentation, ImageSet, Images};
use std::path::{Path, PathBuf};
use tch::Device;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/images");

/// Six epochs that leave a checkpoint in `folder`.
pub fn schedule(folder: &Path) -> Schedule {
    Schedule {
        epochs: 6,
        batch: 20,
        rate: None,
        seed: 1,
        augmentation: Augmentation::None,
        device: Device::Cpu,
        checkpoint: folder.join("checkpoint"),
        resume: false,
    }
}

/// A residual network without weights.
pub fn network() -> PathBuf {
    Path::new(ROOT).join("resnet8.onnx")
}

/// A few images of three classes.
pub fn images() -> ImageSet {
    scaled(None)
}

/// The same of another size.
pub fn scaled(size: Option<[usize; 2]>) -> ImageSet {
    let all = ImageSet::open(&Path::new(ROOT).join("fashion-mnist"), size).unwrap();
    let of = |images: &Images, most: usize| {
        let mut left = [most; 3];
        let wanted = |i: &usize| {
            let Some(left) = left.get_mut(images.labels()[*i] as usize) else { return false };
            let some = *left > 0;
            *left = left.saturating_sub(1);
            some
        };
        images.subset(&(0..images.len()).filter(wanted).collect::<Vec<_>>())
    };
    ImageSet {
        training: of(&all.training, 80),
        test: all.test.map(|test| of(&test, 20)),
        classes: all.classes[..3].to_vec(),
    }
}
