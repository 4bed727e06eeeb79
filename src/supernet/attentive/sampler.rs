//! Which sub-networks a step trains.

use super::Sampler;
use crate::subnetworks::{SubNetwork, SuperNetwork};
use crate::training::{Cost, TrainingError};
use hashbrown::HashMap;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Sub-networks that the prior is learned from.
const SAMPLED: usize = 1000;
/// Intervals that the range of their costs is divided into.
const INTERVALS: usize = 25;
/// Random sub-networks by their cost.
pub(super) struct Prior<'a> {
    space: &'a SuperNetwork,
    /// Those in each interval.
    members: Vec<Vec<SubNetwork>>,
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
        let count = match sampler {
            Some(Sampler::BestUp(_) | Sampler::WorstUp(_)) => SAMPLED,
            Some(Sampler::Uniform) | None => 0,
        };
        let sampled: Vec<SubNetwork> = (0..count).map(|_| space.sample(rng)).collect();
        let costs: Vec<u64> =
            sampled.par_iter().map(|sub| macs(space, sub)).collect::<Result<_, _>>()?;
        let least = costs.iter().copied().min().unwrap_or(0);
        let most = costs.iter().copied().max().unwrap_or(0);
        let mut prior = Self {
            space,
            members: vec![Vec::new(); INTERVALS],
            least,
            width: ((most - least) as f64 / INTERVALS as f64).max(1.0),
            macs: HashMap::new(),
        };
        for (sub, cost) in sampled.into_iter().zip(costs) {
            let interval = prior.interval_of(cost);
            prior.macs.insert(sub.clone(), cost);
            prior.members[interval].push(sub);
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

    /// As many sub-networks as `sampler` chooses from: a random one, and others of about its cost. So the cost is
    /// drawn as it occurs among random ones.
    pub fn draw(
        &mut self,
        sampler: Sampler,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<SubNetwork>, TrainingError> {
        let mut drawn = vec![self.space.sample(rng)];
        if let Sampler::BestUp(count) | Sampler::WorstUp(count) = sampler {
            let macs = self.macs(&drawn[0])?;
            let alike = &self.members[self.interval_of(macs)];
            drawn.extend((1..count).filter_map(|_| alike.choose(rng).cloned()));
        }
        Ok(drawn)
    }
}

fn macs(space: &SuperNetwork, sub: &SubNetwork) -> Result<u64, TrainingError> {
    Ok(Cost::count(&space.build(sub)?)?.macs)
}
