//! Which trained model answers.

use super::error::Error;
use crate::estimator::Estimator;
use std::path::{Path, PathBuf};

/// The `--model` option.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArguments {
    /// A model folder, or the name of the model that is part of the program [default: that].
    #[arg(long, value_name = "NAME|DIR")]
    model: Option<PathBuf>,
}

impl ModelArguments {
    /// Loads the model.
    pub fn load(&self) -> Result<Estimator, Error> {
        let Some(path) = &self.model else { return Ok(Estimator::embedded()) };
        if path.is_dir() {
            let about = |e| Error::from(e).about(&path.display().to_string());
            return Estimator::load(path).map_err(about);
        }
        let embedded = Estimator::embedded();
        let name = &embedded.manifest().name;
        if path == Path::new(name) {
            return Ok(embedded);
        }
        Err(Error::user(format!("there is no model '{}'", path.display())).hint(format!(
            "give '{name}', or a folder that holds manifest.json and weights.safetensors"
        )))
    }
}
