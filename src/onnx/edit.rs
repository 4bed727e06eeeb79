//! Writing a file again with changes, and nothing else changed.
//!
//! The new file is put together from the bytes of the old one: fields that nobody asked to change
//! are copied as they stand, also those that this program does not know. What a change leaves
//! without a use (nodes, initialisers, functions) goes; what had none before stays.
//!
//! Calls of local functions and branches of If stay what they are, unless something inside must
//! change: then the body takes the node's place, since a function may be called from elsewhere
//! too. External data comes to stand inside the new file, as far as it fits.

mod nodes;
mod shapes;
#[cfg(test)]
mod tests;

use super::error::{ReadError, WriteError};
use super::names::{self, Name, Set, Table};
use super::origins::{Body, ContextId, MAIN, Place, Slot};
use super::rope::{Cut, DataFile, Elements, Rope, cut_data, cut_shape};
use super::stored::{Key, Original};
use super::write::{self, encode};
use crate::model_graph::{
    Attribute, DataType, ModelGraph, OpType, Shape, TensorData, Value, ValueId,
};
use hashbrown::{HashMap, HashSet};
use nodes::Item;
use onnx_protobuf::{ModelProto, OperatorSetIdProto};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::ops::Range;

/// What changes in a file.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// Tensors that others, which come before them, take the place of.
    pub instead: Vec<(ValueId, ValueId)>,
    /// Nodes that change, by position.
    pub nodes: BTreeMap<usize, NodeEdit>,
    /// Stored tensors that change where they stand.
    pub stored: HashMap<ValueId, Content>,
    /// Stored tensors that are added.
    pub more: Vec<More>,
    /// What is left of tensors that lost positions.
    pub cuts: HashMap<ValueId, Cut>,
    /// Constants that come out otherwise when the nodes of the file compute them.
    pub changed: HashSet<ValueId>,
}

/// What changes in a node.
#[derive(Debug, Default)]
pub(crate) struct NodeEdit {
    /// Attributes with another value; without one, they go.
    pub attributes: Vec<(String, Option<Attribute>)>,
    /// Positions of inputs that go, in ascending order.
    pub dropped: Vec<usize>,
    /// Inputs, by position among those that stay.
    pub inputs: Vec<(usize, Operand)>,
    /// Another operator.
    pub operator: Option<Replacement>,
    /// Scale, shift, mean and variance of a batch normalisation of its first output, which takes the output's
    /// place.
    pub normalised: Option<[Content; 4]>,
}

/// `op(x)`, or `op(x, gate(x))`.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub op: OpType,
    pub gate: Option<OpType>,
    pub x: ValueId,
}

/// What an input becomes.
#[derive(Debug)]
pub(crate) enum Operand {
    /// The added tensor of this number.
    More(usize),
    /// What it is now, times a factor and divided by a divisor for each element.
    Scaled { dtype: DataType, shape: Shape, factors: TensorData, divisors: Option<TensorData> },
}

/// A stored tensor that is added.
#[derive(Debug)]
pub(crate) struct More {
    /// The one that it is called after, and stands like.
    pub like: Option<ValueId>,
    pub content: Content,
}

/// What a stored tensor holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// What is left of one of the file.
    Cut { of: ValueId, cut: Cut },
    /// New elements.
    New { dtype: DataType, shape: Shape, data: TensorData },
}

/// Field numbers of `onnx.proto`.
const MODEL_IR_VERSION: u32 = 1;
const MODEL_GRAPH: u32 = 7;
const MODEL_OPSET_IMPORT: u32 = 8;
const MODEL_FUNCTION: u32 = 25;
const GRAPH_NODE: u32 = 1;
const GRAPH_INITIALIZER: u32 = 5;
const GRAPH_INPUT: u32 = 11;
const GRAPH_OUTPUT: u32 = 12;
const GRAPH_VALUE_INFO: u32 = 13;
const GRAPH_ANNOTATION: u32 = 14;
const GRAPH_SPARSE: u32 = 15;
const FUNCTION_VALUE_INFO: u32 = 12;

/// The first IR version in which initialisers need not be inputs too.
const FREE_INITIALISERS: u64 = 4;

