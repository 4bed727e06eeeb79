//! From the best network that has a label to a better one with fewer operations.

use crate::Context;
use crate::families::{self, Family};
use crate::report::{Summary, print};
use crate::tabled::Prior;
use crate::unlabelled::{PROPOSALS, ranked};
use gennape::benchmarks::{BenchmarkError, Labelled, Networks, Set, Split, Subset};
use gennape::estimator::Estimator;
use gennape::search::algorithms::{Evolution, Guided};
use gennape::search::{Limits, Problem, Start};
use gennape::spaces::Architecture;
use gennape::spaces::nasbench201::Dataset;
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashSet;

const BUDGET: usize = 5000;

/// Labels that the guided search may ask for.
const QUERIES: usize = 50;

/// Random networks of which the best is the start.
const SAMPLE: usize = 1000;

/// The start is the best of these.
const DRAWN: &str = "1,000 random networks";
/// The start is the best of those that the model was trained on.
const TRAINED: &str = "the model's training part";

#[derive(Serialize, Clone)]
struct Row {
    space: &'static str,
    method: &'static str,
    /// What the start is the best of.
    from: &'static str,
    /// Networks that are proposed or whose labels are asked for.
    queries: usize,
    /// Accuracy of the start.
    start: Summary,
    /// Networks of the space that are better with fewer operations.
    exist: Summary,
    /// By how much the best found is more accurate, in per cent, and its operations relative to the
    /// start's; of runs that found one.
    gain: Summary,
    macs: Summary,
    seeds: Vec<Outcome>,
}

#[derive(Serialize, Clone)]
struct Outcome {
    start: String,
    exist: usize,
    found: Option<Found>,
}

#[derive(Serialize, Clone)]
struct Found {
    network: String,
    accuracy: f64,
    gain: f64,
    macs: f64,
}

enum Method {
    /// The ten highest estimates of those without a label.
    Estimates,
    /// What a guided search asks for, with the prior of an estimator of the space or, without, the
    /// training-free score.
    Queries(Option<usize>),
}

/// Looks for networks without a label that are better than the best of `drawn`. Those of `trained`
/// have labels too.
fn outcome<'a, A: Architecture>(
    family: &'a Family<'a, A>,
    drawn: &[usize],
    trained: &[usize],
    method: &Method,
    seed: u64,
) -> Outcome {
    let accuracy = |&&i: &&usize| family.networks[i].accuracy;
    let best = drawn.iter().max_by(|a, b| accuracy(a).total_cmp(&accuracy(b)));
    let start = &family.networks[*best.expect("there are labels")];
    let space = &family.space;
    let macs = space.facts_of(&start.architecture).macs;
    let key = |i: &usize| (space.key)(&family.networks[*i].architecture);
    let known: HashSet<String> = drawn.iter().chain(trained).map(key).collect();
    let better = |n: &&Labelled<A>| {
        n.accuracy > start.accuracy
            && !known.contains(&(space.key)(&n.architecture))
            && space.facts_of(&n.architecture).macs < macs
    };
    let exist = family.networks.par_iter().filter(|n| better(n)).count();
    // Less by at least one.
    let fewer = |problem: Problem<'a>| problem.at_most("macs", macs - 1.0, space.macs());
    let from = Start { candidates: vec![start.architecture.clone()], ..Start::default() };
    let candidates: Vec<A> = match method {
        Method::Estimates => {
            let problem = fewer(Problem::new().maximise("accuracy", space.estimate(0)));
            let limits = Limits { budget: BUDGET, seed };
            let record = family.run(&problem, &mut Evolution::default(), limits, from);
            let unknown = ranked(&record).into_iter().map(|e| e.candidate.clone());
            unknown.filter(|a| !known.contains(&(space.key)(a))).take(PROPOSALS).collect()
        }
        Method::Queries(estimator) => {
            let problem = fewer(Problem::new().maximise("accuracy", family.truth()));
            let prior = Prior { space, estimator: *estimator };
            let limits = Limits { budget: QUERIES, seed };
            let record = family.run(&problem, &mut Guided::new(&prior, 5), limits, from);
            ranked(&record).into_iter().map(|e| e.candidate.clone()).collect()
        }
    };
    let truth = |a: &A| family.truth().of(a);
    let found = candidates.iter().max_by(|a, b| truth(a).total_cmp(&truth(b)));
    let found = found.filter(|a| truth(a) > start.accuracy).map(|a| Found {
        network: a.to_string(),
        accuracy: truth(a),
        gain: truth(a) - start.accuracy,
        macs: space.facts_of(a).macs / macs,
    });
    Outcome { start: start.architecture.to_string(), exist, found }
}

