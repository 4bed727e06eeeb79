//! `gennape predict`: estimated accuracies of networks.

use super::error::{Error, Failure, note};
use super::input::{self, Assumptions, Networks, ReadFailure};
use super::stdout::{Csv, Text, print_json};
use super::table::{Table, si};
use super::{Format, model};
use crate::encoder::GraphBatch;
use crate::estimator::{Estimate, Estimator, Manifest};
use crate::graph::ComputationGraph;
use serde::Serialize;

/// Estimate the accuracy that networks reach when they are trained on CIFAR-10.
///
/// A fine-tuned model estimates the target of its labels instead, in their unit.
///
/// Only the architecture is read, never the weights. Networks are ranked by the estimate. A
/// distance above 1 means that a network lies outside what the model was trained on; the further
/// outside, the less the estimate is worth. Of a network whose output does not depend on its input
/// the accuracy is that of guessing.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    input: input::NetworkArguments,

    #[command(flatten)]
    model: model::ModelArguments,

    /// How to print; a table is sorted by rank, the others keep the order of the arguments.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    model: &'a str,
    results: Vec<NetworkReport<'a>>,
    errors: &'a [ReadFailure],
}

#[derive(Serialize)]
struct NetworkReport<'a> {
    #[serde(flatten)]
    answer: &'a Answer<'a>,
    #[serde(flatten)]
    assumptions: Assumptions,
}

/// One network's line; its fields are the columns of the CSV too.
#[derive(Serialize)]
struct Answer<'a> {
    path: &'a str,
    /// Per cent; of a fine-tuned model in the unit of its labels.
    accuracy: f64,
    /// In the same unit.
    interval: [f64; 2],
    /// Position by accuracy, from 1.
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
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let mut networks = arguments.input.read()?;
    let estimator = arguments.model.load()?;
    let estimates = networks.answer(|graphs| {
        let checked = |estimate: Estimate| match estimate.is_finite() {
            true => Ok(estimate),
            false => Err(Failure::new("the model's estimate of it is not a finite number")),
        };
        estimator.estimate_batch(&GraphBatch::new(graphs)).into_iter().map(checked).collect()
    });
    let answers = answers(&networks, &estimates, &estimator);
    match arguments.format {
        Format::Json => print_json(&Report {
            schema: 1,
            model: &estimator.manifest().name,
            results: answers
                .iter()
                .zip(&networks.remarks)
                .map(|(answer, r)| NetworkReport { answer, assumptions: Assumptions::new(r) })
                .collect(),
            errors: &networks.failed,
        })?,
        Format::Csv => print_csv(&answers)?,
        Format::Table if answers.is_empty() => {}
        Format::Table => print_table(&answers, estimator.manifest())?,
    }
    let outside = answers.iter().filter(|a| !a.in_distribution).count();
    if outside > 0 && console::user_attended_stderr() {
        let sets: Vec<&str> =
            estimator.manifest().labels().iter().map(|d| d.set.as_str()).collect();
        note(&format!(
            "{outside} of {} networks lie outside what the model was trained on ({}): their \
             estimates rest on training-free measures, of use for a rough order at best",
            answers.len(),
            sets.join(", ")
        ));
    }
    note_guesses(&answers, estimator.manifest());
    networks.status()
}

/// Says which networks are right by chance alone.
fn note_guesses(answers: &[Answer], manifest: &Manifest) {
    let guesses: Vec<&Answer> = answers.iter().filter(|a| !a.depends_on_input).collect();
    let [first, others @ ..] = guesses.as_slice() else { return };
    let others = match others.len() {
        0 => String::new(),
        n => format!(" (and of {n} more)"),
    };
    let so = match manifest.fine_tuning {
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
    estimates: &[Estimate],
    estimator: &Estimator,
) -> Vec<Answer<'a>> {
    let rank = ranks(estimates);
    let in_per_cent = estimator.manifest().fine_tuning.is_none();
    let round_value = |value| if in_per_cent { round(value) } else { significant(value, 6) };
    type Network<'a> = (&'a str, &'a ComputationGraph);
    let answer = |(((path, graph), estimate), rank): ((Network<'a>, &Estimate), usize)| Answer {
        path,
        accuracy: round_value(estimate.accuracy),
        interval: estimate.interval.map(round_value),
        rank,
        in_distribution: estimate.in_distribution,
        depends_on_input: estimate.depends_on_input,
        distance: round(estimate.distance),
        parameters: graph.parameters(),
        macs: graph.macs(),
        nodes: graph.len(),
        unknown_operators: input::unknown_operators(graph),
        fingerprint: graph.fingerprint().to_string(),
    };
    networks.iter().zip(estimates).zip(rank).map(answer).collect()
}

/// Positions by accuracy, best first; of equal ones the earlier goes first.
fn ranks(estimates: &[Estimate]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..estimates.len()).collect();
    order.sort_by(|&a, &b| estimates[b].accuracy.total_cmp(&estimates[a].accuracy));
    let mut ranks = vec![0; estimates.len()];
    for (place, i) in order.into_iter().enumerate() {
        ranks[i] = place + 1;
    }
    ranks
}

/// Four decimals: what lies beyond differs from machine to machine and means nothing.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// So many significant digits, for values in a unit that only the user knows.
fn significant(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

fn print_table(answers: &[Answer], manifest: &Manifest) -> Result<(), Error> {
    let target = manifest.fine_tuning.as_ref().map(|f| f.target.as_str());
    let mut table = Table::new(&[
        "network",
        target.unwrap_or("accuracy"),
        "90 % interval",
        "rank",
        "parameters",
        "MACs",
        "distance",
    ]);
    let mut ranked: Vec<&Answer> = answers.iter().collect();
    ranked.sort_by_key(|a| a.rank);
    for a in ranked {
        // Of one width, so that the numbers stay aligned.
        let side = if a.in_distribution { "inside " } else { "outside" };
        table.row([
            match a.unknown_operators {
                0 => a.path.to_string(),
                n => format!("{} ({n} unknown)", a.path),
            },
            match target {
                None => format!("{:.2} %", a.accuracy),
                Some(_) => significant(a.accuracy, 4).to_string(),
            },
            match target {
                None => format!("{:.1} – {:.1}", a.interval[0], a.interval[1]),
                Some(_) => a.interval.map(|bound| significant(bound, 3).to_string()).join(" – "),
            },
            a.rank.to_string(),
            si(a.parameters),
            si(a.macs),
            format!("{:.2} {side}", a.distance),
        ]);
    }
    let mut out = Text::stdout();
    table.print(&mut out)?;
    out.flush()
}

fn print_csv(answers: &[Answer]) -> Result<(), Error> {
    let mut out = Csv::stdout();
    out.row([
        "path",
        "accuracy",
        "interval_low",
        "interval_high",
        "rank",
        "in_distribution",
        "depends_on_input",
        "distance",
        "parameters",
        "macs",
        "nodes",
        "unknown_operators",
        "fingerprint",
    ])?;
    for answer in answers {
        out.row(answer)?;
    }
    out.flush()
}
