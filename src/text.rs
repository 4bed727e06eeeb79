//! Text that came from elsewhere, made fit to be shown.
//!
//! Names of nodes, tensors, files and models come from files that anybody may have written. What a
//! terminal, a spreadsheet or a reader's eye would take for something else is shown as an escape.

use std::borrow::Cow;
use std::fmt::Write;
use std::path::Path;

/// Whether a terminal shows `c` as a character in its place: no control character (C0, DEL, C1, so
/// no escape sequence either), no change of direction, no line separator, and nothing invisible.
fn is_plain(c: char) -> bool {
    !(c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{70f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}'
            | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'))
}

/// Whether `text` is its own [`printable`] form.
pub(crate) fn is_printable(text: &str) -> bool {
    text.chars().all(is_plain)
}

/// `text` on one line, with escapes (`\n`, `\u{1b}`) for what would not show as itself.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if is_printable(text) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if is_plain(c) => shown.push(c),
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            c => shown.extend(c.escape_unicode()),
        }
    }
    shown.into()
}

/// The first characters of `text`, and a mark where there were more than `most`.
pub(crate) fn clipped(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// `path` as a word of a shell's command line.
pub(crate) fn quoted(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    // A name that begins with a dash would be an option.
    let here = if bytes.starts_with(b"-") { "./" } else { "" };
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+,:=@%".contains(b);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(plain) => format!("{here}{text}"),
        Ok(text) if is_printable(text) => format!("'{here}{}'", text.replace('\'', r"'\''")),
        _ => {
            let mut word = format!("$'{here}");
            for &b in bytes {
                match b {
                    b'\'' | b'\\' => word.extend(['\\', char::from(b)]),
                    b' '..=b'~' => word.push(char::from(b)),
                    // A String takes everything.
                    b => drop(write!(word, "\\x{b:02x}")),
                }
            }
            word + "'"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_show_as_itself_is_escaped() {
        for (text, shown) in [
            ("layer.1/conv é 模型 🙂", "layer.1/conv é 模型 🙂"),
            ("a\nerror: b\r\tc", "a\\nerror: b\\r\\tc"),
            ("\u{1b}[2J\u{9b}31m\u{7f}", "\\u{1b}[2J\\u{9b}31m\\u{7f}"),
            ("\u{202e}xnno.\u{2066}\u{200f}", "\\u{202e}xnno.\\u{2066}\\u{200f}"),
            ("a\u{200b}b\u{2028}c\u{feff}\u{e0041}", "a\\u{200b}b\\u{2028}c\\u{feff}\\u{e0041}"),
        ] {
            assert_eq!(printable(text), shown);
            assert!(is_printable(shown));
        }
        assert_eq!((clipped("äöü", 3), clipped("äöü", 2)), ("äöü".into(), "äö…".into()));
    }

    /// What a shell makes of the word is the path.
    #[cfg(unix)]
    #[test]
    fn quoted_paths_are_words_that_mean_them() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        for name in [
            &b"a/b-1.onnx"[..],
            b"my net.onnx",
            b"it's $HOME `x` \"y\"!*",
            b"two\nlines\x1b[31m \\n 'q'",
            b"not utf-8 \xff\xfe1",
            b"\xe2\x80\xae",
            b"",
        ] {
            let script = format!("printf %s {}", quoted(Path::new(OsStr::from_bytes(name))));
            let output = std::process::Command::new("bash").arg("-c").arg(script).output().unwrap();
            assert_eq!(output.stdout, name, "{}", String::from_utf8_lossy(name));
        }
        assert_eq!(quoted(Path::new("-o.onnx")), "./-o.onnx");
    }
}
