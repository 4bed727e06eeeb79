//! GENNAPE's predictors, each alone and together: in its own space and on foreign families.
//!
//! What is compared, and the figures to compare with, are tables 3 and 5 of arXiv 2211.17226.

use super::contrastive::{Contrastive, Graphs, pretrain};
use super::heads::{self, Objective, Task};
use super::{Cut, LabelledGraphs, TrainError, bundle, fit, prepare};
use crate::benchmarks::{Networks, Set, Subset, few_shot};
use crate::clustering::membership_entropy;
use crate::encoder::{Config, Encoder, GraphStore, Neighbourhoods, Weights};
use crate::estimator::{LoadError, Recipe};
use crate::evaluation::ablation::{
    Choice, InSpace, Member, Report, SCHEMA, Spread, Transfer, Tried,
};
use crate::evaluation::{contents, views};
use crate::metrics;
use crate::predictor::{
    Clustering, Ensemble, FewShotRegressor, FlopsTransform, FuzzyClusters, FuzzyHeads, Head,
    Standardisation, log_gflops,
};
use crate::proxies::Proxies;
use ndarray::{Array2, ArrayView2, Axis, s};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

/// Families that are ranked unless said otherwise.
pub const FAMILIES: [&str; 3] = ["nasbench201-no-none", "nasbench_macro", "accel_nasbench"];

/// What to train and to rank.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder with the labelled sets.
    pub data: PathBuf,
    /// Folder for featurised graphs.
    pub cache: PathBuf,
    /// Networks to sample from NAS-Bench-101, and at most from each other family.
    pub networks: usize,
    /// Passes of encoders over the training networks, instead of what their recipes say.
    pub epochs: Option<usize>,
    /// Repetitions, each with its own split, initial weights and labels to fit to.
    pub seeds: u64,
    /// Labelled networks of a family to fit to.
    pub labels: usize,
    /// Families to rank.
    pub families: Vec<&'static Set>,
}

/// What heads are trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Accuracy,
    /// Accuracy after the [`FlopsTransform`].
    Transformed,
    /// Which of two networks is better.
    Pairwise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    KGnn,
    Flops,
    Heads { target: Target, fuzzy: bool },
}

/// Every kind of heads on contrastive embeddings.
const HEADS: [Method; 6] = [
    Method::Heads { target: Target::Accuracy, fuzzy: false },
    Method::Heads { target: Target::Accuracy, fuzzy: true },
    Method::Heads { target: Target::Transformed, fuzzy: false },
    Method::Heads { target: Target::Transformed, fuzzy: true },
    Method::Heads { target: Target::Pairwise, fuzzy: false },
    Method::Heads { target: Target::Pairwise, fuzzy: true },
];

/// Predictors in table 3, with its mean absolute errors and rank correlations.
const TABLE_3: [(Method, [f64; 2]); 5] = [
    (Method::KGnn, [1.61, 0.814]),
    (HEADS[0], [1.51, 0.874]),
    (HEADS[1], [1.19, 0.896]),
    (HEADS[2], [0.65, 0.921]),
    (HEADS[3], [0.59, 0.930]),
];

/// The ensemble.
const MEMBERS: [Method; 6] = [Method::KGnn, Method::Flops, HEADS[2], HEADS[3], HEADS[4], HEADS[5]];

/// What the ensemble is called.
const ENSEMBLE: &str = "GENNAPE";

/// Rank correlations in table 5 without labels and with 50, by family and method.
const TABLE_5: [(&str, &str, [f64; 2]); 2] = [
    ("nasbench201-no-none", "k-GNN", [0.4930, 0.8606]),
    ("nasbench201-no-none", ENSEMBLE, [0.8146, 0.9103]),
];

