//! Branches and loops, which the network model does not have: a branch is inlined, the body of a
//! loop as often as it runs.

use super::{Binding, Importer, Scope, bound, label};
use crate::model_graph::{
    Attribute, Attributes, DataType, OpType, RemarkKind, TensorData, ValueId,
};
use crate::onnx::decode::{AttributeValue, Graph, Node};
use crate::onnx::error::{ReadError, invalid};
use crate::onnx::limits::MAX_UNROLLED;
use crate::onnx::names::{Name, Word};
use crate::onnx::origins::Body as Inlined;
use smallvec::smallvec;

const COSTLIER: &str = "the costlier branch is counted, since the condition is known only when the \
                        network runs";
const ONCE: &str = "the body is counted once, since how often it runs is known only when the \
                    network runs";
const TOO_OFTEN: &str = "the body is counted once, since it runs too often to be written out";
const AT_MOST: &str = "the body is counted as often as it may run";

/// Whether the node runs graphs of its own.
pub(super) fn is_control(node: &Node) -> bool {
    node.domain.is_empty() && matches!(node.op.as_str(), "If" | "Loop" | "Scan")
}

/// How a loop is written out.
struct Turns {
    /// How often the body is inlined.
    times: u64,
    /// How often it runs, as far as that is known.
    runs: Option<u64>,
}

impl<'m> Importer<'m> {
    pub(super) fn control(
        &mut self,
        node: &'m Node,
        scope: &mut Scope<'_, 'm>,
    ) -> Result<(), ReadError> {
        match node.op.as_str() {
            "If" => self.branch(node, scope),
            "Loop" => self.repeat(node, scope),
            _ => self.scan(node, scope),
        }
    }

    /// Inlines the branch that an If takes; the costlier one where that is not known.
    fn branch(&mut self, node: &'m Node, scope: &mut Scope<'_, 'm>) -> Result<(), ReadError> {
        let either = |name: &str| subgraph(node, name, scope);
        let decider = node.inputs.first().and_then(|name| scope.get(name));
        let taken = match self.number(node.inputs.first(), scope) {
            Some(0.0) => "else_branch",
            Some(_) => "then_branch",
            None => {
                let (yes, no) = (either("then_branch")?, either("else_branch")?);
                self.builder.remark(RemarkKind::NotCounted, COSTLIER, &label(node));
                if self.weigh(no, scope) > self.weigh(yes, scope) {
                    "else_branch"
                } else {
                    "then_branch"
                }
            }
        };
        let graph = either(taken)?;
        if !graph.inputs.is_empty() || graph.outputs.len() != node.outputs.len() {
            return Err(invalid(format!(
                "a branch of {} has {} inputs and {} outputs instead of 0 and {}",
                node.label(),
                graph.inputs.len(),
                graph.outputs.len(),
                node.outputs.len()
            )));
        }
        self.check_operators(&graph.body)?;
        let mut inner = scope.inside(scope.prefix);
        let outer = self.origins.enter(node.index, Inlined::Branch(taken), decider);
        self.constants(graph, &mut inner)?;
        self.body(&graph.body, &mut inner)?;
        self.origins.current = outer;
        let results: Vec<Binding> =
            graph.outputs.iter().map(|o| bound(inner.binding(&o.name))).collect();
        self.results(node, results, scope);
        Ok(())
    }

