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

/// Group normalisation of ONNX Runtime, whose channels are last unless it says otherwise, with a
/// sum before it in one of its forms. The second output is that sum.
pub(super) fn ms_group_norm(ctx: &Context) -> Result<Facts> {
    let x = ctx.ranked(0, 4)?;
    let last = ctx.attributes.int("channels_last", 1) != 0;
    let channels = x.shape[if last { 3 } else { 1 }];
    let groups = dim(ctx.attributes.int("groups", 0))?;
    if groups == 0 || channels % groups != 0 {
        return invalid(format!("{channels} channels in {groups} groups"));
    }
    (1..3).try_for_each(|i| ctx.vector(i, channels))?;
    ctx.vector(4, channels)?;
    if let Some(skip) = ctx.optional(3) {
        // One value for each channel of each element of the batch will do.
        let fits = skip.shape.first() == x.shape.first()
            && [skip.shape.last(), skip.shape.get(1)].contains(&Some(&channels));
        if !fits {
            return invalid(format!("a sum with {}", DisplayShape(&skip.shape)));
        }
    }
    let mut facts = ctx.like_first()?;
    facts.extend((1..ctx.outputs).map(|_| Fact::new(x.dtype, x.shape.clone())));
    Ok(facts)
}

/// Embeddings of words, positions and, where there are any, segments, summed and normalised. The
/// second output is the length of each text, the third the sum.
pub(super) fn embed_layer_norm(ctx: &Context) -> Result<Facts> {
    let (ids, words) = (ctx.ranked(0, 2)?, ctx.ranked(2, 2)?);
    let features = words.shape[1];
    for table in [3, 4].into_iter().filter(|&i| ctx.optional(i).is_some()) {
        let table = ctx.ranked(table, 2)?;
        if table.shape[1] != features {
            return invalid(format!("a table of {}", DisplayShape(&table.shape)));
        }
    }
    ctx.input(3)?;
    (5..7).try_for_each(|i| ctx.vector(i, features))?;
    if let Some(segments) = ctx.optional(1)
        && (segments.shape != ids.shape || ctx.optional(4).is_none())
    {
        return invalid(format!("segments of {}", DisplayShape(&segments.shape)));
    }
    let (batch, tokens) = (ids.shape[0], ids.shape[1]);
    let sum = Fact::new(words.dtype, smallvec![batch, tokens, features]);
    let mut facts: Facts =
        smallvec![sum.clone(), Fact::new(DataType::Int32, smallvec![batch]), sum];
    facts.truncate(ctx.outputs.max(1));
    Ok(facts)
}