/// Widths of hidden layers to choose from.
const HIDDEN: [&[usize]; 4] = [&[64], &[128], &[64, 64], &[128, 64]];
/// Numbers of clusters, fuzzifiers and axes to choose from.
const CLUSTERS: [usize; 3] = [4, 8, 16];
const FUZZIFIERS: [f64; 2] = [1.5, 2.0];
const AXES: [usize; 2] = [2, 4];

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::KGnn => "k-GNN",
            Self::Flops => "FLOPs",
            Self::Heads { target: Target::Accuracy, fuzzy: false } => "CL",
            Self::Heads { target: Target::Accuracy, fuzzy: true } => "CL+FCM",
            Self::Heads { target: Target::Transformed, fuzzy: false } => "CL+T",
            Self::Heads { target: Target::Transformed, fuzzy: true } => "CL+FCM+T",
            Self::Heads { target: Target::Pairwise, fuzzy: false } => "CL+Pairwise",
            Self::Heads { target: Target::Pairwise, fuzzy: true } => "CL+Pairwise+FCM",
        }
    }
}

/// Networks as the predictors see them.
struct Embedded {
    k_gnn: Array2<f32>,
    contrastive: Array2<f32>,
    proxies: Vec<Proxies>,
}

/// Encoders, trained.
struct Encoders {
    k_gnn: (Encoder, Head),
    contrastive: Encoder,
}

impl Encoders {
    fn embed(&self, store: &GraphStore, graphs: Range<usize>) -> Embedded {
        let proxies: Vec<Proxies> = graphs.clone().map(|g| *store.proxies(g)).collect();
        let graphs: Vec<usize> = graphs.collect();
        Embedded {
            k_gnn: bundle::embed(store, &graphs, &self.k_gnn.0),
            contrastive: bundle::embed(store, &graphs, &self.contrastive),
            proxies,
        }
    }
}

impl Embedded {
    /// What heads with this target see: the embedding, for [`Target::Transformed`] with the
    /// logarithm of the cost as one more dimension. The transformed accuracy hangs on the cost, of
    /// which the mean over a network's nodes tells too little.
    fn inputs(&self, target: Target) -> Array2<f32> {
        if target != Target::Transformed {
            return self.contrastive.clone();
        }
        let mut inputs = Array2::zeros((self.proxies.len(), self.contrastive.ncols() + 1));
        inputs.slice_mut(s![.., ..-1]).assign(&self.contrastive);
        for (mut row, proxies) in inputs.rows_mut().into_iter().zip(&self.proxies) {
            row[self.contrastive.ncols()] = log_gflops(proxies.macs) as f32;
        }
        inputs
    }
}

/// Statistics of the training networks' accuracies.
#[derive(Clone, Copy)]
struct Targets {
    accuracy: Standardisation,
    transform: FlopsTransform,
}

impl Targets {
    fn of(accuracies: &[f64], proxies: &[Proxies]) -> Self {
        let networks = accuracies.iter().zip(proxies).map(|(a, c)| (*a, c.macs));
        let transform = FlopsTransform::fit(networks);
        Self { accuracy: Standardisation::of(accuracies), transform }
    }

    /// What heads learn of networks.
    fn apply(&self, target: Target, accuracies: &[f64], proxies: &[Proxies]) -> Vec<f64> {
        let of = |(a, c): (&f64, &Proxies)| match target {
            Target::Accuracy | Target::Pairwise => self.accuracy.apply(*a),
            Target::Transformed => self.transform.apply(*a, c.macs),
        };
        accuracies.iter().zip(proxies).map(of).collect()
    }

    /// Heads' scores as accuracies, except pairwise ones, which are no estimates of any.
    fn invert(&self, target: Target, scores: &[f64], proxies: &[Proxies]) -> Vec<f64> {
        let of = |(s, c): (&f64, &Proxies)| match target {
            Target::Accuracy => self.accuracy.invert(*s),
            Target::Transformed => self.transform.invert(*s, c.macs),
            Target::Pairwise => *s,
        };
        scores.iter().zip(proxies).map(of).collect()
    }
}

