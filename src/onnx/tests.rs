//! What is read out of well-formed files.

use super::*;
use crate::model_graph::{
    Attribute, Attributes, Builder, DataType, OpType, RemarkKind, Shape, TensorData, Value,
};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::type_proto::{self, Tensor as TensorType};
use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto,
    SparseTensorProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};
use protobuf::{EnumOrUnknown, MessageField};

/// A value of 32-bit floats; dimensions are numbers, symbols, or open (`?`).
pub(super) fn value(name: &str, dims: &[&str]) -> ValueInfoProto {
    let dim = |text: &&str| Dimension {
        value: match text.parse() {
            Ok(size) => Some(dimension::Value::DimValue(size)),
            Err(_) if *text == "?" => None,
            Err(_) => Some(dimension::Value::DimParam(text.to_string())),
        },
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect(), ..Default::default() };
    let tensor =
        TensorType { elem_type: 1, shape: MessageField::some(shape), ..Default::default() };
    let kind =
        TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: MessageField::some(kind), ..Default::default() }
}

pub(super) fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(|s| s.to_string()).collect(),
        output: outputs.iter().map(|s| s.to_string()).collect(),
        ..Default::default()
    }
}

pub(super) fn call(name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto { domain: "local".into(), ..node(name, inputs, outputs) }
}

pub(super) fn ints(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        data_type: 7,
        dims: vec![values.len() as i64],
        int64_data: values.to_vec(),
        ..Default::default()
    }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: value, type_: kind(2), ..Default::default() }
}

/// The kind of an attribute, by its number.
fn kind(number: i32) -> EnumOrUnknown<AttributeType> {
    EnumOrUnknown::from_i32(number)
}

fn with(node: NodeProto, attribute: AttributeProto) -> NodeProto {
    NodeProto { attribute: vec![attribute], ..node }
}

pub(super) fn branch(name: &str, nodes: Vec<NodeProto>, output: &str) -> AttributeProto {
    let graph = GraphProto { node: nodes, output: vec![value(output, &[])], ..Default::default() };
    AttributeProto {
        name: name.into(),
        type_: kind(5),
        g: MessageField::some(graph),
        ..Default::default()
    }
}

/// `x` of 1x8 in and `y` out, unless the graph says otherwise.
pub(super) fn model(mut graph: GraphProto) -> ModelProto {
    if graph.input.is_empty() {
        graph.input = vec![value("x", &["1", "8"])];
    }
    if graph.output.is_empty() {
        graph.output = vec![value("y", &[])];
    }
    let opset = OperatorSetIdProto { version: 17, ..Default::default() };
    ModelProto {
        ir_version: 8,
        opset_import: vec![opset],
        graph: MessageField::some(graph),
        ..Default::default()
    }
}

fn read_with(model: &ModelProto, options: &ReadOptions) -> Result<ModelGraph, ReadError> {
    read_bytes(&model.write_to_bytes().unwrap(), "test", options)
}

fn read_model(model: &ModelProto) -> Result<ModelGraph, ReadError> {
    read_with(model, &ReadOptions::default())
}

fn ops(graph: &ModelGraph) -> Vec<&str> {
    graph.nodes().iter().map(|n| n.op.name()).collect()
}

fn output(graph: &ModelGraph) -> &Value {
    graph.value(graph.outputs()[0])
}

fn given(name: &str, shape: &[usize]) -> ReadOptions {
    ReadOptions { input_shapes: vec![(name.into(), shape.to_vec())], ..Default::default() }
}

fn relu_of(dims: &[&[&str]]) -> ModelProto {
    let names = ["x", "z", "w"];
    let inputs = names.iter().zip(dims);
    model(GraphProto {
        node: vec![node("Relu", &["x"], &["y"])],
        input: inputs.map(|(name, dims)| value(name, dims)).collect(),
        ..Default::default()
    })
}

#[test]
fn an_open_batch_is_one() {
    for batch in ["N", "?", "-1", "0", "1"] {
        let graph = read_model(&relu_of(&[&[batch, "8"], &["other", "2"]])).unwrap();
        assert_eq!(output(&graph).shape.as_slice(), [1, 8]);
        assert_eq!(graph.value(graph.inputs()[1]).shape.as_slice(), [1, 2]);
    }
    let fixed = read_model(&relu_of(&[&["4", "8"]])).unwrap();
    assert_eq!(output(&fixed).shape.as_slice(), [4, 8]);
}

#[test]
fn free_dimensions_are_listed_and_what_settles_them_is_the_hint() {
    let image = relu_of(&[&["N", "3", "height", "?"], &["N", "tokens"]]);
    let error = read_model(&image).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FreeDimensions);
    let advice = error.hint().unwrap();
    let shapes = [("x".to_string(), vec![1, 3, 224, 224]), ("z".to_string(), vec![1, 128])];
    assert_eq!(advice, crate::Hint::InputShapes(shapes.to_vec()));
    let text = format!("{error}; {advice}");
    for part in [
        "input 'x' has free dimensions: 2 ('height'), 3;",
        "input 'z' has free dimensions: 1 ('tokens');",
        "--input-shape x=1x3x224x224",
        "--input-shape z=1x128",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let options = ReadOptions {
        input_shapes: vec![("x".into(), vec![2, 3, 32, 64]), ("z".into(), vec![2, 7])],
        ..Default::default()
    };
    let graph = read_with(&image, &options).unwrap();
    assert_eq!(output(&graph).shape.as_slice(), [2, 3, 32, 64]);
}

#[test]
fn inputs_share_symbols() {
    let tokens = relu_of(&[&["N", "tokens"], &["N", "tokens"]]);
    let graph = read_with(&tokens, &given("z", &[1, 16])).unwrap();
    assert_eq!(output(&graph).shape.as_slice(), [1, 16]);
    let options = ReadOptions {
        input_shapes: vec![("x".into(), vec![1, 16]), ("z".into(), vec![1, 17])],
        ..Default::default()
    };
    // What is given counts, whatever the names are.
    let graph = read_with(&tokens, &options).unwrap();
    let shapes = graph.inputs().iter().map(|id| graph.value(*id).shape.as_slice());
    assert_eq!(shapes.collect::<Vec<_>>(), [[1, 16], [1, 17]]);
}

