//! From the paths on the command line to computation graphs.

use super::error::{Error, Failure, note, printable};
use super::progress::Progress;
use crate::graph::{ComputationGraph, Operation};
use crate::lower;
use crate::model_graph::ModelGraph;
use crate::onnx;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Which networks, and how to read them.
#[derive(Debug, clap::Args)]
pub(crate) struct NetworkArguments {
    /// ONNX files, folders to search for *.onnx, or - for one file on standard input.
    #[arg(required = true, value_name = "FILE|DIR|-")]
    paths: Vec<PathBuf>,

    /// Shape of an input whose dimensions the file leaves free; repeatable.
    #[arg(long, value_name = "NAME=1x3x224x224", value_parser = parse_input_shape)]
    input_shape: Vec<(String, Vec<usize>)>,

    /// Go on when a network uses operators that gennape does not know.
    #[arg(long)]
    allow_unknown: bool,
}

/// One network whose tensors are wanted, not only its operations.
#[derive(Debug, clap::Args)]
pub(crate) struct FileArguments {
    /// The ONNX file.
    #[arg(value_name = "FILE")]
    path: PathBuf,

    /// Shape of an input whose dimensions the file leaves free; repeatable.
    #[arg(long, value_name = "NAME=1x3x224x224", value_parser = parse_input_shape)]
    input_shape: Vec<(String, Vec<usize>)>,
}

impl FileArguments {
    /// The file `path`.
    pub fn new(path: PathBuf, input_shape: Vec<(String, Vec<usize>)>) -> Self {
        Self { path, input_shape }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it.
    pub fn read(&self) -> Result<ModelGraph, Error> {
        let options =
            onnx::ReadOptions { input_shapes: self.input_shape.clone(), allow_unknown: false };
        onnx::read(&self.path, &options).map_err(|e| {
            let about = self.path.display().to_string();
            Failure::from_error(&e).hint(e.hint()).about(&about).into()
        })
    }
}

/// A network that could not.
#[derive(Debug, Serialize)]
pub(crate) struct ReadFailure {
    path: String,
    error: String,
}

/// The outcome of reading every path.
#[derive(Default)]
pub(crate) struct Networks {
    /// Paths as given or found, `-` for standard input, of those that could be read.
    pub paths: Vec<String>,
    /// As many graphs.
    pub graphs: Vec<ComputationGraph>,
    pub failed: Vec<ReadFailure>,
    /// Whether one single file was asked for.
    pub single: bool,
}

impl Networks {
    /// Path and graph of every network that could be read.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ComputationGraph)> {
        self.paths.iter().map(String::as_str).zip(&self.graphs)
    }

    /// The result of a command that answered for the networks that could be read.
    pub fn status(&self) -> Result<(), Error> {
        if self.failed.is_empty() { Ok(()) } else { Err(Error::Reported) }
    }
}

impl NetworkArguments {
    /// Reads every network, telling the user of those that fail.
    pub fn read(&self) -> Result<Networks, Error> {
        let sources = self.sources()?;
        let options = onnx::ReadOptions {
            input_shapes: self.input_shape.clone(),
            allow_unknown: self.allow_unknown,
        };
        let progress = Progress::new("reading", sources.len());
        let outcomes: Vec<_> = sources
            .par_iter()
            .map(|path| {
                let outcome = read_one(path, &options);
                progress.step();
                outcome
            })
            .collect();
        drop(progress);

        let single = matches!(self.paths.as_slice(), [path] if !path.is_dir());
        let mut networks = Networks { single, ..Networks::default() };
        for (path, outcome) in sources.iter().map(|p| p.display().to_string()).zip(outcomes) {
            match outcome {
                Ok(graph) => {
                    note_unknown(&path, &graph);
                    networks.paths.push(path);
                    networks.graphs.push(graph);
                }
                Err(failure) => {
                    networks
                        .failed
                        .push(ReadFailure { path: path.clone(), error: failure.to_line() });
                    failure.about(&path).print();
                }
            }
        }
        Ok(networks)
    }

    /// The files that the paths stand for; folders are searched in the order of names.
    fn sources(&self) -> Result<Vec<PathBuf>, Error> {
        let mut sources = Vec::new();
        if self.paths.iter().filter(|p| is_stdin(p)).count() > 1 {
            return Err(Error::user("standard input (-) can be read only once"));
        }
        for path in &self.paths {
            if is_stdin(path) || !path.is_dir() {
                sources.push(path.clone());
                continue;
            }
            let before = sources.len();
            search(path, &mut sources)?;
            if sources.len() == before {
                return Err(Error::user(format!("no .onnx files in {}", path.display())));
            }
        }
        Ok(sources)
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Adds the ONNX files under `folder`. Links to folders are not followed: they may go round.
fn search(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let fail = |e: std::io::Error| Error::from(e).about(&folder.display().to_string());
    let mut entries = Vec::new();
    for entry in folder.read_dir().map_err(fail)? {
        let entry = entry.map_err(fail)?;
        entries.push((entry.path(), entry.file_type().map_err(fail)?));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (path, kind) in entries {
        if kind.is_dir() {
            search(&path, found)?;
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
            found.push(path);
        }
    }
    Ok(())
}

fn read_one(path: &Path, options: &onnx::ReadOptions) -> Result<ComputationGraph, Failure> {
    let model = if is_stdin(path) {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(|e| Failure::from_error(&e))?;
        onnx::read_bytes(&bytes, "standard input", options)
    } else {
        onnx::read(path, options)
    }
    .map_err(|e| Failure::from_error(&e).hint(e.hint()))?;
    lower::lower(&model).map_err(|e| Failure::from_error(&e))
}

/// Names the operators that `--allow-unknown` let in.
fn note_unknown(path: &str, graph: &ComputationGraph) {
    let unknown: Vec<_> = graph.nodes().filter(|n| n.operation == Operation::Unknown).collect();
    if !unknown.is_empty() {
        let names: BTreeSet<&str> = unknown.iter().map(|n| n.name.as_ref()).collect();
        let names: Vec<&str> = names.into_iter().take(5).collect();
        note(&format!(
            "{path}: {} unknown operator{} with unknown cost ({})",
            unknown.len(),
            if unknown.len() == 1 { "" } else { "s" },
            printable(&names.join(", ")),
        ));
    }
}

/// Number of operators that `--allow-unknown` let in.
pub(crate) fn unknown_operators(graph: &ComputationGraph) -> usize {
    graph.nodes().filter(|n| n.operation == Operation::Unknown).count()
}

/// Parses `NAME=1x3x224x224`.
pub(super) fn parse_input_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    // Names may hold '=' and 'x'; shapes can't hold '='.
    let (name, shape) = text.rsplit_once('=').ok_or("expected NAME=1x3x224x224")?;
    let dimension = |d: &str| match d.parse::<usize>() {
        Ok(0) | Err(_) => Err(format!("'{d}' is not a dimension (expected {name}=1x3x224x224)")),
        Ok(d) => Ok(d),
    };
    Ok((name.to_string(), shape.split(['x', ',']).map(dimension).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_shapes_are_parsed() {
        assert_eq!(parse_input_shape("x=1x3x8x8"), Ok(("x".into(), vec![1, 3, 8, 8])));
        assert_eq!(parse_input_shape("a=b:0=1,77"), Ok(("a=b:0".into(), vec![1, 77])));
        for wrong in ["1x3x224x224", "x=", "x=1x-3", "x=1x0", "x=axb"] {
            assert!(parse_input_shape(wrong).is_err(), "{wrong}");
        }
    }
}
