//! Files with sub-networks, message by message.

use super::{Content, Edits, write_edited};
use crate::lower::lower;
use crate::onnx::tests::{branch, call, int, ints, model, node, value};
use crate::onnx::{DataFile, Original, ReadOptions, read_bytes};
use crate::subnetworks::SuperNetwork;
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::tensor_shape_proto::dimension;
use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, ValueInfoProto,
};
use protobuf::MessageField;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder of its own, deleted in the end.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// What `text` makes of the network in `path`, and what is said of it. It is the network that the
/// space of sub-networks says.
fn shrink_file(path: &Path, options: &ReadOptions, text: &str) -> (Vec<u8>, Vec<String>) {
    let (graph, mut original) = Original::open(path, options).unwrap();
    let space = SuperNetwork::new(graph);
    let sub = space.parse(text).unwrap();
    let mut out = Vec::new();
    let shrunk = space.shrink(&sub, &mut original, &mut out, None).unwrap();
    let again = read_bytes(&out, "again", options).unwrap();
    let (built, written) = (lower(&shrunk.graph).unwrap(), lower(&again).unwrap());
    assert_eq!(built.fingerprint(), written.fingerprint(), "{}: {text}", path.display());
    (out, shrunk.notes)
}

fn shrink_with(model: &ModelProto, options: &ReadOptions, text: &str) -> (ModelProto, Vec<String>) {
    let folder = Folder::new();
    let path = folder.write("model.onnx", &model.write_to_bytes().unwrap());
    let (bytes, notes) = shrink_file(&path, options, text);
    (ModelProto::parse_from_bytes(&bytes).unwrap(), notes)
}

fn shrink(model: &ModelProto, text: &str) -> (ModelProto, Vec<String>) {
    shrink_with(model, &ReadOptions::default(), text)
}

/// A weight whose elements are their positions.
fn weight(name: &str, dims: &[i64]) -> TensorProto {
    let count: i64 = dims.iter().product();
    TensorProto {
        name: name.into(),
        data_type: 1,
        dims: dims.to_vec(),
        raw_data: (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect(),
        ..Default::default()
    }
}

fn elements(tensor: &TensorProto) -> Vec<f32> {
    tensor.raw_data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

fn initialiser<'a>(model: &'a ModelProto, name: &str) -> &'a TensorProto {
    model.graph.initializer.iter().find(|t| t.name == name).unwrap()
}

fn constant(output: &str, tensor: TensorProto) -> NodeProto {
    let attribute = AttributeProto {
        name: "value".into(),
        type_: AttributeType::TENSOR.into(),
        t: MessageField::some(tensor),
        ..Default::default()
    };
    NodeProto { attribute: vec![attribute], ..node("Constant", &[], &[output]) }
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: key.into(), value: value.into(), ..Default::default() }
}

/// Extents as text; `?` for those that are open.
fn dims(info: &ValueInfoProto) -> Vec<String> {
    let dims = &info.type_.tensor_type().shape.dim;
    let dim = |d: &onnx_protobuf::tensor_shape_proto::Dimension| match &d.value {
        Some(dimension::Value::DimValue(size)) => size.to_string(),
        Some(dimension::Value::DimParam(symbol)) => symbol.clone(),
        _ => "?".into(),
    };
    dims.iter().map(dim).collect()
}

/// Two 1x1 convolutions with as much around them as a file can have; `N` images.
fn documented() -> ModelProto {
    let mut first = node("Conv", &["x", "w1", "b1"], &["a"]);
    (first.name, first.doc_string) = ("first".into(), "The first.".into());
    let mut model = model(GraphProto {
        name: "graph".into(),
        doc_string: "A graph.".into(),
        node: vec![
            first,
            node("Relu", &["a"], &["r"]),
            node("Conv", &["r", "w2"], &["y"]),
            node("Relu", &["x"], &["nobody"]),
        ],
        input: vec![value("x", &["N", "3", "4", "4"])],
        output: vec![value("y", &["N", "2", "4", "4"])],
        initializer: vec![
            weight("w1", &[4, 3, 1, 1]),
            weight("b1", &[4]),
            weight("w2", &[2, 4, 1, 1]),
            weight("unused", &[2, 2]),
        ],
        value_info: vec![value("a", &["N", "4", "4", "4"]), value("r", &["N", "C", "?", "4"])],
        ..Default::default()
    });
    model.graph.as_mut().unwrap().initializer[0].doc_string = "Weights.".into();
    model.producer_name = "somebody".into();
    model.producer_version = "3".into();
    model.domain = "org.example".into();
    model.model_version = 7;
    model.doc_string = "A model.".into();
    model.metadata_props = vec![entry("author", "me"), entry("licence", "free")];
    let custom = OperatorSetIdProto { domain: "custom".into(), version: 2, ..Default::default() };
    model.opset_import.push(custom);
    model
}

