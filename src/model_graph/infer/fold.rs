//! Elements of constant outputs, for the operators that shape arithmetic is made of.
//!
//! Folding never fails: where elements cannot be told, a constant just has none.

use super::{Context, Fact, axis, layout, reduce};
use crate::model_graph::{Attribute, DataType, OpType, TensorData, Value};
use smallvec::{SmallVec, smallvec};

type Index = SmallVec<[usize; 5]>;

/// Elements of an output whose type and shape are `fact`; of a Split, the one that begins at position
/// `start` along the axis.
pub(super) fn fold(ctx: &Context, start: usize, fact: &Fact) -> Option<TensorData> {
    use OpType::*;
    match ctx.op {
        Identity | Reshape | Flatten | Squeeze | Unsqueeze | Dropout => data(ctx, 0).cloned(),
        Cast | CastLike => cast(data(ctx, 0)?, fact.dtype),
        ConstantOfShape => constant_of_shape(ctx, fact),
        Range => range(ctx, fact),
        EyeLike => Some(build(&fact.shape, |i| {
            i64::from(i[1] as i64 == ctx.attributes.int("k", 0).saturating_add(i[0] as i64))
        })),
        Gather => gather(ctx, fact),
        Slice => slice(ctx, fact),
        Split => split(ctx, start, fact),
        Concat => concat(ctx, fact),
        Transpose => {
            let perm = layout::permutation(ctx).ok()?;
            let x = ctx.input(0).ok()?;
            pick(x, &fact.shape, |out| {
                let mut index: Index = smallvec![0; out.len()];
                perm.iter().zip(out).for_each(|(&from, &i)| index[from] = i);
                index
            })
        }
        Expand | Tile => {
            let x = ctx.input(0).ok()?;
            // The shape may be what the file declares.
            let skip = fact.shape.len().checked_sub(x.shape.len())?;
            pick(x, &fact.shape, |out| {
                out[skip..].iter().zip(&x.shape).map(|(&i, &d)| i % d.max(1)).collect()
            })
        }
        Abs | Neg | Floor | Ceil | Round | Sqrt | Reciprocal | Sign | Not | Exp | Log => unary(ctx),
        Add | Sub | Mul | Div | Mod | Pow | Equal | Less | LessOrEqual | Greater
        | GreaterOrEqual | And | Or | Xor | Max | Min => {
            let mut acc = data(ctx, 0)?.clone();
            let mut shape = ctx.input(0).ok()?.shape.clone();
            for value in ctx.inputs.iter().skip(1).flatten() {
                let wide = super::broadcast(&shape, &value.shape).ok()?;
                acc = zip(ctx.op, (&acc, &shape), (value.data()?, &value.shape), &wide)?;
                shape = wide;
            }
            Some(acc)
        }
        Clip => clip(ctx),
        Where => {
            let (c, a, b) = (ctx.input(0).ok()?, ctx.input(1).ok()?, ctx.input(2).ok()?);
            let (c, a, b) = (spread(c, fact)?, spread(a, fact)?, spread(b, fact)?);
            let choose = |i| if c.get_f64(i) == Some(0.0) { &b } else { &a };
            match (&a, &b) {
                (TensorData::Ints(_), TensorData::Ints(_)) => Some(TensorData::Ints(
                    (0..c.len()).map(|i| choose(i).ints().map(|v| v[i])).collect::<Option<_>>()?,
                )),
                _ => Some(TensorData::Floats(
                    (0..c.len()).map(|i| choose(i).get_f64(i)).collect::<Option<_>>()?,
                )),
            }
        }
        ReduceProd | ReduceSum | ReduceMax | ReduceMin => reduction(ctx, fact),
        NonZero => non_zero(ctx),
        _ => None,
    }
}

fn data<'a>(ctx: &Context<'a>, index: usize) -> Option<&'a TensorData> {
    ctx.optional(index)?.data()
}

/// Elements that are integers iff the type is not floating-point.
fn cast(x: &TensorData, to: DataType) -> Option<TensorData> {
    Some(match (x, to.is_float()) {
        (TensorData::Ints(v), true) => TensorData::Floats(v.iter().map(|&i| i as f64).collect()),
        (TensorData::Floats(v), false) if to == DataType::Bool => {
            TensorData::Ints(v.iter().map(|&f| i64::from(f != 0.0)).collect())
        }
        (TensorData::Floats(v), false) => {
            TensorData::Ints(v.iter().map(|&f| f.trunc() as i64).collect())
        }
        (TensorData::Ints(v), false) if to == DataType::Bool => {
            TensorData::Ints(v.iter().map(|&i| i64::from(i != 0)).collect())
        }
        (same, _) => same.clone(),
    })
}

