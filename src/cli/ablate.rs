//! `gennape ablate`: GENNAPE's predictors, each alone and together, beside the paper's figures, and the
//! parts of the experts for real networks.

use super::error::Error;
use super::evaluate::read_report;
use super::stdout::{Text, print_json};
use super::table::Table;
use crate::benchmarks::Set;
use crate::evaluation;
use crate::evaluation::ablation::{REAL_SCHEMA, RealReport, Report, SCHEMA};
use clap::builder::{PossibleValue, PossibleValuesParser, RangedU64ValueParser};
use std::path::PathBuf;
#[cfg(feature = "train")]
use {
    super::error::report as report_line,
    crate::benchmarks::{self, nasbench101},
    crate::encoder::default_cache,
    crate::train::{
        self,
        ablation::{FAMILIES, Options, RealOptions},
    },
};

/// Train GENNAPE's predictors and measure each alone and all together.
///
/// Prints mean absolute error and Spearman's rank correlation on NAS-Bench-101's test networks,
/// and the rank correlation on families that nothing was trained on, without labels and fitted to
/// a few; beside them the figures of tables 3 and 5 of the paper (arXiv 2211.17226). ± is the
/// standard deviation over seeds: each has its own split, initial weights and labels to fit to.
///
/// Of real networks it leaves out families and superfamilies of those with accuracies on ImageNet-1k,
/// CIFAR-10, CIFAR-100 and SVHN, and measures what their models say with other parts: without clusters,
/// with embeddings of contrastively pretrained encoders, one for each seed, beside the descriptors or in
/// their place, and with those of untrained ones. Progress goes to standard error.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gennape ablate nasbench101 --data data/ --seeds 5")]
pub(crate) struct Arguments {
    /// A report that --format json has written, to print again.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    training: TrainingArguments,
}

/// What to train and to rank.
#[derive(Debug, clap::Args)]
struct TrainingArguments {
    /// The labelled set to train on.
    #[arg(value_enum, required_unless_present = "report", conflicts_with = "report")]
    set: Option<TrainingSet>,
    /// Folder with the labelled sets [default: $GENNAPE_DATA].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Families to rank [default: those of nasbench201-no-none, nasbench_macro and accel_nasbench
    /// whose files are there].
    #[arg(long, value_delimiter = ',', value_parser = family_parser())]
    families: Vec<String>,
    /// Repetitions.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Networks to sample for training, validation and test, and at most of each family [default: 50000];
    /// for real networks, of each search space to pretrain on beside them [default: 100].
    #[arg(long)]
    networks: Option<usize>,
    /// Passes of encoders over the training networks [default: as their recipes say].
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    epochs: Option<usize>,
    /// Labelled networks of a family to fit to [default: 50].
    #[arg(long)]
    labels: Option<usize>,
    /// Folder for featurised graphs, which later runs take from there [default: the user's cache].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Labelled sets that the paper's predictors are trained on.
#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum TrainingSet {
    /// Networks of at least 80 % on CIFAR-10.
    Nasbench101,
    /// Networks that people designed, with accuracies on ImageNet-1k, CIFAR-10, CIFAR-100 and SVHN.
    Real,
}

/// What was measured of either.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(untagged, expecting = "it is no report of `gennape ablate`")]
enum Measured {
    Cells(Report),
    Real(RealReport),
}

impl Measured {
    /// Its schema, and what this program's is.
    fn schemas(&self) -> [u32; 2] {
        match self {
            Self::Cells(report) => [report.schema, SCHEMA],
            Self::Real(report) => [report.schema, REAL_SCHEMA],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Aligned columns for people.
    Table,
    /// One JSON object; its `schema` number changes when the meaning of a field does.
    Json,
    /// Markdown tables.
    Markdown,
}

/// The sets that are not trained on.
fn family_parser() -> PossibleValuesParser {
    let foreign = Set::all().filter(|s| s.name != "nasbench101");
    foreign.map(|s| PossibleValue::new(s.name).help(s.about)).into()
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let report = match &arguments.report {
        Some(path) => read_report(path, Measured::schemas)?,
        None => measure(arguments)?,
    };
    match arguments.format {
        Format::Json => print_json(&report),
        format => print(&report, format),
    }
}

#[cfg(not(feature = "train"))]
fn measure(_: &Arguments) -> Result<Measured, Error> {
    Err(super::without_training("ablate"))
}

#[cfg(feature = "train")]
fn measure(Arguments { training, .. }: &Arguments) -> Result<Measured, Error> {
    let data = || benchmarks::data_folder(training.data.as_deref());
    let mut progress = |line: &str| report_line(line);
    if training.set == Some(TrainingSet::Real) {
        let others = [
            ("--families", !training.families.is_empty()),
            ("--labels", training.labels.is_some()),
            ("--cache", training.cache.is_some()),
        ];
        if let Some((option, _)) = others.iter().find(|(_, given)| *given) {
            return Err(Error::user(format!("{option} belongs to nasbench101")));
        }
        let [epochs, networks] = RealOptions::USUAL;
        let options = RealOptions {
            data: data()?,
            seeds: training.seeds,
            epochs: training.epochs.unwrap_or(epochs),
            networks: training.networks.unwrap_or(networks),
        };
        return Ok(Measured::Real(train::ablation::real(&options, &mut progress)?));
    }
    let data = data()?;
    let wanted = |set: &&Set| match training.families.as_slice() {
        [] => FAMILIES.contains(&set.name) && data.join(set.file).exists(),
        families => families.iter().any(|f| f == set.name),
    };
    let options = Options {
        families: Set::all().filter(wanted).collect(),
        cache: training.cache.clone().unwrap_or_else(default_cache),
        networks: training.networks.unwrap_or(nasbench101::SAMPLE),
        epochs: training.epochs,
        seeds: training.seeds,
        labels: training.labels.unwrap_or(50),
        data,
    };
    Ok(Measured::Cells(train::ablation::nasbench101(&options, &mut progress)?))
}

/// Prints all tables and what there is to say of them.
fn print(report: &Measured, format: Format) -> Result<(), Error> {
    let mut out = Text::stdout();
    let tables = match report {
        Measured::Cells(report) => vec![report.in_space_rows(), report.transfer_rows()],
        Measured::Real(report) => report.rows(),
    };
    for rows in tables {
        if rows.1.is_empty() {
            continue;
        }
        if format == Format::Markdown {
            evaluation::markdown(&rows).lines().try_for_each(|line| out.line(line))?;
        } else {
            let (header, rows) = rows;
            let left = |h: &String| if h == "ranked by" { format!("<{h}") } else { h.clone() };
            let header: Vec<String> = header.iter().map(left).collect();
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            let mut table = Table::new(&header);
            rows.into_iter().for_each(|row| table.row(row));
            table.print(&mut out)?;
        }
        out.line("")?;
    }
    let several = |seeds: u64| if seeds == 1 { "" } else { "s" };
    out.line(&match report {
        Measured::Cells(report) => {
            let Report { networks, seeds, .. } = report;
            format!(
                "{networks} networks, {seeds} seed{}. {}.",
                several(*seeds),
                report.choice_text()
            )
        }
        Measured::Real(report) => {
            let RealReport { graphs, epochs, seeds, .. } = report;
            format!("{seeds} encoder{}, {epochs} passes over {graphs} graphs.", several(*seeds))
        }
    })?;
    out.flush()
}
