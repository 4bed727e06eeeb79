//! What users are told: nothing that a file holds commands a terminal or a spreadsheet, one file
//! costs no other's answer, and JSON has no name twice.

use crate::cli::{CELL, folder, gennape};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use protobuf::MessageField;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

const RESNET: &str = "data/examples/resnet18.onnx";

/// JSON of which no object has a name twice.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Once;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
                let mut names = BTreeSet::new();
                while let Some((name, Once)) = map.next_entry::<String, Once>()? {
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("'{name}' stands twice")));
                    }
                }
                Ok(Once)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Once, A::Error> {
                while list.next_element::<Once>()?.is_some() {}
                Ok(Once)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
                Ok(Once)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
                Ok(Once)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
                Ok(Once)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
                Ok(Once)
            }

            fn visit_str<E>(self, _: &str) -> Result<Once, E> {
                Ok(Once)
            }

            fn visit_unit<E>(self) -> Result<Once, E> {
                Ok(Once)
            }
        }
        from.deserialize_any(Names)
    }
}

#[track_caller]
fn once(json: &str) {
    serde_json::from_str::<Once>(json).unwrap();
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    assert!(value["schema"].is_u64(), "{json}");
}

#[test]
fn no_json_has_a_name_twice_and_all_have_a_schema() {
    assert!(serde_json::from_str::<Once>(r#"{"a": [{"b": 1, "b": 2}]}"#).is_err());
    let folder = folder("json");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let [cell, small, found, sub, labels, model] =
        ["cell.onnx", "small.onnx", "found", "sub", "labels.csv", "model"].map(path);
    gennape(&["export", "nasbench201", CELL, "-o", &cell]).succeeds();
    let sampled =
        gennape(&["export", "nasbench_macro", "--sample", "12", "--stripped", "-o", &path("all")])
            .succeeds()
            .stdout;
    let rows = sampled.lines().enumerate().map(|(i, line)| {
        let architecture = line.split_once('\t').unwrap().1;
        format!("\"{architecture}\",{i}\n")
    });
    fs::write(&labels, "architecture,top1\n".to_string() + &rows.collect::<String>()).unwrap();
    let space = ["--space", "nasbench_macro", "--labels", &labels];
    let of_labels =
        |command: &[&str]| gennape(&[command, &space[..], &["--format", "json"]].concat());
    let cache = path("cache");
    once(&of_labels(&["evaluate", "--cache", &cache]).succeeds().stdout);
    once(&of_labels(&["finetune", "--cache", &cache, "-o", &model]).succeeds().stdout);
    for arguments in [
        &["predict", RESNET, "missing.onnx"][..],
        &["profile", RESNET],
        &["profile", RESNET, &cell],
        &["embed", &cell],
        &["space", &cell],
        &["shrink", &cell, "--keep", "c0=1/2", "-o", &small],
        &["data", "list"],
        &["search", "--space", "nasbench201", "--budget", "5", "-o", &found],
        &["search", "--from", &cell, "--budget", "3", "-o", &sub],
        &["search", "--resume", &found, "--budget", "6"],
    ] {
        once(&gennape(&[arguments, &["--format", "json"]].concat()).stdout);
    }
    for written in
        ["found/front.json", "found/search.json", "sub/front.json", "model/manifest.json"]
    {
        once(&fs::read_to_string(path(written)).unwrap());
    }
}

/// What no output may hold but a line break.
fn commands(text: &str) -> Vec<char> {
    let wrong = |c: &char| {
        c.is_control() && *c != '\n'
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    text.chars().filter(wrong).collect()
}

const EVIL: &str = "=1+1\u{1b}[2J\u{1b}]0;t\u{7}\r\u{9b}2J\u{7f}\u{202e}\u{2066}\u{200b}\u{2028}\nerror: forged\nhint: rm";

/// A network all of whose names are the name given, in ONNX's encoding.
fn network(name: &str, op: &str) -> Vec<u8> {
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut length = content.len();
        let mut bytes = vec![number << 3 | 2];
        while length >= 128 {
            bytes.push(length as u8 | 128);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(content);
        bytes
    }
    let text = |number, text: &str| field(number, text.as_bytes());
    let dims: Vec<u8> = [1, 3, 4, 4].iter().flat_map(|&d| field(1, &[0x08, d])).collect();
    let tensor = [vec![0x08, 1], field(2, &dims)].concat();
    let value = |name: &str| [text(1, name), field(2, &field(1, &tensor))].concat();
    let (x, y) = (format!("x{name}"), format!("y{name}"));
    let node = [text(1, &x), text(2, &y), text(3, name), text(4, op)].concat();
    let graph =
        [field(1, &node), text(2, name), field(11, &value(&x)), field(12, &value(&y))].concat();
    [vec![0x08, 8], field(7, &graph), field(8, &[0x10, 17])].concat()
}

#[test]
fn names_in_files_command_nothing() {
    let folder = folder("evil");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let (known, unknown, found) = (path("known.onnx"), path("unknown.onnx"), path("found"));
    fs::write(&known, network(EVIL, "Relu")).unwrap();
    fs::write(&unknown, network(EVIL, EVIL)).unwrap();
    fs::write(path("labels.csv"), format!("architecture,\"{EVIL}\",b\nx,1,2\n")).unwrap();
    // A slash can't be in a name, nor does every system take all of these.
    let named = path(&EVIL.replace('/', "")) + ".onnx";
    let named = fs::copy(RESNET, &named).map_or(known.clone(), |_| named);
    let labels = path("labels.csv");
    for arguments in [
        &["predict", &known, &unknown, &named][..],
        &["predict", "--format", "csv", &known, &unknown, &named],
        &["predict", "--format", "json", &known, &unknown, &named],
        &["predict", "--allow-unknown", &unknown],
        &["profile", &known],
        &["profile", "--format", "csv", &known],
        &["profile", "--format", "json", &known],
        &["profile", "--format", "dot", &known],
        &["profile", "--format", "svg", &known],
        &["profile", &named],
        &["profile", folder.to_str().unwrap()],
        &["embed", &named],
        &["space", &known],
        &["space", "--format", "json", &known],
        &["space", &unknown],
        &["space", "--allow-unknown", &unknown],
        &["space", &named],
        &["shrink", &known, "--keep", EVIL, "-o", "/dev/null"],
        &["shrink", &named, "--keep", EVIL, "-o", "/dev/null"],
        &["search", "--from", &known, "--budget", "2", "-o", &found],
        &["search", "--resume", &named],
        &["evaluate", "--space", "darts", "--labels", &labels],
        &["evaluate", "--space", "darts", "--labels", &labels, "--target", "b"],
        &["predict", RESNET, "--model", EVIL],
        &["predict", EVIL],
        &["predict", &format!("--{EVIL}")],
    ] {
        let outcome = gennape(arguments);
        for text in [&outcome.stdout, &outcome.stderr] {
            assert_eq!(commands(text), [], "{arguments:?}: {text:?}");
            let forged = text.lines().any(|l| l.starts_with("error: forged") || l == "hint: rm");
            assert!(!forged, "{arguments:?}: {text}");
        }
        if arguments.contains(&"csv") {
            let mut reader = csv::Reader::from_reader(outcome.stdout.as_bytes());
            for cell in reader.records().flat_map(|r| r.unwrap().deserialize::<Vec<String>>(None)) {
                assert!(cell.iter().all(|c| !c.starts_with(['=', '@', '\t'])), "{cell:?}");
            }
        }
    }
    let page = fs::read_to_string(folder.join("found/report.html")).unwrap();
    assert_eq!(commands(&page), []);
    let json = gennape(&["profile", "--format", "json", &known]).succeeds().json();
    assert_eq!(json["results"][0]["operations"][1]["name"], EVIL, "JSON has names as they are");
}

/// Hidden files are other programs' own, and what is no file may never end.
#[cfg(unix)]
#[test]
fn folders_are_searched_for_regular_files_that_are_not_hidden() {
    let folder = folder("kinds");
    let path = |name: &str| folder.join(name);
    for hidden in ["sub/.git", ".cache"] {
        fs::create_dir_all(path(hidden)).unwrap();
        fs::write(path(hidden).join("net.onnx"), "not read").unwrap();
    }
    fs::write(path("._net.onnx"), "not read").unwrap();
    fs::write(path("sub/.net.onnx"), "not read").unwrap();
    for network in ["net.onnx", "sub/net.onnx"] {
        fs::copy(RESNET, path(network)).unwrap();
    }
    std::os::unix::fs::symlink(path("net.onnx"), path("sub/link.onnx")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("sub/endless.onnx")).unwrap();
    let made = Command::new("mkfifo").arg(path("pipe.onnx")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(path("s.onnx")).unwrap();

    let found = gennape(&["profile", folder.to_str().unwrap(), "--format", "json"]).succeeds();
    assert_eq!(found.stderr, "");
    let json = found.json();
    let names = json["results"].as_array().unwrap().iter().map(|r| r["path"].as_str().unwrap());
    let expected = ["net.onnx", "sub/link.onnx", "sub/net.onnx"].map(path);
    assert!(names.map(Path::new).eq(expected.iter().map(|p| p.as_path())), "{json}");

    // Under a hidden folder that the user names, things are as under any other.
    gennape(&["profile", path("sub/.git").to_str().unwrap()]).fails();
    let only_hidden = gennape(&["profile", path(".cache").to_str().unwrap()]).fails();
    assert!(only_hidden.stderr.contains("net.onnx"), "{}", only_hidden.stderr);
}

/// The truth is 10 % on CIFAR-10, and nothing is cheaper: it must not win a search for that.
#[test]
fn a_network_that_can_but_guess_is_told_apart() {
    let folder = folder("guess");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let (none, found) = (path("none.onnx"), path("found"));
    let cell = "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|none~2|";
    gennape(&["export", "nasbench201", cell, "-o", &none]).succeeds();
    let outcome = gennape(&["predict", &none, RESNET, "--format", "json"]).succeeds();
    assert!(outcome.stderr.contains("does not depend on its input"), "{}", outcome.stderr);
    let results = &outcome.json()["results"];
    assert_eq!(results[0]["accuracy"], 10.0);
    assert_eq!(results[0]["interval"], serde_json::json!([10.0, 10.0]));
    assert_eq!(results[0]["depends_on_input"], false);
    assert_eq!(results[1]["depends_on_input"], true);
    assert!(gennape(&["predict", &none]).succeeds().stdout.contains("10.00 %"));

    let arguments =
        ["search", "--space", "nasbench201", "--budget", "4", "-o", &found, "--format", "json"];
    let outcome = gennape(&[&arguments[..], &["--start", cell]].concat()).succeeds();
    assert!(outcome.stderr.contains("can but guess"), "{}", outcome.stderr);
    let front = outcome.json();
    let front = front["front"].as_array().unwrap();
    assert!(!front.is_empty() && front.iter().all(|m| m["architecture"] != cell), "{front:?}");
    // What was found of it is known when the search goes on.
    let longer = gennape(&["search", "--resume", &found, "--budget", "8", "--format", "json"]);
    assert_eq!(longer.succeeds().json()["evaluated"], 8);
}

/// What becomes of the arguments when the hint is followed; it may change files first.
type Follow<'a> = Box<dyn Fn(&[String], &str) -> Vec<String> + 'a>;

/// A situation that the program has a hint for.
struct Situation<'a> {
    /// The source file that makes the hint, relative to those of the command line; empty where there
    /// is a situation for it already.
    source: &'static str,
    arguments: Vec<String>,
    /// Part of the hint.
    hint: &'static str,
    follow: Follow<'a>,
    /// What is said when even that is not the end of it: the next thing to mend.
    next: Option<&'static str>,
}

/// Hints that are not followed here, with the reason.
const NOT_FOLLOWED: &[(&str, &str)] = &[
    ("../estimator/folder.rs", "training is not built by default"),
    ("../estimator/folder.rs", "training is not built by default"),
    ("../onnx/decode.rs", "it asks for a function of the Python package onnx"),
    ("export.rs", "standard output is no terminal in tests"),
    ("training/run.rs", "training is not built by default"),
    ("training/run.rs", "training is not built by default"),
    ("training/run.rs", "training is not built by default"),
    ("training/run.rs", "training is not built by default"),
    ("train/run.rs", "training is not built by default"),
    ("search/measured.rs", "training is not built by default"),
    ("supernet/train/run.rs", "training is not built by default"),
    ("mod.rs", "it sets up libtorch"),
    ("search/job.rs", "clap asks for -o before"),
    ("supernet/search/run.rs", "training is not built by default"),
    ("supernet/search/run.rs", "training is not built by default"),
    ("supernet/search/run.rs", "training is not built by default"),
    ("search/job.rs", "what of it is wanted is the user's to say"),
];

/// How many hints each source file makes, but for what other files are told apart.
fn hints_by_source() -> BTreeMap<String, usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut counts = BTreeMap::new();
    let mut waiting = vec![root.clone()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let count = |part| text.matches(part).count();
        let path = path.strip_prefix(&root).unwrap();
        let (name, count) = match path.strip_prefix("cli") {
            Ok(name) => (name.to_path_buf(), count(".hint(")),
            Err(_) => {
                let made = count("hint: Some(") + count("let hint = ");
                (Path::new("..").join(path), made + answers(text))
            }
        };
        counts.insert(name.to_str().unwrap().to_string(), count);
    }
    // Where it passes on what the library says.
    counts.remove("error.rs");
    // The Python package has tests of its own, in Python.
    counts.retain(|source, count| *count > 0 && !source.starts_with("../python/"));
    counts
}

/// How many hints an error of the library answers with.
fn answers(source: &str) -> usize {
    let Some((_, rest)) = source.split_once("fn hint(&self)") else { return 0 };
    let body = rest.split("\n    }\n").next().unwrap();
    // A pattern is no answer.
    let patterns = body.matches(": Some(").count();
    let in_words = ["words(\"", "words(&"].map(|made| body.matches(made).count());
    let passed_on = body.matches("let words").count();
    body.matches("Some(").count() - patterns - passed_on
        + in_words.iter().sum::<usize>()
        + body.matches(".then(||").count()
}

/// Files that are no networks, and part of what to do about each.
fn other_files() -> Vec<(Vec<u8>, &'static str)> {
    let at = |place: usize, magic: &[u8]| [&vec![1; place][..], magic].concat();
    let export = "export the network with torch.onnx.export first";
    let convert = "convert it with tf2onnx first";
    let download = "download the file itself; a server";
    vec![
        (b"".into(), "download or export it again"),
        (b"PK\x03\x04 data.pkl".into(), export),
        (b"PK\x03\x04 metadata.json".into(), convert),
        (b"PK\x03\x04".into(), export),
        (b"\x80\x02}q".into(), export),
        (b"\x89HDF\r\n".into(), convert),
        (at(4, b"TFL3"), convert),
        (at(4, b"ORTM"), "use the .onnx file it was made from"),
        (b"\x02\0\0\0\0\0\0\0{\"}".into(), export),
        (b"GGUF".into(), export),
        (b"\x1f\x8b\x08".into(), "unpack it first"),
        (b"BZh9".into(), "unpack it first"),
        (b"\xfd7zXZ".into(), "unpack it first"),
        (b"\x28\xb5\x2f\xfd".into(), "unpack it first"),
        (b"7z\xbc\xaf".into(), "unpack it first"),
        (b"Rar!".into(), "unpack it first"),
        (at(257, b"ustar"), "unpack it first"),
        (b"\0\x05\x16\x07".into(), "use the file itself"),
        (b"\xff\xfeh\0".into(), download),
        (vec![0; 32], "download or export it again"),
        (b" \n ".into(), "download it again"),
        (b"version https://git-lfs.github.com/spec/v1".into(), "git lfs pull"),
        (b"<ir_version: 8>".into(), "write it with onnx.save first"),
        (b"<html>".into(), "not the page about it"),
        (b"Not found".into(), download),
        (b"\x0a\x0d\x01\x02Placeholder".into(), convert),
        (b"\xff\x01\x02\x03".into(), "export the network as ONNX first"),
    ]
}

/// The file of a network.
fn file(graph: GraphProto, opset: i64) -> Vec<u8> {
    let import = OperatorSetIdProto { version: opset, ..Default::default() };
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![import],
        graph: MessageField::some(graph),
        ..Default::default()
    };
    model.write_to_bytes().unwrap()
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    NodeProto {
        op_type: op.into(),
        input: names(inputs),
        output: names(outputs),
        ..Default::default()
    }
}

/// An input or output of these sizes; of unknown rank without.
fn value(name: &str, dtype: i32, sizes: Option<&[i64]>) -> ValueInfoProto {
    let size = |&size: &i64| Dimension {
        value: Some(dimension::Value::DimValue(size)),
        ..Default::default()
    };
    let shape = sizes.map(|sizes| TensorShapeProto {
        dim: sizes.iter().map(size).collect(),
        ..Default::default()
    });
    let tensor = type_proto::Tensor { elem_type: dtype, shape: shape.into(), ..Default::default() };
    let value = Some(type_proto::Value::TensorType(tensor));
    ValueInfoProto {
        name: name.into(),
        type_: MessageField::some(TypeProto { value, ..Default::default() }),
        ..Default::default()
    }
}

/// The hint that was printed.
#[track_caller]
fn hint_of(stderr: &str) -> String {
    let hint = stderr.lines().find_map(|line| line.strip_prefix("hint: "));
    hint.unwrap_or_else(|| panic!("no hint: {stderr}")).to_string()
}

/// The words of a shell's command line.
fn words(line: &str) -> Vec<String> {
    let script = format!("printf '%s\\n' {line}");
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_string).collect()
}

