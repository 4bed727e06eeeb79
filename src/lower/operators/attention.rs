//! Attention, written out as the products and the softmax that it stands for.

use super::super::axes::{Axes, extent};
use super::super::draft::{Index, Node as DraftNode, Op};
use super::{Drafter, push_in};
use crate::graph::{Extent, Operation};
use crate::model_graph::infer::attention::{multi_head, packed_widths};
use crate::model_graph::{Node, OpType};
use smallvec::{SmallVec, smallvec};

/// Queries, keys or values.
#[derive(Clone, Copy)]
struct Part {
    index: Index,
    extent: Extent,
}

/// What else an attention reads.
struct Extras<'a> {
    heads: u64,
    /// How many sets of tokens there are, such as windows, each with an attention of its own.
    sets: [u64; 2],
    /// Inputs that are added to the scores.
    masks: &'a [usize],
    /// Inputs that hold earlier keys and values.
    past: [usize; 2],
}

/// What an axis runs over as a map, whatever its meaning.
fn of_axis(axes: &Axes, axis: usize) -> [u64; 2] {
    let axis = axes.get(axis).map(|axis| extent(&smallvec![axis.clone()]));
    let extent = axis.unwrap_or(Extent::new(1, 1, 1));
    [extent.height.saturating_mul(extent.channels), extent.width]
}

/// How many sets of tokens the first axis holds for one input.
fn sets(axes: Option<&Axes>) -> [u64; 2] {
    axes.map_or([1, 1], |axes| of_axis(axes, 0))
}

/// `features` of the tokens that an axis runs over, in all sets.
fn of_tokens(axes: &Axes, axis: usize, features: u64) -> Extent {
    let (tokens, sets) = (of_axis(axes, axis), sets(Some(axes)));
    let [height, width] = [0, 1].map(|i| tokens[i].saturating_mul(sets[i]));
    Extent::new(features, height, width)
}

