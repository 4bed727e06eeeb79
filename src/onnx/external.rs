//! Tensors stored in files beside the model.
//!
//! Importing a network reads only small ones. Where a file is not there, or too short, the tensor is kept
//! without elements, as if it had been stripped: the architecture rarely depends on them. What a
//! location says is checked always.

use super::error::{ReadError, Reason, limit};
use super::limits::MAX_KNOWN_ELEMENTS;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The folder of the model, and what was read from it.
pub(super) struct External {
    /// Canonical; `None` when the model did not come from a file.
    folder: Option<PathBuf>,
    /// The last file opened: a model usually has one.
    open: Option<(PathBuf, File)>,
    /// First file that was wanted and not there.
    pub missing: Option<String>,
    known_elements: u64,
}

/// Where a tensor lies.
pub(super) struct Location {
    path: PathBuf,
    offset: u64,
}

fn problem(tensor: &str, problem: impl Into<String>) -> ReadError {
    Reason::ExternalData { tensor: tensor.into(), problem: problem.into() }.into()
}

impl Location {
    /// # Errors
    /// When the location leaves the model's folder or the offset is no number.
    pub fn new(
        tensor: &str,
        location: Option<&str>,
        offset: Option<&str>,
    ) -> Result<Self, ReadError> {
        let location = location.ok_or_else(|| problem(tensor, "no location is given"))?;
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
        let offset = match offset {
            None | Some("") => 0,
            Some(text) => text
                .parse()
                .map_err(|_| problem(tensor, format!("its offset '{text}' is not a number")))?,
        };
        Ok(Self { path: path.to_path_buf(), offset })
    }
}

impl External {
    /// Files in `folder`; no files at all without one.
    pub fn new(folder: Option<&Path>) -> Self {
        let folder = folder.and_then(|f| f.canonicalize().ok());
        Self { folder, open: None, missing: None, known_elements: 0 }
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

    /// The `length` bytes at `location`; `None` when they are not there.
    ///
    /// # Errors
    /// When a link leads out of the model's folder.
    pub fn read(
        &mut self,
        tensor: &str,
        location: &Location,
        length: usize,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(file) = self.file(tensor, &location.path)? else {
            self.missing.get_or_insert_with(|| location.path.display().to_string());
            return Ok(None);
        };
        // A tensor may claim more than there is, and than there is memory.
        let end = location.offset.checked_add(length as u64);
        let size = file.metadata().map_err(|e| problem(tensor, e.to_string()))?.len();
        if end.is_none_or(|end| end > size) {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        let read =
            file.seek(SeekFrom::Start(location.offset)).and_then(|_| file.read_exact(&mut bytes));
        match read {
            Ok(()) => Ok(Some(bytes)),
            // Too short, or an offset beyond what a file can have.
            Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidInput) => {
                Ok(None)
            }
            Err(e) => Err(problem(tensor, e.to_string())),
        }
    }

    fn file(&mut self, tensor: &str, path: &Path) -> Result<Option<&mut File>, ReadError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        if self.open.as_ref().is_none_or(|(open, _)| open != path) {
            let Ok(target) = folder.join(path).canonicalize() else { return Ok(None) };
            if !target.starts_with(folder) {
                let link = path.display();
                return Err(problem(tensor, format!("'{link}' links out of the model's folder")));
            }
            // Opening a pipe would wait for ever.
            if !target.is_file() {
                return Ok(None);
            }
            let file = File::open(&target).map_err(|e| problem(tensor, e.to_string()))?;
            self.open = Some((path.to_path_buf(), file));
        }
        Ok(self.open.as_mut().map(|(_, file)| file))
    }
}
