//! Latencies from a table of measured operations.

use crate::graph::{ComputationGraph, Extent, Node, Operation};
use crate::search::{CandidateNetwork, EvaluationError, Evaluator};
use std::collections::{BTreeSet, HashMap};
use std::io::Read;

/// Columns of the table beside the latency: those that `gennape profile --format csv` prints.
const COLUMNS: [&str; 10] = [
    "operation",
    "input_channels",
    "input_height",
    "input_width",
    "output_channels",
    "output_height",
    "output_width",
    "kernel",
    "stride",
    "groups",
];

/// Rows that are named in an error.
const TOLD: usize = 5;

/// A table of latencies that doesn't hold what is needed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LatencyError {
    /// The file is not CSV.
    #[error("{0}")]
    Csv(#[from] csv::Error),
    /// A column is missing.
    #[error("there is no column '{0}'")]
    Column(&'static str),
    /// A latency is not a number.
    #[error("row {row}: '{text}' is not a latency")]
    Number {
        /// Row, the header not counted, from 1.
        row: usize,
        /// What stands there.
        text: String,
    },
    /// Operations are not in the table.
    #[error("the table has no latency of {count} kinds of operation: {rows}")]
    Missing {
        /// How many.
        count: usize,
        /// The first of them, as rows of the table.
        rows: String,
    },
}

impl LatencyError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        matches!(self, Self::Column(_)).then(|| {
            format!(
                "the columns are {}, as `gennape profile FILE --format csv` prints them, and latency",
                COLUMNS.join(", ")
            )
        })
    }
}

/// The sum of the latencies of a network's operations, as FBNet (Wu et al. 2019) and ProxylessNAS
/// estimate it, in the table's unit. Operations without a row whose kind never occurs in the table
/// count as nothing: activations, say, when only convolutions were measured.
#[derive(Debug, Clone)]
pub struct LatencyTable {
    latencies: HashMap<String, f64>,
    operations: BTreeSet<String>,
}

impl LatencyTable {
    /// Reads a CSV table.
    ///
    /// # Errors
    /// When a column is missing or a latency is not a number.
    pub fn read(file: impl Read) -> Result<Self, LatencyError> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
        let header = reader.headers()?.clone();
        let column = |name: &'static str| {
            header.iter().position(|h| h == name).ok_or(LatencyError::Column(name))
        };
        let keys = COLUMNS.map(column).into_iter().collect::<Result<Vec<_>, _>>()?;
        let latency = column("latency")?;
        let mut table = Self { latencies: HashMap::new(), operations: BTreeSet::new() };
        for (row, record) in reader.records().enumerate() {
            let record = record?;
            let cell = |i: usize| record.get(i).unwrap_or_default();
            let text = cell(latency);
            let number = text.parse::<f64>().ok().filter(|l| l.is_finite());
            let number = number
                .ok_or_else(|| LatencyError::Number { row: row + 1, text: text.to_string() })?;
            let key: Vec<&str> = keys.iter().map(|&k| cell(k)).collect();
            table.operations.insert(key[0].to_string());
            table.latencies.insert(key.join(","), number);
        }
        Ok(table)
    }

    /// The latency of a network.
    ///
    /// # Errors
    /// When the table has other operations of a node's kind, but not this one.
    pub fn latency(&self, graph: &ComputationGraph) -> Result<f64, LatencyError> {
        let (mut sum, mut missing) = (0.0, BTreeSet::new());
        for node in graph.nodes().filter(|n| n.operation != Operation::Input) {
            let key = key(node);
            match self.latencies.get(&key) {
                Some(latency) => sum += latency,
                None if self.operations.contains(node.operation.name()) => {
                    missing.insert(key);
                }
                None => {}
            }
        }
        if missing.is_empty() {
            return Ok(sum);
        }
        let rows: Vec<String> = missing.iter().take(TOLD).cloned().collect();
        Err(LatencyError::Missing { count: missing.len(), rows: rows.join("; ") })
    }
}

/// A node as it stands in the table.
fn key(node: &Node) -> String {
    let extent = |e: &Extent| format!("{},{},{}", e.channels, e.height, e.width);
    let (w, two) = (&node.window, |[a, b]: [u32; 2]| format!("{a}x{b}"));
    let (input, output) = (extent(&node.input), extent(&node.output));
    let (name, kernel, stride) = (node.operation.name(), two(w.kernel), two(w.stride));
    format!("{name},{input},{output},{kernel},{stride},{}", w.groups)
}

impl Evaluator for LatencyTable {
    fn evaluate(&self, networks: &[CandidateNetwork]) -> Result<Vec<f64>, EvaluationError> {
        let latency = |network: &CandidateNetwork| {
            self.latency(&network.graph)
                .map_err(|e| format!("{}: {e}", network.architecture).into())
        };
        networks.iter().map(latency).collect()
    }
}
