//! The way through the epochs, whatever is trained.

use super::{Checkpoint, Schedule, TrainingError};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Instant;
use tch::Tensor;

/// What is told while training goes on.
#[derive(Debug)]
pub enum Event<'a, E> {
    /// Something to know before it begins.
    Note(String),
    /// So many of all steps are done.
    Step(usize, usize),
    /// An epoch is over; so many seconds are left.
    Epoch(&'a E, f64),
}

/// What is trained, with all that training changes.
pub(crate) trait Trainee {
    /// What is told of an epoch.
    type Epoch: Clone + Serialize + DeserializeOwned;
    /// What is to be kept beside tensors.
    type Record: Serialize + DeserializeOwned;
    type Error: From<TrainingError>;

    /// Steps of an epoch.
    fn steps(&self) -> usize;

    /// An epoch begins: its images are put in order.
    fn begin(&mut self, rng: &mut ChaCha8Rng);

    /// Step `number` of its epoch, `step` of all; the loss before it.
    fn step(
        &mut self,
        number: usize,
        step: usize,
        rng: &mut ChaCha8Rng,
    ) -> Result<f64, Self::Error>;

    /// What is told of epoch `number`, from 1, now that it is over; `loss` is the mean of its steps.
    fn end(
        &mut self,
        number: usize,
        loss: f64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self::Epoch, Self::Error>;

    fn record(&self) -> Self::Record;

    /// Takes up what was kept, so that the tensors are those that were there then.
    fn restore(&mut self, record: Self::Record) -> Result<(), Self::Error>;

    /// The tensors that training changes, by name.
    fn tensors(&self) -> Vec<(String, Tensor)>;
}

/// How far a run has come.
#[derive(Serialize, Deserialize)]
struct Progress<E> {
    /// Epochs that are over.
    history: Vec<E>,
    /// Steps of the one that has begun,
    steps: usize,
    /// the sum of their losses, by its bits, of which JSON loses none,
    loss: u64,
    /// and how far they went through its random numbers.
    drawn: u64,
}

/// Trains in these of all epochs, and keeps the state after each, and where `observe` returns false. The
/// same comes out if a run is stopped and goes on.
///
/// # Errors
/// [`TrainingError::Stopped`] when `observe` returns false.
pub(crate) fn train<T: Trainee>(
    trainee: &mut T,
    schedule: &Schedule,
    epochs: Range<usize>,
    checkpoint: Option<&Checkpoint>,
    observe: &mut dyn FnMut(Event<T::Epoch>) -> bool,
) -> Result<Vec<T::Epoch>, T::Error> {
    let mut progress = Progress { history: Vec::new(), steps: 0, loss: 0f64.to_bits(), drawn: 0 };
    if let Some(file) = checkpoint.filter(|_| schedule.resume) {
        let (record, kept): ((_, T::Record), _) = file.load()?;
        progress = record.0;
        trainee.restore(record.1)?;
        kept.copy_to(&trainee.tensors())?;
    }
    let save = |progress: &Progress<T::Epoch>, trainee: &T| match checkpoint {
        Some(file) => file.save(&(progress, trainee.record()), &trainee.tensors()),
        None => Ok(()),
    };
    let steps = trainee.steps();
    let all = steps * schedule.epochs;
    let started = Instant::now();
    let before = (epochs.start + progress.history.len()) * steps + progress.steps;
    for epoch in epochs.start + progress.history.len()..epochs.end {
        let mut rng = ChaCha8Rng::seed_from_u64(schedule.seed);
        rng.set_stream(epoch as u64 + 1);
        trainee.begin(&mut rng);
        if progress.steps > 0 {
            rng.set_word_pos(progress.drawn.into());
        }
        let mut loss = f64::from_bits(progress.loss);
        for number in progress.steps..steps {
            let step = epoch * steps + number;
            // For dropout.
            tch::manual_seed(
                (schedule.seed as i64).wrapping_mul(1 << 40).wrapping_add(step as i64),
            );
            loss += trainee.step(number, step, &mut rng)?;
            if !loss.is_finite() {
                return Err(TrainingError::Diverged(step + 1).into());
            }
            if !observe(Event::Step(step + 1, all)) {
                progress.steps = number + 1;
                progress.loss = loss.to_bits();
                progress.drawn = u64::try_from(rng.get_word_pos()).unwrap_or(u64::MAX);
                save(&progress, trainee)?;
                return Err(TrainingError::Stopped(step + 1).into());
            }
        }
        let told = trainee.end(epoch + 1, loss / steps.max(1) as f64, &mut rng)?;
        progress.history.push(told.clone());
        (progress.steps, progress.loss, progress.drawn) = (0, 0f64.to_bits(), 0);
        save(&progress, trainee)?;
        let done = (epoch + 1) * steps;
        let pace = started.elapsed().as_secs_f64() / (done - before).max(1) as f64;
        let left = pace * (epochs.end * steps).saturating_sub(done) as f64;
        if !observe(Event::Epoch(&told, left)) && epoch + 1 < epochs.end {
            return Err(TrainingError::Stopped(done).into());
        }
    }
    Ok(progress.history)
}
