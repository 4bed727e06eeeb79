//! Kinds of files that readers of networks get wrong: what is right stands in a table beside them.
//!
//! `scripts/case_fixtures.py` makes the first, with counts worked out by hand. Others are no part of
//! the project and are tried where `GENNAPE_DATA` names a folder that holds them.

use crate::cli::{folder, gennape_in};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs every row of `expected.csv` in `folder` and says what is wrong.
fn wrong(folder: &Path, scratch: &Path) -> Vec<String> {
    let mut table = csv::Reader::from_path(folder.join("expected.csv")).unwrap();
    let header = table.headers().unwrap().clone();
    let mut wrong = Vec::new();
    for (i, row) in table.records().enumerate() {
        let row = row.unwrap();
        let cell = |name: &str| header.iter().position(|h| h == name).and_then(|c| row.get(c));
        let scratch = scratch.join(i.to_string());
        let (onto, into) = (scratch.join("small.onnx"), scratch.join("found"));
        fs::create_dir_all(&scratch).unwrap();
        let command = cell("command").unwrap_or("profile");
        let mut arguments = match command {
            "search" => vec!["search", "--budget", "2", "-o", into.to_str().unwrap(), "--from"],
            command => vec![command],
        };
        arguments.extend(cell("arguments").unwrap().split(' '));
        match command {
            "shrink" => arguments.extend(["--keep", "c0=1/2", "-o", onto.to_str().unwrap()]),
            "profile" => arguments.extend(["--format", "json"]),
            _ => {}
        }
        let outcome = gennape_in(folder, &arguments);
        let (said, says) = (&outcome.stderr, cell("says").unwrap());
        let right = if says.is_empty() {
            let json: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap_or_default();
            let is = |name| cell(name).unwrap().parse().ok() == json["results"][0][name].as_u64();
            outcome.code == Some(0) && is("parameters") && is("macs")
        } else {
            outcome.code == Some(1) && said.contains(says)
        };
        if !right {
            let text = outcome.stdout.split("\"nodes\"").next().unwrap_or_default();
            wrong.push(format!("{row:?}: {text} {said}"));
        }
    }
    wrong
}

#[test]
fn every_case_of_our_own_is_as_expected() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases");
    let wrong = wrong(&fixtures, &folder("cases"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The folder `name` beside the labelled sets, if it is there.
fn data(name: &str) -> Option<PathBuf> {
    let folder = Path::new(&std::env::var_os("GENNAPE_DATA")?).join(name);
    folder.is_dir().then_some(folder)
}

#[test]
fn every_case_that_is_there_is_as_expected() {
    let Some(cases) = data("onnx_cases") else { return };
    let wrong = wrong(&cases, &folder("other_cases"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Bounds for a build without optimisation; optimised it takes a second.
const SECONDS: u64 = if cfg!(debug_assertions) { 60 } else { 5 };
/// Of addresses, of which threads' stacks and maps of files take many.
const KILOBYTES: u64 = 4 << 20;

/// Each gets an answer or an error, in time and within bounds, from every command that reads it.
#[cfg(unix)]
#[test]
fn hostile_files_get_an_answer_or_an_error() {
    let Some(hostile) = data("hostile") else { return };
    let files = fs::read_dir(&hostile).unwrap().map(|e| e.unwrap().path());
    // Nested sums are not linear yet.
    let linear = |path: &PathBuf| !path.ends_with("addchain_30000.onnx");
    let onnx = |path: &PathBuf| path.extension().is_some_and(|e| e == "onnx");
    let files: Vec<PathBuf> = files.filter(onnx).filter(linear).collect();
    assert!(!files.is_empty());
    let output = folder("hostile").join("small.onnx");
    let output = output.to_str().unwrap();
    for file in &files {
        let file = file.to_str().unwrap();
        for arguments in [
            &["predict", file][..],
            &["profile", file, "--format", "json"],
            &["space", file],
            &["shrink", file, "--keep", "whole", "-o", output],
        ] {
            // Of the processor: what else the machine does says nothing of us.
            let bounded = format!("ulimit -v {KILOBYTES}; ulimit -t {SECONDS}; exec \"$0\" \"$@\"");
            let status = Command::new("sh")
                .args(["-c", &bounded, env!("CARGO_BIN_EXE_gennape")])
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert!(matches!(status.code(), Some(0 | 1)), "{arguments:?}: {status:?}");
        }
    }
}
