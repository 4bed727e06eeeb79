//! Constants that are stored tensors in another shape, order, type or number.

use super::{ModelGraph, Node, OpType, ValueId};
use hashbrown::HashSet;

/// Which constants are views, parts or repetitions of which stored tensor.
pub(crate) struct Views {
    /// By value, the weight that it is a view, a part or a repetition of; itself if it is computed
    /// otherwise.
    stored: Vec<ValueId>,
    /// By value, the tensor whose elements it has.
    elements: Vec<ValueId>,
}

impl Views {
    pub fn new(graph: &ModelGraph) -> Self {
        let gathers = graph.nodes().iter().filter(|n| n.op == OpType::Gather);
        // Constants that rows are picked from.
        let tables = gathers.filter_map(|n| *n.inputs.first()?);
        let tables: HashSet<ValueId> = tables.filter(|&id| graph.value(id).is_constant()).collect();
        let stored: Vec<ValueId> = (0..graph.values().len() as u32).map(ValueId).collect();
        let mut views = Self { elements: stored.clone(), stored };
        for node in graph.nodes() {
            for &id in node.outputs.iter().flatten() {
                // Most nodes are no views: what is known of their outputs need not be fetched.
                if let Some((from, tied)) = views.viewed(graph, node, id, &tables)
                    && graph.value(id).is_constant()
                {
                    views.elements[id.index()] = views.elements_of(from);
                    if tied {
                        views.stored[id.index()] = views.stored(from);
                    }
                }
            }
        }
        views
    }

    /// The stored tensor that a constant is a view, a part or a repetition of; itself if it is
    /// computed otherwise.
    pub fn stored(&self, id: ValueId) -> ValueId {
        self.stored[id.index()]
    }

    /// The stored tensor whose elements a constant has, be it one of several that are equal.
    pub fn elements_of(&self, id: ValueId) -> ValueId {
        self.elements[id.index()]
    }

    /// What the output `id` of a node is a view of, and whether the two are one and the same weight.
    fn viewed(
        &self,
        graph: &ModelGraph,
        node: &Node,
        id: ValueId,
        tables: &HashSet<ValueId>,
    ) -> Option<(ValueId, bool)> {
        use OpType::*;
        let node = node.plain();
        let from = (*node.inputs.first()?)?;
        match node.op {
            Cast | CastLike | Dropout | Reshape | Flatten | Squeeze | Unsqueeze | Transpose
            | Split | Slice | Gather | QuantizeLinear | DequantizeLinear => Some((from, true)),
            // A single number is none that was trained, whatever it is expanded to.
            Expand | Tile | Pad if graph.value(from).elements() > 1 => Some((from, true)),
            // PyTorch lets tensors of equal elements be one behind an Identity: those that are still
            // ones or zeros, which count each, and tied ones, which are embeddings.
            Identity => Some((from, tables.contains(&id) || tables.contains(&self.stored(from)))),
            _ => None,
        }
    }
}
