//! Malformed and hostile ONNX files, one test per class of attack, and a fuzz test. The bytes are
//! built by a few lines of protobuf encoding, so that they can be wrong in any way.

use gennape::lower;
use gennape::model_graph::{DataType, ModelGraph};
use gennape::onnx::{ErrorKind, Original, ReadError, ReadOptions, read, read_bytes};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

type Bytes = Vec<u8>;

fn varint(mut value: u64) -> Bytes {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field that holds a number.
fn number(field: u64, value: i64) -> Bytes {
    [varint(field << 3), varint(value as u64)].concat()
}

/// A field that holds bytes, text or a message.
fn bytes(field: u64, value: impl AsRef<[u8]>) -> Bytes {
    [varint(field << 3 | 2), varint(value.as_ref().len() as u64), value.as_ref().to_vec()].concat()
}

fn model(graph: &[Bytes]) -> Bytes {
    model_with(graph, &[])
}

fn model_with(graph: &[Bytes], functions: &[Bytes]) -> Bytes {
    let opset = bytes(8, number(2, 17));
    [number(1, 8), opset, bytes(7, graph.concat()), functions.concat()].concat()
}

/// A node of a graph or (`field` 7) of a function.
fn node_in(field: u64, op: &str, inputs: &[&str], outputs: &[&str], rest: &[Bytes]) -> Bytes {
    let inputs = inputs.iter().flat_map(|i| bytes(1, i));
    let outputs = outputs.iter().flat_map(|o| bytes(2, o));
    let names: Bytes = inputs.chain(outputs).collect();
    bytes(field, [names, bytes(4, op), rest.concat()].concat())
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> Bytes {
    node_in(1, op, inputs, outputs, &[])
}

/// A value with a 32-bit floating-point type and these dimensions.
fn value(field: u64, name: &str, dims: &[i64]) -> Bytes {
    let dims: Bytes = dims.iter().flat_map(|&d| bytes(1, number(1, d))).collect();
    let tensor = [number(1, 1), bytes(2, dims)].concat();
    bytes(field, [bytes(1, name), bytes(2, bytes(1, tensor))].concat())
}

fn input(name: &str, dims: &[i64]) -> Bytes {
    value(11, name, dims)
}

fn output(name: &str) -> Bytes {
    bytes(12, bytes(1, name))
}

fn tensor(name: &str, dtype: i64, dims: &[i64], rest: &[Bytes]) -> Bytes {
    let dims: Bytes = dims.iter().flat_map(|&d| number(1, d)).collect();
    [dims, number(2, dtype), bytes(8, name), rest.concat()].concat()
}

fn initialiser(name: &str, dtype: i64, dims: &[i64], rest: &[Bytes]) -> Bytes {
    bytes(5, tensor(name, dtype, dims, rest))
}

fn attribute(name: &str, kind: i64, value: Bytes) -> Bytes {
    bytes(5, [bytes(1, name), number(20, kind), value].concat())
}

/// A function called `name` of domain `d` from `x` to `y`.
fn function(name: &str, nodes: &[Bytes]) -> Bytes {
    let head = [bytes(1, name), bytes(4, "x"), bytes(5, "y"), bytes(10, "d")].concat();
    bytes(25, [head, nodes.concat(), bytes(9, number(2, 17))].concat())
}

fn call_in(field: u64, name: &str, from: &str, to: &str) -> Bytes {
    node_in(field, name, &[from], &[to], &[bytes(7, "d")])
}

/// `x -> Relu -> y` with dimensions that are known.
fn relu() -> Bytes {
    model(&[node("Relu", &["x"], &["y"]), input("x", &[1, 8]), output("y")])
}

fn parse(bytes: &[u8]) -> Result<ModelGraph, ReadError> {
    read_bytes(bytes, "test", &ReadOptions::default())
}

/// Time that this thread has had of a processor: what else the machine does says nothing of us.
fn spent() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0))
}

#[track_caller]
fn fails(bytes: &[u8], kind: ErrorKind, message: &str) -> ReadError {
    let start = spent();
    let error = parse(bytes).expect_err("read what it should have rejected");
    let took = spent() - start;
    assert!(took < Duration::from_secs(20), "took {took:?}");
    let text = error.to_string();
    assert!(error.kind() == kind && text.contains(message), "{:?}: {text}", error.kind());
    error
}

use ErrorKind::{ExternalData, InvalidGraph, LimitExceeded, Malformed, NotOnnx, Truncated};

#[test]
fn the_helpers_build_a_valid_model() {
    let graph = parse(&relu()).unwrap();
    assert_eq!(graph.nodes().len(), 1);
    assert_eq!(graph.value(graph.outputs()[0]).shape.as_slice(), [1, 8]);
}

