//! Finding what operations cost on a device, and measuring how well that holds for networks that were
//! left out.
//!
//! Relative errors are what counts, and a few networks are slow for reasons that no graph shows; so
//! rows are divided by the measured latency, a mild ridge keeps columns apart that almost say the same,
//! and networks that don't fit lose weight in a few rounds (Holland and Welsch 1977, with Cauchy's
//! weights).

use super::{
    Agreement, Device, Kind, LatencyModel, Ranking, SCHEMA, Unit, operations, work, work_hash,
};
use crate::evaluation::Observer;
use crate::fitting::{
    bootstrap, eighths, family_quantile, least_squares, mean_spearman, numbered, top_tenth,
};
use crate::graph::ComputationGraph;
use crate::metrics::{rank_of_best, spearman};
use crate::predictor::nonnegative_least_squares;
use ndarray::{Array1, Array2, ArrayView1, Axis};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Fewest networks that a device is fitted from.
pub const MIN_NETWORKS: usize = 100;

/// Fewest groups, of which each is left out in turn.
const MIN_GROUPS: usize = 3;

/// Rounds in which networks that don't fit lose weight.
const ROUNDS: usize = 4;

/// Strengths of the ridge, by the mean square of a column, and relative errors beyond which a network
/// weighs less. There are too few families to choose by: the mean is taken.
const RIDGES: [f64; 3] = [0.003, 0.01, 0.03];
const TOLERANCES: [f64; 2] = [0.05, 0.1];

/// Half the width of the interval where no network that was left out tells of one: a factor of ten.
const UNKNOWN: f64 = std::f64::consts::LN_10;

/// A network and the time it took.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The network.
    pub graph: ComputationGraph,
    /// Networks of one group are left out together.
    pub group: String,
    /// Milliseconds for one input.
    pub latency: f64,
}

/// What a model is to say of itself.
#[derive(Debug, Clone)]
pub struct Options {
    /// The model's name.
    pub name: String,
    /// The command that makes it again, if one does.
    pub command: Option<String>,
    /// Whose time it is.
    pub device: Device,
    /// What groups are, in the plural.
    pub groups: String,
}

/// Why no model can be fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LatencyFitError {
    /// Too few networks.
    #[error("latencies of {0} networks are too few; at least {MIN_NETWORKS} are needed")]
    Few(usize),
    /// Too few groups.
    #[error("networks of {0} groups are too few; at least {MIN_GROUPS} are needed")]
    FewGroups(usize),
    /// A latency is no time.
    #[error("a latency of {0} is not possible")]
    Impossible(f64),
}

impl LatencyFitError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Few(_) => Some(format!(
                "measure {MIN_NETWORKS} networks or more, of as many kinds as you want estimates of"
            )),
            Self::Impossible(_) => Some("give milliseconds".into()),
            Self::FewGroups(_) => None,
        }
    }
}

/// What is fitted, as numbers.
struct Data {
    latencies: Vec<f64>,
    groups: Vec<usize>,
    architectures: Vec<usize>,
    /// With attention in parts and as one kernel.
    work: [Amounts; 2],
    operations: Vec<BTreeSet<&'static str>>,
    /// Of each network: parameters, MACs, activations.
    costs: Vec<[f64; 3]>,
}

/// Amounts of work.
struct Amounts {
    /// Class and quantity.
    columns: Vec<(&'static str, &'static str)>,
    /// A row for each network.
    matrix: Array2<f64>,
}

