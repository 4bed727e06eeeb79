//! Estimates of networks that people design, from labels of such.

use super::golden::descriptors_hash;
use super::{LoadError, MANIFEST, WEIGHTS, WriteError};
use crate::benchmarks::Target;
use crate::encoder::{WeightError, WeightFile, Weights};
use crate::predictor::{Hyperparameters, Process};
use crate::proxies::DESCRIPTORS;
use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the format of these models.
pub const SCHEMA: u32 = 2;

/// `manifest.json` of a model of real networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub schema: u32,
    /// The model's name.
    pub name: String,
    /// The command that makes it again.
    pub command: String,
    /// Version of the program that made it.
    pub version: String,
    /// blake3 of all networks' fingerprints, labels and covariates.
    pub data: String,
    /// What descriptors were when it was made; must equal the program's.
    pub descriptors: String,
    /// Of its heads.
    pub hyperparameters: Hyperparameters,
    /// Names of the covariates.
    pub covariates: Vec<String>,
    /// What it estimates.
    pub targets: Vec<Facts>,
    /// How well it does on what was left out.
    pub evaluation: Vec<Evaluation>,
    /// The labels, in the order of the process's rows.
    pub networks: Vec<Known>,
}

/// What is known of a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The target.
    pub target: Target,
    /// Mean of the logarithm of the error in per cent.
    pub mean: f64,
    /// Its standard deviation, the unit of the process.
    pub deviation: f64,
    /// Half the width of the 90 % interval of the logarithm of the error: for families that were left
    /// out, each with the same weight.
    pub half_width: f64,
    /// The same, for families of which none like them was there.
    pub half_width_outside: f64,
    /// Distance from the nearest labelled network within which 95 % of the networks of families
    /// left out lie.
    pub reach: f64,
    /// The logarithm of the odds that the better one by the process is the better one, for each unit
    /// of the difference, by pairs of networks of families left out.
    pub odds: f64,
    /// Covariates to predict with, by the name of the recipe; the first holds unless another is
    /// asked for.
    pub recipes: Vec<(String, Vec<f64>)>,
}

/// A labelled network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Its name, recipe or author included.
    pub name: String,
    /// Measured, in per cent.
    pub accuracy: f64,
    /// Estimated by heads that were fitted without its family, in per cent, of labels that count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<f64>,
}

/// Agreement with labels that were left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Evaluation {
    /// The target.
    pub target: Target,
    /// What was left out together.
    pub left_out: String,
    /// How many groups that made.
    pub groups: usize,
    /// Networks that were predicted.
    pub networks: usize,
    /// By the heads, by one head for all clusters, and by the baselines.
    pub rankings: Vec<Ranking>,
    /// Each group of at least [`MIN_OF_GROUP`] networks by itself, where groups are few.
    pub each: Vec<GroupRanking>,
}

/// Networks that it takes to say how well a group is ranked.
pub const MIN_OF_GROUP: usize = 20;

/// How well the networks of a group are ranked that was left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct GroupRanking {
    /// Its name.
    pub group: String,
    /// Its networks.
    pub networks: usize,
    /// Spearman's rank correlation: the heads', parameters', MACs'.
    pub spearman: [f64; 3],
    /// The heads' mean absolute error, in per cent.
    pub mean_absolute_error: f64,
}

/// How well something ranks networks that were left out. In brackets, 95 % bootstrap intervals over
/// the groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Ranking {
    /// What it is.
    pub ranked_by: String,
    /// Spearman's rank correlation.
    pub spearman: (f64, [f64; 2]),
    /// Kendall's τ-b.
    pub kendall: (f64, [f64; 2]),
    /// Mean absolute error, in per cent; of what is no estimate, after a straight line through the
    /// others.
    pub mean_absolute_error: (f64, [f64; 2]),
    /// Mean of Spearman's over families of at least five networks.
    pub within_family: Option<f64>,
    /// Mean of Spearman's over eighths of the networks by MACs.
    pub at_equal_macs: Option<f64>,
    /// Share of pairs of different families in the right order.
    pub pairs: f64,
    /// Share of accuracies in the 90 % interval, the mean over families.
    pub coverage: Option<f64>,
    /// Median width of the intervals, in per cent.
    pub width: Option<f64>,
    /// True rank of the network that is ranked first.
    pub rank_of_best: usize,
    /// Share of the true best tenth among the tenth that is ranked highest.
    pub precision_at_tenth: f64,
    /// Accuracy of the best network less that of the one ranked first.
    pub regret: f64,
}

