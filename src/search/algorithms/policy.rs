//! Policy gradient with a search space that shrinks as it goes (Lyu & Wen 2021, "TND-NAS: Towards
//! Non-differentiable Objectives in Progressive Differentiable NAS Framework", arXiv 2111.03892).

use super::BATCH;
use crate::search::{Algorithm, Evaluated, SearchSpace};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

/// Policies that learn side by side where there are several objectives.
const POLICIES: usize = 4;
/// Draws after which a policy gives up finding choices that make up a candidate.
const TRIES: usize = 400;
/// Evaluations, for each option to be dropped, over which a policy first shrinks.
const PATIENCE: usize = 4;
/// Size of a step along the gradient.
const RATE: f64 = 0.3;
/// Evaluated candidates that a policy compares new ones with.
const RECENT: usize = 32;
/// Evaluated candidates, of all policies, by which losses are ranked.
const RANKED: usize = 256;
/// Weight of the sum beside the maximum in the Tchebycheff function.
const AUGMENTATION: f64 = 0.05;

/// Policies over the decisions that make up a candidate: each option has a logit, which REINFORCE
/// (Williams 1992) raises where its candidates do well. As evaluations come in, the options with
/// the least probability are dropped one by one until one candidate is left, or is all that is
/// drawn; then the policy begins anew, and takes twice as long.
///
/// With several objectives there are several policies, each with another preference. What it wants
/// is small in the augmented Tchebycheff function of its preference and the candidate's losses,
/// each loss being replaced by its rank, so that scales and outliers do not matter. The reward is
/// the share of the policy's last candidates that a new one beats; those that meet the constraints
/// beat those that don't, and these beat choices that make up no candidate.
#[derive(Debug, Clone)]
pub struct PolicyGradient {
    options: Vec<usize>,
    policies: Vec<Policy>,
    /// How many policies were begun.
    begun: usize,
    /// The policy and the choices of each candidate asked for.
    asked: Vec<(usize, Vec<usize>)>,
    /// Losses of the last candidates.
    losses: VecDeque<Vec<f64>>,
}

/// A space whose candidates differ in their number of decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("policy gradient needs a space whose networks have a fixed number of decisions")]
pub struct NoDecisions;

#[derive(Debug, Clone)]
struct Policy {
    /// Number of the policy among all that were begun.
    number: usize,
    /// Of each option of each decision; minus infinity when it is dropped.
    logits: Vec<Vec<f64>>,
    /// Choices since the last step that make up no candidate.
    invalid: Vec<Vec<usize>>,
    /// The last candidates' constraint violation and losses.
    recent: VecDeque<(f64, Vec<f64>)>,
    /// How many evaluations it has seen, and after how many it is to have shrunk.
    told: usize,
    length: usize,
}

impl PolicyGradient {
    /// Policies over the decisions of `space`.
    ///
    /// # Errors
    /// When these are not the same for all candidates.
    pub fn new<S: SearchSpace>(space: &S) -> Result<Self, NoDecisions> {
        let options = space.decisions();
        if options.is_empty() {
            return Err(NoDecisions);
        }
        let spare: usize = options.iter().map(|options| options - 1).sum();
        let first = (PATIENCE * spare).max(1);
        let policy = |number| Policy::new(number, &options, first);
        let policies = (0..POLICIES).map(policy).collect();
        Ok(Self { options, policies, begun: POLICIES, asked: Vec::new(), losses: VecDeque::new() })
    }

    fn begin_anew(&mut self, policy: usize) {
        let length = 2 * self.policies[policy].length;
        self.policies[policy] = Policy::new(self.begun, &self.options, length);
        self.begun += 1;
    }
}

impl Policy {
    fn new(number: usize, options: &[usize], length: usize) -> Self {
        Self {
            number,
            logits: options.iter().map(|&options| vec![0.0; options]).collect(),
            invalid: Vec::new(),
            recent: VecDeque::new(),
            told: 0,
            length,
        }
    }

