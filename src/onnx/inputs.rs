//! Settling the shapes of the network's inputs.

use super::ReadOptions;
use super::decode::{Dim, Info, check_elements};
use super::error::{ReadError, Reason, limit};
use super::limits::{MAX_DIMENSION, MAX_RANK};
use crate::model_graph::{DataType, DisplayShape, Shape};
use std::collections::HashMap;
use std::fmt::Write;

/// Sizes of the symbols that stand for dimensions.
pub(super) type Symbols<'a> = HashMap<&'a str, usize>;

/// An input with dimensions that nothing settles.
#[derive(Debug)]
pub(super) struct FreeInput {
    name: String,
    /// Index and, where the file has one, symbol; `None` when even the rank is open.
    free: Option<Vec<(usize, Option<String>)>>,
    /// The shape with plausible sizes filled in.
    suggestion: Shape,
}

impl FreeInput {
    /// A flag that would settle it.
    fn flag(&self) -> String {
        format!("--input-shape {}={}", self.name, DisplayShape(&self.suggestion))
    }
}

/// One sentence that names every free dimension, and the flag.
pub(super) fn describe(inputs: &[FreeInput]) -> String {
    let mut text = String::new();
    for input in inputs {
        match &input.free {
            None => _ = write!(text, "input '{}' has no shape; ", input.name),
            Some(free) => {
                let dims: Vec<_> = free
                    .iter()
                    .map(|(index, symbol)| match symbol {
                        Some(symbol) => format!("{index} ('{symbol}')"),
                        None => index.to_string(),
                    })
                    .collect();
                _ = write!(
                    text,
                    "input '{}' has free dimensions: {}; ",
                    input.name,
                    dims.join(", ")
                );
            }
        }
    }
    let flags: Vec<_> = inputs.iter().map(FreeInput::flag).collect();
    let them = if inputs.len() == 1 { "it" } else { "them" };
    _ = write!(text, "give {them} with {}", flags.join(" "));
    text
}

fn mismatch(what: String) -> ReadError {
    Reason::InputShape(what).into()
}

/// Type and shape of every input. A dimension is what the file says; else what the options say,
/// for it or for another one of the same symbol; else 1 if it is the first one, the batch.
///
/// # Errors
/// When a shape in the options does not fit, or dimensions stay free.
pub(super) fn settle<'a>(
    inputs: &[&'a Info],
    options: &ReadOptions,
) -> Result<(Vec<(DataType, Shape)>, Symbols<'a>), ReadError> {
    let mut symbols = given(inputs, options)?;
    let mut settled = Vec::with_capacity(inputs.len());
    let mut open = Vec::new();
    for input in inputs {
        let Some(dtype) = input.dtype else {
            let what = format!("input '{}' is not a tensor", input.name);
            return Err(Reason::Unsupported { what, hint: None }.into());
        };
        let own = options.input_shapes.iter().find(|(n, _)| *n == input.name).map(|(_, s)| s);
        let Some(dims) = &input.dims else {
            match own {
                Some(shape) => settled.push((dtype, Shape::from_slice(shape))),
                None => open.push(FreeInput {
                    name: input.name.clone(),
                    free: None,
                    suggestion: Shape::from_slice(&[1, 3, 224, 224]),
                }),
            }
            continue;
        };
        let mut shape = Shape::new();
        let mut free = Vec::new();
        for (index, dim) in dims.iter().enumerate() {
            let symbol = match dim {
                Dim::Symbol(symbol) => Some(symbol),
                _ => None,
            };
            let size = match dim {
                Dim::Known(size) if *size > 0 => Some(*size),
                _ => own
                    .and_then(|shape| shape.get(index).copied())
                    .or_else(|| symbols.get(symbol?.as_str()).copied())
                    .or((index == 0).then_some(1)),
            };
            shape.push(size.unwrap_or_else(|| {
                free.push((index, symbol.cloned()));
                plausible(dims.len())
            }));
        }
        if free.is_empty() {
            check_elements(&input.name, &shape)?;
            settled.push((dtype, shape));
        } else {
            let name = input.name.clone();
            open.push(FreeInput { name, free: Some(free), suggestion: shape });
        }
    }
    if !open.is_empty() {
        return Err(Reason::FreeDimensions(open).into());
    }
    // Batch symbols too, for what the file declares of other values.
    for (input, (_, shape)) in inputs.iter().zip(&settled) {
        for (dim, size) in input.dims.iter().flatten().zip(shape) {
            if let Dim::Symbol(symbol) = dim {
                symbols.entry(symbol).or_insert(*size);
            }
        }
    }
    Ok((settled, symbols))
}

/// A size to suggest for a free dimension: that of an image, or of a sequence.
fn plausible(rank: usize) -> usize {
    if rank >= 4 { 224 } else { 128 }
}

/// Checks the given shapes against the inputs and returns the symbols they settle.
fn given<'a>(inputs: &[&'a Info], options: &ReadOptions) -> Result<Symbols<'a>, ReadError> {
    let mut symbols: HashMap<&'a str, usize> = HashMap::new();
    let mut seen: HashMap<&str, &[usize]> = HashMap::new();
    for (name, shape) in &options.input_shapes {
        if seen.insert(name, shape).is_some_and(|other| other != shape.as_slice()) {
            return Err(mismatch(format!("two different shapes are given for input '{name}'")));
        }
        let Some(input) = inputs.iter().find(|i| i.name == *name) else {
            let names: Vec<_> = inputs.iter().map(|i| format!("'{}'", i.name)).collect();
            let names = names.join(", ");
            return Err(mismatch(format!(
                "a shape is given for '{name}', but the network's inputs are: {names}"
            )));
        };
        let shown = DisplayShape(shape);
        if shape.len() > MAX_RANK {
            return Err(limit(format!("the shape {shown} given for '{name}'"), MAX_RANK as u64));
        }
        if let Some(d) = shape.iter().find(|d| **d as u64 > MAX_DIMENSION) {
            return Err(limit(format!("dimension {d} given for '{name}'"), MAX_DIMENSION));
        }
        if shape.contains(&0) {
            return Err(mismatch(format!("the shape {shown} given for '{name}' has a zero")));
        }
        check_elements(name, shape)?;
        let Some(dims) = &input.dims else { continue };
        if dims.len() != shape.len() {
            return Err(mismatch(format!(
                "input '{name}' has {} dimensions; the shape {shown} given for it has {}",
                dims.len(),
                shape.len()
            )));
        }
        for (index, (dim, &size)) in dims.iter().zip(shape).enumerate() {
            let other = match dim {
                Dim::Known(known) if *known > 0 => Some(*known),
                Dim::Symbol(symbol) => Some(*symbols.entry(symbol).or_insert(size)),
                _ => None,
            };
            if let Some(other) = other.filter(|o| *o != size) {
                let symbol = match dim {
                    Dim::Symbol(symbol) => format!(" ('{symbol}')"),
                    _ => String::new(),
                };
                return Err(mismatch(format!(
                    "dimension {index}{symbol} of input '{name}' is {other}, \
                     not {size} as in the shape {shown} given for it"
                )));
            }
        }
    }
    Ok(symbols)
}
