//! Estimates against what was measured.

use super::chart::{Axis, Chart};
use crate::evaluation::{FamilyReport, Measure};

/// More networks than this are thinned out evenly; the title says so.
const MAX_POINTS: usize = 4000;

const DOTS: &str = "fill=\"#1f6fb4\" fill-opacity=\"0.4\"";
const BARS: &str = "stroke=\"#1f6fb4\" stroke-opacity=\"0.12\"";

/// Networks that were measured and estimated, in one order.
#[derive(Debug, Clone, Default)]
pub struct Points<'a> {
    /// Lines above the chart.
    pub title: Vec<String>,
    /// What was measured, its unit included.
    pub measured: &'a str,
    /// Measured.
    pub truth: &'a [f64],
    /// Estimated, in the same unit.
    pub estimated: &'a [f64],
    /// 90 %, or nothing.
    pub intervals: &'a [[f64; 2]],
    /// Shown when a dot is pointed at, or nothing.
    pub names: &'a [String],
}

/// Estimated values over measured ones, on equal scales; intervals as bars.
pub fn scatter(points: &Points) -> String {
    let both = || points.truth.iter().chain(points.estimated).copied();
    let axis = |label: &str| Axis::new(label, both());
    let estimated = format!("estimated {}", points.measured);
    let measured = format!("measured {}", points.measured);
    let mut chart = Chart::new(&points.title, axis(&measured), axis(&estimated));
    chart.diagonal();
    chart.bars(points.truth.iter().copied().zip(points.intervals.iter().copied()), BARS);
    let dots: Vec<[f64; 2]> =
        points.truth.iter().zip(points.estimated).map(|(&t, &e)| [t, e]).collect();
    let text = |(name, [truth, estimate]): (&String, &[f64; 2])| {
        format!("{name}: measured {truth:.2}, estimated {estimate:.2}")
    };
    let texts: Vec<String> = points.names.iter().zip(&dots).map(text).collect();
    chart.dots(&dots, &texts, DOTS, 2.5);
    chart.finish()
}

/// A family's estimates over its measured values, and ranks over ranks (1 is the best).
pub fn evaluation(model: &str, report: &FamilyReport) -> String {
    let value = |m| report.rankings.first().and_then(|r| r.get(m)).map_or(f64::NAN, |m| m.value);
    let step = report.truth.len().div_ceil(MAX_POINTS).max(1);
    let thinned = if step > 1 { format!(", one in {step} drawn") } else { String::new() };
    let thin = |values: &[f64]| values.iter().copied().step_by(step).collect::<Vec<f64>>();
    let title = vec![
        format!("{}, {}: estimates of {model}", report.family, report.split),
        format!(
            "{} networks{thinned}; Spearman {:.3}, Kendall τ-b {:.3}",
            report.truth.len(),
            value(Measure::Spearman),
            value(Measure::Kendall),
        ),
    ];
    let values = scatter(&Points {
        title,
        measured: &report.target,
        truth: &thin(&report.truth),
        estimated: &thin(&report.predicted),
        ..Points::default()
    });
    let [truth, predicted] = [&report.truth, &report.predicted].map(|v| thin(&ranks(v)));
    let axis = |label| Axis::counts(label, [1, report.truth.len()]).reversed();
    let mut chart = Chart::new(
        &["Ranks".to_string(), "the best at the top and the right".into()],
        axis("true rank"),
        axis("estimated rank"),
    );
    chart.diagonal();
    let dots: Vec<[f64; 2]> = truth.into_iter().zip(predicted).map(|(t, p)| [t, p]).collect();
    chart.dots(&dots, &[], DOTS, 2.0);
    Chart::beside(&[values, chart.finish()])
}

/// From 1, the highest first.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let mut ranks = vec![0.0; values.len()];
    for (rank, i) in order.into_iter().enumerate() {
        ranks[i] = rank as f64 + 1.0;
    }
    ranks
}