#[test]
fn given_shapes_must_fit() {
    let image = relu_of(&[&["N", "3", "h", "w"]]);
    for (options, message) in [
        (given("image", &[1, 3, 8, 8]), "the network's inputs are: 'x'"),
        (given("x", &[3, 8, 8]), "has 4 dimensions"),
        (given("x", &[1, 4, 8, 8]), "dimension 1 of input 'x' is 3, not 4"),
        (given("x", &[1, 3, 0, 8]), "zero"),
    ] {
        let error = read_with(&image, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InputShape);
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn initialisers_among_the_inputs_are_constants() {
    let weight =
        TensorProto { name: "w".into(), data_type: 1, dims: vec![8], ..Default::default() };
    let graph = read_model(&model(GraphProto {
        node: vec![node("Add", &["x", "w"], &["y"])],
        input: vec![value("x", &["1", "8"]), value("w", &["8"])],
        initializer: vec![weight],
        ..Default::default()
    }))
    .unwrap();
    assert_eq!(graph.inputs().len(), 1);
}

#[test]
fn unsorted_nodes_are_sorted_in_file_order_otherwise() {
    let nodes = vec![
        node("Tanh", &["b"], &["y"]),
        node("Exp", &["x"], &["unused"]),
        node("Neg", &["a"], &["b"]),
        node("Abs", &["x"], &["a"]),
    ];
    let graph = read_model(&model(GraphProto { node: nodes, ..Default::default() })).unwrap();
    assert_eq!(ops(&graph), ["Exp", "Abs", "Neg", "Tanh"]);
}

#[test]
fn constants_of_every_form_are_the_same() {
    let attribute = |name: &str, number: i32| AttributeProto {
        name: name.into(),
        type_: kind(number),
        ..Default::default()
    };
    let tensor =
        AttributeProto { t: MessageField::some(ints("", &[2, 4])), ..attribute("value", 4) };
    let list = AttributeProto { ints: vec![2, 4], ..attribute("value_ints", 7) };
    // Before IR version 4 the type could be left out.
    let untyped = AttributeProto { ints: vec![2, 4], ..attribute("value_ints", 0) };
    for constant in [tensor, list, untyped] {
        let source = NodeProto { attribute: vec![constant], ..node("Constant", &[], &["s"]) };
        let reshape = node("Reshape", &["x", "s"], &["y"]);
        let graph = GraphProto { node: vec![source, reshape], ..Default::default() };
        let graph = read_model(&model(graph)).unwrap();
        assert_eq!(ops(&graph), ["Reshape"]);
        assert_eq!(output(&graph).shape.as_slice(), [2, 4]);
    }
}

#[test]
fn elements_are_decoded_by_type() {
    let raw = |data_type, bytes: &[u8]| TensorProto {
        data_type,
        dims: vec![2],
        raw_data: bytes.to_vec(),
        ..Default::default()
    };
    let bits = |data_type, values: &[i32]| TensorProto {
        data_type,
        dims: vec![2],
        int32_data: values.to_vec(),
        ..Default::default()
    };
    let long = TensorProto { uint64_data: vec![3, 4], ..raw(13, &[]) };
    let double = TensorProto { double_data: vec![0.5, -2.0], ..raw(11, &[]) };
    let all = |values: [i64; 2]| Some(TensorData::Ints(values.to_vec()));
    let floats = Some(TensorData::Floats(vec![0.5, -2.0]));
    for (tensor, expected) in [
        (raw(9, &[0, 2]), all([0, 1])),
        (bits(9, &[0, 1]), all([0, 1])),
        (raw(3, &[0xff, 1]), all([-1, 1])),
        (raw(2, &[0xff, 1]), all([255, 1])),
        (raw(5, &[0xfe, 0xff, 1, 0]), all([-2, 1])),
        (raw(6, &[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]), all([-1, 1])),
        (long, all([3, 4])),
        (raw(13, &[0xff; 16]), None),
        (raw(10, &[0, 0x38, 0, 0xc0]), floats.clone()),
        (bits(10, &[0x3800, 0xc000]), floats.clone()),
        (raw(16, &[0, 0x3f, 0, 0xc0]), floats.clone()),
        (raw(1, &[0, 0, 0, 0x3f, 0, 0, 0, 0xc0]), floats.clone()),
        (double, floats),
        // Two 4-bit integers in a byte, strings: known to be there, not read.
        (raw(22, &[0x21]), None),
        (raw(8, &[]), None),
    ] {
        let dtype = DataType::from_onnx(tensor.data_type);
        let tensor = TensorProto { name: "y".into(), ..tensor };
        let graph = GraphProto { initializer: vec![tensor], ..Default::default() };
        let graph = read_model(&model(graph)).unwrap();
        assert_eq!(output(&graph).data(), expected.as_ref(), "{dtype:?}");
        assert_eq!(output(&graph).dtype, dtype);
    }
}

#[test]
fn large_payloads_are_left_behind() {
    let weight = |name: &str, dims: &[i64], data_type, bytes: usize| TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type,
        raw_data: vec![1; bytes],
        ..Default::default()
    };
    let model = model(GraphProto {
        initializer: vec![
            weight("y", &[5000], 1, 20_000),
            weight("z", &[100_000], 7, 800_000),
            weight("kept", &[5000], 7, 40_000),
        ],
        ..Default::default()
    });
    let bytes = model.write_to_bytes().unwrap();
    let slim = wire::strip(&mut Source::memory(&bytes)).unwrap();
    assert!((40_000..41_000).contains(&slim.len()), "{}", slim.len());
    let graph = read_model(&model).unwrap();
    assert_eq!(graph.values().iter().filter(|v| v.data().is_some()).count(), 1);
}

#[test]
fn sparse_tensors_have_their_dense_shape() {
    let values = TensorProto {
        name: "w".into(),
        data_type: 1,
        dims: vec![1],
        float_data: vec![2.0],
        ..Default::default()
    };
    let sparse = SparseTensorProto {
        values: MessageField::some(values),
        indices: MessageField::some(ints("", &[3])),
        dims: vec![8],
        ..Default::default()
    };
    let graph = read_model(&model(GraphProto {
        node: vec![node("Add", &["x", "w"], &["y"])],
        sparse_initializer: vec![sparse],
        ..Default::default()
    }))
    .unwrap();
    let weight = graph.values().iter().find(|v| &*v.name == "w").unwrap();
    assert_eq!((weight.shape.as_slice(), weight.data()), (&[8][..], None));
}

#[test]
fn all_unknown_operators_are_listed() {
    let other = |name: &str, domain: &str, op: &str, from: &str, to: &str| NodeProto {
        name: name.into(),
        domain: domain.into(),
        ..node(op, &[from], &[to])
    };
    let mut file = model(GraphProto {
        node: vec![
            other("first", "org.example", "Wobble", "x", "a"),
            other("second", "", "Wander", "a", "b"),
            node("Relu", &["b"], &["y"]),
        ],
        value_info: vec![value("a", &["1", "5"]), value("b", &["N", "6"])],
        ..Default::default()
    });
    file.opset_import.push(OperatorSetIdProto {
        domain: "org.example".into(),
        version: 3,
        ..Default::default()
    });
    let error = read_model(&file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownOperators);
    assert!(error.hint() == Some(crate::Hint::AllowUnknown));
    let text = error.to_string();
    for part in [
        "2 unknown operators",
        "org.example.Wobble (node 'first', domain org.example, opset 3)",
        "Wander (node 'second', domain ai.onnx, opset 17)",
    ] {
        assert!(text.contains(part), "{text}");
    }
    // What the file declares gives their outputs a shape.
    file.graph.as_mut().unwrap().value_info[1] = value("b", &["1", "6"]);
    let options = ReadOptions { allow_unknown: true, ..Default::default() };
    let graph = read_with(&file, &options).unwrap();
    assert_eq!(output(&graph).shape.as_slice(), [1, 6]);
    assert!(graph.nodes()[0].op.is_unknown());
}

/// As PyTorch's newer exporter writes a network without its parameters: not even as inputs.
#[test]
fn weights_that_a_file_has_lost_are_told_with_what_to_do() {
    let nodes = vec![
        node("Conv", &["x", "conv.weight", "conv.bias"], &["a"]),
        node("Conv", &["a", "head.weight"], &["y"]),
    ];
    let graph = GraphProto {
        node: nodes,
        input: vec![value("x", &["1", "3", "8", "8"])],
        output: vec![value("y", &[])],
        ..Default::default()
    };
    let error = read_model(&model(graph)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("'conv.weight'"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.to_string().contains("export_params=True")));
}

#[test]
fn messages_stay_short_whatever_the_file_says() {
    let long = "q".repeat(1 << 20);
    let many = (0..5000).map(|i| node(&format!("Op{i}"), &["x"], &[&format!("y{i}")])).collect();
    let inputs: Vec<String> = (0..5000).map(|i| format!("x{i}")).collect();
    let inputs = inputs.iter().map(|name| value(name, &["1", "open"])).collect();
    let of = |node: Vec<NodeProto>| GraphProto { node, ..Default::default() };
    let open = GraphProto { input: inputs, ..of(vec![node("Relu", &["x0"], &["y"])]) };
    let twice = vec![node("Relu", &["x"], &["y"]), node("Relu", &["x"], &["y"])];
    for (graph, part) in [
        (of(vec![node(&long, &["x"], &["y"])]), "1 unknown operator: qqq"),
        (of(vec![node("Relu", &[&long], &["y"])]), "which nothing produces"),
        (of(twice), "defines 'y' again"),
        (of(vec![with(node("Relu", &["x"], &["y"]), int(&long, 1))]), "no attribute 'qqq"),
        (GraphProto { output: vec![value("y0", &[])], ..of(many) }, "and 4990 more"),
        (open, "and 4990 more"),
    ] {
        let error = read_model(&model(graph)).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        let length = error.to_string().len() + error.hint().map_or(0, |h| h.to_string().len());
        assert!(length < 5000, "{length}");
    }
}

/// As ONNX Runtime does. Whatever was heeded or passed over would be a guess.
#[test]
fn attributes_that_an_operator_does_not_have_are_refused() {
    let named = |op: &str| NodeProto { name: "odd".into(), ..node(op, &["x", "x"], &["y"]) };
    let float = AttributeProto { f: 1.0, type_: kind(1), ..int("axis", 0) };
    let list = AttributeProto { type_: kind(7), ints: vec![3], ..int("value_ints", 0) };
    let constant =
        |a: AttributeProto| NodeProto { input: vec![], attribute: vec![a], ..named("Constant") };
    for (nodes, says) in [
        (
            vec![with(named("MatMul"), int("transA", 1))],
            "node 'odd' (MatMul): there is no attribute 'transA'; the operator has none",
        ),
        (
            vec![with(named("Concat"), int("axes", 1))],
            "node 'odd' (Concat): there is no attribute 'axes'; the operator has axis",
        ),
        (
            vec![with(named("Concat"), float)],
            "node 'odd' (Concat): attribute 'axis' is a number instead of an integer",
        ),
        (
            vec![with(named("Add"), branch("axis", vec![], "x"))],
            "node 'odd' (Add) has no graph or type 'axis'",
        ),
        (
            vec![constant(AttributeProto { name: "values".into(), ..list.clone() })],
            "node 'odd' (Constant): there is no attribute 'values'; the operator has sparse_value",
        ),
        // Those that are written out.
        (
            vec![with(NodeProto { input: vec!["x".into()], ..named("If") }, int("then_branch", 1))],
            "node 'odd' (If): attribute 'then_branch' is an integer instead of a graph",
        ),
        (
            vec![with(named("Loop"), branch("then_branch", vec![], "x"))],
            "node 'odd' (Loop): there is no attribute 'then_branch'; the operator has body",
        ),
        (
            vec![with(
                named("Scan"),
                AttributeProto { name: "num_scan_inputs".into(), ..list.clone() },
            )],
            "node 'odd' (Scan): attribute 'num_scan_inputs' is a list of integers instead of an \
             integer",
        ),
        (
            vec![with(named("SequenceConstruct"), int("axis", 1))],
            "node 'odd' (SequenceConstruct): there is no attribute 'axis'; the operator has none",
        ),
    ] {
        let graph = GraphProto { node: nodes, ..Default::default() };
        let error = read_model(&model(graph)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn functions_are_inlined_with_their_attributes() {
    let reference = |name: &str, of: &str| AttributeProto {
        name: name.into(),
        ref_attr_name: of.into(),
        type_: kind(2),
        ..Default::default()
    };
    let softmax =
        NodeProto { attribute: vec![reference("axis", "dim")], ..node("Softmax", &["a"], &["b"]) };
    let inner = FunctionProto {
        name: "inner".into(),
        domain: "local".into(),
        input: vec!["a".into(), "optional".into()],
        output: vec!["b".into()],
        attribute_proto: vec![int("dim", 0)],
        node: vec![softmax],
        ..Default::default()
    };
    let pass =
        NodeProto { attribute: vec![reference("dim", "axis")], ..call("inner", &["t"], &["b"]) };
    let outer = FunctionProto {
        name: "outer".into(),
        domain: "local".into(),
        input: vec!["a".into()],
        output: vec!["b".into()],
        attribute: vec!["axis".into()],
        // Not sorted, and with names that the caller uses too.
        node: vec![pass, node("Relu", &["a"], &["t"])],
        ..Default::default()
    };
    let first = NodeProto { attribute: vec![int("axis", 1)], ..call("outer", &["x"], &["a"]) };
    let second = call("outer", &["a"], &["b"]);
    let mut file = model(GraphProto {
        node: vec![first, second, node("Neg", &["b"], &["y"])],
        ..Default::default()
    });
    file.functions = vec![outer, inner];
    let graph = read_model(&file).unwrap();
    assert_eq!(ops(&graph), ["Relu", "Softmax", "Relu", "Softmax", "Neg"]);
    let axes: Vec<_> = graph.nodes().iter().map(|n| n.attributes.get_int("axis")).collect();
    // Without the caller's attribute, the inner function's default counts.
    assert_eq!(axes, [None, Some(1), None, Some(0), None]);
}

#[test]
fn sequences_are_taken_apart() {
    let split = NodeProto {
        attribute: vec![int("axis", 1)],
        ..node("SplitToSequence", &["x", "size"], &["parts"])
    };
    let join = NodeProto {
        attribute: vec![int("axis", 0)],
        ..node("ConcatFromSequence", &["pair"], &["y"])
    };
    let nodes = vec![
        split,
        node("SequenceAt", &["parts", "last"], &["a"]),
        node("Relu", &["a"], &["b"]),
        node("SequenceConstruct", &["a", "b"], &["pair"]),
        join,
    ];
    let scalar = |name: &str, value| TensorProto { dims: vec![], ..ints(name, &[value]) };
    let initializer = vec![scalar("size", 3), scalar("last", -1)];
    let graph = GraphProto { node: nodes, initializer, ..Default::default() };
    let graph = read_model(&model(graph)).unwrap();
    assert_eq!(ops(&graph), ["Split", "Relu", "Concat"]);
    // 8 columns in threes leave 2 for the last.
    assert_eq!(output(&graph).shape.as_slice(), [2, 2]);
}

#[test]
fn branches_with_a_known_condition_are_inlined() {
    for (condition, op) in [(1, "Relu"), (0, "Tanh")] {
        let conditional = NodeProto {
            name: "choose".into(),
            attribute: vec![
                branch("then_branch", vec![node("Relu", &["a"], &["t"])], "t"),
                branch("else_branch", vec![node("Tanh", &["a"], &["t"])], "t"),
            ],
            ..node("If", &["c"], &["b"])
        };
        let flag = TensorProto {
            name: "c".into(),
            data_type: 9,
            int32_data: vec![condition],
            ..Default::default()
        };
        let mut graph = GraphProto {
            // The branch captures `a`, which comes later in the file.
            node: vec![conditional, node("Abs", &["x"], &["a"]), node("Neg", &["b"], &["y"])],
            initializer: vec![flag],
            ..Default::default()
        };
        let inlined = read_model(&model(graph.clone())).unwrap();
        assert_eq!(ops(&inlined), ["Abs", op, "Neg"]);

        // A condition that the input decides.
        graph.node[0].input = vec!["x".into()];
        let either = read_model(&model(graph)).unwrap();
        assert_eq!(ops(&either).len(), 3);
        let remark = &either.remarks()[0];
        assert_eq!(remark.names().collect::<Vec<_>>(), ["If 'choose'"]);
        assert!(remark.is_partial());
    }
}

#[test]
fn operator_sets_are_required_and_checked() {
    let mut file = relu_of(&[&["1"]]);
    file.opset_import[0].version = 6;
    let error = read_model(&file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("opset 6") && error.hint().is_some());
    file.opset_import[0].version = 99;
    assert!(read_model(&file).is_ok());
    file.opset_import[0].domain = "ai.onnx".into();
    assert!(read_model(&file).is_ok());
    let import = file.opset_import.pop().unwrap();
    assert_eq!(read_model(&file).unwrap_err().kind(), ErrorKind::InvalidGraph);
    // Of ONNX's own operators: without one of them, another domain's version is enough.
    let other = OperatorSetIdProto { domain: "com.microsoft".into(), version: 1, ..import };
    file.opset_import.push(other.clone());
    assert_eq!(read_model(&file).unwrap_err().kind(), ErrorKind::InvalidGraph);
    let mut gelu = relu_of(&[&["1"]]);
    let node = &mut gelu.graph.mut_or_insert_default().node[0];
    (node.op_type, node.domain) = ("Gelu".into(), "com.microsoft".into());
    gelu.opset_import = vec![other];
    assert!(read_model(&gelu).is_ok());
    gelu.opset_import.clear();
    assert_eq!(read_model(&gelu).unwrap_err().kind(), ErrorKind::InvalidGraph);
}

/// A network with weights, known constants of several types, and values without names.
fn network() -> ModelGraph {
    let mut builder = Builder::new("test", 17);
    let x = builder.input("x", DataType::Float, &[1, 3, 8, 8]);
    let weight = builder.weight(&[16, 3, 3, 3]);
    let mut y = builder.node(OpType::Conv, Attributes::new(), &[x, weight]).unwrap();
    let parameters: Vec<_> = (0..4).map(|_| builder.weight(&[16])).collect();
    let inputs = [&[y], parameters.as_slice()].concat();
    y = builder.node(OpType::BatchNormalization, Attributes::new(), &inputs).unwrap();
    let half = Some(TensorData::Floats(vec![0.5]));
    let half = builder.constant("x", DataType::Float, &[], half);
    y = builder.node(OpType::Mul, Attributes::new(), &[y, half]).unwrap();
    let shape = builder.int_vector(&[1, -1]);
    y = builder.node(OpType::Reshape, Attributes::new(), &[y, shape]).unwrap();
    let axis = Attributes::new().with("axis", Attribute::Int(-1));
    y = builder.node(OpType::Softmax, axis, &[y]).unwrap();
    builder.output(y);
    builder.finish()
}

fn written(graph: &ModelGraph, weights: Weights) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(graph, &mut bytes, weights).unwrap();
    bytes
}

#[test]
fn what_was_written_is_read_back() {
    let graph = network();
    for weights in [Weights::Random { seed: 7 }, Weights::Stripped] {
        let bytes = written(&graph, weights);
        let back = read_bytes(&bytes, "test", &ReadOptions::default()).unwrap();
        assert_eq!(ops(&back), ops(&graph));
        assert_eq!(output(&back).shape, output(&graph).shape);
        let attributes = |g: &ModelGraph| -> Vec<Attributes> {
            g.nodes().iter().map(|n| n.attributes.clone()).collect()
        };
        assert_eq!(attributes(&back), attributes(&graph));
        let known = |g: &ModelGraph| -> Vec<(Shape, TensorData)> {
            let constants = g.values().iter().filter(|v| v.producer.is_none());
            let small = constants.filter(|v| v.elements() <= 2);
            small.filter_map(|v| Some((v.shape.clone(), v.data()?.clone()))).collect()
        };
        assert_eq!(known(&back).len(), 2);
        assert_eq!(known(&back), known(&graph));
    }
}

#[test]
fn random_weights_follow_their_seed_and_fan_in() {
    let graph = network();
    let bytes = written(&graph, Weights::Random { seed: 7 });
    assert_eq!(bytes, written(&graph, Weights::Random { seed: 7 }));
    assert_ne!(bytes, written(&graph, Weights::Random { seed: 8 }));
    assert!(written(&graph, Weights::Stripped).len() < 1000);

    let back = read_bytes(&bytes, "test", &ReadOptions::default()).unwrap();
    let floats = |id: usize| match back.nodes().iter().flat_map(|n| &n.inputs).nth(id) {
        Some(Some(id)) => match back.value(*id).data() {
            Some(TensorData::Floats(v)) => v.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let kernel = floats(1);
    let variance = kernel.iter().map(|x| x * x).sum::<f64>() / kernel.len() as f64;
    // 432 samples: the standard error of the variance is 7 %.
    assert!((variance * 27.0 / 2.0 - 1.0).abs() < 0.25, "{variance}");
    // Scale, shift, mean and variance of the normalisation.
    for (input, expected) in [(3, 1.0), (4, 0.0), (5, 0.0), (6, 1.0)] {
        assert_eq!(floats(input), vec![expected; 16]);
    }
}

/// What the remarks say, and of what.
fn remarks(graph: &ModelGraph) -> Vec<String> {
    graph.remarks().iter().map(ToString::to_string).collect()
}

fn filter(dims: &[i64]) -> TensorProto {
    TensorProto { name: "w".into(), data_type: 1, dims: dims.to_vec(), ..Default::default() }
}

/// Boxes that suppression keeps are as many as are asked for; what follows goes on from there.
#[test]
fn sizes_known_at_run_time_are_counted_at_their_largest() {
    let network = |nodes: Vec<NodeProto>, constants: Vec<TensorProto>| {
        let graph = GraphProto {
            node: nodes,
            initializer: constants,
            input: vec![value("x", &["1", "6", "4"]), value("s", &["1", "3", "6"])],
            output: vec![ValueInfoProto { name: "y".into(), ..Default::default() }],
            ..Default::default()
        };
        read_model(&model(graph)).unwrap()
    };
    let axis = |op: &str, inputs: &[&str], axis: i64| NodeProto {
        attribute: vec![int("axis", axis)],
        ..node(op, inputs, &["y"])
    };
    let k = |op: &str, other: &str| {
        vec![
            node("NonZero", &["x"], &["places"]),
            node("Shape", &["places"], &["shape"]),
            node("ReduceMax", &["x"], &["most"]),
            NodeProto { attribute: vec![int("to", 7)], ..node("Cast", &["most"], &["count"]) },
            node(op, &["count", other], &["k"]),
            NodeProto { attribute: vec![int("axis", 1)], ..node("TopK", &["x", "k"], &["y", "i"]) },
        ]
    };
    let boxes = node("NonMaxSuppression", &["x", "s", "max"], &["y"]);
    for (nodes, shape) in [
        (vec![boxes.clone()], vec![3 * 5, 3]),
        (
            vec![NodeProto { input: vec!["x".into(), "s".into(), "huge".into()], ..boxes }],
            vec![18, 3],
        ),
        (vec![node("NonZero", &["x"], &["y"])], vec![3, 24]),
        (vec![axis("Compress", &["x", "s"], 1)], vec![1, 6, 4]),
        (vec![node("Unique", &["x"], &["y"])], vec![24]),
        (vec![axis("Unique", &["x"], 2)], vec![1, 6, 4]),
        (k("Min", "max"), vec![1, 5, 4]),
        (k("Max", "max"), vec![1, 6, 4]),
    ] {
        let graph = network(nodes, vec![ints("max", &[5]), ints("huge", &[1 << 40])]);
        assert_eq!(output(&graph).shape.as_slice(), shape, "{:?}", ops(&graph));
        assert!(graph.remarks().iter().any(|r| r.kind() == RemarkKind::UpperBound));
    }
}

/// Without a bound, what comes before counts, and what depends on it is named.
#[test]
fn what_has_no_bound_is_left_out_with_what_needs_it() {
    let graph = GraphProto {
        node: vec![
            NodeProto { name: "before".into(), ..node("MatMul", &["x", "w"], &["a"]) },
            NodeProto { attribute: vec![int("to", 7)], ..node("Cast", &["a"], &["shape"]) },
            NodeProto { name: "grow".into(), ..node("Expand", &["x", "shape"], &["b"]) },
            NodeProto { name: "after".into(), ..node("Relu", &["b"], &["y"]) },
        ],
        initializer: vec![filter(&[8, 8])],
        ..Default::default()
    };
    let graph = read_model(&model(graph)).unwrap();
    assert_eq!(ops(&graph), ["MatMul", "Cast"]);
    let said = remarks(&graph);
    assert!(
        said[0].ends_with(": Expand 'grow'") && said[1].ends_with(": Relu 'after'"),
        "{said:?}"
    );
    assert!(graph.remarks().iter().all(|r| r.kind() == RemarkKind::NotCounted));
    assert!(!graph.outputs().is_empty());
}

/// A loop of a known number of turns costs its body as often; one that the input decides, once.
#[test]
fn loops_are_written_out_as_often_as_they_run() {
    let body = GraphProto {
        node: vec![
            node("MatMul", &["c", "w"], &["n"]),
            node("Identity", &["go"], &["on"]),
            node("Relu", &["n"], &["row"]),
        ],
        input: ["i", "go", "c"].map(|name| value(name, &[])).to_vec(),
        output: ["on", "n", "row"].map(|name| value(name, &[])).to_vec(),
        ..Default::default()
    };
    let body = AttributeProto {
        name: "body".into(),
        type_: kind(5),
        g: MessageField::some(body),
        ..Default::default()
    };
    let counted = |times: Option<i64>| {
        let turns = NodeProto {
            name: "turns".into(),
            attribute: vec![body.clone()],
            ..node("Loop", &[if times.is_some() { "m" } else { "x" }, "", "x"], &["y", "rows"])
        };
        let graph = GraphProto {
            node: vec![turns],
            initializer: vec![filter(&[8, 8]), ints("m", &[times.unwrap_or(0)])],
            output: vec![value("y", &[]), value("rows", &[])],
            ..Default::default()
        };
        read_model(&model(graph)).unwrap()
    };
    let products = |graph: &ModelGraph| ops(graph).iter().filter(|op| **op == "MatMul").count();
    let rows = |graph: &ModelGraph| graph.value(graph.outputs()[1]).shape.to_vec();

    let three = counted(Some(3));
    assert_eq!((products(&three), rows(&three)), (3, vec![3, 1, 8]));
    assert!(three.remarks().is_empty());
    // The weight is one, however often it is used.
    assert_eq!(three.values().iter().filter(|v| v.shape.as_slice() == [8, 8]).count(), 1);

    let endless = counted(Some(1 << 20));
    assert_eq!((products(&endless), rows(&endless)), (1, vec![1 << 20, 1, 8]));
    assert!(remarks(&endless)[0].contains("Loop 'turns' (1048576 times)"));

    let unknown = counted(None);
    assert_eq!(products(&unknown), 1);
    assert!(remarks(&unknown)[0].ends_with("Loop 'turns'"), "{:?}", remarks(&unknown));
}

#[test]
fn a_scan_runs_once_for_each_slice() {
    let body = GraphProto {
        node: vec![node("MatMul", &["slice", "w"], &["p"]), node("Add", &["h", "p"], &["n"])],
        input: ["h", "slice"].map(|name| value(name, &[])).to_vec(),
        output: ["n", "p"].map(|name| value(name, &[])).to_vec(),
        ..Default::default()
    };
    let body = AttributeProto {
        name: "body".into(),
        type_: kind(5),
        g: MessageField::some(body),
        ..Default::default()
    };
    let axes = |name: &str| AttributeProto {
        name: name.into(),
        ints: vec![1],
        type_: kind(7),
        ..Default::default()
    };
    let scan = NodeProto {
        attribute: vec![
            body,
            int("num_scan_inputs", 1),
            axes("scan_input_axes"),
            axes("scan_output_axes"),
        ],
        ..node("Scan", &["h", "x"], &["last", "y"])
    };
    let graph = read_model(&model(GraphProto {
        node: vec![scan],
        initializer: vec![filter(&[8, 2])],
        input: vec![value("x", &["1", "5", "8"]), value("h", &["1", "2"])],
        ..Default::default()
    }))
    .unwrap();
    assert_eq!(ops(&graph).iter().filter(|op| **op == "MatMul").count(), 5);
    assert_eq!(output(&graph).shape.as_slice(), [1, 5, 2]);
    assert!(graph.remarks().is_empty());
}

/// As `torch.onnx.export(…, export_params=False)` writes a network: image, then weights.
#[test]
fn inputs_that_serve_only_as_weights_are_weights() {
    let network = |names: [&str; 7], stored: bool| {
        let [x, filter, bias, gamma, table, matrix, shift] = names;
        let nodes = vec![
            node("Conv", &[x, filter, bias], &["a"]),
            node("BatchNormalization", &["a", gamma, gamma, gamma, gamma], &["b"]),
            node("Add", &["b", table], &["c"]),
            node("GlobalAveragePool", &["c"], &["d"]),
            node("Flatten", &["d"], &["e"]),
            node("Transpose", &[matrix], &["t"]),
            node("MatMul", &["e", "t"], &["f"]),
            node("Add", &["f", shift], &["y"]),
        ];
        let dims: [&[&str]; 7] = [
            &["N", "3", "8", "8"],
            &["4", "3", "1", "1"],
            &["4"],
            &["4"],
            &["1", "4", "8", "8"],
            &["10", "4"],
            &["10"],
        ];
        let mut graph = GraphProto { node: nodes, ..Default::default() };
        graph.input = names.iter().zip(dims).map(|(name, dims)| value(name, dims)).collect();
        if stored {
            let weight = TensorProto {
                name: filter.into(),
                data_type: 1,
                dims: vec![4, 3, 1, 1],
                ..Default::default()
            };
            graph.initializer.push(weight);
        }
        read_model(&model(graph)).unwrap()
    };
    let exported = network(
        ["input.1", "conv.weight", "conv.bias", "bn.weight", "table", "fc.weight", "fc.bias"],
        false,
    );
    let left: Vec<_> = exported.inputs().iter().map(|id| &*exported.value(*id).name).collect();
    assert_eq!(left, ["input.1"]);
    let said = remarks(&exported);
    assert!(said[0].contains("conv.weight") && exported.remarks()[0].count() == 6, "{said:?}");
    // Whatever they are called, and in whatever order they stand.
    let plain = network(["img", "p0", "p1", "p2", "p3", "p4", "p5"], false);
    assert_eq!(plain.inputs().len(), 1);
    // A file that has weights of its own gives its other inputs their due.
    let stored = network(["x", "w", "shift", "p2", "mask", "memory", "p5"], true);
    assert!(stored.inputs().len() > 3, "{:?}", remarks(&stored));
}

/// Numbers that are all the same along an axis do not tell it from the batch; others do.
#[test]
fn what_is_written_without_weights_has_the_same_batch() {
    let network = |last: f32| {
        let mut values = [0.5f32; 36];
        values[35] = last;
        let factor = TensorProto {
            name: "w".into(),
            data_type: 1,
            dims: vec![9, 4],
            raw_data: values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ..Default::default()
        };
        let graph = GraphProto {
            node: vec![node("Mul", &["x", "w"], &["y"])],
            input: vec![value("x", &["9", "4"])],
            initializer: vec![factor],
            ..Default::default()
        };
        read_model(&model(graph)).unwrap()
    };
    for (last, size) in [(0.5, 9), (0.75, 1)] {
        let read = network(last);
        assert_eq!(read.batch().size(), size);
        let bytes = written(&read, Weights::Stripped);
        let again = read_bytes(&bytes, "again", &ReadOptions::default()).unwrap();
        assert_eq!(again.batch().size(), size, "{last}");
    }
}

/// Whether nodes whose results are known are in the file or not: here the size of a map that
/// nothing else reads.
#[test]
fn the_batch_is_that_of_what_computes() {
    let sizes = |known: bool| {
        let mut nodes = vec![node("GlobalAveragePool", &["x"], &["y"])];
        let mut outputs = vec![value("y", &[])];
        if known {
            nodes.push(node("Softmax", &["x"], &["s"]));
            nodes[1].attribute.push(int("axis", 1));
            nodes.push(node("Shape", &["s"], &["z"]));
            outputs.push(value("z", &[]));
        }
        let graph = GraphProto {
            node: nodes,
            input: vec![value("x", &["5", "4", "6", "6"])],
            output: outputs,
            ..Default::default()
        };
        read_model(&model(graph)).unwrap().batch().size()
    };
    assert_eq!(sizes(true), sizes(false));
}

/// Networks standardise their filters by normalisations too (Brock et al. 2021).
#[test]
fn weights_that_are_standardised_are_weights() {
    let left = |nodes: Vec<NodeProto>, own: (&str, &[&str])| {
        let image: &[&str] = &["1", "4", "8", "4"];
        let filter: &[&str] = &["4", "4", "1", "1"];
        let inputs = [("a", image), own, ("b", filter), ("gain", &["4"]), ("zero", &["4"])];
        let graph = GraphProto {
            node: nodes,
            input: inputs.iter().map(|(name, dims)| value(name, dims)).collect(),
            initializer: vec![ints("shape", &[4, 4, 1, 1])],
            ..Default::default()
        };
        let graph = read_model(&model(graph)).unwrap();
        graph.inputs().iter().map(|id| graph.value(*id).name.to_string()).collect::<Vec<_>>()
    };
    for (op, parameters) in [
        ("BatchNormalization", &["c", "gain", "zero", "zero", "gain"][..]),
        ("InstanceNormalization", &["c", "gain", "zero"]),
        ("LayerNormalization", &["c", "gain", "zero"]),
    ] {
        let normalised = || node(op, parameters, &["n"]);
        let standardised = vec![
            normalised(),
            node("Reshape", &["n", "shape"], &["f"]),
            node("Conv", &["a", "f"], &["y1"]),
            node("Conv", &["y1", "b"], &["y"]),
        ];
        assert_eq!(left(standardised, ("c", &["1", "4", "4"])), ["a"], "{op}");
        // What is normalised to be looked at is data.
        let looked_at = vec![
            node("Conv", &["a", "b"], &["y1"]),
            normalised(),
            node("Relu", &["n"], &["r"]),
            node("Add", &["y1", "r"], &["y"]),
        ];
        assert_eq!(left(looked_at, ("c", &["1", "4", "8", "4"])), ["a", "c"], "{op}");
    }
}

/// What is stored beside them, what they are called, and what is done to them first.
#[test]
fn weights_are_weights_whatever_stands_beside_them() {
    let left = |nodes: Vec<NodeProto>, inputs: &[(&str, &[&str])], stored: &[(&str, &[i64])]| {
        let tensor = |&(name, dims): &(&str, &[i64])| TensorProto {
            name: name.into(),
            data_type: 1,
            dims: dims.to_vec(),
            ..Default::default()
        };
        let graph = GraphProto {
            node: nodes,
            input: inputs.iter().map(|(name, dims)| value(name, dims)).collect(),
            initializer: stored.iter().map(tensor).collect(),
            ..Default::default()
        };
        let graph = read_model(&model(graph)).unwrap();
        graph.inputs().iter().map(|id| graph.value(*id).name.to_string()).collect::<Vec<_>>()
    };
    let image: &[&str] = &["1", "4", "8", "8"];
    let filter: &[&str] = &["4", "4", "1", "1"];
    // A filter that blurs, which is never trained.
    let blurred = vec![
        node("Conv", &["image", "p1"], &["a"]),
        node("Conv", &["a", "blur"], &["b"]),
        node("Conv", &["b", "p2"], &["y"]),
    ];
    let inputs = [("image", image), ("p1", filter), ("p2", filter)];
    assert_eq!(left(blurred, &inputs, &[("blur", &[4, 4, 3, 3])]), ["image"]);
    // The state that a recurrent layer begins with.
    let mut recurrent = node("LSTM", &["s", "w1", "w2", "", "", "h", "h"], &["y"]);
    recurrent.attribute = vec![int("hidden_size", 2)];
    let inputs: [(&str, &[&str]); 3] =
        [("s", &["5", "1", "3"]), ("w1", &["1", "8", "3"]), ("w2", &["1", "8", "2"])];
    assert_eq!(left(vec![recurrent], &inputs, &[("h", &[1, 1, 2])]), ["s"]);
    // A table of positions that is put to the size of the image; a query that is learned.
    let attends = vec![
        node("Conv", &["image", "stem.weight"], &["a"]),
        node("Resize", &["pixel_pos", "", "", "size"], &["b"]),
        node("Add", &["a", "b"], &["c"]),
        node("MatMul", &["pool.latent", "pool.weight"], &["q"]),
        node("MatMul", &["q", "c"], &["y"]),
    ];
    let inputs: [(&str, &[&str]); 5] = [
        ("image", image),
        ("stem.weight", filter),
        ("pixel_pos", &["1", "4", "4", "4"]),
        ("pool.latent", &["1", "1", "3", "5"]),
        ("pool.weight", &["5", "8"]),
    ];
    let graph = GraphProto {
        node: attends,
        input: inputs.iter().map(|(name, dims)| value(name, dims)).collect(),
        initializer: vec![ints("size", &[1, 4, 8, 8])],
        ..Default::default()
    };
    assert_eq!(read_model(&model(graph)).unwrap().inputs().len(), 1);
}

/// Two images, of which one is the filter of the other; two activations that are multiplied.
#[test]
fn data_stays_data_where_it_takes_the_place_of_a_weight() {
    let inputs = |node: NodeProto, names: [&str; 2], dims: [&[&str]; 2]| {
        let graph = GraphProto {
            node: vec![node],
            input: names.iter().zip(dims).map(|(name, dims)| value(name, dims)).collect(),
            ..Default::default()
        };
        read_model(&model(graph)).unwrap().inputs().len()
    };
    let conv = || node("Conv", &["a", "b"], &["y"]);
    let (image, small): (&[&str], &[&str]) = (&["1", "3", "64", "64"], &["1", "3", "16", "16"]);
    assert_eq!(inputs(conv(), ["a", "b"], [image, small]), 2);
    assert_eq!(inputs(conv(), ["a", "b"], [image, &["8", "3", "3", "3"]]), 1);
    let query = node("Conv", &["query", "support"], &["y"]);
    assert_eq!(inputs(query, ["query", "support"], [image, &["8", "3", "3", "3"]]), 2);
    let product = || node("MatMul", &["a", "b"], &["y"]);
    let stack: &[&str] = &["1", "2", "4", "4"];
    assert_eq!(inputs(product(), ["a", "b"], [stack, stack]), 2);
    assert_eq!(inputs(product(), ["a", "b"], [&["1", "4"], &["4", "5"]]), 2);
    let layer = node("MatMul", &["a", "w"], &["y"]);
    assert_eq!(inputs(layer, ["a", "w"], [&["1", "4"], &["4", "5"]]), 1);
    let sum = node("Add", &["left", "right"], &["y"]);
    assert_eq!(inputs(sum, ["left", "right"], [image, image]), 2);
}

/// The batch may stand on any axis; an input's own shape does not contradict another's.
#[test]
fn the_batch_is_known_by_its_name() {
    let sizes = |dims: &[&[&str]]| {
        let graph = read_model(&relu_of(dims)).unwrap();
        let shapes = graph.inputs().iter().map(|id| graph.value(*id).shape.to_vec());
        (shapes.collect::<Vec<_>>(), graph.remarks().len())
    };
    assert_eq!(sizes(&[&["50", "batch", "16"]]), (vec![vec![50, 1, 16]], 1));
    assert_eq!(sizes(&[&["50", "N", "16"]]), (vec![vec![50, 1, 16]], 1));
    let state: &[&[&str]] = &[&["batch", "8"], &["2", "batch", "128"]];
    assert_eq!(sizes(state).0, [vec![1, 8], vec![2, 1, 128]]);
    // A sequence is none, even where it comes first.
    for (dims, free) in [
        (&["sequence", "batch_size", "16"][..], "0 ('sequence')"),
        (&["1", "N", "3"], "1 ('N')"),
        (&["?", "3", "?"], "2"),
    ] {
        let error = read_model(&relu_of(&[dims])).unwrap_err();
        let text = error.to_string();
        assert!(text.ends_with(&format!("free dimensions: {free}")), "{text}");
    }
    // One name for all that is open is no name.
    let image = relu_of(&[&["d", "4", "d", "d"]]);
    let graph = read_with(&image, &given("x", &[1, 4, 8, 8])).unwrap();
    assert_eq!(output(&graph).shape.as_slice(), [1, 4, 8, 8]);
}

/// What comes first without a name is taken for the batch; where the network joins it, that is said.
#[test]
fn an_open_first_axis_that_is_joined_is_told() {
    let axes =
        AttributeProto { name: "axes".into(), ints: vec![0], type_: kind(7), ..Default::default() };
    let told = |dim: &str, joined: bool| {
        let pool = NodeProto { attribute: vec![axes.clone()], ..node("ReduceMax", &["x"], &["y"]) };
        let network = model(GraphProto {
            node: vec![if joined { pool } else { node("Relu", &["x"], &["y"]) }],
            input: vec![value("x", &[dim, "16"])],
            ..Default::default()
        });
        let graph = read_model(&network).unwrap();
        let text: Vec<String> = graph.remarks().iter().map(ToString::to_string).collect();
        text.join("; ")
    };
    for dim in ["?", "a*b", "N"] {
        assert!(told(dim, true).ends_with("given for them: x"), "{dim}");
        assert_eq!(told(dim, false), "", "{dim}");
    }
    assert_eq!(told("batch", true), "");
    assert!(!told("50", true).contains("given for them"));
}

#[test]
fn sizes_of_zero_are_not_called_free() {
    let text = |dims: &[&str]| read_model(&relu_of(&[dims])).unwrap_err().to_string();
    assert_eq!(text(&["1", "0", "8"]), "input 'x' has dimensions of size 0: 1");
    assert_eq!(
        text(&["1", "0", "?", "width"]),
        "input 'x' has free dimensions: 2, 3 ('width') and dimensions of size 0: 1"
    );
}

/// The sizes that are proposed are sizes that work.
#[test]
fn proposed_sizes_can_be_read() {
    let recogniser = |extent: i64| {
        let pool = NodeProto {
            attribute: vec![AttributeProto {
                name: "kernel_shape".into(),
                ints: vec![extent, 1],
                type_: kind(7),
                ..Default::default()
            }],
            ..node("AveragePool", &["x"], &["a"])
        };
        model(GraphProto {
            node: vec![pool, node("Reshape", &["a", "shape"], &["y"])],
            initializer: vec![ints("shape", &[1, 3, extent])],
            input: vec![value("x", &["N", "3", "height", "width"])],
            ..Default::default()
        })
    };
    let text = read_model(&recogniser(48)).unwrap_err().hint().unwrap().to_string();
    assert!(text.contains("--input-shape x=1x3x48x48"), "{text}");
    let text = read_model(&recogniser(51)).unwrap_err().to_string();
    assert!(text.contains("none of 23 likely sizes fits (with 1x3x224x224: "), "{text}");

    let quoted = model(GraphProto {
        node: vec![node("Relu", &["the input's"], &["y"])],
        input: vec![value("the input's", &["N", "3", "h"])],
        ..Default::default()
    });
    let text = read_model(&quoted).unwrap_err().hint().unwrap().to_string();
    assert!(text.contains(r"--input-shape 'the input'\''s=1x3x128'"), "{text}");
}

/// Names in another encoding stay different names.
#[test]
fn names_need_not_be_utf8() {
    let mut bytes = model(GraphProto {
        node: vec![node("Relu", &["x"], &["caf1"]), node("Tanh", &["caf1"], &["caf2"])],
        output: vec![value("caf2", &[])],
        ..Default::default()
    })
    .write_to_bytes()
    .unwrap();
    for i in 0..bytes.len() - 4 {
        if bytes[i..].starts_with(b"caf") {
            bytes[i + 3] = if bytes[i + 3] == b'1' { 0xe9 } else { 0xe8 };
        }
    }
    let graph = read_bytes(&bytes, "test", &ReadOptions::default()).unwrap();
    assert_eq!(&*output(&graph).name, r"caf\xE8");
}

#[test]
fn operators_of_another_domain_alone_are_named() {
    let mut file = model(GraphProto {
        node: vec![NodeProto { domain: "ai.onnx.ml".into(), ..node("Normalizer", &["x"], &["y"]) }],
        ..Default::default()
    });
    file.opset_import[0].domain = "ai.onnx.ml".into();
    let error = read_model(&file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownOperators);
    assert!(error.to_string().contains("ai.onnx.ml.Normalizer"), "{error}");
}

/// Constants that nothing needs cost next to nothing, however many they are.
#[test]
fn folding_has_a_budget() {
    let mut nodes: Vec<_> =
        (0..2000).map(|i| node("ConstantOfShape", &["s"], &[&format!("c{i}")])).collect();
    nodes.extend([node("Shape", &["x"], &["shape"]), node("Reshape", &["x", "shape"], &["y"])]);
    let graph =
        GraphProto { node: nodes, initializer: vec![ints("s", &[65536])], ..Default::default() };
    let graph = read_model(&model(graph)).unwrap();
    let known: usize = graph.values().iter().filter_map(|v| v.data()).map(TensorData::len).sum();
    assert!(known < 1 << 24, "{known}");
    assert_eq!(output(&graph).shape.as_slice(), [1, 8]);
}

/// What a file declares of a shape that it does not give the numbers for counts as long as it can be.
#[test]
fn declared_shapes_must_be_possible() {
    let read = |op: &str, from: &[usize], to: &[&str]| {
        let constant = TensorProto {
            name: "c".into(),
            dims: from.iter().map(|&d| d as i64).collect(),
            ..ints("c", &(0..from.iter().product::<usize>() as i64).collect::<Vec<_>>())
        };
        // Its elements are not there.
        let unknown = TensorProto { int64_data: vec![], ..ints("n", &[0]) };
        let nodes = vec![node(op, &["c", "n"], &["folded"]), node("Add", &["x", "folded"], &["y"])];
        let graph = GraphProto {
            node: nodes,
            input: vec![value("x", &["1"])],
            initializer: vec![constant, unknown],
            value_info: vec![value("folded", to)],
            ..Default::default()
        };
        read_model(&model(graph))
    };
    for (op, from, to) in [
        ("Expand", &[5, 1, 1, 2][..], &["2", "1", "2"][..]),
        ("Expand", &[5, 2], &["4", "2"]),
        ("Reshape", &[1, 10], &["4"]),
        ("Squeeze", &[1, 10], &["1", "1"]),
        ("Unsqueeze", &[10], &["10", "2"]),
        ("Tile", &[2, 2], &["4"]),
        ("Tile", &[2, 2], &["3", "2"]),
        ("Split", &[6], &["7"]),
        ("TopK", &[6], &["7"]),
    ] {
        assert_eq!(read(op, from, to).unwrap_err().kind(), ErrorKind::Shape, "{op} to {to:?}");
    }
    for (op, from, to) in [
        ("Expand", &[1, 2][..], &["3", "4", "2"][..]),
        ("Reshape", &[4, 3], &["2", "6"]),
        ("Squeeze", &[1, 10], &["10"]),
        ("Unsqueeze", &[10], &["10", "1"]),
        ("Tile", &[2, 2], &["4", "2"]),
    ] {
        let graph = read(op, from, to).unwrap();
        let folded = graph.values().iter().find(|v| &*v.name == "folded").unwrap();
        // Nothing tells the elements apart.
        assert!(folded.is_constant() && folded.data().is_none(), "{op} to {to:?}");
    }
}

/// An axis that is named twice is one, wherever axes are counted.
#[test]
fn axes_that_are_reduced_twice_go_once() {
    let graph = GraphProto {
        node: vec![with(node("ReduceSum", &["x", "axes"], &["y"]), int("keepdims", 0))],
        input: vec![value("x", &["4", "1", "3"])],
        initializer: vec![ints("axes", &[0, -3, 0])],
        ..Default::default()
    };
    let graph = read_model(&model(graph)).unwrap();
    assert_eq!(output(&graph).shape.as_slice(), [1, 3]);
    let batch = crate::model_graph::Batch::followed(&graph).unwrap();
    assert_eq!(batch.place(graph.outputs()[0]).unwrap().axis, 0);
}

/// Readers differ in what they make of a second message where there should be one.
#[test]
fn single_messages_stand_once() {
    let relu = relu_of(&[&["1"]]).write_to_bytes().unwrap();
    let error = read_bytes(&[&*relu, &relu].concat(), "test", &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("second graph"), "{error}");
    let attribute = AttributeProto {
        name: "value".into(),
        type_: kind(4),
        t: MessageField::some(ints("", &[1])),
        ..Default::default()
    };
    let mut file =
        model(GraphProto { node: vec![node("Constant", &[], &["y"])], ..Default::default() });
    // Field 5 of an attribute holds its tensor.
    let tensor = ints("", &[2]).write_to_bytes().unwrap();
    let twice =
        [&attribute.write_to_bytes().unwrap(), &[5 << 3 | 2, tensor.len() as u8][..], &tensor];
    let twice = twice.concat();
    let mut content = file.graph.node[0].write_to_bytes().unwrap();
    content.extend([5 << 3 | 2, twice.len() as u8]);
    content.extend(twice);
    let graph = file.graph.as_mut().unwrap();
    graph.node.clear();
    graph.special_fields.mut_unknown_fields().add_length_delimited(1, content);
    let error = read_model(&file).unwrap_err();
    assert!(error.to_string().contains("second tensor of one attribute"), "{error}");
}

/// Constants that the file computes from numbers decide shapes; the numbers are not weights.
#[test]
fn numbers_that_decide_shapes_are_not_stripped() {
    let mask = TensorProto {
        name: "mask".into(),
        data_type: 1,
        dims: vec![24],
        float_data: (0..24).map(|i| f32::from(u8::from(i % 3 == 0))).collect(),
        ..Default::default()
    };
    let nodes = vec![
        node("Neg", &["mask"], &["negative"]),
        node("NonZero", &["negative"], &["places"]),
        node("Squeeze", &["places"], &["flat"]),
        with(node("Gather", &["x", "flat"], &["y"]), int("axis", 1)),
    ];
    let graph = GraphProto {
        node: nodes,
        input: vec![value("x", &["1", "24"])],
        initializer: vec![mask],
        ..Default::default()
    };
    let graph = read_model(&model(graph)).unwrap();
    assert_eq!(output(&graph).shape.as_slice(), [1, 8]);
    let bytes = written(&graph, Weights::Stripped);
    let back = read_bytes(&bytes, "test", &ReadOptions::default()).unwrap();
    assert_eq!(output(&back).shape, output(&graph).shape);
}

/// What becomes no node has an arity too.
#[test]
fn constants_and_sequences_take_no_more_than_they_read() {
    let value_of = |node| {
        with(
            node,
            AttributeProto {
                name: "value_ints".into(),
                type_: kind(7),
                ints: vec![1],
                ..Default::default()
            },
        )
    };
    for (nodes, what) in [
        (vec![value_of(node("Constant", &["x"], &["y"]))], "1 inputs"),
        (vec![value_of(node("Constant", &[], &["y", "z"]))], "2 outputs"),
        (
            vec![
                node("SequenceConstruct", &["x", "x"], &["s"]),
                node("SequenceAt", &["s", "at", "x"], &["y"]),
            ],
            "3 inputs",
        ),
        (
            vec![
                node("SequenceConstruct", &["x", "x"], &["s"]),
                with(node("ConcatFromSequence", &["s", "x"], &["y"]), int("axis", 0)),
            ],
            "2 inputs",
        ),
    ] {
        let at = TensorProto { dims: vec![], ..ints("at", &[0]) };
        let graph = GraphProto { node: nodes, initializer: vec![at], ..Default::default() };
        let error = read_model(&model(graph)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidGraph);
        assert!(error.to_string().contains(what), "{error}");
    }
}

/// Which of them decides is open; runtimes refuse both.
#[test]
fn a_map_is_resized_by_scales_or_to_sizes() {
    let resized = |inputs: &[&str]| {
        let scales = TensorProto {
            name: "scales".into(),
            data_type: 1,
            dims: vec![2],
            float_data: vec![1.0, 2.0],
            ..Default::default()
        };
        let none = TensorProto { name: "none".into(), ..filter(&[0]) };
        let graph = GraphProto {
            node: vec![node("Resize", inputs, &["y"])],
            initializer: vec![scales, none, ints("sizes", &[1, 12])],
            ..Default::default()
        };
        read_model(&model(graph)).map(|graph| output(&graph).shape.to_vec())
    };
    assert_eq!(resized(&["x", "", "scales"]).unwrap(), [1, 16]);
    assert_eq!(resized(&["x", "", "none", "sizes"]).unwrap(), [1, 12]);
    let error = resized(&["x", "", "scales", "sizes"]).unwrap_err();
    assert!(error.to_string().contains("both scales and sizes"), "{error}");
}

/// Sizes that were open are none any more, and shapes that were declared still are.
#[test]
fn what_a_file_said_is_written_with_the_network() {
    let mut sizes = value("sizes", &["2"]);
    sizes.type_.mut_or_insert_default().mut_tensor_type().elem_type = 7;
    let graph = GraphProto {
        node: vec![
            node("MatMul", &["x", "w"], &["product"]),
            node("Reshape", &["product", "sizes"], &["shaped"]),
            node("Relu", &["shaped"], &["y"]),
        ],
        input: vec![value("x", &["N", "8"]), value("w", &["8", "M"]), sizes],
        value_info: vec![value("shaped", &["2", "2"])],
        ..Default::default()
    };
    let graph = read_with(&model(graph), &given("w", &[8, 4])).unwrap();
    assert_eq!((graph.inputs().len(), output(&graph).shape.as_slice()), (3, &[2, 2][..]));
    let bytes = written(&graph, Weights::Stripped);
    let back = read_bytes(&bytes, "test", &ReadOptions::default()).unwrap();
    assert_eq!((back.inputs().len(), output(&back).shape.as_slice()), (3, &[2, 2][..]));
}

/// Readers differ in which of two they heed.
#[test]
fn attributes_values_and_operator_sets_stand_once() {
    let several = |op: &str, attributes: Vec<AttributeProto>| {
        let inputs: &[&str] = if op == "Constant" { &[] } else { &["x"] };
        let node = NodeProto { attribute: attributes, ..node(op, inputs, &["y"]) };
        read_model(&model(GraphProto { node: vec![node], ..Default::default() }))
    };
    assert!(several("Softmax", vec![int("axis", 1)]).is_ok());
    let error = several("Softmax", vec![int("axis", 1), int("axis", 0)]).unwrap_err();
    assert!(error.to_string().contains("'axis' twice"), "{error}");
    let floats =
        AttributeProto { name: "value_float".into(), type_: kind(1), f: 2.0, ..Default::default() };
    assert!(several("Constant", vec![int("value_int", 1)]).is_ok());
    let error = several("Constant", vec![int("value_int", 1), floats]).unwrap_err();
    assert!(error.to_string().contains("several values"), "{error}");

    let mut file = relu_of(&[&["1"]]);
    let import = |domain: &str, version| OperatorSetIdProto {
        domain: domain.into(),
        version,
        ..Default::default()
    };
    file.opset_import.push(import("ai.onnx", 17));
    assert!(read_model(&file).is_ok());
    file.opset_import.push(import("", 18));
    assert!(read_model(&file).unwrap_err().to_string().contains("two versions"));
}

/// An empty list is known wherever it would lie.
#[test]
fn no_elements_are_never_missing() {
    let external = TensorProto {
        data_location: EnumOrUnknown::from_i32(1),
        external_data: vec![onnx_protobuf::StringStringEntryProto {
            key: "location".into(),
            value: "nowhere.data".into(),
            ..Default::default()
        }],
        ..ints("axes", &[])
    };
    let graph = GraphProto {
        node: vec![with(node("ReduceSum", &["x", "axes"], &["y"]), int("keepdims", 0))],
        initializer: vec![external],
        ..Default::default()
    };
    let graph = read_model(&model(graph)).unwrap();
    assert_eq!((output(&graph).shape.as_slice(), graph.remarks().len()), (&[][..], 0));
}

/// Exporters write the factors and shifts that a layer lacks as Constant nodes of ones and zeros;
/// others stand there because a tool put them there.
#[test]
fn constants_beside_weights_are_weights_if_their_elements_differ() {
    let tensor = |name: &str, dims: &[i64], values: &[f32]| TensorProto {
        name: name.into(),
        data_type: 1,
        dims: dims.to_vec(),
        float_data: values.to_vec(),
        ..Default::default()
    };
    let constant = |name: &str, values: &[f32]| {
        let value = AttributeProto {
            name: "value".into(),
            type_: kind(4),
            t: MessageField::some(tensor("", &[values.len() as i64], values)),
            ..Default::default()
        };
        with(node("Constant", &[], &[name]), value)
    };
    let width = 32;
    let read = |factor: &[f32], shift: &[f32]| {
        let graph = GraphProto {
            node: vec![
                constant("factor", factor),
                constant("shift", shift),
                node("LayerNormalization", &["x", "factor", "shift"], &["n"]),
                node("MatMul", &["n", "w"], &["y"]),
            ],
            input: vec![value("x", &["1", "5", "32"])],
            initializer: vec![tensor("w", &[width, 4], &[0.5; 128])],
            ..Default::default()
        };
        read_model(&model(graph)).unwrap()
    };
    let parameters = |graph: &ModelGraph| crate::lower::lower(graph).unwrap().parameters();
    let (ones, zeros) = ([1.0; 32], [0.0; 32]);
    let varied: Vec<f32> = (0..32u8).map(f32::from).collect();
    let own = u64::try_from(width).unwrap();
    for (factor, shift, trained) in [
        (&ones[..], &zeros[..], 0),
        (&varied, &zeros, 1),
        (&ones, &varied, 1),
        (&varied, &varied, 2),
        (&[0.5; 32], &[0.5; 32], 2),
    ] {
        let graph = read(factor, shift);
        assert_eq!(parameters(&graph), 4 * own + trained * own);
        // Nor does a file without its weights lose them.
        let again =
            read_bytes(&written(&graph, Weights::Stripped), "test", &ReadOptions::default());
        assert_eq!(parameters(&again.unwrap()), parameters(&graph));
    }
}
