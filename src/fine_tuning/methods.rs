//! What can be made of a user's labels.

use super::FineTuneError;
use crate::benchmarks::Networks;
use crate::encoder::{GraphStore, Neighbourhoods, WeightError, WeightFile};
use crate::estimator::{Estimate, Estimator, Metrics};
use crate::evaluation::{Observer, contents, views};
use crate::predictor::FewShotRegressor;
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// Labelled networks, and what the base model says of them.
pub(super) struct Labelled<'a> {
    pub base: &'a Estimator,
    store: GraphStore,
    targets: Vec<f64>,
    estimates: Vec<Estimate>,
    embeddings: Array2<f32>,
    /// [`FewShotRegressor::features`].
    features: [Array2<f64>; 3],
}

/// What a method makes of some of the labels.
pub(super) struct Fitted {
    pub regressor: FewShotRegressor,
    /// Of the labelled networks.
    embeddings: Array2<f32>,
    /// Encoder and head, and all else that the base has.
    file: WeightFile,
    /// Names of the operations that the encoder knows.
    pub operations: Vec<String>,
    /// What is predicted of each label from the others.
    left_out: Vec<f64>,
}

impl<'a> Labelled<'a> {
    /// Also why graphs can't be kept in the cache, if so.
    pub fn new(
        base: &'a Estimator,
        networks: &dyn Networks,
        cache: Option<&Path>,
        observe: &Observer,
    ) -> Result<(Self, Option<io::Error>), FineTuneError> {
        let count = networks.len();
        let built = |done| observe("building", done, count);
        let graph = |i| networks.graph(i);
        let (store, unsaved) = match cache {
            Some(cache) => GraphStore::cached(cache, &contents(networks), count, graph, &built)?,
            None => (GraphStore::build(count, graph, &built)?, None),
        };
        let scored = base.estimate_store(&store, &|done| observe("scoring", done, count));
        let (estimates, embeddings) = scored.map_err(|e| {
            let (name, network) = (base.manifest().name.clone(), networks.name(e.network));
            FineTuneError::NotFinite { name, network }
        })?;
        let accuracies: Vec<f64> = estimates.iter().map(|e| e.accuracy).collect();
        let proxies: Vec<_> = (0..count).map(|i| *store.proxies(i)).collect();
        let features = FewShotRegressor::features(&accuracies, embeddings.view(), &proxies);
        let targets = (0..count).map(|i| networks.target(i)).collect();
        Ok((Self { base, store, targets, estimates, embeddings, features }, unsaved))
    }

    /// How well the base estimates these labels.
    pub fn before(&self, rows: &[usize], seed: u64) -> Metrics {
        let estimates: Vec<Estimate> = rows.iter().map(|&i| self.estimates[i]).collect();
        Metrics::estimates(&self.targets(rows), &estimates, seed)
    }

    /// How well what was made of these labels predicts each from the others.
    pub fn after(&self, rows: &[usize], fitted: &Fitted, seed: u64) -> Metrics {
        Metrics::values(&self.targets(rows), &fitted.left_out, seed)
    }

    /// The base, with other values in the same order.
    pub fn recalibrated(&self, rows: &[usize]) -> Result<Fitted, FineTuneError> {
        let estimates: Vec<f64> = rows.iter().map(|&i| self.estimates[i].accuracy).collect();
        let (regressor, left_out) = FewShotRegressor::recalibrate(&estimates, &self.targets(rows))?;
        self.frozen(rows, regressor, left_out)
    }

    /// A regression on what the base knows.
    pub fn adapted(&self, rows: &[usize]) -> Result<Fitted, FineTuneError> {
        let distances: Vec<f64> = rows.iter().map(|&i| self.estimates[i].distance).collect();
        let features = FewShotRegressor::labelled(self.features(rows), &distances);
        let (regressor, left_out) = self.fit(rows, &features)?;
        self.frozen(rows, regressor, left_out)
    }

    /// With encoder and head trained further, by so many steps at most. What is fitted are the scores that labels are given
    /// when they are left out of that training. Embeddings are not: those of the labels that the
    /// encoder was trained on say more than others'.
    #[cfg(feature = "train")]
    pub fn tuned(
        &self,
        rows: &[usize],
        steps: usize,
        seed: u64,
        observe: &Observer,
    ) -> Result<Fitted, FineTuneError> {
        let done = |done, of| observe("training", done, of);
        let targets = self.targets(rows);
        let tuned = super::gradient_descent::train_further(
            self.base,
            &self.store,
            rows,
            &targets,
            steps,
            seed,
            &done,
        )?;
        let [mut scores, mut embeddings, proxies] = self.features(rows);
        scores.column_mut(0).iter_mut().zip(&tuned.left_out).for_each(|(to, &score)| *to = score);
        // A group that does not vary is not used.
        embeddings.fill(0.0);
        let (regressor, left_out) = self.fit(rows, &[scores, embeddings, proxies])?;
        let mut fitted = self.frozen(rows, regressor, left_out)?;
        for (name, (shape, elements)) in &tuned.tensors {
            fitted.file.put(name, shape, elements);
        }
        let operations = tuned.operations.iter().map(|o| o.name().to_string()).collect();
        Ok(Fitted { embeddings: tuned.embeddings, operations, ..fitted })
    }

    /// The file of a model made of what a method made of the labels at these positions.
    pub fn weights(&self, fitted: Fitted, rows: &[usize]) -> Result<Vec<u8>, WeightError> {
        let mut file = fitted.file;
        fitted.regressor.store(&mut file);
        let signatures: BTreeSet<u32> = rows
            .iter()
            .flat_map(|&i| self.store.features(i).signatures().map(|(s, _)| s).collect::<Vec<_>>())
            .collect();
        let domain = self.base.domain().around(fitted.embeddings.view(), signatures);
        domain.store("adaptation.territory", &mut file);
        file.to_bytes()
    }

    fn targets(&self, rows: &[usize]) -> Vec<f64> {
        rows.iter().map(|&i| self.targets[i]).collect()
    }

    fn features(&self, rows: &[usize]) -> [Array2<f64>; 3] {
        self.features.each_ref().map(|f| f.select(Axis(0), rows))
    }

    fn fit(
        &self,
        rows: &[usize],
        features: &[Array2<f64>],
    ) -> Result<(FewShotRegressor, Vec<f64>), FineTuneError> {
        let structures: Vec<Neighbourhoods> =
            rows.par_iter().map(|&i| Neighbourhoods::new(&self.store.features(i))).collect();
        let targets = self.targets(rows);
        Ok(FewShotRegressor::fit_left_out(&views(features), &structures, &targets)?)
    }

    /// With encoder and head as they were.
    fn frozen(
        &self,
        rows: &[usize],
        regressor: FewShotRegressor,
        left_out: Vec<f64>,
    ) -> Result<Fitted, FineTuneError> {
        Ok(Fitted {
            left_out: left_out.into_iter().map(|rank| regressor.value(rank)).collect(),
            regressor,
            embeddings: self.embeddings.select(Axis(0), rows),
            file: WeightFile::parse(self.base.weights())?,
            operations: self.base.manifest().operations.clone(),
        })
    }
}
