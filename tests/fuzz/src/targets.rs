//! What is fuzzed, and what must hold whatever the input.

use crate::figures;
use crate::mutate::{self, Dictionary};
use gennape::benchmarks::labels::LabelTable;
use gennape::benchmarks::nasbench101::official;
use gennape::estimator::{Estimate, Estimator};
use gennape::graph::ComputationGraph;
use gennape::lower::lower;
use gennape::onnx::{self, Original, ReadOptions, Weights};
use gennape::spaces::Space;
use gennape::subnetworks::{SubNetwork, SuperNetwork};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// What must not happen, and did.
#[derive(Debug)]
pub struct Finding {
    /// Findings of one kind are likely one fault.
    pub kind: String,
    pub detail: String,
}

impl Finding {
    /// The kind and the first words of the detail, without names and numbers: many faults look
    /// alike otherwise.
    pub fn cause(&self) -> String {
        let mut quoted = false;
        let plain = |c: char| {
            quoted ^= c == '\'';
            if c.is_ascii_alphabetic() && !quoted { c } else { ' ' }
        };
        let text: String = self.detail.chars().take(400).map(plain).collect();
        let words = text.split(' ').filter(|word| word.len() > 2).take(10);
        words.fold(self.kind.clone(), |cause, word| cause + " " + word)
    }
}

fn finding(kind: &str, detail: impl Display) -> Finding {
    Finding { kind: kind.to_string(), detail: detail.to_string() }
}

static STAGE: Mutex<&str> = Mutex::new("");

/// What the target is doing.
pub fn stage() -> &'static str {
    STAGE.lock().map_or("", |stage| *stage)
}

fn enter(stage: &'static str) {
    if let Ok(mut now) = STAGE.lock() {
        *now = stage;
    }
}

pub trait Target {
    /// Inputs to begin with.
    fn seeds(&self) -> Vec<Vec<u8>>;

    /// Larger inputs are not kept: they would slow down all that come from them.
    fn largest(&self) -> usize {
        60_000
    }

    /// Changes an input.
    fn mutate(
        &self,
        input: &mut Vec<u8>,
        other: &[u8],
        dictionary: &Dictionary,
        random: &mut ChaCha8Rng,
    ) {
        mutate::bytes(input, other, dictionary, random);
    }

    /// Runs an input. Panics are findings too.
    fn run(&mut self, input: &[u8], random: &mut ChaCha8Rng) -> Vec<Finding>;
}

/// The target of this name.
pub fn named(name: &str) -> Option<Box<dyn Target>> {
    Some(match name {
        "read" => Box::new(Reading { estimator: Estimator::embedded(), file: scratch("read") }),
        "labels" => Box::new(Labels { folder: scratch("labels") }),
        "model" => Box::new(Model::new(scratch("model"))),
        "resume" => Box::new(Resume { folder: scratch("resume") }),
        _ => return None,
    })
}

/// A path of this process' own.
fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("gennape-fuzz-{}-{name}", process::id()))
}

