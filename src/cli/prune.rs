//! `gennape prune`: trains a network and cuts it while it trains.

#[cfg(feature = "train")]
mod run;

use super::Format;
use super::input::ReadArguments;
use super::training::{NormaliseArguments, TrainingArguments, number};
use std::path::PathBuf;

#[cfg(feature = "train")]
pub(in crate::cli) use run::{Answer, run};

/// Train a network on images and cut it while it trains.
///
/// The network trains as usual while the channels and branches that seem least needed are driven to zero, as many as
/// the budget asks for; then they are cut, which changes nothing of what the network computes, and the smaller network is
/// written with its weights. Networks may come with weights, which are trained further, or without.
/// Progress goes to standard error, the outcome to standard output.
///
/// DIR holds IDX files (MNIST, Fashion-MNIST), CIFAR's binary files, or a folder of PNG and JPEG files for each
/// class, also under train and test; an NPZ file will do. Images are scaled to the network's input.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    gennape prune resnet20.onnx --images /usr/share/datasets/fashion-mnist --keep-macs 0.5 \
    --what channels -o small.onnx")]
pub(crate) struct Arguments {
    /// The ONNX file.
    #[arg(value_name = "FILE")]
    path: PathBuf,

    #[command(flatten)]
    read: ReadArguments,

    #[command(flatten)]
    budget: BudgetArguments,

    /// What may go.
    #[arg(long, value_enum)]
    what: What,

    #[command(flatten)]
    normalise: NormaliseArguments,

    #[command(flatten)]
    training: TrainingArguments,

    /// Seed of missing weights, of the images held out and of their order.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Where to write the smaller network.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Write the whole network too, with zeros in place of what was cut: the same function.
    #[arg(long, value_name = "FILE")]
    zeros: Option<PathBuf>,

    /// Write a page about the run.
    #[arg(long, value_name = "HTML")]
    report: Option<PathBuf>,

    /// How to print the outcome.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// What must be left at most.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct BudgetArguments {
    /// Share of the multiply-accumulates that may be left.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    keep_macs: Option<f64>,

    /// Share of the parameters that may be left.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    keep_parameters: Option<f64>,
}

/// What may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Channels, and what makes them.
    Channels,
    /// Branches with weights: what is added to or concatenated with others.
    Branches,
    /// Both.
    Both,
}

fn share(text: &str) -> Result<f64, String> {
    number(text)
        .ok()
        .filter(|x| *x < 1.0)
        .ok_or_else(|| "a number between 0 and 1 is expected".into())
}
