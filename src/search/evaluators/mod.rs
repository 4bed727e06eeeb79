//! Measures that come from outside.

mod command;
mod latency;

pub use command::Command;
pub use latency::{LatencyError, LatencyTable};
