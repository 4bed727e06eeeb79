//! Nodes of the new graph: read from the file, renamed where a body takes the place of its node,
//! and changed.

use super::{
    Content, Editor, GRAPH_INITIALIZER, GRAPH_NODE, GRAPH_OUTPUT, GRAPH_SPARSE, GRAPH_VALUE_INFO,
    Held, Info, More, Names, Replacement, unrepresentable,
};
use crate::model_graph::{Attribute, DataType, OpType, Shape, TensorData, ValueId};
use crate::onnx::error::WriteError;
use crate::onnx::names::{Name, Set, Table};
use crate::onnx::origins::{Body, ContextId, MAIN, Place, Slot};
use crate::onnx::rope::Rope;
use crate::onnx::write::{self, encode};
use hashbrown::{HashMap, HashSet};
use smallvec::{SmallVec, smallvec};
use std::borrow::Cow;
use std::ops::Range;

/// Field numbers of `onnx.proto`.
const NODE_INPUT: u32 = 1;
const NODE_OUTPUT: u32 = 2;
const NODE_NAME: u32 = 3;
const NODE_OP: u32 = 4;
const NODE_ATTRIBUTE: u32 = 5;
const NODE_DOMAIN: u32 = 7;
const ATTRIBUTE_NAME: u32 = 1;
const ATTRIBUTE_TENSOR: u32 = 5;
const ATTRIBUTE_DOC: u32 = 13;
const ATTRIBUTE_REFERENCE: u32 = 21;
const TENSOR_NAME: u32 = 8;

/// A node of the new graph.
pub(super) struct Item {
    /// Where it comes from; `None` for those that are added.
    pub place: Option<Place>,
    /// Its message in the file; empty for those that are added.
    pub message: Range<usize>,
    pub inputs: SmallVec<[Name; 4]>,
    pub outputs: SmallVec<[Name; 4]>,
    /// Names around it that its subgraphs use.
    pub captures: Vec<Name>,
    /// The rest, when anything changes; otherwise the message stays as it is.
    pub fields: Option<Box<Fields>>,
    /// Whether the outputs of the network depended on it in the file.
    pub needed: bool,
}

/// What a node has beside its inputs and outputs.
#[derive(Default)]
pub(super) struct Fields {
    pub name: String,
    pub op: String,
    pub domain: String,
    pub attributes: Vec<Attr>,
    /// Fields as they stand in the file.
    pub rest: Vec<Range<usize>>,
}

/// An attribute: its message without its name.
#[derive(Clone)]
pub(super) struct Attr {
    pub name: String,
    pub rope: Rope,
}

/// What names mean in a body that takes the place of its node.
pub(super) struct Scope<'s> {
    names: HashMap<Name, Name>,
    /// Of the branch of an If, what is around it.
    outer: Option<&'s Scope<'s>>,
    /// What a function was called with.
    arguments: Option<&'s HashMap<String, Rope>>,
    prefix: String,
    main: bool,
}

impl Scope<'_> {
    pub fn main() -> Self {
        let (names, prefix) = (HashMap::new(), String::new());
        Self { names, outer: None, arguments: None, prefix, main: true }
    }

    /// The new name; `None` where names stay.
    fn get(&self, name: Name) -> Option<Name> {
        match (self.names.get(&name), self.outer) {
            (Some(name), _) => Some(*name),
            (None, Some(outer)) => outer.get(name),
            (None, None) if self.main || name.is_empty() => None,
            // An input that the function was called without.
            (None, None) => Some(Name::EMPTY),
        }
    }

    /// [`get`](Self::get) of a text.
    fn text(&self, names: &Names, text: &str) -> Option<String> {
        self.get(names.find(text)).map(|new| names.text(new).to_string())
    }

    fn renamed(&self, name: Name) -> Name {
        self.get(name).unwrap_or(name)
    }
}

