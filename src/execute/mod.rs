//! Running networks with libtorch, and differentiating them.
//!
//! A [`TorchNetwork`] is a [`ModelGraph`] with its weights. It runs for any number of inputs, also where the
//! file was exported for one: the batch is followed through the network as everywhere
//! ([`Batch`]), and what is written for the file's own batch (the target of a Reshape, a token that is
//! put before each sequence) is computed for the batch at hand.
//!
//! Everything is computed in 32-bit floats, whatever the file stores. Stored floating-point tensors of
//! more than one element can be trained; mean and variance of a batch normalisation follow its
//! batches instead. Where the file stores no weights, they start by the field's rules, as in files
//! that are written with [random weights](crate::onnx::Weights::Random).
//!
//! Operators are those of convolutional networks, U-nets and transformers, a function each in
//! `operators`; a network with others is refused with a list of all of them.

mod operators;
#[cfg(test)]
mod tests;

use crate::model_graph::{
    Batch, Constant, DataType, ModelGraph, Node, OpType, Origin, TensorData, Value, ValueId,
};
use crate::onnx::{self, ReadError};
use operators::{Call, Fail, Pass};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use tch::{Device, Kind, TchError, Tensor};

/// Why a network can't be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// It has operators that are not implemented.
    #[error("it uses operators that can't be trained here: {}", .0.join(", "))]
    Operators(Vec<String>),
    /// A node can't be computed.
    #[error("node '{node}' ({op}): {reason}")]
    Node {
        /// Its name,
        node: String,
        /// its operator,
        op: String,
        /// and why.
        reason: String,
    },
    /// Something mixes the inputs of a batch, or the file doesn't show which axis is the batch.
    #[error("it can't be run for several inputs at once: no axis is carried along as the batch")]
    Batch,
    /// It doesn't have one input and one output.
    #[error("it has {inputs} inputs and {outputs} outputs; one of each is expected")]
    Ends {
        /// Number of inputs.
        inputs: usize,
        /// Number of outputs.
        outputs: usize,
    },
    /// Weights can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The computation failed, as for lack of memory.
    #[error("{}", first_line(.0))]
    Torch(TchError),
}

impl From<TchError> for ExecuteError {
    fn from(error: TchError) -> Self {
        Self::Torch(error)
    }
}

/// What went wrong, without where in libtorch.
fn first_line(error: &TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_string()
}

/// A network that can be run and trained; see the [module documentation](self).
pub struct TorchNetwork {
    graph: ModelGraph,
    batch: Batch,
    device: Device,
    /// Tensors that don't depend on the input: stored ones, and those whose elements are known.
    fixed: Vec<Option<Tensor>>,
    /// Those of them that can be trained, in the order of the network.
    parameters: Vec<ValueId>,
    /// Mean and variance of batch normalisations.
    statistics: Vec<ValueId>,
    /// Nodes to run, with the tensors that nothing needs afterwards.
    steps: Vec<(usize, Vec<ValueId>)>,
    input: ValueId,
    output: ValueId,
}

/// What is run of a network.
struct Uses {
    nodes: Vec<usize>,
    /// Stored tensors that nodes read.
    read: Vec<ValueId>,
    parameters: Vec<ValueId>,
    statistics: Vec<ValueId>,
}

impl TorchNetwork {
    /// Makes a network ready. `elements` gives those of stored tensors, `None` where the file doesn't
    /// have them; such tensors start at random, the same for the same `seed`.
    ///
    /// # Errors
    /// When it can't be run, which does not depend on its weights, or `elements` fails.
    pub fn new(
        graph: ModelGraph,
        mut elements: impl FnMut(ValueId, &Value) -> Result<Option<Vec<f64>>, ReadError>,
        seed: u64,
        device: Device,
    ) -> Result<Self, ExecuteError> {
        let tensors = |id: ValueId, value: &Value| {
            Ok(elements(id, value)?.map(|list| floats(&list, value)).transpose()?)
        };
        Self::with_tensors(graph, tensors, seed, device)
    }

