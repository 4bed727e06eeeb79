//! Operators that shrink axes.

use super::{Context, Fact, Facts, InferError, Result, axis, dim, invalid, one};
use crate::model_graph::{DataType, Shape, Value};
use smallvec::{SmallVec, smallvec};

/// The axes that a reduction runs over, ascending, each once; all of them by default.
pub(crate) fn reduced_axes(
    attributes: &crate::model_graph::Attributes,
    x: &Value,
    axes: Option<&[i64]>,
) -> std::result::Result<SmallVec<[usize; 5]>, InferError> {
    match axes {
        Some(list) if !list.is_empty() => {
            let mut axes = list
                .iter()
                .map(|&a| axis(a, x.shape.len()))
                .collect::<Result<SmallVec<[usize; 5]>>>()?;
            axes.sort_unstable();
            axes.dedup();
            Ok(axes)
        }
        _ if attributes.int("noop_with_empty_axes", 0) != 0 => Ok(SmallVec::new()),
        _ => Ok((0..x.shape.len()).collect()),
    }
}

pub(super) fn reduce(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let axes = reduced_axes(ctx.attributes, x, ctx.ints_either("axes", 1)?)?;
    let keep = ctx.attributes.int("keepdims", 1) != 0;
    one(x.dtype, shrink(&x.shape, &axes, keep))
}

fn shrink(shape: &[usize], axes: &[usize], keep: bool) -> Shape {
    let dims = shape.iter().enumerate();
    dims.filter_map(|(i, &d)| if !axes.contains(&i) { Some(d) } else { keep.then_some(1) })
        .collect()
}

pub(super) fn arg(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let along = axis(ctx.attributes.int("axis", 0), x.shape.len())?;
    let keep = ctx.attributes.int("keepdims", 1) != 0;
    one(DataType::Int64, shrink(&x.shape, &[along], keep))
}

pub(super) fn top_k(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let along = axis(ctx.attributes.int("axis", -1), x.shape.len())?;
    ctx.number(1)?;
    let k = match ctx.attributes.get_int("k") {
        Some(k) => k,
        None => match ctx.ints(1)?.and_then(|v| v.first()) {
            Some(&k) => k,
            None => return invalid("the number of elements is missing"),
        },
    };
    let mut shape = x.shape.clone();
    if dim(k)? > shape[along] {
        return invalid(format!("{k} elements of {}", shape[along]));
    }
    shape[along] = dim(k)?;
    Ok(smallvec![Fact::new(x.dtype, shape.clone()), Fact::new(DataType::Int64, shape)])
}

/// As many elements as are asked for at most, or all.
pub(super) fn top_k_at_most(ctx: &Context, most: Option<i64>) -> Result<Facts> {
    let x = ctx.input(0)?;
    let along = axis(ctx.attributes.int("axis", -1), x.shape.len())?;
    let mut shape = x.shape.clone();
    if let Some(most) = most {
        shape[along] = shape[along].min(dim(most.max(0))?);
    }
    Ok(smallvec![Fact::new(x.dtype, shape.clone()), Fact::new(DataType::Int64, shape)])
}

/// Of each matrix.
pub(super) fn determinant(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    match x.shape.as_slice() {
        [outer @ .., rows, columns] if rows == columns => one(x.dtype, Shape::from_slice(outer)),
        _ => invalid("the matrices are not square"),
    }
}
