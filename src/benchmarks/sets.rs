//! The labelled sets that have a name.

use super::{
    BenchmarkError, Labelled, Networks, accel_nasbench, metaqnn, nasbench_macro, nasbench101,
    nasbench201, nasbench301,
};
use crate::spaces::Architecture;
use crate::spaces::nasbench201::{Cell, Dataset, Operation};
use std::path::Path;

/// A labelled set, by name.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    /// The name it goes by.
    pub name: &'static str,
    /// What it holds, in a line.
    pub about: &'static str,
    /// What was measured.
    pub target: &'static str,
    /// Name of its file.
    pub file: &'static str,
    /// Networks with a lower target stay out of its splits.
    pub minimum: f64,
    /// Networks that its splits sample.
    pub sample: usize,
    load: fn(&Path) -> Result<Box<dyn Networks>, BenchmarkError>,
}

impl Set {
    /// Every set.
    pub const ALL: &'static [Self] = &[
        Self {
            minimum: nasbench101::MINIMUM_ACCURACY,
            sample: nasbench101::SAMPLE,
            ..Self::new("nasbench101", "NAS-Bench-101", CIFAR10, nasbench101::FILE, |folder| {
                boxed(nasbench101::load(folder))
            })
        },
        Self::new("nasbench201", "NAS-Bench-201", CIFAR10, nasbench201::FILE, |folder| {
            boxed(nasbench201::load(folder, Dataset::Cifar10))
        }),
        Self::new(
            "nasbench201-no-none",
            "NAS-Bench-201, the cells without 'none'",
            CIFAR10,
            nasbench201::FILE,
            |folder| boxed(nasbench201::load(folder, Dataset::Cifar10).map(without_none)),
        ),
        Self::new(
            "nasbench201-cifar100",
            "NAS-Bench-201",
            "CIFAR-100 test accuracy, per cent",
            nasbench201::FILE,
            |folder| boxed(nasbench201::load(folder, Dataset::Cifar100)),
        ),
        Self::new(
            "nasbench201-imagenet16-120",
            "NAS-Bench-201",
            "ImageNet16-120 test accuracy, per cent",
            nasbench201::FILE,
            |folder| boxed(nasbench201::load(folder, Dataset::ImageNet16_120)),
        ),
        Self::new("nasbench301", "NAS-Bench-301", CIFAR10, nasbench301::FILE, |folder| {
            boxed(nasbench301::load(folder))
        }),
        Self::new("nasbench_macro", "NAS-Bench-Macro", CIFAR10, nasbench_macro::FILE, |folder| {
            boxed(nasbench_macro::load(folder))
        }),
        Self::new(
            "accel_nasbench",
            "Accel-NASBench (MnasNet)",
            "ImageNet top-1 accuracy after a shortened training, per cent",
            accel_nasbench::FILE,
            |folder| boxed(accel_nasbench::load(folder)),
        ),
        Self::new(
            "metaqnn",
            "MetaQNN's plain networks",
            "CIFAR-10 validation accuracy after 20 epochs, per cent",
            metaqnn::FILE,
            |folder| boxed(metaqnn::load(folder)),
        ),
    ];

    const fn new(
        name: &'static str,
        about: &'static str,
        target: &'static str,
        file: &'static str,
        load: fn(&Path) -> Result<Box<dyn Networks>, BenchmarkError>,
    ) -> Self {
        Self { name, about, target, file, minimum: 0.0, sample: usize::MAX, load }
    }

    /// Reads the set from `folder`.
    ///
    /// # Errors
    /// When its file is missing or damaged.
    pub fn load(&self, folder: &Path) -> Result<Box<dyn Networks>, BenchmarkError> {
        (self.load)(folder)
    }
}

/// The target of sets with CIFAR-10 accuracies after full training.
pub const CIFAR10: &str = "CIFAR-10 test accuracy, per cent";

fn boxed<A: Architecture + 'static>(
    set: Result<Vec<Labelled<A>>, BenchmarkError>,
) -> Result<Box<dyn Networks>, BenchmarkError> {
    Ok(Box::new(set?))
}

fn without_none(mut set: Vec<Labelled<Cell>>) -> Vec<Labelled<Cell>> {
    set.retain(|l| !l.architecture.operations().contains(&Operation::None));
    set
}