fn row<'a, A: Architecture>(
    context: &Context,
    family: &'a Family<'a, A>,
    from: &'static str,
    trained: &[usize],
    method: (&'static str, Method),
) -> Row {
    let run = |seed| match from {
        DRAWN => outcome(family, &drawn(family.networks.len(), seed), trained, &method.1, seed),
        _ => outcome(family, trained, &[], &method.1, seed),
    };
    let seeds: Vec<Outcome> = (0..context.seeds).into_par_iter().map(run).collect();
    let found = || seeds.iter().filter_map(|o| o.found.as_ref());
    let start = |o: &Outcome| family.truth().values[&key_of(family, &o.start)];
    let row = Row {
        space: family.name,
        method: method.0,
        from,
        queries: match method.1 {
            Method::Estimates => PROPOSALS,
            Method::Queries(_) => QUERIES,
        },
        start: Summary::of(seeds.iter().map(start)),
        exist: Summary::of(seeds.iter().map(|o| o.exist as f64)),
        gain: Summary::of(found().map(|f| f.gain)),
        macs: Summary::of(found().map(|f| f.macs)),
        seeds,
    };
    eprintln!("{}", texts(&row).join("  "));
    row
}

/// Positions of random networks.
fn drawn(count: usize, seed: u64) -> Vec<usize> {
    index::sample(&mut ChaCha8Rng::seed_from_u64(seed), count, SAMPLE).into_vec()
}

fn key_of<A: Architecture>(family: &Family<A>, text: &str) -> String {
    (family.space.key)(&text.parse().expect("it is the text of an architecture"))
}

/// What a model was trained on of a set.
fn training(estimator: &Estimator, set: &dyn Networks, name: &str) -> Vec<usize> {
    let set_of = Set::all().find(|s| s.name == name).expect("it is a labelled set");
    let known = Subset::at_least(set, set_of.minimum);
    let train = Split::new(&known, set_of.sample, estimator.manifest().seed).train;
    train.into_iter().map(|i| known.positions[i]).collect()
}

fn texts(row: &Row) -> Vec<String> {
    let possible = row.seeds.iter().filter(|o| o.exist > 0).count();
    let found = row.seeds.iter().filter(|o| o.found.is_some()).count();
    vec![
        row.space.into(),
        row.method.into(),
        row.from.into(),
        row.queries.to_string(),
        row.start.text(2, None),
        row.exist.text(0, None),
        format!("{found} of {possible}"),
        row.gain.text(2, None),
        row.macs.text(2, None),
    ]
}

pub fn measure(context: &Context) -> Result<Value, BenchmarkError> {
    let ten = |model| (model, Method::Estimates);
    let embedded = Estimator::embedded();
    let seen = families::nasbench201(&context.data, Dataset::Cifar10, vec![&embedded])?;
    let trained = training(&embedded, &seen.networks, "nasbench201");
    let model = "gennape-cifar10, 10 proposals";
    let mut rows = vec![
        row(context, &seen, TRAINED, &trained, ten(model)),
        row(context, &seen, DRAWN, &trained, ten(model)),
    ];
    let cells = families::nasbench201(&context.data, Dataset::Cifar10, vec![&context.nb101])?;
    let model = "gennape-nb101, 10 proposals";
    rows.push(row(context, &cells, DRAWN, &[], ten(model)));
    let guided = ("guided, prior gennape-nb101, 50 queries", Method::Queries(Some(0)));
    rows.push(row(context, &cells, DRAWN, &[], guided));
    let cells = families::nasbench101(&context.data, vec![&context.nb101])?;
    let trained = training(&context.nb101, &cells.networks, "nasbench101");
    rows.push(row(context, &cells, TRAINED, &trained, ten(model)));
    rows.push(row(context, &cells, DRAWN, &trained, ten(model)));
    let guided = ("guided, training-free prior, 50 queries", Method::Queries(None));
    rows.push(row(context, &cells, DRAWN, &[], guided));
    print(
        "A better network with fewer operations than the best labelled one",
        &["space", "method", "start: best of", "tried", "start", "exist", "found", "gain", "MACs"],
        &rows.iter().map(texts).collect::<Vec<_>>(),
    );
    Ok(serde_json::to_value(rows).expect("rows are JSON"))
}