/// The files in a folder and those inside of it.
pub fn files(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let mut waiting = vec![folder.to_path_buf()];
    std::iter::from_fn(move || {
        while let Some(path) = waiting.pop() {
            match fs::read_dir(&path) {
                Ok(inside) => waiting.extend(inside.flatten().map(|entry| entry.path())),
                Err(_) => return Some(path),
            }
        }
        None
    })
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// A writer that fails rather than fill the memory.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > 16 << 20 {
            return Err(io::Error::other("too much"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// ONNX files: read, lowered, estimated, searched for sub-networks, written and read again.
struct Reading {
    estimator: Estimator,
    /// What a sub-network takes its weights from.
    file: PathBuf,
}

/// Larger networks are not drawn or searched for sub-networks, for speed.
const MAX_NODES: usize = 2500;

impl Target for Reading {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds: Vec<Vec<u8>> =
            files(&fixtures()).filter_map(|path| crate::fixtures::onnx(&path)).collect();
        for &space in Space::ALL {
            let network = space.build(&space.sample(&mut ChaCha8Rng::seed_from_u64(0)));
            let mut file = Vec::new();
            if network.is_ok_and(|n| onnx::write(&n, &mut file, Weights::Stripped).is_ok()) {
                seeds.push(file);
            }
        }
        seeds.retain(|seed| seed.len() <= self.largest());
        seeds.sort();
        seeds
    }

    fn mutate(
        &self,
        input: &mut Vec<u8>,
        other: &[u8],
        dictionary: &Dictionary,
        random: &mut ChaCha8Rng,
    ) {
        mutate::onnx(input, other, dictionary, random);
    }

    fn run(&mut self, input: &[u8], random: &mut ChaCha8Rng) -> Vec<Finding> {
        let mut found = Vec::new();
        let options =
            ReadOptions { allow_unknown: random.gen_ratio(1, 5), ..ReadOptions::default() };
        enter("read");
        let model = match onnx::read_bytes(input, "fuzzed", &options) {
            Ok(model) => model,
            Err(e) => {
                let (text, hint) = (e.to_string(), e.hint().map(|h| h.to_string()));
                if text.len() + hint.map_or(0, |h| h.len()) > 100_000 {
                    found.push(finding("long message", text.len()));
                }
                return found;
            }
        };
        enter("lower");
        let lowered = lower(&model);
        if let Ok(graph) = &lowered {
            enter("estimate");
            match self.estimator.estimate(std::slice::from_ref(graph)) {
                Ok(estimates) => found.extend(unsound(&estimates[0])),
                Err(e) => found.push(finding("not estimated", e)),
            }
            if graph.len() < MAX_NODES && random.gen_ratio(1, 4) {
                enter("draw");
                let _ = (graph.to_dot(), gennape::draw::graph(graph, "fuzzed"));
            }
            enter("write");
            let mut out = Bounded(Vec::new());
            if onnx::write(&model, &mut out, Weights::Stripped).is_ok() {
                enter("read what was written");
                found.extend(differs("written", &out.0, graph, &options));
            }
        }
        if model.nodes().len() > MAX_NODES {
            return found;
        }
        enter("space");
        let space = SuperNetwork::new(model);
        let _ = space.log10_size();
        if lowered.is_err() {
            return found;
        }
        let mut subs = vec![space.smallest(), space.sample(random), space.sample(random)];
        subs.push(space.mutate(&subs[1], random));
        subs.push(space.crossover(&subs[2], &subs[3], random));
        for sub in &subs {
            enter("sub-network");
            found.extend(sub_network(&space, sub));
        }
        if random.gen_ratio(1, 8) {
            enter("shrink");
            let sub = &subs[random.gen_range(0..subs.len())];
            found.extend(self.shrunk(&space, sub, input, &options));
        }
        found
    }
}

impl Reading {
    /// A sub-network that is written must read back as what it is.
    fn shrunk(
        &self,
        space: &SuperNetwork,
        sub: &SubNetwork,
        input: &[u8],
        options: &ReadOptions,
    ) -> Option<Finding> {
        fs::write(&self.file, input).expect("the scratch file can be written");
        let (_, mut original) = Original::open(&self.file, options).ok()?;
        let mut out = Bounded(Vec::new());
        let shrunk = space.shrink(sub, &mut original, &mut out, None).ok()?;
        enter("read what was shrunk");
        differs("shrunk", &out.0, &lower(&shrunk.graph).ok()?, options)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// An estimate is finite, and inside of its interval.
fn unsound(e: &Estimate) -> Option<Finding> {
    let [low, high] = e.interval;
    let finite = [e.accuracy, low, high, e.distance].iter().all(|x| x.is_finite());
    let inside = low <= e.accuracy + 1e-9 && e.accuracy <= high + 1e-9;
    (!finite || !inside).then(|| finding("estimate", format!("{e:?}")))
}

/// A file that does not read back as the network that was written.
fn differs(
    what: &str,
    file: &[u8],
    graph: &ComputationGraph,
    options: &ReadOptions,
) -> Option<Finding> {
    let again = match onnx::read_bytes(file, "fuzzed", options) {
        Ok(again) => again,
        Err(e) => return Some(finding(&format!("{what}: unreadable"), e)),
    };
    match lower(&again) {
        Ok(again) if again.fingerprint() == graph.fingerprint() => None,
        Ok(again) => {
            let sizes = |g: &ComputationGraph| (g.len(), g.parameters(), g.macs());
            let detail = format!("{:?}, was {:?}", sizes(&again), sizes(graph));
            Some(finding(&format!("{what}: another fingerprint"), detail))
        }
        Err(e) => Some(finding(&format!("{what}: not lowered"), e)),
    }
}

/// A sub-network has one text, is built and has a computation graph.
fn sub_network(space: &SuperNetwork, sub: &SubNetwork) -> Option<Finding> {
    let text = sub.to_string();
    match space.parse(&text) {
        Ok(same) if same == *sub => {}
        Ok(other) => return Some(finding("sub-network: another text", format!("{text}, {other}"))),
        Err(e) => return Some(finding("sub-network: its text is none", format!("{text}: {e}"))),
    }
    match space.build(sub) {
        Ok(network) => {
            let e = lower(&network).err()?;
            Some(finding("sub-network: not lowered", format!("{e} ({text})")))
        }
        Err(e) => Some(finding("sub-network: not built", format!("{e} ({text})"))),
    }
}

/// Tables of labels, and NAS-Bench-101's own format. The first byte of an input tells its name.
struct Labels {
    folder: PathBuf,
}

const LABEL_NAMES: [&str; 7] = [
    "labels.csv",
    "labels.tsv",
    "labels.jsonl",
    "labels.csv.gz",
    "labels.jsonl.gz",
    "labels.parquet",
    "cells.tfrecord",
];

impl Target for Labels {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let seed = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            let ending = name.split_once('.')?.1;
            let format = LABEL_NAMES.iter().position(|n| n.split_once('.').unwrap().1 == ending)?;
            let content = fs::read(&path).ok()?;
            Some([vec![format as u8], content].concat())
        };
        let folders = ["labels", "nasbench101"].map(|folder| fixtures().join(folder));
        let mut seeds: Vec<Vec<u8>> =
            folders.iter().flat_map(|folder| files(folder)).filter_map(seed).collect();
        seeds.sort();
        seeds
    }

    fn run(&mut self, input: &[u8], _: &mut ChaCha8Rng) -> Vec<Finding> {
        let Some((format, content)) = input.split_first() else { return Vec::new() };
        let name = LABEL_NAMES[usize::from(*format) % LABEL_NAMES.len()];
        let path = self.folder.join(name);
        let mut content = content.to_vec();
        if name.ends_with("tfrecord") {
            seal(&mut content);
        }
        fs::create_dir_all(&self.folder).expect("the scratch folder can be made");
        fs::write(&path, content).expect("the scratch folder can be written");
        enter(name);
        let mut found = Vec::new();
        let mut told = |text: String| {
            if text.len() > 100_000 {
                found.push(finding("long message", text.len()));
            }
        };
        if name.ends_with("tfrecord") {
            match official::read(&path, |_| {}) {
                Ok(cells) => drop(official::write_csv(&cells, io::sink())),
                Err(e) => told(e.to_string()),
            }
            return found;
        }
        let table = match LabelTable::read(&path) {
            Ok(table) => table,
            Err(e) => {
                told(e.to_string());
                return found;
            }
        };
        if let Err(e) = table.target(None) {
            told(e.to_string());
        }
        for space in [Space::NasBench201, Space::NasBench101] {
            for target in table.columns().iter().take(4) {
                match table.networks(space, target) {
                    Ok((set, errors)) => {
                        errors.iter().take(100).for_each(|e| told(e.to_string()));
                        let sound = (0..set.len()).all(|i| set.target(i).is_finite());
                        let rows = set.len() + errors.len() == table.rows();
                        if !sound || !rows {
                            found.push(finding("labels: rows are lost", table.rows()));
                            return found;
                        }
                    }
                    Err(e) => told(e.to_string()),
                }
            }
        }
        found
    }
}

impl Drop for Labels {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Gives the records of a TFRecord file the checksums that their content has, so that what was
/// changed in it is looked at.
fn seal(mut file: &mut [u8]) {
    let masked = |bytes: &[u8]| crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8);
    while let Some((head, rest)) = file.split_at_mut_checked(12) {
        let (length, sum) = head.split_at_mut(8);
        sum.copy_from_slice(&masked(length).to_le_bytes());
        let length = length.iter().rev().fold(0u64, |all, &b| all << 8 | u64::from(b));
        let Some((data, rest)) =
            usize::try_from(length).ok().and_then(|length| rest.split_at_mut_checked(length))
        else {
            return;
        };
        let Some((sum, rest)) = rest.split_at_mut_checked(4) else { return };
        sum.copy_from_slice(&masked(data).to_le_bytes());
        file = rest;
    }
}

/// Model folders: manifest and weights, with the manifest's length before them.
struct Model {
    folder: PathBuf,
    network: ComputationGraph,
}

impl Model {
    fn new(folder: PathBuf) -> Self {
        let cell = Space::NasBench201.sample(&mut ChaCha8Rng::seed_from_u64(0));
        let network = Space::NasBench201.build(&cell).expect("a sampled cell is one");
        Self { folder, network: lower(&network).expect("a cell computes something") }
    }
}

/// Two files as one input.
fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    [&(first.len() as u32).to_le_bytes(), first, second].concat()
}

/// The two files of an input.
fn parted(input: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = input.split_first_chunk() else { return (&[], &[]) };
    let length = u32::from_le_bytes(*length) as usize;
    rest.split_at(length.min(rest.len()))
}

/// Changes one of the two files of an input.
fn mutate_either(
    input: &mut Vec<u8>,
    other: &[u8],
    dictionary: &Dictionary,
    random: &mut ChaCha8Rng,
    of_second: impl Fn(&[u8]) -> usize,
) {
    let (first, second) = parted(input);
    let (mut first, mut second) = (first.to_vec(), second.to_vec());
    let (first_other, second_other) = parted(other);
    if random.r#gen() {
        mutate::bytes(&mut first, first_other, dictionary, random);
    } else {
        let rest = second.split_off(of_second(&second).min(second.len()));
        mutate::bytes(&mut second, second_other, dictionary, random);
        second.extend(rest);
    }
    *input = joined(&first, &second);
}

