//! Tables of labels as comma- or tab-separated values.

use super::{BYTE_ORDER_MARK, BenchmarkError, LabelTable, MAX_CELLS, MAX_COLUMNS, malformed};
use csv::{ByteRecord, StringRecord};
use std::io::Read;
use std::path::Path;

impl LabelTable {
    pub(super) fn read_csv(
        mut stream: impl Read,
        path: &Path,
        delimiter: u8,
    ) -> Result<Self, BenchmarkError> {
        let failed = |e| BenchmarkError::Read { path: path.to_path_buf(), source: e };
        let mut bytes = Vec::new();
        stream
            .read_to_end(&mut bytes)
            .map_err(|source| BenchmarkError::Unreadable { path: path.to_path_buf(), source })?;
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
        // All of them may stand in one row.
        if bytes.iter().filter(|&&b| b == delimiter).count() > MAX_CELLS {
            let what = format!("it is too large: a table may have about {MAX_CELLS} cells");
            return Err(malformed(path, what));
        }
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(bytes);
        let mut table = Self::empty(path, "line");
        let header = reader.headers().map_err(failed)?;
        if header.len() > MAX_COLUMNS {
            let what = format!("it is too large: a table may have {MAX_COLUMNS} columns");
            return Err(malformed(path, what));
        }
        table.columns = header.iter().map(|name| name.trim().to_string()).collect();
        if header.iter().all(str::is_empty) {
            return Err(malformed(path, "it has no header line"));
        }
        let mut record = ByteRecord::new();
        let (mut line, mut counted) = (1, 0);
        while reader.read_byte_record(&mut record).map_err(failed)? {
            // The reader's own line numbers are those before line ends that it skips.
            let start = record.position().and_then(|p| usize::try_from(p.byte()).ok());
            let rest = start.and_then(|start| bytes.get(start..)).unwrap_or_default();
            let skipped = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            let start = bytes.len() - rest.len() + skipped;
            let passed = bytes.get(counted..start).unwrap_or_default();
            line += passed.iter().map(|&b| u64::from(b == b'\n')).sum::<u64>();
            counted = start;
            let end = usize::try_from(reader.position().byte()).unwrap_or(usize::MAX);
            let text = bytes.get(start..end).unwrap_or_default().trim_ascii_end();
            let count = |byte| text.iter().filter(|&&b| b == byte).count();
            let (below, quotes) = (count(b'\n'), count(b'"'));
            if below > 0 && quotes % 2 == 1 {
                let reason = format!("a quote that is not closed takes in {below} more lines");
                table.reject(line, None, reason)?;
                continue;
            }
            let (found, expected) = (record.len(), table.columns.len());
            if found != expected {
                let reason = format!("{found} fields, but the header has {expected}");
                table.reject(line, None, reason)?;
                continue;
            }
            match StringRecord::from_byte_record(std::mem::take(&mut record)) {
                Ok(fields) => table.add(line, fields.iter())?,
                Err(e) => {
                    let column = table.columns.get(e.utf8_error().field()).cloned();
                    table.reject(line, column, "not UTF-8".to_string())?;
                }
            }
        }
        Ok(table)
    }
}
