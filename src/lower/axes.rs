//! What each axis of each tensor means: batch, channel, height or width.
//!
//! Exporters lay the same network out in different ways: a map may be flattened to tokens, cut into
//! windows, moved to channels-last, split into heads. To describe a tensor as
//! `[channels, height, width]` whatever its layout, every axis carries the factors it is made of,
//! each with its role. Reshape regroups factors (splitting one where it must), Transpose permutes
//! them, and arithmetic replaces them; so a Swin window of `[windows, tokens, channels]` is still
//! known to be a 56 × 56 map of 96 channels.

use crate::graph::Extent;
use crate::model_graph::infer::conv_pool::{channels_first, channels_last, last_again};
use crate::model_graph::infer::einsum::{Label, equation};
use crate::model_graph::infer::matmul::{Side, turned};
use crate::model_graph::infer::{self, layout};
use crate::model_graph::{Batch, Class, DataType, ModelGraph, Node, OpType, Value, ValueId};
use smallvec::{SmallVec, smallvec};

/// What a factor of an axis runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Batch,
    Channel,
    /// Height; also tokens of a sequence, and depth of a volume.
    Height,
    Width,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Factor {
    pub role: Role,
    pub size: usize,
}

/// The factors of one axis, outermost first; their product is the axis' extent.
pub(super) type Axis = SmallVec<[Factor; 2]>;

/// All axes of a tensor.
pub(super) type Axes = SmallVec<[Axis; 4]>;

fn axis(role: Role, size: usize) -> Axis {
    smallvec![Factor { role, size }]
}

/// The role that stands for a whole axis: channels win, since that is what arithmetic mixes.
fn dominant(axis: &Axis) -> Option<Role> {
    let channel = axis.iter().any(|f| f.role == Role::Channel);
    if channel { Some(Role::Channel) } else { axis.first().map(|f| f.role) }
}

/// The axis resized: as it was if the extent is the same, else one factor of its dominant role.
fn resized(from: &Axis, size: usize) -> Axis {
    match from.iter().map(|f| f.size).product::<usize>() == size && !from.is_empty() {
        true => from.clone(),
        false => axis(dominant(from).unwrap_or(Role::Channel), size),
    }
}

/// `[channels, height, width]` of a tensor with these axes, for one element of the batch.
pub(super) fn extent(axes: &Axes) -> Extent {
    let mut extent = Extent::new(1, 1, 1);
    for factor in axes.iter().flatten() {
        let size = factor.size as u64;
        let target = match factor.role {
            Role::Batch => continue,
            Role::Channel => &mut extent.channels,
            Role::Height => &mut extent.height,
            Role::Width => &mut extent.width,
        };
        *target = target.saturating_mul(size);
    }
    extent
}

/// The usual meaning of a tensor of this shape, when nothing else is known.
pub(super) fn usual(shape: &[usize]) -> Axes {
    use Role::*;
    let roles: &[Role] = match shape.len() {
        0 => &[],
        1 => &[Channel],
        2 => &[Batch, Channel],
        3 => &[Batch, Height, Channel],
        4 => &[Batch, Channel, Height, Width],
        5 => &[Batch, Channel, Height, Height, Width],
        _ => &[Batch, Channel],
    };
    let role = |i: usize| roles.get(i).copied().unwrap_or(Height);
    shape.iter().enumerate().map(|(i, &size)| axis(role(i), size)).collect()
}

/// Meaning of an input of the network.
fn of_input(value: &Value) -> Axes {
    let mut axes = usual(&value.shape);
    match (value.shape.as_slice(), value.dtype) {
        // Token indices.
        (&[_, tokens], DataType::Int64 | DataType::Int32 | DataType::Bool) => {
            axes[1] = axis(Role::Height, tokens);
        }
        // An image with its channels last.
        (&[_, h, w, c], _) if c <= 4 && h > 4 => {
            axes[1] = axis(Role::Height, h);
            axes[2] = axis(Role::Width, w);
            axes[3] = axis(Role::Channel, c);
        }
        _ => {}
    }
    axes
}

