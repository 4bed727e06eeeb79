//! `gennape supernet train`: one set of weights for all sub-networks of a network.

use crate::cli::error::{Error, note, report};
use crate::cli::input::ReadArguments;
use crate::cli::model::ModelArguments;
use crate::cli::output::{Target, distinct};
use crate::cli::progress::Progress;
use crate::cli::space::Format;
use crate::cli::stdout::{Text, print_json};
use crate::cli::table::{Table, si};
use crate::cli::training::{TrainingArguments, duration, failure, interrupts, steps, with};
use crate::images::ImageSet;
use crate::onnx::Original;
use crate::supernet::attentive::{self, Event, Options, Outcome, Sampler, Trained};
use crate::text::quoted;
use crate::training::{TrainingError, image_size};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

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

pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
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
    let size = image_size(path, &read).map_err(about)?;
    let images = ImageSet::open(&training.images, Some(size))?;
    let (_, original) = crate::cli::input::open(path, &read)?;
    let mut inputs = original.files().map_err(|e| about(e.into()))?;
    drop::<Original>(original);
    inputs.push(path.clone());
    let checkpoint = with(output, ".checkpoint");
    let schedule = training.schedule(arguments.seed, &checkpoint)?;
    distinct(&checkpoint, &inputs)?;
    let mut out = Target::new(output, &inputs)?;
    let options = Options {
        sampler: Some(arguments.sampler),
        estimator: estimator.as_ref(),
        training: schedule,
    };
    let interrupted = interrupts()?;
    let bar = Progress::new("training", training.epochs);
    let mut observe = |event: Event| {
        match event {
            Event::Note(text) => note(&text),
            Event::Step(done, all) => bar.reach(steps(done, all, training.epochs)),
            Event::Epoch(epoch, left) => report(&format!(
                "epoch {}/{}: loss {:.4}; of held-out images the largest tells {:.2} % right, the smallest \
                 {:.2} %; {} left",
                epoch.epoch,
                training.epochs,
                epoch.loss,
                100.0 * epoch.largest,
                100.0 * epoch.smallest,
                duration(left)
            )),
        }
        !interrupted.load(Ordering::Relaxed)
    };
    let outcome = attentive::train(path, &read, &images, &options, &mut out, &mut observe);
    drop(bar);
    let outcome = outcome.map_err(about)?;
    out.finish()?;
    // It is of no use any more.
    let _ = std::fs::remove_file(&checkpoint);
    report(&format!("wrote {}", output.display()));
    print(arguments, &outcome)
}

#[derive(Serialize)]
struct Answer<'a> {
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
    note(&outcome.normalisation.told());
    Ok(())
}
