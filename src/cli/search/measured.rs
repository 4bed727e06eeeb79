//! Accuracies that are measured on images instead of estimated.

use schemars::JsonSchema;
use serde::Serialize;

/// What accuracies were measured on.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MeasuredOn {
    /// Number of the training images that were held out.
    images: usize,
    /// Whether the sub-networks were trained together, without these images.
    trained_together: bool,
}

impl MeasuredOn {
    /// As people read it.
    pub fn remark(&self) -> String {
        let Self { images, trained_together } = self;
        let trained = match trained_together {
            true => "which were not trained on",
            false => {
                "which may have been trained on: the file was not made by gennape supernet train"
            }
        };
        format!(
            "accuracies are measured on {images} held-out training images, {trained}, with the weights \
             that sub-networks inherit and batch normalisations' statistics of their own"
        )
    }
}

#[cfg(feature = "train")]
mod with_images {
    use super::MeasuredOn;
    use crate::cli::error::Error;
    use crate::cli::output::Target;
    use crate::cli::search::folder::{Images, Settings, Source};
    use crate::cli::search::measures;
    use crate::cli::training::run::failure;
    use crate::execute;
    use crate::images::ImageSet;
    use crate::onnx::ReadOptions;
    use crate::search::Problem;
    use crate::subnetworks::{SubNetwork, SuperNetwork};
    use crate::supernet::attentive::Measure;
    use crate::training::image_size;
    use std::io::Write;
    use std::path::PathBuf;

    /// The sub-networks of a file on images.
    pub struct Measured {
        measure: Measure,
        path: PathBuf,
    }

    impl Measured {
        pub fn open(source: &Source, images: &Images, settings: &Settings) -> Result<Self, Error> {
            if !measures::ask_for_accuracy(&settings.objectives, &settings.constraints) {
                let what = "--images is there to measure the accuracy, which is not asked for";
                return Err(Error::user(what).hint("--objective accuracy:max"));
            }
            let Source { path, input_shapes, allow_unknown, .. } = source;
            let (input_shapes, allow_unknown) = (input_shapes.clone(), *allow_unknown);
            let read = ReadOptions { input_shapes, allow_unknown };
            let device = execute::device(&images.device).map_err(Error::user)?;
            let about = |e| failure(e, path);
            let size = image_size(path, &read).map_err(about)?;
            let images = ImageSet::open(&images.path, Some(size))?;
            let measure = Measure::open(path, &read, images, device).map_err(about)?;
            Ok(Self { measure, path: path.clone() })
        }

        pub fn space(&self) -> &SuperNetwork {
            self.measure.space()
        }

        /// The problem with these accuracies in place of estimated ones.
        pub fn add_to<'a>(&'a self, problem: Problem<'a>) -> Problem<'a> {
            problem.observe("accuracy", &self.measure)
        }

        /// Writes a sub-network as it was measured.
        pub fn write(&self, sub: &SubNetwork, mut out: Target) -> Result<(), Error> {
            let file = self.measure.write(sub).map_err(|e| failure(e, &self.path))?;
            out.write_all(&file)?;
            out.finish()
        }

        pub fn on(&self) -> MeasuredOn {
            let trained_together = self.measure.trained_together();
            MeasuredOn { images: self.measure.images(), trained_together }
        }
    }
}

#[cfg(not(feature = "train"))]
mod without_images {
    use super::MeasuredOn;
    use crate::cli::error::Error;
    use crate::cli::output::Target;
    use crate::cli::search::folder::{Images, Settings, Source};
    use crate::cli::without_training;
    use crate::search::Problem;
    use crate::subnetworks::{SubNetwork, SuperNetwork};

    /// There is none in this build.
    pub enum Measured {}

    impl Measured {
        pub fn open(_: &Source, _: &Images, _: &Settings) -> Result<Self, Error> {
            Err(without_training("search"))
        }

        pub fn space(&self) -> &SuperNetwork {
            match *self {}
        }

        pub fn add_to<'a>(&'a self, _: Problem<'a>) -> Problem<'a> {
            match *self {}
        }

        pub fn write(&self, _: &SubNetwork, _: Target) -> Result<(), Error> {
            match *self {}
        }

        pub fn on(&self) -> MeasuredOn {
            match *self {}
        }
    }
}

#[cfg(feature = "train")]
pub(super) use with_images::Measured;
#[cfg(not(feature = "train"))]
pub(super) use without_images::Measured;