/// The command that the hint consists of.
fn command_of(_: &[String], hint: &str) -> Vec<String> {
    let words = words(hint);
    assert_eq!(words[0], "gennape", "{hint}");
    words[1..].to_vec()
}

/// The same again with the option that the hint begins with.
fn with_option(arguments: &[String], hint: &str) -> Vec<String> {
    let option = hint.split_whitespace().next().unwrap();
    assert!(option.starts_with("--"), "{hint}");
    [arguments, &[option.to_string()]].concat()
}

/// The same again with the target that the hint ends with.
fn with_target(arguments: &[String], hint: &str) -> Vec<String> {
    let option = hint.split_once("such as ").unwrap().1;
    [arguments, &words(option)].concat()
}

/// The same again with the first of the names that the hint lists as the model.
fn with_model(arguments: &[String], hint: &str) -> Vec<String> {
    let name = hint.strip_prefix("give one of ").unwrap().split(',').next().unwrap();
    let at = arguments.iter().position(|a| a == "--model").unwrap() + 1;
    let mut arguments = arguments.to_vec();
    arguments[at] = name.into();
    arguments
}

/// The same again without an option and its value.
fn without(option: &'static str) -> Follow<'static> {
    Box::new(move |arguments, _| {
        let at = arguments.iter().position(|a| a == option).unwrap();
        [&arguments[..at], &arguments[at + 2..]].concat()
    })
}

/// The same again with another value of an option.
fn with(option: &'static str, value: &str) -> Follow<'static> {
    let value = value.to_string();
    Box::new(move |arguments, _| {
        let at = arguments.iter().position(|a| a == option).unwrap() + 1;
        let mut arguments = arguments.to_vec();
        arguments[at] = value.clone();
        arguments
    })
}

/// The same again once something is done.
fn after<'a>(action: impl Fn() + 'a) -> Follow<'a> {
    Box::new(move |arguments, _| {
        action();
        arguments.to_vec()
    })
}

