//! Writing networks as ONNX files.
//!
//! The message is built without stored tensors; those are generated and written one after the other,
//! so that a large network's weights never stand in memory together.

use super::error::WriteError;
use super::wire::push_varint;
use crate::model_graph::{
    Attribute, DataType, ModelGraph, Node, OpType, Origin, TensorData, Value, ValueId, infer,
};
use half::{bf16, f16};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::type_proto::{self, Tensor as TensorType};
use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};
use protobuf::MessageField;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufWriter, Write};

/// What to write for weights, that is for tensors whose elements are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// As at the start of training, the same for the same seed: normally distributed with variance
    /// 2 / fan-in (He et al., 2015, arXiv 1502.01852) from rank 2 up, scales and variances of
    /// normalisations 1, all else 0.
    Random {
        /// Decides the weights.
        seed: u64,
    },
    /// Types and dimensions only; known floating-point tensors of more than 16 elements that decide
    /// no shape, and not which axis is the batch, are left out too. Such a file can be read by [`read`](super::read), but not run.
    Stripped,
}

/// Most elements of a floating-point tensor that is kept when weights are stripped: scalars of
/// activations that are written out are part of the architecture.
const SCALARS: usize = 16;

/// Writes the network as an ONNX file. Values and nodes whose name is empty or taken get one.
///
/// # Errors
/// When writing fails, or for what a [`ModelGraph`] does not hold enough of: operators with
/// subgraphs and, unless stripped, tensors of strings.
pub fn write(graph: &ModelGraph, out: impl Write, weights: Weights) -> Result<(), WriteError> {
    let mut out = BufWriter::new(out);
    let names = unique(graph.values().iter().map(|v| (&*v.name, "value")));
    let mut header = encode(&ModelProto {
        ir_version: ir_version(graph.opset()),
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        opset_import: opsets(graph),
        ..Default::default()
    })?;
    let body = encode(&message(graph, &names)?)?;
    let (literals, initialisers) = tensors(graph, &names, weights)?;
    let tensors_size: u64 = literals.iter().chain(&initialisers).map(Tensor::size).sum();
    let size = body.len() as u64 + tensors_size;
    if size >= MAX_MESSAGE {
        let what =
            format!("{size} bytes are more than the 2 GiB that a file without external data holds");
        return Err(WriteError::Unrepresentable(what));
    }
    start_field(&mut header, MODEL_GRAPH, size);
    out.write_all(&header)?;
    let seed = match weights {
        Weights::Random { seed } => seed,
        Weights::Stripped => 0,
    };
    let mut rng = StdRng::seed_from_u64(seed);
    // Nodes stand after those that they read.
    for literal in &literals {
        literal.write(&mut out, &mut rng)?;
    }
    out.write_all(&body)?;
    for initialiser in &initialisers {
        initialiser.write(&mut out, &mut rng)?;
    }
    out.flush()?;
    Ok(())
}

/// Field numbers of `onnx.proto`.
const MODEL_GRAPH: u32 = 7;
const GRAPH_NODE: u32 = 1;
const GRAPH_INITIALIZER: u32 = 5;
const NODE_ATTRIBUTE: u32 = 5;
const ATTRIBUTE_TENSOR: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;

/// protobuf's limit.
pub(crate) const MAX_MESSAGE: u64 = 1 << 31;

pub(super) fn encode(message: &impl Message) -> Result<Vec<u8>, WriteError> {
    message.write_to_bytes().map_err(|e| WriteError::Unrepresentable(e.to_string()))
}

/// Appends the tag and the length of a field that holds a message or bytes.
pub(super) fn start_field(out: &mut Vec<u8>, number: u32, length: u64) {
    push_varint(out, u64::from(number) << 3 | 2);
    push_varint(out, length);
}

/// Bytes that such a field takes.
fn field_size(number: u32, length: u64) -> u64 {
    let mut start = Vec::new();
    start_field(&mut start, number, length);
    start.len() as u64 + length
}

/// The oldest IR version that goes with the operator set, from 8 on, which every runtime reads,
/// to 10, the newest that `onnx_protobuf` knows.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=18 => 8,
        19..=20 => 9,
        _ => 10,
    }
}

fn opsets(graph: &ModelGraph) -> Vec<OperatorSetIdProto> {
    let mut domains = BTreeMap::from([("", graph.opset())]);
    for node in graph.nodes() {
        domains.entry(node.op.domain()).or_insert(1);
    }
    let import = |(domain, version): (&str, i64)| OperatorSetIdProto {
        domain: domain.into(),
        version,
        ..Default::default()
    };
    domains.into_iter().map(import).collect()
}

