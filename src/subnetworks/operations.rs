//! Operations that others can take the place of.

use super::propagate::Axes;
use crate::model_graph::{ModelGraph, Node, OpType, ValueId};
use smallvec::SmallVec;
use std::fmt;

/// A convolution whose kernel can shrink: odd, with padding that keeps it centred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The convolution's output.
    pub tensor: ValueId,
    /// The largest extent of its kernel.
    pub extent: usize,
    /// Position of the node.
    pub(super) node: usize,
}

impl Kernel {
    /// The extents that it can have, the present one first.
    pub fn choices(&self) -> impl ExactSizeIterator<Item = usize> {
        let extent = self.extent;
        (0..extent.div_ceil(2)).map(move |i| extent - 2 * i)
    }
}

/// An activation function that can stand for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x · sigmoid(x).
    Silu,
    /// x · max(min(x / 6 + 1/2, 1), 0).
    HardSwish,
}

impl Activation {
    pub(super) const ALL: [Self; 3] = [Self::Relu, Self::Silu, Self::HardSwish];
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relu => "relu",
            Self::Silu => "silu",
            Self::HardSwish => "hardswish",
        })
    }
}

/// A place where an activation function stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivationSite {
    /// The activation's output,
    pub tensor: ValueId,
    /// and what it is applied to.
    pub operand: ValueId,
    /// The functions that can take its place.
    pub others: Vec<Activation>,
    /// Position of the node.
    pub(super) node: usize,
}

/// Convolutions whose weight is stored and theirs alone.
pub(super) fn kernels(graph: &ModelGraph, live: &[bool], of: &[Axes]) -> Vec<Kernel> {
    let mut uses = vec![0usize; graph.values().len()];
    graph.nodes().iter().flat_map(|n| n.inputs.iter().flatten()).for_each(|i| uses[i.index()] += 1);
    let of_node = |(node, conv): (usize, &Node)| {
        let weight = conv.inputs.get(1).copied().flatten()?;
        let tensor = conv.outputs.first().copied().flatten()?;
        let value = graph.value(weight);
        let extents = value.shape.get(2..).unwrap_or_default();
        let extent = *extents.iter().max()?;
        let fits = conv.op == OpType::Conv
            && live[node]
            && value.is_constant()
            && value.producer.is_none()
            && uses[weight.index()] == 1
            && of[weight.index()].iter().skip(2).all(|&a| a == super::propagate::WHOLE)
            && matches!(conv.attributes.str("auto_pad"), None | Some("NOTSET"))
            && (3..=64).contains(&extent)
            && centred(conv, extents);
        fits.then_some(Kernel { tensor, extent, node })
    };
    graph.nodes().iter().enumerate().filter_map(of_node).collect()
}

/// Whether the kernel is odd and the padding on every side reaches as far as half of it.
fn centred(conv: &Node, extents: &[usize]) -> bool {
    let dilations = conv.attributes.ints("dilations");
    let reach: SmallVec<[i64; 6]> = extents
        .iter()
        .enumerate()
        .map(|(i, &k)| (k as i64 / 2).saturating_mul(dilations.map_or(1, |d| d[i])))
        .collect();
    let twice: SmallVec<[i64; 6]> = reach.iter().chain(&reach).copied().collect();
    extents.iter().all(|k| k % 2 == 1) && conv.attributes.ints("pads") == Some(&twice)
}

/// Activation functions, those of two nodes included.
pub(super) fn activations(graph: &ModelGraph, live: &[bool]) -> Vec<ActivationSite> {
    let of_node = |(node, site): (usize, &Node)| {
        let tensor = site.outputs.first().copied().flatten()?;
        let first = site.inputs.first().copied().flatten()?;
        let (present, operand) = match site.op {
            OpType::Relu => (Some(Activation::Relu), first),
            OpType::HardSwish => (Some(Activation::HardSwish), first),
            OpType::LeakyRelu | OpType::Elu | OpType::Gelu | OpType::MsGelu | OpType::Mish => {
                (None, first)
            }
            OpType::Mul => (Some(Activation::Silu), gated(graph, site)?),
            _ => return None,
        };
        let value = graph.value(tensor);
        let wanted = live[node] && !value.is_constant() && value.dtype.is_float();
        let known = |a: &Activation| *a != Activation::HardSwish || graph.opset() >= 14;
        let others = Activation::ALL.into_iter().filter(|a| Some(*a) != present && known(a));
        wanted.then(|| ActivationSite { tensor, others: others.collect(), node, operand })
    };
    graph.nodes().iter().enumerate().filter_map(of_node).collect()
}

/// x, of x · sigmoid(x).
fn gated(graph: &ModelGraph, product: &Node) -> Option<ValueId> {
    let &[Some(a), Some(b)] = product.inputs.as_slice() else { return None };
    [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        let gate = &graph.nodes()[graph.value(gate).producer?.index()];
        let matches = gate.op == OpType::Sigmoid && gate.inputs.as_slice() == [Some(x)];
        matches.then_some(x)
    })
}
