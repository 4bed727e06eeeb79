//! Tensors stored in files beside the model.
//!
//! Importing a network reads only small ones: the architecture rarely depends on them. Where a
//! file is not there, or too short, the tensors are kept without elements, as if they had been
//! stripped, and that is remarked; who wants the elements gets an error that names the file.

use super::error::{ReadError, Reason, limit};
use super::limits::MAX_KNOWN_ELEMENTS;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The folder of the model, and what was read from it.
pub(super) struct External {
    /// Canonical; `None` when the model did not come from a file.
    folder: Option<PathBuf>,
    /// The folder that the model's own link leads to, where it is another.
    linked: Option<PathBuf>,
    /// Length of the files that were looked for, or why they cannot be read.
    files: HashMap<PathBuf, Result<u64, String>>,
    /// The last file opened: a model usually has one.
    open: Option<(PathBuf, File)>,
    /// Tensors whose elements are not there, and why, each reason once.
    faults: Vec<(String, String)>,
    known_elements: u64,
}

/// Where a tensor lies.
pub(super) struct Location {
    path: PathBuf,
    offset: u64,
    /// Bytes that it takes there, where the file or the tensor's type say so.
    length: Option<u64>,
}

fn problem(tensor: &str, problem: impl Into<String>) -> ReadError {
    Reason::ExternalData { tensor: tensor.into(), problem: problem.into() }.into()
}

impl Location {
    /// What the entries of a tensor say that takes `length` bytes.
    ///
    /// # Errors
    /// When the location leaves the model's folder, the offset is no number or the length another.
    pub fn new<'a>(
        tensor: &str,
        entry: impl Fn(&str) -> Option<&'a str>,
        length: Option<u64>,
    ) -> Result<Self, ReadError> {
        let location = entry("location").ok_or_else(|| problem(tensor, "no location is given"))?;
        let path = Path::new(location);
        let inside =
            path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        // Backslashes and drive letters would mean something else on Windows.
        if location.is_empty() || !inside || location.contains(['\\', ':', '\0']) {
            return Err(problem(
                tensor,
                format!("its location '{location}' is not inside the model's folder"),
            ));
        }
        let number = |key: &str| match entry(key) {
            None | Some("") => Ok(None),
            Some(text) => text
                .parse::<u64>()
                .map(Some)
                .map_err(|_| problem(tensor, format!("its {key} '{text}' is not a number"))),
        };
        let (offset, given) = (number("offset")?.unwrap_or(0), number("length")?);
        // ONNX Runtime takes a length of 0 for none.
        let given = given.filter(|given| *given > 0);
        if let (Some(given), Some(length)) = (given, length)
            && given != length
        {
            let what =
                format!("'{location}' gives it {given} bytes where its shape takes {length}");
            return Err(problem(tensor, what));
        }
        Ok(Self { path: path.to_path_buf(), offset, length: length.or(given) })
    }
}

impl External {
    /// Files beside the model at `path`; no files at all without one.
    pub fn new(path: Option<&Path>) -> Self {
        let folder = path.and_then(|p| folder(p).canonicalize().ok());
        let target = path.and_then(|p| p.canonicalize().ok());
        let linked = target.and_then(|t| t.parent().map(Path::to_path_buf));
        Self {
            linked: linked.filter(|linked| Some(linked) != folder.as_ref()),
            folder,
            files: HashMap::new(),
            open: None,
            faults: Vec::new(),
            known_elements: 0,
        }
    }

    /// Counts elements that stay in memory.
    ///
    /// # Errors
    /// When there are too many.
    pub fn keep(&mut self, elements: usize) -> Result<(), ReadError> {
        self.known_elements = self.known_elements.saturating_add(elements as u64);
        if self.known_elements > MAX_KNOWN_ELEMENTS {
            return Err(limit("constants with too many elements altogether", MAX_KNOWN_ELEMENTS));
        }
        Ok(())
    }

    /// Why elements of tensors are not there.
    pub fn faults(&self) -> impl Iterator<Item = &str> {
        self.faults.iter().map(|(_, why)| why.as_str())
    }

    /// An error that names the file if elements were not there.
    ///
    /// # Errors
    /// See above.
    pub fn complete(&self) -> Result<(), ReadError> {
        self.faults.first().map_or(Ok(()), |(tensor, why)| Err(problem(tensor, why)))
    }

    /// Whether the tensor's bytes are there; if not, that is noted.
    ///
    /// # Errors
    /// When a link leads out of the model's folder, or to what is no file.
    pub fn look(&mut self, tensor: &str, location: &Location) -> Result<bool, ReadError> {
        if self.folder.is_none() {
            let why = format!("'{}' (not beside standard input)", location.path.display());
            self.fault(tensor, why);
            return Ok(false);
        }
        match self.there(tensor, location)? {
            Ok(()) => Ok(true),
            Err(why) => {
                self.fault(tensor, why);
                Ok(false)
            }
        }
    }

