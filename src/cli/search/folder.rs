//! The folder that a search writes: what was asked, what was tried, what came out.

use super::AlgorithmName;
use super::measures::{Constraint, Objective};
use crate::cli::error::Error;
use crate::files::{self, Lock};
use crate::search::Evaluated;
use crate::text::quoted;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

/// What `search.json` holds.
#[derive(Serialize, Deserialize)]
struct Saved<S> {
    schema: u32,
    #[serde(flatten)]
    settings: S,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// Version of the program.
    pub version: String,
    /// The search space, or else
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// the network whose sub-networks are searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Source>,
    pub objectives: Vec<Objective>,
    pub constraints: Vec<Constraint>,
    pub algorithm: AlgorithmName,
    pub budget: usize,
    pub seed: u64,
    pub start: Vec<String>,
    /// Name or folder; none for the default.
    pub model: Option<PathBuf>,
    /// blake3 of the model's weights.
    pub model_hash: String,
}

/// A network that is searched for sub-networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Source {
    pub path: PathBuf,
    pub input_shapes: Vec<(String, Vec<usize>)>,
    /// Whether it may have operators that are not known.
    #[serde(default)]
    pub allow_unknown: bool,
    pub fingerprint: String,
}

impl Settings {
    /// Version of `search.json`.
    const SCHEMA: u32 = 1;

    fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join("search.json");
        let told = |e: std::io::Error| Error::from(e).about(&path.display().to_string());
        let saved = Saved { schema: Self::SCHEMA, settings: self };
        let json = serde_json::to_string_pretty(&saved).map_err(|e| told(e.into()))?;
        files::write(&path, (json + "\n").as_bytes()).map_err(told)
    }
}

/// The folder of one search.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    history: csv::Writer<File>,
    _lock: Lock,
}

impl Folder {
    /// A new folder for a search with these settings and measures.
    pub fn create<'a>(
        path: &Path,
        settings: &Settings,
        measures: impl Iterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        let file = path.join("search.json");
        let told = |e: std::io::Error| Error::from(e).about(&path.display().to_string());
        if file.exists() {
            return Err(Error::user(format!("{} holds a search already", path.display()))
                .hint(format!("gennape search --resume {}", quoted(path))));
        }
        fs::create_dir_all(path).map_err(told)?;
        let lock = Lock::inside(path).map_err(told)?;
        settings.write(path)?;
        let history = File::create(path.join("history.csv")).map_err(told)?;
        let mut history = csv::Writer::from_writer(history);
        history.write_record(["architecture"].into_iter().chain(measures))?;
        history.flush().map_err(told)?;
        Ok(Self { path: path.into(), history, _lock: lock })
    }

    /// What was asked in the folder `path`.
    pub fn settings(path: &Path) -> Result<Settings, Error> {
        let file = path.join("search.json");
        let told = |e: Error| e.about(&file.display().to_string());
        let json = fs::read(&file).map_err(|e| {
            told(e.into()).hint("--resume goes on with what an earlier `gennape search -o` left")
        })?;
        let Saved { schema, settings } =
            serde_json::from_slice(&json).map_err(|e| told(Error::user(e.to_string())))?;
        match schema {
            Settings::SCHEMA => Ok(settings),
            schema => {
                let expected = Settings::SCHEMA;
                Err(told(Error::user(format!("schema {schema}, expected {expected}"))))
            }
        }
    }

    /// The folder of an interrupted search, and the measures that it holds of each architecture.
    #[allow(clippy::type_complexity)]
    pub fn resume<'a>(
        path: &Path,
        settings: &Settings,
        measures: impl Iterator<Item = &'a str>,
    ) -> Result<(Self, HashMap<String, Vec<Option<f64>>>), Error> {
        let lock = Lock::inside(path);
        let lock = lock.map_err(|e| Error::from(e).about(&path.display().to_string()))?;
        let file = path.join("history.csv");
        let wrong = |what: String| Error::user(what).about(&file.display().to_string());
        let text = fs::read_to_string(&file).map_err(|e| wrong(e.to_string()))?;
        // A line without an end was cut off: its network is measured again.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut reader = csv::Reader::from_reader(whole.as_bytes());
        let header: Vec<&str> = ["architecture"].into_iter().chain(measures).collect();
        if reader.headers().map_err(|e| wrong(e.to_string()))? != header.as_slice() {
            return Err(wrong(format!("the columns are not {}", header.join(", "))));
        }
        let mut known = HashMap::new();
        for (row, record) in reader.records().enumerate() {
            let record = record.map_err(|e| wrong(e.to_string()))?;
            let value = |cell: &str| match cell {
                "" => Ok(None),
                number => number.parse().map(Some),
            };
            let values: Result<Vec<Option<f64>>, _> = record.iter().skip(1).map(value).collect();
            let values = values.map_err(|e| wrong(format!("row {}: {e}", row + 1)))?;
            known.insert(record[0].to_string(), values);
        }
        settings.write(path)?;
        fs::write(&file, whole).map_err(|e| wrong(e.to_string()))?;
        let history = OpenOptions::new().append(true).open(&file);
        let history = history.map_err(|e| wrong(e.to_string()))?;
        let history = csv::WriterBuilder::new().has_headers(false).from_writer(history);
        Ok((Self { path: path.into(), history, _lock: lock }, known))
    }

    /// Adds evaluated networks to the history.
    pub fn append<C: Display>(&mut self, evaluated: &[&Evaluated<C>]) -> Result<(), Error> {
        for e in evaluated {
            let values = e.values.iter().map(|v| v.map_or(String::new(), |v| v.to_string()));
            self.history.write_record([e.candidate.to_string()].into_iter().chain(values))?;
        }
        Ok(self.history.flush()?)
    }

    /// An empty folder `name` in this one.
    pub fn renew(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.file(name);
        let told = |e: std::io::Error| Error::from(e).about(&path.display().to_string());
        if path.exists() {
            fs::remove_dir_all(&path).map_err(told)?;
        }
        fs::create_dir(&path).map_err(told)?;
        Ok(path)
    }

    /// Path of the file `name` in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a whole file.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.file(name);
        let told = |e: std::io::Error| Error::from(e).about(&path.display().to_string());
        files::write(&path, content).map_err(told)
    }
}
