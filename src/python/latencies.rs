//! Estimated latencies of several networks.

use super::estimates::fields;
use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

fields! {
    /// Latencies of networks, in their order.
    Latencies {
        /// Milliseconds for one input.
        latency: Py<PyArray1<f64>>,
        /// Lower and upper end of the 90 % interval, a row each.
        interval: Py<PyArray2<f64>>,
        /// Whether the network is like those that were measured.
        in_distribution: Py<PyArray1<bool>>,
        /// Operations that no measured network had.
        unknown: Vec<Vec<String>>,
        /// Milliseconds by class of operation, the most first.
        parts: Py<PyAny>,
    }
}
