//! Figures of runs, from their logs.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What all runs of one state of the program came to; `tests/fuzz/figures.json`.
#[derive(Serialize)]
pub struct Figures<'a> {
    schema: u32,
    /// The state that was tried.
    commit: &'a str,
    targets: Vec<Target>,
}

#[derive(Default, Serialize)]
struct Target {
    target: String,
    executions: u64,
    edges: Edges,
    /// Of whole processes, on what else the machine had to do as well.
    seconds: u64,
    /// Of these, what they had of a processor, their children included; none where a log does not
    /// say.
    processor_seconds: Option<u64>,
    /// How many inputs, by what went wrong.
    findings: BTreeMap<String, u64>,
}

/// The most that one process covered, of what there are.
#[derive(Default, Serialize)]
struct Edges {
    covered: usize,
    total: usize,
}

/// A line that a process writes once a minute, and when it ends.
pub struct Report {
    /// What tells the processes that share a log; older logs do not say.
    pub seed: Option<u64>,
    pub seconds: u64,
    pub processor_seconds: Option<u64>,
    pub executions: u64,
    pub covered: usize,
    pub edges: usize,
    pub found: BTreeMap<String, u64>,
}

impl Report {
    /// `"seed 0: 60 s, 58 s of processors, 4,000 executions, 1 of 2 edges, …, found {"kind": 1}"`.
    fn parse(line: &str) -> Option<Self> {
        let seeded = line.strip_prefix("seed ").and_then(|rest| rest.split_once(": "));
        let (seed, line) = seeded.map_or((None, line), |(seed, rest)| (seed.parse().ok(), rest));
        let (head, found) = line.split_once(", found ")?;
        let mut parts = head.split(", ");
        let mut number = |suffix: &str| {
            let at = parts.clone().position(|part| part.ends_with(suffix))?;
            parts.nth(at)?.strip_suffix(suffix)?.parse::<u64>().ok()
        };
        let seconds = number(" s")?;
        let processor_seconds = number(" s of processors");
        let executions = number(" executions")?;
        let (covered, edges) = parts.next()?.strip_suffix(" edges")?.split_once(" of ")?;
        Some(Self {
            seed,
            seconds,
            processor_seconds,
            executions,
            covered: covered.parse().ok()?,
            edges: edges.parse().ok()?,
            found: serde_json::from_str(found).ok()?,
        })
    }

    /// The line, with what else people want to see of a run under way.
    pub fn line(&self, more: &str) -> String {
        let Self { seconds, executions, covered, edges, .. } = self;
        let seed = self.seed.map_or(String::new(), |seed| format!("seed {seed}: "));
        let processors =
            self.processor_seconds.map_or(String::new(), |p| format!(" {p} s of processors,"));
        let found = serde_json::to_string(&self.found).expect("names are text");
        format!(
            "{seed}{seconds} s,{processors} {executions} executions, {covered} of {edges} edges, {more}, \
             found {found}"
        )
    }
}

/// The figures of these folders, each with the name of its target.
pub fn figures<'a>(commit: &'a str, folders: &[PathBuf]) -> Result<Figures<'a>, String> {
    let targets = folders.iter().map(|folder| of_folder(folder)).collect::<Result<_, _>>()?;
    Ok(Figures { schema: 1, commit, targets })
}

fn of_folder(folder: &Path) -> Result<Target, String> {
    let log = folder.join("log");
    let text = fs::read_to_string(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut target = Target { target: name, processor_seconds: Some(0), ..Target::default() };
    let mut last: BTreeMap<Option<u64>, Report> = BTreeMap::new();
    for line in text.lines() {
        // They end the process before it reports them.
        for kind in ["hang", "exhausted"] {
            if line.starts_with(&format!("FOUND {kind} in ")) {
                *target.findings.entry(kind.into()).or_default() += 1;
            }
        }
        let Some(report) = Report::parse(line) else { continue };
        let (seed, seconds) = (report.seed, report.seconds);
        let before = last.insert(seed, report);
        // Another process with the same seed.
        before.into_iter().filter(|b| seconds < b.seconds).for_each(|b| target.add(b));
    }
    last.into_values().for_each(|last| target.add(last));
    match target.executions {
        0 => Err(format!("{}: no process has reported anything", log.display())),
        _ => Ok(target),
    }
}

impl Target {
    /// Adds what a process said last.
    fn add(&mut self, last: Report) {
        self.executions += last.executions;
        self.seconds += last.seconds;
        self.processor_seconds =
            self.processor_seconds.zip(last.processor_seconds).map(|(a, b)| a + b);
        self.edges.covered = self.edges.covered.max(last.covered);
        self.edges.total = last.edges;
        for (kind, count) in last.found {
            // Where the sources stood is nobody's business.
            let kind = match (kind.starts_with("panic "), kind.rsplit_once("/src/")) {
                (true, Some((_, place))) => format!("panic at src/{}", place.trim_end_matches(':')),
                _ => kind,
            };
            *self.findings.entry(kind).or_default() += count;
        }
    }
}

/// Time that this process and the children it waited for had of a processor.
pub fn spent() -> Duration {
    spent_by(std::process::id())
}

/// Time that a process and the children it waited for had of a processor.
pub fn spent_by(process: u32) -> Duration {
    // proc(5): fields 14 to 17 of all, which the name's parenthesis ends the first two of.
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = text.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: u64 = fields.skip(11).take(4).filter_map(|f| f.parse::<u64>().ok()).sum();
    // Linux counts hundredths for programs, whatever it does itself.
    Duration::from_millis(10 * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_add_up_what_each_process_said_last() {
        let folder = std::env::temp_dir().join(format!("gennape-figures-{}", std::process::id()));
        let read = folder.join("read");
        fs::create_dir_all(&read).unwrap();
        let report = |seed, seconds, executions, covered, found: &[(&str, u64)]| Report {
            seed,
            seconds,
            processor_seconds: Some(seconds - 1),
            executions,
            covered,
            edges: 9,
            found: found.iter().map(|&(kind, n)| (kind.into(), n)).collect(),
        };
        let panic = "panic panicked at /home/me/src/x.rs:5:28:";
        let lines = [
            report(Some(0), 60, 100, 3, &[]).line("corpus 1"),
            report(Some(1), 61, 7, 2, &[]).line("corpus 1"),
            "FOUND panic \"a, b\": found it (path)".into(),
            report(Some(0), 120, 200, 5, &[("panic \"a, b\"", 2)]).line("corpus 2"),
            "end".into(),
            report(Some(0), 60, 50, 4, &[("panic \"a, b\"", 1), (panic, 4)])
                .line("corpus 2, slowest 1.5ms"),
            "FOUND hang in read (path)".into(),
        ];
        fs::write(read.join("log"), lines.join("\n")).unwrap();
        let json =
            serde_json::to_value(figures("abc", std::slice::from_ref(&read)).unwrap()).unwrap();
        let target = &json["targets"][0];
        assert_eq!(target["executions"], 257);
        assert_eq!(target["seconds"], 241);
        assert_eq!(target["processor_seconds"], 238);
        assert_eq!(target["edges"], serde_json::json!({"covered": 5, "total": 9}));
        assert_eq!(
            target["findings"],
            serde_json::json!({"hang": 1, "panic \"a, b\"": 3, "panic at src/x.rs:5:28": 4})
        );
        fs::write(read.join("log"), "end").unwrap();
        assert!(figures("abc", &[read]).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