#[test]
fn other_files_are_told_apart() {
    for (bytes, message) in [
        (&b""[..], "empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image"),
        (b"PK\x03\x04\x14\0\0\0", "ZIP"),
        (b"\x80\x02}q\0", "pickle"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"hello, this is just a line of text\n", "text: hello"),
        (b"[package]\nname = 1", "text: [package]"),
        (&[0; 64], "zeros"),
        (&[0xff; 64], "no model"),
    ] {
        fails(bytes, NotOnnx, message);
    }
    fails(&number(1, 8), NotOnnx, "no graph");
}

#[test]
fn nested_groups_are_rejected_before_protobuf_sees_them() {
    // Start-of-group tags of field 1; protobuf 3.4.0 overflows the stack on these.
    let bomb = vec![0x0b; 1 << 20];
    fails(&[relu(), bomb.clone()].concat(), Malformed, "group");
    fails(&model(&[bytes(1, &bomb), input("x", &[1]), output("y")]), Malformed, "group");
    fails(&model(&[number(99, 1), vec![0x0c]]), Malformed, "group");
    // In a field that is left out, nothing is parsed.
    assert!(parse(&[relu(), bytes(6, &bomb)].concat()).is_ok());
}

#[test]
fn deep_nesting_is_rejected() {
    let mut graph = node("Relu", &["x"], &["y"]);
    for _ in 0..1000 {
        let branch = attribute("then_branch", 5, bytes(6, &graph));
        graph = node_in(1, "If", &["x"], &["y"], &[branch]);
    }
    fails(&model(&[graph, input("x", &[1]), output("y")]), LimitExceeded, "nested");
}

#[test]
fn lengths_past_the_end_are_rejected() {
    for length in [100, u64::from(u32::MAX), u64::MAX, 1 << 63] {
        let cut = [number(1, 8), varint(7 << 3 | 2), varint(length), vec![0; 9]].concat();
        let error = fails(&cut, Truncated, "cut short");
        assert!(error.hint().is_some());
        let inner = [varint(1 << 3 | 2), varint(length), vec![0; 9]].concat();
        fails(&[model(&[inner]), number(5, 0)].concat(), Malformed, "at byte");
    }
}

#[test]
fn broken_encodings_are_rejected() {
    let graph =
        |field: Bytes| [model(&[field, input("x", &[1]), output("x")]), number(5, 0)].concat();
    fails(&graph([vec![8 << 3], vec![0xff; 10], vec![1]].concat()), Malformed, "64 bits");
    fails(&graph(vec![0x00, 0x00]), Malformed, "field number 0");
    fails(&graph([varint(1 << 32), vec![0]].concat()), Malformed, "field number");
    fails(&graph(vec![0x0e, 0x00]), Malformed, "wire type 6");
    fails(&graph(vec![0x0f, 0x00]), Malformed, "wire type 7");
    fails(&graph(number(1, 5)), Malformed, "wrong type");
    // Text in another encoding is read, as ONNX Runtime does.
    fails(&graph(bytes(1, bytes(4, [0xff, 0xfe]))), ErrorKind::UnknownOperators, r"\xFF\xFE");
}

#[test]
fn every_prefix_of_a_model_is_an_error() {
    for file in ["conv_7.onnx", "attention_23.onnx"] {
        let whole = fs::read(fixtures().join(file)).unwrap();
        for length in 0..whole.len() {
            // Cutting off only the trailing opset leaves a graph without one, still an error.
            let error = parse(&whole[..length]).expect_err("read a part of a file");
            assert!(
                matches!(error.kind(), Truncated | NotOnnx | Malformed | InvalidGraph),
                "{file} cut to {length}: {error}"
            );
        }
        parse(&whole).unwrap();
    }
}

#[test]
fn impossible_dimensions_are_rejected() {
    let weight = |dims: &[i64]| {
        let nodes = node("Add", &["x", "w"], &["y"]);
        model(&[nodes, input("x", &[1]), output("y"), initialiser("w", 1, dims, &[])])
    };
    fails(&weight(&[-1]), InvalidGraph, "'w' has a negative dimension");
    fails(&weight(&[i64::MIN]), InvalidGraph, "negative");
    fails(&weight(&[i64::MAX]), LimitExceeded, "'w'");
    fails(&weight(&[1 << 40, 1 << 40]), LimitExceeded, "too many elements");
    fails(&weight(&[1 << 40, 1 << 40, 0]), LimitExceeded, "too many elements");
    fails(&weight(&[1; 1000]), LimitExceeded, "1000 dimensions");
    let of_input =
        |dims: &[i64]| model(&[node("Relu", &["x"], &["y"]), input("x", dims), output("y")]);
    fails(&of_input(&[1, -7]), InvalidGraph, "negative");
    fails(&of_input(&[1, 1 << 50]), LimitExceeded, "'x'");
    fails(&of_input(&[1 << 40, 1 << 40]), LimitExceeded, "too many elements");
    fails(&of_input(&[1; 1000]), LimitExceeded, "1000 dimensions");
}

