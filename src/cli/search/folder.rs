//! The folder that a search writes: what was asked, what was tried, what came out.

use super::AlgorithmName;
use super::history::{History, Known};
use super::measures::{Constraint, Objective};
use crate::cli::error::Error;
use crate::cli::input;
use crate::cli::output::distinct;
use crate::files::{self, Lock, OutputFolder};
use crate::model_graph::ModelGraph;
use crate::onnx::{Original, ReadOptions};
use crate::subnetworks::ShrinkError;
use crate::text::quoted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file that says what was asked.
const SETTINGS: &str = "search.json";

/// Most bytes of it that are read.
const MAX_SETTINGS: u64 = 1 << 20;

/// What `search.json` holds.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Saved<S> {
    schema: u32,
    #[serde(flatten)]
    settings: S,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Settings {
    /// Version of the program.
    pub version: String,
    /// The search space, or else
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
    /// the network whose sub-networks are searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Source>,
    /// What accuracies are measured on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Images>,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Source {
    pub path: PathBuf,
    pub input_shapes: Vec<(String, Vec<usize>)>,
    /// Whether it may have operators that are not known.
    #[serde(default)]
    pub allow_unknown: bool,
    pub fingerprint: String,
}

impl Source {
    /// The network, and the file.
    pub fn open(&self) -> Result<(ModelGraph, Original<'static>), Error> {
        let (input_shapes, allow_unknown) = (self.input_shapes.clone(), self.allow_unknown);
        input::open(&self.path, &ReadOptions { input_shapes, allow_unknown })
    }
}

/// Images that sub-networks are measured on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Images {
    pub path: PathBuf,
    /// Where to compute.
    pub device: String,
}

impl Settings {
    /// Version of `search.json`, and of what the measures mean.
    const SCHEMA: u32 = 3;

    /// The shell commands that the search runs.
    pub fn commands(&self) -> Vec<&str> {
        let of_objectives = self.objectives.iter().filter_map(Objective::command);
        of_objectives.chain(self.constraints.iter().filter_map(Constraint::command)).collect()
    }

    /// The files and folders that the search reads.
    pub fn inputs(&self) -> Result<Vec<PathBuf>, Error> {
        let of_objectives = self.objectives.iter().filter_map(Objective::input);
        let of_constraints = self.constraints.iter().filter_map(Constraint::input);
        let measures = of_objectives.chain(of_constraints).map(PathBuf::from);
        let images = self.images.iter().map(|images| images.path.clone());
        let mut inputs: Vec<PathBuf> = measures.chain(images).chain(self.model.clone()).collect();
        if let Some(source) = &self.from {
            let (_, original) = source.open()?;
            inputs.extend(original.files().map_err(ShrinkError::from)?);
            inputs.push(source.path.clone());
        }
        Ok(inputs)
    }

    /// The command that goes on with the search in the folder `path`.
    pub fn resume(&self, path: &Path) -> String {
        let allowed = if self.commands().is_empty() { "" } else { " --allow-command" };
        format!("gennape search --resume {}{allowed}", quoted(path))
    }

    fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(SETTINGS);
        let told = |e: io::Error| Error::from(e).about(&path.display().to_string());
        let saved = Saved { schema: Self::SCHEMA, settings: self };
        let json = serde_json::to_string_pretty(&saved).map_err(|e| told(e.into()))?;
        files::write(&path, (json + "\n").as_bytes()).map_err(told)
    }
}

/// The folder of one search, in which nobody else searches.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    pub history: History,
    _lock: Lock,
}

/// What a search leaves in its folder, besides search.json.
const LEFT: [&str; 4] = ["history.csv", FRONT, "front.json", "report.html"];

/// The folder of the networks of the front.
const FRONT: &str = "front";

