//! From arguments to a training that can be interrupted, and from its errors to hints.

use super::{Augment, TrainingArguments};
use crate::cli::error::{Error, note, report};
use crate::cli::input;
use crate::cli::output::distinct;
use crate::cli::progress::Progress;
use crate::execute::{self, ExecuteError};
use crate::images::{Augmentation, ImageError, ImageSet};
use crate::onnx::ReadOptions;
use crate::search::evaluators::interrupt_commands;
use crate::text::quoted;
use crate::training::{Event, Schedule, TrainingError, image_size};
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

/// What a command begins with that trains the network of a file.
pub(in crate::cli) struct Begun {
    pub images: ImageSet,
    /// What is read, and must not be written onto.
    pub inputs: Vec<PathBuf>,
    pub schedule: Schedule,
}

/// Opens the images at the size that the network at `path` takes; it is trained for `output`.
pub(in crate::cli) fn begin(
    path: &Path,
    read: &ReadOptions,
    training: &TrainingArguments,
    seed: u64,
    output: &Path,
) -> Result<Begun, Error> {
    let about = |e: TrainingError| failure(e, path);
    let size = image_size(path, read).map_err(about)?;
    let images = ImageSet::open(&training.images, Some(size))?;
    let (_, original) = input::open(path, read)?;
    let mut inputs = original.files().map_err(|e| about(e.into()))?;
    inputs.extend([path.to_path_buf(), training.images.clone()]);
    let checkpoint = with(output, ".checkpoint");
    distinct(&checkpoint, &inputs)?;
    Ok(Begun { images, inputs, schedule: training.schedule(seed, &checkpoint)? })
}

/// A path with an end added.
pub(in crate::cli) fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

/// Trains with progress on standard error, until it is over or Ctrl-C is pressed; `tell` says what is to be known of
/// an epoch.
pub(in crate::cli) fn watched<E, T>(
    epochs: usize,
    tell: impl Fn(&E) -> String,
    train: impl FnOnce(&mut dyn FnMut(Event<E>) -> bool) -> T,
) -> Result<T, Error> {
    let interrupted = interrupts()?;
    let bar = Progress::new("training", epochs);
    let mut observe = |event: Event<E>| {
        match event {
            Event::Note(text) => note(&text),
            Event::Step(done, all) => {
                bar.reach((done.saturating_mul(epochs) / all.max(1)) as u64);
            }
            Event::Epoch(epoch, left) => {
                report(&format!("{}, {} left", tell(epoch), duration(left)))
            }
        }
        !interrupted.load(Ordering::Relaxed)
    };
    Ok(train(&mut observe))
}

fn duration(seconds: f64) -> String {
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
        TrainingError::Stopped(_) => {
            Some("the same command with --resume goes on from there".into())
        }
        TrainingError::Diverged(_) | TrainingError::NotFinite => {
            Some("--learning-rate with a tenth of the step size".into())
        }
        TrainingError::Steps(_) => Some("more --epochs, or a smaller --batch".into()),
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
fn interrupts() -> Result<Arc<AtomicBool>, Error> {
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
