//! From the paths on the command line to computation graphs.

use super::error::{Error, Failure, note};
use super::progress::Progress;
use crate::fault::{Fault, contain};
use crate::files::{self, Bounded};
use crate::graph::{ComputationGraph, Operation};
use crate::lower::{self, LowerError, Rewrite};
use crate::model_graph::{ModelGraph, Node, Remark};
use crate::onnx::{self, Original};
use crate::spaces::Space;
use crate::text::clipped;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How to read networks.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ReadArguments {
    /// Shape of an input whose dimensions the file leaves free; repeatable.
    #[arg(long, value_name = "NAME=1x3x224x224", value_parser = parse_input_shape)]
    input_shape: Vec<(String, Vec<usize>)>,

    /// Go on when a network uses operators that gennape does not know. Their cost counts as 0.
    #[arg(long)]
    allow_unknown: bool,
}

impl ReadArguments {
    /// The same for the library.
    pub fn options(&self) -> onnx::ReadOptions {
        onnx::ReadOptions {
            input_shapes: self.input_shape.clone(),
            allow_unknown: self.allow_unknown,
        }
    }
}

/// Most bytes of a network on standard input.
const MAX_STDIN: u64 = 1 << 30;

/// Which networks, and how to read them.
#[derive(Debug, Default, clap::Args)]
#[group(required = true, multiple = true, args = ["paths", "from_file", "architectures"])]
pub(crate) struct NetworkArguments {
    /// ONNX files, folders to search for *.onnx, or - for one file on standard input.
    #[arg(value_name = "FILE|DIR|-")]
    paths: Vec<PathBuf>,

    /// A file with the path of a network on each line, or - for such lines on standard input.
    #[arg(long, value_name = "FILE|-")]
    from_file: Option<PathBuf>,

    /// A file with an architecture of --space on each line, or - for such lines on standard input.
    #[arg(long, value_name = "FILE|-", requires = "space", conflicts_with_all = ["paths", "from_file"])]
    architectures: Option<PathBuf>,

    /// The search space of --architectures.
    #[arg(long, value_parser = super::export::space_parser(), requires = "architectures", conflicts_with_all = ["paths", "from_file"])]
    space: Option<Space>,

    #[command(flatten)]
    read: ReadArguments,
}

/// One network whose tensors are wanted, not only its operations.
#[derive(Debug, clap::Args)]
pub(crate) struct FileArguments {
    /// The ONNX file.
    #[arg(value_name = "FILE")]
    path: PathBuf,

    #[command(flatten)]
    read: ReadArguments,
}

impl FileArguments {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it, and keeps the file at hand.
    pub fn open(&self) -> Result<(ModelGraph, Original<'static>), Error> {
        let (model, original) = open(&self.path, &self.read.options())?;
        note_remarks(&self.path.display().to_string(), model.remarks());
        let unknown = model.nodes().iter().filter(|n| n.op.is_unknown());
        // One without a name goes by its first output's.
        let name = |node: &'_ Node| match (&*node.name, node.outputs.iter().flatten().next()) {
            ("", Some(&output)) => model.value(output).name.to_string(),
            (name, _) => name.to_string(),
        };
        let names: Vec<String> = unknown.map(name).collect();
        note_unknown(
            &self.path.display().to_string(),
            &names.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        Ok((model, original))
    }
}

/// Reads a file whose tensors are wanted.
pub(crate) fn open(
    path: &Path,
    options: &onnx::ReadOptions,
) -> Result<(ModelGraph, Original<'static>), Error> {
    Original::open(path, options)
        .map_err(|e| Failure::from_error(&e).about(&path.display().to_string()).into())
}

/// A network that could not.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ReadFailure {
    path: String,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// The outcome of reading every path.
#[derive(Default)]
pub(crate) struct Networks {
    /// Paths as given or found, `-` for standard input, of those that could be read.
    pub paths: Vec<String>,
    /// As many graphs.
    pub graphs: Vec<ComputationGraph>,
    /// As many lists of what was assumed of the network.
    pub remarks: Vec<Vec<Remark>>,
    pub failed: Vec<ReadFailure>,
    /// Whether one single file was asked for.
    pub single: bool,
    /// Whether something failed that should not have.
    fault: bool,
}

