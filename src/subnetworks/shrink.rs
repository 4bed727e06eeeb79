//! Sub-networks with the weights of the whole network.

use super::channels::NO_UNIT;
use super::plan::{self, Built, Plan, Source};
use super::{SubNetwork, SuperNetwork, edits, segments};
use crate::model_graph::{BuildError, ModelGraph, Node, OpType, TensorData, ValueId, infer};
use crate::onnx::{self, DataFile, Original, ReadError, WriteError};
use hashbrown::HashMap;
use std::io::Write;

/// Why a sub-network could not be written with its weights.
#[derive(Debug, thiserror::Error)]
pub enum ShrinkError {
    /// The sub-network could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The weights could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file is not the one that the network was read from, or has changed since.
    #[error("the file has changed since the network was read from it")]
    Changed,
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A sub-network that was written.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The sub-network, without the elements of large weights.
    pub graph: ModelGraph,
    /// Whether the whole network's weights were there; otherwise the file has none.
    pub weights: bool,
    /// What was cut from the tensors that depend on the network's input.
    pub cuts: Vec<CutTensor>,
    /// What else is not as it was in the file, a sentence each.
    pub notes: Vec<String>,
}

/// What is left of a network, in memory.
#[derive(Debug, Clone)]
pub struct Cutout {
    /// The network, without the elements of large weights.
    pub graph: ModelGraph,
    /// Its stored tensors that are what is left of others.
    pub weights: Vec<CutWeight>,
}

/// What goes from a network.
#[derive(Debug, Clone)]
pub struct Removal {
    plan: Plan,
    /// Whether each unit stays, also for the sake of segments.
    units: Vec<bool>,
}

impl Removal {
    /// Whether each unit of each group stays.
    pub fn units(&self) -> &[bool] {
        &self.units
    }
}

fn unconnected() -> BuildError {
    BuildError {
        node: String::new(),
        op: OpType::Identity,
        reason: "nothing connects input and output without these segments".into(),
        at_run_time: false,
    }
}

/// A stored tensor, and what it is cut from.
#[derive(Debug, Clone)]
pub struct CutWeight {
    /// The tensor in the smaller network,
    pub tensor: ValueId,
    /// that in the whole one,
    pub from: ValueId,
    /// and the positions that are kept along each axis, `None` for all.
    pub kept: Vec<Option<Vec<usize>>>,
}

/// The positions that are left of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct CutTensor {
    /// Its name,
    pub tensor: String,
    /// and the shape it had.
    pub shape: Vec<usize>,
    /// One of its axes,
    pub axis: usize,
    /// and the positions that are kept along it.
    pub kept: Vec<usize>,
}

impl From<Built> for Cutout {
    fn from(Built { graph, sources, .. }: Built) -> Self {
        let tensor = |(new, Source { value, cut }): (ValueId, Source)| CutWeight {
            tensor: new,
            from: value,
            kept: cut.into_iter().map(|kept| kept.map(|kept| kept.to_vec())).collect(),
        };
        Self { graph, weights: sources.into_iter().map(tensor).collect() }
    }
}

impl SuperNetwork {
    /// Writes the file that the whole network was read from as the network that `sub` describes,
    /// with what is left of its weights. What `sub` does not change stays as it is: names,
    /// documentation, free dimensions, functions, and how tensors are stored. Only external data
    /// comes to stand inside the new file, or in `data` where that would be longer than 2 GiB.
    ///
    /// A group keeps the units whose weights have the largest L2 norm: over all stored
    /// floating-point and quantised tensors of at least two dimensions, everything that belongs
    /// to the unit. A file whose sub-networks were trained together says itself in which order
    /// units go.
    /// What the file computes is what the whole network computes with the other units' channels
    /// zero, in groups that are [exact](super::Group::exact). Smaller kernels keep the middle
    /// of the weight.
    ///
    /// # Errors
    /// When `original` is not the file of this network, elements cannot be read, or the file
    /// cannot be written.
    pub fn shrink(
        &self,
        sub: &SubNetwork,
        original: &mut Original,
        out: impl Write,
        data: Option<DataFile>,
    ) -> Result<Shrunk, ShrinkError> {
        self.check(original)?;
        let weights = self.has_weights(original)?;
        let importance = match self.written_order(original)? {
            Some(order) => Some(order.importance()),
            None if weights => Some(self.importance(original)?),
            None => None,
        };
        let options = self.own_options(sub);
        let (plan, units) = (self.plan(&options), self.units(&options, importance.as_deref()));
        self.write(&plan, &units, weights, original, out, data)
    }