#[test]
fn only_what_is_cut_changes() {
    let whole = documented();
    assert_eq!(shrink(&whole, "whole"), (whole.clone(), Vec::new()));

    let (mut half, notes) = shrink(&whole, "c0=1/2");
    assert!(notes.is_empty(), "{notes:?}");
    // Of weights that count upwards, the last are the largest.
    assert_eq!(initialiser(&half, "w1").dims, [2, 3, 1, 1]);
    assert_eq!(elements(initialiser(&half, "w1")), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
    assert_eq!(elements(initialiser(&half, "b1")), [2.0, 3.0]);
    assert_eq!(elements(initialiser(&half, "w2")), [2.0, 3.0, 6.0, 7.0]);
    let infos: Vec<_> = half.graph.value_info.iter().map(dims).collect();
    assert_eq!(infos, [["N", "2", "4", "4"], ["N", "?", "?", "4"]]);
    // With these put back, nothing else has changed.
    let graph = half.graph.as_mut().unwrap();
    graph.value_info = whole.graph.value_info.clone();
    for tensor in &mut graph.initializer {
        let old = initialiser(&whole, &tensor.name);
        (tensor.dims, tensor.raw_data) = (old.dims.clone(), old.raw_data.clone());
    }
    assert_eq!(half, whole);
}

#[test]
fn whole_sub_networks_are_the_same_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        let parse = |bytes: &[u8]| ModelProto::parse_from_bytes(bytes).unwrap();
        let (written, notes) = shrink_file(&path, &ReadOptions::default(), "whole");
        assert!(parse(&written) == parse(&std::fs::read(&path).unwrap()), "{}", path.display());
        assert!(notes.is_empty(), "{notes:?}");
        count += 1;
    }
    assert_eq!(count, 14);
}

/// A convolution whose map of `N` images is flattened, to a shape that is computed as exporters
/// write it, for a linear layer.
fn flattened(target: Vec<NodeProto>) -> ModelProto {
    let mut nodes = vec![node("Conv", &["x", "w1"], &["a"])];
    nodes.extend(target);
    nodes.push(node("Reshape", &["a", "shape"], &["flat"]));
    nodes.push(node("MatMul", &["flat", "w2"], &["y"]));
    model(GraphProto {
        node: nodes,
        input: vec![value("x", &["N", "3", "2", "2"])],
        output: vec![value("y", &["N", "5"])],
        initializer: vec![
            weight("w1", &[4, 3, 1, 1]),
            weight("w2", &[16, 5]),
            ints("given", &[1, 16]),
            ints("open", &[0, 16]),
            ints("rest", &[-1, 16]),
            ints("zero", &[0]),
            ints("sixteen", &[16]),
        ],
        ..Default::default()
    })
}

#[test]
fn shapes_keep_what_the_user_left_open() {
    let list = |model: &ModelProto, name: &str| initialiser(model, name).raw_data.clone();
    for (name, kept) in [("given", 1i64), ("open", 0), ("rest", -1)] {
        let whole = flattened(vec![node("Identity", &["a"], &["spare"])]);
        let mut whole = ModelProto::clone(&whole);
        whole.graph.as_mut().unwrap().node[2].input[1] = name.into();
        let (half, _) = shrink(&whole, "c0=1/2");
        let expected: Vec<u8> = [kept, 8].iter().flat_map(|i| i.to_le_bytes()).collect();
        assert_eq!(list(&half, name), expected);
        assert_eq!(half.graph.node.len(), 3, "the unused Identity reads what was cut");
    }
    // Computed from the shape of the image.
    let whole = flattened(vec![
        node("Shape", &["a"], &["s"]),
        node("Gather", &["s", "zero"], &["n"]),
        node("Concat", &["n", "sixteen"], &["shape"]),
    ]);
    let mut whole = ModelProto::clone(&whole);
    whole.graph.as_mut().unwrap().node[3].attribute = vec![int("axis", 0)];
    let (half, _) = shrink(&whole, "c0=1/2");
    assert_eq!(dims(&half.graph.input[0]), ["N", "3", "2", "2"]);
    for images in [1, 3] {
        let given = vec![("x".to_string(), vec![images, 3, 2, 2])];
        let options = ReadOptions { input_shapes: given, ..Default::default() };
        let bytes = half.write_to_bytes().unwrap();
        let graph = read_bytes(&bytes, "half", &options).unwrap();
        assert_eq!(graph.value(graph.outputs()[0]).shape.as_slice(), [images, 5]);
    }
}

