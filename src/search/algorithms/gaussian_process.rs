//! A Gaussian process over a pool of candidates.

use ndarray::{Array1, ArrayView2};

/// Variance of the noise of a value, whose own variance is 1.
const NOISE: f64 = 0.02;

/// Means and variances at the rows of a matrix of features given values at some of them: a
/// Gaussian process with the kernel `exp(-|a - b|²/2)` (Rasmussen & Williams 2006, algorithm 2.1),
/// grown a point at a time.
pub(super) struct GaussianProcess<'a> {
    features: ArrayView2<'a, f64>,
    norms: Vec<f64>,
    /// Rows with a value, in the order they were added.
    known: Vec<usize>,
    /// For each known row the covariances of all rows with what it adds to those before.
    whitened: Vec<Array1<f64>>,
    variances: Array1<f64>,
}

impl<'a> GaussianProcess<'a> {
    /// Without any value.
    pub fn new(features: ArrayView2<'a, f64>) -> Self {
        let norms = features.rows().into_iter().map(|row| row.dot(&row)).collect();
        let variances = Array1::ones(features.nrows());
        Self { features, norms, known: Vec::new(), whitened: Vec::new(), variances }
    }

    /// Says that the value at `row` is known.
    pub fn add(&mut self, row: usize) {
        let products = self.features.dot(&self.features.row(row));
        let mut covariances: Array1<f64> = (0..self.norms.len())
            .map(|i| {
                let squared = self.norms[i] + self.norms[row] - 2.0 * products[i];
                (-0.5 * squared.max(0.0)).exp()
            })
            .collect();
        let mut own = 1.0 + NOISE;
        for earlier in &self.whitened {
            covariances.scaled_add(-earlier[row], earlier);
            own -= earlier[row] * earlier[row];
        }
        // At least the noise is new.
        covariances /= own.max(NOISE / 2.0).sqrt();
        self.variances.zip_mut_with(&covariances, |v, c| *v = (*v - c * c).max(0.0));
        self.known.push(row);
        self.whitened.push(covariances);
    }

    /// The expected value of every row, from the values at the known rows, in their order.
    pub fn means(&self, values: &[f64]) -> Array1<f64> {
        let mut means = Array1::zeros(self.norms.len());
        for ((row, whitened), value) in self.known.iter().zip(&self.whitened).zip(values) {
            // What the rows before leave of the value, in standard deviations.
            let own = self.deviation(*row, whitened);
            let share: f64 = (value - means[*row]) / own;
            means.scaled_add(share, whitened);
        }
        means
    }

    /// Standard deviation of what a known row's noisy value adds to those before.
    fn deviation(&self, row: usize, whitened: &Array1<f64>) -> f64 {
        // Cov(f, f + noise) = s² - noise, divided by s: s - noise / s = whitened[row].
        let half = 0.5 * whitened[row];
        half + (half * half + NOISE).sqrt()
    }

    /// Standard deviations of every row, without noise.
    pub fn deviations(&self) -> Array1<f64> {
        self.variances.mapv(f64::sqrt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linfa_linalg::cholesky::SolveCInplace;
    use ndarray::{Array2, Axis, array};

    #[test]
    fn it_is_the_textbook_formula() {
        let features = array![[0.0, 0.0], [0.5, 0.1], [1.0, -1.0], [0.5, 0.1], [3.0, 0.2]];
        let (known, values) = ([2usize, 0, 1], array![1.5, -0.5, 0.25]);
        let mut posterior = GaussianProcess::new(features.view());
        known.iter().for_each(|&row| posterior.add(row));
        let kernel = |a: usize, b: usize| {
            let difference = &features.row(a) - &features.row(b);
            (-0.5 * difference.dot(&difference)).exp()
        };
        let own = Array2::from_shape_fn((3, 3), |(i, j)| {
            kernel(known[i], known[j]) + if i == j { NOISE } else { 0.0 }
        });
        let cross = Array2::from_shape_fn((3, 5), |(i, j)| kernel(known[i], j));
        let mut weights = values.clone().insert_axis(Axis(1));
        own.clone().solvec_inplace(&mut weights).unwrap();
        let mut solved = cross.clone();
        own.clone().solvec_inplace(&mut solved).unwrap();
        let means = posterior.means(values.as_slice().unwrap());
        for j in 0..5 {
            let mean = cross.column(j).dot(&weights.column(0));
            let variance = 1.0 - cross.column(j).dot(&solved.column(j));
            assert!((means[j] - mean).abs() < 1e-9);
            assert!((posterior.deviations()[j].powi(2) - variance).abs() < 1e-9);
        }
    }
}
