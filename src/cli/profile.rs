//! `gennape profile`: operations, parameters and multiply-accumulates of networks.

use super::error::Error;
use super::input::{self, Assumptions, ReadFailure};
use super::stdout::{self, Csv, Text, print_json};
use super::table::{Table, si};
use crate::graph::{ComputationGraph, Extent, Fingerprint, Node, Operation as O};
use crate::lower::Rewrite;
use crate::model_graph::Remark;
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write;

/// Show the operations, parameters and multiply-accumulates (MACs) of networks.
///
/// One file gives a line per operation, several or a folder one line per network. Batch
/// normalisation counts as folded into the convolution before it. MACs are those of convolutions
/// and matrix products, for one input.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    input: input::NetworkArguments,

    /// Also say which rewrites led from the file's operators to the graph, as a table or in JSON.
    ///
    /// Operators that only rearrange, retype or copy elements are left out from the start, and not told of.
    #[arg(long)]
    explain_lowering: bool,

    /// How to print; dot, svg and html are about one network.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns for people.
    Table,
    /// One JSON object.
    Json,
    /// A header line, then one line per operation or network.
    Csv,
    /// The graph in Graphviz's language.
    Dot,
    /// The graph drawn.
    Svg,
    /// A page: sums by operation and module, a table to sort, the graph drawn.
    Html,
    /// A table to paste.
    Markdown,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    schema: u32,
    results: Vec<Summary<'a>>,
    errors: &'a [ReadFailure],
}

/// What is said of a network.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Summary<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(flatten)]
    totals: Totals,
    #[serde(flatten)]
    assumptions: Assumptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    operations: Option<Vec<Operation<'a>>>,
    /// Which rewrites led to the graph, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    lowering: Option<&'a [Rewrite]>,
}

impl<'a> Summary<'a> {
    /// Everything, of a network that stands alone.
    #[cfg(feature = "python")]
    pub fn of(graph: &'a ComputationGraph, remarks: &[Remark]) -> Self {
        Self {
            path: None,
            totals: Totals::of(graph),
            assumptions: Assumptions::new(remarks),
            operations: Some(operations(graph)),
            lowering: None,
        }
    }
}

/// What there is to say of a network as a whole.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct Totals {
    parameters: u64,
    macs: u64,
    nodes: usize,
    depth: usize,
    unknown_operators: usize,
    #[serde(serialize_with = "as_text")]
    #[schemars(with = "String")]
    fingerprint: Fingerprint,
}

fn as_text<S: Serializer>(text: &impl Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(text)
}

impl Totals {
    fn of(graph: &ComputationGraph) -> Self {
        Self {
            parameters: graph.parameters(),
            macs: graph.macs(),
            nodes: graph.len(),
            depth: graph.depth(),
            unknown_operators: input::unknown_operators(graph),
            fingerprint: graph.fingerprint(),
        }
    }
}

