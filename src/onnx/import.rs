//! Drives a [`Builder`] through the nodes, inlining local functions and branches on the way.

mod control;
mod sequences;

use super::ReadOptions;
use super::decode::{
    AttributeValue, Body, Dim, Function, Graph, Info, Model, Node, Tensor, check_elements,
};
use super::error::{ReadError, Reason, UnknownOperator, invalid, limit};
use super::inputs::{self, FreeInput, Symbols, Trial};
use super::limits::{MAX_CALLS, MAX_INLINED, MAX_NODES, MAX_STRUCTURE};
use super::names::{NameMap, NameSet, Word};
use super::origins::{Body as Inlined, Origins, Slot};
use super::weights::{self, Weights};
use crate::model_graph::{
    Attribute, Attributes, Builder, DataType, Kind, ModelGraph, OpType, RemarkKind, Shape,
    TensorData, Value, ValueId,
};
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::rc::Rc;

/// Builds the network that the (sorted) records describe, and tells where its parts came from. `faults` say why elements of
/// constants are not there.
///
/// # Errors
/// When inputs stay free, operators are unknown or an operator cannot take its inputs.
pub(super) fn import(
    model: &Model,
    name: &str,
    options: &ReadOptions,
    faults: &[String],
) -> Result<(ModelGraph, Origins), ReadError> {
    let attempt = |options: &ReadOptions, weights: &Weights| {
        Importer::run(model, name, options, faults, weights)
    };
    let none = Weights::default();
    let whole = attempt(options, &none).map_err(|error| match error.free_inputs() {
        Some(free) => try_sizes(model, options, free, |options| attempt(options, &none)),
        None => error,
    })?;
    // What this program writes has its weights as initialisers.
    if model.own {
        return Ok(whole);
    }
    // Inputs whose size is open are data.
    let sized = |dims: &[Dim]| dims.iter().all(|d| matches!(d, Dim::Known(_)));
    let fixed = model.graph.inputs.iter().filter(|i| i.dims.as_deref().is_some_and(sized));
    let weights = weights::find(&whole.0, &fixed.map(|i| &*i.name).collect());
    match weights.names.is_empty() && weights.doubtful.is_empty() {
        true => Ok(whole),
        false => attempt(options, &weights),
    }
}

/// The error for these free inputs, with sizes that fit, if one of the likely ones does.
fn try_sizes(
    model: &Model,
    options: &ReadOptions,
    free: &[FreeInput],
    attempt: impl Fn(&ReadOptions) -> Result<(ModelGraph, Origins), ReadError>,
) -> ReadError {
    // Each try takes time in proportion to the network.
    const EFFORT: usize = 200_000;
    let size = model.graph.body.nodes.len() + model.graph.inputs.len();
    let mut first = None;
    let mut tried = 0;
    for sizes in inputs::candidates(free).into_iter().take((EFFORT / size.max(1)).max(1)) {
        let mut options = options.clone();
        options.input_shapes.extend(free.iter().map(|input| input.option(sizes)));
        match attempt(&options) {
            Ok(_) => return Reason::FreeDimensions(free.to_vec(), Trial::Fits(sizes)).into(),
            Err(error) => _ = first.get_or_insert_with(|| error.to_string()),
        }
        tried += 1;
    }
    let trial = Trial::Fails(tried, first.unwrap_or_default());
    Reason::FreeDimensions(free.to_vec(), trial).into()
}

// What is assumed, as phrases that names follow.
const AS_WEIGHTS: &str = "inputs that serve only as weights are taken for weights";
const AS_DATA: &str = "inputs that could be weights are taken for data";
const AS_BATCH: &str = "open dimensions taken for the batch, and set to 1, by their name";
const STRIPPED: &str = "the weights are not there, so only their shapes count";
const AT_RUN_TIME: &str = "not counted, since sizes are known only when the network runs";
const DEPENDS: &str = "not counted, since they need what is known only when the network runs";

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
    /// What is known only when the network runs.
    Unresolved,
}

