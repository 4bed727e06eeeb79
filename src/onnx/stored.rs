//! The file that a network was read from: the elements of its stored tensors, one at a time, and
//! where everything stands.

use super::decode::from_raw;
use super::error::{ReadError, Reason, WriteError, invalid};
use super::external::{self, External, Location};
use super::origins::{Body, MAIN, Origins, Slot};
use super::source::Source;
use super::write::bits;
#[cfg(feature = "train")]
use super::write::start_field;
use super::{ReadOptions, wire};
use crate::model_graph::{DataType, ModelGraph, RemarkKind, TensorData, ValueId};
use hashbrown::HashMap;
use std::borrow::Cow;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Field number of a model's metadata.
const METADATA: u32 = 14;

/// The file that a network was read from, with the elements of its initialisers and Constant
/// nodes, inside the file or in external data. Elements are read when they are asked for.
pub struct Original<'a> {
    /// All of it: a file of this format has at most 2 GiB.
    content: Cow<'a, [u8]>,
    pub(super) origins: Origins,
    /// What each context holds.
    pub(super) contents: Vec<Rc<wire::Contents>>,
    folder: PathBuf,
    external: External,
    digest: blake3::Hash,
}

impl Original<'static> {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// See [`ErrorKind`](super::ErrorKind).
    pub fn open(path: &Path, options: &ReadOptions) -> Result<(ModelGraph, Self), ReadError> {
        let content = Source::open(path)?.into_bytes()?;
        Self::new(content.into(), Some(path), &super::name(path), options)
    }
}

impl<'a> Original<'a> {
    /// The file that `bytes` are, whose network is called `name`; there are no files beside it.
    ///
    /// # Errors
    /// See [`ErrorKind`](super::ErrorKind).
    pub fn from_bytes(
        bytes: impl Into<Cow<'a, [u8]>>,
        name: &str,
        options: &ReadOptions,
    ) -> Result<(ModelGraph, Self), ReadError> {
        Self::new(bytes.into(), None, name, options)
    }

    fn new(
        content: Cow<'a, [u8]>,
        path: Option<&Path>,
        name: &str,
        options: &ReadOptions,
    ) -> Result<(ModelGraph, Self), ReadError> {
        let slim = wire::strip(&mut Source::memory(&content))?;
        let mut external = External::new(path);
        let (graph, origins) = super::build(slim, name, &mut external, options)?;
        whole(&graph, &origins)?;
        let contents = contents(&content, &origins)?;
        let digest = digest(&graph);
        let folder = path.map(external::folder).unwrap_or(Path::new("")).to_path_buf();
        Ok((graph, Self { content, origins, contents, external, digest, folder }))
    }

    /// The files beside the model that its tensors lie in, whether or not they are there.
    ///
    /// # Errors
    /// See [`ErrorKind`](super::ErrorKind).
    pub fn files(&self) -> Result<Vec<PathBuf>, ReadError> {
        let locations = wire::locations(&self.content)?;
        Ok(locations.into_iter().map(|location| self.folder.join(location)).collect())
    }

    /// An error that names the file unless all external data is there.
    ///
    /// # Errors
    /// See above.
    pub fn complete(&self) -> Result<(), ReadError> {
        self.external.complete()
    }

    /// Whether the file has a place for the elements of a stored tensor: not so where it lists its
    /// weights as inputs.
    #[cfg(feature = "train")]
    pub(crate) fn holds(&self, id: ValueId) -> bool {
        self.origins.stored.contains_key(&id)
    }