/// Something else.
fn instead(arguments: &[&str]) -> Follow<'static> {
    let arguments: Vec<String> = arguments.iter().map(|a| a.to_string()).collect();
    Box::new(move |_, _| arguments.clone())
}

#[test]
fn every_hint_works_as_typed() {
    let folder = folder("hints");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    // Names that a shell would take apart.
    let [cell, unknown, small, found, labels] =
        ["a 'cell'.onnx", "un known.onnx", "small.onnx", "fo und", "labels.csv"].map(path);
    let [onnx, onnx_labels, cache, model] = ["onnx", "onnx.csv", "cache", "model"].map(path);
    let earlier = path("earlier.json");
    let report = fs::read_to_string("models/ablation.json").unwrap();
    fs::write(&earlier, report.replace("agreement", "earlier")).unwrap();
    gennape(&["export", "nasbench201", CELL, "--stripped", "-o", &cell]).succeeds();
    fs::write(&unknown, network("n", "Blur")).unwrap();
    let sample = ["export", "nasbench_macro", "--sample", "12", "--stripped", "-o", &onnx];
    let sampled = gennape(&sample).succeeds().stdout;
    fs::copy(&unknown, folder.join("onnx/unknown.onnx")).unwrap();
    let rows = sampled
        .lines()
        .enumerate()
        .map(|(i, line)| format!("\"{}\",{i},{}\n", line.split_once('\t').unwrap().1, i * i));
    fs::write(&labels, "architecture,top1,a b\n".to_string() + &rows.collect::<String>()).unwrap();
    let files = (0..4).map(|i| format!("nasbench_macro_{i}.onnx,{i}\n")).collect::<String>();
    fs::write(&onnx_labels, format!("onnx,top1\n{files}unknown.onnx,5\n")).unwrap();
    let search = |space: &[&str], out: &str| {
        gennape(&[&["search"], space, &["--budget", "2", "-o", out]].concat()).succeeds();
    };
    search(&["--space", "darts"], &found);
    let finetune = ["finetune", "--space", "nasbench_macro", "--labels", &labels];
    let finetune = [&finetune[..], &["--cache", &cache, "--target", "top1", "-o", &model]].concat();
    gennape(&finetune).succeeds();

    let own = |arguments: &[&str]| arguments.iter().map(|a| a.to_string()).collect::<Vec<_>>();
    let situation = |source, arguments: &[&str], hint, follow| Situation {
        source,
        arguments: own(arguments),
        hint,
        follow,
        next: None,
    };
    let darts = ["search", "--space", "darts", "--budget", "2", "-o"];
    let darts = |out: &str| [&own(&darts)[..], &own(&[out])].concat();
    let macro_labels =
        ["evaluate", "--space", "nasbench_macro", "--cache", &cache, "--labels", &labels];
    let of_files = ["evaluate", "--onnx-dir", &onnx, "--cache", &cache, "--labels", &onnx_labels];

    // Searches in states that they do not go on in.
    let [measured, other_model, other_network, odd_row, odd_front, front, empty, new, older] =
        ["measured", "model changed", "network", "row", "front", "lone", "empty", "new", "older"]
            .map(path);
    search(&["--space", "darts"], &older);
    let settings = folder.join("older/search.json");
    let json = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, json.replacen("\"schema\": 3", "\"schema\": 2", 1)).unwrap();
    search(&["--space", "darts", "--objective", "cmd:echo 1"], &measured);
    search(&["--space", "darts"], &other_model);
    let settings = folder.join("model changed/search.json");
    let json = fs::read_to_string(&settings).unwrap();
    let (before, hash) = json.split_once("\"model_hash\": \"").unwrap();
    fs::write(&settings, format!("{before}\"model_hash\": \"0{}", &hash[1..])).unwrap();
    let changing = path("changing.onnx");
    fs::copy(&cell, &changing).unwrap();
    gennape(&["export", "nasbench201", CELL, "-o", &changing]).succeeds();
    search(&["--from", &changing], &other_network);
    gennape(&["export", "nasbench_macro", "22222222", "-o", &changing]).succeeds();
    search(&["--space", "darts"], &odd_row);
    let history = folder.join("row/history.csv");
    let rows = fs::read_to_string(&history).unwrap();
    fs::write(&history, format!("{rows}one,2,3,4\n")).unwrap();
    search(&["--space", "darts"], &odd_front);
    let note = folder.join("front/front/notes.txt");
    fs::write(&note, "mine").unwrap();
    for folder in [&front, &empty] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(folder.join("lone/front.json"), "mine").unwrap();

    // Other files.
    let plain = path("abs.onnx");
    fs::write(&plain, network("n", "Abs")).unwrap();
    let records = path("nasbench101.csv.gz");
    fs::write(&records, "mine").unwrap();
    let zipped = path("zipped.onnx");
    let program = Command::new("gzip").args(["-c", &plain]).output().unwrap();
    fs::write(&zipped, program.stdout).unwrap();
    let latencies = path("latencies.csv");
    fs::write(&latencies, "operation,latency\n").unwrap();
    let few = path("few.csv");
    let whole = fs::read_to_string(&labels).unwrap();
    fs::write(&few, whole.lines().take(3).map(|l| format!("{l}\n")).collect::<String>()).unwrap();
    let of_few = finetune.iter().map(|a| if *a == labels { few.as_str() } else { *a });
    let mut of_few: Vec<&str> = of_few.collect();
    let (few_model, tuned_again) = (path("few"), path("again"));
    *of_few.last_mut().unwrap() = &few_model;
    let mut again = finetune.clone();
    *again.last_mut().unwrap() = &tuned_again;
    again.extend(["--model", &model]);
    let [device, milliseconds, few_ms, no_ms] =
        ["device", "ms.csv", "few ms.csv", "no ms.csv"].map(path);
    fs::create_dir(&device).unwrap();
    fs::copy("models/latency-rtx4090/manifest.json", folder.join("device/manifest.json")).unwrap();
    let digits =
        |i: u32| (0..8).map(|k| (50 * i / 3u32.pow(k) % 3).to_string()).collect::<String>();
    let table_of = |count: u32, first: u32| {
        let rows = (0..count).map(|i| format!("{},{}\n", digits(i), first + i));
        "architecture,ms\n".to_string() + &rows.collect::<String>()
    };
    fs::write(&milliseconds, table_of(110, 1)).unwrap();
    fs::write(&few_ms, table_of(20, 1)).unwrap();
    fs::write(&no_ms, table_of(110, 0)).unwrap();
    let of_device = |table: &str, out: &str| {
        own(&["finetune", "--space", "nasbench_macro", "--latency", table, "-o", out])
    };
    let lone_data = path("lone_data.onnx");
    fs::copy("tests/fixtures/cases/f_missing.onnx", &lone_data).unwrap();

    let shrink = |network: &str, out: &str| own(&["shrink", network, "--keep", "whole", "-o", out]);
    let strs = |arguments: &[String]| arguments.to_vec();
    let command_of = || -> Follow { Box::new(command_of) };
    let with_option = || -> Follow { Box::new(with_option) };
    let made = |source, arguments: Vec<String>, hint, follow| Situation {
        source,
        arguments,
        hint,
        follow,
        next: None,
    };
    let mut situations = vec![
        situation(
            "shrink.rs",
            &["shrink", &cell, "--keep", "c99=1/2", "-o", &small],
            "gennape space",
            command_of(),
        ),
        made("search/folder.rs", darts(&found), "--resume", command_of()),
        made("search/folder.rs", darts(&front), "another folder with -o", with("-o", &new)),
        situation(
            "search/folder.rs",
            &["search", "--resume", &empty],
            "what an earlier `gennape search -o` left",
            after(|| search(&["--space", "darts"], &empty)),
        ),
        situation(
            "search/folder.rs",
            &["search", "--resume", &older],
            "begin a new search with -o",
            instead(&["search", "--space", "darts", "--budget", "2", "-o", &path("newer")]),
        ),
        situation(
            "search/folder.rs",
            &["search", "--resume", &odd_front],
            "move it elsewhere",
            after(|| fs::rename(&note, folder.join("notes.txt")).unwrap()),
        ),
        situation(
            "search/history.rs",
            &["search", "--resume", &odd_row],
            "delete it and the rows below",
            after(|| fs::write(&history, &rows).unwrap()),
        ),
        situation(
            "search/mod.rs",
            &["search", "--resume", &measured],
            "--allow-command",
            command_of(),
        ),
        situation(
            "search/mod.rs",
            &["search", "--resume", &other_model],
            "begin a new search with -o",
            instead(&["search", "--space", "darts", "--budget", "2", "-o", &path("new 2")]),
        ),
        situation(
            "search/mod.rs",
            &["search", "--resume", &other_network],
            "begin a new search with -o",
            instead(&["search", "--from", &changing, "--budget", "2", "-o", &path("new 3")]),
        ),
        situation(
            "search/mod.rs",
            &["search", "--from", &plain, "--budget", "1", "-o", &path("new 4")],
            "gennape space",
            command_of(),
        ),
        situation(
            "search/arguments.rs",
            &["search", "--space", "darts", "--allow-unknown", "--budget", "1", "-o", &path("n5")],
            "--from FILE",
            instead(&[
                "search",
                "--from",
                &changing,
                "--allow-unknown",
                "--budget",
                "1",
                "-o",
                &path("n5"),
            ]),
        ),
        situation("../benchmarks/mod.rs", &macro_labels, "--target", Box::new(with_target)),
        situation(
            "left_out.rs",
            &["evaluate", "--left-out", "svhn", "--model", "models/gennape-nb101"],
            "gennape evaluate --left-out svhn",
            command_of(),
        ),
        situation(
            "model.rs",
            &["predict", RESNET, "--model", "nothing"],
            "gennape-cifar10",
            Box::new(with_model),
        ),
        situation("", &of_files, "--allow-unknown", with_option()),
        situation("output.rs", &finetune, "--overwrite", with_option()),
        made("output.rs", shrink(&changing, &changing), "another name with -o", with("-o", &small)),
        situation(
            "compare.rs",
            &["compare", RESNET],
            "gennape predict",
            instead(&["predict", RESNET]),
        ),
        situation(
            "compare.rs",
            &["compare", RESNET, "data/examples/nasbench201_best.onnx"],
            "--target imagenet1k",
            Box::new(|arguments, hint| [arguments, &words(hint)[..2]].concat()),
        ),
        situation(
            "check.rs",
            &["check", RESNET, "--constraint", "accuracy<=2x data/examples/nasbench201_best.onnx"],
            "--target cifar10",
            Box::new(|arguments, hint| [arguments, &words(hint)[..2]].concat()),
        ),
        situation(
            "profile.rs",
            &["profile", RESNET, "--explain-lowering", "--format", "csv"],
            "--format json",
            instead(&["profile", RESNET, "--explain-lowering", "--format", "json"]),
        ),
        situation(
            "evaluate.rs",
            &["evaluate", "--report", "models/evaluation.json", "--format", "svg"],
            "name a labelled set",
            instead(&[&macro_labels[..], &["--target", "top1", "--format", "svg"]].concat()),
        ),
        situation(
            "evaluate.rs",
            &["evaluate", "--all", "--data", &empty],
            "gennape data list",
            command_of(),
        ),
        situation(
            "data.rs",
            &[
                "data",
                "import",
                "nasbench101",
                "tests/fixtures/nasbench101/full.tfrecord",
                "-o",
                &records,
            ],
            "delete it",
            after(|| fs::remove_file(&records).unwrap()),
        ),
        situation(
            "",
            &["profile", &zipped],
            "unpack",
            after(|| {
                fs::copy(&plain, &zipped).unwrap();
            }),
        ),
        Situation {
            next: Some("the table has no latency of"),
            ..situation(
                "../search/evaluators/latency.rs",
                &[
                    "search",
                    "--space",
                    "nasbench_macro",
                    "--objective",
                    &format!("latency={latencies}"),
                    "--budget",
                    "1",
                    "-o",
                    &path("n6"),
                ],
                "gennape profile FILE --format csv",
                after(|| {
                    let profile = gennape(&["profile", RESNET, "--format", "csv"]).succeeds();
                    let rows = profile.stdout.lines().enumerate().map(|(i, line)| {
                        format!("{line},{}\n", if i == 0 { "latency" } else { "0.5" })
                    });
                    fs::write(&latencies, rows.collect::<String>()).unwrap();
                }),
            )
        },
        made(
            "../fine_tuning/mod.rs",
            own(&of_few),
            "label more networks",
            after(|| {
                fs::copy(&labels, &few).unwrap();
            }),
        ),
        made(
            "../fine_tuning/mod.rs",
            own(&again),
            "start from 'gennape-",
            with("--model", "gennape-cifar10"),
        ),
        made(
            "../onnx/error.rs",
            shrink(&lone_data, &path("with data.onnx")),
            "beside it",
            after(|| fs::write(folder.join("f_missing.data"), vec![0; 4 * (216 + 32)]).unwrap()),
        ),
    ];

    // What the library says.
    let again_as = |name: &str, content: &[u8]| {
        let path = path(name);
        fs::write(&path, content).unwrap();
        path
    };
    let replaced = |path: &str| -> Follow {
        let (plain, path) = (plain.clone(), path.to_string());
        after(move || {
            fs::remove_file(&path).unwrap();
            fs::copy(&plain, &path).unwrap();
        })
    };
    let whole = fs::read(&plain).unwrap();
    let output = || vec![value("y", 1, None)];
    let sized: &[i64] = &[1, 4];
    let x = || value("x", 1, Some(sized));
    let relu = || vec![node("Relu", &["x"], &["y"])];
    let cut = again_as("cut short.onnx", &whole[..whole.len() - 3]);
    let headed = again_as("header.onnx", b"\x08\x08");
    let old = GraphProto { node: relu(), input: vec![x()], output: output(), ..Default::default() };
    let old = again_as("old.onnx", &file(old, 6));
    let bare = GraphProto {
        node: vec![node("Gemm", &["x", "w", "b"], &["y"])],
        input: vec![x()],
        output: output(),
        ..Default::default()
    };
    let bare = again_as("bare.onnx", &file(bare, 17));
    let shapeless = GraphProto {
        node: vec![node("MatMul", &["x", "w"], &["y"])],
        input: ["x", "w"]
            .map(|name| ValueInfoProto { name: name.into(), ..Default::default() })
            .into(),
        output: output(),
        ..Default::default()
    };
    let shapeless = again_as("shapeless.onnx", &file(shapeless, 17));
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
        ..Default::default()
    };
    let target = TensorProto {
        name: "to".into(),
        data_type: 7,
        dims: vec![2],
        data_location: DataLocation::EXTERNAL.into(),
        external_data: vec![entry("location", "to.data"), entry("length", "16")],
        ..Default::default()
    };
    let reshaped = GraphProto {
        node: vec![node("Reshape", &["x", "to"], &["y"])],
        input: vec![x()],
        output: output(),
        initializer: vec![target],
        ..Default::default()
    };
    let reshaped = again_as("reshaped.onnx", &file(reshaped, 17));
    let branch = |name: &str, op: &str| AttributeProto {
        name: name.into(),
        type_: AttributeType::GRAPH.into(),
        g: MessageField::some(GraphProto {
            node: vec![node(op, &["x"], &["b"])],
            output: vec![value("b", 1, None)],
            ..Default::default()
        }),
        ..Default::default()
    };
    let choice = NodeProto {
        attribute: vec![branch("then_branch", "Relu"), branch("else_branch", "Abs")],
        ..node("If", &["c"], &["y"])
    };
    let partial = GraphProto {
        node: vec![choice],
        input: vec![x(), value("c", 9, Some(&[]))],
        output: output(),
        ..Default::default()
    };
    let partial = again_as("partial.onnx", &file(partial, 17));
    let open = GraphProto {
        node: relu(),
        input: vec![value("x", 1, Some(&[1, 3, -1, -1]))],
        output: output(),
        ..Default::default()
    };
    let open = again_as("open.onnx", &file(open, 17));
    situations.push(situation(
        "../onnx/error.rs",
        &["profile", &open],
        "--input-shape x=1x3x224x224 would fit",
        Box::new(|arguments, hint| [arguments, &words(hint)[..2]].concat()),
    ));
    let pipe = path("pipe.onnx");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (source, path, hint) in [
        ("../onnx/error.rs", &cut, "download or export the file again"),
        ("../onnx/wire.rs", &headed, "the file may be cut short"),
        ("../onnx/decode.rs", &old, "with a newer opset"),
        ("../onnx/sort.rs", &bare, "export with export_params=True"),
        ("../onnx/inputs.rs", &shapeless, "export with export_params=True"),
        ("../onnx/source.rs", &pipe, "copy the network into a file"),
    ] {
        situations.push(situation(source, &["profile", path], hint, replaced(path)));
    }
    let other = path("other.onnx");
    let kinds = include_str!("../../src/onnx/foreign.rs");
    let advice = ["Some(EXPORT)", "Some(CONVERT)", "Some(DOWNLOAD)", "Some(UNPACK)", "Some(\""];
    let advised: usize = advice.iter().map(|part| kinds.matches(part).count()).sum();
    assert_eq!(other_files().len(), advised, "every kind of file has an example");
    for (content, hint) in other_files() {
        fs::write(&other, &content).unwrap();
        let told = gennape(&["profile", &other]).fails();
        assert!(hint_of(&told.stderr).contains(hint), "{content:?}: {}", told.stderr);
    }
    situations.extend([
        situation(
            "../onnx/error.rs",
            &["profile", &reshaped],
            "put it beside the model",
            after(|| {
                let to = [2i64, 2].map(i64::to_le_bytes);
                fs::write(folder.join("to.data"), to.concat()).unwrap();
            }),
        ),
        made(
            "../onnx/stored.rs",
            shrink(&partial, &path("of partial.onnx")),
            "gennape profile",
            instead(&["profile", &partial]),
        ),
        situation(
            "../estimator/answer.rs",
            &["predict", RESNET, "--model", &model, "--target", "cifar10"],
            "leave --model out",
            without("--model"),
        ),
        situation(
            "../estimator/answer.rs",
            &["predict", RESNET, "--recipe", "none"],
            "give one of ",
            Box::new(|arguments, hint| {
                let name = hint.strip_prefix("give one of ").unwrap().split(',').next().unwrap();
                with("--recipe", name)(arguments, hint)
            }),
        ),
        Situation {
            next: Some("`gennape data list`"),
            ..situation(
                "../benchmarks/mod.rs",
                &["evaluate", "nasbench201"],
                "give --data FOLDER",
                Box::new(|arguments, _| [arguments, &own(&["--data", &empty])].concat()),
            )
        },
        situation(
            "../benchmarks/mod.rs",
            &["evaluate", "nasbench201", "--data", &empty],
            "`gennape data list`",
            instead(&["data", "list"]),
        ),
        situation(
            "fit.rs",
            &["fit", "imagenet", "--data", &empty, "-o", &path("fitted")],
            "`gennape help fit`",
            instead(&["help", "fit"]),
        ),
        situation(
            "predict.rs",
            &["compare", RESNET, RESNET, "--target", "latency-rtx4090"],
            "gennape predict --target latency-rtx4090",
            instead(&["predict", "--target", "latency-rtx4090", RESNET, RESNET]),
        ),
        situation(
            "predict.rs",
            &["predict", RESNET, "--model", &device, "--target", "cifar10"],
            "leave --target out",
            without("--target"),
        ),
        situation(
            "predict.rs",
            &["predict", RESNET, "--model", "gennape-nb101", "--target", "latency-rtx4090"],
            "leave one of --model and --target out",
            without("--model"),
        ),
        situation(
            "evaluate.rs",
            &["ablate", "--report", &earlier],
            "make it again",
            instead(&["ablate", "--report", "models/ablation.json"]),
        ),
        situation(
            "predict.rs",
            &["predict", RESNET, "--target", "latency-rtx4090", "--recipe", "plain"],
            "leave them out",
            without("--recipe"),
        ),
        situation(
            "model.rs",
            &["embed", RESNET, "--model", &device],
            "gennape predict --model",
            instead(&["predict", RESNET, "--model", &device]),
        ),
        situation(
            "search/measures.rs",
            &[
                "search",
                "--space",
                "nasbench_macro",
                "--objective",
                "latency=rtx4080",
                "--budget",
                "1",
                "-o",
                &path("n7"),
            ],
            "give one of i7-12700h, rtx4090",
            with("--objective", "latency=rtx4090"),
        ),
        made(
            "../latency/fit.rs",
            of_device(&few_ms, &path("few device")),
            "measure 100 networks or more",
            with("--latency", &milliseconds),
        ),
        made(
            "../latency/fit.rs",
            of_device(&no_ms, &path("no device")),
            "give milliseconds",
            after(|| fs::write(&no_ms, table_of(110, 1)).unwrap()),
        ),
        situation("../onnx/error.rs", &["predict", &unknown], "--allow-unknown", with_option()),
    ]);
    let search = ["search", "--budget", "1", "-o", &path("un"), "--from", &unknown];
    for arguments in [&["profile", &unknown][..], &["embed", &unknown], &["space", &unknown]] {
        situations.push(situation("", arguments, "--allow-unknown", with_option()));
    }
    let cut = strs(&shrink(&unknown, &path("cut.onnx")));
    situations.push(made("", cut, "--allow-unknown", with_option()));
    // There is nothing to cut from it, which is said next.
    let next = Some("nothing of this network can be cut");
    situations.push(Situation { next, ..situation("", &search, "--allow-unknown", with_option()) });

    let mut made = BTreeMap::<String, usize>::new();
    let told =
        situations.iter().map(|s| s.source).chain(NOT_FOLLOWED.iter().map(|(source, _)| *source));
    told.filter(|source| !source.is_empty()).for_each(|s| *made.entry(s.into()).or_default() += 1);
    assert_eq!(made, hints_by_source(), "every hint has a situation that it is followed in");

    for Situation { arguments, hint: part, follow, next, .. } in situations {
        let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let outcome = gennape(&given);
        assert_eq!(outcome.code, Some(1), "{arguments:?}: {}", outcome.stderr);
        let hint = hint_of(&outcome.stderr);
        assert!(hint.contains(part), "{arguments:?}: {hint}");
        let followed = follow(&arguments, &hint);
        let outcome = gennape(&followed.iter().map(String::as_str).collect::<Vec<_>>());
        match next {
            Some(next) => {
                assert!(outcome.stderr.contains(next), "{followed:?}: {}", outcome.stderr)
            }
            None => assert_eq!(outcome.code, Some(0), "{followed:?}: {}", outcome.stderr),
        }
    }
}

