//! Convolutions and pooling: windows that slide over a map of 1, 2 or 3 spatial dimensions.

use super::{Context, Fact, Facts, Result, dim, invalid, one, signed};
use crate::model_graph::{Attributes, DataType, DisplayShape, OpType, Shape};
use smallvec::{SmallVec, smallvec};
use std::borrow::Cow;

type Ints = SmallVec<[i64; 4]>;

/// What all windows share, one entry per spatial dimension.
struct Windows {
    kernel: Ints,
    stride: Ints,
    dilation: Ints,
    /// Padding before each dimension, then after each.
    pads: Ints,
    auto_pad: AutoPad,
    ceil: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum AutoPad {
    No,
    Same,
    Valid,
}

impl Windows {
    fn new(ctx: &Context, kernel: Ints) -> Result<Self> {
        let rank = kernel.len();
        let list = |name: &str, len: usize, default: i64, least: i64| -> Result<Ints> {
            match ctx.attributes.ints(name) {
                None => Ok(smallvec![default; len]),
                Some(v) if v.len() != len => {
                    invalid(format!("attribute '{name}' has {} entries instead of {len}", v.len()))
                }
                Some(v) => match v.iter().find(|&&x| x < least || x > 1 << 31) {
                    Some(x) => invalid(format!("attribute '{name}' holds {x}")),
                    None => Ok(Ints::from_slice(v)),
                },
            }
        };
        let auto_pad = match ctx.attributes.str("auto_pad") {
            None | Some("NOTSET" | "") => AutoPad::No,
            Some("SAME_UPPER" | "SAME_LOWER") => AutoPad::Same,
            Some("VALID") => AutoPad::Valid,
            Some(other) => return invalid(format!("attribute 'auto_pad' is '{other}'")),
        };
        if let Some(k) = kernel.iter().find(|&&k| !(1..=1 << 31).contains(&k)) {
            return invalid(format!("the kernel has extent {k}"));
        }
        Ok(Self {
            stride: list("strides", rank, 1, 1)?,
            dilation: list("dilations", rank, 1, 1)?,
            pads: list("pads", 2 * rank, 0, 0)?,
            kernel,
            auto_pad,
            ceil: ctx.attributes.int("ceil_mode", 0) != 0,
        })
    }

