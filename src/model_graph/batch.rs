//! Which axis of each tensor is the batch.
//!
//! A network that was exported for a batch of eight does the work of eight inputs, and its costs
//! are to be divided by eight; a transformer that reads `[tokens, batch, features]`, a set of
//! points or a graph has its first axis worked on as a whole, and nothing is to be divided. A file
//! does not say which it is, so it is told from what the network does: the axis of the inputs that
//! every operator carries along without ever mixing its elements (contraction, reduction,
//! normalisation, windows, recurrence, a table with a row for each element), up to every output, is
//! a batch. The second axis is one only of sequences whose steps come first, which attention or a
//! recurrence tells from images and frames without a batch. Where several axes could be, or none is,
//! the batch is taken to be one input: costs are those of the network as it stands, and
//! [`Batch::doubt`] says so.

use super::infer::{self, layout, reduce};
use super::{Class, ModelGraph, Node, OpType, TensorData, Value, ValueId};
use smallvec::{SmallVec, smallvec};

/// The batch of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    size: usize,
    /// Of every value, where the size is above 1.
    places: Vec<Option<Place>>,
    doubt: bool,
}

/// Where the batch lies in a tensor: the elements of `axis` are those of an array
/// `[outer, batch, inner]` in row-major order, where `outer` follows from the extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The axis.
    pub axis: usize,
    /// How many elements of the axis belong to one element of the batch in a row.
    pub inner: usize,
}

impl Place {
    /// All of an axis.
    fn whole(axis: usize) -> Self {
        Self { axis, inner: 1 }
    }
}

impl Default for Batch {
    /// One input.
    fn default() -> Self {
        Self { size: 1, places: Vec::new(), doubt: false }
    }
}

impl Batch {
    /// How many inputs the network works on at once, as far as that is certain; else 1.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Where the batch lies in a tensor, for a batch of more than one. `None` for tensors that
    /// are the same for all inputs.
    pub fn place(&self, id: ValueId) -> Option<Place> {
        self.places.get(id.index()).copied().flatten()
    }

    /// What is not certain about it, as a phrase that the inputs' names follow.
    pub fn doubt(&self) -> Option<&'static str> {
        self.doubt.then_some(
            "no axis is certainly the batch, so costs are those of all that these inputs hold",
        )
    }

    /// The batch of a network, also where it is one input: the first of the usual axes that every
    /// operator carries along. For one input it can't be told from other axes of one element, so that
    /// nothing depends on it but running the network for more. `None` where none is carried along.
    pub fn followed(graph: &ModelGraph) -> Option<Self> {
        if graph.batch.size > 1 {
            return Some(graph.batch.clone());
        }
        let needed = needed(graph);
        let inputs: Vec<&Value> = graph.inputs.iter().map(|&id| graph.value(id)).collect();
        let says = |i: &usize| !inputs[*i].shape.is_empty() && needed[graph.inputs[*i].index()];
        let ranked: Vec<usize> = (0..inputs.len()).filter(says).collect();
        let found = |choice: Choice| {
            let places = follow(graph, &needed, &choice, true).ok()?;
            Some(Self { size: choice.size, places, doubt: false })
        };
        choices(&inputs, &ranked).into_iter().filter(|choice| choice.size == 1).find_map(found)
    }

    /// Finds the batch of a finished network.
    pub(super) fn find(graph: &ModelGraph) -> Self {
        let one = Self::default();
        let needed = needed(graph);
        // A single number says nothing, and neither does what no output depends on.
        let inputs: Vec<&Value> = graph.inputs.iter().map(|&id| graph.value(id)).collect();
        let says = |i: &usize| inputs[*i].elements() != 1 && needed[graph.inputs[*i].index()];
        let ranked: Vec<usize> = (0..inputs.len()).filter(says).collect();
        // The usual export, unless its one element is the first step of a recurrence.
        let usual = ranked.iter().all(|&i| inputs[i].shape.first() == Some(&1));
        if usual && !graph.nodes.iter().any(|node| node.op.class() == Class::Recurrent) {
            return one;
        }
        let mut found: Option<Self> = None;
        let mut doubt = false;
        for choice in choices(&inputs, &ranked) {
            let Ok(places) = follow(graph, &needed, &choice, false) else { continue };
            if choice.size == 1 {
                // Costs are those of one input.
                return one;
            }
            let second = ranked.iter().all(|&i| choice.axes[i] == Some(1));
            if second && !steps_first(graph, &places, usual) {
                doubt |= !usual;
                continue;
            }
            doubt |= found.is_some();
            found = Some(Self { size: choice.size, places, doubt: false });
        }
        match found {
            Some(batch) if !doubt => batch,
            // An axis of one element may be the batch; costs are right either way.
            None if usual || (!doubt && Self::followed(graph).is_some()) => one,
            _ => Self { doubt: true, ..one },
        }
    }
}

