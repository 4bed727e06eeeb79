//! What is told while a search goes on, and after it.

use super::folder::{Folder, Settings};
use super::front::shown;
use crate::cli::error::{Error, Failure, note};
use crate::search::evaluators::interrupt_commands;
use crate::search::{Direction, Evaluated, Problem, Record, Stop};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Whether Ctrl-C was pressed. Pressed once more, it stops commands that run, or else the program.
pub fn interrupts() -> Result<Arc<AtomicBool>, Error> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let (flag, presses) = (interrupted.clone(), AtomicUsize::new(0));
    let handler = move || match presses.fetch_add(1, Ordering::Relaxed) {
        0 => {
            flag.store(true, Ordering::Relaxed);
            note("stopping after what is being evaluated; once more to stop at once");
        }
        1 if interrupt_commands() => note("stopping the commands"),
        _ => process::exit(130),
    };
    ctrlc::set_handler(handler).map_err(|e| Error::user(format!("no handler of Ctrl-C: {e}")))?;
    Ok(interrupted)
}

/// The best so far, for people who wait.
#[derive(Default)]
pub struct Best {
    /// Of the first objective.
    value: Option<f64>,
    name: String,
}

impl Best {
    pub fn update<C>(&mut self, problem: &Problem, news: &[Evaluated<C>]) {
        let Some(&(measure, direction)) = problem.objectives().first() else { return };
        self.name = problem.measures().nth(measure).unwrap_or_default().to_string();
        let feasible = news.iter().filter(|e| e.fitness.violation == 0.0);
        self.value =
            feasible.filter_map(|e| e.values[measure]).chain(self.value).reduce(match direction {
                Direction::Maximise => f64::max,
                Direction::Minimise => f64::min,
            });
    }

    pub fn text(&self) -> String {
        match self.value {
            Some(value) => format!("{} {}", self.name, shown(&self.name, value)),
            None => "nothing keeps the constraints yet".into(),
        }
    }
}

/// Faults that are told one by one.
const TOLD_FAULTS: usize = 10;

/// Tells which candidates are on no front because of what they are, or by our fault.
pub fn tell_of_failures<C>(record: &Record<C>) -> Result<(), Error> {
    if record.guessing > 0 {
        note(&format!(
            "{} networks can but guess, for their output does not depend on their input; they are \
             on no front",
            record.guessing
        ));
    }
    for fault in record.faults.iter().take(TOLD_FAULTS) {
        Failure::from_error(fault).print();
    }
    match record.faults.len() {
        0 => return Ok(()),
        n if n > TOLD_FAULTS => note(&format!("{} more candidates failed", n - TOLD_FAULTS)),
        _ => {}
    }
    Err(Error::Fault)
}

/// Tells how it went.
pub fn tell<C>(
    record: &Record<C>,
    evaluated: usize,
    began: Instant,
    folder: &Folder,
    settings: &Settings,
) {
    let seconds = began.elapsed().as_secs_f64();
    let share = |part: Duration| 100.0 * part.as_secs_f64() / seconds;
    let (report, path) = (folder.file("report.html"), folder.file(""));
    let why = match record.stop {
        Stop::Budget => String::new(),
        Stop::Exhausted => {
            "; then nothing new that keeps the constraints was found for long".into()
        }
        Stop::Interrupted => "; interrupted".into(),
    };
    note(&format!(
        "{evaluated} networks of {} candidates in {seconds:.1} s, {:.0} candidates a second ({:.0} % \
         building, {:.0} % measuring, {:.0} % choosing){why}; see {}",
        record.candidates,
        record.candidates as f64 / seconds,
        share(record.spent.building),
        share(record.spent.evaluating),
        share(record.spent.proposing),
        report.display()
    ));
    if record.stop == Stop::Interrupted {
        note(&format!("{} goes on", settings.resume(&path)));
    }
}
