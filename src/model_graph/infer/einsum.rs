//! Einsum: the equation over real axes.

use super::{Context, Facts, Result, invalid, one};
use crate::model_graph::{DisplayShape, Shape};
use smallvec::{SmallVec, smallvec};

/// What an axis is called: its letter's number, or, for one of those that an ellipsis stands for,
/// [`LETTERS`] and its position from the last.
pub(crate) type Label = usize;

/// `A` to `Z`, then `a` to `z`, so that numbers sort as characters do.
const LETTERS: usize = 52;

pub(crate) type Labels = SmallVec<[Label; 5]>;

/// An equation whose every label is one axis.
#[derive(Debug, PartialEq)]
pub(crate) struct Equation {
    /// Labels of each operand's axes.
    pub terms: SmallVec<[Labels; 2]>,
    /// Labels of the result's axes.
    pub output: Labels,
    /// Extent of each label, 0 also for those that do not occur.
    extents: SmallVec<[usize; 64]>,
}

impl Equation {
    /// Reads the equation of an Einsum of operands with these shapes.
    ///
    /// # Errors
    /// When it is malformed, or does not fit the shapes.
    pub fn new(equation: &str, shapes: &[&[usize]]) -> Result<Self> {
        let text: String = equation.chars().take(100).collect();
        let wrong = |what: String| invalid(format!("equation '{text}': {what}"));
        let (left, right) = match equation.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (equation, None),
        };
        let mut parsed: SmallVec<[Term; 2]> = SmallVec::new();
        for term in left.split(',') {
            match Term::new(term) {
                Some(term) if parsed.len() < shapes.len() => parsed.push(term),
                Some(_) => return wrong(format!("more terms than the {} operands", shapes.len())),
                None => return wrong("a term is malformed".into()),
            }
        }
        if parsed.len() != shapes.len() {
            return wrong(format!("{} terms for {} operands", parsed.len(), shapes.len()));
        }
        let mut terms: SmallVec<[Labels; 2]> = SmallVec::new();
        let mut span = 0;
        for (i, (term, shape)) in parsed.iter().zip(shapes).enumerate() {
            let rest = shape.len().checked_sub(term.letters());
            let Some(rest) = rest.filter(|&rest| rest == 0 || term.ellipsis.is_some()) else {
                let shape = DisplayShape(shape);
                return wrong(format!("operand {i} of {shape} has other dimensions"));
            };
            span = span.max(rest);
            terms.push(term.expanded(rest));
        }
        let mut equation =
            Self { terms, output: Labels::new(), extents: smallvec![0; LETTERS + span] };
        let mut uses: SmallVec<[usize; 64]> = smallvec![0; LETTERS + span];
        for (term, shape) in equation.terms.iter().zip(shapes) {
            for (&label, &extent) in term.iter().zip(*shape) {
                let known = &mut equation.extents[label];
                uses[label] += 1;
                if uses[label] == 1 || *known == 1 {
                    *known = extent;
                } else if extent != *known && extent != 1 {
                    return wrong(format!("one label is both {known} and {extent}"));
                }
            }
        }
        equation.output = match right {
            None => {
                // Ellipses first, then the letters that occur once, in alphabetical order.
                let once = (0..LETTERS).filter(|&letter| uses[letter] == 1);
                (LETTERS..LETTERS + span).rev().chain(once).collect()
            }
            Some(right) => {
                let output = Term::new(right).map(|term| term.expanded(span));
                let mut seen: SmallVec<[bool; 64]> = smallvec![false; LETTERS + span];
                let output = output.filter(|labels| {
                    labels.iter().all(|&l| uses[l] > 0 && !std::mem::replace(&mut seen[l], true))
                });
                match output {
                    Some(output) => output,
                    None => return wrong("the result is malformed".into()),
                }
            }
        };
        Ok(equation)
    }

    /// Extent of an axis, after broadcasting.
    pub fn extent(&self, label: Label) -> usize {
        self.extents.get(label).copied().unwrap_or(0)
    }

    /// Labels that are summed over.
    pub fn summed(&self) -> Labels {
        let mut seen: SmallVec<[bool; 64]> = smallvec![false; self.extents.len()];
        self.output.iter().for_each(|&label| seen[label] = true);
        let labels = self.terms.iter().flatten().copied();
        labels.filter(|&label| !std::mem::replace(&mut seen[label], true)).collect()
    }
}

/// Labels as written.
struct Term {
    labels: Labels,
    /// Where among them an ellipsis stands.
    ellipsis: Option<usize>,
}

