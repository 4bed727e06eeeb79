//! Accel-NASBench's networks and their accuracy on ImageNet after a shortened training.

use super::catalogue::{Entry, Set, boxed};
use super::{BenchmarkError, Labelled, table};
use crate::spaces::mnasnet::MnasNet;
use std::path::Path;

/// Name of the file.
pub const FILE: &str = "accel_nasbench.csv.gz";

/// What it is, and where it is had.
pub(super) const ENTRY: Entry = Entry {
    name: "accel_nasbench",
    description: "Accel-NASBench: MnasNet's space; ImageNet accuracy of a shortened recipe, \
                  one run",
    rows: Some(5_138),
    licence: "Apache-2.0",
    url: "https://github.com/afzalxo/Accel-NASBench (anb_dataset)",
    size: None,
    preparation: "a CSV with block0_e, block0_k, block0_l, block0_se to block6_se, top1 and \
                  params_m",
    file: FILE,
    sets: &[Set::new(
        "accel_nasbench",
        "Accel-NASBench (MnasNet)",
        "ImageNet top-1 accuracy after a shortened training, per cent",
        FILE,
        |folder| boxed(load(folder)),
    )],
};

const STAGES: usize = 7;
/// What is chosen of each stage, in the order of a [`MnasNet`]'s text form.
#[rustfmt::skip]
const COLUMNS: [&str; 4 * STAGES + 2] = [
    "block0_e", "block1_e", "block2_e", "block3_e", "block4_e", "block5_e", "block6_e",
    "block0_k", "block1_k", "block2_k", "block3_k", "block4_k", "block5_k", "block6_k",
    "block0_l", "block1_l", "block2_l", "block3_l", "block4_l", "block5_l", "block6_l",
    "block0_se", "block1_se", "block2_se", "block3_se", "block4_se", "block5_se", "block6_se",
    "params_m", "top1",
];

/// All networks with their top-1 accuracy, in the file's order. 13 rows repeat the network of an
/// earlier one.
///
/// The authors shortened the training, so the accuracies compare with one another but not with
/// those of other sets.
///
/// Reads the columns `block0_e` to `block6_se`, `params_m` (in millions) and `top1` (in per cent)
/// of [`FILE`].
///
/// # Errors
/// When the file is missing or a field does not hold what it should.
pub fn load(folder: &Path) -> Result<Vec<Labelled<MnasNet>>, BenchmarkError> {
    table::load(&folder.join(FILE), &COLUMNS, |row| {
        let list = |which: usize| -> String {
            let items: Vec<&str> = (0..STAGES).map(|i| row.text(STAGES * which + i)).collect();
            items.join(",")
        };
        let text = format!("[[{}],[{}],[{}],[{}]]", list(0), list(1), list(2), list(3));
        let [parameters, accuracy] = [4 * STAGES, 4 * STAGES + 1];
        let millions: f64 = row.parse(parameters)?;
        if !(0.0..1e6).contains(&millions) {
            return Err(row.error(parameters, format!("{millions} is not a number of millions")));
        }
        Ok(Labelled {
            architecture: text.parse().map_err(|e| row.error(0, e))?,
            // Six decimals are given, so rounding restores the number.
            parameters: Some((millions * 1e6).round() as u64),
            accuracy: row.accuracy(accuracy, 100.0)?,
        })
    })
}