/// Everything that is trained with one seed.
struct Predictors {
    encoders: Encoders,
    targets: Targets,
    /// In the order of [`HEADS`].
    heads: Vec<FuzzyHeads>,
}

impl Predictors {
    /// Accuracies, or other scores where the method gives none.
    fn scores(&self, method: Method, networks: &Embedded) -> Vec<f64> {
        let wide = |scores: Vec<f32>| scores.into_iter().map(f64::from).collect::<Vec<f64>>();
        match method {
            Method::KGnn => {
                let scores = wide(self.encoders.k_gnn.1.scores(networks.k_gnn.view()));
                self.targets.invert(Target::Accuracy, &scores, &networks.proxies)
            }
            Method::Flops => networks.proxies.iter().map(|c| log_gflops(c.macs)).collect(),
            Method::Heads { target, .. } => {
                let heads = HEADS.iter().zip(&self.heads).filter(|(m, _)| **m == method);
                let scores = |(_, heads): (_, &FuzzyHeads)| {
                    let scores = wide(heads.scores(networks.inputs(target).view()));
                    self.targets.invert(target, &scores, &networks.proxies)
                };
                heads.map(scores).next().unwrap_or_default()
            }
        }
    }
}

/// A foreign family, with its graphs.
struct Family<'a> {
    set: &'static Set,
    networks: Subset<'a>,
    store: GraphStore,
    truth: Vec<f64>,
}

/// Rank correlations without labels and with a few, by method.
type Ranked = Vec<(String, [f64; 2])>;

/// Trains the predictors on NAS-Bench-101 and measures them there and on other families. Lines of
/// progress go to `report`.
///
/// # Errors
/// When labels can't be read or embeddings can't be clustered, or a family has too few networks.
pub fn nasbench101(options: &Options, report: &mut dyn FnMut(&str)) -> Result<Report, TrainError> {
    let source: Vec<&Set> = Set::all().filter(|set| set.name == "nasbench101").collect();
    let cells: Vec<Box<dyn Networks>> =
        source.iter().map(|set| set.load(&options.data)).collect::<Result<_, _>>()?;
    let sets: Vec<Box<dyn Networks>> =
        options.families.iter().map(|s| s.load(&options.data)).collect::<Result<_, _>>()?;
    let families: Vec<Family> = options
        .families
        .iter()
        .zip(&sets)
        .map(|(set, networks)| Family::new(set, networks.as_ref(), options, report))
        .collect::<Result<_, _>>()?;

    let started = Instant::now();
    let mut choice = None;
    let mut in_space: Vec<Vec<[f64; 2]>> = vec![Vec::new(); TABLE_3.len()];
    let mut ranked: Vec<Vec<Ranked>> = families.iter().map(|_| Vec::new()).collect();
    for seed in 0..options.seeds {
        let mut report =
            |line: &str| report(&format!("seed {}/{}: {line}", seed + 1, options.seeds));
        let cut = Cut { sample: options.networks, training: usize::MAX, seed };
        let (set, _) = prepare(&source, &cells, cut, &options.cache, &mut report)?;
        let predictors = train(&set, options, seed, &mut choice, &mut report)?;
        let test = predictors.encoders.embed(&set.store, set.test.clone());
        let truth = &set.accuracies[set.test.clone()];
        for ((method, _), measured) in TABLE_3.iter().zip(&mut in_space) {
            let scores = predictors.scores(*method, &test);
            let error = metrics::mean_absolute_error(truth, &scores).unwrap_or(f64::INFINITY);
            measured.push([error, spearman(truth, &scores)]);
        }
        let training = predictors.encoders.embed(&set.store, set.training.clone());
        for (family, ranked) in families.iter().zip(&mut ranked) {
            ranked.push(family.rank(&predictors, &training, options, seed)?);
            report(&format!("{}: ranked", family.set.name));
        }
        let seconds = started.elapsed().as_secs_f64();
        let left = seconds / (seed + 1) as f64 * (options.seeds - seed - 1) as f64;
        report(&format!("done after {seconds:.0} s, {left:.0} s left"));
    }
    let over_seeds = |(family, ranked): (&Family, &Vec<Ranked>)| family.summary(ranked);
    Ok(Report {
        schema: SCHEMA,
        networks: options.networks,
        epochs: options.epochs,
        seeds: options.seeds,
        labels: options.labels,
        choice: choice.ok_or_else(|| TrainError::Clustering("no seed".into()))?,
        in_space: TABLE_3
            .iter()
            .zip(&in_space)
            .map(|((method, published), measured)| {
                let [error, spearman] = [0, 1].map(|i| measured.iter().map(|m| m[i]).collect());
                InSpace {
                    method: method.name().into(),
                    mean_absolute_error: Spread::of(error),
                    spearman: Spread::of(spearman),
                    published: *published,
                }
            })
            .collect(),
        families: families.iter().zip(&ranked).map(over_seeds).collect(),
    })
}

