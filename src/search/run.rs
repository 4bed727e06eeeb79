//! Running a search.

use super::algorithms::Nsga2;
use super::pareto::{self, Fitness};
use super::problem::{CandidateNetwork, EvaluationError, Interrupted, Problem};
use super::space::{CandidateError, SearchSpace};
use crate::fault::{Fault, contain};
use crate::graph::Fingerprint;
use crate::lower::{LowerError, lower};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// A search gives up after so many candidates in a row of which none was new and kept the
/// constraints.
const PATIENCE: usize = 20_000;

/// A search fails after so many faults when nothing else came of it.
const FAULTS: usize = 20;

/// A way of choosing which candidates to evaluate next, given how good the earlier ones are.
pub trait Algorithm<S: SearchSpace> {
    /// The next candidates, at least one. Those evaluated before cost nothing.
    fn ask(&mut self, space: &S, rng: &mut ChaCha8Rng) -> Vec<S::Candidate>;

    /// How good the candidates of the last [`ask`](Self::ask) are, in the same order. Before the
    /// first, those that the search starts from.
    fn tell(&mut self, evaluated: &[Evaluated<S::Candidate>]);
}

impl<S: SearchSpace, A: Algorithm<S> + ?Sized> Algorithm<S> for &mut A {
    fn ask(&mut self, space: &S, rng: &mut ChaCha8Rng) -> Vec<S::Candidate> {
        (**self).ask(space, rng)
    }

    fn tell(&mut self, evaluated: &[Evaluated<S::Candidate>]) {
        (**self).tell(evaluated);
    }
}

/// A candidate and how good it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated<C> {
    /// The candidate.
    pub candidate: C,
    /// Identity of its computation graph; `None` when it has none by a [fault](Record::faults).
    pub fingerprint: Option<Fingerprint>,
    /// The problem's measures, in its order; `None` where constraints made them needless.
    pub values: Vec<Option<f64>>,
    /// What the algorithm goes by.
    pub fitness: Fitness,
}

/// What makes a run repeatable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most networks whose objectives are evaluated. Architectures with one computation graph
    /// count once, and so do not those that constraints rule out.
    pub budget: usize,
    /// Seed of everything that is random.
    pub seed: u64,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// As many networks as allowed are evaluated.
    Budget,
    /// The algorithm proposed nothing new that keeps the constraints for long.
    Exhausted,
    /// The observer asked for it, or an evaluation was [interrupted](super::Interrupted).
    Interrupted,
}

/// Where the time of a run went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Choosing candidates.
    pub proposing: Duration,
    /// Building networks and graphs, and recognising those met before.
    pub building: Duration,
    /// Measuring networks.
    pub evaluating: Duration,
}

impl Spent {
    /// All of it.
    pub fn total(&self) -> Duration {
        self.proposing + self.building + self.evaluating
    }
}

/// What a run leaves behind.
#[derive(Debug)]
pub struct Record<C> {
    /// What it was run with.
    pub limits: Limits,
    /// Why it ended.
    pub stop: Stop,
    /// Every distinct network in the order of evaluation, those that constraints rule out too.
    pub history: Vec<Evaluated<C>>,
    /// How many distinct candidates were built, those with a computation graph met before too.
    pub candidates: usize,
    /// Where the time went.
    pub spent: Spent,
    /// How many networks of the history can but guess: their output does not depend on their input.
    /// They are on no front, and their objectives are not evaluated.
    pub guessing: usize,
    /// What went wrong that should not have, and cost no more than the candidate that it names.
    pub faults: Vec<SearchError>,
}

impl<C> Record<C> {
    /// The networks that meet the constraints and that no other dominates, by the first objective
    /// from the best on; without those that an objective has no number for.
    pub fn front(&self) -> Vec<&Evaluated<C>> {
        let fitness: Vec<Fitness> = self.history.iter().map(|e| e.fitness.clone()).collect();
        let front = pareto::front(&fitness).into_iter().map(|i| &self.history[i]);
        let measured = |e: &&Evaluated<C>| {
            e.fitness.violation == 0.0 && e.fitness.losses.iter().all(|l| *l < f64::INFINITY)
        };
        front.filter(measured).collect()
    }
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// A candidate is no network.
    #[error("{architecture}: {source}")]
    Build {
        /// The candidate.
        architecture: String,
        /// Why not.
        source: CandidateError,
    },
    /// A candidate has no computation graph.
    #[error("{architecture}: {source}")]
    Lower {
        /// The candidate.
        architecture: String,
        /// Why not.
        source: LowerError,
    },
    /// Networks can't be measured.
    #[error("{0}")]
    Evaluation(EvaluationError),
    /// The program failed over a candidate.
    #[error("{architecture}: {fault}")]
    Fault {
        /// The candidate.
        architecture: String,
        /// What happened.
        fault: String,
    },
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It does.
    Continue,
    /// It stops with what it has.
    Stop,
}

/// Hears of networks as soon as they are evaluated.
pub type Observer<'a, C> = dyn FnMut(&[Evaluated<C>]) -> Next + 'a;

