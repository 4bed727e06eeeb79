//! From labels to groups of channels.

use super::propagate::{self, Axes, AxisId, Labels, WHOLE};
use crate::model_graph::{ModelGraph, ValueId};
use hashbrown::HashMap;
use std::ops::Range;

/// A set of units of which any may be cut, as long as one stays. Units of a group are cut from
/// the same axes of the same tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The first tensor of the network that has these channels.
    pub tensor: ValueId,
    /// Which of the tensor's axes they run along.
    pub axis: usize,
    /// Number of units: of sets of positions that can only be cut together, such as a head, or a
    /// channel group of a convolution with what it reads and writes.
    pub units: usize,
    /// Channels of the tensor that belong to each unit.
    pub channels_per_unit: usize,
    /// Whether cutting has the same effect as zeroing. Not so where something is computed over
    /// the channels that zeros change, such as the mean in a layer normalisation.
    pub exact: bool,
    /// Number of its first unit among those of all groups.
    pub(super) first: usize,
}

impl Group {
    /// Numbers of its units among those of all groups.
    pub fn range(&self) -> Range<usize> {
        self.first..self.first + self.units
    }
}

/// What belongs to a position along an axis: the number of a unit, or [`NO_UNIT`].
pub(super) type Unit = u32;
/// A position that is never cut.
pub(super) const NO_UNIT: Unit = Unit::MAX;

/// The groups of a network, and where they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Channels {
    pub groups: Vec<Group>,
    /// Units along each axis.
    pub axes: Vec<Box<[Unit]>>,
    /// Groups along each axis.
    pub groups_of: Vec<Vec<usize>>,
    /// The axes of each value; [`WHOLE`] for those that are never cut.
    pub of: Vec<Axes>,
    /// The axes of stored vectors, by the node that uses them.
    pub vectors: HashMap<(usize, ValueId), Axes>,
}

impl Channels {
    /// The groups of a network of which the nodes in `live` are used.
    pub fn new(graph: &ModelGraph, live: &[bool]) -> Self {
        propagate::labels(graph, live, |labels| Self::finish(graph, live, labels))
    }

    /// Whether two tensors of the same shape always lose the same positions.
    pub fn same(&self, a: ValueId, b: ValueId) -> bool {
        let units = |&axis: &AxisId| &self.axes[axis as usize];
        let (a, b) = (&self.of[a.index()], &self.of[b.index()]);
        a.iter().map(units).eq(b.iter().map(units))
    }

    fn finish(graph: &ModelGraph, live: &[bool], mut labels: Labels) -> Self {
        let whole = |v: &crate::model_graph::Value| v.shape.iter().map(|_| WHOLE).collect();
        let none = Self {
            groups: Vec::new(),
            vectors: HashMap::new(),
            axes: vec![Box::default()],
            groups_of: vec![Vec::new()],
            of: graph.values().iter().map(whole).collect(),
        };
        if labels.exhausted() {
            return none;
        }
        let nodes = || graph.nodes().iter().zip(live).filter(|(_, live)| **live).map(|(n, _)| n);
        let activations: Vec<ValueId> = nodes()
            .flat_map(|n| n.outputs.iter().flatten().copied())
            .filter(|&id| !graph.value(id).is_constant())
            .collect();
        let all = nodes().flat_map(|n| n.outputs.iter().chain(&n.inputs).flatten().copied());
        let vectors = labels.vectors().clone();
        let tensors: Vec<ValueId> = activations.iter().copied().chain(all).collect();
        let blocks = Blocks::new(&mut labels, &tensors, activations.len(), &vectors);
        let mut found = blocks.groups(&mut labels, &activations);
        let (axes, count) = labels.counts();

        // A group of one unit cannot be cut.
        found.retain(|(_, units)| units.len() > 1);
        let mut unit_of = vec![NO_UNIT; count];
        let mut groups = Vec::new();
        let mut first = 0;
        for (mut group, units) in found {
            for (i, &root) in units.iter().enumerate() {
                unit_of[root as usize] = (first + i) as Unit;
            }
            group.units = units.len();
            group.channels_per_unit /= units.len();
            group.first = first;
            first += units.len();
            groups.push(group);
        }
        let axes: Vec<Box<[Unit]>> = (0..axes as AxisId)
            .map(|axis| {
                let units = (0..labels.along(axis).len())
                    .map(|k| unit_of[labels.find(labels.along(axis)[k]) as usize]);
                let units: Box<[Unit]> = units.collect();
                if units.iter().any(|&u| u != NO_UNIT) { units } else { Box::default() }
            })
            .collect();
        let cut = |&axis: &AxisId| if axes[axis as usize].is_empty() { WHOLE } else { axis };
        let of = (0..graph.values().len())
            .map(|i| labels.axes(ValueId(i as u32)).iter().map(cut).collect())
            .collect();
        let vectors =
            vectors.into_iter().map(|(key, axes)| (key, axes.iter().map(cut).collect())).collect();
        let mut group_of = Vec::new();
        for (number, group) in groups.iter().enumerate() {
            group_of.resize(group.range().end, number);
        }
        let groups_on = |units: &[Unit]| {
            let mut on: Vec<usize> =
                units.iter().filter_map(|&u| group_of.get(u as usize).copied()).collect();
            on.sort_unstable();
            on.dedup();
            on
        };
        let groups_of = axes.iter().map(|units| groups_on(units)).collect();
        Self { groups, axes, groups_of, of, vectors }
    }
}

