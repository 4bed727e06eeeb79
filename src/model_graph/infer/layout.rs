//! Operators that rearrange, cut or extend a tensor.

use super::{
    Context, Fact, Facts, InferError, Result, axis, broadcast, dim, invalid, one, product, signed,
};
use crate::model_graph::{Attribute, DisplayShape, OpType, Shape, TensorData};
use smallvec::{SmallVec, smallvec};

pub(super) fn concat(ctx: &Context) -> Result<Facts> {
    let first = ctx.input(0)?;
    let along = axis(ctx.attributes.int("axis", 1), first.shape.len())?;
    let mut out = first.shape.clone();
    for (i, value) in ctx.inputs.iter().enumerate().skip(1) {
        let shape = value.map_or(&[][..], |v| &v.shape);
        let fits = shape.len() == out.len()
            && shape.iter().zip(&out).enumerate().all(|(a, (x, y))| a == along || x == y);
        let total = if fits { out[along].checked_add(shape[along]) } else { None };
        let Some(total) = total else {
            return invalid(format!(
                "input {i} of {} cannot be concatenated with {} along axis {along}",
                DisplayShape(shape),
                DisplayShape(&first.shape)
            ));
        };
        out[along] = total;
    }
    one(first.dtype, out)
}

/// Axis and sizes of a Split's pieces.
pub(crate) fn split_sizes(ctx: &Context) -> Result<(usize, Vec<usize>)> {
    let along = split_axis(ctx)?;
    let extent = ctx.input(0)?.shape[along];
    let sizes: Vec<usize> = match ctx.ints_either("split", 1)? {
        Some(list) => list.iter().map(|&s| dim(s)).collect::<Result<_>>()?,
        None => {
            let pieces = match ctx.attributes.get_int("num_outputs") {
                Some(n) => dim(n)?,
                None => ctx.outputs,
            };
            if pieces == 0 || pieces > extent.max(1) || pieces != ctx.outputs {
                return invalid(format!("{extent} cannot be split into {pieces} pieces"));
            }
            let piece = extent.div_ceil(pieces);
            (0..pieces).map(|i| piece.min(extent.saturating_sub(i * piece))).collect()
        }
    };
    let total = sizes.iter().try_fold(0usize, |sum, &s| sum.checked_add(s));
    if total != Some(extent) || sizes.len() != ctx.outputs {
        return invalid(format!(
            "{extent} cannot be split into {} pieces of {sizes:?}",
            ctx.outputs
        ));
    }
    Ok((along, sizes))
}

/// The axis that a Split goes along.
pub(super) fn split_axis(ctx: &Context) -> Result<usize> {
    axis(ctx.attributes.int("axis", 0), ctx.input(0)?.shape.len())
}

pub(super) fn split(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let (along, sizes) = split_sizes(ctx)?;
    let piece = |size| {
        let mut shape = x.shape.clone();
        shape[along] = size;
        Fact::new(x.dtype, shape)
    };
    Ok(sizes.into_iter().take(ctx.outputs).map(piece).collect())
}

/// First index, step and number of elements that a Slice takes along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub start: i64,
    pub step: i64,
    pub count: usize,
}

/// What a Slice takes along every axis.
pub(crate) fn slice_ranges(ctx: &Context) -> Result<SmallVec<[Range; 5]>> {
    let x = ctx.input(0)?;
    let mut ranges: SmallVec<[Range; 5]> =
        x.shape.iter().map(|&d| Range { start: 0, step: 1, count: d }).collect();
    let (Some(starts), Some(ends)) = (ctx.ints_either("starts", 1)?, ctx.ints_either("ends", 2)?)
    else {
        return invalid("starts or ends are missing");
    };
    let axes = ctx.ints_either("axes", 3)?;
    let steps = ctx.ints(4)?;
    let expected = [Some(ends.len()), axes.map(<[_]>::len), steps.map(<[_]>::len)];
    if expected.iter().flatten().any(|&n| n != starts.len()) || starts.len() > x.shape.len() {
        return invalid("starts, ends, axes and steps differ in length");
    }
    let mut seen: SmallVec<[bool; 5]> = smallvec![false; x.shape.len()];
    for i in 0..starts.len() {
        let along = axis(axes.map_or(signed(i), |a| a[i]), x.shape.len())?;
        if std::mem::replace(&mut seen[along], true) {
            return invalid(format!("axis {along} is cut twice"));
        }
        let step = steps.map_or(1, |s| s[i]);
        if step == 0 {
            return invalid("a step of 0");
        }
        let extent = signed(x.shape[along]);
        // Indices count from the end when negative; then they are clamped to what a walk in the
        // step's direction can visit.
        let (low, high) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
        let wrap = |v: i64| if v < 0 { v.saturating_add(extent) } else { v }.clamp(low, high);
        let (start, end) = (wrap(starts[i]), wrap(ends[i]));
        let span = if step > 0 { end - start } else { start - end };
        let stride = step.unsigned_abs();
        let count = u64::try_from(span).unwrap_or(0).div_ceil(stride);
        ranges[along] = Range { start, step, count: usize::try_from(count).unwrap_or(0) };
    }
    Ok(ranges)
}