impl Networks {
    /// Path and graph of every network that could be read.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ComputationGraph)> {
        self.paths.iter().map(String::as_str).zip(&self.graphs)
    }

    /// The result of a command that answered for the networks that could be read.
    pub fn status(&self) -> Result<(), Error> {
        match self.failed.is_empty() {
            true => Ok(()),
            false if self.fault => Err(Error::Fault),
            false => Err(Error::Reported),
        }
    }

    /// What `answer` says of the networks, one answer each, on all cores. Those that it has none
    /// for leave the networks for the failures.
    pub fn answer<T: Send>(
        &mut self,
        answer: impl Fn(&[ComputationGraph]) -> Vec<Result<T, Failure>> + Sync,
    ) -> Vec<T> {
        let alone =
            |graph: &ComputationGraph| contain(|| answer(std::slice::from_ref(graph)).pop());
        let several = |graphs: &[ComputationGraph]| match contain(|| answer(graphs)) {
            Ok(answers) => answers.into_iter().map(|a| Ok(Some(a))).collect(),
            Err(_) => graphs.iter().map(alone).collect::<Vec<_>>(),
        };
        let answers: Vec<_> = self.graphs.par_chunks(TOGETHER).flat_map_iter(several).collect();
        let (paths, graphs) = (std::mem::take(&mut self.paths), std::mem::take(&mut self.graphs));
        let remarks = std::mem::take(&mut self.remarks);
        let mut kept = Vec::with_capacity(answers.len());
        let networks = paths.into_iter().zip(graphs).zip(remarks);
        for (((path, graph), remarks), answer) in networks.zip(answers) {
            match answer {
                Ok(Some(Ok(answer))) => {
                    kept.push(answer);
                    self.paths.push(path);
                    self.graphs.push(graph);
                    self.remarks.push(remarks);
                }
                Ok(Some(Err(failure))) => self.fail(path, failure),
                // An answer that is not there is as bad as a panic.
                Ok(None) => self.fail_by(path, &Fault::new("no answer")),
                Err(fault) => self.fail_by(path, &fault),
            }
        }
        kept
    }

    /// Tells the user of a network that there is no answer for.
    fn fail(&mut self, path: String, failure: Failure) {
        let (error, hint) = (failure.to_line(), failure.hint.clone());
        self.failed.push(ReadFailure { path: path.clone(), error, hint });
        failure.about(&path).print();
    }

    fn fail_by(&mut self, path: String, fault: &Fault) {
        self.fault = true;
        self.fail(path, Failure::from_error(fault));
    }
}

/// Graphs that are answered for together.
const TOGETHER: usize = 32;

/// Where a network comes from.
#[derive(Debug, Clone)]
enum Source {
    File(PathBuf),
    Architecture(Space, String),
}

impl Source {
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Architecture(_, text) => text.clone(),
        }
    }
}

impl NetworkArguments {
    /// The search space that the networks are of, if they are given as its architectures.
    pub fn space(&self) -> Option<Space> {
        self.space
    }

    /// Reads every network, telling the user of those that fail.
    pub fn read(&self) -> Result<Networks, Error> {
        self.read_by(|source, options| read_one(source, options, lower::lower))
    }

