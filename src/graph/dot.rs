//! Graphviz output.

use super::ComputationGraph;
use petgraph::dot::{Config, Dot};

impl ComputationGraph {
    /// The graph in Graphviz's DOT language, a box per operation with its output extent.
    pub fn to_dot(&self) -> String {
        let label = |_: &_, (_, n): (_, &super::Node)| {
            let [kh, kw] = n.window.kernel;
            let kernel = if kh * kw > 1 { format!(" {kh}x{kw}") } else { String::new() };
            format!("shape=box, label=\"{}{kernel}\\n{}\"", n.operation, n.output)
        };
        let no_attributes = |_: &_, _| String::new();
        let config = &[Config::EdgeNoLabel, Config::NodeNoLabel];
        let dot = Dot::with_attr_getters(&self.graph, config, &no_attributes, &label);
        format!("{dot:?}")
    }
}
