//! Computation graphs of atomic operations: what an architecture *is*, however it was written down.
//!
//! A [`ComputationGraph`] is immutable and valid by construction: acyclic, with its nodes in
//! topological order. GENNAPE (arXiv 2211.17226, section 3) introduces the representation; ours
//! adds strides, dilations and groups, and a canonical form (see [`crate::lower`]).

mod cost;
mod dot;
mod fingerprint;
mod operation;

pub use fingerprint::Fingerprint;
pub(crate) use operation::Kind;
pub use operation::Operation;

use crate::text::clipped;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use std::fmt;

/// Extent of a feature map without its batch dimension: `[channels, height, width]`, or
/// `[features, tokens, 1]` for a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Extent {
    pub channels: u64,
    pub height: u64,
    pub width: u64,
}

impl Extent {
    /// The extent `[channels, height, width]`.
    pub fn new(channels: u64, height: u64, width: u64) -> Self {
        Self { channels, height, width }
    }

    /// Number of elements; saturates.
    pub fn elements(&self) -> u64 {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// Window of a convolution or pooling; all ones for other operations. Three-dimensional windows
/// multiply the depth into the height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// Height and width of the kernel; for a softmax, the number of elements it runs over.
    pub kernel: [u32; 2],
    /// Steps between applications.
    pub stride: [u32; 2],
    /// Gaps between kernel elements.
    pub dilation: [u32; 2],
    /// Number of groups of channels that do not see each other.
    pub groups: u32,
    /// Whether the map is padded before the window is applied.
    pub padded: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], groups: 1, padded: false }
    }
}

/// One atomic operation with everything that describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it does.
    pub operation: Operation,
    /// Extent of its (largest) input.
    pub input: Extent,
    /// Extent of its output.
    pub output: Extent,
    /// Kernel, stride, dilation and groups.
    pub window: Window,
    /// Whether it adds a trained bias.
    pub bias: bool,
    /// Trained coefficients, with batch normalisation folded in wherever that is possible.
    /// Not part of the fingerprint: a constant table may be a parameter or a buffer.
    pub parameters: u64,
    /// Multiply-accumulate operations for one input, of convolutions and matrix products.
    pub macs: u64,
    /// Name of the node in the file it came from, if any; not part of the fingerprint.
    pub name: Box<str>,
}

/// Why a list of nodes and edges is not a computation graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// No nodes at all.
    #[error("the computation graph is empty")]
    Empty,
    /// An edge names a node that does not exist, or does not go forward.
    #[error("edge {from} -> {to} does not go from an earlier to a later of {nodes} nodes")]
    Edge {
        /// Source of the edge.
        from: usize,
        /// Target of the edge.
        to: usize,
        /// Number of nodes.
        nodes: usize,
    },
    /// A node that can't be counted with.
    #[error("node '{name}' ({operation}): {what}")]
    Node {
        /// Its name.
        name: Box<str>,
        /// What it does.
        operation: Operation,
        /// What is wrong.
        what: &'static str,
    },
}

/// A directed acyclic graph of atomic operations; see the [module documentation](self).
#[derive(Debug, Clone)]
pub struct ComputationGraph {
    graph: DiGraph<Node, ()>,
    folded: u64,
    depends_on_input: bool,
}