    /// [`shrink`](Self::shrink) to what `kept` says, as for [`cut`](Self::cut).
    ///
    /// # Errors
    /// As [`shrink`](Self::shrink), and where [`removal`](Self::removal) is none.
    pub fn shrink_to(
        &self,
        kept: &[bool],
        original: &mut Original,
        out: impl Write,
        data: Option<DataFile>,
    ) -> Result<Shrunk, ShrinkError> {
        self.check(original)?;
        let weights = self.has_weights(original)?;
        let Removal { plan, units } = self.removal(kept).ok_or_else(unconnected)?;
        self.write(&plan, &units, weights, original, out, data)
    }

    /// What is left of the network, where `kept` says for each unit of each group, and then for each
    /// [segment](Self::segments), whether it stays; all do that it doesn't speak of.
    ///
    /// # Errors
    /// Where [`removal`](Self::removal) is none, and when an operator cannot take what is left of its inputs,
    /// which would be a fault of this module.
    pub fn cut(&self, kept: &[bool]) -> Result<Cutout, BuildError> {
        let Removal { plan, units } = self.removal(kept).ok_or_else(unconnected)?;
        Ok(plan::build(self, &plan, &units)?.into())
    }

    /// What goes if what is not `kept` goes, as for [`cut`](Self::cut). `None` if it can't: input and
    /// output would be no longer connected, something that is not zero be made of the zeros of a segment, or
    /// nothing be left of channels that others need.
    pub fn removal(&self, kept: &[bool]) -> Option<Removal> {
        let stays = |i: usize| kept.get(i).copied().unwrap_or(true);
        let count = self.units_in_all();
        let mut units: Vec<bool> = (0..count).map(stays).collect();
        let gone = self.segments().iter().zip(count..).filter(|(_, i)| !stays(*i));
        let gone = gone.map(|(segment, _)| segment);
        let plan = segments::without(&self.graph, &self.channels, gone, &mut units)?;
        Some(Removal { plan, units })
    }

    /// Number of units of all groups.
    pub fn units_in_all(&self) -> usize {
        self.groups().last().map_or(0, |group| group.range().end)
    }

    fn check(&self, original: &Original) -> Result<(), ShrinkError> {
        if original.matches(&self.graph) { Ok(()) } else { Err(ShrinkError::Changed) }
    }

    fn write(
        &self,
        plan: &Plan,
        units: &[bool],
        weights: bool,
        original: &mut Original,
        out: impl Write,
        data: Option<DataFile>,
    ) -> Result<Shrunk, ShrinkError> {
        let built = plan::build(self, plan, units)?;
        let edits = edits::edits(self, plan, units, &built);
        let limit = onnx::MAX_MESSAGE - 1;
        let notes = onnx::write_edited(original, &self.graph, &edits, limit, out, data)?;
        let Built { graph, cuts, .. } = built;
        let cuts = cuts.into_iter().flat_map(|(id, cut)| {
            let value = self.graph.value(id);
            let (tensor, shape) = (value.name.to_string(), value.shape.to_vec());
            cut.into_iter().enumerate().filter_map(move |(axis, kept)| {
                let (tensor, shape) = (tensor.clone(), shape.clone());
                Some(CutTensor { tensor, shape, axis, kept: kept?.to_vec() })
            })
        });
        Ok(Shrunk { cuts: cuts.collect(), graph, weights, notes })
    }

