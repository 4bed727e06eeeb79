//! `gennape profile`: operations, parameters and multiply-accumulates of networks.

use super::columns::{self, Column};
use super::error::Error;
use super::input::{self, Assumptions, ReadFailure};
use super::stdout::{self, Text, print_json};
use super::table::{Table, si};
use crate::graph::{ComputationGraph, Extent, Fingerprint, Kind, Node};
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
    pub fn full(graph: &'a ComputationGraph, remarks: &[Remark]) -> Self {
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
        (Format::Csv, Some((_, graph))) => columns::print_csv(&of_operations(), lines(graph))?,
        (Format::Csv, None) => columns::print_csv(&of_networks(), summaries())?,
        (Format::Table, Some((path, graph))) => print_operations(path, graph)?,
        (Format::Table | Format::Markdown, None) if networks.paths.is_empty() => {}
        (Format::Table, None) => {
            let mut out = Text::stdout();
            columns::table(&of_networks(), summaries()).print(&mut out)?;
            out.flush()?;
        }
        (Format::Markdown, _) => {
            let table = match only {
                Some((_, graph)) => columns::table(&of_operations(), lines(graph)),
                None => columns::table(&of_networks(), summaries()),
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

/// What is printed of each of several networks.
fn of_networks<'a>() -> Vec<Column<'static, Summary<'a>>> {
    use Column::{Csv, Table};
    vec![
        Csv("path", |s| s.path.into()),
        Table("network", |s| s.path.unwrap_or_default().to_string()),
        Csv("parameters", |s| s.totals.parameters.into()),
        Table("parameters", |s| si(s.totals.parameters)),
        Csv("macs", |s| s.totals.macs.into()),
        Table("MACs", |s| si(s.totals.macs)),
        Csv("nodes", |s| s.totals.nodes.into()),
        Table("nodes", |s| s.totals.nodes.to_string()),
        Csv("depth", |s| s.totals.depth.into()),
        Table("depth", |s| s.totals.depth.to_string()),
        Csv("unknown_operators", |s| s.totals.unknown_operators.into()),
        Csv("fingerprint", |s| s.totals.fingerprint.to_string().into()),
        Table("<fingerprint", |s| s.totals.fingerprint.to_string()),
    ]
}

/// A node of a graph and its position there.
type Line<'a> = (&'a ComputationGraph, usize, &'a Node);

fn lines(graph: &ComputationGraph) -> impl Iterator<Item = Line<'_>> {
    graph.nodes().enumerate().map(move |(i, node)| (graph, i, node))
}

/// What is printed of each operation of one network.
fn of_operations<'a>() -> Vec<Column<'static, Line<'a>>> {
    use Column::{Csv, Table};
    vec![
        Csv("index", |&(_, i, _)| i.into()),
        Csv("operation", |(.., n)| n.operation.name().into()),
        Table("operation", |(.., n)| n.operation.to_string()),
        Csv("name", |(.., n)| (*n.name).into()),
        Csv("inputs", |&(graph, i, _)| {
            let inputs = sorted(graph.predecessors(i));
            inputs.iter().map(usize::to_string).collect::<Vec<_>>().join(" ").into()
        }),
        Csv("input_channels", |(.., n)| n.input.channels.into()),
        Csv("input_height", |(.., n)| n.input.height.into()),
        Csv("input_width", |(.., n)| n.input.width.into()),
        Csv("output_channels", |(.., n)| n.output.channels.into()),
        Csv("output_height", |(.., n)| n.output.height.into()),
        Csv("output_width", |(.., n)| n.output.width.into()),
        Table("output", |(.., n)| n.output.to_string()),
        Csv("kernel", |(.., n)| by(n.window.kernel).into()),
        Csv("stride", |(.., n)| by(n.window.stride).into()),
        Csv("dilation", |(.., n)| by(n.window.dilation).into()),
        Table("<kernel", |(.., n)| window(n)),
        Csv("groups", |(.., n)| n.window.groups.into()),
        Csv("bias", |(.., n)| n.bias.into()),
        Csv("parameters", |(.., n)| n.parameters.into()),
        Table("parameters", |(.., n)| some(n.parameters)),
        Csv("macs", |(.., n)| n.macs.into()),
        Table("MACs", |(.., n)| some(n.macs)),
        Table("<node", |(.., n)| n.name.to_string()),
    ]
}

fn by([a, b]: [u32; 2]) -> String {
    format!("{a}x{b}")
}

fn some(count: u64) -> String {
    if count > 0 { si(count) } else { String::new() }
}

fn print_operations(path: &str, graph: &ComputationGraph) -> Result<(), Error> {
    let mut out = Text::stdout();
    columns::table(&of_operations(), lines(graph)).print(&mut out)?;
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
    let convolution = node.operation.kind() == Kind::Convolution;
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
