//! Protobuf messages to plain records: what the rest of the importer works on.

use super::error::{ReadError, Reason, invalid, limit};
use super::external::{External, Location};
use super::limits::{MAX_DIMENSION, MAX_FLOATS, MIN_OPSET};
use super::names::{NameMap, Names, Word};
use super::wire;
use crate::model_graph::{Attribute, DataType, MAX_ELEMENTS, MAX_RANK, OpType, Shape, TensorData};
use half::{bf16, f16};
use hashbrown::HashMap;
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataLocation;
use onnx_protobuf::tensor_shape_proto::dimension;
use onnx_protobuf::type_proto;
use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto,
    SparseTensorProto, TensorProto, ValueInfoProto,
};
use smallvec::SmallVec;
use std::ops::Range;
use std::rc::Rc;

/// What the file holds.
pub(super) struct Model {
    pub opset: i64,
    /// Whether this program wrote it.
    pub own: bool,
    /// Version of each other domain.
    pub domains: HashMap<String, i64>,
    pub graph: Graph,
    pub functions: Vec<Function>,
}

pub(super) struct Graph {
    pub inputs: Vec<Info>,
    pub outputs: Vec<Info>,
    pub constants: Vec<Tensor>,
    pub body: Body,
}

pub(super) struct Function {
    pub domain: String,
    pub name: String,
    pub overload: String,
    pub inputs: Vec<Word>,
    pub outputs: Vec<Word>,
    /// Attributes that have a default value.
    pub defaults: Vec<(String, AttributeValue)>,
    pub body: Body,
}

/// Nodes and what the file declares of their outputs.
#[derive(Default)]
pub(super) struct Body {
    pub nodes: Vec<Node>,
    pub declared: NameMap<Info>,
}

pub(super) struct Node {
    /// Position among the nodes in the file.
    pub index: u32,
    pub name: String,
    /// Empty for ONNX's default domain.
    pub domain: String,
    pub op: String,
    pub overload: String,
    /// Names; empty where an optional one is left out.
    pub inputs: SmallVec<[Word; 2]>,
    pub outputs: SmallVec<[Word; 1]>,
    pub arguments: Vec<(String, AttributeValue)>,
    /// Names of the surrounding scopes that its subgraphs use; filled in when sorting.
    pub captures: Vec<Word>,
}

/// The value of an attribute as the file gives it.
pub(super) enum AttributeValue {
    Plain(Attribute),
    Graph(Box<Graph>),
    /// An attribute of the function that the node is in.
    Reference(String),
    /// A kind of attribute that no operator in the vocabulary has.
    Other,
}

pub(super) struct Tensor {
    pub name: Word,
    pub dtype: DataType,
    pub shape: Shape,
    pub data: Option<TensorData>,
}

/// What the file says of a value.
#[derive(Clone)]
pub(super) struct Info {
    pub name: Word,
    /// `None` for what is not a tensor.
    pub dtype: Option<DataType>,
    /// `None` when even the rank is open.
    pub dims: Option<Vec<Dim>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Dim {
    Known(usize),
    Symbol(String),
    Free,
}

impl Node {
    /// The operator, by its domain and name.
    pub fn op_type(&self) -> OpType {
        OpType::new(&self.domain, &self.op)
    }

    /// How messages call it.
    pub fn label(&self) -> String {
        match self.name.as_str() {
            "" => match self.outputs.iter().find(|o| !o.is_empty()) {
                Some(output) => format!("the {} that computes '{output}'", self.op),
                None => format!("a {} without a name", self.op),
            },
            name => format!("node '{name}' ({})", self.op),
        }
    }

