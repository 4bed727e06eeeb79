//! Where commands write: whole files and folders, and never onto what they read.

use super::error::Error;
use crate::estimator::{MANIFEST, WEIGHTS, check_target};
use crate::files::{self, Lock, Output};
use crate::onnx::DataFile;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that a command writes. It appears under its name in [`finish`](Self::finish); dropped
/// before, it changes nothing.
pub(super) struct Target {
    path: PathBuf,
    name: String,
    out: Output,
}

impl Target {
    /// The file at `path`, which must be none of `inputs`.
    pub fn new(path: &Path, inputs: &[PathBuf]) -> Result<Self, Error> {
        distinct(path, inputs)?;
        files::sweep(files::parent(path));
        Self::one_of_many(path)
    }

    /// The file at `path`, where none may be.
    pub fn new_only(path: &Path) -> Result<Self, Error> {
        files::sweep(files::parent(path));
        Self::open(path, Output::create_new(path))
    }

    /// The file at `path`, in a folder that many are written to.
    pub fn one_of_many(path: &Path) -> Result<Self, Error> {
        Self::open(path, Output::create(path))
    }

    fn open(path: &Path, out: io::Result<Output>) -> Result<Self, Error> {
        let name = path.display().to_string();
        match out {
            Ok(out) => Ok(Self { path: path.into(), name, out }),
            Err(e) => Err(Error::from(e).about(&name)),
        }
    }

    /// The data file beside this one, which must be none of `inputs`.
    pub fn data(&self, inputs: &[PathBuf]) -> DataTarget {
        let mut path = self.path.as_os_str().to_os_string();
        path.push(".data");
        DataTarget { path: path.into(), inputs: inputs.to_vec(), target: None }
    }

    /// Puts the file in its place.
    pub fn finish(self) -> Result<(), Error> {
        let Self { name, out, .. } = self;
        out.finish().map_err(|e| Error::from(e).about(&name))
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|e| self.about(e))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush().map_err(|e| self.about(e))
    }
}

impl Target {
    fn about(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.name))
    }
}

/// The data file beside an ONNX file, which there is only if something is written to it.
pub(super) struct DataTarget {
    path: PathBuf,
    inputs: Vec<PathBuf>,
    target: Option<Target>,
}

impl DataTarget {
    /// To write to it.
    pub fn file(&mut self) -> DataFile<'_> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        DataFile { name, out: self }
    }

    /// Puts the file in its place, if there is one.
    pub fn finish(self) -> Result<(), Error> {
        self.target.map_or(Ok(()), Target::finish)
    }
}

impl Write for DataTarget {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let target = match self.target.take() {
            Some(target) => target,
            None => {
                let name = self.path.display().to_string();
                if self.inputs.iter().any(|input| files::same(input, &self.path)) {
                    let what = format!("{name}: the weights would be written onto what is read");
                    return Err(io::Error::other(what));
                }
                Target { path: self.path.clone(), out: Output::create(&self.path)?, name }
            }
        };
        self.target.insert(target).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.as_mut().map_or(Ok(()), Target::flush)
    }
}

/// Makes ready to write a model to `folder` at the end of a long run that starts from the model in
/// the folder `base`. Nobody else writes there as long as the lock lives.
pub(super) fn model_folder(
    folder: &Path,
    overwrite: bool,
    base: Option<&Path>,
) -> Result<Lock, Error> {
    let name = folder.display();
    for part in ["", MANIFEST, WEIGHTS] {
        let read: Vec<PathBuf> = base.map(|base| base.join(part)).into_iter().collect();
        distinct(&folder.join(part), &read)?;
    }
    let about = |e: io::Error| Error::from(e).about(&name.to_string());
    fs::create_dir_all(files::parent(folder)).map_err(about)?;
    let lock = Lock::beside(folder).map_err(about)?;
    files::sweep(files::parent(&files::tidy(folder)));
    if check_target(folder)? && !overwrite {
        return Err(Error::user(format!("{name} holds a model already"))
            .hint("--overwrite replaces it; or give another folder with -o"));
    }
    Ok(lock)
}

/// Refuses to write to `output` what is among `inputs`, by whatever name.
pub(super) fn distinct(output: &Path, inputs: &[PathBuf]) -> Result<(), Error> {
    match inputs.iter().find(|input| files::same(input, output)) {
        Some(input) => Err(Error::user(format!(
            "{}: this would be written onto {}, which is read",
            output.display(),
            input.display()
        ))
        .hint("give another name with -o")),
        None => Ok(()),
    }
}
