//! `gennape completions` and `gennape man`: what a shell and a manual know of the program.

use super::Cli;
use super::error::{Error, note};
use super::stdout;
use clap::CommandFactory;
use clap_complete::Shell;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// Print a script that completes commands and options in a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    gennape completions bash > ~/.local/share/bash-completion/completions/gennape")]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

pub(super) fn completions(arguments: &Completions) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "gennape", &mut script);
    let mut out = stdout::bytes();
    out.write_all(&script)?;
    Ok(out.flush()?)
}

/// Write manual pages, one for each command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gennape man -o ~/.local/share/man/man1")]
pub(super) struct Man {
    /// Folder to write them to.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

pub(super) fn man(arguments: &Man) -> Result<(), Error> {
    let folder = &arguments.output;
    let about = |e| Error::user(format!("{}: {e}", folder.display()));
    fs::create_dir_all(folder).map_err(about)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(about)?;
    note(&format!("wrote manual pages to {}", folder.display()));
    Ok(())
}