    /// Extent of spatial dimension `i` after the window has passed over `extent`.
    fn slide(&self, i: usize, extent: usize) -> Result<usize> {
        let (extent, stride) = (signed(extent), self.stride[i]);
        if self.auto_pad == AutoPad::Same {
            return dim(extent.div_euclid(stride) + i64::from(extent.rem_euclid(stride) != 0));
        }
        let pads = match self.auto_pad {
            AutoPad::Valid => (0, 0),
            _ => (self.pads[i], self.pads[i + self.kernel.len()]),
        };
        let reach = (self.kernel[i] - 1).saturating_mul(self.dilation[i]).saturating_add(1);
        let room = extent.saturating_add(pads.0).saturating_add(pads.1).saturating_sub(reach);
        // Rounded up, a window is there as long as it reaches beyond the map by less than a stride.
        let least = if self.ceil { 1 - stride } else { 0 };
        if room < least {
            return invalid(format!(
                "a window of {reach} does not fit into {extent} plus padding {} and {}",
                pads.0, pads.1
            ));
        }
        let mut steps = room / stride;
        if self.ceil && room % stride > 0 {
            steps += 1;
            // A window that would start in the padding after the map does not count.
            if steps * stride >= extent + pads.0 {
                steps -= 1;
            }
        }
        dim(steps + 1)
    }
}

fn kernel_of(ctx: &Context, weight: &[usize]) -> Result<Ints> {
    let kernel: Ints = weight.iter().skip(2).map(|&d| signed(d)).collect();
    match ctx.attributes.ints("kernel_shape") {
        Some(k) if k != kernel.as_slice() => invalid(format!(
            "kernel_shape {k:?} differs from the weight's {}",
            DisplayShape(weight)
        )),
        _ => Ok(kernel),
    }
}

/// Whether a window slides over `[batch, spatial…, channels]` instead of
/// `[batch, channels, spatial…]`.
pub(crate) fn channels_last(op: &OpType, attributes: &Attributes) -> bool {
    matches!(op, OpType::NhwcConv | OpType::NhwcFusedConv | OpType::NhwcMaxPool)
        || attributes.int("channels_last", 0) != 0
}

/// What belongs to the axes of a map with its channels last, in the other order.
pub(crate) fn channels_first<A: smallvec::Array<Item = T>, T>(
    mut axes: SmallVec<A>,
) -> SmallVec<A> {
    if axes.len() > 2 {
        axes[1..].rotate_right(1);
    }
    axes
}

/// The way back.
pub(crate) fn last_again<A: smallvec::Array<Item = T>, T>(mut axes: SmallVec<A>) -> SmallVec<A> {
    if axes.len() > 2 {
        axes[1..].rotate_left(1);
    }
    axes
}

/// The shapes of a convolution's input and weight as ONNX has them: channels come first. Where the
/// map has its channels last, the weight may have too.
pub(crate) fn conv_shapes<'a>(
    op: &OpType,
    attributes: &Attributes,
    x: &'a Shape,
    w: &'a Shape,
) -> (Cow<'a, Shape>, Cow<'a, Shape>) {
    if !channels_last(op, attributes) {
        return (Cow::Borrowed(x), Cow::Borrowed(w));
    }
    let (x, turned) = (channels_first(x.clone()), channels_first(w.clone()));
    let group = usize::try_from(attributes.int("group", 1)).unwrap_or(0);
    let fits = |w: &Shape| {
        let own = w.get(1).and_then(|d| d.checked_mul(group));
        own.is_some() && own == x.get(1).copied()
    };
    let plain = *op != OpType::NhwcConv || !fits(&turned);
    let w = if plain && fits(w) { Cow::Borrowed(w) } else { Cow::Owned(turned) };
    (Cow::Owned(x), w)
}

/// Batch, channels and spatial extents.
fn map(shape: &[usize]) -> Result<(usize, usize, &[usize])> {
    match shape {
        [batch, channels, spatial @ ..] if !spatial.is_empty() => Ok((*batch, *channels, spatial)),
        shape => invalid(format!("input 0 of {} is no map", DisplayShape(shape))),
    }
}

pub(super) fn conv(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let w = ctx.ranked(1, x.shape.len())?;
    let (shape, weight) = conv_shapes(ctx.op, ctx.attributes, &x.shape, &w.shape);
    let (batch, channels, spatial) = map(&shape)?;
    let group = dim(ctx.attributes.int("group", 1))?;
    let fits = weight[1].checked_mul(group) == Some(channels);
    if !fits || group == 0 || weight[0] % group != 0 {
        return invalid(format!(
            "a weight of {} in {group} group(s) does not fit an input of {}",
            DisplayShape(&w.shape),
            DisplayShape(&x.shape)
        ));
    }
    ctx.vector(2, weight[0])?;
    let windows = Windows::new(ctx, kernel_of(ctx, &weight)?)?;
    let mut out: Shape = smallvec![batch, weight[0]];
    for (i, &extent) in spatial.iter().enumerate() {
        out.push(windows.slide(i, extent)?);
    }
    if channels_last(ctx.op, ctx.attributes) {
        out = last_again(out);
    }
    if let Some(sum) = ctx.optional(3)
        && sum.shape != out
    {
        return invalid(format!(
            "a sum with {} of {}",
            DisplayShape(&sum.shape),
            DisplayShape(&out)
        ));
    }
    one(x.dtype, out)
}

