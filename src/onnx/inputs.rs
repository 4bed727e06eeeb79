//! Settling the shapes of the network's inputs.

use super::ReadOptions;
use super::decode::{Dim, Info, check_elements};
use super::error::{LOST_WEIGHTS, ReadError, Reason, enumerate, enumerate_with, limit};
use super::limits::MAX_DIMENSION;
use crate::model_graph::{DataType, DisplayShape, MAX_RANK, Shape};
use hashbrown::{HashMap, HashSet};

/// Sizes of the symbols that stand for dimensions.
pub(super) type Symbols<'a> = HashMap<&'a str, usize>;

/// The inputs' types and shapes.
#[derive(Debug)]
pub(super) struct Settled<'a> {
    pub facts: Vec<(DataType, Shape)>,
    /// Symbols that have one size everywhere.
    pub symbols: Symbols<'a>,
    /// Symbols that were taken for the batch by their name alone, and the input each is of.
    pub batches: Vec<(&'a str, &'a str)>,
    /// Of each input, whether its first dimension was taken for the batch by its place alone.
    pub guessed: Vec<bool>,
}

/// What a free dimension may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Sequence,
}

/// An input with dimensions that nothing settles.
#[derive(Debug, Clone)]
pub(super) struct FreeInput {
    name: String,
    /// Index and, where the file has one, symbol; `None` when even the rank is open.
    free: Option<Vec<(usize, Option<String>)>>,
    /// Those of them that the file says to be 0.
    zeros: Vec<usize>,
    /// The shape, with nothing of worth at the free places.
    shape: Shape,
    kinds: Vec<Kind>,
}

/// Sizes to try, the most likely first.
const IMAGES: [usize; 23] = [
    224, 32, 48, 64, 96, 112, 128, 160, 192, 256, 299, 320, 384, 416, 448, 512, 640, 28, 16, 8, 4,
    2, 1,
];
const SEQUENCES: [usize; 16] = [128, 64, 32, 16, 77, 256, 512, 100, 197, 50, 196, 1024, 8, 4, 2, 1];

/// Every combination of sizes worth a try, for images and for sequences.
pub(super) fn candidates(free: &[FreeInput]) -> Vec<(usize, usize)> {
    let has = |kind| free.iter().any(|i| i.kinds.contains(&kind));
    let image = IMAGES.iter().map(|&image| (image, SEQUENCES[0]));
    let sequence = SEQUENCES.iter().map(|&sequence| (IMAGES[0], sequence));
    match (has(Kind::Image), has(Kind::Sequence)) {
        (true, false) => image.collect(),
        (false, true) => sequence.collect(),
        _ => image.chain(sequence.skip(1)).collect(),
    }
}

impl FreeInput {
    /// The shape with these sizes at the free places.
    fn filled(&self, (image, sequence): (usize, usize)) -> Vec<usize> {
        let Some(free) = &self.free else { return vec![1, 3, image, image] };
        let mut shape = self.shape.to_vec();
        for ((index, _), kind) in free.iter().zip(&self.kinds) {
            if let Some(size) = shape.get_mut(*index) {
                *size = if *kind == Kind::Image { image } else { sequence };
            }
        }
        shape
    }

    /// Name and shape as an option.
    pub fn option(&self, sizes: (usize, usize)) -> (String, Vec<usize>) {
        (self.name.clone(), self.filled(sizes))
    }
}

/// What came of trying sizes for the free dimensions.
#[derive(Debug)]
pub(super) enum Trial {
    Fits((usize, usize)),
    /// How many were tried, and why the first failed.
    Fails(usize, String),
}

/// One sentence that names the free dimensions.
pub(super) fn describe(inputs: &[FreeInput], trial: &Trial) -> String {
    let sentences = inputs.iter().map(|input| match &input.free {
        None => format!("input '{}' has no shape", input.name),
        Some(free) => {
            let listed = |what: &str, zero: bool| {
                let dims = free.iter().filter(|(index, _)| input.zeros.contains(index) == zero);
                let dims = dims.map(|(index, symbol)| match symbol {
                    Some(symbol) => format!("{index} ('{symbol}')"),
                    None => index.to_string(),
                });
                let dims: Vec<_> = dims.collect();
                (!dims.is_empty()).then(|| format!("{what}: {}", dims.join(", ")))
            };
            let kinds = [listed("free dimensions", false), listed("dimensions of size 0", true)];
            let kinds: Vec<_> = kinds.into_iter().flatten().collect();
            format!("input '{}' has {}", input.name, kinds.join(" and "))
        }
    });
    let text = enumerate_with(sentences, "; ");
    match trial {
        Trial::Fits(_) => text,
        Trial::Fails(tried, reason) => {
            let sizes = inputs.first().map(|i| i.filled(candidates(inputs)[0])).unwrap_or_default();
            format!(
                "{text}; none of {tried} likely sizes fits (with {}: {reason})",
                DisplayShape(&sizes)
            )
        }
    }
}

