//! What labelled sets there are, and where to get them.

use super::table::MAX_BYTES;
use super::{
    BenchmarkError, accel_nasbench, metaqnn, nasbench_macro, nasbench101, nasbench201, nasbench301,
};
use crate::files::{self, Bounded};
use flate2::read::MultiGzDecoder;
use serde::Serialize;
use std::io::{self, Read};
use std::path::Path;

/// A labelled set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
}

/// Every labelled set.
pub const SETS: &[Entry] = &[
    Entry {
        name: "nasbench101",
        description: "NAS-Bench-101: cells of up to 7 vertices; CIFAR-10 accuracy after 4, 12, 36 \
                      and 108 epochs, three runs each",
        rows: Some(423_624),
        licence: "Apache-2.0",
        url: "https://storage.googleapis.com/nasbench/nasbench_only108.tfrecord, or \
              nasbench_full.tfrecord with all budgets",
        size: Some("499 MB, or 1.95 GB"),
        preparation: "gennape data import nasbench101 nasbench_only108.tfrecord",
        file: nasbench101::FILE,
    },
    Entry {
        name: "nasbench201",
        description: "NAS-Bench-201 (NATS-Bench's topology space): cells of 6 edges; accuracy on \
                      CIFAR-10, CIFAR-100 and ImageNet16-120 after 200 epochs",
        rows: Some(15_625),
        licence: "MIT",
        url: "https://github.com/D-X-Y/NATS-Bench (NATS-tss-v1_0-3ffb9-simple.tar)",
        size: None,
        preparation: "python3 scripts/convert_nats_bench.py NATS-tss-v1_0-3ffb9-simple \
                      DATA/nasbench201.csv.gz",
        file: nasbench201::FILE,
    },
    Entry {
        name: "nasbench301",
        description: "NAS-Bench-301: about 60,000 DARTS genotypes that its surrogate models were \
                      fitted to; CIFAR-10 accuracy, one run",
        rows: None,
        licence: "BSD-3-Clause",
        url: "https://figshare.com/articles/dataset/NAS-Bench-301_Dataset_v1_0/13246952",
        size: None,
        preparation: "python3 scripts/convert_nasbench301.py --dataset DIR DATA/nasbench301.csv.gz",
        file: nasbench301::FILE,
    },
    Entry {
        name: "nasbench_macro",
        description: "NAS-Bench-Macro: chains of 8 blocks in the manner of MobileNetV2; CIFAR-10 \
                      accuracy, three runs",
        rows: Some(6_561),
        licence: "Apache-2.0",
        url: "https://github.com/xiusu/NAS-Bench-Macro (nas-bench-macro_cifar10.json)",
        size: None,
        preparation: "python3 scripts/convert_nasbench_macro.py nas-bench-macro_cifar10.json \
                      DATA/nasbench_macro.csv.gz",
        file: nasbench_macro::FILE,
    },
    Entry {
        name: "accel_nasbench",
        description: "Accel-NASBench: MnasNet's space; ImageNet accuracy of a shortened recipe, \
                      one run",
        rows: Some(5_138),
        licence: "Apache-2.0",
        url: "https://github.com/afzalxo/Accel-NASBench (anb_dataset)",
        size: None,
        preparation: "a CSV with block0_e, block0_k, block0_l, block0_se to block6_se, top1 and \
                      params_m",
        file: accel_nasbench::FILE,
    },
    Entry {
        name: "metaqnn",
        description: "MetaQNN: plain convolutional networks as strings of layers; CIFAR-10 \
                      accuracy after each of 20 epochs",
        rows: Some(1_000),
        licence: "MIT",
        url: "https://github.com/MITAutoML/accelerating_nas (data/metaqnn_cifar10.csv)",
        size: None,
        preparation: "none: it is read as it is",
        file: metaqnn::FILE,
    },
];

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
