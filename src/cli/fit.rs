//! `gennape fit`: a new model of real networks.

use super::error::{Error, Failure};
use super::latency::print_agreement;
use super::output::model_folder;
use super::progress::Stages;
use super::stdout::Text;
use super::table::Table;
use crate::benchmarks::latency::Latencies;
use crate::benchmarks::{self, BenchmarkError, real::LabelSet};
use crate::estimator::real::{Manifest, Ranking};
use crate::fitting::{self, Options};
use crate::graph::ComputationGraph;
use crate::latency::{self, Device, Measured};
use crate::lower::lower;
use crate::onnx::{self, ReadOptions};
use clap::ValueEnum;
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// Fit a model to real networks with measured accuracies or latencies.
///
/// The data folder holds them as a table with ONNX files beside it: onnx_zoo/imagenet_labels.csv
/// (columns file, name, family, superfamily, recipe, strength, img_size, input, top1, best), or
/// cifar_zoo/labels.csv (file, source, network, family, dataset, accuracy). Latencies stand in
/// timm_benchmark_infer_*.csv (model, infer_img_size, infer_samples_per_sec, infer_batch_size), and
/// count for the networks of onnx_zoo that take images of that size.
///
/// What is printed of a family was predicted by a model that was fitted without it. It needs no
/// libtorch.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which labels.
    #[arg(value_enum)]
    labels: Labels,
    /// Folder with the labelled sets [default: $GENNAPE_DATA].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Folder to write the model to; its last part names the model.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Replace the model that is in this folder.
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Labels {
    /// Top-1 accuracies on ImageNet-1k.
    Imagenet,
    /// Accuracies on CIFAR-10, CIFAR-100 and SVHN.
    Cifar,
    /// Latencies on a processor, Intel's Core i7-12700H.
    #[value(name = "latency-i7-12700h")]
    LatencyI7,
    /// Latencies on a graphics processor, NVIDIA's RTX 4090.
    #[value(name = "latency-rtx4090")]
    LatencyRtx,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let data = benchmarks::data_folder(arguments.data.as_deref())?;
    let (set, name) = match arguments.labels {
        Labels::Imagenet => (LabelSet::imagenet(&data).map_err(read)?, "imagenet"),
        Labels::Cifar => (LabelSet::cifar(&data).map_err(read)?, "cifar"),
        Labels::LatencyI7 => return fit_latencies(arguments, &data, "i7-12700h"),
        Labels::LatencyRtx => return fit_latencies(arguments, &data, "rtx4090"),
    };
    let _lock = model_folder(&arguments.output, arguments.overwrite, None)?;
    let output = &arguments.output;
    let model = output.file_name().unwrap_or(output.as_os_str());
    let options = Options {
        name: model.to_string_lossy().into_owned(),
        command: format!("gennape fit {name} -o {}", output.display()),
    };
    let stages = Stages::new(options.name.clone());
    let fitted = fitting::fit(&set, &options, &|stage, done, of| stages.reach(stage, done, of))?;
    fitted.save(&arguments.output)?;
    print(fitted.manifest())
}

/// Why the labels can't be read, and what to do where the table is missing.
fn read(error: BenchmarkError) -> Error {
    let missing = matches!(error, BenchmarkError::Unreadable { .. });
    let error = Error::from(error);
    match missing {
        true => error.hint(
            "--data FOLDER must name the folder that holds this table with its networks; \
             `gennape help fit` says what they are",
        ),
        false => error,
    }
}

/// Fits what operations cost on a device.
fn fit_latencies(arguments: &Arguments, data: &Path, device: &str) -> Result<(), Error> {
    let no_device = || Error::user(format!("there are no latencies of {device}"));
    let latencies = Latencies::read(data, device).map_err(read)?.ok_or_else(no_device)?;
    let output = &arguments.output;
    let _lock = model_folder(output, arguments.overwrite, None)?;
    let name = output.file_name().unwrap_or(output.as_os_str()).to_string_lossy().into_owned();
    let stages = Stages::new(name.clone());
    let observe = |stage: &'static str, done, of| stages.reach(stage, done, of);
    observe("reading", 0, latencies.networks.len());
    let graph = |file: &Path| -> Result<ComputationGraph, Failure> {
        let about = |failure: Failure| failure.about(&file.display().to_string());
        let model = onnx::read(file, &ReadOptions::default());
        let model = model.map_err(|e| about(Failure::from_error(&e)))?;
        lower(&model).map_err(|e| about(Failure::from_error(&e)))
    };
    let measured = latencies
        .networks
        .par_iter()
        .map(|of| {
            let (group, latency) = (of.family.clone(), of.milliseconds);
            Ok(Measured { graph: graph(&of.file)?, group, latency })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let options = latency::Options {
        name,
        command: Some(format!("gennape fit latency-{device} -o {}", output.display())),
        device: Device { name: latencies.device.into(), batch: Some(latencies.batch) },
        groups: "families".into(),
    };
    let model = latency::fit(&measured, &options, &observe)?;
    drop(stages);
    model.save(output)?;
    print_agreement(&model.name, &model.agreement)
}

fn print(manifest: &Manifest) -> Result<(), Error> {
    let mut table = Table::new(&[
        "target",
        "left out",
        "ranked by",
        "Spearman",
        "Kendall τ-b",
        "MAE",
        "in family",
        "equal MACs",
        "pairs",
        "covered",
        "width",
    ]);
    for part in &manifest.evaluation {
        for ranking in &part.rankings {
            let Ranking { ranked_by, spearman, kendall, mean_absolute_error: error, .. } = ranking;
            let or_empty = |x: Option<f64>| x.map_or_else(String::new, |x| format!("{x:.3}"));
            table.row([
                part.target.to_string(),
                part.left_out.clone(),
                ranked_by.clone(),
                format!("{:.3}", spearman.0),
                format!("{:.3}", kendall.0),
                format!("{:.3} %", error.0),
                or_empty(ranking.within_family),
                or_empty(ranking.at_equal_macs),
                format!("{:.3}", ranking.pairs),
                or_empty(ranking.coverage),
                or_empty(ranking.width),
            ]);
        }
    }
    let mut out = Text::stdout();
    table.print(&mut out)?;
    out.flush()
}
