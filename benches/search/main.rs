//! What searches find, measured on labelled spaces; prints tables and writes `benches/search.json`.
//!
//! ```text
//! GENNAPE_DATA=data cargo bench --bench search -- [--seeds 20] [--only SECTION]
//! ```
//!
//! Sections are measured each on its own and replace what an earlier run left of them.

mod better;
mod families;
mod pareto;
mod queries;
mod report;
mod speed;
mod tabled;
mod unlabelled;

use gennape::benchmarks::{BenchmarkError, DATA_VARIABLE};
use gennape::estimator::Estimator;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Version of the format of `search.json`.
const SCHEMA: u32 = 1;

/// What every section needs.
pub struct Context {
    data: PathBuf,
    seeds: u64,
    /// Trained on NAS-Bench-101 alone.
    nb101: Estimator,
}

type Section = fn(&Context) -> Result<Value, BenchmarkError>;

const SECTIONS: [(&str, Section); 7] = [
    ("check", speed::check),
    ("queries", queries::small),
    ("queries-nasbench101", queries::large),
    ("unlabelled", unlabelled::measure),
    ("pareto", pareto::measure),
    ("better", better::measure),
    ("speed", speed::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test` runs benchmarks too, without this.
    if !arguments.iter().any(|a| a == "--bench") {
        return ExitCode::SUCCESS;
    }
    let (seeds, only) = match options(&arguments) {
        Ok(options) => options,
        Err(message) => {
            eprintln!(
                "error: {message}\nhint: cargo bench --bench search -- [--seeds 20] [--only SECTION]"
            );
            return ExitCode::FAILURE;
        }
    };
    let Some(data) = std::env::var_os(DATA_VARIABLE).filter(|folder| !folder.is_empty()) else {
        eprintln!(
            "note: nothing is measured without labels\nhint: set {DATA_VARIABLE} to the folder that holds them"
        );
        return ExitCode::SUCCESS;
    };
    let nb101 = Estimator::named("gennape-nb101").expect("it is part of the program");
    let context = Context { data: data.into(), seeds, nb101 };
    match measure(&context, only.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: &[String]) -> Result<(u64, Option<String>), String> {
    let (mut seeds, mut only) = (20, None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--bench" => {}
            "--seeds" => {
                let text = value()?;
                let count = text.parse().ok().filter(|&count| count > 0);
                seeds = count.ok_or(format!("'{text}' is not a number of seeds"))?;
            }
            "--only" => {
                let name = value()?;
                let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
                if !names.contains(&name.as_str()) {
                    return Err(format!("no section '{name}'; there are {}", names.join(", ")));
                }
                only = Some(name.clone());
            }
            other => return Err(format!("unknown argument '{other}'")),
        }
    }
    Ok((seeds, only))
}

fn measure(context: &Context, only: Option<&str>) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/search.json");
    for (name, section) in SECTIONS {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        eprintln!("{name}…");
        let rows = section(context).map_err(|e| e.to_string())?;
        if rows.is_null() {
            continue;
        }
        let old = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut report = old
            .filter(|report: &Map<String, Value>| report.get("schema") == Some(&json!(SCHEMA)))
            .unwrap_or_default();
        report.insert("schema".into(), json!(SCHEMA));
        report.insert(name.into(), json!({ "seeds": context.seeds, "rows": rows }));
        let text = serde_json::to_string_pretty(&report).map_err(|e| e.to_string())?;
        std::fs::write(&path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}