/// Meaning of `[batch, channels, spatial…]`, as a convolution reads it.
pub(super) fn positional(batch: &Axis, shape: &[usize]) -> Axes {
    let mut axes = usual(shape);
    if shape.len() == 3 {
        axes[1] = axis(Role::Channel, shape[1]);
        axes[2] = axis(Role::Height, shape[2]);
    }
    axes[0] = resized(batch, shape[0]);
    axes
}

/// Factors regrouped into a new shape, in row-major order; `None` where the shapes do not align.
fn regrouped(from: &Axes, shape: &[usize]) -> Option<Axes> {
    let mut factors: SmallVec<[Factor; 8]> = SmallVec::new();
    for &factor in from.iter().flatten().filter(|f| f.size != 1) {
        match factors.last_mut() {
            Some(last) if last.role == factor.role => {
                last.size = last.size.checked_mul(factor.size)?;
            }
            _ => factors.push(factor),
        }
    }
    let mut factors = factors.into_iter().peekable();
    let mut axes = Axes::new();
    for &size in shape {
        let mut need = size;
        let mut axis = Axis::new();
        while need != 1 {
            let factor = factors.peek_mut()?;
            if factor.size != 0 && need % factor.size == 0 {
                need /= factor.size;
                axis.push(*factor);
                factors.next();
            } else if need != 0 && factor.size % need == 0 {
                factor.size /= need;
                axis.push(Factor { role: factor.role, size: need });
                need = 1;
            } else {
                return None;
            }
        }
        axes.push(axis);
    }
    Some(axes)
}

/// Axes of `shape` where each comes from the operand that is not broadcast along it.
fn broadcast(operands: &[(&[usize], Option<&Axes>)], shape: &[usize]) -> Axes {
    let usual = usual(shape);
    (0..shape.len())
        .map(|i| {
            let candidates = operands.iter().filter_map(|(from, axes)| {
                let at = (i + from.len()).checked_sub(shape.len())?;
                let axis = axes.as_ref()?.get(at)?;
                (from[at] == shape[i]).then_some(axis)
            });
            let known = candidates.clone().find(|a| !a.is_empty()).or(candidates.clone().next());
            known.cloned().unwrap_or_else(|| usual[i].clone())
        })
        .collect()
}

/// The axes with the batch where it is, and nowhere else: what stands in its usual place without
/// being one (images joined along the first axis, regions of interest, steps of a sequence, points
/// of a set) counts for each input, like tokens.
fn with_batch(mut axes: Axes, batch: &Batch, id: ValueId, value: &Value) -> Axes {
    let place = batch.place(id);
    for (i, axis) in axes.iter_mut().enumerate() {
        let Some(place) = place.filter(|p| p.axis == i) else {
            for factor in axis.iter_mut().filter(|f| f.role == Role::Batch && f.size != 1) {
                factor.role = Role::Height;
            }
            continue;
        };
        let own = Factor { role: Role::Batch, size: batch.size() };
        let rest = value.shape[i].checked_div(own.size).unwrap_or(0);
        axis.retain(|f| f.role != Role::Batch);
        if axis.iter().map(|f| f.size).product::<usize>() != rest {
            let role = dominant(axis).unwrap_or(Role::Height);
            *axis = smallvec![Factor { role, size: rest }];
            axis.retain(|f| f.size != 1);
        }
        let at = if place.inner == 1 { axis.len() } else { 0 };
        axis.insert(at, own);
    }
    axes
}

/// Whether these can be the axes of a tensor of this shape.
fn fit(axes: &Axes, shape: &[usize]) -> bool {
    let sizes = axes.iter().map(|axis| axis.iter().map(|f| f.size).product::<usize>());
    axes.len() == shape.len() && sizes.eq(shape.iter().copied())
}

