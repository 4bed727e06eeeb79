//! Fitting models of real networks, and measuring them on what was left out.
//!
//! [`fit`] draws hyperparameters of the [process](crate::predictor::Process) at random and takes the
//! mean of the processes that predict networks of other families best; of all, where there are too few
//! labels to choose by. What is reported of a family is predicted with hyperparameters that were
//! chosen without it, from labels of the others.

use crate::benchmarks::real::LabelSet;
use crate::benchmarks::{BenchmarkError, Target};
use crate::estimator::descriptors_hash;
use crate::estimator::real::{Evaluation, Facts, Known, Manifest, Ranking, RealNetworks, SCHEMA};
use crate::evaluation::Observer;
use crate::graph::ComputationGraph;
use crate::lower::lower;
use crate::metrics::{kendall_tau_b, mean_absolute_error, spearman};
use crate::onnx::{self, ReadOptions};
use crate::predictor::{Fitting, Hyperparameters, NotPositive, Process, Rows};
use crate::proxies::{DESCRIPTORS, Proxies, descriptors};
use ndarray::{Array1, Array2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Why no model can be fitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// The labels or their networks can't be read.
    #[error(transparent)]
    Labels(#[from] BenchmarkError),
    /// There are too few labels.
    #[error("{0} labels of {1} are too few; at least {LEAST} of at least 3 families are needed")]
    Few(usize, Target),
    /// The labels can't be fitted: an error of the program.
    #[error(transparent)]
    NotPositive(#[from] NotPositive),
}

/// Fewest labels of a target.
const LEAST: usize = 20;

/// How to fit.
#[derive(Debug, Clone)]
pub struct Options {
    /// The model's name.
    pub name: String,
    /// The command that makes it again.
    pub command: String,
    /// Hyperparameters to try.
    pub tries: usize,
    /// How many of them to keep.
    pub keep: usize,
    /// Seed of these.
    pub seed: u64,
}

/// What is fitted, as numbers.
struct Data {
    fitting: Fitting,
    /// The labels that count, by target.
    reference: Vec<Vec<usize>>,
    targets: Vec<Target>,
    accuracies: Vec<f64>,
    superfamilies: Vec<usize>,
    /// In the order of the targets.
    neutral: Vec<Array1<f64>>,
    /// Mean and standard deviation of the logarithm of the error.
    scales: Vec<(f64, f64)>,
    /// Of each label: parameters, MACs, activations.
    costs: Vec<[f64; 3]>,
}

/// What one choice of hyperparameters predicts for families and for superfamilies that are left out.
struct Tried {
    hyperparameters: Hyperparameters,
    families: Vec<f64>,
    superfamilies: Vec<f64>,
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
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut tried = Vec::with_capacity(options.tries);
    for i in 0..options.tries {
        observe("fitting", i, options.tries);
        if let Ok(outcome) = data.attempt(draw(&mut rng)) {
            tried.push(outcome);
        }
    }
    let all: Vec<usize> = data.reference.iter().flatten().copied().collect();
    let best: Vec<Hyperparameters> = data
        .best(&tried, &all, options.keep)
        .into_iter()
        .map(|i| tried[i].hyperparameters)
        .collect();
    let families =
        data.nested(&tried, options.keep, &data.fitting.rows().families, |t| &t.families);
    let superfamilies =
        data.nested(&tried, options.keep, &data.superfamilies, |t| &t.superfamilies);
    let process = Process::new(&data.fitting, &best)?;

    let mut facts = Vec::new();
    let mut evaluation = Vec::new();
    for (index, (&target, recipes)) in data.targets.iter().zip(&set.recipes).enumerate() {
        let known = data.facts(index, &families, &superfamilies, recipes);
        let groups = &data.fitting.rows().families;
        evaluation.push(data.evaluate(index, "families", groups, &families, known.half_width));
        evaluation.push(data.evaluate(
            index,
            "superfamilies",
            &data.superfamilies,
            &superfamilies,
            known.half_width_outside.max(known.half_width),
        ));
        if target == Target::ImageNet1k {
            let known_recipe = "families, recipe known";
            let own = data.own_recipes(&best[0])?;
            evaluation.push(data.evaluate(index, known_recipe, groups, &own, known.half_width));
        }
        facts.push(known);
    }
    let manifest = Manifest {
        schema: SCHEMA,
        name: options.name.clone(),
        command: options.command.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        seed: options.seed,
        data: hash(&set, &graphs),
        descriptors: descriptors_hash().into(),
        hyperparameters: best.clone(),
        tried: tried.len(),
        covariates: set.covariates.clone(),
        targets: facts,
        evaluation,
        networks: set
            .labels
            .iter()
            .map(|label| Known { name: label.name.clone(), accuracy: label.accuracy })
            .collect(),
    };
    Ok(RealNetworks::new(manifest, process))
}

/// The labels whose networks can be told apart, and these, in order.
fn read(set: &LabelSet, observe: &Observer) -> Result<(LabelSet, Vec<ComputationGraph>), FitError> {
    let files: BTreeSet<_> = set.labels.iter().map(|label| &label.file).collect();
    observe("reading", 0, files.len());
    let graph = |file: &std::path::PathBuf| -> Result<_, BenchmarkError> {
        let fail =
            |reason: String| BenchmarkError::Network { name: file.display().to_string(), reason };
        let model = onnx::read(file, &ReadOptions::default()).map_err(|e| fail(e.to_string()))?;
        Ok((file.clone(), lower(&model).map_err(|e| fail(e.to_string()))?))
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

/// Hyperparameters at random, each on a logarithmic scale over what may be sensible.
fn draw(rng: &mut ChaCha8Rng) -> Hyperparameters {
    let mut between = |low: f64, high: f64| rng.gen_range(low.ln()..high.ln()).exp();
    Hyperparameters {
        linear: between(0.05, 5.0),
        aspects: std::array::from_fn(|_| between(0.02, 1.0)),
        length: between(0.8, 5.0),
        structure: between(0.05, 12.0),
        everything: between(0.05, 12.0),
        smooth_length: between(0.8, 2.2),
        covariates: between(0.3, 3.0),
        sharing: between(0.2, 0.95),
        family: between(0.01, 0.25),
        architecture: between(0.005, 0.1),
        recipe: between(0.002, 0.03),
        white: between(0.005, 0.1),
    }
}

/// A number for each distinct text.
fn numbered<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    texts
        .map(|text| {
            let next = known.len();
            *known.entry(text).or_insert(next)
        })
        .collect()
}

impl Data {
    fn new(set: &LabelSet, graphs: &[ComputationGraph]) -> Result<Self, FitError> {
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
            if rows.len() < LEAST || distinct.len() < 3 {
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
            covariates: Array2::from_shape_fn((rows.len(), width), |(i, k)| {
                labels[i].covariates[k]
            }),
            targets: of.clone(),
            families,
            architectures: numbered(fingerprints.iter().map(String::as_str)),
            recipes: (0..labels.len()).map(tagged).collect(),
        };
        Ok(Self {
            fitting: Fitting::new(process, values.collect()),
            reference,
            accuracies: labels.iter().map(|label| label.accuracy).collect(),
            superfamilies: numbered(labels.iter().map(|label| label.superfamily.as_str())),
            neutral: set.recipes.iter().map(|r| r.recipes[0].1.clone().into()).collect(),
            targets,
            scales,
            costs: costs.collect(),
        })
    }

    fn attempt(&self, hyperparameters: Hyperparameters) -> Result<Tried, NotPositive> {
        let fitted = self.fitting.fit(&hyperparameters)?;
        let families = fitted.left_out(&self.fitting.rows().families, Some(&self.neutral));
        let superfamilies = fitted.left_out(&self.superfamilies, Some(&self.neutral));
        Ok(Tried { hyperparameters, families, superfamilies })
    }

    /// What is predicted for families left out when the recipe is known.
    fn own_recipes(&self, hyperparameters: &Hyperparameters) -> Result<Vec<f64>, NotPositive> {
        Ok(self.fitting.fit(hyperparameters)?.left_out(&self.fitting.rows().families, None))
    }

    /// The accuracy that a value of a target stands for.
    fn accuracy(&self, row: usize, value: f64) -> f64 {
        let (mean, deviation) = self.scales[self.fitting.rows().targets[row]];
        100.0 - (mean + deviation * value).exp().clamp(0.0, 100.0)
    }

    /// How good predictions of these labels are: rank correlation and closeness, the mean over
    /// targets.
    fn merit(&self, predicted: &[f64], rows: &[usize]) -> f64 {
        let mut sum = 0.0;
        for t in 0..self.targets.len() {
            let rows: Vec<usize> =
                rows.iter().copied().filter(|&i| self.fitting.rows().targets[i] == t).collect();
            let truth: Vec<f64> = rows.iter().map(|&i| self.accuracies[i]).collect();
            let scores: Vec<f64> = rows.iter().map(|&i| self.accuracy(i, predicted[i])).collect();
            let deviation = Array1::from(truth.clone()).std(0.0).max(1e-9);
            let error = mean_absolute_error(&truth, &scores).unwrap_or(f64::INFINITY);
            sum += spearman(&truth, &scores).unwrap_or(-1.0) - 0.5 * error / deviation;
        }
        sum
    }

    /// The choices that predict these labels best, families and superfamilies alike.
    fn best(&self, tried: &[Tried], rows: &[usize], keep: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..tried.len()).collect();
        if keep < tried.len() {
            let merit =
                |t: &Tried| self.merit(&t.families, rows) + self.merit(&t.superfamilies, rows);
            let merits: Vec<f64> = tried.par_iter().map(merit).collect();
            order.sort_by(|&a, &b| merits[b].total_cmp(&merits[a]));
            order.truncate(keep);
        }
        order
    }

    /// What is predicted for each group by the choices that predict the others' labels best.
    fn nested(
        &self,
        tried: &[Tried],
        keep: usize,
        groups: &[usize],
        of: fn(&Tried) -> &Vec<f64>,
    ) -> Vec<f64> {
        let mut values = vec![f64::NAN; groups.len()];
        let last = groups.iter().copied().max().map_or(0, |last| last + 1);
        for group in 0..last {
            let others: Vec<usize> =
                self.reference.iter().flatten().copied().filter(|&i| groups[i] != group).collect();
            let best = self.best(tried, &others, keep);
            for (i, value) in values.iter_mut().enumerate().filter(|(i, _)| groups[*i] == group) {
                let sum: f64 = best.iter().map(|&b| of(&tried[b])[i]).sum();
                *value = sum / best.len() as f64;
            }
        }
        values
    }
}

impl Data {
    /// What a target's model is to know of itself, from predictions of what was left out.
    fn facts(
        &self,
        index: usize,
        families: &[f64],
        superfamilies: &[f64],
        recipes: &crate::benchmarks::real::TargetRecipes,
    ) -> Facts {
        let (mean, deviation) = self.scales[index];
        let rows = &self.reference[index];
        let groups = &self.fitting.rows().families;
        let errors = |predicted: &[f64]| -> Vec<(usize, f64)> {
            let value = |i: usize| ((100.0 - self.accuracies[i]).ln() - mean) / deviation;
            rows.iter().map(|&i| (groups[i], deviation * (predicted[i] - value(i)).abs())).collect()
        };
        // By how much more the better one by the process is the better one.
        let mut pairs = Vec::new();
        for (a, &i) in rows.iter().enumerate() {
            for &j in &rows[..a] {
                if groups[i] != groups[j] && self.accuracies[i] != self.accuracies[j] {
                    let difference = families[j] - families[i];
                    pairs.push((difference, self.accuracies[i] > self.accuracies[j]));
                }
            }
        }
        Facts {
            target: self.targets[index],
            mean,
            deviation,
            half_width: family_quantile(&errors(families)),
            half_width_outside: family_quantile(&errors(superfamilies)),
            reach: self.reach(index),
            odds: log_odds(&pairs),
            recipes: recipes.recipes.iter().map(|(n, c)| (n.to_string(), c.clone())).collect(),
        }
    }

    /// The distance that 95 % of the labelled networks are within of the nearest one of another
    /// family.
    fn reach(&self, index: usize) -> f64 {
        let rows = &self.reference[index];
        let groups = &self.fitting.rows().families;
        let nearest = |&i: &usize| {
            let others = rows.iter().filter(|&&j| groups[j] != groups[i]);
            others.map(|&j| self.fitting.distance(i, j)).fold(f64::INFINITY, f64::min)
        };
        let mut distances: Vec<f64> = rows.par_iter().map(nearest).collect();
        distances.sort_by(f64::total_cmp);
        distances[(0.95 * (distances.len() - 1) as f64) as usize].max(1e-6)
    }

    fn evaluate(
        &self,
        index: usize,
        left_out: &str,
        groups: &[usize],
        predicted: &[f64],
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
        let mut rankings = vec![self.ranking(index, "process", groups, &values, Some(&intervals))];
        for (k, name) in ["parameters", "MACs", "activations"].into_iter().enumerate() {
            let scores = self.line(index, groups, &[k]);
            rankings.push(self.ranking(index, name, groups, &scores, None));
        }
        let scores = self.line(index, groups, &[0, 1, 2]);
        rankings.push(self.ranking(index, "linear", groups, &scores, None));
        let distinct: HashSet<usize> = rows.iter().map(|&i| groups[i]).collect();
        Evaluation {
            target: self.targets[index],
            left_out: left_out.into(),
            groups: distinct.len(),
            networks: rows.len(),
            rankings,
        }
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
        let families: Vec<usize> = rows.iter().map(|&i| self.fitting.rows().families[i]).collect();
        let of = |measure: fn(&[f64], &[f64]) -> Option<f64>| {
            let value = measure(&truth, scores).unwrap_or(0.0);
            (value, bootstrap(&truth, scores, &own, measure))
        };
        let parts = |keys: &[usize], least: usize| {
            let distinct: BTreeSet<usize> = keys.iter().copied().collect();
            let part = |key: usize| -> Option<f64> {
                let members: Vec<usize> = (0..keys.len()).filter(|&i| keys[i] == key).collect();
                let pick = |of: &[f64]| members.iter().map(|&i| of[i]).collect::<Vec<f64>>();
                if members.len() < least { None } else { spearman(&pick(&truth), &pick(scores)) }
            };
            let values: Vec<f64> = distinct.into_iter().filter_map(part).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|&a, &b| self.costs[rows[a]][1].total_cmp(&self.costs[rows[b]][1]));
        let mut eighths = vec![0; rows.len()];
        order.iter().enumerate().for_each(|(place, &i)| eighths[i] = 8 * place / rows.len());

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
        let by = |of: &[f64]| {
            let mut order: Vec<usize> = (0..of.len()).collect();
            order.sort_by(|&a, &b| of[b].total_cmp(&of[a]));
            order
        };
        let (by_truth, by_score) = (by(&truth), by(scores));
        let first = by_score[0];
        let tenth = rows.len().div_ceil(10);
        let top: HashSet<usize> = by_truth[..tenth].iter().copied().collect();
        let covered = intervals.map(|intervals| {
            let inside = |i: usize| (intervals[i][0]..=intervals[i][1]).contains(&truth[i]);
            let mut of: HashMap<usize, (f64, f64)> = HashMap::new();
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
            within_family: parts(&families, 5),
            at_equal_macs: parts(&eighths, 5),
            pairs: right / f64::max(all, 1.0),
            coverage: covered,
            width,
            rank_of_best: 1 + by_truth.iter().position(|&i| i == first).unwrap_or(0),
            precision_at_tenth: by_score[..tenth].iter().filter(|i| top.contains(i)).count() as f64
                / tenth as f64,
            regret: truth[by_truth[0]] - truth[first],
        }
    }
}

/// 95 % percentile bootstrap interval over groups.
fn bootstrap(
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
fn family_quantile(errors: &[(usize, f64)]) -> f64 {
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
fn least_squares(rows: &[Vec<f64>], values: &[f64]) -> Vec<f64> {
    use linfa_linalg::cholesky::SolveC;
    let width = rows.first().map_or(0, Vec::len);
    let x = Array2::from_shape_fn((rows.len(), width), |(i, k)| rows[i][k]);
    let y = Array2::from_shape_fn((values.len(), 1), |(i, _)| values[i]);
    let mut normal = x.t().dot(&x);
    // Columns may say the same.
    normal.diag_mut().iter_mut().for_each(|d| *d *= 1.0 + 1e-9);
    normal.solvec(&x.t().dot(&y)).map_or_else(|_| vec![0.0; width], |c| c.column(0).to_vec())
}
