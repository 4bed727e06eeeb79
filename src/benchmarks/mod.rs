//! Labelled sets of architectures, and their splits.
//!
//! Sets are tidy files, gzip-compressed CSV with one architecture a row, in a folder that the user
//! names ([`data_folder`]); one module per set says which columns it reads.

pub mod nasbench101;
pub mod nasbench201;
mod split;
mod table;

pub use split::Split;

use std::path::{Path, PathBuf};

/// An architecture and what was measured of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled<A> {
    /// The architecture.
    pub architecture: A,
    /// Test accuracy in per cent.
    pub accuracy: f64,
    /// Trainable parameters, as the file gives them.
    pub parameters: u64,
}

/// Environment variable that names the folder with the labelled sets.
pub const DATA_VARIABLE: &str = "GENNAPE_DATA";

/// Why a labelled set could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchmarkError {
    /// Nobody said where the sets are.
    #[error("no data folder is given\nhint: pass --data FOLDER or set {DATA_VARIABLE}")]
    NoFolder,
    /// The file is missing or not readable.
    #[error(
        "cannot open {}: {source}\nhint: --data FOLDER or {DATA_VARIABLE} must name the folder that \
         holds this file",
        path.display()
    )]
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
    /// A column is not there.
    #[error("{} has no column '{column}'", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
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