/// Axes of one or more values.
struct Distinct {
    axes: Axes,
    extent: Extent,
    /// Whether they are the axes of what is computed from the value element by element: they are as
    /// long as its own, and none is without factors, which takes what it can from other operands.
    whole: bool,
}

/// Axes of every value of a graph.
pub(super) struct AxesMap {
    /// Most tensors have the axes of the one that they are computed from.
    distinct: Vec<Distinct>,
    /// Of each value, the position of its axes; `None` for constants.
    of: Vec<Option<u32>>,
}

impl AxesMap {
    pub(super) fn new(graph: &ModelGraph) -> Self {
        let mut map = Self { distinct: Vec::new(), of: vec![None; graph.values().len()] };
        for &id in graph.inputs() {
            let value = graph.value(id);
            map.put(id, with_batch(of_input(value), graph.batch(), id, value), value);
        }
        for node in graph.nodes() {
            let node = &*node.plain();
            let first = node.inputs.first().copied().flatten();
            for (i, id) in node.outputs.iter().enumerate() {
                let Some(id) = *id else { continue };
                let value = graph.value(id);
                if value.is_constant() {
                    continue;
                }
                let kept = first.and_then(|first| map.of[first.index()]);
                let Some(axes) = map.of_output(graph, node, i, id) else {
                    map.of[id.index()] = kept;
                    continue;
                };
                // Not where the shape was declared rather than inferred.
                let axes = if fit(&axes, &value.shape) { axes } else { usual(&value.shape) };
                let axes = with_batch(axes, graph.batch(), id, value);
                let as_first = |&kept: &u32| map.distinct[kept as usize].axes == axes;
                match kept.filter(|kept| as_first(kept) && fit(&axes, &value.shape)) {
                    Some(kept) => map.of[id.index()] = Some(kept),
                    None => map.put(id, axes, value),
                }
            }
        }
        map
    }

    fn put(&mut self, id: ValueId, axes: Axes, value: &Value) {
        self.of[id.index()] = Some(self.distinct.len() as u32);
        let whole = axes.iter().all(|axis| !axis.is_empty()) && fit(&axes, &value.shape);
        self.distinct.push(Distinct { extent: extent(&axes), axes, whole });
    }

    fn distinct(&self, id: ValueId) -> Option<&Distinct> {
        self.of[id.index()].map(|at| &self.distinct[at as usize])
    }

    /// Axes of a value; `None` for a constant.
    pub(super) fn get(&self, id: ValueId) -> Option<&Axes> {
        Some(&self.distinct(id)?.axes)
    }

    /// [`extent`] of a value; `None` for a constant.
    pub(super) fn extent(&self, id: ValueId) -> Option<Extent> {
        Some(self.distinct(id)?.extent)
    }

