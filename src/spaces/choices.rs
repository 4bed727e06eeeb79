//! Choices that architectures are made of, and random ones for sampling, mutation and crossover.

use rand::Rng;

/// Any of the choices; all are equally likely.
pub(super) fn one_of<T: Copy, R: Rng + ?Sized>(choices: &[T], rng: &mut R) -> T {
    choices[rng.gen_range(0..choices.len())]
}

/// Any of the choices but this one.
pub(super) fn another<T: Copy + PartialEq, R: Rng + ?Sized>(
    choices: &[T],
    than: T,
    rng: &mut R,
) -> T {
    loop {
        let choice = one_of(choices, rng);
        if choice != than {
            return choice;
        }
    }
}

/// One of two.
pub(super) fn either<T, R: Rng + ?Sized>(a: T, b: T, rng: &mut R) -> T {
    if rng.r#gen() { a } else { b }
}

/// The choices of [`Architecture::decide`](super::Architecture::decide), one after the other.
pub(super) struct Decisions<'a>(std::slice::Iter<'a, usize>);

impl<'a> Decisions<'a> {
    /// `None` unless there is a choice for each decision, below its number of options.
    pub fn new(choices: &'a [usize], options: &[usize]) -> Option<Self> {
        let within = choices.iter().zip(options).all(|(choice, options)| choice < options);
        (choices.len() == options.len() && within).then(|| Self(choices.iter()))
    }

    /// The next choice; at most as many are taken as there are decisions.
    pub fn next(&mut self) -> usize {
        self.0.next().copied().unwrap_or(0)
    }

    /// The next choice, which is one of these.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.next()]
    }
}