/// Writes the file that `graph` was read from with `edits`, and returns what somebody should know
/// of the way it was done. Weights stand inside the new file, unless it would be longer than
/// `limit` bytes; then they go to `data`.
///
/// # Errors
/// When weights cannot be read, writing fails, or the file holds something that cannot be edited.
pub(crate) fn write_edited(
    original: &mut Original,
    graph: &ModelGraph,
    edits: &Edits,
    limit: u64,
    out: impl Write,
    data: Option<DataFile>,
) -> Result<Vec<String>, WriteError> {
    let (mut rope, mut notes) = Editor::new(original, graph, edits, None)?.edit()?;
    let mut nothing = std::io::sink();
    let mut beside: &mut dyn Write = &mut nothing;
    if rope.size() > limit
        && let Some(DataFile { name, out }) = data
    {
        (rope, notes) = Editor::new(original, graph, edits, Some(&name))?.edit()?;
        notes.push(format!("more than 2 GiB do not fit in one file: most weights are in '{name}'"));
        beside = out;
    }
    if rope.size() > limit {
        let what = format!("{} bytes are more than the 2 GiB that a file can hold", rope.size());
        return Err(WriteError::Unrepresentable(what));
    }
    let mut out = BufWriter::new(out);
    rope.write(original, &mut out, beside)?;
    out.flush()?;
    Ok(notes)
}

fn unrepresentable(what: impl Into<String>) -> WriteError {
    WriteError::Unrepresentable(what.into())
}

impl From<ReadError> for WriteError {
    fn from(error: ReadError) -> Self {
        Self::Weights(Box::new(error))
    }
}

/// Names in the file, and those that are added.
type Names<'a> = names::Names<Cow<'a, str>>;

/// A stored tensor of the graph.
struct Held {
    name: Name,
    message: Rope,
    sparse: bool,
}

/// What the file says of a tensor.
struct Info {
    name: Name,
    content: Range<usize>,
    renamed: bool,
}

/// Numbers of what comes from each place.
struct Places(Vec<Vec<Option<usize>>>);

impl Places {
    fn get(&self, place: Place) -> Option<usize> {
        *self.0.get(place.context as usize)?.get(place.index as usize)?
    }
}

impl FromIterator<(Place, usize)> for Places {
    fn from_iter<I: IntoIterator<Item = (Place, usize)>>(places: I) -> Self {
        let mut numbers: Vec<Vec<Option<usize>>> = Vec::new();
        for (place, number) in places {
            let (context, index) = (place.context as usize, place.index as usize);
            numbers.resize_with(numbers.len().max(context + 1), Vec::new);
            let inside = &mut numbers[context];
            inside.resize(inside.len().max(index + 1), None);
            inside[index] = Some(number);
        }
        Self(numbers)
    }
}

/// The graph of the new file under construction.
struct Editor<'a> {
    original: &'a Original<'a>,
    graph: &'a ModelGraph,
    edits: &'a Edits,
    /// The file that weights go to, unless they stay inside.
    beside: Option<&'a str>,
    ir_version: u64,
    /// Bodies that take the place of their node.
    expanded: HashSet<ContextId>,
    /// Nodes of the network by their place.
    nodes: Places,
    /// Stored tensors by their place.
    slots: HashMap<Slot, ValueId>,
    functions: HashMap<Key, Range<usize>>,
    items: Vec<Item>,
    held: Vec<Held>,
    infos: Vec<Info>,
    /// Weights that were given as inputs and have no use any more.
    dropped: Set,
    /// All names,
    names: Names<'a>,
    /// those that are taken,
    taken: Set,
    /// and the next number to tell names apart.
    number: u64,
    /// The names of tensors, by position,
    named: Vec<Option<Name>>,
    /// and the tensors of names.
    ids: Table<ValueId>,
    notes: Vec<String>,
}

