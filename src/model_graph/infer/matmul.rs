//! Matrix products.

use super::{Context, Facts, Result, broadcast, invalid, one};
use crate::model_graph::{DisplayShape, Shape};
use smallvec::smallvec;

pub(super) fn matmul(ctx: &Context) -> Result<Facts> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
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
    one(a.dtype, out)
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
