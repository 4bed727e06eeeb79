//! Networks as Python's users have them.

use super::error::Failure;
use super::space::Space;
use crate::benchmarks::{BenchmarkError, Networks};
use crate::graph::ComputationGraph;
use crate::lower::lower;
use crate::model_graph::{ModelGraph, Remark};
use crate::onnx::{self, ReadOptions};
use crate::spaces;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyList, PyString, PyTuple};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;

/// Shapes of inputs by name.
pub(super) type Shapes = HashMap<String, Vec<usize>>;

/// How to read networks.
pub(super) struct Reading(ReadOptions);

impl Reading {
    pub fn new(input_shapes: Option<Shapes>, allow_unknown: bool) -> Self {
        let input_shapes = input_shapes.into_iter().flatten().collect();
        Self(ReadOptions { input_shapes, allow_unknown })
    }

    /// The same for the library.
    pub fn options(&self) -> &ReadOptions {
        &self.0
    }
}

/// A network.
pub(super) enum Source {
    Path(PathBuf),
    Bytes(PyBackedBytes),
    Architecture(spaces::Space, String),
}

impl Source {
    /// A path, bytes, or something like `onnx.ModelProto` that makes bytes of itself.
    pub fn extract(network: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = network.extract::<PyBackedBytes>() {
            return Ok(Self::Bytes(bytes));
        }
        if let Ok(path) = network.extract::<PathBuf>() {
            return Ok(Self::Path(path));
        }
        if network.hasattr("SerializeToString")? {
            let bytes = network.call_method0("SerializeToString")?;
            return Ok(Self::Bytes(bytes.extract::<PyBackedBytes>()?));
        }
        let kind = network.get_type();
        let message = format!("{} is no network", kind.qualname()?);
        let hint =
            "give a path, bytes, an onnx.ModelProto, a list of these, or (space, architectures)";
        Err(Failure::new(&message).hint(hint.into()).raise(network.py()))
    }

    /// What people call it, the `i`th of several.
    fn name(&self, i: usize) -> Cow<'_, str> {
        match self {
            Self::Path(path) => path.to_string_lossy(),
            Self::Bytes(_) => format!("network {i}").into(),
            Self::Architecture(_, text) => text.into(),
        }
    }

    fn model(&self, reading: &Reading) -> Result<ModelGraph, Failure> {
        match self {
            Self::Path(path) => onnx::read(path, &reading.0).map_err(|e| Failure::from_error(&e)),
            Self::Bytes(bytes) => {
                onnx::read_bytes(bytes, "network", &reading.0).map_err(|e| Failure::from_error(&e))
            }
            Self::Architecture(space, text) => {
                space.build(text).map_err(|e| Failure::from_error(&e))
            }
        }
    }
}

/// Networks that are asked about together.
pub(super) struct Sources {
    list: Vec<Source>,
    /// Whether one was given, not a list of them.
    pub single: bool,
}

impl Sources {
    /// A network, a list of networks, or a search space and one or several of its architectures.
    pub fn extract(networks: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(pair) = networks.cast::<PyTuple>()
            && pair.len() == 2
            && let (first, architectures) = (pair.get_item(0)?, pair.get_item(1)?)
            && let Some(space) = match Space::named(&first)? {
                // Two networks otherwise.
                None if first.is_instance_of::<PyString>()
                    && Source::extract(&architectures).is_err() =>
                {
                    Some(Space::required(&first)?)
                }
                known => known,
            }
        {
            let of = |text| Source::Architecture(space, text);
            if let Ok(text) = architectures.extract::<String>() {
                return Ok(Self { list: vec![of(text)], single: true });
            }
            let list = architectures
                .try_iter()?
                .map(|text| Ok(of(text?.extract::<String>()?)))
                .collect::<PyResult<_>>()?;
            return Ok(Self { list, single: false });
        }
        if networks.is_instance_of::<PyList>() || networks.is_instance_of::<PyTuple>() {
            let list = networks.try_iter()?.map(|network| Source::extract(&network?));
            return Ok(Self { list: list.collect::<PyResult<_>>()?, single: false });
        }
        Ok(Self { list: vec![Source::extract(networks)?], single: true })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The computation graph of a network, and what was assumed of it.
    pub fn read(
        &self,
        i: usize,
        reading: &Reading,
    ) -> Result<(ComputationGraph, Vec<Remark>), Failure> {
        let source = &self.list[i];
        let about = |failure: Failure| match source {
            // Its error says so itself.
            Source::Architecture(..) => failure,
            source => failure.about(&source.name(i)),
        };
        let model = source.model(reading).map_err(about)?;
        let graph = lower(&model).map_err(|e| about(Failure::from_error(&e)))?;
        Ok((graph, model.remarks().to_vec()))
    }
}

/// Networks with a measurement each.
pub(super) struct Labelled<'a> {
    sources: &'a Sources,
    reading: &'a Reading,
    labels: Vec<f64>,
    classes: Vec<String>,
}

impl<'a> Labelled<'a> {
    /// Tells apart what is one architecture and what is not, which reads all networks once.
    pub fn new(
        py: Python<'_>,
        sources: &'a Sources,
        reading: &'a Reading,
        labels: Vec<f64>,
    ) -> PyResult<Self> {
        if labels.len() != sources.len() {
            let message = format!("{} labels for {} networks", labels.len(), sources.len());
            return Err(Failure::new(&message).raise(py));
        }
        if let Some(label) = labels.iter().find(|label| !label.is_finite()) {
            return Err(Failure::new(&format!("a label is {label}")).raise(py));
        }
        let class = |i| match &sources.list[i] {
            Source::Architecture(space, text) => {
                space.canonical(text).map_err(|e| Failure::from_error(&e))
            }
            _ => Ok(sources.read(i, reading)?.0.fingerprint().to_string()),
        };
        let classes = super::pool::each(py, sources.len(), class).into_iter();
        let classes: Vec<String> = classes.collect::<Result<_, _>>().map_err(|f| f.raise(py))?;
        Ok(Self { sources, reading, labels, classes })
    }
}

impl Networks for Labelled<'_> {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn name(&self, i: usize) -> String {
        self.sources.list[i].name(i).into_owned()
    }

    fn class(&self, i: usize) -> String {
        self.classes[i].clone()
    }

    fn target(&self, i: usize) -> f64 {
        self.labels[i]
    }

    fn model(&self, i: usize) -> Result<ModelGraph, BenchmarkError> {
        let fail = |error: &(dyn std::error::Error + 'static)| {
            BenchmarkError::network(self.name(i), error)
        };
        match &self.sources.list[i] {
            Source::Path(path) => onnx::read(path, &self.reading.0).map_err(|e| fail(&e)),
            Source::Bytes(bytes) => {
                onnx::read_bytes(bytes, "network", &self.reading.0).map_err(|e| fail(&e))
            }
            Source::Architecture(space, text) => space.build(text).map_err(|e| fail(&e)),
        }
    }
}