/// The values that can be named at one place.
#[derive(Default)]
struct Scope<'o, 'm> {
    values: NameMap<Binding>,
    outer: Option<&'o Scope<'o, 'm>>,
    /// What the names of nodes and values begin with in the network.
    prefix: &'o str,
    /// What a function was called with.
    arguments: &'o Arguments<'m>,
}

impl<'m> Scope<'_, 'm> {
    /// A scope inside of this one, with the values of this one.
    fn inside<'i>(&'i self, prefix: &'i str) -> Scope<'i, 'm> {
        let (values, arguments) = (NameMap::default(), self.arguments);
        Scope { values, outer: Some(self), prefix, arguments }
    }

    fn binding(&self, word: &Word) -> Option<&Binding> {
        self.values.get(&word.name).or_else(|| self.outer?.binding(word))
    }

    fn get(&self, word: &Word) -> Option<ValueId> {
        match self.binding(word)? {
            Binding::Tensor(id) => Some(*id),
            _ => None,
        }
    }

    fn sequence(&self, word: &Word) -> Option<&[ValueId]> {
        match self.binding(word)? {
            Binding::Sequence(parts) => Some(parts),
            _ => None,
        }
    }

    /// What an attribute stands for inside a function; `None` when the call left it out.
    fn resolve(&self, argument: &'m AttributeValue) -> Option<&'m AttributeValue> {
        match argument {
            AttributeValue::Reference(name) => {
                let (_, passed) = self.arguments.iter().find(|(n, _)| n == name)?;
                // A default that is itself a reference stands for nothing.
                (!matches!(passed, AttributeValue::Reference(_))).then_some(*passed)
            }
            own => Some(own),
        }
    }
}

/// Attributes that a function was called with, by name.
type Arguments<'m> = [(&'m str, &'m AttributeValue)];

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
    faults: &'m [String],
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
    /// nodes that loops were unrolled to,
    unrolled: u64,
    /// and bytes that the network takes, roughly.
    structure: u64,
    /// Stored tensors by where they stand in memory: bodies may be inlined again.
    inlined: HashMap<*const (), ValueId>,
    /// Tensors that nodes left out would have read.
    frontier: Vec<ValueId>,
    /// Whether any node was left out.
    partial: bool,
}

impl<'m> Importer<'m> {
    /// Builds the network; inputs among `weights` become constants without elements.
    fn run(
        model: &'m Model,
        name: &str,
        options: &'m ReadOptions,
        faults: &'m [String],
        weights: &Weights,
    ) -> Result<(ModelGraph, Origins), ReadError> {
        let graph = &model.graph;
        let constants: NameSet = graph.constants.iter().map(|c| c.name.name).collect();
        let inputs: Vec<&Info> =
            graph.inputs.iter().filter(|i| !constants.contains(&i.name.name)).collect();
        let functions = model.functions.iter().map(|f| (f.key(), f)).collect();
        let mut importer = Importer {
            model,
            functions,
            options,
            symbols: Symbols::new(),
            faults,
            builder: Builder::new(name, model.opset),
            origins: Origins::new(),
            initialisers: !weights.names.is_empty() || graph.constants.iter().any(is_weight),
            calls: Vec::new(),
            checked: HashSet::new(),
            nodes: 0,
            unrolled: 0,
            structure: 0,
            inlined: HashMap::new(),
            frontier: Vec::new(),
            partial: false,
        };
        importer.check_operators(&graph.body)?;
        let settled = inputs::resolve(&inputs, options)?;
        importer.symbols = settled.symbols;

        let outputs = graph.body.nodes.iter().map(|node| node.outputs.len());
        let names = graph.inputs.len() + graph.constants.len() + outputs.sum::<usize>();
        let mut scope = Scope::default();
        scope.values.reserve(names);
        importer.builder.reserve(graph.body.nodes.len(), names);
        importer.origins.nodes.reserve(graph.body.nodes.len());
        let facts = settled.facts.iter().zip(&settled.guessed);
        for (input, ((dtype, shape), guessed)) in inputs.iter().zip(facts) {
            let id = if weights.names.contains(&*input.name) {
                importer.builder.remark(RemarkKind::Assumed, AS_WEIGHTS, &input.name);
                importer.builder.constant(&input.name, *dtype, shape, None)
            } else {
                let id = importer.builder.input(&input.name, *dtype, shape);
                if *guessed {
                    importer.builder.guessed(id);
                }
                id
            };
            scope.values.insert(input.name.name, Binding::Tensor(id));
        }
        for name in &weights.doubtful {
            importer.builder.remark(RemarkKind::Assumed, AS_DATA, name);
        }
        for fault in faults {
            importer.builder.remark(RemarkKind::Assumed, STRIPPED, fault);
        }
        for (symbol, input) in settled.batches {
            let name = format!("'{symbol}' of input '{input}'");
            importer.builder.remark(RemarkKind::Assumed, AS_BATCH, &name);
        }
        importer.constants(graph, &mut scope)?;
        importer.body(&graph.body, &mut scope)?;
        importer.outputs(graph, &scope)?;
        Ok((importer.builder.finish(), importer.origins))
    }