pub(super) fn conv_transpose(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let w = ctx.ranked(1, x.shape.len())?;
    let (batch, channels, spatial) = map(&x.shape)?;
    let group = dim(ctx.attributes.int("group", 1))?;
    let fits = w.shape[0] == channels && group > 0 && channels % group.max(1) == 0;
    let Some(filters) = w.shape[1].checked_mul(group).filter(|_| fits) else {
        return invalid(format!(
            "a weight of {} in {group} group(s) does not fit an input of {}",
            DisplayShape(&w.shape),
            DisplayShape(&x.shape)
        ));
    };
    let windows = Windows::new(ctx, kernel_of(ctx, &w.shape)?)?;
    ctx.vector(2, filters)?;
    let output_padding = ctx.attributes.ints("output_padding").unwrap_or(&[]);
    if !output_padding.iter().all(|p| (0..1 << 31).contains(p)) {
        return invalid(format!("attribute 'output_padding' is {output_padding:?}"));
    }
    let output_shape = ctx.attributes.ints("output_shape");
    let mut out: Shape = smallvec![batch, filters];
    for (i, &extent) in spatial.iter().enumerate() {
        if let Some(&d) = output_shape.and_then(|s| s.get(s.len().checked_sub(spatial.len())? + i))
        {
            out.push(dim(d)?);
            continue;
        }
        if windows.auto_pad == AutoPad::Same {
            out.push(dim(signed(extent).saturating_mul(windows.stride[i]))?);
            continue;
        }
        let reach = (windows.kernel[i] - 1).saturating_mul(windows.dilation[i]).saturating_add(1);
        let full = signed(extent)
            .saturating_sub(1)
            .saturating_mul(windows.stride[i])
            .saturating_add(reach)
            .saturating_add(output_padding.get(i).copied().unwrap_or(0));
        let pads = windows.pads[i].saturating_add(windows.pads[i + windows.kernel.len()]);
        out.push(dim(full.saturating_sub(pads))?);
    }
    one(x.dtype, out)
}

pub(super) fn pool(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let Some(kernel) = ctx.attributes.ints("kernel_shape") else {
        return invalid("attribute 'kernel_shape' is missing");
    };
    if x.shape.len() != kernel.len() + 2 || kernel.is_empty() {
        return invalid(format!(
            "a kernel of {kernel:?} on an input of {}",
            DisplayShape(&x.shape)
        ));
    }
    let windows = Windows::new(ctx, Ints::from_slice(kernel))?;
    let last = channels_last(ctx.op, ctx.attributes);
    let shape = if last { channels_first(x.shape.clone()) } else { x.shape.clone() };
    let mut out: Shape = shape.iter().copied().take(2).collect();
    for (i, &extent) in shape.iter().skip(2).enumerate() {
        out.push(windows.slide(i, extent)?);
    }
    if last {
        out = last_again(out);
    }
    // MaxPool may also return where the maxima were.
    let indices = (ctx.outputs > 1).then(|| Fact::new(DataType::Int64, out.clone()));
    let mut facts = one(x.dtype, out)?;
    facts.extend(indices);
    Ok(facts)
}

pub(super) fn global_pool(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    map(&x.shape)?;
    let channels = if channels_last(ctx.op, ctx.attributes) { x.shape.len() - 1 } else { 1 };
    let kept = |(i, &d): (usize, &usize)| if i == 0 || i == channels { d } else { 1 };
    one(x.dtype, x.shape.iter().enumerate().map(kept).collect())
}

pub(super) fn grid_sample(ctx: &Context) -> Result<Facts> {
    let (x, grid) = (ctx.input(0)?, ctx.input(1)?);
    let coordinates = grid.shape.last().copied();
    if x.shape.len() < 3
        || grid.shape.len() != x.shape.len()
        || coordinates != Some(x.shape.len() - 2)
    {
        return invalid(format!(
            "a grid of {} on a map of {}",
            DisplayShape(&grid.shape),
            DisplayShape(&x.shape)
        ));
    }
    let spatial = &grid.shape[1..grid.shape.len() - 1];
    one(x.dtype, x.shape[..2].iter().chain(spatial).copied().collect())
}