impl<'a> Editor<'a> {
    fn new(
        original: &'a Original<'a>,
        graph: &'a ModelGraph,
        edits: &'a Edits,
        beside: Option<&'a str>,
    ) -> Result<Self, WriteError> {
        let all = original.whole();
        let origins = &original.origins;
        let mut functions = HashMap::new();
        for function in original.messages(all.clone(), MODEL_FUNCTION)? {
            functions.insert(original.key(function.clone(), [10, 1, 13])?, function);
        }
        let ir = original.fields(all)?.into_iter().rfind(|f| f.number == MODEL_IR_VERSION);
        Ok(Self {
            original,
            graph,
            edits,
            beside,
            ir_version: ir.map_or(0, |f| f.value),
            expanded: HashSet::new(),
            nodes: origins.nodes.iter().copied().zip(0..).collect(),
            slots: origins.stored.iter().map(|(id, slot)| (*slot, *id)).collect(),
            functions,
            items: Vec::new(),
            held: Vec::new(),
            infos: Vec::new(),
            dropped: Set::default(),
            names: Names::new("".into()),
            taken: Set::default(),
            number: 0,
            named: Vec::new(),
            ids: Table::default(),
            notes: Vec::new(),
        })
    }

    fn edit(mut self) -> Result<(Rope, Vec<String>), WriteError> {
        // As it is in the file, what has a use?
        self.flatten_all()?;
        let outputs = self.outputs()?;
        // No body is expanded yet: the items are the nodes of the graph.
        let needed = self.needed(&outputs);
        let used = self.used(&outputs)?;
        let given: Vec<Name> = self.given().filter(|name| used.contains(*name)).collect();
        let idle: Set =
            self.held.iter().map(|h| h.name).filter(|name| !used.contains(*name)).collect();

        let mut more = self.edited();
        // Each round expands at least one more.
        loop {
            if !more.is_empty() {
                more.into_iter().for_each(|context| self.expand(context));
                self.flatten_all()?;
            }
            more = self.must_expand()?;
            if more.is_empty() {
                break;
            }
        }
        let defined = self.defined();
        for item in &mut self.items {
            let in_graph = item.place.filter(|place| place.context == MAIN);
            item.needed = in_graph.is_none_or(|place| needed[place.index as usize]);
        }
        self.replace_tensors(&outputs)?;
        self.edit_nodes()?;
        self.sweep(&outputs);
        let used = self.used(&outputs)?;
        self.dropped = given.into_iter().filter(|name| !used.contains(*name)).collect();
        self.held.retain(|h| used.contains(h.name) || idle.contains(h.name));
        let rope = self.model(&defined)?;
        self.tell();
        Ok((rope, self.notes))
    }

    /// Names of the weights that are given as inputs.
    fn given(&self) -> impl Iterator<Item = Name> {
        let stored = &self.original.origins.stored;
        let values = (0u32..).map(ValueId).zip(self.graph.values());
        let given = values.filter(|(id, value)| {
            value.producer.is_none() && value.is_constant() && !stored.contains_key(id)
        });
        given.map(|(_, value)| self.names.find(&value.name))
    }

    /// Expands a body, and those around it.
    fn expand(&mut self, mut context: ContextId) {
        while context != MAIN && self.expanded.insert(context) {
            let around = self.original.origins.contexts.get(context as usize);
            context = around.map_or(MAIN, |c| c.node.context);
        }
    }

    /// Bodies that change inside.
    fn edited(&self) -> Vec<ContextId> {
        let origins = &self.original.origins;
        let of_node = |&node: &usize| origins.nodes.get(node).map(|place| place.context);
        let of_tensor = |id: &ValueId| origins.stored.get(id).map(|slot| slot.context());
        let mut contexts: Vec<ContextId> = self.edits.nodes.keys().filter_map(of_node).collect();
        contexts.extend(self.edits.stored.keys().filter_map(of_tensor));
        // An If that might go elsewhere.
        for (id, context) in (0..).zip(&origins.contexts) {
            if context.condition.is_some_and(|c| self.edits.changed.contains(&c)) {
                contexts.push(id);
            }
        }
        contexts.retain(|context| *context != MAIN);
        contexts
    }