    /// Marks the outputs; where some are unresolved, also what is known on the way to them.
    fn outputs(&mut self, graph: &'m Graph, scope: &Scope<'_, 'm>) -> Result<(), ReadError> {
        let mut marked = HashSet::new();
        let mut unresolved = false;
        for output in &graph.outputs {
            match scope.binding(&output.name) {
                Some(Binding::Tensor(id)) => {
                    marked.insert(*id);
                    self.builder.output(*id);
                }
                Some(Binding::Sequence(parts)) => {
                    for id in parts.iter().filter(|id| marked.insert(**id)) {
                        self.builder.output(*id);
                    }
                }
                Some(Binding::Unresolved) => unresolved = true,
                Some(Binding::Absent) | None => return Err(unproduced(&output.name)),
            }
        }
        if unresolved {
            for id in std::mem::take(&mut self.frontier) {
                if !self.builder.value(id).is_constant() && marked.insert(id) {
                    self.builder.output(id);
                }
            }
        }
        Ok(())
    }

    /// Leaves out a node, whose outputs are known only when the network runs.
    fn leave_out(&mut self, node: &'m Node, scope: &mut Scope<'_, 'm>, why: &str) {
        self.partial = true;
        self.builder.remark(RemarkKind::NotCounted, why, &label(node));
        self.frontier.extend(node.uses().filter_map(|name| scope.get(name)));
        let outputs = node.outputs.iter().filter(|name| !name.is_empty());
        scope.values.extend(outputs.map(|word| (word.name, Binding::Unresolved)));
    }

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
                } else if !control::is_control(node)
                    && !sequences::is_sequence(node)
                    && node.op_type().is_unknown()
                {
                    unknown.push(UnknownOperator {
                        node: match node.name.as_str() {
                            "" => node.outputs.first().map_or("", |output| output).to_string(),
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

    fn constants(&mut self, graph: &'m Graph, scope: &mut Scope<'_, 'm>) -> Result<(), ReadError> {
        for (index, tensor) in (0..).zip(&graph.constants) {
            self.spend(8 * tensor.data.as_ref().map_or(0, TensorData::len))?;
            let name = self.name(scope.prefix, &tensor.name)?;
            if let Some(id) = self.inlined(tensor) {
                scope.values.insert(tensor.name.name, Binding::Tensor(id));
                continue;
            }
            let data = tensor.data.clone();
            let id = self.builder.constant(&name, tensor.dtype, &tensor.shape, data);
            self.origins.stored.insert(id, Slot::Initialiser(self.origins.here(index)));
            self.inlined.insert(std::ptr::from_ref(tensor).cast(), id);
            scope.values.insert(tensor.name.name, Binding::Tensor(id));
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
    fn name<'n>(&mut self, prefix: &str, name: &'n str) -> Result<Cow<'n, str>, ReadError> {
        self.spend(size_of::<Value>() + prefix.len() + name.len())?;
        Ok(if prefix.is_empty() { name.into() } else { format!("{prefix}{name}").into() })
    }

    /// Adds the nodes of `body`.
    fn body(&mut self, body: &'m Body, scope: &mut Scope<'_, 'm>) -> Result<(), ReadError> {
        for node in &body.nodes {
            self.nodes += 1;
            if self.nodes > MAX_NODES || (!self.calls.is_empty() && self.nodes > MAX_INLINED) {
                let most = if self.calls.is_empty() { MAX_NODES } else { MAX_INLINED };
                return Err(limit("too many nodes once functions are inlined", most));
            }
            check_arity(node)?;
            let unresolved = |name| matches!(scope.binding(name), Some(Binding::Unresolved));
            if let Some(function) = self.function(node) {
                self.call(function, node, scope)?;
            } else if self.partial && node.uses().any(unresolved) {
                self.leave_out(node, scope, DEPENDS);
            } else if control::is_control(node) {
                check_attributes(node, scope)?;
                self.control(node, scope)?;
            } else if sequences::is_sequence(node) {
                check_attributes(node, scope)?;
                self.sequence(node, scope)?;
            } else if node.domain.is_empty() && node.op == "Constant" {
                let bound = |word: &Word| scope.values.contains_key(&word.name);
                if node.outputs.iter().any(bound) {
                    // A loop goes round again.
                    continue;
                }
                self.constant(node, scope)?;
            } else {
                self.node(node, body, scope)?;
            }
        }
        Ok(())
    }

    fn node(
        &mut self,
        node: &'m Node,
        body: &'m Body,
        scope: &mut Scope<'_, 'm>,
    ) -> Result<(), ReadError> {
        let op = node.op_type();
        // What its subgraphs use counts as its inputs, so that it does not look unused.
        let captures = node.captures.iter().filter(|_| op.is_unknown());
        let inputs: SmallVec<[Option<ValueId>; 5]> = (node.inputs.iter().chain(captures))
            .map(|word| if word.is_empty() { None } else { scope.get(word) })
            .collect();
        let mut attributes = Attributes::new();
        for (name, argument) in &node.arguments {
            match scope.resolve(argument) {
                Some(AttributeValue::Plain(attribute)) => {
                    self.spend(size(attribute))?;
                    attributes.insert(name.clone(), attribute.clone());
                }
                Some(_) if !op.is_unknown() => {
                    let what = format!("{} has no graph or type '{name}'", node.label());
                    return Err(invalid(what));
                }
                _ => {}
            }
        }
        let mut outputs: SmallVec<[Option<Cow<str>>; 1]> = SmallVec::new();
        for name in &node.outputs {
            let present = !name.is_empty();
            outputs.push(if present { Some(self.name(scope.prefix, name)?) } else { None });
        }
        let declared: SmallVec<[Option<(DataType, Shape)>; 1]> =
            node.outputs.iter().map(|w| self.declared(body.declared.get(&w.name)?)).collect();
        let Some(ids) =
            self.add(node, scope.prefix, op, attributes, inputs, &outputs, &declared)?
        else {
            self.leave_out(node, scope, AT_RUN_TIME);
            return Ok(());
        };
        for (word, id) in node.outputs.iter().zip(ids) {
            if let Some(id) = id {
                scope.values.insert(word.name, Binding::Tensor(id));
            }
        }
        Ok(())
    }

    /// Adds a node that comes from `node` in the file; `None` where its outputs' shapes are known
    /// only when the network runs.
    #[allow(clippy::too_many_arguments)]
    fn add(
        &mut self,
        node: &Node,
        prefix: &str,
        op: OpType,
        attributes: Attributes,
        inputs: SmallVec<[Option<ValueId>; 5]>,
        outputs: &[Option<Cow<str>>],
        declared: &[Option<(DataType, Shape)>],
    ) -> Result<Option<SmallVec<[Option<ValueId>; 1]>>, ReadError> {
        // More than the bytes of an index: inference takes time over each input.
        self.spend(64 * inputs.len())?;
        let name = self.name(prefix, &node.name)?;
        let outputs: SmallVec<[Option<&str>; 1]> = outputs.iter().map(Option::as_deref).collect();
        let built = self.builder.named_node(&name, op, attributes, inputs, &outputs, declared);
        let ids = match built {
            Ok(ids) => ids,
            Err(error) if error.at_run_time => return Ok(None),
            Err(mut error) => {
                if node.name.is_empty() {
                    error.node = node.outputs.first().map_or("", |output| output).to_string();
                }
                let missing = self.faults.first().cloned();
                return Err(Reason::Shape { error, missing }.into());
            }
        };
        self.origins.nodes.push(self.origins.here(node.index));
        for id in ids.iter().flatten() {
            let value = self.builder.value(*id);
            check_elements(&value.name, &value.shape)?;
        }
        Ok(Some(ids))
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
    /// exporters write shifts and factors that a layer lacks as Constant nodes of zeros and ones.
    /// Elements tell literals from trained ones, but not in a file without its weights' elements.
    fn constant(&mut self, node: &'m Node, scope: &mut Scope<'_, 'm>) -> Result<(), ReadError> {
        let mut value = None;
        for (name, argument) in &node.arguments {
            if let Some(AttributeValue::Plain(attribute)) = scope.resolve(argument) {
                if let Some(fault) = OpType::Constant.attribute_fault(name, attribute.kind()) {
                    return Err(invalid(format!("{}: {fault}", node.label())));
                }
                if value.replace(attribute).is_some() {
                    return Err(invalid(format!("{} has several values", node.label())));
                }
            }
        }
        let (Some(value), Some(output)) = (value, node.outputs.first()) else {
            return Err(invalid(format!("{} has no value or no output", node.label())));
        };
        self.spend(size(value))?;
        let name = self.name(scope.prefix, output)?;
        if let Some(id) = self.inlined(value) {
            scope.values.insert(output.name, Binding::Tensor(id));
            return Ok(());
        }
        let (dtype, shape, data) = match value {
            Attribute::Tensor { dtype, shape, data } => (*dtype, shape.clone(), data.clone()),
            Attribute::Int(i) => (DataType::Int64, Shape::new(), Some(TensorData::Ints(vec![*i]))),
            Attribute::Float(x) => {
                (DataType::Float, Shape::new(), Some(TensorData::Floats(vec![f64::from(*x)])))
            }
            Attribute::Ints(v) => {
                let data = (v.len() <= TensorData::MAX_KEPT).then(|| TensorData::Ints(v.to_vec()));
                (DataType::Int64, Shape::from_slice(&[v.len()]), data)
            }
            Attribute::Floats(v) => {
                let data = (v.len() <= TensorData::MAX_KEPT)
                    .then(|| TensorData::Floats(v.iter().map(|&x| x.into()).collect()));
                (DataType::Float, Shape::from_slice(&[v.len()]), data)
            }
            Attribute::String(_) => (DataType::String, Shape::new(), None),
            Attribute::Strings(v) => (DataType::String, Shape::from_slice(&[v.len()]), None),
        };
        let id = if self.initialisers {
            self.builder.literal(&name, dtype, &shape, data)
        } else {
            self.builder.constant(&name, dtype, &shape, data)
        };
        self.origins.stored.insert(id, Slot::Constant(self.origins.here(node.index)));
        self.inlined.insert(std::ptr::from_ref(value).cast(), id);
        scope.values.insert(output.name, Binding::Tensor(id));
        Ok(())
    }

    /// The tensor that something stored became when the body that it stands in was inlined before: the
    /// file has it once.
    fn inlined<T>(&self, stored: &'m T) -> Option<ValueId> {
        self.inlined.get(&std::ptr::from_ref(stored).cast::<()>()).copied()
    }

    /// Inlines a call of a function that the file defines.
    fn call(
        &mut self,
        function: &'m Function,
        node: &'m Node,
        scope: &mut Scope<'_, 'm>,
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
        let mut values = NameMap::default();
        for (index, name) in function.inputs.iter().enumerate() {
            let value = node.inputs.get(index).and_then(|n| scope.binding(n));
            values.insert(name.name, bound(value));
        }
        let own = node.arguments.iter().filter_map(|(n, a)| Some((&**n, scope.resolve(a)?)));
        let defaults = function.defaults.iter().map(|(n, a)| (&**n, a));
        // The first of a name counts.
        let passed: Vec<_> = own.chain(defaults).collect();
        let own_name = if node.name.is_empty() { &function.name } else { &node.name };
        let prefix = self.name(scope.prefix, own_name)?.into_owned() + "/";
        let mut inner = Scope { values, outer: None, prefix: &prefix, arguments: &passed };
        self.calls.push(key);
        let outer = self.origins.enter(node.index, Inlined::Function, None);
        self.body(&function.body, &mut inner)?;
        self.origins.current = outer;
        self.calls.pop();
        let results: Vec<Binding> =
            function.outputs.iter().map(|result| bound(inner.binding(result))).collect();
        self.results(node, results, scope);
        Ok(())
    }

    /// Binds the outputs of a node that becomes none itself, and notes which tensors they stand for.
    fn results(&mut self, node: &Node, results: Vec<Binding>, scope: &mut Scope<'_, 'm>) {
        let tensor = |binding: &Binding| match binding {
            Binding::Tensor(id) => Some(*id),
            _ => None,
        };
        let place = self.origins.here(node.index);
        self.origins.results.insert(place, results.iter().map(tensor).collect());
        for (word, result) in node.outputs.iter().zip(results) {
            if !word.is_empty() {
                scope.values.insert(word.name, result);
            }
        }
    }
}

/// Refuses what a node has too much of that becomes none in the network. Of others, inference does.
fn check_arity(node: &Node) -> Result<(), ReadError> {
    let most = match (node.domain.as_str(), node.op.as_str()) {
        ("", "Constant") => 0,
        ("", "If" | "ConcatFromSequence") => 1,
        ("", "SequenceAt" | "SplitToSequence") => 2,
        _ => return Ok(()),
    };
    let given = node.inputs.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    if given > most {
        let what = format!("{}: {given} inputs instead of at most {most}", node.label());
        return Err(invalid(what));
    }
    if node.op != "If" && node.outputs.len() > 1 {
        let what = format!("{}: {} outputs instead of one", node.label(), node.outputs.len());
        return Err(invalid(what));
    }
    Ok(())
}

/// Refuses attributes that a node must not have that becomes none in the network. Of others,
/// inference does.
fn check_attributes<'m>(node: &'m Node, scope: &Scope<'_, 'm>) -> Result<(), ReadError> {
    let op = node.op_type();
    for (name, argument) in &node.arguments {
        let kind = match scope.resolve(argument) {
            Some(AttributeValue::Plain(attribute)) => attribute.kind(),
            Some(AttributeValue::Graph(_)) => Kind::Graph,
            _ => continue,
        };
        if let Some(fault) = op.attribute_fault(name, kind) {
            return Err(invalid(format!("{}: {fault}", node.label())));
        }
    }
    Ok(())
}

fn bound(binding: Option<&Binding>) -> Binding {
    binding.cloned().unwrap_or(Binding::Absent)
}

/// How a remark calls a node.
fn label(node: &Node) -> String {
    let output = || node.outputs.iter().find(|o| !o.is_empty()).map_or("", |output| output);
    let name = if node.name.is_empty() { output() } else { &node.name };
    format!("{} '{name}'", node.op)
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
