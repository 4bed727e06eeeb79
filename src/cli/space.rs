//! `gennape space`: what can be cut from a network.

use super::Format;
use super::error::Error;
use super::input::FileArguments;
use super::output::Target;
use super::stdout::{Text, print_json};
use super::table::{Table, si};
use crate::draw::{Tag, graph_with};
use crate::lower::lower;
use crate::model_graph::{ModelGraph, ValueId};
use crate::subnetworks::{ShrinkError, SuperNetwork};
use hashbrown::HashMap;
use schemars::JsonSchema;
use serde::Serialize;
use std::io::Write as _;
use std::path::PathBuf;

/// Show what can be cut from a network: the space of its sub-networks.
///
/// Groups of channels can be thinned, branches left out, layers skipped, kernels made smaller and
/// activations exchanged. `shrink` writes such a sub-network, and names all of them as they are named here.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: FileArguments,

    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,

    /// Draw the network too, with the groups that every operation's channels belong to.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Report<'a> {
    schema: u32,
    /// Of the number of combinations.
    log10_size: f64,
    whole: Cost,
    smallest: Cost,
    groups: Vec<Group<'a>>,
    branches: Vec<Branch<'a>>,
    layers: Vec<Layer<'a>>,
    kernels: Vec<Kernel<'a>>,
    activations: Vec<Activation<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct Cost {
    parameters: u64,
    macs: u64,
}

#[derive(Serialize, JsonSchema)]
struct Group<'a> {
    name: String,
    tensor: &'a str,
    axis: usize,
    units: usize,
    channels_per_unit: usize,
    exact: bool,
    /// The shares of it that can be kept.
    keep: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct Branch<'a> {
    name: String,
    tensor: &'a str,
    nodes: usize,
    /// The sum or product that it is left out of; of branches of the same, one can go.
    result: &'a str,
}

#[derive(Serialize, JsonSchema)]
struct Layer<'a> {
    name: String,
    tensor: &'a str,
    nodes: usize,
    /// The layer's input, which takes the place of `tensor`.
    instead: &'a str,
}

#[derive(Serialize, JsonSchema)]
struct Kernel<'a> {
    name: String,
    tensor: &'a str,
    extents: Vec<usize>,
}

#[derive(Serialize, JsonSchema)]
struct Activation<'a> {
    name: String,
    tensor: &'a str,
    operand: &'a str,
    others: Vec<String>,
}

fn cost(graph: &ModelGraph) -> Result<Cost, Error> {
    let graph = lower(graph)?;
    Ok(Cost { parameters: graph.parameters(), macs: graph.macs() })
}

pub(crate) fn report(space: &SuperNetwork) -> Result<Report<'_>, Error> {
    let name = |id: ValueId| &*space.graph().value(id).name;
    let groups = space.groups().iter().enumerate().map(|(i, g)| Group {
        name: format!("c{i}"),
        tensor: name(g.tensor),
        axis: g.axis,
        units: g.units,
        channels_per_unit: g.channels_per_unit,
        exact: g.exact,
        keep: space.shares(i).iter().map(ToString::to_string).collect(),
    });
    let branches = space.branches().enumerate().map(|(i, b)| Branch {
        name: format!("b{i}"),
        tensor: name(b.tensor),
        nodes: b.nodes,
        result: name(b.result),
    });
    let layers = space.layers().iter().enumerate().map(|(i, l)| Layer {
        name: format!("l{i}"),
        tensor: name(l.tensor),
        nodes: l.nodes,
        instead: name(l.instead),
    });
    let kernels = space.kernels().iter().enumerate().map(|(i, k)| Kernel {
        name: format!("k{i}"),
        tensor: name(k.tensor),
        extents: k.choices().collect(),
    });
    let activations = space.activations().iter().enumerate().map(|(i, a)| Activation {
        name: format!("a{i}"),
        tensor: name(a.tensor),
        operand: name(a.operand),
        others: a.others.iter().map(ToString::to_string).collect(),
    });
    Ok(Report {
        schema: 1,
        log10_size: space.log10_size(),
        whole: cost(space.graph())?,
        smallest: cost(&space.build(&space.smallest())?)?,
        groups: groups.collect(),
        branches: branches.collect(),
        layers: layers.collect(),
        kernels: kernels.collect(),
        activations: activations.collect(),
    })
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let (graph, original) = arguments.model.open()?;
    let space = SuperNetwork::new(graph);
    let report = report(&space)?;
    if let Some(file) = &arguments.svg {
        let drawing = draw(&space, &arguments.model.path().display().to_string())?;
        let path = arguments.model.path();
        let mut inputs = original.files().map_err(ShrinkError::from)?;
        inputs.push(path.into());
        let mut out = Target::new(file, &inputs)?;
        out.write_all(drawing.as_bytes())?;
        out.finish()?;
    }
    match arguments.format {
        Format::Json => print_json(&report),
        Format::Table => print_table(&report),
    }
}