pub(super) fn slice(ctx: &Context) -> Result<Facts> {
    one(ctx.input(0)?.dtype, slice_ranges(ctx)?.iter().map(|r| r.count).collect())
}

pub(super) fn reshape(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let Some(target) = ctx.ints_either("shape", 1)? else {
        return invalid("the target shape is missing");
    };
    let total = product(&x.shape)?;
    let allow_zero = ctx.attributes.int("allowzero", 0) != 0;
    let mut out = Shape::new();
    let mut free = None;
    for (i, &d) in target.iter().enumerate() {
        out.push(match d {
            0 if !allow_zero => match x.shape.get(i) {
                Some(&kept) => kept,
                None => return invalid(format!("target {target:?} keeps dimension {i} of none")),
            },
            -1 if free.is_none() => {
                free = Some(i);
                1
            }
            d => dim(d)?,
        });
    }
    let rest = product(&out)?;
    if let Some(i) = free {
        if rest == 0 || total % rest != 0 {
            return invalid(format!("{} cannot be reshaped to {target:?}", DisplayShape(&x.shape)));
        }
        out[i] = total / rest;
    } else if rest != total {
        return invalid(format!("{} cannot be reshaped to {target:?}", DisplayShape(&x.shape)));
    }
    one(x.dtype, out)
}

pub(super) fn flatten(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let at = match ctx.attributes.int("axis", 1) {
        a if a == signed(x.shape.len()) => x.shape.len(),
        a => axis(a, x.shape.len())?,
    };
    one(x.dtype, smallvec![product(&x.shape[..at])?, product(&x.shape[at..])?])
}

/// Where each axis of a Transpose's output comes from.
pub(crate) fn permutation(ctx: &Context) -> Result<SmallVec<[usize; 5]>> {
    let rank = ctx.input(0)?.shape.len();
    let Some(perm) = ctx.attributes.ints("perm") else { return Ok((0..rank).rev().collect()) };
    let axes: SmallVec<[usize; 5]> = perm.iter().map(|&a| axis(a, rank)).collect::<Result<_>>()?;
    if axes.len() != rank || (0..rank).any(|a| !axes.contains(&a)) {
        return invalid(format!("{perm:?} is no permutation of {rank} axes"));
    }
    Ok(axes)
}

pub(super) fn transpose(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    one(x.dtype, permutation(ctx)?.iter().map(|&a| x.shape[a]).collect())
}

pub(super) fn squeeze(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let axes: SmallVec<[usize; 5]> = match ctx.ints_either("axes", 1)? {
        Some(list) => list.iter().map(|&a| axis(a, x.shape.len())).collect::<Result<_>>()?,
        None => (0..x.shape.len()).filter(|&a| x.shape[a] == 1).collect(),
    };
    if let Some(&a) = axes.iter().find(|&&a| x.shape[a] != 1) {
        return invalid(format!("axis {a} of {} is not 1", DisplayShape(&x.shape)));
    }
    let kept = x.shape.iter().enumerate().filter(|(a, _)| !axes.contains(a));
    one(x.dtype, kept.map(|(_, &d)| d).collect())
}

