//! `gennape search`: better networks, by the estimator.

mod algorithm;
mod arguments;
mod folder;
mod front;
mod history;
mod job;
mod measured;
pub(crate) mod measures;
mod telling;

pub(crate) use algorithm::AlgorithmName;
pub(crate) use arguments::Arguments;
pub(in crate::cli) use front::Front;

use super::error::{Error, Failure, note};
use super::export;
use super::model::ModelArguments;
use super::output::Target;
use crate::estimator::Estimator;
use crate::lower::lower;
use crate::onnx::Weights;
use crate::spaces::Space;
use crate::subnetworks::{SubNetwork, SuperNetwork};
use crate::text::quoted;
use folder::{Folder, Settings, Source};
use job::Job;
use measured::Measured;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let (settings, estimator) = match &arguments.resume {
        Some(folder) => {
            let mut settings = Folder::settings(folder)?;
            if let (false, [command, ..]) = (arguments.allow_command, &settings.commands()[..]) {
                let what =
                    format!("{} runs a command; do you trust it? {command}", folder.display());
                return Err(Error::user(what).hint(settings.resume(folder)));
            }
            if let Some(budget) = arguments.budget {
                settings.budget = budget as usize;
            }
            let estimator = ModelArguments { model: settings.model.clone() }.load()?;
            if arguments::hash(&estimator) != settings.model_hash {
                let what = "the model is not the one that the search began with";
                return Err(Error::user(what).hint("begin a new search with -o"));
            }
            if settings.version != env!("CARGO_PKG_VERSION") {
                note(
                    "the search began with another version of the program, which may go elsewhere",
                );
            }
            (settings, estimator)
        }
        None => {
            let estimator = arguments.model.load()?;
            (arguments.settings(&estimator)?, estimator)
        }
    };
    if let Some(source) = &settings.from {
        return subnetworks(arguments, &settings, source, &estimator);
    }
    let name = settings.space.as_deref().unwrap_or_default();
    let space: Space = name.parse().map_err(|e| Error::user(format!("{e}")))?;
    let parse = |text: &str| Ok(space.text(text)?);
    let write = |candidate: &String, out: Target| {
        export::write(&space.build(candidate)?, out, Weights::Random { seed: settings.seed })
    };
    let job = Job {
        space: &space,
        parse: &parse,
        write: &write,
        describe: &|_| Vec::new(),
        measured: None,
    };
    job.run(arguments, &settings, &estimator)
}

/// Searches the sub-networks of a network.
fn subnetworks(
    arguments: &Arguments,
    settings: &Settings,
    source: &Source,
    estimator: &Estimator,
) -> Result<(), Error> {
    let path = source.path.display().to_string();
    let (whole, original) = source.open()?;
    // Weights that are not there are told of before the search, not after.
    original.complete().map_err(|e| Failure::from_error(&e).about(&path))?;
    if lower(&whole)?.fingerprint().to_string() != source.fingerprint {
        let what = format!("{path} is not the network that the search began with");
        return Err(Error::user(what).hint("begin a new search with -o"));
    }
    let measured = settings.images.as_ref().map(|images| Measured::open(source, images, settings));
    let measured = measured.transpose()?;
    let space = match &measured {
        Some(measured) => measured.space().clone(),
        None => SuperNetwork::new(whole),
    };
    if space.decisions().iter().all(|&options| options < 2) {
        let what = format!("{path}: nothing of this network can be cut or replaced");
        return Err(Error::user(what).hint(format!("gennape space {}", quoted(&source.path))));
    }
    let parse = |text: &str| Ok(space.parse(text)?);
    let write = |candidate: &SubNetwork, mut out: Target| {
        if let Some(measured) = &measured {
            return measured.write(candidate, out);
        }
        let (_, mut original) = source.open()?;
        let mut data = out.data(&[]);
        space.shrink(candidate, &mut original, &mut out, Some(data.file()))?;
        data.finish()?;
        out.finish()
    };
    let describe = |candidate: &SubNetwork| space.describe(candidate);
    let job = Job {
        space: &space,
        parse: &parse,
        write: &write,
        describe: &describe,
        measured: measured.as_ref(),
    };
    job.run(arguments, settings, estimator)
}
