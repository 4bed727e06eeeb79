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

/// The choice of this name.
pub(super) fn named<T: Copy>(
    name: &str,
    choices: &[T],
    name_of: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    choices.iter().copied().find(|&choice| name_of(choice) == name).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().copied().map(name_of).collect();
        format!("'{name}' is not one of {}", names.join(", "))
    })
}

/// A chain of operations as the authors of Two-Path and Inception draw it: main ones, which are the
/// first of all choices, but for each place after the first, one of the others is in the chain in
/// proportion to their number, unless one is already.
pub(super) fn chain<T: Copy, R: Rng + ?Sized>(
    length: usize,
    choices: &[T],
    main: usize,
    rng: &mut R,
) -> Vec<T> {
    let (main, supporting) = choices.split_at(main);
    let mut chain: Vec<T> = (0..length).map(|_| one_of(main, rng)).collect();
    if (1..length).any(|_| rng.gen_range(0..choices.len()) >= main.len()) {
        chain[rng.gen_range(0..length)] = one_of(supporting, rng);
    }
    chain
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