/// The network's operations, each tagged with the groups of its output's channels.
fn draw(space: &SuperNetwork, title: &str) -> Result<String, Error> {
    const SHOWN: usize = 3;
    let network = lower(space.graph())?;
    let nodes = space.graph().nodes().iter().filter(|n| !n.name.is_empty());
    let outputs: HashMap<&str, ValueId> =
        nodes.filter_map(|n| Some((&*n.name, n.outputs.first().copied()??))).collect();
    let tag = |name: &str| {
        let groups = space.groups_of(*outputs.get(name)?);
        let names: Vec<String> = groups.iter().take(SHOWN).map(|g| format!("c{g}")).collect();
        let more = if groups.len() > SHOWN { " …" } else { "" };
        Some(Tag { number: *groups.first()?, text: names.join(" ") + more })
    };
    let tags = network.nodes().enumerate().filter_map(|(i, n)| Some((i, tag(&n.name)?)));
    Ok(graph_with(&network, title, &tags.collect()))
}

fn print_table(report: &Report) -> Result<(), Error> {
    let mut table = Table::new(&["choice", "<keep", "of", "<units", "<tensor"]);
    for group in &report.groups {
        let unit = match group.channels_per_unit {
            1 => "channels".to_string(),
            n => format!("units of {n} channels"),
        };
        let unit = if group.exact { unit } else { unit + ", approximate" };
        table.row([
            group.name.clone(),
            group.keep.join(" "),
            group.units.to_string(),
            unit,
            group.tensor.to_string(),
        ]);
    }
    for branch in &report.branches {
        let tensor = branch.tensor.to_string();
        let name = format!("-{}", branch.name);
        table.row([name, "leave out".into(), branch.nodes.to_string(), "nodes".into(), tensor]);
    }
    for layer in &report.layers {
        let (name, tensor) = (format!("-{}", layer.name), layer.tensor.to_string());
        table.row([name, "skip".into(), layer.nodes.to_string(), "nodes".into(), tensor]);
    }
    for kernel in &report.kernels {
        let extents: Vec<String> = kernel.extents.iter().map(ToString::to_string).collect();
        let (name, tensor) = (kernel.name.clone(), kernel.tensor.to_string());
        table.row([name, extents.join(" "), String::new(), "kernel".into(), tensor]);
    }
    for site in &report.activations {
        let (name, tensor) = (site.name.clone(), site.tensor.to_string());
        table.row([name, site.others.join(" "), String::new(), "activation".into(), tensor]);
    }
    let mut out = Text::stdout();
    table.print(&mut out)?;
    out.line("")?;
    let (whole, smallest) = (&report.whole, &report.smallest);
    out.line(&format!("sub-networks  up to 10^{:.0}", report.log10_size))?;
    let range = |low: u64, high: u64| format!("{} to {}", si(low).trim(), si(high).trim());
    out.line(&format!("parameters    {}", range(smallest.parameters, whole.parameters)))?;
    out.line(&format!("MACs          {}", range(smallest.macs, whole.macs)))?;
    if report.groups.iter().any(|g| !g.exact) {
        out.line("approximate: what is left sees means over fewer channels")?;
    }
    out.flush()
}
