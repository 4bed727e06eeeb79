//! What is left of a network, and the network that this makes.

use super::adapt::Adapted;
use super::channels::{NO_UNIT, Unit};
use super::operations::Activation;
use super::propagate::{AxisId, WHOLE};
use super::{Channels, SuperNetwork};
use crate::model_graph::{
    Attributes, BuildError, Builder, DataType, ModelGraph, Node, NodeId, OpType, Shape, ValueId,
    Views, ints,
};
use crate::onnx::{Cut, cut_data, cut_shape};
use hashbrown::HashMap;
use smallvec::{SmallVec, smallvec};
use std::rc::Rc;

/// A choice for everything that can be chosen.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// Tensors that others take the place of.
    pub instead: HashMap<ValueId, ValueId>,
    /// What stands where they stood in the end.
    resolved: HashMap<ValueId, ValueId>,
    /// Largest kernel of convolutions, by node.
    pub kernels: HashMap<usize, usize>,
    /// Functions of the activations, by node, with their operand.
    pub activations: HashMap<usize, (Activation, ValueId)>,
    /// What is left of the operands of sums and concatenations, by node.
    pub operands: HashMap<usize, SmallVec<[Option<ValueId>; 5]>>,
}

impl Plan {
    /// Lets others take the place of tensors.
    pub fn replace(&mut self, instead: HashMap<ValueId, ValueId>) {
        // Replacements come before what they replace, so their own are known.
        let mut order: Vec<ValueId> = instead.keys().copied().collect();
        order.sort_unstable();
        for id in order {
            let resolved = self.resolve(instead[&id]);
            self.resolved.insert(id, resolved);
        }
        self.instead = instead;
    }

    /// The tensor that stands where `id` stood.
    pub fn resolve(&self, id: ValueId) -> ValueId {
        self.resolved.get(&id).copied().unwrap_or(id)
    }

    /// What node `index` reads.
    pub fn inputs(&self, index: usize, node: &Node) -> SmallVec<[Option<ValueId>; 5]> {
        match self.activations.get(&index) {
            Some(&(_, operand)) => smallvec![Some(self.resolve(operand))],
            None => {
                let left = self.operands.get(&index).unwrap_or(&node.inputs);
                left.iter().map(|i| i.map(|id| self.resolve(id))).collect()
            }
        }
    }

    /// What the outputs of the network depend on.
    pub fn needed(&self, graph: &ModelGraph) -> Needed {
        let mut needed = Needed {
            nodes: vec![false; graph.nodes().len()],
            values: vec![false; graph.values().len()],
        };
        graph.outputs().iter().for_each(|id| needed.values[id.index()] = true);
        // From the last tensor back: what it is computed from, and what takes its place, comes
        // before it.
        for (index, value) in graph.values().iter().enumerate().rev() {
            let id = ValueId(index as u32);
            if !needed.values[id.index()] {
                continue;
            }
            if let Some(other) = self.instead.get(&id) {
                needed.values[other.index()] = true;
            } else if let Some(node) = value.producer
                && !std::mem::replace(&mut needed.nodes[node.index()], true)
            {
                let inputs = &graph.nodes()[node.index()].inputs;
                let inputs = self.operands.get(&node.index()).unwrap_or(inputs);
                match self.activations.get(&node.index()) {
                    Some((_, operand)) => needed.values[operand.index()] = true,
                    None => inputs.iter().flatten().for_each(|i| needed.values[i.index()] = true),
                }
            }
        }
        needed
    }
}

/// What the outputs of a network depend on. A tensor that another takes the place of counts when
/// something would read it.
pub(super) struct Needed {
    pub nodes: Vec<bool>,
    pub values: Vec<bool>,
}

/// A sub-network, and the tensors of the whole network that its stored tensors are cut from.
pub(super) struct Built {
    pub graph: ModelGraph,
    pub sources: Vec<(ValueId, Source)>,
    /// What was cut from tensors of the whole network that depend on its input.
    pub cuts: Vec<(ValueId, Cut)>,
    /// Nodes of the whole network, and those that they became.
    pub nodes: Vec<(usize, NodeId)>,
}

