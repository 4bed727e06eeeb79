//! Trains the network and writes what is left of it.

use super::{Arguments, What};
use crate::cli::Format;
use crate::cli::error::{Error, note, report};
use crate::cli::output::Target;
use crate::cli::stdout::{Text, print_json};
use crate::cli::table::{Table, si};
use crate::cli::training::run::{Begun, begin, failure, watched};
use crate::pruning::{self, Budget, Epoch, Options, Pruned};
use crate::training::TrainingError;
use schemars::JsonSchema;
use serde::Serialize;
use std::io::Write;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let Arguments { path, output, .. } = arguments;
    let read = arguments.read.options();
    let training = &arguments.training;
    let about = |e: TrainingError| failure(e, path);
    let begun = begin(path, &read, training, arguments.seed, output)?;
    let Begun { images, mut inputs, schedule } = begun;
    let checkpoint = schedule.checkpoint.clone();
    let mut out = Target::new(output, &inputs)?;
    inputs.push(output.clone());
    let mut zeros = match &arguments.zeros {
        Some(path) => Some(Target::new(path, &inputs)?),
        None => None,
    };
    inputs.extend(arguments.zeros.clone());
    let mut page = match &arguments.report {
        Some(path) => Some(Target::new(path, &inputs)?),
        None => None,
    };
    let budget = match (arguments.budget.keep_macs, arguments.budget.keep_parameters) {
        (Some(share), _) => Budget::Macs(share),
        (None, share) => Budget::Parameters(share.unwrap_or(1.0)),
    };
    let options = Options {
        what: match arguments.what {
            What::Channels => pruning::What::Channels,
            What::Branches => pruning::What::Branches,
            What::Both => pruning::What::Both,
        },
        budget,
        insert_batch_norm: arguments.normalise.insert_batch_norm,
        training: schedule,
    };
    let tell = |epoch: &Epoch| {
        format!(
            "epoch {}/{}: loss {:.4}, {:.2} % of held-out images right, {} of {} chosen parts zero",
            epoch.epoch,
            training.epochs,
            epoch.loss,
            100.0 * epoch.accuracy,
            epoch.zero,
            epoch.chosen
        )
    };
    let whole = zeros.as_mut().map(|file| file as &mut dyn Write);
    let pruned = watched(training.epochs, tell, |observe| {
        pruning::prune(path, &read, &images, &options, &mut out, whole, observe)
    })?;
    let pruned = pruned.map_err(about)?;
    out.finish()?;
    zeros.map_or(Ok(()), Target::finish)?;
    if let Some(page) = &mut page {
        let title = format!("Pruning of {}", path.display());
        page.write_all(crate::draw::pruning(&title, &pruned).as_bytes())?;
    }
    page.map_or(Ok(()), Target::finish)?;
    // It is of no use any more.
    let _ = std::fs::remove_file(&checkpoint);
    report(&format!("wrote {}", output.display()));
    print(arguments.format, &pruned)
}

#[derive(Serialize, JsonSchema)]
pub(in crate::cli) struct Answer<'a> {
    schema: u32,
    #[serde(flatten)]
    pruned: &'a Pruned,
}

fn print(format: Format, pruned: &Pruned) -> Result<(), Error> {
    if format == Format::Json {
        return print_json(&Answer { schema: 1, pruned });
    }
    let Pruned { whole, small, accuracy_before, accuracy, .. } = pruned;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let on = format!("right ({}, {} images)", pruned.measured_on, pruned.images);
    let mut table = Table::new(&["network", "parameters", "MACs", &on]);
    let before = accuracy_before.map_or_else(|| "no weights".into(), percent);
    table.row(["before".into(), si(whole.parameters), si(whole.macs), before]);
    table.row(["after".into(), si(small.parameters), si(small.macs), percent(*accuracy)]);
    let mut out = Text::stdout();
    table.print(&mut out)?;
    out.flush()?;
    note(&pruned.normalisation.describe());
    if !pruned.met {
        note("the budget is not kept");
    }
    if pruned.disagreements > 0 {
        note(&format!(
            "the smaller network tells {} of {} images otherwise than the larger one with zeros",
            pruned.disagreements, pruned.images
        ));
    }
    Ok(())
}
