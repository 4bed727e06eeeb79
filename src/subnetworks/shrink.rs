//! Sub-networks with the weights of the whole network.

use super::channels::NO_UNIT;
use super::plan::{Built, Source, each_run};
use super::{SubNetwork, SuperNetwork};
use crate::model_graph::{BuildError, ModelGraph, TensorData, Value, ValueId};
use crate::onnx::{self, ReadError, StoredTensors, Weights, WriteError};
use std::collections::HashMap;
use std::io::{self, Write};

/// Why a sub-network could not be written with its weights.
#[derive(Debug, thiserror::Error)]
pub enum ShrinkError {
    /// The sub-network could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The weights could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A tensor without elements, in a file where others have them.
    #[error("the file has no elements for tensor '{0}'")]
    Missing(String),
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
}

/// The positions that are left of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
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

impl SuperNetwork {
    /// Writes the network that `sub` describes as an ONNX file, with the weights that `stored`
    /// has of the whole network.
    ///
    /// A group keeps the units whose weights have the largest L2 norm: over all stored
    /// floating-point tensors of at least two dimensions, everything that belongs to the unit.
    /// What the file computes is what the whole network computes with the other units' channels
    /// zero, in groups that are [exact](super::Group::exact). Smaller kernels keep the middle
    /// of the weight.
    ///
    /// # Errors
    /// When elements cannot be read, are there for some tensors only, or the file cannot be
    /// written.
    pub fn shrink(
        &self,
        sub: &SubNetwork,
        stored: &mut StoredTensors,
        out: impl Write,
    ) -> Result<Shrunk, ShrinkError> {
        let weights = self.has_weights(stored)?;
        let importance = if weights { Some(self.importance(stored)?) } else { None };
        let Built { graph, sources, cuts } = self.build_keeping(sub, importance.as_deref())?;
        if weights {
            let sources: HashMap<ValueId, Source> = sources.into_iter().collect();
            let mut elements = |id: ValueId| {
                let source = sources.get(&id).ok_or_else(|| io::Error::other("no such tensor"))?;
                self.elements(stored, source).map_err(io::Error::other)
            };
            onnx::write_stored(&graph, out, &mut elements)?;
        } else {
            onnx::write(&graph, out, Weights::Stripped)?;
        }
        let cuts = cuts.into_iter().flat_map(|(id, cut)| {
            let value = self.graph.value(id);
            let (tensor, shape) = (value.name.to_string(), value.shape.to_vec());
            cut.into_iter().enumerate().filter_map(move |(axis, kept)| {
                let (tensor, shape) = (tensor.clone(), shape.clone());
                Some(CutTensor { tensor, shape, axis, kept: kept?.to_vec() })
            })
        });
        Ok(Shrunk { cuts: cuts.collect(), graph, weights })
    }

    /// Stored tensors whose elements the graph does not hold.
    fn large(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        let ids = (0u32..).map(ValueId);
        let stored = |v: &Value| v.producer.is_none() && v.is_constant() && v.data().is_none();
        ids.zip(self.graph.values()).filter(move |(_, v)| stored(v))
    }

    /// Whether the file has the elements of any large tensor, or there are none.
    fn has_weights(&self, stored: &mut StoredTensors) -> Result<bool, ReadError> {
        let mut some = false;
        for (_, value) in self.large() {
            if stored.bytes(&value.name, value.dtype, value.elements())?.is_some() {
                return Ok(true);
            }
            some = true;
        }
        Ok(!some)
    }

    /// What is left of a stored tensor's elements.
    fn elements(
        &self,
        stored: &mut StoredTensors,
        source: &Source,
    ) -> Result<Vec<u8>, ShrinkError> {
        let value = self.graph.value(source.value);
        let all = stored.bytes(&value.name, value.dtype, value.elements())?;
        let all = all.ok_or_else(|| ShrinkError::Missing(value.name.to_string()))?;
        if source.cut.iter().all(Option::is_none) {
            return Ok(all);
        }
        let elements: usize = value.shape.iter().product();
        let width = all.len().checked_div(elements).unwrap_or(0);
        let mut kept = Vec::new();
        each_run(&value.shape, &source.cut, &mut |start, length| {
            let run = all.get(start * width..(start + length) * width);
            kept.extend_from_slice(run.unwrap_or_default());
        });
        Ok(kept)
    }

    /// The sum of the squares of the weights that belong to each unit.
    fn importance(&self, stored: &mut StoredTensors) -> Result<Vec<f64>, ReadError> {
        let units = self.groups().iter().map(|g| g.units).sum();
        let mut squares = vec![0.0; units];
        for (axes, value) in self.channels.of.iter().zip(self.graph.values()) {
            let weight = value.producer.is_none()
                && value.is_constant()
                && value.dtype.is_float()
                && value.shape.len() > 1;
            let axes = axes.iter().map(|&a| &self.channels.axes[a as usize]).enumerate();
            let mut cut = axes.filter(|(_, units)| !units.is_empty()).peekable();
            if !weight || cut.peek().is_none() {
                continue;
            }
            let elements = match value.data() {
                Some(TensorData::Floats(known)) => known.clone(),
                Some(TensorData::Ints(_)) => continue,
                None => match stored.floats(&value.name, value.dtype, value.elements())? {
                    Some(elements) => elements,
                    None => continue,
                },
            };
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
}
