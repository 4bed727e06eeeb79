//! GENNAPE's predictors, each alone and together: in its own space and on foreign families.
//!
//! What is compared, and the figures to compare with, are tables 3 and 5 of arXiv 2211.17226. [`real()`]
//! tries the parts of the experts for real networks.

mod hyperparameters;
mod predictors;
mod real;
mod transfer;
mod variants;

pub use real::{RealOptions, real};

use super::{Cut, TrainError, prepare};
use crate::benchmarks::{Networks, Set};
use crate::evaluation::ablation::{Agreement, InSpace, Report, SCHEMA, Spread};
use crate::metrics;
use predictors::Predictors;
use std::path::PathBuf;
use std::time::Instant;
use transfer::{Family, Ranked};
use variants::in_table_3;

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
    let mut in_space: Vec<Vec<(f64, [f64; 3])>> = in_table_3().map(|_| Vec::new()).collect();
    let mut ranked: Vec<Vec<Ranked>> = families.iter().map(|_| Vec::new()).collect();
    for seed in 0..options.seeds {
        let mut report =
            |line: &str| report(&format!("seed {}/{}: {line}", seed + 1, options.seeds));
        let cut = Cut { sample: options.networks, training: usize::MAX, seed };
        let (set, _) = prepare(&source, &cells, cut, &options.cache, &mut report)?;
        let predictors = Predictors::train(&set, options, seed, &mut choice, &mut report)?;
        let test = predictors.encoders.embed(&set.store, set.test.clone());
        let truth = &set.accuracies[set.test.clone()];
        for ((variant, _), measured) in in_table_3().zip(&mut in_space) {
            let scores = predictors.scores(variant.predictor, &test);
            let error = metrics::mean_absolute_error(truth, &scores).unwrap_or(f64::INFINITY);
            measured.push((error, agreement(truth, &scores)));
        }
        for (family, ranked) in families.iter().zip(&mut ranked) {
            ranked.push(family.rank(&predictors, options, seed)?);
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
        in_space: in_table_3()
            .zip(&in_space)
            .map(|((variant, published), measured)| InSpace {
                method: variant.name.into(),
                mean_absolute_error: Spread::new(measured.iter().map(|m| m.0).collect()),
                agreement: Agreement::new(measured.iter().map(|m| m.1)),
                published,
            })
            .collect(),
        families: families.iter().zip(&ranked).map(over_seeds).collect(),
    })
}

/// Spearman's rank correlation, the true rank of the first, and the precision at 50, of which an
/// [`Agreement`] is made. A ranking whose scores are all the same says nothing.
fn agreement(truth: &[f64], scores: &[f64]) -> [f64; 3] {
    [
        metrics::spearman(truth, scores).unwrap_or(0.0),
        metrics::rank_of_best(truth, scores, 1).unwrap_or(truth.len() as f64),
        metrics::top_k_overlap(truth, scores, 50).unwrap_or(0.0),
    ]
}

fn kendall(truth: &[f64], scores: &[f64]) -> f64 {
    metrics::kendall_tau_b(truth, scores).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::hyperparameters::{AXES, CLUSTERS, FUZZIFIERS, HIDDEN};
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
            assert!(measured.agreement.spearman.mean.abs() <= 1.0, "{measured:?}");
        }
        // Accuracies of this space are no noise: even so, one of the methods sees something.
        assert!(report.in_space.iter().any(|r| r.agreement.spearman.mean > 0.3), "{report:?}");
        let [family] = report.families.as_slice() else { panic!("{report:?}") };
        assert_eq!((family.networks, family.members.len()), (300, 7));
        let few = |method: &str| {
            let member = family.members.iter().find(|m| m.method == method);
            member.map_or(0.0, |m| m.few_shot.spearman.mean)
        };
        assert!(few("GENNAPE") > 0.6 && few("FLOPs") > 0.5, "{family:?}");
        assert_eq!(family.members.iter().filter(|m| m.published.is_some()).count(), 2);
        for m in family.members.iter().flat_map(|m| [&m.zero_shot, &m.few_shot]) {
            assert!((1.0..=300.0).contains(&m.rank_of_best.mean), "{family:?}");
            assert!((0.0..=1.0).contains(&m.precision_at_50.mean), "{family:?}");
        }
        let (header, rows) = report.transfer_rows();
        assert!(rows.len() == 7 && rows.iter().all(|row| row.len() == header.len()));
        let (header, rows) = report.in_space_rows();
        assert!(rows.len() == 5 && rows.iter().all(|row| row.len() == header.len()));
        let tried = HIDDEN.len() + CLUSTERS.len() * FUZZIFIERS.len() * AXES.len();
        assert_eq!(report.choice.tried.len(), tried);
    }
}
