//! What commands say of latencies.

use super::ListFormat;
use super::columns::{self, Column};
use super::error::{Error, Failure, note};
use super::input::{self, Assumptions, Networks, ReadFailure};
use super::stdout::{Text, print_json};
use super::table::{Table, si};
use crate::graph::ComputationGraph;
use crate::latency::{Agreement, Device, LatencyEstimate, LatencyModel, Ranking, Unit};
use schemars::JsonSchema;
use serde::Serialize;

/// Classes of work that `--explain` names.
const EXPLAINED: usize = 8;

#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    schema: u32,
    model: &'a str,
    device: &'a Device,
    results: Vec<NetworkReport<'a>>,
    errors: &'a [ReadFailure],
}

#[derive(Serialize, JsonSchema)]
struct NetworkReport<'a> {
    #[serde(flatten)]
    answer: &'a Answer<'a>,
    /// Operations that no measured network had.
    unknown_operations: &'a [&'static str],
    /// Where the time goes, in the same unit.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    parts: &'a [(&'static str, f64)],
    #[serde(flatten)]
    assumptions: Assumptions,
}

/// One network's line.
#[derive(Serialize, JsonSchema)]
struct Answer<'a> {
    path: &'a str,
    target: &'a str,
    /// For one input.
    latency: f64,
    unit: Unit,
    interval: [f64; 2],
    /// Position by latency, the fastest first, from 1.
    rank: usize,
    in_distribution: bool,
    parameters: u64,
    macs: u64,
    nodes: usize,
    unknown_operators: usize,
    fingerprint: String,
}

/// Says how long networks take on the model's device.
pub(super) fn predict(
    model: &LatencyModel,
    mut networks: Networks,
    format: ListFormat,
    explain: bool,
) -> Result<(), Error> {
    let estimates = networks.answer(|graphs| {
        let estimate = |graph: &ComputationGraph| match model.estimate(graph) {
            known if known.interval.iter().all(|x| x.is_finite()) => Ok(known),
            _ => Err(Failure::new("the model's estimate of it is not a finite number")),
        };
        graphs.iter().map(estimate).collect()
    });
    let mut order: Vec<usize> = (0..estimates.len()).collect();
    order.sort_by(|&a, &b| estimates[a].latency.total_cmp(&estimates[b].latency));
    let mut ranks = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &i)| ranks[i] = place + 1);
    let answer =
        |((path, graph), (estimate, rank)): ((_, &ComputationGraph), (&LatencyEstimate, _))| {
            Answer {
                path,
                target: &model.name,
                latency: rounded(estimate.latency),
                unit: model.unit,
                interval: estimate.interval.map(rounded),
                rank,
                in_distribution: estimate.in_distribution,
                parameters: graph.parameters(),
                macs: graph.macs(),
                nodes: graph.len(),
                unknown_operators: input::unknown_operators(graph),
                fingerprint: graph.fingerprint().to_string(),
            }
        };
    let answers: Vec<Answer> =
        networks.iter().zip(estimates.iter().zip(ranks)).map(answer).collect();
    match format {
        ListFormat::Json => {
            let known = answers.iter().zip(&estimates).zip(&networks.remarks);
            let results = known.map(|((answer, estimate), remarks)| NetworkReport {
                answer,
                unknown_operations: &estimate.unknown,
                parts: if explain { &estimate.parts } else { &[] },
                assumptions: Assumptions::new(remarks),
            });
            print_json(&Report {
                schema: 2,
                model: &model.name,
                device: &model.device,
                results: results.collect(),
                errors: &networks.failed,
            })?;
        }
        ListFormat::Csv => columns::print_csv(&columns(), &answers)?,
        ListFormat::Table if answers.is_empty() => {}
        ListFormat::Table => {
            print_table(&answers, &order, &model.device)?;
            if explain {
                print_parts(&answers, &estimates)?;
            }
        }
    }
    note_outside(&answers, &estimates);
    networks.status()
}

