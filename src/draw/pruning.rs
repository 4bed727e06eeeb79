//! A run of pruning as a page to look at.

use super::chart::{Axis, Chart};
use super::page::{Column, Page, escape};
use crate::lower::lower;
use crate::pruning::{BranchReport, Epoch, GroupReport, Pruned};

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
    let row = |group: &GroupReport| {
        let closed = group.closed.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        let what = escape(&format!("{}{closed}", group.tensor));
        vec![group.units.to_string(), group.kept.to_string(), what]
    };
    page.table(&header, &pruned.groups.iter().map(row).collect::<Vec<_>>());
    if pruned.branches.iter().any(|branch| !branch.kept) {
        let header = [("nodes", Column::Number), ("branch that is left out", Column::Text)];
        let gone = pruned.branches.iter().filter(|branch| !branch.kept);
        let row = |b: &BranchReport| vec![b.nodes.to_string(), escape(&b.tensor)];
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
    let of = |value: fn(&Epoch) -> f64| pruned.history.iter().map(value).collect::<Vec<f64>>();
    let zero = |e: &Epoch| if e.chosen == 0 { 0.0 } else { e.zero as f64 / e.chosen as f64 };
    let curves = [
        ("loss", of(|e| e.loss), f64::INFINITY),
        ("accuracy, held out", of(|e| e.accuracy), 1.0),
        ("zero of what is to go", of(zero), 1.0),
    ];
    let chart = |(label, values, most): (&str, Vec<f64>, f64)| {
        let epochs = Axis::counts("epochs", [0, values.len()]);
        let axis = Axis::new(label, values.iter().copied()).up_to(most);
        let mut chart = Chart::new(&[label.to_string()], epochs, axis);
        let points: Vec<[f64; 2]> =
            (1..).map(f64::from).zip(values).map(<[f64; 2]>::from).collect();
        chart.line(&points, "stroke=\"#1f6fb4\" stroke-width=\"2\"");
        // Of one epoch there is no line.
        chart.dots(&points, &[], "fill=\"#1f6fb4\"", 2.5);
        chart.finish()
    };
    curves.into_iter().map(chart).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Normalisation;
    use crate::pruning::{Budget, Phase};
    use crate::spaces::Space;
    use crate::training::Cost;

    /// A run of so many epochs in which the accuracy stays what it is.
    fn run(epochs: usize, accuracy: f64) -> Pruned {
        let graph = Space::NasBenchMacro.build("00000000").unwrap();
        let cost = Cost::count(&graph).unwrap();
        let epoch = |epoch| Epoch {
            epoch,
            phase: Phase::Training,
            loss: 2.3 / epoch as f64,
            accuracy,
            zero: epoch,
            chosen: epochs,
        };
        let group = |i| GroupReport {
            tensor: format!("/layer{i}/conv<1>"),
            units: 64,
            kept: 32,
            closed: None,
        };
        Pruned {
            whole: cost,
            small: cost,
            budget: Budget::Macs(0.5),
            met: true,
            measured_on: "held out",
            images: 100,
            accuracy_before: None,
            accuracy,
            difference: 0.0,
            disagreements: 0,
            normalisation: Normalisation { mean: vec![0.5], deviation: vec![1.0] },
            history: (1..=epochs).map(epoch).collect(),
            groups: (0..20).map(group).collect(),
            branches: Vec::new(),
            notes: Vec::new(),
            whole_graph: graph.clone(),
            small_graph: graph,
            kept: Vec::new(),
        }
    }

    /// Epochs are whole, and shares lie between 0 and 1.
    #[test]
    fn axes_end_where_values_do() {
        for (epochs, accuracy) in [(1, 0.0), (2, 0.1), (3, 1.0), (20, 0.98)] {
            let page = pruning("Pruning of a.onnx", &run(epochs, accuracy));
            let charts = page.split("<svg").skip(1).take(3);
            for (i, chart) in charts.enumerate() {
                let ticks = |anchor: &str| -> Vec<f64> {
                    let before = format!("text-anchor=\"{anchor}\" fill=\"#555\">");
                    let texts = chart.split(&before).skip(1);
                    texts.map(|t| t.split('<').next().unwrap().parse().unwrap()).collect()
                };
                assert!(ticks("middle").iter().all(|tick| tick.fract() == 0.0), "{chart}");
                let most = if i == 0 { f64::INFINITY } else { 1.0 };
                assert!(ticks("end").len() > 1, "{chart}");
                assert!(ticks("end").iter().all(|tick| (0.0..=most).contains(tick)), "{chart}");
            }
        }
    }
}
