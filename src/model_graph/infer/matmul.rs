//! Matrix products.

use super::{Context, Facts, MAX_ELEMENTS, Result, broadcast, dim, invalid, one};
use crate::model_graph::{Attributes, DisplayShape, OpType, Shape};
use smallvec::{SmallVec, smallvec};

/// An operand of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// What belongs to an operand's axes after the transpositions that a fused product does: the first
/// axis moves behind the batches, then rows and columns change places.
pub(crate) fn turned<A: smallvec::Array<Item = T>, T>(
    attributes: &Attributes,
    side: Side,
    mut axes: SmallVec<A>,
) -> SmallVec<A> {
    let (flip, batch) = match side {
        Side::Left => ("transA", "transBatchA"),
        Side::Right => ("transB", "transBatchB"),
    };
    let rank = axes.len();
    if rank >= 3 && attributes.int(batch, 0) != 0 {
        axes[..rank - 1].rotate_left(1);
    }
    if rank >= 2 && attributes.int(flip, 0) != 0 {
        axes.swap(rank - 1, rank - 2);
    }
    axes
}

/// Columns and rows of a weight that is stored in few bits: attributes 'N' and 'K'.
pub(crate) fn packed_size(attributes: &Attributes) -> Result<(usize, usize)> {
    let size = |name| dim(attributes.int(name, 0));
    match (size("N")?, size("K")?) {
        (n, k) if n > 0 && k > 0 && n.checked_mul(k).is_some_and(|e| e as u64 <= MAX_ELEMENTS) => {
            Ok((n, k))
        }
        (n, k) => invalid(format!("a weight of {n} columns and {k} rows")),
    }
}

/// A product with a weight that is stored in few bits.
pub(super) fn packed(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let (n, k) = packed_size(ctx.attributes)?;
    if *ctx.op == OpType::MatMulNBits {
        ctx.vector(5, n)?;
    }
    let mut shape = x.shape.clone();
    match shape.last_mut() {
        Some(features) if *features == k => *features = n,
        _ => {
            let x = DisplayShape(&x.shape);
            return invalid(format!("a weight of {k} rows does not fit an input of {x}"));
        }
    }
    one(x.dtype, shape)
}

pub(super) fn matmul(ctx: &Context) -> Result<Facts> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let mut left = turned(ctx.attributes, Side::Left, a.shape.clone());
    let mut right = turned(ctx.attributes, Side::Right, b.shape.clone());
    let mismatch = || {
        invalid(format!(
            "matrices of {} and {} cannot be multiplied",
            DisplayShape(&a.shape),
            DisplayShape(&b.shape)
        ))
    };
    if left.is_empty() || right.is_empty() {
        return mismatch();
    }
    let (vector_a, vector_b) = (left.len() == 1, right.len() == 1);
    if vector_a {
        left.insert(0, 1);
    }
    if vector_b {
        right.push(1);
    }
    let (la, lb) = (left.len(), right.len());
    if left[la - 1] != right[lb - 2] {
        return mismatch();
    }
    let mut out = broadcast(&left[..la - 2], &right[..lb - 2])?;
    if !vector_a {
        out.push(left[la - 2]);
    }
    if !vector_b {
        out.push(right[lb - 1]);
    }
    // Quantised forms add a shift.
    ctx.vector(2, right[lb - 1])?;
    one(a.dtype, out)
}

pub(super) fn gemm(ctx: &Context) -> Result<Facts> {
    let (a, b) = (ctx.ranked(0, 2)?, ctx.ranked(1, 2)?);
    let transposed = |name| ctx.attributes.int(name, 0) != 0;
    let (m, k) =
        if transposed("transA") { (a.shape[1], a.shape[0]) } else { (a.shape[0], a.shape[1]) };
    let (k2, n) =
        if transposed("transB") { (b.shape[1], b.shape[0]) } else { (b.shape[0], b.shape[1]) };
    if k != k2 {
        return invalid(format!(
            "matrices of {} and {} cannot be multiplied",
            DisplayShape(&a.shape),
            DisplayShape(&b.shape)
        ));
    }
    let out: Shape = smallvec![m, n];
    if let Some(c) = ctx.optional(2)
        && broadcast(&out, &c.shape)? != out
    {
        return invalid(format!("a bias of {} does not fit {m}x{n}", DisplayShape(&c.shape)));
    }
    one(a.dtype, out)
}
