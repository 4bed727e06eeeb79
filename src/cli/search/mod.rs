//! `gennape search`: better networks, by the estimator.

mod folder;
mod front;
mod history;
mod measured;
pub(crate) mod measures;

use super::error::{Error, Failure, note};
use super::export;
use super::export::space_parser;
use super::input::{self, ReadArguments};
use super::model::ModelArguments;
use super::output::Target;
use super::progress::Progress;
use super::stdout::{json, print_json};
use crate::draw::{self, Listing};
use crate::estimator::Estimator;
use crate::lower::lower;
use crate::model_graph::ModelGraph;
use crate::onnx::{Original, ReadOptions, Weights};
use crate::search::algorithms::{
    AttentiveSampling, Evolution, Guided, LocalSearch, Nsga2, PolicyGradient, RandomSearch,
};
use crate::search::evaluators::interrupt_commands;
use crate::search::{
    Algorithm, Direction, Evaluated, Next, Problem, Record, Search, SearchSpace, Start, Stop,
};
use crate::spaces::Space;
use crate::subnetworks::{SubNetwork, SuperNetwork};
use crate::text::quoted;
use clap::ValueEnum;
use folder::{Folder, Images, Settings, Source};
pub(in crate::cli) use front::Front;
use front::{Estimated, Estimates, Member, print_table, shown};
use measured::Measured;
use measures::{Constraint, Objective};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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
    read: ReadArguments,

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
    budget: Option<u64>,

    /// Seed of everything that is random.
    #[arg(long, default_value_t = 0, conflicts_with = "resume")]
    seed: u64,

    /// An architecture to begin with; repeatable.
    #[arg(long, value_name = "ARCHITECTURE", conflicts_with = "resume")]
    start: Vec<String>,

    #[command(flatten)]
    model: ModelArguments,

    /// Folder to write to.
    #[arg(short, long, value_name = "DIR", conflicts_with = "resume")]
    output: Option<PathBuf>,

    /// Go on with the search in this folder, as if it had not been interrupted; a larger --budget
    /// prolongs it.
    #[arg(long, value_name = "DIR", conflicts_with = "model")]
    resume: Option<PathBuf>,

    /// Run the shell commands that the search in the folder of --resume asks for.
    #[arg(long, requires = "resume")]
    allow_command: bool,

    /// Longest time that a command may take to measure one network.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..))]
    command_timeout: u64,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Networks that are evaluated when nothing else is said.
const BUDGET: usize = 2000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns for people.
    Table,
    /// The content of front.json.
    Json,
}

/// Names of the algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AlgorithmName {
    /// Independent draws.
    Random,
    /// Steps to better neighbours, with restarts.
    LocalSearch,
    /// Regularised (ageing) evolution.
    Evolution,
    /// Non-dominated sorting genetic algorithm II.
    Nsga2,
    /// AttentiveNAS's sampling: for each cost (MACs) a batch at that cost, learning from the best.
    Attentive,
    /// TND-NAS's policy gradient, in a space that shrinks as it goes.
    PolicyGradient,
    /// Few queries: a Gaussian process over what the model knows of networks is fitted to the
    /// values so far after each batch. For objectives that take long, such as cmd:….
    Guided,
}

/// True values that the guided search queries before it is fitted again.
const QUERIES: usize = 5;

impl AlgorithmName {
    /// What is taken when nothing is said, for so many objectives.
    pub fn usual(objectives: usize) -> Self {
        if objectives > 1 { Self::Nsga2 } else { Self::Evolution }
    }