    /// Inlines the body of a Loop: once a turn, each with what the one before carried on.
    fn repeat(&mut self, node: &'m Node, scope: &mut Scope<'_, 'm>) -> Result<(), ReadError> {
        let graph = subgraph(node, "body", scope)?;
        let carried = node.inputs.len().saturating_sub(2);
        check(node, graph, 2 + carried, 1 + carried)?;
        let runs = match self.number(node.inputs.get(1), scope) {
            Some(0.0) => Some(0),
            _ => self.number(node.inputs.first(), scope).map(|n| n.clamp(0.0, 1e18) as u64),
        };
        let turns = self.turns(node, graph, runs);
        let mut state: Vec<Binding> =
            node.inputs.iter().skip(2).map(|name| bound(scope.binding(name))).collect();
        let mut stacks = vec![Vec::new(); graph.outputs.len().saturating_sub(1 + carried)];
        let mut shared = Vec::new();
        self.check_operators(&graph.body)?;
        for turn in 0..turns.times {
            let index = self.builder.constant(
                "",
                DataType::Int64,
                &[],
                Some(TensorData::Ints(vec![turn as i64])),
            );
            let going =
                self.builder.constant("", DataType::Bool, &[], Some(TensorData::Ints(vec![1])));
            let given = [Binding::Tensor(index), Binding::Tensor(going)].into_iter().chain(state);
            let prefix = self.name(scope.prefix, &format!("{}/{turn}/", node.name))?.into_owned();
            let results = self.turn(graph, given, scope.inside(&prefix), &mut shared)?;
            let mut results = results.into_iter();
            let goes_on = match results.next() {
                Some(Binding::Tensor(id)) => {
                    self.builder.value(id).data().and_then(|d| d.get_f64(0))
                }
                _ => None,
            };
            state = results.by_ref().take(carried).collect();
            for (stack, result) in stacks.iter_mut().zip(results) {
                stack.push(result);
            }
            match goes_on {
                Some(0.0) => break,
                None if turn == 0 && turns.times > 1 => {
                    self.builder.remark(RemarkKind::UpperBound, AT_MOST, &label(node));
                }
                _ => {}
            }
        }
        let stacked = stacks
            .into_iter()
            .map(|parts| self.stack(node, parts, 0, &turns, scope.prefix))
            .collect::<Result<Vec<_>, _>>()?;
        for (name, result) in node.outputs.iter().zip(state.into_iter().chain(stacked)) {
            self.bind(name, result, scope);
        }
        Ok(())
    }

    /// Inlines the body of a Scan: once for each slice of its inputs.
    fn scan(&mut self, node: &'m Node, scope: &mut Scope<'_, 'm>) -> Result<(), ReadError> {
        let graph = subgraph(node, "body", scope)?;
        let attribute = |name: &str| match node.argument(name).and_then(|a| scope.resolve(a)) {
            Some(AttributeValue::Plain(attribute)) => Some(attribute),
            _ => None,
        };
        let list = |name: &str, index: usize| match attribute(name) {
            Some(Attribute::Ints(list)) => list.get(index).copied().unwrap_or(0),
            _ => 0,
        };
        let scanned = match attribute("num_scan_inputs") {
            Some(Attribute::Int(n)) => usize::try_from(*n).ok(),
            _ => None,
        };
        let states = scanned.and_then(|n| node.inputs.len().checked_sub(n));
        let (Some(states), Some(scanned)) = (states, scanned.filter(|n| *n > 0)) else {
            return Err(invalid(format!("{} does not say how many inputs it scans", node.label())));
        };
        check(node, graph, states + scanned, states)?;
        let inputs: Option<Vec<(ValueId, i64)>> = node
            .inputs
            .iter()
            .skip(states)
            .enumerate()
            .map(|(i, name)| Some((scope.get(name)?, list("scan_input_axes", i))))
            .collect();
        let inputs =
            inputs.ok_or_else(|| invalid(format!("{} scans what are no tensors", node.label())))?;
        let runs = inputs.first().and_then(|(id, axis)| {
            let shape = &self.builder.value(*id).shape;
            let axis = crate::model_graph::infer::axis(*axis, shape.len()).ok()?;
            shape.get(axis).map(|&extent| extent as u64)
        });
        let turns = self.turns(node, graph, runs);
        let mut state: Vec<Binding> =
            node.inputs.iter().take(states).map(|name| bound(scope.binding(name))).collect();
        let mut stacks = vec![Vec::new(); graph.outputs.len().saturating_sub(states)];
        let mut shared = Vec::new();
        self.check_operators(&graph.body)?;
        for turn in 0..turns.times {
            let prefix = self.name(scope.prefix, &format!("{}/{turn}/", node.name))?.into_owned();
            let mut given = state;
            for (i, &(id, axis)) in inputs.iter().enumerate() {
                let backwards = list("scan_input_directions", i) != 0;
                let at = if backwards { turns.times - 1 - turn } else { turn };
                let data = Some(TensorData::Ints(vec![at as i64]));
                let index = self.builder.constant("", DataType::Int64, &[], data);
                let attributes = Attributes::new().with("axis", Attribute::Int(axis));
                let parts = smallvec![Some(id), Some(index)];
                let name = Some(self.name(&prefix, "slice")?);
                let made =
                    self.add(node, &prefix, OpType::Gather, attributes, parts, &[name], &[])?;
                given.push(tensor(made.as_deref()));
            }
            let results =
                self.turn(graph, given.into_iter(), scope.inside(&prefix), &mut shared)?;
            let mut results = results.into_iter();
            state = results.by_ref().take(states).collect();
            for (stack, result) in stacks.iter_mut().zip(results) {
                stack.push(result);
            }
        }
        let stacked = stacks
            .into_iter()
            .enumerate()
            .map(|(i, parts)| {
                self.stack(node, parts, list("scan_output_axes", i), &turns, scope.prefix)
            })
            .collect::<Result<Vec<_>, _>>()?;
        for (name, result) in node.outputs.iter().zip(state.into_iter().chain(stacked)) {
            self.bind(name, result, scope);
        }
        Ok(())
    }

