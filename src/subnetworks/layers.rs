//! Layers that can be skipped.

use super::channels::{Channels, NO_UNIT};
use crate::model_graph::{ModelGraph, Node, OpType, ValueId};

/// A layer that keeps its input's shape: a convolution or a linear layer with the normalisation
/// and activation after it. Its input can take its output's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The layer's output,
    pub tensor: ValueId,
    /// and its input.
    pub instead: ValueId,
    /// Number of nodes.
    pub nodes: usize,
    pub(super) ties: Vec<Tie>,
}

/// Groups that must keep the same units when a layer is skipped; `None` is what is never cut.
pub(super) type Tie = (Option<usize>, Option<usize>);

/// The layers of a network.
pub(super) fn find(
    graph: &ModelGraph,
    live: &[bool],
    reached: &[bool],
    channels: &Channels,
) -> Vec<Layer> {
    let mut uses = vec![0usize; graph.values().len()];
    let mut user: Vec<Option<&Node>> = vec![None; graph.values().len()];
    for (node, _) in graph.nodes().iter().zip(live).filter(|(_, live)| **live) {
        for id in node.inputs.iter().flatten() {
            uses[id.index()] += 1;
            user[id.index()] = Some(node);
        }
    }
    // An output must stay what it is.
    let mut output = vec![false; graph.values().len()];
    for id in graph.outputs() {
        output[id.index()] = true;
        uses[id.index()] += 2;
    }
    let of_node = |node: &Node| {
        let instead = node.inputs.first().copied().flatten()?;
        let weight = node.inputs.get(1).copied().flatten()?;
        let mut tensor = node.outputs.first().copied().flatten()?;
        let (from, to) = (graph.value(instead), graph.value(tensor));
        let fits = matches!(node.op, OpType::Conv | OpType::Gemm | OpType::MatMul)
            && reached[instead.index()]
            && graph.value(weight).is_constant()
            && from.shape == to.shape
            && from.dtype == to.dtype;
        if !fits {
            return None;
        }
        let mut nodes = 1;
        while let (1, Some(next)) = (uses[tensor.index()], user[tensor.index()]) {
            match (continues(graph, next, tensor), next.outputs.first()) {
                (true, Some(Some(output))) if graph.value(*output).shape == to.shape => {
                    tensor = *output;
                    nodes += 1;
                }
                _ => break,
            }
        }
        let skippable = uses[tensor.index()] > 0 && !output[tensor.index()];
        let ties = if skippable { ties(channels, instead, tensor) } else { None };
        ties.map(|ties| Layer { tensor, instead, nodes, ties })
    };
    let nodes = graph.nodes().iter().zip(live).filter(|(_, live)| **live);
    nodes.filter_map(|(node, _)| of_node(node)).collect()
}

/// Whether a node that reads `x` still belongs to the layer.
fn continues(graph: &ModelGraph, node: &Node, x: ValueId) -> bool {
    use OpType::*;
    let others = || node.inputs.iter().flatten().filter(|id| **id != x);
    let constant = others().all(|&id| graph.value(id).is_constant());
    constant
        && matches!(
            node.op,
            Add | BatchNormalization
                | Clip
                | Elu
                | Gelu
                | MsGelu
                | HardSwish
                | LeakyRelu
                | Mish
                | PRelu
                | Relu
                | Selu
                | Sigmoid
                | Tanh
        )
}

/// Which groups must keep the same units for `a` and `b` to lose the same positions; `None` where
/// their units do not lie alike.
fn ties(channels: &Channels, a: ValueId, b: ValueId) -> Option<Vec<Tie>> {
    // A unit's group, and its number there.
    let place = |unit: Option<&u32>| match unit {
        Some(&unit) if unit != NO_UNIT => {
            let groups = &channels.groups;
            let group = groups.partition_point(|g| g.first <= unit as usize).checked_sub(1)?;
            Some((group, unit as usize - groups[group].first))
        }
        _ => None,
    };
    let mut ties = Vec::new();
    for (&p, &q) in channels.of[a.index()].iter().zip(&channels.of[b.index()]) {
        let (p, q) = (&channels.axes[p as usize], &channels.axes[q as usize]);
        if p == q {
            continue;
        }
        for i in 0..p.len().max(q.len()) {
            let (x, y) = (place(p.get(i)), place(q.get(i)));
            if let (Some((g, i)), Some((h, j))) = (x, y)
                && (i != j || channels.groups[g].units != channels.groups[h].units)
            {
                return None;
            }
            let tie = (x.map(|x| x.0), y.map(|y| y.0));
            if tie.0 != tie.1 && ties.last() != Some(&tie) {
                ties.push(tie);
            }
        }
    }
    ties.sort_unstable();
    ties.dedup();
    Some(ties)
}
