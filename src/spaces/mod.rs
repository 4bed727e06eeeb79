//! Search spaces: each builds the same model graphs that the ONNX importer produces.
//!
//! One file per space, each with a type that implements [`Architecture`]; blocks that spaces
//! share are built in one place. [`Space`] picks a space at run time, by name.

mod blocks;
pub mod nasbench101;
pub mod nasbench201;

use crate::model_graph::ModelGraph;
use rand::Rng;
use std::fmt::{self, Display};
use std::hash::Hash;
use std::str::FromStr;

/// A point of a search space. Its text form, from [`FromStr`] and to [`Display`], is the one that
/// the space's authors use, where there is one.
pub trait Architecture: Clone + Eq + Hash + Display + FromStr<Err = ParseError> {
    /// The search space it belongs to.
    const SPACE: Space;

    /// Draws an architecture at random.
    fn sample<R: Rng + ?Sized>(rng: &mut R) -> Self;

    /// A text that is the same for architectures that compute the same functions, so for ones
    /// that must not be on both sides of a split.
    fn canonical(&self) -> String;

    /// The network, with one input named `input` and a batch of one.
    fn build(&self) -> ModelGraph;

    /// Number of trainable parameters as the space's authors count them: batch normalisation has
    /// two per channel, and weights count even when their result is never used.
    fn trainable_parameters(&self) -> u64;
}

/// Why a text is not an architecture of a space.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a {space} architecture: {reason}")]
pub struct ParseError {
    /// The text.
    pub text: String,
    /// The space.
    pub space: Space,
    /// What is wrong with it.
    pub reason: String,
}

/// A search space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// See [`nasbench101`].
    NasBench101,
    /// See [`nasbench201`].
    NasBench201,
}

impl Space {
    /// Every space.
    pub const ALL: &'static [Self] = &[Self::NasBench101, Self::NasBench201];

    /// The name it goes by.
    pub fn name(self) -> &'static str {
        match self {
            Self::NasBench101 => "nasbench101",
            Self::NasBench201 => "nasbench201",
        }
    }

    /// The network that `architecture` describes.
    ///
    /// # Errors
    /// When the text is not an architecture of this space.
    pub fn build(self, architecture: &str) -> Result<ModelGraph, ParseError> {
        match self {
            Self::NasBench101 => Ok(architecture.parse::<nasbench101::Cell>()?.build()),
            Self::NasBench201 => Ok(architecture.parse::<nasbench201::Cell>()?.build()),
        }
    }

    /// [`Architecture::trainable_parameters`] of what `architecture` describes.
    ///
    /// # Errors
    /// When the text is not an architecture of this space.
    pub fn trainable_parameters(self, architecture: &str) -> Result<u64, ParseError> {
        Ok(match self {
            Self::NasBench101 => architecture.parse::<nasbench101::Cell>()?.trainable_parameters(),
            Self::NasBench201 => architecture.parse::<nasbench201::Cell>()?.trainable_parameters(),
        })
    }
}

impl Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no search space has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no search space '{0}'; there are {names}", names = names())]
pub struct UnknownSpace(pub String);

fn names() -> String {
    let names: Vec<&str> = Space::ALL.iter().map(|s| s.name()).collect();
    names.join(", ")
}

impl FromStr for Space {
    type Err = UnknownSpace;

    fn from_str(name: &str) -> Result<Self, UnknownSpace> {
        let space = Self::ALL.iter().copied().find(|s| s.name() == name);
        space.ok_or_else(|| UnknownSpace(name.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use crate::model_graph::{ModelGraph, OpType};

    /// Trainable parameters of a built network: all stored numbers but the running statistics of
    /// batch normalisation.
    pub fn trainable(graph: &ModelGraph) -> u64 {
        let stored = |v: &&crate::model_graph::Value| v.constant.as_ref().is_some_and(|c| c.stored);
        let all: u64 = graph.values().iter().filter(stored).map(|v| v.elements()).sum();
        let statistics: u64 = graph
            .nodes()
            .iter()
            .filter(|n| n.op == OpType::BatchNormalization)
            .flat_map(|n| n.inputs.iter().flatten().skip(3))
            .map(|&id| graph.value(id).elements())
            .sum();
        all - statistics
    }
}
