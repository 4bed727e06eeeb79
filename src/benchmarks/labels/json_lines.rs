//! Tables of labels with a JSON object a line.

use super::{BYTE_ORDER_MARK, BenchmarkError, LabelTable, malformed};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Longest line.
pub(super) const MAX_LINE: usize = 1 << 20;

impl LabelTable {
    pub(super) fn read_json_lines(stream: impl Read, path: &Path) -> Result<Self, BenchmarkError> {
        let mut table = Self::empty(path, "line");
        let mut positions: HashMap<String, usize> = HashMap::new();
        for (line, number) in BufReader::new(stream).split(b'\n').zip(1..) {
            let line = line.map_err(|source| BenchmarkError::Unreadable {
                path: path.to_path_buf(),
                source,
            })?;
            let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line);
            if line.trim_ascii().is_empty() {
                continue;
            }
            if line.len() > MAX_LINE {
                table.reject(number, None, format!("longer than {MAX_LINE} bytes"))?;
                continue;
            }
            let object = match serde_json::from_slice::<Value>(line) {
                Ok(Value::Object(object)) => object,
                Ok(_) => {
                    table.reject(number, None, "not a JSON object".to_string())?;
                    continue;
                }
                Err(e) => {
                    table.reject(number, None, format!("not JSON: {e}"))?;
                    continue;
                }
            };
            let mut fields = vec![String::new(); table.columns.len()];
            for (key, value) in object {
                let next = fields.len();
                let position = *positions.entry(key).or_insert_with_key(|key| {
                    table.columns.push(key.clone());
                    fields.push(String::new());
                    next
                });
                fields[position] = match value {
                    Value::Null => String::new(),
                    Value::String(text) => text,
                    value => value.to_string(),
                };
            }
            table.add(number, fields.iter().map(String::as_str))?;
        }
        match table.columns.is_empty() && table.errors.is_empty() {
            true => Err(malformed(path, "it is empty")),
            false => Ok(table),
        }
    }
}
