//! Files that can be trained, and files with what was trained.

use super::{Parts, TrainingError};
use crate::execute::TorchNetwork;
use crate::images::ImageSet;
use crate::model_graph::{ModelGraph, Node, OpType, Origin, TensorData, Value, ValueId};
use crate::onnx::{
    self, Content, Edits, InitialElements, More, NodeEdit, Operand, Original, ReadOptions, Weights,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use tch::{Kind, TchError, Tensor};

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
    value.shape.iter().filter(|&&extent| extent > 1).count() == 1
}

/// Whether a vector may be shared because it is equal, as exporters share those of untrained
/// normalisations, biases and scales.
fn shares(node: &Node, input: usize) -> bool {
    use OpType::*;
    let normalises = matches!(
        node.op,
        BatchNormalization | LayerNormalization | InstanceNormalization | GroupNormalization
    );
    let scales = matches!(node.op, Add | Sub | Mul | Div | PRelu);
    (normalises && input > 0)
        || scales
        || (matches!(node.op, Conv | ConvTranspose | Gemm) && input == 2)
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

/// What batch normalisations add to variances, unless they say otherwise.
const EPSILON: f64 = 1e-5;
/// The first operator set in which batch normalisations are for inference unless they say otherwise.
const INFERENCE: i64 = 7;

/// The output of a convolution on some images.
struct Seen {
    node: usize,
    count: f64,
    /// Sums for each channel, and sums of squares.
    sums: Option<[Tensor; 2]>,
}

impl Seen {
    fn add(&mut self, x: &Tensor) -> Result<(), TchError> {
        let x = x.f_to_kind(Kind::Double)?;
        let rest: Vec<i64> = (0..x.dim() as i64).filter(|axis| *axis != 1).collect();
        let sum = |x: &Tensor| x.f_sum_dim_intlist(&rest[..], false, None);
        let (a, b) = (sum(&x)?, sum(&x.f_mul(&x)?)?);
        self.count += x.numel() as f64 / x.size().get(1).copied().unwrap_or(1).max(1) as f64;
        self.sums = Some(match self.sums.take() {
            Some([c, d]) => [a.f_add(&c)?, b.f_add(&d)?],
            None => [a, b],
        });
        Ok(())
    }

    /// Scale, shift, mean and variance of a batch normalisation that gives back what it reads.
    fn vectors(&self) -> Result<Option<[Vec<f64>; 4]>, TchError> {
        let Some([sum, squares]) = &self.sums else { return Ok(None) };
        let mean = sum.f_div_scalar(self.count.max(1.0))?;
        let variance = squares.f_div_scalar(self.count.max(1.0))?.f_sub(&mean.f_mul(&mean)?)?;
        // As they are stored, so that scale and variance are of the same number.
        let list = |t: &Tensor| -> Result<Vec<f64>, TchError> {
            Ok(crate::execute::list(t)?.into_iter().map(f64::from).collect())
        };
        let (mean, variance) = (list(&mean)?, list(&variance.f_clamp_min(0.0)?)?);
        let scale = variance.iter().map(|variance| (variance + EPSILON).sqrt()).collect();
        Ok(Some([scale, mean.clone(), mean, variance]))
    }
}

/// The network with a batch normalisation behind each convolution that has none, and how many these are. Each
/// has the statistics of what it reads on training images, and the scale and shift that undo what it does with
/// them, so that the network computes the same.
///
/// # Errors
/// When the network can't be run, or the file can't have them.
pub(crate) fn normalised(
    prepared: &mut Prepared,
    options: &ReadOptions,
    network: &TorchNetwork,
    parts: &Parts<impl Borrow<ImageSet>>,
) -> Result<(Prepared, usize), TrainingError> {
    let graph = network.graph();
    let read = |node: &Node| node.inputs.first().copied().flatten();
    let followed: HashSet<ValueId> = (graph.nodes().iter())
        .filter(|node| node.op == OpType::BatchNormalization)
        .filter_map(read)
        .collect();
    let mut seen: BTreeMap<ValueId, Seen> = network
        .nodes()
        .filter(|(_, node)| matches!(node.op, OpType::Conv | OpType::ConvTranspose))
        .filter_map(|(index, node)| Some((index, node.outputs.first().copied().flatten()?)))
        .filter(|(_, output)| !followed.contains(output))
        .map(|(node, output)| (output, Seen { node, count: 0.0, sums: None }))
        .collect();
    if graph.opset() < INFERENCE && !seen.is_empty() {
        return Err(TrainingError::Images(format!(
            "batch normalisations can be inserted from operator set {INFERENCE} on, and this is {}",
            graph.opset()
        )));
    }
    {
        let _guard = tch::no_grad_guard();
        for batch in parts.some(network.device()) {
            let _ = network.forward_seen(&batch?, &mut |id, tensor| match seen.get_mut(&id) {
                Some(seen) => seen.add(tensor),
                None => Ok(()),
            })?;
        }
    }
    let mut edits = Edits::default();
    for (id, seen) in &seen {
        let dtype = graph.value(*id).dtype;
        let Some(vectors) = seen.vectors()? else { continue };
        let content = |list: Vec<f64>| Content::New {
            dtype,
            shape: [list.len()].into_iter().collect(),
            data: TensorData::Floats(list),
        };
        edits.nodes.entry(seen.node).or_default().normalised = Some(vectors.map(content));
    }
    let made = Prepared::new(options, |file| {
        let Prepared { graph, original } = prepared;
        onnx::write_edited(original, graph, &edits, onnx::MAX_MESSAGE - 1, file, None)?;
        Ok(())
    })?;
    Ok((made, edits.nodes.len()))
}

/// The file that `network` was read from with its present weights.
pub(crate) fn trained(
    prepared: &mut Prepared,
    options: &ReadOptions,
    network: &TorchNetwork,
) -> Result<Prepared, TrainingError> {
    let mut edits = Edits::default();
    for (id, list) in network.elements()? {
        if list.iter().any(|x| !x.is_finite()) {
            return Err(TrainingError::NotFinite);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::{begin, fixtures};
    use std::fs;
    use tch::Device;

    /// The same function to 1e-5, also of a network that has some already, or none of its convolutions.
    #[test]
    fn inserted_batch_normalisations_change_nothing() {
        let _seeded = crate::train::seeded();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/execute");
        let read = ReadOptions::default();
        for (name, expected) in [("dense", 3), ("unet", 2), ("norms", 2), ("residual", 0)] {
            let path = folder.join(name).with_extension("onnx");
            let size = crate::training::image_size(&path, &read).unwrap();
            let images = fixtures::scaled(Some(size));
            let [plain, normalised] = [false, true]
                .map(|insert| begin(&path, &read, &images, 0, 0, Device::Cpu, insert).unwrap());
            let count = |graph: &ModelGraph| {
                graph.nodes().iter().filter(|n| n.op == OpType::BatchNormalization).count()
            };
            let [before, after] = [&plain, &normalised].map(|b| count(b.network.graph()));
            assert_eq!(after - before, expected, "{name}");
            let data = plain.parts.data();
            let all: Vec<usize> = (0..50).collect();
            let [(a, _), (b, _)] =
                [&plain, &normalised].map(|begun| data.outputs(&begun.network, &all).unwrap());
            let largest = a.abs().max().double_value(&[]);
            let difference = (a - b).abs().max().double_value(&[]) / largest;
            assert!(difference < 1e-5, "{name}: {difference}");
            let [more, less] =
                [&normalised, &plain].map(|begun| begun.network.parameters().count());
            assert_eq!(more, less + 2 * expected, "{name}");
        }
    }

    /// Exporters keep vectors that are equal once; each use trains its own.
    #[test]
    fn equal_vectors_are_trained_apart() {
        use crate::model_graph::{Attributes, Builder, DataType};
        let _seeded = crate::train::seeded();
        let mut builder = Builder::new("shared", 17);
        let mut x = builder.input("x", DataType::Float, &[1, 6]);
        let shift = builder.weight(&[6]);
        for _ in 0..3 {
            let weight = builder.weight(&[6, 6]);
            x = builder.node(OpType::MatMul, Attributes::new(), &[x, weight]).unwrap();
            x = builder.node(OpType::Add, Attributes::new(), &[shift, x]).unwrap();
            x = builder.node(OpType::Relu, Attributes::new(), &[x]).unwrap();
        }
        builder.output(x);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared.onnx");
        let graph = builder.finish();
        onnx::write(&graph, fs::File::create(&path).unwrap(), Weights::Random { seed: 1 }).unwrap();
        let (mut prepared, missing) = trainable(&path, &ReadOptions::default(), 0).unwrap();
        let graph = prepared.graph.clone();
        let network = crate::training::open(graph, &mut prepared.original, Device::Cpu).unwrap();
        assert_eq!((network.parameters().count(), missing), (6, 0));
    }
}