/// Four significant digits: what lies beyond means nothing.
pub(crate) fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// Says which networks no measured one vouches for.
fn note_outside(answers: &[Answer], estimates: &[LatencyEstimate]) {
    let outside: Vec<_> =
        answers.iter().zip(estimates).filter(|(_, e)| !e.in_distribution).collect();
    let [(first, estimate), others @ ..] = outside.as_slice() else { return };
    let why = match estimate.unknown.as_slice() {
        [] => "its latency or its images are far from all that was measured".to_string(),
        unknown => format!("no measured network has {}", unknown.join(", ")),
    };
    let others = match others.len() {
        0 => String::new(),
        n => format!(" ({n} more are outside too)"),
    };
    note(&format!("{}: outside what was measured: {why}{others}", first.path));
}

/// What is printed of each network.
fn columns<'a>() -> Vec<Column<'static, Answer<'a>>> {
    use Column::{Csv, Table};
    vec![
        Csv("path", |a| a.path.into()),
        Table("network", |a| a.path.to_string()),
        Csv("target", |a| a.target.into()),
        Csv("latency", |a| a.latency.into()),
        Table("ms", |a| a.latency.to_string()),
        Csv("unit", |a| serde_json::json!(a.unit)),
        Csv("interval_low", |a| a.interval[0].into()),
        Csv("interval_high", |a| a.interval[1].into()),
        Table("90 % interval", |a| format!("{} – {}", a.interval[0], a.interval[1])),
        Csv("rank", |a| a.rank.into()),
        Table("rank", |a| a.rank.to_string()),
        Csv("in_distribution", |a| a.in_distribution.into()),
        Csv("parameters", |a| a.parameters.into()),
        Table("parameters", |a| si(a.parameters)),
        Csv("macs", |a| a.macs.into()),
        Table("MACs", |a| si(a.macs)),
        Table("<", |a| if a.in_distribution { "inside".into() } else { "outside".into() }),
        Csv("nodes", |a| a.nodes.into()),
        Csv("unknown_operators", |a| a.unknown_operators.into()),
        Csv("fingerprint", |a| a.fingerprint.as_str().into()),
    ]
}

fn print_table(answers: &[Answer], order: &[usize], device: &Device) -> Result<(), Error> {
    let mut out = Text::stdout();
    columns::table(&columns(), order.iter().map(|&i| &answers[i])).print(&mut out)?;
    let batch = match device.batch {
        Some(1) => " at a time".to_string(),
        Some(most) => format!(" of as many at once as are fastest, up to {most}"),
        None => String::new(),
    };
    out.line(&format!("milliseconds for one input{batch}, on {}", device.name))?;
    out.flush()
}

fn print_parts(answers: &[Answer], estimates: &[LatencyEstimate]) -> Result<(), Error> {
    let mut out = Text::stdout();
    for (answer, estimate) in answers.iter().zip(estimates) {
        out.line("")?;
        out.line(answer.path)?;
        for &(class, part) in estimate.parts.iter().take(EXPLAINED) {
            let share = 100.0 * part / estimate.latency;
            out.line(&format!("  {share:4.1} %, {} ms: {class}", rounded(part)))?;
        }
    }
    out.flush()
}

/// How well networks that were left out were estimated.
pub(super) fn print_agreement(name: &str, agreement: &Agreement) -> Result<(), Error> {
    let mut table = Table::new(&["estimated by", "within ±10 %", "mean error", "Spearman"]);
    for ranking in &agreement.rankings {
        let Ranking { estimated_by, within_tenth, relative_error, spearman, .. } = ranking;
        table.row([
            estimated_by.clone(),
            format!("{:.3}", within_tenth.0),
            format!("{:.1} %", 100.0 * relative_error.0),
            format!("{:.3}", spearman.0),
        ]);
    }
    let Agreement { left_out, groups, networks, coverage, .. } = agreement;
    let mut out = Text::stdout();
    out.line(&format!("{name}: {networks} networks, {groups} {left_out} left out in turn:"))?;
    table.print(&mut out)?;
    out.line(&format!("the 90 % interval holds {:.1} % of them", 100.0 * coverage))?;
    out.flush()
}
