//! Operators that work element by element.

use super::{Context, Fact, Facts, Result, axis, broadcast, invalid, one};
use crate::model_graph::{DataType, OpType, Shape};
use smallvec::smallvec;

pub(super) fn dropout(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let mask = (ctx.outputs > 1).then(|| Fact::new(DataType::Bool, x.shape.clone()));
    let mut facts = ctx.like_first()?;
    facts.extend(mask);
    Ok(facts)
}

/// Half of the features gates the other half.
pub(super) fn split_gelu(ctx: &Context) -> Result<Facts> {
    ctx.stretches(1)?;
    let x = ctx.input(0)?;
    let mut shape = x.shape.clone();
    match shape.last_mut() {
        Some(features) if features.is_multiple_of(2) => *features /= 2,
        _ => return invalid("the features do not make two halves"),
    }
    one(x.dtype, shape)
}

pub(super) fn trilu(ctx: &Context) -> Result<Facts> {
    ctx.number(1)?;
    match ctx.input(0)?.shape.len() {
        0 | 1 => invalid("a triangle of fewer than 2 dimensions"),
        _ => ctx.like_first(),
    }
}

/// Softmax and the like, along one axis or, up to operator set 12, all from that one on.
pub(super) fn along_axis(ctx: &Context) -> Result<Facts> {
    let rank = ctx.input(0)?.shape.len();
    let old = ctx.opset < 13 && *ctx.op != OpType::LpNormalization;
    let along = ctx.attributes.int("axis", if old { 1 } else { -1 });
    // The default lies outside a vector.
    if !(old && rank == 1 && along == 1) {
        axis(along, rank)?;
    }
    ctx.like_first()
}

/// Operands that are broadcast against each other.
pub(super) fn broadcast_all(ctx: &Context) -> Result<Facts> {
    use OpType::*;
    match ctx.op {
        // The others are stretched to the first.
        PRelu | BiasAdd | BiasGelu | FastGelu => {
            (1..3).try_for_each(|i| ctx.stretches(i))?;
            ctx.like_first()
        }
        And | Or | Xor | Equal | Greater | GreaterOrEqual | Less | LessOrEqual => {
            binary(ctx, DataType::Bool)
        }
        Max | Min | Mean | Sum => variadic(ctx),
        Where => select(ctx),
        _ => binary(ctx, ctx.input(0)?.dtype),
    }
}

fn binary(ctx: &Context, dtype: DataType) -> Result<Facts> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let shape = if a.shape == b.shape { a.shape.clone() } else { broadcast(&a.shape, &b.shape)? };
    one(dtype, shape)
}

fn variadic(ctx: &Context) -> Result<Facts> {
    let mut shape: Shape = ctx.input(0)?.shape.clone();
    for value in ctx.inputs.iter().skip(1).flatten() {
        if value.shape != shape {
            shape = broadcast(&shape, &value.shape)?;
        }
    }
    one(ctx.input(0)?.dtype, shape)
}

fn select(ctx: &Context) -> Result<Facts> {
    let (condition, a, b) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    one(a.dtype, broadcast(&condition.shape, &broadcast(&a.shape, &b.shape)?)?)
}

pub(super) fn cast(ctx: &Context) -> Result<Facts> {
    if *ctx.op == OpType::CastLike {
        return one(ctx.input(1)?.dtype, ctx.input(0)?.shape.clone());
    }
    let Some(to) =
        ctx.attributes.get_int("to").and_then(|t| i32::try_from(t).ok()).filter(|&t| t > 0)
    else {
        return invalid("attribute 'to' is no type");
    };
    one(DataType::from_onnx(to), ctx.input(0)?.shape.clone())
}

pub(super) fn quantize(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    match ctx.op {
        OpType::DequantizeLinear => {
            let scale = ctx.input(1)?.dtype;
            one(if scale.is_float() { scale } else { DataType::Float }, x.shape.clone())
        }
        OpType::QuantizeLinear => {
            let dtype = ctx.optional(2).map_or(DataType::Uint8, |zero| zero.dtype);
            one(dtype, x.shape.clone())
        }
        _ => Ok(smallvec![
            Fact::new(DataType::Uint8, x.shape.clone()),
            Fact::new(DataType::Float, smallvec![]),
            Fact::new(DataType::Uint8, smallvec![]),
        ]),
    }
}
