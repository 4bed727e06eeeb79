//! What the user can do about an error, as data: every front end says it in its own words.

use crate::benchmarks::BenchmarkError;
use crate::estimator::{LoadError, QuestionError};
use crate::evaluation::EvaluationError;
use crate::fault::Fault;
use crate::fine_tuning::FineTuneError;
#[cfg(feature = "clustering")]
use crate::latency::LatencyFitError;
use crate::model_graph::DisplayShape;
use crate::onnx::ReadError;
use crate::predict::PredictError;
use crate::search::SearchError;
use crate::search::evaluators::LatencyError;
use crate::subnetworks::ShrinkError;
use crate::text::quoted;
use std::error::Error;
use std::fmt;
use std::path::Path;

/// The next step after an error. Its text is for the command line, one sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Something that is the same for everybody.
    Words(String),
    /// Give the shapes of these [inputs](crate::onnx::ReadOptions::input_shapes); without any, those
    /// that the network was trained with.
    InputShapes(Vec<(String, Vec<usize>)>),
    /// [Allow](crate::onnx::ReadOptions::allow_unknown) unknown operators.
    AllowUnknown,
    /// Ask the model that is part of the program.
    DefaultModel,
    /// Name the column of the target, which is one of these.
    TargetColumn(Vec<String>),
}

impl Hint {
    /// What to do about an error of this library, where that is known.
    pub fn for_error(error: &(dyn Error + 'static)) -> Option<Self> {
        macro_rules! of {
            ($($error:ty),*) => {
                $(if let Some(error) = error.downcast_ref::<$error>() {
                    return error.hint().map(Self::from);
                })*
            };
        }
        of!(
            ReadError,
            BenchmarkError,
            FineTuneError,
            LoadError,
            LatencyError,
            QuestionError,
            PredictError
        );
        #[cfg(feature = "clustering")]
        of!(LatencyFitError);
        if let Some(ShrinkError::Read(error)) = error.downcast_ref() {
            return error.hint();
        }
        if let Some(EvaluationError::Network(error)) = error.downcast_ref() {
            return error.hint();
        }
        let fault =
            error.is::<Fault>() || matches!(error.downcast_ref(), Some(SearchError::Fault { .. }));
        fault.then(|| Self::Words(Fault::HINT.into()))
    }
}

impl From<String> for Hint {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(words) => f.write_str(words),
            Self::InputShapes(shapes) if shapes.is_empty() => {
                f.write_str("give --input-shape as the network was trained")
            }
            Self::InputShapes(shapes) => {
                let option = |(name, shape): &(String, Vec<usize>)| {
                    let option = format!("{name}={}", DisplayShape(shape));
                    format!("--input-shape {}", quoted(Path::new(&option)))
                };
                let options: Vec<String> = shapes.iter().map(option).collect();
                write!(f, "{} would fit", options.join(" "))
            }
            Self::AllowUnknown => f.write_str("--allow-unknown goes on and treats them as opaque"),
            Self::DefaultModel => f.write_str("leave --model out"),
            Self::TargetColumn(columns) => {
                write!(f, "name the target: {}", columns.join(", "))?;
                match columns.first() {
                    Some(column) => write!(f, "; such as --target {}", quoted(Path::new(column))),
                    None => Ok(()),
                }
            }
        }
    }
}
