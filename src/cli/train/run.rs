//! Trains the model and prints its measures.

use super::{Arguments, TrainingSet};
use crate::benchmarks::{self, CIFAR10, Set};
use crate::cli::error::{self, Error};
use crate::cli::output::model_folder;
use crate::cli::stdout::Text;
use crate::cli::table::Table;
use crate::encoder::{Config, default_cache};
use crate::estimator::{Manifest, Recipe};
use crate::train::{self, Options};
use clap::ValueEnum;
use std::collections::HashSet;
use std::path::Path;

impl TrainingSet {
    /// The sets that are there; of those with the same networks, the first.
    fn sets(self, folder: &Path, without: Option<&str>) -> Vec<&'static Set> {
        let mut files = HashSet::new();
        let wanted = |set: &&Set| match self {
            Self::Nasbench101 => set.name == "nasbench101",
            Self::Cifar10 => set.target == CIFAR10 && folder.join(set.file).exists(),
            Self::All => folder.join(set.file).exists(),
        };
        let sets = Set::all().filter(wanted).filter(|set| files.insert(set.file));
        sets.filter(|set| without != Some(set.name)).collect()
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let mut recipe = Recipe::encoder();
    recipe.epochs = arguments.epochs.unwrap_or(recipe.epochs);
    let data = benchmarks::data_folder(arguments.data.as_deref())?;
    let sets = arguments.set.sets(&data, arguments.without.as_deref());
    if !sets.iter().any(|set| set.target == CIFAR10) {
        return Err(Error::user(format!("{} holds no set to train on", data.display()))
            .hint("gennape data list"));
    }
    let _lock = model_folder(&arguments.output, arguments.overwrite, None)?;
    let options = Options {
        data,
        cache: arguments.cache.clone().unwrap_or_else(default_cache),
        output: arguments.output.clone(),
        config: Config::encoder(),
        recipe,
        training_networks: arguments.training_networks.and_then(|n| usize::try_from(n).ok()),
        seed: arguments.seed,
        command: command(arguments),
    };
    let mut report = |line: &str| error::report(line);
    print(&train::train(&sets, &options, &mut report)?)
}

/// The name that a value has on the command line.
fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_string())
}

/// The command line that repeats the run, without what depends on the machine.
fn command(arguments: &Arguments) -> String {
    let Arguments { set, without, training_networks, epochs, seed, output, .. } = arguments;
    let most = training_networks.map_or_else(String::new, |n| format!(" --training-networks {n}"));
    let epochs = epochs.map_or_else(String::new, |epochs| format!(" --epochs {epochs}"));
    let without = without.as_ref().map_or_else(String::new, |set| format!(" --without {set}"));
    let set = name(*set);
    format!("gennape train {set}{without}{most}{epochs} --seed {seed} -o {}", output.display())
}

fn print(manifest: &Manifest) -> Result<(), Error> {
    let header =
        ["split", "ranked by", "Spearman", "Kendall τ-b", "mean absolute error", "coverage"];
    let mut table = Table::new(&header);
    for (split, metrics) in &manifest.metrics {
        for (by, m) in metrics {
            let error = m.mean_absolute_error.map(|m| format!("{:.3} %", m.value));
            table.row([
                split.clone(),
                by.clone(),
                format!("{:.4}", m.spearman.value),
                format!("{:.4}", m.kendall.value),
                error.unwrap_or_default(),
                m.coverage.map_or_else(String::new, |c| format!("{:.1} %", 100.0 * c)),
            ]);
        }
    }
    let mut out = Text::stdout();
    table.print(&mut out)?;
    out.flush()
}
