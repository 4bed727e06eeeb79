//! Which channels must be cut together: labels that flow through the network.
//!
//! Every position along every axis of every tensor carries a label. An operator's rule says how
//! the labels of its outputs come from those of its inputs, and which labels it makes equal: an
//! Add those of its operands, a Concat none. Positions whose labels end up equal form a *unit*,
//! the least that can be cut. A depthwise convolution, a channel shuffle or the flattening of a
//! map before a linear layer need no special treatment: labels are copied, repeated or reordered.
//!
//! What a rule does not cover becomes *fixed*, equal to a label that is never cut. An operator
//! without a rule fixes all its tensors, so that whatever is cut elsewhere, its shapes hold.

mod conv_pool;
mod elementwise;
mod layout;
mod matmul;
mod norm;
mod reduce;

use crate::model_graph::infer::{self, layout as shapes};
use crate::model_graph::{Class, DataType, ModelGraph, Node, OpType, ValueId};
use hashbrown::HashMap;
use smallvec::{SmallVec, smallvec};

/// The label of a position.
type Label = u32;
/// The label of what is never cut.
const FIXED: Label = 0;

/// Index of an axis' labels.
pub(super) type AxisId = u32;
/// The axis whose every label is [`FIXED`], of whatever extent.
pub(super) const WHOLE: AxisId = 0;

/// The axes of a tensor, outermost first.
pub(super) type Axes = SmallVec<[AxisId; 4]>;

/// Longer axes are never cut: they are vocabularies and maps flattened to one dimension.
const MAX_EXTENT: usize = 1 << 17;
/// Labels that are written, read or made equal before the network is given up as too large.
const MAX_WORK: usize = 1 << 26;
/// Times that labels flow through a network until every Reshape has found its carrier.
const MAX_PASSES: usize = 6;

/// Where a Reshape cuts an axis into factors: the node, and the position of the axis.
type SplitKey = (usize, usize);

/// An axis cut into factors by a Reshape, one of which carries the labels.
pub(super) struct Factors {
    key: SplitKey,
    carrier: usize,
    factors: usize,
    axis: AxisId,
}

/// A node whose rule runs, with what most rules ask for.
struct Site<'g> {
    graph: &'g ModelGraph,
    index: usize,
    node: &'g Node,
    /// Axes of input 0, its shape, and whether it is a constant.
    x: Axes,
    from: &'g [usize],
    constant: bool,
    /// Shape of the first output.
    to: &'g [usize],
}

impl Site<'_> {
    fn input(&self, i: usize) -> Option<ValueId> {
        self.node.inputs.get(i).copied().flatten()
    }

    /// The axis that attribute `axis` names.
    fn along(&self, default: i64) -> Option<usize> {
        infer::axis(self.node.attributes.int("axis", default), self.x.len()).ok()
    }
}

/// Axes of a node's outputs.
type Results = SmallVec<[Axes; 2]>;

/// The labels of a network's tensors.
pub(super) struct Labels<'g> {
    graph: &'g ModelGraph,
    /// Labels that were made equal form trees; a root is its own parent.
    parent: Vec<Label>,
    /// Of roots: whether something is computed over these positions that a zero changes.
    approximate: Vec<bool>,
    axes: Vec<Box<[Label]>>,
    of: Vec<Axes>,
    /// Axes of stored vectors, by the node that uses them.
    vectors: HashMap<(usize, ValueId), Axes>,
    carriers: &'g HashMap<SplitKey, usize>,
    factors: Vec<Factors>,
    work: usize,
}

/// Runs `finish` on the labels of a network whose nodes are used as `live` says.
///
/// Where a Reshape cuts an axis into factors (a projection into heads and their features), one of
/// the factors carries the labels and the others are fixed. Which one can be cut shows only later
/// in the network, so the outermost is tried first, then the next.
pub(super) fn labels<T>(graph: &ModelGraph, live: &[bool], finish: impl FnOnce(Labels) -> T) -> T {
    let mut carriers = HashMap::new();
    for _ in 1..MAX_PASSES {
        let mut labels = Labels::new(graph, live, &carriers);
        let factors = std::mem::take(&mut labels.factors);
        let mut useless = factors;
        useless.retain(|f| f.carrier + 1 < f.factors && !labels.cuttable(f.axis));
        if useless.is_empty() {
            return finish(labels);
        }
        drop(labels);
        carriers.extend(useless.into_iter().map(|f| (f.key, f.carrier + 1)));
    }
    finish(Labels::new(graph, live, &carriers))
}