pub(super) fn roi_align(ctx: &Context) -> Result<Facts> {
    let (x, rois) = (ctx.ranked(0, 4)?, ctx.ranked(1, 2)?);
    if rois.shape[1] != 4 {
        return invalid(format!("regions of {}", DisplayShape(&rois.shape)));
    }
    let height = dim(ctx.attributes.int("output_height", 1))?;
    let width = dim(ctx.attributes.int("output_width", 1))?;
    if height == 0 || width == 0 {
        return invalid(format!("regions are made {height}x{width}"));
    }
    one(x.dtype, smallvec![rois.shape[0], x.shape[1], height, width])
}

/// A convolution whose window reads at computed offsets: inputs are map, weight, offset, bias and
/// mask.
pub(super) fn deform_conv(ctx: &Context) -> Result<Facts> {
    let (x, offset) = (ctx.ranked(0, 4)?, ctx.ranked(2, 4)?);
    let inputs = [ctx.optional(0), ctx.optional(1), ctx.optional(3)];
    let facts = conv(&Context { op: &OpType::Conv, inputs: &inputs, ..*ctx })?;
    let groups = dim(ctx.attributes.int("offset_group", 1))?;
    let points = groups.checked_mul(super::product(&ctx.input(1)?.shape[2..])?);
    let map = facts.first().map_or(&[][..], |f| &f.shape[2..]);
    let fits = |value: &crate::model_graph::Value, per_point: usize| {
        let channels = points.and_then(|p| p.checked_mul(per_point));
        value.shape.len() == 4
            && value.shape[0] == x.shape[0]
            && Some(value.shape[1]) == channels
            && value.shape[2..] == *map
    };
    let masked = ctx.optional(4).is_none_or(|mask| fits(mask, 1));
    if groups == 0 || x.shape[1] % groups != 0 || !fits(offset, 2) || !masked {
        return invalid(format!("an offset of {}", DisplayShape(&offset.shape)));
    }
    Ok(facts)
}

/// Puts maxima back where they were.
pub(super) fn max_unpool(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    if ctx.input(1)?.shape != x.shape {
        return invalid("as many places as maxima are needed");
    }
    let (batch, channels, spatial) = map(&x.shape)?;
    let Some(kernel) = ctx.attributes.ints("kernel_shape").filter(|k| k.len() == spatial.len())
    else {
        return invalid("attribute 'kernel_shape' does not fit");
    };
    if let Some(sizes) = ctx.ints(2)? {
        return match sizes.len() == x.shape.len() {
            true => one(x.dtype, sizes.iter().map(|&d| dim(d)).collect::<Result<_>>()?),
            false => invalid(format!("an output of {} dimensions", sizes.len())),
        };
    }
    let windows = Windows::new(ctx, Ints::from_slice(kernel))?;
    let mut out: Shape = smallvec![batch, channels];
    for (i, &extent) in spatial.iter().enumerate() {
        let pads = windows.pads[i].saturating_add(windows.pads[i + kernel.len()]);
        let steps = signed(extent).saturating_sub(1).saturating_mul(windows.stride[i]);
        out.push(dim(steps.saturating_add(windows.kernel[i]).saturating_sub(pads))?);
    }
    one(x.dtype, out)
}

pub(super) fn max_roi_pool(ctx: &Context) -> Result<Facts> {
    let (x, rois) = (ctx.ranked(0, 4)?, ctx.ranked(1, 2)?);
    match ctx.attributes.ints("pooled_shape") {
        Some(&[height, width]) if height > 0 && width > 0 && rois.shape[1] == 5 => {
            one(x.dtype, smallvec![rois.shape[0], x.shape[1], dim(height)?, dim(width)?])
        }
        _ => invalid("attribute 'pooled_shape' does not fit"),
    }
}