/// A ranking whose scores are all the same says nothing.
fn spearman(truth: &[f64], scores: &[f64]) -> f64 {
    metrics::spearman(truth, scores).unwrap_or(0.0)
}

fn kendall(truth: &[f64], scores: &[f64]) -> f64 {
    metrics::kendall_tau_b(truth, scores).unwrap_or(0.0)
}

/// Trains encoders and heads; the first call also fills in the `choice` of hyperparameters.
fn train(
    set: &LabelledGraphs,
    options: &Options,
    seed: u64,
    choice: &mut Option<Choice>,
    report: &mut dyn FnMut(&str),
) -> Result<Predictors, TrainError> {
    let operations = set.store.operations(set.training.clone());
    let (config, recipe) = (Config::k_gnn(), Recipe::k_gnn());
    let recipe = Recipe { epochs: options.epochs.unwrap_or(recipe.epochs), ..recipe };
    let k_gnn = fit::fit(set, &operations, &config, &recipe, seed, &mut |line| {
        report(&format!("k-GNN: {line}"));
    });
    let file = bundle::file(&k_gnn.tensors).to_bytes().map_err(LoadError::from)?;
    let weights = Weights::parse(&file).map_err(LoadError::from)?;
    let k_gnn = (
        Encoder::new(&config, &operations, &weights).map_err(LoadError::from)?,
        Head::new(&config, &weights).map_err(LoadError::from)?,
    );

    let (config, recipe) = (Config::encoder(), Contrastive::default());
    let recipe = Contrastive { epochs: options.epochs.unwrap_or(recipe.epochs), ..recipe };
    let graphs: Vec<usize> = set.training.clone().collect();
    let families = vec![0; graphs.len()];
    let graphs =
        Graphs { store: &set.store, graphs: &graphs, families: &families, cache: &options.cache };
    let contrastive = pretrain(&graphs, &config, &operations, &recipe, seed, &mut |line| {
        report(&format!("CL: {line}"));
    });
    let contrastive = contrastive.encoder(&config, &operations)?;
    let encoders = Encoders { k_gnn, contrastive };

    let training = encoders.embed(&set.store, set.training.clone());
    let validation = encoders.embed(&set.store, set.validation.clone());
    let accuracies = &set.accuracies[set.training.clone()];
    let truth = &set.accuracies[set.validation.clone()];
    let targets = Targets::of(accuracies, &training.proxies);
    let inputs = |target| (training.inputs(target), validation.inputs(target));
    let fit = |target: Target,
               (known, held_out): &(Array2<f32>, Array2<f32>),
               clusters: &_,
               hidden: &[usize]| {
        let task = Task {
            training: known.view(),
            targets: &targets.apply(target, accuracies, &training.proxies),
            validation: held_out.view(),
            criterion: &|scores| {
                kendall(truth, &targets.invert(target, scores, &validation.proxies))
            },
            objective: match target {
                Target::Pairwise => Objective::Pairwise,
                Target::Accuracy | Target::Transformed => Objective::Regression,
            },
        };
        heads::fit(&task, clusters, hidden, seed)
    };
    let choice = match choice {
        Some(choice) => choice,
        None => {
            let inputs = inputs(Target::Transformed);
            choice.insert(choose(
                inputs.0.view(),
                inputs.1.view(),
                seed,
                &|clusters, hidden| fit(Target::Transformed, &inputs, clusters, hidden).criterion,
                report,
            )?)
        }
    };
    let trained = |method: &Method| {
        let Method::Heads { target, fuzzy } = *method else { return Ok(None) };
        let started = Instant::now();
        let inputs = inputs(target);
        let clusters = if fuzzy {
            FuzzyClusters::fit(inputs.0.view(), choice.clustering, seed)
                .map_err(TrainError::Clustering)?
        } else {
            FuzzyClusters::one(inputs.0.ncols())
        };
        let fitted = fit(target, &inputs, &clusters, &choice.hidden);
        report(&format!(
            "{}: validation τ {:.4} after epoch {}, {:.0} s",
            method.name(),
            fitted.criterion,
            fitted.best_epoch,
            started.elapsed().as_secs_f64(),
        ));
        let file = bundle::file(&fitted.tensors).to_bytes().map_err(LoadError::from)?;
        let weights = Weights::parse(&file).map_err(LoadError::from)?;
        let (length, hidden) = (inputs.0.ncols(), &choice.hidden);
        FuzzyHeads::read(heads::NAME, length, hidden, heads::ACTIVATION, &weights)
            .map(Some)
            .map_err(|e| LoadError::from(e).into())
    };
    let heads = HEADS.iter().map(trained).filter_map(Result::transpose);
    let heads = heads.collect::<Result<_, TrainError>>()?;
    Ok(Predictors { encoders, targets, heads })
}