    /// Axes of an output; `None` where they are those of the first input.
    fn of_output(
        &self,
        graph: &ModelGraph,
        node: &Node,
        output: usize,
        id: ValueId,
    ) -> Option<Axes> {
        use OpType::*;
        let shape = graph.value(id).shape.as_slice();
        let input = |i: usize| node.inputs.get(i).copied().flatten();
        let axes = |i: usize| input(i).and_then(|id| self.get(id));
        let value_of = |i: usize| input(i).map(|id| graph.value(id));
        let Some(x) = axes(0) else { return Some(self.without_first(graph, node, shape)) };
        let same = input(0).is_some_and(|first| {
            graph.value(first).shape.as_slice() == shape
                && graph.batch().place(first) == graph.batch().place(id)
                && self.distinct(first).is_some_and(|known| known.whole)
        });
        let along =
            |default: i64| infer::axis(node.attributes.int("axis", default), x.len()).unwrap_or(0);
        let keeps = |changed: &dyn Fn(usize) -> usize| -> Axes {
            x.iter().enumerate().map(|(i, a)| resized(a, changed(i))).collect()
        };
        Some(match node.op.class() {
            Class::Conv if channels_last(&node.op, &node.attributes) => {
                let first = channels_first(graph.value(id).shape.clone());
                last_again(positional(&x[0], &first))
            }
            Class::Conv | Class::ConvTranspose | Class::GridSample => positional(&x[0], shape),
            // Its channels are those of axis 1, where something else was taken for them.
            Class::BatchNorm
                if x.get(1).is_some_and(|axis| axis.iter().any(|f| f.role != Role::Channel)) =>
            {
                positional(&x[0], shape)
            }
            Class::Opaque if matches!(node.op, DeformConv | MaxRoiPool | RoiAlign) => {
                positional(&x[0], shape)
            }
            Class::Opaque if matches!(node.op, AffineGrid | OneHot) => usual(shape),
            Class::DepthSpace => depth_space(x, node).unwrap_or_else(|| usual(shape)),
            Class::Reshape => regrouped(x, shape).unwrap_or_else(|| usual(shape)),
            Class::Transpose => node.context(graph, |ctx| match layout::permutation(ctx) {
                Ok(perm) => perm.iter().map(|&a| x[a].clone()).collect(),
                Err(_) => usual(shape),
            }),
            Class::Concat => {
                let at = infer::axis(node.attributes.int("axis", 1), shape.len()).unwrap_or(0);
                let known = (0..node.inputs.len())
                    .filter_map(axes)
                    .max_by_key(|a| a[at].iter().map(|f| f.size).product::<usize>());
                let mut out = known.unwrap_or(x).clone();
                out[at] = resized(&out[at], shape[at]);
                out
            }
            Class::Gather => match value_of(1) {
                Some(indices) => {
                    let at = along(0);
                    let role = dominant(&x[at]).unwrap_or(Role::Channel);
                    let picked = indices.shape.iter().map(|&d| match d == value_size(x, at) {
                        true => x[at].clone(),
                        false => axis(role, d),
                    });
                    x[..at]
                        .iter()
                        .cloned()
                        .chain(picked)
                        .chain(x[at + 1..].iter().cloned())
                        .collect()
                }
                None => usual(shape),
            },
            Class::MatMul => self.of_matmul(graph, node, shape),
            Class::Gemm => {
                let flip = node.attributes.int("transA", 0) != 0 && x.len() == 2;
                let (rows, depth) = if flip { (1, 0) } else { (0, 1) };
                let columns = match axes(1) {
                    None => axis(dominant(&x[depth]).unwrap_or(Role::Channel), shape[1]),
                    Some(b) => b[usize::from(node.attributes.int("transB", 0) == 0)].clone(),
                };
                smallvec![x[rows].clone(), columns]
            }
            Class::Einsum => self.of_einsum(graph, node).unwrap_or_else(|| usual(shape)),
            Class::Attention => match output {
                0 => {
                    let mut out = x.clone();
                    if let Some(last) = out.last_mut() {
                        *last = axis(Role::Channel, *shape.last().unwrap_or(&1));
                    }
                    out
                }
                _ => usual(shape),
            },
            Class::Recurrent => recurrent(x, node, output, shape),
            Class::Reduce => node.context(graph, |ctx| {
                let axes = ctx.optional(0).and_then(|v| {
                    let list = ctx.ints_either("axes", 1).ok()?;
                    infer::reduce::reduced_axes(&node.attributes, v, list).ok()
                });
                let gone = axes.unwrap_or_default();
                let keep = node.attributes.int("keepdims", 1) != 0;
                shrink(x, &gone, keep)
            }),
            Class::ArgMax => shrink(x, &[along(0)], node.attributes.int("keepdims", 1) != 0),
            Class::Broadcast | Class::Expand if !same => self.of_broadcast(graph, node, shape),
            // They keep the order of their axes, if they keep their number.
            Class::Unary
            | Class::Broadcast
            | Class::BiasSplitGelu
            | Class::Cast
            | Class::Dropout
            | Class::Quantise
            | Class::Softmax
            | Class::LpNormalization
            | Class::Running
            | Class::BatchNorm
            | Class::InstanceNorm
            | Class::GroupNorm
            | Class::MsGroupNorm
            | Class::LayerNorm
            | Class::SkipLayerNorm
            | Class::EmbedLayerNorm
            | Class::LocalResponseNorm
            | Class::Pool
            | Class::GlobalPool
            | Class::PackedMatMul
            | Class::RotaryEmbedding
            | Class::TopK
            | Class::Split
            | Class::Slice
            | Class::Expand
            | Class::Tile
            | Class::Pad
            | Class::Resize
            | Class::Trilu
            | Class::GatherElements
            | Class::Opaque
            | Class::Random
            | Class::Shape
            | Class::Constant
            | Class::StandIn(..)
            | Class::Unknown => {
                if same {
                    return None;
                }
                if shape.len() == x.len() { keeps(&|i| shape[i]) } else { usual(shape) }
            }
        })
    }

