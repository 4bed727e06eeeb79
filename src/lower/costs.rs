//! Costs by hand: which axis is the batch, and what a weight is.

use super::lower;
use crate::graph::ComputationGraph;
use crate::model_graph::{
    Attribute, Attributes, Builder, DataType, ModelGraph, OpType, TensorData, ValueId, ints,
};

const NONE: Attributes = Attributes::new();

/// A network of floating-point inputs.
fn network(
    inputs: &[&[usize]],
    body: impl FnOnce(&mut Builder, &[ValueId]) -> ValueId,
) -> ModelGraph {
    let mut b = Builder::new("test", 17);
    let inputs: Vec<ValueId> =
        inputs.iter().map(|shape| b.input("", DataType::Float, shape)).collect();
    let y = body(&mut b, &inputs);
    b.output(y);
    b.finish()
}

fn node(b: &mut Builder, op: OpType, attributes: Attributes, inputs: &[ValueId]) -> ValueId {
    b.node(op, attributes, inputs).unwrap()
}

fn along(axis: i64) -> Attributes {
    NONE.with("axis", Attribute::Int(axis))
}

fn transpose(b: &mut Builder, x: ValueId, perm: &[i64]) -> ValueId {
    node(b, OpType::Transpose, NONE.with("perm", ints(perm)), &[x])
}

fn reshape(b: &mut Builder, x: ValueId, shape: &[i64]) -> ValueId {
    let shape = b.int_vector(shape);
    node(b, OpType::Reshape, NONE, &[x, shape])
}

fn linear(b: &mut Builder, x: ValueId, outputs: usize) -> ValueId {
    let w = b.weight(&[*b.value(x).shape.last().unwrap(), outputs]);
    node(b, OpType::MatMul, NONE, &[x, w])
}

fn conv(b: &mut Builder, x: ValueId, filters: usize) -> ValueId {
    let w = b.weight(&[filters, b.value(x).shape[1], 3, 3]);
    node(b, OpType::Conv, NONE.with("pads", ints(&[1, 1, 1, 1])), &[x, w])
}

fn mean(b: &mut Builder, x: ValueId, axes: &[i64]) -> ValueId {
    let keep = NONE.with("keepdims", Attribute::Int(0)).with("axes", ints(axes));
    node(b, OpType::ReduceMean, keep, &[x])
}

fn cost(graph: &ModelGraph) -> ComputationGraph {
    lower(graph).unwrap()
}

/// One head of attention over `tokens` of 16 features, the batch on the first or second axis.
fn attention(tokens: usize, batch: usize, batch_first: bool) -> ModelGraph {
    let shape = if batch_first { [batch, tokens, 16] } else { [tokens, batch, 16] };
    network(&[&shape], |b, x| {
        let parts = [0; 3].map(|_| linear(b, x[0], 16));
        let [q, k, v] = parts.map(|x| match batch_first {
            true => x,
            false => transpose(b, x, &[1, 0, 2]),
        });
        let k = transpose(b, k, &[0, 2, 1]);
        let scores = node(b, OpType::MatMul, NONE, &[q, k]);
        let scores = node(b, OpType::Softmax, along(-1), &[scores]);
        let mixed = node(b, OpType::MatMul, NONE, &[scores, v]);
        let mixed = if batch_first { mixed } else { transpose(b, mixed, &[1, 0, 2]) };
        let rows = reshape(b, mixed, &[-1, 16]);
        let rows = linear(b, rows, 16);
        let sum = reshape(b, rows, &shape.map(|d| d as i64));
        let sum = node(b, OpType::Add, NONE, &[sum, x[0]]);
        let pooled = mean(b, sum, &[if batch_first { 1 } else { 0 }]);
        linear(b, pooled, 5)
    })
}

#[test]
fn attention_costs_the_same_wherever_its_batch_is() {
    let tokens = 20;
    let by_hand = 4 * tokens * 16 * 16 + 2 * tokens * tokens * 16 + 16 * 5;
    for batch in [1, 4] {
        for batch_first in [true, false] {
            let graph = attention(tokens as usize, batch, batch_first);
            assert_eq!(graph.batch().size(), batch);
            assert_eq!(graph.batch().doubt(), None);
            assert_eq!(cost(&graph).macs(), by_hand, "{batch} {batch_first}");
        }
    }
}

/// Windows stand where the batch usually does, each with an attention of its own.
#[test]
fn attention_within_windows_costs_each() {
    let (windows, tokens) = (6, 20);
    let graph = network(&[&[1, windows, tokens, 16]], |b, x| {
        let x = reshape(b, x[0], &[windows as i64, tokens as i64, 16]);
        let heads =
            NONE.with("q_num_heads", Attribute::Int(2)).with("kv_num_heads", Attribute::Int(2));
        node(b, OpType::Attention, heads, &[x, x, x])
    });
    assert_eq!(cost(&graph).macs(), (windows * 2 * tokens * tokens * 16) as u64);
}

