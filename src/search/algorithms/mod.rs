//! Ways of choosing what to evaluate next.

mod evolution;
mod guided;
mod local;
mod nsga2;
mod posterior;
mod random;

pub use evolution::Evolution;
pub use guided::{Guided, Surrogate};
pub use local::LocalSearch;
pub use nsga2::Nsga2;
pub use random::RandomSearch;

/// Candidates asked for at a time where the algorithm itself goes one by one, so that all cores
/// have something to do.
const BATCH: usize = 32;
