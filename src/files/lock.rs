//! One process at a time.

use super::{LOCK, parent, tidy};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Longest text about a process that is read.
const MAX_BYTES: u64 = 200;

/// The right to work in a folder, until it is dropped. It ends with the process, however that
/// ends; then its file stays, but locks nobody out.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// The right to work in a folder that is there.
    ///
    /// # Errors
    /// When another process has it, which the error names; or when its file can't be made.
    pub fn inside(folder: &Path) -> io::Result<Self> {
        Self::take(folder.join(LOCK))
    }

    /// The right to make or replace the file or folder at `path`.
    ///
    /// # Errors
    /// As [`inside`](Self::inside).
    pub fn beside(path: &Path) -> io::Result<Self> {
        let path = tidy(path);
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(LOCK);
        Self::take(parent(&path).join(name))
    }

    fn take(path: PathBuf) -> io::Result<Self> {
        loop {
            let mut file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let read = file.take(MAX_BYTES).read_to_string(&mut holder);
                    let holder = match read {
                        Ok(_) if !holder.is_empty() => holder.as_str(),
                        _ => "another process",
                    };
                    let what = format!("{holder} works here; one run at a time");
                    return Err(io::Error::new(ErrorKind::ResourceBusy, what));
                }
                // A file system without locks: better unprotected than no work.
                Err(TryLockError::Error(_)) => {}
            }
            // The one who held the lock until now has deleted the file.
            if !is_at(&file, &path) {
                continue;
            }
            file.set_len(0)?;
            file.write_all(holder().as_bytes())?;
            return Ok(Self { path, file });
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is locked: nobody else can have it then.
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

/// Opens the file of a lock, but nothing through a link.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.custom_flags(flags.bits().cast_signed());
    }
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "the lock is not a file")),
    }
}

/// Whether `path` still leads to an open file.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let (file, path) = (file.metadata().map(identity), fs::metadata(path).map(identity));
        matches!((file, path), (Ok(a), Ok(b)) if a == b)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

/// What is said of this process to others.
fn holder() -> String {
    let process = std::process::id();
    #[cfg(unix)]
    {
        let system = rustix::system::uname();
        format!("process {process} on {}", system.nodename().to_string_lossy())
    }
    #[cfg(not(unix))]
    format!("process {process}")
}