#[test]
fn recurrent_layers_cost_the_same_wherever_their_batch_is() {
    let (steps, features, hidden) = (50, 16, 32);
    for batch in [1, 6] {
        for layout in [0, 1] {
            let first = layout == 1;
            let shape = if first { [batch, steps, features] } else { [steps, batch, features] };
            let graph = network(&[&shape], |b, x| {
                let w = b.weight(&[1, 4 * hidden, features]);
                let r = b.weight(&[1, 4 * hidden, hidden]);
                let attributes = NONE
                    .with("hidden_size", Attribute::Int(hidden as i64))
                    .with("layout", Attribute::Int(layout));
                let y = node(b, OpType::LSTM, attributes, &[x[0], w, r]);
                let index = b.int_vector(&[-1]);
                let last = node(b, OpType::Gather, along(i64::from(first)), &[y, index]);
                let last = reshape(b, last, &[batch as i64, hidden as i64]);
                linear(b, last, 10)
            });
            assert_eq!(graph.batch().doubt(), None);
            let by_hand = steps * 4 * hidden * (features + hidden) + hidden * 10;
            assert_eq!(cost(&graph).macs(), by_hand as u64, "{batch} {layout}");
        }
    }
}

#[test]
fn a_batch_of_images_is_divided_by_and_what_joins_images_is_not() {
    let image = 16 * 16 * 8 * 27;
    let head = |b: &mut Builder, x: ValueId| {
        let y = conv(b, x, 8);
        mean(b, y, &[2, 3])
    };
    let batch = network(&[&[6, 3, 16, 16]], |b, x| head(b, x[0]));
    assert_eq!((batch.batch().size(), cost(&batch).macs()), (6, image));

    // Two networks that share their weights, written as one batch.
    for (batch, each) in [(1, 2), (5, 2)] {
        let shape = [batch, 3, 16, 16];
        let siamese = network(&[&shape, &shape], |b, x| {
            let joined = node(b, OpType::Concat, along(0), x);
            let y = head(b, joined);
            let split = [0, batch as i64].map(|start| {
                let bounds = [start, start + batch as i64, 0].map(|v| b.int_vector(&[v]));
                node(b, OpType::Slice, NONE, &[y, bounds[0], bounds[1], bounds[2]])
            });
            node(b, OpType::Sub, NONE, &split)
        });
        assert_eq!((siamese.batch().size(), siamese.batch().doubt()), (batch, None));
        assert_eq!(cost(&siamese).macs(), each * image);
    }

    // Four views of one image.
    let views = network(&[&[1, 3, 16, 16]], |b, x| {
        let repeats = b.int_vector(&[4, 1, 1, 1]);
        let x = node(b, OpType::Tile, NONE, &[x[0], repeats]);
        head(b, x)
    });
    assert_eq!(cost(&views).macs(), 4 * image);

    // A query and five examples are no batch of either.
    let few_shot = network(&[&[1, 3, 16, 16], &[5, 3, 16, 16]], |b, x| {
        let (query, examples) = (head(b, x[0]), head(b, x[1]));
        let examples = transpose(b, examples, &[1, 0]);
        node(b, OpType::MatMul, NONE, &[query, examples])
    });
    assert_eq!(cost(&few_shot).macs(), 6 * image + 5 * 8);
}

/// Exporters read the sizes that a Reshape keeps from the tensor itself.
#[test]
fn arithmetic_on_shapes_mixes_nothing() {
    let graph = network(&[&[6, 3, 8, 8]], |b, x| {
        let shape = node(b, OpType::Shape, NONE, &[x[0]]);
        let flat = reshape(b, x[0], &[6, -1]);
        let map = node(b, OpType::Reshape, NONE, &[flat, shape]);
        conv(b, map, 4)
    });
    assert_eq!((graph.batch().size(), cost(&graph).macs()), (6, 8 * 8 * 4 * 27));
}

#[test]
fn regions_of_interest_cost_each() {
    let (regions, size) = (7, 5);
    let graph = network(&[&[1, 3, 16, 16]], |b, x| {
        let map = conv(b, x[0], 8);
        let boxes = b.weight(&[regions, 4]);
        let images = b.int_vector(&[0; 7]);
        let attributes = NONE
            .with("output_height", Attribute::Int(size))
            .with("output_width", Attribute::Int(size));
        let cut = node(b, OpType::RoiAlign, attributes, &[map, boxes, images]);
        let y = conv(b, cut, 4);
        let y = node(b, OpType::Flatten, NONE, &[y]);
        linear(b, y, 10)
    });
    let (area, regions) = (size as u64 * size as u64, regions as u64);
    let by_hand = 16 * 16 * 8 * 27 + regions * (area * 4 * 8 * 9 + 4 * area * 10);
    assert_eq!(cost(&graph).macs(), by_hand);
}

#[test]
fn sets_and_graphs_have_no_batch() {
    let points = network(&[&[1024, 3]], |b, x| {
        let y = linear(b, x[0], 64);
        let keep = NONE.with("axes", ints(&[0])).with("keepdims", Attribute::Int(0));
        let y = node(b, OpType::ReduceMax, keep, &[y]);
        linear(b, y, 10)
    });
    assert_eq!(cost(&points).macs(), 1024 * 3 * 64 + 64 * 10);
    let graph = network(&[&[50, 16], &[50, 50]], |b, x| {
        let y = linear(b, x[0], 32);
        node(b, OpType::MatMul, NONE, &[x[1], y])
    });
    assert_eq!(cost(&graph).macs(), 50 * 16 * 32 + 50 * 50 * 32);
    // Tokens, each with a position of its own.
    let tokens = network(&[&[12, 16]], |b, x| {
        let table = b.weight(&[12, 16]);
        let y = node(b, OpType::Add, NONE, &[x[0], table]);
        linear(b, y, 8)
    });
    assert_eq!(cost(&tokens).macs(), 12 * 16 * 8);
    assert_eq!(cost(&tokens).parameters(), 12 * 16 + 16 * 8);
    for graph in [points, graph, tokens] {
        assert_eq!(graph.batch().size(), 1);
        assert!(graph.batch().doubt().is_some());
    }
}

