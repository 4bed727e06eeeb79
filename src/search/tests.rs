//! What every algorithm promises, and how well each does where the best is known.

use super::algorithms::{
    Attention, AttentiveSampling, Evolution, Guided, LocalSearch, Nsga2, PolicyGradient,
    RandomSearch, Surrogate,
};
use super::toy::{Candidate, Toy};
use super::{
    Algorithm, CandidateError, Evaluated, Limits, Next, Problem, Record, Search, SearchSpace,
    Start, Stop, pareto,
};
use crate::graph::ComputationGraph;
use crate::lower::lower;
use crate::model_graph::{Attributes, Builder, DataType, ModelGraph, OpType, TensorData};
use crate::spaces::nasbench_macro::{Block, MacroNetwork};
use crate::spaces::{Architecture, Space};
use ndarray::Array2;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

fn cost(graph: &ComputationGraph) -> f64 {
    Candidate::from_graph(graph).cost()
}

fn quality(graph: &ComputationGraph) -> f64 {
    Candidate::from_graph(graph).quality()
}

/// Every algorithm with its name, but the guided one, which looks at many networks for each that it asks
/// for; random search, which the others are compared with, is the first.
fn algorithms<S: SearchSpace>(
    space: &S,
    cost: fn(&ComputationGraph) -> f64,
) -> Vec<(&'static str, Box<dyn Algorithm<S>>)>
where
    S::Candidate: 'static,
{
    vec![
        ("random", Box::new(RandomSearch)),
        ("evolution", Box::new(Evolution::default())),
        ("local", Box::new(LocalSearch::default())),
        ("nsga2", Box::new(Nsga2::default())),
        ("attentive", Box::new(AttentiveSampling::new(Attention::BestUp, cost))),
        ("policy", Box::new(PolicyGradient::new(space).unwrap())),
    ]
}

fn names() -> impl Iterator<Item = &'static str> {
    algorithms(&Toy, cost).into_iter().map(|(name, _)| name)
}

fn algorithm<S: SearchSpace>(
    name: &str,
    space: &S,
    cost: fn(&ComputationGraph) -> f64,
) -> Box<dyn Algorithm<S>>
where
    S::Candidate: 'static,
{
    algorithms(space, cost).into_iter().find(|(known, _)| *known == name).unwrap().1
}

fn run<S: SearchSpace>(
    space: &S,
    problem: &Problem,
    algorithm: &mut dyn Algorithm<S>,
    limits: Limits,
) -> Record<S::Candidate> {
    let search = Search::new(space, problem).algorithm(algorithm);
    search.budget(limits.budget).seed(limits.seed).run().unwrap()
}

fn toy(name: &str, problem: &Problem, budget: usize, seed: u64) -> Record<Candidate> {
    run(&Toy, problem, &mut *algorithm(name, &Toy, cost), Limits { budget, seed })
}

fn bounded<'a>() -> Problem<'a> {
    Problem::new().maximise("quality", quality).at_most("cost", 20.0, cost)
}

fn both<'a>() -> Problem<'a> {
    Problem::new().maximise("quality", quality).minimise("cost", cost)
}

/// How many candidates are better than what five runs found, one run after the other.
fn better_than_found(name: &str) -> Vec<usize> {
    let allowed: Vec<f64> =
        Candidate::all().filter(|c| c.cost() <= 20.0).map(|c| c.quality()).collect();
    let found = |seed| {
        let record = toy(name, &bounded(), 600, seed);
        let best = record.front()[0].candidate.quality();
        allowed.iter().filter(|quality| **quality > best + 1e-9).count()
    };
    (0..5).map(found).collect()
}

#[test]
fn algorithms_come_close_to_the_optimum() {
    let random: usize = better_than_found("random").iter().sum();
    for name in names().skip(1) {
        let better = better_than_found(name);
        // Attentive sampling goes for all costs alike, also those where the optimum is not.
        let times = if name == "attentive" { 1 } else { 4 };
        assert!(times * better.iter().sum::<usize>() < random, "{name}: {better:?}, {random}");
    }
}

