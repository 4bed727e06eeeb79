//! NAS-Bench-101's cells and their accuracy on CIFAR-10.

pub mod official;

use super::catalogue::{CIFAR10, Entry, Set, boxed};
use super::table::{self, Row};
use super::{BenchmarkError, Labelled};
use crate::spaces::nasbench101::Cell;
use std::path::Path;

/// Name of the file.
pub const FILE: &str = "nasbench101.csv.gz";

/// Networks below this accuracy, in per cent, are left out by GENNAPE's protocol.
pub const MINIMUM_ACCURACY: f64 = 80.0;

/// Networks that GENNAPE's protocol samples.
pub const SAMPLE: usize = 50_000;

/// What it is, and where it is had.
pub(super) const ENTRY: Entry = Entry {
    name: "nasbench101",
    description: "NAS-Bench-101: cells of up to 7 vertices; CIFAR-10 accuracy after 4, 12, 36 \
                  and 108 epochs, three runs each",
    rows: Some(423_624),
    licence: "Apache-2.0",
    url: "https://storage.googleapis.com/nasbench/nasbench_only108.tfrecord, or \
          nasbench_full.tfrecord with all budgets",
    size: Some("499 MB, or 1.95 GB"),
    preparation: "gennape data import nasbench101 nasbench_only108.tfrecord",
    file: FILE,
    sets: &[Set {
        minimum: MINIMUM_ACCURACY,
        sample: SAMPLE,
        ..Set::new("nasbench101", "NAS-Bench-101", CIFAR10, FILE, |folder| boxed(load(folder)))
    }],
};

/// The column with the mean test accuracy of three runs of 108 epochs.
const ACCURACY: &str = "test_accuracy";

/// All cells with the mean test accuracy of three runs of 108 epochs, in the file's order.
///
/// Reads the columns `edges` and `operations` (the two halves of a [`Cell`]'s text form), `params`
/// and `test_accuracy` (a fraction) of [`FILE`].
///
/// # Errors
/// When the file is missing or a field does not hold what it should.
pub fn load(folder: &Path) -> Result<Vec<Labelled<Cell>>, BenchmarkError> {
    load_column(folder, ACCURACY)
}

/// [`load`] with the accuracy of another column, such as `validation_accuracy_12`; see
/// [`official::write_csv`] for those that an imported file has.
///
/// # Errors
/// When the file is missing, lacks the column, or a field does not hold what it should.
pub fn load_column(
    folder: &Path,
    accuracy: &'static str,
) -> Result<Vec<Labelled<Cell>>, BenchmarkError> {
    table::load(&folder.join(FILE), &columns(accuracy), labelled)
}

fn columns(accuracy: &'static str) -> [&'static str; 4] {
    ["edges", "operations", "params", accuracy]
}

fn labelled(row: &Row) -> Result<Labelled<Cell>, BenchmarkError> {
    let text = format!("{}:{}", row.text(0), row.text(1));
    Ok(Labelled {
        architecture: text.parse().map_err(|e| row.error(0, e))?,
        parameters: Some(row.parse(2)?),
        accuracy: row.accuracy(3, 1.0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Labelled<Cell>>, BenchmarkError> {
        table::read(text.as_bytes(), Path::new("cells.csv"), &columns(ACCURACY), labelled)
    }

    #[test]
    fn columns_are_found_by_name() {
        let rows =
            read("test_accuracy,operations,edges,extra,params\n0.9,3p,110011,x,7\n").unwrap();
        let architecture = "110011:3p".parse().unwrap();
        assert_eq!(rows, [Labelled { architecture, accuracy: 90.0, parameters: Some(7) }]);
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let header = "edges,operations,params,test_accuracy\n110011,3p,7,0.9\n";
        for (row, message) in [
            ("110011,3p,7,90.6", "cells.csv, line 3, column 'test_accuracy': accuracy 90.6"),
            ("110011,3p,7,NaN", "cells.csv, line 3, column 'test_accuracy': accuracy NaN"),
            ("110011,3p,-7,0.9", "cells.csv, line 3, column 'params': '-7'"),
            (
                "110011,3,7,0.9",
                "cells.csv, line 3, column 'edges': '110011:3' is not a nasbench101",
            ),
            ("110011,3p,7", "cells.csv"),
        ] {
            let error = read(&format!("{header}{row}\n")).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let error = read("edges,operations,params\n").unwrap_err().to_string();
        assert_eq!(error, "cells.csv has no column 'test_accuracy'");
    }

    #[test]
    fn missing_file_comes_with_a_hint() {
        let error = load(Path::new("no/such/folder")).unwrap_err();
        assert!(error.to_string().contains("no/such/folder"), "{error}");
        assert!(error.hint().unwrap().to_string().contains("--data"));
    }
}
