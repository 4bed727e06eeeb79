//! `gennape prune`: trains a network and cuts it while it trains.

use super::error::{Error, note, report};
use super::input::ReadArguments;
use super::output::{Target, distinct};
use super::progress::Progress;
use super::space::Format;
use super::stdout::{Text, print_json};
use super::table::{Table, si};
use super::training::{TrainingArguments, duration, failure, interrupts, number, steps, with};
use crate::images::ImageSet;
use crate::onnx::Original;
use crate::pruning::{self, Budget, Event, Options, Pruned};
use crate::training::{TrainingError, image_size};
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

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

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let Arguments { path, output, .. } = arguments;
    let read = arguments.read.options();
    let training = &arguments.training;
    let about = |e: TrainingError| failure(e, path);
    let size = image_size(path, &read).map_err(about)?;
    let images = ImageSet::open(&training.images, Some(size))?;
    let (_, original) = super::input::open(path, &read)?;
    let mut inputs = original.files().map_err(|e| about(e.into()))?;
    drop::<Original>(original);
    inputs.push(path.clone());
    let checkpoint = with(output, ".checkpoint");
    let schedule = training.schedule(arguments.seed, &checkpoint)?;
    distinct(&checkpoint, &inputs)?;
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
        training: schedule,
    };
    let interrupted = interrupts()?;
    let bar = Progress::new("training", training.epochs);
    let mut observe = |event: Event| {
        match event {
            Event::Note(text) => note(&text),
            Event::Step(done, all) => bar.reach(steps(done, all, training.epochs)),
            Event::Epoch(epoch, left) => report(&format!(
                "epoch {}/{}: loss {:.4}, {:.2} % of held-out images right, {} of {} chosen parts zero, {} left",
                epoch.epoch,
                training.epochs,
                epoch.loss,
                100.0 * epoch.accuracy,
                epoch.zero,
                epoch.chosen,
                duration(left)
            )),
        }
        !interrupted.load(Ordering::Relaxed)
    };
    let whole = zeros.as_mut().map(|file| file as &mut dyn Write);
    let pruned = pruning::prune(path, &read, &images, &options, &mut out, whole, &mut observe);
    drop(bar);
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

#[derive(Serialize)]
struct Answer<'a> {
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
    note(&pruned.normalisation.told());
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
