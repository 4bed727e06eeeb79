//! Which trained model answers.

use super::error::Error;
use crate::estimator::Estimator;
use crate::estimator::real::RealNetworks;
use crate::latency::LatencyModel;
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

    /// The model of latencies in the folder, if that holds one.
    pub fn latency(&self) -> Result<Option<LatencyModel>, Error> {
        let Some(folder) = self.folder() else { return Ok(None) };
        let about = |e| Error::from(e).about(&folder.display().to_string());
        LatencyModel::find(folder).map_err(about)
    }

    /// Loads the model, which must be one of accuracies.
    pub fn load(&self) -> Result<Estimator, Error> {
        let Some(path) = &self.model else { return Ok(Estimator::embedded()) };
        if self.latency()?.is_some() {
            let name = path.display();
            return Err(Error::user(format!("{name} is a model of latencies"))
                .hint(format!("gennape predict --model {name}, or search by latency={name}")));
        }
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
