//! Predictor-guided search that queries true values, as BANANAS (White et al. 2021, arXiv
//! 1910.11858) and BRP-NAS (Dudziak et al. 2020, arXiv 2007.08668) do.

use super::gaussian_process::GaussianProcess;
use crate::graph::{ComputationGraph, Fingerprint};
use crate::metrics::mean_ranks;
use crate::search::pareto::{self, Fitness};
use crate::search::{Algorithm, Evaluated, SearchSpace};
use ndarray::{Array1, Array2, Axis, concatenate};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::HashSet;

/// What is known of networks before any is measured.
pub trait Surrogate: Sync {
    /// Numbers that are alike for networks that do alike, `[networks, numbers]`.
    fn features(&self, graphs: &[ComputationGraph]) -> Array2<f64>;

    /// How good they are expected to be in the first objective; higher is better.
    fn prior(&self, graphs: &[ComputationGraph]) -> Vec<f64>;
}

/// Candidates that the first batch is chosen from.
const FIRST: usize = 1000;
/// The share of them with the highest prior of which the first batch is a random sample.
const PROMISING: f64 = 0.05;
/// Evaluated candidates whose neighbours come into question.
const PARENTS: usize = 20;
/// Neighbours of each, at one or two mutations.
const NEIGHBOURS: usize = 40;
/// Random candidates that come into question beside them.
const STRANGERS: usize = 400;
/// Batches in a row of which nothing keeps the constraints before more is asked for at a time: a
/// pool costs far more than a constraint, and a search gives up by the number of candidates that it
/// asked for.
const HOPE: u32 = 8;
/// Standard deviations of optimism in the upper confidence bound.
const OPTIMISM: f64 = 2.0;

/// After each batch of true values, a Gaussian process is fitted to them again, and the
/// candidates with the best confidence bound come next: neighbours of the best so far and random
/// ones compete. It learns ranks, so that the scale of values does not matter. With several
/// objectives each pick follows weights of its own (ParEGO, Knowles 2006).
pub struct Guided<'a, C> {
    surrogate: &'a dyn Surrogate,
    batch: usize,
    known: Vec<Known<C>>,
    /// Batches in a row of which nothing kept the constraints.
    idle: u32,
    /// Graphs of all candidates that were asked for.
    met: HashSet<Fingerprint>,
    /// What is added to features and what they are multiplied by.
    scale: Option<(Array1<f64>, f64)>,
}

/// A candidate with known values.
struct Known<C> {
    candidate: C,
    /// Empty until they are needed.
    features: Vec<f64>,
    fitness: Fitness,
}

/// Candidates with their graphs, of which no two are the same.
struct Pool<C> {
    candidates: Vec<C>,
    graphs: Vec<ComputationGraph>,
    fingerprints: Vec<Fingerprint>,
}

impl<'a, C: Clone + Send + Sync> Guided<'a, C> {
    /// A search that queries `batch` true values at a time.
    pub fn new(surrogate: &'a dyn Surrogate, batch: usize) -> Self {
        let (known, met) = (Vec::new(), HashSet::new());
        Self { surrogate, batch: batch.max(1), known, idle: 0, met, scale: None }
    }

    /// How many to ask for; once nothing has kept the constraints for long, twice as many each time.
    fn due(&self) -> usize {
        self.batch.saturating_mul(1 << self.idle.saturating_sub(HOPE).min(20))
    }

    /// What of these candidates is new.
    fn pool<S: SearchSpace<Candidate = C>>(&self, space: &S, candidates: Vec<C>) -> Pool<C> {
        let build = |candidate: &C| {
            let graph = space.graph(candidate)?;
            Some((graph.fingerprint(), graph))
        };
        let built: Vec<_> = candidates.par_iter().map(build).collect();
        let mut among = HashSet::new();
        let mut pool = Pool { candidates: vec![], graphs: vec![], fingerprints: vec![] };
        for (candidate, (fingerprint, graph)) in
            candidates.into_iter().zip(built).filter_map(|(c, built)| Some((c, built?)))
        {
            if !self.met.contains(&fingerprint) && among.insert(fingerprint) {
                pool.candidates.push(candidate);
                pool.graphs.push(graph);
                pool.fingerprints.push(fingerprint);
            }
        }
        pool
    }

