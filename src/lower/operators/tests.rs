//! Fused operators against the same written out.

use crate::graph::ComputationGraph;
use crate::lower::lower;
use crate::model_graph::{Attribute, Attributes, Builder, DataType, OpType, ValueId, ints};

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
