//! Attentive sampling (Wang et al. 2021, "AttentiveNAS: Improving Neural Architecture Search via
//! Attentive Sampling", arXiv 2011.09011).

use super::TRIES;
use crate::graph::ComputationGraph;
use crate::search::pareto::{self, Fitness};
use crate::search::{Algorithm, Evaluated, SearchSpace};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::Hash;

/// Random candidates that the range of costs is learned from.
const INITIAL: usize = 50;
/// Intervals that this range is divided into.
const INTERVALS: f64 = 16.0;
/// Costs that are drawn at a time.
const TARGETS: usize = 8;
/// Candidates evaluated at each of them.
const CANDIDATES: usize = 4;
/// Candidates of an interval whose neighbours are tried.
const ELITES: usize = 4;
/// Most candidates of an interval that wait for it to be drawn.
const WAITING: usize = 32;
/// Share of candidates that are drawn at random instead of from neighbours.
const FRESH: f64 = 0.1;

/// Which of the candidates of one cost a search attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// The best, towards the Pareto front.
    BestUp,
    /// The worst, towards the networks that are least worth their cost.
    WorstUp,
}

/// Draws a cost, takes candidates at that cost, and attends to the best (or worst) of them.
///
/// The paper draws costs from those of random networks. These crowd in the middle, and a front goes
/// from end to end, so costs are drawn evenly from the range met so far; where there are
/// constraints, from the range in which they are met. Beyond the paper, candidates at a cost are
/// not only random ones but mostly neighbours of the best known there. Costs are computed without
/// evaluating objectives; what turns out to have another cost waits until that is drawn.
pub struct AttentiveSampling<'a, C> {
    attention: Attention,
    cost: Box<dyn Fn(&ComputationGraph) -> f64 + Send + Sync + 'a>,
    /// Size of an interval of cost, once it is known.
    width: Option<f64>,
    intervals: BTreeMap<i64, Interval<C>>,
    /// The interval of each candidate whose cost is known.
    known: HashMap<C, i64>,
    /// Evaluated ones whose cost is not known yet.
    start: Vec<(C, Fitness)>,
}

/// Candidates of similar cost.
struct Interval<C> {
    /// Evaluated ones, the best first.
    elites: Vec<(C, Fitness)>,
    /// Others, the newest last.
    waiting: Vec<C>,
}

impl<'a, C> AttentiveSampling<'a, C> {
    /// Attends to the best or the worst at each cost.
    pub fn new(
        attention: Attention,
        cost: impl Fn(&ComputationGraph) -> f64 + Send + Sync + 'a,
    ) -> Self {
        Self {
            attention,
            cost: Box::new(cost),
            width: None,
            intervals: BTreeMap::new(),
            known: HashMap::new(),
            start: Vec::new(),
        }
    }

    fn interval(&mut self, number: i64) -> &mut Interval<C> {
        let empty = || Interval { elites: Vec::new(), waiting: Vec::new() };
        self.intervals.entry(number).or_insert_with(empty)
    }

    /// The interval next to `target` among those with something to choose from.
    fn nearest(&self, target: i64, something: impl Fn(&Interval<C>) -> bool) -> Option<i64> {
        let some = self.intervals.iter().filter(|(_, interval)| something(interval));
        some.map(|(&number, _)| number).min_by_key(|number| number.abs_diff(target))
    }

    /// The intervals that costs are drawn from: those between the ones that are known, and one
    /// more on either side.
    fn range(&self) -> Option<(i64, i64)> {
        let meets = |interval: &Interval<C>| {
            interval.elites.first().map(|(_, fitness)| fitness.violation == 0.0)
        };
        let any = self.intervals.values().any(|interval| meets(interval) == Some(true));
        let mut numbers = self
            .intervals
            .iter()
            .filter(|(_, interval)| meets(interval).is_some_and(|meets| meets || !any))
            .map(|(&number, _)| number);
        let first = numbers.next()?;
        Some((first - 1, numbers.next_back().unwrap_or(first) + 1))
    }
}

impl<C> Default for AttentiveSampling<'_, C> {
    /// Attends to the best at each number of MACs.
    fn default() -> Self {
        Self::new(Attention::BestUp, |graph| graph.macs() as f64)
    }
}

