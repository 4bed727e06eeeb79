//! The Python package's extension module, `gennape._gennape`: as thin as the command line, one file
//! for each class.
//!
//! While the library works, Python's lock is released, and bytes are borrowed, not copied. Few
//! networks are worked on by the calling thread, many by a [`pool`] that a forked process makes anew.

// What pyo3's macros write.
#![allow(unsafe_code)]

mod convert;
mod error;
mod estimates;
mod estimator;
mod latencies;
mod latency;
mod pool;
mod search;
mod source;
mod space;
mod super_network;

use crate::cli;
use crate::estimator::Answer;
use convert::counts;
use error::Failure;
use pyo3::prelude::*;
use source::{Reading, Sources};
use std::ffi::OsString;

/// The compiled part of `gennape`.
#[pymodule]
mod _gennape {
    #[pymodule_export]
    use super::estimates::Estimates;
    #[pymodule_export]
    use super::estimator::Estimator;
    #[pymodule_export]
    use super::latencies::Latencies;
    #[pymodule_export]
    use super::latency::LatencyModel;
    #[pymodule_export]
    use super::search::{Progress, SearchResult, search};
    #[pymodule_export]
    use super::space::Space;
    #[pymodule_export]
    use super::super_network::SuperNetwork;
    #[pymodule_export]
    use super::{compare, finetune, main, profile};

    #[pymodule_init]
    fn init(module: &super::Bound<'_, super::PyModule>) -> super::PyResult<()> {
        use super::PyModuleMethods;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// The program, with these arguments after its name; the exit code.
#[pyfunction]
fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    let arguments = std::iter::once("gennape".into()).chain(arguments);
    py.detach(|| cli::run(arguments))
}

/// What `gennape profile` says: of one network a dict, of several a list of such.
#[pyfunction]
#[pyo3(signature = (networks, *, input_shapes=None, allow_unknown=false))]
fn profile<'py>(
    py: Python<'py>,
    networks: &Bound<'py, PyAny>,
    #[pyo3(from_py_with = counts)] input_shapes: Option<source::Shapes>,
    allow_unknown: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let sources = Sources::extract(networks)?;
    let reading = Reading::new(input_shapes, allow_unknown);
    let one = |i| {
        let (graph, remarks) = sources.read(i, &reading)?;
        let summary = cli::profile::Summary::full(&graph, &remarks);
        serde_json::to_value(summary).map_err(|e| Failure::from_error(&e))
    };
    let found = pool::each(py, sources.len(), one);
    let mut values = Vec::with_capacity(found.len());
    for value in found {
        values.push(convert::to_python(py, &value.map_err(|f| f.raise(py))?)?);
    }
    match sources.single {
        true => Ok(values.swap_remove(0)),
        false => Ok(values.into_pyobject(py)?.into_any()),
    }
}

/// What `gennape compare` says of two networks, as a dict.
#[pyfunction]
#[pyo3(signature = (
    a, b, *, model=None, target=None, recipe=None, one_family=false, input_shapes=None,
    allow_unknown=false
))]
#[allow(clippy::too_many_arguments)]
fn compare<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    model: Option<&Bound<'py, PyAny>>,
    target: Option<&str>,
    recipe: Option<String>,
    one_family: bool,
    #[pyo3(from_py_with = counts)] input_shapes: Option<source::Shapes>,
    allow_unknown: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let estimator = estimator::Estimator::given(model)?;
    let question = estimator::question(py, target, recipe, one_family, false)?;
    let reading = Reading::new(input_shapes, allow_unknown);
    let both = [Sources::extract(a)?, Sources::extract(b)?];
    if both.iter().any(|sources| !sources.single) {
        let what = "two networks can be compared; Estimator.predict takes any number";
        return Err(Failure::new(what).raise(py));
    }
    let report = py.detach(|| {
        let (mut graphs, mut answers) = (Vec::new(), Vec::<Answer>::new());
        for sources in &both {
            let (graph, _) = sources.read(0, &reading)?;
            answers.push(
                estimator.answer_one(&graph, &question).map_err(|e| Failure::from_error(&e))?,
            );
            graphs.push(graph);
        }
        let [first, second] = answers.as_slice() else { return Err(Failure::new("no answer")) };
        if first.target != second.target {
            let name = |answer: &Answer| answer.target.map_or("another", |t| t.name());
            let (a, b) = (name(first), name(second));
            return Err(Failure::new(&format!(
                "the first network is one for {a}, the second one for {b}"
            ))
            .hint(format!("target=\"{a}\" asks the same of both")));
        }
        let report = cli::compare::Report::new(["a", "b"], &graphs, &answers);
        serde_json::to_value(report).map_err(|e| Failure::from_error(&e))
    });
    let report = convert::to_python(py, &report.map_err(|f| f.raise(py))?)?;
    Ok(report)
}

/// A model adapted to measured networks, as `gennape finetune` makes it.
#[pyfunction]
#[pyo3(signature = (
    networks, labels, *, model=None, target="label", name="finetuned", seed=0, input_shapes=None,
    allow_unknown=false
))]
#[allow(clippy::too_many_arguments)]
fn finetune(
    py: Python<'_>,
    networks: &Bound<'_, PyAny>,
    labels: Vec<f64>,
    model: Option<&Bound<'_, PyAny>>,
    target: &str,
    name: &str,
    #[pyo3(from_py_with = counts)] seed: u64,
    #[pyo3(from_py_with = counts)] input_shapes: Option<source::Shapes>,
    allow_unknown: bool,
) -> PyResult<estimator::Estimator> {
    let base = estimator::Estimator::given(model)?;
    let sources = Sources::extract(networks)?;
    let reading = Reading::new(input_shapes, allow_unknown);
    let labelled = source::Labelled::new(py, &sources, &reading, labels)?;
    let options = crate::fine_tuning::Options {
        name: name.into(),
        command: None,
        labels: format!("{} labels", sources.len()),
        target: target.into(),
        seed,
        cache: None,
    };
    let pool = pool::pool(py)?;
    let tuned = py.detach(|| {
        pool.install(|| crate::fine_tuning::fine_tune(&base, &labelled, &options, &|_, _, _| ()))
    });
    let tuned = tuned.map_err(|e| Failure::from_error(&e).raise(py))?;
    Ok(estimator::Estimator::of_content(tuned.estimator))
}
