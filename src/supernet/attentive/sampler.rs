//! Which sub-networks a step trains.

use super::Sampler;
use crate::subnetworks::{SubNetwork, SuperNetwork};
use crate::training::{Cost, TrainingError};
use hashbrown::HashMap;
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Sub-networks that the prior is learned from.
const SAMPLED: usize = 1000;
/// Intervals that the range of their costs is divided into.
const INTERVALS: usize = 25;
/// Draws until one has the cost that is wanted.
const TRIES: usize = 100;

/// How costs and decisions are spread over random sub-networks.
pub(super) struct Prior<'a> {
    space: &'a SuperNetwork,
    /// Options of the decisions of each.
    sampled: Vec<Vec<usize>>,
    /// The interval of each,
    interval: Vec<usize>,
    /// and those in each interval.
    members: Vec<Vec<usize>>,
    least: u64,
    width: f64,
    /// Multiply-accumulates that are known.
    macs: HashMap<SubNetwork, u64>,
}

impl<'a> Prior<'a> {
    /// Draws the sub-networks of `space` that it is learned from, as far as `sampler` needs one.
    pub fn new(
        space: &'a SuperNetwork,
        sampler: Option<Sampler>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, TrainingError> {
        let decisions = space.decisions();
        let count = match sampler {
            Some(Sampler::BestUp(_) | Sampler::WorstUp(_)) => SAMPLED,
            Some(Sampler::Uniform) | None => 0,
        };
        let draw = |_| decisions.iter().map(|&n| rng.gen_range(0..n)).collect();
        let sampled: Vec<Vec<usize>> = (0..count).map(draw).collect();
        let costs: Vec<u64> =
            sampled.par_iter().map(|s| macs(space, &space.decide(s))).collect::<Result<_, _>>()?;
        let least = costs.iter().copied().min().unwrap_or(0);
        let most = costs.iter().copied().max().unwrap_or(0);
        let mut prior = Self {
            space,
            sampled,
            interval: Vec::new(),
            members: vec![Vec::new(); INTERVALS],
            least,
            width: ((most - least) as f64 / INTERVALS as f64).max(1.0),
            macs: HashMap::new(),
        };
        for (number, cost) in costs.into_iter().enumerate() {
            let interval = prior.interval_of(cost);
            prior.interval.push(interval);
            prior.members[interval].push(number);
        }
        Ok(prior)
    }

    fn interval_of(&self, macs: u64) -> usize {
        let place = (macs as f64 - self.least as f64) / self.width;
        (place.max(0.0) as usize).min(INTERVALS - 1)
    }

    /// Multiply-accumulates of a sub-network.
    pub fn macs(&mut self, sub: &SubNetwork) -> Result<u64, TrainingError> {
        if let Some(&known) = self.macs.get(sub) {
            return Ok(known);
        }
        let macs = macs(self.space, sub)?;
        self.macs.insert(sub.clone(), macs);
        Ok(macs)
    }

    /// As many sub-networks as `sampler` chooses from: of one cost, which is drawn as it occurs among
    /// random ones, or any.
    pub fn draw(
        &mut self,
        sampler: Sampler,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<SubNetwork>, TrainingError> {
        let (Sampler::BestUp(count) | Sampler::WorstUp(count)) = sampler else {
            return Ok(vec![self.space.sample(rng)]);
        };
        let interval = self.interval.choose(rng).copied().unwrap_or(0);
        (0..count).map(|_| self.at(interval, rng)).collect()
    }

    /// A sub-network whose cost lies in an interval: decisions, each as often as among those there, until
    /// they have that cost together, or else one of those.
    fn at(&mut self, interval: usize, rng: &mut ChaCha8Rng) -> Result<SubNetwork, TrainingError> {
        let mut options = vec![0; self.space.decisions().len()];
        for _ in 0..TRIES {
            for (decision, option) in options.iter_mut().enumerate() {
                // A random member's: options as often as they occur.
                let member = self.members[interval].choose(rng);
                *option = member.map_or(0, |&m| self.sampled[m][decision]);
            }
            let sub = self.space.decide(&options);
            let macs = self.macs(&sub)?;
            if self.interval_of(macs) == interval {
                return Ok(sub);
            }
        }
        let member = self.members[interval].choose(rng).copied().unwrap_or(0);
        Ok(self.space.decide(&self.sampled[member]))
    }
}

fn macs(space: &SuperNetwork, sub: &SubNetwork) -> Result<u64, TrainingError> {
    Ok(Cost::of(&space.build(sub)?)?.macs)
}
