//! A user's own labels: tables with an architecture or an ONNX file and measurements a row.
//!
//! Files are CSV (`.csv`, `.tsv`, also with `.gz`), JSON lines (`.jsonl`, `.ndjson`, also with
//! `.gz`) or, with the feature `parquet`, Parquet (`.parquet`). They have a column [`ARCHITECTURE`] in a search space's own
//! notation, or [`ONNX`] with paths, and any number of others, of which one is the target.
//! This is also the project's own format for labelled sets.
//!
//! A file may come from anywhere: tables hold at most 48 MiB of text, 1,000 columns and about eight
//! million cells, a line of JSON at most 1 MiB. What is compressed is counted as it is unpacked.
//!
//! A row that cannot be used becomes a [`RowError`] and is never lost silently; a file that cannot
//! be read is a [`BenchmarkError`].

#[cfg(feature = "parquet")]
mod parquet;

use super::{BenchmarkError, Labelled, Networks};
use crate::fault::{Fault, contain};
use crate::files::{self, Bounded};
use crate::graph::Fingerprint;
use crate::hint::Hint;
use crate::lower::lower;
use crate::model_graph::ModelGraph;
use crate::onnx::{self, ReadOptions};
use crate::spaces::{Architecture, Space, with_architecture};
use csv::{ByteRecord, StringRecord};
use flate2::read::MultiGzDecoder;
use rayon::prelude::*;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The column with architectures.
pub const ARCHITECTURE: &str = "architecture";
/// The column with paths of ONNX files.
pub const ONNX: &str = "onnx";

/// Most bytes of text in a table.
const MAX_BYTES: usize = 48 << 20;

/// Most columns.
const MAX_COLUMNS: usize = 1000;

/// Most that a table takes besides, in cells of four bytes.
const MAX_CELLS: usize = 1 << 23;

/// Cells that a row takes besides its own, and one with an error.
const ROW: usize = 4;
const ERROR: usize = 64;

/// Longest line of JSON.
const MAX_LINE: usize = 1 << 20;

/// What some programs write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a row is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}, {unit} {row}{}: {reason}", path.display(), of_column(column.as_deref()))]
pub struct RowError {
    /// The file.
    pub path: PathBuf,
    /// What `row` counts: `line`, or `row` in Parquet.
    pub unit: &'static str,
    /// Line of the uncompressed file that the row begins on, or row, from 1.
    pub row: u64,
    /// The column, where it is about one.
    pub column: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// What to do about it, where that is known.
    pub hint: Option<Box<Hint>>,
    /// Whether the program is at fault, not the row.
    pub fault: bool,
}

/// What is wrong with a field.
struct Wrong {
    reason: String,
    hint: Option<Box<Hint>>,
    fault: bool,
}

impl From<String> for Wrong {
    fn from(reason: String) -> Self {
        Self { reason, hint: None, fault: false }
    }
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        Self { reason: fault.to_string(), hint: Hint::of(&fault).map(Box::new), fault: true }
    }
}

fn of_column(column: Option<&str>) -> String {
    column.map_or_else(String::new, |column| format!(", column '{column}'"))
}

/// A table of labels, with every value as text: the same table has the same contents in every
/// format.
#[derive(Debug)]
pub struct LabelTable {
    path: PathBuf,
    unit: &'static str,
    columns: Vec<String>,
    rows: Vec<Row>,
    /// The fields of all rows one after the other,
    text: String,
    /// and where each ends.
    ends: Vec<u32>,
    /// Rows that could not be taken apart.
    errors: Vec<RowError>,
}

#[derive(Debug)]
struct Row {
    number: u64,
    /// Position of its first field among those of all rows.
    first: u32,
    /// Number of its fields, in the order of the columns; what is missing at the end is empty.
    fields: u32,
}

