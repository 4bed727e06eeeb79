//! NAS-Bench-Macro's networks and their accuracy on CIFAR-10.

use super::catalogue::{CIFAR10, Entry, Set, boxed};
use super::{BenchmarkError, Labelled, table};
use crate::spaces::nasbench_macro::MacroNetwork;
use std::path::Path;

/// Name of the file.
pub const FILE: &str = "nasbench_macro.csv.gz";

/// What it is, and where it is had.
pub(super) const ENTRY: Entry = Entry {
    name: "nasbench_macro",
    description: "NAS-Bench-Macro: chains of 8 blocks in the manner of MobileNetV2; CIFAR-10 \
                  accuracy, three runs",
    rows: Some(6_561),
    licence: "Apache-2.0",
    url: "https://github.com/xiusu/NAS-Bench-Macro (nas-bench-macro_cifar10.json)",
    size: None,
    preparation: "python3 scripts/convert_nasbench_macro.py nas-bench-macro_cifar10.json \
                  DATA/nasbench_macro.csv.gz",
    file: FILE,
    sets: &[Set::new("nasbench_macro", "NAS-Bench-Macro", CIFAR10, FILE, |folder| {
        boxed(load(folder))
    })],
};

/// All networks with the mean test accuracy of three runs, in the file's order.
///
/// Reads the columns `architecture`, `params` and `mean_test_accuracy` (in per cent) of [`FILE`].
///
/// # Errors
/// When the file is missing or a field does not hold what it should.
pub fn load(folder: &Path) -> Result<Vec<Labelled<MacroNetwork>>, BenchmarkError> {
    let columns = ["architecture", "params", "mean_test_accuracy"];
    table::load(&folder.join(FILE), &columns, |row| {
        Ok(Labelled {
            architecture: row.parse(0)?,
            parameters: Some(row.parse(1)?),
            accuracy: row.accuracy(2, 100.0)?,
        })
    })
}
