//! Attention, of ONNX and of ONNX Runtime.

use super::{Context, Fact, Facts, Result, dim, invalid};
use crate::model_graph::{Attributes, DisplayShape, Shape};
use smallvec::{SmallVec, smallvec};

/// Attention of ONNX 23 and later, on `[batch, tokens, features]` or `[batch, heads, tokens, head]`.
pub(super) fn attention(ctx: &Context) -> Result<Facts> {
    let (q, k, v) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let past = ctx.optional(4).map_or(0, |p| p.shape.get(2).copied().unwrap_or(0));
    let mut facts = Facts::new();
    let (out, keys, values, heads): (Shape, Shape, Shape, usize) =
        match (q.shape.as_slice(), k.shape.as_slice(), v.shape.as_slice()) {
            (&[b, h, t, _], &[_, hk, s, d], &[_, hv, _, dv]) => {
                let (keys, values) =
                    (smallvec![b, hk, past + s, d], smallvec![b, hv, past + s, dv]);
                (smallvec![b, h, t, dv], keys, values, h)
            }
            (&[b, t, _], &[_, s, dk], &[_, _, dv]) => {
                let heads = dim(ctx.attributes.int("q_num_heads", 0))?;
                let kv = dim(ctx.attributes.int("kv_num_heads", 0))?;
                if heads == 0 || kv == 0 || dv % kv != 0 || dk % kv != 0 {
                    return invalid("attributes 'q_num_heads' and 'kv_num_heads' do not fit");
                }
                let width = (dv / kv).checked_mul(heads);
                let Some(width) = width else { return invalid("the output's width overflows") };
                let (keys, values) =
                    (smallvec![b, kv, past + s, dk / kv], smallvec![b, kv, past + s, dv / kv]);
                (smallvec![b, t, width], keys, values, heads)
            }
            _ => {
                return invalid(format!(
                    "queries, keys and values of {}, {} and {}",
                    DisplayShape(&q.shape),
                    DisplayShape(&k.shape),
                    DisplayShape(&v.shape)
                ));
            }
        };
    let tokens = q.shape[q.shape.len() - 2];
    let scores: Shape = smallvec![q.shape[0], heads, tokens, keys[2]];
    facts.push(Fact::new(q.dtype, out));
    facts.push(Fact::new(k.dtype, keys));
    facts.push(Fact::new(v.dtype, values));
    facts.push(Fact::new(q.dtype, scores));
    facts.truncate(ctx.outputs.max(1));
    Ok(facts)
}

/// How many columns of a packed weight make queries, keys and values.
pub(crate) fn packed_widths(attributes: &Attributes, columns: usize) -> Result<[usize; 3]> {
    let sizes: SmallVec<[usize; 3]> = match attributes.ints("qkv_hidden_sizes") {
        Some(list) => list.iter().map(|&d| dim(d)).collect::<Result<_>>()?,
        None => smallvec![columns / 3; 3],
    };
    let total = sizes.iter().try_fold(0usize, |sum, &d| sum.checked_add(d));
    match sizes.as_slice() {
        &[q, k, v] if total == Some(columns) && q == k => Ok([q, k, v]),
        _ => invalid(format!("{columns} columns do not make queries, keys and values")),
    }
}

/// Attention of ONNX Runtime, with its projections: `[batch, tokens, features]` and one weight for
/// queries, keys and values. The second output holds keys and values for the next token.
pub(super) fn packed(ctx: &Context) -> Result<Facts> {
    let (x, weight) = (ctx.ranked(0, 3)?, ctx.ranked(1, 2)?);
    let &[batch, tokens, features] = x.shape.as_slice() else { return invalid("no sequence") };
    let &[rows, columns] = weight.shape.as_slice() else { return invalid("no matrix") };
    let heads = dim(ctx.attributes.int("num_heads", 0))?;
    let [q, _, v] = packed_widths(ctx.attributes, columns)?;
    if rows != features || heads == 0 || q % heads != 0 || v % heads != 0 {
        return invalid(format!(
            "a weight of {} and {heads} heads do not fit an input of {}",
            DisplayShape(&weight.shape),
            DisplayShape(&x.shape)
        ));
    }
    if ctx.optional(2).is_some_and(|bias| bias.shape.as_slice() != [columns]) {
        return invalid(format!("a bias for {columns} columns"));
    }
    let past = match ctx.optional(4).map(|past| past.shape.as_slice()) {
        None => 0,
        Some(&[2, _, _, past, _]) => past,
        Some(other) => return invalid(format!("a past of {}", DisplayShape(other))),
    };
    let total = past.saturating_add(tokens);
    let mut facts: Facts = smallvec![Fact::new(x.dtype, smallvec![batch, tokens, v])];
    if ctx.outputs > 1 {
        facts.push(Fact::new(x.dtype, smallvec![2, batch, heads, total, v / heads]));
    }
    Ok(facts)
}