    pub fn algorithm<'a, S: SearchSpace>(
        self,
        space: &S,
        estimator: &'a Estimator,
    ) -> Result<Box<dyn Algorithm<S> + 'a>, Error>
    where
        S::Candidate: 'a,
    {
        Ok(match self {
            Self::Random => Box::new(RandomSearch),
            Self::LocalSearch => Box::new(LocalSearch::default()),
            Self::Evolution => Box::new(Evolution::default()),
            Self::Nsga2 => Box::new(Nsga2::default()),
            Self::Attentive => Box::new(AttentiveSampling::default()),
            Self::PolicyGradient => Box::new(PolicyGradient::new(space)?),
            Self::Guided => Box::new(Guided::new(estimator, QUERIES)),
        })
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let (settings, estimator) = match &arguments.resume {
        Some(folder) => {
            let mut settings = Folder::settings(folder)?;
            if let (false, [command, ..]) = (arguments.allow_command, &settings.commands()[..]) {
                let what =
                    format!("{} runs a command; do you trust it? {command}", folder.display());
                return Err(Error::user(what).hint(settings.resume(folder)));
            }
            if let Some(budget) = arguments.budget {
                settings.budget = budget as usize;
            }
            let estimator = ModelArguments { model: settings.model.clone() }.load()?;
            if hash(&estimator) != settings.model_hash {
                let what = "the model is not the one that the search began with";
                return Err(Error::user(what).hint("begin a new search with -o"));
            }
            if settings.version != env!("CARGO_PKG_VERSION") {
                note(
                    "the search began with another version of the program, which may go elsewhere",
                );
            }
            (settings, estimator)
        }
        None => {
            let estimator = arguments.model.load()?;
            (arguments.settings(&estimator)?, estimator)
        }
    };
    if let Some(source) = &settings.from {
        return subnetworks(arguments, &settings, source, &estimator);
    }
    let name = settings.space.as_deref().unwrap_or_default();
    let space: Space = name.parse().map_err(|e| Error::user(format!("{e}")))?;
    let parse = |text: &str| Ok(space.text(text)?);
    let write = |candidate: &String, out: Target| {
        export::write(&space.build(candidate)?, out, Weights::Random { seed: settings.seed })
    };
    let job = Job {
        space: &space,
        parse: &parse,
        write: &write,
        describe: &|_| Vec::new(),
        measured: None,
    };
    job.run(arguments, &settings, &estimator)
}

/// Searches the sub-networks of a network.
fn subnetworks(
    arguments: &Arguments,
    settings: &Settings,
    source: &Source,
    estimator: &Estimator,
) -> Result<(), Error> {
    let path = source.path.display().to_string();
    let (whole, original) = open(source)?;
    // Weights that are not there are told of before the search, not after.
    original.complete().map_err(|e| Failure::from_error(&e).about(&path))?;
    if lower(&whole)?.fingerprint().to_string() != source.fingerprint {
        let what = format!("{path} is not the network that the search began with");
        return Err(Error::user(what).hint("begin a new search with -o"));
    }
    let measured = settings.images.as_ref().map(|images| Measured::open(source, images, settings));
    let measured = measured.transpose()?;
    let space = match &measured {
        Some(measured) => measured.space().clone(),
        None => SuperNetwork::new(whole),
    };
    if space.decisions().iter().all(|&options| options < 2) {
        let what = format!("{path}: nothing of this network can be cut or replaced");
        return Err(Error::user(what).hint(format!("gennape space {}", quoted(&source.path))));
    }
    let parse = |text: &str| Ok(space.parse(text)?);
    let write = |candidate: &SubNetwork, mut out: Target| {
        if let Some(measured) = &measured {
            return measured.write(candidate, out);
        }
        let (_, mut original) = open(source)?;
        let mut data = out.data(&[]);
        space.shrink(candidate, &mut original, &mut out, Some(data.file()))?;
        data.finish()?;
        out.finish()
    };
    let describe = |candidate: &SubNetwork| space.describe(candidate);
    let job = Job {
        space: &space,
        parse: &parse,
        write: &write,
        describe: &describe,
        measured: measured.as_ref(),
    };
    job.run(arguments, settings, estimator)
}

