//! A file of lines that only grows.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long lines may be in the system's hands alone, which a loss of power would take.
const UNSYNCED: Duration = Duration::from_secs(1);

/// A file that whole lines are added to. A process that is killed leaves a part of one line at
/// most, and the next one drops it.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    length: u64,
    synced: Instant,
}

impl Log {
    /// The file at `path`, which must be there, and its whole lines.
    ///
    /// # Errors
    /// When it can't be read or written, or is longer than `limit` bytes.
    pub fn open(path: &Path, limit: u64) -> io::Result<(Self, Vec<u8>)> {
        let mut content = super::read(path, limit)?;
        let whole = content.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let file = OpenOptions::new().append(true).open(path)?;
        if whole < content.len() {
            content.truncate(whole);
            file.set_len(whole as u64)?;
        }
        let log = Self { file, length: whole as u64, synced: Instant::now() };
        Ok((log, content))
    }

    /// Adds whole lines.
    ///
    /// # Errors
    /// When they can't be written. None of them is in the file then, or the rest of one that
    /// [`open`](Self::open) drops.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = super::output::Sink(&self.file).write_all(lines);
        if let Err(error) = written {
            // The error is the one to tell.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += lines.len() as u64;
        match self.synced.elapsed() > UNSYNCED {
            true => self.sync(),
            false => Ok(()),
        }
    }

    /// Makes everything that was added last.
    ///
    /// # Errors
    /// When the system can't.
    pub fn sync(&mut self) -> io::Result<()> {
        self.synced = Instant::now();
        self.file.sync_data()
    }
}
