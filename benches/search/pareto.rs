//! How much of the true front a search by estimates finds.

use crate::Context;
use crate::families::{self, Family};
use crate::report::{Summary, print};
use crate::tabled::{Prior, Tabled};
use gennape::benchmarks::BenchmarkError;
use gennape::search::algorithms::{
    Attention, AttentiveSampling, Evolution, Guided, Nsga2, PolicyGradient, RandomSearch,
};
use gennape::search::pareto::{self, Fitness};
use gennape::search::{Algorithm, Evaluated, Limits, Problem, Start};
use gennape::spaces::Architecture;
use gennape::spaces::nasbench201::Dataset;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

const BUDGETS: &[usize] = &[100, 300, 1000, 3000];

#[derive(Serialize, Clone)]
struct Row {
    space: &'static str,
    algorithm: &'static str,
    /// What stands for accuracy.
    by: &'static str,
    budgets: &'static [usize],
    /// Share of the true front's hypervolume after each budget.
    share: Vec<Summary>,
    /// Networks on the proposed front after the last budget.
    proposed: Summary,
}

/// True accuracies and operations on one scale: 0 is the best of the space; 1, the reference
/// point, the median accuracy and the most operations.
struct Scale {
    accuracy: [f64; 2],
    macs: [f64; 2],
}

impl Scale {
    fn losses(&self, accuracy: f64, macs: f64) -> Vec<f64> {
        let place = |x: f64, [best, worst]: [f64; 2]| (x - best) / (worst - best);
        vec![place(accuracy, self.accuracy), place(macs, self.macs)]
    }
}

#[derive(Clone, Copy)]
enum Searcher {
    Attentive,
    Gradient,
    Guided,
    Nsga2,
    Evolution,
    Random,
}

impl Searcher {
    fn name(self) -> &'static str {
        match self {
            Self::Attentive => "attentive sampling",
            Self::Gradient => "policy gradient",
            Self::Guided => "guided",
            Self::Nsga2 => "NSGA-II",
            Self::Evolution => "regularised evolution",
            Self::Random => "random search",
        }
    }

    fn make<'a: 'p, 'p, A: Architecture>(
        self,
        prior: &'p Prior<'a, A>,
    ) -> Box<dyn Algorithm<Tabled<'a, A>> + 'p> {
        match self {
            Self::Attentive => {
                Box::new(AttentiveSampling::new(Attention::BestUp, prior.space.macs()))
            }
            Self::Gradient => {
                let policies = PolicyGradient::new(prior.space);
                Box::new(policies.expect("the space has a fixed number of decisions"))
            }
            Self::Guided => Box::new(Guided::new(prior, 5)),
            Self::Nsga2 => Box::new(Nsga2::default()),
            Self::Evolution => Box::new(Evolution::default()),
            Self::Random => Box::new(RandomSearch),
        }
    }
}

/// What a search takes for accuracy.
#[derive(Clone, Copy)]
enum Measure {
    /// True labels.
    Labels,
    Estimates,
    /// The training-free score.
    Score,
    Parameters,
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Self::Labels => "true labels",
            Self::Estimates => "estimates",
            Self::Score => "training-free score",
            Self::Parameters => "parameters",
        }
    }

    fn problem<'a, A: Architecture>(self, family: &'a Family<'a, A>) -> Problem<'a> {
        let (problem, space) = (Problem::new(), &family.space);
        let problem = match self {
            Self::Labels => problem.maximise("accuracy", family.truth()),
            Self::Estimates => problem.maximise("accuracy", space.estimate(0)),
            Self::Score => problem.maximise("score", space.score()),
            Self::Parameters => problem.maximise("parameters", space.parameters()),
        };
        problem.minimise("macs", space.macs())
    }
}