/// Two axes that nothing mixes: either could be the batch.
#[test]
fn an_ambiguous_batch_is_not_divided_by() {
    let graph = network(&[&[6, 9, 16]], |b, x| linear(b, x[0], 4));
    assert_eq!((graph.batch().size(), graph.batch().doubt().is_some()), (1, true));
    assert_eq!(cost(&graph).macs(), 6 * 9 * 16 * 4);
    // An axis of channels is none, although only one is there.
    let sound = network(&[&[6, 1, 100]], |b, x| {
        let w = b.weight(&[4, 1, 5]);
        node(b, OpType::Conv, NONE, &[x[0], w])
    });
    assert_eq!((sound.batch().size(), cost(&sound).macs()), (6, 96 * 4 * 5));
}

/// An image or a video without a batch has an axis that its layers carry along too.
#[test]
fn the_second_axis_is_no_batch_without_a_sequence() {
    let pixels = network(&[&[3, 16, 20]], |b, x| {
        let last = transpose(b, x[0], &[1, 2, 0]);
        let y = linear(b, last, 8);
        let y = linear(b, y, 2);
        transpose(b, y, &[2, 0, 1])
    });
    assert_eq!(cost(&pixels).macs(), 16 * 20 * (3 * 8 + 8 * 2));
    let einsum = network(&[&[3, 16, 20]], |b, x| {
        let w = b.weight(&[8, 3]);
        let equation = Attribute::String("chw,oc->ohw".into());
        node(b, OpType::Einsum, NONE.with("equation", equation), &[x[0], w])
    });
    assert_eq!(cost(&einsum).macs(), 16 * 20 * 3 * 8);
    let frames = network(&[&[16, 50, 64]], |b, x| {
        let y = mean(b, x[0], &[0]);
        linear(b, y, 8)
    });
    assert_eq!(cost(&frames).macs(), 50 * 64 * 8);
    for graph in [pixels, einsum, frames] {
        assert_eq!((graph.batch().size(), graph.batch().doubt().is_some()), (1, true));
    }
}

/// The same costs, and the same doubt, whichever input a file names first.
#[test]
fn the_order_of_inputs_says_nothing_of_the_batch() {
    type Body = fn(&mut Builder, &[ValueId]) -> ValueId;
    let conditioned: Body = |b, x| {
        let shift = linear(b, x[0], 4);
        let shift = reshape(b, shift, &[1, 4, 1, 1]);
        let y = conv(b, x[1], 4);
        node(b, OpType::Add, NONE, &[y, shift])
    };
    let scaled: Body = |b, x| {
        let x = node(b, OpType::Mul, NONE, &[x[1], x[0]]);
        conv(b, x, 4)
    };
    let recurrent: Body = |b, x| {
        let [w, r] = [12, 16].map(|from| b.weight(&[1, 3 * 16, from]));
        let attributes = NONE.with("hidden_size", Attribute::Int(16));
        let inputs = [Some(x[1]), Some(w), Some(r), None, None, Some(x[0])];
        let inputs = inputs.into_iter().collect();
        let y = b.named_node("", OpType::GRU, attributes, inputs, &[Some("")], &[]).unwrap();
        y[0].unwrap()
    };
    let image: &[usize] = &[8, 3, 16, 16];
    let cases: [(&[usize], &[usize], Body, usize); 3] = [
        (&[1, 6], image, conditioned, 1),
        (&[1], image, scaled, 8),
        (&[1, 8, 16], &[20, 8, 12], recurrent, 8),
    ];
    for (first, second, body, size) in cases {
        let graph = network(&[first, second], body);
        let other = network(&[second, first], |b, x| body(b, &[x[1], x[0]]));
        for graph in [&graph, &other] {
            assert_eq!((graph.batch().size(), graph.batch().doubt().is_some()), (size, size == 1));
        }
        assert_eq!(cost(&graph).macs(), cost(&other).macs());
    }
}

/// A decoder's step is a sequence of one.
#[test]
fn one_step_of_a_recurrence_has_its_batch_second() {
    let step = |batch: usize| {
        network(&[&[1, batch, 12]], |b, x| {
            let [w, r] = [12, 16].map(|from| b.weight(&[1, 4 * 16, from]));
            let attributes = NONE.with("hidden_size", Attribute::Int(16));
            node(b, OpType::LSTM, attributes, &[x[0], w, r])
        })
    };
    let (one, eight) = (step(1), step(8));
    assert_eq!((eight.batch().size(), eight.batch().doubt()), (8, None));
    assert_eq!(cost(&eight).macs(), cost(&one).macs());
}

/// An axis of one grey value is no batch, so that where the first one is not carried along, none is.
#[test]
fn one_channel_excuses_no_doubt() {
    for channels in [1, 3] {
        let graph = network(&[&[8, channels, 16, 16]], |b, x| {
            let y = conv(b, x[0], 4);
            // A token for each image, as exporters store one that was expanded.
            let tokens = reshape(b, y, &[8, 4, 256]);
            let tokens = transpose(b, tokens, &[0, 2, 1]);
            let class = b.weight(&[8, 1, 4]);
            let all = node(b, OpType::Concat, along(1), &[class, tokens]);
            linear(b, all, 10)
        });
        assert!(graph.batch().doubt().is_some(), "{channels}");
    }
}

