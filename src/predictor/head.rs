//! A multi-layer perceptron from embeddings to scores.

use crate::encoder::{Activation, Config, WeightError, Weights};
use ndarray::{Array1, Array2, ArrayView2};

/// Scores embeddings: higher is better, on no particular scale.
#[derive(Debug, Clone)]
pub struct Head {
    activation: Activation,
    /// Weight `[inputs, outputs]` and bias of each layer; the last has one output.
    layers: Vec<(Array2<f32>, Array1<f32>)>,
}

impl Head {
    /// The head of `config` with the weights of a file.
    ///
    /// # Errors
    /// When a tensor is missing, has the wrong shape or is not finite.
    pub fn new(config: &Config, weights: &Weights) -> Result<Self, WeightError> {
        Self::read("head", config.embedding(), &config.head, config.activation, weights)
    }

    /// The head whose tensors' names begin with `name`, for embeddings of `length` dimensions and
    /// with hidden layers of these widths.
    ///
    /// # Errors
    /// When a tensor is missing, has the wrong shape or is not finite.
    pub fn read(
        name: &str,
        length: usize,
        hidden: &[usize],
        activation: Activation,
        weights: &Weights,
    ) -> Result<Self, WeightError> {
        let mut layers = Vec::new();
        let mut inputs = length;
        for (i, &outputs) in hidden.iter().chain(&[1]).enumerate() {
            layers.push((
                weights.matrix(&format!("{name}.{i}.weight"), Some(inputs), outputs)?,
                weights.vector(&format!("{name}.{i}.bias"), outputs)?,
            ));
            inputs = outputs;
        }
        Ok(Self { activation, layers })
    }

    /// Scores of `embeddings`, `[networks, length of an embedding]`.
    pub fn scores(&self, embeddings: ArrayView2<f32>) -> Vec<f32> {
        let mut states = embeddings.to_owned();
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            states = states.dot(weight) + bias;
            // An array of its own is all in one place.
            if i + 1 < self.layers.len()
                && let Some(all) = states.as_slice_memory_order_mut()
            {
                self.activation.apply_all(all);
            }
        }
        states.into_iter().collect()
    }
}