    /// The same, and by name what rewrites led to each graph.
    pub fn read_explained(&self) -> Result<(Networks, BTreeMap<String, Vec<Rewrite>>), Error> {
        let rewrites = Mutex::new(BTreeMap::new());
        let networks = self.read_by(|source, options| {
            read_one(source, options, |model| {
                let (graph, steps) = lower::explain(model)?;
                rewrites
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(source.name(), steps);
                Ok(graph)
            })
        })?;
        Ok((networks, rewrites.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    fn read_by(
        &self,
        read: impl Fn(&Source, &onnx::ReadOptions) -> Result<Network, Failure> + Sync,
    ) -> Result<Networks, Error> {
        let sources = self.sources()?;
        let options = self.read.options();
        let progress = Progress::new("reading", sources.len());
        let outcomes: Vec<_> = sources
            .par_iter()
            .map(|source| {
                let outcome = contain(|| read(source, &options));
                progress.step();
                outcome
            })
            .collect();
        drop(progress);

        let lists = self.from_file.is_some() || self.architectures.is_some();
        let single = !lists && matches!(self.paths.as_slice(), [path] if !path.is_dir());
        let mut networks = Networks { single, ..Networks::default() };
        for (path, outcome) in sources.iter().map(Source::name).zip(outcomes) {
            match outcome {
                Ok(Ok((graph, remarks))) => {
                    note_assumptions(&path, &remarks, &graph);
                    networks.paths.push(path);
                    networks.graphs.push(graph);
                    networks.remarks.push(remarks);
                }
                Ok(Err(failure)) => networks.fail(path, failure),
                Err(fault) => networks.fail_by(path, &fault),
            }
        }
        Ok(networks)
    }

    /// What the arguments stand for, in their order; folders are searched in the order of names.
    fn sources(&self) -> Result<Vec<Source>, Error> {
        let mut files = Vec::new();
        let lists = self.from_file.iter().chain(&self.architectures);
        if self.paths.iter().chain(lists).filter(|p| is_stdin(p)).count() > 1 {
            return Err(Error::user("standard input (-) can be read only once"));
        }
        let listed = match &self.from_file {
            Some(list) => lines(list)?.into_iter().map(PathBuf::from).collect(),
            None => Vec::new(),
        };
        if let Some(list) = self.from_file.as_ref().filter(|_| listed.iter().any(|p| is_stdin(p))) {
            let what = format!("{}: a list of paths can't name standard input (-)", list.display());
            return Err(Error::user(what));
        }
        for path in self.paths.iter().chain(&listed) {
            if is_stdin(path) || !path.is_dir() {
                files.push(path.clone());
                continue;
            }
            let before = files.len();
            search(path, &mut files)?;
            if files.len() == before {
                return Err(Error::user(format!("no .onnx files in {}", path.display())));
            }
        }
        let mut sources: Vec<Source> = files.into_iter().map(Source::File).collect();
        if let (Some(list), Some(space)) = (&self.architectures, self.space) {
            sources.extend(lines(list)?.into_iter().map(|text| Source::Architecture(space, text)));
        }
        if sources.is_empty() {
            return Err(Error::user("no line names a network"));
        }
        Ok(sources)
    }
}

/// The lines of a file, or of standard input, that are not empty.
fn lines(list: &Path) -> Result<Vec<String>, Error> {
    let about = |e: &dyn Display| Error::user(format!("{}: {e}", list.display()));
    let bytes = if is_stdin(list) {
        stdin().map_err(|e| about(&e))?
    } else {
        files::read(list, MAX_STDIN).map_err(|e| about(&e))?
    };
    let text = String::from_utf8(bytes).map_err(|_| about(&"it is no UTF-8 text"))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    Ok(lines.filter(|line| !line.is_empty()).map(str::to_string).collect())
}

fn stdin() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Bounded::new(std::io::stdin().lock(), MAX_STDIN).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Adds the ONNX files under `folder`: regular files, and links to such, that are not hidden. Links
/// to folders are not followed: they may go round. walkdir would save three lines.
fn search(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let fail = |e: std::io::Error| Error::from(e).about(&folder.display().to_string());
    let mut entries = Vec::new();
    for entry in folder.read_dir().map_err(fail)? {
        let entry = entry.map_err(fail)?;
        // What other programs leave there for themselves, such as AppleDouble's `._net.onnx`.
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            entries.push((entry.path(), entry.file_type().map_err(fail)?));
        }
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (path, kind) in entries {
        if kind.is_dir() {
            search(&path, found)?;
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx"))
            // A link that leads nowhere is told of when it is read.
            && path.metadata().map_or(true, |metadata| metadata.is_file())
        {
            found.push(path);
        }
    }
    Ok(())
}

/// A network, and what was assumed of it.
type Network = (ComputationGraph, Vec<Remark>);

fn read_one(
    source: &Source,
    options: &onnx::ReadOptions,
    lower: impl Fn(&ModelGraph) -> Result<ComputationGraph, LowerError>,
) -> Result<Network, Failure> {
    let fail = |error: &(dyn std::error::Error + 'static)| Failure::from_error(error);
    let model = match source {
        Source::Architecture(space, text) => space.build(text).map_err(|e| fail(&e))?,
        Source::File(path) if is_stdin(path) => {
            let bytes = stdin().map_err(|e| fail(&e))?;
            onnx::read_bytes(&bytes, "standard input", options).map_err(|e| fail(&e))?
        }
        Source::File(path) => onnx::read(path, options).map_err(|e| fail(&e))?,
    };
    let graph = lower(&model).map_err(|e| fail(&e))?;
    Ok((graph, model.remarks().to_vec()))
}

/// Says what was assumed, and what of the network is unknown.
pub(crate) fn note_assumptions(path: &str, remarks: &[Remark], graph: &ComputationGraph) {
    note_remarks(path, remarks);
    let unknown = graph.nodes().filter(|n| n.operation == Operation::Unknown);
    note_unknown(path, &unknown.map(|n| &*n.name).collect::<Vec<_>>());
}

/// Says what was assumed.
fn note_remarks(path: &str, remarks: &[Remark]) {
    for remark in remarks {
        note(&format!("{path}: {remark}"));
    }
}

/// What was assumed of a network, in JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Assumptions {
    /// Whether the cost is not the network's exact one.
    partial: bool,
    remarks: Vec<String>,
}

impl Assumptions {
    pub fn new(remarks: &[Remark]) -> Self {
        Self {
            partial: remarks.iter().any(Remark::is_partial),
            remarks: remarks.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Operators that are named of those that `--allow-unknown` let in.
const NAMED: usize = 5;

/// Names the operators that `--allow-unknown` let in.
fn note_unknown(path: &str, nodes: &[&str]) {
    if !nodes.is_empty() {
        let names: BTreeSet<&str> = nodes.iter().copied().collect();
        let names: Vec<_> = names.iter().take(NAMED).map(|name| clipped(name, 100)).collect();
        note(&format!(
            "{path}: {} unknown operator{} with unknown cost ({})",
            nodes.len(),
            if nodes.len() == 1 { "" } else { "s" },
            names.join(", "),
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

    fn arguments(paths: &[&str]) -> NetworkArguments {
        NetworkArguments {
            paths: paths.iter().map(PathBuf::from).collect(),
            ..NetworkArguments::default()
        }
    }

    const RESNET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/examples/resnet18.onnx");

    /// The answers of the others are those without the fault.
    #[test]
    fn a_panic_over_one_network_costs_no_other_answer() {
        let faulty = |source: &Source, options: &onnx::ReadOptions| {
            assert!(source.name() != "faulty.onnx", "a fault");
            read_one(source, options, lower::lower)
        };
        let networks = arguments(&[RESNET, "faulty.onnx", RESNET]).read_by(faulty).unwrap();
        assert_eq!(networks.paths, [RESNET, RESNET]);
        assert_eq!(networks.failed.len(), 1);
        assert_eq!(networks.failed[0].path, "faulty.onnx");
        assert!(networks.failed[0].error.contains("internal fault: a fault"));
        assert!(matches!(networks.status(), Err(Error::Fault)));

        let mut networks = arguments(&[RESNET; 3]).read().unwrap();
        networks.paths[1] = "faulty".into();
        let wanted = networks.graphs[0].fingerprint();
        networks.graphs[1] = {
            let nodes = networks.graphs[0].nodes().take(1).cloned().collect();
            ComputationGraph::new(nodes, &[]).unwrap()
        };
        let answers = networks.answer(|graphs| {
            let answer = |graph: &ComputationGraph| {
                assert!(graph.len() > 1, "a fault");
                Ok(graph.fingerprint())
            };
            graphs.iter().map(answer).collect()
        });
        assert_eq!(answers, [wanted, wanted]);
        assert_eq!((networks.paths.len(), networks.graphs.len()), (2, 2));
        assert_eq!(networks.failed[0].path, "faulty");
        assert!(matches!(networks.status(), Err(Error::Fault)));
    }

    #[test]
    fn input_shapes_are_parsed() {
        assert_eq!(parse_input_shape("x=1x3x8x8"), Ok(("x".into(), vec![1, 3, 8, 8])));
        assert_eq!(parse_input_shape("a=b:0=1,77"), Ok(("a=b:0".into(), vec![1, 77])));
        for wrong in ["1x3x224x224", "x=", "x=1x-3", "x=1x0", "x=axb"] {
            assert!(parse_input_shape(wrong).is_err(), "{wrong}");
        }
    }
}
