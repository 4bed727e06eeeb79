//! A progress bar for work that turns out to take long.

use crate::text::printable;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Work shorter than this shows no bar.
const PATIENCE: Duration = Duration::from_secs(2);

/// A bar on standard error, when that is a terminal, from the third second on.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    /// Progress over `length` steps of `what`.
    pub fn new(what: impl Into<Cow<'static, str>>, length: usize) -> Self {
        let bar = ProgressBar::with_draw_target(
            Some(length.try_into().unwrap_or(u64::MAX)),
            ProgressDrawTarget::hidden(),
        );
        if let Ok(style) =
            ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {rate} {eta} left")
        {
            // The style's own rate has four decimals.
            let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
                let _ = write!(out, "{:.0}/s", state.per_sec());
            };
            bar.set_style(style.with_key("rate", rate));
        }
        bar.set_message(printable(&what.into()).into_owned());
        Self { bar, started: Instant::now() }
    }

    /// One step is done. May be called from several threads.
    pub fn step(&self) {
        self.bar.inc(1);
        self.show();
    }

    /// So many steps are done in all.
    pub fn reach(&self, steps: u64) {
        self.bar.set_position(steps);
        self.show();
    }

    /// So many steps are done in all; the bar says `what`.
    pub fn reach_with(&self, steps: u64, what: impl FnOnce() -> String) {
        if !self.bar.is_hidden() {
            self.bar.set_message(printable(&what()).into_owned());
        }
        self.reach(steps);
    }

    fn show(&self) {
        if self.bar.is_hidden()
            && console::user_attended_stderr()
            && self.started.elapsed() > PATIENCE
        {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar for each stage of some work, which begins when the one before has ended.
pub(crate) struct Stages {
    what: String,
    bar: Mutex<Option<(&'static str, Progress)>>,
}

impl Stages {
    /// Stages of `what`.
    pub fn new(what: String) -> Self {
        Self { what, bar: Mutex::new(None) }
    }

    /// So many steps of the current stage are done.
    pub fn reach(&self, stage: &'static str, done: usize, of: usize) {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if bar.as_ref().is_none_or(|(current, _)| *current != stage) {
            *bar = Some((stage, Progress::new(format!("{}: {stage}", self.what), of)));
        }
        if let Some((_, bar)) = bar.as_ref() {
            bar.reach(done as u64);
        }
    }
}
