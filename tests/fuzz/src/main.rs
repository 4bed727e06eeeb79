//! A coverage-guided fuzzer for everything that reads files of others; see the README beside it.

mod coverage;
mod figures;
#[path = "../../fixtures/mod.rs"]
mod fixtures;
mod memory;
mod mutate;
mod protobuf;
mod targets;

use coverage::Coverage;
use figures::Report;
use mutate::Dictionary;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use targets::{CHILD, Finding, Target, stage};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

const DICTIONARY: &str = include_str!("../dictionary.txt");

/// Larger inputs are not tried.
const MAX_INPUT: usize = 1 << 19;
/// Processor time that an input may take, in a build that checks every addition.
const MAX_TIME: Duration = Duration::from_secs(2);
/// Memory that an input may take.
const MAX_MEMORY: usize = 200 << 20;
/// When to give up an input: it hangs, by the time it had of a processor or, if it only waits, by
/// the clock of a machine however busy; or it takes all memory.
const HANG: Duration = Duration::from_secs(60);
const WAITS: Duration = Duration::from_secs(1800);
const EXHAUSTED: usize = 2 << 30;
/// Findings of a cause that are kept.
const KEPT: u64 = 3;

const USAGE: &str = "usage: fuzz read|labels|model|resume FOLDER SECONDS [SEED]
       fuzz read|labels|model|resume --only FILE…
       fuzz figures COMMIT FOLDER…";

