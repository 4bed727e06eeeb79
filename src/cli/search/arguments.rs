//! What a search is asked for.

use super::algorithm::AlgorithmName;
use super::folder::{Images, Settings, Source};
use super::measures::{self, Constraint, Objective};
use crate::cli::error::Error;
use crate::cli::export::space_parser;
use crate::cli::input::ReadArguments;
use crate::cli::model::ModelArguments;
use crate::estimator::Estimator;
use crate::lower::lower;
use crate::onnx::ReadOptions;
use crate::spaces::Space;
use clap::ValueEnum;
use std::path::PathBuf;

/// Search a space for networks that no other beats in all objectives.
///
/// The folder gets front.json, an ONNX file for each network of the Pareto front (front/*.onnx),
/// report.html, and history.csv with every network that was tried. Ctrl-C stops and keeps what is
/// found.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("what").required(true).args(["space", "from", "resume"])),
    after_help = measures::HELP
)]
pub(crate) struct Arguments {
    /// The search space.
    #[arg(long, value_parser = space_parser(), requires = "output")]
    space: Option<Space>,

    /// Search the sub-networks of this ONNX file, which keep its weights; see `gennape space`.
    #[arg(long, value_name = "FILE", requires = "output")]
    from: Option<PathBuf>,

    #[command(flatten)]
    pub(super) read: ReadArguments,

    /// Measure the accuracy of the sub-networks of --from on these images, with the weights that they
    /// inherit, instead of estimating it; best after `gennape supernet train` on the same images.
    #[arg(long, value_name = "DIR|FILE", requires = "from")]
    images: Option<PathBuf>,

    /// Where to compute what is measured on --images: cpu, cuda:0.
    #[arg(long, default_value = "cpu", requires = "images")]
    device: String,

    /// A measure to make as good as possible; repeatable [default: accuracy:max macs:min].
    #[arg(long, value_name = "MEASURE[:max|:min]", conflicts_with = "resume")]
    objective: Vec<Objective>,

    /// A bound that networks must keep, like 'parameters<=1.0M'; repeatable.
    #[arg(long, value_name = "MEASURE<=NUMBER", conflicts_with = "resume")]
    constraint: Vec<Constraint>,

    /// How to choose what to try next [default: evolution for one objective, nsga2 for several].
    #[arg(long, value_enum, conflicts_with = "resume")]
    algorithm: Option<AlgorithmName>,

    /// Most networks to evaluate; those of one computation graph count once [default: 2000].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) budget: Option<u64>,

    /// Seed of everything that is random.
    #[arg(long, default_value_t = 0, conflicts_with = "resume")]
    seed: u64,

    /// An architecture to begin with; repeatable.
    #[arg(long, value_name = "ARCHITECTURE", conflicts_with = "resume")]
    start: Vec<String>,

    #[command(flatten)]
    pub(super) model: ModelArguments,

    /// Folder to write to.
    #[arg(short, long, value_name = "DIR", conflicts_with = "resume")]
    pub(super) output: Option<PathBuf>,

    /// Go on with the search in this folder, as if it had not been interrupted; a larger --budget
    /// prolongs it.
    #[arg(long, value_name = "DIR", conflicts_with = "model")]
    pub(super) resume: Option<PathBuf>,

    /// Run the shell commands that the search in the folder of --resume asks for.
    #[arg(long, requires = "resume")]
    pub(super) allow_command: bool,

    /// Longest time that a command may take to measure one network.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) command_timeout: u64,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
}

/// Networks that are evaluated when nothing else is said.
const BUDGET: usize = 2000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Aligned columns for people.
    Table,
    /// The content of front.json.
    Json,
}

impl Arguments {
    /// What is asked for, with what is usual where nothing is said.
    pub(super) fn settings(&self, estimator: &Estimator) -> Result<Settings, Error> {
        if self.from.is_none() && self.read.options() != ReadOptions::default() {
            let what = "--input-shape and --allow-unknown say how to read a network";
            return Err(Error::user(what).hint("name the network with --from FILE"));
        }
        let default = |text: &str| text.parse::<Objective>().ok();
        let objectives = match self.objective.as_slice() {
            [] => ["accuracy:max", "macs:min"].into_iter().filter_map(default).collect(),
            given => given.to_vec(),
        };
        let usual = AlgorithmName::usual(objectives.len());
        let source = |path: &PathBuf| -> Result<Source, Error> {
            let ReadOptions { input_shapes, allow_unknown } = self.read.options();
            let path = path.clone();
            let mut source =
                Source { path, input_shapes, allow_unknown, fingerprint: String::new() };
            source.fingerprint = lower(&source.open()?.0)?.fingerprint().to_string();
            Ok(source)
        };
        Ok(Settings {
            version: env!("CARGO_PKG_VERSION").into(),
            space: self.space.map(|s| s.to_string()),
            from: self.from.as_ref().map(source).transpose()?,
            images: self.images.clone().map(|path| Images { path, device: self.device.clone() }),
            objectives,
            constraints: self.constraint.clone(),
            algorithm: self.algorithm.unwrap_or(usual),
            budget: self.budget.map_or(BUDGET, |b| b as usize),
            seed: self.seed,
            // The whole network is the one to beat.
            start: self.from.iter().map(|_| "whole".into()).chain(self.start.clone()).collect(),
            model: self.model.model.clone(),
            model_hash: hash(estimator),
        })
    }
}

/// What tells the model's weights from others.
pub(super) fn hash(estimator: &Estimator) -> String {
    blake3::hash(estimator.weights()).to_hex().to_string()
}