    /// The whole file.
    #[cfg(feature = "train")]
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.content.into_owned()
    }

    /// The model's metadata called `name`.
    pub(crate) fn property(&self, name: &str) -> Result<Option<Cow<'_, str>>, ReadError> {
        for entry in self.messages(self.whole(), METADATA)? {
            if self.text(entry.clone(), 1)? == name {
                return self.text(entry, 2).map(Some);
            }
        }
        Ok(None)
    }

    /// The file with metadata called `name`, in place of what it had of that name.
    #[cfg(feature = "train")]
    pub(crate) fn with_property(&self, name: &str, text: &str) -> Result<Vec<u8>, ReadError> {
        let mut file = Vec::with_capacity(self.content.len() + text.len());
        for field in self.fields(self.whole())? {
            let same = match field.content() {
                Some(entry) if field.number == METADATA => self.text(entry, 1)? == name,
                _ => false,
            };
            if !same {
                file.extend_from_slice(
                    self.content.get(field.start..field.end).unwrap_or_default(),
                );
            }
        }
        let mut entry = Vec::new();
        for (number, text) in [(1, name), (2, text)] {
            start_field(&mut entry, number, text.len() as u64);
            entry.extend_from_slice(text.as_bytes());
        }
        start_field(&mut file, METADATA, entry.len() as u64);
        file.extend(entry);
        Ok(file)
    }

    /// Whether `graph` is the network in this file.
    pub(crate) fn matches(&self, graph: &ModelGraph) -> bool {
        self.digest == digest(graph)
    }

    /// The message of a stored tensor; `None` for those that have none, such as the numbers in an
    /// attribute.
    pub(super) fn tensor(&self, id: ValueId) -> Result<Option<Range<usize>>, ReadError> {
        let Some(slot) = self.origins.stored.get(&id) else { return Ok(None) };
        let Some(contents) = self.contents.get(slot.context() as usize) else { return Ok(None) };
        Ok(match slot {
            // Sparse ones come after these, and their elements are not read.
            Slot::Initialiser(place) => contents.tensors.get(place.index as usize).cloned(),
            Slot::Constant(place) => match contents.nodes.get(place.index as usize) {
                Some(node) => constant(&self.content, node.clone())?,
                None => None,
            },
        })
    }

    /// The bytes of the whole file.
    pub(super) fn whole(&self) -> Range<usize> {
        0..self.content.len()
    }

    /// See [`wire::fields`].
    pub(super) fn fields(&self, message: Range<usize>) -> Result<Vec<wire::Field>, ReadError> {
        wire::fields(&self.content, message)
    }

    /// See [`wire::messages`].
    pub(super) fn messages(
        &self,
        message: Range<usize>,
        number: u32,
    ) -> Result<Vec<Range<usize>>, ReadError> {
        wire::messages(&self.content, message, number)
    }

    /// The text in field `number` of a message; empty without one.
    pub(super) fn text(
        &self,
        message: Range<usize>,
        number: u32,
    ) -> Result<Cow<'_, str>, ReadError> {
        wire::text(&self.content, message, number)
    }

    /// The text in `range`.
    pub(super) fn as_text(&self, range: Range<usize>) -> Cow<'_, str> {
        wire::as_text(&self.content, range)
    }

    /// See [`key`].
    pub(super) fn key(&self, message: Range<usize>, numbers: [u32; 3]) -> Result<Key, ReadError> {
        key(&self.content, message, numbers)
    }

    /// The attribute called `name` of a node.
    pub(super) fn attribute(
        &self,
        node: Range<usize>,
        name: &str,
    ) -> Result<Option<Range<usize>>, ReadError> {
        wire::attribute(&self.content, node, name)
    }

    /// The graphs in an attribute.
    pub(super) fn graphs(&self, attribute: Range<usize>) -> Result<Vec<Range<usize>>, ReadError> {
        let mut graphs = self.messages(attribute.clone(), 6)?;
        graphs.extend(self.messages(attribute, 11)?);
        Ok(graphs)
    }

    /// Writes the bytes in `range`.
    pub(super) fn copy(&self, range: Range<usize>, out: &mut impl Write) -> Result<(), WriteError> {
        Ok(out.write_all(self.content.get(range).unwrap_or_default())?)
    }

    /// The elements of a stored tensor as little-endian bytes in row-major order; `None` when the
    /// file does not have them.
    ///
    /// # Errors
    /// When the tensor is malformed, has another number of elements than `elements`, or lies
    /// where reading is not allowed.
    pub fn bytes(
        &mut self,
        id: ValueId,
        dtype: DataType,
        elements: u64,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        match self.tensor(id)? {
            Some(place) => self.elements(place, dtype, elements),
            None => Ok(None),
        }
    }

    /// [`bytes`](Self::bytes) of the tensor whose message is at `place`.
    pub(super) fn elements(
        &mut self,
        place: Range<usize>,
        dtype: DataType,
        elements: u64,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(bits) = bits(dtype) else { return Ok(None) };
        let name = wire::text(&self.content, place.clone(), 8)?.into_owned();
        // Where several elements share a byte, a number holds such a byte.
        let payload = wire::payload(&self.content, place, bits.div_ceil(8) as usize)?;
        let length = elements.checked_mul(bits).map(|b| b.div_ceil(8));
        let length = length.and_then(|length| usize::try_from(length).ok());
        let problem = |what: String| -> ReadError {
            Reason::ExternalData { tensor: name.clone(), problem: what }.into()
        };
        let length = length.ok_or_else(|| problem(format!("has {elements} elements")))?;
        if payload.external {
            let entry = |key: &str| {
                payload.entries.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
            };
            let location = Location::new(&name, entry, Some(length as u64))?;
            return self.external.read(&name, &location, length).map(Some);
        }
        match payload.bytes.len() {
            0 => Ok(None),
            n if n == length => Ok(Some(payload.bytes)),
            n => Err(invalid(format!("tensor '{name}' holds {n} bytes instead of {length}"))),
        }
    }

    /// The elements of a stored tensor as numbers; `None` also for types that have no arithmetic
    /// here, such as floating-point numbers of 8 bits and fewer.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn numbers(
        &mut self,
        id: ValueId,
        dtype: DataType,
        elements: u64,
    ) -> Result<Option<Vec<f64>>, ReadError> {
        let Some(bytes) = self.bytes(id, dtype, elements)? else { return Ok(None) };
        let count = usize::try_from(elements).unwrap_or(0);
        Ok(from_raw(&bytes, dtype, count).map(|data| match data {
            TensorData::Floats(elements) => elements,
            TensorData::Ints(elements) => elements.into_iter().map(|i| i as f64).collect(),
        }))
    }
}

