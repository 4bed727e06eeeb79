//! NAS-Bench-101's official files, `nasbench_only108.tfrecord` and `nasbench_full.tfrecord`.
//!
//! A record is one training: a JSON list of the module hash, the number of epochs, the adjacency
//! matrix, the operations, and the base64 of a protocol buffer `ModelMetrics` with evaluations
//! before, half-way and after (`nasbench/api.py` and `lib/model_metrics.proto` of
//! google-research/nasbench). Every cell was trained three times for every budget of epochs.

use super::super::BenchmarkError;
use super::super::tfrecord::{self, Failure, Place};
use crate::files;
use crate::spaces::nasbench101::{Cell, Operation};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protobuf::CodedInputStream;
use protobuf::rt::WireType;
use rayon::prelude::*;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

/// Epochs that cells were trained for; the smaller file has the last only.
pub const BUDGETS: [u32; 4] = [4, 12, 36, 108];
/// Trainings of a cell for each budget.
pub const RUNS: usize = 3;

/// Bytes that are taken apart at a time, in parallel.
const BATCH: usize = 1 << 23;

/// The end of one training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Of 10,000 images held out from training, as a fraction.
    pub validation_accuracy: f64,
    /// Of the 10,000 test images, as a fraction.
    pub test_accuracy: f64,
    /// Seconds of training, evaluation not included.
    pub training_time: f64,
}

/// A cell with its trainings.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The cell.
    pub cell: Cell,
    /// Trainable parameters.
    pub parameters: u64,
    /// [`RUNS`] runs for each of the [`BUDGETS`], none where the file does not have the budget.
    pub runs: [Vec<Run>; BUDGETS.len()],
    hash: [u8; 16],
}

/// What a record says.
struct Record {
    hash: [u8; 16],
    cell: Cell,
    parameters: u64,
    /// Position in [`BUDGETS`].
    budget: usize,
    run: Run,
}

/// The cells of an official file, in ascending order of their module hashes. `progress` is told
/// how many bytes have been read.
///
/// # Errors
/// When the file is missing; when a record is cut off, has a wrong checksum, is not what it should
/// be or has not got the hash of its cell, with the record's number and offset; and when cells
/// have other than [`RUNS`] runs of each budget.
pub fn read(path: &Path, mut progress: impl FnMut(u64)) -> Result<Vec<Trained>, BenchmarkError> {
    let unreadable = |source| BenchmarkError::Unreadable { path: path.to_path_buf(), source };
    let malformed = |reason| BenchmarkError::Malformed { path: path.to_path_buf(), reason };
    let failed = |failure| match failure {
        Failure::Io(source) => unreadable(source),
        Failure::Record(Place { record, offset }, reason) => {
            malformed(format!("record {record} (at byte {offset}): {reason}"))
        }
    };
    let mut reader =
        tfrecord::Reader::new(io::BufReader::new(files::open(path).map_err(unreadable)?));
    let mut cells: Vec<Trained> = Vec::new();
    let mut positions: HashMap<[u8; 16], usize> = HashMap::new();
    loop {
        let batch = reader.batch(BATCH).map_err(failed)?;
        if batch.len() == 0 {
            break;
        }
        let records: Vec<_> =
            (0..batch.len()).into_par_iter().map(|i| batch.parse(i, record)).collect();
        // Computing a hash takes longer than everything else, so once for each cell.
        let mut unverified = Vec::new();
        for record in records {
            let (place, record) = record.map_err(failed)?;
            let position = *positions.entry(record.hash).or_insert(cells.len());
            if position == cells.len() {
                unverified.push((place, position));
                cells.push(Trained {
                    cell: record.cell,
                    parameters: record.parameters,
                    runs: Default::default(),
                    hash: record.hash,
                });
            } else if cells[position].cell != record.cell {
                verify(place, &record.cell, record.hash).map_err(failed)?;
            }
            let runs = &mut cells[position].runs[record.budget];
            if runs.len() == RUNS {
                let budget = BUDGETS[record.budget];
                let reason = format!("more than {RUNS} runs of {budget} epochs for one cell");
                return Err(failed(Failure::Record(place, reason)));
            }
            runs.push(record.run);
        }
        let verified: Vec<_> = unverified
            .into_par_iter()
            .map(|(place, i)| verify(place, &cells[i].cell, cells[i].hash))
            .collect();
        verified.into_iter().collect::<Result<(), _>>().map_err(failed)?;
        progress(reader.offset());
    }
    complete(&cells).map_err(malformed)?;
    cells.sort_unstable_by_key(|c| c.hash);
    Ok(cells)
}