    /// The first input is a constant, or missing.
    fn without_first(&self, graph: &ModelGraph, node: &Node, shape: &[usize]) -> Axes {
        use OpType::*;
        match node.op {
            MatMul | FusedMatMul => self.of_matmul(graph, node, shape),
            // Rows of a table: the index's axes, then features.
            Gather => {
                let index = node.inputs.get(1).copied().flatten().and_then(|id| self.get(id));
                let index = index.cloned().unwrap_or_default();
                let at = infer::axis(
                    node.attributes.int("axis", 0),
                    (shape.len() + 1).saturating_sub(index.len()),
                )
                .unwrap_or(0);
                let feature = |i: usize| axis(Role::Channel, shape[i]);
                let mut axes: Axes = (0..at).map(feature).collect();
                axes.extend(index);
                axes.extend((axes.len()..shape.len()).map(feature));
                axes
            }
            Einsum => self.of_einsum(graph, node).unwrap_or_else(|| usual(shape)),
            Concat => {
                let at = infer::axis(node.attributes.int("axis", 1), shape.len()).unwrap_or(0);
                let known = node.inputs.iter().flatten().find_map(|&id| self.get(id));
                let mut out = known.cloned().unwrap_or_else(|| usual(shape));
                out[at] = resized(&out[at], shape[at]);
                out
            }
            _ => self.of_broadcast(graph, node, shape),
        }
    }

    fn of_broadcast(&self, graph: &ModelGraph, node: &Node, shape: &[usize]) -> Axes {
        let operands: SmallVec<[(&[usize], Option<&Axes>); 3]> = node
            .inputs
            .iter()
            .flatten()
            .map(|&id| (graph.value(id).shape.as_slice(), self.get(id)))
            .collect();
        broadcast(&operands, shape)
    }

    fn of_matmul(&self, graph: &ModelGraph, node: &Node, shape: &[usize]) -> Axes {
        let operand = |i: usize, side: Side| {
            let id = node.inputs.get(i).copied().flatten()?;
            let dims = turned(&node.attributes, side, graph.value(id).shape.clone());
            let axes = self.get(id).map(|axes| turned(&node.attributes, side, axes.clone()));
            Some((dims, axes))
        };
        let (Some((da, a)), Some((db, b))) = (operand(0, Side::Left), operand(1, Side::Right))
        else {
            return usual(shape);
        };
        let (ra, rb) = (da.len(), db.len());
        let mut out = Axes::new();
        // A constant operand's axis takes the role of the axis it is multiplied with.
        let contracted = |axes: &Option<Axes>, i: Option<usize>| {
            let axis = i.and_then(|i| axes.as_ref()?.get(i));
            axis.and_then(dominant).unwrap_or(Role::Channel)
        };
        let columns = (rb >= 2).then(|| match &b {
            Some(b) => b[rb - 1].clone(),
            None => axis(contracted(&a, ra.checked_sub(1)), db[rb - 1]),
        });
        let rows = (ra >= 2).then(|| match &a {
            Some(a) => a[ra - 2].clone(),
            None => axis(contracted(&b, Some(rb.saturating_sub(2))), da[ra - 2]),
        });
        let tail = usize::from(columns.is_some()) + usize::from(rows.is_some());
        let batch = shape.get(..shape.len().saturating_sub(tail)).unwrap_or(&[]);
        let cut = |d: &[usize]| d.len().saturating_sub(2);
        let head = |axes: &Option<Axes>, n: usize| {
            axes.as_ref().map(|a| a[..n].iter().cloned().collect::<Axes>())
        };
        let (ha, hb) = (head(&a, cut(&da)), head(&b, cut(&db)));
        out.extend(broadcast(
            &[(&da[..cut(&da)], ha.as_ref()), (&db[..cut(&db)], hb.as_ref())],
            batch,
        ));
        out.extend(rows);
        out.extend(columns);
        out
    }