    /// Bodies that must be expanded because of what happens outside of them.
    fn must_expand(&self) -> Result<Vec<ContextId>, WriteError> {
        let origins = &self.original.origins;
        let mut contexts = Vec::new();
        let replaced = self.edits.instead.iter().flat_map(|&(a, b)| [a, b]);
        for id in replaced.filter(|id| self.name(*id).is_none()) {
            let node = self.graph.value(id).producer;
            let place = node.and_then(|node| origins.nodes.get(node.index()));
            let context = place.map(|p| p.context).filter(|c| !self.expanded.contains(c));
            contexts.push(context.filter(|c| *c != MAIN).ok_or_else(|| {
                unrepresentable(format!("'{}' cannot be told apart", self.graph.value(id).name))
            })?);
        }
        // A branch that is not taken must still fit what it reads.
        for item in &self.items {
            let Some(context) = item.place.and_then(|place| origins.inlined.get(&place)) else {
                continue;
            };
            let Some(Body::Branch(taken)) = origins.contexts.get(*context as usize).map(|c| c.body)
            else {
                continue;
            };
            let other = if taken == "then_branch" { "else_branch" } else { "then_branch" };
            if item.reads().any(|name| self.is_cut(name)) && !self.fits_any_shape(item, other)? {
                contexts.push(*context);
            }
        }
        Ok(contexts)
    }

    /// Whether a tensor lost positions.
    fn is_cut(&self, name: Name) -> bool {
        let id = self.ids.get(name);
        id.is_some_and(|id| self.edits.cuts.contains_key(id) || self.edits.stored.contains_key(id))
    }

    /// Names of the graph's outputs.
    fn outputs(&mut self) -> Result<Vec<Name>, WriteError> {
        let mut outputs = Vec::new();
        for graph in self.original.messages(self.original.whole(), MODEL_GRAPH)? {
            for output in self.original.messages(graph, GRAPH_OUTPUT)? {
                outputs.push(self.names.intern(self.original.text(output, 1)?));
            }
        }
        Ok(outputs)
    }

    /// Which nodes the outputs depend on.
    fn needed(&self, outputs: &[Name]) -> Vec<bool> {
        let mut producers: Table<usize> = Table::default();
        for (i, item) in self.items.iter().enumerate() {
            item.outputs.iter().for_each(|&output| _ = producers.insert(output, i));
        }
        let mut needed = vec![false; self.items.len()];
        let mut waiting: Vec<Name> = outputs.to_vec();
        while let Some(name) = waiting.pop() {
            let Some(&i) = producers.get(name).filter(|_| !name.is_empty()) else { continue };
            if !std::mem::replace(&mut needed[i], true) {
                waiting.extend(self.items[i].reads());
            }
        }
        needed
    }

    /// Names of the tensors that something uses.
    fn used(&mut self, outputs: &[Name]) -> Result<Set, WriteError> {
        let mut used: Set = outputs.iter().copied().collect();
        for item in &self.items {
            used.extend(item.reads());
        }
        // What describes the quantisation of a tensor.
        for graph in self.original.messages(self.original.whole(), MODEL_GRAPH)? {
            for annotation in self.original.messages(graph, GRAPH_ANNOTATION)? {
                let name = self.names.intern(self.original.text(annotation.clone(), 1)?);
                if used.contains(name) {
                    for entry in self.original.messages(annotation, 2)? {
                        used.insert(self.names.intern(self.original.text(entry, 2)?), ());
                    }
                }
            }
        }
        Ok(used)
    }

    /// Names of the tensors that there are.
    fn defined(&self) -> Set {
        let computed = self.items.iter().flat_map(|item| &item.outputs);
        computed.copied().chain(self.held.iter().map(|h| h.name)).collect()
    }

    /// The name of a tensor.
    fn name(&self, id: ValueId) -> Option<Name> {
        self.named.get(id.index()).copied().flatten()
    }

    /// A name of its own that begins like this one.
    fn fresh(&mut self, stem: &str) -> Name {
        let mut fresh = self.names.intern(stem.to_string());
        while fresh.is_empty() || self.taken.insert(fresh, ()).is_some() {
            let stem = if stem.is_empty() { "value" } else { stem };
            fresh = self.names.intern(format!("{stem}_{}", self.number));
            self.number += 1;
        }
        fresh
    }

    /// [`fresh`](Self::fresh) after a name that there is.
    fn fresh_after(&mut self, name: Name) -> Name {
        let stem = self.names.text(name).to_string();
        self.fresh(&stem)
    }