    fn fault(&mut self, tensor: &str, why: String) {
        // A long list says no more than a short one.
        if self.faults.len() < 32 && !self.faults.iter().any(|(_, other)| *other == why) {
            self.faults.push((tensor.into(), why));
        }
    }

    /// An error that names the file unless the tensor's bytes are there.
    ///
    /// # Errors
    /// See above.
    pub fn check(&mut self, tensor: &str, location: &Location) -> Result<(), ReadError> {
        self.there(tensor, location)?.map_err(|why| problem(tensor, why))
    }

    /// The `length` bytes at `location`, which was [checked](Self::check).
    ///
    /// # Errors
    /// When they are not there, or a link leads out of the model's folder.
    pub fn read(
        &mut self,
        tensor: &str,
        location: &Location,
        length: usize,
    ) -> Result<Vec<u8>, ReadError> {
        // A tensor may claim more than there is, and than there is memory.
        self.check(tensor, location)?;
        if self.open.as_ref().is_none_or(|(open, _)| *open != location.path) {
            let target = self.target(tensor, &location.path)?;
            let file = File::open(&target).map_err(|e| problem(tensor, e.to_string()))?;
            self.open = Some((location.path.clone(), file));
        }
        let mut bytes = vec![0; length];
        let read = self.open.as_mut().map(|(_, file)| {
            file.seek(SeekFrom::Start(location.offset)).and_then(|_| file.read_exact(&mut bytes))
        });
        match read {
            Some(Ok(())) => Ok(bytes),
            Some(Err(e)) => {
                Err(problem(tensor, format!("reading '{}': {e}", location.path.display())))
            }
            None => Err(problem(tensor, "there is no folder to read from")),
        }
    }

    /// Whether the bytes are there, or why not.
    fn there(
        &mut self,
        tensor: &str,
        location: &Location,
    ) -> Result<Result<(), String>, ReadError> {
        let shown = location.path.display();
        if !self.files.contains_key(&location.path) {
            let found = match self.target(tensor, &location.path) {
                Err(error) => match self.exists(&location.path) {
                    true => return Err(error),
                    false => Err(format!("'{shown}' is not there")),
                },
                Ok(target) => measure(&target).map_err(|why| format!("'{shown}' {why}")),
            };
            self.files.insert(location.path.clone(), found);
        }
        Ok(match self.files.get(&location.path) {
            Some(Ok(size)) => {
                let end = location.offset.checked_add(location.length.unwrap_or(0));
                match end {
                    Some(end) if end <= *size => Ok(()),
                    _ => Err(format!("'{shown}' is too short with {size} bytes")),
                }
            }
            Some(Err(why)) => Err(why.clone()),
            None => Err(format!("'{shown}' is not there")),
        })
    }

    fn exists(&self, path: &Path) -> bool {
        self.folder.as_ref().is_some_and(|folder| folder.join(path).exists())
    }

    /// The file at `path`, links followed.
    ///
    /// # Errors
    /// When it is not there, no regular file, or outside the model's folder. A plain name may
    /// also lead where the model's own link leads: so caches keep their files.
    fn target(&self, tensor: &str, path: &Path) -> Result<PathBuf, ReadError> {
        let shown = path.display();
        let absent = || problem(tensor, format!("'{shown}' is not there"));
        let folder = self.folder.as_ref().ok_or_else(absent)?;
        let target = folder.join(path).canonicalize().map_err(|_| absent())?;
        let beside = path.components().count() == 1
            && self.linked.as_deref().is_some_and(|linked| target.parent() == Some(linked));
        if !target.starts_with(folder) && !beside {
            return Err(problem(tensor, format!("'{shown}' links out of the model's folder")));
        }
        // Opening a pipe would wait for ever, and a device has no end.
        if !target.is_file() {
            return Err(problem(tensor, format!("'{shown}' is no regular file")));
        }
        Ok(target)
    }
}

/// The length of a file that holds elements, or what it is instead.
fn measure(file: &Path) -> Result<u64, String> {
    const POINTER: &[u8] = b"version https://git-lfs";
    let open = |file: &Path| -> std::io::Result<(u64, Vec<u8>)> {
        let file = File::open(file)?;
        let length = file.metadata()?.len();
        let mut head = Vec::new();
        file.take(POINTER.len() as u64).read_to_end(&mut head)?;
        Ok((length, head))
    };
    match open(file) {
        Ok((_, head)) if head == POINTER => {
            Err("is a Git LFS pointer: git lfs pull fetches the data".into())
        }
        Ok((length, _)) => Ok(length),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// The folder that a file is in.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