/// A function of a convolution with the weight `w` and an activation.
fn block(name: &str, weight: Option<TensorProto>) -> FunctionProto {
    let own = weight.is_some();
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    let mut nodes: Vec<NodeProto> = weight.map(|w| constant("w", w)).into_iter().collect();
    nodes.extend([node("Conv", &["x", "w"], &["c"]), node("Relu", &["c"], &["y"])]);
    FunctionProto {
        name: name.into(),
        domain: "local".into(),
        input: if own { vec!["x".into()] } else { vec!["x".into(), "w".into()] },
        output: vec!["y".into()],
        node: nodes,
        opset_import: vec![opset],
        doc_string: "A block.".into(),
        ..Default::default()
    }
}

fn with_functions() -> ModelProto {
    let mut model = model(GraphProto {
        node: vec![
            call("block", &["x", "w1"], &["a"]),
            call("own", &["a"], &["b"]),
            call("block", &["b", "w2"], &["c"]),
            node("Conv", &["c", "w3"], &["y"]),
        ],
        input: vec![value("x", &["N", "3", "4", "4"])],
        initializer: vec![
            weight("w1", &[4, 3, 1, 1]),
            weight("w2", &[6, 8, 1, 1]),
            weight("w3", &[2, 6, 1, 1]),
        ],
        ..Default::default()
    });
    let own = block("own", Some(weight("", &[8, 4, 1, 1])));
    model.functions = vec![block("block", None), own, block("spare", None)];
    let local = OperatorSetIdProto { domain: "local".into(), version: 1, ..Default::default() };
    model.opset_import.push(local);
    model
}

#[test]
fn functions_stay_unless_something_inside_changes() {
    let whole = with_functions();
    assert_eq!(shrink(&whole, "whole").0, whole);
    let names = |model: &ModelProto| -> Vec<String> {
        model.functions.iter().map(|f| f.name.clone()).collect()
    };
    // What the calls are given is cut.
    let (cut, notes) = shrink(&whole, "c2=1/2");
    assert_eq!((names(&cut), notes), (names(&whole), Vec::new()));
    assert_eq!(cut.functions, whole.functions);
    assert_eq!(initialiser(&cut, "w2").dims, [3, 8, 1, 1]);
    // A function with a weight of its own is written out, and goes as nothing else calls it.
    let (cut, notes) = shrink(&whole, "c1=1/2");
    assert_eq!(names(&cut), ["block", "spare"]);
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("'own' is written out once"), "{notes:?}");
    let ops: Vec<&str> = cut.graph.node.iter().map(|n| &*n.op_type).collect();
    assert_eq!(ops, ["block", "Constant", "Conv", "Relu", "block", "Conv"]);
    assert_eq!(cut.graph.node[1].attribute[0].t.dims, [4, 4, 1, 1]);
    assert_eq!(cut.graph.node[3].output, ["b"]);
    // Another activation in one of two calls.
    let (cut, _) = shrink(&whole, "a0=silu");
    assert_eq!(names(&cut), names(&whole));
    let ops: Vec<&str> = cut.graph.node.iter().map(|n| &*n.op_type).collect();
    assert_eq!(ops, ["Conv", "Sigmoid", "Mul", "own", "block", "Conv"]);
}

/// A graph of calls alone names no version of ONNX's operators; one with their bodies must.
#[test]
fn operators_that_a_file_had_none_of_are_imported() {
    let mut whole = with_functions();
    let graph = whole.graph.as_mut().unwrap();
    graph.node.pop();
    graph.output[0].name = "c".into();
    whole.opset_import.remove(0);
    assert_eq!(shrink(&whole, "whole").0, whole);
    let (cut, _) = shrink(&whole, "a0=silu");
    let imports: Vec<_> = cut.opset_import.iter().map(|o| (&*o.domain, o.version)).collect();
    assert_eq!(imports, [("local", 1), ("", 17)]);
}

