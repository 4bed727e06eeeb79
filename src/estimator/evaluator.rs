//! Estimates as measures of a search.

use super::{Estimate, Estimator};
use crate::graph::{ComputationGraph, Fingerprint};
use crate::search::{CandidateNetwork, Direction, EvaluationError, Evaluator};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Which number of an [`Estimate`] a search goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// The accuracy that is expected.
    Mean,
    /// What [can be relied on](Estimate::reliable) where accuracy is to be made this.
    Reliable(Direction),
    /// The lower end of the 90 % interval: the accuracy that 19 of 20 networks exceed, which makes
    /// a search avoid what the model is unsure of.
    Low,
    /// The upper end of the interval.
    High,
    /// The distance from what the model was made from.
    Distance,
}

impl Statistic {
    /// The number.
    pub fn of(self, estimate: &Estimate) -> f64 {
        match self {
            Self::Mean => estimate.accuracy,
            Self::Reliable(direction) => estimate.reliable(direction),
            Self::Low => estimate.interval[0],
            Self::High => estimate.interval[1],
            Self::Distance => estimate.distance,
        }
    }
}

impl Estimate {
    /// The accuracy that a search can go by without being led astray where nothing vouches for the
    /// estimate: inside, the one that is expected; from distance 1 on, the worse end of the interval
    /// takes over, and at distance 2, where what the model learned has no say any more, it is alone.
    /// There is no step at the border that a search could use.
    pub fn reliable(&self, direction: Direction) -> f64 {
        let worse = match direction {
            Direction::Maximise => self.interval[0],
            Direction::Minimise => self.interval[1],
        };
        let doubt = (self.distance - 1.0).clamp(0.0, 1.0);
        self.accuracy + doubt * (worse - self.accuracy)
    }
}

/// Estimates that are kept for the other measures of the same networks, at most; more than a search
/// measures at a time.
const KEPT: usize = 1024;

/// Estimated accuracies, on all cores.
#[derive(Debug, Clone)]
pub struct Accuracy<'a> {
    estimator: &'a Estimator,
    statistic: Statistic,
    /// What was estimated last.
    met: Arc<Mutex<HashMap<Fingerprint, Estimate>>>,
}

impl<'a> Accuracy<'a> {
    /// The accuracy that is expected.
    pub fn expected(estimator: &'a Estimator) -> Self {
        Self { estimator, statistic: Statistic::Mean, met: Arc::default() }
    }

    /// Another number of the same estimates, which are made once for both.
    pub fn by(&self, statistic: Statistic) -> Self {
        Self { statistic, ..self.clone() }
    }
}

impl Evaluator for Accuracy<'_> {
    fn evaluate(&self, networks: &[CandidateNetwork]) -> Result<Vec<f64>, EvaluationError> {
        // What a fault left behind is a whole estimate or none.
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let mut asked = HashSet::new();
        let new: Vec<&CandidateNetwork> = networks
            .iter()
            .filter(|n| !met.contains_key(&n.fingerprint) && asked.insert(n.fingerprint))
            .collect();
        if met.len() + new.len() > KEPT {
            let these: HashSet<Fingerprint> = networks.iter().map(|n| n.fingerprint).collect();
            met.retain(|fingerprint, _| these.contains(fingerprint));
        }
        let graphs: Vec<&ComputationGraph> = new.iter().map(|n| &n.graph).collect();
        let estimates = self.estimator.estimate(&graphs)?;
        met.extend(new.iter().map(|n| n.fingerprint).zip(estimates));
        let number = |network: &CandidateNetwork| {
            met.get(&network.fingerprint).map_or(f64::NAN, |estimate| self.statistic.of(estimate))
        };
        Ok(networks.iter().map(number).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reliance_ends_where_knowledge_ends_without_a_step() {
        let at = |distance: f64| Estimate {
            accuracy: 90.0,
            interval: [70.0, 95.0],
            distance,
            in_distribution: distance <= 1.0,
            depends_on_input: true,
        };
        let more = |distance| at(distance).reliable(Direction::Maximise);
        let less = |distance| at(distance).reliable(Direction::Minimise);
        assert_eq!([more(0.0), more(1.0), less(0.3), less(1.0)], [90.0; 4]);
        assert_eq!([more(2.0), more(9.0), less(2.0), less(9.0)], [70.0, 70.0, 95.0, 95.0]);
        for step in 0..300 {
            let (near, far) = (f64::from(step) / 100.0, f64::from(step + 1) / 100.0);
            assert!((0.0..=0.2001).contains(&(more(near) - more(far))), "{near}");
            assert!((0.0..=0.0501).contains(&(less(far) - less(near))), "{near}");
        }
    }
}
