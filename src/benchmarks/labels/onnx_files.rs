//! Labelled ONNX files.

use super::{BenchmarkError, LabelTable, Labelled, Networks, ONNX, RowError, Wrong};
use crate::fault::contain;
use crate::graph::Fingerprint;
use crate::lower::lower;
use crate::model_graph::ModelGraph;
use crate::onnx::{self, ReadOptions};
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Labelled ONNX files.
#[derive(Debug)]
pub struct OnnxFiles {
    files: Vec<Labelled<(PathBuf, Fingerprint)>>,
    options: ReadOptions,
}

impl LabelTable {
    /// ONNX files with the values of `target`, in the file's order, and an error for each row that
    /// has not got both, or whose file cannot be read and lowered. Paths are relative to `folder`,
    /// or else to the folder of the table.
    ///
    /// # Errors
    /// When there is no column [`ONNX`] or none named `target`.
    pub fn onnx_files(
        &self,
        target: &str,
        folder: Option<&Path>,
        options: ReadOptions,
    ) -> Result<(OnnxFiles, Vec<RowError>), BenchmarkError> {
        let folder = folder.or_else(|| self.path.parent()).unwrap_or(Path::new(""));
        let (files, errors) = self.labelled(ONNX, target, |text| {
            let path = folder.join(text);
            let about = |e: &dyn Display| Wrong::from(format!("{}: {e}", path.display()));
            let fingerprint = contain(|| {
                let read = onnx::read(&path, &options);
                let model =
                    read.map_err(|e| Wrong { hint: e.hint().map(Box::new), ..about(&e) })?;
                Ok::<_, Wrong>(lower(&model).map_err(|e| about(&e))?.fingerprint())
            })??;
            Ok((path, fingerprint))
        })?;
        Ok((OnnxFiles { files, options }, errors))
    }
}

impl Networks for OnnxFiles {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn name(&self, i: usize) -> String {
        self.files[i].architecture.0.display().to_string()
    }

    fn class(&self, i: usize) -> String {
        self.files[i].architecture.1.to_string()
    }

    fn target(&self, i: usize) -> f64 {
        self.files[i].accuracy
    }

    fn model(&self, i: usize) -> Result<ModelGraph, BenchmarkError> {
        onnx::read(&self.files[i].architecture.0, &self.options)
            .map_err(|e| BenchmarkError::network(self.name(i), &e))
    }
}