/// An error unless the network can be told as a whole by its nodes: a new one, made of what is
/// known of this one, would lack the rest.
fn whole(graph: &ModelGraph, origins: &Origins) -> Result<(), ReadError> {
    let unsupported = |what: String, hint: &str| -> Result<(), ReadError> {
        Err(Reason::Unsupported { what, hint: Some(hint.into()) }.into())
    };
    let profile = "gennape profile tells the cost of what is known";
    if let Some(remark) = graph.remarks().iter().find(|r| r.kind() == RemarkKind::NotCounted) {
        return unsupported(
            format!("it cannot be cut, since it is known in part ({remark})"),
            profile,
        );
    }
    if let Some(node) = &origins.written_out {
        return unsupported(format!("it cannot be cut, since it has a loop ({node})"), profile);
    }
    Ok(())
}

/// Tells networks apart by their structure.
fn digest(graph: &ModelGraph) -> blake3::Hash {
    // One message for each value and node: in pieces of a few bytes, hashing is slow.
    let mut message: Vec<u8> = Vec::new();
    let mut hasher = blake3::Hasher::new();
    let mut add = |numbers: &mut dyn Iterator<Item = usize>, texts: &[&str]| {
        message.clear();
        numbers.for_each(|number| message.extend_from_slice(&number.to_le_bytes()));
        for text in texts {
            message.extend_from_slice(text.as_bytes());
            message.extend_from_slice(&text.len().to_le_bytes());
        }
        hasher.update(&message);
    };
    for value in graph.values() {
        let numbers = [value.dtype.to_onnx() as usize, value.shape.len()];
        add(&mut numbers.into_iter().chain(value.shape.iter().copied()), &[&value.name]);
    }
    for node in graph.nodes() {
        let id = |id: &Option<ValueId>| id.map_or(usize::MAX, ValueId::index);
        let numbers = [node.inputs.len(), node.outputs.len()].into_iter();
        let ids = node.inputs.iter().chain(&node.outputs).map(id);
        add(&mut numbers.chain(ids), &[node.op.domain(), node.op.name(), &node.name]);
    }
    hasher.finalize()
}

/// The tensor of a Constant node.
fn constant(bytes: &[u8], node: Range<usize>) -> Result<Option<Range<usize>>, ReadError> {
    let mut found = None;
    for attribute in wire::messages(bytes, node, 5)? {
        found = wire::messages(bytes, attribute, 5)?.pop().or(found);
    }
    Ok(found)
}

/// What each context holds; those of one function share it.
fn contents(bytes: &[u8], origins: &Origins) -> Result<Vec<Rc<wire::Contents>>, ReadError> {
    let all = 0..bytes.len();
    let mut functions = HashMap::new();
    for function in wire::messages(bytes, all.clone(), 25)? {
        let key = key(bytes, function.clone(), [10, 1, 13])?;
        functions.insert(key, Rc::new(wire::function(bytes, function)?));
    }
    let mut found: Vec<Rc<wire::Contents>> = Vec::with_capacity(origins.contexts.len());
    for context in &origins.contexts {
        let lost = || invalid("the graph of a node cannot be found again");
        // Outer ones come first.
        let node = || -> Result<Range<usize>, ReadError> {
            let outer = found.get(context.node.context as usize).ok_or_else(lost)?;
            outer.nodes.get(context.node.index as usize).cloned().ok_or_else(lost)
        };
        found.push(match context.body {
            Body::Model => Rc::new(wire::graph(bytes, wire::messages(bytes, all.clone(), 7)?)?),
            Body::Function => {
                let key = key(bytes, node()?, [7, 4, 8])?;
                functions.get(&key).cloned().ok_or_else(lost)?
            }
            Body::Branch(name) => {
                let attribute = wire::attribute(bytes, node()?, name)?.ok_or_else(lost)?;
                Rc::new(wire::graph(bytes, wire::messages(bytes, attribute, 6)?)?)
            }
        });
    }
    debug_assert_eq!(origins.contexts.first().map(|c| c.node.context), Some(MAIN));
    Ok(found)
}

/// Domain, name and overload of a function.
pub(super) type Key = (String, String, String);

/// The key of a function, or of the one that a node calls, from the fields of these numbers.
fn key(
    bytes: &[u8],
    message: Range<usize>,
    [domain, name, overload]: [u32; 3],
) -> Result<Key, ReadError> {
    let text =
        |number| Ok::<_, ReadError>(wire::text(bytes, message.clone(), number)?.into_owned());
    let domain = text(domain)?;
    let domain = if domain == "ai.onnx" { String::new() } else { domain };
    Ok((domain, text(name)?, text(overload)?))
}