/// Row-major position of an index.
fn offset(index: &[usize], shape: &[usize]) -> usize {
    index.iter().zip(shape).fold(0, |at, (&i, &d)| at * d + i)
}

/// Calls `f` with every index of `shape` in row-major order. Shapes folded here are small.
fn each(shape: &[usize], mut f: impl FnMut(&Index)) {
    if shape.contains(&0) {
        return;
    }
    let mut index: Index = smallvec![0; shape.len()];
    loop {
        f(&index);
        let mut at = shape.len();
        loop {
            if at == 0 {
                return;
            }
            at -= 1;
            index[at] += 1;
            if index[at] < shape[at] {
                break;
            }
            index[at] = 0;
        }
    }
}

fn build(shape: &[usize], element: impl Fn(&Index) -> i64) -> TensorData {
    let mut out = Vec::new();
    each(shape, |i| out.push(element(i)));
    TensorData::Ints(out)
}

/// Elements of `x` at the places that `source` gives for every index of `shape`.
fn pick(x: &Value, shape: &[usize], source: impl Fn(&Index) -> Index) -> Option<TensorData> {
    let mut at = Vec::new();
    each(shape, |i| at.push(offset(&source(i), &x.shape)));
    take(x.data()?, &at)
}

fn take(x: &TensorData, at: &[usize]) -> Option<TensorData> {
    Some(match x {
        TensorData::Ints(v) => {
            TensorData::Ints(at.iter().map(|&i| v.get(i).copied()).collect::<Option<_>>()?)
        }
        TensorData::Floats(v) => {
            TensorData::Floats(at.iter().map(|&i| v.get(i).copied()).collect::<Option<_>>()?)
        }
    })
}

/// Elements of `x` broadcast to the output's shape.
fn spread(x: &Value, fact: &Fact) -> Option<TensorData> {
    let places = broadcast_places(&x.shape, &fact.shape);
    take(x.data()?, &places)
}

fn broadcast_places(from: &[usize], to: &[usize]) -> Vec<usize> {
    let skip = to.len() - from.len();
    let mut at = Vec::new();
    each(to, |index| {
        let source: Index =
            index[skip..].iter().zip(from).map(|(&i, &d)| if d == 1 { 0 } else { i }).collect();
        at.push(offset(&source, from));
    });
    at
}

fn constant_of_shape(ctx: &Context, fact: &Fact) -> Option<TensorData> {
    let count = fact.shape.iter().product();
    Some(match ctx.attributes.get("value") {
        None => TensorData::Floats(vec![0.0; count]),
        Some(Attribute::Tensor { data: Some(TensorData::Ints(v)), .. }) => {
            TensorData::Ints(vec![*v.first()?; count])
        }
        Some(Attribute::Tensor { data: Some(TensorData::Floats(v)), .. }) => {
            TensorData::Floats(vec![*v.first()?; count])
        }
        Some(_) => return None,
    })
}

fn range(ctx: &Context, fact: &Fact) -> Option<TensorData> {
    let count = *fact.shape.first()?;
    Some(match (data(ctx, 0)?, data(ctx, 2)?) {
        (TensorData::Ints(start), TensorData::Ints(delta)) => {
            let (start, delta) = (*start.first()?, *delta.first()?);
            let at = |i: usize| start.checked_add(delta.checked_mul(i64::try_from(i).ok()?)?);
            TensorData::Ints((0..count).map(at).collect::<Option<_>>()?)
        }
        (start, delta) => {
            let (start, delta) = (start.get_f64(0)?, delta.get_f64(0)?);
            TensorData::Floats((0..count).map(|i| start + delta * i as f64).collect())
        }
    })
}

fn gather(ctx: &Context, fact: &Fact) -> Option<TensorData> {
    let (x, indices) = (ctx.input(0).ok()?, ctx.input(1).ok()?);
    let along = axis(ctx.attributes.int("axis", 0), x.shape.len()).ok()?;
    let extent = i64::try_from(x.shape[along]).ok()?;
    let picks: Vec<usize> = indices
        .data()?
        .ints()?
        .iter()
        .map(|&i| usize::try_from(if i < 0 { i + extent } else { i }).ok())
        .map(|i| i.filter(|&i| i < x.shape[along]))
        .collect::<Option<_>>()?;
    let inner = along + indices.shape.len();
    pick(x, &fact.shape, |out| {
        let mut index = Index::from_slice(&out[..along]);
        index.push(picks[offset(&out[along..inner], &indices.shape)]);
        index.extend_from_slice(&out[inner..]);
        index
    })
}

