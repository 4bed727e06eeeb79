//! Synaptic flow.

use super::{fan_in, is_gate, is_weighted};
use crate::graph::{ComputationGraph, Node, Operation};
use smallvec::SmallVec;

/// Expected synaptic flow (Tanaka et al. 2020, arXiv 2006.05467; as a proxy of accuracy Abdelfattah
/// et al. 2021, arXiv 2101.08134), as a natural logarithm.
///
/// Synaptic flow is Σ |θ · ∂R/∂θ| over all weights θ, where R is the sum of the network's outputs
/// for an input of ones when every weight is replaced by its absolute value and normalisation is
/// left out. With such weights all channels of a map have the same expectation, so one activation
/// for each node is all it takes; and what flows back through a node (activation times gradient,
/// summed over its elements) passes unchanged through linear operations and is shared out by sums
/// and concatenations. No weight is drawn, and it takes time linear in the size of the graph.
///
/// Weights are those that PyTorch starts from, uniform in ±1/√fan-in. Biases and padding are left
/// out, maxima count as means, and gates (sigmoid, softmax) as ones.
pub fn log_synflow(graph: &ComputationGraph) -> f64 {
    let nodes: Vec<&Node> = graph.nodes().collect();
    // Logarithms, since activations of deep networks leave the range of floating-point numbers.
    let mut activations = vec![0.0f64; nodes.len()];
    let mut all_parts = Vec::with_capacity(nodes.len());
    for i in 0..nodes.len() {
        let parts = parts(graph, &nodes, &activations, i);
        if !parts.is_empty() {
            activations[i] = match nodes[i].operation {
                Operation::Mul | Operation::MatMul => parts.iter().map(|&(_, part)| part).sum(),
                Operation::Concat => log_sum(&parts) - channels(nodes[i]),
                _ => log_sum(&parts) + log_gain(nodes[i]),
            };
        }
        all_parts.push(parts);
    }
    let result = |i: usize| (i, activations[i] + (nodes[i].output.elements().max(1) as f64).ln());
    let outputs: Vec<(usize, f64)> =
        (0..nodes.len()).filter(|&i| graph.successors(i).next().is_none()).map(result).collect();
    let total = log_sum(&outputs);

    // Shares of R, from the outputs back.
    let mut flow = vec![0.0f64; nodes.len()];
    for (i, output) in outputs {
        flow[i] = (output - total).exp();
    }
    let mut through_weights = 0.0;
    for (i, parts) in all_parts.into_iter().enumerate().rev() {
        if is_weighted(nodes[i]) {
            through_weights += flow[i];
        }
        let sum = log_sum(&parts);
        for (from, part) in parts {
            let product = matches!(nodes[i].operation, Operation::Mul | Operation::MatMul);
            // All of it, where there is nothing else.
            let whole = product || part == sum;
            flow[from] += flow[i] * if whole { 1.0 } else { (part - sum).exp() };
        }
    }
    total + through_weights.max(f64::MIN_POSITIVE).ln()
}

/// What each predecessor of a node brings along, as a logarithm: its activation, for each of its
/// channels where they are concatenated. Empty for what does not depend on the input's scale.
fn parts(
    graph: &ComputationGraph,
    nodes: &[&Node],
    activations: &[f64],
    i: usize,
) -> SmallVec<[(usize, f64); 2]> {
    if is_gate(nodes[i]) {
        return SmallVec::new();
    }
    let part = |p: usize| match nodes[i].operation {
        Operation::Concat => (p, activations[p] + channels(nodes[p])),
        _ => (p, activations[p]),
    };
    graph.predecessors(i).map(part).collect()
}

fn log_sum(parts: &[(usize, f64)]) -> f64 {
    if let [(_, only)] = parts {
        return *only;
    }
    let most = parts.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + parts.iter().map(|p| (p.1 - most).exp()).sum::<f64>().ln()
}

fn channels(node: &Node) -> f64 {
    (node.output.channels.max(1) as f64).ln()
}

/// Logarithm of what a node multiplies activations by: fan-in times the mean absolute weight.
fn log_gain(node: &Node) -> f64 {
    if !is_weighted(node) {
        return 0.0;
    }
    (fan_in(node).max(1.0).sqrt() / 2.0).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lower::lower, onnx};
    use std::path::Path;

    /// Against synaptic flow measured in PyTorch, the mean of some draws of the weights.
    #[test]
    fn agrees_with_synaptic_flow_in_pytorch() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/synflow");
        let text = std::fs::read_to_string(folder.join("synflow.json")).unwrap();
        let measured: std::collections::BTreeMap<String, f64> =
            serde_json::from_str(&text).unwrap();
        assert!(measured.len() > 5);
        for (name, expected) in measured {
            let path = folder.join(format!("{name}.onnx"));
            let model = onnx::read(&path, &onnx::ReadOptions::default()).unwrap();
            let ours = log_synflow(&lower(&model).unwrap());
            assert!((ours - expected).abs() < 0.35, "{name}: {ours:.3}, not {expected:.3}");
        }
    }
}
