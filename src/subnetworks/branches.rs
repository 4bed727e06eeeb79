//! Branches that can be left out.

use super::channels::Channels;
use crate::model_graph::{ModelGraph, Node, OpType, Origin, ValueId};

/// An operand of a sum or a product that can be left out: the other operand takes the result's
/// place. In a sum the branch is as if it gave zeros (a residual block, a shortcut), in a product
/// as if it gave ones (squeeze-and-excitation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The tensor that the branch ends in.
    pub tensor: ValueId,
    /// Number of nodes that only the branch needs.
    pub nodes: usize,
    /// Result of the sum or product,
    pub result: ValueId,
    /// and what takes its place.
    pub instead: ValueId,
}

/// The branches of each sum or product, of which one at most can go.
pub(super) fn find(graph: &ModelGraph, live: &[bool], channels: &Channels) -> Vec<Vec<Branch>> {
    let mut uses = vec![0usize; graph.values().len()];
    for (node, _) in graph.nodes().iter().zip(live).filter(|(_, live)| **live) {
        node.inputs.iter().flatten().for_each(|id| uses[id.index()] += 1);
    }
    graph.outputs().iter().for_each(|id| uses[id.index()] += 1);
    let mut found = Vec::new();
    for (node, _) in graph.nodes().iter().zip(live).filter(|(_, live)| **live) {
        let (&[Some(a), Some(b)], &[Some(result)]) =
            (node.inputs.as_slice(), node.outputs.as_slice())
        else {
            continue;
        };
        if !matches!(node.op, OpType::Add | OpType::Sum | OpType::Mul) || a == b {
            continue;
        }
        let branch = |(tensor, instead): (ValueId, ValueId)| {
            let (kept, made) = (graph.value(instead), graph.value(result));
            let fits = !graph.value(tensor).is_constant()
                && !kept.is_constant()
                && kept.shape == made.shape
                && kept.dtype == made.dtype
                && channels.same(instead, result);
            let (nodes, trained) = if fits { alone(graph, &mut uses, tensor) } else { (0, false) };
            trained.then_some(Branch { tensor, nodes, result, instead })
        };
        let branches: Vec<Branch> = [(a, b), (b, a)].into_iter().filter_map(branch).collect();
        if !branches.is_empty() {
            found.push(branches);
        }
    }
    found
}

/// Larger branches are not offered: looking for them could take time without bound.
const MAX_NODES: usize = 1 << 12;

/// How many nodes nobody needs any more when one use of `tensor` goes, and whether any of them
/// has weights.
fn alone(graph: &ModelGraph, uses: &mut [usize], tensor: ValueId) -> (usize, bool) {
    let weight = |node: &Node| {
        node.inputs.iter().flatten().any(|&id| {
            let value = graph.value(id);
            let stored = value.constant.as_ref().is_some_and(|c| c.origin == Origin::Stored);
            stored && value.dtype.is_float() && value.elements() > 1
        })
    };
    let mut gone: Vec<ValueId> = Vec::new();
    let mut waiting = vec![tensor];
    let (mut nodes, mut trained) = (0, false);
    while let Some(id) = waiting.pop() {
        if nodes > MAX_NODES {
            break;
        }
        uses[id.index()] -= 1;
        gone.push(id);
        let Some(producer) = graph.value(id).producer else { continue };
        let node = &graph.nodes()[producer.index()];
        // Only when the last of its outputs goes, and that is this one.
        if node.outputs.iter().flatten().all(|o| uses[o.index()] == 0) {
            nodes += 1;
            trained |= weight(node);
            waiting.extend(node.inputs.iter().flatten().copied());
        }
    }
    gone.into_iter().for_each(|id| uses[id.index()] += 1);
    (nodes, trained && nodes <= MAX_NODES)
}