fn open(
    Source { path, input_shapes, allow_unknown, .. }: &Source,
) -> Result<(ModelGraph, Original<'static>), Error> {
    let (input_shapes, allow_unknown) = (input_shapes.clone(), *allow_unknown);
    input::open(path, &ReadOptions { input_shapes, allow_unknown })
}

impl Arguments {
    fn settings(&self, estimator: &Estimator) -> Result<Settings, Error> {
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
            source.fingerprint = lower(&open(&source)?.0)?.fingerprint().to_string();
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

fn hash(estimator: &Estimator) -> String {
    blake3::hash(estimator.weights()).to_hex().to_string()
}

/// The candidate of a text.
type Parse<'a, C> = dyn Fn(&str) -> Result<C, Error> + 'a;

/// Writes a candidate as an ONNX file.
type Write<'a, C> = dyn Fn(&C, Target) -> Result<(), Error> + 'a;

/// What tells a candidate from others, in words.
type Describe<'a, C> = dyn Fn(&C) -> Vec<String> + 'a;

/// A search in one space.
struct Job<'a, S: SearchSpace> {
    space: &'a S,
    parse: &'a Parse<'a, S::Candidate>,
    write: &'a Write<'a, S::Candidate>,
    describe: &'a Describe<'a, S::Candidate>,
    /// What measures accuracies, if they are no estimates.
    measured: Option<&'a Measured>,
}

impl<S: SearchSpace> Job<'_, S>
where
    S::Candidate: 'static,
{
    fn run(
        &self,
        arguments: &Arguments,
        settings: &Settings,
        estimator: &Estimator,
    ) -> Result<(), Error> {
        let limit = Duration::from_secs(arguments.command_timeout);
        let Settings { objectives, constraints, .. } = settings;
        let known = match self.measured {
            Some(measured) => measured.add_to(Problem::new()),
            None => Problem::new(),
        };
        let problem = measures::problem(known, objectives, constraints, estimator, limit)?;
        let start = settings.start.iter().map(|text| (self.parse)(text));
        let candidates = start.collect::<Result<Vec<_>, _>>()?;
        let mut algorithm = settings.algorithm.algorithm(self.space, estimator)?;
        let inputs = settings.inputs()?;
        let (mut folder, known) = match (&arguments.resume, &arguments.output) {
            (Some(path), _) => Folder::resume(path, settings, problem.measures(), &inputs)?,
            (None, Some(path)) => Folder::create(path, settings, problem.measures(), &inputs)?,
            (None, None) => {
                return Err(Error::user("there is no folder to write to").hint("-o DIR"));
            }
        };
        let earlier: HashSet<String> = known.keys().cloned().collect();
        let start = Start { candidates, known };

        let interrupted = interrupts()?;
        let progress = Progress::new("searching", settings.budget);
        let (mut evaluated, mut best, mut failure) = (0, Best::default(), None);
        let mut observe = |news: &[Evaluated<S::Candidate>]| {
            let fresh: Vec<_> =
                news.iter().filter(|e| !earlier.contains(&e.candidate.to_string())).collect();
            if let Err(error) = folder.history.append(&fresh) {
                failure = Some(error);
                return Next::Stop;
            }
            evaluated += news.iter().filter(|e| e.fitness.violation == 0.0).count();
            best.update(&problem, news);
            progress.reach_with(evaluated as u64, || format!("searching: {}", best.text()));
            match interrupted.load(Ordering::Relaxed) {
                true => Next::Stop,
                false => Next::Continue,
            }
        };
        let began = Instant::now();
        let search = Search::new(self.space, &problem).algorithm(algorithm.as_mut()).start(start);
        let record = search.budget(settings.budget).seed(settings.seed).observed(&mut observe);
        drop(progress);
        if let Some(failure) = failure {
            return Err(failure);
        }
        folder.history.finish()?;
        let record = record?;
        self.report(&record, &problem, estimator, settings, &folder, arguments)?;
        if console::user_attended_stderr() {
            tell(&record, evaluated, began, &folder, settings);
        }
        tell_of_failures(&record)
    }

    /// Writes and prints what came out.
    fn report(
        &self,
        record: &Record<S::Candidate>,
        problem: &Problem,
        estimator: &Estimator,
        settings: &Settings,
        folder: &Folder,
        arguments: &Arguments,
    ) -> Result<(), Error> {
        let front = record.front();
        let latency_models = measures::latency_models(&settings.objectives, &settings.constraints)?;
        let digits = front.len().to_string().len();
        let (mut members, mut drawn) = (Vec::new(), Vec::new());
        folder.replace_front(|networks| {
            for (i, evaluated) in front.iter().enumerate() {
                // What was evaluated has one.
                let graph = self.space.graph(&evaluated.candidate);
                let Some((graph, fingerprint)) = graph.zip(evaluated.fingerprint) else { continue };
                let name = format!("{:0digits$}.onnx", i + 1);
                let out = Target::one_of_many(&networks.join(&name))?;
                (self.write)(&evaluated.candidate, out)?;
                let values = problem.measures().map(str::to_string).zip(&evaluated.values);
                let asked = values.enumerate().filter(|(measure, _)| problem.decides(*measure));
                members.push(Member {
                    architecture: evaluated.candidate.to_string(),
                    onnx: format!("front/{name}"),
                    fingerprint: fingerprint.to_string(),
                    parameters: graph.parameters(),
                    macs: graph.macs(),
                    // JSON has no other numbers.
                    measures: asked
                        .filter_map(|(_, (name, value))| {
                            Some((name, value.filter(|v| v.is_finite())?))
                        })
                        .collect(),
                    estimate: Estimated::of(problem, evaluated),
                    latencies: latency_models
                        .iter()
                        .map(|(name, model)| (name.clone(), model.estimate(&graph).into()))
                        .collect(),
                });
                drawn.push(graph);
            }
            Ok(())
        })?;
        let estimated = members.iter().any(|member| member.estimate.is_some());
        let report = Front {
            schema: 2,
            settings,
            evaluated: record.history.iter().filter(|e| e.fitness.violation == 0.0).count(),
            stop: record.stop,
            estimates: if estimated { Estimates::ask(estimator, &drawn) } else { None },
            measured: self.measured.map(Measured::on),
            front: members,
        };
        folder.write("front.json", json(&report)?.as_bytes())?;
        let from = settings.from.as_ref().map(|source| source.path.display().to_string());
        let title = format!("Search of {}", settings.space.clone().or(from).unwrap_or_default());
        let listing = Listing {
            facts: facts(settings, estimator, record),
            details: front.iter().map(|e| (self.describe)(&e.candidate)).collect(),
            ..report.listing(problem, estimator)
        };
        let page = draw::search(&title, problem, record, &drawn, &listing);
        folder.write("report.html", page.as_bytes())?;
        match arguments.format {
            Format::Json => print_json(&report)?,
            Format::Table => print_table(&listing)?,
        }
        match listing.rows.is_empty() {
            true => Err(Error::user("no network keeps all constraints")
                .hint("ask for more networks (--budget) or fewer constraints (--constraint)")),
            false => Ok(()),
        }
    }
}

/// Whether Ctrl-C was pressed. Pressed once more, it stops commands that run, or else the program.
fn interrupts() -> Result<Arc<AtomicBool>, Error> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let (flag, presses) = (interrupted.clone(), AtomicUsize::new(0));
    let handler = move || match presses.fetch_add(1, Ordering::Relaxed) {
        0 => {
            flag.store(true, Ordering::Relaxed);
            note("stopping after what is being evaluated; once more to stop at once");
        }
        1 if interrupt_commands() => note("stopping the commands"),
        _ => process::exit(130),
    };
    ctrlc::set_handler(handler).map_err(|e| Error::user(format!("no handler of Ctrl-C: {e}")))?;
    Ok(interrupted)
}