#[test]
fn weights_in_the_branch_that_is_taken_are_cut() {
    let side = |name: &str, kernel: i64, output: &str| {
        let weights = format!("{output}_w");
        let mut conv = node("Conv", &["a", &weights], &[output]);
        conv.attribute = vec![AttributeProto {
            name: "pads".into(),
            type_: AttributeType::INTS.into(),
            ints: vec![kernel / 2; 4],
            ..Default::default()
        }];
        branch(name, vec![constant(&weights, weight("", &[8, 4, kernel, kernel])), conv], output)
    };
    let decider =
        TensorProto { name: "yes".into(), data_type: 9, raw_data: vec![1], ..Default::default() };
    let choice = NodeProto {
        attribute: vec![side("then_branch", 3, "t"), side("else_branch", 1, "e")],
        ..node("If", &["yes"], &["b"])
    };
    let whole = model(GraphProto {
        node: vec![
            constant("w1", weight("", &[4, 3, 1, 1])),
            node("Conv", &["x", "w1"], &["a"]),
            choice,
            constant("w2", weight("", &[2, 8, 1, 1])),
            node("Conv", &["b", "w2"], &["y"]),
        ],
        input: vec![value("x", &["N", "3", "4", "4"])],
        initializer: vec![decider],
        ..Default::default()
    });
    assert_eq!(shrink(&whole, "whole").0, whole);
    let (cut, notes) = shrink(&whole, "c0=1/2,c1=1/4");
    assert!(notes[0].contains("then_branch"), "{notes:?}");
    let graph = &cut.graph;
    let shapes: Vec<&[i64]> = graph
        .node
        .iter()
        .filter(|n| n.op_type == "Constant")
        .map(|n| &*n.attribute[0].t.dims)
        .collect();
    assert_eq!(shapes, [&[2, 3, 1, 1][..], &[2, 2, 3, 3], &[2, 2, 1, 1]]);
    // Where the weights were Constant nodes they still are, and what decided has no use.
    assert!(graph.initializer.is_empty());
}

#[test]
fn an_output_keeps_its_name_without_the_branch_that_made_it() {
    let mut sum = node("Add", &["a", "b"], &["y"]);
    sum.name = "sum".into();
    let whole = model(GraphProto {
        node: vec![node("Conv", &["x", "w1"], &["a"]), node("Conv", &["a", "w2"], &["b"]), sum],
        input: vec![value("x", &["N", "3", "4", "4"])],
        output: vec![value("y", &["N", "4", "4", "4"])],
        initializer: vec![weight("w1", &[4, 3, 1, 1]), weight("w2", &[4, 4, 1, 1])],
        ..Default::default()
    });
    let (cut, _) = shrink(&whole, "-b0");
    assert_eq!(cut.graph.output, whole.graph.output);
    let ops: Vec<&str> = cut.graph.node.iter().map(|n| &*n.op_type).collect();
    assert_eq!(ops, ["Conv", "Identity"]);
    assert_eq!(cut.graph.initializer.len(), 1);

    // Weights that are given as inputs: what nothing uses need not be given.
    let mut given = whole.clone();
    let graph = given.graph.as_mut().unwrap();
    graph.input.push(value("w1", &["4", "3", "1", "1"]));
    graph.input.push(value("w2", &["4", "4", "1", "1"]));
    graph.initializer.clear();
    let (cut, _) = shrink(&given, "-b0");
    let inputs: Vec<&str> = cut.graph.input.iter().map(|i| &*i.name).collect();
    assert_eq!(inputs, ["x", "w1"]);
}

#[test]
fn weights_in_other_files_come_to_stand_inside() {
    let whole = documented();
    let mut outside = whole.clone();
    let mut data = vec![0; 16];
    for (i, tensor) in outside.graph.as_mut().unwrap().initializer.iter_mut().enumerate() {
        // The first two in one file, one after the other.
        let file = if i < 2 { "data/first.bin".to_string() } else { format!("data/{i}.bin") };
        let offset = if i < 2 { data.len() } else { 0 };
        if i < 2 {
            data.extend(&tensor.raw_data);
        }
        let length = tensor.raw_data.len().to_string();
        tensor.external_data = vec![
            entry("location", &file),
            entry("offset", &offset.to_string()),
            entry("length", &length),
        ];
        tensor.data_location = DataLocation::EXTERNAL.into();
        tensor.raw_data.clear();
    }
    let folder = Folder::new();
    let path = folder.write("model.onnx", &outside.write_to_bytes().unwrap());
    folder.write("data/first.bin", &data);
    for i in [2, 3] {
        folder.write(&format!("data/{i}.bin"), &whole.graph.initializer[i].raw_data);
    }
    for text in ["whole", "c0=1/2"] {
        let (bytes, _) = shrink_file(&path, &ReadOptions::default(), text);
        let written = ModelProto::parse_from_bytes(&bytes).unwrap();
        assert!(written == shrink(&whole, text).0, "{text}");
    }
}

