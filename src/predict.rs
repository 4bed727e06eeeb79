//! From an ONNX file to an answer in one call.

use crate::estimator::{Answer, Estimator, Question, QuestionError};
use crate::hint::Hint;
use crate::lower::{LowerError, lower};
use crate::onnx::{self, ReadError, ReadOptions};

/// What `estimator` answers about the network in `bytes`, an ONNX file: the same as `gennape predict`.
///
/// ```
/// use gennape::estimator::{Estimator, Question};
/// use gennape::onnx::ReadOptions;
///
/// let bytes = std::fs::read("data/examples/resnet18.onnx")?;
/// let estimator = Estimator::embedded();
/// let answer = gennape::predict(&estimator, &bytes, &ReadOptions::default(), &Question::default())?;
/// assert_eq!(answer.target.map(|target| target.name()), Some("imagenet1k"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the bytes are no network that can be read, or the question has no answer.
pub fn predict(
    estimator: &Estimator,
    bytes: &[u8],
    options: &ReadOptions,
    question: &Question,
) -> Result<Answer, PredictError> {
    let graph = lower(&onnx::read_bytes(bytes, "network", options)?)?;
    Ok(estimator.answer_one(&graph, question)?)
}

/// Why there is no answer about a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It computes nothing.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The model has no answer.
    #[error(transparent)]
    Question(#[from] QuestionError),
}

impl PredictError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Read(error) => error.hint(),
            Self::Question(error) => error.hint(),
            Self::Lower(_) => None,
        }
    }
}
