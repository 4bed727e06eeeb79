//! Drives a [`Builder`] through the nodes, inlining local functions and branches on the way.

mod sequences;

use super::ReadOptions;
use super::decode::{
    Argument, Body, Dim, Function, Graph, Info, Model, Node, Tensor, check_elements,
};
use super::error::{ReadError, Reason, UnknownOperator, invalid, limit};
use super::external::External;
use super::inputs::{self, Symbols};
use super::limits::{MAX_CALLS, MAX_FOLDING, MAX_NODES, MAX_STRUCTURE};
use super::origins::{Body as Inlined, Origins, Slot};
use crate::model_graph::{
    Attribute, Attributes, Builder, DataType, ModelGraph, OpType, Shape, TensorData, Value, ValueId,
};
use smallvec::SmallVec;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Builds the network that the (sorted) records describe, and tells where its parts came from.
///
/// # Errors
/// When inputs stay free, operators are unknown or an operator cannot take its inputs.
pub(super) fn import(
    model: &Model,
    name: &str,
    options: &ReadOptions,
    external: External,
) -> Result<(ModelGraph, Origins), ReadError> {
    let graph = &model.graph;
    let constants: HashSet<_> = graph.constants.iter().map(|c| c.name.as_str()).collect();
    let inputs: Vec<&Info> =
        graph.inputs.iter().filter(|i| !constants.contains(i.name.as_str())).collect();
    let functions = model.functions.iter().map(|f| (f.key(), f)).collect();
    let mut importer = Importer {
        model,
        functions,
        options,
        symbols: Symbols::new(),
        external,
        builder: Builder::new(name, model.opset),
        origins: Origins::new(),
        initialisers: graph.constants.iter().any(is_weight),
        calls: Vec::new(),
        checked: HashSet::new(),
        nodes: 0,
        structure: 0,
        folding: 0,
    };
    importer.check_operators(&graph.body)?;
    let (settled, symbols) = inputs::settle(&inputs, options)?;
    importer.symbols = symbols;

    let mut scope = Scope::default();
    for (input, (dtype, shape)) in inputs.iter().zip(&settled) {
        let id = importer.builder.input(&input.name, *dtype, shape);
        scope.values.insert(&input.name, Binding::Tensor(id));
    }
    importer.constants(graph, &mut scope, "")?;
    importer.body(&graph.body, &mut scope, "", &[])?;
    for output in &graph.outputs {
        let id = scope.get(&output.name).ok_or_else(|| unproduced(&output.name))?;
        importer.builder.output(id);
    }
    Ok((importer.builder.finish(), importer.origins))
}

fn is_weight(tensor: &Tensor) -> bool {
    tensor.dtype.is_float() && tensor.shape.iter().any(|&size| size > 1)
}

fn unproduced(name: &str) -> ReadError {
    invalid(format!("'{name}' is used, but nothing produces it"))
}

/// What a name stands for.
#[derive(Clone)]
enum Binding {
    /// An input that a function was called without.
    Absent,
    Tensor(ValueId),
    Sequence(Rc<[ValueId]>),
}

/// The values that can be named at one place.
#[derive(Default)]
struct Scope<'m, 'o> {
    values: HashMap<&'m str, Binding>,
    outer: Option<&'o Scope<'m, 'o>>,
}

impl Scope<'_, '_> {
    fn binding(&self, name: &str) -> Option<&Binding> {
        self.values.get(name).or_else(|| self.outer?.binding(name))
    }

    fn get(&self, name: &str) -> Option<ValueId> {
        match self.binding(name)? {
            Binding::Tensor(id) => Some(*id),
            _ => None,
        }
    }

    fn sequence(&self, name: &str) -> Option<&[ValueId]> {
        match self.binding(name)? {
            Binding::Sequence(parts) => Some(parts),
            _ => None,
        }
    }
}

/// Attributes that a function was called with, by name.
type Arguments<'m> = [(&'m str, &'m Argument)];

type FunctionKey<'m> = (&'m str, &'m str, &'m str);

