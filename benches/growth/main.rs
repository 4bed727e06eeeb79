//! How time and memory grow with the number of nodes: the program on networks of six shapes, as a
//! whole process, from a thousand to a million nodes.
//!
//! ```text
//! cargo bench --bench growth
//! ```
//!
//! writes `benches/growth.json`, from which `scripts/readme.py` makes a table. Exponents are slopes of
//! a line through the logarithms of size and of what is measured (least squares), over the sizes
//! that take at least [`FITTED_SECONDS`] of processor time.
//!
//! What no program can do without grows faster than the file too, once neither the caches nor the
//! pages that the kernel has at hand suffice. So a floor is measured beside the commands: a process
//! that reads the file and decodes it, which makes a string of every name and looks none of them
//! up, and ends.

mod shapes;

use gennape::onnx::{Weights, write};
use onnx_protobuf::{Message, ModelProto};
use serde::Serialize;
use shapes::Shape;
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

const SIZES: [usize; 7] = [1_000, 3_162, 10_000, 31_623, 100_000, 316_228, 1_000_000];
const COMMANDS: [&str; 4] = [FLOOR, "predict", "space", "shrink"];

/// This program itself, which decodes the file and no more.
const FLOOR: &str = "decode";

/// As many for all sizes: the least of more is lower.
const RUNS: usize = 4;

/// Start-up takes a few milliseconds.
const FITTED_SECONDS: f64 = 0.1;

#[derive(Serialize)]
struct Report {
    schema: u32,
    cores: usize,
    sizes: [usize; SIZES.len()],
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    shape: &'static str,
    command: &'static str,
    /// Bytes of the file of the largest network.
    bytes: u64,
    wall_seconds: Vec<f64>,
    processor_seconds: Growth,
    megabytes: Growth,
}

/// What was measured at each size, and the exponent of how it grows.
#[derive(Serialize)]
struct Growth {
    values: Vec<f64>,
    exponent: f64,
}

impl Growth {
    /// The growth of these values over the sizes that are large enough to tell.
    fn new(values: Vec<f64>, fitted: &[bool]) -> Self {
        let points = SIZES.iter().zip(&values).zip(fitted).filter(|(_, fitted)| **fitted);
        let points = points.map(|((&size, value), _)| ((size as f64).ln(), value.ln()));
        Self { exponent: slope(&points.collect::<Vec<_>>()), values }
    }
}

/// Slope of the line through these points with the least squared distances along y.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let (mut above, mut below) = (0.0, 0.0);
    for point in points {
        above += (point.0 - x) * (point.1 - y);
        below += (point.0 - x).powi(2);
    }
    above / below
}

/// What a process took.
#[derive(Clone, Copy)]
struct Taken {
    wall_seconds: f64,
    processor_seconds: f64,
    /// The most that it had resident.
    megabytes: f64,
}

impl Taken {
    fn least(self, other: Self) -> Self {
        Self {
            wall_seconds: self.wall_seconds.min(other.wall_seconds),
            processor_seconds: self.processor_seconds.min(other.processor_seconds),
            megabytes: self.megabytes.min(other.megabytes),
        }
    }
}

/// Runs the program, or this one, on this file.
fn run(command: &str, file: &Path) -> Result<Taken, Box<dyn Error>> {
    let mut process = match command {
        FLOOR => Command::new(env::current_exe()?),
        _ => Command::new(env!("CARGO_BIN_EXE_gennape")),
    };
    process.arg(command).arg(file);
    if command == "shrink" {
        let output = file.with_extension("small.onnx");
        let _ = fs::remove_file(&output);
        process.args(["--keep", "whole", "-o"]).arg(output);
    }
    let start = Instant::now();
    let mut child = process.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut megabytes = 0.0;
    let mut threads = BTreeMap::new();
    // An ended process keeps its times until it is waited for, but not its memory.
    let processor_seconds = loop {
        let (ticks, ended) = processor_seconds(&child)?;
        note_threads(&child, &mut threads);
        if ended {
            break ticks.max(threads.values().sum());
        }
        megabytes = peak_megabytes(&child).unwrap_or(megabytes);
        thread::sleep(Duration::from_millis(1));
    };
    let wall_seconds = start.elapsed().as_secs_f64();
    if !child.wait()?.success() {
        return Err(format!("{command} {} failed", file.display()).into());
    }
    Ok(Taken { wall_seconds, processor_seconds, megabytes })
}