impl Item {
    /// Names of the tensors that it uses.
    pub fn reads(&self) -> impl Iterator<Item = Name> {
        self.inputs.iter().chain(&self.captures).copied().filter(|n| !n.is_empty())
    }

    /// Its message.
    pub fn message(&self, names: &Names) -> Rope {
        let mut rope = Rope::default();
        let Some(fields) = &self.fields else {
            rope.copy(self.message.clone());
            return rope;
        };
        self.inputs.iter().for_each(|name| rope.text(NODE_INPUT, names.text(*name)));
        self.outputs.iter().for_each(|name| rope.text(NODE_OUTPUT, names.text(*name)));
        for (number, text) in
            [(NODE_NAME, &fields.name), (NODE_OP, &fields.op), (NODE_DOMAIN, &fields.domain)]
        {
            if !text.is_empty() {
                rope.text(number, text);
            }
        }
        for attribute in &fields.attributes {
            rope.message(NODE_ATTRIBUTE, attribute.message());
        }
        fields.rest.iter().for_each(|range| rope.copy(range.clone()));
        rope
    }
}

impl Attr {
    fn message(&self) -> Rope {
        let mut rope = Rope::default();
        rope.text(ATTRIBUTE_NAME, &self.name);
        rope.append(self.rope.clone());
        rope
    }
}

/// The attribute of a Constant node that holds a tensor.
fn tensor_attribute(tensor: Rope) -> Attr {
    let mut rope = Rope::default();
    rope.message(ATTRIBUTE_TENSOR, tensor);
    // The kind of attribute.
    rope.number(20, 4);
    Attr { name: "value".into(), rope }
}

/// Maps names; `None` where they stay.
type Renaming<'n> = &'n dyn Fn(&str) -> Option<String>;

impl<'a> Editor<'a> {
    /// The nodes and tensors of the graph, with the bodies of expanded nodes in their place.
    pub(super) fn flatten_all(&mut self) -> Result<(), WriteError> {
        self.items.clear();
        self.held.clear();
        self.infos.clear();
        self.named = vec![None; self.graph.values().len()];
        self.ids = Table::default();
        self.taken = self.all_names()?;
        for id in self.graph.inputs() {
            self.define_input(*id);
        }
        // Weights that are given as inputs stand nowhere.
        for (id, value) in (0u32..).map(ValueId).zip(self.graph.values()) {
            let stored = self.original.origins.stored.contains_key(&id);
            if value.producer.is_none() && value.is_constant() && !stored {
                self.define_input(id);
            }
        }
        self.tensors(MAIN, &Scope::main())?;
        self.flatten(MAIN, &Scope::main())
    }

    fn define(&mut self, name: Name, id: ValueId) {
        if !name.is_empty() {
            if let Some(named) = self.named.get_mut(id.index()) {
                named.get_or_insert(name);
            }
            self.ids.insert_first(name, id);
        }
    }

    fn define_input(&mut self, id: ValueId) {
        let name = self.names.intern(&*self.graph.value(id).name);
        self.define(name, id);
    }

    /// A node that is added.
    pub(super) fn added(&self, op: &'static str, inputs: &[Name], output: Name) -> Item {
        let name = self.names.text(output).to_string();
        let fields = Fields { name, op: op.into(), ..Fields::default() };
        Item {
            place: None,
            message: 0..0,
            inputs: SmallVec::from_slice(inputs),
            outputs: smallvec![output],
            captures: Vec::new(),
            fields: Some(Box::new(fields)),
            needed: true,
        }
    }

    /// A Constant node that is added.
    pub(super) fn constant(&self, name: Name, tensor: Rope) -> Item {
        let mut item = self.added("Constant", &[], name);
        if let Some(fields) = &mut item.fields {
            fields.attributes.push(tensor_attribute(tensor));
        }
        item
    }

