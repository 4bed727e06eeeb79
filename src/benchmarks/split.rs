//! Training, validation and test parts.

use super::Networks;
use rayon::prelude::*;
use std::collections::HashSet;

/// Positions in a labelled set, parted for training (80 %), validation (10 %) and test (10 %).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// For fitting weights.
    pub train: Vec<usize>,
    /// For choosing hyperparameters.
    pub validation: Vec<usize>,
    /// For reporting.
    pub test: Vec<usize>,
}

impl Split {
    /// Samples about `size` networks (all, when there are fewer) and parts them.
    ///
    /// Networks are ordered by the blake3 hash of the seed and their [class](Networks::class), so
    /// a split depends neither on the platform nor on the order of the set. Those of one class are
    /// never separated, for which parts grow by a few items where needed.
    pub fn new(set: &dyn Networks, size: usize, seed: u64) -> Self {
        let order = shuffled(set.len(), seed, &|i| set.class(i));
        let size = size.min(order.len());
        let mut split = Self { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
        let mut taken = 0;
        for class in order.chunk_by(|a, b| a.0 == b.0) {
            // In tenths of the sample.
            let part = match taken * 10 {
                t if t < size * 8 => &mut split.train,
                t if t < size * 9 => &mut split.validation,
                t if t < size * 10 => &mut split.test,
                _ => break,
            };
            part.extend(class.iter().map(|&(_, i)| i));
            taken += class.len();
        }
        split
    }
}

/// Positions below `count` with the hash of their texts, in a random order that depends on the seed
/// and the texts alone. Those of one text stand together.
fn shuffled(
    count: usize,
    seed: u64,
    text: &(dyn Fn(usize) -> String + Sync),
) -> Vec<([u8; 32], usize)> {
    let key = |i: usize| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(text(i).as_bytes());
        (*hasher.finalize().as_bytes(), i)
    };
    let mut order: Vec<_> = (0..count).into_par_iter().map(key).collect();
    order.par_sort_unstable();
    order
}

/// Draws `labels` networks, every one as likely as any other, and returns their positions and
/// those of all networks of other classes than theirs.
pub fn few_shot(set: &dyn Networks, labels: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let order = shuffled(set.len(), seed, &|i| set.name(i));
    let drawn: Vec<usize> = order.iter().take(labels).map(|&(_, i)| i).collect();
    let classes: HashSet<String> = drawn.iter().map(|&i| set.class(i)).collect();
    let rest = order.into_par_iter().map(|(_, i)| i).filter(|&i| !classes.contains(&set.class(i)));
    (drawn, rest.collect())
}

/// Positions of one network of each class, in a random order.
pub fn one_of_each(set: &dyn Networks, seed: u64) -> Vec<usize> {
    let mut order = shuffled(set.len(), seed, &|i| set.class(i));
    order.dedup_by(|a, b| a.0 == b.0);
    order.into_iter().map(|(_, i)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Labelled;
    use super::*;
    use crate::spaces::Architecture;
    use crate::spaces::nasbench201::{Cell, Operation};

    fn cells() -> Vec<Labelled<Cell>> {
        let operation = |i: usize, edge: u32| Operation::ALL[i / 5usize.pow(edge) % 5];
        (0..5usize.pow(6))
            .map(|i| Cell::new(std::array::from_fn(|edge| operation(i, edge as u32))))
            .map(|architecture| Labelled { architecture, accuracy: 0.0, parameters: None })
            .collect()
    }

    #[test]
    fn parts_are_disjoint_and_share_no_class() {
        let cells = cells();
        let split = Split::new(&cells, 10_000, 3);
        let sizes = [&split.train, &split.validation, &split.test].map(Vec::len);
        let near = |size: usize, wanted: usize| (wanted..wanted + 300).contains(&size);
        assert!(near(sizes[0], 8000) && near(sizes.iter().sum(), 10_000), "{sizes:?}");
        let classes = |part: &[usize]| -> HashSet<String> {
            part.iter().map(|&i| cells[i].architecture.canonical()).collect()
        };
        let [train, validation, test] =
            [&split.train, &split.validation, &split.test].map(|part| classes(part));
        assert!(train.is_disjoint(&validation) && train.is_disjoint(&test));
        assert!(validation.is_disjoint(&test));
    }

    #[test]
    fn few_shot_networks_share_no_class_with_the_rest() {
        let cells = cells();
        let (drawn, rest) = few_shot(&cells, 500, 1);
        let class = |&i: &usize| cells[i].architecture.canonical();
        let classes: HashSet<String> = drawn.iter().map(class).collect();
        assert_eq!(drawn.len(), 500);
        assert!(rest.iter().all(|i| !classes.contains(&class(i))));
        let all: HashSet<String> = (0..cells.len()).map(|i| class(&i)).collect();
        assert_eq!(rest.iter().map(class).collect::<HashSet<_>>().len(), all.len() - classes.len());
        assert_ne!(drawn, few_shot(&cells, 500, 2).0);
    }

    #[test]
    fn one_of_each_class_is_taken() {
        let cells = cells();
        let class = |&i: &usize| cells[i].architecture.canonical();
        let taken = one_of_each(&cells, 1);
        let classes: HashSet<String> = taken.iter().map(class).collect();
        let all: HashSet<String> = (0..cells.len()).map(|i| class(&i)).collect();
        assert_eq!((taken.len(), &classes), (classes.len(), &all));
        assert_ne!(taken, one_of_each(&cells, 2));
    }

    #[test]
    fn only_the_seed_and_the_architectures_matter() {
        let cells = cells();
        let reversed: Vec<Labelled<Cell>> = cells.iter().rev().cloned().collect();
        let names = |set: &Vec<Labelled<Cell>>, seed| -> HashSet<String> {
            let test = Split::new(set, usize::MAX, seed).test;
            test.into_iter().map(|i| set[i].architecture.to_string()).collect()
        };
        assert_eq!(names(&cells, 1), names(&reversed, 1));
        assert_ne!(names(&cells, 1), names(&cells, 2));
    }
}