/// Where a stored tensor comes from.
pub(super) struct Source {
    pub value: ValueId,
    pub cut: Cut,
}

/// Positions along the axes that are kept.
pub(super) struct Keeping<'a> {
    channels: &'a Channels,
    /// Whether each unit is kept.
    units: &'a [bool],
    known: HashMap<AxisId, Option<Rc<[usize]>>>,
}

impl<'a> Keeping<'a> {
    pub fn new(channels: &'a Channels, units: &'a [bool]) -> Self {
        Self { channels, units, known: HashMap::new() }
    }

    fn stays(&self, unit: Unit) -> bool {
        unit == NO_UNIT || self.units[unit as usize]
    }

    /// The positions that stay along an axis; `None` when all do.
    fn along(&mut self, axis: AxisId) -> Option<Rc<[usize]>> {
        if axis == WHOLE {
            return None;
        }
        if let Some(known) = self.known.get(&axis) {
            return known.clone();
        }
        let units = &self.channels.axes[axis as usize];
        let kept: Vec<usize> = (0..units.len()).filter(|&i| self.stays(units[i])).collect();
        let kept = (kept.len() < units.len()).then(|| kept.into());
        self.known.insert(axis, kept);
        self.known[&axis].clone()
    }

    /// What stays of a tensor.
    pub fn cut(&mut self, id: ValueId) -> Cut {
        let channels = self.channels;
        channels.of[id.index()].iter().map(|&axis| self.along(axis)).collect()
    }

    /// What stays of a stored vector where node `node` uses it; `None` for other tensors.
    pub fn of_vector(&mut self, node: usize, id: ValueId) -> Option<Cut> {
        let axes = self.channels.vectors.get(&(node, id))?;
        Some(axes.iter().map(|&axis| self.along(axis)).collect())
    }
}

/// Makes the network of a plan, node by node.
struct Rebuild<'a> {
    space: &'a SuperNetwork,
    plan: &'a Plan,
    keeping: Keeping<'a>,
    builder: Builder,
    new: Vec<Option<ValueId>>,
    vectors: HashMap<(ValueId, Cut), ValueId>,
    sources: Vec<(ValueId, Source)>,
    cuts: Vec<(ValueId, Cut)>,
    nodes: Vec<(usize, NodeId)>,
}

/// The network that `plan` leaves of `space` with the units in `units`.
///
/// # Errors
/// When an operator cannot take what is left of its inputs: a fault in the rules.
pub(super) fn build(
    space: &SuperNetwork,
    plan: &Plan,
    units: &[bool],
) -> Result<Built, BuildError> {
    let graph = &space.graph;
    let mut rebuild = Rebuild {
        space,
        plan,
        keeping: Keeping::new(&space.channels, units),
        builder: Builder::new(graph.name(), graph.opset()),
        new: vec![None; graph.values().len()],
        vectors: HashMap::new(),
        sources: Vec::new(),
        cuts: Vec::new(),
        nodes: Vec::new(),
    };
    rebuild.builder.reserve(graph.nodes().len(), graph.values().len());
    for &id in graph.inputs() {
        let value = graph.value(id);
        let new = rebuild.builder.input(&value.name, value.dtype, &value.shape);
        rebuild.new[id.index()] = Some(new);
    }
    let live = plan.needed(graph).nodes;
    let views = Views::new(graph);
    for (index, node) in graph.nodes().iter().enumerate().filter(|(i, _)| live[*i]) {
        // Constants whose elements are known are written down where they are used.
        if !is_known(graph, &views, node) {
            rebuild.node(index, node)?;
        }
    }
    for &id in graph.outputs() {
        let id = rebuild.value(plan.resolve(id));
        rebuild.builder.output(id);
    }
    let Rebuild { builder, sources, cuts, nodes, .. } = rebuild;
    Ok(Built { graph: builder.finish(), sources, cuts, nodes })
}

/// Whether the elements of all that a node computes are known, and none is a view of a weight: that
/// would be a weight of its own without the node.
pub(super) fn is_known(graph: &ModelGraph, views: &Views, node: &Node) -> bool {
    node.outputs.iter().flatten().all(|&id| {
        let value = graph.value(id);
        let view = value.dtype.is_float() && views.elements_of(id) != id;
        value.data().is_some() && !view
    })
}

