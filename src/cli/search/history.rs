//! What a search has tried; `history.csv`.
//!
//! A CSV table with a row for each network: its architecture, the measures, and a checksum. Rows
//! are only ever added. The checksum is over the settings of the search, all rows before and the
//! row itself, so that a row that was changed, moved, left out or taken from another search is
//! noticed when the search goes on.

use super::folder::Settings;
use crate::cli::error::Error;
use crate::files::{self, Log};
use crate::search::Evaluated;
use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// The last column.
const CHECK: &str = "check";

/// Longest history that is read.
const MAX_BYTES: u64 = 1 << 28;

/// The history of a search under way.
#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
    log: Log,
    chain: Chain,
}

/// What a search knows from before: measures of each architecture.
pub(super) type Known = HashMap<String, Vec<Option<f64>>>;

impl History {
    /// The history at `path` of the search with these settings and measures, and what it holds. A
    /// history that is not there is begun.
    pub fn open<'a>(
        path: &Path,
        settings: &Settings,
        measures: impl Iterator<Item = &'a str>,
    ) -> Result<(Self, Known), Error> {
        let about = |e: Error| e.about(&path.display().to_string());
        let told = |e: io::Error| about(e.into());
        let header: Vec<&str> =
            ["architecture"].into_iter().chain(measures).chain([CHECK]).collect();
        if !path.exists() {
            files::write(path, &row(&header)?).map_err(told)?;
        }
        let (log, content) = Log::open(path, MAX_BYTES).map_err(told)?;
        let mut history = Self { path: path.into(), log, chain: Chain::new(settings)? };
        let known = history.read(&content, &header).map_err(about)?;
        Ok((history, known))
    }

    /// Takes in the rows.
    fn read(&mut self, content: &[u8], header: &[&str]) -> Result<Known, Error> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(content);
        if reader.byte_headers()? != header {
            return Err(Error::user(format!("the columns are not {}", header.join(", "))));
        }
        let mut known = HashMap::new();
        for (record, number) in reader.records().zip(1u64..) {
            let record = record.ok().filter(|record| record.len() == header.len());
            let row = record.as_ref().and_then(|record| {
                let fields: Vec<&str> = record.iter().collect();
                let (check, fields) = fields.split_last()?;
                let (architecture, values) = fields.split_first()?;
                let value = |cell: &&str| match *cell {
                    "" => Some(None),
                    number => number.parse().ok().map(Some),
                };
                let values = values.iter().map(value).collect::<Option<Vec<Option<f64>>>>()?;
                (self.chain.add(fields) == *check).then(|| (architecture.to_string(), values))
            });
            let Some((architecture, values)) = row else {
                let what = format!("row {number} is not as this search wrote it");
                return Err(Error::user(what)
                    .hint("delete it and the rows below: their networks are then measured again"));
            };
            known.insert(architecture, values);
        }
        Ok(known)
    }

    /// Adds evaluated networks.
    pub fn append<C: Display>(&mut self, evaluated: &[&Evaluated<C>]) -> Result<(), Error> {
        let mut rows = Vec::new();
        for e in evaluated {
            let values = e.values.iter().map(|v| v.map_or(String::new(), |v| v.to_string()));
            let mut fields: Vec<String> =
                [e.candidate.to_string()].into_iter().chain(values).collect();
            fields.push(self.chain.add(&fields));
            rows.extend(row(&fields)?);
        }
        self.log.append(&rows).map_err(|e| self.about(e))
    }

    /// Makes what was added last.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.log.sync().map_err(|e| self.about(e))
    }

    fn about(&self, error: io::Error) -> Error {
        Error::from(error).about(&self.path.display().to_string())
    }
}

/// A line of CSV.
fn row(fields: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields)?;
    writer.into_inner().map_err(|e| e.into_error().into())
}

/// Checksums of rows, each over all before.
#[derive(Debug)]
struct Chain([u8; blake3::OUT_LEN]);

impl Chain {
    /// Digits of a checksum that are written.
    const DIGITS: usize = 16;

    /// Of the rows of a search with these settings, whatever its budget, which may change.
    fn new(settings: &Settings) -> Result<Self, Error> {
        let settings = Settings { budget: 0, ..settings.clone() };
        let json = serde_json::to_vec(&settings).map_err(io::Error::from)?;
        Ok(Self(*blake3::hash(&json).as_bytes()))
    }

    /// The checksum of the next row.
    fn add(&mut self, fields: &[impl AsRef<[u8]>]) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for field in fields {
            let field = field.as_ref();
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
        let hash = hasher.finalize();
        self.0 = *hash.as_bytes();
        hash.to_hex()[..Self::DIGITS].to_string()
    }
}