/// A running sum or product leaves the batch alone along any other axis.
#[test]
fn what_runs_along_the_batch_mixes_it() {
    for op in [OpType::CumSum, OpType::CumProd] {
        let along = |axis: i64| {
            network(&[&[6, 9]], |b, x| {
                let axis = TensorData::Ints(vec![axis]);
                let axis = b.constant("", DataType::Int64, &[], Some(axis));
                let y = node(b, op.clone(), NONE, &[x[0], axis]);
                linear(b, y, 4)
            })
        };
        for (axis, size) in [(1, 6), (-1, 6), (0, 1), (-2, 1)] {
            let graph = along(axis);
            assert_eq!((graph.batch().size(), graph.batch().doubt().is_some()), (size, size == 1));
        }
    }
}

/// Exporters leave nodes and inputs behind that nothing uses.
#[test]
fn what_no_output_depends_on_says_nothing_of_the_batch() {
    let graph = network(&[&[6, 9], &[1, 5]], |b, x| {
        let mixed = NONE.with("axes", ints(&[0]));
        node(b, OpType::ReduceMax, mixed, &[x[0]]);
        linear(b, x[0], 4)
    });
    assert_eq!((graph.batch().size(), graph.batch().doubt()), (6, None));
    assert_eq!(cost(&graph).macs(), 9 * 4);
}

#[test]
fn products_cost_what_they_multiply() {
    let flip = |name: &'static str| NONE.with(name, Attribute::Int(1));
    let left = network(&[&[7, 3]], |b, x| {
        let w = b.weight(&[7, 5]);
        node(b, OpType::Gemm, flip("transA"), &[x[0], w])
    });
    let right = network(&[&[7, 5]], |b, x| {
        let w = b.weight(&[7, 3]);
        node(b, OpType::Gemm, flip("transA"), &[w, x[0]])
    });
    let column = network(&[&[7, 1]], |b, x| {
        let w = b.weight(&[3, 7]);
        node(b, OpType::Gemm, NONE, &[w, x[0]])
    });
    assert_eq!(cost(&left).macs(), 3 * 7 * 5);
    assert_eq!(cost(&right).macs(), 3 * 7 * 5);
    assert_eq!(cost(&column).macs(), 3 * 7);
}

#[test]
fn a_stored_tensor_counts_once_however_it_is_read() {
    let (words, width) = (100, 16);
    type View = fn(&mut Builder, ValueId) -> ValueId;
    let views: [View; 4] = [
        |b, table| transpose(b, table, &[1, 0]),
        |b, table| {
            let table = node(b, OpType::Identity, NONE, &[table]);
            transpose(b, table, &[1, 0])
        },
        |b, table| {
            let table = reshape(b, table, &[100, 16]);
            let table = node(b, OpType::Identity, NONE, &[table]);
            transpose(b, table, &[1, 0])
        },
        |b, table| {
            let table = reshape(b, table, &[100, 16]);
            let half = NONE.with("to", Attribute::Int(10));
            let table = node(b, OpType::Cast, half, &[table]);
            let table = node(b, OpType::Cast, NONE.with("to", Attribute::Int(1)), &[table]);
            transpose(b, table, &[1, 0])
        },
    ];
    for view in views {
        let mut b = Builder::new("test", 17);
        let ids = b.input("ids", DataType::Int64, &[1, 10]);
        let table = b.weight(&[words, width]);
        let x = node(&mut b, OpType::Gather, NONE, &[table, ids]);
        let x = node(&mut b, OpType::Tanh, NONE, &[x]);
        let head = view(&mut b, table);
        let y = node(&mut b, OpType::MatMul, NONE, &[x, head]);
        b.output(y);
        let graph = cost(&b.finish());
        assert_eq!(graph.parameters(), (words * width) as u64);
        assert_eq!(graph.macs(), (10 * words * width) as u64);
    }
    // The parts of a projection that is stored as one, of which one is read twice.
    let parts = network(&[&[1, 10, 16]], |b, x| {
        let packed = b.weight(&[16, 48]);
        let read = [0, 16, 32, 32].map(|start| {
            let bounds = [start, start + 16, 1].map(|v| b.int_vector(&[v]));
            let w = node(b, OpType::Slice, NONE, &[packed, bounds[0], bounds[1], bounds[2]]);
            node(b, OpType::MatMul, NONE, &[x[0], w])
        });
        node(b, OpType::Sum, NONE, &read)
    });
    assert_eq!(cost(&parts).parameters(), 16 * 48);
}

