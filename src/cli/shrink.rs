//! `gennape shrink`: a sub-network with its weights.

use super::Format;
use super::error::{Error, note, report};
use super::input::FileArguments;
use super::output::Target;
use super::stdout::print_json;
use super::table::si;
use crate::lower::lower;
use crate::subnetworks::{CutTensor, ShrinkError, Shrunk, SuperNetwork};
use crate::text::quoted;
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

/// Write a sub-network of a network, with its weights, as an ONNX file.
///
/// The text after --keep lists what differs from the whole network, as `space` names it: the
/// share of a group that is kept, the branches that are left out, kernels, activations. A group
/// keeps the channels whose weights have the largest norm. Everything else stays as it is in the
/// file: names, documentation, free dimensions, functions. Weights in external data come to stand
/// inside the new file, or beside it in FILE.data where that would be longer than 2 GiB.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    gennape shrink resnet18.onnx --keep c0=3/4,c5=1/2,-b2,k4=1 -o small.onnx")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: FileArguments,

    /// What to keep.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    keep: String,

    /// Where to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// How to print what was done; json lists the positions that every tensor keeps.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    schema: u32,
    /// The sub-network, without choices that make no difference.
    text: String,
    /// Whether zeroing in the whole network what was cut has the same effect.
    exact: bool,
    weights: bool,
    parameters: u64,
    macs: u64,
    cuts: Vec<CutTensor>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let path = arguments.model.path();
    let (graph, mut original) = arguments.model.open()?;
    let space = SuperNetwork::new(graph);
    let sub = space
        .parse(&arguments.keep)
        .map_err(|e| Error::from(e).hint(format!("gennape space {}", quoted(path))))?;
    let mut inputs = original.files().map_err(ShrinkError::from)?;
    inputs.push(path.into());
    let mut out = Target::new(&arguments.output, &inputs)?;
    let mut data = out.data(&inputs);
    let shrunk = space.shrink(&sub, &mut original, &mut out, Some(data.file()))?;
    let Shrunk { graph, weights, cuts, notes } = shrunk;
    data.finish()?;
    out.finish()?;
    notes.iter().for_each(|text| note(text));
    if !weights {
        note("the file has no weights, so the new one has none either");
    }
    let exact = space.is_exact(&sub);
    if !exact {
        note("some groups are approximate: the weights need training to fit again");
    }
    let network = lower(&graph)?;
    let (parameters, macs) = (network.parameters(), network.macs());
    if arguments.format == Format::Json {
        let text = sub.to_string();
        return print_json(&Report { schema: 1, text, exact, weights, parameters, macs, cuts });
    }
    let whole = lower(space.graph())?;
    let of = |part: u64, all: u64| format!("{} of {}", si(part).trim(), si(all).trim());
    report(&format!(
        "wrote {}: {sub}: {} parameters, {} MACs",
        arguments.output.display(),
        of(parameters, whole.parameters()),
        of(macs, whole.macs())
    ));
    Ok(())
}
