//! What a model knows of networks before a search queries true values.

use super::{Estimator, NotFinite};
use crate::graph::ComputationGraph;
use crate::proxies::{MEASURES, Proxies};
use crate::search::algorithms::Surrogate;
use ndarray::Array2;
use rayon::prelude::*;

/// Networks are alike when their training-free [descriptors](Proxies::measures) are, and as good
/// as the model estimates.
impl Surrogate for Estimator {
    fn features(&self, graphs: &[ComputationGraph]) -> Array2<f64> {
        let rows: Vec<[f64; MEASURES]> =
            graphs.par_iter().map(|graph| Proxies::new(graph).measures()).collect();
        Array2::from_shape_fn((rows.len(), MEASURES), |(i, j)| rows[i][j])
    }

    fn prior(&self, graphs: &[ComputationGraph]) -> Vec<f64> {
        match self.estimate(graphs) {
            Ok(estimates) => estimates.into_iter().map(|estimate| estimate.accuracy).collect(),
            // It knows nothing of them.
            Err(NotFinite { .. }) => vec![0.0; graphs.len()],
        }
    }
}
