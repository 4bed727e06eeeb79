//! Measures that come from outside.

mod command;
mod latency;

pub use command::Command;
#[cfg(feature = "cli")]
pub(crate) use command::interrupt_commands;
pub use latency::{LatencyError, LatencyTable};
