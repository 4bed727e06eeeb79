//! Labelled sets of architectures, and their splits.
//!
//! Sets are tidy files, CSV (most gzip-compressed) with one architecture a row, in a folder that
//! the user names ([`data_folder`]); one module per set says which columns it reads. Users' own
//! sets are read by [`labels`].

pub mod accel_nasbench;
pub mod catalogue;
pub mod labels;
pub mod latency;
pub mod metaqnn;
pub mod nasbench101;
pub mod nasbench201;
pub mod nasbench301;
pub mod nasbench_macro;
pub mod real;
mod split;
mod table;
mod target;
mod tfrecord;

pub use catalogue::{CIFAR10, Set};
pub use split::{Split, few_shot, one_of_each};
pub use target::Target;

use crate::fault::contain;
use crate::graph::ComputationGraph;
use crate::hint::Hint;
use crate::lower::lower;
use crate::model_graph::ModelGraph;
use crate::spaces::Architecture;
use std::error::Error;
use std::path::{Path, PathBuf};

/// An architecture and what was measured of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled<A> {
    /// The architecture.
    pub architecture: A,
    /// Test accuracy in per cent; of a user's [labels], the target in the user's unit.
    pub accuracy: f64,
    /// Trainable parameters, where the file gives them.
    pub parameters: Option<u64>,
}

/// Labelled networks, whatever they are made from.
pub trait Networks: Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What people call network `i`.
    fn name(&self, i: usize) -> String;

    /// A text that network `i` shares with those that must be on the same side of a split as it.
    fn class(&self, i: usize) -> String;

    /// What was measured of network `i`; higher is better.
    fn target(&self, i: usize) -> f64;

    /// The model graph of network `i`.
    ///
    /// # Errors
    /// When the network can't be read.
    fn model(&self, i: usize) -> Result<ModelGraph, BenchmarkError>;

    /// The computation graph of network `i`.
    ///
    /// # Errors
    /// When the network can't be read or lowered.
    fn graph(&self, i: usize) -> Result<ComputationGraph, BenchmarkError> {
        let told = |error: &(dyn Error + 'static)| BenchmarkError::network(self.name(i), error);
        match contain(|| Ok(lower(&self.model(i)?))) {
            Ok(Ok(lowered)) => lowered.map_err(|e| told(&e)),
            Ok(Err(error)) => Err(error),
            Err(fault) => Err(told(&fault)),
        }
    }
}

impl<A: Architecture> Networks for Vec<Labelled<A>> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn name(&self, i: usize) -> String {
        self[i].architecture.to_string()
    }

    fn class(&self, i: usize) -> String {
        self[i].architecture.canonical()
    }

    fn target(&self, i: usize) -> f64 {
        self[i].accuracy
    }

    fn model(&self, i: usize) -> Result<ModelGraph, BenchmarkError> {
        Ok(self[i].architecture.build())
    }
}

/// Some of a set's networks.
pub struct Subset<'a> {
    /// The set.
    pub whole: &'a dyn Networks,
    /// Positions in it.
    pub positions: Vec<usize>,
}

impl<'a> Subset<'a> {
    /// The networks whose target is at least `minimum`.
    pub fn at_least(whole: &'a dyn Networks, minimum: f64) -> Self {
        let positions = (0..whole.len()).filter(|&i| whole.target(i) >= minimum).collect();
        Self { whole, positions }
    }
}

impl Networks for Subset<'_> {
    fn len(&self) -> usize {
        self.positions.len()
    }

    fn name(&self, i: usize) -> String {
        self.whole.name(self.positions[i])
    }

    fn class(&self, i: usize) -> String {
        self.whole.class(self.positions[i])
    }

    fn target(&self, i: usize) -> f64 {
        self.whole.target(self.positions[i])
    }

    fn model(&self, i: usize) -> Result<ModelGraph, BenchmarkError> {
        self.whole.model(self.positions[i])
    }
}

/// Environment variable that names the folder with the labelled sets.
pub const DATA_VARIABLE: &str = "GENNAPE_DATA";

/// Why a labelled set could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchmarkError {
    /// Nobody said where the sets are.
    #[error("no data folder is given")]
    NoFolder,
    /// The file is missing or not readable.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not gzip-compressed CSV in UTF-8.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong, and on which line.
        source: csv::Error,
    },
    /// A file that the user names is missing or not readable.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is not said which column is the target.
    #[error("{}: it has several columns of numbers", path.display())]
    Target {
        /// The file.
        path: PathBuf,
        /// The columns that may be meant.
        columns: Vec<String>,
    },
    /// A column is not there.
    #[error("{} has no column '{column}'", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
    },
    /// A network can't be turned into a computation graph.
    #[error("{name}: {reason}")]
    Network {
        /// What people call it.
        name: String,
        /// Why not.
        reason: String,
        /// What to do about it, where that is known.
        hint: Option<Hint>,
    },
    /// A field does not hold what its column should.
    #[error("{}, line {line}, column '{column}': {reason}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// Line in the uncompressed file, from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl BenchmarkError {
    /// What is wrong with a network.
    pub(crate) fn network(name: String, error: &(dyn Error + 'static)) -> Self {
        Self::Network { name, reason: error.to_string(), hint: Hint::for_error(error) }
    }

    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NoFolder => Some(format!("give --data FOLDER, or set {DATA_VARIABLE}").into()),
            Self::Open { .. } => Some(Hint::Words(format!(
                "--data FOLDER or {DATA_VARIABLE} must name the folder that holds this file; \
                 `gennape data list` says where to get it"
            ))),
            Self::Network { hint, .. } => hint.clone(),
            Self::Target { columns, .. } => Some(Hint::TargetColumn(columns.clone())),
            _ => None,
        }
    }
}

/// The folder with the labelled sets: the command line's, else that of [`DATA_VARIABLE`].
///
/// # Errors
/// When neither names one.
pub fn data_folder(argument: Option<&Path>) -> Result<PathBuf, BenchmarkError> {
    match (argument, std::env::var_os(DATA_VARIABLE)) {
        (Some(folder), _) => Ok(folder.to_path_buf()),
        (None, Some(folder)) if !folder.is_empty() => Ok(folder.into()),
        _ => Err(BenchmarkError::NoFolder),
    }
}