impl Function {
    fn key(&self) -> FunctionKey<'_> {
        (&self.domain, &self.name, &self.overload)
    }
}

struct Importer<'m> {
    model: &'m Model,
    functions: HashMap<FunctionKey<'m>, &'m Function>,
    options: &'m ReadOptions,
    symbols: Symbols<'m>,
    external: External,
    builder: Builder,
    origins: Origins,
    /// Whether the file stores its weights as initialisers.
    initialisers: bool,
    /// The functions being inlined.
    calls: Vec<FunctionKey<'m>>,
    /// Functions whose operators are known.
    checked: HashSet<FunctionKey<'m>>,
    // Inlining can repeat a small body without end, so what comes of it is counted:
    /// nodes met,
    nodes: u64,
    /// bytes that the network takes, roughly,
    structure: u64,
    /// and elements that constant folding may have read.
    folding: u64,
}

impl<'m> Importer<'m> {
    fn function(&self, node: &'m Node) -> Option<&'m Function> {
        self.functions.get(&(&*node.domain, &*node.op, &*node.overload)).copied()
    }

    /// An error that lists all unknown operators of `body` and of the functions it calls.
    /// Branches are looked at when they are taken.
    fn check_operators(&mut self, body: &'m Body) -> Result<(), ReadError> {
        if self.options.allow_unknown {
            return Ok(());
        }
        let mut unknown = Vec::new();
        let mut bodies = vec![body];
        while let Some(body) = bodies.pop() {
            for node in &body.nodes {
                if let Some(function) = self.function(node) {
                    if self.checked.insert(function.key()) {
                        bodies.push(&function.body);
                    }
                } else if !is_if(node)
                    && !sequences::is_sequence(node)
                    && node.op_type().is_unknown()
                {
                    unknown.push(UnknownOperator {
                        node: match node.name.as_str() {
                            "" => node.outputs.first().cloned().unwrap_or_default(),
                            name => name.to_string(),
                        },
                        op: node.op_type(),
                        opset: match node.domain.as_str() {
                            "" => Some(self.model.opset),
                            domain => self.model.domains.get(domain).copied(),
                        },
                    });
                }
            }
        }
        if unknown.is_empty() { Ok(()) } else { Err(Reason::UnknownOperators(unknown).into()) }
    }

    fn constants(
        &mut self,
        graph: &'m Graph,
        scope: &mut Scope<'m, '_>,
        prefix: &str,
    ) -> Result<(), ReadError> {
        for (index, tensor) in (0..).zip(&graph.constants) {
            self.spend(8 * tensor.data.as_ref().map_or(0, TensorData::len))?;
            let name = self.name(prefix, &tensor.name)?;
            let data = tensor.data.clone();
            let id = self.builder.constant(&name, tensor.dtype, &tensor.shape, data);
            self.origins.stored.insert(id, Slot::Initialiser(self.origins.here(index)));
            scope.values.insert(&tensor.name, Binding::Tensor(id));
        }
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), ReadError> {
        self.structure = self.structure.saturating_add(bytes as u64);
        if self.structure > MAX_STRUCTURE {
            let what = "the network takes too many bytes once functions are inlined";
            return Err(limit(what, MAX_STRUCTURE));
        }
        Ok(())
    }

    /// The name of a node or a value to be added.
    fn name(&mut self, prefix: &str, name: &str) -> Result<String, ReadError> {
        self.spend(size_of::<Value>() + prefix.len() + name.len())?;
        Ok(format!("{prefix}{name}"))
    }

    /// Adds the nodes of `body`; their names get `prefix`.
    fn body(
        &mut self,
        body: &'m Body,
        scope: &mut Scope<'m, '_>,
        prefix: &str,
        arguments: &Arguments<'m>,
    ) -> Result<(), ReadError> {
        for node in &body.nodes {
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                return Err(limit("too many nodes once functions are inlined", MAX_NODES));
            }
            if let Some(function) = self.function(node) {
                self.call(function, node, scope, prefix, arguments)?;
            } else if is_if(node) {
                self.branch(node, scope, prefix, arguments)?;
            } else if sequences::is_sequence(node) {
                self.sequence(node, scope, prefix, arguments)?;
            } else if node.domain.is_empty() && node.op == "Constant" {
                self.constant(node, scope, prefix, arguments)?;
            } else {
                self.node(node, body, scope, prefix, arguments)?;
            }
        }
        Ok(())
    }

