//! Operators that cut, join or extend tensors.

use super::super::draft::{Node as DraftNode, Op, digest};
use super::Drafter;
use crate::graph::Operation;
use crate::model_graph::infer::{self, layout};
use crate::model_graph::{Node, TensorData};
use smallvec::{SmallVec, smallvec};

impl Drafter<'_> {
    pub(super) fn concat(&mut self, node: &Node) {
        match self.operands(node).as_slice() {
            [only] if node.inputs.iter().flatten().count() == 1 => {
                let only = *only;
                self.alias(node, only);
            }
            _ => {
                let axis = node.attributes.int("axis", 1);
                self.atom(node, Operation::Concat).key = smallvec![axis];
            }
        }
    }

    /// One node per piece.
    pub(super) fn split(&mut self, node: &Node) {
        let Some(from) = self.from(node, 0) else { return };
        let Ok((axis, sizes)) = node.context(self.graph, layout::split_sizes) else {
            // Their sizes were declared.
            return self.plain(node, Operation::Slice);
        };
        let input = self.largest(node);
        let mut start = 0;
        for (id, &size) in node.outputs.iter().zip(&sizes) {
            if let Some(id) = *id {
                let output = self.extent(id);
                let index = if output == input {
                    from
                } else {
                    let mut new =
                        DraftNode::new(Op::Atom(Operation::Slice), smallvec![from], input, output);
                    new.name = node.name.clone();
                    new.key = smallvec![axis as i64, start as i64, 1, size as i64];
                    self.draft.push(new)
                };
                self.source[id.index()] = Some(index);
            }
            start += size;
        }
    }

    pub(super) fn slice(&mut self, node: &Node) {
        let ranges = node.context(self.graph, layout::slice_ranges).unwrap_or_default();
        let Some(x) = self.value(node, 0) else { return };
        // All of every axis, be it in reverse.
        if ranges.iter().zip(&x.shape).all(|(r, &d)| r.count == d) {
            return self.pass(node);
        }
        let cut = ranges.iter().zip(&x.shape).enumerate().filter(|(_, (r, d))| r.count != **d);
        let key = cut.flat_map(|(a, (r, _))| [a as i64, r.start, r.step, r.count as i64]).collect();
        self.atom(node, Operation::Slice).key = key;
    }

    pub(super) fn gather(&mut self, node: &Node) {
        let (Some(x), Some(index)) = (self.value(node, 0), self.value(node, 1)) else { return };
        if x.is_constant() {
            return self.plain(node, Operation::Embedding);
        }
        let axis = infer::axis(node.attributes.int("axis", 0), x.shape.len()).unwrap_or(0);
        let extent = x.shape[axis] as u64;
        let fixed = index.is_constant();
        if fixed && index.elements() == extent {
            // A fixed order of the same elements.
            return self.pass(node);
        }
        let mut key: SmallVec<[i64; 4]> = smallvec![axis as i64];
        match index.data() {
            Some(TensorData::Ints(list)) => {
                let known = self.id(node, 1).map(|id| {
                    let of_list = || digest(list.iter().copied());
                    self.lists.entry(id).or_insert_with(of_list).clone()
                });
                key.extend(known.unwrap_or_default());
            }
            _ => key.extend(self.id(node, 1).map(|id| id.index() as i64)),
        }
        let fewer = fixed && index.elements() < extent;
        let new = self.atom(node, if fewer { Operation::Slice } else { Operation::Gather });
        new.key = key;
        new.parameters = 0;
    }

    pub(super) fn pad(&mut self, node: &Node) {
        let pads = node.context(self.graph, layout::pads).unwrap_or_default();
        if pads.iter().all(|&p| p == 0) {
            return self.pass(node);
        }
        let crop = pads.iter().all(|&p| p <= 0);
        let zeros = node.attributes.str("mode").is_none_or(|m| m == "constant");
        let new = self.atom(node, if crop { Operation::Slice } else { Operation::Pad });
        new.parameters = 0;
        new.key = pads.iter().copied().collect();
        new.window.padded = zeros;
    }

    /// Axes are cut or padded on both sides.
    pub(super) fn center_crop_pad(&mut self, node: &Node) {
        let (Some(x), Some(y)) = (self.value(node, 0), node.outputs.first().copied().flatten())
        else {
            return;
        };
        let shape = &self.graph.value(y).shape;
        if x.shape == *shape {
            return self.pass(node);
        }
        let crops = x.shape.iter().zip(shape).all(|(from, to)| to <= from);
        let key = shape.iter().map(|&d| d as i64).collect();
        self.atom(node, if crops { Operation::Slice } else { Operation::Pad }).key = key;
    }

    pub(super) fn resizing(&mut self, node: &Node, operation: Operation) {
        if self.largest(node) == self.extent(self.output(node)) {
            return self.pass(node);
        }
        self.atom(node, operation).parameters = 0;
    }
}