impl Rebuild<'_> {
    /// The tensor of the new network that stands for `id`; constants are added here.
    fn value(&mut self, id: ValueId) -> ValueId {
        if let Some(new) = self.new[id.index()] {
            return new;
        }
        let cut = self.keeping.cut(id);
        let new = self.constant(id, cut);
        self.new[id.index()] = Some(new);
        new
    }

    /// [`value`](Self::value) for node `node`, for which a stored vector may be another than for others.
    fn used(&mut self, node: usize, id: ValueId) -> ValueId {
        let Some(cut) = self.keeping.of_vector(node, id) else { return self.value(id) };
        if let Some(&new) = self.vectors.get(&(id, cut.clone())) {
            return new;
        }
        let new = self.constant(id, cut.clone());
        self.vectors.insert((id, cut), new);
        new
    }

    /// Adds what `cut` leaves of a constant.
    fn constant(&mut self, id: ValueId, cut: Cut) -> ValueId {
        let value = self.space.graph.value(id);
        let shape = cut_shape(&value.shape, &cut);
        let data = value.data().map(|data| cut_data(data, &value.shape, &cut));
        let new = self.builder.like(value, &shape, data);
        if value.producer.is_none() {
            self.sources.push((new, Source { value: id, cut }));
        }
        new
    }

    fn node(&mut self, index: usize, node: &Node) -> Result<(), BuildError> {
        let space = self.space;
        let graph = &space.graph;
        if let Some(&(function, operand)) = self.plan.activations.get(&index) {
            return self.activation(node, function, operand);
        }
        let old = self.plan.inputs(index, node);
        let mut inputs: SmallVec<[Option<ValueId>; 5]> = SmallVec::new();
        let kernel = self.plan.kernels.get(&index).copied();
        for (i, id) in old.iter().enumerate() {
            inputs.push(match (id, kernel) {
                (Some(weight), Some(kernel)) if i == 1 => Some(self.cropped(*weight, kernel)),
                (Some(id), _) => Some(self.used(index, *id)),
                (None, _) => None,
            });
        }
        let mut attributes = node.attributes.clone();
        self.adapt(index, node, &old, &mut attributes, &mut inputs)?;
        if let Some(kernel) = kernel {
            smaller_window(
                &mut attributes,
                &graph.value(old[1].unwrap_or(ValueId(0))).shape,
                kernel,
            );
        }
        let names: SmallVec<[Option<&str>; 1]> =
            node.outputs.iter().map(|o| o.map(|id| &*graph.value(id).name)).collect();
        let cuts: SmallVec<[Option<Cut>; 1]> =
            node.outputs.iter().map(|o| o.map(|id| self.keeping.cut(id))).collect();
        let expected: SmallVec<[Option<(DataType, Shape)>; 1]> = node
            .outputs
            .iter()
            .zip(&cuts)
            .map(|(id, cut)| {
                let value = graph.value((*id)?);
                Some((value.dtype, cut_shape(&value.shape, cut.as_ref()?)))
            })
            .collect();
        let new = self.builder.named_node(
            &node.name,
            node.op.clone(),
            attributes,
            inputs,
            &names,
            &expected,
        )?;
        for (((old, new), expected), cut) in node.outputs.iter().zip(new).zip(expected).zip(cuts) {
            let (Some(old), Some(new), Some((_, shape))) = (*old, new, expected) else { continue };
            let value = self.builder.value(new);
            if value.shape != shape {
                return Err(BuildError {
                    node: node.name.to_string(),
                    op: node.op.clone(),
                    reason: format!("has shape {:?} instead of {shape:?}", value.shape),
                    at_run_time: false,
                });
            }
            let producer = value.producer;
            self.nodes.extend(producer.map(|node| (index, node)));
            self.note(old, cut);
            self.new[old.index()] = Some(new);
        }
        Ok(())
    }

    /// Remembers what was cut from a tensor that depends on the input.
    fn note(&mut self, id: ValueId, cut: Option<Cut>) {
        let constant = self.space.graph.value(id).is_constant();
        if let Some(cut) = cut.filter(|c| !constant && c.iter().any(Option::is_some)) {
            self.cuts.push((id, cut));
        }
    }

    fn activation(
        &mut self,
        node: &Node,
        function: Activation,
        operand: ValueId,
    ) -> Result<(), BuildError> {
        let graph = &self.space.graph;
        let Some(output) = node.outputs.first().copied().flatten() else { return Ok(()) };
        let name = &*graph.value(output).name;
        let x = self.value(self.plan.resolve(operand));
        let mut add = |op: OpType, inputs: SmallVec<[Option<ValueId>; 5]>, name: &str| {
            let node = if name.is_empty() { "" } else { &*node.name };
            self.builder.named_node(node, op, Attributes::new(), inputs, &[Some(name)], &[])
        };
        let new = match function {
            Activation::Relu => add(OpType::Relu, smallvec![Some(x)], name)?,
            Activation::HardSwish => add(OpType::HardSwish, smallvec![Some(x)], name)?,
            Activation::Silu => {
                let gate = add(OpType::Sigmoid, smallvec![Some(x)], "")?;
                let gate = gate.into_iter().flatten().next();
                add(OpType::Mul, smallvec![Some(x), gate], name)?
            }
        };
        self.new[output.index()] = new.into_iter().flatten().next();
        let cut = self.keeping.cut(output);
        self.note(output, Some(cut));
        Ok(())
    }

    /// A convolution's weight without the border of its kernel.
    fn cropped(&mut self, weight: ValueId, kernel: usize) -> ValueId {
        let mut cut = self.keeping.cut(weight);
        for (extent, kept) in self.space.graph.value(weight).shape.iter().zip(&mut cut).skip(2) {
            if *extent > kernel {
                let border = (extent - kernel) / 2;
                *kept = Some((border..border + kernel).collect());
            }
        }
        self.constant(weight, cut)
    }

    /// Changes what a node says about its channels in numbers.
    fn adapt(
        &mut self,
        index: usize,
        node: &Node,
        old: &[Option<ValueId>],
        attributes: &mut Attributes,
        inputs: &mut SmallVec<[Option<ValueId>; 5]>,
    ) -> Result<(), BuildError> {
        let graph = &self.space.graph;
        let (Some(x), Some(output)) =
            (old.first().copied().flatten(), node.outputs.iter().flatten().next().copied())
        else {
            return Ok(());
        };
        let before = self.keeping.of_vector(index, x).unwrap_or_else(|| self.keeping.cut(x));
        let after = self.keeping.cut(output);
        if before.iter().chain(&after).all(Option::is_none) {
            return Ok(());
        }
        let shape = cut_shape(&graph.value(output).shape, &after);
        let mut adapted = Adapted {
            graph,
            builder: &mut self.builder,
            node,
            old,
            before: &before,
            after: &after,
            target: shape.iter().map(|&d| d as i64).collect(),
            attributes,
            inputs,
        };
        adapted.adapt(graph.value(x)).map_err(|e| BuildError {
            node: node.name.to_string(),
            op: node.op.clone(),
            reason: e.to_string(),
            at_run_time: false,
        })
    }
}

/// Fits the window of a convolution to a kernel of at most `kernel` in each direction.
fn smaller_window(attributes: &mut Attributes, weight: &[usize], kernel: usize) {
    let extents = weight.get(2..).unwrap_or_default();
    let new: Vec<i64> = extents.iter().map(|&k| k.min(kernel) as i64).collect();
    let border = |i: usize| (extents[i].saturating_sub(kernel) / 2) as i64;
    let dilation = |i: usize| attributes.ints("dilations").map_or(1, |d| d[i]);
    if let Some(pads) = attributes.ints("pads") {
        let sides = pads.iter().enumerate().map(|(i, p)| {
            let i = i % extents.len();
            p - border(i) * dilation(i)
        });
        let pads: Vec<i64> = sides.collect();
        attributes.insert("pads", ints(&pads));
    }
    if attributes.ints("kernel_shape").is_some() {
        attributes.insert("kernel_shape", ints(&new));
    }
}
