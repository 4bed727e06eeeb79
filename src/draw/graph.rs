//! Drawing: a layered layout (Sugiyama, Tagawa & Toda 1981) written as SVG.
//!
//! Layers come from longest paths. A tensor that is read far below runs down a lane of its own,
//! one lane however many nodes read it. Layers are ordered by barycentres, and nodes are aligned
//! into straight columns, longest paths first, in the manner of Brandes and Köpf (2001). The crate
//! rust-sugiyama takes longer and says nothing of where lanes run.

use super::page::escape;
use crate::graph::{self, ComputationGraph, Node, Operation};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

/// Lanes take at most this many points; tensors beyond are drawn as straight lines. Keeps a
/// hostile graph, whose lanes grow with the square of its size, from using up the memory.
const MAX_POINTS: usize = 500_000;
/// Sweeps of the ordering, down and up in turn.
const SWEEPS: usize = 12;
/// Sweeps of the placement.
const SETTLINGS: usize = 4;

const BOX_WIDTH: f64 = 118.0;
const LANE_WIDTH: f64 = 10.0;
const COLUMN_GAP: f64 = 14.0;
const LAYER_GAP: f64 = 16.0;
const TALL: f64 = 34.0;
const FLAT: f64 = 20.0;
const MARGIN: f64 = 20.0;
const HEADER: f64 = 64.0;

/// A self-contained SVG drawing: inputs at the top, a box per operation coloured by its kind, with
/// kernel, stride, groups and output extent. Pointing at a box shows its name and cost.
pub fn graph(graph: &ComputationGraph, title: &str) -> String {
    graph_with(graph, title, &BTreeMap::new())
}

/// The same with tags on nodes, given by their position. Nodes whose tags begin with the same number
/// have the same colour.
pub(crate) fn graph_with(
    graph: &ComputationGraph,
    title: &str,
    tags: &BTreeMap<usize, Tag>,
) -> String {
    let layout = Layout::new(graph);
    write_svg(graph, &layout, title, tags).unwrap_or_default()
}

/// A mark on a node.
pub(crate) struct Tag {
    /// Decides the colour; neighbouring numbers have distant ones.
    pub number: usize,
    /// What stands beside the node.
    pub text: String,
}

/// Kinds of operation that are told apart by colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Input,
    Convolution,
    Linear,
    Normalisation,
    Activation,
    Pooling,
    Merge,
    Other,
    Unknown,
}

impl Kind {
    fn of(operation: Operation) -> Self {
        use Operation as O;
        use graph::Kind as K;
        match operation.kind() {
            K::Input => Self::Input,
            K::Unknown => Self::Unknown,
            K::Convolution => Self::Convolution,
            K::Linear | K::MatMul | K::Embedding | K::Recurrent => Self::Linear,
            K::Affine | K::Normalisation | K::LocalNormalisation => Self::Normalisation,
            K::Rectifier | K::Gate | K::Softmax | K::Squashing => Self::Activation,
            K::Pooling | K::GlobalPooling => Self::Pooling,
            K::Reduction => match operation {
                O::ReduceMean | O::ReduceMax | O::ReduceSum => Self::Pooling,
                _ => Self::Other,
            },
            K::Arithmetic => Self::Merge,
            K::Movement if operation == O::Concat => Self::Merge,
            K::Movement | K::Function | K::TopK | K::Random => Self::Other,
        }
    }

    /// Name in the legend, fill and outline.
    fn style(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Input => ("input", "#e5e7eb", "#374151"),
            Self::Convolution => ("convolution", "#bfdbfe", "#2563eb"),
            Self::Linear => ("matrix product", "#99f6e4", "#0d9488"),
            Self::Normalisation => ("normalisation", "#e9d5ff", "#9333ea"),
            Self::Activation => ("activation", "#fed7aa", "#ea580c"),
            Self::Pooling => ("pooling", "#bbf7d0", "#16a34a"),
            Self::Merge => ("merge", "#fde68a", "#ca8a04"),
            Self::Other => ("other", "#f3f4f6", "#6b7280"),
            Self::Unknown => ("unknown", "#fecaca", "#dc2626"),
        }
    }
}

