//! `gennape supernet train`: one set of weights for all sub-networks of a network.

#[cfg(feature = "train")]
mod run;

use crate::cli::Format;
use crate::cli::input::ReadArguments;
use crate::cli::model::ModelArguments;
use crate::cli::training::{NormaliseArguments, TrainingArguments};
use crate::supernet::Sampler;
use std::path::PathBuf;

#[cfg(feature = "train")]
pub(in crate::cli) use run::{Answer, run};

/// Train all sub-networks of a network together, after AttentiveNAS.
///
/// Sub-networks lack channels, branches or layers, or have smaller kernels; `gennape space` lists what there is.
/// Each step trains the largest on the labels, and two others and the smallest on what the largest says.
/// What is written is the largest network; `gennape search --from OUTPUT --images DIR` measures its sub-networks
/// and writes the best, without training them again. Networks may come with weights or without.
/// Progress goes to standard error, the outcome to standard output.
///
/// DIR holds IDX files (MNIST, Fashion-MNIST), CIFAR's binary files, or a folder of PNG and JPEG files for each
/// class, also under train and test; an NPZ file will do. Images are scaled to the network's input.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    gennape supernet train resnet20.onnx --images /usr/share/datasets/fashion-mnist --sampler bestup:3 \
    -o super.onnx\n  \
    gennape search --from super.onnx --images /usr/share/datasets/fashion-mnist \
    --objective accuracy:max --objective macs:min -o found")]
pub(crate) struct Arguments {
    /// The ONNX file.
    #[arg(value_name = "FILE")]
    path: PathBuf,

    #[command(flatten)]
    read: ReadArguments,

    /// Which sub-networks are trained, beside the largest and the smallest: the best (bestup:3) or the worst
    /// (worstup:3) of so many of one cost, or any (uniform).
    #[arg(long, default_value = "bestup:3")]
    sampler: Sampler,

    /// What tells the best of them.
    #[arg(long, value_enum, default_value_t = MeasureName::Loss)]
    measure: MeasureName,

    #[command(flatten)]
    model: ModelArguments,

    #[command(flatten)]
    normalise: NormaliseArguments,

    #[command(flatten)]
    training: TrainingArguments,

    /// Seed of missing weights, of the sub-networks that are drawn and of the order of images. The images held
    /// out are always the same.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Where to write the network.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// How to print the outcome.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What tells the best of several sub-networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum MeasureName {
    /// Their loss on the images at hand.
    Loss,
    /// What the model estimates.
    Estimate,
}