#[derive(Serialize, JsonSchema)]
struct Operation<'a> {
    operation: &'static str,
    name: &'a str,
    /// Positions in this list of the operations whose output this one reads.
    inputs: Vec<usize>,
    input: [u64; 3],
    output: [u64; 3],
    kernel: [u32; 2],
    stride: [u32; 2],
    dilation: [u32; 2],
    groups: u32,
    padded: bool,
    bias: bool,
    parameters: u64,
    macs: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let explains = matches!(arguments.format, Format::Table | Format::Markdown | Format::Json);
    if arguments.explain_lowering && !explains {
        return Err(Error::user("--explain-lowering is told in tables and in JSON")
            .hint("leave --format out, or give --format json or markdown"));
    }
    let (mut networks, rewrites) = match arguments.explain_lowering {
        true => arguments.input.read_explained()?,
        false => (arguments.input.read()?, BTreeMap::new()),
    };
    let totals = networks.answer(|graphs| graphs.iter().map(|g| Ok(Totals::of(g))).collect());
    let summaries = || {
        let summary = |(((path, graph), &totals), remarks): (_, &Vec<Remark>)| {
            let operations = networks.single.then(|| operations(graph));
            let assumptions = Assumptions::new(remarks);
            let lowering = rewrites.get(path).map(Vec::as_slice);
            Summary { path: Some(path), totals, assumptions, operations, lowering }
        };
        networks.iter().zip(&totals).zip(&networks.remarks).map(summary)
    };
    let only = networks.iter().next().filter(|_| networks.single);
    match (arguments.format, only) {
        (Format::Dot | Format::Svg | Format::Html, None) if networks.single => {}
        (Format::Dot | Format::Svg | Format::Html, None) => {
            return Err(Error::user("dot, svg and html are about one file at a time"));
        }
        (Format::Html, Some((path, graph))) => draw(&crate::draw::profile(path, graph, si))?,

        (Format::Dot, Some((_, graph))) => draw(&graph.to_dot())?,
        (Format::Svg, Some((path, graph))) => draw(&crate::draw::graph(graph, path))?,
        (Format::Json, _) => print_json(&Report {
            schema: 1,
            results: summaries().collect(),
            errors: &networks.failed,
        })?,
        (Format::Csv, Some((_, graph))) => csv_of_operations(graph)?,
        (Format::Csv, None) => csv_of_networks(summaries())?,
        (Format::Table, Some((path, graph))) => print_operations(path, graph)?,
        (Format::Table | Format::Markdown, None) if networks.paths.is_empty() => {}
        (Format::Table, None) => {
            let mut out = Text::stdout();
            networks_table(summaries()).print(&mut out)?;
            out.flush()?;
        }
        (Format::Markdown, _) => {
            let table = match only {
                Some((_, graph)) => operations_table(graph),
                None => networks_table(summaries()),
            };
            let mut out = Text::stdout();
            table.markdown(&mut out)?;
            out.flush()?;
        }
    }
    if matches!(arguments.format, Format::Table | Format::Markdown) {
        for (path, steps) in rewrites {
            print_rewrites(&path, &steps, arguments.format)?;
        }
    }
    networks.status()
}

fn print_rewrites(path: &str, steps: &[Rewrite], format: Format) -> Result<(), Error> {
    let mut table = Table::new(&["rewrite", "<operation", "<becomes", "<node"]);
    for Rewrite { rule, node, before, after } in steps {
        table.row([rule, *before, after.unwrap_or("nothing"), node].map(str::to_string));
    }
    let mut out = Text::stdout();
    out.line("")?;
    out.line(&format!("{path}: {} rewrites", steps.len()))?;
    match format {
        _ if steps.is_empty() => {}
        Format::Markdown => table.markdown(&mut out)?,
        _ => table.print(&mut out)?,
    }
    out.flush()
}

fn draw(text: &str) -> Result<(), Error> {
    let mut out = stdout::bytes();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn operations(graph: &ComputationGraph) -> Vec<Operation<'_>> {
    let operation = |(i, node)| operation(graph, i, node);
    graph.nodes().enumerate().map(operation).collect()
}

fn operation<'a>(graph: &ComputationGraph, index: usize, node: &'a Node) -> Operation<'a> {
    Operation {
        operation: node.operation.name(),
        name: &node.name,
        inputs: sorted(graph.predecessors(index)),
        input: list(&node.input),
        output: list(&node.output),
        kernel: node.window.kernel,
        stride: node.window.stride,
        dilation: node.window.dilation,
        groups: node.window.groups,
        padded: node.window.padded,
        bias: node.bias,
        parameters: node.parameters,
        macs: node.macs,
    }
}

fn sorted(positions: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut positions: Vec<usize> = positions.collect();
    positions.sort_unstable();
    positions
}

fn list(extent: &Extent) -> [u64; 3] {
    [extent.channels, extent.height, extent.width]
}