/// Boxes for what transforms are tall (two lines), for what works element by element flat.
fn height(node: &Node) -> f64 {
    match Kind::of(node.operation) {
        Kind::Activation => FLAT,
        Kind::Merge if node.operation != Operation::Concat => FLAT,
        _ => TALL,
    }
}

/// A node of the graph, or a bend of a lane in one layer. Points `0..graph.len()` are the nodes.
struct Point {
    layer: usize,
    /// Half of its width.
    half: f64,
    above: Vec<usize>,
    below: Vec<usize>,
    x: f64,
}

/// Where everything is drawn.
struct Layout {
    points: Vec<Point>,
    /// Top and bottom of each layer.
    rows: Vec<(f64, f64)>,
    /// Edges that got no lane.
    direct: Vec<(usize, usize)>,
    width: f64,
}

impl Layout {
    fn new(graph: &ComputationGraph) -> Self {
        let (mut points, direct, weight) = points(graph);
        let depth = 1 + points.iter().map(|p| p.layer).max().unwrap_or(0);
        let order = order(&mut points, depth);
        let blocks = align(&points, &order, &weight);
        let width = place(&mut points, &order, &blocks);

        let mut tallest = vec![0f64; depth];
        for (node, point) in graph.nodes().zip(&points) {
            tallest[point.layer] = tallest[point.layer].max(height(node));
        }
        let mut top = HEADER;
        let rows = tallest
            .iter()
            .map(|h| {
                let row = (top, top + h);
                top += h + LAYER_GAP;
                row
            })
            .collect();
        Self { points, rows, direct, width }
    }
}

/// Length of the longest path through an edge, by which alignment goes.
type Weights = HashMap<(usize, usize), usize>;

/// Layers the nodes and makes the lanes.
fn points(graph: &ComputationGraph) -> (Vec<Point>, Vec<(usize, usize)>, Weights) {
    let count = graph.len();
    let mut layer = vec![0usize; count];
    let mut rest = vec![0usize; count];
    for i in 0..count {
        layer[i] = graph.predecessors(i).map(|p| layer[p] + 1).max().unwrap_or(0);
    }
    for i in (0..count).rev() {
        rest[i] = graph.successors(i).map(|s| rest[s] + 1).max().unwrap_or(0);
    }
    let through: Vec<usize> = layer.iter().zip(&rest).map(|(a, b)| a + b).collect();
    // Side inputs start where they are needed, not at the top.
    for i in (0..count).rev() {
        if graph.predecessors(i).next().is_none() {
            let needed = graph.successors(i).map(|s| layer[s]).min().unwrap_or(1);
            layer[i] = needed.saturating_sub(1);
        }
    }

    let mut points: Vec<Point> = layer
        .iter()
        .map(|&layer| Point {
            layer,
            half: BOX_WIDTH / 2.0,
            above: Vec::new(),
            below: Vec::new(),
            x: 0.0,
        })
        .collect();
    let mut direct = Vec::new();
    let mut weights = Weights::new();
    for from in 0..count {
        let readers: BTreeSet<(usize, usize)> =
            graph.successors(from).map(|to| (layer[to], to)).collect();
        let mut end = from;
        // Readers come in the order of their layers, so one lane serves them all.
        for (target, to) in readers {
            if points.len() - count + (target - points[end].layer) > MAX_POINTS {
                direct.push((from, to));
                continue;
            }
            while points[end].layer + 1 < target {
                let bend = points.len();
                points.push(Point {
                    layer: points[end].layer + 1,
                    half: LANE_WIDTH / 2.0,
                    above: vec![end],
                    below: Vec::new(),
                    x: 0.0,
                });
                points[end].below.push(bend);
                weights.insert((end, bend), 0);
                end = bend;
            }
            points[end].below.push(to);
            points[to].above.push(end);
            // Only an edge between neighbours can lie on a longest path.
            let weight = if end == from { 1 + through[from].min(through[to]) } else { 0 };
            weights.insert((end, to), weight);
        }
    }
    (points, direct, weights)
}

