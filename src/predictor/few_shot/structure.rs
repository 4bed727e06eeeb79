//! What graphs have in common: the kernel of their neighbourhoods.

use crate::encoder::{Neighbourhoods, WeightError, WeightFile, Weights};
use ndarray::{Array1, Array2, ArrayView1};
use rayon::prelude::*;

/// Neighbourhoods in the graphs of the labelled networks.
#[derive(Debug, Clone)]
pub(super) struct Structure {
    /// Of each colour, which labels have it and its weight there: by colour, then by label.
    colours: Vec<(u64, usize, f64)>,
    /// Makes the mean squared distance from the mean the weight.
    pub scale: f64,
}

impl Structure {
    /// Scaled to weight 1.
    pub fn new(labelled: &[Neighbourhoods]) -> Self {
        let of_label = |(i, graph): (usize, &Neighbourhoods)| {
            graph.weights().iter().map(move |&(colour, weight)| (colour, i, weight)).collect()
        };
        let mut colours: Vec<(u64, usize, f64)> =
            labelled.iter().enumerate().flat_map::<Vec<_>, _>(of_label).collect();
        colours.sort_unstable_by_key(|&(colour, label, _)| (colour, label));
        // Of vectors of length 1.
        let sum = |same: &[(u64, usize, f64)]| same.iter().map(|&(.., w)| w).sum::<f64>();
        let sums = colours.chunk_by(|a, b| a.0 == b.0).map(|same| sum(same).powi(2)).sum::<f64>();
        let variance = 1.0 - sums / (labelled.len() as f64).powi(2);
        let scale = if variance > 1e-12 { variance.recip() } else { 0.0 };
        Self { colours, scale }
    }

    pub fn weighted(self, weight: f64) -> Self {
        Self { scale: self.scale * weight, ..self }
    }

    /// Products with those of so many labels, unscaled.
    pub fn products(&self, graph: &Neighbourhoods, labels: usize) -> Array1<f64> {
        let mut products = Array1::zeros(labels);
        let mut rest = self.colours.as_slice();
        for &(colour, weight) in graph.weights() {
            rest = &rest[rest.partition_point(|&(other, ..)| other < colour)..];
            let same = rest.iter().take_while(|&&(other, ..)| other == colour);
            for &(_, label, other) in same.take_while(|&&(_, label, _)| label < labels) {
                products[label] += weight * other;
            }
        }
        products
    }

    /// Of the first so many labels with one another, scaled.
    pub fn among(&self, labelled: &[Neighbourhoods]) -> Array2<f64> {
        let rows: Vec<Array1<f64>> =
            labelled.par_iter().map(|graph| self.products(graph, labelled.len())).collect();
        Array2::from_shape_fn((rows.len(), rows.len()), |(i, j)| rows[i][j] * self.scale)
    }

    /// A row for each colour of each label: the colour, the label and its weight.
    pub fn store(&self, file: &mut WeightFile) {
        // Whole numbers that 64 bits hold exactly.
        let row =
            |&(colour, label, weight): &(u64, usize, f64)| [colour as f64, label as f64, weight];
        let rows: Vec<f64> = self.colours.iter().flat_map(row).collect();
        file.put("adaptation.structure.scale", &[1], [&self.scale]);
        file.put("adaptation.structure.colours", &[rows.len() / 3, 3], &rows);
    }

    /// That of so many labels.
    pub fn load(labels: usize, weights: &Weights) -> Result<Self, WeightError> {
        let scale = weights.vector("adaptation.structure.scale", 1)?[0];
        let name = "adaptation.structure.colours";
        let whole =
            |x: f64| (x >= 0.0 && x.fract() == 0.0 && x < 2f64.powi(53)).then_some(x as u64);
        let colour = |row: ArrayView1<f64>| {
            let label = usize::try_from(whole(row[1])?).ok().filter(|&label| label < labels)?;
            Some((whole(row[0])?, label, row[2]))
        };
        let rows = weights.matrix::<f64>(name, None, 3)?;
        let colours: Option<Vec<_>> = rows.rows().into_iter().map(colour).collect();
        let ascending = |a: &(u64, usize, f64), b: &(u64, usize, f64)| (a.0, a.1) <= (b.0, b.1);
        let colours = colours.filter(|colours| colours.is_sorted_by(ascending));
        let colours = colours.ok_or_else(|| {
            let reason = "it holds no ascending colours of labels".into();
            WeightError::Invalid { name: name.into(), reason }
        })?;
        Ok(Self { colours, scale })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::nasbench201;
    use super::*;

    #[test]
    fn products_by_colour_are_those_of_pairs() {
        let graphs: Vec<Neighbourhoods> = (0..30).map(|seed| nasbench201(seed).0).collect();
        let structure = Structure::new(&graphs[..20]);
        for graph in &graphs {
            let of: std::collections::HashMap<_, _> = graph.weights().iter().copied().collect();
            for (label, product) in structure.products(graph, 20).into_iter().enumerate() {
                let both = graphs[label].weights().iter();
                let expected: f64 = both.map(|(c, w)| w * of.get(c).unwrap_or(&0.0)).sum();
                assert!((product - expected).abs() < 1e-12);
            }
        }
        // The mean squared distance from the mean is half of that between two of them.
        let among = structure.among(&graphs[..20]);
        let square = |(i, j): (usize, usize)| among[[i, i]] + among[[j, j]] - 2.0 * among[[i, j]];
        let squares: f64 = (0..400).map(|k| square((k / 20, k % 20))).sum();
        assert!((squares / 800.0 - 1.0).abs() < 1e-9, "{squares}");
    }
}
