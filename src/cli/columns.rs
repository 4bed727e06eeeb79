//! What a command prints line by line: one list of columns gives header and rows, as CSV and as a
//! table.

use super::error::Error;
use super::stdout::Csv;
use super::table::Table;
use serde_json::Value;
use std::borrow::Borrow;

/// A column's name, and what stands there of a `T`.
pub(crate) enum Column<'a, T> {
    /// Of CSV.
    Csv(&'a str, fn(&T) -> Value),
    /// Of a table; see [`Table::new`] for the name.
    Table(&'a str, fn(&T) -> String),
}

/// Writes the columns of CSV to standard output.
pub(crate) fn print_csv<T>(
    columns: &[Column<T>],
    rows: impl IntoIterator<Item = impl Borrow<T>>,
) -> Result<(), Error> {
    let columns = columns.iter().filter_map(|column| match column {
        Column::Csv(name, cell) => Some((*name, cell)),
        Column::Table(..) => None,
    });
    let mut out = Csv::stdout();
    out.row(columns.clone().map(|(name, _)| name).collect::<Vec<_>>())?;
    for row in rows {
        out.row(columns.clone().map(|(_, cell)| cell(row.borrow())).collect::<Vec<_>>())?;
    }
    out.flush()
}

/// The columns of a table.
pub(crate) fn table<T>(
    columns: &[Column<T>],
    rows: impl IntoIterator<Item = impl Borrow<T>>,
) -> Table {
    let columns = columns.iter().filter_map(|column| match column {
        Column::Table(name, cell) => Some((*name, cell)),
        Column::Csv(..) => None,
    });
    let mut table = Table::new(&columns.clone().map(|(name, _)| name).collect::<Vec<_>>());
    for row in rows {
        table.row(columns.clone().map(|(_, cell)| cell(row.borrow())));
    }
    table
}
