//! Fused operators against the same written out.

use crate::graph::{ComputationGraph, Operation};
use crate::lower::lower;
use crate::model_graph::{
    Attribute, Attributes, Builder, DataType, OpType, TensorData, ValueId, ints,
};

const NONE: Attributes = Attributes::new();

/// A network of one input.
fn network(
    shape: &[usize],
    body: impl FnOnce(&mut Builder, ValueId) -> ValueId,
) -> ComputationGraph {
    let mut b = Builder::new("test", 17);
    let x = b.input("x", DataType::Float, shape);
    let y = body(&mut b, x);
    b.output(y);
    lower(&b.finish()).unwrap()
}

fn node(b: &mut Builder, op: OpType, attributes: Attributes, inputs: &[ValueId]) -> ValueId {
    b.node(op, attributes, inputs).unwrap()
}

fn int(value: usize) -> Attribute {
    Attribute::Int(value as i64)
}

/// Pieces of the last axis.
fn split(b: &mut Builder, x: ValueId, sizes: &[usize]) -> Vec<ValueId> {
    let sizes: Vec<i64> = sizes.iter().map(|&s| s as i64).collect();
    let sizes_of = b.int_vector(&sizes);
    let inputs = [Some(x), Some(sizes_of)].into_iter().collect();
    let axis = NONE.with("axis", Attribute::Int(-1));
    let names = vec![Some(""); sizes.len()];
    let pieces = b.named_node("", OpType::Split, axis, inputs, &names, &[]).unwrap();
    pieces.into_iter().flatten().collect()
}

/// Features split into heads; keys the other way round.
fn heads(b: &mut Builder, x: ValueId, heads: usize, keys: bool) -> ValueId {
    let shape = b.int_vector(&[0, 0, heads as i64, -1]);
    let x = node(b, OpType::Reshape, NONE, &[x, shape]);
    let perm: &[i64] = if keys { &[0, 2, 3, 1] } else { &[0, 2, 1, 3] };
    node(b, OpType::Transpose, NONE.with("perm", ints(perm)), &[x])
}

/// softmax(q · kᵀ) · v with the heads put together again.
fn products(b: &mut Builder, [q, k, v]: [ValueId; 3], count: usize) -> ValueId {
    let (q, k, v) =
        (heads(b, q, count, false), heads(b, k, count, true), heads(b, v, count, false));
    let scores = node(b, OpType::MatMul, NONE, &[q, k]);
    let weights = node(b, OpType::Softmax, NONE, &[scores]);
    let y = node(b, OpType::MatMul, NONE, &[weights, v]);
    let y = node(b, OpType::Transpose, NONE.with("perm", ints(&[0, 2, 1, 3])), &[y]);
    let shape = b.int_vector(&[0, 0, -1]);
    node(b, OpType::Reshape, NONE, &[y, shape])
}

fn same(fused: &ComputationGraph, written_out: &ComputationGraph) {
    let describe = |g: &ComputationGraph| -> Vec<String> {
        g.nodes().map(|n| format!("{:?} {} {}", n.operation, n.parameters, n.macs)).collect()
    };
    assert_eq!(describe(fused), describe(written_out));
    assert_eq!(fused.fingerprint(), written_out.fingerprint());
}

#[test]
fn attention_with_its_projections() {
    let (tokens, features, width, count) = (5, 8, 12, 3);
    let fused = network(&[1, tokens, features], |b, x| {
        let inputs = [x, b.weight(&[features, 3 * width]), b.weight(&[3 * width])];
        node(b, OpType::MsAttention, NONE.with("num_heads", int(count)), &inputs)
    });
    let written_out = network(&[1, tokens, features], |b, x| {
        let (weight, bias) = (b.weight(&[features, 3 * width]), b.weight(&[3 * width]));
        let y = node(b, OpType::MatMul, NONE, &[x, weight]);
        let y = node(b, OpType::Add, NONE, &[y, bias]);
        let parts = split(b, y, &[width; 3]);
        products(b, [parts[0], parts[1], parts[2]], count)
    });
    same(&fused, &written_out);
    assert_eq!(fused.parameters() as usize, 3 * width * (features + 1));
    let macs = tokens * features * 3 * width + 2 * tokens * tokens * width;
    assert_eq!(fused.macs() as usize, macs);
}

