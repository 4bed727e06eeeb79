//! The wire pre-pass: walks the protobuf encoding and copies what describes the network, leaving
//! weights, documentation and everything unknown behind.
//!
//! The copy is small and well-formed, so that handing it to `protobuf` is safe: that library
//! overflows the stack on nested groups (RUSTSEC-2024-0437). Weights are never read.

use super::error::{ReadError, Reason, limit};
use super::foreign;
use super::limits::{MAX_ATTRIBUTES, MAX_FLOATS, MAX_LIST, MAX_NESTING, MAX_NODES, MAX_STRUCTURE};
use super::source::Source;
use crate::model_graph::{DataType, TensorData};
use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    SparseTensorProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, tensor_shape_proto, type_proto,
};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

/// Message types of `onnx.proto` that are copied.
#[derive(Clone, Copy, PartialEq)]
enum Message {
    Model,
    Opset,
    Graph,
    Function,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    SparseValues,
    Entry,
    ValueInfo,
    Type,
    TensorType,
    TensorShape,
    Dimension,
}

/// What becomes of a field.
enum Treatment {
    Drop,
    Varint,
    Float,
    /// A repeated varint, packed or not.
    Varints,
    /// A repeated 32-bit float, packed or not.
    Floats,
    Bytes,
    /// Bytes that should be UTF-8.
    Text,
    /// Elements of a tensor.
    Payload,
    Message(Message),
}

impl Message {
    /// Bytes that a decoded message takes, without what its fields point to.
    fn size(self) -> u64 {
        let size = match self {
            Self::Model => size_of::<ModelProto>(),
            Self::Opset => size_of::<OperatorSetIdProto>(),
            Self::Graph => size_of::<GraphProto>(),
            Self::Function => size_of::<FunctionProto>(),
            Self::Node => size_of::<NodeProto>(),
            Self::Attribute => size_of::<AttributeProto>(),
            Self::Tensor | Self::SparseValues => size_of::<TensorProto>(),
            Self::SparseTensor => size_of::<SparseTensorProto>(),
            Self::Entry => size_of::<StringStringEntryProto>(),
            Self::ValueInfo => size_of::<ValueInfoProto>(),
            Self::Type => size_of::<TypeProto>(),
            Self::TensorType => size_of::<type_proto::Tensor>(),
            Self::TensorShape => size_of::<TensorShapeProto>(),
            Self::Dimension => size_of::<tensor_shape_proto::Dimension>(),
        };
        size as u64
    }

    fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Opset => "operator set",
            Self::Graph => "graph",
            Self::Function => "function",
            Self::Node => "node",
            Self::Attribute => "attribute",
            Self::Tensor | Self::SparseValues => "tensor",
            Self::SparseTensor => "sparse tensor",
            Self::Entry => "external data entry",
            Self::ValueInfo => "value",
            Self::Type | Self::TensorType => "type",
            Self::TensorShape => "shape",
            Self::Dimension => "dimension",
        }
    }

    /// Whether a message may hold many such messages in field `field`.
    fn repeats(self, field: u32) -> bool {
        match self {
            Self::Model => field != 7,
            Self::Attribute | Self::SparseTensor | Self::ValueInfo | Self::Type => false,
            Self::TensorType => false,
            _ => true,
        }
    }

    /// Field numbers as in `onnx.proto`.
    fn treatment(self, field: u32) -> Treatment {
        use Treatment::{Bytes, Drop, Float, Floats, Payload, Text, Varint, Varints};
        let message = Treatment::Message;
        match (self, field) {
            (Self::Model, 1) => Varint,                           // ir_version
            (Self::Model, 2) => Text,                             // producer_name
            (Self::Model, 7) => message(Self::Graph),             // graph
            (Self::Model, 8) => message(Self::Opset),             // opset_import
            (Self::Model, 25) => message(Self::Function),         // functions
            (Self::Opset, 1) => Text,                             // domain
            (Self::Opset, 2) => Varint,                           // version
            (Self::Graph, 1) => message(Self::Node),              // node
            (Self::Graph, 5) => message(Self::Tensor),            // initializer
            (Self::Graph, 11..=13) => message(Self::ValueInfo),   // input, output, value_info
            (Self::Graph, 15) => message(Self::SparseTensor),     // sparse_initializer
            (Self::Function, 1 | 4 | 5 | 10 | 13) => Text, // name, input, output, domain, overload
            (Self::Function, 7) => message(Self::Node),    // node
            (Self::Function, 9) => message(Self::Opset),   // opset_import
            (Self::Function, 11) => message(Self::Attribute), // attribute_proto
            (Self::Function, 12) => message(Self::ValueInfo), // value_info
            (Self::Node, 1..=4 | 7 | 8) => Text, // input, output, name, op_type, domain, overload
            (Self::Node, 5) => message(Self::Attribute), // attribute
            (Self::Attribute, 1 | 21) => Text,   // name, ref_attr_name
            (Self::Attribute, 2) => Float,       // f
            (Self::Attribute, 3 | 20) => Varint, // i, type
            (Self::Attribute, 4 | 9) => Bytes,   // s, strings
            (Self::Attribute, 5) => message(Self::Tensor), // t
            (Self::Attribute, 6) => message(Self::Graph), // g
            (Self::Attribute, 7) => Floats,      // floats
            (Self::Attribute, 8) => Varints,     // ints
            (Self::Attribute, 22) => message(Self::SparseTensor), // sparse_tensor
            (Self::Tensor | Self::SparseValues, 1) => Varints, // dims
            (Self::Tensor | Self::SparseValues, 2) => Varint, // data_type
            (Self::Tensor | Self::SparseValues, 8) => Text, // name
            // float_data, int32_data, int64_data, raw_data, double_data, uint64_data
            (Self::Tensor, 4 | 5 | 7 | 9..=11) => Payload,
            (Self::Tensor, 13) => message(Self::Entry), // external_data
            (Self::Tensor, 14) => Varint,               // data_location
            (Self::SparseTensor, 1) => message(Self::SparseValues), // values
            (Self::SparseTensor, 3) => Varints,         // dims
            (Self::Entry, 1 | 2) => Text,               // key, value
            (Self::ValueInfo, 1) => Text,               // name
            (Self::ValueInfo, 2) => message(Self::Type), // type
            (Self::Type, 1 | 8) => message(Self::TensorType), // tensor_type, sparse_tensor_type
            (Self::TensorType, 1) => Varint,            // elem_type
            (Self::TensorType, 2) => message(Self::TensorShape), // shape
            (Self::TensorShape, 1) => message(Self::Dimension), // dim
            (Self::Dimension, 1) => Varint,             // dim_value
            (Self::Dimension, 2) => Text,               // dim_param
            _ => Drop,
        }
    }
}

/// Copies what describes the network.
///
/// # Errors
/// When the bytes are not a well-formed ONNX model, end too early or exceed a limit.
pub(super) fn strip(source: &mut Source) -> Result<Vec<u8>, ReadError> {
    let length = source.len();
    let head = source.slice(0..length.min(foreign::HEAD))?.to_vec();
    if let Some((found, hint)) = foreign::recognise(&head) {
        return Err(Reason::NotOnnx { found, hint }.into());
    }
    let mut slimmer =
        Slimmer { source, out: Vec::new(), graph_seen: false, nodes: 0, structure: 0 };
    let walked = slimmer.message(Message::Model, 0..length, 0);
    if slimmer.graph_seen {
        return walked.map(|()| slimmer.out);
    }
    // No graph came to light. A model starts with its (small) IR version, so what does not is
    // something else.
    let plausible = matches!(head.as_slice(), [0x08, version, ..] if *version < 0x40);
    match walked {
        Err(error) if plausible => Err(error),
        Ok(()) if plausible => Err(Reason::NotOnnx {
            found: "it has the header of a model but no graph".into(),
            hint: Some("the file may be cut short; download or export it again"),
        }
        .into()),
        _ => {
            let (found, hint) = foreign::guess(&head);
            Err(Reason::NotOnnx { found, hint }.into())
        }
    }
}

