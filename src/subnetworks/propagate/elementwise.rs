//! Operators that work element by element, and along an axis.

use super::{Axes, AxisId, Labels, Site, WHOLE};
use crate::model_graph::{Node, OpType, ValueId};
use smallvec::{SmallVec, smallvec};

impl Labels<'_> {
    /// Makes the axis of a vector equal to `axis`; a single number fits any.
    pub(super) fn bias(&mut self, vector: Option<ValueId>, axis: AxisId) {
        let Some(id) = vector else { return };
        match (self.of[id.index()].as_slice(), self.graph.value(id).shape.as_slice()) {
            (&[own], &[extent]) if extent > 1 => {
                self.join(own, axis);
            }
            _ => {}
        }
    }

    pub(super) fn broadcast(&mut self, node: &Node, shape: &[usize]) -> Axes {
        let operands: SmallVec<[ValueId; 3]> = node.inputs.iter().flatten().copied().collect();
        self.broadcast_all(&operands, shape)
    }

    pub(super) fn broadcast_all(&mut self, operands: &[ValueId], shape: &[usize]) -> Axes {
        let mut out: SmallVec<[Option<AxisId>; 4]> = smallvec![None; shape.len()];
        for id in operands {
            let own = &self.graph.value(*id).shape;
            for (i, &extent) in own.iter().enumerate() {
                let Some(at) = (i + shape.len()).checked_sub(own.len()) else { continue };
                if extent == shape[at] && extent > 1 {
                    let axis = self.of[id.index()][i];
                    out[at] = Some(match out[at] {
                        None => axis,
                        Some(other) => self.join(other, axis),
                    });
                }
            }
        }
        out.into_iter().map(|a| a.unwrap_or(WHOLE)).collect()
    }

    /// Axes of a result to which the tensor `id` is added.
    pub(super) fn broadcast_onto(&mut self, mut out: Axes, id: ValueId, shape: &[usize]) -> Axes {
        let own = &self.graph.value(id).shape;
        for (i, &extent) in own.iter().enumerate() {
            let Some(at) = (i + shape.len()).checked_sub(own.len()) else { continue };
            if extent == shape[at] && extent > 1 {
                out[at] = self.join(out[at], self.of[id.index()][i]);
            }
        }
        out
    }

    pub(super) fn quantise(&mut self, at: Site) -> Option<Axes> {
        if at.node.op == OpType::DynamicQuantizeLinear {
            return None;
        }
        let parameters = [at.input(1), at.input(2)].into_iter().flatten();
        let mut several = parameters.filter(|id| at.graph.value(*id).elements() > 1);
        if several.clone().next().is_some() {
            let axis = at.along(1)?;
            // Not in blocks.
            let whole = |id: ValueId| at.graph.value(id).shape.as_slice() == [at.from[axis]];
            if !several.all(whole) {
                return None;
            }
            (1..3).for_each(|i| self.bias(at.input(i), at.x[axis]));
        }
        Some(at.x)
    }

    pub(super) fn softmax(&mut self, at: Site) -> Option<Axes> {
        let old = at.graph.opset() < 13;
        let from = at.along(if old { 1 } else { -1 })?;
        let until = if old { at.x.len() } else { from + 1 };
        at.x[from..until].iter().for_each(|&a| self.pin(a));
        Some(at.x)
    }
}
