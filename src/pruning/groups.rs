//! Which variables make up a channel, or a segment: those that are zero when it is.

use super::What;
use super::projection::{Slice, Units};
use crate::execute::TorchNetwork;
use crate::model_graph::infer::layout;
use crate::model_graph::{ModelGraph, Node, OpType, ValueId};
use crate::subnetworks::SuperNetwork;
use hashbrown::HashMap;
use tch::{TchError, Tensor};

/// The axes of a stored tensor along which the channels lie that it makes, where it is input `input`
/// of `node`; `None` for all axes. The others are those of channels that it reads.
fn made(graph: &ModelGraph, readers: &Readers, node: &Node, input: usize) -> Option<usize> {
    let rank = |i: usize| Some(graph.value((*node.inputs.get(i)?)?).shape.len());
    match (&node.op, input) {
        (OpType::Conv, 1) => Some(0),
        (OpType::ConvTranspose, 1) if node.attributes.int("group", 1) == 1 => Some(1),
        (OpType::Gemm, 1) => Some(if node.attributes.int("transB", 0) == 0 { 1 } else { 0 }),
        (OpType::MatMul, 1) => rank(1)?.checked_sub(1),
        // On its way to one of those.
        (OpType::Transpose, 0) => {
            let from = node.context(graph, layout::permutation).ok()?;
            let output = node.outputs.first().copied().flatten()?;
            let [(reader, input)] = readers.get(&output)?.as_slice() else { return None };
            let axis = made(graph, readers, &graph.nodes()[*reader], *input)?;
            from.get(axis).copied()
        }
        _ => None,
    }
}

/// The segments, numbered after all units.
struct Segments {
    of_tensor: HashMap<ValueId, usize>,
    of_unit: Vec<Vec<usize>>,
}

impl Segments {
    /// The segments but `whole` along an axis with these units; a list for each that shares units with others.
    fn layers(&self, units: &[Option<usize>], whole: Option<usize>) -> Vec<Vec<Option<usize>>> {
        let of = |unit: &Option<usize>| -> Vec<usize> {
            let all = unit.map_or(&[][..], |unit| &self.of_unit[unit]);
            all.iter().copied().filter(|&segment| Some(segment) != whole).collect()
        };
        let of: Vec<Vec<usize>> = units.iter().map(of).collect();
        let most = of.iter().map(Vec::len).max().unwrap_or(0);
        (0..most).map(|n| of.iter().map(|all| all.get(n).copied()).collect()).collect()
    }
}

type Readers = HashMap<ValueId, Vec<(usize, usize)>>;

/// Where the variables lie in the network's parameters: those of each unit of channels, and then those of each
/// segment, as far as `what` speaks of them.
pub(super) fn units(
    space: &SuperNetwork,
    network: &TorchNetwork,
    what: What,
) -> Result<Units, TchError> {
    let graph = network.graph();
    let mut readers = Readers::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        for (input, id) in node.inputs.iter().enumerate() {
            if let Some(id) = id {
                readers.entry(*id).or_default().push((index, input));
            }
        }
    }
    let channels = space.units_in_all();
    let count = channels + space.segments().len();
    let mut segments = Segments { of_tensor: HashMap::new(), of_unit: vec![Vec::new(); channels] };
    for (number, segment) in (channels..).zip(space.segments()) {
        segments.of_tensor.extend(segment.weights.iter().map(|&id| (id, number)));
        segment.units.iter().for_each(|&unit| segments.of_unit[unit].push(number));
    }
    let mut slices = Vec::new();
    for (tensor, (id, parameter)) in network.parameters().enumerate() {
        let uses = readers.get(&id).map(Vec::as_slice).unwrap_or_default();
        let axes: Vec<Option<usize>> =
            uses.iter().map(|&(node, i)| made(graph, &readers, &graph.nodes()[node], i)).collect();
        let mut add = |axis: usize, units: Vec<Option<usize>>| -> Result<(), TchError> {
            let units: Vec<i64> = units.iter().map(|u| u.unwrap_or(count) as i64).collect();
            let units = Tensor::f_from_slice(&units)?.f_to(network.device())?;
            slices.push(Slice { tensor, axis: axis as i64, units });
            Ok(())
        };
        let whole = segments.of_tensor.get(&id).filter(|_| what.branches());
        if let (Some(&segment), Some(&extent)) = (whole, parameter.size().first()) {
            add(0, vec![Some(segment); extent as usize])?;
        }
        for axis in 0..parameter.dim() {
            // A tensor that several read makes channels in all of them.
            if !axes.iter().all(|made| made.is_none_or(|made| made == axis)) {
                continue;
            }
            let Some(units) = space.units_along(id, axis) else { continue };
            if what.branches() {
                for layer in segments.layers(&units, whole.copied()) {
                    add(axis, layer)?;
                }
            }
            if what.channels() {
                add(axis, units)?;
            }
        }
    }
    let mut groups: Vec<i64> = (0i64..)
        .zip(space.groups())
        .flat_map(|(number, group)| vec![number; group.units])
        .collect();
    // All segments are one group.
    groups.resize(count, space.groups().len() as i64);
    let groups = Tensor::f_from_slice(&groups)?.f_to(network.device())?;
    Ok(Units { count: count as i64, groups, slices })
}