impl ComputationGraph {
    /// The graph of `nodes`, in topological order, and `edges` between positions in it. An edge
    /// that is given twice is kept twice: an operation may use one tensor as both its operands.
    ///
    /// # Errors
    /// When there are no nodes, an edge does not go forward, a window or an end of the network has
    /// no elements, or the costs can't be counted.
    pub fn new(nodes: Vec<Node>, edges: &[(usize, usize)]) -> Result<Self, GraphError> {
        if nodes.is_empty() {
            return Err(GraphError::Empty);
        }
        let count = nodes.len();
        let mut graph = DiGraph::with_capacity(count, edges.len());
        for node in nodes {
            graph.add_node(node);
        }
        for &(from, to) in edges {
            if from >= to || to >= count {
                return Err(GraphError::Edge { from, to, nodes: count });
            }
            graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), ());
        }
        let graph = Self { graph, folded: 0, depends_on_input: true };
        graph.check()?;
        Ok(graph)
    }

    /// That all can be counted with, and something is computed.
    fn check(&self) -> Result<(), GraphError> {
        let (mut parameters, mut macs) = (0u64, 0u64);
        for (i, node) in self.nodes().enumerate() {
            let wrong = |what| {
                let operation = node.operation;
                Err(GraphError::Node { name: clipped(&node.name, 100).into(), operation, what })
            };
            let w = &node.window;
            let window = [w.kernel, w.stride, w.dilation];
            if w.groups == 0 || window.as_flattened().contains(&0) {
                return wrong("its kernel, stride, dilation and groups must be at least 1");
            }
            // In the middle, an empty tensor may be one part of several.
            let end = node.operation == Operation::Input || self.successors(i).next().is_none();
            if end && node.output.elements() == 0 {
                return wrong("this end of the network is an empty tensor");
            }
            let sums = (parameters.checked_add(node.parameters), macs.checked_add(node.macs));
            match sums {
                // What has saturated is no number either.
                (Some(p), Some(m)) if p < u64::MAX && m < u64::MAX => (parameters, macs) = (p, m),
                _ => return wrong("from here on the cost is beyond what can be counted (2^64)"),
            }
        }
        Ok(())
    }

    /// Records whether the outputs depend on the inputs.
    pub(crate) fn with_dependence(mut self, depends_on_input: bool) -> Self {
        self.depends_on_input = depends_on_input;
        self
    }

    /// Whether what the network puts out may change with what is put in; it can't where every path
    /// is multiplied by zero, as in the cells of NAS-Bench-201 that are not connected.
    pub fn depends_on_input(&self) -> bool {
        self.depends_on_input
    }

    /// Channels of the network's last output: of a classifier, its classes.
    pub fn classes(&self) -> u64 {
        let outputs = (0..self.len()).rev().filter(|&i| self.successors(i).next().is_none());
        outputs.map(|i| self.node(i).output.channels).next().unwrap_or(0)
    }

    /// Height and width of the images that the network takes, the largest if it takes several;
    /// none of a network for anything else.
    pub fn image(&self) -> Option<[u64; 2]> {
        let inputs = self.nodes().filter(|n| n.operation == Operation::Input).map(|n| n.output);
        let images =
            inputs.filter(|e| (1..=4).contains(&e.channels) && e.height > 1 && e.width > 1);
        images.map(|e| [e.height, e.width]).max()
    }

    /// Whether it takes images larger than benchmarks for small ones have (CIFAR, SVHN, ImageNet at
    /// 16 or 32 pixels).
    pub fn takes_large_images(&self) -> bool {
        self.image().is_some_and(|[height, width]| height.min(width) >= 64)
    }

    /// Records how many coefficients of the original network folding has absorbed.
    pub(crate) fn with_folded_parameters(mut self, folded: u64) -> Self {
        self.folded = folded;
        self
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Always false: a computation graph has at least one node.
    pub fn is_empty(&self) -> bool {
        self.graph.node_count() == 0
    }

    /// The nodes in topological order.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Node> {
        self.graph.raw_nodes().iter().map(|n| &n.weight)
    }

    /// The node at position `index` of [`nodes`](Self::nodes).
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn node(&self, index: usize) -> &Node {
        &self.graph[NodeIndex::new(index)]
    }

    /// The edges as pairs of positions, each from an earlier to a later node.
    pub fn edges(&self) -> impl ExactSizeIterator<Item = (usize, usize)> {
        self.graph.raw_edges().iter().map(|e| (e.source().index(), e.target().index()))
    }

    /// Positions of the nodes whose output the node at `index` reads.
    pub fn predecessors(&self, index: usize) -> impl Iterator<Item = usize> {
        self.graph
            .neighbors_directed(NodeIndex::new(index), Direction::Incoming)
            .map(NodeIndex::index)
    }

    /// Positions of the nodes that read the output of the node at `index`.
    pub fn successors(&self, index: usize) -> impl Iterator<Item = usize> {
        self.graph
            .neighbors_directed(NodeIndex::new(index), Direction::Outgoing)
            .map(NodeIndex::index)
    }

    /// The underlying graph, for petgraph's algorithms.
    pub fn as_petgraph(&self) -> &DiGraph<Node, ()> {
        &self.graph
    }

    /// Trained coefficients of the whole network.
    pub fn parameters(&self) -> u64 {
        self.nodes().map(|n| n.parameters).sum()
    }

    /// Coefficients of the original network that [`parameters`](Self::parameters) leaves out
    /// because folding has absorbed them: the factor of a batch normalisation after a
    /// convolution, a layer scale.
    pub fn folded_parameters(&self) -> u64 {
        self.folded
    }

    /// Multiply-accumulate operations of the whole network for one input.
    pub fn macs(&self) -> u64 {
        self.nodes().map(|n| n.macs).sum()
    }

    /// Length of the longest path, in nodes.
    pub fn depth(&self) -> usize {
        let mut depth = vec![1; self.len()];
        for to in 0..self.len() {
            depth[to] = 1 + self.predecessors(to).map(|from| depth[from]).max().unwrap_or(0);
        }
        depth.into_iter().max().unwrap_or(0)
    }
}
