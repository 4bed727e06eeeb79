//! `gennape predict`: estimated accuracies of networks.

use super::columns::{self, Column};
use super::error::{Error, Failure, note};
use super::input::{self, Assumptions, Networks, ReadFailure};
use super::stdout::{Text, print_json};
use super::table::si;
use super::{ListFormat, latency, model};
use crate::benchmarks::Target;
use crate::estimator::{Answer as Answered, Estimator, Neighbour, Question, Voice, significant};
use crate::graph::ComputationGraph;
use crate::latency::LatencyModel;
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// Estimate the accuracy that networks reach when they are trained.
///
/// On which data set, each network's input and output decide unless --target does: ImageNet-1k for
/// images of at least 64x64, CIFAR-10 or, with 100 outputs, CIFAR-100 for smaller ones. A fine-tuned
/// model estimates the target of its labels instead, in their unit.
///
/// Only the architecture is read, never the weights. Networks of one target are ranked by the
/// estimate. A distance above 1 means that a network lies outside what the model was made from; the
/// estimate is then rounded, and of use for a rough order at best. The interval holds 90 % of networks
/// of families that were left out. Of a network whose output does not depend on its input the
/// accuracy is that of guessing. What is said of a network does not depend on the others.
///
/// Of the targets latency-…, the answer is the time for one input in milliseconds, on the device that
/// the target names; a model that `finetune --latency` made estimates that of a device of yours.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    gennape predict resnet18.onnx convnext_tiny.onnx --neighbours 3\n  \
    gennape predict candidates/ --target cifar100 --format csv\n  \
    gennape predict cells/ --one-family\n  \
    gennape predict resnet18.onnx --target latency-rtx4090")]
pub(crate) struct Arguments {
    #[command(flatten)]
    input: input::NetworkArguments,

    #[command(flatten)]
    model: model::ModelArguments,

    #[command(flatten)]
    question: QuestionArguments,

    /// Also name so many of the nearest labelled networks, with their measured accuracies.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=20))]
    neighbours: Option<u64>,

    /// Also say who spoke: experts, the network's membership in what they know, and their values.
    #[arg(long)]
    explain: bool,

    /// How to print; a table is sorted by rank, the others keep the order of the arguments.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

/// What is asked of networks.
#[derive(Debug, clap::Args)]
pub(crate) struct QuestionArguments {
    /// What to estimate [default: what fits a network's input and output].
    #[arg(long, value_parser = target_parser())]
    target: Option<Asked>,

    /// How the networks are trained: usual, plain or, on ImageNet, strong [default: usual].
    #[arg(long, value_name = "NAME")]
    recipe: Option<String>,

    /// The networks are variants of one small network, such as cells of a search space: rank those
    /// that are unlike all known ones by a training-free score instead of real networks' labels.
    ///
    /// Architectures of --space are.
    #[arg(long)]
    one_family: bool,
}

impl QuestionArguments {
    /// The same for the library.
    pub fn question(&self) -> Result<Question, Error> {
        let Self { target, recipe, one_family } = self;
        let target = match target {
            None => None,
            Some(Asked::Accuracy(target)) => Some(*target),
            Some(Asked::Latency(name)) => {
                let what = "how likely one network is faster than another is not estimated";
                let hint =
                    format!("`gennape predict --target {name} FILE FILE` estimates both latencies");
                return Err(Error::user(what).hint(hint));
            }
        };
        let recipe = recipe.clone();
        Ok(Question { target, recipe, one_family: *one_family, embedding: false })
    }
}

/// What may be estimated.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Accuracy(Target),
    /// By the name of the model.
    Latency(&'static str),
}

fn target_parser() -> impl TypedValueParser<Value = Asked> {
    let names = Target::ALL.iter().map(|target| target.name()).chain(LatencyModel::NAMES);
    PossibleValuesParser::new(names).try_map(|name| {
        let latency = || LatencyModel::NAMES.into_iter().find(|known| *known == name);
        let target = Target::from_name(&name).map(Asked::Accuracy);
        target.or_else(|| latency().map(Asked::Latency)).ok_or("no such target")
    })
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    schema: u32,
    model: &'a str,
    results: Vec<NetworkReport<'a>>,
    errors: &'a [ReadFailure],
}

#[derive(Serialize, JsonSchema)]
struct NetworkReport<'a> {
    #[serde(flatten)]
    answer: &'a Answer<'a>,
    /// Why this target.
    target_reason: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    neighbours: &'a [Neighbour],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    voices: &'a [Voice],
    #[serde(flatten)]
    assumptions: Assumptions,
}