    /// Lets everything that reads a tensor read the one that takes its place.
    fn replace_tensors(&mut self, outputs: &[Name]) -> Result<(), WriteError> {
        let mut renamed: HashMap<Name, Name> = HashMap::new();
        for &(old, new) in &self.edits.instead {
            let (Some(old), Some(new)) = (self.name(old), self.name(new)) else { continue };
            if !outputs.contains(&old) {
                renamed.insert(old, new);
                continue;
            }
            // An output of the network keeps its name.
            let unused = self.fresh_after(old);
            let produces = |item: &Item| item.outputs.contains(&old);
            let Some(at) = self.items.iter().position(produces) else { continue };
            self.make_editable(at)?;
            for output in self.items[at].outputs.iter_mut().filter(|o| **o == old) {
                *output = unused;
            }
            let identity = self.added("Identity", &[new], old);
            self.items.insert(at + 1, identity);
        }
        if renamed.is_empty() {
            return Ok(());
        }
        for at in 0..self.items.len() {
            let item = &self.items[at];
            if !item.reads().any(|name| renamed.contains_key(&name)) {
                continue;
            }
            self.make_editable(at)?;
            let inside = self.items[at].captures.iter().any(|n| renamed.contains_key(n));
            let new = |name: &str| {
                renamed.get(&self.names.find(name)).map(|new| self.names.text(*new).to_string())
            };
            let attributes = match inside {
                true => Some(self.attributes_with(at, &new)?),
                false => None,
            };
            let item = &mut self.items[at];
            for name in item.inputs.iter_mut().chain(&mut item.captures) {
                *name = renamed.get(name).copied().unwrap_or(*name);
            }
            if let (Some(fields), Some(attributes)) = (&mut item.fields, attributes) {
                fields.attributes = attributes;
            }
        }
        Ok(())
    }

    /// Changes the nodes that change, and Constant nodes.
    fn edit_nodes(&mut self) -> Result<(), WriteError> {
        let places = self.items.iter().zip(0..).filter_map(|(item, i)| Some((item.place?, i)));
        let places: Places = places.collect();
        let edits = self.edits;
        for (&id, content) in &edits.stored {
            if let Some(Slot::Constant(place)) = self.original.origins.stored.get(&id)
                && let Some(at) = places.get(*place)
            {
                self.edit_constant(at, id, content)?;
            }
        }
        let mut more: Vec<Option<Name>> = vec![None; edits.more.len()];
        let mut before: BTreeMap<usize, Vec<Item>> = BTreeMap::new();
        let mut after: BTreeMap<usize, Item> = BTreeMap::new();
        for (&node, edit) in &edits.nodes {
            let place = self.original.origins.nodes.get(node);
            let at = place.and_then(|place| places.get(*place));
            let at = at.ok_or_else(|| unrepresentable("a node that is in no graph"))?;
            self.make_editable(at)?;
            let mut first = Vec::new();
            let inputs = &mut self.items[at].inputs;
            // The operands of a ConcatFromSequence stand elsewhere.
            if !edit.dropped.is_empty() && inputs.len() != self.graph.nodes()[node].inputs.len() {
                return Err(unrepresentable("an operand that is none in the file"));
            }
            for &input in edit.dropped.iter().rev() {
                inputs.remove(input);
            }
            for (input, operand) in &edit.inputs {
                let name = match operand {
                    Operand::More(number) => match more.get(*number).copied().flatten() {
                        Some(name) => name,
                        None => {
                            let name = self.add(&edits.more[*number], &mut first)?;
                            more[*number] = Some(name);
                            name
                        }
                    },
                    Operand::Scaled { dtype, shape, factors, divisors } => {
                        let now = self.items[at].inputs.get(*input);
                        let mut name = now.copied().unwrap_or(Name::EMPTY);
                        let steps = [("Mul", Some(factors)), ("Div", divisors.as_ref())];
                        for (op, by) in steps.into_iter().filter_map(|(op, by)| Some((op, by?))) {
                            let content = Content::New {
                                dtype: *dtype,
                                shape: shape.clone(),
                                data: by.clone(),
                            };
                            let by = self.add(&More { like: None, content }, &mut first)?;
                            let to = self.fresh_after(name);
                            first.push(self.added(op, &[name, by], to));
                            name = to;
                        }
                        name
                    }
                };
                let inputs = &mut self.items[at].inputs;
                inputs.resize(inputs.len().max(input + 1), Name::EMPTY);
                inputs[*input] = name;
            }
            for (name, value) in &edit.attributes {
                self.set_attribute(at, name, value.as_ref(), &mut first)?;
            }
            if let Some(replacement) = &edit.operator {
                self.replace_operator(at, node, replacement, &mut first)?;
            }
            if let Some(vectors) = &edit.normalised {
                let Some(&output) = self.items[at].outputs.first() else { continue };
                let x = self.fresh_after(output);
                self.items[at].outputs[0] = x;
                let mut inputs = vec![x];
                for content in vectors {
                    let more = More { like: None, content: content.clone() };
                    inputs.push(self.add(&more, &mut first)?);
                }
                after.insert(at, self.added("BatchNormalization", &inputs, output));
            }
            before.entry(at).or_default().extend(first);
        }
        if !before.is_empty() {
            let items = std::mem::take(&mut self.items);
            for (at, item) in items.into_iter().enumerate() {
                self.items.extend(before.remove(&at).into_iter().flatten());
                self.items.push(item);
                self.items.extend(after.remove(&at));
            }
        }
        Ok(())
    }

