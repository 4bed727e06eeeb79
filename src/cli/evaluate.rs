//! `gennape evaluate`: a model's ranking of labelled networks, beside the trivial baselines.

use super::error::{Error, note};
use super::input::ReadArguments;
use super::labels::{self, Labels};
use super::left_out;
use super::model;
use super::progress::Stages;
use super::stdout::{self, Text, print_json};
use super::table::Table;
use crate::benchmarks::{self, Networks, Set, Split, Subset, Target};
use crate::draw;
use crate::encoder::default_cache;
use crate::estimator::Estimator;
use crate::evaluation::{self, Family, FamilyReport, FewShot};
use crate::files;
use crate::spaces::Space;
use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Measure how well a model ranks labelled networks, beside trivial baselines.
///
/// Splits depend on the seed in the model's manifest, so that `test` holds no architecture that
/// the model has seen. Intervals in brackets are 95 % percentile bootstrap intervals over networks;
/// ± is the standard deviation over the draws of labels to fit to. The columns are explained below.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("what").required(true).args(["set", "all", "space", "onnx_dir", "left_out", "report"])),
    after_help = ["Examples:\n  \
    gennape evaluate nasbench201 --data data/ --fine-tune 50\n  \
    gennape evaluate --space darts --labels my.csv --target test_accuracy\n  \
    gennape evaluate --onnx-dir networks/ --labels my.csv\n  \
    gennape evaluate --left-out imagenet1k --format svg > imagenet.svg\n\n\
    Columns, for one family of networks:\n  \
    ranked by    the model; the baselines parameters, MACs, synflow (log of expected synaptic flow)\n               \
    and training-free (a score of size and paths); 'fitted' is fitted to labels,\n               \
    'training-free, fitted' from proxies and graphs alone\n  \
    labels       labelled networks of the family that the ranking was fitted to\n  \
    Spearman     rank correlation with the target, -1 to 1, higher is better\n  \
    Kendall τ-b  rank correlation by pairs of networks, -1 to 1, higher is better\n  \
    τ apart      Kendall's τ over pairs whose targets are at least 0.01 apart (0.0001 where all\n               \
    targets lie in 0 to 1), -1 to 1, higher is better\n  \
    NDCG@10      normalised discounted cumulative gain of the 10 ranked highest, the worst target\n  \
    (NDCG@50)    counting 0 and the best 1, 0 to 1, higher is better; of the 50 likewise\n  \
    MAE          mean of |target - estimate|, in the unit of the target, lower is better\n  \
    top-10       share of the 10 best networks among the 10 ranked highest, 0 to 1, higher is better\n  \
    (top-50)     and of the 50 best among the 50\n  \
    rank of first  true rank of the network ranked first, from 1, lower is better\n  \
    best of 10   best true rank among the 10 networks ranked highest, from 1, lower is better\n  \
    regret       target of the best network less that of the one ranked highest, in the unit of the\n               \
    target, lower is better\n\n\
    With several families: a row for each with its networks and Spearman by every ranking.\n\
    Below the table: the share in per cent of networks whose target lies in the model's 90 % interval\n\
    (90 is right), and Spearman's correlation of the intervals' widths with the errors (higher is better).\n\n",
    &labels::help()].concat()
)]
pub(crate) struct Arguments {
    /// A labelled set.
    #[arg(value_parser = set_parser())]
    set: Option<String>,

    /// Every labelled set that is there.
    #[arg(long)]
    all: bool,

    /// The search space of architectures with labels of your own.
    #[arg(long, value_parser = super::export::space_parser(), requires = "labels")]
    space: Option<Space>,

    /// Folder of ONNX files with labels of your own.
    #[arg(long, value_name = "DIR", requires = "labels")]
    onnx_dir: Option<PathBuf>,

    /// File with the labels.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    #[command(flatten)]
    read: ReadArguments,

    /// Column of the labels to rank by; higher is better [default: the only one with numbers].
    #[arg(long, value_name = "COLUMN", requires = "labels")]
    target: Option<String>,

    /// How well a model of real networks did on families whose labels it was not fitted to, as it was
    /// measured when it was made.
    #[arg(long, value_name = "TARGET", value_parser = target_parser(),
          conflicts_with_all = ["data", "labels", "split", "fine_tune", "seeds", "cache"])]
    left_out: Option<Target>,

    /// A report that --format json has written, to print again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "labels", "split", "model", "fine_tune", "seeds", "cache"])]
    report: Option<PathBuf>,

    /// Folder with the labelled sets [default: $GENNAPE_DATA].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Which part of a set [default: test of what the model was trained on, all of others].
    #[arg(long, value_enum)]
    split: Option<Part>,

    #[command(flatten)]
    model: model::ModelArguments,

    /// Also fit the estimates to this many labels, and measure on the networks left.
    #[arg(long, value_name = "LABELS")]
    fine_tune: Option<usize>,

    /// Draws of labels to fit to.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..), requires = "fine_tune")]
    seeds: u64,

    /// Folder for featurised graphs, which later runs take from there [default: the user's cache].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Takes the name of a labelled set.
