//! Aligned columns for people.

use super::stdout::Text;
use crate::text::printable;
use console::{Term, measure_text_width};
use std::io;

/// A table whose widest left-aligned column gives way when the terminal is narrow.
pub(crate) struct Table {
    header: Vec<String>,
    left: Vec<bool>,
    rows: Vec<Vec<String>>,
}

/// Narrowest a column gets that gives way.
const MIN_WIDTH: usize = 12;
/// Most characters of a cell.
const MAX_CHARACTERS: usize = 200;
/// Spaces between columns.
const GAP: usize = 2;

impl Table {
    /// An empty table. A column whose name begins with `<` is left-aligned, others right.
    pub fn new(header: &[&str]) -> Self {
        let left = header.iter().enumerate().map(|(i, h)| i == 0 || h.starts_with('<')).collect();
        let header = header.iter().map(|h| short(h.trim_start_matches('<'))).collect();
        Self { header, left, rows: Vec::new() }
    }

    /// Adds a row of as many cells as there are columns.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|c| short(&c)).collect());
    }

    /// Writes the table, no wider than the terminal where there is one.
    pub fn print(&self, out: &mut Text) -> io::Result<()> {
        let term = Term::stdout();
        let width = if term.is_term() { term.size_checked().map(|(_, w)| w.into()) } else { None };
        self.lines(width).iter().try_for_each(|line| out.line(line))
    }

    /// Writes the table in Markdown, to be pasted.
    pub fn markdown(&self, out: &mut Text) -> io::Result<()> {
        let row = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|c| c.trim().replace('|', "\\|")).collect();
            format!("| {} |", cells.join(" | "))
        };
        let align = self.left.iter().map(|left| if *left { "---" } else { "---:" });
        out.line(&row(&self.header))?;
        out.line(&format!("| {} |", align.collect::<Vec<_>>().join(" | ")))?;
        self.rows.iter().try_for_each(|cells| out.line(&row(cells)))
    }

    fn lines(&self, width: Option<usize>) -> Vec<String> {
        let mut widths: Vec<usize> = self.header.iter().map(|h| measure_text_width(h)).collect();
        for row in &self.rows {
            for (w, cell) in widths.iter_mut().zip(row) {
                *w = (*w).max(measure_text_width(cell));
            }
        }
        let total =
            |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let excess = width.map_or(0, |limit| total(&widths).saturating_sub(limit));
        let texts = widths.iter_mut().zip(&self.left).filter(|(_, left)| **left);
        if let Some((w, _)) = texts.max_by_key(|(w, _)| **w) {
            *w = w.saturating_sub(excess).max(MIN_WIDTH.min(*w));
        }
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        for row in std::iter::once(&self.header).chain(&self.rows) {
            let mut line = String::new();
            for (i, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if i > 0 {
                    line.push_str(&" ".repeat(GAP));
                }
                let cell = keep_end(cell, width);
                let padding = " ".repeat(width.saturating_sub(measure_text_width(&cell)));
                if self.left.get(i).copied().unwrap_or(false) {
                    line.push_str(&cell);
                    line.push_str(&padding);
                } else {
                    line.push_str(&padding);
                    line.push_str(&cell);
                }
            }
            line.truncate(line.trim_end().len());
            lines.push(line);
        }
        lines
    }
}

/// What of a cell can be shown: its end, if it is very long.
fn short(cell: &str) -> String {
    let before = cell.chars().rev().take(MAX_CHARACTERS).map(char::len_utf8).sum::<usize>();
    match cell.len() - before {
        0 => printable(cell).into_owned(),
        left_out => format!("…{}", printable(&cell[left_out..])),
    }
}

/// `text` cut at the front to fit `width`: the ends of paths and of node names tell most.
fn keep_end(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_string();
    }
    let mut rest = text.chars();
    while measure_text_width(rest.as_str()) + 1 > width && rest.next().is_some() {}
    format!("…{}", rest.as_str())
}

/// A count with three significant digits and a unit: `512  `, `25.6 M`, `4.09 G`.
pub(crate) fn si(count: u64) -> String {
    let mut value = count as f64;
    if value < 1000.0 {
        return format!("{count}  ");
    }
    let mut unit = ' ';
    for next in ['k', 'M', 'G', 'T', 'P', 'E'] {
        // What three digits would round up to 1000 belongs to the next unit.
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_three_digits() {
        for (count, text) in [
            (0, "0  "),
            (999, "999  "),
            (1000, "1.00 k"),
            (9_994, "9.99 k"),
            (9_996, "10.0 k"),
            (999_499, "999 k"),
            (999_500, "1.00 M"),
            (25_557_032, "25.6 M"),
            (4_089_184_256, "4.09 G"),
            (u64::MAX, "18.4 E"),
        ] {
            assert_eq!(si(count), text);
        }
    }

    #[test]
    fn a_narrow_terminal_cuts_names_and_never_numbers() {
        let mut table = Table::new(&["network", "parameters"]);
        table.row(["a/very/long/path/to/モデル.onnx".into(), "25.6 M".into()]);
        let lines = ["network         parameters", "…o/モデル.onnx      25.6 M"];
        assert_eq!(table.lines(Some(26)), lines);
    }
}
