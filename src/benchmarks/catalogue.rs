//! What labelled sets there are, and where to get them.

use super::table::MAX_BYTES;
use super::{
    BenchmarkError, Labelled, Networks, accel_nasbench, metaqnn, nasbench_macro, nasbench101,
    nasbench201, nasbench301,
};
use crate::files::{self, Bounded};
use crate::spaces::Architecture;
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use std::io::{self, Read};
use std::path::Path;

/// An official distribution of labelled sets, read as one file.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Entry {
    /// The name it goes by.
    pub name: &'static str,
    /// The architectures and what was measured of them.
    pub description: &'static str,
    /// Architectures in the whole set, where that is fixed.
    pub rows: Option<u64>,
    /// Licence of the official distribution.
    pub licence: &'static str,
    /// Where the official distribution is.
    pub url: &'static str,
    /// Size of the official distribution, where its authors state it.
    pub size: Option<&'static str>,
    /// How to make [`file`](Self::file) of it.
    pub preparation: &'static str,
    /// Name of the file that is read, in the data folder.
    pub file: &'static str,
    /// The sets that are read from it.
    #[serde(skip)]
    pub sets: &'static [Set],
}

/// Every file of labelled sets.
pub const SETS: &[Entry] = &[
    nasbench101::ENTRY,
    nasbench201::ENTRY,
    nasbench301::ENTRY,
    nasbench_macro::ENTRY,
    accel_nasbench::ENTRY,
    metaqnn::ENTRY,
];

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
    pub(super) load: fn(&Path) -> Result<Box<dyn Networks>, BenchmarkError>,
}

impl Set {
    /// Every set.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        SETS.iter().flat_map(|entry| entry.sets)
    }

    pub(super) const fn new(
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

pub(super) fn boxed<A: Architecture + 'static>(
    set: Result<Vec<Labelled<A>>, BenchmarkError>,
) -> Result<Box<dyn Networks>, BenchmarkError> {
    Ok(Box::new(set?))
}

/// A file of a labelled set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Found {
    /// Size of the file.
    pub bytes: u64,
    /// Rows, without the header.
    pub rows: u64,
}

impl Entry {
    /// The file in `folder`; `None` when there is none.
    ///
    /// # Errors
    /// When the file is not CSV, gzip-compressed if its name says so.
    pub fn find(&self, folder: &Path) -> Result<Option<Found>, BenchmarkError> {
        let path = folder.join(self.file);
        let file = match files::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BenchmarkError::Unreadable { path, source }),
        };
        let bytes = match file.metadata() {
            Ok(metadata) => metadata.len(),
            Err(source) => return Err(BenchmarkError::Unreadable { path, source }),
        };
        let stream: Box<dyn Read> = match self.file.ends_with(".gz") {
            true => Box::new(Bounded::new(MultiGzDecoder::new(file), MAX_BYTES)),
            false => Box::new(Bounded::new(file, MAX_BYTES)),
        };
        let mut reader = csv::Reader::from_reader(stream);
        let mut record = csv::ByteRecord::new();
        let mut rows = 0;
        loop {
            match reader.read_byte_record(&mut record) {
                Ok(true) => rows += 1,
                Ok(false) => return Ok(Some(Found { bytes, rows })),
                Err(source) => return Err(BenchmarkError::Read { path, source }),
            }
        }
    }
}
