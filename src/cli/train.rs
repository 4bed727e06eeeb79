//! `gennape train`: trains a model on a labelled set.

#[cfg(feature = "train")]
mod run;

use std::path::PathBuf;

#[cfg(feature = "train")]
pub(super) use run::run;

/// Train an estimator on labelled sets of architectures.
///
/// Progress goes to standard error, the measures of the finished model to standard output.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to train on.
    #[arg(value_enum)]
    set: TrainingSet,
    /// Folder with the labelled sets [default: $GENNAPE_DATA].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A labelled set to leave out.
    #[arg(long, value_name = "SET", value_parser = super::evaluate::set_parser())]
    without: Option<String>,
    /// Most training networks of each set, to see how many labels it takes.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    training_networks: Option<u64>,
    /// Passes over the training networks [default: as the recipe says].
    #[arg(long)]
    epochs: Option<usize>,
    /// Seed of the split, the initial weights and the order of training.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for featurised graphs, which later runs take from there [default: the user's cache].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Folder to write the model to; its last part names the model.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Replace the model that is in this folder.
    #[arg(long)]
    overwrite: bool,
}

/// What to train on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum TrainingSet {
    /// 50,000 networks of at least 80 % on CIFAR-10.
    Nasbench101,
    /// Every set with CIFAR-10 accuracies after full training.
    Cifar10,
    /// Every set; those with another target only say which of two networks is better.
    All,
}