/// Share of the volume that the true front dominates.
fn share(name: &str, budget: usize) -> f64 {
    let reference = [0.0, 40.0];
    let volume = |points: &[Vec<f64>]| pareto::hypervolume(points, &reference);
    let all: Vec<Vec<f64>> = Candidate::all().map(|c| vec![-c.quality(), c.cost()]).collect();
    let found = |seed| {
        let record = toy(name, &both(), budget, seed);
        let front: Vec<Vec<f64>> =
            record.front().iter().map(|e| e.fitness.losses.clone()).collect();
        volume(&front)
    };
    (0..4).map(found).sum::<f64>() / 4.0 / volume(&all)
}

#[test]
fn algorithms_come_close_to_the_front() {
    let random = share("random", 500);
    for name in names().skip(1) {
        let share = share(name, 500);
        assert!(share > random + 0.25 * (1.0 - random), "{name}: {share}, {random}");
    }
}

/// MACs and parameters of NAS-Bench-Macro are sums over layers, so 17 networks tell those of all
/// 6,561. More MACs for fewer parameters: early layers have the better bargains.
#[test]
fn algorithms_find_the_front_of_a_real_space() {
    let measures = |blocks: [Block; 8]| {
        let graph = lower(&MacroNetwork::new(blocks).build()).unwrap();
        [-(graph.macs() as f64), graph.parameters() as f64]
    };
    let base = [Block::Identity; 8];
    let of_base = measures(base);
    let mut all = vec![of_base.to_vec()];
    for layer in 0..8 {
        let mut gains = vec![[0.0; 2]];
        for block in [Block::MbConv3Kernel3, Block::MbConv6Kernel5] {
            let mut blocks = base;
            blocks[layer] = block;
            let of = measures(blocks);
            gains.push([of[0] - of_base[0], of[1] - of_base[1]]);
        }
        let sums = |point: &Vec<f64>| {
            gains.iter().map(|g| vec![point[0] + g[0], point[1] + g[1]]).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(sums).collect();
    }
    let mixed: MacroNetwork = "21021120".parse().unwrap();
    assert!(all.contains(&measures(*mixed.blocks()).to_vec()), "the measures are sums");

    let worst = |objective: usize| all.iter().map(|p| p[objective]).fold(f64::MIN, f64::max);
    let reference = [worst(0), worst(1)];
    let space = Space::NasBenchMacro;
    let share = |name: &str| {
        let problem = Problem::new()
            .maximise("MACs", |graph: &ComputationGraph| graph.macs() as f64)
            .minimise("parameters", |graph: &ComputationGraph| graph.parameters() as f64);
        let mut algorithm = algorithm(name, &space, |graph| graph.macs() as f64);
        let record = run(&space, &problem, &mut *algorithm, Limits { budget: 200, seed: 0 });
        let distinct: HashSet<_> = record.history.iter().map(|e| e.fingerprint).collect();
        assert_eq!(distinct.len(), 200, "a graph counts once");
        let front: Vec<Vec<f64>> =
            record.front().iter().map(|e| e.fitness.losses.clone()).collect();
        pareto::hypervolume(&front, &reference) / pareto::hypervolume(&all, &reference)
    };
    let random = share("random");
    for name in names().skip(1) {
        let share = share(name);
        assert!(share > random, "{name}: {share}, {random}");
    }
}

#[test]
fn attentive_sampling_covers_all_costs_and_attends_to_what_it_is_told() {
    let problem = Problem::new().maximise("quality", quality);
    // Costs go up to 39.
    let ends = |record: &Record<Candidate>| {
        let costs = record.history.iter().map(|e| e.candidate.cost());
        costs.filter(|cost| !(8.0..=31.0).contains(cost)).count()
    };
    let mean = |record: &Record<Candidate>| {
        let sum: f64 = record.history.iter().map(|e| e.candidate.quality()).sum();
        sum / record.history.len() as f64
    };
    let limits = Limits { budget: 400, seed: 0 };
    let attend =
        |attention| run(&Toy, &problem, &mut AttentiveSampling::new(attention, cost), limits);
    let (best, worst) = (attend(Attention::BestUp), attend(Attention::WorstUp));
    let random = run(&Toy, &problem, &mut RandomSearch, limits);
    let ends = [&best, &random].map(ends);
    assert!(ends[0] > 2 * ends[1], "{ends:?}");
    assert!(mean(&best) > mean(&worst) + 2.0, "{} and {}", mean(&best), mean(&worst));
}

#[test]
fn policy_gradient_wants_a_fixed_number_of_decisions() {
    assert!(PolicyGradient::new(&Space::TwoPath).is_err());
    // Where most choices make up no cell.
    let cells = Space::NasBench101;
    let problem = Problem::new().minimise("depth", |graph: &ComputationGraph| graph.depth() as f64);
    let mut policy = PolicyGradient::new(&cells).unwrap();
    let record = run(&cells, &problem, &mut policy, Limits { budget: 40, seed: 0 });
    assert_eq!(record.stop, Stop::Budget);
}

fn histories_are_equal(a: &Record<Candidate>, b: &Record<Candidate>, name: &str) {
    assert_eq!(a.history, b.history, "{name}");
    assert_eq!(a.stop, b.stop, "{name}");
}

#[test]
fn a_run_depends_on_nothing_but_its_seed() {
    for name in names() {
        let record = toy(name, &bounded(), 150, 3);
        histories_are_equal(&toy(name, &bounded(), 150, 3), &record, name);
        assert_ne!(toy(name, &bounded(), 150, 4).history, record.history, "{name}");
    }
}

#[test]
fn an_interrupted_run_goes_on_as_if_it_were_not() {
    let start = || {
        let candidates = vec![Candidate([0; 7]), Candidate([3; 7]), Candidate([0; 7])];
        Start { candidates, known: HashMap::new() }
    };
    let limits = Limits { budget: 200, seed: 1 };
    for name in names() {
        let measured = AtomicUsize::new(0);
        let problem = || {
            let counted = |graph: &ComputationGraph| {
                measured.fetch_add(1, Ordering::Relaxed);
                cost(graph)
            };
            Problem::new().maximise("quality", quality).at_most("cost", 20.0, counted)
        };
        let go = |start, enough: usize| {
            let mut seen = 0;
            let mut observe = |news: &[Evaluated<Candidate>]| {
                seen += news.len();
                if seen < enough { Next::Continue } else { Next::Stop }
            };
            let mut algorithm = algorithm(name, &Toy, cost);
            let problem = problem();
            let search = Search::new(&Toy, &problem).algorithm(&mut *algorithm).start(start);
            search.budget(limits.budget).seed(limits.seed).observed(&mut observe).unwrap()
        };
        let whole = go(start(), usize::MAX);
        assert_eq!(whole.history[0].candidate, Candidate([0; 7]), "{name}");
        assert_eq!(whole.history[1].candidate, Candidate([3; 7]), "{name}");
        measured.store(0, Ordering::Relaxed);
        let part = go(start(), 120);
        assert_eq!(part.stop, Stop::Interrupted);
        assert_eq!(part.history, whole.history[..part.history.len()], "{name}");
        let values = |e: &Evaluated<Candidate>| (e.candidate.to_string(), e.values.clone());
        let known = part.history.iter().map(values).collect();
        histories_are_equal(&go(Start { known, ..start() }, usize::MAX), &whole, name);
        assert_eq!(measured.into_inner(), whole.history.len(), "{name}: nothing measured twice");
    }
}

/// What the algorithm sees stays the same, and a measure of the same name keeps its part.
#[test]
fn what_is_observed_is_recorded_and_decides_nothing() {
    let (plain, watched) = (bounded(), bounded().observe("depth", |_: &ComputationGraph| 7.0));
    let watched = watched.observe("quality", |_: &ComputationGraph| f64::NAN);
    assert_eq!(watched.measures().collect::<Vec<_>>(), ["quality", "cost", "depth"]);
    assert_eq!([0, 1, 2].map(|measure| watched.decides(measure)), [true, true, false]);
    let [plain, watched] = [plain, watched].map(|problem| toy("evolution", &problem, 100, 0));
    assert_eq!(plain.history.len(), watched.history.len());
    for (plain, watched) in plain.history.iter().zip(&watched.history) {
        assert_eq!((&plain.candidate, &plain.fitness), (&watched.candidate, &watched.fitness));
        let observed = (watched.fitness.violation == 0.0).then_some(7.0);
        assert_eq!([&plain.values[..], &[observed]].concat(), watched.values);
    }
}

#[test]
fn a_record_is_what_it_says() {
    for name in names() {
        let problem = both().at_most("cost", 20.0, cost);
        let record = toy(name, &problem, 150, 0);
        let meets = |e: &&Evaluated<Candidate>| e.candidate.cost() <= 20.0;
        let feasible: Vec<_> = record.history.iter().filter(meets).collect();
        assert_eq!((record.stop, feasible.len()), (Stop::Budget, 150), "{name}");
        let distinct: HashSet<_> = record.history.iter().map(|e| e.candidate).collect();
        assert_eq!(distinct.len(), record.history.len(), "{name}");
        for e in &record.history {
            let quality = meets(&e).then(|| e.candidate.quality());
            assert_eq!(e.values, [quality, Some(e.candidate.cost())], "{name}");
        }
        let front = record.front();
        assert!(front.iter().all(meets), "{name}");
        let beaten = |e: &&&Evaluated<Candidate>| {
            feasible.iter().any(|other| other.fitness.dominates(&e.fitness))
        };
        assert_eq!(front.iter().find(beaten), None, "{name}");
        assert!(feasible.iter().all(|e| {
            front.iter().any(|f| f.fitness == e.fitness || f.fitness.dominates(&e.fitness))
        }));
    }
}

/// What can't be measured is not on the front, and a space that is used up ends the search.
/// Many cells of NAS-Bench-201 are one network: each is told what became of its own.
#[test]
fn candidates_are_told_what_became_of_their_network() {
    struct Overheard(Evolution<String>, HashMap<String, Evaluated<String>>);
    impl Algorithm<Space> for Overheard {
        fn ask(&mut self, space: &Space, rng: &mut rand_chacha::ChaCha8Rng) -> Vec<String> {
            self.0.ask(space, rng)
        }
        fn tell(&mut self, told: &[Evaluated<String>]) {
            self.1.extend(told.iter().map(|e| (e.candidate.clone(), e.clone())));
            Algorithm::<Space>::tell(&mut self.0, told);
        }
    }
    let space = Space::NasBench201;
    let problem = Problem::new().minimise("macs", |graph: &ComputationGraph| graph.macs() as f64);
    let mut overheard = Overheard(Evolution::default(), HashMap::new());
    let record = run(&space, &problem, &mut overheard, Limits { budget: 130, seed: 0 });
    let known: HashSet<_> = record.history.iter().map(|e| e.fingerprint).collect();
    assert_eq!(known.len(), record.history.len());
    assert!(record.candidates > known.len() + 20, "{} of {}", known.len(), record.candidates);
    assert!(overheard.1.len() > 150);
    for (candidate, told) in overheard.1 {
        let graph = lower(&space.build(&candidate).unwrap()).unwrap();
        assert_eq!(told.fingerprint, Some(graph.fingerprint()), "{candidate}");
        let expected = graph.depends_on_input().then(|| graph.macs() as f64);
        assert_eq!(told.values, [expected], "{candidate}");
    }
}

#[test]
fn searches_end_and_leave_out_what_has_no_number() {
    let cheap =
        |graph: &ComputationGraph| if cost(graph) < 5.0 { f64::NAN } else { quality(graph) };
    let problem = Problem::new().maximise("quality", cheap).minimise("cost", cost);
    let record = toy("nsga2", &problem, 300, 0);
    assert!(record.history.iter().any(|e| e.candidate.cost() < 5.0));
    assert!(record.front().iter().all(|e| e.candidate.cost() >= 5.0));

    let few = Problem::new().maximise("quality", quality).at_most("cost", 1.0, cost);
    let record = toy("local", &few, 20_000, 0);
    assert_eq!(record.stop, Stop::Exhausted);

    // Long before all 16,384 are tried.
    let none = Problem::new().maximise("quality", quality).at_most("cost", -1.0, cost);
    let record = toy("random", &none, 1, 0);
    assert_eq!(record.stop, Stop::Exhausted);
    assert!(record.candidates < 14_000, "{}", record.candidates);
}

/// Where nothing keeps the constraints, a search ends by what it asked for, and what it looks at
/// for that must not be many times as much.
#[test]
fn guided_searches_give_up_in_time() {
    struct Watched(AtomicUsize);
    impl Surrogate for Watched {
        fn features(&self, graphs: &[ComputationGraph]) -> Array2<f64> {
            self.0.fetch_add(graphs.len(), Ordering::Relaxed);
            let features = graphs.iter().map(|graph| [cost(graph), 1.0]);
            Array2::from(features.collect::<Vec<_>>())
        }

        fn prior(&self, graphs: &[ComputationGraph]) -> Vec<f64> {
            graphs.iter().map(cost).collect()
        }
    }
    // From the outset, or after a few that do.
    for most in [-1.0, 2.0] {
        let problem = Problem::new().maximise("quality", quality).at_most("cost", most, cost);
        let watched = Watched(AtomicUsize::new(0));
        let limits = Limits { budget: 1000, seed: 0 };
        let record = run(&Toy, &problem, &mut Guided::new(&watched, 5), limits);
        assert_eq!(record.stop, Stop::Exhausted);
        let (looked, asked) = (watched.0.into_inner(), record.candidates);
        assert!(looked < 8 * asked, "{most}: {looked} for {asked}");
    }
}

/// A space that fails over some of its candidates, and whose others sometimes let nothing pass.
struct Faulty;

impl SearchSpace for Faulty {
    type Candidate = Candidate;

    fn sample(&self, rng: &mut dyn rand::RngCore) -> Candidate {
        Toy.sample(rng)
    }

    fn mutate(&self, candidate: &Candidate, rng: &mut dyn rand::RngCore) -> Candidate {
        Toy.mutate(candidate, rng)
    }

    fn crossover(&self, a: &Candidate, b: &Candidate, rng: &mut dyn rand::RngCore) -> Candidate {
        Toy.crossover(a, b, rng)
    }

    fn build(&self, candidate: &Candidate) -> Result<ModelGraph, CandidateError> {
        assert!(candidate.0[0] != 3, "a fault of the space");
        if candidate.0[0] != 2 {
            return Toy.build(candidate);
        }
        let mut b = Builder::new("test", 17);
        let x = b.input("x", DataType::Float, &[1, 1]);
        let zero = b.literal("", DataType::Float, &[], Some(TensorData::Floats(vec![0.0])));
        let y = b.node(OpType::Mul, Attributes::new(), &[x, zero])?;
        let weight = b.weight(&[1, 1 + candidate.number()]);
        let y = b.node(OpType::MatMul, Attributes::new(), &[y, weight])?;
        b.output(y);
        Ok(b.finish())
    }

    fn decisions(&self) -> Vec<usize> {
        Toy.decisions()
    }

    fn decide(&self, choices: &[usize]) -> Option<Candidate> {
        Toy.decide(choices)
    }
}

#[test]
fn a_fault_costs_one_candidate_and_who_guesses_is_on_no_front() {
    // Cheapest of all would be those that guess; over some, the measure fails too.
    let cost = |graph: &ComputationGraph| {
        let candidate = Candidate::from_graph(graph);
        assert!(candidate.0[1] != 3, "a fault of the measure");
        candidate.cost()
    };
    for name in names() {
        let problem = Problem::new().maximise("quality", quality).minimise("cost", cost);
        let limits = Limits { budget: 60, seed: 1 };
        let record =
            run(&Faulty, &problem, &mut *algorithm(name, &Faulty, super::tests::cost), limits);
        assert_eq!(record.stop, Stop::Budget, "{name}");
        assert!(record.guessing > 0, "{name}");
        let faults: Vec<String> = record.faults.iter().map(ToString::to_string).collect();
        for part in ["a fault of the space", "a fault of the measure"] {
            assert!(faults.iter().any(|f| f.contains(part)), "{name}: {faults:?}");
        }
        let front = record.front();
        assert!(!front.is_empty(), "{name}");
        assert!(front.iter().all(|e| e.candidate.0[0] < 2 && e.candidate.0[1] != 3), "{name}");
    }
    struct Broken;
    impl SearchSpace for Broken {
        type Candidate = Candidate;
        fn sample(&self, rng: &mut dyn rand::RngCore) -> Candidate {
            Toy.sample(rng)
        }
        fn mutate(&self, candidate: &Candidate, _: &mut dyn rand::RngCore) -> Candidate {
            *candidate
        }
        fn crossover(&self, a: &Candidate, _: &Candidate, _: &mut dyn rand::RngCore) -> Candidate {
            *a
        }
        fn build(&self, _: &Candidate) -> Result<ModelGraph, CandidateError> {
            panic!("nothing works")
        }
        fn decisions(&self) -> Vec<usize> {
            Vec::new()
        }
        fn decide(&self, _: &[usize]) -> Option<Candidate> {
            None
        }
    }
    let problem = Problem::new().minimise("cost", |_: &ComputationGraph| 0.0);
    let search = Search::new(&Broken, &problem).algorithm(RandomSearch).budget(60).seed(1);
    assert!(search.run().unwrap_err().to_string().contains("nothing works"));
}
