//! NAS-Bench-201's cells and their accuracies.

use super::catalogue::{CIFAR10, Entry, Set, boxed};
use super::{BenchmarkError, Labelled, table};
use crate::spaces::nasbench201::{Cell, Dataset, Operation};
use std::path::Path;

/// Name of the file.
pub const FILE: &str = "nasbench201.csv.gz";

/// What it is, and where it is had.
pub(super) const ENTRY: Entry = Entry {
    name: "nasbench201",
    description: "NAS-Bench-201 (NATS-Bench's topology space): cells of 6 edges; accuracy on \
                  CIFAR-10, CIFAR-100 and ImageNet16-120 after 200 epochs",
    rows: Some(15_625),
    licence: "MIT",
    url: "https://github.com/D-X-Y/NATS-Bench (NATS-tss-v1_0-3ffb9-simple.tar)",
    size: None,
    preparation: "python3 scripts/convert_nats_bench.py NATS-tss-v1_0-3ffb9-simple \
                  DATA/nasbench201.csv.gz",
    file: FILE,
    sets: &[
        Set::new("nasbench201", "NAS-Bench-201", CIFAR10, FILE, |folder| {
            boxed(load(folder, Dataset::Cifar10))
        }),
        Set::new(
            "nasbench201-no-none",
            "NAS-Bench-201, the cells without 'none'",
            CIFAR10,
            FILE,
            |folder| boxed(load(folder, Dataset::Cifar10).map(without_none)),
        ),
        Set::new(
            "nasbench201-cifar100",
            "NAS-Bench-201",
            "CIFAR-100 test accuracy, per cent",
            FILE,
            |folder| boxed(load(folder, Dataset::Cifar100)),
        ),
        Set::new(
            "nasbench201-imagenet16-120",
            "NAS-Bench-201",
            "ImageNet16-120 test accuracy, per cent",
            FILE,
            |folder| boxed(load(folder, Dataset::ImageNet16_120)),
        ),
    ],
};

/// All cells with their mean test accuracy on `dataset` after 200 epochs, in the official order.
/// `parameters` are those of the network for CIFAR-10.
///
/// Reads the columns `architecture`, `params` and `cifar10_test_accuracy`,
/// `cifar100_test_accuracy` or `imagenet16_120_test_accuracy` (in per cent) of [`FILE`].
///
/// # Errors
/// When the file is missing or a field does not hold what it should.
pub fn load(folder: &Path, dataset: Dataset) -> Result<Vec<Labelled<Cell>>, BenchmarkError> {
    let accuracy = match dataset {
        Dataset::Cifar10 => "cifar10_test_accuracy",
        Dataset::Cifar100 => "cifar100_test_accuracy",
        Dataset::ImageNet16_120 => "imagenet16_120_test_accuracy",
    };
    table::load(&folder.join(FILE), &["architecture", "params", accuracy], |row| {
        Ok(Labelled {
            architecture: row.parse(0)?,
            parameters: Some(row.parse(1)?),
            accuracy: row.accuracy(2, 100.0)?,
        })
    })
}

fn without_none(mut set: Vec<Labelled<Cell>>) -> Vec<Labelled<Cell>> {
    set.retain(|l| !l.architecture.operations().contains(&Operation::None));
    set
}