impl<'g> Labels<'g> {
    fn new(graph: &'g ModelGraph, live: &[bool], carriers: &'g HashMap<SplitKey, usize>) -> Self {
        let mut labels = Self {
            graph,
            parent: vec![FIXED],
            approximate: vec![false],
            axes: vec![Box::default()],
            of: graph.values().iter().map(|v| smallvec![WHOLE; v.shape.len()]).collect(),
            vectors: HashMap::new(),
            carriers,
            factors: Vec::new(),
            work: 0,
        };
        for (index, node) in graph.nodes().iter().enumerate().filter(|(i, _)| live[*i]) {
            for &id in node.inputs.iter().flatten() {
                labels.stored(index, id);
            }
            labels.node(index, node);
        }
        for &id in graph.outputs() {
            labels.pin_all(id);
        }
        labels
    }

    /// Gives the axes of a stored tensor labels of their own when it is first used, and those of
    /// a vector for every node that uses it: exporters share equal ones between normalisations
    /// that have nothing to do with each other, and to cut each in its own way costs little.
    fn stored(&mut self, node: usize, id: ValueId) {
        let value = self.graph.value(id);
        let vector = value.shape.iter().filter(|&&extent| extent > 1).count() < 2;
        let known = self.of[id.index()].iter().any(|&a| a != WHOLE);
        let stored = value.producer.is_none() && value.is_constant();
        // Other integers are shapes and indices, unless they are a bias.
        let weight = value.dtype.is_float()
            || is_quantised(value.dtype)
            || (vector && self.graph.nodes()[node].op == OpType::DequantizeLinear);
        if !stored || !weight || (known && !vector) {
            return;
        }
        let axes: Axes = value.shape.iter().map(|&extent| self.fresh(extent)).collect();
        if vector {
            self.vectors.insert((node, id), axes.clone());
        }
        self.of[id.index()] = axes;
    }

    /// Whether there was too much to do; then nothing can be cut.
    pub(super) fn exhausted(&self) -> bool {
        self.work > MAX_WORK
    }

    fn fresh(&mut self, extent: usize) -> AxisId {
        self.work = self.work.saturating_add(extent.min(MAX_EXTENT));
        if !(2..=MAX_EXTENT).contains(&extent) || self.exhausted() {
            return WHOLE;
        }
        let first = self.parent.len();
        let labels: Box<[Label]> = (first..first + extent).map(|l| l as Label).collect();
        self.parent.extend_from_slice(&labels);
        self.approximate.resize(self.parent.len(), false);
        self.push(labels)
    }

    fn push(&mut self, labels: Box<[Label]>) -> AxisId {
        self.axes.push(labels);
        (self.axes.len() - 1) as AxisId
    }

    /// An axis of `extent` positions with these labels, which come from the axes `sources`.
    fn derived(
        &mut self,
        extent: usize,
        sources: &[AxisId],
        labels: impl Fn(&[Box<[Label]>], usize) -> Label,
    ) -> AxisId {
        if sources.iter().all(|&a| a == WHOLE) || extent < 2 {
            sources.iter().for_each(|&a| self.pin(a));
            return WHOLE;
        }
        self.work = self.work.saturating_add(extent.min(MAX_EXTENT));
        if extent > MAX_EXTENT || self.exhausted() {
            sources.iter().for_each(|&a| self.pin(a));
            return WHOLE;
        }
        let labels = (0..extent).map(|i| labels(&self.axes, i)).collect();
        self.push(labels)
    }

    pub(super) fn find(&mut self, mut label: Label) -> Label {
        while self.parent[label as usize] != label {
            let up = self.parent[self.parent[label as usize] as usize];
            self.parent[label as usize] = up;
            label = up;
        }
        label
    }

    fn unite(&mut self, a: Label, b: Label) {
        let (a, b) = (self.find(a), self.find(b));
        // The lower becomes the root, so `FIXED` stays one.
        let (root, child) = (a.min(b), a.max(b));
        self.parent[child as usize] = root;
        self.approximate[root as usize] |= self.approximate[child as usize];
    }

