//! Quantised and fused operators as the plain ones that they stand for.
//!
//! Shapes, costs and the meaning of axes are those of the plain operator: only element types and
//! the inputs that say how elements are stored differ. So each has one entry here instead of a
//! rule in every stage.

use super::{Node, OpType};
use smallvec::SmallVec;
use std::borrow::Cow;

/// An input that the other operator does not have.
const NONE: usize = usize::MAX;

/// Where a plain operator's inputs stand among the other's.
#[derive(Clone, Copy)]
enum Operands {
    At(&'static [usize]),
    /// Every third, from input 2 on: a tensor, its scale, its zero point.
    Triples,
}

/// The plain operator that `op` stands for, if it is another. One that adds a shift or an operand
/// has it after the plain operator's own inputs.
fn plain(op: &OpType) -> Option<(OpType, Operands)> {
    use OpType::*;
    use Operands::{At, Triples};
    Some(match op {
        // Its name before operator set 11.
        Scatter => (ScatterElements, At(&[0, 1, 2])),
        ConvInteger => (Conv, At(&[0, 1])),
        QLinearConv | MsQLinearConv => (Conv, At(&[0, 3, 8])),
        // Input 3 is added before the activation.
        FusedConv => (Conv, At(&[0, 1, 2, 3])),
        MatMulInteger | MatMulInteger16 => (MatMul, At(&[0, 1])),
        DynamicQuantizeMatMul => (MatMul, At(&[0, 1, 4])),
        MatMulIntegerToFloat => (MatMul, At(&[0, 1, 6])),
        FusedMatMulActivation | TransposeMatMul => (FusedMatMul, At(&[0, 1])),
        QLinearMatMul => (MatMul, At(&[0, 3])),
        FusedGemm => (Gemm, At(&[0, 1, 2])),
        QGemm => (Gemm, At(&[0, 3, 6])),
        DecoderMaskedMultiHeadAttention => (MultiHeadAttention, At(&[0, 1, 2, 10, 3, 4, 5, 6])),
        GroupQueryAttention => {
            (MultiHeadAttention, At(&[0, 1, 2, NONE, NONE, 10, 3, 4, NONE, NONE, 7, 8]))
        }
        DecoderMaskedSelfAttention => (MsAttention, At(&[0, 1, 2, 3, 4, 5])),
        QAttention => (MsAttention, At(&[0, 1, 2, 5, 8])),
        QLinearAdd => (Add, At(&[0, 3])),
        QLinearAveragePool => (AveragePool, At(&[0])),
        QLinearConcat => (Concat, Triples),
        QLinearGlobalAveragePool => (GlobalAveragePool, At(&[0])),
        QLinearLeakyRelu => (LeakyRelu, At(&[0])),
        QLinearMul => (Mul, At(&[0, 3])),
        QLinearReduceMean => (ReduceMean, At(&[0])),
        QLinearSigmoid => (Sigmoid, At(&[0])),
        QLinearSoftmax => (Softmax, At(&[0])),
        QLinearWhere => (Where, At(&[0, 1, 4])),
        ExpandDims => (Unsqueeze, At(&[0, 1])),
        MsDequantizeLinear => (DequantizeLinear, At(&[0, 1, 2])),
        MsGatherND => (GatherND, At(&[0, 1])),
        MsGelu => (Gelu, At(&[0])),
        MsGridSample => (GridSample, At(&[0, 1])),
        MsPad => (Pad, At(&[0, 1, 2])),
        MsRange => (Range, At(&[0, 1, 2])),
        MsQuantizeLinear => (QuantizeLinear, At(&[0, 1, 2])),
        MsRotaryEmbedding => (RotaryEmbedding, At(&[0, 2, 3, 1])),
        MsTrilu => (Trilu, At(&[0, 1])),
        _ => return None,
    })
}

/// The plain operator that `op` stands for, if it is another, with its inputs.
pub(super) fn operator<T: Copy>(
    op: &OpType,
    inputs: &[Option<T>],
) -> Option<(OpType, SmallVec<[Option<T>; 5]>)> {
    let (plain, operands) = plain(op)?;
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
