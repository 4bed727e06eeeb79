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
pub(super) fn find(
    graph: &ModelGraph,
    live: &[bool],
    reached: &[bool],
    channels: &Channels,
) -> Vec<Vec<Branch>> {
    let needs = Needs::new(graph);
    let mut found = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate().filter(|(i, _)| live[*i]) {
        let (Some([a, b]), &[Some(result)]) = (operands(node), node.outputs.as_slice()) else {
            continue;
        };
        let branch = |(operand, tensor, instead): (usize, ValueId, ValueId)| {
            let (kept, made) = (graph.value(instead), graph.value(result));
            let (nodes, trained) = needs.alone(index, operand);
            let fits = trained
                && !graph.value(tensor).is_constant()
                && reached[instead.index()]
                && kept.shape == made.shape
                && kept.dtype == made.dtype
                && channels.same(instead, result);
            fits.then_some(Branch { tensor, nodes, result, instead })
        };
        let branches: Vec<Branch> = [(0, a, b), (1, b, a)].into_iter().filter_map(branch).collect();
        if !branches.is_empty() {
            found.push(branches);
        }
    }
    found
}

/// Of each tensor, whether its elements depend on the network's input. What is computed from constants
/// alone, such as a table of positions that is too large to be folded, can't take the place of what
/// does; nor what only takes its shape from such a tensor.
pub(super) fn reached(graph: &ModelGraph) -> Vec<bool> {
    let mut reached = vec![false; graph.values().len()];
    graph.inputs().iter().for_each(|id| reached[id.index()] = true);
    for node in graph.nodes() {
        if node.inputs.iter().flatten().any(|id| reached[id.index()]) {
            for id in node.outputs.iter().flatten() {
                reached[id.index()] = !graph.value(*id).is_constant();
            }
        }
    }
    reached
}

/// The operands of a sum or product of two different tensors.
fn operands(node: &Node) -> Option<[ValueId; 2]> {
    match *node.inputs.as_slice() {
        [Some(a), Some(b)] => {
            let joins = matches!(node.op, OpType::Add | OpType::Sum | OpType::Mul) && a != b;
            joins.then_some([a, b])
        }
        _ => None,
    }
}

/// Whether the node brings coefficients along that may have been trained.
fn has_weights(graph: &ModelGraph, node: &Node) -> bool {
    node.inputs.iter().flatten().any(|&id| {
        let value = graph.value(id);
        let stored = value.constant.as_ref().is_some_and(|c| c.origin == Origin::Stored);
        stored && value.dtype.is_float() && value.elements() > 1
    })
}

/// Which nodes only one operand of a sum or product needs.
///
/// Those are the nodes from which every way to an output leads through the operand: in the tree
/// of post-dominators, with the operands of sums and products as points of their own, all that
/// hangs below it. In a graph without cycles the tree grows from the outputs back, each node under
/// the point where the ways of its readers meet. petgraph's dominators, which are for any graph, take
/// time quadratic in its nodes.
struct Needs {
    points: Vec<Point>,
    /// The point of each sum's or product's first operand; the other's is the next. [`ROOT`] for
    /// other nodes.
    operands: Vec<u32>,
}

/// The outputs of the network.
const ROOT: u32 = 0;

#[derive(Clone, Copy, Default)]
struct Point {
    parent: u32,
    /// A point further up, such that the way between any two takes a logarithmic number of steps
    /// (Myers 1983, An applicative random-access stack).
    jump: u32,
    depth: u32,
    /// Nodes from here down,
    nodes: u32,
    /// and whether any of them has weights.
    trained: bool,
}

impl Needs {
    fn new(graph: &ModelGraph) -> Self {
        let count = graph.nodes().len();
        let mut needs = Self { points: vec![Point::default()], operands: vec![ROOT; count] };
        // Where the ways of those readers meet that have been seen; none: nobody needs it.
        let mut meeting: Vec<Option<u32>> = vec![None; count];
        let producer = |id: ValueId| graph.value(id).producer;
        for node in graph.outputs().iter().filter_map(|&id| producer(id)) {
            meeting[node.index()] = Some(ROOT);
        }
        for (index, node) in graph.nodes().iter().enumerate().rev() {
            let Some(parent) = meeting[index] else { continue };
            let own = needs.add(parent, 1, has_weights(graph, node));
            let joins = operands(node).is_some();
            if joins {
                needs.operands[index] = needs.add(own, 0, false);
                needs.add(own, 0, false);
            }
            for (operand, id) in node.inputs.iter().enumerate() {
                let Some(from) = id.and_then(producer) else { continue };
                let reader = if joins { needs.operands[index] + operand as u32 } else { own };
                let met = &mut meeting[from.index()];
                *met = Some(met.map_or(reader, |other| needs.meet(other, reader)));
            }
        }
        for point in (1..needs.points.len()).rev() {
            let Point { parent, nodes, trained, .. } = needs.points[point];
            let above = &mut needs.points[parent as usize];
            above.nodes += nodes;
            above.trained |= trained;
        }
        needs
    }

    fn add(&mut self, parent: u32, nodes: u32, trained: bool) -> u32 {
        let above = self.points[parent as usize];
        let over = self.points[above.jump as usize];
        let even = above.depth - over.depth == over.depth - self.points[over.jump as usize].depth;
        let jump = if even { over.jump } else { parent };
        self.points.push(Point { parent, jump, depth: above.depth + 1, nodes, trained });
        (self.points.len() - 1) as u32
    }

    /// The lowest point above both.
    fn meet(&self, a: u32, b: u32) -> u32 {
        let at = |point: u32| &self.points[point as usize];
        let (mut a, mut b) = if at(a).depth < at(b).depth { (b, a) } else { (a, b) };
        while at(a).depth > at(b).depth {
            a = if at(at(a).jump).depth >= at(b).depth { at(a).jump } else { at(a).parent };
        }
        while a != b {
            (a, b) = match (at(a).jump, at(b).jump) {
                (p, q) if p != q => (p, q),
                _ => (at(a).parent, at(b).parent),
            };
        }
        a
    }

    /// How many nodes only this operand of node `node` needs, and whether any of them has weights.
    fn alone(&self, node: usize, operand: usize) -> (usize, bool) {
        match self.operands[node] {
            ROOT => (0, false),
            first => {
                let point = self.points[first as usize + operand];
                (point.nodes as usize, point.trained)
            }
        }
    }
}
