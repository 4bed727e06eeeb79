//! The elements of stored tensors, read one tensor at a time.

use super::decode::{element_width, from_raw};
use super::error::{ReadError, Reason};
use super::external::{External, Location};
use super::wire;
use crate::model_graph::{DataType, TensorData};
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The tensors that an ONNX file stores: initialisers and Constant nodes of its graph, inside the
/// file or in external data. Elements are read when they are asked for.
///
/// The file must not change meanwhile; see the [security notes](super#security).
pub struct StoredTensors {
    map: memmap2::Mmap,
    folder: PathBuf,
    places: HashMap<String, Range<usize>>,
    external: External,
}

impl StoredTensors {
    /// The tensors of the file at `path`.
    ///
    /// # Errors
    /// See [`ErrorKind`](super::ErrorKind).
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path)?;
        // SAFETY: the map is only read, as bytes; that the file must not change meanwhile is said
        // in the type's documentation.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        wire::slim(&map, |_| {})?;
        let places = wire::tensors(&map)?;
        let folder = super::folder(path).to_path_buf();
        Ok(Self { map, places, external: External::new(Some(&folder)), folder })
    }

    /// The files beside the model that its tensors lie in, whether or not they are there.
    ///
    /// # Errors
    /// See [`ErrorKind`](super::ErrorKind).
    pub fn files(&self) -> Result<Vec<PathBuf>, ReadError> {
        let locations = wire::locations(&self.map)?;
        Ok(locations.into_iter().map(|location| self.folder.join(location)).collect())
    }

    /// The elements of the tensor called `name` as little-endian bytes in row-major order; `None`
    /// when the file does not have it, or not its elements.
    ///
    /// # Errors
    /// When the tensor is malformed, has another number of elements than `elements`, or lies
    /// where reading is not allowed.
    pub fn bytes(
        &mut self,
        name: &str,
        dtype: DataType,
        elements: u64,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let (Some(place), Some(width)) = (self.places.get(name), element_width(dtype)) else {
            return Ok(None);
        };
        let payload = wire::payload(&self.map, place.clone(), width)?;
        let length = usize::try_from(elements).ok().and_then(|n| n.checked_mul(width));
        let problem = |what: String| -> ReadError {
            Reason::ExternalData { tensor: name.into(), problem: what }.into()
        };
        let length = length.ok_or_else(|| problem(format!("has {elements} elements")))?;
        if payload.external {
            let entry = |key: &str| {
                payload.entries.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
            };
            let location = Location::new(name, entry("location"), entry("offset"))?;
            if let Some(given) = entry("length").filter(|l| l.parse() != Ok(length)) {
                return Err(problem(format!("takes {given} bytes instead of {length}")));
            }
            return self.external.read(name, &location, length);
        }
        match payload.bytes.len() {
            0 => Ok(None),
            n if n == length => Ok(Some(payload.bytes)),
            n => Err(super::error::invalid(format!(
                "tensor '{name}' holds {n} bytes instead of {length}"
            ))),
        }
    }

    /// The elements of a floating-point tensor; `None` also for types that have no arithmetic
    /// here, those of 8 bits and fewer.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn floats(
        &mut self,
        name: &str,
        dtype: DataType,
        elements: u64,
    ) -> Result<Option<Vec<f64>>, ReadError> {
        let Some(bytes) = self.bytes(name, dtype, elements)? else { return Ok(None) };
        let count = usize::try_from(elements).unwrap_or(0);
        Ok(match from_raw(&bytes, dtype, count) {
            Some(TensorData::Floats(elements)) => Some(elements),
            _ => None,
        })
    }
}
