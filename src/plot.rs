//! Axes of the plots in reports, as SVG.

use std::fmt::Write;

/// Width and height of a panel, and the space around it, in pixels.
pub(crate) const SIDE: f64 = 360.0;
pub(crate) const MARGIN: f64 = 60.0;

/// A square with two axes.
pub(crate) struct Panel<'a> {
    /// Position of the left edge; the top is [`MARGIN`].
    pub left: f64,
    /// What stands at the left and at the right end.
    pub x: [f64; 2],
    /// What stands at the bottom and at the top.
    pub y: [f64; 2],
    pub labels: [&'a str; 2],
}

impl Panel<'_> {
    /// Frame, ticks and labels.
    pub fn frame(&self, svg: &mut String) {
        let (left, top, bottom) = (self.left, MARGIN, MARGIN + SIDE);
        let _ = writeln!(
            svg,
            r##"<rect x="{left}" y="{top}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#999"/>"##
        );
        for i in 0..=4 {
            let share = f64::from(i) / 4.0;
            let tick = |[from, to]: [f64; 2]| number(from + share * (to - from), to - from);
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
        let [horizontal, vertical] = self.labels.map(escape);
        let (middle, low) = (left + SIDE / 2.0, bottom + 34.0);
        let (side, centre) = (left - 46.0, top + SIDE / 2.0);
        let _ = writeln!(
            svg,
            r##"<text x="{middle}" y="{low}" text-anchor="middle">{horizontal}</text><text transform="translate({side} {centre}) rotate(-90)" text-anchor="middle">{vertical}</text>"##
        );
    }

    /// Where a point lies.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let share = |[from, to]: [f64; 2], v: f64| SIDE * (v - from) / (to - from);
        (self.left + share(self.x, x), MARGIN + SIDE - share(self.y, y))
    }
}

/// The range of `values`, never empty.
pub(crate) fn range(values: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    if high > low {
        [low, high]
    } else if low.is_finite() {
        [low - 0.5, high + 0.5]
    } else {
        [0.0, 1.0]
    }
}

/// A tick's label with as many digits as help on an axis of this length.
fn number(x: f64, length: f64) -> String {
    for (unit, suffix) in [(1e9, " G"), (1e6, " M"), (1e4, " k")] {
        if x.abs() >= unit {
            let unit = if suffix == " k" { 1e3 } else { unit };
            return format!("{:.1}{suffix}", x / unit);
        }
    }
    let decimals =
        if length >= 1000.0 { 0 } else { (2.0 - length.abs().log10()).clamp(0.0, 6.0) as usize };
    format!("{x:.decimals$}")
}

/// Text as XML.
pub(crate) fn escape(text: &str) -> String {
    crate::graph::svg::escape(text)
}
