//! Why a file could not be read, or a network not written.

use super::inputs::{FreeInput, Trial};
use crate::hint::Hint;
use crate::model_graph::{BuildError, OpType};
use std::fmt;

/// Why an ONNX file could not be read. Its `Display` says what is wrong and where; [`kind`] is for
/// programs, [`hint`] says what to try next, where that is known.
///
/// [`kind`]: Self::kind
/// [`hint`]: Self::hint
#[derive(Debug)]
pub struct ReadError(Box<Reason>);

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shorten(&self.0.to_string()))
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// A message, which may quote the file, without what nobody would read: of words and of the whole
/// only the first characters stay.
fn shorten(message: &str) -> String {
    const WORD: usize = 120;
    const WHOLE: usize = 3000;
    let mut short = String::new();
    let (mut word, mut whole) = (0, 0);
    for c in message.chars() {
        word = if c.is_whitespace() { 0 } else { word + 1 };
        match word {
            0..=WORD => short.push(c),
            n if n == WORD + 1 => short.push('…'),
            _ => continue,
        }
        whole += 1;
        if whole > WHOLE {
            short.push('…');
            break;
        }
    }
    short
}

/// What to do about a file whose weights are not even inputs with a shape.
pub(super) const LOST_WEIGHTS: &str = "a file exported with dynamo=True and export_params=False has lost its weights' shapes: export \
     with export_params=True, or with dynamo=False";

/// What sort of problem a [`ReadError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file could not be opened or read.
    Io,
    /// The file is something else.
    NotOnnx,
    /// The file ends too early.
    Truncated,
    /// The bytes are not a well-formed ONNX message.
    Malformed,
    /// A count or a size is beyond what is accepted.
    LimitExceeded,
    /// Valid ONNX that this reader does not handle.
    Unsupported,
    /// Operators outside the vocabulary.
    UnknownOperators,
    /// Dimensions of the inputs that the file leaves open.
    FreeDimensions,
    /// A shape given in [`ReadOptions::input_shapes`](super::ReadOptions::input_shapes) does not
    /// fit the network.
    InputShape,
    /// Names, edges or attributes that do not make a network.
    InvalidGraph,
    /// An operator cannot take its inputs.
    Shape,
    /// Weights stored beside the model, at a place that is not allowed.
    ExternalData,
}

/// An operator that the project does not know, where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnknownOperator {
    pub node: String,
    pub op: OpType,
    /// Version of the operator's domain that the file imports.
    pub opset: Option<i64>,
}

