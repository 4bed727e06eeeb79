//! From an embedding to an accuracy, an interval around it and a distance from the training
//! distribution.
//!
//! A [`Head`] scores the embedding, a [`Calibration`] turns scores into accuracies with intervals
//! that cover 90 % of networks like those it was trained on, and an [`ApplicabilityDomain`] tells how far an
//! embedding lies from them. A [`FewShotRegressor`] fits all of that to a few labels of another kind
//! of networks.
//!
//! GENNAPE's own predictors (arXiv 2211.17226) are [`FuzzyHeads`], one head for each of the
//! [`FuzzyClusters`] of embeddings, for accuracies or their [`FlopsTransform`], and an
//! [`Ensemble`] of several predictors.
//!
//! Latencies are sums of non-negative parts, which [`nonnegative_least_squares`] finds.

mod applicability;
mod calibration;
mod ensemble;
mod few_shot;
mod flops;
mod fuzzy;
mod head;
mod nonnegative;
mod process;
mod standard;

pub use applicability::ApplicabilityDomain;
pub use calibration::{Bin, Calibration, CalibrationError};
pub use ensemble::Ensemble;
pub use few_shot::{FewShotError, FewShotRegressor, RegressionKind};
pub use flops::{FlopsTransform, log_gflops};
#[cfg(feature = "train")]
pub(crate) use fuzzy::statistics;
pub use fuzzy::{Clustering, FuzzyClusters, FuzzyHeads};
pub use head::Head;
pub use nonnegative::nonnegative_least_squares;
// What speaks of real networks: fitting and models take what has these names here.
pub use process::{Hyperparameters, Prediction, Process, ProcessError, Rows};
pub use standard::Standardisation;