/// Heads of fuzzy clusters on descriptors, of labelled real networks.
#[derive(Debug, Clone)]
pub struct RealNetworks {
    manifest: Manifest,
    process: Process,
    /// Of each cluster, the networks that belong to it most.
    clusters: Vec<Vec<String>>,
}

/// Networks that a cluster is known by.
const KNOWN_BY: usize = 3;

/// What the head of a cluster says of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadEstimate {
    /// Of the network in the cluster; all add up to 1.
    pub membership: f64,
    /// Accuracy in per cent.
    pub accuracy: f64,
    /// Networks that belong to the cluster most; none of the noise cluster.
    pub like: Vec<String>,
}

/// What is estimated of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct RealEstimate {
    /// Accuracy in per cent.
    pub accuracy: f64,
    /// 90 % interval.
    pub interval: [f64; 2],
    /// From the nearest labelled network; within 1 lie 95 % of the networks of families left out.
    pub distance: f64,
    /// Negative logarithm of the error, in units of the target: what [`Facts::odds`] are about.
    pub merit: f64,
    /// What each head says, the noise cluster's last.
    pub heads: Vec<HeadEstimate>,
    /// The nearest labelled networks: position in [`Manifest::networks`] and distance.
    pub neighbours: Vec<(usize, f64)>,
}

/// Neighbours that are told of, at most.
const NEIGHBOURS: usize = 20;

impl RealNetworks {
    /// The model made of its parts.
    pub fn new(manifest: Manifest, process: Process) -> Self {
        let architecture = |row: usize| {
            let name = &manifest.networks[row].name;
            name.rsplit_once('.')
                .map_or(name.as_str(), |(architecture, _)| architecture)
                .to_string()
        };
        let like = |cluster: usize| {
            let mut like: Vec<String> = Vec::with_capacity(KNOWN_BY);
            for name in process.members(cluster).into_iter().map(architecture) {
                if like.len() < KNOWN_BY && !like.contains(&name) {
                    like.push(name);
                }
            }
            like
        };
        let clusters = (0..process.clusters()).map(like).collect();
        Self { manifest, process, clusters }
    }