#[test]
fn payloads_of_any_size_leave_a_tensor_without_elements() {
    for payload in
        [vec![], bytes(9, [0; 3]), bytes(9, [0; 1000]), bytes(4, [0; 8]), bytes(5, [1; 7])]
    {
        let weight = initialiser("w", 1, &[5], &[payload]);
        let add = node("Add", &["x", "w"], &["y"]);
        let graph = parse(&model(&[add, input("x", &[1]), output("y"), weight])).unwrap();
        let weight = graph.values().iter().find(|v| &*v.name == "w").unwrap();
        assert_eq!(weight.data(), None);
    }
    // Only when a shape depends on them is it an error.
    let shape = initialiser("s", 7, &[2], &[]);
    let reshape = node("Reshape", &["x", "s"], &["y"]);
    let bytes_of = model(&[reshape, input("x", &[1, 8]), output("y"), shape]);
    fails(&bytes_of, ErrorKind::Shape, "'s'");
    // A tensor without elements has none, whatever payload comes along.
    let list = |name: &str, dims: &[i64]| initialiser(name, 7, dims, &[bytes(9, [0; 8])]);
    let slice = node("Slice", &["x", "one", "one", "none"], &["y"]);
    let lists = [list("one", &[1]), list("none", &[0])].concat();
    let bytes_of = model(&[slice, input("x", &[1, 8]), output("y"), lists]);
    fails(&bytes_of, ErrorKind::Shape, "differ in length");
}

/// Found by fuzzing: what a file leaves out may be written again, and then the types differ.
#[test]
fn positions_are_integers_even_if_they_are_not_there() {
    let ends = initialiser("ends", 1, &[1], &[]);
    let starts = initialiser("starts", 7, &[1], &[bytes(9, [0; 8])]);
    let slice = node("Slice", &["x", "starts", "ends"], &["y"]);
    let declared = value(12, "y", &[1, 8]);
    let model = model(&[slice, input("x", &[1, 8]), declared, starts, ends]);
    fails(&model, ErrorKind::Shape, "must hold integers");
}

#[test]
fn axes_that_are_no_constant_do_not_upset_lowering() {
    // Found by the fuzz test below: a reduction whose axes are the input itself.
    let keep = attribute("keepdims", 2, number(3, 0));
    let reduce = node_in(1, "ReduceL2", &["x", "x"], &["y"], &[keep]);
    let graph = [reduce, input("x", &[2, 3, 4]), output("y")].concat();
    let model = [number(1, 8), bytes(8, number(2, 18)), bytes(7, graph)].concat();
    if let Ok(graph) = parse(&model) {
        _ = lower::lower(&graph);
    }
}

#[test]
fn cycles_are_named() {
    let nodes = [
        node_in(1, "Add", &["x", "c"], &["a"], &[bytes(3, "first")]),
        node_in(1, "Relu", &["a"], &["b"], &[bytes(3, "second")]),
        node_in(1, "Relu", &["b"], &["c"], &[bytes(3, "third")]),
        node_in(1, "Relu", &["c"], &["y"], &[bytes(3, "after")]),
    ];
    let cyclic = model(&[nodes.concat(), input("x", &[1]), output("y")]);
    let text = fails(&cyclic, InvalidGraph, "cycle").to_string();
    for name in ["first", "second", "third"] {
        assert!(text.contains(name), "{text}");
    }
    assert!(!text.contains("after"), "{text}");
    let own = node("Add", &["x", "y"], &["y"]);
    fails(&model(&[own, input("x", &[1]), output("y")]), InvalidGraph, "cycle");
}

#[test]
fn missing_and_doubled_names_are_rejected() {
    let x = || input("x", &[1]);
    let relu = |from, to| node("Relu", &[from], &[to]);
    let is_invalid = |graph: &[Bytes], message| fails(&model(graph), InvalidGraph, message);
    is_invalid(&[relu("z", "y"), x(), output("y")], "'z'");
    is_invalid(&[relu("x", "y"), x(), output("z")], "'z'");
    is_invalid(&[relu("x", "y"), x()], "no outputs");
    is_invalid(&[relu("x", "y"), x(), output("y"), output("y")], "'y' stands twice");
    is_invalid(&[relu("x", "y"), x(), x(), output("y")], "'x' stands twice");
    is_invalid(&[relu("x", "y"), relu("x", "y"), x(), output("y")], "'y'");
    is_invalid(&[relu("x", "x"), x(), output("x")], "'x'");
    let w = || initialiser("w", 1, &[1], &[]);
    is_invalid(&[relu("w", "y"), w(), w(), output("y")], "'w' stands twice");
    is_invalid(&[relu("x", "w"), x(), w(), output("w")], "'w'");
    let branch = attribute("then_branch", 5, bytes(6, [relu("z", "y"), output("y")].concat()));
    let nested = node_in(1, "If", &["x"], &["y"], &[branch]);
    is_invalid(&[nested, x(), output("y")], "'z'");
}

