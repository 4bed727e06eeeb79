//! Arithmetic element by element, by what its constant operand is.

use super::super::axes::{Role, extent};
use super::super::draft::{Bound, Op};
use super::Drafter;
use crate::graph::Operation;
use crate::model_graph::{Attribute, Node, OpType, Value, ValueId};
use smallvec::SmallVec;

impl Drafter<'_> {
    /// How a constant operand meets the other one.
    fn constant_operand(&self, node: &Node) -> Option<(usize, Broadcast)> {
        let at = (0..node.inputs.len())
            .find(|&i| self.value(node, i).is_some_and(Value::is_constant))?;
        let value = self.value(node, at)?;
        if value.elements() == 1 {
            if self.single_bias(node, at) {
                return Some((at, Broadcast::Channels));
            }
            return Some((at, Broadcast::Scalar(value.data().and_then(|d| d.get_f64(0)))));
        }
        let output = self.axes.get(self.output(node))?;
        let skip = output.len().checked_sub(value.shape.len())?;
        let channels = value
            .shape
            .iter()
            .enumerate()
            .all(|(i, &d)| d == 1 || output[skip + i].iter().all(|f| f.role == Role::Channel));
        let per_channel = channels && value.elements() == extent(output).channels;
        Some((at, if per_channel { Broadcast::Channels } else { Broadcast::Table }))
    }

    pub(super) fn add(&mut self, node: &Node) {
        if self.operands(node).len() != 1 {
            let key = self.constants(node);
            self.atom(node, Operation::Add).key = key;
            return;
        }
        match self.constant_operand(node) {
            Some((_, Broadcast::Scalar(c))) => {
                self.emit(node, Op::AddScalar(c));
            }
            Some((at, meeting)) => self.add_constant(node, at, meeting),
            None => self.pass(node),
        }
    }

    fn constants(&self, node: &Node) -> SmallVec<[i64; 4]> {
        let ids = node.inputs.iter().flatten();
        ids.filter(|id| self.source[id.index()].is_none()).map(|id| id.index() as i64).collect()
    }

    fn add_constant(&mut self, node: &Node, at: usize, meeting: Broadcast) {
        let key = self.constants(node);
        // The bias of a product over another axis than the channels', such as tokens.
        let bias = self.bias_of_product(node, at);
        match meeting {
            Broadcast::Channels => {
                let new = self.atom(node, Operation::Affine);
                (new.bias, new.key) = (true, key);
            }
            _ if bias => {
                let new = self.atom(node, Operation::Affine);
                (new.bias, new.key) = (true, key);
            }
            _ => self.atom(node, Operation::AddConstant).key = key,
        }
    }

    /// Whether constant input `at` is the bias of a linear layer with one output, as a head that
    /// regresses one number has it. Other single numbers are those of a formula, for all that a
    /// file tells.
    pub(super) fn single_bias(&self, node: &Node, at: usize) -> bool {
        let stored = |id| self.trained(id) && !self.graph.value(id).shape.is_empty();
        node.op == OpType::Add
            && self.id(node, at).is_some_and(stored)
            && self.bias_of_product(node, at)
    }

    /// Whether constant input `at` runs along the columns of the matrix product it is added to.
    fn bias_of_product(&self, node: &Node, at: usize) -> bool {
        let (Some(bias), Some(sum)) = (self.value(node, at), self.id(node, 1 - at.min(1))) else {
            return false;
        };
        let producer = self.graph.value(sum).producer.map(|p| &self.graph.nodes()[p.index()]);
        let columns = self.graph.value(sum).shape.last().copied();
        let one_row = bias.shape.iter().rev().skip(1).all(|&d| d == 1);
        one_row
            && bias.shape.last().copied() == columns
            && producer.is_some_and(|p| {
                let p = p.plain();
                p.op == OpType::MatMul && self.value(&p, 1).is_some_and(Value::is_constant)
            })
    }

    pub(super) fn sub(&mut self, node: &Node) {
        match self.constant_operand(node) {
            None => self.plain(node, Operation::Sub),
            Some((1, Broadcast::Scalar(c))) => {
                self.emit(node, Op::AddScalar(c.map(|c| -c)));
            }
            // c − x, whose sign the next coefficients take in.
            Some((_, Broadcast::Scalar(c))) => {
                self.emit(node, Op::AddScalar(c));
            }
            Some((at, meeting)) => self.add_constant(node, at, meeting),
        }
    }

    pub(super) fn mul(&mut self, node: &Node) {
        let operands = self.operands(node);
        match self.constant_operand(node) {
            // Of the weight that integers are multiplied by, be it one for each of its columns.
            Some(_) if node.inputs.iter().flatten().any(|id| self.is_scale(*id)) => self.pass(node),
            Some((_, Broadcast::Scalar(c))) if operands.len() == 1 => {
                self.emit(node, Op::MulScalar(c));
            }
            Some((_, meeting)) if operands.len() == 1 => self.mul_constant(node, meeting),
            _ => self.plain(node, Operation::Mul),
        }
    }

    /// Whether a tensor is the scale of integers that the network computes from numbers.
    fn is_scale(&self, id: ValueId) -> bool {
        let producer = self.graph.value(id).producer.map(|p| &self.graph.nodes()[p.index()]);
        producer.is_some_and(|p| {
            p.op == OpType::DynamicQuantizeLinear && p.outputs.get(1) == Some(&Some(id))
        })
    }

    fn mul_constant(&mut self, node: &Node, meeting: Broadcast) {
        let key = self.constants(node);
        match meeting {
            Broadcast::Channels => {
                let new = self.atom(node, Operation::Affine);
                (new.scale, new.key) = (true, key);
            }
            _ => self.atom(node, Operation::MulConstant).key = key,
        }
    }

    pub(super) fn div(&mut self, node: &Node) {
        match self.constant_operand(node) {
            Some((1, Broadcast::Scalar(c))) => {
                self.emit(node, Op::MulScalar(c.map(|c| 1.0 / c)));
            }
            Some((1, meeting)) => self.mul_constant(node, meeting),
            // 1 / x is a reciprocal, whatever stands above the line.
            _ => self.plain(node, Operation::Div),
        }
    }

    pub(super) fn pow(&mut self, node: &Node) {
        match self.constant_operand(node) {
            Some((1, Broadcast::Scalar(Some(0.5)))) => {
                self.plain(node, Operation::Sqrt);
            }
            Some((1, Broadcast::Scalar(c))) => {
                self.emit(node, Op::Power(c));
            }
            _ => self.plain(node, Operation::Pow),
        }
    }

    /// Bounds of a Clip: attributes up to operator set 10, inputs after.
    pub(super) fn clip(&mut self, node: &Node) {
        let bound = |name: &str, i: usize| match (node.attributes.get(name), self.value(node, i)) {
            (Some(Attribute::Float(x)), _) if x.is_finite() => Bound::Known(f64::from(*x)),
            (_, None) => Bound::Open,
            (_, Some(value)) => match value.data().and_then(|d| d.get_f64(0)) {
                Some(x) if x.abs() >= f64::from(f32::MAX) => Bound::Open,
                Some(x) => Bound::Known(x),
                None => Bound::Unknown,
            },
        };
        let (low, high) = (bound("min", 1), bound("max", 2));
        self.emit(node, Op::Clip { low, high }).parameters = 0;
    }

    pub(super) fn max_min(&mut self, node: &Node, operation: Operation) {
        let operands = self.operands(node);
        let scalar = match self.constant_operand(node) {
            Some((_, Broadcast::Scalar(c))) if operands.len() == 1 => Some(c),
            _ => None,
        };
        match scalar {
            Some(c) => {
                let known = c.map_or(Bound::Unknown, Bound::Known);
                let (low, high) = match operation {
                    Operation::Maximum => (known, Bound::Open),
                    _ => (Bound::Open, known),
                };
                self.emit(node, Op::Clip { low, high }).parameters = 0;
            }
            None => self.plain(node, operation),
        }
    }
}

/// How a constant operand lines up with the axes of the other one.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Broadcast {
    /// One number, if it is known.
    Scalar(Option<f64>),
    /// One number per channel.
    Channels,
    /// Anything else.
    Table,
}