/// Orders the points of each layer so that few edges cross.
fn order(points: &mut [Point], depth: usize) -> Vec<Vec<usize>> {
    let mut layers: Vec<Vec<usize>> = vec![Vec::new(); depth];
    for (i, point) in points.iter().enumerate() {
        layers[point.layer].push(i);
    }
    let mut place = vec![0usize; points.len()];
    let note = |layer: &[usize], place: &mut [usize]| {
        for (at, &i) in layer.iter().enumerate() {
            place[i] = at;
        }
    };
    layers.iter().for_each(|l| note(l, &mut place));
    let mut best = (crossings(points, &layers, &place), layers.clone());
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        let rows: Vec<usize> = if down { (0..depth).collect() } else { (0..depth).rev().collect() };
        for row in rows {
            let centre = |i: usize| {
                let near = if down { &points[i].above } else { &points[i].below };
                match near.len() {
                    0 => place[i] as f64,
                    n => near.iter().map(|&j| place[j] as f64).sum::<f64>() / n as f64,
                }
            };
            let mut keyed: Vec<(f64, usize)> =
                layers[row].iter().map(|&i| (centre(i), i)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            layers[row] = keyed.into_iter().map(|(_, i)| i).collect();
            note(&layers[row], &mut place);
        }
        let count = crossings(points, &layers, &place);
        if count < best.0 {
            best = (count, layers.clone());
        }
    }
    let layers = best.1;
    layers.iter().for_each(|l| note(l, &mut place));
    // Nodes with several neighbours list them from left to right.
    for point in points.iter_mut() {
        point.above.sort_by_key(|&i| place[i]);
        point.below.sort_by_key(|&i| place[i]);
    }
    layers
}

/// Number of pairs of edges that cross, by counting inversions with a Fenwick tree.
fn crossings(points: &[Point], layers: &[Vec<usize>], place: &[usize]) -> u64 {
    let mut total = 0;
    for (row, layer) in layers.iter().enumerate() {
        let width = layers.get(row + 1).map_or(0, Vec::len);
        let mut tree = vec![0u64; width + 1];
        let mut seen = 0;
        for &i in layer {
            let ends = points[i].below.iter().map(|&j| place[j]);
            for end in ends.clone() {
                let mut at = end + 1;
                let mut not_right = 0;
                while at > 0 {
                    not_right += tree[at];
                    at &= at - 1;
                }
                total += seen - not_right;
            }
            for end in ends {
                let mut at = end + 1;
                while at <= width {
                    tree[at] += 1;
                    at += at & at.wrapping_neg();
                }
                seen += 1;
            }
        }
    }
    total
}

/// Chains points into columns: the block of each point. Chained edges do not cross one another,
/// so that the columns can all be straight.
fn align(points: &[Point], order: &[Vec<usize>], weights: &Weights) -> Vec<usize> {
    let mut block: Vec<usize> = (0..points.len()).collect();
    let spine = spine(points, order, weights);
    for layer in order.windows(2) {
        let [upper, lower] = layer else { continue };
        let mut place = HashMap::new();
        for row in [upper, lower] {
            place.extend(row.iter().enumerate().map(|(at, &i)| (i, at)));
        }
        let mut edges: Vec<(usize, usize)> =
            upper.iter().flat_map(|&i| points[i].below.iter().map(move |&j| (i, j))).collect();
        let middle = |i: usize, j: usize| {
            // Of equally long paths, the one nearest the middle.
            let (below, above) = (&points[i].below, &points[j].above);
            let off = |list: &[usize], x: usize| {
                let at = list.iter().position(|&k| k == x).unwrap_or(0);
                (2 * at + 1).abs_diff(list.len())
            };
            off(below, j) + off(above, i)
        };
        edges.sort_by_key(|&(i, j)| {
            let weight = weights.get(&(i, j)).copied().unwrap_or(0);
            (!spine.contains(&(i, j)), Reverse(weight), middle(i, j))
        });
        // From places in the upper layer to places in the lower; monotone.
        let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
        for (i, j) in edges {
            let (a, b) = (place[&i], place[&j]);
            let left = taken.range(..=a).next_back().is_none_or(|(&c, &d)| c < a && d < b);
            let right = taken.range(a..).next().is_none_or(|(_, &d)| d > b);
            if left && right {
                taken.insert(a, b);
                block[j] = block[i];
            }
        }
    }
    block
}

