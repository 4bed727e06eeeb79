//! Pictures: networks, charts, and pages about evaluations and runs, as SVG and HTML that stand alone.
//!
//! What is drawn knows nothing of it. Text that comes from files is escaped.

mod chart;
mod graph;
mod page;
mod profile;
#[cfg(feature = "train")]
mod pruning;
mod scatter;
mod search;

pub use graph::graph;
pub use profile::profile;
#[cfg(feature = "train")]
pub use pruning::pruning;
pub use scatter::{Points, evaluation, scatter};
pub use search::{Listing, search};

#[cfg(feature = "cli")]
pub(crate) use graph::{Tag, graph_with};