/// Gives each a name of its own: the first of a name keeps it, others get their stem and a number.
fn unique<'a>(names: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Vec<String> {
    let mut taken: HashSet<String> = names.clone().map(|(name, _)| name.to_string()).collect();
    let mut kept: HashSet<&str> = HashSet::from([""]);
    let mut number = 0u64;
    let mut own = |(name, stem): (&'a str, &'a str)| {
        if kept.insert(name) {
            return name.to_string();
        }
        let stem = if name.is_empty() { stem } else { name };
        loop {
            let candidate = format!("{stem}_{number}");
            number += 1;
            if taken.insert(candidate.clone()) {
                return candidate;
            }
        }
    };
    names.map(&mut own).collect()
}

/// The graph without tensors that no operator computes.
fn message(graph: &ModelGraph, names: &[String]) -> Result<GraphProto, WriteError> {
    let node_names = unique(graph.nodes().iter().map(|n| (&*n.name, n.op.name())));
    let nodes = graph.nodes().iter().zip(node_names);
    let info = |id: usize| -> Option<ValueInfoProto> {
        Some(value_info(names.get(id)?, graph.values().get(id)?))
    };
    let outputs: HashSet<ValueId> = graph.outputs().iter().copied().collect();
    // A name may stand there only once.
    let mut first = HashSet::new();
    Ok(GraphProto {
        name: graph.name().into(),
        node: nodes.map(|(n, name)| node(names, n, name)).collect::<Result<_, _>>()?,
        input: graph.inputs().iter().filter_map(|id| info(id.index())).collect(),
        output: (graph.outputs().iter().filter(|id| first.insert(**id)))
            .filter_map(|id| info(id.index()))
            .collect(),
        value_info: (graph.nodes().iter().filter(|n| is_declared(graph, n)))
            .flat_map(|n| n.outputs.iter().flatten())
            .filter(|id| !outputs.contains(id))
            .filter_map(|id| info(id.index()))
            .collect(),
        ..Default::default()
    })
}

/// Whether nothing but what a file declares tells the shapes of the node's outputs: of unknown
/// operators, and where they depend on what is known only when the network runs.
fn is_declared(graph: &ModelGraph, node: &Node) -> bool {
    use OpType::*;
    // They have an upper bound, which is no declaration.
    let bounded = matches!(node.op, Compress | NonMaxSuppression | NonZero | Range | TopK | Unique);
    node.op.is_unknown() || (!bounded && node.context(graph, infer::infer).is_err())
}

fn value_info(name: &str, value: &Value) -> ValueInfoProto {
    let dim = |&size: &usize| Dimension {
        value: i64::try_from(size).ok().map(dimension::Value::DimValue),
        ..Default::default()
    };
    let shape =
        TensorShapeProto { dim: value.shape.iter().map(dim).collect(), ..Default::default() };
    let tensor = TensorType {
        elem_type: value.dtype.to_onnx(),
        shape: MessageField::some(shape),
        ..Default::default()
    };
    let kind =
        TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: MessageField::some(kind), ..Default::default() }
}

fn node(names: &[String], node: &Node, name: String) -> Result<NodeProto, WriteError> {
    let domain = node.op.domain();
    if domain.is_empty() && matches!(node.op.name(), "If" | "Loop" | "Scan" | "SequenceMap") {
        let what = format!("node '{name}' ({}), whose subgraphs are not kept", node.op);
        return Err(WriteError::Unrepresentable(what));
    }
    // An empty name is an input or an output left out.
    let name_of = |id: &Option<ValueId>| -> String {
        id.and_then(|id| names.get(id.index())).cloned().unwrap_or_default()
    };
    Ok(NodeProto {
        input: node.inputs.iter().map(name_of).collect(),
        output: node.outputs.iter().map(name_of).collect(),
        op_type: node.op.name().into(),
        domain: domain.into(),
        attribute: node.attributes.iter().map(|(n, a)| attribute(n, a)).collect(),
        name,
        ..Default::default()
    })
}

