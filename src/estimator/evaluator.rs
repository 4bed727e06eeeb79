//! Estimates as measures of a search.

use super::Estimator;
use crate::graph::ComputationGraph;
use crate::search::{EvaluationError, Evaluator, Network};

/// Which number of an [`Estimate`](super::Estimate) a search goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statistic {
    Mean,
    Low,
}

/// Estimated accuracies, on all cores.
#[derive(Debug, Clone)]
pub struct Accuracy<'a> {
    estimator: &'a Estimator,
    statistic: Statistic,
}

impl<'a> Accuracy<'a> {
    /// The accuracy that is expected.
    pub fn expected(estimator: &'a Estimator) -> Self {
        Self { estimator, statistic: Statistic::Mean }
    }

    /// The lower end of the 90 % interval: the accuracy that 19 of 20 networks exceed, which makes
    /// a search avoid what the model is unsure of.
    pub fn cautious(estimator: &'a Estimator) -> Self {
        Self { estimator, statistic: Statistic::Low }
    }
}

impl Evaluator for Accuracy<'_> {
    fn evaluate(&self, networks: &[Network]) -> Result<Vec<f64>, EvaluationError> {
        let graphs: Vec<&ComputationGraph> = networks.iter().map(|n| &n.graph).collect();
        let statistic = |estimate: super::Estimate| match self.statistic {
            Statistic::Mean => estimate.accuracy,
            Statistic::Low => estimate.interval[0],
        };
        // What is not finite is no number, which the search takes as the worst.
        let finite = |x: f64| if x.is_finite() { x } else { f64::NAN };
        let estimates = self.estimator.estimate(&graphs).into_iter();
        Ok(estimates.map(|estimate| finite(statistic(estimate))).collect())
    }
}
