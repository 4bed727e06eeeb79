//! `gennape evaluate`: a model's scores on labelled architectures, beside trivial baselines.

use super::error::Error;
use super::progress::Progress;
use super::table::Table;
use super::{model, print_json, stdout};
use crate::benchmarks::{self, Labelled, Split, nasbench101, nasbench201};
use crate::encoder::GraphFeatures;
use crate::estimator::Estimator;
use crate::lower::lower;
use crate::metrics;
use crate::spaces::Architecture;
use crate::spaces::nasbench201::Dataset;
use clap::ValueEnum;
use rayon::prelude::*;
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// Measure how well a model ranks labelled architectures, beside trivial baselines.
///
/// Splits depend on the seed in the model's manifest, so that `test` holds no architecture that
/// the model has seen. Intervals are 95 % percentile bootstrap intervals.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The labelled set.
    set: Set,

    /// Folder with the labelled sets [default: $GENNAPE_DATA].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Which part of the set.
    #[arg(long, value_enum, default_value_t = Part::Test)]
    split: Part,

    #[command(flatten)]
    model: model::ModelArguments,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Set {
    /// CIFAR-10 accuracy of the networks of at least 80 %, of which the model sampled 50,000.
    Nasbench101,
    /// CIFAR-10 accuracy of all networks.
    Nasbench201,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Training,
    Validation,
    Test,
    /// Everything, whether or not a model has seen it.
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns for people.
    Table,
    /// One JSON object.
    Json,
    /// A table to paste.
    Markdown,
}

/// Resamples behind an interval.
const RESAMPLES: usize = 1000;
/// Networks that one thread takes at a time; their graphs are dropped before it takes more.
const CHUNK: usize = 32;

#[derive(Serialize)]
struct Report {
    schema: u32,
    set: String,
    split: String,
    networks: usize,
    model: String,
    results: Vec<Line>,
}

/// How well one score ranks the networks.
#[derive(Serialize)]
struct Line {
    score: String,
    spearman: Option<Measured>,
    kendall: Option<Measured>,
    /// Per cent; only for scores that are accuracies.
    mean_absolute_error: Option<Measured>,
}

#[derive(Serialize)]
struct Measured {
    value: f64,
    interval: [f64; 2],
}

/// Truth and scores of the same networks.
#[derive(Default)]
struct Scored {
    accuracy: Vec<f64>,
    predicted: Vec<f64>,
    parameters: Vec<f64>,
    macs: Vec<f64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let folder = benchmarks::data_folder(arguments.data.as_deref())?;
    let estimator = arguments.model.load()?;
    let scored = match arguments.set {
        Set::Nasbench101 => {
            let mut set = nasbench101::load(&folder)?;
            set.retain(|l| l.accuracy >= nasbench101::MINIMUM_ACCURACY);
            score(&set, nasbench101::SAMPLE, arguments.split, &estimator)?
        }
        Set::Nasbench201 => {
            let set = nasbench201::load(&folder, Dataset::Cifar10)?;
            let size = set.len();
            score(&set, size, arguments.split, &estimator)?
        }
    };
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map_or_else(String::new, |v| v.get_name().to_string())
    };
    let report = Report {
        schema: 1,
        set: name(arguments.set.to_possible_value()),
        split: name(arguments.split.to_possible_value()),
        networks: scored.accuracy.len(),
        model: estimator.manifest().name.clone(),
        results: measure(&scored, &estimator.manifest().name),
    };
    match arguments.format {
        Format::Json => print_json(&report),
        Format::Markdown => print_markdown(&report),
        Format::Table => print_table(&report),
    }
}

