//! Reading tidy files.

use super::BenchmarkError;
use crate::files::{self, Bounded};
use csv::StringRecord;
use flate2::read::MultiGzDecoder;
use std::fmt::Display;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

/// Most bytes of a tidy file, unpacked; the largest set has 20 million.
pub(super) const MAX_BYTES: u64 = 1 << 28;

/// One row of a tidy file.
pub(super) struct Row<'a> {
    path: &'a Path,
    record: &'a StringRecord,
    /// Names and positions of the columns asked for.
    columns: &'a [(&'static str, usize)],
}

impl Row<'_> {
    /// The text in the `index`th of the columns asked for.
    pub fn text(&self, index: usize) -> &str {
        // The reader refuses rows that are shorter than the header.
        self.record.get(self.columns[index].1).unwrap_or_default()
    }

    /// The value in the `index`th of the columns asked for.
    pub fn parse<T: FromStr<Err: Display>>(&self, index: usize) -> Result<T, BenchmarkError> {
        let text = self.text(index);
        text.parse().map_err(|e| self.error(index, format!("'{text}': {e}")))
    }

    /// The accuracy in a column whose largest possible value is `best`, in per cent.
    pub fn accuracy(&self, index: usize, best: f64) -> Result<f64, BenchmarkError> {
        let value: f64 = self.parse(index)?;
        if !(0.0..=best).contains(&value) {
            return Err(self.error(index, format!("accuracy {value} is not in 0 to {best}")));
        }
        Ok(value * (100.0 / best))
    }

    /// An error about the `index`th of the columns asked for.
    pub fn error(&self, index: usize, reason: impl Display) -> BenchmarkError {
        BenchmarkError::Field {
            path: self.path.to_path_buf(),
            line: self.record.position().map_or(0, csv::Position::line),
            column: self.columns[index].0,
            reason: reason.to_string(),
        }
    }
}

/// Reads `columns` of the file at `path`, a row at a time.
pub(super) fn load<T>(
    path: &Path,
    columns: &[&'static str],
    row: impl FnMut(&Row) -> Result<T, BenchmarkError>,
) -> Result<Vec<T>, BenchmarkError> {
    let file = files::open(path)
        .map_err(|source| BenchmarkError::Open { path: path.to_path_buf(), source })?;
    if path.extension().is_some_and(|e| e == "gz") {
        read(Bounded::new(MultiGzDecoder::new(file), MAX_BYTES), path, columns, row)
    } else {
        read(Bounded::new(file, MAX_BYTES), path, columns, row)
    }
}

/// [`load`] of an uncompressed stream; `path` is for messages.
pub(super) fn read<T>(
    stream: impl Read,
    path: &Path,
    columns: &[&'static str],
    mut row: impl FnMut(&Row) -> Result<T, BenchmarkError>,
) -> Result<Vec<T>, BenchmarkError> {
    let failed = |source| BenchmarkError::Read { path: path.to_path_buf(), source };
    let mut reader = csv::Reader::from_reader(stream);
    let header = reader.headers().map_err(failed)?;
    let columns = columns
        .iter()
        .map(|&column| match header.iter().position(|h| h == column) {
            Some(position) => Ok((column, position)),
            None => Err(BenchmarkError::Column { path: path.to_path_buf(), column }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(failed)? {
        rows.push(row(&Row { path, record: &record, columns: &columns })?);
    }
    Ok(rows)
}