#[test]
fn weights_that_do_not_fit_go_to_a_file_beside() {
    let mut whole = documented();
    let graph = whole.graph.as_mut().unwrap();
    (graph.input[0], graph.initializer[0]) =
        (value("x", &["N", "512", "4", "4"]), weight("w1", &[4, 512, 1, 1]));
    // What is moved is what lies in another file, or is cut.
    let folder = Folder::new();
    let path = folder.write("model.onnx", &whole.write_to_bytes().unwrap());
    let (graph, mut original) = Original::open(&path, &ReadOptions::default()).unwrap();
    let cut = std::iter::once(Some([1, 3].into())).chain([None, None, None]).collect();
    let w1 = graph.values().iter().position(|v| &*v.name == "w1").unwrap();
    let w1 = crate::model_graph::ValueId(w1 as u32);
    let mut edits = Edits::default();
    edits.stored.insert(w1, Content::Cut { of: w1, cut });
    let (mut small, mut data) = (Vec::new(), Vec::new());
    let name = "small.onnx.data".to_string();
    let beside = DataFile { name: name.clone(), out: &mut data };
    write_edited(&mut original, &graph, &edits, 4000, &mut small, Some(beside)).unwrap();
    let written = ModelProto::parse_from_bytes(&small).unwrap();
    let w1 = initialiser(&written, "w1");
    assert_eq!((&*w1.dims, w1.raw_data.len()), (&[2, 512, 1, 1][..], 0));
    assert_eq!(w1.data_location, DataLocation::EXTERNAL.into());
    let given = |key: &str| &w1.external_data.iter().find(|e| e.key == key).unwrap().value;
    assert_eq!((given("location"), given("offset").parse()), (&name, Ok(0)));
    assert_eq!(given("length").parse(), Ok(data.len()));
    let expected = (512..1024).chain(1536..2048).flat_map(|i| (i as f32).to_le_bytes());
    assert!(data == expected.collect::<Vec<u8>>());
    // Without such a file it is an error.
    let refused = write_edited(&mut original, &graph, &edits, 4000, &mut small, None);
    assert!(refused.unwrap_err().to_string().contains("2 GiB"));
}

#[test]
fn absent_weights_are_an_error_that_names_the_file() {
    let mut outside = documented();
    for tensor in &mut outside.graph.as_mut().unwrap().initializer {
        tensor.external_data = vec![entry("location", "absent.bin")];
        tensor.data_location = DataLocation::EXTERNAL.into();
        tensor.raw_data.clear();
    }
    let folder = Folder::new();
    let path = folder.write("model.onnx", &outside.write_to_bytes().unwrap());
    let refused = |graph: crate::model_graph::ModelGraph, mut original: Original| {
        let space = SuperNetwork::new(graph);
        let sub = space.parse("c0=1/2").unwrap();
        let mut out = Vec::new();
        let error = space.shrink(&sub, &mut original, &mut out, None).unwrap_err();
        (error.to_string(), out)
    };
    // Whoever finds it first.
    let (error, out) = match Original::open(&path, &ReadOptions::default()) {
        Ok((graph, original)) => refused(graph, original),
        Err(error) => (error.to_string(), Vec::new()),
    };
    assert!(error.contains("absent.bin"), "{error}");
    assert!(out.is_empty());
}

