//! `gennape embed`: what a model sees of networks, for other programs to work with.

use super::error::Error;
use super::input::{NetworkArguments, ReadFailure};
use super::model::ModelArguments;
use super::{csv_writer, print_json};
use clap::ValueEnum;
use serde::Serialize;

/// Print the embeddings of networks: the numbers that the model's estimate is computed from.
///
/// Embeddings of one model can be compared with one another, those of different models can't.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    input: NetworkArguments,

    #[command(flatten)]
    model: ModelArguments,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line per network: its path, then the numbers.
    Csv,
    /// One JSON object.
    Json,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    model: &'a str,
    results: Vec<Embedded<'a>>,
    errors: &'a [ReadFailure],
}

#[derive(Serialize)]
struct Embedded<'a> {
    path: &'a str,
    embedding: Vec<f32>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let networks = arguments.input.read()?;
    let estimator = arguments.model.load()?;
    let embeddings = estimator.embed(&networks.graphs);
    let rows = networks.paths.iter().zip(embeddings.rows());
    match arguments.format {
        Format::Json => print_json(&Report {
            schema: 1,
            model: &estimator.manifest().name,
            results: rows.map(|(path, e)| Embedded { path, embedding: e.to_vec() }).collect(),
            errors: &networks.failed,
        })?,
        Format::Csv => {
            let mut out = csv_writer();
            for (path, embedding) in rows {
                out.serialize((path, embedding.to_vec()))?;
            }
            out.flush()?;
        }
    }
    networks.status()
}
