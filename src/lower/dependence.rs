//! Whether what a network puts out depends on what is put in.
//!
//! A product with zero lets nothing pass. NAS-Bench-201's cells without a path are such networks:
//! they compute, and their output is always the same.

use crate::model_graph::{Attribute, ModelGraph, Node, OpType, Origin, Value, ValueId};

/// What is known of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may change with the network's inputs.
    Varies,
    /// It is always the same.
    Fixed,
    /// It is always zero.
    Zero,
}
use State::{Fixed, Varies, Zero};

/// Whether some output of `graph` may change with its inputs. Weights count as numbers that training
/// may give any value: those that are zero now need not stay so.
pub(super) fn depends_on_input(graph: &ModelGraph) -> bool {
    let stored = |value: &Value| match &value.constant {
        Some(constant) if zeros(value, constant.origin) => Zero,
        Some(_) => Fixed,
        None => Varies,
    };
    let mut states: Vec<State> = graph.values().iter().map(stored).collect();
    for node in graph.nodes() {
        let state = state(graph, &states, node);
        for id in node.outputs.iter().flatten() {
            let known = &mut states[id.index()];
            *known = if *known == Zero { Zero } else { state };
        }
    }
    graph.outputs().iter().any(|id| states[id.index()] == Varies)
}

/// Whether a constant is zero for good: the network's own numbers, and single ones wherever they
/// stand, but no table that may be trained.
fn zeros(value: &Value, origin: Origin) -> bool {
    let Some(data) = value.data().filter(|_| origin != Origin::Stored || value.elements() == 1)
    else {
        return false;
    };
    !data.is_empty() && (0..data.len()).all(|i| data.get_f64(i) == Some(0.0))
}

fn state(graph: &ModelGraph, states: &[State], node: &Node) -> State {
    use OpType::*;
    let of = |id: ValueId| states[id.index()];
    let input = |i: usize| node.inputs.get(i).copied().flatten();
    let inputs = || node.inputs.iter().flatten().copied();
    let is_zero = |i: usize| input(i).is_some_and(|id| of(id) == Zero);
    // A product with zero, then a sum with what is there.
    let zero_plus = |i: usize| input(i).map_or(Zero, of);
    match node.op {
        Mul | MatMul if inputs().any(|id| of(id) == Zero) => return Zero,
        Gemm if is_zero(0) || is_zero(1) => return zero_plus(2),
        Conv | ConvTranspose if is_zero(0) || is_zero(1) => return zero_plus(2),
        Div if is_zero(0) => return Zero,
        Sub if input(0).is_some() && input(0) == input(1) => return Zero,
        Add | Sub | Sum | Mean | Concat if inputs().all(|id| of(id) == Zero) => return Zero,
        Identity | Cast | Dropout | Reshape | Flatten | Squeeze | Unsqueeze | Transpose
        | Expand | Tile | Slice | Split | Gather | Neg | Abs | Relu | LeakyRelu | MaxPool
        | AveragePool | GlobalAveragePool | GlobalMaxPool | ReduceMean | ReduceSum
            if is_zero(0) =>
        {
            return Zero;
        }
        ConstantOfShape => {
            let zero = match node.attributes.get("value") {
                Some(Attribute::Tensor { data, .. }) => {
                    data.as_ref().is_some_and(|data| data.get_f64(0) == Some(0.0))
                }
                other => other.is_none(),
            };
            return if zero { Zero } else { Fixed };
        }
        // Where the condition is the same everywhere, one of the two is not looked at.
        Where => {
            let condition = input(0).and_then(|id| graph.value(id).data());
            let first = condition.and_then(|c| c.get_f64(0));
            let same = condition.zip(first).is_some_and(|(c, first)| {
                (0..c.len()).all(|i| c.get_f64(i).is_some_and(|x| (x == 0.0) == (first == 0.0)))
            });
            if let (true, Some(first)) = (same, first) {
                return zero_plus(if first == 0.0 { 2 } else { 1 });
            }
        }
        _ => {}
    }
    if inputs().any(|id| of(id) == Varies) { Varies } else { Fixed }
}