    /// Adds a stored tensor and returns its name. As a Constant node it goes to `nodes`.
    fn add(&mut self, more: &More, nodes: &mut Vec<Item>) -> Result<Name, WriteError> {
        let like = more.like.and_then(|id| Some((id, *self.original.origins.stored.get(&id)?)));
        let name = match like.and_then(|(id, _)| self.name(id)) {
            Some(stem) => self.fresh_after(stem),
            None => self.fresh("constant"),
        };
        let initialiser = match like {
            Some((_, slot)) => matches!(slot, Slot::Initialiser(_)),
            None => !self.held.is_empty(),
        };
        if initialiser && self.ir_version >= FREE_INITIALISERS {
            let message = self.tensor_of(&more.content, Some(self.names.text(name)))?;
            self.held.push(Held { name, message, sparse: false });
        } else {
            let message = self.tensor_of(&more.content, None)?;
            nodes.push(self.constant(name, message));
        }
        Ok(name)
    }

    /// The message of a stored tensor.
    fn tensor_of(&self, content: &Content, name: Option<&str>) -> Result<Rope, WriteError> {
        let mut rope = Rope::default();
        match content {
            Content::New { dtype, shape, data } => {
                let name = name.unwrap_or_default();
                rope.bytes(&encode(&write::tensor(name, *dtype, shape, Some(data)))?);
            }
            Content::Cut { of, cut } => {
                let value = self.graph.value(*of);
                let Some(tensor) = self.original.tensor(*of)? else {
                    return self.numbers(value, cut, name);
                };
                rope = self.cut_tensor(tensor, value, cut, name)?;
            }
        }
        Ok(rope)
    }

    /// [`tensor_of`](Self::tensor_of) what stands in the file as a list of numbers.
    fn numbers(&self, value: &Value, cut: &Cut, name: Option<&str>) -> Result<Rope, WriteError> {
        let data = value.data().ok_or_else(|| {
            unrepresentable(format!("'{}' is no tensor that can be cut", value.name))
        })?;
        let shape = cut_shape(&value.shape, cut);
        let content =
            Content::New { dtype: value.dtype, data: cut_data(data, &value.shape, cut), shape };
        self.tensor_of(&content, name)
    }

    /// What `cut` leaves of the tensor whose message is at `tensor`.
    fn cut_tensor(
        &self,
        tensor: Range<usize>,
        value: &Value,
        cut: &Cut,
        name: Option<&str>,
    ) -> Result<Rope, WriteError> {
        let mut rope = Rope::default();
        let mut stored = false;
        for field in self.original.fields(tensor.clone())? {
            match field.number {
                // dims, segment, data_location
                1 | 3 | 14 => {}
                // The elements, or where they are.
                4..=7 | 9..=11 | 13 => stored = true,
                8 if name.is_some() => {}
                _ => rope.copy(field.start..field.end),
            }
        }
        for dimension in cut_shape(&value.shape, cut) {
            rope.number(1, dimension as u64);
        }
        if let Some(name) = name {
            rope.text(8, name);
        }
        if stored {
            let elements = Elements {
                tensor,
                dtype: value.dtype,
                shape: value.shape.clone(),
                cut: cut.clone(),
            };
            rope.elements(elements, self.beside)?;
        }
        Ok(rope)
    }

