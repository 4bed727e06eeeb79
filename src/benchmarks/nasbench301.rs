//! NAS-Bench-301's genotypes and their accuracy on CIFAR-10.

use super::catalogue::{CIFAR10, Entry, Set, boxed};
use super::{BenchmarkError, Labelled, table};
use crate::spaces::darts::DartsNetwork;
use std::path::Path;

/// Name of the file, which `scripts/convert_nasbench301.py` makes.
pub const FILE: &str = "nasbench301.csv.gz";

/// What it is, and where it is had.
pub(super) const ENTRY: Entry = Entry {
    name: "nasbench301",
    description: "NAS-Bench-301: about 60,000 DARTS genotypes that its surrogate models were \
                  fitted to; CIFAR-10 accuracy, one run",
    rows: None,
    licence: "BSD-3-Clause",
    url: "https://figshare.com/articles/dataset/NAS-Bench-301_Dataset_v1_0/13246952",
    size: None,
    preparation: "python3 scripts/convert_nasbench301.py --dataset DIR DATA/nasbench301.csv.gz",
    file: FILE,
    sets: &[Set::new("nasbench301", "NAS-Bench-301", CIFAR10, FILE, |folder| boxed(load(folder)))],
};

/// All networks with their test accuracy, in the file's order.
///
/// Reads the columns `architecture` and `accuracy` (in per cent) of [`FILE`].
///
/// # Errors
/// When the file is missing or a field does not hold what it should.
pub fn load(folder: &Path) -> Result<Vec<Labelled<DartsNetwork>>, BenchmarkError> {
    table::load(&folder.join(FILE), &["architecture", "accuracy"], |row| {
        let (architecture, accuracy) = (row.parse(0)?, row.accuracy(1, 100.0)?);
        Ok(Labelled { architecture, parameters: None, accuracy })
    })
}
