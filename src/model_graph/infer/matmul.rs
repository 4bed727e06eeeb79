//! Matrix products.

use super::{Context, Facts, Result, broadcast, invalid, one};
use crate::model_graph::{DisplayShape, Shape};
use smallvec::smallvec;

pub(super) fn matmul(ctx: &Context) -> Result<Facts> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let mut left = a.shape.clone();
    let mut right = b.shape.clone();
    for (name, shape) in [("transA", &mut left), ("transB", &mut right)] {
        let rank = shape.len();
        if ctx.attributes.int(name, 0) != 0 && rank >= 2 {
            shape.swap(rank - 1, rank - 2);
        }
    }
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