impl Term {
    /// More letters than any tensor has dimensions are malformed too.
    fn new(text: &str) -> Option<Self> {
        let mut term = Self { labels: Labels::new(), ellipsis: None };
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("...") {
                if term.ellipsis.replace(term.labels.len()).is_some() {
                    return None;
                }
                rest = after.trim_start();
                continue;
            }
            let label = match first {
                'A'..='Z' => first as usize - 'A' as usize,
                'a'..='z' => 26 + first as usize - 'a' as usize,
                _ => return None,
            };
            if term.labels.len() == super::MAX_RANK {
                return None;
            }
            term.labels.push(label);
            rest = rest.get(1..)?.trim_start();
        }
        Some(term)
    }

    fn letters(&self) -> usize {
        self.labels.len()
    }

    /// The labels when the ellipsis, if there is one, stands for `span` axes.
    fn expanded(&self, span: usize) -> Labels {
        let Some(at) = self.ellipsis else { return self.labels.clone() };
        let (before, after) = self.labels.split_at(at);
        let between = (LETTERS..LETTERS + span).rev();
        before.iter().copied().chain(between).chain(after.iter().copied()).collect()
    }
}

/// The equation of an Einsum.
pub(crate) fn equation(ctx: &Context) -> Result<Equation> {
    let equation = ctx.attributes.str("equation").unwrap_or_default();
    let operands = (0..ctx.inputs.len()).map(|i| Ok(ctx.input(i)?.shape.as_slice()));
    Equation::new(equation, &operands.collect::<Result<SmallVec<[_; 2]>>>()?)
}

pub(super) fn einsum(ctx: &Context) -> Result<Facts> {
    let equation = equation(ctx)?;
    let shape: Shape = equation.output.iter().map(|&label| equation.extent(label)).collect();
    one(ctx.input(0)?.dtype, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(equation: &str, shapes: &[&[usize]]) -> Option<Vec<usize>> {
        let equation = Equation::new(equation, shapes).ok()?;
        Some(equation.output.iter().map(|&label| equation.extent(label)).collect())
    }

    /// Expected shapes are NumPy's.
    #[test]
    fn equations_have_numpys_shapes() {
        type Case<'a> = (&'a str, &'a [&'a [usize]], &'a [usize]);
        let cases: [Case; 12] = [
            ("ij,jk->ik", &[&[2, 3], &[3, 4]], &[2, 4]),
            (" i j , jk -> k i ", &[&[2, 3], &[3, 4]], &[4, 2]),
            ("...d,dh->...h", &[&[2, 5, 6, 3], &[3, 4]], &[2, 5, 6, 4]),
            ("...ij,...jk->...ik", &[&[7, 2, 3], &[5, 7, 3, 4]], &[5, 7, 2, 4]),
            ("...ij,...jk", &[&[5, 1, 2, 3], &[7, 3, 4]], &[5, 7, 2, 4]),
            ("i...,i...->...", &[&[4, 2, 3], &[4, 1, 3]], &[2, 3]),
            ("ii->i", &[&[3, 3]], &[3]),
            ("ii", &[&[3, 3]], &[]),
            ("ba", &[&[2, 3]], &[3, 2]),
            ("aB,Bc", &[&[2, 3], &[3, 4]], &[2, 4]),
            ("Ba", &[&[2, 3]], &[2, 3]),
            ("...->", &[&[2, 3]], &[]),
        ];
        for (equation, shapes, expected) in cases {
            assert_eq!(shape(equation, shapes).as_deref(), Some(expected), "{equation}");
        }
    }

    #[test]
    fn what_is_no_equation_is_refused() {
        let two: &[&[usize]] = &[&[2, 3], &[3, 4]];
        for equation in [
            "",
            "ij",
            "ij,jk,kl->il",
            "ij,jk->iz",
            "ij,jk->ii",
            "ij,jk->i->k",
            "i.j,jk->ik",
            "ij....,jk->ik",
            "......,jk->jk",
            "ijk,jk->ik",
            "i,jk->ik",
            "i1,jk->ik",
            "ij;jk->ik",
            "ij,jk->ik\u{e9}",
            "ij,kj->ik",
        ] {
            assert_eq!(shape(equation, two), None, "{equation}");
        }
        let long = "a".repeat(1_000_000);
        let error = Equation::new(&long, two).unwrap_err().to_string();
        assert!(error.len() < 200, "{error}");
    }

    #[test]
    fn summed_axes_are_those_without_a_place_in_the_result() {
        let shapes: &[&[usize]] = &[&[7, 5, 3], &[7, 3, 4]];
        let equation = Equation::new("...ij,...jk->ik", shapes).unwrap();
        let summed: usize = equation.summed().iter().map(|&l| equation.extent(l)).product();
        assert_eq!(summed, 7 * 3);
    }
}