#[test]
fn a_convolution_with_a_sum_and_an_activation() {
    let conv = |b: &mut Builder, op: OpType, attributes: Attributes, inputs: &[ValueId]| {
        let pads = attributes.with("pads", ints(&[1; 4]));
        let mut all = vec![inputs[0], b.weight(&[4, 4, 3, 3]), b.weight(&[4])];
        all.extend_from_slice(&inputs[1..]);
        node(b, op, pads, &all)
    };
    let fused = network(&[1, 4, 6, 6], |b, x| {
        let y = conv(b, OpType::Conv, NONE, &[x]);
        let relu = NONE.with("activation", Attribute::String("Relu".into()));
        conv(b, OpType::FusedConv, relu, &[y, x])
    });
    let written_out = network(&[1, 4, 6, 6], |b, x| {
        let y = conv(b, OpType::Conv, NONE, &[x]);
        let y = conv(b, OpType::Conv, NONE, &[y]);
        let y = node(b, OpType::Add, NONE, &[x, y]);
        node(b, OpType::Relu, NONE, &[y])
    });
    same(&fused, &written_out);
    assert_eq!(fused.macs(), 2 * 6 * 6 * 4 * 4 * 9);
}

fn linear(b: &mut Builder, x: ValueId, features: usize, bias: bool) -> ValueId {
    let depth = *b.value(x).shape.last().unwrap();
    let weight = b.weight(&[depth, features]);
    let y = node(b, OpType::MatMul, NONE, &[x, weight]);
    if !bias {
        return y;
    }
    let bias = b.weight(&[features]);
    node(b, OpType::Add, NONE, &[y, bias])
}

fn optional(
    b: &mut Builder,
    op: OpType,
    attributes: Attributes,
    inputs: &[Option<ValueId>],
) -> ValueId {
    let inputs = inputs.iter().copied().collect();
    b.named_node("", op, attributes, inputs, &[Some("")], &[]).unwrap()[0].unwrap()
}

#[test]
fn attention_with_the_shifts_of_three_layers() {
    let (tokens, width, count) = (5, 12, 3);
    let fused = network(&[1, tokens, 8], |b, x| {
        let [q, k, v] = [0; 3].map(|_| linear(b, x, width, false));
        let bias = b.weight(&[3 * width]);
        let heads = NONE.with("num_heads", int(count));
        node(b, OpType::MultiHeadAttention, heads, &[q, k, v, bias])
    });
    let written_out = network(&[1, tokens, 8], |b, x| {
        let parts = [0; 3].map(|_| linear(b, x, width, true));
        products(b, parts, count)
    });
    same(&fused, &written_out);
    assert_eq!(fused.parameters() as usize, 3 * (8 + 1) * width);
    assert_eq!(fused.macs() as usize, 3 * tokens * 8 * width + 2 * tokens * tokens * width);
}

#[test]
fn queries_that_share_keys_cost_like_others_and_rotate_apart_or_fused() {
    let (tokens, heads, shared, head) = (6, 4, 2, 4);
    let attention = |rotary: bool, b: &mut Builder, parts: [ValueId; 3]| {
        let data = crate::model_graph::TensorData::Ints(vec![tokens as i64]);
        let total = b.constant("", DataType::Int32, &[], Some(data.clone()));
        let lengths = b.constant("", DataType::Int32, &[1], Some(data));
        let [q, k, v] = parts.map(Some);
        let mut inputs = vec![q, k, v, None, None, Some(lengths), Some(total)];
        if rotary {
            inputs.extend([0; 2].map(|_| Some(b.weight(&[32, head / 2]))));
        }
        let attributes = NONE
            .with("num_heads", int(heads))
            .with("kv_num_heads", int(shared))
            .with("do_rotary", int(usize::from(rotary)));
        optional(b, OpType::GroupQueryAttention, attributes, &inputs)
    };
    let parts = |b: &mut Builder, x: ValueId| {
        [heads, shared, shared].map(|count| linear(b, x, count * head, false))
    };
    let fused = network(&[1, tokens, 8], |b, x| {
        let parts = parts(b, x);
        attention(true, b, parts)
    });
    let apart = network(&[1, tokens, 8], |b, x| {
        let [q, k, v] = parts(b, x);
        let positions = b.int_vector(&[0]);
        let [q, k] = [(q, heads), (k, shared)].map(|(x, count)| {
            let tables = [0; 2].map(|_| b.weight(&[32, head / 2]));
            let inputs = [x, positions, tables[0], tables[1]];
            node(b, OpType::MsRotaryEmbedding, NONE.with("num_heads", int(count)), &inputs)
        });
        attention(false, b, [q, k, v])
    });
    same(&fused, &apart);
    let features = (heads + 2 * shared) * head;
    assert_eq!(fused.parameters() as usize, 8 * features);
    let macs = tokens * 8 * features + 2 * tokens * tokens * heads * head;
    assert_eq!(fused.macs() as usize, macs);
}