/// The best so far, for people who wait.
#[derive(Default)]
struct Best {
    /// Of the first objective.
    value: Option<f64>,
    name: String,
}

impl Best {
    fn update<C>(&mut self, problem: &Problem, news: &[Evaluated<C>]) {
        let Some(&(measure, direction)) = problem.objectives().first() else { return };
        self.name = problem.measures().nth(measure).unwrap_or_default().to_string();
        let feasible = news.iter().filter(|e| e.fitness.violation == 0.0);
        self.value =
            feasible.filter_map(|e| e.values[measure]).chain(self.value).reduce(match direction {
                Direction::Maximise => f64::max,
                Direction::Minimise => f64::min,
            });
    }

    fn text(&self) -> String {
        match self.value {
            Some(value) => format!("{} {}", self.name, shown(&self.name, value)),
            None => "nothing keeps the constraints yet".into(),
        }
    }
}

/// What was asked for and how, for the page.
fn facts<C>(
    settings: &Settings,
    estimator: &Estimator,
    record: &Record<C>,
) -> Vec<(String, String)> {
    let list = |texts: Vec<String>| texts.join(", ");
    let algorithm = settings.algorithm.to_possible_value();
    let model = match &settings.model {
        Some(path) => path.display().to_string(),
        None => estimator.manifest().name.clone(),
    };
    let facts = [
        ("objectives", list(settings.objectives.iter().map(ToString::to_string).collect())),
        ("constraints", list(settings.constraints.iter().map(ToString::to_string).collect())),
        ("algorithm", algorithm.map_or_else(String::new, |a| a.get_name().to_string())),
        ("model", model),
        (
            "budget",
            format!("{} networks; {} candidates were proposed", settings.budget, record.candidates),
        ),
        ("seed", settings.seed.to_string()),
        ("time", format!("{:.1} s", record.spent.total().as_secs_f64())),
    ];
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
    facts.map(|(name, value)| (name.to_string(), value)).collect()
}

