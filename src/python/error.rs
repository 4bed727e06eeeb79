//! Errors as Python's exceptions, which carry their hint.

use crate::estimator::{LoadError, WriteError};
use crate::fault::Fault;
use crate::hint::Hint;
use pyo3::prelude::*;
use std::error::Error;
use std::io;

/// What went wrong, until Python hears of it.
#[derive(Debug)]
pub(super) struct Failure {
    message: String,
    hint: Option<String>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// What was given is not what it should be.
    Value,
    /// A file can't be read or written.
    File,
    /// The same, for it is not there.
    Missing,
    /// The program is wrong.
    Fault,
}

impl Failure {
    /// What an error of the library says, with its sources.
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        let (mut message, mut kind) = (error.to_string(), Kind::Value);
        let hint = Hint::for_error(error).map(|hint| in_python(&hint));
        if error.is::<Fault>() {
            kind = Kind::Fault;
        } else if matches!(error.downcast_ref(), Some(LoadError::Read { .. }))
            || error.is::<WriteError>()
        {
            kind = Kind::File;
        }
        let mut next = Some(error);
        while let Some(cause) = next {
            if let Some(error) = cause.downcast_ref::<io::Error>() {
                kind = match error.kind() {
                    io::ErrorKind::NotFound => Kind::Missing,
                    _ => Kind::File,
                };
            }
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            next = cause.source();
        }
        Self { message, hint, kind }
    }

    /// A value that is not what it should be.
    pub fn new(message: &str) -> Self {
        Self { message: message.into(), hint: None, kind: Kind::Value }
    }

    /// Adds what to do about it.
    pub fn hint(self, hint: String) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// Puts `subject: ` before the message.
    pub fn about(self, subject: &str) -> Self {
        Self { message: format!("{subject}: {}", self.message), ..self }
    }

    /// The exception.
    pub fn raise(&self, py: Python<'_>) -> PyErr {
        let name = match self.kind {
            Kind::Value => "GennapeError",
            Kind::File => "FileError",
            Kind::Missing => "MissingFileError",
            Kind::Fault => "InternalError",
        };
        let exception = py
            .import("gennape._errors")
            .and_then(|module| module.getattr(name))
            .and_then(|class| class.call1((&self.message, &self.hint)));
        exception.map_or_else(|error| error, PyErr::from_value)
    }
}

/// A hint in words for Python's users.
fn in_python(hint: &Hint) -> String {
    match hint {
        Hint::InputShapes(shapes) if shapes.is_empty() => {
            "give input_shapes as the network was trained".into()
        }
        Hint::InputShapes(shapes) => {
            let shape = |(name, shape): &(String, Vec<usize>)| {
                let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
                format!("{name:?}: ({},)", sizes.join(", "))
            };
            let shapes: Vec<String> = shapes.iter().map(shape).collect();
            format!("input_shapes={{{}}} would fit", shapes.join(", "))
        }
        Hint::AllowUnknown => "allow_unknown=True goes on and treats them as opaque".into(),
        Hint::DefaultModel => "ask the default model, Estimator()".into(),
        hint => hint.to_string(),
    }
}
