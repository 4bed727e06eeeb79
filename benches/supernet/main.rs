//! What one set of weights for all sub-networks is worth; prints a line for each run and writes
//! `benches/supernet.json`.
//!
//! ```text
//! cargo bench --features train --bench supernet -- [--images DIR] [--seeds 3] [--epochs 8]
//! ```
//!
//! A residual network on 7,500 images of Fashion-MNIST: super-networks by two samplers at equal work, and
//! 18 of their sub-networks, each trained alone as long. Runs that the file has are not done again.

mod network;

use gennape::estimator::Estimator;
use gennape::images::{Augmentation, ImageSet};
use gennape::metrics::kendall_tau_b;
use gennape::onnx::{self, ReadOptions, Weights};
use gennape::search::pareto::hypervolume;
use gennape::search::{Problem, Search, Start};
use gennape::subnetworks::{SubNetwork, SuperNetwork};
use gennape::supernet::Sampler;
use gennape::supernet::attentive::{self, Measure, Options, Outcome};
use gennape::training::{Cost, Schedule};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tch::Device;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Version of the format of `supernet.json`.
const SCHEMA: u32 = 1;
/// Images to train on, and those held out, in all.
const IMAGES: f64 = 8333.0;
const BATCH: usize = 64;
/// Sub-networks that are compared with their like trained alone, beside the largest and the smallest.
const COMPARED: usize = 16;
/// Sub-networks that a search measures.
const BUDGET: usize = 40;

#[derive(Serialize, Deserialize, PartialEq)]
struct Setting {
    schema: u32,
    training_images: usize,
    images_held_out: usize,
    test_images: usize,
    batch: usize,
    epochs: usize,
    networks: Vec<Compared>,
}

/// A sub-network.
#[derive(Serialize, Deserialize, PartialEq)]
struct Compared {
    name: String,
    parameters: u64,
    macs: u64,
}

#[derive(Serialize, Deserialize)]
struct Report {
    #[serde(flatten)]
    setting: Setting,
    runs: Vec<Run>,
    alone: Vec<Alone>,
}

/// A super-network. Accuracies are in per cent of the images for the test.
#[derive(Serialize, Deserialize)]
struct Run {
    sampler: String,
    measure: String,
    seed: u64,
    epochs: usize,
    /// Multiply-accumulates in training.
    work: f64,
    seconds: f64,
    /// Of the networks in their order.
    accuracies: Vec<f64>,
    front: Vec<Member>,
    /// Of the front that a search finds by images held out, in the plane of error on the images for the test
    /// and share of the whole network's multiply-accumulates, as a share of all of it.
    hypervolume: f64,
    /// Kendall's τ between sub-networks, but for the largest and the smallest, and the same trained alone,
    tau: Option<f64>,
    /// of which there are so many.
    compared: usize,
}

#[derive(Serialize, Deserialize)]
struct Member {
    name: String,
    macs: u64,
    held_out: f64,
    test: f64,
}

