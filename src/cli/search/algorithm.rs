//! Algorithms by name.

use crate::cli::error::Error;
use crate::estimator::Estimator;
use crate::search::algorithms::{
    AttentiveSampling, Evolution, Guided, LocalSearch, Nsga2, PolicyGradient, RandomSearch,
};
use crate::search::{Algorithm, SearchSpace};
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names of the algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AlgorithmName {
    /// Independent draws.
    Random,
    /// Steps to better neighbours, with restarts.
    LocalSearch,
    /// Regularised (ageing) evolution.
    Evolution,
    /// Non-dominated sorting genetic algorithm II.
    Nsga2,
    /// AttentiveNAS's sampling: for each cost (MACs) a batch at that cost, learning from the best.
    Attentive,
    /// TND-NAS's policy gradient, in a space that shrinks as it goes.
    PolicyGradient,
    /// Few queries: a Gaussian process over what the model knows of networks is fitted to the
    /// values so far after each batch. For objectives that take long, such as cmd:….
    Guided,
}

/// True values that the guided search queries before it is fitted again.
const QUERIES: usize = 5;

impl AlgorithmName {
    /// What is taken when nothing is said, for so many objectives.
    pub fn usual(objectives: usize) -> Self {
        if objectives > 1 { Self::Nsga2 } else { Self::Evolution }
    }

    pub fn algorithm<'a, S: SearchSpace>(
        self,
        space: &S,
        estimator: &'a Estimator,
    ) -> Result<Box<dyn Algorithm<S> + 'a>, Error>
    where
        S::Candidate: 'a,
    {
        Ok(match self {
            Self::Random => Box::new(RandomSearch),
            Self::LocalSearch => Box::new(LocalSearch::default()),
            Self::Evolution => Box::new(Evolution::default()),
            Self::Nsga2 => Box::new(Nsga2::default()),
            Self::Attentive => Box::new(AttentiveSampling::default()),
            Self::PolicyGradient => Box::new(PolicyGradient::new(space)?),
            Self::Guided => Box::new(Guided::new(estimator, QUERIES)),
        })
    }
}