impl LabelTable {
    /// Reads a file, whose format its name tells.
    ///
    /// # Errors
    /// When the file is missing, is damaged as a whole, has no or ambiguous columns, or when its
    /// name has an unknown ending.
    pub fn read(path: &Path) -> Result<Self, BenchmarkError> {
        let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
        let (stem, zipped) = name.strip_suffix(".gz").map_or((&*name, false), |stem| (stem, true));
        let unreadable = |source| BenchmarkError::Unreadable { path: path.to_path_buf(), source };
        let open = || -> Result<Box<dyn Read>, BenchmarkError> {
            let file = files::open(path).map_err(unreadable)?;
            let limit = MAX_BYTES as u64;
            Ok(match zipped {
                true => Box::new(Bounded::new(MultiGzDecoder::new(file), limit)),
                false => Box::new(Bounded::new(file, limit)),
            })
        };
        let table = match stem.rsplit('.').next() {
            Some("csv") => Self::read_csv(open()?, path, b','),
            Some("tsv") => Self::read_csv(open()?, path, b'\t'),
            Some("jsonl" | "ndjson") => Self::read_json_lines(open()?, path),
            #[cfg(feature = "parquet")]
            Some("parquet") if !zipped => {
                Self::read_parquet(files::open(path).map_err(unreadable)?, path)
            }
            #[cfg(not(feature = "parquet"))]
            Some("parquet") if !zipped => {
                Err(malformed(path, "this build does not read Parquet files"))
            }
            _ => Err(malformed(
                path,
                "its name does not end with .csv, .tsv, .jsonl, .ndjson (these also with .gz) or \
                 .parquet",
            )),
        }?;
        let mut names = HashSet::new();
        match table.columns.iter().find(|column| !names.insert(column.as_str())) {
            Some(column) => Err(malformed(path, format!("it has two columns '{column}'"))),
            None => Ok(table),
        }
    }

