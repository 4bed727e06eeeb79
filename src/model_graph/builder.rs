//! Growing a [`ModelGraph`].

use super::infer::{self, Fact};
use super::{
    Attributes, Batch, Constant, DataType, ModelGraph, Node, NodeId, OpType, Origin, Shape,
    TensorData, Value, ValueId,
};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// Why a node could not be added: its operator cannot take these inputs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct BuildError {
    /// Name of the node; may be empty.
    pub node: String,
    /// Its operator.
    pub op: OpType,
    /// What is wrong, and with which shapes.
    pub reason: String,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node.as_str() {
            "" => write!(f, "{}: {}", self.op, self.reason),
            node => write!(f, "node '{node}' ({}): {}", self.op, self.reason),
        }
    }
}

/// Grows a [`ModelGraph`], inferring shapes and folding constants as nodes are added.
#[derive(Debug, Clone)]
pub struct Builder {
    graph: ModelGraph,
}

impl Builder {
    /// An empty network whose nodes follow version `opset` of ONNX's default operator set.
    pub fn new(name: impl Into<String>, opset: i64) -> Self {
        Self {
            graph: ModelGraph {
                name: name.into(),
                opset,
                values: Vec::new(),
                nodes: Vec::new(),
                inputs: Vec::new(),
                outputs: Vec::new(),
                batch: Batch::default(),
            },
        }
    }

    fn push_value(&mut self, value: Value) -> ValueId {
        let id = ValueId(self.graph.values.len() as u32);
        self.graph.values.push(value);
        id
    }

    /// Adds an input of the network.
    pub fn input(&mut self, name: &str, dtype: DataType, shape: &[usize]) -> ValueId {
        let id = self.push_value(Value {
            name: name.into(),
            dtype,
            shape: Shape::from_slice(shape),
            constant: None,
            producer: None,
        });
        self.graph.inputs.push(id);
        id
    }

    /// Adds a stored tensor. `data` is for small ones whose elements decide shapes.
    pub fn constant(
        &mut self,
        name: &str,
        dtype: DataType,
        shape: &[usize],
        data: Option<TensorData>,
    ) -> ValueId {
        let origin = if dtype.is_float() { Origin::Stored } else { Origin::Computed };
        self.tensor(name, dtype, shape, data, origin)
    }

    /// Adds a tensor of numbers that stand in the program ([`Origin::Literal`]).
    pub fn literal(
        &mut self,
        name: &str,
        dtype: DataType,
        shape: &[usize],
        data: Option<TensorData>,
    ) -> ValueId {
        let origin = if dtype.is_float() { Origin::Literal } else { Origin::Computed };
        self.tensor(name, dtype, shape, data, origin)
    }

    fn tensor(
        &mut self,
        name: &str,
        dtype: DataType,
        shape: &[usize],
        data: Option<TensorData>,
        origin: Origin,
    ) -> ValueId {
        let constant = Constant { data: data.map(Arc::new), origin };
        self.push_value(Value {
            name: name.into(),
            dtype,
            shape: Shape::from_slice(shape),
            constant: Some(constant),
            producer: None,
        })
    }

    /// Adds a constant called like `value`, of its type and origin, with another shape.
    pub(crate) fn like(
        &mut self,
        value: &Value,
        shape: &[usize],
        data: Option<TensorData>,
    ) -> ValueId {
        let origin = value.constant.as_ref().map_or(Origin::Stored, |c| c.origin);
        self.tensor(&value.name, value.dtype, shape, data, origin)
    }

    /// Adds a 32-bit floating-point weight of this shape.
    pub fn weight(&mut self, shape: &[usize]) -> ValueId {
        self.constant("", DataType::Float, shape, None)
    }

    /// Adds a one-dimensional tensor of 64-bit integers, such as the argument of a Reshape.
    pub fn int_vector(&mut self, values: &[i64]) -> ValueId {
        self.constant("", DataType::Int64, &[values.len()], Some(TensorData::Ints(values.to_vec())))
    }

    /// Adds a node with one output and returns that output.
    ///
    /// # Errors
    /// When the operator cannot take these inputs.
    pub fn node(
        &mut self,
        op: OpType,
        attributes: Attributes,
        inputs: &[ValueId],
    ) -> Result<ValueId, BuildError> {
        let inputs: SmallVec<[Option<ValueId>; 3]> = inputs.iter().copied().map(Some).collect();
        let outputs = self.named_node("", op, attributes, inputs, &[Some("")], &[])?;
        // One output was asked for, so there is one.
        Ok(outputs.into_iter().flatten().next().unwrap_or(ValueId(0)))
    }

    /// Adds a node; `outputs` names its outputs, `None` for those not wanted. `declared` gives
    /// what the file says of each output, used where inference cannot tell.
    ///
    /// # Errors
    /// When the operator cannot take these inputs, or an output's shape can be told neither from
    /// the inputs nor from `declared`.
    pub fn named_node(
        &mut self,
        name: &str,
        op: OpType,
        attributes: Attributes,
        inputs: SmallVec<[Option<ValueId>; 3]>,
        outputs: &[Option<&str>],
        declared: &[Option<(DataType, Shape)>],
    ) -> Result<SmallVec<[Option<ValueId>; 1]>, BuildError> {
        let fail = |op: &OpType, reason: String| BuildError {
            node: name.to_string(),
            op: op.clone(),
            reason,
        };
        let facts = {
            let inputs: SmallVec<[Option<&Value>; 4]> =
                inputs.iter().map(|i| i.map(|id| self.graph.value(id))).collect();
            let ctx = infer::Context {
                op: &op,
                attributes: &attributes,
                inputs: &inputs,
                outputs: outputs.len(),
                opset: self.graph.opset,
                declared,
            };
            infer::infer(&ctx).map_err(|e| fail(&op, e.to_string()))?
        };
        let node = NodeId(self.graph.nodes.len() as u32);
        let mut ids = SmallVec::new();
        for (i, output) in outputs.iter().enumerate() {
            let Some(output) = output else {
                ids.push(None);
                continue;
            };
            let Some(Fact { dtype, shape, constant }) = facts.get(i).cloned() else {
                return Err(fail(&op, format!("has no output {i}")));
            };
            ids.push(Some(self.push_value(Value {
                name: (*output).into(),
                dtype,
                shape,
                constant,
                producer: Some(node),
            })));
        }
        self.graph.nodes.push(Node {
            name: name.into(),
            op,
            attributes,
            inputs,
            outputs: ids.clone(),
        });
        Ok(ids)
    }

    /// The tensor with this index.
    pub fn value(&self, id: ValueId) -> &Value {
        self.graph.value(id)
    }

    /// Marks a tensor as an output of the network.
    pub fn output(&mut self, id: ValueId) {
        self.graph.outputs.push(id);
    }

    /// The finished network.
    pub fn finish(mut self) -> ModelGraph {
        self.graph.batch = Batch::find(&self.graph);
        self.graph
    }
}