/// A model without the nodes of its graph, and where those are. The bytes are what [`strip`] gave:
/// a model has one graph.
///
/// # Errors
/// When the bytes are not well-formed.
pub(super) fn without_nodes(bytes: &[u8]) -> Result<(Vec<u8>, Vec<Range<usize>>), ReadError> {
    let (mut rest, mut graph, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
    for field in fields(bytes, 0..bytes.len())? {
        let Some(content) = field.content().filter(|_| field.number == 7) else {
            rest.extend_from_slice(&bytes[field.start..field.end]);
            continue;
        };
        let mut source = Source::memory(bytes);
        let mut cursor = Cursor { source: &mut source, pos: content.start, end: content.end };
        while let Some(field) = cursor.field()? {
            match field.content() {
                Some(node) if field.number == 1 => nodes.push(node),
                _ => graph.extend_from_slice(&bytes[field.start..field.end]),
            }
        }
    }
    push_varint(&mut rest, 7 << 3 | 2);
    push_varint(&mut rest, graph.len() as u64);
    rest.extend_from_slice(&graph);
    Ok((rest, nodes))
}

/// Nodes and stored tensors of a graph, or nodes of a function, by position.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    /// The message; those of a field that stands several times are one.
    pub messages: Vec<Range<usize>>,
    pub nodes: Vec<Range<usize>>,
    /// Initialisers,
    pub tensors: Vec<Range<usize>>,
    /// and sparse ones.
    pub sparse: Vec<Range<usize>>,
}

/// What the graph in `graphs` holds. The bytes have been through [`strip`], here and below.
///
/// # Errors
/// When the bytes are not well-formed, here and below.
pub(super) fn graph(bytes: &[u8], graphs: Vec<Range<usize>>) -> Result<Contents, ReadError> {
    let mut contents = Contents::default();
    for graph in &graphs {
        contents.nodes.extend(messages(bytes, graph.clone(), 1)?);
        contents.tensors.extend(messages(bytes, graph.clone(), 5)?);
        contents.sparse.extend(messages(bytes, graph.clone(), 15)?);
    }
    contents.messages = graphs;
    Ok(contents)
}

/// What the function in `function` holds.
pub(super) fn function(bytes: &[u8], function: Range<usize>) -> Result<Contents, ReadError> {
    let nodes = messages(bytes, function.clone(), 7)?;
    Ok(Contents { messages: vec![function], nodes, ..Contents::default() })
}

/// The attribute called `name` of the node in `node`.
pub(super) fn attribute(
    bytes: &[u8],
    node: Range<usize>,
    name: &str,
) -> Result<Option<Range<usize>>, ReadError> {
    for attribute in messages(bytes, node, 5)? {
        if text(bytes, attribute.clone(), 1)? == name {
            return Ok(Some(attribute));
        }
    }
    Ok(None)
}

/// The text in field `number` of a message; empty without one.
pub(super) fn text(
    bytes: &[u8],
    range: Range<usize>,
    number: u32,
) -> Result<Cow<'_, str>, ReadError> {
    let mut found = 0..0;
    let mut source = Source::memory(bytes);
    let mut cursor = Cursor { source: &mut source, pos: range.start, end: range.end };
    while let Some(field) = cursor.field()? {
        if let (true, Wire::Bytes(range)) = (field.number == number, field.wire) {
            found = range;
        }
    }
    Ok(as_text(bytes, found))
}

/// The text in `range`.
pub(super) fn as_text(bytes: &[u8], range: Range<usize>) -> Cow<'_, str> {
    readable(bytes.get(range).unwrap_or_default())
}

