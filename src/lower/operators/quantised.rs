//! Activations that quantisation has taken in: numbers below the lowest integer are clamped to it, so
//! that where it stands for zero, tools leave out a ReLU before.

use super::super::draft::{Bound, Index, Node as DraftNode, Op};
use super::Drafter;
use crate::graph::Operation;
use crate::model_graph::{DataType, Node, OpType, Value};
use smallvec::smallvec;

impl Drafter<'_> {
    /// Adds the ReLU that an operator with integers for its output does by its zero point, unless
    /// nothing negative comes in.
    pub(super) fn clamp(&mut self, node: &Node) {
        let Some(high) = self.clamped(node) else { return };
        let output = self.output(node);
        let Some(from) = self.source[output.index()] else { return };
        if self.is_non_negative(from) {
            return;
        }
        let (extent, low) = (self.extent(output), Bound::Known(0.0));
        let mut new = DraftNode::new(Op::Clip { low, high }, smallvec![from], extent, extent);
        new.name = node.name.clone();
        let index = self.draft.push(new);
        self.alias(node, index);
    }

    /// The upper bound of what the integers that a node puts out stand for, if zero is the lower one:
    /// the 6 of ReLU6, which goes the same way. Others follow from data that the network was tried on.
    fn clamped(&self, node: &Node) -> Option<Bound> {
        use OpType::*;
        let zero_point = match node.op {
            QuantizeLinear | MsQuantizeLinear => 2,
            QLinearConv | MsQLinearConv | QLinearMatMul | QLinearAdd | QLinearMul => 7,
            QGemm | QLinearWhere => 8,
            QLinearConcat => 1,
            QLinearAveragePool
            | QLinearGlobalAveragePool
            | QLinearLeakyRelu
            | QLinearReduceMean => 4,
            _ => return None,
        };
        let (lowest, steps) = match self.graph.value(self.output(node)).dtype {
            DataType::Uint8 => (0.0, 255.0),
            DataType::Int8 => (-128.0, 255.0),
            DataType::Uint16 => (0.0, 65535.0),
            DataType::Int16 => (-32768.0, 65535.0),
            _ => return None,
        };
        let at_lowest = match self.value(node, zero_point) {
            Some(zero) => zero.data().is_some_and(|data| !data.is_empty() && data.is_all(lowest)),
            None => lowest == 0.0,
        };
        let scale = self.value(node, zero_point - 1).and_then(Value::data);
        let high = scale.and_then(|scale| scale.get_f64(0)).map(|scale| scale * steps);
        let six = high.is_some_and(|high| (high - 6.0).abs() < 1e-4);
        at_lowest.then_some(if six { Bound::Known(6.0) } else { Bound::Open })
    }

    /// Whether a node puts out nothing negative, or what no ReLU follows: what the network reads, and
    /// means and maxima, of which none may be negative in the data that a network was tried on.
    fn is_non_negative(&mut self, index: Index) -> bool {
        use Operation::*;
        for at in self.non_negative.len()..=index {
            let node = self.draft.node(at);
            let all = node.inputs.iter().all(|&i| self.non_negative[i]);
            self.non_negative.push(match node.op {
                Op::Atom(op) => match op {
                    Input | Relu | Sigmoid | HardSigmoid | Softmax | Exp | Softplus | Sqrt
                    | Abs | ReduceNorm | Logic | MaxPool | AveragePool | GlobalMaxPool
                    | GlobalAveragePool | ReduceMean | ReduceMax | ReduceSum => true,
                    Concat | Slice | Gather | Pad | Resize | Add | Div | Maximum | Minimum
                    | ReduceProd | Select => all,
                    Mul => all || node.inputs.first() == node.inputs.get(1),
                    _ => false,
                },
                Op::Clip { low: Bound::Known(low), .. } => low >= 0.0 || all,
                Op::AddScalar(by) | Op::MulScalar(by) => all && by.is_none_or(|by| by >= 0.0),
                Op::Power(by) => all || by.is_some_and(|by| by % 2.0 == 0.0),
                Op::Clip { .. } => all,
                Op::IsNan => true,
            });
        }
        self.non_negative[index]
    }
}
