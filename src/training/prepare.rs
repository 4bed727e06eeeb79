//! Files that can be trained, and files with what was trained.

use super::TrainingError;
use crate::execute::Network;
use crate::model_graph::{ModelGraph, Node, OpType, Origin, TensorData, Value, ValueId};
use crate::onnx::{
    self, Content, Edits, InitialElements, More, NodeEdit, Operand, Original, ReadOptions, Weights,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::path::Path;

/// A network with its file, which is in memory alone.
pub(crate) struct Prepared {
    pub graph: ModelGraph,
    pub original: Original<'static>,
}

impl Prepared {
    /// What `write` writes, read with `options`.
    pub fn new(
        options: &ReadOptions,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), TrainingError>,
    ) -> Result<Self, TrainingError> {
        let mut file = Vec::new();
        write(&mut file)?;
        let (graph, original) = Original::from_bytes(file, "network", options)?;
        Ok(Self { graph, original })
    }
}

/// The tensor that `id` is another name of.
fn resolve(graph: &ModelGraph, mut id: ValueId) -> ValueId {
    while let Some(node) = graph.value(id).producer.map(|p| &graph.nodes()[p.index()])
        && node.op == OpType::Identity
        && let Some(Some(from)) = node.inputs.first()
    {
        id = *from;
    }
    id
}

fn is_weight(value: &Value) -> bool {
    let origin = value.constant.as_ref().map(|c| c.origin);
    value.dtype.is_float() && value.producer.is_none() && origin == Some(Origin::Stored)
}

fn is_vector(value: &Value) -> bool {
    value.shape.iter().filter(|&&extent| extent > 1).count() < 2
}

/// Whether a vector may be shared because it is equal, as exporters share those of untrained
/// normalisations and biases.
fn shares(node: &Node, input: usize) -> bool {
    use OpType::*;
    let normalises = matches!(
        node.op,
        BatchNormalization | LayerNormalization | InstanceNormalization | GroupNormalization
    );
    (normalises && input > 0) || (matches!(node.op, Conv | ConvTranspose | Gemm) && input == 2)
}

/// The network in a form that can be trained: all weights are there, and every normalisation and bias
/// has vectors of its own, which exporters share where they are equal. Also how many stored tensors had
/// no elements, and started at random.
pub(crate) fn trainable(
    path: &Path,
    options: &ReadOptions,
    seed: u64,
) -> Result<(Prepared, usize), TrainingError> {
    let (graph, mut original) = Original::open(path, options)?;
    let starts = InitialElements::new(&graph);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut edits = Edits::default();
    let mut missing = 0;
    for (id, value) in (0u32..).map(ValueId).zip(graph.values()) {
        let known = !is_weight(value) || value.data().is_some();
        if known || original.bytes(id, value.dtype, value.elements())?.is_some() {
            continue;
        }
        missing += 1;
        let data = TensorData::Floats(starts.draw(id, &mut rng));
        let content = Content::New { dtype: value.dtype, shape: value.shape.clone(), data };
        if !original.holds(id) {
            // Weights among the inputs: there is no place for them in the file.
            let made = Prepared::new(options, |file| {
                Ok(onnx::write(&graph, file, Weights::Random { seed })?)
            })?;
            return Ok((made, missing));
        }
        edits.stored.insert(id, content);
    }
    let mut uses: BTreeMap<ValueId, usize> = BTreeMap::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        for (input, id) in node.inputs.iter().enumerate() {
            let Some(id) = *id else { continue };
            let root = resolve(&graph, id);
            let value = graph.value(root);
            if !shares(node, input) || !is_weight(value) || !is_vector(value) {
                continue;
            }
            let count = uses.entry(root).or_default();
            *count += 1;
            if *count == 1 && root == id {
                continue;
            }
            let content = match edits.stored.get(&root) {
                Some(content) => content.clone(),
                None => Content::Cut { of: root, cut: value.shape.iter().map(|_| None).collect() },
            };
            edits.more.push(More { like: Some(root), content });
            let operand = Operand::More(edits.more.len() - 1);
            let edit: &mut NodeEdit = edits.nodes.entry(index).or_default();
            edit.inputs.push((input, operand));
        }
    }
    let made = Prepared::new(options, |file| {
        onnx::write_edited(&mut original, &graph, &edits, onnx::MAX_MESSAGE - 1, file, None)?;
        Ok(())
    })?;
    Ok((made, missing))
}

/// The file that `network` was read from with its present weights.
pub(crate) fn trained(
    prepared: &mut Prepared,
    options: &ReadOptions,
    network: &Network,
) -> Result<Prepared, TrainingError> {
    let mut edits = Edits::default();
    for (id, list) in network.elements()? {
        let value = prepared.graph.value(id);
        let data = TensorData::Floats(list.into_iter().map(f64::from).collect());
        let content = Content::New { dtype: value.dtype, shape: value.shape.clone(), data };
        edits.stored.insert(id, content);
    }
    let Prepared { graph, original } = prepared;
    Prepared::new(options, |file| {
        onnx::write_edited(original, graph, &edits, onnx::MAX_MESSAGE - 1, file, None)?;
        Ok(())
    })
}