/// Shapes of the first inputs that settle the free dimensions, where such were found.
pub(super) fn fitting(inputs: &[FreeInput], trial: &Trial) -> Vec<(String, Vec<usize>)> {
    const SHOWN: usize = 10;
    match trial {
        Trial::Fits(sizes) => inputs.iter().take(SHOWN).map(|i| i.option(*sizes)).collect(),
        Trial::Fails(..) => Vec::new(),
    }
}

fn mismatch(what: String) -> ReadError {
    Reason::InputShape(what).into()
}

/// Whether a symbol names the batch. Single letters do where nothing else can be the batch.
fn names_batch(symbol: &str, first: &Dim) -> bool {
    let name = symbol.to_ascii_lowercase();
    let taken = match first {
        Dim::Known(size) => *size == 1,
        Dim::Symbol(symbol) => !names_length(symbol),
        Dim::Free => true,
    };
    name.contains("batch") || (!taken && matches!(name.as_str(), "n" | "b" | "bs"))
}

/// Whether a symbol names an extent of the data, even as the first dimension.
fn names_length(symbol: &str) -> bool {
    const PARTS: [&str; 10] =
        ["seq", "len", "time", "token", "point", "node", "edge", "height", "width", "vertices"];
    let name = symbol.to_ascii_lowercase();
    !name.contains("batch")
        && (PARTS.iter().any(|part| name.contains(part)) || matches!(name.as_str(), "t" | "l"))
}

/// Whether the first dimension, where it is open, is the batch.
fn batch_first(dims: &[Dim]) -> bool {
    let named = |d: &Dim| matches!(d, Dim::Symbol(s) if names_batch(s, &Dim::Known(1)));
    match dims.split_first() {
        Some((Dim::Symbol(symbol), _)) if names_length(symbol) => false,
        Some((first, rest)) => named(first) || !rest.iter().any(named),
        None => false,
    }
}

/// Whether a symbol stands for the batch and for something else too in one input, so that it is
/// no name but a mark of what is open.
fn is_mark(symbol: &str, inputs: &[&Info]) -> bool {
    inputs.iter().filter_map(|i| i.dims.as_deref()).any(|dims| {
        let mut same = dims.iter().map(|d| matches!(d, Dim::Symbol(s) if s == symbol));
        same.next() == Some(true) && same.any(|same| same) && batch_first(dims)
    })
}

/// Type and shape of every input. A dimension is what the file says; else what the options say,
/// for it or for another one of the same symbol; else 1 if it is the batch: the first dimension,
/// or one that is called so.
///
/// # Errors
/// When a shape in the options does not fit, or dimensions stay free.
pub(super) fn resolve<'a>(
    inputs: &[&'a Info],
    options: &ReadOptions,
) -> Result<Settled<'a>, ReadError> {
    let mut symbols = given(inputs, options)?;
    let mut batches = Vec::new();
    // Symbols that are taken for the batch because they come first.
    let mut placed: HashSet<&str> = HashSet::new();
    let marks: HashSet<&str> = {
        let first = |i: &&'a Info| match i.dims.as_ref()?.first()? {
            Dim::Symbol(symbol) => Some(symbol.as_str()),
            _ => None,
        };
        let mut firsts: Vec<&str> = inputs.iter().filter_map(first).collect();
        firsts.sort_unstable();
        firsts.dedup();
        // Inputs without end would take time without end.
        firsts.truncate(64);
        firsts.into_iter().filter(|symbol| is_mark(symbol, inputs)).collect()
    };
    for input in inputs {
        let Some(dims @ [first, ..]) = input.dims.as_deref() else { continue };
        for (index, dim) in dims.iter().enumerate() {
            let Dim::Symbol(symbol) = dim else { continue };
            let batch = match index {
                0 => batch_first(dims),
                _ => names_batch(symbol, first),
            };
            if batch && !marks.contains(symbol.as_str()) && !symbols.contains_key(symbol.as_str()) {
                symbols.insert(symbol, 1);
                if index > 0 {
                    batches.push((symbol.as_str(), &*input.name));
                } else if !names_batch(symbol, &Dim::Known(1)) {
                    placed.insert(symbol);
                }
            }
        }
    }

    let shapes: HashMap<&str, &[usize]> =
        options.input_shapes.iter().map(|(name, shape)| (name.as_str(), &**shape)).collect();
    let mut facts = Vec::with_capacity(inputs.len());
    let mut guessed = Vec::with_capacity(inputs.len());
    let mut open = Vec::new();
    for input in inputs {
        let Some(dtype) = input.dtype else {
            return Err(no_tensor(input, inputs.len()));
        };
        let own = shapes.get(&*input.name).copied();
        let name = || input.name.to_string();
        let Some(dims) = &input.dims else {
            match own {
                Some(shape) => {
                    facts.push((dtype, Shape::from_slice(shape)));
                    guessed.push(false);
                }
                None => {
                    let kinds = vec![Kind::Image];
                    let (free, zeros, shape) = (None, Vec::new(), Shape::new());
                    open.push(FreeInput { name: name(), free, zeros, shape, kinds });
                }
            }
            continue;
        };
        let mut shape = Shape::new();
        let (mut free, mut kinds, mut zeros) = (Vec::new(), Vec::new(), Vec::new());
        let mut guess = false;
        for (index, dim) in dims.iter().enumerate() {
            let symbol = match dim {
                Dim::Symbol(symbol) => Some(symbol.as_str()),
                _ => None,
            };
            let size = match dim {
                Dim::Known(size) if *size > 0 => Some(*size),
                _ => own
                    .and_then(|shape| shape.get(index).copied())
                    .or_else(|| {
                        let symbol = symbol.filter(|s| !marks.contains(s))?;
                        guess |= index == 0 && placed.contains(symbol);
                        value(symbol, &symbols)
                    })
                    .or_else(|| {
                        let first = index == 0 && batch_first(dims);
                        guess |= first;
                        first.then_some(1)
                    }),
            };
            shape.push(size.unwrap_or_else(|| {
                free.push((index, symbol.map(String::from)));
                kinds.push(kind(symbol, dims.len()));
                zeros.extend(matches!(dim, Dim::Known(_)).then_some(index));
                1
            }));
        }
        if free.is_empty() {
            check_elements(&input.name, &shape)?;
            facts.push((dtype, shape));
            guessed.push(guess);
        } else {
            open.push(FreeInput { name: name(), free: Some(free), zeros, shape, kinds });
        }
    }
    if !open.is_empty() {
        let trial = Trial::Fails(0, String::new());
        return Err(Reason::FreeDimensions(open, trial).into());
    }
    // For what the file declares of other values, where a symbol means one size.
    let mut sizes: HashMap<&str, Option<usize>> = HashMap::new();
    for (input, (_, shape)) in inputs.iter().zip(&facts) {
        for (dim, size) in input.dims.iter().flatten().zip(shape) {
            if let Dim::Symbol(symbol) = dim {
                let known = sizes.entry(symbol).or_insert(Some(*size));
                *known = known.filter(|known| known == size);
            }
        }
    }
    let symbols = sizes.into_iter().filter_map(|(symbol, size)| Some((symbol, size?))).collect();
    Ok(Settled { facts, symbols, batches, guessed })
}