/// Whether the network certainly joins the elements of the first axis of an input, of which there is
/// one, so that it is no batch.
pub(super) fn joins_first(graph: &ModelGraph, input: ValueId) -> bool {
    let axes = graph.inputs.iter().map(|&id| (id == input).then_some(0)).collect();
    match follow(graph, &needed(graph), &Choice { size: 1, axes }, false) {
        Err(Some(node)) => matches!(
            graph.nodes[node].plain().op.class(),
            Class::MatMul
                | Class::Gemm
                | Class::Einsum
                | Class::Recurrent
                | Class::Reduce
                | Class::ArgMax
                | Class::TopK
                | Class::Running
                | Class::Softmax
                | Class::LayerNorm
                | Class::LpNormalization
        ),
        _ => false,
    }
}

/// Whether something works on sequences whose steps come before the batch: a recurrence or, unless
/// that alone will do, attention, which multiplies two tensors that both have the batch.
fn steps_first(graph: &ModelGraph, places: &[Option<Place>], recurrence: bool) -> bool {
    graph.nodes.iter().any(|node| {
        let node = node.plain();
        let has = |i: usize| {
            node.inputs.get(i).copied().flatten().is_some_and(|id| places[id.index()].is_some())
        };
        match node.op.class() {
            Class::Recurrent => has(0),
            Class::Attention => !recurrence && has(0),
            Class::MatMul | Class::Einsum => !recurrence && has(0) && has(1),
            _ => false,
        }
    })
}

/// One guess: the size of the batch and its axis in every input.
struct Choice {
    size: usize,
    axes: Vec<Option<usize>>,
}

/// Most guesses that are tried.
const MAX_CHOICES: usize = 32;

/// Axes of an input that can be the batch by the field's conventions: the first, or the second of
/// a sequence whose steps come first.
fn candidates(input: &Value) -> impl Iterator<Item = usize> + use<> {
    let second = match input.shape.len() {
        0 | 1 => false,
        // A matrix of numbers has its batch first; of indices, steps may come first.
        2 => !input.dtype.is_float(),
        _ => true,
    };
    (0..input.shape.len().min(1)).chain(second.then_some(1))
}

/// Guesses in which the batch has the same size in all inputs.
fn choices(inputs: &[&Value], ranked: &[usize]) -> Vec<Choice> {
    let Some((&first, rest)) = ranked.split_first() else { return Vec::new() };
    let mut all = Vec::new();
    for axis in candidates(inputs[first]) {
        let size = inputs[first].shape[axis];
        let mut axes = vec![None; inputs.len()];
        axes[first] = Some(axis);
        let mut partial = vec![axes];
        for &i in rest {
            partial = partial
                .iter()
                .flat_map(|axes| {
                    let fits = candidates(inputs[i]).filter(|&a| inputs[i].shape[a] == size);
                    fits.map(|a| {
                        let mut axes = axes.clone();
                        axes[i] = Some(a);
                        axes
                    })
                })
                .take(MAX_CHOICES)
                .collect();
        }
        all.extend(partial.into_iter().map(|axes| Choice { size, axes }));
    }
    all.truncate(MAX_CHOICES);
    all
}

/// Whether an output of the network depends on each value's elements; what is known already depends
/// on none.
pub(crate) fn needed(graph: &ModelGraph) -> Vec<bool> {
    let mut needed = vec![false; graph.values.len()];
    graph.outputs.iter().for_each(|id| needed[id.index()] = true);
    for node in graph.nodes.iter().rev() {
        let computes = |id: &ValueId| needed[id.index()] && !graph.value(*id).is_constant();
        if node.outputs.iter().flatten().any(computes) {
            node.inputs.iter().flatten().for_each(|id| needed[id.index()] = true);
        }
    }
    needed
}