    /// Leaves out what nothing needs any more.
    fn sweep(&mut self, outputs: &[Name]) {
        let needed = self.needed(outputs);
        let mut gone: Vec<Name> = Vec::new();
        let mut stays: Vec<bool> = Vec::with_capacity(self.items.len());
        let mut idle: HashMap<Name, Vec<usize>> = HashMap::new();
        for (i, (item, needed)) in self.items.iter().zip(needed).enumerate() {
            stays.push(needed || !item.needed);
            if !needed && item.needed {
                gone.extend(&item.outputs);
            } else if !needed {
                for name in item.reads() {
                    idle.entry(name).or_default().push(i);
                }
            }
        }
        // Nodes that never had a use, and read what is no longer there or has another shape.
        gone.extend(idle.keys().filter(|name| self.is_cut(**name)));
        let mut lost = Vec::new();
        while let Some(name) = gone.pop() {
            for &i in idle.get(&name).into_iter().flatten() {
                if std::mem::replace(&mut stays[i], false) {
                    lost.push(i);
                    gone.extend(&self.items[i].outputs);
                }
            }
        }
        for i in lost {
            let name = self.items[i].outputs.first().map_or("", |o| self.names.text(*o));
            self.notes.push(format!(
                "the node that computes '{name}', which nothing uses, is left out: what it reads was cut"
            ));
        }
        let mut stays = stays.into_iter();
        self.items.retain(|_| stays.next().unwrap_or(true));
    }

    /// Says which calls and branches were taken apart.
    fn tell(&mut self) {
        let mut calls: BTreeMap<String, usize> = BTreeMap::new();
        let mut branches = Vec::new();
        let origins = &self.original.origins;
        let mut expanded: Vec<ContextId> = self.expanded.iter().copied().collect();
        expanded.sort_unstable();
        for context in expanded.into_iter().filter_map(|c| origins.contexts.get(c as usize)) {
            let contents = self.original.contents.get(context.node.context as usize);
            let node = contents.and_then(|c| c.nodes.get(context.node.index as usize)).cloned();
            let text = |number| {
                let text = node.clone().and_then(|n| self.original.text(n, number).ok());
                text.unwrap_or_default()
            };
            match context.body {
                Body::Model => {}
                Body::Function => *calls.entry(text(4).into_owned()).or_default() += 1,
                Body::Branch(name) => branches.push(format!("'{}' ({name})", text(3))),
            }
        }
        for (name, count) in calls {
            let times = if count == 1 { "once".into() } else { format!("{count} times") };
            self.notes.push(format!(
                "function '{name}' is written out {times}, where something inside is cut"
            ));
        }
        if !branches.is_empty() {
            self.notes.push(format!(
                "only the branch that is taken stays of {}, since something inside is cut",
                branches.join(", ")
            ));
        }
    }

    /// The message of the model. `defined` are the tensors that there were.
    fn model(&mut self, defined: &Set) -> Result<Rope, WriteError> {
        let all = self.original.whole();
        let functions = self.functions_left()?;
        let mut graph = Some(self.graph_message(defined)?);
        let mut model = Rope::default();
        for field in self.original.fields(all)? {
            match (field.number, field.content()) {
                (MODEL_GRAPH, Some(_)) => {
                    if let Some(graph) = graph.take() {
                        model.message(MODEL_GRAPH, graph);
                    }
                }
                (MODEL_FUNCTION, Some(content)) => match functions.get(&content.start) {
                    Some(Some(function)) => model.message(MODEL_FUNCTION, function.clone()),
                    Some(None) => {}
                    None => model.copy(field.start..field.end),
                },
                _ => model.copy(field.start..field.end),
            }
        }
        if let Some(import) = self.missing_import()? {
            model.bytes(&import);
        }
        Ok(model)
    }

    /// The import of ONNX's own operators, where the file has none and there are some now: those
    /// that are added, that take another's place, or that stood in a function.
    fn missing_import(&self) -> Result<Option<Vec<u8>>, WriteError> {
        for import in self.original.messages(self.original.whole(), MODEL_OPSET_IMPORT)? {
            if matches!(&*self.original.text(import, 1)?, "" | "ai.onnx") {
                return Ok(None);
            }
        }
        let new = |item: &Item| match &item.fields {
            Some(fields) => matches!(&*fields.domain, "" | "ai.onnx"),
            None => item.place.is_none_or(|place| place.context != MAIN),
        };
        if !self.items.iter().any(new) {
            return Ok(None);
        }
        let version = self.graph.opset();
        let import = OperatorSetIdProto { version, ..Default::default() };
        Ok(Some(encode(&ModelProto { opset_import: vec![import], ..Default::default() })?))
    }

