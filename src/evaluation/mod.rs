//! How well scores rank labelled networks: a model's estimates, without labels of the family and
//! fitted to a few, beside the trivial baselines.
//!
//! [`evaluate`] turns a [`Family`] into a [`FamilyReport`], on which all output formats work.

pub mod ablation;
mod render;

pub use render::{Rows, details, markdown, summary, top};

use crate::benchmarks::{BenchmarkError, Networks, few_shot};
use crate::encoder::{GraphStore, Neighbourhoods};
use crate::estimator::{Estimate, Estimator, NotFinite};
use crate::metrics;
use crate::predictor::{FewShotError, FewShotRegressor};
use crate::proxies::Proxies;
use ablation::Spread;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Networks to rank, and what is known of where they come from.
pub struct Family<'a> {
    /// Name of the family.
    pub name: String,
    /// What was measured.
    pub target: String,
    /// Which part of the family this is.
    pub split: String,
    /// The networks.
    pub networks: &'a dyn Networks,
}

/// Fitting to a few labels of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct FewShot {
    /// Labelled networks to fit to.
    pub labels: usize,
    /// Draws of these networks; every method fits to the same ones.
    pub seeds: u64,
}

/// What is measured of a ranking. True values are rescaled for NDCG alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// [`metrics::spearman`].
    Spearman,
    /// [`metrics::kendall_tau_b`].
    Kendall,
    /// [`metrics::kendall_tau_apart`] for pairs at least 0.01 percentage points apart (1e-4 where
    /// all targets lie in 0 to 1).
    KendallApart,
    /// [`metrics::ndcg_at`] 10, true values rescaled to 0 for the worst network and 1 for the best.
    NdcgAt10,
    /// [`metrics::ndcg_at`] 50, rescaled in the same way.
    NdcgAt50,
    /// [`metrics::mean_absolute_error`], for scores in the unit of the target.
    MeanAbsoluteError,
    /// [`metrics::top_k_overlap`] of 10.
    Top10Overlap,
    /// [`metrics::top_k_overlap`] of 50.
    Top50Overlap,
    /// [`metrics::rank_of_best`] of 1: the true rank of the network that is ranked first.
    RankOfFirst,
    /// [`metrics::rank_of_best`] of 10.
    BestOfTen,
    /// [`metrics::regret`].
    Regret,
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 11] = [
        Self::Spearman,
        Self::Kendall,
        Self::KendallApart,
        Self::NdcgAt10,
        Self::NdcgAt50,
        Self::MeanAbsoluteError,
        Self::Top10Overlap,
        Self::Top50Overlap,
        Self::RankOfFirst,
        Self::BestOfTen,
        Self::Regret,
    ];

    /// The value for these scores; `None` where it is not defined.
    pub fn of(self, truth: &[f64], scores: &[f64]) -> Option<f64> {
        let range = || {
            let finite = |f: fn(f64, f64) -> f64| truth.iter().copied().reduce(f);
            Some((finite(f64::min)?, finite(f64::max)?))
        };
        let ndcg = |k| {
            let (low, high) = range()?;
            let gains: Vec<f64> = truth.iter().map(|t| (t - low) / (high - low)).collect();
            metrics::ndcg_at(&gains, scores, k)
        };
        let value = match self {
            Self::Spearman => metrics::spearman(truth, scores),
            Self::Kendall => metrics::kendall_tau_b(truth, scores),
            Self::KendallApart => {
                let (low, high) = range()?;
                let apart = if low >= 0.0 && high <= 1.0 { 1e-4 } else { 1e-2 };
                metrics::kendall_tau_apart(truth, scores, apart)
            }
            Self::NdcgAt10 => ndcg(10),
            Self::NdcgAt50 => ndcg(50),
            Self::MeanAbsoluteError => metrics::mean_absolute_error(truth, scores),
            Self::Top10Overlap => metrics::top_k_overlap(truth, scores, 10),
            Self::Top50Overlap => metrics::top_k_overlap(truth, scores, 50),
            Self::RankOfFirst => metrics::rank_of_best(truth, scores, 1),
            Self::BestOfTen => metrics::rank_of_best(truth, scores, 10),
            Self::Regret => metrics::regret(truth, scores),
        };
        // Of targets that are all the same, say, there is no best.
        value.filter(|value| value.is_finite())
    }
}

