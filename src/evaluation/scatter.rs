//! A scatter plot of one family, as SVG.

use super::{FamilyReport, Measure};
use crate::plot::{MARGIN, Panel, SIDE, escape, range};
use std::fmt::Write;

/// More networks than this are thinned out evenly; the caption says so.
const MOST_POINTS: usize = 4000;

/// Predicted against true values, and predicted against true ranks (1 is the best).
pub fn scatter(report: &FamilyReport) -> String {
    let (width, height) = (2.0 * SIDE + 3.0 * MARGIN, SIDE + 2.0 * MARGIN);
    let mut svg = String::new();
    let best = report.rankings.first();
    let value = |m| best.and_then(|r| r.get(m)).map_or(f64::NAN, |m| m.value);
    let step = report.truth.len().div_ceil(MOST_POINTS).max(1);
    let thinned = if step > 1 { format!(", one in {step} drawn") } else { String::new() };
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="#222">
<rect width="{width}" height="{height}" fill="#fff"/>
<text x="{MARGIN}" y="24" font-size="14" font-weight="bold">{}</text>
<text x="{MARGIN}" y="42">{} networks{thinned}; Spearman {:.3}, Kendall τ-b {:.3}</text>
"##,
        escape(&format!("{}, {}: {}", report.family, report.split, report.target)),
        report.truth.len(),
        value(Measure::Spearman),
        value(Measure::Kendall),
    );
    let ranks = |values: &[f64]| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        let mut ranks = vec![0.0; values.len()];
        for (rank, i) in order.into_iter().enumerate() {
            ranks[i] = rank as f64 + 1.0;
        }
        ranks
    };
    let (truth, predicted) = (&report.truth, &report.predicted);
    let range = |v: &[f64]| range(v.iter().copied());
    let values = Panel {
        left: MARGIN,
        x: range(truth),
        y: range(predicted),
        labels: ["true value", "predicted value"],
    };
    let count = [truth.len().max(2) as f64, 1.0];
    let ranked = Panel {
        left: 2.0 * MARGIN + SIDE,
        x: count,
        y: count,
        labels: ["true rank", "predicted rank"],
    };
    draw(&values, &mut svg, truth, predicted, step);
    draw(&ranked, &mut svg, &ranks(truth), &ranks(predicted), step);
    svg.push_str("</svg>\n");
    svg
}

/// The points, one in `step`.
fn draw(panel: &Panel, svg: &mut String, x: &[f64], y: &[f64], step: usize) {
    panel.frame(svg);
    svg.push_str("<g fill=\"#1f6fb4\" fill-opacity=\"0.35\">\n");
    for (x, y) in x.iter().zip(y).step_by(step) {
        let (cx, cy) = panel.at(*x, *y);
        let _ = writeln!(svg, r#"<circle cx="{cx:.1}" cy="{cy:.1}" r="2"/>"#);
    }
    svg.push_str("</g>\n");
}