/// Where the batch lies in every value under a guess. `merged` says whether a batch of one may share
/// an axis with others.
///
/// # Errors
/// Where something mixes its elements, the node that does if it has them in its first two inputs; or
/// where an output does not have it.
fn follow(
    graph: &ModelGraph,
    needed: &[bool],
    choice: &Choice,
    merged: bool,
) -> Result<Vec<Option<Place>>, Option<usize>> {
    let mut places = vec![None; graph.values.len()];
    for (&id, axis) in graph.inputs.iter().zip(&choice.axes) {
        places[id.index()] = axis.map(Place::whole);
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        let plain = node.plain();
        let follower = Follower { graph, node: &plain, size: choice.size, places: &places, merged };
        let touched = (0..plain.inputs.len()).any(|i| follower.at(i).is_some());
        // Arithmetic on shapes reads none of the elements.
        let mut outputs = node.outputs.iter().flatten();
        let computes = outputs.any(|id| needed[id.index()] && !graph.value(*id).is_constant());
        if !touched || !computes {
            continue;
        }
        let Some(found) = follower.outputs() else {
            let operand = follower.at(0).or(follower.at(1));
            return Err(operand.map(|_| index));
        };
        for (i, id) in node.outputs.iter().enumerate() {
            let Some(id) = *id else { continue };
            let value = graph.value(id);
            if value.is_constant() {
                continue;
            }
            let Some(place) = found.get(i).or(found.last()).copied().flatten() else { continue };
            // Where the shape was declared rather than inferred.
            let extent = *value.shape.get(place.axis).ok_or(None)?;
            let period = choice.size.checked_mul(place.inner).ok_or(None)?;
            if extent % period.max(1) != 0 {
                return Err(None);
            }
            places[id.index()] = Some(place);
        }
    }
    let all = graph.outputs.iter().all(|&id| {
        let value = graph.value(id);
        value.is_constant() || places[id.index()].is_some()
    });
    if all { Ok(places) } else { Err(None) }
}

/// One node whose outputs' batch is looked for.
struct Follower<'a> {
    graph: &'a ModelGraph,
    node: &'a Node,
    size: usize,
    places: &'a [Option<Place>],
    merged: bool,
}

/// The batch of each output, `None` where it has none; the last stands for those that follow.
type Places = SmallVec<[Option<Place>; 2]>;

fn same(place: Place) -> Option<Places> {
    Some(smallvec![Some(place)])
}

impl<'a> Follower<'a> {
    fn id(&self, input: usize) -> Option<ValueId> {
        self.node.inputs.get(input).copied().flatten()
    }

    fn at(&self, input: usize) -> Option<Place> {
        self.places[self.id(input)?.index()]
    }