impl fmt::Display for UnknownOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (node '{}', ", self.op, self.node)?;
        let domain = match &self.op {
            OpType::Unknown { domain, .. } if !domain.is_empty() => domain,
            _ => "ai.onnx",
        };
        match self.opset {
            Some(opset) => write!(f, "domain {domain}, opset {opset})"),
            None => write!(f, "domain {domain}, no opset given)"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Reason {
    #[error("cannot read the file: {0}")]
    Io(#[from] std::io::Error),
    #[error("not an ONNX file: {found}")]
    NotOnnx { found: String, hint: Option<&'static str> },
    #[error(
        "the file is cut short: {what} at byte {offset} needs {needed} more bytes, {left} are left"
    )]
    Truncated { what: &'static str, offset: usize, needed: u64, left: usize },
    #[error("malformed ONNX file: {problem} at byte {offset}")]
    Wire { problem: String, offset: usize },
    #[error("malformed ONNX file: {0}")]
    Decode(String),
    #[error("{what}; the limit is {limit}")]
    Limit { what: String, limit: u64 },
    #[error("{what}")]
    Unsupported { what: String, hint: Option<String> },
    #[error("{} unknown operator{}: {}", .0.len(), if .0.len() == 1 { "" } else { "s" }, list(.0))]
    UnknownOperators(Vec<UnknownOperator>),
    #[error("{}", super::inputs::describe(.0, .1))]
    FreeDimensions(Vec<FreeInput>, Trial),
    #[error("{0}")]
    InputShape(String),
    #[error("invalid network: {0}")]
    InvalidGraph(String),
    #[error("{error}")]
    Shape {
        error: BuildError,
        /// Why elements of constants are not there, which may be the cause.
        missing: Option<String>,
    },
    #[error("external data of tensor '{tensor}': {problem}")]
    ExternalData { tensor: String, problem: String },
}

fn list(operators: &[UnknownOperator]) -> String {
    enumerate(operators.iter().map(ToString::to_string))
}

/// The first ten items, and how many more there are.
pub(super) fn enumerate(items: impl ExactSizeIterator<Item = String>) -> String {
    enumerate_with(items, ", ")
}

/// As [`enumerate`], with this between the items.
pub(super) fn enumerate_with(
    items: impl ExactSizeIterator<Item = String>,
    between: &str,
) -> String {
    const SHOWN: usize = 10;
    let more = items.len().saturating_sub(SHOWN);
    let shown = items.take(SHOWN).collect::<Vec<_>>().join(between);
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

impl From<Reason> for ReadError {
    fn from(reason: Reason) -> Self {
        Self(Box::new(reason))
    }
}

impl From<std::io::Error> for ReadError {
    fn from(error: std::io::Error) -> Self {
        Reason::Io(error).into()
    }
}

impl ReadError {
    /// The inputs whose dimensions are free, where that is the problem.
    pub(super) fn free_inputs(&self) -> Option<&[FreeInput]> {
        match &*self.0 {
            Reason::FreeDimensions(inputs, _) => Some(inputs),
            _ => None,
        }
    }

    /// What sort of problem it is.
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Reason::Io(_) => ErrorKind::Io,
            Reason::NotOnnx { .. } => ErrorKind::NotOnnx,
            Reason::Truncated { .. } => ErrorKind::Truncated,
            Reason::Wire { .. } | Reason::Decode(_) => ErrorKind::Malformed,
            Reason::Limit { .. } => ErrorKind::LimitExceeded,
            Reason::Unsupported { .. } => ErrorKind::Unsupported,
            Reason::UnknownOperators(_) => ErrorKind::UnknownOperators,
            Reason::FreeDimensions(..) => ErrorKind::FreeDimensions,
            Reason::InputShape(_) => ErrorKind::InputShape,
            Reason::InvalidGraph(_) => ErrorKind::InvalidGraph,
            Reason::Shape { .. } => ErrorKind::Shape,
            Reason::ExternalData { .. } => ErrorKind::ExternalData,
        }
    }

    /// What the user can try next.
    pub fn hint(&self) -> Option<Hint> {
        let words = |words: &str| Some(Hint::Words(words.into()));
        match &*self.0 {
            Reason::NotOnnx { hint, .. } => words((*hint)?),
            Reason::Truncated { .. } => words("download or export the file again"),
            Reason::Unsupported { hint, .. } => words(hint.as_deref()?),
            Reason::UnknownOperators(_) => Some(Hint::AllowUnknown),
            Reason::FreeDimensions(inputs, trial) => {
                Some(Hint::InputShapes(super::inputs::fitting(inputs, trial)))
            }
            Reason::Shape { missing: Some(fault), .. } => words(&shorten(&format!(
                "the elements may be in the model's data file, but {fault}; put it beside the model"
            ))),
            Reason::ExternalData { .. } => {
                words("put the model's data files beside it, as they were exported")
            }
            _ => None,
        }
    }
}

pub(super) fn invalid(what: impl Into<String>) -> ReadError {
    Reason::InvalidGraph(what.into()).into()
}

pub(super) fn limit(what: impl Into<String>, limit: u64) -> ReadError {
    Reason::Limit { what: what.into(), limit }.into()
}

/// Why a network could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The output could not be written to.
    #[error("cannot write: {0}")]
    Io(#[from] std::io::Error),
    /// The elements of a weight could not be read.
    #[error(transparent)]
    Weights(Box<ReadError>),
    /// The network holds something that ONNX files cannot.
    #[error("cannot be written as ONNX: {0}")]
    Unrepresentable(String),
}
