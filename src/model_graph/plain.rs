//! Quantised and fused operators as the plain ones that they stand for.
//!
//! Shapes, costs and the meaning of axes are those of the plain operator: only element types and
//! the inputs that say how elements are stored differ. So each has one entry in the table of
//! operators instead of a rule in every stage.

use super::op_type::Class;
use super::{Node, OpType};
use smallvec::SmallVec;
use std::borrow::Cow;

/// An input that the other operator does not have.
pub(super) const NO: usize = usize::MAX;

/// Where a plain operator's inputs stand among the other's. One that adds a shift or an operand has
/// it after the plain operator's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operands {
    At(&'static [usize]),
    /// Every third, from input 2 on: a tensor, its scale, its zero point.
    Triples,
}

/// The plain operator that `op` stands for, if it is another, with its inputs.
pub(super) fn operator<T: Copy>(
    op: &OpType,
    inputs: &[Option<T>],
) -> Option<(OpType, SmallVec<[Option<T>; 5]>)> {
    let Class::StandIn(plain, operands) = op.class() else { return None };
    let mut inputs: SmallVec<[Option<T>; 5]> = match operands {
        Operands::Triples => inputs.iter().skip(2).step_by(3).copied().collect(),
        Operands::At(list) => list.iter().map(|&i| inputs.get(i).copied().flatten()).collect(),
    };
    while inputs.last().is_some_and(Option::is_none) {
        inputs.pop();
    }
    Some((plain, inputs))
}

impl Node {
    /// The node as the plain operator that its own stands for.
    pub(crate) fn plain(&self) -> Cow<'_, Node> {
        match operator(&self.op, &self.inputs) {
            None => Cow::Borrowed(self),
            Some((op, inputs)) => Cow::Owned(Node {
                name: self.name.clone(),
                op,
                attributes: self.attributes.clone(),
                inputs,
                outputs: self.outputs.clone(),
            }),
        }
    }
}