    /// The same with tensors, 32-bit floats, in place of elements. Those that are on the device are used
    /// as they are and not copied, so that networks can share them.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_tensors(
        graph: ModelGraph,
        mut tensors: impl FnMut(ValueId, &Value) -> Result<Option<Tensor>, ExecuteError>,
        seed: u64,
        device: Device,
    ) -> Result<Self, ExecuteError> {
        let (&[input], &[output]) = (graph.inputs(), graph.outputs()) else {
            let (inputs, outputs) = (graph.inputs().len(), graph.outputs().len());
            return Err(ExecuteError::Ends { inputs, outputs });
        };
        let uses = uses(&graph);
        check_operators(&graph, &uses.nodes)?;
        let batch = Batch::followed(&graph).ok_or(ExecuteError::Batch)?;
        let mut rng = StdRng::seed_from_u64(seed);
        let starts = onnx::InitialElements::new(&graph);
        let mut fixed: Vec<Option<Tensor>> = graph.values().iter().map(|_| None).collect();
        for &id in &uses.read {
            let value = graph.value(id);
            // What is known of a tensor may be older than its elements.
            let given = match value.dtype.is_float() && value.producer.is_none() {
                true => tensors(id, value)?,
                false => None,
            };
            let known = match (given, value.data()) {
                (Some(given), _) => given,
                (None, Some(data)) => tensor(data, value)?,
                (None, None) => floats(&starts.draw(id, &mut rng), value)?,
            };
            fixed[id.index()] = Some(known.f_to(device)?);
        }
        let steps = steps(&graph, &uses.nodes);
        let Uses { mut parameters, statistics, .. } = uses;
        // Masks of attention are no weights, and a step would make infinities something else.
        parameters.retain(|id| fixed[id.index()].as_ref().is_some_and(finite));
        for id in &parameters {
            if let Some(tensor) = &fixed[id.index()] {
                fixed[id.index()] = Some(tensor.f_set_requires_grad(true)?);
            }
        }
        Ok(Self { batch, device, fixed, parameters, statistics, steps, input, output, graph })
    }

    /// The network.
    pub fn graph(&self) -> &ModelGraph {
        &self.graph
    }

    /// Where it runs.
    pub fn device(&self) -> Device {
        self.device
    }

    /// The stored tensors that can be trained, in the order of the network.
    pub fn parameters(&self) -> impl Iterator<Item = (ValueId, &Tensor)> {
        self.parameters.iter().filter_map(|id| Some((*id, self.fixed[id.index()].as_ref()?)))
    }

    /// The nodes that are run, in their order.
    pub fn nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.steps.iter().map(|(index, _)| (*index, &self.graph.nodes()[*index]))
    }

    /// Mean and variance of batch normalisations.
    pub fn statistics(&self) -> impl Iterator<Item = (ValueId, &Tensor)> {
        self.statistics.iter().filter_map(|id| Some((*id, self.fixed[id.index()].as_ref()?)))
    }

    /// A stored tensor that is used.
    pub fn stored(&self, id: ValueId) -> Option<&Tensor> {
        self.fixed.get(id.index())?.as_ref()
    }

    /// Elements of the trained tensors and statistics, in row-major order.
    ///
    /// # Errors
    /// When they can't be copied from the device.
    pub fn elements(&self) -> Result<BTreeMap<ValueId, Vec<f32>>, ExecuteError> {
        let all = self.parameters().chain(self.statistics());
        all.map(|(id, tensor)| Ok((id, list(tensor)?))).collect()
    }

    /// The output for a batch of inputs, along whatever axis the network has it. In `training`, batch
    /// normalisations use the statistics of the batch, and their own follow it.
    ///
    /// # Errors
    /// When the input has another shape than the network's apart from the batch, or a computation fails.
    pub fn forward(&self, input: &Tensor, training: bool) -> Result<Tensor, ExecuteError> {
        self.run(input, if training { Pass::Training } else { Pass::Inference }, &mut |_, _| Ok(()))
    }

    /// The output as in inference; `see` is shown every tensor that a node makes on the way.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), or when `see` fails.
    pub fn forward_seen(
        &self,
        input: &Tensor,
        see: &mut dyn FnMut(ValueId, &Tensor) -> Result<(), TchError>,
    ) -> Result<Tensor, ExecuteError> {
        self.run(input, Pass::Inference, see)
    }

    /// The output as in training, but for dropout, which leaves everything as it is. The statistics of
    /// batch normalisations become those of this batch.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_with_batch_statistics(&self, input: &Tensor) -> Result<Tensor, ExecuteError> {
        self.run(input, Pass::Calibration(1), &mut |_, _| Ok(()))
    }

    /// Makes the statistics of batch normalisations the means of those of `batches`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn calibrate(
        &self,
        batches: impl IntoIterator<Item = Result<Tensor, TchError>>,
    ) -> Result<(), ExecuteError> {
        let _guard = tch::no_grad_guard();
        for (number, batch) in (1..).zip(batches) {
            drop(self.run(&batch?, Pass::Calibration(number), &mut |_, _| Ok(()))?);
        }
        Ok(())
    }

    fn run(
        &self,
        input: &Tensor,
        pass: Pass,
        see: &mut dyn FnMut(ValueId, &Tensor) -> Result<(), TchError>,
    ) -> Result<Tensor, ExecuteError> {
        let expected = &self.graph.value(self.input).shape;
        let place = self.batch.place(self.input).ok_or(ExecuteError::Batch)?;
        let size = input.size();
        let fits = size.len() == expected.len()
            && size.iter().zip(expected.iter()).enumerate().all(|(axis, (&found, &expected))| {
                axis == place.axis || usize::try_from(found) == Ok(expected)
            });
        if !fits {
            return Err(ExecuteError::Node {
                node: self.graph.value(self.input).name.to_string(),
                op: "input".into(),
                reason: format!("the input is {size:?}, and the network's {expected:?}"),
            });
        }
        let count = size.get(place.axis).map_or(0, |&n| n as usize) / place.inner.max(1);
        let mut made: Vec<Option<Tensor>> = self.graph.values().iter().map(|_| None).collect();
        made[self.input.index()] = Some(input.shallow_clone());
        for (index, done) in &self.steps {
            let node = &self.graph.nodes()[*index];
            let outputs = {
                let inputs = node.inputs.iter().map(|id| {
                    let id = (*id)?;
                    made[id.index()].as_ref().or(self.fixed[id.index()].as_ref())
                });
                let call = Call {
                    graph: &self.graph,
                    node,
                    batch: &self.batch,
                    count,
                    inputs: inputs.collect(),
                    pass,
                    device: self.device,
                };
                call.run()
            };
            let outputs = outputs.map_err(|fail| {
                let reason = match fail {
                    Fail::Torch(error) => first_line(&error),
                    Fail::Text(text) => text,
                };
                let (node, op) = (node.name.to_string(), node.op.to_string());
                ExecuteError::Node { node, op, reason }
            })?;
            for (id, tensor) in node.outputs.iter().zip(outputs) {
                if let Some(id) = id {
                    see(*id, &tensor)?;
                    made[id.index()] = Some(tensor);
                }
            }
            for id in done {
                made[id.index()] = None;
            }
        }
        let output = made[self.output.index()].take();
        output
            .or_else(|| Some(self.stored(self.output)?.shallow_clone()))
            .ok_or(ExecuteError::Batch)
    }
}

