//! Axes of charts, as SVG.

use super::page::escape;
use std::fmt::Write;

/// Width and height of a chart, and the space around it, in pixels.
const SIDE: f64 = 360.0;
const LEFT: f64 = 76.0;
const TOP: f64 = 16.0;
const BELOW: f64 = 52.0;
const RIGHT: f64 = 24.0;
/// Steps between ticks that are aimed at.
const STEPS: f64 = 5.0;

/// An axis from one round number to another.
pub(crate) struct Axis {
    label: String,
    ticks: Vec<f64>,
    /// Distance of ticks.
    step: f64,
    /// The best at the low end.
    reversed: bool,
}

impl Axis {
    /// An axis that `values` fit on; those that are not finite don't count.
    pub fn new(label: &str, values: impl Iterator<Item = f64>) -> Self {
        Self::with_steps(label, values, 0.0)
    }

    /// An axis of whole numbers.
    pub fn counts(label: &str, ends: [usize; 2]) -> Self {
        Self::with_steps(label, ends.into_iter().map(|n| n as f64), 1.0)
    }

    /// With ticks that are `least` or more apart.
    fn with_steps(label: &str, values: impl Iterator<Item = f64>, least: f64) -> Self {
        let [mut low, mut high] = [f64::INFINITY, f64::NEG_INFINITY];
        for value in values.filter(|v| v.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high || (low == 0.0 && high == 0.0) {
            (low, high) = (0.0, 1.0);
        } else if low == high {
            // Not beyond 0, where most measures end.
            let around = low.abs() * 0.1;
            (low, high) = (low - around, high + around);
        }
        let step = round((high - low) / STEPS).max(least);
        // What is a tick but for rounding ends the axis.
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let ticks = (0..=(last - first) as usize).map(|i| (first + i as f64) * step).collect();
        Self { label: label.into(), ticks, step, reversed: false }
    }

    /// The same without ticks beyond `most`, which no value exceeds.
    #[cfg(feature = "train")]
    pub fn up_to(mut self, most: f64) -> Self {
        self.ticks.retain(|tick| *tick < most + self.step / 2.0);
        self
    }

    /// The same with the low end at the far end.
    pub fn reversed(self) -> Self {
        Self { reversed: true, ..self }
    }

    fn ends(&self) -> [f64; 2] {
        let ends = [self.ticks.first(), self.ticks.last()].map(|t| t.copied().unwrap_or(0.0));
        if self.reversed { [ends[1], ends[0]] } else { ends }
    }

    /// Where on the axis a value is, 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let [from, to] = self.ends();
        (value - from) / (to - from)
    }

    /// All ticks in the same unit and with the same digits.
    fn text(&self, tick: f64) -> String {
        let most = self.ticks.iter().fold(0.0f64, |most, t| most.max(t.abs()));
        let units = [(1e9, " G"), (1e6, " M"), (1e4, " k"), (0.0, "")];
        let (least, suffix) =
            units.into_iter().find(|(least, _)| most >= *least).unwrap_or((0.0, ""));
        let unit = match suffix {
            "" => 1.0,
            " k" => 1e3,
            _ => least,
        };
        let decimals = (-(self.step / unit).log10().floor()).clamp(0.0, 6.0) as usize;
        // No minus before nothing.
        let value = if tick.abs() < self.step / 2.0 { 0.0 } else { tick / unit };
        format!("{value:.decimals$}{suffix}")
    }
}

/// 1, 2 or 5 times a power of ten, not much less than `step`.
fn round(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * power >= step * 0.8);
    factor.unwrap_or(10.0) * power
}

/// A square with two axes, as a picture of its own.
pub(crate) struct Chart {
    x: Axis,
    y: Axis,
    svg: String,
}