    /// The first element of a constant.
    fn number(&self, name: Option<&Word>, scope: &Scope) -> Option<f64> {
        self.builder.value(scope.get(name?)?).data()?.get_f64(0)
    }

    /// Stored elements that a branch uses, and its nodes: a measure of its cost.
    fn weigh(&self, graph: &Graph, scope: &Scope) -> (u64, u64) {
        let mut cost = (0u64, 0u64);
        let mut graphs = vec![graph];
        while let Some(graph) = graphs.pop() {
            for tensor in &graph.constants {
                cost.0 = cost.0.saturating_add(tensor.shape.iter().map(|&d| d as u64).product());
            }
            for node in &graph.body.nodes {
                cost.1 += 1;
                let outer = node.inputs.iter().filter_map(|name| scope.get(name));
                for value in outer.map(|id| self.builder.value(id)).filter(|v| v.is_constant()) {
                    cost.0 = cost.0.saturating_add(value.elements());
                }
                for (_, argument) in &node.arguments {
                    match argument {
                        AttributeValue::Graph(inner) => graphs.push(inner),
                        AttributeValue::Plain(Attribute::Tensor { shape, .. }) => {
                            let elements = shape.iter().map(|&d| d as u64).product();
                            cost.0 = cost.0.saturating_add(elements);
                        }
                        _ => {}
                    }
                }
            }
        }
        cost
    }

    /// How a body that runs `runs` times is written out; says so where that is not the same.
    fn turns(&mut self, node: &Node, graph: &Graph, runs: Option<u64>) -> Turns {
        self.origins.written_out = Some(label(node));
        let mut nodes = 0u64;
        let mut graphs = vec![graph];
        while let Some(graph) = graphs.pop() {
            nodes += graph.body.nodes.len() as u64 + 2;
            for node in &graph.body.nodes {
                graphs.extend(node.arguments.iter().filter_map(|(_, a)| match a {
                    AttributeValue::Graph(inner) => Some(&**inner),
                    _ => None,
                }));
            }
        }
        let Some(times) = runs else {
            self.builder.remark(RemarkKind::NotCounted, ONCE, &label(node));
            return Turns { times: 1, runs };
        };
        let whole = nodes.saturating_mul(times);
        if times > 1 && self.unrolled.saturating_add(whole) > MAX_UNROLLED {
            let name = format!("{} ({times} times)", label(node));
            self.builder.remark(RemarkKind::NotCounted, TOO_OFTEN, &name);
            return Turns { times: 1, runs };
        }
        self.unrolled += whole;
        Turns { times, runs }
    }

    /// Inlines a body once, in a scope of its own. `shared` are its constants, which are made the first time.
    fn turn(
        &mut self,
        graph: &'m Graph,
        given: impl Iterator<Item = Binding>,
        mut inner: Scope<'_, 'm>,
        shared: &mut Vec<(Name, Binding)>,
    ) -> Result<Vec<Binding>, ReadError> {
        inner.values.extend(graph.inputs.iter().map(|i| i.name.name).zip(given));
        if shared.is_empty() {
            self.constants(graph, &mut inner)?;
        } else {
            inner.values.extend(shared.iter().cloned());
        }
        self.body(&graph.body, &mut inner)?;
        if shared.is_empty() {
            let stored = graph.constants.iter().map(|c| c.name.name);
            let nodes = graph.body.nodes.iter().filter(|n| n.op == "Constant");
            let made = nodes.flat_map(|n| n.outputs.iter().map(|output| output.name));
            let names = stored.chain(made);
            shared.extend(names.filter_map(|n| Some((n, inner.values.get(&n)?.clone()))));
        }
        Ok(graph.outputs.iter().map(|o| bound(inner.binding(&o.name))).collect())
    }