    fn empty(path: &Path, unit: &'static str) -> Self {
        let path = path.to_path_buf();
        Self {
            path,
            unit,
            columns: Vec::new(),
            rows: Vec::new(),
            text: String::new(),
            ends: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Adds a row.
    fn add<'a>(
        &mut self,
        number: u64,
        fields: impl Iterator<Item = &'a str>,
    ) -> Result<(), BenchmarkError> {
        let first = self.ends.len();
        for field in fields {
            self.text.push_str(field);
            self.check_room()?;
            // Less than the limit.
            self.ends.push(self.text.len() as u32);
        }
        let fields = self.ends.len() - first;
        self.rows.push(Row { number, first: first as u32, fields: fields as u32 });
        self.check_room()
    }

    /// # Errors
    /// When the table is larger than one may be.
    fn check_room(&self) -> Result<(), BenchmarkError> {
        let cells = self.ends.len() + ROW * self.rows.len() + ERROR * self.errors.len();
        let limit = match () {
            () if self.text.len() > MAX_BYTES => format!("{MAX_BYTES} bytes of text"),
            () if self.columns.len() > MAX_COLUMNS => format!("{MAX_COLUMNS} columns"),
            () if cells > MAX_CELLS => format!("about {MAX_CELLS} cells"),
            () => return Ok(()),
        };
        Err(malformed(&self.path, format!("it is too large: a table may have {limit}")))
    }

    /// The text in a column of a row.
    fn field(&self, row: &Row, column: usize) -> &str {
        if column >= row.fields as usize {
            return "";
        }
        let at = row.first as usize + column;
        let end = |at: usize| self.ends.get(at).map_or(0, |&end| end as usize);
        let start = at.checked_sub(1).map_or(0, end);
        self.text.get(start..end(at)).unwrap_or_default()
    }

    fn read_csv(mut stream: impl Read, path: &Path, delimiter: u8) -> Result<Self, BenchmarkError> {
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

    fn read_json_lines(stream: impl Read, path: &Path) -> Result<Self, BenchmarkError> {
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

    fn reject(
        &mut self,
        number: u64,
        column: Option<String>,
        reason: String,
    ) -> Result<(), BenchmarkError> {
        self.errors.push(self.row_error(number, column, reason.into()));
        self.check_room()
    }

    fn row_error(&self, row: u64, column: Option<String>, wrong: Wrong) -> RowError {
        let Wrong { reason, hint, fault } = wrong;
        RowError { path: self.path.clone(), unit: self.unit, row, column, reason, hint, fault }
    }

    /// Names of the columns, in the order of the file.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Number of rows in the file, unreadable ones included.
    pub fn rows(&self) -> usize {
        self.rows.len() + self.errors.len()
    }

    /// The target column: `name`, else the only column beside [`ARCHITECTURE`] and [`ONNX`] that
    /// holds numbers in more than half of the rows where it holds something.
    ///
    /// # Errors
    /// When there is no such column, or more than one; the error lists the candidates.
    pub fn target<'a>(&'a self, name: Option<&'a str>) -> Result<&'a str, BenchmarkError> {
        if let Some(name) = name {
            return self.position(name).map(|_| name);
        }
        let candidates = self.candidates();
        match candidates[..] {
            [target] => Ok(target),
            [] => Err(malformed(&self.path, "it has no column of numbers to be the target")),
            _ => Err(BenchmarkError::Target {
                path: self.path.clone(),
                columns: candidates.into_iter().map(str::to_string).collect(),
            }),
        }
    }

    fn candidates(&self) -> Vec<&str> {
        let numeric = |position: usize| {
            let (mut numbers, mut texts) = (0usize, 0usize);
            for row in &self.rows {
                match self.field(row, position).trim() {
                    "" => {}
                    text if text.parse::<f64>().is_ok() => numbers += 1,
                    _ => texts += 1,
                }
            }
            numbers > texts
        };
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(i, name)| *name != ARCHITECTURE && *name != ONNX && numeric(*i))
            .map(|(_, name)| name.as_str())
            .collect()
    }

    fn position(&self, column: &str) -> Result<usize, BenchmarkError> {
        self.columns.iter().position(|c| c == column).ok_or_else(|| {
            let names = self.columns.join(", ");
            malformed(&self.path, format!("it has no column '{column}'; it has {names}"))
        })
    }

    /// Architectures of a space with the values of `target`, in the file's order, and an error for
    /// each row that has not got both.
    ///
    /// # Errors
    /// When there is no column [`ARCHITECTURE`] or none named `target`.
    pub fn architectures<A: Architecture>(
        &self,
        target: &str,
    ) -> Result<(Vec<Labelled<A>>, Vec<RowError>), BenchmarkError> {
        self.labelled(ARCHITECTURE, target, |text| {
            text.parse().map_err(|e: crate::spaces::ParseError| e.to_string().into())
        })
    }

    /// [`architectures`](Self::architectures) of a space that is known at run time only.
    ///
    /// # Errors
    /// When there is no column [`ARCHITECTURE`] or none named `target`.
    pub fn networks(
        &self,
        space: Space,
        target: &str,
    ) -> Result<(Box<dyn Networks>, Vec<RowError>), BenchmarkError> {
        with_architecture!(space, A => {
            let (set, errors) = self.architectures::<A>(target)?;
            Ok((Box::new(set) as Box<dyn Networks>, errors))
        })
    }

    /// ONNX files with the values of `target`, in the file's order, and an error for each row that
    /// has not got both, or whose file cannot be read and lowered. Paths are relative to `folder`,
    /// or else to the folder of the table.
    ///
    /// # Errors
    /// When there is no column [`ONNX`] or none named `target`.
    pub fn onnx_files(
        &self,
        target: &str,
        folder: Option<&Path>,
        options: ReadOptions,
    ) -> Result<(OnnxFiles, Vec<RowError>), BenchmarkError> {
        let folder = folder.or_else(|| self.path.parent()).unwrap_or(Path::new(""));
        let (files, errors) = self.labelled(ONNX, target, |text| {
            let path = folder.join(text);
            let about = |e: &dyn Display| Wrong::from(format!("{}: {e}", path.display()));
            let fingerprint = contain(|| {
                let read = onnx::read(&path, &options);
                let model =
                    read.map_err(|e| Wrong { hint: e.hint().map(Box::new), ..about(&e) })?;
                Ok::<_, Wrong>(lower(&model).map_err(|e| about(&e))?.fingerprint())
            })??;
            Ok((path, fingerprint))
        })?;
        Ok((OnnxFiles { files, options }, errors))
    }

    fn labelled<T: Send>(
        &self,
        subject: &str,
        target: &str,
        parse: impl Fn(&str) -> Result<T, Wrong> + Sync,
    ) -> Result<(Vec<Labelled<T>>, Vec<RowError>), BenchmarkError> {
        let (subject, target) = (self.position(subject)?, self.position(target)?);
        let read = |row: &Row| {
            let architecture = self.value(row, subject, &parse)?;
            let accuracy = self.value(row, target, number)?;
            Ok(Labelled { architecture, accuracy, parameters: None })
        };
        let results: Vec<Result<_, RowError>> = self.rows.par_iter().map(read).collect();
        let (mut labelled, mut errors) = (Vec::with_capacity(results.len()), self.errors.clone());
        for result in results {
            match result {
                Ok(row) => labelled.push(row),
                Err(e) => errors.push(e),
            }
        }
        errors.sort_by_key(|e| e.row);
        Ok((labelled, errors))
    }

    fn value<T>(
        &self,
        row: &Row,
        column: usize,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Result<T, RowError> {
        match self.field(row, column).trim() {
            "" => Err("empty".to_string().into()),
            text => parse(text),
        }
        .map_err(|wrong| self.row_error(row.number, self.columns.get(column).cloned(), wrong))
    }
}

fn number(text: &str) -> Result<f64, Wrong> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(format!("'{text}' is not finite").into()),
        Err(_) => Err(format!("'{text}' is not a number").into()),
    }
}

fn malformed(path: &Path, reason: impl Into<String>) -> BenchmarkError {
    BenchmarkError::Malformed { path: path.to_path_buf(), reason: reason.into() }
}

/// Labelled ONNX files.
#[derive(Debug)]
pub struct OnnxFiles {
    files: Vec<Labelled<(PathBuf, Fingerprint)>>,
    options: ReadOptions,
}

impl Networks for OnnxFiles {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn name(&self, i: usize) -> String {
        self.files[i].architecture.0.display().to_string()
    }

