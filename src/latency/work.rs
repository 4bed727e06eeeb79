//! How much of what a device has to do for a network.

use crate::graph::{ComputationGraph, Kind, Node, Operation as O};
use std::collections::{BTreeMap, BTreeSet};

/// Amounts by what does the work and what is counted: numbers of operations, elements read and
/// written, MACs and parameters, for one input. All are sums over operations, and none is negative.
pub type Work = BTreeMap<(&'static str, &'static str), f64>;

/// What is counted.
const COUNT: &str = "count";
const ELEMENTS: &str = "elements";
const MACS: &str = "macs";
const PARAMETERS: &str = "parameters";
/// MACs divided by the number of channels that a kernel has to work with: of few it is slow.
const NARROW: &str = "macs_by_channels";
/// Elements of what moves more than one step at a time.
const STRIDED: &str = "strided_elements";
/// MACs of depthwise kernels beyond 3×3.
const LARGE: &str = "large_kernel_macs";
/// Elements of a matrix of attention, which need not be written where all of it is one kernel.
const SCORES: &str = "scores";

/// An operation's own name, and that of the kind of operation that it is. With the kind, what was
/// measured of one operation says something of another.
fn classes(node: &Node) -> (&'static str, Option<&'static str>) {
    let name = match node.operation {
        O::Conv if node.window.groups > 1 => "grouped_conv",
        O::Conv if node.window.kernel == [1, 1] => "pointwise_conv",
        operation => operation.name(),
    };
    (name, kind(node.operation))
}

const REDUCTION: Option<&str> = Some("reduction");
const ELEMENTWISE: Option<&str> = Some("elementwise");

fn kind(operation: O) -> Option<&'static str> {
    match operation.kind() {
        Kind::Convolution if operation == O::ConvTranspose => None,
        Kind::Convolution => Some("convolution"),
        Kind::Pooling => Some("pooling"),
        Kind::Movement => Some("movement"),
        Kind::Normalisation
        | Kind::LocalNormalisation
        | Kind::Softmax
        | Kind::Reduction
        | Kind::GlobalPooling => REDUCTION,
        Kind::Affine
        | Kind::Arithmetic
        | Kind::Function
        | Kind::Rectifier
        | Kind::Gate
        | Kind::Squashing => ELEMENTWISE,
        Kind::Unknown
        | Kind::Input
        | Kind::Linear
        | Kind::MatMul
        | Kind::Embedding
        | Kind::TopK
        | Kind::Recurrent
        | Kind::Random => None,
    }
}

/// Two matrix products with a softmax between them.
struct Attention {
    first: usize,
    second: usize,
    /// The softmax, and what scales and masks before it.
    between: Vec<usize>,
    masked: bool,
}

impl Attention {
    /// The attention whose softmax is at `softmax`, if it is one.
    fn around(graph: &ComputationGraph, softmax: usize) -> Option<Self> {
        let only = |i: usize| {
            let mut readers = graph.successors(i);
            readers.next().filter(|_| readers.next().is_none())
        };
        let second = only(softmax).filter(|&i| graph.node(i).operation == O::MatMul)?;
        let (mut between, mut masked) = (vec![softmax], false);
        let mut at = softmax;
        loop {
            at = graph.predecessors(at).max_by_key(|&p| graph.node(p).output.elements())?;
            only(at)?;
            match graph.node(at).operation {
                O::MatMul => return Some(Self { first: at, second, between, masked }),
                O::Affine | O::MulConstant | O::Mul => {}
                O::Add | O::AddConstant => masked = true,
                _ => return None,
            }
            between.push(at);
        }
    }
}

