//! A scatter plot of one family, as SVG.

use super::{FamilyReport, Measure};
use crate::graph::svg::escape;
use std::fmt::Write;

/// Side of a panel and the space around it, in pixels.
const SIDE: f64 = 360.0;
const MARGIN: f64 = 60.0;
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
    let range = |v: &[f64]| {
        let low = v.iter().copied().fold(f64::INFINITY, f64::min);
        let high = v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if high > low { [low, high] } else { [low - 0.5, high + 0.5] }
    };
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
    values.draw(&mut svg, truth, predicted, step);
    ranked.draw(&mut svg, &ranks(truth), &ranks(predicted), step);
    svg.push_str("</svg>\n");
    svg
}

struct Panel {
    left: f64,
    /// What stands at the left and at the right end.
    x: [f64; 2],
    /// What stands at the bottom and at the top.
    y: [f64; 2],
    labels: [&'static str; 2],
}

impl Panel {
    fn draw(&self, svg: &mut String, x: &[f64], y: &[f64], step: usize) {
        let (left, top, bottom) = (self.left, MARGIN, MARGIN + SIDE);
        let at = |range: [f64; 2], v: f64| SIDE * (v - range[0]) / (range[1] - range[0]);
        let _ = writeln!(
            svg,
            r##"<rect x="{left}" y="{top}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#999"/>"##
        );
        for i in 0..=4 {
            let share = f64::from(i) / 4.0;
            let tick = |range: [f64; 2]| number(range[0] + share * (range[1] - range[0]));
            let (across, up) = (left + share * SIDE, bottom - share * SIDE);
            let _ = writeln!(
                svg,
                r##"<text x="{across:.0}" y="{:.0}" text-anchor="middle" fill="#666">{}</text><text x="{:.0}" y="{:.0}" text-anchor="end" fill="#666">{}</text>"##,
                bottom + 16.0,
                tick(self.x),
                left - 6.0,
                up + 4.0,
                tick(self.y),
            );
        }
        let [horizontal, vertical] = self.labels;
        let (middle, low) = (left + SIDE / 2.0, bottom + 34.0);
        let (side, centre) = (left - 44.0, top + SIDE / 2.0);
        let _ = writeln!(
            svg,
            r##"<text x="{middle}" y="{low}" text-anchor="middle">{horizontal}</text><text transform="translate({side} {centre}) rotate(-90)" text-anchor="middle">{vertical}</text>
<g fill="#1f6fb4" fill-opacity="0.35">"##
        );
        for (x, y) in x.iter().zip(y).step_by(step) {
            let (cx, cy) = (left + at(self.x, *x), bottom - at(self.y, *y));
            let _ = writeln!(svg, r#"<circle cx="{cx:.1}" cy="{cy:.1}" r="2"/>"#);
        }
        svg.push_str("</g>\n");
    }
}

/// A tick's label with as many decimals as help.
fn number(x: f64) -> String {
    if x.abs() >= 1000.0 { format!("{x:.0}") } else { format!("{x:.1}") }
}
