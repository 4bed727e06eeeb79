//! What is left of a network, and the network that this makes.

use super::channels::{NO_UNIT, Unit};
use super::operations::Activation;
use super::propagate::{AxisId, WHOLE};
use super::{Channels, SuperNetwork};
use crate::model_graph::infer::{self, layout};
use crate::model_graph::{
    Attribute, Attributes, BuildError, Builder, DataType, ModelGraph, Node, NodeId, OpType, Shape,
    TensorData, Value, ValueId, Views, ints,
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
    pub fn of(&mut self, id: ValueId) -> Cut {
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
        let cut = self.keeping.of(id);
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
            node.outputs.iter().map(|o| o.map(|id| self.keeping.of(id))).collect();
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
        let cut = self.keeping.of(output);
        self.note(output, Some(cut));
        Ok(())
    }

    /// A convolution's weight without the border of its kernel.
    fn cropped(&mut self, weight: ValueId, kernel: usize) -> ValueId {
        let mut cut = self.keeping.of(weight);
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
        use OpType::*;
        let graph = &self.space.graph;
        let (Some(x), Some(output)) =
            (old.first().copied().flatten(), node.outputs.iter().flatten().next().copied())
        else {
            return Ok(());
        };
        let before = self.keeping.of_vector(index, x).unwrap_or_else(|| self.keeping.of(x));
        let after = self.keeping.of(output);
        if before.iter().chain(&after).all(Option::is_none) {
            return Ok(());
        }
        let (from, to) = (graph.value(x), graph.value(output));
        let fail = |e: infer::InferError| BuildError {
            node: node.name.to_string(),
            op: node.op.clone(),
            reason: e.to_string(),
            at_run_time: false,
        };
        let target: Vec<i64> = cut_shape(&to.shape, &after).iter().map(|&d| d as i64).collect();
        match node.op {
            Conv | ConvTranspose => scale(attributes, "group", from, &before),
            GroupNormalization => scale(attributes, "num_groups", from, &before),
            // Without a list it would drop every axis of which one position is left, too.
            Squeeze if before.iter().flatten().any(|kept| kept.len() == 1) => {
                let ones = from.shape.iter().enumerate().filter(|(_, d)| **d == 1);
                let axes: Vec<i64> = ones.map(|(axis, _)| axis as i64).collect();
                let listed =
                    attributes.ints("axes").is_some() || inputs.get(1).is_some_and(Option::is_some);
                if !listed && graph.opset() < 13 {
                    attributes.insert("axes", ints(&axes));
                } else if !listed {
                    inputs.truncate(1);
                    inputs.push(Some(self.builder.int_vector(&axes)));
                }
            }
            // Only what was cut changes: what else stands there may hold for other batches and
            // sizes too.
            Reshape => {
                let list = node.context(graph, |ctx| own_list(ctx, "shape", 1));
                let zeros = attributes.int("allowzero", 0) == 0;
                let from = cut_shape(&from.shape, &before);
                let entry = |(i, &e): (usize, &i64)| match e {
                    -1 => -1,
                    0 if zeros && from.get(i).map(|&d| d as i64) == target.get(i).copied() => 0,
                    _ if after.get(i).is_some_and(Option::is_some) || e == 0 => {
                        target.get(i).copied().unwrap_or(e)
                    }
                    e => e,
                };
                let list: Vec<i64> = list.iter().enumerate().map(entry).collect();
                self.set_list(attributes, inputs, ("shape", 1), &list);
            }
            Expand => {
                let mut list = node.context(graph, |ctx| own_list(ctx, "shape", 1));
                let skip = target.len().saturating_sub(list.len());
                for (e, (cut, &d)) in list.iter_mut().zip(after.iter().zip(&target).skip(skip)) {
                    // 1 leaves what is there.
                    *e = if cut.is_some() && *e != 1 { d } else { *e };
                }
                self.set_list(attributes, inputs, ("shape", 1), &list);
            }
            Resize if inputs.get(3).is_some_and(Option::is_some) => {
                let mut list = node.context(graph, |ctx| own_list(ctx, "sizes", 3));
                let axes = attributes.ints("axes");
                for (i, size) in list.iter_mut().enumerate() {
                    let axis = match axes {
                        Some(axes) => {
                            let axis = axes.get(i).copied().unwrap_or(0);
                            infer::axis(axis, target.len()).map_err(fail)?
                        }
                        None => i,
                    };
                    if let (Some(Some(_)), Some(&d)) = (after.get(axis), target.get(axis)) {
                        *size = d;
                    }
                }
                self.set_list(attributes, inputs, ("sizes", 3), &list);
            }
            Split => {
                let (at, sizes) = node.context(graph, layout::split_sizes).map_err(fail)?;
                if let Some(kept) = &before[at] {
                    let mut start = 0;
                    let explicit = attributes.ints("split").is_some()
                        || inputs.get(1).is_some_and(Option::is_some);
                    let sizes = sizes.iter().map(|size| {
                        let piece = start..start + size;
                        start += size;
                        count(kept, piece)
                    });
                    let sizes: Vec<i64> = sizes.collect();
                    // Equal parts of less are equal still.
                    let part = kept.len().div_ceil(sizes.len().max(1)) as i64;
                    if !explicit && sizes.iter().all(|&size| size == part) {
                        return Ok(());
                    }
                    *attributes = without(attributes, "num_outputs");
                    if graph.opset() < 13 {
                        attributes.insert("split", ints(&sizes));
                    } else {
                        inputs.truncate(1);
                        inputs.push(Some(self.builder.int_vector(&sizes)));
                    }
                }
            }
            Slice => {
                let ranges = node.context(graph, layout::slice_ranges).map_err(fail)?;
                let lists = |ctx: &infer::Context| {
                    let own = |name, i| Ok(ctx.ints_either(name, i)?.map(<[i64]>::to_vec));
                    Ok((own("starts", 1)?, own("ends", 2)?, own("axes", 3)?))
                };
                let (starts, ends, axes) = node.context(graph, lists).map_err(fail)?;
                let (Some(mut starts), Some(mut ends)) = (starts, ends) else { return Ok(()) };
                for (i, (start, end)) in starts.iter_mut().zip(&mut ends).enumerate() {
                    let axis = axes.as_ref().and_then(|a| a.get(i).copied()).unwrap_or(i as i64);
                    let at = infer::axis(axis, ranges.len()).map_err(fail)?;
                    let first = usize::try_from(ranges[at].start);
                    if let (Some(kept), Ok(first)) = (&before[at], first) {
                        let from = count(kept, 0..first);
                        let to = from + count(kept, first..first + ranges[at].count);
                        let extent = kept.len() as i64;
                        let place = |i: i64| {
                            let i = if i < 0 { i.saturating_add(extent) } else { i };
                            i.clamp(0, extent)
                        };
                        // Such as an end beyond all ends.
                        if (place(*start), place(*end)) != (from, to) {
                            (*start, *end) = (from, to);
                        }
                    }
                }
                self.set_list(attributes, inputs, ("starts", 1), &starts);
                self.set_list(attributes, inputs, ("ends", 2), &ends);
            }
            Gather => {
                let at = infer::axis(node.attributes.int("axis", 0), from.shape.len());
                let at = at.map_err(fail)?;
                let index = old.get(1).copied().flatten().map(|id| graph.value(id));
                let list = index.and_then(Value::data).and_then(TensorData::ints);
                if let (Some(kept), Some(index), Some(list)) = (&before[at], index, list) {
                    let extent = from.shape[at] as i64;
                    let place = |&i: &i64| {
                        let i = usize::try_from(if i < 0 { i + extent } else { i }).ok()?;
                        kept.binary_search(&i).ok().map(|place| place as i64)
                    };
                    let places: Vec<i64> = list.iter().filter_map(place).collect();
                    let shape: SmallVec<[usize; 1]> =
                        index.shape.iter().map(|_| places.len()).collect();
                    let data = TensorData::Ints(places);
                    inputs[1] = Some(self.builder.constant("", index.dtype, &shape, Some(data)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Sets a list that older operator sets give as an attribute and newer ones as an input.
    fn set_list(
        &mut self,
        attributes: &mut Attributes,
        inputs: &mut [Option<ValueId>],
        (name, input): (&'static str, usize),
        list: &[i64],
    ) {
        if attributes.ints(name).is_some() {
            attributes.insert(name, ints(list));
        } else if let Some(Some(slot)) = inputs.get_mut(input) {
            let dtype = self.builder.value(*slot).dtype;
            let data = Some(TensorData::Ints(list.to_vec()));
            *slot = self.builder.constant("", dtype, &[list.len()], data);
        }
    }
}

/// A list that a node gives as an attribute or as input `index`. It is known: tensors are not cut
/// where it is not.
fn own_list(ctx: &infer::Context, name: &str, index: usize) -> Vec<i64> {
    ctx.ints_either(name, index).ok().flatten().unwrap_or_default().to_vec()
}

/// How many of the positions in `range` are kept.
fn count(kept: &[usize], range: std::ops::Range<usize>) -> i64 {
    kept.iter().filter(|&i| range.contains(i)).count() as i64
}

/// The attributes without one.
fn without(attributes: &Attributes, name: &str) -> Attributes {
    let rest = attributes.iter().filter(|(n, _)| *n != name);
    rest.fold(Attributes::new(), |all, (n, a)| all.with(n.to_string(), a.clone()))
}

/// Scales a number of groups with the channels of the input `x`.
fn scale(attributes: &mut Attributes, name: &'static str, x: &Value, cut: &Cut) {
    let groups = usize::try_from(attributes.int(name, 1)).unwrap_or(1);
    if let (Some(Some(kept)), Some(&channels)) = (cut.get(1), x.shape.get(1))
        && groups > 1
        && channels > 0
    {
        attributes.insert(name, Attribute::Int((kept.len() * groups / channels) as i64));
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