#[test]
fn keys_of_earlier_tokens_are_attended_to() {
    let (past, width) = (7, 12);
    let graph = network(&[1, 1, width], |b, x| {
        let before = [0; 2].map(|_| b.input("", DataType::Float, &[1, 3, past, 4]));
        let inputs =
            [Some(x), Some(x), Some(x), None, None, None, Some(before[0]), Some(before[1])];
        optional(b, OpType::MultiHeadAttention, NONE.with("num_heads", int(3)), &inputs)
    });
    assert_eq!(graph.macs() as usize, 2 * (past + 1) * width);
}

#[test]
fn sums_with_a_bias_before_a_normalisation() {
    let norm = |b: &mut Builder| [0; 2].map(|_| b.weight(&[8]));
    let fused = network(&[1, 4, 8], |b, x| {
        let y = linear(b, x, 8, false);
        let [factor, shift] = norm(b);
        let bias = b.weight(&[8]);
        node(b, OpType::SkipLayerNormalization, NONE, &[x, y, factor, shift, bias])
    });
    let written_out = network(&[1, 4, 8], |b, x| {
        let y = linear(b, x, 8, true);
        let y = node(b, OpType::Add, NONE, &[y, x]);
        let [factor, shift] = norm(b);
        node(b, OpType::LayerNormalization, NONE, &[y, factor, shift])
    });
    same(&fused, &written_out);
    assert_eq!(fused.parameters(), 8 * 8 + 8 + 2 * 8);
}

#[test]
fn embeddings_of_words_segments_and_positions() {
    let (words, tokens, features) = (30, 5, 8);
    let ids = |b: &mut Builder| b.input("ids", DataType::Int64, &[1, tokens]);
    let tables = |b: &mut Builder| [words, tokens, 2].map(|rows| b.weight(&[rows, features]));
    let graph = |fused: bool| {
        let mut b = Builder::new("test", 17);
        let (words, segments) = (ids(&mut b), ids(&mut b));
        let [word, position, segment] = tables(&mut b);
        let [factor, shift] = [0; 2].map(|_| b.weight(&[features]));
        let y = if fused {
            let inputs = [words, segments, word, position, segment, factor, shift];
            node(&mut b, OpType::EmbedLayerNormalization, NONE, &inputs)
        } else {
            let rows = node(&mut b, OpType::Gather, NONE, &[word, words]);
            let other = node(&mut b, OpType::Gather, NONE, &[segment, segments]);
            let y = node(&mut b, OpType::Add, NONE, &[rows, other]);
            let y = node(&mut b, OpType::Add, NONE, &[y, position]);
            node(&mut b, OpType::LayerNormalization, NONE, &[y, factor, shift])
        };
        b.output(y);
        lower(&b.finish()).unwrap()
    };
    same(&graph(true), &graph(false));
    assert_eq!(graph(true).parameters() as usize, (words + tokens + 2 + 2) * features);
}

#[test]
fn an_activation_with_the_shift_of_the_layer_before() {
    for op in [OpType::BiasGelu, OpType::FastGelu] {
        let fused = network(&[1, 4, 8], |b, x| {
            let y = linear(b, x, 16, false);
            let bias = b.weight(&[16]);
            node(b, op, NONE, &[y, bias])
        });
        let written_out = network(&[1, 4, 8], |b, x| {
            let y = linear(b, x, 16, true);
            node(b, OpType::Gelu, NONE, &[y])
        });
        same(&fused, &written_out);
    }
}

/// Whether the weight has its channels last too differs.
#[test]
fn convolutions_of_maps_with_their_channels_last() {
    let pads = || NONE.with("pads", ints(&[1; 4])).with("strides", ints(&[2, 2]));
    let plain = network(&[1, 6, 7, 9], |b, x| {
        let inputs = [x, b.weight(&[8, 6, 3, 3]), b.weight(&[8])];
        node(b, OpType::Conv, pads(), &inputs)
    });
    for weight in [[8, 3, 3, 6], [8, 6, 3, 3]] {
        let fused = network(&[1, 6, 7, 9], |b, x| {
            let last = NONE.with("perm", ints(&[0, 2, 3, 1]));
            let x = node(b, OpType::Transpose, last, &[x]);
            let inputs = [x, b.weight(&weight), b.weight(&[8])];
            let y = node(b, OpType::NhwcConv, pads(), &inputs);
            assert_eq!(b.value(y).shape.as_slice(), [1, 4, 5, 8]);
            y
        });
        same(&fused, &plain);
    }
    assert_eq!(plain.macs(), 4 * 5 * 8 * 6 * 9);
}

