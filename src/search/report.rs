//! A run as a page to look at.

use super::pareto::{self, Fitness};
use super::problem::{Direction, Problem};
use super::run::{Evaluated, Record};
use crate::graph::ComputationGraph;
use crate::plot::{MARGIN, Panel, SIDE, escape, range};
use std::fmt::{Display, Write};

/// More networks than this are thinned out evenly.
const MOST_POINTS: usize = 4000;
/// Points of the history's curve.
const STEPS: usize = 120;
/// Most networks that are drawn, evenly spaced along the front.
const MOST_DRAWN: usize = 12;
/// Most objectives for which the hypervolume is followed; its cost is exponential in them.
const MOST_OBJECTIVES: usize = 3;

const STYLE: &str = "body{font:14px/1.5 sans-serif;color:#222;max-width:1100px;margin:2em auto;\
padding:0 1em}table{border-collapse:collapse}td,th{padding:2px 12px 2px 0;text-align:right}\
td:last-child,th:last-child{text-align:left;font-family:monospace;word-break:break-all}\
summary{cursor:pointer}details svg{max-width:100%;height:auto}.plots svg{max-width:100%}";

/// What is said of a front.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Names of the columns; the last one is text.
    pub columns: Vec<String>,
    /// A cell of each column, for each network of the front, in its order.
    pub rows: Vec<Vec<String>>,
    /// What is to be known of all of them.
    pub remarks: Vec<String>,
}

