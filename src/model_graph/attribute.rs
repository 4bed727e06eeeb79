//! Attributes of a node, as ONNX defines them, without subgraphs (the importer inlines those).

use super::tensor::{DataType, Shape, TensorData};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;

/// The value of one attribute.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Attribute {
    Int(i64),
    Float(f32),
    String(Box<str>),
    Ints(SmallVec<[i64; 4]>),
    Floats(Box<[f32]>),
    Strings(Box<[Box<str>]>),
    /// `data` is `None` when the elements are absent or too many to keep.
    Tensor {
        dtype: DataType,
        shape: Shape,
        data: Option<TensorData>,
    },
}

/// The type of an attribute's value, named as the variants of [`Attribute`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Float,
    String,
    Ints,
    Floats,
    Strings,
    Tensor,
    /// A graph that the operator runs, which is no [`Attribute`].
    Graph,
}

impl Attribute {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Int(_) => Kind::Int,
            Self::Float(_) => Kind::Float,
            Self::String(_) => Kind::String,
            Self::Ints(_) => Kind::Ints,
            Self::Floats(_) => Kind::Floats,
            Self::Strings(_) => Kind::Strings,
            Self::Tensor { .. } => Kind::Tensor,
        }
    }
}

/// As messages call it.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int => "an integer",
            Self::Float => "a number",
            Self::String => "a string",
            Self::Ints => "a list of integers",
            Self::Floats => "a list of numbers",
            Self::Strings => "a list of strings",
            Self::Tensor => "a tensor",
            Self::Graph => "a graph",
        })
    }
}

/// A node's attributes by name; few enough that a list beats a map.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes(SmallVec<[(Cow<'static, str>, Attribute); 1]>);

impl Attributes {
    /// No attributes.
    pub const fn new() -> Self {
        Self(SmallVec::new_const())
    }

    /// Adds an attribute; for use in a chain.
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: Attribute) -> Self {
        self.insert(name, value);
        self
    }

    /// Adds an attribute, replacing one of the same name.
    pub fn insert(&mut self, name: impl Into<Cow<'static, str>>, value: Attribute) {
        let name = name.into();
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// All attributes, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attribute)> {
        self.0.iter().map(|(n, a)| (n.as_ref(), a))
    }

    /// The attribute called `name`.
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, a)| a)
    }

    /// The integer called `name`, or `default`.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.get_int(name).unwrap_or(default)
    }

    /// The integer called `name`.
    pub fn get_int(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Attribute::Int(i)) => Some(*i),
            _ => None,
        }
    }

    /// The number called `name`, or `default`.
    pub fn float(&self, name: &str, default: f32) -> f32 {
        match self.get(name) {
            Some(Attribute::Float(x)) => *x,
            _ => default,
        }
    }

    /// The list of integers called `name`.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.get(name) {
            Some(Attribute::Ints(v)) => Some(v),
            _ => None,
        }
    }

    /// The string called `name`.
    pub fn str(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Attribute::String(s)) => Some(s),
            _ => None,
        }
    }
}

/// Shorthand for an attribute holding a list of integers.
pub fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(SmallVec::from_slice(values))
}