/// Fits a model to measured networks.
///
/// # Errors
/// When there are too few, or a latency is none.
pub fn fit(
    measured: &[Measured],
    options: &Options,
    observe: &Observer,
) -> Result<LatencyModel, LatencyFitError> {
    if let Some(wrong) = measured.iter().find(|m| !(m.latency > 0.0 && m.latency.is_finite())) {
        return Err(LatencyFitError::Impossible(wrong.latency));
    }
    let data = Data::new(measured);
    // Files may hold one network many times.
    let distinct = data.architectures.iter().collect::<BTreeSet<_>>().len();
    if distinct < MIN_NETWORKS {
        return Err(LatencyFitError::Few(distinct));
    }
    let groups = data.groups.iter().max().map_or(0, |last| last + 1);
    if groups < MIN_GROUPS {
        return Err(LatencyFitError::FewGroups(groups));
    }
    let mut tried = Vec::new();
    for fused in [false, true] {
        observe("fitting", tried.len(), 2);
        let amounts = &data.work[usize::from(fused)].matrix;
        let fit = |rows: &[usize]| data.coefficients(fused, rows);
        tried.push(data.left_out(groups, fit, |i, c| amounts.row(i).dot(c)));
    }
    // What is reported of a group comes from what does best on the others.
    let mut nested = vec![0.0; measured.len()];
    for group in 0..groups {
        let (own, others): (Vec<usize>, Vec<usize>) =
            (0..measured.len()).partition(|&i| data.groups[i] == group);
        let best = data.best(&tried, &others);
        own.into_iter().for_each(|i| nested[i] = tried[best][i]);
    }
    let all: Vec<usize> = (0..measured.len()).collect();
    let fused_attention = data.best(&tried, &all) == 1;
    let coefficients = data.coefficients(fused_attention, &all);

    let mut by_class: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    let columns = &data.work[usize::from(fused_attention)].columns;
    for ((class, quantity), &cost) in columns.iter().zip(&coefficients).filter(|(_, c)| **c > 0.0) {
        by_class.entry(class.to_string()).or_default().insert(quantity.to_string(), cost);
    }
    let outside = data.outside();
    let error = |i: usize| (data.groups[i], (nested[i] / data.latencies[i]).ln().abs());
    let errors = |of: bool| -> Vec<(usize, f64)> {
        all.iter().filter(|&&i| outside[i] == of).map(|&i| error(i)).collect()
    };
    let half_width = family_quantile(&errors(false));
    let half_width_outside = match errors(true).as_slice() {
        [] => UNKNOWN,
        errors => family_quantile(errors),
    };
    let half = |i: usize| match outside[i] {
        true => half_width.max(half_width_outside),
        false => half_width,
    };
    let covered: Vec<f64> =
        all.iter().map(|&i| f64::from(u8::from(error(i).1 <= half(i)))).collect();
    let mut rankings = vec![data.ranking("regression", &nested)];
    for (name, costs) in
        [("MACs", &[1][..]), ("parameters", &[0]), ("MACs and activations", &[1, 2])]
    {
        let row = |i: usize| -> Vec<f64> {
            std::iter::once(1.0).chain(costs.iter().map(|&k| data.costs[i][k].ln_1p())).collect()
        };
        let line = |rows: &[usize]| {
            let x: Vec<Vec<f64>> = rows.iter().map(|&i| row(i)).collect();
            let y: Vec<f64> = rows.iter().map(|&i| data.latencies[i].ln()).collect();
            Array1::from(least_squares(&x, &y))
        };
        let predicted = data.left_out(groups, line, |i, c| Array1::from(row(i)).dot(c).exp());
        rankings.push(data.ranking(name, &predicted));
    }
    let sides = || measured.iter().flat_map(|m| super::sides(&m.graph));
    let extreme = |f: fn(f64, f64) -> f64| data.latencies.iter().copied().reduce(f).unwrap_or(1.0);
    Ok(LatencyModel {
        schema: SCHEMA,
        kind: Kind::Latency,
        name: options.name.clone(),
        command: options.command.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        data: hash(measured),
        work: work_hash().into(),
        device: options.device.clone(),
        unit: Unit::Milliseconds,
        measured: [extreme(f64::min), extreme(f64::max)],
        images: [sides().min().unwrap_or(0), sides().max().unwrap_or(0)],
        fused_attention,
        half_width,
        half_width_outside,
        operations: data.operations.iter().flatten().map(|name| name.to_string()).collect(),
        coefficients: by_class,
        agreement: Agreement {
            left_out: options.groups.clone(),
            groups,
            networks: measured.len(),
            coverage: data.mean_of_groups(&covered),
            rankings,
        },
    })
}