    pub fn argument(&self, name: &str) -> Option<&AttributeValue> {
        self.arguments.iter().find(|(n, _)| n == name).map(|(_, a)| a)
    }
}

/// Decodes what the [wire pre-pass](super::wire) left.
///
/// # Errors
/// When the message is malformed, its tensors have impossible dimensions, or the operator set is
/// missing or too old.
pub(super) fn decode(slim: &[u8], external: &mut External) -> Result<Model, ReadError> {
    // The nodes one by one: all of them at once would take many times the room that they end in.
    let (rest, nodes) = wire::without_nodes(slim)?;
    let proto: ModelProto = parse(&rest)?;
    let imports = !proto.opset_import.is_empty();
    let (opset, domains) = opsets(proto.opset_import)?;
    let graph = proto.graph.into_option().ok_or_else(|| invalid("the model has no graph"))?;
    // A network of other domains' operators, which says of which, needs no version of ONNX's;
    // functions name their own.
    let foreign = || {
        let domain = |node: &Range<usize>| wire::text(slim, node.clone(), 7).unwrap_or_default();
        imports && nodes.iter().all(|node| !matches!(&*domain(node), "" | "ai.onnx"))
    };
    let of_functions = || proto.functions.iter().find_map(|f| opset_of(&f.opset_import));
    let opset = opset.or_else(|| foreign().then(|| of_functions().unwrap_or(ASSUMED_OPSET)));
    let opset = opset.ok_or_else(|| {
        invalid("the file does not say which version of ONNX's operators it uses (no opset import)")
    })?;
    if opset < MIN_OPSET {
        return Err(Reason::Unsupported {
            what: format!("opset {opset} is too old; {MIN_OPSET} and later are read"),
            hint: Some(
                "export the network again with a newer opset, or use onnx.version_converter".into(),
            ),
        }
        .into());
    }
    let mut decoder = Decoder { external, opset, names: Names::new("".into()) };
    let nodes = nodes.into_iter().map(|node| parse(slim.get(node).unwrap_or_default()));
    Ok(Model {
        opset,
        own: proto.producer_name == env!("CARGO_PKG_NAME"),
        domains,
        functions: proto
            .functions
            .into_iter()
            .map(|f| decoder.function(f))
            .collect::<Result<_, _>>()?,
        graph: decoder.graph(graph, nodes)?,
    })
}

fn parse<M: Message>(bytes: &[u8]) -> Result<M, ReadError> {
    Ok(M::parse_from_bytes(bytes).map_err(|e| Reason::Decode(e.to_string()))?)
}

/// What an operator set is taken for that no operator is of.
const ASSUMED_OPSET: i64 = 17;

/// Version of the default operator set.
fn opset_of(imports: &[OperatorSetIdProto]) -> Option<i64> {
    let default = |o: &&OperatorSetIdProto| matches!(o.domain.as_str(), "" | "ai.onnx");
    imports.iter().find(default).map(|o| o.version)
}

/// Version of the default operator set, and of the other domains.
///
/// # Errors
/// When two versions of one are imported.
fn opsets(
    imports: Vec<OperatorSetIdProto>,
) -> Result<(Option<i64>, HashMap<String, i64>), ReadError> {
    let mut domains = HashMap::new();
    for import in imports {
        let domain = default_domain(import.domain);
        if domains.get(&domain).is_some_and(|version| *version != import.version) {
            return Err(invalid(format!(
                "two versions of the operators of '{domain}' are imported"
            )));
        }
        domains.insert(domain, import.version);
    }
    Ok((domains.remove(""), domains))
}

/// ONNX's default domain has two names.
fn default_domain(domain: String) -> String {
    if domain == "ai.onnx" { String::new() } else { domain }
}

struct Decoder<'a> {
    external: &'a mut External,
    opset: i64,
    names: Names<Rc<str>>,
}