#[test]
fn weights_count_whatever_their_type_and_size() {
    // Stored as bytes, and made numbers of before use.
    let quantised = network(&[&[1, 8, 6, 6]], |b, x| {
        let scale = b.constant("", DataType::Float, &[], Some(TensorData::Floats(vec![0.1])));
        let stored = [
            b.constant("", DataType::Int8, &[4, 8, 3, 3], None),
            b.constant("", DataType::Int32, &[4], None),
        ];
        let [w, bias] = stored.map(|w| node(b, OpType::DequantizeLinear, NONE, &[w, scale]));
        node(b, OpType::Conv, NONE, &[x[0], w, bias])
    });
    let graph = cost(&quantised);
    assert_eq!((graph.parameters(), graph.macs()), (4 * 8 * 9 + 4, 4 * 4 * 4 * 8 * 9));
    assert!(graph.nodes().any(|n| n.bias));
    let integer = network(&[&[1, 8]], |b, x| {
        let cast = NONE.with("to", Attribute::Int(2));
        let x = node(b, OpType::Cast, cast, &[x[0]]);
        let w = b.constant("", DataType::Uint8, &[8, 12], None);
        node(b, OpType::MatMulInteger, NONE, &[x, w])
    });
    assert_eq!(cost(&integer).parameters(), 8 * 12);
    // A single weight, a single bias: of a convolution, a Gemm, and a MatMul with its Add.
    let single = network(&[&[1, 1, 4, 4]], |b, x| {
        let (w, bias) = (b.weight(&[1, 1, 1, 1]), b.weight(&[1]));
        node(b, OpType::Conv, NONE, &[x[0], w, bias])
    });
    assert_eq!(cost(&single).parameters(), 2);
    let (gemm, sum) = (
        network(&[&[1, 8]], |b, x| {
            let (w, bias) = (b.weight(&[8, 1]), b.weight(&[1]));
            node(b, OpType::Gemm, NONE, &[x[0], w, bias])
        }),
        network(&[&[1, 8]], |b, x| {
            let (y, bias) = (linear(b, x[0], 1), b.weight(&[1]));
            node(b, OpType::Add, NONE, &[y, bias])
        }),
    );
    let (gemm, sum) = (cost(&gemm), cost(&sum));
    assert_eq!((gemm.parameters(), sum.parameters()), (9, 9));
    assert_eq!(gemm.fingerprint(), sum.fingerprint());
}

#[test]
fn an_axis_that_is_named_twice_is_one() {
    let reduced = |axes: &[i64]| {
        let graph = network(&[&[2, 3, 4]], |b, x| {
            let keep = NONE.with("keepdims", Attribute::Int(0)).with("axes", ints(axes));
            node(b, OpType::ReduceMax, keep, &[x[0]])
        });
        cost(&graph).fingerprint()
    };
    assert_eq!(reduced(&[0, 0, 0]), reduced(&[0]));
}

fn bytes(b: &mut Builder, shape: &[usize]) -> ValueId {
    b.constant("", DataType::Uint8, shape, None)
}

fn floats(b: &mut Builder, shape: &[usize], value: f64) -> ValueId {
    let data = TensorData::Floats(vec![value; shape.iter().product()]);
    b.constant("", DataType::Float, shape, Some(data))
}

/// Rows picked before they are made numbers of, and sums, products and parts of bytes, have as many
/// parameters as the same of numbers; how bytes stand for numbers has none.
#[test]
fn bytes_in_the_place_of_data_are_weights() {
    let (words, width) = (100, 16);
    let table = |read: &dyn Fn(&mut Builder, ValueId) -> ValueId| {
        let mut b = Builder::new("test", 17);
        let ids = b.input("ids", DataType::Int64, &[1, 10]);
        // Of another table of positions.
        let step = b.constant("", DataType::Int64, &[1, 10], None);
        let ids = node(&mut b, OpType::Add, NONE, &[ids, step]);
        let y = read(&mut b, ids);
        b.output(y);
        cost(&b.finish()).parameters()
    };
    let plain = table(&|b, ids| {
        let rows = b.weight(&[words, width]);
        node(b, OpType::Gather, NONE, &[rows, ids])
    });
    assert_eq!(plain, (words * width) as u64);
    for dtype in [2, 3, 4, 5, 21, 22].map(DataType::from_onnx) {
        let dequantised = table(&|b, ids| {
            let rows = b.constant("", dtype, &[words, width], None);
            let rows = node(b, OpType::Gather, NONE, &[rows, ids]);
            let (scale, zero) = (b.weight(&[width]), b.constant("", dtype, &[width], None));
            node(b, OpType::DequantizeLinear, NONE, &[rows, scale, zero])
        });
        let scaled = table(&|b, ids| {
            let rows = b.constant("", dtype, &[words, width], None);
            let rows = node(b, OpType::Gather, NONE, &[rows, ids]);
            let rows = node(b, OpType::Cast, NONE.with("to", Attribute::Int(1)), &[rows]);
            let scale = b.weight(&[]);
            node(b, OpType::Mul, NONE, &[rows, scale])
        });
        assert_eq!((dequantised, scaled), (plain, plain), "{dtype:?}");
    }
    // Each an operand of the same features, with a scale and a zero point for each operand.
    let quantised = |op: OpType, shape: &[usize]| {
        let mut b = Builder::new("test", 17);
        let x = b.input("x", DataType::Uint8, &[1, 6, 64]);
        let own = bytes(&mut b, shape);
        let mut pair = || [b.weight(&[]), b.constant("", DataType::Uint8, &[], None)];
        let [[s0, z0], [s1, z1], [s2, z2]] = [pair(), pair(), pair()];
        let inputs = match op {
            OpType::QLinearConcat => vec![s0, z0, own, s1, z1, x, s2, z2],
            _ => vec![x, s0, z0, own, s1, z1, s2, z2],
        };
        let axis = if op == OpType::QLinearConcat { along(1) } else { NONE };
        let y = node(&mut b, op, axis, &inputs);
        b.output(y);
        cost(&b.finish())
    };
    let written_out = |op: OpType, shape: &[usize]| {
        let graph = network(&[&[1, 6, 64]], |b, x| {
            let own = b.weight(shape);
            match op {
                OpType::Concat => node(b, op, along(1), &[own, x[0]]),
                _ => node(b, op, NONE, &[x[0], own]),
            }
        });
        cost(&graph)
    };
    for (fused, op, shape) in [
        (OpType::QLinearAdd, OpType::Add, &[64][..]),
        (OpType::QLinearAdd, OpType::Add, &[1, 6, 64]),
        (OpType::QLinearAdd, OpType::Add, &[1]),
        (OpType::QLinearMul, OpType::Mul, &[64]),
        (OpType::QLinearConcat, OpType::Concat, &[1, 1, 64]),
    ] {
        let (fused, plain) = (quantised(fused, shape), written_out(op.clone(), shape));
        assert_eq!(fused.parameters(), plain.parameters(), "{op}");
        assert_eq!(fused.fingerprint(), plain.fingerprint(), "{op}");
    }
    // The bias of a head with one output.
    let head = |quantised: bool| {
        let graph = network(&[&[1, 8]], |b, x| {
            if !quantised {
                let (y, bias) = (linear(b, x[0], 1), b.weight(&[1]));
                return node(b, OpType::Add, NONE, &[y, bias]);
            }
            let (weight, bias) = (bytes(b, &[8, 1]), bytes(b, &[1]));
            let (s, z) = (b.weight(&[]), bytes(b, &[]));
            let x = node(b, OpType::QuantizeLinear, NONE, &[x[0], s, z]);
            let y = node(b, OpType::QLinearMatMul, NONE, &[x, s, z, weight, s, z, s, z]);
            node(b, OpType::QLinearAdd, NONE, &[y, s, z, bias, s, z, s, z])
        });
        cost(&graph).parameters()
    };
    assert_eq!((head(true), head(false)), (9, 9));
}

