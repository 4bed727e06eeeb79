//! A user's own labels: tables with an architecture or an ONNX file and measurements a row.
//!
//! Files are CSV (`.csv`, `.tsv`, also with `.gz`), JSON lines (`.jsonl`, `.ndjson`, also with
//! `.gz`) or, with the feature `parquet`, Parquet (`.parquet`). They have a column [`ARCHITECTURE`] in
//! a search space's own notation, or [`ONNX`] with paths, and any number of others, of which one is
//! the target.
//! This is also the project's own format for labelled sets.
//!
//! A file may come from anywhere: tables hold at most 48 MiB of text, 1,000 columns and about eight
//! million cells, a line of JSON at most 1 MiB. What is compressed is counted as it is unpacked.
//!
//! A row that cannot be used becomes a [`RowError`] and is never lost silently; a file that cannot
//! be read is a [`BenchmarkError`].

mod csv;
mod json_lines;
mod onnx_files;
#[cfg(feature = "parquet")]
mod parquet;

pub use onnx_files::OnnxFiles;

use super::{BenchmarkError, Labelled, Networks};
use crate::fault::Fault;
use crate::files::{self, Bounded};
use crate::hint::Hint;
use crate::spaces::{Architecture, Space, with_architecture};
use flate2::read::MultiGzDecoder;
use rayon::prelude::*;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
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

/// How a table is read.
enum Reader {
    /// From one end to the other, also out of gzip.
    Stream(fn(&mut dyn Read, &Path) -> Result<LabelTable, BenchmarkError>),
    /// Here and there.
    File(fn(File, &Path) -> Result<LabelTable, BenchmarkError>),
}

/// A way to write a table.
struct Format {
    name: &'static str,
    /// Of files' names.
    endings: &'static [&'static str],
    reader: Reader,
}

/// The formats that there are; those that are streams come first.
const FORMATS: [Format; 4] = [
    Format {
        name: "CSV",
        endings: &["csv"],
        reader: Reader::Stream(|stream, path| LabelTable::read_csv(stream, path, b',')),
    },
    Format {
        name: "TSV",
        endings: &["tsv"],
        reader: Reader::Stream(|stream, path| LabelTable::read_csv(stream, path, b'\t')),
    },
    Format {
        name: "JSON lines",
        endings: &["jsonl", "ndjson"],
        reader: Reader::Stream(|stream, path| LabelTable::read_json_lines(stream, path)),
    },
    Format {
        name: "Parquet",
        endings: &["parquet"],
        #[cfg(feature = "parquet")]
        reader: Reader::File(LabelTable::read_parquet),
        #[cfg(not(feature = "parquet"))]
        reader: Reader::File(|_, path| {
            Err(malformed(path, "this build does not read Parquet files"))
        }),
    },
];

/// All of the formats; `zipped` stands for those that can be compressed, which come first.
fn listed(of: impl Fn(&Format) -> Vec<String>, zipped: &str) -> String {
    let stream = |format: &&Format| matches!(format.reader, Reader::Stream(_));
    let (streams, files): (Vec<_>, Vec<_>) = FORMATS.iter().partition(stream);
    let list =
        |formats: Vec<&Format>| formats.into_iter().flat_map(&of).collect::<Vec<_>>().join(", ");
    format!("{} ({zipped} also with .gz) or {}", list(streams), list(files))
}

/// The formats by their names.
pub fn formats() -> String {
    listed(|format| vec![format.name.to_string()], "each")
}

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
        Self { reason: fault.to_string(), hint: Hint::for_error(&fault).map(Box::new), fault: true }
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
        let ending = stem.rsplit('.').next().unwrap_or_default();
        let format = FORMATS.iter().find(|format| format.endings.contains(&ending));
        let open = || files::open(path).map_err(unreadable);
        let limit = MAX_BYTES as u64;
        let table = match format.map(|format| &format.reader) {
            Some(Reader::Stream(read)) if zipped => {
                read(&mut Bounded::new(MultiGzDecoder::new(open()?), limit), path)
            }
            Some(Reader::Stream(read)) => read(&mut Bounded::new(open()?, limit), path),
            Some(Reader::File(read)) if !zipped => read(open()?, path),
            _ => {
                let dotted = |ending: &&str| format!(".{ending}");
                let endings = listed(|format| format.endings.iter().map(dotted).collect(), "these");
                Err(malformed(path, format!("its name does not end with {endings}")))
            }
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

/// Number of networks that are of the same [class](Networks::class) as an earlier one.
pub fn repeated(set: &dyn Networks) -> usize {
    let classes: HashSet<String> = (0..set.len()).into_par_iter().map(|i| set.class(i)).collect();
    set.len() - classes.len()
}

#[cfg(test)]
mod tests;
