//! One file.

use super::{PARTIAL, parent, step, sync_folder};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile, TempPath};

/// A file that is written. It appears under its name in [`finish`](Self::finish); dropped before,
/// it leaves nothing.
pub(crate) struct Output {
    path: PathBuf,
    to: To,
    out: BufWriter<Sink<File>>,
}

/// What becomes of the written file.
enum To {
    /// It replaces the target.
    Replace { partial: TempPath, permissions: Option<Permissions> },
    /// It becomes the target, which was not there.
    #[cfg(any(test, feature = "cli"))]
    New { partial: TempPath },
    /// It is the target, a device or a pipe.
    Device,
}

/// A file that is written to, at which tests can fail.
pub(super) struct Sink<F>(pub F);

impl<F: Write> Write for Sink<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        let bytes = super::faults::allowed(bytes)?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    /// A file to write at `path`, which it replaces.
    ///
    /// # Errors
    /// When something is there that must not be replaced: a folder, a symbolic link, a file that
    /// is protected against writing; or when the folder can't be written to.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::at(path, |partial, old| To::Replace {
            partial,
            permissions: old.map(|old| old.permissions()),
        })
    }

    /// A file to write at `path`, where none may be.
    ///
    /// # Errors
    /// As [`create`](Self::create), and when there is one.
    #[cfg(any(test, feature = "cli"))]
    pub fn create_new(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(there) if there.is_file() => Err(ErrorKind::AlreadyExists.into()),
            _ => Self::at(path, |partial, _| To::New { partial }),
        }
    }

    /// A file to write at `path`, a name that is this program's own: it replaces whatever is there
    /// but a folder, be it a link or a pipe.
    fn own(path: &Path) -> io::Result<Self> {
        let there = fs::symlink_metadata(path).ok();
        if there.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(ErrorKind::IsADirectory.into());
        }
        let permissions = there.filter(fs::Metadata::is_file).map(|there| there.permissions());
        let (file, partial) = partial(parent(path))?.into_parts();
        let out = BufWriter::with_capacity(1 << 16, Sink(file));
        Ok(Self { path: path.into(), to: To::Replace { partial, permissions }, out })
    }

    fn at(path: &Path, to: impl FnOnce(TempPath, Option<fs::Metadata>) -> To) -> io::Result<Self> {
        let (to, sink) = match replaceable(path)? {
            Place::Device => {
                // Appending, because a descriptor may stand for a file that has content.
                (To::Device, OpenOptions::new().append(true).open(path)?)
            }
            Place::File(old) => {
                let (file, partial) = partial(parent(path))?.into_parts();
                (to(partial, old), file)
            }
        };
        let out = BufWriter::with_capacity(1 << 16, Sink(sink));
        Ok(Self { path: path.into(), to, out })
    }

    /// Makes what was written the content of the file.
    ///
    /// # Errors
    /// When the rest can't be written, or the file not be put in place. Then what was there before
    /// is there still.
    pub fn finish(self) -> io::Result<()> {
        let Sink(file) = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if matches!(self.to, To::Device) {
            return Ok(());
        }
        step()?;
        if let To::Replace { permissions: Some(permissions), .. } = &self.to {
            file.set_permissions(permissions.clone())?;
        }
        file.sync_all()?;
        step()?;
        match self.to {
            To::Replace { partial, .. } => partial.persist(&self.path).map_err(|e| e.error)?,
            #[cfg(any(test, feature = "cli"))]
            To::New { partial } => partial.persist_noclobber(&self.path).map_err(|e| e.error)?,
            To::Device => {}
        }
        sync_folder(parent(&self.path))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes `content` to the file at `path`, a name that is this program's own: it replaces whatever
/// is there but a folder, be it a link or a pipe.
///
/// # Errors
/// When it can't be written; what was there before is there still.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut out = Output::own(path)?;
    out.write_all(content)?;
    out.finish()
}

/// What a path stands for, to a writer.
enum Place {
    /// A file, if there is one already.
    File(Option<fs::Metadata>),
    /// A device, a pipe, or an open descriptor of any kind.
    Device,
}

fn replaceable(path: &Path) -> io::Result<Place> {
    let wrong = |what: String| Err(io::Error::new(ErrorKind::InvalidInput, what));
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(e) if e.kind() == ErrorKind::NotFound && path.file_name().is_some() => {
            return Ok(Place::File(None));
        }
        Err(e) => return Err(e),
    };
    let kind = there.file_type();
    if kind.is_symlink() {
        let device = |there: fs::Metadata| !there.is_file() && !there.is_dir();
        if is_descriptor(path) || fs::metadata(path).is_ok_and(device) {
            return Ok(Place::Device);
        }
        let target = fs::read_link(path)?;
        return wrong(format!(
            "this is a symbolic link to {}; nothing is written through links",
            target.display()
        ));
    }
    if kind.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Ok(Place::Device);
    }
    // A file may be renamed over even if it is protected.
    OpenOptions::new().write(true).open(path)?;
    Ok(Place::File(Some(there)))
}

/// Whether a link stands for a descriptor of this process, such as `/dev/stdout`.
fn is_descriptor(link: &Path) -> bool {
    let (Ok(folder), Some(name)) = (parent(link).canonicalize(), link.file_name()) else {
        return false;
    };
    let link = folder.join(name);
    let of_process = |path: &Path| path.starts_with("/proc") || path.starts_with("/dev/fd");
    of_process(&link)
        || link.starts_with("/dev") && fs::read_link(&link).is_ok_and(|target| of_process(&target))
}

/// A new file in `folder`, locked so that nobody takes it for a dead process's.
fn partial(folder: &Path) -> io::Result<NamedTempFile> {
    loop {
        step()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let mut builder = Builder::new();
        builder.prefix(".").suffix(PARTIAL);
        #[cfg(test)]
        builder.disable_cleanup(super::faults::kills());
        let file = builder.make_in(folder, |path| options.open(path))?;
        // Without locks, nobody deletes it either.
        let _ = file.as_file().lock();
        // Somebody may have deleted it before it was locked.
        if file.path().exists() {
            return Ok(file);
        }
    }
}
