//! Segments that can be left out, in any combination that leaves input and output connected.
//!
//! After OTOv3: a segment is a chain of nodes with weights that ends where it is added to or
//! concatenated with others, and nowhere else. With its weights zero its end is zero, as if it were not there.
//! What only takes zeros and makes zeros of them goes too; what would make something else of them must stay
//! without use, or the segments can't go together: the function must not change by the cut.

use super::channels::{Channels, NO_UNIT};
use super::plan::Plan;
use crate::model_graph::{ModelGraph, Node, OpType, Origin, ValueId, infer};
use hashbrown::HashMap;
use smallvec::SmallVec;

/// A chain of nodes that ends in sums and concatenations alone, and can be left out of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The tensor that it ends in.
    pub tensor: ValueId,
    /// Number of its nodes.
    pub nodes: usize,
    /// Stored tensors of numbers that it alone reads.
    pub weights: Vec<ValueId>,
    /// Units of channels that go with it: those that it brings to concatenations.
    pub units: Vec<usize>,
}

/// The nodes that read each tensor.
struct Readers {
    of: Vec<SmallVec<[u32; 2]>>,
    /// Whether it is an output of the network.
    output: Vec<bool>,
}

impl Readers {
    fn new(graph: &ModelGraph, live: &[bool]) -> Self {
        let mut readers = Self {
            of: vec![SmallVec::new(); graph.values().len()],
            output: vec![false; graph.values().len()],
        };
        for (index, node) in (0u32..).zip(graph.nodes()).filter(|(i, _)| live[*i as usize]) {
            for id in node.inputs.iter().flatten() {
                readers.of[id.index()].push(index);
            }
        }
        graph.outputs().iter().for_each(|id| readers.output[id.index()] = true);
        readers
    }

    /// Whether these nodes and nothing else read a tensor.
    fn only(&self, id: ValueId, nodes: &[u32]) -> bool {
        !self.output[id.index()] && self.of[id.index()].iter().all(|n| nodes.contains(n))
    }
}

/// The segments of a network, in its order.
pub(super) fn find(graph: &ModelGraph, live: &[bool], channels: &Channels) -> Vec<Segment> {
    let readers = Readers::new(graph, live);
    let joining: Vec<bool> =
        graph.nodes().iter().map(|node| joins(graph, channels, node)).collect();
    let mut found = Vec::new();
    for node in graph.nodes().iter().zip(live).filter(|(_, live)| **live).map(|(node, _)| node) {
        let &[Some(end)] = node.outputs.as_slice() else { continue };
        let read = &readers.of[end.index()];
        let joined = !read.is_empty() && read.iter().all(|&n| joining[n as usize]);
        if readers.output[end.index()] || !joined {
            continue;
        }
        let Some((mut nodes, weights)) = chain(graph, &readers, end) else { continue };
        nodes.sort_unstable();
        let concatenated = read.iter().map(|&n| &graph.nodes()[n as usize]).find_map(|node| {
            (node.op == OpType::Concat).then(|| units(graph, channels, node, end))
        });
        let Some(units) = concatenated.unwrap_or_else(|| Some(Vec::new())) else { continue };
        found.push((Segment { tensor: end, nodes: nodes.len(), weights, units }, nodes));
    }
    if found.iter().any(|(segment, _)| !segment.units.is_empty()) {
        // Channels that others make too would go with it.
        let makers = makers(graph, live, channels);
        found.retain(|(segment, nodes)| {
            segment
                .units
                .iter()
                .all(|&unit| matches!(makers[unit], Maker::One(node) if nodes.binary_search(&node).is_ok()))
        });
    }
    found.into_iter().map(|(segment, _)| segment).collect()
}

/// Which node makes channels, that none of its inputs has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Maker {
    Nobody,
    One(u32),
    Several,
}

