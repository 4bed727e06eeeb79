//! Growing a [`ModelGraph`].

use super::infer::{self, Fact, InferError};
use super::{
    Attributes, Batch, Constant, DataType, ModelGraph, Node, NodeId, OpType, Origin, RemarkKind,
    Shape, TensorData, Value, ValueId, batch, remark,
};
use hashbrown::HashSet;
use smallvec::SmallVec;
use std::fmt;
use std::ops::Range;
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
    /// Whether that is for sizes that are known only when the network runs.
    pub at_run_time: bool,
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
    /// Tensors whose shape is an upper bound, or follows from one.
    bounded: HashSet<ValueId>,
    /// Inputs whose first axis was taken for a batch of one without a word for it.
    guessed: Vec<ValueId>,
    /// Elements that folding may still read and write,
    steps: u64,
    /// and keep.
    kept: u64,
}

/// Nodes and tensors that were added one after the other.
pub(crate) struct Section {
    nodes: Range<usize>,
    values: Range<usize>,
}

/// Steps of constant folding: well below a second, and well above what networks need.
const STEPS: u64 = 1 << 24;
/// Elements that folding keeps: 64 MiB.
const KEPT: u64 = 1 << 23;

/// What is said of nodes that are counted at their largest.
const AT_MOST: &str =
    "counted at the largest size they can have, which is known only when the network runs";

/// What is said of inputs whose open first axis is none of a batch, as far as can be told.
const JOINED: &str = "first dimensions that are open are set to 1, as a batch, though the network joins \
     what they hold, so costs grow with the size that is given for them";

