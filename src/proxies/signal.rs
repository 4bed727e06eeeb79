//! How much of an untrained network's output is still linear in its input.

use super::{is_gate, is_weighted, normalises};
use crate::graph::{ComputationGraph, Node, Operation};
use std::f64::consts::{FRAC_1_SQRT_2, PI};
use std::sync::LazyLock;

/// −ln of the share of the signal's variance that a rectifier keeps linear, when its input has mean
/// 0: (1/4) / (1/2 − 1/2π).
pub const RECTIFIER: f64 = 0.309_967_078;

/// Mean, variance, and the part of the variance that is linear in the network's input.
#[derive(Debug, Clone, Copy, Default)]
struct Signal {
    mean: f64,
    variance: f64,
    linear: f64,
}

/// −ln of the share of the variance that is linear in the input, where the signal enters the last
/// weighted node, and 0 without one.
///
/// Every node is taken as its statistics over random inputs and weights, at the limit of infinite
/// width: weighted and normalising nodes put out mean 0 and variance 1 and keep the linear share;
/// sums add up; concatenations average by channels; a mean over n elements divides variances by √n;
/// gates weigh signals without carrying them. Of an activation function f, whose input is
/// M + √V x with x standard normal, the linear part shrinks by the square of its first Hermite
/// coefficient, (E f(M + √V x) x)² / V (Poole et al. 2016, Saxe et al. 2014): a rectifier at mean 0
/// leaves .734 of it, SiLU .799, GELU .723.
pub fn nonlinear_depth(graph: &ComputationGraph) -> f64 {
    let nodes: Vec<&Node> = graph.nodes().collect();
    let mut signals: Vec<Signal> = Vec::with_capacity(nodes.len());
    let mut depth = 0.0;
    for (i, node) in nodes.iter().enumerate() {
        let combined = combined(graph, &nodes, &signals, i);
        if is_weighted(node)
            && let Some(Signal { variance, linear, .. }) = combined
            && variance > 0.0
        {
            depth = -(linear / variance).max(f64::MIN_POSITIVE).ln();
        }
        signals.push(combined.map_or(START, |signal| pass(node, signal)));
    }
    // A share of one may be off by a rounding.
    depth.max(0.0)
}

/// What enters the network.
const START: Signal = Signal { mean: 0.0, variance: 1.0, linear: 1.0 };

/// What a node's operands are together, or none for a node without operands.
fn combined(
    graph: &ComputationGraph,
    nodes: &[&Node],
    signals: &[Signal],
    i: usize,
) -> Option<Signal> {
    let (mut sum, mut count, mut channels) = (Signal::default(), 0u32, 0.0);
    for p in graph.predecessors(i) {
        count += 1;
        let node = nodes[i];
        if matches!(node.operation, Operation::Mul | Operation::MatMul) && is_gate(nodes[p]) {
            continue;
        }
        let weight = match node.operation {
            Operation::Concat => nodes[p].output.channels as f64,
            _ => 1.0,
        };
        channels += weight;
        sum.mean += weight * signals[p].mean;
        sum.variance += weight * signals[p].variance;
        sum.linear += weight * signals[p].linear;
    }
    if nodes[i].operation == Operation::Concat && channels > 0.0 {
        sum = scaled(sum, 1.0 / channels, 1.0 / channels);
    }
    // Sums of sums of one map must not leave the range of numbers.
    if sum.variance > 1e100 {
        sum = scaled(sum, 1e-50, 1e-100);
    }
    (count > 0).then_some(sum)
}

fn scaled(signal: Signal, mean: f64, variance: f64) -> Signal {
    Signal {
        mean: signal.mean * mean,
        variance: signal.variance * variance,
        linear: signal.linear * variance,
    }
}

