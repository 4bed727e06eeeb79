//! How far an embedding lies from those of the networks that a model was trained on.

use crate::encoder::{WeightError, Weights};
use ndarray::{Array1, Array2, ArrayView1};

/// The region of embedding space that training covered, as k-means centroids.
#[derive(Debug, Clone)]
pub struct Territory {
    /// Factor for each dimension of an embedding. It evens out their spreads and makes the
    /// distance within which 99 % of the validation networks lie equal to 1.
    scale: Array1<f32>,
    /// In scaled space, `[centroids, length of an embedding]`.
    centroids: Array2<f32>,
}

impl Territory {
    /// The territory of a model whose embeddings have `length` dimensions.
    ///
    /// # Errors
    /// When a tensor is missing, has the wrong shape or is not finite.
    pub fn new(length: usize, weights: &Weights) -> Result<Self, WeightError> {
        let scale = weights.vector("territory.scale", length)?;
        let centroids = weights.matrix("territory.centroids", None, length)?;
        if centroids.is_empty() {
            return Err(WeightError::Missing("territory.centroids".into()));
        }
        Ok(Self { scale, centroids })
    }

    /// Distance to the nearest centroid; 1 is the 99 % quantile among validation networks.
    pub fn distance(&self, embedding: ArrayView1<f32>) -> f64 {
        let scaled = &embedding * &self.scale;
        let squared = |centroid: ArrayView1<f32>| -> f64 {
            centroid.iter().zip(&scaled).map(|(c, e)| f64::from(c - e).powi(2)).sum()
        };
        self.centroids.rows().into_iter().map(squared).fold(f64::INFINITY, f64::min).sqrt()
    }
}
