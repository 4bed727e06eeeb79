//! What the parts of the experts for real networks give, and what an encoder would.
//!
//! GENNAPE (arXiv 2211.17226) embeds a network with a contrastively pretrained encoder, clusters the
//! embeddings and weighs the clusters' heads by membership. Here the parts are tried one by one where
//! the models of real networks have descriptors, and in place of these, on labels that were left out.

use super::super::{TrainError, bundle};
use crate::benchmarks::Target;
use crate::benchmarks::real::LabelSet;
use crate::encoder::{Config, GraphStore};
use crate::evaluation::ablation::{REAL_SCHEMA, RealReport, RealRow, Spread};
use crate::fitting::{Data, read};
use crate::graph::ComputationGraph;
use crate::lower::lower;
use crate::onnx::{self, ReadOptions};
use crate::predictor::Hyperparameters;
use crate::proxies::{DESCRIPTORS, Proxies, descriptors};
use crate::spaces::Space;
use crate::subnetworks::SuperNetwork;
use crate::train::contrastive::{Contrastive, Graphs, Variant, pretrain};
use ndarray::{Array2, Axis, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to pretrain and to measure.
#[derive(Debug, Clone)]
pub struct RealOptions {
    /// Folder with the labelled sets.
    pub data: PathBuf,
    /// Encoders, each with its own initial weights, order and draws.
    pub seeds: u64,
    /// Passes of pretraining over all graphs.
    pub epochs: usize,
    /// Networks of each search space to pretrain on, beside every real network and a sub-network of it.
    pub networks: usize,
}

impl RealOptions {
    /// Passes and networks of each space that are usual.
    pub const USUAL: [usize; 2] = [8, 100];
}

/// How alike two graphs should be falls by e for so much of the root mean square of the differences of
/// their standardised descriptors.
const TARGET_TEMPERATURE: f64 = 0.1;

#[derive(Clone, Copy)]
enum Encoding {
    Untrained,
    Pretrained,
}

/// What is tried: its name, the hyperparameters, whose embeddings are there, and whether they are what is
/// clustered.
type Part = (&'static str, Hyperparameters, Option<Encoding>, bool);

fn parts() -> Vec<Part> {
    use Encoding::{Pretrained, Untrained};
    let ships = Hyperparameters::default();
    let one_head = ships.one_head();
    let linear = Hyperparameters { aspect: 0.0, structure: 0.0, everything: 0.0, ..ships };
    let curved = Hyperparameters { linear: 0.0, ..ships };
    // As much as the kernel on all descriptors.
    let embedding = Hyperparameters { embedding: ships.everything, ..ships };
    let alone = Hyperparameters { linear: 0.0, embedding: ships.everything, ..linear };
    vec![
        ("as it ships", ships, None, false),
        ("one head for all clusters", one_head, None, false),
        ("linear part alone", linear, None, false),
        ("without the linear part", curved, None, false),
        ("with embeddings, pretrained", embedding, Some(Pretrained), false),
        ("with embeddings, untrained", embedding, Some(Untrained), false),
        ("clusters of embeddings, pretrained", ships, Some(Pretrained), true),
        ("clusters of embeddings, untrained", ships, Some(Untrained), true),
        ("embeddings alone, pretrained", alone, Some(Pretrained), true),
        ("embeddings alone, untrained", alone, Some(Untrained), true),
    ]
}

/// Pretrains encoders on all graphs there are and measures the parts on labels of ImageNet-1k, CIFAR-10,
/// CIFAR-100 and SVHN. Lines of progress go to `report`.
///
/// # Errors
/// When labels or networks can't be read, or there are too few.
pub fn real(options: &RealOptions, report: &mut dyn FnMut(&str)) -> Result<RealReport, TrainError> {
    let quiet = |_: &'static str, _: usize, _: usize| {};
    let sets = [LabelSet::imagenet(&options.data)?, LabelSet::cifar(&options.data)?];
    let files: BTreeSet<&Path> =
        sets.iter().flat_map(|set| &set.labels).map(|label| label.file.as_path()).collect();
    report(&format!("reading {} networks", files.len()));
    let known: Vec<(LabelSet, Vec<ComputationGraph>)> =
        sets.iter().map(|set| read(set, &quiet)).collect::<Result<_, _>>()?;
    let files: Vec<&Path> = files.into_iter().collect();
    let part = |(i, file): (usize, &Path)| sub_network(file, i as u64);
    let parts: Vec<ComputationGraph> = files.into_par_iter().enumerate().filter_map(part).collect();
    let cells = Space::ALL.par_iter().enumerate().flat_map_iter(|(i, space)| {
        let mut rng = ChaCha8Rng::seed_from_u64(i as u64);
        (0..options.networks).filter_map(move |_| space.build(&space.sample(&mut rng)).ok())
    });
    let cells = cells.filter_map(|model| lower(&model).ok()).collect();
    measure(known, [parts, cells].concat(), options, report)
}

/// A sub-network of a real one; of a file whose operators contradict the shapes that it states, none.
fn sub_network(file: &Path, seed: u64) -> Option<ComputationGraph> {
    let whole = SuperNetwork::new(onnx::read(file, &ReadOptions::default()).ok()?);
    let sub = whole.sample(&mut ChaCha8Rng::seed_from_u64(seed));
    lower(&whole.build(&sub).ok()?).ok()
}

/// Standardised descriptors, of which the length of a difference is its root mean square.
fn alike(graphs: &[&ComputationGraph]) -> Array2<f32> {
    let rows: Vec<_> = graphs.par_iter().map(|g| descriptors(g, &Proxies::new(g))).collect();
    let all = Array2::from_shape_fn((rows.len(), DESCRIPTORS.len()), |(i, k)| rows[i][k]);
    let mean = all.mean_axis(Axis(0)).unwrap_or_default();
    // One that never varies tells nothing apart.
    let scale =
        all.std_axis(Axis(0), 0.0).mapv(|d| d.max(1e-9) * (DESCRIPTORS.len() as f64).sqrt());
    ((all - mean) / scale).mapv(|x| x as f32)
}

/// What is left out together.
const LEFT_OUT: [&str; 2] = ["families", "superfamilies"];

/// How a part agrees with the labels, with an encoder if it has one.
struct Value {
    target: Target,
    left_out: &'static str,
    part: usize,
    measured: [f64; 4],
}

fn measure(
    known: Vec<(LabelSet, Vec<ComputationGraph>)>,
    unlabelled: Vec<ComputationGraph>,
    options: &RealOptions,
    report: &mut dyn FnMut(&str),
) -> Result<RealReport, TrainError> {
    let graphs: Vec<&ComputationGraph> =
        known.iter().flat_map(|(_, graphs)| graphs).chain(&unlabelled).collect();
    let store =
        GraphStore::build(graphs.len(), |i| Ok::<_, TrainError>(graphs[i].clone()), &|_| ())?;
    let mut seen = HashSet::new();
    let distinct: Vec<usize> =
        (0..graphs.len()).filter(|&i| seen.insert(graphs[i].fingerprint().to_string())).collect();
    let targets = alike(&distinct.iter().map(|&i| graphs[i]).collect::<Vec<_>>());
    let families = vec![0; distinct.len()];
    let set = Graphs { store: &store, graphs: &distinct, families: &families, targets: &targets };
    let config = Config::encoder();
    let operations = store.operations(0..store.len());

    let data: Vec<Data> =
        known.iter().map(|(set, graphs)| Data::new(set, graphs)).collect::<Result<_, _>>()?;
    let parts = parts();
    let mut values = Vec::new();
    let started = Instant::now();
    let mut losses = Vec::new();
    for seed in 0..options.seeds {
        let mut report =
            |line: &str| report(&format!("seed {}/{}: {line}", seed + 1, options.seeds));
        let mut embed = |epochs: usize| -> Result<Array2<f32>, TrainError> {
            let recipe = Contrastive {
                epochs,
                target_temperature: TARGET_TEMPERATURE,
                variant: Variant::CrossFamily,
                ..Contrastive::default()
            };
            let pretrained = pretrain(&set, &config, &operations, &recipe, seed, &mut report);
            losses.extend(pretrained.losses.last());
            let encoder = pretrained.encoder(&config, &operations)?;
            let all: Vec<usize> = (0..store.len()).collect();
            Ok(bundle::embed(&store, &all, &encoder))
        };
        let embeddings = [embed(0)?, embed(options.epochs)?];
        let mut first = 0;
        for data in &data {
            let rows = first..first + data.rows.len();
            first = rows.end;
            for (part, (_, hyperparameters, encoding, clustered)) in parts.iter().enumerate() {
                // Without an encoder all seeds are one.
                if encoding.is_none() && seed > 0 {
                    continue;
                }
                let own = encoding.map(|of| embeddings[of as usize].slice(s![rows.clone(), ..]));
                let data = data.beside(own, *clustered);
                let groups = [&data.rows.families, &data.superfamilies];
                for (left_out, groups) in LEFT_OUT.into_iter().zip(groups) {
                    let predicted = data.left_out(hyperparameters, groups)?.usual;
                    for (index, &target) in data.targets.iter().enumerate() {
                        let measured = data.agreement(index, &predicted);
                        values.push(Value { target, left_out, part, measured });
                    }
                }
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let left = seconds / (seed + 1) as f64 * (options.seeds - seed - 1) as f64;
        report(&format!("done after {seconds:.0} s, {left:.0} s left"));
    }
    let row = |target: Target, left_out: &'static str, part: usize| {
        let own = |v: &&Value| (v.target, v.left_out, v.part) == (target, left_out, part);
        let of = |k: usize| Spread::new(values.iter().filter(own).map(|v| v.measured[k]).collect());
        RealRow {
            target,
            left_out: left_out.into(),
            part: parts[part].0.into(),
            spearman: of(0),
            mean_absolute_error: of(1),
            rank_of_best: of(2),
            precision_at_tenth: of(3),
        }
    };
    let targets = data.iter().flat_map(|data| &data.targets);
    let all = targets.flat_map(|&target| LEFT_OUT.map(|left_out| (target, left_out)));
    let rows = all.flat_map(|(target, left_out)| {
        (0..parts.len()).map(|part| row(target, left_out, part)).collect::<Vec<_>>()
    });
    Ok(RealReport {
        schema: REAL_SCHEMA,
        graphs: distinct.len(),
        epochs: options.epochs,
        seeds: options.seeds,
        loss: Spread::new(losses),
        rows: rows.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmarks::real::{Label, TargetRecipes};
    use crate::train::seeded;

    /// As small as it gets: figures mean little, but none may be missing or out of its range.
    #[test]
    fn a_tiny_ablation_measures_every_part() {
        let _guard = seeded();
        tch::set_num_threads(1);
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let texts: Vec<String> = (0..40).map(|_| Space::NasBenchMacro.sample(&mut rng)).collect();
        let build = |text: &String| lower(&Space::NasBenchMacro.build(text).unwrap()).unwrap();
        let label = |(i, text): (usize, &String)| Label {
            file: text.into(),
            name: text.clone(),
            family: format!("{}", i % 8),
            superfamily: format!("{}", i % 8 / 2),
            target: Target::Cifar10,
            accuracy: 85.0 + text.matches('2').count() as f64,
            covariates: vec![1.0],
            recipe: None,
            reference: true,
        };
        let set = LabelSet {
            labels: texts.iter().enumerate().map(label).collect(),
            covariates: vec!["all".into()],
            recipes: vec![TargetRecipes {
                target: Target::Cifar10,
                recipes: vec![("usual", vec![1.0])],
            }],
        };
        let known = vec![(set, texts.iter().map(build).collect())];
        let others: Vec<String> = (0..20).map(|_| Space::NasBench201.sample(&mut rng)).collect();
        let others = others.iter().map(|t| lower(&Space::NasBench201.build(t).unwrap()).unwrap());
        let options = RealOptions { data: PathBuf::new(), seeds: 2, epochs: 2, networks: 0 };
        let report = measure(known, others.collect(), &options, &mut |_| ()).unwrap();
        assert!(report.graphs > 40 && report.graphs <= 60, "{report:?}");
        assert_eq!(report.rows.len(), 2 * parts().len());
        for row in &report.rows {
            let repeated = row.part.ends_with("trained");
            assert_eq!(row.spearman.values.len(), if repeated { 2 } else { 1 }, "{row:?}");
            assert!(row.spearman.values.iter().all(|r| r.abs() <= 1.0), "{row:?}");
            let error = row.mean_absolute_error.mean;
            assert!(error > 0.0 && error < 10.0, "{row:?}");
            assert!((1.0..=40.0).contains(&row.rank_of_best.mean), "{row:?}");
            assert!((0.0..=1.0).contains(&row.precision_at_tenth.mean), "{row:?}");
        }
        // Each part is what its name says: no two give the same.
        let of = |part: &str| {
            let row = report.rows.iter().find(|row| row.part == part).unwrap();
            row.mean_absolute_error.values[0]
        };
        let distinct: HashSet<u64> = parts().iter().map(|part| of(part.0).to_bits()).collect();
        assert_eq!(distinct.len(), parts().len());
        let json = serde_json::to_string(&report).unwrap();
        let again: RealReport = serde_json::from_str(&json).unwrap();
        assert_eq!(again.rows(), report.rows());
        let [(header, rows)] = &report.rows()[..] else { panic!("{report:?}") };
        assert!(rows.len() == parts().len() && rows.iter().all(|row| row.len() == header.len()));
    }
}
