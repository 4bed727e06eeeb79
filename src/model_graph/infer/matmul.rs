//! Matrix products.

use super::{Context, Fact, Facts, Result, broadcast, dim, invalid, one};
use crate::model_graph::{DataType, DisplayShape, OpType, Shape};
use smallvec::smallvec;

pub(super) fn matmul(ctx: &Context) -> Result<Facts> {
    let (a, b) = match ctx.op {
        OpType::QLinearMatMul => (ctx.input(0)?, ctx.input(3)?),
        _ => (ctx.input(0)?, ctx.input(1)?),
    };
    let mut left = a.shape.clone();
    let mut right = b.shape.clone();
    for (name, shape) in [("transA", &mut left), ("transB", &mut right)] {
        let rank = shape.len();
        if ctx.attributes.int(name, 0) != 0 && rank >= 2 {
            shape.swap(rank - 1, rank - 2);
        }
    }
    let mismatch = || {
        invalid(format!(
            "matrices of {} and {} cannot be multiplied",
            DisplayShape(&a.shape),
            DisplayShape(&b.shape)
        ))
    };
    if left.is_empty() || right.is_empty() {
        return mismatch();
    }
    let (vector_a, vector_b) = (left.len() == 1, right.len() == 1);
    if vector_a {
        left.insert(0, 1);
    }
    if vector_b {
        right.push(1);
    }
    let (la, lb) = (left.len(), right.len());
    if left[la - 1] != right[lb - 2] {
        return mismatch();
    }
    let mut out = broadcast(&left[..la - 2], &right[..lb - 2])?;
    if !vector_a {
        out.push(left[la - 2]);
    }
    if !vector_b {
        out.push(right[lb - 1]);
    }
    let dtype = match ctx.op {
        OpType::MatMulInteger => DataType::Int32,
        OpType::QLinearMatMul => ctx.optional(7).map_or(DataType::Uint8, |zero| zero.dtype),
        _ => a.dtype,
    };
    one(dtype, out)
}

pub(super) fn gemm(ctx: &Context) -> Result<Facts> {
    let (a, b) = (ctx.ranked(0, 2)?, ctx.ranked(1, 2)?);
    let transposed = |name| ctx.attributes.int(name, 0) != 0;
    let (m, k) =
        if transposed("transA") { (a.shape[1], a.shape[0]) } else { (a.shape[0], a.shape[1]) };
    let (k2, n) =
        if transposed("transB") { (b.shape[1], b.shape[0]) } else { (b.shape[0], b.shape[1]) };
    if k != k2 {
        return invalid(format!(
            "matrices of {} and {} cannot be multiplied",
            DisplayShape(&a.shape),
            DisplayShape(&b.shape)
        ));
    }
    let out: Shape = smallvec![m, n];
    if let Some(c) = ctx.optional(2)
        && broadcast(&out, &c.shape)? != out
    {
        return invalid(format!("a bias of {} does not fit {m}x{n}", DisplayShape(&c.shape)));
    }
    one(a.dtype, out)
}

/// The terms of an Einsum equation: one list of labels per operand, and the output's.
/// An ellipsis stands as `.`.
pub(crate) fn parse_einsum(equation: &str, operands: usize) -> Option<(Vec<Vec<char>>, Vec<char>)> {
    let equation: String = equation.split_whitespace().collect::<String>().replace("...", ".");
    let (left, right) = match equation.split_once("->") {
        Some((l, r)) => (l.to_string(), Some(r.to_string())),
        None => (equation, None),
    };
    let terms: Vec<Vec<char>> = left.split(',').map(|t| t.chars().collect()).collect();
    let valid = |t: &[char]| {
        t.iter().all(|c| c.is_ascii_alphabetic() || *c == '.')
            && t.iter().filter(|c| **c == '.').count() <= 1
    };
    if terms.len() != operands || !terms.iter().all(|t| valid(t)) {
        return None;
    }
    let output = match right {
        Some(r) => r.chars().collect(),
        None => {
            // Implicit output: labels that occur once, in alphabetical order, after any ellipsis.
            let all: Vec<char> = terms.iter().flatten().copied().collect();
            let mut once: Vec<char> = all
                .iter()
                .copied()
                .filter(|c| *c != '.' && all.iter().filter(|d| *d == c).count() == 1)
                .collect();
            once.sort_unstable();
            if all.contains(&'.') {
                once.insert(0, '.');
            }
            once
        }
    };
    valid(&output).then_some((terms, output))
}

pub(super) fn einsum(ctx: &Context) -> Result<Facts> {
    let equation = ctx.attributes.str("equation").unwrap_or_default();
    let Some((terms, output)) = parse_einsum(equation, ctx.inputs.len()) else {
        return invalid(format!("'{equation}' is no equation of {} operands", ctx.inputs.len()));
    };
    let mut extents: Vec<(char, usize)> = Vec::new();
    let mut ellipsis = Shape::new();
    for (i, term) in terms.iter().enumerate() {
        let shape = &ctx.input(i)?.shape;
        let labels = term.iter().filter(|c| **c != '.').count();
        let dotted = term.contains(&'.');
        if labels > shape.len() || (!dotted && labels != shape.len()) {
            return invalid(format!(
                "'{equation}' does not fit operand {i} of {}",
                DisplayShape(shape)
            ));
        }
        let mut position = 0;
        for &label in term {
            if label == '.' {
                let span = shape.len() - labels;
                ellipsis = broadcast(&ellipsis, &shape[position..position + span])?;
                position += span;
                continue;
            }
            let extent = shape[position];
            position += 1;
            match extents.iter_mut().find(|(l, _)| *l == label) {
                None => extents.push((label, extent)),
                Some((_, known)) if *known == 1 => *known = extent,
                Some((_, known)) if *known == extent || extent == 1 => {}
                Some((_, known)) => {
                    return invalid(format!(
                        "'{label}' of '{equation}' is both {known} and {extent}"
                    ));
                }
            }
        }
    }
    let mut out = Shape::new();
    for label in output {
        if label == '.' {
            out.extend_from_slice(&ellipsis);
            continue;
        }
        match extents.iter().find(|(l, _)| *l == label) {
            Some((_, extent)) => out.push(*extent),
            None => return invalid(format!("'{label}' of '{equation}' is in no operand")),
        }
    }
    one(ctx.input(0)?.dtype, out)
}

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
