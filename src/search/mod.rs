//! Searching a space for networks that are better by several measures at once.
//!
//! A [`SearchSpace`] says what there is, a [`Problem`] what is wanted, an [`Algorithm`] what to try
//! next; [`search`] brings them together. It knows no estimator: a measure is any [`Evaluator`].
//!
//! ```
//! use gennape::graph::ComputationGraph;
//! use gennape::search::algorithms::Evolution;
//! use gennape::search::{Limits, Next, Problem, Start, search};
//! use gennape::spaces::Space;
//!
//! let problem = Problem::new()
//!     .maximise("depth", |graph: &ComputationGraph| graph.depth() as f64)
//!     .minimise("MACs", |graph: &ComputationGraph| graph.macs() as f64);
//! let limits = Limits { budget: 50, seed: 0 };
//! let mut evolution = Evolution::default();
//! let mut observe = |_: &[_]| Next::Continue;
//! let record = search(&Space::NasBenchMacro, &problem, &mut evolution, limits, Start::default(), &mut observe)?;
//! for network in record.front() {
//!     println!("{}: {:?}", network.candidate, network.values);
//! }
//! # Ok::<(), gennape::search::SearchError>(())
//! ```

pub mod algorithms;
pub mod evaluators;
pub mod pareto;
mod problem;
mod run;
mod space;

pub use problem::{Bound, Direction, EvaluationError, Evaluator, Interrupted, Network, Problem};
pub use run::{
    Algorithm, Evaluated, Limits, Next, Observer, Record, SearchError, Spent, Start, Stop, search,
};
pub use space::{CandidateError, SearchSpace};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
