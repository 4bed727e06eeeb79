//! From arguments to a training that can be interrupted, and from its errors to hints.

use super::{Augment, TrainingArguments};
use crate::cli::error::Error;
use crate::execute::{self, ExecuteError};
use crate::images::{Augmentation, ImageError};
use crate::search::evaluators::interrupt_commands;
use crate::text::quoted;
use crate::training::{Schedule, TrainingError};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

impl TrainingArguments {
    /// The same for the library.
    pub fn schedule(&self, seed: u64, checkpoint: &Path) -> Result<Schedule, Error> {
        Ok(Schedule {
            epochs: self.epochs,
            batch: self.batch,
            rate: self.learning_rate,
            seed,
            augmentation: match self.augment {
                Augment::CropFlip => Augmentation::CropFlip,
                Augment::Crop => Augmentation::Crop,
                Augment::None => Augmentation::None,
            },
            device: execute::device(&self.device).map_err(Error::user)?,
            checkpoint: checkpoint.to_path_buf(),
            resume: self.resume,
        })
    }
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        let failure = Self::user(error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// A path with an end added.
pub(in crate::cli) fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

/// Epochs that are over after so many steps.
pub(in crate::cli) fn steps(done: usize, all: usize, epochs: usize) -> u64 {
    (done.saturating_mul(epochs) / all.max(1)) as u64
}

pub(in crate::cli) fn duration(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// The error about the network at `path` with what to do about it.
pub(in crate::cli) fn failure(error: TrainingError, path: &Path) -> Error {
    let hint: Option<String> = match &error {
        TrainingError::Read(error) | TrainingError::Execute(ExecuteError::Read(error)) => {
            error.hint().map(|hint| hint.to_string())
        }
        TrainingError::Stopped(epochs) if *epochs > 0 => {
            Some("the same command with --resume goes on after the last epoch".into())
        }
        TrainingError::Diverged(_) => Some("--learning-rate with a tenth of the step size".into()),
        TrainingError::Checkpoint { .. } => Some("without --resume it begins anew".into()),
        TrainingError::NoWeights => {
            Some(format!("gennape supernet train {} --images DIR -o super.onnx", quoted(path)))
        }
        TrainingError::Nothing(_) => Some(format!("gennape space {}", quoted(path))),
        _ => None,
    };
    let told = Error::user(error.to_string()).about(&path.display().to_string());
    match hint {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// Whether Ctrl-C was pressed. Pressed once more, it stops commands that run, or else the program.
pub(in crate::cli) fn interrupts() -> Result<Arc<AtomicBool>, Error> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) && !interrupt_commands() {
            process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|e| Error::user(format!("no handler of Ctrl-C: {e}")))?;
    Ok(interrupted)
}