/// The makers of each unit.
fn makers(graph: &ModelGraph, live: &[bool], channels: &Channels) -> Vec<Maker> {
    let mut makers = vec![Maker::Nobody; channels.groups.last().map_or(0, |g| g.range().end)];
    // The last node that had it already.
    let mut had = vec![u32::MAX; makers.len()];
    for (index, node) in (0u32..).zip(graph.nodes()).filter(|(i, _)| live[*i as usize]) {
        let axes = |ids: &[Option<ValueId>]| -> SmallVec<[u32; 8]> {
            let computed = ids.iter().flatten().filter(|id| !graph.value(**id).is_constant());
            computed.flat_map(|id| channels.of[id.index()].iter().copied()).collect()
        };
        let before = axes(&node.inputs);
        let mut new = axes(&node.outputs);
        new.retain(|axis| !before.contains(axis));
        if new.iter().all(|&axis| channels.axes[axis as usize].is_empty()) {
            continue;
        }
        let units = |axis: u32| channels.axes[axis as usize].iter().filter(|u| **u != NO_UNIT);
        before.iter().flat_map(|&axis| units(axis)).for_each(|&unit| had[unit as usize] = index);
        for &unit in new.iter().flat_map(|&axis| units(axis)) {
            let maker = &mut makers[unit as usize];
            match *maker {
                _ if had[unit as usize] == index => {}
                Maker::One(node) if node != index => *maker = Maker::Several,
                Maker::Nobody => *maker = Maker::One(index),
                _ => {}
            }
        }
    }
    makers
}

/// Whether each operand can be left out, as far as the node itself is concerned.
fn joins(graph: &ModelGraph, channels: &Channels, node: &Node) -> bool {
    let Some(Some(result)) = node.outputs.first() else { return false };
    match node.op {
        OpType::Concat => true,
        OpType::Add | OpType::Sum => node.inputs.iter().all(|id| {
            id.is_some_and(|id| {
                let (value, made) = (graph.value(id), graph.value(*result));
                !value.is_constant()
                    && value.shape == made.shape
                    && value.dtype == made.dtype
                    && channels.same(id, *result)
            })
        }),
        _ => false,
    }
}

/// The units along the axis at which `node` concatenates `operand`; `None` where some of its
/// positions never go.
fn units(
    graph: &ModelGraph,
    channels: &Channels,
    node: &Node,
    operand: ValueId,
) -> Option<Vec<usize>> {
    let rank = graph.value(operand).shape.len();
    let axis = infer::axis(node.attributes.int("axis", 1), rank).ok()?;
    let axis = *channels.of[operand.index()].get(axis)?;
    let units = &channels.axes[axis as usize];
    let whole = !units.is_empty() && !units.contains(&NO_UNIT);
    let mut units: Vec<usize> = whole.then(|| units.iter().map(|&u| u as usize).collect())?;
    units.sort_unstable();
    units.dedup();
    Some(units)
}

/// The nodes and weights of the chain that ends in `end`; `None` unless zeros in them make its end zero.
fn chain(graph: &ModelGraph, readers: &Readers, end: ValueId) -> Option<(Vec<u32>, Vec<ValueId>)> {
    let mut nodes = Vec::new();
    let mut weights = Vec::new();
    // Whether all that comes before no longer matters.
    let mut zero = false;
    let mut at = end;
    while let Some(producer) = graph.value(at).producer {
        let index = producer.index() as u32;
        let node = &graph.nodes()[index as usize];
        let input = |i: usize| node.inputs.get(i).copied().flatten();
        let own = |id: ValueId| {
            let value = graph.value(id);
            let stored = value.constant.as_ref().is_some_and(|c| c.origin == Origin::Stored);
            stored
                && value.producer.is_none()
                && value.dtype.is_float()
                && readers.only(id, &[index])
        };
        let vectors: &[usize] = match node.op {
            OpType::Conv | OpType::ConvTranspose | OpType::Gemm | OpType::MatMul => &[1, 2],
            OpType::BatchNormalization => &[1, 2],
            _ => &[],
        };
        let next = if vectors.is_empty() {
            // x·sigmoid(x), or what makes zeros of zeros.
            let gated = gated(graph, node);
            let Some(next) = gated.map(|(x, _)| x).or_else(|| input(0)) else { break };
            let gate = gated.map_or(index, |(_, gate)| gate);
            let computed = |id: &&ValueId| !graph.value(**id).is_constant();
            let alone =
                gated.is_some() || node.inputs.iter().flatten().filter(computed).count() == 1;
            let zeros = zero || gated.is_some() || keeps_zero(node);
            if !alone || !zeros || !readers.only(next, &[index, gate]) {
                break;
            }
            nodes.extend(gated.map(|(_, gate)| gate));
            next
        } else {
            let stored: Option<Vec<ValueId>> =
                vectors.iter().filter_map(|&i| input(i)).map(|id| own(id).then_some(id)).collect();
            let (Some(stored), Some(next)) = (stored, input(0)) else { break };
            zero = true;
            weights.extend(stored);
            next
        };
        nodes.push(index);
        at = next;
        // What others read too begins before this segment.
        if !readers.only(at, &[index]) && gated(graph, node).is_none_or(|(x, _)| x != at) {
            break;
        }
    }
    zero.then_some((nodes, weights))
}