impl Decoder<'_> {
    /// The graph with these nodes.
    fn graph(
        &mut self,
        proto: GraphProto,
        nodes: impl Iterator<Item = Result<NodeProto, ReadError>>,
    ) -> Result<Graph, ReadError> {
        let outputs: Vec<_> = self.infos(proto.output)?;
        let mut body = self.body(nodes, proto.value_info)?;
        body.declared.extend(outputs.iter().map(|o| (o.name.name, o.clone())));
        let mut constants = Vec::with_capacity(proto.initializer.len());
        for tensor in proto.initializer {
            constants.push(self.tensor(tensor)?);
        }
        for tensor in proto.sparse_initializer {
            constants.push(self.sparse(tensor)?);
        }
        Ok(Graph { inputs: self.infos(proto.input)?, outputs, constants, body })
    }

    fn function(&mut self, proto: FunctionProto) -> Result<Function, ReadError> {
        let opset = opsets(proto.opset_import)?.0;
        if opset.is_some_and(|o| o != self.opset) {
            return Err(Reason::Unsupported {
                what: format!(
                    "function '{}' uses opset {} and the model opset {}",
                    proto.name,
                    opset.unwrap_or_default(),
                    self.opset
                ),
                hint: Some(
                    "onnx.inliner.inline_local_functions(model, convert_version=True) settles this"
                        .into(),
                ),
            }
            .into());
        }
        let defaults = self.arguments(proto.attribute_proto)?;
        Ok(Function {
            domain: default_domain(proto.domain),
            name: proto.name,
            overload: proto.overload,
            inputs: proto.input.into_iter().map(|name| self.names.word(name)).collect(),
            outputs: proto.output.into_iter().map(|name| self.names.word(name)).collect(),
            defaults,
            body: self.body(proto.node.into_iter().map(Ok), proto.value_info)?,
        })
    }

    fn body(
        &mut self,
        nodes: impl Iterator<Item = Result<NodeProto, ReadError>>,
        declared: Vec<ValueInfoProto>,
    ) -> Result<Body, ReadError> {
        let mut body = Body { nodes: Vec::with_capacity(nodes.size_hint().0), ..Body::default() };
        for (index, node) in (0..).zip(nodes) {
            body.nodes.push(self.node(index, node?)?);
        }
        body.declared.extend(self.infos(declared)?.into_iter().map(|i| (i.name.name, i)));
        Ok(body)
    }

    fn node(&mut self, index: u32, proto: NodeProto) -> Result<Node, ReadError> {
        let arguments = self.arguments(proto.attribute)?;
        // Readers differ in which of them they heed.
        if let Some(name) = repeated(arguments.iter().map(|(name, _)| name.as_str()).collect()) {
            return Err(invalid(format!("a {} has the attribute '{name}' twice", proto.op_type)));
        }
        Ok(Node {
            index,
            arguments,
            name: proto.name,
            domain: default_domain(proto.domain),
            op: proto.op_type,
            overload: proto.overload,
            inputs: proto.input.into_iter().map(|name| self.names.word(name)).collect(),
            outputs: proto.output.into_iter().map(|name| self.names.word(name)).collect(),
            captures: Vec::new(),
        })
    }

    fn arguments(
        &mut self,
        protos: Vec<AttributeProto>,
    ) -> Result<Vec<(String, AttributeValue)>, ReadError> {
        let mut arguments = Vec::with_capacity(protos.len());
        for mut proto in protos {
            let name = std::mem::take(&mut proto.name);
            arguments.push((name, self.argument(proto)?));
        }
        Ok(arguments)
    }

    fn argument(&mut self, proto: AttributeProto) -> Result<AttributeValue, ReadError> {
        if !proto.ref_attr_name.is_empty() {
            return Ok(AttributeValue::Reference(proto.ref_attr_name));
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned().into_boxed_str();
        Ok(match attribute_type(&proto) {
            AttributeType::FLOAT => AttributeValue::Plain(Attribute::Float(proto.f)),
            AttributeType::INT => AttributeValue::Plain(Attribute::Int(proto.i)),
            AttributeType::STRING => AttributeValue::Plain(Attribute::String(text(proto.s))),
            AttributeType::FLOATS => AttributeValue::Plain(Attribute::Floats(proto.floats.into())),
            AttributeType::INTS => {
                AttributeValue::Plain(Attribute::Ints(SmallVec::from_vec(proto.ints)))
            }
            AttributeType::STRINGS => {
                let strings = proto.strings.into_iter().map(text).collect();
                AttributeValue::Plain(Attribute::Strings(strings))
            }
            AttributeType::TENSOR => {
                let tensor = self.tensor(proto.t.into_option().unwrap_or_default())?;
                AttributeValue::Plain(tensor.into())
            }
            AttributeType::SPARSE_TENSOR => {
                let tensor = self.sparse(proto.sparse_tensor.into_option().unwrap_or_default())?;
                AttributeValue::Plain(tensor.into())
            }
            AttributeType::GRAPH => {
                let mut graph = proto.g.into_option().unwrap_or_default();
                let nodes = std::mem::take(&mut graph.node);
                let graph = self.graph(graph, nodes.into_iter().map(Ok))?;
                AttributeValue::Graph(Box::new(graph))
            }
            _ => AttributeValue::Other,
        })
    }

    fn tensor(&mut self, proto: TensorProto) -> Result<Tensor, ReadError> {
        let shape = dimensions(&proto.name, &proto.dims)?;
        let dtype = DataType::from_onnx(proto.data_type);
        let external = proto.data_location.value() == DataLocation::EXTERNAL as i32;
        // Of no elements none can be missing.
        let data = if external && count(&shape) > 0 {
            self.external(&proto, dtype, &shape)?
        } else {
            elements(&proto, dtype, &shape)
        };
        if let Some(data) = &data {
            self.external.keep(data.len())?;
        }
        Ok(Tensor { name: self.names.word(proto.name), dtype, shape, data })
    }

    /// Sparse tensors only ever hold weights: their elements are not kept.
    fn sparse(&mut self, proto: SparseTensorProto) -> Result<Tensor, ReadError> {
        let values = proto.values.into_option().unwrap_or_default();
        Ok(Tensor {
            shape: dimensions(&values.name, &proto.dims)?,
            dtype: DataType::from_onnx(values.data_type),
            name: self.names.word(values.name),
            data: None,
        })
    }

    fn infos(&mut self, protos: Vec<ValueInfoProto>) -> Result<Vec<Info>, ReadError> {
        protos.into_iter().map(|proto| self.info(proto)).collect()
    }

    fn info(&mut self, proto: ValueInfoProto) -> Result<Info, ReadError> {
        let name = self.names.word(proto.name);
        let (elem_type, shape) = match proto.type_.into_option().and_then(|t| t.value) {
            Some(type_proto::Value::TensorType(t)) => (t.elem_type, t.shape),
            Some(type_proto::Value::SparseTensorType(t)) => (t.elem_type, t.shape),
            _ => return Ok(Info { name, dtype: None, dims: None }),
        };
        let Some(shape) = shape.into_option() else {
            return Ok(Info { name, dtype: Some(DataType::from_onnx(elem_type)), dims: None });
        };
        if shape.dim.len() > MAX_RANK {
            return Err(limit(
                format!("value '{name}' has {} dimensions", shape.dim.len()),
                MAX_RANK as u64,
            ));
        }
        let mut dims = Vec::with_capacity(shape.dim.len());
        for dim in shape.dim {
            dims.push(match dim.value {
                // Some exporters write -1 for a dimension that is open.
                Some(dimension::Value::DimValue(d)) if d != -1 => Dim::Known(dimension(&name, d)?),
                Some(dimension::Value::DimParam(s)) if !s.is_empty() => Dim::Symbol(s),
                _ => Dim::Free,
            });
        }
        Ok(Info { name, dtype: Some(DataType::from_onnx(elem_type)), dims: Some(dims) })
    }

    /// Reads a tensor stored beside the model, when it is small enough to matter.
    fn external(
        &mut self,
        proto: &TensorProto,
        dtype: DataType,
        shape: &[usize],
    ) -> Result<Option<TensorData>, ReadError> {
        let entry =
            |key: &str| proto.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let count = count(shape);
        let width = element_width(dtype);
        let length = width.and_then(|width| count.checked_mul(width));
        let location = Location::new(&proto.name, entry, length.map(|l| l as u64))?;
        let there = self.external.look(&proto.name, &location)?;
        let Some(length) = length.filter(|_| there && count <= kept(dtype)) else {
            return Ok(None);
        };
        let bytes = self.external.read(&proto.name, &location, length)?;
        Ok(from_raw(&bytes, dtype, count))
    }
}

