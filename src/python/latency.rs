//! Models of latencies.

use super::convert::{counts, to_python};
use super::error::Failure;
use super::latencies::Latencies;
use super::pool;
use super::source::{Reading, Shapes, Sources};
use crate::latency::{self, Device, Measured};
use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray1};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::path::PathBuf;

/// How long networks take on a device.
#[pyclass(frozen, module = "gennape")]
pub(super) struct LatencyModel(pub latency::LatencyModel);

/// Parts that are left out in turn to tell how well a device is fitted.
const PARTS: usize = 20;

#[pymethods]
impl LatencyModel {
    /// The model of a device that is part of the program, or one in a folder.
    #[new]
    fn new(py: Python<'_>, model: PathBuf) -> PyResult<Self> {
        let name = model.to_string_lossy();
        let names = [name.to_string(), format!("latency-{name}")];
        if let Some(model) = names.iter().find_map(|name| latency::LatencyModel::named(name)) {
            return Ok(Self(model));
        }
        if model.is_dir() {
            let loaded = latency::LatencyModel::load(&model);
            return loaded.map(Self).map_err(|e| Failure::from_error(&e).about(&name).raise(py));
        }
        let names = latency::LatencyModel::NAMES.map(|name| name.trim_start_matches("latency-"));
        Err(Failure::new(&format!("there is no model of latencies '{name}'"))
            .hint(format!("give one of {}, or a folder", names.join(", ")))
            .raise(py))
    }

    #[staticmethod]
    fn _from_bytes(py: Python<'_>, manifest: &[u8]) -> PyResult<Self> {
        let model = latency::LatencyModel::from_bytes(manifest);
        model.map(Self).map_err(|e| Failure::from_error(&e).raise(py))
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyAny>,))> {
        let py = slf.py();
        let model = &slf.get().0;
        if latency::LatencyModel::named(&model.name).as_ref() == Some(model) {
            return Ok((slf.get_type().into_any(), (model.name.as_str().into_bound_py_any(py)?,)));
        }
        let manifest = serde_json::to_vec(model).map_err(|e| Failure::from_error(&e).raise(py))?;
        let bytes = pyo3::types::PyBytes::new(py, &manifest).into_any();
        Ok((slf.get_type().getattr("_from_bytes")?, (bytes,)))
    }

    fn __repr__(&self) -> String {
        format!("LatencyModel({:?})", self.0.name)
    }

    /// The names of the devices that are part of the program.
    #[staticmethod]
    fn names() -> Vec<&'static str> {
        latency::LatencyModel::NAMES.map(|name| name.trim_start_matches("latency-")).to_vec()
    }

    /// A model of a device of one's own.
    #[staticmethod]
    #[pyo3(signature = (networks, milliseconds, *, name="device", input_shapes=None, allow_unknown=false))]
    fn fit(
        py: Python<'_>,
        networks: &Bound<'_, PyAny>,
        milliseconds: Vec<f64>,
        name: &str,
        #[pyo3(from_py_with = counts)] input_shapes: Option<Shapes>,
        allow_unknown: bool,
    ) -> PyResult<Self> {
        let sources = Sources::extract(networks)?;
        let reading = Reading::new(input_shapes, allow_unknown);
        if sources.len() != milliseconds.len() {
            let (got, asked) = (milliseconds.len(), sources.len());
            return Err(Failure::new(&format!("{got} latencies for {asked} networks")).raise(py));
        }
        let graphs = pool::each(py, sources.len(), |i| Ok(sources.read(i, &reading)?.0));
        let mut parts = std::collections::HashMap::new();
        let mut measured = Vec::with_capacity(graphs.len());
        for (graph, latency) in graphs.into_iter().zip(milliseconds) {
            let graph = graph.map_err(|f| f.raise(py))?;
            let next = parts.len();
            let part = *parts.entry(graph.fingerprint()).or_insert(next) % PARTS;
            measured.push(Measured { graph, group: format!("part {part}"), latency });
        }
        let options = latency::Options {
            name: name.into(),
            command: None,
            device: Device { name: name.into(), batch: None },
            groups: "parts".into(),
        };
        let pool = pool::pool(py)?;
        let fitted =
            py.detach(|| pool.install(|| latency::fit(&measured, &options, &|_, _, _| ())));
        fitted.map(Self).map_err(|e| Failure::from_error(&e).raise(py))
    }

    /// What the model says of itself.
    #[getter]
    fn manifest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let value = serde_json::to_value(&self.0).map_err(|e| Failure::from_error(&e).raise(py))?;
        to_python(py, &value)
    }

    /// Writes a model folder.
    fn save(&self, py: Python<'_>, folder: PathBuf) -> PyResult<()> {
        self.0.save(&folder).map_err(|e| Failure::from_error(&e).raise(py))
    }

    /// Estimated milliseconds for one input.
    #[pyo3(signature = (networks, *, input_shapes=None, allow_unknown=false))]
    fn predict(
        &self,
        py: Python<'_>,
        networks: &Bound<'_, PyAny>,
        #[pyo3(from_py_with = counts)] input_shapes: Option<Shapes>,
        allow_unknown: bool,
    ) -> PyResult<Latencies> {
        let sources = Sources::extract(networks)?;
        let reading = Reading::new(input_shapes, allow_unknown);
        let one = |i| match self.0.estimate(&sources.read(i, &reading)?.0) {
            known if known.interval.iter().all(|x| x.is_finite()) => Ok(known),
            _ => Err(Failure::new("the model's estimate of it is not a finite number")),
        };
        let mut estimates = Vec::with_capacity(sources.len());
        for estimate in pool::each(py, sources.len(), one) {
            estimates.push(estimate.map_err(|f| f.raise(py))?);
        }
        let parts = pyo3::types::PyList::empty(py);
        for estimate in &estimates {
            let of = PyDict::new(py);
            for (class, part) in &estimate.parts {
                of.set_item(class, *part)?;
            }
            parts.append(of)?;
        }
        let number = crate::cli::latency::rounded;
        let interval = Array2::from_shape_fn((estimates.len(), 2), |(i, end)| {
            number(estimates[i].interval[end])
        });
        let latency = estimates.iter().map(|e| number(e.latency)).collect();
        let inside = estimates.iter().map(|e| e.in_distribution).collect();
        let unknown =
            |e: &latency::LatencyEstimate| e.unknown.iter().map(|o| o.to_string()).collect();
        Ok(Latencies {
            latency: PyArray1::from_vec(py, latency).unbind(),
            interval: interval.into_pyarray(py).unbind(),
            in_distribution: PyArray1::from_vec(py, inside).unbind(),
            unknown: estimates.iter().map(unknown).collect(),
            parts: parts.into_any().unbind(),
        })
    }
}