/// What is wrong in the arguments is the user's to mend.
#[test]
fn wrong_usage_ends_with_1_and_says_what() {
    let folder = folder("usage");
    let empty = folder.to_str().unwrap();
    let missing = folder.join("no/such/folder/x");
    let missing = missing.to_str().unwrap();
    for (arguments, says) in [
        (&["predict", "--no-such-flag", RESNET][..], "--no-such-flag"),
        (&["no-such-command"], "no-such-command"),
        (&[], "Usage"),
        (&["predict", "Cargo.toml"], "not an ONNX file"),
        (&["predict", empty], "no .onnx files"),
        (&["predict", missing], "No such file"),
        (&["predict", RESNET, "--model", missing], "there is no model"),
        (&["predict", RESNET, "--model", empty], "manifest.json"),
        (&["predict", RESNET, "--format", "xml"], "xml"),
        (&["profile", RESNET, RESNET, "--format", "svg"], "one file at a time"),
        (&["space", empty], empty),
        (&["shrink", RESNET, "--keep", "whole", "-o", missing], "No such file"),
        (&["export", "nasbench201", CELL, "-o", missing], "No such file"),
        (&["search", "--space", "darts"], "--output"),
        (&["search", "--space", "darts", "--allow-unknown", "-o", missing], "--from"),
        (&["search", "--resume", empty], "search.json"),
        (&["evaluate", "nasbench201", "--data", empty], "nasbench201.csv.gz"),
        (&["evaluate", "--labels", missing], "required"),
    ] {
        let outcome = gennape(arguments);
        assert_eq!(outcome.code, Some(1), "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{arguments:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{arguments:?}");
    }
}
