//! `gennape embed`: what a model sees of networks, for other programs to work with.

use super::error::{Error, Failure};
use super::input::{NetworkArguments, ReadFailure};
use super::model::ModelArguments;
use super::stdout::{Csv, print_json};
use crate::encoder::GraphFeatures;
use clap::ValueEnum;
use ndarray::ArrayView1;
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
    let mut networks = arguments.input.read()?;
    let estimator = arguments.model.load()?;
    let embeddings = networks.answer(|graphs| {
        let features: Vec<_> = graphs.iter().map(GraphFeatures::new).collect();
        let embeddings = estimator.encoder().embed(&features);
        let checked = |row: ArrayView1<f32>| match row.iter().all(|x| x.is_finite()) {
            true => Ok(row.to_vec()),
            false => Err(Failure::new("the model's embedding of it is not finite")),
        };
        embeddings.rows().into_iter().map(checked).collect()
    });
    let rows = networks.paths.iter().zip(embeddings);
    match arguments.format {
        Format::Json => print_json(&Report {
            schema: 1,
            model: &estimator.manifest().name,
            results: rows.map(|(path, e)| Embedded { path, embedding: e }).collect(),
            errors: &networks.failed,
        })?,
        Format::Csv => {
            let mut out = Csv::stdout();
            for (path, embedding) in rows {
                out.row((path, embedding))?;
            }
            out.flush()?;
        }
    }
    networks.status()
}