    /// How many labels along the axis to read: all of them, or none once there was too much to do.
    fn read(&mut self, axis: AxisId) -> usize {
        let extent = self.axes[axis as usize].len();
        self.work = self.work.saturating_add(extent);
        if self.exhausted() { 0 } else { extent }
    }

    fn each(&mut self, axis: AxisId, mut f: impl FnMut(&mut Self, Label)) {
        let read = self.read(axis);
        let labels = std::mem::take(&mut self.axes[axis as usize]);
        labels.iter().take(read).for_each(|&label| f(self, label));
        self.axes[axis as usize] = labels;
    }

    fn pin(&mut self, axis: AxisId) {
        self.each(axis, |s, label| s.unite(label, FIXED));
    }

    fn pin_all(&mut self, id: ValueId) {
        for position in 0..self.of[id.index()].len() {
            self.pin(self.of[id.index()][position]);
        }
    }

    /// Notes that zeros along this axis change what is computed over it.
    fn approximate(&mut self, axis: AxisId) {
        self.each(axis, |s, label| {
            let root = s.find(label);
            s.approximate[root as usize] = true;
        });
    }

    /// Makes two axes of the same extent equal and returns either.
    fn join(&mut self, a: AxisId, b: AxisId) -> AxisId {
        if a == b {
            return a;
        }
        let (x, y) = (self.axes[a as usize].len(), self.axes[b as usize].len());
        if a == WHOLE || b == WHOLE || x != y {
            self.pin(a);
            self.pin(b);
            return WHOLE;
        }
        for i in 0..self.read(a) {
            let (p, q) = (self.axes[a as usize][i], self.axes[b as usize][i]);
            self.unite(p, q);
        }
        a
    }

    /// Makes the labels within each run of `run` positions equal.
    fn join_runs(&mut self, axis: AxisId, run: usize) {
        let mut first = FIXED;
        let mut position = 0;
        self.each(axis, |s, label| {
            if position % run == 0 {
                first = label;
            }
            s.unite(first, label);
            position += 1;
        });
    }

    /// Whether at least two positions along the axis can be cut apart.
    fn cuttable(&mut self, axis: AxisId) -> bool {
        let mut first = FIXED;
        let mut several = false;
        self.each(axis, |s, label| {
            let root = s.find(label);
            several |= root != FIXED && first != FIXED && first != root;
            first = if root == FIXED { first } else { root };
        });
        several
    }

    /// Axes of a value.
    pub(super) fn axes(&self, id: ValueId) -> &Axes {
        &self.of[id.index()]
    }

    /// Axes of stored vectors, by the node that uses them.
    pub(super) fn vectors(&self) -> &HashMap<(usize, ValueId), Axes> {
        &self.vectors
    }

    /// Labels along an axis.
    pub(super) fn along(&self, axis: AxisId) -> &[Label] {
        &self.axes[axis as usize]
    }

