//! The command-line program: one file per command.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 success, 1 a
//! problem the user can solve (a bad argument, an unreadable file), 2 a fault of the program.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod ablate;
mod check;
mod columns;
pub(crate) mod compare;
mod data;
mod embed;
pub(crate) mod error;
mod evaluate;
mod export;
mod finetune;
mod fit;
pub(crate) mod input;
mod labels;
pub(crate) mod latency;
mod left_out;
pub(crate) mod model;
mod output;
mod predict;
pub(crate) mod profile;
mod progress;
mod prune;
mod schema;
pub(crate) mod search;
mod shell;
mod shrink;
pub(crate) mod space;
mod stdout;
mod supernet;
mod table;
mod train;
mod training;

use crate::fault;
use crate::spaces::Space;
use crate::text::quoted;
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use error::Error;
use std::ffi::OsString;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::ExitCode;

/// Estimate how accurate a neural network will be from its architecture alone.
#[derive(Debug, Parser)]
#[command(name = "gennape", version = env!("GENNAPE_VERSION"), propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Predict(predict::Arguments),
    Compare(compare::Arguments),
    Check(check::Arguments),
    Profile(profile::Arguments),
    Embed(embed::Arguments),
    Export(export::Arguments),
    Space(space::Arguments),
    Shrink(shrink::Arguments),
    #[cfg_attr(not(feature = "train"), command(before_help = WITHOUT_TRAINING))]
    Prune(prune::Arguments),
    Supernet(supernet::Arguments),
    Evaluate(evaluate::Arguments),
    Finetune(finetune::Arguments),
    Fit(fit::Arguments),
    Search(search::Arguments),
    Data(data::Arguments),
    #[cfg_attr(not(feature = "train"), command(before_help = WITHOUT_TRAINING))]
    Train(train::Arguments),
    Ablate(ablate::Arguments),
    Schema(schema::Arguments),
    Completions(shell::Completions),
    Man(shell::Man),
}

impl Command {
    fn run(self) -> Result<(), Error> {
        match self {
            Self::Predict(arguments) => predict::run(&arguments),
            Self::Compare(arguments) => compare::run(&arguments),
            Self::Check(arguments) => check::run(&arguments),
            Self::Profile(arguments) => profile::run(&arguments),
            Self::Embed(arguments) => embed::run(&arguments),
            Self::Export(arguments) => export::run(&arguments),
            Self::Space(arguments) => space::run(&arguments),
            Self::Shrink(arguments) => shrink::run(&arguments),
            #[cfg(feature = "train")]
            Self::Prune(arguments) => prune::run(&arguments),
            #[cfg(feature = "train")]
            Self::Supernet(arguments) => supernet::run(&arguments),
            Self::Evaluate(arguments) => evaluate::run(&arguments),
            Self::Finetune(arguments) => finetune::run(&arguments),
            Self::Fit(arguments) => fit::run(&arguments),
            Self::Search(arguments) => search::run(&arguments),
            Self::Data(arguments) => data::run(&arguments),
            #[cfg(feature = "train")]
            Self::Train(arguments) => train::run(&arguments),
            Self::Ablate(arguments) => ablate::run(&arguments),
            Self::Schema(arguments) => schema::run(&arguments),
            Self::Completions(arguments) => shell::completions(&arguments),
            Self::Man(arguments) => shell::man(&arguments),
            #[cfg(not(feature = "train"))]
            Self::Train(_) => Err(without_training("train")),
            #[cfg(not(feature = "train"))]
            Self::Prune(_) => Err(without_training("prune")),
            #[cfg(not(feature = "train"))]
            Self::Supernet(_) => Err(without_training("supernet")),
        }
    }
}

/// What the help of a command that trains begins with.
#[cfg(not(feature = "train"))]
pub(crate) const WITHOUT_TRAINING: &str =
    "Not in this build, which has no libtorch: built with --features train, gennape can";

/// Why a command that trains can't.
#[cfg(not(feature = "train"))]
fn without_training(command: &str) -> Error {
    Error::user("this gennape was built without training").hint(format!(
        "python3 scripts/setup_libtorch.py, then \
         cargo run --release --features train -- {command} …",
    ))
}

/// How a command prints whose answer is about one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns for people.
    Table,
    /// One JSON object; its `schema` number changes when the meaning of a field does.
    Json,
}

/// How a command prints whose answer is a line per network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    /// Aligned columns for people.
    Table,
    /// One JSON object; its `schema` number changes when the meaning of a field does.
    Json,
    /// A header line, then one line per network.
    Csv,
}

/// Runs the program on the process's arguments and says how to exit.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()))
}

/// Runs the program on these arguments, of which the first is its own name, and says how to exit.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version arrive here too.
            error::report_usage(&e, missing_option(&e, &arguments).as_deref());
            return u8::from(e.use_stderr());
        }
    };
    fault::hook(error::report_fault);
    match panic::catch_unwind(AssertUnwindSafe(|| cli.command.run())) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => error.report(),
        Err(_) => 2,
    }
}

/// The option that was left out before a space or a file, where the command has it.
fn missing_option(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return None };
    let option = match Path::new(word) {
        _ if word.parse::<Space>().is_ok() => "space",
        file if file.extension().is_some_and(|end| end == "onnx") => "from",
        _ => return None,
    };
    let mut program = Cli::command();
    let command = program.find_subcommand_mut(arguments.get(1)?)?;
    let known = command.get_arguments().any(|known| known.get_long() == Some(option));
    known.then(|| format!("--{option} {}", quoted(Path::new(word))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    /// The words of a command line, which may be quoted.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for c in line.chars().chain([' ']) {
            match (c, quote) {
                (c, Some(q)) if c == q => quote = None,
                ('\'' | '"', None) => quote = Some(c),
                (' ', None) if word.is_empty() => {}
                (' ', None) => words.push(std::mem::take(&mut word)),
                (c, _) => word.push(c),
            }
        }
        words
    }

    #[test]
    fn commands_in_the_documentation_are_understood() {
        let pages = [
            include_str!("../../README.md"),
            include_str!("../guide/adapt.md"),
            include_str!("../guide/evaluate.md"),
            include_str!("../guide/rank.md"),
            include_str!("../guide/search.md"),
            include_str!("../guide/shrink.md"),
            include_str!("../guide/train.md"),
        ];
        let (mut found, mut wrong) = (0, String::new());
        for page in pages {
            let page = page.replace("\\\n", " ");
            let shown = page.lines().filter_map(|line| line.strip_prefix("$ gennape "));
            let inline = page.split('`').filter_map(|code| code.strip_prefix("gennape "));
            for line in shown.chain(inline) {
                let line = line.replace('\n', " ");
                let words = words(&line);
                // A command's name alone stands for the command.
                if words.len() > 1 && words.iter().all(|word| word != "COMMAND") {
                    let arguments = [&["gennape".to_string()], &words[..]].concat();
                    if let Err(error) = Cli::try_parse_from(arguments) {
                        wrong += &format!("{line}: {error}\n");
                    }
                    found += 1;
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
        assert!(found > 30, "{found}");
    }
}