/// A sub-network that is trained alone.
#[derive(Serialize, Deserialize)]
struct Alone {
    name: String,
    seed: u64,
    accuracy: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test` runs benchmarks too, without this.
    if !arguments.iter().any(|a| a == "--bench") {
        return ExitCode::SUCCESS;
    }
    match options(&arguments).and_then(|(images, seeds, epochs)| measure(&images, seeds, epochs)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: &[String]) -> Result<(PathBuf, u64, usize)> {
    let mut options = (PathBuf::from("/usr/share/datasets/fashion-mnist"), 3, 8);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--bench" => {}
            "--images" => options.0 = value()?.into(),
            "--seeds" => options.1 = value()?.parse()?,
            "--epochs" => options.2 = value()?.parse()?,
            other => return Err(format!("unknown argument '{other}'").into()),
        }
    }
    Ok(options)
}

/// What is measured, and what of it is known.
struct Bench {
    path: PathBuf,
    report: Report,
    folder: tempfile::TempDir,
    images: ImageSet,
    space: SuperNetwork,
    estimator: Estimator,
}

fn measure(images: &Path, seeds: u64, epochs: usize) -> Result<()> {
    let mut images = ImageSet::open(images, Some([28, 28]))?;
    let all = images.training.len() as f64;
    let [_, some] = images.training.split(IMAGES / all, 0);
    images.training = images.training.subset(&some);
    let space = SuperNetwork::new(network::residual(8)?).with_shared_weights();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut networks = vec![SubNetwork::default(), space.smallest()];
    while networks.len() < 2 + COMPARED {
        let sub = space.sample(&mut rng);
        if !networks.contains(&sub) {
            networks.push(sub);
        }
    }
    let compared = |sub: &SubNetwork| -> Result<Compared> {
        let Cost { parameters, macs } = Cost::count(&space.build(sub)?)?;
        Ok(Compared { name: sub.to_string(), parameters, macs })
    };
    let [training, held] = images.training.split(0.1, 0);
    let setting = Setting {
        schema: SCHEMA,
        training_images: training.len(),
        images_held_out: held.len(),
        test_images: images.test.as_ref().map_or(0, |test| test.len()),
        batch: BATCH,
        epochs,
        networks: networks.iter().map(compared).collect::<Result<_>>()?,
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/supernet.json");
    let old = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Report>(&text).ok());
    let report = match old.filter(|old| old.setting == setting) {
        Some(old) => old,
        None => Report { setting, runs: Vec::new(), alone: Vec::new() },
    };
    let folder = tempfile::tempdir()?;
    let mut bench = Bench { path, report, folder, images, space, estimator: Estimator::embedded() };
    for seed in 0..seeds {
        bench.super_network(Sampler::BestUp(3), false, seed, epochs)?;
        let best = bench.work("bestup:3", "loss", seed);
        let epoch = bench.uniform_work()?;
        let equal = (best / epoch).round().max(1.0) as usize;
        bench.super_network(Sampler::Uniform, false, seed, equal)?;
        for sub in &networks {
            bench.alone(sub, seed, epochs)?;
        }
    }
    for seed in 0..seeds {
        bench.super_network(Sampler::BestUp(3), true, seed, epochs)?;
    }
    Ok(())
}

impl Bench {
    /// Multiply-accumulates of a run that is done.
    fn work(&self, sampler: &str, measure: &str, seed: u64) -> f64 {
        let same = |r: &&Run| r.sampler == sampler && r.measure == measure && r.seed == seed;
        self.report.runs.iter().find(same).map_or(0.0, |run| run.work)
    }

    /// Multiply-accumulates that are expected of an epoch with uniform sampling.
    fn uniform_work(&self) -> Result<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut macs = 0.0;
        for _ in 0..500 {
            macs +=
                Cost::count(&self.space.build(&self.space.sample(&mut rng))?)?.macs as f64 / 500.0;
        }
        let Setting { networks, training_images, .. } = &self.report.setting;
        let ends = (networks[0].macs + networks[1].macs) as f64;
        Ok(3.0 * (ends + 2.0 * macs) * *training_images as f64)
    }

    fn train(
        &self,
        sub: &SubNetwork,
        sampler: Option<Sampler>,
        estimator: Option<&Estimator>,
        seed: u64,
        epochs: usize,
    ) -> Result<(Outcome, PathBuf)> {
        let from = self.folder.path().join("from.onnx");
        let graph = self.space.build(sub)?;
        onnx::write(&graph, fs::File::create(&from)?, Weights::Stripped)?;
        let options = Options {
            sampler,
            estimator,
            insert_batch_norm: false,
            training: Schedule {
                epochs,
                batch: BATCH,
                rate: None,
                seed,
                augmentation: Augmentation::CropFlip,
                device: Device::Cpu,
                checkpoint: self.folder.path().join("checkpoint"),
                resume: false,
            },
        };
        let to = self.folder.path().join("to.onnx");
        let mut out = fs::File::create(&to)?;
        let mut observe = |event: attentive::Event| {
            if let attentive::Event::Epoch(epoch, left) = event {
                eprintln!(
                    "  epoch {}: loss {:.3}, largest {:.4}, smallest {:.4}, {left:.0} s left",
                    epoch.epoch, epoch.loss, epoch.largest, epoch.smallest
                );
            }
            true
        };
        let read = ReadOptions::default();
        let outcome =
            attentive::train(&from, &read, &self.images, &options, &mut out, &mut observe)?;
        Ok((outcome, to))
    }

    fn super_network(
        &mut self,
        sampler: Sampler,
        estimated: bool,
        seed: u64,
        epochs: usize,
    ) -> Result<()> {
        let name = sampler.to_string();
        let measure = match (sampler, estimated) {
            (Sampler::Uniform, _) => "none",
            (_, true) => "estimate",
            _ => "loss",
        };
        let same =
            |r: &Run| (r.sampler.as_str(), r.measure.as_str(), r.seed) == (&name, measure, seed);
        if self.report.runs.iter().any(same) {
            return Ok(());
        }
        eprintln!("{name}, {measure}, seed {seed}, {epochs} epochs");
        let started = Instant::now();
        let estimator = estimated.then_some(&self.estimator);
        let whole = SubNetwork::default();
        let (outcome, path) = self.train(&whole, Some(sampler), estimator, seed, epochs)?;
        let seconds = started.elapsed().as_secs_f64();
        let read = ReadOptions::default();
        let measured = Measure::open(&path, &read, self.images.clone(), Device::Cpu)?;
        let test = |sub: &SubNetwork| -> Result<f64> {
            Ok(measured.test_accuracy(sub)?.ok_or("there are no images for the test")?)
        };
        let networks = &self.report.setting.networks;
        let accuracies = networks.iter().map(|n| test(&self.space.parse(&n.name)?));
        let accuracies = accuracies.collect::<Result<Vec<f64>>>()?;

        let problem = Problem::new()
            .maximise("accuracy", &measured)
            .minimise("macs", |graph: &gennape::graph::ComputationGraph| graph.macs() as f64);
        let start = Start { candidates: vec![whole], ..Start::default() };
        let search = Search::new(measured.space(), &problem).start(start);
        let record = search.budget(BUDGET).seed(seed).run()?;
        let mut front = Vec::new();
        for found in record.front() {
            let number = |i: usize| found.values[i].unwrap_or(f64::NAN);
            front.push(Member {
                name: found.candidate.to_string(),
                macs: number(1) as u64,
                held_out: number(0),
                test: test(&found.candidate)?,
            });
        }
        let point =
            |m: &Member| vec![1.0 - m.test / 100.0, m.macs as f64 / networks[0].macs as f64];
        let points: Vec<Vec<f64>> = front.iter().map(point).collect();
        let run = Run {
            sampler: name,
            measure: measure.into(),
            seed,
            epochs,
            work: outcome.history.last().map_or(0.0, |epoch| epoch.work),
            seconds,
            accuracies,
            front,
            hypervolume: hypervolume(&points, &[1.0, 1.0]),
            tau: None,
            compared: 0,
        };
        println!(
            "{} {measure} seed {seed}: largest {:.2}, smallest {:.2}, hypervolume {:.4}",
            run.sampler, run.accuracies[0], run.accuracies[1], run.hypervolume
        );
        self.report.runs.push(run);
        self.save()
    }

    /// Trains a sub-network alone, for as many epochs.
    fn alone(&mut self, sub: &SubNetwork, seed: u64, epochs: usize) -> Result<()> {
        let name = sub.to_string();
        if self.report.alone.iter().any(|a| a.name == name && a.seed == seed) {
            return Ok(());
        }
        let (outcome, _) = self.train(sub, None, None, seed, epochs)?;
        let accuracy = 100.0 * outcome.largest.accuracy;
        println!("alone, seed {seed}: {accuracy:.2} {name}");
        self.report.alone.push(Alone { name, seed, accuracy });
        self.save()
    }

    /// Writes what is known.
    fn save(&mut self) -> Result<()> {
        let Report { setting, runs, alone } = &mut self.report;
        for run in runs {
            let (mut alone_accuracies, mut inherited) = (Vec::new(), Vec::new());
            for (network, accuracy) in setting.networks.iter().zip(&run.accuracies).skip(2) {
                let same = |a: &&Alone| a.name == network.name && a.seed == run.seed;
                if let Some(same) = alone.iter().find(same) {
                    alone_accuracies.push(same.accuracy);
                    inherited.push(*accuracy);
                }
            }
            run.tau = kendall_tau_b(&alone_accuracies, &inherited);
            run.compared = inherited.len();
        }
        let text = serde_json::to_string_pretty(&self.report)?;
        Ok(fs::write(&self.path, text + "\n")?)
    }
}