pub(super) fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let mut proto = AttributeProto { name: name.into(), ..Default::default() };
    let kind = match value {
        Attribute::Int(i) => {
            proto.i = *i;
            AttributeType::INT
        }
        Attribute::Float(f) => {
            proto.f = *f;
            AttributeType::FLOAT
        }
        Attribute::String(s) => {
            proto.s = s.as_bytes().to_vec();
            AttributeType::STRING
        }
        Attribute::Ints(v) => {
            proto.ints = v.to_vec();
            AttributeType::INTS
        }
        Attribute::Floats(v) => {
            proto.floats = v.to_vec();
            AttributeType::FLOATS
        }
        Attribute::Strings(v) => {
            proto.strings = v.iter().map(|s| s.as_bytes().to_vec()).collect();
            AttributeType::STRINGS
        }
        Attribute::Tensor { dtype, shape, data } => {
            proto.t = MessageField::some(tensor("", *dtype, shape, data.as_ref()));
            AttributeType::TENSOR
        }
    };
    proto.type_ = kind.into();
    proto
}

/// A tensor with its elements, if they are known.
pub(super) fn tensor(
    name: &str,
    dtype: DataType,
    shape: &[usize],
    data: Option<&TensorData>,
) -> TensorProto {
    let mut tensor = header(name.into(), dtype, shape);
    if let Some(data) = data {
        tensor.raw_data = (0..data.len()).flat_map(|i| element(data, i, dtype)).collect();
    }
    tensor
}

fn header(name: String, dtype: DataType, shape: &[usize]) -> TensorProto {
    TensorProto {
        name,
        data_type: dtype.to_onnx(),
        dims: shape.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect(),
        ..Default::default()
    }
}

/// A tensor that no operator computes: its message, and what goes around it, up to the elements,
/// which are made while writing.
struct Tensor<'a> {
    header: Vec<u8>,
    dtype: DataType,
    elements: u64,
    fill: Fill<'a>,
    /// Bytes that the elements take; `None` when they are left out.
    payload: Option<u64>,
}

/// Where elements come from.
enum Fill<'a> {
    Known(&'a TensorData),
    Constant(f64),
    /// Normally distributed around 0 with this standard deviation.
    Normal(f64),
}

/// The first place where each value is used.
fn uses(graph: &ModelGraph) -> Vec<Option<(&Node, usize)>> {
    let mut uses = vec![None; graph.values().len()];
    for node in graph.nodes() {
        for (position, id) in node.inputs.iter().enumerate() {
            if let Some(slot) = id.and_then(|id| uses.get_mut(id.index())) {
                slot.get_or_insert((node, position));
            }
        }
    }
    uses
}

/// The weights that a network starts with; see [`Weights::Random`].
#[cfg(feature = "train")]
pub(crate) struct InitialElements<'a> {
    graph: &'a ModelGraph,
    uses: Vec<Option<(&'a Node, usize)>>,
}

#[cfg(feature = "train")]
impl<'a> InitialElements<'a> {
    pub fn new(graph: &'a ModelGraph) -> Self {
        Self { uses: uses(graph), graph }
    }

    /// The elements of one.
    pub fn draw(&self, id: ValueId, rng: &mut StdRng) -> Vec<f64> {
        let value = self.graph.value(id);
        let user = self.uses.get(id.index()).copied().flatten();
        let elements = 0..value.elements();
        match initial(value, user) {
            Fill::Normal(deviation) => elements.map(|_| deviation * normal(rng)).collect(),
            Fill::Constant(x) => elements.map(|_| x).collect(),
            Fill::Known(data) => elements.filter_map(|i| data.get_f64(i as usize)).collect(),
        }
    }
}

