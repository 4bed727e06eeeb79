//! What ONNX Runtime fuses into one operator, written out.

use super::super::draft::{Index, Node as DraftNode, Op};
use super::{Drafter, push_in};
use crate::graph::{Extent, Operation};
use crate::model_graph::infer::matmul::packed_size;
use crate::model_graph::{Node, OpType, ValueId};
use smallvec::{SmallVec, smallvec};

impl Drafter<'_> {
    /// Adds input `input`, of which `share` coefficients belong to what is computed at `from`.
    pub(super) fn shifted(
        &mut self,
        node: &Node,
        from: Index,
        input: usize,
        extent: Extent,
        share: u64,
    ) -> Index {
        let Some(id) = self.id(node, input) else { return from };
        if let Some(other) = self.source[id.index()] {
            return push_in(&mut self.draft, Operation::Add, &[from, other], extent, node);
        }
        let index = push_in(&mut self.draft, Operation::Affine, &[from], extent, node);
        let new = &mut self.draft.nodes_mut()[index];
        (new.bias, new.parameters) = (true, share);
        new.key = smallvec![id.index() as i64];
        index
    }

    /// Adds all of input `input`.
    fn with_bias(&mut self, node: &Node, from: Index, input: usize, extent: Extent) -> Index {
        let share = self.value(node, input).map_or(0, |bias| bias.elements());
        self.shifted(node, from, input, extent, share)
    }

    /// Inputs 0 and `skip`, added, with a bias, which mostly belongs to the linear layer before.
    fn sum(&mut self, node: &Node, skip: usize, bias: usize) -> Option<Index> {
        let extent = self.extent(self.output(node));
        let operands = [self.from(node, 0), self.from(node, skip)];
        let (mut a, mut b) = match operands {
            [Some(a), Some(b)] => (a, b),
            [None, None] => return None,
            [one, other] => {
                // The other is a table.
                let from = self.with_bias(node, one.or(other)?, bias, extent);
                let table = self.value(node, if one.is_some() { skip } else { 0 })?;
                let parameters = self.per_sample(node, table);
                let index = push_in(&mut self.draft, Operation::AddConstant, &[from], extent, node);
                self.draft.nodes_mut()[index].parameters = parameters;
                return Some(index);
            }
        };
        let weighted = |s: &Self, i: Index| {
            [Operation::Linear, Operation::Conv].into_iter().any(|o| s.draft.node(i).is(o))
        };
        if weighted(self, b) {
            b = self.with_bias(node, b, bias, extent);
        } else {
            a = self.with_bias(node, a, bias, extent);
        }
        Some(push_in(&mut self.draft, Operation::Add, &[a, b], extent, node))
    }

    /// A normalisation of what is computed at `from`, with factor and shift.
    fn normalised(
        &mut self,
        node: &Node,
        from: Index,
        operation: Operation,
        [factor, shift]: [Option<usize>; 2],
    ) -> Index {
        let extent = self.extent(self.output(node));
        let input = |i: Option<usize>| i.and_then(|i| self.id(node, i));
        // Where ONNX's normalisation has them.
        let plain = Node {
            op: OpType::LayerNormalization,
            inputs: smallvec![None, input(factor), input(shift)],
            ..node.clone()
        };
        let parameters = self.coefficients(&plain);
        let (scale, bias) = (self.has_trained(&plain, 1), self.has_trained(&plain, 2));
        let index = push_in(&mut self.draft, operation, &[from], extent, node);
        let new = &mut self.draft.nodes_mut()[index];
        (new.parameters, new.scale, new.bias) = (parameters, scale, bias);
        index
    }

    /// Lets each output be computed by the node at its place, those that follow by the last.
    fn outputs(&mut self, node: &Node, indices: &[Index]) {
        for (i, id) in node.outputs.iter().enumerate() {
            if let (Some(id), Some(index)) = (id, indices.get(i).or(indices.last())) {
                self.source[id.index()] = Some(*index);
            }
        }
    }

    pub(super) fn skip_norm(&mut self, node: &Node) {
        let full = node.op == OpType::SkipLayerNormalization;
        let (operation, shift, bias) = match full {
            true => (Operation::LayerNorm, Some(3), 4),
            false => (Operation::RmsNorm, None, 3),
        };
        let Some(sum) = self.sum(node, 1, bias) else { return self.plain(node, operation) };
        let index = self.normalised(node, sum, operation, [Some(2), shift]);
        self.outputs(node, &[index, sum]);
    }

    /// A sum with a bias and another tensor.
    pub(super) fn bias_add(&mut self, node: &Node) {
        match self.sum(node, 2, 1) {
            Some(sum) => self.alias(node, sum),
            None => self.plain(node, Operation::Add),
        }
    }

    pub(super) fn bias_gelu(&mut self, node: &Node) {
        let Some(from) = self.from(node, 0) else { return self.plain(node, Operation::Gelu) };
        let extent = self.extent(self.output(node));
        let from = self.with_bias(node, from, 1, extent);
        let index = push_in(&mut self.draft, Operation::Gelu, &[from], extent, node);
        self.alias(node, index);
    }

    pub(super) fn bias_softmax(&mut self, node: &Node) {
        self.add(&Node { op: OpType::Add, ..node.clone() });
        let (Some(x), Some(sum)) = (self.id(node, 0), self.source[self.output(node).index()])
        else {
            return;
        };
        // What stands for input 0 is the sum, as long as the softmax reads it.
        let from = self.source[x.index()].replace(sum);
        let alone = node.inputs.iter().copied().take(1).collect();
        self.softmax(&Node { inputs: alone, ..node.clone() }, Operation::Softmax);
        self.source[x.index()] = from;
    }

    /// One half of the features times the Gelu of the other.
    pub(super) fn bias_split_gelu(&mut self, node: &Node) {
        let (Some(from), Some(id)) = (self.from(node, 0), self.id(node, 0)) else {
            return self.plain(node, Operation::Gelu);
        };
        let (input, half) = (self.extent(id), self.extent(self.output(node)));
        let from = self.with_bias(node, from, 1, input);
        let piece = |draft: &mut super::Draft, start: i64| {
            let mut new = DraftNode::new(Op::Atom(Operation::Slice), smallvec![from], input, half);
            new.key = smallvec![-1, start];
            draft.push(new)
        };
        let (value, gate) = (piece(&mut self.draft, 0), piece(&mut self.draft, 1));
        let gate = push_in(&mut self.draft, Operation::Gelu, &[gate], half, node);
        let index = push_in(&mut self.draft, Operation::Mul, &[value, gate], half, node);
        self.alias(node, index);
    }

    /// Group normalisation, perhaps of a sum, perhaps with a SiLU after it.
    pub(super) fn ms_group_norm(&mut self, node: &Node) {
        let sum = match node.op {
            OpType::SkipGroupNorm => self.sum(node, 3, 4),
            _ => self.from(node, 0),
        };
        let Some(sum) = sum else { return self.plain(node, Operation::GroupNorm) };
        let extent = self.extent(self.output(node));
        let groups = node.attributes.int("groups", 1).unsigned_abs();
        let single = groups == extent.channels;
        let operation = if single { Operation::InstanceNorm } else { Operation::GroupNorm };
        let mut index = self.normalised(node, sum, operation, [Some(1), Some(2)]);
        if !single {
            let groups = u32::try_from(groups).unwrap_or(u32::MAX);
            self.draft.nodes_mut()[index].window.groups = groups;
        }
        if node.attributes.int("activation", 0) == 1 {
            index = push_in(&mut self.draft, Operation::Silu, &[index], extent, node);
        }
        self.outputs(node, &[index, sum]);
    }

    /// Rows of the tables of words and segments, with those of all positions, normalised.
    pub(super) fn embed_layer_norm(&mut self, node: &Node) {
        let extent = self.extent(self.output(node));
        let rows = |s: &mut Self, ids: usize, table: usize| -> Option<Index> {
            let (from, id) = (s.from(node, ids)?, s.id(node, ids)?);
            let parameters = s.table(s.id(node, table)?);
            let op = Op::Atom(Operation::Embedding);
            let mut new = DraftNode::new(op, smallvec![from], s.extent(id), extent);
            (new.parameters, new.name) = (parameters, node.name.clone());
            Some(s.draft.push(new))
        };
        let tables = [rows(self, 0, 2), rows(self, 1, 4), rows(self, 8, 3)];
        let mut sum: Option<Index> = None;
        let found: SmallVec<[Index; 3]> = tables.into_iter().flatten().collect();
        for index in found {
            sum = Some(match sum {
                None => index,
                Some(sum) => push_in(&mut self.draft, Operation::Add, &[sum, index], extent, node),
            });
        }
        let Some(mut sum) = sum else { return self.plain(node, Operation::Embedding) };
        if tables[2].is_none() {
            let parameters = self.id(node, 3).map_or(0, |id| self.table(id));
            sum = push_in(&mut self.draft, Operation::AddConstant, &[sum], extent, node);
            self.draft.nodes_mut()[sum].parameters = parameters;
        }
        let index = self.normalised(node, sum, Operation::LayerNorm, [Some(5), Some(6)]);
        let length = self.from(node, 7).or(self.from(node, 0)).unwrap_or(index);
        self.outputs(node, &[index, length, sum]);
    }

    fn table(&mut self, id: ValueId) -> u64 {
        if self.graph.value(id).is_constant() { self.count(id) } else { 0 }
    }

    /// A linear layer whose weight is stored in few bits, which is counted as if it was not.
    pub(super) fn packed_matmul(&mut self, node: &Node) {
        let Ok((columns, rows)) = packed_size(&node.attributes) else { return };
        let stored = self.id(node, 1).map_or(0, |id| self.table(id));
        let bias = node.op == OpType::MatMulNBits && self.id(node, 5).is_some();
        let new = self.atom(node, Operation::Linear);
        if stored > 0 {
            let weight = (columns as u64).saturating_mul(rows as u64);
            new.parameters = new.parameters.saturating_add(weight);
        }
        new.bias = bias;
        new.macs = new.output.elements().saturating_mul(rows as u64);
    }
}