/// The edges of one longest path, which is to be straight from end to end.
fn spine(points: &[Point], order: &[Vec<usize>], weights: &Weights) -> BTreeSet<(usize, usize)> {
    let longest = weights.values().copied().max().unwrap_or(0);
    let on = |i: &usize, j: &usize| weights.get(&(*i, *j)) == Some(&longest);
    let starts = order.iter().flatten().filter(|i| points[**i].above.is_empty());
    let mut at = starts.copied().find(|i| points[*i].below.iter().any(|j| on(i, j)));
    let mut spine = BTreeSet::new();
    while let Some(i) = at {
        let next: Vec<usize> = points[i].below.iter().copied().filter(|j| on(&i, j)).collect();
        at = next.get(next.len().saturating_sub(1) / 2).copied();
        spine.extend(at.map(|j| (i, j)));
    }
    spine
}

/// Sets every point's `x`, the same within a block; returns the width of the drawing.
fn place(points: &mut [Point], order: &[Vec<usize>], block: &[usize]) -> f64 {
    // Every pair of neighbours in a layer keeps its blocks this far apart.
    let mut left_of: Vec<Vec<(usize, f64)>> = vec![Vec::new(); points.len()];
    let mut right_of: Vec<Vec<(usize, f64)>> = vec![Vec::new(); points.len()];
    for pair in order.iter().flat_map(|layer| layer.windows(2)) {
        let &[a, b] = pair else { continue };
        let lanes = points[a].half < BOX_WIDTH / 2.0 && points[b].half < BOX_WIDTH / 2.0;
        let gap = points[a].half + points[b].half + if lanes { 0.0 } else { COLUMN_GAP };
        left_of[block[b]].push((block[a], gap));
        right_of[block[a]].push((block[b], gap));
    }
    // Blocks from left to right (Kahn); chained edges do not cross, so there is no cycle.
    let mut waiting: Vec<usize> = left_of.iter().map(Vec::len).collect();
    let heads: Vec<usize> = (0..points.len()).filter(|&i| block[i] == i).collect();
    let mut sequence: Vec<usize> = heads.iter().copied().filter(|&b| waiting[b] == 0).collect();
    let mut next = 0;
    while let Some(&b) = sequence.get(next) {
        next += 1;
        for &(right, _) in &right_of[b] {
            waiting[right] -= 1;
            if waiting[right] == 0 {
                sequence.push(right);
            }
        }
    }

    let mut x = vec![0f64; points.len()];
    let lower = |x: &[f64], b: usize| {
        left_of[b].iter().map(|&(a, gap)| x[a] + gap).fold(f64::NEG_INFINITY, f64::max)
    };
    let upper = |x: &[f64], b: usize| {
        right_of[b].iter().map(|&(c, gap)| x[c] - gap).fold(f64::INFINITY, f64::min)
    };
    for &b in &sequence {
        x[b] = lower(&x, b).max(0.0);
    }
    // Then every block moves towards what it is connected to, as far as its neighbours let it.
    let mut links: Vec<Vec<usize>> = vec![Vec::new(); points.len()];
    for (i, point) in points.iter().enumerate() {
        for &j in &point.below {
            if block[i] != block[j] {
                links[block[i]].push(block[j]);
                links[block[j]].push(block[i]);
            }
        }
    }
    for sweep in 0..SETTLINGS {
        let mut settle = |b: usize| {
            let mut wanted: Vec<f64> = links[b].iter().map(|&other| x[other]).collect();
            if wanted.is_empty() {
                return;
            }
            wanted.sort_by(f64::total_cmp);
            let (low, high) = (lower(&x, b), upper(&x, b));
            x[b] = wanted[wanted.len() / 2].min(high).max(low);
        };
        match sweep % 2 {
            0 => sequence.iter().rev().for_each(|&b| settle(b)),
            _ => sequence.iter().for_each(|&b| settle(b)),
        }
    }

    let edge = |side: f64| move |(point, &b): (&Point, &usize), x: &[f64]| x[b] + side * point.half;
    let (left, right) = (edge(-1.0), edge(1.0));
    let min = points.iter().zip(block).map(|p| left(p, &x)).fold(f64::INFINITY, f64::min);
    let max = points.iter().zip(block).map(|p| right(p, &x)).fold(f64::NEG_INFINITY, f64::max);
    for (point, &b) in points.iter_mut().zip(block) {
        point.x = x[b] - min + MARGIN;
    }
    max - min + 2.0 * MARGIN
}