    /// Names that are taken: those of the graph, and those in the subgraphs of its nodes.
    fn all_names(&mut self) -> Result<Set, WriteError> {
        let mut texts = Vec::new();
        let Some(main) = self.original.contents.first() else { return Ok(Set::default()) };
        for graph in &main.messages {
            self.defined_in(graph.clone(), &mut texts)?;
        }
        for (index, node) in (0..).zip(&main.nodes) {
            let place = Place { context: MAIN, index };
            let inlined = self.original.origins.inlined.get(&place);
            if inlined.is_some_and(|c| self.expanded.contains(c)) {
                continue;
            }
            let mut nodes = vec![node.clone()];
            while let Some(node) = nodes.pop() {
                for attribute in self.original.messages(node, NODE_ATTRIBUTE)? {
                    for graph in self.original.graphs(attribute)? {
                        self.defined_in(graph.clone(), &mut texts)?;
                        nodes.extend(self.original.messages(graph, GRAPH_NODE)?);
                    }
                }
            }
        }
        Ok(texts.into_iter().map(|text| self.names.intern(text)).collect())
    }

    /// Names that a graph defines.
    fn defined_in(
        &self,
        graph: Range<usize>,
        names: &mut impl Extend<Cow<'a, str>>,
    ) -> Result<(), WriteError> {
        for field in self.original.fields(graph)? {
            let Some(content) = field.content() else { continue };
            match field.number {
                GRAPH_NODE => {
                    for output in self.original.messages(content, NODE_OUTPUT)? {
                        names.extend([self.original.as_text(output)]);
                    }
                }
                GRAPH_INITIALIZER => names.extend([self.original.text(content, TENSOR_NAME)?]),
                GRAPH_SPARSE => {
                    for values in self.original.messages(content, 1)? {
                        names.extend([self.original.text(values, TENSOR_NAME)?]);
                    }
                }
                super::GRAPH_INPUT => names.extend([self.original.text(content, 1)?]),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes over the initialisers of a context and what it says of tensors.
    fn tensors(&mut self, context: ContextId, scope: &Scope) -> Result<(), WriteError> {
        let Some(contents) = self.original.contents.get(context as usize).cloned() else {
            return Ok(());
        };
        let renamed = !scope.main;
        let all = contents.tensors.iter().map(|t| (t, false));
        let all = all.chain(contents.sparse.iter().map(|t| (t, true)));
        for (index, (tensor, sparse)) in (0..).zip(all) {
            let id = self.slots.get(&Slot::Initialiser(Place { context, index })).copied();
            let named = match sparse {
                true => self.original.messages(tensor.clone(), 1)?.pop().unwrap_or(0..0),
                false => tensor.clone(),
            };
            let name = scope.renamed(self.names.intern(self.original.text(named, TENSOR_NAME)?));
            if let Some(id) = id {
                self.define(name, id);
            }
            let text = self.names.text(name);
            let new_name = renamed.then_some(text);
            let message = match id.and_then(|id| Some((id, self.edits.stored.get(&id)?))) {
                None if sparse && !renamed => {
                    let mut rope = Rope::default();
                    rope.copy(tensor.clone());
                    rope
                }
                _ if sparse => {
                    return Err(unrepresentable(format!("sparse tensor '{text}' is cut")));
                }
                None => self.kept_tensor(tensor.clone(), id, new_name)?,
                Some((_, Content::Cut { of, cut })) => {
                    let value = self.graph.value(*of);
                    self.cut_tensor(tensor.clone(), value, cut, new_name)?
                }
                Some((_, content @ Content::New { .. })) => {
                    self.new_tensor(tensor, content, new_name)?
                }
            };
            // Before this version initialisers had to be inputs, which these were not.
            if renamed && self.ir_version < super::FREE_INITIALISERS {
                self.items.push(self.constant(name, message));
            } else {
                self.held.push(Held { name, message, sparse });
            }
        }
        let number = match self.original.origins.contexts.get(context as usize).map(|c| c.body) {
            Some(Body::Function) => super::FUNCTION_VALUE_INFO,
            _ => GRAPH_VALUE_INFO,
        };
        for message in &contents.messages {
            for content in self.original.messages(message.clone(), number)? {
                let name =
                    scope.renamed(self.names.intern(self.original.text(content.clone(), 1)?));
                self.infos.push(Info { name, content, renamed });
            }
        }
        Ok(())
    }

    /// A tensor that stays as it is, inside the file.
    fn kept_tensor(
        &self,
        tensor: Range<usize>,
        id: Option<ValueId>,
        name: Option<&str>,
    ) -> Result<Rope, WriteError> {
        let external = self.is_external(tensor.clone())?;
        match id.map(|id| self.graph.value(id)) {
            Some(value) if external => {
                self.cut_tensor(tensor, value, &value.shape.iter().map(|_| None).collect(), name)
            }
            _ => {
                let mut rope = Rope::default();
                for field in self.original.fields(tensor)? {
                    if name.is_none() || field.number != TENSOR_NAME {
                        rope.copy(field.start..field.end);
                    }
                }
                if let Some(name) = name {
                    rope.text(TENSOR_NAME, name);
                }
                Ok(rope)
            }
        }
    }

    /// Whether the elements of a tensor stand in another file.
    fn is_external(&self, tensor: Range<usize>) -> Result<bool, WriteError> {
        Ok(self.original.fields(tensor)?.iter().any(|f| f.number == 14 && f.value == 1))
    }

    /// A tensor with new elements that keeps its name and documentation.
    fn new_tensor(
        &self,
        tensor: &Range<usize>,
        content: &Content,
        name: Option<&str>,
    ) -> Result<Rope, WriteError> {
        let mut rope = self.tensor_of(content, name)?;
        for field in self.original.fields(tensor.clone())? {
            let kept = match field.number {
                TENSOR_NAME => name.is_none(),
                1..=11 | 13 | 14 => false,
                _ => true,
            };
            if kept {
                rope.copy(field.start..field.end);
            }
        }
        Ok(rope)
    }

    fn flatten(&mut self, context: ContextId, scope: &Scope) -> Result<(), WriteError> {
        let Some(contents) = self.original.contents.get(context as usize).cloned() else {
            return Ok(());
        };
        for (index, message) in (0..).zip(&contents.nodes) {
            let place = Place { context, index };
            let item = self.item(place, message.clone(), scope)?;
            let inlined = self.original.origins.inlined.get(&place).copied();
            match inlined.filter(|c| self.expanded.contains(c)) {
                Some(inner) => self.inline(inner, &item, scope)?,
                None => {
                    self.define_outputs(place, &item)?;
                    self.items.push(item);
                }
            }
        }
        Ok(())
    }

    fn item(
        &mut self,
        place: Place,
        message: Range<usize>,
        scope: &Scope,
    ) -> Result<Item, WriteError> {
        let (mut inputs, mut outputs) = (SmallVec::new(), SmallVec::new());
        let mut captures = Vec::new();
        for field in self.original.fields(message.clone())? {
            let Some(content) = field.content() else { continue };
            match field.number {
                NODE_INPUT | NODE_OUTPUT => {
                    let name = self.names.intern(self.original.as_text(content));
                    let names = if field.number == NODE_INPUT { &mut inputs } else { &mut outputs };
                    names.push(scope.renamed(name));
                }
                NODE_ATTRIBUTE => {
                    for graph in self.original.graphs(content)? {
                        self.free(graph, &mut captures)?;
                    }
                }
                _ => {}
            }
        }
        let captures = captures.into_iter().map(|n| scope.renamed(self.names.intern(n))).collect();
        let fields = match scope.main {
            true => None,
            false => {
                let names = |name: &str| scope.text(&self.names, name);
                Some(Box::new(self.fields_of(message.clone(), &names, scope)?))
            }
        };
        Ok(Item { place: Some(place), message, inputs, outputs, captures, fields, needed: true })
    }

    /// The other fields of a node.
    fn fields_of(
        &self,
        message: Range<usize>,
        names: Renaming,
        scope: &Scope,
    ) -> Result<Fields, WriteError> {
        let mut fields = Fields::default();
        for field in self.original.fields(message)? {
            match (field.number, field.content()) {
                (NODE_INPUT | NODE_OUTPUT, _) => {}
                (NODE_NAME, Some(text)) => fields.name = self.original.as_text(text).into(),
                (NODE_OP, Some(text)) => fields.op = self.original.as_text(text).into(),
                (NODE_DOMAIN, Some(text)) => fields.domain = self.original.as_text(text).into(),
                (NODE_ATTRIBUTE, Some(content)) => {
                    fields.attributes.extend(self.attr(content, names, scope.arguments)?);
                }
                _ => fields.rest.push(field.start..field.end),
            }
        }
        if !scope.prefix.is_empty() && !fields.name.is_empty() {
            fields.name = format!("{}{}", scope.prefix, fields.name);
        }
        Ok(fields)
    }

    /// An attribute with other names; `None` when it stands for one that was not given.
    fn attr(
        &self,
        attribute: Range<usize>,
        names: Renaming,
        arguments: Option<&HashMap<String, Rope>>,
    ) -> Result<Option<Attr>, WriteError> {
        let name = self.original.text(attribute.clone(), ATTRIBUTE_NAME)?.into_owned();
        let reference = self.original.text(attribute.clone(), ATTRIBUTE_REFERENCE)?;
        if let (Some(arguments), false) = (arguments, reference.is_empty()) {
            let rope = arguments.get(&*reference).cloned();
            return Ok(rope.map(|rope| Attr { name, rope }));
        }
        let mut rope = Rope::default();
        for field in self.original.fields(attribute)? {
            match (field.number, field.content()) {
                (ATTRIBUTE_NAME, _) => {}
                (number @ (6 | 11), Some(graph)) => {
                    rope.message(number, self.graph_with(graph, names, arguments, false)?);
                }
                _ => rope.copy(field.start..field.end),
            }
        }
        Ok(Some(Attr { name, rope }))
    }

    /// A subgraph in which the names from around it are others. `relaxed`, it says nothing of
    /// shapes.
    pub(super) fn graph_with(
        &self,
        graph: Range<usize>,
        names: Renaming,
        arguments: Option<&HashMap<String, Rope>>,
        relaxed: bool,
    ) -> Result<Rope, WriteError> {
        let mut own = HashSet::new();
        self.defined_in(graph.clone(), &mut own)?;
        let names = |name: &str| if own.contains(name) { None } else { names(name) };
        let mut rope = Rope::default();
        for field in self.original.fields(graph)? {
            match (field.number, field.content()) {
                (GRAPH_NODE, Some(node)) => {
                    let mut message = Rope::default();
                    for field in self.original.fields(node)? {
                        match (field.number, field.content()) {
                            (NODE_INPUT, Some(text)) => {
                                let old = self.original.as_text(text);
                                let new = names(&old);
                                message.text(NODE_INPUT, new.as_deref().unwrap_or(&old));
                            }
                            (NODE_ATTRIBUTE, Some(content)) => {
                                if let Some(attr) = self.attr(content, &names, arguments)? {
                                    message.message(NODE_ATTRIBUTE, attr.message());
                                }
                            }
                            _ => message.copy(field.start..field.end),
                        }
                    }
                    rope.message(GRAPH_NODE, message);
                }
                (GRAPH_OUTPUT, Some(content)) => {
                    let old = self.original.text(content.clone(), 1)?;
                    let new = names(&old);
                    let message = match relaxed {
                        true => self.shapeless(content, new.as_deref())?,
                        false => self.info(content, Name::EMPTY, new.as_deref())?,
                    };
                    rope.message(GRAPH_OUTPUT, message);
                }
                (GRAPH_VALUE_INFO, _) if relaxed => {}
                _ => rope.copy(field.start..field.end),
            }
        }
        Ok(rope)
    }

    /// Names from around a graph that it uses.
    fn free(&self, graph: Range<usize>, found: &mut Vec<Cow<'a, str>>) -> Result<(), WriteError> {
        let mut own = HashSet::new();
        self.defined_in(graph.clone(), &mut own)?;
        let mut used = Vec::new();
        for field in self.original.fields(graph)? {
            let Some(content) = field.content() else { continue };
            if field.number == GRAPH_OUTPUT {
                used.push(self.original.text(content, 1)?);
            } else if field.number == GRAPH_NODE {
                for field in self.original.fields(content)? {
                    let Some(content) = field.content() else { continue };
                    match field.number {
                        NODE_INPUT => used.push(self.original.as_text(content)),
                        NODE_ATTRIBUTE => {
                            for graph in self.original.graphs(content)? {
                                self.free(graph, &mut used)?;
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        used.retain(|name| !name.is_empty() && !own.contains(name));
        found.extend(used);
        Ok(())
    }

    /// Notes which tensors of the network the outputs of a node are.
    fn define_outputs(&mut self, place: Place, item: &Item) -> Result<(), WriteError> {
        let (original, graph) = (self.original, self.graph);
        let stored;
        let ids: &[Option<ValueId>] = if let Some(ids) = original.origins.results.get(&place) {
            ids
        } else if let Some(&id) = self.slots.get(&Slot::Constant(place)) {
            stored = [Some(id)];
            &stored
        } else if let Some(node) = self.nodes.get(place).map(|node| &graph.nodes()[node]) {
            // What puts out a sequence became a Split, whose outputs have no names there.
            let op = || original.text(item.message.clone(), NODE_OP);
            if node.op == OpType::Split && op()? == "SplitToSequence" {
                return Ok(());
            }
            &node.outputs
        } else {
            return Ok(());
        };
        for (&name, id) in item.outputs.iter().zip(ids) {
            if let Some(id) = *id {
                self.define(name, id);
            }
        }
        Ok(())
    }

    /// Puts the body of a call or an If in its place.
    fn inline(&mut self, context: ContextId, item: &Item, scope: &Scope) -> Result<(), WriteError> {
        let (Some(contents), Some(body)) = (
            self.original.contents.get(context as usize).cloned(),
            self.original.origins.contexts.get(context as usize).map(|c| c.body),
        ) else {
            return Ok(());
        };
        let original = self.original;
        let texts = |number: u32| -> Result<Vec<Cow<'a, str>>, WriteError> {
            let mut found = Vec::new();
            for message in &contents.messages {
                for text in original.messages(message.clone(), number)? {
                    found.push(original.as_text(text));
                }
            }
            Ok(found)
        };
        let branch = body != Body::Function;
        let (mut names, mut arguments) = (HashMap::new(), HashMap::new());
        let mut prefix = scope.prefix.clone();
        let results = if branch {
            let mut results = Vec::new();
            for message in &contents.messages {
                for output in self.original.messages(message.clone(), GRAPH_OUTPUT)? {
                    results.push(self.original.text(output, 1)?);
                }
            }
            results
        } else {
            for (name, given) in texts(4)?.into_iter().zip(&item.inputs) {
                names.insert(self.names.intern(name), *given);
            }
            let function = contents.messages.first().cloned().unwrap_or(0..0);
            for default in self.original.messages(function, 11)? {
                if let Some(attr) = self.attr(default, &|_| None, None)? {
                    arguments.insert(attr.name, attr.rope);
                }
            }
            let names = |name: &str| scope.text(&self.names, name);
            let own = self.fields_of(item.message.clone(), &names, scope)?;
            arguments.extend(own.attributes.into_iter().map(|a| (a.name, a.rope)));
            prefix = match &*own.name {
                "" => format!("{prefix}{}/", own.op),
                name => format!("{name}/"),
            };
            texts(5)?
        };
        let results: Vec<Name> = results.into_iter().map(|text| self.names.intern(text)).collect();
        let results: Vec<(Name, Name)> =
            results.into_iter().zip(item.outputs.iter().copied()).collect();
        // The first output of a name gives it; what the body does not compute passes through.
        let mut given: HashMap<Name, Name> = HashMap::new();
        for (result, output) in results.iter().filter(|(_, output)| !output.is_empty()) {
            given.entry(*result).or_insert(*output);
        }
        let mut own = HashSet::new();
        match branch {
            true => {
                for message in &contents.messages {
                    self.defined_in(message.clone(), &mut own)?;
                }
            }
            false => {
                for node in &contents.nodes {
                    for output in self.original.messages(node.clone(), NODE_OUTPUT)? {
                        own.insert(self.original.as_text(output));
                    }
                }
            }
        }
        let mut own: Vec<Cow<str>> = own.into_iter().filter(|name| !name.is_empty()).collect();
        own.sort_unstable();
        for text in own {
            let name = self.names.intern(text.clone());
            let new = match given.get(&name) {
                Some(output) => *output,
                None => self.fresh(&format!("{prefix}{text}")),
            };
            names.insert(name, new);
        }
        let outer = branch.then_some(scope);
        let arguments = if branch { scope.arguments } else { Some(&arguments) };
        let inner = Scope { names, outer, arguments, prefix, main: false };
        self.tensors(context, &inner)?;
        self.flatten(context, &inner)?;
        for (result, output) in results.into_iter().filter(|(_, output)| !output.is_empty()) {
            let from = inner.renamed(result);
            if from != output {
                if let Some(&id) = self.ids.get(from) {
                    self.define(output, id);
                }
                self.items.push(self.added("Identity", &[from], output));
            }
        }
        Ok(())
    }

    /// Takes the message of a node apart, so that it can change.
    pub(super) fn make_editable(&mut self, at: usize) -> Result<(), WriteError> {
        if self.items[at].fields.is_none() {
            let message = self.items[at].message.clone();
            let fields = self.fields_of(message, &|_| None, &Scope::main())?;
            self.items[at].fields = Some(Box::new(fields));
        }
        Ok(())
    }

    /// The attributes of a node of the graph with other names in its subgraphs.
    pub(super) fn attributes_with(
        &self,
        at: usize,
        names: Renaming,
    ) -> Result<Vec<Attr>, WriteError> {
        let item = &self.items[at];
        if item.place.is_some_and(|place| place.context != MAIN) {
            return Err(unrepresentable("a subgraph in a function uses what is left out"));
        }
        Ok(self.fields_of(item.message.clone(), names, &Scope::main())?.attributes)
    }

    /// Gives a Constant node another tensor.
    pub(super) fn edit_constant(
        &mut self,
        at: usize,
        id: ValueId,
        content: &Content,
    ) -> Result<(), WriteError> {
        let message = match (self.original.tensor(id)?, content) {
            (Some(tensor), Content::Cut { of, cut }) if *of == id => {
                self.cut_tensor(tensor, self.graph.value(id), cut, None)?
            }
            (Some(tensor), content @ Content::New { .. }) => {
                self.new_tensor(&tensor, content, None)?
            }
            (_, content) => self.tensor_of(content, None)?,
        };
        self.make_editable(at)?;
        if let Some(fields) = &mut self.items[at].fields {
            fields.attributes = vec![tensor_attribute(message)];
        }
        Ok(())
    }

    /// Sets an attribute, or takes it away.
    pub(super) fn set_attribute(
        &mut self,
        at: usize,
        name: &str,
        value: Option<&Attribute>,
        first: &mut Vec<Item>,
    ) -> Result<(), WriteError> {
        let op = self.items[at].fields.as_ref().map(|f| f.op.to_string());
        // Its sizes are an input, whatever a Split does.
        if let (Some("SplitToSequence"), "split", Some(Attribute::Ints(sizes))) =
            (op.as_deref(), name, value)
        {
            let content = Content::New {
                dtype: DataType::Int64,
                shape: Shape::from_slice(&[sizes.len()]),
                data: TensorData::Ints(sizes.to_vec()),
            };
            let sizes = self.add(&More { like: None, content }, first)?;
            let inputs = &mut self.items[at].inputs;
            inputs.truncate(1);
            inputs.push(sizes);
            return Ok(());
        }
        let message = match value {
            Some(value) => encode(&write::attribute("", value))?,
            None => Vec::new(),
        };
        let documentation = self.documentation(at, name)?;
        let Some(fields) = &mut self.items[at].fields else { return Ok(()) };
        let place = fields.attributes.iter().position(|a| a.name == name);
        if value.is_none() {
            fields.attributes.retain(|a| a.name != name);
            return Ok(());
        }
        let mut rope = Rope::default();
        rope.bytes(&message);
        documentation.into_iter().for_each(|range| rope.copy(range));
        let attr = Attr { name: name.to_string(), rope };
        match place {
            Some(place) => fields.attributes[place] = attr,
            None => fields.attributes.push(attr),
        }
        Ok(())
    }

    /// The documentation of an attribute.
    fn documentation(&self, at: usize, name: &str) -> Result<Option<Range<usize>>, WriteError> {
        let message = self.items[at].message.clone();
        let Some(attribute) = self.original.attribute(message, name)? else { return Ok(None) };
        let fields = self.original.fields(attribute)?;
        let found = fields.iter().find(|f| f.number == ATTRIBUTE_DOC);
        Ok(found.map(|f| f.start..f.end))
    }

    /// Gives a node another operator.
    pub(super) fn replace_operator(
        &mut self,
        at: usize,
        node: usize,
        replacement: &Replacement,
        first: &mut Vec<Item>,
    ) -> Result<(), WriteError> {
        let replaced = self.edits.instead.iter().find(|(old, _)| *old == replacement.x);
        let x = replaced.map_or(replacement.x, |(_, new)| *new);
        let x = self.name(x).ok_or_else(|| {
            let name = &self.graph.nodes()[node].name;
            unrepresentable(format!("what node '{name}' is applied to has no name"))
        })?;
        let mut inputs = smallvec![x];
        if let Some(gate) = &replacement.gate {
            let stem = format!("{}/{}", self.names.text(x), gate.name().to_lowercase());
            let name = self.fresh(&stem);
            let mut item = self.added("", &[x], name);
            if let Some(fields) = &mut item.fields {
                fields.op = gate.name().to_string();
            }
            first.push(item);
            inputs.push(name);
        }
        let item = &mut self.items[at];
        item.inputs = inputs;
        if let Some(fields) = &mut item.fields {
            fields.op = replacement.op.name().to_string();
            fields.domain = String::new();
            fields.attributes.clear();
        }
        Ok(())
    }

    /// Whether the nodes of the branch `name` take tensors of any shape.
    pub(super) fn fits_any_shape(&self, item: &Item, name: &str) -> Result<bool, WriteError> {
        const ANY: [&str; 13] = [
            "Cast",
            "Clip",
            "Constant",
            "Flatten",
            "Identity",
            "Relu",
            "ReduceMax",
            "ReduceMean",
            "ReduceSum",
            "Shape",
            "Sigmoid",
            "Squeeze",
            "Unsqueeze",
        ];
        let Some(attribute) = self.original.attribute(item.message.clone(), name)? else {
            return Ok(true);
        };
        for graph in self.original.graphs(attribute)? {
            for node in self.original.messages(graph, GRAPH_NODE)? {
                if !ANY.contains(&&*self.original.key(node, [NODE_DOMAIN, NODE_OP, 8])?.1) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
