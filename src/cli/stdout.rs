//! Standard output: nothing that a file holds reaches a terminal or a spreadsheet as a command.

use super::error::Error;
use crate::text::{clipped, is_printable, printable};
use csv::StringRecord;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{self, BufWriter, StdoutLock, Write};

/// Standard output as it is, for bytes that have an escaping of their own; flush it to see write
/// errors.
pub(crate) fn bytes() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Longest line of a text; a name may be as long as its file.
const MAX_CHARACTERS: usize = 10_000;

/// Standard output for people, line by line.
pub(crate) struct Text(Box<dyn Write>);

impl Text {
    /// Standard output.
    pub fn stdout() -> Self {
        Self(Box::new(bytes()))
    }

    /// Writes one line, in its printable form.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.0, "{}", clipped(&printable(text), MAX_CHARACTERS))
    }

    /// Writes one line of texts with tabulators between them, each in its printable form.
    pub fn columns(&mut self, texts: &[&str]) -> io::Result<()> {
        let texts: Vec<_> = texts.iter().map(|text| printable(text)).collect();
        writeln!(self.0, "{}", texts.join("\t"))
    }

    /// Writes what is left; to be called in the end, to see write errors.
    pub fn flush(mut self) -> Result<(), Error> {
        Ok(self.0.flush()?)
    }
}

/// Standard output as CSV.
///
/// A cell that a spreadsheet would compute (one that begins with `=`, `+`, `-` or `@` and is no
/// number) begins with an apostrophe instead, and cells are in their printable form, so no line
/// break stands in one. JSON has names as they are.
pub(crate) struct Csv(csv::Writer<BufWriter<StdoutLock<'static>>>);

impl Csv {
    /// Standard output.
    pub fn stdout() -> Self {
        Self(csv::Writer::from_writer(bytes()))
    }

    /// Writes the cells of a row.
    pub fn row(&mut self, row: impl Serialize) -> Result<(), Error> {
        let mut plain = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
        plain.serialize(row)?;
        let plain = plain.into_inner().map_err(|e| io::Error::other(e.to_string()))?;
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&plain[..]);
        let mut cells = StringRecord::new();
        reader.read_record(&mut cells)?;
        let mut safe = StringRecord::new();
        for text in &cells {
            safe.push_field(&cell(text));
        }
        Ok(self.0.write_record(&safe)?)
    }

    /// Writes what is left; to be called in the end, to see write errors.
    pub fn flush(mut self) -> Result<(), Error> {
        Ok(self.0.flush()?)
    }
}

/// `text` as a cell that is read as text or as a number.
fn cell(text: &str) -> String {
    let number = text.parse::<f64>().is_ok_and(f64::is_finite);
    let computed = |c: char| matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠');
    let mark = if !number && text.trim_start().starts_with(computed) { "'" } else { "" };
    format!("{mark}{}", printable(text))
}

/// `value` as indented JSON that ends with a line break. All of it can be shown: what a terminal
/// would obey is written as an escape of JSON, which means the same.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)? + "\n";
    if text.lines().all(is_printable) {
        return Ok(text);
    }
    let mut safe = String::with_capacity(text.len() + 64);
    for line in text.lines() {
        for c in line.chars() {
            if is_printable(c.encode_utf8(&mut [0; 4])) {
                safe.push(c);
            } else {
                // Such characters stand only in strings.
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            }
        }
        safe.push('\n');
    }
    Ok(safe)
}

/// Writes `value` to standard output as [`json`].
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let mut out = bytes();
    out.write_all(json(value)?.as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_numbers_stay_numbers() {
        for (text, safe) in [
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("-b2", "'-b2"),
            (" =1", "' =1"),
            ("\t=1", "'\\t=1"),
            ("\r=1", "'\\r=1"),
            ("-1.5e-3", "-1.5e-3"),
            ("+7", "+7"),
            ("-inf", "'-inf"),
            ("a=b", "a=b"),
            ("\u{1b}[31m\u{202e}\n", "\\u{1b}[31m\\u{202e}\\n"),
        ] {
            assert_eq!(cell(text), safe, "{text:?}");
        }
    }

    #[test]
    fn json_means_the_same_and_can_be_shown() {
        let name = "a\u{7f}\u{9b}31m\u{202e}\u{2028}\u{e0041}\n\"\\é模";
        let text = json(&[name]).unwrap();
        assert!(text.lines().all(is_printable), "{text}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), [name]);
    }
}
