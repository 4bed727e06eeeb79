//! The draft of a model graph: one node per operator that computes.

mod attention;
mod elementwise;
mod fused;
mod norm;
mod parts;
mod pooling;
mod quantised;
#[cfg(test)]
mod tests;
mod weighted;
mod weights;

use super::axes::{Axes, AxesMap, Role};
use super::draft::{Draft, Index, Node as DraftNode, Op};
use crate::graph::{Extent, Operation};
use crate::model_graph::{
    Class, DataType, ModelGraph, Node, OpType, Origin, TensorData, Value, ValueId, Views, needed,
};
use hashbrown::{HashMap, HashSet};
use smallvec::{SmallVec, smallvec};

/// The draft of `graph`, before any rule has run.
pub(super) fn draft(graph: &ModelGraph) -> Draft {
    let values = graph.values().len();
    let mut drafter = Drafter {
        graph,
        axes: AxesMap::new(graph),
        views: Views::new(graph),
        draft: Draft::with_capacity(graph.inputs().len() + graph.nodes().len()),
        source: vec![None; values],
        counted: vec![false; values],
        layered: vec![false; values],
        left: vec![None; values],
        non_negative: Vec::new(),
        lists: HashMap::new(),
        scaled: norm::scaled(graph),
    };
    for &id in graph.inputs() {
        let extent = drafter.extent(id);
        let mut node = DraftNode::new(Op::Atom(Operation::Input), smallvec![], extent, extent);
        node.name = graph.value(id).name.clone();
        drafter.source[id.index()] = Some(drafter.draft.push(node));
    }
    // A weight must not count with what no output depends on.
    let needed = needed(graph);
    for node in graph.nodes() {
        let mut outputs = node.outputs.iter().flatten();
        if outputs.clone().all(|&id| graph.value(id).is_constant()) {
            drafter.fold(&node.plain());
        } else if outputs.any(|id| needed[id.index()]) {
            drafter.operator(&node.plain());
            drafter.clamp(node);
        }
    }
    for &id in graph.outputs() {
        if let Some(index) = drafter.source[id.index()] {
            drafter.draft.output(index);
        }
    }
    drafter.draft.drop_unused();
    drafter.count_layers();
    drafter.draft
}

struct Drafter<'a> {
    graph: &'a ModelGraph,
    axes: AxesMap,
    views: Views,
    draft: Draft,
    /// The node that computes each value; `None` for constants.
    source: Vec<Option<Index>>,
    /// Constants whose coefficients have been counted: shared weights count once.
    counted: Vec<bool>,
    /// Constants that layers compute from stored tensors: nothing is computed where the network runs,
    /// but what they are computed from are its weights.
    layered: Vec<bool>,
    /// Elements of stored tensors that have not been counted, once some have.
    left: Vec<Option<u64>>,
    /// Of the first nodes, whether they put out nothing negative.
    non_negative: Vec<bool>,
    /// Digests of lists of positions, which many nodes may share.
    lists: HashMap<ValueId, SmallVec<[i64; 4]>>,
    /// Outputs of instance normalisations that trained factors and shifts follow.
    scaled: HashSet<ValueId>,
}

impl<'a> Drafter<'a> {
    fn id(&self, node: &Node, input: usize) -> Option<ValueId> {
        node.inputs.get(input).copied().flatten()
    }