/// The work of a network. Where a device does attention as one kernel, `fused_attention`, its parts
/// are no work of their own.
pub fn work(graph: &ComputationGraph, fused_attention: bool) -> Work {
    let mut work = Work::new();
    let mut add = |class: &'static str, quantity: &'static str, amount: f64| {
        *work.entry((class, quantity)).or_default() += amount;
    };
    add("network", COUNT, 1.0);
    let written = |i: usize| graph.node(i).output.elements() as f64;
    let read = |i: usize| graph.predecessors(i).map(written).sum::<f64>();

    let mut fused = BTreeSet::new();
    let softmaxes = (0..graph.len()).filter(|&i| graph.node(i).operation == O::Softmax);
    for attention in
        softmaxes.filter_map(|i| Attention::around(graph, i)).filter(|_| fused_attention)
    {
        let Attention { first, second, between, masked } = attention;
        let values = graph.predecessors(second).filter(|p| !between.contains(p));
        let elements = read(first) + values.map(written).sum::<f64>() + written(second);
        let macs = (graph.node(first).macs as f64) + graph.node(second).macs as f64;
        let own = if masked { "masked_attention" } else { "plain_attention" };
        for class in ["attention", own] {
            add(class, COUNT, 1.0);
            add(class, ELEMENTS, elements);
            add(class, MACS, macs);
            add(class, SCORES, written(first));
        }
        fused.extend(between.into_iter().chain([first, second]));
    }

    for (i, node) in graph.nodes().enumerate() {
        if node.operation == O::Input || fused.contains(&i) {
            continue;
        }
        let (own, kind) = classes(node);
        let (elements, macs) = (read(i) + written(i), node.macs as f64);
        for class in [Some(own), kind, Some("any")].into_iter().flatten() {
            add(class, COUNT, 1.0);
            add(class, ELEMENTS, elements);
            if node.macs > 0 {
                add(class, MACS, macs);
            }
        }
        let channels = node.input.channels.min(node.output.channels).max(1) as f64;
        let strided = node.window.stride.iter().any(|&s| s > 1);
        match node.operation {
            O::Conv => {
                let by = match node.window.groups {
                    1 => channels,
                    groups => (node.input.channels as f64 / f64::from(groups)).max(1.0),
                };
                add(if node.window.groups > 1 { own } else { "convolution" }, NARROW, macs / by);
                if strided {
                    add("convolution", STRIDED, elements);
                }
            }
            O::DepthwiseConv => {
                if strided {
                    add(own, STRIDED, elements);
                }
                let [height, width] = node.window.kernel;
                if u64::from(height) * u64::from(width) > 9 {
                    add(own, LARGE, macs);
                }
            }
            O::Linear | O::MatMul => add("product", NARROW, macs / channels),
            _ => {}
        }
        if matches!(node.operation, O::Conv | O::DepthwiseConv | O::Linear) {
            add(own, PARAMETERS, node.parameters as f64);
        }
    }

    for kernel in kernels(graph, &fused) {
        let inside = |i: &usize| kernel.binary_search(i).is_ok();
        let outside: BTreeSet<usize> =
            kernel.iter().flat_map(|&i| graph.predecessors(i)).filter(|p| !inside(p)).collect();
        let leaves = |&&i: &&usize| {
            let mut readers = graph.successors(i).peekable();
            readers.peek().is_none() || readers.any(|r| !inside(&r))
        };
        let elements = outside.into_iter().map(written).sum::<f64>()
            + kernel.iter().filter(leaves).map(|&i| written(i)).sum::<f64>();
        let reduces = kernel.iter().any(|&i| kind(graph.node(i).operation) == REDUCTION);
        let class = if reduces { "reducing_kernel" } else { "elementwise_kernel" };
        add(class, COUNT, 1.0);
        add(class, ELEMENTS, elements);
    }
    work
}