/// Rotary positions: `[batch, heads, tokens, head]` or `[batch, tokens, features]`.
pub(super) fn rotary(ctx: &Context) -> Result<Facts> {
    match ctx.input(0)?.shape.len() {
        3 | 4 => ctx.like_first(),
        rank => invalid(format!("input 0 has {rank} dimensions instead of 3 or 4")),
    }
}

/// Extents of ONNX Runtime's attention without projections, of many forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MultiHead {
    pub batch: usize,
    /// Heads of the queries, and those of the keys and values.
    pub heads: usize,
    pub shared: usize,
    /// Tokens of the queries, of the keys, and of the keys that were there before.
    pub tokens: usize,
    pub keys: usize,
    pub past: usize,
    /// Features of a head's queries and keys, and of its values.
    pub head: usize,
    pub value: usize,
    /// Tensors that hold queries, keys and values: 1, 2 or 3.
    pub tensors: usize,
}

impl MultiHead {
    /// Features of queries, keys and values.
    pub fn widths(&self) -> [usize; 3] {
        // Products of parts of dimensions that are there.
        [self.heads * self.head, self.shared * self.head, self.shared * self.value]
    }
}

pub(crate) fn multi_head(ctx: &Context) -> Result<MultiHead> {
    let heads = dim(ctx.attributes.int("num_heads", 0))?;
    let shared = ctx.attributes.get_int("kv_num_heads").map_or(Ok(heads), dim)?;
    let shape = |i: usize| ctx.optional(i).map(|v| v.shape.as_slice());
    let query = &ctx.input(0)?.shape;
    let past = match shape(6) {
        None => 0,
        Some(&[_, _, past, _]) => past,
        Some(other) => return invalid(format!("past keys of {}", DisplayShape(other))),
    };
    let part = |width: usize, parts: usize| {
        (parts > 0 && width.is_multiple_of(parts) && width > 0).then(|| width / parts)
    };
    let found = (|| {
        let parts = heads.checked_add(shared.checked_mul(2)?)?;
        let all = MultiHead {
            batch: *query.first()?,
            heads,
            shared,
            tokens: *query.get(1)?,
            keys: *query.get(1)?,
            past,
            head: 0,
            value: 0,
            tensors: 1,
        };
        let same = |head| MultiHead { head, value: head, ..all };
        Some(match (query.as_slice(), shape(1), shape(2)) {
            (&[_, _, h, 3, head], None, None) if h == heads && shared == heads => same(head),
            (&[_, _, width], None, None) => same(part(width, parts)?),
            (&[_, _, width], Some(&[_, keys, h, 2, head]), None)
                if h == shared && part(width, heads)? == head =>
            {
                MultiHead { keys, tensors: 2, ..same(head) }
            }
            (&[_, _, width], Some(&[_, keys, k]), Some(&[_, values, v]))
                if keys == values && part(k, shared)? == part(width, heads)? =>
            {
                let (head, value) = (part(k, shared)?, part(v, shared)?);
                MultiHead { keys, head, value, tensors: 3, ..all }
            }
            (&[_, _, width], Some(&[_, h, keys, head]), Some(&[_, g, values, value]))
                if keys == values && [h, g] == [shared, shared] && part(width, heads)? == head =>
            {
                MultiHead { keys, head, value, tensors: 3, ..all }
            }
            _ => return None,
        })
    })();
    let fits = |m: &MultiHead| {
        let batches = [1, 2].into_iter().filter_map(shape).all(|s| s.first() == Some(&m.batch));
        batches
            && m.heads > 0
            && m.shared > 0
            && m.heads.is_multiple_of(m.shared)
            && m.head > 0
            && m.value > 0
    };
    match found.filter(fits) {
        Some(found) => {
            ctx.vector(3, found.widths().iter().sum())?;
            Ok(found)
        }
        None => {
            let shapes =
                (0..3).map(|i| shape(i).map_or("none".into(), |s| DisplayShape(s).to_string()));
            let shapes: Vec<String> = shapes.collect();
            invalid(format!("{heads} heads of queries, keys and values of {}", shapes.join(", ")))
        }
    }
}

/// Attention of ONNX Runtime without projections: `[batch, tokens, features]`, then keys and values
/// for the next token, then the scores.
pub(super) fn multi_head_attention(ctx: &Context) -> Result<Facts> {
    let x = ctx.input(0)?;
    let m = multi_head(ctx)?;
    let total = m.past.saturating_add(m.keys);
    let shapes: [Shape; 4] = [
        smallvec![m.batch, m.tokens, m.heads * m.value],
        smallvec![m.batch, m.shared, total, m.head],
        smallvec![m.batch, m.shared, total, m.value],
        smallvec![m.batch, m.heads, m.tokens, total],
    ];
    let facts = shapes.into_iter().map(|shape| Fact::new(x.dtype, shape));
    Ok(facts.take(ctx.outputs.max(1)).collect())
}
