//! Estimates how accurate a neural network will be from its architecture alone.
//!
//! Data flows one way, and each stage is a type:
//!
//! ```text
//! ONNX file ──onnx──▶ ModelGraph ──lower──▶ ComputationGraph ──encoder──▶ embedding
//!     search space ──spaces──▲                                  embedding ──predictor──▶ Estimate
//! ```
//!
//! [`predict`] does all of it in one call, and [`estimator::Estimator`] the second half:
//!
//! ```
//! use gennape::{estimator::Estimator, lower::lower, spaces::Space};
//!
//! let cell = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|avg_pool_3x3~2|";
//! let graph = lower(&Space::NasBench201.build(cell)?)?;
//! let estimate = &Estimator::embedded().estimate(&[graph])?[0];
//! assert!(estimate.interval[0] <= estimate.accuracy && estimate.accuracy <= estimate.interval[1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The method is GENNAPE's (arXiv 2211.17226). Shape inference belongs to [`model_graph`], not to
//! [`onnx`], so that search spaces and the importer share one set of rules.
// Not `forbid`: ndarray's macro `s!` allows itself what it needs.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod benchmarks;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clustering;
pub mod draw;
pub mod encoder;
pub mod estimator;
pub mod evaluation;
#[cfg(feature = "train")]
pub mod execute;
mod fault;
mod files;
pub mod fine_tuning;
#[cfg(feature = "clustering")]
pub mod fitting;
pub mod graph;
pub mod guide;
mod hint;
#[cfg(feature = "train")]
pub mod images;
pub mod latency;
pub mod lower;
pub mod metrics;
pub mod model_graph;
pub mod onnx;
mod predict;
pub mod predictor;
pub mod proxies;
#[cfg(feature = "train")]
pub mod pruning;
#[cfg(feature = "python")]
mod python;
pub mod search;
#[doc = include_str!("security.md")]
pub mod security {}
pub mod spaces;
pub mod subnetworks;
pub mod supernet;
mod text;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "train")]
pub mod training;

pub use hint::Hint;
pub use predict::{PredictError, predict};
/// The version whose generators searches and spaces take.
pub use rand;

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
