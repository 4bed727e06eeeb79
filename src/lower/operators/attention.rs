//! Attention, written out as the products and the softmax that it stands for.

use super::super::axes::{Axes, extent};
use super::super::draft::{Index, Node as Draftee, Op};
use super::{Drafter, push_in};
use crate::graph::{Extent, Operation};
use crate::model_graph::infer::attention::packed_widths;
use crate::model_graph::{Node, OpType, ValueId};
use smallvec::{SmallVec, smallvec};

/// Queries, keys or values.
#[derive(Clone, Copy)]
struct Part {
    index: Index,
    extent: Extent,
    /// Tokens as a map: their heights and widths.
    tokens: [u64; 2],
}

/// The tokens that the last axis but one runs over.
fn tokens(axes: &Axes) -> [u64; 2] {
    let axis = axes.len().checked_sub(2).and_then(|at| axes.get(at));
    let tokens = axis.map_or(Extent::new(1, 1, 1), |axis| extent(&smallvec![axis.clone()]));
    [tokens.height, tokens.width]
}

impl Drafter<'_> {
    /// ONNX's: queries, keys and values are there.
    pub(super) fn attention(&mut self, node: &Node) {
        let part = |i: usize| {
            let axes = self.axes_of(node, i)?;
            Some(Part { index: self.from(node, i)?, extent: extent(axes), tokens: tokens(axes) })
        };
        let (Some(q), Some(k), Some(v)) = (part(0), part(1), part(2)) else {
            return self.plain(node, Operation::MatMul);
        };
        let heads = match self.axes_of(node, 0) {
            Some(axes) if axes.len() == 4 => extent(&smallvec![axes[1].clone()]).channels,
            _ => node.attributes.int("q_num_heads", 1).unsigned_abs(),
        };
        self.scaled_dot_product(node, [q, k, v], heads, self.id(node, 3));
    }

    /// ONNX Runtime's, which projects its input itself.
    pub(super) fn packed_attention(&mut self, node: &Node) {
        let (Some(axes), Some(weight)) = (self.axes_of(node, 0), self.value(node, 1)) else {
            return self.plain(node, Operation::MatMul);
        };
        let (input, [height, width]) = (extent(axes), tokens(axes));
        let &[depth, columns] = weight.shape.as_slice() else { return };
        let Ok(widths) = packed_widths(&node.attributes, columns) else { return };
        let projection = Node {
            // Its weights stand where a Gemm's do.
            op: OpType::Gemm,
            inputs: node.inputs.iter().copied().take(3).collect(),
            ..node.clone()
        };
        let bias = self.id(node, 2).is_some();
        let new = self.atom(&projection, Operation::Linear);
        new.input = input;
        new.output = Extent::new(columns as u64, height, width);
        new.bias = bias;
        new.macs = new.output.elements().saturating_mul(depth as u64);
        let output = new.output;
        let Some(from) = self.source[self.output(node).index()] else { return };
        let mut start = 0;
        let parts = widths.map(|size| {
            let extent = Extent::new(size as u64, height, width);
            let mut slice =
                Draftee::new(Op::Atom(Operation::Slice), smallvec![from], output, extent);
            slice.name = node.name.clone();
            slice.key = smallvec![2, start, 1, size as i64];
            start += size as i64;
            Part { index: self.draft.push(slice), extent, tokens: [height, width] }
        });
        let heads = node.attributes.int("num_heads", 1).unsigned_abs();
        self.scaled_dot_product(node, parts, heads, self.id(node, 3));
    }

    /// The node's first output: softmax(q · kᵀ + mask) · v.
    fn scaled_dot_product(
        &mut self,
        node: &Node,
        [q, k, v]: [Part; 3],
        heads: u64,
        mask: Option<ValueId>,
    ) {
        let larger = |a: Extent, b: Extent| std::cmp::max_by_key(a, b, |e| (e.elements(), *e));
        let scores = Extent::new(
            heads,
            q.tokens[0].saturating_mul(k.tokens[0]),
            q.tokens[1].saturating_mul(k.tokens[1]),
        );
        let output = self.extent(self.output(node));
        let mut push = |operation, inputs: &[Index], input, output, macs| {
            let mut new =
                Draftee::new(Op::Atom(operation), SmallVec::from_slice(inputs), input, output);
            new.macs = macs;
            new.name = node.name.clone();
            self.draft.push(new)
        };
        let head = q.extent.channels.checked_div(heads).unwrap_or(1);
        let macs = scores.elements().saturating_mul(head);
        let inputs = [q.index, k.index];
        let mut index = push(Operation::MatMul, &inputs, larger(q.extent, k.extent), scores, macs);
        if let Some(mask) = mask {
            index = match self.source[mask.index()] {
                Some(mask) => {
                    push_in(&mut self.draft, Operation::Add, &[index, mask], scores, node)
                }
                None => push_in(&mut self.draft, Operation::AddConstant, &[index], scores, node),
            };
        }
        index = push_in(&mut self.draft, Operation::Softmax, &[index], scores, node);
        let keys = k.tokens[0].saturating_mul(k.tokens[1]);
        self.draft.nodes_mut()[index].window.kernel = [u32::try_from(keys).unwrap_or(u32::MAX), 1];
        let mut new = Draftee::new(
            Op::Atom(Operation::MatMul),
            smallvec![index, v.index],
            larger(scores, v.extent),
            output,
        );
        new.macs = output.elements().saturating_mul(keys);
        new.name = node.name.clone();
        let index = self.draft.push(new);
        self.alias(node, index);
    }
}
