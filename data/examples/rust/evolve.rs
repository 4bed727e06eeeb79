//! The estimator in a loop of one's own: keeps mutating the best cell.

use gennape::estimator::Estimator;
use gennape::lower::lower;
use gennape::rand::{SeedableRng, rngs::StdRng};
use gennape::spaces::{Architecture, nasbench201::Cell};
use std::error::Error;

pub fn main() -> Result<(), Box<dyn Error>> {
    let estimator = Estimator::embedded();
    let accuracies = |cells: &[Cell]| -> Result<Vec<f64>, Box<dyn Error>> {
        let graphs: Vec<_> = cells.iter().map(|c| lower(&c.build())).collect::<Result<_, _>>()?;
        Ok(estimator.estimate(&graphs)?.into_iter().map(|e| e.accuracy).collect())
    };
    let mut rng = StdRng::seed_from_u64(0);
    let mut best = Cell::sample(&mut rng);
    let mut accuracy = accuracies(std::slice::from_ref(&best))?[0];
    for _ in 0..20 {
        let cells: Vec<Cell> = (0..32).map(|_| best.mutate(&mut rng)).collect();
        for (cell, estimate) in cells.iter().zip(accuracies(&cells)?) {
            if estimate > accuracy {
                (best, accuracy) = (cell.clone(), estimate);
            }
        }
    }
    println!("{accuracy:.2} %: {best}");
    Ok(())
}