pub(super) fn unsqueeze(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let Some(list) = ctx.ints_either("axes", 1)? else { return invalid("the axes are missing") };
    let rank = x.shape.len().saturating_add(list.len());
    if rank > super::MAX_RANK {
        return invalid(format!("{} more axes", list.len()));
    }
    let axes: SmallVec<[usize; 5]> = list.iter().map(|&a| axis(a, rank)).collect::<Result<_>>()?;
    let mut dims = x.shape.iter();
    let out: Shape = (0..rank)
        .map(|a| if axes.contains(&a) { Some(1) } else { dims.next().copied() })
        .collect::<Option<_>>()
        .unwrap_or_default();
    if dims.next().is_some() || out.len() != rank {
        return invalid(format!("axes {list:?} name one axis twice"));
    }
    one(x.dtype, out)
}

pub(super) fn expand(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let Some(target) = ctx.ints(1)? else { return invalid("the target shape is missing") };
    let target: Shape = target.iter().map(|&d| dim(d)).collect::<Result<_>>()?;
    match broadcast(&x.shape, &target) {
        // PyTorch's TorchScript exporter writes a wrong target for `token.expand(batch, -1, -1)`
        // when it shares constants (timm's vit_*_rope_mixed_*). What was meant is clear for a
        // token, stored or given, and nothing else is: the -1 keep its extents.
        Err(_)
            if x.producer.is_none() && target.len() == x.shape.len() && target[0] == x.shape[0] =>
        {
            ctx.like_first()
        }
        other => one(x.dtype, other?),
    }
}

pub(super) fn tile(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let Some(repeats) = ctx.ints(1)? else { return invalid("the repeats are missing") };
    if repeats.len() != x.shape.len() {
        return invalid(format!("repeats {repeats:?} of {}", DisplayShape(&x.shape)));
    }
    let out = x.shape.iter().zip(repeats).map(|(&d, &r)| dim(signed(d).saturating_mul(r)));
    one(x.dtype, out.collect::<Result<_>>()?)
}

/// Padding before every axis, then after every axis.
pub(crate) fn pads(ctx: &Context) -> Result<SmallVec<[i64; 8]>> {
    let rank = ctx.input(0)?.shape.len();
    let list = match ctx.attributes.ints("paddings").or(ctx.attributes.ints("pads")) {
        Some(list) => list,
        None => match ctx.ints(1)? {
            Some(list) => list,
            None => return invalid("the padding is missing"),
        },
    };
    let axes: SmallVec<[usize; 5]> = match ctx.ints(3)? {
        Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<_>>()?,
        None => (0..rank).collect(),
    };
    if list.len() != 2 * axes.len() {
        return invalid(format!("padding {list:?} for {} axes", axes.len()));
    }
    let mut all: SmallVec<[i64; 8]> = smallvec![0; 2 * rank];
    for (i, &a) in axes.iter().enumerate() {
        all[a] = list[i];
        all[rank + a] = list[axes.len() + i];
    }
    Ok(all)
}

pub(super) fn pad(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let pads = pads(ctx)?;
    let rank = x.shape.len();
    let out = x
        .shape
        .iter()
        .enumerate()
        .map(|(i, &d)| dim(signed(d).saturating_add(pads[i]).saturating_add(pads[rank + i])));
    one(x.dtype, out.collect::<Result<_>>()?)
}

pub(super) fn depth_space(ctx: &Context) -> Result<Facts> {
    let x = ctx.ranked(0, 4)?;
    let block = dim(ctx.attributes.int("blocksize", 0))?;
    let area = block.checked_mul(block).filter(|&a| a > 0);
    let &[n, c, h, w] = x.shape.as_slice() else { return invalid("needs 4 dimensions") };
    let out: Option<Shape> = area.and_then(|area| {
        if *ctx.op == OpType::DepthToSpace {
            (c % area == 0).then_some(())?;
            Some(smallvec![n, c / area, h.checked_mul(block)?, w.checked_mul(block)?])
        } else {
            (h % block == 0 && w % block == 0).then_some(())?;
            Some(smallvec![n, c.checked_mul(area)?, h / block, w / block])
        }
    });
    match out {
        Some(shape) => one(x.dtype, shape),
        None => invalid(format!("blocks of {block} do not fit {}", DisplayShape(&x.shape))),
    }
}

