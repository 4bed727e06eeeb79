//! Reading and writing ONNX files; the only place that knows of protobuf.
//!
//! Reading goes through these phases, a file each:
//!
//! 1. `wire` walks the encoding of the file, which `source` reads piece by piece, checks it, and
//!    copies everything but the weights; `foreign` tells what other files are.
//! 2. `decode` turns the protobuf messages into plain records, in which `names` are numbers beside
//!    their text; `external` reads the small tensors that lie in other files.
//! 3. `sort` puts the nodes into topological order and checks names.
//! 4. `inputs` settles the shapes of the network's inputs.
//! 5. `import` drives a [`Builder`](crate::model_graph::Builder) through the nodes, inlining local
//!    functions, branches and loops, and resolving sequences of tensors, on the way.
//! 6. `weights` finds the inputs that serve only as weights; with them as constants, the network
//!    is built again.
//!
//! # What is read
//! Opset 7 and later, IR version 3 and later, with weights inside, in external data, or stripped.
//! Floating-point tensors of more than 4,096 elements and others of more than
//! [`TensorData::MAX_KEPT`](crate::model_graph::TensorData::MAX_KEPT) are kept as shapes
//! only. A tensor without (or with the wrong number of) elements is one whose elements are
//! unknown; so is one whose external file is not there. That is an error only when a shape
//! depends on it, or when the elements themselves are wanted.
//!
//! # What is assumed
//! The estimate needs every size, and files leave some open. What is assumed then is among the
//! network's [remarks](ModelGraph::remarks): sizes that are known only when the network runs are
//! counted at their upper bound, where there is one, and what has none is left out; of branches
//! the costlier one counts; a loop is written out as often as it runs, or once.
//!
//! # Security
//! A file may come from anywhere. These are promises:
//! - No input makes reading panic, overflow the stack, loop without end or use memory out of
//!   proportion: nesting, node and element counts, ranks, dimensions and the size of what is
//!   decoded are limited, also after functions and branches have been inlined.
//! - Nothing outside the model's folder is opened: locations of external data that are absolute,
//!   contain `..` or pass through a link that leads outside are errors, unless the model itself is
//!   a link into the folder that the file is in, as in a Hugging Face cache. Pipes and devices are
//!   not opened.
//! - A file that is cut short while it is read is an error: nothing is mapped into memory.
//! - Nothing in a file is executed, and nothing is written.

mod decode;
mod edit;
mod error;
mod external;
mod foreign;
mod import;
mod inputs;
mod limits;
mod names;
mod origins;
mod rope;
mod sort;
mod source;
mod stored;
#[cfg(test)]
mod tests;
mod weights;
mod wire;
mod write;

pub(crate) use edit::{Content, Edits, More, NodeEdit, Operand, Replacement, write_edited};
pub use error::{ErrorKind, ReadError, WriteError};
pub use rope::DataFile;
pub(crate) use rope::{Cut, cut_data, cut_shape};
pub use stored::Original;
#[cfg(feature = "train")]
pub(crate) use write::InitialElements;
pub(crate) use write::MAX_MESSAGE;
pub use write::{Weights, write};

use crate::model_graph::ModelGraph;
use external::External;
use origins::Origins;
use source::Source;
use std::path::Path;

/// How to read a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadOptions {
    /// Shapes of inputs by name, for those whose dimensions the file leaves open: without a size,
    /// with a symbol, 0 or -1. An open first dimension, the batch, is 1 unless given here.
    pub input_shapes: Vec<(String, Vec<usize>)>,
    /// Keep operators outside the vocabulary, as
    /// [`OpType::Unknown`](crate::model_graph::OpType::Unknown), instead of failing.
    pub allow_unknown: bool,
}

/// Reads an ONNX file. The network is called after the file.
///
/// # Errors
/// See [`ErrorKind`].
pub fn read(path: &Path, options: &ReadOptions) -> Result<ModelGraph, ReadError> {
    let slim = wire::strip(&mut Source::open(path)?)?;
    Ok(build(slim, &name(path), &mut External::new(Some(path)), options)?.0)
}

/// What the network in a file is called.
fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Reads an ONNX file from memory and calls the network `name`. Tensors in external data have
/// unknown elements.
///
/// # Errors
/// See [`ErrorKind`].
pub fn read_bytes(
    bytes: &[u8],
    name: &str,
    options: &ReadOptions,
) -> Result<ModelGraph, ReadError> {
    Ok(build(wire::strip(&mut Source::memory(bytes))?, name, &mut External::new(None), options)?.0)
}

fn build(
    slim: Vec<u8>,
    name: &str,
    external: &mut External,
    options: &ReadOptions,
) -> Result<(ModelGraph, Origins), ReadError> {
    let mut model = decode::decode(&slim, external)?;
    drop(slim);
    sort::sort(&mut model)?;
    let faults: Vec<String> = external.faults().map(String::from).collect();
    import::import(&model, name, options, &faults)
}
