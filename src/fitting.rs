//! Fitting models of real networks, and measuring them on what was left out.
//!
//! What is reported of a family is predicted by heads that were fitted without it: descriptors are
//! scaled and networks are clustered anew, so that nothing is known of the family, not even its
//! graphs. Nothing is chosen by labels: hyperparameters are [fixed](Hyperparameters::default).

use crate::benchmarks::real::{Label, LabelSet};
use crate::benchmarks::{BenchmarkError, Target};
use crate::estimator::descriptors_hash;
use crate::estimator::real::{
    Evaluation, Facts, GroupRanking, Known, MIN_OF_GROUP, Manifest, Ranking, RealNetworks, SCHEMA,
};
use crate::evaluation::Observer;
use crate::graph::ComputationGraph;
use crate::lower::lower;
use crate::metrics::{
    kendall_tau_b, mean_absolute_error, rank_of_best, regret, spearman, top_k_overlap,
};
use crate::onnx::{self, ReadOptions};
use crate::predictor::{Hyperparameters, Process, ProcessError, Rows};
use crate::proxies::{DESCRIPTORS, Proxies, descriptors};
use ndarray::{Array1, Array2};
#[cfg(feature = "train")]
use ndarray::{ArrayView2, Axis, concatenate};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Why no model can be fitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// The labels or their networks can't be read.
    #[error(transparent)]
    Labels(#[from] BenchmarkError),
    /// There are too few labels.
    #[error(
        "{0} labels of {1} are too few; at least {MIN_LABELS} of at least 3 families are needed"
    )]
    Few(usize, Target),
    /// The labels can't be fitted: an error of the program.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// Fewest labels of a target.
const MIN_LABELS: usize = 20;

/// How to fit.
#[derive(Debug, Clone)]
pub struct Options {
    /// The model's name.
    pub name: String,
    /// The command that makes it again.
    pub command: String,
}

/// What is fitted, as numbers.
#[derive(Clone)]
pub(crate) struct Data {
    pub rows: Rows,
    labels: Vec<f64>,
    /// The labels that count, by target.
    reference: Vec<Vec<usize>>,
    pub targets: Vec<Target>,
    accuracies: Vec<f64>,
    pub superfamilies: Vec<usize>,
    /// Names of these.
    names: Vec<String>,
    /// In the order of the targets.
    neutral: Vec<Array1<f64>>,
    /// Mean and standard deviation of the logarithm of the error.
    scales: Vec<(f64, f64)>,
    /// Of each label: parameters, MACs, activations.
    costs: Vec<[f64; 3]>,
}

/// What is predicted for groups of networks by heads fitted without them.
pub(crate) struct LeftOut {
    /// With the recipe that is usual.
    pub usual: Vec<f64>,
    /// With each label's own covariates.
    own: Vec<f64>,
    /// Distance from the nearest network with a label of the target.
    nearest: Vec<f64>,
}