/// Chains of operations on elements that a compiler makes one kernel of, each in ascending order:
/// what is between them need not be written. Nothing else lies on a path between two of a chain.
fn kernels(graph: &ComputationGraph, fused: &BTreeSet<usize>) -> Vec<Vec<usize>> {
    let joins = |i: usize| {
        let kind = kind(graph.node(i).operation);
        (kind == ELEMENTWISE || kind == REDUCTION) && !fused.contains(&i)
    };
    // How many others lie before an operation, on the path with the most.
    let mut others = vec![0usize; graph.len()];
    for i in 0..graph.len() {
        let before = graph.predecessors(i).map(|p| others[p] + usize::from(!joins(p))).max();
        others[i] = before.unwrap_or(0);
    }
    let mut sets = petgraph::unionfind::UnionFind::new(graph.len());
    for (from, to) in graph.edges().filter(|&(from, to)| joins(from) && joins(to)) {
        let elements = graph.node(from).output.elements();
        if elements == graph.node(to).input.elements() && others[from] == others[to] {
            sets.union(from, to);
        }
    }
    let mut kernels: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for i in (0..graph.len()).filter(|&i| joins(i)) {
        kernels.entry(sets.find(i)).or_default().push(i);
    }
    kernels.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::LatencyModel;
    use crate::lower::lower;
    use crate::model_graph::{Attributes, Builder, DataType, OpType, ValueId, ints};

    const NONE: Attributes = Attributes::new();

    fn node(b: &mut Builder, op: OpType, attributes: Attributes, inputs: &[ValueId]) -> ValueId {
        b.node(op, attributes, inputs).unwrap()
    }

    fn network(
        shape: &[usize],
        body: impl FnOnce(&mut Builder, ValueId) -> ValueId,
    ) -> ComputationGraph {
        let mut b = Builder::new("test", 17);
        let x = b.input("x", DataType::Float, shape);
        let y = body(&mut b, x);
        b.output(y);
        lower(&b.finish()).unwrap()
    }

    fn conv(b: &mut Builder, x: ValueId, filters: usize, groups: usize) -> ValueId {
        let channels = b.value(x).shape[1] / groups;
        let w = b.weight(&[filters, channels, 3, 3]);
        let groups = crate::model_graph::Attribute::Int(i64::try_from(groups).unwrap());
        let attributes = NONE.with("pads", ints(&[1, 1, 1, 1])).with("group", groups);
        node(b, OpType::Conv, attributes, &[x, w])
    }

    /// Residual blocks with a depthwise convolution each.
    fn blocks(batch: usize, channels: usize, size: usize, count: usize) -> ComputationGraph {
        network(&[batch, 3, size, size], |b, x| {
            let mut x = conv(b, x, channels, 1);
            for _ in 0..count {
                let y = conv(b, x, channels, channels);
                let y = node(b, OpType::Relu, NONE, &[y]);
                let y = conv(b, y, channels, 1);
                let y = node(b, OpType::Add, NONE, &[x, y]);
                x = node(b, OpType::Relu, NONE, &[y]);
            }
            x
        })
    }

    #[test]
    fn more_of_anything_takes_longer() {
        for name in LatencyModel::NAMES {
            let model = LatencyModel::named(name).unwrap();
            let takes = |graph: ComputationGraph| model.estimate(&graph).latency;
            let one = takes(blocks(1, 32, 32, 1));
            for (what, more) in [
                ("a body twice", blocks(1, 32, 32, 2)),
                ("more channels", blocks(1, 48, 32, 1)),
                ("larger images", blocks(1, 32, 48, 1)),
            ] {
                assert!(takes(more) > one, "{name}: {what}");
            }
            // Each further body takes the same.
            let times = [4, 5, 6].map(|count| takes(blocks(1, 32, 32, count)));
            let steps = [times[1] - times[0], times[2] - times[1]];
            assert!((steps[0] / steps[1] - 1.0).abs() < 1e-9, "{name}: {times:?}");
        }
    }

    /// It is the work of one input, however many a file is for.
    #[test]
    fn a_batch_changes_nothing() {
        assert_eq!(work(&blocks(4, 16, 8, 2), false), work(&blocks(1, 16, 8, 2), false));
    }

    #[test]
    fn chains_of_elementwise_operations_are_one_kernel() {
        let work = work(&blocks(1, 16, 8, 3), false);
        // After each depthwise convolution, and the sum with the activation after it.
        assert_eq!(work[&("elementwise_kernel", COUNT)], 6.0);
        assert_eq!(work[&("elementwise", COUNT)], 9.0);
        let map = 16.0 * 8.0 * 8.0;
        // The sums read two maps and write one, the others read one.
        assert_eq!(work[&("elementwise_kernel", ELEMENTS)], 3.0 * (3.0 + 2.0) * map);
        assert_eq!(work[&("elementwise", ELEMENTS)], 3.0 * (3.0 + 2.0 + 2.0) * map);
    }

    #[test]
    fn attention_is_found_with_and_without_a_mask() {
        let attention = |masked: bool| {
            network(&[1, 10, 16], |b, x| {
                let [q, k, v] = [0; 3].map(|_| {
                    let w = b.weight(&[16, 16]);
                    node(b, OpType::MatMul, NONE, &[x, w])
                });
                let k = node(b, OpType::Transpose, NONE.with("perm", ints(&[0, 2, 1])), &[k]);
                let mut scores = node(b, OpType::MatMul, NONE, &[q, k]);
                if masked {
                    let mask = b.weight(&[1, 10, 10]);
                    scores = node(b, OpType::Add, NONE, &[scores, mask]);
                }
                let scores = node(b, OpType::Softmax, NONE, &[scores]);
                node(b, OpType::MatMul, NONE, &[scores, v])
            })
        };
        for (masked, own) in [(false, "plain_attention"), (true, "masked_attention")] {
            let graph = attention(masked);
            let (parts, fused) = (work(&graph, false), work(&graph, true));
            assert_eq!(fused[&(own, COUNT)], 1.0);
            assert_eq!(fused[&("attention", SCORES)], 100.0);
            // Queries, keys and values in, as much out.
            assert_eq!(fused[&("attention", ELEMENTS)], 4.0 * 160.0);
            assert_eq!(fused[&("attention", MACS)], 2.0 * 1600.0);
            assert!(!fused.contains_key(&("softmax", COUNT)), "{fused:?}");
            assert!(!parts.contains_key(&("attention", COUNT)), "{parts:?}");
            assert_eq!(parts[&("softmax", COUNT)], 1.0);
        }
    }
}
