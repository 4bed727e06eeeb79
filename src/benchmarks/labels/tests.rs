use super::json_lines::MAX_LINE;
use super::*;
use crate::onnx::ReadOptions;
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
    let files = [
        "labels.csv.gz",
        "labels.tsv",
        "labels.jsonl",
        "none.parquet",
        "snappy.parquet",
        "gzip.parquet",
    ];
    let tried: Vec<&str> = files.iter().filter_map(|name| name.split('.').nth(1)).collect();
    for Format { endings, .. } in FORMATS {
        assert!(endings.iter().any(|ending| tried.contains(ending)), "{endings:?}");
    }
    for name in files {
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
    let (set, errors) = table.labelled(ARCHITECTURE, "late", |text| Ok(text.to_string())).unwrap();
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