impl Folder {
    /// A new folder for a search with these settings and measures, which reads the files `inputs`;
    /// nothing is known yet.
    pub fn create<'a>(
        path: &Path,
        settings: &Settings,
        measures: impl Iterator<Item = &'a str>,
        inputs: &[PathBuf],
    ) -> Result<(Self, Known), Error> {
        distinct(path, inputs)?;
        let told = |e: io::Error| Error::from(e).about(&path.display().to_string());
        fs::create_dir_all(path).map_err(told)?;
        let lock = Self::lock(path)?;
        let name = path.display();
        if let Ok(there) = Self::settings(path) {
            return Err(
                Error::user(format!("{name} holds a search already")).hint(there.resume(path))
            );
        }
        if let Some(left) = [SETTINGS].iter().chain(&LEFT).find(|left| path.join(left).exists()) {
            let what = format!("{name} holds '{left}', which a search would replace");
            return Err(Error::user(what).hint("give another folder with -o"));
        }
        settings.write(path)?;
        let (history, known) = History::open(&path.join(LEFT[0]), settings, measures)?;
        Ok((Self { path: path.into(), history, _lock: lock }, known))
    }

    /// What was asked in the folder `path`.
    pub fn settings(path: &Path) -> Result<Settings, Error> {
        let file = path.join(SETTINGS);
        let told = |e: Error| e.about(&file.display().to_string());
        let json = files::read(&file, MAX_SETTINGS).map_err(|e| {
            told(e.into()).hint("--resume goes on with what an earlier `gennape search -o` left")
        })?;
        let Saved { schema, settings } =
            serde_json::from_slice(&json).map_err(|e| told(Error::user(e.to_string())))?;
        match schema {
            Settings::SCHEMA => Ok(settings),
            schema => {
                let expected = Settings::SCHEMA;
                Err(told(Error::user(format!("schema {schema}, expected {expected}")))
                    .hint("begin a new search with -o"))
            }
        }
    }

    /// The folder of an interrupted search, which reads the files `inputs`, and the measures that
    /// it holds of each architecture.
    pub fn resume<'a>(
        path: &Path,
        settings: &Settings,
        measures: impl Iterator<Item = &'a str>,
        inputs: &[PathBuf],
    ) -> Result<(Self, Known), Error> {
        let lock = Self::lock(path)?;
        for left in [SETTINGS].iter().chain(&LEFT) {
            distinct(&path.join(left), inputs)?;
        }
        // It is replaced at the end; what a search did not write would be lost with it.
        let front = path.join(FRONT);
        for entry in fs::read_dir(&front).into_iter().flatten().flatten() {
            distinct(&entry.path(), inputs)?;
            let name = entry.file_name();
            if !is_member(&name.to_string_lossy()) {
                let what = format!("it holds '{}', which no search wrote", name.display());
                return Err(Error::user(what)
                    .about(&front.display().to_string())
                    .hint("move it elsewhere: the folder will be replaced"));
            }
        }
        let (history, known) = History::open(&path.join(LEFT[0]), settings, measures)?;
        if Self::settings(path)? != *settings {
            settings.write(path)?;
        }
        Ok((Self { path: path.into(), history, _lock: lock }, known))
    }

    /// The right to search in a folder, in which everything unfinished is a dead process's then.
    fn lock(path: &Path) -> Result<Lock, Error> {
        let lock = Lock::inside(path);
        files::sweep(path);
        lock.map_err(|e| Error::from(e).about(&path.display().to_string()))
    }

    /// Replaces the networks of the front, which `fill` writes into a folder, all at once.
    pub fn replace_front(
        &self,
        fill: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = self.file(FRONT);
        let told = |e: io::Error| Error::from(e).about(&path.display().to_string());
        let front = OutputFolder::create(&path).map_err(told)?;
        fill(front.path())?;
        front.finish().map_err(told)
    }

    /// Path of the file `name` in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a whole file.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.file(name);
        files::write(&path, content).map_err(|e| Error::from(e).about(&path.display().to_string()))
    }
}

/// Whether a file of this name is a network of the front.
fn is_member(name: &str) -> bool {
    let number = name.strip_suffix(".onnx").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}