impl<C: Clone + Eq + Hash + Sync> AttentiveSampling<'_, C> {
    fn costs<S: SearchSpace<Candidate = C>>(&self, space: &S, candidates: &[C]) -> Vec<f64> {
        // A candidate without a graph ends the search with the reason when it is asked for.
        let cost = |candidate: &C| space.graph(candidate).map_or(f64::NAN, |g| (self.cost)(&g));
        candidates.par_iter().map(cost).collect()
    }

    /// The number of the interval that a cost is in; 0 for costs out of all proportion.
    fn number(&self, cost: f64) -> i64 {
        let number = (cost / self.width.unwrap_or(1.0)).floor();
        if number.abs() < 1e9 { number as i64 } else { 0 }
    }

    /// Puts a candidate among those of its interval, if it is one of the best there.
    fn place(&mut self, number: i64, candidate: C, fitness: Fitness) {
        let elites = &mut self.interval(number).elites;
        if elites.iter().any(|(elite, _)| *elite == candidate) {
            return;
        }
        elites.push((candidate, fitness));
        let fitness: Vec<Fitness> = elites.iter().map(|(_, f)| f.clone()).collect();
        let order = pareto::order(&fitness).into_iter().take(ELITES);
        *elites = order.map(|i| elites[i].clone()).collect();
    }

    /// A neighbour of the best near `target`, or any candidate.
    fn propose<S: SearchSpace<Candidate = C>>(
        &self,
        space: &S,
        target: i64,
        rng: &mut ChaCha8Rng,
    ) -> C {
        let nearest = self.nearest(target, |interval| !interval.elites.is_empty());
        let elites = nearest.and_then(|number| self.intervals.get(&number));
        let parent = elites.and_then(|interval| interval.elites.choose(rng));
        match parent {
            Some((parent, _)) if !rng.gen_bool(FRESH) => space.mutate(parent, rng),
            _ => space.sample(rng),
        }
    }
}

impl<S: SearchSpace> Algorithm<S> for AttentiveSampling<'_, S::Candidate> {
    fn ask(&mut self, space: &S, rng: &mut ChaCha8Rng) -> Vec<S::Candidate> {
        if self.width.is_none() {
            let initial: Vec<S::Candidate> = (0..INITIAL).map(|_| space.sample(rng)).collect();
            let costs = self.costs(space, &initial);
            let finite = || costs.iter().copied().filter(|cost| cost.is_finite());
            let (low, high) =
                (finite().fold(f64::MAX, f64::min), finite().fold(f64::MIN, f64::max));
            self.width = Some((high - low) / INTERVALS).filter(|width| *width > 0.0).or(Some(1.0));
            for (candidate, cost) in initial.iter().zip(costs) {
                let number = self.number(cost);
                self.known.insert(candidate.clone(), number);
            }
            return initial;
        }
        let start = std::mem::take(&mut self.start);
        let candidates: Vec<S::Candidate> = start.iter().map(|(c, _)| c.clone()).collect();
        let costs = self.costs(space, &candidates);
        for ((candidate, fitness), cost) in start.into_iter().zip(costs) {
            let number = self.number(cost);
            self.known.insert(candidate.clone(), number);
            self.place(number, candidate, fitness);
        }
        let (low, high) = self.range().unwrap_or((0, 0));
        let targets: [i64; TARGETS] = std::array::from_fn(|_| rng.gen_range(low..=high));
        let mut proposed: Vec<S::Candidate> = Vec::new();
        let mut among = HashSet::new();
        for target in targets {
            for _ in 0..2 * CANDIDATES {
                let mut draws = (0..TRIES).map(|_| self.propose(space, target, rng));
                let new = |candidate: &S::Candidate| {
                    !self.known.contains_key(candidate) && among.insert(candidate.clone())
                };
                proposed.extend(draws.find(new));
            }
        }
        let costs = self.costs(space, &proposed);
        for (candidate, cost) in proposed.into_iter().zip(costs) {
            let number = self.number(cost);
            self.known.insert(candidate.clone(), number);
            let waiting = &mut self.interval(number).waiting;
            waiting.push(candidate);
            if waiting.len() > WAITING {
                let oldest = waiting.remove(0);
                self.known.remove(&oldest);
            }
        }
        let mut asked = Vec::new();
        for target in targets {
            for _ in 0..CANDIDATES {
                let nearest = self.nearest(target, |interval| !interval.waiting.is_empty());
                asked.extend(nearest.and_then(|number| self.interval(number).waiting.pop()));
            }
        }
        if asked.is_empty() {
            asked.push(space.sample(rng));
        }
        asked
    }

    fn tell(&mut self, evaluated: &[Evaluated<S::Candidate>]) {
        for e in evaluated {
            let mut fitness = e.fitness.clone();
            if self.attention == Attention::WorstUp {
                fitness.losses.iter_mut().for_each(|loss| *loss = -*loss);
            }
            match self.known.get(&e.candidate) {
                Some(&number) => self.place(number, e.candidate.clone(), fitness),
                None => self.start.push((e.candidate.clone(), fitness)),
            }
        }
    }
}

impl<C> fmt::Debug for AttentiveSampling<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttentiveSampling")
            .field("attention", &self.attention)
            .field("width", &self.width)
            .field("intervals", &self.intervals.len())
            .finish_non_exhaustive()
    }
}