    /// What each turn put out, joined along a new axis.
    fn stack(
        &mut self,
        node: &'m Node,
        parts: Vec<Binding>,
        axis: i64,
        turns: &Turns,
        prefix: &str,
    ) -> Result<Binding, ReadError> {
        let mut rows = Vec::with_capacity(parts.len());
        if let Some(Binding::Tensor(first)) = parts.first() {
            self.frontier.push(*first);
        }
        for part in parts {
            let Binding::Tensor(part) = part else { return Ok(Binding::Unresolved) };
            let mut attributes = Attributes::new();
            let mut inputs = smallvec![Some(part)];
            if self.model.opset < 13 {
                attributes.insert("axes", crate::model_graph::ints(&[axis]));
            } else {
                inputs.push(Some(self.builder.int_vector(&[axis])));
            }
            let name = Some(self.name(prefix, "row")?);
            let op = OpType::Unsqueeze;
            let made = self.add(node, prefix, op, attributes, inputs, &[name], &[])?;
            let Binding::Tensor(row) = tensor(made.as_deref()) else {
                return Ok(Binding::Unresolved);
            };
            rows.push(row);
        }
        let (Some(&first), name) = (rows.first(), Some(self.name(prefix, "rows")?)) else {
            return Ok(Binding::Unresolved);
        };
        let times = rows.len() as u64;
        let made = match turns.runs {
            // Counted once, it still has all its rows.
            Some(runs) if runs > times && turns.times == 1 => {
                let mut shape: Vec<i64> =
                    self.builder.value(first).shape.iter().map(|&d| d as i64).collect();
                let along = crate::model_graph::infer::axis(axis, shape.len());
                let extent = along.ok().and_then(|a| shape.get_mut(a));
                match (extent, i64::try_from(runs)) {
                    (Some(extent), Ok(runs)) if runs < 1 << 24 => *extent = runs,
                    _ => return Ok(Binding::Unresolved),
                }
                let inputs = smallvec![Some(first), Some(self.builder.int_vector(&shape))];
                self.add(node, prefix, OpType::Expand, Attributes::new(), inputs, &[name], &[])?
            }
            runs => {
                if runs != Some(times) {
                    self.builder.bound(first);
                }
                if rows.len() == 1 {
                    return Ok(Binding::Tensor(first));
                }
                let attributes = Attributes::new().with("axis", Attribute::Int(axis));
                let inputs = rows.into_iter().map(Some).collect();
                self.add(node, prefix, OpType::Concat, attributes, inputs, &[name], &[])?
            }
        };
        Ok(tensor(made.as_deref()))
    }

    /// Binds an output of a loop.
    fn bind(&mut self, word: &Word, result: Binding, scope: &mut Scope) {
        self.partial |= matches!(result, Binding::Unresolved);
        if !word.is_empty() {
            scope.values.insert(word.name, result);
        }
    }
}

fn tensor(made: Option<&[Option<ValueId>]>) -> Binding {
    match made {
        Some([Some(id)]) => Binding::Tensor(*id),
        _ => Binding::Unresolved,
    }
}

/// The graph that a node runs.
fn subgraph<'m>(node: &'m Node, name: &str, scope: &Scope<'_, 'm>) -> Result<&'m Graph, ReadError> {
    match node.argument(name).and_then(|a| scope.resolve(a)) {
        Some(AttributeValue::Graph(graph)) => Ok(graph),
        _ => Err(invalid(format!("{} has no {name}", node.label()))),
    }
}

/// An error unless the body of a loop takes and gives as much as its node.
fn check(node: &Node, graph: &Graph, inputs: usize, outputs: usize) -> Result<(), ReadError> {
    let more = graph.outputs.len().checked_sub(outputs);
    let scanned = node.outputs.len() + usize::from(node.op == "Loop");
    if graph.inputs.len() == inputs && more.is_some() && scanned <= graph.outputs.len() {
        return Ok(());
    }
    Err(invalid(format!(
        "the body of {} has {} inputs and {} outputs, which do not fit its own",
        node.label(),
        graph.inputs.len(),
        graph.outputs.len()
    )))
}