pub(super) fn set_parser() -> PossibleValuesParser {
    PossibleValuesParser::new(
        Set::all().map(|s| PossibleValue::new(s.name).help(format!("{}: {}", s.about, s.target))),
    )
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
pub(super) enum Format {
    /// Aligned columns for people.
    Table,
    /// One JSON object.
    Json,
    /// A table to paste.
    Markdown,
    /// A picture of one set: predicted against true values and ranks.
    Svg,
}

/// Most bytes of a report that are read.
const MAX_REPORT: u64 = 1 << 26;

/// Version of [`Report`]'s JSON form.
const SCHEMA: u32 = 2;

#[derive(Serialize, Deserialize, JsonSchema)]
pub(super) struct Report {
    schema: u32,
    model: String,
    families: Vec<FamilyReport>,
}

/// Takes the name of a target that models of real networks have.
fn target_parser() -> impl TypedValueParser<Value = Target> {
    let names = PossibleValuesParser::new(Target::ALL.iter().map(|target| target.name()));
    names.try_map(|name| Target::from_name(&name).ok_or("no target"))
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    if let Some(target) = arguments.left_out {
        return left_out::run(target, &arguments.model.load()?, arguments.format);
    }
    let (report, complete) = match &arguments.report {
        Some(path) => (read_report(path, |report: &Report| [report.schema, SCHEMA])?, Ok(())),
        None => evaluate(arguments)?,
    };
    print(arguments.format, &report)?;
    complete
}

fn print(format: Format, report: &Report) -> Result<(), Error> {
    match (format, report.families.as_slice()) {
        (Format::Json, _) => print_json(report),
        (Format::Svg, [family]) if !family.truth.is_empty() => {
            let mut out = stdout::bytes();
            out.write_all(draw::evaluation(&report.model, family).as_bytes())?;
            Ok(out.flush()?)
        }
        (Format::Svg, _) => {
            Err(Error::user("a picture shows the networks of one set, measured now")
                .hint("name a labelled set instead of --all or --report"))
        }
        (Format::Markdown, families) => {
            let mut out = Text::stdout();
            let mut tables = evaluation::markdown(&rows(families));
            if families.len() > 1 {
                tables = format!("{tables}\n{}", evaluation::markdown(&evaluation::top(families)));
            }
            tables.lines().try_for_each(|line| out.line(line))?;
            out.flush()
        }
        (Format::Table, families) => print_table(families),
    }
}

/// What all that is printed as JSON has.
#[derive(serde::Deserialize)]
struct Versioned {
    schema: u32,
}

/// A report that `--format json` has written, of the schema that is expected; `schemas` gives its own and
/// that.
pub(super) fn read_report<R: DeserializeOwned>(
    path: &Path,
    schemas: impl Fn(&R) -> [u32; 2],
) -> Result<R, Error> {
    let about = |e: &dyn std::fmt::Display| Error::user(format!("{}: {e}", path.display()));
    let json = files::read(path, MAX_REPORT).map_err(|e| about(&e))?;
    let report: R = serde_json::from_slice(&json).map_err(|e| {
        match serde_json::from_slice(&json) {
            // Other fields are what another schema is.
            Ok(Versioned { schema }) => about(&format!("{e}; its schema is {schema}"))
                .hint("make it again by the same command of this version"),
            Err(_) => about(&e),
        }
    })?;
    match schemas(&report) {
        [schema, expected] if schema == expected => Ok(report),
        [schema, expected] => Err(about(&format!("schema {schema}, expected {expected}"))),
    }
}

/// One family in full, several in short.
fn rows(families: &[FamilyReport]) -> evaluation::Rows {
    match families {
        [family] => evaluation::details(family),
        families => evaluation::summary(families),
    }
}

fn print_table(families: &[FamilyReport]) -> Result<(), Error> {
    let (header, rows) = rows(families);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = Table::new(&header);
    rows.into_iter().for_each(|row| table.row(row));
    let mut out = Text::stdout();
    if let [family] = families {
        let FamilyReport { family, target, split, networks, .. } = family;
        out.line(&format!("{family}, {split}: {target} of {networks} networks"))?;
    }
    table.print(&mut out)?;
    if let [family] = families {
        let wide = family.width_by_error.map_or_else(String::new, |r| {
            format!("; Spearman of their width with the error {r:.2}")
        });
        out.line(&format!("90 % intervals cover {:.1} %{wide}", 100.0 * family.coverage))?;
    }
    out.flush()
}

/// The report, and whether every label that was asked for is in it.
fn evaluate(arguments: &Arguments) -> Result<(Report, Result<(), Error>), Error> {
    let estimator = arguments.model.load()?;
    let mut families = Vec::new();
    let mut complete = Ok(());
    if let Some(path) = &arguments.labels {
        let folder = arguments.onnx_dir.as_deref();
        let (target, options) = (arguments.target.as_deref(), arguments.read.options());
        let labels = Labels::read(path, arguments.space, folder, target, options)?;
        complete = labels.complete;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (networks, split) = part(
            labels.networks.as_ref(),
            arguments.split.unwrap_or(Part::All),
            usize::MAX,
            &estimator,
        );
        let family = Family { name, target: labels.target.clone(), split, networks: &networks };
        families.push(measure(&family, &estimator, arguments)?);
    } else {
        let folder = benchmarks::data_folder(arguments.data.as_deref())?;
        let sets: Vec<&Set> = match &arguments.set {
            Some(name) => Set::all().filter(|s| s.name == name).collect(),
            None => Set::all().filter(|s| folder.join(s.file).exists()).collect(),
        };
        if sets.is_empty() {
            return Err(Error::user(format!("{} holds no labelled set", folder.display()))
                .hint("gennape data list"));
        }
        for set in sets {
            let whole = set.load(&folder)?;
            let (networks, split) =
                part_of_set(set, whole.as_ref(), arguments.split, &folder, &estimator)?;
            let (name, target) = (set.name.into(), set.target.into());
            let family = Family { name, target, split, networks: &networks };
            families.push(measure(&family, &estimator, arguments)?);
        }
    }
    let model = estimator.manifest().name.clone();
    Ok((Report { schema: SCHEMA, model, families }, complete))
}

fn measure(
    family: &Family,
    estimator: &Estimator,
    arguments: &Arguments,
) -> Result<FamilyReport, Error> {
    let few_shot = arguments.fine_tune.map(|labels| FewShot { labels, seeds: arguments.seeds });
    let cache = arguments.cache.clone().unwrap_or_else(default_cache);
    let stages = Stages::new(family.name.clone());
    let observe = |stage, done, of| stages.reach(stage, done, of);
    let (report, unsaved) = evaluation::evaluate(family, estimator, few_shot, &cache, &observe)?;
    if let Some(error) = unsaved {
        note(&format!("graphs can't be kept in {}: {error}", cache.display()));
    }
    Ok(report)
}

/// The part of a named set that was asked for and its name; unless asked otherwise, the test part
/// if the model has seen others of the same networks, else all.
fn part_of_set<'a>(
    set: &Set,
    whole: &'a dyn Networks,
    wanted: Option<Part>,
    folder: &Path,
    estimator: &Estimator,
) -> Result<(Subset<'a>, String), Error> {
    let trained = &estimator.manifest().data;
    let seen = |other: &&Set| other.file == set.file && trained.iter().any(|d| d.set == other.name);
    let seen = Set::all().find(seen);
    let wanted = wanted.unwrap_or(if seen.is_some() { Part::Test } else { Part::All });
    let minimum = if wanted == Part::All { f64::NEG_INFINITY } else { set.minimum };
    let mut networks = Subset::at_least(whole, minimum);
    let Some(seen) = seen.filter(|other| other.name != set.name && wanted != Part::All) else {
        let (chosen, name) = part(&networks, wanted, set.sample, estimator);
        let positions = chosen.positions.iter().map(|&i| networks.positions[i]).collect();
        return Ok((Subset { whole, positions }, name));
    };
    // Other labels of the same networks: their parts are those of the set that the model knows.
    let other = seen.load(folder)?;
    let other = Subset::at_least(other.as_ref(), seen.minimum);
    let (chosen, name) = part(&other, wanted, seen.sample, estimator);
    let classes: HashSet<String> = chosen.positions.iter().map(|&i| other.class(i)).collect();
    networks.positions.retain(|&i| classes.contains(&whole.class(i)));
    Ok((networks, name))
}

/// The part of a set that was asked for, out of about `sample` networks, and its name.
fn part<'a>(
    whole: &'a dyn Networks,
    part: Part,
    sample: usize,
    estimator: &Estimator,
) -> (Subset<'a>, String) {
    let split = || Split::new(whole, sample, estimator.manifest().seed);
    let positions = match part {
        Part::Training => split().train,
        Part::Validation => split().validation,
        Part::Test => split().test,
        Part::All => (0..whole.len()).collect(),
    };
    let name = part.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string());
    (Subset { whole, positions }, name)
}
