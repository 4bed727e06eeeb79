//! `gennape finetune`: adapts a model to labels of the user's own.

use super::error::{Error, note};
use super::input::ReadArguments;
use super::labels::Labels;
use super::model;
use super::output::model_folder;
use super::progress::Stages;
use super::stdout::{Text, print_json};
use super::table::Table;
use crate::encoder::default_cache;
use crate::estimator::{FineTuning, Method, Metrics};
use crate::fine_tuning::{self, Candidate, FineTuned, MOST, Options};
use crate::spaces::Space;
use clap::ValueEnum;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Adapt a model to labels of your own.
///
/// What is kept is what predicts each label best from the others: the model as it is, with its values
/// recalibrated to the labels, a regression of the labels on what the model knows of the networks, or
/// (in builds with the feature `train`, from 150 labels on, in minutes) the model trained further on
/// them by gradient descent. It is fitted to all labels (of more than 1,000, to a random sample of so
/// many).
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("what").required(true).args(["space", "onnx_dir"])),
    after_help = "Examples:\n  \
    gennape finetune --labels my.csv --space nasbench201 -o my-model\n  \
    gennape finetune --labels my.csv --onnx-dir networks/ --target top1 -o my-model\n  \
    gennape predict --model my-model networks/\n\n\
    Labels are CSV, TSV, JSON lines (each also with .gz) or Parquet, with a column 'architecture' or \
    'onnx' and one or more columns of numbers."
)]
pub(crate) struct Arguments {
    /// File with the labels.
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,

    /// The search space of the labelled architectures.
    #[arg(long, value_parser = super::export::space_parser())]
    space: Option<Space>,

    /// Folder of the labelled ONNX files.
    #[arg(long, value_name = "DIR")]
    onnx_dir: Option<PathBuf>,

    #[command(flatten)]
    read: ReadArguments,

    /// Column of the labels to adapt to; higher is better [default: the only one with numbers].
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,

    #[command(flatten)]
    model: model::ModelArguments,

    /// Seed of the order of the labels.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Folder for featurised graphs, which later runs take from there [default: the user's cache].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    /// Folder to write the new model to; its last part names the model.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Replace the model that is in this folder.
    #[arg(long)]
    overwrite: bool,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns for people.
    Table,
    /// One JSON object.
    Json,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    model: &'a str,
    /// Rows in the file of labels, usable or not.
    rows: usize,
    fine_tuning: &'a FineTuning,
    candidates: Vec<Measured>,
}

#[derive(Serialize)]
struct Measured {
    method: Method,
    /// Of each label predicted from the others.
    metrics: Metrics,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let base = arguments.model.load()?;
    let _lock = model_folder(&arguments.output, arguments.overwrite, arguments.model.folder())?;
    let (space, folder) = (arguments.space, arguments.onnx_dir.as_deref());
    let (target, options) = (arguments.target.as_deref(), arguments.read.options());
    let labels = Labels::read(&arguments.labels, space, folder, target, options)?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let options = Options {
        name: name(&arguments.output),
        command: command(arguments, &base.manifest().name),
        labels: name(&arguments.labels),
        target: labels.target,
        seed: arguments.seed,
    };
    let cache = arguments.cache.clone().unwrap_or_else(default_cache);
    let stages = Stages::new(options.labels.clone());
    let observe = |stage, done, of| stages.reach(stage, done, of);
    let networks = labels.networks.as_ref();
    let tuned = fine_tuning::fine_tune(&base, networks, &options, &cache, &observe)?;
    drop(stages);
    tuned.estimator.save(&arguments.output)?;
    if let Some(error) = &tuned.unsaved {
        note(&format!("graphs can't be kept in {}: {error}", cache.display()));
    }
    print(arguments.format, &tuned, labels.rows)?;
    labels.complete
}

/// The command line that repeats the run, without what depends on the machine.
fn command(arguments: &Arguments, model: &str) -> String {
    let Arguments { labels, space, onnx_dir, target, seed, output, .. } = arguments;
    let space = space.map_or_else(String::new, |space| format!(" --space {space}"));
    let folder = onnx_dir.as_ref();
    let folder = folder.map_or_else(String::new, |dir| format!(" --onnx-dir {}", dir.display()));
    let target = target.as_ref().map_or_else(String::new, |target| format!(" --target {target}"));
    let (labels, output) = (labels.display(), output.display());
    format!(
        "gennape finetune --labels {labels}{space}{folder}{target} --model {model} --seed {seed} \
         -o {output}"
    )
}

fn print(format: Format, tuned: &FineTuned, rows: usize) -> Result<(), Error> {
    let manifest = tuned.estimator.manifest();
    // A fine-tuned model has one.
    let Some(fine_tuning) = &manifest.fine_tuning else { return Ok(()) };
    if format == Format::Json {
        let measured = |&Candidate { method, metrics }: &Candidate| Measured { method, metrics };
        let candidates = tuned.candidates.iter().map(measured).collect();
        return print_json(&Report {
            schema: 1,
            model: &manifest.name,
            rows,
            fine_tuning,
            candidates,
        });
    }
    let FineTuning { base, target, data, kept, fitted, metrics, .. } = fine_tuning;
    let mut table = Table::new(&["model", "Spearman", "Kendall τ-b", "mean absolute error", "<"]);
    let mut row = |name: String, metrics: &Metrics, kept: bool| {
        let error = metrics.mean_absolute_error.map(|m| format!("{:.4}", m.value));
        table.row([
            name,
            format!("{:.4}", metrics.spearman.value),
            format!("{:.4}", metrics.kendall.value),
            error.unwrap_or_default(),
            if kept { "kept".into() } else { String::new() },
        ]);
    };
    row(base.clone(), &metrics.before, false);
    for Candidate { method, metrics } in &tuned.candidates {
        row(format!("{base}, {}", describe(*method)), metrics, method == kept);
    }
    let mut out = Text::stdout();
    out.line(&format!("{target}: {} labels, each predicted from the others:", data.training))?;
    table.print(&mut out)?;
    let sample = if data.training > MOST { " (a random sample)" } else { "" };
    out.line(&format!("{} is fitted to {fitted} labels{sample}", manifest.name))?;
    out.flush()
}

fn describe(method: Method) -> &'static str {
    match method {
        Method::Recalibrated => "recalibrated",
        Method::Adapted => "adapted",
        Method::Tuned => "tuned",
    }
}
