//! A run as a page to look at.

use super::Pruned;
use crate::lower::lower;
use crate::plot::{MARGIN, Panel, SIDE, escape, range};
use std::fmt::Write;

const STYLE: &str = "body{font:14px/1.5 sans-serif;color:#222;max-width:1100px;margin:2em auto;\
padding:0 1em}table{border-collapse:collapse}td,th{padding:2px 12px 2px 0;text-align:right}\
td:last-child,th:last-child{text-align:left}summary{cursor:pointer}details svg{max-width:100%;height:auto}";

/// A self-contained HTML page: what came out, how training went, what is left of each group, and both
/// networks.
pub fn html(title: &str, pruned: &Pruned) -> String {
    let title = escape(title);
    let Pruned { whole, small, measured_on, images, accuracy, .. } = pruned;
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n\
         <p>{:.2} % right on {images} images ({measured_on}){}. {} of {} parameters, {} of {} \
         MACs{}.</p>\n",
        100.0 * accuracy,
        pruned.accuracy_before.map_or_else(String::new, |a| format!("; {:.2} % before", 100.0 * a)),
        small.parameters,
        whole.parameters,
        small.macs,
        whole.macs,
        if pruned.met { "" } else { ": more than was asked for" },
    );
    for note in &pruned.notes {
        let _ = writeln!(page, "<p>{}</p>", escape(note));
    }
    page.push_str(&curves(pruned));
    page.push_str("<table><tr><th>units</th><th>kept</th><th>group</th></tr>\n");
    for group in &pruned.groups {
        let closed =
            group.closed.as_ref().map_or_else(String::new, |why| format!(" ({})", escape(why)));
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}{closed}</td></tr>",
            group.units,
            group.kept,
            escape(&group.tensor)
        );
    }
    page.push_str("</table>\n");
    if pruned.branches.iter().any(|branch| !branch.kept) {
        page.push_str("<table><tr><th>nodes</th><th>branch that is left out</th></tr>\n");
        for branch in pruned.branches.iter().filter(|branch| !branch.kept) {
            let (nodes, name) = (branch.nodes, escape(&branch.tensor));
            let _ = writeln!(page, "<tr><td>{nodes}</td><td>{name}</td></tr>");
        }
        page.push_str("</table>\n");
    }
    for (name, graph) in [("before", &pruned.whole_graph), ("after", &pruned.small_graph)] {
        if let Ok(graph) = lower(graph) {
            let _ = writeln!(
                page,
                "<details><summary>{name}</summary>{}</details>",
                graph.to_svg(name)
            );
        }
    }
    page.push_str("</body></html>\n");
    page
}

/// Loss, accuracy on held-out images, and the share of chosen units that are zero, after each epoch.
fn curves(pruned: &Pruned) -> String {
    let history = &pruned.history;
    let width = 3.0 * (SIDE + MARGIN) + MARGIN;
    let height = SIDE + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100%\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"
    );
    let share =
        |zero: usize, chosen: usize| if chosen == 0 { 0.0 } else { zero as f64 / chosen as f64 };
    let series: [(&str, Vec<f64>); 3] = [
        ("loss", history.iter().map(|e| e.loss).collect()),
        ("accuracy, held out", history.iter().map(|e| e.accuracy).collect()),
        ("zero of what is to go", history.iter().map(|e| share(e.zero, e.chosen)).collect()),
    ];
    for (i, (label, values)) in series.iter().enumerate() {
        let panel = Panel {
            left: MARGIN + i as f64 * (SIDE + MARGIN),
            x: [0.0, history.len().max(1) as f64],
            y: range(values.iter().copied()),
            labels: ["epochs", label],
        };
        panel.frame(&mut svg);
        let point = |(n, &value): (usize, &f64)| {
            let (x, y) = panel.at((n + 1) as f64, value);
            format!("{x:.1},{y:.1}")
        };
        let points: Vec<String> = values.iter().enumerate().map(point).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f6fb4\" stroke-width=\"2\"/>",
            points.join(" ")
        );
    }
    svg.push_str("</svg>\n");
    svg
}