    /// Number of axes that have labels of their own, and of labels.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.axes.len(), self.parent.len())
    }

    /// Whether a root is the label of what is never cut, and whether zeros in place of what it
    /// stands for change more than themselves.
    pub(super) fn kind(&self, root: Label) -> (bool, bool) {
        (root == FIXED, self.approximate[root as usize])
    }

    fn node(&mut self, index: usize, node: &'g Node) {
        let Some(results) = self.rule(index, node) else {
            node.inputs.iter().flatten().for_each(|&id| self.pin_all(id));
            return;
        };
        for (output, axes) in node.outputs.iter().zip(results) {
            let Some(id) = *output else { continue };
            let shape = &self.graph.value(id).shape;
            // Not where the shape was declared rather than inferred.
            let fits = axes.len() == shape.len()
                && axes
                    .iter()
                    .zip(shape)
                    .all(|(&a, &d)| a == WHOLE || self.axes[a as usize].len() == d);
            match fits {
                true => self.of[id.index()] = axes,
                false => axes.iter().for_each(|&a| self.pin(a)),
            }
        }
    }

    /// Axes of the outputs, those that are left out being fixed; `None` where the operator has no
    /// rule or the rule does not cover this use of it.
    fn rule(&mut self, index: usize, node: &'g Node) -> Option<Results> {
        let graph = self.graph;
        let class = node.op.class();
        let output = graph.value(node.outputs.first().copied().flatten()?);
        // Shapes are constants, whatever is cut.
        if class == Class::Shape {
            return Some(smallvec![]);
        }
        let first = node.inputs.first().copied().flatten()?;
        // Where the network itself computes the numbers, none can be written in their place.
        let mut others = node.inputs.iter().skip(1).flatten();
        if matches!(class, Class::Reshape | Class::Expand | Class::Resize)
            && others.any(|&id| graph.value(id).data().is_none())
        {
            return None;
        }
        // What is read as numbers, such as a list of axes, is used up as it is, even where others read
        // it as a weight.
        if matches!(
            class,
            Class::Reshape
                | Class::Expand
                | Class::Resize
                | Class::Split
                | Class::Slice
                | Class::Pad
                | Class::Tile
                | Class::Reduce
        ) {
            node.inputs.iter().skip(1).flatten().for_each(|&id| self.pin_all(id));
        }
        let at = Site {
            graph,
            index,
            node,
            x: self.of[first.index()].clone(),
            from: &graph.value(first).shape,
            constant: graph.value(first).is_constant(),
            to: &output.shape,
        };
        Some(match class {
            Class::Unary | Class::Cast => smallvec![at.x],
            Class::Dropout => smallvec![at.x.clone(), at.x],
            Class::Broadcast => smallvec![self.broadcast(node, at.to)],
            Class::Quantise => smallvec![self.quantise(at)?],
            Class::Softmax => smallvec![self.softmax(at)?],
            Class::BatchNorm => self.batch_norm(at)?,
            Class::InstanceNorm => smallvec![self.instance_norm(at)?],
            Class::GroupNorm => smallvec![self.group_norm(at)?],
            Class::LayerNorm => self.layer_norm(at)?,
            Class::LpNormalization => smallvec![self.lp_norm(at)?],
            Class::Conv => smallvec![self.conv(&at)?],
            Class::ConvTranspose => smallvec![self.conv_transpose(&at)?],
            Class::Pool | Class::GlobalPool => smallvec![self.pool(at)?],
            Class::GridSample => smallvec![self.grid_sample(at)?],
            Class::MatMul => smallvec![self.matmul(&at)?],
            Class::Gemm => smallvec![self.gemm(&at)?],
            Class::Einsum => smallvec![self.einsum(&at)?],
            Class::Reduce => smallvec![self.reduce(&at)?],
            Class::Reshape => smallvec![self.regroup(&at)],
            Class::Transpose => {
                let perm = node.context(graph, |ctx| shapes::permutation(ctx).ok())?;
                smallvec![perm.iter().map(|&a| at.x[a]).collect()]
            }
            Class::Concat => smallvec![self.concat(&at)?],
            Class::Split => self.split(&at)?,
            Class::Slice => smallvec![self.slice(&at)?],
            Class::Gather => smallvec![self.gather(&at)?],
            Class::Expand => smallvec![self.expand(&at)?],
            Class::Tile => smallvec![self.tile(&at)],
            Class::Pad => smallvec![self.pad(&at)?],
            Class::Resize => smallvec![self.resize(&at)?],
            Class::DepthSpace => smallvec![self.depth_space(&at)?],
            // Weights are found by the plain operator's inputs, which only this one has.
            Class::StandIn(..) => (node.op == OpType::MsGelu).then(|| smallvec![at.x])?,
            Class::BiasSplitGelu
            | Class::Running
            | Class::MsGroupNorm
            | Class::SkipLayerNorm
            | Class::EmbedLayerNorm
            | Class::LocalResponseNorm
            | Class::PackedMatMul
            | Class::Attention
            | Class::RotaryEmbedding
            | Class::Recurrent
            | Class::ArgMax
            | Class::TopK
            | Class::Trilu
            | Class::GatherElements
            | Class::Opaque
            | Class::Random
            | Class::Shape
            | Class::Constant
            | Class::Unknown => return None,
        })
    }
}

/// Whether weights are stored in this type of integers: of 8 bits and fewer.
fn is_quantised(dtype: DataType) -> bool {
    matches!(dtype, DataType::Int8 | DataType::Uint8 | DataType::Other(21 | 22))
}
