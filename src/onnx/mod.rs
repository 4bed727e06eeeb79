//! Reading and writing ONNX files; the only place that knows of protobuf.
//!
//! Reading goes through these phases, a file each:
//!
//! 1. `wire` walks the encoding of the memory-mapped file, checks it, and copies everything but
//!    the weights.
//! 2. `decode` turns the protobuf messages into plain records; `external` reads the small tensors
//!    that lie in other files.
//! 3. `sort` puts the nodes into topological order and checks names.
//! 4. `inputs` settles the shapes of the network's inputs.
//! 5. `import` drives a [`Builder`](crate::model_graph::Builder) through the nodes, inlining local
//!    functions and the branches of If, and resolving sequences of tensors, on the way.
//!
//! # What is read
//! Opset 7 and later, IR version 3 and later, with weights inside, in external data, or stripped.
//! Floating-point tensors of more than 4,096 elements and others of more than
//! [`TensorData::MAX_ELEMENTS`](crate::model_graph::TensorData::MAX_ELEMENTS) are kept as shapes
//! only. A tensor without (or with the wrong number of) elements is one whose elements are
//! unknown; so is one whose external file is not there. That is an error only when a shape
//! depends on it.
//!
//! # Security
//! A file may come from anywhere. These are promises:
//! - No input makes reading panic, overflow the stack, loop without end or use memory out of
//!   proportion: nesting, node and element counts, ranks, dimensions and the size of what is
//!   decoded are limited, also after functions and branches have been inlined.
//! - Nothing outside the model's folder is opened: locations of external data that are absolute,
//!   contain `..` or pass through a link that leads outside are errors. Pipes and devices are not
//!   opened.
//! - Nothing in a file is executed, and nothing is written.
//!
//! [`read`] maps the file into memory, so nobody may change it meanwhile: if it is cut short, the
//! operating system stops this process (`SIGBUS`). Where that cannot be ruled out, load the bytes
//! and call [`read_bytes`].

mod decode;
mod edit;
mod error;
mod external;
mod import;
mod inputs;
mod limits;
mod origins;
mod rope;
mod sort;
mod stored;
#[cfg(test)]
mod tests;
mod wire;
mod write;

pub(crate) use edit::{Content, Edits, More, NodeEdit, Operand, Replacement, write_edited};
pub use error::{ErrorKind, ReadError, WriteError};
pub(crate) use rope::{Cut, cut_data, cut_shape};
pub use stored::Original;
pub use write::{Weights, write};

use crate::model_graph::ModelGraph;
use external::External;
use origins::Origins;
use std::fs::File;
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
    let slim = {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(std::io::Error::from(std::io::ErrorKind::IsADirectory).into());
        }
        if metadata.len() == 0 {
            // Mapping nothing is an error on some systems.
            wire::slim(&[], |_| {})?
        } else {
            // SAFETY: the map is only read, as bytes, and dropped at the end of this block; that
            // the file must not change meanwhile is said in the module's documentation.
            let map = unsafe { memmap2::Mmap::map(&file)? };
            // Reading ahead would load the weights between the headers.
            #[cfg(unix)]
            map.advise(memmap2::Advice::Random)?;
            wire::slim(&map, |end| release(&map, end))?
        }
    };
    Ok(build(&slim, &name(path), External::new(Some(folder(path))), options)?.0)
}

/// What the network in a file is called.
fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Gives back the pages of the first `end` bytes. The kernel maps up to 2 MiB of cached file around
/// every byte that is read, which in a file full of weights would add up to most of it.
#[cfg(unix)]
fn release(map: &memmap2::Mmap, end: usize) {
    // SAFETY: the map is of a file and never written to, so pages that are dropped come back from
    // the file as they were.
    let advised = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, 0, end) };
    // Keeping them only costs memory.
    drop(advised);
}

#[cfg(not(unix))]
fn release(_: &memmap2::Mmap, _: usize) {}

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
    Ok(build(&wire::slim(bytes, |_| {})?, name, External::new(None), options)?.0)
}

fn build(
    slim: &[u8],
    name: &str,
    mut external: External,
    options: &ReadOptions,
) -> Result<(ModelGraph, Origins), ReadError> {
    let mut model = decode::decode(slim, &mut external)?;
    sort::sort(&mut model)?;
    import::import(&model, name, options, external)
}