/// The literals, for Constant nodes, and the stored tensors, for initialisers.
fn tensors<'a>(
    graph: &'a ModelGraph,
    names: &[String],
    weights: Weights,
) -> Result<(Vec<Tensor<'a>>, Vec<Tensor<'a>>), WriteError> {
    let uses = uses(graph);
    let deciding = deciding(graph);
    let (mut literals, mut initialisers) = (Vec::new(), Vec::new());
    for (i, ((value, name), user)) in graph.values().iter().zip(names).zip(uses).enumerate() {
        let Some(constant) = value.constant.as_ref().filter(|_| value.producer.is_none()) else {
            continue;
        };
        let tensor = encode(&header(name.clone(), value.dtype, &value.shape))?;
        let (fill, wanted) = match (value.data(), weights) {
            (Some(data), Weights::Stripped) => {
                // Their elements tell whether literals are weights.
                let told = constant.origin == Origin::Literal;
                let small = data.len() <= SCALARS;
                let wanted = !value.dtype.is_float() || small || told || deciding[i];
                (Fill::Known(data), wanted)
            }
            (Some(data), Weights::Random { .. }) => (Fill::Known(data), true),
            (None, Weights::Stripped) => (Fill::Constant(0.0), false),
            (None, Weights::Random { .. }) => (initial(value, user), true),
        };
        let elements = value.elements();
        let payload = if wanted {
            let bits = bits(value.dtype).ok_or_else(|| {
                WriteError::Unrepresentable(format!(
                    "tensor '{name}' has elements of type {:?}, which cannot be made up",
                    value.dtype
                ))
            })?;
            let bytes = elements.checked_mul(bits).map(|b| b.div_ceil(8));
            let bytes = bytes.filter(|b| *b < MAX_MESSAGE).ok_or_else(|| {
                WriteError::Unrepresentable(format!("tensor '{name}' has {elements} elements"))
            })?;
            Some(bytes)
        } else {
            None
        };
        let size = tensor.len() as u64 + payload.map_or(0, |b| field_size(TENSOR_RAW_DATA, b));
        let literal = constant.origin == Origin::Literal;
        let mut header = Vec::new();
        if literal {
            start_constant(&mut header, name, size)?;
        } else {
            start_field(&mut header, GRAPH_INITIALIZER, size);
        }
        header.extend(tensor);
        if let Some(bytes) = payload {
            start_field(&mut header, TENSOR_RAW_DATA, bytes);
        }
        let list = if literal { &mut literals } else { &mut initialisers };
        list.push(Tensor { header, dtype: value.dtype, elements, fill, payload });
    }
    Ok((literals, initialisers))
}

/// Tensors from whose elements integers and truth values are computed, which may decide shapes; or
/// all, where an input may be a batch, which numbers that are all the same tell from other axes.
fn deciding(graph: &ModelGraph) -> Vec<bool> {
    let mut sizes = graph.inputs().iter().filter_map(|id| graph.value(*id).shape.first());
    if sizes.any(|size| *size != 1) {
        return vec![true; graph.values().len()];
    }
    let mut deciding = vec![false; graph.values().len()];
    for node in graph.nodes().iter().rev() {
        let decides = |id: &ValueId| {
            let value = graph.value(*id);
            value.data().is_some() && (deciding[id.index()] || !value.dtype.is_float())
        };
        // Of these only the shape matters.
        let by_shape = matches!(node.op, OpType::Shape | OpType::Size);
        if !by_shape && node.outputs.iter().flatten().any(decides) {
            node.inputs.iter().flatten().for_each(|id| deciding[id.index()] = true);
        }
    }
    deciding
}

/// Appends a Constant node up to its tensor of `size` bytes.
fn start_constant(out: &mut Vec<u8>, name: &str, size: u64) -> Result<(), WriteError> {
    let node = encode(&NodeProto {
        output: vec![name.into()],
        op_type: OpType::Constant.name().into(),
        ..Default::default()
    })?;
    let attribute = encode(&AttributeProto {
        name: "value".into(),
        type_: AttributeType::TENSOR.into(),
        ..Default::default()
    })?;
    let attribute_size = attribute.len() as u64 + field_size(ATTRIBUTE_TENSOR, size);
    let node_size = node.len() as u64 + field_size(NODE_ATTRIBUTE, attribute_size);
    start_field(out, GRAPH_NODE, node_size);
    out.extend(node);
    start_field(out, NODE_ATTRIBUTE, attribute_size);
    out.extend(attribute);
    start_field(out, ATTRIBUTE_TENSOR, size);
    Ok(())
}

/// How a weight starts, by what it is used for.
fn initial<'a>(value: &Value, user: Option<(&Node, usize)>) -> Fill<'a> {
    use OpType::*;
    if !value.dtype.is_float() {
        return Fill::Constant(0.0);
    }
    let (op, position) = match user {
        Some((node, position)) => (Some(&node.op), position),
        None => (None, 0),
    };
    let one = match op {
        Some(BatchNormalization) => matches!(position, 1 | 4),
        Some(
            LayerNormalization
            | GroupNormalization
            | InstanceNormalization
            | RMSNormalization
            | SimplifiedLayerNormalization
            | QuantizeLinear
            | DequantizeLinear,
        ) => position == 1,
        Some(SkipLayerNormalization | SkipSimplifiedLayerNormalization) => position == 2,
        _ => false,
    };
    let [first, rest @ ..] = value.shape.as_slice() else { return Fill::Constant(0.0) };
    if one {
        return Fill::Constant(1.0);
    }
    if rest.is_empty() {
        return Fill::Constant(0.0);
    }
    let transposed = user.is_some_and(|(node, _)| node.attributes.int("transB", 0) != 0);
    let inputs_first = matches!(op, Some(MatMul)) || matches!(op, Some(Gemm)) && !transposed;
    let fan_in = if inputs_first {
        // All dimensions but the last; leading ones of a MatMul are batches.
        rest.iter().rev().nth(1).unwrap_or(first).to_owned() as f64
    } else {
        rest.iter().map(|&d| d as f64).product()
    };
    Fill::Normal((2.0 / fan_in.max(1.0)).sqrt())
}