fn write_svg(
    graph: &ComputationGraph,
    layout: &Layout,
    title: &str,
    tags: &BTreeMap<usize, Tag>,
) -> Result<String, std::fmt::Error> {
    let kinds: BTreeSet<Kind> = graph.nodes().map(|n| Kind::of(n.operation)).collect();
    let legend: f64 = kinds.iter().map(|k| legend_width(*k)).sum();
    let totals = format!(
        "{} nodes, {} parameters, {} MACs",
        grouped(graph.len() as u64),
        grouped(graph.parameters()),
        grouped(graph.macs())
    );
    let text = 7.0 * title.chars().count().max(totals.chars().count()) as f64;
    let width = layout.width.max(legend + 2.0 * MARGIN).max(text + 2.0 * MARGIN);
    let shift = (width - layout.width) / 2.0;
    let height = layout.rows.last().map_or(0.0, |r| r.1) + MARGIN;

    let mut svg = String::new();
    let out = &mut svg;
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" font-family="Helvetica, Arial, sans-serif" font-size="11" text-anchor="middle" fill="#111827">
<defs><marker id="a" viewBox="0 0 6 6" refX="5.5" refY="3" markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0L6 3L0 6z" fill="#6b7280"/></marker></defs>
<rect width="100%" height="100%" fill="#fff"/>
<text x="{MARGIN}" y="20" text-anchor="start" font-size="14" font-weight="bold">{}</text>
<text x="{MARGIN}" y="36" text-anchor="start" fill="#4b5563">{totals}</text>"##,
        escape(title)
    )?;
    let mut x = MARGIN;
    for &kind in &kinds {
        let (name, fill, line) = kind.style();
        writeln!(
            out,
            r#"<rect x="{x:.0}" y="44" width="9" height="9" rx="2" fill="{fill}" stroke="{line}"/><text x="{:.0}" y="52" text-anchor="start">{name}</text>"#,
            x + 13.0
        )?;
        x += legend_width(kind);
    }

    writeln!(out, r##"<g transform="translate({shift:.1} 0)">"##)?;
    write_edges(out, graph, layout)?;
    for (i, (node, point)) in graph.nodes().zip(&layout.points).enumerate() {
        write_box(out, node, point, layout.rows[point.layer], tags.get(&i))?;
    }
    writeln!(out, "</g>\n</svg>")?;
    Ok(svg)
}

fn legend_width(kind: Kind) -> f64 {
    26.0 + 6.0 * kind.style().0.len() as f64
}

