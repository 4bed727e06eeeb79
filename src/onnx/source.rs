//! The bytes of a file, read a window at a time.
//!
//! A file is never mapped: one that is cut short while it is read is an error here, where a map
//! would stop the process (`SIGBUS`). Weights are passed over without being read.

use super::error::{ReadError, Reason, limit};
use super::limits::MAX_FILE;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// Bytes that are read at once: a few headers.
const WINDOW: usize = 16 << 10;

/// Bytes in memory or in a file.
pub(super) struct Source<'a> {
    /// `None` when all bytes are in the window.
    file: Option<File>,
    length: usize,
    window: Cow<'a, [u8]>,
    /// Where the window starts.
    start: usize,
}

impl<'a> Source<'a> {
    /// Bytes in memory.
    pub fn memory(bytes: &'a [u8]) -> Self {
        Self { file: None, length: bytes.len(), window: bytes.into(), start: 0 }
    }
}

impl Source<'static> {
    /// The file at `path`.
    ///
    /// # Errors
    /// When it is no regular file: opening a pipe would wait, a device has no end.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        regular(&path.metadata()?)?;
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        regular(&metadata)?;
        let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        Ok(Self { file: Some(file), length, window: Cow::Owned(Vec::new()), start: 0 })
    }

    /// All bytes.
    ///
    /// # Errors
    /// When there are more than a message can have.
    pub fn into_bytes(mut self) -> Result<Vec<u8>, ReadError> {
        if self.length as u64 > MAX_FILE {
            return Err(limit("a file of too many bytes", MAX_FILE));
        }
        self.slice(0..self.length)?;
        Ok(self.window.into_owned())
    }
}

fn regular(metadata: &std::fs::Metadata) -> Result<(), ReadError> {
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    if !metadata.is_file() {
        let what = "it is no regular file, but a pipe, a socket or a device";
        return Err(Reason::Unsupported {
            what: what.into(),
            hint: Some("copy the network into a file".into()),
        }
        .into());
    }
    Ok(())
}

impl Source<'_> {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// The byte at `position`; `None` beyond the end.
    pub fn byte(&mut self, position: usize) -> Result<Option<u8>, ReadError> {
        if let Some(byte) = position.checked_sub(self.start).and_then(|i| self.window.get(i)) {
            return Ok(Some(*byte));
        }
        if position >= self.length {
            return Ok(None);
        }
        let last = position.saturating_add(1);
        Ok(self.slice(position..last)?.first().copied())
    }

    /// The bytes in `range`, which lies inside.
    pub fn slice(&mut self, range: Range<usize>) -> Result<&[u8], ReadError> {
        let inside = range.start >= self.start && range.end <= self.start + self.window.len();
        if !inside {
            self.load(&range)?;
        }
        let start = range.start.saturating_sub(self.start);
        // Never missing: the window was loaded with it.
        Ok(self.window.get(start..start + range.len()).unwrap_or_default())
    }

    fn load(&mut self, range: &Range<usize>) -> Result<(), ReadError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let end = range.end.max(range.start.saturating_add(WINDOW)).min(self.length);
        let window = self.window.to_mut();
        window.clear();
        window.resize(end.saturating_sub(range.start), 0);
        self.start = range.start;
        let read =
            file.seek(SeekFrom::Start(range.start as u64)).and_then(|_| file.read_exact(window));
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), "it was cut short while it was read").into()
            }
            _ => error.into(),
        })
    }
}