/// One network's line.
#[derive(Serialize, JsonSchema)]
struct Answer<'a> {
    path: &'a str,
    /// What the accuracy is about.
    target: &'a str,
    /// Per cent; of a fine-tuned model in the unit of its labels.
    accuracy: f64,
    /// In the same unit.
    interval: [f64; 2],
    /// Position by accuracy among the networks of the target, from 1.
    rank: usize,
    in_distribution: bool,
    /// If not, it can but guess, which the accuracy says.
    depends_on_input: bool,
    distance: f64,
    parameters: u64,
    macs: u64,
    nodes: usize,
    unknown_operators: usize,
    fingerprint: String,
    /// Whether the model is fine-tuned.
    #[serde(skip)]
    tuned: bool,
}

impl Arguments {
    /// The model of latencies that is asked, if it is one of latencies.
    fn latency(&self) -> Result<Option<LatencyModel>, Error> {
        let target = self.question.target;
        let model = match (self.model.latency()?, target) {
            (Some(model), None) => model,
            (Some(model), Some(_)) => {
                return Err(Error::user(format!("the model '{}' estimates latencies", model.name))
                    .hint("leave --target out"));
            }
            (None, Some(Asked::Latency(name))) if self.model.model.is_some() => {
                return Err(Error::user(format!("--model gives no {name}"))
                    .hint("leave one of --model and --target out"));
            }
            (None, Some(Asked::Latency(name))) => LatencyModel::named(name)
                .ok_or_else(|| Error::user(format!("there is no model {name}")))?,
            (None, _) => return Ok(None),
        };
        let QuestionArguments { recipe, one_family, .. } = &self.question;
        if recipe.is_some() || *one_family || self.neighbours.is_some() {
            let what = "--recipe, --one-family and --neighbours are about accuracies";
            return Err(Error::user(what).hint("leave them out to estimate latencies"));
        }
        Ok(Some(model))
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    if let Some(model) = arguments.latency()? {
        let networks = arguments.input.read()?;
        return latency::predict(&model, networks, arguments.format, arguments.explain);
    }
    let mut networks = arguments.input.read()?;
    let estimator = arguments.model.load()?;
    let mut question = arguments.question.question()?;
    // Architectures of one space are variants of one network.
    question.one_family |= arguments.input.space().is_some();
    let answered = networks.answer(|graphs| {
        let answer = |graph: &ComputationGraph| {
            estimator.answer_one(graph, &question).map_err(|e| Failure::from_error(&e))
        };
        graphs.iter().map(answer).collect()
    });
    let answers = answers(&networks, &answered, &estimator);
    let count = arguments.neighbours.map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let tuned = estimator.manifest().fine_tuning.as_ref().map(|f| f.target.as_str());
    match arguments.format {
        ListFormat::Json => print_json(&Report {
            schema: 2,
            model: &estimator.manifest().name,
            results: answers
                .iter()
                .zip(&answered)
                .zip(&networks.remarks)
                .map(|((answer, known), remarks)| NetworkReport {
                    answer,
                    target_reason: &known.reason,
                    neighbours: &known.neighbours[..count.min(known.neighbours.len())],
                    voices: if arguments.explain { &known.voices } else { &[] },
                    assumptions: Assumptions::new(remarks),
                })
                .collect(),
            errors: &networks.failed,
        })?,
        ListFormat::Csv => columns::print_csv(&columns(tuned), &answers)?,
        ListFormat::Table if answers.is_empty() => {}
        ListFormat::Table => {
            print_table(&answers, tuned)?;
            print_details(&answers, &answered, count, arguments.explain)?;
        }
    }
    if console::user_attended_stderr() {
        note_targets(&answered);
        note_outside(&answers, &estimator);
    }
    note_guesses(&answers, &estimator);
    if arguments.question.target.is_none() && estimator.manifest().fine_tuning.is_none() {
        note_stand_ins(&networks);
    }
    networks.status()
}

/// Says which targets were taken, and why.
fn note_targets(answered: &[Answered]) {
    let mut reasons: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for answer in answered.iter().filter(|a| a.reason != "as asked") {
        if let Some(target) = answer.target {
            *reasons.entry((target.name(), &answer.reason)).or_default() += 1;
        }
    }
    for ((target, reason), count) in reasons {
        let of = if count == 1 { String::new() } else { format!(" of {count} networks") };
        note(&format!("the target{of} is {target}: {reason} (--target takes another)"));
    }
}

/// Says which networks no target fits.
fn note_stand_ins(networks: &Networks) {
    let mut without = networks.iter().filter(|(_, graph)| graph.image().is_none());
    if let Some((path, _)) = without.next() {
        let others = match without.count() {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        note(&format!(
            "{path}{others}: its input is no image of 1 to 4 channels; the target is but a stand-in to rank by"
        ));
    }
}

/// Says what estimates of foreign networks are worth.
fn note_outside(answers: &[Answer], estimator: &Estimator) {
    let outside = answers.iter().filter(|a| !a.in_distribution).count();
    if outside > 0 {
        let from = match &estimator.manifest().fine_tuning {
            Some(_) => "the labels that the model was adapted to",
            None => "what the model was made from",
        };
        note(&format!(
            "{outside} of {} networks are unlike {from}: of use for a rough order at best",
            answers.len()
        ));
    }
}

/// Says which networks are right by chance alone.
fn note_guesses(answers: &[Answer], estimator: &Estimator) {
    let guesses: Vec<&Answer> = answers.iter().filter(|a| !a.depends_on_input).collect();
    let [first, others @ ..] = guesses.as_slice() else { return };
    let others = match others.len() {
        0 => String::new(),
        n => format!(" (and of {n} more)"),
    };
    let so = match estimator.manifest().fine_tuning {
        None => "it can but guess, and the accuracy is that of guessing",
        Some(_) => "it can but guess, which the model's estimate leaves out of account",
    };
    note(&format!(
        "{}: the network's output{others} does not depend on its input: {so}",
        first.path
    ));
}

fn answers<'a>(
    networks: &'a Networks,
    answered: &'a [Answered],
    estimator: &'a Estimator,
) -> Vec<Answer<'a>> {
    let rank = ranks(answered);
    let fine_tuning = estimator.manifest().fine_tuning.as_ref();
    type Network<'a> = (&'a str, &'a ComputationGraph);
    let answer = |(((path, graph), known), rank): ((Network<'a>, &'a Answered), usize)| {
        let estimate = estimator.rounded(&known.estimate);
        Answer {
            path,
            target: match (known.target, fine_tuning) {
                (Some(target), _) => target.name(),
                (None, Some(tuned)) => &tuned.target,
                (None, None) => "",
            },
            accuracy: estimate.accuracy,
            interval: estimate.interval,
            rank,
            in_distribution: estimate.in_distribution,
            depends_on_input: estimate.depends_on_input,
            distance: estimate.distance,
            parameters: graph.parameters(),
            macs: graph.macs(),
            nodes: graph.len(),
            unknown_operators: input::unknown_operators(graph),
            fingerprint: graph.fingerprint().to_string(),
            tuned: fine_tuning.is_some(),
        }
    };
    networks.iter().zip(answered).zip(rank).map(answer).collect()
}