/// Weights of a few bits are counted, not the bytes that they are packed into.
#[test]
fn a_weight_of_four_bits_has_all_its_elements() {
    let (rows, columns) = (32, 6);
    let graph = network(&[1, 4, rows], |b, x| {
        let weight = b.constant("", DataType::Uint8, &[columns, 2, 8], None);
        let scales = b.weight(&[columns * 2]);
        let bias = b.weight(&[columns]);
        let attributes = NONE
            .with("K", int(rows))
            .with("N", int(columns))
            .with("bits", int(4))
            .with("block_size", int(16));
        let inputs = [Some(x), Some(weight), Some(scales), None, None, Some(bias)];
        optional(b, OpType::MatMulNBits, attributes, &inputs)
    });
    let plain = network(&[1, 4, rows], |b, x| linear(b, x, columns, true));
    same(&graph, &plain);
    assert_eq!(graph.parameters() as usize, rows * columns + columns);
    assert_eq!(graph.macs() as usize, 4 * rows * columns);
}

#[test]
fn quantised_layers_are_what_they_stand_for() {
    let bytes = |b: &mut Builder, shape: &[usize]| b.constant("", DataType::Int8, shape, None);
    let scale = |b: &mut Builder| b.weight(&[]);
    let products = network(&[1, 4, 8], |b, x| {
        let (weight, bias) = (bytes(b, &[8, 6]), b.weight(&[6]));
        let (scale, zero) = (scale(b), bytes(b, &[]));
        node(b, OpType::DynamicQuantizeMatMul, NONE, &[x, weight, scale, zero, bias])
    });
    same(&products, &network(&[1, 4, 8], |b, x| linear(b, x, 6, true)));

    let cells = |quantised: bool| {
        network(&[5, 1, 8], |b, x| {
            let size = NONE.with("hidden_size", int(6));
            if !quantised {
                let inputs = [x, b.weight(&[1, 24, 8]), b.weight(&[1, 24, 6]), b.weight(&[1, 48])];
                return node(b, OpType::LSTM, size, &inputs);
            }
            let (weight, recurrence) = (bytes(b, &[1, 8, 24]), bytes(b, &[1, 6, 24]));
            let bias = b.weight(&[1, 48]);
            let [a, c] = [0; 2].map(|_| b.weight(&[1]));
            let [d, e] = [0; 2].map(|_| bytes(b, &[1]));
            let mut inputs = vec![Some(x), Some(weight), Some(recurrence), Some(bias)];
            inputs.extend([None; 4]);
            inputs.extend([a, d, c, e].map(Some));
            optional(b, OpType::DynamicQuantizeLSTM, size, &inputs)
        })
    };
    same(&cells(true), &cells(false));
    assert_eq!(cells(true).macs(), 5 * 4 * 6 * (8 + 6));

    let sums = |quantised: bool| {
        network(&[1, 4, 3, 3], |b, x| {
            let y = node(b, OpType::Relu, NONE, &[x]);
            if !quantised {
                return node(b, OpType::Concat, NONE.with("axis", int(1)), &[x, y]);
            }
            let [s, z] = [scale(b), bytes(b, &[])];
            let axis = NONE.with("axis", int(1));
            node(b, OpType::QLinearConcat, axis, &[s, z, x, s, z, y, s, z])
        })
    };
    same(&sums(true), &sums(false));
}

/// The first axis of the left operand moves behind the batches.
#[test]
fn a_fused_product_transposes_its_batches() {
    let graph = network(&[4, 3, 8], |b, x| {
        let weight = b.weight(&[3, 8, 6]);
        let y = node(b, OpType::FusedMatMul, NONE.with("transBatchA", int(1)), &[x, weight]);
        assert_eq!(b.value(y).shape.as_slice(), [3, 4, 6]);
        y
    });
    assert_eq!(graph.macs(), 3 * 4 * 8 * 6);
}