    /// The model in `folder`.
    ///
    /// # Errors
    /// When a file can't be read, or the model doesn't fit this version of the program.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        let (manifest, weights) = super::read_folder(folder)?;
        Self::from_bytes(&manifest, &weights)
    }

    /// The model made of the contents of its two files.
    ///
    /// # Errors
    /// When they don't fit each other or this version of the program.
    pub fn from_bytes(manifest: &[u8], weights: &[u8]) -> Result<Self, LoadError> {
        let fail = |e: serde_json::Error| LoadError::Manifest(e.to_string());
        let manifest: Manifest = serde_json::from_slice(manifest).map_err(fail)?;
        if manifest.schema != SCHEMA {
            let schema = manifest.schema;
            return Err(LoadError::Manifest(format!("schema {schema}, expected {SCHEMA}")));
        }
        if manifest.descriptors != descriptors_hash() {
            let (model, program) = (manifest.descriptors, descriptors_hash().to_string());
            return Err(LoadError::Features { model, program });
        }
        let covariates = manifest.covariates.len();
        let sound = |facts: &Facts| {
            let numbers = [
                facts.mean,
                facts.deviation,
                facts.half_width,
                facts.half_width_outside,
                facts.reach,
                facts.odds,
            ];
            numbers.iter().all(|x| x.is_finite())
                && facts.reach > 0.0
                && facts.deviation > 0.0
                && facts.half_width >= 0.0
                && facts.half_width_outside >= 0.0
                && !facts.recipes.is_empty()
                && facts.recipes.iter().all(|(_, values)| values.len() == covariates)
        };
        if let Some(facts) = manifest.targets.iter().find(|facts| !sound(facts)) {
            let what = format!("what is said of {} makes no sense", facts.target);
            return Err(LoadError::Manifest(what));
        }
        let weights = Weights::parse(weights)?;
        let (rows, targets) = (manifest.networks.len(), manifest.targets.len());
        let process =
            Process::load(manifest.hyperparameters, [rows, covariates, targets], &weights)?;
        Ok(Self::new(manifest, process))
    }

    /// The contents of its two files.
    ///
    /// # Errors
    /// When a number can't be written.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, Vec<u8>), WeightError> {
        let mut file = WeightFile::default();
        self.process.store(&mut file);
        let mut json = serde_json::to_vec_pretty(&self.manifest)
            .map_err(|e| WeightError::Invalid { name: MANIFEST.into(), reason: e.to_string() })?;
        json.push(b'\n');
        Ok((json, file.to_bytes()?))
    }

    /// Makes `folder` a model folder, as a whole or not at all.
    ///
    /// # Errors
    /// When the folder holds anything but a model, or can't be written; it is then what it was.
    pub fn save(&self, folder: &Path) -> Result<(), WriteError> {
        let (json, weights) = self.to_bytes().map_err(|e| WriteError {
            path: folder.into(),
            source: std::io::Error::other(e.to_string()),
        })?;
        super::write_folder(folder, &[(WEIGHTS, &weights), (MANIFEST, &json)])
    }

    /// What the model says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What is known of a target, if the model estimates it.
    pub fn facts(&self, target: Target) -> Option<&Facts> {
        self.manifest.targets.iter().find(|facts| facts.target == target)
    }

    /// Labelled networks of a target, and what heads that were fitted without their family say of each:
    /// accuracy and 90 % interval, in per cent.
    pub fn left_out(&self, target: Target) -> Vec<(&Known, f64, [f64; 2])> {
        let targets = &self.manifest.targets;
        let Some(index) = targets.iter().position(|facts| facts.target == target) else {
            return Vec::new();
        };
        let facts = &targets[index];
        let width = facts.half_width / facts.deviation;
        let of = |(row, known): (usize, &'_ Known)| {
            let estimate = known.left_out.filter(|_| self.process.target(row) == index)?;
            let value = facts.value(estimate);
            Some((row, estimate, [value + width, value - width].map(|v| facts.accuracy(v))))
        };
        let rows = self.manifest.networks.iter().enumerate().filter_map(of);
        rows.map(|(row, estimate, interval)| (&self.manifest.networks[row], estimate, interval))
            .collect()
    }

    /// What is estimated of a network with these [descriptors](crate::proxies::descriptors), trained
    /// by the recipe of this name or, without a name, as is usual; none where the model has not the
    /// target or the target not the recipe.
    pub fn estimate(
        &self,
        descriptors: &[f64; DESCRIPTORS.len()],
        target: Target,
        recipe: Option<&str>,
    ) -> Option<RealEstimate> {
        let index = self.manifest.targets.iter().position(|facts| facts.target == target)?;
        let facts = &self.manifest.targets[index];
        let (_, covariates) = match recipe {
            None => facts.recipes.first()?,
            Some(name) => facts.recipes.iter().find(|(known, _)| known == name)?,
        };
        let (descriptors, covariates) =
            (ArrayView1::from(descriptors), ArrayView1::from(covariates));
        let prediction = self.process.predict(descriptors, index, covariates);
        let mut neighbours: Vec<(usize, f64)> =
            prediction.distances.into_iter().enumerate().collect();
        neighbours.retain(|(row, _)| self.process.target(*row) == index);
        neighbours.sort_by(|a, b| a.1.total_cmp(&b.1));
        neighbours.truncate(NEIGHBOURS);
        let distance = neighbours.first().map_or(f64::INFINITY, |(_, d)| d / facts.reach);
        let width = facts.half_width_at(distance);
        let accuracy = |value: f64| facts.accuracy(value);
        let beyond = width / facts.deviation;
        let head = |(cluster, (membership, value)): (usize, &(f64, f64))| HeadEstimate {
            membership: *membership,
            accuracy: accuracy(*value),
            like: self.clusters.get(cluster).cloned().unwrap_or_default(),
        };
        Some(RealEstimate {
            accuracy: accuracy(prediction.value),
            interval: [accuracy(prediction.value + beyond), accuracy(prediction.value - beyond)],
            distance,
            merit: -prediction.value,
            heads: prediction.heads.iter().enumerate().map(head).collect(),
            neighbours,
        })
    }
}

impl Facts {
    /// The accuracy that a value of the process stands for, in per cent.
    pub fn accuracy(&self, value: f64) -> f64 {
        100.0 - (self.mean + self.deviation * value).exp().clamp(0.0, 100.0)
    }

    /// The value of the process that stands for an accuracy in per cent.
    pub fn value(&self, accuracy: f64) -> f64 {
        ((100.0 - accuracy).ln() - self.mean) / self.deviation
    }

    /// Half the width of the interval of the logarithm of the error, for a network at this distance.
    pub fn half_width_at(&self, distance: f64) -> f64 {
        if distance <= 1.0 {
            self.half_width
        } else {
            self.half_width_outside.max(self.half_width) * distance
        }
    }
}
