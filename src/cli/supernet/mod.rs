//! `gennape supernet`: networks that share one set of weights.

mod search;
mod train;

use super::error::Error;

/// Train one set of weights for many networks.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Search(search::Arguments),
    Train(train::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    match &arguments.command {
        Command::Search(arguments) => search::run(arguments),
        Command::Train(arguments) => train::run(arguments),
    }
}
