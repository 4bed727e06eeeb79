//! The files of a model.

use crate::encoder::WeightError;
use crate::files;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Most bytes of a model folder's files that are read; those of the program's own models are a
/// hundred times smaller.
const MAX_MANIFEST: u64 = 1 << 24;
const MAX_WEIGHTS: u64 = 1 << 28;

/// Why a model can't be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file can't be read.
    #[error("{path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The manifest is not what this version of the program writes.
    #[error("manifest: {0}")]
    Manifest(String),
    /// The manifest and the program disagree about what a network's features are.
    #[error("the model was trained on features {model}, this version of the program has {program}")]
    Features {
        /// Hash in the manifest.
        model: String,
        /// The program's hash.
        program: String,
    },
    /// The model knows an operation that the program doesn't.
    #[error(
        "the model was trained on the operation '{0}', which this version of the program doesn't \
         have"
    )]
    Operation(String),
    /// The weights don't fit the manifest.
    #[error("weights: {0}")]
    Weights(#[from] WeightError),
}

impl LoadError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Features { .. } => {
                Some("train it again with the command in its manifest".to_string())
            }
            Self::Operation(_) => {
                Some("use the version that trained it, or train it again".to_string())
            }
            _ => None,
        }
    }
}

/// A model folder can't be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct WriteError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// The files of a model folder.
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const WEIGHTS: &str = "weights.safetensors";

/// Whether there is a model at `folder` that [`Estimator::save`](super::Estimator::save) would replace.
///
/// # Errors
/// When there is something else that it would not: a file, a link, a folder with other content.
pub fn check_target(folder: &Path) -> Result<bool, WriteError> {
    let fail = |source| WriteError { path: folder.into(), source };
    let wrong = |what| Err(fail(io::Error::new(io::ErrorKind::InvalidInput, what)));
    match fs::symlink_metadata(files::tidy(folder)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(fail(e)),
        Ok(there) if there.is_symlink() => return wrong("this is a symbolic link".to_string()),
        Ok(_) => {}
    }
    let mut model = false;
    for entry in fs::read_dir(folder).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        if name == MANIFEST || name == WEIGHTS {
            model = true;
        } else if !files::is_trace(&name) {
            let name = name.to_string_lossy();
            return wrong(format!("this holds '{name}', which is no part of a model"));
        }
    }
    Ok(model)
}

fn read_file(folder: &Path, name: &str, limit: u64) -> Result<Vec<u8>, LoadError> {
    let path = folder.join(name);
    files::read(&path, limit).map_err(|e| LoadError::Read { path, reason: e.to_string() })
}

/// Manifest of the model in `folder`.
pub(crate) fn read_manifest(folder: &Path) -> Result<Vec<u8>, LoadError> {
    read_file(folder, MANIFEST, MAX_MANIFEST)
}

/// Manifest and weights of the model in `folder`.
pub(super) fn read_folder(folder: &Path) -> Result<(Vec<u8>, Vec<u8>), LoadError> {
    Ok((read_manifest(folder)?, read_file(folder, WEIGHTS, MAX_WEIGHTS)?))
}

/// Makes `folder` a model folder with these files, the manifest last, as a whole or not at all: a
/// folder is a model once it has the manifest.
pub(crate) fn write_folder(folder: &Path, content: &[(&str, &[u8])]) -> Result<(), WriteError> {
    let fail = |source| WriteError { path: folder.into(), source };
    let replaced = check_target(folder)?;
    let write = |to: &Path| {
        content.iter().try_for_each(|(name, bytes)| files::write(&to.join(name), bytes))
    };
    let written = match folder.is_dir() && !replaced {
        // An empty folder may be where a file system is mounted: none can take its place.
        true => write(folder),
        false => files::OutputFolder::create(folder).and_then(|whole| {
            write(whole.path())?;
            whole.finish()
        }),
    };
    written.map_err(fail)
}
