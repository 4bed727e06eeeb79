//! Operators that pick elements.

use super::{Context, Fact, Facts, InferError, Result, axis, dim, invalid, one, signed};
use crate::model_graph::{DataType, DisplayShape, Shape, TensorData};
use smallvec::smallvec;

pub(super) fn gather(ctx: &Context) -> Result<Facts> {
    let (x, indices) = (ctx.input(0)?, ctx.input(1)?);
    let along = axis(ctx.attributes.int("axis", 0), x.shape.len())?;
    let mut out = Shape::from_slice(&x.shape[..along]);
    out.extend_from_slice(&indices.shape);
    out.extend_from_slice(&x.shape[along + 1..]);
    one(x.dtype, out)
}

pub(super) fn gather_nd(ctx: &Context) -> Result<Facts> {
    let (x, indices) = (ctx.input(0)?, ctx.input(1)?);
    let batch = dim(ctx.attributes.int("batch_dims", 0))?;
    let Some((&picked, outer)) = indices.shape.split_last() else {
        return invalid("the indices are a scalar");
    };
    let Some(rest) = picked.checked_add(batch).and_then(|n| x.shape.get(n..)) else {
        return invalid(format!(
            "indices of {} into {}",
            DisplayShape(&indices.shape),
            DisplayShape(&x.shape)
        ));
    };
    one(x.dtype, outer.iter().chain(rest).copied().collect())
}

/// The rank of input 0, which inputs `others` must have too, with an axis to pick along.
fn elements(ctx: &Context, others: std::ops::Range<usize>) -> Result<()> {
    let x = ctx.input(0)?;
    axis(ctx.attributes.int("axis", 0), x.shape.len())?;
    others.into_iter().try_for_each(|i| ctx.ranked(i, x.shape.len()).map(drop))
}

pub(super) fn gather_elements(ctx: &Context) -> Result<Facts> {
    elements(ctx, 1..2)?;
    one(ctx.input(0)?.dtype, ctx.input(1)?.shape.clone())
}

pub(super) fn scatter_elements(ctx: &Context) -> Result<Facts> {
    elements(ctx, 1..3)?;
    if ctx.input(1)?.shape != ctx.input(2)?.shape {
        return invalid("as many updates as indices are needed");
    }
    ctx.like_first()
}

pub(super) fn scatter_nd(ctx: &Context) -> Result<Facts> {
    let (x, indices, updates) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let rest = indices.shape.split_last().and_then(|(&picked, outer)| {
        Some(outer.iter().chain(x.shape.get(picked..)?).copied().collect::<Shape>())
    });
    if rest.as_ref() != Some(&updates.shape) {
        return invalid(format!(
            "updates of {} at indices of {} in {}",
            DisplayShape(&updates.shape),
            DisplayShape(&indices.shape),
            DisplayShape(&x.shape)
        ));
    }
    ctx.like_first()
}

pub(super) fn non_zero(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    match x.data() {
        Some(data) => {
            let count = (0..data.len()).filter(|&i| data.get_f64(i) != Some(0.0)).count();
            one(DataType::Int64, smallvec![x.shape.len(), count])
        }
        None => Err(InferError::DataDependent(
            "the number of non-zero elements is only known at run time".into(),
        )),
    }
}

pub(super) fn compress(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let Some(condition) = ctx.ints(1)? else { return invalid("the condition is missing") };
    let kept = condition.iter().filter(|&&c| c != 0).count();
    match ctx.attributes.get_int("axis") {
        None => one(x.dtype, smallvec![kept]),
        Some(a) => {
            let mut shape = x.shape.clone();
            shape[axis(a, x.shape.len())?] = kept;
            one(x.dtype, shape)
        }
    }
}

pub(super) fn one_hot(ctx: &Context) -> Result<Facts> {
    let (indices, values) = (ctx.input(0)?, ctx.input(2)?);
    ctx.number(1)?;
    let depth = match ctx.input(1)?.data() {
        Some(TensorData::Ints(v)) => v.first().copied(),
        Some(TensorData::Floats(v)) => v.first().map(|&d| d as i64),
        None => return Err(InferError::DataDependent("the depth is not known".into())),
    };
    let mut shape = indices.shape.clone();
    let at = match ctx.attributes.int("axis", -1) {
        -1 => shape.len(),
        a => axis(a, shape.len() + 1)?,
    };
    shape.insert(at, dim(depth.unwrap_or(-1).min(signed(1 << 40)))?);
    one(values.dtype, shape)
}

/// As many columns as the input has elements.
pub(super) fn non_zero_at_most(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    one(DataType::Int64, smallvec![x.shape.len(), super::product(&x.shape)?])
}

/// All that there is along the axis, or in the whole tensor; the condition may be shorter.
pub(super) fn compress_at_most(ctx: &Context) -> Result<Facts> {
    let (x, condition) = (ctx.input(0)?, ctx.input(1)?);
    let kept = super::product(&condition.shape)?;
    match ctx.attributes.get_int("axis") {
        None => one(x.dtype, smallvec![super::product(&x.shape)?.min(kept)]),
        Some(a) => {
            let mut shape = x.shape.clone();
            let extent = &mut shape[axis(a, x.shape.len())?];
            *extent = kept.min(*extent);
            one(x.dtype, shape)
        }
    }
}

/// As if nothing were there twice.
pub(super) fn unique_at_most(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let elements = super::product(&x.shape)?;
    let (shape, extent): (Shape, usize) = match ctx.attributes.get_int("axis") {
        None => (smallvec![elements], elements),
        Some(a) => (x.shape.clone(), x.shape[axis(a, x.shape.len())?]),
    };
    let indices = || Fact::new(DataType::Int64, smallvec![extent]);
    Ok(smallvec![Fact::new(x.dtype, shape), indices(), indices(), indices()])
}

/// The boxes of every image and class, or as many of them as are asked for.
pub(super) fn boxes_at_most(ctx: &Context, most: Option<i64>) -> Result<Facts> {
    let (boxes, scores) = (ctx.ranked(0, 3)?, ctx.ranked(1, 3)?);
    let each = most.map_or(boxes.shape[1], |most| dim(most.max(0)).unwrap_or(0));
    let rows = super::product(&[scores.shape[0], scores.shape[1], each.min(boxes.shape[1])])?;
    one(DataType::Int64, smallvec![rows, 3])
}

/// The first steps of each sequence in reverse.
pub(super) fn reverse_sequence(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let (batch, time) = (ctx.attributes.int("batch_axis", 1), ctx.attributes.int("time_axis", 0));
    let (batch, _) = (axis(batch, x.shape.len())?, axis(time, x.shape.len())?);
    ctx.vector(1, x.shape[batch])?;
    ctx.like_first()
}

/// Writes new tokens into a cache.
pub(super) fn tensor_scatter(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let update = ctx.ranked(1, x.shape.len())?;
    let along = axis(ctx.attributes.int("axis", -2), x.shape.len())?;
    let fits = |(i, (u, d)): (usize, (&usize, &usize))| u == d || (i == along && u < d);
    match update.shape.iter().zip(&x.shape).enumerate().all(fits) {
        true => ctx.like_first(),
        false => invalid(format!("an update of {}", DisplayShape(&update.shape))),
    }
}