/// x and the node that makes the gate, where a node computes x·gate(x).
fn gated(graph: &ModelGraph, node: &Node) -> Option<(ValueId, u32)> {
    let &[Some(a), Some(b)] = node.inputs.as_slice() else { return None };
    let gate = |x: ValueId, gate: ValueId| {
        let producer = graph.value(gate).producer?;
        let made = &graph.nodes()[producer.index()];
        let gates = matches!(made.op, OpType::Sigmoid | OpType::HardSigmoid);
        (gates && made.inputs.as_slice() == [Some(x)]).then_some((x, producer.index() as u32))
    };
    (node.op == OpType::Mul).then(|| gate(a, b).or_else(|| gate(b, a)))?
}

/// Whether the operator makes zeros of zeros. Where its attributes decide, as for Clip, this is what it
/// usually does; whoever cuts segments compares what is left with the whole.
fn keeps_zero(node: &Node) -> bool {
    use OpType::*;
    matches!(
        node.op,
        Abs | AveragePool
            | Cast
            | Celu
            | Clip
            | DepthToSpace
            | Dropout
            | Elu
            | Flatten
            | Gelu
            | GlobalAveragePool
            | GlobalMaxPool
            | HardSwish
            | Identity
            | LeakyRelu
            | MaxPool
            | Mish
            | MsGelu
            | Neg
            | PRelu
            | QuickGelu
            | ReduceMax
            | ReduceMean
            | ReduceSum
            | Relu
            | Reshape
            | Resize
            | Selu
            | Slice
            | SpaceToDepth
            | Split
            | Squeeze
            | Swish
            | Tanh
            | Transpose
            | Unsqueeze
            | Upsample
    )
}

