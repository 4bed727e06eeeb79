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
use super::origins::{Body, ContextId, MAIN, Place, Slot};
use super::rope::{Cut, DataFile, Elements, Rope, cut_data, cut_shape};
use super::stored::{Key, Original};
use super::write::{self, encode};
use crate::model_graph::{
    Attribute, DataType, ModelGraph, OpType, Shape, TensorData, Value, ValueId,
};
use nodes::Item;
use std::collections::{BTreeMap, HashMap, HashSet};
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
    /// Inputs, by position.
    pub inputs: Vec<(usize, Operand)>,
    /// Another operator.
    pub operator: Option<Replacement>,
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

/// A stored tensor of the graph.
struct Held {
    name: String,
    message: Rope,
    sparse: bool,
}

/// What the file says of a tensor.
struct Info {
    name: String,
    content: Range<usize>,
    renamed: bool,
}

/// The graph of the new file under construction.
struct Editor<'a> {
    original: &'a Original,
    graph: &'a ModelGraph,
    edits: &'a Edits,
    /// The file that weights go to, unless they stay inside.
    beside: Option<&'a str>,
    ir_version: u64,
    /// Bodies that take the place of their node.
    expanded: HashSet<ContextId>,
    /// Nodes of the network by their place.
    nodes: HashMap<Place, usize>,
    /// Stored tensors by their place.
    slots: HashMap<Slot, ValueId>,
    functions: HashMap<Key, Range<usize>>,
    items: Vec<Item>,
    held: Vec<Held>,
    infos: Vec<Info>,
    /// Weights that were given as inputs and have no use any more.
    dropped: HashSet<String>,
    /// Names that are taken,
    taken: HashSet<String>,
    /// and the next number to tell names apart.
    number: u64,
    names: HashMap<ValueId, String>,
    ids: HashMap<String, ValueId>,
    notes: Vec<String>,
}

