//! MetaQNN's plain networks and their accuracy on CIFAR-10 (Baker et al. 2018, "Accelerating
//! Neural Architecture Search using Performance Prediction", arXiv 1705.10823).

use super::catalogue::{Entry, Set, boxed};
use super::{BenchmarkError, Labelled, table};
use crate::spaces::plain::PlainNetwork;
use std::path::Path;

/// Name of the file, which is not compressed.
pub const FILE: &str = "metaqnn_cifar10.csv";

/// What it is, and where it is had.
pub(super) const ENTRY: Entry = Entry {
    name: "metaqnn",
    description: "MetaQNN: plain convolutional networks as strings of layers; CIFAR-10 \
                  accuracy after each of 20 epochs",
    rows: Some(1_000),
    licence: "MIT",
    url: "https://github.com/MITAutoML/accelerating_nas (data/metaqnn_cifar10.csv)",
    size: None,
    preparation: "none: it is read as it is",
    file: FILE,
    sets: &[Set::new(
        "metaqnn",
        "MetaQNN's plain networks",
        "CIFAR-10 validation accuracy after 20 epochs, per cent",
        FILE,
        |folder| boxed(load(folder)),
    )],
};

/// All networks with their validation accuracy after 20 epochs, in the file's order.
///
/// `parameters` are the file's, which leave out biases and the last layer, for which they count
/// the layer before it twice when that is convolutional or fully connected and applies to its own
/// output.
///
/// Reads the columns `net`, `num_params` and `acc_20` (a fraction) of [`FILE`].
///
/// # Errors
/// When the file is missing or a field does not hold what it should.
pub fn load(folder: &Path) -> Result<Vec<Labelled<PlainNetwork>>, BenchmarkError> {
    table::load(&folder.join(FILE), &["net", "num_params", "acc_20"], |row| {
        Ok(Labelled {
            architecture: row.parse(0)?,
            parameters: Some(row.parse(1)?),
            accuracy: row.accuracy(2, 1.0)?,
        })
    })
}