    fn of_einsum(&self, graph: &ModelGraph, node: &Node) -> Option<Axes> {
        let equation = node.context(graph, equation).ok()?;
        // From an operand that is not broadcast along it.
        let find = |label: Label, size: usize| {
            equation.terms.iter().zip(&node.inputs).find_map(|(term, id)| {
                let axes = self.get((*id)?)?;
                let mut own = term.iter().zip(axes).filter(|(l, _)| **l == label);
                own.find(|(_, a)| a.iter().map(|f| f.size).product::<usize>() == size)
                    .map(|(_, a)| a.clone())
            })
        };
        let axes = equation.output.iter().map(|&label| {
            let size = equation.extent(label);
            find(label, size).unwrap_or_else(|| axis(Role::Channel, size))
        });
        Some(axes.collect())
    }
}

fn value_size(axes: &Axes, at: usize) -> usize {
    axes[at].iter().map(|f| f.size).product()
}

fn shrink(x: &Axes, gone: &[usize], keep: bool) -> Axes {
    let axes = x.iter().enumerate();
    axes.filter_map(|(i, a)| match gone.contains(&i) {
        false => Some(a.clone()),
        true => keep.then(Axis::new),
    })
    .collect()
}

/// The same as the Reshape, Transpose, Reshape that these operators abbreviate: the elements of
/// a block move between channels and map but keep their roles.
fn depth_space(x: &Axes, node: &Node) -> Option<Axes> {
    let block = usize::try_from(node.attributes.int("blocksize", 0)).ok().filter(|&b| b > 0)?;
    let [c, h, w] = [1, 2, 3].map(|i| value_size(x, i));
    let six = |shape: [usize; 6], order: [usize; 6], out: [usize; 4]| {
        let wide = regrouped(x, &shape)?;
        let moved: Axes = order.iter().map(|&a| wide[a].clone()).collect();
        regrouped(&moved, &out)
    };
    let n = value_size(x, 0);
    if node.op == OpType::DepthToSpace {
        let rest = c / block / block;
        let out = [n, rest, h * block, w * block];
        match node.attributes.str("mode") {
            Some("CRD") => six([n, rest, block, block, h, w], [0, 1, 4, 2, 5, 3], out),
            _ => six([n, block, block, rest, h, w], [0, 3, 4, 1, 5, 2], out),
        }
    } else {
        let shape = [n, c, h / block, block, w / block, block];
        six(shape, [0, 3, 5, 1, 2, 4], [n, c * block * block, h / block, w / block])
    }
}

fn recurrent(x: &Axes, node: &Node, output: usize, shape: &[usize]) -> Axes {
    let (steps, batch) = match node.attributes.int("layout", 0) {
        1 => (x[1].clone(), x[0].clone()),
        _ => (x[0].clone(), x[1].clone()),
    };
    let batch_first = node.attributes.int("layout", 0) == 1;
    let at = |i: usize| axis(Role::Channel, shape.get(i).copied().unwrap_or(1));
    match (output, batch_first) {
        (0, false) => smallvec![steps, at(1), batch, at(3)],
        (0, true) => smallvec![batch, steps, at(2), at(3)],
        (_, false) => smallvec![at(0), batch, at(2)],
        (_, true) => smallvec![batch, at(1), at(2)],
    }
}
