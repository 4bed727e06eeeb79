//! `gennape data`: which labelled sets there are, and import of official distributions.

use super::error::{Error, Failure, note, report};
use super::output::{Target, distinct};
use super::progress::Progress;
use super::stdout::{Text, print_json};
use crate::benchmarks::catalogue::{Entry, Found, SETS};
use crate::benchmarks::nasbench101::{self, official};
use crate::benchmarks::{self, BenchmarkError};
use crate::spaces::{Architecture, nasbench101::Cell};
use clap::{Subcommand, ValueEnum};
use flate2::Compression;
use flate2::write::GzEncoder;
use schemars::JsonSchema;
use serde::Serialize;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// List labelled sets and import their official distributions.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(ListArguments),
    Import(ImportArguments),
}

/// Say what each labelled set is, where to get it, and whether it is there.
#[derive(Debug, clap::Args)]
struct ListArguments {
    /// Folder with the labelled sets [default: $GENNAPE_DATA].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A paragraph per set.
    Table,
    /// One JSON object.
    Json,
}

/// Convert an official distribution into the file that gennape reads.
#[derive(Debug, clap::Args)]
struct ImportArguments {
    /// The labelled set.
    set: Importable,

    /// The official file, such as nasbench_only108.tfrecord or nasbench_full.tfrecord.
    file: PathBuf,

    /// Folder with the labelled sets, to write to [default: $GENNAPE_DATA].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// File to write, instead of one in the data folder.
    #[arg(short, long, value_name = "FILE", conflicts_with = "data")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Importable {
    Nasbench101,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    match &arguments.command {
        Command::List(arguments) => list(arguments),
        Command::Import(arguments) => import(arguments),
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Listing {
    schema: u32,
    sets: Vec<Listed>,
}

#[derive(Serialize, JsonSchema)]
struct Listed {
    #[serde(flatten)]
    entry: Entry,
    /// Where it is looked for; absent without a data folder.
    path: Option<PathBuf>,
    found: Option<Found>,
    /// Why the file that is there cannot be read.
    error: Option<String>,
}

fn list(arguments: &ListArguments) -> Result<(), Error> {
    let folder = match benchmarks::data_folder(arguments.data.as_deref()) {
        Ok(folder) => Some(folder),
        Err(BenchmarkError::NoFolder) => None,
        Err(e) => return Err(e.into()),
    };
    let sets = SETS.iter().map(|entry| listed(*entry, folder.as_deref())).collect();
    let listing = Listing { schema: 1, sets };
    match arguments.format {
        Format::Json => print_json(&listing)?,
        Format::Table => print_listing(&listing)?,
    }
    if folder.is_none() {
        let Failure { message, hint, .. } = Failure::from_error(&BenchmarkError::NoFolder);
        note(&format!("{message}: {}", hint.unwrap_or_default()));
    }
    Ok(())
}

fn listed(entry: Entry, folder: Option<&Path>) -> Listed {
    let path = folder.map(|folder| folder.join(entry.file));
    let (found, error) = match folder.map(|folder| entry.find(folder)) {
        Some(Ok(found)) => (found, None),
        Some(Err(e)) => (None, Some(Failure::from_error(&e).to_line())),
        None => (None, None),
    };
    Listed { entry, path, found, error }
}

fn print_listing(listing: &Listing) -> Result<(), Error> {
    let mut out = Text::stdout();
    for (i, Listed { entry, path, found, error }) in listing.sets.iter().enumerate() {
        if i > 0 {
            out.line("")?;
        }
        out.line(&format!("{}: {}", entry.name, entry.description))?;
        let mut line = |name: &str, value: &str| out.line(&format!("  {name:<12}{value}"));
        if let Some(rows) = entry.rows {
            line("networks", &rows.to_string())?;
        }
        line("licence", entry.licence)?;
        line("download", entry.url)?;
        if let Some(size) = entry.size {
            line("size", size)?;
        }
        line("preparation", entry.preparation)?;
        let file = path.as_ref().map_or(entry.file.to_string(), |p| p.display().to_string());
        line("file", &file)?;
        match (found, error) {
            (Some(Found { bytes, rows }), _) => {
                line("there", &format!("yes, {rows} rows, {bytes} bytes"))?;
            }
            (None, Some(error)) => line("there", &format!("yes, but: {error}"))?,
            (None, None) if path.is_some() => line("there", "no")?,
            (None, None) => {}
        }
    }
    out.flush()
}

fn import(arguments: &ImportArguments) -> Result<(), Error> {
    let Importable::Nasbench101 = arguments.set;
    let output = match &arguments.output {
        Some(output) => output.clone(),
        None => benchmarks::data_folder(arguments.data.as_deref())?.join(nasbench101::FILE),
    };
    let name = output.display().to_string();
    // Before the long part.
    if output.is_file() {
        return Err(Error::user(format!("{name} is there already"))
            .hint("delete it, or choose another file with -o FILE"));
    }
    distinct(&output, std::slice::from_ref(&arguments.file))?;
    let mut out = Target::new_only(&output)?;
    let cells = convert(&arguments.file, &mut out)?;
    out.finish()?;
    report(&format!("wrote {name}: {cells} cells"));
    match Cell::size() {
        Some(size) if size != cells as u128 => {
            note(&format!("the whole set has {size} cells"));
        }
        _ => {}
    }
    Ok(())
}

/// Writes the cells of an official file and says how many they are.
fn convert(input: &Path, output: impl Write) -> Result<usize, Error> {
    const MEGABYTE: u64 = 1 << 20;
    let bytes = fs::metadata(input).map_or(0, |metadata| metadata.len());
    let progress = Progress::new("reading", usize::try_from(bytes / MEGABYTE).unwrap_or(0));
    let cells = official::read(input, |read| progress.reach(read / MEGABYTE))?;
    drop(progress);
    let mut out = GzEncoder::new(output, Compression::default());
    official::write_csv(&cells, &mut out)?;
    out.finish()?;
    Ok(cells.len())
}