impl Chart {
    /// An empty chart with a line of text above it for each of `title`.
    pub fn new(title: &[String], x: Axis, y: Axis) -> Self {
        let above = 18.0 * title.len() as f64;
        let (width, height) = (LEFT + SIDE + RIGHT, above + TOP + SIDE + BELOW);
        let mut svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 {} {width} {height}" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222">
<rect y="{}" width="{width}" height="{height}" fill="#fff"/>
"##,
            -above, -above
        );
        for (i, line) in title.iter().enumerate() {
            let weight = if i == 0 { r#" font-weight="bold""# } else { r##" fill="#555""## };
            let y = 18.0 * i as f64 + 16.0 - above;
            let _ = writeln!(svg, r#"<text x="12" y="{y}"{weight}>{}</text>"#, escape(line));
        }
        let mut chart = Self { x, y, svg };
        chart.frame();
        chart
    }

    /// Ticks, lines behind the points, labels.
    fn frame(&mut self) {
        let (bottom, right) = (TOP + SIDE, LEFT + SIDE);
        let svg = &mut self.svg;
        for &tick in &self.x.ticks {
            let x = LEFT + SIDE * self.x.share(tick);
            let _ = writeln!(
                svg,
                r##"<path d="M{x:.1} {TOP}V{bottom}" stroke="#e5e7eb"/><text x="{x:.1}" y="{}" text-anchor="middle" fill="#555">{}</text>"##,
                bottom + 16.0,
                self.x.text(tick)
            );
        }
        for &tick in &self.y.ticks {
            let y = bottom - SIDE * self.y.share(tick);
            let _ = writeln!(
                svg,
                r##"<path d="M{LEFT} {y:.1}H{right}" stroke="#e5e7eb"/><text x="{}" y="{:.1}" text-anchor="end" fill="#555">{}</text>"##,
                LEFT - 6.0,
                y + 4.0,
                self.y.text(tick)
            );
        }
        let _ = writeln!(
            svg,
            r##"<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#9ca3af"/>
<text x="{}" y="{}" text-anchor="middle">{}</text><text transform="translate(16 {}) rotate(-90)" text-anchor="middle">{}</text>"##,
            LEFT + SIDE / 2.0,
            bottom + 38.0,
            escape(&self.x.label),
            TOP + SIDE / 2.0,
            escape(&self.y.label)
        );
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (LEFT + SIDE * self.x.share(x), TOP + SIDE * (1.0 - self.y.share(y)))
    }

    /// Where both axes say the same.
    pub fn diagonal(&mut self) {
        let [a, b] = [self.x.ends(), self.y.ends()];
        let low = a[0].min(a[1]).max(b[0].min(b[1]));
        let high = a[0].max(a[1]).min(b[0].max(b[1]));
        if low < high {
            let ((x1, y1), (x2, y2)) = (self.at(low, low), self.at(high, high));
            let _ = writeln!(
                self.svg,
                r##"<path d="M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}" stroke="#6b7280" stroke-dasharray="4 3"/>"##
            );
        }
    }

    /// Dots of one colour; where there are texts, pointing at a dot shows its own.
    pub fn dots(&mut self, points: &[[f64; 2]], texts: &[String], style: &str, radius: f64) {
        let _ = writeln!(self.svg, "<g {style}>");
        for (i, &[x, y]) in points.iter().enumerate() {
            if !x.is_finite() || !y.is_finite() {
                continue;
            }
            let (x, y) = self.at(x, y);
            let _ = match texts.get(i) {
                Some(text) => writeln!(
                    self.svg,
                    r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}"><title>{}</title></circle>"#,
                    escape(text)
                ),
                None => writeln!(self.svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}"/>"#),
            };
        }
        self.svg.push_str("</g>\n");
    }

    /// Bars from one value of the second axis to another, cut at the frame.
    pub fn bars(&mut self, bars: impl Iterator<Item = (f64, [f64; 2])>, style: &str) {
        let _ = writeln!(self.svg, "<g {style}>");
        for (x, [low, high]) in bars {
            let ((x, from), (_, to)) = (self.at(x, low), self.at(x, high));
            let [from, to] = [from, to].map(|y| y.clamp(TOP, TOP + SIDE));
            let _ = writeln!(self.svg, r#"<path d="M{x:.1} {from:.1}V{to:.1}"/>"#);
        }
        self.svg.push_str("</g>\n");
    }

    /// A line through points.
    pub fn line(&mut self, points: &[[f64; 2]], style: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|&[x, y]| {
                let (x, y) = self.at(x, y);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let _ =
            writeln!(self.svg, r#"<polyline points="{}" fill="none" {style}/>"#, points.join(" "));
    }

    /// Charts with titles of equally many lines, as one picture.
    pub fn beside(charts: &[String]) -> String {
        let (width, height) = (LEFT + SIDE + RIGHT, TOP + SIDE + BELOW + 36.0);
        let all = width * charts.len() as f64;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"{height}\" \
             viewBox=\"0 0 {all} {height}\">\n"
        );
        for (i, chart) in charts.iter().enumerate() {
            svg += &chart.replacen("<svg ", &format!("<svg x=\"{}\" ", width * i as f64), 1);
        }
        svg + "</svg>\n"
    }

    /// The picture.
    pub fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(values: &[f64]) -> Vec<String> {
        let axis = Axis::new("", values.iter().copied());
        axis.ticks.iter().map(|&t| axis.text(t)).collect()
    }

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        assert_eq!(ticks(&[51.3, 94.2]), ["50", "60", "70", "80", "90", "100"]);
        assert_eq!(ticks(&[7.8e6, 1.53e8]), ["0 M", "50 M", "100 M", "150 M", "200 M"]);
        assert_eq!(ticks(&[0.91, 0.9437]), ["0.91", "0.92", "0.93", "0.94", "0.95"]);
        assert_eq!(ticks(&[-0.2, 0.3]), ["-0.2", "-0.1", "0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(ticks(&[1.2e9, 4.6e9]), ["1 G", "2 G", "3 G", "4 G", "5 G"]);
        assert_eq!(ticks(&[0.1; 3]), ["0.090", "0.095", "0.100", "0.105", "0.110"]);
    }

    #[test]
    fn counts_have_no_halves() {
        let ticks = |last| {
            let axis = Axis::counts("", [0, last]);
            axis.ticks.iter().map(|&t| axis.text(t)).collect::<Vec<_>>()
        };
        assert_eq!(ticks(1), ["0", "1"]);
        assert_eq!(ticks(3), ["0", "1", "2", "3"]);
        assert_eq!(ticks(20), ["0", "5", "10", "15", "20"]);
    }

    #[test]
    fn axes_without_values_or_with_one_have_a_length() {
        for values in [&[][..], &[f64::NAN], &[3.0], &[0.0, 0.0], &[1e300, -1e300]] {
            let axis = Axis::new("", values.iter().copied());
            let [low, high] = axis.ends();
            assert!(low < high && axis.ticks.len() < 20, "{values:?}: {low} {high}");
        }
    }
}