/// Fits a model to `set`.
///
/// # Errors
/// When a network can't be read, or there are too few labels.
pub fn fit(
    set: &LabelSet,
    options: &Options,
    observe: &Observer,
) -> Result<RealNetworks, FitError> {
    let (set, graphs) = read(set, observe)?;
    let data = Data::new(&set, &graphs)?;
    let shipped = Hyperparameters::default();
    let alone = shipped.one_head();
    let groups = [&data.rows.families, &data.superfamilies];
    let mut left_out = Vec::new();
    for (hyperparameters, groups) in [(&shipped, 0), (&shipped, 1), (&alone, 0), (&alone, 1)]
        .map(|(hyperparameters, which)| (hyperparameters, groups[which]))
    {
        observe("leaving families out", left_out.len(), 4);
        left_out.push(data.left_out(hyperparameters, groups)?);
    }
    let [families, superfamilies, families_alone, superfamilies_alone] = &left_out[..] else {
        unreachable!("there are four")
    };
    let process = Process::fit(&data.rows, &data.labels, &shipped)?;

    let mut facts = Vec::new();
    let mut evaluation = Vec::new();
    for (index, (&target, recipes)) in data.targets.iter().zip(&set.recipes).enumerate() {
        let known = data.facts(index, families, superfamilies, recipes);
        let [inside, outside] = [known.half_width, known.half_width_outside.max(known.half_width)];
        let of = |what, groups, predicted: &LeftOut, alone: &LeftOut, half_width| {
            let usual = [predicted.usual.as_slice(), &alone.usual];
            data.evaluate(index, what, groups, usual, half_width)
        };
        evaluation.push(of("families", groups[0], families, families_alone, inside));
        evaluation.push(of(
            "superfamilies",
            groups[1],
            superfamilies,
            superfamilies_alone,
            outside,
        ));
        if target == Target::ImageNet1k {
            let own = [families.own.as_slice(), &families_alone.own];
            let what = "families, recipe known";
            evaluation.push(data.evaluate(index, what, groups[0], own, inside));
        }
        facts.push(known);
    }
    let known = |(i, (label, &value)): (usize, (&Label, &f64))| Known {
        name: label.name.clone(),
        accuracy: label.accuracy,
        // Hundredths are what labels have.
        left_out: label.reference.then(|| (data.accuracy(i, value) * 100.0).round() / 100.0),
    };
    let manifest = Manifest {
        schema: SCHEMA,
        name: options.name.clone(),
        command: options.command.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        data: hash(&set, &graphs),
        descriptors: descriptors_hash().into(),
        hyperparameters: shipped,
        covariates: set.covariates.clone(),
        targets: facts,
        evaluation,
        networks: set.labels.iter().zip(&families.usual).enumerate().map(known).collect(),
    };
    Ok(RealNetworks::new(manifest, process))
}

/// The labels whose networks can be told apart, and these, in order.
pub(crate) fn read(
    set: &LabelSet,
    observe: &Observer,
) -> Result<(LabelSet, Vec<ComputationGraph>), FitError> {
    let files: BTreeSet<_> = set.labels.iter().map(|label| &label.file).collect();
    observe("reading", 0, files.len());
    let graph = |file: &std::path::PathBuf| -> Result<_, BenchmarkError> {
        let fail = |error: &(dyn std::error::Error + 'static)| {
            BenchmarkError::network(file.display().to_string(), error)
        };
        let model = onnx::read(file, &ReadOptions::default()).map_err(|e| fail(&e))?;
        Ok((file.clone(), lower(&model).map_err(|e| fail(&e))?))
    };
    let files: Vec<_> = files.into_iter().collect();
    let graphs: HashMap<_, _> = files.into_par_iter().map(graph).collect::<Result<_, _>>()?;
    // Of one author and recipe, two labels of one architecture mean that the file does not hold what
    // tells them apart: binarised weights, masks.
    let mut labels: HashMap<String, usize> = HashMap::new();
    let key = |label: &crate::benchmarks::real::Label| {
        let fingerprint = graphs[&label.file].fingerprint();
        format!("{fingerprint} {} {:?} {:?}", label.target, label.covariates, label.recipe)
    };
    if set.labels.iter().all(|label| label.recipe.is_none()) {
        set.labels.iter().for_each(|label| *labels.entry(key(label)).or_default() += 1);
    }
    let kept = set.labels.iter().filter(|label| labels.get(&key(label)).is_none_or(|&n| n == 1));
    let set = LabelSet { labels: kept.cloned().collect(), ..set.clone() };
    let graphs = set.labels.iter().map(|label| graphs[&label.file].clone()).collect();
    Ok((set, graphs))
}