/// blake3 of what is fitted.
fn hash(measured: &[Measured]) -> String {
    let mut hasher = blake3::Hasher::new();
    for Measured { graph, group, latency } in measured {
        hasher.update(format!("{} {group} {latency}\n", graph.fingerprint()).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

impl Data {
    fn new(measured: &[Measured]) -> Self {
        let amounts = |fused: bool| {
            let rows: Vec<_> = measured.par_iter().map(|m| work(&m.graph, fused)).collect();
            let columns: BTreeSet<_> = rows.iter().flat_map(|row| row.keys().copied()).collect();
            let columns: Vec<_> = columns.into_iter().collect();
            let amount = |(i, k): (usize, usize)| rows[i].get(&columns[k]).copied().unwrap_or(0.0);
            let matrix = Array2::from_shape_fn((rows.len(), columns.len()), amount);
            Amounts { columns, matrix }
        };
        let fingerprints: Vec<String> =
            measured.par_iter().map(|m| m.graph.fingerprint().to_string()).collect();
        let costs = |m: &Measured| {
            [m.graph.parameters(), m.graph.macs(), m.graph.activations()].map(|x| x as f64)
        };
        Self {
            latencies: measured.iter().map(|m| m.latency).collect(),
            groups: numbered(measured.iter().map(|m| m.group.as_str())),
            architectures: numbered(fingerprints.iter().map(String::as_str)),
            work: [amounts(false), amounts(true)],
            operations: measured.iter().map(|m| operations(&m.graph).collect()).collect(),
            costs: measured.iter().map(costs).collect(),
        }
    }

    /// What is predicted of each network by what `fit` makes of the other groups' networks, without
    /// those that have a twin in its group.
    fn left_out(
        &self,
        groups: usize,
        fit: impl Fn(&[usize]) -> Array1<f64> + Sync,
        predict: impl Fn(usize, &Array1<f64>) -> f64 + Sync,
    ) -> Vec<f64> {
        let of = |group: usize| -> Vec<(usize, f64)> {
            let rows = 0..self.latencies.len();
            let own: Vec<usize> = rows.clone().filter(|&i| self.groups[i] == group).collect();
            let twins: BTreeSet<usize> = own.iter().map(|&i| self.architectures[i]).collect();
            let other =
                |i: &usize| self.groups[*i] != group && !twins.contains(&self.architectures[*i]);
            let others: Vec<usize> = rows.filter(other).collect();
            let fitted = fit(&others);
            own.into_iter().map(|i| (i, predict(i, &fitted))).collect()
        };
        let mut predicted = vec![0.0; self.latencies.len()];
        let parts: Vec<_> = (0..groups).into_par_iter().flat_map_iter(of).collect();
        parts.into_iter().for_each(|(i, value)| predicted[i] = value);
        predicted
    }

    /// Milliseconds for each unit of each column of work, from these networks: the mean over ridges
    /// and tolerances.
    fn coefficients(&self, fused_attention: bool, rows: &[usize]) -> Array1<f64> {
        let amounts = &self.work[usize::from(fused_attention)].matrix;
        let mut relative = amounts.select(Axis(0), rows);
        for (mut row, &i) in relative.rows_mut().into_iter().zip(rows) {
            row /= self.latencies[i];
        }
        let count = rows.len() as f64;
        let scale = |column: ArrayView1<f64>| match (column.dot(&column) / count).sqrt() {
            0.0 => 1.0,
            scale => scale,
        };
        let scales: Array1<f64> = relative.columns().into_iter().map(scale).collect();
        relative /= &scales;
        let mut sum = Array1::zeros(scales.len());
        for ridge in RIDGES {
            for tolerance in TOLERANCES {
                sum += &robust(&relative, ridge * count, tolerance);
            }
        }
        sum / scales / (RIDGES.len() * TOLERANCES.len()) as f64
    }

    /// Which of what was tried does best on these networks.
    fn best(&self, tried: &[Vec<f64>], rows: &[usize]) -> usize {
        let merit = |predicted: &Vec<f64>| {
            let pick = |of: &[f64]| rows.iter().map(|&i| of[i]).collect::<Vec<f64>>();
            let (truth, scores) = (pick(&self.latencies), pick(predicted));
            within_tenth(&truth, &scores).unwrap_or(0.0)
                - relative_error(&truth, &scores).unwrap_or(0.0)
        };
        let merits: Vec<f64> = tried.iter().map(merit).collect();
        (0..tried.len()).max_by(|&a, &b| merits[a].total_cmp(&merits[b])).unwrap_or(0)
    }

    /// Whether a network has operations that no other group has.
    fn outside(&self) -> Vec<bool> {
        let mut groups: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for (operations, &group) in self.operations.iter().zip(&self.groups) {
            operations.iter().for_each(|name| {
                groups.entry(name).or_default().insert(group);
            });
        }
        let alone = |name: &&str| groups.get(name).is_some_and(|of| of.len() == 1);
        self.operations.iter().map(|operations| operations.iter().any(alone)).collect()
    }

    fn mean_of_groups(&self, values: &[f64]) -> f64 {
        let mut of: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        for (&value, &group) in values.iter().zip(&self.groups) {
            let (sum, count) = of.entry(group).or_default();
            *sum += value;
            *count += 1.0;
        }
        of.values().map(|(sum, count)| sum / count).sum::<f64>() / of.len().max(1) as f64
    }

    fn ranking(&self, estimated_by: &str, predicted: &[f64]) -> Ranking {
        let truth = &self.latencies;
        let of = |measure: fn(&[f64], &[f64]) -> Option<f64>| {
            let value = measure(truth, predicted).unwrap_or(0.0);
            (value, bootstrap(truth, predicted, &self.groups, measure))
        };
        let pairs = || truth.iter().zip(predicted);
        let errors: Vec<f64> = pairs().map(|(t, p)| (p / t - 1.0).abs()).collect();
        // Measures of rankings take the highest for the best.
        let [fast, fast_predicted] =
            [truth.as_slice(), predicted].map(|of| of.iter().map(|x| -x).collect::<Vec<f64>>());
        let macs: Vec<f64> = self.costs.iter().map(|costs| costs[1]).collect();
        let within: Vec<f64> = errors.iter().map(|&e| f64::from(u8::from(e <= 0.1))).collect();
        Ranking {
            estimated_by: estimated_by.into(),
            within_tenth: of(within_tenth),
            within_tenth_of_groups: self.mean_of_groups(&within),
            relative_error: of(relative_error),
            relative_error_of_groups: self.mean_of_groups(&errors),
            spearman: of(spearman),
            at_equal_macs: mean_spearman(truth, predicted, &eighths(&macs)),
            rank_of_fastest: rank_of_best(&fast, &fast_predicted, 1),
            fastest_tenth: top_tenth(&fast, &fast_predicted),
        }
    }
}

/// Non-negative coefficients of the columns of `relative` that bring every row near 1; rows that are
/// farther from it than `tolerance` weigh less.
fn robust(relative: &Array2<f64>, ridge: f64, tolerance: f64) -> Array1<f64> {
    let mut weights = Array1::ones(relative.nrows());
    let mut found = Array1::zeros(relative.ncols());
    for _ in 0..=ROUNDS {
        let weighted = relative * &weights.view().insert_axis(Axis(1));
        let mut gram = weighted.t().dot(&weighted);
        gram.diag_mut().iter_mut().for_each(|d| *d += ridge);
        found = nonnegative_least_squares(gram.view(), weighted.t().dot(&weights).view());
        let errors = relative.dot(&found) - 1.0;
        weights = errors.mapv(|e| 1.0 / (1.0 + (e / tolerance).powi(2)).sqrt());
    }
    found
}

/// Share of estimates within ±10 % of the truth.
fn within_tenth(truth: &[f64], estimates: &[f64]) -> Option<f64> {
    let near = truth.iter().zip(estimates).filter(|(t, e)| (*e / *t - 1.0).abs() <= 0.1).count();
    (!truth.is_empty()).then(|| near as f64 / truth.len() as f64)
}

/// Mean absolute error, by the truth.
fn relative_error(truth: &[f64], estimates: &[f64]) -> Option<f64> {
    let sum: f64 = truth.iter().zip(estimates).map(|(t, e)| (e / t - 1.0).abs()).sum();
    (!truth.is_empty()).then(|| sum / truth.len() as f64)
}