pub(super) fn resize(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let rank = x.shape.len();
    let axes: SmallVec<[usize; 5]> = match ctx.attributes.ints("axes") {
        Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<_>>()?,
        None => (0..rank).collect(),
    };
    // Operator sets 7 to 10 have the scales as an attribute or as input 1; later ones as input 2,
    // or sizes as input 3.
    let given = |v: &&crate::model_graph::Value| !v.shape.contains(&0);
    let from = if *ctx.op == OpType::Upsample || ctx.opset < 11 { 1 } else { 2 };
    let scales: Option<Vec<f64>> = match ctx.attributes.get("scales") {
        Some(Attribute::Floats(list)) => Some(list.iter().map(|&s| f64::from(s)).collect()),
        _ => match ctx.optional(from).filter(given).map(|v| v.data()) {
            Some(Some(TensorData::Floats(list))) => Some(list.clone()),
            Some(_) => {
                return Err(InferError::DataDependent("the scales are not known".into()));
            }
            None => None,
        },
    };
    let mut out = x.shape.clone();
    let per_axis = |n: usize| match n == axes.len() {
        true => Ok(()),
        false => invalid(format!("{n} scales or sizes for {} axes", axes.len())),
    };
    if let Some(scales) = scales {
        if ctx.opset >= 11 && ctx.optional(3).is_some_and(|sizes| given(&sizes)) {
            return invalid("both scales and sizes are given");
        }
        per_axis(scales.len())?;
        for (&a, scale) in axes.iter().zip(scales) {
            let extent = (x.shape[a] as f64 * scale).floor();
            if !(0.0..=super::MAX_ELEMENTS as f64).contains(&extent) {
                return invalid(format!("a scale of {scale}"));
            }
            out[a] = extent as usize;
        }
        return one(x.dtype, out);
    }
    let Some(sizes) = (if ctx.opset < 11 { None } else { ctx.ints(3)? }) else {
        return invalid("neither scales nor sizes are given");
    };
    per_axis(sizes.len())?;
    let policy = ctx.attributes.str("keep_aspect_ratio_policy").unwrap_or("stretch");
    let ratios = axes.iter().zip(sizes).map(|(&a, &s)| s as f64 / x.shape[a].max(1) as f64);
    let ratio = match policy {
        "stretch" => None,
        "not_larger" => ratios.reduce(f64::min),
        "not_smaller" => ratios.reduce(f64::max),
        other => return invalid(format!("keep_aspect_ratio_policy is '{other}'")),
    };
    for (&a, &size) in axes.iter().zip(sizes) {
        out[a] = match ratio {
            None => dim(size)?,
            Some(r) => (x.shape[a] as f64 * r).round().clamp(0.0, 1e12) as usize,
        };
    }
    one(x.dtype, out)
}

pub(super) fn center_crop_pad(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let Some(sizes) = ctx.ints(1)? else { return invalid("the target shape is missing") };
    let axes: SmallVec<[usize; 5]> = match ctx.attributes.ints("axes") {
        Some(axes) => axes.iter().map(|&a| axis(a, x.shape.len())).collect::<Result<_>>()?,
        None => (0..x.shape.len()).collect(),
    };
    if sizes.len() != axes.len() {
        return invalid(format!("{} sizes for {} axes", sizes.len(), axes.len()));
    }
    let mut out = x.shape.clone();
    for (&a, &size) in axes.iter().zip(sizes) {
        out[a] = dim(size)?;
    }
    one(x.dtype, out)
}

/// Puts blocks, `[batch, channels * block, blocks]`, together to an image.
pub(super) fn col2im(ctx: &Context) -> Result<Facts> {
    let x = ctx.ranked(0, 3)?;
    let (Some(image), Some(block)) = (ctx.ints(1)?, ctx.ints(2)?) else {
        return invalid("the image's or the block's shape is missing");
    };
    let sizes = |list: &[i64]| list.iter().map(|&d| dim(d)).collect::<Result<Shape>>();
    let (image, block) = (sizes(image)?, sizes(block)?);
    let area = product(&block)?;
    if image.len() != block.len() || image.is_empty() || area == 0 || x.shape[1] % area != 0 {
        return invalid(format!(
            "blocks of {} do not fit {}",
            DisplayShape(&block),
            DisplayShape(&x.shape)
        ));
    }
    one(x.dtype, [x.shape[0], x.shape[1] / area].into_iter().chain(image).collect())
}