#[test]
fn group_normalisation_with_an_activation() {
    let graph = network(&[1, 7, 7, 6], |b, x| {
        let inputs = [x, b.weight(&[6]), b.weight(&[6])];
        let attributes = NONE.with("groups", int(3)).with("activation", int(1));
        node(b, OpType::GroupNorm, attributes, &inputs)
    });
    use crate::graph::Operation::{GroupNorm, Input, Silu};
    let operations: Vec<_> = graph.nodes().map(|n| n.operation).collect();
    assert_eq!(operations, [Input, GroupNorm, Silu]);
    assert_eq!(graph.parameters(), 12);
}

/// A constant integer, or a number for `Float`.
fn number(b: &mut Builder, dtype: DataType, value: f64) -> ValueId {
    let data = match dtype.is_float() {
        true => TensorData::Floats(vec![value]),
        false => TensorData::Ints(vec![value as i64]),
    };
    b.constant("", dtype, &[], Some(data))
}

/// As ONNX Runtime's static quantisation leaves a network: integers after each layer, and no ReLU or
/// ReLU6 where the zero point is the lowest integer.
#[test]
fn activations_that_quantisation_takes_in_are_found_again() {
    type Activate<'a> = &'a dyn Fn(&mut Builder, ValueId, &str) -> ValueId;
    let body = |b: &mut Builder, x: ValueId, activate: Activate| {
        let x = activate(b, x, "none");
        let conv = |b: &mut Builder, x: ValueId| {
            let inputs = [x, b.weight(&[8, b.value(x).shape[1], 3, 3]), b.weight(&[8])];
            node(b, OpType::Conv, NONE.with("pads", ints(&[1; 4])), &inputs)
        };
        let y = conv(b, x);
        let y = activate(b, y, "relu");
        // Nothing is clamped that is never negative.
        let y = node(b, OpType::MaxPool, NONE.with("kernel_shape", ints(&[2, 2])), &[y]);
        let y = activate(b, y, "none");
        let gate = node(b, OpType::Sigmoid, NONE, &[y]);
        let gate = activate(b, gate, "none");
        let z = conv(b, gate);
        let z = activate(b, z, "signed");
        let z = node(b, OpType::Add, NONE, &[y, z]);
        let z = activate(b, z, "relu6");
        let z = conv(b, z);
        // Means may happen to be positive.
        let z = node(b, OpType::GlobalAveragePool, NONE, &[z]);
        activate(b, z, "none")
    };
    let float = network(&[1, 3, 8, 8], |b, x| {
        body(b, x, &|b, x, what| match what {
            "relu" => node(b, OpType::Relu, NONE, &[x]),
            "relu6" => {
                let bounds = [0.0, 6.0].map(|bound| number(b, DataType::Float, bound));
                node(b, OpType::Clip, NONE, &[x, bounds[0], bounds[1]])
            }
            _ => x,
        })
    });
    for (dtype, lowest) in [(DataType::Uint8, 0.0), (DataType::Int8, -128.0)] {
        let quantised = network(&[1, 3, 8, 8], |b, x| {
            body(b, x, &|b, x, what| {
                let scale = if what == "relu6" { 6.0 / 255.0 } else { 0.03 };
                let scale = number(b, DataType::Float, f64::from(scale as f32));
                let zero = lowest + if what == "signed" { 128.0 } else { 0.0 };
                let zero = number(b, dtype, zero);
                let q = node(b, OpType::QuantizeLinear, NONE, &[x, scale, zero]);
                node(b, OpType::DequantizeLinear, NONE, &[q, scale, zero])
            })
        });
        same(&quantised, &float);
    }
}

/// The same of an operator on integers.
#[test]
fn operators_on_integers_take_in_the_activation_after_them() {
    for (zero, relu) in [(-128.0, true), (3.0, false)] {
        let mut b = Builder::new("test", 17);
        let x = b.input("x", DataType::Int8, &[1, 4, 8, 8]);
        let (scale, zero) =
            (number(&mut b, DataType::Float, 0.1), number(&mut b, DataType::Int8, zero));
        let nought = number(&mut b, DataType::Int8, 0.0);
        let w = b.constant("", DataType::Int8, &[8, 4, 1, 1], None);
        let y = node(
            &mut b,
            OpType::QLinearConv,
            NONE,
            &[x, scale, nought, w, scale, nought, scale, zero],
        );
        b.output(y);
        let graph = lower(&b.finish()).unwrap();
        let clamps = graph.nodes().filter(|n| n.operation == Operation::Relu).count();
        assert_eq!(clamps, usize::from(relu));
    }
}