fn slice(ctx: &Context, fact: &Fact) -> Option<TensorData> {
    let ranges = layout::slice_ranges(ctx).ok()?;
    pick(ctx.input(0).ok()?, &fact.shape, |out| {
        out.iter().zip(&ranges).map(|(&i, r)| (r.start + i as i64 * r.step) as usize).collect()
    })
}

fn split(ctx: &Context, start: usize, fact: &Fact) -> Option<TensorData> {
    let along = layout::split_axis(ctx).ok()?;
    pick(ctx.input(0).ok()?, &fact.shape, |out| {
        let mut index = out.clone();
        index[along] += start;
        index
    })
}

fn concat(ctx: &Context, fact: &Fact) -> Option<TensorData> {
    let along = axis(ctx.attributes.int("axis", 1), fact.shape.len()).ok()?;
    let parts: Vec<(&Value, &TensorData)> =
        ctx.inputs.iter().flatten().map(|v| Some((*v, v.data()?))).collect::<Option<_>>()?;
    let floats = parts.iter().any(|(_, d)| d.ints().is_none());
    let inner: usize = fact.shape[along + 1..].iter().product();
    let mut parts: Vec<(usize, &TensorData)> =
        parts.iter().map(|(value, data)| (value.shape[along] * inner, *data)).collect();
    parts.retain(|(width, _)| *width > 0);
    let outer = if parts.is_empty() { 0 } else { fact.shape[..along].iter().product() };
    let (mut out_i, mut out_f) = (Vec::new(), Vec::new());
    for row in 0..outer {
        for (width, data) in &parts {
            for at in row * width..(row + 1) * width {
                match data.ints() {
                    Some(v) if !floats => out_i.extend(v.get(at)),
                    _ => out_f.extend(data.get_f64(at)),
                }
            }
        }
    }
    Some(if floats { TensorData::Floats(out_f) } else { TensorData::Ints(out_i) })
}

fn unary(ctx: &Context) -> Option<TensorData> {
    use OpType::*;
    let x = data(ctx, 0)?;
    if let (TensorData::Ints(v), Abs | Neg | Sign | Not) = (x, ctx.op) {
        let f = |&i: &i64| match ctx.op {
            Abs => i.checked_abs(),
            Neg => i.checked_neg(),
            Sign => Some(i.signum()),
            _ => Some(i64::from(i == 0)),
        };
        return Some(TensorData::Ints(v.iter().map(f).collect::<Option<_>>()?));
    }
    let f = |x: f64| match ctx.op {
        Abs => x.abs(),
        Neg => -x,
        Floor => x.floor(),
        Ceil => x.ceil(),
        Round => x.round_ties_even(),
        Sqrt => x.sqrt(),
        Reciprocal => x.recip(),
        Exp => x.exp(),
        Log => x.ln(),
        _ => x.signum(),
    };
    Some(TensorData::Floats((0..x.len()).map(|i| x.get_f64(i).map(f)).collect::<Option<_>>()?))
}

fn clip(ctx: &Context) -> Option<TensorData> {
    let bound = |name: &str, i: usize| match ctx.optional(i) {
        Some(value) => value.data()?.get_f64(0).map(Some),
        None => Some(match ctx.attributes.get(name) {
            Some(Attribute::Float(x)) => Some(f64::from(*x)),
            _ => None,
        }),
    };
    let (low, high) = (bound("min", 1)?, bound("max", 2)?);
    let clipped = |x: f64| {
        let x = low.map_or(x, |l| x.max(l));
        high.map_or(x, |h| x.min(h))
    };
    Some(match data(ctx, 0)? {
        TensorData::Floats(v) => TensorData::Floats(v.iter().map(|&x| clipped(x)).collect()),
        TensorData::Ints(v) => {
            TensorData::Ints(v.iter().map(|&x| clipped(x as f64) as i64).collect())
        }
    })
}