/// What a run begins with.
#[derive(Debug, Clone)]
pub struct Start<C> {
    /// Candidates that are evaluated first.
    pub candidates: Vec<C>,
    /// Measures that are known already, by the candidate's text: those of an interrupted run with
    /// the same problem, which then goes on as if it hadn't been interrupted.
    pub known: HashMap<String, Vec<Option<f64>>>,
}

impl<C> Default for Start<C> {
    fn default() -> Self {
        Self { candidates: Vec::new(), known: HashMap::new() }
    }
}

/// A search of `space` for solutions of `problem`, ready to [run](Self::run). The same space, problem, algorithm,
/// limits and start give the same record.
pub struct Search<'a, S: SearchSpace> {
    space: &'a S,
    problem: &'a Problem<'a>,
    algorithm: Box<dyn Algorithm<S> + 'a>,
    limits: Limits,
    start: Start<S::Candidate>,
}

impl<'a, S: SearchSpace<Candidate: 'a>> Search<'a, S> {
    /// By [`Nsga2`], up to 1,000 networks, with seed 0.
    pub fn new(space: &'a S, problem: &'a Problem<'a>) -> Self {
        Self {
            space,
            problem,
            algorithm: Box::new(Nsga2::default()),
            limits: Limits { budget: 1000, seed: 0 },
            start: Start::default(),
        }
    }

    /// What chooses the networks.
    pub fn algorithm(self, algorithm: impl Algorithm<S> + 'a) -> Self {
        Self { algorithm: Box::new(algorithm), ..self }
    }

    /// Most networks whose objectives are evaluated.
    pub fn budget(mut self, networks: usize) -> Self {
        self.limits.budget = networks;
        self
    }

    /// Seed of everything that is random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.limits.seed = seed;
        self
    }

    /// What the run begins with.
    pub fn start(self, start: Start<S::Candidate>) -> Self {
        Self { start, ..self }
    }

    /// Searches.
    ///
    /// # Errors
    /// When a network can't be measured, or the first twenty candidates are no networks.
    pub fn run(self) -> Result<Record<S::Candidate>, SearchError> {
        self.observed(&mut |_| Next::Continue)
    }

    /// Searches; `observe` hears of networks as soon as they are evaluated.
    ///
    /// # Errors
    /// As [`run`](Self::run). Nothing is lost: `observe` has heard of all before it.
    pub fn observed(
        self,
        observe: &mut Observer<S::Candidate>,
    ) -> Result<Record<S::Candidate>, SearchError> {
        let Self { space, problem, mut algorithm, limits, start } = self;
        let mut run = Run {
            space,
            problem,
            limits,
            known: start.known,
            candidates: HashMap::new(),
            identities: HashMap::new(),
            graphs: HashMap::new(),
            history: Vec::new(),
            feasible: 0,
            spent: Spent::default(),
            guessing: 0,
            faults: Vec::new(),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(limits.seed);
        let mut asked = start.candidates;
        let mut idle = 0;
        let stop = loop {
            if !asked.is_empty() {
                let before = run.feasible;
                if let Some(stop) = run.evaluate(&asked, observe)? {
                    break stop;
                }
                idle = if run.feasible > before { 0 } else { idle + asked.len() };
                let now = Instant::now();
                algorithm.tell(&asked.iter().map(|c| run.result(c)).collect::<Vec<_>>());
                run.spent.proposing += now.elapsed();
            }
            if idle >= PATIENCE {
                break Stop::Exhausted;
            }
            let now = Instant::now();
            asked = algorithm.ask(space, &mut rng);
            run.spent.proposing += now.elapsed();
            if asked.is_empty() {
                break Stop::Exhausted;
            }
        };
        let candidates = run.candidates.len();
        let Run { history, spent, guessing, faults, .. } = run;
        Ok(Record { limits, stop, history, candidates, spent, guessing, faults })
    }
}

/// A search under way.
struct Run<'a, S: SearchSpace> {
    space: &'a S,
    problem: &'a Problem<'a>,
    limits: Limits,
    known: HashMap<String, Vec<Option<f64>>>,
    /// Position in the history of each candidate met.
    candidates: HashMap<S::Candidate, usize>,
    /// The same by their [identity](SearchSpace::identity): what was met is not built again.
    identities: HashMap<String, usize>,
    /// The same of each computation graph.
    graphs: HashMap<Fingerprint, usize>,
    history: Vec<Evaluated<S::Candidate>>,
    /// How many of the history meet the constraints.
    feasible: usize,
    spent: Spent,
    guessing: usize,
    faults: Vec<SearchError>,
}