fn write_edges(
    out: &mut String,
    graph: &ComputationGraph,
    layout: &Layout,
) -> Result<(), std::fmt::Error> {
    let half = |i: usize| {
        let (top, bottom) = layout.rows[layout.points[i].layer];
        // A lane runs through the whole layer, a box sits in its middle.
        if i < graph.len() { height(graph.node(i)) / 2.0 } else { (bottom - top) / 2.0 }
    };
    let middle = |i: usize| {
        let (top, bottom) = layout.rows[layout.points[i].layer];
        (top + bottom) / 2.0
    };
    writeln!(out, r##"<g fill="none" stroke="#6b7280">"##)?;
    for (i, from) in layout.points.iter().enumerate() {
        let y = middle(i) + half(i);
        if i >= graph.len() {
            write!(out, r#"<path d="M{:.1} {:.1}V{y:.1}"/>"#, from.x, middle(i) - half(i))?;
        }
        for &j in &from.below {
            let to = &layout.points[j];
            let (end, bend) = (middle(j) - half(j), (y + middle(j) - half(j)) / 2.0);
            write!(out, r#"<path d="M{:.1} {y:.1}"#, from.x)?;
            match (to.x - from.x).abs() < 0.05 {
                true => write!(out, "V{end:.1}")?,
                false => write!(
                    out,
                    "C{:.1} {bend:.1} {:.1} {bend:.1} {:.1} {end:.1}",
                    from.x, to.x, to.x
                )?,
            }
            let arrow = if j < graph.len() { r#" marker-end="url(#a)""# } else { "" };
            writeln!(out, r#""{arrow}/>"#)?;
        }
    }
    for &(i, j) in &layout.direct {
        writeln!(
            out,
            r#"<path d="M{:.1} {:.1}L{:.1} {:.1}" stroke-dasharray="3 3" marker-end="url(#a)"/>"#,
            layout.points[i].x,
            middle(i) + half(i),
            layout.points[j].x,
            middle(j) - half(j)
        )?;
    }
    writeln!(out, "</g>")
}

fn write_box(
    out: &mut String,
    node: &Node,
    point: &Point,
    (top, bottom): (f64, f64),
    tag: Option<&Tag>,
) -> Result<(), std::fmt::Error> {
    let (_, fill, line) = Kind::of(node.operation).style();
    let h = height(node);
    let (mut line, mut width) = (line.to_string(), 1);
    if let Some(tag) = tag {
        // The golden angle keeps the hues of consecutive numbers apart.
        let hue = (tag.number as f64 * 137.508).rem_euclid(360.0);
        (line, width) = (format!("hsl({hue:.0},85%,42%)"), 3);
        writeln!(
            out,
            // Above the box's right half: beside it stands the next one, and edges come in the middle.
            r#"<text x="{:.1}" y="{:.1}" text-anchor="start" font-size="10" fill="{line}">{}</text>"#,
            point.x + 5.0,
            (top + bottom - h) / 2.0 - 3.0,
            escape(&tag.text)
        )?;
    }
    let (x, y) = (point.x, (top + bottom) / 2.0);
    writeln!(
        out,
        r#"<g><title>{}
{} parameters, {} MACs</title><rect x="{:.1}" y="{:.1}" width="{BOX_WIDTH}" height="{h}" rx="4" fill="{fill}" stroke="{line}" stroke-width="{width}"/>"#,
        escape(if node.name.is_empty() { node.operation.name() } else { &node.name }),
        grouped(node.parameters),
        grouped(node.macs),
        x - BOX_WIDTH / 2.0,
        y - h / 2.0
    )?;
    let label = label(node);
    if h > FLAT {
        writeln!(
            out,
            r##"<text x="{x:.1}" y="{:.1}">{label}</text><text x="{x:.1}" y="{:.1}" fill="#4b5563" font-size="10">{}</text></g>"##,
            y - 3.0,
            y + 11.0,
            extent(node)
        )
    } else {
        writeln!(out, r#"<text x="{x:.1}" y="{:.1}">{label}</text></g>"#, y + 4.0)
    }
}

/// `conv 3×3 /2`: the operation, its kernel, stride and groups.
fn label(node: &Node) -> String {
    let mut label = node.operation.name().replace('_', " ");
    let w = &node.window;
    let [kh, kw] = w.kernel;
    if node.operation == Operation::DepthwiseConv {
        label = "depthwise".to_string();
    }
    if kh > 1 || kw > 1 || Kind::of(node.operation) == Kind::Convolution {
        label.push_str(&format!(" {kh}×{kw}"));
    }
    if w.stride != [1, 1] {
        let [a, b] = w.stride;
        label.push_str(&if a == b { format!(" /{a}") } else { format!(" /{a}×{b}") });
    }
    if w.groups > 1 && node.operation != Operation::DepthwiseConv {
        label.push_str(&format!(" g{}", w.groups));
    }
    label
}

/// `64×56×56`, without trailing ones.
fn extent(node: &Node) -> String {
    let e = &node.output;
    match (e.height, e.width) {
        (1, 1) => e.channels.to_string(),
        (h, 1) => format!("{}×{h}", e.channels),
        (h, w) => format!("{}×{h}×{w}", e.channels),
    }
}

/// Digits in groups of three.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Extent, Window};

    fn node(operation: Operation, channels: u64, side: u64) -> Node {
        Node {
            operation,
            input: Extent::new(channels, side, side),
            output: Extent::new(channels, side, side),
            window: Window { kernel: [3, 3], ..Window::default() },
            bias: true,
            parameters: 1000,
            macs: 1_000_000,
            name: "".into(),
        }
    }

    /// Eight residual blocks, every third with a convolution on its shortcut.
    fn residual_network() -> ComputationGraph {
        use Operation as O;
        let mut nodes =
            vec![node(O::Input, 3, 224), node(O::Conv, 64, 112), node(O::Relu, 64, 112)];
        let mut edges = vec![(0, 1), (1, 2)];
        for block in 0..8 {
            let input = nodes.len() - 1;
            for op in [O::Conv, O::Relu, O::Conv] {
                edges.push((nodes.len() - 1, nodes.len()));
                nodes.push(node(op, 64, 56));
            }
            let mut shortcut = input;
            if block % 3 == 0 {
                shortcut = nodes.len();
                edges.push((input, shortcut));
                nodes.push(node(O::Conv, 64, 56));
            }
            let add = nodes.len();
            edges.extend([(input + 3, add), (shortcut, add), (add, add + 1)]);
            nodes.extend([node(O::Add, 64, 56), node(O::Relu, 64, 56)]);
        }
        ComputationGraph::new(nodes, &edges).unwrap()
    }

    #[test]
    fn the_main_path_is_straight_and_boxes_do_not_overlap() {
        let graph = residual_network();
        let Layout { points, .. } = Layout::new(&graph);
        // All but the convolutions on shortcuts: what comes after Conv, Relu, Conv.
        let side = |i: usize| {
            graph.node(i).operation == Operation::Conv
                && graph.predecessors(i).chain(graph.successors(i)).count() == 2
                && graph.predecessors(i).next() != Some(i - 1)
        };
        for i in (1..graph.len()).filter(|&i| !side(i)) {
            assert_eq!(points[i].x, points[0].x, "node {i}");
        }
        for (i, a) in points.iter().enumerate() {
            for b in points[..i].iter().filter(|b| b.layer == a.layer) {
                assert!((a.x - b.x).abs() > a.half + b.half - 0.01);
            }
        }
    }

    #[test]
    fn names_from_files_cannot_break_the_drawing() {
        let mut hostile = node(Operation::Conv, 3, 3);
        hostile.name = "</title><script>\u{1b}&\u{0}\u{ffff}".into();
        let graph = ComputationGraph::new(vec![hostile], &[]).unwrap();
        let svg = super::graph(&graph, "<a&b>.onnx");
        assert!(!svg.contains("<script>") && !svg.contains("<a&b>"));
        assert!(!svg.contains(['\u{1b}', '\u{0}', '\u{ffff}']));
        assert!(svg.contains("&lt;/title&gt;") && svg.ends_with("</svg>\n"));
    }
}