impl Target for Model {
    fn largest(&self) -> usize {
        1 << 19
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        Estimator::names()
            .filter_map(Estimator::named)
            .filter_map(|model| {
                let manifest = serde_json::to_vec(model.manifest()).ok()?;
                Some(joined(&manifest, model.weights()))
            })
            .collect()
    }

    fn mutate(
        &self,
        input: &mut Vec<u8>,
        other: &[u8],
        dictionary: &Dictionary,
        random: &mut ChaCha8Rng,
    ) {
        // In the weights, mostly what describes them.
        let everywhere = random.gen_ratio(1, 4);
        mutate_either(input, other, dictionary, random, |weights| match weights {
            [a, b, c, 0, 0, 0, 0, 0, ..] if !everywhere => {
                8 + u32::from_le_bytes([*a, *b, *c, 0]) as usize
            }
            all => all.len(),
        });
    }

    fn run(&mut self, input: &[u8], _: &mut ChaCha8Rng) -> Vec<Finding> {
        let (manifest, weights) = parted(input);
        fs::create_dir_all(&self.folder).expect("the scratch folder can be made");
        for (name, content) in [("manifest.json", manifest), ("weights.safetensors", weights)] {
            fs::write(self.folder.join(name), content).expect("the scratch folder can be written");
        }
        enter("load");
        match Estimator::load(&self.folder) {
            Ok(model) => {
                enter("estimate");
                let estimates = model.estimate(std::slice::from_ref(&self.network));
                estimates.ok().and_then(|e| unsound(&e[0])).into_iter().collect()
            }
            Err(e) if e.to_string().len() > 100_000 => vec![finding("long message", "")],
            Err(_) => Vec::new(),
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Folders of interrupted searches, which the program itself resumes, in a process of its own:
/// `search.json` and `history.csv`, with the first one's length before them.
struct Resume {
    folder: PathBuf,
}

/// Set for a process that is the program itself: where to write what it covered.
pub const CHILD: &str = "GENNAPE_FUZZ_COUNTERS";

/// More networks than this would only take time.
const MAX_BUDGET: u64 = 24;

impl Resume {
    /// The folder of a search with these options.
    fn searched(&self, options: &[&str]) -> Option<Vec<u8>> {
        let _ = fs::remove_dir_all(&self.folder);
        self.gennape(&[&["search", "-o"], options].concat());
        let [settings, history] = ["search.json", "history.csv"].map(|n| self.folder.join(n));
        Some(joined(&fs::read(settings).ok()?, &fs::read(history).ok()?))
    }

    /// Runs the program; the folder follows the second argument. Its exit code, and what it said.
    fn gennape(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let program = std::env::current_exe().expect("this program has a path");
        let (head, tail) = arguments.split_at(2);
        let told = self.folder.with_extension("told");
        let stderr = File::create(&told).expect("the scratch folder can be written");
        let mut command = Command::new(program);
        command.args(head).arg(&self.folder).args(tail).env(CHILD, self.counters());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut child = command.spawn().expect("the program runs");
        let begin = Instant::now();
        let code = loop {
            match child.try_wait().expect("it can be waited for") {
                Some(status) => break status.code(),
                // Killed, it has no exit code.
                None if figures::spent_by(child.id()) > crate::HANG / 2
                    || begin.elapsed() > crate::WAITS / 2 =>
                {
                    drop(child.kill());
                }
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        (code, fs::read(told).map_or(String::new(), |t| String::from_utf8_lossy(&t).into_owned()))
    }

    fn counters(&self) -> PathBuf {
        self.folder.with_extension("counters")
    }
}

impl Target for Resume {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let searches: [&[&str]; 5] = [
            &["--space", "nasbench201", "--budget", "8"],
            &["--space", "nasbench201", "--budget", "8", "--algorithm", "local"],
            &["--space", "nasbench101", "--budget", "8", "--objective", "accuracy"],
            &["--space", "nasbench-macro", "--budget", "6", "--constraint", "parameters<=10M"],
            &["--space", "hiaml", "--budget", "6", "--algorithm", "random", "--seed", "3"],
        ];
        searches.iter().filter_map(|options| self.searched(options)).collect()
    }

    fn mutate(
        &self,
        input: &mut Vec<u8>,
        other: &[u8],
        dictionary: &Dictionary,
        random: &mut ChaCha8Rng,
    ) {
        mutate_either(input, other, dictionary, random, <[u8]>::len);
    }

    fn run(&mut self, input: &[u8], _: &mut ChaCha8Rng) -> Vec<Finding> {
        let (settings, history) = parted(input);
        let asked: serde_json::Value = serde_json::from_slice(settings).unwrap_or_default();
        let most = asked["budget"].as_u64().unwrap_or(0);
        // Nothing else is to be run, and not for long.
        if most > MAX_BUDGET || settings.windows(4).any(|w| w == b"cmd:") {
            return Vec::new();
        }
        enter("resume");
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(&self.folder).expect("the scratch folder can be made");
        for (name, content) in [("search.json", settings), ("history.csv", history)] {
            fs::write(self.folder.join(name), content).expect("the scratch folder can be written");
        }
        let (code, told) = self.gennape(&["search", "--resume"]);
        crate::coverage::load(&fs::read(self.counters()).unwrap_or_default());
        match code {
            Some(0 | 1) if told.len() > 100_000 => vec![finding("long message", told.len())],
            Some(0 | 1) => Vec::new(),
            code => {
                let place = told.lines().find(|l| l.contains("src/")).unwrap_or_default();
                vec![finding(&format!("resume: exit code {code:?} {place}"), &told)]
            }
        }
    }
}

impl Drop for Resume {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(self.counters());
        let _ = fs::remove_file(self.folder.with_extension("told"));
    }
}