impl TorchNetwork {
    /// An error unless two inputs have the outputs together that each has alone: for a file that was
    /// exported for one input, where the batch lies is a guess.
    ///
    /// # Errors
    /// See above, and as [`forward`](Self::forward).
    pub fn check_batch(&self) -> Result<(), ExecuteError> {
        let _guard = tch::no_grad_guard();
        let [input, output] = [self.input, self.output].map(|id| self.batch.place(id));
        let (Some(input), Some(output)) = (input, output) else { return Err(ExecuteError::Batch) };
        let shape = sizes(&self.graph.value(self.input).shape);
        let one = || Tensor::f_randn(&shape, (Kind::Float, self.device));
        let (a, b) = (one()?, one()?);
        let together = self.forward(&Tensor::f_cat(&[&a, &b], input.axis as i64)?, false)?;
        let alone = [self.forward(&a, false)?, self.forward(&b, false)?];
        let alone = Tensor::f_cat(&alone, output.axis as i64)?;
        if together.size() != alone.size() {
            return Err(ExecuteError::Batch);
        }
        let largest = alone.f_abs()?.f_max()?.f_double_value(&[])?;
        let difference = together.f_sub(&alone)?.f_abs()?.f_max()?.f_double_value(&[])?;
        if difference <= 1e-3 * largest { Ok(()) } else { Err(ExecuteError::Batch) }
    }
}

/// Whether all elements are finite, of tensors that are not a part of one that is trained.
fn finite(tensor: &Tensor) -> bool {
    let all = || tensor.f_isfinite()?.f_all()?.f_int64_value(&[]);
    tensor.requires_grad() || all().is_ok_and(|all| all != 0)
}

/// The elements of a tensor, in row-major order.
pub(crate) fn list(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let flat = tensor.f_detach()?.f_to(Device::Cpu)?.f_to_kind(Kind::Float)?.f_reshape([-1])?;
    Vec::<f32>::try_from(&flat.f_contiguous()?)
}

/// A shape as libtorch has it.
pub(crate) fn sizes(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect()
}

fn floats(list: &[f64], value: &Value) -> Result<Tensor, TchError> {
    let list: Vec<f32> = list.iter().map(|&x| x as f32).collect();
    Tensor::f_from_slice(&list)?.f_reshape(sizes(&value.shape))
}

fn tensor(data: &TensorData, value: &Value) -> Result<Tensor, TchError> {
    match data {
        TensorData::Floats(list) => floats(list, value),
        TensorData::Ints(list) => {
            let ints = Tensor::f_from_slice(list)?.f_reshape(sizes(&value.shape))?;
            if value.dtype == DataType::Bool { ints.f_to_kind(Kind::Bool) } else { Ok(ints) }
        }
    }
}