#[test]
fn sequences_of_other_sizes_are_split() {
    let whole = model(GraphProto {
        node: vec![
            node("Conv", &["x", "w1"], &["a"]),
            NodeProto {
                attribute: vec![int("axis", 1)],
                ..node("SplitToSequence", &["a", "two"], &["parts"])
            },
            node("SequenceAt", &["parts", "i0"], &["p"]),
            node("SequenceAt", &["parts", "i1"], &["q"]),
            node("Conv", &["p", "w2"], &["p2"]),
            node("Conv", &["q", "w3"], &["q2"]),
            node("Add", &["p2", "q2"], &["y"]),
        ],
        input: vec![value("x", &["N", "3", "4", "4"])],
        initializer: vec![
            weight("w1", &[8, 3, 1, 1]),
            weight("w2", &[2, 4, 1, 1]),
            weight("w3", &[2, 4, 1, 1]),
            ints("two", &[4, 4]),
            TensorProto { dims: Vec::new(), ..ints("i0", &[0]) },
            TensorProto { dims: Vec::new(), ..ints("i1", &[1]) },
        ],
        ..Default::default()
    });
    let (cut, _) = shrink(&whole, "c0=1/4");
    let names: Vec<&str> = cut.graph.initializer.iter().map(|t| &*t.name).collect();
    assert!(!names.contains(&"two"), "{names:?}");
    let split = cut.graph.node.iter().find(|n| n.op_type == "SplitToSequence").unwrap();
    let sizes = &initialiser(&cut, &split.input[1]).raw_data;
    assert_eq!(
        sizes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect::<Vec<_>>(),
        [1, 4]
    );
}

/// Two convolutions with 8-bit weights; a scale and a zero point for each filter.
#[test]
fn quantised_weights_are_cut_with_their_scales() {
    let bytes = |name: &str, dims: &[i64], data: Vec<u8>| TensorProto {
        name: name.into(),
        data_type: 3,
        dims: dims.to_vec(),
        raw_data: data,
        ..Default::default()
    };
    let dequantise = |name: &str| NodeProto {
        attribute: vec![int("axis", 0)],
        ..node(
            "DequantizeLinear",
            &[name, &format!("{name}_s"), &format!("{name}_z")],
            &[&format!("{name}_f")],
        )
    };
    let mut scales = weight("w_s", &[4]);
    // What the integers alone say is the other way round.
    scales.raw_data = [4.0f32, 3.0, 2.0, 1.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let whole = model(GraphProto {
        node: vec![
            dequantise("w"),
            node("Conv", &["x", "w_f"], &["a"]),
            node("Relu", &["a"], &["r"]),
            dequantise("v"),
            node("Conv", &["r", "v_f"], &["y"]),
        ],
        input: vec![value("x", &["N", "1", "4", "4"])],
        output: vec![value("y", &["N", "2", "4", "4"])],
        initializer: vec![
            bytes("w", &[4, 1, 1, 1], vec![10, 11, 12, 13]),
            scales,
            bytes("w_z", &[4], vec![0, 1, 2, 3]),
            bytes("v", &[2, 4, 1, 1], (0..8).collect()),
            weight("v_s", &[2]),
            bytes("v_z", &[2], vec![0, 0]),
        ],
        ..Default::default()
    });
    let (half, notes) = shrink(&whole, "c0=1/2");
    assert!(notes.is_empty());
    let raw = |name: &str| initialiser(&half, name).raw_data.clone();
    assert_eq!((raw("w"), raw("w_z")), (vec![10, 11], vec![0, 1]));
    assert_eq!(elements(initialiser(&half, "w_s")), [4.0, 3.0]);
    assert_eq!(raw("v"), [0, 1, 4, 5]);
    assert_eq!(initialiser(&half, "v_s"), initialiser(&whole, "v_s"));
}

#[test]
fn elements_of_four_bits_are_cut_apart() {
    let packed = TensorProto {
        name: "w".into(),
        // INT4, the first element in the lower half of a byte.
        data_type: 22,
        dims: vec![3, 3],
        raw_data: vec![0x21, 0x43, 0x65, 0x87, 0x09],
        ..Default::default()
    };
    let whole = model(GraphProto {
        node: vec![
            node("MatMul", &["x", "a"], &["h"]),
            node("Relu", &["h"], &["r"]),
            node("DequantizeLinear", &["w", "s"], &["w_f"]),
            node("MatMul", &["r", "w_f"], &["y"]),
        ],
        input: vec![value("x", &["N", "2"])],
        output: vec![value("y", &["N", "3"])],
        initializer: vec![
            weight("a", &[2, 3]),
            packed,
            TensorProto { dims: Vec::new(), ..weight("s", &[1]) },
        ],
        ..Default::default()
    });
    // Rows 1 and 2 of 1 2 3, 4 5 6, 7 8 9: the stronger inputs.
    let (cut, _) = shrink(&whole, "c0=3/4");
    let cut = initialiser(&cut, "w");
    assert_eq!((&*cut.dims, &*cut.raw_data), (&[2, 3][..], &[0x54, 0x76, 0x98][..]));
}