    fn node(
        &mut self,
        node: &'m Node,
        body: &'m Body,
        scope: &mut Scope<'m, '_>,
        prefix: &str,
        arguments: &Arguments<'m>,
    ) -> Result<(), ReadError> {
        let op = node.op_type();
        let mut names: SmallVec<[&str; 3]> = node.inputs.iter().map(String::as_str).collect();
        if op.is_unknown() {
            // What its subgraphs use counts as its inputs, so that it does not look unused.
            names.extend(node.captures.iter().map(String::as_str));
        }
        let inputs: SmallVec<[Option<ValueId>; 3]> =
            names.iter().map(|name| if name.is_empty() { None } else { scope.get(name) }).collect();
        let mut attributes = Attributes::new();
        for (name, argument) in &node.arguments {
            if let Some(Argument::Plain(attribute)) = resolve(argument, arguments) {
                self.spend(size(attribute))?;
                attributes.insert(name.clone(), attribute.clone());
            }
        }
        let mut outputs: SmallVec<[Option<String>; 1]> = SmallVec::new();
        for name in &node.outputs {
            let present = !name.is_empty();
            outputs.push(if present { Some(self.name(prefix, name)?) } else { None });
        }
        let declared: SmallVec<[Option<(DataType, Shape)>; 1]> =
            node.outputs.iter().map(|name| self.declared(body.declared.get(name)?)).collect();
        let ids = self.add(node, prefix, op, attributes, inputs, &outputs, &declared)?;
        for (name, id) in node.outputs.iter().zip(ids) {
            if let Some(id) = id {
                scope.values.insert(name, Binding::Tensor(id));
            }
        }
        Ok(())
    }

    /// Adds a node that comes from `node` in the file.
    #[allow(clippy::too_many_arguments)]
    fn add(
        &mut self,
        node: &Node,
        prefix: &str,
        op: OpType,
        attributes: Attributes,
        inputs: SmallVec<[Option<ValueId>; 3]>,
        outputs: &[Option<String>],
        declared: &[Option<(DataType, Shape)>],
    ) -> Result<SmallVec<[Option<ValueId>; 1]>, ReadError> {
        // More than the bytes of an index: inference takes time over each input.
        self.spend(64 * inputs.len())?;
        for id in inputs.iter().flatten() {
            let known = self.builder.value(*id).data().map_or(0, TensorData::len);
            self.folding = self.folding.saturating_add(known as u64);
        }
        if self.folding > MAX_FOLDING {
            return Err(limit("folding constants takes too many steps", MAX_FOLDING));
        }
        let name = self.name(prefix, &node.name)?;
        let outputs: SmallVec<[Option<&str>; 1]> = outputs.iter().map(Option::as_deref).collect();
        let ids = self
            .builder
            .named_node(&name, op, attributes, inputs, &outputs, declared)
            .map_err(|mut error| {
                if node.name.is_empty() {
                    error.node = node.outputs.first().cloned().unwrap_or_default();
                }
                Reason::Shape { error, missing: self.external.missing.clone() }
            })?;
        self.origins.nodes.push(self.origins.here(node.index));
        for id in ids.iter().flatten() {
            let value = self.builder.value(*id);
            check_elements(&value.name, &value.shape)?;
            self.external.keep(value.data().map_or(0, TensorData::len))?;
        }
        Ok(ids)
    }

    /// What the file says of a value, when that settles its shape.
    fn declared(&self, info: &Info) -> Option<(DataType, Shape)> {
        let size = |dim: &Dim| match dim {
            Dim::Known(size) => Some(*size),
            Dim::Symbol(symbol) => self.symbols.get(symbol.as_str()).copied(),
            Dim::Free => None,
        };
        let shape: Shape = info.dims.as_ref()?.iter().map(size).collect::<Option<_>>()?;
        check_elements(&info.name, &shape).ok()?;
        Some((info.dtype?, shape))
    }