impl From<Tensor> for Attribute {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor { dtype: tensor.dtype, shape: tensor.shape, data: tensor.data }
    }
}

/// A name that stands twice.
fn repeated(mut names: Vec<&str>) -> Option<&str> {
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// Files before IR version 4 may leave the type out; then the field that is set tells.
fn attribute_type(proto: &AttributeProto) -> AttributeType {
    match proto.type_.enum_value() {
        Ok(AttributeType::UNDEFINED) => {}
        Ok(known) => return known,
        // A kind newer than this reader.
        Err(_) => return AttributeType::TYPE_PROTO,
    }
    match () {
        () if proto.t.is_some() => AttributeType::TENSOR,
        () if proto.g.is_some() => AttributeType::GRAPH,
        () if proto.sparse_tensor.is_some() => AttributeType::SPARSE_TENSOR,
        () if !proto.ints.is_empty() => AttributeType::INTS,
        () if !proto.floats.is_empty() => AttributeType::FLOATS,
        () if !proto.strings.is_empty() => AttributeType::STRINGS,
        () if !proto.s.is_empty() => AttributeType::STRING,
        () if proto.f != 0.0 => AttributeType::FLOAT,
        () => AttributeType::INT,
    }
}

fn dimension(name: &str, dim: i64) -> Result<usize, ReadError> {
    let size = u64::try_from(dim)
        .map_err(|_| invalid(format!("'{name}' has a negative dimension, {dim}")))?;
    usize::try_from(size)
        .ok()
        .filter(|_| size <= MAX_DIMENSION)
        .ok_or_else(|| limit(format!("'{name}' has a dimension of {dim}"), MAX_DIMENSION))
}

fn dimensions(name: &str, dims: &[i64]) -> Result<Shape, ReadError> {
    if dims.len() > MAX_RANK {
        return Err(limit(
            format!("tensor '{name}' has {} dimensions", dims.len()),
            MAX_RANK as u64,
        ));
    }
    let shape = dims.iter().map(|&d| dimension(name, d)).collect::<Result<Shape, _>>()?;
    check_elements(name, &shape)?;
    Ok(shape)
}

/// Rejects shapes whose elements cannot be counted; zeros do not excuse the other dimensions.
pub(super) fn check_elements(name: &str, shape: &[usize]) -> Result<(), ReadError> {
    let product = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d.max(1) as u64));
    match product {
        Some(n) if n <= MAX_ELEMENTS => Ok(()),
        _ => Err(limit(format!("tensor '{name}' has too many elements"), MAX_ELEMENTS)),
    }
}

