//! Files on the user's disk: written whole or not at all, and read only as far as they should be.
//!
//! Everything that the program writes under a name goes through this module.
//!
//! - A file is written beside its target, under a name that ends with `.gennape-partial`, synced,
//!   and renamed: whatever fails and whenever the process is killed, the target is what it was or
//!   what it should become. It gets the permissions of the file that it replaces, or those that
//!   any new file gets; a file that is protected against writing is not replaced.
//! - Nothing is written through a symbolic link: that would change a file other than the one
//!   that is named. A hard link to the file that is replaced keeps the old content.
//! - Devices, pipes and open descriptors (`/dev/stdout`, `/dev/null`, `/dev/fd/3`) that the user
//!   names are written to as they are, and never replaced or deleted. In the program's own folders
//!   and caches ([`write`]) they are as good as nothing: what stands in a file's place is replaced.
//! - A file that grows line by line ([`Log`]) loses at most the line that was being written.
//! - A folder that is one thing ([`OutputFolder`]) is swapped for the new one in one step.
//! - What a killed process left behind is deleted by the next that writes to the same folder
//!   ([`sweep`]); a partial file that is being written is locked, which a dead process can't be.
//! - [`Lock`] keeps two processes from working in one folder.
//!
//! Where files are read, [`open`] takes nothing that could block or never end, and [`read`] no
//! more than its limit.

#[cfg(test)]
pub(crate) mod faults;
mod folder;
#[cfg(any(test, feature = "cli"))]
mod lock;
#[cfg(any(test, feature = "cli"))]
mod log;
mod output;
#[cfg(test)]
mod tests;
pub(crate) mod words;

pub(crate) use folder::{OutputFolder, Scratch};
#[cfg(any(test, feature = "cli"))]
pub(crate) use lock::Lock;
#[cfg(any(test, feature = "cli"))]
pub(crate) use log::Log;
pub(crate) use output::{Output, write};

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// How the names of files end that are not whole yet.
const PARTIAL: &str = ".gennape-partial";

/// How the names of files end that say who works in a folder.
const LOCK: &str = ".gennape-lock";

/// Opens a file to read: no pipe, which could wait for ever, and no device, which may never end.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let check = |metadata: fs::Metadata| match metadata.file_type() {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "this is a pipe, a device or a socket; a file is expected",
        )),
    };
    // Before opening, which a pipe answers only when somebody writes; and after, for it may have
    // been exchanged.
    check(fs::metadata(path)?)?;
    let file = File::open(path)?;
    check(file.metadata()?)?;
    Ok(file)
}

/// The content of a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Bounded::new(open(path)?, limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn too_long(limit: u64) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("it holds more than {limit} bytes"))
}

/// A stream of at most so many bytes. One more is an error, not an end.
pub(crate) struct Bounded<R> {
    stream: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Bounded<R> {
    /// The first `limit` bytes of `stream`, which should be all.
    pub fn new(stream: R, limit: u64) -> Self {
        Self { stream, left: limit, limit }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            return match self.stream.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(too_long(self.limit)),
            };
        }
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.stream.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Whether two paths lead to the same file or folder, by whatever names.
#[cfg(any(test, feature = "cli"))]
pub(crate) fn same(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |path| fs::metadata(path).map(|m| (m.dev(), m.ino()));
        matches!((identity(a), identity(b)), (Ok(a), Ok(b)) if a == b)
    }
    #[cfg(not(unix))]
    {
        matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
    }
}

/// The folder that `path` is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// `path` without what hides its last part: slashes at the end, a dot.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    let tidy: PathBuf = path.components().collect();
    match tidy.file_name() {
        Some(_) => tidy,
        None => tidy.canonicalize().unwrap_or(tidy),
    }
}

/// Deletes what killed processes left unfinished in `folder`.
pub(crate) fn sweep(folder: &Path) {
    // What can't be deleted harms nobody.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        if !is_partial(&entry.file_name()) || !(kind.is_file() || kind.is_dir()) {
            continue;
        }
        // Its writer holds the lock.
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_ok() {
            let _ = if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

/// Whether a file of this name in a folder is not the user's but a trace of this program at work.
pub(crate) fn is_trace(name: &OsStr) -> bool {
    is_partial(name) || name.as_encoded_bytes().ends_with(LOCK.as_bytes())
}

fn is_partial(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b".") && name.ends_with(PARTIAL.as_bytes())
}

/// Makes the entries of a folder last.
fn sync_folder(folder: &Path) -> io::Result<()> {
    step()?;
    #[cfg(unix)]
    match File::open(folder)?.sync_all() {
        // Some file systems have no such thing.
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
    #[cfg(not(unix))]
    Ok(())
}

/// Where a test makes the disk fail.
fn step() -> io::Result<()> {
    #[cfg(test)]
    faults::step()?;
    Ok(())
}
