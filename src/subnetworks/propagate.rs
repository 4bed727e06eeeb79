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

use crate::model_graph::infer::einsum::{Label as AxisLabel, equation};
use crate::model_graph::infer::{self, layout, reduce::reduced_axes};
use crate::model_graph::{DataType, ModelGraph, Node, OpType, TensorData, ValueId};
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
    pub(super) fn of(&self, id: ValueId) -> &Axes {
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

    fn node(&mut self, index: usize, node: &Node) {
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
    fn rule(&mut self, index: usize, node: &Node) -> Option<SmallVec<[Axes; 2]>> {
        use OpType::*;
        let graph = self.graph;
        let input = |i: usize| node.inputs.get(i).copied().flatten();
        let shape = |i: usize| input(i).map(|id| graph.value(id).shape.as_slice());
        let output = graph.value(node.outputs.first().copied().flatten()?);
        // Shapes are constants, whatever is cut.
        if matches!(node.op, Shape | Size) {
            return Some(smallvec![]);
        }
        let x = match input(0) {
            Some(id) => self.of[id.index()].clone(),
            None => return None,
        };
        let x_shape = shape(0)?;
        let x_constant = graph.value(input(0)?).is_constant();
        // Where the network itself computes the numbers, none can be written in their place.
        let unknown = |&id: &ValueId| graph.value(id).data().is_none();
        if matches!(node.op, Reshape | Squeeze | Unsqueeze | Expand | Resize | Upsample)
            && node.inputs.iter().skip(1).flatten().any(unknown)
        {
            return None;
        }
        // What is read as numbers, such as a list of axes, is used up as it is, even where others read
        // it as a weight.
        if matches!(
            node.op,
            Reshape
                | Squeeze
                | Unsqueeze
                | Expand
                | Resize
                | Upsample
                | Split
                | Slice
                | Pad
                | Tile
                | ReduceL1
                | ReduceL2
                | ReduceLogSum
                | ReduceLogSumExp
                | ReduceMax
                | ReduceMean
                | ReduceMin
                | ReduceProd
                | ReduceSum
                | ReduceSumSquare
        ) {
            node.inputs.iter().skip(1).flatten().for_each(|&id| self.pin_all(id));
        }
        let one = |axes: Axes| Some(smallvec![axes]);
        let along = |name: &str, default: i64| {
            infer::axis(node.attributes.int(name, default), x.len()).ok()
        };
        match node.op {
            Abs | Acos | Acosh | Asin | Asinh | Atan | Atanh | Cast | CastLike | Ceil | Celu
            | Clip | Cos | Cosh | Elu | Erf | Exp | Floor | Gelu | HardSigmoid | HardSwish
            | Identity | IsInf | IsNaN | LeakyRelu | Log | Mish | MsGelu | Neg | Not
            | QuickGelu | Reciprocal | Relu | Round | Selu | Shrink | Sigmoid | Sign | Sin
            | Sinh | Softplus | Softsign | Sqrt | Swish | Tan | Tanh | ThresholdedRelu => one(x),
            Dropout => Some(smallvec![x.clone(), x]),
            Add | Sub | Mul | Div | Pow | Mod | PRelu | Max | Min | Mean | Sum | Where | And
            | Or | Xor | Equal | Greater | GreaterOrEqual | Less | LessOrEqual | BiasGelu
            | FastGelu => one(self.broadcast(node, &output.shape)),
            Conv => {
                let mut axes = self.conv(node)?;
                let w = self.of[input(1)?.index()].clone();
                axes.insert(1, *w.first()?);
                self.bias(input(2), w[0]);
                one(axes)
            }
            ConvTranspose => {
                self.conv_transpose(node, output.shape.get(1).copied()?).map(|a| smallvec![a])
            }
            BatchNormalization => {
                let channels = *x.get(1)?;
                (1..5).for_each(|i| self.bias(input(i), channels));
                let mut axes: SmallVec<[Axes; 2]> = smallvec![smallvec![channels]; 5];
                axes[0] = x;
                Some(axes)
            }
            InstanceNormalization => {
                let channels = *x.get(1)?;
                (1..3).for_each(|i| self.bias(input(i), channels));
                x.iter().skip(2).for_each(|&a| self.pin(a));
                one(x)
            }
            GroupNormalization => {
                let groups = usize::try_from(node.attributes.int("num_groups", 0)).ok()?;
                let (channels, extent) = (*x.get(1)?, *x_shape.get(1)?);
                let run = extent.checked_div(groups).filter(|r| r * groups == extent && *r > 0)?;
                self.join_runs(channels, run);
                let firsts = match run {
                    1 => channels,
                    _ => self
                        .derived(groups, &[channels], |axes, i| axes[channels as usize][i * run]),
                };
                for i in 1..3 {
                    let per_group = shape(i)? == [groups];
                    self.bias(input(i), if per_group { firsts } else { channels });
                }
                x.iter().skip(2).for_each(|&a| self.pin(a));
                one(x)
            }
            LayerNormalization | RMSNormalization | SimplifiedLayerNormalization => {
                let from = along("axis", -1)?;
                x.iter().skip(from).for_each(|&a| self.approximate(a));
                let parameters: SmallVec<[ValueId; 3]> =
                    node.inputs.iter().flatten().copied().collect();
                let joined = self.broadcast_all(&parameters, x_shape);
                let statistics: Axes =
                    (0..x.len()).map(|i| if i < from { joined[i] } else { WHOLE }).collect();
                Some(smallvec![joined, statistics.clone(), statistics])
            }
            LpNormalization => {
                if x_constant {
                    self.approximate(x[along("axis", -1)?]);
                }
                one(x)
            }
            AveragePool | MaxPool | LpPool | GlobalAveragePool | GlobalMaxPool | GlobalLpPool => {
                // The indices of maxima run over channels too.
                if node.outputs.iter().flatten().count() > 1 {
                    return None;
                }
                x.iter().skip(2).for_each(|&a| self.pin(a));
                let kept = |(i, &a): (usize, &AxisId)| if i < 2 { a } else { WHOLE };
                one(x.iter().enumerate().map(kept).collect())
            }
            GridSample => {
                self.pin_all(input(1)?);
                x.iter().skip(2).for_each(|&a| self.pin(a));
                let kept = |(i, &a): (usize, &AxisId)| if i < 2 { a } else { WHOLE };
                one(x.iter().enumerate().map(kept).collect())
            }
            Gemm => {
                let a = self.matrix(node, 0, "transA")?;
                let b = self.matrix(node, 1, "transB")?;
                self.contract(node, a[1], b[0]);
                let out: Axes = smallvec![a[0], b[1]];
                if let Some(c) = input(2) {
                    return one(self.broadcast_onto(out, c, &output.shape));
                }
                one(out)
            }
            MatMul => self.matmul(node, &output.shape).map(|a| smallvec![a]),
            Einsum => self.einsum(node, &output.shape).map(|a| smallvec![a]),
            Reshape | Flatten | Squeeze | Unsqueeze => {
                one(self.regroup(index, &x, x_shape, &output.shape))
            }
            Transpose => {
                let perm = node.context(graph, |ctx| layout::permutation(ctx).ok())?;
                one(perm.iter().map(|&a| x[a]).collect())
            }
            Concat => self.concat(node, &output.shape).map(|a| smallvec![a]),
            Split => self.split(node, &x).map(|a| a.into()),
            Slice => self.slice(node, &x).map(|a| smallvec![a]),
            Gather => self.gather(node, &x).map(|a| smallvec![a]),
            Expand => {
                let skip = output.shape.len().checked_sub(x.len())?;
                let mut axes: Axes = smallvec![WHOLE; skip];
                for (i, &a) in x.iter().enumerate() {
                    let same = x_shape[i] == output.shape[skip + i];
                    axes.push(if same { a } else { WHOLE });
                }
                one(axes)
            }
            Tile => {
                let tiled = |(i, &a): (usize, &AxisId)| match output.shape.get(i) {
                    Some(&d) if d != x_shape[i] && a != WHOLE => {
                        self.derived(d, &[a], |axes, k| axes[a as usize][k % x_shape[i]])
                    }
                    _ => a,
                };
                one(x.iter().enumerate().map(tiled).collect())
            }
            Pad => {
                let pads = node.context(graph, |ctx| layout::pads(ctx).ok())?;
                let constant = node.attributes.str("mode").is_none_or(|m| m == "constant");
                let mut axes = Axes::new();
                for (i, &a) in x.iter().enumerate() {
                    let (before, after) = (pads[i], pads[x.len() + i]);
                    axes.push(if a == WHOLE || (before == 0 && after == 0) {
                        a
                    } else if constant && before >= 0 && after >= 0 {
                        let before = usize::try_from(before).ok()?;
                        self.derived(output.shape[i], &[a], |axes, k| {
                            let inner = k.checked_sub(before);
                            inner.and_then(|k| axes[a as usize].get(k)).copied().unwrap_or(FIXED)
                        })
                    } else {
                        self.pin(a);
                        WHOLE
                    });
                }
                one(axes)
            }
            Resize | Upsample => {
                let policy = node.attributes.str("keep_aspect_ratio_policy");
                if policy.is_some_and(|p| p != "stretch") {
                    return None;
                }
                let mut axes = Axes::new();
                for (i, &a) in x.iter().enumerate() {
                    let same = x_shape[i] == *output.shape.get(i)?;
                    if !same {
                        self.pin(a);
                    }
                    axes.push(if same { a } else { WHOLE });
                }
                one(axes)
            }
            DepthToSpace | SpaceToDepth => {
                let block = usize::try_from(node.attributes.int("blocksize", 0)).ok()?;
                let area = block.checked_mul(block)?;
                x.iter().skip(2).for_each(|&a| self.pin(a));
                let (from, to) = (*x_shape.get(1)?, *output.shape.get(1)?);
                let channels = x[1];
                let mixed = if node.op == SpaceToDepth {
                    self.derived(to, &[channels], |axes, i| axes[channels as usize][i % from])
                } else if node.attributes.str("mode") == Some("CRD") {
                    self.join_runs(channels, area);
                    self.derived(to, &[channels], |axes, i| axes[channels as usize][i * area])
                } else {
                    for i in 0..self.read(channels) {
                        let labels = &self.axes[channels as usize];
                        let (first, label) = (labels[i % to], labels[i]);
                        self.unite(first, label);
                    }
                    self.derived(to, &[channels], |axes, i| axes[channels as usize][i])
                };
                one(smallvec![x[0], mixed, WHOLE, WHOLE])
            }
            Softmax | LogSoftmax | Hardmax => {
                let from = along("axis", if graph.opset() < 13 { 1 } else { -1 })?;
                let until = if graph.opset() < 13 { x.len() } else { from + 1 };
                x[from..until].iter().for_each(|&a| self.pin(a));
                one(x)
            }
            ReduceL1 | ReduceL2 | ReduceLogSum | ReduceLogSumExp | ReduceMax | ReduceMean
            | ReduceMin | ReduceProd | ReduceSum | ReduceSumSquare => {
                let gone = node.context(graph, |ctx| {
                    let list = ctx.ints_either("axes", 1).ok()?;
                    reduced_axes(&node.attributes, ctx.optional(0)?, list).ok()
                })?;
                // Zeros add nothing to a sum.
                let sum = matches!(node.op, ReduceL1 | ReduceL2 | ReduceSum | ReduceSumSquare);
                let keep = node.attributes.int("keepdims", 1) != 0;
                let mut axes = Axes::new();
                for (i, &a) in x.iter().enumerate() {
                    if !gone.contains(&i) {
                        axes.push(a);
                        continue;
                    }
                    if !sum || x_constant {
                        self.approximate(a);
                    }
                    if keep {
                        axes.push(WHOLE);
                    }
                }
                one(axes)
            }
            QuantizeLinear | DequantizeLinear => {
                let parameters = [input(1), input(2)].into_iter().flatten();
                let mut several = parameters.filter(|id| graph.value(*id).elements() > 1);
                if several.clone().next().is_some() {
                    let at = along("axis", 1)?;
                    // Not in blocks.
                    let whole = |id: ValueId| graph.value(id).shape.as_slice() == [x_shape[at]];
                    if !several.all(whole) {
                        return None;
                    }
                    (1..3).for_each(|i| self.bias(input(i), x[at]));
                }
                one(x)
            }
            _ => None,
        }
    }

    /// Makes the axis of a vector equal to `axis`; a single number fits any.
    fn bias(&mut self, vector: Option<ValueId>, axis: AxisId) {
        let Some(id) = vector else { return };
        match (self.of[id.index()].as_slice(), self.graph.value(id).shape.as_slice()) {
            (&[own], &[extent]) if extent > 1 => {
                self.join(own, axis);
            }
            _ => {}
        }
    }

    fn broadcast(&mut self, node: &Node, shape: &[usize]) -> Axes {
        let operands: SmallVec<[ValueId; 3]> = node.inputs.iter().flatten().copied().collect();
        self.broadcast_all(&operands, shape)
    }

    fn broadcast_all(&mut self, operands: &[ValueId], shape: &[usize]) -> Axes {
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
    fn broadcast_onto(&mut self, mut out: Axes, id: ValueId, shape: &[usize]) -> Axes {
        let own = &self.graph.value(id).shape;
        for (i, &extent) in own.iter().enumerate() {
            let Some(at) = (i + shape.len()).checked_sub(own.len()) else { continue };
            if extent == shape[at] && extent > 1 {
                out[at] = self.join(out[at], self.of[id.index()][i]);
            }
        }
        out
    }

    /// Ties the channels of a convolution's input to its weight and returns the axes of its
    /// output without the channels.
    fn conv(&mut self, node: &Node) -> Option<Axes> {
        let [x, w] = [node.inputs.first().copied()??, node.inputs.get(1).copied()??];
        let groups = usize::try_from(node.attributes.int("group", 1)).ok()?;
        let (x_axes, w_axes) = (self.of[x.index()].clone(), self.of[w.index()].clone());
        let (channels, filters) = (*x_axes.get(1)?, *w_axes.first()?);
        let own = *w_axes.get(1)?;
        x_axes.iter().skip(2).chain(w_axes.iter().skip(2)).for_each(|&a| self.pin(a));
        if groups == 1 {
            self.contract(node, channels, own);
        } else {
            self.pin(own);
            let (from, to) = (self.graph.value(x).shape[1], self.graph.value(w).shape[0]);
            self.join_groups(channels, from / groups, filters, to / groups);
        }
        let mut out: Axes = smallvec![WHOLE; x_axes.len() - 1];
        out[0] = x_axes[0];
        Some(out)
    }

    /// Makes each run of `a` equal to the run of `b` at the same place.
    fn join_groups(&mut self, a: AxisId, run_a: usize, b: AxisId, run_b: usize) {
        if a == WHOLE || b == WHOLE || run_a == 0 || run_b == 0 {
            self.pin(a);
            self.pin(b);
            return;
        }
        self.join_runs(a, run_a);
        self.join_runs(b, run_b);
        for i in 0..self.axes[a as usize].len() / run_a {
            let (p, q) = (self.axes[a as usize][i * run_a], self.axes[b as usize][i * run_b]);
            self.unite(p, q);
        }
    }

    fn conv_transpose(&mut self, node: &Node, filters: usize) -> Option<Axes> {
        let [x, w] = [node.inputs.first().copied()??, node.inputs.get(1).copied()??];
        let groups = usize::try_from(node.attributes.int("group", 1)).ok()?;
        let (x_axes, w_axes) = (self.of[x.index()].clone(), self.of[w.index()].clone());
        let (channels, own) = (*x_axes.get(1)?, *w_axes.get(1)?);
        x_axes.iter().skip(2).chain(w_axes.iter().skip(2)).for_each(|&a| self.pin(a));
        self.contract(node, channels, w_axes[0]);
        let out = if groups == 1 {
            own
        } else {
            self.pin(own);
            let from = self.graph.value(x).shape[1];
            let (run_in, run) = (from / groups, filters / groups);
            if run_in == 0 || run == 0 {
                return None;
            }
            self.join_runs(channels, run_in);
            self.derived(filters, &[channels], |axes, i| {
                axes[channels as usize].get(i / run * run_in).copied().unwrap_or(FIXED)
            })
        };
        self.bias(node.inputs.get(2).copied().flatten(), out);
        let mut axes: Axes = smallvec![WHOLE; x_axes.len()];
        (axes[0], axes[1]) = (x_axes[0], out);
        Some(axes)
    }

    /// Sums over two axes at once.
    fn contract(&mut self, node: &Node, a: AxisId, b: AxisId) {
        let joined = self.join(a, b);
        // Cutting constants is no zeroing: masks are laid on what depends on the input.
        if node.inputs.iter().take(2).flatten().all(|&id| self.graph.value(id).is_constant()) {
            self.approximate(joined);
        }
    }

    /// Rows and columns of a Gemm's operand.
    fn matrix(&self, node: &Node, i: usize, flip: &str) -> Option<[AxisId; 2]> {
        let &[rows, columns] = self.of[node.inputs.get(i).copied()??.index()].as_slice() else {
            return None;
        };
        Some(if node.attributes.int(flip, 0) != 0 { [columns, rows] } else { [rows, columns] })
    }

    fn matmul(&mut self, node: &Node, shape: &[usize]) -> Option<Axes> {
        let [a, b] = [node.inputs.first().copied()??, node.inputs.get(1).copied()??];
        let (left, right) = (self.of[a.index()].clone(), self.of[b.index()].clone());
        let (a_shape, b_shape) = (&self.graph.value(a).shape, &self.graph.value(b).shape);
        let inner = right.len().saturating_sub(2);
        self.contract(node, *left.last()?, *right.get(inner)?);
        let mut out = Axes::new();
        let batches =
            shape.len().checked_sub(usize::from(left.len() > 1) + usize::from(right.len() > 1))?;
        for (i, &extent) in shape.iter().enumerate().take(batches) {
            let side = |axes: &Axes, dims: &[usize]| {
                let at = (i + axes.len().saturating_sub(2)).checked_sub(batches)?;
                (dims[at] == extent).then(|| axes[at])
            };
            out.push(match (side(&left, a_shape), side(&right, b_shape)) {
                (Some(p), Some(q)) => self.join(p, q),
                (Some(p), None) | (None, Some(p)) => p,
                (None, None) => WHOLE,
            });
        }
        if left.len() > 1 {
            out.push(left[left.len() - 2]);
        }
        if right.len() > 1 {
            out.push(right[right.len() - 1]);
        }
        Some(out)
    }

    fn einsum(&mut self, node: &Node, shape: &[usize]) -> Option<Axes> {
        let equation = node.context(self.graph, equation).ok()?;
        let mut known: Vec<(AxisLabel, AxisId)> = Vec::new();
        for (term, id) in equation.terms.iter().zip(&node.inputs) {
            let id = (*id)?;
            let axes = self.of[id.index()].clone();
            let extents = &self.graph.value(id).shape;
            for (i, (&label, (&axis, &extent))) in
                term.iter().zip(axes.iter().zip(extents)).enumerate()
            {
                // Neither diagonals nor broadcasting.
                if term[..i].contains(&label) || extent != equation.extent(label) {
                    return None;
                }
                match known.iter_mut().find(|(l, _)| *l == label) {
                    None => known.push((label, axis)),
                    Some((_, other)) => *other = self.join(*other, axis),
                }
            }
        }
        if node.inputs.iter().flatten().all(|&id| self.graph.value(id).is_constant()) {
            known.iter().for_each(|&(_, a)| self.approximate(a));
        }
        let output = &equation.output;
        let axes: Option<Axes> = output
            .iter()
            .map(|label| known.iter().find(|(l, _)| l == label).map(|&(_, a)| a))
            .collect();
        axes.filter(|a| a.len() == shape.len())
    }

    /// Axes of a tensor whose elements, in row-major order, are put into a new shape: its axes
    /// are cut into factors, of which the new axes are made.
    fn regroup(&mut self, node: usize, x: &Axes, from: &[usize], to: &[usize]) -> Axes {
        let Some(factors) = common_factors(from, to) else {
            x.iter().for_each(|&a| self.pin(a));
            return smallvec![WHOLE; to.len()];
        };
        let mut axes: Axes = smallvec![WHOLE; factors.len()];
        let mut start = 0;
        for (i, &extent) in from.iter().enumerate() {
            let range = start..start + run(&factors[start..], extent);
            start = range.end;
            let (factors, axes) = (&factors[range.clone()], &mut axes[range]);
            match axes {
                [] => {}
                [axis] => *axis = x[i],
                axes => self.cut_up((node, i), x[i], factors, axes),
            }
        }
        let mut start = 0;
        to.iter()
            .map(|&extent| {
                let range = start..start + run(&factors[start..], extent);
                start = range.end;
                match &axes[range.clone()] {
                    [] => WHOLE,
                    &[axis] => axis,
                    axes => self.merged(axes, &factors[range], extent),
                }
            })
            .collect()
    }

    /// An axis cut into factors: one carries the labels.
    fn cut_up(&mut self, key: SplitKey, axis: AxisId, factors: &[usize], out: &mut [AxisId]) {
        if axis == WHOLE {
            return;
        }
        let carrier = self.carriers.get(&key).copied().unwrap_or(0).min(factors.len() - 1);
        let extent = factors[carrier];
        let inner: usize = factors[carrier + 1..].iter().product();
        for i in 0..self.read(axis) {
            let labels = &self.axes[axis as usize];
            let (first, label) = (labels[i / inner % extent * inner], labels[i]);
            self.unite(first, label);
        }
        let carried = self.derived(extent, &[axis], |axes, i| axes[axis as usize][i * inner]);
        out[carrier] = carried;
        self.factors.push(Factors { key, carrier, factors: factors.len(), axis: carried });
    }

    /// Axes merged into one of `extent` positions: the outermost that has labels keeps them.
    fn merged(&mut self, axes: &[AxisId], factors: &[usize], extent: usize) -> AxisId {
        let Some(at) = axes.iter().position(|&a| a != WHOLE) else { return WHOLE };
        axes[at + 1..].iter().for_each(|&a| self.pin(a));
        let inner: usize = factors[at + 1..].iter().product();
        let (axis, own) = (axes[at], factors[at]);
        self.derived(extent, &[axis], |all, i| all[axis as usize][i / inner % own])
    }

    fn concat(&mut self, node: &Node, shape: &[usize]) -> Option<Axes> {
        let at = infer::axis(node.attributes.int("axis", 1), shape.len()).ok()?;
        let parts: SmallVec<[ValueId; 4]> = node.inputs.iter().copied().collect::<Option<_>>()?;
        let mut out: Axes = self.of[parts.first()?.index()].clone();
        for id in &parts {
            for (i, axis) in out.iter_mut().enumerate().filter(|(i, _)| *i != at) {
                if shape[i] > 1 {
                    *axis = self.join(*axis, self.of[id.index()][i]);
                }
            }
        }
        let pieces: SmallVec<[(AxisId, usize); 4]> = parts
            .iter()
            .map(|id| (self.of[id.index()][at], self.graph.value(*id).shape[at]))
            .collect();
        let sources: SmallVec<[AxisId; 4]> = pieces.iter().map(|p| p.0).collect();
        let mut places = Vec::new();
        let cut = sources.iter().any(|&a| a != WHOLE);
        if cut && shape[at] <= MAX_EXTENT && !self.exhausted() {
            self.work = self.work.saturating_add(shape[at]);
            for &(axis, extent) in &pieces {
                places.extend((0..extent).map(|i| (axis, i)));
            }
        }
        out[at] = self.derived(shape[at], &sources, |axes, i| {
            let (axis, k) = places[i];
            axes[axis as usize].get(k).copied().unwrap_or(FIXED)
        });
        Some(out)
    }

    fn split(&mut self, node: &Node, x: &Axes) -> Option<Vec<Axes>> {
        let (at, sizes) = node.context(self.graph, |ctx| layout::split_sizes(ctx).ok())?;
        let axis = x[at];
        let mut start = 0;
        let mut pieces = Vec::new();
        for size in sizes {
            let mut piece = x.clone();
            piece[at] = match axis {
                WHOLE => WHOLE,
                _ if self.exhausted() => WHOLE,
                _ => self.picked(axis, (start..start + size).collect()),
            };
            start += size;
            pieces.push(piece);
        }
        Some(pieces)
    }

    /// Some positions of an axis. A single one is fixed: an axis of extent 1 has no labels.
    fn picked(&mut self, axis: AxisId, positions: Vec<usize>) -> AxisId {
        if let &[only] = positions.as_slice() {
            let label = self.axes[axis as usize][only];
            self.unite(label, FIXED);
            return WHOLE;
        }
        if positions.is_empty() {
            return WHOLE;
        }
        self.derived(positions.len(), &[axis], |axes, i| axes[axis as usize][positions[i]])
    }

    fn slice(&mut self, node: &Node, x: &Axes) -> Option<Axes> {
        let graph = self.graph;
        let shape = &graph.value(node.inputs.first().copied()??).shape;
        let ranges = node.context(graph, |ctx| layout::slice_ranges(ctx).ok())?;
        let mut out = Axes::new();
        for (i, (&axis, range)) in x.iter().zip(&ranges).enumerate() {
            out.push(if axis == WHOLE || (range.step == 1 && range.count == shape[i]) {
                axis
            } else if range.step == 1 && !self.exhausted() {
                let start = usize::try_from(range.start).ok()?;
                self.picked(axis, (start..start + range.count).collect())
            } else {
                self.pin(axis);
                WHOLE
            });
        }
        Some(out)
    }

    fn gather(&mut self, node: &Node, x: &Axes) -> Option<Axes> {
        let id = node.inputs.get(1).copied()??;
        let index = self.graph.value(id);
        let at = infer::axis(node.attributes.int("axis", 0), x.len()).ok()?;
        let axis = x[at];
        let mut between = self.of[id.index()].clone();
        match index.data() {
            Some(TensorData::Ints(list))
                if axis != WHOLE && index.shape.len() < 2 && !self.exhausted() =>
            {
                let extent = self.axes[axis as usize].len();
                let wrap = |&i: &i64| {
                    let wrapped =
                        if i < 0 { i.checked_add(i64::try_from(extent).ok()?)? } else { i };
                    usize::try_from(wrapped).ok().filter(|&i| i < extent)
                };
                let positions: Vec<usize> = list.iter().map(wrap).collect::<Option<_>>()?;
                let picked = self.picked(axis, positions);
                between.iter_mut().for_each(|a| *a = picked);
            }
            _ => self.pin(axis),
        }
        Some(x[..at].iter().copied().chain(between).chain(x[at + 1..].iter().copied()).collect())
    }
}

/// Whether weights are stored in this type of integers: of 8 bits and fewer.
fn is_quantised(dtype: DataType) -> bool {
    matches!(dtype, DataType::Int8 | DataType::Uint8 | DataType::Other(21 | 22))
}

/// The coarsest factors, from the outermost, of which the extents of both shapes are products of
/// consecutive ones; `None` where there are none.
fn common_factors(from: &[usize], to: &[usize]) -> Option<SmallVec<[usize; 6]>> {
    let mut bounds: SmallVec<[usize; 12]> = SmallVec::new();
    for shape in [from, to] {
        let mut product = 1usize;
        for &extent in shape {
            product = product.checked_mul(extent).filter(|&p| p > 0)?;
            bounds.push(product);
        }
    }
    bounds.sort_unstable();
    bounds.dedup();
    let mut factors = SmallVec::new();
    let mut last = 1;
    for bound in bounds.into_iter().filter(|&b| b > 1) {
        if bound % last != 0 {
            return None;
        }
        factors.push(bound / last);
        last = bound;
    }
    Some(factors)
}

/// How many of the factors make up an extent.
fn run(factors: &[usize], extent: usize) -> usize {
    let mut product = 1usize;
    factors
        .iter()
        .take_while(|&&factor| {
            let wanted = product < extent;
            product = if wanted { product.saturating_mul(factor) } else { product };
            wanted
        })
        .count()
}
