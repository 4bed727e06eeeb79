//! `gennape export`: a search space's architecture as an ONNX file.

use super::error::{Error, report};
use super::output::Target;
use super::stdout::{self, Text};
use super::table::si;
use crate::files;
use crate::model_graph::ModelGraph;
use crate::onnx::{self, Weights};
use crate::spaces::Space;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// Write an architecture of a search space as an ONNX file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    gennape export nasbench201 '|nor_conv_3x3~0|+|none~0|skip_connect~1|+\
    |avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|' -o cell.onnx\n  \
    gennape export nasbench101 110011000101000100101:13p33 -o cell.onnx\n  \
    gennape export darts --sample 100 -o networks")]
pub(crate) struct Arguments {
    /// The search space.
    #[arg(value_parser = space_parser())]
    space: Space,

    /// The architecture in the space's own notation.
    #[arg(required_unless_present = "sample")]
    architecture: Option<String>,

    /// Write N random architectures of the space, one file each, and print what they are.
    #[arg(long, value_name = "N", conflicts_with = "architecture")]
    sample: Option<usize>,

    /// Where to write; - is standard output. With --sample, a folder.
    #[arg(short, long, value_name = "FILE|DIR")]
    output: PathBuf,

    /// Seed of the random weights, and of --sample.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Leave the weights out: gennape reads such a file, a runtime does not.
    #[arg(long)]
    stripped: bool,
}

pub(crate) fn space_parser() -> impl TypedValueParser<Value = Space> {
    PossibleValuesParser::new(Space::ALL.iter().map(|s| s.name()))
        .try_map(|name| name.parse::<Space>())
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let weights = match arguments.stripped {
        true => Weights::Stripped,
        false => Weights::Random { seed: arguments.seed },
    };
    let Some(architecture) = &arguments.architecture else {
        return sample(arguments, weights);
    };
    let graph = arguments.space.build(architecture)?;
    let trainable = arguments.space.trainable_parameters(architecture)?;
    if arguments.output.as_os_str() == "-" {
        if std::io::stdout().is_terminal() {
            return Err(Error::user("standard output is a terminal").hint("-o FILE"));
        }
        let mut out = stdout::bytes();
        onnx::write(&graph, &mut out, weights)?;
        return Ok(out.flush()?);
    }
    write(&graph, Target::new(&arguments.output, &[])?, weights)?;
    let path = arguments.output.display();
    report(&format!("wrote {path}: {} trainable parameters", si(trainable).trim_end()));
    Ok(())
}

/// Writes a network to a file.
pub(super) fn write(graph: &ModelGraph, mut out: Target, weights: Weights) -> Result<(), Error> {
    onnx::write(graph, &mut out, weights)?;
    out.finish()
}

/// Prints a line for each file: its path, a tabulator, the architecture.
fn sample(arguments: &Arguments, weights: Weights) -> Result<(), Error> {
    let (space, folder) = (arguments.space, &arguments.output);
    std::fs::create_dir_all(folder)
        .map_err(|e| Error::from(e).about(&folder.display().to_string()))?;
    files::sweep(folder);
    let mut rng = ChaCha8Rng::seed_from_u64(arguments.seed);
    let mut out = Text::stdout();
    for i in 0..arguments.sample.unwrap_or_default() {
        let architecture = space.sample(&mut rng);
        let path = folder.join(format!("{space}_{i}.onnx"));
        write(&space.build(&architecture)?, Target::one_of_many(&path)?, weights)?;
        out.columns(&[&path.display().to_string(), &architecture.to_string()])?;
    }
    out.flush()
}
