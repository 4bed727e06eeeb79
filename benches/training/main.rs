//! What training while cutting is worth, beside other ways to a network of the same cost; writes
//! `benches/training.json`.
//!
//! ```text
//! cargo bench --features train --bench training -- [--images DIR] [--training 8000] [--epochs 8]
//!     [--seeds 3] [--only NETWORK] [--held-out]
//! ```
//!
//! DIR is a folder of images as `gennape prune` takes it, by default where Debian's package
//! dataset-fashion-mnist has them; images of 28x28 pixels in 10 classes fit the networks. What is chosen
//! on figures is chosen with `--held-out`: 10,000 of the training images take the place of the test, and are trained
//! on in no run. Every run is written as soon as it is over, and not done again.

mod networks;

use gennape::images::{Augmentation, ImageSet};
use gennape::onnx::{self, ReadOptions, Weights};
use gennape::pruning::{self, Baselines, Budget, Options, What};
use gennape::training::{Cost, Schedule};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tch::Device;

/// Version of the format of `training.json`.
const SCHEMA: u32 = 1;
const DEFAULT: &str = "/usr/share/datasets/fashion-mnist";
/// Training images on which choices are made.
const HELD_OUT: f64 = 10_000.0;
const BATCH: usize = 64;

struct Arguments {
    images: PathBuf,
    training: usize,
    epochs: usize,
    seeds: u64,
    only: Option<String>,
    held_out: bool,
}

/// One run.
#[derive(Serialize, Deserialize)]
struct Row {
    network: String,
    what: What,
    budget: Budget,
    training: usize,
    epochs: usize,
    seed: u64,
    whole: Cost,
    small: Cost,
    met: bool,
    accuracy: f64,
    difference: f64,
    disagreements: usize,
    images: usize,
    baselines: Baselines,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test` runs benchmarks too, without this.
    if !arguments.iter().any(|a| a == "--bench") {
        return ExitCode::SUCCESS;
    }
    match parse(&arguments).map_err(Into::into).and_then(|arguments| measure(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Arguments, String> {
    let mut parsed = Arguments {
        images: DEFAULT.into(),
        training: 8000,
        epochs: 8,
        seeds: 3,
        only: None,
        held_out: false,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let number = |text: &str| {
            let number = text.parse().ok().filter(|&n: &usize| n > 0);
            number.ok_or(format!("'{text}' is no positive number"))
        };
        match argument.as_str() {
            "--bench" => {}
            "--images" => parsed.images = value()?.into(),
            "--training" => parsed.training = number(value()?)?,
            "--epochs" => parsed.epochs = number(value()?)?,
            "--seeds" => parsed.seeds = number(value()?)? as u64,
            "--only" => parsed.only = Some(value()?.clone()),
            "--held-out" => parsed.held_out = true,
            other => return Err(format!("unknown argument '{other}'")),
        }
    }
    let names: Vec<&str> = networks::ALL.iter().map(|n| n.name).collect();
    match &parsed.only {
        Some(only) if !names.contains(&only.as_str()) => {
            Err(format!("no network '{only}'; there are {}", names.join(", ")))
        }
        _ => Ok(parsed),
    }
}

fn measure(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/training.json");
    let images = ImageSet::open(&arguments.images, None)?;
    let folder = tempfile::tempdir()?;
    for seed in 0..arguments.seeds {
        let images = part(&images, arguments, seed)?;
        let wanted = |name: &str| arguments.only.as_ref().is_none_or(|only| only == name);
        for case in networks::ALL.iter().filter(|case| wanted(case.name)) {
            if known(&path, arguments, case, seed) {
                continue;
            }
            eprintln!("{} with seed {seed}…", case.name);
            let row = run(case, &images, arguments, seed, folder.path())?;
            keep(&path, arguments, row)?;
        }
    }
    Ok(())
}

/// The images of a run.
fn part(all: &ImageSet, arguments: &Arguments, seed: u64) -> Result<ImageSet, String> {
    let share = HELD_OUT / all.training.len() as f64;
    if share >= 1.0 {
        return Err(format!("there are {} training images", all.training.len()));
    }
    let [rest, held] = all.training.split(share, 0);
    let rest = all.training.subset(&rest);
    let [_, some] = rest.split((arguments.training as f64 / rest.len() as f64).min(1.0), seed);
    let test = match arguments.held_out {
        true => Some(all.training.subset(&held)),
        false => all.test.clone(),
    };
    let test = Some(test.ok_or("there are no test images")?);
    Ok(ImageSet { training: rest.subset(&some), test, classes: all.classes.clone() })
}

fn run(
    case: &networks::Case,
    images: &ImageSet,
    arguments: &Arguments,
    seed: u64,
    folder: &Path,
) -> Result<Row, Box<dyn Error>> {
    let path = folder.join("network.onnx");
    onnx::write(&(case.build)()?, fs::File::create(&path)?, Weights::Stripped)?;
    let options = Options {
        what: case.what,
        budget: case.budget,
        insert_batch_norm: false,
        training: Schedule {
            epochs: arguments.epochs,
            batch: BATCH,
            rate: None,
            seed,
            augmentation: Augmentation::CropFlip,
            device: Device::Cpu,
            checkpoint: folder.join("checkpoint"),
            resume: false,
        },
    };
    let read = ReadOptions::default();
    let pruned =
        pruning::prune(&path, &read, images, &options, &mut std::io::sink(), None, &mut |_| true)?;
    eprintln!("{:.4} of {} images", pruned.accuracy, pruned.images);
    let baselines = pruning::baselines(&path, &read, images, &options, &pruned)?;
    eprintln!("{baselines:?}");
    Ok(Row {
        network: case.name.into(),
        what: case.what,
        budget: case.budget,
        training: images.training.len(),
        epochs: arguments.epochs,
        seed,
        whole: pruned.whole,
        small: pruned.small,
        met: pruned.met,
        accuracy: pruned.accuracy,
        difference: pruned.difference,
        disagreements: pruned.disagreements,
        images: pruned.images,
        baselines,
    })
}

/// The file, its rows, and the name of their section.
fn report(path: &Path, held_out: bool) -> (Map<String, Value>, Vec<Row>, &'static str) {
    let old = fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut report = old
        .filter(|report: &Map<String, Value>| report.get("schema") == Some(&json!(SCHEMA)))
        .unwrap_or_default();
    let section = if held_out { "pruning held out" } else { "pruning" };
    let rows = report.remove(section).and_then(|rows| serde_json::from_value(rows).ok());
    (report, rows.unwrap_or_default(), section)
}

/// Whether the file has the run.
fn known(path: &Path, arguments: &Arguments, case: &networks::Case, seed: u64) -> bool {
    let wanted = (case.name, case.what, case.budget, arguments.training, arguments.epochs, seed);
    let (_, rows, _) = report(path, arguments.held_out);
    rows.iter()
        .any(|r| (r.network.as_str(), r.what, r.budget, r.training, r.epochs, r.seed) == wanted)
}

/// Writes a row in the place of an earlier one for the same network and seed.
fn keep(path: &Path, arguments: &Arguments, row: Row) -> Result<(), Box<dyn Error>> {
    let (mut report, mut rows, section) = report(path, arguments.held_out);
    rows.retain(|old| (&old.network, old.seed) != (&row.network, row.seed));
    rows.push(row);
    report.insert("schema".into(), json!(SCHEMA));
    report.insert(section.into(), serde_json::to_value(rows)?);
    fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    Ok(())
}
