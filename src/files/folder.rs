//! A folder that is one thing.

use super::{PARTIAL, parent, step, sync_folder, tidy};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use tempfile::{Builder, TempDir};

/// A folder that is filled. It appears under its name in [`finish`](Self::finish), instead of the
/// one that was there; dropped before, it leaves nothing.
pub(crate) struct OutputFolder {
    path: PathBuf,
    partial: TempDir,
    /// Locked so that nobody takes it for a dead process's.
    _lock: Option<File>,
}

impl OutputFolder {
    /// A folder to be filled and put at `path`. What a killed process left there is set right
    /// first.
    ///
    /// # Errors
    /// When something other than a folder is there, or the folder around it can't be written to.
    pub fn create(path: &Path) -> io::Result<Self> {
        let path = tidy(path);
        recover(&path)?;
        match fs::symlink_metadata(&path) {
            Ok(there) if !there.is_dir() => return Err(ErrorKind::NotADirectory.into()),
            _ => {}
        }
        fs::create_dir_all(parent(&path))?;
        let (partial, lock) = partial(parent(&path), 0o777)?;
        Ok(Self { path, partial, _lock: lock })
    }

    /// Where to write what shall be in it.
    pub fn path(&self) -> &Path {
        self.partial.path()
    }

    /// Puts the folder in its place.
    ///
    /// # Errors
    /// When that fails; what was there before is there still.
    pub fn finish(self) -> io::Result<()> {
        let partial = self.partial.path();
        sync_folder(partial)?;
        step()?;
        // Fails unless nothing or an empty folder is there.
        if fs::rename(partial, &self.path).is_err() {
            match exchange(partial, &self.path) {
                Err(e) if is_unknown(&e) => replace(partial, &self.path)?,
                other => other?,
            }
        }
        sync_folder(parent(&self.path))
        // What was there goes with the partial folder, whose name it has now.
    }
}

/// A folder among the system's temporary files that goes when this is dropped or, if the process
/// is killed, when the next one makes one.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
    /// Locked so that nobody takes it for a dead process's.
    _lock: Option<File>,
}

impl Scratch {
    /// A new folder, for this user alone.
    ///
    /// # Errors
    /// When none can be made.
    pub fn new() -> io::Result<Self> {
        let around = std::env::temp_dir();
        super::sweep(&around);
        let (folder, lock) = partial(&around, 0o700)?;
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A new folder in `around`, locked so that nobody takes it for a dead process's.
fn partial(around: &Path, mode: u32) -> io::Result<(TempDir, Option<File>)> {
    loop {
        step()?;
        let mut builder = Builder::new();
        builder.prefix(".").suffix(PARTIAL);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
        #[cfg(not(unix))]
        let _ = mode;
        #[cfg(test)]
        builder.disable_cleanup(super::faults::kills());
        let partial = builder.tempdir_in(around).map_err(without_path)?;
        let lock = File::open(partial.path()).ok();
        // Without locks, nobody deletes it either.
        let _ = lock.as_ref().map(File::lock);
        // Somebody may have deleted it before it was locked.
        if partial.path().exists() {
            return Ok((partial, lock));
        }
    }
}

/// Exchanges two folders in one step, where the system can.
fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    step()?;
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    {
        let _ = (a, b);
        Err(ErrorKind::Unsupported.into())
    }
}

/// Whether a system or a file system doesn't know the operation.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput)
}

/// Puts a folder in the place of another in steps that [`recover`] knows.
pub(super) fn replace(new: &Path, path: &Path) -> io::Result<()> {
    let old = old(path);
    step()?;
    fs::rename(path, &old)?;
    step().and_then(|()| fs::rename(new, path)).inspect_err(|_| {
        // The error is the one to tell.
        let _ = recover(path);
    })?;
    fs::remove_dir_all(old)
}

/// Finishes or undoes what a process that was killed in [`replace`] has begun.
fn recover(path: &Path) -> io::Result<()> {
    let old = old(path);
    if fs::symlink_metadata(&old).is_err() {
        return Ok(());
    }
    match fs::symlink_metadata(path) {
        Ok(_) => fs::remove_dir_all(old),
        Err(_) => fs::rename(old, path),
    }
}

/// Where a folder is put while another takes its place.
fn old(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".gennape-old");
    parent(path).join(name)
}

/// The error by itself: the name of a partial folder tells the user nothing.
fn without_path(error: io::Error) -> io::Error {
    error.kind().into()
}
