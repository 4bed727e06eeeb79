//! Labels of the user's own.

use super::error::{Error, Failure, note};
use crate::benchmarks::Networks;
use crate::benchmarks::labels::{self, LabelTable, repeated};
use crate::onnx::ReadOptions;
use crate::spaces::Space;
use std::path::Path;

/// What files of labels are, for the help of commands that read them.
pub(crate) fn help() -> String {
    let formats = labels::formats();
    format!(
        "Labels are {formats}, with a column 'architecture' or 'onnx' and one or more columns of numbers."
    )
}

/// Rows with errors that are told one by one.
const TOLD_ERRORS: usize = 20;

/// A file of labels, read.
pub(crate) struct Labels {
    pub networks: Box<dyn Networks>,
    /// Name of the target column.
    pub target: String,
    /// Rows in the file.
    pub rows: usize,
    /// Whether every row could be used; the user has been told of the others.
    pub complete: Result<(), Error>,
}

impl Labels {
    /// Reads the file `path`, of architectures of `space` or else of ONNX files in `folder`. Rows
    /// that can't be used are reported.
    pub fn read(
        path: &Path,
        space: Option<Space>,
        folder: Option<&Path>,
        target: Option<&str>,
        options: ReadOptions,
    ) -> Result<Self, Error> {
        let table = LabelTable::read(path)?;
        let target = table.target(target)?;
        let (networks, errors): (Box<dyn Networks>, _) = match space {
            Some(space) => table.networks(space, target)?,
            None => {
                let (files, errors) = table.onnx_files(target, folder, options)?;
                (Box::new(files), errors)
            }
        };
        for error in errors.iter().take(TOLD_ERRORS) {
            let hint = error.hint.as_ref().map(ToString::to_string);
            Failure { message: error.to_string(), causes: Vec::new(), hint }.print();
        }
        if errors.len() > TOLD_ERRORS {
            note(&format!("{} more rows have errors", errors.len() - TOLD_ERRORS));
        }
        let repeated = repeated(networks.as_ref());
        if !errors.is_empty() || repeated > 0 {
            note(&format!(
                "{} of {} rows are used; {repeated} of them repeat an architecture",
                networks.len(),
                table.rows()
            ));
        }
        let complete = match errors.as_slice() {
            [] => Ok(()),
            errors if errors.iter().any(|e| e.fault) => Err(Error::Fault),
            _ => Err(Error::Reported),
        };
        let (target, rows) = (target.to_string(), table.rows());
        Ok(Self { networks, target, rows, complete })
    }
}