/// The bytes as text. Names of files that old exporters wrote may be in another encoding; bytes
/// that are no text stand as `\xE9`, so that different names stay different.
fn readable(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => {
            let mut text = String::new();
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                for byte in chunk.invalid() {
                    text.push_str(&format!("\\x{byte:02X}"));
                }
            }
            text.into()
        }
    }
}

/// The fields of the message in `range`, in order.
pub(super) fn fields(bytes: &[u8], range: Range<usize>) -> Result<Vec<Field>, ReadError> {
    let mut found = Vec::new();
    let mut source = Source::memory(bytes);
    let mut cursor = Cursor { source: &mut source, pos: range.start, end: range.end };
    while let Some(field) = cursor.field()? {
        found.push(field);
    }
    Ok(found)
}

/// Where the tensors of a model that [`strip`] accepts lie, of those in other files.
///
/// # Errors
/// When the bytes are not well-formed.
pub(super) fn locations(bytes: &[u8]) -> Result<BTreeSet<String>, ReadError> {
    let whole = 0..bytes.len();
    let mut found = BTreeSet::new();
    for graph in messages(bytes, whole.clone(), 7)? {
        graph_locations(bytes, graph, &mut found)?;
    }
    for function in messages(bytes, whole, 25)? {
        node_locations(bytes, messages(bytes, function, 7)?, &mut found)?;
    }
    Ok(found)
}

fn graph_locations(
    bytes: &[u8],
    graph: Range<usize>,
    found: &mut BTreeSet<String>,
) -> Result<(), ReadError> {
    let mut tensors = messages(bytes, graph.clone(), 5)?;
    for sparse in messages(bytes, graph.clone(), 15)? {
        for part in [1, 2] {
            tensors.extend(messages(bytes, sparse.clone(), part)?);
        }
    }
    tensor_locations(bytes, tensors, found)?;
    node_locations(bytes, messages(bytes, graph, 1)?, found)
}

fn node_locations(
    bytes: &[u8],
    nodes: Vec<Range<usize>>,
    found: &mut BTreeSet<String>,
) -> Result<(), ReadError> {
    for node in nodes {
        for attribute in messages(bytes, node, 5)? {
            for tensors in [5, 10] {
                tensor_locations(bytes, messages(bytes, attribute.clone(), tensors)?, found)?;
            }
            for graphs in [6, 11] {
                for graph in messages(bytes, attribute.clone(), graphs)? {
                    graph_locations(bytes, graph, found)?;
                }
            }
        }
    }
    Ok(())
}

fn tensor_locations(
    bytes: &[u8],
    tensors: Vec<Range<usize>>,
    found: &mut BTreeSet<String>,
) -> Result<(), ReadError> {
    for tensor in tensors {
        for entry in messages(bytes, tensor, 13)? {
            let text = |number| {
                let text = messages(bytes, entry.clone(), number)?.pop().unwrap_or(0..0);
                Ok::<_, ReadError>(String::from_utf8_lossy(&bytes[text]))
            };
            if text(1)? == "location" {
                found.insert(text(2)?.into_owned());
            }
        }
    }
    Ok(())
}

/// The contents of every field `number` of the message in `range` that holds bytes.
pub(super) fn messages(
    bytes: &[u8],
    range: Range<usize>,
    number: u32,
) -> Result<Vec<Range<usize>>, ReadError> {
    let mut found = Vec::new();
    let mut source = Source::memory(bytes);
    let mut cursor = Cursor { source: &mut source, pos: range.start, end: range.end };
    while let Some(field) = cursor.field()? {
        if let (true, Wire::Bytes(range)) = (field.number == number, field.wire) {
            found.push(range);
        }
    }
    Ok(found)
}

/// What a stored tensor's message says of its elements.
#[derive(Default)]
pub(super) struct Payload {
    /// The elements as little-endian bytes, as long as they stand in the message.
    pub bytes: Vec<u8>,
    /// Whether they stand in another file,
    pub external: bool,
    /// and where: keys and values.
    pub entries: Vec<(String, String)>,
}

