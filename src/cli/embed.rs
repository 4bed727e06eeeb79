//! `gennape embed`: what a model sees of networks, for other programs to work with.

use super::error::{Error, Failure};
use super::input::{NetworkArguments, Networks, ReadFailure};
use super::model::ModelArguments;
use super::stdout::{Csv, print_json};
use crate::encoder::GraphFeatures;
use crate::proxies::{DESCRIPTORS, Proxies, descriptors};
use clap::ValueEnum;
use ndarray::ArrayView1;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// Print the numbers that an estimate is computed from: embeddings, or descriptors.
///
/// Embeddings are a model's own: those of one can be compared with one another, those of different
/// models can't. Descriptors have names and are the same for every model.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    input: NetworkArguments,

    #[command(flatten)]
    model: ModelArguments,

    /// Which numbers.
    #[arg(long, value_enum, default_value_t = What::Embeddings)]
    what: What,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// What the model's encoder makes of a network.
    Embeddings,
    /// Size, paths, widths, stem and signal, by name.
    Descriptors,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line per network: its path, then the numbers; descriptors below their names.
    Csv,
    /// One JSON object.
    Json,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a, T> {
    schema: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    results: Vec<T>,
    errors: &'a [ReadFailure],
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Embedded<'a> {
    path: &'a str,
    embedding: Vec<f32>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Described<'a> {
    path: &'a str,
    descriptors: BTreeMap<&'static str, f64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let networks = arguments.input.read()?;
    match arguments.what {
        What::Embeddings => embeddings(arguments, networks),
        What::Descriptors => described(arguments, networks),
    }
}

fn embeddings(arguments: &Arguments, mut networks: Networks) -> Result<(), Error> {
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
            model: Some(&estimator.manifest().name),
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

fn described(arguments: &Arguments, mut networks: Networks) -> Result<(), Error> {
    let described = networks
        .answer(|graphs| graphs.iter().map(|g| Ok(descriptors(g, &Proxies::new(g)))).collect());
    let rows = networks.paths.iter().zip(described);
    let names = DESCRIPTORS.map(|(name, ..)| name);
    match arguments.format {
        Format::Json => print_json(&Report {
            schema: 1,
            model: None,
            results: rows
                .map(|(path, d)| Described {
                    path,
                    descriptors: names.into_iter().zip(d).collect(),
                })
                .collect(),
            errors: &networks.failed,
        })?,
        Format::Csv => {
            let mut out = Csv::stdout();
            out.row(std::iter::once("path").chain(names).collect::<Vec<_>>())?;
            for (path, descriptors) in rows {
                out.row((path, descriptors.to_vec()))?;
            }
            out.flush()?;
        }
    }
    networks.status()
}
