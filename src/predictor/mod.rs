//! From an embedding to an accuracy, an interval around it and a distance from the training
//! distribution.
//!
//! A [`Head`] scores the embedding, a [`Calibration`] turns scores into accuracies with intervals
//! that cover 90 % of networks like those it was trained on, and a [`Territory`] tells how far an
//! embedding lies from them. An [`Adaptation`] fits all of that to a few labels of another kind of
//! networks.

mod adaptation;
mod calibration;
mod head;
mod territory;

pub use adaptation::{Adaptation, AdaptationError, Kind};
pub use calibration::{Bin, Calibration, CalibrationError};
pub use head::Head;
pub use territory::Territory;