fn score<A: Architecture + Sync>(
    set: &[Labelled<A>],
    sample: usize,
    part: Part,
    estimator: &Estimator,
) -> Result<Scored, Error> {
    let split = || Split::new(set, sample, estimator.manifest().seed);
    let positions = match part {
        Part::Training => split().train,
        Part::Validation => split().validation,
        Part::Test => split().test,
        Part::All => (0..set.len()).collect(),
    };
    let progress = Progress::new("scoring", positions.len());
    let chunk = |positions: &[usize]| -> Result<Scored, Error> {
        let mut scored = Scored::default();
        let mut features = Vec::with_capacity(positions.len());
        for labelled in positions.iter().map(|&i| &set[i]) {
            let graph = lower(&labelled.architecture.build())
                .map_err(|e| Error::from(e).about(&labelled.architecture.to_string()))?;
            scored.accuracy.push(labelled.accuracy);
            scored.parameters.push(graph.parameters() as f64);
            scored.macs.push(graph.macs() as f64);
            features.push(GraphFeatures::new(&graph));
            progress.step();
        }
        scored.predicted =
            estimator.estimate_features(&features).iter().map(|e| e.accuracy).collect();
        Ok(scored)
    };
    let parts: Vec<Scored> =
        positions.par_chunks(CHUNK).map(chunk).collect::<Result<_, Error>>()?;
    let mut all = Scored::default();
    for mut part in parts {
        all.accuracy.append(&mut part.accuracy);
        all.predicted.append(&mut part.predicted);
        all.parameters.append(&mut part.parameters);
        all.macs.append(&mut part.macs);
    }
    Ok(all)
}

fn measure(scored: &Scored, model: &str) -> Vec<Line> {
    type Metric = fn(&[f64], &[f64]) -> Option<f64>;
    let rankings = [
        (model, &scored.predicted, true),
        ("parameters", &scored.parameters, false),
        ("MACs", &scored.macs, false),
    ];
    let progress = Progress::new("measuring", 2 * rankings.len());
    let truth = &scored.accuracy;
    let measured = |scores: &[f64], metric: Metric| {
        let value = metric(truth, scores)?;
        // A seed of its own, so that intervals don't hang on which model is measured.
        let interval = metrics::bootstrap_interval(truth, scores, metric, RESAMPLES, 0.95, 0)?;
        progress.step();
        Some(Measured { value, interval })
    };
    rankings
        .into_par_iter()
        .map(|(name, scores, accuracy)| {
            let (spearman, kendall) = rayon::join(
                || measured(scores, metrics::spearman),
                || measured(scores, metrics::kendall_tau_b),
            );
            let error = accuracy.then(|| measured(scores, metrics::mean_absolute_error));
            Line {
                score: name.to_string(),
                spearman,
                kendall,
                mean_absolute_error: error.flatten(),
            }
        })
        .collect()
}

/// Header and rows as text, for both kinds of table.
fn cells(report: &Report) -> ([&'static str; 4], Vec<[String; 4]>) {
    let text = |m: &Option<Measured>, unit: &str| {
        m.as_ref().map_or_else(String::new, |m| {
            let [low, high] = m.interval;
            format!("{:.3}{unit} ({low:.3} – {high:.3})", m.value)
        })
    };
    let row = |line: &Line| {
        [
            line.score.clone(),
            text(&line.spearman, ""),
            text(&line.kendall, ""),
            text(&line.mean_absolute_error, " %"),
        ]
    };
    (
        ["ranked by", "Spearman", "Kendall τ-b", "mean absolute error"],
        report.results.iter().map(row).collect(),
    )
}

fn print_table(report: &Report) -> Result<(), Error> {
    let (header, rows) = cells(report);
    let mut table = Table::new(&header);
    rows.into_iter().for_each(|row| table.row(row));
    let mut out = stdout();
    writeln!(out, "{}, {} split, {} networks", report.set, report.split, report.networks)?;
    table.print(&mut out)?;
    Ok(out.flush()?)
}

fn print_markdown(report: &Report) -> Result<(), Error> {
    let (header, rows) = cells(report);
    let mut out = stdout();
    writeln!(out, "| {} |", header.join(" | "))?;
    writeln!(out, "|{}", " --- |".repeat(header.len()))?;
    for row in rows {
        writeln!(out, "| {} |", row.join(" | "))?;
    }
    Ok(out.flush()?)
}