    fn graph_message(&self, defined: &Set) -> Result<Rope, WriteError> {
        let mut rope = Rope::default();
        for item in &self.items {
            let relaxed = self.relaxed(item)?;
            rope.message(GRAPH_NODE, relaxed.unwrap_or_else(|| item.message(&self.names)));
        }
        let now = self.defined();
        let gone = |name: Name| defined.contains(name) && !now.contains(name);
        for held in &self.held {
            let number = if held.sparse { GRAPH_SPARSE } else { GRAPH_INITIALIZER };
            rope.message(number, held.message.clone());
        }
        for info in self.infos.iter().filter(|info| !gone(info.name)) {
            let name = info.renamed.then_some(self.names.text(info.name));
            rope.message(GRAPH_VALUE_INFO, self.info(info.content.clone(), info.name, name)?);
        }
        let inputs: HashSet<&str> =
            self.graph.inputs().iter().map(|id| &*self.graph.value(*id).name).collect();
        for graph in self.original.messages(self.original.whole(), MODEL_GRAPH)? {
            for field in self.original.fields(graph)? {
                match (field.number, field.content()) {
                    (GRAPH_NODE | GRAPH_INITIALIZER | GRAPH_SPARSE | GRAPH_VALUE_INFO, _) => {}
                    (GRAPH_INPUT | GRAPH_OUTPUT, Some(content)) => {
                        let text = self.original.text(content.clone(), 1)?;
                        let name = self.names.find(&text);
                        let input = field.number == GRAPH_INPUT;
                        let useless = gone(name) || self.dropped.contains(name);
                        if !(input && !inputs.contains(&*text) && useless) {
                            rope.message(field.number, self.info(content, name, None)?);
                        }
                    }
                    (GRAPH_ANNOTATION, Some(content))
                        if gone(self.names.find(&self.original.text(content.clone(), 1)?)) => {}
                    _ => rope.copy(field.start..field.end),
                }
            }
        }
        Ok(rope)
    }

    /// Functions that go (`None`) or change, by where they start.
    fn functions_left(&self) -> Result<HashMap<usize, Option<Rope>>, WriteError> {
        let mut left = HashMap::new();
        if self.functions.is_empty() {
            return Ok(left);
        }
        let contents = self.original.contents.first();
        let old = contents.into_iter().flat_map(|c| c.nodes.iter().cloned()).collect();
        let before = self.called(old)?;
        let now = self.items.iter().filter(|i| !i.message.is_empty()).map(|i| i.message.clone());
        // An expanded node is no item; what its operator was did not change otherwise.
        let after = self.called(now.collect())?;
        let stale = self.stale_functions();
        for (key, function) in &self.functions {
            if before.contains(key) && !after.contains(key) {
                left.insert(function.start, None);
            } else if stale.contains(&function.start) {
                let mut rope = Rope::default();
                for field in self.original.fields(function.clone())? {
                    if field.number != FUNCTION_VALUE_INFO {
                        rope.copy(field.start..field.end);
                    }
                }
                left.insert(function.start, Some(rope));
            }
        }
        Ok(left)
    }

    /// The functions that the nodes call, directly or not.
    fn called(&self, mut nodes: Vec<Range<usize>>) -> Result<HashSet<Key>, WriteError> {
        let mut called = HashSet::new();
        while let Some(node) = nodes.pop() {
            for attribute in self.original.messages(node.clone(), 5)? {
                for graph in self.original.graphs(attribute)? {
                    nodes.extend(self.original.messages(graph, GRAPH_NODE)?);
                }
            }
            let key = self.original.key(node, [7, 4, 8])?;
            if let Some(function) = self.functions.get(&key)
                && called.insert(key)
            {
                nodes.extend(self.original.messages(function.clone(), 7)?);
            }
        }
        Ok(called)
    }
}