/// A self-contained HTML page: the front among all networks, how it grew, and the networks on it.
/// `graphs` and `listing` are those of [`Record::front`], in its order.
pub fn html<C: Display>(
    title: &str,
    problem: &Problem,
    record: &Record<C>,
    graphs: &[ComputationGraph],
    listing: &Listing,
) -> String {
    let front = record.front();
    let names: Vec<&str> = problem.measures().collect();
    let title = escape(title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n<p>{} different networks, {} of \
         them within the constraints; {} on the front. Seed {}.</p>\n<div class=\"plots\">\n",
        record.history.len(),
        record.history.iter().filter(|e| e.fitness.violation == 0.0).count(),
        front.len(),
        record.limits.seed,
    );
    if let Some((&(first, direction), others)) = problem.objectives().split_first() {
        for &(other, _) in others {
            page.push_str(&cloud([other, first].map(|m| (m, names[m])), record, &front));
        }
        page.push_str(&history(names[first], direction, record));
    }
    page.push_str("</div>\n<h2>The front</h2>\n");
    for remark in &listing.remarks {
        let _ = writeln!(page, "<p>{}</p>", escape(remark));
    }
    page.push_str("<table><tr><th></th>");
    for column in &listing.columns {
        let _ = write!(page, "<th>{}</th>", escape(column));
    }
    page.push_str("</tr>\n");
    for (i, row) in listing.rows.iter().enumerate() {
        let _ = write!(page, "<tr><td>{}</td>", i + 1);
        for cell in row {
            let _ = write!(page, "<td>{}</td>", escape(cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n<h2>Networks</h2>\n");
    let step = front.len().div_ceil(MOST_DRAWN).max(1);
    for (i, (evaluated, graph)) in front.iter().zip(graphs).enumerate().step_by(step) {
        let name = evaluated.candidate.to_string();
        let drawing = graph.to_svg(&name);
        let _ = writeln!(
            page,
            "<details><summary>{}: {}</summary>\n{drawing}</details>",
            i + 1,
            escape(&name)
        );
    }
    page.push_str("</body></html>\n");
    page
}

/// All networks by two measures, and the front among them.
fn cloud<C>(
    [(x, x_name), (y, y_name)]: [(usize, &str); 2],
    record: &Record<C>,
    front: &[&Evaluated<C>],
) -> String {
    let point = |e: &Evaluated<C>| Some([e.values[x]?, e.values[y]?]).filter(finite);
    let points: Vec<[f64; 2]> = record.history.iter().filter_map(point).collect();
    let mut svg = open();
    let panel = Panel {
        left: MARGIN,
        x: range(points.iter().map(|p| p[0])),
        y: range(points.iter().map(|p| p[1])),
        labels: [x_name, y_name],
    };
    panel.frame(&mut svg);
    svg.push_str("<g fill=\"#888\" fill-opacity=\"0.35\">\n");
    for point in points.iter().step_by(points.len().div_ceil(MOST_POINTS).max(1)) {
        let (cx, cy) = panel.at(point[0], point[1]);
        let _ = writeln!(svg, r#"<circle cx="{cx:.1}" cy="{cy:.1}" r="2"/>"#);
    }
    svg.push_str("</g>\n<g fill=\"#c0392b\">\n");
    for (i, member) in front.iter().enumerate() {
        let Some([a, b]) = point(member) else { continue };
        let (cx, cy) = panel.at(a, b);
        let _ = writeln!(
            svg,
            r#"<circle cx="{cx:.1}" cy="{cy:.1}" r="4"><title>{}: {y_name} {}, {x_name} {}</title></circle>"#,
            i + 1,
            number(b),
            number(a),
            y_name = escape(y_name),
            x_name = escape(x_name),
        );
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// How the search went: the best value of one objective, or the hypervolume of several, after each
/// network.
fn history<C>(name: &str, direction: Direction, record: &Record<C>) -> String {
    let fitness: Vec<Fitness> = record.history.iter().map(|e| e.fitness.clone()).collect();
    let feasible = |f: &&Fitness| f.violation == 0.0 && f.losses.iter().all(|l| l.is_finite());
    let losses: Vec<&[f64]> =
        fitness.iter().filter(feasible).map(|f| f.losses.as_slice()).collect();
    let objectives = losses.first().map_or(0, |l| l.len());
    if objectives == 0 || objectives > MOST_OBJECTIVES {
        return String::new();
    }
    let ranges: Vec<[f64; 2]> =
        (0..objectives).map(|o| range(losses.iter().map(move |l| l[o]))).collect();
    let unit = |losses: &Vec<f64>| -> Vec<f64> {
        losses.iter().zip(&ranges).map(|(l, [low, high])| (l - low) / (high - low)).collect()
    };
    // A little beyond the worst, so that the ends of the front count.
    let reference = vec![1.1; objectives];
    let value = |count: usize| {
        let seen = &fitness[..count];
        let front = pareto::front(seen).into_iter().map(|i| &seen[i]).filter(feasible);
        let front: Vec<&Fitness> = front.collect();
        if objectives == 1 {
            let best = front.first().map(|f| f.losses[0]);
            return best.map(|loss| match direction {
                Direction::Maximise => -loss,
                Direction::Minimise => loss,
            });
        }
        let points: Vec<Vec<f64>> = front.iter().map(|f| unit(&f.losses)).collect();
        Some(pareto::hypervolume(&points, &reference) / 1.1f64.powi(objectives as i32))
    };
    let count = fitness.len();
    let curve: Vec<(f64, f64)> = (1..=STEPS.min(count))
        .map(|step| (step * count).div_ceil(STEPS.min(count)))
        .filter_map(|n| Some((n as f64, value(n)?)))
        .collect();
    let panel = Panel {
        left: MARGIN,
        x: [0.0, count as f64],
        y: range(curve.iter().map(|p| p.1)),
        labels: ["networks", if objectives == 1 { name } else { "hypervolume" }],
    };
    let mut svg = open();
    panel.frame(&mut svg);
    let points: Vec<String> = curve
        .iter()
        .map(|&(n, value)| {
            let (x, y) = panel.at(n, value);
            format!("{x:.1},{y:.1}")
        })
        .collect();
    let points = points.join(" ");
    let _ = writeln!(
        svg,
        r##"<polyline points="{points}" fill="none" stroke="#1f6fb4" stroke-width="2"/></svg>"##
    );
    svg
}

fn open() -> String {
    let side = SIDE + 2.0 * MARGIN;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side}" viewBox="0 0 {side} {side}" font-family="sans-serif" font-size="12" fill="#222">
"##
    )
}

fn finite(point: &[f64; 2]) -> bool {
    point.iter().all(|v| v.is_finite())
}

/// Six significant digits.
fn number(value: f64) -> String {
    if value.abs() >= 1e6 {
        format!("{value:.0}")
    } else {
        format!("{}", (value * 1e4).round() / 1e4)
    }
}