impl<'a> Editor<'a> {
    fn new(
        original: &'a Original,
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
            nodes: origins.nodes.iter().enumerate().map(|(i, place)| (*place, i)).collect(),
            slots: origins.stored.iter().map(|(id, slot)| (*slot, *id)).collect(),
            functions,
            items: Vec::new(),
            held: Vec::new(),
            infos: Vec::new(),
            dropped: HashSet::new(),
            taken: HashSet::new(),
            number: 0,
            names: HashMap::new(),
            ids: HashMap::new(),
            notes: Vec::new(),
        })
    }

    fn edit(mut self) -> Result<(Rope, Vec<String>), WriteError> {
        // As it is in the file, what has a use?
        self.flatten_all()?;
        let outputs = self.outputs()?;
        let mut needed: HashSet<Place> = HashSet::new();
        for (item, is_needed) in self.items.iter().zip(self.needed(&outputs)) {
            needed.extend(item.place.filter(|_| is_needed));
        }
        let used = self.used(&outputs)?;
        let given: HashSet<String> =
            self.given().filter(|name| used.contains(*name)).map(str::to_string).collect();
        let idle: HashSet<String> = self.held.iter().map(|h| h.name.to_string()).collect();
        let idle: HashSet<String> = idle.difference(&used).cloned().collect();

        self.expand_edited();
        // Each round expands at least one more.
        loop {
            self.flatten_all()?;
            let more = self.must_expand()?;
            if more.is_empty() {
                break;
            }
            more.into_iter().for_each(|context| self.expand(context));
        }
        let defined = self.defined();
        for item in &mut self.items {
            let in_graph = item.place.filter(|place| place.context == MAIN);
            item.needed = in_graph.is_none_or(|place| needed.contains(&place));
        }
        self.replace_tensors(&outputs)?;
        self.edit_nodes()?;
        self.sweep(&outputs);
        let used = self.used(&outputs)?;
        self.dropped = given.difference(&used).cloned().collect();
        self.held.retain(|h| used.contains(&*h.name) || idle.contains(&*h.name));
        let rope = self.model(&defined)?;
        self.tell();
        Ok((rope, self.notes))
    }

    /// Names of the weights that are given as inputs.
    fn given(&self) -> impl Iterator<Item = &str> {
        let stored = &self.original.origins.stored;
        let values = (0u32..).map(ValueId).zip(self.graph.values());
        let given = values.filter(|(id, value)| {
            value.producer.is_none() && value.is_constant() && !stored.contains_key(id)
        });
        given.map(|(_, value)| &*value.name)
    }

    /// Expands a body, and those around it.
    fn expand(&mut self, mut context: ContextId) {
        while context != MAIN && self.expanded.insert(context) {
            let around = self.original.origins.contexts.get(context as usize);
            context = around.map_or(MAIN, |c| c.node.context);
        }
    }

    /// Expands the bodies that change inside.
    fn expand_edited(&mut self) {
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
        contexts.into_iter().for_each(|context| self.expand(context));
    }

    /// Bodies that must be expanded because of what happens outside of them.
    fn must_expand(&self) -> Result<Vec<ContextId>, WriteError> {
        let origins = &self.original.origins;
        let mut contexts = Vec::new();
        let replaced = self.edits.instead.iter().flat_map(|&(a, b)| [a, b]);
        for id in replaced.filter(|id| !self.names.contains_key(id)) {
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
            let reads = item.captures.iter().chain(&item.inputs);
            if reads.clone().any(|name| self.is_cut(name)) && !self.fits_any_shape(item, other)? {
                contexts.push(*context);
            }
        }
        Ok(contexts)
    }

    /// Whether a tensor lost positions.
    fn is_cut(&self, name: &str) -> bool {
        let id = self.ids.get(name);
        id.is_some_and(|id| self.edits.cuts.contains_key(id) || self.edits.stored.contains_key(id))
    }

    /// Names of the graph's outputs.
    fn outputs(&self) -> Result<Vec<String>, WriteError> {
        let mut outputs = Vec::new();
        for graph in self.original.messages(self.original.whole(), MODEL_GRAPH)? {
            for output in self.original.messages(graph, GRAPH_OUTPUT)? {
                outputs.push(self.original.text(output, 1)?);
            }
        }
        Ok(outputs)
    }

    /// Which nodes the outputs depend on.
    fn needed(&self, outputs: &[String]) -> Vec<bool> {
        let mut producers: HashMap<&str, usize> = HashMap::with_capacity(self.items.len());
        for (i, item) in self.items.iter().enumerate() {
            producers.extend(item.outputs.iter().map(|o| (&**o, i)));
        }
        let mut needed = vec![false; self.items.len()];
        let mut waiting: Vec<&str> = outputs.iter().map(String::as_str).collect();
        while let Some(name) = waiting.pop() {
            let Some(&i) = producers.get(name).filter(|_| !name.is_empty()) else { continue };
            if !std::mem::replace(&mut needed[i], true) {
                waiting.extend(self.items[i].reads());
            }
        }
        needed
    }

    /// Names of the tensors that something uses.
    fn used(&self, outputs: &[String]) -> Result<HashSet<String>, WriteError> {
        let mut used: HashSet<String> = outputs.iter().cloned().collect();
        for item in &self.items {
            used.extend(item.reads().map(str::to_string));
        }
        // What describes the quantisation of a tensor.
        for graph in self.original.messages(self.original.whole(), MODEL_GRAPH)? {
            for annotation in self.original.messages(graph, GRAPH_ANNOTATION)? {
                if used.contains(&*self.original.text(annotation.clone(), 1)?) {
                    for entry in self.original.messages(annotation, 2)? {
                        used.insert(self.original.text(entry, 2)?);
                    }
                }
            }
        }
        Ok(used)
    }

    /// Names of the tensors that there are.
    fn defined(&self) -> HashSet<String> {
        let computed = self.items.iter().flat_map(|item| &item.outputs);
        computed.chain(self.held.iter().map(|h| &h.name)).map(|n| n.to_string()).collect()
    }

    /// A name of its own.
    fn fresh(&mut self, name: &str) -> String {
        let mut fresh = name.to_string();
        while fresh.is_empty() || !self.taken.insert(fresh.clone()) {
            fresh = format!("{}_{}", if name.is_empty() { "value" } else { name }, self.number);
            self.number += 1;
        }
        fresh
    }

    /// Lets everything that reads a tensor read the one that takes its place.
    fn replace_tensors(&mut self, outputs: &[String]) -> Result<(), WriteError> {
        let mut renamed: HashMap<String, String> = HashMap::new();
        for &(old, new) in &self.edits.instead {
            let (Some(old), Some(new)) = (self.names.get(&old), self.names.get(&new)) else {
                continue;
            };
            let (old, new) = (old.clone(), new.clone());
            if !outputs.contains(&old) {
                renamed.insert(old, new);
                continue;
            }
            // An output of the network keeps its name.
            let unused = self.fresh(&old);
            let produces = |item: &Item| item.outputs.contains(&old);
            let Some(at) = self.items.iter().position(produces) else { continue };
            self.make_editable(at)?;
            for output in self.items[at].outputs.iter_mut().filter(|o| **o == old) {
                *output = unused.clone();
            }
            let identity = Item::new("Identity", vec![new], vec![old]);
            self.items.insert(at + 1, identity);
        }
        if renamed.is_empty() {
            return Ok(());
        }
        for at in 0..self.items.len() {
            let item = &self.items[at];
            if !item.reads().any(|name| renamed.contains_key(name)) {
                continue;
            }
            self.make_editable(at)?;
            let inside = self.items[at].captures.iter().any(|n| renamed.contains_key(&**n));
            let attributes = match inside {
                true => Some(self.attributes_with(at, &|name| renamed.get(name).cloned())?),
                false => None,
            };
            let item = &mut self.items[at];
            for name in item.inputs.iter_mut().chain(&mut item.captures) {
                if let Some(new) = renamed.get(&**name) {
                    *name = new.clone();
                }
            }
            if let (Some(fields), Some(attributes)) = (&mut item.fields, attributes) {
                fields.attributes = attributes;
            }
        }
        Ok(())
    }

    /// Changes the nodes that change, and Constant nodes.
    fn edit_nodes(&mut self) -> Result<(), WriteError> {
        let places = self.items.iter().enumerate().filter_map(|(i, item)| Some((item.place?, i)));
        let places: HashMap<Place, usize> = places.collect();
        let edits = self.edits;
        for (&id, content) in &edits.stored {
            if let Some(Slot::Constant(place)) = self.original.origins.stored.get(&id)
                && let Some(&at) = places.get(place)
            {
                self.edit_constant(at, id, content)?;
            }
        }
        let mut more: Vec<Option<String>> = vec![None; edits.more.len()];
        let mut before: BTreeMap<usize, Vec<Item>> = BTreeMap::new();
        for (&node, edit) in &edits.nodes {
            let place = self.original.origins.nodes.get(node);
            let at = place.and_then(|place| places.get(place)).copied();
            let at = at.ok_or_else(|| unrepresentable("a node that is in no graph"))?;
            self.make_editable(at)?;
            let mut first = Vec::new();
            for (input, operand) in &edit.inputs {
                let name = match operand {
                    Operand::More(number) => match more.get(*number).cloned().flatten() {
                        Some(name) => name,
                        None => {
                            let name = self.add(&edits.more[*number], &mut first)?;
                            more[*number] = Some(name.clone());
                            name
                        }
                    },
                    Operand::Scaled { dtype, shape, factors, divisors } => {
                        let now = self.items[at].inputs.get(*input).cloned().unwrap_or_default();
                        let mut name = now;
                        let steps = [("Mul", Some(factors)), ("Div", divisors.as_ref())];
                        for (op, by) in steps.into_iter().filter_map(|(op, by)| Some((op, by?))) {
                            let content = Content::New {
                                dtype: *dtype,
                                shape: shape.clone(),
                                data: by.clone(),
                            };
                            let by = self.add(&More { like: None, content }, &mut first)?;
                            let to = self.fresh(&name);
                            let inputs = vec![name, by];
                            first.push(Item::new(op, inputs, vec![to.clone()]));
                            name = to;
                        }
                        name
                    }
                };
                let inputs = &mut self.items[at].inputs;
                inputs.resize_with(inputs.len().max(input + 1), String::new);
                inputs[*input] = name;
            }
            for (name, value) in &edit.attributes {
                self.set_attribute(at, name, value.as_ref(), &mut first)?;
            }
            if let Some(replacement) = &edit.operator {
                self.replace_operator(at, node, replacement, &mut first)?;
            }
            before.entry(at).or_default().extend(first);
        }
        if !before.is_empty() {
            let items = std::mem::take(&mut self.items);
            for (at, item) in items.into_iter().enumerate() {
                self.items.extend(before.remove(&at).into_iter().flatten());
                self.items.push(item);
            }
        }
        Ok(())
    }

    /// Adds a stored tensor and returns its name. As a Constant node it goes to `nodes`.
    fn add(&mut self, more: &More, nodes: &mut Vec<Item>) -> Result<String, WriteError> {
        let like = more.like.and_then(|id| Some((id, *self.original.origins.stored.get(&id)?)));
        let stem = like.and_then(|(id, _)| self.names.get(&id).cloned());
        let name = self.fresh(stem.as_deref().unwrap_or("constant"));
        let initialiser = match like {
            Some((_, slot)) => matches!(slot, Slot::Initialiser(_)),
            None => !self.held.is_empty(),
        };
        if initialiser && self.ir_version >= FREE_INITIALISERS {
            let message = self.tensor_of(&more.content, Some(&name))?;
            self.held.push(Held { name: name.clone(), message, sparse: false });
        } else {
            let message = self.tensor_of(&more.content, None)?;
            nodes.push(Item::constant(name.clone(), message));
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
    fn sweep(&mut self, outputs: &[String]) {
        let needed = self.needed(outputs);
        let mut gone: Vec<String> = Vec::new();
        let mut stays: Vec<bool> = Vec::with_capacity(self.items.len());
        let mut idle: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, (item, needed)) in self.items.iter().zip(needed).enumerate() {
            stays.push(needed || !item.needed);
            if !needed && item.needed {
                gone.extend(item.outputs.iter().map(|o| o.to_string()));
            } else if !needed {
                for name in item.reads() {
                    idle.entry(name).or_default().push(i);
                }
            }
        }
        // Nodes that never had a use, and read what is no longer there or has another shape.
        gone.extend(idle.keys().filter(|name| self.is_cut(name)).map(|n| n.to_string()));
        let mut lost = Vec::new();
        while let Some(name) = gone.pop() {
            for &i in idle.get(name.as_str()).into_iter().flatten() {
                if std::mem::replace(&mut stays[i], false) {
                    lost.push(i);
                    gone.extend(self.items[i].outputs.iter().map(|o| o.to_string()));
                }
            }
        }
        for i in lost {
            let item = &self.items[i];
            let name = item.outputs.first().map_or("", |o| &**o).to_string();
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
                Body::Function => *calls.entry(text(4)).or_default() += 1,
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
    fn model(&mut self, defined: &HashSet<String>) -> Result<Rope, WriteError> {
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
        Ok(model)
    }

    fn graph_message(&mut self, defined: &HashSet<String>) -> Result<Rope, WriteError> {
        let mut rope = Rope::default();
        for item in &self.items {
            let relaxed = self.relaxed(item)?;
            rope.message(GRAPH_NODE, relaxed.unwrap_or_else(|| item.message()));
        }
        let now: HashSet<&str> = {
            let computed = self.items.iter().flat_map(|item| &item.outputs);
            computed.chain(self.held.iter().map(|h| &h.name)).map(|n| &**n).collect()
        };
        let gone = |name: &str| defined.contains(name) && !now.contains(name);
        for held in &self.held {
            let number = if held.sparse { GRAPH_SPARSE } else { GRAPH_INITIALIZER };
            rope.message(number, held.message.clone());
        }
        for info in self.infos.iter().filter(|info| !gone(&info.name)) {
            let name = info.renamed.then_some(&*info.name);
            rope.message(GRAPH_VALUE_INFO, self.info(info.content.clone(), &info.name, name)?);
        }
        let inputs: HashSet<&str> =
            self.graph.inputs().iter().map(|id| &*self.graph.value(*id).name).collect();
        for graph in self.original.messages(self.original.whole(), MODEL_GRAPH)? {
            for field in self.original.fields(graph)? {
                match (field.number, field.content()) {
                    (GRAPH_NODE | GRAPH_INITIALIZER | GRAPH_SPARSE | GRAPH_VALUE_INFO, _) => {}
                    (GRAPH_INPUT | GRAPH_OUTPUT, Some(content)) => {
                        let name = self.original.text(content.clone(), 1)?;
                        let input = field.number == GRAPH_INPUT;
                        let useless = gone(&name) || self.dropped.contains(&name);
                        if !(input && !inputs.contains(&*name) && useless) {
                            rope.message(field.number, self.info(content, &name, None)?);
                        }
                    }
                    (GRAPH_ANNOTATION, Some(content))
                        if gone(&self.original.text(content.clone(), 1)?) => {}
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
