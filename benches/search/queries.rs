//! How many true labels a search asks for until it has found the best network of a space.

use crate::Context;
use crate::families::{self, Family};
use crate::report::{Summary, print};
use crate::tabled::{Labels, Prior, Tabled};
use gennape::benchmarks::BenchmarkError;
use gennape::graph::Fingerprint;
use gennape::search::algorithms::{Evolution, Guided, LocalSearch, RandomSearch};
use gennape::search::{Algorithm, Evaluated, Limits, Next, Problem, Search};
use gennape::spaces::Architecture;
use gennape::spaces::nasbench201::Dataset;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// True values that the guided search queries at a time.
const BATCH: usize = 5;

/// Queries until a run gives up.
const CAP: usize = 2000;

/// The same on NAS-Bench-101.
const CAP_101: usize = 300;

/// After so many queries the best network on NAS-Bench-101 counts.
const AT: usize = 150;

/// What a run has to exceed then, in per cent.
const AIM: f64 = 94.22;

#[derive(Serialize)]
struct Row {
    space: &'static str,
    /// What is queried.
    queried: &'static str,
    algorithm: &'static str,
    /// Queries to the optimum.
    queries: Summary,
    cap: usize,
    /// Highest true accuracy among the first 150 networks.
    best_after_150: Summary,
    /// Share of runs in which it is at least 94.22 %.
    reached_aim: f64,
}

/// Until when a run goes on, and what it finds.
struct Trace {
    found: Option<f64>,
    best: f64,
}

#[derive(Clone, Copy)]
enum Searcher {
    /// With the prior of an estimator of the space or, without, the training-free score.
    Guided(Option<usize>),
    Evolution,
    Local,
    Random,
}

impl Searcher {
    const ALL: [Self; 5] =
        [Self::Guided(Some(0)), Self::Guided(None), Self::Evolution, Self::Local, Self::Random];

    fn name(self) -> &'static str {
        match self {
            Self::Guided(Some(_)) => "guided, prior gennape-nb101",
            Self::Guided(None) => "guided, training-free prior",
            Self::Evolution => "regularised evolution",
            Self::Local => "local search",
            Self::Random => "random search",
        }
    }
}

/// A search for the network that is best by `family`'s labels, querying `queried`.
fn trace<'a, A: Architecture>(
    family: &'a Family<'a, A>,
    queried: &HashMap<String, f64>,
    searcher: Searcher,
    limits: Limits,
) -> Trace {
    let truth = family.truth();
    let problem = Problem::new().maximise("label", Labels { values: queried, key: truth.key });
    let optimum: HashSet<Fingerprint> =
        family.best().map(|a| family.space.fingerprint(a)).collect();
    let prior = Prior {
        space: &family.space,
        estimator: match searcher {
            Searcher::Guided(estimator) => estimator,
            _ => None,
        },
    };
    let mut algorithm: Box<dyn Algorithm<Tabled<'a, A>> + '_> = match searcher {
        Searcher::Guided(_) => Box::new(Guided::new(&prior, BATCH)),
        Searcher::Evolution => Box::new(Evolution::default()),
        Searcher::Local => Box::new(LocalSearch::default()),
        Searcher::Random => Box::new(RandomSearch),
    };
    let (mut count, mut trace) = (0, Trace { found: None, best: f64::NEG_INFINITY });
    let mut observe = |new: &[Evaluated<A>]| {
        for e in new {
            count += 1;
            if count <= AT {
                trace.best = trace.best.max(truth.of(&e.candidate));
            }
            if trace.found.is_none() && e.fingerprint.is_some_and(|f| optimum.contains(&f)) {
                trace.found = Some(count as f64);
            }
        }
        if trace.found.is_some() { Next::Stop } else { Next::Continue }
    };
    let search = Search::new(&family.space, &problem).algorithm(&mut *algorithm);
    let search = search.budget(limits.budget).seed(limits.seed);
    search.observed(&mut observe).expect("every network has a label");
    trace
}

fn row<'a, A: Architecture>(
    context: &Context,
    family: &'a Family<'a, A>,
    queried: (&'static str, &HashMap<String, f64>),
    searcher: Searcher,
    cap: usize,
) -> Row {
    let run = |seed| trace(family, queried.1, searcher, Limits { budget: cap, seed });
    let traces: Vec<Trace> = (0..context.seeds).into_par_iter().map(run).collect();
    let aim = traces.iter().filter(|t| t.best >= AIM).count() as f64;
    let row = Row {
        space: family.name,
        queried: queried.0,
        algorithm: searcher.name(),
        queries: Summary::new(&traces.iter().map(|t| t.found).collect::<Vec<_>>()),
        cap,
        best_after_150: Summary::of(traces.iter().map(|t| t.best)),
        reached_aim: aim / traces.len() as f64,
    };
    eprintln!("{}", texts(&row).join("  "));
    row
}

fn texts(row: &Row) -> Vec<String> {
    vec![
        row.space.into(),
        row.queried.into(),
        row.algorithm.into(),
        row.queries.text(0, Some(row.cap)),
        row.queries.mean_text(0),
        format!("{:.0} %", 100.0 * row.queries.reached),
        row.best_after_150.text(2, None),
    ]
}

/// NAS-Bench-201 and Macro.
pub fn small(context: &Context) -> Result<serde_json::Value, BenchmarkError> {
    let estimators = || vec![&context.nb101];
    let mut rows = Vec::new();
    for (dataset, name, early) in [
        (Dataset::Cifar10, "CIFAR-10", "cifar10_valid_accuracy_12ep"),
        (Dataset::Cifar100, "CIFAR-100", "cifar100_valid_accuracy_12ep"),
        (Dataset::ImageNet16_120, "ImageNet16-120", "imagenet16_120_valid_accuracy_12ep"),
    ] {
        let family = families::nasbench201(&context.data, dataset, estimators())?;
        let early = families::twelve_epochs(&context.data, early)?;
        let [at_12, at_200] = match name {
            "CIFAR-10" => ["CIFAR-10, 12 epochs", "CIFAR-10, 200 epochs"],
            "CIFAR-100" => ["CIFAR-100, 12 epochs", "CIFAR-100, 200 epochs"],
            _ => ["ImageNet16-120, 12 epochs", "ImageNet16-120, 200 epochs"],
        };
        for queried in [(at_12, &early), (at_200, &family.labels)] {
            for searcher in Searcher::ALL {
                rows.push(row(context, &family, queried, searcher, CAP));
            }
        }
    }
    let family = families::nasbench_macro(&context.data, estimators())?;
    for searcher in Searcher::ALL {
        let queried = ("CIFAR-10, 50 epochs", &family.labels);
        rows.push(row(context, &family, queried, searcher, CAP));
    }
    Ok(finish("Queries of true labels to the best network", &rows))
}

/// NAS-Bench-101, without a model that has seen its labels.
pub fn large(context: &Context) -> Result<serde_json::Value, BenchmarkError> {
    let family = families::nasbench101(&context.data, Vec::new())?;
    let mut rows = Vec::new();
    for searcher in Searcher::ALL.into_iter().skip(1) {
        let queried = ("test accuracy", &family.labels);
        rows.push(row(context, &family, queried, searcher, CAP_101));
    }
    Ok(finish("NAS-Bench-101: queries of the mean test accuracy to the best network", &rows))
}

fn finish(title: &str, rows: &[Row]) -> serde_json::Value {
    let header = ["space", "queried", "algorithm", "queries", "mean", "found", "best after 150"];
    print(title, &header, &rows.iter().map(texts).collect::<Vec<_>>());
    serde_json::to_value(rows).expect("rows are JSON")
}