/// Seconds that each thread of the process has been running, as far as it is still there. Those of
/// the whole process are counted in steps that are a tenth of the shortest times that are fitted,
/// and rounded down.
fn note_threads(child: &Child, seconds: &mut BTreeMap<OsString, f64>) {
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).into_iter().flatten();
    for thread in threads.flatten() {
        let statistics = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        if let Some(Ok(nanoseconds)) = statistics.split(' ').next().map(str::parse::<f64>) {
            seconds.insert(thread.file_name(), nanoseconds / 1e9);
        }
    }
}

/// Seconds that the process has been running on any processor, and whether it has ended.
fn processor_seconds(child: &Child) -> Result<(f64, bool), Box<dyn Error>> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    // After the name, which may hold spaces: the state first, user and system time as 12th and 13th.
    let (_, fields) = stat.rsplit_once(") ").ok_or("no name")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let [state, .., user, system] = fields.get(..13).ok_or("no times")? else {
        return Err("no times".into());
    };
    let ticks = user.parse::<f64>()? + system.parse::<f64>()?;
    Ok((ticks / TICKS_PER_SECOND, *state == "Z"))
}

/// The most that the process has had resident so far.
fn peak_megabytes(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024.0 / 1e6)
}

/// The least of [`RUNS`] runs.
fn measure(command: &str, file: &Path) -> Result<Taken, Box<dyn Error>> {
    let first = run(command, file)?;
    (1..RUNS).try_fold(first, |least, _| Ok(least.least(run(command, file)?)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [command, file] = &*arguments
        && command == FLOOR
    {
        ModelProto::parse_from_bytes(&fs::read(file)?)?;
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for shape in Shape::ALL {
        let mut files = Vec::new();
        for nodes in SIZES {
            let file = folder.path().join(format!("{nodes}.onnx"));
            write(&shape.network(nodes), File::create(&file)?, Weights::Stripped)?;
            files.push(file);
        }
        let bytes = fs::metadata(&files[SIZES.len() - 1])?.len();
        for command in COMMANDS {
            let mut measured = Vec::new();
            for file in &files {
                measured.push(measure(command, file)?);
            }
            let all = |of: fn(&Taken) -> f64| measured.iter().map(of).collect::<Vec<f64>>();
            let fitted: Vec<bool> =
                measured.iter().map(|t| t.processor_seconds >= FITTED_SECONDS).collect();
            let row = Row {
                shape: shape.name(),
                command,
                bytes,
                wall_seconds: all(|t| t.wall_seconds),
                processor_seconds: Growth::new(all(|t| t.processor_seconds), &fitted),
                megabytes: Growth::new(all(|t| t.megabytes), &fitted),
            };
            let last = measured.last().ok_or("no sizes")?;
            eprintln!(
                "{:17} {command:8} {:6.2} s, of processors {:6.2} s ~ n^{:.2}; {:6.0} MB ~ n^{:.2}",
                row.shape,
                last.wall_seconds,
                last.processor_seconds,
                row.processor_seconds.exponent,
                last.megabytes,
                row.megabytes.exponent,
            );
            rows.push(row);
        }
    }
    let cores = thread::available_parallelism()?.get();
    let json = serde_json::to_string_pretty(&Report { schema: 1, cores, sizes: SIZES, rows })?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/growth.json");
    Ok(fs::write(path, json + "\n")?)
}