#[test]
fn external_data_stays_inside_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("model/data")).unwrap();
    let elements: Bytes = [2i64, 4].iter().flat_map(|i| i.to_le_bytes()).collect();
    fs::write(folder.path().join("model/data/shape"), &elements).unwrap();
    fs::write(folder.path().join("secret"), &elements).unwrap();
    let path = folder.path().join("model/model.onnx");
    let load = |location: &str, offset: &str| {
        let entry = |key, value| bytes(13, [bytes(1, key), bytes(2, value)].concat());
        let external = [entry("location", location), entry("offset", offset), number(14, 1)];
        let shape = initialiser("s", 7, &[2], &external);
        let reshape = node("Reshape", &["x", "s"], &["y"]);
        let model = model(&[reshape, input("x", &[1, 8]), output("y"), shape]);
        fs::write(&path, model).unwrap();
        read(&path, &ReadOptions::default())
    };
    let graph = load("data/shape", "0").unwrap();
    assert_eq!(graph.value(graph.outputs()[0]).shape.as_slice(), [2, 4]);

    let secret = folder.path().join("secret");
    for location in ["../secret", "data/../../secret", secret.to_str().unwrap(), "..", "", "a\\b"] {
        assert_eq!(load(location, "0").unwrap_err().kind(), ExternalData, "{location}");
    }
    assert_eq!(load("data/shape", "-1").unwrap_err().kind(), ExternalData);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&secret, folder.path().join("model/link")).unwrap();
        assert_eq!(load("link", "0").unwrap_err().kind(), ExternalData);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("model/up")).unwrap();
        assert_eq!(load("up/secret", "0").unwrap_err().kind(), ExternalData);
    }
    // What is not there leaves the elements unknown, which matters here and is hinted at.
    let missing = load("data/other", "0").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Shape);
    assert!(missing.hint().unwrap().to_string().contains("data/other"));
    for offset in ["8", "18446744073709551615"] {
        assert_eq!(load("data/shape", offset).unwrap_err().kind(), ErrorKind::Shape);
    }
    assert_eq!(load("data", "0").unwrap_err().kind(), ExternalData);
    assert_eq!(load("data/shape", "none").unwrap_err().kind(), ExternalData);
}

/// An initialiser `w` of four floats that lie in another file, and a network that adds it.
fn with_data_in(location: &str, rest: &[(&str, &str)]) -> Bytes {
    let entry = |key: &str, value: &str| bytes(13, [bytes(1, key), bytes(2, value)].concat());
    let entries: Bytes = rest.iter().flat_map(|(key, value)| entry(key, value)).collect();
    let external = [entry("location", location), entries, number(14, 1)];
    let weight = initialiser("w", 1, &[4], &external);
    model(&[node("Add", &["x", "w"], &["y"]), input("x", &[1, 4]), output("y"), weight])
}

/// The elements of `w` in that network.
fn elements_of_w(path: &Path) -> Result<Option<Bytes>, ReadError> {
    let (graph, mut original) = Original::open(path, &ReadOptions::default())?;
    let w = graph.nodes()[0].inputs[1].unwrap();
    original.bytes(w, DataType::Float, graph.value(w).elements())
}

/// An estimate needs no weights, so data that is not there is a remark; a network that is written
/// needs them.
#[test]
fn external_data_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let outcome = |rest: &[(&str, &str)], data: Option<&[u8]>| {
        fs::write(&path, with_data_in("w.bin", rest)).unwrap();
        match data {
            Some(data) => fs::write(folder.path().join("w.bin"), data).unwrap(),
            None => _ = fs::remove_file(folder.path().join("w.bin")),
        }
        let remarks = read(&path, &ReadOptions::default()).map(|graph| {
            graph.remarks().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        });
        (remarks, elements_of_w(&path))
    };
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
    for (rest, data, why) in [
        (&[][..], None, "'w.bin' is not there"),
        (&[], Some(&[0; 15][..]), "'w.bin' is too short with 15 bytes"),
        (&[("offset", "8")], Some(&[0; 16]), "'w.bin' is too short with 16 bytes"),
        (&[], Some(&pointer[..]), "'w.bin' is a Git LFS pointer"),
    ] {
        let (remarks, stored) = outcome(rest, data);
        let remarks = remarks.unwrap();
        assert!(remarks.contains(why), "{remarks}");
        let error = stored.unwrap_err();
        assert_eq!(error.kind(), ExternalData);
        assert!(error.to_string().contains(why), "{error}");
    }
    let (remarks, stored) = outcome(&[("offset", "4"), ("length", "16")], Some(&[7; 20]));
    assert_eq!((remarks.unwrap().as_str(), stored.unwrap()), ("", Some(vec![7; 16])));
    // A length that is not the shape's is an error for everyone.
    let (remarks, stored) = outcome(&[("length", "12")], Some(&[0; 16]));
    assert_eq!(remarks.unwrap_err().kind(), ExternalData);
    assert_eq!(stored.unwrap_err().kind(), ExternalData);
}

