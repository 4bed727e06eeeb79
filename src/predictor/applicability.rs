//! How far an embedding lies from those of the networks that a model was trained on.

use crate::encoder::{GraphFeatures, WeightError, WeightFile, Weights};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;
use std::collections::BTreeSet;

/// Share of networks that count as inside.
const INSIDE: f64 = 0.99;

/// The region of embedding space that training covered, as k-means centroids.
#[derive(Debug, Clone)]
pub struct ApplicabilityDomain {
    /// Factor for each dimension of an embedding. It evens out their spreads and makes the
    /// distance within which 99 % of the validation networks lie equal to 1.
    scale: Array1<f32>,
    /// In scaled space, `[centroids, length of an embedding]`; columns lie together in memory.
    centroids: Array2<f32>,
    /// [Signatures](GraphFeatures::signatures) of nodes, ascending.
    signatures: Vec<u32>,
}

/// Distance at least of a network with nodes of unknown signatures.
const UNKNOWN: f64 = 2.0;

impl ApplicabilityDomain {
    /// The domain with these centroids, `[centroids, length of an embedding]`, in embeddings
    /// multiplied by `scale`, of networks whose nodes have these
    /// [signatures](GraphFeatures::signatures).
    pub fn new(scale: Array1<f32>, centroids: Array2<f32>, signatures: BTreeSet<u32>) -> Self {
        let centroids = centroids.t().as_standard_layout().into_owned().reversed_axes();
        Self { scale, centroids, signatures: signatures.into_iter().collect() }
    }

    /// The domain that a file holds under `path`, of embeddings with `length` dimensions.
    ///
    /// # Errors
    /// When a tensor is missing, has the wrong shape or is not finite.
    pub fn load(path: &str, length: usize, weights: &Weights) -> Result<Self, WeightError> {
        let scale = weights.vector(&format!("{path}.scale"), length)?;
        let name = format!("{path}.centroids");
        let centroids = weights.matrix(&name, None, length)?;
        if centroids.is_empty() {
            return Err(WeightError::Missing(name));
        }
        let codes = weights.matrix::<f32>(&format!("{path}.kinds"), None, 1)?;
        let signatures = codes.iter().map(|&code| code as u32).collect();
        Ok(Self::new(scale, centroids, signatures))
    }

    /// The neighbourhood of other networks in the same space: distance 1 is the 99 % quantile of
    /// their distances from the nearest other of them that is not the same.
    /// Nodes may have these signatures too.
    pub fn around(&self, embeddings: ArrayView2<f32>, signatures: BTreeSet<u32>) -> Self {
        let mut centroids = &embeddings * &self.scale;
        let squared = |a: ArrayView1<f32>, b: ArrayView1<f32>| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
        };
        let nearest = |i: usize| {
            let own = centroids.row(i);
            let others = centroids.rows().into_iter().map(|other| squared(own, other));
            others.filter(|d| *d > 0.0).fold(f64::INFINITY, f64::min)
        };
        let mut distances: Vec<f64> = (0..centroids.nrows()).into_par_iter().map(nearest).collect();
        distances.retain(|d| d.is_finite());
        // Networks that are all the same have no scale of their own.
        let border = Self::border(distances);
        let reach = border.map_or(1.0, |d| d.sqrt() as f32).max(f32::MIN_POSITIVE);
        centroids /= reach;
        Self::new(
            &self.scale / reach,
            centroids,
            self.signatures.iter().copied().chain(signatures).collect(),
        )
    }

    /// The distance at which the nearest 99 % of networks end, of which these are the distances.
    pub(crate) fn border(mut distances: Vec<f64>) -> Option<f64> {
        distances.sort_by(f64::total_cmp);
        let rank = (INSIDE * distances.len() as f64) as usize;
        distances.get(rank).copied()
    }

    /// Adds its tensors to a model file.
    pub fn store(&self, name: &str, file: &mut WeightFile) {
        file.put(format!("{name}.scale"), &[self.scale.len()], &self.scale);
        let (rows, columns) = self.centroids.dim();
        file.put(format!("{name}.centroids"), &[rows, columns], &self.centroids);
        let signatures: Vec<f32> =
            self.signatures.iter().map(|&signature| signature as f32).collect();
        file.put(format!("{name}.kinds"), &[signatures.len(), 1], &signatures);
    }

    /// Membership of a network at this [distance](Self::distance) in what training covered; the
    /// rest is its membership in everything else. That is noise clustering (Davé 1991) with the
    /// noise at distance 1 and fuzzifier 5/4, sharp enough to leave networks well inside alone,
    /// and cut off at distance 2, where all networks with nodes of unknown signatures lie.
    pub fn membership(distance: f64) -> f64 {
        if distance >= UNKNOWN { 0.0 } else { 1.0 / (1.0 + distance.powi(8)) }
    }

    /// Whether training met every kind of node that the network has.
    pub fn knows_signatures(&self, graph: &GraphFeatures) -> bool {
        graph.signatures().all(|(signature, _)| self.knows(signature))
    }

    fn knows(&self, signature: u32) -> bool {
        self.signatures.binary_search(&signature).is_ok()
    }

    /// Distance at least of a network of whose nodes nothing is known of this share.
    pub fn beyond(share: f64) -> f64 {
        UNKNOWN + share
    }

    /// Distance of a network to the nearest centroid; 1 is the 99 % quantile among validation
    /// networks. With nodes of unknown signatures it is at least 2 plus their share: what is learned of
    /// others says nothing of them, wherever the embedding lies.
    pub fn distance(&self, embedding: ArrayView1<f32>, graph: &GraphFeatures) -> f64 {
        let unknown = graph.signatures().filter(|(signature, _)| !self.knows(*signature));
        let unknown: usize = unknown.map(|(_, nodes)| nodes).sum();
        let distance = self.to_centroid(embedding);
        match unknown as f64 / graph.nodes() as f64 {
            0.0 => distance,
            share => distance.max(Self::beyond(share)),
        }
    }

    fn to_centroid(&self, embedding: ArrayView1<f32>) -> f64 {
        let mut squared = Array1::<f64>::zeros(self.centroids.nrows());
        for (column, (e, scale)) in
            self.centroids.columns().into_iter().zip(embedding.iter().zip(&self.scale))
        {
            let e = e * scale;
            squared.zip_mut_with(&column, |sum, c| *sum += f64::from(c - e).powi(2));
        }
        squared.into_iter().fold(f64::INFINITY, f64::min).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_neighbourhood_of_networks_has_their_own_scale() {
        let base = ApplicabilityDomain::new(array![1.0, 2.0], array![[0.0, 0.0]], BTreeSet::new());
        // Twice the same network, and steps of 5 along the second dimension.
        let labelled = array![[9.0, 0.0], [9.0, 0.0], [9.0, 2.5], [9.0, 5.0]];
        let domain = base.around(labelled.view(), BTreeSet::new());
        assert!(base.to_centroid(array![9.0, 1.0].view()) > 8.0);
        for (network, distance) in
            [([9.0, 2.5], 0.0), ([9.0, 7.5], 1.0), ([9.0, 10.0], 2.0), ([14.0, 5.0], 1.0)]
        {
            let found = domain.to_centroid(array![network[0], network[1]].view());
            assert!((found - distance).abs() < 1e-6, "{network:?}: {found}");
        }
        let alone = base.around(array![[9.0, 0.0], [9.0, 0.0]].view(), BTreeSet::new());
        assert_eq!(alone.to_centroid(array![9.0, 1.0].view()), 2.0);
    }
}
