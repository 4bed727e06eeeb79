//! Figures over seeds, and how they are printed and kept.

use serde::Serialize;

/// A figure over seeds. Of runs that did not get there no more is known than that it would take
/// longer than any that did.
#[derive(Serialize, Clone)]
pub struct Summary {
    /// `null` where the run of that rank did not get there.
    pub median: Option<f64>,
    pub quartiles: [Option<f64>; 2],
    /// `null` when a run did not get there.
    pub mean: Option<f64>,
    /// Share of the runs that got there.
    pub reached: f64,
    pub runs: usize,
}

impl Summary {
    pub fn new(values: &[Option<f64>]) -> Self {
        let mut sorted: Vec<f64> = values.iter().flatten().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let runs = values.len();
        // Linear between the two nearest ranks.
        let quantile = |share: f64| {
            let at = share * (runs.saturating_sub(1)) as f64;
            let (low, high) = (sorted.get(at.floor() as usize)?, sorted.get(at.ceil() as usize)?);
            Some(low + (high - low) * at.fract())
        };
        let mean = sorted.iter().sum::<f64>() / runs as f64;
        Self {
            median: quantile(0.5),
            quartiles: [quantile(0.25), quantile(0.75)],
            mean: (sorted.len() == runs).then_some(mean),
            reached: sorted.len() as f64 / runs as f64,
            runs,
        }
    }

    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        Self::new(&values.into_iter().map(Some).collect::<Vec<_>>())
    }

    /// Median and quartiles.
    pub fn text(&self, digits: usize, cap: Option<usize>) -> String {
        let number = |x: Option<f64>| match (x, cap) {
            (Some(x), _) => format!("{x:.digits$}"),
            (None, Some(cap)) => format!(">{cap}"),
            (None, None) => "-".into(),
        };
        let [low, high] = self.quartiles.map(number);
        format!("{} ({low} – {high})", number(self.median))
    }

    pub fn mean_text(&self, digits: usize) -> String {
        self.mean.map_or("-".into(), |x| format!("{x:.digits$}"))
    }
}

/// Prints rows with aligned columns.
pub fn print(title: &str, header: &[&str], rows: &[Vec<String>]) {
    println!("\n{title}");
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let all = || std::iter::once(&header).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    for row in all() {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
