//! Estimated accuracies of several networks.

use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

macro_rules! fields {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[pyclass(frozen, module = "gennape")]
        pub(super) struct $name {
            $($(#[$doc])* #[pyo3(get)] pub $field: $type,)*
        }

        #[pymethods]
        impl $name {
            #[new]
            #[allow(clippy::too_many_arguments)]
            fn new($($field: $type),*) -> Self {
                Self { $($field),* }
            }

            fn __reduce__<'py>(
                slf: &Bound<'py, Self>,
            ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
                let fields = [$(slf.getattr(stringify!($field))?),*];
                Ok((slf.get_type().into_any(), PyTuple::new(slf.py(), fields)?))
            }

            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                let first = [$(stringify!($field)),*][0];
                let values = slf.getattr(first)?.repr()?;
                Ok(format!("{}({first}={values}, …)", stringify!($name)))
            }

            fn __len__(slf: &Bound<'_, Self>) -> PyResult<usize> {
                let first = [$(stringify!($field)),*][0];
                slf.getattr(first)?.len()
            }
        }
    };
}
pub(super) use fields;

fields! {
    /// Estimates of networks, in their order.
    Estimates {
        /// Per cent; of a fine-tuned model, in the unit of its labels.
        accuracy: Py<PyArray1<f64>>,
        /// Lower and upper end of the 90 % interval, a row each.
        interval: Py<PyArray2<f64>>,
        /// Distance from what the model was made from; 1 is the border.
        distance: Py<PyArray1<f64>>,
        /// Whether the distance is at most 1.
        in_distribution: Py<PyArray1<bool>>,
        /// Whether the output depends on the input; what does not can but guess.
        depends_on_input: Py<PyArray1<bool>>,
        /// Parameters; -1 where there is an error.
        parameters: Py<PyArray1<i64>>,
        /// Multiply-accumulates for one input.
        macs: Py<PyArray1<i64>>,
        /// What each accuracy is about.
        target: Vec<String>,
        /// Why this target.
        target_reason: Vec<String>,
        /// What was assumed of each network.
        remarks: Vec<Vec<String>>,
        /// The nearest labelled networks, if they were asked for.
        neighbours: Option<Py<PyAny>>,
        /// Who spoke, if that was asked for.
        voices: Option<Py<PyAny>>,
        /// A row for each network, if they were asked for.
        embedding: Option<Py<PyArray2<f32>>>,
        /// Exceptions by position, with `on_error="nan"`.
        errors: Py<PyDict>,
    }
}