    fn probabilities(&self) -> Vec<Vec<f64>> {
        let softmax = |logits: &Vec<f64>| {
            let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|weight| weight / sum).collect()
        };
        self.logits.iter().map(softmax).collect()
    }

    /// A step along the gradient of the expected reward.
    fn learn(&mut self, choices: &[usize], advantage: f64, probabilities: &[Vec<f64>]) {
        for ((logits, &choice), shares) in self.logits.iter_mut().zip(choices).zip(probabilities) {
            for (option, (logit, share)) in logits.iter_mut().zip(shares).enumerate() {
                let indicator = f64::from(u8::from(option == choice));
                *logit += RATE * advantage * (indicator - share);
            }
        }
    }

    /// Drops the weakest options until as many are left as there should be by now.
    fn shrink(&mut self) {
        let all: usize = self.logits.iter().map(|logits| logits.len() - 1).sum();
        let due = all * self.told.min(self.length) / self.length;
        let dropped =
            |logits: &Vec<f64>| logits.iter().filter(|l| **l == f64::NEG_INFINITY).count();
        let mut count: usize = self.logits.iter().map(dropped).sum();
        while count < due {
            let probabilities = self.probabilities();
            let mut weakest = (f64::INFINITY, 0, 0);
            for (decision, (logits, shares)) in self.logits.iter().zip(&probabilities).enumerate() {
                let left = logits.len() - dropped(logits);
                for (option, (logit, share)) in logits.iter().zip(shares).enumerate() {
                    // In proportion to what it would be if all were alike.
                    let strength = share * left as f64;
                    if left > 1 && logit.is_finite() && strength < weakest.0 {
                        weakest = (strength, decision, option);
                    }
                }
            }
            self.logits[weakest.1][weakest.2] = f64::NEG_INFINITY;
            count += 1;
        }
    }
}

/// One choice with these probabilities.
fn draw(shares: &[f64], rng: &mut ChaCha8Rng) -> usize {
    let mut rest: f64 = rng.r#gen();
    let mut last = 0;
    for (option, &share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        last = option;
        rest -= share;
        if rest < 0.0 {
            break;
        }
    }
    last
}

/// The preference of a number: one of a sequence of weights of the objectives that fills the
/// simplex evenly. The gaps between sorted points of [0, 1) are the weights, and the points are
/// those of an additive recurrence (Roberts 2018, "The Unreasonable Effectiveness of Quasirandom
/// Sequences").
fn preference(number: usize, objectives: usize) -> Vec<f64> {
    let dimensions = objectives.saturating_sub(1);
    let mut ratio = 2.0f64;
    for _ in 0..50 {
        ratio = (1.0 + ratio).powf(1.0 / (dimensions + 1) as f64);
    }
    let point = |i: usize| (0.5 + (number + 1) as f64 * ratio.powi(-(i as i32) - 1)).fract();
    let mut points: Vec<f64> = (0..dimensions).map(point).collect();
    points.push(1.0);
    points.sort_by(f64::total_cmp);
    let mut before = 0.0;
    points.iter().map(|&point| point - std::mem::replace(&mut before, point)).collect()
}

impl<S: SearchSpace> Algorithm<S> for PolicyGradient {
    fn ask(&mut self, space: &S, rng: &mut ChaCha8Rng) -> Vec<S::Candidate> {
        let mut candidates = Vec::new();
        let samples = BATCH / self.policies.len();
        for i in 0..self.policies.len() {
            let mut found = 0;
            while found == 0 {
                let probabilities = self.policies[i].probabilities();
                for _ in 0..TRIES {
                    let choices: Vec<usize> =
                        probabilities.iter().map(|shares| draw(shares, rng)).collect();
                    match space.decide(&choices) {
                        Some(candidate) => {
                            candidates.push(candidate);
                            self.asked.push((i, choices));
                            found += 1;
                        }
                        None => self.policies[i].invalid.push(choices),
                    }
                    if found == samples {
                        break;
                    }
                }
                if found == 0 {
                    if self.policies[i].told == 0 {
                        break;
                    }
                    self.begin_anew(i);
                }
            }
        }
        if candidates.is_empty() {
            candidates.push(space.sample(rng));
        }
        candidates
    }

