//! Which constant inputs are weights.

use crate::model_graph::{Class, OpType};

/// Where an operator reads weights.
pub(super) struct Places {
    /// Inputs of which a constant is a weight in any case.
    pub weights: &'static [usize],
    /// Inputs that may be missing in the architecture although a file has them: ones and zeros.
    learned: &'static [usize],
}

impl Places {
    /// Whether input `i` is a factor or shift that counts if it was trained.
    pub fn learned(&self, i: usize) -> bool {
        self.learned.contains(&i)
    }
}

/// Where `op` reads weights; `None` when any of its inputs may be one.
pub(super) fn places(op: &OpType) -> Option<Places> {
    let (weights, learned): (&[usize], &[usize]) = match op.class() {
        Class::Conv | Class::ConvTranspose => (&[1], &[2]),
        Class::MatMul | Class::Gemm => (&[0, 1], &[2]),
        // Input 7 are peepholes, the rest initial states.
        Class::Recurrent => (&[1, 2], &[3, 7]),
        // Counted by what they stand for, not as stored.
        Class::PackedMatMul => (&[], &[5]),
        Class::LayerNorm | Class::GroupNorm | Class::InstanceNorm => (&[], &[1, 2]),
        _ => match op {
            OpType::DeformConv => (&[1], &[3]),
            OpType::PRelu => (&[1], &[]),
            _ => return None,
        },
    };
    Some(Places { weights, learned })
}

/// Whether input `i` of an operator without such places is what it computes with or moves; others
/// say where, such as positions, regions and shapes, or what stands for yes and no.
pub(super) fn is_operand(op: &OpType, i: usize) -> bool {
    use OpType::*;
    match op {
        OneHot => false,
        BatchNormalization => i < 3,
        Resize | Upsample => i == 0,
        ScatterElements | ScatterND => i == 0 || i == 2,
        TensorScatter => i < 2,
        GridSample | RoiAlign | MaxRoiPool | AffineGrid | NonMaxSuppression | Col2Im
        | MaxUnpool => i == 0,
        _ => true,
    }
}