/// Chooses widths and clusters by what `fit` gives of them.
fn choose(
    training: ArrayView2<f32>,
    validation: ArrayView2<f32>,
    seed: u64,
    fit: &dyn Fn(&FuzzyClusters, &[usize]) -> f64,
    report: &mut dyn FnMut(&str),
) -> Result<Choice, TrainError> {
    let mut tried: Vec<Tried> = Vec::new();
    let mut hidden: (f64, &[usize]) = (f64::NEG_INFINITY, &[]);
    for widths in HIDDEN {
        let kendall = fit(&FuzzyClusters::one(training.ncols()), widths);
        report(&format!("choosing widths: {widths:?}, validation τ {kendall:.4}"));
        let (clustering, entropy) = (None, None);
        tried.push(Tried { hidden: widths.to_vec(), clustering, entropy, kendall });
        if kendall > hidden.0 {
            hidden = (kendall, widths);
        }
    }
    let hidden = hidden.1.to_vec();
    let mut best: Option<(f64, Clustering)> = None;
    let mut failure = None;
    for (clusters, fuzzifier, axes) in CLUSTERS.iter().flat_map(|&clusters| {
        let axes = move |m| AXES.iter().map(move |&axes| (clusters, m, axes));
        FUZZIFIERS.iter().flat_map(move |&m| axes(m))
    }) {
        let clustering = Clustering { clusters, fuzzifier, axes };
        let fuzzy = match FuzzyClusters::fit(training, clustering, seed) {
            Ok(fuzzy) => fuzzy,
            Err(error) => {
                report(&format!("choosing clusters: {clustering:?}: {error}"));
                failure = Some(error);
                continue;
            }
        };
        let memberships = fuzzy.memberships(validation);
        let entropy = membership_entropy(memberships.view()).mean().map(f64::from);
        let kendall = fit(&fuzzy, &hidden);
        report(&format!(
            "choosing clusters: {clusters}, m = {fuzzifier}, {axes} axes: entropy {:.2}, \
             validation τ {kendall:.4}",
            entropy.unwrap_or(f64::NAN),
        ));
        let clustering = Some(clustering);
        tried.push(Tried { hidden: hidden.clone(), clustering, entropy, kendall });
        if best.is_none_or(|(highest, _)| kendall > highest) {
            best = clustering.map(|c| (kendall, c));
        }
    }
    match (best, failure) {
        (Some((_, clustering)), _) => Ok(Choice { hidden, clustering, tried }),
        (None, Some(error)) => Err(TrainError::Clustering(error)),
        (None, None) => Err(TrainError::Clustering("nothing to choose from".into())),
    }
}