    /// Whether the file has the elements of any large tensor, or there are none.
    pub(super) fn has_weights(&self, original: &mut Original) -> Result<bool, ReadError> {
        let mut some = false;
        for (id, value) in (0u32..).map(ValueId).zip(self.graph.values()) {
            let stored = value.producer.is_none() && value.is_constant();
            if !stored || value.data().is_some() {
                continue;
            }
            if original.bytes(id, value.dtype, value.elements())?.is_some() {
                return Ok(true);
            }
            some = true;
        }
        Ok(!some)
    }

    /// The sum of the squares of the weights that belong to each unit.
    pub(super) fn importance(&self, original: &mut Original) -> Result<Vec<f64>, ReadError> {
        let units = self.groups().iter().map(|g| g.units).sum();
        let mut squares = vec![0.0; units];
        let quantised = self.quantised();
        let values = (0u32..).map(ValueId).zip(self.graph.values());
        for (axes, (id, value)) in self.channels.of.iter().zip(values) {
            let quantisation = quantised.get(&id);
            let weight = value.producer.is_none()
                && value.is_constant()
                && (value.dtype.is_float() || quantisation.is_some())
                && value.shape.len() > 1;
            let axes = axes.iter().map(|&a| &self.channels.axes[a as usize]).enumerate();
            let mut cut = axes.filter(|(_, units)| !units.is_empty()).peekable();
            if !weight || cut.peek().is_none() {
                continue;
            }
            let Some(mut elements) = self.numbers(original, id)? else { continue };
            if let Some(quantisation) = quantisation {
                self.dequantise(original, quantisation, &value.shape, &mut elements)?;
            }
            for (axis, units) in cut {
                let inner: usize = value.shape[axis + 1..].iter().product();
                for (i, run) in elements.chunks(inner.max(1)).enumerate() {
                    let unit = units[i % units.len()];
                    if unit != NO_UNIT {
                        squares[unit as usize] += run.iter().map(|x| x * x).sum::<f64>();
                    }
                }
            }
        }
        Ok(squares)
    }

    /// The elements of a stored tensor.
    fn numbers(&self, original: &mut Original, id: ValueId) -> Result<Option<Vec<f64>>, ReadError> {
        let value = self.graph.value(id);
        Ok(match value.data() {
            Some(TensorData::Floats(known)) => Some(known.clone()),
            Some(TensorData::Ints(known)) => Some(known.iter().map(|&i| i as f64).collect()),
            None => original.numbers(id, value.dtype, value.elements())?,
        })
    }

    /// How integers become weights.
    fn quantised(&self) -> HashMap<ValueId, Quantisation> {
        let of_node = |node: &Node| {
            let input = |i: usize| node.inputs.get(i).copied().flatten();
            let (weight, scale, zero) = (input(0)?, input(1)?, input(2));
            let rank = self.graph.value(weight).shape.len();
            let axis = infer::axis(node.attributes.int("axis", 1), rank).ok()?;
            Some((weight, Quantisation { scale, zero, axis }))
        };
        let nodes = self.graph.nodes().iter().filter(|n| n.op == OpType::DequantizeLinear);
        nodes.filter_map(of_node).collect()
    }

    fn dequantise(
        &self,
        original: &mut Original,
        by: &Quantisation,
        shape: &[usize],
        elements: &mut [f64],
    ) -> Result<(), ReadError> {
        let scale = self.numbers(original, by.scale)?.unwrap_or_default();
        let zero = match by.zero {
            Some(zero) => self.numbers(original, zero)?.unwrap_or_default(),
            None => Vec::new(),
        };
        let inner: usize = shape[by.axis + 1..].iter().product();
        for (i, run) in elements.chunks_mut(inner.max(1)).enumerate() {
            // One for all, or one for each position along the axis.
            let of = |list: &[f64], default: f64| match list {
                [] => default,
                list => list[i % shape[by.axis] % list.len()],
            };
            let (scale, zero) = (of(&scale, 1.0), of(&zero, 0.0));
            run.iter_mut().for_each(|x| *x = (*x - zero) * scale);
        }
        Ok(())
    }
}

/// How integers become numbers: (x - zero) · scale, along an axis.
struct Quantisation {
    scale: ValueId,
    zero: Option<ValueId>,
    axis: usize,
}
