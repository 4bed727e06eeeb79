//! Operators that work element by element.

use super::{Context, Fact, Facts, Result, broadcast, invalid, one};
use crate::model_graph::{DataType, OpType, Shape};
use smallvec::smallvec;

/// Normalisations and dropout: output 0 like the input, then statistics that inference of a
/// network never uses for more than their presence.
pub(super) fn with_statistics(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let mut facts: Facts = smallvec![Fact::new(x.dtype, x.shape.clone())];
    for i in 1..ctx.outputs {
        facts.push(match ctx.op {
            OpType::Dropout => Fact::new(DataType::Bool, x.shape.clone()),
            OpType::BatchNormalization => {
                Fact::new(x.dtype, x.shape.get(1).map_or(smallvec![], |&c| smallvec![c]))
            }
            // The skip variants return the sum of their inputs last.
            OpType::SkipLayerNormalization | OpType::SkipSimplifiedLayerNormalization if i == 3 => {
                Fact::new(x.dtype, x.shape.clone())
            }
            _ => {
                let from = super::axis(ctx.attributes.int("axis", -1), x.shape.len())?;
                let mut shape = x.shape.clone();
                shape.iter_mut().skip(from).for_each(|d| *d = 1);
                Fact::new(DataType::Float, shape)
            }
        });
    }
    Ok(facts)
}

pub(super) fn binary(ctx: &Context, dtype: Option<DataType>) -> Result<Facts> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let shape = if a.shape == b.shape { a.shape.clone() } else { broadcast(&a.shape, &b.shape)? };
    one(dtype.unwrap_or(a.dtype), shape)
}

pub(super) fn variadic(ctx: &Context) -> Result<Facts> {
    let mut shape: Shape = ctx.input(0)?.shape.clone();
    for value in ctx.inputs.iter().skip(1).flatten() {
        if value.shape != shape {
            shape = broadcast(&shape, &value.shape)?;
        }
    }
    one(ctx.input(0)?.dtype, shape)
}

pub(super) fn select(ctx: &Context) -> Result<Facts> {
    let (condition, a, b) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    one(a.dtype, broadcast(&condition.shape, &broadcast(&a.shape, &b.shape)?)?)
}

pub(super) fn cast(ctx: &Context) -> Result<Facts> {
    let Some(to) = ctx.attributes.get_int("to").and_then(|t| i32::try_from(t).ok()) else {
        return invalid("attribute 'to' is missing");
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