impl<'a> Family<'a> {
    fn new(
        set: &'static Set,
        whole: &'a dyn Networks,
        options: &Options,
        report: &mut dyn FnMut(&str),
    ) -> Result<Self, TrainError> {
        let positions = if whole.len() > options.networks {
            few_shot(whole, options.networks, 0).0
        } else {
            (0..whole.len()).collect()
        };
        let networks = Subset { whole, positions };
        let count = networks.len();
        let least = options.labels + 2;
        if count < least {
            return Err(TrainError::Few { family: set.name, networks: count, least });
        }
        report(&format!("{}: {count} networks", set.name));
        let graph = |i| networks.graph(i);
        let (store, unsaved) =
            GraphStore::cached(&options.cache, &contents(&networks), count, graph, &|_| ())?;
        if let Some(error) = unsaved {
            let cache = options.cache.display();
            report(&format!("warning: the graphs can't be kept in {cache}: {error}"));
        }
        let truth = (0..count).map(|i| networks.target(i)).collect();
        Ok(Self { set, networks, store, truth })
    }

    /// Rank correlations of the ensemble and its members. Without labels, members weigh the same;
    /// with a few, each member's score and embedding are fitted to them in closed form, and its
    /// weight follows from how well it predicts each label from the others.
    fn rank(
        &self,
        predictors: &Predictors,
        training: &Embedded,
        options: &Options,
        seed: u64,
    ) -> Result<Ranked, TrainError> {
        let networks = predictors.encoders.embed(&self.store, 0..self.store.len());
        let scores: Vec<Vec<f64>> =
            MEMBERS.iter().map(|m| predictors.scores(*m, &networks)).collect();
        let standards =
            MEMBERS.iter().map(|m| Standardisation::of(&predictors.scores(*m, training))).collect();
        let together = Ensemble::equal(standards).scores(&scores);

        let (labelled, rest) = few_shot(&self.networks, options.labels, seed);
        let of = |rows: &[usize]| rows.iter().map(|&i| self.truth[i]).collect::<Vec<f64>>();
        let (labels, truth) = (of(&labelled), of(&rest));
        let (mut ranks, mut taus) = (Vec::new(), Vec::new());
        for (method, scores) in MEMBERS.iter().zip(&scores) {
            let scores = Array2::from_shape_fn((scores.len(), 1), |(i, _)| scores[i]);
            let mut features = vec![scores];
            match method {
                Method::KGnn => features.push(networks.k_gnn.mapv(f64::from)),
                Method::Flops => {}
                Method::Heads { .. } => features.push(networks.contrastive.mapv(f64::from)),
            }
            let select = |rows: &[usize]| -> Vec<Array2<f64>> {
                features.iter().map(|f| f.select(Axis(0), rows)).collect()
            };
            let (sample, others) = (select(&labelled), select(&rest));
            let (regressor, left_out) =
                FewShotRegressor::fit_left_out(&views(&sample), &[], &labels)?;
            let others = views(&others);
            taus.push(kendall(&labels, &left_out));
            ranks.push(
                (0..rest.len())
                    .map(|row| regressor.rank(&others, row, Neighbourhoods::default))
                    .collect(),
            );
        }
        // Fitted members all predict ranks among the same labels.
        let unit = Standardisation { mean: 0.0, deviation: 1.0 };
        let fitted = Ensemble::weighted(vec![unit; ranks.len()], &taus).scores(&ranks);

        let methods = MEMBERS.iter().map(|m| m.name()).chain([ENSEMBLE]);
        let zero_shot = scores.iter().chain([&together]).map(|s| spearman(&self.truth, s));
        let few_shot = ranks.iter().chain([&fitted]).map(|s| spearman(&truth, s));
        let pairs = zero_shot.zip(few_shot).map(<[f64; 2]>::from);
        Ok(methods.map(String::from).zip(pairs).collect())
    }

