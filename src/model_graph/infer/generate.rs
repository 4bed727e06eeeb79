//! Operators whose output's elements, or shape, do not come from an input's elements.

use super::{Context, Fact, Facts, InferError, Result, dim, invalid, one, signed};
use crate::model_graph::{Attribute, Constant, DataType, Origin, Shape, TensorData};
use smallvec::smallvec;
use std::sync::Arc;

fn known(dtype: DataType, shape: Shape, data: Vec<i64>) -> Result<Facts> {
    let data = Some(Arc::new(TensorData::Ints(data)));
    Ok(smallvec![Fact {
        dtype,
        shape,
        constant: Some(Constant { data, origin: Origin::Computed })
    }])
}

pub(super) fn shape(ctx: &Context) -> Result<Facts> {
    let dims = &ctx.input(0)?.shape;
    let rank = signed(dims.len());
    let at = |name: &str, default: i64| {
        let i = ctx.attributes.int(name, default);
        let i = if i < 0 { i.saturating_add(rank) } else { i };
        usize::try_from(i.clamp(0, rank)).unwrap_or(0)
    };
    let (start, end) = (at("start", 0), at("end", rank));
    let part: Vec<i64> = dims.get(start..end).unwrap_or(&[]).iter().map(|&d| signed(d)).collect();
    known(DataType::Int64, smallvec![part.len()], part)
}

pub(super) fn size(ctx: &Context) -> Result<Facts> {
    let elements = signed(super::product(&ctx.input(0)?.shape)?);
    known(DataType::Int64, smallvec![], vec![elements])
}

pub(super) fn constant_of_shape(ctx: &Context) -> Result<Facts> {
    let Some(dims) = ctx.ints(0)? else { return invalid("input 0 is missing") };
    let dtype = match ctx.attributes.get("value") {
        Some(Attribute::Tensor { dtype, .. }) => *dtype,
        _ => DataType::Float,
    };
    one(dtype, dims.iter().map(|&d| dim(d)).collect::<Result<_>>()?)
}

pub(super) fn range(ctx: &Context) -> Result<Facts> {
    let number = |i: usize| {
        ctx.number(i)?;
        let value = ctx.input(i)?;
        value.data().and_then(|d| d.get_f64(0)).ok_or_else(|| {
            InferError::DataDependent(format!("the range depends on input {i}, which is not known"))
        })
    };
    let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
    let count = ((limit - start) / delta).ceil().max(0.0);
    if !count.is_finite() || count > super::MAX_ELEMENTS as f64 {
        return invalid(format!("a range from {start} to {limit} by {delta}"));
    }
    one(ctx.input(0)?.dtype, smallvec![count as usize])
}

/// From a start that is known, up to the most that the end can be.
pub(super) fn range_at_most(ctx: &Context, most: Option<i64>) -> Result<Facts> {
    let known = |i: usize| ctx.optional(i)?.data()?.ints()?.first().copied();
    match (known(0), most, known(2)) {
        (Some(start), Some(limit), Some(delta)) if delta > 0 => {
            let span = limit.saturating_sub(start).max(0);
            one(ctx.input(0)?.dtype, smallvec![dim(span.saturating_add(delta - 1) / delta)?])
        }
        _ => Err(InferError::DataDependent("the range has no upper bound".into())),
    }
}

pub(super) fn eye_like(ctx: &Context) -> Result<Facts> {
    let x = ctx.ranked(0, 2)?;
    let code = ctx.attributes.get_int("dtype").and_then(|t| i32::try_from(t).ok());
    one(code.map_or(x.dtype, DataType::from_onnx), x.shape.clone())
}

pub(super) fn random(ctx: &Context) -> Result<Facts> {
    let Some(dims) = ctx.attributes.ints("shape") else {
        return invalid("attribute 'shape' is missing");
    };
    one(DataType::Float, dims.iter().map(|&d| dim(d)).collect::<Result<_>>()?)
}

/// Samples of each row.
pub(super) fn multinomial(ctx: &Context) -> Result<Facts> {
    let x = ctx.ranked(0, 2)?;
    let samples = dim(ctx.attributes.int("sample_size", 1))?;
    one(DataType::Int32, smallvec![x.shape[0], samples])
}

/// Where each point of a map comes from, `[batch, height, width, 2]` or one dimension more.
pub(super) fn affine_grid(ctx: &Context) -> Result<Facts> {
    let theta = ctx.ranked(0, 3)?;
    let Some(size) = ctx.ints(1)? else { return invalid("the size is missing") };
    let size: Shape = size.iter().map(|&d| dim(d)).collect::<Result<_>>()?;
    match size.as_slice() {
        [batch, _, map @ ..]
            if theta.shape.as_slice() == [*batch, map.len(), map.len() + 1] && map.len() > 1 =>
        {
            let shape = [*batch].into_iter().chain(map.iter().copied()).chain([map.len()]);
            one(theta.dtype, shape.collect())
        }
        _ => invalid(format!("a grid of {size:?}")),
    }
}

fn number(ctx: &Context, i: usize) -> Result<usize> {
    ctx.number(i)?;
    match ctx.ints(i)?.and_then(|v| v.first()) {
        Some(&n) => dim(n),
        None => invalid(format!("input {i} is missing")),
    }
}

pub(super) fn window(ctx: &Context) -> Result<Facts> {
    one(DataType::Float, smallvec![number(ctx, 0)?])
}

/// Frequencies by bands.
pub(super) fn mel_weight_matrix(ctx: &Context) -> Result<Facts> {
    let (bands, length) = (number(ctx, 0)?, number(ctx, 1)?);
    one(DataType::Float, smallvec![length / 2 + 1, bands])
}
