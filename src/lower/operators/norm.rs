//! Normalisations.

use super::super::axes::Role;
use super::super::draft::Node as DraftNode;
use super::Drafter;
use crate::graph::Operation;
use crate::model_graph::{Node, Value};

impl Drafter<'_> {
    /// A normalisation with optional factor (input 1) and shift (input 2).
    pub(super) fn norm(&mut self, node: &Node, operation: Operation) -> &mut DraftNode {
        let trained = [1, 2].map(|input| self.has_trained(node, input));
        let new = self.atom(node, operation);
        [new.scale, new.bias] = trained;
        new
    }

    /// One channel per group is instance normalisation.
    pub(super) fn group_norm(&mut self, node: &Node) {
        let groups = node.attributes.int("num_groups", 1);
        let groups = u64::try_from(groups).unwrap_or(1);
        if groups == self.extent(self.output(node)).channels {
            self.norm(node, Operation::InstanceNorm);
            return;
        }
        let new = self.norm(node, Operation::GroupNorm);
        new.window.groups = u32::try_from(groups).unwrap_or(u32::MAX);
    }

    /// A factor and a shift for each of axis 1, with mean and variance folded in.
    pub(super) fn batch_norm(&mut self, node: &Node) {
        let own = self.value(node, 1).map_or(0, Value::elements);
        // Where these are not all channels, such as heads, no layer before takes them in.
        let channels = own == self.extent(self.output(node)).channels;
        let new =
            self.norm(node, if channels { Operation::Affine } else { Operation::MulConstant });
        new.parameters = own.saturating_mul(2);
        (new.scale, new.bias) = (channels, channels);
    }

    /// `[batch, groups, rest]` with channels in `rest` is how exporters write group normalisation.
    pub(super) fn instance_norm(&mut self, node: &Node) {
        let grouped = self.axes_of(node, 0).is_some_and(|axes| {
            axes.iter().skip(2).flatten().any(|f| f.role == Role::Channel && f.size > 1)
        });
        if !grouped {
            self.norm(node, Operation::InstanceNorm);
            return;
        }
        let groups = self.value(node, 0).and_then(|x| x.shape.get(1).copied()).unwrap_or(1);
        let new = self.atom(node, Operation::GroupNorm);
        // Its own factor and shift are ones and zeros; the trained ones follow.
        new.parameters = 0;
        new.window.groups = u32::try_from(groups).unwrap_or(u32::MAX);
    }
}
