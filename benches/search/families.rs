//! The labelled spaces.

use crate::tabled::{Labels, Tabled};
use gennape::benchmarks::labels::LabelTable;
use gennape::benchmarks::{BenchmarkError, Labelled, nasbench_macro, nasbench101, nasbench201};
use gennape::estimator::Estimator;
use gennape::search::{Algorithm, Limits, Problem, Record, Search, Start};
use gennape::spaces::Architecture;
use gennape::spaces::nasbench201::Dataset;
use gennape::spaces::{
    nasbench_macro as space_macro, nasbench101 as space_101, nasbench201 as space_201,
};
use std::collections::HashMap;
use std::path::Path;

/// A labelled space with its labels by key.
pub struct Family<'a, A> {
    pub name: &'static str,
    pub space: Tabled<'a, A>,
    pub networks: Vec<Labelled<A>>,
    pub labels: HashMap<String, f64>,
    /// True accuracies, the highest first.
    sorted: Vec<f64>,
}

impl<'a, A: Architecture> Family<'a, A> {
    pub fn new(
        name: &'static str,
        key: fn(&A) -> String,
        networks: Vec<Labelled<A>>,
        estimators: Vec<&'a Estimator>,
    ) -> Self {
        let labels: HashMap<String, f64> =
            networks.iter().map(|n| (key(&n.architecture), n.accuracy)).collect();
        assert_eq!(labels.len(), networks.len(), "keys tell architectures apart");
        let mut sorted: Vec<f64> = networks.iter().map(|n| n.accuracy).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        Self { name, space: Tabled::new(key, estimators), networks, labels, sorted }
    }

    pub fn truth(&self) -> Labels<'_, A> {
        Labels { values: &self.labels, key: self.space.key }
    }

    /// Rank of an accuracy in the space, from 1.
    pub fn rank(&self, accuracy: f64) -> usize {
        1 + self.sorted.partition_point(|&other| other > accuracy)
    }

    /// The accuracy that a share of the space exceeds.
    pub fn quantile(&self, share: f64) -> f64 {
        self.sorted[(share * (self.sorted.len() - 1) as f64) as usize]
    }

    /// Architectures of the highest accuracy.
    pub fn best(&self) -> impl Iterator<Item = &A> {
        let best = self.sorted[0];
        self.networks.iter().filter(move |n| n.accuracy == best).map(|n| &n.architecture)
    }

    /// A whole search.
    pub fn run(
        &'a self,
        problem: &Problem,
        algorithm: &mut dyn Algorithm<Tabled<'a, A>>,
        limits: Limits,
        start: Start<A>,
    ) -> Record<A> {
        let search = Search::new(&self.space, problem).algorithm(algorithm).start(start);
        let record = search.budget(limits.budget).seed(limits.seed).run();
        record.expect("every network has labels and estimates")
    }
}

pub fn nasbench201<'a>(
    folder: &Path,
    dataset: Dataset,
    estimators: Vec<&'a Estimator>,
) -> Result<Family<'a, space_201::Cell>, BenchmarkError> {
    let networks = nasbench201::load(folder, dataset)?;
    Ok(Family::new("NAS-Bench-201", ToString::to_string, networks, estimators))
}

/// NAS-Bench-201's validation accuracies after 12 epochs.
pub fn twelve_epochs(folder: &Path, column: &str) -> Result<HashMap<String, f64>, BenchmarkError> {
    let table = LabelTable::read(&folder.join(nasbench201::FILE))?;
    let (networks, _) = table.architectures::<space_201::Cell>(column)?;
    Ok(networks.into_iter().map(|n| (n.architecture.to_string(), n.accuracy)).collect())
}

pub fn nasbench_macro<'a>(
    folder: &Path,
    estimators: Vec<&'a Estimator>,
) -> Result<Family<'a, space_macro::MacroNetwork>, BenchmarkError> {
    let networks = nasbench_macro::load(folder)?;
    Ok(Family::new("NAS-Bench-Macro", ToString::to_string, networks, estimators))
}

/// Its file holds one cell of each isomorphism class, and a search meets the others too.
pub fn nasbench101<'a>(
    folder: &Path,
    estimators: Vec<&'a Estimator>,
) -> Result<Family<'a, space_101::Cell>, BenchmarkError> {
    let networks = nasbench101::load(folder)?;
    Ok(Family::new("NAS-Bench-101", Architecture::canonical, networks, estimators))
}