/// Faults that are told one by one.
const TOLD_FAULTS: usize = 10;

/// Tells which candidates are on no front because of what they are, or by our fault.
fn tell_of_failures<C>(record: &Record<C>) -> Result<(), Error> {
    if record.guessing > 0 {
        note(&format!(
            "{} networks can but guess, for their output does not depend on their input; they are \
             on no front",
            record.guessing
        ));
    }
    for fault in record.faults.iter().take(TOLD_FAULTS) {
        Failure::from_error(fault).print();
    }
    match record.faults.len() {
        0 => return Ok(()),
        n if n > TOLD_FAULTS => note(&format!("{} more candidates failed", n - TOLD_FAULTS)),
        _ => {}
    }
    Err(Error::Fault)
}

/// Tells how it went.
fn tell<C>(
    record: &Record<C>,
    evaluated: usize,
    began: Instant,
    folder: &Folder,
    settings: &Settings,
) {
    let seconds = began.elapsed().as_secs_f64();
    let share = |part: std::time::Duration| 100.0 * part.as_secs_f64() / seconds;
    let (report, path) = (folder.file("report.html"), folder.file(""));
    let why = match record.stop {
        Stop::Budget => String::new(),
        Stop::Exhausted => {
            "; then nothing new that keeps the constraints was found for long".into()
        }
        Stop::Interrupted => "; interrupted".into(),
    };
    note(&format!(
        "{evaluated} networks of {} candidates in {seconds:.1} s, {:.0} candidates a second ({:.0} % \
         building, {:.0} % measuring, {:.0} % choosing){why}; see {}",
        record.candidates,
        record.candidates as f64 / seconds,
        share(record.spent.building),
        share(record.spent.evaluating),
        share(record.spent.proposing),
        report.display()
    ));
    if record.stop == Stop::Interrupted {
        note(&format!("{} goes on", settings.resume(&path)));
    }
}