/// What is left of a network without the segments in `gone`. In `units`, the units that go with them
/// become false. `None` if it can't be: input and output would be no longer connected, something would be made
/// of zeros that is not zero, or nothing be left of a tensor that others need.
pub(super) fn without<'a>(
    graph: &ModelGraph,
    channels: &Channels,
    gone: impl Iterator<Item = &'a Segment>,
    units: &mut [bool],
) -> Option<Plan> {
    let mut zero = vec![false; graph.values().len()];
    let mut own = vec![false; units.len()];
    for segment in gone {
        zero[segment.tensor.index()] = true;
        segment.units.iter().for_each(|&unit| own[unit] = true);
    }
    // Nodes that read zeros and don't make zeros of them.
    let mut lost = Vec::new();
    let mut plan = Plan::default();
    let mut instead = HashMap::new();
    let mut dropped: Vec<(usize, ValueId)> = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        let reads = |id: &Option<ValueId>| id.is_some_and(|id| zero[id.index()]);
        if !node.inputs.iter().any(reads) || node.outputs.iter().all(reads) {
            continue;
        }
        let first = node.inputs.first().is_some_and(reads);
        let makes_zero = match node.op {
            OpType::Add | OpType::Sum | OpType::Concat if joins(graph, channels, node) => {
                let left: SmallVec<[Option<ValueId>; 5]> =
                    node.inputs.iter().filter(|id| !reads(id)).copied().collect();
                match (left.as_slice(), node.outputs.first()) {
                    ([], _) => true,
                    (&[Some(other)], Some(Some(result))) if node.op != OpType::Concat => {
                        instead.insert(*result, other);
                        continue;
                    }
                    _ => {
                        let operands = node.inputs.iter().filter(|id| reads(id)).flatten();
                        dropped.extend(operands.map(|&id| (index, id)));
                        plan.operands.insert(index, left);
                        continue;
                    }
                }
            }
            OpType::Mul | OpType::MatMul => true,
            OpType::Div => first,
            _ => first && keeps_zero(node),
        };
        if makes_zero {
            node.outputs.iter().flatten().for_each(|id| zero[id.index()] = true);
        } else {
            lost.push(index);
        }
    }
    plan.replace(instead);
    let needed = plan.needed(graph);
    if graph.outputs().iter().any(|id| zero[id.index()]) || lost.iter().any(|&n| needed.nodes[n]) {
        return None;
    }
    // Units that go, but no segment's: only zeros were added up in them.
    let mut loose = vec![false; units.len()];
    for (index, operand) in dropped.into_iter().filter(|(index, _)| needed.nodes[*index]) {
        if graph.nodes()[index].op == OpType::Concat {
            for unit in self::units(graph, channels, &graph.nodes()[index], operand)? {
                units[unit] = false;
                loose[unit] = !own[unit];
            }
        }
    }
    if loose.contains(&true) && shifts(graph, channels, &plan, &needed.nodes, &loose) {
        return None;
    }
    let stays = |unit: &u32| *unit == NO_UNIT || units[*unit as usize];
    let left: Vec<bool> =
        channels.axes.iter().map(|units| units.is_empty() || units.iter().any(stays)).collect();
    let mut axes = channels.of.iter().zip(&needed.values).filter(|(_, needed)| **needed);
    let whole = axes.all(|(axes, _)| axes.iter().all(|&axis| left[axis as usize]));
    (whole && reaches(graph, &plan, &needed.nodes)).then_some(plan)
}

/// Whether a vector that stays, such as the shift of a normalisation, makes something else than zeros of
/// zeros in some of these units.
fn shifts(
    graph: &ModelGraph,
    channels: &Channels,
    plan: &Plan,
    needed: &[bool],
    units: &[bool],
) -> bool {
    let nodes = graph.nodes().iter().enumerate().filter(|(i, _)| needed[*i]);
    let mut vectors = nodes.flat_map(|(index, node)| {
        let inputs = plan.inputs(index, node).into_iter().flatten();
        inputs.filter(|&id| is_vector(graph, id)).map(move |id| (index, id))
    });
    vectors.any(|(index, id)| {
        let axes = channels.vectors.get(&(index, id)).unwrap_or(&channels.of[id.index()]);
        let mut along = axes.iter().flat_map(|&axis| channels.axes[axis as usize].iter());
        along.any(|&unit| unit != NO_UNIT && units[unit as usize])
    })
}

fn is_vector(graph: &ModelGraph, id: ValueId) -> bool {
    let value = graph.value(id);
    value.is_constant() && value.shape.iter().filter(|&&extent| extent > 1).count() < 2
}

/// Whether the outputs depend on the input still.
fn reaches(graph: &ModelGraph, plan: &Plan, needed: &[bool]) -> bool {
    let mut reached = vec![false; graph.values().len()];
    graph.inputs().iter().for_each(|id| reached[id.index()] = true);
    for (index, node) in graph.nodes().iter().enumerate().filter(|(i, _)| needed[*i]) {
        if plan.inputs(index, node).iter().flatten().any(|id| reached[id.index()]) {
            for id in node.outputs.iter().flatten() {
                reached[id.index()] = !graph.value(*id).is_constant();
            }
        }
    }
    graph.outputs().iter().all(|&id| reached[plan.resolve(id).index()])
}