/// Its channels are those of axis 1, whatever else is taken for them.
#[test]
fn batch_normalisation_has_a_factor_and_a_shift_for_each_of_axis_1() {
    let norm = |b: &mut Builder, x: ValueId| {
        let channels = b.value(x).shape[1];
        let own = [0; 4].map(|_| b.weight(&[channels]));
        let inputs: Vec<ValueId> = [x].into_iter().chain(own).collect();
        node(b, OpType::BatchNormalization, NONE, &inputs)
    };
    let relu = |b: &mut Builder, x: ValueId| node(b, OpType::Relu, NONE, &[x]);
    let parameters = |shape: &[usize], body: &dyn Fn(&mut Builder, ValueId) -> ValueId| {
        cost(&network(&[shape], |b, x| body(b, x[0]))).parameters()
    };
    let line = network(&[&[1, 12, 50]], |b, x| norm(b, x[0]));
    assert_eq!(cost(&line).parameters(), 2 * 12);
    // As before a convolution, which reads the same channels.
    let before = network(&[&[1, 12, 50]], |b, x| {
        let y = norm(b, x[0]);
        let w = b.weight(&[8, 12, 7]);
        node(b, OpType::Conv, NONE, &[y, w])
    });
    let before = cost(&before);
    assert_eq!(before.parameters(), 2 * 12 + 8 * 12 * 7);
    assert!(before.nodes().all(|n| n.name.is_empty() || n.input.channels == 12));
    let tokens = |between: bool| {
        parameters(&[1, 50, 3], &|b, x| {
            let y = linear(b, x, 8);
            let y = if between { relu(b, y) } else { y };
            let y = norm(b, y);
            linear(b, y, 4)
        })
    };
    let own = 3 * 8 + 2 * 50 + 8 * 4;
    assert_eq!((tokens(true), tokens(false)), (own, own));
    let last = parameters(&[1, 6, 4, 5], &|b, x| {
        let y = transpose(b, x, &[0, 2, 3, 1]);
        norm(b, y)
    });
    assert_eq!(last, 2 * 4);
    let wide = parameters(&[1, 6, 4, 4], &|b, x| {
        let y = reshape(b, x, &[1, 3, 8, 4]);
        norm(b, y)
    });
    assert_eq!(wide, 2 * 3);
    let heads = parameters(&[1, 10, 16], &|b, x| {
        let y = linear(b, x, 16);
        let y = reshape(b, y, &[1, 10, 4, 4]);
        let y = transpose(b, y, &[0, 2, 1, 3]);
        norm(b, y)
    });
    assert_eq!(heads, 16 * 16 + 2 * 4);
    let shuffled = parameters(&[1, 8, 4, 4], &|b, x| {
        let block = NONE.with("blocksize", Attribute::Int(2));
        let y = node(b, OpType::DepthToSpace, block, &[x]);
        norm(b, y)
    });
    assert_eq!(shuffled, 2 * 2);
    // Where they are the channels, it is the layer's before it.
    let folded = parameters(&[1, 50, 3], &|b, x| {
        let y = linear(b, x, 8);
        let y = transpose(b, y, &[0, 2, 1]);
        norm(b, y)
    });
    assert_eq!(folded, 3 * 8 + 8);
}