    fn value(&self, node: &Node, input: usize) -> Option<&'a Value> {
        self.id(node, input).map(|id| self.graph.value(id))
    }

    /// Node that computes input `input`; `None` when it is absent or constant.
    fn from(&self, node: &Node, input: usize) -> Option<Index> {
        self.source[self.id(node, input)?.index()]
    }

    fn axes_of(&self, node: &Node, input: usize) -> Option<&Axes> {
        self.axes.get(self.id(node, input)?)
    }

    fn extent(&self, id: ValueId) -> Extent {
        self.axes.extent(id).unwrap_or(Extent::new(1, 1, 1))
    }

    fn output(&self, node: &Node) -> ValueId {
        // Only called for nodes with an output that computes.
        node.outputs.iter().copied().flatten().next().unwrap_or(ValueId(0))
    }

    /// All computed operands in order.
    fn operands(&self, node: &Node) -> SmallVec<[Index; 2]> {
        (0..node.inputs.len()).filter_map(|i| self.from(node, i)).collect()
    }

    /// Extent of the largest computed operand.
    fn largest(&self, node: &Node) -> Extent {
        let ids = node.inputs.iter().flatten();
        let extents = ids.filter(|id| self.source[id.index()].is_some()).map(|&id| self.extent(id));
        extents.max_by_key(|e| (e.elements(), *e)).unwrap_or(Extent::new(1, 1, 1))
    }

    /// Trained coefficients that the node brings along as constant inputs.
    ///
    /// A constant in the place of a weight is one, whatever its type and size. Other operands count
    /// when they come from stored tensors of more than one number; a buffer of zeros to write to
    /// doesn't. A table that meets a tensor element by element (position embedding, mask, class
    /// token) counts for one element of the batch, and counts however it came about: some exporters
    /// store what others compute, and no file tells which of them was trained. What layers compute from
    /// stored tensors alone, such as the projections of learned queries, is counted in the end.
    fn coefficients(&mut self, node: &Node) -> u64 {
        use OpType::*;
        let places = weights::places(&node.op);
        let aligned = matches!(
            node.op,
            Add | Sub | Mul | Div | Pow | Max | Min | Mean | Sum | Where | Concat
        );
        let mut total: u64 = 0;
        for i in 0..node.inputs.len() {
            let (Some(id), Some(value)) = (self.id(node, i), self.value(node, i)) else { continue };
            let Some(constant) = &value.constant else { continue };
            if self.layered[id.index()] {
                continue;
            }
            let counts = match &places {
                Some(places) => {
                    places.weights.contains(&i) || places.learned(i) && self.trained(id)
                }
                None => {
                    let weight = match constant.origin {
                        // Literals may be weights: exporters differ in where they put a fixed filter.
                        Origin::Stored | Origin::Literal => true,
                        Origin::Computed => aligned || self.trained(id),
                    };
                    let single = value.elements() <= 1 && !self.single_bias(node, i);
                    let number = match node.op {
                        // Which integers say where is not known.
                        Unknown { .. } => value.dtype.is_float(),
                        _ => value.dtype.is_number() && weights::is_operand(&node.op, i),
                    };
                    let scatters = matches!(node.op, ScatterElements | ScatterND | TensorScatter);
                    let blank = scatters && i == 0 && value.data().is_some_and(|d| d.is_all(0.0));
                    number && weight && !single && !blank
                }
            };
            if !counts {
                continue;
            }
            // Shared weights count once. Equal tables may or may not have been stored as one.
            let elements = match aligned {
                true => self.per_sample(node, value).min(self.unexpanded(id)),
                false => self.count(id),
            };
            total = total.saturating_add(elements);
        }
        total
    }

    /// Elements of a constant that have not been counted yet. Transposing, reshaping, converting or
    /// repeating a stored tensor makes no new weights, and the parts of one are no more than the whole.
    fn count(&mut self, id: ValueId) -> u64 {
        if std::mem::replace(&mut self.counted[id.index()], true) {
            return 0;
        }
        let stored = self.views.stored(id);
        let left =
            self.left[stored.index()].get_or_insert_with(|| self.graph.value(stored).elements());
        let elements = self.graph.value(id).elements().min(*left);
        *left -= elements;
        elements
    }

    /// Notes a node that computes constants: whether a layer does, or what it computes comes from one.
    fn fold(&mut self, node: &Node) {
        let mut inputs = node.inputs.iter().flatten();
        let layer = match node.op.class() {
            Class::Shape => return,
            Class::Einsum | Class::Attention => node.inputs.len() > 1,
            _ => weights::places(&node.op).is_some(),
        };
        if inputs.any(|&id| self.layered[id.index()] || layer && self.is_stored(id)) {
            node.outputs.iter().flatten().for_each(|id| self.layered[id.index()] = true);
        }
    }

    /// Counts what is stored of layers that compute constants with the first node that reads them,
    /// unless layers that compute have counted it.
    fn count_layers(&mut self) {
        let graph = self.graph;
        for node in graph.nodes() {
            let output = node.outputs.iter().flatten().next();
            let index = output.and_then(|id| self.source[id.index()]);
            let Some(index) = index.filter(|&index| self.draft.is_used(index)) else { continue };
            for &id in node.inputs.iter().flatten().filter(|id| graph.value(**id).is_constant()) {
                if self.layered[id.index()] {
                    let layers = self.stored_for(id);
                    let sum = &mut self.draft.nodes_mut()[index].layers;
                    *sum = sum.saturating_add(layers);
                }
            }
        }
    }

    /// Stored numbers that layers compute a constant from and that have not been counted yet.
    fn stored_for(&mut self, id: ValueId) -> u64 {
        let graph = self.graph;
        let mut total: u64 = 0;
        let mut waiting = vec![id];
        while let Some(id) = waiting.pop() {
            if !self.layered[id.index()] {
                total = total.saturating_add(self.count(id));
                continue;
            }
            if std::mem::replace(&mut self.counted[id.index()], true) {
                continue;
            }
            let whole = self.views.stored(id);
            if whole != id {
                waiting.push(whole);
            } else if let Some(producer) = graph.value(id).producer {
                let node = graph.nodes()[producer.index()].plain();
                let weights = (0..node.inputs.len()).filter(|&i| self.folds(&node, i));
                waiting.extend(weights.filter_map(|i| self.id(&node, i)));
            }
        }
        total
    }

    /// Whether a node that computes constants computes with its input `i`.
    fn folds(&self, node: &Node, i: usize) -> bool {
        let Some(id) = self.id(node, i) else { return false };
        match weights::places(&node.op) {
            _ if self.layered[id.index()] => true,
            Some(places) if places.learned(i) => self.trained(id),
            _ => {
                let stored = self.is_stored(id) || self.single_bias(node, i);
                weights::is_operand(&node.op, i) && stored
            }
        }
    }

    /// Whether a constant is more than a number, and stored or a view of what is; not a list of
    /// positions.
    fn is_stored(&self, id: ValueId) -> bool {
        let (value, root) = (self.graph.value(id), self.graph.value(self.views.elements_of(id)));
        let stored = value.constant.as_ref().is_some_and(|c| c.origin == Origin::Stored);
        let positions = matches!(root.dtype, DataType::Int32 | DataType::Int64);
        value.elements() > 1 && (stored || self.trained(id) && !positions)
    }

    /// Elements of a stored tensor before it was repeated or padded, as far back as a few nodes tell.
    fn unexpanded(&self, id: ValueId) -> u64 {
        let from = |id: &ValueId| {
            let node = &self.graph.nodes()[self.graph.value(*id).producer?.index()];
            use Class::{Cast, Expand, Pad, Reshape, Tile, Transpose};
            let moves = matches!(node.op.class(), Expand | Tile | Pad | Reshape | Transpose | Cast);
            node.inputs.first().copied().flatten().filter(|id| moves && self.is_stored(*id))
        };
        let chain = std::iter::successors(Some(id), from).take(16);
        chain.map(|id| self.graph.value(id).elements()).min().unwrap_or(u64::MAX)
    }

    /// Whether a constant may have been trained: a stored number, also one that is stored as an
    /// integer. Ones and zeros that are not stored like weights are how exporters write a factor or
    /// shift that a layer lacks, and are taken for it where elements are not known.
    fn trained(&self, id: ValueId) -> bool {
        let stored = self.graph.value(self.views.elements_of(id));
        stored.constant.as_ref().is_some_and(|c| match c.origin {
            Origin::Stored => true,
            Origin::Literal => {
                let varied = |d: &TensorData| !d.is_all(0.0) && !d.is_all(1.0);
                stored.elements() > 1 && stored.data().is_some_and(varied)
            }
            Origin::Computed => stored.producer.is_none() && !stored.dtype.is_float(),
        })
    }

    /// Elements of a constant operand along all axes but the batch's.
    fn per_sample(&self, node: &Node, value: &Value) -> u64 {
        let output = self.axes.get(self.output(node));
        let skip = output.map_or(0, |axes| axes.len().saturating_sub(value.shape.len()));
        let batch = |i: usize| {
            let axis = output.and_then(|axes| axes.get(skip + i));
            axis.is_some_and(|a| !a.is_empty() && a.iter().all(|f| f.role == Role::Batch))
        };
        let dims = value.shape.iter().enumerate().filter(|&(i, _)| !batch(i));
        dims.fold(1, |p: u64, (_, &d)| p.saturating_mul(d as u64))
    }

    /// Lets the outputs be computed by a node that is there already.
    fn alias(&mut self, node: &Node, index: Index) {
        for id in node.outputs.iter().flatten() {
            self.source[id.index()] = Some(index);
        }
    }

    /// Adds a node that reads all computed operands.
    fn emit(&mut self, node: &Node, op: Op) -> &mut DraftNode {
        let mut new = DraftNode::new(
            op,
            self.operands(node),
            self.largest(node),
            self.extent(self.output(node)),
        );
        new.name = if node.name.is_empty() {
            self.graph.value(self.output(node)).name.clone()
        } else {
            node.name.clone()
        };
        new.parameters = self.coefficients(node);
        let index = self.draft.push(new);
        self.alias(node, index);
        &mut self.draft.nodes_mut()[index]
    }

    fn atom(&mut self, node: &Node, operation: Operation) -> &mut DraftNode {
        self.emit(node, Op::Atom(operation))
    }

    /// Adds a node that nothing but its operands and extents describe.
    fn plain(&mut self, node: &Node, operation: Operation) {
        self.atom(node, operation);
    }

    fn operator(&mut self, node: &Node) {
        use OpType::*;
        use Operation as O;
        match &node.op {
            // Nothing is computed.
            Identity
            | Dropout
            | Cast
            | CastLike
            | Reshape
            | Flatten
            | Squeeze
            | Unsqueeze
            | Transpose
            | DepthToSpace
            | SpaceToDepth
            | Expand
            | QuantizeLinear
            | DequantizeLinear
            | DynamicQuantizeLinear
            | ReverseSequence => self.pass(node),

            Conv | NhwcConv | NhwcFusedConv => self.conv(node),
            ConvTranspose => self.conv_transpose(node),
            DeformConv => self.deform_conv(node),
            MaxPool | NhwcMaxPool => self.pool(node, O::MaxPool, O::GlobalMaxPool),
            AveragePool | LpPool => self.pool(node, O::AveragePool, O::GlobalAveragePool),
            GlobalAveragePool | GlobalLpPool => self.reduce(node, O::GlobalAveragePool),
            GlobalMaxPool => self.reduce(node, O::GlobalMaxPool),
            ReduceMean => self.reduce(node, O::ReduceMean),
            ReduceMax | ReduceMin => self.reduce(node, O::ReduceMax),
            ReduceSum | ReduceLogSum | ReduceLogSumExp => self.reduce(node, O::ReduceSum),
            ReduceL1 | ReduceL2 | ReduceSumSquare => self.reduce(node, O::ReduceNorm),
            ReduceProd => self.reduce(node, O::ReduceProd),
            ArgMax | ArgMin | TopK => {
                let axis = node.attributes.int("axis", -1);
                self.atom(node, O::TopK).key = smallvec![axis];
            }

            MatMul | FusedMatMul => self.matmul(node),
            Gemm => self.gemm(node),
            Einsum => self.einsum(node),
            Attention => self.attention(node),
            MsAttention => self.packed_attention(node),
            MultiHeadAttention => self.multi_head_attention(node),
            MatMulBnb4 | MatMulNBits => self.packed_matmul(node),
            LSTM | DynamicQuantizeLSTM => self.recurrent(node, O::Lstm, 4),
            GRU => self.recurrent(node, O::Gru, 3),
            RNN => self.recurrent(node, O::Rnn, 1),

            BatchNormalization => self.batch_norm(node),
            LayerNormalization => {
                self.norm(node, O::LayerNorm);
            }
            RMSNormalization | SimplifiedLayerNormalization => {
                self.norm(node, O::RmsNorm);
            }
            SkipLayerNormalization | SkipSimplifiedLayerNormalization => self.skip_norm(node),
            EmbedLayerNormalization => self.embed_layer_norm(node),
            GroupNorm | SkipGroupNorm => self.ms_group_norm(node),
            GroupNormalization => self.group_norm(node),
            InstanceNormalization => self.instance_norm(node),
            MeanVarianceNormalization => {
                self.norm(node, O::InstanceNorm);
            }
            LpNormalization => drop(self.atom(node, O::L2Norm)),
            LRN => self.plain(node, O::LocalResponseNorm),

            Add | Sum | Mean => self.add(node),
            Sub => self.sub(node),
            Mul => self.mul(node),
            RotaryEmbedding => self.rotary_embedding(node),
            Div => self.div(node),
            Reciprocal => self.plain(node, O::Div),
            Neg => {
                self.emit(node, Op::MulScalar(Some(-1.0)));
            }
            Pow => self.pow(node),
            Clip => self.clip(node),
            Max => self.max_min(node, O::Maximum),
            Min => self.max_min(node, O::Minimum),
            Mod | Floor | Ceil | Round => self.plain(node, O::Round),
            Where => self.select(node),
            IsNaN => {
                self.emit(node, Op::IsNan);
            }
            Equal | Greater | GreaterOrEqual | Less | LessOrEqual | And | Or | Xor | Not
            | IsInf | BitShift | BitwiseAnd | BitwiseNot | BitwiseOr | BitwiseXor => {
                self.keyed_by_constants(node, O::Logic);
            }

            Relu | ThresholdedRelu => self.plain(node, O::Relu),
            LeakyRelu => self.plain(node, O::LeakyRelu),
            PRelu => self.plain(node, O::PRelu),
            Elu | Selu | Celu => self.plain(node, O::Elu),
            Sigmoid => self.plain(node, O::Sigmoid),
            HardSigmoid => self.plain(node, O::HardSigmoid),
            HardSwish => self.plain(node, O::HardSwish),
            Swish => self.plain(node, O::Silu),
            Gelu | QuickGelu => self.plain(node, O::Gelu),
            BiasAdd => self.bias_add(node),
            BiasGelu | FastGelu => self.bias_gelu(node),
            BiasSoftmax => self.bias_softmax(node),
            BiasSplitGelu => self.bias_split_gelu(node),
            Mish => self.plain(node, O::Mish),
            Tanh => self.plain(node, O::Tanh),
            Softplus => self.plain(node, O::Softplus),
            Softsign => self.plain(node, O::Softsign),
            Softmax | Hardmax => self.softmax(node, O::Softmax),
            LogSoftmax => self.softmax(node, O::LogSoftmax),
            Exp => self.plain(node, O::Exp),
            Log => self.plain(node, O::Log),
            Sqrt => self.plain(node, O::Sqrt),
            Erf => self.plain(node, O::Erf),
            Abs | Sign | Shrink => self.plain(node, O::Abs),
            Sin | Cos | Tan | Asin | Acos | Atan | Sinh | Cosh | Asinh | Acosh | Atanh => {
                let operation = node.op.name().bytes().map(i64::from).collect();
                self.atom(node, O::Trigonometric).key = operation;
            }
            CumSum | CumProd => self.plain(node, O::CumSum),
            Det => self.plain(node, O::ReduceProd),

            Concat => self.concat(node),
            Split => self.split(node),
            Slice => self.slice(node),
            Gather => self.gather(node),
            GatherElements | GatherND | NonZero | Compress | OneHot | NonMaxSuppression
            | Unique => {
                self.keyed_by_constants(node, O::Gather);
            }
            ScatterElements | ScatterND | TensorScatter | Col2Im | MaxUnpool => {
                self.keyed_by_constants(node, O::Scatter)
            }
            Trilu => {
                let upper = node.attributes.int("upper", 1);
                self.atom(node, O::Select).key = smallvec![upper];
            }
            Pad => self.pad(node),
            CenterCropPad => self.center_crop_pad(node),
            Tile => self.resizing(node, O::Tile),
            Resize | Upsample => self.resizing(node, O::Resize),
            GridSample | RoiAlign | MaxRoiPool => self.plain(node, O::GridSample),
            AffineGrid => self.affine_grid(node),

            RandomNormal | RandomNormalLike | RandomUniform | RandomUniformLike | Bernoulli
            | Multinomial => {
                self.atom(node, O::Random);
            }
            // Never computed: their outputs are constants.
            Constant | ConstantOfShape | Shape | Size | Range | EyeLike | BlackmanWindow
            | HammingWindow | HannWindow | MelWeightMatrix => {}
            // Plain operators stand for these.
            ConvInteger
            | DecoderMaskedMultiHeadAttention
            | DecoderMaskedSelfAttention
            | DynamicQuantizeMatMul
            | ExpandDims
            | FusedConv
            | FusedGemm
            | FusedMatMulActivation
            | GroupQueryAttention
            | MatMulInteger
            | MatMulInteger16
            | MatMulIntegerToFloat
            | MsDequantizeLinear
            | MsGatherND
            | MsGelu
            | MsGridSample
            | MsPad
            | MsQLinearConv
            | MsQuantizeLinear
            | MsRange
            | MsRotaryEmbedding
            | MsTrilu
            | QAttention
            | QGemm
            | QLinearAdd
            | QLinearAveragePool
            | QLinearConcat
            | QLinearConv
            | QLinearGlobalAveragePool
            | QLinearLeakyRelu
            | QLinearMatMul
            | QLinearMul
            | QLinearReduceMean
            | QLinearSigmoid
            | QLinearSoftmax
            | QLinearWhere
            | Scatter
            | TransposeMatMul => {}
            Unknown { .. } => self.plain(node, O::Unknown),
        }
    }

    /// The outputs are the first computed operand in another shape or type.
    fn pass(&mut self, node: &Node) {
        if let Some(&index) = self.operands(node).first() {
            self.alias(node, index);
        }
    }

    /// An operation that constant operands tell apart from others of its kind.
    fn keyed_by_constants(&mut self, node: &Node, operation: Operation) {
        let mut key: SmallVec<[i64; 4]> = node.op.name().bytes().map(i64::from).collect();
        key.extend(node.inputs.iter().flatten().map(|id| id.index() as i64));
        self.atom(node, operation).key = key;
    }

    fn select(&mut self, node: &Node) {
        self.keyed_by_constants(node, Operation::Select);
    }
}

fn push_in(
    draft: &mut Draft,
    operation: Operation,
    inputs: &[Index],
    extent: Extent,
    node: &Node,
) -> Index {
    let mut new = DraftNode::new(Op::Atom(operation), SmallVec::from_slice(inputs), extent, extent);
    new.name = node.name.clone();
    draft.push(new)
}