    fn shape(&self, input: usize) -> &'a [usize] {
        self.id(input).map_or(&[], |id| &self.graph.value(id).shape)
    }

    fn output_shape(&self) -> Option<&'a [usize]> {
        let id = self.node.outputs.iter().flatten().next()?;
        Some(&self.graph.value(*id).shape)
    }

    /// The batch of input 0, when no other input has one.
    fn alone(&self) -> Option<Place> {
        let others = (1..self.node.inputs.len()).any(|i| self.at(i).is_some());
        self.at(0).filter(|_| !others)
    }

    /// The axis that attribute `axis` names.
    fn along(&self, default: i64) -> Option<usize> {
        infer::axis(self.node.attributes.int("axis", default), self.shape(0).len()).ok()
    }

    /// The batch of the outputs; `None` where its elements are mixed, or may be.
    fn outputs(&self) -> Option<Places> {
        let attributes = &self.node.attributes;
        let context = |f: &dyn Fn(&infer::Context) -> Option<Places>| {
            self.node.context(self.graph, |ctx| f(ctx))
        };
        match self.node.op.class() {
            Class::Unary | Class::Broadcast | Class::BiasSplitGelu | Class::Expand => {
                self.broadcast(self.node.inputs.len())
            }
            // What else they read is one number, a type, or runs along another axis.
            Class::Cast | Class::Dropout | Class::Tile => same(self.alone()?),
            Class::Quantise => match self.node.op {
                // Scale and zero point are one number each.
                OpType::DynamicQuantizeLinear => Some(smallvec![Some(self.alone()?), None]),
                _ => same(self.alone()?),
            },

            Class::Reshape => same(self.reshaped()?),
            Class::Transpose => context(&|ctx| {
                let place = self.alone()?;
                let from = layout::permutation(ctx).ok()?;
                let axis = from.iter().position(|&a| a == place.axis)?;
                same(Place { axis, ..place })
            }),
            Class::Concat => self.concat(),
            Class::Split => self.split(),
            Class::Slice => self.slice(),
            Class::Gather => self.gather(),
            Class::Pad => context(&|ctx| {
                let (place, pads) = (self.alone()?, layout::pads(ctx).ok()?);
                let edge = |i: usize| pads.get(i).copied() == Some(0);
                (edge(place.axis) && edge(self.shape(0).len() + place.axis)).then_some(())?;
                same(place)
            }),
            Class::Resize => {
                let place = self.alone()?;
                (self.output_shape()?.get(place.axis) == self.shape(0).get(place.axis))
                    .then_some(())?;
                same(place)
            }
            Class::Trilu => {
                let place = self.alone()?;
                (place.axis + 2 < self.shape(0).len()).then(|| same(place))?
            }

            Class::Conv
            | Class::ConvTranspose
            | Class::DepthSpace
            | Class::LocalResponseNorm
            | Class::GroupNorm => self.first_axes(1),
            // Channels may be last.
            Class::Pool if self.node.op == OpType::NhwcMaxPool => self.first_axes(1),
            Class::Pool | Class::GlobalPool | Class::InstanceNorm => self.first_axes(2),
            Class::BatchNorm => {
                let place = self.alone()?;
                (place.axis != 1).then(|| same(place))?
            }
            Class::GridSample => {
                let places: SmallVec<[Place; 2]> = (0..2).filter_map(|i| self.at(i)).collect();
                places.iter().all(|p| p.axis == 0 && *p == places[0]).then_some(())?;
                same(*places.first()?)
            }

            Class::MatMul => self.matmul(),
            Class::Gemm => self.gemm(),
            Class::Einsum => self.einsum(),
            Class::MsGroupNorm if self.node.op == OpType::GroupNorm => self.first_axes(1),
            // All work on one text at a time.
            Class::Attention
            | Class::EmbedLayerNorm
            | Class::RotaryEmbedding
            | Class::MsGroupNorm => {
                let places = (0..self.node.inputs.len()).filter_map(|i| self.at(i));
                places.clone().all(|p| p == Place::whole(0)).then_some(())?;
                same(Place::whole(0))
            }
            Class::PackedMatMul => {
                let place = self.alone()?;
                (place.axis + 1 < self.shape(0).len()).then(|| same(place))?
            }
            Class::Recurrent => {
                let first = attributes.int("layout", 0) == 1;
                let steps_first = usize::from(!first);
                let wanted = Place::whole(steps_first);
                let states = (1..self.node.inputs.len()).filter_map(|i| self.at(i));
                (self.at(0)? == wanted && states.into_iter().all(|p| p == wanted)).then_some(())?;
                let all = Place::whole(2 * steps_first);
                Some(smallvec![Some(all), Some(wanted)])
            }

            Class::Reduce => context(&|ctx| {
                let list = ctx.ints_either("axes", 1).ok()?;
                let axes = reduce::reduced_axes(attributes, ctx.optional(0)?, list).ok()?;
                self.without(&axes, attributes.int("keepdims", 1) != 0)
            }),
            Class::ArgMax => self.without(&[self.along(0)?], attributes.int("keepdims", 1) != 0),
            Class::TopK | Class::LpNormalization => self.other_than(self.along(-1)?, false),
            // The axis is an input.
            Class::Running => {
                let axis = *self.graph.value(self.id(1)?).data()?.ints()?.first()?;
                self.other_than(infer::axis(axis, self.shape(0).len()).ok()?, false)
            }
            Class::Softmax => {
                let old = self.graph.opset < 13;
                self.other_than(self.along(if old { 1 } else { -1 })?, old)
            }
            Class::LayerNorm => self.other_than(self.along(-1)?, true),
            Class::SkipLayerNorm => {
                let places = self.broadcast(2)?;
                let place = places.first().copied().flatten()?;
                (place.axis + 1 < self.shape(0).len()).then_some(())?;
                same(place)
            }
            Class::GatherElements => {
                let place = self.at(0).filter(|p| self.at(1) == Some(*p))?;
                (place.axis != self.along(0)?).then_some(())?;
                same(place)
            }
            Class::Random => match self.node.op {
                OpType::RandomNormalLike | OpType::RandomUniformLike => same(self.alone()?),
                _ => None,
            },
            // They may mix them; a constant has none.
            Class::Opaque | Class::Shape | Class::Constant => None,
            Class::StandIn(..) | Class::Unknown => None,
        }
    }

    /// Element by element, with operands broadcast against each other.
    fn broadcast(&self, operands: usize) -> Option<Places> {
        let out = self.output_shape()?;
        let mut found: Option<Place> = None;
        for i in 0..operands {
            let Some(place) = self.at(i) else { continue };
            let axis = (place.axis + out.len()).checked_sub(self.shape(i).len())?;
            let place = Place { axis, ..place };
            (*found.get_or_insert(place) == place).then_some(())?;
        }
        let found = found?;
        for i in 0..operands {
            let Some(id) = self.id(i).filter(|_| self.at(i).is_none()) else { continue };
            let aligned = (found.axis + self.shape(i).len()).checked_sub(out.len());
            if let Some(axis) = aligned
                && self.node.op != OpType::Expand
                && !self.uniform(id, axis, UNIFORM_DEPTH)
            {
                return None;
            }
        }
        same(found)
    }

    /// Whether all elements along an axis are the same, as far as can be told.
    fn uniform(&self, id: ValueId, axis: usize, depth: usize) -> bool {
        let value = self.graph.value(id);
        let Some(&extent) = value.shape.get(axis) else { return true };
        if extent == 1 {
            return true;
        }
        if let Some(data) = value.data() {
            return uniform_data(data, &value.shape, axis);
        }
        let Some(producer) = value.producer.filter(|_| depth > 0) else { return false };
        let producer = &self.graph.nodes[producer.index()];
        match producer.op {
            OpType::ConstantOfShape => true,
            OpType::Expand | OpType::Tile | OpType::Cast | OpType::Identity => {
                let Some(&Some(from)) = producer.inputs.first() else { return false };
                let rank = self.graph.value(from).shape.len();
                match (axis + rank).checked_sub(value.shape.len()) {
                    Some(axis) => self.uniform(from, axis, depth - 1),
                    None => true,
                }
            }
            _ => false,
        }
    }

    fn reshaped(&self) -> Option<Place> {
        let place = self.alone()?;
        let (from, to) = (self.shape(0), self.output_shape()?);
        let product = |dims: &[usize]| dims.iter().try_fold(1usize, |p, &d| p.checked_mul(d));
        let period = self.size.checked_mul(place.inner)?;
        let outer = product(&from[..place.axis])?.checked_mul(from[place.axis] / period)?;
        let inner = product(&from[place.axis + 1..])?.checked_mul(place.inner)?;
        let at = |axis: usize, merged: bool| {
            let (before, after) = (product(&to[..axis])?, product(&to[axis + 1..])?);
            if before == 0 || after == 0 || outer % before != 0 || inner % after != 0 {
                return None;
            }
            // A batch of one could lie between any two elements; only an axis of its own is one.
            if self.size == 1 && !merged && (outer != before || inner != after) {
                return None;
            }
            let extent = (outer / before).checked_mul(self.size)?.checked_mul(inner / after)?;
            (extent == to[axis]).then_some(Place { axis, inner: inner / after })
        };
        let own = (0..to.len()).find_map(|axis| at(axis, false));
        // It rather shares an axis with what comes after it, such as heads or windows, but not the
        // last one, which is that of features.
        let before = |axis: &usize| product(&to[..*axis]) == Some(outer);
        let inside = |axis: &usize| axis + 1 < to.len() && before(axis);
        let merged = || (0..to.len()).filter(|_| self.merged);
        own.or_else(|| merged().filter(inside).find_map(|axis| at(axis, true)))
            .or_else(|| merged().find_map(|axis| at(axis, true)))
    }

    /// Tensors joined along the batch's axis each have all of the batch.
    fn concat(&self) -> Option<Places> {
        let along = self.along(1)?;
        let mut found: Option<Place> = None;
        for i in 0..self.node.inputs.len() {
            let Some(place) = self.at(i) else { continue };
            (*found.get_or_insert(place) == place).then_some(())?;
        }
        let found = found?;
        for i in 0..self.node.inputs.len() {
            let Some(id) = self.id(i).filter(|_| self.at(i).is_none()) else { continue };
            let same = found.axis != along && self.uniform(id, found.axis, UNIFORM_DEPTH);
            same.then_some(())?;
        }
        same(found)
    }

    /// Elements of an axis that make up whole runs of the batch.
    fn runs(&self, place: Place, start: usize, count: usize) -> Option<()> {
        let period = self.size.checked_mul(place.inner).filter(|&p| p > 0)?;
        let whole = start.is_multiple_of(period) && count.is_multiple_of(period);
        (whole && count > 0).then_some(())
    }

    fn split(&self) -> Option<Places> {
        let place = self.alone()?;
        let (along, sizes) = self.node.context(self.graph, layout::split_sizes).ok()?;
        if along == place.axis {
            let mut start = 0usize;
            for size in sizes {
                self.runs(place, start, size)?;
                start = start.checked_add(size)?;
            }
        }
        same(place)
    }

    fn slice(&self) -> Option<Places> {
        let place = self.alone()?;
        let ranges = self.node.context(self.graph, layout::slice_ranges).ok()?;
        let range = ranges.get(place.axis)?;
        if range.count != *self.shape(0).get(place.axis)? {
            (range.step == 1).then_some(())?;
            self.runs(place, usize::try_from(range.start).ok()?, range.count)?;
        } else if range.step != 1 {
            return None;
        }
        same(place)
    }

    fn gather(&self) -> Option<Places> {
        let along = self.along(0)?;
        match (self.at(0), self.at(1)) {
            (Some(place), None) if place.axis == along => {
                self.taken_alike(place)?;
                same(Place::whole(along))
            }
            (Some(place), None) => {
                let added = self.shape(1).len();
                let axis = match place.axis < along {
                    true => place.axis,
                    false => (place.axis + added).checked_sub(1)?,
                };
                same(Place { axis, ..place })
            }
            (None, Some(place)) => same(Place { axis: along + place.axis, ..place }),
            _ => None,
        }
    }

    /// Whether a Gather takes the same of each element of the batch, along its own axis: exporters write so where
    /// strides were given (`as_strided`), as after a mean over axes that were permuted.
    fn taken_alike(&self, place: Place) -> Option<()> {
        let index = self.graph.value(self.id(1)?);
        let (list, inner) = (index.data()?.ints()?, i64::try_from(place.inner).ok()?);
        (*index.shape.first()? == self.size && !list.is_empty()).then_some(())?;
        let one = list.len() / self.size;
        let own = |(i, &taken): (usize, &i64)| {
            let first = i64::try_from(i / one).ok().and_then(|element| element.checked_mul(inner));
            first.and_then(|first| taken.checked_sub(first)) == Some(list[i % one])
        };
        let inside = list[..one].iter().all(|taken| (0..inner).contains(taken));
        let all = place.inner.checked_mul(self.size) == Some(self.shape(0)[place.axis]);
        (all && inside && list.iter().enumerate().all(own)).then_some(())
    }

    /// Operators that work on each of the first `count` axes' elements apart.
    fn first_axes(&self, count: usize) -> Option<Places> {
        let place = self.alone()?;
        (place.axis < count).then(|| same(place))?
    }

    /// A reduction over `axes`.
    fn without(&self, axes: &[usize], keep: bool) -> Option<Places> {
        let place = self.alone()?;
        if axes.contains(&place.axis) {
            return None;
        }
        // A file may name an axis twice.
        let gone = if keep { 0 } else { (0..place.axis).filter(|a| axes.contains(a)).count() };
        same(Place { axis: place.axis - gone, ..place })
    }

    /// An operation along `axis`, and along all that come after it if `onward`.
    fn other_than(&self, axis: usize, onward: bool) -> Option<Places> {
        let place = self.alone()?;
        let mixed = place.axis == axis || (onward && place.axis > axis);
        (!mixed).then(|| same(place))?
    }

    /// A product of matrices: the batch may run over rows, columns, or before them.
    fn matmul(&self) -> Option<Places> {
        let out = self.output_shape()?;
        let mut found: Option<Place> = None;
        for (i, flip) in [(0, "transA"), (1, "transB")] {
            let Some(place) = self.at(i) else { continue };
            let rank = self.shape(i).len();
            // A vector is contracted.
            let from_end = rank.checked_sub(place.axis + 1).filter(|_| rank >= 2)?;
            let flipped = self.node.attributes.int(flip, 0) != 0;
            let from_end = if from_end < 2 && flipped { 1 - from_end } else { from_end };
            let contracted = if i == 0 { 0 } else { 1 };
            (from_end != contracted).then_some(())?;
            let vector = |j: usize| usize::from(self.shape(j).len() == 1);
            // Where the other operand is a vector, its axis is missing from the output.
            let from_end = match i {
                0 => from_end.checked_sub(vector(1))?,
                _ if from_end >= 2 => from_end - vector(0),
                _ => from_end,
            };
            let axis = out.len().checked_sub(from_end + 1)?;
            let place = Place { axis, ..place };
            (*found.get_or_insert(place) == place).then_some(())?;
        }
        let found = found?;
        // A constant with a matrix for each element of the batch.
        for i in [0, 1] {
            let Some(id) = self.id(i).filter(|_| self.at(i).is_none()) else { continue };
            let aligned = (found.axis + self.shape(i).len()).checked_sub(out.len());
            if let Some(axis) = aligned.filter(|a| a + 2 < self.shape(i).len()) {
                self.uniform(id, axis, UNIFORM_DEPTH).then_some(())?;
            }
        }
        same(found)
    }

    fn gemm(&self) -> Option<Places> {
        let flipped = |name: &str| usize::from(self.node.attributes.int(name, 0) != 0);
        let place = match (self.at(0), self.at(1)) {
            (Some(a), None) if a.axis == flipped("transA") => Place { axis: 0, ..a },
            (None, Some(b)) if b.axis == 1 - flipped("transB") => Place { axis: 1, ..b },
            _ => return None,
        };
        if let Some(id) = self.id(2) {
            match self.at(2) {
                Some(c) => (c == place).then_some(())?,
                None => {
                    let aligned = (place.axis + self.shape(2).len()).checked_sub(2);
                    let same = aligned.is_none_or(|a| self.uniform(id, a, UNIFORM_DEPTH));
                    same.then_some(())?;
                }
            }
        }
        same(place)
    }

    fn einsum(&self) -> Option<Places> {
        let equation = self.node.context(self.graph, infer::einsum::equation).ok()?;
        let mut found: Option<(infer::einsum::Label, usize)> = None;
        for (i, term) in equation.terms.iter().enumerate() {
            let Some(place) = self.at(i) else { continue };
            let label = (*term.get(place.axis)?, place.inner);
            // Not along a diagonal.
            (term.iter().filter(|l| **l == label.0).count() == 1).then_some(())?;
            (*found.get_or_insert(label) == label).then_some(())?;
        }
        let (label, inner) = found?;
        for (i, term) in equation.terms.iter().enumerate() {
            let Some(id) = self.id(i).filter(|_| self.at(i).is_none()) else { continue };
            for (axis, _) in term.iter().enumerate().filter(|(_, l)| **l == label) {
                self.uniform(id, axis, UNIFORM_DEPTH).then_some(())?;
            }
        }
        let axis = equation.output.iter().position(|&l| l == label)?;
        same(Place { axis, inner })
    }
}

/// How far back a constant is looked at.
const UNIFORM_DEPTH: usize = 8;

fn uniform_data(data: &TensorData, shape: &[usize], axis: usize) -> bool {
    let inner: usize = shape[axis + 1..].iter().product();
    let period = inner.saturating_mul(shape[axis]);
    if inner == 0 || period == 0 {
        return true;
    }
    (0..data.len()).all(|i| {
        let first = i - i % period + i % inner;
        data.get_f64(i) == data.get_f64(first)
    })
}