    /// A Constant node holds a weight where the file has no initialisers, and a literal elsewhere:
    /// exporters write shifts and factors that a layer lacks as Constant nodes of zeros and ones,
    /// which nothing but this tells from trained ones in a file without its weights' elements.
    fn constant(
        &mut self,
        node: &'m Node,
        scope: &mut Scope<'m, '_>,
        prefix: &str,
        arguments: &Arguments<'m>,
    ) -> Result<(), ReadError> {
        let value = node.arguments.iter().find_map(|(_, a)| match resolve(a, arguments)? {
            Argument::Plain(attribute) => Some(attribute),
            _ => None,
        });
        let (Some(value), Some(output)) = (value, node.outputs.first()) else {
            return Err(invalid(format!("{} has no value or no output", node.label())));
        };
        self.spend(size(value))?;
        let (dtype, shape, data) = match value {
            Attribute::Tensor { dtype, shape, data } => (*dtype, shape.clone(), data.clone()),
            Attribute::Int(i) => (DataType::Int64, Shape::new(), Some(TensorData::Ints(vec![*i]))),
            Attribute::Float(x) => {
                (DataType::Float, Shape::new(), Some(TensorData::Floats(vec![f64::from(*x)])))
            }
            Attribute::Ints(v) => {
                let data =
                    (v.len() <= TensorData::MAX_ELEMENTS).then(|| TensorData::Ints(v.to_vec()));
                (DataType::Int64, Shape::from_slice(&[v.len()]), data)
            }
            Attribute::Floats(v) => {
                let data = (v.len() <= TensorData::MAX_ELEMENTS)
                    .then(|| TensorData::Floats(v.iter().map(|&x| x.into()).collect()));
                (DataType::Float, Shape::from_slice(&[v.len()]), data)
            }
            Attribute::String(_) => (DataType::String, Shape::new(), None),
            Attribute::Strings(v) => (DataType::String, Shape::from_slice(&[v.len()]), None),
        };
        let name = self.name(prefix, output)?;
        let id = if self.initialisers {
            self.builder.literal(&name, dtype, &shape, data)
        } else {
            self.builder.constant(&name, dtype, &shape, data)
        };
        self.origins.stored.insert(id, Slot::Constant(self.origins.here(node.index)));
        scope.values.insert(output, Binding::Tensor(id));
        Ok(())
    }

    /// Inlines the branch that an If with a known condition takes.
    fn branch(
        &mut self,
        node: &'m Node,
        scope: &mut Scope<'m, '_>,
        prefix: &str,
        arguments: &Arguments<'m>,
    ) -> Result<(), ReadError> {
        let decider = node.inputs.first().and_then(|name| scope.get(name));
        let condition = decider
            .and_then(|id| self.builder.value(id).data())
            .and_then(|data| data.get_f64(0))
            .ok_or_else(|| Reason::Unsupported {
                what: format!("{}: its condition depends on the network's inputs", node.label()),
                hint: Some("export the network with the branch decided".into()),
            })?;
        let name = if condition == 0.0 { "else_branch" } else { "then_branch" };
        let graph = node.argument(name).and_then(|a| resolve(a, arguments));
        let Some(Argument::Graph(graph)) = graph else {
            return Err(invalid(format!("{} has no {name}", node.label())));
        };
        if !graph.inputs.is_empty() || graph.outputs.len() != node.outputs.len() {
            return Err(invalid(format!(
                "{name} of {} has {} inputs and {} outputs instead of 0 and {}",
                node.label(),
                graph.inputs.len(),
                graph.outputs.len(),
                node.outputs.len()
            )));
        }
        self.check_operators(&graph.body)?;
        let mut inner = Scope { values: HashMap::new(), outer: Some(scope) };
        let outer = self.origins.enter(node.index, Inlined::Branch(name), decider);
        self.constants(graph, &mut inner, prefix)?;
        self.body(&graph.body, &mut inner, prefix, arguments)?;
        self.origins.current = outer;
        let results: Vec<Binding> =
            graph.outputs.iter().map(|o| bound(inner.binding(&o.name))).collect();
        self.results(node, &results);
        for (name, result) in node.outputs.iter().zip(results) {
            scope.values.insert(name, result);
        }
        Ok(())
    }