/// The error for an input that is no tensor, as far as the file says.
fn no_tensor(input: &Info, inputs: usize) -> ReadError {
    let what =
        format!("the file does not say that input '{}' is a tensor, and of what type", input.name);
    // What PyTorch's exporter leaves of weights that it does not store.
    let hint = (inputs > 1).then(|| LOST_WEIGHTS.to_string());
    Reason::Unsupported { what, hint }.into()
}

/// The size of a symbol; also of a sum of symbols and numbers.
fn value(symbol: &str, symbols: &Symbols) -> Option<usize> {
    let term = |term: &str| symbols.get(term).copied().or_else(|| term.parse().ok());
    symbols.get(symbol).copied().or_else(|| {
        let mut terms = symbol.split(" + ");
        let first = terms.next().filter(|first| first.len() < symbol.len())?;
        terms.try_fold(term(first)?, |sum, next| sum.checked_add(term(next)?))
    })
}

/// What a free dimension is of, by its name or by the tensor's rank.
fn kind(symbol: Option<&str>, rank: usize) -> Kind {
    let name = symbol.unwrap_or_default().to_ascii_lowercase();
    let named = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    match rank {
        _ if named(&["height", "width"]) => Kind::Image,
        _ if named(&["seq", "token", "time"]) => Kind::Sequence,
        0..=3 => Kind::Sequence,
        _ => Kind::Image,
    }
}

/// Checks the given shapes against the inputs and returns the symbols they settle.
fn given<'a>(inputs: &[&'a Info], options: &ReadOptions) -> Result<Symbols<'a>, ReadError> {
    let mut symbols: HashMap<&'a str, usize> = HashMap::new();
    let mut seen: HashMap<&str, &[usize]> = HashMap::new();
    let named: HashMap<&str, &'a Info> = inputs.iter().map(|i| (&*i.name, *i)).collect();
    for (name, shape) in &options.input_shapes {
        if seen.insert(name, shape).is_some_and(|other| other != shape.as_slice()) {
            return Err(mismatch(format!("two different shapes are given for input '{name}'")));
        }
        let Some(input) = named.get(name.as_str()) else {
            let names = enumerate(inputs.iter().map(|i| format!("'{}'", i.name)));
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
            match dim {
                Dim::Known(known) if *known > 0 && *known != size => {
                    return Err(mismatch(format!(
                        "dimension {index} of input '{name}' is {known}, \
                         not {size} as in the shape {shown} given for it"
                    )));
                }
                // What is given counts for its own input, whatever others of the name are.
                Dim::Symbol(symbol) => _ = symbols.entry(symbol).or_insert(size),
                _ => {}
            }
        }
    }
    Ok(symbols)
}
