//! Random graphs and weights for the tests of several modules.

use super::{Config, columns};
use crate::graph::{ComputationGraph, Extent, Node, Operation, Window};
use rand::{Rng, SeedableRng, rngs::StdRng};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;

/// Operations that the random graphs are made of.
pub const OPERATIONS: [Operation; 6] = [
    Operation::Input,
    Operation::Conv,
    Operation::MaxPool,
    Operation::Add,
    Operation::Concat,
    Operation::Relu,
];

/// Nodes and edges of a random graph with at most 40 nodes; some edges stand twice.
pub fn parts(seed: u64) -> (Vec<Node>, Vec<(usize, usize)>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let count = rng.gen_range(1..=40);
    let mut extent = || Extent::new(1 << rng.gen_range(0..9), 1 << rng.gen_range(0..6), 8);
    let extents: Vec<Extent> = (0..=count).map(|_| extent()).collect();
    let nodes = (0..count)
        .map(|i| Node {
            operation: OPERATIONS[rng.gen_range(0..OPERATIONS.len())],
            input: extents[i],
            output: extents[i + 1],
            window: Window { kernel: [3, rng.gen_range(1..6)], ..Window::default() },
            bias: rng.r#gen(),
            parameters: rng.gen_range(0..1000),
            macs: rng.gen_range(0..1_000_000),
            name: "".into(),
        })
        .collect();
    let mut edges = Vec::new();
    for to in 1..count {
        for _ in 0..rng.gen_range(0..4) {
            edges.push((rng.gen_range(0..to), to));
        }
    }
    (nodes, edges)
}

/// A random graph of [`parts`].
pub fn graph(seed: u64) -> ComputationGraph {
    let (nodes, edges) = parts(seed);
    ComputationGraph::new(nodes, &edges).unwrap()
}

/// Random tensors of encoder and head by name, with their shapes.
pub fn tensors(config: &Config, seed: u64) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut tensors = BTreeMap::new();
    let mut put = |name: &str, shape: &[usize]| {
        let elements: usize = shape.iter().product();
        let bound = 1.0 / (shape[0] as f32).sqrt();
        let elements = (0..elements).map(|_| rng.gen_range(-bound..bound)).collect();
        tensors.insert(name.to_string(), (shape.to_vec(), elements));
    };
    let width = config.width;
    put("encoder.operations", &[OPERATIONS.len(), width]);
    put("encoder.input.weight", &[columns(&config.features).len(), width]);
    put("encoder.input.bias", &[width]);
    for i in 0..config.layers {
        let rows = width * (1 + config.messages.parts());
        put(&format!("encoder.layers.{i}.weight"), &[rows, width]);
        put(&format!("encoder.layers.{i}.bias"), &[width]);
    }
    let mut inputs = config.embedding();
    for (i, &outputs) in config.head.iter().chain(&[1]).enumerate() {
        put(&format!("head.{i}.weight"), &[inputs, outputs]);
        put(&format!("head.{i}.bias"), &[outputs]);
        inputs = outputs;
    }
    put("territory.scale", &[config.embedding()]);
    put("territory.centroids", &[5, config.embedding()]);
    // Those of the graphs that tests estimate as known.
    let kinds: Vec<f32> = super::GraphFeatures::new(&graph(9))
        .signatures()
        .map(|(signature, _)| signature as f32)
        .collect();
    tensors.insert("territory.kinds".into(), (vec![kinds.len(), 1], kinds));
    let table = vec![-1.0, 90.0, 1.0, 0.0, 91.0, 0.5, 1.0, 92.0, 0.5];
    for name in ["calibration", "prior"] {
        tensors.insert(name.into(), (vec![3, 3], table.clone()));
    }
    tensors
}

/// The tensors as a safetensors file.
pub fn file(tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors
        .values()
        .map(|(_, elements)| elements.iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, (shape, _)), bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}