/// Roots that lie on the same axes, and as often on each.
struct Blocks {
    /// Of each root.
    of: Vec<u32>,
    /// Whether a root lies on an axis of an activation.
    on_activation: Vec<bool>,
}

impl Blocks {
    /// Splits blocks axis by axis, of tensors of which so many are activations, and of vectors.
    fn new(
        labels: &mut Labels,
        tensors: &[ValueId],
        activations: usize,
        vectors: &HashMap<(usize, ValueId), Axes>,
    ) -> Self {
        let (axes, count) = labels.counts();
        let mut block = vec![0u32; count];
        let mut blocks = 1u32;
        let mut seen = vec![false; axes];
        let mut on_activation = vec![false; count];
        let mut times = vec![0u32; count];
        for (i, of) in tensors.iter().map(Ok).chain(vectors.values().map(Err)).enumerate() {
            let list = of.map_or_else(Axes::clone, |&id| labels.axes(id).clone());
            for axis in list {
                if axis == WHOLE || std::mem::replace(&mut seen[axis as usize], true) {
                    continue;
                }
                let mut touched = Vec::new();
                for k in 0..labels.along(axis).len() {
                    let root = labels.find(labels.along(axis)[k]) as usize;
                    if times[root] == 0 {
                        touched.push(root);
                    }
                    times[root] += 1;
                }
                let mut split: HashMap<(u32, u32), u32> = HashMap::new();
                for root in touched {
                    on_activation[root] |= i < activations;
                    block[root] = *split.entry((block[root], times[root])).or_insert_with(|| {
                        blocks += 1;
                        blocks
                    });
                    times[root] = 0;
                }
            }
        }
        Self { of: block, on_activation }
    }

    /// A group for each block that may be cut, with its units in the order of the first axis of an
    /// activation that has them.
    fn groups(&self, labels: &mut Labels, activations: &[ValueId]) -> Vec<(Group, Vec<u32>)> {
        let (axes, count) = labels.counts();
        let mut group_of: HashMap<u32, usize> = HashMap::new();
        let mut found: Vec<(Group, Vec<u32>)> = Vec::new();
        let mut numbered = vec![false; count];
        let mut seen = vec![false; axes];
        for &id in activations {
            for (position, axis) in labels.axes(id).clone().into_iter().enumerate() {
                if axis == WHOLE || std::mem::replace(&mut seen[axis as usize], true) {
                    continue;
                }
                for k in 0..labels.along(axis).len() {
                    let root = labels.find(labels.along(axis)[k]);
                    let (fixed, approximate) = labels.kind(root);
                    if fixed || !self.on_activation[root as usize] {
                        continue;
                    }
                    let at = *group_of.entry(self.of[root as usize]).or_insert_with(|| {
                        let group = Group {
                            tensor: id,
                            axis: position,
                            units: 0,
                            channels_per_unit: 0,
                            exact: true,
                            first: 0,
                        };
                        found.push((group, Vec::new()));
                        found.len() - 1
                    });
                    let (group, units) = &mut found[at];
                    group.exact &= !approximate;
                    if (group.tensor, group.axis) == (id, position) {
                        group.channels_per_unit += 1;
                    }
                    if !std::mem::replace(&mut numbered[root as usize], true) {
                        units.push(root);
                    }
                }
            }
        }
        found
    }
}
