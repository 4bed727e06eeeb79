//! `gennape finetune`: adapts a model to labels of the user's own.

use super::Format;
use super::error::{Error, note};
use super::input::ReadArguments;
use super::labels::{self, Labels};
use super::latency::print_agreement;
use super::model;
use super::output::model_folder;
use super::progress::Stages;
use super::stdout::{Text, print_json};
use super::table::Table;
use crate::benchmarks::BenchmarkError;
use crate::encoder::default_cache;
use crate::estimator::{FineTuning, Method, Metrics};
use crate::fine_tuning::{self, Candidate, FineTuned, MAX_FITTED, Options};
use crate::latency::{self, Agreement, Device};
use crate::spaces::Space;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Adapt a model to labels of your own, or make one of the latencies of a device of your own.
///
/// What is kept is what predicts each label best from the others: the model as it is, with its values
/// recalibrated to the labels, a regression of the labels on what the model knows of the networks, or
/// (in builds with the feature `train`, from 150 labels on, in minutes) the model trained further on
/// them by gradient descent. It is fitted to all labels (of more than 5,000, to a random sample of so
/// many, since it takes time cubic in their number).
///
/// With --latency the labels are milliseconds of at least 100 networks on one device, whatever it is.
/// What operations cost there is fitted, from nothing but these.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("what").required(true).args(["space", "onnx_dir"])),
    group(clap::ArgGroup::new("table").required(true).args(["labels", "latency"])),
    after_help = ["Examples:\n  \
    gennape finetune --labels my.csv --space nasbench201 -o my-model\n  \
    gennape finetune --labels my.csv --onnx-dir networks/ --target top1 -o my-model\n  \
    gennape predict --model my-model networks/\n  \
    gennape finetune --latency my-ms.csv --onnx-dir networks/ -o my-device\n\n",
    &labels::help()].concat()
)]
pub(crate) struct Arguments {
    /// File with the labels.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// File with latencies in milliseconds for one input, less is better.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "seed", "cache"])]
    latency: Option<PathBuf>,

    /// The search space of the labelled architectures.
    #[arg(long, value_parser = super::export::space_parser())]
    space: Option<Space>,

    /// Folder of the labelled ONNX files.
    #[arg(long, value_name = "DIR")]
    onnx_dir: Option<PathBuf>,

    #[command(flatten)]
    read: ReadArguments,

    /// Column of the labels to adapt to; of labels, higher is better [default: the only one with numbers].
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

#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    schema: u32,
    model: &'a str,
    /// Rows in the file of labels, usable or not.
    rows: usize,
    fine_tuning: &'a FineTuning,
    candidates: Vec<Measured>,
}

#[derive(Serialize, JsonSchema)]
struct Measured {
    method: Method,
    /// Of each label predicted from the others.
    metrics: Metrics,
}

/// Parts that are left out in turn to tell how well a device is fitted.
const PARTS: usize = 20;

#[derive(Serialize, JsonSchema)]
pub(super) struct LatencyReport<'a> {
    schema: u32,
    model: &'a str,
    /// Rows in the file of latencies, usable or not.
    rows: usize,
    agreement: &'a Agreement,
}

/// Fits what operations cost on a device of the user's.
fn fit_device(arguments: &Arguments, table: &Path) -> Result<(), Error> {
    let _lock = model_folder(&arguments.output, arguments.overwrite, None)?;
    let (space, folder) = (arguments.space, arguments.onnx_dir.as_deref());
    let (target, read) = (arguments.target.as_deref(), arguments.read.options());
    let labels = Labels::read(table, space, folder, target, read)?;
    let networks = labels.networks.as_ref();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stages = Stages::new(name(table));
    let observe = |stage: &'static str, done, of| stages.reach(stage, done, of);
    observe("building", 0, networks.len());
    // One architecture is in one part, and neighbours in the table in different ones.
    let mut parts: HashMap<String, usize> = HashMap::new();
    let part = |i: usize| {
        let next = parts.len();
        *parts.entry(networks.class(i)).or_insert(next) % PARTS
    };
    let parts: Vec<usize> = (0..networks.len()).map(part).collect();
    let measured = parts
        .into_par_iter()
        .enumerate()
        .map(|(i, part)| {
            let (graph, latency) = (networks.graph(i)?, networks.target(i));
            Ok(latency::Measured { graph, group: format!("part {part}"), latency })
        })
        .collect::<Result<Vec<_>, BenchmarkError>>()?;
    let model = name(&arguments.output);
    let options = latency::Options {
        device: Device { name: model.clone(), batch: None },
        name: model,
        command: Some(command(arguments, table, None)),
        groups: "parts".into(),
    };
    let model = latency::fit(&measured, &options, &observe)?;
    drop(stages);
    model.save(&arguments.output)?;
    match arguments.format {
        Format::Table => print_agreement(&model.name, &model.agreement)?,
        Format::Json => print_json(&LatencyReport {
            schema: 1,
            model: &model.name,
            rows: labels.rows,
            agreement: &model.agreement,
        })?,
    }
    labels.complete
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let table = match (&arguments.labels, &arguments.latency) {
        (_, Some(table)) => return fit_device(arguments, table),
        (Some(table), None) => table,
        (None, None) => return Err(Error::user("give --labels or --latency")),
    };
    let base = arguments.model.load()?;
    let _lock = model_folder(&arguments.output, arguments.overwrite, arguments.model.folder())?;
    let (space, folder) = (arguments.space, arguments.onnx_dir.as_deref());
    let (target, options) = (arguments.target.as_deref(), arguments.read.options());
    let labels = Labels::read(table, space, folder, target, options)?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let cache = arguments.cache.clone().unwrap_or_else(default_cache);
    let options = Options {
        name: name(&arguments.output),
        command: Some(command(arguments, table, Some(&base.manifest().name))),
        labels: name(table),
        target: labels.target,
        seed: arguments.seed,
        cache: Some(cache.clone()),
    };
    let stages = Stages::new(options.labels.clone());
    let observe = |stage, done, of| stages.reach(stage, done, of);
    let networks = labels.networks.as_ref();
    let tuned = fine_tuning::fine_tune(&base, networks, &options, &observe)?;
    drop(stages);
    tuned.estimator.save(&arguments.output)?;
    if let Some(error) = &tuned.unsaved {
        note(&format!("graphs can't be kept in {}: {error}", cache.display()));
    }
    print(arguments.format, &tuned, labels.rows)?;
    labels.complete
}

/// The command line that repeats the run, without what depends on the machine.
fn command(arguments: &Arguments, table: &Path, model: Option<&str>) -> String {
    let Arguments { space, onnx_dir, target, seed, output, .. } = arguments;
    let space = space.map_or_else(String::new, |space| format!(" --space {space}"));
    let folder = onnx_dir.as_ref();
    let folder = folder.map_or_else(String::new, |dir| format!(" --onnx-dir {}", dir.display()));
    let target = target.as_ref().map_or_else(String::new, |target| format!(" --target {target}"));
    let (table, output) = (table.display(), output.display());
    let (option, model) = match model {
        Some(model) => ("labels", format!(" --model {model} --seed {seed}")),
        None => ("latency", String::new()),
    };
    format!("gennape finetune --{option} {table}{space}{folder}{target}{model} -o {output}")
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
    let sample = if data.training > MAX_FITTED { " (a random sample)" } else { "" };
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