#[cfg(test)]
mod tests {
    use super::super::lower;
    use super::*;
    use crate::model_graph::{Attributes, Builder, DataType, TensorData};
    use crate::spaces::Architecture;
    use crate::spaces::nasbench201::{Cell, Operation};

    /// Every cell of the space: the rule finds exactly those that have no path, of which there are
    /// 341 by a count of the 5⁶ cells over the four paths.
    #[test]
    fn nasbench201_has_341_cells_without_a_path() {
        let mut without = 0;
        for i in 0..5usize.pow(6) {
            let cell =
                Cell::new(std::array::from_fn(|e| Operation::ALL[i / 5usize.pow(e as u32) % 5]));
            let there = cell.operations().map(|o| o != Operation::None);
            let [a, b, c, d, e, f] = there;
            let path = d || (a && e) || (b && f) || (a && c && f);
            if !path {
                without += 1;
            }
            // Each cell that has none, and one in 50 of the others.
            if !path || i % 50 == 0 {
                assert_eq!(depends_on_input(&cell.build()), path, "{cell}");
            }
        }
        assert_eq!(without, 341);
    }

    type Body = fn(&mut Builder, ValueId) -> ValueId;

    fn depends(body: Body) -> bool {
        let mut b = Builder::new("test", 17);
        let x = b.input("x", DataType::Float, &[1, 4, 8, 8]);
        let y = body(&mut b, x);
        b.output(y);
        let graph = b.finish();
        let lowered = lower(&graph).unwrap();
        assert_eq!(lowered.depends_on_input(), depends_on_input(&graph));
        lowered.depends_on_input()
    }

    fn node(b: &mut Builder, op: OpType, inputs: &[ValueId]) -> ValueId {
        b.node(op, Attributes::new(), inputs).unwrap()
    }

    fn zero(b: &mut Builder) -> ValueId {
        b.constant("", DataType::Float, &[], Some(TensorData::Floats(vec![0.0])))
    }

    #[test]
    fn zeros_block_and_what_goes_around_them_does_not() {
        let blocked: [Body; 4] = [
            |b, x| {
                let zero = zero(b);
                node(b, OpType::Mul, &[x, zero])
            },
            // A constant after it is still a constant.
            |b, x| {
                let zero = zero(b);
                let y = node(b, OpType::Mul, &[zero, x]);
                let weights = [b.weight(&[4, 4, 1, 1]), b.weight(&[4])];
                let y = node(b, OpType::Conv, &[y, weights[0], weights[1]]);
                node(b, OpType::Sigmoid, &[y])
            },
            |b, x| {
                let y = node(b, OpType::Relu, &[x]);
                let zeros = node(b, OpType::Sub, &[y, y]);
                node(b, OpType::Mul, &[x, zeros])
            },
            // Both branches of a sum.
            |b, x| {
                let zero = zero(b);
                let (y, z) = (node(b, OpType::Relu, &[x]), node(b, OpType::Tanh, &[x]));
                let y = node(b, OpType::Mul, &[y, zero]);
                let z = node(b, OpType::Mul, &[z, zero]);
                node(b, OpType::Add, &[y, z])
            },
        ];
        for (i, body) in blocked.into_iter().enumerate() {
            assert!(!depends(body), "{i}");
        }
        let open: [Body; 4] = [
            |b, x| {
                let zero = zero(b);
                let y = node(b, OpType::Mul, &[x, zero]);
                node(b, OpType::Add, &[x, y])
            },
            |b, x| {
                let zero = zero(b);
                node(b, OpType::Add, &[x, zero])
            },
            // A scale per channel that training starts from zero.
            |b, x| {
                let scale = TensorData::Floats(vec![0.0; 4]);
                let scale = b.constant("", DataType::Float, &[4, 1, 1], Some(scale));
                node(b, OpType::Mul, &[x, scale])
            },
            |b, x| {
                let half = TensorData::Floats(vec![0.5]);
                let half = b.constant("", DataType::Float, &[], Some(half));
                node(b, OpType::Mul, &[x, half])
            },
        ];
        for (i, body) in open.into_iter().enumerate() {
            assert!(depends(body), "{i}");
        }
    }
}
