//! What is known about one tensor: element type, dimensions and, where cheap, its elements.

use smallvec::SmallVec;
use std::fmt;

/// Dimensions of a tensor, outermost first. Every dimension is known: free ones are settled at import.
pub type Shape = SmallVec<[usize; 5]>;

/// Element types, as numbered by ONNX's `TensorProto.DataType`.
///
/// Newer types than this list knows are kept as [`DataType::Other`], so that a network that
/// stores its weights in one of them can still be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DataType {
    Float,
    Uint8,
    Int8,
    Uint16,
    Int16,
    Int32,
    Int64,
    String,
    Bool,
    Float16,
    Double,
    Uint32,
    Uint64,
    Bfloat16,
    Other(i32),
}

impl DataType {
    const CODES: [(DataType, i32); 14] = [
        (Self::Float, 1),
        (Self::Uint8, 2),
        (Self::Int8, 3),
        (Self::Uint16, 4),
        (Self::Int16, 5),
        (Self::Int32, 6),
        (Self::Int64, 7),
        (Self::String, 8),
        (Self::Bool, 9),
        (Self::Float16, 10),
        (Self::Double, 11),
        (Self::Uint32, 12),
        (Self::Uint64, 13),
        (Self::Bfloat16, 16),
    ];

    /// The type with ONNX's number `code`.
    pub fn from_onnx(code: i32) -> Self {
        Self::CODES.iter().find(|(_, c)| *c == code).map_or(Self::Other(code), |(t, _)| *t)
    }

    /// ONNX's number for this type.
    pub fn to_onnx(self) -> i32 {
        match self {
            Self::Other(code) => code,
            known => Self::CODES.iter().find(|(t, _)| *t == known).map_or(0, |(_, c)| *c),
        }
    }

    /// Whether elements are floating-point numbers (a tensor of them may be a trained parameter).
    pub fn is_float(self) -> bool {
        // 17..=20 are the float8 types, 23 and 24 are float4e2m1 and float8e8m0.
        matches!(self, Self::Float | Self::Float16 | Self::Double | Self::Bfloat16)
            || matches!(self, Self::Other(17..=20 | 23 | 24))
    }

    /// Whether elements are numbers to compute with, be they integers that quantisation made: ONNX
    /// takes indices, shapes and axes as integers of 32 and 64 bits alone.
    pub(crate) fn is_number(self) -> bool {
        // 21, 22, 25 and 26 are the integers of four and two bits.
        self.is_float()
            || matches!(self, Self::Int8 | Self::Uint8 | Self::Int16 | Self::Uint16)
            || matches!(self, Self::Other(21 | 22 | 25 | 26))
    }
}

/// Elements of a small constant tensor, in row-major order. Booleans are 0 and 1.
#[derive(Debug, Clone)]
pub enum TensorData {
    /// Integers and booleans.
    Ints(Vec<i64>),
    /// Floating-point numbers of any width.
    Floats(Vec<f64>),
}

/// What is no number is the same as itself: equal is what stands for the same in a file.
impl PartialEq for TensorData {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ints(a), Self::Ints(b)) => a == b,
            (Self::Floats(a), Self::Floats(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan())
            }
            _ => false,
        }
    }
}

/// Tensors of more elements are refused: no network has them, but a hostile file may claim them.
pub(crate) const MAX_ELEMENTS: u64 = 1 << 40;

/// Tensors of more dimensions are refused.
pub(crate) const MAX_RANK: usize = 16;

impl TensorData {
    /// Largest number of elements that constant folding keeps: ample for shape arithmetic and
    /// index tables, small enough that a hostile file cannot make it use much memory.
    pub const MAX_KEPT: usize = 1 << 16;

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Ints(v) => v.len(),
            Self::Floats(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, when they are integers.
    pub fn ints(&self) -> Option<&[i64]> {
        match self {
            Self::Ints(v) => Some(v),
            Self::Floats(_) => None,
        }
    }

    /// Whether every element is `value`.
    pub(crate) fn is_all(&self, value: f64) -> bool {
        match self {
            Self::Ints(v) => v.iter().all(|&x| x as f64 == value),
            Self::Floats(v) => v.iter().all(|&x| x == value),
        }
    }

    /// Element `index` as a floating-point number.
    pub fn get_f64(&self, index: usize) -> Option<f64> {
        match self {
            Self::Ints(v) => v.get(index).map(|&x| x as f64),
            Self::Floats(v) => v.get(index).copied(),
        }
    }
}

/// Prints a shape as `1x3x224x224` (`scalar` for rank 0).
pub struct DisplayShape<'a>(pub &'a [usize]);

impl fmt::Display for DisplayShape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("scalar");
        }
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("x")?;
            }
            write!(f, "{d}")?;
        }
        Ok(())
    }
}