fn networks_table<'a>(networks: impl Iterator<Item = Summary<'a>>) -> Table {
    let mut table =
        Table::new(&["network", "parameters", "MACs", "nodes", "depth", "<fingerprint"]);
    for Summary { path, totals, .. } in networks {
        table.row([
            path.unwrap_or_default().to_string(),
            si(totals.parameters),
            si(totals.macs),
            totals.nodes.to_string(),
            totals.depth.to_string(),
            totals.fingerprint.to_string(),
        ]);
    }
    table
}

fn csv_of_networks<'a>(networks: impl Iterator<Item = Summary<'a>>) -> Result<(), Error> {
    let mut out = Csv::stdout();
    let header =
        ["path", "parameters", "macs", "nodes", "depth", "unknown_operators", "fingerprint"];
    out.row(header)?;
    for Summary { path, totals, .. } in networks {
        out.row((path, totals))?;
    }
    out.flush()
}

fn operations_table(graph: &ComputationGraph) -> Table {
    let mut table = Table::new(&["operation", "output", "<kernel", "parameters", "MACs", "<node"]);
    for node in graph.nodes() {
        table.row([
            node.operation.to_string(),
            node.output.to_string(),
            window(node),
            if node.parameters > 0 { si(node.parameters) } else { String::new() },
            if node.macs > 0 { si(node.macs) } else { String::new() },
            node.name.to_string(),
        ]);
    }
    table
}

fn print_operations(path: &str, graph: &ComputationGraph) -> Result<(), Error> {
    let mut out = Text::stdout();
    operations_table(graph).print(&mut out)?;
    out.line("")?;
    out.line(path)?;
    out.line(&format!("parameters   {}", si(graph.parameters()).trim_end()))?;
    out.line(&format!("MACs         {}", si(graph.macs()).trim_end()))?;
    out.line(&format!("nodes        {}", graph.len()))?;
    out.line(&format!("depth        {}", graph.depth()))?;
    out.line(&format!("fingerprint  {}", graph.fingerprint()))?;
    out.flush()
}

/// `3x3 /2 d2 g32`: kernel, then stride, dilation and groups where they are not 1.
fn window(node: &Node) -> String {
    let window = &node.window;
    let [kh, kw] = window.kernel;
    let convolution = matches!(node.operation, O::Conv | O::DepthwiseConv | O::ConvTranspose);
    let mut text = String::new();
    if convolution || kh > 1 || kw > 1 {
        text = format!("{kh}x{kw}");
    }
    for (mark, [a, b]) in [('/', window.stride), ('d', window.dilation)] {
        if a > 1 || b > 1 {
            text.push_str(&if a == b { format!(" {mark}{a}") } else { format!(" {mark}{a}x{b}") });
        }
    }
    if window.groups > 1 {
        text.push_str(&format!(" g{}", window.groups));
    }
    text.trim_start().to_string()
}

fn csv_of_operations(graph: &ComputationGraph) -> Result<(), Error> {
    let mut out = Csv::stdout();
    let header = [
        "index",
        "operation",
        "name",
        "inputs",
        "input_channels",
        "input_height",
        "input_width",
        "output_channels",
        "output_height",
        "output_width",
        "kernel",
        "stride",
        "dilation",
        "groups",
        "bias",
        "parameters",
        "macs",
    ];
    out.row(header)?;
    let pair = |[a, b]: [u32; 2]| format!("{a}x{b}");
    for (i, node) in graph.nodes().enumerate() {
        let inputs: Vec<String> =
            sorted(graph.predecessors(i)).iter().map(usize::to_string).collect();
        out.row((
            i,
            node.operation.name(),
            &node.name,
            inputs.join(" "),
            list(&node.input),
            list(&node.output),
            pair(node.window.kernel),
            pair(node.window.stride),
            pair(node.window.dilation),
            node.window.groups,
            node.bias,
            node.parameters,
            node.macs,
        ))?;
    }
    out.flush()
}
