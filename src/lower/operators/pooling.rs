//! Pooling, reductions and softmax.

use super::Drafter;
use crate::graph::Operation;
use crate::model_graph::infer::conv_pool::channels_last;
use crate::model_graph::{Node, ValueId, infer};
use smallvec::{SmallVec, smallvec};

impl Drafter<'_> {
    pub(super) fn pool(&mut self, node: &Node, local: Operation, global: Operation) {
        let kernel: SmallVec<[usize; 3]> = node
            .attributes
            .ints("kernel_shape")
            .unwrap_or(&[])
            .iter()
            .map(|&k| usize::try_from(k).unwrap_or(1))
            .collect();
        let window = self.window(node, &kernel, kernel.len());
        let (Some(x), output) = (self.value(node, 0), self.extent(self.output(node))) else {
            return;
        };
        let input = self.extent(self.id(node, 0).unwrap_or(ValueId(0)));
        if kernel.iter().all(|&k| k == 1) && input == output {
            return self.pass(node);
        }
        let last = channels_last(&node.op, &node.attributes);
        let spatial = x.shape.iter().skip(if last { 1 } else { 2 });
        let covers = spatial.zip(&kernel).all(|(&d, &k)| k == d);
        if covers && !window.padded && (output.height, output.width) == (1, 1) {
            return self.reduce(node, global);
        }
        self.atom(node, local).window = window;
    }

    pub(super) fn reduce(&mut self, node: &Node, operation: Operation) {
        let (input, output) = (self.largest(node), self.extent(self.output(node)));
        let whole = (input.height, input.width) != (1, 1)
            && (output.height, output.width) == (1, 1)
            && input.channels == output.channels;
        use Operation::*;
        let averages =
            matches!(operation, ReduceMean | ReduceMax | GlobalAveragePool | GlobalMaxPool);
        let operation = match operation {
            // One element is its own mean and maximum.
            _ if averages && input == output => return self.pass(node),
            ReduceMean if whole => GlobalAveragePool,
            ReduceMax if whole => GlobalMaxPool,
            other => other,
        };
        let global = matches!(operation, GlobalAveragePool | GlobalMaxPool);
        let mut key: SmallVec<[i64; 4]> = SmallVec::new();
        if !global {
            key.extend(node.op.name().bytes().map(i64::from));
            node.context(self.graph, |ctx| {
                key.extend_from_slice(ctx.ints_either("axes", 1).ok().flatten().unwrap_or(&[]));
            });
        }
        let new = self.atom(node, operation);
        new.parameters = 0;
        new.key = key;
    }

    /// The kernel tells how many elements the softmax runs over.
    pub(super) fn softmax(&mut self, node: &Node, operation: Operation) {
        let Some(x) = self.value(node, 0) else { return };
        let old = self.graph.opset() < 13;
        let axis = node.attributes.int("axis", if old { 1 } else { -1 });
        let axis = infer::axis(axis, x.shape.len()).unwrap_or(0);
        // Up to operator set 12 it ran over all axes from the given one on.
        let run = x.shape.iter().skip(axis).take(if old { x.shape.len() } else { 1 });
        let run = run.fold(1, |p: usize, &d| p.saturating_mul(d));
        let new = self.atom(node, operation);
        new.key = smallvec![axis as i64];
        new.window.kernel = [u32::try_from(run).unwrap_or(u32::MAX), 1];
    }
}