/// Searches, what they take for accuracy, and how many of the budgets they are given.
const SETTINGS: [(Searcher, Measure, usize); 11] = [
    (Searcher::Nsga2, Measure::Estimates, 4),
    (Searcher::Evolution, Measure::Estimates, 4),
    (Searcher::Attentive, Measure::Estimates, 4),
    (Searcher::Gradient, Measure::Estimates, 4),
    (Searcher::Random, Measure::Estimates, 4),
    (Searcher::Nsga2, Measure::Score, 4),
    (Searcher::Nsga2, Measure::Parameters, 4),
    // What it costs to choose grows with the square of the labels.
    (Searcher::Guided, Measure::Labels, 2),
    (Searcher::Nsga2, Measure::Labels, 4),
    (Searcher::Evolution, Measure::Labels, 4),
    (Searcher::Random, Measure::Labels, 4),
];

fn rows<'a, A: Architecture + 'static>(context: &Context, family: &'a Family<'a, A>) -> Vec<Row> {
    let space = &family.space;
    let macs: Vec<f64> =
        family.networks.par_iter().map(|n| space.facts_of(&n.architecture).macs).collect();
    let scale = Scale {
        accuracy: [family.quantile(0.0), family.quantile(0.5)],
        macs: [
            macs.iter().copied().fold(f64::INFINITY, f64::min),
            macs.iter().copied().fold(0.0, f64::max),
        ],
    };
    let all = family.networks.iter().zip(&macs).map(|(n, &macs)| scale.losses(n.accuracy, macs));
    let whole = pareto::hypervolume(&all.collect::<Vec<_>>(), &[1.0, 1.0]);
    let share = |history: &[Evaluated<A>]| {
        let fitness: Vec<Fitness> = history.iter().map(|e| e.fitness.clone()).collect();
        let front = pareto::front(&fitness);
        let candidates = front.iter().map(|&i| &history[i].candidate);
        let truth = candidates.map(|a| scale.losses(family.truth().of(a), space.facts_of(a).macs));
        [pareto::hypervolume(&truth.collect::<Vec<_>>(), &[1.0, 1.0]) / whole, front.len() as f64]
    };
    let prior = Prior { space, estimator: Some(0) };
    let mut rows = Vec::new();
    for (searcher, measure, count) in SETTINGS {
        let budgets = &BUDGETS[..count];
        let run = |seed| -> Vec<[f64; 2]> {
            let limits = Limits { budget: budgets[count - 1], seed };
            let problem = measure.problem(family);
            let history =
                family.run(&problem, &mut *searcher.make(&prior), limits, Start::default()).history;
            budgets.iter().map(|&budget| share(&history[..budget.min(history.len())])).collect()
        };
        let runs: Vec<Vec<[f64; 2]>> = (0..context.seeds).into_par_iter().map(run).collect();
        rows.push(Row {
            space: family.name,
            algorithm: searcher.name(),
            by: measure.name(),
            budgets,
            share: (0..count).map(|b| Summary::of(runs.iter().map(|r| r[b][0]))).collect(),
            proposed: Summary::of(runs.iter().map(|r| r[count - 1][1])),
        });
        eprintln!("{}", texts(&rows[rows.len() - 1]).join("  "));
    }
    rows
}

fn texts(row: &Row) -> Vec<String> {
    let first = [row.space, row.algorithm, row.by].map(String::from);
    let share = |b: usize| row.share.get(b).map_or(String::new(), |s| s.text(3, None));
    let proposed = vec![row.proposed.text(0, None)];
    [first.to_vec(), (0..BUDGETS.len()).map(share).collect(), proposed].concat()
}

pub fn measure(context: &Context) -> Result<Value, BenchmarkError> {
    let estimators = || vec![&context.nb101];
    let cells = families::nasbench201(&context.data, Dataset::Cifar10, estimators())?;
    let blocks = families::nasbench_macro(&context.data, estimators())?;
    let rows = [rows(context, &cells), rows(context, &blocks)].concat();
    print(
        "Share of the true front's hypervolume (accuracy and MACs) after so many networks",
        &["space", "algorithm", "by", "100", "300", "1000", "3000", "proposed"],
        &rows.iter().map(texts).collect::<Vec<_>>(),
    );
    Ok(serde_json::to_value(rows).expect("rows are JSON"))
}