/// Exporters write group normalisation as that of instances, of groups, by ones and zeros, and the
/// trained factors after it; others have their own.
#[test]
fn instance_normalisation_has_its_weights() {
    let (channels, groups) = (16, 4);
    let line = network(&[&[1, 6, 50]], |b, x| {
        let own = [0; 2].map(|_| b.weight(&[6]));
        node(b, OpType::InstanceNormalization, NONE, &[x[0], own[0], own[1]])
    });
    assert_eq!(cost(&line).parameters(), 2 * 6);
    // Not trained yet.
    let fresh = network(&[&[1, 6, 50]], |b, x| {
        let own = [1.0, 0.0].map(|value| floats(b, &[6], value));
        node(b, OpType::InstanceNormalization, NONE, &[x[0], own[0], own[1]])
    });
    assert_eq!(cost(&fresh).parameters(), 2 * 6);
    type Own = fn(&mut Builder, usize) -> [ValueId; 2];
    let known: Own = |b, groups| [1.0, 0.0].map(|value| floats(b, &[groups], value));
    let literal: Own = |b, groups| [0; 2].map(|_| b.literal("", DataType::Float, &[groups], None));
    let stripped: Own = |b, groups| [0; 2].map(|_| b.weight(&[groups]));
    let trained: Own = |b, groups| [0.5, 0.25].map(|value| floats(b, &[groups], value));
    let grouped = |own: Own, follows: bool, converted: bool| {
        let graph = network(&[&[1, channels, 5, 5]], |b, x| {
            let own = own(b, groups);
            let convert = |b: &mut Builder, x: ValueId| {
                if !converted {
                    return x;
                }
                let (s, z) = (b.weight(&[]), bytes(b, &[]));
                let x = node(b, OpType::QuantizeLinear, NONE, &[x, s, z]);
                node(b, OpType::DequantizeLinear, NONE, &[x, s, z])
            };
            let y = reshape(b, x[0], &[0, groups as i64, -1]);
            let y = convert(b, y);
            let y = node(b, OpType::InstanceNormalization, NONE, &[y, own[0], own[1]]);
            let y = convert(b, y);
            let y = reshape(b, y, &[1, channels as i64, 5, 5]);
            if !follows {
                return y;
            }
            let y = convert(b, y);
            let factor = b.weight(&[channels, 1, 1]);
            let y = node(b, OpType::Mul, NONE, &[y, factor]);
            let y = convert(b, y);
            let shift = b.weight(&[channels, 1, 1]);
            node(b, OpType::Add, NONE, &[y, shift])
        });
        cost(&graph)
    };
    let names = |graph: &ComputationGraph| -> Vec<&'static str> {
        graph.nodes().map(|n| n.operation.name()).collect()
    };
    for converted in [false, true] {
        let expected = grouped(known, true, converted);
        assert_eq!(expected.parameters(), 2 * channels as u64);
        assert_eq!(names(&expected), ["input", "group_norm"]);
        for own in [literal, stripped] {
            assert_eq!(grouped(own, true, converted).fingerprint(), expected.fingerprint());
        }
        assert_eq!(grouped(known, false, converted).parameters(), 0);
        for own in [stripped, trained] {
            assert_eq!(grouped(own, false, converted).parameters(), 2 * groups as u64);
        }
    }
    // A head that multiplies otherwise has no factor of its channels.
    let gated = network(&[&[1, channels, 5, 5]], |b, x| {
        let own = stripped(b, groups);
        let y = reshape(b, x[0], &[0, groups as i64, -1]);
        let y = node(b, OpType::InstanceNormalization, NONE, &[y, own[0], own[1]]);
        let y = reshape(b, y, &[1, channels as i64, 5, 5]);
        let table = b.weight(&[5, 5]);
        let y = node(b, OpType::Mul, NONE, &[y, table]);
        node(b, OpType::Add, NONE, &[y, table])
    });
    assert_eq!(cost(&gated).parameters(), (2 * groups + 2 * 25) as u64);
}

/// Integers that are computed from numbers are scaled back by the scale of these times that of the
/// weight, which may be one number for each of its columns.
#[test]
fn scales_of_dynamic_quantisation_are_no_weights() {
    let quantised = |b: &mut Builder, x: ValueId| {
        let inputs = [Some(x)].into_iter().collect();
        let names = [Some(""); 3];
        let outputs = b.named_node("", OpType::DynamicQuantizeLinear, NONE, inputs, &names, &[]);
        outputs.unwrap().into_iter().flatten().collect::<Vec<_>>()
    };
    let to_float = || NONE.with("to", Attribute::Int(1));
    for order in [[0, 1], [1, 0]] {
        let scaled = |b: &mut Builder, y: ValueId, scale: ValueId, shape: &[usize]| {
            let own = b.weight(shape);
            let pair = [scale, own];
            let scale = node(b, OpType::Mul, NONE, &order.map(|i: usize| pair[i]));
            let y = node(b, OpType::Cast, to_float(), &[y]);
            node(b, OpType::Mul, NONE, &[y, scale])
        };
        let product = |scale: &[usize]| {
            let graph = network(&[&[1, 16]], |b, x| {
                let mut y = x[0];
                for (from, to) in [(16, 8), (8, 4)] {
                    y = node(b, OpType::Relu, NONE, &[y]);
                    let parts = quantised(b, y);
                    let w = bytes(b, &[from, to]);
                    let inputs = [parts[0], w, parts[2]];
                    let product = node(b, OpType::MatMulInteger, NONE, &inputs);
                    let shape: Vec<usize> = scale.iter().map(|_| to).collect();
                    y = scaled(b, product, parts[1], &shape);
                }
                y
            });
            cost(&graph)
        };
        assert_eq!(product(&[1]).parameters(), 16 * 8 + 8 * 4);
        assert_eq!(product(&[1]).fingerprint(), product(&[]).fingerprint());
        let image = |scale: &[usize]| {
            let graph = network(&[&[1, 3, 9, 9]], |b, x| {
                let parts = quantised(b, x[0]);
                let w = bytes(b, &[8, 3, 3, 3]);
                let y = node(b, OpType::ConvInteger, NONE, &[parts[0], w, parts[2]]);
                let y = scaled(b, y, parts[1], scale);
                let bias = b.weight(&[1, 8, 1, 1]);
                let y = node(b, OpType::Add, NONE, &[y, bias]);
                node(b, OpType::Relu, NONE, &[y])
            });
            cost(&graph)
        };
        assert_eq!(image(&[1, 8, 1, 1]).parameters(), 8 * 27 + 8);
        assert_eq!(image(&[1, 8, 1, 1]).fingerprint(), image(&[]).fingerprint());
    }
}

