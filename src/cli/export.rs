//! `gennape export`: a search space's architecture as an ONNX file.

use super::error::Error;
use super::stdout;
use super::table::si;
use crate::onnx::{self, Weights};
use crate::spaces::Space;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

/// Write an architecture of a search space as an ONNX file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    gennape export nasbench201 '|nor_conv_3x3~0|+|none~0|skip_connect~1|+\
    |avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|' -o cell.onnx\n  \
    gennape export nasbench101 110011000101000100101:13p33 -o cell.onnx")]
pub(crate) struct Arguments {
    /// The search space.
    #[arg(value_parser = space_parser())]
    space: Space,

    /// The architecture in the space's own notation.
    architecture: String,

    /// Where to write; - is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Seed of the random weights.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Leave the weights out: gennape reads such a file, a runtime does not.
    #[arg(long, conflicts_with = "seed")]
    stripped: bool,
}

fn space_parser() -> impl TypedValueParser<Value = Space> {
    PossibleValuesParser::new(Space::ALL.iter().map(|s| s.name()))
        .try_map(|name| name.parse::<Space>())
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let graph = arguments.space.build(&arguments.architecture)?;
    let trainable = arguments.space.trainable_parameters(&arguments.architecture)?;
    let weights = match arguments.stripped {
        true => Weights::Stripped,
        false => Weights::Random { seed: arguments.seed },
    };

    if arguments.output.as_os_str() == "-" {
        if std::io::stdout().is_terminal() {
            return Err(Error::user("standard output is a terminal").hint("-o FILE"));
        }
        let mut out = stdout();
        onnx::write(&graph, &mut out, weights)?;
        return Ok(out.flush()?);
    }
    let path = arguments.output.display().to_string();
    let file = File::create(&arguments.output).map_err(|e| Error::from(e).about(&path))?;
    let mut out = BufWriter::new(file);
    onnx::write(&graph, &mut out, weights)
        .map_err(Error::from)
        .and_then(|()| Ok(out.flush()?))
        .map_err(|e| e.about(&path))?;
    eprintln!("wrote {path}: {} trainable parameters", si(trainable).trim_end());
    Ok(())
}
