//! Operators that multiply by weights, or one tensor by another.

use super::super::axes::{extent, positional};
use super::super::draft::{Node as DraftNode, Op};
use super::{Drafter, push_in};
use crate::graph::{Extent, Operation, Window};
use crate::model_graph::infer::conv_pool::conv_shapes;
use crate::model_graph::infer::einsum::equation;
use crate::model_graph::infer::matmul::{Side, turned};
use crate::model_graph::infer::recurrent::weight_shape;
use crate::model_graph::{Node, Value};
use smallvec::{SmallVec, smallvec};

impl Drafter<'_> {
    pub(super) fn window(&self, node: &Node, kernel: &[usize], spatial: usize) -> Window {
        let attribute = |name: &str| -> SmallVec<[i64; 4]> {
            match node.attributes.ints(name) {
                Some(list) => SmallVec::from_slice(list),
                None => smallvec![1; spatial],
            }
        };
        let kernel: SmallVec<[i64; 4]> = kernel.iter().map(|&k| k as i64).collect();
        let padded = match node.attributes.str("auto_pad") {
            Some("SAME_UPPER" | "SAME_LOWER") => kernel.iter().any(|&k| k > 1),
            _ => node.attributes.ints("pads").is_some_and(|p| p.iter().any(|&x| x != 0)),
        };
        Window {
            kernel: two(&kernel),
            stride: two(&attribute("strides")),
            dilation: if kernel.iter().all(|&k| k == 1) {
                [1, 1]
            } else {
                two(&attribute("dilations"))
            },
            groups: 1,
            padded,
        }
    }

    pub(super) fn conv(&mut self, node: &Node) {
        let (Some(x), Some(w)) = (self.value(node, 0), self.value(node, 1)) else { return };
        let groups = u32::try_from(node.attributes.int("group", 1)).unwrap_or(1);
        let (shape, weight) = conv_shapes(&node.op, &node.attributes, &x.shape, &w.shape);
        let depthwise = weight[1] == 1 && shape[1] > 1;
        let per_output: u64 = weight[1..].iter().fold(1, |p: u64, &d| p.saturating_mul(d as u64));
        let mut window = self.window(node, &weight[2..], shape.len() - 2);
        window.groups = groups;
        let input = self.mapped(node, &shape);
        let operation = if depthwise { Operation::DepthwiseConv } else { Operation::Conv };
        let bias = self.has_trained(node, 2);
        let new = match node.inputs.len() {
            0..=3 => self.atom(node, operation),
            // A fused sum comes after, as the activation.
            _ => {
                let inputs = node.inputs.iter().copied().take(3).collect();
                self.atom(&Node { inputs, ..node.clone() }, operation)
            }
        };
        new.window = window;
        new.bias = bias;
        new.input = input;
        new.macs = new.output.elements().saturating_mul(per_output);
        self.added(node, 3);
        self.activation(node);
    }

    /// A convolution that reads at computed offsets, whose interpolation is not counted.
    pub(super) fn deform_conv(&mut self, node: &Node) {
        let (Some(x), Some(w)) = (self.value(node, 0), self.value(node, 1)) else { return };
        let depthwise = w.shape[1] == 1 && x.shape[1] > 1;
        let per_output: u64 = w.shape[1..].iter().fold(1, |p: u64, &d| p.saturating_mul(d as u64));
        let mut window = self.window(node, &w.shape[2..], x.shape.len() - 2);
        window.groups = u32::try_from(node.attributes.int("group", 1)).unwrap_or(1);
        let input = self.mapped(node, &x.shape);
        let bias = self.has_trained(node, 3);
        let operation = if depthwise { Operation::DepthwiseConv } else { Operation::Conv };
        let new = self.atom(node, operation);
        (new.window, new.bias, new.input) = (window, bias, input);
        new.macs = new.output.elements().saturating_mul(per_output);
    }

    /// A small matrix times the places of all points.
    pub(super) fn affine_grid(&mut self, node: &Node) {
        let depth = self.value(node, 0).and_then(|theta| theta.shape.last().copied()).unwrap_or(1);
        let new = self.atom(node, Operation::MatMul);
        new.macs = new.output.elements().saturating_mul(depth as u64);
    }

    /// Whether input `index` is a trained factor or shift.
    pub(super) fn has_trained(&self, node: &Node, index: usize) -> bool {
        self.id(node, index)
            .is_some_and(|id| !self.graph.value(id).is_constant() || self.trained(id))
    }

    /// Extent of input 0 as convolutions read it: by position.
    fn mapped(&self, node: &Node, shape: &[usize]) -> Extent {
        match self.axes_of(node, 0).and_then(|axes| axes.first()) {
            Some(first) if shape.len() > 2 => extent(&positional(first, shape)),
            _ => self.largest(node),
        }
    }

    /// Adds input `index`, which ONNX Runtime has fused into an operator.
    fn added(&mut self, node: &Node, index: usize) {
        let output = self.output(node);
        let extent = self.extent(output);
        let (Some(sum), Some(other)) = (self.source[output.index()], self.from(node, index)) else {
            return;
        };
        let index = push_in(&mut self.draft, Operation::Add, &[sum, other], extent, node);
        self.alias(node, index);
    }

    /// The activation that ONNX Runtime has fused into an operator.
    pub(super) fn activation(&mut self, node: &Node) {
        let operation = match node.attributes.str("activation") {
            Some("Relu") => Operation::Relu,
            Some("LeakyRelu") => Operation::LeakyRelu,
            Some("Sigmoid") => Operation::Sigmoid,
            Some("Tanh") => Operation::Tanh,
            Some("HardSigmoid") => Operation::HardSigmoid,
            Some("Clip") => Operation::Clip,
            _ => return,
        };
        let output = self.output(node);
        let extent = self.extent(output);
        if let Some(from) = self.source[output.index()] {
            let new = DraftNode::new(Op::Atom(operation), smallvec![from], extent, extent);
            let index = self.draft.push(new);
            self.alias(node, index);
        }
    }

    pub(super) fn conv_transpose(&mut self, node: &Node) {
        let (Some(x), Some(w)) = (self.value(node, 0), self.value(node, 1)) else { return };
        let mut window = self.window(node, &w.shape[2..], x.shape.len() - 2);
        window.groups = u32::try_from(node.attributes.int("group", 1)).unwrap_or(1);
        let per_input: u64 = w.shape[1..].iter().fold(1, |p: u64, &d| p.saturating_mul(d as u64));
        let input = self.mapped(node, &x.shape);
        let bias = self.has_trained(node, 2);
        let new = self.atom(node, Operation::ConvTranspose);
        (new.window, new.bias, new.input) = (window, bias, input);
        new.macs = input.elements().saturating_mul(per_input);
    }

    /// A product with one constant operand is a linear layer.
    pub(super) fn matmul(&mut self, node: &Node) {
        let (Some(a), Some(b)) = (self.value(node, 0), self.value(node, 1)) else { return };
        let depth = turned(&node.attributes, Side::Left, a.shape.clone());
        let depth = depth.last().copied().unwrap_or(1);
        let linear = a.is_constant() || b.is_constant();
        let bias = self.id(node, 2).is_some();
        let new = self.atom(node, if linear { Operation::Linear } else { Operation::MatMul });
        new.bias = bias;
        new.macs = new.output.elements().saturating_mul(depth as u64);
        self.activation(node);
    }

    pub(super) fn gemm(&mut self, node: &Node) {
        let (Some(a), Some(b)) = (self.value(node, 0), self.value(node, 1)) else { return };
        let flip = node.attributes.int("transA", 0) != 0;
        let depth = a.shape[usize::from(!flip)];
        let linear = a.is_constant() || b.is_constant();
        let bias = self.value(node, 2).is_some_and(Value::is_constant);
        let new = self.atom(node, if linear { Operation::Linear } else { Operation::MatMul });
        new.bias = bias;
        new.macs = new.output.elements().saturating_mul(depth as u64);
        self.activation(node);
    }

    pub(super) fn einsum(&mut self, node: &Node) {
        let Ok(equation) = node.context(self.graph, equation) else { return };
        let constant =
            (0..node.inputs.len()).any(|i| self.value(node, i).is_some_and(Value::is_constant));
        let summed = equation.summed().into_iter().map(|label| equation.extent(label) as u64);
        let depth = summed.fold(1, u64::saturating_mul);
        let operation = match (node.inputs.len(), constant) {
            (1, _) => Operation::ReduceSum,
            (_, true) => Operation::Linear,
            _ => Operation::MatMul,
        };
        let labels = equation.terms.iter().chain([&equation.output]);
        let key = labels.flat_map(|l| l.iter().map(|&l| l as i64).chain([-1])).collect();
        let new = self.atom(node, operation);
        new.key = key;
        if node.inputs.len() > 1 {
            new.macs = new.output.elements().saturating_mul(depth);
        }
    }

    pub(super) fn recurrent(&mut self, node: &Node, operation: Operation, gates: u64) {
        let (Some(x), Some(w), Some(r)) =
            (self.id(node, 0), self.value(node, 1), self.value(node, 2))
        else {
            return;
        };
        let [directions, _, hidden] = weight_shape(&node.op, &r.shape).map(|d| d as u64);
        let [_, _, features] = weight_shape(&node.op, &w.shape).map(|d| d as u64);
        let per_step = [hidden, features.saturating_add(hidden), directions]
            .into_iter()
            .fold(gates, u64::saturating_mul);
        // One input may be many sequences: the rows of a map.
        let steps = self.extent(x).elements().checked_div(features).unwrap_or(0);
        let bias = self.value(node, 3).is_some();
        let new = self.atom(node, operation);
        new.bias = bias;
        new.macs = steps.saturating_mul(per_step);
    }
}

/// Height and width of a list of 1, 2 or 3 extents; depth multiplies into the height.
fn two(list: &[i64]) -> [u32; 2] {
    let of = |x: i64| u32::try_from(x).unwrap_or(u32::MAX);
    match *list {
        [] => [1, 1],
        [h] => [of(h), 1],
        [h, w] => [of(h), of(w)],
        [ref depth @ .., w] => [depth.iter().fold(1, |p: u32, &x| p.saturating_mul(of(x))), of(w)],
    }
}