/// The gates of an LSTM may look at its state by weights of their own.
#[test]
fn peepholes_are_weights() {
    let (features, hidden) = (12, 16);
    let parameters = |peepholes: bool| {
        let graph = network(&[&[20, 1, features]], |b, x| {
            let shapes: [&[usize]; 4] = [
                &[1, 4 * hidden, features],
                &[1, 4 * hidden, hidden],
                &[1, 8 * hidden],
                &[1, 3 * hidden],
            ];
            let [w, r, bias, p] = shapes.map(|shape| b.weight(shape));
            let mut inputs = vec![Some(x[0]), Some(w), Some(r), Some(bias)];
            if peepholes {
                inputs.extend([None, None, None, Some(p)]);
            }
            let size = NONE.with("hidden_size", Attribute::Int(hidden as i64));
            let inputs = inputs.into_iter().collect();
            b.named_node("", OpType::LSTM, size, inputs, &[Some("")], &[]).unwrap()[0].unwrap()
        });
        cost(&graph).parameters()
    };
    assert_eq!(parameters(true), parameters(false) + 3 * hidden as u64);
}

/// Where to read, where to write and what to fill with are no weights; what is read and written is.
#[test]
fn constants_that_say_where_are_no_weights() {
    let mut b = Builder::new("test", 17);
    let ids = b.input("ids", DataType::Int64, &[1, 20]);
    let depth = b.constant("", DataType::Int64, &[], Some(TensorData::Ints(vec![50])));
    let values = b.constant("", DataType::Float, &[2], Some(TensorData::Floats(vec![0.0, 1.0])));
    let y = node(&mut b, OpType::OneHot, NONE, &[ids, depth, values]);
    let table = b.weight(&[50, 16]);
    let y = node(&mut b, OpType::MatMul, NONE, &[y, table]);
    b.output(y);
    assert_eq!(cost(&b.finish()).parameters(), 50 * 16);

    let image: &[usize] = &[1, 4, 8, 8];
    let grid: &[usize] = &[1, 5, 5, 2];
    let sampled = |data: bool| {
        network(&[if data { grid } else { image }], |b, x| {
            let own = b.weight(if data { image } else { grid });
            let inputs = if data { [own, x[0]] } else { [x[0], own] };
            node(b, OpType::GridSample, NONE, &inputs)
        })
    };
    assert_eq!(cost(&sampled(false)).parameters(), 0);
    assert_eq!(cost(&sampled(true)).parameters(), 4 * 8 * 8);
    let regions = network(&[image], |b, x| {
        let (boxes, images) = (b.weight(&[7, 4]), b.int_vector(&[0; 7]));
        node(b, OpType::RoiAlign, NONE, &[x[0], boxes, images])
    });
    assert_eq!(cost(&regions).parameters(), 0);
    let pooled = network(&[image], |b, x| {
        let boxes = b.weight(&[7, 5]);
        let shape = NONE.with("pooled_shape", ints(&[2, 2]));
        node(b, OpType::MaxRoiPool, shape, &[x[0], boxes])
    });
    assert_eq!(cost(&pooled).parameters(), 0);

    let written = |buffer: &dyn Fn(&mut Builder) -> ValueId| {
        let graph = network(&[&[3, 8]], |b, x| {
            let rows = TensorData::Ints(vec![0, 3, 4]);
            let rows = b.constant("", DataType::Int64, &[3, 1], Some(rows));
            let buffer = buffer(b);
            node(b, OpType::ScatterND, NONE, &[buffer, rows, x[0]])
        });
        cost(&graph).parameters()
    };
    assert_eq!(written(&|b| floats(b, &[10, 8], 0.0)), 0);
    assert_eq!(written(&|b| floats(b, &[10, 8], 0.5)), 80);
    assert_eq!(written(&|b| b.weight(&[10, 8])), 80);
    let update = network(&[&[10, 8]], |b, x| {
        let rows = TensorData::Ints(vec![0, 3, 4]);
        let rows = b.constant("", DataType::Int64, &[3, 1], Some(rows));
        let own = floats(b, &[3, 8], 0.0);
        node(b, OpType::ScatterND, NONE, &[x[0], rows, own])
    });
    assert_eq!(cost(&update).parameters(), 24);
}
