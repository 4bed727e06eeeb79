//! How many candidates a search gets through, and whether stand-ins change what it does.

use crate::Context;
use crate::families;
use crate::report::{Summary, print};
use gennape::benchmarks::BenchmarkError;
use gennape::estimator::{Accuracy, Estimator};
use gennape::graph::{ComputationGraph, Fingerprint};
use gennape::search::algorithms::{Evolution, Guided, Nsga2};
use gennape::search::{Algorithm, Limits, Problem, Record, Search, Start};
use gennape::spaces::Space;
use gennape::spaces::nasbench201::Dataset;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashSet;
use std::time::Instant;

const BUDGET: usize = 2000;

#[derive(Serialize)]
struct Row {
    algorithm: &'static str,
    budget: usize,
    /// Distinct architectures, built and answered.
    candidates_per_second: Summary,
    /// Distinct computation graphs among them, which are estimated.
    networks_per_second: Summary,
    /// Shares of the time.
    proposing: f64,
    building: f64,
    evaluating: f64,
    threads: usize,
}

fn run(problem: &Problem, algorithm: &mut dyn Algorithm<Space>, limits: Limits) -> Record<String> {
    let search = Search::new(&Space::NasBench201, problem).algorithm(algorithm);
    let record = search.budget(limits.budget).seed(limits.seed).run();
    record.expect("cells can be built and estimated")
}

/// Searches of NAS-Bench-201 for accuracy and few operations by the default model.
pub fn measure(context: &Context) -> Result<Value, BenchmarkError> {
    let estimator = Estimator::embedded();
    let problem = Problem::new()
        .maximise("accuracy", Accuracy::expected(&estimator))
        .minimise("macs", |graph: &ComputationGraph| graph.macs() as f64);
    let row = |name, algorithm: fn() -> Box<dyn Algorithm<Space>>| {
        let (mut rates, mut shares, mut total) = ([vec![], vec![]], [0.0; 3], 0.0);
        for seed in 0..context.seeds {
            let started = Instant::now();
            let record = run(&problem, &mut *algorithm(), Limits { budget: BUDGET, seed });
            let seconds = started.elapsed().as_secs_f64();
            let counts = [record.candidates, record.history.len()];
            rates.iter_mut().zip(counts).for_each(|(r, count)| r.push(count as f64 / seconds));
            let spent = record.spent;
            let parts = [spent.proposing, spent.building, spent.evaluating];
            shares.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part.as_secs_f64());
            total += seconds;
        }
        let [proposing, building, evaluating] = shares.map(|share| share / total);
        let [candidates_per_second, networks_per_second] = rates.map(Summary::of);
        let threads = rayon::current_num_threads();
        let algorithm = name;
        Row {
            algorithm,
            budget: BUDGET,
            candidates_per_second,
            networks_per_second,
            proposing,
            building,
            evaluating,
            threads,
        }
    };
    let rows = [
        row("regularised evolution", || Box::new(Evolution::default())),
        row("NSGA-II", || Box::new(Nsga2::default())),
    ];
    let text = |r: &Row| {
        let share = |x: f64| format!("{:.0} %", 100.0 * x);
        let rates = [&r.candidates_per_second, &r.networks_per_second].map(|r| r.text(0, None));
        let shares = [r.proposing, r.building, r.evaluating].map(share);
        [vec![r.algorithm.into()], rates.to_vec(), shares.to_vec(), vec![r.threads.to_string()]]
            .concat()
    };
    print(
        "Candidates of NAS-Bench-201 a second, built, recognised and, when new, estimated",
        &[
            "algorithm",
            "candidates/s",
            "new networks/s",
            "proposing",
            "building",
            "evaluating",
            "threads",
        ],
        &rows.iter().map(text).collect::<Vec<_>>(),
    );
    Ok(serde_json::to_value(rows).expect("rows are JSON"))
}

/// Ends the program when stand-ins make a difference.
pub fn check(context: &Context) -> Result<Value, BenchmarkError> {
    let estimators = vec![&context.nb101];
    let family = families::nasbench201(&context.data, Dataset::Cifar10, estimators)?;
    let limits = Limits { budget: 40, seed: 0 };
    let problem = Problem::new().maximise("label", family.truth());
    let prior = crate::tabled::Prior { space: &family.space, estimator: Some(0) };
    let stand_ins = family.run(&problem, &mut Guided::new(&prior, 5), limits, Start::default());
    let networks = run(&problem, &mut Guided::new(&context.nb101, 5), limits);
    let classes: HashSet<Fingerprint> =
        family.networks.iter().map(|n| family.space.fingerprint(&n.architecture)).collect();
    assert_eq!(classes.len(), family.space.graphs(), "stand-ins are not told apart");
    let tabled = stand_ins.history.iter().map(|e| e.candidate.to_string());
    let built = networks.history.into_iter().map(|e| e.candidate);
    assert_eq!(
        tabled.collect::<Vec<_>>(),
        built.collect::<Vec<_>>(),
        "stand-ins make a difference"
    );
    Ok(Value::Null)
}
