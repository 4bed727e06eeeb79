//! Which trained model answers.

use super::error::Error;
use crate::estimator::Estimator;
use crate::estimator::real::RealNetworks;
use std::path::{Path, PathBuf};

/// The `--model` option.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArguments {
    /// A model folder, or gennape-cifar10 or gennape-nb101, which are part of the program [default:
    /// gennape-cifar10].
    #[arg(long, value_name = "NAME|DIR")]
    pub model: Option<PathBuf>,
}

impl ModelArguments {
    /// The folder that the model is in, if it isn't part of the program.
    pub fn folder(&self) -> Option<&Path> {
        self.model.as_deref().filter(|path| path.is_dir())
    }

    /// Loads the model.
    pub fn load(&self) -> Result<Estimator, Error> {
        let Some(path) = &self.model else { return Ok(Estimator::embedded()) };
        if self.folder().is_some() {
            let about = |e| Error::from(e).about(&path.display().to_string());
            // A model of real networks answers for its targets in the default model's stead.
            return match (Estimator::load(path), RealNetworks::load(path)) {
                (Err(_), Ok(real)) => Ok(Estimator::with_real(real)),
                (loaded, _) => loaded.map_err(about),
            };
        }
        path.to_str().and_then(Estimator::named).ok_or_else(|| {
            let names: Vec<&str> = Estimator::names().collect();
            Error::user(format!("there is no model '{}'", path.display())).hint(format!(
                "give one of {}, or a folder that holds manifest.json and weights.safetensors",
                names.join(", ")
            ))
        })
    }
}
