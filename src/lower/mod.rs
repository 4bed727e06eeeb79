//! From a model graph to its canonical computation graph.
//!
//! The estimate must depend on the architecture, not on how it was written down. So lowering
//! keeps what computes and drops what only rearranges, retypes or copies elements (Reshape,
//! Transpose, Cast, Identity, Dropout, quantisation, …), writes every construct in one way (batch
//! normalisation folded, activations and normalisations written out in primitives recognised),
//! and describes tensors independently of their layout. In order:
//!
//! 1. `axes`: what every axis of every tensor means, followed through all layout changes;
//! 2. `operators`: a draft with one node per operator that computes;
//! 3. `rules`: named rewrites of the draft, until none applies, and nested sums made one;
//! 4. what remains alive becomes the [`ComputationGraph`].

mod axes;
#[cfg(test)]
mod costs;
mod dependence;
mod draft;
mod operators;
mod rules;

use crate::graph::{ComputationGraph, GraphError, Node, Operation};
use crate::model_graph::ModelGraph;
use draft::{Draft, Op};
use serde::Serialize;

/// Why a model graph has no computation graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// No output depends on an input.
    #[error("no output of the network depends on any of its inputs")]
    NothingComputed,
    /// The result is no valid graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// The canonical computation graph of a network.
///
/// # Errors
/// When no output depends on an input.
pub fn lower(graph: &ModelGraph) -> Result<ComputationGraph, LowerError> {
    traced(graph, &mut |_, _, _| {})
}

/// The same, and every rewrite that led to it, in order.
///
/// Operators that only rearrange, retype or copy elements never become nodes, and are not told of.
///
/// # Errors
/// When no output depends on an input.
pub fn explain(graph: &ModelGraph) -> Result<(ComputationGraph, Vec<Rewrite>), LowerError> {
    let mut rewrites = Vec::new();
    let graph = traced(graph, &mut |rule, before, after| {
        rewrites.push(Rewrite {
            rule,
            node: before.name.to_string(),
            before: before.op.name(),
            after: after.map(|node| node.op.name()),
        });
    })?;
    Ok((graph, rewrites))
}

/// What a rule did to a node of the draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Rewrite {
    /// The rule's name.
    pub rule: &'static str,
    /// The node's name.
    pub node: String,
    /// What it did.
    pub before: &'static str,
    /// What it does now; nothing if what reads it reads another instead.
    pub after: Option<&'static str>,
}

