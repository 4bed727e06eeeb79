//! Rewrites that bring a draft into canonical form.
//!
//! Each rule recognises one way of writing something and says what it is. None of them looks at
//! the elements of a weight, so they work on networks stored without weights.

use super::draft::{Bound, Draft, Index, Node, Op, Patch, Rule, digest};
use crate::graph::Operation;
use smallvec::SmallVec;

/// Applied one after the other, each until nothing changes: scalars tell HardSigmoid from ReLU6,
/// so what needs them comes first.
pub(super) const STAGES: [fn(&Op) -> &'static [Rule]; 2] = [with_scalars, without_scalars];

/// Rules under the names of their functions, by which a trace calls them.
macro_rules! rules {
    ($($rule:ident),+) => { &[$(Rule { name: stringify!($rule), patch: $rule }),+] };
}

/// The rules for nodes that do this, while there are scalars.
fn with_scalars(op: &Op) -> &'static [Rule] {
    match op {
        Op::Atom(Operation::Mul) => rules![square, hard_swish_in_one],
        Op::Clip { .. } => rules![clip_without_effect, clip_of_relu, hard_sigmoid],
        Op::MulScalar(_) => rules![hard_sigmoid],
        _ => &[],
    }
}

/// The rules for nodes that do this, the first of which removes scalars.
fn without_scalars(op: &Op) -> &'static [Rule] {
    use Operation::*;
    match op {
        Op::AddScalar(_) | Op::MulScalar(_) => rules![scalar],
        Op::Atom(Affine) => rules![affine_of_weighted, affine_of_affine, affine_of_norm],
        Op::Atom(Mul) => rules![square, gated_activation, tanh_gelu, layer_norm, rms_norm, l2_norm],
        Op::Atom(Div) => rules![layer_norm, rms_norm, l2_norm],
        Op::Atom(Select) => rules![guard_against_nan, softplus_with_threshold],
        Op::Atom(Slice) => rules![slice_of_slice],
        Op::Atom(Concat) => rules![slices_put_back],
        Op::Atom(Conv | DepthwiseConv | MaxPool | AveragePool) => rules![padding],
        Op::Atom(Relu) => rules![relu_twice],
        _ => &[],
    }
}

fn only_input(node: &Node) -> Option<Index> {
    match node.inputs.as_slice() {
        [i] => Some(*i),
        _ => None,
    }
}

/// Both ways round of an operation with two operands.
fn operands(node: &Node) -> impl Iterator<Item = (Index, Index)> {
    let pair = match node.inputs.as_slice() {
        &[a, b] => Some((a, b)),
        _ => None,
    };
    pair.into_iter().flat_map(|(a, b)| [(a, b), (b, a)])
}

/// x · x is x².
fn square(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    match node.inputs.as_slice() {
        [a, b] if a == b => Some(Patch::Become(Node {
            op: Op::Power(Some(2.0)),
            inputs: SmallVec::from_slice(&[*a]),
            ..node.clone()
        })),
        _ => None,
    }
}

/// Clip from 0 is ReLU; Clip without bounds is nothing.
fn clip_without_effect(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    match node.op {
        Op::Clip { low: Bound::Known(0.0), high: Bound::Open } => {
            Some(Patch::Become(node.becoming(Operation::Relu, &node.inputs)))
        }
        Op::Clip { low: Bound::Open, high: Bound::Open } => only_input(node).map(Patch::Bypass),
        _ => None,
    }
}

/// Clip(ReLU(x)) is Clip(x) from 0.
fn clip_of_relu(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    let Op::Clip { high, .. } = node.op else { return None };
    let relu = draft.only_use(only_input(node)?).filter(|n| n.is(Operation::Relu))?;
    let op = Op::Clip { low: Bound::Known(0.0), high };
    Some(Patch::Become(Node { op, inputs: relu.inputs.clone(), ..node.clone() }))
}

/// x, when the node is Clip(x + c) with both bounds.
fn clipped_sum(draft: &Draft, clip: Index) -> Option<Index> {
    let clip = draft.node(clip);
    match clip.op {
        Op::Clip { low, high } if low != Bound::Open && high != Bound::Open => {}
        _ => return None,
    }
    let sum = draft.node(only_input(clip)?);
    matches!(sum.op, Op::AddScalar(_)).then(|| only_input(sum))?
}

