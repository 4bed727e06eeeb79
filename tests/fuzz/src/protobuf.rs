//! ONNX files as trees, so that what is changed in them leaves the rest well-formed.

/// Messages of `onnx.proto` that are taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Model,
    Opset,
    Graph,
    Function,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Entry,
    ValueInfo,
    Type,
    TensorType,
    SequenceType,
    Shape,
    Dimension,
}

impl Kind {
    /// The message in field `number`.
    fn field(self, number: u32) -> Option<Self> {
        use Kind::*;
        Some(match (self, number) {
            (Model, 7) => Graph,
            (Model, 8) | (Function, 9) => Opset,
            (Model, 14) | (Tensor, 13) => Entry,
            (Model, 25) => Function,
            (Graph, 1) | (Function, 7) => Node,
            (Graph, 5) | (Attribute, 5 | 10) | (SparseTensor, 1 | 2) => Tensor,
            (Graph, 11..=13) | (Function, 12) => ValueInfo,
            (Graph, 15) | (Attribute, 22 | 23) => SparseTensor,
            (Node, 5) | (Function, 11) => Attribute,
            (Attribute, 6 | 11) => Graph,
            (Attribute, 14) | (ValueInfo, 2) | (SequenceType, 1) => Type,
            (Type, 1 | 8) => TensorType,
            (Type, 4 | 9) => SequenceType,
            (TensorType, 2) => Shape,
            (Shape, 1) => Dimension,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub number: u32,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
    Bytes(Vec<u8>),
    Message(Kind, Vec<Field>),
}

impl Field {
    pub fn bytes(number: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { number, value: Value::Bytes(bytes.into()) }
    }

    pub fn varint(number: u32, value: u64) -> Self {
        Self { number, value: Value::Varint(value) }
    }
}

/// A number in seven bits a byte, and what comes after it.
pub fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = 1 + bytes.iter().take(10).position(|b| b & 0x80 == 0)?;
    let (number, rest) = bytes.split_at(length);
    let value = number.iter().rev().fold(0, |value: u64, b| value << 7 | u64::from(b & 0x7f));
    Some((value, rest))
}

pub fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The fields of a message; `None` where it is none.
pub fn parse(kind: Kind, mut bytes: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (tag, rest) = varint(bytes)?;
        let number = u32::try_from(tag >> 3).ok().filter(|&n| n > 0)?;
        let (value, rest) = match tag & 7 {
            0 => varint(rest).map(|(value, rest)| (Value::Varint(value), rest))?,
            1 => rest.split_first_chunk().map(|(value, rest)| (Value::Fixed64(*value), rest))?,
            5 => rest.split_first_chunk().map(|(value, rest)| (Value::Fixed32(*value), rest))?,
            2 => {
                let (length, rest) = varint(rest)?;
                let (content, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                let message = |kind| Some(Value::Message(kind, parse(kind, content)?));
                let value = kind.field(number).and_then(message);
                (value.unwrap_or_else(|| Value::Bytes(content.to_vec())), rest)
            }
            _ => return None,
        };
        fields.push(Field { number, value });
        bytes = rest;
    }
    Some(fields)
}

/// The bytes of a message.
pub fn encode(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for Field { number, value } in fields {
        let mut tag = |wire: u64| push_varint(&mut out, u64::from(*number) << 3 | wire);
        let content = match value {
            Value::Varint(value) => {
                tag(0);
                push_varint(&mut out, *value);
                continue;
            }
            Value::Fixed64(bytes) => {
                tag(1);
                out.extend(bytes);
                continue;
            }
            Value::Fixed32(bytes) => {
                tag(5);
                out.extend(bytes);
                continue;
            }
            Value::Bytes(bytes) => {
                tag(2);
                bytes.clone()
            }
            Value::Message(_, fields) => {
                tag(2);
                encode(fields)
            }
        };
        push_varint(&mut out, content.len() as u64);
        out.extend(content);
    }
    out
}