fn count(shape: &[usize]) -> usize {
    // Checked when the shape was decoded.
    shape.iter().product()
}

/// Most elements of a tensor of this type that are kept.
fn kept(dtype: DataType) -> usize {
    if dtype.is_float() { MAX_FLOATS as usize } else { TensorData::MAX_KEPT }
}

/// Bytes that an element takes; `None` for types whose elements are never read.
pub(super) fn element_width(dtype: DataType) -> Option<usize> {
    Some(match dtype {
        DataType::Uint8 | DataType::Int8 | DataType::Bool => 1,
        DataType::Uint16 | DataType::Int16 | DataType::Float16 | DataType::Bfloat16 => 2,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        DataType::String | DataType::Other(_) => return None,
    })
}

/// The elements that the message holds; `None` when it was stripped of them, has too many, or has
/// another number than its dimensions say.
fn elements(proto: &TensorProto, dtype: DataType, shape: &[usize]) -> Option<TensorData> {
    let count = count(shape);
    if count > kept(dtype) {
        return None;
    }
    // Nothing can be missing or in excess.
    if count == 0 {
        return from_raw(&[], dtype, 0);
    }
    if !proto.raw_data.is_empty() {
        return from_raw(&proto.raw_data, dtype, count);
    }
    // Types narrower than 32 bits are stored in `int32_data`, halves by their bits.
    let bits = || proto.int32_data.iter().map(|&i| i as u16);
    let data = match dtype {
        DataType::Float => TensorData::Floats(proto.float_data.iter().map(|&x| x.into()).collect()),
        DataType::Double => TensorData::Floats(proto.double_data.clone()),
        DataType::Float16 => TensorData::Floats(bits().map(|b| f16::from_bits(b).into()).collect()),
        DataType::Bfloat16 => {
            TensorData::Floats(bits().map(|b| bf16::from_bits(b).into()).collect())
        }
        DataType::Int64 => TensorData::Ints(proto.int64_data.clone()),
        DataType::Uint32 | DataType::Uint64 => TensorData::Ints(
            proto.uint64_data.iter().map(|&i| i64::try_from(i).ok()).collect::<Option<_>>()?,
        ),
        DataType::Bool => {
            TensorData::Ints(proto.int32_data.iter().map(|&i| i64::from(i != 0)).collect())
        }
        DataType::Int32 | DataType::Int16 | DataType::Int8 | DataType::Uint16 | DataType::Uint8 => {
            TensorData::Ints(proto.int32_data.iter().map(|&i| i.into()).collect())
        }
        DataType::String | DataType::Other(_) => return None,
    };
    (data.len() == count).then_some(data)
}

