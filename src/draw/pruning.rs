//! A run of pruning as a page to look at.

use super::chart::{Axis, Chart};
use super::page::{Column, Page, escape};
use crate::lower::lower;
use crate::pruning::Pruned;

/// A self-contained HTML page: what came out, how training went, what is left of each group, and both
/// networks.
pub fn pruning(title: &str, pruned: &Pruned) -> String {
    let Pruned { whole, small, measured_on, images, accuracy, .. } = pruned;
    let mut page = Page::new(title);
    page.text(&format!(
        "{:.2} % right on {images} images ({measured_on}){}. {} of {} parameters, {} of {} MACs{}.",
        100.0 * accuracy,
        pruned.accuracy_before.map_or_else(String::new, |a| format!("; {:.2} % before", 100.0 * a)),
        small.parameters,
        whole.parameters,
        small.macs,
        whole.macs,
        if pruned.met { "" } else { ": more than was asked for" },
    ));
    pruned.notes.iter().for_each(|note| page.text(note));
    page.charts(&curves(pruned));
    page.headline("What is left");
    let header = [("units", Column::Number), ("kept", Column::Number), ("group", Column::Text)];
    let header = header.map(|(name, column)| (name.to_string(), column));
    let row = |group: &crate::pruning::GroupReport| {
        let closed = group.closed.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        let what = escape(&format!("{}{closed}", group.tensor));
        vec![group.units.to_string(), group.kept.to_string(), what]
    };
    page.table(&header, &pruned.groups.iter().map(row).collect::<Vec<_>>());
    if pruned.branches.iter().any(|branch| !branch.kept) {
        let header = [("nodes", Column::Number), ("branch that is left out", Column::Text)];
        let gone = pruned.branches.iter().filter(|branch| !branch.kept);
        let row = |b: &crate::pruning::BranchReport| vec![b.nodes.to_string(), escape(&b.tensor)];
        let header = header.map(|(name, column)| (name.to_string(), column));
        page.table(&header, &gone.map(row).collect::<Vec<_>>());
    }
    page.headline("Networks");
    for (name, graph) in [("before", &pruned.whole_graph), ("after", &pruned.small_graph)] {
        if let Ok(graph) = lower(graph) {
            page.folded(name, name, &[], &super::graph(&graph, name));
        }
    }
    page.finish()
}

/// Loss, accuracy on held-out images, and the share of chosen units that are zero, after each epoch.
fn curves(pruned: &Pruned) -> Vec<String> {
    let history = &pruned.history;
    let share =
        |zero: usize, chosen: usize| if chosen == 0 { 0.0 } else { zero as f64 / chosen as f64 };
    let series: [(&str, Vec<f64>); 3] = [
        ("loss", history.iter().map(|e| e.loss).collect()),
        ("accuracy, held out", history.iter().map(|e| e.accuracy).collect()),
        ("zero of what is to go", history.iter().map(|e| share(e.zero, e.chosen)).collect()),
    ];
    let chart = |(label, values): (&str, Vec<f64>)| {
        let epochs = Axis::new("epochs", [0.0, history.len().max(1) as f64].into_iter());
        let mut chart =
            Chart::new(&[label.to_string()], epochs, Axis::new(label, values.iter().copied()));
        let point = |(n, value): (usize, f64)| [(n + 1) as f64, value];
        let points: Vec<[f64; 2]> = values.into_iter().enumerate().map(point).collect();
        chart.line(&points, "stroke=\"#1f6fb4\" stroke-width=\"2\"");
        chart.finish()
    };
    series.into_iter().map(chart).collect()
}