/// A measure of one ranking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Measured {
    /// What it is.
    pub measure: Measure,
    /// Its value; the mean over the draws of few-shot labels, if there are any.
    pub value: f64,
    /// 95 % percentile bootstrap interval over networks, for the rank correlations and the error
    /// of scores that use no labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// Standard deviation over the draws of few-shot labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
}

/// One ranking of a family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Ranking {
    /// What the networks are ranked by.
    pub ranked_by: String,
    /// Labels of the family that it was fitted to.
    pub labels: usize,
    /// How good it is.
    pub measures: Vec<Measured>,
}

impl Ranking {
    /// One of the measures, if it is defined.
    pub fn get(&self, measure: Measure) -> Option<&Measured> {
        self.measures.iter().find(|m| m.measure == measure)
    }
}

/// How well a family is ranked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct FamilyReport {
    /// Name of the family.
    pub family: String,
    /// What was measured.
    pub target: String,
    /// Which part of the family.
    pub split: String,
    /// Number of networks.
    pub networks: usize,
    /// Share of networks whose target lies in the model's 90 % interval.
    pub coverage: f64,
    /// Spearman's correlation between the widths of the intervals and the absolute errors.
    pub width_by_error: Option<f64>,
    /// How labels were drawn, if some rankings use them.
    pub few_shot: Option<FewShot>,
    /// The model first, then the baselines.
    pub rankings: Vec<Ranking>,
    /// Estimates in the order of the networks, for pictures.
    #[serde(skip)]
    pub predicted: Vec<f64>,
    /// Targets in the order of the networks, for pictures.
    #[serde(skip)]
    pub truth: Vec<f64>,
}

/// Why a family can't be evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A network can't be turned into a graph.
    #[error(transparent)]
    Network(#[from] BenchmarkError),
    /// The model is out of all proportion.
    #[error("{family}: the model's estimate of {network} is not a finite number")]
    NotFinite {
        /// The family.
        family: String,
        /// The network.
        network: String,
    },
    /// There is nothing to rank.
    #[error("{family}: {networks} networks can't be ranked; at least {least} are needed")]
    Few {
        /// The family.
        family: String,
        /// Its networks.
        networks: usize,
        /// How many it takes.
        least: usize,
    },
    /// The few labels can't be fitted.
    #[error("{family}: fitting to a few labels: {source}")]
    FewShot {
        /// The family.
        family: String,
        /// Why not.
        source: FewShotError,
    },
}

/// Resamples behind an interval.
const RESAMPLES: usize = 1000;

/// Hears what is being done, how many networks it is done for, and for how many it has to be.
pub type Observer<'a> = dyn Fn(&'static str, usize, usize) + Sync + 'a;

/// What networks are ranked by, and what they are fitted from.
struct Scores {
    truth: Vec<f64>,
    estimates: Vec<Estimate>,
    embeddings: Array2<f32>,
    proxies: Vec<Proxies>,
}

impl Scores {
    fn compute(
        networks: &dyn Networks,
        store: &GraphStore,
        estimator: &Estimator,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Self, NotFinite> {
        let (estimates, embeddings) = estimator.estimate_store(store, done)?;
        Ok(Self {
            truth: (0..networks.len()).map(|i| networks.target(i)).collect(),
            estimates,
            embeddings,
            proxies: (0..store.len()).map(|i| *store.proxies(i)).collect(),
        })
    }

    /// Logarithms of parameters and MACs.
    fn logarithms(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.proxies.len(), 2), |(i, j)| {
            let Proxies { parameters, macs, .. } = self.proxies[i];
            (1.0 + [parameters, macs][j] as f64).ln()
        })
    }
}

