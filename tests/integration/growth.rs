//! Time in proportion to the size of a network, whatever its shape.

#[path = "../../benches/growth/shapes.rs"]
mod shapes;

use gennape::lower::lower;
use gennape::model_graph::{
    Attribute, Attributes, Builder, DataType, ModelGraph, OpType, TensorData, ValueId,
};
use gennape::subnetworks::SuperNetwork;
use shapes::Shape;
use std::time::{Duration, Instant};

const NONE: Attributes = Attributes::new();

fn input(b: &mut Builder, width: usize) -> ValueId {
    b.input("x", DataType::Float, &[1, 4, 4, width])
}

fn weight(b: &mut Builder) -> ValueId {
    b.weight(&[4, 4, 1, 1])
}

fn node(b: &mut Builder, op: OpType, inputs: &[ValueId]) -> ValueId {
    b.node(op, NONE, inputs).unwrap()
}

/// A bias after a bias, and so on.
fn biases(nodes: usize) -> ModelGraph {
    let mut b = Builder::new("biases", 17);
    let x = input(&mut b, 4);
    let bias = b.weight(&[1, 4, 1, 1]);
    let y = (0..nodes).fold(x, |x, _| node(&mut b, OpType::Add, &[x, bias]));
    b.output(y);
    b.finish()
}

/// A part of a part, and so on.
fn parts(nodes: usize) -> ModelGraph {
    let mut b = Builder::new("parts", 17);
    let x = input(&mut b, nodes + 4);
    let ends = [1, i64::MAX, 3].map(|at| b.int_vector(&[at]));
    let y = (0..nodes).fold(x, |x, _| {
        let inputs: Vec<ValueId> = [x].into_iter().chain(ends).collect();
        node(&mut b, OpType::Slice, &inputs)
    });
    b.output(y);
    b.finish()
}

/// Branches within branches: each sum could go without all that comes before it.
fn branches(nodes: usize) -> ModelGraph {
    let mut b = Builder::new("branches", 17);
    let x = input(&mut b, 4);
    let weight = weight(&mut b);
    let y = (0..nodes / 2).fold(x, |y, _| {
        let y = node(&mut b, OpType::Conv, &[y, weight]);
        node(&mut b, OpType::Add, &[x, y])
    });
    b.output(y);
    b.finish()
}

/// An output after every block, which all blocks before it may leave to the input.
fn outputs(nodes: usize) -> ModelGraph {
    let mut b = Builder::new("outputs", 17);
    let mut x = input(&mut b, 4);
    let weight = weight(&mut b);
    for _ in 0..nodes / 3 {
        let y = node(&mut b, OpType::Conv, &[x, weight]);
        x = node(&mut b, OpType::Add, &[x, y]);
        let z = node(&mut b, OpType::Sigmoid, &[x]);
        b.output(z);
    }
    b.finish()
}

/// The same positions taken from a tensor again and again.
fn gathers(nodes: usize) -> ModelGraph {
    let mut b = Builder::new("gathers", 17);
    let x = input(&mut b, 2 * nodes);
    let positions: Vec<i64> = (0..nodes as i64).map(|i| 2 * i).collect();
    let positions = b.int_vector(&positions);
    for _ in 0..nodes {
        let axis = NONE.with("axis", Attribute::Int(3));
        let y = b.node(OpType::Gather, axis, &[x, positions]).unwrap();
        let z = node(&mut b, OpType::Relu, &[y]);
        b.output(z);
    }
    b.finish()
}

/// What `predict`, `space` and `shrink` do, without reading and writing files.
fn work(network: ModelGraph) -> Duration {
    let start = Instant::now();
    let whole = lower(&network).unwrap();
    whole.fingerprint();
    let space = SuperNetwork::new(network);
    for sub in [space.parse("whole").unwrap(), space.smallest()] {
        assert_eq!(space.parse(&sub.to_string()).unwrap(), sub);
        lower(&space.build(&sub).unwrap()).unwrap();
    }
    start.elapsed()
}

fn assert_linear(name: &str, network: impl Fn(usize) -> ModelGraph) {
    assert_in_proportion(name, |nodes| work(network(nodes)));
}

fn assert_in_proportion(name: &str, work: impl Fn(usize) -> Duration) {
    const SMALL: usize = 1500;
    const TIMES: usize = 8;
    // What else the machine does makes some runs longer, not the shortest of several; what grows as the square
    // takes 64 times as long in all of them.
    let mut shortest = [Duration::MAX; 2];
    for _ in 0..10 {
        for (shortest, nodes) in shortest.iter_mut().zip([SMALL, TIMES * SMALL]) {
            *shortest = work(nodes).min(*shortest);
        }
        if shortest[1] < shortest[0] * 3 * TIMES as u32 {
            return;
        }
    }
    panic!("{name}: {shortest:?} for {TIMES} times as many");
}

#[test]
fn the_six_shapes_of_the_benchmark_take_time_in_proportion() {
    for shape in Shape::ALL {
        assert_linear(shape.name(), |nodes| shape.network(nodes));
    }
}

#[test]
fn chains_of_what_is_folded_take_time_in_proportion() {
    assert_linear("biases", biases);
    assert_linear("parts", parts);
    assert_linear("gathers", gathers);
}

/// A constant taken apart and put together again.
#[test]
fn constants_in_many_parts_are_folded_in_proportion() {
    assert_in_proportion("parts of a constant", |count| {
        let start = Instant::now();
        let mut b = Builder::new("test", 17);
        let numbers: Vec<i64> = (0..count as i64).collect();
        let whole = b.int_vector(&numbers);
        let names = vec![Some(""); count];
        let inputs = [Some(whole)].into_iter().collect();
        let parts = b.named_node("", OpType::Split, NONE, inputs, &names, &[]).unwrap();
        let parts: Vec<ValueId> = parts.into_iter().flatten().collect();
        let joined = b.node(OpType::Concat, NONE.with("axis", Attribute::Int(0)), &parts).unwrap();
        let taken = start.elapsed();
        assert_eq!(b.value(joined).data(), Some(&TensorData::Ints(numbers)));
        taken
    });
}

#[test]
fn choices_that_hang_on_each_other_take_time_in_proportion() {
    assert_linear("branches", branches);
    assert_linear("outputs", outputs);
}

/// Copies of what is inside would take gigabytes.
#[test]
fn sums_nested_forty_thousand_deep_are_one() {
    let network = Shape::NestedSums.network(80_000);
    let graph = lower(&network).unwrap();
    // The activations are one, computed again and again.
    assert_eq!(graph.len(), 3);
    assert_eq!(graph.edges().len(), 1 + 40_001);
}