fn verify(place: Place, cell: &Cell, hash: [u8; 16]) -> Result<(), Failure> {
    match cell.module_hash() {
        own if own == hash => Ok(()),
        own => {
            let [own, hash] = [own, hash].map(u128::from_be_bytes);
            let reason = format!("the module hash is {hash:032x}, but that of its cell {own:032x}");
            Err(Failure::Record(place, reason))
        }
    }
}

/// That no run is missing: a file that was cut between two records has no other sign of it.
fn complete(cells: &[Trained]) -> Result<(), String> {
    if cells.is_empty() {
        return Err("there is no record in it".to_string());
    }
    for (i, epochs) in BUDGETS.into_iter().enumerate() {
        let needed = epochs == 108 || cells.iter().any(|c| !c.runs[i].is_empty());
        let short = cells.iter().find(|c| c.runs[i].len() != RUNS);
        if let (true, Some(Trained { cell, runs, .. })) = (needed, short) {
            return Err(format!(
                "cell {cell} has {} runs of {epochs} epochs, not {RUNS}: the file is not complete",
                runs[i].len()
            ));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Fields<'a>(
    #[serde(borrow)] Cow<'a, str>,
    u32,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
    #[serde(borrow)] Cow<'a, str>,
);

fn record(bytes: &[u8]) -> Result<Record, String> {
    let Fields(hash, epochs, adjacency, operations, metrics) =
        serde_json::from_slice(bytes).map_err(|e| format!("not the JSON expected: {e}"))?;
    let hash = match u128::from_str_radix(&hash, 16) {
        Ok(value) if hash.len() == 32 => value.to_be_bytes(),
        _ => return Err(format!("'{hash}' is not a module hash")),
    };
    let Some(budget) = BUDGETS.iter().position(|&b| b == epochs) else {
        return Err(format!("{epochs} epochs are none of {BUDGETS:?}"));
    };
    let cell = cell(&adjacency, &operations)?;
    let mut encoded = metrics.into_owned();
    // Python's older base64 functions break lines.
    encoded.retain(|c| c != '\n');
    let metrics =
        STANDARD.decode(encoded).map_err(|e| format!("the metrics are not base64: {e}"))?;
    let (parameters, run) = model_metrics(&metrics)?;
    Ok(Record { hash, cell, parameters, budget, run })
}

/// The cell with the rows of a square `adjacency` matrix as `0` and `1`, and `operations` with
/// commas between.
fn cell(adjacency: &str, operations: &str) -> Result<Cell, String> {
    let labels: Vec<&str> = operations.split(',').collect();
    let vertices = labels.len();
    let ["input", inner @ .., "output"] = &labels[..] else {
        return Err(format!("operations '{operations}' are not from input to output"));
    };
    let inner = inner
        .iter()
        .map(|&label| match label {
            "conv3x3-bn-relu" => Ok(Operation::Conv3x3BnRelu),
            "conv1x1-bn-relu" => Ok(Operation::Conv1x1BnRelu),
            "maxpool3x3" => Ok(Operation::MaxPool3x3),
            _ => Err(format!("unknown operation '{label}'")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if Some(adjacency.len()) != vertices.checked_mul(vertices) {
        let entries = adjacency.len();
        return Err(format!("{vertices} operations, but a matrix of {entries} entries"));
    }
    let mut edges = Vec::new();
    for (i, entry) in adjacency.bytes().enumerate() {
        match entry {
            b'0' => {}
            b'1' => edges.push((i / vertices, i % vertices)),
            _ => return Err(format!("the matrix '{adjacency}' has other entries than 0 and 1")),
        }
    }
    Cell::new(&edges, &inner)
}

/// Trainable parameters and the last of three evaluations.
fn model_metrics(bytes: &[u8]) -> Result<(u64, Run), String> {
    let mut input = CodedInputStream::from_bytes(bytes);
    let mut parameters = None;
    let mut evaluations = Vec::new();
    let mut fields = || -> protobuf::Result<()> {
        while let Some(tag) = input.read_raw_tag_or_eof()? {
            match tag {
                // Field number and wire type: length-delimited is 2, varint 0, 64 bits 1.
                0x0a => evaluations.push(input.read_bytes()?),
                0x10 => parameters = Some(input.read_int32()?),
                _ => skip(tag, &mut input)?,
            }
        }
        Ok(())
    };
    fields().map_err(|e| format!("the metrics are not a protocol buffer: {e}"))?;
    let parameters = parameters.ok_or("the metrics lack the number of parameters")?;
    let parameters = u64::try_from(parameters).map_err(|_| format!("{parameters} parameters"))?;
    match &evaluations[..] {
        [_, _, last] => Ok((parameters, evaluation(last)?)),
        _ => Err(format!("{} evaluations instead of 3", evaluations.len())),
    }
}

fn evaluation(bytes: &[u8]) -> Result<Run, String> {
    let mut input = CodedInputStream::from_bytes(bytes);
    let (mut time, mut validation, mut test) = (None, None, None);
    let mut fields = || -> protobuf::Result<()> {
        while let Some(tag) = input.read_raw_tag_or_eof()? {
            match tag {
                0x11 => time = Some(input.read_double()?),
                0x21 => validation = Some(input.read_double()?),
                0x29 => test = Some(input.read_double()?),
                _ => skip(tag, &mut input)?,
            }
        }
        Ok(())
    };
    fields().map_err(|e| format!("an evaluation is not a protocol buffer: {e}"))?;
    let within = |value: Option<f64>, what: &str, most: f64| match value {
        Some(value) if (0.0..=most).contains(&value) => Ok(value),
        Some(value) => Err(format!("{what} {value} is not in 0 to {most}")),
        None => Err(format!("an evaluation lacks the {what}")),
    };
    Ok(Run {
        validation_accuracy: within(validation, "validation accuracy", 1.0)?,
        test_accuracy: within(test, "test accuracy", 1.0)?,
        training_time: within(time, "training time", f64::MAX)?,
    })
}

/// Skips a field that is not needed.
fn skip(tag: u32, input: &mut CodedInputStream) -> protobuf::Result<()> {
    match WireType::new(tag & 7) {
        // Skipping nested groups overflows the stack (RUSTSEC-2024-0437), and there are none.
        Some(WireType::StartGroup | WireType::EndGroup) | None => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("unexpected tag {tag}")).into())
        }
        Some(wire_type) => input.skip_field(wire_type),
    }
}

/// Writes cells as CSV in the project's own format: `architecture`, its two halves `edges` and
/// `operations`, `params`, and means over the runs of 108 epochs, `test_accuracy` and
/// `validation_accuracy` (fractions) and `training_seconds`; then the same for each other budget
/// that the first cell has, with `_4`, `_12` or `_36` behind the name.
///
/// # Errors
/// When `out` does not take it.
pub fn write_csv(cells: &[Trained], out: impl Write) -> io::Result<()> {
    let present = |i: &usize| cells.first().is_some_and(|c| !c.runs[*i].is_empty());
    let others = (0..BUDGETS.len() - 1).filter(present);
    let budgets: Vec<usize> = [BUDGETS.len() - 1].into_iter().chain(others).collect();
    let mut header = ["architecture", "edges", "operations", "params"].map(String::from).to_vec();
    for &i in &budgets {
        let epochs = BUDGETS[i];
        let suffix = if epochs == 108 { String::new() } else { format!("_{epochs}") };
        let names = ["test_accuracy", "validation_accuracy", "training_seconds"];
        header.extend(names.map(|name| format!("{name}{suffix}")));
    }
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(header)?;
    for Trained { cell, parameters, runs, .. } in cells {
        let architecture = cell.to_string();
        let (edges, operations) = architecture.split_once(':').unwrap_or_default();
        writer.write_field(&architecture)?;
        writer.write_field(edges)?;
        writer.write_field(operations)?;
        writer.write_field(parameters.to_string())?;
        for &i in &budgets {
            let mean = |value: fn(&Run) -> f64| {
                runs[i].iter().map(value).sum::<f64>() / runs[i].len() as f64
            };
            // Single accuracies are multiples of 1/10,000 or so.
            writer.write_field(format!("{:.8}", mean(|r| r.test_accuracy)))?;
            writer.write_field(format!("{:.8}", mean(|r| r.validation_accuracy)))?;
            writer.write_field(format!("{:.3}", mean(|r| r.training_time)))?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmarks::labels::LabelTable;
    use std::path::PathBuf;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/nasbench101").join(name)
    }

    fn message(path: &Path) -> String {
        read(path, |_| {}).unwrap_err().to_string()
    }

    /// Rows of what is written, by column.
    fn written(name: &str) -> Vec<HashMap<String, String>> {
        let mut text = Vec::new();
        write_csv(&read(&fixture(name), |_| {}).unwrap(), &mut text).unwrap();
        csv::Reader::from_reader(&text[..]).deserialize().map(Result::unwrap).collect()
    }

    /// Against the means that the fixture's script computed.
    #[test]
    fn both_files_hold_what_was_written() {
        let mut expected = csv::Reader::from_path(fixture("expected.csv")).unwrap();
        let expected: Vec<HashMap<String, String>> =
            expected.deserialize().map(Result::unwrap).collect();
        for (name, columns) in [("full.tfrecord", 4 + 12), ("only108.tfrecord", 4 + 3)] {
            let rows = written(name);
            assert_eq!(rows.len(), expected.len());
            for (row, expected) in rows.iter().zip(&expected) {
                assert_eq!(row.len(), columns, "{name}");
                assert_eq!(row["architecture"], expected["cell"]);
                assert_eq!(format!("{}:{}", row["edges"], row["operations"]), expected["cell"]);
                assert_eq!(row["params"], expected["params"]);
                for (column, value) in row.iter().filter(|(c, _)| {
                    c.starts_with("test") || c.starts_with("valid") || c.starts_with("train")
                }) {
                    let [value, exact] =
                        [value, &expected[column]].map(|v| v.parse::<f64>().unwrap());
                    let tolerance = if column.starts_with("train") { 6e-4 } else { 6e-9 };
                    assert!((value - exact).abs() < tolerance, "{column}: {value} {exact}");
                }
            }
        }
    }

    /// Every flipped byte is found, and every place where the file may end.
    #[test]
    fn damage_is_found_and_located() {
        let whole = std::fs::read(fixture("two_runs.tfrecord")).unwrap();
        let second = whole.len() / 2;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.tfrecord");
        for position in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[position] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            let (record, offset) = if position < second { (1, 0) } else { (2, second) };
            let place = format!("record {record} (at byte {offset}): the checksum of");
            assert!(message(&path).contains(&place), "{}", message(&path));
            std::fs::write(&path, &whole[..position]).unwrap();
            let error = message(&path);
            match position {
                0 => assert!(error.ends_with("there is no record in it"), "{error}"),
                // Between records only the missing runs tell.
                _ if position == second => assert!(error.contains("has 1 runs of"), "{error}"),
                _ => {
                    let place = format!("record {record} (at byte {offset}): the file ends");
                    assert!(error.contains(&place), "{error}");
                }
            }
        }
    }

    #[test]
    fn wrong_records_say_what_is_wrong() {
        let second = std::fs::metadata(fixture("two_runs.tfrecord")).unwrap().len() / 2;
        for (name, reason) in [
            ("not_json", "not the JSON expected: EOF"),
            ("four_fields", "not the JSON expected: invalid length 4"),
            (
                "another_hash",
                "the module hash is 043721b9c7fe8c5fad811d47d83132ec, but that of its cell \
                 7c65f6bd01b87407734781b6038050bc",
            ),
            ("short_hash", "'7c65' is not a module hash"),
            ("epochs", "107 epochs are none of [4, 12, 36, 108]"),
            ("matrix_size", "4 operations, but a matrix of 15 entries"),
            ("matrix_entry", "other entries than 0 and 1"),
            ("backward_edge", "edge 3 -> 0 does not go from a lower to a higher"),
            ("operation", "unknown operation 'maxpool5x5'"),
            ("no_input", "are not from input to output"),
            ("not_base64", "the metrics are not base64"),
            ("cut_metrics", "not a protocol buffer"),
            ("nested_groups", "unexpected tag 35"),
            ("two_evaluations", "2 evaluations instead of 3"),
            ("accuracy", "test accuracy 90 is not in 0 to 1"),
            ("not_a_number", "validation accuracy NaN is not in 0 to 1"),
            ("parameters", "-1 parameters"),
        ] {
            let error = message(&fixture(&format!("bad_{name}.tfrecord")));
            let place = format!("record 2 (at byte {second}): ");
            assert!(error.contains(&place) && error.contains(reason), "{name}: {error}");
        }
        let error = message(&fixture("four_runs.tfrecord"));
        assert!(error.contains("record 4") && error.contains("more than 3 runs"), "{error}");
        let error = message(&fixture("two_runs.tfrecord"));
        assert!(error.contains("cell 110011:3p has 2 runs of 108 epochs, not 3"), "{error}");
        let error = message(Path::new("no/such.tfrecord"));
        assert!(error.starts_with("cannot read no/such.tfrecord"), "{error}");
    }

    /// What is written is a table of labels as well.
    #[test]
    fn other_budgets_are_targets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("full.csv");
        let cells = read(&fixture("full.tfrecord"), |_| {}).unwrap();
        write_csv(&cells, std::fs::File::create(&path).unwrap()).unwrap();
        let table = LabelTable::read(&path).unwrap();
        let (set, errors) = table.architectures::<Cell>("validation_accuracy_12").unwrap();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(
            set.iter().map(|l| &l.architecture).collect::<Vec<_>>(),
            cells.iter().map(|c| &c.cell).collect::<Vec<_>>()
        );
    }
}
