//! Normalisations.

use super::super::axes::Role;
use super::super::draft::Node as DraftNode;
use super::Drafter;
use crate::graph::Operation;
use crate::model_graph::{Class, ModelGraph, Node, OpType, Value, ValueId};
use hashbrown::{HashMap, HashSet};

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
    /// Its own factor and shift are ones and zeros; the trained ones follow.
    pub(super) fn instance_norm(&mut self, node: &Node) {
        let grouped = self.axes_of(node, 0).is_some_and(|axes| {
            axes.iter().skip(2).flatten().any(|f| f.role == Role::Channel && f.size > 1)
        });
        if !grouped || !self.has_no_weights(node) {
            self.norm(node, Operation::InstanceNorm);
            return;
        }
        let groups = self.value(node, 0).and_then(|x| x.shape.get(1).copied()).unwrap_or(1);
        let new = self.atom(node, Operation::GroupNorm);
        new.parameters = 0;
        new.window.groups = u32::try_from(groups).unwrap_or(u32::MAX);
    }

    /// Whether the factor and shift of an instance normalisation are ones and zeros, for all that is
    /// known, which also a layer of its own begins with.
    fn has_no_weights(&self, node: &Node) -> bool {
        let reshaped = self.id(node, 0).is_some_and(|id| self.is_reshaped(id));
        [(1, 1.0), (2, 0.0)].into_iter().all(|(input, value)| {
            let data = self.value(node, input).and_then(Value::data);
            !self.has_trained(node, input)
                || match data {
                    Some(data) => reshaped && data.is_all(value),
                    None => self.scaled.contains(&self.output(node)),
                }
        })
    }

    /// Whether a tensor was reshaped last, be it converted since.
    fn is_reshaped(&self, id: ValueId) -> bool {
        let producer =
            |id: ValueId| self.graph.value(id).producer.map(|p| &self.graph.nodes()[p.index()]);
        let before = |node: &&Node| match is_conversion(node) {
            true => producer(node.inputs.first().copied().flatten()?),
            false => None,
        };
        // To integers, back, and to another width.
        let last = std::iter::successors(producer(id), before).take(4);
        last.into_iter().any(|node| node.op.class() == Class::Reshape)
    }
}

fn is_conversion(node: &Node) -> bool {
    let class = node.plain().op.class();
    matches!(class, Class::Cast | Class::Quantise) || node.op == OpType::Identity
}

/// The outputs of instance normalisations that are reshaped and then multiplied by a factor for each
/// channel and shifted, for files without elements.
pub(super) fn scaled(graph: &ModelGraph) -> HashSet<ValueId> {
    // What comes of which normalisation, and whether it was multiplied.
    let mut of: HashMap<ValueId, (ValueId, bool)> = HashMap::new();
    let mut scaled = HashSet::new();
    for node in graph.nodes() {
        let Some(output) = node.outputs.first().copied().flatten() else { continue };
        if node.op == OpType::InstanceNormalization {
            of.insert(output, (output, false));
        }
        if of.is_empty() {
            continue;
        }
        let node = node.plain();
        let known = node.inputs.iter().flatten().find_map(|id| of.get(id).copied());
        let Some((norm, multiplied)) = known else { continue };
        let per_channel = node.inputs.iter().flatten().any(|id| {
            let (own, all) = (graph.value(*id), &graph.value(output).shape);
            own.is_constant()
                && own.elements() > 1
                && all.get(1) == own.shape.iter().max()
                && own.shape.iter().filter(|&&d| d > 1).count() == 1
        });
        match &node.op {
            OpType::Mul if per_channel => drop(of.insert(output, (norm, true))),
            OpType::Add if per_channel && multiplied => drop(scaled.insert(norm)),
            op if op.class() == Class::Reshape || is_conversion(&node) => {
                of.insert(output, (norm, multiplied));
            }
            _ => {}
        }
    }
    scaled
}