fn zip(
    op: &OpType,
    (a, a_shape): (&TensorData, &[usize]),
    (b, b_shape): (&TensorData, &[usize]),
    shape: &[usize],
) -> Option<TensorData> {
    use OpType::*;
    if shape.iter().try_fold(1usize, |p, &d| p.checked_mul(d))? > TensorData::MAX_KEPT {
        return None;
    }
    let a = take(a, &broadcast_places(a_shape, shape))?;
    let b = take(b, &broadcast_places(b_shape, shape))?;
    let compare =
        matches!(op, Equal | Less | LessOrEqual | Greater | GreaterOrEqual | And | Or | Xor);
    if let (TensorData::Ints(a), TensorData::Ints(b)) = (&a, &b) {
        let f = |(&x, &y): (&i64, &i64)| match op {
            Add => x.checked_add(y),
            Sub => x.checked_sub(y),
            Mul => x.checked_mul(y),
            // ONNX divides integers towards zero; Mod takes the divisor's sign.
            Div => x.checked_div(y),
            Mod => x.checked_rem(y).map(|r| if r != 0 && (r < 0) != (y < 0) { r + y } else { r }),
            Pow => x.checked_pow(u32::try_from(y).ok()?),
            Max => Some(x.max(y)),
            Min => Some(x.min(y)),
            Equal => Some(i64::from(x == y)),
            Less => Some(i64::from(x < y)),
            LessOrEqual => Some(i64::from(x <= y)),
            Greater => Some(i64::from(x > y)),
            GreaterOrEqual => Some(i64::from(x >= y)),
            And => Some(i64::from(x != 0 && y != 0)),
            Or => Some(i64::from(x != 0 || y != 0)),
            _ => Some(i64::from((x != 0) != (y != 0))),
        };
        return Some(TensorData::Ints(a.iter().zip(b).map(f).collect::<Option<_>>()?));
    }
    let pairs = (0..a.len()).map(|i| Some((a.get_f64(i)?, b.get_f64(i)?)));
    if compare {
        let f = |(x, y): (f64, f64)| match op {
            Equal => x == y,
            Less => x < y,
            LessOrEqual => x <= y,
            Greater => x > y,
            GreaterOrEqual => x >= y,
            And => x != 0.0 && y != 0.0,
            Or => x != 0.0 || y != 0.0,
            _ => (x != 0.0) != (y != 0.0),
        };
        let bits = pairs.map(|p| Some(i64::from(f(p?)))).collect::<Option<_>>()?;
        return Some(TensorData::Ints(bits));
    }
    let f = |(x, y): (f64, f64)| match op {
        Add => x + y,
        Sub => x - y,
        Mul => x * y,
        Div => x / y,
        Mod => x % y,
        Pow => x.powf(y),
        Max => x.max(y),
        _ => x.min(y),
    };
    Some(TensorData::Floats(pairs.map(|p| Some(f(p?))).collect::<Option<_>>()?))
}

fn reduction(ctx: &Context, fact: &Fact) -> Option<TensorData> {
    let x = ctx.input(0).ok()?;
    let values = x.data()?.ints()?;
    let axes = reduce::reduced_axes(ctx.attributes, x, ctx.ints_either("axes", 1).ok()?).ok()?;
    // The reduced axes are 1 or gone in the output; either way they add nothing to its offset.
    let kept: Index =
        x.shape.iter().enumerate().map(|(a, &d)| if axes.contains(&a) { 1 } else { d }).collect();
    let mut out: Vec<Option<i64>> = vec![None; fact.shape.iter().product()];
    let mut overflow = false;
    each(&x.shape, |index| {
        let place: Index =
            index.iter().zip(&kept).map(|(&i, &d)| if d == 1 { 0 } else { i }).collect();
        let value = values.get(offset(index, &x.shape)).copied();
        let Some((slot, value)) = out.get_mut(offset(&place, &kept)).zip(value) else { return };
        let next = match *slot {
            None => Some(value),
            Some(acc) => match ctx.op {
                OpType::ReduceProd => acc.checked_mul(value),
                OpType::ReduceSum => acc.checked_add(value),
                OpType::ReduceMax => Some(acc.max(value)),
                _ => Some(acc.min(value)),
            },
        };
        overflow |= next.is_none();
        *slot = next;
    });
    if overflow { None } else { Some(TensorData::Ints(out.into_iter().collect::<Option<_>>()?)) }
}

fn non_zero(ctx: &Context) -> Option<TensorData> {
    let x = ctx.input(0).ok()?;
    let values = x.data()?;
    let mut found: Vec<Index> = Vec::new();
    each(&x.shape, |index| {
        if values.get_f64(offset(index, &x.shape)).is_some_and(|v| v != 0.0) {
            found.push(index.clone());
        }
    });
    let rank = x.shape.len();
    Some(TensorData::Ints((0..rank).flat_map(|a| found.iter().map(move |i| i[a] as i64)).collect()))
}