impl<S: SearchSpace> Run<'_, S> {
    /// Evaluates candidates; `Some` when the search ends with this.
    fn evaluate(
        &mut self,
        asked: &[S::Candidate],
        observe: &mut Observer<S::Candidate>,
    ) -> Result<Option<Stop>, SearchError> {
        let mut fresh: Vec<&S::Candidate> = Vec::new();
        let mut among = HashSet::new();
        fresh
            .extend(asked.iter().filter(|c| !self.candidates.contains_key(*c) && among.insert(*c)));
        // Those left of the budget at a time: what constraints rule out makes room for others.
        while !fresh.is_empty() {
            let left = self.limits.budget - self.feasible;
            if left == 0 {
                return Ok(Some(Stop::Budget));
            }
            let rest = fresh.split_off(fresh.len().min(left).min(self.problem.batch()));
            let before = self.history.len();
            match self.batch(&fresh) {
                Err(SearchError::Evaluation(e)) if e.is::<Interrupted>() => {
                    return Ok(Some(Stop::Interrupted));
                }
                measured => measured?,
            }
            if observe(&self.history[before..]) == Next::Stop {
                return Ok(Some(Stop::Interrupted));
            }
            fresh = rest;
        }
        let spent = self.feasible == self.limits.budget;
        Ok(spent.then_some(Stop::Budget))
    }

    /// Evaluates candidates that were not met before.
    fn batch(&mut self, candidates: &[&S::Candidate]) -> Result<(), SearchError> {
        let now = Instant::now();
        let identities: Vec<String> =
            candidates.par_iter().map(|c| self.space.identity(c)).collect();
        let mut among = HashSet::new();
        let unmet: Vec<(&S::Candidate, &String)> = candidates
            .iter()
            .copied()
            .zip(&identities)
            .filter(|(_, text)| !self.identities.contains_key(*text) && among.insert(*text))
            .collect();
        let built: Vec<Result<CandidateNetwork, SearchError>> =
            unmet.par_iter().map(|(candidate, _)| self.build(candidate)).collect();
        let (mut fresh, mut networks) = (Vec::new(), Vec::new());
        for ((candidate, identity), built) in unmet.into_iter().zip(built) {
            let next = self.history.len() + fresh.len();
            let position = match built {
                Ok(network) => {
                    let position = *self.graphs.entry(network.fingerprint).or_insert(next);
                    if position == next {
                        let guesses = !network.graph.depends_on_input();
                        self.guessing += usize::from(guesses);
                        fresh.push((candidate, Some(network.fingerprint), guesses));
                        if !guesses {
                            networks.push(network);
                        }
                    }
                    position
                }
                Err(error) => {
                    fresh.push((candidate, None, true));
                    self.faults.push(error);
                    next
                }
            };
            self.identities.insert(identity.clone(), position);
        }
        for (&candidate, identity) in candidates.iter().zip(&identities) {
            self.candidates.insert(candidate.clone(), self.identities[identity]);
        }
        if self.feasible == 0 && self.faults.len() >= FAULTS {
            return Err(self.faults.swap_remove(0));
        }
        self.spent.building += now.elapsed();

        let now = Instant::now();
        let mut values: Vec<Option<Vec<Option<f64>>>> =
            networks.iter().map(|n| self.known.remove(&n.architecture)).collect();
        let mut unknown = values.iter().map(Option::is_none);
        networks.retain(|_| unknown.next().unwrap_or(false));
        drop(unknown);
        let (measured, faults) =
            self.problem.evaluate(networks).map_err(SearchError::Evaluation)?;
        let told = |(architecture, fault): (String, Fault)| SearchError::Fault {
            architecture,
            fault: fault.to_string(),
        };
        self.faults.extend(faults.into_iter().map(told));
        let gaps = values.iter_mut().filter(|v| v.is_none());
        gaps.zip(measured).for_each(|(gap, measured)| *gap = Some(measured));
        self.spent.evaluating += now.elapsed();

        let mut values = values.into_iter().map(Option::unwrap_or_default);
        for (candidate, fingerprint, ruled_out) in fresh {
            let (values, fitness) = if ruled_out {
                let none = vec![None; self.problem.measures().count()];
                (none, Fitness { violation: f64::INFINITY, losses: Vec::new() })
            } else {
                let values = values.next().unwrap_or_default();
                let fitness = self.problem.fitness(&values);
                (values, fitness)
            };
            self.feasible += usize::from(fitness.violation == 0.0);
            self.history.push(Evaluated {
                candidate: candidate.clone(),
                fingerprint,
                values,
                fitness,
            });
        }
        Ok(())
    }

    fn build(&self, candidate: &S::Candidate) -> Result<CandidateNetwork, SearchError> {
        let architecture = candidate.to_string();
        let built = contain(|| {
            let model = match self.space.build(candidate) {
                Ok(model) => model,
                Err(source) => {
                    return Err(SearchError::Build { architecture: architecture.clone(), source });
                }
            };
            match lower(&model) {
                Ok(graph) => Ok((model, graph.fingerprint(), graph)),
                Err(source) => {
                    Err(SearchError::Lower { architecture: architecture.clone(), source })
                }
            }
        });
        match built {
            Ok(built) => {
                let (model, fingerprint, graph) = built?;
                Ok(CandidateNetwork { architecture, model, fingerprint, graph })
            }
            Err(fault) => Err(SearchError::Fault { architecture, fault: fault.to_string() }),
        }
    }

    /// What became of a candidate that is evaluated.
    fn result(&self, candidate: &S::Candidate) -> Evaluated<S::Candidate> {
        let of = &self.history[self.candidates[candidate]];
        Evaluated { candidate: candidate.clone(), ..of.clone() }
    }
}