    /// Features of graphs, centred, and scaled so that their mean square norm over the first
    /// candidates is 1.
    fn features(&mut self, graphs: &[ComputationGraph]) -> Array2<f64> {
        let features = self.surrogate.features(graphs);
        let (centre, factor) = self.scale.get_or_insert_with(|| {
            let width = features.ncols();
            let centre = features.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(width));
            let square = (&features - &centre).mapv(|x| x * x).sum() / features.nrows() as f64;
            (centre, if square > 0.0 { square.sqrt().recip() } else { 1.0 })
        });
        (features - &*centre) * *factor
    }

    /// Fills in the features of what was evaluated since the last time.
    fn describe<S: SearchSpace<Candidate = C>>(&mut self, space: &S) {
        let from = self.known.iter().position(|k| k.features.is_empty());
        let fresh = &self.known[from.unwrap_or(self.known.len())..];
        // Those evaluated have a graph.
        let graphs: Vec<_> = fresh.iter().filter_map(|k| space.graph(&k.candidate)).collect();
        let features = self.features(&graphs);
        let fresh = self.known.iter_mut().filter(|k| k.features.is_empty());
        fresh.zip(features.rows()).for_each(|(known, row)| known.features = row.to_vec());
    }

    /// Positions in the pool of what to ask for first.
    fn first(&self, pool: &Pool<C>, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let prior = self.surrogate.prior(&pool.graphs);
        let mut order: Vec<usize> = (0..prior.len()).collect();
        order.sort_by(|&a, &b| prior[b].total_cmp(&prior[a]));
        let share = (PROMISING * order.len() as f64) as usize;
        order.truncate(share.max(self.due()));
        order.shuffle(rng);
        order.truncate(self.due());
        order
    }

    /// Positions in `features`, the pool's, of what to ask for next.
    fn next(&self, features: &Array2<f64>, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let known: Vec<&Known<C>> =
            self.known.iter().filter(|k| k.fitness.violation == 0.0).collect();
        let width = features.ncols();
        let rows: Vec<f64> = known.iter().flat_map(|k| k.features.iter().copied()).collect();
        // As many numbers as the shape says.
        let rows = Array2::from_shape_vec((known.len(), width), rows).unwrap_or_default();
        let all = concatenate![Axis(0), rows, *features];
        let mut posterior = GaussianProcess::new(all.view());
        (0..known.len()).for_each(|row| posterior.add(row));
        let objectives = known.first().map_or(0, |k| k.fitness.losses.len());
        let losses = |o: usize| known.iter().map(|k| k.fitness.losses[o]).collect::<Vec<f64>>();
        let means: Vec<Array1<f64>> =
            (0..objectives).map(|o| posterior.means(&standard_ranks(&losses(o)))).collect();
        let (mut chosen, count) = (Vec::new(), features.nrows());
        while chosen.len() < self.batch.min(count) {
            let weights = weights(objectives, rng);
            let deviations = posterior.deviations();
            let loss = |i: usize| {
                let row = known.len() + i;
                let bounds = means.iter().map(|m| m[row] - OPTIMISM * deviations[row]);
                let weighted = bounds.zip(&weights).map(|(bound, weight)| weight * bound);
                let (worst, sum) =
                    weighted.fold((f64::NEG_INFINITY, 0.0), |(w, s), x| (x.max(w), s + x));
                worst + 0.05 * sum
            };
            let left = (0..count).filter(|i| !chosen.contains(i));
            let Some(best) = left.min_by(|&a, &b| loss(a).total_cmp(&loss(b))) else { break };
            chosen.push(best);
            // Believed to be what is expected, which leaves all means as they are.
            posterior.add(known.len() + best);
        }
        // The neighbours of the best come first in the pool.
        let more = self.due().saturating_sub(self.batch);
        let rest: Vec<usize> = (0..count).filter(|i| !chosen.contains(i)).take(more).collect();
        [chosen, rest].concat()
    }
}

/// Ranks with mean 0 and variance 1.
fn standard_ranks(values: &[f64]) -> Vec<f64> {
    let count = values.len() as f64;
    let spread = ((count * count - 1.0) / 12.0).sqrt().max(0.5);
    mean_ranks(values).into_iter().map(|rank| (rank - (count + 1.0) / 2.0) / spread).collect()
}

/// Positive weights that add up to 1, uniformly distributed.
fn weights(count: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    if count == 1 {
        return vec![1.0];
    }
    let drawn: Vec<f64> = (0..count).map(|_| -(1.0 - rng.r#gen::<f64>()).ln()).collect();
    let sum: f64 = drawn.iter().sum();
    drawn.into_iter().map(|w| w / sum).collect()
}

impl<S: SearchSpace> Algorithm<S> for Guided<'_, S::Candidate> {
    fn ask(&mut self, space: &S, rng: &mut ChaCha8Rng) -> Vec<S::Candidate> {
        let feasible = self.known.iter().any(|k| k.fitness.violation == 0.0);
        let mut candidates = Vec::new();
        if feasible {
            let fitness: Vec<Fitness> = self.known.iter().map(|k| k.fitness.clone()).collect();
            for i in pareto::order(&fitness).into_iter().take(PARENTS) {
                for nth in 0..NEIGHBOURS {
                    let mut neighbour = space.mutate(&self.known[i].candidate, rng);
                    if nth % 2 == 1 {
                        neighbour = space.mutate(&neighbour, rng);
                    }
                    candidates.push(neighbour);
                }
            }
        }
        let strangers = if feasible { STRANGERS } else { FIRST };
        candidates.extend((0..strangers).map(|_| space.sample(rng)));
        let pool = self.pool(space, candidates);
        let features = self.features(&pool.graphs);
        self.describe(space);
        let chosen = if feasible { self.next(&features, rng) } else { self.first(&pool, rng) };
        chosen.iter().map(|&i| pool.candidates[i].clone()).collect()
    }

    fn tell(&mut self, evaluated: &[Evaluated<S::Candidate>]) {
        let kept = evaluated.iter().any(|e| e.fitness.violation == 0.0);
        self.idle = if kept { 0 } else { self.idle + 1 };
        self.met.extend(evaluated.iter().filter_map(|e| e.fingerprint));
        self.known.extend(evaluated.iter().map(|e| Known {
            candidate: e.candidate.clone(),
            features: Vec::new(),
            fitness: e.fitness.clone(),
        }));
    }
}
