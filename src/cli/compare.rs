//! `gennape compare`: which of two networks is better.

use super::Format;
use super::error::{Error, Failure};
use super::input::{NetworkArguments, Networks};
use super::model::ModelArguments;
use super::predict::QuestionArguments;
use super::stdout::{Text, print_json};
use super::table::{Table, si};
use crate::estimator::Answer;
use crate::graph::ComputationGraph;
use crate::proxies::{DESCRIPTORS, Descriptors, Proxies, descriptors};
use schemars::JsonSchema;
use serde::Serialize;

/// Tell how probable it is that one network is better than another, and what tells them apart.
///
/// The probability is calibrated on pairs of real networks of families that were left out: of pairs
/// with 80 %, about 80 in 100 are in that order. Both are asked about the same target.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    input: NetworkArguments,

    #[command(flatten)]
    model: ModelArguments,

    #[command(flatten)]
    question: QuestionArguments,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Report<'a> {
    schema: u32,
    target: Option<&'static str>,
    /// That the first is better than the second.
    probability: f64,
    networks: Vec<Compared<'a>>,
    /// Descriptors that differ, those that differ most (by the spread of labelled networks) first.
    differences: Vec<Difference>,
}

impl<'a> Report<'a> {
    /// What is said of two networks that were asked about the same target.
    pub fn new(paths: [&'a str; 2], graphs: &[ComputationGraph], answers: &[Answer]) -> Self {
        let one = |((path, graph), answer): ((_, &ComputationGraph), &Answer)| Compared {
            path,
            accuracy: answer.estimate.accuracy,
            interval: answer.estimate.interval,
            in_distribution: answer.estimate.in_distribution,
            parameters: graph.parameters(),
            macs: graph.macs(),
        };
        Self {
            schema: 1,
            target: answers[0].target.map(|t| t.name()),
            probability: answers[0].better_than(&answers[1]),
            networks: paths.into_iter().zip(graphs).zip(answers).map(one).collect(),
            differences: differences(graphs),
        }
    }
}

#[derive(Serialize, JsonSchema)]
struct Compared<'a> {
    path: &'a str,
    accuracy: f64,
    interval: [f64; 2],
    in_distribution: bool,
    parameters: u64,
    macs: u64,
}

#[derive(Serialize, JsonSchema)]
struct Difference {
    descriptor: &'static str,
    values: [f64; 2],
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let mut networks = arguments.input.read()?;
    let estimator = arguments.model.load()?;
    let question = arguments.question.question()?;
    let answers = networks.answer(|graphs| {
        let answer = |graph: &ComputationGraph| {
            estimator.answer_one(graph, &question).map_err(|e| Failure::from_error(&e))
        };
        graphs.iter().map(answer).collect()
    });
    networks.status()?;
    let [a, b] = answers.as_slice() else {
        let count = answers.len();
        return Err(Error::user(format!("two networks are needed to compare, not {count}"))
            .hint("gennape predict ranks any number of networks"));
    };
    if a.target != b.target {
        let name = |answer: &Answer| answer.target.map_or("another", |t| t.name());
        let (a, b) = (name(a), name(b));
        return Err(Error::user(format!(
            "the first network is one for {a}, the second one for {b}"
        ))
        .hint(format!("--target {a} asks the same of both")));
    }
    let [first, second] = networks.paths.as_slice() else { return Ok(()) };
    let report = Report::new([first, second], &networks.graphs, &answers);
    match arguments.format {
        Format::Json => print_json(&report),
        Format::Table => print(&networks, &answers, report.probability, &report.differences),
    }
}

/// What tells two networks apart, the greatest relative differences first.
fn differences(graphs: &[ComputationGraph]) -> Vec<Difference> {
    let of = |graph: &ComputationGraph| descriptors(graph, &Proxies::new(graph));
    let both: Vec<Descriptors> = graphs.iter().map(of).collect();
    let [a, b] = both.as_slice() else { return Vec::new() };
    let scale = |i: usize| a[i].abs().max(b[i].abs()).max(1.0);
    let mut order: Vec<usize> = (0..DESCRIPTORS.len()).filter(|&i| a[i] != b[i]).collect();
    let size = |i: usize| (a[i] - b[i]).abs() / scale(i);
    order.sort_by(|&i, &j| size(j).total_cmp(&size(i)));
    let difference = |i: usize| Difference { descriptor: DESCRIPTORS[i].0, values: [a[i], b[i]] };
    order.into_iter().map(difference).collect()
}

/// Differences that people are told of.
const TOLD: usize = 6;

fn print(
    networks: &Networks,
    answers: &[Answer],
    probability: f64,
    differences: &[Difference],
) -> Result<(), Error> {
    let [a, b] = networks.paths.as_slice() else { return Ok(()) };
    let mut table = Table::new(&["", a, b]);
    let accuracy = |answer: &Answer| {
        let sign = if answer.estimate.in_distribution { "" } else { "about " };
        format!("{sign}{:.1} %", answer.estimate.accuracy)
    };
    let interval = |answer: &Answer| {
        format!("{:.1} – {:.1}", answer.estimate.interval[0], answer.estimate.interval[1])
    };
    let target = answers[0].target.map_or("estimate", |t| t.name());
    let both = |of: &dyn Fn(usize) -> String| [of(0), of(1)];
    let graphs = &networks.graphs;
    let depth = |i: usize| Proxies::new(&graphs[i]).paths.longest.to_string();
    for (name, [a, b]) in [
        (target, both(&|i| accuracy(&answers[i]))),
        ("90 % interval", both(&|i| interval(&answers[i]))),
        ("parameters", both(&|i| si(graphs[i].parameters()))),
        ("MACs", both(&|i| si(graphs[i].macs()))),
        ("weighted layers on the longest path", both(&depth)),
    ] {
        table.row([name.to_string(), a, b]);
    }
    for difference in differences.iter().take(TOLD) {
        let [a, b] = difference.values.map(|x| format!("{x:.2}"));
        table.row([difference.descriptor.to_string(), a, b]);
    }
    let mut out = Text::stdout();
    table.print(&mut out)?;
    out.line("")?;
    let (better, worse, share) = match probability >= 0.5 {
        true => (a, b, probability),
        false => (b, a, 1.0 - probability),
    };
    out.line(&format!("{better} is better than {worse} with probability {:.0} %", 100.0 * share))?;
    let foreign = answers.iter().zip([a, b]).filter(|(answer, _)| !answer.estimate.in_distribution);
    for (_, path) in foreign {
        out.line(&format!("{path} is unlike all labelled networks: nothing vouches for that"))?;
    }
    out.flush()
}
