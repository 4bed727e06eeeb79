//! ONNX-shaped networks whose every tensor has a known shape.
//!
//! A [`ModelGraph`] is grown one node at a time through a [`Builder`], which infers the shapes
//! (and folds the constants) of a node's outputs as it is added. So a `ModelGraph` is in
//! topological order, in static single assignment and fully inferred by construction, whether the
//! ONNX importer or a search space built it; both use the same shape rules.

mod attribute;
mod batch;
mod builder;
pub mod infer;
mod op_type;
mod plain;
mod remark;
mod tensor;
mod views;

pub(crate) use attribute::Kind;
pub use attribute::{Attribute, Attributes, ints};
pub(crate) use batch::needed;
pub use batch::{Batch, Place};
pub use builder::{BuildError, Builder};
pub(crate) use op_type::Class;
pub use op_type::OpType;
pub use remark::{Remark, RemarkKind};
pub use tensor::{DataType, DisplayShape, Shape, TensorData};
pub(crate) use tensor::{MAX_ELEMENTS, MAX_RANK};
pub(crate) use views::Views;

use smallvec::SmallVec;
use std::sync::Arc;

/// Index of a [`Value`] in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

/// Index of a [`Node`] in its graph; producers come before consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl ValueId {
    /// Position in [`ModelGraph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    /// Position in [`ModelGraph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A tensor that does not depend on the network's inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Its elements, where they are known and few; weights are never read.
    pub data: Option<Arc<TensorData>>,
    /// How it came about.
    pub origin: Origin,
}

/// How a constant came about, which tells whether it may have been trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// From shapes or integers.
    Computed,
    /// From numbers that stand in the program, such as the zeros that an exporter writes for a
    /// shift that a layer doesn't have, or a fixed filter.
    Literal,
    /// From a stored floating-point tensor.
    Stored,
}

/// A tensor of the network: an input, a constant, or a node's output.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Name in the file; empty when a search space built the network.
    pub name: Box<str>,
    /// Element type.
    pub dtype: DataType,
    /// Dimensions.
    pub shape: Shape,
    /// Set when the tensor does not depend on the network's inputs.
    pub constant: Option<Constant>,
    /// The node that computes it; `None` for inputs and stored constants.
    pub producer: Option<NodeId>,
}

impl Value {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&d| d as u64).product()
    }

    /// Whether the tensor does not depend on the network's inputs.
    pub fn is_constant(&self) -> bool {
        self.constant.is_some()
    }

    /// The elements of a constant, where they are known.
    pub fn data(&self) -> Option<&TensorData> {
        self.constant.as_ref()?.data.as_deref()
    }
}

/// One operator applied to tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Name in the file; may be empty.
    pub name: Box<str>,
    /// The operator.
    pub op: OpType,
    /// Its attributes.
    pub attributes: Attributes,
    /// Its inputs; `None` where an optional one is left out. The five of a batch normalisation need no
    /// memory of their own.
    pub inputs: SmallVec<[Option<ValueId>; 5]>,
    /// Its outputs; `None` where an optional one is not wanted.
    pub outputs: SmallVec<[Option<ValueId>; 1]>,
}

impl Node {
    /// Calls `f` with the node as shape inference sees it.
    pub(crate) fn context<T>(&self, graph: &ModelGraph, f: impl FnOnce(&infer::Context) -> T) -> T {
        let inputs: SmallVec<[Option<&Value>; 5]> =
            self.inputs.iter().map(|i| i.map(|id| graph.value(id))).collect();
        f(&infer::Context {
            op: &self.op,
            attributes: &self.attributes,
            inputs: &inputs,
            outputs: self.outputs.len(),
            opset: graph.opset,
            declared: &[],
            folded: 0,
        })
    }
}

/// An ONNX-shaped network; see the [module documentation](self).
#[derive(Debug, Clone, PartialEq)]
pub struct ModelGraph {
    name: String,
    opset: i64,
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    batch: Batch,
    remarks: Vec<Remark>,
}

impl ModelGraph {
    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version of ONNX's default operator set that the nodes follow.
    pub fn opset(&self) -> i64 {
        self.opset
    }

    /// All tensors.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// All nodes, in topological order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The tensor with this index.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Inputs of the network, without its stored constants.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Outputs of the network.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// How many inputs it works on at once, and along which axes.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// What was assumed of the network where its file does not settle it.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }
}