/// Whether a stored tensor can be trained, where it is used so.
fn trainable(value: &Value, node: &Node, input: usize) -> bool {
    let stored = matches!(value.constant, Some(Constant { origin: Origin::Stored, .. }));
    let numbers = match node.op {
        OpType::Resize | OpType::Upsample | OpType::Clip | OpType::Pad | OpType::Dropout => {
            input == 0
        }
        OpType::Where => input != 0,
        OpType::BatchNormalization => input < 3,
        _ => true,
    };
    let wide = matches!(
        value.dtype,
        DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16
    );
    stored && numbers && wide && value.producer.is_none() && value.elements() > 1
}

/// What the output depends on.
fn uses(graph: &ModelGraph) -> Uses {
    // Of constants with known elements, those that are computed from what is trained run too.
    let mut trained = vec![false; graph.values().len()];
    for node in graph.nodes() {
        let mut some = false;
        for (i, id) in node.inputs.iter().enumerate() {
            if let Some(id) = id {
                trained[id.index()] |= trainable(graph.value(*id), node, i);
                some |= trained[id.index()];
            }
        }
        for id in node.outputs.iter().flatten() {
            trained[id.index()] |= some && graph.value(*id).dtype.is_float();
        }
    }
    let runs = |id: ValueId| graph.value(id).data().is_none() || trained[id.index()];
    let mut needed = vec![false; graph.values().len()];
    graph.outputs().iter().for_each(|id| needed[id.index()] = true);
    let mut nodes = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate().rev() {
        if node.outputs.iter().flatten().any(|&id| needed[id.index()] && runs(id)) {
            nodes.push(index);
            node.inputs.iter().flatten().for_each(|id| needed[id.index()] = true);
        }
    }
    nodes.reverse();
    let ran: std::collections::HashSet<usize> = nodes.iter().copied().collect();
    let mut uses = Uses { nodes, read: Vec::new(), parameters: Vec::new(), statistics: Vec::new() };
    let mut seen = vec![false; graph.values().len()];
    for &index in &uses.nodes {
        let node = &graph.nodes()[index];
        for (i, id) in node.inputs.iter().enumerate() {
            let Some(id) = *id else { continue };
            let value = graph.value(id);
            let made = value.producer.is_some_and(|p| ran.contains(&p.index()));
            if !value.is_constant() || made || std::mem::replace(&mut seen[id.index()], true) {
                continue;
            }
            uses.read.push(id);
            if node.op == OpType::BatchNormalization && i > 2 {
                uses.statistics.push(id);
            } else if trainable(value, node, i) {
                uses.parameters.push(id);
            }
        }
    }
    if let Some(&output) = graph.outputs().first()
        && graph.value(output).data().is_some()
    {
        uses.read.push(output);
    }
    uses
}

fn check_operators(graph: &ModelGraph, nodes: &[usize]) -> Result<(), ExecuteError> {
    let mut unknown: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for &index in nodes {
        let node = &graph.nodes()[index];
        if !operators::is_known(&node.op) {
            let entry = unknown.entry(node.op.to_string());
            entry.or_insert_with(|| (0, node.name.to_string())).0 += 1;
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let tell = |(op, (count, name)): (String, (usize, String))| match (count, name.as_str()) {
        (1, "") => op,
        (1, name) => format!("{op} ('{name}')"),
        (n, "") => format!("{op} ({n} times)"),
        (n, name) => format!("{op} ({n} times, first '{name}')"),
    };
    Err(ExecuteError::Operators(unknown.into_iter().map(tell).collect()))
}

/// The nodes, each with the tensors that it is the last to need.
fn steps(graph: &ModelGraph, nodes: &[usize]) -> Vec<(usize, Vec<ValueId>)> {
    let mut needed = vec![false; graph.values().len()];
    graph.outputs().iter().for_each(|id| needed[id.index()] = true);
    let mut steps: Vec<(usize, Vec<ValueId>)> = Vec::with_capacity(nodes.len());
    for &index in nodes.iter().rev() {
        let node = &graph.nodes()[index];
        let mut done = Vec::new();
        for &id in node.inputs.iter().chain(&node.outputs).flatten() {
            if !std::mem::replace(&mut needed[id.index()], true) {
                done.push(id);
            }
        }
        steps.push((index, done));
    }
    steps.reverse();
    steps
}

/// The device that a text names: `cpu`, `cuda:0`.
///
/// # Errors
/// For other texts, and where this libtorch or machine has no such device.
pub fn device(text: &str) -> Result<Device, String> {
    if text == "cpu" {
        return Ok(Device::Cpu);
    }
    let number = text.strip_prefix("cuda:").and_then(|n| n.parse::<usize>().ok());
    let number =
        number.ok_or_else(|| format!("'{text}' is no device; there are cpu and cuda:0"))?;
    let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
    match number < count {
        true => Ok(Device::Cuda(number)),
        false => Err(format!("there is no {text}: this libtorch finds {count} CUDA devices")),
    }
}