/// blake3 of what is fitted.
fn hash(set: &LabelSet, graphs: &[ComputationGraph]) -> String {
    let mut hasher = blake3::Hasher::new();
    for (label, graph) in set.labels.iter().zip(graphs) {
        let (target, accuracy) = (label.target, label.accuracy);
        let fingerprint = graph.fingerprint();
        let line = format!("{fingerprint} {target} {accuracy} {:?}\n", label.covariates);
        hasher.update(line.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// A number for each distinct text.
pub(crate) fn numbered<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    texts
        .map(|text| {
            let next = known.len();
            *known.entry(text).or_insert(next)
        })
        .collect()
}

impl Data {
    pub(crate) fn new(set: &LabelSet, graphs: &[ComputationGraph]) -> Result<Self, FitError> {
        let labels = &set.labels;
        let rows: Vec<[f64; DESCRIPTORS.len()]> =
            graphs.par_iter().map(|g| descriptors(g, &Proxies::new(g))).collect();
        let costs = graphs.iter().map(|g| {
            let activations = Proxies::new(g).paths.activations;
            [g.parameters(), g.macs(), activations].map(|x| x as f64)
        });
        let targets: Vec<Target> = set.recipes.iter().map(|r| r.target).collect();
        let index = |label: &crate::benchmarks::real::Label| {
            targets.iter().position(|t| *t == label.target).unwrap_or(0)
        };
        let of: Vec<usize> = labels.iter().map(index).collect();
        let reference: Vec<Vec<usize>> = (0..targets.len())
            .map(|t| (0..labels.len()).filter(|&i| of[i] == t && labels[i].reference).collect())
            .collect();
        let families = numbered(labels.iter().map(|label| label.family.as_str()));
        let log_error = |i: usize| (100.0 - labels[i].accuracy).ln();
        let mut scales = Vec::new();
        for (t, rows) in reference.iter().enumerate() {
            let distinct: HashSet<usize> = rows.iter().map(|&i| families[i]).collect();
            if rows.len() < MIN_LABELS || distinct.len() < 3 {
                return Err(FitError::Few(rows.len(), targets[t]));
            }
            let values: Array1<f64> = rows.iter().map(|&i| log_error(i)).collect();
            scales.push((values.mean().unwrap_or(0.0), values.std(0.0).max(1e-6)));
        }
        let values = (0..labels.len()).map(|i| {
            let (mean, deviation) = scales[of[i]];
            (log_error(i) - mean) / deviation
        });
        let fingerprints: Vec<String> =
            graphs.iter().map(|g| g.fingerprint().to_string()).collect();
        let tags = numbered(labels.iter().map(|label| label.recipe.as_deref().unwrap_or("")));
        let tagged = |i: usize| labels[i].recipe.is_some().then_some(tags[i]);
        let width = set.covariates.len();
        let process = Rows {
            descriptors: Array2::from_shape_fn((rows.len(), DESCRIPTORS.len()), |(i, k)| {
                rows[i][k]
            }),
            clustered_by_embedding: false,
            covariates: Array2::from_shape_fn((rows.len(), width), |(i, k)| {
                labels[i].covariates[k]
            }),
            targets: of.clone(),
            families,
            architectures: numbered(fingerprints.iter().map(String::as_str)),
            recipes: (0..labels.len()).map(tagged).collect(),
        };
        let superfamilies = numbered(labels.iter().map(|label| label.superfamily.as_str()));
        let last = superfamilies.iter().copied().max().map_or(0, |last| last + 1);
        let name = |group: usize| {
            let first = superfamilies.iter().position(|&s| s == group);
            first.map_or_else(String::new, |i| labels[i].superfamily.clone())
        };
        Ok(Self {
            rows: process,
            labels: values.collect(),
            reference,
            accuracies: labels.iter().map(|label| label.accuracy).collect(),
            names: (0..last).map(name).collect(),
            superfamilies,
            neutral: set.recipes.iter().map(|r| r.recipes[0].1.clone().into()).collect(),
            targets,
            scales,
            costs: costs.collect(),
        })
    }

    /// What is predicted for each group from the labels of all architectures that are not in it.
    pub(crate) fn left_out(
        &self,
        h: &Hyperparameters,
        groups: &[usize],
    ) -> Result<LeftOut, FitError> {
        let rows = &self.rows;
        let last = groups.iter().copied().max().map_or(0, |last| last + 1);
        let predict = |group: usize| -> Result<Vec<(usize, [f64; 3])>, FitError> {
            let members: Vec<usize> = (0..rows.len()).filter(|&i| groups[i] == group).collect();
            let architectures: HashSet<usize> =
                members.iter().map(|&i| rows.architectures[i]).collect();
            let kept: Vec<usize> = (0..rows.len())
                .filter(|&i| !architectures.contains(&rows.architectures[i]))
                .collect();
            let labels: Vec<f64> = kept.iter().map(|&i| self.labels[i]).collect();
            let process = Process::fit(&rows.select(&kept), &labels, h)?;
            let of = |i: usize| {
                let (descriptors, target) = (rows.descriptors.row(i), rows.targets[i]);
                let usual = process.predict(descriptors, target, self.neutral[target].view());
                let own = process.predict(descriptors, target, rows.covariates.row(i));
                let same = kept.iter().zip(&usual.distances);
                let same = same.filter(|(j, _)| rows.targets[**j] == target);
                let nearest = same.map(|(_, d)| *d).fold(f64::INFINITY, f64::min);
                (i, [usual.value, own.value, nearest])
            };
            Ok(members.into_iter().map(of).collect())
        };
        let parts: Vec<_> = (0..last).into_par_iter().map(predict).collect::<Result<_, _>>()?;
        let [mut usual, mut own, mut nearest] = [0; 3].map(|_| vec![f64::NAN; rows.len()]);
        for (i, values) in parts.into_iter().flatten() {
            [usual[i], own[i], nearest[i]] = values;
        }
        Ok(LeftOut { usual, own, nearest })
    }

    /// With embeddings of the networks, a row each, beside their descriptors, and clustered by these
    /// if so.
    #[cfg(feature = "train")]
    pub(crate) fn beside(&self, embeddings: Option<ArrayView2<f32>>, clustered: bool) -> Self {
        let mut data = self.clone();
        if let Some(embeddings) = embeddings {
            let embeddings = embeddings.mapv(f64::from);
            data.rows.descriptors = concatenate![Axis(1), self.rows.descriptors, embeddings];
            data.rows.clustered_by_embedding = clustered;
        }
        data
    }

    /// Of what was predicted of all networks, by the labels of a target that count: Spearman's rank
    /// correlation, the mean absolute error in per cent, the true rank of the network that comes first,
    /// and the share of the best tenth among the first tenth.
    #[cfg(feature = "train")]
    pub(crate) fn agreement(&self, target: usize, predicted: &[f64]) -> [f64; 4] {
        let rows = &self.reference[target];
        let truth: Vec<f64> = rows.iter().map(|&i| self.accuracies[i]).collect();
        let values: Vec<f64> = rows.iter().map(|&i| self.accuracy(i, predicted[i])).collect();
        let error = mean_absolute_error(&truth, &values).unwrap_or(f64::INFINITY);
        [
            spearman(&truth, &values).unwrap_or(0.0),
            error,
            rank_of_best(&truth, &values, 1).unwrap_or(truth.len() as f64),
            top_tenth(&truth, &values).unwrap_or(0.0),
        ]
    }

    /// The accuracy that a value of a target stands for.
    fn accuracy(&self, row: usize, value: f64) -> f64 {
        let (mean, deviation) = self.scales[self.rows.targets[row]];
        100.0 - (mean + deviation * value).exp().clamp(0.0, 100.0)
    }
}

impl Data {
    /// What a target's model is to know of itself, from predictions of what was left out.
    fn facts(
        &self,
        index: usize,
        families: &LeftOut,
        superfamilies: &LeftOut,
        recipes: &crate::benchmarks::real::TargetRecipes,
    ) -> Facts {
        let (mean, deviation) = self.scales[index];
        let rows = &self.reference[index];
        let groups = &self.rows.families;
        let errors = |predicted: &[f64]| -> Vec<(usize, f64)> {
            let value = |i: usize| ((100.0 - self.accuracies[i]).ln() - mean) / deviation;
            rows.iter().map(|&i| (groups[i], deviation * (predicted[i] - value(i)).abs())).collect()
        };
        // By how much more the better one by the process is the better one.
        let mut pairs = Vec::new();
        for (a, &i) in rows.iter().enumerate() {
            for &j in &rows[..a] {
                if groups[i] != groups[j] && self.accuracies[i] != self.accuracies[j] {
                    let difference = families.usual[j] - families.usual[i];
                    pairs.push((difference, self.accuracies[i] > self.accuracies[j]));
                }
            }
        }
        Facts {
            target: self.targets[index],
            mean,
            deviation,
            half_width: family_quantile(&errors(&families.usual)),
            half_width_outside: family_quantile(&errors(&superfamilies.usual)),
            reach: self.reach(index, &families.nearest),
            odds: log_odds(&pairs),
            recipes: recipes.recipes.iter().map(|(n, c)| (n.to_string(), c.clone())).collect(),
        }
    }

    /// The distance that 95 % of the labelled networks are within of the nearest one of another
    /// family.
    fn reach(&self, index: usize, nearest: &[f64]) -> f64 {
        let mut distances: Vec<f64> = self.reference[index].iter().map(|&i| nearest[i]).collect();
        distances.sort_by(f64::total_cmp);
        distances[(0.95 * (distances.len() - 1) as f64) as usize].clamp(1e-6, f64::MAX)
    }

    fn evaluate(
        &self,
        index: usize,
        left_out: &str,
        groups: &[usize],
        [predicted, alone]: [&[f64]; 2],
        half_width: f64,
    ) -> Evaluation {
        let rows = &self.reference[index];
        let (mean, deviation) = self.scales[index];
        let values: Vec<f64> = rows.iter().map(|&i| self.accuracy(i, predicted[i])).collect();
        let interval = |i: usize| {
            let log = mean + deviation * predicted[i];
            [log + half_width, log - half_width].map(|l| 100.0 - l.exp().clamp(0.0, 100.0))
        };
        let intervals: Vec<[f64; 2]> = rows.iter().map(|&i| interval(i)).collect();
        let mut rankings = vec![self.ranking(index, "heads", groups, &values, Some(&intervals))];
        let scores: Vec<f64> = rows.iter().map(|&i| self.accuracy(i, alone[i])).collect();
        rankings.push(self.ranking(index, "one head", groups, &scores, None));
        for (k, name) in ["parameters", "MACs", "activations"].into_iter().enumerate() {
            let scores = self.line(index, groups, &[k]);
            rankings.push(self.ranking(index, name, groups, &scores, None));
        }
        let scores = self.line(index, groups, &[0, 1, 2]);
        rankings.push(self.ranking(index, "linear", groups, &scores, None));
        let distinct: HashSet<usize> = rows.iter().map(|&i| groups[i]).collect();
        // Of families there are too many.
        let each = if std::ptr::eq(groups, self.superfamilies.as_slice()) {
            self.each(index, &values)
        } else {
            Vec::new()
        };
        Evaluation {
            target: self.targets[index],
            left_out: left_out.into(),
            groups: distinct.len(),
            networks: rows.len(),
            rankings,
            each,
        }
    }

    /// Superfamilies by themselves, from accuracies that were estimated for the labels that count.
    fn each(&self, index: usize, values: &[f64]) -> Vec<GroupRanking> {
        let rows = &self.reference[index];
        let of = |(group, name): (usize, &String)| {
            let members: Vec<usize> =
                (0..rows.len()).filter(|&k| self.superfamilies[rows[k]] == group).collect();
            let pick = |of: &dyn Fn(usize) -> f64| -> Vec<f64> {
                members.iter().map(|&k| of(k)).collect()
            };
            let truth = pick(&|k| self.accuracies[rows[k]]);
            let scores = pick(&|k| values[k]);
            let [parameters, macs] = [0, 1].map(|c| pick(&|k| self.costs[rows[k]][c]));
            let by = |scores: &[f64]| spearman(&truth, scores).unwrap_or(0.0);
            (members.len() >= MIN_OF_GROUP).then(|| GroupRanking {
                group: name.clone(),
                networks: members.len(),
                spearman: [by(&scores), by(&parameters), by(&macs)],
                mean_absolute_error: mean_absolute_error(&truth, &scores).unwrap_or(f64::MAX),
            })
        };
        self.names.iter().enumerate().filter_map(of).collect()
    }

    /// Accuracies by a straight line through the logarithms of these costs of all other groups.
    fn line(&self, index: usize, groups: &[usize], costs: &[usize]) -> Vec<f64> {
        let rows = &self.reference[index];
        let features = |i: usize| -> Vec<f64> {
            let logs = costs.iter().map(|&k| (1.0 + self.costs[i][k]).ln());
            std::iter::once(1.0).chain(logs).collect()
        };
        let mut by_group: HashMap<usize, Vec<f64>> = HashMap::new();
        let value = |&i: &usize| {
            let coefficients = by_group.entry(groups[i]).or_insert_with(|| {
                let others: Vec<usize> =
                    rows.iter().copied().filter(|&j| groups[j] != groups[i]).collect();
                let x: Vec<Vec<f64>> = others.iter().map(|&j| features(j)).collect();
                let y: Vec<f64> =
                    others.iter().map(|&j| (100.0 - self.accuracies[j]).ln()).collect();
                least_squares(&x, &y)
            });
            let log: f64 = features(i).iter().zip(coefficients.iter()).map(|(x, c)| x * c).sum();
            100.0 - log.exp().clamp(0.0, 100.0)
        };
        rows.iter().map(value).collect()
    }

    fn ranking(
        &self,
        index: usize,
        ranked_by: &str,
        groups: &[usize],
        scores: &[f64],
        intervals: Option<&[[f64; 2]]>,
    ) -> Ranking {
        let rows = &self.reference[index];
        let truth: Vec<f64> = rows.iter().map(|&i| self.accuracies[i]).collect();
        let own: Vec<usize> = rows.iter().map(|&i| groups[i]).collect();
        let families: Vec<usize> = rows.iter().map(|&i| self.rows.families[i]).collect();
        let of = |measure: fn(&[f64], &[f64]) -> Option<f64>| {
            let value = measure(&truth, scores).unwrap_or(0.0);
            (value, bootstrap(&truth, scores, &own, measure))
        };
        let macs: Vec<f64> = rows.iter().map(|&i| self.costs[i][1]).collect();
        let (mut right, mut all) = (0.0, 0.0);
        for a in 0..rows.len() {
            for b in (0..a).filter(|&b| families[a] != families[b] && truth[a] != truth[b]) {
                all += 1.0;
                right += match (truth[a] > truth[b], scores[a].total_cmp(&scores[b])) {
                    (_, std::cmp::Ordering::Equal) => 0.5,
                    (true, std::cmp::Ordering::Greater) | (false, std::cmp::Ordering::Less) => 1.0,
                    _ => 0.0,
                };
            }
        }
        let covered = intervals.map(|intervals| {
            let inside = |i: usize| (intervals[i][0]..=intervals[i][1]).contains(&truth[i]);
            // In order, so that the sum is the same in every run.
            let mut of: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
            for (i, family) in families.iter().enumerate() {
                let (hits, count) = of.entry(*family).or_default();
                *hits += f64::from(u8::from(inside(i)));
                *count += 1.0;
            }
            of.values().map(|(hits, count)| hits / count).sum::<f64>() / of.len() as f64
        });
        let width = intervals.map(|intervals| {
            let mut widths: Vec<f64> = intervals.iter().map(|[low, high]| high - low).collect();
            widths.sort_by(f64::total_cmp);
            widths[widths.len() / 2]
        });
        Ranking {
            ranked_by: ranked_by.into(),
            spearman: of(spearman),
            kendall: of(kendall_tau_b),
            mean_absolute_error: of(mean_absolute_error),
            within_family: mean_spearman(&truth, scores, &families),
            at_equal_macs: mean_spearman(&truth, scores, &eighths(&macs)),
            pairs: right / f64::max(all, 1.0),
            coverage: covered,
            width,
            rank_of_best: rank_of_best(&truth, scores, 1).map_or(0, |rank| rank as usize),
            precision_at_tenth: top_tenth(&truth, scores).unwrap_or(0.0),
            regret: regret(&truth, scores).unwrap_or(0.0),
        }
    }
}

/// Share of the true best tenth among those with the highest scores, as many.
pub(crate) fn top_tenth(truth: &[f64], scores: &[f64]) -> Option<f64> {
    top_k_overlap(truth, scores, truth.len().div_ceil(10))
}

/// Which eighth each is in by ascending cost.
pub(crate) fn eighths(costs: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by(|&a, &b| costs[a].total_cmp(&costs[b]));
    let mut eighths = vec![0; costs.len()];
    order.iter().enumerate().for_each(|(place, &i)| eighths[i] = 8 * place / costs.len());
    eighths
}

/// Mean of Spearman's rank correlations within groups of at least five.
pub(crate) fn mean_spearman(truth: &[f64], scores: &[f64], groups: &[usize]) -> Option<f64> {
    let distinct: BTreeSet<usize> = groups.iter().copied().collect();
    let part = |group: usize| -> Option<f64> {
        let members: Vec<usize> = (0..groups.len()).filter(|&i| groups[i] == group).collect();
        let pick = |of: &[f64]| members.iter().map(|&i| of[i]).collect::<Vec<f64>>();
        if members.len() < 5 { None } else { spearman(&pick(truth), &pick(scores)) }
    };
    let values: Vec<f64> = distinct.into_iter().filter_map(part).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// 95 % percentile bootstrap interval over groups.
pub(crate) fn bootstrap(
    truth: &[f64],
    scores: &[f64],
    groups: &[usize],
    measure: fn(&[f64], &[f64]) -> Option<f64>,
) -> [f64; 2] {
    const RESAMPLES: usize = 1000;
    let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
    groups.iter().enumerate().for_each(|(i, &g)| members.entry(g).or_default().push(i));
    let mut members: Vec<Vec<usize>> = members.into_values().collect();
    members.sort();
    let resample = |seed: usize| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
        let rows: Vec<usize> = (0..members.len())
            .flat_map(|_| members[rng.gen_range(0..members.len())].iter().copied())
            .collect();
        let pick = |of: &[f64]| rows.iter().map(|&i| of[i]).collect::<Vec<f64>>();
        measure(&pick(truth), &pick(scores))
    };
    let mut values: Vec<f64> = (0..RESAMPLES).into_par_iter().filter_map(resample).collect();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get((share * values.len() as f64) as usize).copied();
    [at(0.025).unwrap_or(f64::NEG_INFINITY), at(0.975).unwrap_or(f64::INFINITY)]
}

/// What 90 % of further errors are at most, families weighing the same: the conformal quantile
/// (Vovk et al. 2005) with a weight for each error.
pub(crate) fn family_quantile(errors: &[(usize, f64)]) -> f64 {
    let mut sizes: HashMap<usize, f64> = HashMap::new();
    errors.iter().for_each(|(family, _)| *sizes.entry(*family).or_default() += 1.0);
    let mut sorted = errors.to_vec();
    sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
    // One more family, of which nothing is known.
    let needed = 0.9 * (sizes.len() + 1) as f64;
    let mut weight = 0.0;
    for (family, error) in &sorted {
        weight += 1.0 / sizes[family];
        if weight >= needed {
            return *error;
        }
    }
    sorted.last().map_or(0.0, |(_, error)| *error)
}

/// The slope of a logistic regression without a constant, by Newton's method.
fn log_odds(pairs: &[(f64, bool)]) -> f64 {
    let mut slope = 1.0f64;
    for _ in 0..50 {
        let (mut gradient, mut curvature) = (0.0, 1e-9);
        for &(x, better) in pairs {
            let p = 1.0 / (1.0 + (-slope * x).exp());
            gradient += x * (f64::from(u8::from(better)) - p);
            curvature += x * x * p * (1.0 - p);
        }
        slope = (slope + (gradient / curvature).clamp(-1.0, 1.0)).clamp(0.0, 100.0);
    }
    slope
}

/// Coefficients of a linear regression, by the normal equations.
pub(crate) fn least_squares(rows: &[Vec<f64>], values: &[f64]) -> Vec<f64> {
    use linfa_linalg::cholesky::SolveC;
    let width = rows.first().map_or(0, Vec::len);
    let x = Array2::from_shape_fn((rows.len(), width), |(i, k)| rows[i][k]);
    let y = Array2::from_shape_fn((values.len(), 1), |(i, _)| values[i]);
    let mut normal = x.t().dot(&x);
    // Columns may say the same.
    normal.diag_mut().iter_mut().for_each(|d| *d *= 1.0 + 1e-9);
    normal.solvec(&x.t().dot(&y)).map_or_else(|_| vec![0.0; width], |c| c.column(0).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmarks::real::{Label, TargetRecipes};
    use crate::spaces::Space;

    /// Nothing of a family has a part in what is predicted of its networks: not its labels, not its
    /// other networks.
    #[test]
    fn what_is_left_out_has_no_part_in_its_prediction() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let architectures: Vec<String> =
            (0..40).map(|_| Space::NasBenchMacro.sample(&mut rng)).collect();
        let graphs: Vec<ComputationGraph> = architectures
            .iter()
            .map(|text| lower(&Space::NasBenchMacro.build(text).unwrap()).unwrap())
            .collect();
        let label = |(i, text): (usize, &String)| Label {
            file: text.into(),
            name: text.clone(),
            family: format!("{}", i % 5),
            superfamily: format!("{}", i % 5 / 2),
            target: Target::Cifar10,
            accuracy: 85.0 + text.matches('2').count() as f64 + rng.gen_range(0.0..0.5),
            covariates: vec![1.0],
            recipe: None,
            reference: true,
        };
        let set = LabelSet {
            labels: architectures.iter().enumerate().map(label).collect(),
            covariates: vec!["all".into()],
            recipes: vec![TargetRecipes {
                target: Target::Cifar10,
                recipes: vec![("usual", vec![1.0])],
            }],
        };
        let mut data = Data::new(&set, &graphs).unwrap();
        let (families, h) = (data.rows.families.clone(), Hyperparameters::default());
        let before = data.left_out(&h, &families).unwrap().usual;
        // One family's labels, and all that is known of one of its networks.
        (0..40).filter(|&i| families[i] == 2).for_each(|i| data.labels[i] += 5.0);
        let changed = (0..40).find(|&i| families[i] == 2).unwrap();
        data.rows.descriptors.row_mut(changed).fill(1e3);
        let after = data.left_out(&h, &families).unwrap().usual;
        for i in (0..40).filter(|&i| i != changed) {
            let same = before[i] == after[i];
            assert_eq!(same, families[i] == 2, "{i}: {} {}", before[i], after[i]);
        }
        assert_ne!(before[changed], after[changed]);
    }
}
