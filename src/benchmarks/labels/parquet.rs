//! Tables of labels in Parquet files, row by row.

use super::{BenchmarkError, LabelTable, MAX_BYTES, malformed};
use crate::fault::contain;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use std::fs::File;
use std::path::Path;

impl LabelTable {
    pub(super) fn read_parquet(file: File, path: &Path) -> Result<Self, BenchmarkError> {
        // The reader panics over some of the wrong numbers that a damaged file can hold.
        contain(|| Self::parse_parquet(file, path))
            .unwrap_or_else(|_| Err(malformed(path, "it is a damaged Parquet file")))
    }

    fn parse_parquet(file: File, path: &Path) -> Result<Self, BenchmarkError> {
        let failed = |e| malformed(path, format!("not a Parquet file that can be read: {e}"));
        let mut table = Self::empty(path, "row");
        let reader = SerializedFileReader::new(file).map_err(failed)?;
        // As the file says itself; that a page holds more than that, only unpacking shows.
        let groups = reader.metadata().row_groups().iter();
        let unpacked = groups.fold(0i64, |sum, group| sum.saturating_add(group.total_byte_size()));
        if !(0..=MAX_BYTES as i64).contains(&unpacked) {
            let what = format!("it is too large: a table may have {MAX_BYTES} bytes of text");
            return Err(malformed(path, what));
        }
        let schema = reader.metadata().file_metadata().schema();
        table.columns = schema.get_fields().iter().map(|f| f.name().to_string()).collect();
        table.check_room()?;
        for (row, number) in reader.get_row_iter(None).map_err(failed)?.zip(1..) {
            let row = row.map_err(|e| malformed(path, format!("cannot read row {number}: {e}")))?;
            let fields = row.get_column_iter().map(|(_, field)| match field {
                Field::Null => String::new(),
                Field::Str(text) => text.clone(),
                Field::Float(value) => value.to_string(),
                Field::Double(value) => value.to_string(),
                field => field.to_string(),
            });
            let fields: Vec<String> = fields.collect();
            table.add(number, fields.iter().map(String::as_str))?;
        }
        Ok(table)
    }
}