impl Tensor<'_> {
    fn size(&self) -> u64 {
        self.header.len() as u64 + self.payload.unwrap_or(0)
    }

    fn write(&self, out: &mut impl Write, rng: &mut StdRng) -> io::Result<()> {
        out.write_all(&self.header)?;
        let Some(bytes) = self.payload else { return Ok(()) };
        match self.fill {
            Fill::Known(data) => {
                (0..data.len()).try_for_each(|i| out.write_all(&element(data, i, self.dtype)))
            }
            Fill::Normal(deviation) if float_bytes(0.0, self.dtype).is_some() => (0..self.elements)
                .try_for_each(|_| {
                    let x = deviation * normal(rng);
                    out.write_all(&float_bytes(x, self.dtype).unwrap_or_default())
                }),
            Fill::Constant(x) if x != 0.0 && float_bytes(x, self.dtype).is_some() => {
                let one = float_bytes(x, self.dtype).unwrap_or_default();
                (0..self.elements).try_for_each(|_| out.write_all(&one))
            }
            // Zero, also for what is narrower than a byte or has no arithmetic here.
            Fill::Constant(_) | Fill::Normal(_) => {
                io::copy(&mut io::Read::take(io::repeat(0), bytes), out).map(|_| ())
            }
        }
    }
}

/// One element as stored.
type Bytes = smallvec::SmallVec<[u8; 8]>;

/// Element `index` as little-endian bytes; empty for types whose elements are never known.
fn element(data: &TensorData, index: usize, dtype: DataType) -> Bytes {
    let float = data.get_f64(index).unwrap_or_default();
    if let Some(bytes) = float_bytes(float, dtype) {
        return bytes;
    }
    let int = match data {
        TensorData::Ints(v) => v.get(index).copied().unwrap_or_default(),
        TensorData::Floats(_) => float as i64,
    };
    // The low bytes of a two's complement number are that number in fewer bits.
    let width = bits(dtype).map_or(0, |b| b / 8) as usize;
    int.to_le_bytes().into_iter().take(width).collect()
}

/// A floating-point element; `None` for other types.
fn float_bytes(x: f64, dtype: DataType) -> Option<Bytes> {
    Some(match dtype {
        DataType::Float => (x as f32).to_le_bytes().into_iter().collect(),
        DataType::Double => x.to_le_bytes().into_iter().collect(),
        DataType::Float16 => f16::from_f64(x).to_le_bytes().into_iter().collect(),
        DataType::Bfloat16 => bf16::from_f64(x).to_le_bytes().into_iter().collect(),
        _ => return None,
    })
}

/// Bits that a stored element takes; `None` for strings and types newer than this list.
pub(super) fn bits(dtype: DataType) -> Option<u64> {
    Some(match dtype {
        DataType::Uint8 | DataType::Int8 | DataType::Bool => 8,
        DataType::Uint16 | DataType::Int16 | DataType::Float16 | DataType::Bfloat16 => 16,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 32,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 64,
        // Complex numbers, then 8-bit floats and the types of 4 and of 2 bits.
        DataType::Other(14) => 64,
        DataType::Other(15) => 128,
        DataType::Other(17..=20 | 24) => 8,
        DataType::Other(21..=23) => 4,
        DataType::Other(25 | 26) => 2,
        DataType::String | DataType::Other(_) => return None,
    })
}

/// A number from the standard normal distribution (Box and Muller, 1958).
fn normal(rng: &mut StdRng) -> f64 {
    // In (0, 1], so that the logarithm is finite.
    let u = 1.0 - rng.r#gen::<f64>();
    let v: f64 = rng.r#gen();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_names_are_not_given_again() {
        let names = ["x", "", "x", "x_1", "value_0", ""];
        let own = unique(names.iter().map(|n| (*n, "value")));
        let distinct: HashSet<_> = own.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert_eq!((&*own[0], &*own[3], &*own[4]), ("x", "x_1", "value_0"));
    }
}
