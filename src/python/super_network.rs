//! The sub-networks of a network.

use super::convert::counts;
use super::error::Failure;
use super::estimator::json;
use super::source::{Reading, Shapes, Source};
use super::space::generator;
use crate::cli;
use crate::lower::lower;
use crate::onnx::{Original, ReadOptions};
use crate::subnetworks::{self, SubNetwork};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::PathBuf;

/// What of a network can be cut or replaced.
#[pyclass(frozen, module = "gennape")]
pub(super) struct SuperNetwork {
    pub space: subnetworks::SuperNetwork,
    file: Source,
    reading: Reading,
}

/// What a [`SuperNetwork`] is made again from: the file, shapes of its inputs, whether unknown
/// operators are allowed.
type Again<'py> = (Bound<'py, PyAny>, Vec<(String, Vec<usize>)>, bool);

/// Does something with the file that a network was read from.
fn with_original<T>(
    file: &Source,
    options: &ReadOptions,
    then: impl FnOnce(crate::model_graph::ModelGraph, &mut Original) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let name = |path: &PathBuf| path.display().to_string();
    match file {
        Source::Path(path) => {
            let opened = Original::open(path, options);
            let (graph, mut original) =
                opened.map_err(|e| Failure::from_error(&e).about(&name(path)))?;
            then(graph, &mut original)
        }
        Source::Bytes(bytes) => {
            let opened = Original::from_bytes(&bytes[..], "network", options);
            let (graph, mut original) = opened.map_err(|e| Failure::from_error(&e))?;
            then(graph, &mut original)
        }
        Source::Architecture(..) => Err(Failure::new("a super-network is cut from an ONNX file")),
    }
}

impl SuperNetwork {
    fn sub(&self, text: &str) -> Result<SubNetwork, Failure> {
        let hint = "SuperNetwork.space() lists what there is".to_string();
        self.space.parse(text).map_err(|e| Failure::from_error(&e).hint(hint))
    }
}

#[pymethods]
impl SuperNetwork {
    #[new]
    #[pyo3(signature = (network, *, input_shapes=None, allow_unknown=false))]
    fn new(
        network: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = counts)] input_shapes: Option<Shapes>,
        allow_unknown: bool,
    ) -> PyResult<Self> {
        let file = Source::extract(network)?;
        let reading = Reading::new(input_shapes, allow_unknown);
        let py = network.py();
        let space = py.detach(|| {
            with_original(&file, reading.options(), |graph, _| {
                Ok(subnetworks::SuperNetwork::new(graph))
            })
        });
        Ok(Self { space: space.map_err(|f| f.raise(py))?, file, reading })
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Again<'py>)> {
        let (py, this) = (slf.py(), slf.get());
        let file = match &this.file {
            Source::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
            Source::Path(path) => path.into_pyobject(py)?.into_any(),
            Source::Architecture(..) => py.None().into_bound(py),
        };
        let ReadOptions { input_shapes, allow_unknown } = this.reading.options().clone();
        Ok((slf.get_type().getattr("_again")?, (file, input_shapes, allow_unknown)))
    }

    #[staticmethod]
    fn _again(
        network: &Bound<'_, PyAny>,
        input_shapes: Vec<(String, Vec<usize>)>,
        allow_unknown: bool,
    ) -> PyResult<Self> {
        Self::new(network, Some(input_shapes.into_iter().collect()), allow_unknown)
    }

    /// What `gennape space` says, as a dict.
    fn space<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let report = cli::space::report(&self.space);
        json(py, &report.map_err(|e| Failure::new(&e.to_line()).raise(py))?)
    }

    /// Number of options of each decision, of which the first is the whole network's.
    #[getter]
    fn decisions(&self) -> Vec<usize> {
        self.space.decisions()
    }

    /// The sub-network of these decisions.
    fn decide(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = counts)] choices: Vec<usize>,
    ) -> PyResult<String> {
        use crate::search::SearchSpace;
        let decided = SearchSpace::decide(&self.space, &choices);
        let absent = || Failure::new("these are no choices of this network").raise(py);
        decided.map(|sub| sub.to_string()).ok_or_else(absent)
    }

    /// A sub-network at random.
    #[pyo3(signature = (*, rng=None))]
    fn sample(&self, rng: Option<&Bound<'_, PyAny>>) -> PyResult<String> {
        Ok(self.space.sample(&mut generator(rng)?).to_string())
    }

    /// A neighbour: one decision differs.
    #[pyo3(signature = (keep, *, rng=None))]
    fn mutate(
        &self,
        py: Python<'_>,
        keep: &str,
        rng: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let sub = self.sub(keep).map_err(|f| f.raise(py))?;
        Ok(self.space.mutate(&sub, &mut generator(rng)?).to_string())
    }

    /// A child: each decision is one parent's.
    #[pyo3(signature = (a, b, *, rng=None))]
    fn crossover(
        &self,
        py: Python<'_>,
        a: &str,
        b: &str,
        rng: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let [a, b] = [a, b].map(|text| self.sub(text).map_err(|f| f.raise(py)));
        Ok(self.space.crossover(&a?, &b?, &mut generator(rng)?).to_string())
    }

    /// Parameters of a sub-network.
    fn parameters(&self, py: Python<'_>, keep: &str) -> PyResult<u64> {
        Ok(self.graph(keep).map_err(|f| f.raise(py))?.parameters())
    }

    /// Multiply-accumulates of a sub-network for one input.
    fn macs(&self, py: Python<'_>, keep: &str) -> PyResult<u64> {
        Ok(self.graph(keep).map_err(|f| f.raise(py))?.macs())
    }

    /// A sub-network with its weights, as an ONNX file.
    fn shrink<'py>(&self, py: Python<'py>, keep: &str) -> PyResult<Bound<'py, PyBytes>> {
        let shrunk = py.detach(|| {
            let sub = self.sub(keep)?;
            with_original(&self.file, self.reading.options(), |_, original| {
                let mut out = Vec::new();
                let shrunk = self.space.shrink(&sub, original, &mut out, None);
                shrunk.map_err(|e| Failure::from_error(&e))?;
                Ok(out)
            })
        });
        Ok(PyBytes::new(py, &shrunk.map_err(|f| f.raise(py))?))
    }
}

impl SuperNetwork {
    fn graph(&self, keep: &str) -> Result<crate::graph::ComputationGraph, Failure> {
        let model = self.space.build(&self.sub(keep)?).map_err(|e| Failure::from_error(&e))?;
        lower(&model).map_err(|e| Failure::from_error(&e))
    }
}
