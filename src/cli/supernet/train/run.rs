//! Trains the super-network and writes the largest.

use super::{Arguments, MeasureName};
use crate::cli::Format;
use crate::cli::error::{Error, note, report};
use crate::cli::output::Target;
use crate::cli::stdout::{Text, print_json};
use crate::cli::table::{Table, si};
use crate::cli::training::run::{Begun, begin, failure, watched};
use crate::supernet::attentive::{self, Epoch, Options, Outcome, Trained};
use crate::text::quoted;
use crate::training::TrainingError;
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let Arguments { path, output, training, .. } = arguments;
    let read = arguments.read.options();
    let about = |e: TrainingError| failure(e, path);
    let estimator = match (arguments.measure, &arguments.model.model) {
        (MeasureName::Estimate, _) => Some(arguments.model.load()?),
        (MeasureName::Loss, None) => None,
        (MeasureName::Loss, Some(_)) => {
            let what = "--model says whose estimates to go by";
            return Err(Error::user(what).hint("add --measure estimate"));
        }
    };
    let begun = begin(path, &read, training, arguments.seed, output)?;
    let Begun { images, inputs, schedule } = begun;
    let checkpoint = schedule.checkpoint.clone();
    let mut out = Target::new(output, &inputs)?;
    let options = Options {
        sampler: Some(arguments.sampler),
        estimator: estimator.as_ref(),
        insert_batch_norm: arguments.normalise.insert_batch_norm,
        training: schedule,
    };
    let tell = |epoch: &Epoch| {
        format!(
            "epoch {}/{}: loss {:.4}; of held-out images the largest tells {:.2} % right, the smallest {:.2} %",
            epoch.epoch,
            training.epochs,
            epoch.loss,
            100.0 * epoch.largest,
            100.0 * epoch.smallest
        )
    };
    let outcome = watched(training.epochs, tell, |observe| {
        attentive::train(path, &read, &images, &options, &mut out, observe)
    })?;
    let outcome = outcome.map_err(about)?;
    out.finish()?;
    // It is of no use any more.
    let _ = std::fs::remove_file(&checkpoint);
    report(&format!("wrote {}", output.display()));
    print(arguments, &outcome)
}

#[derive(Serialize, JsonSchema)]
pub(in crate::cli) struct Answer<'a> {
    schema: u32,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

fn print(arguments: &Arguments, outcome: &Outcome) -> Result<(), Error> {
    if arguments.format == Format::Json {
        return print_json(&Answer { schema: 1, outcome });
    }
    let on = format!("right ({}, {} images)", outcome.measured_on, outcome.images);
    let mut table = Table::new(&["network", "parameters", "MACs", &on]);
    for (name, Trained { cost, accuracy }) in
        [("largest", outcome.largest), ("smallest", outcome.smallest)]
    {
        let accuracy = format!("{:.2} %", 100.0 * accuracy);
        table.row([name.into(), si(cost.parameters), si(cost.macs), accuracy]);
    }
    let mut out = Text::stdout();
    table.print(&mut out)?;
    out.flush()?;
    note(&format!(
        "up to 10^{:.1} sub-networks share these weights; gennape search --from {} --images {} -o DIR \
         measures them and writes the best",
        outcome.log10_size,
        quoted(&arguments.output),
        quoted(&arguments.training.images)
    ));
    note(&outcome.normalisation.describe());
    Ok(())
}