/// What a node makes of what enters it.
fn pass(node: &Node, signal: Signal) -> Signal {
    use Operation::*;
    let whitened = || match signal.variance {
        v if v > 0.0 => Signal { mean: 0.0, variance: 1.0, linear: signal.linear / v },
        _ => Signal { mean: 0.0, variance: 1.0, linear: 0.0 },
    };
    let activated = |f: fn(f64) -> f64| activated(signal, f);
    match node.operation {
        _ if is_weighted(node) || normalises(node) => whitened(),
        AveragePool => {
            let elements: f64 = node.window.kernel.map(f64::from).iter().product();
            scaled(signal, 1.0, 1.0 / elements.sqrt())
        }
        Relu | Clip => rectified(signal),
        LeakyRelu => activated(|x| x.max(0.01 * x)),
        // The slope that it is initialised with.
        PRelu => activated(|x| x.max(0.25 * x)),
        Elu => activated(|x| if x > 0.0 { x } else { x.exp_m1() }),
        Silu => activated(|x| x * sigmoid(x)),
        HardSwish => activated(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        Gelu => activated(|x| x * normal_cdf(x)),
        Mish => activated(|x| x * x.exp().ln_1p().tanh()),
        Tanh => activated(f64::tanh),
        Sigmoid => activated(sigmoid),
        HardSigmoid => activated(|x| (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        Softplus => activated(|x| x.exp().ln_1p()),
        Softsign => activated(|x| x / (1.0 + x.abs())),
        Erf => activated(|x| 2.0 * normal_cdf(x * std::f64::consts::SQRT_2) - 1.0),
        Abs => activated(f64::abs),
        _ => signal,
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A rectifier, in closed form.
fn rectified(Signal { mean, variance, linear }: Signal) -> Signal {
    if variance <= 0.0 {
        return Signal { mean: mean.max(0.0), variance: 0.0, linear: 0.0 };
    }
    let deviation = variance.sqrt();
    let t = mean / deviation;
    let density = (-0.5 * t * t).exp() / (2.0 * PI).sqrt();
    let share = normal_cdf(t);
    let mean = deviation * (density + t * share);
    let square = variance * ((t * t + 1.0) * share + t * density);
    Signal { mean, variance: (square - mean * mean).max(0.0), linear: linear * share * share }
}

/// Any other activation function, by quadrature.
fn activated(Signal { mean, variance, linear }: Signal, f: fn(f64) -> f64) -> Signal {
    if variance <= 0.0 {
        return Signal { mean: f(mean), variance: 0.0, linear: 0.0 };
    }
    let deviation = variance.sqrt();
    let (mut first, mut second, mut slope) = (0.0, 0.0, 0.0);
    for &(x, weight) in GRID.iter() {
        // Beyond this, functions are straight, and exponentials would overflow.
        let y = f((mean + deviation * x).clamp(-1e3, 1e3));
        first += weight * y;
        second += weight * y * y;
        slope += weight * y * x;
    }
    let linear = linear * slope * slope / variance;
    Signal { mean: first, variance: (second - first * first).max(linear), linear }
}

/// Points and weights that integrate against the normal density: the trapezoidal rule, which
/// converges faster than any power of the step for smooth functions and as its square for kinks.
static GRID: LazyLock<Vec<(f64, f64)>> = LazyLock::new(|| {
    const STEPS: i32 = 64;
    let point = |i: i32| {
        let x = f64::from(i) / 8.0;
        (x, (-0.5 * x * x).exp() / (2.0 * PI).sqrt() / 8.0)
    };
    (-STEPS..=STEPS).map(point).collect()
});

/// Cumulative distribution function of the normal distribution, to 1e-7 (Abramowitz and Stegun
/// 1964, 7.1.26).
fn normal_cdf(x: f64) -> f64 {
    let z = x.abs() * FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let polynomial = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429]
        .iter()
        .rev()
        .fold(0.0, |sum, c| (sum + c) * t);
    let erf = 1.0 - polynomial * (-z * z).exp();
    0.5 * (1.0 + erf.copysign(x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Extent, Window};

    fn node(operation: Operation) -> Node {
        Node {
            operation,
            input: Extent::new(8, 8, 8),
            output: Extent::new(8, 8, 8),
            window: Window::default(),
            bias: false,
            parameters: 64,
            macs: 4096,
            name: "".into(),
        }
    }

    fn depth_of(operations: &[Operation], edges: &[(usize, usize)]) -> f64 {
        let nodes = operations.iter().map(|&o| node(o)).collect();
        nonlinear_depth(&ComputationGraph::new(nodes, edges).unwrap())
    }

    fn chain(operations: &[Operation]) -> f64 {
        let edges: Vec<_> = (1..operations.len()).map(|i| (i - 1, i)).collect();
        depth_of(operations, &edges)
    }

    #[test]
    fn layers_of_a_chain_add_up() {
        use Operation::*;
        for (activation, kept) in [(Relu, 0.7336), (Silu, 0.799), (HardSwish, 0.822), (Gelu, 0.723)]
        {
            for k in 0..30 {
                let mut operations = vec![Input];
                (0..k).for_each(|_| operations.extend([Conv, activation]));
                operations.push(Linear);
                let expected = -f64::from(k) * f64::ln(kept);
                let depth = chain(&operations);
                assert!((depth - expected).abs() < 2e-3 * f64::from(k) + 1e-6, "{k}: {depth}");
            }
        }
        assert!((chain(&[Input, Conv, Relu, Linear]) - RECTIFIER).abs() < 1e-6);
    }

    /// One half stays as it was: (1 + 1/4) / (1 + 1/2 − 1/2π) of the variance is linear.
    #[test]
    fn a_skip_connection_relieves() {
        use Operation::*;
        let edges = [(0, 1), (1, 2), (1, 3), (2, 3), (3, 4)];
        let depth = depth_of(&[Input, Conv, Relu, Add, Linear], &edges);
        let variance = 1.5 - 0.5 / PI;
        assert!((depth + (1.25f64 / variance).ln()).abs() < 1e-6, "{depth}");
        assert!(depth < chain(&[Input, Conv, Relu, Linear]));
    }

    #[test]
    fn gates_carry_nothing() {
        use Operation::*;
        let edges = [(0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (4, 5), (5, 6)];
        let squeezed = [Input, Conv, GlobalAveragePool, Linear, Sigmoid, Mul, Linear];
        assert!(depth_of(&squeezed, &edges).abs() < 1e-9);
    }

    #[test]
    fn endless_doubling_stays_finite() {
        let mut operations = vec![Operation::Input, Operation::Conv];
        let mut edges = vec![(0, 1)];
        for _ in 0..2000 {
            let from = operations.len() - 1;
            operations.extend([Operation::Relu, Operation::Add]);
            edges.extend([(from, from + 1), (from, from + 2), (from + 1, from + 2)]);
        }
        operations.push(Operation::Linear);
        edges.push((operations.len() - 2, operations.len() - 1));
        let depth = depth_of(&operations, &edges);
        assert!(depth.is_finite() && depth >= 0.0, "{depth}");
    }
}