impl Drafter<'_> {
    /// ONNX's: queries, keys and values are there.
    pub(super) fn attention(&mut self, node: &Node) {
        let part = |i: usize| {
            let (axes, shape) = (self.axes_of(node, i)?, &self.value(node, i)?.shape);
            let features: &[usize] = match shape.as_slice() {
                [_, heads, _, head] => &[*heads, *head],
                [.., all] => &[*all],
                [] => &[],
            };
            let features = features.iter().fold(1u64, |p, &d| p.saturating_mul(d as u64));
            let extent = of_tokens(axes, axes.len().checked_sub(2)?, features);
            Some(Part { index: self.from(node, i)?, extent })
        };
        let (Some(q), Some(k), Some(v)) = (part(0), part(1), part(2)) else {
            return self.plain(node, Operation::MatMul);
        };
        let heads = match self.axes_of(node, 0) {
            Some(axes) if axes.len() == 4 => self.value(node, 0).map_or(1, |q| q.shape[1] as u64),
            _ => node.attributes.int("q_num_heads", 1).unsigned_abs(),
        };
        let sets = sets(self.axes_of(node, 0));
        let extras = Extras { heads, sets, masks: &[3], past: [4, 5] };
        self.scaled_dot_product(node, [q, k, v], extras);
    }

    /// ONNX Runtime's, which projects its input itself.
    pub(super) fn packed_attention(&mut self, node: &Node) {
        let (Some(axes), Some(weight)) = (self.axes_of(node, 0), self.value(node, 1)) else {
            return self.plain(node, Operation::MatMul);
        };
        let &[depth, columns] = weight.shape.as_slice() else { return };
        let Ok(widths) = packed_widths(&node.attributes, columns) else { return };
        let (input, output) = (extent(axes), of_tokens(axes, 1, columns as u64));
        let projection = Node {
            // Its weights stand where a Gemm's do.
            op: OpType::Gemm,
            inputs: node.inputs.iter().copied().take(3).collect(),
            ..node.clone()
        };
        let bias = self.id(node, 2).is_some();
        let new = self.atom(&projection, Operation::Linear);
        (new.input, new.output, new.bias) = (input, output, bias);
        new.macs = new.output.elements().saturating_mul(depth as u64);
        let Some(from) = self.source[self.output(node).index()] else { return };
        let parts = self.cut(node, Part { index: from, extent: output }, 2, &widths);
        let &[q, k, v] = parts.as_slice() else { return };
        let heads = node.attributes.int("num_heads", 1).unsigned_abs();
        let sets = sets(self.axes_of(node, 0));
        let extras = Extras { heads, sets, masks: &[3, 5], past: [4, 4] };
        self.scaled_dot_product(node, [q, k, v], extras);
    }

    /// ONNX Runtime's without projections: queries, keys and values in one to three tensors, to
    /// which a shift may be added and positions given by rotation.
    pub(super) fn multi_head_attention(&mut self, node: &Node) {
        let Ok(sizes) = node.context(self.graph, multi_head) else { return };
        let widths = sizes.widths();
        let mut parts: SmallVec<[Part; 3]> = SmallVec::new();
        for i in 0..sizes.tensors {
            // One tensor holds all, two hold the queries and the rest.
            let own = match sizes.tensors {
                1 => &widths[..],
                2 if i == 1 => &widths[1..],
                _ => &widths[i..=i],
            };
            let (Some(axes), Some(index)) = (self.axes_of(node, i), self.from(node, i)) else {
                return self.plain(node, Operation::MatMul);
            };
            let tokens = if axes.len() == 4 { 2 } else { 1 };
            let extent = of_tokens(axes, tokens, own.iter().map(|&w| w as u64).sum());
            let axis = if axes.len() == 5 { 3 } else { 2 };
            match own {
                [_] => parts.push(Part { index, extent }),
                several => parts.extend(self.cut(node, Part { index, extent }, axis, several)),
            }
        }
        for (part, width) in parts.iter_mut().zip(widths) {
            part.index = self.shifted(node, part.index, 3, part.extent, width as u64);
        }
        if node.attributes.int("do_rotary", 0) != 0 {
            for part in parts.iter_mut().take(2) {
                part.index = self.rotated(node, part.index, part.extent, [10, 11]);
            }
        }
        let &[q, k, v] = parts.as_slice() else { return };
        let (heads, sets) = (sizes.heads as u64, sets(self.axes_of(node, 0)));
        let extras = Extras { heads, sets, masks: &[4, 5], past: [6, 7] };
        self.scaled_dot_product(node, [q, k, v], extras);
    }

    pub(super) fn rotary_embedding(&mut self, node: &Node) {
        let Some(from) = self.from(node, 0) else { return self.plain(node, Operation::Mul) };
        let extent = self.extent(self.output(node));
        let index = self.rotated(node, from, extent, [1, 2]);
        self.alias(node, index);
    }

    /// A product with cosines and sines, which are no weights where they are stored.
    fn rotated(&mut self, node: &Node, from: Index, extent: Extent, tables: [usize; 2]) -> Index {
        let computed = tables.iter().filter_map(|&i| self.from(node, i));
        let inputs: SmallVec<[Index; 2]> = [from].into_iter().chain(computed).collect();
        let stored = inputs.len() == 1;
        let operation = if stored { Operation::MulConstant } else { Operation::Mul };
        let index = push_in(&mut self.draft, operation, &inputs, extent, node);
        let key = self.id(node, tables[0]).map(|id| id.index() as i64);
        self.draft.nodes_mut()[index].key = key.into_iter().collect();
        index
    }

    /// Pieces of a tensor along an axis of features.
    fn cut(&mut self, node: &Node, from: Part, axis: i64, sizes: &[usize]) -> SmallVec<[Part; 3]> {
        let mut start = 0;
        let piece = |&size: &usize| {
            let extent = Extent::new(size as u64, from.extent.height, from.extent.width);
            let op = Op::Atom(Operation::Slice);
            let mut slice = DraftNode::new(op, smallvec![from.index], from.extent, extent);
            slice.name = node.name.clone();
            slice.key = smallvec![axis, start, 1, size as i64];
            start += size as i64;
            Part { index: self.draft.push(slice), extent }
        };
        sizes.iter().map(piece).collect()
    }

    /// Keys or values after those that were there before.
    fn with_past(&mut self, node: &Node, part: Part, past: usize, sets: u64) -> Part {
        let Some(value) = self.value(node, past) else { return part };
        let axis = value.shape.len().checked_sub(2);
        let before = axis.map_or(0, |axis| (value.shape[axis] as u64).saturating_mul(sets));
        let mut extent = part.extent;
        extent.height = extent.height.saturating_add(before);
        let inputs: SmallVec<[Index; 2]> =
            self.from(node, past).into_iter().chain([part.index]).collect();
        let joined = DraftNode::new(Op::Atom(Operation::Concat), inputs, part.extent, extent);
        Part { index: self.draft.push(DraftNode { name: node.name.clone(), ..joined }), extent }
    }

    /// The outputs: softmax(q · kᵀ + masks) · v, then keys, values and scores.
    fn scaled_dot_product(&mut self, node: &Node, [q, k, v]: [Part; 3], extras: Extras) {
        let [rows, columns] = extras.sets.map(|sets| sets.max(1));
        let k = self.with_past(node, k, extras.past[0], rows);
        let v = self.with_past(node, v, extras.past[1], rows);
        // Of one set.
        let keys = [k.extent.height / rows, k.extent.width / columns];
        let larger = |a: Extent, b: Extent| std::cmp::max_by_key(a, b, |e| (e.elements(), *e));
        let scores = Extent::new(
            extras.heads,
            q.extent.height.saturating_mul(keys[0]),
            q.extent.width.saturating_mul(keys[1]),
        );
        let output = self.extent(self.output(node));
        let push = |draft: &mut super::Draft, inputs: [Index; 2], input, output, macs| {
            let op = Op::Atom(Operation::MatMul);
            let mut new = DraftNode::new(op, SmallVec::from_slice(&inputs), input, output);
            new.macs = macs;
            new.name = node.name.clone();
            draft.push(new)
        };
        let head = q.extent.channels.checked_div(extras.heads).unwrap_or(1);
        let macs = scores.elements().saturating_mul(head);
        let inputs = [q.index, k.index];
        let products = push(&mut self.draft, inputs, larger(q.extent, k.extent), scores, macs);
        let mut index = products;
        for &mask in extras.masks {
            index = self.masked(node, index, mask, scores);
        }
        index = push_in(&mut self.draft, Operation::Softmax, &[index], scores, node);
        let keys = keys[0].saturating_mul(keys[1]);
        self.draft.nodes_mut()[index].window.kernel = [u32::try_from(keys).unwrap_or(u32::MAX), 1];
        let macs = output.elements().saturating_mul(keys);
        let index = push(&mut self.draft, [index, v.index], larger(scores, v.extent), output, macs);
        self.alias(node, index);
        for (id, index) in node.outputs.iter().skip(1).zip([k.index, v.index, products]) {
            if let Some(id) = id {
                self.source[id.index()] = Some(index);
            }
        }
    }

    fn masked(&mut self, node: &Node, index: Index, mask: usize, extent: Extent) -> Index {
        let Some(mask) = self.id(node, mask) else { return index };
        match self.source[mask.index()] {
            Some(mask) => push_in(&mut self.draft, Operation::Add, &[index, mask], extent, node),
            None => push_in(&mut self.draft, Operation::AddConstant, &[index], extent, node),
        }
    }
}
