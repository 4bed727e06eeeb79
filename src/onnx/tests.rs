//! What is read out of well-formed files.

use super::*;
use crate::model_graph::{
    Attribute, Attributes, Builder, DataType, OpType, Shape, TensorData, Value,
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
fn free_dimensions_are_listed_with_the_flag() {
    let image = relu_of(&[&["N", "3", "height", "?"], &["N", "tokens"]]);
    let error = read_model(&image).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FreeDimensions);
    let text = error.to_string();
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
    let error = read_with(&tokens, &options).unwrap_err();
    assert!(error.to_string().contains("'tokens'"), "{error}");
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
    let slim = wire::slim(&model.write_to_bytes().unwrap(), |_| {}).unwrap();
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
            other("second", "", "Loop", "a", "b"),
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
    assert!(error.hint().unwrap().contains("--allow-unknown"));
    let text = error.to_string();
    for part in [
        "2 unknown operators",
        "org.example.Wobble (node 'first', domain org.example, opset 3)",
        "Loop (node 'second', domain ai.onnx, opset 17)",
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

        graph.node[0].input = vec!["x".into()];
        let error = read_model(&model(graph)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("'choose'"), "{error}");
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
    file.opset_import.clear();
    assert_eq!(read_model(&file).unwrap_err().kind(), ErrorKind::InvalidGraph);
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