/// Clip(x + 3, 0, 6) · 1/6, or Clip(a · x + b, 0, 1).
fn hard_sigmoid(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    let x = match node.op {
        Op::MulScalar(_) => clipped_sum(draft, only_input(node)?)?,
        Op::Clip { .. } => {
            let scaled = draft.node(clipped_sum(draft, index)?);
            matches!(scaled.op, Op::MulScalar(_)).then(|| only_input(scaled))??
        }
        _ => return None,
    };
    Some(Patch::Become(node.becoming(Operation::HardSigmoid, &[x])))
}

/// x · Clip(x + 3, 0, 6), whose division by 6 follows.
fn hard_swish_in_one(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    let x = operands(node).find(|&(x, gate)| clipped_sum(draft, gate) == Some(x))?.0;
    Some(Patch::Become(node.becoming(Operation::HardSwish, &[x])))
}

/// A constant number added or multiplied says nothing about the architecture, unless it is 0.
fn scalar(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    match node.op {
        // Nothing passes.
        Op::MulScalar(Some(0.0)) => {
            Some(Patch::Become(node.becoming(Operation::MulConstant, &node.inputs)))
        }
        Op::AddScalar(_) | Op::MulScalar(_) => Some(Patch::Bypass(only_input(node)?)),
        _ => None,
    }
}

/// Coefficients per factor or shift of an affine node.
fn per_coefficient(affine: &Node) -> u64 {
    affine.parameters / u64::from(u8::from(affine.scale) + u8::from(affine.bias)).max(1)
}

/// Batch normalisation, layer scale or bias after a weighted operation is folded into it.
fn affine_of_weighted(draft: &Draft, index: Index) -> Option<Patch> {
    use Operation::*;
    let node = draft.node(index);
    let weighted = draft.only_use(only_input(node)?)?;
    let takes = [Conv, DepthwiseConv, ConvTranspose, Linear].into_iter().any(|op| weighted.is(op));
    // Those of another axis, such as tokens, are not the layer's.
    if !takes || weighted.output.channels != node.output.channels {
        return None;
    }
    let new_bias = node.bias && !weighted.bias;
    let added = if new_bias { per_coefficient(node) } else { 0 };
    Some(Patch::Become(Node {
        bias: weighted.bias || node.bias,
        parameters: weighted.parameters.saturating_add(added),
        folded: weighted.folded.saturating_add(node.folded) + node.parameters.saturating_sub(added),
        ..weighted.clone()
    }))
}

/// Two affine nodes are one.
fn affine_of_affine(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    let first = draft.only_use(only_input(node)?).filter(|n| n.is(Operation::Affine))?;
    if first.output.channels != node.output.channels {
        return None;
    }
    Some(Patch::Become(absorbing(first, node)))
}

/// Factor and shift after a normalisation are its own. If it has some already, these are the ones
/// and zeros that the exporter needs for the operator, and don't count.
fn affine_of_norm(draft: &Draft, index: Index) -> Option<Patch> {
    use Operation::*;
    let node = draft.node(index);
    let norm = draft.only_use(only_input(node)?)?;
    if ![LayerNorm, RmsNorm, GroupNorm, InstanceNorm].into_iter().any(|op| norm.is(op)) {
        return None;
    }
    let bare = Node { scale: false, bias: false, parameters: 0, ..norm.clone() };
    Some(Patch::Become(absorbing(if node.scale && node.bias { &bare } else { norm }, node)))
}

/// `first` with the factor and shift of the affine node that follows it.
fn absorbing(first: &Node, affine: &Node) -> Node {
    let each = per_coefficient(affine);
    let new = u64::from(affine.scale && !first.scale) + u64::from(affine.bias && !first.bias);
    let added = each.saturating_mul(new);
    Node {
        scale: first.scale || affine.scale,
        bias: first.bias || affine.bias,
        parameters: first.parameters.saturating_add(added),
        folded: first.folded.saturating_add(affine.folded)
            + affine.parameters.saturating_sub(added),
        ..first.clone()
    }
}

