//! The estimator of accuracies.

use super::convert::{counts, to_python};
use super::error::Failure;
use super::estimates::Estimates;
use super::pool;
use super::source::{Reading, Shapes, Sources};
use crate::benchmarks::Target;
use crate::estimator::real::RealNetworks;
use crate::estimator::{self, Answer, Question};
use crate::latency::LatencyModel;
use numpy::ndarray::Array2;
use numpy::{IntoPyArray, PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model that estimates accuracies.
#[pyclass(frozen, module = "gennape")]
pub(super) struct Estimator {
    pub model: Arc<estimator::Estimator>,
    /// The name or folder that it comes back from out of a pickle; without one, its content.
    from: Option<PathBuf>,
}

impl Estimator {
    /// A model that stands in no folder.
    pub fn of_content(model: estimator::Estimator) -> Self {
        Self { model: Arc::new(model), from: None }
    }

    /// The model of an argument: an [`Estimator`], or the name or folder of one; without any, the
    /// default.
    pub fn given(model: Option<&Bound<'_, PyAny>>) -> PyResult<Arc<estimator::Estimator>> {
        let Some(model) = model else { return Ok(Arc::new(estimator::Estimator::embedded())) };
        if let Ok(known) = model.cast::<Self>() {
            return Ok(known.get().model.clone());
        }
        let path: PathBuf = model.extract()?;
        Ok(Self::load(model.py(), &path)?.model)
    }

    /// A model by its name, or from a folder.
    fn load(py: Python<'_>, path: &Path) -> PyResult<Self> {
        // What of it is done by several threads is done by those of this process.
        pool::pool(py)?.install(|| Self::read(path)).map_err(|f| f.raise(py))
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.to_string_lossy();
        if let Some(model) = estimator::Estimator::named(&name) {
            return Ok(Self { model: Arc::new(model), from: Some(path.into()) });
        }
        if !path.is_dir() {
            let names: Vec<&str> = estimator::Estimator::names().collect();
            return Err(Failure::new(&format!("there is no model '{name}'")).hint(format!(
                "give one of {}, or a folder that holds manifest.json and weights.safetensors",
                names.join(", ")
            )));
        }
        if matches!(LatencyModel::find(path), Ok(Some(_))) {
            return Err(Failure::new(&format!("{name} is a model of latencies"))
                .hint(format!("LatencyModel({name:?})")));
        }
        match (estimator::Estimator::load(path), RealNetworks::load(path)) {
            (Ok(model), _) => Ok(Self::of_content(model)),
            // A model of real networks answers for its targets in the default model's stead.
            (_, Ok(real)) => {
                let model = Arc::new(estimator::Estimator::with_real(real));
                let from = path.canonicalize().unwrap_or_else(|_| path.into());
                Ok(Self { model, from: Some(from) })
            }
            (Err(error), _) => Err(Failure::from_error(&error).about(&name)),
        }
    }
}

/// The question of some arguments.
pub(super) fn question(
    py: Python<'_>,
    target: Option<&str>,
    recipe: Option<String>,
    one_family: bool,
    embedding: bool,
) -> PyResult<Question> {
    let target = match target {
        None => None,
        Some(name) => Some(Target::from_name(name).ok_or_else(|| {
            let failure = Failure::new(&format!("there is no target '{name}'"));
            let hint = match name.strip_prefix("latency-") {
                Some(device) => format!("LatencyModel({device:?}).predict estimates latencies"),
                None => format!(
                    "give one of {}",
                    Target::ALL.iter().map(|t| t.name()).collect::<Vec<_>>().join(", ")
                ),
            };
            failure.hint(hint).raise(py)
        })?),
    };
    Ok(Question { target, recipe, one_family, embedding })
}

/// What is known of one network.
struct Known {
    answer: Answer,
    parameters: u64,
    macs: u64,
    remarks: Vec<String>,
}

#[pymethods]
impl Estimator {
    #[new]
    #[pyo3(signature = (model=None))]
    fn new(py: Python<'_>, model: Option<PathBuf>) -> PyResult<Self> {
        match model {
            Some(path) => Self::load(py, &path),
            None => {
                let model = Arc::new(estimator::Estimator::embedded());
                let from = Some(PathBuf::from(&model.manifest().name));
                Ok(Self { model, from })
            }
        }
    }

    #[staticmethod]
    fn _from_bytes(py: Python<'_>, manifest: &[u8], weights: &[u8]) -> PyResult<Self> {
        let model = pool::pool(py)?.install(|| estimator::Estimator::from_bytes(manifest, weights));
        model.map(Self::of_content).map_err(|e| Failure::from_error(&e).raise(py))
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        if let Some(path) = &this.from {
            let text = path.to_string_lossy();
            return Ok((slf.get_type().into_any(), PyTuple::new(py, [text])?));
        }
        let manifest = serde_json::to_vec(this.model.manifest());
        let manifest = manifest.map_err(|e| Failure::from_error(&e).raise(py))?;
        let content = [&manifest[..], this.model.weights()];
        let content = content.map(|bytes| PyBytes::new(py, bytes));
        Ok((slf.get_type().getattr("_from_bytes")?, PyTuple::new(py, content)?))
    }

    fn __repr__(&self) -> String {
        format!("Estimator({:?})", self.model.manifest().name)
    }

    /// Names of the models that are part of the package, the default first.
    #[staticmethod]
    fn names() -> Vec<&'static str> {
        estimator::Estimator::names().collect()
    }

    /// What it estimates.
    #[getter]
    fn targets(&self) -> Vec<String> {
        if let Some(tuned) = &self.model.manifest().fine_tuning {
            return vec![tuned.target.clone()];
        }
        let real = self.model.real();
        let known = |t: &Target| {
            *t == Target::Cifar10 || real.iter().any(|model| model.facts(*t).is_some())
        };
        Target::ALL.iter().copied().filter(known).map(|t| t.name().to_string()).collect()
    }

    /// Names of the ways of training that `recipe` takes, by target.
    #[getter]
    fn recipes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let recipes = PyDict::new(py);
        for facts in self.model.real().iter().flat_map(|model| &model.manifest().targets) {
            let names: Vec<&str> = facts.recipes.iter().map(|(name, _)| name.as_str()).collect();
            recipes.set_item(facts.target.name(), names)?;
        }
        Ok(recipes)
    }

    /// What the model says of itself.
    #[getter]
    fn manifest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        json(py, self.model.manifest())
    }

    /// Writes a model folder.
    fn save(&self, py: Python<'_>, folder: PathBuf) -> PyResult<()> {
        self.model.save(&folder).map_err(|e| Failure::from_error(&e).raise(py))
    }

    /// Embeddings, a row each.
    #[pyo3(signature = (networks, *, input_shapes=None, allow_unknown=false))]
    fn embed<'py>(
        &self,
        py: Python<'py>,
        networks: &Bound<'py, PyAny>,
        #[pyo3(from_py_with = counts)] input_shapes: Option<Shapes>,
        allow_unknown: bool,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let sources = Sources::extract(networks)?;
        let reading = Reading::new(input_shapes, allow_unknown);
        let one = |i| {
            let (graph, _) = sources.read(i, &reading)?;
            let features = crate::encoder::GraphFeatures::new(&graph);
            let row: Vec<f32> = self.model.encoder().embed(&[features]).into_iter().collect();
            match row.iter().all(|x| x.is_finite()) {
                true => Ok(row),
                false => Err(Failure::new("the model's embedding of it is not finite")),
            }
        };
        let rows = pool::each(py, sources.len(), one).into_iter();
        let rows: Vec<Vec<f32>> = rows.collect::<Result<_, _>>().map_err(|f| f.raise(py))?;
        Ok(self.stacked(rows.iter().map(Some)).into_pyarray(py))
    }

    /// Estimated accuracies.
    #[pyo3(signature = (
        networks, *, target=None, recipe=None, one_family=false, embed=false, neighbours=0,
        explain=false, input_shapes=None, allow_unknown=false, on_error="raise"
    ))]
    #[allow(clippy::too_many_arguments)]
    fn predict(
        &self,
        py: Python<'_>,
        networks: &Bound<'_, PyAny>,
        target: Option<&str>,
        recipe: Option<String>,
        one_family: bool,
        embed: bool,
        #[pyo3(from_py_with = counts)] neighbours: usize,
        explain: bool,
        #[pyo3(from_py_with = counts)] input_shapes: Option<Shapes>,
        allow_unknown: bool,
        on_error: &str,
    ) -> PyResult<Estimates> {
        let question = question(py, target, recipe, one_family, embed)?;
        let raises = match on_error {
            "raise" => true,
            "nan" => false,
            other => {
                let message = format!("there is no on_error '{other}'");
                return Err(Failure::new(&message).hint("give raise or nan".into()).raise(py));
            }
        };
        let sources = Sources::extract(networks)?;
        let reading = Reading::new(input_shapes, allow_unknown);
        let one = |i| {
            let (graph, remarks) = sources.read(i, &reading)?;
            Ok(Known {
                answer: self
                    .model
                    .answer_one(&graph, &question)
                    .map_err(|e| Failure::from_error(&e))?,
                parameters: graph.parameters(),
                macs: graph.macs(),
                remarks: remarks.iter().map(ToString::to_string).collect(),
            })
        };
        let outcomes = pool::each(py, sources.len(), one);
        let errors = PyDict::new(py);
        let mut known = Vec::with_capacity(outcomes.len());
        for (i, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(answer) => known.push(Some(answer)),
                Err(failure) if raises => return Err(failure.raise(py)),
                Err(failure) => {
                    errors.set_item(i, failure.raise(py).into_value(py))?;
                    known.push(None);
                }
            }
        }
        self.estimates(py, &known, &question, neighbours, explain, errors)
    }
}