/// The elements in the tensor message in `range`; those that are stored as varints get `width`
/// bytes each.
///
/// # Errors
/// When the bytes are not well-formed.
pub(super) fn payload(
    bytes: &[u8],
    range: Range<usize>,
    width: usize,
) -> Result<Payload, ReadError> {
    let mut payload = Payload::default();
    let mut source = Source::memory(bytes);
    let mut cursor = Cursor { source: &mut source, pos: range.start, end: range.end };
    while let Some(field) = cursor.field()? {
        match (field.number, field.wire) {
            // float_data, raw_data and double_data, whose bytes are those of the elements.
            (4 | 9 | 10, Wire::Bytes(range)) => payload.bytes.extend_from_slice(&bytes[range]),
            (4, Wire::Fixed32) => {
                payload.bytes.extend_from_slice(&bytes[cursor.pos - 4..cursor.pos])
            }
            (10, Wire::Fixed64) => {
                payload.bytes.extend_from_slice(&bytes[cursor.pos - 8..cursor.pos]);
            }
            // int32_data, int64_data, uint64_data
            (5 | 7 | 11, Wire::Varint) => {
                payload.bytes.extend(field.value.to_le_bytes().iter().take(width));
            }
            (5 | 7 | 11, Wire::Bytes(range)) => {
                let mut numbers =
                    Cursor { source: cursor.source, pos: range.start, end: range.end };
                while numbers.pos < numbers.end {
                    payload.bytes.extend(numbers.varint()?.to_le_bytes().iter().take(width));
                }
            }
            (13, Wire::Bytes(entry)) => {
                let text = |number| {
                    let found = messages(bytes, entry.clone(), number)?.pop();
                    let text = found.map(|r| String::from_utf8_lossy(&bytes[r]).into_owned());
                    Ok::<_, ReadError>(text.unwrap_or_default())
                };
                payload.entries.push((text(1)?, text(2)?));
            }
            (14, Wire::Varint) => payload.external = field.value == 1,
            _ => {}
        }
    }
    Ok(payload)
}

/// The content of a field.
pub(super) enum Wire {
    Varint,
    Fixed64,
    Bytes(Range<usize>),
    Fixed32,
}

/// A field of a message.
pub(super) struct Field {
    pub number: u32,
    /// Where its tag starts,
    pub start: usize,
    /// and where it ends.
    pub end: usize,
    pub wire: Wire,
    /// Of a varint.
    pub value: u64,
}

impl Field {
    /// The bytes in it.
    pub fn content(&self) -> Option<Range<usize>> {
        match &self.wire {
            Wire::Bytes(range) => Some(range.clone()),
            _ => None,
        }
    }
}

struct Cursor<'s, 'a> {
    source: &'s mut Source<'a>,
    pos: usize,
    /// End of the enclosing message.
    end: usize,
}

fn malformed(problem: impl Into<String>, offset: usize) -> ReadError {
    Reason::Wire { problem: problem.into(), offset }.into()
}

impl Cursor<'_, '_> {
    /// An error for `what` at `offset`, which wants `needed` bytes more than there are.
    fn too_short(&self, what: &'static str, offset: usize, needed: u64) -> ReadError {
        let left = self.end.saturating_sub(self.pos);
        if self.end == self.source.len() {
            return Reason::Truncated { what, offset, needed, left }.into();
        }
        malformed(format!("{what} of {needed} bytes where its message has {left} left"), offset)
    }

