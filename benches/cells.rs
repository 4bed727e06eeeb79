//! Cells found by policy gradient beside random ones: both retrained alike, at about equal parameters.
//!
//! Networks of DARTS' space, 4 cells of 8 channels, on 4,000 training images of Fashion-MNIST scaled to 16x16. A
//! search of 12 epochs finds a network; it and 8 random ones, with parameters within 10 % of its own, are trained
//! from scratch for 3 epochs, and tried on 2,000 images of the test. What is done stands in
//! benches/cells.json after each network, and is not done again:
//!
//! `cargo bench --features train --bench cells`

use gennape::images::{Augmentation, ImageSet};
use gennape::spaces::Architecture;
use gennape::spaces::darts;
use gennape::spaces::genotype::Genotype;
use gennape::supernet::Reward;
use gennape::supernet::cells::{self, Event, Found, Options, Target};
use gennape::training::Schedule;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{env, fs};

type Error = Box<dyn std::error::Error>;

const IMAGES: &str = "/usr/share/datasets/fashion-mnist";
const SEEDS: u64 = 3;
const RANDOM: usize = 8;
const TRAINING: usize = 4000;
const TEST: usize = 2000;
const SIDE: usize = 16;
const SIZE: [usize; 2] = [4, 8];
const SEARCH_EPOCHS: usize = 12;
const EPOCHS: usize = 3;
/// How far parameters may be from those of the found network, as a share.
const ALIKE: f64 = 0.1;

fn main() -> Result<(), Error> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/cells.json");
    let mut all = ImageSet::open(Path::new(IMAGES), Some([SIDE; 2]))?;
    let first = |count: usize| (0..count).collect::<Vec<_>>();
    all.training = all.training.subset(&first(TRAINING));
    all.test = all.test.map(|test| test.subset(&first(TEST)));
    let mut runs: Vec<Value> = match fs::read(&file) {
        Ok(bytes) => {
            serde_json::from_slice::<Value>(&bytes)?["runs"].as_array().cloned().unwrap_or_default()
        }
        Err(_) => Vec::new(),
    };
    let reward: Reward = "accuracy".parse()?;
    let target = Target { reward: &reward, measures: Vec::new() };
    for seed in 0..SEEDS {
        let known = |runs: &[Value], what: &str, number: usize| -> Option<String> {
            let found = runs
                .iter()
                .find(|run| run["seed"] == seed && run["what"] == what && run["number"] == number);
            Some(found?["architecture"].as_str()?.to_string())
        };
        let add = |runs: &mut Vec<Value>,
                   what: &str,
                   number: usize,
                   found: &Found,
                   began: Instant| {
            runs.push(json!({
                "seed": seed, "what": what, "number": number, "architecture": found.architecture,
                "parameters": found.cost.parameters, "macs": found.cost.macs,
                // What a search trains has seen more epochs than those that are compared.
                "accuracy": (what != "search").then_some(found.accuracy), "seconds": began.elapsed().as_secs(),
            }));
            let settings = json!({
                "training_images": TRAINING, "test_images": TEST, "side": SIDE, "cells": SIZE[0],
                "channels": SIZE[1], "search_epochs": SEARCH_EPOCHS, "epochs": EPOCHS,
                "within": ALIKE, "random": RANDOM, "reward": "accuracy",
            });
            let text =
                serde_json::to_string_pretty(&json!({ "settings": settings, "runs": runs }))?;
            Ok::<(), Error>(fs::write(&file, text + "\n")?)
        };
        let mut observe = |event: Event| {
            if let Event::Epoch(epoch, left) = event {
                eprintln!("seed {seed}: {epoch:?}, {left:.0} s left");
            }
            true
        };
        let found = match known(&runs, "search", 0) {
            Some(text) => text,
            None => {
                let began = Instant::now();
                let options = options(seed, SEARCH_EPOCHS);
                let found = cells::search(&all, &target, &options, &mut Vec::new(), &mut observe)?;
                add(&mut runs, "search", 0, &found, began)?;
                found.architecture
            }
        };
        let found: darts::DartsNetwork = found.parse()?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut networks = vec![("found", 0, found.clone())];
        while networks.len() <= RANDOM {
            let network = sized(&darts::DartsNetwork::sample(&mut rng))?;
            let [a, b] = [&network, &found].map(|n| n.trainable_parameters() as f64);
            if (a / b - 1.0).abs() <= ALIKE {
                networks.push(("random", networks.len(), network));
            }
        }
        for (what, number, network) in networks {
            if known(&runs, what, number).is_none() {
                let began = Instant::now();
                let options = options(seed, EPOCHS);
                let out = &mut Vec::new();
                let trained = cells::train(&network, &all, &target, &options, out, &mut observe)?;
                add(&mut runs, what, number, &trained, began)?;
            }
        }
    }
    Ok(())
}

fn options(seed: u64, epochs: usize) -> Options {
    let checkpoint: PathBuf = env::temp_dir().join(format!("cells-{}", std::process::id()));
    Options {
        cells: SIZE[0],
        channels: SIZE[1],
        training: Schedule {
            epochs,
            batch: 32,
            rate: None,
            seed,
            augmentation: Augmentation::CropFlip,
            device: tch::Device::Cpu,
            checkpoint,
            resume: false,
        },
    }
}

/// The same cells in a network of the size at hand.
fn sized(network: &darts::DartsNetwork) -> Result<darts::DartsNetwork, Error> {
    let cells = network.genotype();
    let (normal, reduce) = (cells.normal().clone(), cells.reduce().clone());
    Ok(darts::DartsNetwork::new(Genotype::new(normal, reduce, SIZE[0], SIZE[1])?)?)
}
