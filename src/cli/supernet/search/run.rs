//! Searches while the super-network trains and writes what was found.

use super::{Arguments, CellSpace};
use crate::cli::Format;
use crate::cli::error::{Error, note, report};
use crate::cli::output::{Target as File, distinct};
use crate::cli::search::measures::{self, Measure};
use crate::cli::stdout::{Text, print_json};
use crate::cli::table::{Table, si};
use crate::cli::training::run::{self as training, watched, with};
use crate::images::{ImageSet, Problem};
use crate::search::Direction;
use crate::supernet::cells::{self, CellsError, Epoch, Found, Options, Target};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// What to do about images whose size doesn't fit.
const SCALED: &str = "--size 32 scales them, or another multiple of 4";

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let Arguments { output, reward, training, .. } = arguments;
    let CellSpace::Darts = arguments.space;
    let epochs = training.epochs;
    let limit = Duration::from_secs(arguments.command_timeout as u64);
    let mut target = Target { reward, measures: Vec::new() };
    let mut inputs = vec![training.images.clone()];
    for text in reward.measures() {
        let measure: Measure = text.parse().map_err(Error::user)?;
        inputs.extend(measure.input().map(PathBuf::from));
        target.measures.push(measures::cost(&measure, Direction::Minimise, limit)?);
    }
    let size = arguments.size.map(|side| [side; 2]);
    let images = ImageSet::open(&training.images, size).map_err(|error| {
        let sizes = matches!(error.problem(), Problem::Size { .. });
        let failure = Error::from(error);
        if sizes { failure.hint(SCALED) } else { failure }
    })?;
    let checkpoint = with(output, ".checkpoint");
    let schedule = training.schedule(arguments.seed, &checkpoint)?;
    distinct(&checkpoint, &inputs)?;
    let mut out = File::new(output, &inputs)?;
    let options =
        Options { cells: arguments.cells, channels: arguments.channels, training: schedule };
    let tell = |epoch: &Epoch| {
        let percent = format!("{:.2} %", 100.0 * epoch.accuracy);
        let stage = match epoch.operations {
            1 => "the found network".to_string(),
            n => format!("{} cells of {n} operations an edge", epoch.cells),
        };
        let reward = epoch.reward.map(|r| format!(", mean reward {r:.4}"));
        format!(
            "epoch {}/{epochs}: {stage}, loss {:.4}, {percent} of held-out images right{}, entropy {:.3}",
            epoch.epoch,
            epoch.loss,
            reward.unwrap_or_default(),
            epoch.entropy
        )
    };
    let found = watched(epochs, tell, |observe| {
        cells::search(&images, &target, &options, &mut out, observe)
    })?;
    let found = found.map_err(|e| failure(e, arguments))?;
    out.finish()?;
    // It is of no use any more.
    let _ = std::fs::remove_file(&checkpoint);
    report(&format!("wrote {}", output.display()));
    print(arguments.format, &found)
}

/// The error with what to do about it.
fn failure(error: CellsError, arguments: &Arguments) -> Error {
    match error {
        CellsError::Training(error) => training::failure(error, &arguments.training.images),
        CellsError::Sides { .. } => Error::user(error.to_string()).hint(SCALED),
        CellsError::Steps(_) => {
            Error::user(error.to_string()).hint("more --epochs, or a smaller --batch")
        }
        _ => Error::user(error.to_string()),
    }
}

#[derive(Serialize, JsonSchema)]
pub(in crate::cli) struct Answer<'a> {
    schema: u32,
    #[serde(flatten)]
    found: &'a Found,
}

fn print(format: Format, found: &Found) -> Result<(), Error> {
    if format == Format::Json {
        return print_json(&Answer { schema: 1, found });
    }
    let on = format!("right ({}, {} images)", found.measured_on, found.images);
    // The table has these in any case.
    let others: Vec<(&String, &f64)> = found
        .measures
        .iter()
        .filter(|(name, _)| !["parameters", "macs"].contains(&name.as_str()))
        .collect();
    let mut header = vec!["parameters", "MACs"];
    header.extend(others.iter().map(|(name, _)| name.as_str()));
    header.extend([on.as_str(), "reward"]);
    let mut table = Table::new(&header);
    let mut row = vec![si(found.cost.parameters), si(found.cost.macs)];
    row.extend(others.iter().map(|(_, value)| format!("{value:.4}")));
    row.extend([format!("{:.2} %", 100.0 * found.accuracy), format!("{:.4}", found.reward)]);
    table.row(row);
    let mut out = Text::stdout();
    out.line(&found.architecture)?;
    table.print(&mut out)?;
    out.flush()?;
    let list = |list: &[f32]| list.iter().map(|x| format!("{x:.4}")).collect::<Vec<_>>().join(", ");
    note(&format!(
        "pixels from 0 to 1 are normalised by mean {} and standard deviation {}",
        list(&found.normalisation.mean),
        list(&found.normalisation.deviation)
    ));
    Ok(())
}