    fn varint(&mut self) -> Result<u64, ReadError> {
        let start = self.pos;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = if self.pos < self.end { self.source.byte(self.pos)? } else { None };
            let Some(byte) = byte else { return Err(self.too_short("a number", start, 1)) };
            self.pos += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed("a number of more than 64 bits", start))
    }

    /// Moves over `length` bytes.
    fn skip(
        &mut self,
        what: &'static str,
        start: usize,
        length: u64,
    ) -> Result<Range<usize>, ReadError> {
        let end = usize::try_from(length).ok().and_then(|l| self.pos.checked_add(l));
        match end {
            Some(end) if end <= self.end => {
                let range = self.pos..end;
                self.pos = end;
                Ok(range)
            }
            _ => Err(self.too_short(what, start, length)),
        }
    }

    fn field(&mut self) -> Result<Option<Field>, ReadError> {
        if self.pos >= self.end {
            return Ok(None);
        }
        let start = self.pos;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| (1..1 << 29).contains(n));
        let Some(number) = number else {
            return Err(malformed(format!("field number {}", tag >> 3), start));
        };
        let mut value = 0;
        let wire = match tag & 7 {
            0 => {
                value = self.varint()?;
                Wire::Varint
            }
            1 => self.skip("a number", start, 8).map(|_| Wire::Fixed64)?,
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.skip("a field", start, length)?)
            }
            3 | 4 => return Err(malformed("a group, which ONNX does not use,", start)),
            5 => self.skip("a number", start, 4).map(|_| Wire::Fixed32)?,
            other => return Err(malformed(format!("wire type {other}"), start)),
        };
        Ok(Some(Field { number, start, end: self.pos, wire, value }))
    }
}

struct Slimmer<'s, 'a> {
    source: &'s mut Source<'a>,
    out: Vec<u8>,
    graph_seen: bool,
    nodes: u64,
    /// Bytes that what was copied so far will take once decoded, roughly.
    structure: u64,
}

/// Size of an owned string without its text.
const STRING_SIZE: u64 = 24;

impl Slimmer<'_, '_> {
    fn spend(&mut self, bytes: u64) -> Result<(), ReadError> {
        self.structure = self.structure.saturating_add(bytes);
        if self.structure > MAX_STRUCTURE {
            return Err(limit(
                "the network takes too much memory even without its weights (bytes)",
                MAX_STRUCTURE,
            ));
        }
        Ok(())
    }

    fn message(
        &mut self,
        message: Message,
        range: Range<usize>,
        depth: usize,
    ) -> Result<(), ReadError> {
        if depth > MAX_NESTING {
            let what = format!("messages are nested too deeply at byte {}", range.start);
            return Err(limit(what, MAX_NESTING as u64));
        }
        self.spend(message.size())?;
        match message {
            Message::Graph => self.graph_seen = true,
            Message::Node => {
                self.nodes += 1;
                if self.nodes > MAX_NODES {
                    return Err(limit("too many nodes", MAX_NODES));
                }
            }
            _ => {}
        }
        let payload = match message {
            Message::Tensor => self.payload_wanted(range.clone())?,
            _ => 0,
        };
        let (start, mut attributes) = (range.start, 0);
        let mut single = SmallVec::<[u32; 2]>::new();
        let mut pos = start;
        while let Some(field) = (Cursor { source: self.source, pos, end: range.end }).field()? {
            pos = field.end;
            let copied = field.start..field.end;
            let size = copied.len() as u64;
            match (message.treatment(field.number), field.wire) {
                (Treatment::Drop, _) => continue,
                (Treatment::Varint, Wire::Varint) | (Treatment::Float, Wire::Fixed32) => {
                    self.spend(size)?;
                }
                // A packed integer may take a single byte and is decoded to eight.
                (Treatment::Varints, Wire::Varint | Wire::Bytes(_))
                | (Treatment::Floats, Wire::Fixed32 | Wire::Bytes(_)) => {
                    if size > MAX_LIST {
                        return Err(limit("a list takes too many bytes", MAX_LIST));
                    }
                    self.spend(8 * size)?;
                }
                (Treatment::Bytes, Wire::Bytes(_)) => self.spend(STRING_SIZE + size)?,
                (Treatment::Text, Wire::Bytes(text)) => {
                    self.spend(STRING_SIZE + size)?;
                    let bytes = self.source.slice(text)?;
                    if let Cow::Owned(text) = readable(bytes) {
                        push_varint(&mut self.out, u64::from(field.number) << 3 | 2);
                        push_varint(&mut self.out, text.len() as u64);
                        self.out.extend_from_slice(text.as_bytes());
                        continue;
                    }
                }
                (Treatment::Payload, _) if size > payload => continue,
                (Treatment::Payload, _) => self.spend(8 * size)?,
                (Treatment::Message(inner), Wire::Bytes(range)) => {
                    attributes += usize::from(inner == Message::Attribute);
                    if attributes > MAX_ATTRIBUTES {
                        let what = format!(
                            "the {} at byte {start} has too many attributes",
                            message.name()
                        );
                        return Err(limit(what, MAX_ATTRIBUTES as u64));
                    }
                    // Some readers take the last, others put them together.
                    if !message.repeats(field.number) {
                        if single.contains(&field.number) {
                            let what =
                                format!("a second {} of one {}", inner.name(), message.name());
                            return Err(malformed(what, field.start));
                        }
                        single.push(field.number);
                    }
                    self.nested(field.number, inner, range, depth)?;
                    continue;
                }
                _ => {
                    let problem = format!(
                        "field {} of a {} has the wrong type",
                        field.number,
                        message.name()
                    );
                    return Err(malformed(problem, field.start));
                }
            }
            self.out.extend_from_slice(self.source.slice(copied)?);
        }
        Ok(())
    }

