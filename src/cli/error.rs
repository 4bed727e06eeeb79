//! How commands fail, and how that is told to the user.

use crate::fault::Fault;
use crate::hint::Hint;
use crate::text::{clipped, is_printable, printable};
use std::error::Error as StdError;
use std::io::{self, Write};

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Error {
    /// To be told to the user.
    Failure(Failure),
    /// The user has been told already, item by item.
    Reported,
    /// The same, and something of it was our fault.
    Fault,
    /// Whoever read our output has stopped reading; not an error of anyone's.
    BrokenPipe,
}

/// A failure in words.
#[derive(Debug)]
pub(crate) struct Failure {
    pub message: String,
    /// Underlying errors, outermost first.
    pub causes: Vec<String>,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure that `error` describes, with its sources as causes.
    pub fn from_error(error: &(dyn StdError + 'static)) -> Self {
        let (message, hint) =
            (error.to_string(), Hint::for_error(error).map(|hint| hint.to_string()));
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            // Many errors quote their source themselves.
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                causes.push(cause_text);
            }
            source = cause.source();
        }
        Self { message, causes, hint }
    }

    /// A failure without more to say of it.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), hint: None }
    }

    /// Puts `subject: ` before the message.
    pub fn about(mut self, subject: &str) -> Self {
        self.message = format!("{subject}: {}", self.message);
        self
    }

    /// The message and its causes on one line.
    pub fn to_line(&self) -> String {
        let mut line = self.message.clone();
        for cause in &self.causes {
            line.push_str(": ");
            line.push_str(cause);
        }
        line
    }

    /// Prints `error: …` with causes and hint to standard error.
    pub fn print(&self) {
        tell("error:", Tone::Error, &self.message);
        for cause in &self.causes {
            line(&format!("  caused by: {}", shown(cause)));
        }
        if let Some(hint) = &self.hint {
            tell("hint:", Tone::Hint, hint);
        }
    }
}

impl Error {
    /// A failure that the user can do something about.
    pub fn user(message: impl Into<String>) -> Self {
        Self::Failure(Failure::new(message))
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Failure(failure) = &mut self {
            failure.hint = Some(hint.into());
        }
        self
    }

    /// Puts `subject: ` before the message.
    pub fn about(self, subject: &str) -> Self {
        match self {
            Self::Failure(failure) => Self::Failure(failure.about(subject)),
            other => other,
        }
    }

    /// The message and its causes on one line.
    #[cfg(feature = "python")]
    pub fn to_line(&self) -> String {
        match self {
            Self::Failure(failure) => failure.to_line(),
            Self::Reported | Self::Fault | Self::BrokenPipe => "it has failed".into(),
        }
    }

    /// Tells the user and gives the exit code.
    pub fn report(&self) -> u8 {
        match self {
            Self::Failure(failure) => {
                failure.print();
                1
            }
            Self::Reported => 1,
            Self::Fault => 2,
            Self::BrokenPipe => 0,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Failure(Failure::from_error(&error)),
        }
    }
}

impl From<csv::Error> for Error {
    fn from(error: csv::Error) -> Self {
        match error.into_kind() {
            csv::ErrorKind::Io(error) => error.into(),
            kind => Self::user(format!("cannot write CSV: {kind:?}")),
        }
    }
}

/// Errors of the library that the user can do something about.
macro_rules! from_library {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Failure::from_error(&error).into()
            }
        })*
    };
}
from_library!(
    crate::benchmarks::BenchmarkError,
    crate::estimator::LoadError,
    crate::estimator::QuestionError,
    crate::estimator::WriteError,
    crate::evaluation::EvaluationError,
    crate::fine_tuning::FineTuneError,
    crate::fitting::FitError,
    crate::latency::LatencyFitError,
    crate::lower::LowerError,
    crate::model_graph::BuildError,
    crate::search::SearchError,
    crate::search::algorithms::NoDecisions,
    crate::search::evaluators::LatencyError,
    crate::spaces::ParseError,
    crate::subnetworks::ChangeError,
    crate::subnetworks::ShrinkError,
);
#[cfg(feature = "train")]
from_library!(crate::train::TrainError);

impl From<crate::onnx::WriteError> for Error {
    fn from(error: crate::onnx::WriteError) -> Self {
        match error {
            crate::onnx::WriteError::Io(error) => error.into(),
            error => Failure::from_error(&error).into(),
        }
    }
}

/// Prints a remark to standard error.
pub(crate) fn note(text: &str) {
    tell("note:", Tone::Hint, text);
}

/// Prints a line about what was done to standard error.
pub(crate) fn report(text: &str) {
    line(&shown(text));
}

/// Told when the program itself is at fault.
pub(crate) fn report_fault(fault: &Fault) {
    Failure::from_error(fault).print();
}

#[derive(Clone, Copy)]
enum Tone {
    Error,
    Hint,
}

/// Prints `text` after `tag`, which is coloured when standard error is a terminal that wants it.
fn tell(tag: &str, tone: Tone, text: &str) {
    let style = console::Style::new().for_stderr().bold();
    let style = match tone {
        Tone::Error => style.red(),
        Tone::Hint => style.cyan(),
    };
    line(&format!("{} {}", style.apply_to(tag), shown(text)));
}

/// More of one message than this is left out: it may quote a file.
const MAX_CHARACTERS: usize = 2000;

/// Texts hold names from files, so all of them pass here on their way to a terminal.
fn shown(text: &str) -> String {
    clipped(&printable(&clipped(text, MAX_CHARACTERS)), MAX_CHARACTERS).into_owned()
}

/// The only place that writes to standard error, apart from the progress bar.
fn line(text: &str) {
    // When nobody can be told, the exit code still tells.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints what clap says of the arguments, which a shell may have taken from a folder's names, and what to
/// write instead.
pub(crate) fn report_usage(error: &clap::Error, hint: Option<&str>) {
    let text = error.render().to_string();
    if text.lines().all(is_printable) {
        // With colours. When even this can't be written, nobody reads.
        let _ = error.print();
    } else {
        text.lines().for_each(|text| line(&shown(text)));
    }
    if let Some(hint) = hint {
        tell("hint:", Tone::Hint, hint);
    }
}
