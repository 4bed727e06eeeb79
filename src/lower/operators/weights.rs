//! Which constant inputs are weights, and which stored tensor they are.

use crate::model_graph::{ModelGraph, OpType, ValueId};
use hashbrown::HashSet;

/// Where an operator reads weights.
pub(super) struct Places {
    /// Inputs of which a constant is a weight in any case.
    pub weights: &'static [usize],
    /// Inputs that may be missing in the architecture although a file has them: ones and zeros.
    learned: &'static [usize],
}

impl Places {
    /// Whether input `i` is a factor or shift that counts if it was trained.
    pub fn learned(&self, i: usize) -> bool {
        self.learned.contains(&i)
    }
}

/// Where `op` reads weights; `None` when any of its inputs may be one.
pub(super) fn places(op: &OpType) -> Option<Places> {
    use OpType::*;
    let (weights, learned): (&[usize], &[usize]) = match op {
        Conv | ConvTranspose | NhwcConv | NhwcFusedConv => (&[1], &[2]),
        DeformConv => (&[1], &[3]),
        MatMul | FusedMatMul => (&[0, 1], &[2]),
        Gemm => (&[0, 1], &[2]),
        // The rest are initial states.
        LSTM | GRU | RNN | DynamicQuantizeLSTM => (&[1, 2], &[3]),
        // Counted by what they stand for, not as stored.
        MatMulBnb4 | MatMulNBits => (&[], &[5]),
        PRelu => (&[1], &[]),
        LayerNormalization
        | GroupNormalization
        | InstanceNormalization
        | RMSNormalization
        | SimplifiedLayerNormalization => (&[], &[1, 2]),
        _ => return None,
    };
    Some(Places { weights, learned })
}

/// Which constants are views or parts of which stored tensor.
pub(super) struct Views<'a> {
    graph: &'a ModelGraph,
    /// Constants that rows are picked from.
    tables: HashSet<ValueId>,
}

impl<'a> Views<'a> {
    pub fn new(graph: &'a ModelGraph) -> Self {
        let gathers = graph.nodes().iter().filter(|n| n.op == OpType::Gather);
        let tables = gathers.filter_map(|n| *n.inputs.first()?);
        Self { graph, tables: tables.filter(|&id| graph.value(id).is_constant()).collect() }
    }

    /// The stored tensor that a constant is a view or a part of; itself if it is computed otherwise.
    pub fn stored(&self, mut id: ValueId) -> ValueId {
        while let Some((from, _)) = self.viewed(id).filter(|(_, tied)| *tied) {
            id = from;
        }
        id
    }

    /// The stored tensor whose elements a constant has, be it one of several that are equal.
    pub fn elements_of(&self, mut id: ValueId) -> ValueId {
        while let Some((from, _)) = self.viewed(id) {
            id = from;
        }
        id
    }

    /// What a constant is a view of, and whether the two are one and the same weight.
    fn viewed(&self, id: ValueId) -> Option<(ValueId, bool)> {
        use OpType::*;
        let producer = self.graph.value(id).producer?;
        let node = self.graph.nodes()[producer.index()].plain();
        let from = (*node.inputs.first()?)?;
        match node.op {
            Cast | CastLike | Dropout | Reshape | Flatten | Squeeze | Unsqueeze | Transpose
            | Split | Slice | Gather | QuantizeLinear | DequantizeLinear => Some((from, true)),
            // PyTorch lets tensors of equal elements be one behind an Identity: those that are
            // still ones or zeros, which count each, and tied ones, which are embeddings.
            Identity => Some((from, self.tables.contains(&id) || self.tables.contains(&from))),
            _ => None,
        }
    }
}