/// Ranks the networks of `family` by `estimator` and by the baselines. Graphs are taken from the
/// folder `cache`, or left there; also why that failed, if so. `observe` hears how it goes.
///
/// # Errors
/// When a network can't be turned into a graph or there are too few.
pub fn evaluate(
    family: &Family,
    estimator: &Estimator,
    few_shot: Option<FewShot>,
    cache: &Path,
    observe: &Observer,
) -> Result<(FamilyReport, Option<io::Error>), EvaluationError> {
    let networks = family.networks;
    let least = few_shot.map_or(2, |f| f.labels + 2);
    if networks.len() < least {
        let (family, networks) = (family.name.clone(), networks.len());
        return Err(EvaluationError::Few { family, networks, least });
    }
    let count = networks.len();
    let built = |done| observe("building", done, count);
    let (store, unsaved) =
        GraphStore::cached(cache, &contents(networks), count, |i| networks.graph(i), &built)?;
    let scored = |done| observe("scoring", done, count);
    let scores = Scores::compute(networks, &store, estimator, &scored).map_err(|e| {
        let (family, network) = (family.name.clone(), networks.name(e.network));
        EvaluationError::NotFinite { family, network }
    })?;

    let predicted: Vec<f64> = scores.estimates.iter().map(|e| e.accuracy).collect();
    let name = estimator.manifest().name.clone();
    let proxy = |of: fn(&Proxies) -> f64| scores.proxies.iter().map(of).collect::<Vec<f64>>();
    let columns = [
        (name.as_str(), predicted.clone()),
        ("parameters", proxy(|c| c.parameters as f64)),
        ("MACs", proxy(|c| c.macs as f64)),
        ("synflow", proxy(|c| c.log_synflow)),
        ("training-free", proxy(Proxies::score)),
    ];
    let measured = AtomicUsize::new(0);
    let mut rankings: Vec<Ranking> = columns
        .par_iter()
        .enumerate()
        .map(|(i, (name, column))| {
            let measures = measure(&scores.truth, column, i == 0);
            observe("measuring", measured.fetch_add(1, Ordering::Relaxed) + 1, columns.len());
            Ranking { ranked_by: name.to_string(), labels: 0, measures }
        })
        .collect();
    if let Some(few_shot) = few_shot {
        let fitted = fitted(networks, &store, &scores, &name, few_shot, observe)
            .map_err(|source| EvaluationError::FewShot { family: family.name.clone(), source })?;
        rankings.extend(fitted);
    }

    let covers = |(e, t): (&Estimate, &f64)| (e.interval[0]..=e.interval[1]).contains(t);
    let covered = scores.estimates.iter().zip(&scores.truth).filter(|&p| covers(p)).count();
    let widths: Vec<f64> = scores.estimates.iter().map(|e| e.interval[1] - e.interval[0]).collect();
    let errors: Vec<f64> =
        predicted.iter().zip(&scores.truth).map(|(p, t)| (p - t).abs()).collect();
    let report = FamilyReport {
        family: family.name.clone(),
        target: family.target.clone(),
        split: family.split.clone(),
        networks: networks.len(),
        coverage: covered as f64 / networks.len() as f64,
        width_by_error: metrics::spearman(&errors, &widths),
        few_shot,
        rankings,
        predicted,
        truth: scores.truth,
    };
    Ok((report, unsaved))
}