    fn tell(&mut self, evaluated: &[Evaluated<S::Candidate>]) {
        let feasible = evaluated.iter().filter(|e| e.fitness.violation == 0.0);
        self.losses.extend(feasible.map(|e| e.fitness.losses.clone()));
        let old = self.losses.len().saturating_sub(RANKED);
        self.losses.drain(..old);
        let objectives = self.losses.back().map_or(0, Vec::len);
        if objectives == 1 {
            self.policies.truncate(1);
        }
        let column = |objective: usize| {
            let mut column: Vec<f64> = self.losses.iter().map(|l| l[objective]).collect();
            column.sort_by(f64::total_cmp);
            column
        };
        let columns: Vec<Vec<f64>> = (0..objectives).map(column).collect();
        let asked = std::mem::take(&mut self.asked);
        for i in 0..self.policies.len() {
            let policy = &mut self.policies[i];
            let weights = preference(policy.number, objectives);
            let scalar = |losses: &Vec<f64>| {
                let ranks = losses.iter().zip(&columns).zip(&weights).map(|((loss, column), w)| {
                    let less = column.partition_point(|other| other < loss);
                    w * less as f64 / column.len() as f64
                });
                let (most, sum) = ranks.fold((0.0, 0.0), |(m, s), r| (f64::max(m, r), s + r));
                most + AUGMENTATION * sum
            };
            let mine = asked.iter().zip(evaluated).filter(|((policy, _), _)| *policy == i);
            let mine: Vec<(&Vec<usize>, (f64, f64))> = mine
                .map(|((_, choices), e)| {
                    let (violation, losses) = (e.fitness.violation, e.fitness.losses.clone());
                    let key = (violation, scalar(&losses));
                    policy.recent.push_back((violation, losses));
                    (choices, key)
                })
                .collect();
            if mine.is_empty() {
                continue;
            }
            let old = policy.recent.len().saturating_sub(RECENT);
            policy.recent.drain(..old);
            let keys: Vec<(f64, f64)> =
                policy.recent.iter().map(|(v, l)| (*v, scalar(l))).collect();
            // From -1/2 for what is beaten by all to 1/2 for what beats all.
            let advantage = |key: (f64, f64)| {
                let worse = keys.iter().filter(|other| key < **other).count() as f64;
                let better = keys.iter().filter(|other| key > **other).count() as f64;
                (worse - better) / (2.0 * keys.len() as f64)
            };
            let probabilities = policy.probabilities();
            for (choices, key) in &mine {
                policy.learn(choices, advantage(*key), &probabilities);
            }
            let invalid = std::mem::take(&mut policy.invalid);
            for choices in invalid.iter().take(mine.len()) {
                policy.learn(choices, -0.5, &probabilities);
            }
            policy.told += mine.len();
            policy.shrink();
            let alike = mine.len() > 1 && mine.iter().all(|(choices, _)| *choices == mine[0].0);
            if alike || policy.told >= policy.length {
                self.begin_anew(i);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_options_are_dropped_until_one_candidate_is_left() {
        let options = [4, 2, 3];
        let mut policy = Policy::new(0, &options, 12);
        let left =
            |policy: &Policy| policy.logits.iter().flatten().filter(|l| l.is_finite()).count();
        for told in 0..=12 {
            policy.told = told;
            let probabilities = policy.probabilities();
            policy.learn(&[2, 1, 0], 0.5, &probabilities);
            policy.shrink();
            assert_eq!(left(&policy), 9 - told / 2, "after {told} evaluations");
        }
        for (shares, choice) in policy.probabilities().iter().zip([2, 1, 0]) {
            assert_eq!(shares[choice], 1.0);
        }
    }

    #[test]
    fn preferences_fill_the_simplex() {
        assert_eq!(preference(3, 1), [1.0]);
        let mut first: Vec<f64> = (0..16).map(|number| preference(number, 2)[0]).collect();
        first.sort_by(f64::total_cmp);
        assert!(first[0] < 0.1 && first[15] > 0.9, "{first:?}");
        assert!(first.windows(2).all(|pair| pair[1] - pair[0] < 0.11), "{first:?}");
        let thirds: Vec<Vec<f64>> = (0..200).map(|number| preference(number, 3)).collect();
        for objective in 0..3 {
            let mean = thirds.iter().map(|w| w[objective]).sum::<f64>() / 200.0;
            assert!((mean - 1.0 / 3.0).abs() < 0.02, "{mean}");
            assert!(thirds.iter().any(|w| w[objective] > 0.85));
        }
        let sums = thirds.iter().map(|weights| weights.iter().sum::<f64>());
        assert!({ sums }.all(|sum| (sum - 1.0).abs() < 1e-12));
    }
}