/// x · g(x) for the gates that make an activation of their own.
fn gated_activation(draft: &Draft, index: Index) -> Option<Patch> {
    use Operation::*;
    let node = draft.node(index);
    operands(node).find_map(|(x, gate)| {
        let gate = draft.node(gate);
        let inner = only_input(gate)?;
        let operation = match gate.op {
            Op::Atom(Sigmoid) if inner == x => Silu,
            Op::Atom(HardSigmoid) if inner == x => HardSwish,
            Op::Atom(Erf) if inner == x => Gelu,
            Op::Atom(Tanh) => {
                let softplus = draft.node(inner);
                (softplus.is(Softplus) && only_input(softplus) == Some(x)).then_some(Mish)?
            }
            _ => return None,
        };
        Some(Patch::Become(node.becoming(operation, &[x])))
    })
}

/// x · tanh(polynomial of x).
fn tanh_gelu(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    let x = operands(node)
        .find(|&(x, gate)| {
            let gate = draft.node(gate);
            gate.is(Operation::Tanh)
                && only_input(gate).is_some_and(|p| p != x && polynomial(draft, p, x, 4))
        })?
        .0;
    Some(Patch::Become(node.becoming(Operation::Gelu, &[x])))
}

/// Whether the node is computed from x alone by sums, products and powers.
fn polynomial(draft: &Draft, index: Index, x: Index, depth: u32) -> bool {
    if index == x {
        return true;
    }
    let node = draft.node(index);
    let arithmetic = matches!(
        node.op,
        Op::Power(_)
            | Op::Atom(Operation::Add | Operation::Mul)
            | Op::AddScalar(_)
            | Op::MulScalar(_)
    );
    depth > 0
        && arithmetic
        && !node.inputs.is_empty()
        && node.inputs.iter().all(|&i| polynomial(draft, i, x, depth - 1))
}

/// The operand of a mean, over whatever axes.
fn mean_of(draft: &Draft, index: Index) -> Option<Index> {
    let node = draft.node(index);
    let mean = node.is(Operation::ReduceMean) || node.is(Operation::GlobalAveragePool);
    mean.then(|| only_input(node))?
}

fn square_of(draft: &Draft, index: Index) -> Option<Index> {
    let node = draft.node(index);
    matches!(node.op, Op::Power(c) if c.is_none_or(|c| c == 2.0)).then(|| only_input(node))?
}

fn root_of(draft: &Draft, index: Index) -> Option<Index> {
    let node = draft.node(index);
    node.is(Operation::Sqrt).then(|| only_input(node))?
}

/// Numerator and denominator of a / b, or a · (1 / b), or a · b^(−1/2) (as a / √b).
fn quotient(draft: &Draft, index: Index) -> Option<(Index, Root)> {
    let node = draft.node(index);
    if node.is(Operation::Div) {
        return match node.inputs.as_slice() {
            &[a, b] => Some((a, root_of(draft, b).map_or(Root::Plain(b), Root::Of))),
            _ => None,
        };
    }
    operands(node).find_map(|(a, b)| {
        let b = draft.node(b);
        let below = only_input(b)?;
        match b.op {
            Op::Atom(Operation::Div) => {
                Some((a, root_of(draft, below).map_or(Root::Plain(below), Root::Of)))
            }
            Op::Power(Some(-0.5)) => Some((a, Root::Of(below))),
            _ => None,
        }
    })
}

/// A denominator: √x as `Of(x)`, or anything else.
enum Root {
    Of(Index),
    Plain(Index),
}

/// (x − mean x) / √(mean (x − mean x)²).
fn layer_norm(draft: &Draft, index: Index) -> Option<Patch> {
    let (centred, Root::Of(variance)) = quotient(draft, index)? else { return None };
    let difference = draft.node(centred);
    let &[x, mean] = difference.inputs.as_slice() else { return None };
    let is_difference = difference.is(Operation::Sub) && mean_of(draft, mean)? == x;
    let spread = square_of(draft, mean_of(draft, variance)?)?;
    // The second difference may have been computed apart from the first.
    let same = spread == centred
        || (draft.node(spread).is(Operation::Sub) && draft.node(spread).inputs.first() == Some(&x));
    if !is_difference || !same {
        return None;
    }
    let over_channels = draft.node(mean).output.channels == 1;
    let operation = if over_channels { Operation::LayerNorm } else { Operation::InstanceNorm };
    Some(Patch::Become(draft.node(index).becoming(operation, &[x])))
}