/// `snapshots/REVISION/model.onnx` and its data are links into `blobs`, which nothing else opens.
#[cfg(unix)]
#[test]
fn caches_of_links_are_read() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("snapshots/1");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(folder.path().join("blobs/deeper")).unwrap();
    let data: Bytes = [1f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    fs::write(folder.path().join("blobs/aa"), with_data_in("model.onnx_data", &[])).unwrap();
    fs::write(folder.path().join("blobs/bb"), &data).unwrap();
    fs::write(folder.path().join("blobs/deeper/cc"), &data).unwrap();
    fs::write(folder.path().join("secret"), &data).unwrap();
    let (model, weights) = (snapshot.join("model.onnx"), snapshot.join("model.onnx_data"));
    symlink("../../blobs/aa", &model).unwrap();
    let bytes = |target: &str| {
        _ = fs::remove_file(&weights);
        symlink(target, &weights).unwrap();
        elements_of_w(&model)
    };
    assert_eq!(bytes("../../blobs/bb").unwrap(), Some(data));
    let graph = read(&model, &ReadOptions::default()).unwrap();
    assert!(graph.values().iter().any(|v| &*v.name == "w" && v.data().is_some()));
    for outside in ["../../secret", "../../blobs/deeper/cc"] {
        assert_eq!(bytes(outside).unwrap_err().kind(), ExternalData);
        assert_eq!(read(&model, &ReadOptions::default()).unwrap_err().kind(), ExternalData);
    }
}

/// Opening a pipe would wait for ever; reading a device has no end.
#[cfg(unix)]
#[test]
fn pipes_devices_and_folders_are_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.onnx");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for path in [pipe.as_path(), Path::new("/dev/zero")] {
        let error = read(path, &ReadOptions::default()).unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
        assert!(Original::open(path, &ReadOptions::default()).is_err());
    }
    assert_eq!(read(folder.path(), &ReadOptions::default()).unwrap_err().kind(), ErrorKind::Io);
    let path = folder.path().join("model.onnx");
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero")).unwrap();
    for location in ["pipe.onnx", "zero"] {
        fs::write(&path, with_data_in(location, &[])).unwrap();
        let error = read(&path, &ReadOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ExternalData);
        assert!(error.to_string().contains(location), "{error}");
    }
}

