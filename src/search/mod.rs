//! Searching a space for networks that are better by several measures at once.
//!
//! A [`SearchSpace`] says what there is, a [`Problem`] what is wanted, an [`Algorithm`] what to try
//! next; a [`Search`] brings them together. It knows no estimator: a measure is any [`Evaluator`].
//!
//! ```
//! use gennape::graph::ComputationGraph;
//! use gennape::search::algorithms::Evolution;
//! use gennape::search::{Problem, Search};
//! use gennape::spaces::Space;
//!
//! let problem = Problem::new()
//!     .maximise("depth", |graph: &ComputationGraph| graph.depth() as f64)
//!     .minimise("MACs", |graph: &ComputationGraph| graph.macs() as f64);
//! let search = Search::new(&Space::NasBenchMacro, &problem).algorithm(Evolution::default());
//! let record = search.budget(50).seed(0).run()?;
//! for network in record.front() {
//!     println!("{}: {:?}", network.candidate, network.values);
//! }
//! # Ok::<(), gennape::search::SearchError>(())
//! ```

pub mod algorithms;
mod choices;
pub mod evaluators;
pub mod pareto;
mod problem;
mod run;
mod space;

pub use choices::{ChoiceSpace, Choices};
pub use problem::{
    Bound, CandidateNetwork, Direction, EvaluationError, Evaluator, Interrupted, Problem,
};
pub use run::{
    Algorithm, Evaluated, Limits, Next, Observer, Record, Search, SearchError, Spent, Start, Stop,
};
pub use space::{CandidateError, SearchSpace};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