/// x / √(mean x²).
fn rms_norm(draft: &Draft, index: Index) -> Option<Patch> {
    let (x, Root::Of(mean)) = quotient(draft, index)? else { return None };
    (square_of(draft, mean_of(draft, mean)?)? == x)
        .then(|| Patch::Become(draft.node(index).becoming(Operation::RmsNorm, &[x])))
}

/// x / ‖x‖, with the norm kept from 0 by a Clip or not.
fn l2_norm(draft: &Draft, index: Index) -> Option<Patch> {
    let (x, below) = quotient(draft, index)?;
    let of_norm = |i: Index| {
        let node = draft.node(i);
        node.is(Operation::ReduceNorm).then(|| only_input(node))?
    };
    let of_sum = |i: Index| {
        let node = draft.node(i);
        let sum = node.is(Operation::ReduceSum).then(|| only_input(node))??;
        square_of(draft, sum)
    };
    let base = match below {
        Root::Of(sum) => of_sum(sum).or_else(|| of_norm(sum))?,
        Root::Plain(norm) => {
            let clipped = draft.node(norm);
            let norm = match clipped.op {
                Op::Clip { .. } => only_input(clipped)?,
                _ => norm,
            };
            of_norm(norm).or_else(|| of_sum(root_of(draft, norm)?))?
        }
    };
    (base == x).then(|| Patch::Become(draft.node(index).becoming(Operation::L2Norm, &[x])))
}

/// Where(IsNaN(x), 0, x), which PyTorch puts after the softmax of an attention.
fn guard_against_nan(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    let &[test, x] = node.inputs.as_slice() else { return None };
    let guarded = draft.node(test).op == Op::IsNan && only_input(draft.node(test)) == Some(x);
    guarded.then_some(Patch::Bypass(x))
}

/// Where(x > 20, x, softplus(x)), which is softplus as PyTorch computes it.
fn softplus_with_threshold(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    let &[test, a, b] = node.inputs.as_slice() else { return None };
    let reads = |i: Index, op: Operation, x: Index| {
        draft.node(i).is(op) && only_input(draft.node(i)) == Some(x)
    };
    let (softplus, _) = [(a, b), (b, a)].into_iter().find(|&(softplus, x)| {
        reads(softplus, Operation::Softplus, x) && reads(test, Operation::Logic, x)
    })?;
    Some(Patch::Bypass(softplus))
}

/// A part of a part is a part.
fn slice_of_slice(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    let outer = draft.node(only_input(node)?);
    outer.is(Operation::Slice).then(|| {
        Patch::Become(Node {
            inputs: outer.inputs.clone(),
            input: outer.input,
            key: digest(outer.key.iter().chain(&[i64::MIN]).chain(&node.key).copied()),
            ..node.clone()
        })
    })
}

/// All parts of a tensor put together again in whatever order (a cyclic shift, a shuffle)
/// compute nothing.
fn slices_put_back(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    if node.parameters > 0 || node.inputs.len() < 2 {
        return None;
    }
    let mut whole = None;
    let mut elements = 0u64;
    for &i in &node.inputs {
        let slice = draft.node(i);
        let from = slice.is(Operation::Slice).then(|| only_input(slice))??;
        if *whole.get_or_insert(from) != from {
            return None;
        }
        elements = elements.saturating_add(slice.output.elements());
    }
    let whole = whole?;
    let mut parts = node.inputs.clone();
    parts.sort_unstable();
    if parts.windows(2).any(|pair| pair[0] == pair[1]) {
        return None;
    }
    let extent = draft.node(whole).output;
    (extent == node.output && extent.elements() == elements).then_some(Patch::Bypass(whole))
}

/// Zero padding before a window is the window's own.
fn padding(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    let (first, rest) = node.inputs.split_first()?;
    let pad = draft.node(*first);
    if !pad.is(Operation::Pad) || !pad.window.padded {
        return None;
    }
    let mut new = node.clone();
    new.inputs = pad.inputs.iter().chain(rest).copied().collect();
    new.input = pad.input;
    new.window.padded = true;
    Some(Patch::Become(new))
}

/// ReLU(ReLU(x)) is ReLU(x).
fn relu_twice(draft: &Draft, index: Index) -> Option<Patch> {
    let node = draft.node(index);
    let first = only_input(node)?;
    draft.node(first).is(Operation::Relu).then_some(Patch::Bypass(first))
}