/// Whoever shortens a file while it is read gives an error or the old network, no dead process.
#[test]
fn a_file_cut_while_it_is_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let nodes: Bytes = (0..2000)
        .flat_map(|i| {
            let weight =
                initialiser(&format!("w{i}"), 1, &[1 << 13], &[bytes(9, vec![1; 4 << 13])]);
            [node("Add", &[&format!("t{i}"), &format!("w{i}")], &[&format!("t{}", i + 1)]), weight]
                .concat()
        })
        .collect();
    let file = model(&[nodes, input("t0", &[1]), output("t2000")]);
    let done = std::sync::atomic::AtomicBool::new(false);
    fs::write(&path, &file).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let open = || fs::OpenOptions::new().write(true).open(&path).unwrap();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                open().set_len(1 << 16).unwrap();
                open().set_len(file.len() as u64).unwrap();
            }
        });
        for _ in 0..20 {
            if let Err(error) = read(&path, &ReadOptions::default()) {
                assert_ne!(error.to_string(), "");
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn recursive_functions_are_rejected() {
    let main = [call_in(1, "f", "x", "y"), input("x", &[1]), output("y")];
    let own = function("f", &[call_in(7, "f", "x", "y")]);
    fails(&model_with(&main, &[own]), InvalidGraph, "calls itself");
    let f = function("f", &[call_in(7, "g", "x", "y")]);
    let g = function("g", &[call_in(7, "f", "x", "y")]);
    fails(&model_with(&main, &[f, g]), InvalidGraph, "calls itself");
}

/// Function `f{i}` is what `body(name of the next)` says; the last one is a Relu.
fn chain(length: usize, body: impl Fn(&str) -> Bytes) -> Bytes {
    let last = node_in(7, "Relu", &["x"], &["y"], &[]);
    let functions: Vec<Bytes> = (0..length)
        .map(|i| {
            let body = if i + 1 < length { body(&format!("f{}", i + 1)) } else { last.clone() };
            function(&format!("f{i}"), &[body])
        })
        .collect();
    model_with(&[call_in(1, "f0", "x", "y"), input("x", &[1]), output("y")], &functions)
}

#[test]
fn long_chains_of_calls_are_rejected() {
    fails(&chain(100_000, |next| call_in(7, next, "x", "y")), LimitExceeded, "nested");
    assert!(parse(&chain(32, |next| call_in(7, next, "x", "y"))).is_ok());
}

#[test]
fn function_bombs_are_rejected() {
    // Thirty functions that each call the next one twice: 2^30 nodes.
    let twice = |next: &str| [call_in(7, next, "x", "a"), call_in(7, next, "a", "y")].concat();
    fails(&chain(30, twice), LimitExceeded, "too many nodes");
}

#[test]
fn branch_bombs_are_rejected() {
    // As above, but each call stands in the taken branch of an If.
    let twice = |next: &str| {
        let calls = [call_in(1, next, "x", "a"), call_in(1, next, "a", "b"), output("b")].concat();
        let branch = attribute("then_branch", 5, bytes(6, calls));
        let yes = attribute("value", 4, bytes(5, tensor("", 9, &[], &[bytes(9, [1])])));
        let condition = node_in(7, "Constant", &[], &["c"], &[yes]);
        [condition, node_in(7, "If", &["c"], &["y"], &[branch])].concat()
    };
    fails(&chain(30, twice), LimitExceeded, "too many nodes");
    assert!(parse(&chain(5, twice)).is_ok());
}

#[test]
fn copies_of_large_attributes_are_bounded() {
    // One megabyte of attribute, copied by each of 4,096 calls.
    let ints = attribute("consumed_inputs", 7, bytes(8, vec![1; 1 << 20]));
    let large = function("large", &[node_in(7, "Relu", &["x"], &["y"], &[ints])]);
    let calls: Bytes = (0..4096).flat_map(|i| call_in(1, "large", "x", &format!("y{i}"))).collect();
    let bomb = model_with(&[calls, input("x", &[1]), output("y0")], &[large]);
    fails(&bomb, LimitExceeded, "bytes");
}

#[test]
fn repeated_constants_names_and_inputs_are_bounded() {
    let bomb = |large: Bytes| {
        let calls: Bytes =
            (0..4096).flat_map(|i| call_in(1, "large", "x", &format!("y{i}"))).collect();
        let large = function("large", &[large]);
        fails(
            &model_with(&[calls, input("x", &[1]), output("y0")], &[large]),
            LimitExceeded,
            "bytes",
        );
    };
    let inputs = bytes(1, "x").repeat(100_000);
    bomb(node_in(7, "Sum", &["x"], &["y"], &[inputs]));
    bomb(node_in(7, "Relu", &["x"], &["y"], &[bytes(3, "n".repeat(1 << 20))]));
    let yes = attribute("value", 4, bytes(5, tensor("", 9, &[], &[bytes(9, [1])])));
    let constants: Bytes =
        (0..10_000).flat_map(|i| initialiser(&format!("w{i}"), 1, &[9999], &[])).collect();
    let branch = [constants, node("Relu", &["x"], &["b"]), output("b")].concat();
    let branch = attribute("then_branch", 5, bytes(6, branch));
    let condition = node_in(7, "Constant", &[], &["c"], &[yes]);
    bomb([condition, node_in(7, "If", &["c"], &["y"], &[branch])].concat());
}

#[test]
fn folding_work_is_bounded() {
    let wide = initialiser("w", 7, &[65_536], &[bytes(9, vec![0; 8 * 65_536])]);
    let inputs = bytes(1, "w").repeat(100_000);
    let max = node_in(1, "Max", &["w"], &["y"], &[inputs]);
    let model = model(&[max, wide, input("x", &[1]), output("y"), output("x")]);
    let start = spent();
    // The elements are left unknown: nothing needs them.
    let graph = parse(&model).unwrap();
    assert!(graph.value(graph.outputs()[0]).data().is_none());
    let took = spent() - start;
    assert!(took < Duration::from_secs(5), "took {took:?}");
}

#[test]
fn branches_and_calls_as_deep_as_allowed_fit_the_stack() {
    let deep = |next: &str| {
        let mut body = call_in(1, next, "x", "b");
        for _ in 0..8 {
            let branch = attribute("then_branch", 5, bytes(6, [body, output("b")].concat()));
            body = node_in(1, "If", &["c"], &["b"], &[branch]);
        }
        let branch = attribute("then_branch", 5, bytes(6, [body, output("b")].concat()));
        let yes = attribute("value", 4, bytes(5, tensor("", 9, &[], &[bytes(9, [1])])));
        let condition = node_in(7, "Constant", &[], &["c"], &[yes]);
        [condition, node_in(7, "If", &["c"], &["y"], &[branch])].concat()
    };
    let graph = parse(&chain(32, deep)).unwrap();
    assert_eq!(graph.nodes().len(), 1);
}

#[test]
fn folded_constants_are_bounded() {
    let shape = initialiser("s", 7, &[1], &[bytes(9, 65_536i64.to_le_bytes())]);
    let fills: Bytes =
        (0..20_000).flat_map(|i| node("ConstantOfShape", &["s"], &[&format!("y{i}")])).collect();
    let graph = parse(&model(&[fills, shape, output("y0")])).unwrap();
    let known = graph.values().iter().filter_map(|v| Some(v.data()?.len())).sum::<usize>();
    assert!(known < 1 << 24, "{known}");
}

#[test]
fn counts_are_limited() {
    let nodes = bytes(1, "").repeat(1_000_001);
    fails(&model(&[nodes, input("x", &[1]), output("x")]), LimitExceeded, "nodes");
    let weights = bytes(5, "").repeat(3_000_000);
    fails(&model(&[weights, input("x", &[1]), output("x")]), LimitExceeded, "memory");
    let attributes = attribute("a", 2, number(3, 1)).repeat(65);
    fails(
        &model(&[bytes(1, attributes), input("x", &[1]), output("x")]),
        LimitExceeded,
        "attributes",
    );
    let ints = attribute("axes", 7, bytes(8, vec![1; 100 << 20]));
    let node = node_in(1, "Relu", &["x"], &["y"], &[ints]);
    fails(&model(&[node, input("x", &[1]), output("y")]), LimitExceeded, "list");
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/shapes")
}

mod fuzz {
    use super::*;
    use gennape::subnetworks::{SubNetwork, SuperNetwork};
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::{panic, thread};

    /// Protobuf as the encoding alone shows it.
    #[derive(Clone)]
    enum Value {
        Number(u64),
        Fixed(Bytes),
        Bytes(Bytes),
        Message(Message),
    }

    type Message = Vec<(u64, Value)>;

    fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
        let (head, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(head)
    }

    /// `None` when the bytes are no message; short texts may be taken for one.
    fn decode(mut bytes: &[u8]) -> Option<Message> {
        let mut message = Vec::new();
        while !bytes.is_empty() {
            let tag = take_varint(&mut bytes)?;
            let value = match tag & 7 {
                0 => Value::Number(take_varint(&mut bytes)?),
                1 => Value::Fixed(take(&mut bytes, 8)?.to_vec()),
                5 => Value::Fixed(take(&mut bytes, 4)?.to_vec()),
                2 => {
                    let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                    let inner = take(&mut bytes, length)?;
                    let is_text = inner.iter().all(|b| b.is_ascii_graphic());
                    match decode(inner).filter(|_| !is_text) {
                        Some(message) => Value::Message(message),
                        None => Value::Bytes(inner.to_vec()),
                    }
                }
                _ => return None,
            };
            message.push((tag >> 3, value));
        }
        Some(message)
    }

    fn encode(message: &Message) -> Bytes {
        let field = |(field, value): &(u64, Value)| match value {
            Value::Number(n) => number(*field, *n as i64),
            Value::Fixed(b) => {
                [varint(field << 3 | if b.len() == 8 { 1 } else { 5 }), b.clone()].concat()
            }
            Value::Bytes(b) => bytes(*field, b),
            Value::Message(m) => bytes(*field, encode(m)),
        };
        message.iter().flat_map(field).collect()
    }

    /// All numbers, texts and fields of the corpus, to build mutants from.
    #[derive(Default)]
    struct Pool {
        texts: Vec<Bytes>,
        fields: Vec<(u64, Value)>,
    }

    impl Pool {
        fn add(&mut self, message: &Message) {
            for field in message {
                match &field.1 {
                    Value::Bytes(b) => self.texts.push(b.clone()),
                    Value::Message(m) => self.add(m),
                    _ => {}
                }
                self.fields.push(field.clone());
            }
        }
    }

    fn interesting(rng: &mut StdRng, old: u64) -> u64 {
        match rng.gen_range(0..8) {
            0 => 0,
            1 => old.wrapping_add(1),
            2 => old.wrapping_sub(1),
            3 => rng.gen_range(0..20),
            4 => 1 << rng.gen_range(0..64),
            5 => u64::MAX - rng.gen_range(0..4),
            6 => i64::MAX as u64 - rng.gen_range(0..2),
            _ => rng.r#gen(),
        }
    }

    /// Changes one field somewhere in the message.
    fn mutate(message: &mut Message, pool: &Pool, rng: &mut StdRng) {
        if message.is_empty() || rng.gen_ratio(1, 12) {
            let field = pool.fields.choose(rng).unwrap().clone();
            message.insert(rng.gen_range(0..=message.len()), field);
            return;
        }
        let at = rng.gen_range(0..message.len());
        if let Value::Message(inner) = &mut message[at].1 {
            // Mostly downwards: most of a model lies deep.
            if rng.gen_ratio(9, 10) {
                return mutate(inner, pool, rng);
            }
        }
        match rng.gen_range(0..5) {
            0 => _ = message.remove(at),
            1 => message.insert(rng.gen_range(0..=at), message[at].clone()),
            2 => {
                let other = rng.gen_range(0..message.len());
                message.swap(at, other);
            }
            _ => match &mut message[at].1 {
                Value::Number(n) => *n = interesting(rng, *n),
                Value::Fixed(b) => rng.fill(b.as_mut_slice()),
                // Eight bytes at a time is an element of the usual shape tensor.
                Value::Bytes(b) if b.len() % 8 == 0 && !b.is_empty() && rng.gen_bool(0.7) => {
                    let element = rng.gen_range(0..b.len() / 8) * 8;
                    let bytes: [u8; 8] = b[element..element + 8].try_into().unwrap();
                    let new = interesting(rng, u64::from_le_bytes(bytes)).to_le_bytes();
                    b[element..element + 8].copy_from_slice(&new);
                }
                Value::Bytes(b) => *b = pool.texts.choose(rng).unwrap().clone(),
                Value::Message(_) => message[at] = pool.fields.choose(rng).unwrap().clone(),
            },
        }
    }

    /// Changes bytes without regard to what they mean.
    fn corrupt(bytes: &mut Bytes, rng: &mut StdRng) {
        for _ in 0..rng.gen_range(1..4) {
            if bytes.is_empty() {
                return;
            }
            let at = rng.gen_range(0..bytes.len());
            match rng.gen_range(0..4) {
                0 => bytes[at] ^= 1 << rng.gen_range(0..8),
                1 => bytes[at] = *[0, 0x7f, 0x80, 0xff].choose(rng).unwrap(),
                2 => _ = bytes.remove(at),
                _ => bytes.insert(at, rng.r#gen()),
            }
        }
    }

    /// What users do with a file. The result does not matter, only that there is one.
    fn exercise(bytes: &[u8]) -> bool {
        let options = ReadOptions { allow_unknown: true, ..Default::default() };
        let Ok(graph) = read_bytes(bytes, "fuzz", &options) else { return false };
        _ = lower::lower(&graph);
        let mut written = Vec::new();
        if gennape::onnx::write(&graph, &mut written, gennape::onnx::Weights::Stripped).is_ok() {
            // Constants that are folded now were nodes before, so this may fail, but not panic.
            _ = read_bytes(&written, "fuzz", &options);
        }
        let space = SuperNetwork::new(graph);
        for sub in [space.smallest(), SubNetwork::default()] {
            // Whatever the network, what is left of it is valid.
            let built = space.build(&sub).unwrap_or_else(|e| panic!("{sub}: {e}"));
            _ = lower::lower(&built);
        }
        true
    }

    /// The smaller ONNX files under `folder`: thousands of mutants of them can be tried a second.
    fn collect(folder: &Path, corpus: &mut Vec<Message>) {
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                collect(&path, corpus);
            } else if let Some(bytes) = crate::fixtures::onnx(&path) {
                // Some fixtures are other files under this name.
                corpus.extend(decode(&bytes).filter(|_| bytes.len() < 40_000));
            }
        }
    }

    thread_local! {
        /// Where the mutant under test panicked.
        static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
    }

    /// Notes where a panic happens on this thread instead of printing it.
    fn note_panics() {
        let fuzzing = thread::current().id();
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().id() == fuzzing {
                PANICKED_AT.set(info.location().map(ToString::to_string));
            } else {
                print(info);
            }
        }));
    }

    /// `GENNAPE_FUZZ_MUTANTS` (1,000 by default) of the fixtures and examples, from
    /// `GENNAPE_FUZZ_SEED`. One mutant for each place that panics, and each that takes long, is
    /// written to the temporary folder.
    #[test]
    fn mutants_neither_panic_nor_take_long() {
        let variable = |name, default| {
            std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok()).unwrap_or(default)
        };
        let mutants = variable("GENNAPE_FUZZ_MUTANTS", 1000);
        let mut rng = StdRng::seed_from_u64(variable("GENNAPE_FUZZ_SEED", 0));
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut corpus = vec![decode(&relu()).unwrap()];
        collect(&root.join("tests/fixtures"), &mut corpus);
        collect(&root.join("data/examples"), &mut corpus);
        let mut pool = Pool::default();
        corpus.iter().for_each(|m| pool.add(m));

        note_panics();
        let mut findings = BTreeMap::new();
        let mut valid = 0u64;
        for mutant in 0..mutants {
            let mut message = corpus.choose(&mut rng).unwrap().clone();
            for _ in 0..rng.gen_range(1..6) {
                mutate(&mut message, &pool, &mut rng);
            }
            let mut bytes = encode(&message);
            if rng.gen_ratio(1, 10) {
                corrupt(&mut bytes, &mut rng);
            }
            let began = spent();
            let outcome = panic::catch_unwind(|| exercise(&bytes));
            let problem = match &outcome {
                Err(_) => Some(format!("panicked at {}", PANICKED_AT.take().unwrap_or_default())),
                Ok(_) if spent() - began > Duration::from_secs(5) => Some("took long".to_string()),
                Ok(_) => None,
            };
            if let Some(problem) = problem {
                findings.entry(problem).or_insert_with(|| {
                    let path = std::env::temp_dir().join(format!("gennape-fuzz-{mutant}.onnx"));
                    fs::write(&path, &bytes).unwrap();
                    path
                });
            } else if outcome.is_ok_and(|valid| valid) {
                valid += 1;
                // Some become parents, so that changes add up.
                if valid.is_multiple_of(16) && corpus.len() < 4096 {
                    corpus.push(message);
                }
            }
        }
        _ = panic::take_hook();
        eprintln!("{mutants} mutants, {valid} of them valid");
        assert!(findings.is_empty(), "{findings:#?}");
        assert!(valid > 0, "the mutator only makes garbage");
    }
}
