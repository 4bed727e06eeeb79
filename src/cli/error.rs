//! How commands fail, and how that is told to the user.

use std::error::Error as StdError;
use std::io;
use std::process::ExitCode;

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Error {
    /// To be told to the user.
    Failure(Failure),
    /// The user has been told already, item by item.
    Reported,
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
    /// A failure that `error` describes, with its sources as causes. The last line of its text
    /// may be a hint.
    pub fn from_error(error: &dyn StdError) -> Self {
        let text = error.to_string();
        let (message, hint) = match text.rsplit_once("\nhint: ") {
            Some((message, hint)) => (message.to_string(), Some(hint.to_string())),
            None => (text, None),
        };
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

    /// Adds what to do about it, where that is known.
    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
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
        eprintln!("{} {}", tag("error:", Tone::Error), printable(&self.message));
        for cause in &self.causes {
            eprintln!("  caused by: {}", printable(cause));
        }
        if let Some(hint) = &self.hint {
            eprintln!("{} {}", tag("hint:", Tone::Hint), printable(hint));
        }
    }
}

impl Error {
    /// A failure that the user can do something about.
    pub fn user(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::Failure(Failure { message, causes: Vec::new(), hint: None })
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

    /// Tells the user and gives the exit code.
    pub fn report(&self) -> ExitCode {
        match self {
            Self::Failure(failure) => {
                failure.print();
                ExitCode::from(1)
            }
            Self::Reported => ExitCode::from(1),
            Self::BrokenPipe => ExitCode::SUCCESS,
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
    crate::estimator::WriteError,
    crate::evaluation::EvaluationError,
    crate::fine_tuning::FineTuneError,
    crate::lower::LowerError,
    crate::model_graph::BuildError,
    crate::search::SearchError,
    crate::search::algorithms::NoDecisions,
    crate::search::evaluators::LatencyError,
    crate::spaces::ParseError,
    crate::subnetworks::ParseError,
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
    eprintln!("{} {}", tag("note:", Tone::Hint), printable(text));
}

/// Told when the program itself is at fault.
pub(crate) fn report_panic(info: &std::panic::PanicHookInfo<'_>) {
    if crate::benchmarks::labels::panic_is_contained() {
        return;
    }
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let message = text.or(payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("no message");
    let place =
        info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
    eprintln!("{} internal fault: {}{place}", tag("error:", Tone::Error), printable(message));
    eprintln!("{} please report this with the file that caused it", tag("hint:", Tone::Hint));
}

enum Tone {
    Error,
    Hint,
}

/// `text`, coloured when standard error is a terminal that wants colours.
fn tag(text: &str, tone: Tone) -> console::StyledObject<&str> {
    let style = console::Style::new().for_stderr().bold();
    match tone {
        Tone::Error => style.red(),
        Tone::Hint => style.cyan(),
    }
    .apply_to(text)
}

/// `text` without control characters: names come from files, and a terminal would obey them.
pub(crate) fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.chars().any(|c| c.is_control() && c != '\n') {
        text.chars()
            .map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c })
            .collect()
    } else {
        text.into()
    }
}