fn traced(
    graph: &ModelGraph,
    trace: &mut impl FnMut(&'static str, &draft::Node, Option<&draft::Node>),
) -> Result<ComputationGraph, LowerError> {
    let mut draft = operators::draft(graph);
    draft.merge_identical(trace);
    for stage in rules::STAGES {
        draft.rewrite(stage, trace);
    }
    draft.flatten_sums(trace);
    draft.merge_identical(trace);
    Ok(finish(draft)?.with_dependence(dependence::depends_on_input(graph)))
}

fn finish(draft: Draft) -> Result<ComputationGraph, LowerError> {
    let live = draft.into_live();
    let folded = live.iter().fold(0u64, |sum, n| sum.saturating_add(n.folded));
    if !live.iter().any(|n| n.is(Operation::Input)) {
        return Err(LowerError::NothingComputed);
    }
    let mut edges = Vec::with_capacity(live.len() * 5 / 4);
    let mut nodes = Vec::with_capacity(live.len());
    for (to, node) in live.into_iter().enumerate() {
        edges.extend(node.inputs.iter().map(|&from| (from, to)));
        nodes.push(Node {
            operation: match node.op {
                Op::Atom(operation) => operation,
                Op::Clip { .. } => Operation::Clip,
                Op::Power(_) => Operation::Pow,
                Op::IsNan => Operation::Logic,
                // Rules have bypassed these.
                Op::AddScalar(_) | Op::MulScalar(_) => Operation::Affine,
            },
            input: node.input,
            output: node.output,
            window: node.window,
            bias: node.bias,
            parameters: node.parameters.saturating_add(node.layers),
            macs: node.macs,
            name: node.name,
        });
    }
    Ok(ComputationGraph::new(nodes, &edges)?.with_folded_parameters(folded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Fingerprint;
    use crate::model_graph::{Attribute, Attributes, Builder, DataType, OpType, ValueId, ints};

    use crate::graph::Extent;

    const NONE: Attributes = Attributes::new();

    fn network(
        channels: usize,
        body: impl FnOnce(&mut Builder, ValueId) -> ValueId,
    ) -> ComputationGraph {
        let mut b = Builder::new("test", 17);
        let x = b.input("x", DataType::Float, &[1, channels, 8, 8]);
        let y = body(&mut b, x);
        b.output(y);
        lower(&b.finish()).unwrap()
    }

    fn node(b: &mut Builder, op: OpType, attributes: Attributes, inputs: &[ValueId]) -> ValueId {
        b.node(op, attributes, inputs).unwrap()
    }

    fn scalar(b: &mut Builder, value: f64) -> ValueId {
        let data = crate::model_graph::TensorData::Floats(vec![value]);
        b.constant("", DataType::Float, &[], Some(data))
    }

    fn conv(b: &mut Builder, x: ValueId, filters: usize, bias: bool) -> ValueId {
        let channels = b.value(x).shape[1];
        let mut inputs = vec![x, b.weight(&[filters, channels, 3, 3])];
        if bias {
            inputs.push(b.weight(&[filters]));
        }
        let attributes = NONE.with("pads", ints(&[1, 1, 1, 1]));
        node(b, OpType::Conv, attributes, &inputs)
    }

    fn operations(graph: &ComputationGraph) -> Vec<Operation> {
        graph.nodes().map(|n| n.operation).collect()
    }

    #[test]
    fn rewrites_are_told_by_rule_and_node() {
        let mut b = Builder::new("test", 17);
        let x = b.input("x", DataType::Float, &[1, 4, 8, 8]);
        let scale = b.weight(&[1, 4, 1, 1]);
        let y = conv(&mut b, x, 4, false);
        let y = node(&mut b, OpType::Mul, NONE, &[y, scale]);
        let y = node(&mut b, OpType::Relu, NONE, &[y]);
        let gate = node(&mut b, OpType::Sigmoid, NONE, &[y]);
        let y = node(&mut b, OpType::Mul, NONE, &[y, gate]);
        b.output(y);
        let graph = b.finish();
        let (lowered, rewrites) = explain(&graph).unwrap();
        assert_eq!(lowered.fingerprint(), lower(&graph).unwrap().fingerprint());
        let told: Vec<_> = rewrites.iter().map(|r| (r.rule, r.before, r.after)).collect();
        let expected = [
            ("affine_of_weighted", "affine", Some("conv")),
            ("gated_activation", "mul", Some("silu")),
        ];
        assert_eq!(told, expected);
        let name = |i: usize| graph.nodes()[i].name.to_string();
        assert_eq!(rewrites.iter().map(|r| r.node.clone()).collect::<Vec<_>>(), [name(1), name(4)]);
    }

    #[test]
    fn a_sum_computed_twice_is_one_in_either_order() {
        let graph = network(3, |b, x| {
            let y = node(b, OpType::Relu, NONE, &[x]);
            let sums = [[x, y], [y, x]].map(|terms| node(b, OpType::Add, NONE, &terms));
            node(b, OpType::Mul, NONE, &sums)
        });
        assert_eq!(operations(&graph).iter().filter(|o| **o == Operation::Add).count(), 1);
    }

    /// What is computed several times from the start on is computed once, in whatever order that
    /// stands in the file.
    #[test]
    fn chains_computed_several_times_are_one() {
        use OpType::{Erf, Relu, Sigmoid, Softplus, Tanh};
        use rand::{Rng, SeedableRng, rngs::StdRng};
        let steps = [Sigmoid, Tanh, Erf, Relu, Softplus];
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let graph = network(4, |b, x| {
                let mut chains = [(x, 0); 3];
                while let Some(i) = (0..100)
                    .map(|_| rng.gen_range(0..chains.len()))
                    .find(|&i| chains[i].1 < steps.len())
                {
                    let (end, step) = &mut chains[i];
                    *end = node(b, steps[*step].clone(), NONE, &[*end]);
                    // Some nodes have a second operand, which others read too.
                    if *step == 1 {
                        *end = node(b, OpType::Sub, NONE, &[*end, x]);
                    }
                    *step += 1;
                }
                node(b, OpType::Concat, NONE.with("axis", Attribute::Int(1)), &chains.map(|c| c.0))
            });
            assert_eq!(graph.len(), 2 + steps.len() + 1, "{seed}: {:?}", operations(&graph));
        }
    }

    /// A tensor that only takes its shape from the input has no node: what reads it alone reads none.
    #[test]
    fn what_reads_no_computed_tensor_is_lowered() {
        let mut b = Builder::new("test", 17);
        let shape = b.input("shape", DataType::Int64, &[2]);
        let x = b.input("x", DataType::Float, &[2, 3]);
        let declared = [Some((DataType::Float, [2, 3].into_iter().collect()))];
        let inputs = [Some(shape)].into_iter().collect();
        let filled = b
            .named_node("", OpType::ConstantOfShape, NONE, inputs, &[Some("")], &declared)
            .unwrap()[0]
            .unwrap();
        let clipped = node(&mut b, OpType::Clip, NONE, &[filled]);
        let difference = node(&mut b, OpType::Sub, NONE, &[clipped, filled]);
        let square = node(&mut b, OpType::Mul, NONE, &[difference, difference]);
        let sum = node(&mut b, OpType::Add, NONE, &[x, square]);
        b.output(sum);
        assert!(lower(&b.finish()).unwrap().depends_on_input());
    }

    #[test]
    fn batch_normalisation_becomes_a_bias() {
        let folded = network(3, |b, x| conv(b, x, 4, true));
        let written_out = network(3, |b, x| {
            let y = conv(b, x, 4, false);
            let statistics = [0; 4].map(|_| b.weight(&[4]));
            let inputs: Vec<ValueId> = [y].into_iter().chain(statistics).collect();
            node(b, OpType::BatchNormalization, NONE, &inputs)
        });
        assert_eq!(folded.fingerprint(), written_out.fingerprint());
        assert_eq!(folded.parameters(), 4 * 3 * 9 + 4);
        assert_eq!(written_out.parameters(), 4 * 3 * 9 + 4);
        // Scale and shift were 8 coefficients, of which the bias keeps 4.
        assert_eq!(written_out.folded_parameters(), 4);
        assert_eq!(folded.macs(), 4 * 8 * 8 * 3 * 9);
    }

    /// A window partition as in Swin keeps the map a map, and the order of statements is nothing.
    #[test]
    fn layout_is_followed_through_windows_and_heads() {
        let graph = network(32, |b, x| {
            let windows = b.int_vector(&[1, 32, 2, 4, 2, 4]);
            let x = node(b, OpType::Reshape, NONE, &[x, windows]);
            let perm = NONE.with("perm", ints(&[0, 2, 4, 3, 5, 1]));
            let x = node(b, OpType::Transpose, perm, &[x]);
            let tokens = b.int_vector(&[4, 16, 32]);
            let x = node(b, OpType::Reshape, NONE, &[x, tokens]);
            let w = b.weight(&[32, 64]);
            node(b, OpType::MatMul, NONE, &[x, w])
        });
        assert_eq!(operations(&graph), [Operation::Input, Operation::Linear]);
        let linear = graph.node(1);
        assert_eq!((linear.input, linear.output), (Extent::new(32, 8, 8), Extent::new(64, 8, 8)));
        assert_eq!(graph.macs(), 64 * 32 * 64);
    }

    #[test]
    fn activations_written_out_are_recognised() {
        type Write = fn(&mut Builder, ValueId) -> ValueId;
        let forms: [(Operation, Write); 5] = [
            (Operation::Silu, |b, x| {
                let gate = node(b, OpType::Sigmoid, NONE, &[x]);
                node(b, OpType::Mul, NONE, &[gate, x])
            }),
            (Operation::HardSwish, |b, x| {
                let (three, zero, six) = (scalar(b, 3.0), scalar(b, 0.0), scalar(b, 6.0));
                let y = node(b, OpType::Add, NONE, &[x, three]);
                let y = node(b, OpType::Clip, NONE, &[y, zero, six]);
                let y = node(b, OpType::Mul, NONE, &[x, y]);
                node(b, OpType::Div, NONE, &[y, six])
            }),
            (Operation::HardSigmoid, |b, x| {
                let (three, zero, six) = (scalar(b, 3.0), scalar(b, 0.0), scalar(b, 6.0));
                let y = node(b, OpType::Add, NONE, &[x, three]);
                let y = node(b, OpType::Clip, NONE, &[y, zero, six]);
                node(b, OpType::Div, NONE, &[y, six])
            }),
            (Operation::Gelu, |b, x| {
                let (root, one, half) = (scalar(b, 2f64.sqrt()), scalar(b, 1.0), scalar(b, 0.5));
                let y = node(b, OpType::Div, NONE, &[x, root]);
                let y = node(b, OpType::Erf, NONE, &[y]);
                let y = node(b, OpType::Add, NONE, &[y, one]);
                let y = node(b, OpType::Mul, NONE, &[x, y]);
                node(b, OpType::Mul, NONE, &[y, half])
            }),
            (Operation::Relu, |b, x| {
                let zero = scalar(b, 0.0);
                node(b, OpType::Max, NONE, &[zero, x])
            }),
        ];
        for (operation, write) in forms {
            let graph = network(3, write);
            assert_eq!(operations(&graph), [Operation::Input, operation]);
        }
        // ReLU6 has no sum before it.
        let relu6 = network(3, |b, x| {
            let (zero, six) = (scalar(b, 0.0), scalar(b, 6.0));
            node(b, OpType::Clip, NONE, &[x, zero, six])
        });
        assert_eq!(operations(&relu6), [Operation::Input, Operation::Clip]);
    }

    /// Two branches written down in either order, with sums nested in either way.
    fn branches(swapped: bool) -> Fingerprint {
        network(4, |b, x| {
            let wide = |b: &mut Builder| {
                let y = conv(b, x, 8, false);
                conv(b, y, 4, false)
            };
            let narrow = |b: &mut Builder| conv(b, x, 4, true);
            let (first, second) = match swapped {
                false => (wide(b), narrow(b)),
                true => (narrow(b), wide(b)),
            };
            let inner = node(b, OpType::Add, NONE, &[first, second]);
            match swapped {
                false => node(b, OpType::Add, NONE, &[inner, x]),
                true => node(b, OpType::Sum, NONE, &[second, x, first]),
            }
        })
        .fingerprint()
    }

    #[test]
    fn order_does_not_matter() {
        assert_eq!(branches(false), branches(true));
    }

    /// Whatever the brackets and the order, a sum is one node.
    #[test]
    fn sums_in_any_brackets_are_one_sum() {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        let with_brackets = |seed: u64| {
            let mut rng = StdRng::seed_from_u64(seed);
            let graph = network(4, |b, x| {
                let mut terms: Vec<ValueId> =
                    (1..=9).map(|width| conv(b, x, 2 * width, false)).collect();
                terms = terms.into_iter().map(|term| conv(b, term, 4, false)).collect();
                while terms.len() > 1 {
                    let count = rng.gen_range(2..=3.min(terms.len()));
                    let some: Vec<ValueId> = (0..count)
                        .map(|_| terms.swap_remove(rng.gen_range(0..terms.len())))
                        .collect();
                    terms.push(node(b, OpType::Sum, NONE, &some));
                }
                terms[0]
            });
            assert_eq!(operations(&graph).iter().filter(|o| **o == Operation::Add).count(), 1);
            graph.fingerprint()
        };
        assert!((1..8).all(|seed| with_brackets(seed) == with_brackets(0)));
    }

    /// Exporters and optimisers leave nodes behind that no output depends on.
    #[test]
    fn what_nothing_depends_on_is_as_good_as_not_there() {
        let with = |dead: bool| {
            network(4, |b, x| {
                let y = conv(b, x, 4, false);
                if dead {
                    let y = node(b, OpType::Sigmoid, NONE, &[y]);
                    conv(b, y, 8, false);
                }
                let scale = b.weight(&[4, 1, 1]);
                let y = node(b, OpType::Mul, NONE, &[y, scale]);
                if dead {
                    node(b, OpType::Add, NONE, &[x, y]);
                }
                y
            })
        };
        assert_eq!(with(true).fingerprint(), with(false).fingerprint());
        assert_eq!(operations(&with(true)), [Operation::Input, Operation::Conv]);
    }

    /// A weight counts with what an output depends on, although something else reads it before.
    #[test]
    fn what_nothing_depends_on_takes_no_weights_along() {
        let graph = network(4, |b, x| {
            let weight = b.weight(&[4, 4, 1, 1]);
            let y = node(b, OpType::Relu, NONE, &[x]);
            node(b, OpType::Conv, NONE, &[y, weight]);
            node(b, OpType::Conv, NONE, &[x, weight])
        });
        assert_eq!(graph.parameters(), 4 * 4);
    }

    /// A sum that something else reads too stays a sum of its own.
    #[test]
    fn a_sum_that_is_read_twice_is_computed_once() {
        let graph = network(4, |b, x| {
            let y = node(b, OpType::Sigmoid, NONE, &[x]);
            let inner = node(b, OpType::Add, NONE, &[x, y]);
            let z = node(b, OpType::Tanh, NONE, &[inner]);
            node(b, OpType::Add, NONE, &[inner, z])
        });
        assert_eq!(operations(&graph).iter().filter(|o| **o == Operation::Add).count(), 2);
    }

    #[test]
    fn batch_does_not_matter() {
        let fingerprint = |batch: usize| {
            let mut b = Builder::new("test", 17);
            let x = b.input("x", DataType::Float, &[batch, 3, 8, 8]);
            let flat = b.int_vector(&[batch as i64, -1]);
            let y = node(&mut b, OpType::Reshape, NONE, &[x, flat]);
            let weight = b.weight(&[192, 10]);
            let y = node(&mut b, OpType::MatMul, NONE, &[y, weight]);
            b.output(y);
            let graph = lower(&b.finish()).unwrap();
            (graph.fingerprint(), graph.macs())
        };
        assert_eq!(fingerprint(1), fingerprint(8));
    }

    #[test]
    fn what_only_moves_elements_is_dropped_but_parts_are_not() {
        let shuffled = network(4, |b, x| {
            let split = NONE.with("axis", Attribute::Int(1));
            let halves = b
                .named_node(
                    "",
                    OpType::Split,
                    split,
                    [Some(x)].into_iter().collect(),
                    &[Some(""); 2],
                    &[],
                )
                .unwrap();
            let (a, c) = (halves[0].unwrap(), halves[1].unwrap());
            node(b, OpType::Concat, NONE.with("axis", Attribute::Int(1)), &[c, a])
        });
        assert_eq!(operations(&shuffled), [Operation::Input]);
        let half = network(4, |b, x| {
            let (start, end, axis) = (b.int_vector(&[0]), b.int_vector(&[2]), b.int_vector(&[1]));
            node(b, OpType::Slice, NONE, &[x, start, end, axis])
        });
        assert_eq!(operations(&half), [Operation::Input, Operation::Slice]);
    }

    #[test]
    fn a_product_with_zero_is_not_a_scalar_like_others() {
        let times = |c: f64| {
            network(4, |b, x| {
                let c = scalar(b, c);
                node(b, OpType::Mul, NONE, &[x, c])
            })
        };
        assert_eq!(operations(&times(0.5)), [Operation::Input]);
        assert_eq!(operations(&times(0.0)), [Operation::Input, Operation::MulConstant]);
    }

    #[test]
    fn a_network_that_computes_nothing_is_an_error() {
        let mut b = Builder::new("test", 17);
        b.input("x", DataType::Float, &[1, 3]);
        let y = b.weight(&[1, 3]);
        b.output(y);
        assert_eq!(lower(&b.finish()).unwrap_err(), LowerError::NothingComputed);
    }

    /// A recurrent layer along the rows of a map runs once for every row.
    #[test]
    fn recurrent_layers_cost_all_their_sequences() {
        let (channels, hidden) = (3, 5);
        let graph = network(channels, |b, x| {
            let perm = NONE.with("perm", ints(&[3, 0, 2, 1]));
            let columns = node(b, OpType::Transpose, perm, &[x]);
            let shape = b.int_vector(&[8, 8, 3]);
            let sequences = node(b, OpType::Reshape, NONE, &[columns, shape]);
            let w = b.weight(&[1, 4 * hidden, channels]);
            let r = b.weight(&[1, 4 * hidden, hidden]);
            let size = NONE.with("hidden_size", Attribute::Int(hidden as i64));
            node(b, OpType::LSTM, size, &[sequences, w, r])
        });
        let each = 4 * hidden * (channels + hidden);
        assert_eq!(graph.macs(), (8 * 8 * each) as u64);
        assert_eq!(graph.parameters(), each as u64);
    }
}