/// Positions by accuracy among the networks of the same target, best first; of equal ones the earlier
/// goes first.
fn ranks(answered: &[Answered]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..answered.len()).collect();
    let accuracy = |i: usize| answered[i].estimate.accuracy;
    order.sort_by(|&a, &b| accuracy(b).total_cmp(&accuracy(a)));
    let mut ranks = vec![0; answered.len()];
    let mut places: BTreeMap<Option<Target>, usize> = BTreeMap::new();
    for i in order {
        let place = places.entry(answered[i].target).or_default();
        *place += 1;
        ranks[i] = *place;
    }
    ranks
}

/// What is printed of each network; `tuned` is the target of a fine-tuned model.
fn columns<'a>(tuned: Option<&'a str>) -> Vec<Column<'a, Answer<'a>>> {
    use Column::{Csv, Table};
    vec![
        Csv("path", |a| a.path.into()),
        Table("network", |a| match a.unknown_operators {
            0 => a.path.to_string(),
            n => format!("{} ({n} unknown)", a.path),
        }),
        Csv("target", |a| a.target.into()),
        Table("target", |a| a.target.to_string()),
        Csv("accuracy", |a| a.accuracy.into()),
        Table(tuned.unwrap_or("accuracy"), |a| match a.tuned {
            false if a.rough() => format!("about {:.0} %   ", a.accuracy),
            false => format!("{:.2} %", a.accuracy),
            true => significant(a.accuracy, 4).to_string(),
        }),
        Csv("interval_low", |a| a.interval[0].into()),
        Csv("interval_high", |a| a.interval[1].into()),
        Table("90 % interval", |a| match a.tuned {
            false if a.rough() => format!("{:.0} – {:.0}  ", a.interval[0], a.interval[1]),
            false => format!("{:.1} – {:.1}", a.interval[0], a.interval[1]),
            true => a.interval.map(|bound| significant(bound, 3).to_string()).join(" – "),
        }),
        Csv("rank", |a| a.rank.into()),
        Table("rank", |a| a.rank.to_string()),
        Csv("in_distribution", |a| a.in_distribution.into()),
        Csv("depends_on_input", |a| a.depends_on_input.into()),
        Csv("distance", |a| a.distance.into()),
        Csv("parameters", |a| a.parameters.into()),
        Table("parameters", |a| si(a.parameters)),
        Csv("macs", |a| a.macs.into()),
        Table("MACs", |a| si(a.macs)),
        Csv("nodes", |a| a.nodes.into()),
        Csv("unknown_operators", |a| a.unknown_operators.into()),
        Csv("fingerprint", |a| a.fingerprint.as_str().into()),
        Table("distance", |a| {
            // Of one width, so that the numbers stay aligned.
            let side = if a.in_distribution { "inside " } else { "outside" };
            format!("{:.2} {side}", a.distance)
        }),
    ]
}

