//! Search spaces.

use super::convert::counts;
use super::error::Failure;
use crate::lower::lower;
use crate::onnx::{self, Weights};
use crate::spaces::{self, ParseError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A search space, whose architectures are texts.
#[pyclass(frozen, eq, hash, module = "gennape")]
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Space(pub spaces::Space);

/// Architectures that are drawn at once, at most: their texts lie in memory.
const MOST: usize = 10_000_000;

/// Random numbers from what Python's users have: nothing, a seed, `random.Random` or a generator of
/// numpy's.
pub(super) fn generator(rng: Option<&Bound<'_, PyAny>>) -> PyResult<ChaCha8Rng> {
    let seed = match rng {
        None => rand::thread_rng().next_u64(),
        Some(rng) if rng.hasattr("getrandbits")? => {
            rng.call_method1("getrandbits", (64,))?.extract()?
        }
        Some(rng) if rng.hasattr("integers")? => {
            rng.call_method1("integers", (1u64 << 62,))?.extract()?
        }
        Some(seed) => counts(seed)?,
    };
    Ok(ChaCha8Rng::seed_from_u64(seed))
}

impl Space {
    /// The space of a [`Space`] or, if it is one, of a name.
    pub fn named(space: &Bound<'_, PyAny>) -> PyResult<Option<spaces::Space>> {
        if let Ok(space) = space.cast::<Self>() {
            return Ok(Some(space.get().0));
        }
        let name = space.extract::<String>();
        Ok(name.ok().and_then(|name| name.parse().ok()))
    }

    /// The same of what must be one.
    pub fn required(space: &Bound<'_, PyAny>) -> PyResult<spaces::Space> {
        match (Self::named(space)?, space.extract::<String>()) {
            (Some(known), _) => Ok(known),
            (None, Ok(name)) => Ok(Self::new(space.py(), &name)?.0),
            (None, Err(_)) => {
                let message = format!("{} is no search space", space.repr()?);
                Err(Failure::new(&message).raise(space.py()))
            }
        }
    }
}

fn raise(py: Python<'_>) -> impl Fn(ParseError) -> PyErr + '_ {
    move |error| Failure::from_error(&error).raise(py)
}

#[pymethods]
impl Space {
    #[new]
    fn new(py: Python<'_>, name: &str) -> PyResult<Self> {
        name.parse().map(Self).map_err(|e: spaces::UnknownSpace| Failure::from_error(&e).raise(py))
    }

    /// Names of all spaces.
    #[staticmethod]
    fn names() -> Vec<&'static str> {
        spaces::Space::ALL.iter().map(|space| space.name()).collect()
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &'static str {
        self.0.name()
    }

    /// How many architectures there are; none if there is no bound.
    #[getter]
    fn size(&self) -> Option<u128> {
        self.0.size()
    }

    /// Number of options of each decision; empty where architectures differ in their number.
    #[getter]
    fn decisions(&self) -> Vec<usize> {
        self.0.decisions()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, (&'static str,)) {
        (slf.get_type().into_any(), (slf.get().0.name(),))
    }

    fn __repr__(&self) -> String {
        format!("Space({:?})", self.0.name())
    }

    /// One architecture at random, or `count` of them, at most ten million.
    #[pyo3(signature = (count=None, *, rng=None))]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = counts)] count: Option<usize>,
        rng: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut rng = generator(rng)?;
        Ok(match count {
            None => self.0.sample(&mut rng).into_pyobject(py)?.into_any(),
            Some(count) if count > MOST => {
                let message = format!("{count} architectures are too many at once");
                return Err(Failure::new(&message).hint(format!("at most {MOST}")).raise(py));
            }
            Some(count) => {
                let texts: Vec<String> = (0..count).map(|_| self.0.sample(&mut rng)).collect();
                texts.into_pyobject(py)?.into_any()
            }
        })
    }

    /// A neighbour: one decision differs.
    #[pyo3(signature = (architecture, *, rng=None))]
    fn mutate(
        &self,
        py: Python<'_>,
        architecture: &str,
        rng: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        self.0.mutate(architecture, &mut generator(rng)?).map_err(raise(py))
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
        self.0.crossover(a, b, &mut generator(rng)?).map_err(raise(py))
    }

    /// A text that is the same for architectures that compute the same.
    fn canonical(&self, py: Python<'_>, architecture: &str) -> PyResult<String> {
        self.0.canonical(architecture).map_err(raise(py))
    }

    /// The architecture of these decisions; none when they make up none.
    fn decide(&self, #[pyo3(from_py_with = counts)] choices: Vec<usize>) -> Option<String> {
        self.0.decide(&choices)
    }

    /// The network as an ONNX file, with random weights unless they are left out.
    #[pyo3(signature = (architecture, *, seed=0, stripped=false))]
    fn build<'py>(
        &self,
        py: Python<'py>,
        architecture: &str,
        #[pyo3(from_py_with = counts)] seed: u64,
        stripped: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let weights = if stripped { Weights::Stripped } else { Weights::Random { seed } };
        let written = py.detach(|| {
            let graph = self.0.build(architecture).map_err(|e| Failure::from_error(&e))?;
            let mut bytes = Vec::new();
            onnx::write(&graph, &mut bytes, weights).map_err(|e| Failure::from_error(&e))?;
            Ok::<_, Failure>(bytes)
        });
        Ok(PyBytes::new(py, &written.map_err(|f| f.raise(py))?))
    }

    /// Trainable parameters as the space's authors count them.
    fn parameters(&self, py: Python<'_>, architecture: &str) -> PyResult<u64> {
        self.0.trainable_parameters(architecture).map_err(raise(py))
    }

    /// Multiply-accumulates for one input.
    fn macs(&self, py: Python<'_>, architecture: &str) -> PyResult<u64> {
        let graph = self.0.build(architecture).map_err(raise(py))?;
        Ok(lower(&graph).map_err(|e| Failure::from_error(&e).raise(py))?.macs())
    }
}