/// What tells the networks from others in a cache.
pub(crate) fn contents(networks: &dyn Networks) -> String {
    let mut hasher = blake3::Hasher::new();
    for i in 0..networks.len() {
        // A file may have changed under its name, which its class tells.
        for text in [networks.name(i), networks.class(i)] {
            hasher.update(text.as_bytes());
            hasher.update(b"\n");
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// All measures of one column of scores; the error only when these are `estimates` of the target.
fn measure(truth: &[f64], scores: &[f64], estimates: bool) -> Vec<Measured> {
    let measured = |measure: Measure| {
        let value = measure.of(truth, scores)?;
        let bootstrap =
            matches!(measure, Measure::Spearman | Measure::Kendall | Measure::MeanAbsoluteError);
        let of = |t: &[f64], s: &[f64]| measure.of(t, s);
        // The same seed for all, so that intervals don't hang on which score is measured.
        let interval = bootstrap
            .then(|| metrics::bootstrap_interval(truth, scores, of, RESAMPLES, 0.95, 0))
            .flatten();
        Some(Measured { measure, value, interval, deviation: None })
    };
    let defined = Measure::ALL
        .into_par_iter()
        .filter(|&m| estimates || m != Measure::MeanAbsoluteError)
        .filter_map(measured);
    defined.collect()
}

pub(crate) fn views(parts: &[Array2<f64>]) -> Vec<ArrayView2<'_, f64>> {
    parts.iter().map(Array2::view).collect()
}

/// The model, what is known without one, and the costs, fitted to the same few labels, on the
/// networks of other classes.
fn fitted(
    networks: &dyn Networks,
    store: &GraphStore,
    scores: &Scores,
    model: &str,
    setting: FewShot,
    observe: &Observer,
) -> Result<Vec<Ranking>, FewShotError> {
    let drawn = AtomicUsize::new(0);
    let estimates: Vec<f64> = scores.estimates.iter().map(|e| e.accuracy).collect();
    let features =
        FewShotRegressor::features(&estimates, scores.embeddings.view(), &scores.proxies);
    let costs = [scores.logarithms()];
    let names = [
        format!("{model}, fitted"),
        "training-free, fitted".to_string(),
        "parameters and MACs, fitted".to_string(),
    ];
    let draw = |seed| -> Result<Vec<Vec<(Measure, f64)>>, FewShotError> {
        let (labelled, rest) = few_shot(networks, setting.labels, seed);
        let targets = |rows: &[usize]| rows.iter().map(|&i| scores.truth[i]).collect::<Vec<f64>>();
        let truth = targets(&rest);
        let rows = |of: &Array2<f64>, rows: &[usize]| of.select(Axis(0), rows);
        // The costs alone see no structure.
        let method = |train: &[Array2<f64>], test: &[Array2<f64>], structural: bool| {
            let structure = |&i: &usize| Neighbourhoods::new(&store.features(i));
            let seen: Vec<Neighbourhoods> =
                labelled.iter().filter(|_| structural).map(structure).collect();
            let regressor = FewShotRegressor::fit(&views(train), &seen, &targets(&labelled))?;
            let predicted = regressor.predict(&views(test), |row| structure(&rest[row]));
            let value = |m: Measure| Some((m, m.of(&truth, &predicted)?));
            Ok(Measure::ALL.into_iter().filter_map(value).collect())
        };
        let distances: Vec<f64> = labelled.iter().map(|&i| scores.estimates[i].distance).collect();
        let train =
            FewShotRegressor::labelled(features.each_ref().map(|f| rows(f, &labelled)), &distances);
        // Nothing of a model that may have seen labels of the family.
        let unknown = vec![f64::INFINITY; labelled.len()];
        let untrained =
            FewShotRegressor::labelled(features.each_ref().map(|f| rows(f, &labelled)), &unknown);
        let test = features.each_ref().map(|f| rows(f, &rest));
        let measured = [
            method(&train, &test, true),
            method(&untrained, &test, true),
            method(
                &costs.each_ref().map(|f| rows(f, &labelled)),
                &costs.each_ref().map(|f| rows(f, &rest)),
                false,
            ),
        ]
        .into_iter()
        .collect();
        let count = drawn.fetch_add(1, Ordering::Relaxed) + 1;
        observe("fitting", count, usize::try_from(setting.seeds).unwrap_or(usize::MAX));
        measured
    };
    let draws = (0..setting.seeds).into_par_iter().map(draw).collect::<Result<Vec<_>, _>>()?;
    let summary = |(i, name): (usize, &String)| {
        let measured = |measure: Measure| {
            let of = |draw: &Vec<Vec<(Measure, f64)>>| {
                draw[i].iter().find(|(m, _)| *m == measure).map(|(_, value)| *value)
            };
            let values: Vec<f64> = draws.iter().map(of).collect::<Option<_>>()?;
            let Spread { mean, deviation, .. } = Spread::new(values);
            Some(Measured { measure, value: mean, interval: None, deviation })
        };
        Ranking {
            ranked_by: name.clone(),
            labels: setting.labels,
            measures: Measure::ALL.into_iter().filter_map(measured).collect(),
        }
    };
    Ok(names.iter().enumerate().map(summary).collect())
}