/// Elements stored as little-endian bytes.
pub(super) fn from_raw(raw: &[u8], dtype: DataType, count: usize) -> Option<TensorData> {
    if raw.len() != count.checked_mul(element_width(dtype)?)? {
        return None;
    }
    Some(match dtype {
        DataType::Float => floats(raw, |b| f32::from_le_bytes(b).into()),
        DataType::Double => floats(raw, f64::from_le_bytes),
        DataType::Float16 => floats(raw, |b| f16::from_le_bytes(b).into()),
        DataType::Bfloat16 => floats(raw, |b| bf16::from_le_bytes(b).into()),
        DataType::Int64 => ints(raw, |b| Some(i64::from_le_bytes(b)))?,
        DataType::Uint64 => ints(raw, |b| i64::try_from(u64::from_le_bytes(b)).ok())?,
        DataType::Int32 => ints(raw, |b| Some(i32::from_le_bytes(b).into()))?,
        DataType::Uint32 => ints(raw, |b| Some(u32::from_le_bytes(b).into()))?,
        DataType::Int16 => ints(raw, |b| Some(i16::from_le_bytes(b).into()))?,
        DataType::Uint16 => ints(raw, |b| Some(u16::from_le_bytes(b).into()))?,
        DataType::Int8 => ints(raw, |b| Some(i8::from_le_bytes(b).into()))?,
        DataType::Uint8 => ints(raw, |[b]: [u8; 1]| Some(b.into()))?,
        DataType::Bool => ints(raw, |[b]: [u8; 1]| Some(i64::from(b != 0)))?,
        DataType::String | DataType::Other(_) => return None,
    })
}

fn floats<const N: usize>(raw: &[u8], convert: impl Fn([u8; N]) -> f64) -> TensorData {
    TensorData::Floats(raw.as_chunks().0.iter().map(|&b| convert(b)).collect())
}

/// `None` when an element does not fit 64 bits with a sign.
fn ints<const N: usize>(
    raw: &[u8],
    convert: impl Fn([u8; N]) -> Option<i64>,
) -> Option<TensorData> {
    raw.as_chunks().0.iter().map(|&b| convert(b)).collect::<Option<_>>().map(TensorData::Ints)
}