    /// Copies an inner message, whose length is known only afterwards.
    fn nested(
        &mut self,
        field: u32,
        message: Message,
        range: Range<usize>,
        depth: usize,
    ) -> Result<(), ReadError> {
        push_varint(&mut self.out, u64::from(field) << 3 | 2);
        let length_at = self.out.len();
        // Room for a length below 2^35, padded: continuation bits on all bytes but the last.
        self.out.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0]);
        let start = self.out.len();
        self.message(message, range, depth + 1)?;
        let mut length = self.out.len() - start;
        for byte in self.out.iter_mut().skip(length_at).take(5) {
            *byte |= (length & 0x7f) as u8;
            length >>= 7;
        }
        Ok(())
    }

    /// Size of the largest payload field worth keeping of the tensor in `range`. Its dimensions
    /// may stand after the payload, hence a look ahead.
    fn payload_wanted(&mut self, range: Range<usize>) -> Result<u64, ReadError> {
        let mut elements = 1u64;
        let mut dtype = DataType::Other(0);
        let mut cursor = Cursor { source: self.source, pos: range.start, end: range.end };
        while let Some(field) = cursor.field()? {
            match (field.number, field.wire) {
                // A negative dimension becomes a huge one here; decoding reports it.
                (1, Wire::Varint) => elements = elements.saturating_mul(field.value),
                (1, Wire::Bytes(dims)) => {
                    let mut dims = Cursor { source: cursor.source, pos: dims.start, end: dims.end };
                    while dims.pos < dims.end {
                        elements = elements.saturating_mul(dims.varint()?);
                    }
                }
                (2, Wire::Varint) => {
                    dtype = DataType::from_onnx(i32::try_from(field.value).unwrap_or(0));
                }
                _ => {}
            }
        }
        let most = if dtype.is_float() { MAX_FLOATS } else { TensorData::MAX_KEPT as u64 };
        // A 64-bit varint takes ten bytes; the tag and the length at most fifteen.
        Ok(if elements <= most { elements * 10 + 15 } else { 0 })
    }
}

/// Appends a number in protobuf's variable-length encoding.
pub(super) fn push_varint(out: &mut impl Extend<u8>, mut value: u64) {
    while value >= 0x80 {
        out.extend([(value & 0x7f) as u8 | 0x80]);
        value >>= 7;
    }
    out.extend([value as u8]);
}