fn main() -> ExitCode {
    // The program itself, whose coverage another process asks for.
    if let Some(counters) = std::env::var_os(CHILD) {
        let code = gennape::cli::main();
        let _ = fs::write(counters, coverage::counters());
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, commit, folders @ ..] = &arguments[..]
        && command == "figures"
    {
        let folders: Vec<PathBuf> = folders.iter().map(Into::into).collect();
        return match figures::figures(commit, &folders) {
            Ok(figures) => {
                let json = serde_json::to_string_pretty(&figures).expect("names are text");
                println!("{json}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let target = arguments.first().and_then(|name| targets::named(name));
    match (target, arguments.get(1..).unwrap_or_default()) {
        (Some(mut target), [only, files @ ..]) if only == "--only" => {
            for file in files {
                again(&mut *target, Path::new(file));
            }
            ExitCode::SUCCESS
        }
        (Some(target), [folder, seconds, seed @ ..]) if seconds.parse::<u64>().is_ok() => {
            let seconds = Duration::from_secs(seconds.parse().unwrap_or(0));
            let seed = seed.first().and_then(|s| s.parse().ok()).unwrap_or(0);
            Fuzzer::new(target, folder.into(), seed).run(seconds);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one input with some random numbers and says what was found.
fn again(target: &mut dyn Target, file: &Path) {
    let Ok(input) = fs::read(file) else { return eprintln!("{}: unreadable", file.display()) };
    let (mut slowest, mut largest, mut found) = (Duration::ZERO, 0, BTreeMap::new());
    for seed in 0..64 {
        let start = memory::start();
        let begin = processor_time();
        let findings = target.run(&input, &mut ChaCha8Rng::seed_from_u64(seed));
        slowest = slowest.max(processor_time().saturating_sub(begin));
        largest = largest.max(memory::peak_beyond(start) >> 20);
        for finding in findings {
            found.entry(finding.cause()).or_insert((seed, finding));
        }
    }
    println!("{}: {slowest:?}, {largest} MB, {} findings", file.display(), found.len());
    for (seed, Finding { kind, detail }) in found.into_values() {
        println!("  {kind} (seed {seed}): {detail}");
    }
}

/// Time that this thread has been running.
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// What runs now, for the thread that watches it: since when, and what all had of a processor by
/// then.
type Current = Arc<Mutex<Option<(Instant, Duration, Vec<u8>)>>>;

struct Fuzzer {
    target: Box<dyn Target>,
    folder: PathBuf,
    log: File,
    random: ChaCha8Rng,
    seed: u64,
    dictionary: Dictionary,
    corpus: Vec<Vec<u8>>,
    /// How many of the corpus were there at the start.
    seeds: usize,
    coverage: Coverage,
    found: BTreeMap<String, u64>,
    /// Findings by what is said of them too.
    causes: BTreeMap<String, u64>,
    executions: u64,
    /// The most that an input took.
    slowest: Duration,
    largest: usize,
}

impl Fuzzer {
    fn new(target: Box<dyn Target>, folder: PathBuf, seed: u64) -> Self {
        for sub in ["corpus", "findings"] {
            fs::create_dir_all(folder.join(sub)).expect("the folder can be written");
        }
        let log = File::options().create(true).append(true).open(folder.join("log"));
        let mut corpus = target.seeds();
        let mut kept: Vec<PathBuf> = targets::files(&folder.join("corpus")).collect();
        kept.sort();
        corpus.extend(kept.iter().filter_map(|path| fs::read(path).ok()));
        corpus.retain(|input| input.len() <= MAX_INPUT);
        let dictionary = Dictionary::new(DICTIONARY, corpus.iter().map(Vec::as_slice));
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            seed,
            dictionary,
            seeds: corpus.len(),
            corpus,
            coverage: Coverage::new(),
            found: BTreeMap::new(),
            causes: BTreeMap::new(),
            executions: 0,
            slowest: Duration::ZERO,
            largest: 0,
            log: log.expect("the log can be written"),
            target,
            folder,
        }
    }

    fn say(&mut self, text: &str) {
        let _ = writeln!(self.log, "{text}");
    }

    fn run(&mut self, time: Duration) {
        let panicked = Arc::new(Mutex::new(String::new()));
        let message = panicked.clone();
        panic::set_hook(Box::new(move |info| {
            if let Ok(mut message) = message.lock() {
                *message = info.to_string();
            }
        }));
        let current = Current::default();
        self.watch(current.clone());
        let begin = Instant::now();
        let mut reported = begin;
        let mut next = 0;
        while begin.elapsed() < time {
            // The corpus itself first.
            let input = match self.corpus.get(next).filter(|_| next < self.seeds) {
                Some(input) => input.clone(),
                None => self.mutated(),
            };
            let fresh = next >= self.seeds;
            next += 1;
            if input.len() <= MAX_INPUT {
                self.execute(input, fresh, &current, &panicked);
            }
            if reported.elapsed() > Duration::from_secs(60) {
                reported = Instant::now();
                self.report(begin);
            }
        }
        self.report(begin);
        self.say("end");
    }

    fn mutated(&mut self) -> Vec<u8> {
        let Some(last) = self.corpus.len().checked_sub(1) else { return Vec::new() };
        // What brought something new brings more; and small inputs are quick.
        let at = if last >= self.seeds && self.random.gen_bool(0.6) {
            self.random.gen_range(self.seeds..=last)
        } else {
            let (a, b) = (self.random.gen_range(0..=last), self.random.gen_range(0..=last));
            if self.corpus[a].len() < self.corpus[b].len() { a } else { b }
        };
        let mut input = self.corpus[at].clone();
        let other = self.corpus.choose(&mut self.random).cloned().unwrap_or_default();
        self.target.mutate(&mut input, &other, &self.dictionary, &mut self.random);
        input
    }

    fn execute(
        &mut self,
        input: Vec<u8>,
        fresh: bool,
        current: &Current,
        panicked: &Mutex<String>,
    ) {
        *current.lock().expect("not poisoned") =
            Some((Instant::now(), figures::spent(), input.clone()));
        coverage::counters().fill(0);
        let start = memory::start();
        let begin = processor_time();
        let run = AssertUnwindSafe(|| self.target.run(&input, &mut self.random));
        let result = panic::catch_unwind(run);
        let time = processor_time().saturating_sub(begin);
        let memory = memory::peak_beyond(start);
        *current.lock().expect("not poisoned") = None;
        self.executions += 1;
        self.slowest = self.slowest.max(time);
        self.largest = self.largest.max(memory);
        let mut findings = result.unwrap_or_else(|_| {
            let text = panicked.lock().map(|m| m.clone()).unwrap_or_default();
            let place = text.lines().next().unwrap_or_default().to_string();
            vec![Finding { kind: format!("panic {place}"), detail: text }]
        });
        if time > MAX_TIME {
            let (kind, detail) = (format!("slow in {}", stage()), format!("{time:?}"));
            findings.push(Finding { kind, detail });
        }
        if memory > MAX_MEMORY {
            let detail = format!("{} MB", memory >> 20);
            findings.push(Finding { kind: format!("memory in {}", stage()), detail });
        }
        for finding in findings {
            self.keep(finding, &input);
        }
        if self.coverage.update()
            && fresh
            && time < MAX_TIME / 4
            && input.len() <= self.target.largest()
        {
            let name = format!("{}_{}", self.seed, self.corpus.len());
            let _ = fs::write(self.folder.join("corpus").join(name), &input);
            self.corpus.push(input);
        }
    }

    fn keep(&mut self, finding: Finding, input: &[u8]) {
        let cause = finding.cause();
        let Finding { kind, detail } = finding;
        *self.found.entry(kind.clone()).or_default() += 1;
        let count = self.causes.entry(cause.clone()).or_default();
        *count += 1;
        if *count > KEPT {
            return;
        }
        let number = *count;
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let stem: String = cause.chars().rev().take(80).collect();
        let stem: String = stem.chars().rev().map(plain).collect();
        let path = self.folder.join("findings").join(format!("{stem}_{}_{number}", self.seed));
        let _ = fs::write(&path, input);
        let detail: String = detail.chars().take(400).collect();
        self.say(&format!("FOUND {kind}: {detail} ({})", path.display()));
    }

    fn report(&mut self, begin: Instant) {
        let (covered, edges) = self.coverage.edges();
        let report = Report {
            seed: Some(self.seed),
            seconds: begin.elapsed().as_secs(),
            processor_seconds: Some(figures::spent().as_secs()),
            executions: self.executions,
            covered,
            edges,
            found: self.found.clone(),
        };
        let more = format!(
            "corpus {}, slowest {:?}, largest {} MB",
            self.corpus.len(),
            self.slowest,
            self.largest >> 20
        );
        self.say(&report.line(&more));
    }

    /// Ends the process when an input hangs or takes all memory, which no limit inside it can.
    fn watch(&self, current: Current) {
        let folder = self.folder.join("findings");
        let log = self.log.try_clone();
        let seed = self.seed;
        thread::spawn(move || {
            let mut log = log.expect("the log can be written");
            loop {
                thread::sleep(Duration::from_millis(200));
                let running = current.lock().expect("not poisoned").clone();
                let Some((since, spent, input)) = running else { continue };
                let hangs = figures::spent() > spent + HANG || since.elapsed() > WAITS;
                let what = match (hangs, memory::live() > EXHAUSTED) {
                    (true, _) => "hang",
                    (_, true) => "exhausted",
                    _ => continue,
                };
                let path = folder.join(format!("{what}_{}_{seed}", stage()));
                let _ = fs::write(&path, input);
                let _ = writeln!(log, "FOUND {what} in {} ({})", stage(), path.display());
                process::exit(1);
            }
        });
    }
}