impl Answer<'_> {
    /// Whether digits are left out that nobody vouches for; those of guessing are certain.
    fn rough(&self) -> bool {
        !self.in_distribution && self.depends_on_input
    }
}

fn print_table(answers: &[Answer], tuned: Option<&str>) -> Result<(), Error> {
    let mut ranked: Vec<&Answer> = answers.iter().collect();
    ranked.sort_by_key(|a| (a.target, a.rank));
    let mut out = Text::stdout();
    columns::table(&columns(tuned), ranked).print(&mut out)?;
    out.flush()
}

/// What was asked for besides, network by network.
fn print_details(
    answers: &[Answer],
    answered: &[Answered],
    neighbours: usize,
    explain: bool,
) -> Result<(), Error> {
    let mut out = Text::stdout();
    for (answer, known) in answers.iter().zip(answered) {
        let mut lines = Vec::new();
        if explain {
            lines.push(format!("target {}: {}", answer.target, known.reason));
            for voice in &known.voices {
                let Voice { model, membership, accuracy, .. } = voice;
                let about = voice.about();
                lines.push(format!("{accuracy:.2} with weight {membership:.2}: {about} ({model})"));
            }
        }
        for near in known.neighbours.iter().take(neighbours) {
            let Neighbour { name, accuracy, distance } = near;
            lines.push(format!("{accuracy:.2} % measured, distance {distance:.2}: {name}"));
        }
        if !lines.is_empty() {
            out.line("")?;
            out.line(answer.path)?;
            lines.iter().try_for_each(|line| out.line(&format!("  {line}")))?;
        }
    }
    out.flush()
}