impl Estimator {
    /// Rows of embeddings; of what has none, not a number.
    fn stacked<'a>(
        &self,
        rows: impl ExactSizeIterator<Item = Option<&'a Vec<f32>>>,
    ) -> Array2<f32> {
        let width = self.model.manifest().config.embedding();
        let mut embeddings = Array2::from_elem((rows.len(), width), f32::NAN);
        for (mut to, row) in embeddings.rows_mut().into_iter().zip(rows) {
            if let Some(row) = row {
                to.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
            }
        }
        embeddings
    }

    /// What was answered, in columns.
    fn estimates<'py>(
        &self,
        py: Python<'py>,
        known: &[Option<Known>],
        question: &Question,
        neighbours: usize,
        explain: bool,
        errors: Bound<'py, PyDict>,
    ) -> PyResult<Estimates> {
        let told: Vec<Option<estimator::Estimate>> = known
            .iter()
            .map(|k| k.as_ref().map(|k| self.model.rounded(&k.answer.estimate)))
            .collect();
        let tuned = self.model.manifest().fine_tuning.as_ref().map(|tuned| &*tuned.target);
        let numbers = |of: fn(&estimator::Estimate) -> f64| {
            let values = told.iter().map(|e| e.as_ref().map_or(f64::NAN, of));
            PyArray1::from_vec(py, values.collect()).unbind()
        };
        let flags = |of: fn(&estimator::Estimate) -> bool| {
            let values = told.iter().map(|e| e.as_ref().is_some_and(of));
            PyArray1::from_vec(py, values.collect()).unbind()
        };
        let counts = |of: fn(&Known) -> u64| {
            let count = |k: &Known| i64::try_from(of(k)).unwrap_or(i64::MAX);
            let values = known.iter().map(|k| k.as_ref().map_or(-1, count));
            PyArray1::from_vec(py, values.collect()).unbind()
        };
        let texts = |of: &dyn Fn(&Known) -> String| -> Vec<String> {
            known.iter().map(|k| k.as_ref().map_or(String::new(), of)).collect()
        };
        let interval = Array2::from_shape_fn((known.len(), 2), |(i, end)| {
            told[i].as_ref().map_or(f64::NAN, |e| e.interval[end])
        });
        let embedding = question.embedding.then(|| {
            let rows = known.iter().map(|k| k.as_ref()?.answer.embedding.as_ref());
            self.stacked(rows).into_pyarray(py).unbind()
        });
        let near =
            |k: &Known| json(py, &k.answer.neighbours[..neighbours.min(k.answer.neighbours.len())]);
        let voices = |k: &Known| json(py, &k.answer.voices);
        let details = |of: &dyn Fn(&Known) -> PyResult<Bound<'py, PyAny>>| -> PyResult<Py<PyAny>> {
            let list = PyList::empty(py);
            for known in known {
                match known {
                    Some(known) => list.append(of(known)?)?,
                    None => list.append(PyList::empty(py))?,
                }
            }
            Ok(list.into_any().unbind())
        };
        Ok(Estimates {
            accuracy: numbers(|e| e.accuracy),
            interval: interval.into_pyarray(py).unbind(),
            distance: numbers(|e| e.distance),
            in_distribution: flags(|e| e.in_distribution),
            depends_on_input: flags(|e| e.depends_on_input),
            parameters: counts(|k| k.parameters),
            macs: counts(|k| k.macs),
            target: texts(&|k| match (k.answer.target, tuned) {
                (Some(target), _) => target.name().into(),
                (None, tuned) => tuned.unwrap_or_default().into(),
            }),
            target_reason: texts(&|k| k.answer.reason.clone()),
            remarks: known
                .iter()
                .map(|k| k.as_ref().map_or_else(Vec::new, |k| k.remarks.clone()))
                .collect(),
            neighbours: if neighbours > 0 { Some(details(&near)?) } else { None },
            voices: if explain { Some(details(&voices)?) } else { None },
            embedding,
            errors: errors.unbind(),
        })
    }
}

/// A record in Python's own objects.
pub(super) fn json<'py, T: Serialize + ?Sized>(
    py: Python<'py>,
    record: &T,
) -> PyResult<Bound<'py, PyAny>> {
    let value = serde_json::to_value(record).map_err(|e| Failure::from_error(&e).raise(py))?;
    to_python(py, &value)
}