    fn class(&self, i: usize) -> String {
        self.files[i].architecture.1.to_string()
    }

    fn target(&self, i: usize) -> f64 {
        self.files[i].accuracy
    }

    fn model(&self, i: usize) -> Result<ModelGraph, BenchmarkError> {
        onnx::read(&self.files[i].architecture.0, &self.options)
            .map_err(|e| BenchmarkError::network(self.name(i), &e))
    }
}

/// Number of networks that are of the same [class](Networks::class) as an earlier one.
pub fn repeated(set: &dyn Networks) -> usize {
    let classes: HashSet<String> = (0..set.len()).into_par_iter().map(|i| set.class(i)).collect();
    set.len() - classes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spaces::nasbench201::Cell;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/labels").join(name)
    }

    fn csv(text: &[u8]) -> Result<LabelTable, BenchmarkError> {
        LabelTable::read_csv(text, Path::new("my.csv"), b',')
    }

    fn json(text: &str) -> Result<LabelTable, BenchmarkError> {
        LabelTable::read_json_lines(text.as_bytes(), Path::new("my.jsonl"))
    }

    fn texts(errors: &[RowError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    /// One table that Python wrote in every format.
    #[test]
    fn every_format_holds_the_same_labels() {
        let read = |name: &str, target: &str| {
            let table = LabelTable::read(&fixture(name)).unwrap();
            assert_eq!(table.rows(), 6, "{name}");
            let (set, errors) = table.architectures::<Cell>(target).unwrap();
            let errors: Vec<_> = errors.into_iter().map(|e| (e.column, e.reason)).collect();
            (set, errors)
        };
        let (expected, errors) = read("labels.csv", "accuracy");
        let accuracies: Vec<f64> = expected.iter().map(|l| l.accuracy).collect();
        assert_eq!(accuracies, [94.25, 71.1, 1e-7, 93.0]);
        assert_eq!(repeated(&expected), 1);
        assert!(errors[0].1.starts_with("'|conv~0|' is not a nasbench201 architecture"));
        assert_eq!(errors[1], (Some("accuracy".to_string()), "empty".to_string()));
        for name in [
            "labels.csv.gz",
            "labels.tsv",
            "labels.jsonl",
            "none.parquet",
            "snappy.parquet",
            "gzip.parquet",
        ] {
            assert_eq!(read(name, "accuracy"), (expected.clone(), errors.clone()), "{name}");
            assert_eq!(read(name, "epochs").0[4].accuracy, 200.0, "{name}");
        }
    }

    #[test]
    fn rows_are_counted_as_in_the_file() {
        let bad = |name: &str| {
            let table = LabelTable::read(&fixture(name)).unwrap();
            let (_, errors) = table.architectures::<Cell>("accuracy").unwrap();
            errors.iter().map(|e| (e.unit, e.row)).collect::<Vec<_>>()
        };
        assert_eq!(bad("labels.csv"), [("line", 4), ("line", 6)]);
        assert_eq!(bad("labels.jsonl"), [("line", 3), ("line", 5)]);
        assert_eq!(bad("none.parquet"), [("row", 3), ("row", 5)]);
    }

    #[test]
    fn every_bad_row_is_reported_with_its_line() {
        let text = b"architecture,accuracy\r\n\
            x,1\r\n\
            \r\n\
            x,2\r\n\
            \"a quoted\r\nline break\",3\r\n\
            x,nan\r\n\
            x,4,5\r\n\
            x\r\n\
            \xff,6\r\n\
            x,high\r\n\
            x,\r\n";
        let table = csv(text).unwrap();
        let (set, errors) =
            table.labelled(ARCHITECTURE, "accuracy", |text| Ok(text.to_string())).unwrap();
        let values: Vec<f64> = set.iter().map(|l| l.accuracy).collect();
        assert_eq!(values, [1.0, 2.0, 3.0]);
        assert_eq!(table.rows(), 9);
        assert_eq!(
            texts(&errors),
            [
                "my.csv, line 7, column 'accuracy': 'nan' is not finite",
                "my.csv, line 8: 3 fields, but the header has 2",
                "my.csv, line 9: 1 fields, but the header has 2",
                "my.csv, line 10, column 'architecture': not UTF-8",
                "my.csv, line 11, column 'accuracy': 'high' is not a number",
                "my.csv, line 12, column 'accuracy': empty",
            ]
        );
    }

    /// Without this, all rows below would be part of a note.
    #[test]
    fn a_quote_that_is_not_closed_loses_no_row_silently() {
        let table = csv(b"architecture,accuracy,note\n\
            x,1,5\" disk\n\
            x,2,\"two\nlines\"\n\
            x,3,\"open\n\
            x,4,a\n\
            x,5,b\n")
        .unwrap();
        let (set, errors) =
            table.labelled(ARCHITECTURE, "accuracy", |text| Ok(text.to_string())).unwrap();
        assert_eq!(set.len(), 2);
        let message = "my.csv, line 5: a quote that is not closed takes in 2 more lines";
        assert_eq!(texts(&errors), [message]);
    }

    #[test]
    fn json_rows_may_differ() {
        let table = json(
            "\u{feff}{\"architecture\": \"x\", \"accuracy\": 1}\n\
             \n\
             {\"accuracy\": \"2.5\", \"late\": 3, \"architecture\": \"x\"}\n\
             {\"architecture\": \"x\"\n\
             [1]\n\
             {\"architecture\": \"x\", \"accuracy\": [4]}\n\
             {\"architecture\": \"x\", \"accuracy\": null}\n\
             {\"architecture\": 5, \"accuracy\": 6}",
        )
        .unwrap();
        let (set, errors) =
            table.labelled(ARCHITECTURE, "accuracy", |text| Ok(text.to_string())).unwrap();
        let values: Vec<_> = set.iter().map(|l| (&*l.architecture, l.accuracy)).collect();
        assert_eq!(values, [("x", 1.0), ("x", 2.5), ("5", 6.0)]);
        assert_eq!(errors.iter().map(|e| e.row).collect::<Vec<_>>(), [4, 5, 6, 7]);
        assert_eq!(errors[2].reason, "'[4]' is not a number");
        let (set, errors) =
            table.labelled(ARCHITECTURE, "late", |text| Ok(text.to_string())).unwrap();
        assert_eq!((set.len(), errors.len()), (1, 6));
    }

    #[test]
    fn the_target_is_the_only_column_of_numbers() {
        let table = csv(b"architecture,note,top1\n0012,a,1\n0012,2,x\n0012,c,3\n").unwrap();
        assert_eq!(table.target(None).unwrap(), "top1");
        assert_eq!(table.target(Some("note")).unwrap(), "note");
        let error = table.target(Some("top5")).unwrap_err().to_string();
        assert_eq!(error, "my.csv: it has no column 'top5'; it has architecture, note, top1");
        let error = csv(b"architecture,a,b\nx,1,2\n").unwrap().target(None).unwrap_err();
        assert!(error.to_string().ends_with("several columns of numbers"), "{error}");
        assert!(error.hint().unwrap().to_string().starts_with("name the target: a, b;"));
        assert!(csv(b"architecture\nx\n").unwrap().target(None).is_err());
    }

    #[test]
    fn files_of_networks_are_read_where_they_are() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/examples");
        let text = b"onnx,accuracy\nresnet18.onnx,69.8\nabsent.onnx,2\n../../Cargo.toml,3\n\
            ./resnet18.onnx,69.9\n";
        let table = LabelTable { path: examples.join("my.csv"), ..csv(text).unwrap() };
        let options = ReadOptions::default;
        let (set, errors) = table.onnx_files("accuracy", None, options()).unwrap();
        assert_eq!((set.len(), set.target(1), repeated(&set)), (2, 69.9, 1));
        assert_eq!(set.graph(0).unwrap().fingerprint().to_string(), set.class(1));
        let rows: Vec<_> = errors.iter().map(|e| (e.row, e.column.as_deref())).collect();
        assert_eq!(rows, [(3, Some(ONNX)), (4, Some(ONNX))]);
        assert!(errors[0].reason.contains("absent.onnx: "), "{}", errors[0]);
        let elsewhere = Some(Path::new("no/folder"));
        let (set, errors) = table.onnx_files("accuracy", elsewhere, options()).unwrap();
        assert_eq!((set.len(), errors.len()), (0, 4));
    }

    #[test]
    fn spaces_are_told_apart_at_run_time() {
        let table = LabelTable::read(&fixture("labels.csv")).unwrap();
        let (set, errors) = table.networks(Space::NasBench201, "accuracy").unwrap();
        assert_eq!((set.len(), errors.len()), (4, 2));
        let (set, errors) = table.networks(Space::NasBench101, "accuracy").unwrap();
        assert_eq!((set.len(), errors.len()), (0, 6));
    }

    #[test]
    fn whole_files_that_cannot_be_read_say_why() {
        assert!(csv(b"").unwrap_err().to_string().contains("no header"));
        assert!(json("\n").unwrap_err().to_string().contains("empty"));
        for (path, message) in [
            (Path::new("no/such.csv").to_path_buf(), "cannot read no/such.csv: "),
            (Path::new("labels.xlsx").to_path_buf(), "does not end with"),
        ] {
            let error = LabelTable::read(&path).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    /// Damage in a Parquet file is an error or changes values; it does not end the program.
    #[test]
    fn damaged_parquet_files_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.parquet");
        for name in ["none.parquet", "snappy.parquet", "gzip.parquet"] {
            let whole = std::fs::read(fixture(name)).unwrap();
            for position in (0..whole.len()).step_by(13) {
                for flipped in [0x01, 0xff] {
                    let mut bytes = whole.clone();
                    bytes[position] ^= flipped;
                    std::fs::write(&path, &bytes).unwrap();
                    let _ = LabelTable::read(&path);
                }
                std::fs::write(&path, &whole[..position]).unwrap();
                assert!(LabelTable::read(&path).is_err(), "cut at {position}");
            }
        }
    }

    /// Little on disk that would be much in memory, or never end.
    #[test]
    fn what_is_too_large_for_a_table_is_said_at_once() {
        use flate2::{Compression, write::GzEncoder};
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let zipped = |name: &str, start: &str, part: &str, times: usize| {
            let path = folder.path().join(name);
            let file = std::fs::File::create(&path).unwrap();
            let mut out = GzEncoder::new(file, Compression::fast());
            out.write_all(start.as_bytes()).unwrap();
            let part = part.repeat(1000);
            (0..times / 1000).for_each(|_| out.write_all(part.as_bytes()).unwrap());
            out.finish().unwrap();
            path
        };
        let keys = |range: std::ops::Range<usize>| -> String {
            range.map(|i| format!("{{\"key{i}\": {i}}}\n")).collect()
        };
        for (path, message) in [
            (zipped("text.csv.gz", "a,b\n", &" ".repeat(1000), 60_000), "holds more than 50331648"),
            (zipped("lines.jsonl.gz", "", "\n", 60_000_000), "holds more than 50331648"),
            (zipped("rows.csv.gz", "a\n", "1\n", 4_000_000), "may have about 8388608 cells"),
            (zipped("row.csv.gz", "a\n", ",", 9_000_000), "may have about 8388608 cells"),
            (zipped("errors.csv.gz", "a\n", "1,2\n", 1_000_000), "about 8388608 cells"),
            (zipped("errors.jsonl.gz", "", "[]\n", 1_000_000), "about 8388608 cells"),
            (zipped("columns.csv.gz", "a", ",b", 2000), "may have 1000 columns"),
            (zipped("keys.jsonl.gz", &keys(0..2000), "", 0), "may have 1000 columns"),
        ] {
            let told = LabelTable::read(&path).unwrap_err().to_string();
            assert!(told.contains(message), "{}: {told}", path.display());
        }
        // As many rows as the largest set has.
        let cell = "|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|,93.21,0.5,1\n";
        let path = zipped("large.csv.gz", "architecture,top1,time,seed\n", cell, 424_000);
        assert_eq!(LabelTable::read(&path).unwrap().rows(), 424_000);
        let long = format!("{{\"a\": \"{}\"}}\n{{\"a\": 1}}\n", "x".repeat(MAX_LINE));
        let table = LabelTable::read(&zipped("long.jsonl.gz", &long, "", 0)).unwrap();
        assert!(table.errors[0].to_string().contains("longer than"), "{}", table.errors[0]);
        assert_eq!(table.rows(), 2);
    }
}