    fn summary(&self, seeds: &[Ranked]) -> Transfer {
        let member = |(i, (method, _)): (usize, &(String, [f64; 2]))| {
            let values = |setting: usize| seeds.iter().map(|s| s[i].1[setting]).collect();
            let published =
                TABLE_5.iter().find(|(family, m, _)| *family == self.set.name && *m == method);
            Member {
                method: method.clone(),
                zero_shot: Spread::of(values(0)),
                few_shot: Spread::of(values(1)),
                published: published.map(|(_, _, figures)| *figures),
            }
        };
        let first = seeds.first().map_or(&[][..], Vec::as_slice);
        Transfer {
            family: self.set.name.into(),
            target: self.set.target.into(),
            networks: self.networks.len(),
            members: first.iter().enumerate().map(member).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmarks;
    use crate::train::seeded;

    /// As small as it gets: figures mean little, but none may be missing or out of its range.
    #[test]
    fn a_tiny_ablation_measures_everything() {
        let Ok(data) = benchmarks::data_folder(None) else {
            eprintln!("skipped: GENNAPE_DATA names no folder with labelled sets");
            return;
        };
        let _guard = seeded();
        tch::set_num_threads(1);
        let cache = tempfile::tempdir().unwrap();
        let options = Options {
            data,
            cache: cache.path().join("cache"),
            networks: 300,
            epochs: Some(1),
            seeds: 1,
            labels: 20,
            families: Set::all().filter(|s| s.name == "nasbench201-no-none").collect(),
        };
        let mut lines = Vec::new();
        let report = nasbench101(&options, &mut |line| lines.push(line.to_string())).unwrap();
        assert!(lines.iter().any(|l| l.starts_with("seed 1/1: CL+Pairwise+FCM: ")), "{lines:?}");

        let json = serde_json::to_string(&report).unwrap();
        let again: Report = serde_json::from_str(&json).unwrap();
        assert_eq!(again.in_space_rows(), report.in_space_rows());
        assert_eq!(again.transfer_rows(), report.transfer_rows());
        assert_eq!(again.choice_text(), report.choice_text());
        let methods: Vec<&str> = report.in_space.iter().map(|r| r.method.as_str()).collect();
        assert_eq!(methods, ["k-GNN", "CL", "CL+FCM", "CL+T", "CL+FCM+T"]);
        for measured in &report.in_space {
            let error = measured.mean_absolute_error.mean;
            assert!(error > 0.0 && error < 10.0, "{measured:?}");
            assert!(measured.spearman.mean.abs() <= 1.0, "{measured:?}");
        }
        // Accuracies of this space are no noise: even so, one of the methods sees something.
        assert!(report.in_space.iter().any(|r| r.spearman.mean > 0.3), "{report:?}");
        let [family] = report.families.as_slice() else { panic!("{report:?}") };
        assert_eq!((family.networks, family.members.len()), (300, 7));
        let few = |method: &str| {
            family.members.iter().find(|m| m.method == method).map_or(0.0, |m| m.few_shot.mean)
        };
        assert!(few("GENNAPE") > 0.6 && few("FLOPs") > 0.5, "{family:?}");
        assert_eq!(family.members.iter().filter(|m| m.published.is_some()).count(), 2);
        assert_eq!(report.transfer_rows().1.len(), 7);
        let tried = HIDDEN.len() + CLUSTERS.len() * FUZZIFIERS.len() * AXES.len();
        assert_eq!(report.choice.tried.len(), tried);
    }
}