    /// Inlines a call of a function that the file defines.
    fn call(
        &mut self,
        function: &'m Function,
        node: &'m Node,
        scope: &mut Scope<'m, '_>,
        prefix: &str,
        arguments: &Arguments<'m>,
    ) -> Result<(), ReadError> {
        let key = function.key();
        if self.calls.contains(&key) {
            return Err(invalid(format!("function '{}' calls itself", function.name)));
        }
        if self.calls.len() >= MAX_CALLS {
            let what = format!("calls are nested too deeply at function '{}'", function.name);
            return Err(limit(what, MAX_CALLS as u64));
        }
        if node.inputs.len() > function.inputs.len() || node.outputs.len() > function.outputs.len()
        {
            return Err(invalid(format!(
                "{} gives function '{}' more inputs or outputs than it has",
                node.label(),
                function.name
            )));
        }
        self.spend(size_of::<&str>() * function.inputs.len())?;
        let mut inner = Scope::default();
        for (index, name) in function.inputs.iter().enumerate() {
            let value = node.inputs.get(index).and_then(|n| scope.binding(n));
            inner.values.insert(name, bound(value));
        }
        let own = node.arguments.iter().filter_map(|(n, a)| Some((&**n, resolve(a, arguments)?)));
        let defaults = function.defaults.iter().map(|(n, a)| (&**n, a));
        // The first of a name counts.
        let passed: Vec<_> = own.chain(defaults).collect();
        let own_name = if node.name.is_empty() { &function.name } else { &node.name };
        let prefix = self.name(prefix, own_name)? + "/";
        self.calls.push(key);
        let outer = self.origins.enter(node.index, Inlined::Function, None);
        self.body(&function.body, &mut inner, &prefix, &passed)?;
        self.origins.current = outer;
        self.calls.pop();
        let results: Vec<Binding> =
            function.outputs.iter().map(|result| bound(inner.binding(result))).collect();
        self.results(node, &results);
        for (name, result) in node.outputs.iter().zip(results) {
            if !name.is_empty() {
                scope.values.insert(name, result);
            }
        }
        Ok(())
    }

    /// Notes which tensors the outputs of a node stand for that becomes none itself.
    fn results(&mut self, node: &Node, results: &[Binding]) {
        let tensor = |binding: &Binding| match binding {
            Binding::Tensor(id) => Some(*id),
            _ => None,
        };
        let place = self.origins.here(node.index);
        self.origins.results.insert(place, results.iter().map(tensor).collect());
    }
}

fn bound(binding: Option<&Binding>) -> Binding {
    binding.cloned().unwrap_or(Binding::Absent)
}

fn is_if(node: &Node) -> bool {
    node.domain.is_empty() && node.op == "If"
}

/// What an attribute stands for inside a function; `None` when the call left it out.
fn resolve<'m>(argument: &'m Argument, arguments: &Arguments<'m>) -> Option<&'m Argument> {
    match argument {
        Argument::Reference(name) => {
            let (_, passed) = arguments.iter().find(|(n, _)| n == name)?;
            // A default that is itself a reference stands for nothing.
            (!matches!(passed, Argument::Reference(_))).then_some(*passed)
        }
        own => Some(own),
    }
}

/// Bytes that a copy of the attribute takes, roughly.
fn size(attribute: &Attribute) -> usize {
    let content = match attribute {
        Attribute::Int(_) | Attribute::Float(_) => 0,
        Attribute::String(s) => s.len(),
        Attribute::Ints(v) => 8 * v.len(),
        Attribute::Floats(v) => 4 * v.len(),
        Attribute::Strings(v) => v.iter().map(|s| s.len() + 16).sum(),
        Attribute::Tensor { data, .. } => 8 * data.as_ref().map_or(0, TensorData::len),
    };
    size_of::<Attribute>() + content
}
