//! Products of matrices.

use super::{Axes, AxisId, Labels, Site, WHOLE};
use crate::model_graph::infer::einsum::{Label as AxisLabel, equation};
use crate::model_graph::{Node, OpType};
use smallvec::smallvec;

impl Labels<'_> {
    /// Sums over two axes at once.
    pub(super) fn contract(&mut self, node: &Node, a: AxisId, b: AxisId) {
        let joined = self.join(a, b);
        // Cutting constants is no zeroing: masks are laid on what depends on the input.
        if node.inputs.iter().take(2).flatten().all(|&id| self.graph.value(id).is_constant()) {
            self.approximate(joined);
        }
    }

    pub(super) fn gemm(&mut self, at: &Site) -> Option<Axes> {
        let a = self.matrix(at.node, 0, "transA")?;
        let b = self.matrix(at.node, 1, "transB")?;
        self.contract(at.node, a[1], b[0]);
        let out: Axes = smallvec![a[0], b[1]];
        Some(match at.input(2) {
            Some(c) => self.broadcast_onto(out, c, at.to),
            None => out,
        })
    }

    /// Rows and columns of a Gemm's operand.
    fn matrix(&self, node: &Node, i: usize, flip: &str) -> Option<[AxisId; 2]> {
        let &[rows, columns] = self.of[node.inputs.get(i).copied()??.index()].as_slice() else {
            return None;
        };
        Some(if node.attributes.int(flip, 0) != 0 { [columns, rows] } else { [rows, columns] })
    }

    pub(super) fn matmul(&mut self, at: &Site) -> Option<Axes> {
        if at.node.op != OpType::MatMul {
            return None;
        }
        let (shape, b) = (at.to, at.input(1)?);
        let (left, right) = (&at.x, self.of[b.index()].clone());
        let (a_shape, b_shape) = (at.from, &self.graph.value(b).shape);
        let inner = right.len().saturating_sub(2);
        self.contract(at.node, *left.last()?, *right.get(inner)?);
        let mut out = Axes::new();
        let batches =
            shape.len().checked_sub(usize::from(left.len() > 1) + usize::from(right.len() > 1))?;
        for (i, &extent) in shape.iter().enumerate().take(batches) {
            let side = |axes: &Axes, dims: &[usize]| {
                let at = (i + axes.len().saturating_sub(2)).checked_sub(batches)?;
                (dims[at] == extent).then(|| axes[at])
            };
            out.push(match (side(left, a_shape), side(&right, b_shape)) {
                (Some(p), Some(q)) => self.join(p, q),
                (Some(p), None) | (None, Some(p)) => p,
                (None, None) => WHOLE,
            });
        }
        if left.len() > 1 {
            out.push(left[left.len() - 2]);
        }
        if right.len() > 1 {
            out.push(right[right.len() - 1]);
        }
        Some(out)
    }

    pub(super) fn einsum(&mut self, at: &Site) -> Option<Axes> {
        let node = at.node;
        let equation = node.context(at.graph, equation).ok()?;
        let mut known: Vec<(AxisLabel, AxisId)> = Vec::new();
        for (term, id) in equation.terms.iter().zip(&node.inputs) {
            let id = (*id)?;
            let axes = self.of[id.index()].clone();
            let extents = &self.graph.value(id).shape;
            for (i, (&label, (&axis, &extent))) in
                term.iter().zip(axes.iter().zip(extents)).enumerate()
            {
                // Neither diagonals nor broadcasting.
                if term[..i].contains(&label) || extent != equation.extent(label) {
                    return None;
                }
                match known.iter_mut().find(|(l, _)| *l == label) {
                    None => known.push((label, axis)),
                    Some((_, other)) => *other = self.join(*other, axis),
                }
            }
        }
        if node.inputs.iter().flatten().all(|&id| self.graph.value(id).is_constant()) {
            known.iter().for_each(|&(_, a)| self.approximate(a));
        }
        let output = &equation.output;
        let axes: Option<Axes> = output
            .iter()
            .map(|label| known.iter().find(|(l, _)| l == label).map(|&(_, a)| a))
            .collect();
        axes.filter(|a| a.len() == at.to.len())
    }
}
