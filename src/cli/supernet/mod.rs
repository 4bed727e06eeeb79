//! `gennape supernet`: networks that share one set of weights.

pub(super) mod search;
pub(super) mod train;

#[cfg(feature = "train")]
use super::error::Error;

/// Train one set of weights for many networks.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    #[cfg_attr(not(feature = "train"), command(before_help = super::WITHOUT_TRAINING))]
    Search(search::Arguments),
    #[cfg_attr(not(feature = "train"), command(before_help = super::WITHOUT_TRAINING))]
    Train(train::Arguments),
}

#[cfg(feature = "train")]
pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    match &arguments.command {
        Command::Search(arguments) => search::run(arguments),
        Command::Train(arguments) => train::run(arguments),
    }
}