/// How a remark calls a node.
fn label(name: &str, op: &OpType, outputs: &[Option<&str>]) -> String {
    let first = outputs.iter().flatten().next().copied().unwrap_or_default();
    format!("{op} '{}'", if name.is_empty() { first } else { name })
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
                remarks: Vec::new(),
            },
            bounded: HashSet::new(),
            guessed: Vec::new(),
            steps: STEPS,
            kept: KEPT,
        }
    }

    /// Makes room for so many nodes and tensors more.
    pub(crate) fn reserve(&mut self, nodes: usize, values: usize) {
        self.graph.nodes.reserve(nodes);
        self.graph.values.reserve(values);
    }

    /// How many nodes and tensors there are.
    pub(crate) fn position(&self) -> [usize; 2] {
        [self.graph.nodes.len(), self.graph.values.len()]
    }

    /// What was added since there were so many nodes and tensors.
    pub(crate) fn since(&self, [nodes, values]: [usize; 2]) -> Section {
        let [last_node, last_value] = self.position();
        Section { nodes: nodes..last_node, values: values..last_value }
    }

    /// Adds a section once more, with `to` in the place of `from`, a computed tensor of the same type
    /// and shape. Returns what `result` is in the copy.
    pub(crate) fn copy(
        &mut self,
        section: &Section,
        from: ValueId,
        to: ValueId,
        result: ValueId,
    ) -> ValueId {
        let Section { nodes, values } = section;
        let [later_node, later_value] = [
            (self.graph.nodes.len() - nodes.start) as u32,
            (self.graph.values.len() - values.start) as u32,
        ];
        let moved = |id: ValueId| match id {
            _ if id == from => to,
            ValueId(index) if id.index() >= values.start => ValueId(index + later_value),
            _ => id,
        };
        for i in values.clone() {
            let value = self.graph.values[i].clone();
            let producer = value.producer.map(|NodeId(index)| NodeId(index + later_node));
            let copy = self.push_value(Value { producer, ..value });
            if self.bounded.contains(&ValueId(i as u32)) {
                self.bounded.insert(copy);
            }
        }
        for i in nodes.clone() {
            let mut node = self.graph.nodes[i].clone();
            node.inputs
                .iter_mut()
                .chain(&mut node.outputs)
                .flatten()
                .for_each(|id| *id = moved(*id));
            self.graph.nodes.push(node);
        }
        moved(result)
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

    /// Says that the first axis of an input is open, and was taken for a batch of one for no other
    /// reason than its place.
    pub(crate) fn guessed(&mut self, input: ValueId) {
        self.guessed.push(input);
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
        let inputs: SmallVec<[Option<ValueId>; 5]> = inputs.iter().copied().map(Some).collect();
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
        inputs: SmallVec<[Option<ValueId>; 5]>,
        outputs: &[Option<&str>],
        declared: &[Option<(DataType, Shape)>],
    ) -> Result<SmallVec<[Option<ValueId>; 1]>, BuildError> {
        let bounded = inputs.iter().flatten().any(|id| self.bounded.contains(id));
        let fail = |op: &OpType, reason: String, at_run_time: bool| BuildError {
            node: name.to_string(),
            op: op.clone(),
            reason,
            at_run_time: at_run_time || bounded,
        };
        let reads = self.reads(&op, &inputs);
        let mut largest = false;
        let facts = {
            let node_inputs = &inputs;
            let inputs: SmallVec<[Option<&Value>; 5]> =
                inputs.iter().map(|i| i.map(|id| self.graph.value(id))).collect();
            let ctx = infer::Context {
                op: &op,
                attributes: &attributes,
                inputs: &inputs,
                outputs: outputs.len(),
                opset: self.graph.opset,
                declared,
                folded: self.foldable(reads),
            };
            match infer::infer(&ctx) {
                Err(InferError::DataDependent(reason)) => {
                    // Elsewhere the first input is what is read or moved.
                    let decides = |(i, v): (usize, &Option<&Value>)| {
                        let alone = matches!(
                            op,
                            OpType::Range
                                | OpType::ConstantOfShape
                                | OpType::NonZero
                                | OpType::Unique
                        );
                        (i > 0 || alone) && v.is_some_and(|v| !v.is_constant())
                    };
                    if !inputs.iter().enumerate().any(decides) {
                        return Err(fail(&op, reason, false));
                    }
                    largest = true;
                    let most = |i: usize| self.most(*node_inputs.get(i)?);
                    infer::infer_largest(&ctx, most).map_err(|_| fail(&op, reason, true))?
                }
                other => other.map_err(|e| fail(&op, e.to_string(), false))?,
            }
        };
        self.spend(reads, &facts);
        if largest {
            let label = label(name, &op, outputs);
            self.remark(RemarkKind::UpperBound, AT_MOST, &label);
        }
        let node = NodeId(self.graph.nodes.len() as u32);
        let mut ids = SmallVec::new();
        let mut facts = facts.into_iter();
        for (i, output) in outputs.iter().enumerate() {
            let fact = facts.next();
            let Some(output) = output else {
                ids.push(None);
                continue;
            };
            let Some(Fact { dtype, shape, constant }) = fact else {
                return Err(fail(&op, format!("has no output {i}"), false));
            };
            ids.push(Some(self.push_value(Value {
                name: (*output).into(),
                dtype,
                shape,
                constant,
                producer: Some(node),
            })));
        }
        if largest || bounded {
            self.bounded.extend(ids.iter().flatten());
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

    /// Elements that folding the node would read.
    fn reads(&self, op: &OpType, inputs: &[Option<ValueId>]) -> u64 {
        match op {
            // These look at what they put out alone.
            OpType::Gather | OpType::Slice | OpType::Split | OpType::Shape | OpType::Size => 0,
            _ => {
                let known = |id: &ValueId| self.graph.value(*id).data().map_or(0, TensorData::len);
                inputs.iter().flatten().fold(0, |sum, id| sum + known(id) as u64)
            }
        }
    }

    /// Most elements to fold a constant to. The less is left of what folding may take, the
    /// smaller tensors must be, so that those that decide shapes are known to the end.
    fn foldable(&self, reads: u64) -> u64 {
        let most = (self.steps / 16).min(self.kept / 8);
        if reads > most { 0 } else { most }
    }

    /// Counts what folding took.
    fn spend(&mut self, reads: u64, facts: &[Fact]) {
        let data = facts.iter().filter_map(|f| f.constant.as_ref()?.data.as_ref());
        let kept = data.fold(0u64, |sum, d| sum.saturating_add(d.len() as u64));
        if kept > 0 {
            self.kept = self.kept.saturating_sub(kept);
            self.steps = self.steps.saturating_sub(reads.saturating_add(kept));
        }
    }

    /// An upper bound of an integer's value, as far back as a few nodes tell.
    fn most(&self, id: Option<ValueId>) -> Option<i64> {
        let mut id = id?;
        for _ in 0..16 {
            let value = self.graph.value(id);
            if let Some(data) = value.data() {
                return data.ints()?.iter().copied().max();
            }
            let node = self.graph.nodes.get(value.producer?.index())?;
            let known =
                |i: &Option<ValueId>| self.graph.value((*i)?).data()?.ints()?.iter().copied().max();
            let clipped = match node.op {
                OpType::Min => node.inputs.iter().filter_map(known).min(),
                OpType::Clip => node.inputs.get(2).and_then(known),
                _ => None,
            };
            match node.op {
                _ if clipped.is_some() => return clipped,
                OpType::Identity
                | OpType::Cast
                | OpType::Reshape
                | OpType::Squeeze
                | OpType::Unsqueeze
                | OpType::Concat
                | OpType::ReduceMin
                | OpType::Gather
                | OpType::Slice
                    if node.op != OpType::Concat || node.inputs.len() == 1 =>
                {
                    id = (*node.inputs.first()?)?;
                }
                _ => return None,
            }
        }
        None
    }

    /// Notes that the tensor's shape is an upper bound.
    pub(crate) fn bound(&mut self, id: ValueId) {
        self.bounded.insert(id);
    }

    /// The tensor with this index.
    pub fn value(&self, id: ValueId) -> &Value {
        self.graph.value(id)
    }

    /// Marks a tensor as an output of the network.
    pub fn output(&mut self, id: ValueId) {
        self.graph.outputs.push(id);
    }

    /// Notes what was assumed of the node or tensor `name`; `what` is a phrase that the names of
    /// all that it was assumed of follow.
    pub fn remark(&mut self, kind: RemarkKind, what: &str, name: &str) {
        remark::add(&mut self.graph.remarks, kind, what, name);
    }

    /// The finished network.
    pub fn finish(mut self) -> ModelGraph {
        self.graph.batch = Batch::find(&self.graph);
        if let Some(doubt) = self.graph.batch.doubt() {
            for &id in &self.graph.inputs {
                let name = &self.graph.values[id.index()].name;
                remark::add(&mut self.graph.remarks, RemarkKind::Assumed, doubt, name);
            }
        }
        for id in self.guessed {
            if batch::joins_first(&self.graph, id) {
                let name = &self.graph.values[id.index()].name;
                remark::add(&mut self.graph.remarks, RemarkKind::Assumed, JOINED, name);
            }
        }
        self.graph
    }
}
