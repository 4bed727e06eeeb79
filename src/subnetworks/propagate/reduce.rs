//! Reductions.

use super::{Axes, Labels, Site, WHOLE};
use crate::model_graph::OpType;
use crate::model_graph::infer::reduce::reduced_axes;

impl Labels<'_> {
    pub(super) fn reduce(&mut self, at: &Site) -> Option<Axes> {
        use OpType::{ReduceL1, ReduceL2, ReduceSum, ReduceSumSquare};
        let gone = at.node.context(at.graph, |ctx| {
            let list = ctx.ints_either("axes", 1).ok()?;
            reduced_axes(&at.node.attributes, ctx.optional(0)?, list).ok()
        })?;
        // Zeros add nothing to a sum.
        let sum = matches!(at.node.op, ReduceL1 | ReduceL2 | ReduceSum | ReduceSumSquare);
        let keep = at.node.attributes.int("keepdims", 1) != 0;
        let mut axes = Axes::new();
        for (i, &a) in at.x.iter().enumerate() {
            if !gone.contains(&i) {
                axes.push(a);
                continue;
            }
            if !sum || at.constant {
                self.approximate(a);
            }
            if keep {
                axes.push(WHOLE);
            }
        }
        Some(axes)
    }
}
