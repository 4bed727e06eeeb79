//! Normalisations.

use super::{Context, Fact, Facts, Result, axis, dim, invalid};
use crate::model_graph::{DataType, DisplayShape};
use smallvec::smallvec;

/// Channels of input 0, which must be a map or, from `least` dimensions on, less.
fn channels(ctx: &Context, least: usize) -> Result<usize> {
    let shape = &ctx.input(0)?.shape;
    match shape.get(1) {
        Some(&channels) if shape.len() >= least => Ok(channels),
        _ => invalid(format!("input 0 of {} has no channels", DisplayShape(shape))),
    }
}

/// Output 0 is like the input; the others are statistics of each channel.
pub(super) fn batch_norm(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let channels = channels(ctx, 2)?;
    (1..5).try_for_each(|i| ctx.vector(i, channels))?;
    let mut facts = ctx.like_first()?;
    facts.extend((1..ctx.outputs).map(|_| Fact::new(x.dtype, smallvec![channels])));
    Ok(facts)
}

pub(super) fn instance_norm(ctx: &Context) -> Result<Facts> {
    let channels = channels(ctx, 3)?;
    (1..3).try_for_each(|i| ctx.vector(i, channels))?;
    ctx.like_first()
}

/// Factor and shift are the channels' or, up to operator set 20, the groups'.
pub(super) fn group_norm(ctx: &Context) -> Result<Facts> {
    let channels = channels(ctx, 2)?;
    let groups = dim(ctx.attributes.int("num_groups", 0))?;
    if groups == 0 || channels % groups != 0 {
        return invalid(format!("{channels} channels in {groups} groups"));
    }
    let length = ctx.input(1)?.shape.first().copied().unwrap_or(0);
    let length = if length == groups { groups } else { channels };
    (1..3).try_for_each(|i| ctx.vector(i, length))?;
    ctx.like_first()
}

pub(super) fn local_response_norm(ctx: &Context) -> Result<Facts> {
    channels(ctx, 3)?;
    match ctx.attributes.int("size", 0) {
        ..1 => invalid("attribute 'size' is no extent"),
        _ => ctx.like_first(),
    }
}

pub(super) fn mean_variance_norm(ctx: &Context) -> Result<Facts> {
    let rank = ctx.input(0)?.shape.len();
    let axes = ctx.attributes.ints("axes").unwrap_or(&[0, 2, 3]);
    axes.iter().try_for_each(|&a| axis(a, rank).map(drop))?;
    ctx.like_first()
}

/// Output 0 is like the input, then come statistics over the axes from `axis` on.
pub(super) fn layer_norm(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let from = axis(ctx.attributes.int("axis", -1), x.shape.len())?;
    (1..3).try_for_each(|i| ctx.stretches(i))?;
    statistics(ctx, from)
}

fn statistics(ctx: &Context, from: usize) -> Result<Facts> {
    let mut shape = ctx.input(0)?.shape.clone();
    shape.iter_mut().skip(from).for_each(|d| *d = 1);
    let mut facts = ctx.like_first()?;
    facts.extend((1..ctx.outputs).map(|_| Fact::new(DataType::Float, shape.clone())));
    Ok(facts)
}

/// The sum of inputs 0 and 1 is normalised over the last axis, and returned as the last output.
pub(super) fn skip_layer_norm(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    ctx.stretches(1)?;
    let Some(&features) = x.shape.last() else { return invalid("input 0 is a scalar") };
    (2..5).try_for_each(|i| ctx.vector(i, features))?;
    let mut facts = statistics(ctx, x.shape.len() - 1)?;
    if let Some(sum) = facts.get_mut(3) {
        *sum = Fact::new(x.dtype, x.shape.clone());
    }
    Ok(facts)
}
