//! The best networks that a search proposes without a single true label.

use crate::Context;
use crate::families::{self, Family};
use crate::report::{Summary, print};
use gennape::benchmarks::BenchmarkError;
use gennape::search::algorithms::Evolution;
use gennape::search::{Evaluated, Limits, Problem, Record, Start};
use gennape::spaces::Architecture;
use gennape::spaces::nasbench201::Dataset;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

const BUDGET: usize = 5000;

/// Proposals that somebody would train.
pub const PROPOSALS: usize = 10;

#[derive(Serialize)]
struct Row {
    space: &'static str,
    networks: usize,
    /// What the search goes by.
    by: &'static str,
    budget: usize,
    /// True accuracy of the proposal with the highest estimate, and its true rank in the space.
    accuracy: Summary,
    rank: Summary,
    /// The same of the truly best of the ten proposals with the highest estimates.
    best_of_ten_accuracy: Summary,
    best_of_ten_rank: Summary,
    /// Highest accuracy in the space.
    best: f64,
}

/// What a search met, the highest value of the first measure first.
pub fn ranked<C>(record: &Record<C>) -> Vec<&Evaluated<C>> {
    let mut ranked: Vec<&Evaluated<C>> =
        record.history.iter().filter(|e| e.fitness.violation == 0.0).collect();
    ranked.sort_by(|a, b| b.values[0].unwrap_or(0.0).total_cmp(&a.values[0].unwrap_or(0.0)));
    ranked
}

fn row<'a, A: Architecture>(
    context: &Context,
    family: &'a Family<'a, A>,
    (by, score): (&'static str, bool),
) -> Row {
    let run = |seed| -> [f64; 2] {
        let problem = match score {
            true => Problem::new().maximise("score", family.space.score()),
            false => Problem::new().maximise("accuracy", family.space.estimate(0)),
        };
        let limits = Limits { budget: BUDGET, seed };
        let record = family.run(&problem, &mut Evolution::default(), limits, Start::default());
        let truth = ranked(&record).into_iter().take(PROPOSALS);
        let truth: Vec<f64> = truth.map(|e| family.truth().of(&e.candidate)).collect();
        [truth[0], truth.iter().copied().fold(f64::NEG_INFINITY, f64::max)]
    };
    let runs: Vec<[f64; 2]> = (0..context.seeds).into_par_iter().map(run).collect();
    let accuracy = |of: usize| Summary::of(runs.iter().map(|r| r[of]));
    let rank = |of: usize| Summary::of(runs.iter().map(|r| family.rank(r[of]) as f64));
    let row = Row {
        space: family.name,
        networks: family.networks.len(),
        by,
        budget: BUDGET,
        accuracy: accuracy(0),
        rank: rank(0),
        best_of_ten_accuracy: accuracy(1),
        best_of_ten_rank: rank(1),
        best: family.quantile(0.0),
    };
    eprintln!("{}", texts(&row).join("  "));
    row
}

fn texts(row: &Row) -> Vec<String> {
    vec![
        row.space.into(),
        row.networks.to_string(),
        row.by.into(),
        row.rank.text(0, None),
        row.accuracy.text(2, None),
        row.best_of_ten_rank.text(0, None),
        row.best_of_ten_accuracy.text(2, None),
        format!("{:.2}", row.best),
    ]
}

pub fn measure(context: &Context) -> Result<Value, BenchmarkError> {
    let estimators = || vec![&context.nb101];
    let unseen = ("gennape-nb101, no label of the space seen", false);
    let score = ("training-free score", true);
    let seen = ("gennape-nb101, trained on 40,000 labels of the space", false);
    let cells = families::nasbench201(&context.data, Dataset::Cifar10, estimators())?;
    let mut rows = vec![row(context, &cells, unseen), row(context, &cells, score)];
    let blocks = families::nasbench_macro(&context.data, estimators())?;
    rows.extend([row(context, &blocks, unseen), row(context, &blocks, score)]);
    let cells = families::nasbench101(&context.data, estimators())?;
    rows.extend([row(context, &cells, seen), row(context, &cells, score)]);
    print(
        "The best network by estimates alone",
        &["space", "networks", "by", "rank", "accuracy", "best of 10", "accuracy", "highest"],
        &rows.iter().map(texts).collect::<Vec<_>>(),
    );
    Ok(serde_json::to_value(rows).expect("rows are JSON"))
}
