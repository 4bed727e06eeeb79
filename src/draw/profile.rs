//! A network's operations as a page to look at.

use super::page::{Column, Page, escape};
use crate::graph::{ComputationGraph, Node, Operation};
use std::collections::BTreeMap;

/// Most operations that the table lists: pages of more are slow to show.
const MAX_ROWS: usize = 5000;

/// Parameters, MACs and elements of outputs of some operations.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    operations: u64,
    parameters: u64,
    macs: u64,
    elements: u64,
}

impl Cost {
    fn of(node: &Node) -> Self {
        Self {
            operations: 1,
            parameters: node.parameters,
            macs: node.macs,
            elements: node.output.elements(),
        }
    }

    fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.parameters = self.parameters.saturating_add(other.parameters);
        self.macs = self.macs.saturating_add(other.macs);
        self.elements = self.elements.saturating_add(other.elements);
    }

    /// Its cells, with shares of the whole network's.
    fn cells(self, whole: &Self) -> Vec<String> {
        let share = |part: u64, of: u64| match of {
            0 => String::new(),
            of => number(&format!("{:.1} %", 100.0 * part as f64 / of as f64), part),
        };
        vec![
            amount(self.operations),
            amount(self.parameters),
            share(self.parameters, whole.parameters),
            amount(self.macs),
            share(self.macs, whole.macs),
            amount(self.elements),
        ]
    }
}

/// Names of [`Cost::cells`].
const COSTS: [&str; 6] =
    ["operations", "parameters", "of all", "MACs", "of all", "elements of outputs"];

/// A self-contained HTML page: totals, sums for each kind of operation and each module, every operation
/// in a table that a click on a column sorts, and the network drawn. `size` shortens numbers.
pub fn profile(title: &str, graph: &ComputationGraph, size: fn(u64) -> String) -> String {
    let mut page = Page::new(title);
    let nodes = || graph.nodes().filter(|node| node.operation != Operation::Input);
    let mut whole = Cost::default();
    nodes().for_each(|node| whole.add(Cost::of(node)));
    let fact = |name: &str, value: String| (name.to_string(), value.trim().to_string());
    page.facts(&[
        fact("parameters", size(graph.parameters())),
        fact("MACs, of one input", size(graph.macs())),
        fact("elements of all outputs", size(whole.elements)),
        fact("peak memory at 4 bytes an element", format!("{}B", size(graph.peak_memory()))),
        fact("operations", graph.len().to_string()),
        fact("longest path", graph.depth().to_string()),
        fact("fingerprint", graph.fingerprint().to_string()),
    ]);
    page.headline("By operation");
    sums(&mut page, &whole, nodes().map(|node| (node.operation.name(), node)));
    let module = |node: &'_ Node| Some((module(&node.name)?.to_string(), node.clone()));
    let modules: Vec<(String, Node)> = nodes().filter_map(module).collect();
    if !modules.is_empty() {
        page.headline("By module");
        sums(&mut page, &whole, modules.iter().map(|(name, node)| (name.as_str(), node)));
    }
    page.headline("Every operation");
    if whole.operations > MAX_ROWS as u64 {
        page.text(&format!("The first {MAX_ROWS} of {}.", whole.operations));
    }
    let header = [
        ("operation", Column::Text),
        ("input", Column::Text),
        ("output", Column::Text),
        ("kernel", Column::Text),
        ("parameters", Column::Number),
        ("MACs", Column::Number),
        ("elements of output", Column::Number),
        ("node", Column::Text),
    ];
    let rows = nodes().take(MAX_ROWS).map(|node| {
        let cost = Cost::of(node);
        let [input, output] = [&node.input, &node.output]
            .map(|extent| format!("{}×{}×{}", extent.channels, extent.height, extent.width));
        let [height, width] = node.window.kernel;
        let kernel = if height * width > 1 { format!("{height}×{width}") } else { String::new() };
        let name = escape(&node.name);
        vec![
            node.operation.name().to_string(),
            input,
            output,
            kernel,
            amount(cost.parameters),
            amount(cost.macs),
            amount(cost.elements),
            name,
        ]
    });
    page.table(&header.map(|(name, column)| (name.to_string(), column)), &rows.collect::<Vec<_>>());
    page.folded("drawing", "The network", &[], &super::graph(graph, title));
    page.finish()
}

/// The outermost module in a name such as PyTorch's `/layer1/layer1.0/conv1/Conv`.
fn module(name: &str) -> Option<&str> {
    let (outermost, _) = name.trim_start_matches('/').split_once('/')?;
    (!outermost.is_empty()).then_some(outermost)
}

/// A row of sums for each name, the most MACs first.
fn sums<'a>(page: &mut Page, whole: &Cost, nodes: impl Iterator<Item = (&'a str, &'a Node)>) {
    let mut costs: BTreeMap<&str, Cost> = BTreeMap::new();
    nodes.for_each(|(name, node)| costs.entry(name).or_default().add(Cost::of(node)));
    let mut costs: Vec<(&str, Cost)> = costs.into_iter().collect();
    costs.sort_by_key(|(_, cost)| std::cmp::Reverse((cost.macs, cost.parameters, cost.operations)));
    let mut header = vec![("name".to_string(), Column::Text)];
    header.extend(COSTS.map(|name| (name.to_string(), Column::Number)));
    let row = |(name, cost): (&str, Cost)| [vec![escape(name)], cost.cells(whole)].concat();
    page.table(&header, &costs.into_iter().map(row).collect::<Vec<_>>());
}

/// A number with its digits in groups, sorted by its value.
fn amount(value: u64) -> String {
    number(&super::graph::grouped(value), value)
}

fn number(text: &str, value: u64) -> String {
    format!("<data value=\"{value}\">{text}</data>")
}
